//! DATE, TIME, TIMESTAMP and TIMESTAMP_LTZ as text: the patterns of Flink's SQL and ISO-8601 formats.
//!
//! Days count from 1970-01-01 in the proleptic Gregorian calendar. Reading is `java.time`'s: in a timestamp a day up to
//! 31 that the month does not have means the month's last day, and 24:00:00 is the next day's start; a DATE is strict.

use super::number::DIGIT_PAIRS;
use arrow_schema::TimeUnit;

/// Nanoseconds of a day.
const DAY_NS: i64 = 86_400_000_000_000;

/// Which text a timestamp has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimestampStyle {
    /// `yyyy-MM-dd HH:mm:ss[.fraction]`
    Sql,
    /// `yyyy-MM-ddTHH:mm[:ss[.fraction]]`
    Iso8601,
}

/// Days of a date, by Howard Hinnant's `days_from_civil`.
fn days_of(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days.
pub(crate) fn date_of(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[inline]
fn two_digits(text: &[u8], at: usize) -> Option<u32> {
    let tens = text.get(at)?.wrapping_sub(b'0');
    let ones = text.get(at + 1)?.wrapping_sub(b'0');
    (tens <= 9 && ones <= 9).then(|| u32::from(tens) * 10 + u32::from(ones))
}

/// Reads `yyyy-MM-dd` from the start: year, month (1 to 12), day (1 to 31) and the length. More than four digits of the
/// year need a sign.
fn read_date(text: &[u8]) -> Option<(i64, u32, u32, usize)> {
    let signed = matches!(text.first(), Some(b'+' | b'-'));
    let start = usize::from(signed);
    let digits = text[start..].iter().take(10).take_while(|b| b.is_ascii_digit()).count();
    let length_fits = if signed {
        digits >= 4 && (text[0] == b'-' || digits > 4)
    } else {
        digits == 4
    };
    if !length_fits {
        return None;
    }
    let end = start + digits;
    let year = text[start..end].iter().fold(0i64, |y, d| y * 10 + i64::from(d - b'0'));
    let year = if text[0] == b'-' { -year } else { year };
    if text.get(end) != Some(&b'-') || text.get(end + 3) != Some(&b'-') || year.abs() > 999_999_999 {
        return None;
    }
    let month = two_digits(text, end + 1)?;
    let day = two_digits(text, end + 4)?;
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some((year, month, day, end + 6))
}

/// Reads `HH:mm:ss[.fraction]` (seconds may be left out where `short`) as nanoseconds of the day, at most 24:00, and
/// its length.
fn read_time(text: &[u8], short: bool) -> Option<(i64, usize)> {
    let hour = two_digits(text, 0)?;
    let minute = two_digits(text, 3)?;
    if text[2] != b':' || minute > 59 {
        return None;
    }
    let minutes = i64::from(hour * 60 + minute);
    if text.get(5) != Some(&b':') {
        return (short && hour <= 24)
            .then_some((minutes * 60_000_000_000, 5))
            .filter(|(t, _)| *t <= DAY_NS);
    }
    let second = two_digits(text, 6)?;
    if second > 59 {
        return None;
    }
    let mut nanos = 0i64;
    let mut length = 8;
    if text.get(8) == Some(&b'.') {
        let digits = text[9..].iter().take(9).take_while(|b| b.is_ascii_digit()).count();
        nanos = text[9..9 + digits].iter().fold(0, |n, d| n * 10 + i64::from(d - b'0')) * 10i64.pow(9 - digits as u32);
        length = 9 + digits;
    }
    let time = (minutes * 60 + i64::from(second)) * 1_000_000_000 + nanos;
    (time <= DAY_NS).then_some((time, length))
}

/// A DATE in ISO form, strictly.
pub(crate) fn parse_date(text: &[u8]) -> Option<i32> {
    let (year, month, day, length) = read_date(text)?;
    if length != text.len() || day > days_in_month(year, month) {
        return None;
    }
    i32::try_from(days_of(year, month, day)).ok()
}

/// A DATE as `java.sql.Date.valueOf` reads it: one or two digits of month and day, and a day that the month does not
/// have runs into the next month.
pub(crate) fn parse_sql_date(text: &[u8]) -> Option<i32> {
    let mut parts = text.split(|b| *b == b'-');
    let mut part = |widths: std::ops::RangeInclusive<usize>| {
        let digits = parts.next()?;
        (widths.contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit))
            .then(|| digits.iter().fold(0u32, |n, d| n * 10 + u32::from(d - b'0')))
    };
    let (year, month, day) = (part(4..=4)?, part(1..=2)?, part(1..=2)?);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    i32::try_from(days_of(i64::from(year), month, 1) + i64::from(day) - 1).ok()
}

/// A TIME in milliseconds: `HH:mm:ss[.fraction]`.
pub(crate) fn parse_time(text: &[u8]) -> Option<i32> {
    let (nanos, length) = read_time(text, false)?;
    (length == text.len()).then_some((nanos % DAY_NS / 1_000_000) as i32)
}

/// A TIME in milliseconds in ISO form, strictly: `HH:mm[:ss[.fraction]]`.
pub(crate) fn parse_iso_time(text: &[u8]) -> Option<i32> {
    let (nanos, length) = read_time(text, true)?;
    let dangling_point = text.last() == Some(&b'.');
    (length == text.len() && nanos < DAY_NS && !dangling_point).then_some((nanos / 1_000_000) as i32)
}

/// The date that was read last: neighbouring rows mostly share it.
#[derive(Debug, Default)]
pub(crate) struct DateCache {
    text: [u8; 10],
    days: i64,
}

impl DateCache {
    /// Days of a date of ten characters.
    #[inline]
    fn days(&mut self, text: &[u8; 10]) -> Option<i64> {
        if *text != self.text {
            let (year, month, day, length) = read_date(text)?;
            if length != text.len() {
                return None;
            }
            self.days = days_of(year, month, day.min(days_in_month(year, month)));
            self.text = *text;
        }
        Some(self.days)
    }
}

/// As [`parse_timestamp`], quickly for `yyyy-MM-dd HH:mm:ss` with or without three digits of a fraction.
#[inline]
pub(crate) fn parse_timestamp_cached(
    text: &[u8],
    style: TimestampStyle,
    zoned: bool,
    unit: TimeUnit,
    cache: &mut DateCache,
) -> Option<i64> {
    let local = if zoned { text.strip_suffix(b"Z")? } else { text };
    match usual_time_ms(local, style) {
        Some((date, time_ms)) => {
            let (per_day, per_ms) = match unit {
                TimeUnit::Millisecond => (86_400_000, 1),
                TimeUnit::Microsecond => (86_400_000_000, 1_000),
                TimeUnit::Nanosecond => (DAY_NS, 1_000_000),
                TimeUnit::Second => return parse_timestamp(text, style, zoned, unit),
            };
            cache.days(date)?.checked_mul(per_day)?.checked_add(time_ms * per_ms)
        }
        None => parse_timestamp(text, style, zoned, unit),
    }
}

/// The date's text and the milliseconds of the day of a timestamp in its usual form, before 24:00.
#[inline]
fn usual_time_ms(text: &[u8], style: TimestampStyle) -> Option<(&[u8; 10], i64)> {
    let (date, rest) = text.split_first_chunk::<10>()?;
    let (time, fraction) = rest.split_first_chunk::<9>()?;
    let separator = if style == TimestampStyle::Sql { b' ' } else { b'T' };
    let digit = |byte: u8| u32::from(byte.wrapping_sub(b'0'));
    let fraction = match fraction {
        [] => *b".000",
        [b'.', a, b, c] => [b'.', *a, *b, *c],
        _ => return None,
    };
    // A value above 9 shows in the maximum.
    let pair = |a: u8, b: u8| (digit(a) * 10 + digit(b), digit(a).max(digit(b)));
    let ((hour, h), (minute, m), (second, s)) =
        (pair(time[1], time[2]), pair(time[4], time[5]), pair(time[7], time[8]));
    let (hundredths, f) = pair(fraction[1], fraction[2]);
    let last = digit(fraction[3]);
    let all_digits = h.max(m).max(s).max(f).max(last) <= 9;
    let in_form = all_digits && time[0] == separator && time[3] == b':' && time[6] == b':';
    if !in_form || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let ms = hundredths * 10 + last;
    Some((date, i64::from(((hour * 60 + minute) * 60 + second) * 1000 + ms)))
}

/// A timestamp in `unit`s since the epoch; `zoned` text ends in `Z`. Digits beyond the unit are cut off.
pub(crate) fn parse_timestamp(text: &[u8], style: TimestampStyle, zoned: bool, unit: TimeUnit) -> Option<i64> {
    let text = if zoned { text.strip_suffix(b"Z")? } else { text };
    let (year, month, day, date_length) = read_date(text)?;
    let separator = *text.get(date_length)?;
    let separated = match style {
        TimestampStyle::Sql => separator == b' ',
        TimestampStyle::Iso8601 => matches!(separator, b'T' | b't'),
    };
    let rest = &text[date_length + 1..];
    let (nanos, length) = read_time(rest, style == TimestampStyle::Iso8601)?;
    if !separated || length != rest.len() {
        return None;
    }
    let days = days_of(year, month, day.min(days_in_month(year, month)));
    let (per_day, per_unit_ns) = match unit {
        TimeUnit::Second => (86_400, 1_000_000_000),
        TimeUnit::Millisecond => (86_400_000, 1_000_000),
        TimeUnit::Microsecond => (86_400_000_000, 1_000),
        TimeUnit::Nanosecond => (DAY_NS, 1),
    };
    days.checked_mul(per_day)?.checked_add(nanos / per_unit_ns)
}

fn write_pair(out: &mut Vec<u8>, value: u32) {
    let at = value as usize * 2;
    out.extend_from_slice(&DIGIT_PAIRS[at..at + 2]);
}

/// Appends a DATE in ISO form.
pub(crate) fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = date_of(days);
    if (0..=9999).contains(&year) {
        write_pair(out, year as u32 / 100);
        write_pair(out, year as u32 % 100);
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        let digits = format!("{:04}", year.unsigned_abs());
        out.extend_from_slice(digits.as_bytes());
    }
    out.push(b'-');
    write_pair(out, month);
    out.push(b'-');
    write_pair(out, day);
}

/// Appends `HH:mm:ss` and, where it is not zero, the fraction without trailing zeros.
pub(crate) fn write_time(out: &mut Vec<u8>, nanos_of_day: i64) {
    let seconds = (nanos_of_day / 1_000_000_000) as u32;
    write_pair(out, seconds / 3600);
    out.push(b':');
    write_pair(out, seconds / 60 % 60);
    out.push(b':');
    write_pair(out, seconds % 60);
    let fraction = nanos_of_day % 1_000_000_000;
    if fraction != 0 {
        let mut digits = *b".000000000";
        let (mut rest, mut length) = (fraction as u32, 1);
        for at in (1..10).rev() {
            let digit = (rest % 10) as u8;
            rest /= 10;
            digits[at] += digit;
            if digit != 0 && length == 1 {
                length = at + 1;
            }
        }
        out.extend_from_slice(&digits[..length]);
    }
}

/// Days and nanoseconds of the day of a timestamp in `unit`s.
pub(crate) fn split_timestamp(value: i64, unit: TimeUnit) -> (i64, i64) {
    let (per_day, per_unit_ns) = match unit {
        TimeUnit::Second => (86_400, 1_000_000_000),
        TimeUnit::Millisecond => (86_400_000, 1_000_000),
        TimeUnit::Microsecond => (86_400_000_000, 1_000),
        TimeUnit::Nanosecond => (DAY_NS, 1),
    };
    (value.div_euclid(per_day), value.rem_euclid(per_day) * per_unit_ns)
}

/// Appends a timestamp.
pub(crate) fn write_timestamp(out: &mut Vec<u8>, value: i64, unit: TimeUnit, style: TimestampStyle, zoned: bool) {
    let (days, nanos) = split_timestamp(value, unit);
    write_date(out, days);
    out.push(match style {
        TimestampStyle::Sql => b' ',
        TimestampStyle::Iso8601 => b'T',
    });
    write_time(out, nanos);
    if zoned {
        out.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TimestampStyle::{Iso8601, Sql};

    fn show(value: i64, unit: TimeUnit) -> String {
        let mut out = vec![];
        write_timestamp(&mut out, value, unit, Sql, false);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn days_and_dates_are_inverse() {
        for days in (-800_000..800_000).step_by(97) {
            let (y, m, d) = date_of(days);
            assert_eq!(days_of(y, m, d), days);
        }
        assert_eq!(date_of(0), (1970, 1, 1));
        assert_eq!(days_of(2026, 1, 1), 20_454);
    }

    #[test]
    fn timestamps_read_as_flink_reads_them() {
        let ms = TimeUnit::Millisecond;
        let read = |t: &str, style, zoned| {
            let plain = parse_timestamp(t.as_bytes(), style, zoned, ms);
            let mut cache = DateCache::default();
            for _ in 0..2 {
                assert_eq!(
                    parse_timestamp_cached(t.as_bytes(), style, zoned, ms, &mut cache),
                    plain,
                    "{t}"
                );
            }
            plain.map(|v| show(v, ms))
        };
        for (text, want) in [
            ("2026-01-01 00:00:00", "2026-01-01 00:00:00"),
            ("2026-01-01 10:20:30.12", "2026-01-01 10:20:30.12"),
            ("2026-01-01 10:20:30.123456789", "2026-01-01 10:20:30.123"),
            ("2026-01-01 00:00:00.", "2026-01-01 00:00:00"),
            ("2026-02-30 00:00:00", "2026-02-28 00:00:00"),
            ("2026-01-01 24:00:00", "2026-01-02 00:00:00"),
            ("+12026-01-01 00:00:00", "+12026-01-01 00:00:00"),
            ("-0001-01-01 00:00:00", "-0001-01-01 00:00:00"),
        ] {
            assert_eq!(read(text, Sql, false).as_deref(), Some(want), "{text}");
        }
        for text in [
            "2026-01-01 00:00",
            "2026-01-01T00:00:00",
            "2026-1-1 0:0:0",
            " 2026-01-01 00:00:00",
            "2026-02-32 00:00:00",
            "2026-01-01 24:00:01",
            "2026-01-01 23:59:60",
            "2026-01-01",
            "12026-01-01 00:00:00",
            "2026-01-01 00:00:00.1234567891",
            "",
        ] {
            assert_eq!(read(text, Sql, false), None, "{text}");
        }
        assert_eq!(
            read("2026-01-01 00:00:00.5Z", Sql, true).as_deref(),
            Some("2026-01-01 00:00:00.5")
        );
        assert_eq!(read("2026-01-01 00:00:00", Sql, true), None);
        assert_eq!(
            read("2026-01-01t00:00", Iso8601, false).as_deref(),
            Some("2026-01-01 00:00:00")
        );
        assert_eq!(
            read("2026-01-01T00:00:00.123Z", Iso8601, true).as_deref(),
            Some("2026-01-01 00:00:00.123")
        );
    }

    #[test]
    fn dates_and_times() {
        assert_eq!(parse_date(b"2026-01-01"), Some(20_454));
        assert_eq!(parse_date(b"2026-02-30"), None);
        assert_eq!(parse_sql_date(b"2026-1-1"), Some(20_454));
        assert_eq!(parse_sql_date(b"2026-02-30"), parse_date(b"2026-03-02"));
        for bad in [
            "2026-02-32",
            " 2026-01-01",
            "12026-01-01",
            "2026-0-1",
            "2026-001-01",
            "2026-01-01-",
            "",
        ] {
            assert_eq!(parse_sql_date(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse_time(b"12:34:56.789"), Some(45_296_789));
        assert_eq!(parse_time(b"24:00:00"), Some(0));
        assert_eq!(parse_time(b"12:34"), None);
        assert_eq!(parse_iso_time(b"12:34"), Some(45_240_000));
        assert_eq!(parse_iso_time(b"24:00"), None);
    }

    #[test]
    fn before_the_epoch_and_below_the_millisecond() {
        assert_eq!(show(-1, TimeUnit::Millisecond), "1969-12-31 23:59:59.999");
        assert_eq!(show(1_000, TimeUnit::Nanosecond), "1970-01-01 00:00:00.000001");
    }
}
