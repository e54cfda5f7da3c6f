//! Text and numbers as times: `TO_TIMESTAMP`, `TO_TIMESTAMP_LTZ`, `TO_DATE`, `UNIX_TIMESTAMP`, `CONVERT_TZ`. What
//! cannot be read is NULL (for `UNIX_TIMESTAMP` the smallest BIGINT, as in Flink), never an error.

use super::date_format::{DAYS, Field, MONTHS, Pattern, Piece};
use super::entry;
use super::text::rows_of_text;
use crate::expr::cast::parse;
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::temporal::{DAY_S, days, month_length, write_timestamp};
use crate::expr::time_zone::{TimeZone, Twice};
use crate::expr::types::is_approximate;
use crate::expr::value::{Primitives, Strings, Value};
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Date32Array, Int64Array, TimestampMillisecondArray};
use flott_core::types::MAX_LENGTH;
use flott_core::{LogicalType, TypeKind};
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry(
        "TO_TIMESTAMP",
        "TO_TIMESTAMP(STRING [, format STRING])",
        infer_text,
        build_timestamp,
    ),
    entry("TO_DATE", "TO_DATE(STRING [, format STRING])", infer_text, build_date),
    entry(
        "TO_TIMESTAMP_LTZ",
        "TO_TIMESTAMP_LTZ(NUMERIC [, precision INT]), TO_TIMESTAMP_LTZ(STRING [, format STRING [, zone STRING]])",
        infer_ltz,
        build_ltz,
    ),
    entry(
        "UNIX_TIMESTAMP",
        "UNIX_TIMESTAMP([STRING [, format STRING]])",
        infer_unix,
        build_unix,
    )
    .dynamic(),
    entry(
        "CONVERT_TZ",
        "CONVERT_TZ(STRING, from zone STRING, to zone STRING)",
        infer_convert,
        build_convert,
    ),
];

/// How strictly text follows its pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// As `DateTimeFormatter`: widths and ranges count, a day that the month lacks is its last.
    Smart,
    /// As `SimpleDateFormat`: any width, what is behind the pattern is ignored, ranges roll over.
    Lenient,
}

/// Seconds and nanoseconds of `text` read by a pattern.
fn read(pattern: &Pattern, text: &str, manner: Manner) -> Option<(i64, i64)> {
    let (mut year, mut month, mut day) = (1970, 1, 1);
    let (mut hour, mut minute, mut second, mut nanos) = (0, 0, 0, 0);
    let (mut half_day_hour, mut afternoon) = (None, false);
    let mut rest = text;
    let pieces = pattern.pieces();
    for (i, piece) in pieces.iter().enumerate() {
        let (field, count) = match piece {
            Piece::Text(literal) => {
                rest = rest.strip_prefix(literal.as_str())?;
                continue;
            }
            Piece::Field(field, count) => (*field, *count),
        };
        let named = |names: &[&str], rest: &mut &str| {
            let full = count == 4;
            let at = names.iter().position(|n| {
                let name = if full { n } else { &n[..3] };
                rest.get(..name.len()).is_some_and(|r| r.eq_ignore_ascii_case(name))
            })?;
            *rest = &rest[if full { names[at].len() } else { 3 }..];
            Some(at as i64)
        };
        let adjacent = matches!(pieces.get(i + 1), Some(Piece::Field(..)));
        let mut number = |max: usize| {
            let (least, most) = match manner {
                _ if count == 1 => (1, max),
                Manner::Smart => (count, count),
                Manner::Lenient if adjacent => (1, count),
                Manner::Lenient => (1, max),
            };
            let n = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
            if n < least {
                return None;
            }
            let value = rest[..n].parse::<i64>().ok()?;
            rest = &rest[n..];
            Some((value, n))
        };
        match field {
            Field::Year | Field::YearOfEra if count == 2 => year = 2000 + number(2)?.0,
            Field::Year | Field::YearOfEra => year = number(4)?.0,
            Field::Month if count >= 3 => month = named(&MONTHS, &mut rest)? + 1,
            Field::Month => month = number(2)?.0,
            Field::DayOfMonth => day = number(2)?.0,
            Field::DayName => {
                named(&DAYS, &mut rest)?;
            }
            Field::Hour => hour = number(2)?.0,
            Field::ClockHour => hour = number(2)?.0 % 24,
            Field::HourOfAmPm | Field::ClockHourOfAmPm => half_day_hour = Some(number(2)?.0 % 12),
            Field::AmPm => {
                let mark = rest.get(..2)?;
                afternoon = mark.eq_ignore_ascii_case("PM");
                if !afternoon && !mark.eq_ignore_ascii_case("AM") {
                    return None;
                }
                rest = &rest[2..];
            }
            Field::Minute => minute = number(2)?.0,
            Field::Second => second = number(2)?.0,
            Field::Fraction => {
                let (value, n) = number(9)?;
                nanos = value * 10i64.pow(9 - n.min(9) as u32);
            }
            _ => return None,
        }
    }
    if let Some(half) = half_day_hour {
        hour = half + if afternoon { 12 } else { 0 };
    }
    if manner == Manner::Smart {
        let valid = rest.is_empty()
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !valid {
            return None;
        }
        day = day.min(i64::from(month_length(year, month as u32)));
    }
    let months = year * 12 + month - 1;
    let date = days(months.div_euclid(12), months.rem_euclid(12) as u32 + 1, day);
    Some((date * DAY_S + (hour * 60 + minute) * 60 + second, nanos))
}

/// Milliseconds of a local time as TO_TIMESTAMP reads it: by the pattern, or else in the usual form.
fn timestamp_ms(text: &str, pattern: Option<&Pattern>) -> Option<i64> {
    let by_pattern = pattern
        .and_then(|p| read(p, text, Manner::Smart))
        .and_then(|(s, n)| parse::count(s, n, 3));
    by_pattern.or_else(|| parse::timestamp(text.trim(), 3))
}

/// The pattern argument of a function: none, the same for all rows, or one a row.
struct Formats<'a> {
    texts: Option<Strings<'a>>,
    last: Option<(&'a str, Option<Pattern>)>,
}

impl<'a> Formats<'a> {
    fn new(value: Option<&'a Value>) -> Result<Self, ExprError> {
        Ok(Self {
            texts: value.map(Strings::new).transpose()?,
            last: None,
        })
    }

    /// `None`: NULL or no pattern; `Some(None)`: the function was called without one.
    fn at(&mut self, row: usize) -> Option<Option<&Pattern>> {
        let Some(texts) = &self.texts else {
            return Some(None);
        };
        let text = texts.get(row)?;
        if self.last.as_ref().is_none_or(|(t, _)| *t != text) {
            self.last = Some((text, Pattern::new(text).ok()));
        }
        self.last.as_ref().and_then(|(_, p)| p.as_ref()).map(Some)
    }
}

fn formats(args: &mut Arguments, from: usize) -> Result<(), Refusal> {
    (from..args.len()).try_for_each(|i| args.string(i))?;
    match args.constant_text(1).map(Pattern::new) {
        Some(Err(problem)) => Err(Refusal::Constant(problem)),
        _ => Ok(()),
    }
}

fn infer_text(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 2)?;
    formats(args, 0)?;
    let kind = if args.name == "TO_DATE" {
        TypeKind::Date
    } else {
        TypeKind::Timestamp(3)
    };
    Ok(LogicalType::new(kind))
}

fn build_timestamp(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let texts = Strings::new(&args[0])?;
        let mut formats = Formats::new(args.get(1))?;
        let row = |row: usize| timestamp_ms(texts.get(row)?, formats.at(row)?);
        Ok(Arc::new((0..rows).map(row).collect::<TimestampMillisecondArray>()))
    }))
}

fn build_date(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let texts = Strings::new(&args[0])?;
        let mut formats = Formats::new(args.get(1))?;
        let row = |row: usize| match formats.at(row)? {
            None => parse::date(texts.get(row)?),
            Some(pattern) => {
                let (seconds, _) = read(pattern, texts.get(row)?, Manner::Lenient)?;
                i32::try_from(seconds.div_euclid(DAY_S)).ok()
            }
        };
        Ok(Arc::new((0..rows).map(row).collect::<Date32Array>()))
    }))
}

fn infer_ltz(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 3)?;
    if args.kind(0).is_string() {
        formats(args, 0)?;
        if let Some(Err(problem)) = args.constant_text(2).map(str::parse::<TimeZone>) {
            return Err(Refusal::Constant(problem));
        }
    } else {
        args.count(1, 2)?;
        args.require(0, TypeKind::is_numeric, TypeKind::BigInt)?;
        let exact = if is_approximate(args.kind(0)) {
            TypeKind::Double
        } else {
            TypeKind::BigInt
        };
        args.cast(0, &exact)?;
        if args.len() == 2 {
            args.int(1)?;
        }
    }
    Ok(LogicalType::new(TypeKind::TimestampLtz(3)))
}

fn build_ltz(call: &Call<'_>) -> Result<Kernel, ExprError> {
    if call.args[0].ty().kind.is_string() {
        return Ok(Box::new(move |args, rows| {
            let texts = Strings::new(&args[0])?;
            let mut formats = Formats::new(args.get(1))?;
            let zones = args.get(2).map(Strings::new).transpose()?;
            let row = |row: usize| {
                let local = timestamp_ms(texts.get(row)?, formats.at(row)?)?;
                // without a zone the text is a time in UTC, whatever the session's zone
                let zone: TimeZone = match &zones {
                    Some(zones) => zones.get(row)?.parse().ok()?,
                    None => TimeZone::UTC,
                };
                Some(local - zone.offset_of_local(local.div_euclid(1000), Twice::Earlier) * 1000)
            };
            Ok(Arc::new((0..rows).map(row).collect::<TimestampMillisecondArray>()))
        }));
    }
    let approximate = is_approximate(&call.args[0].ty().kind);
    Ok(Box::new(move |args, rows| {
        let precisions = args.get(1).map(Primitives::<Int32Type>::new).transpose()?;
        let precision = |row: usize| match &precisions {
            Some(precisions) => precisions.get(row),
            None => Some(3),
        };
        if approximate {
            let numbers = Primitives::<Float64Type>::new(&args[0])?;
            let row = |row: usize| match precision(row)? {
                0 => Some((numbers.get(row)? * 1000.0) as i64),
                3 => Some(numbers.get(row)? as i64),
                _ => None,
            };
            return Ok(Arc::new((0..rows).map(row).collect::<TimestampMillisecondArray>()));
        }
        let numbers = Primitives::<Int64Type>::new(&args[0])?;
        let row = |row: usize| match precision(row)? {
            0 => numbers.get(row)?.checked_mul(1000),
            3 => numbers.get(row),
            _ => None,
        };
        Ok(Arc::new((0..rows).map(row).collect::<TimestampMillisecondArray>()))
    }))
}

fn infer_unix(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(0, 2)?;
    formats(args, 0)?;
    Ok(args.result(TypeKind::BigInt))
}

fn build_unix(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let zone = call.context.time_zone;
    let clock = call.context.clock.clone();
    let usual = Pattern::new("yyyy-MM-dd HH:mm:ss").map_err(|_| call.not_executable())?;
    Ok(Box::new(move |args, rows| {
        let Some(texts) = args.first() else {
            return Ok(Arc::new(Int64Array::from(vec![clock.now_ms().div_euclid(1000); rows])));
        };
        let texts = Strings::new(texts)?;
        let mut formats = Formats::new(args.get(1))?;
        let row = |row: usize| {
            let text = texts.get(row)?;
            let pattern = formats.at(row)?.unwrap_or(&usual);
            let local = read(pattern, text, Manner::Lenient);
            Some(local.map_or(i64::MIN, |(seconds, _)| {
                seconds - zone.offset_of_local(seconds, Twice::Later)
            }))
        };
        Ok(Arc::new((0..rows).map(row).collect::<Int64Array>()))
    }))
}

fn infer_convert(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(3, 3)?;
    (0..3).try_for_each(|i| args.string(i))?;
    Ok(LogicalType::new(TypeKind::Varchar(MAX_LENGTH)))
}

fn build_convert(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let (texts, from, to) = (
            Strings::new(&args[0])?,
            Strings::new(&args[1])?,
            Strings::new(&args[2])?,
        );
        rows_of_text(rows, rows * 19, |row, out| {
            let local = parse::timestamp(texts.get(row)?, 0)?.div_euclid(1000);
            // Java takes an unknown zone for UTC
            let zone = |name: &str| name.parse().unwrap_or(TimeZone::UTC);
            let (from, to): (TimeZone, TimeZone) = (zone(from.get(row)?), zone(to.get(row)?));
            let instant = local - from.offset_of_local(local, Twice::Later);
            write_timestamp((instant + to.offset_at(instant)) * 1000, 0, out);
            Some(())
        })
    }))
}
