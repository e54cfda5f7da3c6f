//! Sensor anomaly: readings far from what their device mostly shows, and devices that fall silent.
//!
//! Silence is the absence of records, so only a timer can tell: each reading takes the timer of the one before back and sets another. Timers are those of
//! event time, which other devices move on; if all devices of a job may fall silent at once, `register_processing_time_timer` notices.

use crate::{fields, number, seconds};
use flott::prelude::*;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A device that says nothing for so long is silent.
const SILENCE_MS: i64 = 30_000;
/// How many readings tell what a device mostly shows.
const LEARNED_FROM: i64 = 5;
/// How many standard deviations from the mean are too many.
const TOLERANCE: f64 = 4.0;

/// What a device shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    device: String,
    value: f64,
    time_ms: i64,
}

impl Reading {
    /// A line `device,value,second`.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(line: &str) -> Result<Self, String> {
        let [device, value, second] = fields(line)?;
        Ok(Self {
            device: device.to_owned(),
            value: number(value)?,
            time_ms: seconds(second)?,
        })
    }
}

/// Mean and variance so far, by Welford's method. A state's type needs `StateValue`; fields can be added later.
#[derive(Debug, Clone, Default, PartialEq, StateValue)]
struct Profile {
    readings: i64,
    mean: f64,
    squares: f64,
}

impl Profile {
    fn is_unusual(&self, value: f64) -> bool {
        let deviation = (self.squares / self.readings as f64).sqrt();
        self.readings >= LEARNED_FROM && (value - self.mean).abs() > TOLERANCE * deviation
    }

    fn learn(&mut self, value: f64) {
        self.readings += 1;
        let off = value - self.mean;
        self.mean += off / self.readings as f64;
        self.squares += off * (value - self.mean);
    }
}

/// Watches each device.
#[derive(Debug, Clone, Default)]
struct Watch {
    profile: ValueState<Profile>,
    /// Time of the last reading.
    last: ValueState<i64>,
    is_silent: ValueState<bool>,
}

impl KeyedProcessFunction<String, Reading> for Watch {
    type Out = String;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.profile = ctx.value_state("profile")?;
        self.last = ctx.value_state("last")?;
        self.is_silent = ctx.value_state("isSilent")?;
        Ok(())
    }

    fn process_element(
        &mut self,
        reading: Reading,
        ctx: &mut ProcessContext<'_, String, String>,
    ) -> Result<(), BoxError> {
        let Reading { device, value, time_ms } = reading;
        // Readings may come a little out of order.
        let last_ms = self.last.value(ctx).copied();
        if last_ms.is_none_or(|last_ms| last_ms < time_ms) {
            if let Some(last_ms) = last_ms {
                ctx.delete_event_time_timer(last_ms + SILENCE_MS);
                let was_told = self.is_silent.entry(ctx).take().is_some();
                if time_ms - last_ms > SILENCE_MS {
                    if !was_told {
                        // The watermark, which fires timers, is always a little behind the records.
                        ctx.collect(silent_since(&device, last_ms));
                    }
                    ctx.collect(format!("{device},back at {} s", time_ms / 1000));
                }
            }
            ctx.register_event_time_timer(time_ms + SILENCE_MS);
            self.last.update(ctx, time_ms);
        }
        let profile = self.profile.entry(ctx).get_or_insert_default();
        if profile.is_unusual(value) {
            let usual = profile.mean;
            ctx.collect(format!("{device},{value} at {} s, usual is {usual:.1}", time_ms / 1000));
        } else {
            profile.learn(value);
        }
        Ok(())
    }

    fn on_timer(&mut self, time_ms: i64, ctx: &mut ProcessContext<'_, String, String>) -> Result<(), BoxError> {
        self.is_silent.update(ctx, true);
        let text = silent_since(ctx.current_key(), time_ms - SILENCE_MS);
        ctx.collect(text);
        Ok(())
    }
}

fn silent_since(device: &str, last_ms: i64) -> String {
    format!("{device},silent since {} s", last_ms / 1000)
}

/// A text for each unusual reading, each silence, and each return from one.
pub fn sensor_anomaly(readings: &DataStream<Reading>) -> DataStream<String> {
    let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(2))
        .with_timestamp_assigner(|reading: &Reading, _| reading.time_ms);
    readings
        .assign_timestamps_and_watermarks(&strategy)
        .key_by(|reading| reading.device.clone())
        .process(Watch::default())
        .name("Watch")
}
