//! What a job remembers of its past for who looks later: its last checkpoints, its last failures, when it came to each status.
//!
//! All are bounded: [`CheckpointHistory`] keeps [`CHECKPOINTS`] records and the latest of each sort, [`Exceptions`] keeps
//! [`EXCEPTIONS`] failures. Times are milliseconds since the epoch.

use crate::coordinator::{CheckpointKind, SubtaskId};
use crate::job_state::Failure;
use crate::protocol::Peer;
use flott_core::CheckpointId;
use flott_runtime::FailureLabel;
use flott_runtime::element::AfterBarrier;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Checkpoints that are remembered, as `web.checkpoints.history` has it.
pub const CHECKPOINTS: usize = 10;

/// Failures that are remembered, as `web.exception-history-size` has it.
pub const EXCEPTIONS: usize = 16;

/// Completed checkpoints over which durations and sizes are summed up.
pub const SUMMARIZED: usize = 1_000;

/// Attempts in a row with one failure from which on a record is to blame.
const POISONED: usize = 3;

/// Failures of other tasks that are kept beside the one that ended an attempt.
const CONCURRENT: usize = 16;

/// How far a checkpoint has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointStatus {
    /// Its parts arrive, or its manifest is written.
    InProgress,
    /// Its manifest exists.
    Completed,
    /// It was given up, or its attempt ended before it was complete.
    Failed,
}

/// What a checkpoint was for, as Flink tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointPurpose {
    /// To go on from after a failure.
    Checkpoint,
    /// A user's savepoint; the job runs on.
    Savepoint,
    /// A user's savepoint, behind which the job ends.
    StoppingSavepoint,
}

impl CheckpointPurpose {
    fn of(kind: &CheckpointKind) -> Self {
        match kind {
            CheckpointKind::Savepoint {
                then: AfterBarrier::Continue,
                ..
            } => Self::Savepoint,
            CheckpointKind::Savepoint { .. } => Self::StoppingSavepoint,
            CheckpointKind::Periodic | CheckpointKind::Stop | CheckpointKind::Final | CheckpointKind::Rescale => {
                Self::Checkpoint
            }
        }
    }

    /// Whether it is a user's.
    pub fn is_savepoint(self) -> bool {
        self != Self::Checkpoint
    }
}

/// One checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRecord {
    /// Number.
    pub id: CheckpointId,
    /// How far it has come.
    pub status: CheckpointStatus,
    /// What for.
    pub purpose: CheckpointPurpose,
    /// When its barriers were sent.
    pub triggered_ms: i64,
    /// When the last subtask's part was durable, or the whole complete.
    pub last_ack_ms: Option<i64>,
    /// When it was complete or given up.
    pub ended_ms: Option<i64>,
    /// Its state, in bytes.
    pub bytes: u64,
    /// Subtasks that take part.
    pub subtasks: usize,
    /// Of these, those whose part is durable.
    pub acknowledged: usize,
    /// Which these are, while it is in progress.
    pub acknowledged_by: BTreeSet<SubtaskId>,
    /// What is durable of each vertex.
    pub vertices: BTreeMap<usize, VertexProgress>,
    /// Where it is: for a savepoint, where the checkpoint is of which it is a copy.
    pub path: Option<String>,
    /// Where the savepoint is, once it is known.
    pub savepoint_path: Option<String>,
    /// Why it failed.
    pub failure: Option<String>,
}

impl CheckpointRecord {
    /// From its trigger to its end; to `now_ms` while it is in progress.
    pub fn duration_ms(&self, now_ms: i64) -> i64 {
        (self.ended_ms.unwrap_or(now_ms) - self.triggered_ms).max(0)
    }

    /// The parts of all subtasks together.
    pub fn sizes(&self) -> PartSizes {
        let mut all = PartSizes::default();
        self.vertices.values().for_each(|vertex| all += vertex.sizes);
        all
    }
}

/// What a subtask's part of a checkpoint is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartSizes {
    /// Its state, in bytes, rows in flight included.
    pub state_bytes: u64,
    /// Rows in flight, in bytes.
    pub persisted_bytes: u64,
    /// Rows that were let in between the first barrier and the last, in bytes.
    pub processed_bytes: u64,
    /// Whether its barrier has overtaken rows.
    pub is_unaligned: bool,
}

impl std::ops::AddAssign for PartSizes {
    fn add_assign(&mut self, other: Self) {
        self.state_bytes += other.state_bytes;
        self.persisted_bytes += other.persisted_bytes;
        self.processed_bytes += other.processed_bytes;
        self.is_unaligned |= other.is_unaligned;
    }
}

/// What is durable of the subtasks of a vertex.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VertexProgress {
    /// How many of them have a durable part.
    pub acknowledged: usize,
    /// When the last of these became durable.
    pub last_ack_ms: Option<i64>,
    /// Their parts together.
    pub sizes: PartSizes,
}

/// Checkpoints of a job, over all attempts.
#[derive(Debug, Clone, Default)]
pub struct CheckpointHistory {
    records: VecDeque<CheckpointRecord>,
    /// Completed ones.
    pub completed: u64,
    /// Failed ones, and those whose attempt ended before they were complete.
    pub failed: u64,
    /// The last completed one that is no savepoint.
    pub last_completed: Option<CheckpointRecord>,
    /// The last completed savepoint.
    pub last_savepoint: Option<CheckpointRecord>,
    /// The last failed one.
    pub last_failed: Option<CheckpointRecord>,
    durations_ms: VecDeque<i64>,
    sizes: VecDeque<i64>,
    persisted_bytes: VecDeque<i64>,
    processed_bytes: VecDeque<i64>,
}

impl CheckpointHistory {
    /// Those that are remembered, newest first.
    pub fn records(&self) -> impl Iterator<Item = &CheckpointRecord> {
        self.records.iter().rev()
    }

    /// One of them, or one of the last of their sort.
    pub fn record(&self, id: CheckpointId) -> Option<&CheckpointRecord> {
        let lasts = [&self.last_completed, &self.last_savepoint, &self.last_failed];
        let mut known = self.records().chain(lasts.into_iter().flatten());
        known.find(|record| record.id == id)
    }

    /// Those in progress.
    pub fn in_progress(&self) -> u64 {
        let is_open = |record: &&CheckpointRecord| record.status == CheckpointStatus::InProgress;
        self.records.iter().filter(is_open).count() as u64
    }

    /// Durations of the last [`SUMMARIZED`] completed ones, in milliseconds.
    pub fn durations_ms(&self) -> Vec<i64> {
        self.durations_ms.iter().copied().collect()
    }

    /// Sizes of the last [`SUMMARIZED`] completed ones, in bytes.
    pub fn sizes(&self) -> Vec<i64> {
        self.sizes.iter().copied().collect()
    }

    /// Rows in flight of the last [`SUMMARIZED`] completed ones, in bytes.
    pub fn persisted_bytes(&self) -> Vec<i64> {
        self.persisted_bytes.iter().copied().collect()
    }

    /// Rows that were let in between first and last barriers of the last [`SUMMARIZED`] completed ones, in bytes.
    pub fn processed_bytes(&self) -> Vec<i64> {
        self.processed_bytes.iter().copied().collect()
    }

    pub(crate) fn triggered(&mut self, id: CheckpointId, kind: &CheckpointKind, subtasks: usize, now_ms: i64) {
        push(
            &mut self.records,
            CHECKPOINTS,
            CheckpointRecord {
                id,
                status: CheckpointStatus::InProgress,
                purpose: CheckpointPurpose::of(kind),
                triggered_ms: now_ms,
                last_ack_ms: None,
                ended_ms: None,
                bytes: 0,
                subtasks,
                acknowledged: 0,
                acknowledged_by: BTreeSet::new(),
                vertices: BTreeMap::new(),
                path: None,
                savepoint_path: None,
                failure: None,
            },
        );
    }

    fn find(&mut self, id: CheckpointId) -> Option<&mut CheckpointRecord> {
        self.records.iter_mut().rev().find(|record| record.id == id)
    }

    /// Notes that a subtask's part is durable.
    pub(crate) fn acknowledged(&mut self, id: CheckpointId, subtask: SubtaskId, sizes: PartSizes, now_ms: i64) {
        if let Some(record) = self.find(id) {
            record.acknowledged = (record.acknowledged + 1).min(record.subtasks);
            record.acknowledged_by.insert(subtask);
            record.last_ack_ms = Some(now_ms);
            let vertex = record.vertices.entry(subtask.0).or_default();
            vertex.acknowledged += 1;
            vertex.last_ack_ms = Some(now_ms);
            vertex.sizes += sizes;
        }
    }

    /// Notes a manifest; it may have come to exist when its attempt was already given up.
    pub(crate) fn completed(&mut self, id: CheckpointId, bytes: u64, path: &str, now_ms: i64) {
        self.completed += 1;
        push(&mut self.sizes, SUMMARIZED, bytes as i64);
        let Some(record) = self.find(id) else { return };
        let was_given_up = record.status == CheckpointStatus::Failed;
        record.status = CheckpointStatus::Completed;
        record.ended_ms = Some(now_ms);
        record.last_ack_ms.get_or_insert(now_ms);
        record.bytes = bytes;
        record.path = Some(path.to_owned());
        record.failure = None;
        record.acknowledged_by.clear();
        let record = record.clone();
        push(&mut self.durations_ms, SUMMARIZED, record.duration_ms(now_ms));
        let sizes = record.sizes();
        push(&mut self.persisted_bytes, SUMMARIZED, sizes.persisted_bytes as i64);
        push(&mut self.processed_bytes, SUMMARIZED, sizes.processed_bytes as i64);
        if was_given_up {
            self.failed = self.failed.saturating_sub(1);
            self.last_failed.take_if(|failed| failed.id == id);
        }
        match record.purpose.is_savepoint() {
            true => self.last_savepoint = Some(record),
            false => self.last_completed = Some(record),
        }
    }

    pub(crate) fn savepoint_written(&mut self, id: CheckpointId, path: &str) {
        let in_list = self.records.iter_mut().rev().find(|record| record.id == id);
        let last = self.last_savepoint.as_mut().filter(|record| record.id == id);
        for record in in_list.into_iter().chain(last) {
            record.savepoint_path = Some(path.to_owned());
        }
    }

    /// Notes that a checkpoint was given up; what is known of it, if it was in progress.
    pub(crate) fn failed(&mut self, id: CheckpointId, reason: &str, now_ms: i64) -> Option<&CheckpointRecord> {
        let record = self
            .find(id)
            .filter(|record| record.status == CheckpointStatus::InProgress)?;
        record.status = CheckpointStatus::Failed;
        record.ended_ms = Some(now_ms);
        record.failure = Some(reason.to_owned());
        record.acknowledged_by.clear();
        self.last_failed = Some(record.clone());
        self.failed += 1;
        self.last_failed.as_ref()
    }

    /// The attempt is over, and with it what was in progress: this.
    pub(crate) fn attempt_ended(&mut self, now_ms: i64) -> Vec<CheckpointRecord> {
        let is_open = |record: &&CheckpointRecord| record.status == CheckpointStatus::InProgress;
        let open: Vec<CheckpointId> = self.records.iter().filter(is_open).map(|record| record.id).collect();
        let failed = |id| {
            self.failed(id, "the attempt ended before the checkpoint was complete", now_ms)
                .cloned()
        };
        open.into_iter().filter_map(failed).collect()
    }
}

/// Which task failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedTask {
    /// Its vertex and index.
    pub subtask: SubtaskId,
    /// Name of its vertex.
    pub name: String,
    /// Of what sort the failure is.
    pub label: FailureLabel,
    /// Where it ran.
    pub at: Option<Peer>,
}

/// A failure that ended an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionRecord {
    /// The message with its causes.
    pub text: String,
    /// Whose business it is.
    pub label: FailureLabel,
    /// When it became known.
    pub at_ms: i64,
    /// Whose it is; `None`: not one task's.
    pub task: Option<FailedTask>,
    /// Attempts in a row that have ended with it, this one included, without a checkpoint between them.
    pub attempts: usize,
    /// Failures of other tasks while the attempt ended.
    pub concurrent: Vec<ExceptionRecord>,
}

/// Failures of a job, over all attempts.
#[derive(Debug, Clone, Default)]
pub struct Exceptions {
    records: VecDeque<ExceptionRecord>,
    /// Whether older ones were forgotten.
    pub is_truncated: bool,
    /// Failures of tasks of the attempt that is ending.
    of_attempt: Vec<ExceptionRecord>,
    repetition: Repetition,
}

/// One failure that ends attempt after attempt, each of which begins where the one before did.
#[derive(Debug, Clone, Default)]
struct Repetition {
    /// The vertex and the cause, without the subtask.
    of: Option<(usize, String)>,
    attempts: usize,
}

impl Repetition {
    /// An attempt has ended with this; how many in a row have.
    fn failed(&mut self, record: &ExceptionRecord) -> usize {
        let of = record.of_code().map(|(vertex, cause)| (vertex, cause.to_owned()));
        self.attempts = match of.is_some() && of == self.of {
            true => self.attempts + 1,
            false => 1,
        };
        self.of = of;
        self.attempts
    }
}

impl ExceptionRecord {
    /// The vertex whose code fails, and why, without the subtask; none if what is outside has failed.
    fn of_code(&self) -> Option<(usize, &str)> {
        use FailureLabel::{Data, Internal, User};
        let task = self
            .task
            .as_ref()
            .filter(|task| matches!(task.label, Data | User | Internal))?;
        let cause = self
            .text
            .strip_prefix(&task.name)
            .and_then(|rest| rest.split_once("): "));
        Some((task.subtask.0, cause.map_or(&self.text, |(_, cause)| cause)))
    }

    /// Says of a failure that comes back with each attempt that it does, and why that may be; names the operators that have it.
    pub fn poison(&self) -> Option<String> {
        let task = self.task.as_ref().filter(|_| self.attempts >= POISONED)?;
        Some(format!(
            "{} has failed with the same cause in {} attempts in a row, and no checkpoint was completed between them: each attempt reads the \
             same records again, and one of them makes it fail each time",
            task.name, self.attempts
        ))
    }
}

impl Exceptions {
    /// Those that are remembered, newest first.
    pub fn records(&self) -> impl Iterator<Item = &ExceptionRecord> {
        self.records.iter().rev()
    }

    /// A checkpoint exists: the next attempt begins somewhere else.
    pub(crate) fn checkpoint_completed(&mut self) {
        self.repetition = Repetition::default();
    }

    /// What [`ExceptionRecord::poison`] says of the newest failure, as long as no checkpoint was completed behind it.
    pub fn poison(&self) -> Option<String> {
        self.repetition.of.as_ref()?;
        self.records().next()?.poison()
    }

    /// A task failed; whether that is what ended the attempt, [`Self::attempt_failed`] tells.
    pub(crate) fn task_failed(&mut self, task: FailedTask, text: &str, now_ms: i64) {
        if self.of_attempt.len() <= CONCURRENT {
            self.of_attempt.push(ExceptionRecord {
                text: text.to_owned(),
                label: task.label,
                at_ms: now_ms,
                task: Some(task),
                attempts: 1,
                concurrent: vec![],
            });
        }
    }

    /// The attempt ended because of this; whether that is a task's failure that is known already.
    pub(crate) fn attempt_failed(&mut self, cause: &Failure, now_ms: i64) -> bool {
        let mut others = std::mem::take(&mut self.of_attempt);
        let root = others.iter().position(|other| other.text == cause.text);
        let mut record = match root {
            Some(index) => others.remove(index),
            None => ExceptionRecord {
                text: cause.text.clone(),
                label: cause.label,
                at_ms: now_ms,
                task: None,
                attempts: 1,
                concurrent: vec![],
            },
        };
        record.concurrent = others;
        record.attempts = self.repetition.failed(&record);
        self.is_truncated |= self.records.len() == EXCEPTIONS;
        push(&mut self.records, EXCEPTIONS, record);
        root.is_some()
    }
}

/// Adds to the newest, and forgets the oldest beyond `kept`.
pub(crate) fn push<T>(records: &mut VecDeque<T>, kept: usize, record: T) {
    if records.len() == kept {
        records.pop_front();
    }
    records.push_back(record);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure_label::Cause;

    fn ids(history: &CheckpointHistory) -> Vec<CheckpointId> {
        history.records().map(|record| record.id).collect()
    }

    #[test]
    fn the_last_checkpoints_are_remembered_and_the_last_of_each_sort() {
        let mut history = CheckpointHistory::default();
        let savepoint = CheckpointKind::Savepoint {
            request: 0,
            then: AfterBarrier::Continue,
        };
        history.triggered(1, &savepoint, 2, 100);
        let part = |state_bytes, persisted_bytes| PartSizes {
            state_bytes,
            persisted_bytes,
            processed_bytes: 1,
            is_unaligned: persisted_bytes > 0,
        };
        history.acknowledged(1, (3, 0), part(7, 0), 105);
        history.acknowledged(1, (3, 1), part(8, 3), 110);
        assert_eq!(
            (history.in_progress(), history.records[0].acknowledged_by.len()),
            (1, 2)
        );
        history.completed(1, 50, "/chk-1", 130);
        history.savepoint_written(1, "/savepoint");
        for id in 2..=20 {
            history.triggered(id, &CheckpointKind::Periodic, 2, 0);
            history.completed(id, id, "/chk", 10);
        }
        assert_eq!(ids(&history), (11..=20).rev().collect::<Vec<_>>());
        let kept = history.record(1).unwrap();
        assert_eq!(kept.purpose, CheckpointPurpose::Savepoint);
        assert_eq!(
            (kept.duration_ms(0), kept.acknowledged, kept.last_ack_ms),
            (30, 2, Some(110))
        );
        assert!(kept.acknowledged_by.is_empty(), "{kept:?}");
        let of_vertex = VertexProgress {
            acknowledged: 2,
            last_ack_ms: Some(110),
            sizes: PartSizes {
                processed_bytes: 2,
                ..part(15, 3)
            },
        };
        assert_eq!(kept.sizes(), of_vertex.sizes);
        assert_eq!((history.persisted_bytes()[0], history.processed_bytes()[0]), (3, 2));
        assert_eq!(kept.vertices, BTreeMap::from([(3, of_vertex)]));
        assert_eq!(kept.savepoint_path.as_deref(), Some("/savepoint"));
        assert_eq!(history.last_completed.as_ref().unwrap().id, 20);
        assert!(history.record(5).is_none());
        assert_eq!((history.completed, history.durations_ms().len()), (20, 20));
    }

    #[test]
    fn a_checkpoint_of_an_attempt_that_ended_has_failed_unless_its_manifest_comes_to_exist() {
        let mut history = CheckpointHistory::default();
        for id in 1..=2 {
            history.triggered(id, &CheckpointKind::Periodic, 1, 0);
            history.acknowledged(id, (0, 0), PartSizes::default(), 1);
        }
        assert_eq!(history.attempt_ended(5).len(), 2);
        assert_eq!((history.failed, history.in_progress()), (2, 0));
        assert!(history.records().all(|record| record.acknowledged_by.is_empty()));
        history.completed(2, 1, "/chk-2", 9);
        assert_eq!((history.failed, history.completed), (1, 1));
        assert_eq!(history.record(2).unwrap().status, CheckpointStatus::Completed);
        assert!(history.record(1).unwrap().failure.as_ref().unwrap().contains("attempt"));
    }

    #[test]
    fn the_cause_of_an_attempts_end_is_told_from_what_failed_beside_it() {
        let mut exceptions = Exceptions::default();
        let failed = |text: &str| Failure::of(Cause::SlotsMissing, text.to_owned());
        let task = |index| FailedTask {
            subtask: (0, index),
            name: "Counter".into(),
            label: FailureLabel::User,
            at: None,
        };
        exceptions.task_failed(task(1), "a", 1);
        exceptions.task_failed(task(0), "b", 2);
        assert!(exceptions.attempt_failed(&failed("b"), 3));
        let first = exceptions.records().next().unwrap().clone();
        assert_eq!((first.at_ms, first.task, first.concurrent.len()), (2, Some(task(0)), 1));
        (0..EXCEPTIONS).for_each(|n| assert!(!exceptions.attempt_failed(&failed(&n.to_string()), 4)));
        assert!(exceptions.is_truncated);
        assert_eq!(exceptions.records().count(), EXCEPTIONS);
        let last = exceptions.records().next().unwrap();
        assert_eq!((&last.task, last.label), (&None, FailureLabel::Resources));
    }

    #[test]
    fn a_failure_that_comes_back_without_a_checkpoint_between_is_a_records() {
        let mut exceptions = Exceptions::default();
        let fail = |exceptions: &mut Exceptions, subtask: usize, label: FailureLabel, cause: &str| {
            let task = FailedTask {
                subtask: (1, subtask),
                name: "Parse".into(),
                label,
                at: None,
            };
            let text = format!("Parse ({}/2): parse: {cause}", subtask + 1);
            exceptions.task_failed(task, &text, 1);
            let failure = Failure {
                label,
                text,
                retryable: true,
            };
            assert!(exceptions.attempt_failed(&failure, 2));
            exceptions.records().next().map_or(0, |record| record.attempts)
        };
        let (user, outside) = (FailureLabel::User, FailureLabel::Infrastructure);
        // Its split may go to another subtask.
        assert_eq!(
            [0, 1].map(|subtask| fail(&mut exceptions, subtask, user, "no number: x")),
            [1, 2]
        );
        assert_eq!(exceptions.poison(), None);
        assert_eq!(fail(&mut exceptions, 0, user, "no number: x"), 3);
        let told = exceptions.poison().unwrap();
        assert!(
            told.starts_with("Parse has failed with the same cause in 3 attempts in a row"),
            "{told}"
        );
        exceptions.checkpoint_completed();
        assert_eq!(exceptions.poison(), None, "it has come past it");
        assert_eq!(
            exceptions.records().next().unwrap().poison(),
            Some(told),
            "it was so then"
        );
        assert_eq!(fail(&mut exceptions, 0, user, "no number: x"), 1);
        assert_eq!(fail(&mut exceptions, 0, user, "no number: y"), 1, "another record");
        // Nobody's record is to blame for a broker that does not answer.
        assert_eq!([(); 4].map(|()| fail(&mut exceptions, 0, outside, "no answer")), [1; 4]);
    }
}
