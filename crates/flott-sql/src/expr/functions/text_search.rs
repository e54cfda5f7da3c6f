//! Finding, replacing and splitting by plain strings.

use super::entry;
use super::text::{MAX_TEXT_BYTES, extend_within_limit, offset, rows_of_text, strings, text_bytes};
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::value::{Bytes, Primitives, Strings, Value, mismatch};
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Int32Array};
use flott_core::types::MAX_LENGTH;
use flott_core::{LogicalType, TypeKind};
use memchr::memmem::Finder;
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry(
        "REPLACE",
        "REPLACE(STRING, search STRING, replacement STRING)",
        infer_replace,
        build_replace,
    ),
    entry("POSITION", "POSITION(STRING IN STRING)", infer_position, build_position),
    entry(
        "LOCATE",
        "LOCATE(search STRING, STRING [, start INT])",
        infer_position,
        build_position,
    ),
    entry("INSTR", "INSTR(STRING, search STRING)", infer_position, build_position),
    entry(
        "STARTSWITH",
        "STARTSWITH(STRING|BYTES, STRING|BYTES)",
        infer_test,
        build_test,
    ),
    entry(
        "ENDSWITH",
        "ENDSWITH(STRING|BYTES, STRING|BYTES)",
        infer_test,
        build_test,
    ),
    entry("SPLIT", "SPLIT(STRING, delimiter STRING)", infer_split, build_split),
    entry(
        "SPLIT_INDEX",
        "SPLIT_INDEX(STRING, delimiter STRING|INT, index INT)",
        infer_split_index,
        build_split_index,
    ),
];

fn infer_replace(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(3, 3)?;
    (0..3).try_for_each(|i| args.string(i))?;
    Ok(args.result(TypeKind::Varchar(MAX_LENGTH)))
}

fn build_replace(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        if let Some(array) = replace_constant(args)? {
            return Ok(array);
        }
        let (text, search, by) = (
            Strings::new(&args[0])?,
            Strings::new(&args[1])?,
            Strings::new(&args[2])?,
        );
        rows_of_text(rows, text_bytes(&args[0]), |row, out| {
            let (text, search, by) = (text.get(row)?, search.get(row)?, by.get(row)?);
            let mut copied = 0;
            let pieces = text.match_indices(search).flat_map(|(at, found)| {
                let before = &text[copied..at];
                copied = at + found.len();
                [before, by]
            });
            extend_within_limit(out, pieces);
            out.push_str(&text[copied..]);
            Some(())
        })
    }))
}

/// REPLACE of constants in a column, row by row over the column's bytes.
fn replace_constant(args: &[Value]) -> Result<Option<ArrayRef>, ExprError> {
    let (Value::Column(column), Value::Scalar(search), Value::Scalar(by)) = (&args[0], &args[1], &args[2]) else {
        return Ok(None);
    };
    let (Some(column), Some(search), Some(by)) = (
        column.as_string_opt::<i32>(),
        search.as_string_opt::<i32>(),
        by.as_string_opt::<i32>(),
    ) else {
        return Ok(None);
    };
    if search.is_null(0) || by.is_null(0) || search.value(0).is_empty() {
        return Ok(None);
    }
    let (search, by) = (search.value(0).as_bytes(), by.value(0).as_bytes());
    let (data, ends) = (column.value_data(), column.value_offsets());
    let mut offsets: Vec<i32> = Vec::with_capacity(ends.len());
    offsets.push(0);
    let mut out: Vec<u8> = Vec::with_capacity(data.len());
    let finder = Finder::new(search);
    for w in ends.windows(2) {
        let value = &data[w[0] as usize..w[1] as usize];
        let mut copied = 0;
        let mut replace = |at: usize| {
            // What is longer is refused below.
            if out.len() > MAX_TEXT_BYTES {
                return;
            }
            out.extend_from_slice(&value[copied..at]);
            out.extend_from_slice(by);
            copied = at + search.len();
        };
        match search {
            [byte] => memchr::memchr_iter(*byte, value).for_each(&mut replace),
            _ => finder.find_iter(value).for_each(&mut replace),
        }
        out.extend_from_slice(&value[copied..]);
        offsets.push(offset(out.len())?);
    }
    strings(out, offsets, column.nulls().cloned()).map(Some)
}

/// How often a byte occurs; sums of bytes in short runs become vector instructions.
fn count(byte: u8, text: &[u8]) -> i32 {
    let run = |run: &[u8]| i32::from(run.iter().map(|b| u8::from(*b == byte)).sum::<u8>());
    text.chunks(255).map(run).sum()
}

/// `CHAR_LENGTH(REPLACE(text, search, by))` of one ASCII character and a constant, without making the string.
///
/// Counting a letter this way is the usual Flink SQL for it (Nexmark q14).
pub(crate) fn replaced_length(search: u8, by: &str) -> Kernel {
    let change = by.chars().count() as i64 - 1;
    Box::new(move |args, _| {
        let array = args[0].array();
        let column = array
            .as_string_opt::<i32>()
            .ok_or_else(|| mismatch("CHAR_LENGTH", array))?;
        let (data, ends) = (column.value_data(), column.value_offsets());
        let ascii = data.is_ascii();
        let length = |w: &[i32]| {
            let value = &data[w[0] as usize..w[1] as usize];
            let found = count(search, value);
            // bytes that continue a character do not count
            let characters = if ascii {
                value.len()
            } else {
                value.iter().filter(|b| (**b as i8) >= -0x40).count()
            } as i64;
            i32::try_from(characters + i64::from(found) * change).unwrap_or(i32::MAX)
        };
        let lengths = ends.windows(2).map(length).collect();
        Ok(Arc::new(Int32Array::new(lengths, column.nulls().cloned())))
    })
}

fn infer_position(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, if args.name == "LOCATE" { 3 } else { 2 })?;
    args.string(0)?;
    args.string(1)?;
    if args.len() == 3 {
        args.int(2)?;
    }
    Ok(args.result(TypeKind::Int))
}

/// Position from 1 of `search` in `text` at or after `start` (from 1); 0 if it is not there.
fn position(text: &str, search: &str, start: i32) -> i32 {
    let Ok(skip) = usize::try_from(start.max(1) - 1) else {
        return 0;
    };
    let Some((from, _)) = text.char_indices().chain([(text.len(), ' ')]).nth(skip) else {
        return 0;
    };
    text[from..].find(search).map_or(0, |at| {
        let before = text[..from + at].chars().count();
        i32::try_from(before + 1).unwrap_or(i32::MAX)
    })
}

fn build_position(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let (text, search) = if call.name == "INSTR" { (0, 1) } else { (1, 0) };
    Ok(Box::new(move |args, rows| {
        let (text, search) = (Strings::new(&args[text])?, Strings::new(&args[search])?);
        let start = args.get(2).map(Primitives::<Int32Type>::new).transpose()?;
        let row = |row: usize| {
            let start = match &start {
                Some(start) => start.get(row)?,
                None => 1,
            };
            Some(position(text.get(row)?, search.get(row)?, start))
        };
        Ok(Arc::new((0..rows).map(row).collect::<Int32Array>()))
    }))
}

fn infer_test(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    if !(args.kind(0).is_binary() && args.kind(1).is_binary()) {
        args.string(0)?;
        args.string(1)?;
    }
    Ok(args.result(TypeKind::Boolean))
}

fn build_test(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let start = call.name == "STARTSWITH";
    Ok(Box::new(move |args, rows| {
        let (text, part) = (Bytes::new(&args[0])?, Bytes::new(&args[1])?);
        let row = |row: usize| {
            let (text, part) = (text.get(row)?, part.get(row)?);
            Some(if start {
                text.starts_with(part)
            } else {
                text.ends_with(part)
            })
        };
        Ok(Arc::new((0..rows).map(row).collect::<BooleanArray>()))
    }))
}

/// ARRAY<STRING> of this nullability.
pub(crate) fn array_of_strings(nullable: bool) -> LogicalType {
    let array = TypeKind::Array(Box::new(LogicalType::string()));
    LogicalType { kind: array, nullable }
}

/// A builder whose arrays have the type of [`array_of_strings`].
pub(crate) fn strings_builder(rows: usize, bytes: usize) -> ListBuilder<StringBuilder> {
    let field = arrow_schema::Field::new("element", arrow_schema::DataType::Utf8, true);
    ListBuilder::with_capacity(StringBuilder::with_capacity(rows * 2, bytes), rows).with_field(field)
}

fn infer_split(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    args.string(0)?;
    args.string(1)?;
    Ok(array_of_strings(args.nullable()))
}

fn build_split(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (text, delimiter) = (Strings::new(&args[0])?, Strings::new(&args[1])?);
        let mut out = strings_builder(rows, text_bytes(&args[0]));
        for row in 0..rows {
            let (Some(text), Some(delimiter)) = (text.get(row), delimiter.get(row)) else {
                out.append_null();
                continue;
            };
            if delimiter.is_empty() {
                let mut letter = [0; 4];
                text.chars()
                    .for_each(|c| out.values().append_value(c.encode_utf8(&mut letter)));
            } else if !text.is_empty() {
                text.split(delimiter).for_each(|part| out.values().append_value(part));
            }
            out.append(true);
        }
        Ok(Arc::new(out.finish()))
    }))
}

fn infer_split_index(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(3, 3)?;
    args.string(0)?;
    if !args.kind(1).is_string() {
        args.int(1)?;
    }
    args.int(2)?;
    Ok(LogicalType::string())
}

fn split_index<'a>(text: &'a str, delimiter: &str, index: i32) -> Option<&'a str> {
    let index = usize::try_from(index).ok()?;
    if text.is_empty() {
        return None;
    }
    if delimiter.is_empty() {
        return (index == 0).then_some(text);
    }
    let (text_bytes, length) = (text.as_bytes(), delimiter.len());
    let finder = |from: usize| match delimiter.as_bytes() {
        [byte] => memchr::memchr(*byte, &text_bytes[from..]),
        longer => memchr::memmem::find(&text_bytes[from..], longer),
    };
    let mut start = 0;
    for _ in 0..index {
        start += finder(start)? + length;
    }
    Some(&text[start..finder(start).map_or(text.len(), |end| start + end)])
}

fn build_split_index(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let by_code = !call.args[1].ty().kind.is_string();
    Ok(Box::new(move |args, rows| {
        let (text, index) = (Strings::new(&args[0])?, Primitives::<Int32Type>::new(&args[2])?);
        if by_code {
            let code = Primitives::<Int32Type>::new(&args[1])?;
            return rows_of_text(rows, text_bytes(&args[0]), |row, out| {
                let delimiter = char::from_u32(u32::try_from(code.get(row)?).ok()?)?;
                let part = split_index(text.get(row)?, delimiter.encode_utf8(&mut [0; 4]), index.get(row)?)?;
                out.push_str(part);
                Some(())
            });
        }
        let delimiter = Strings::new(&args[1])?;
        rows_of_text(rows, text_bytes(&args[0]), |row, out| {
            out.push_str(split_index(text.get(row)?, delimiter.get(row)?, index.get(row)?)?);
            Some(())
        })
    }))
}
