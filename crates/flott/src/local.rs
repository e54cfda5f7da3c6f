//! Programs run in their own process: JobManager and TaskManagers are threads of it.
//!
//! A job starts from `execution.state-recovery.path`: a checkpoint or savepoint, or `latest`.

use flott_cluster::{JobStatus, Restore, Submission, submit};
use flott_core::Options;
use flott_core::clock::SystemClock;
use flott_datastream::{ExecuteError, Executor, JobExecutionResult, Program, StreamExecutionEnvironment};
use flott_plan::Plan;
use flott_runtime::Registry;
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
        let (plan, registry) = program.into_parts(crate::registry());
        // A program may itself run on a thread of an asynchronous runtime, where none may be waited for.
        let run = || run(plan, Arc::new(registry));
        std::thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Runs a job on an asynchronous runtime of its own.
fn run(plan: Plan, registry: Arc<Registry>) -> Result<JobExecutionResult, ExecuteError> {
    let started = Instant::now();
    let name = plan.name.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| ExecuteError::Job(format!("the asynchronous runtime cannot be started: {e}")))?;
    let options = &plan.options;
    let path = options.get("execution.state-recovery.path");
    let restore = Restore::from_path(path.or_else(|| options.get("execution.savepoint.path")));
    let boolean = |key: &str| options.boolean(key).map_err(|e| ExecuteError::Job(e.to_string()));
    let allow_non_restored_state = match boolean("execution.state-recovery.ignore-unclaimed-state")? {
        Some(allow) => allow,
        None => boolean("execution.savepoint.ignore-unclaimed-state")?.unwrap_or(false),
    };
    let submission = Submission {
        plan,
        restore,
        allow_non_restored_state,
    };
    let ended: Result<_, ExecuteError> = runtime.block_on(async {
        let handle = submit(registry, Arc::new(SystemClock), submission)
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
