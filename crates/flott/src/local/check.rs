//! Whether a program's job could start from a checkpoint or savepoint, said before a deployment.

use crate::local::process::Process;
use flott_cluster::{RestoreCheck, check_restore};
use flott_core::Options;
use flott_core::clock::SystemClock;
use flott_datastream::{ExecuteError, StreamExecutionEnvironment};
use flott_plan::Plan;
use flott_runtime::Registry;
use std::sync::Arc;

/// Tries to start a job from the state at `path`.
fn check(plan: Plan, registry: Registry, path: &str) -> Result<RestoreCheck, ExecuteError> {
    let process = Process::get()?;
    let checked = process.wait(|| check_restore(Arc::new(registry), Arc::new(SystemClock), plan, path));
    checked.map_err(|e| ExecuteError::Job(e.to_string()))
}

/// Says whether a job could start from the state at `path`; gives the code with which the process ends.
pub(super) fn report(plan: Plan, registry: Registry, path: &str) -> i32 {
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

/// Whether the job may leave state behind.
pub(super) fn allows_non_restored_state(options: &Options) -> Result<bool, ExecuteError> {
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
