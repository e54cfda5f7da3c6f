//! A job whose whole state is one number per checkpoint.

use bytes::Bytes;
use flott_checkpoint::*;
use flott_core::{JobId, KeyGroupRange, OperatorId};

pub const JOB: &str = "website traffic";

pub fn operator() -> OperatorId {
    OperatorId::of("operator")
}

/// A manifest of one operator whose runs lie in `files`, 10 bytes each.
pub fn manifest(generation: u64, checkpoint: u64, files: &[String]) -> Manifest {
    let runs = files.iter().map(|path| RunRef {
        table: "t".to_owned(),
        namespace: None,
        kind: RunKind::Base,
        key_groups: KeyGroupRange::all(128),
        within: None,
        rows: 1,
        tombstones: 0,
        header_bytes: 4,
        header_crc32c: 0,
        location: Location::File {
            path: path.clone(),
            offset: 0,
            length: 10,
        },
    });
    Manifest {
        job_name: JOB.to_owned(),
        job_id: JobId::of(JOB),
        generation,
        checkpoint_id: checkpoint,
        kind: SnapshotKind::Checkpoint,
        timestamp_ms: 1_790_000_000_000,
        operators: vec![OperatorManifest {
            id: operator(),
            name: "aggregate".to_owned(),
            kind: "stream-exec-group-aggregate".to_owned(),
            uid: None,
            parallelism: 1,
            max_parallelism: 128,
            tables: vec![],
            subtasks: vec![SubtaskManifest {
                index: 0,
                runs: runs.collect(),
                ..SubtaskManifest::default()
            }],
        }],
        coordinator: vec![],
    }
}

/// Takes a checkpoint with a file of its own and, as an increment does, the files of the one before it.
pub async fn take(
    leader: &Leader,
    checkpoint: u64,
    before: &[String],
) -> Result<(CommitPermit, Vec<String>), CheckpointError> {
    let content = Bytes::from(format!("{checkpoint:010}"));
    let path = leader.writer(checkpoint, 1).write(operator(), 0, content).await?;
    let mut files: Vec<String> = before.to_vec();
    files.push(path);
    // A full run every third time: files of older checkpoints are let go.
    if checkpoint.is_multiple_of(3) {
        files = files.split_off(files.len() - 1);
    }
    let permit = leader
        .complete(&manifest(leader.generation(), checkpoint, &files))
        .await?;
    Ok((permit, files))
}

/// Reads every file of a snapshot.
pub async fn read_all(snapshot: &Snapshot) -> Result<(), CheckpointError> {
    for path in snapshot.manifest.files() {
        snapshot.root.get(&path).await?;
    }
    Ok(())
}
