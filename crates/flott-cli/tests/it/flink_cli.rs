//! Flink's own command line against our processes: what it prints, and how it exits.
//!
//! `FLOTT_FLINK_LIB` is the folder of Flink's jars, which `bench/fetch-peers.sh` fetches; Java runs them.

use crate::cluster::Processes;
use crate::support::{Ended, flott, wait_for};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A job without an end that needs one slot.
const ENDLESS: &str = "SET 'pipeline.name' = 'no end';
    CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100');
    CREATE TABLE nothing (n BIGINT) WITH ('connector' = 'blackhole');
    INSERT INTO nothing SELECT n FROM numbers;";

const RUNNING: &str = "------------------ Running/Restarting Jobs -------------------\n";
const SCHEDULED: &str = "----------------------- Scheduled Jobs -----------------------\n";
const TERMINATED: &str = "---------------------- Terminated Jobs -----------------------\n";
const END: &str = "--------------------------------------------------------------\n";

/// A JobManager with one TaskManager, Flink's command line, and a folder for savepoints.
struct Flink {
    cluster: Processes,
    lib: String,
    folder: TempDir,
}

impl Flink {
    fn start() -> Self {
        let lib = std::env::var("FLOTT_FLINK_LIB").expect("FLOTT_FLINK_LIB names the folder of Flink's jars");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.yaml"), "client.timeout: 60 s\n").unwrap();
        std::fs::write(folder.path().join("file"), "no folder").unwrap();
        Self {
            cluster: Processes::start(1, ""),
            lib,
            folder,
        }
    }

    /// A path in its folder.
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Runs `flink ACTION -m JOBMANAGER ARGUMENT...`. It waits a minute at most for each answer.
    fn run(&self, action: &str, args: &[&str]) -> Ended {
        let mut java = Command::new("java");
        java.env("FLINK_CONF_DIR", self.folder.path())
            .env_remove("HADOOP_CONF_DIR");
        // What would go to a log file; a person sees the rest.
        java.args(["-Dorg.apache.logging.log4j.level=OFF", "-XX:TieredStopAtLevel=1", "-cp"]);
        java.args([&format!("{}/*", self.lib), "org.apache.flink.client.cli.CliFrontend"]);
        java.args([action, "-m", &self.cluster.rest]).args(args);
        let output = java.output().expect("java cannot be run");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Submits a job, from a savepoint if there is one; gives its id.
    fn submit(&self, savepoint: Option<&str>) -> String {
        let restore = savepoint.map_or(vec![], |path| vec!["--restore", path]);
        let run = ["run", "-d", "-p", "1", "-e", ENDLESS, "-m", &self.cluster.rest];
        let ended = flott(&[&run[..], &restore].concat()).expect(0);
        let id = ended.out.trim().strip_prefix("Job has been submitted with JobID ");
        id.unwrap_or_else(|| panic!("{ended:?}")).to_owned()
    }

    /// Waits for a job's status.
    fn await_status(&self, id: &str, status: &str) {
        let path = format!("/jobs/{id}/status");
        let wanted = format!("\"{status}\"");
        let came = wait_for(|| self.cluster.get(&path).is_some_and(|answer| answer.contains(&wanted)));
        assert!(came, "{id} is not {status}: {:?}", self.cluster.get(&path));
    }

    /// Submits a job and waits until it runs.
    fn running(&self, savepoint: Option<&str>) -> String {
        let id = self.submit(savepoint);
        self.await_status(&id, "RUNNING");
        id
    }
}

/// The output without the times at which jobs started.
fn without_times(ended: &Ended) -> String {
    let untimed = |line: &str| match line.split_once(" : ") {
        Some((time, rest)) if time.len() == "23.11.2026 03:32:13".len() => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    ended.out.lines().map(untimed).collect()
}

/// What stands behind `before` on a line that ends with `after`.
fn between<'a>(ended: &'a Ended, before: &str, after: &str) -> &'a str {
    let mut lines = ended.out.lines();
    let found = lines.find_map(|line| line.strip_prefix(before)?.strip_suffix(after));
    found.unwrap_or_else(|| panic!("no line {before}…{after} in {ended:?}"))
}

/// Panics unless the command failed and names its cause as our server told it.
fn expect_cause(ended: Ended, parts: &[&str]) {
    let ended = ended.expect(1);
    let mut causes = ended.err.lines().filter(|line| line.starts_with("Caused by: "));
    let is_told = causes.any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(is_told, "no cause has {parts:?}: {}", ended.err);
}

#[test]
#[ignore = "needs Flink's jars and Java: .ci/run fetches them"]
fn flink_lists_and_cancels_our_jobs() {
    let flink = Flink::start();
    let list = |args: &[&str]| without_times(&flink.run("list", args).expect(0));
    assert_eq!(
        list(&[]),
        "Waiting for response...\nNo running jobs.\nNo scheduled jobs.\n"
    );

    let first = flink.running(None);
    // There is one slot.
    let second = flink.submit(None);
    flink.await_status(&second, "CREATED");
    let both = format!(
        "Waiting for response...\n{RUNNING}{first} : no end (RUNNING)\n{END}{SCHEDULED}{second} : no end (CREATED)\n{END}"
    );
    assert_eq!(list(&[]), both);
    assert_eq!(
        list(&["-r"]),
        format!("Waiting for response...\n{RUNNING}{first} : no end (RUNNING)\n{END}")
    );

    for id in [&first, &second] {
        let cancelled = flink.run("cancel", &[id]).expect(0);
        assert_eq!(cancelled.out, format!("Cancelling job {id}.\nCancelled job {id}.\n"));
        flink.await_status(id, "CANCELED");
    }
    let all = list(&["-a"]);
    let title = format!("Waiting for response...\nNo running jobs.\nNo scheduled jobs.\n{TERMINATED}");
    assert!(all.starts_with(&title) && all.ends_with(END), "{all}");
    for id in [&first, &second] {
        assert!(all.contains(&format!("\n{id} : no end (CANCELED)\n")), "{all}");
    }
    let nobody = "000000000000000000000000000000ff";
    expect_cause(
        flink.run("cancel", &[nobody]),
        &["RestClientException", &format!("Job {nobody} not found")],
    );
}

#[test]
#[ignore = "needs Flink's jars and Java: .ci/run fetches them"]
fn flink_takes_savepoints_and_checkpoints_of_our_jobs() {
    let flink = Flink::start();
    let id = flink.running(None);
    let wrong = flink.path("file/in");
    let triggered = format!("Triggering savepoint for job {id}.\nWaiting for response...\n");
    let resume = "You can resume your program from this savepoint with the run command.\n";
    for format in ["canonical", "native"] {
        let taken = flink.run("savepoint", &["-type", format, &id, &flink.path("savepoints")]);
        let taken = taken.expect(0);
        let savepoint = between(&taken, "Savepoint completed. Path: ", "").to_owned();
        let path_line = format!("Savepoint completed. Path: {savepoint}\n");
        assert_eq!(taken.out, format!("{triggered}{path_line}{resume}"));
        assert!(Path::new(&savepoint).join("_metadata").is_file(), "{savepoint}");

        let disposed = flink.run("savepoint", &["-d", &savepoint]).expect(0);
        let told = format!("Disposing savepoint '{savepoint}'.\nWaiting for response...\n");
        assert_eq!(disposed.out, format!("{told}Savepoint '{savepoint}' disposed.\n"));
        assert!(!Path::new(&savepoint).join("_metadata").exists(), "{savepoint}");
        let again = flink.run("savepoint", &["-d", &savepoint]);
        expect_cause(again, &["flott.OperationFailed: ", &savepoint]);
    }

    // The reason comes as a serialized Java object, which Flink reads.
    let failed = flink.run("savepoint", &[&id, &wrong]);
    assert_eq!(failed.out, triggered);
    assert!(
        failed
            .err
            .contains(&format!("Failed to trigger a savepoint for the job {id}.")),
        "{}",
        failed.err
    );
    expect_cause(failed, &["flott.OperationFailed: ", &wrong, "a file is in its place"]);
    expect_cause(
        flink.run("savepoint", &[&id]),
        &[
            "RestClientException",
            "[execution.checkpointing.savepoint-dir] is not set",
        ],
    );

    for (option, kind) in [(None, ""), (Some("--full"), "(FULL)")] {
        let args: Vec<&str> = option.into_iter().chain([id.as_str()]).collect();
        let taken = flink.run("checkpoint", &args).expect(0);
        let (before, behind) = (format!("Checkpoint{kind} "), format!(" for job {id} completed."));
        let number = between(&taken, &before, &behind);
        assert!(number.parse::<u64>().is_ok(), "{number}");
        assert!(
            taken.out.starts_with(&format!("Triggering checkpoint for job {id}.\n")),
            "{}",
            taken.out
        );
    }

    let cancelled = flink.run("cancel", &["-s", &flink.path("last"), &id]).expect(0);
    let last = between(&cancelled, &format!("Cancelled job {id}. Savepoint stored in "), ".");
    assert!(Path::new(last).join("_metadata").is_file(), "{last}");
    flink.await_status(&id, "CANCELED");
    expect_cause(
        flink.run("checkpoint", &[&id]),
        &["flott.OperationFailed: ", "CANCELED"],
    );
}

#[test]
#[ignore = "needs Flink's jars and Java: .ci/run fetches them"]
fn flink_stops_our_jobs_behind_savepoints_from_which_they_go_on() {
    let flink = Flink::start();
    let (folder, wrong) = (flink.path("savepoints"), flink.path("file/in"));
    let mut savepoint: Option<String> = None;
    for (drain, does) in [(None, "Suspending"), (Some("--drain"), "Draining")] {
        let id = flink.running(savepoint.as_deref());
        let failed = flink.run("stop", &["-p", &wrong, &id]);
        assert!(
            failed
                .err
                .contains(&format!("Could not stop with a savepoint job \"{id}\"")),
            "{}",
            failed.err
        );
        expect_cause(failed, &["flott.OperationFailed: ", &wrong]);
        flink.await_status(&id, "RUNNING");

        let args: Vec<&str> = ["-p", &folder].into_iter().chain(drain).chain([id.as_str()]).collect();
        let stopped = flink.run("stop", &args).expect(0);
        let path = between(&stopped, "Savepoint completed. Path: ", "").to_owned();
        let told = format!("{does} job \"{id}\" with a CANONICAL savepoint.\n");
        let triggered = format!("Triggering stop-with-savepoint for job {id}.\nWaiting for response...\n");
        assert_eq!(
            stopped.out,
            format!("{told}{triggered}Savepoint completed. Path: {path}\n")
        );
        assert!(Path::new(&path).join("_metadata").is_file(), "{path}");
        flink.await_status(&id, "FINISHED");
        expect_cause(flink.run("stop", &args), &["flott.OperationFailed: ", "FINISHED"]);
        expect_cause(
            flink.run("cancel", &[&id]),
            &[
                "RestClientException",
                "already reached another terminal state (FINISHED)",
            ],
        );
        savepoint = Some(path);
    }
}
