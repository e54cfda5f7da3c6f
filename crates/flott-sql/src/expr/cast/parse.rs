//! Text to values, with exactly the leniency of Flink's CAST.

use super::numeric::shift_decimal;
use super::temporal::to_instant;
use crate::expr::error::ExprError;
use crate::expr::temporal::{DAY_S, days, month_length, per_second, timestamps};
use crate::expr::time_zone::TimeZone;
use crate::expr::value::mismatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType,
};
use arrow_array::{ArrayRef, BooleanArray, PrimitiveArray};
use arrow_schema::DataType;
use flott_core::TypeKind;
use std::sync::Arc;

/// Longest piece of a value that an error shows, in characters.
const SHOWN: usize = 60;

/// Strings as values of kind `to`; what is no such value fails, or is NULL if `lenient`.
///
/// # Errors
/// At the first text that is no value of the kind, unless `lenient`.
pub fn from_strings(array: &ArrayRef, to: &TypeKind, zone: &TimeZone, lenient: bool) -> Result<ArrayRef, ExprError> {
    let reader = Reader { array, to, lenient };
    match to {
        TypeKind::Boolean => {
            let values: Vec<Option<bool>> = reader.read(boolean)?;
            Ok(Arc::new(BooleanArray::from(values)))
        }
        TypeKind::TinyInt => reader.primitive::<Int8Type>(integer::<i8>),
        TypeKind::SmallInt => reader.primitive::<Int16Type>(integer::<i16>),
        TypeKind::Int => reader.primitive::<Int32Type>(integer::<i32>),
        TypeKind::BigInt => reader.primitive::<Int64Type>(integer::<i64>),
        TypeKind::Float => reader.primitive::<Float32Type>(|s| float(s).map(|v| v as f32)),
        TypeKind::Double => reader.primitive::<Float64Type>(float),
        TypeKind::Decimal(p, s) => {
            let values: Vec<Option<i128>> = reader.read(|text| decimal(text, *p, *s))?;
            let array = PrimitiveArray::<Decimal128Type>::from(values);
            Ok(Arc::new(array.with_data_type(DataType::Decimal128(*p, *s as i8))))
        }
        TypeKind::Date => reader.primitive::<Date32Type>(|s| date(s).ok_or("is no date (yyyy-MM-dd)")),
        TypeKind::Time(p) => {
            let step = 10i32.pow(u32::from(3 - (*p).min(3)));
            reader.primitive::<Time32MillisecondType>(|s| time(s).map(|t| t - t % step).ok_or("is no time (HH:mm:ss)"))
        }
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
            let values: Vec<Option<i64>> =
                reader.read(|s| timestamp(s, *p).ok_or("is no timestamp (yyyy-MM-dd HH:mm:ss[.SSS])"))?;
            let nulls = values.iter().map(Option::is_some).collect::<Vec<bool>>();
            let values = values.into_iter().map(Option::unwrap_or_default).collect();
            to_instant(timestamps(values, Some(nulls.into()), *p), to, zone)
        }
        _ => Err(mismatch("CAST", array)),
    }
}

struct Reader<'a> {
    array: &'a ArrayRef,
    to: &'a TypeKind,
    lenient: bool,
}

impl Reader<'_> {
    fn read<T>(&self, parse: impl Fn(&str) -> Result<T, &'static str>) -> Result<Vec<Option<T>>, ExprError> {
        let strings = self
            .array
            .as_string_opt::<i32>()
            .ok_or_else(|| mismatch("CAST", self.array))?;
        let one = |text: Option<&str>| match text.map(&parse) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(_)) if self.lenient => Ok(None),
            Some(Err(reason)) => Err(ExprError::Cast {
                value: text.unwrap_or_default().chars().take(SHOWN).collect(),
                to: self.to.to_string(),
                reason: reason.to_owned(),
            }),
        };
        strings.iter().map(one).collect()
    }

    fn primitive<T: ArrowPrimitiveType>(
        &self,
        parse: impl Fn(&str) -> Result<T::Native, &'static str>,
    ) -> Result<ArrayRef, ExprError> {
        let values = self.read(parse)?;
        Ok(Arc::new(values.into_iter().collect::<PrimitiveArray<T>>()))
    }
}

/// Blanks that Flink cuts off before it reads a number or date.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ')
}

/// `true`, `t`, `yes`, `y`, `1` and their opposites, in any case, without blanks.
pub fn boolean(text: &str) -> Result<bool, &'static str> {
    let is = |words: [&str; 5]| words.iter().any(|w| text.eq_ignore_ascii_case(w));
    if is(["true", "t", "yes", "y", "1"]) {
        Ok(true)
    } else if is(["false", "f", "no", "n", "0"]) {
        Ok(false)
    } else {
        Err("is neither true nor false")
    }
}

/// An integer; a fraction is read and dropped.
fn integer<T: TryFrom<i128>>(text: &str) -> Result<T, &'static str> {
    let text = trim(text);
    let (negative, digits) = match text.as_bytes().first() {
        None => return Err("is empty"),
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if digits.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err("is no integer");
    }
    let mut value = 0i128;
    for digit in whole.bytes() {
        value = value * 10 + i128::from(digit - b'0');
        if value > i128::from(u64::MAX) {
            return Err("is out of range");
        }
    }
    T::try_from(if negative { -value } else { value }).map_err(|_| "is out of range")
}

/// A double as Java reads it: `1e3`, `NaN`, `-Infinity`, `1.5d`, `0x1p3`.
pub fn float(text: &str) -> Result<f64, &'static str> {
    const REASON: &str = "is no number";
    let text = trim(text);
    let (sign, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    match unsigned {
        "NaN" => return Ok(f64::NAN),
        "Infinity" => return Ok(sign * f64::INFINITY),
        _ => {}
    }
    if unsigned.starts_with("0x") || unsigned.starts_with("0X") {
        return hexadecimal(&unsigned[2..]).map(|v| sign * v).ok_or(REASON);
    }
    let number = unsigned.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(unsigned);
    // Rust reads `inf` and `nan` in any case, Java does not
    if !number.bytes().any(|b| b.is_ascii_digit()) || number.bytes().any(|b| b.is_ascii_alphabetic() && b | 32 != b'e')
    {
        return Err(REASON);
    }
    number.parse::<f64>().map(|v| sign * v).map_err(|_| REASON)
}

/// `1.8p3` of Java's hexadecimal form `0x1.8p3`.
fn hexadecimal(text: &str) -> Option<f64> {
    let text = text
        .strip_suffix(['d', 'D', 'f', 'F'])
        .filter(|t| t.contains(['p', 'P']))
        .unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = format!("{whole}{fraction}");
    let value = u64::from_str_radix(&digits, 16).ok()? as f64;
    let shift = i32::try_from(fraction.len()).ok()? * 4;
    Some(value * 2f64.powi(exponent.parse::<i32>().ok()? - shift))
}

/// A decimal, rounded half up to the scale; `1e2` is one too.
pub fn decimal(text: &str, precision: u8, scale: u8) -> Result<i128, &'static str> {
    const REASON: &str = "is no decimal number";
    let text = trim(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().map_err(|_| REASON)?;
    let (negative, digits) = match mantissa.as_bytes().first() {
        Some(b'-') => (true, &mantissa[1..]),
        Some(b'+') => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() == 0 || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(REASON);
    }
    let mut value = 0i128;
    let mut dropped = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        match value
            .checked_mul(10)
            .and_then(|v| v.checked_add(i128::from(digit - b'0')))
        {
            // digits beyond 38 can only matter by their count
            Some(v) if dropped == 0 => value = v,
            _ => dropped += 1,
        }
    }
    let places = i32::try_from(fraction.len()).map_err(|_| REASON)? - exponent - dropped;
    let value = if negative { -value } else { value };
    shift_decimal(value, places, precision, scale).ok_or("has too many digits")
}

/// Up to `max` digits at the start of `text`, at least one, and what follows them.
fn digits(text: &str, max: usize) -> Option<(i64, &str)> {
    let n = text.bytes().take(max).take_while(u8::is_ascii_digit).count();
    Some((text[..n].parse().ok()?, &text[n..]))
}

/// Days since the epoch of `2024-02-29`, `2024-2-9`, `2024-02`, `2024`, maybe with a time behind it; the day must exist.
pub fn date(text: &str) -> Option<i32> {
    let text = trim(text);
    let (year, rest) = digits(text, 4)?;
    let (mut month, mut day) = (1, 1);
    let mut rest = rest;
    if let Some(r) = rest.strip_prefix('-') {
        (month, rest) = digits(r, 2)?;
        if let Some(r) = rest.strip_prefix('-') {
            (day, rest) = digits(r, 2)?;
        }
    }
    let exists = (1..=12).contains(&month) && day >= 1 && day <= i64::from(month_length(year, month as u32));
    (exists && (rest.is_empty() || rest.starts_with(' ')))
        .then(|| i32::try_from(days(year, month as u32, day)).ok())
        .flatten()
}

/// Milliseconds of the day of `12:34:56.789`, `12:34`, `12`.
pub fn time(text: &str) -> Option<i32> {
    let (hour, mut rest) = digits(trim(text), 2)?;
    let (mut minute, mut second, mut ms) = (0, 0, 0);
    if let Some(r) = rest.strip_prefix(':') {
        (minute, rest) = digits(r, 2)?;
        if let Some(r) = rest.strip_prefix(':') {
            (second, rest) = digits(r, 2)?;
            if let Some(r) = rest.strip_prefix('.') {
                let (nanos, r) = fraction(r)?;
                (ms, rest) = (nanos / 1_000_000, r);
            }
        }
    }
    let valid = rest.is_empty() && hour < 24 && minute < 60 && second < 60;
    valid
        .then(|| i32::try_from(((hour * 60 + minute) * 60 + second) * 1000 + ms).ok())
        .flatten()
}

/// Nanoseconds of up to nine digits behind a point.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let n = text.bytes().take(9).take_while(u8::is_ascii_digit).count();
    if n == 0 {
        return Some((0, text));
    }
    Some((text[..n].parse::<i64>().ok()? * 10i64.pow(9 - n as u32), &text[n..]))
}

/// Count since the epoch (unit and digits of `precision`) of `2024-02-29 12:34:56.789` or `2024-02-29`. A day up to 31
/// that the month does not have is its last one; 24:00:00 is the next midnight.
pub fn timestamp(text: &str, precision: u8) -> Option<i64> {
    let (year, rest) = digits(text, 4)?;
    if text.len() - rest.len() != 4 {
        return None;
    }
    let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let day = day.min(i64::from(month_length(year, month as u32)));
    let (mut seconds, mut nanos) = (days(year, month as u32, day) * DAY_S, 0);
    if !rest.is_empty() {
        let (hour, rest) = digits(rest.strip_prefix(' ')?, 2)?;
        let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
        let (second, mut rest) = digits(rest.strip_prefix(':')?, 2)?;
        if let Some(r) = rest.strip_prefix('.') {
            (nanos, rest) = fraction(r)?;
        }
        let midnight = hour == 24 && minute == 0 && second == 0 && nanos == 0;
        if !rest.is_empty() || (hour >= 24 && !midnight) || minute >= 60 || second >= 60 {
            return None;
        }
        seconds += (hour * 60 + minute) * 60 + second;
    }
    count(seconds, nanos, precision)
}

/// A time as a count of the unit and digits of `precision`; `None` outside the years that the unit holds.
pub fn count(seconds: i64, nanos: i64, precision: u8) -> Option<i64> {
    let unit = per_second(precision);
    let step = 10i64.pow(u32::from(9 - precision.min(9)));
    seconds
        .checked_mul(unit)?
        .checked_add((nanos - nanos % step) / (1_000_000_000 / unit))
}
