//! A process of the program in a session cluster: it was started by a JobManager, to describe the job and be asked for its ends, or by a
//! TaskManager, for slots that it is lent. What it is, it is told before `main` has an environment; it ends in `execute`, or when who has started it
//! does.

use crate::local::cluster::check;
use crate::local::process::Process;
use flott_cluster::program::{Assigned, Assignment, serve};
use flott_core::Options;
use flott_datastream::ExecuteError;
use flott_launch::LaunchError;
use flott_launch::cluster::run_task_manager;
use flott_launch::logging;
use flott_launch::stop::say;
use flott_plan::Plan;
use flott_runtime::Registry;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncReadExt;

/// What this process was told, once.
static TOLD: Mutex<Option<Told>> = Mutex::new(None);

struct Told {
    options: Options,
    /// Until it does that.
    assigned: Option<Assigned>,
}

/// Whether this is such a process.
pub(super) fn is_one() -> bool {
    Assigned::is_to_be_told()
}

/// Options that the environment of such a process begins with.
///
/// # Errors
/// If it cannot be known what the process is.
pub(super) fn options() -> Result<Options, ExecuteError> {
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(told) = &*told {
        return Ok(told.options.clone());
    }
    let heard = Process::get()?.wait(Assigned::hear);
    let heard = heard.map_err(|error| ExecuteError::Configuration(error.to_string()))?;
    let heard = Told {
        options: heard.assignment.options().clone(),
        assigned: Some(heard),
    };
    Ok(told.insert(heard).options.clone())
}

/// Does what the process is there for, for the job of `plan`, and ends it with that.
///
/// # Errors
/// If the job cannot run in a cluster.
pub(super) fn run(process: &Process, plan: Plan, registry: Registry) -> Result<Infallible, ExecuteError> {
    check(&plan)?;
    options()?;
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let assigned = told.as_mut().and_then(|told| told.assigned.take());
    drop(told);
    let Some(Assigned { assignment, mut stream }) = assigned else {
        // Another thread of the program has executed a job before, with which the process ends.
        loop {
            std::thread::park();
        }
    };
    let registry = Arc::new(registry);
    let ended = process.wait(|| async move {
        match assignment {
            Assignment::Coordinator { .. } => {
                logging::init();
                Ok(serve(stream, plan, registry).await?)
            }
            Assignment::TaskManager { process, lease, .. } => {
                let program = Some(plan.fingerprint());
                tokio::select! {
                    ended = run_task_manager(&process, registry, program, Some(lease)) => ended,
                    // It says nothing; who has lent the slots has ended.
                    _ = stream.read_u8() => Ok::<(), LaunchError>(()),
                }
            }
        }
    });
    if let Err(error) = &ended {
        say(format_args!("error: {error}"));
    }
    // What the program would do behind its job is for the process whose job it is.
    std::process::exit(i32::from(ended.is_err()))
}
