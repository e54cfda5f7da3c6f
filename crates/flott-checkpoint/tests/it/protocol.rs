//! Crashes, lost answers and competing leaders at every call to the store.

use crate::support::{JOB, manifest, operator, read_all, take};
use bytes::Bytes;
use flott_checkpoint::testing::{Fault, FaultyStore};
use flott_checkpoint::*;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

fn store(inner: Arc<dyn ObjectStore>) -> CheckpointStore {
    CheckpointStore::of_root(&Root::of_store(inner, "", "memory"), JOB)
}

/// What happened in a process's life, told as it happens.
#[derive(Debug, Default, Clone)]
struct Diary {
    generation: u64,
    restored: Option<SnapshotId>,
    /// Checkpoints whose commits were sent to the sinks.
    committed: Vec<SnapshotId>,
}

/// A process: claims, restores the newest checkpoint and takes `count` more.
async fn live(store: &CheckpointStore, count: u64, diary: &Mutex<Diary>) -> Result<(), CheckpointError> {
    let leader = store.claim("test").await?;
    diary.lock().unwrap().generation = leader.generation();
    let restored = store.latest().await?;
    if let Some(snapshot) = &restored {
        read_all(snapshot).await?;
    }
    let first = leader.start_from(restored.as_ref()).await?;
    diary.lock().unwrap().restored = restored.as_ref().and_then(|r| r.id);
    let mut files: Vec<String> = vec![];
    for checkpoint in first..first + count {
        match take(&leader, checkpoint, &files).await {
            Ok((permit, now)) => {
                files = now;
                diary.lock().unwrap().committed.push(permit.id);
                leader.mark_committed(permit.id).await?;
            }
            // A checkpoint may fail without the job failing; the next one starts anew.
            Err(CheckpointError::Io { .. } | CheckpointError::MissingBase { .. }) => files = vec![],
            Err(error) => return Err(error),
        }
        leader.delete_superseded(1).await?;
    }
    Ok(())
}

/// How many calls a life of `count` checkpoints makes after one of two.
async fn calls_of_a_life(count: u64) -> u64 {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    live(&store(Arc::clone(&memory)), 2, &Mutex::default()).await.unwrap();
    let counting = FaultyStore::new(memory, 0, Fault::Refused);
    live(&store(Arc::new(counting.clone())), count, &Mutex::default())
        .await
        .unwrap();
    counting.calls()
}

#[tokio::test]
async fn nothing_that_was_committed_is_lost_wherever_a_process_dies() {
    let calls = calls_of_a_life(4).await;
    assert!(calls > 30, "{calls}");
    for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::LostAnswer, Fault::Refused] {
        for step in 1..=calls {
            let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let clean = store(Arc::clone(&memory));
            let before = Mutex::new(Diary::default());
            live(&clean, 2, &before).await.unwrap();
            let diary = Mutex::new(Diary::default());
            let faulty = FaultyStore::new(Arc::clone(&memory), step, fault);
            let _ = live(&store(Arc::new(faulty)), 4, &diary).await;

            let context = format!("{fault:?} at call {step}");
            let latest = clean.latest().await.expect(&context).expect(&context);
            read_all(&latest).await.expect(&context);
            let committed = diary.lock().unwrap().committed.last().copied();
            let newest = committed.or(before.lock().unwrap().committed.last().copied());
            assert!(latest.id >= newest, "{context}: {:?} < {newest:?}", latest.id);

            // The next process goes on from there, and leaves nothing but what it refers to.
            let after = Mutex::new(Diary::default());
            live(&clean, 3, &after).await.expect(&context);
            assert_eq!(after.lock().unwrap().restored, latest.id, "{context}");
            let leader = clean.claim("sweeper").await.unwrap();
            leader.start_from(clean.latest().await.unwrap().as_ref()).await.unwrap();
            leader.sweep(i64::MAX, 0).await.unwrap();
            let facts = clean.facts().await.unwrap();
            let latest = clean.latest().await.unwrap().unwrap();
            let kept: BTreeSet<String> = facts.files.keys().cloned().collect();
            let mut referenced = BTreeSet::new();
            for id in &facts.manifests {
                referenced.extend(clean.load(*id, &facts).await.unwrap().manifest.files());
            }
            assert_eq!(kept, referenced, "{context}");
            assert!(latest.manifest.files().is_subset(&kept));
        }
    }
}

#[tokio::test]
async fn a_checkpoint_that_the_store_does_not_show_is_not_skipped() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let leader = store(Arc::clone(&memory)).claim("test").await.unwrap();
    leader.start_from(None).await.unwrap();
    let (_, files) = take(&leader, 1, &[]).await.unwrap();
    let (newest, _) = take(&leader, 2, &files).await.unwrap();
    let (mut step, mut refused) = (0, 0);
    loop {
        step += 1;
        let faulty = FaultyStore::new(Arc::clone(&memory), step, Fault::Refused);
        match store(Arc::new(faulty.clone())).latest().await {
            Ok(found) => assert_eq!(found.unwrap().id, Some(newest.id), "call {step}"),
            Err(error) => {
                assert!(error.is_unanswered(), "call {step}: {error}");
                refused += 1;
            }
        }
        if faulty.calls() < step {
            break;
        }
    }
    assert!(refused > 1, "{refused}");
}

#[tokio::test]
async fn a_checkpoint_that_comes_late_does_not_count_behind_a_start_from_nothing() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let clean = store(Arc::clone(&memory));
    let early = clean.claim("early").await.unwrap();
    early.start_from(None).await.unwrap();
    let next = clean.claim("next").await.unwrap();
    assert!(clean.latest().await.unwrap().is_none());
    // It was on its way when its leader was overtaken.
    let late = manifest(early.generation(), 1, &[]).encode().unwrap();
    let place = layout::manifest(early.generation(), 1);
    let folder = Root::of_store(memory, "", "memory").folder(&layout::job_folder(JOB));
    folder.put_own(&place, late).await.unwrap();
    assert_eq!(clean.facts().await.unwrap().manifests.len(), 1);
    next.start_from(None).await.unwrap();
    assert!(clean.latest().await.unwrap().is_none());
    let (first, _) = take(&next, 2, &[]).await.unwrap();
    assert_eq!(clean.latest().await.unwrap().unwrap().id, Some(first.id));
}

#[tokio::test]
async fn a_leader_that_is_overtaken_at_any_call_commits_nothing_that_its_successor_does_not_know() {
    let calls = calls_of_a_life(4).await;
    for step in 1..=calls {
        let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let clean = store(Arc::clone(&memory));
        live(&clean, 2, &Mutex::default()).await.unwrap();
        let successor = Arc::new(Mutex::new(Diary::default()));
        let intruder = {
            let (clean, diary) = (clean.clone(), Arc::clone(&successor));
            Box::pin(async move { live(&clean, 1, &diary).await.unwrap() })
        };
        let old = Mutex::new(Diary::default());
        let interrupted = FaultyStore::interrupted(Arc::clone(&memory), step, intruder);
        let result = live(&store(Arc::new(interrupted)), 4, &old).await;

        let (old, successor) = (old.lock().unwrap().clone(), successor.lock().unwrap().clone());
        let context = format!("overtaken at call {step}: {result:?}");
        if old.generation > 0 && old.generation < successor.generation {
            // Overtaken in its last clean-up it may not notice any more; before that it must.
            let has_ended = old.committed.len() == 4;
            assert!(
                has_ended || matches!(result, Err(CheckpointError::Fenced { .. })),
                "{context}"
            );
            let known = successor.restored;
            assert!(
                old.committed.iter().all(|id| Some(*id) <= known),
                "{context}: {old:?} {successor:?}"
            );
        }
        let latest = clean.latest().await.expect(&context).expect(&context);
        read_all(&latest).await.expect(&context);
        let newest = old.committed.iter().chain(&successor.committed).max().copied();
        assert_eq!(latest.id.max(newest), latest.id, "{context}");
    }
}

#[tokio::test]
async fn claims_are_taken_once_however_many_ask() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let claims = (0..20).map(|_| {
        let store = store(Arc::clone(&memory));
        tokio::spawn(async move { store.claim("test").await.unwrap().generation() })
    });
    let generations: Vec<u64> = futures::future::join_all(claims)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(generations.iter().collect::<BTreeSet<_>>().len(), 20);
}

#[tokio::test]
async fn a_checkpoint_over_files_that_are_gone_is_not_completed() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let leader = store(memory).claim("test").await.unwrap();
    leader.start_from(None).await.unwrap();
    let (_, first) = take(&leader, 1, &[]).await.unwrap();
    let (_, _) = take(&leader, 4, &[]).await.unwrap();
    leader.delete_superseded(1).await.unwrap();
    // The files of checkpoint 1 are spared until the next clean-up: an increment in the making may still use them.
    let (_, _) = take(&leader, 5, &first).await.unwrap();
    let (_, _) = take(&leader, 7, &[]).await.unwrap();
    leader.delete_superseded(1).await.unwrap();
    leader.delete_superseded(1).await.unwrap();
    let error = take(&leader, 8, &first).await.unwrap_err();
    assert!(
        matches!(error, CheckpointError::MissingBase { checkpoint: 8, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_ended_job_leaves_no_checkpoint_if_it_is_told_so() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = store(memory);
    let leader = store.claim("test").await.unwrap();
    leader.start_from(None).await.unwrap();
    let (permit, files) = take(&leader, 1, &[]).await.unwrap();
    leader.mark_committed(permit.id).await.unwrap();
    let _ = take(&leader, 2, &files).await.unwrap();
    leader.delete_superseded(0).await.unwrap();
    assert!(store.latest().await.unwrap().is_none());
    leader.delete_superseded(0).await.unwrap();
    let facts = store.facts().await.unwrap();
    assert!(facts.files.is_empty() && facts.committed.is_empty(), "{facts:?}");
}

#[tokio::test]
async fn nothing_is_written_for_a_checkpoint_that_was_given_up() {
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = store(memory);
    let leader = store.claim("test").await.unwrap();
    leader.start_from(None).await.unwrap();
    let wanted = Arc::new(());
    let writer = leader.writer(1, 1).while_wanted(Arc::downgrade(&wanted));
    let content = || Bytes::from_static(b"state");
    writer.write_part(operator(), 0, 0, content()).await.unwrap();
    drop(wanted);
    let error = writer.write_part(operator(), 0, 1, content()).await.unwrap_err();
    assert!(
        matches!(&error, CheckpointError::GivenUp { path } if path.starts_with("chk-1/")),
        "{error}"
    );
    assert_eq!(store.facts().await.unwrap().files.len(), 1);
}
