//! What a job master does with an attempt that outlived the JobManager which deployed it.
//!
//! The tasks go on from the newest checkpoint that exists, which the earlier leader may not have told them, nor committed: that comes
//! first. What it had begun behind that is given up, as after any checkpoint that fails. Sources look for splits from where
//! that checkpoint's enumerators were; what they had handed out since keeps an attempt from being adopted
//! ([`HeldAttempt::goes_on_from`]).

use crate::alignment::Alignment;
use crate::commit::{SharedCommitter, take_over_with_retries};
use crate::coordinator::CheckpointKind;
use crate::deploy::{JobContext, JobSource};
use crate::job_master::{JobMaster, Message};
use crate::job_state::{Event, Failure};
use crate::program::Enumerating;
use crate::protocol::{Order, Report};
use crate::resources::{Adopted, Heard};
use crate::storage::{RestorePoint, Storage};
use flott_plan::NodeId;
use flott_runtime::TaskError;
use flott_runtime::connector::ConnectorError;
use flott_runtime::task::TaskCommand;
use std::collections::BTreeMap;

#[cfg(doc)]
use crate::protocol::HeldAttempt;

impl JobMaster {
    /// Goes on with an attempt.
    pub(crate) async fn adopt(&mut self, adopted: Adopted) {
        let Adopted { deployed, held } = adopted;
        let Some(point) = self.restore.clone() else {
            return tracing::error!(attempt = %deployed.id, "an attempt was adopted without a checkpoint to go on from");
        };
        let (attempt, newest) = (deployed.id.attempt, point.manifest().checkpoint_id);
        tracing::info!("{} goes on from {}", deployed.id, point.path());
        self.stats.attempt(self.ctx.views(attempt));
        self.alignment = Alignment::of(&self.ctx.graph, &self.sources);
        let begun = held.iter().map(|held| held.last_checkpoint).max().unwrap_or(newest);
        let managers = deployed.allocation.task_managers.clone();
        self.deployed = Some(deployed);
        for (index, held) in held.iter().enumerate() {
            managers[index].gateway.adopt(held, self.listener(attempt, index));
        }
        let (ctx, committers) = (self.ctx.clone(), self.committers.clone());
        self.order_all(&Order::Confirm(newest));
        match commit(ctx, committers, self.storage.clone(), point.clone()).await {
            Ok(()) => self.order_all(&Order::Tasks(TaskCommand::CheckpointComplete(newest))),
            Err(failure) => drop(self.sender.send(Message::Fact(attempt, Event::CommitFailed(failure)))),
        }
        for given_up in newest + 1..=begun {
            self.order_all(&Order::Tasks(TaskCommand::CheckpointAborted(given_up)));
        }
        if begun > newest {
            // Its barriers may have come to some sources and not to others: only newer ones free who waits for the rest.
            let wanted = Event::Want(CheckpointKind::Periodic);
            let _ = self.sender.send(Message::Fact(attempt, wanted));
        }
        self.discover_again(attempt, &point);
        for (index, held) in held.into_iter().enumerate() {
            let drained = held.drained.into_iter().map(|subtask| (subtask, Report::Drained));
            let ended = held.ended.into_iter().map(|subtask| (subtask, Report::Ended));
            for (subtask, report) in drained.chain(ended) {
                let heard = Heard::Subtask(subtask, report);
                let _ = self.sender.send(Message::Heard(attempt, index, heard));
            }
        }
    }

    fn discover_again(&mut self, attempt: u64, point: &RestorePoint) {
        let sources: Vec<(NodeId, JobSource)> = self.sources.iter().map(|(id, s)| (*id, s.clone())).collect();
        for (id, source) in sources {
            let node = &self.ctx.plan.nodes[id];
            let state = point.coordinator_state(node.operator_id);
            match source.source.enumerator(state.as_deref()) {
                Ok(enumerator) => self.discover_adopted(attempt, id, enumerator),
                Err(error) => {
                    let failed = Event::DiscoveryFailed(failure(&node.name, error));
                    let _ = self.sender.send(Message::Fact(attempt, failed));
                }
            }
        }
    }

    fn discover_adopted(&mut self, attempt: u64, node: NodeId, enumerator: Enumerating) {
        self.enumerator_states.insert(node, enumerator.snapshot());
        if let Some(interval) = enumerator.interval() {
            self.keep_discovering(attempt, node, enumerator, interval);
        }
    }
}

/// Commits what the checkpoint lists that the tasks go on from, unless that is known to be done.
async fn commit(
    ctx: JobContext,
    committers: BTreeMap<NodeId, SharedCommitter>,
    storage: Storage,
    point: RestorePoint,
) -> Result<(), Failure> {
    for (node, committer) in &committers {
        let node = &ctx.plan.nodes[*node];
        let listed = point.committables(node.operator_id);
        let taken_over = take_over_with_retries(committer, &listed).await;
        taken_over.map_err(|failure| Failure {
            text: format!("{}: {}", node.name, failure.text),
            ..failure
        })?;
    }
    storage.committed(&point).await;
    Ok(())
}

fn failure(name: &str, error: ConnectorError) -> Failure {
    TaskError::from(error).at(name).into()
}
