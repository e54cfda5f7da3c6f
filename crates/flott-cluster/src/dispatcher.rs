//! The dispatcher: all jobs of a JobManager, from their submission until they are forgotten.
//!
//! What REST and the commands ask of a JobManager they ask here; each job is a [`JobHandle`]. Ended jobs stay for an hour
//! (`jobstore.expiration-time`, in seconds), so that who looks later still finds how they ended.

use crate::error::ClusterError;
use crate::resources::{Slots, TaskManagerInfo};
use crate::submit::{JobHandle, Submission, submit_to};
use flott_core::clock::SharedClock;
use flott_core::{JobId, Options};
use flott_runtime::Registry;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How long ended jobs are remembered, unless `jobstore.expiration-time` says otherwise.
const REMEMBERED_SECONDS: i64 = 3_600;

/// What options of processes begin with: they are no job's business, and a secret must not leave its process.
const OF_PROCESSES: [&str; 8] = [
    "security.",
    "jobmanager.",
    "taskmanager.",
    "rest.",
    "heartbeat.",
    "metrics.reporter",
    "slot.",
    "jobstore.",
];

/// The jobs of a JobManager. Cloning shares them.
#[derive(Clone)]
pub struct Dispatcher(Arc<Inner>);

struct Inner {
    options: Arc<Options>,
    registry: Arc<Registry>,
    clock: SharedClock,
    slots: Arc<dyn Slots>,
    remembered_ms: i64,
    jobs: Mutex<BTreeMap<JobId, JobHandle>>,
    started_ms: i64,
}

impl Dispatcher {
    /// A dispatcher without jobs. `options` are the cluster's: a job's own win over them.
    ///
    /// # Errors
    /// If an option's value is wrong.
    pub fn new(
        options: Options,
        registry: Arc<Registry>,
        clock: SharedClock,
        slots: Arc<dyn Slots>,
    ) -> Result<Self, ClusterError> {
        let remembered = options.integer("jobstore.expiration-time")?;
        let started_ms = clock.now_ms();
        Ok(Self(Arc::new(Inner {
            options: Arc::new(options),
            registry,
            clock,
            slots,
            remembered_ms: remembered.unwrap_or(REMEMBERED_SECONDS).max(0) * 1_000,
            jobs: Mutex::default(),
            started_ms,
        })))
    }

    fn jobs_now(&self) -> MutexGuard<'_, BTreeMap<JobId, JobHandle>> {
        let mut jobs = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest_ms = self.0.clock.now_ms() - self.0.remembered_ms;
        jobs.retain(|_, job| job.stats.end_time_ms().is_none_or(|ended_ms| ended_ms >= oldest_ms));
        jobs
    }

    /// Takes a job. Returns when it is accepted; whether it runs, the handle tells.
    ///
    /// # Errors
    /// If an option, the plan, the checkpoint storage or the state to start from is wrong.
    pub async fn submit(&self, mut submission: Submission) -> Result<JobHandle, ClusterError> {
        for (key, value) in self.0.options.iter() {
            let is_of_process = OF_PROCESSES.iter().any(|prefix| key.starts_with(prefix));
            if !is_of_process && submission.plan.options.get(key).is_none() {
                submission.plan.options.set(key, value);
            }
        }
        let inner = &self.0;
        let job = submit_to(
            inner.slots.clone(),
            inner.registry.clone(),
            inner.clock.clone(),
            submission,
        )
        .await?;
        self.jobs_now().insert(job.job_id, job.clone());
        Ok(job)
    }

    /// All jobs that are remembered, oldest first.
    pub fn jobs(&self) -> Vec<JobHandle> {
        let mut jobs: Vec<JobHandle> = self.jobs_now().values().cloned().collect();
        jobs.sort_by_key(|job| job.stats.start_time_ms());
        jobs
    }

    /// A job.
    pub fn job(&self, id: JobId) -> Option<JobHandle> {
        self.jobs_now().get(&id).cloned()
    }

    /// The TaskManagers that are there.
    pub fn task_managers(&self) -> Vec<TaskManagerInfo> {
        self.0.slots.task_managers()
    }

    /// Options of the JobManager.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Kinds that this build knows.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.0.registry
    }

    /// When the JobManager started, in milliseconds since the epoch.
    pub fn started_ms(&self) -> i64 {
        self.0.started_ms
    }
}
