//! Days, times of day and timestamps as numbers, and their text.
//!
//! A timestamp column holds counts of a unit that follows from its precision ([`flott_core::types::timestamp_unit`]);
//! what is local (TIMESTAMP) and what is an instant (TIMESTAMP_LTZ) only the logical type knows.

use super::error::ExprError;
use super::value::mismatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};
use flott_core::types::timestamp_unit;
use std::fmt::Write;
use std::sync::Arc;

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;
/// Seconds of a day.
pub const DAY_S: i64 = 86_400;

/// Counts in a second for a timestamp of this precision.
pub fn per_second(precision: u8) -> i64 {
    match timestamp_unit(precision) {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// The counts of a timestamp column.
pub fn counts(array: &ArrayRef) -> Result<&ScalarBuffer<i64>, ExprError> {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => Ok(array.as_primitive::<TimestampMillisecondType>().values()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(array.as_primitive::<TimestampMicrosecondType>().values()),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Ok(array.as_primitive::<TimestampNanosecondType>().values()),
        _ => Err(mismatch("timestamp", array)),
    }
}

/// A timestamp column of this precision.
pub fn timestamps(values: ScalarBuffer<i64>, nulls: Option<NullBuffer>, precision: u8) -> ArrayRef {
    match timestamp_unit(precision) {
        TimeUnit::Microsecond => Arc::new(TimestampMicrosecondArray::new(values, nulls)),
        TimeUnit::Nanosecond => Arc::new(TimestampNanosecondArray::new(values, nulls)),
        _ => Arc::new(TimestampMillisecondArray::new(values, nulls)),
    }
}

/// `f` on every count of a timestamp column, as a column of this precision (whose unit `f` must produce).
pub fn map_counts(array: &ArrayRef, precision: u8, f: impl Fn(i64) -> i64) -> Result<ArrayRef, ExprError> {
    let values = counts(array)?.iter().map(|v| f(*v)).collect();
    Ok(timestamps(values, array.nulls().cloned(), precision))
}

/// Year, month and day of a day since the epoch (proleptic Gregorian; Howard Hinnant's algorithm).
#[inline]
pub fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

/// Days since the epoch of a date; the day may lie outside the month.
#[inline]
pub fn days(year: i64, month: u32, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let yoe = year.rem_euclid(400);
    let mp = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let doy = (153 * mp + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

/// Whether February has 29 days.
pub fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of a month.
pub fn month_length(year: i64, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day `months` months later; the last of the month where that month is shorter.
pub fn add_months(day: i64, months: i64) -> i64 {
    let (year, month, dom) = civil(day);
    let total = year * 12 + i64::from(month) - 1 + months;
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) as u32 + 1);
    days(year, month, i64::from(dom.min(month_length(year, month))))
}

/// Appends `yyyy-MM-dd`.
pub fn write_date(day: i64, out: &mut impl Write) {
    let (year, month, dom) = civil(day);
    let sign = if year < 0 { "-" } else { "" };
    let _ = write!(out, "{sign}{:04}-{month:02}-{dom:02}", year.abs());
}

/// Appends `HH:mm:ss` and `digits` digits of the fraction.
pub fn write_time(second_of_day: i64, nanos: i64, digits: u8, out: &mut impl Write) {
    let (h, m, s) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    let _ = write!(out, "{h:02}:{m:02}:{s:02}");
    if digits > 0 {
        let fraction = nanos / 10i64.pow(u32::from(9 - digits.min(9)));
        let _ = write!(out, ".{fraction:0width$}", width = usize::from(digits.min(9)));
    }
}

/// Appends `yyyy-MM-dd HH:mm:ss` and as many digits of the fraction as the precision has; `count` is in its unit.
pub fn write_timestamp(count: i64, precision: u8, out: &mut impl Write) {
    let unit = per_second(precision);
    let (seconds, fraction) = (count.div_euclid(unit), count.rem_euclid(unit));
    write_date(seconds.div_euclid(DAY_S), out);
    let _ = out.write_char(' ');
    write_time(
        seconds.rem_euclid(DAY_S),
        fraction * (1_000_000_000 / unit),
        precision,
        out,
    );
}

/// Cuts a count of the unit of `from` to the unit and digits of `to`.
#[inline]
pub fn rescale(count: i64, from: u8, to: u8) -> Option<i64> {
    let (a, b) = (per_second(from), per_second(to));
    let count = if b >= a {
        count.checked_mul(b / a)?
    } else {
        count.div_euclid(a / b)
    };
    let unit_digits = match b {
        1_000 => 3,
        1_000_000 => 6,
        _ => 9,
    };
    if to >= from || to == unit_digits {
        return Some(count);
    }
    let step = 10i64.pow(u32::from(unit_digits - to));
    Some(count.div_euclid(step) * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree_with_chrono_over_four_centuries() {
        for day in (-800_000..800_000).step_by(97) {
            let date = chrono::DateTime::from_timestamp(day * DAY_S, 0).unwrap().date_naive();
            let (y, m, d) = civil(day);
            assert_eq!(date, chrono::NaiveDate::from_ymd_opt(y as i32, m, d).unwrap());
            assert_eq!(days(y, m, i64::from(d)), day);
        }
    }

    #[test]
    fn precision_is_cut_not_rounded_even_before_1970() {
        assert_eq!(rescale(1_999, 3, 0), Some(1_000));
        assert_eq!(rescale(-1, 3, 0), Some(-1_000));
        assert_eq!(rescale(1_999_999, 6, 3), Some(1_999));
        assert_eq!(rescale(5, 3, 9), Some(5_000_000));
        assert_eq!(add_months(days(2024, 1, 31), 1), days(2024, 2, 29));
    }
}
