//! Clicks per window: the clicks of each user in five seconds, in the last five minutes, and by visit.
//!
//! Flink's `timeWindow(Time.seconds(5)).sum("clicks")` names the field by a string; a closure that returns a reference to it is checked by the compiler.

use crate::{fields, number, seconds};
use flott::prelude::*;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Clicks of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, StateValue)]
pub struct Event {
    user_id: String,
    clicks: i64,
    time_ms: i64,
}

impl Event {
    /// A line `user,clicks,second`.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(line: &str) -> Result<Self, String> {
        let [user_id, clicks, second] = fields(line)?;
        Ok(Self {
            user_id: user_id.to_owned(),
            clicks: number(clicks)?,
            time_ms: seconds(second)?,
        })
    }
}

/// `user,clicks` of each user and five seconds.
pub fn clicks_per_five_seconds(events: &DataStream<Event>) -> DataStream<String> {
    events
        .key_by(|event| event.user_id.clone())
        .window(TumblingEventTimeWindows::of(Duration::from_secs(5)))
        .sum(|event| &mut event.clicks)
        .map(|event| format!("{},{}", event.user_id, event.clicks))
}

/// `user,clicks,start,end` (in seconds) of each user and five minutes, each minute.
pub fn clicks_of_five_minutes(events: &DataStream<Event>) -> DataStream<String> {
    const MINUTE: Duration = Duration::from_secs(60);
    events
        .key_by(|event| event.user_id.clone())
        .window(SlidingEventTimeWindows::of(5 * MINUTE, MINUTE))
        .apply(sum_with_window)
}

/// `user,clicks,start,end` (in seconds) of each visit, which ends where a user pauses for two seconds.
pub fn clicks_per_visit(events: &DataStream<Event>) -> DataStream<String> {
    events
        .key_by(|event| event.user_id.clone())
        .window(EventTimeSessionWindows::with_gap(Duration::from_secs(2)))
        .apply(sum_with_window)
}

/// What Flink calls a `WindowFunction`: it gets the key, the window and all its records.
fn sum_with_window(user: &String, window: &TimeWindow, events: Elements<Event>, out: &mut Collector<String>) {
    let clicks: i64 = events.map(|event| event.clicks).sum();
    out.collect(format!(
        "{user},{clicks},{},{}",
        window.start() / 1000,
        window.end() / 1000
    ));
}

/// Gives events their own times.
pub fn with_times(events: &DataStream<Event>) -> DataStream<Event> {
    let strategy =
        WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|event: &Event, _| event.time_ms);
    events.assign_timestamps_and_watermarks(&strategy)
}
