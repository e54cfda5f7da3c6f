//! Savepoints that each version of the formats wrote, kept in `flott-checkpoint/tests/data`, must restore for ever.

use crate::support::*;
use flott_checkpoint::{CheckpointStore, Root, Savepoint, Snapshot};
use flott_core::{JobId, Options};
use flott_state::*;
use std::path::{Path, PathBuf};

fn data(version: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../flott-checkpoint/tests/data")).join(version)
}

/// The job when the savepoint was taken.
fn job() -> [WindowTables; 2] {
    let mut job = [windows(2, 0), windows(2, 1)];
    let keys: Vec<String> = (0..600)
        .map(|i| format!("https://website-{i}.example.com/{}", "x".repeat(i % 9)))
        .collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for windows in &mut job {
        count(windows, 2000, &keys);
        count(windows, 2000, &keys[..10]);
        count(windows, 3000, &["a", "straße"]);
    }
    job
}

#[tokio::test]
async fn each_version_restores_at_any_parallelism() {
    // v1: plain numbers in runs; v2: packed ones.
    restores(&data("v1")).await;
    restores(&data("v2")).await;
}

async fn restores(path: &Path) {
    let snapshot = Snapshot::open(path.to_str().unwrap(), &Options::new()).await.unwrap();
    let expected: std::collections::BTreeMap<_, _> = job().iter().flat_map(dump).collect();
    for parallelism in [1, 2, 5] {
        let operator = snapshot.manifest.operator(aggregate()).unwrap();
        let states = load_operator(&snapshot.root, operator, parallelism).await.unwrap();
        let mut rows = std::collections::BTreeMap::new();
        for (subtask, state) in states.iter().enumerate() {
            let mut windows = windows(parallelism, subtask);
            state.load_windows(&mut windows).unwrap();
            for ((_, key), _) in dump(&windows) {
                assert_eq!(subtask_of_key(&key, parallelism), subtask);
            }
            rows.extend(dump(&windows));
        }
        assert_eq!(rows, expected);
        let committables: usize = states.iter().map(|s| s.committables().len()).sum();
        assert_eq!(committables, 2);
    }
}

/// What is written today restores as well. With `FLOTT_KEEP_FORMAT=v3` it is kept beside the data of the other versions: for the change
/// that brings a new one.
#[tokio::test]
async fn what_is_written_today_restores() {
    let parent = tempfile::tempdir().unwrap();
    let root = Root::open(parent.path().to_str().unwrap(), &Options::new()).unwrap();
    let store = CheckpointStore::of_root(&root, "website traffic");
    let leader = store.claim("test").await.unwrap();
    leader.start_from(None).await.unwrap();
    let mut parts = vec![];
    for (subtask, windows) in job().iter_mut().enumerate() {
        let encoded = encode_snapshots(7, subtask, snapshots(7, subtask, windows), RunMode::Full).unwrap();
        parts.extend(encoded.write(&leader.writer(7, 1)).await.unwrap().parts);
    }
    let _ = leader
        .complete(&manifest(leader.generation(), 7, 2, parts))
        .await
        .unwrap();
    let savepoint = Savepoint::within(&root, JobId::of("website traffic"));
    let checkpoint = store.latest().await.unwrap().unwrap();
    savepoint.complete_from(&checkpoint).await.unwrap();
    restores(Path::new(&savepoint.path())).await;
    if let Ok(version) = std::env::var("FLOTT_KEEP_FORMAT") {
        let target = data(&version);
        std::fs::create_dir_all(&target).unwrap();
        for file in std::fs::read_dir(savepoint.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), target.join(file.file_name())).unwrap();
        }
    }
}
