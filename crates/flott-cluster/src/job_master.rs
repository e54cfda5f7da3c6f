//! The job master: carries out what [`JobMachine`] decides, and turns what happens into its events.
//!
//! One Tokio task per job; everything that happens arrives in its inbox in order, so splits that were handed out before
//! a checkpoint's trigger are in the readers before its barrier. Slow work (discovery, encoding, writing, committing)
//! runs in tasks of its own, which report back to the inbox.
//!
//! Fail points on the walk of a checkpoint: `checkpoint-trigger` (before the barriers), `checkpoint-ack` (a subtask's
//! state is written, not yet acknowledged), `checkpoint-complete` (the manifest exists, nothing is committed),
//! `checkpoint-commit` (between the commits of two transactions), `sink-commit` (`skip`, `twice`: bends the commit).

use crate::alignment::Alignment;
use crate::allocation::allocate;
use crate::commit::{SharedCommitter, commit_with_retries, committables};
use crate::coordinator::{CheckpointKind, SubtaskId};
use crate::deploy::{JobContext, JobSource};
use crate::deployed::Deployed;
use crate::error::ClusterError;
use crate::failure_label::Cause;
use crate::high_availability::jobs::{JobRecord, Noted};
use crate::history::FailedTask;
use crate::job_state::{Effect, Event, Failure, JobMachine};
use crate::liveness;
use crate::preloading::Preloading;
use crate::prepare::{Prepared, prepare};
use crate::protocol::{AttemptId, Order, Peer, Report, TaskFailure, WrittenPart};
use crate::requirements::{RequestedBounds, ResourceRequirements};
use crate::rescaling::{RequirementsAnswer, Rescaling};
use crate::resources::{Adopted, Heard, Slots};
use crate::savepoint::{SavepointAnswer, WantedSavepoint};
use crate::stats::JobStats;
use crate::storage::{RestorePoint, Storage};
use crate::timer;
use flott_core::clock::SharedClock;
use flott_core::{CheckpointId, EventTime, JobStatus, OperatorId};
use flott_plan::{JobGraph, NodeId};
use flott_runtime::connector::TimedSplit;
use flott_runtime::element::{AfterBarrier, Barrier};
use flott_runtime::error::panic_text;
use flott_runtime::failpoint;
use flott_runtime::task::TaskCommand;
use flott_runtime::unaligned::Unaligned;
use flott_runtime::{FailureLabel, TaskError};
use futures::FutureExt;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle};

/// What arrives in the inbox.
pub(crate) enum Message {
    /// A fact for the machine, of this attempt.
    Fact(u64, Event),
    /// What one of the attempt's TaskManagers tells.
    Heard(u64, usize, Heard),
    /// An attempt is prepared.
    Prepared(u64, Box<Prepared>),
    /// A TaskManager has read the state of an attempt that may come, in a round: how many bytes, or why not.
    Preloaded(u64, usize, Result<u64, String>),
    /// A checkpoint exists.
    Written(u64, CheckpointId, RestorePoint),
    /// Its sinks are committed, and it is copied into the savepoint, if there is one, behind which the job stops.
    Committed(u64, CheckpointId, Option<Box<WantedSavepoint>>),
    /// An enumerator found splits.
    Discovered(u64, NodeId, Vec<(usize, TimedSplit)>, Vec<u8>),
    /// A savepoint is wanted; the answer is its path.
    Savepoint {
        dir: Option<String>,
        then: AfterBarrier,
        answer: SavepointAnswer,
    },
    /// Its folder is ready.
    SavepointPlace(Box<WantedSavepoint>, AfterBarrier),
    /// A checkpoint is wanted now; the answer is its number.
    Checkpoint(CheckpointAnswer),
    /// The job shall stop at a last checkpoint of its own.
    Stop,
    /// The job shall be cancelled.
    Cancel,
    /// The job shall run at a parallelism within these bounds.
    Require(RequestedBounds, RequirementsAnswer),
    /// They are right, and kept.
    Required(Arc<ResourceRequirements>, RequirementsAnswer),
    /// Slots have come, gone, or come free.
    SlotsChanged,
    /// The task of an operator shall fail.
    FailTask {
        operator: String,
        subtask: usize,
        answer: oneshot::Sender<Result<(), String>>,
    },
}

/// Between two tries to note a job's end.
const RETRY_NOTE: Duration = Duration::from_secs(1);

/// What runs beside a master; ends with one that is dropped before its job has ended, because another JobManager goes on with it.
#[derive(Default)]
struct Tasks(Vec<AbortHandle>);

impl Tasks {
    fn add(&mut self, task: &JoinHandle<()>) {
        self.0.retain(|task| !task.is_finished());
        self.0.push(task.abort_handle());
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// What all see of a job who have its handle.
pub(crate) struct Shown {
    pub(crate) status: watch::Sender<JobStatus>,
    pub(crate) graph: watch::Sender<Arc<JobGraph>>,
    pub(crate) requirements: watch::Sender<Arc<ResourceRequirements>>,
    pub(crate) stats: Arc<JobStats>,
}

/// Gets a checkpoint's number, or why there is none.
type CheckpointAnswer = oneshot::Sender<Result<CheckpointId, String>>;

/// A checkpoint whose parts arrive.
struct Collecting {
    kind: CheckpointKind,
    triggered_ms: i64,
    parts: BTreeMap<SubtaskId, WrittenPart>,
    enumerators: Vec<(OperatorId, Vec<u8>)>,
    /// The checkpoint, once it exists.
    written: Option<RestorePoint>,
    /// The savepoint, once it exists, behind which the job stops.
    savepoint: Option<WantedSavepoint>,
    /// Who waits for it.
    asked: Vec<CheckpointAnswer>,
}

pub(crate) struct JobMaster {
    pub(crate) ctx: JobContext,
    pub(crate) slots: Arc<dyn Slots>,
    pub(crate) storage: Storage,
    pub(crate) machine: JobMachine,
    pub(crate) sources: HashMap<NodeId, JobSource>,
    pub(crate) committers: BTreeMap<NodeId, SharedCommitter>,
    pub(crate) restore: Option<RestorePoint>,
    /// Its log, under high availability.
    pub(crate) record: Option<JobRecord>,
    pub(crate) savepoint_dir: Option<String>,
    pub(crate) inbox: UnboundedReceiver<Message>,
    pub(crate) sender: UnboundedSender<Message>,
    pub(crate) shown: Shown,
    pub(crate) stats: Arc<JobStats>,
    pub(crate) rescaling: Rescaling,
    pub(crate) preloading: Option<Preloading>,
    /// Rounds of it that were begun.
    pub(crate) preload_rounds: u64,
    /// The manifest that is being written.
    writing: Option<JoinHandle<()>>,
    pub(crate) deployed: Option<Deployed>,
    pub(crate) alignment: Alignment,
    collecting: HashMap<CheckpointId, Collecting>,
    pub(crate) enumerator_states: BTreeMap<NodeId, Vec<u8>>,
    pub(crate) prepared: Option<Box<Prepared>>,
    /// Savepoints that are not committed yet, by request.
    savepoints: HashMap<u64, WantedSavepoint>,
    savepoint_requests: u64,
    /// Who waits for the next checkpoint.
    asked: Vec<CheckpointAnswer>,
    pub(crate) discovery: Vec<JoinHandle<()>>,
    /// What runs beside it.
    tasks: Mutex<Tasks>,
    stopped: bool,
    stop_wanted: bool,
}

impl JobMaster {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        ctx: JobContext,
        slots: Arc<dyn Slots>,
        storage: Storage,
        machine: JobMachine,
        sources: HashMap<NodeId, JobSource>,
        committers: BTreeMap<NodeId, SharedCommitter>,
        restore: Option<RestorePoint>,
        record: Option<JobRecord>,
        savepoint_dir: Option<String>,
        (sender, inbox): (UnboundedSender<Message>, UnboundedReceiver<Message>),
        shown: Shown,
        rescaling: Rescaling,
    ) -> Self {
        let stats = shown.stats.clone();
        Self {
            ctx,
            slots,
            storage,
            machine,
            sources,
            committers,
            restore,
            record,
            savepoint_dir,
            inbox,
            sender,
            shown,
            stats,
            rescaling,
            preloading: None,
            preload_rounds: 0,
            writing: None,
            deployed: None,
            alignment: Alignment::default(),
            collecting: HashMap::new(),
            enumerator_states: BTreeMap::new(),
            prepared: None,
            savepoints: HashMap::new(),
            savepoint_requests: 0,
            asked: vec![],
            discovery: vec![],
            tasks: Mutex::default(),
            stopped: false,
            stop_wanted: false,
        }
    }

    /// Runs the job to its end; `adopted` runs already.
    pub(crate) async fn run(mut self, first: Vec<Effect>, adopted: Option<Adopted>) {
        if let Some(adopted) = adopted {
            let attempt = adopted.deployed.id.attempt;
            let adopting = AssertUnwindSafe(self.adopt(adopted)).catch_unwind();
            if let Err(panic) = adopting.await {
                let text = format!("the adoption of an attempt panicked: {}", panic_text(&*panic));
                let failed = Event::CommitFailed(Failure::of(Cause::Panicked, text));
                let _ = self.sender.send(Message::Fact(attempt, failed));
            }
        }
        let mut effects: VecDeque<Effect> = first.into();
        let restored_from = self.restore.as_ref().map(RestorePoint::path);
        self.stats.submitted(&self.ctx.plan.name, restored_from);
        self.hear_slots();
        let watched = liveness::process().watch(format!("the master of job {}", self.ctx.job_id));
        loop {
            while let Some(effect) = effects.pop_front() {
                self.perform(effect);
            }
            if self.machine.status().is_globally_terminal_state() {
                break;
            }
            if let Some((attempt, event)) = self.rescale_if_due() {
                let now_ms = self.ctx.clock.now_ms();
                effects.extend(self.machine.handle(now_ms, attempt, event));
                continue;
            }
            let next_times = [self.machine.next_time(), self.rescaling.next_time()];
            let next_time = next_times.into_iter().flatten().min();
            let wait = next_time.map(|t| t.saturating_sub(self.ctx.clock.now_ms()).max(0) as u64);
            watched.waits();
            let message = match wait {
                Some(wait_ms) => timer::timeout(Duration::from_millis(wait_ms.min(60_000)), self.inbox.recv())
                    .await
                    .ok()
                    .flatten(),
                None => self.inbox.recv().await,
            };
            watched.works();
            let (attempt, event) = match message {
                None => (self.machine.attempt(), Event::Tick),
                Some(message) => match self.receive(message) {
                    Some(fact) => fact,
                    None => continue,
                },
            };
            let now_ms = self.ctx.clock.now_ms();
            effects.extend(self.machine.handle(now_ms, attempt, event));
        }
        drop(watched);
        self.end().await;
    }

    /// Turns a message into a fact for the machine, doing what the machine need not know.
    fn receive(&mut self, message: Message) -> Option<(u64, Event)> {
        let current = self.machine.attempt();
        match message {
            Message::Fact(attempt, event) => Some((attempt, event)),
            Message::Prepared(attempt, prepared) => {
                let (next_id, subtasks) = (prepared.next_checkpoint, prepared.ctx.subtasks());
                self.prepared = Some(prepared);
                Some((attempt, Event::Prepared(next_id, subtasks)))
            }
            Message::Preloaded(round, manager, read) => {
                self.preloaded(round, manager, read);
                None
            }
            Message::Written(attempt, id, point) => {
                if attempt == current {
                    self.collecting.get_mut(&id)?.written = Some(point);
                }
                Some((attempt, Event::Written(id)))
            }
            Message::Committed(attempt, id, savepoint) => {
                if let Some(savepoint) = savepoint {
                    let running = attempt == current && self.machine.status() == JobStatus::Running;
                    match self.collecting.get_mut(&id).filter(|_| running) {
                        Some(collecting) => collecting.savepoint = Some(*savepoint),
                        None => savepoint.not_stopped(&self.ended_how()),
                    }
                }
                Some((attempt, Event::Committed(id)))
            }
            Message::Discovered(attempt, node, splits, state) => {
                if attempt == current && self.deployed.is_some() {
                    self.hand_out(node, splits);
                    self.enumerator_states.insert(node, state);
                }
                None
            }
            Message::SavepointPlace(wanted, then) => {
                if self.machine.status() != JobStatus::Running {
                    tokio::spawn(wanted.give_up(self.not_running()));
                    return None;
                }
                let request = self.savepoint_requests;
                self.savepoint_requests += 1;
                self.savepoints.insert(request, *wanted);
                Some((current, Event::Want(CheckpointKind::Savepoint { request, then })))
            }
            Message::Heard(attempt, _, Heard::Subtask(subtask, report)) => self.report(attempt, subtask, report),
            Message::Heard(attempt, _, Heard::Counted(readings)) => {
                if attempt == current {
                    self.stats.show(&readings);
                }
                None
            }
            Message::Heard(attempt, manager, Heard::Lost(text)) => {
                let deployed = self.deployed.as_ref().filter(|d| d.id.attempt == attempt)?;
                let lost = deployed.of_task_manager(manager);
                let names = lost.iter().map(|id| (*id, self.ctx.graph.vertices[id.0].name.clone()));
                let peer = &deployed.allocation.task_managers[manager].peer;
                self.stats
                    .task_manager_lost(peer, names, &text, &self.slots.task_managers());
                let failure = Failure::of(Cause::TaskManagerLost, text);
                Some((attempt, Event::TaskManagerLost(lost, failure)))
            }
            Message::Savepoint { dir, then, answer } => {
                let Some(dir) = dir.or_else(|| self.savepoint_dir.clone()) else {
                    let text = "no savepoint directory: give one, or set execution.checkpointing.savepoint-dir";
                    let _ = answer.send(Err(text.to_owned()));
                    return None;
                };
                if self.machine.status() != JobStatus::Running {
                    let _ = answer.send(Err(self.not_running()));
                    return None;
                }
                let (storage, sender) = (self.storage.clone(), self.sender.clone());
                tokio::spawn(async move {
                    match storage.savepoint(&dir).await {
                        Ok(place) => {
                            let wanted = Box::new(WantedSavepoint::new(place, answer));
                            let _ = sender.send(Message::SavepointPlace(wanted, then));
                        }
                        Err(error) => {
                            let _ = answer.send(Err(error.to_string()));
                        }
                    }
                });
                None
            }
            Message::Checkpoint(answer) => {
                if self.machine.status() != JobStatus::Running {
                    let _ = answer.send(Err(self.not_running()));
                    return None;
                }
                self.asked.push(answer);
                Some((current, Event::Want(CheckpointKind::Periodic)))
            }
            Message::Stop => {
                self.stop_wanted = true;
                Some((current, Event::Want(CheckpointKind::Stop)))
            }
            Message::Cancel => Some((current, Event::Cancel)),
            Message::Require(requested, answer) => {
                self.require(requested, answer);
                None
            }
            Message::Required(requirements, answer) => {
                self.required(requirements, answer);
                None
            }
            Message::SlotsChanged => {
                self.rescaling.is_open = true;
                None
            }
            Message::FailTask {
                operator,
                subtask,
                answer,
            } => {
                let _ = answer.send(self.fail_task(&operator, subtask));
                None
            }
        }
    }

    /// Tells a task to fail.
    ///
    /// # Errors
    /// If it does not run.
    fn fail_task(&self, operator: &str, subtask: usize) -> Result<(), String> {
        let vertices = &self.ctx.graph.vertices;
        let of_operator = |(vertex, index): &SubtaskId| {
            let mut nodes = vertices[*vertex]
                .nodes
                .iter()
                .map(|node| &self.ctx.plan.nodes[*node].name);
            *index == subtask && nodes.any(|name| name.contains(operator))
        };
        if self.machine.status() != JobStatus::Running {
            return Err(self.not_running());
        }
        let found = self.ctx.subtasks().into_iter().find(of_operator);
        let (Some(id), Some(deployed)) = (found, &self.deployed) else {
            let tasks = vertices
                .iter()
                .map(|v| format!("'{}' ({} subtasks)", v.name, v.parallelism));
            let tasks: Vec<String> = tasks.collect();
            let text = format!(
                "no task of '{operator}' has subtask {subtask}; there are {}",
                tasks.join(", ")
            );
            return Err(text);
        };
        let text = "the task was told to fail";
        deployed.tell(id, TaskCommand::Fail(Cause::ToldToFail.label(), text.to_owned()));
        Ok(())
    }

    fn not_running(&self) -> String {
        format!("the job is {}, not RUNNING", self.machine.status())
    }

    fn report(&mut self, attempt: u64, subtask: SubtaskId, report: Report) -> Option<(u64, Event)> {
        let is_current = attempt == self.machine.attempt();
        match report {
            Report::Part(id, part) => {
                let collecting = self.collecting.get_mut(&id).filter(|_| is_current)?;
                self.stats.acknowledged(id, subtask, part.sizes());
                collecting.parts.insert(subtask, *part);
                Some((attempt, Event::Acknowledged(id, subtask)))
            }
            Report::PartFailed(id, failure) => Some((attempt, Event::CheckpointFailed(id, failure.into()))),
            Report::Running => {
                if is_current {
                    self.stats.task_running(subtask);
                }
                None
            }
            Report::ReportedWatermark(reached) => {
                self.align(attempt, subtask, reached);
                None
            }
            Report::Latency(latency_ms) => {
                self.stats.latency(latency_ms);
                None
            }
            Report::Drained => Some((attempt, Event::Drained(subtask))),
            Report::Ended => {
                if is_current {
                    self.stats.task_ended(subtask);
                }
                Some((attempt, Event::Ended(subtask)))
            }
            Report::Failed(TaskFailure { text, retryable, label }) => {
                let vertex = self.ctx.graph.vertices.get(subtask.0)?;
                let text = format!("{} ({}/{}): {text}", vertex.name, subtask.1 + 1, vertex.parallelism);
                let (name, at) = (vertex.name.clone(), self.place(subtask));
                if is_current {
                    let task = FailedTask {
                        subtask,
                        name,
                        label,
                        at,
                    };
                    self.stats.task_failed(task, &text);
                }
                Some((attempt, Event::TaskFailed(subtask, Failure { label, text, retryable })))
            }
        }
    }

    /// Where a subtask of the running attempt is.
    fn place(&self, (vertex, subtask): SubtaskId) -> Option<Peer> {
        let deployed = self.deployed.as_ref()?;
        let index = *deployed.placement.get(vertex)?.get(subtask)?;
        Some(deployed.allocation.task_managers.get(index)?.peer.clone())
    }

    /// Tells a source how far it may read.
    fn align(&mut self, attempt: u64, subtask: SubtaskId, reached: EventTime) {
        if attempt != self.machine.attempt() {
            return;
        }
        if let (Some(limit), Some(deployed)) = (self.alignment.limit(subtask, reached), &self.deployed) {
            deployed.tell(subtask, TaskCommand::AlignWatermarks(limit));
        }
    }

    fn perform(&mut self, effect: Effect) {
        let attempt = self.machine.attempt();
        match effect {
            Effect::Prepare(attempt) => self.prepare(attempt),
            Effect::Deploy(attempt) => self.deploy(attempt),
            Effect::Trigger(id, kind) => self.trigger(id, kind),
            Effect::Write(id) => self.write(attempt, id),
            Effect::Commit(id) => self.commit(attempt, id),
            Effect::Notify(id, kind) => {
                let collected = self.collecting.remove(&id);
                self.stopped |= kind.stops();
                // It tells how large the state is, on which it may depend.
                self.rescaling.is_open = true;
                if kind == CheckpointKind::Rescale {
                    self.stats.rescaled();
                }
                if let Some(collected) = collected {
                    collected.savepoint.into_iter().for_each(WantedSavepoint::written);
                    collected.asked.into_iter().for_each(|answer| drop(answer.send(Ok(id))));
                }
                self.send_all(TaskCommand::CheckpointComplete(id));
                // What is read ahead must not go meanwhile.
                if !self.preloading.as_ref().is_some_and(Preloading::is_reading) {
                    let storage = self.storage.clone();
                    tokio::spawn(async move { storage.clean_up().await });
                }
                tracing::debug!(checkpoint = id, ?kind, "checkpoint complete");
            }
            Effect::Abort(id, kind, reason) => self.abort(id, &kind, &reason),
            Effect::CancelTasks => {
                self.stats.tasks_cancelling();
                self.send_all(TaskCommand::Cancel);
            }
            Effect::FinishTasks => self.send_all(TaskCommand::Finish),
            Effect::Restarting(failure, delay_ms) => {
                self.stats.restarted(&failure, delay_ms);
                tracing::warn!(delay_ms, cause = failure.text, "the job failed and is started again");
            }
            Effect::Status(status) => {
                if let (JobStatus::Failed, Some(failure)) = (status, self.machine.failure()) {
                    self.stats.failed(failure);
                }
                self.stats.status(status);
                if matches!(status, JobStatus::Restarting | JobStatus::Failing) || status.is_globally_terminal_state() {
                    self.stop_discovery();
                }
                if status != JobStatus::Running {
                    self.give_savepoints_up();
                }
                // Who waits for the end may look at what is left behind: the end is told when all is cleaned up.
                if !status.is_globally_terminal_state() {
                    self.shown.status.send_replace(status);
                }
            }
        }
    }

    fn prepare(&mut self, attempt: u64) {
        // Its slots stay the job's until it has others, for which the next attempt may wait.
        let had = self
            .deployed
            .take()
            .and_then(|mut deployed| deployed.allocation.held.take());
        self.collecting.clear();
        self.stop_discovery();
        self.rescaling.begins();
        let id = self.attempt_id(attempt);
        // Behind a failure, too, what was read ahead is of use.
        self.preloading.take_if(|preloading| !preloading.is_for(id));
        let (ctx, storage) = (self.ctx.clone(), self.storage.clone());
        let (sources, committers) = (self.sources.clone(), self.committers.clone());
        let (writing, restore) = (self.writing.take(), self.restore.clone());
        let (slots, mut status) = (self.slots.clone(), self.shown.status.subscribe());
        let (requirements, settings) = (self.shown.requirements.subscribe(), self.rescaling.settings.clone());
        let stats = self.stats.clone();
        let record = self.record.clone();
        let needed = requirements.borrow().least_slots(&ctx.graph);
        stats.slots_requested(attempt, needed, self.ctx.subtasks());
        let failed = move |failure| Message::Fact(attempt, Event::PrepareFailed(failure));
        let work = async move {
            // What the attempt before is writing comes to exist, or not, before anything is settled.
            if let Some(writing) = writing {
                let _ = writing.await;
            }
            let allocation = async {
                tokio::select! {
                    // In one order, so that a simulated run can be repeated.
                    biased;
                    allocation = allocate(&ctx, &*slots, requirements, &settings, had) => allocation,
                    _ = status.wait_for(|s| s.is_globally_terminal_state()) => {
                        Err(ClusterError::Resources("the job has ended".to_owned()))
                    }
                }
            };
            // Who settles what sinks have open ends all earlier attempts.
            let prepared = async {
                if let Some(record) = record
                    && record.begins(id).await? == Noted::TakenOver
                {
                    let text = "the job runs under another JobManager by now";
                    return Err(TaskError::new(Cause::TakenOver.label(), text).fatal().into());
                }
                prepare(&ctx, allocation, &storage, &sources, &committers, restore).await
            };
            match prepared.await {
                Ok(prepared) => Message::Prepared(attempt, Box::new(prepared)),
                Err(error) => failed(TaskError::from(error).into()),
            }
        };
        self.beside("the preparation of an attempt", work, failed);
    }

    pub(crate) fn attempt_id(&self, attempt: u64) -> AttemptId {
        AttemptId {
            job: self.ctx.job_id,
            generation: self.ctx.generation,
            attempt,
        }
    }

    /// Runs what may call a user's code beside the master and sends what it gives; what `panicked` makes of a panic.
    pub(crate) fn beside(
        &self,
        what: &'static str,
        work: impl Future<Output = Message> + Send + 'static,
        panicked: impl FnOnce(Failure) -> Message + Send + 'static,
    ) -> JoinHandle<()> {
        let sender = self.sender.clone();
        let task = tokio::spawn(async move {
            let message = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
                let text = format!("{what} panicked: {}", panic_text(&*panic));
                panicked(Failure::of(Cause::Panicked, text))
            });
            let _ = sender.send(message);
        });
        self.aside(&task);
        task
    }

    /// Has a task end with the master.
    pub(crate) fn aside(&self, task: &JoinHandle<()>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).add(task);
    }

    fn send_all(&self, command: TaskCommand) {
        self.order_all(&Order::Tasks(command));
    }

    pub(crate) fn order_all(&self, order: &Order) {
        if let Some(deployed) = &self.deployed {
            deployed.tell_all(order);
        }
    }

    fn trigger(&mut self, id: CheckpointId, kind: CheckpointKind) {
        failpoint::hit("checkpoint-trigger");
        self.storage.begun(id);
        let triggered_ms = self.ctx.clock.now_ms();
        let operator = |node: &NodeId| self.ctx.plan.nodes[*node].operator_id;
        let enumerators = self
            .enumerator_states
            .iter()
            .map(|(n, s)| (operator(n), s.clone()))
            .collect();
        let then = kind.then();
        // What a user keeps, and what a job ends behind, holds no rows in flight. The job was accepted with these options.
        let unaligned = Unaligned::of(&self.ctx.options).ok().flatten();
        let unaligned = unaligned.filter(|_| kind == CheckpointKind::Periodic);
        self.stats.triggered(id, &kind, self.ctx.graph.subtasks());
        let parts = BTreeMap::new();
        self.collecting.insert(
            id,
            Collecting {
                kind,
                triggered_ms,
                parts,
                enumerators,
                written: None,
                savepoint: None,
                asked: std::mem::take(&mut self.asked),
            },
        );
        self.send_all(TaskCommand::Checkpoint(Barrier {
            checkpoint: id,
            triggered_ms,
            then,
            overtakes_from_ms: unaligned.map(|unaligned| unaligned.overtakes_from_ms(triggered_ms)),
        }));
    }

    fn write(&mut self, attempt: u64, id: CheckpointId) {
        let Some(collecting) = self.collecting.get(&id) else {
            return;
        };
        let manifest = self.storage.manifest(
            &self.ctx,
            id,
            collecting.triggered_ms,
            &collecting.parts,
            &collecting.enumerators,
        );
        let (storage, stats, job) = (self.storage.clone(), self.stats.clone(), self.ctx.job_id);
        let failed = move |failure| Message::Fact(attempt, Event::CheckpointFailed(id, failure));
        let work = async move {
            let bytes = manifest.state_bytes();
            match storage.complete(manifest).await {
                Ok(point) => {
                    let path = point.path();
                    let duration_ms = stats.completed(id, bytes, &path);
                    // In Flink's words, which tools look for.
                    tracing::info!(
                        %job,
                        checkpoint = id,
                        "Completed checkpoint {id} for job {job} ({bytes} bytes, checkpointDuration={duration_ms} ms) at {path}."
                    );
                    failpoint::hit("checkpoint-complete");
                    Message::Written(attempt, id, point)
                }
                Err(error) => {
                    let (label, retryable) = (FailureLabel::from(&error), !error.is_fenced());
                    let text = error.to_string();
                    failed(Failure { label, text, retryable })
                }
            }
        };
        self.writing = Some(self.beside("the completion of a checkpoint", work, failed));
    }

    fn commit(&mut self, attempt: u64, id: CheckpointId) {
        let Some(collecting) = self.collecting.get(&id) else {
            return;
        };
        // Not the newest of the time when all is committed: by then a next attempt may have a newer one.
        let Some(point) = collecting.written.clone() else {
            return;
        };
        self.order_all(&Order::Confirm(id));
        let listed = committables(&self.ctx, &self.committers, &collecting.parts);
        let savepoint = match collecting.kind {
            CheckpointKind::Savepoint { request, .. } => self.savepoints.remove(&request),
            _ => None,
        };
        let stops = collecting.kind.stops();
        let (storage, stats) = (self.storage.clone(), self.stats.clone());
        let failed = move |failure| Message::Fact(attempt, Event::CommitFailed(failure));
        let work = async move {
            let mut result = Ok(());
            for (committer, committables) in listed {
                if result.is_ok() && !committables.is_empty() {
                    result = commit_with_retries(&committer, &committables).await;
                }
            }
            if result.is_ok() {
                storage.committed(&point).await;
            }
            let taken = match savepoint {
                Some(savepoint) => {
                    let path = savepoint.path();
                    let told = |taken: Result<(), &str>| stats.savepoint_taken(id, &path, taken);
                    savepoint.take(&storage, &point, result, stops, told).await
                }
                None => result.map(|()| None),
            };
            match taken {
                Ok(stops_behind) => Message::Committed(attempt, id, stops_behind.map(Box::new)),
                Err(failure) => failed(failure),
            }
        };
        self.beside("the commit of a checkpoint", work, failed);
    }

    fn abort(&mut self, id: CheckpointId, kind: &CheckpointKind, reason: &str) {
        self.stats.checkpoint_failed(id, reason);
        self.send_all(TaskCommand::CheckpointAborted(id));
        if let CheckpointKind::Savepoint { request, .. } = kind
            && let Some(savepoint) = self.savepoints.remove(request)
        {
            tokio::spawn(savepoint.give_up(reason.to_owned()));
        }
        if let Some(collecting) = self.collecting.remove(&id) {
            refuse(collecting.asked, reason);
        }
    }

    /// The attempt that would have taken them is over.
    fn give_savepoints_up(&mut self) {
        let reason = self.ended_how();
        for savepoint in self.collecting.values_mut().filter_map(|c| c.savepoint.take()) {
            savepoint.not_stopped(&reason);
        }
        let asked = self.collecting.values_mut().flat_map(|c| std::mem::take(&mut c.asked));
        refuse(asked.chain(self.asked.drain(..)), &reason);
        for (_, savepoint) in self.savepoints.drain() {
            tokio::spawn(savepoint.give_up(reason.clone()));
        }
    }

    /// How an attempt ended that will give no savepoint any more.
    fn ended_how(&self) -> String {
        let failure = self.machine.failure().map(|f| format!(": {}", f.text));
        format!("the job is {}{}", self.machine.status(), failure.unwrap_or_default())
    }

    fn stop_discovery(&mut self) {
        for task in self.discovery.drain(..) {
            task.abort();
        }
    }

    async fn end(mut self) {
        self.stop_discovery();
        self.give_savepoints_up();
        // Whoever hears of the end finds the slots free.
        self.deployed = None;
        self.preloading = None;
        let status = self.machine.status();
        // What is being written or committed still is.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).0.clear();
        // Before anything of it goes: a leader that finds no end starts the job again from what is there.
        let record = self.record.clone();
        if !note_end(record, status, self.ctx.clock.clone()).await {
            tracing::warn!(job = %self.ctx.job_id, %status, "the job ends here, and runs under another JobManager");
            self.committers.clear();
            self.shown.status.send_replace(status);
            return;
        }
        // A job that was failing when a user wanted it to stop keeps what it would have been started again from.
        let stopped = self.stopped || (status == JobStatus::Canceled && self.stop_wanted);
        self.storage.job_ended(status, stopped).await;
        self.stats.ended();
        // The next job of the name may come as soon as the end is told.
        self.committers.clear();
        self.shown.status.send_replace(self.machine.status());
        tracing::info!(status = %self.machine.status(), job = self.ctx.plan.name, "the job has ended");
    }
}

/// Notes a job's end in its log; `false` if another leader runs the job.
async fn note_end(record: Option<JobRecord>, status: JobStatus, clock: SharedClock) -> bool {
    let Some(record) = record else {
        return true;
    };
    // Once: a retry whose first try succeeded must find its own words.
    let ended_ms = clock.now_ms();
    loop {
        match record.ended(status, ended_ms).await {
            Ok(noted) => return noted == Noted::Own,
            Err(error) => {
                tracing::warn!(job = %record.job(), %status, %error, "the job's end could not be noted; tried again");
                timer::sleep(RETRY_NOTE).await;
            }
        }
    }
}

/// Says that a checkpoint was not taken.
fn refuse(asked: impl IntoIterator<Item = CheckpointAnswer>, reason: &str) {
    asked
        .into_iter()
        .for_each(|answer| drop(answer.send(Err(reason.to_owned()))));
}
