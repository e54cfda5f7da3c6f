//! Values as the strings that Flink's CAST makes: `TRUE`, `1.0E10`, `2024-02-29 12:34:56.789`, `[1, NULL]`, `{k=v}`,
//! `(1, a)`, `+1 02:03:04.005`.

use crate::expr::display::decimal_text;
use crate::expr::error::ExprError;
use crate::expr::temporal::{DAY_MS, counts, per_second, write_date, write_time, write_timestamp};
use crate::expr::time_zone::TimeZone;
use crate::expr::value::mismatch;
use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType,
};
use arrow_array::{Array, ArrayRef};
use flott_core::TypeKind;
use std::fmt::Write;
use std::sync::Arc;

/// How values look.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Where TIMESTAMP_LTZ is shown.
    pub zone: &'a TimeZone,
    /// Bytes as `x'00ff'`, as Flink's client shows them, and not as the text that they are.
    pub hex_bytes: bool,
}

/// Every value of `array`, which is of this kind, as text; NULL stays NULL.
///
/// # Errors
/// If the array is not of this kind.
pub fn to_strings(array: &ArrayRef, kind: &TypeKind, zone: &TimeZone) -> Result<ArrayRef, ExprError> {
    match kind {
        TypeKind::TinyInt => return integers::<Int8Type>(array),
        TypeKind::SmallInt => return integers::<Int16Type>(array),
        TypeKind::Int => return integers::<Int32Type>(array),
        TypeKind::BigInt => return integers::<Int64Type>(array),
        _ => {}
    }
    let mut out = StringBuilder::with_capacity(array.len(), array.len() * 12);
    for row in 0..array.len() {
        if array.is_null(row) {
            out.append_null();
        } else {
            write_value(array, kind, row, zone, &mut out)?;
            out.append_value("");
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Integers, several times faster than by the formatting machinery.
fn integers<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<ArrayRef, ExprError>
where
    T::Native: Into<i64>,
{
    let values = array.as_primitive_opt::<T>().ok_or_else(|| mismatch("CAST", array))?;
    let mut out = StringBuilder::with_capacity(array.len(), array.len() * 12);
    let mut digits = [0u8; 20];
    for value in values {
        let Some(value) = value else {
            out.append_null();
            continue;
        };
        let value: i64 = value.into();
        let mut rest = value.unsigned_abs();
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if value < 0 {
            start -= 1;
            digits[start] = b'-';
        }
        // digits and a sign are UTF-8
        out.append_value(std::str::from_utf8(&digits[start..]).unwrap_or_default());
    }
    Ok(Arc::new(out.finish()))
}

/// Appends the text of one value that is not NULL, as CAST makes it.
///
/// # Errors
/// If the array is not of this kind.
pub fn write_value(
    array: &ArrayRef,
    kind: &TypeKind,
    row: usize,
    zone: &TimeZone,
    out: &mut impl Write,
) -> Result<(), ExprError> {
    write_shown(array, kind, row, &Look { zone, hex_bytes: false }, out)
}

/// Appends the text of one value that is not NULL, as it shall look.
///
/// # Errors
/// If the array is not of this kind.
pub fn write_shown(
    array: &ArrayRef,
    kind: &TypeKind,
    row: usize,
    look: &Look<'_>,
    out: &mut impl Write,
) -> Result<(), ExprError> {
    let bad = || mismatch("CAST", array);
    // writing into memory does not fail
    let _ = match kind {
        TypeKind::Boolean => {
            let value = array.as_boolean_opt().ok_or_else(bad)?.value(row);
            out.write_str(if value { "TRUE" } else { "FALSE" })
        }
        TypeKind::TinyInt => write!(
            out,
            "{}",
            array.as_primitive_opt::<Int8Type>().ok_or_else(bad)?.value(row)
        ),
        TypeKind::SmallInt => write!(
            out,
            "{}",
            array.as_primitive_opt::<Int16Type>().ok_or_else(bad)?.value(row)
        ),
        TypeKind::Int => write!(
            out,
            "{}",
            array.as_primitive_opt::<Int32Type>().ok_or_else(bad)?.value(row)
        ),
        TypeKind::BigInt => write!(
            out,
            "{}",
            array.as_primitive_opt::<Int64Type>().ok_or_else(bad)?.value(row)
        ),
        TypeKind::Float => {
            let value = array.as_primitive_opt::<Float32Type>().ok_or_else(bad)?.value(row);
            write_real(value, out)
        }
        TypeKind::Double => {
            let value = array.as_primitive_opt::<Float64Type>().ok_or_else(bad)?.value(row);
            write_double(value, out)
        }
        TypeKind::Decimal(_, scale) => {
            let value = array.as_primitive_opt::<Decimal128Type>().ok_or_else(bad)?.value(row);
            out.write_str(&decimal_text(value, *scale))
        }
        TypeKind::Char(_) | TypeKind::Varchar(_) => {
            out.write_str(array.as_string_opt::<i32>().ok_or_else(bad)?.value(row))
        }
        TypeKind::Binary(_) | TypeKind::Varbinary(_) => {
            let bytes = array.as_binary_opt::<i32>().ok_or_else(bad)?.value(row);
            if look.hex_bytes {
                let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
                let _ = write!(out, "x'{digits}'");
                return Ok(());
            }
            out.write_str(&String::from_utf8_lossy(bytes))
        }
        TypeKind::Date => {
            write_date(
                array
                    .as_primitive_opt::<Date32Type>()
                    .ok_or_else(bad)?
                    .value(row)
                    .into(),
                out,
            );
            Ok(())
        }
        TypeKind::Time(precision) => {
            let ms = i64::from(
                array
                    .as_primitive_opt::<Time32MillisecondType>()
                    .ok_or_else(bad)?
                    .value(row),
            );
            write_time(ms / 1000, ms % 1000 * 1_000_000, (*precision).min(3), out);
            Ok(())
        }
        TypeKind::Timestamp(p) => {
            write_timestamp(counts(array)?[row], *p, out);
            Ok(())
        }
        TypeKind::TimestampLtz(p) => {
            let (count, unit) = (counts(array)?[row], per_second(*p));
            let local = count + look.zone.offset_at(count.div_euclid(unit)) * unit;
            write_timestamp(local, *p, out);
            Ok(())
        }
        TypeKind::IntervalYearMonth => {
            let months = array.as_primitive_opt::<Int32Type>().ok_or_else(bad)?.value(row);
            let sign = if months < 0 { '-' } else { '+' };
            let months = months.unsigned_abs();
            write!(out, "{sign}{}-{:02}", months / 12, months % 12)
        }
        TypeKind::IntervalDayTime => {
            let ms = array.as_primitive_opt::<Int64Type>().ok_or_else(bad)?.value(row);
            let _ = write!(out, "{}{} ", if ms < 0 { '-' } else { '+' }, ms.abs() / DAY_MS);
            let rest = ms.abs() % DAY_MS;
            write_time(rest / 1000, rest % 1000 * 1_000_000, 3, out);
            Ok(())
        }
        TypeKind::Array(element) => {
            let values = array.as_list_opt::<i32>().ok_or_else(bad)?.value(row);
            let _ = out.write_str("[");
            for i in 0..values.len() {
                let _ = out.write_str(if i > 0 { ", " } else { "" });
                write_nullable(&values, &element.kind, i, look, out)?;
            }
            out.write_str("]")
        }
        TypeKind::Map(key, value) => {
            let entries = array.as_map_opt().ok_or_else(bad)?.value(row);
            write_entries(&entries, &key.kind, &value.kind, look, out)?
        }
        TypeKind::Multiset(element) => {
            let entries = array.as_map_opt().ok_or_else(bad)?.value(row);
            write_entries(&entries, &element.kind, &TypeKind::Int, look, out)?
        }
        TypeKind::Row(fields) => {
            let columns = array.as_struct_opt().ok_or_else(bad)?.columns();
            let _ = out.write_str("(");
            for (i, (column, field)) in columns.iter().zip(fields).enumerate() {
                let _ = out.write_str(if i > 0 { ", " } else { "" });
                write_nullable(column, &field.ty.kind, row, look, out)?;
            }
            out.write_str(")")
        }
        TypeKind::Null => out.write_str("NULL"),
    };
    Ok(())
}

fn write_entries(
    entries: &arrow_array::StructArray,
    key: &TypeKind,
    value: &TypeKind,
    look: &Look<'_>,
    out: &mut impl Write,
) -> Result<std::fmt::Result, ExprError> {
    let _ = out.write_str("{");
    for i in 0..entries.len() {
        let _ = out.write_str(if i > 0 { ", " } else { "" });
        write_nullable(entries.column(0), key, i, look, out)?;
        let _ = out.write_str("=");
        write_nullable(entries.column(1), value, i, look, out)?;
    }
    Ok(out.write_str("}"))
}

fn write_nullable(
    array: &ArrayRef,
    kind: &TypeKind,
    row: usize,
    look: &Look<'_>,
    out: &mut impl Write,
) -> Result<(), ExprError> {
    if array.is_null(row) {
        let _ = out.write_str("NULL");
        return Ok(());
    }
    write_shown(array, kind, row, look, out)
}

/// A FLOAT as Java writes it: `1.0E10`.
///
/// # Errors
/// Those of `out`.
pub fn write_real(value: f32, out: &mut impl Write) -> std::fmt::Result {
    write_float(f64::from(value), &format!("{value:e}"), out)
}

/// A DOUBLE as Java writes it: `1.0E10`.
///
/// # Errors
/// Those of `out`.
pub fn write_double(value: f64, out: &mut impl Write) -> std::fmt::Result {
    write_float(value, &format!("{value:e}"), out)
}

/// Java's text of a floating point number: plain from 10^-3 to 10^7, else with an exponent; always a fraction.
/// `shortest` is Rust's shortest text in scientific form (`1.5e-7`).
fn write_float(value: f64, shortest: &str, out: &mut impl Write) -> std::fmt::Result {
    if value.is_nan() {
        return out.write_str("NaN");
    }
    if value.is_infinite() {
        return out.write_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    if value == 0.0 {
        return out.write_str(if value.is_sign_negative() { "-0.0" } else { "0.0" });
    }
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |m| ("-", m));
    let digits = mantissa.replace('.', "");
    out.write_str(sign)?;
    match exponent {
        -3..0 => {
            out.write_str("0.")?;
            (1..-exponent).try_for_each(|_| out.write_str("0"))?;
            out.write_str(&digits)
        }
        0..7 => {
            let whole = exponent as usize + 1;
            if digits.len() <= whole {
                write!(out, "{digits:0<whole$}.0")
            } else {
                write!(out, "{}.{}", &digits[..whole], &digits[whole..])
            }
        }
        _ => {
            // Java prints two digits at least: of all that read back as the value, the nearest
            let two = format!("{value:.1e}");
            let (first, rest) = digits.split_at(1);
            match two.split_once('e') {
                Some((mantissa, e)) if rest.is_empty() && two.parse() == Ok(value) => {
                    write!(out, "{}E{e}", mantissa.trim_start_matches('-'))
                }
                _ => write!(out, "{first}.{}E{exponent}", if rest.is_empty() { "0" } else { rest }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_print_as_java_prints_them() {
        for (value, text) in [
            (1e7, "1.0E7"),
            (1e6, "1000000.0"),
            (123_456_789.123, "1.23456789123E8"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (1e100, "1.0E100"),
            (-1234.567, "-1234.567"),
            (1.0, "1.0"),
            (4.9e-324, "4.9E-324"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            let mut out = String::new();
            write_float(value, &format!("{value:e}"), &mut out).unwrap();
            assert_eq!(out, text);
        }
    }
}
