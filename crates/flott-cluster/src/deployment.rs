//! How a job master starts an attempt: each TaskManager gets its share of the tasks, and sources get their splits, now and as new ones are found.

use crate::alignment::Alignment;
use crate::deploy::JobContext;
use crate::deployed::Deployed;
use crate::job_master::{JobMaster, Message};
use crate::job_state::{Event, Failure};
use crate::placement::Placement;
use crate::prepare::{Enumerated, Prepared};
use crate::program::Enumerating;
use crate::protocol::{Deployment, OperatorStates, Peer, Within};
use crate::resources::{GatewayListener, TaskManagerRef};
use crate::timer;
use flott_checkpoint::SubtaskRestore;
use flott_plan::NodeId;
use flott_runtime::TaskError;
use flott_runtime::connector::{ConnectorError, TimedSplit};
use flott_runtime::task::TaskCommand;
use flott_state::RunMode;
use futures::FutureExt;
use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

impl JobMaster {
    pub(crate) fn deploy(&mut self, attempt: u64) {
        let Some(prepared) = self.prepared.take() else {
            tracing::error!(attempt, "an attempt was deployed that was not prepared");
            return;
        };
        self.reshape(prepared.ctx.clone());
        self.sources.clone_from(&prepared.made);
        self.alignment = Alignment::of(&self.ctx.graph, &self.sources);
        let sources = self.start_tasks(attempt, *prepared);
        self.enumerator_states.clear();
        for (node, enumerated) in sources {
            self.hand_out(node, enumerated.splits);
            let state = enumerated.state;
            self.enumerator_states.insert(node, state);
            match enumerated.interval {
                None => self.send_to_source(node, |_| TaskCommand::NoMoreSplits),
                Some(interval) => self.keep_discovering(attempt, node, enumerated.enumerator, interval),
            }
        }
    }

    /// Looks for new splits from now on.
    pub(crate) fn keep_discovering(&mut self, attempt: u64, node: NodeId, enumerator: Enumerating, interval: Duration) {
        let of_node = (node, self.ctx.plan.nodes[node].parallelism);
        let failed = move |failure| Message::Fact(attempt, Event::DiscoveryFailed(failure));
        let work = discover(self.sender.clone(), attempt, of_node, enumerator, interval).map(failed);
        self.discovery.push(self.beside("looking for new splits", work, failed));
    }

    /// Gives every TaskManager its share of the attempt; what remains to be done is to hand out splits.
    fn start_tasks(&mut self, attempt: u64, prepared: Prepared) -> Vec<(NodeId, Enumerated)> {
        let views = self.ctx.views(attempt);
        let allocation = prepared.allocation;
        let placement = Placement::from(allocation.placement(&self.ctx.graph));
        let id = self.attempt_id(attempt);
        let peers = Arc::new(peers_of(&allocation.task_managers));
        let write_to = match self.storage.is_in_memory() {
            true => String::new(),
            false => self.storage.root().display(""),
        };
        let mut within = allocation.is_within_process().then(|| Within {
            sources: self.sources.clone(),
            states: prepared.loaded,
            metrics: views.iter().map(|(id, _, metrics)| (*id, metrics.clone())).collect(),
            root: self.storage.root().clone(),
        });
        self.stats.attempt(views);
        self.stats
            .deployed(prepared.restored, &placement, &peers, &self.slots.task_managers());
        let mut states = states_by_manager(&self.ctx, prepared.states, &placement, peers.len());
        for (here, manager) in allocation.task_managers.iter().enumerate() {
            let deployment = Deployment {
                id,
                plan: self.ctx.plan.clone(),
                peers: peers.clone(),
                here,
                placement: placement.clone(),
                slots: allocation.slots_of(here),
                states: std::mem::take(&mut states[here]),
                restore_from: prepared.restore_from.clone(),
                write_to: write_to.clone(),
                incremental: self.storage.mode() == RunMode::Incremental,
                within: within.take(),
            };
            manager.gateway.deploy(deployment, self.listener(attempt, here));
        }
        // What was not of use goes.
        self.preloading = None;
        self.deployed = Some(Deployed {
            id,
            allocation,
            placement,
        });
        prepared.sources
    }

    /// Hears one of an attempt's TaskManagers.
    pub(crate) fn listener(&self, attempt: u64, task_manager: usize) -> GatewayListener {
        let sender = self.sender.clone();
        Arc::new(move |heard| {
            // Nobody listens to a job that has ended.
            let _ = sender.send(Message::Heard(attempt, task_manager, heard));
        })
    }

    /// Gives splits to the subtasks that own them.
    pub(crate) fn hand_out(&mut self, node: NodeId, splits: Vec<(usize, TimedSplit)>) {
        let mut by_owner: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for (owner, split) in splits {
            by_owner.entry(owner).or_default().push(split);
        }
        if let Some(vertex) = self.ctx.graph.vertices.iter().find(|v| v.nodes[0] == node) {
            let counts = by_owner
                .iter()
                .map(|(owner, splits)| ((vertex.id, *owner), splits.len()));
            self.stats.splits_assigned(&vertex.name, counts);
        }
        self.send_to_source(node, |subtask| {
            TaskCommand::AddSplits(by_owner.remove(&subtask).unwrap_or_default())
        });
    }

    fn send_to_source(&self, node: NodeId, mut command: impl FnMut(usize) -> TaskCommand) {
        let vertex = self.ctx.graph.vertices.iter().find(|v| v.nodes[0] == node);
        if let (Some(vertex), Some(deployed)) = (vertex, &self.deployed) {
            (0..vertex.parallelism).for_each(|subtask| deployed.tell((vertex.id, subtask), command(subtask)));
        }
    }
}

/// What TaskManagers know of each other.
pub(crate) fn peers_of(managers: &[TaskManagerRef]) -> Vec<Peer> {
    managers.iter().map(|manager| manager.peer.clone()).collect()
}

/// What the operators start from, by the TaskManager of their subtasks.
pub(crate) fn states_by_manager(
    ctx: &JobContext,
    states: Vec<OperatorStates>,
    placement: &Placement,
    managers: usize,
) -> Vec<Vec<OperatorStates>> {
    let mut by_manager: Vec<Vec<OperatorStates>> = vec![vec![]; managers];
    for mut of_operator in states {
        let vertices = &mut ctx.graph.vertices.iter();
        let Some(vertex) = vertices.find(|v| v.nodes.contains(&of_operator.node)) else {
            continue;
        };
        let mut subtasks: BTreeMap<usize, Vec<SubtaskRestore>> = BTreeMap::new();
        for subtask in std::mem::take(&mut of_operator.subtasks) {
            let manager = placement[vertex.id][subtask.index];
            subtasks.entry(manager).or_default().push(subtask);
        }
        // Not a copy of the whole, of which a TaskManager needs little.
        for (manager, subtasks) in subtasks {
            by_manager[manager].push(OperatorStates {
                subtasks,
                ..of_operator.clone()
            });
        }
    }
    by_manager
}

/// Looks for new splits at each interval and reports them, until it is ended or finds what it cannot take: a restart tells at
/// once whether that is still there.
async fn discover(
    sender: UnboundedSender<Message>,
    attempt: u64,
    (node, parallelism): (NodeId, usize),
    mut enumerator: Enumerating,
    mut interval: Duration,
) -> Failure {
    loop {
        timer::sleep(interval).await;
        if sender.is_closed() {
            // Nobody listens to a job that has ended, and what is told here neither.
            return pending().await;
        }
        match enumerator.discover(parallelism).await {
            Ok(splits) => {
                if !splits.is_empty() {
                    let state = enumerator.snapshot();
                    let splits = splits.into_iter().map(|(of, split)| (of, split.into())).collect();
                    // Nobody listens to a job that has ended.
                    let _ = sender.send(Message::Discovered(attempt, node, splits, state));
                }
                interval = match enumerator.interval() {
                    Some(interval) => interval,
                    // Of one that goes on from a state that is known only now.
                    None => return pending().await,
                };
            }
            Err(error @ ConnectorError::Fatal { .. }) => {
                let failure = Failure::from(TaskError::from(error).at("new splits cannot be taken"));
                return Failure {
                    retryable: true,
                    ..failure
                };
            }
            Err(error) => tracing::warn!(%error, "new splits cannot be looked for; tried again at the next interval"),
        }
    }
}
