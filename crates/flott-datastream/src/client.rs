//! A job that runs beside its program: [`JobClient`].

use crate::environment::{ExecuteError, JobExecutionResult};
use flott_core::JobStatus;
use std::fmt;
use std::sync::Arc;

/// What an [`Executor`](crate::Executor) lets do with a job of its. All calls wait until what they ask for has happened.
pub trait RunningJob: Send + Sync {
    /// Its id.
    fn job_id(&self) -> String;

    /// What it is now.
    fn status(&self) -> JobStatus;

    /// Ends it as it is.
    ///
    /// # Errors
    /// If it hangs.
    fn cancel(&self) -> Result<(), ExecuteError>;

    /// Takes a savepoint below `directory`, or where the options say, as soon as the job runs; its path.
    ///
    /// # Errors
    /// If it was not taken, or the job did not stop behind it.
    fn savepoint(&self, directory: Option<&str>, after: AfterSavepoint) -> Result<String, ExecuteError>;

    /// Waits for its end.
    ///
    /// # Errors
    /// If it fails or was cancelled.
    fn wait(&self) -> Result<JobExecutionResult, ExecuteError>;
}

/// What becomes of a job whose savepoint is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterSavepoint {
    /// It goes on.
    Continue,
    /// It ends.
    Stop,
    /// It ends, and before the savepoint event time has come to its end.
    Drain,
}

/// A job that was started by [`StreamExecutionEnvironment::execute_async`](crate::StreamExecutionEnvironment::execute_async) and runs beside
/// the program. It runs on when this is dropped, and ends with its process.
///
/// ```
/// use flott::prelude::*;
///
/// # let folder = std::env::temp_dir().join(format!("flott-client-{}", std::process::id()));
/// # let savepoints = format!("file://{}", folder.display());
/// let env = StreamExecutionEnvironment::get_execution_environment();
/// env.from_sequence(1, i64::MAX).key_by(|n| n % 3).reduce(|a, b| a + b).uid("sums").for_each(|_| ());
/// let job = env.execute_async("sums")?;
/// println!("{} is {:?}", job.get_job_id(), job.get_job_status());
/// let savepoint = job.stop_with_savepoint(false, Some(savepoints.as_str()))?;
/// println!("started with --from-savepoint {savepoint}, it goes on from there");
/// assert_eq!(job.get_job_status(), JobStatus::Finished);
/// # std::fs::remove_dir_all(folder).unwrap();
/// # Ok::<(), ExecuteError>(())
/// ```
#[derive(Clone)]
pub struct JobClient(Arc<dyn RunningJob>);

impl fmt::Debug for JobClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobClient")
            .field("job_id", &self.get_job_id())
            .field("status", &self.get_job_status())
            .finish()
    }
}

impl JobClient {
    /// The client of a job.
    pub fn new(job: impl RunningJob + 'static) -> Self {
        Self(Arc::new(job))
    }

    /// The job's id.
    pub fn get_job_id(&self) -> String {
        self.0.job_id()
    }

    /// What the job is now.
    pub fn get_job_status(&self) -> JobStatus {
        self.0.status()
    }

    /// Ends the job as it is, without a last checkpoint, and waits until it has ended.
    ///
    /// # Errors
    /// If it hangs.
    pub fn cancel(&self) -> Result<(), ExecuteError> {
        self.0.cancel()
    }

    /// Takes a savepoint below `savepoint_directory` (without one below `execution.checkpointing.savepoint-dir`), ends the job behind it, and
    /// gives its path. With `advance_to_end_of_event_time` (Flink's `--drain`) all windows and timers of event time fire before: for
    /// a job that does not go on from there. A job that is not running yet is waited for.
    ///
    /// # Errors
    /// If it was not taken, or the job has ended otherwise.
    pub fn stop_with_savepoint(
        &self,
        advance_to_end_of_event_time: bool,
        savepoint_directory: Option<&str>,
    ) -> Result<String, ExecuteError> {
        let after = match advance_to_end_of_event_time {
            true => AfterSavepoint::Drain,
            false => AfterSavepoint::Stop,
        };
        self.0.savepoint(savepoint_directory, after)
    }

    /// Takes a savepoint of the job, which runs on, and gives its path. Where it goes, and when it is taken: [`Self::stop_with_savepoint`].
    ///
    /// # Errors
    /// If it was not taken.
    pub fn trigger_savepoint(&self, savepoint_directory: Option<&str>) -> Result<String, ExecuteError> {
        self.0.savepoint(savepoint_directory, AfterSavepoint::Continue)
    }

    /// Waits for the job's end.
    ///
    /// # Errors
    /// If it fails or was cancelled.
    pub fn get_job_execution_result(&self) -> Result<JobExecutionResult, ExecuteError> {
        self.0.wait()
    }
}
