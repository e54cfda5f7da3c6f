//! Checkpoints under back-pressure: a source, a keyed count, and a sink that takes 100 rows a second.

use crate::cluster::Cluster;
use crate::toys::{self, World};
use crate::{DEADLINE, RETRY, dir_option, ended, start, until};
use flott_cluster::history::{CheckpointRecord, CheckpointStatus};
use flott_cluster::{JobHandle, JobStatus, Restore};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

const UNALIGNED: (&str, &str) = ("execution.checkpointing.unaligned.enabled", "true");
const ENCODED: (&str, &str) = ("execution.exchange.encoded", "true");
const DIR: &str = "execution.checkpointing.dir";
const RESTARTS: (&str, &str) = ("restart-strategy.type", "exponential-delay");

/// Rows that two subtasks of the sink would take more than twice the deadline for.
const BACKLOG: usize = 40_000;

/// A world whose sink takes 10 ms for a row; sources without end give some 25 rows a millisecond each.
fn slow_world(per_split: i64) -> Arc<World> {
    let world = World::with(per_split);
    world.write_ms.store(10, Ordering::SeqCst);
    world.batch_ms.store(2, Ordering::SeqCst);
    world
}

/// Waits until so many rows more were read that no barrier gets through in time behind them.
async fn backlog(world: &World, job: &JobHandle) {
    let before = world.read.load(Ordering::SeqCst);
    until("a backlog", || {
        assert!(!job.status().is_globally_terminal_state(), "{:?}", job.stats.failure());
        world.read.load(Ordering::SeqCst) >= before + BACKLOG
    })
    .await;
}

/// Waits until all is deployed: rows may flow before the job is told to run.
async fn running(job: &JobHandle) {
    until("the job runs", || {
        assert!(!job.status().is_globally_terminal_state(), "{:?}", job.stats.failure());
        job.status() == JobStatus::Running
    })
    .await;
}

/// Takes a checkpoint, and gives what is known of it.
async fn checkpoint(job: &JobHandle) -> CheckpointRecord {
    running(job).await;
    let taken = timeout(DEADLINE, job.checkpoint()).await;
    let id = taken.expect("the barriers got stuck").unwrap();
    job.stats.checkpoint_history().record(id).unwrap().clone()
}

/// Takes a checkpoint that has overtaken rows.
async fn overtaking_checkpoint(job: &JobHandle) {
    let record = checkpoint(job).await;
    let sizes = record.sizes();
    assert_eq!(record.status, CheckpointStatus::Completed);
    assert!(sizes.is_unaligned && sizes.persisted_bytes > 0, "{record:?}");
    assert!(record.bytes >= sizes.persisted_bytes, "{record:?}");
}

/// Lets the sink be fast, and the job stop behind all that it has read.
async fn stop(world: &World, job: &JobHandle) -> usize {
    world.write_ms.store(0, Ordering::SeqCst);
    running(job).await;
    job.stop();
    assert_eq!(ended(job).await, JobStatus::Finished, "{:?}", job.stats.failure());
    let rows = world.check();
    assert_eq!(
        rows,
        world.captured(),
        "each row before the last checkpoint is counted once"
    );
    rows
}

async fn restarted(job: &JobHandle, restarts: u64) {
    until("a restart", || {
        assert!(!job.status().is_globally_terminal_state(), "{:?}", job.stats.failure());
        job.stats.restarts() >= restarts && job.status() == JobStatus::Running
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_back_pressure_an_aligned_checkpoint_is_stuck() {
    let world = slow_world(-1);
    let job = start(&world, toys::plan(2, &[]), Restore::Fresh).await.unwrap();
    backlog(&world, &job).await;
    running(&job).await;
    let taken = timeout(Duration::from_secs(3), job.checkpoint()).await;
    assert!(taken.is_err(), "{taken:?}");
    world.write_ms.store(0, Ordering::SeqCst);
    let record = checkpoint(&job).await;
    assert!(
        !record.sizes().is_unaligned && record.sizes().persisted_bytes == 0,
        "{record:?}"
    );
    stop(&world, &job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unaligned_one_gets_through_and_a_failure_behind_it_loses_and_doubles_nothing() {
    for encoded in [&[][..], &[ENCODED]] {
        let dir = tempfile::tempdir().unwrap();
        let text = dir_option(dir.path());
        let world = slow_world(-1);
        let options = [&[UNALIGNED, RESTARTS, RETRY, (DIR, &text)], encoded].concat();
        let job = start(&world, toys::plan(2, &options), Restore::Fresh).await.unwrap();
        for restarts in 1..=2 {
            backlog(&world, &job).await;
            overtaking_checkpoint(&job).await;
            world.fail_after.store(1, Ordering::SeqCst);
            restarted(&job, restarts).await;
            // Among what was restored, too.
            overtaking_checkpoint(&job).await;
        }
        assert!(stop(&world, &job).await > BACKLOG);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_flight_find_their_subtasks_at_another_parallelism() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir_option(dir.path());
    let retained = "execution.checkpointing.externalized-checkpoint-retention";
    let options = [UNALIGNED, (DIR, text.as_str()), (retained, "RETAIN_ON_CANCELLATION")];
    let world = slow_world(-1);
    for parallelism in [2, 3, 1] {
        let job = start(&world, toys::plan(parallelism, &options), Restore::Latest)
            .await
            .unwrap();
        backlog(&world, &job).await;
        overtaking_checkpoint(&job).await;
        job.cancel();
        assert_eq!(ended(&job).await, JobStatus::Canceled, "{:?}", job.stats.failure());
    }
    // Checkpoints that are aligned go on from one that is not.
    let job = start(&world, toys::plan(2, &options[1..]), Restore::Latest)
        .await
        .unwrap();
    assert!(stop(&world, &job).await > BACKLOG);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_to_its_end_is_in_flight_too() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir_option(dir.path());
    let world = slow_world(BACKLOG as i64 / 2);
    let options = [UNALIGNED, RESTARTS, RETRY, (DIR, text.as_str())];
    let job = start(&world, toys::plan(2, &options), Restore::Fresh).await.unwrap();
    until("all is read", || world.read.load(Ordering::SeqCst) == world.complete()).await;
    overtaking_checkpoint(&job).await;
    world.fail_after.store(1, Ordering::SeqCst);
    restarted(&job, 1).await;
    world.write_ms.store(0, Ordering::SeqCst);
    assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
    assert_eq!(
        world.read.load(Ordering::SeqCst),
        world.complete(),
        "rows were read again"
    );
    assert_eq!(world.check(), world.complete());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_does_not_align_in_time_overtakes() {
    let aligned_timeout = "execution.checkpointing.aligned-checkpoint-timeout";
    for (timeout, overtakes) in [("1 s", true), ("1 h", false)] {
        let dir = tempfile::tempdir().unwrap();
        let text = dir_option(dir.path());
        let world = slow_world(-1);
        let options = [
            UNALIGNED,
            RESTARTS,
            RETRY,
            (aligned_timeout, timeout),
            (DIR, text.as_str()),
        ];
        let job = start(&world, toys::plan(2, &options), Restore::Fresh).await.unwrap();
        backlog(&world, &job).await;
        if overtakes {
            overtaking_checkpoint(&job).await;
            world.fail_after.store(1, Ordering::SeqCst);
            restarted(&job, 1).await;
        } else {
            world.write_ms.store(0, Ordering::SeqCst);
            assert!(!checkpoint(&job).await.sizes().is_unaligned);
        }
        stop(&world, &job).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_savepoint_is_aligned() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir_option(dir.path());
    let world = slow_world(-1);
    let checkpoints = dir_option(&dir.path().join("checkpoints"));
    let options = [UNALIGNED, (DIR, checkpoints.as_str())];
    let job = start(&world, toys::plan(2, &options), Restore::Fresh).await.unwrap();
    backlog(&world, &job).await;
    running(&job).await;
    let savepoint = job.savepoint(Some(text), true);
    tokio::pin!(savepoint);
    let taken = timeout(Duration::from_secs(3), &mut savepoint).await;
    assert!(taken.is_err(), "{taken:?}");
    world.write_ms.store(0, Ordering::SeqCst);
    let path = timeout(DEADLINE, savepoint).await.expect("it is stuck").unwrap();
    assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
    let history = job.stats.checkpoint_history();
    let sizes = history.last_savepoint.as_ref().unwrap().sizes();
    assert!(!sizes.is_unaligned && sizes.persisted_bytes == 0, "{sizes:?}");
    assert_eq!(world.check(), world.read.load(Ordering::SeqCst), "all rows are in it");
    let job = start(&world, toys::plan(3, &options), Restore::Path(path))
        .await
        .unwrap();
    let before = world.check();
    backlog(&world, &job).await;
    assert!(stop(&world, &job).await > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn barriers_overtake_between_task_managers_and_rows_survive_the_loss_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = ["0 s", "1 s"].map(|timeout| (timeout, dir_option(&dir.path().join(timeout))));
    for (aligned_timeout, text) in &checkpoints {
        let world = slow_world(-1);
        let mut cluster = Cluster::start(&world, &[], &[1, 1]).await;
        let options = [
            UNALIGNED,
            RESTARTS,
            RETRY,
            ("execution.checkpointing.aligned-checkpoint-timeout", aligned_timeout),
            (DIR, text.as_str()),
        ];
        let job = cluster.submit(toys::plan(2, &options), Restore::Fresh).await.unwrap();
        backlog(&world, &job).await;
        overtaking_checkpoint(&job).await;
        drop(cluster.managers.remove(0));
        cluster.join("in its place", 1);
        restarted(&job, 1).await;
        overtaking_checkpoint(&job).await;
        assert!(stop(&world, &job).await > 0);
    }
}
