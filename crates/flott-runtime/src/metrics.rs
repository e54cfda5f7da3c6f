//! Counters under Flink's names, counted per batch.
//!
//! A task owns one [`TaskMetrics`], an operator one [`OperatorMetrics`]; readers (reporters, the summary) only load.

use crate::user_metrics::UserMetrics;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is set.
#[derive(Debug)]
pub struct Gauge(AtomicI64);

impl Default for Gauge {
    fn default() -> Self {
        Self(AtomicI64::new(0))
    }
}

impl Gauge {
    /// A gauge that shows `value`.
    pub fn at(value: i64) -> Self {
        Self(AtomicI64::new(value))
    }

    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of one operator of one subtask.
#[derive(Debug, Default)]
pub struct OperatorMetrics {
    /// `numRecordsIn`
    pub records_in: Counter,
    /// `numBatchesIn`: our own; with `numRecordsIn` it says how large batches are.
    pub batches_in: Counter,
    /// `numRecordsOut`
    pub records_out: Counter,
    /// `numBytesIn` of a source: bytes read from outside.
    pub bytes_in: Counter,
    /// `numBytesOut` of a sink: bytes handed outside.
    pub bytes_out: Counter,
    /// `numLateRecordsDropped`
    pub late_records_dropped: Counter,
    /// Rows that a format could not read and that were skipped or sent to a dead letter.
    pub bad_rows: Counter,
    /// Further counters and gauges by Flink's name, e.g. `pendingRecords`.
    named: Mutex<BTreeMap<String, Arc<Gauge>>>,
    /// What its function counts.
    pub user: UserMetrics,
}

impl OperatorMetrics {
    /// The gauge of this name, made at the first call.
    pub fn gauge(&self, name: &str) -> Arc<Gauge> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.entry(name.to_owned()).or_default().clone()
    }

    /// All named gauges and their values.
    pub fn gauges(&self) -> Vec<(String, i64)> {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.iter().map(|(k, v)| (k.clone(), v.get())).collect()
    }

    /// The operator's own numbers by Flink's names: counters, then gauges; not those of its function.
    pub fn values(&self) -> Vec<(String, f64)> {
        let counted = [
            ("numRecordsIn", &self.records_in),
            ("numBatchesIn", &self.batches_in),
            ("numRecordsOut", &self.records_out),
            ("numBytesIn", &self.bytes_in),
            ("numBytesOut", &self.bytes_out),
            ("numLateRecordsDropped", &self.late_records_dropped),
            ("numBadRows", &self.bad_rows),
        ];
        let counted = counted.into_iter().map(|(name, n)| (name.to_owned(), n.get() as f64));
        let gauges = self.gauges().into_iter().map(|(name, value)| (name, value as f64));
        counted.chain(gauges).collect()
    }
}

/// Counters of one subtask.
#[derive(Debug)]
pub struct TaskMetrics {
    /// `numRecordsIn` from exchanges.
    pub records_in: Counter,
    /// `numRecordsOut` into exchanges.
    pub records_out: Counter,
    /// `numBytesIn` from exchanges.
    pub bytes_in: Counter,
    /// `numBytesOut` into exchanges.
    pub bytes_out: Counter,
    /// `numBuffersOut`: frames written into exchanges that encode.
    pub buffers_out: Counter,
    /// Time spent working, in nanoseconds.
    pub busy_ns: Counter,
    /// Time spent waiting for room downstream, in nanoseconds.
    pub back_pressured_ns: Counter,
    /// Time spent waiting for input, in nanoseconds.
    pub idle_ns: Counter,
    /// `currentInputWatermark`
    pub input_watermark: Gauge,
    /// `currentOutputWatermark`
    pub output_watermark: Gauge,
    /// `checkpointAlignmentTime` of the last checkpoint, in nanoseconds.
    pub alignment_ns: Gauge,
    /// `checkpointStartDelayNanos` of the last checkpoint.
    pub start_delay_ns: Gauge,
    /// Memory held by keyed state, in bytes.
    pub state_bytes: Gauge,
    /// Latency of the last marker that ended here, in milliseconds.
    pub latency_ms: Gauge,
    /// Operators of the chain, in order, with their names.
    pub operators: Vec<(String, Arc<OperatorMetrics>)>,
}

impl TaskMetrics {
    /// Zeroed counters for a chain of operators of these names.
    pub fn new(operators: impl IntoIterator<Item = String>) -> Self {
        Self {
            records_in: Counter::default(),
            records_out: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            buffers_out: Counter::default(),
            busy_ns: Counter::default(),
            back_pressured_ns: Counter::default(),
            idle_ns: Counter::default(),
            input_watermark: Gauge::at(i64::MIN),
            output_watermark: Gauge::at(i64::MIN),
            alignment_ns: Gauge::default(),
            start_delay_ns: Gauge::default(),
            state_bytes: Gauge::default(),
            latency_ms: Gauge::at(-1),
            operators: operators.into_iter().map(|n| (n, Arc::default())).collect(),
        }
    }
}
