//! Jobs that run beside their program, and what a program is told from outside.

use super::env;
use flott::local::{JobHost, LocalJob};
use flott::prelude::*;
use flott_cluster::{Restore, Submission, submit};
use flott_core::Options;
use flott_core::clock::SystemClock;
use flott_datastream::{Executor, Program};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Only guards against hanging.
const DEADLINE: Duration = Duration::from_secs(60);

fn until(what: &str, happened: impl Fn() -> bool) {
    let since = Instant::now();
    while !happened() {
        assert!(since.elapsed() < DEADLINE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sums of endless numbers, and what they come to.
fn endless(env: &StreamExecutionEnvironment) -> Arc<Mutex<Vec<i64>>> {
    let sums = Arc::new(Mutex::new(vec![]));
    let seen = sums.clone();
    env.from_sequence(1, i64::MAX)
        .set_parallelism(1)
        .map(|_| 1i64)
        .key_by(|_| 0i64)
        .reduce(|a, b| a + b)
        .uid("sum")
        .for_each(move |sum| seen.lock().unwrap().push(sum));
    sums
}

#[test]
fn a_client_takes_savepoints_and_stops_its_job() {
    let folder = tempfile::tempdir().unwrap();
    let place = format!("file://{}", folder.path().display());
    let first = env();
    let sums = endless(&first);
    let job = first.execute_async("sums").unwrap();
    assert_eq!(job.get_job_id().len(), 32);
    until("a sum", || !sums.lock().unwrap().is_empty());
    assert_eq!(job.get_job_status(), JobStatus::Running);
    let on_the_way = job.trigger_savepoint(Some(place.as_str())).unwrap();
    let before = sums.lock().unwrap().len();
    until("more sums", || sums.lock().unwrap().len() > before);
    let savepoint = job.stop_with_savepoint(false, Some(place.as_str())).unwrap();
    assert_ne!(on_the_way, savepoint);
    assert_eq!(job.get_job_status(), JobStatus::Finished);
    assert_eq!(job.get_job_execution_result().unwrap().job_id, job.get_job_id());
    let last = *sums.lock().unwrap().last().unwrap();

    let second = env();
    second.configure("execution.state-recovery.path", savepoint);
    let sums = endless(&second);
    let job = second.execute_async("sums").unwrap();
    until("a sum", || !sums.lock().unwrap().is_empty());
    job.cancel().unwrap();
    assert_eq!(job.get_job_status(), JobStatus::Canceled);
    assert_eq!(sums.lock().unwrap()[0], last + 1, "it goes on behind the savepoint");
    let error = job.get_job_execution_result().unwrap_err().to_string();
    assert!(error.contains("'sums' is CANCELED"), "{error}");
    let error = job.trigger_savepoint(Some(place.as_str())).unwrap_err().to_string();
    assert!(
        error.contains("'sums' has no savepoint") && error.contains("CANCELED"),
        "{error}"
    );
}

/// Windows of an hour over endless numbers, and the hours that were closed.
fn hours(env: &StreamExecutionEnvironment) -> (Arc<Mutex<Vec<i64>>>, Arc<Mutex<i64>>) {
    let (closed, read) = (Arc::new(Mutex::new(vec![])), Arc::new(Mutex::new(0)));
    let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|_: &i64, _| 1);
    let (seen, counted) = (closed.clone(), read.clone());
    env.from_generator(u64::MAX, |number| number as i64)
        .set_parallelism(1)
        .assign_timestamps_and_watermarks(&strategy)
        .map(move |_| {
            *counted.lock().unwrap() += 1;
            1i64
        })
        .key_by(|_| 0i64)
        .window(TumblingEventTimeWindows::of(Duration::from_secs(3600)))
        .reduce(|a, b| a + b)
        .for_each(move |count| seen.lock().unwrap().push(count));
    (closed, read)
}

#[test]
fn windows_close_before_a_drained_job_stops_and_stay_open_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let place = format!("file://{}", folder.path().display());
    for drain in [false, true] {
        let env = env();
        let (closed, read) = hours(&env);
        let job = env.execute_async("hours").unwrap();
        until("a record", || *read.lock().unwrap() > 0);
        job.stop_with_savepoint(drain, Some(place.as_str())).unwrap();
        let expected = if drain { vec![*read.lock().unwrap()] } else { vec![] };
        assert_eq!(*closed.lock().unwrap(), expected, "drain: {drain}");
    }
}

fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn metrics_are_served_while_jobs_run_and_shared_by_those_that_ask_for_the_same_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    // A taken port is passed over for the next of the range.
    let range = format!("{port}-{}", port.saturating_add(20));
    let start = |name: &str| {
        let env = env();
        env.configure("metrics.reporter.prom.port", range.as_str());
        let sums = endless(&env);
        let job = env.execute_async(name).unwrap();
        until("a sum", || !sums.lock().unwrap().is_empty());
        job
    };
    let jobs = ["one", "two"].map(start);
    let both = |page: &str| {
        ["one", "two"]
            .iter()
            .all(|name| page.contains(&format!("job_name=\"{name}\"")))
    };
    until("a page of both", || {
        (port + 1..=port.saturating_add(20))
            .filter_map(get)
            .any(|page| both(&page))
    });
    jobs.iter().for_each(|job| job.cancel().unwrap());

    let env = env();
    env.configure("metrics.reporter.prom.port", port.to_string());
    endless(&env);
    let refused = env.execute_async("three").unwrap_err().to_string();
    assert!(
        refused.contains("the metrics endpoint cannot listen on 127.0.0.1"),
        "{refused}"
    );
}

#[test]
fn what_is_set_closer_to_the_operator_wins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let config = "parallelism.default: 2\npipeline:\n  max-parallelism: 12\n  name: of the file\n";
    std::fs::write(&file, config).unwrap();
    let file = format!("--config={}", file.display());
    let with = |more: &[&str]| {
        let arguments = [file.as_str()].into_iter().chain(more.iter().copied());
        StreamExecutionEnvironment::get_execution_environment_with_args(arguments)
    };
    let parallelisms = |env: &StreamExecutionEnvironment| {
        let numbers = env.from_sequence(0, 9);
        numbers.map(|n| n).set_parallelism(5).map(|n| n).name("Second").print();
        let plan = env.program("parallelisms").unwrap().plan;
        let of = |name: &str| plan.nodes.iter().find(|n| n.name.contains(name)).unwrap().parallelism;
        (of("Map"), of("Second"), plan.nodes[0].max_parallelism)
    };
    assert_eq!(parallelisms(&with(&[])), (5, 2, 12), "the file");
    assert_eq!(parallelisms(&with(&["-p", "3"])), (5, 3, 12), "the command line");
    let defined = with(&["-D", "pipeline.max-parallelism=64", "-D", "parallelism.default=3"]);
    assert_eq!(parallelisms(&defined), (5, 3, 64));
    defined.set_parallelism(4).set_max_parallelism(32);
    assert_eq!(parallelisms(&defined), (5, 4, 32), "the environment");
    assert_eq!(defined.get_parallelism(), 4);

    let wrong = with(&["-p", "0"]);
    wrong.from_sequence(0, 9).print();
    let error = wrong.execute("wrong").unwrap_err().to_string();
    assert_eq!(error, "-p 0: a job needs a parallelism of at least 1");
}

#[test]
fn a_start_is_told_what_to_begin_from() {
    let folder = tempfile::tempdir().unwrap();
    let place = format!("file://{}", folder.path().display());
    let taken = env();
    let sums = endless(&taken);
    let job = taken.execute_async("sums").unwrap();
    until("a sum", || !sums.lock().unwrap().is_empty());
    let savepoint = job.stop_with_savepoint(false, Some(place.as_str())).unwrap();
    let last = *sums.lock().unwrap().last().unwrap();

    // The program's own say is for starts that are told nothing.
    let arguments = ["--from-savepoint", savepoint.as_str()];
    let told = StreamExecutionEnvironment::get_execution_environment_with_args(arguments);
    told.configure("execution.state-recovery.path", "/no/such/savepoint");
    let sums = endless(&told);
    let job = told.execute_async("sums").unwrap();
    until("a sum", || !sums.lock().unwrap().is_empty());
    job.cancel().unwrap();
    assert_eq!(sums.lock().unwrap()[0], last + 1);
}

/// Counts how often it is asked before a job's end is told: where a signal ends the process, nothing is told behind that.
struct Counting {
    runtime: tokio::runtime::Runtime,
    asked: AtomicUsize,
}

impl JobHost for Counting {
    fn runtime(&self) -> &tokio::runtime::Handle {
        self.runtime.handle()
    }
    fn job_ended(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
    }
}

struct OnHost(Arc<Counting>);

impl Executor for OnHost {
    fn options(&self) -> Result<Options, ExecuteError> {
        Ok(Options::new())
    }
    fn execute_async(&self, program: Program) -> Result<JobClient, ExecuteError> {
        let (plan, registry) = program.into_parts(flott::registry());
        let submission = Submission {
            plan,
            restore: Restore::Fresh,
            allow_non_restored_state: false,
        };
        let submitted = submit(Arc::new(registry), Arc::new(SystemClock), submission);
        let handle = self.0.runtime.block_on(submitted).unwrap();
        Ok(JobClient::new(LocalJob::new(handle, self.0.clone())))
    }
}

#[test]
fn no_word_of_an_end_passes_the_process_by() {
    let host = Arc::new(Counting {
        runtime: tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap(),
        asked: AtomicUsize::new(0),
    });
    let asked = || host.asked.swap(0, Ordering::SeqCst);
    let env = StreamExecutionEnvironment::new(OnHost(host.clone()));
    let sums = endless(&env);
    let job = env.execute_async("sums").unwrap();
    until("a sum", || !sums.lock().unwrap().is_empty());
    assert_eq!((job.get_job_status(), asked()), (JobStatus::Running, 0));
    job.trigger_savepoint(None).unwrap_err();
    assert_eq!(asked(), 1, "it could be that the job is ending");
    job.cancel().unwrap();
    assert_eq!(asked(), 1);
    assert_eq!((job.get_job_status(), asked()), (JobStatus::Canceled, 1));
    job.trigger_savepoint(None).unwrap_err();
    assert_eq!(asked(), 1);
}

#[test]
fn where_a_stop_shall_leave_a_savepoint_is_tried_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = format!("{}/savepoints", file.path().display());
    let env = StreamExecutionEnvironment::get_execution_environment_with_args(["--savepoint-on-stop", below.as_str()]);
    env.from_sequence(1, i64::MAX).for_each(drop);
    let error = env.execute("endless").unwrap_err().to_string();
    assert!(error.contains(&format!("--savepoint-on-stop {below}")), "{error}");
}
