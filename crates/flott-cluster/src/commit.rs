//! Commits of sinks: what a checkpoint holds for them, and how one that fails for a passing reason is tried again.

use crate::coordinator::SubtaskId;
use crate::deploy::JobContext;
use crate::job_state::Failure;
use crate::protocol::WrittenPart;
use crate::timer;
use bytes::Bytes;
use flott_core::OperatorId;
use flott_plan::NodeId;
use flott_runtime::failpoint::{self, Action};
use flott_runtime::{Committer, TaskError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// How often a commit that failed for a passing reason is tried again before the job restarts.
const COMMIT_ATTEMPTS: u32 = 10;

/// A sink's committer, shared by commits and recoveries, which never overlap.
pub(crate) type SharedCommitter = Arc<Mutex<Box<dyn Committer>>>;

/// The committables of every sink that has a committer, from the parts of a checkpoint.
pub(crate) fn committables(
    ctx: &JobContext,
    committers: &BTreeMap<NodeId, SharedCommitter>,
    parts: &BTreeMap<SubtaskId, WrittenPart>,
) -> Vec<(SharedCommitter, Vec<Bytes>)> {
    let of = |id: OperatorId| parts.values().flat_map(|p| &p.parts).filter(move |p| p.id == id);
    let listed = |node: &NodeId| {
        let id = ctx.plan.nodes[*node].operator_id;
        of(id)
            .flat_map(|p| p.subtask.committables.iter().map(|c| c.0.clone()))
            .collect()
    };
    committers
        .iter()
        .map(|(node, committer)| (committer.clone(), listed(node)))
        .collect()
}

/// Commits one by one, so that a crash between two is the hard case that tests ask for.
pub(crate) async fn commit_with_retries(committer: &SharedCommitter, committables: &[Bytes]) -> Result<(), Failure> {
    let times = match failpoint::hit("sink-commit") {
        Some(Action::Skip) => 0,
        Some(Action::Twice) => 2,
        _ => 1,
    };
    for committable in committables {
        for _ in 0..times {
            retried(committer, std::slice::from_ref(committable), Way::Commit).await?;
        }
        failpoint::hit("checkpoint-commit");
    }
    Ok(())
}

/// Goes on with what the tasks of another JobManager have prepared and its newest checkpoint lists.
pub(crate) async fn take_over_with_retries(committer: &SharedCommitter, listed: &[Bytes]) -> Result<(), Failure> {
    retried(committer, listed, Way::TakeOver).await
}

/// How committables come to be committed.
#[derive(Clone, Copy)]
enum Way {
    Commit,
    TakeOver,
}

/// Commits, again and again where that fails for a passing reason.
async fn retried(committer: &SharedCommitter, listed: &[Bytes], way: Way) -> Result<(), Failure> {
    let mut attempt = 1;
    loop {
        let done = match way {
            Way::Commit => committer.lock().await.commit(listed).await,
            Way::TakeOver => committer.lock().await.take_over(listed).await,
        };
        let error = match done {
            Ok(()) => return Ok(()),
            Err(error) => TaskError::from(error),
        };
        if !error.is_retryable() || attempt == COMMIT_ATTEMPTS {
            return Err(error.into());
        }
        tracing::warn!(attempt, error = error.full_text(), "a commit failed and is tried again");
        timer::sleep(Duration::from_millis(100 * u64::from(attempt * attempt))).await;
        attempt += 1;
    }
}
