//! Time units at work: `EXTRACT`, `FLOOR`/`CEIL … TO unit`, `TIMESTAMPADD`, `TIMESTAMPDIFF`, and intervals added to
//! times. TIMESTAMP_LTZ is read on the session's wall clock where a field or a unit is asked for.

use super::arithmetic::binary;
use super::entry;
use crate::expr::cast::temporal::{to_instant, to_local};
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::temporal::{DAY_MS, DAY_S, add_months, civil, counts, days, map_counts, per_second, timestamps};
use crate::expr::types::{is_datetime, is_interval};
use crate::expr::value::{Primitives, Value, mismatch};
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Int32Type, Int64Type, Time32MillisecondType};
use arrow_array::{Array, ArrayRef, Date32Array, Int32Array, Int64Array, Time32MillisecondArray};
use flott_core::{LogicalType, TypeKind};
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry(
        "EXTRACT",
        "EXTRACT(unit FROM DATETIME|INTERVAL)",
        infer_extract,
        build_extract,
    ),
    entry(
        "TIMESTAMPADD",
        "TIMESTAMPADD(unit, INT, DATETIME)",
        infer_add,
        build_add,
    ),
    entry(
        "TIMESTAMPDIFF",
        "TIMESTAMPDIFF(unit, DATETIME, DATETIME)",
        infer_diff,
        build_diff,
    ),
];

/// What a time can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Millennium,
    Century,
    Decade,
    Year,
    IsoYear,
    Quarter,
    Month,
    Week,
    Day,
    DayOfYear,
    DayOfWeek,
    IsoDayOfWeek,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    Epoch,
}

impl Unit {
    fn of(name: &str) -> Option<Self> {
        let name = name.strip_prefix("SQL_TSI_").unwrap_or(name);
        Some(match name.strip_suffix('S').unwrap_or(name) {
            "MILLENNIUM" => Self::Millennium,
            "CENTURY" => Self::Century,
            "DECADE" => Self::Decade,
            "YEAR" => Self::Year,
            "ISOYEAR" => Self::IsoYear,
            "QUARTER" => Self::Quarter,
            "MONTH" => Self::Month,
            "WEEK" => Self::Week,
            "DAY" => Self::Day,
            "DOY" => Self::DayOfYear,
            "DOW" => Self::DayOfWeek,
            "ISODOW" => Self::IsoDayOfWeek,
            "HOUR" => Self::Hour,
            "MINUTE" => Self::Minute,
            "SECOND" => Self::Second,
            "MILLISECOND" => Self::Millisecond,
            "MICROSECOND" => Self::Microsecond,
            "NANOSECOND" => Self::Nanosecond,
            "EPOCH" => Self::Epoch,
            _ => return None,
        })
    }

    /// Months of calendar units.
    fn months(self) -> Option<i64> {
        Some(match self {
            Self::Millennium => 12_000,
            Self::Century => 1_200,
            Self::Decade => 120,
            Self::Year => 12,
            Self::Quarter => 3,
            Self::Month => 1,
            _ => return None,
        })
    }

    /// Milliseconds of fixed units from the millisecond up.
    fn ms(self) -> Option<i64> {
        Some(match self {
            Self::Week => 7 * DAY_MS,
            Self::Day => DAY_MS,
            Self::Hour => 3_600_000,
            Self::Minute => 60_000,
            Self::Second => 1_000,
            Self::Millisecond => 1,
            _ => return None,
        })
    }

    /// The unit's number on a wall clock that shows this day and nanosecond.
    fn field(self, day: i64, nanos: i64) -> i64 {
        let seconds = nanos / 1_000_000_000;
        let fraction = nanos % 1_000_000_000;
        match self {
            Self::Hour => seconds / 3600,
            Self::Minute => seconds / 60 % 60,
            Self::Second => seconds % 60,
            Self::Millisecond => fraction / 1_000_000,
            Self::Microsecond => fraction / 1_000,
            Self::Nanosecond => fraction,
            Self::Epoch => day * DAY_S + seconds,
            Self::DayOfWeek => (day + 4).rem_euclid(7) + 1,
            Self::IsoDayOfWeek => (day + 3).rem_euclid(7) + 1,
            Self::Week => iso_week(day).1,
            Self::IsoYear => iso_week(day).0,
            _ => {
                let (year, month, dom) = civil(day);
                match self {
                    Self::Year => year,
                    Self::Quarter => i64::from((month - 1) / 3 + 1),
                    Self::Month => i64::from(month),
                    Self::Day => i64::from(dom),
                    Self::DayOfYear => day_of_year(day),
                    Self::Decade => year.div_euclid(10),
                    Self::Century => (year - 1).div_euclid(100) + 1,
                    _ => (year - 1).div_euclid(1000) + 1,
                }
            }
        }
    }
}

/// Day of the year from 1.
pub fn day_of_year(day: i64) -> i64 {
    day - days(civil(day).0, 1, 1) + 1
}

/// Year and number of the ISO week of a day.
pub fn iso_week(day: i64) -> (i64, i64) {
    // the week belongs to the year of its Thursday
    let thursday = day - (day + 3).rem_euclid(7) + 3;
    (civil(thursday).0, (day_of_year(thursday) - 1) / 7 + 1)
}

fn unit_of(args: &Arguments, i: usize) -> Result<Unit, Refusal> {
    let text = args.constant_text(i).ok_or(Refusal::Arguments)?;
    Unit::of(text).ok_or_else(|| {
        let units = [
            "YEAR",
            "QUARTER",
            "MONTH",
            "WEEK",
            "DAY",
            "HOUR",
            "MINUTE",
            "SECOND",
            "MILLISECOND",
        ];
        let hint = flott_core::suggest::hint(text, units);
        Refusal::Constant(format!("unknown time unit '{text}'{hint}; one of {}", units.join(", ")))
    })
}

fn unit_of_call(call: &Call<'_>, i: usize) -> Result<Unit, ExprError> {
    match call.args.get(i).and_then(|a| a.as_literal()) {
        Some(crate::expr::Literal::Symbol(s) | crate::expr::Literal::String(s)) => Unit::of(s),
        _ => None,
    }
    .ok_or_else(|| call.not_executable())
}

fn infer_extract(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    let unit = unit_of(args, 0)?;
    let of_time = matches!(
        unit,
        Unit::Hour
            | Unit::Minute
            | Unit::Second
            | Unit::Millisecond
            | Unit::Microsecond
            | Unit::Nanosecond
            | Unit::Epoch
    );
    let fits = match args.kind(1) {
        TypeKind::Time(_) => of_time,
        TypeKind::IntervalDayTime => of_time || unit == Unit::Day,
        TypeKind::IntervalYearMonth => unit.months().is_some(),
        kind => is_datetime(kind),
    };
    if !fits {
        return Err(Refusal::Arguments);
    }
    Ok(LogicalType {
        kind: TypeKind::BigInt,
        nullable: args.exprs[1].ty().nullable,
    })
}

fn build_extract(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let unit = unit_of_call(call, 0)?;
    let kind = call.args[1].ty().kind.clone();
    let zone = call.context.time_zone;
    Ok(Box::new(move |args, _| {
        let array = to_local(args[1].array().clone(), &kind, &zone)?;
        let nulls = array.nulls().cloned();
        let bad = || mismatch("EXTRACT", &array);
        let values = match &kind {
            TypeKind::Date => {
                let days = array.as_primitive_opt::<Date32Type>().ok_or_else(bad)?;
                days.values().iter().map(|d| unit.field(i64::from(*d), 0)).collect()
            }
            TypeKind::Time(_) => {
                let times = array.as_primitive_opt::<Time32MillisecondType>().ok_or_else(bad)?;
                times
                    .values()
                    .iter()
                    .map(|t| unit.field(0, i64::from(*t) * 1_000_000))
                    .collect()
            }
            TypeKind::IntervalDayTime => {
                let ms = array.as_primitive_opt::<Int64Type>().ok_or_else(bad)?;
                let field = |v: &i64| match unit {
                    Unit::Day => v / DAY_MS,
                    Unit::Epoch => v / 1000,
                    _ => unit.field(0, (v % DAY_MS).abs() * 1_000_000) * v.signum(),
                };
                ms.values().iter().map(field).collect()
            }
            TypeKind::IntervalYearMonth => {
                let months = array.as_primitive_opt::<Int32Type>().ok_or_else(bad)?;
                let field = |v: &i32| match unit {
                    Unit::Month => i64::from(v % 12),
                    Unit::Quarter => i64::from(v % 12 / 3 + 1),
                    _ => i64::from(*v) / unit.months().unwrap_or(12),
                };
                months.values().iter().map(field).collect()
            }
            TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
                let counts = counts(&array)?;
                match per_second(*p) {
                    1_000 => fields::<1_000>(unit, counts),
                    1_000_000 => fields::<1_000_000>(unit, counts),
                    _ => fields::<1_000_000_000>(unit, counts),
                }
                .into()
            }
            _ => return Err(bad()),
        };
        Ok(Arc::new(Int64Array::new(values, nulls)))
    }))
}

/// One field of every timestamp; the unit is a constant so that divisions are multiplications.
fn fields<const PER_SECOND: i64>(unit: Unit, counts: &[i64]) -> Vec<i64> {
    let second_of_day = |v: &i64| v.div_euclid(PER_SECOND).rem_euclid(DAY_S);
    match unit {
        Unit::Hour => counts.iter().map(|v| second_of_day(v) / 3600).collect(),
        Unit::Minute => counts.iter().map(|v| second_of_day(v) / 60 % 60).collect(),
        Unit::Second => counts.iter().map(|v| second_of_day(v) % 60).collect(),
        _ => {
            let per_day = DAY_S * PER_SECOND;
            let field = |v: &i64| {
                let nanos = v.rem_euclid(per_day) * (1_000_000_000 / PER_SECOND);
                unit.field(v.div_euclid(per_day), nanos)
            };
            counts.iter().map(field).collect()
        }
    }
}

/// Type of `FLOOR(time TO unit)`.
pub(super) fn infer_rounding(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    let unit = unit_of(args, 1)?;
    let kind = args.kind(0);
    let small = unit.ms().is_some_and(|ms| ms < DAY_MS);
    let fits = match kind {
        TypeKind::Date => unit.months().is_some() || matches!(unit, Unit::Week | Unit::Day),
        TypeKind::Time(_) => small,
        kind => kind.is_timestamp() && (unit.months().is_some() || unit.ms().is_some()),
    };
    if fits {
        Ok(args.exprs[0].ty().clone())
    } else {
        Err(Refusal::Arguments)
    }
}

/// Start of the unit that holds `ms` (milliseconds on a wall clock), or its end (`up`) unless it starts there.
fn round_ms(ms: i64, unit: Unit, up: bool) -> i64 {
    let next = |start: i64, end: i64| if up && start < ms { end } else { start };
    if let Some(months) = unit.months() {
        let (year, month, _) = civil(ms.div_euclid(DAY_MS));
        let total = year * 12 + i64::from(month) - 1;
        // centuries and millennia start in year 1
        let offset = if months >= 1200 { 12 } else { 0 };
        let first = (total - offset).div_euclid(months) * months + offset;
        let at = |m: i64| days(m.div_euclid(12), m.rem_euclid(12) as u32 + 1, 1) * DAY_MS;
        return next(at(first), at(first + months));
    }
    let size = unit.ms().unwrap_or(1);
    // weeks start on Sunday; 1970-01-01 was a Thursday
    let offset = if unit == Unit::Week { 3 * DAY_MS } else { 0 };
    let start = (ms - offset).div_euclid(size) * size + offset;
    next(start, start + size)
}

/// Kernel of `FLOOR(time TO unit)`, or CEIL (`up`).
pub(super) fn build_rounding(up: bool, call: &Call<'_>) -> Result<Kernel, ExprError> {
    let unit = unit_of_call(call, 1)?;
    let kind = call.args[0].ty().kind.clone();
    let zone = call.context.time_zone;
    Ok(Box::new(move |args, _| {
        let array = args[0].array();
        let bad = || mismatch("FLOOR", array);
        match &kind {
            TypeKind::Date => {
                let days = array.as_primitive_opt::<Date32Type>().ok_or_else(bad)?;
                let rounded: Date32Array = days.unary(|d| (round_ms(i64::from(d) * DAY_MS, unit, up) / DAY_MS) as i32);
                Ok(Arc::new(rounded))
            }
            TypeKind::Time(_) => {
                let times = array.as_primitive_opt::<Time32MillisecondType>().ok_or_else(bad)?;
                let rounded: Time32MillisecondArray = times.unary(|t| round_ms(t.into(), unit, up) as i32);
                Ok(Arc::new(rounded))
            }
            TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
                let local = to_local(array.clone(), &kind, &zone)?;
                let per_ms = per_second(*p) / 1000;
                let rounded = map_counts(&local, *p, |v| {
                    let ms = v.div_euclid(per_ms);
                    let inside = up && v.rem_euclid(per_ms) != 0;
                    round_ms(if inside { ms + 1 } else { ms }, unit, up) * per_ms
                })?;
                to_instant(rounded, &kind, &zone)
            }
            _ => Err(bad()),
        }
    }))
}

/// Kind of `a op b` where a side is a time or an interval.
pub(super) fn arithmetic_kind(op: &str, a: &TypeKind, b: &TypeKind) -> Option<TypeKind> {
    let moves = |time: &TypeKind, by: &TypeKind| match time {
        TypeKind::Time(_) => by == &TypeKind::IntervalDayTime,
        time => is_datetime(time) && is_interval(by),
    };
    match op {
        "+" | "-" if moves(a, b) => Some(a.clone()),
        "+" if moves(b, a) => Some(b.clone()),
        "+" | "-" if is_interval(a) && a == b => Some(a.clone()),
        "*" if is_interval(a) && b.is_integer() => Some(a.clone()),
        "*" if a.is_integer() && is_interval(b) => Some(b.clone()),
        _ => None,
    }
}

/// Kernel of arithmetic with times and intervals.
pub(super) fn build_arithmetic(op: &'static str, call: &Call<'_>) -> Result<Kernel, ExprError> {
    let kinds = [call.args[0].ty().kind.clone(), call.args[1].ty().kind.clone()];
    let result = call.ty.kind.clone();
    if is_interval(&result) {
        return build_interval_arithmetic(op, kinds, call);
    }
    // which side is the time
    let (time, by) = if is_datetime(&kinds[0]) { (0, 1) } else { (1, 0) };
    let sign = if op == "-" { -1 } else { 1 };
    let by_months = kinds[by] == TypeKind::IntervalYearMonth;
    Ok(Box::new(move |args, rows| {
        let amounts = amounts(&args[by], by_months)?;
        shift(&args[time], &kinds[time], &amounts, sign, by_months, rows)
    }))
}

/// Months or milliseconds of an interval as 64 bits.
fn amounts(value: &Value, months: bool) -> Result<Value, ExprError> {
    let array = value.array();
    if !months {
        return Ok(value.clone());
    }
    let months = array
        .as_primitive_opt::<Int32Type>()
        .ok_or_else(|| mismatch("interval", array))?;
    let wide: Int64Array = months.unary(i64::from);
    Ok(value.with(Arc::new(wide)))
}

/// Times moved by `sign` × amount months or milliseconds.
fn shift(
    times: &Value,
    kind: &TypeKind,
    amounts: &Value,
    sign: i64,
    months: bool,
    rows: usize,
) -> Result<ArrayRef, ExprError> {
    let array = times.array();
    let bad = || mismatch("interval arithmetic", array);
    let by = Primitives::<Int64Type>::new(amounts)?;
    match kind {
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
            let per_ms = per_second(*p) / 1000;
            let moved = move |v: i64, by: i64| {
                if months {
                    let per_day = DAY_MS * per_ms;
                    add_months(v.div_euclid(per_day), by) * per_day + v.rem_euclid(per_day)
                } else {
                    v.wrapping_add(by.wrapping_mul(per_ms))
                }
            };
            if let (false, Value::Scalar(_), Some(by)) = (times.is_scalar(), amounts, by.get(0)) {
                let by = by * sign;
                if !months {
                    let by = by.wrapping_mul(per_ms);
                    return map_counts(array, *p, |v| v.wrapping_add(by));
                }
                return map_counts(array, *p, |v| moved(v, by));
            }
            let counts = counts(array)?;
            let step = usize::from(!times.is_scalar());
            let row = |row: usize| {
                let i = row * step;
                (!array.is_null(i))
                    .then(|| by.get(row).map(|by| moved(counts[i], by * sign)))
                    .flatten()
            };
            let values: Vec<Option<i64>> = (0..rows).map(row).collect();
            let nulls: Vec<bool> = values.iter().map(Option::is_some).collect();
            Ok(timestamps(
                values.into_iter().map(Option::unwrap_or_default).collect(),
                Some(nulls.into()),
                *p,
            ))
        }
        TypeKind::Date => {
            let days = Primitives::<Date32Type>::new(times)?;
            let moved = |d: i32, by: i64| {
                if months {
                    add_months(d.into(), by) as i32
                } else {
                    (i64::from(d) + by / DAY_MS) as i32
                }
            };
            let row = |row: usize| Some(moved(days.get(row)?, by.get(row)? * sign));
            Ok(Arc::new((0..rows).map(row).collect::<Date32Array>()))
        }
        TypeKind::Time(_) if !months => {
            let ms = Primitives::<Time32MillisecondType>::new(times)?;
            let row = |row: usize| Some((i64::from(ms.get(row)?) + by.get(row)? * sign).rem_euclid(DAY_MS) as i32);
            Ok(Arc::new((0..rows).map(row).collect::<Time32MillisecondArray>()))
        }
        _ => Err(bad()),
    }
}

fn build_interval_arithmetic(op: &'static str, kinds: [TypeKind; 2], call: &Call<'_>) -> Result<Kernel, ExprError> {
    use crate::expr::cast::numeric::convert;
    let wide = |kind: &TypeKind| match kind {
        TypeKind::IntervalYearMonth => TypeKind::Int,
        TypeKind::IntervalDayTime => TypeKind::BigInt,
        other => other.clone(),
    };
    let [a, b] = kinds;
    let (a, b) = (wide(&a), wide(&b));
    let result = wide(&call.ty.kind);
    Ok(Box::new(move |args, _| {
        let x = args[0].with(convert(args[0].array(), &a, &TypeKind::BigInt)?);
        let y = args[1].with(convert(args[1].array(), &b, &TypeKind::BigInt)?);
        let sum = match op {
            "+" => binary::<Int64Type>(&x, &y, i64::wrapping_add),
            "-" => binary::<Int64Type>(&x, &y, i64::wrapping_sub),
            _ => binary::<Int64Type>(&x, &y, i64::wrapping_mul),
        }?;
        convert(&sum, &TypeKind::BigInt, &result)
    }))
}

fn infer_add(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(3, 3)?;
    let unit = unit_of(args, 0)?;
    args.require(1, TypeKind::is_integer, TypeKind::Int)?;
    args.cast(1, &TypeKind::BigInt)?;
    if unit.months().is_none() && unit.ms().is_none() {
        return Err(Refusal::Arguments);
    }
    let small = unit.ms().is_some_and(|ms| ms < DAY_MS);
    let kind = match args.kind(2).clone() {
        // hours of a date need a timestamp
        TypeKind::Date if small => {
            args.cast(2, &TypeKind::Timestamp(6))?;
            TypeKind::Timestamp(6)
        }
        TypeKind::Time(_) if !small => return Err(Refusal::Arguments),
        kind if is_datetime(&kind) => kind,
        _ => return Err(Refusal::Arguments),
    };
    Ok(args.result(kind))
}

fn build_add(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let unit = unit_of_call(call, 0)?;
    let kind = call.ty.kind.clone();
    let (factor, months) = match (unit.months(), unit.ms()) {
        (Some(months), _) => (months, true),
        (None, Some(ms)) => (ms, false),
        _ => return Err(call.not_executable()),
    };
    Ok(Box::new(move |args, rows| {
        let amounts = args[1].array();
        let amounts = amounts
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(|| mismatch("TIMESTAMPADD", amounts))?;
        let scaled: Int64Array = amounts.unary(|v| v.wrapping_mul(factor));
        shift(&args[2], &kind, &args[1].with(Arc::new(scaled)), 1, months, rows)
    }))
}

fn infer_diff(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(3, 3)?;
    let unit = unit_of(args, 0)?;
    if unit.months().is_none() && unit.ms().is_none() {
        return Err(Refusal::Arguments);
    }
    for i in [1, 2] {
        if !is_datetime(args.kind(i)) {
            return Err(Refusal::Arguments);
        }
    }
    Ok(args.result(TypeKind::Int))
}

/// Milliseconds since the epoch of any time.
pub(super) fn as_ms(value: &Value, kind: &TypeKind) -> Result<Value, ExprError> {
    let array = value.array();
    let nulls = array.nulls().cloned();
    let bad = || mismatch("TIMESTAMPDIFF", array);
    let values = match kind {
        TypeKind::Date => {
            let days = array.as_primitive_opt::<Date32Type>().ok_or_else(bad)?;
            days.values().iter().map(|d| i64::from(*d) * DAY_MS).collect()
        }
        TypeKind::Time(_) => {
            let times = array.as_primitive_opt::<Time32MillisecondType>().ok_or_else(bad)?;
            times.values().iter().map(|t| i64::from(*t)).collect()
        }
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => {
            let per_ms = per_second(*p) / 1000;
            counts(array)?.iter().map(|v| v.div_euclid(per_ms)).collect()
        }
        _ => return Err(bad()),
    };
    Ok(value.with(Arc::new(Int64Array::new(values, nulls))))
}

/// Whole months from one time to another, both in milliseconds.
pub(super) fn months_between(from: i64, to: i64) -> i64 {
    if to < from {
        return -months_between(to, from);
    }
    let (start, end) = (from.div_euclid(DAY_MS), to.div_euclid(DAY_MS));
    let (y1, m1, _) = civil(start);
    let (y2, m2, _) = civil(end);
    let mut months = (y2 - y1) * 12 + i64::from(m2) - i64::from(m1);
    let reached = add_months(start, months);
    if reached > end || (reached == end && to.rem_euclid(DAY_MS) < from.rem_euclid(DAY_MS)) {
        months -= 1;
    }
    months
}

fn build_diff(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let unit = unit_of_call(call, 0)?;
    let kinds = [call.args[1].ty().kind.clone(), call.args[2].ty().kind.clone()];
    Ok(Box::new(move |args, _| {
        let (from, to) = (as_ms(&args[1], &kinds[0])?, as_ms(&args[2], &kinds[1])?);
        let difference = match (unit.months(), unit.ms()) {
            (Some(months), _) => binary::<Int64Type>(&from, &to, move |a, b| months_between(a, b) / months),
            (None, ms) => {
                let ms = ms.unwrap_or(1);
                binary::<Int64Type>(&from, &to, move |a, b| b.wrapping_sub(a) / ms)
            }
        }?;
        let wide = difference
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(|| mismatch("TIMESTAMPDIFF", &difference))?;
        let narrow: Int32Array = wide.unary(|v| v as i32);
        Ok(Arc::new(narrow))
    }))
}

/// Week of the month and of the year as Java's localized fields `W` and `w` count them in English: weeks start on
/// Sunday, the first holds day 1.
pub(super) fn localized_weeks(day: i64) -> (i64, i64) {
    let week = |start: i64| {
        let first = start - (start + 4).rem_euclid(7);
        (day - first) / 7 + 1
    };
    let (year, month, _) = civil(day);
    let next_year = days(year + 1, 1, 1);
    let of_year = if day >= next_year - (next_year + 4).rem_euclid(7) {
        1
    } else {
        week(days(year, 1, 1))
    };
    (week(days(year, month, 1)), of_year)
}
