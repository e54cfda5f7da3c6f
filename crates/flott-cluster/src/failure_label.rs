//! Whose business a failure is, for everything that ends an attempt: no entry of the exception history goes without a label.
//!
//! What a task, a connector or a store reports brings its label along, from its error ([`TaskError::label`]). What the job master finds out
//! itself has none of its own: [`Cause`] names it, and [`Cause::label`] is the one table of these. Flink has labels from enrichers
//! (FLIP-304), under the key `TYPE`; so do answers here.

use crate::job_state::Failure;
use crate::protocol::TaskFailure;
use flott_runtime::{FailureLabel, TaskError};

/// A failure that nobody reports with a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A TaskManager is gone, with the tasks that ran there.
    TaskManagerLost,
    /// There are too few slots, or none in time.
    SlotsMissing,
    /// Another JobManager runs the job.
    TakenOver,
    /// A checkpoint was not complete in its time: its barriers did not get through.
    CheckpointExpired,
    /// A user has told a task to fail.
    ToldToFail,
    /// Work beside the job master panicked.
    Panicked,
    /// All tasks ended, and none said why.
    EndedEarly,
}

impl Cause {
    /// Whose business it is.
    pub fn label(self) -> FailureLabel {
        match self {
            Self::TaskManagerLost | Self::TakenOver | Self::ToldToFail => FailureLabel::Infrastructure,
            Self::SlotsMissing | Self::CheckpointExpired => FailureLabel::Resources,
            Self::Panicked | Self::EndedEarly => FailureLabel::Internal,
        }
    }
}

impl Failure {
    /// A failure for which another attempt may help.
    pub(crate) fn of(cause: Cause, text: String) -> Self {
        Self {
            label: cause.label(),
            text,
            retryable: true,
        }
    }
}

impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Self {
        Self::from(TaskFailure::from(error))
    }
}

impl From<TaskFailure> for Failure {
    fn from(failure: TaskFailure) -> Self {
        let TaskFailure { label, text, retryable } = failure;
        Self { label, text, retryable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClusterError;
    use flott_checkpoint::CheckpointError;
    use flott_runtime::connector::ConnectorError;

    #[test]
    fn every_cause_has_its_label() {
        use FailureLabel::{Infrastructure, Internal, Resources};
        for (cause, label) in [
            (Cause::TaskManagerLost, Infrastructure),
            (Cause::SlotsMissing, Resources),
            (Cause::TakenOver, Infrastructure),
            (Cause::CheckpointExpired, Resources),
            (Cause::ToldToFail, Infrastructure),
            (Cause::Panicked, Internal),
            (Cause::EndedEarly, Internal),
        ] {
            let failure = Failure::of(cause, "boom".into());
            assert_eq!((failure.label, failure.retryable), (label, true), "{cause:?}");
        }
    }

    /// What keeps an attempt from being prepared.
    #[test]
    fn every_error_of_a_preparation_has_its_label() {
        use FailureLabel::{Infrastructure, Resources, User};
        let connector = |error| ClusterError::Task(TaskError::from(error));
        let (message, source) = ("no answer".to_owned(), None);
        let unreachable = ConnectorError::Transient { message, source };
        let (message, source) = ("no such topic".to_owned(), None);
        let missing = ConnectorError::Fatal { message, source };
        let (path, problem) = ("/chk-1".to_owned(), "it is cut".to_owned());
        let damaged = CheckpointError::DamagedFile { path, problem };
        let (path, problem) = ("/chk-1".to_owned(), "no manifest".to_owned());
        let not_found = CheckpointError::NotFound { path, problem };
        for (error, label, retryable) in [
            (ClusterError::Resources("no slots".into()), Resources, true),
            (ClusterError::Connection("no answer".into()), Infrastructure, false),
            (ClusterError::Restore("another operator".into()), User, false),
            (connector(unreachable), Infrastructure, true),
            (connector(missing), User, false),
            (ClusterError::Checkpoint(damaged), Infrastructure, true),
            (ClusterError::Checkpoint(not_found), User, true),
        ] {
            let failure = Failure::from(TaskError::from(error));
            assert_eq!((failure.label, failure.retryable), (label, retryable), "{failure:?}");
        }
    }
}
