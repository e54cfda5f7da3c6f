//! The dispatcher: all jobs of a JobManager, from their submission until they are forgotten.
//!
//! What REST and the commands ask of a JobManager they ask here; each job is a [`JobHandle`]. Ended jobs stay for an hour
//! (`jobstore.expiration-time`, in seconds), so that who looks later still finds how they ended.
//!
//! Under high availability each accepted job is kept in a [`JobStore`] before its submission is answered; the next leader's dispatcher takes all
//! over ([`Dispatcher::take_over`]) that have not ended.

mod application;
mod programs;

pub use application::{Application, ApplicationEnd};
pub use programs::DescribedProgram;

use crate::error::ClusterError;
use crate::high_availability::jobs::{JobRecord, JobStore, TakenOver};
use crate::program::{Coordinator, ProgramFiles};
use crate::resources::{Slots, TaskManagerInfo, TaskManagerRef};
use crate::submit::{Accepted, JobHandle, Origin, Submission, accept, launch};
use crate::timer;
use crate::traces::SharedTraceReporter;
use flott_core::clock::SharedClock;
use flott_core::{JobId, JobStatus, Options};
use flott_runtime::Registry;
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::task::AbortHandle;

/// How long ended jobs are remembered, unless `jobstore.expiration-time` says otherwise.
const REMEMBERED_SECONDS: i64 = 3_600;

/// What options begin with that let processes trust each other.
const OF_SECURITY: &str = "security.";

/// What options of processes begin with: they are no job's business, and a secret must not leave its process.
const OF_PROCESSES: [&str; 10] = [
    OF_SECURITY,
    "jobmanager.",
    "taskmanager.",
    "rest.",
    "heartbeat.",
    "high-availability",
    "metrics.reporter",
    "traces.reporter",
    "slot.",
    "jobstore.",
];

/// What options begin with that are said of processes, and meant for every job.
const OF_SCHEDULERS: [&str; 2] = ["jobmanager.scheduler", "jobmanager.adaptive-scheduler."];

fn is_of_process(key: &str) -> bool {
    OF_PROCESSES.iter().any(|prefix| key.starts_with(prefix))
        && !OF_SCHEDULERS.iter().any(|prefix| key.starts_with(prefix))
}

/// Where a job's checkpoints are, by its name.
const CHECKPOINT_DIR: &str = "execution.checkpointing.dir";

/// Longest pause between two tries to take over a job.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The jobs of a JobManager. Cloning shares them.
#[derive(Clone)]
pub struct Dispatcher(Arc<Inner>);

struct Inner {
    options: Arc<Options>,
    registry: Arc<Registry>,
    clock: SharedClock,
    slots: Arc<dyn Slots>,
    store: Option<JobStore>,
    /// The only job that there is.
    application: Option<JobId>,
    remembered_ms: i64,
    jobs: Mutex<BTreeMap<JobId, Job>>,
    /// Ids of jobs that are being submitted under one that the client has chosen.
    reserved: Mutex<BTreeSet<JobId>>,
    started_ms: i64,
    /// Whether another leads.
    is_suspended: AtomicBool,
    /// Who is told of jobs' checkpoints and recoveries.
    reporter: OnceLock<SharedTraceReporter>,
    /// Files of programs.
    programs: ProgramFiles,
}

struct Job {
    handle: JobHandle,
    /// Ends its master without a trace.
    master: AbortHandle,
}

/// An id that nobody else may take until this is dropped.
struct Reserved<'a> {
    dispatcher: &'a Dispatcher,
    job: JobId,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.dispatcher.reserved().remove(&self.job);
    }
}

impl Dispatcher {
    /// A dispatcher without jobs. `options` are the cluster's: a job's own win over them. `store` keeps jobs for the next leader.
    ///
    /// # Errors
    /// If an option's value is wrong.
    pub fn new(
        options: Options,
        registry: Arc<Registry>,
        clock: SharedClock,
        slots: Arc<dyn Slots>,
        store: Option<JobStore>,
    ) -> Result<Self, ClusterError> {
        Self::of(options, registry, clock, slots, store, None)
    }

    /// A dispatcher for one job alone ([`Self::start_application`]); it refuses all others.
    ///
    /// # Errors
    /// If an option's value is wrong.
    pub fn of_application(
        options: Options,
        registry: Arc<Registry>,
        clock: SharedClock,
        slots: Arc<dyn Slots>,
        store: Option<JobStore>,
        job: JobId,
    ) -> Result<Self, ClusterError> {
        Self::of(options, registry, clock, slots, store, Some(job))
    }

    fn of(
        options: Options,
        registry: Arc<Registry>,
        clock: SharedClock,
        slots: Arc<dyn Slots>,
        store: Option<JobStore>,
        application: Option<JobId>,
    ) -> Result<Self, ClusterError> {
        let remembered = options.integer("jobstore.expiration-time")?;
        let started_ms = clock.now_ms();
        let programs = ProgramFiles::of(&options, "web.tmpdir");
        Ok(Self(Arc::new(Inner {
            options: Arc::new(options),
            registry,
            clock,
            slots,
            store,
            application,
            remembered_ms: remembered.unwrap_or(REMEMBERED_SECONDS).max(0) * 1_000,
            jobs: Mutex::default(),
            reserved: Mutex::default(),
            started_ms,
            is_suspended: AtomicBool::new(false),
            reporter: OnceLock::new(),
            programs,
        })))
    }

    /// Has a reporter told of the checkpoints and recoveries of jobs that come from now on. The first one stays.
    pub fn traced(self, reporter: SharedTraceReporter) -> Self {
        self.0.reporter.get_or_init(|| reporter);
        self
    }

    fn jobs_now(&self) -> MutexGuard<'_, BTreeMap<JobId, Job>> {
        let mut jobs = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest_ms = self.0.clock.now_ms() - self.0.remembered_ms;
        jobs.retain(|_, job| {
            job.handle
                .stats
                .end_time_ms()
                .is_none_or(|ended_ms| ended_ms >= oldest_ms)
        });
        jobs
    }

    /// Takes a job. Returns when it is accepted; whether it runs, the handle tells.
    ///
    /// # Errors
    /// If an option, the plan, the checkpoint storage or the state to start from is wrong, or this is the dispatcher of an application.
    pub async fn submit(&self, submission: Submission) -> Result<JobHandle, ClusterError> {
        self.submit_by(Origin::Submitted, submission, None).await
    }

    /// The same under an id that the client has chosen, so that what is submitted again, since its answer was lost, runs once.
    ///
    /// # Errors
    /// As [`Self::submit`], and if there is a job of this id, also one that has ended and is remembered.
    pub async fn submit_under(&self, job: JobId, submission: Submission) -> Result<JobHandle, ClusterError> {
        let _reserved = self.reserve(job).await?;
        self.submit_by(Origin::SubmittedAs(job), submission, None).await
    }

    async fn submit_by(
        &self,
        origin: Origin,
        mut submission: Submission,
        program: Option<Arc<Coordinator>>,
    ) -> Result<JobHandle, ClusterError> {
        self.check_takes_jobs()?;
        self.add_options(&mut submission);
        let kept = self.0.store.as_ref().map(|store| (store, submission.clone()));
        let has_chosen_id = matches!(origin, Origin::SubmittedAs(_));
        let accepted = self.accept(submission, origin, program.clone()).await?;
        let job = accepted.ctx.job_id;
        if let (Some(coordinator), Some(store)) = (&program, &self.0.store) {
            store.put_program(job, coordinator.file()).await?;
        }
        let spec = program.as_ref().map(|coordinator| coordinator.program());
        let record = match kept {
            Some((store, submission)) if has_chosen_id => Some(store.put_once(job, &submission, spec).await?),
            Some((store, submission)) => Some(store.put(job, &submission).await?),
            None => None,
        };
        if let Some(coordinator) = &program {
            self.0.slots.begin_lending(job, coordinator.lessee(&accepted.ctx.plan));
        }
        let launched = self.launch(accepted, record);
        if launched.is_err() {
            self.0.slots.end_lending(job);
        }
        launched
    }

    /// Judges that jobs can be submitted here.
    fn check_takes_jobs(&self) -> Result<(), ClusterError> {
        match self.0.application {
            None => Ok(()),
            Some(job) => Err(ClusterError::Refused(format!(
                "this JobManager runs job {job} alone, and ends with it: submit to one that was started without a job (flott jobmanager)"
            ))),
        }
    }

    /// Keeps an id for a job that is about to be submitted.
    async fn reserve(&self, job: JobId) -> Result<Reserved<'_>, ClusterError> {
        let taken = || ClusterError::Refused(format!("there is a job {job} already: each job has an id of its own"));
        if !self.reserved().insert(job) {
            return Err(taken());
        }
        let reserved = Reserved { dispatcher: self, job };
        let is_kept = match &self.0.store {
            Some(store) => store.look(job).await?.is_some(),
            None => false,
        };
        // One that is there by now was launched before its own reservation went.
        match is_kept || self.job(job).is_some() {
            true => Err(taken()),
            false => Ok(reserved),
        }
    }

    fn reserved(&self) -> MutexGuard<'_, BTreeSet<JobId>> {
        self.0.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the cluster's options to those of a job, which keeps no secret of its client's process: what is kept of it, others may read.
    fn add_options(&self, submission: &mut Submission) {
        let options = submission.plan.options.iter();
        submission.plan.options = options.filter(|(key, _)| !key.starts_with(OF_SECURITY)).collect();
        for (key, value) in self.options_of_jobs().iter() {
            if submission.plan.options.get(key).is_none() {
                submission.plan.options.set(key, value);
            }
        }
    }

    /// The options of the cluster that hold for every job which does not say otherwise.
    pub fn options_of_jobs(&self) -> Options {
        self.0.options.iter().filter(|(key, _)| !is_of_process(key)).collect()
    }

    async fn accept(
        &self,
        submission: Submission,
        origin: Origin,
        program: Option<Arc<Coordinator>>,
    ) -> Result<Accepted, ClusterError> {
        let inner = &self.0;
        self.check_leadership()?;
        let (registry, clock) = (inner.registry.clone(), inner.clock.clone());
        let epoch = inner.store.as_ref().map(JobStore::epoch);
        accept(
            &*inner.slots,
            registry,
            clock,
            program,
            submission,
            origin,
            epoch.as_ref(),
        )
        .await
    }

    fn launch(&self, accepted: Accepted, record: Option<JobRecord>) -> Result<JobHandle, ClusterError> {
        let is_program = accepted.ctx.program.is_some();
        let (handle, master) = launch(accepted, self.0.slots.clone(), record, self.0.reporter.get().cloned())?;
        let job = Job {
            handle: handle.clone(),
            master,
        };
        self.jobs_now().insert(handle.job_id, job);
        if is_program {
            self.end_lending_with(&handle);
        }
        if let Err(error) = self.check_leadership() {
            self.suspend();
            return Err(error);
        }
        Ok(handle)
    }

    fn check_leadership(&self) -> Result<(), ClusterError> {
        match self.0.is_suspended.load(Ordering::SeqCst) {
            true => Err(ClusterError::Connection(
                "this JobManager does not lead any more".to_owned(),
            )),
            false => Ok(()),
        }
    }

    /// Takes over all jobs that an earlier leader has left: those whose tasks still run go on, all others start again from their newest
    /// checkpoint. Returns when each was tried once; one that cannot be taken over yet is tried again and again.
    ///
    /// # Errors
    /// If the jobs cannot be read, or another leads by now.
    pub async fn take_over(&self) -> Result<(), ClusterError> {
        let Some(store) = &self.0.store else {
            return Ok(());
        };
        let forget_before_ms = self.0.clock.now_ms() - self.0.remembered_ms;
        let jobs = match self.0.application {
            Some(job) => store.take_over_one(job, forget_before_ms).await?,
            None => store.take_over(forget_before_ms).await?,
        };
        self.0
            .slots
            .await_attempts_of(jobs.iter().map(|job| job.record.job()).collect());
        let recovering = jobs.into_iter().map(|job| {
            let dispatcher = self.clone();
            tokio::spawn(async move {
                if let Err(error) = dispatcher.recover(&job).await {
                    dispatcher.0.slots.give_up(job.record.job());
                    tell(&job, &error);
                    tokio::spawn(recover_at_last(Arc::downgrade(&dispatcher.0), job));
                }
            })
        });
        for recovered in join_all(recovering).await {
            if let Err(panicked) = recovered {
                tracing::error!(%panicked, "a job cannot be taken over");
            }
        }
        Ok(())
    }

    async fn recover(&self, job: &TakenOver) -> Result<(), ClusterError> {
        let origin = Origin::TakenOver(job.record.job(), job.requested.clone(), job.begun);
        let program = self.recovered_program(job).await?;
        let accepted = self.accept(job.submission.clone(), origin, program).await?;
        let is_adopted = accepted.adopted.is_some();
        let job = self.launch(accepted, Some(job.record.clone()))?;
        tracing::info!(job = %job.job_id, name = job.name, is_adopted, "the job was taken over");
        Ok(())
    }

    /// Lets go of all jobs as they are, for another leader: nothing is told to tasks, nor noted anywhere.
    pub fn suspend(&self) {
        self.0.is_suspended.store(true, Ordering::SeqCst);
        for job in self.jobs_now().values() {
            job.master.abort();
        }
    }

    /// All jobs that are remembered, oldest first.
    pub fn jobs(&self) -> Vec<JobHandle> {
        let mut jobs: Vec<JobHandle> = self.jobs_now().values().map(|job| job.handle.clone()).collect();
        jobs.sort_by_key(|job| job.stats.start_time_ms());
        jobs
    }

    /// A job.
    pub fn job(&self, id: JobId) -> Option<JobHandle> {
        self.jobs_now().get(&id).map(|job| job.handle.clone())
    }

    /// The TaskManagers that are there.
    pub fn task_managers(&self) -> Vec<TaskManagerInfo> {
        self.0.slots.task_managers()
    }

    /// The TaskManager of an id, if it is there.
    pub fn task_manager(&self, id: &str) -> Option<TaskManagerRef> {
        self.0.slots.task_manager(id)
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

fn tell(job: &TakenOver, error: &ClusterError) {
    let (job, name) = (job.record.job(), &job.submission.plan.name);
    tracing::error!(%job, name, %error, "the job cannot be taken over yet, and is tried again");
}

/// Takes over a job that could not be at first: its broker may be away, or a file. Ends with the leadership.
async fn recover_at_last(dispatcher: Weak<Inner>, job: TakenOver) {
    let (submission, record) = (&job.submission, &job.record);
    let mut pause = Duration::from_secs(1);
    loop {
        timer::sleep(pause).await;
        let Some(inner) = dispatcher
            .upgrade()
            .filter(|inner| !inner.is_suspended.load(Ordering::SeqCst))
        else {
            return;
        };
        let dispatcher = Dispatcher(inner);
        let dir = submission.plan.options.get(CHECKPOINT_DIR);
        let has_its_checkpoints = |job: &JobHandle| {
            let is_running = !job.status().is_globally_terminal_state();
            is_running && job.name == submission.plan.name && job.options.get(CHECKPOINT_DIR) == dir
        };
        if dispatcher.jobs().iter().any(has_its_checkpoints) {
            tracing::error!(job = %record.job(), name = submission.plan.name, "another job of its name runs by now, and the job is given up");
            let now_ms = dispatcher.0.clock.now_ms();
            match record.ended(JobStatus::Failed, now_ms).await {
                Ok(_) => return,
                Err(error) => tell(&job, &error),
            }
        }
        match dispatcher.recover(&job).await {
            Ok(()) => return,
            Err(error) => tell(&job, &error),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
