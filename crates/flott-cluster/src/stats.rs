//! What a job tells about itself while it runs and afterwards: checkpoints, restarts, latency, counters of its tasks, its events.

use crate::coordinator::{CheckpointKind, SubtaskId};
use crate::events::{EventKind, EventLog, RescaledVertex, label_name, shortened};
use crate::execution::Executions;
use crate::failure_label::Cause;
use crate::hang::{Change, Hangs, RunningCall};
use crate::history::{CheckpointHistory, CheckpointRecord, Exceptions, FailedTask, PartSizes};
use crate::job_log::JobLog;
use crate::job_state::Failure;
use crate::placement::Placement;
use crate::protocol::Peer;
use crate::resources::TaskManagerInfo;
use crate::traces::JobTraces;
use flott_core::clock::{Clock, SystemClock};
use flott_core::{CheckpointId, JobId, JobStatus};
use flott_plan::JobGraph;
use flott_runtime::context::TaskInfo;
use flott_runtime::metrics::{TaskMetrics, TaskReading};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    /// When it was completed, in milliseconds since the epoch.
    pub last_completed_ms: Option<i64>,
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
    rescales: u64,
    failure: Option<String>,
    tasks: Vec<TaskView>,
    latency: Histogram,
    ended_ms: Option<u64>,
    checkpoint_history: CheckpointHistory,
    exceptions: Exceptions,
    events: EventLog,
    executions: Executions,
    hangs: Hangs,
    /// TaskManagers of the last attempt that are not known to be lost, and how many subtasks each has.
    peers: Vec<(Peer, usize)>,
    /// When each status was last come to.
    status_times: Vec<(JobStatus, i64)>,
    /// Where there is a reporter.
    traces: Option<JobTraces>,
}

impl Inner {
    fn tell(&mut self, event: EventKind) {
        self.events.add(event, SystemClock.now_ms());
    }

    fn trace(&mut self, tell: impl FnOnce(&mut JobTraces)) {
        if let Some(traces) = &mut self.traces {
            tell(traces);
        }
    }

    /// Tells of a checkpoint that was given up, or of the savepoint that it was for.
    fn tell_failed(&mut self, record: &CheckpointRecord) {
        let checkpoint = record.id;
        let failure = shortened(record.failure.as_deref().unwrap_or_default());
        self.trace(|traces| traces.checkpoint(record));
        self.tell(match record.purpose.is_savepoint() {
            true => EventKind::SavepointFailed { checkpoint, failure },
            false => EventKind::CheckpointFailed { checkpoint, failure },
        });
    }

    /// Tells that a TaskManager is gone, and is not counted on any more.
    fn tell_lost(&mut self, peer: &Peer, subtasks: usize, failure: &str, left: &[TaskManagerInfo]) {
        self.peers.retain(|(known, _)| known.id != peer.id);
        self.tell(EventKind::TaskManagerLost {
            task_manager_id: peer.id.clone(),
            endpoint: peer.endpoint().to_owned(),
            subtasks,
            failure: shortened(failure),
        });
        self.tell(EventKind::TaskManagerRemoved {
            task_manager_id: peer.id.clone(),
            left: left.len(),
            free_slots: left.iter().map(|manager| manager.free_slots).sum(),
        });
    }

    /// Tells of TaskManagers whose tasks had all ended before they went, so that nobody has missed them since.
    fn tell_missing(&mut self, left: &[TaskManagerInfo]) {
        let is_missing = |peer: &Peer| {
            let is_of_cluster = !peer.data_address.is_empty();
            is_of_cluster && left.iter().all(|manager| manager.id != peer.id)
        };
        let missing: Vec<(Peer, usize)> = self.peers.extract_if(.., |(peer, _)| is_missing(peer)).collect();
        for (peer, subtasks) in missing {
            let text = format!(
                "TaskManager {} at {} is lost: it is registered no more",
                peer.id,
                peer.endpoint()
            );
            self.tell_lost(&peer, subtasks, &text, left);
        }
    }

    fn tell_call(&mut self, subtask: SubtaskId, change: Change) {
        let Some((_, info, metrics)) = self.tasks.iter().find(|(id, _, _)| *id == subtask) else {
            return;
        };
        let task = format!("{} ({}/{})", info.task_name, info.subtask + 1, info.parallelism);
        let (Change::Hangs((index, taken)) | Change::GoesOn((index, taken))) = change;
        let operator = metrics.operators[index].0.clone();
        let call_ms = taken.as_millis() as u64;
        let at = self.executions.get(subtask).and_then(|execution| execution.at.as_ref());
        let event = match change {
            Change::Hangs(_) => EventKind::UserCodeHangs {
                task,
                operator,
                task_manager_id: at.map(|peer| peer.id.clone()),
                endpoint: at.map(|peer| peer.endpoint().to_owned()),
                call_ms,
            },
            Change::GoesOn(_) => EventKind::UserCodeGoesOn {
                task,
                operator,
                call_ms,
            },
        };
        tracing::warn!("{event}");
        self.tell(event);
    }

    fn attempt_failed(&mut self, cause: &Failure) {
        self.failure = Some(cause.text.clone());
        let is_told = self.exceptions.attempt_failed(cause, SystemClock.now_ms());
        if !is_told {
            let label = label_name(cause.label);
            let failure = shortened(&cause.text);
            self.tell(EventKind::JobFailure { label, failure });
        }
    }
}

/// Shared between a job and those who watch it.
#[derive(Debug)]
pub struct JobStats {
    started: Instant,
    started_ms: i64,
    log: JobLog,
    inner: Mutex<Inner>,
}

impl JobStats {
    /// Of a job that begins now; `name` is its `pipeline.name`.
    pub fn new(job: JobId, name: &str) -> Self {
        Self {
            started: Instant::now(),
            started_ms: SystemClock.now_ms(),
            log: JobLog::new(job, name),
            inner: Mutex::default(),
        }
    }

    /// Has a reporter told of it.
    pub(crate) fn traced(self, traces: JobTraces) -> Self {
        self.lock().traces = Some(traces);
        self
    }

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

    /// `numRescales`
    pub fn rescales(&self) -> u64 {
        self.lock().rescales
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

    /// What has happened.
    pub fn events(&self) -> EventLog {
        self.lock().events.clone()
    }

    /// What each subtask does, and where.
    pub fn executions(&self) -> Executions {
        self.lock().executions.clone()
    }

    /// When the job last came to each status that it has had, in milliseconds since the epoch.
    pub fn status_times(&self) -> Vec<(JobStatus, i64)> {
        self.lock().status_times.clone()
    }

    pub(crate) fn status(&self, status: JobStatus) {
        let now_ms = SystemClock.now_ms();
        let before = self.status_times().last().map(|(before, _)| *before);
        let before = before.unwrap_or(JobStatus::Created);
        if before != status {
            self.log.switched(before, status);
        }
        let mut inner = self.lock();
        inner.status_times.retain(|(earlier, _)| *earlier != status);
        inner.status_times.push((status, now_ms));
        inner.tell(EventKind::from(status));
        if status != JobStatus::Running {
            let failed = inner.checkpoint_history.attempt_ended(now_ms);
            failed.iter().for_each(|record| inner.tell_failed(record));
        }
        let ends_attempt = matches!(
            status,
            JobStatus::Failing | JobStatus::Restarting | JobStatus::Cancelling
        );
        if ends_attempt || status.is_globally_terminal_state() {
            inner.trace(|traces| traces.attempt_ended(now_ms));
        }
        if status.is_globally_terminal_state() {
            inner.executions.job_ended(now_ms);
        }
    }

    pub(crate) fn triggered(&self, id: CheckpointId, kind: &CheckpointKind, subtasks: usize) {
        let now_ms = SystemClock.now_ms();
        self.log.triggering(id, kind, now_ms);
        let mut inner = self.lock();
        inner.triggered.push((id, Instant::now()));
        inner.checkpoint_history.triggered(id, kind, subtasks, now_ms);
    }

    pub(crate) fn acknowledged(&self, id: CheckpointId, subtask: SubtaskId, sizes: PartSizes) {
        let now_ms = SystemClock.now_ms();
        let mut inner = self.lock();
        inner.checkpoint_history.acknowledged(id, subtask, sizes, now_ms);
        inner.trace(|traces| traces.acknowledged(id, subtask, sizes, now_ms));
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
        checkpoints.last_completed_ms = Some(now_ms);
        inner.checkpoint_history.completed(id, bytes, path, now_ms);
        inner.exceptions.checkpoint_completed();
        if inner.traces.is_some()
            && let Some(record) = inner.checkpoint_history.record(id).cloned()
        {
            inner.trace(|traces| traces.checkpoint(&record));
        }
        inner.tell(EventKind::CheckpointCompleted {
            checkpoint: id,
            bytes,
            duration_ms,
        });
        duration_ms
    }

    /// Notes whether the savepoint is at `path` that is a copy of checkpoint `id`, or why not.
    pub(crate) fn savepoint_taken(&self, id: CheckpointId, path: &str, taken: Result<(), &str>) {
        let mut inner = self.lock();
        let checkpoint = id;
        match taken {
            Ok(()) => {
                inner.checkpoint_history.savepoint_written(id, path);
                let path = path.to_owned();
                inner.tell(EventKind::SavepointCompleted { checkpoint, path });
            }
            Err(failure) => {
                let failure = shortened(failure);
                inner.tell(EventKind::SavepointFailed { checkpoint, failure });
            }
        }
    }

    pub(crate) fn checkpoint_failed(&self, id: CheckpointId, reason: &str) {
        self.log.checkpoint_failed(id, reason);
        let mut inner = self.lock();
        inner.triggered.retain(|(t, _)| *t != id);
        inner.checkpoints.failed += 1;
        inner.checkpoints.last_failure = Some(reason.to_owned());
        let failed = inner
            .checkpoint_history
            .failed(id, reason, SystemClock.now_ms())
            .cloned();
        failed.iter().for_each(|record| inner.tell_failed(record));
    }

    /// Notes that a task failed, of which `text` tells; whether it is what ended the attempt, [`Self::restarted`] and [`Self::failed`] tell.
    pub(crate) fn task_failed(&self, task: FailedTask, text: &str) {
        let now_ms = SystemClock.now_ms();
        let parallelism = self.lock().executions.subtasks_of(task.subtask.0);
        let name = format!("{} ({}/{parallelism})", task.name, task.subtask.1 + 1);
        // It begins with that name itself.
        let failure = text.strip_prefix(&format!("{name}: ")).unwrap_or(text);
        self.log.task_failed(&name, &task, failure);
        let mut inner = self.lock();
        inner.tell(EventKind::task_failed(name, task.label, task.at.as_ref(), failure));
        inner.executions.failed(task.subtask, now_ms);
        inner.exceptions.task_failed(task, text, now_ms);
    }

    /// Notes that a TaskManager is gone with these subtasks, each with the name of its vertex; `left` are there.
    pub(crate) fn task_manager_lost(
        &self,
        peer: &Peer,
        subtasks: impl IntoIterator<Item = (SubtaskId, String)>,
        text: &str,
        left: &[TaskManagerInfo],
    ) {
        let now_ms = SystemClock.now_ms();
        let mut inner = self.lock();
        let subtasks: Vec<(SubtaskId, String)> = subtasks.into_iter().collect();
        inner.tell_lost(peer, subtasks.len(), text, left);
        for (subtask, name) in subtasks {
            if inner.executions.state(subtask).is_terminal() {
                continue;
            }
            inner.executions.failed(subtask, now_ms);
            let task = FailedTask {
                subtask,
                name,
                label: Cause::TaskManagerLost.label(),
                at: Some(peer.clone()),
            };
            inner.exceptions.task_failed(task, text, now_ms);
        }
    }

    pub(crate) fn submitted(&self, name: &str, restored_from: Option<String>) {
        let name = name.to_owned();
        self.lock().tell(EventKind::Submitted { name, restored_from });
    }

    /// The job shall go on at this parallelism, by vertex.
    pub(crate) fn rescaling(&self, graph: &JobGraph, target: &[usize], is_asked: bool) {
        let changes = graph.vertices.iter().zip(target);
        let vertices = changes.filter(|(vertex, to)| vertex.parallelism != **to);
        let vertices = vertices.map(|(vertex, to)| RescaledVertex {
            name: vertex.name.clone(),
            from: vertex.parallelism,
            to: *to,
        });
        let event = EventKind::Rescaling {
            is_asked,
            vertices: vertices.collect(),
        };
        tracing::info!("{event}");
        self.lock().tell(event);
    }

    /// State of a checkpoint was read ahead for it.
    pub(crate) fn preloaded(&self, checkpoint: CheckpointId, bytes: u64, duration_ms: i64) {
        let event = EventKind::StatePreloaded {
            checkpoint,
            bytes,
            duration_ms,
        };
        tracing::info!("{event}");
        self.lock().tell(event);
    }

    /// The checkpoint is there behind which it does.
    pub(crate) fn rescaled(&self) {
        self.lock().rescales += 1;
    }

    /// An attempt of these subtasks asks for slots.
    pub(crate) fn slots_requested(&self, attempt: u64, slots: usize, subtasks: Vec<SubtaskId>) {
        let mut inner = self.lock();
        let now_ms = SystemClock.now_ms();
        inner.executions.scheduled(attempt, subtasks, now_ms);
        inner.trace(|traces| traces.initializing(now_ms));
        inner.tell(EventKind::SlotsRequested { attempt, slots });
    }

    /// The attempt's tasks go to these TaskManagers, with the state of this checkpoint, which lies there and is of so many bytes; `left` are there.
    pub(crate) fn deployed(
        &self,
        restored: Option<(CheckpointId, String, u64)>,
        placement: &Placement,
        peers: &[Peer],
        left: &[TaskManagerInfo],
    ) {
        let mut inner = self.lock();
        inner.tell_missing(left);
        if let Some((checkpoint, path, bytes)) = restored {
            inner.trace(|traces| traces.restored(checkpoint, bytes));
            inner.tell(EventKind::Restored { checkpoint, path });
        }
        let count = |index: usize| placement.subtasks_at(index).len();
        let counted = peers
            .iter()
            .enumerate()
            .map(|(index, peer)| (peer.clone(), count(index)));
        inner.peers = counted.collect();
        let subtasks = inner
            .peers
            .iter()
            .map(|(peer, count)| (peer.id.clone(), *count))
            .collect();
        inner.executions.deployed(placement, peers, SystemClock.now_ms());
        let attempt = inner.executions.attempt;
        inner.tell(EventKind::TasksDeployed { attempt, subtasks });
    }

    /// So many splits go to each of these subtasks of the source's vertex `name`.
    pub(crate) fn splits_assigned(&self, name: &str, counts: impl IntoIterator<Item = (SubtaskId, usize)>) {
        let mut inner = self.lock();
        let mut splits: BTreeMap<String, usize> = BTreeMap::new();
        for (subtask, count) in counts {
            if let Some(peer) = inner
                .executions
                .get(subtask)
                .and_then(|execution| execution.at.as_ref())
            {
                *splits.entry(peer.id.clone()).or_default() += count;
            }
        }
        if !splits.is_empty() {
            let source = name.to_owned();
            inner.tell(EventKind::SplitsAssigned { source, splits });
        }
    }

    pub(crate) fn task_running(&self, subtask: SubtaskId) {
        let mut inner = self.lock();
        let now_ms = SystemClock.now_ms();
        if inner.executions.running(subtask, now_ms) {
            let durations_ms = inner.executions.opening_ms();
            inner.trace(|traces| traces.initialized(&durations_ms, now_ms));
            let attempt = inner.executions.attempt;
            inner.tell(EventKind::TasksRunning { attempt });
        }
    }

    pub(crate) fn task_ended(&self, subtask: SubtaskId) {
        self.lock().executions.ended(subtask, SystemClock.now_ms());
    }

    /// All tasks that are left are told to end as they are.
    pub(crate) fn tasks_cancelling(&self) {
        let mut inner = self.lock();
        let subtasks = inner.executions.live();
        inner.executions.cancelling(SystemClock.now_ms());
        inner.tell(EventKind::TasksCancelling { subtasks });
    }

    pub(crate) fn latency(&self, latency_ms: i64) {
        self.lock().latency.add(latency_ms);
    }

    pub(crate) fn restarted(&self, cause: &Failure, delay_ms: i64) {
        self.log.restarting(delay_ms, &cause.text);
        let mut inner = self.lock();
        inner.restarts += 1;
        inner.attempt_failed(cause);
        let failure = shortened(&cause.text);
        inner.tell(EventKind::Restarting { delay_ms, failure });
    }

    pub(crate) fn failed(&self, cause: &Failure) {
        self.lock().attempt_failed(cause);
    }

    pub(crate) fn attempt(&self, tasks: Vec<TaskView>) {
        let mut inner = self.lock();
        inner.tasks = tasks;
        inner.hangs.clear();
    }

    /// Tells of calls of user code that take longer than `hangs_after`, once each, and of those that have returned after all.
    pub(crate) fn look_at_calls(&self, hangs_after: Duration) {
        let mut inner = self.lock();
        let calls = |inner: &Inner| -> Vec<(SubtaskId, Option<RunningCall>)> {
            let live = inner
                .tasks
                .iter()
                .filter(|(id, _, _)| !inner.executions.state(*id).is_terminal());
            live.map(|(id, _, metrics)| (*id, metrics.call())).collect()
        };
        let calls = calls(&inner);
        for (subtask, change) in inner.hangs.look(&calls, hangs_after) {
            inner.tell_call(subtask, change);
        }
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
    use crate::execution::ExecutionState;
    use flott_runtime::FailureLabel;

    fn failed(label: FailureLabel, text: &str) -> Failure {
        let (text, retryable) = (text.to_owned(), true);
        Failure { label, text, retryable }
    }

    fn kinds(stats: &JobStats) -> Vec<EventKind> {
        let log = stats.events();
        log.events().into_iter().map(|event| event.kind.clone()).collect()
    }

    #[test]
    fn a_failure_is_told_once_and_with_its_label() {
        let stats = JobStats::new(JobId(1), "job");
        stats.slots_requested(1, 2, vec![(0, 0), (0, 1)]);
        let task = FailedTask {
            subtask: (0, 1),
            name: "Calc".into(),
            label: FailureLabel::Data,
            at: None,
        };
        stats.task_failed(task, "Calc (2/2): boom");
        stats.restarted(&failed(FailureLabel::Data, "Calc (2/2): boom"), 10);
        stats.failed(&failed(FailureLabel::Resources, "no slots"));
        let failure = |label, failure: &str| EventKind::JobFailure {
            label,
            failure: failure.into(),
        };
        assert_eq!(
            kinds(&stats)[1..],
            [
                EventKind::task_failed("Calc (2/2)".into(), FailureLabel::Data, None, "boom"),
                EventKind::Restarting {
                    delay_ms: 10,
                    failure: "Calc (2/2): boom".into()
                },
                failure("RESOURCES", "no slots"),
            ]
        );
        let exceptions = stats.exceptions();
        let labels: Vec<FailureLabel> = exceptions.records().map(|record| record.label).collect();
        assert_eq!(labels, [FailureLabel::Resources, FailureLabel::Data]);
    }

    #[test]
    fn a_lost_task_manager_fails_the_subtasks_that_ran_there() {
        let stats = JobStats::new(JobId(1), "job");
        let peers = ["a", "b"].map(|id| Peer {
            id: id.into(),
            data_address: format!("{id}:1"),
        });
        stats.slots_requested(1, 3, vec![(0, 0), (0, 1), (0, 2)]);
        stats.deployed(Some((7, "/chk-7".into(), 65)), &vec![vec![0, 1, 1]].into(), &peers, &[]);
        stats.splits_assigned("Source: s", [((0, 0), 1), ((0, 1), 2), ((0, 2), 1)]);
        stats.task_ended((0, 1));
        let lost = [(0, 1), (0, 2)].map(|id| (id, "Source: s".to_owned()));
        let left = TaskManagerInfo {
            free_slots: 3,
            ..Default::default()
        };
        stats.task_manager_lost(&peers[1], lost, "it is gone", &[left]);
        stats.restarted(&Failure::of(Cause::TaskManagerLost, "it is gone".into()), 0);
        let by_manager =
            |counts: [usize; 2]| BTreeMap::from([("a".to_owned(), counts[0]), ("b".to_owned(), counts[1])]);
        assert_eq!(
            kinds(&stats)[1..6],
            [
                EventKind::Restored {
                    checkpoint: 7,
                    path: "/chk-7".into()
                },
                EventKind::TasksDeployed {
                    attempt: 1,
                    subtasks: by_manager([1, 2])
                },
                EventKind::SplitsAssigned {
                    source: "Source: s".into(),
                    splits: by_manager([1, 3])
                },
                EventKind::TaskManagerLost {
                    task_manager_id: "b".into(),
                    endpoint: "b:1".into(),
                    subtasks: 2,
                    failure: "it is gone".into()
                },
                EventKind::TaskManagerRemoved {
                    task_manager_id: "b".into(),
                    left: 1,
                    free_slots: 3
                },
            ]
        );
        let executions = stats.executions();
        assert_eq!(
            [0, 1, 2].map(|index| executions.state((0, index))),
            [
                ExecutionState::Deploying,
                ExecutionState::Finished,
                ExecutionState::Failed
            ]
        );
        let exceptions = stats.exceptions();
        let root = exceptions.records().next().unwrap();
        let task = root.task.as_ref().unwrap();
        assert_eq!((task.subtask, task.at.as_ref()), ((0, 2), Some(&peers[1])));
        assert!(root.concurrent.is_empty());
        assert_eq!(root.label, FailureLabel::Infrastructure);

        // The other one's task ended before it went, so that no TaskManager was missed.
        stats.task_ended((0, 0));
        stats.slots_requested(2, 1, vec![(0, 0)]);
        let another = TaskManagerInfo {
            id: "c".into(),
            ..Default::default()
        };
        let peer = Peer {
            id: "c".into(),
            data_address: "c:1".into(),
        };
        stats.deployed(None, &vec![vec![0]].into(), &[peer], &[another]);
        let lost: Vec<EventKind> = kinds(&stats)
            .into_iter()
            .filter(|kind| matches!(kind, EventKind::TaskManagerLost { .. }))
            .collect();
        assert_eq!(lost.len(), 2);
        assert!(
            matches!(&lost[1], EventKind::TaskManagerLost { task_manager_id, subtasks: 1, .. } if task_manager_id == "a")
        );
    }

    #[test]
    fn what_becomes_of_checkpoints_and_savepoints_is_told() {
        let stats = JobStats::new(JobId(1), "job");
        let savepoint = CheckpointKind::Savepoint {
            request: 0,
            then: flott_runtime::element::AfterBarrier::Continue,
        };
        stats.triggered(1, &savepoint, 1);
        stats.completed(1, 5, "/chk-1");
        stats.savepoint_taken(1, "/savepoint", Err("no room"));
        assert_eq!(stats.checkpoint_history().last_savepoint.unwrap().savepoint_path, None);
        stats.savepoint_taken(1, "/savepoint", Ok(()));
        stats.triggered(2, &savepoint, 1);
        stats.checkpoint_failed(2, "too late");
        stats.triggered(3, &CheckpointKind::Periodic, 1);
        stats.status(JobStatus::Failing);
        let kinds = kinds(&stats);
        assert!(matches!(
            kinds[0],
            EventKind::CheckpointCompleted {
                checkpoint: 1,
                bytes: 5,
                ..
            }
        ));
        let text = |kind: &EventKind| kind.to_string();
        assert_eq!(
            kinds[1..].iter().map(text).collect::<Vec<_>>(),
            [
                "savepoint of checkpoint 1: no room",
                "savepoint /savepoint, a copy of checkpoint 1",
                "savepoint of checkpoint 2: too late",
                "the job is FAILING",
                "checkpoint 3: the attempt ended before the checkpoint was complete",
            ]
        );
    }

    #[test]
    fn percentiles_come_from_the_markers_since_the_last_call() {
        let stats = JobStats::new(JobId(1), "job");
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
