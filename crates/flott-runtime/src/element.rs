//! What flows between operators and between tasks.

use flott_core::time::EventTime;
use flott_core::{Batch, CheckpointId};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A checkpoint's cut through the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barrier {
    /// The checkpoint that it belongs to.
    pub checkpoint: CheckpointId,
    /// When it was triggered, in milliseconds since the epoch.
    pub triggered_ms: i64,
    /// What happens behind it.
    pub then: AfterBarrier,
    /// From when on it overtakes rows, which the checkpoint then keeps as rows in flight, in milliseconds since the epoch; `None`: never,
    /// it is aligned.
    pub overtakes_from_ms: Option<i64>,
}

impl Barrier {
    /// Whether it overtakes rows at `now_ms`.
    pub fn overtakes(&self, now_ms: i64) -> bool {
        self.overtakes_from_ms.is_some_and(|from_ms| from_ms <= now_ms)
    }
}

/// What a source does once the barrier has left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AfterBarrier {
    /// It goes on: a checkpoint, or a savepoint of a job that runs on.
    Continue,
    /// It ends without flushing windows: stop with savepoint.
    Stop,
    /// It ends, and before the barrier event time has come to its end: stop with savepoint and drain. What waits for time has fired.
    Drain,
}

/// How an input ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfInput {
    /// All input was read: windows fire.
    Drained,
    /// The job was stopped: state stays as it is, nothing fires.
    Stopped,
}

/// One thing in a stream. Order is kept per channel.
#[derive(Debug, Clone)]
pub enum Element {
    /// Rows.
    Data(Batch),
    /// Rows of a side output, by its number from 1 on. Only the last operator of a chain emits them.
    Side(usize, Batch),
    /// No row behind this one is older than this time, late ones apart.
    Watermark(EventTime),
    /// Whether the channel counts for the watermark of its reader.
    Idle(bool),
    /// A checkpoint's cut.
    Barrier(Barrier),
    /// When a marker left its source, in milliseconds since the epoch; measures latency.
    LatencyMarker(i64),
    /// Nothing follows.
    End(EndOfInput),
}

impl Element {
    /// What a queue is charged for it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Data(batch) | Self::Side(_, batch) => batch.bytes().max(1),
            _ => 1,
        }
    }
}

/// Where an operator puts what it emits; the driver moves it on.
#[derive(Debug, Default)]
pub struct Output {
    queue: VecDeque<Element>,
}

impl Output {
    /// An empty output.
    pub fn new() -> Self {
        Self::default()
    }

    /// Emits rows; an empty batch is dropped.
    pub fn emit(&mut self, batch: Batch) {
        if !batch.is_empty() {
            self.queue.push_back(Element::Data(batch));
        }
    }

    /// Emits rows to a side output; an empty batch is dropped.
    pub fn emit_side(&mut self, output: usize, batch: Batch) {
        if !batch.is_empty() {
            self.queue.push_back(Element::Side(output, batch));
        }
    }

    /// Emits anything; operators emit rows only, drivers and sources the rest.
    pub fn push(&mut self, element: Element) {
        self.queue.push_back(element);
    }

    /// Takes the oldest element.
    pub fn pop(&mut self) -> Option<Element> {
        self.queue.pop_front()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes everything that waits, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = Element> + '_ {
        self.queue.drain(..)
    }
}
