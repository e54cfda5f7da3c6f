//! What a job tells about itself while it runs and afterwards: checkpoints, restarts, latency, counters of its tasks.

use crate::coordinator::{CheckpointKind, SubtaskId};
use crate::history::{CheckpointHistory, Exceptions, FailedTask};
use flott_core::clock::{Clock, SystemClock};
use flott_core::{CheckpointId, JobStatus};
use flott_runtime::context::TaskInfo;
use flott_runtime::metrics::{TaskMetrics, TaskReading};
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
    checkpoint_history: CheckpointHistory,
    exceptions: Exceptions,
    /// When each status was last come to.
    status_times: Vec<(JobStatus, i64)>,
}

/// Shared between a job and those who watch it.
#[derive(Debug)]
pub struct JobStats {
    started: Instant,
    started_ms: i64,
    inner: Mutex<Inner>,
}

impl Default for JobStats {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            started_ms: SystemClock.now_ms(),
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

    /// When the job was submitted, in milliseconds since the epoch.
    pub fn start_time_ms(&self) -> i64 {
        self.started_ms
    }

    /// When it ended, in milliseconds since the epoch.
    pub fn end_time_ms(&self) -> Option<i64> {
        Some(self.started_ms + self.lock().ended_ms? as i64)
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

    /// The last checkpoints.
    pub fn checkpoint_history(&self) -> CheckpointHistory {
        self.lock().checkpoint_history.clone()
    }

    /// The last failures.
    pub fn exceptions(&self) -> Exceptions {
        self.lock().exceptions.clone()
    }

    /// When the job last came to each status that it has had, in milliseconds since the epoch.
    pub fn status_times(&self) -> Vec<(JobStatus, i64)> {
        self.lock().status_times.clone()
    }

    pub(crate) fn status(&self, status: JobStatus) {
        let now_ms = SystemClock.now_ms();
        let mut inner = self.lock();
        inner.status_times.retain(|(earlier, _)| *earlier != status);
        inner.status_times.push((status, now_ms));
        if status != JobStatus::Running {
            inner.checkpoint_history.attempt_ended(now_ms);
        }
    }

    pub(crate) fn triggered(&self, id: CheckpointId, kind: &CheckpointKind, subtasks: usize) {
        let mut inner = self.lock();
        inner.triggered.push((id, Instant::now()));
        let now_ms = SystemClock.now_ms();
        inner.checkpoint_history.triggered(id, kind, subtasks, now_ms);
    }

    pub(crate) fn acknowledged(&self, id: CheckpointId) {
        self.lock().checkpoint_history.acknowledged(id, SystemClock.now_ms());
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
        let now_ms = SystemClock.now_ms();
        inner.checkpoint_history.completed(id, bytes, path, now_ms);
        duration_ms
    }

    /// Notes where the savepoint lies that is a copy of checkpoint `id`.
    pub fn savepoint_written(&self, id: CheckpointId, path: &str) {
        self.lock().checkpoint_history.savepoint_written(id, path);
    }

    pub(crate) fn checkpoint_failed(&self, id: CheckpointId, reason: &str) {
        let mut inner = self.lock();
        inner.triggered.retain(|(t, _)| *t != id);
        inner.checkpoints.failed += 1;
        inner.checkpoints.last_failure = Some(reason.to_owned());
        inner.checkpoint_history.failed(id, reason, SystemClock.now_ms());
    }

    /// Notes that a task failed; whether it is what ended the attempt, [`Self::restarted`] and [`Self::failed`] tell.
    pub(crate) fn task_failed(&self, task: FailedTask, text: &str) {
        self.lock().exceptions.task_failed(task, text, SystemClock.now_ms());
    }

    pub(crate) fn latency(&self, latency_ms: i64) {
        self.lock().latency.add(latency_ms);
    }

    pub(crate) fn restarted(&self, cause: &str) {
        let mut inner = self.lock();
        inner.restarts += 1;
        inner.failure = Some(cause.to_owned());
        inner.exceptions.attempt_failed(cause, SystemClock.now_ms());
    }

    pub(crate) fn failed(&self, cause: &str) {
        let mut inner = self.lock();
        inner.failure = Some(cause.to_owned());
        inner.exceptions.attempt_failed(cause, SystemClock.now_ms());
    }

    pub(crate) fn attempt(&self, tasks: Vec<TaskView>) {
        self.lock().tasks = tasks;
    }

    /// Shows what subtasks of the last attempt have counted in other processes.
    pub(crate) fn show(&self, readings: &[(SubtaskId, TaskReading)]) {
        let inner = self.lock();
        for (id, reading) in readings {
            // They are in order of their ids.
            if let Ok(index) = inner.tasks.binary_search_by_key(id, |(task, _, _)| *task) {
                inner.tasks[index].2.show(reading);
            }
        }
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
