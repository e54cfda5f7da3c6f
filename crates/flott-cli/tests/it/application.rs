//! Clusters that live with one job: how they end, and what becomes of the job when their processes are killed.

use crate::cluster::{behind, get, settle};
use crate::support::{Running, flott, start_with, wait_for};
use crate::trial::{From, PHASES, Trial};
use std::path::Path;

/// Ports that are free.
const FREE: [&str; 4] = ["-D", "rest.port=0", "-D", "jobmanager.rpc.port=0"];

/// A JobManager of one job.
struct Application {
    process: Running,
    /// Where REST answers.
    rest: String,
    /// Where TaskManagers register.
    rpc: String,
}

impl Application {
    /// Waits until it is reached.
    fn of(process: Running) -> Self {
        let is_there = || behind(&process.err(), "TaskManagers at ").is_some();
        assert!(wait_for(is_there), "{}", process.err());
        let said = process.err();
        let place = |before: &str| behind(&said, before).unwrap().to_owned();
        Self {
            rest: place("REST at http://"),
            rpc: place("TaskManagers at "),
            process,
        }
    }

    fn start(script: &str, more: &[&str]) -> Self {
        let args = [&["standalone-job", "-e", script][..], &FREE, more].concat();
        Self::of(start_with(&args, &[]))
    }

    /// A TaskManager of one slot.
    fn task_manager(&self) -> Running {
        let (_, port) = self.rpc.rsplit_once(':').unwrap();
        let port = format!("jobmanager.rpc.port={port}");
        let at = ["-D", &port, "-D", "jobmanager.rpc.address=127.0.0.1"];
        start_with(&[&["taskmanager"][..], &at].concat(), &[])
    }
}

/// A script that writes the words of a file in capitals, which reads like this.
fn capitals(folder: &Path, more: &str) -> String {
    format!(
        "CREATE TABLE words (word STRING, number BIGINT) WITH ('connector' = 'filesystem', 'path' = '{0}/words.csv', 'format' = 'csv');
         CREATE TABLE capitals (word STRING, number BIGINT) WITH ('connector' = 'filesystem', 'path' = '{0}/capitals', 'format' = 'csv');
         {more} INSERT INTO capitals SELECT UPPER(word), number FROM words;",
        folder.display()
    )
}

fn rows(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder.join("capitals")).into_iter().flatten();
    let names = files.map(|file| file.unwrap().path());
    let visible = names.filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with(['.', '_']));
    let mut rows: Vec<String> = visible
        .flat_map(|path| {
            std::fs::read_to_string(path)
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn a_script_is_a_cluster_that_ends_with_its_job() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("words.csv"), "to,1\nbe,2\nor,3\nnot,4\n").unwrap();
    let application = Application::start(&capitals(folder.path(), ""), &["-p", "2"]);
    // It waits for slots, and takes no other job.
    let is_shown = || get(&application.rest, "/jobs/overview").is_some_and(|text| text.contains("\"jid\""));
    assert!(wait_for(is_shown), "{}", application.process.err());
    let print = "CREATE TABLE p (n BIGINT) WITH ('connector' = 'print'); INSERT INTO p VALUES (1);";
    let refused = flott(&["run", "-d", "-m", &application.rest, "-e", print]).expect(1);
    assert!(refused.err.contains("alone, and ends with it"), "{}", refused.err);
    let task_managers = [application.task_manager(), application.task_manager()];
    let ended = application.process.ended().expect(0);
    assert!(ended.err.contains("FINISHED"), "{}", ended.err);
    for task_manager in task_managers {
        let ended = task_manager.ended().expect(0);
        assert!(ended.err.contains("the cluster is over"), "{}", ended.err);
    }
    assert_eq!(rows(folder.path()), ["BE,2", "NOT,4", "OR,3", "TO,1"]);
}

#[test]
fn a_job_that_fails_makes_its_cluster_fail() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("words.csv"), "to,1\nbe,two\n").unwrap();
    let application = Application::start(&capitals(folder.path(), ""), &[]);
    let task_manager = application.task_manager();
    let ended = application.process.ended().expect(1);
    assert!(
        ended.err.contains("FAILED") && ended.err.contains("two"),
        "{}",
        ended.err
    );
    task_manager.ended().expect(0);
}

#[test]
fn a_job_that_is_stopped_tells_where_its_savepoint_is_before_its_cluster_ends() {
    let folder = tempfile::tempdir().unwrap();
    let script = "CREATE TABLE n (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '10');
                  CREATE TABLE b (n BIGINT) WITH ('connector' = 'blackhole'); INSERT INTO b SELECT n FROM n;";
    let application = Application::start(script, &["--job-id", "0000000000000000000000000000000a"]);
    let task_manager = application.task_manager();
    let runs = || get(&application.rest, "/jobs/overview").is_some_and(|text| text.contains("RUNNING"));
    assert!(wait_for(runs), "{}", application.process.err());
    let to = folder.path().join("savepoints");
    let id = "0000000000000000000000000000000a";
    let stopped = flott(&["stop", "-p", to.to_str().unwrap(), id, "-m", &application.rest]).expect(0);
    assert!(stopped.out.contains("Path: "), "{}", stopped.out);
    application.process.ended().expect(0);
    task_manager.ended().expect(0);
}

#[test]
fn a_job_manager_that_starts_again_goes_on_with_its_job_and_submits_it_once() {
    let trial = Trial::to_topic();
    let storage = format!("high-availability.storageDir={}", trial.path("ha"));
    let options = [
        "high-availability.type=FILESYSTEM",
        &storage,
        "high-availability.lease-duration=2 s",
    ];
    let options: Vec<&str> = options.into_iter().flat_map(|option| ["-D", option]).collect();
    let more = [&FREE[..], &options].concat();
    let start = || Application::of(trial.start_as("standalone-job", "2", From::Nothing, "", &more));
    let mut killed = start();
    let task_managers: Vec<Running> = (0..2)
        .map(|_| start_with(&[&["taskmanager"][..], &options].concat(), &[]))
        .collect();
    let feeding = trial.feed(0);
    trial.wait_for_rows(0, &mut killed.process);
    killed.process.kill();
    let application = start();
    feeding.join().unwrap();
    (1..PHASES).for_each(|phase| trial.feed(phase).join().unwrap());
    assert_eq!(settle(&trial), Ok(()), "{}", application.process.err());
    let listed = flott(&["list", "-m", &application.rest]).expect(0).out;
    let ids: Vec<&str> = listed.lines().filter_map(|line| line.split(" : ").nth(1)).collect();
    let [id] = ids[..] else { panic!("{listed}") };
    flott(&["cancel", id, "-m", &application.rest]).expect(0);
    application.process.ended().expect(0);
    task_managers
        .into_iter()
        .for_each(|task_manager| drop(task_manager.ended().expect(0)));
    // Nobody runs it a second time.
    let ended = start().process.ended().expect(0);
    assert!(
        ended.err.contains("had ended before") && ended.err.contains("CANCELED"),
        "{}",
        ended.err
    );
}

#[test]
fn what_is_no_application_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |script: &str| flott(&["standalone-job", "-e", script]).expect(1).err;
    assert!(refused("SELECT 1").contains("INSERT INTO"));
    assert!(refused("SHOW TABLES").contains("no INSERT"));
    let twice = capitals(folder.path(), "INSERT INTO capitals SELECT word, number FROM words;");
    assert!(refused(&twice).contains("STATEMENT SET"));
}
