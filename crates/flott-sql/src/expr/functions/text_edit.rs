//! Strings changed or picked: `OVERLAY`, `TRANSLATE`, `ELT`, `STR_TO_MAP`, and tests of what a string consists of.

use super::java_pattern::{Pattern, pattern, unsupported};
use super::text::{rows_of_text, text_bytes};
use super::{always, entry};
use crate::expr::Expr;
use crate::expr::cast::parse;
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::types::{merged, string_length};
use crate::expr::value::{Primitives, Strings, Value, kernel_error};
use arrow_array::builder::{MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_schema::DataType;
use flott_core::types::MAX_LENGTH;
use flott_core::{LogicalType, TypeKind};
use regex::Regex;
use std::collections::HashMap;
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry(
        "OVERLAY",
        "OVERLAY(STRING PLACING STRING FROM INT [FOR INT])",
        infer_overlay,
        build_overlay,
    ),
    entry(
        "TRANSLATE",
        "TRANSLATE(STRING, from STRING, to STRING)",
        infer_translate,
        build_translate,
    ),
    entry("ELT", "ELT(index INTEGER, STRING|BYTES, ...)", infer_elt, build_elt),
    entry(
        "STR_TO_MAP",
        "STR_TO_MAP(STRING [, list delimiter STRING, key delimiter STRING])",
        infer_str_to_map,
        build_str_to_map,
    )
    .failing(always),
    entry("IS_ALPHA", "IS_ALPHA(STRING)", infer_test, build_test),
    entry("IS_DIGIT", "IS_DIGIT(STRING)", infer_test, build_test),
    entry("IS_DECIMAL", "IS_DECIMAL(STRING)", infer_test, build_test),
];

fn infer_overlay(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(3, 4)?;
    args.string(0)?;
    args.string(1)?;
    (2..args.len()).try_for_each(|i| args.int(i))?;
    let lengths = [0, 1].map(|i| string_length(args.kind(i)).unwrap_or(MAX_LENGTH));
    let length = lengths[0].saturating_add(lengths[1]).min(MAX_LENGTH);
    Ok(args.result(TypeKind::Varchar(length)))
}

/// The part of `units` before `start` (from 1), `by`, and what is behind the `length` units that it replaces: nothing
/// where that is not positive or reaches the end.
fn overlay(text: &str, by: &str, start: i32, length: Option<i32>, out: &mut String) {
    if text.is_ascii() && by.is_ascii() {
        let length = length.map_or(by.len() as i64, i64::from);
        let Some(at) = usize::try_from(i64::from(start) - 1).ok().filter(|at| *at < text.len()) else {
            out.push_str(text);
            return;
        };
        out.push_str(&text[..at]);
        out.push_str(by);
        let rest = usize::try_from(length).ok().filter(|l| *l > 0).map(|l| at + l);
        out.push_str(rest.and_then(|r| text.get(r..)).unwrap_or_default());
        return;
    }
    // positions are those of UTF-16; a character cut in two becomes a question mark
    let units: Vec<u16> = text.encode_utf16().collect();
    let length = length.map_or(by.encode_utf16().count() as i64, i64::from);
    let Some(at) = usize::try_from(i64::from(start) - 1)
        .ok()
        .filter(|at| *at < units.len())
    else {
        out.push_str(text);
        return;
    };
    let rest = usize::try_from(length).ok().filter(|l| *l > 0).map(|l| at + l);
    let rest = rest.and_then(|r| units.get(r..)).unwrap_or_default();
    let write = |units: &[u16], out: &mut String| {
        out.extend(char::decode_utf16(units.iter().copied()).map(|c| c.unwrap_or('?')));
    };
    write(&units[..at], out);
    out.push_str(by);
    write(rest, out);
}

fn build_overlay(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (texts, by) = (Strings::new(&args[0])?, Strings::new(&args[1])?);
        let starts = Primitives::<Int32Type>::new(&args[2])?;
        let lengths = args.get(3).map(Primitives::<Int32Type>::new).transpose()?;
        rows_of_text(rows, text_bytes(&args[0]), |row, out| {
            let length = match &lengths {
                Some(lengths) => Some(lengths.get(row)?),
                None => None,
            };
            overlay(texts.get(row)?, by.get(row)?, starts.get(row)?, length, out);
            Some(())
        })
    }))
}

fn infer_translate(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(3, 3)?;
    (0..3).try_for_each(|i| args.string(i))?;
    Ok(LogicalType {
        kind: TypeKind::Varchar(MAX_LENGTH),
        nullable: args.exprs[0].ty().nullable,
    })
}

/// What becomes of a character: another one, or nothing.
type Dictionary = HashMap<char, Option<char>>;

fn build_translate(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (texts, from, to) = (
            Strings::new(&args[0])?,
            Strings::new(&args[1])?,
            Strings::new(&args[2])?,
        );
        let mut known: Option<(&str, &str, Dictionary)> = None;
        rows_of_text(rows, text_bytes(&args[0]), |row, out| {
            let text = texts.get(row)?;
            let (from, to) = (from.get(row).unwrap_or_default(), to.get(row).unwrap_or_default());
            if known.as_ref().is_none_or(|(f, t, _)| *f != from || *t != to) {
                let mut dictionary = Dictionary::new();
                let mut targets = to.chars();
                for c in from.chars() {
                    // of equal characters the first counts
                    let target = targets.next();
                    dictionary.entry(c).or_insert(target);
                }
                known = Some((from, to, dictionary));
            }
            let (_, _, dictionary) = known.as_ref()?;
            out.extend(
                text.chars()
                    .filter_map(|c| dictionary.get(&c).copied().unwrap_or(Some(c))),
            );
            Some(())
        })
    }))
}

fn infer_elt(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, usize::MAX)?;
    args.require(0, TypeKind::is_integer, TypeKind::BigInt)?;
    if matches!(args.exprs[0].as_literal(), Some(crate::expr::Literal::Integer(..0))) {
        return Err(Refusal::Constant("the index must not be negative".to_owned()));
    }
    args.cast(0, &TypeKind::BigInt)?;
    let binary = (1..args.len()).any(|i| args.kind(i).is_binary());
    for i in 1..args.len() {
        if binary {
            args.require(i, TypeKind::is_binary, TypeKind::Varbinary(MAX_LENGTH))?;
        } else {
            args.string(i)?;
        }
    }
    let types: Vec<&LogicalType> = args.exprs[1..].iter().map(Expr::ty).collect();
    let common = merged(types).ok_or(Refusal::NoCommonType)?;
    Ok(common.with_nullable(true))
}

fn build_elt(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let index = Primitives::<Int64Type>::new(&args[0])?;
        let choices: Vec<&dyn Array> = args[1..].iter().map(|a| a.array().as_ref()).collect();
        let null = arrow_array::new_null_array(choices[0].data_type(), 1);
        let mut parts = choices.clone();
        parts.push(null.as_ref());
        let place = |row: usize| {
            let chosen = index.get(row).and_then(|i| usize::try_from(i - 1).ok());
            match chosen.filter(|i| *i < choices.len()) {
                Some(i) if args[i + 1].is_scalar() => (i, 0),
                Some(i) => (i, row),
                None => (choices.len(), 0),
            }
        };
        let places: Vec<(usize, usize)> = (0..rows).map(place).collect();
        arrow_select::interleave::interleave(&parts, &places).map_err(|e| kernel_error("ELT", &e))
    }))
}

fn infer_test(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    if args.kind(0).is_numeric() {
        let text = TypeKind::Varchar(MAX_LENGTH);
        args.cast(0, &text)?;
    }
    args.string(0)?;
    Ok(LogicalType::not_null(TypeKind::Boolean))
}

fn build_test(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let test: fn(&str) -> bool = match call.name {
        "IS_ALPHA" => |s| !s.is_empty() && s.chars().all(char::is_alphabetic),
        "IS_DIGIT" => |s| !s.is_empty() && s.chars().all(char::is_numeric),
        _ => |s| parse::decimal(s, 38, 0).is_ok() || parse::float(s).is_ok_and(f64::is_finite),
    };
    Ok(Box::new(move |args, rows| {
        let texts = Strings::new(&args[0])?;
        let row = |row: usize| Some(texts.get(row).is_some_and(test));
        Ok(Arc::new((0..rows).map(row).collect::<BooleanArray>()))
    }))
}

fn infer_str_to_map(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    if args.len() == 1 {
        args.exprs.extend([Expr::string(","), Expr::string("=")]);
    }
    args.count(3, 3)?;
    (0..3).try_for_each(|i| args.string(i))?;
    for i in 1..3 {
        if let Some(Pattern::Unsupported(what)) = args.constant_text(i).map(pattern) {
            return Err(Refusal::Constant(unsupported(&what)));
        }
    }
    let text = Box::new(LogicalType::string());
    Ok(LogicalType::new(TypeKind::Map(text.clone(), text)))
}

/// A delimiter that Java's `String.split` reads as a regular expression.
enum Delimiter {
    Plain(String),
    Pattern(Regex),
}

impl Delimiter {
    fn new(text: &str) -> Result<Self, ExprError> {
        let special = |c: char| r"\^$.|?*+()[]{}".contains(c);
        if !text.is_empty() && !text.contains(special) {
            return Ok(Self::Plain(text.to_owned()));
        }
        let problem = match pattern(text) {
            Pattern::Ready(regex) => return Ok(Self::Pattern(*regex)),
            Pattern::Invalid => format!("'{text}' is no regular expression"),
            Pattern::Unsupported(what) => unsupported(&what),
        };
        Err(ExprError::Value {
            function: "STR_TO_MAP",
            problem,
        })
    }

    fn find(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        match self {
            Self::Plain(plain) => text[from..]
                .find(plain.as_str())
                .map(|at| (from + at, from + at + plain.len())),
            Self::Pattern(regex) => regex.find_at(text, from).map(|m| (m.start(), m.end())),
        }
    }

    /// The first delimiter at or after `from` that Java's split cuts at: an empty one does not cut before the text.
    fn next(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        let mut found = self.find(text, from)?;
        while found.1 == 0 {
            let step = text.chars().next().map_or(1, char::len_utf8);
            if step > text.len() {
                return None;
            }
            found = self.find(text, step)?;
        }
        // an empty match at the end of the text ends it
        (found.0 < text.len()).then_some(found)
    }

    /// The parts of `text`, without empty ones at the end.
    fn split<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let (mut parts, mut start, mut from) = (vec![], 0, 0);
        while let Some((at, end)) = self.next(text, from) {
            parts.push(&text[start..at]);
            start = end;
            // behind an empty match the search goes on one character further
            from = if at == end {
                end + text[end..].chars().next().map_or(1, char::len_utf8)
            } else {
                end
            };
            if from > text.len() {
                break;
            }
        }
        parts.push(&text[start..]);
        if parts.len() > 1 {
            while parts.last().is_some_and(|p| p.is_empty()) {
                parts.pop();
            }
        }
        parts
    }
}

fn build_str_to_map(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let DataType::Map(entry_field, _) = call.ty.to_arrow() else {
        return Err(call.not_executable());
    };
    let DataType::Struct(fields) = entry_field.data_type().clone() else {
        return Err(call.not_executable());
    };
    let names = MapFieldNames {
        entry: entry_field.name().clone(),
        key: fields[0].name().clone(),
        value: fields[1].name().clone(),
    };
    let ty = call.ty.to_arrow();
    Ok(Box::new(move |args, rows| {
        let texts = Strings::new(&args[0])?;
        let (mut lists, mut keys) = (Delimiters::new(&args[1])?, Delimiters::new(&args[2])?);
        let mut out = MapBuilder::with_capacity(Some(names.clone()), StringBuilder::new(), StringBuilder::new(), rows)
            .with_keys_field(fields[0].clone())
            .with_values_field(fields[1].clone());
        let failed = |e| kernel_error("STR_TO_MAP", &e);
        for row in 0..rows {
            let text = texts.get(row);
            let (Some(text), Some(list), Some(key)) = (text, lists.at(row)?, keys.at(row)?) else {
                out.append(false).map_err(failed)?;
                continue;
            };
            let mut entries: Vec<(&str, Option<&str>)> = vec![];
            if !text.is_empty() {
                for part in list.split(text) {
                    let (name, value) = match key.next(part, 0) {
                        Some((at, end)) => (&part[..at], Some(&part[end..])),
                        None => (part, None),
                    };
                    match entries.iter_mut().find(|(n, _)| *n == name) {
                        Some(known) => known.1 = value,
                        None => entries.push((name, value)),
                    }
                }
            }
            for (name, value) in entries {
                out.keys().append_value(name);
                out.values().append_option(value);
            }
            out.append(true).map_err(failed)?;
        }
        let array: ArrayRef = Arc::new(out.finish());
        debug_assert_eq!(array.data_type(), &ty);
        Ok(array)
    }))
}

/// The delimiters of a batch; the last one stays compiled.
struct Delimiters<'a> {
    texts: Strings<'a>,
    last: Option<(&'a str, Delimiter)>,
}

impl<'a> Delimiters<'a> {
    fn new(value: &'a Value) -> Result<Self, ExprError> {
        Ok(Self {
            texts: Strings::new(value)?,
            last: None,
        })
    }

    fn at(&mut self, row: usize) -> Result<Option<&Delimiter>, ExprError> {
        let Some(text) = self.texts.get(row) else {
            return Ok(None);
        };
        if self.last.as_ref().is_none_or(|(known, _)| *known != text) {
            self.last = Some((text, Delimiter::new(text)?));
        }
        Ok(self.last.as_ref().map(|(_, d)| d))
    }
}
