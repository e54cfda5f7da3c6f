//! What a job master and TaskManagers say to each other.
//!
//! ```text
//!  job master ── Deployment, then Orders, in order ──► TaskManager
//!             ◄── Reports of subtasks ───────────────
//! ```
//! Within a process these are values; between processes they are JSON, one message each, since plans, splits and manifests are JSON anyway.
//! Everything of an attempt carries its [`AttemptId`]: what comes from an attempt that is over is dropped.

use crate::coordinator::SubtaskId;
use crate::deploy::{JobSource, RestoredStates};
use crate::history::PartSizes;
use crate::placement::Placement;
use flott_checkpoint::{OperatorManifest, OperatorPart, Root, SubtaskRestore};
use flott_core::{CheckpointId, Generation, JobId, OperatorId};
use flott_plan::{NodeId, Plan};
use flott_runtime::element::AfterBarrier;
use flott_runtime::metrics::TaskMetrics;
use flott_runtime::task::TaskCommand;
use flott_runtime::{FailureLabel, TaskError};
use flott_state::RunMode;
use flott_state::persist::{ConfirmationTicket, WrittenSnapshots};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// One attempt of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AttemptId {
    /// The job.
    pub job: JobId,
    /// Leadership of the JobManager that deployed it.
    pub generation: Generation,
    /// How often the job was started, this time included.
    pub attempt: u64,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt {} of job {}", self.attempt, self.job)
    }
}

/// A TaskManager that an attempt uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its id.
    pub id: String,
    /// Where exchanges of other TaskManagers reach it, host and port; empty within a process.
    pub data_address: String,
}

impl Peer {
    /// Where it is, for people and tools: host and port, or this machine.
    pub fn endpoint(&self) -> &str {
        match self.data_address.as_str() {
            "" => "localhost",
            address => address,
        }
    }
}

/// The part of an attempt that one TaskManager runs.
#[derive(Serialize, Deserialize)]
pub struct Deployment {
    /// The attempt.
    pub id: AttemptId,
    /// The plan, fitted to the state that the job started from.
    pub plan: Arc<Plan>,
    /// All TaskManagers of the attempt.
    pub peers: Arc<Vec<Peer>>,
    /// Which of them this is for.
    pub here: usize,
    /// Of every subtask, by vertex and index, which of the TaskManagers runs it.
    pub placement: Placement,
    /// Slots that the job uses there.
    pub slots: usize,
    /// State to start from.
    pub states: Vec<OperatorStates>,
    /// Where that lies; empty if nothing is restored from files.
    pub restore_from: String,
    /// Where state files of checkpoints go; empty: into the manifests, since the JobManager keeps those in its memory.
    pub write_to: String,
    /// Whether increments are written.
    pub incremental: bool,
    /// What need not be made again within the JobManager's process.
    #[serde(skip)]
    pub within: Option<Within>,
}

/// What a TaskManager in the JobManager's process is given instead of making it.
pub struct Within {
    /// Sources of the job.
    pub sources: HashMap<NodeId, JobSource>,
    /// State, read.
    pub states: RestoredStates,
    /// Counters of the subtasks.
    pub metrics: HashMap<SubtaskId, Arc<TaskMetrics>>,
    /// The folder of the job's checkpoints.
    pub root: Root,
}

impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.peers.get(self.here).map_or("nowhere", |peer| peer.id.as_str());
        write!(f, "Deployment of {} at {at}", self.id)
    }
}

/// What subtasks of an operator start from: named, not read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OperatorStates {
    /// The operator's node.
    pub node: NodeId,
    /// What the manifest says of it, without its subtasks.
    pub operator: OperatorManifest,
    /// The checkpoint whose files increments may refer to.
    pub continued: Option<CheckpointId>,
    /// What each new subtask gets.
    pub subtasks: Vec<SubtaskRestore>,
}

/// What a job master tells a TaskManager of an attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Order {
    /// For one subtask, if it runs there.
    Task(SubtaskId, TaskCommand),
    /// For all that run there.
    Tasks(TaskCommand),
    /// The checkpoint's manifest exists: increments may build on it.
    Confirm(CheckpointId),
    /// The attempt is over everywhere: nothing of it is needed any more.
    Release,
    /// What was read ahead for the attempt is needed no more, or by now in use.
    ForgetPreloaded,
}

/// An attempt that a TaskManager still runs when it registers with the next JobManager.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldAttempt {
    /// The attempt.
    pub id: AttemptId,
    /// All TaskManagers of the attempt.
    pub peers: Arc<Vec<Peer>>,
    /// Of every subtask, by vertex and index, which of the TaskManagers runs it.
    pub placement: Placement,
    /// Which of them this one is.
    pub here: usize,
    /// Slots that the job uses there.
    pub slots: usize,
    /// Subtasks there that have processed all their input.
    pub drained: Vec<SubtaskId>,
    /// Subtasks there that have ended.
    pub ended: Vec<SubtaskId>,
    /// The first checkpoint whose barriers it was told to send.
    pub first_checkpoint: Option<CheckpointId>,
    /// The last one; 0 if there was none.
    pub last_checkpoint: CheckpointId,
    /// The last one that does not know all splits which sources were given since.
    pub splits_behind: CheckpointId,
    /// Whether it cannot go on: a task has failed, or was told to end, or sources stop behind a savepoint.
    pub is_ending: bool,
}

impl HeldAttempt {
    /// What is to be known of a deployment's attempt.
    pub fn of(deployment: &Deployment) -> Self {
        Self {
            id: deployment.id,
            peers: deployment.peers.clone(),
            placement: deployment.placement.clone(),
            here: deployment.here,
            slots: deployment.slots,
            drained: vec![],
            ended: vec![],
            first_checkpoint: None,
            last_checkpoint: 0,
            splits_behind: 0,
            is_ending: false,
        }
    }

    /// Notes what its tasks are told.
    pub fn ordered(&mut self, order: &Order) {
        match order {
            Order::Tasks(TaskCommand::Checkpoint(barrier)) => {
                self.first_checkpoint.get_or_insert(barrier.checkpoint);
                self.last_checkpoint = self.last_checkpoint.max(barrier.checkpoint);
                self.is_ending |= barrier.then != AfterBarrier::Continue;
            }
            Order::Task(_, TaskCommand::AddSplits(splits)) if !splits.is_empty() => {
                self.splits_behind = self.last_checkpoint;
            }
            Order::Task(_, command) | Order::Tasks(command) => {
                let ends = matches!(
                    command,
                    TaskCommand::Cancel | TaskCommand::Fail(..) | TaskCommand::Finish
                );
                self.is_ending |= ends;
            }
            Order::Release => self.is_ending = true,
            Order::Confirm(_) | Order::ForgetPreloaded => {}
        }
    }

    /// Notes what a task tells.
    pub fn reported(&mut self, subtask: SubtaskId, report: &Report) {
        match report {
            Report::Drained => self.drained.push(subtask),
            Report::Ended => self.ended.push(subtask),
            Report::Failed(_) => self.is_ending = true,
            _ => {}
        }
    }

    /// Whether the attempt can go on from `newest`, the newest complete checkpoint of its job: it was taken in this attempt, and not in a later one of
    /// which this TaskManager has not heard, and knows all splits that its sources read.
    pub fn goes_on_from(&self, newest: CheckpointId) -> bool {
        let is_of_attempt =
            self.first_checkpoint.is_some_and(|first| first <= newest) && newest <= self.last_checkpoint;
        is_of_attempt && newest > self.splits_behind && !self.is_ending
    }
}

/// What a subtask tells.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// Its operators are open.
    Running,
    /// Its state of a checkpoint is durable.
    Part(CheckpointId, Box<WrittenPart>),
    /// It could not be written.
    PartFailed(CheckpointId, TaskFailure),
    /// How far its source has come, which is in a group of watermark alignment.
    ReportedWatermark(i64),
    /// All its input is processed.
    Drained,
    /// A latency marker reached its end, after so many milliseconds.
    Latency(i64),
    /// It has ended, as told.
    Ended,
    /// It has ended because of this.
    Failed(TaskFailure),
}

/// Why a subtask failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFailure {
    /// Whose business it is.
    pub label: FailureLabel,
    /// The message with its causes.
    pub text: String,
    /// Whether another attempt may help.
    pub retryable: bool,
}

impl From<TaskError> for TaskFailure {
    fn from(error: TaskError) -> Self {
        Self::from(&error)
    }
}

impl From<&TaskError> for TaskFailure {
    fn from(error: &TaskError) -> Self {
        Self {
            label: error.label(),
            text: error.full_text(),
            retryable: error.is_retryable(),
        }
    }
}

/// A subtask's part of a checkpoint, as the manifest will say it.
#[derive(Debug, Serialize, Deserialize)]
pub struct WrittenPart {
    /// Its operators.
    pub parts: Vec<OperatorPart>,
    /// Bytes written for this checkpoint.
    pub written_bytes: u64,
    /// Bytes of all state.
    pub state_bytes: u64,
    /// Of these, by operator, those of tables whose rows are all in memory.
    pub in_memory_bytes: Vec<(OperatorId, u64)>,
    /// Of those written, bytes of rows that the barrier has overtaken.
    pub in_flight_bytes: u64,
    /// Bytes of rows that were let in between the first barrier and the last.
    pub processed_bytes: u64,
    /// Whether the barrier has overtaken what the subtask held.
    pub is_unaligned: bool,
}

impl WrittenPart {
    /// What was written, for the manifest, and what is to be confirmed where it was written. How it was captured is not known here.
    pub fn of(written: WrittenSnapshots) -> (Self, ConfirmationTicket) {
        let part = Self {
            in_flight_bytes: written.in_flight_bytes,
            processed_bytes: 0,
            is_unaligned: false,
            parts: written.parts,
            written_bytes: written.written_bytes,
            state_bytes: written.state_bytes,
            in_memory_bytes: written.in_memory_bytes,
        };
        (part, written.ticket)
    }

    /// What is shown of it.
    pub fn sizes(&self) -> PartSizes {
        PartSizes {
            state_bytes: self.state_bytes,
            persisted_bytes: self.in_flight_bytes,
            processed_bytes: self.processed_bytes,
            is_unaligned: self.is_unaligned,
        }
    }
}

/// How runs are written.
pub fn run_mode(incremental: bool) -> RunMode {
    match incremental {
        true => RunMode::Incremental,
        false => RunMode::Full,
    }
}
