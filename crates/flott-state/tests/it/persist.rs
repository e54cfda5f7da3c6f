//! Checkpoints of a running job, restored at other parallelisms.

use crate::support::*;
use flott_checkpoint::{CheckpointStore, Location, RunKind, Snapshot};
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

/// Checkpoints behind which the job is restarted, and with how many subtasks.
const RESTARTED: [(u64, usize); 4] = [(2, 2), (4, 3), (5, 1), (9, 2)];

/// Subtasks take checkpoints, full or as increments, also behind restarts with more of them and with fewer; each is restored at 1, 2 and 3
/// subtasks and compared.
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
        let (mut deltas, mut is_restarted) = (0, false);
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
            let (mut written_bytes, mut state_bytes) = (0, 0);
            let mut parts = vec![];
            let mut tickets = vec![];
            for (subtask, windows) in job.iter_mut().enumerate() {
                let taken = snapshots(checkpoint, subtask, windows);
                count(windows, 1000, &keys[..1]);
                let encoded = encode_snapshots(checkpoint, subtask, taken, mode).unwrap();
                let written = encoded.write(&leader.writer(checkpoint, 1)).await.unwrap();
                written_bytes += written.written_bytes;
                state_bytes += written.state_bytes;
                parts.extend(written.parts);
                tickets.push(written.ticket);
            }
            let runs = parts.iter().flat_map(|p| &p.subtask.runs);
            let of_checkpoint = runs.filter(|r| r.kind == RunKind::Delta).count();
            // Behind a restart as well, whoever has the keys now.
            assert!(
                mode == RunMode::Full || !is_restarted || written_bytes * 4 < state_bytes,
                "checkpoint {checkpoint} writes {written_bytes} of {state_bytes} bytes"
            );
            deltas += of_checkpoint;
            // What subtasks read of one run adds up to it.
            let mut read: BTreeMap<(&str, u64), (u64, u64)> = BTreeMap::new();
            for run in parts.iter().flat_map(|p| &p.subtask.runs) {
                if let Location::File { path, offset, .. } = &run.location {
                    let (rows, whole) = read.entry((path, *offset)).or_default();
                    (*rows, *whole) = (*rows + run.row_count(), run.rows);
                }
            }
            assert!(read.values().all(|(rows, whole)| rows == whole), "{read:?}");
            let mut in_manifest = parts
                .iter()
                .flat_map(|p| &p.subtask.runs)
                .filter(|r| r.location.path().is_none());
            assert!(
                in_manifest.all(|r| r.within.is_none()),
                "a part of a run brings all of it along"
            );
            // What the captures held: without the count that came behind them.
            let mut expected = union(&job);
            if let Some(row) = expected.get_mut(&(1000, keys[0].to_owned())) {
                row.0 -= 1;
            }
            let permit = leader
                .complete(&manifest(1, checkpoint, job.len(), parts))
                .await
                .unwrap();
            if checkpoint != 7 {
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
            let told: Vec<_> = (0..job.len()).map(|s| format!("split {s} at {checkpoint}")).collect();
            assert_eq!(texts, told.iter().collect::<Vec<_>>());
            let restarted = RESTARTED.iter().find(|(behind, _)| *behind == checkpoint);
            is_restarted = restarted.is_some();
            if let Some((_, parallelism)) = restarted {
                job = restore_as(&latest, *parallelism, mode == RunMode::Incremental).await;
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

#[tokio::test]
async fn a_damaged_copy_on_local_disk_costs_nothing_but_the_way_to_the_store() {
    let (dir, local) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options: Options = [
        ("state.backend.local-recovery", "true"),
        (
            "execution.checkpointing.local-backup.dirs",
            local.path().to_str().unwrap(),
        ),
    ]
    .into_iter()
    .collect();
    let store = CheckpointStore::open(dir.path().to_str().unwrap(), "job", &options)
        .await
        .unwrap();
    let leader = store.claim("test").await.unwrap();
    leader.start_from(None).await.unwrap();
    let mut windows = windows(1, 0);
    let keys: Vec<String> = (0..1000).map(|i| format!("a key of some length {i}")).collect();
    count(&mut windows, 1000, &keys.iter().map(String::as_str).collect::<Vec<_>>());
    let expected = dump(&windows);
    let encoded = encode_snapshots(1, 0, snapshots(1, 0, &mut windows), RunMode::Full).unwrap();
    let written = encoded.write(&leader.writer(1, 1)).await.unwrap();
    let file = written.parts[1].subtask.runs[0].location.path().unwrap().to_owned();
    let permit = leader.complete(&manifest(1, 1, 1, written.parts)).await.unwrap();
    let job = std::path::Path::new(&permit.path).parent().unwrap().to_owned();
    let latest = store.latest().await.unwrap().unwrap();

    // The copy alone is enough, and so is the store.
    let good = std::fs::read(job.join(&file)).unwrap();
    std::fs::write(job.join(&file), vec![0; good.len()]).unwrap();
    assert_eq!(dump(&restore(&latest, 1).await[0]), expected);
    let folder = std::fs::read_dir(local.path())
        .unwrap()
        .flatten()
        .find(|e| e.path().is_dir());
    let copy = std::fs::read_dir(folder.unwrap().path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert_eq!(std::fs::read(&copy).unwrap(), good);
    std::fs::write(&copy, vec![0; good.len()]).unwrap();
    let operator = latest.manifest.operator(aggregate()).unwrap();
    let error = load_operator(&latest.root, operator, 1).await.unwrap_err().to_string();
    assert!(error.contains("'counts'") && error.contains(&file), "{error}");
    std::fs::write(job.join(&file), good).unwrap();
    assert_eq!(dump(&restore(&latest, 1).await[0]), expected);
}
