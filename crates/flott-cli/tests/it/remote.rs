//! Commands against a JobManager: the command is a child process, the JobManager runs in this one.

use crate::support::{Ended, flott, start, wait_for};
use flott_cluster::dispatcher::Dispatcher;
use flott_cluster::resources::WithinProcess;
use flott_cluster::taskmanager::TaskManager;
use flott_cluster::{JobHandle, JobStatus};
use flott_core::Options;
use flott_core::clock::SystemClock;
use flott_rest::Role;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::sync::watch;

const TABLES: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000');
    CREATE TABLE few (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '10');
    CREATE TABLE nothing (n BIGINT) WITH ('connector' = 'blackhole');";

/// A JobManager on a loopback port.
struct JobManager {
    address: String,
    dispatcher: Dispatcher,
    _runtime: Runtime,
}

impl JobManager {
    fn start() -> Self {
        Self::start_with(Options::new())
    }

    fn start_with(options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let registry = Arc::new(flott::registry());
        let slots = WithinProcess::new(TaskManager::new(registry.clone(), Arc::new(SystemClock), None));
        let dispatcher = Dispatcher::new(options, registry, Arc::new(SystemClock), Arc::new(slots), None).unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0)))
            .unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let role = watch::channel(Role::Leading(dispatcher.clone())).1;
        runtime.spawn(flott_rest::serve(
            listener,
            flott_rest::Access::open(),
            None,
            role,
            std::future::pending(),
        ));
        Self {
            address,
            dispatcher,
            _runtime: runtime,
        }
    }

    /// Runs a command against it.
    fn flott(&self, args: &[&str]) -> Ended {
        flott(&[args, &["-m", &self.address]].concat())
    }

    /// Runs statements on the tables at it.
    fn run(&self, sql: &str, args: &[&str]) -> Ended {
        let script = format!("{TABLES} {sql}");
        self.flott(&[&["run", "-p", "1", "-e", &script], args].concat())
    }

    /// Starts a job without an end at it.
    fn endless(&self) -> JobHandle {
        let ended = self.run(
            "SET 'pipeline.name' = 'no end'; INSERT INTO nothing SELECT n FROM numbers;",
            &["-d"],
        );
        let ended = ended.expect(0);
        let id = ended
            .out
            .trim()
            .strip_prefix("Job has been submitted with JobID ")
            .unwrap()
            .to_owned();
        let job = self.dispatcher.job(id.parse().unwrap()).unwrap();
        assert!(wait_for(|| job.status() == JobStatus::Running));
        job
    }
}

#[test]
fn jobs_are_listed_as_flink_lists_them_and_cancelled() {
    let manager = JobManager::start();
    let nothing = manager.flott(&["list"]).expect(0);
    assert_eq!(nothing.out, "No running jobs.\nNo scheduled jobs.\n");
    let job = manager.endless();
    let id = job.job_id.to_string();
    let list = manager.flott(&["list"]).expect(0);
    let line = list.out.lines().nth(1).unwrap();
    assert!(line.ends_with(&format!(" : {id} : no end (RUNNING)")), "{}", list.out);
    assert_eq!(line.find(" : "), Some("23.11.2026 03:32:13".len()), "{line}");
    let json = manager.flott(&["list", "--json"]).expect(0);
    assert!(
        json.out.starts_with("{\"jobs\":[{") && json.out.contains(&id),
        "{}",
        json.out
    );
    let cancelled = manager.flott(&["cancel", &id]).expect(0);
    assert_eq!(cancelled.out, format!("Cancelling job {id}.\nCancelled job {id}.\n"));
    assert!(wait_for(|| job.status() == JobStatus::Canceled));
    let list = manager.flott(&["list", "-a"]).expect(0);
    assert!(
        list.out.contains("Terminated Jobs") && list.out.contains("(CANCELED)"),
        "{}",
        list.out
    );
}

#[test]
fn a_job_goes_on_from_the_savepoint_that_it_was_stopped_with() {
    let manager = JobManager::start();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    let path = |ended: &Ended| {
        let line = ended
            .out
            .lines()
            .find_map(|line| line.strip_prefix("Savepoint completed. Path: "));
        line.unwrap_or_else(|| panic!("{ended:?}")).to_owned()
    };
    let job = manager.endless();
    let id = job.job_id.to_string();
    let savepoint = path(&manager.flott(&["savepoint", &id, folder]).expect(0));
    assert!(Path::new(&savepoint).join("_metadata").is_file(), "{savepoint}");
    let stopped = manager.flott(&["stop", "--savepointPath", folder, &id]).expect(0);
    assert!(
        stopped.out.starts_with(&format!("Suspending job \"{id}\"")),
        "{}",
        stopped.out
    );
    assert!(wait_for(|| job.status() == JobStatus::Finished));
    let disposed = manager.flott(&["savepoint", "-d", &savepoint]).expect(0);
    assert!(disposed.out.contains("disposed"), "{}", disposed.out);
    assert!(!Path::new(&savepoint).join("_metadata").exists());

    let sql = "SET 'pipeline.name' = 'no end'; INSERT INTO nothing SELECT n FROM numbers;";
    manager.run(sql, &["-d", "--restore", &path(&stopped)]).expect(0);
    let job = manager.dispatcher.jobs().pop().unwrap();
    assert_eq!(job.restored_from.as_ref(), Some(&path(&stopped)));
    assert!(wait_for(|| job.status() == JobStatus::Running));
    let id = job.job_id.to_string();
    let drained = manager.flott(&["stop", "-p", folder, "-d", &id, "--json"]).expect(0);
    assert!(drained.out.starts_with("{\"savepoint-path\":"), "{}", drained.out);
    let again = manager.flott(&["stop", "-p", folder, &id]).expect(1);
    assert!(
        again.err.contains("was not stopped") && again.err.contains("FINISHED"),
        "{}",
        again.err
    );
}

#[test]
fn a_job_is_rescaled_while_it_runs() {
    let manager = JobManager::start();
    let job = manager.endless();
    let id = job.job_id.to_string();
    let parallelism = || job.graph().vertices.iter().map(|v| v.parallelism).collect::<Vec<_>>();
    let told = manager.flott(&["rescale", &id, "-p", "3"]).expect(0);
    assert_eq!(told.out.trim_end(), format!("Job {id} is rescaled."));
    assert_eq!(parallelism(), [3]);
    let vertex = job.requirements().into_keys().next().unwrap().to_string();
    let one = format!("{vertex}=2");
    let json = manager
        .flott(&["rescale", &id, "--vertex", &one, "--min", "1", "--json"])
        .expect(0);
    assert!(
        json.out.contains("\"lowerBound\":1") && json.out.contains("\"upperBound\":2"),
        "{}",
        json.out
    );
    assert_eq!(
        (parallelism(), job.stats.restarts(), job.stats.rescales()),
        (vec![2], 0, 2)
    );
    for (args, code, part) in [
        (&[][..], 2, "--parallelism"),
        (&["--vertex", "abc=1"], 1, "the job has no such vertex"),
        (&["--vertex", "abc"], 2, "ID=N"),
        (&["-p", "0"], 1, "at least 1"),
    ] {
        let refused = manager.flott(&[&["rescale", &id], args].concat()).expect(code);
        assert!(refused.err.contains(part), "{}", refused.err);
    }
    job.cancel();
    assert!(wait_for(|| job.status() == JobStatus::Canceled));
    let ended = manager.flott(&["rescale", &id, "-p", "1"]).expect(1);
    assert!(ended.err.contains("is CANCELED"), "{}", ended.err);
}

#[test]
fn events_of_a_job_are_told_with_the_place_of_its_failure() {
    let manager = JobManager::start();
    let sql = "SET 'restart-strategy.type' = 'none'; INSERT INTO nothing SELECT 1 / (n - n) FROM few;";
    manager.run(sql, &[]).expect(1);
    let id = manager.dispatcher.jobs()[0].job_id.to_string();
    let told = manager.flott(&["events", &id]).expect(0);
    let kinds: Vec<&str> = told.out.lines().filter_map(|line| line.split("  ").nth(1)).collect();
    assert_eq!(kinds.first(), Some(&"SUBMITTED"), "{}", told.out);
    assert_eq!(kinds.last(), Some(&"STATUS"), "{}", told.out);
    let failed = told.out.lines().find(|line| line.contains("  TASK_FAILED  ")).unwrap();
    assert!(
        failed.contains(" (1/1) failed at this process (localhost), USER: ") && told.out.contains("zero"),
        "{}",
        told.out
    );
    assert!(told.out.ends_with("the job is FAILED\n"), "{}", told.out);
    let json = manager.flott(&["events", &id, "--json"]).expect(0);
    assert!(json.out.starts_with("{\"events\":[{"), "{}", json.out);
    let unknown = manager.flott(&["events", "000000000000000000000000000000ff"]).expect(1);
    assert!(unknown.err.contains("not found"), "{}", unknown.err);
}

#[test]
fn logs_of_the_job_manager_are_shown_and_listed() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("jm.log");
    std::fs::write(&log, "first\nlast\n").unwrap();
    std::fs::write(dir.path().join("jm.out"), "printed\n").unwrap();
    let path = log.display().to_string();
    let manager = JobManager::start_with([("web.log.path", path)].into_iter().collect());
    assert_eq!(manager.flott(&["logs"]).expect(0).out, "first\nlast\n");
    assert_eq!(manager.flott(&["logs", "--stdout"]).expect(0).out, "printed\n");
    assert_eq!(manager.flott(&["logs", "jm.out"]).expect(0).out, "printed\n");
    let json = manager.flott(&["logs", "--json"]).expect(0);
    assert_eq!(json.out, "{\"log\":\"first\\nlast\\n\"}\n");
    let list = manager.flott(&["logs", "--list"]).expect(0);
    assert!(
        list.out.starts_with("11 B") && list.out.contains("  jm.out\n"),
        "{}",
        list.out
    );
    let none = manager.flott(&["logs", "other.log"]).expect(1);
    assert!(none.err.contains("there is no log 'other.log'"), "{}", none.err);
    let untold = JobManager::start().flott(&["logs"]).expect(1);
    assert!(untold.err.contains("web.log.path"), "{}", untold.err);
}

#[test]
fn an_attached_run_ends_with_its_jobs() {
    let manager = JobManager::start();
    let sql = "INSERT INTO nothing SELECT n FROM few; INSERT INTO nothing SELECT n + 1 FROM few; SHOW JOBS;";
    let ended = manager.run(sql, &[]).expect(0);
    assert_eq!(ended.err.matches(" starts at ").count(), 2, "{}", ended.err);
    assert_eq!(ended.err.matches(" FINISHED after ").count(), 2, "{}", ended.err);
    assert!(ended.out.contains("job id |"), "{}", ended.out);
    let sql = "SET 'restart-strategy.type' = 'none'; INSERT INTO nothing SELECT 1 / (n - n) FROM few;";
    let failed = manager.run(sql, &[]).expect(1);
    assert!(
        failed.err.contains(" FAILED after ") && failed.err.contains("zero"),
        "{}",
        failed.err
    );
}

#[test]
fn what_cannot_run_at_a_job_manager_is_refused() {
    let manager = JobManager::start();
    let select = manager.run("SELECT n FROM few;", &[]).expect(1);
    assert!(select.err.contains("INSERT INTO"), "{}", select.err);
    let restore = manager
        .run("INSERT INTO nothing SELECT n FROM few;", &["--restore", "/no/such"])
        .expect(1);
    assert!(
        restore.err.contains("refuses") && restore.err.contains("/no/such"),
        "{}",
        restore.err
    );
    manager
        .run("INSERT INTO nothing SELECT n FROM few;", &["--metrics"])
        .expect(2);
    flott(&["run", "-d", "-e", "SELECT 1"]).expect(2);
    let unknown = manager.flott(&["cancel", "000000000000000000000000000000ff"]).expect(1);
    assert!(
        unknown.err.contains("Job 000000000000000000000000000000ff not found"),
        "{}",
        unknown.err
    );
    let no_id = manager.flott(&["cancel", "counts"]).expect(1);
    assert!(no_id.err.contains("flott list"), "{}", no_id.err);
}

#[test]
fn who_is_no_job_manager_is_named_with_the_remedy() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut asking = start(&[
        "list",
        "-D",
        &format!("rest.port={}", address.port()),
        "-D",
        "rest.address=127.0.0.1",
    ]);
    let (mut stream, _) = listener.accept().unwrap();
    // What is not read when the connection is closed would take the answer with it.
    stream.read_exact(&mut [0; 16]).unwrap();
    stream.write_all(b"220 mail.example.org ready\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(wait_for(|| !asking.is_running()));
    let ended = asking.ended().expect(1);
    assert!(
        ended.err.contains(&format!("{address} is not a JobManager")),
        "{}",
        ended.err
    );
    drop((listener, stream));
    let ended = flott(&["list", "-m", &address.to_string()]).expect(1);
    let told = format!("there is no JobManager at {address}");
    assert!(
        ended.err.contains(&told) && ended.err.contains("-m HOST:PORT"),
        "{}",
        ended.err
    );
}
