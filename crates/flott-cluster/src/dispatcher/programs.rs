//! Jobs of programs: a process of the program describes them, and is asked for their ends as long as they run.

use super::Dispatcher;
use crate::error::ClusterError;
use crate::high_availability::jobs::TakenOver;
use crate::program::{Coordinator, ProgramSpec};
use crate::submit::{JobHandle, Origin, Submission, new_id};
use flott_core::options::OptionError;
use flott_core::{JobId, Options};
use flott_plan::Plan;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a program's `main` may take, as in Flink.
const CLIENT_TIMEOUT: &str = "client.timeout";
const CLIENT_TIMEOUT_MS: i64 = 60_000;

/// A program whose `main` has run up to `execute`. Dropping it ends its process.
#[derive(Debug)]
pub struct DescribedProgram {
    /// The job that it executes first.
    pub plan: Plan,
    coordinator: Arc<Coordinator>,
}

impl Dispatcher {
    /// Has a program describe its job: runs the file with these arguments, in an environment that begins with `options`.
    ///
    /// # Errors
    /// If it cannot be run, or its `main` fails or ends without a job; the text has what it said last.
    pub async fn describe_program(
        &self,
        file: &Path,
        name: &str,
        arguments: Vec<String>,
        options: Options,
    ) -> Result<DescribedProgram, ClusterError> {
        self.check_takes_jobs()?;
        let patience = patience(&options)?;
        let (dispatcher, from) = (self.clone(), file.to_owned());
        let keeping = tokio::task::spawn_blocking(move || dispatcher.0.programs.keep(&from));
        let kept = keeping.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let (digest, bytes, kept) = kept.map_err(|error| {
            ClusterError::Resources(format!(
                "the program '{name}' cannot be kept in the folder for temporary files (web.tmpdir): {error}"
            ))
        })?;
        let program = ProgramSpec {
            name: name.to_owned(),
            digest,
            bytes,
            arguments,
            options,
        };
        let coordinator = Arc::new(Coordinator::new(program, kept, patience));
        let plan = coordinator.describe().await?;
        Ok(DescribedProgram { plan, coordinator })
    }

    /// Takes the job of a program, under an id that the client has chosen if it has. `submission` has its plan.
    ///
    /// # Errors
    /// As [`Self::submit`] and [`Self::submit_under`].
    pub async fn submit_program(
        &self,
        job: Option<JobId>,
        submission: Submission,
        program: DescribedProgram,
    ) -> Result<JobHandle, ClusterError> {
        let coordinator = program.coordinator;
        match job {
            Some(job) => {
                let _reserved = self.reserve(job).await?;
                self.submit_by(Origin::SubmittedAs(job), submission, Some(coordinator))
                    .await
            }
            None => {
                let job = new_id(&submission.plan, &self.0.clock);
                self.submit_by(Origin::SubmittedAs(job), submission, Some(coordinator))
                    .await
            }
        }
    }

    /// The program of a job that an earlier leader has left.
    ///
    /// # Errors
    /// If its file cannot be had.
    pub(super) async fn recovered_program(&self, job: &TakenOver) -> Result<Option<Arc<Coordinator>>, ClusterError> {
        let Some(program) = job.program.clone() else {
            return Ok(None);
        };
        let file = match self.0.programs.find(&program.digest) {
            Some(file) => file,
            None => job.record.fetch_program(&program, &self.0.programs).await?,
        };
        let patience = patience(&program.options)?;
        let coordinator = Coordinator::new(program, file, patience);
        coordinator.must_describe(&job.submission.plan);
        let lessee = coordinator.lessee(&job.submission.plan);
        self.0.slots.begin_lending(job.record.job(), lessee);
        Ok(Some(Arc::new(coordinator)))
    }

    /// Ends what was lent for a job of a program with the job.
    pub(super) fn end_lending_with(&self, job: &JobHandle) {
        let (slots, job) = (self.0.slots.clone(), job.clone());
        tokio::spawn(async move {
            job.ended().await;
            slots.end_lending(job.job_id);
        });
    }
}

fn patience(options: &Options) -> Result<Duration, OptionError> {
    let ms = options.duration_ms(CLIENT_TIMEOUT)?.unwrap_or(CLIENT_TIMEOUT_MS);
    Ok(Duration::from_millis(ms.max(1) as u64))
}
