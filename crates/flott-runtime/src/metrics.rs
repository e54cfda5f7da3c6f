//! Counters under Flink's names, counted per batch.
//!
//! A task owns one [`TaskMetrics`], an operator one [`OperatorMetrics`]; readers (reporters, the summary) only load.

use crate::call::CallClock;
use crate::user_metrics::UserMetrics;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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

    /// Shows a value that was counted elsewhere.
    fn show(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
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

/// Splits of a subtask that are shown: a page has no room for thousands.
pub const SPLITS_SHOWN: usize = 64;

/// How far the splits of a source's subtask are in event time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitReadings {
    /// At most [`SPLITS_SHOWN`] of them: those that are farthest behind, and the one with the newest record.
    pub shown: Vec<SplitReading>,
    /// How many there are.
    pub total: usize,
}

/// How far one split of a source is in event time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitReading {
    /// Which: a partition, a file.
    pub id: String,
    /// Its watermark; `i64::MIN` if it has none yet.
    pub watermark: i64,
    /// When its last row was read, in milliseconds since the epoch; before the first one, when it was assigned.
    pub last_record_ms: i64,
    /// Whether a row was read since it was assigned.
    pub has_records: bool,
    /// Whether it holds no watermark back.
    pub state: SplitTime,
}

/// Whether the time of a split counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SplitTime {
    /// It does.
    Counts,
    /// It is idle: it had no rows for the idle time-out, or its generator says so.
    Idle,
    /// It is ahead of its group of watermark alignment, and not read.
    Paused,
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
    /// Time in its calls, in nanoseconds: which operator of a chain the chain's time goes to.
    pub busy_ns: Counter,
    /// Time in which its chain waited because it waited for something outside, in nanoseconds: room in a sink's system, an answer.
    pub blocked_ns: Counter,
    /// The call that it is in.
    pub call: CallClock,
    /// Splits of a source with event time, as [`OperatorMetrics::show_splits`] was told last.
    splits: Mutex<SplitReadings>,
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

    /// Shows how far a source's splits are.
    pub fn show_splits(&self, splits: SplitReadings) {
        *self.splits.lock().unwrap_or_else(PoisonError::into_inner) = splits;
    }

    /// How far a source's splits are; none without event time.
    pub fn splits(&self) -> SplitReadings {
        self.splits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn counters(&self) -> [(&'static str, &Counter); 7] {
        [
            ("numRecordsIn", &self.records_in),
            ("numBatchesIn", &self.batches_in),
            ("numRecordsOut", &self.records_out),
            ("numBytesIn", &self.bytes_in),
            ("numBytesOut", &self.bytes_out),
            ("numLateRecordsDropped", &self.late_records_dropped),
            ("numBadRows", &self.bad_rows),
        ]
    }

    /// The operator's own numbers by Flink's names: counters, then gauges; not those of its function.
    pub fn values(&self) -> Vec<(String, f64)> {
        let counted = self
            .counters()
            .into_iter()
            .map(|(name, n)| (name.to_owned(), n.get() as f64));
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
    /// The last checkpoint of which a barrier has come on some of its channels and not on others; 0 before the first.
    pub aligning: Gauge,
    /// When the first barrier of that checkpoint came, in milliseconds since the epoch.
    pub aligning_since_ms: Gauge,
    /// The last checkpoint whose barriers have all come, or were made here; 0 before the first.
    pub aligned: Gauge,
    /// The last checkpoint of which the state was captured, to be written beside the task; 0 before the first.
    pub captured: Gauge,
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
            aligning: Gauge::default(),
            aligning_since_ms: Gauge::default(),
            aligned: Gauge::default(),
            captured: Gauge::default(),
            operators: operators.into_iter().map(|n| (n, Arc::default())).collect(),
        }
    }
}

/// What a subtask has counted, to be shown in another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReading {
    counters: Vec<u64>,
    gauges: Vec<i64>,
    operators: Vec<OperatorReading>,
}

/// What an operator has counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct OperatorReading {
    counters: Vec<u64>,
    gauges: Vec<(String, i64)>,
    busy_ns: u64,
    blocked_ns: u64,
    /// How long the call has taken that it is in.
    in_call: Option<Duration>,
    splits: SplitReadings,
}

impl TaskMetrics {
    /// The operator that is in a call, by its place in the chain, and how long that has taken.
    pub fn call(&self) -> Option<(usize, Duration)> {
        let calls = self.operators.iter().map(|(_, metrics)| metrics.call.elapsed());
        let taken = calls.enumerate().filter_map(|(index, taken)| Some((index, taken?)));
        taken.max_by_key(|(_, taken)| *taken)
    }

    fn counters(&self) -> [&Counter; 8] {
        [
            &self.records_in,
            &self.records_out,
            &self.bytes_in,
            &self.bytes_out,
            &self.buffers_out,
            &self.busy_ns,
            &self.back_pressured_ns,
            &self.idle_ns,
        ]
    }

    fn gauges(&self) -> [&Gauge; 10] {
        [
            &self.input_watermark,
            &self.output_watermark,
            &self.alignment_ns,
            &self.start_delay_ns,
            &self.state_bytes,
            &self.latency_ms,
            &self.aligning,
            &self.aligning_since_ms,
            &self.aligned,
            &self.captured,
        ]
    }

    /// All numbers as they are now; not those of functions.
    pub fn read(&self) -> TaskReading {
        let operator = |metrics: &OperatorMetrics| OperatorReading {
            counters: metrics.counters().iter().map(|(_, counter)| counter.get()).collect(),
            gauges: metrics.gauges(),
            busy_ns: metrics.busy_ns.get(),
            blocked_ns: metrics.blocked_ns.get(),
            in_call: metrics.call.elapsed(),
            splits: metrics.splits(),
        };
        TaskReading {
            counters: self.counters().iter().map(|counter| counter.get()).collect(),
            gauges: self.gauges().iter().map(|gauge| gauge.get()).collect(),
            operators: self.operators.iter().map(|(_, metrics)| operator(metrics)).collect(),
        }
    }

    /// Shows what the same subtask has counted in another process.
    pub fn show(&self, reading: &TaskReading) {
        self.counters()
            .iter()
            .zip(&reading.counters)
            .for_each(|(counter, value)| counter.show(*value));
        self.gauges()
            .iter()
            .zip(&reading.gauges)
            .for_each(|(gauge, value)| gauge.set(*value));
        for ((_, metrics), reading) in self.operators.iter().zip(&reading.operators) {
            let counters = metrics.counters().into_iter().zip(&reading.counters);
            counters.for_each(|((_, counter), value)| counter.show(*value));
            reading
                .gauges
                .iter()
                .for_each(|(name, value)| metrics.gauge(name).set(*value));
            metrics.busy_ns.show(reading.busy_ns);
            metrics.blocked_ns.show(reading.blocked_ns);
            metrics.call.show(reading.in_call);
            metrics.show_splits(reading.splits.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn what_was_counted_elsewhere_is_shown_here() {
        let there = TaskMetrics::new(["a".to_owned(), "b".to_owned()]);
        there.records_in.add(3);
        there.input_watermark.set(-7);
        there.operators[1].1.bad_rows.add(5);
        there.operators[0].1.gauge("pendingRecords").set(9);
        there.captured.set(4);
        there.operators[1].1.blocked_ns.add(6);
        let split = SplitReading {
            id: "topic-1".into(),
            watermark: i64::MIN,
            last_record_ms: 8,
            has_records: false,
            state: SplitTime::Counts,
        };
        there.operators[0].1.show_splits(SplitReadings {
            shown: vec![split],
            total: 9,
        });
        let here = TaskMetrics::new(["a".to_owned(), "b".to_owned()]);
        here.show(&there.read());
        assert_eq!(here.read(), there.read());
        assert_eq!((here.records_in.get(), here.operators[1].1.bad_rows.get()), (3, 5));
        assert_eq!((here.captured.get(), here.operators[1].1.blocked_ns.get()), (4, 6));
        assert_eq!(here.call(), None);
        let call = there.operators[1].1.call.begin(Instant::now());
        here.show(&there.read());
        assert_eq!(here.call().map(|(operator, _)| operator), Some(1));
        drop(call);
        here.show(&there.read());
        assert_eq!(here.call(), None);
        let splits = here.operators[0].1.splits();
        assert_eq!((splits.shown[0].id.as_str(), splits.total), ("topic-1", 9));
    }
}
