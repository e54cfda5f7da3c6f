//! The life of a job as others see it: [`JobStatus`], which a cluster sets and a program asks.

use std::fmt;

/// Flink's statuses of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// Accepted; being prepared.
    Created,
    /// Its tasks run.
    Running,
    /// A task failed; the others are being ended.
    Failing,
    /// Waits for the next attempt.
    Restarting,
    /// Being ended on request.
    Cancelling,
    /// Ended on request.
    Canceled,
    /// All input was processed and committed, or the job was stopped with its state saved.
    Finished,
    /// Ended by a failure.
    Failed,
}

impl JobStatus {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Created,
        Self::Running,
        Self::Failing,
        Self::Restarting,
        Self::Cancelling,
        Self::Canceled,
        Self::Finished,
        Self::Failed,
    ];

    /// Whether nothing follows.
    pub fn is_globally_terminal_state(self) -> bool {
        matches!(self, Self::Canceled | Self::Finished | Self::Failed)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "CREATED",
            Self::Running => "RUNNING",
            Self::Failing => "FAILING",
            Self::Restarting => "RESTARTING",
            Self::Cancelling => "CANCELLING",
            Self::Canceled => "CANCELED",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
        })
    }
}
