//! Between instants and the session's wall clock: [`WallClock`].
//!
//! Flink cuts windows over TIMESTAMP_LTZ and over processing time in the wall-clock time of `table.local-time-zone`,
//! shows `window_start` and `window_end` as TIMESTAMP in that time, and fires a window when its last millisecond has
//! passed on that clock. Wall-clock times are kept as milliseconds since 1970-01-01T00:00:00 of the clock itself.
//!
//! Where the clock is set back, a wall-clock time names two instants; a window fires after the later one, so that it
//! holds both hours. Where it is set forward, the skipped times name the instant of the change.

use crate::expr::time_zone::{TimeZone, Twice};
use chrono::{DateTime, MappedLocalTime, TimeZone as _};

/// Zone offsets are looked up once per quarter of an hour of event time: changes fall on its borders in every zone
/// since 1972.
const BUCKET_MS: i64 = 15 * 60 * 1000;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A clock on a wall somewhere.
#[derive(Debug, Clone)]
pub(crate) struct WallClock {
    zone: TimeZone,
    /// Bucket whose offset was looked up last, and that offset.
    cached: Option<(i64, i64)>,
}

impl WallClock {
    /// The clock that shows UTC: wall-clock times and instants are the same.
    #[cfg(test)]
    pub(crate) fn utc() -> Self {
        Self::of(TimeZone::UTC)
    }

    /// The clock of a zone.
    pub(crate) fn of(zone: TimeZone) -> Self {
        Self { zone, cached: None }
    }

    /// Whether wall-clock times and instants are the same.
    pub(crate) fn is_utc(&self) -> bool {
        self.zone == TimeZone::UTC
    }

    /// What the clock shows at an instant.
    #[inline]
    pub(crate) fn at(&mut self, instant_ms: i64) -> i64 {
        let bucket = instant_ms.div_euclid(BUCKET_MS);
        let offset_ms = match self.cached {
            Some((cached, offset_ms)) if cached == bucket => offset_ms,
            _ => {
                let offset_ms = offset_ms(self.zone, instant_ms);
                self.cached = Some((bucket, offset_ms));
                offset_ms
            }
        };
        instant_ms.wrapping_add(offset_ms)
    }

    /// The last instant at which the clock shows this time.
    pub(crate) fn last_instant_of(&self, wall_ms: i64) -> i64 {
        let zone = match self.zone {
            TimeZone::Fixed(seconds) => return wall_ms.saturating_sub(i64::from(seconds) * 1000),
            TimeZone::Region(zone) => zone,
        };
        let Some(wall) = DateTime::from_timestamp_millis(wall_ms).map(|t| t.naive_utc()) else {
            return wall_ms;
        };
        match zone.from_local_datetime(&wall) {
            MappedLocalTime::Single(t) | MappedLocalTime::Ambiguous(_, t) => t.timestamp_millis(),
            MappedLocalTime::None => change_before(self.zone, self.first_instant_of(wall_ms)),
        }
    }

    /// The first instant at which the clock shows this time: what a cast of TIMESTAMP to TIMESTAMP_LTZ gives.
    pub(crate) fn first_instant_of(&self, wall_ms: i64) -> i64 {
        wall_ms.saturating_sub(self.zone.offset_of_local(wall_ms.div_euclid(1000), Twice::Earlier) * 1000)
    }
}

/// The first instant with the same offset as `instant_ms`, sought within a day.
fn change_before(zone: TimeZone, instant_ms: i64) -> i64 {
    let wanted = offset_ms(zone, instant_ms);
    let (mut low, mut high) = (instant_ms - DAY_MS, instant_ms);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if offset_ms(zone, middle) == wanted {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

fn offset_ms(zone: TimeZone, instant_ms: i64) -> i64 {
    zone.offset_at(instant_ms.div_euclid(1000)) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDateTime;

    fn ms(text: &str) -> i64 {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
            .unwrap()
            .and_utc()
            .timestamp_millis()
    }

    fn los_angeles() -> WallClock {
        WallClock::of("America/Los_Angeles".parse().unwrap())
    }

    #[test]
    fn a_fixed_offset_is_added() {
        let mut clock = WallClock::of("GMT+08:00".parse().unwrap());
        assert_eq!(
            (clock.at(0), clock.last_instant_of(DAY_MS / 3), clock.is_utc()),
            (DAY_MS / 3, 0, false)
        );
    }

    #[test]
    fn both_hours_of_a_set_back_clock_count_until_the_later() {
        let mut clock = los_angeles();
        // On 2021-11-07 at 09:00 UTC the clock went from 01:59:59 back to 01:00.
        assert_eq!(clock.at(ms("2021-11-07 08:30:00")), ms("2021-11-07 01:30:00"));
        assert_eq!(clock.at(ms("2021-11-07 09:30:00")), ms("2021-11-07 01:30:00"));
        assert_eq!(
            clock.last_instant_of(ms("2021-11-07 01:59:59.999")),
            ms("2021-11-07 09:59:59.999")
        );
        assert_eq!(
            clock.first_instant_of(ms("2021-11-07 01:30:00")),
            ms("2021-11-07 08:30:00")
        );
    }

    #[test]
    fn a_skipped_hour_is_the_instant_of_the_change() {
        let mut clock = los_angeles();
        // On 2021-03-14 at 10:00 UTC the clock went from 01:59:59 on to 03:00.
        assert_eq!(clock.at(ms("2021-03-14 09:59:59")), ms("2021-03-14 01:59:59"));
        assert_eq!(clock.at(ms("2021-03-14 10:00:00")), ms("2021-03-14 03:00:00"));
        assert_eq!(
            clock.last_instant_of(ms("2021-03-14 02:30:00")),
            ms("2021-03-14 10:00:00")
        );
        assert_eq!(
            clock.first_instant_of(ms("2021-03-14 02:30:00")),
            ms("2021-03-14 10:30:00")
        );
    }
}
