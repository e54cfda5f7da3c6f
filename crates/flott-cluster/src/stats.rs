//! What a job tells about itself while it runs and afterwards: checkpoints, restarts, latency, counters of its tasks.

use crate::coordinator::SubtaskId;
use flott_core::CheckpointId;
use flott_runtime::context::TaskInfo;
use flott_runtime::metrics::TaskMetrics;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Counters of one subtask with its place.
pub type TaskView = (SubtaskId, Arc<TaskInfo>, Arc<TaskMetrics>);

/// Checkpoints of a job, over all attempts.
#[derive(Debug, Clone, Default)]
pub struct CheckpointStats {
    /// Completed ones.
    pub completed: u64,
    /// Failed ones.
    pub failed: u64,
    /// Number of the last completed one.
    pub last_id: Option<CheckpointId>,
    /// From its trigger to its manifest, in milliseconds.
    pub last_duration_ms: i64,
    /// Its state, in bytes.
    pub last_bytes: u64,
    /// Where it is.
    pub last_path: Option<String>,
    /// Why the last failed one failed.
    pub last_failure: Option<String>,
}

/// Percentiles of a latency in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    /// Median.
    pub p50_ms: i64,
    /// 99 of 100 are at most this.
    pub p99_ms: i64,
}

/// Latencies in buckets, one a millisecond up to a second, then coarser: exact enough for a progress line.
#[derive(Debug)]
struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; 1_000 + 600],
            count: 0,
        }
    }
}

impl Histogram {
    fn add(&mut self, value_ms: i64) {
        let value = value_ms.max(0) as usize;
        let bucket = if value < 1_000 {
            value
        } else {
            (1_000 + (value - 1_000) / 100).min(self.buckets.len() - 1)
        };
        self.buckets[bucket] += 1;
        self.count += 1;
    }

    fn at(&self, part: f64) -> Option<i64> {
        let rank = (self.count as f64 * part).ceil() as u64;
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|n| {
            seen += n;
            seen >= rank.max(1)
        })?;
        Some(if bucket < 1_000 {
            bucket as i64
        } else {
            1_000 + (bucket as i64 - 1_000) * 100
        })
    }
}

#[derive(Debug, Default)]
struct Inner {
    checkpoints: CheckpointStats,
    triggered: Vec<(CheckpointId, Instant)>,
    restarts: u64,
    failure: Option<String>,
    tasks: Vec<TaskView>,
    latency: Histogram,
    ended_ms: Option<u64>,
}

/// Shared between a job and those who watch it.
#[derive(Debug)]
pub struct JobStats {
    started: Instant,
    inner: Mutex<Inner>,
}

impl Default for JobStats {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            inner: Mutex::default(),
        }
    }
}

impl JobStats {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds from the job's submission until now, or until its end.
    pub fn uptime_ms(&self) -> u64 {
        self.lock()
            .ended_ms
            .unwrap_or(self.started.elapsed().as_millis() as u64)
    }

    /// Checkpoints so far.
    pub fn checkpoints(&self) -> CheckpointStats {
        self.lock().checkpoints.clone()
    }

    /// `numRestarts`
    pub fn restarts(&self) -> u64 {
        self.lock().restarts
    }

    /// The failure of the last attempt, or of the job.
    pub fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// Counters of all subtasks of the last attempt.
    pub fn tasks(&self) -> Vec<TaskView> {
        self.lock().tasks.clone()
    }

    /// Percentiles of the latency markers since the last call.
    pub fn take_latency(&self) -> Option<Percentiles> {
        let latency = std::mem::take(&mut self.lock().latency);
        Some(Percentiles {
            p50_ms: latency.at(0.5)?,
            p99_ms: latency.at(0.99)?,
        })
    }

    pub(crate) fn triggered(&self, id: CheckpointId) {
        self.lock().triggered.push((id, Instant::now()));
    }

    /// Notes a completed checkpoint; milliseconds since it was triggered.
    pub(crate) fn completed(&self, id: CheckpointId, bytes: u64, path: &str) -> i64 {
        let mut inner = self.lock();
        let since = inner
            .triggered
            .iter()
            .find(|(t, _)| *t == id)
            .map(|(_, at)| at.elapsed());
        inner.triggered.retain(|(t, _)| *t > id);
        let checkpoints = &mut inner.checkpoints;
        checkpoints.completed += 1;
        checkpoints.last_id = Some(id);
        let duration_ms = since.map_or(0, |d| d.as_millis() as i64);
        checkpoints.last_duration_ms = duration_ms;
        checkpoints.last_bytes = bytes;
        checkpoints.last_path = Some(path.to_owned());
        duration_ms
    }

    pub(crate) fn checkpoint_failed(&self, id: CheckpointId, reason: &str) {
        let mut inner = self.lock();
        inner.triggered.retain(|(t, _)| *t != id);
        inner.checkpoints.failed += 1;
        inner.checkpoints.last_failure = Some(reason.to_owned());
    }

    pub(crate) fn latency(&self, latency_ms: i64) {
        self.lock().latency.add(latency_ms);
    }

    pub(crate) fn restarted(&self, cause: &str) {
        let mut inner = self.lock();
        inner.restarts += 1;
        inner.failure = Some(cause.to_owned());
    }

    pub(crate) fn failed(&self, cause: &str) {
        self.lock().failure = Some(cause.to_owned());
    }

    pub(crate) fn attempt(&self, tasks: Vec<TaskView>) {
        self.lock().tasks = tasks;
    }

    pub(crate) fn ended(&self) {
        let elapsed_ms = self.started.elapsed().as_millis() as u64;
        self.lock().ended_ms = Some(elapsed_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_come_from_the_markers_since_the_last_call() {
        let stats = JobStats::default();
        assert_eq!(stats.take_latency(), None);
        (1..=100).for_each(|ms| stats.latency(ms));
        assert_eq!(stats.take_latency(), Some(Percentiles { p50_ms: 50, p99_ms: 99 }));
        stats.latency(5_050);
        assert_eq!(
            stats.take_latency(),
            Some(Percentiles {
                p50_ms: 5_000,
                p99_ms: 5_000
            })
        );
    }
}
