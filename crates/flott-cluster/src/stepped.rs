//! A job on the caller's thread, step by step, for tests of operators: [`SteppedJob`].
//!
//! Everything is what [`crate::submit()`] runs: the plan's chains, the registry's operators, exchanges, gates, barriers, the encoding of state,
//! savepoints and restores. Only who decides differs: no thread runs on, and nothing happens but by a call, so that a test knows what
//! has happened when the call returns. There is one attempt: a failure ends the job.

use crate::alignment::Alignment;
use crate::commit::{SharedCommitter, commit_with_retries, committables};
use crate::coordinator::SubtaskId;
use crate::deploy::{JobContext, Share};
use crate::error::ClusterError;
use crate::prepare::prepare;
use crate::resources::{Slots, WithinProcess};
use crate::stats::TaskView;
use crate::storage::Storage;
use crate::submit::{Accepted, Origin, Submission, accept};
use crate::taskmanager::{TaskManager, write_part};
use flott_core::clock::SharedClock;
use flott_core::{CheckpointId, OperatorId};
use flott_plan::NodeId;
use flott_runtime::element::{AfterBarrier, Barrier};
use flott_runtime::task::{Captured, Step, Task, TaskCommand, TaskEvent};
use flott_runtime::{FailureLabel, Registry, TaskError, Waker};
use flott_state::persist::ConfirmationTicket;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::ready;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for an operator that lets no barrier pass because it waits for something outside.
const BARRIER_DEADLINE: Duration = Duration::from_secs(60);

/// How long the thread sleeps where something outside must come first.
const NAP: Duration = Duration::from_millis(1);

/// How much an operator holds of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateEntries {
    /// Name of the operator.
    pub operator: String,
    /// Name of the table of keyed state or timers (all states of a function lie in one), or of the operator state.
    pub state: String,
    /// Whether it is keyed; operator state otherwise.
    pub is_keyed: bool,
    /// Keys, timers, or entries of operator state.
    pub count: usize,
}

/// One attempt of a job that the caller steps.
pub struct SteppedJob {
    ctx: JobContext,
    storage: Storage,
    tasks: Vec<Stepped>,
    alignment: Alignment,
    committers: BTreeMap<NodeId, SharedCommitter>,
    enumerator_states: Vec<(OperatorId, Vec<u8>)>,
    next_checkpoint: CheckpointId,
    views: Vec<TaskView>,
    failure: Option<String>,
}

struct Stepped {
    id: SubtaskId,
    task: Task,
    commands: Sender<TaskCommand>,
    waker: Waker,
    events: Arc<Mutex<VecDeque<TaskEvent>>>,
    is_drained: bool,
}

impl std::fmt::Debug for SteppedJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SteppedJob")
            .field("name", &self.ctx.plan.name)
            .field("tasks", &self.tasks.len())
            .finish_non_exhaustive()
    }
}

impl SteppedJob {
    /// Opens all operators of a job, restoring their state; nothing runs yet. Needs Tokio, now and in every call.
    ///
    /// # Errors
    /// If the job is refused, or an operator cannot be opened.
    pub async fn start(
        registry: Arc<Registry>,
        clock: SharedClock,
        submission: Submission,
    ) -> Result<Self, ClusterError> {
        let slots = WithinProcess::new(TaskManager::new(registry.clone(), clock.clone(), None));
        let Accepted {
            ctx,
            storage,
            restore,
            sources,
            committers,
            ..
        } = accept(&slots, registry, clock, None, submission, Origin::Submitted, None).await?;
        let allocation = slots.allocate(ctx.job_id, &ctx.slots_needed(), &mut None);
        let as_it_is = allocation.map(|allocation| (ctx.clone(), allocation));
        let none = || ClusterError::Resources("there are no slots in this process".to_owned());
        let allocation = ready(as_it_is.ok_or_else(none));
        let prepared = prepare(&ctx, allocation, &storage, &sources, &committers, restore).await?;
        let views = ctx.views(1);
        let share = Share::whole(&ctx.graph, &views);
        let mut tasks = vec![];
        for (id, deployment) in ctx.build(1, &share, &sources, prepared.loaded)?.tasks {
            let (commands, receiver) = channel();
            let (waker, name) = (deployment.waker.clone(), deployment.info.task_name.clone());
            let task = Task::open(deployment, receiver).map_err(|e| ClusterError::Task(e.at(&name)))?;
            tasks.push(Stepped {
                id,
                task,
                commands,
                waker,
                events: Arc::default(),
                is_drained: false,
            });
        }
        let mut job = Self {
            alignment: Alignment::of(&ctx.graph, &sources),
            ctx,
            storage,
            tasks,
            committers,
            enumerator_states: vec![],
            next_checkpoint: prepared.next_checkpoint,
            views,
            failure: None,
        };
        for (node, enumerated) in prepared.sources {
            let mut by_owner: HashMap<usize, Vec<_>> = HashMap::new();
            for (owner, split) in enumerated.splits {
                by_owner.entry(owner).or_default().push(split);
            }
            let vertex = job.ctx.graph.vertices.iter().find(|v| v.nodes[0] == node).map(|v| v.id);
            for task in job.tasks.iter().filter(|t| Some(t.id.0) == vertex) {
                task.send(TaskCommand::AddSplits(by_owner.remove(&task.id.1).unwrap_or_default()));
                if enumerated.interval.is_none() {
                    task.send(TaskCommand::NoMoreSplits);
                }
            }
            let operator = job.ctx.plan.nodes[node].operator_id;
            job.enumerator_states.push((operator, enumerated.state));
        }
        Ok(job)
    }

    /// Works until nothing is left that can be done now: what timers, or something outside, may bring later is not waited for.
    ///
    /// # Errors
    /// If an operator fails; then all later calls fail, too.
    pub fn run(&mut self) -> Result<(), TaskError> {
        self.check()?;
        loop {
            let mut has_progress = false;
            for index in 0..self.tasks.len() {
                has_progress |= self.step(index)?;
            }
            if !has_progress {
                return Ok(());
            }
        }
    }

    /// Steps a task until it waits; whether it did anything.
    fn step(&mut self, index: usize) -> Result<bool, TaskError> {
        let stepped = &mut self.tasks[index];
        let mut has_progress = stepped.waker.take();
        let events = stepped.events.clone();
        let listener = move |event| events.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
        loop {
            match stepped.task.step(self.ctx.clock.now_ms(), &listener) {
                Ok(Step::Progress) => has_progress = true,
                Ok(Step::Wait { .. } | Step::Ended) => break,
                Err(error) => {
                    self.failure = Some(error.full_text());
                    return Err(error);
                }
            }
        }
        self.align(index);
        Ok(has_progress)
    }

    /// Tells a source how far it may read, if it has said where it is.
    fn align(&mut self, index: usize) {
        let stepped = &self.tasks[index];
        let mut events = stepped.events.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reached = None;
        events.retain(|event| match event {
            TaskEvent::ReportedWatermark(time) => {
                reached = Some(*time);
                false
            }
            _ => true,
        });
        drop(events);
        if let Some(limit) = reached.and_then(|reached| self.alignment.limit(stepped.id, reached)) {
            stepped.send(TaskCommand::AlignWatermarks(limit));
        }
    }

    fn check(&self) -> Result<(), TaskError> {
        match &self.failure {
            None => Ok(()),
            Some(failure) => Err(TaskError::user(format!("the job has failed before: {failure}")).fatal()),
        }
    }

    fn send_all(&self, command: impl Fn() -> TaskCommand) {
        self.tasks.iter().for_each(|task| task.send(command()));
    }

    /// Takes the events of all tasks.
    fn take_events(&mut self) -> Vec<(SubtaskId, TaskEvent)> {
        let mut all = vec![];
        for task in &mut self.tasks {
            let events = std::mem::take(&mut *task.events.lock().unwrap_or_else(PoisonError::into_inner));
            task.is_drained |= events.iter().any(|e| matches!(e, TaskEvent::Drained));
            all.extend(events.into_iter().map(|event| (task.id, event)));
        }
        all
    }

    /// Sends a barrier through the job and gives what every subtask captured at it.
    fn capture(&mut self) -> Result<(CheckpointId, Vec<(SubtaskId, Captured)>), TaskError> {
        self.run()?;
        self.take_events();
        let checkpoint = self.next_checkpoint;
        self.next_checkpoint += 1;
        let triggered_ms = self.ctx.clock.now_ms();
        self.send_all(|| {
            TaskCommand::Checkpoint(Barrier {
                checkpoint,
                triggered_ms,
                then: AfterBarrier::Continue,
                overtakes_from_ms: None,
            })
        });
        let deadline = Instant::now() + BARRIER_DEADLINE;
        let mut captured = vec![];
        loop {
            self.run()?;
            for (subtask, event) in self.take_events() {
                if let TaskEvent::Snapshot { captured: part, .. } = event {
                    captured.push((subtask, *part));
                }
            }
            if captured.len() == self.tasks.len() {
                return Ok((checkpoint, captured));
            }
            if Instant::now() > deadline {
                let text = format!(
                    "the barrier of a snapshot has not come through {} of {} tasks in {} s: an operator waits for something outside",
                    self.tasks.len() - captured.len(),
                    self.tasks.len(),
                    BARRIER_DEADLINE.as_secs()
                );
                return Err(TaskError::user(text).fatal());
            }
            std::thread::sleep(NAP);
        }
    }

    /// Takes a savepoint below the folder `dir`, commits what sinks have prepared, and gives its path. The job goes on.
    ///
    /// # Errors
    /// If an operator fails, or the savepoint cannot be written.
    pub async fn savepoint(&mut self, dir: &str) -> Result<String, ClusterError> {
        let (checkpoint, captured) = self.capture()?;
        let savepoint = self.storage.savepoint(dir).await?;
        let (mut parts, mut tickets) = (BTreeMap::new(), vec![]);
        let wanted = Arc::new(());
        for (subtask, part) in captured {
            let waits = Arc::downgrade(&wanted);
            let writer = self.storage.writer(checkpoint, 1).while_wanted(waits);
            let (part, ticket) = write_part(Some(&writer), self.storage.mode(), checkpoint, subtask, part).await?;
            parts.insert(subtask, part);
            tickets.push(ticket);
        }
        let now_ms = self.ctx.clock.now_ms();
        let manifest = self
            .storage
            .manifest(&self.ctx, checkpoint, now_ms, &parts, &self.enumerator_states);
        let point = self.storage.complete(manifest).await?;
        tickets.iter().for_each(ConfirmationTicket::confirm);
        for (committer, listed) in committables(&self.ctx, &self.committers, &parts) {
            if !listed.is_empty() {
                let committed = commit_with_retries(&committer, &listed).await;
                committed.map_err(|f| TaskError::new(FailureLabel::Infrastructure, f.text))?;
            }
        }
        self.storage.committed(&point).await;
        self.storage.copy(&point, &savepoint).await?;
        self.send_all(|| TaskCommand::CheckpointComplete(checkpoint));
        self.run()?;
        Ok(savepoint.path())
    }

    /// What each operator holds, over all subtasks, counted at a barrier.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn state_entries(&mut self) -> Result<Vec<StateEntries>, TaskError> {
        let (_, captured) = self.capture()?;
        let mut counts: BTreeMap<(String, String, bool), usize> = BTreeMap::new();
        for (id, snapshot) in captured.into_iter().flat_map(|(_, part)| part.operators) {
            let node = self.ctx.plan.nodes.iter().find(|n| n.operator_id == id);
            let operator = node.map_or_else(|| id.to_string(), |n| n.description.clone());
            let tables = snapshot
                .keyed
                .iter()
                .map(|t| (t.descriptor().name.clone(), true, t.len()));
            let entries = snapshot.operator_state.iter().map(|e| (e.name.clone(), false, 1));
            for (name, is_keyed, rows) in tables.chain(entries) {
                *counts.entry((operator.clone(), name, is_keyed)).or_default() += rows;
            }
        }
        let entries = |((operator, state, is_keyed), count)| StateEntries {
            operator,
            state,
            is_keyed,
            count,
        };
        Ok(counts.into_iter().map(entries).collect())
    }

    /// Whether all input was read and worked on.
    pub fn is_drained(&mut self) -> bool {
        self.take_events();
        self.tasks.iter().all(|task| task.is_drained)
    }

    /// Closes all operators; nothing may be asked of the job any more. Where it is not called they are closed when the job is dropped.
    pub fn close(&mut self) {
        self.tasks.iter_mut().for_each(|stepped| stepped.task.close());
    }

    /// Counters of all subtasks.
    pub fn tasks(&self) -> &[TaskView] {
        &self.views
    }
}

impl Stepped {
    fn send(&self, command: TaskCommand) {
        // The task is beside its sender: it hears.
        let _ = self.commands.send(command);
    }
}
