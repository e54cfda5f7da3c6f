//! Submission: from a plan to a running job in this process, and the handle by which it is watched and stopped.

use crate::commit::SharedCommitter;
use crate::deploy::{JobContext, JobSource};
use crate::error::ClusterError;
use crate::hang::HangSettings;
use crate::high_availability::jobs::JobRecord;
use crate::job_master::{JobMaster, Message, Shown};
use crate::job_state::JobMachine;
use crate::program::{Coordinator, ProgramCommitter};
use crate::protocol::AttemptId;
use crate::requirements::{RequestedBounds, ResourceRequirements, Scheduler, SchedulerSettings, overridden};
use crate::rescaling::Rescaling;
use crate::resources::{Adopted, Slots, WithinProcess};
use crate::restart::RestartStrategy;
use crate::settings::CheckpointSettings;
use crate::stats::JobStats;
use crate::storage::{RestorePoint, Storage};
use crate::taskmanager::TaskManager;
use crate::traces::{JobTraces, SharedTraceReporter, SpanDetailLevel};
use flott_checkpoint::{ClusterEpoch, OperatorManifest};
use flott_core::clock::SharedClock;
use flott_core::{CheckpointId, JobId, JobStatus, Options};
use flott_plan::{JobGraph, Node, NodeId, Plan, Role};
use flott_runtime::connector::CommitterContext;
use flott_runtime::element::AfterBarrier;
use flott_runtime::unaligned::Unaligned;
use flott_runtime::{Committer, Registry, TaskError};
use flott_state::BackendSettings;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::task::AbortHandle;

/// What a job starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restore {
    /// Nothing: a fresh start.
    Fresh,
    /// The newest completed checkpoint of this `pipeline.name`; a fresh start where there is none.
    Latest,
    /// The checkpoint or savepoint at this path.
    Path(String),
}

impl Restore {
    /// What `execution.state-recovery.path`, or a command line, asks for: nothing, `latest` or a path.
    pub fn from_path(path: Option<&str>) -> Self {
        match path {
            None => Self::Fresh,
            Some("latest") => Self::Latest,
            Some(path) => Self::Path(path.to_owned()),
        }
    }

    /// What [`Self::from_path`] makes the same of.
    pub fn path(&self) -> Option<String> {
        match self {
            Self::Fresh => None,
            Self::Latest => Some("latest".to_owned()),
            Self::Path(path) => Some(path.clone()),
        }
    }
}

/// A job to be run.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Its plan, with its options.
    pub plan: Plan,
    /// What it starts from.
    pub restore: Restore,
    /// Whether state may be left behind whose operator the job no longer has.
    pub allow_non_restored_state: bool,
}

/// A submitted job.
#[derive(Debug, Clone)]
pub struct JobHandle {
    /// The job.
    pub job_id: JobId,
    /// `pipeline.name`.
    pub name: String,
    /// Where the checkpoint lies that it started from.
    pub restored_from: Option<String>,
    /// The options that it runs under.
    pub options: Arc<Options>,
    /// Its plan, fitted to the state that it started from; the parallelism of now [`Self::graph`] has.
    pub plan: Arc<Plan>,
    /// Counters.
    pub stats: Arc<JobStats>,
    status: watch::Receiver<JobStatus>,
    graph: watch::Receiver<Arc<JobGraph>>,
    requirements: watch::Receiver<Arc<ResourceRequirements>>,
    sender: UnboundedSender<Message>,
}

impl JobHandle {
    /// Its chains, as they run.
    pub fn graph(&self) -> Arc<JobGraph> {
        self.graph.borrow().clone()
    }

    /// The bounds of its parallelism.
    pub fn requirements(&self) -> RequestedBounds {
        self.requirements.borrow().to_requested(&self.plan, &self.graph())
    }

    /// Slots that it needs at least.
    pub fn least_slots(&self) -> usize {
        self.requirements.borrow().least_slots(&self.graph())
    }

    /// Looks at what the job's operators are in: a call of user code that hangs becomes an event of its log, once, and so does its end. For
    /// who calls it now and then, such as once a second.
    pub fn look_at_calls(&self) {
        let settings = HangSettings::from_options(&self.options).unwrap_or_default();
        self.stats.look_at_calls(settings.hangs_after);
    }

    /// Has the job run at a parallelism within these bounds from now on, as soon as there are slots: it is rescaled while it runs. Not
    /// cancel-safe: it may happen anyway.
    ///
    /// # Errors
    /// If the bounds are such as a vertex cannot have, or the job has ended.
    pub async fn require(&self, bounds: RequestedBounds) -> Result<(), String> {
        let (answer, done) = oneshot::channel();
        let _ = self.sender.send(Message::Require(bounds, answer));
        done.await
            .unwrap_or_else(|_| Err(format!("the job is {}", self.status())))
    }

    /// The status now.
    pub fn status(&self) -> JobStatus {
        *self.status.borrow()
    }

    /// Waits until the job has ended. Cancel-safe.
    pub async fn ended(&self) -> JobStatus {
        let mut status = self.status.clone();
        let last = status.wait_for(|s| s.is_globally_terminal_state()).await.map(|s| *s);
        last.unwrap_or_else(|_| self.status())
    }

    /// Waits until all tasks run, or the job has ended. Cancel-safe.
    pub async fn running(&self) -> JobStatus {
        let mut status = self.status.clone();
        let is_it = |s: &JobStatus| *s == JobStatus::Running || s.is_globally_terminal_state();
        let reached = status.wait_for(is_it).await.map(|s| *s);
        reached.unwrap_or_else(|_| self.status())
    }

    /// Takes a savepoint and gives its path; with `stop` the job ends behind it. Not cancel-safe: it may be taken anyway.
    ///
    /// # Errors
    /// The reason why it was not taken.
    pub async fn savepoint(&self, dir: Option<String>, stop: bool) -> Result<String, String> {
        match stop {
            true => self.savepoint_then(dir, AfterBarrier::Stop).await,
            false => self.savepoint_then(dir, AfterBarrier::Continue).await,
        }
    }

    /// Brings event time to its end, so that all windows and timers of event time fire, takes a savepoint, and ends the job behind it:
    /// for jobs that do not go on from there. Not cancel-safe: it may happen anyway.
    ///
    /// # Errors
    /// The reason why it was not taken.
    pub async fn drain(&self, dir: Option<String>) -> Result<String, String> {
        self.savepoint_then(dir, AfterBarrier::Drain).await
    }

    async fn savepoint_then(&self, dir: Option<String>, then: AfterBarrier) -> Result<String, String> {
        let (answer, path) = oneshot::channel();
        let _ = self.sender.send(Message::Savepoint { dir, then, answer });
        path.await
            .unwrap_or_else(|_| Err(format!("the job is {}", self.status())))
    }

    /// Takes a checkpoint now and gives its number. Not cancel-safe: it may be taken anyway.
    ///
    /// # Errors
    /// The reason why it was not taken.
    pub async fn checkpoint(&self) -> Result<CheckpointId, String> {
        let (answer, taken) = oneshot::channel();
        let _ = self.sender.send(Message::Checkpoint(answer));
        taken
            .await
            .unwrap_or_else(|_| Err(format!("the job is {}", self.status())))
    }

    /// Ends the job behind a last checkpoint of its own.
    pub fn stop(&self) {
        let _ = self.sender.send(Message::Stop);
    }

    /// Ends the job as it is.
    pub fn cancel(&self) {
        let _ = self.sender.send(Message::Cancel);
    }

    /// Makes the task of an operator fail, as if its machine had, for tests: `operator` is a part of the operator's name, `subtask` counts
    /// from 0. What follows is up to the job's restart strategy.
    ///
    /// # Errors
    /// If no task of that name runs; the text says which do.
    pub async fn fail_task(&self, operator: &str, subtask: usize) -> Result<(), String> {
        let (answer, done) = oneshot::channel();
        let _ = self.sender.send(Message::FailTask {
            operator: operator.to_owned(),
            subtask,
            answer,
        });
        done.await
            .unwrap_or_else(|_| Err(format!("the job is {}", self.status())))
    }
}

/// A job whose plan, options and state to start from were found right.
pub(crate) struct Accepted {
    pub(crate) ctx: JobContext,
    pub(crate) settings: CheckpointSettings,
    pub(crate) storage: Storage,
    pub(crate) restore: Option<RestorePoint>,
    pub(crate) sources: HashMap<NodeId, JobSource>,
    pub(crate) committers: BTreeMap<NodeId, SharedCommitter>,
    /// What runs of it, since an earlier leader's time.
    pub(crate) adopted: Option<Adopted>,
    pub(crate) origin: Origin,
    pub(crate) scheduling: SchedulerSettings,
    pub(crate) requirements: ResourceRequirements,
}

/// Where a job comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Somebody has submitted it now.
    Submitted,
    /// The same, under an id that it always has.
    SubmittedAs(JobId),
    /// Another leader has run it; the parallelism that users have asked for since it was submitted, and the last attempt that was noted.
    TakenOver(JobId, Option<RequestedBounds>, Option<AttemptId>),
}

impl Origin {
    fn is_taken_over(&self) -> bool {
        matches!(self, Self::TakenOver(..))
    }
}

/// Judges a job, and opens its storage, for the leader of an epoch under high availability.
///
/// # Errors
/// If an option, the plan, the checkpoint storage or the state to start from is wrong.
pub(crate) async fn accept(
    slots: &dyn Slots,
    registry: Arc<Registry>,
    clock: SharedClock,
    program: Option<Arc<Coordinator>>,
    submission: Submission,
    origin: Origin,
    epoch: Option<&ClusterEpoch>,
) -> Result<Accepted, ClusterError> {
    let mut plan = submission.plan;
    plan.validate()?;
    let options = Arc::new(plan.options.clone());
    let settings = CheckpointSettings::from_options(&options)?;
    if let Some(refusal) = Unaligned::refusal(&options) {
        tracing::warn!(job = plan.name, "{refusal}");
    }
    // Each attempt and its master make their own; here a wrong one is refused before anything starts.
    RestartStrategy::from_options(&options, settings.interval_ms.is_some())?;
    BackendSettings::from_options(&options).map_err(TaskError::from)?;
    HangSettings::from_options(&options)?;
    SpanDetailLevel::from_options(&options)?;
    let chaining = options.boolean("pipeline.operator-chaining.enabled")?.unwrap_or(true);
    let scheduling = SchedulerSettings::from_options(&options)?;
    let job_id = match &origin {
        Origin::Submitted => new_id(&plan, &clock),
        Origin::SubmittedAs(id) | Origin::TakenOver(id, ..) => *id,
    };
    let storage = Storage::open(&settings, &options, &plan.name, job_id, epoch).await?;
    let is_taken_over = origin.is_taken_over();
    let adopted = match &origin {
        Origin::TakenOver(_, _, begun) => adopt(slots, job_id, *begun, &storage).await?,
        Origin::Submitted | Origin::SubmittedAs(_) => None,
    };
    let (restore, adopted) = match adopted {
        Some((point, adopted)) => (Some(point), Some(adopted)),
        None => {
            let keeps = slots.are_within_process();
            let found = storage.find(&submission.restore, is_taken_over, &plan, keeps);
            (found.await?, None)
        }
    };
    if let Some(point) = &restore {
        fit(&mut plan, point, submission.allow_non_restored_state)?;
    }
    let graph = Arc::new(JobGraph::of(&plan, chaining));
    let parallelism = overridden(&plan, &graph)?;
    let generation = storage.generation();
    let ctx = JobContext {
        job_id,
        plan: Arc::new(plan),
        graph,
        options,
        registry,
        clock,
        generation,
        program,
    };
    let ctx = ctx.at(&parallelism);
    let scheduler = match slots.are_within_process() {
        // There are none to follow.
        true => Scheduler::Default,
        false => scheduling.scheduler,
    };
    let requirements = requirements_of(&ctx, &origin, scheduler);
    let ctx = match &adopted {
        Some(adopted) => ctx.at(&adopted.deployed.placement.iter().map(Vec::len).collect::<Vec<_>>()),
        None => ctx,
    };
    let (sources, committers) = edges_of(&ctx)?;
    Ok(Accepted {
        ctx,
        settings,
        storage,
        restore,
        sources,
        committers,
        adopted,
        origin,
        scheduling,
        requirements,
    })
}

/// What a job shall have: as it was submitted, or as users have asked for since.
fn requirements_of(ctx: &JobContext, origin: &Origin, scheduler: Scheduler) -> ResourceRequirements {
    let submitted = ResourceRequirements::of(&ctx.plan, &ctx.graph, scheduler);
    let Origin::TakenOver(job, Some(requested), _) = origin else {
        return submitted;
    };
    let requested = submitted.requested(&ctx.plan, &ctx.graph, requested);
    requested.unwrap_or_else(|why| {
        tracing::error!(%job, why, "the parallelism that was asked for does not fit the job any more");
        submitted
    })
}

/// The id of a job that comes now.
pub(crate) fn new_id(plan: &Plan, clock: &SharedClock) -> JobId {
    // Jobs of one name may come within one millisecond.
    static SUBMITTED: AtomicU64 = AtomicU64::new(0);
    let number = SUBMITTED.fetch_add(1, Ordering::Relaxed);
    JobId::of(&format!(
        "{}/{}/{}/{number}",
        plan.name,
        clock.now_ms(),
        std::process::id()
    ))
}

/// Takes over what runs of a job, with the checkpoint that it goes on from.
async fn adopt(
    slots: &dyn Slots,
    job: JobId,
    least: Option<AttemptId>,
    storage: &Storage,
) -> Result<Option<(RestorePoint, Adopted)>, ClusterError> {
    let newest = storage.newest_of_job().await?;
    let Some(adopted) = slots
        .adopt(job, least, newest.as_ref().map(|point| point.manifest().checkpoint_id))
        .await
    else {
        return Ok(None);
    };
    let Some(point) = newest else {
        return Ok(None);
    };
    let begun = adopted.held.iter().map(|held| held.last_checkpoint).max().unwrap_or(0);
    storage.go_on_from(&point, begun).await?;
    Ok(Some((point, adopted)))
}

/// Starts a job in this process. Returns when it is accepted; whether it runs, the handle tells.
///
/// # Errors
/// If an option, the plan, the checkpoint storage or the state to start from is wrong.
pub async fn submit(
    registry: Arc<Registry>,
    clock: SharedClock,
    submission: Submission,
) -> Result<JobHandle, ClusterError> {
    submit_traced(registry, clock, submission, None).await
}

/// The same, and tells a reporter of its checkpoints and recoveries.
///
/// # Errors
/// As [`submit`].
pub async fn submit_traced(
    registry: Arc<Registry>,
    clock: SharedClock,
    submission: Submission,
    reporter: Option<SharedTraceReporter>,
) -> Result<JobHandle, ClusterError> {
    let manager = TaskManager::new(registry.clone(), clock.clone(), None);
    let slots = Arc::new(WithinProcess::new(manager));
    let accepted = accept(&*slots, registry, clock, None, submission, Origin::Submitted, None).await?;
    Ok(launch(accepted, slots, None, reporter)?.0)
}

/// Runs a job that was accepted; `record` notes its end for other leaders. The second of the answer ends it without a trace when it is
/// aborted; `reporter` is told of its checkpoints and recoveries.
///
/// # Errors
/// If its restart strategy is wrong.
pub(crate) fn launch(
    accepted: Accepted,
    slots: Arc<dyn Slots>,
    record: Option<JobRecord>,
    reporter: Option<SharedTraceReporter>,
) -> Result<(JobHandle, AbortHandle), ClusterError> {
    let Accepted {
        ctx,
        settings,
        storage,
        restore,
        sources,
        committers,
        adopted,
        origin,
        scheduling,
        requirements,
    } = accepted;
    let strategy = RestartStrategy::from_options(&ctx.options, settings.interval_ms.is_some())?;
    let (machine, effects) = match &adopted {
        None if !origin.is_taken_over() => JobMachine::start(settings.clone(), strategy, ctx.subtasks()),
        None => JobMachine::start_again(settings.clone(), strategy, ctx.subtasks()),
        Some(adopted) => JobMachine::adopt(
            settings.clone(),
            strategy,
            ctx.subtasks(),
            adopted.deployed.id.attempt,
            storage.next_checkpoint_id(),
            ctx.clock.now_ms(),
        ),
    };
    let (status_sender, status) = watch::channel(JobStatus::Created);
    let (graph_sender, graph) = watch::channel(ctx.graph.clone());
    let (requirements_sender, requirements) = watch::channel(Arc::new(requirements));
    let (sender, inbox) = unbounded_channel();
    let stats = JobStats::new(ctx.job_id, &ctx.plan.name);
    let stats = Arc::new(match reporter {
        Some(reporter) => {
            let level = SpanDetailLevel::from_options(&ctx.options)?;
            stats.traced(JobTraces::new(reporter, level, ctx.job_id, &ctx.plan, &ctx.graph))
        }
        None => stats,
    });
    let handle = JobHandle {
        job_id: ctx.job_id,
        name: ctx.plan.name.clone(),
        restored_from: restore.as_ref().map(RestorePoint::path),
        options: ctx.options.clone(),
        plan: ctx.plan.clone(),
        stats: stats.clone(),
        status,
        graph,
        requirements,
        sender: sender.clone(),
    };
    let shown = Shown {
        status: status_sender,
        graph: graph_sender,
        requirements: requirements_sender,
        stats,
    };
    let master = JobMaster::new(
        ctx,
        slots,
        storage,
        machine,
        sources,
        committers,
        restore,
        record,
        settings.savepoint_dir,
        (sender, inbox),
        shown,
        Rescaling::new(scheduling),
    );
    let running = tokio::spawn(master.run(effects, adopted));
    Ok((handle, running.abort_handle()))
}

/// The sources and committers of a job.
type Edges = (HashMap<NodeId, JobSource>, BTreeMap<NodeId, SharedCommitter>);

/// Makes the sources and committers of a job.
fn edges_of(ctx: &JobContext) -> Result<Edges, ClusterError> {
    let sources = ctx.sources()?;
    let mut committers = BTreeMap::new();
    for node in ctx.plan.nodes.iter().filter(|node| node.role == Role::Sink) {
        let committer_ctx = CommitterContext {
            job_id: ctx.job_id,
            job_name: ctx.plan.name.clone(),
            operator_id: node.operator_id,
            options: ctx.options.clone(),
            generation: ctx.generation,
        };
        let committer: Option<Box<dyn Committer>> = match &ctx.program {
            Some(coordinator) => Some(Box::new(ProgramCommitter::new(
                coordinator.clone(),
                node,
                committer_ctx,
            ))),
            None => {
                let sink = ctx.registry.make_sink(node)?;
                sink.committer(&committer_ctx).map_err(TaskError::from)?
            }
        };
        if let Some(committer) = committer {
            let shared: SharedCommitter = Arc::new(Mutex::new(committer));
            committers.insert(node.id, shared);
        }
    }
    Ok((sources, committers))
}

/// Makes the plan fit the state: the number of key groups is fixed for the life of the state, and no state is lost unasked.
fn fit(plan: &mut Plan, point: &RestorePoint, allow_non_restored: bool) -> Result<(), ClusterError> {
    let fixed = plan.options.get("pipeline.max-parallelism").is_some();
    for operator in &point.manifest().operators {
        let Some(node) = plan.nodes.iter_mut().find(|n| n.operator_id == operator.id) else {
            if !allow_non_restored {
                return Err(ClusterError::Restore(format!(
                    "{} holds state of the operator '{}' ({}), which this job does not have; its operators are {}. \
                     Start with --allow-non-restored-state to leave that state behind",
                    point.path(),
                    operator.name,
                    operator.id,
                    plan.nodes
                        .iter()
                        .map(|n| format!("'{}'", n.name))
                        .collect::<Vec<_>>()
                        .join(", ")
                )));
            }
            continue;
        };
        fit_node(node, operator, fixed)?;
    }
    Ok(())
}

/// Gives a node the key groups of its state; `fixed`: the job asks for another number itself.
///
/// # Errors
/// If the node cannot have so many.
pub(crate) fn fit_node(node: &mut Node, operator: &OperatorManifest, fixed: bool) -> Result<(), ClusterError> {
    if node.max_parallelism == operator.max_parallelism {
        return Ok(());
    }
    if fixed || node.parallelism > operator.max_parallelism {
        return Err(ClusterError::Restore(format!(
            "the state of '{}' has {} key groups, which is fixed; the job asks for a max parallelism of {} and \
             a parallelism of {}. Remove pipeline.max-parallelism, and use at most {}",
            node.name, operator.max_parallelism, node.max_parallelism, node.parallelism, operator.max_parallelism
        )));
    }
    node.max_parallelism = operator.max_parallelism;
    Ok(())
}
