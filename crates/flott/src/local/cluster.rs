//! A program as a cluster of its own: each process runs `main` up to `execute`, which makes of one a JobManager that runs the job and of the
//! others TaskManagers, with the operators that all of them have described alike.
//!
//! ```text
//!  my-program --standalone-job    main ─► execute ─► JobManager: submits the job ─► its end ─► main goes on
//!  my-program --taskmanager       main ─► execute ─► TaskManager: offers slots ───► the process ends
//! ```
//! Whether processes fit is judged by the fingerprint of the graph ([`Plan::fingerprint`]) when a TaskManager registers. A cluster
//! has one job, the first that the program executes. What comes back to the program itself, collected records, it cannot have.

use crate::local::job::{JobHost, LocalJob};
use crate::local::process::{Process, wait_on};
use flott_cluster::dispatcher::{Application, ApplicationEnd};
use flott_cluster::{JobHandle, JobStatus, Submission};
use flott_core::JobId;
use flott_datastream::{AfterSavepoint, ExecuteError, JobClient, JobExecutionResult, RunningJob};
use flott_launch::LaunchError;
use flott_launch::cluster::{self, application_job, application_result, run_application};
use flott_launch::stop::say;
use flott_launch::traces;
use flott_plan::Plan;
use flott_runtime::Registry;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// What the nodes begin with whose records come back to the program.
const COLLECT: &str = "collect#";

/// Runs a TaskManager for the job of `plan`, and ends the process with it.
///
/// # Errors
/// If the job cannot run in a cluster.
pub(super) fn run_task_manager(process: &Process, plan: &Plan, registry: Registry) -> Result<Infallible, ExecuteError> {
    check(plan)?;
    let (options, program) = (&plan.options, Some(plan.fingerprint()));
    let ended = process.wait(|| cluster::run_task_manager(options, Arc::new(registry), program, None));
    if let Err(error) = &ended {
        say(format_args!("error: {error}"));
    }
    // What the program would do behind its job is for the process whose job it is.
    std::process::exit(i32::from(ended.is_err()))
}

/// Runs a JobManager for a job, beside the program. Returns when the job runs, or waits for slots; under high availability when this JobManager leads.
///
/// # Errors
/// If the job is refused, cannot run in a cluster, or is the second one.
pub(super) fn start_job(
    process: &Arc<Process>,
    submission: Submission,
    registry: Registry,
    job_id: Option<JobId>,
) -> Result<JobClient, ExecuteError> {
    static FIRST: OnceLock<String> = OnceLock::new();
    let (name, options) = (submission.plan.name.clone(), submission.plan.options.clone());
    check(&submission.plan)?;
    if FIRST.set(name.clone()).is_err() {
        let first = FIRST.get().map_or("", String::as_str);
        return Err(ExecuteError::Job(format!(
            "job '{name}': the cluster of this program lives with its first job, '{first}'; run each job by a program of its own, or all of them \
             in one process, without --standalone-job"
        )));
    }
    let application = Application {
        job: job_id.unwrap_or_else(|| application_job(&options)),
        program: Some(submission.plan.fingerprint()),
        submission,
    };
    let (job, runtime) = (application.job, process.runtime().clone());
    let (stage, stages) = watch::channel(Stage::Waiting);
    let stage = Arc::new(stage);
    let shown = stage.clone();
    runtime.spawn(async move {
        let seen = move |handle: &JobHandle| drop(shown.send_replace(Stage::Runs(handle.clone())));
        let ended = run_application(options, Arc::new(registry), application, seen).await;
        // The process may end next.
        traces::flush();
        if let Err(error @ LaunchError::Interrupted { .. }) = &ended {
            say(format_args!("error: {error}"));
            // The program would go on with what only a finished job allows.
            std::process::exit(1);
        }
        stage.send_replace(Stage::Ended(ended.map_err(|error| error.to_string())));
    });
    let running = ApplicationJob {
        job,
        started: Instant::now(),
        host: Arc::new(Host { runtime, stages }),
    };
    match running.host.reached(|stage| !matches!(stage, Stage::Waiting)) {
        Stage::Ended(Err(reason)) => Err(ExecuteError::Job(reason)),
        _ => Ok(JobClient::new(running)),
    }
}

/// Judges that a job can run in other processes than the program's.
pub(super) fn check(plan: &Plan) -> Result<(), ExecuteError> {
    match plan.nodes.iter().find(|node| node.kind.starts_with(COLLECT)) {
        None => Ok(()),
        Some(_) => Err(ExecuteError::Job(format!(
            "job '{}' gives records back to the program (execute_and_collect, collect), and in a cluster they come to other processes: write them \
             to a sink, or run the program alone",
            plan.name
        ))),
    }
}

/// How far the job of a cluster is.
#[derive(Debug, Clone)]
enum Stage {
    /// It does not run here.
    Waiting,
    /// It runs, or has just ended.
    Runs(JobHandle),
    /// It has ended, and so has its cluster; or why it cannot be known.
    Ended(Result<ApplicationEnd, String>),
}

/// The process of the JobManager.
struct Host {
    runtime: Handle,
    stages: watch::Receiver<Stage>,
}

impl Host {
    /// Waits until the job has come so far.
    fn reached(&self, is_reached: impl Fn(&Stage) -> bool + Send) -> Stage {
        let mut stages = self.stages.clone();
        let stage = wait_on(&self.runtime, || async move {
            stages.wait_for(is_reached).await.map(|stage| stage.clone())
        });
        stage.unwrap_or_else(|_| Stage::Ended(Err("the JobManager has ended".to_owned())))
    }

    fn ended(&self) -> Result<ApplicationEnd, ExecuteError> {
        match self.reached(|stage| matches!(stage, Stage::Ended(_))) {
            Stage::Ended(ended) => ended.map_err(ExecuteError::Job),
            Stage::Waiting | Stage::Runs(_) => Err(ExecuteError::Job("the JobManager has ended".to_owned())),
        }
    }
}

impl JobHost for Host {
    fn runtime(&self) -> &Handle {
        &self.runtime
    }

    fn job_ended(&self) {
        let goes_on = match &*self.stages.borrow() {
            Stage::Runs(handle) => !handle.status().is_globally_terminal_state(),
            Stage::Waiting | Stage::Ended(_) => false,
        };
        if !goes_on {
            // The program may end with the job, which its TaskManagers must be told before.
            drop(self.ended());
        }
    }
}

/// The job of a cluster, as its program sees it.
struct ApplicationJob {
    job: JobId,
    started: Instant,
    host: Arc<Host>,
}

impl ApplicationJob {
    /// The job, once it runs here.
    fn local(&self) -> Result<LocalJob, ExecuteError> {
        match self.host.reached(|stage| !matches!(stage, Stage::Waiting)) {
            Stage::Runs(handle) => Ok(LocalJob::new(handle, self.host.clone())),
            Stage::Ended(Ok(end)) => Err(ExecuteError::Job(format!("job '{}' is {}", end.name, end.status))),
            Stage::Ended(Err(reason)) => Err(ExecuteError::Job(reason)),
            Stage::Waiting => Err(ExecuteError::Job("the job has not started".to_owned())),
        }
    }
}

impl RunningJob for ApplicationJob {
    fn job_id(&self) -> String {
        self.job.to_string()
    }

    fn status(&self) -> JobStatus {
        let now = self.host.stages.borrow().clone();
        let ended = match now {
            Stage::Waiting => return JobStatus::Created,
            Stage::Runs(handle) if !handle.status().is_globally_terminal_state() => return handle.status(),
            Stage::Runs(_) | Stage::Ended(_) => self.host.ended(),
        };
        ended.map_or(JobStatus::Failed, |end| end.status)
    }

    fn cancel(&self) -> Result<(), ExecuteError> {
        self.local()?.cancel()
    }

    fn savepoint(&self, directory: Option<&str>, after: AfterSavepoint) -> Result<String, ExecuteError> {
        self.local()?.savepoint(directory, after)
    }

    fn wait(&self) -> Result<JobExecutionResult, ExecuteError> {
        let end = self.host.ended()?;
        application_result(&end).map_err(|error| ExecuteError::Job(error.to_string()))?;
        if end.status != JobStatus::Finished {
            return Err(ExecuteError::Job(format!("job '{}' is {}", end.name, end.status)));
        }
        Ok(JobExecutionResult {
            job_id: self.job_id(),
            net_runtime: self.started.elapsed(),
        })
    }
}
