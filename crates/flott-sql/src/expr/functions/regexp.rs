//! Functions over Java's regular expressions ([`super::java_pattern`]). A pattern that is none gives NULL, as Flink
//! does; one that we cannot match is refused while planning, or on the row where it comes from a column.

use super::entry;
use super::java_pattern::{Pattern, pattern, unsupported};
use super::text::{extend_within_limit, rows_of_text, text_bytes};
use super::text_search::{array_of_strings, strings_builder};
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::value::{Primitives, Strings, Value};
use arrow_array::types::Int32Type;
use arrow_array::{BooleanArray, Int32Array};
use flott_core::types::MAX_LENGTH;
use flott_core::{LogicalType, TypeKind};
use regex::Regex;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry("REGEXP", "REGEXP(STRING, pattern STRING)", infer_test, build_test),
    entry(
        "REGEXP_REPLACE",
        "REGEXP_REPLACE(STRING, pattern STRING, replacement STRING)",
        infer_replace,
        build_replace,
    ),
    entry(
        "REGEXP_EXTRACT",
        "REGEXP_EXTRACT(STRING, pattern STRING [, group INT])",
        infer_extract,
        build_extract,
    ),
    entry(
        "REGEXP_EXTRACT_ALL",
        "REGEXP_EXTRACT_ALL(STRING, pattern STRING [, group INT])",
        infer_extract,
        build_extract_all,
    ),
    entry(
        "REGEXP_SUBSTR",
        "REGEXP_SUBSTR(STRING, pattern STRING)",
        infer_pair,
        build_substr,
    ),
    entry(
        "REGEXP_COUNT",
        "REGEXP_COUNT(STRING, pattern STRING)",
        infer_pair,
        build_count,
    ),
    entry(
        "REGEXP_INSTR",
        "REGEXP_INSTR(STRING, pattern STRING)",
        infer_pair,
        build_count,
    ),
];

/// The first two arguments are strings; a constant pattern is one that we can match.
fn pattern_arguments(args: &mut Arguments) -> Result<(), Refusal> {
    args.string(0)?;
    args.string(1)?;
    if let Some(Pattern::Unsupported(what)) = args.constant_text(1).map(pattern) {
        return Err(Refusal::Constant(unsupported(&what)));
    }
    Ok(())
}

fn infer_test(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    pattern_arguments(args)?;
    Ok(args.result(TypeKind::Boolean))
}

fn infer_replace(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(3, 3)?;
    pattern_arguments(args)?;
    args.string(2)?;
    Ok(args.result(TypeKind::Varchar(MAX_LENGTH)))
}

fn infer_extract(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 3)?;
    pattern_arguments(args)?;
    if args.len() == 3 {
        args.int(2)?;
    }
    Ok(if args.name.ends_with("ALL") {
        array_of_strings(true)
    } else {
        LogicalType::string()
    })
}

fn infer_pair(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    pattern_arguments(args)?;
    Ok(if args.name == "REGEXP_SUBSTR" {
        LogicalType::string()
    } else {
        LogicalType::int()
    })
}

/// A pattern ready to match; `None`: it is none.
type Compiled = Option<Rc<Regex>>;

/// Patterns of one batch: each text is read once.
struct Patterns<'a> {
    texts: Strings<'a>,
    known: RefCell<HashMap<&'a str, Compiled>>,
    last: RefCell<Option<(&'a str, Compiled)>>,
    failure: RefCell<Option<ExprError>>,
}

impl<'a> Patterns<'a> {
    fn new(value: &'a Value) -> Result<Self, ExprError> {
        Ok(Self {
            texts: Strings::new(value)?,
            known: RefCell::default(),
            last: RefCell::default(),
            failure: RefCell::default(),
        })
    }

    /// The pattern of a row; `None` if it is NULL or no pattern.
    fn get(&self, row: usize) -> Compiled {
        let text = self.texts.get(row)?;
        if let Some((last, regex)) = &*self.last.borrow()
            && std::ptr::eq(*last, text)
        {
            return regex.clone();
        }
        let regex = self
            .known
            .borrow_mut()
            .entry(text)
            .or_insert_with(|| self.read(text))
            .clone();
        *self.last.borrow_mut() = Some((text, regex.clone()));
        regex
    }

    fn read(&self, text: &str) -> Compiled {
        match pattern(text) {
            Pattern::Ready(regex) => Some(Rc::new(*regex)),
            Pattern::Invalid => None,
            Pattern::Unsupported(what) => {
                *self.failure.borrow_mut() = Some(ExprError::Value {
                    function: "REGEXP",
                    problem: unsupported(&what),
                });
                None
            }
        }
    }

    fn finish<T>(self, result: T) -> Result<T, ExprError> {
        match self.failure.into_inner() {
            Some(failure) => Err(failure),
            None => Ok(result),
        }
    }
}

fn build_test(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (text, patterns) = (Strings::new(&args[0])?, Patterns::new(&args[1])?);
        let row = |row: usize| {
            let (text, empty) = (text.get(row)?, patterns.texts.get(row)?.is_empty());
            // Flink finds nothing with an empty pattern, nor with an invalid one
            Some(!empty && patterns.get(row).is_some_and(|p| p.is_match(text)))
        };
        let result: BooleanArray = (0..rows).map(row).collect();
        patterns.finish(Arc::new(result) as _)
    }))
}

fn build_replace(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (text, patterns) = (Strings::new(&args[0])?, Patterns::new(&args[1])?);
        let by = Strings::new(&args[2])?;
        let result = rows_of_text(rows, text_bytes(&args[0]), |row, out| {
            let (text, by) = (text.get(row)?, by.get(row)?);
            let replaced = patterns.get(row)?;
            let mut copied = 0;
            let pieces = replaced.find_iter(text).flat_map(|found| {
                let before = &text[copied..found.start()];
                copied = found.end();
                [before, by]
            });
            extend_within_limit(out, pieces);
            out.push_str(&text[copied..]);
            Some(())
        })?;
        patterns.finish(result)
    }))
}

/// The group of a row, counted from 0; `None` if it is NULL or negative.
fn group(groups: Option<&Primitives<'_, Int32Type>>, default: usize, row: usize) -> Option<usize> {
    match groups {
        Some(groups) => usize::try_from(groups.get(row)?).ok(),
        None => Some(default),
    }
}

fn build_extract(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (text, patterns) = (Strings::new(&args[0])?, Patterns::new(&args[1])?);
        let groups = args.get(2).map(Primitives::<Int32Type>::new).transpose()?;
        let result = rows_of_text(rows, text_bytes(&args[0]), |row, out| {
            let (text, regex) = (text.get(row)?, patterns.get(row)?);
            let found = match group(groups.as_ref(), 0, row)? {
                0 => regex.find(text)?,
                group => regex.captures(text)?.get(group)?,
            };
            out.push_str(found.as_str());
            Some(())
        })?;
        patterns.finish(result)
    }))
}

fn build_extract_all(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (text, patterns) = (Strings::new(&args[0])?, Patterns::new(&args[1])?);
        let groups = args.get(2).map(Primitives::<Int32Type>::new).transpose()?;
        let mut out = strings_builder(rows, text_bytes(&args[0]));
        for row in 0..rows {
            let inputs = || {
                let (text, regex) = (text.get(row)?, patterns.get(row)?);
                let group = group(groups.as_ref(), 1, row)?;
                (group < regex.captures_len()).then_some((text, regex, group))
            };
            let Some((text, regex, group)) = inputs() else {
                out.append_null();
                continue;
            };
            if group == 0 {
                regex
                    .find_iter(text)
                    .for_each(|m| out.values().append_value(m.as_str()));
            } else {
                for captures in regex.captures_iter(text) {
                    out.values().append_option(captures.get(group).map(|m| m.as_str()));
                }
            }
            out.append(true);
        }
        patterns.finish(Arc::new(out.finish()) as _)
    }))
}

fn build_substr(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (text, patterns) = (Strings::new(&args[0])?, Patterns::new(&args[1])?);
        let result = rows_of_text(rows, text_bytes(&args[0]), |row, out| {
            out.push_str(patterns.get(row)?.find(text.get(row)?)?.as_str());
            Some(())
        })?;
        patterns.finish(result)
    }))
}

fn build_count(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let count = call.name == "REGEXP_COUNT";
    Ok(Box::new(move |args, rows| {
        let (text, patterns) = (Strings::new(&args[0])?, Patterns::new(&args[1])?);
        let row = |row: usize| {
            let (text, regex) = (text.get(row)?, patterns.get(row)?);
            let number = if count {
                regex.find_iter(text).count()
            } else {
                regex
                    .find(text)
                    .map_or(0, |m| text[..m.start()].encode_utf16().count() + 1)
            };
            i32::try_from(number).ok()
        };
        let result: Int32Array = (0..rows).map(row).collect();
        patterns.finish(Arc::new(result) as _)
    }))
}
