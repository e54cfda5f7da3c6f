//! Killed at every fail point and restored, the website-traffic job gives each row once, to a topic and to files; and the
//! check would notice if not.

use crate::support::{Running, wait_for};
use crate::trial::{From, PATIENCE, Trial, compare, oracle, without};
use std::time::Duration;

fn killed_at(trial: &Trial, point: &str) {
    for (phase, passes, parallelism) in [(0, 1, "2"), (1, 0, "1")] {
        let feeding = trial.feed(phase);
        let killed = trial
            .start(parallelism, From::Latest, &format!("{point}=kill@{passes}"))
            .ended();
        assert_eq!(killed.code, None, "{killed:?}");
        assert!(killed.err.contains(&format!("fail point {point}")), "{}", killed.err);
        feeding.join().unwrap();
    }
    let feeding = trial.feed(2);
    let settled = trial.settle(From::Latest, "", PATIENCE);
    feeding.join().unwrap();
    assert_eq!(settled, Ok(()), "after kills at {point}");
}

#[test]
fn killed_before_the_barrier() {
    killed_at(&Trial::to_topic(), "checkpoint-trigger");
}

#[test]
fn killed_between_snapshot_and_acknowledgement() {
    killed_at(&Trial::to_topic(), "checkpoint-ack");
}

#[test]
fn killed_between_completion_and_commit() {
    killed_at(&Trial::to_topic(), "checkpoint-complete");
}

#[test]
fn killed_during_commit() {
    killed_at(&Trial::to_topic(), "checkpoint-commit");
}

#[test]
fn files_killed_before_the_barrier() {
    killed_at(&Trial::to_files(), "checkpoint-trigger");
}

#[test]
fn files_killed_between_snapshot_and_acknowledgement() {
    killed_at(&Trial::to_files(), "checkpoint-ack");
}

#[test]
fn files_killed_between_completion_and_commit() {
    killed_at(&Trial::to_files(), "checkpoint-complete");
}

#[test]
fn files_killed_during_commit() {
    killed_at(&Trial::to_files(), "checkpoint-commit");
}

/// Stops a run and gives the rows that are there then.
fn stopped(trial: &Trial, job: Running) -> Vec<String> {
    job.terminate();
    job.ended().expect(0);
    trial.rows()
}

/// What is committed stays committed: a restore from an older state writes again what came after it. So readers must see
/// what was there before the restore, and once each row that was not yet out when that state was taken.
fn restored_again(mut trial: Trial) {
    let savepoints = trial.path("savepoints");
    let feeding = trial.feed(0);
    let mut job = trial.start_with("2", From::Nothing, "", &["--savepoint-on-stop", &savepoints]);
    trial.wait_for_rows(0, &mut job);
    let at_savepoint = stopped(&trial, job);
    feeding.join().unwrap();
    let savepoint = std::fs::read_dir(&savepoints).unwrap().next().unwrap().unwrap().path();
    let savepoint = savepoint.to_str().unwrap();

    let feeding = trial.feed(1);
    let mut job = trial.start("1", From::Path(savepoint), "");
    trial.wait_for_rows(at_savepoint.len(), &mut job);
    let at_checkpoint = stopped(&trial, job);
    feeding.join().unwrap();
    let checkpoint = trial.newest_checkpoint().unwrap();

    // The job goes on and is killed with something prepared; no older checkpoint is deleted.
    let feeding = trial.feed(2);
    let keep = ["-D", "execution.checkpointing.num-retained=1000"];
    let mut job = trial.start_with("2", From::Latest, "", &keep);
    trial.wait_for_rows(at_checkpoint.len(), &mut job);
    job.kill();
    feeding.join().unwrap();

    let rest = without(&oracle(), &at_checkpoint);
    assert!(!at_savepoint.is_empty() && at_savepoint.len() < at_checkpoint.len() && !rest.is_empty());
    for time in ["first", "second"] {
        let want = [trial.rows(), rest.clone()].concat();
        let settled = trial.settle_at(&want, From::Path(&checkpoint), "", PATIENCE);
        assert_eq!(settled, Ok(()), "the {time} time from {checkpoint}");
    }
    trial.set_sink(trial.another_sink());
    let want = without(&oracle(), &at_savepoint);
    assert_eq!(
        trial.settle_at(&want, From::Path(savepoint), "", PATIENCE),
        Ok(()),
        "from {savepoint}"
    );
}

#[test]
fn restored_twice_from_a_checkpoint_and_from_an_old_savepoint() {
    restored_again(Trial::to_topic());
}

#[test]
fn files_restored_twice_from_a_checkpoint_and_from_an_old_savepoint() {
    restored_again(Trial::to_files());
}

#[test]
fn a_commit_done_twice_changes_nothing() {
    for trial in [Trial::to_topic(), Trial::to_files()] {
        trial.feed_all().join().unwrap();
        assert_eq!(trial.settle(From::Nothing, "sink-commit=twice", PATIENCE), Ok(()));
    }
}

/// Bends a step across a crash. The crash comes only when the step was bent so often that a completed checkpoint was bent
/// which the restore does not repair: so what goes unnoticed is the check's fault, never too quiet a run.
fn bent(trial: &Trial, setting: &str, acts: usize) -> String {
    let feeding = trial.feed_all();
    let mut job = trial.start("2", From::Nothing, setting);
    let point = setting.split_once('=').unwrap().0;
    wait_for(|| job.err().matches(&format!("fail point {point} acts")).count() >= acts || !job.is_running());
    assert!(job.is_running(), "{}", job.err());
    job.kill();
    feeding.join().unwrap();
    // Rows written twice before the crash may all have gone with it; those of the last run are there to see.
    let last = if setting.ends_with("twice") { setting } else { "" };
    let settled = trial.settle(From::Latest, last, Duration::from_secs(4));
    settled.expect_err("the check must notice")
}

#[test]
fn the_check_notices_a_commit_left_out() {
    for trial in [Trial::to_topic(), Trial::to_files()] {
        let wrong = bent(&trial, "sink-commit=skip@1", 3);
        assert!(!wrong.starts_with("0 rows lost"), "{wrong}");
    }
}

#[test]
fn the_check_notices_rows_written_twice() {
    for trial in [Trial::to_topic(), Trial::to_files()] {
        let wrong = bent(&trial, "sink-write=twice", 3);
        assert!(!wrong.contains("; 0 rows too many"), "{wrong}");
    }
}

#[test]
fn the_check_notices_positions_stored_too_early() {
    for trial in [Trial::to_topic(), Trial::to_files()] {
        // Two source subtasks: the fifth time is the third checkpoint.
        let wrong = bent(&trial, "source-offsets=early", 5);
        assert!(!wrong.starts_with("0 rows lost"), "{wrong}");
    }
}

#[test]
fn the_check_notices_a_fresh_start() {
    let trial = Trial::to_topic();
    trial.feed_all().join().unwrap();
    assert_eq!(trial.settle(From::Nothing, "", PATIENCE), Ok(()));
    // A fresh start instead of a restore reads and writes everything once more.
    let mut again = trial.start("1", From::Nothing, "");
    trial.wait_for_rows(trial.rows().len(), &mut again);
    let wrong = compare(&stopped(&trial, again), &oracle()).unwrap_err();
    assert!(
        wrong.starts_with("0 rows lost") && !wrong.contains("; 0 rows too many"),
        "{wrong}"
    );
}
