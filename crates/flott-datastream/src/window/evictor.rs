//! What is taken out of a window before or after its function: [`Evictor`] and those that Flink has.
//!
//! A window with an evictor keeps all its records; they are reduced or aggregated each time it fires.

use super::trigger::Delta;
use crate::function::BoxError;
use flott_core::{EventTime, LogicalType, TypeKind};
use flott_state::StateValue;
use flott_state::value::DamagedValue;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A record in a window, with its event time in milliseconds if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampedValue<T> {
    /// The record.
    pub value: T,
    /// Its time.
    pub timestamp: Option<EventTime>,
}

/// As the row of its record and time.
impl<T: StateValue> StateValue for TimestampedValue<T> {
    fn state_type() -> LogicalType {
        <(T, Option<i64>)>::state_type()
    }
    fn write(&self, out: &mut Vec<u8>) {
        self.value.write_field(out);
        self.timestamp.write_field(out);
    }
    fn check(stored: &LogicalType) -> Result<(), String> {
        <(T, Option<i64>)>::check(stored)
    }
    fn read(stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
        let TypeKind::Row(_) = &stored.kind else {
            return Err(DamagedValue);
        };
        <(T, Option<i64>)>::read(stored, bytes).map(|(value, timestamp)| Self { value, timestamp })
    }
    fn owned_bytes(&self) -> usize {
        self.value.owned_bytes()
    }
}

/// What an evictor is told of time.
#[derive(Debug, Clone, Copy)]
pub struct EvictorContext {
    pub(crate) watermark: EventTime,
    pub(crate) now_ms: i64,
}

impl EvictorContext {
    /// The watermark, in milliseconds.
    pub fn current_watermark(&self) -> EventTime {
        self.watermark
    }

    /// Processing time, in milliseconds.
    pub fn current_processing_time(&self) -> i64 {
        self.now_ms
    }
}

/// Takes records out of a window when it fires; what it removes is gone for later firings too.
pub trait Evictor<T, W>: Clone + Send + Sync + 'static {
    /// Removes records before the function sees them; they are in the order in which they came.
    ///
    /// # Errors
    /// Fails the task.
    fn evict_before(
        &mut self,
        elements: &mut Vec<TimestampedValue<T>>,
        window: &W,
        ctx: &EvictorContext,
    ) -> Result<(), BoxError> {
        let _ = (elements, window, ctx);
        Ok(())
    }

    /// Removes records when the function has seen them.
    ///
    /// # Errors
    /// Fails the task.
    fn evict_after(
        &mut self,
        elements: &mut Vec<TimestampedValue<T>>,
        window: &W,
        ctx: &EvictorContext,
    ) -> Result<(), BoxError> {
        let _ = (elements, window, ctx);
        Ok(())
    }
}

/// Calls `$evict` before or after the function, as the evictor's field `is_after` says.
macro_rules! evicts {
    ($self:ident, $elements:ident => $evict:expr) => {
        fn evict_before(
            &mut $self,
            $elements: &mut Vec<TimestampedValue<T>>,
            _window: &W,
            _ctx: &EvictorContext,
        ) -> Result<(), BoxError> {
            if !$self.is_after {
                $evict;
            }
            Ok(())
        }

        fn evict_after(
            &mut $self,
            $elements: &mut Vec<TimestampedValue<T>>,
            _window: &W,
            _ctx: &EvictorContext,
        ) -> Result<(), BoxError> {
            if $self.is_after {
                $evict;
            }
            Ok(())
        }
    };
}

/// Keeps the last so many records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountEvictor {
    most: usize,
    is_after: bool,
}

impl CountEvictor {
    /// Keeps `most` records before the function.
    pub fn of(most: usize) -> Self {
        Self { most, is_after: false }
    }

    /// Evicts behind the function instead.
    pub fn after(mut self) -> Self {
        self.is_after = true;
        self
    }
}

impl<T, W> Evictor<T, W> for CountEvictor {
    evicts!(self, elements => drop(elements.drain(..elements.len().saturating_sub(self.most))));
}

/// Keeps the records that are less than a span older than the youngest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeEvictor {
    span_ms: i64,
    is_after: bool,
}

impl TimeEvictor {
    /// Keeps a span (whole milliseconds) before the function.
    pub fn of(span: Duration) -> Self {
        Self {
            span_ms: i64::try_from(span.as_millis()).unwrap_or(i64::MAX),
            is_after: false,
        }
    }

    /// Evicts behind the function instead.
    pub fn after(mut self) -> Self {
        self.is_after = true;
        self
    }

    fn evict<T>(&self, elements: &mut Vec<TimestampedValue<T>>) {
        // Records without times are left alone, as in Flink.
        let Some(youngest) = elements.iter().filter_map(|e| e.timestamp).max() else {
            return;
        };
        let cutoff = youngest.saturating_sub(self.span_ms);
        elements.retain(|e| e.timestamp.is_none_or(|t| t > cutoff));
    }
}

impl<T, W> Evictor<T, W> for TimeEvictor {
    evicts!(self, elements => self.evict(elements));
}

/// Keeps the records that are less than a threshold apart from the last one.
pub struct DeltaEvictor<T> {
    threshold: f64,
    delta: Delta<T>,
    is_after: bool,
}

impl<T> DeltaEvictor<T> {
    /// `delta(record, last)` says how far apart two records are.
    pub fn of(threshold: f64, delta: impl Fn(&T, &T) -> f64 + Send + Sync + 'static) -> Self {
        Self {
            threshold,
            delta: Arc::new(delta),
            is_after: false,
        }
    }

    /// Evicts behind the function instead.
    pub fn after(mut self) -> Self {
        self.is_after = true;
        self
    }

    fn evict(&self, elements: &mut Vec<TimestampedValue<T>>) {
        let Some(last) = elements.pop() else {
            return;
        };
        elements.retain(|e| (self.delta)(&e.value, &last.value) < self.threshold);
        // The last one is no distance from itself.
        if (self.delta)(&last.value, &last.value) < self.threshold {
            elements.push(last);
        }
    }
}

impl<T> Clone for DeltaEvictor<T> {
    fn clone(&self) -> Self {
        Self {
            threshold: self.threshold,
            delta: self.delta.clone(),
            is_after: self.is_after,
        }
    }
}

impl<T> fmt::Debug for DeltaEvictor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeltaEvictor({})", self.threshold)
    }
}

impl<T: 'static, W> Evictor<T, W> for DeltaEvictor<T> {
    evicts!(self, elements => self.evict(elements));
}
