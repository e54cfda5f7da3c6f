//! SQL values as JSON: `JSON_OBJECT`, `JSON_ARRAY`, `JSON_STRING`, `JSON_QUOTE`, `JSON_UNQUOTE`, and `JSON(…)` in their
//! arguments. Keys come out in alphabetical order, as in Flink.
//!
//! The first argument of `JSON_OBJECT` and `JSON_ARRAY` is a symbol: `NULL` or `ABSENT` (what becomes of NULLs), then for
//! each value `J` where it is JSON already (made by one of these functions) and `V` where it is not.

use super::document::{Node, number_text, write_text};
use crate::expr::cast::text::write_value;
use crate::expr::display::decimal_text;
use crate::expr::error::ExprError;
use crate::expr::functions::text::{rows_of_text, text_bytes};
use crate::expr::functions::{always, entry};
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::temporal::{DAY_S, counts, per_second, write_date, write_time};
use crate::expr::value::{Strings, Value, mismatch};
use crate::expr::{Expr, Literal, TimeZone};
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, Float64Array};
use base64::Engine;
use flott_core::types::MAX_LENGTH;
use flott_core::{Field, LogicalType, TypeKind};
use std::fmt::Write;
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry(
        "JSON_OBJECT",
        "JSON_OBJECT([[KEY] key STRING VALUE value, ...] [{NULL|ABSENT} ON NULL])",
        infer_made,
        build_made,
    )
    .failing(always),
    entry(
        "JSON_ARRAY",
        "JSON_ARRAY([value, ...] [{NULL|ABSENT} ON NULL])",
        infer_made,
        build_made,
    )
    .failing(always),
    entry("JSON_STRING", "JSON_STRING(value)", infer_string, build_string),
    entry("JSON_QUOTE", "JSON_QUOTE(STRING)", infer_quote, build_quote),
    entry("JSON_UNQUOTE", "JSON_UNQUOTE(STRING)", infer_quote, build_quote),
    entry(
        "JSON",
        "JSON(STRING) as an argument of JSON_OBJECT or JSON_ARRAY",
        infer_quote,
        build_json,
    )
    .failing(always),
];

/// Whether JSON has a form for values of this type.
fn has_form(kind: &TypeKind) -> bool {
    match kind {
        TypeKind::Array(element) => has_form(&element.kind),
        TypeKind::Map(key, value) => key.kind.is_string() && has_form(&value.kind),
        TypeKind::Multiset(element) => element.kind.is_string(),
        TypeKind::Row(fields) => fields.iter().all(|f| has_form(&f.ty.kind)),
        kind => {
            kind.is_numeric()
                || kind.is_string()
                || kind.is_binary()
                || kind.is_timestamp()
                || matches!(kind, TypeKind::Boolean | TypeKind::Null)
        }
    }
}

fn refuse_formless(args: &Arguments, i: usize) -> Result<(), Refusal> {
    if has_form(args.kind(i)) {
        return Ok(());
    }
    Err(Refusal::Constant(format!(
        "JSON has no form for {}; CAST it to STRING",
        args.kind(i)
    )))
}

/// Functions whose result is JSON and not a text in JSON.
pub fn makes_json(expr: &Expr) -> bool {
    matches!(expr, Expr::Call { function, .. } if matches!(function.as_str(), "JSON_OBJECT" | "JSON_ARRAY" | "JSON"))
}

fn infer_made(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    let object = args.name == "JSON_OBJECT";
    let given = match args.exprs.first().and_then(Expr::as_literal) {
        Some(Literal::Symbol(s)) => Some(s.clone()),
        _ => None,
    };
    let on_null = given.unwrap_or_else(|| {
        let default = if object { "NULL" } else { "ABSENT" };
        args.exprs.insert(0, Expr::symbol(default));
        default.to_owned()
    });
    if object && args.len().is_multiple_of(2) {
        return Err(Refusal::Arguments);
    }
    let mut forms = String::new();
    for i in 1..args.len() {
        if object && i % 2 == 1 {
            args.string(i)?;
            if args.kind(i) == &TypeKind::Null || matches!(args.exprs[i].as_literal(), Some(Literal::Null)) {
                return Err(Refusal::Constant("a key must not be NULL".to_owned()));
            }
            continue;
        }
        refuse_formless(args, i)?;
        forms.push(if makes_json(&args.exprs[i]) { 'J' } else { 'V' });
    }
    let on_null = on_null.split(' ').next().unwrap_or("NULL");
    args.exprs[0] = Expr::symbol(format!("{on_null} {forms}").trim_end());
    Ok(LogicalType::not_null(TypeKind::Varchar(MAX_LENGTH)))
}

fn build_made(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let object = call.name == "JSON_OBJECT";
    let Some(Literal::Symbol(symbol)) = call.args.first().and_then(Expr::as_literal) else {
        return Err(call.not_executable());
    };
    let (on_null, forms) = symbol.split_once(' ').unwrap_or((symbol, ""));
    let absent = on_null == "ABSENT";
    let forms: Vec<bool> = forms.bytes().map(|b| b == b'J').collect();
    let kinds: Vec<TypeKind> = call.args.iter().map(|a| a.ty().kind.clone()).collect();
    let zone = call.context.time_zone;
    let step = if object { 2 } else { 1 };
    Ok(Box::new(move |args, rows| {
        let mut failed = None;
        let mut members: Vec<(String, String)> = vec![];
        let result = rows_of_text(rows, rows * 32, |row, out| {
            members.clear();
            for (nth, raw) in forms.iter().enumerate() {
                let at = step * (nth + 1);
                let key = if object { text_at(&args[at - 1], row) } else { Ok(None) };
                let written = key.and_then(|key| {
                    let key = match (object, key) {
                        (true, None) => {
                            return Err(ExprError::Value {
                                function: "JSON_OBJECT",
                                problem: "a key is NULL".to_owned(),
                            });
                        }
                        (_, key) => key.unwrap_or_default(),
                    };
                    let mut json = String::new();
                    let value = &args[at];
                    let i = if value.is_scalar() { 0 } else { row };
                    if kinds[at] == TypeKind::Null || value.array().is_null(i) {
                        if absent {
                            return Ok(None);
                        }
                        json.push_str("null");
                    } else if *raw {
                        json = text_at(value, row)?.unwrap_or_default();
                    } else {
                        write(value.array(), &kinds[at], i, &zone, &mut json)?;
                    }
                    Ok(Some((key, json)))
                });
                match written {
                    Ok(Some((key, json))) => match members.iter_mut().find(|(k, _)| object && *k == key) {
                        Some(known) => known.1 = json,
                        None => members.push((key, json)),
                    },
                    Ok(None) => {}
                    Err(e) => failed = Some(e),
                }
            }
            if object {
                members.sort_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
            }
            out.push(if object { '{' } else { '[' });
            for (i, (key, json)) in members.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                if object {
                    write_text(key, out);
                    out.push(':');
                }
                out.push_str(json);
            }
            out.push(if object { '}' } else { ']' });
            Some(())
        })?;
        failed.map_or(Ok(result), Err)
    }))
}

fn text_at(value: &Value, row: usize) -> Result<Option<String>, ExprError> {
    Ok(Strings::new(value)?.get(row).map(str::to_owned))
}

/// Appends one value that is not NULL as JSON.
fn write(array: &ArrayRef, kind: &TypeKind, row: usize, zone: &TimeZone, out: &mut String) -> Result<(), ExprError> {
    let bad = || mismatch("JSON_STRING", array);
    match kind {
        TypeKind::Boolean => out.push_str(if array.as_boolean_opt().ok_or_else(bad)?.value(row) {
            "true"
        } else {
            "false"
        }),
        TypeKind::Char(_) | TypeKind::Varchar(_) => {
            write_text(array.as_string_opt::<i32>().ok_or_else(bad)?.value(row), out);
        }
        TypeKind::Binary(_) | TypeKind::Varbinary(_) => {
            let bytes = array.as_binary_opt::<i32>().ok_or_else(bad)?.value(row);
            out.push('"');
            base64::engine::general_purpose::STANDARD.encode_string(bytes, out);
            out.push('"');
        }
        TypeKind::Decimal(_, scale) => {
            let value = array.as_primitive_opt::<Decimal128Type>().ok_or_else(bad)?.value(row);
            out.push_str(&decimal_text(value, *scale));
        }
        TypeKind::Float | TypeKind::Double => {
            let value = match kind {
                TypeKind::Float => array
                    .as_primitive_opt::<Float32Type>()
                    .ok_or_else(bad)?
                    .value(row)
                    .into(),
                _ => array.as_primitive_opt::<Float64Type>().ok_or_else(bad)?.value(row),
            };
            let double: ArrayRef = Arc::new(Float64Array::from(vec![value]));
            let mut text = String::new();
            write_value(&double, &TypeKind::Double, 0, zone, &mut text)?;
            if value.is_finite() {
                out.push_str(&number_text(&text));
            } else {
                write_text(&text, out);
            }
        }
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
            let (count, unit) = (counts(array)?[row], per_second(*p));
            let nanos = count.rem_euclid(unit) * (1_000_000_000 / unit);
            out.push('"');
            write_iso(
                count.div_euclid(unit),
                nanos,
                matches!(kind, TypeKind::TimestampLtz(_)),
                out,
            );
            out.push('"');
        }
        TypeKind::Array(element) => {
            let values = array.as_list_opt::<i32>().ok_or_else(bad)?.value(row);
            out.push('[');
            for i in 0..values.len() {
                out.push_str(if i > 0 { "," } else { "" });
                write_nullable(&values, &element.kind, i, zone, out)?;
            }
            out.push(']');
        }
        TypeKind::Map(_, value) => write_map(array, &value.kind, row, zone, out)?,
        TypeKind::Multiset(_) => write_map(array, &TypeKind::Int, row, zone, out)?,
        TypeKind::Row(fields) => {
            let columns = array.as_struct_opt().ok_or_else(bad)?.columns();
            let mut members: Vec<(&ArrayRef, &Field)> = columns.iter().zip(fields).collect();
            members.sort_by(|a, b| a.1.name.encode_utf16().cmp(b.1.name.encode_utf16()));
            out.push('{');
            for (i, (column, field)) in members.into_iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                write_text(&field.name, out);
                out.push(':');
                write_nullable(column, &field.ty.kind, row, zone, out)?;
            }
            out.push('}');
        }
        _ => write_value(array, kind, row, zone, out)?,
    }
    Ok(())
}

fn write_nullable(
    array: &ArrayRef,
    kind: &TypeKind,
    row: usize,
    zone: &TimeZone,
    out: &mut String,
) -> Result<(), ExprError> {
    if kind == &TypeKind::Null || array.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    write(array, kind, row, zone, out)
}

fn write_map(
    array: &ArrayRef,
    value: &TypeKind,
    row: usize,
    zone: &TimeZone,
    out: &mut String,
) -> Result<(), ExprError> {
    let bad = || mismatch("JSON_STRING", array);
    let entries = array.as_map_opt().ok_or_else(bad)?.value(row);
    let keys = entries.column(0).as_string_opt::<i32>().ok_or_else(bad)?.clone();
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by(|a, b| keys.value(*a).encode_utf16().cmp(keys.value(*b).encode_utf16()));
    out.push('{');
    for (i, entry) in order.into_iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        write_text(keys.value(entry), out);
        out.push(':');
        write_nullable(entries.column(1), value, entry, zone, out)?;
    }
    out.push('}');
    Ok(())
}

/// A time in ISO 8601 with as many digits of the fraction as it has; an instant ends in `Z`.
fn write_iso(seconds: i64, nanos: i64, instant: bool, out: &mut String) {
    write_date(seconds.div_euclid(DAY_S), out);
    out.push('T');
    write_time(seconds.rem_euclid(DAY_S), nanos, if nanos == 0 { 0 } else { 9 }, out);
    if nanos != 0 {
        out.truncate(out.trim_end_matches('0').len());
    }
    if instant {
        out.push('Z');
    }
}

fn infer_string(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    refuse_formless(args, 0)?;
    Ok(args.result(TypeKind::Varchar(MAX_LENGTH)))
}

fn build_string(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let kind = call.args[0].ty().kind.clone();
    let zone = call.context.time_zone;
    Ok(Box::new(move |args, rows| {
        let array = args[0].array();
        let step = usize::from(!args[0].is_scalar());
        let mut failed = None;
        let result = rows_of_text(rows, rows * 16, |row, out| {
            if kind == TypeKind::Null || array.is_null(row * step) {
                return None;
            }
            if let Err(e) = write(array, &kind, row * step, &zone, out) {
                failed = Some(e);
            }
            Some(())
        })?;
        failed.map_or(Ok(result), Err)
    }))
}

fn infer_quote(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    args.string(0)?;
    Ok(args.result(TypeKind::Varchar(MAX_LENGTH)))
}

/// Appends a text in quotes, with escapes for all that is not ASCII.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '/' => out.push_str("\\/"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x7f' => out.push(c),
            c => {
                // writing into memory does not fail
                let _ = write!(out, "\\u{:04x}", u32::from(c));
                let mut units = [0; 2];
                if let [_, low] = c.encode_utf16(&mut units) {
                    // Flink writes the character and then its second half again
                    let _ = write!(out, "\\u{low:04x}");
                }
            }
        }
    }
    out.push('"');
}

fn build_quote(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let quoting = call.name == "JSON_QUOTE";
    Ok(Box::new(move |args, rows| {
        let texts = Strings::new(&args[0])?;
        rows_of_text(rows, text_bytes(&args[0]), |row, out| {
            let text = texts.get(row)?;
            if quoting {
                quote(text, out);
                return Some(());
            }
            let quoted = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
            match quoted.then(|| Node::read(text)).flatten() {
                Some(Node::Text(inner)) => out.push_str(&inner),
                _ => out.push_str(text),
            }
            Some(())
        })
    }))
}

fn build_json(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let texts = Strings::new(&args[0])?;
        let mut failed = None;
        let result = rows_of_text(rows, text_bytes(&args[0]), |row, out| {
            match Node::read(texts.get(row)?) {
                Some(node) => node.write(out),
                None => {
                    failed = Some(ExprError::Value {
                        function: "JSON",
                        problem: "the text is no JSON".to_owned(),
                    });
                }
            }
            Some(())
        })?;
        failed.map_or(Ok(Arc::clone(&result)), Err)
    }))
}
