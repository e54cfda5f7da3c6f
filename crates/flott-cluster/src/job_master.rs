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
use crate::commit::{SharedCommitter, commit_with_retries, committables};
use crate::coordinator::{CheckpointKind, SubtaskId};
use crate::deploy::{Attempt, JobContext, JobSource};
use crate::error::ClusterError;
use crate::job_state::{Effect, Event, Failure, JobMachine};
use crate::prepare::{Prepared, prepare};
use crate::savepoint::{SavepointAnswer, WantedSavepoint};
use crate::stats::JobStats;
use crate::storage::{RestorePoint, Storage};
use flott_core::{CheckpointId, EventTime, JobStatus, OperatorId};
use flott_plan::NodeId;
use flott_runtime::connector::{ConnectorError, TimedSplit};
use flott_runtime::element::{AfterBarrier, Barrier};
use flott_runtime::error::panic_text;
use flott_runtime::failpoint;
use flott_runtime::task::{TaskCommand, TaskEvent, TaskHandle, spawn};
use flott_runtime::{SplitEnumerator, TaskError};
use flott_state::OperatorSnapshot;
use flott_state::persist::WrittenSnapshots;
use futures::FutureExt;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{oneshot, watch};

/// What arrives in the inbox.
pub(crate) enum Message {
    /// A fact for the machine, of this attempt.
    Fact(u64, Event),
    /// A task's event.
    Task(u64, SubtaskId, TaskEvent),
    /// An attempt is prepared.
    Prepared(u64, Box<Prepared>),
    /// A subtask's part of a checkpoint is durable.
    Part(u64, CheckpointId, SubtaskId, Box<WrittenSnapshots>),
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
    /// The job shall stop at a last checkpoint of its own.
    Stop,
    /// The job shall be cancelled.
    Cancel,
    /// The task of an operator shall fail.
    FailTask {
        operator: String,
        subtask: usize,
        answer: oneshot::Sender<Result<(), String>>,
    },
}

/// A checkpoint whose parts arrive.
struct Collecting {
    kind: CheckpointKind,
    triggered_ms: i64,
    parts: BTreeMap<SubtaskId, WrittenSnapshots>,
    enumerators: Vec<(OperatorId, Vec<u8>)>,
    /// The checkpoint, once it exists.
    written: Option<RestorePoint>,
    /// The savepoint, once it exists, behind which the job stops.
    savepoint: Option<WantedSavepoint>,
    /// Dropped with the rest when the checkpoint is given up: what is still being written for it ends then.
    wanted: Arc<()>,
}

pub(crate) struct JobMaster {
    pub(crate) ctx: JobContext,
    pub(crate) storage: Storage,
    pub(crate) machine: JobMachine,
    pub(crate) sources: HashMap<NodeId, JobSource>,
    pub(crate) committers: BTreeMap<NodeId, SharedCommitter>,
    pub(crate) restore: Option<RestorePoint>,
    pub(crate) savepoint_dir: Option<String>,
    pub(crate) inbox: UnboundedReceiver<Message>,
    pub(crate) sender: UnboundedSender<Message>,
    pub(crate) status: watch::Sender<JobStatus>,
    pub(crate) stats: Arc<JobStats>,
    /// The manifest that is being written.
    writing: Option<tokio::task::JoinHandle<()>>,
    tasks: Vec<(SubtaskId, TaskHandle)>,
    alignment: Alignment,
    collecting: HashMap<CheckpointId, Collecting>,
    enumerator_states: BTreeMap<NodeId, Vec<u8>>,
    prepared: Option<Box<Prepared>>,
    /// Savepoints that are not committed yet, by request.
    savepoints: HashMap<u64, WantedSavepoint>,
    savepoint_requests: u64,
    discovery: Vec<tokio::task::JoinHandle<()>>,
    stopped: bool,
    stop_wanted: bool,
}

impl JobMaster {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        ctx: JobContext,
        storage: Storage,
        machine: JobMachine,
        sources: HashMap<NodeId, JobSource>,
        committers: BTreeMap<NodeId, SharedCommitter>,
        restore: Option<RestorePoint>,
        savepoint_dir: Option<String>,
        (sender, inbox): (UnboundedSender<Message>, UnboundedReceiver<Message>),
        status: watch::Sender<JobStatus>,
        stats: Arc<JobStats>,
    ) -> Self {
        Self {
            ctx,
            storage,
            machine,
            sources,
            committers,
            restore,
            savepoint_dir,
            inbox,
            sender,
            status,
            stats,
            writing: None,
            tasks: vec![],
            alignment: Alignment::default(),
            collecting: HashMap::new(),
            enumerator_states: BTreeMap::new(),
            prepared: None,
            savepoints: HashMap::new(),
            savepoint_requests: 0,
            discovery: vec![],
            stopped: false,
            stop_wanted: false,
        }
    }

    /// Runs the job to its end.
    pub(crate) async fn run(mut self, first: Vec<Effect>) {
        let mut effects: VecDeque<Effect> = first.into();
        loop {
            while let Some(effect) = effects.pop_front() {
                let more = self.perform(effect);
                effects.extend(more);
            }
            if self.machine.status().is_globally_terminal_state() {
                break;
            }
            let wait = self
                .machine
                .next_time()
                .map(|t| t.saturating_sub(self.ctx.clock.now_ms()).max(0) as u64);
            let message = match wait {
                Some(wait_ms) => tokio::time::timeout(Duration::from_millis(wait_ms.min(60_000)), self.inbox.recv())
                    .await
                    .ok()
                    .flatten(),
                None => self.inbox.recv().await,
            };
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
        self.end().await;
    }

    /// Turns a message into a fact for the machine, doing what the machine need not know.
    fn receive(&mut self, message: Message) -> Option<(u64, Event)> {
        let current = self.machine.attempt();
        match message {
            Message::Fact(attempt, event) => Some((attempt, event)),
            Message::Prepared(attempt, prepared) => {
                let next_id = prepared.next_checkpoint;
                self.prepared = Some(prepared);
                Some((attempt, Event::Prepared(next_id)))
            }
            Message::Part(attempt, id, subtask, parts) => {
                let collecting = self.collecting.get_mut(&id).filter(|_| attempt == current)?;
                collecting.parts.insert(subtask, *parts);
                Some((attempt, Event::Acknowledged(id, subtask)))
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
                if attempt == current && !self.tasks.is_empty() {
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
            Message::Task(attempt, subtask, event) => self.task_event(attempt, subtask, event),
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
            Message::Stop => {
                self.stop_wanted = true;
                Some((current, Event::Want(CheckpointKind::Stop)))
            }
            Message::Cancel => Some((current, Event::Cancel)),
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
        let Some((_, task)) = self.tasks.iter().find(|(id, _)| of_operator(id)) else {
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
        task.send(TaskCommand::Fail("the task was told to fail".to_owned()));
        Ok(())
    }

    fn not_running(&self) -> String {
        format!("the job is {}, not RUNNING", self.machine.status())
    }

    fn task_event(&mut self, attempt: u64, subtask: SubtaskId, event: TaskEvent) -> Option<(u64, Event)> {
        match event {
            TaskEvent::Snapshot { barrier, operators } => {
                if attempt == self.machine.attempt() {
                    self.store_part(attempt, subtask, barrier, operators);
                }
                None
            }
            TaskEvent::Running | TaskEvent::Stopped => None,
            TaskEvent::ReportedWatermark(reached) => {
                self.align(attempt, subtask, reached);
                None
            }
            TaskEvent::Latency(latency_ms) => {
                self.stats.latency(latency_ms);
                None
            }
            TaskEvent::Drained => Some((attempt, Event::Drained(subtask))),
            TaskEvent::Ended => Some((attempt, Event::Ended(subtask))),
            TaskEvent::Failed(error) => {
                let vertex = &self.ctx.graph.vertices[subtask.0];
                let text = format!(
                    "{} ({}/{}): {}",
                    vertex.name,
                    subtask.1 + 1,
                    vertex.parallelism,
                    error.full_text()
                );
                let retryable = error.is_retryable();
                Some((attempt, Event::TaskFailed(subtask, Failure { text, retryable })))
            }
        }
    }

    /// Tells a source how far it may read.
    fn align(&mut self, attempt: u64, subtask: SubtaskId, reached: EventTime) {
        if attempt != self.machine.attempt() {
            return;
        }
        let task = self.tasks.iter().find(|(id, _)| *id == subtask);
        if let (Some(limit), Some((_, task))) = (self.alignment.limit(subtask, reached), task) {
            task.send(TaskCommand::AlignWatermarks(limit));
        }
    }

    fn perform(&mut self, effect: Effect) -> Vec<Effect> {
        let attempt = self.machine.attempt();
        match effect {
            Effect::Prepare(attempt) => self.prepare(attempt),
            Effect::Deploy(attempt) => {
                if let Err(error) = self.deploy(attempt) {
                    return self.deployment_failed(attempt, &error);
                }
            }
            Effect::Trigger(id, kind) => self.trigger(id, kind),
            Effect::Write(id) => self.write(attempt, id),
            Effect::Commit(id) => self.commit(attempt, id),
            Effect::Notify(id, kind) => {
                let collected = self.collecting.remove(&id);
                self.stopped |= kind.stops();
                if let Some(savepoint) = collected.and_then(|c| c.savepoint) {
                    savepoint.written();
                }
                self.send_all(|| TaskCommand::CheckpointComplete(id));
                let storage = self.storage.clone();
                tokio::spawn(async move { storage.clean_up().await });
                tracing::debug!(checkpoint = id, ?kind, "checkpoint complete");
            }
            Effect::Abort(id, kind, reason) => self.abort(id, &kind, &reason),
            Effect::CancelTasks => self.send_all(|| TaskCommand::Cancel),
            Effect::FinishTasks => self.send_all(|| TaskCommand::Finish),
            Effect::Restarting(failure, delay_ms) => {
                self.stats.restarted(&failure.text);
                tracing::warn!(delay_ms, cause = failure.text, "the job failed and is started again");
            }
            Effect::Status(status) => {
                if matches!(status, JobStatus::Restarting | JobStatus::Failing) || status.is_globally_terminal_state() {
                    self.stop_discovery();
                }
                if status != JobStatus::Running {
                    self.give_savepoints_up();
                }
                if let (JobStatus::Failed, Some(failure)) = (status, self.machine.failure()) {
                    self.stats.failed(&failure.text);
                }
                // Who waits for the end may look at what is left behind: the end is told when all is cleaned up.
                if !status.is_globally_terminal_state() {
                    self.status.send_replace(status);
                }
            }
        }
        vec![]
    }

    fn prepare(&mut self, attempt: u64) {
        self.tasks.clear();
        self.collecting.clear();
        self.stop_discovery();
        let (ctx, storage) = (self.ctx.clone(), self.storage.clone());
        let (sources, committers) = (self.sources.clone(), self.committers.clone());
        let (writing, restore) = (self.writing.take(), self.restore.clone());
        let failed = move |failure| Message::Fact(attempt, Event::PrepareFailed(failure));
        let work = async move {
            // What the attempt before is writing comes to exist, or not, before anything is settled.
            if let Some(writing) = writing {
                let _ = writing.await;
            }
            match prepare(&ctx, &storage, &sources, &committers, restore).await {
                Ok(prepared) => Message::Prepared(attempt, Box::new(prepared)),
                Err(error) => {
                    let error = TaskError::from(error);
                    let failure = Failure {
                        text: error.full_text(),
                        retryable: error.is_retryable(),
                    };
                    failed(failure)
                }
            }
        };
        self.beside("the preparation of an attempt", work, failed);
    }

    /// Runs what may call a user's code beside the master and sends what it gives; what `panicked` makes of a panic.
    fn beside(
        &self,
        what: &'static str,
        work: impl Future<Output = Message> + Send + 'static,
        panicked: impl FnOnce(Failure) -> Message + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let message = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
                let text = format!("{what} panicked: {}", panic_text(&*panic));
                panicked(Failure { text, retryable: true })
            });
            let _ = sender.send(message);
        })
    }

    fn deploy(&mut self, attempt: u64) -> Result<(), ClusterError> {
        let prepared = self
            .prepared
            .take()
            .ok_or_else(|| ClusterError::Restore("nothing was prepared".to_owned()))?;
        let Attempt { tasks, metrics } = self.ctx.build(attempt, &self.sources, prepared.states)?;
        self.stats.attempt(metrics);
        self.tasks.clear();
        self.alignment = Alignment::of(&self.ctx.graph, &self.sources);
        for (subtask, task) in tasks {
            let sender = self.sender.clone();
            let listener = move |event| {
                let _ = sender.send(Message::Task(attempt, subtask, event));
            };
            self.tasks.push((subtask, spawn(task, listener)?));
        }
        self.enumerator_states.clear();
        for (node, enumerated) in prepared.sources {
            self.hand_out(node, enumerated.splits);
            let state = enumerated.state;
            self.enumerator_states.insert(node, state);
            match enumerated.interval {
                None => self.send_to_source(node, |_| TaskCommand::NoMoreSplits),
                Some(interval) => {
                    let of_node = (node, self.ctx.plan.nodes[node].parallelism);
                    let failed = move |failure| Message::Fact(attempt, Event::DiscoveryFailed(failure));
                    let work =
                        discover(self.sender.clone(), attempt, of_node, enumerated.enumerator, interval).map(failed);
                    self.discovery.push(self.beside("looking for new splits", work, failed));
                }
            }
        }
        Ok(())
    }

    /// Tasks that were started before a later one was refused must end; the others never lived.
    fn deployment_failed(&mut self, attempt: u64, error: &ClusterError) -> Vec<Effect> {
        let started: Vec<SubtaskId> = self.tasks.iter().map(|(s, _)| *s).collect();
        let now_ms = self.ctx.clock.now_ms();
        let mut effects = vec![];
        for subtask in self.ctx.subtasks().into_iter().filter(|s| !started.contains(s)) {
            let failure = Failure {
                text: error.to_string(),
                retryable: false,
            };
            effects.extend(
                self.machine
                    .handle(now_ms, attempt, Event::TaskFailed(subtask, failure)),
            );
        }
        effects
    }

    /// Gives splits to the subtasks that own them.
    fn hand_out(&mut self, node: NodeId, splits: Vec<(usize, TimedSplit)>) {
        let mut by_owner: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for (owner, split) in splits {
            by_owner.entry(owner).or_default().push(split);
        }
        self.send_to_source(node, |subtask| {
            TaskCommand::AddSplits(by_owner.remove(&subtask).unwrap_or_default())
        });
    }

    fn send_to_source(&self, node: NodeId, mut command: impl FnMut(usize) -> TaskCommand) {
        let Some(vertex) = self.ctx.graph.vertices.iter().find(|v| v.nodes[0] == node) else {
            return;
        };
        for ((_, subtask), task) in self.tasks.iter().filter(|((v, _), _)| *v == vertex.id) {
            task.send(command(*subtask));
        }
    }

    fn send_all(&self, command: impl Fn() -> TaskCommand) {
        for (_, task) in &self.tasks {
            task.send(command());
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
                wanted: Arc::new(()),
            },
        );
        self.stats.triggered(id);
        self.send_all(|| {
            TaskCommand::Checkpoint(Barrier {
                checkpoint: id,
                triggered_ms,
                then,
            })
        });
    }

    fn store_part(
        &mut self,
        attempt: u64,
        subtask: SubtaskId,
        barrier: Barrier,
        operators: Vec<(OperatorId, OperatorSnapshot)>,
    ) {
        let id = barrier.checkpoint;
        let Some(wanted) = self.collecting.get(&id).map(|c| Arc::downgrade(&c.wanted)) else {
            return;
        };
        let storage = self.storage.clone();
        let failed = move |failure| Message::Fact(attempt, Event::CheckpointFailed(id, failure));
        let work = async move {
            match storage.write_part(id, attempt, subtask, operators, wanted).await {
                Ok(parts) => {
                    failpoint::hit("checkpoint-ack");
                    Message::Part(attempt, id, subtask, Box::new(parts))
                }
                Err(error) => {
                    let text = error.to_string();
                    failed(Failure { text, retryable: true })
                }
            }
        };
        self.beside("the writing of state", work, failed);
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
                        "Completed checkpoint {id} for job {job} ({bytes} bytes, checkpointDuration={duration_ms} ms) at {path}."
                    );
                    failpoint::hit("checkpoint-complete");
                    Message::Written(attempt, id, point)
                }
                Err(error) => {
                    let failure = Failure {
                        text: error.to_string(),
                        retryable: !error.is_fenced(),
                    };
                    failed(failure)
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
        collecting.parts.values().for_each(|part| part.ticket.confirm());
        let listed = committables(&self.ctx, &self.committers, &collecting.parts);
        let savepoint = match collecting.kind {
            CheckpointKind::Savepoint { request, .. } => self.savepoints.remove(&request),
            _ => None,
        };
        let stops = collecting.kind.stops();
        let storage = self.storage.clone();
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
                Some(savepoint) => savepoint.take(&storage, &point, result, stops).await,
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
        tracing::warn!(checkpoint = id, reason, "checkpoint given up");
        self.stats.checkpoint_failed(id, reason);
        self.send_all(|| TaskCommand::CheckpointAborted(id));
        if let CheckpointKind::Savepoint { request, .. } = kind
            && let Some(savepoint) = self.savepoints.remove(request)
        {
            tokio::spawn(savepoint.give_up(reason.to_owned()));
        }
        self.collecting.remove(&id);
    }

    /// The attempt that would have taken them is over.
    fn give_savepoints_up(&mut self) {
        let reason = self.ended_how();
        for savepoint in self.collecting.values_mut().filter_map(|c| c.savepoint.take()) {
            savepoint.not_stopped(&reason);
        }
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
        let status = self.machine.status();
        // A job that was failing when a user wanted it to stop keeps what it would have been started again from.
        let stopped = self.stopped || (status == JobStatus::Canceled && self.stop_wanted);
        self.storage.job_ended(status, stopped).await;
        self.stats.ended();
        // The next job of the name may come as soon as the end is told.
        self.committers.clear();
        self.status.send_replace(self.machine.status());
        tracing::info!(status = %self.machine.status(), job = self.ctx.plan.name, "the job has ended");
    }
}

/// Looks for new splits at each interval and reports them, until it is ended or finds what it cannot take: a restart tells at
/// once whether that is still there.
async fn discover(
    sender: UnboundedSender<Message>,
    attempt: u64,
    (node, parallelism): (NodeId, usize),
    mut enumerator: Box<dyn SplitEnumerator>,
    interval: Duration,
) -> Failure {
    loop {
        tokio::time::sleep(interval).await;
        match enumerator.discover().await {
            Ok(splits) if splits.is_empty() => {}
            Ok(splits) => {
                let state = enumerator.snapshot();
                let splits = splits
                    .into_iter()
                    .map(|s| (enumerator.owner(&s, parallelism), s.into()))
                    .collect();
                // Nobody listens to a job that has ended.
                let _ = sender.send(Message::Discovered(attempt, node, splits, state));
            }
            Err(error @ ConnectorError::Fatal { .. }) => {
                let text = format!("new splits cannot be taken: {}", TaskError::from(error).full_text());
                return Failure { text, retryable: true };
            }
            Err(error) => tracing::warn!(%error, "new splits cannot be looked for; tried again at the next interval"),
        }
    }
}
