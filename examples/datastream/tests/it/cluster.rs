//! A program as a cluster: its own processes are the JobManager of its job and the TaskManagers, some of them are killed, and the committed rows
//! are the golden ones, each once.

use crate::killed::{Backend, DEADLINE, Trial};
use flott_examples::lines::END;
use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};

/// A process that does not outlive its test.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        assert_eq!(self.0.wait().unwrap().code(), None, "it was killed");
    }

    fn ended(mut self, trial: &Trial) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(since.elapsed() < DEADLINE, "it does not end: {}", trial.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn job_manager(trial: &Trial, more: &[&str]) -> Process {
    let args = [
        "--standalone-job",
        "-p",
        "2",
        "-D",
        "rest.port=0",
        "-D",
        "jobmanager.rpc.port=0",
    ];
    Process(trial.start(Backend::Memory, &[&args, more].concat()))
}

/// Where TaskManagers find the JobManager that was started last.
fn place(trial: &Trial, job_manager: &mut Process) -> String {
    let port = || {
        let said = trial.said();
        let (_, behind) = said.rsplit_once("TaskManagers at 127.0.0.1:")?;
        Some(behind.split_once('\n')?.0.to_owned())
    };
    trial.wait(&mut job_manager.0, || port().is_some());
    format!("jobmanager.rpc.port={}", port().unwrap())
}

/// A TaskManager of one slot, which need not be told how parallel the job is.
fn task_manager(trial: &Trial, more: &[&str]) -> Process {
    let args = ["--taskmanager", "-D", "jobmanager.rpc.address=127.0.0.1", "-D"];
    Process(trial.start(Backend::Memory, &[&args, more].concat()))
}

fn expect_ended(trial: &Trial, processes: impl IntoIterator<Item = Process>) {
    for process in processes {
        let status = process.ended(trial);
        assert_eq!(status.code(), Some(0), "{}", trial.said());
    }
}

#[test]
fn a_task_manager_of_a_program_is_killed_and_replaced() {
    killed_and_replaced("word-count", &[]);
}

#[test]
fn a_task_manager_of_a_program_with_sql_is_killed_and_replaced() {
    // Queries are planned by how parallel they are.
    killed_and_replaced("rising-sales", &["-p", "2"]);
}

fn killed_and_replaced(name: &str, more: &[&str]) {
    let trial = Trial::of(name);
    let [first, second, third] = trial.thirds();
    trial.append(&first);
    let mut manager = job_manager(&trial, &[]);
    let at = place(&trial, &mut manager);
    let start = || task_manager(&trial, &[&[at.as_str()][..], more].concat());
    let (killed, other) = (start(), start());
    trial.wait_for_checkpoints(&mut manager.0, 2);
    trial.append(&second);
    killed.kill();
    let replaced = start();
    trial.wait_for_checkpoints(&mut manager.0, 2);
    trial.append(&third);
    trial.append(&[END]);
    expect_ended(&trial, [manager, other, replaced]);
    assert!(trial.said().contains("is lost"), "{}", trial.said());
    trial.expect_rows();
}

#[test]
fn a_job_manager_of_a_program_is_killed_and_the_next_one_goes_on() {
    let trial = Trial::of("running-clicks");
    let storage = format!("high-availability.storageDir={}", trial.path("ha").display());
    let available = ["high-availability.type=FILESYSTEM", "-D", &storage];
    let start = || job_manager(&trial, &[&["-p", "1", "-D"][..], &available].concat());
    let [first, second, third] = trial.thirds();
    trial.append(&first);
    let mut killed = start();
    let worker = task_manager(&trial, &available);
    trial.wait_for_checkpoints(&mut killed.0, 2);
    killed.kill();
    trial.append(&second);
    let mut manager = start();
    trial.wait_for_checkpoints(&mut manager.0, 2);
    trial.append(&third);
    trial.append(&[END]);
    expect_ended(&trial, [manager, worker]);
    trial.expect_rows();
    // It has ended, and is not run again.
    expect_ended(&trial, [start()]);
    trial.expect_rows();
}

#[test]
fn a_job_that_fails_makes_its_program_fail() {
    let trial = Trial::of("word-count");
    let [first, ..] = trial.thirds();
    trial.append(&first);
    let fails = ["--fail-behind", "1"];
    let mut manager = job_manager(&trial, &[&fails[..], &["-D", "restart-strategy.type=none"]].concat());
    let at = place(&trial, &mut manager);
    let workers = [0, 1].map(|_| task_manager(&trial, &[&[at.as_str()][..], &fails].concat()));
    assert_eq!(manager.ended(&trial).code(), Some(1), "{}", trial.said());
    assert!(trial.said().contains("told to fail here"), "{}", trial.said());
    expect_ended(&trial, workers);
}

/// Runs another sample to its end.
fn run(arguments: &[&str], role: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flott-examples"));
    command
        .arg("times-two")
        .args(arguments)
        .env("FLOTT_ROLE", role)
        .output()
        .unwrap()
}

#[test]
fn a_task_manager_of_another_program_is_refused() {
    let trial = Trial::of("word-count");
    trial.append(&[END]);
    let mut manager = job_manager(&trial, &[]);
    let at = place(&trial, &mut manager);
    let refused = run(&["-D", &at, "-D", "jobmanager.rpc.address=127.0.0.1"], "taskmanager");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert_eq!(
        said.matches("with the fingerprint").count() + said.matches("one with").count(),
        2,
        "{said}"
    );
    assert!(
        said.contains("from the same build of the program, with the same arguments"),
        "{said}"
    );
    // Those that fit still may come.
    let workers = [0, 1].map(|_| task_manager(&trial, &[&at]));
    expect_ended(&trial, workers.into_iter().chain([manager]));
}

#[test]
fn what_cannot_be_a_process_of_a_cluster_is_told() {
    for (arguments, role, expected) in [
        (
            &[][..],
            "worker",
            "FLOTT_ROLE=worker: standalone-job or taskmanager is expected",
        ),
        (
            &["--savepoint-on-stop", "/tmp"],
            "standalone-job",
            "flott stop --savepointPath",
        ),
        (
            &["--job-id", "seven"],
            "standalone-job",
            "--job-id seven: 'seven' is not an id",
        ),
    ] {
        let ended = run(arguments, role);
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
