//! Rust types of SQL's types that the language itself does not have: fields of records that cross between tables and streams.
//!
//! They are fixed in size and order as their SQL types do; all can be kept in state and be keys' fields. As text they read as Flink shows them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use flott_core::types::MAX_LENGTH;
use flott_core::{LogicalType, TypeKind};
use flott_state::value::{DamagedValue, StateValue};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A text is no value of the type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no {expected}")]
pub struct WrongText {
    text: String,
    expected: String,
}

impl WrongText {
    fn of(text: &str, expected: impl fmt::Display) -> Self {
        Self {
            text: text.to_owned(),
            expected: expected.to_string(),
        }
    }
}

/// A value that is one number in state, and text for people.
macro_rules! numbers {
    ($([$($generics:tt)*] $ty:ty, $number:ty, $kind:expr;)*) => {$(
        impl<$($generics)*> StateValue for $ty {
            fn state_type() -> LogicalType {
                LogicalType::not_null($kind)
            }

            #[inline]
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0.to_le_bytes());
            }

            fn check(stored: &LogicalType) -> Result<(), String> {
                let now = Self::state_type();
                match *stored == now {
                    true => Ok(()),
                    false => Err(format!("it was {stored}, and is now {now}")),
                }
            }

            #[inline]
            fn read(_stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
                let (head, rest) = bytes.split_first_chunk().ok_or(DamagedValue)?;
                *bytes = rest;
                Ok(Self(<$number>::from_le_bytes(*head)))
            }
        }

        impl<$($generics)*> Serialize for $ty {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match serializer.is_human_readable() {
                    true => serializer.collect_str(self),
                    false => self.0.serialize(serializer),
                }
            }
        }

        impl<'de, $($generics)*> Deserialize<'de> for $ty {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match deserializer.is_human_readable() {
                    true => String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom),
                    false => <$number>::deserialize(deserializer).map(Self),
                }
            }
        }
    )*};
}

numbers! {
    [const PRECISION: u8, const SCALE: u8] Decimal<PRECISION, SCALE>, i128, TypeKind::Decimal(PRECISION, SCALE);
    [] Date, i32, TypeKind::Date;
    [] Time, i32, TypeKind::Time(0);
    [const PRECISION: u8] Timestamp<PRECISION>, i64, TypeKind::Timestamp(PRECISION);
    [const PRECISION: u8] TimestampLtz<PRECISION>, i64, TypeKind::TimestampLtz(PRECISION);
}

/// `DECIMAL(PRECISION, SCALE)`: an exact number, kept as a whole number of its smallest digit.
///
/// ```
/// use flott::table::Decimal;
/// let price: Decimal<10, 2> = "19.90".parse()?;
/// assert_eq!(price.unscaled(), 1990);
/// assert_eq!((price + price).to_string(), "39.80");
/// # Ok::<(), flott::table::WrongText>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal<const PRECISION: u8, const SCALE: u8>(i128);

impl<const PRECISION: u8, const SCALE: u8> Decimal<PRECISION, SCALE> {
    /// One more than the largest number, in its smallest digits; there is none for types that SQL does not have.
    const BOUND: u128 = {
        assert!(
            PRECISION >= 1 && PRECISION <= 38 && SCALE <= PRECISION,
            "DECIMAL has 1 to 38 digits, at most so many of them behind the point"
        );
        10u128.pow(PRECISION as u32)
    };

    /// The number of `unscaled` times the smallest digit. One with more digits than the precision fails the job where it becomes a column.
    pub fn from_unscaled(unscaled: i128) -> Self {
        Self(unscaled)
    }

    /// The sum, if the precision has room for it.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self).filter(|sum| sum.fits())
    }

    /// The difference, if the precision has room for it.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0
            .checked_sub(other.0)
            .map(Self)
            .filter(|difference| difference.fits())
    }

    fn fits(self) -> bool {
        self.0.unsigned_abs() < Self::BOUND
    }

    /// How many times its smallest digit it is.
    pub fn unscaled(self) -> i128 {
        self.0
    }
}

/// A sum with more digits than the precision is what [`Decimal::from_unscaled`] makes of it; [`Decimal::checked_add`] tells.
impl<const PRECISION: u8, const SCALE: u8> std::ops::Add for Decimal<PRECISION, SCALE> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl<const PRECISION: u8, const SCALE: u8> std::ops::Sub for Decimal<PRECISION, SCALE> {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl<const PRECISION: u8, const SCALE: u8> fmt::Display for Decimal<PRECISION, SCALE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(self.0, SCALE, f)
    }
}

pub(super) fn write_decimal(unscaled: i128, scale: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let one = 10u128.pow(u32::from(scale));
    let sign = if unscaled < 0 { "-" } else { "" };
    let (whole, rest) = (unscaled.unsigned_abs() / one, unscaled.unsigned_abs() % one);
    match scale {
        0 => write!(f, "{sign}{whole}"),
        _ => write!(f, "{sign}{whole}.{rest:0width$}", width = usize::from(scale)),
    }
}

impl<const PRECISION: u8, const SCALE: u8> FromStr for Decimal<PRECISION, SCALE> {
    type Err = WrongText;

    /// Reads `-12.5`; more digits behind the point than the scale has are an error, as are more in all than the precision.
    fn from_str(text: &str) -> Result<Self, WrongText> {
        let wrong = || WrongText::of(text, Self::state_type().kind);
        let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
        let missing = usize::from(SCALE).checked_sub(rest.len()).ok_or_else(wrong)?;
        let is_number = text.bytes().any(|b| b.is_ascii_digit()) && rest.bytes().all(|b| b.is_ascii_digit());
        let digits = format!("{whole}{rest}{}", "0".repeat(missing));
        let number = Self(digits.parse().map_err(|_| wrong())?);
        (is_number && number.fits()).then_some(number).ok_or_else(wrong)
    }
}

/// `DATE`: a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i32);

impl Date {
    /// The day so many days behind 1970-01-01.
    pub fn from_epoch_days(days: i32) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    pub fn epoch_days(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NaiveDate::from_epoch_days(self.0) {
            Some(date) => write!(f, "{date}"),
            None => write!(f, "day {}", self.0),
        }
    }
}

impl FromStr for Date {
    type Err = WrongText;

    fn from_str(text: &str) -> Result<Self, WrongText> {
        let date: NaiveDate = text.parse().map_err(|_| WrongText::of(text, "DATE"))?;
        Ok(Self(date.to_epoch_days()))
    }
}

/// `TIME`: a time of day, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i32);

impl Time {
    /// The time so many milliseconds behind midnight.
    pub fn from_millis_of_day(millis: i32) -> Self {
        Self(millis)
    }

    /// Milliseconds since midnight.
    pub fn millis_of_day(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.div_euclid(1000), self.0.rem_euclid(1000));
        let time = NaiveTime::from_num_seconds_from_midnight_opt(seconds as u32, millis as u32 * 1_000_000);
        match time {
            Some(time) => write_time(time, false, f),
            None => write!(f, "{} ms of the day", self.0),
        }
    }
}

impl FromStr for Time {
    type Err = WrongText;

    fn from_str(text: &str) -> Result<Self, WrongText> {
        let time = text.parse().or_else(|_| NaiveTime::parse_from_str(text, "%H:%M"));
        let time: NaiveTime = time.map_err(|_| WrongText::of(text, "TIME"))?;
        let millis = time.num_seconds_from_midnight() * 1000 + time.nanosecond() / 1_000_000;
        Ok(Self(millis as i32))
    }
}

/// As Java writes it: seconds only where they are asked for or not zero, fractions by threes.
fn write_time(time: NaiveTime, with_seconds: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{:02}:{:02}", time.hour(), time.minute())?;
    let nanos = time.nanosecond();
    if with_seconds || time.second() > 0 || nanos > 0 {
        write!(f, ":{:02}", time.second())?;
    }
    match nanos {
        0 => Ok(()),
        n if n % 1_000_000 == 0 => write!(f, ".{:03}", n / 1_000_000),
        n if n % 1000 == 0 => write!(f, ".{:06}", n / 1000),
        n => write!(f, ".{n:09}"),
    }
}

/// How many of a precision's smallest steps make a second.
fn steps_per_second(precision: u8) -> i64 {
    match precision {
        0..=3 => 1000,
        4..=6 => 1_000_000,
        _ => 1_000_000_000,
    }
}

/// A number of steps of one precision in those of another.
pub(super) fn rescale(value: i64, from: u8, to: u8) -> Option<i64> {
    let (from, to) = (steps_per_second(from), steps_per_second(to));
    match from > to {
        true => Some(value.div_euclid(from / to)),
        false => value.checked_mul(to / from),
    }
}

pub(super) fn write_timestamp(value: i64, precision: u8, is_instant: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let steps = steps_per_second(precision);
    let nanos = value.rem_euclid(steps) * (1_000_000_000 / steps);
    let Some(time) = DateTime::from_timestamp(value.div_euclid(steps), nanos as u32) else {
        return write!(f, "{value} steps of 1/{steps} s");
    };
    let time = time.naive_utc();
    write!(f, "{}T", time.date())?;
    write_time(time.time(), is_instant, f)?;
    f.write_str(if is_instant { "Z" } else { "" })
}

fn parse_timestamp(text: &str, precision: u8) -> Option<i64> {
    let time = text
        .parse()
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M"));
    let time: NaiveDateTime = time
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f"))
        .ok()?;
    let (steps, time) = (steps_per_second(precision), time.and_utc());
    let fraction = i64::from(time.timestamp_subsec_nanos()) / (1_000_000_000 / steps);
    time.timestamp().checked_mul(steps)?.checked_add(fraction)
}

macro_rules! timestamps {
    ($($(#[$doc:meta])* $name:ident, $is_instant:literal, $suffix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name<const PRECISION: u8 = 3>(i64);

        impl<const PRECISION: u8> $name<PRECISION> {
            /// The time so many milliseconds behind 1970-01-01 00:00, the nearest that there is.
            pub fn from_epoch_millis(millis: i64) -> Self {
                Self(rescale(millis, 3, PRECISION).unwrap_or(if millis < 0 { i64::MIN } else { i64::MAX }))
            }

            /// Milliseconds since 1970-01-01 00:00, rounded downwards.
            pub fn epoch_millis(self) -> i64 {
                rescale(self.0, PRECISION, 3).unwrap_or(self.0)
            }
        }

        impl<const PRECISION: u8> fmt::Display for $name<PRECISION> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_timestamp(self.0, PRECISION, $is_instant, f)
            }
        }

        impl<const PRECISION: u8> FromStr for $name<PRECISION> {
            type Err = WrongText;

            fn from_str(text: &str) -> Result<Self, WrongText> {
                let parsed = parse_timestamp(text.trim_end_matches($suffix), PRECISION);
                parsed.map(Self).ok_or_else(|| WrongText::of(text, Self::state_type().kind))
            }
        }
    )*};
}

timestamps! {
    /// `TIMESTAMP(PRECISION)`: what a clock on the wall shows, without a zone.
    Timestamp, false, "";
    /// `TIMESTAMP_LTZ(PRECISION)`: an instant.
    TimestampLtz, true, "Z";
}

/// `BYTES`. (A `Vec<u8>` is an `ARRAY` of numbers.)
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Bytes(pub Vec<u8>);

impl StateValue for Bytes {
    fn state_type() -> LogicalType {
        LogicalType::not_null(TypeKind::Varbinary(MAX_LENGTH))
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.0.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.0);
    }

    fn check(stored: &LogicalType) -> Result<(), String> {
        match stored.kind.is_binary() && !stored.nullable {
            true => Ok(()),
            false => Err(format!("it was {stored}, and is now {}", Self::state_type())),
        }
    }

    fn read(_stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
        let (count, rest) = bytes.split_first_chunk().ok_or(DamagedValue)?;
        let count = u32::from_le_bytes(*count) as usize;
        let (value, rest) = rest.split_at_checked(count).ok_or(DamagedValue)?;
        *bytes = rest;
        Ok(Self(value.to_vec()))
    }

    fn owned_bytes(&self) -> usize {
        self.0.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_flink_and_can_be_read() {
        for text in ["2026-01-02T03:04", "2026-01-02T03:04:05", "1969-12-31T23:59:59.500"] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
            assert_eq!(text.parse::<Timestamp<9>>().unwrap().to_string(), text);
        }
        let instant: TimestampLtz<6> = "2026-01-02T03:04:05.000001Z".parse().unwrap();
        assert_eq!(instant.to_string(), "2026-01-02T03:04:05.000001Z");
        assert_eq!(
            TimestampLtz::<3>::from_epoch_millis(0).to_string(),
            "1970-01-01T00:00:00Z"
        );
        assert_eq!("2026-02-28".parse::<Date>().unwrap().epoch_days(), 20_512);
        assert_eq!("10:00".parse::<Time>().unwrap().to_string(), "10:00");
        assert_eq!("-0.05".parse::<Decimal<4, 2>>().unwrap().to_string(), "-0.05");
        assert_eq!(
            "100".parse::<Decimal<4, 2>>().unwrap_err().to_string(),
            "'100' is no DECIMAL(4, 2)"
        );
        for wrong in ["1.005", "", ".", "-", "+", "-.", "1.", "1.-5", "1 "] {
            let is_number = wrong == "1.";
            assert_eq!(wrong.parse::<Decimal<4, 2>>().is_ok(), is_number, "{wrong}");
        }
        assert_eq!("-.5".parse::<Decimal<4, 2>>().unwrap().to_string(), "-0.50");
    }

    #[test]
    fn sums_of_decimals_know_their_precision() {
        let decimal = Decimal::<4, 2>::from_unscaled;
        assert_eq!(decimal(9_000).checked_add(decimal(999)), Some(decimal(9_999)));
        assert_eq!(decimal(9_000).checked_add(decimal(1_000)), None);
        assert_eq!(decimal(-9_000).checked_sub(decimal(1_000)), None);
        let most = Decimal::<38, 0>::from_unscaled(i128::MAX);
        assert_eq!((most + most).unscaled(), i128::MAX);
    }
}
