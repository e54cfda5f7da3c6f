//! What the log says of a job in Flink's words, because tools and people look for them. The ids stand in fields of their own, too.

use crate::coordinator::CheckpointKind;
use crate::history::FailedTask;
use flott_core::{CheckpointId, JobId, JobStatus};

/// The log of one job.
#[derive(Debug)]
pub(crate) struct JobLog {
    job: JobId,
    name: String,
}

impl JobLog {
    /// Of a job with its `pipeline.name`.
    pub(crate) fn new(job: JobId, name: &str) -> Self {
        let name = name.to_owned();
        Self { job, name }
    }

    pub(crate) fn switched(&self, from: JobStatus, to: JobStatus) {
        let (job, name) = (self.job, &self.name);
        tracing::info!(%job, status = %to, "Job {name} ({job}) switched from state {from} to {to}.");
    }

    pub(crate) fn restarting(&self, delay_ms: i64, cause: &str) {
        let job = self.job;
        tracing::info!(%job, delay_ms, cause, "Restarting job {job}.");
    }

    pub(crate) fn triggering(&self, checkpoint: CheckpointId, kind: &CheckpointKind, now_ms: i64) {
        let job = self.job;
        let sort = match kind {
            CheckpointKind::Savepoint { .. } => "Savepoint",
            CheckpointKind::Periodic | CheckpointKind::Stop | CheckpointKind::Final | CheckpointKind::Rescale => {
                "Checkpoint"
            }
        };
        if sort == "Savepoint" {
            tracing::info!(%job, checkpoint, "Triggering savepoint for job {job}.");
        }
        tracing::info!(%job, checkpoint, "Triggering checkpoint {checkpoint} (type={sort}) @ {now_ms} for job {job}.");
    }

    pub(crate) fn checkpoint_failed(&self, checkpoint: CheckpointId, reason: &str) {
        let job = self.job;
        tracing::warn!(%job, checkpoint, reason, "Failed to trigger or complete checkpoint {checkpoint} for job {job}.");
    }

    /// `task` is its vertex with its number, from 1, and theirs: `Calc (2/4)`.
    pub(crate) fn task_failed(&self, task: &str, failed: &FailedTask, cause: &str) {
        let (job, subtask) = (self.job, failed.subtask.1);
        let at = failed
            .at
            .as_ref()
            .map(|at| format!(" on {} @ {}", at.id, at.endpoint()));
        let at = at.unwrap_or_default();
        tracing::info!(%job, task, subtask, cause, "{task} switched from RUNNING to FAILED{at}.");
    }
}
