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
use flott_checkpoint::{OperatorManifest, OperatorPart, Root, SubtaskRestore};
use flott_core::{CheckpointId, Generation, JobId, OperatorId};
use flott_plan::{NodeId, Plan};
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

/// The part of an attempt that one TaskManager runs.
#[derive(Serialize, Deserialize)]
pub struct Deployment {
    /// The attempt.
    pub id: AttemptId,
    /// The plan, fitted to the state that the job started from.
    pub plan: Arc<Plan>,
    /// All TaskManagers of the attempt.
    pub peers: Vec<Peer>,
    /// Which of them this is for.
    pub here: usize,
    /// Of every subtask, by vertex and index, which of the TaskManagers runs it.
    pub placement: Vec<Vec<usize>>,
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
}

impl WrittenPart {
    /// What was written, for the manifest, and what is to be confirmed where it was written.
    pub fn of(written: WrittenSnapshots) -> (Self, ConfirmationTicket) {
        let part = Self {
            parts: written.parts,
            written_bytes: written.written_bytes,
            state_bytes: written.state_bytes,
            in_memory_bytes: written.in_memory_bytes,
        };
        (part, written.ticket)
    }
}

/// How runs are written.
pub fn run_mode(incremental: bool) -> RunMode {
    match incremental {
        true => RunMode::Incremental,
        false => RunMode::Full,
    }
}
