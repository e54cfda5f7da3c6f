//! A job of this process, as its program sees it.

use crate::local::process::wait_on;
use flott_cluster::JobHandle;
use flott_core::JobStatus;
use flott_datastream::{AfterSavepoint, ExecuteError, JobExecutionResult, RunningJob};
use flott_launch::stop;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;

/// Where jobs run: in this process, or in the cluster of a test.
pub trait JobHost: Send + Sync {
    /// What drives them.
    fn runtime(&self) -> &Handle;

    /// A job has ended, or it gives no savepoint, perhaps because it is ending: that is about to be told.
    fn job_ended(&self) {}
}

/// A job of this process.
pub struct LocalJob {
    handle: JobHandle,
    started: Instant,
    host: Arc<dyn JobHost>,
}

impl std::fmt::Debug for LocalJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalJob")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

impl LocalJob {
    /// A job that was just submitted.
    pub fn new(handle: JobHandle, host: Arc<dyn JobHost>) -> Self {
        Self {
            handle,
            started: Instant::now(),
            host,
        }
    }

    fn error(&self, status: JobStatus) -> ExecuteError {
        let cause = self.handle.stats.failure();
        let cause = cause.unwrap_or_else(|| "no cause was told".to_owned());
        ExecuteError::Job(format!("job '{}' is {status}: {cause}", self.handle.name))
    }
}

impl RunningJob for LocalJob {
    fn job_id(&self) -> String {
        self.handle.job_id.to_string()
    }

    fn status(&self) -> JobStatus {
        let status = self.handle.status();
        if status.is_globally_terminal_state() {
            self.host.job_ended();
        }
        status
    }

    fn cancel(&self) -> Result<(), ExecuteError> {
        let cancelled = wait_on(self.host.runtime(), || stop::cancel(&self.handle));
        self.host.job_ended();
        cancelled.map_err(|e| ExecuteError::Job(e.to_string()))
    }

    fn savepoint(&self, directory: Option<&str>, after: AfterSavepoint) -> Result<String, ExecuteError> {
        let job = &self.handle;
        let taken = wait_on(self.host.runtime(), || async {
            job.running().await;
            let directory = directory.map(str::to_owned);
            let taken = match after {
                AfterSavepoint::Continue => return job.savepoint(directory, false).await,
                AfterSavepoint::Stop => job.savepoint(directory, true).await,
                AfterSavepoint::Drain => job.drain(directory).await,
            };
            if taken.is_ok() {
                job.ended().await;
            }
            taken
        });
        if after != AfterSavepoint::Continue || taken.is_err() {
            self.host.job_ended();
        }
        taken.map_err(|reason| ExecuteError::Job(format!("job '{}' has no savepoint: {reason}", job.name)))
    }

    fn wait(&self) -> Result<JobExecutionResult, ExecuteError> {
        let status = wait_on(self.host.runtime(), || self.handle.ended());
        self.host.job_ended();
        match status {
            JobStatus::Finished => Ok(JobExecutionResult {
                job_id: self.job_id(),
                net_runtime: self.started.elapsed(),
            }),
            status => Err(self.error(status)),
        }
    }
}
