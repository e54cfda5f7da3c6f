//! `PRINTF`: Java's `Formatter` over SQL values. A format that does not fit its arguments gives NULL, as in Flink.

use super::entry;
use super::text::{MAX_TEXT_BYTES, rows_of_text};
use crate::expr::cast::text::write_value;
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::value::{Strings, Value, mismatch};
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
};
use flott_core::{LogicalType, TypeKind};

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[entry("PRINTF", "PRINTF(format STRING, ANY, ...)", infer, build)];

fn infer(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, usize::MAX)?;
    args.string(0)?;
    Ok(LogicalType::string())
}

/// A value to print.
enum Argument {
    Null,
    Boolean(bool),
    /// A whole number of so many bits.
    Integer(i64, u32),
    Double(f64),
    /// Any other value, by its text.
    Text(String),
}

fn build(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let kinds: Vec<TypeKind> = call.args[1..].iter().map(|a| a.ty().kind.clone()).collect();
    let zone = call.context.time_zone;
    Ok(Box::new(move |args, rows| {
        let formats = Strings::new(&args[0])?;
        let mut failure = None;
        let result = rows_of_text(rows, rows * 32, |row, out| {
            let format = formats.get(row)?;
            let mut argument = |i: usize| -> Option<Argument> {
                match argument(&args[i + 1], &kinds[i], row, &zone) {
                    Ok(argument) => Some(argument),
                    Err(e) => {
                        failure = Some(e);
                        None
                    }
                }
            };
            let values: Vec<Argument> = (0..kinds.len()).map(&mut argument).collect::<Option<_>>()?;
            print(format, &values, out)
        })?;
        failure.map_or(Ok(result), Err)
    }))
}

fn argument(
    value: &Value,
    kind: &TypeKind,
    row: usize,
    zone: &crate::expr::time_zone::TimeZone,
) -> Result<Argument, ExprError> {
    let array = value.array();
    let row = if value.is_scalar() { 0 } else { row };
    if kind == &TypeKind::Null || array.is_null(row) {
        return Ok(Argument::Null);
    }
    let bad = || mismatch("PRINTF", array);
    Ok(match kind {
        TypeKind::Boolean => Argument::Boolean(array.as_boolean_opt().ok_or_else(bad)?.value(row)),
        TypeKind::TinyInt => {
            let v = array.as_primitive_opt::<Int8Type>().ok_or_else(bad)?.value(row);
            Argument::Integer(v.into(), 8)
        }
        TypeKind::SmallInt => {
            let v = array.as_primitive_opt::<Int16Type>().ok_or_else(bad)?.value(row);
            Argument::Integer(v.into(), 16)
        }
        TypeKind::Int | TypeKind::IntervalYearMonth => {
            let v = array.as_primitive_opt::<Int32Type>().ok_or_else(bad)?.value(row);
            Argument::Integer(v.into(), 32)
        }
        // days and milliseconds, as Flink keeps them
        TypeKind::Date => {
            let v = array.as_primitive_opt::<Date32Type>().ok_or_else(bad)?.value(row);
            Argument::Integer(v.into(), 32)
        }
        TypeKind::Time(_) => {
            let v = array.as_primitive_opt::<Time32MillisecondType>().ok_or_else(bad)?;
            Argument::Integer(v.value(row).into(), 32)
        }
        TypeKind::BigInt | TypeKind::IntervalDayTime => {
            let v = array.as_primitive_opt::<Int64Type>().ok_or_else(bad)?.value(row);
            Argument::Integer(v, 64)
        }
        TypeKind::Float => {
            let v = array.as_primitive_opt::<Float32Type>().ok_or_else(bad)?.value(row);
            Argument::Double(v.into())
        }
        TypeKind::Double => Argument::Double(array.as_primitive_opt::<Float64Type>().ok_or_else(bad)?.value(row)),
        _ => {
            let mut text = String::new();
            write_value(array, kind, row, zone, &mut text)?;
            if kind.is_timestamp() {
                text = text.replacen(' ', "T", 1);
                let end = text.trim_end_matches('0').trim_end_matches('.').len();
                if text.contains('.') {
                    text.truncate(end);
                }
            }
            Argument::Text(text)
        }
    })
}

/// One `%…` of a format.
#[derive(Default)]
struct Directive {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    group: bool,
    parentheses: bool,
    alternate: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Widest field and longest fraction that a format may ask for, so that a value cannot ask for all memory.
const LARGEST: usize = 100_000;

fn print(format: &str, values: &[Argument], out: &mut String) -> Option<()> {
    let mut rest = format;
    let (mut next, mut last) = (0, None);
    while let Some(at) = rest.find('%') {
        if out.len() > MAX_TEXT_BYTES {
            return Some(());
        }
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut directive = Directive::default();
        // `2$`: the argument's number
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let mut index = None;
        if digits > 0 && rest[digits..].starts_with('$') {
            index = Some(rest[..digits].parse::<usize>().ok()?.checked_sub(1)?);
            rest = &rest[digits + 1..];
        }
        if let Some(after) = rest.strip_prefix('<') {
            index = Some(last?);
            rest = after;
        }
        loop {
            let flag = rest.bytes().next()?;
            let seen = match flag {
                b'-' => &mut directive.left,
                b'+' => &mut directive.plus,
                b' ' => &mut directive.space,
                b'0' => &mut directive.zero,
                b',' => &mut directive.group,
                b'(' => &mut directive.parentheses,
                b'#' => &mut directive.alternate,
                _ => break,
            };
            // a flag given twice is wrong
            if std::mem::replace(seen, true) {
                return None;
            }
            rest = &rest[1..];
        }
        let number = |rest: &mut &str| -> Option<Option<usize>> {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return Some(None);
            }
            let value = rest[..digits].parse().ok().filter(|n| *n <= LARGEST)?;
            *rest = &rest[digits..];
            Some(Some(value))
        };
        directive.width = number(&mut rest)?;
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            directive.precision = Some(number(&mut rest)??);
        }
        if (directive.left || directive.zero) && directive.width.is_none() || directive.left && directive.zero {
            return None;
        }
        let conversion = rest.chars().next()?;
        rest = &rest[conversion.len_utf8()..];
        match conversion {
            'n' => out.push('\n'),
            '%' => directive.pad("%", out),
            _ => {
                let index = index.unwrap_or_else(|| {
                    next += 1;
                    next - 1
                });
                last = Some(index);
                directive.value(conversion, values.get(index)?, out)?;
            }
        }
    }
    out.push_str(rest);
    Some(())
}

impl Directive {
    /// Appends `text` in the field's width, which counts UTF-16 units.
    fn pad(&self, text: &str, out: &mut String) {
        let blanks = self.width.unwrap_or(0).saturating_sub(text.encode_utf16().count());
        if self.left {
            out.push_str(text);
        }
        out.extend(std::iter::repeat_n(' ', blanks));
        if !self.left {
            out.push_str(text);
        }
    }

    fn value(&self, conversion: char, value: &Argument, out: &mut String) -> Option<()> {
        let upper = conversion.is_ascii_uppercase();
        let lower = conversion.to_ascii_lowercase();
        let text = match (lower, value) {
            ('b', Argument::Null) => self.cut("false"),
            ('b', Argument::Boolean(v)) => self.cut(if *v { "true" } else { "false" }),
            ('b', _) => self.cut("true"),
            ('s' | 'd' | 'x' | 'o' | 'e' | 'f' | 'g' | 'c', Argument::Null) => self.cut("null"),
            ('s', Argument::Boolean(v)) => self.cut(if *v { "true" } else { "false" }),
            ('s', Argument::Integer(v, _)) => self.cut(&v.to_string()),
            ('s', Argument::Double(v)) => self.cut(&java_double(*v)),
            ('s', Argument::Text(text)) => self.cut(text),
            ('c', Argument::Integer(v, 8..=32)) => char::from_u32(u32::try_from(*v).ok()?)?.to_string(),
            ('d', Argument::Integer(v, _)) if !upper && self.precision.is_none() => {
                return self.signed(*v < 0, &v.unsigned_abs().to_string(), out);
            }
            ('x' | 'o', Argument::Integer(v, bits)) if self.precision.is_none() => {
                if self.plus || self.space || self.group || self.parentheses {
                    return None;
                }
                let unsigned = if *bits == 64 {
                    *v as u64
                } else {
                    *v as u64 & ((1 << bits) - 1)
                };
                let mut digits = if lower == 'x' {
                    format!("{unsigned:x}")
                } else {
                    format!("{unsigned:o}")
                };
                if self.alternate {
                    digits.insert_str(0, if lower == 'x' { "0x" } else { "0" });
                }
                if self.zero {
                    let missing = self.width.unwrap_or(0).saturating_sub(digits.len());
                    digits.insert_str(0, &"0".repeat(missing));
                }
                digits
            }
            ('e' | 'f' | 'g', Argument::Double(v)) if !(upper && lower == 'f') => {
                if !v.is_finite() {
                    let name = if v.is_nan() {
                        "NaN"
                    } else if *v > 0.0 {
                        "Infinity"
                    } else {
                        "-Infinity"
                    };
                    self.pad(name, out);
                    return Some(());
                }
                let digits = float_digits(lower, v.abs(), self.precision.unwrap_or(6));
                let digits = if upper { digits.to_uppercase() } else { digits };
                return self.signed(v.is_sign_negative(), &digits, out);
            }
            _ => return None,
        };
        self.pad(&if upper { text.to_uppercase() } else { text }, out);
        Some(())
    }

    fn cut(&self, text: &str) -> String {
        match self.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text.to_owned(),
        }
    }

    /// A number with its sign, groups and leading zeros.
    fn signed(&self, negative: bool, digits: &str, out: &mut String) -> Option<()> {
        if self.plus && self.space {
            return None;
        }
        let mut text = String::with_capacity(digits.len() + 8);
        text.push_str(match (negative, self.parentheses) {
            (true, true) => "(",
            (true, false) => "-",
            (false, _) if self.plus => "+",
            (false, _) if self.space => " ",
            _ => "",
        });
        let whole = digits.bytes().take_while(u8::is_ascii_digit).count();
        let mut body = String::new();
        for (i, c) in digits.char_indices() {
            if self.group && i > 0 && i < whole && (whole - i) % 3 == 0 {
                body.push(',');
            }
            body.push(c);
        }
        let close = if negative && self.parentheses { ")" } else { "" };
        if self.zero {
            let have = text.len() + body.len() + close.len();
            text.push_str(&"0".repeat(self.width.unwrap_or(0).saturating_sub(have)));
        }
        text.push_str(&body);
        text.push_str(close);
        self.pad(&text, out);
        Some(())
    }
}

/// Digits of a positive number: `f` plain, `e` with an exponent, `g` whichever of the two fits.
fn float_digits(conversion: char, value: f64, precision: usize) -> String {
    match conversion {
        'f' => rounded(value, precision),
        'e' => {
            let text = format!("{value:.precision$e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
            format!("{mantissa}e{sign}{exponent:0>2}")
        }
        _ => {
            let precision = precision.max(1);
            if value != 0.0 && !(1e-4..10f64.powi(precision as i32)).contains(&value) {
                return float_digits('e', value, precision - 1);
            }
            let magnitude = if value == 0.0 { 0 } else { value.log10().floor() as i64 };
            let fraction = usize::try_from(precision as i64 - 1 - magnitude).unwrap_or(0);
            rounded(value, fraction)
        }
    }
}

/// Plain digits, half up on the shortest text of the number, as Java rounds.
fn rounded(value: f64, fraction: usize) -> String {
    let plain = format!("{value}");
    let have = plain.split_once('.').map_or(0, |(_, f)| f.len());
    if have <= fraction {
        return format!("{value:.fraction$}");
    }
    let (whole, digits) = plain.split_once('.').unwrap_or((&plain, ""));
    let kept: Vec<u8> = whole.bytes().chain(digits.bytes().take(fraction)).collect();
    let up = digits.as_bytes()[fraction] >= b'5';
    let mut kept = kept;
    if up {
        let mut i = kept.len();
        loop {
            if i == 0 {
                kept.insert(0, b'1');
                break;
            }
            i -= 1;
            if kept[i] == b'9' {
                kept[i] = b'0';
            } else {
                kept[i] += 1;
                break;
            }
        }
    }
    let mut text: String = kept.into_iter().map(char::from).collect();
    if fraction > 0 {
        text.insert(text.len() - fraction, '.');
    }
    text
}

fn java_double(value: f64) -> String {
    let array: arrow_array::ArrayRef = std::sync::Arc::new(arrow_array::Float64Array::from(vec![value]));
    let mut text = String::new();
    // a DOUBLE column of one row is what it says
    let _ = write_value(
        &array,
        &TypeKind::Double,
        0,
        &crate::expr::time_zone::TimeZone::UTC,
        &mut text,
    );
    text
}
