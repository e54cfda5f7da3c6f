//! Event time and watermarks: milliseconds since the epoch, with the two ends that Flink uses.

/// A point of event time in milliseconds since 1970-01-01T00:00:00Z; may be negative.
pub type EventTime = i64;

/// The watermark before any has been seen (Flink's `Long.MIN_VALUE`).
pub const NO_WATERMARK: EventTime = i64::MIN;

/// The watermark at the end of a drained input: every window fires (Flink's `Long.MAX_VALUE`).
pub const END_OF_TIME: EventTime = i64::MAX;

/// Start of the tumbling window of `size_ms` (shifted by `offset_ms`) that holds `time`, for negative times too.
///
/// The rule is Flink's `TimeWindow.getWindowStartWithOffset`: windows are aligned to the epoch plus the offset.
#[inline]
pub fn window_start(time: EventTime, offset_ms: i64, size_ms: i64) -> EventTime {
    time - (time - offset_ms).rem_euclid(size_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_aligned_to_the_epoch_and_before_it() {
        assert_eq!(window_start(59_999, 0, 60_000), 0);
        assert_eq!(window_start(60_000, 0, 60_000), 60_000);
        assert_eq!(window_start(-1, 0, 60_000), -60_000);
        assert_eq!(window_start(5, 10, 60_000), -59_990);
    }
}
