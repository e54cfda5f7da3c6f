//! State that is read ahead of the attempt that starts from it.

use crate::support::*;
use arrow_array::{Array, StringArray};
use flott_checkpoint::{CheckpointStore, Leader, Snapshot, restore_plan};
use flott_core::{KeyGroupRange, Options};
use flott_state::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

type Rows = BTreeMap<(i64, String), Row>;

/// A job of two subtasks, and where its checkpoints are.
struct Job {
    dir: TempDir,
    store: CheckpointStore,
    leader: Leader,
    subtasks: Vec<WindowTables>,
    checkpoint: u64,
}

impl Job {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = CheckpointStore::open(dir.path().to_str().unwrap(), "job", &Options::new())
            .await
            .unwrap();
        let leader = store.claim("test").await.unwrap();
        leader.start_from(None).await.unwrap();
        Self {
            dir,
            store,
            leader,
            subtasks: vec![windows(2, 0), windows(2, 1)],
            checkpoint: 0,
        }
    }

    fn count(&mut self, slice_end: i64, keys: &[&str]) {
        self.subtasks.iter_mut().for_each(|w| count(w, slice_end, keys));
    }

    /// Takes a checkpoint: it, and the rows that it holds.
    async fn checkpoint(&mut self, mode: RunMode) -> (Snapshot, Rows) {
        self.checkpoint += 1;
        let (mut parts, mut rows) = (vec![], Rows::new());
        for (subtask, windows) in self.subtasks.iter_mut().enumerate() {
            let taken = snapshots(self.checkpoint, subtask, windows);
            rows.extend(all_rows(windows));
            let encoded = encode_snapshots(self.checkpoint, subtask, taken, mode).unwrap();
            let written = encoded.write(&self.leader.writer(self.checkpoint, 1)).await.unwrap();
            parts.extend(written.parts);
            written.ticket.confirm();
        }
        let manifest = manifest(1, self.checkpoint, self.subtasks.len(), parts);
        let permit = self.leader.complete(&manifest).await.unwrap();
        self.leader.mark_committed(permit.id).await.unwrap();
        (self.store.latest().await.unwrap().unwrap(), rows)
    }

    /// All files of state.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![];
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                match entry.path().is_dir() {
                    true => folders.push(entry.path()),
                    false => files.push(entry.path()),
                }
            }
        }
        // Not the manifests.
        files.retain(|file| file.metadata().unwrap().len() > 20_000 && !is_manifest(file));
        files
    }
}

fn is_manifest(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "json")
}

/// All rows, wherever they are.
fn all_rows(windows: &mut WindowTables) -> Rows {
    let mut rows = Rows::new();
    for slice_end in windows.slices().collect::<Vec<_>>() {
        let table = windows.get_mut(slice_end).unwrap();
        let (mut cursor, mut is_more) = (TableCursor::default(), true);
        while is_more {
            let mut slots = vec![];
            is_more = table.next_page(&mut cursor, 50, &mut slots).unwrap();
            let keys = table.keys(&slots).unwrap();
            let keys = keys[0].as_any().downcast_ref::<StringArray>().unwrap();
            for (i, slot) in slots.iter().enumerate() {
                let row = (
                    table.column::<i64>(0).get(*slot),
                    table.column::<i128>(1).value(*slot),
                    table.column::<f64>(2).value(*slot),
                    table.column::<bool>(3).get(*slot),
                    table.bytes_column(4).get(*slot).map(<[u8]>::to_vec),
                );
                assert!(rows.insert((slice_end, keys.value(i).to_owned()), row).is_none());
            }
            table.relieve().unwrap();
        }
    }
    rows
}

/// A backend whose tables hold so few rows in memory.
fn backend() -> StateBackend {
    let options: Options = [("state.backend.hot-rows", "30")].into_iter().collect();
    StateBackend::new(&BackendSettings::from_options(&options).unwrap(), 1)
}

fn range_of(parallelism: usize, subtask: usize) -> KeyGroupRange {
    KeyGroupRange::of_subtask(MAX_PARALLELISM, parallelism, subtask)
}

fn tiered(backend: &StateBackend, parallelism: usize, subtask: usize) -> WindowTables {
    windows(parallelism, subtask).tiered(backend).unwrap()
}

/// Reads the subtask's state, as far as it is not there.
async fn load(
    snapshot: &Snapshot,
    parallelism: usize,
    subtask: usize,
    preloaded: PreloadedState,
) -> Result<RestoredState, StateError> {
    let operator = snapshot.manifest.operator(aggregate()).unwrap();
    let plan = restore_plan(operator, parallelism).unwrap();
    load_beyond(&snapshot.root, operator, &plan[subtask], preloaded).await
}

async fn fill(
    snapshot: &Snapshot,
    backend: &StateBackend,
    parallelism: usize,
    subtask: usize,
    preloaded: PreloadedState,
) -> PreloadedState {
    let state = load(snapshot, parallelism, subtask, preloaded).await.unwrap();
    let place = (MAX_PARALLELISM, range_of(parallelism, subtask));
    let backend = backend.clone();
    // As in a TaskManager: on a thread that may wait.
    let filling = move || PreloadedState::fill(state, &backend, place, &|| true);
    tokio::task::spawn_blocking(filling).await.unwrap().unwrap()
}

fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range
        .map(|i| format!("https://website-{i}.example.com/index.html"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_ahead_is_not_read_again_and_goes_on_with_what_has_come_since() {
    let texts = texts(0..3000);
    let keys: Vec<&str> = texts.iter().map(String::as_str).collect();
    for parallelism in [1, 2, 3] {
        let mut job = Job::new().await;
        job.count(1000, &keys[..2000]);
        job.count(2000, &keys[..500]);
        job.checkpoint(RunMode::Incremental).await;
        job.count(1000, &keys[100..300]);
        let (second, _) = job.checkpoint(RunMode::Incremental).await;
        let backends: Vec<StateBackend> = (0..parallelism).map(|_| backend()).collect();
        let mut ahead = vec![];
        for (subtask, backend) in backends.iter().enumerate() {
            ahead.push(fill(&second, backend, parallelism, subtask, PreloadedState::default()).await);
        }
        let bytes: u64 = ahead.iter().map(PreloadedState::bytes).sum();
        assert!(bytes > 100_000, "{bytes}");
        // Rows change, come and go, and so do slices.
        job.count(1000, &keys[250..450]);
        job.count(3000, &keys[2000..2600]);
        job.subtasks.iter_mut().for_each(|w| drop(w.remove(2000)));
        let (third, _) = job.checkpoint(RunMode::Incremental).await;
        let mut further = vec![];
        for (subtask, (backend, ahead)) in backends.iter().zip(ahead).enumerate() {
            further.push(fill(&third, backend, parallelism, subtask, ahead).await);
        }
        let held = job.files();
        job.count(1000, &keys[440..480]);
        for windows in &mut job.subtasks {
            let table = windows.get_mut(1000).unwrap();
            let gone: Vec<u32> = table.live_slots().take(50).collect();
            table.remove(&gone);
        }
        let (fourth, expected) = job.checkpoint(RunMode::Incremental).await;
        // What the tables hold is not even looked at.
        let good: Vec<Vec<u8>> = held.iter().map(|file| std::fs::read(file).unwrap()).collect();
        held.iter()
            .zip(&good)
            .for_each(|(file, good)| std::fs::write(file, vec![0; good.len()]).unwrap());
        assert!(load(&fourth, parallelism, 0, PreloadedState::default()).await.is_err());
        let mut restored = vec![];
        for (subtask, (backend, further)) in backends.iter().zip(further).enumerate() {
            let mut state = load(&fourth, parallelism, subtask, further).await.unwrap();
            state.continue_from(fourth.manifest.checkpoint_id);
            let mut windows = tiered(backend, parallelism, subtask);
            state.load_windows(&mut windows).unwrap();
            restored.push(windows);
        }
        held.iter()
            .zip(&good)
            .for_each(|(file, good)| std::fs::write(file, good).unwrap());
        let rows: Rows = restored.iter_mut().flat_map(all_rows).collect();
        assert!(rows == expected, "parallelism {parallelism}");
        // Checkpoints go on with increments, which hold what has changed since.
        job.subtasks = restored;
        job.count(1000, &keys[10..30]);
        let (fifth, expected) = job.checkpoint(RunMode::Incremental).await;
        let deltas = fifth
            .manifest
            .operator(aggregate())
            .unwrap()
            .subtasks
            .iter()
            .flat_map(|s| &s.runs);
        assert!(deltas.filter(|run| run.namespace == Some(1000)).count() > 2 * parallelism);
        let mut again = windows(1, 0);
        let state = load(&fifth, 1, 0, PreloadedState::default()).await.unwrap();
        state.load_windows(&mut again).unwrap();
        assert!(all_rows(&mut again) == expected, "parallelism {parallelism}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_increment_that_is_equal_to_an_earlier_one_counts_again() {
    let texts = texts(0..1000);
    let keys: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut job = Job::new().await;
    job.count(1000, &keys);
    for _ in 0..2 {
        job.checkpoint(RunMode::Incremental).await;
    }
    let remove = |job: &mut Job| {
        for windows in &mut job.subtasks {
            let table = windows.get_mut(1000).unwrap();
            let slots: Vec<u32> = table.live_slots().collect();
            let found = table.keys(&slots).unwrap();
            let found = found[0].as_any().downcast_ref::<StringArray>().unwrap();
            let gone = slots.iter().enumerate().filter(|(i, _)| found.value(*i) == keys[7]);
            let gone: Vec<u32> = gone.map(|(_, slot)| *slot).collect();
            table.remove(&gone);
        }
    };
    remove(&mut job);
    job.checkpoint(RunMode::Incremental).await;
    job.count(1000, &keys[7..8]);
    let (before, _) = job.checkpoint(RunMode::Incremental).await;
    let backend = backend();
    let ahead = fill(&before, &backend, 1, 0, PreloadedState::default()).await;
    // Small enough to lie in the manifest, where it is as the first one was.
    remove(&mut job);
    let (last, expected) = job.checkpoint(RunMode::Incremental).await;
    let runs = &last.manifest.operator(aggregate()).unwrap().subtasks.iter();
    let is_twice =
        |runs: &[flott_checkpoint::RunRef]| runs.iter().any(|run| runs.iter().filter(|r| *r == run).count() > 1);
    assert!(
        runs.clone().any(|subtask| is_twice(&subtask.runs)),
        "the test does not show what it is for"
    );
    let further = fill(&last, &backend, 1, 0, ahead).await;
    let mut windows = tiered(&backend, 1, 0);
    load(&last, 1, 0, further)
        .await
        .unwrap()
        .load_windows(&mut windows)
        .unwrap();
    assert!(all_rows(&mut windows) == expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_were_written_whole_since_are_read_like_any_other() {
    let texts = texts(0..1000);
    let keys: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut job = Job::new().await;
    job.count(1000, &keys);
    let (first, _) = job.checkpoint(RunMode::Incremental).await;
    let backend = backend();
    let ahead = fill(&first, &backend, 1, 0, PreloadedState::default()).await;
    job.count(1000, &keys[..10]);
    let (second, expected) = job.checkpoint(RunMode::Full).await;
    let mut windows = tiered(&backend, 1, 0);
    load(&second, 1, 0, ahead)
        .await
        .unwrap()
        .load_windows(&mut windows)
        .unwrap();
    assert!(all_rows(&mut windows) == expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_cannot_go_on_with_what_was_filled_reads_it_after_all() {
    let texts = texts(0..1000);
    let keys: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut job = Job::new().await;
    job.count(1000, &keys);
    let (first, _) = job.checkpoint(RunMode::Incremental).await;
    let ahead = fill(&first, &backend(), 1, 0, PreloadedState::default()).await;
    job.count(1000, &keys[..10]);
    let (second, expected) = job.checkpoint(RunMode::Incremental).await;
    // All in memory, which is no place for what lies in a store.
    let mut windows = windows(1, 0);
    load(&second, 1, 0, ahead)
        .await
        .unwrap()
        .load_windows(&mut windows)
        .unwrap();
    assert!(all_rows(&mut windows) == expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_waits_for_any_more_is_not_read_to_its_end() {
    let texts = texts(0..100);
    let keys: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut job = Job::new().await;
    job.count(1000, &keys);
    let (first, _) = job.checkpoint(RunMode::Incremental).await;
    let state = load(&first, 1, 0, PreloadedState::default()).await.unwrap();
    let filled = PreloadedState::fill(state, &backend(), (MAX_PARALLELISM, range_of(1, 0)), &|| false);
    assert!(filled.unwrap_err().to_string().contains("not wanted"));
}
