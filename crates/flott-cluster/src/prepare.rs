//! What comes before every attempt: settle the sinks, find splits, lay out the state to restore.

use crate::commit::SharedCommitter;
use crate::deploy::{JobContext, JobSource, RestoredStates};
use crate::error::ClusterError;
use crate::program::Enumerating;
use crate::protocol::OperatorStates;
use crate::requirements::parallelism_of;
use crate::resources::Allocation;
use crate::storage::{RestorePoint, Storage};
use crate::taskmanager::load_states;
use bytes::Bytes;
use flott_checkpoint::SnapshotKind;
use flott_core::CheckpointId;
use flott_plan::NodeId;
use flott_runtime::connector::{ConnectorError, TimedSplit};
use flott_runtime::{FailureLabel, TaskError};
use flott_state::PreloadedState;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// An attempt that may be deployed.
pub(crate) struct Prepared {
    /// The job, at the parallelism that it has slots for.
    pub(crate) ctx: JobContext,
    /// Its sources.
    pub(crate) made: HashMap<NodeId, JobSource>,
    /// What the operators start from.
    pub(crate) states: Vec<OperatorStates>,
    /// The same, read, if all tasks run in this process.
    pub(crate) loaded: RestoredStates,
    /// The folder that it is in; empty if there is none.
    pub(crate) restore_from: String,
    /// The checkpoint that it is of, where that lies, and its size in bytes.
    pub(crate) restored: Option<(CheckpointId, String, u64)>,
    /// Where the tasks run.
    pub(crate) allocation: Allocation,
    /// Splits by source.
    pub(crate) sources: Vec<(NodeId, Enumerated)>,
    /// Number of the attempt's first checkpoint.
    pub(crate) next_checkpoint: CheckpointId,
}

/// A source's splits at the start of an attempt.
pub(crate) struct Enumerated {
    /// Goes on looking.
    pub(crate) enumerator: Enumerating,
    /// Restored splits with their positions first, then new ones, each with its owner.
    pub(crate) splits: Vec<(usize, TimedSplit)>,
    /// The enumerator's state, for checkpoints.
    pub(crate) state: Vec<u8>,
    /// How often it looks again.
    pub(crate) interval: Option<Duration>,
}

/// Settles what sinks left open, waits for slots, then finds state and splits: those of the newest checkpoint, or else of `restore`.
pub(crate) async fn prepare(
    ctx: &JobContext,
    allocation: impl Future<Output = Result<(JobContext, Allocation), ClusterError>>,
    storage: &Storage,
    sources: &HashMap<NodeId, JobSource>,
    committers: &BTreeMap<NodeId, SharedCommitter>,
    restore: Option<RestorePoint>,
) -> Result<Prepared, ClusterError> {
    storage.settle().await?;
    // A checkpoint that came to exist while the attempt before failed is the newest: to go back behind it would give up
    // transactions that it lists.
    let point = storage.newest().or(restore);
    for (node, committer) in committers {
        let node = &ctx.plan.nodes[*node];
        let listed: Vec<Bytes> = point
            .as_ref()
            .map(|p| p.committables(node.operator_id))
            .unwrap_or_default();
        committer
            .lock()
            .await
            .recover(&listed)
            .await
            .map_err(|e| of_connector(&node.name, e))?;
    }
    if let Some(point) = &point {
        storage.committed(point).await;
    }
    let before = ctx;
    let (ctx, allocation) = allocation.await?;
    let ctx = &ctx;
    let made = match parallelism_of(&before.graph) == parallelism_of(&ctx.graph) {
        true => sources.clone(),
        // What a source is may depend on the number of its subtasks.
        false => ctx.sources()?,
    };
    let (mut states, mut splits) = match &point {
        Some(point) => {
            let kind = match point.manifest().kind {
                SnapshotKind::Checkpoint => "Checkpoint",
                SnapshotKind::Savepoint => "Savepoint",
            };
            tracing::info!(job = %ctx.job_id, "Restoring job {} from {kind} {}.", ctx.job_id, point.path());
            storage.restorable(ctx, point).await?
        }
        None => Default::default(),
    };
    let mut enumerated = vec![];
    for (id, JobSource { source, .. }) in &made {
        let node = &ctx.plan.nodes[*id];
        let restored = point.as_ref().and_then(|p| p.coordinator_state(node.operator_id));
        let mut enumerator = source
            .enumerator(restored.as_deref())
            .map_err(|e| of_connector(&node.name, e))?;
        let restored = splits.remove(id).unwrap_or_default();
        let found = enumerator.discover(node.parallelism).await;
        let found = found.map_err(|e| of_connector(&node.name, e))?;
        let owners = enumerator.owners(restored.iter().map(|split| &split.split), node.parallelism);
        let owners = owners.await.map_err(|e| of_connector(&node.name, e))?;
        let found = found.into_iter().map(|(of, split)| (of, TimedSplit::from(split)));
        let owned = owners.into_iter().zip(restored).chain(found).collect();
        let (state, interval) = (enumerator.snapshot(), enumerator.interval());
        enumerated.push((
            *id,
            Enumerated {
                enumerator,
                splits: owned,
                state,
                interval,
            },
        ));
    }
    enumerated.sort_by_key(|(id, _)| *id);
    let mut loaded = RestoredStates::new();
    if let Some(point) = point.as_ref().filter(|_| allocation.is_within_process()) {
        let states = std::mem::take(&mut states);
        loaded = load_states(
            point.root(),
            states,
            |id| point.take_loaded(id),
            |_, _| PreloadedState::default(),
        )
        .await?;
    }
    Ok(Prepared {
        ctx: ctx.clone(),
        made,
        states,
        loaded,
        restored: point.as_ref().map(restored_of),
        restore_from: point.map_or_else(String::new, |p| storage.address_of(&p)),
        allocation,
        sources: enumerated,
        next_checkpoint: storage.next_checkpoint_id(),
    })
}

fn restored_of(point: &RestorePoint) -> (CheckpointId, String, u64) {
    let manifest = point.manifest();
    (manifest.checkpoint_id, point.path(), manifest.state_bytes())
}

fn of_connector(name: &str, error: ConnectorError) -> ClusterError {
    ClusterError::Task(TaskError::from(error).at(name))
}

/// The splits in a source's operator state.
pub(crate) fn read_split(bytes: &[u8]) -> Result<TimedSplit, ClusterError> {
    serde_json::from_slice(bytes).map_err(|e| {
        let text = "a source's position in the checkpoint cannot be read";
        ClusterError::Task(TaskError::caused(FailureLabel::Internal, text, e).fatal())
    })
}
