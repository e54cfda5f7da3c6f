//! Checkpoints of a running job, restored at other parallelisms.

use crate::support::*;
use flott_checkpoint::{CheckpointStore, RunKind, Snapshot};
use flott_core::Options;
use flott_state::*;
use std::collections::BTreeMap;

async fn restore(snapshot: &Snapshot, parallelism: usize) -> Vec<WindowTables> {
    restore_as(snapshot, parallelism, false).await
}

/// Restores; `continues`: so that the next checkpoint builds on this one.
async fn restore_as(snapshot: &Snapshot, parallelism: usize, continues: bool) -> Vec<WindowTables> {
    let operator = snapshot.manifest.operator(aggregate()).unwrap();
    let states = load_operator(&snapshot.root, operator, parallelism).await.unwrap();
    let fill = |(subtask, mut state): (usize, RestoredState)| {
        if continues {
            state.continue_from(snapshot.manifest.checkpoint_id);
        }
        let mut windows = windows(parallelism, subtask);
        state.load_windows(&mut windows).unwrap();
        windows
    };
    states.into_iter().enumerate().map(fill).collect()
}

fn union(parts: &[WindowTables]) -> BTreeMap<(i64, String), Row> {
    let mut all = BTreeMap::new();
    for part in parts {
        let rows = dump(part);
        let before = all.len();
        all.extend(rows.clone());
        assert_eq!(all.len(), before + rows.len(), "a key is in two subtasks");
    }
    all
}

/// Checkpoints behind which the job is restarted.
const RESTARTED: [u64; 2] = [3, 6];

/// Two subtasks take checkpoints, full or as increments, also behind restarts; each is restored at 1, 2 and 3 subtasks and compared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_restore_at_any_parallelism_in_both_modes() {
    for mode in [RunMode::Full, RunMode::Incremental] {
        let dir = tempfile::tempdir().unwrap();
        let store = CheckpointStore::open(dir.path().to_str().unwrap(), "website traffic", &Options::new())
            .await
            .unwrap();
        let leader = store.claim("test").await.unwrap();
        leader.start_from(None).await.unwrap();
        let mut job = vec![windows(2, 0), windows(2, 1)];
        let keys: Vec<String> = (0..2000)
            .map(|i| format!("https://website-{i}.example.com/index.html"))
            .collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut deltas = 0;
        for checkpoint in 1..=12u64 {
            for windows in &mut job {
                if checkpoint == 1 {
                    count(windows, 1000, &keys);
                    count(windows, 2000, &keys[..100]);
                }
                let from = checkpoint as usize * 40;
                count(windows, 1000, &keys[from..from + 100]);
                if checkpoint == 8 {
                    windows.remove(2000);
                }
            }
            let mut parts = vec![];
            let mut tickets = vec![];
            for (subtask, windows) in job.iter_mut().enumerate() {
                let taken = snapshots(checkpoint, subtask, windows);
                count(windows, 1000, &keys[..1]);
                let encoded = encode_snapshots(checkpoint, subtask, taken, mode).unwrap();
                let written = encoded.write(&leader.writer(checkpoint, 1)).await.unwrap();
                parts.extend(written.parts);
                tickets.push(written.ticket);
            }
            let runs = parts.iter().flat_map(|p| &p.subtask.runs);
            let of_checkpoint = runs.filter(|r| r.kind == RunKind::Delta).count();
            // Behind a restart as well: one slice of each subtask goes on.
            assert!(
                mode == RunMode::Full || !RESTARTED.contains(&(checkpoint - 1)) || of_checkpoint >= 2,
                "checkpoint {checkpoint} is full"
            );
            deltas += of_checkpoint;
            // What the captures held: without the count that came behind them.
            let mut expected = union(&job);
            if let Some(row) = expected.get_mut(&(1000, keys[0].to_owned())) {
                row.0 -= 1;
            }
            let permit = leader.complete(&manifest(1, checkpoint, 2, parts)).await.unwrap();
            if checkpoint != 5 {
                tickets.iter().for_each(ConfirmationTicket::confirm);
            }
            leader.mark_committed(permit.id).await.unwrap();
            leader.delete_superseded(1).await.unwrap();
            let latest = store.latest().await.unwrap().unwrap();
            assert_eq!(latest.manifest.checkpoint_id, checkpoint);
            for parallelism in [1, 2, 3] {
                let restored = union(&restore(&latest, parallelism).await);
                assert!(
                    restored == expected,
                    "{mode:?} checkpoint {checkpoint} at {parallelism}"
                );
            }
            let splits = load_operator(&latest.root, latest.manifest.operator(source()).unwrap(), 1)
                .await
                .unwrap();
            let texts: Vec<_> = splits[0].operator_state("splits").collect();
            assert_eq!(
                texts,
                [&format!("split 0 at {checkpoint}"), &format!("split 1 at {checkpoint}")]
            );
            if RESTARTED.contains(&checkpoint) {
                job = restore_as(&latest, 2, mode == RunMode::Incremental).await;
            }
        }
        assert_eq!(deltas > 10, mode == RunMode::Incremental, "{mode:?}: {deltas} deltas");
        // One manifest is kept, and of the files only what it needs (and what it replaced last).
        let facts = store.facts().await.unwrap();
        assert_eq!(facts.manifests.len(), 1);
        assert!(facts.files.len() <= 24, "{} files", facts.files.len());
    }
}

#[tokio::test]
async fn damaged_state_is_refused_when_it_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(dir.path().to_str().unwrap(), "job", &Options::new())
        .await
        .unwrap();
    let leader = store.claim("test").await.unwrap();
    leader.start_from(None).await.unwrap();
    let mut windows = windows(1, 0);
    let keys: Vec<String> = (0..1000).map(|i| format!("a key of some length {i}")).collect();
    count(&mut windows, 1000, &keys.iter().map(String::as_str).collect::<Vec<_>>());
    let encoded = encode_snapshots(1, 0, snapshots(1, 0, &mut windows), RunMode::Full).unwrap();
    let written = encoded.write(&leader.writer(1, 1)).await.unwrap();
    let file = written.parts[1].subtask.runs[0].location.path().unwrap().to_owned();
    let permit = leader.complete(&manifest(1, 1, 1, written.parts)).await.unwrap();
    let job = std::path::Path::new(&permit.path).parent().unwrap().to_owned();
    let mut content = std::fs::read(job.join(&file)).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(job.join(&file), content).unwrap();
    let latest = store.latest().await.unwrap().unwrap();
    let operator = latest.manifest.operator(aggregate()).unwrap();
    let error = load_operator(&latest.root, operator, 1).await.unwrap_err().to_string();
    assert!(error.contains("'counts'") && error.contains(&file), "{error}");
}
