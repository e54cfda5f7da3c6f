//! The session time zone (`table.local-time-zone`): what TIMESTAMP_LTZ means as a wall-clock time.

use chrono::{MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone as _};
use chrono_tz::Tz;
use std::fmt;
use std::str::FromStr;

/// A zone of the tz database or a fixed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeZone {
    /// Seconds east of UTC.
    Fixed(i32),
    /// A named zone.
    Region(Tz),
}

impl TimeZone {
    /// Coordinated Universal Time.
    pub const UTC: Self = Self::Fixed(0);

    /// Seconds to add to an instant (seconds since the epoch) to get its wall-clock time.
    pub fn offset_at(&self, epoch_seconds: i64) -> i64 {
        match self {
            Self::Fixed(seconds) => i64::from(*seconds),
            Self::Region(tz) => chrono::DateTime::from_timestamp(epoch_seconds, 0).map_or(0, |t| {
                let offset = tz.offset_from_utc_datetime(&t.naive_utc());
                i64::from(offset.fix().local_minus_utc())
            }),
        }
    }

    /// Seconds to subtract from a wall-clock time (seconds since 1970-01-01 00:00 there) to get its instant. As in
    /// Java, a time in a gap is moved on by the gap.
    pub fn offset_of_local(&self, local_seconds: i64, twice: Twice) -> i64 {
        match self {
            Self::Fixed(seconds) => i64::from(*seconds),
            Self::Region(tz) => {
                let Some(local) = chrono::DateTime::from_timestamp(local_seconds, 0).map(|t| t.naive_utc()) else {
                    return 0;
                };
                i64::from(region_offset(*tz, &local, twice))
            }
        }
    }
}

/// Which instant a wall-clock time means that occurs twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twice {
    /// The first: what Java's `LocalDateTime.atZone` takes.
    Earlier,
    /// The second, which is standard time: what Java's `SimpleDateFormat` takes.
    Later,
}

fn region_offset(tz: Tz, local: &NaiveDateTime, twice: Twice) -> i32 {
    let offset = match (tz.offset_from_local_datetime(local), twice) {
        (MappedLocalTime::Single(offset), _)
        | (MappedLocalTime::Ambiguous(offset, _), Twice::Earlier)
        | (MappedLocalTime::Ambiguous(_, offset), Twice::Later) => Some(offset),
        // the offset before the gap: no zone's gap is longer than a day
        (MappedLocalTime::None, _) => tz
            .offset_from_local_datetime(&(*local - TimeDelta::hours(24)))
            .earliest(),
    };
    offset.map_or(0, |o| o.fix().local_minus_utc())
}

impl FromStr for TimeZone {
    type Err = String;

    /// Reads `UTC`, `Z`, `Europe/Berlin`, `+08:00`, `GMT+8`, `UTC-03:30`.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let rest = ["GMT", "UTC", "UT"]
            .iter()
            .find_map(|p| text.strip_prefix(p))
            .unwrap_or(text);
        if rest.is_empty() || rest == "Z" {
            return Ok(Self::UTC);
        }
        if let Some(seconds) = parse_offset(rest) {
            return Ok(Self::Fixed(seconds));
        }
        text.parse::<Tz>().map(Self::Region).map_err(|_| {
            let names = chrono_tz::TZ_VARIANTS.iter().map(|t| t.name());
            let hint = flott_core::suggest::hint(text, names);
            format!(
                "unknown time zone '{text}'{hint}; expected a name such as Europe/Berlin or an offset such as GMT+08:00"
            )
        })
    }
}

/// Seconds of `+8`, `-03:30`, `+08:00:15`, `+0530`.
pub(crate) fn parse_offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let parts: Vec<&str> = if digits.contains(':') {
        digits.split(':').collect()
    } else if digits.len() == 4 && digits.is_ascii() {
        vec![&digits[..2], &digits[2..]]
    } else {
        vec![digits]
    };
    if parts.len() > 3 || parts.iter().any(|p| p.is_empty() || p.len() > 2) {
        return None;
    }
    let mut seconds = 0;
    for (part, unit) in parts.iter().zip([3600, 60, 1]) {
        seconds += part
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| part.parse::<i32>().ok())??
            * unit;
    }
    (seconds <= 18 * 3600).then_some(sign * seconds)
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(0) => f.write_str("UTC"),
            Self::Fixed(s) => {
                let sign = if *s < 0 { '-' } else { '+' };
                write!(f, "GMT{sign}{:02}:{:02}", s.abs() / 3600, s.abs() / 60 % 60)
            }
            Self::Region(tz) => f.write_str(tz.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_parse_and_know_their_offsets() {
        for (text, seconds) in [
            ("UTC", 0),
            ("GMT+08:00", 28_800),
            ("-03:30", -12_600),
            ("Z", 0),
            ("+0530", 19_800),
        ] {
            assert_eq!(text.parse::<TimeZone>(), Ok(TimeZone::Fixed(seconds)), "{text}");
        }
        let berlin: TimeZone = "Europe/Berlin".parse().unwrap();
        assert_eq!(berlin.offset_at(1_709_210_096), 3600);
        assert_eq!(berlin.offset_at(1_720_000_000), 7200);
        // 2024-03-31 02:30 does not exist there; 2024-10-27 02:30 occurs twice
        assert_eq!(berlin.offset_of_local(1_711_852_200, Twice::Earlier), 3600);
        assert_eq!(berlin.offset_of_local(1_729_996_200, Twice::Earlier), 7200);
        assert_eq!(berlin.offset_of_local(1_729_996_200, Twice::Later), 3600);
        assert!(
            "Europe/Berlim"
                .parse::<TimeZone>()
                .unwrap_err()
                .contains("Europe/Berlin")
        );
    }
}
