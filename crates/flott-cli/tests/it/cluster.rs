//! A JobManager and TaskManagers as processes: the website-traffic job is killed with them at bad moments, and gives each row once.

use crate::support::{Running, flott, start_with, wait_for};
use crate::trial::{From, PATIENCE, PHASES, Trial, compare, oracle};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Metrics at a port that is free.
pub const METRICS: &str = "metrics.reporter.prom.port=0";

/// The processes of a cluster.
pub struct Processes {
    pub job_manager: Option<Running>,
    /// Where REST answers.
    pub rest: String,
    /// Where TaskManagers register.
    rpc: String,
    pub task_managers: Vec<Running>,
    /// Options of all processes, `key=value`.
    options: Vec<String>,
}

/// What stands behind `before` on a line, up to a comma or the line's end.
pub fn behind<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    let (found, _) = rest.split_once([',', '\n'])?;
    Some(found)
}

/// What is answered at a place. Asked by HTTP/1.0, so that no answer comes in chunks.
pub fn get(place: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(place).ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {place}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// The metrics of a process.
fn metrics(process: &Running) -> String {
    let said = process.err();
    let (place, path) = behind(&said, "metrics at http://").unwrap().split_once('/').unwrap();
    get(place, &format!("/{path}")).unwrap()
}

impl Processes {
    /// A JobManager at free ports, and so many TaskManagers of one slot.
    pub fn start(task_managers: usize, failpoints: &str) -> Self {
        let mut processes = Self::manager(&[], failpoints);
        (0..task_managers).for_each(|_| processes.add_task_manager(""));
        processes.await_slots(task_managers);
        processes
    }

    /// A JobManager at free ports, with options for it and for those that are added.
    pub fn manager(options: &[String], failpoints: &str) -> Self {
        let mut processes = Self {
            job_manager: None,
            rest: "127.0.0.1:0".to_owned(),
            rpc: "127.0.0.1:0".to_owned(),
            task_managers: vec![],
            options: options.to_vec(),
        };
        processes.start_job_manager(failpoints);
        processes
    }

    /// The arguments of a process.
    fn args<'a>(&'a self, own: &[&'a str]) -> Vec<&'a str> {
        let options = self.options.iter().flat_map(|option| ["-D", option]);
        own.iter().copied().chain(options).collect()
    }

    /// Starts the JobManager, where it was before.
    fn start_job_manager(&mut self, failpoints: &str) {
        let port = |place: &str| place.rsplit_once(':').unwrap().1.to_owned();
        let rest = format!("rest.port={}", port(&self.rest));
        let rpc = format!("jobmanager.rpc.port={}", port(&self.rpc));
        let args = self.args(&["jobmanager", "-D", &rest, "-D", &rpc, "-D", METRICS]);
        let deadline = Instant::now() + PATIENCE;
        let (running, said) = loop {
            let mut running = start_with(&args, &[("FLOTT_FAILPOINTS", failpoints)]);
            wait_for(|| behind(&running.err(), "TaskManagers at ").is_some() || !running.is_running());
            let said = running.err();
            if running.is_running() {
                break (running, said);
            }
            // Ports that the system gave are free for others, too, while nobody listens.
            let is_taken = said.contains("cannot listen") && Instant::now() < deadline;
            assert!(is_taken, "{said}");
            std::thread::sleep(Duration::from_millis(100));
        };
        let rest = behind(&said, "REST at ").unwrap();
        self.rest = rest.split_once("://").unwrap().1.replace("0.0.0.0", "127.0.0.1");
        self.rpc = behind(&said, "TaskManagers at ").unwrap().to_owned();
        self.job_manager = Some(running);
    }

    pub fn add_task_manager(&mut self, failpoints: &str) {
        let rpc = format!("jobmanager.rpc.port={}", self.rpc.rsplit_once(':').unwrap().1);
        let address = "jobmanager.rpc.address=127.0.0.1";
        let args = self.args(&["taskmanager", "-D", &rpc, "-D", address, "-D", METRICS]);
        let process = start_with(&args, &[("FLOTT_FAILPOINTS", failpoints)]);
        self.task_managers.push(process);
    }

    pub fn await_slots(&mut self, slots: usize) {
        let wanted = format!("\"slots-total\":{slots}");
        let there = wait_for(|| {
            self.get("/overview")
                .is_some_and(|text| text.replace(' ', "").contains(&wanted))
        });
        assert!(
            there,
            "{:?}\n{}",
            self.get("/overview"),
            self.job_manager.as_ref().unwrap().err()
        );
    }

    /// Runs a TaskManager with other options, which gives up at once; what it says of the JobManager.
    pub fn refused_task_manager(&self, options: &[String]) -> String {
        let rpc = format!("jobmanager.rpc.port={}", self.rpc.rsplit_once(':').unwrap().1);
        let mut args = vec!["taskmanager", "-D", &rpc, "-D", "jobmanager.rpc.address=127.0.0.1"];
        args.extend(["-D", "taskmanager.registration.timeout=1 ms"]);
        args.extend(options.iter().flat_map(|option| ["-D", option]));
        flott(&args).expect(1).err
    }

    /// What REST answers.
    pub fn get(&self, path: &str) -> Option<String> {
        get(&self.rest, path)
    }

    /// Submits the job; the command returns at once.
    pub fn submit(&self, trial: &Trial, parallelism: &str, from: From<'_>) {
        let submitted = trial.start_with(parallelism, from, "", &["-d", "-m", &self.rest]);
        submitted.ended().expect(0);
    }

    /// The first job's line of `flott list`.
    fn job(&self) -> (String, String) {
        let listed = flott(&["list", "-m", &self.rest]).expect(0).out;
        let line = listed.lines().find(|line| line.contains("Website Traffic Stats"));
        let line = line.unwrap_or_else(|| panic!("{listed}"));
        (line.split(" : ").nth(1).unwrap().to_owned(), line.to_owned())
    }
}

/// Lets what is behind the first phase flow.
pub fn feed_rest(trial: &Trial) {
    (1..PHASES).for_each(|phase| trial.feed(phase).join().unwrap());
}

/// Waits for all rows, and for those that come twice.
pub fn settle(trial: &Trial) -> Result<(), String> {
    let (want, deadline) = (oracle(), Instant::now() + PATIENCE);
    wait_for(|| trial.rows().len() >= want.len() || Instant::now() > deadline);
    std::thread::sleep(Duration::from_millis(400));
    compare(&trial.rows(), &want)
}

fn task_managers_killed(trial: &Trial, failpoints: [&str; 2]) {
    let mut cluster = Processes::start(2, "");
    cluster.add_task_manager(failpoints[0]);
    cluster.await_slots(3);
    cluster.submit(trial, "3", From::Nothing);
    for (phase, failpoint) in failpoints.iter().enumerate() {
        let feeding = trial.feed(phase as i64);
        // Without a fail point it is killed whenever this comes.
        let mut victim = cluster.task_managers.pop().unwrap();
        let before = trial.rows().len();
        match failpoint.is_empty() {
            true => {
                trial.wait_for_rows(before, &mut victim);
                victim.kill();
            }
            false => assert!(
                wait_for(|| !victim.is_running()),
                "{failpoint} was not come to: {}",
                victim.err()
            ),
        }
        cluster.add_task_manager(failpoints.get(phase + 1).copied().unwrap_or_default());
        cluster.await_slots(3);
        feeding.join().unwrap();
    }
    trial.feed(2).join().unwrap();
    assert_eq!(settle(trial), Ok(()), "after kills at {failpoints:?}");
    let (id, line) = cluster.job();
    assert!(line.ends_with("(RUNNING)"), "{line}");
    let exceptions = cluster.get(&format!("/jobs/{id}/exceptions")).unwrap();
    assert!(exceptions.contains("TaskManager"), "{exceptions}");
    flott(&["cancel", &id, "-m", &cluster.rest]).expect(0);
}

#[test]
fn task_managers_killed_before_they_acknowledge() {
    task_managers_killed(&Trial::to_topic(), ["checkpoint-ack=kill@2", "checkpoint-ack=kill@0"]);
}

#[test]
fn task_managers_killed_at_any_time() {
    task_managers_killed(&Trial::to_topic(), ["", ""]);
    task_managers_killed(&Trial::to_files(), ["", "checkpoint-ack=kill@1"]);
}

fn job_manager_killed(trial: &Trial, point: &str) {
    let mut cluster = Processes::start(2, &format!("{point}=kill@2"));
    cluster.submit(trial, "2", From::Nothing);
    let feeding = trial.feed(0);
    let mut killed = cluster.job_manager.take().unwrap();
    assert!(wait_for(|| !killed.is_running()), "{point} was not come to");
    feeding.join().unwrap();
    // TaskManagers find the next one at the same place; a job goes on when it is submitted again.
    cluster.start_job_manager("");
    cluster.await_slots(2);
    cluster.submit(trial, "1", From::Latest);
    feed_rest(trial);
    assert_eq!(settle(trial), Ok(()), "after a kill at {point}");
}

#[test]
fn job_managers_killed_at_each_step_of_a_checkpoint() {
    for point in ["checkpoint-trigger", "checkpoint-complete", "checkpoint-commit"] {
        job_manager_killed(&Trial::to_topic(), point);
    }
}

#[test]
fn a_job_is_stopped_behind_a_savepoint_and_goes_on_at_another_parallelism() {
    let trial = Trial::to_topic();
    let savepoints = trial.path("savepoints");
    let cluster = Processes::start(3, "");
    let feeding = trial.feed(0);
    cluster.submit(&trial, "2", From::Nothing);
    assert!(wait_for(|| !trial.rows().is_empty()));
    let of_manager = metrics(cluster.job_manager.as_ref().unwrap());
    for line in [
        "flink_jobmanager_taskSlotsTotal{} 3",
        "flink_jobmanager_taskSlotsAvailable{} 1",
        "flink_jobmanager_numRunningJobs{} 1",
        "job_name=\"Website Traffic Stats\"",
    ] {
        assert!(of_manager.contains(line), "{line} is missing in\n{of_manager}");
    }
    let of_tasks: String = cluster.task_managers.iter().map(metrics).collect();
    for line in [
        "flink_taskmanager_Status_Flott_Memory_Resident{tm_id=",
        "_currentOffset{tm_id=",
        "flink_taskmanager_job_task_numRecordsOut{tm_id=",
    ] {
        assert!(of_tasks.contains(line), "{line} is missing in\n{of_tasks}");
    }
    let (id, _) = cluster.job();
    let stopped = flott(&["stop", "-p", &savepoints, &id, "-m", &cluster.rest]).expect(0);
    let path = behind(&stopped.out, "Path: ").unwrap_or_else(|| panic!("{}", stopped.out));
    feeding.join().unwrap();
    cluster.submit(&trial, "3", From::Path(path));
    feed_rest(&trial);
    assert_eq!(settle(&trial), Ok(()));
}

#[test]
fn a_job_is_rescaled_again_and_again_while_task_managers_are_killed() {
    let trial = Trial::to_topic();
    let mut cluster = Processes::start(3, "");
    cluster.submit(&trial, "1", From::Nothing);
    for (phase, parallelism) in ["3", "1", "2"].into_iter().cycle().take(PHASES as usize).enumerate() {
        let feeding = trial.feed(phase as i64);
        let (id, _) = cluster.job();
        let rest = cluster.rest.clone();
        let rescaling = std::thread::spawn(move || flott(&["rescale", &id, "-p", parallelism, "-m", &rest]));
        if phase % 2 == 1 {
            // Wherever the rescaling is by then.
            cluster.task_managers.pop().unwrap().kill();
            cluster.add_task_manager("");
        }
        rescaling.join().unwrap().expect(0);
        feeding.join().unwrap();
    }
    assert_eq!(settle(&trial), Ok(()));
}

#[test]
fn what_cannot_be_reached_is_named() {
    let nobody = flott(&["list", "-m", "127.0.0.1:1"]).expect(1);
    assert!(nobody.err.contains("127.0.0.1:1"), "{}", nobody.err);
    let open = flott(&["taskmanager", "-D", "taskmanager.bind-host=0.0.0.0"]).expect(1);
    assert!(open.err.contains("security.internal.shared-secret"), "{}", open.err);
    let alone = [
        "-D",
        "taskmanager.registration.timeout=1 ms",
        "-D",
        "jobmanager.rpc.port=1",
    ];
    let alone = flott(&[&["taskmanager"][..], &alone].concat()).expect(1);
    assert!(
        alone.err.contains("localhost:1") && alone.err.contains("jobmanager.rpc.address"),
        "{}",
        alone.err
    );
}
