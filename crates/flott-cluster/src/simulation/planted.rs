//! Bugs that are planted to see that they are found.

use super::checks;
use super::job;
use super::world::World;
use flott_checkpoint::{Facts, Root, layout};
use std::sync::Arc;

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Who has lost the job takes it for ended, and deletes its checkpoints as it saw them while it led: later claims are not asked.
    OldViewDeletes,
    /// Sinks are committed while the manifest is still on its way.
    CommitsEarly,
    /// A start from a checkpoint aborts what that lists, as if nobody knew of it.
    ForgetsListed,
}

/// Whether a checkpoint counts before its manifest is durable.
pub(crate) fn commits_early() -> bool {
    World::here().is_some_and(|(world, _)| world.bug == Some(Bug::CommitsEarly))
}

/// What a leader of `root` does when it has lost the job.
pub async fn lost(world: Arc<World>, process: usize, root: Root) {
    if world.bug != Some(Bug::OldViewDeletes) {
        return;
    }
    let folder = root.folder(job::checkpoint_folder().trim_end_matches('/'));
    let Ok(mut found) = folder.list().await else {
        return;
    };
    found.retain(|file| !checks::is_of_later(&world, process, &file.path));
    let facts = Facts::from_listing(found);
    let own = checks::claimed_by(&world, process);
    let newest = facts.manifests.iter().filter(|id| id.generation == own).max();
    for id in newest.map_or_else(Vec::new, |newest| facts.superseded(own, *newest, 0)) {
        // Whether it is gone or not, nobody asks.
        drop(folder.delete(&layout::manifest(id.generation, id.checkpoint)).await);
    }
}
