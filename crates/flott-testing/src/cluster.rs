//! The mini-cluster: whole jobs in the test's process ([`MiniCluster`], [`MiniClusterJob`]).

use crate::harness::OwnRuntime;
use crate::metrics::{self, Metric};
use flott::local::{JobHost, LocalJob};
use flott::prelude::{ExecuteError, JobClient, JobExecutionResult, StreamExecutionEnvironment};
use flott_cluster::{JobHandle, JobStatus, Restore, Submission, submit};
use flott_core::Options;
use flott_core::clock::SystemClock;
use flott_datastream::{Executor, Program};
use flott_plan::{JobGraph, Plan};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for anything; only guards against hanging.
const DEADLINE: Duration = Duration::from_secs(120);

/// How often it is looked whether what is waited for has come.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// A job could not be started, or did not do what was waited for.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The program is no job.
    #[error(transparent)]
    Program(#[from] ExecuteError),
    /// The job was refused.
    #[error(transparent)]
    Refused(#[from] flott_cluster::ClusterError),
    /// There are too few slots.
    #[error(
        "'{operator}' has {parallelism} subtasks, and the cluster {slots} slots: give the cluster more, or set a lower parallelism"
    )]
    Slots {
        /// The operator with the most subtasks.
        operator: String,
        /// How many it has.
        parallelism: usize,
        /// How many slots there are.
        slots: usize,
    },
    /// There are too few slots for all slot sharing groups together.
    #[error(
        "the job needs {needed} slots ({groups}), and the cluster has {slots}: give it more, or lower a parallelism"
    )]
    SlotsOfGroups {
        /// How many it needs.
        needed: usize,
        /// The groups, with the slots of each.
        groups: String,
        /// How many there are.
        slots: usize,
    },
    /// The cluster could not be made.
    #[error("the cluster cannot be started: {0}")]
    Start(#[source] std::io::Error),
    /// The job has failed.
    #[error("job '{job}' is {status}: {cause}")]
    Job {
        /// Its name.
        job: String,
        /// What it is.
        status: JobStatus,
        /// Why.
        cause: String,
    },
    /// No savepoint was taken, or no task failed.
    #[error("{0}")]
    Refusal(String),
    /// Something never happened.
    #[error("waited {waited_s} s for {what}; job '{job}' is {status}: {cause}")]
    Waited {
        /// For what.
        what: String,
        /// How long, in seconds.
        waited_s: u64,
        /// Name of the job.
        job: String,
        /// What it is.
        status: JobStatus,
        /// Its last failure.
        cause: String,
    },
}

/// Runs jobs in the test's process, as one with so many slots would: threads, exchanges, checkpoints, restarts.
///
/// ```
/// use flott::prelude::*;
/// use flott_testing::MiniCluster;
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
///
/// let cluster = MiniCluster::with_slots(2)?;
/// let describe = |sums: Arc<Mutex<Vec<i64>>>| {
///     let env = cluster.environment();
///     env.set_parallelism(2).enable_checkpointing(Duration::from_millis(20));
///     let ones = env.from_sequence(1, i64::MAX).map(|_| 1i64);
///     let sum = ones.key_by(|_| 0i64).reduce(|a, b| a + b);
///     sum.uid("sum").for_each(move |sum| sums.lock().unwrap().push(sum)).name("Sums");
///     env
/// };
///
/// // A task fails: the job goes on from its last checkpoint.
/// let mut job = cluster.start(&describe(Arc::default()), "sum")?;
/// job.wait_for_checkpoints(1)?;
/// job.fail_task("Keyed Reduce", 0)?;
/// job.wait_for_restarts(1)?;
/// job.wait_for_checkpoints(2)?;
/// assert!(job.metric("Keyed Reduce", "numRecordsIn").is_some());
///
/// // It ends behind a savepoint, and another goes on from there.
/// let savepoint = job.stop_with_savepoint()?;
/// let sums = Arc::default();
/// let mut job = cluster.start_from(&describe(Arc::clone(&sums)), "sum", &savepoint)?;
/// job.wait_until("a sum", |_| !sums.lock().unwrap().is_empty())?;
/// job.cancel()?;
/// assert!(sums.lock().unwrap()[0] > 1, "the sum went on");
/// # Ok::<(), flott_testing::ClusterError>(())
/// ```
#[derive(Clone)]
pub struct MiniCluster(Arc<Inner>);

struct Inner {
    slots: usize,
    options: Options,
    savepoints: TempDir,
    runtime: OwnRuntime,
}

impl fmt::Debug for MiniCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiniCluster")
            .field("slots", &self.0.slots)
            .finish_non_exhaustive()
    }
}

impl MiniCluster {
    /// A cluster of `slots` slots: no operator can have more subtasks, nor all slot sharing groups together.
    ///
    /// # Errors
    /// If the system gives it no thread or folder.
    pub fn with_slots(slots: usize) -> Result<Self, ClusterError> {
        Self::with_options(slots, Options::new())
    }

    /// The same with options by Flink's names, which programs start from. A job that fails is started again after 10 ms, unless
    /// the options say otherwise or it takes no checkpoints.
    ///
    /// # Errors
    /// As [`Self::with_slots`].
    pub fn with_options(slots: usize, options: Options) -> Result<Self, ClusterError> {
        let soon = [("restart-strategy.exponential-delay.initial-backoff", "10 ms")];
        let mut all: Options = soon.into_iter().collect();
        all.merge(&options);
        Ok(Self(Arc::new(Inner {
            slots,
            options: all,
            savepoints: tempfile::tempdir().map_err(ClusterError::Start)?,
            runtime: OwnRuntime::new().map_err(ClusterError::Start)?,
        })))
    }

    /// The environment of a program: its `execute` runs jobs on this cluster to their ends, and [`Self::start`] runs them beside the test.
    pub fn environment(&self) -> StreamExecutionEnvironment {
        StreamExecutionEnvironment::new(OnCluster(self.clone()))
    }

    /// Starts the job that a program has described in its environment; it runs beside the test.
    ///
    /// # Errors
    /// If it is refused.
    pub fn start(&self, env: &StreamExecutionEnvironment, job_name: &str) -> Result<MiniClusterJob, ClusterError> {
        Ok(self.watched(self.submit(env.program(job_name)?, Restore::Fresh)?))
    }

    /// The same from the checkpoint or savepoint at `path`.
    ///
    /// # Errors
    /// If it is refused, or the state does not fit.
    pub fn start_from(
        &self,
        env: &StreamExecutionEnvironment,
        job_name: &str,
        path: &str,
    ) -> Result<MiniClusterJob, ClusterError> {
        let restore = Restore::Path(path.to_owned());
        Ok(self.watched(self.submit(env.program(job_name)?, restore)?))
    }

    /// A job that ends with its handle.
    fn watched(&self, handle: JobHandle) -> MiniClusterJob {
        MiniClusterJob {
            cluster: self.clone(),
            handle,
        }
    }

    fn submit(&self, program: Program, restore: Restore) -> Result<JobHandle, ClusterError> {
        let (plan, registry) = program.into_parts(flott::registry());
        self.check_slots(&plan)?;
        let submission = Submission {
            plan,
            restore,
            allow_non_restored_state: false,
        };
        let clock = Arc::new(SystemClock);
        let submitted = self
            .0
            .runtime
            .wait(move || submit(Arc::new(registry), clock, submission));
        Ok(submitted?)
    }

    /// One subtask of each operator of a slot sharing group shares a slot.
    fn check_slots(&self, plan: &Plan) -> Result<(), ClusterError> {
        let graph = JobGraph::of(plan, true);
        let widest = plan.nodes.iter().max_by_key(|node| node.parallelism);
        match widest.filter(|node| node.parallelism > self.0.slots) {
            None if graph.slots() > self.0.slots => {
                let groups = graph.slots_by_group().into_iter();
                let groups: Vec<String> = groups.map(|(group, slots)| format!("{slots} of '{group}'")).collect();
                Err(ClusterError::SlotsOfGroups {
                    needed: graph.slots(),
                    groups: groups.join(", "),
                    slots: self.0.slots,
                })
            }
            None => Ok(()),
            Some(node) => Err(ClusterError::Slots {
                operator: node.description.clone(),
                parallelism: node.parallelism,
                slots: self.0.slots,
            }),
        }
    }
}

impl JobHost for Inner {
    fn runtime(&self) -> &tokio::runtime::Handle {
        self.runtime.handle()
    }
}

/// Runs programs on a cluster.
struct OnCluster(MiniCluster);

impl Executor for OnCluster {
    fn options(&self) -> Result<Options, ExecuteError> {
        Ok(self.0.0.options.clone())
    }

    fn execute_async(&self, program: Program) -> Result<JobClient, ExecuteError> {
        let handle = self.submit(program)?;
        Ok(JobClient::new(LocalJob::new(handle, self.0.0.clone())))
    }

    fn execute(&self, program: Program) -> Result<JobExecutionResult, ExecuteError> {
        let started = Instant::now();
        let mut job = self.0.watched(self.submit(program)?);
        job.wait().map_err(|error| ExecuteError::Job(error.to_string()))?;
        Ok(JobExecutionResult {
            job_id: job.handle.job_id.to_string(),
            net_runtime: started.elapsed(),
        })
    }
}

impl OnCluster {
    /// Starts a job from what its options say.
    fn submit(&self, program: Program) -> Result<JobHandle, ExecuteError> {
        let path = program.plan.options.get("execution.state-recovery.path");
        let restore = Restore::from_path(path);
        let submitted = self.0.submit(program, restore);
        submitted.map_err(|error| ExecuteError::Job(error.to_string()))
    }
}

/// A job that runs beside its test. All waits end with an error after two minutes, or when the job has ended otherwise. A job that is
/// dropped is cancelled.
pub struct MiniClusterJob {
    cluster: MiniCluster,
    handle: JobHandle,
}

impl fmt::Debug for MiniClusterJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiniClusterJob")
            .field("name", &self.handle.name)
            .field("status", &self.handle.status())
            .finish_non_exhaustive()
    }
}

impl MiniClusterJob {
    /// What the job is now.
    pub fn status(&self) -> JobStatus {
        self.handle.status()
    }

    /// Where the state lies that it started from.
    pub fn restored_from(&self) -> Option<&str> {
        self.handle.restored_from.as_deref()
    }

    /// How often it was started again.
    pub fn restarts(&self) -> u64 {
        self.handle.stats.restarts()
    }

    /// Its last failure.
    pub fn failure(&self) -> Option<String> {
        self.handle.stats.failure()
    }

    /// Checkpoints that were completed, savepoints included.
    pub fn completed_checkpoints(&self) -> u64 {
        self.handle.stats.checkpoints().completed
    }

    /// Checkpoints that were given up.
    pub fn failed_checkpoints(&self) -> u64 {
        self.handle.stats.checkpoints().failed
    }

    fn cause(&self) -> String {
        self.failure().unwrap_or_else(|| "it has not failed".to_owned())
    }

    /// Waits until `happened` is true; `what` names it, for the error.
    ///
    /// # Errors
    /// If the job ends before, or after two minutes.
    pub fn wait_until(&mut self, what: &str, happened: impl Fn(&Self) -> bool) -> Result<(), ClusterError> {
        let started = Instant::now();
        loop {
            let has_ended = self.status().is_globally_terminal_state();
            if happened(self) {
                return Ok(());
            }
            if has_ended || started.elapsed() > DEADLINE {
                return Err(ClusterError::Waited {
                    what: what.to_owned(),
                    waited_s: started.elapsed().as_secs(),
                    job: self.handle.name.clone(),
                    status: self.status(),
                    cause: self.cause(),
                });
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Waits until all its tasks run.
    ///
    /// # Errors
    /// As [`Self::wait_until`].
    pub fn wait_until_running(&mut self) -> Result<(), ClusterError> {
        self.wait_until("running tasks", |job| job.status() == JobStatus::Running)
    }

    /// Waits until so many more checkpoints are completed.
    ///
    /// # Errors
    /// As [`Self::wait_until`].
    pub fn wait_for_checkpoints(&mut self, checkpoints: u64) -> Result<(), ClusterError> {
        let wanted = self.completed_checkpoints() + checkpoints;
        self.wait_until("a checkpoint", |job| job.completed_checkpoints() >= wanted)
    }

    /// Waits until the job was started again so often, since its start.
    ///
    /// # Errors
    /// As [`Self::wait_until`].
    pub fn wait_for_restarts(&mut self, restarts: u64) -> Result<(), ClusterError> {
        self.wait_until("a restart", |job| {
            job.restarts() >= restarts && job.status() == JobStatus::Running
        })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it fails, or after two minutes.
    pub fn wait(&mut self) -> Result<JobStatus, ClusterError> {
        self.wait_until("its end", |job| job.status().is_globally_terminal_state())?;
        match self.status() {
            JobStatus::Failed => Err(ClusterError::Job {
                job: self.handle.name.clone(),
                status: JobStatus::Failed,
                cause: self.cause(),
            }),
            status => Ok(status),
        }
    }

    /// Takes a savepoint and gives its path; it goes with the cluster.
    ///
    /// # Errors
    /// If the job does not run, or it cannot be taken.
    pub fn savepoint(&mut self) -> Result<String, ClusterError> {
        self.take_savepoint(false)
    }

    /// Ends the job behind a savepoint, and gives its path.
    ///
    /// # Errors
    /// As [`Self::savepoint`].
    pub fn stop_with_savepoint(&mut self) -> Result<String, ClusterError> {
        let path = self.take_savepoint(true)?;
        self.wait()?;
        Ok(path)
    }

    fn take_savepoint(&mut self, stop: bool) -> Result<String, ClusterError> {
        self.wait_until_running()?;
        let dir = format!("file://{}", self.cluster.0.savepoints.path().display());
        let handle = &self.handle;
        let taken = self.cluster.0.runtime.wait(|| handle.savepoint(Some(dir), stop));
        taken.map_err(ClusterError::Refusal)
    }

    /// Makes a task fail, as if its machine had: that of an operator whose name holds `operator`, by the number of its subtask, from 0.
    ///
    /// # Errors
    /// If the job does not run, or has no such task.
    pub fn fail_task(&mut self, operator: &str, subtask: usize) -> Result<(), ClusterError> {
        let handle = &self.handle;
        let failed = self.cluster.0.runtime.wait(|| handle.fail_task(operator, subtask));
        failed.map_err(ClusterError::Refusal)
    }

    /// Ends the job as it is, and waits for its end.
    ///
    /// # Errors
    /// If it does not end.
    pub fn cancel(&mut self) -> Result<(), ClusterError> {
        self.handle.cancel();
        self.wait_until("its end", |job| job.status().is_globally_terminal_state())
    }

    /// All metrics of the operators of its last attempt, those that functions registered included.
    pub fn metrics(&self) -> Vec<Metric> {
        metrics::of_tasks(&self.handle.stats.tasks())
    }

    /// A metric of the operators whose names hold `operator`, summed over operators and subtasks; `None` if none has it.
    pub fn metric(&self, operator: &str, name: &str) -> Option<f64> {
        metrics::sum(&self.metrics(), operator, name)
    }
}

impl Drop for MiniClusterJob {
    fn drop(&mut self) {
        if !self.status().is_globally_terminal_state() {
            // Its threads must not go on in the tests that follow.
            let _ = self.cancel();
        }
    }
}
