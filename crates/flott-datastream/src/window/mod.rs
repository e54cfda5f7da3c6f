//! Windows: finite pieces of a stream, by time or by count, kept per key until a trigger fires them.
//!
//! ```text
//!  record ─► assigner: its windows ─► contents of (key, window) ─► trigger: fire? ─► evictor ─► function ─► records
//!                                         ▲                           │
//!                                         └──── timers, watermark ────┘
//! ```
//! Read [`assigner`], [`trigger`], [`evictor`], [`function`], then [`stream`] (what can be made of a windowed stream). Names and rules are
//! Flink's. Windows of one size that fire once, at their end, are kept in tables by their end, without timers; all others are kept
//! in a list of their key.

pub mod assigner;
pub(crate) mod contents;
pub mod evictor;
pub mod function;
pub mod stream;
pub mod timeout_trigger;
pub mod trigger;

use crate::key::Key;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int8Array, Int64Array};
use flott_core::{EventTime, LogicalType, TypeKind};
use flott_state::StateValue;
use flott_state::value::DamagedValue;
use std::fmt;
use std::sync::Arc;

/// A finite piece of a stream.
pub trait Window: Key + StateValue + Ord + fmt::Debug {
    /// The last time that belongs to it, in milliseconds; results have it as their event time.
    fn max_timestamp(&self) -> EventTime;

    /// The window that covers both, if they touch and can be merged.
    fn cover(&self, other: &Self) -> Option<Self> {
        let _ = other;
        None
    }
}

/// The times from `start` (included) to `end` (excluded), in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeWindow {
    start: EventTime,
    end: EventTime,
}

impl TimeWindow {
    /// From `start` to before `end`.
    pub fn new(start: EventTime, end: EventTime) -> Self {
        Self { start, end }
    }

    /// Its first time.
    pub fn start(&self) -> EventTime {
        self.start
    }

    /// The first time behind it.
    pub fn end(&self) -> EventTime {
        self.end
    }
}

impl Window for TimeWindow {
    fn max_timestamp(&self) -> EventTime {
        self.end.saturating_sub(1)
    }

    /// Windows merge that overlap or meet, as in Flink.
    fn cover(&self, other: &Self) -> Option<Self> {
        let touches = self.start <= other.end && self.end >= other.start;
        touches.then(|| Self::new(self.start.min(other.start), self.end.max(other.end)))
    }
}

impl Key for TimeWindow {
    fn types() -> Vec<LogicalType> {
        vec![LogicalType::not_null(TypeKind::BigInt); 2]
    }
    fn columns<'a>(keys: impl Iterator<Item = &'a Self> + Clone) -> Vec<ArrayRef> {
        vec![
            Arc::new(keys.clone().map(|w| w.start).collect::<Int64Array>()),
            Arc::new(keys.map(|w| w.end).collect::<Int64Array>()),
        ]
    }
    fn from_columns<'c>(columns: &mut impl Iterator<Item = &'c ArrayRef>, row: usize) -> Self {
        let mut next = || {
            let column = columns.next().expect("a table gives all columns of its key");
            column.as_primitive::<Int64Type>().value(row)
        };
        let start = next();
        Self::new(start, next())
    }
}

/// As the row of its start and end.
impl StateValue for TimeWindow {
    fn state_type() -> LogicalType {
        <(i64, i64)>::state_type()
    }
    fn write(&self, out: &mut Vec<u8>) {
        (self.start, self.end).write(out);
    }
    fn check(stored: &LogicalType) -> Result<(), String> {
        <(i64, i64)>::check(stored)
    }
    fn read(stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
        <(i64, i64)>::read(stored, bytes).map(|(start, end)| Self::new(start, end))
    }
}

/// The only window of a stream that is not cut by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GlobalWindow;

impl Window for GlobalWindow {
    fn max_timestamp(&self) -> EventTime {
        EventTime::MAX
    }
}

/// No columns: there is one such window.
impl Key for GlobalWindow {
    fn types() -> Vec<LogicalType> {
        vec![]
    }
    fn columns<'a>(_keys: impl Iterator<Item = &'a Self> + Clone) -> Vec<ArrayRef> {
        vec![]
    }
    fn from_columns<'c>(_columns: &mut impl Iterator<Item = &'c ArrayRef>, _row: usize) -> Self {
        Self
    }
}

/// As a number that says nothing.
impl StateValue for GlobalWindow {
    fn state_type() -> LogicalType {
        i8::state_type()
    }
    fn write(&self, out: &mut Vec<u8>) {
        0i8.write(out);
    }
    fn check(stored: &LogicalType) -> Result<(), String> {
        i8::check(stored)
    }
    fn read(stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
        i8::read(stored, bytes).map(|_| Self)
    }
}

/// The one key of a stream without keys: [`crate::DataStream::window_all`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllKey;

impl Key for AllKey {
    fn types() -> Vec<LogicalType> {
        vec![LogicalType::not_null(TypeKind::TinyInt)]
    }
    fn columns<'a>(keys: impl Iterator<Item = &'a Self> + Clone) -> Vec<ArrayRef> {
        vec![Arc::new(keys.map(|_| Some(0)).collect::<Int8Array>())]
    }
    fn from_columns<'c>(columns: &mut impl Iterator<Item = &'c ArrayRef>, _row: usize) -> Self {
        columns.next();
        Self
    }
}

#[cfg(test)]
mod tests;
