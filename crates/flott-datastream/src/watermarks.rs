//! Watermarks by a rule that keeps something of its own: [`WatermarkGenerator`], for
//! [`WatermarkStrategy::for_generator`](crate::WatermarkStrategy::for_generator).

use crate::operators::guarded;
use flott_core::EventTime;
use flott_runtime::TaskError;
use std::fmt;
use std::sync::Arc;

/// Says how far time has come, from the records that it sees and on its own at each interval.
///
/// At a source each split has one, elsewhere each subtask. It is made anew at each start of the job: what it keeps is no state.
///
/// ```
/// use flott::prelude::*;
///
/// /// Half of the records may be late by a second more than the latest was.
/// #[derive(Default)]
/// struct Lateness {
///     latest: i64,
///     largest_delay: i64,
/// }
///
/// impl WatermarkGenerator<(String, i64)> for Lateness {
///     fn on_event(&mut self, _: &(String, i64), timestamp: i64, _: &mut WatermarkOutput) {
///         self.largest_delay = self.largest_delay.max(self.latest - timestamp);
///         self.latest = self.latest.max(timestamp);
///     }
///
///     fn on_periodic_emit(&mut self, output: &mut WatermarkOutput) {
///         output.emit_watermark(self.latest - self.largest_delay - 1_000);
///     }
/// }
///
/// let strategy = WatermarkStrategy::for_generator(Lateness::default)
///     .with_timestamp_assigner(|record: &(String, i64), _| record.1);
/// ```
pub trait WatermarkGenerator<T>: Send {
    /// Called for each record, with its time; what it emits follows the record at once.
    fn on_event(&mut self, event: &T, timestamp: EventTime, output: &mut WatermarkOutput);

    /// Called every `pipeline.auto-watermark-interval`, also where no record comes; never, if that is 0.
    fn on_periodic_emit(&mut self, output: &mut WatermarkOutput);
}

/// Takes what a [`WatermarkGenerator`] says.
#[derive(Debug, Default)]
pub struct WatermarkOutput {
    watermark: Option<EventTime>,
    is_idle: bool,
}

impl WatermarkOutput {
    /// No record at or before this time will come, in milliseconds; an earlier one than before says nothing. Who was idle is active.
    pub fn emit_watermark(&mut self, time_ms: EventTime) {
        self.watermark = self.watermark.max(Some(time_ms));
        self.is_idle = false;
    }

    /// Holds time back no longer, until a watermark is emitted or [`Self::mark_active`].
    pub fn mark_idle(&mut self) {
        self.is_idle = true;
    }

    /// Counts again.
    pub fn mark_active(&mut self) {
        self.is_idle = false;
    }
}

/// Makes generators.
pub(crate) type MakeGenerator<T> = Arc<dyn Fn() -> Box<dyn WatermarkGenerator<T>> + Send + Sync>;

/// A generator, and what it has said.
pub(crate) struct Generating<T> {
    generator: Box<dyn WatermarkGenerator<T>>,
    output: WatermarkOutput,
}

impl<T> fmt::Debug for Generating<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generating")
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

impl<T> Generating<T> {
    pub(crate) fn new(make: &MakeGenerator<T>) -> Self {
        Self {
            generator: make(),
            output: WatermarkOutput::default(),
        }
    }

    /// Whether it holds time back no longer.
    pub(crate) fn is_idle(&self) -> bool {
        self.output.is_idle
    }

    /// Shows it some records, and gives the watermark behind each, if it emitted one.
    ///
    /// # Errors
    /// If it panics.
    pub(crate) fn on_events<'a>(
        &mut self,
        events: impl Iterator<Item = (&'a T, Option<EventTime>)>,
    ) -> Result<Vec<Option<EventTime>>, TaskError>
    where
        T: 'a,
    {
        let mut watermarks = Vec::with_capacity(events.size_hint().0);
        guarded("watermark generator", || {
            for (event, timestamp) in events {
                if let Some(timestamp) = timestamp {
                    self.generator.on_event(event, timestamp, &mut self.output);
                }
                watermarks.push(self.output.watermark.take());
            }
            Ok(())
        })?;
        Ok(watermarks)
    }

    /// The watermark that it emits on its own.
    ///
    /// # Errors
    /// If it panics.
    pub(crate) fn on_periodic_emit(&mut self) -> Result<Option<EventTime>, TaskError> {
        guarded("watermark generator", || {
            self.generator.on_periodic_emit(&mut self.output);
            Ok(())
        })?;
        Ok(self.output.watermark.take())
    }
}
