//! Checkpoints and savepoints that a job has claimed go with its own older ones; what is not claimed stays.

use crate::support::{JOB, read_all, take};
use flott_checkpoint::*;
use flott_core::{JobId, Options};
use std::path::Path;

async fn open(dir: &Path) -> CheckpointStore {
    open_job(dir, JOB).await
}

async fn open_job(dir: &Path, job: &str) -> CheckpointStore {
    let dir = dir.to_str().unwrap();
    CheckpointStore::open(dir, job, &Options::new()).await.unwrap()
}

async fn at(path: &str) -> Result<Snapshot, CheckpointError> {
    Snapshot::open(path, &Options::new()).await
}

/// A savepoint of a checkpoint that refers to files of the one before.
async fn savepoint(dir: &Path) -> String {
    let store = open(&dir.join("before")).await;
    let leader = store.claim("before").await.unwrap();
    leader.start_from(None).await.unwrap();
    let (_, files) = take(&leader, 1, &[]).await.unwrap();
    let _ = take(&leader, 2, &files).await.unwrap();
    let below = dir.join("savepoints");
    let options = Options::new();
    let savepoint = Savepoint::create(below.to_str().unwrap(), JobId::of(JOB), &options);
    let savepoint = savepoint.await.unwrap();
    let checkpoint = store.latest().await.unwrap().unwrap();
    savepoint.complete_from(&checkpoint).await.unwrap();
    savepoint.mark_committed().await.unwrap();
    savepoint.path()
}

/// Whether a folder holds anything.
fn is_there(path: &str) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut files| files.next().is_some())
}

fn notes(store: &CheckpointStore) -> usize {
    let files = std::fs::read_dir(store.root().display("")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("claimed-")).count()
}

#[tokio::test]
async fn a_claimed_savepoint_goes_when_newer_checkpoints_are_as_many_as_are_retained() {
    let dir = tempfile::tempdir().unwrap();
    let path = savepoint(dir.path()).await;
    let store = open(&dir.path().join("checkpoints")).await;
    let leader = store.claim("test").await.unwrap();
    let snapshot = at(&path).await.unwrap();
    leader.start_from(Some(&snapshot)).await.unwrap();
    leader.claim_snapshot(&snapshot).await.unwrap();
    for (number, is_kept) in [(1, true), (2, false)] {
        let _ = take(&leader, number, &[]).await.unwrap();
        leader.delete_superseded(2).await.unwrap();
        assert_eq!(
            (is_there(&path), notes(&store)),
            (is_kept, usize::from(is_kept)),
            "{number}"
        );
    }
    read_all(&store.latest().await.unwrap().unwrap()).await.unwrap();
}

#[tokio::test]
async fn what_is_not_claimed_stays_whatever_becomes_of_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let path = savepoint(dir.path()).await;
    let store = open(&dir.path().join("checkpoints")).await;
    let leader = store.claim("test").await.unwrap();
    let snapshot = at(&path).await.unwrap();
    leader.start_from(Some(&snapshot)).await.unwrap();
    for number in 1..4 {
        let _ = take(&leader, number, &[]).await.unwrap();
        leader.delete_superseded(1).await.unwrap();
    }
    leader.delete_superseded(0).await.unwrap();
    leader.delete_superseded(0).await.unwrap();
    read_all(&at(&path).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_later_leader_of_the_same_past_deletes_what_was_claimed_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = savepoint(dir.path()).await;
    let store = open(&dir.path().join("checkpoints")).await;
    let first = store.claim("first").await.unwrap();
    let snapshot = at(&path).await.unwrap();
    first.start_from(Some(&snapshot)).await.unwrap();
    first.claim_snapshot(&snapshot).await.unwrap();
    let _ = take(&first, 1, &[]).await.unwrap();

    // One that starts afresh has another past.
    let afresh = store.claim("afresh").await.unwrap();
    afresh.start_from(None).await.unwrap();
    afresh.resume_claim(&Options::new()).await.unwrap();
    let _ = take(&afresh, 2, &[]).await.unwrap();
    afresh.delete_superseded(1).await.unwrap();
    assert!(is_there(&path));
    std::fs::remove_dir_all(Path::new(&store.root().display("")).join("chk-2")).unwrap();

    let next = store.claim("next").await.unwrap();
    let newest = store.latest().await.unwrap();
    next.start_from(newest.as_ref()).await.unwrap();
    next.resume_claim(&Options::new()).await.unwrap();
    // The first call was cut off in the middle.
    let file = at(&path).await.unwrap().manifest.files().pop_first().unwrap();
    std::fs::remove_file(Path::new(&path).join(file)).unwrap();
    let _ = take(&next, 3, &[]).await.unwrap();
    next.delete_superseded(1).await.unwrap();
    assert!(!is_there(&path));
    assert_eq!(notes(&store), 0);
}

#[tokio::test]
async fn of_a_claimed_checkpoint_goes_what_no_other_needs() {
    for is_same_job in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let leader = store.claim("before").await.unwrap();
        leader.start_from(None).await.unwrap();
        let (first, files) = take(&leader, 1, &[]).await.unwrap();
        let (second, _) = take(&leader, 2, &files).await.unwrap();

        let job = if is_same_job { JOB } else { "another" };
        let ours = open_job(dir.path(), job).await;
        let leader = ours.claim("test").await.unwrap();
        let snapshot = at(&first.path).await.unwrap();
        let next = leader.start_from(Some(&snapshot)).await.unwrap();
        leader.claim_snapshot(&snapshot).await.unwrap();
        let _ = take(&leader, next, &[]).await.unwrap();
        leader.delete_superseded(1).await.unwrap();
        // The second checkpoint refers to the file of the first one.
        assert!(at(&first.path).await.is_err(), "{is_same_job}");
        read_all(&at(&second.path).await.unwrap()).await.unwrap();

        let leader = ours.claim("again").await.unwrap();
        let snapshot = at(&second.path).await.unwrap();
        let next = leader.start_from(Some(&snapshot)).await.unwrap();
        leader.claim_snapshot(&snapshot).await.unwrap();
        let _ = take(&leader, next, &[]).await.unwrap();
        leader.delete_superseded(1).await.unwrap();
        assert!(!is_there(&first.path) && !is_there(&second.path), "{is_same_job}");
        read_all(&ours.latest().await.unwrap().unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn a_checkpoint_that_its_own_job_has_gone_on_from_is_no_longer_claimed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let owner = store.claim("owner").await.unwrap();
    owner.start_from(None).await.unwrap();
    let (permit, _) = take(&owner, 1, &[]).await.unwrap();

    let ours = open_job(dir.path(), "another").await;
    let leader = ours.claim("test").await.unwrap();
    let snapshot = at(&permit.path).await.unwrap();
    leader.start_from(Some(&snapshot)).await.unwrap();
    leader.claim_snapshot(&snapshot).await.unwrap();
    let back = store.claim("back").await.unwrap();
    let newest = store.latest().await.unwrap();
    back.start_from(newest.as_ref()).await.unwrap();
    let _ = take(&leader, 1, &[]).await.unwrap();
    leader.delete_superseded(1).await.unwrap();
    read_all(&at(&permit.path).await.unwrap()).await.unwrap();
}
