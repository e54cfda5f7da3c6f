//! An application: a JobManager that runs one job and ends with it.
//!
//! ```text
//!                ┌─ nothing is kept of the job ──► submitted ────┐
//!  start ────────┼─ it has not ended ────────────► taken over ───┼──► its end
//!                └─ it has ended ────────────────────────────────┘
//! ```
//! The job has an id that is known before it is submitted, so that under high availability a JobManager that starts again finds what became of
//! it, and submits it once. Without that, each start of the JobManager is a new one of the job.

use super::{Dispatcher, is_of_process};
use crate::error::ClusterError;
use crate::submit::{JobHandle, Origin, Submission};
use crate::timer;
use flott_core::{Fingerprint, JobId, JobStatus};
use std::collections::BTreeSet;
use std::future::pending;
use std::time::Duration;

/// Between two looks for a job that could not be taken over yet.
const LOOK: Duration = Duration::from_millis(200);

/// The job of a cluster that lives with it.
#[derive(Debug, Clone)]
pub struct Application {
    /// Its id, the same whenever the cluster starts.
    pub job: JobId,
    /// What is submitted if nothing is kept of it.
    pub submission: Submission,
    /// The program that describes it, whose processes alone can run it; none: SQL.
    pub program: Option<Fingerprint>,
}

/// How an application has ended.
#[derive(Debug, Clone)]
pub struct ApplicationEnd {
    /// The job.
    pub job: JobId,
    /// Its name.
    pub name: String,
    /// How it has ended.
    pub status: JobStatus,
    /// Why, where it has failed and this process has seen it.
    pub failure: Option<String>,
}

impl Dispatcher {
    /// Starts the job of the application, or goes on with it; `Some`: it had ended before.
    ///
    /// # Errors
    /// If it is refused, as by [`Self::submit`], another leads by now, or a program finds the job of another.
    pub async fn start_application(&self, application: &Application) -> Result<Option<ApplicationEnd>, ClusterError> {
        let kept = match &self.0.store {
            Some(store) => store.look(application.job).await?,
            None => None,
        };
        let Some(kept) = kept else {
            // Nothing runs that could be taken over.
            self.0.slots.await_attempts_of(BTreeSet::new());
            let submitted = self.submit_as(application.job, application.submission.clone()).await;
            return submitted.map(|_| None).map_err(refused);
        };
        if let Some(status) = kept.end {
            return Ok(Some(ApplicationEnd {
                job: application.job,
                name: kept.plan.name,
                status,
                failure: None,
            }));
        }
        let (found, described) = (kept.plan.fingerprint(), application.submission.plan.fingerprint());
        let goes_on = format!(
            "job {} '{}' is under way (high-availability.storageDir) with a graph of the fingerprint {found}",
            application.job, kept.plan.name
        );
        if application.program.is_some_and(|program| program != found) {
            return Err(ClusterError::Refused(format!(
                "{goes_on}, and this program describes another one, {described}: start the program that it was begun with, or begin anew under another \
                 high-availability.cluster-id, from a savepoint or checkpoint"
            )));
        }
        if found != described {
            tracing::warn!(
                "{goes_on}, and goes on with it: the script has changed since ({described}), which counts under another high-availability.cluster-id"
            );
        }
        self.take_over().await?;
        Ok(None)
    }

    async fn submit_as(&self, job: JobId, mut submission: Submission) -> Result<JobHandle, ClusterError> {
        let options = submission.plan.options.iter();
        // They were read with the process's own.
        submission.plan.options = options.filter(|(key, _)| !is_of_process(key)).collect();
        self.add_options(&mut submission);
        let kept = self.0.store.as_ref().map(|store| (store, submission.clone()));
        let accepted = self.accept(submission, Origin::SubmittedAs(job), None).await?;
        let record = match kept {
            Some((store, submission)) => Some(store.put_once(job, &submission, None).await?),
            None => None,
        };
        self.launch(accepted, record)
    }

    /// Waits for the end of a job that was started; `seen` gets its handle, as soon as there is one. Goes on waiting where another JobManager
    /// has taken the job. Cancel-safe.
    ///
    /// # Errors
    /// If its log cannot be read.
    pub async fn application_ended(
        &self,
        job: JobId,
        seen: impl Fn(&JobHandle),
    ) -> Result<ApplicationEnd, ClusterError> {
        let handle = loop {
            // One that cannot be taken over yet is tried again by others.
            if let Some(handle) = self.job(job) {
                break handle;
            }
            timer::sleep(LOOK).await;
            // It may have ended under the leader before, or was given up.
            if let Some((name, status)) = self.kept_end(job).await? {
                return Ok(ApplicationEnd {
                    job,
                    name,
                    status,
                    failure: None,
                });
            }
        };
        seen(&handle);
        let mut status = handle.ended().await;
        if !status.is_globally_terminal_state() {
            pending::<()>().await;
        }
        if self.0.store.is_some() {
            // What is kept is true: another leader may have gone on with it, whatever became of it here.
            status = match self.kept_end(job).await? {
                Some((_, kept)) => kept,
                None => pending().await,
            };
        }
        Ok(ApplicationEnd {
            job,
            name: handle.name.clone(),
            status,
            failure: handle.stats.failure().filter(|_| status == JobStatus::Failed),
        })
    }

    /// How a job has ended by what is kept of it, with its name.
    async fn kept_end(&self, job: JobId) -> Result<Option<(String, JobStatus)>, ClusterError> {
        let Some(store) = &self.0.store else {
            return Ok(None);
        };
        let kept = store.look(job).await?;
        Ok(kept.and_then(|kept| Some((kept.plan.name, kept.end?))))
    }
}

/// What no leader could start: a state that is not there, or what a factory refuses.
fn refused(error: ClusterError) -> ClusterError {
    let is_final = match &error {
        ClusterError::Checkpoint(cause) => cause.is_not_found(),
        ClusterError::Task(cause) => !cause.is_retryable(),
        _ => false,
    };
    match is_final {
        true => ClusterError::Refused(error.to_string()),
        false => error,
    }
}
