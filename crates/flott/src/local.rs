//! Programs run in their own process: JobManager and TaskManagers are threads of it.
//!
//! A job starts from `execution.state-recovery.path`: a checkpoint or savepoint, or `latest`.

use flott_cluster::{JobStatus, Restore, Submission, submit};
use flott_core::Options;
use flott_core::clock::SystemClock;
use flott_datastream::{ExecuteError, Executor, JobExecutionResult, Program, StreamExecutionEnvironment};
use std::sync::Arc;
use std::time::Instant;

/// Runs a program's jobs in this process.
#[derive(Debug, Default, Clone)]
pub struct LocalExecutor {
    /// The options that programs start from.
    pub options: Options,
}

impl Executor for LocalExecutor {
    fn options(&self) -> Result<Options, ExecuteError> {
        Ok(self.options.clone())
    }

    fn execute(&self, program: Program) -> Result<JobExecutionResult, ExecuteError> {
        let started = Instant::now();
        let (plan, registry) = program.into_parts(crate::registry());
        let name = plan.name.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|e| ExecuteError::Job(format!("the asynchronous runtime cannot be started: {e}")))?;
        let option = |key: &str, old: &str| {
            plan.options
                .get(key)
                .or_else(|| plan.options.get(old))
                .map(str::to_owned)
        };
        let restore = match option("execution.state-recovery.path", "execution.savepoint.path").as_deref() {
            None => Restore::Fresh,
            Some("latest") => Restore::Latest,
            Some(path) => Restore::Path(path.to_owned()),
        };
        let ignored = option(
            "execution.state-recovery.ignore-unclaimed-state",
            "execution.savepoint.ignore-unclaimed-state",
        );
        let submission = Submission {
            plan,
            restore,
            allow_non_restored_state: ignored.is_some_and(|ignored| ignored.eq_ignore_ascii_case("true")),
        };
        let ended: Result<_, ExecuteError> = runtime.block_on(async {
            let handle = submit(Arc::new(registry), Arc::new(SystemClock), submission)
                .await
                .map_err(|e| ExecuteError::Job(e.to_string()))?;
            Ok((handle.ended().await, handle))
        });
        runtime.shutdown_background();
        let (status, handle) = ended?;
        match status {
            JobStatus::Finished => Ok(JobExecutionResult {
                job_id: handle.job_id.to_string(),
                net_runtime: started.elapsed(),
            }),
            status => {
                let cause = handle.stats.failure().unwrap_or_else(|| "no cause was told".to_owned());
                Err(ExecuteError::Job(format!("job '{name}' is {status}: {cause}")))
            }
        }
    }
}

/// Gives programs their environment.
pub trait GetExecutionEnvironment {
    /// The environment of this process: jobs run in it.
    fn get_execution_environment() -> Self;

    /// The same with options to start from, by Flink's names.
    fn create_local_environment(options: Options) -> Self;
}

impl GetExecutionEnvironment for StreamExecutionEnvironment {
    fn get_execution_environment() -> Self {
        Self::create_local_environment(Options::new())
    }

    fn create_local_environment(options: Options) -> Self {
        Self::new(LocalExecutor { options })
    }
}
