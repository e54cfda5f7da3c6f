//! Jobs whose parallelism changes while they run, over several TaskManagers and in one process: nothing is lost, doubled, or restarted.

use crate::cluster::Cluster;
use crate::toys::{self, World};
use crate::{OFTEN, RETRY, dir_option, ended, start, until};
use flott_cluster::dispatcher::Dispatcher;
use flott_cluster::events::EventKind;
use flott_cluster::requirements::{Bounds, RequestedBounds};
use flott_cluster::{JobHandle, JobStatus, Restore, Submission};
use flott_core::Options;
use flott_core::clock::SystemClock;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The same bounds for all vertices.
fn bounds(job: &JobHandle, lower: usize, upper: usize) -> RequestedBounds {
    let of_all = job.requirements().into_keys();
    of_all.map(|id| (id, Bounds { lower, upper })).collect()
}

fn parallelism(job: &JobHandle) -> Vec<usize> {
    job.graph().vertices.iter().map(|vertex| vertex.parallelism).collect()
}

/// Waits until all subtasks of the job run at this parallelism.
async fn runs_at(job: &JobHandle, wanted: usize) {
    until("the job runs at another parallelism", || {
        assert!(!job.status().is_globally_terminal_state(), "{:?}", job.stats.failure());
        let executions = job.stats.executions();
        let is_running = |subtask| executions.state((0, subtask)).to_string() == "RUNNING";
        let all_run = executions.subtasks_of(0) == wanted && (0..wanted).all(is_running);
        parallelism(job) == [wanted, wanted] && all_run && job.status() == JobStatus::Running
    })
    .await;
}

/// Waits for rows that were committed from now on.
async fn progress(world: &World, job: &JobHandle) {
    let before = world.committed.lock().unwrap().len();
    until("progress", || {
        assert!(!job.status().is_globally_terminal_state(), "{:?}", job.stats.failure());
        world.committed.lock().unwrap().len() > before + 1_000
    })
    .await;
}

async fn stop(world: &World, job: &JobHandle) {
    job.stop();
    assert_eq!(ended(job).await, JobStatus::Finished, "{:?}", job.stats.failure());
    world.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_changes_its_parallelism_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir_option(dir.path());
    for options in [
        &[OFTEN][..],
        &[("execution.checkpointing.dir", text.as_str())],
        &[
            OFTEN,
            ("execution.checkpointing.dir", text.as_str()),
            ("execution.checkpointing.incremental", "true"),
        ],
    ] {
        let world = World::with(-1);
        let cluster = Cluster::start(&world, &[], &[2, 3]).await;
        let job = cluster.submit(toys::plan(2, options), Restore::Fresh).await.unwrap();
        runs_at(&job, 2).await;
        for (round, wanted) in [4, 1, 5, 2, 3].into_iter().enumerate() {
            if options.contains(&OFTEN) {
                progress(&world, &job).await;
            }
            job.require(bounds(&job, 1, wanted)).await.unwrap();
            runs_at(&job, wanted).await;
            assert_eq!(job.stats.rescales(), round as u64 + 1);
        }
        assert_eq!((job.stats.restarts(), job.stats.failure()), (0, None));
        let statuses = job.stats.status_times();
        assert!(statuses.iter().all(|(status, _)| *status != JobStatus::Restarting));
        stop(&world, &job).await;
        let free: usize = cluster.dispatcher.task_managers().iter().map(|t| t.free_slots).sum();
        assert_eq!(free, 5, "slots come back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_in_one_process_is_rescaled_and_takes_savepoints_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let savepoints = dir_option(dir.path());
    let world = World::with(-1);
    let job = start(&world, toys::plan(2, &[OFTEN]), Restore::Fresh).await.unwrap();
    for wanted in [5, 1, 3] {
        progress(&world, &job).await;
        job.require(bounds(&job, wanted, wanted)).await.unwrap();
        // Whether it comes before, between or behind the attempts, it is taken.
        let (savepoint, checkpoint) = tokio::join!(job.savepoint(Some(savepoints.clone()), false), job.checkpoint());
        savepoint.unwrap();
        checkpoint.unwrap();
        runs_at(&job, wanted).await;
    }
    assert_eq!(job.stats.restarts(), 0, "{:?}", job.stats.failure());
    job.require(bounds(&job, 2, 2)).await.unwrap();
    let path = job.savepoint(Some(savepoints), true).await.unwrap();
    assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
    let rows = world.check();
    let job = start(&world, toys::plan(2, &[OFTEN]), Restore::Path(path))
        .await
        .unwrap();
    until("progress", || world.committed.lock().unwrap().len() > rows + 1_000).await;
    stop(&world, &job).await;
    let refused = job.require(bounds(&job, 1, 1)).await.unwrap_err();
    assert_eq!(refused, "the job is FINISHED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_job_ends_with_all_its_rows_however_often_it_is_rescaled() {
    let world = World::with(40_000);
    let job = start(&world, toys::plan(2, &[OFTEN]), Restore::Fresh).await.unwrap();
    for wanted in [3, 1, 2, 4].into_iter().cycle() {
        if job.require(bounds(&job, 1, wanted)).await.is_err() {
            break;
        }
        until("the next parallelism, or the end", || {
            parallelism(&job) == [wanted, wanted] || job.status().is_globally_terminal_state()
        })
        .await;
    }
    assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
    assert_eq!(world.check(), world.complete());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reactive_job_follows_the_slots_that_there_are() {
    let world = World::with(-1);
    let mut cluster = Cluster::start(&world, &[], &[2]).await;
    let options = [
        OFTEN,
        RETRY,
        ("scheduler-mode", "reactive"),
        (
            "jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling",
            "0 ms",
        ),
        (
            "jobmanager.adaptive-scheduler.executing.resource-stabilization-timeout",
            "10 ms",
        ),
    ];
    // More than there are; it does not wait for them.
    let job = cluster.submit(toys::plan(4, &options), Restore::Fresh).await.unwrap();
    runs_at(&job, 2).await;
    progress(&world, &job).await;
    cluster.join("another", 1);
    runs_at(&job, 3).await;
    assert_eq!(job.stats.restarts(), 0, "{:?}", job.stats.failure());
    let log = job.stats.events();
    let told = log.events().into_iter().find_map(|event| match &event.kind {
        EventKind::Rescaling { .. } => Some(event.kind.to_string()),
        _ => None,
    });
    assert!(
        told.as_ref()
            .is_some_and(|text| text.contains("Source: numbers from 2 to 3")),
        "{told:?}"
    );
    progress(&world, &job).await;
    // What is lost is not waited for.
    drop(cluster.managers.remove(0));
    runs_at(&job, 1).await;
    assert_eq!(job.stats.restarts(), 1);
    progress(&world, &job).await;
    // A user's bound holds against slots.
    job.require(bounds(&job, 1, 2)).await.unwrap();
    cluster.join("a third", 5);
    runs_at(&job, 2).await;
    stop(&world, &job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_that_cannot_be_are_refused_and_those_without_slots_wait() {
    let world = World::with(-1);
    let mut cluster = Cluster::start(&world, &[], &[2]).await;
    let job = cluster.submit(toys::plan(2, &[OFTEN]), Restore::Fresh).await.unwrap();
    runs_at(&job, 2).await;
    progress(&world, &job).await;
    let refused = job.require(bounds(&job, 1, 200)).await.unwrap_err();
    assert!(refused.contains("at most 128 subtasks"), "{refused}");
    let refused = job.require(RequestedBounds::new()).await.unwrap_err();
    assert!(refused.contains("'Source: numbers'"), "{refused}");
    job.require(bounds(&job, 3, 3)).await.unwrap();
    // It runs on as it is until they are there.
    progress(&world, &job).await;
    assert_eq!(parallelism(&job), [2, 2]);
    cluster.join("another", 1);
    runs_at(&job, 3).await;
    stop(&world, &job).await;
    // A job that waits for its first slots hears of fewer.
    let waiting = cluster.submit(toys::plan(5, &[OFTEN]), Restore::Fresh).await.unwrap();
    assert_eq!(waiting.status(), JobStatus::Created);
    waiting.require(bounds(&waiting, 1, 3)).await.unwrap();
    runs_at(&waiting, 3).await;
    waiting.cancel();
    assert_eq!(ended(&waiting).await, JobStatus::Canceled);
    // Nobody knows whether the JobManager's memory would hold its state.
    let alone = cluster.submit(toys::plan(1, &[]), Restore::Fresh).await.unwrap();
    runs_at(&alone, 1).await;
    let refused = alone.require(bounds(&alone, 2, 2)).await.unwrap_err();
    assert!(refused.contains("execution.checkpointing.dir"), "{refused}");
    alone.cancel();
    assert_eq!(ended(&alone).await, JobStatus::Canceled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_keeps_its_slots_while_another_waits_for_them() {
    let world = World::with(-1);
    let cluster = Cluster::start(&world, &[], &[1, 2]).await;
    let job = cluster.submit(toys::plan(1, &[OFTEN]), Restore::Fresh).await.unwrap();
    progress(&world, &job).await;
    // Of a world of its own: before it waits it settles what its sinks have left open.
    let registry = Arc::new(toys::registry(&World::with(-1)));
    let slots = Arc::new(cluster.pool.clone());
    let other = Dispatcher::new(Options::new(), registry, Arc::new(SystemClock), slots, None).unwrap();
    let submission = Submission {
        plan: toys::plan(3, &[OFTEN]),
        restore: Restore::Fresh,
        allow_non_restored_state: false,
    };
    let waiting = other.submit(submission).await.unwrap();
    for wanted in [2, 1, 3, 2, 1, 2] {
        job.require(bounds(&job, wanted, wanted)).await.unwrap();
        runs_at(&job, wanted).await;
        progress(&world, &job).await;
    }
    assert_eq!(waiting.status(), JobStatus::Created);
    waiting.cancel();
    assert_eq!(ended(&waiting).await, JobStatus::Canceled);
    stop(&world, &job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescaling_that_fails_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir_option(dir.path());
    let world = World::with(-1);
    let options = [OFTEN, RETRY, ("execution.checkpointing.dir", text.as_str())];
    let mut cluster = Cluster::start(&world, &[], &[1, 1, 1, 1]).await;
    let job = cluster.submit(toys::plan(2, &options), Restore::Fresh).await.unwrap();
    for (round, wanted) in [3, 1, 2, 1, 3, 2].into_iter().enumerate() {
        progress(&world, &job).await;
        // A task fails, or a TaskManager is lost, at some point of the way.
        job.require(bounds(&job, 1, wanted)).await.unwrap();
        match round % 2 {
            0 => world.fail_after.store(1, Ordering::SeqCst),
            _ => {
                drop(cluster.managers.remove(0));
                cluster.join(&format!("in its place {round}"), 1);
            }
        }
        runs_at(&job, wanted).await;
    }
    progress(&world, &job).await;
    stop(&world, &job).await;
}

/// Files of state below a folder, which are not manifests.
fn state_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.path().is_dir() {
            true => files.extend(state_files(&entry.path())),
            false => files.push(entry.path()),
        }
    }
    files.retain(|file| file.metadata().unwrap().len() > 20_000 && file.extension().is_none_or(|e| e != "json"));
    files
}

fn preloads(job: &JobHandle) -> Vec<u64> {
    let log = job.stats.events();
    let bytes = log.events().into_iter().filter_map(|event| match event.kind {
        EventKind::StatePreloaded { bytes, .. } => Some(bytes),
        _ => None,
    });
    bytes.collect()
}

/// A job whose tables lie partly elsewhere than in memory, with state of 20,000 keys of which few change.
async fn job_with_large_state(world: &World, cluster: &Cluster, dir: &str) -> JobHandle {
    let options = [
        RETRY,
        // So that it starts again, and takes those that it is asked for.
        ("execution.checkpointing.interval", "1 h"),
        ("execution.checkpointing.dir", dir),
        ("execution.checkpointing.incremental", "true"),
        ("state.backend.hot-rows", "500"),
        ("jobmanager.adaptive-scheduler.preload.min-state-size", "10 kb"),
    ];
    world.more_keys.store(20_000, Ordering::SeqCst);
    let job = cluster.submit(toys::plan(2, &options), Restore::Fresh).await.unwrap();
    runs_at(&job, 2).await;
    until("state of all keys", || world.read.load(Ordering::SeqCst) > 70_000).await;
    world.batch_ms.store(500, Ordering::SeqCst);
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn large_state_is_read_ahead_and_not_again_when_the_job_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(-1);
    let cluster = Cluster::start(&world, &[], &[2, 3]).await;
    let job = job_with_large_state(&world, &cluster, &dir_option(dir.path())).await;
    for (round, wanted) in [4, 1, 3].into_iter().enumerate() {
        // The second one may still be whole: from then on it is known what changes.
        for _ in 0..3 {
            job.checkpoint().await.unwrap();
        }
        let files = state_files(dir.path());
        assert!(!files.is_empty());
        world.holds_commit.store(false, Ordering::SeqCst);
        world.hold_commits.store(true, Ordering::SeqCst);
        let read = world.read.load(Ordering::SeqCst);
        until("something to commit", || world.read.load(Ordering::SeqCst) > read).await;
        job.require(bounds(&job, 1, wanted)).await.unwrap();
        until("the checkpoint of the rescaling", || {
            world.holds_commit.load(Ordering::SeqCst)
        })
        .await;
        assert_eq!(preloads(&job).len(), round + 1);
        // Without those that no checkpoint needs any more, and that go by themselves.
        let away = |file: &PathBuf| file.with_extension("away");
        let gone: Vec<&PathBuf> = files
            .iter()
            .filter(|file| std::fs::rename(file, away(file)).is_ok())
            .collect();
        assert!(!gone.is_empty());
        world.hold_commits.store(false, Ordering::SeqCst);
        runs_at(&job, wanted).await;
        gone.into_iter()
            .for_each(|file| std::fs::rename(away(file), file).unwrap());
    }
    assert!(
        preloads(&job).into_iter().all(|bytes| bytes > 50_000),
        "{:?}",
        preloads(&job)
    );
    assert_eq!((job.stats.restarts(), job.stats.failure()), (0, None));
    job.checkpoint().await.unwrap();
    stop(&world, &job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_ahead_is_given_up_with_what_it_was_for() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(-1);
    let mut cluster = Cluster::start(&world, &[], &[2, 3]).await;
    let job = job_with_large_state(&world, &cluster, &dir_option(dir.path())).await;
    job.checkpoint().await.unwrap();
    // Who asks for something else meanwhile gets that; who loses a TaskManager, too, what it asked for.
    for wanted in [4, 3, 1, 2, 4] {
        job.require(bounds(&job, 1, wanted)).await.unwrap();
    }
    drop(cluster.managers.remove(0));
    cluster.join("in its place", 2);
    runs_at(&job, 4).await;
    job.checkpoint().await.unwrap();
    job.require(bounds(&job, 1, 2)).await.unwrap();
    runs_at(&job, 2).await;
    stop(&world, &job).await;
}
