//! One attempt's share in this process, from its deployment until it is released.

use super::cancellation::Unended;
use super::preload::Preloaded;
use super::state::{load_states, write_part};
use super::{Counters, Inner, Listener, TaskManager};
use crate::coordinator::SubtaskId;
use crate::deploy::{Built, JobContext, Share, Wires};
use crate::hang::HangSettings;
use crate::protocol::{AttemptId, Deployment, Order, Peer, Report, TaskFailure, run_mode};
use flott_checkpoint::{CheckpointError, Root, StateWriter};
use flott_core::CheckpointId;
use flott_plan::JobGraph;
use flott_runtime::element::Barrier;
use flott_runtime::error::panic_text;
use flott_runtime::exchange::{self, Exchange, ExchangeId};
use flott_runtime::task::{Captured, TaskCommand, TaskDeployment, TaskEvent, TaskHandle, spawn};
use flott_runtime::{FailureLabel, TaskError, failpoint};
use flott_state::persist::ConfirmationTicket;
use flott_state::{RunMode, StateError};
use futures::FutureExt;
use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::UnboundedReceiver;

/// What the actor and the threads of its tasks share.
struct Common {
    listener: Listener,
    runtime: tokio::runtime::Handle,
    /// Where state files go; none: state goes into the manifests.
    root: Option<Root>,
    mode: RunMode,
    generation: u64,
    attempt: u64,
    progress: Mutex<Progress>,
    manager: TaskManager,
    hangs: HangSettings,
    unended: Unended,
}

/// Where the attempt is.
#[derive(Default)]
struct Progress {
    /// Whether state is written no more.
    is_cancelled: bool,
    /// The newest checkpoint that is complete or given up.
    over: CheckpointId,
    /// Checkpoints that are being written: dropped when they are given up, and what is still being written for them ends then.
    wanted: BTreeMap<CheckpointId, Arc<()>>,
    /// What to confirm once a checkpoint exists.
    tickets: BTreeMap<CheckpointId, Vec<ConfirmationTicket>>,
}

/// Runs an attempt's share until it is released, with what was read for it ahead.
pub(super) async fn run(
    manager: &TaskManager,
    (deployment, preloaded): (Deployment, Option<Preloaded>),
    listener: Listener,
    mut inbox: UnboundedReceiver<Order>,
    counters: &Counters,
) {
    let graph = match graph_of(&deployment) {
        Ok(graph) => graph,
        Err(error) => return fail(&subtasks_here(&deployment), &listener, &error.into()),
    };
    let root = match checkpoint_root(&deployment) {
        Ok(root) => root,
        Err(error) => return fail(&subtasks_here(&deployment), &listener, &error.into()),
    };
    let hangs = match HangSettings::from_options(&deployment.plan.options) {
        Ok(hangs) => hangs,
        Err(error) => {
            return fail(
                &subtasks_here(&deployment),
                &listener,
                &TaskError::user(error.to_string()).fatal().into(),
            );
        }
    };
    let (id, here_id) = (deployment.id, deployment.peers[deployment.here].id.clone());
    let peers = deployment.peers.clone();
    let common = Arc::new(Common {
        listener: listener.clone(),
        runtime: tokio::runtime::Handle::current(),
        root,
        mode: run_mode(deployment.incremental),
        generation: deployment.id.generation,
        attempt: deployment.id.attempt,
        progress: Mutex::default(),
        manager: manager.clone(),
        hangs,
        unended: Unended::new(counters.clone()),
    });
    let here: Vec<SubtaskId> = subtasks_here(&deployment);
    let mut waiting = vec![];
    let built = {
        let building = build(&manager.0, graph, deployment, preloaded);
        tokio::pin!(building);
        loop {
            tokio::select! {
                built = &mut building => break built,
                order = inbox.recv() => match order {
                    Some(Order::Tasks(TaskCommand::Cancel)) => {
                        return here.into_iter().for_each(|id| listener(id, Report::Ended));
                    }
                    Some(Order::Release) | None => return,
                    Some(Order::Task(_, TaskCommand::Fail(label, text))) => {
                        return fail(&here, &listener, &TaskFailure::from(&TaskError::new(label, text)));
                    }
                    Some(order) => waiting.push(order),
                },
            }
        }
    };
    let connected = built.and_then(|built| {
        let exchange = connect(manager, id, &here_id, &peers, built.wires)?;
        Ok((built.tasks, exchange))
    });
    // Connections last until the attempt is over everywhere: others may still read what came over them.
    let (built, _exchange) = match connected {
        Ok(connected) => connected,
        Err(failure) => return fail(&here, &listener, &failure),
    };
    let view = |(id, task): &(SubtaskId, TaskDeployment)| (*id, task.info.clone(), task.metrics.clone());
    let _ = counters.set(built.iter().map(view).collect());
    let mut tasks = HashMap::new();
    for (id, task) in built {
        common.unended.begins(id);
        match spawn(task, common.hear(id)) {
            Ok(handle) => {
                tasks.insert(id, handle);
            }
            Err(error) => {
                common.unended.ends(id);
                listener(id, Report::Failed(unmade(&error)));
            }
        }
    }
    waiting.into_iter().for_each(|order| common.obey(&tasks, order));
    while let Some(order) = inbox.recv().await
        && !matches!(order, Order::Release)
    {
        common.obey(&tasks, order);
    }
    // Whoever has not ended by now is of use to nobody.
    common.obey(&tasks, Order::Tasks(TaskCommand::Cancel));
}

/// The chains of the plan, as the job master has them.
fn graph_of(deployment: &Deployment) -> Result<JobGraph, TaskError> {
    let wrong = |e: flott_core::options::OptionError| TaskError::user(e.to_string()).fatal();
    let chaining = deployment
        .plan
        .options
        .boolean("pipeline.operator-chaining.enabled")
        .map_err(wrong)?;
    Ok(JobGraph::of(&deployment.plan, chaining.unwrap_or(true)))
}

/// Where state files of checkpoints go.
fn checkpoint_root(deployment: &Deployment) -> Result<Option<Root>, TaskError> {
    match (&deployment.within, deployment.write_to.as_str()) {
        (Some(within), _) => Ok(Some(within.root.clone())),
        (None, "") => Ok(None),
        (None, uri) => {
            let root = Root::open_existing(uri, &deployment.plan.options);
            root.map(Some).map_err(|e| TaskError::from(StateError::Store(e)))
        }
    }
}

/// Joins the channels that lead to other TaskManagers with theirs.
fn connect(
    manager: &TaskManager,
    id: AttemptId,
    here: &str,
    peers: &[Peer],
    wires: Wires,
) -> Result<Option<Exchange>, TaskFailure> {
    if wires.is_empty() {
        return Ok(None);
    }
    let Some(service) = &manager.0.exchange else {
        let error = TaskError::internal("a TaskManager that cannot be reached was given a part of a distributed job");
        return Err(TaskFailure::from(&error));
    };
    let exchange_id = ExchangeId {
        job: id.job,
        generation: id.generation,
        attempt: id.attempt,
    };
    let outgoing = wires.outgoing.into_iter().map(|(peer, channels)| {
        let Peer { id, data_address } = peers[peer].clone();
        let address = data_address;
        (exchange::Peer { id, address }, channels)
    });
    let told = manager.clone();
    let fail =
        move |error: TaskError| told.order(id, Order::Tasks(TaskCommand::Fail(error.label(), error.full_text())));
    Ok(Some(service.open(
        exchange_id,
        here,
        wires.incoming,
        outgoing.collect(),
        fail,
    )))
}

/// The subtasks of a deployment.
pub(super) fn subtasks_here(deployment: &Deployment) -> Vec<SubtaskId> {
    deployment.placement.subtasks_at(deployment.here).to_vec()
}

/// Tells that an attempt could not be started here: once, as it is one failure.
pub(super) fn fail(here: &[SubtaskId], listener: &Listener, failure: &TaskFailure) {
    for (index, id) in here.iter().enumerate() {
        let report = match index {
            0 => Report::Failed(failure.clone()),
            _ => Report::Ended,
        };
        listener(*id, report);
    }
}

/// Reads state and builds the tasks.
async fn build(
    manager: &Inner,
    graph: JobGraph,
    deployment: Deployment,
    mut preloaded: Option<Preloaded>,
) -> Result<Built, TaskFailure> {
    let ctx = JobContext {
        job_id: deployment.id.job,
        options: Arc::new(deployment.plan.options.clone()),
        plan: deployment.plan,
        graph: Arc::new(graph),
        registry: manager.registry.clone(),
        clock: manager.clock.clone(),
        generation: deployment.id.generation,
        program: None,
    };
    let (sources, states, metrics) = match deployment.within {
        Some(within) => (within.sources, within.states, within.metrics),
        None => {
            let root = match deployment.restore_from.as_str() {
                "" => Root::in_memory(),
                uri => Root::open_existing(uri, &ctx.options).map_err(of_store)?,
            };
            let ahead = |node, subtask| preloaded.as_mut().map(|p| p.take(node, subtask)).unwrap_or_default();
            let states = load_states(&root, deployment.states, |_| None, ahead)
                .await
                .map_err(|e| TaskFailure::from(&e))?;
            let views = ctx.views(deployment.id.attempt);
            let metrics = views.into_iter().map(|(id, _, metrics)| (id, metrics)).collect();
            (ctx.sources().map_err(|e| unmade(&e))?, states, metrics)
        }
    };
    let share = Share {
        placement: deployment.placement,
        here: deployment.here,
        slots: deployment.slots,
        slot_bytes: manager.slot_bytes,
        metrics,
        backend: preloaded.map(|preloaded| preloaded.backend),
    };
    ctx.build(deployment.id.attempt, &share, &sources, states)
        .map_err(|e| unmade(&e))
}

fn of_store(error: CheckpointError) -> TaskFailure {
    TaskFailure::from(&TaskError::from(StateError::Store(error)))
}

/// What cannot be made from a plan cannot be made at the next attempt either.
fn unmade(error: &TaskError) -> TaskFailure {
    TaskFailure {
        retryable: false,
        ..TaskFailure::from(error)
    }
}

impl Common {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a task's thread calls.
    fn hear(self: &Arc<Self>, id: SubtaskId) -> impl Fn(TaskEvent) + Send + 'static {
        let common = self.clone();
        move |event| {
            let report = match event {
                TaskEvent::Running => {
                    common.unended.runs(id);
                    Report::Running
                }
                TaskEvent::Snapshot { barrier, captured } => return common.store(id, barrier, *captured),
                TaskEvent::ReportedWatermark(reached) => Report::ReportedWatermark(reached),
                TaskEvent::Drained => Report::Drained,
                TaskEvent::Stopped => return,
                TaskEvent::Latency(ms) => Report::Latency(ms),
                // Of one that was given up nobody waits to hear.
                TaskEvent::Ended | TaskEvent::Failed(_) if !common.unended.ends(id) => return,
                TaskEvent::Ended => Report::Ended,
                TaskEvent::Failed(error) => Report::Failed(TaskFailure::from(&error)),
            };
            (common.listener)(id, report);
        }
    }

    fn obey(self: &Arc<Self>, tasks: &HashMap<SubtaskId, TaskHandle>, order: Order) {
        let command = match order {
            Order::Task(id, command) => return tasks.get(&id).into_iter().for_each(|task| task.send(command.clone())),
            Order::Confirm(checkpoint) => return self.confirm(checkpoint),
            Order::Release | Order::ForgetPreloaded => return,
            Order::Tasks(command) => command,
        };
        match &command {
            TaskCommand::CheckpointAborted(checkpoint) => {
                let mut progress = self.progress();
                progress.over = progress.over.max(*checkpoint);
                progress.wanted.remove(checkpoint);
                progress.tickets.remove(checkpoint);
            }
            TaskCommand::CheckpointComplete(checkpoint) => {
                let mut progress = self.progress();
                progress.over = progress.over.max(*checkpoint);
                progress.wanted.retain(|id, _| id > checkpoint);
            }
            TaskCommand::Cancel => {
                let mut progress = self.progress();
                progress.wanted.clear();
                if !std::mem::replace(&mut progress.is_cancelled, true) {
                    let (common, listener) = (self.clone(), self.listener.clone());
                    let watching = async move { common.unended.watch(&common.hangs, &common.manager, &listener).await };
                    self.runtime.spawn(watching);
                }
            }
            _ => {}
        }
        tasks.values().for_each(|task| task.send(command.clone()));
    }

    /// The manifest of a checkpoint exists.
    fn confirm(&self, checkpoint: CheckpointId) {
        let mut progress = self.progress();
        let later = progress.tickets.split_off(&(checkpoint + 1));
        let tickets = std::mem::replace(&mut progress.tickets, later).remove(&checkpoint);
        tickets.iter().flatten().for_each(ConfirmationTicket::confirm);
    }

    /// Writes a subtask's state and tells the job master.
    fn store(self: &Arc<Self>, id: SubtaskId, barrier: Barrier, captured: Captured) {
        let checkpoint = barrier.checkpoint;
        let wanted = {
            let mut progress = self.progress();
            if progress.is_cancelled || checkpoint <= progress.over {
                return;
            }
            Arc::downgrade(progress.wanted.entry(checkpoint).or_default())
        };
        let writer = self.root.as_ref().map(|root| {
            StateWriter::of_checkpoint(root, checkpoint, self.generation, self.attempt).while_wanted(wanted)
        });
        let common = self.clone();
        self.runtime.spawn(async move {
            let writing = write_part(writer.as_ref(), common.mode, checkpoint, id, captured);
            let written = AssertUnwindSafe(writing).catch_unwind().await;
            let report = match written {
                Ok(Ok((part, ticket))) => {
                    failpoint::hit("checkpoint-ack");
                    common.progress().tickets.entry(checkpoint).or_default().push(ticket);
                    Report::Part(checkpoint, Box::new(part))
                }
                Ok(Err(error)) => Report::PartFailed(checkpoint, TaskError::from(error).into()),
                Err(panic) => Report::PartFailed(
                    checkpoint,
                    TaskFailure {
                        label: FailureLabel::Internal,
                        text: format!("the writing of state panicked: {}", panic_text(&*panic)),
                        retryable: true,
                    },
                ),
            };
            (common.listener)(id, report);
        });
    }
}
