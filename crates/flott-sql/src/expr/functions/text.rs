//! Strings made from strings. Positions and lengths count characters; `CHAR_LENGTH` counts them too, as Flink does for
//! its UTF-8 strings.

use super::entry;
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::types::string_length;
use crate::expr::value::{Primitives, Strings, Value, kernel_error, mismatch};
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, Int32Array, StringArray};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer, OffsetBuffer, ScalarBuffer};
use flott_core::types::MAX_LENGTH;
use flott_core::{LogicalType, TypeKind};
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry("LOWER", "LOWER(STRING)", infer_case_change, build_case_change),
    entry("UPPER", "UPPER(STRING)", infer_case_change, build_case_change),
    entry("INITCAP", "INITCAP(STRING)", infer_case_change, build_case_change),
    entry("REVERSE", "REVERSE(STRING)", infer_reverse, build_case_change),
    entry("CHAR_LENGTH", "CHAR_LENGTH(STRING)", infer_length, build_length),
    entry(
        "TRIM",
        "TRIM([BOTH|LEADING|TRAILING] [STRING FROM] STRING)",
        infer_trim,
        build_trim,
    ),
    entry("LTRIM", "LTRIM(STRING [, STRING])", infer_trim_side, build_trim_side),
    entry("RTRIM", "RTRIM(STRING [, STRING])", infer_trim_side, build_trim_side),
    entry("BTRIM", "BTRIM(STRING [, STRING])", infer_trim_side, build_trim_side),
    entry(
        "SUBSTRING",
        "SUBSTRING(STRING, INT [, INT])",
        infer_substring,
        build_substring,
    ),
    entry("LEFT", "LEFT(STRING, INT)", infer_substring, build_left_right),
    entry("RIGHT", "RIGHT(STRING, INT)", infer_substring, build_left_right),
    entry("LPAD", "LPAD(STRING, INT, STRING)", infer_pad, build_pad),
    entry("RPAD", "RPAD(STRING, INT, STRING)", infer_pad, build_pad),
    entry("REPEAT", "REPEAT(STRING, INT)", infer_repeat, build_repeat),
    entry("||", "STRING || STRING", infer_pipes, build_concat),
    entry("CONCAT", "CONCAT(STRING, ...)", infer_concat, build_concat),
    entry(
        "CONCAT_WS",
        "CONCAT_WS(separator STRING, STRING, ...)",
        infer_concat,
        build_concat_ws,
    ),
];

/// STRING, nullable if any argument is.
fn string(args: &Arguments) -> LogicalType {
    args.result(TypeKind::Varchar(MAX_LENGTH))
}

/// VARCHAR of the length of argument `i`.
fn varchar_of(args: &Arguments, i: usize) -> TypeKind {
    TypeKind::Varchar(string_length(args.kind(i)).unwrap_or(MAX_LENGTH))
}

/// One string a row: `write` appends it to the buffer, which holds the rows before it, or says that it is NULL.
///
/// # Errors
/// If a batch makes more than [`MAX_TEXT_BYTES`] of text; a `write` that can make much of little stops there by itself.
pub(crate) fn rows_of_text(
    rows: usize,
    bytes: usize,
    mut write: impl FnMut(usize, &mut String) -> Option<()>,
) -> Result<ArrayRef, ExprError> {
    let mut buffer = String::with_capacity(bytes);
    let mut offsets = Vec::with_capacity(rows + 1);
    let mut valid = BooleanBufferBuilder::new(rows);
    offsets.push(0);
    for row in 0..rows {
        let start = buffer.len();
        let written = write(row, &mut buffer);
        if written.is_none() {
            buffer.truncate(start);
        }
        valid.append(written.is_some());
        offsets.push(offset(buffer.len())?);
    }
    let nulls = NullBuffer::new(valid.finish());
    let nulls = (nulls.null_count() > 0).then_some(nulls);
    strings(buffer.into_bytes(), offsets, nulls)
}

/// Most text that a function may make of one batch: a length in a row's value must not be able to ask for all memory.
pub(crate) const MAX_TEXT_BYTES: usize = 256 << 20;

/// An end of a string in a batch's buffer.
pub(crate) fn offset(end: usize) -> Result<i32, ExprError> {
    i32::try_from(end)
        .ok()
        .filter(|_| end <= MAX_TEXT_BYTES)
        .ok_or_else(|| ExprError::Kernel {
            function: "text".to_owned(),
            problem: format!(
                "more than {} MiB of text in one batch; make shorter texts",
                MAX_TEXT_BYTES >> 20
            ),
        })
}

/// Bytes of text that rows ask for, at least; an error where that is too much, before any of it is made.
fn check_wanted(rows: usize, wanted: impl Fn(usize) -> Option<usize>) -> Result<usize, ExprError> {
    let bytes = (0..rows).filter_map(wanted).fold(0, usize::saturating_add);
    offset(bytes).map(|_| bytes)
}

/// Appends what `pieces` gives, up to a piece behind [`MAX_TEXT_BYTES`].
pub(crate) fn extend_within_limit<'a>(out: &mut String, pieces: impl Iterator<Item = &'a str>) {
    for piece in pieces {
        out.push_str(piece);
        if out.len() > MAX_TEXT_BYTES {
            return;
        }
    }
}

/// A column of the strings between `offsets`.
pub(crate) fn strings(bytes: Vec<u8>, offsets: Vec<i32>, nulls: Option<NullBuffer>) -> Result<ArrayRef, ExprError> {
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let built = StringArray::try_new(offsets, bytes.into(), nulls);
    Ok(Arc::new(built.map_err(|e| kernel_error("text", &e))?))
}

/// Bytes of text in a value: what a result that is about as long will need.
pub(crate) fn text_bytes(value: &Value) -> usize {
    value.array().as_string_opt::<i32>().map_or(0, |s| s.value_data().len())
}

fn infer_case_change(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    args.string(0)?;
    Ok(args.exprs[0].ty().clone())
}

fn infer_reverse(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    args.string(0)?;
    Ok(LogicalType::string())
}

fn build_case_change(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let change: fn(&str, &mut String) = match call.name {
        "LOWER" => |s, out| out.push_str(&s.to_lowercase()),
        "UPPER" => |s, out| out.push_str(&s.to_uppercase()),
        "REVERSE" => |s, out| out.extend(s.chars().rev()),
        _ => |s, out| {
            // a word begins after anything but an ASCII letter or digit
            let mut inside = false;
            for c in s.chars() {
                out.push(if inside {
                    c.to_ascii_lowercase()
                } else {
                    c.to_ascii_uppercase()
                });
                inside = c.is_ascii_alphanumeric();
            }
        },
    };
    let ascii: Option<fn(&mut [u8])> = match call.name {
        "LOWER" => Some(<[u8]>::make_ascii_lowercase),
        "UPPER" => Some(<[u8]>::make_ascii_uppercase),
        _ => None,
    };
    Ok(Box::new(move |args, rows| {
        if let Some(array) = ascii.and_then(|change| change_ascii(args[0].array(), change)) {
            return Ok(array);
        }
        let strings = Strings::new(&args[0])?;
        rows_of_text(rows, text_bytes(&args[0]), |row, out| {
            change(strings.get(row)?, out);
            Some(())
        })
    }))
}

/// The whole column at once, where all its text is ASCII: no string changes its length.
fn change_ascii(array: &ArrayRef, change: fn(&mut [u8])) -> Option<ArrayRef> {
    let column = array.as_string_opt::<i32>()?;
    let offsets = column.value_offsets();
    let start = *offsets.first()?;
    let used = &column.value_data()[start as usize..*offsets.last()? as usize];
    if !used.is_ascii() {
        return None;
    }
    let mut bytes = used.to_vec();
    change(&mut bytes);
    let offsets = offsets.iter().map(|o| o - start).collect();
    strings(bytes, offsets, column.nulls().cloned()).ok()
}

fn infer_length(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    args.string(0)?;
    Ok(args.result(TypeKind::Int))
}

fn build_length(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let array = args[0].array();
        let strings = array
            .as_string_opt::<i32>()
            .ok_or_else(|| mismatch("CHAR_LENGTH", array))?;
        let offsets = strings.value_offsets();
        let used = &strings.value_data()[offsets[0] as usize..offsets[rows] as usize];
        let lengths = if used.is_ascii() {
            offsets.windows(2).map(|w| w[1] - w[0]).collect()
        } else {
            (0..rows).map(|row| strings.value(row).chars().count() as i32).collect()
        };
        Ok(Arc::new(Int32Array::new(lengths, strings.nulls().cloned())))
    }))
}

fn infer_trim(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    // TRIM(s) is TRIM(BOTH ' ' FROM s)
    if args.len() == 1 {
        let text = args.exprs.remove(0);
        args.exprs = vec![crate::expr::Expr::symbol("BOTH"), crate::expr::Expr::string(" "), text];
    }
    args.count(3, 3)?;
    if !matches!(args.constant_text(0), Some("BOTH" | "LEADING" | "TRAILING")) {
        return Err(Refusal::Arguments);
    }
    args.string(1)?;
    args.string(2)?;
    Ok(args.result(varchar_of(args, 2)))
}

fn trim<'a>(text: &'a str, set: &str, start: bool, end: bool) -> &'a str {
    let mut text = text;
    if start {
        text = text.trim_start_matches(|c| set.contains(c));
    }
    if end {
        text = text.trim_end_matches(|c| set.contains(c));
    }
    text
}

fn build_trim(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let side = match call.args[0].as_literal() {
        Some(crate::expr::Literal::Symbol(s) | crate::expr::Literal::String(s)) => s.clone(),
        _ => return Err(call.not_executable()),
    };
    let (start, end) = (side != "TRAILING", side != "LEADING");
    Ok(Box::new(move |args, rows| {
        let (set, text) = (Strings::new(&args[1])?, Strings::new(&args[2])?);
        rows_of_text(rows, text_bytes(&args[2]), |row, out| {
            out.push_str(trim(text.get(row)?, set.get(row)?, start, end));
            Some(())
        })
    }))
}

fn infer_trim_side(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 2)?;
    (0..args.len()).try_for_each(|i| args.string(i))?;
    if args.name == "BTRIM" {
        return Ok(string(args));
    }
    Ok(args.result(varchar_of(args, 0)))
}

fn build_trim_side(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let (start, end) = (call.name != "RTRIM", call.name != "LTRIM");
    Ok(Box::new(move |args, rows| {
        let text = Strings::new(&args[0])?;
        let set = args.get(1).map(Strings::new).transpose()?;
        rows_of_text(rows, text_bytes(&args[0]), |row, out| {
            let set = match &set {
                Some(set) => set.get(row)?,
                None => " ",
            };
            out.push_str(trim(text.get(row)?, set, start, end));
            Some(())
        })
    }))
}

fn infer_substring(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, if args.name == "SUBSTRING" { 3 } else { 2 })?;
    args.string(0)?;
    (1..args.len()).try_for_each(|i| args.int(i))?;
    Ok(LogicalType::new(varchar_of(args, 0)))
}

/// The part of `text` of `length` characters (all of them: `None`) from position `start`: 1 (or 0) is the first, -1
/// the last; a start before the text gives the empty string.
fn substring(text: &str, start: i64, length: Option<i64>) -> &str {
    let ascii = text.is_ascii();
    let count = if ascii || start >= 0 {
        text.len()
    } else {
        text.chars().count()
    } as i64;
    let first = match start {
        1.. => start - 1,
        0 => 0,
        _ if count + start < 0 => return "",
        _ => count + start,
    };
    let at = |n: i64, text: &str| {
        if ascii {
            usize::try_from(n).unwrap_or(usize::MAX).min(text.len())
        } else {
            text.char_indices()
                .nth(usize::try_from(n).unwrap_or(usize::MAX))
                .map_or(text.len(), |(i, _)| i)
        }
    };
    let rest = &text[at(first, text)..];
    match length {
        Some(length) => &rest[..at(length, rest)],
        None => rest,
    }
}

fn build_substring(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (text, start) = (Strings::new(&args[0])?, Primitives::<Int32Type>::new(&args[1])?);
        let length = args.get(2).map(Primitives::<Int32Type>::new).transpose()?;
        rows_of_text(rows, text_bytes(&args[0]), |row, out| {
            let length = match &length {
                Some(length) => Some(i64::from(length.get(row)?)),
                None => None,
            };
            // a negative length is no string at all
            if length.is_some_and(|l| l < 0) {
                return None;
            }
            out.push_str(substring(text.get(row)?, start.get(row)?.into(), length));
            Some(())
        })
    }))
}

fn build_left_right(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let left = call.name == "LEFT";
    Ok(Box::new(move |args, rows| {
        let (text, count) = (Strings::new(&args[0])?, Primitives::<Int32Type>::new(&args[1])?);
        rows_of_text(rows, text_bytes(&args[0]), |row, out| {
            let (text, count) = (text.get(row)?, i64::from(count.get(row)?));
            if count <= 0 {
                return Some(());
            }
            let all = text.chars().count() as i64;
            out.push_str(if left {
                substring(text, 1, Some(count))
            } else {
                substring(text, (all - count).max(0) + 1, None)
            });
            Some(())
        })
    }))
}

fn infer_pad(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(3, 3)?;
    args.string(0)?;
    args.int(1)?;
    args.string(2)?;
    Ok(string(args))
}

fn build_pad(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let left = call.name == "LPAD";
    Ok(Box::new(move |args, rows| {
        let (text, length) = (Strings::new(&args[0])?, Primitives::<Int32Type>::new(&args[1])?);
        let pad = Strings::new(&args[2])?;
        let wanted = |row| match (text.get(row)?, pad.get(row)?) {
            (text, "") => Some(text.len()),
            _ => usize::try_from(length.get(row)?).ok(),
        };
        let bytes = check_wanted(rows, wanted)?;
        rows_of_text(rows, bytes, |row, out| {
            let (text, pad) = (text.get(row)?, pad.get(row)?);
            let length = usize::try_from(length.get(row)?).ok()?;
            if !(text.is_ascii() && pad.is_ascii()) {
                return pad_units(text, length, pad, left, out);
            }
            let have = text.len();
            if have >= length {
                out.push_str(&text[..length]);
                return Some(());
            }
            if pad.is_empty() {
                return None;
            }
            let filling = pad.chars().cycle().take(length - have);
            if left {
                out.extend(filling);
                out.push_str(text);
            } else {
                out.push_str(text);
                out.extend(filling);
            }
            Some(())
        })
    }))
}

/// Pads to a length in UTF-16 units, which is how Flink counts here; a character cut in two is a question mark.
fn pad_units(text: &str, length: usize, pad: &str, left: bool, out: &mut String) -> Option<()> {
    let text: Vec<u16> = text.encode_utf16().take(length).collect();
    let pad: Vec<u16> = pad.encode_utf16().collect();
    if pad.is_empty() && text.len() < length {
        return None;
    }
    let filling = pad.iter().copied().cycle().take(length - text.len());
    let units: Vec<u16> = if left {
        filling.chain(text.iter().copied()).collect()
    } else {
        text.iter().copied().chain(filling).collect()
    };
    out.extend(char::decode_utf16(units).map(|c| c.unwrap_or('?')));
    Some(())
}

fn infer_repeat(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    args.string(0)?;
    args.int(1)?;
    Ok(string(args))
}

fn build_repeat(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (text, times) = (Strings::new(&args[0])?, Primitives::<Int32Type>::new(&args[1])?);
        let wanted = |row| {
            Some(
                text.get(row)?
                    .len()
                    .saturating_mul(usize::try_from(times.get(row)?).ok()?),
            )
        };
        let bytes = check_wanted(rows, wanted)?;
        rows_of_text(rows, bytes, |row, out| {
            let (text, times) = (text.get(row)?, times.get(row)?);
            if !text.is_empty() {
                (0..times).for_each(|_| out.push_str(text));
            }
            Some(())
        })
    }))
}

fn infer_pipes(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, usize::MAX)?;
    (0..args.len()).try_for_each(|i| args.string(i))?;
    let lengths: Vec<u32> = (0..args.len()).filter_map(|i| string_length(args.kind(i))).collect();
    let total = lengths
        .iter()
        .fold(0u32, |sum, n| sum.saturating_add(*n).min(MAX_LENGTH));
    let fixed = (0..args.len()).all(|i| matches!(args.kind(i), TypeKind::Char(_)));
    Ok(args.result(if fixed {
        TypeKind::Char(total)
    } else {
        TypeKind::Varchar(total)
    }))
}

fn infer_concat(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, usize::MAX)?;
    (0..args.len()).try_for_each(|i| args.string(i))?;
    Ok(string(args))
}

fn build_concat(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let parts: Vec<Strings<'_>> = args.iter().map(Strings::new).collect::<Result<_, _>>()?;
        rows_of_text(rows, args.iter().map(text_bytes).sum(), |row, out| {
            parts.iter().try_for_each(|part| {
                out.push_str(part.get(row)?);
                Some(())
            })
        })
    }))
}

fn build_concat_ws(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let parts: Vec<Strings<'_>> = args.iter().map(Strings::new).collect::<Result<_, _>>()?;
        rows_of_text(rows, args.iter().map(text_bytes).sum(), |row, out| {
            let separator = parts[0].get(row)?;
            for (i, part) in parts[1..].iter().filter_map(|p| p.get(row)).enumerate() {
                out.push_str(if i > 0 { separator } else { "" });
                out.push_str(part);
            }
            Some(())
        })
    }))
}
