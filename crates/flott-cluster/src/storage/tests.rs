//! What is done about a manifest of which the store does not say whether it has it.

use super::*;
use flott_checkpoint::testing::{Fault, FaultyStore};
use object_store::memory::InMemory;

fn manifest(storage: &Storage, id: CheckpointId) -> Manifest {
    Manifest {
        job_name: "j".into(),
        job_id: JobId::of("j"),
        generation: storage.generation(),
        checkpoint_id: id,
        kind: SnapshotKind::Checkpoint,
        timestamp_ms: 0,
        operators: vec![],
        coordinator: vec![],
    }
}

async fn storage(store: &FaultyStore) -> Storage {
    let options = Options::new();
    let settings = CheckpointSettings::from_options(&options).unwrap();
    let root = Root::of_store(Arc::new(store.clone()), "", "memory");
    let store = CheckpointStore::of_root(&root, "j");
    Storage::lead(store, &settings, &options, "j", JobId::of("j"), None)
        .await
        .unwrap()
}

fn newest(storage: &Storage) -> Option<CheckpointId> {
    Some(storage.newest()?.snapshot.id?.checkpoint)
}

/// Calls to the store before, and within, `complete`.
async fn calls_of_complete() -> (u64, u64) {
    let store = FaultyStore::new(Arc::new(InMemory::new()), 0, Fault::Refused);
    let storage = storage(&store).await;
    let before = store.calls();
    storage.complete(manifest(&storage, 1)).await.unwrap();
    (before, store.calls() - before)
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again() {
    let (before, calls) = calls_of_complete().await;
    for step in before + 1..=before + calls {
        for fault in [Fault::LostAnswer, Fault::Refused] {
            let storage = storage(&FaultyStore::new(Arc::new(InMemory::new()), step, fault)).await;
            storage.complete(manifest(&storage, 1)).await.unwrap();
            assert_eq!(newest(&storage), Some(1), "{fault:?} at call {step}");
        }
    }
}

#[tokio::test]
async fn what_may_exist_is_settled_before_anything_is_given_up() {
    let (before, calls) = calls_of_complete().await;
    for step in before + 1..=before + calls {
        // Longer than all attempts of one go.
        let outage = Fault::Outage(u64::from(COMPLETE_ATTEMPTS) * calls);
        let store = FaultyStore::new(Arc::new(InMemory::new()), step, outage);
        let storage = storage(&store).await;
        storage.complete(manifest(&storage, 1)).await.unwrap_err();
        assert_eq!(newest(&storage), None);
        while storage.settle().await.is_err() {
            assert!(store.calls() < step + 100, "the store works again");
        }
        assert_eq!(newest(&storage), Some(1), "outage at call {step}");
    }
}

#[tokio::test]
async fn who_no_longer_leads_settles_nothing() {
    let shared: Arc<InMemory> = Arc::default();
    let store = FaultyStore::new(shared, 0, Fault::Refused);
    let older = storage(&store).await;
    older.settle().await.unwrap();
    let newer = storage(&store).await;
    assert!(older.settle().await.unwrap_err().is_fenced());
    newer.settle().await.unwrap();
}

#[tokio::test]
async fn a_commit_that_comes_late_is_noted_for_its_own_checkpoint() {
    let storage = storage(&FaultyStore::new(Arc::new(InMemory::new()), 0, Fault::Refused)).await;
    let older = storage.complete(manifest(&storage, 1)).await.unwrap();
    let newer = storage.complete(manifest(&storage, 2)).await.unwrap();
    storage.committed(&older).await;
    let noted = |point: &RestorePoint| point.is_committed.load(Ordering::Relaxed);
    assert!(noted(&older) && !noted(&newer));
    let found = storage
        .0
        .leader
        .store()
        .latest_but(&BTreeSet::new())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.id.unwrap().checkpoint, found.is_committed), (2, false));
}

impl Storage {
    /// The bug that the simulation plants: a checkpoint counts while its manifest is still on its way.
    pub(super) fn before_it_is_durable(&self, manifest: Manifest) -> RestorePoint {
        let id = flott_checkpoint::SnapshotId {
            generation: self.generation(),
            checkpoint: manifest.checkpoint_id,
        };
        let (leader, written) = (self.0.leader.clone(), manifest.clone());
        tokio::spawn(async move { drop(leader.complete(&written).await) });
        let snapshot = Snapshot {
            manifest,
            root: self.root().clone(),
            path: self.root().display(""),
            id: Some(id),
            is_committed: false,
        };
        let point = RestorePoint::new(snapshot, LoadedStates::new());
        *lock(&self.0.newest) = Some(point.clone());
        point
    }
}
