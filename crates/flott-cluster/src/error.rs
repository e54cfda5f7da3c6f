//! Why a job could not be started, or how it ended.

use crate::failure_label::Cause;
use flott_checkpoint::CheckpointError;
use flott_core::options::OptionError;
use flott_plan::PlanError;
use flott_runtime::{FailureLabel, TaskError};

/// A job cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// An option of the job is wrong.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The plan is wrong.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A node cannot be made, or something outside refuses.
    #[error("{}", .0.full_text())]
    Task(#[from] TaskError),
    /// Checkpoints cannot be kept or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The state does not fit the job.
    #[error("{0}")]
    Restore(String),
    /// Another process of the cluster cannot be reached or understood, or a port not listened at.
    #[error("{0}")]
    Connection(String),
    /// Somebody asks for what this cluster is not for.
    #[error("{0}")]
    Refused(String),
    /// The process is of no use any more.
    #[error("fatal error, this process ends: {0}")]
    Fatal(String),
    /// There is no slot for a subtask, or another limit.
    #[error("{0}")]
    Resources(String),
}

impl From<ClusterError> for TaskError {
    fn from(e: ClusterError) -> Self {
        match e {
            ClusterError::Task(task) => task,
            // To go on would be to end what the other leader has begun outside.
            ClusterError::Checkpoint(cause) if cause.is_fenced() => {
                Self::caused(Cause::TakenOver.label(), "another job has taken over", cause).fatal()
            }
            ClusterError::Checkpoint(cause) => Self::caused((&cause).into(), "checkpoint storage", cause),
            ClusterError::Resources(text) => Self::new(Cause::SlotsMissing.label(), text),
            ClusterError::Connection(text) => Self::new(FailureLabel::Infrastructure, text).fatal(),
            other => Self::new(FailureLabel::User, other.to_string()).fatal(),
        }
    }
}
