//! What a job has claimed to start from (`execution.state-recovery.claim-mode` is `CLAIM`): a checkpoint or savepoint that was found by path, and
//! that the job owns from then on.
//!
//! It counts as the oldest of the job's own checkpoints, and is deleted when as many newer ones are there as are retained. A note of it
//! lies in the job's folder under the number of the generation that has claimed it ([`crate::layout::claimed`]), so that later leaders of the same past
//! know of it; it is a line of JSON with the path of the manifest:
//!
//! ```text
//! {"manifest":"/savepoints/savepoint-5cd2e0-9b1f3c7a2d44/_metadata"}
//! ```
//!
//! Nothing that the job writes refers to claimed files: what was found by path is written in full by the first checkpoint.

use crate::error::CheckpointError;
use crate::layout::{self, SAVEPOINT_COMMITTED, SAVEPOINT_MANIFEST};
use crate::manifest::{Manifest, SnapshotKind};
use crate::protocol::{Facts, SnapshotId};
use crate::root::Root;
use crate::snapshot::Snapshot;
use bytes::Bytes;
use flott_core::Options;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The content of a note.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// Path of the manifest.
    manifest: String,
}

/// Which checkpoint it is, or has been copied from.
pub(crate) fn id_of(snapshot: &Snapshot) -> SnapshotId {
    SnapshotId {
        generation: snapshot.manifest.generation,
        checkpoint: snapshot.manifest.checkpoint_id,
    }
}

/// The note of a claimed snapshot.
pub(crate) fn note(snapshot: &Snapshot) -> Result<Bytes, CheckpointError> {
    let id = id_of(snapshot);
    let name = match snapshot.manifest.kind {
        SnapshotKind::Savepoint => SAVEPOINT_MANIFEST.to_owned(),
        SnapshotKind::Checkpoint => layout::manifest(id.generation, id.checkpoint),
    };
    let manifest = snapshot.root.display(&name);
    let text = serde_json::to_vec(&Note { manifest }).map_err(|source| CheckpointError::EncodeManifest { source })?;
    Ok(text.into())
}

/// The snapshot that a note at `shown` is of, of which files may have been deleted already.
///
/// # Errors
/// If it is gone, or cannot be read, or the note is none.
pub(crate) async fn open(note: &[u8], shown: &str, options: &Options) -> Result<Snapshot, CheckpointError> {
    let Note { manifest: path } = serde_json::from_slice(note).map_err(|error| CheckpointError::DamagedFile {
        path: shown.to_owned(),
        problem: format!("it is no note of a claimed checkpoint or savepoint: {error}"),
    })?;
    let Some((folder, SAVEPOINT_MANIFEST)) = path.rsplit_once('/') else {
        return Snapshot::open(&path, options).await;
    };
    let root = Root::open_existing(folder, options)?;
    Ok(Snapshot {
        manifest: Manifest::decode(&root.get(SAVEPOINT_MANIFEST).await?, &path)?,
        path: root.display(""),
        root,
        id: None,
        is_committed: false,
    })
}

/// Deletes a claimed snapshot. Returns how many files went. Called again after an error, it goes on.
///
/// # Errors
/// If the store refuses.
pub(crate) async fn delete(snapshot: &Snapshot) -> Result<usize, CheckpointError> {
    match snapshot.manifest.kind {
        SnapshotKind::Savepoint => delete_savepoint(snapshot).await,
        SnapshotKind::Checkpoint => delete_checkpoint(snapshot).await,
    }
}

/// Its manifest goes last: it tells a later call what else there is.
async fn delete_savepoint(snapshot: &Snapshot) -> Result<usize, CheckpointError> {
    let files = snapshot.manifest.files();
    let notes = [SAVEPOINT_COMMITTED, SAVEPOINT_MANIFEST].map(str::to_owned);
    for path in files.iter().chain(&notes) {
        snapshot.root.delete(path).await?;
    }
    Ok(files.len() + notes.len())
}

/// Its manifest goes first, so that nobody restores half of it; then the files that no other manifest of its folder refers to. What a crash
/// leaves of them is swept by age, as all is there.
async fn delete_checkpoint(snapshot: &Snapshot) -> Result<usize, CheckpointError> {
    let (root, id) = (&snapshot.root, id_of(snapshot));
    let facts = Facts::from_listing(root.list().await?);
    if facts.bases.values().any(|base| *base == id) {
        tracing::warn!(
            path = snapshot.path,
            "a job has gone on from the claimed checkpoint as from its own, which it now is: it is not deleted"
        );
        return Ok(0);
    }
    let mut referred = BTreeSet::new();
    for other in facts.manifests.iter().filter(|other| **other != id) {
        let path = layout::manifest(other.generation, other.checkpoint);
        referred.extend(Manifest::decode(&root.get(&path).await?, &root.display(&path))?.files());
    }
    root.delete(&layout::manifest(id.generation, id.checkpoint)).await?;
    root.delete(&layout::committed(id.generation, id.checkpoint)).await?;
    let files = snapshot.manifest.files();
    let unused: Vec<&String> = files.difference(&referred).collect();
    for path in &unused {
        root.delete(path).await?;
    }
    Ok(unused.len() + 2)
}
