//! A program in a session cluster: the command uploads it, the JobManager has a process of it describe the job, and TaskManagers lend slots to others.
//! Each kind of these processes is killed, and the committed rows are the golden ones, each once.

use crate::cluster::Process;
use crate::killed::{Backend, DEADLINE, Trial};
use flott_examples::lines::END;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

/// The command, which is built beside the samples.
fn flott() -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_flott-examples")).with_file_name("flott");
    assert!(path.is_file(), "the command is not built: cargo build -p flott-cli");
    Command::new(path)
}

/// The samples without what only a debugger reads, so that they are sent and kept sooner.
fn program() -> &'static PathBuf {
    static STRIPPED: OnceLock<PathBuf> = OnceLock::new();
    STRIPPED.get_or_init(|| {
        let samples = Path::new(env!("CARGO_BIN_EXE_flott-examples"));
        let stripped = Path::new(env!("CARGO_TARGET_TMPDIR")).join("samples");
        let strip = Command::new("strip").arg("-o").arg(&stripped).arg(samples).status();
        assert!(strip.unwrap().success(), "strip comes with the C compiler");
        stripped
    })
}

/// A JobManager, and what it is told.
struct Session<'a> {
    trial: &'a Trial,
    manager: Process,
    options: Vec<String>,
    rest: String,
}

impl<'a> Session<'a> {
    fn start(trial: &'a Trial, options: &[&str]) -> Self {
        let free = [
            "rest.port=0",
            "jobmanager.rpc.port=0",
            "rest.server.max-content-length=1000000000",
        ];
        let folders = ["web.tmpdir", "io.tmp.dirs"].map(|option| format!("{option}={}", trial.path("").display()));
        let said = free.iter().chain(options).map(|option| (*option).to_owned());
        let options: Vec<String> = said.chain(folders).collect();
        let before = trial.log().metadata().unwrap().len() as usize;
        let mut manager = start(trial, "jobmanager", &options);
        let said = || trial.said().split_off(before);
        trial.wait(&mut manager.0, || said().contains("TaskManagers at 127.0.0.1:"));
        let place = |what: &str| {
            let said = said();
            let (_, behind) = said.rsplit_once(what).unwrap();
            behind.split([',', '\n']).next().unwrap().to_owned()
        };
        let rpc = format!("jobmanager.rpc.port={}", place("TaskManagers at 127.0.0.1:"));
        let mut options = options;
        options.push(rpc);
        options.push("jobmanager.rpc.address=127.0.0.1".to_owned());
        Self {
            trial,
            manager,
            options,
            rest: place("REST at http://"),
        }
    }

    fn task_manager(&self, slots: usize) -> Process {
        let slots = format!("taskmanager.numberOfTaskSlots={slots}");
        let options: Vec<String> = self.options.iter().cloned().chain([slots]).collect();
        start(self.trial, "taskmanager", &options)
    }

    fn command(&self, arguments: &[&str]) -> Output {
        flott().args(arguments).args(["-m", &self.rest]).output().unwrap()
    }

    /// Submits the sample; the job's id.
    fn run(&self, parallelism: &str) -> String {
        let mut own = self.trial.arguments(Backend::Memory);
        // A slow machine needs more of them than those that are killed.
        own.extend(["-D", "restart-strategy.fixed-delay.attempts=50"].map(str::to_owned));
        let program = program().to_str().unwrap();
        let run = ["run", "-d", "-p", parallelism, "-m", &self.rest, program, "--"];
        let ran = flott().args(run).args(own).output().unwrap();
        let (out, err) = (text(&ran.stdout), text(&ran.stderr));
        let id = out.split("JobID ").nth(1);
        id.unwrap_or_else(|| panic!("{out}{err}{}", self.trial.said()))
            .trim()
            .to_owned()
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.rest).unwrap();
        let request = format!(
            "GET {path} HTTP/1.0\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.rest
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn wait(&mut self, done: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !done(self) {
            let ended = self.manager.0.try_wait().unwrap();
            assert!(ended.is_none(), "the JobManager has ended: {}", self.trial.said());
            assert!(since.elapsed() < DEADLINE, "nothing happens: {}", self.trial.said());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    fn wait_for_checkpoints(&mut self) {
        self.trial.wait_for_checkpoints(&mut self.manager.0, 2);
    }

    fn wait_for_end(&mut self, job: &str) {
        self.wait(|session| session.get(&format!("/jobs/{job}/status")).contains("FINISHED"));
    }
}

fn start(trial: &Trial, role: &str, options: &[String]) -> Process {
    let mut command = flott();
    command.arg(role);
    options.iter().for_each(|option| {
        command.args(["-D", option]);
    });
    Process(command.stdout(Stdio::null()).stderr(trial.log()).spawn().unwrap())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The processes that a process has started, and that have not ended.
fn children(of: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // The name before may have spaces.
        let mut behind = stat.rsplit_once(')').unwrap().1.split_whitespace();
        let (state, parent) = (behind.next().unwrap(), behind.next().unwrap());
        if parent == of.to_string() && state != "Z" {
            found.insert(id);
        }
    }
    found
}

fn kill(process: u32) {
    let killed = Command::new("kill").arg("-9").arg(process.to_string()).status();
    assert!(killed.unwrap().success());
}

fn lives(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z'))
}

#[test]
fn each_kind_of_its_processes_is_killed() {
    let trial = Trial::of("word-count");
    let [first, second, third] = trial.thirds();
    trial.append(&first);
    let mut session = Session::start(&trial, &[]);
    let (one, two) = (session.task_manager(2), session.task_manager(2));
    let job = session.run("2");
    session.wait_for_checkpoints();
    let (of_one, of_two) = (children(one.0.id()), children(two.0.id()));
    assert_eq!(
        (of_one.len() + of_two.len(), children(session.manager.0.id()).len()),
        (1, 1)
    );
    // A process of the program that runs tasks: it gets another.
    let lent = *of_one.iter().chain(&of_two).next().unwrap();
    kill(lent);
    trial.append(&second);
    session.wait_for_checkpoints();
    // The one that is asked for splits and commits.
    let coordinator = *children(session.manager.0.id()).iter().next().unwrap();
    kill(coordinator);
    trial.append(&third);
    session.wait_for_checkpoints();
    // A TaskManager that has lent slots: who was lent them ends with it.
    let has_children = |process: &Process| !children(process.0.id()).is_empty();
    let (lender, other) = if has_children(&one) { (one, two) } else { (two, one) };
    let orphans = children(lender.0.id());
    lender.kill();
    session.wait(|_| orphans.iter().all(|orphan| !lives(*orphan)));
    session.wait_for_checkpoints();
    assert!(has_children(&other));
    trial.append(&[END]);
    session.wait_for_end(&job);
    trial.expect_rows();
    // All is given back.
    session.wait(|session| !has_children(&other) && children(session.manager.0.id()).is_empty());
    session.wait(|session| session.get("/overview").contains("\"slots-available\":2"));
}

#[test]
fn the_next_leader_goes_on_with_what_runs() {
    let trial = Trial::of("running-clicks");
    let storage = format!("high-availability.storageDir={}", trial.path("ha").display());
    let available = ["high-availability.type=FILESYSTEM", &storage];
    let [first, second, third] = trial.thirds();
    trial.append(&first);
    let mut killed = Session::start(&trial, &available);
    let worker = killed.task_manager(1);
    let job = killed.run("1");
    killed.wait_for_checkpoints();
    let runs = children(worker.0.id());
    killed.manager.kill();
    trial.append(&second);
    let mut session = Session::start(&trial, &available);
    session.wait_for_checkpoints();
    trial.append(&third);
    session.wait_for_checkpoints();
    assert_eq!(
        (children(worker.0.id()), runs.len()),
        (runs, 1),
        "nothing was started anew"
    );
    trial.append(&[END]);
    session.wait_for_end(&job);
    trial.expect_rows();
}

#[test]
fn it_is_rescaled_and_what_it_needs_no_more_ends() {
    let trial = Trial::of("word-count");
    let [first, second, third] = trial.thirds();
    trial.append(&first);
    let mut session = Session::start(&trial, &[]);
    let worker = session.task_manager(3);
    let job = session.run("1");
    session.wait_for_checkpoints();
    let rescale = |session: &Session<'_>, parallelism: &str| {
        let rescaled = session.command(&["rescale", &job, "-p", parallelism]);
        assert!(rescaled.status.success(), "{}{}", text(&rescaled.stderr), trial.said());
    };
    rescale(&session, "3");
    assert_eq!(children(worker.0.id()).len(), 2);
    trial.append(&second);
    session.wait_for_checkpoints();
    rescale(&session, "1");
    session.wait(|_| children(worker.0.id()).len() == 1);
    trial.append(&third);
    trial.append(&[END]);
    session.wait_for_end(&job);
    trial.expect_rows();
}

#[test]
fn what_is_wrong_with_a_program_is_said() {
    let trial = Trial::of("word-count");
    let session = Session::start(&trial, &[]);
    let run = |program: &str, own: &[&str]| {
        let arguments = [&["run", "-d", "-m", &session.rest, program, "--"], own].concat();
        let ran = flott().args(arguments).output().unwrap();
        assert_eq!(ran.status.code(), Some(1));
        text(&ran.stderr)
    };
    let samples = program().to_str().unwrap();
    for (said, wanted) in [
        (run("/bin/true", &[]), "has executed no job"),
        (run(samples, &["no-such-sample"]), "no-such-sample"),
        (run(samples, &["word-count", "--taskmanager"]), "--taskmanager"),
        (run(samples, &["word-count", "-D", "nonsense"]), "-D nonsense"),
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    assert!(
        session.get("/jars").contains("\"files\":[]"),
        "{}",
        session.get("/jars")
    );
    assert!(session.get("/jobs").contains("\"jobs\":[]"));
    assert_eq!(children(session.manager.0.id()), BTreeSet::new());
}
