//! Programs run in their own process: JobManager and TaskManagers are threads of it.
//!
//! A job starts from `execution.state-recovery.path`: a checkpoint or savepoint, or `latest`. Whether it could, is said before a deployment by
//! [`CheckState`], or by the program itself, started with `--check-state PATH`.

use flott_cluster::{JobStatus, Restore, RestoreCheck, Submission, check_restore, submit};
use flott_core::Options;
use flott_core::clock::SystemClock;
use flott_datastream::{ExecuteError, Executor, JobExecutionResult, Program, StreamExecutionEnvironment};
use flott_plan::Plan;
use flott_runtime::Registry;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;

/// Runs a program's jobs in this process.
#[derive(Debug, Default, Clone)]
pub struct LocalExecutor {
    /// The options that programs start from.
    pub options: Options,
    /// Instead of being run, the first job is tried with the state at this path, and the process ends: with 0, if it could start.
    pub check_state: Option<String>,
}

impl Executor for LocalExecutor {
    fn options(&self) -> Result<Options, ExecuteError> {
        Ok(self.options.clone())
    }

    fn execute(&self, program: Program) -> Result<JobExecutionResult, ExecuteError> {
        let (plan, registry) = program.into_parts(crate::registry());
        if let Some(path) = &self.check_state {
            std::process::exit(report(plan, registry, path));
        }
        beside(|| run(plan, Arc::new(registry)))
    }
}

/// Runs `code` on a thread of its own: a program may itself run on one of an asynchronous runtime, where nothing may be waited for.
fn beside<R: Send>(code: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| scope.spawn(code).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn asynchronous() -> Result<Runtime, ExecuteError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let built = builder.worker_threads(2).enable_all().build();
    built.map_err(|e| ExecuteError::Job(format!("the asynchronous runtime cannot be started: {e}")))
}

/// Tries to start a job from the state at `path`.
fn check(plan: Plan, registry: Registry, path: &str) -> Result<RestoreCheck, ExecuteError> {
    beside(|| {
        let runtime = asynchronous()?;
        let checked = runtime.block_on(check_restore(Arc::new(registry), Arc::new(SystemClock), plan, path));
        runtime.shutdown_background();
        checked.map_err(|e| ExecuteError::Job(e.to_string()))
    })
}

/// Says whether a job could start from the state at `path`; gives the code with which the process ends.
fn report(plan: Plan, registry: Registry, path: &str) -> i32 {
    let name = plan.name.clone();
    let checked =
        allows_non_restored_state(&plan.options).and_then(|allows| Ok((check(plan, registry, path)?, allows)));
    match checked {
        Ok((checked, allows)) => {
            println!("'{name}' {checked}");
            let misfits = checked.misfits(allows);
            if misfits > 0 {
                eprintln!("the job cannot start from this state: {misfits} operator(s) do not fit");
            }
            i32::from(misfits > 0)
        }
        Err(error) => {
            eprintln!("'{name}' cannot be checked: {error}");
            1
        }
    }
}

/// The path that a program is told to check: behind `--check-state` or `--check-state=`, else `variable` (`FLOTT_CHECK_STATE`).
fn path_to_check(mut arguments: impl Iterator<Item = String>, variable: Option<String>) -> Option<String> {
    let asked = arguments.find_map(|argument| match argument.strip_prefix("--check-state") {
        Some("") => Some(None),
        Some(path) => path.strip_prefix('=').map(|path| Some(path.to_owned())),
        None => None,
    });
    match asked {
        Some(Some(path)) => Some(path),
        Some(None) => Some(arguments.next().unwrap_or_default()),
        None => variable,
    }
}

/// Whether the job may leave state behind.
fn allows_non_restored_state(options: &Options) -> Result<bool, ExecuteError> {
    let boolean = |key: &str| options.boolean(key).map_err(|e| ExecuteError::Job(e.to_string()));
    match boolean("execution.state-recovery.ignore-unclaimed-state")? {
        Some(allow) => Ok(allow),
        None => Ok(boolean("execution.savepoint.ignore-unclaimed-state")?.unwrap_or(false)),
    }
}

/// Says before a deployment whether a job of the program could start from a checkpoint or savepoint.
pub trait CheckState {
    /// Opens every operator of the job that the program has described since the last one with the state that it would get from `path`,
    /// on trial; nothing runs, and nothing outside is touched. What does not fit is in the answer ([`RestoreCheck::operators`]).
    ///
    /// ```no_run
    /// # use flott::prelude::*;
    /// # let env = StreamExecutionEnvironment::get_execution_environment();
    /// env.from_sequence(1, 9).key_by(|n| n % 2).reduce(|a, b| a + b).uid("sums").print();
    /// let checked = env.check_state("sums", "file:///savepoints/savepoint-1")?;
    /// println!("{checked}");
    /// assert_eq!(checked.misfits(false), 0);
    /// # Ok::<(), ExecuteError>(())
    /// ```
    ///
    /// # Errors
    /// If the program is no job, or there is no readable state.
    fn check_state(&self, job_name: &str, path: &str) -> Result<RestoreCheck, ExecuteError>;
}

impl CheckState for StreamExecutionEnvironment {
    fn check_state(&self, job_name: &str, path: &str) -> Result<RestoreCheck, ExecuteError> {
        let (plan, registry) = self.program(job_name)?.into_parts(crate::registry());
        check(plan, registry, path)
    }
}

/// Runs a job on an asynchronous runtime of its own.
fn run(plan: Plan, registry: Arc<Registry>) -> Result<JobExecutionResult, ExecuteError> {
    let started = Instant::now();
    let name = plan.name.clone();
    let runtime = asynchronous()?;
    let options = &plan.options;
    let path = options.get("execution.state-recovery.path");
    let restore = Restore::from_path(path.or_else(|| options.get("execution.savepoint.path")));
    let allow_non_restored_state = allows_non_restored_state(options)?;
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
    /// The environment of this process: jobs run in it. Of a program that was started with `--check-state PATH` (or with that path in the
    /// variable `FLOTT_CHECK_STATE`), the first job is not run but tried with the state at the path: what becomes of each operator is
    /// printed, and the process ends with 0 if the job could start, else with 1.
    fn get_execution_environment() -> Self;

    /// The same with options to start from, by Flink's names.
    fn create_local_environment(options: Options) -> Self;
}

impl GetExecutionEnvironment for StreamExecutionEnvironment {
    fn get_execution_environment() -> Self {
        let variable = std::env::var("FLOTT_CHECK_STATE").ok();
        Self::new(LocalExecutor {
            options: Options::new(),
            check_state: path_to_check(std::env::args().skip(1), variable),
        })
    }

    fn create_local_environment(options: Options) -> Self {
        let check_state = None;
        Self::new(LocalExecutor { options, check_state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_to_check_is_an_argument_or_a_variable() {
        let of = |arguments: &[&str], variable: Option<&str>| {
            let arguments = arguments.iter().map(|a| (*a).to_owned());
            path_to_check(arguments, variable.map(str::to_owned))
        };
        assert_eq!(of(&["run", "--check-state", "/p"], None).as_deref(), Some("/p"));
        assert_eq!(of(&["--check-state=/p", "x"], Some("/v")).as_deref(), Some("/p"));
        assert_eq!(of(&["--check-states", "x"], Some("/v")).as_deref(), Some("/v"));
        assert_eq!(
            of(&["--check-state"], None).as_deref(),
            Some(""),
            "it is refused by its name"
        );
        assert_eq!(of(&["x"], None), None);
    }
}
