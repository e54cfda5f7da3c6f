//! Whole jobs in this process: they end, fail, restart, stop, rescale, and lose or double nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;
mod hang;
mod inquiries;
mod leaders;
mod rescaling;
mod toys;
mod unaligned;
mod why;

use flott_cluster::{ClusterError, JobHandle, JobStatus, Restore, Submission, submit};
use flott_core::clock::SystemClock;
use flott_plan::Plan;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use toys::World;

/// Longest that any of these jobs may take; only guards against hanging.
const DEADLINE: Duration = Duration::from_secs(180);

const OFTEN: (&str, &str) = ("execution.checkpointing.interval", "20 ms");
const RETRY: (&str, &str) = ("restart-strategy.exponential-delay.initial-backoff", "10 ms");

async fn start(world: &Arc<World>, plan: Plan, restore: Restore) -> Result<JobHandle, ClusterError> {
    let submission = Submission {
        plan,
        restore,
        allow_non_restored_state: false,
    };
    submit(Arc::new(toys::registry(world)), Arc::new(SystemClock), submission).await
}

async fn ended(job: &JobHandle) -> JobStatus {
    tokio::time::timeout(DEADLINE, job.ended())
        .await
        .expect("the job hangs")
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never happened: {what}"));
}

fn dir_option(dir: &Path) -> String {
    dir.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_job_commits_its_tail_without_an_interval() {
    for parallelism in [1, 2, 3] {
        let world = World::with(10_000);
        let job = start(&world, toys::plan(parallelism, &[]), Restore::Fresh)
            .await
            .unwrap();
        assert_eq!(ended(&job).await, JobStatus::Finished);
        assert_eq!(world.check(), world.complete());
        assert_eq!(job.stats.checkpoints().completed, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_attempts_lose_and_double_nothing() {
    let world = World::with(200_000);
    world.fail_after.store(100_000, Ordering::SeqCst);
    let job = start(&world, toys::plan(2, &[OFTEN, RETRY]), Restore::Fresh)
        .await
        .unwrap();
    for restarts in 1..=3 {
        until("a restart", || {
            job.stats.restarts() >= restarts || job.status().is_globally_terminal_state()
        })
        .await;
        world.fail_after.store(60_000, Ordering::SeqCst);
    }
    world.fail_after.store(0, Ordering::SeqCst);
    assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
    assert!(job.stats.restarts() >= 3);
    assert_eq!(world.check(), world.complete());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_restart_strategy_the_cause_ends_the_job() {
    let world = World::with(10_000);
    world.fail_after.store(500, Ordering::SeqCst);
    let job = start(&world, toys::plan(2, &[]), Restore::Fresh).await.unwrap();
    assert_eq!(ended(&job).await, JobStatus::Failed);
    let cause = job.stats.failure().unwrap();
    assert!(cause.contains("Counter") && cause.contains("told to fail"), "{cause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_job_goes_on_at_another_parallelism() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir_option(dir.path());
    let world = World::with(-1);
    for (round, parallelism) in [2, 3, 1, 5].into_iter().enumerate() {
        for incremental in ["false", "true"] {
            let before = world.committed.lock().unwrap().len();
            let options = [
                OFTEN,
                ("execution.checkpointing.dir", text.as_str()),
                ("execution.checkpointing.incremental", incremental),
            ];
            let job = start(&world, toys::plan(parallelism, &options), Restore::Latest)
                .await
                .unwrap();
            assert_eq!(job.restored_from.is_some(), before > 0, "round {round}");
            until("progress", || world.committed.lock().unwrap().len() > before + 5_000).await;
            job.stop();
            assert_eq!(ended(&job).await, JobStatus::Finished);
            assert!(world.check() > before);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_to_be_committed_is_not_asked_of_a_sink_that_may_have_forgotten_it() {
    let dir = tempfile::tempdir().unwrap();
    let (checkpoints, savepoints) = (dir_option(dir.path()), dir_option(&dir.path().join("savepoints")));
    let world = World::with(-1);
    let options = [OFTEN, ("execution.checkpointing.dir", checkpoints.as_str())];
    let mut from = Restore::Fresh;
    for round in ["fresh", "savepoint", "checkpoint"] {
        let before = world.committed.lock().unwrap().len();
        let job = start(&world, toys::plan(2, &options), from).await.unwrap();
        until("progress", || {
            world.committed.lock().unwrap().len() > before + 5_000 || job.status().is_globally_terminal_state()
        })
        .await;
        assert_eq!(job.status(), JobStatus::Running, "{round}: {:?}", job.stats.failure());
        from = if round == "fresh" {
            Restore::Path(job.savepoint(Some(savepoints.clone()), true).await.unwrap())
        } else {
            job.stop();
            Restore::Latest
        };
        assert_eq!(ended(&job).await, JobStatus::Finished);
        // As brokers do with transactions after a week.
        world.seen.lock().unwrap().clear();
    }
    assert!(world.check() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_does_not_ask_for_what_this_process_has_committed() {
    let world = World::with(-1);
    let job = start(&world, toys::plan(2, &[OFTEN, RETRY]), Restore::Fresh)
        .await
        .unwrap();
    for restarts in 1..=3 {
        let before = world.committed.lock().unwrap().len();
        until("progress", || {
            world.committed.lock().unwrap().len() > before + 5_000 || job.status().is_globally_terminal_state()
        })
        .await;
        // When a commit waits, all before it are noted: one is under way at a time.
        world.holds_commit.store(false, Ordering::SeqCst);
        world.hold_commits.store(true, Ordering::SeqCst);
        until("a commit waits", || world.holds_commit.load(Ordering::SeqCst)).await;
        // As brokers do with transactions after a week.
        world.seen.lock().unwrap().clear();
        world.fail_after.store(1, Ordering::SeqCst);
        world.hold_commits.store(false, Ordering::SeqCst);
        until("a restart", || {
            job.stats.restarts() >= restarts || job.status().is_globally_terminal_state()
        })
        .await;
        assert!(!job.status().is_globally_terminal_state(), "{:?}", job.stats.failure());
    }
    until("progress behind the last restart", || {
        job.status() == JobStatus::Running || job.status().is_globally_terminal_state()
    })
    .await;
    job.cancel();
    assert_eq!(ended(&job).await, JobStatus::Canceled, "{:?}", job.stats.failure());
    assert!(world.check() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_savepoint_can_be_restored_after_it_was_moved() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(-1);
    let job = start(&world, toys::plan(2, &[OFTEN]), Restore::Fresh).await.unwrap();
    until("progress", || !world.committed.lock().unwrap().is_empty()).await;
    let path = job
        .savepoint(Some(dir_option(&dir.path().join("savepoints"))), true)
        .await
        .unwrap();
    assert_eq!(ended(&job).await, JobStatus::Finished);
    let rows = world.check();
    let moved = dir.path().join("elsewhere");
    std::fs::rename(&path, &moved).unwrap();
    let restore = Restore::Path(dir_option(&moved));
    let job = start(&world, toys::plan(3, &[OFTEN]), restore).await.unwrap();
    until("progress", || world.committed.lock().unwrap().len() > rows).await;
    job.stop();
    ended(&job).await;
    assert!(world.check() > rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_savepoint_made_visible_is_behind_restarts_and_latest() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = dir_option(&dir.path().join("checkpoints"));
    let savepoints = dir_option(&dir.path().join("savepoints"));
    let world = World::with(-1);
    // No checkpoint but those that are asked for.
    let options = [
        ("execution.checkpointing.dir", checkpoints.as_str()),
        ("restart-strategy.type", "exponential-delay"),
        RETRY,
    ];
    let job = start(&world, toys::plan(2, &options), Restore::Fresh).await.unwrap();
    until("the job runs", || job.status() == JobStatus::Running).await;
    job.savepoint(Some(savepoints.clone()), false).await.unwrap();
    let first = world.check();
    world.fail_after.store(1, Ordering::SeqCst);
    until("a restart", || {
        job.stats.restarts() >= 1 || job.status().is_globally_terminal_state()
    })
    .await;
    until("the job runs again", || {
        job.status() == JobStatus::Running || job.status().is_globally_terminal_state()
    })
    .await;
    let refused = job
        .savepoint(Some("/dev/null/savepoints".to_owned()), true)
        .await
        .unwrap_err();
    assert!(refused.contains("/dev/null"), "{refused}");
    assert_eq!(
        job.status(),
        JobStatus::Running,
        "a wrong folder does not trouble the job"
    );
    let path = job.savepoint(Some(savepoints), true).await.unwrap();
    assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
    let second = world.check();
    assert!(second >= first);

    let job = start(&world, toys::plan(3, &options), Restore::Latest).await.unwrap();
    assert_ne!(
        job.restored_from.as_deref(),
        Some(&*path),
        "a checkpoint that is as new"
    );
    until("the job runs", || {
        job.status() == JobStatus::Running || job.status().is_globally_terminal_state()
    })
    .await;
    job.stop();
    assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
    assert!(world.check() >= second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_checkpoints_another_has_taken_over_ends_and_gives_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir_option(dir.path());
    let world = World::with(-1);
    let options = [OFTEN, RETRY, ("execution.checkpointing.dir", text.as_str())];
    let older = start(&world, toys::plan(2, &options), Restore::Fresh).await.unwrap();
    until("progress", || !world.committed.lock().unwrap().is_empty()).await;
    let newer = start(&world, toys::plan(2, &options), Restore::Latest).await.unwrap();
    assert_eq!(ended(&older).await, JobStatus::Failed);
    let cause = older.stats.failure().unwrap();
    assert!(
        cause.contains("has taken over") && cause.contains("pipeline.name"),
        "{cause}"
    );
    let before = world.committed.lock().unwrap().len();
    until("progress of the newer job", || {
        let is_ahead = world.committed.lock().unwrap().len() > before + 1_000;
        // What its start commits of the older one is no progress of its own: it may be that it does not run yet.
        is_ahead && newer.status() == JobStatus::Running || newer.status().is_globally_terminal_state()
    })
    .await;
    newer.stop();
    assert_eq!(ended(&newer).await, JobStatus::Finished, "{:?}", newer.stats.failure());
    assert!(world.check() > before);
}

/// Files of checkpoints whose names begin with `prefix`, by the number of their checkpoint.
fn files(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .parent()
                .unwrap()
                .file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("chk-")
                && path.file_name().unwrap().to_string_lossy().starts_with(prefix)
            {
                found.push(path);
            }
        }
    }
    let number = |p: &PathBuf| -> u64 {
        let folder = p.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        folder.trim_start_matches("chk-").parse().unwrap()
    };
    found.sort_by_key(number);
    found
}

fn flip_a_bit_in(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_newest_checkpoint_is_refused_and_the_one_before_it_used() {
    // A manifest, then a state file.
    for (more_keys, prefix) in [(0, "manifest-g"), (20_000, "g")] {
        let dir = tempfile::tempdir().unwrap();
        let text = dir_option(dir.path());
        let options = [
            OFTEN,
            ("execution.checkpointing.dir", text.as_str()),
            ("execution.checkpointing.num-retained", "3"),
        ];
        let world = World::with(-1);
        world.more_keys.store(more_keys, Ordering::SeqCst);
        let job = start(&world, toys::plan(1, &options), Restore::Fresh).await.unwrap();
        let large = || job.stats.checkpoints().last_bytes > 30_000;
        until("large state", || more_keys == 0 || large()).await;
        let seen = job.stats.checkpoints().completed;
        until("three more checkpoints", || {
            job.stats.checkpoints().completed >= seen + 4
        })
        .await;
        job.stop();
        ended(&job).await;
        let manifests = files(dir.path(), "manifest-g");
        assert_eq!(manifests.len(), 3, "{manifests:?}");
        let newest = files(dir.path(), prefix).pop().unwrap();
        assert_eq!(
            newest.parent(),
            manifests[2].parent(),
            "the newest checkpoint has a file '{prefix}…'"
        );
        flip_a_bit_in(&newest);
        let job = start(&world, toys::plan(2, &options), Restore::Latest).await.unwrap();
        let before = manifests[1].parent().unwrap().display().to_string();
        assert_eq!(job.restored_from.as_deref(), Some(before.as_str()));
        job.cancel();
        assert_eq!(ended(&job).await, JobStatus::Canceled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_fails_while_the_manifest_is_written_gives_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir_option(dir.path());
    let retry = ("restart-strategy.exponential-delay.initial-backoff", "1 ms");
    let seldom = ("execution.checkpointing.interval", "60 ms");
    let options = [seldom, retry, ("execution.checkpointing.dir", text.as_str())];
    let world = World::with(-1);
    world.padding_bytes.store(2 << 20, Ordering::SeqCst);
    let mut before = 0;
    for round in 0..5 {
        let job = start(&world, toys::plan(1, &options), Restore::Latest).await.unwrap();
        until("a running job", || {
            job.status() == JobStatus::Running || job.status().is_globally_terminal_state()
        })
        .await;
        world.fail_behind_snapshot.store(true, Ordering::SeqCst);
        until("a restart", || {
            let has_restarted = job.stats.restarts() > 0 && job.status() == JobStatus::Running;
            has_restarted || job.status().is_globally_terminal_state()
        })
        .await;
        // As a crash would: the next process starts from whatever exists.
        job.cancel();
        assert_eq!(
            ended(&job).await,
            JobStatus::Canceled,
            "round {round}: {:?}",
            job.stats.failure()
        );
        let rows = world.check();
        assert!(rows >= before);
        before = rows;
    }
    let job = start(&world, toys::plan(2, &options), Restore::Latest).await.unwrap();
    until("progress", || {
        world.committed.lock().unwrap().len() > before || job.status().is_globally_terminal_state()
    })
    .await;
    job.stop();
    assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
    assert!(world.check() > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committer_that_panics_starts_the_job_again() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir_option(dir.path());
    let retry = ("restart-strategy.exponential-delay.initial-backoff", "1 ms");
    let options = [OFTEN, retry, ("execution.checkpointing.dir", text.as_str())];
    let world = World::with(-1);
    world.panic_at_commit.store(true, Ordering::SeqCst);
    let job = start(&world, toys::plan(2, &options), Restore::Fresh).await.unwrap();
    until("progress behind a restart", || {
        let has_committed = !world.committed.lock().unwrap().is_empty();
        let goes_on = job.stats.restarts() > 0 && has_committed && job.status() == JobStatus::Running;
        goes_on || job.status().is_globally_terminal_state()
    })
    .await;
    job.stop();
    assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
    assert!(world.check() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_savepoint_behind_which_the_job_did_not_stop_is_not_told_as_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir_option(dir.path());
    let savepoints = dir_option(&dir.path().join("savepoints"));
    let retry = ("restart-strategy.exponential-delay.initial-backoff", "1 ms");
    let seldom = ("execution.checkpointing.interval", "1 h");
    let options = [seldom, retry, ("execution.checkpointing.dir", text.as_str())];
    let world = World::with(-1);
    world.hold_commits.store(true, Ordering::SeqCst);
    let job = start(&world, toys::plan(2, &options), Restore::Fresh).await.unwrap();
    until("a running job", || job.status() == JobStatus::Running).await;
    let asked = job.savepoint(Some(savepoints), true);
    let fails = async {
        until("a commit", || world.holds_commit.load(Ordering::SeqCst)).await;
        job.fail_task("Counter", 0).await.unwrap();
        until("a failure", || job.stats.restarts() > 0).await;
        world.hold_commits.store(false, Ordering::SeqCst);
    };
    let (answer, ()) = futures::join!(asked, fails);
    let reason = answer.unwrap_err();
    assert!(
        reason.contains("savepoint-") && reason.contains("before the job could stop"),
        "{reason}"
    );
    until("progress", || {
        let has_committed = !world.committed.lock().unwrap().is_empty();
        (has_committed && job.status() == JobStatus::Running) || job.status().is_globally_terminal_state()
    })
    .await;
    job.stop();
    assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
    world.check();
}

/// On one thread nothing of the job runs between its submission and the next wait of the test.
#[tokio::test(flavor = "current_thread")]
async fn the_state_of_the_latest_checkpoint_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir_option(dir.path());
    let options = [OFTEN, ("execution.checkpointing.dir", text.as_str())];
    let world = World::with(-1);
    world.more_keys.store(20_000, Ordering::SeqCst);
    let job = start(&world, toys::plan(1, &options), Restore::Fresh).await.unwrap();
    until("large state", || job.stats.checkpoints().last_bytes > 30_000).await;
    job.stop();
    assert_eq!(ended(&job).await, JobStatus::Finished);
    let before = world.check();
    let job = start(&world, toys::plan(2, &options), Restore::Latest).await.unwrap();
    let files = files(dir.path(), "g");
    assert!(!files.is_empty(), "the state is large enough to have files");
    files.iter().for_each(|f| std::fs::remove_file(f).unwrap());
    until("progress", || {
        world.committed.lock().unwrap().len() > before || job.status().is_globally_terminal_state()
    })
    .await;
    job.stop();
    assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
    assert!(world.check() > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn state_of_an_operator_that_is_gone_is_not_dropped_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir_option(dir.path());
    let options = [OFTEN, ("execution.checkpointing.dir", text.as_str())];
    let world = World::with(-1);
    let job = start(&world, toys::plan(1, &options), Restore::Fresh).await.unwrap();
    until("a checkpoint", || job.stats.checkpoints().completed >= 1).await;
    job.stop();
    ended(&job).await;
    let mut renamed = toys::plan(1, &options);
    renamed.nodes[1].operator_id = flott_core::OperatorId::of("another counter");
    let error = start(&world, renamed.clone(), Restore::Latest)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("Counter") && error.contains("--allow-non-restored-state"),
        "{error}"
    );
    let submission = Submission {
        plan: renamed,
        restore: Restore::Latest,
        allow_non_restored_state: true,
    };
    let job = submit(Arc::new(toys::registry(&world)), Arc::new(SystemClock), submission)
        .await
        .unwrap();
    job.cancel();
    ended(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_is_refused_before_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let text = dir_option(&file);
    let options = [OFTEN, ("execution.checkpointing.dir", text.as_str())];
    let error = start(&World::with(10), toys::plan(1, &options), Restore::Fresh)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(&text), "{error}");
}
