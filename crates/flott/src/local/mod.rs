//! Programs run in their own process: JobManager and TaskManagers are threads of it, or, where it is started so, it is one of a cluster of
//! such processes ([`cluster`]).
//!
//! What `flott run` is for scripts, [`GetExecutionEnvironment::get_execution_environment`] is for programs: options come from the
//! configuration file, the environment and the command line, a signal ends the process behind a last checkpoint, metrics are served where options ask
//! for it, and logs go to standard error. Whether a job could start from a state is said before a deployment by [`CheckState`], or by the
//! program itself, started with `--check-state PATH`.

mod arguments;
mod assigned;
mod check;
mod cluster;
mod job;
mod process;

pub use arguments::program_arguments;
pub use check::CheckState;
pub use job::{JobHost, LocalJob};

use arguments::{Arguments, Role};
use flott_cluster::{Restore, Submission};
use flott_core::Options;
use flott_datastream::{ExecuteError, Executor, JobClient, Program, StreamExecutionEnvironment};
use flott_launch::{LaunchError, config, logging, stop};
use flott_plan::Plan;
use process::Process;
use std::sync::Arc;

/// Where a program says, or is told, what its next job starts from.
const RESTORE_PATH: &str = "execution.state-recovery.path";
/// The same under its old name.
const OLD_RESTORE_PATH: &str = "execution.savepoint.path";
const IGNORE_UNCLAIMED_STATE: &str = "execution.state-recovery.ignore-unclaimed-state";

/// Runs a program's jobs in this process.
#[derive(Debug, Clone)]
pub struct LocalExecutor(Surroundings);

/// What surrounds the jobs.
#[derive(Debug, Clone)]
enum Surroundings {
    /// Nothing but these options.
    Options(Options),
    /// All that `flott run` has; these are the command line.
    Process(Vec<String>),
}

impl LocalExecutor {
    /// One that reads nothing: its options are these.
    pub fn with_options(options: Options) -> Self {
        Self(Surroundings::Options(options))
    }

    /// One for the process itself: it reads the configuration file, the environment and a command line without the program's name, heeds
    /// signals, and logs.
    pub fn of_process(arguments: impl IntoIterator<Item = String>) -> Self {
        Self(Surroundings::Process(arguments.into_iter().collect()))
    }
}

fn misread(error: LaunchError) -> ExecuteError {
    ExecuteError::Configuration(error.to_string())
}

impl Executor for LocalExecutor {
    fn options(&self) -> Result<Options, ExecuteError> {
        match &self.0 {
            Surroundings::Options(options) => Ok(options.clone()),
            Surroundings::Process(arguments) => {
                let arguments = Arguments::parse(arguments.clone()).map_err(misread)?;
                match assigned::is_one() {
                    true if arguments.command_line.config.is_some() => Err(LaunchError::Argument(
                        "--config: a program that was submitted to a cluster has its options from there, and from -D KEY=VALUE".to_owned(),
                    )),
                    true => config::add_command_line(assigned::options()?, &arguments.command_line),
                    false => config::load(&arguments.command_line),
                }
                .map_err(misread)
            }
        }
    }

    fn execute_async(&self, program: Program) -> Result<JobClient, ExecuteError> {
        let (mut plan, registry) = program.into_parts(crate::registry());
        let process = Process::get()?;
        if let Surroundings::Process(arguments) = &self.0 {
            let arguments = Arguments::parse(arguments.clone()).map_err(misread)?;
            let is_assigned = assigned::is_one();
            let role = match is_assigned {
                true => None,
                false => arguments.role().map_err(misread)?,
            };
            if role.is_none() && !is_assigned {
                logging::init();
            }
            let variable = || std::env::var("FLOTT_CHECK_STATE").ok();
            if let Some(path) = arguments.check_state.or_else(variable) {
                std::process::exit(check::report(plan, registry, &path));
            }
            // What this start is to begin from; the program's own say is for starts that are told nothing.
            if let Some(path) = arguments.restore {
                plan.options.set(RESTORE_PATH, path);
            }
            if arguments.allow_non_restored_state {
                plan.options.set(IGNORE_UNCLAIMED_STATE, "true");
            }
            if let Some(dir) = &arguments.savepoint_on_stop {
                if role.is_some() || is_assigned {
                    return Err(ExecuteError::Configuration(format!(
                        "--savepoint-on-stop {dir}: a signal does not end the job of a cluster; 'flott stop --savepointPath {dir} JOB' does"
                    )));
                }
                let tried = process.wait(|| stop::try_savepoint_dir(dir, &plan.options));
                tried.map_err(misread)?;
            }
            if is_assigned {
                match assigned::run(&process, plan, registry)? {}
            }
            match role {
                None => {}
                Some(Role::TaskManager) => match cluster::run_task_manager(&process, &plan, registry)? {},
                Some(Role::StandaloneJob) => {
                    return cluster::start_job(&process, submission(plan)?, registry, arguments.job_id);
                }
            }
            process.heed_signals(arguments.savepoint_on_stop).map_err(misread)?;
        } else if assigned::is_one() {
            return Err(ExecuteError::Configuration(format!(
                "job '{}': its environment is one of this process alone (create_local_environment), and the program was submitted to a cluster: let it                  take get_execution_environment",
                plan.name
            )));
        }
        process.start(Arc::new(registry), submission(plan)?)
    }
}

/// A job that starts from what its options say.
fn submission(plan: Plan) -> Result<Submission, ExecuteError> {
    let options = &plan.options;
    let path = options.get(RESTORE_PATH).or_else(|| options.get(OLD_RESTORE_PATH));
    Ok(Submission {
        restore: Restore::from_path(path),
        allow_non_restored_state: check::allows_non_restored_state(options)?,
        plan,
    })
}

/// Gives programs their environment.
pub trait GetExecutionEnvironment {
    /// The environment of this process: jobs run in it. It starts from options of the configuration file (`config.yaml` or
    /// `flink-conf.yaml` in `FLOTT_CONF_DIR` or `FLINK_CONF_DIR`), of the variable `FLINK_PROPERTIES` and of the command line, the later ones winning;
    /// what the program sets wins over all of them.
    ///
    /// | argument | does |
    /// |---|---|
    /// | `-p N`, `--parallelism N` | sets `parallelism.default` |
    /// | `-D KEY=VALUE` | sets an option by Flink's name; may be repeated |
    /// | `--config FILE` | reads this configuration file |
    /// | `-s PATH`, `--from-savepoint PATH` | starts the job from a savepoint or checkpoint, also if the program names another; with several `execute`, every one of them, as Flink's command does |
    /// | `--restore latest` | starts it from the newest completed checkpoint of its name, each of several from its own; a path goes here too |
    /// | `--allow-non-restored-state` | lets state be left behind that the job no longer has |
    /// | `--savepoint-on-stop DIR` | takes a savepoint when a signal stops the job; whether it can be written there is tried at the start |
    /// | `--check-state PATH` | runs nothing: prints what the first job would take from that state, and ends the process with 0 if it could start, else with 1 (`FLOTT_CHECK_STATE` does the same) |
    /// | `--standalone-job` | is the JobManager of the job: it gives it to TaskManagers, which are processes of this program too, and ends with it |
    /// | `--taskmanager` | is such a TaskManager: `main` runs up to `execute`, which does not come back (`FLOTT_ROLE=standalone-job`, `FLOTT_ROLE=taskmanager` do the same) |
    /// | `--job-id ID` | the job's id in the cluster |
    ///
    /// A program of several jobs of which one shall go on from a savepoint names it for that one, as `execution.state-recovery.path`, and is
    /// started without `-s`: the others would find no state of theirs there, and refuse what is not theirs.
    ///
    /// Other arguments, and all behind a `--`, are the program's: [`program_arguments`]. What is wrong is said by `execute`.
    ///
    /// Once a job has started, Ctrl-C and SIGTERM end the process behind a last checkpoint of its jobs, with 0; a second one ends it at
    /// once. Logs go to standard error (`FLOTT_LOG=info`), unless the program has a subscriber of `tracing` of its own. A process
    /// that needs neither takes [`Self::create_local_environment`].
    fn get_execution_environment() -> Self;

    /// The same with a command line (without the program's name) in place of the process's own: for programs whose arguments
    /// have other meanings.
    fn get_execution_environment_with_args<A: Into<String>>(arguments: impl IntoIterator<Item = A>) -> Self;

    /// An environment of this process that reads nothing: neither files nor the command line. It starts from these options, by
    /// Flink's names, and leaves signals and logs to the program.
    fn create_local_environment(options: Options) -> Self;
}

impl GetExecutionEnvironment for StreamExecutionEnvironment {
    fn get_execution_environment() -> Self {
        let arguments = arguments::all_arguments().into_iter().skip(1);
        Self::new(LocalExecutor::of_process(arguments))
    }

    fn get_execution_environment_with_args<A: Into<String>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self::new(LocalExecutor::of_process(arguments.into_iter().map(Into::into)))
    }

    fn create_local_environment(options: Options) -> Self {
        Self::new(LocalExecutor::with_options(options))
    }
}
