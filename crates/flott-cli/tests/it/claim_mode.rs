//! Whose a savepoint or checkpoint is that a job starts from: under CLAIM the job deletes it in its time, under NO_CLAIM nobody but its owner
//! does, and the job does not need it once it has a checkpoint of its own. Either way every row comes once.

use crate::support::{flott, wait_for};
use crate::trial::{From, PATIENCE, Trial};
use std::path::Path;

/// What the job that is looked at starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Savepoint,
    /// Of the same job, and so in the folder that its next checkpoints go to.
    Checkpoint,
}

/// A first run, behind which there is something to start from; its path.
fn begin(trial: &Trial, start: Start) -> String {
    let savepoints = trial.path("savepoints");
    let feeding = trial.feed(0);
    let mut job = trial.start_with("2", From::Nothing, "", &["--savepoint-on-stop", &savepoints]);
    trial.wait_for_rows(0, &mut job);
    feeding.join().unwrap();
    match start {
        Start::Savepoint => {
            job.terminate();
            job.ended().expect(0);
            let folder = std::fs::read_dir(&savepoints).unwrap().next().unwrap().unwrap();
            folder.path().to_str().unwrap().to_owned()
        }
        Start::Checkpoint => {
            job.kill();
            trial.newest_checkpoint().unwrap()
        }
    }
}

/// The names of all files of a folder, sorted; none if there is no folder.
fn files(folder: &str) -> Vec<String> {
    let found = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = found
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn incremental() -> Trial {
    let mut trial = Trial::to_topic();
    trial
        .options
        .push("execution.checkpointing.incremental=true".to_owned());
    trial
}

/// The last run: from the newest checkpoint, to the last row.
fn finish(trial: &Trial, start: Start) {
    let feeding = trial.feed(2);
    let settled = trial.settle(From::Latest, "", PATIENCE);
    feeding.join().unwrap();
    assert_eq!(settled, Ok(()), "{start:?}");
}

fn not_claimed(start: Start) {
    let trial = incremental();
    let path = begin(&trial, start);
    let before = files(&path);
    let newest = trial.newest_checkpoint();
    let feeding = trial.feed(1);
    let job = trial.start("3", From::Path(&path), "");
    feeding.join().unwrap();
    // Rows alone do not tell: what it starts from may have some that were not committed yet.
    assert!(wait_for(|| trial.newest_checkpoint() != newest), "{}", job.err());
    assert_eq!(files(&path), before, "{start:?}: what is not the job's was touched");
    std::fs::remove_dir_all(&path).unwrap();
    job.kill();
    finish(&trial, start);
}

fn claimed(start: Start, by: &[&str]) {
    let trial = incremental();
    let path = begin(&trial, start);
    assert!(!files(&path).is_empty());
    let rows = trial.rows().len();
    let feeding = trial.feed(1);
    let mut job = trial.start_with("3", From::Path(&path), "", by);
    trial.wait_for_rows(rows, &mut job);
    feeding.join().unwrap();
    let is_gone = wait_for(|| files(&path).is_empty());
    assert!(is_gone, "{start:?}: {:?} are left; {}", files(&path), job.err());
    job.kill();
    finish(&trial, start);
}

#[test]
fn what_is_not_claimed_is_not_touched_and_not_needed_behind_the_first_checkpoint() {
    not_claimed(Start::Savepoint);
    not_claimed(Start::Checkpoint);
}

#[test]
fn what_is_claimed_goes_with_older_checkpoints() {
    claimed(Start::Savepoint, &["-claimMode", "CLAIM"]);
    claimed(Start::Checkpoint, &["-D", "execution.state-recovery.claim-mode=CLAIM"]);
}

#[test]
fn modes_that_cannot_be_are_refused_before_anything_starts() {
    let trial = incremental();
    let path = begin(&trial, Start::Savepoint);
    let before = files(&path);
    let sql = "CREATE TABLE t (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '1'); SELECT n FROM t";
    for (mode, remedy) in [
        ("LEGACY", "NO_CLAIM"),
        ("MINE", "NO_CLAIM, CLAIM"),
        ("CLAIM", "execution.checkpointing.dir"),
    ] {
        let args = ["run", "-s", &path, "--claim-mode", mode, "--allow-non-restored-state"];
        let said = flott(&[&args[..], &["--allow-dropped-columns", "-e", sql]].concat())
            .expect(1)
            .err;
        assert!(
            ["execution.state-recovery.claim-mode", mode, remedy]
                .iter()
                .all(|part| said.contains(part)),
            "{said}"
        );
    }
    assert_eq!(files(&path), before);
    assert!(Path::new(&path).join("_metadata").is_file());
}
