//! A program that is stopped by a signal: it ends behind a last checkpoint, and goes on from there.
//!
//! Its rows are printed, and printing is not taken back: so they are each there once only if the last checkpoint holds
//! exactly what was printed before.

use crate::killed::DEADLINE;
use flott_examples::lines::END;
use flott_examples::samples::SAMPLES;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Instant;

fn appending(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Waits for the end of a process; it is killed if it does not come.
fn ended(process: &mut Child) -> Option<ExitStatus> {
    let since = Instant::now();
    while since.elapsed() < DEADLINE {
        if let Some(status) = process.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    process.kill().unwrap();
    None
}

#[test]
fn a_signal_ends_a_program_behind_a_last_checkpoint() {
    let log = stopped_by_a_signal_and_started_again(&[], 0, || {});
    assert!(!log.contains("error: "), "{log}");
}

#[test]
fn where_no_savepoint_can_be_taken_there_is_a_last_checkpoint_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let savepoints = folder.path().join("savepoints");
    let arguments = ["--savepoint-on-stop", savepoints.to_str().unwrap()];
    // It was tried at the start; a file takes its place when the program runs.
    let log = stopped_by_a_signal_and_started_again(&arguments, 1, || {
        std::fs::remove_dir_all(&savepoints).unwrap();
        std::fs::write(&savepoints, "").unwrap();
    });
    assert!(log.contains("was stopped without a savepoint: "), "{log}");
}

/// Stops a program that was started with these arguments, once `before` has run, and goes on from its last checkpoint: each row
/// is there once. Gives its log.
fn stopped_by_a_signal_and_started_again(arguments: &[&str], code: i32, before: impl FnOnce()) -> String {
    let sample = SAMPLES.iter().find(|s| s.name == "word-count").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // So rarely that the only checkpoint is the last.
    let config = format!(
        "execution:\n  checkpointing:\n    interval: 1 h\n    dir: file://{}\n  buffer-timeout.interval: 0\n",
        path("checkpoints").display()
    );
    std::fs::write(path("config.yaml"), config).unwrap();
    let start = |more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_flott-examples"))
            .arg(sample.name)
            .arg("--follow")
            .arg(path("lines"))
            .args(more)
            .env_remove("FLOTT_CONF_DIR")
            .env("FLINK_CONF_DIR", folder.path())
            .stdout(appending(&path("printed")))
            .stderr(appending(&path("log")))
            .spawn()
            .unwrap()
    };
    let lines: Vec<&str> = sample.input.lines().collect();
    let (first, rest) = lines.split_at(lines.len() / 2);
    let mut file = appending(&path("lines"));
    for line in first {
        writeln!(file, "{line}").unwrap();
    }

    let mut stopped = start(arguments);
    let since = Instant::now();
    while text(&path("printed")).is_empty() {
        assert_eq!(stopped.try_wait().unwrap(), None, "{}", text(&path("log")));
        assert!(since.elapsed() < DEADLINE, "nothing is printed: {}", text(&path("log")));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    before();
    let told = Command::new("kill").args(["-TERM", &stopped.id().to_string()]).status();
    assert!(told.unwrap().success());
    let status = ended(&mut stopped).expect("a signal ends the process");
    let log = text(&path("log"));
    assert_eq!(status.code(), Some(code), "{log}");
    let (_, checkpoint) = log.split_once("was stopped; last checkpoint: ").expect(&log);
    let checkpoint = checkpoint.lines().next().unwrap();

    for line in rest.iter().chain(&[END]) {
        writeln!(file, "{line}").unwrap();
    }
    let mut last = start(&["-s", checkpoint, "-p", "1"]);
    let status = ended(&mut last).expect("the lines end");
    assert!(status.success(), "{}", text(&path("log")));
    let sorted = |text: &str| {
        let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
        rows.sort_unstable();
        rows
    };
    assert_eq!(sorted(&text(&path("printed"))), sorted(sample.golden));
    log
}

#[test]
fn what_is_wrong_on_the_command_line_is_said() {
    let said = |arguments: &[&str]| {
        let ran = Command::new(env!("CARGO_BIN_EXE_flott-examples"))
            .arg("times-two")
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(ran.status.code(), Some(1), "{ran:?}");
        String::from_utf8(ran.stderr).unwrap()
    };
    for (arguments, expected) in [
        (&["-p", "some"][..], "-p some: a number is expected"),
        (&["-D", "parallelism.default"], "an option is written KEY=VALUE"),
        (
            &["--config", "/no/such.yaml"],
            "the configuration file /no/such.yaml cannot be read",
        ),
        (&["-s", "/no/such/savepoint"], "/no/such/savepoint"),
        // Below a file there is no folder.
        (
            &[
                "--savepoint-on-stop",
                concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml/x"),
            ],
            "a file is in its place",
        ),
    ] {
        let said = said(arguments);
        assert!(said.contains(expected), "{said}");
    }
}
