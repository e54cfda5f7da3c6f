//! A test a target: all inputs of `fuzz/seeds` and `fuzz/corpus`, each within its limits.
//!
//! Targets run on a thread with the stack of a worker (2 MiB), so that nesting is judged where it runs, one after the other,
//! so that memory and time are each input's own.

use flott_fuzz::{TARGETS, Target};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most CPU time of one input, here, in a build that is not optimised and checks overflows. It tells work that doubles with each
/// level, or grows with the square of the input, from work that ends: the longest of today's inputs takes 3 s.
const MAX_CPU: Duration = Duration::from_secs(20);
/// An input may have this many tries: a machine that others use too counts as ours what they take, and was seen to count twenty
/// times what an input needs.
const TRIES: usize = 3;
const STACK_BYTES: usize = 2 << 20;

/// CPU time is the process's, so targets take turns.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz")
        .join(kind)
        .join(target)
}

fn inputs(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return vec![];
    };
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
}

/// CPU time of the process in Linux's ticks of 10 ms, or the time of day where the system does not tell. One input runs at
/// a time, so it is that input's.
fn cpu_now(start: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/self/stat").ok();
    let ticks = told.and_then(|text| {
        // Behind the name in parentheses: the fields from the third on; user and system time are the 14th and 15th.
        let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
        Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
    });
    ticks.map_or_else(|| start.elapsed(), |ticks| Duration::from_millis(ticks * 10))
}

fn replay(name: &str) {
    let mut paths = inputs(&folder("seeds", name));
    paths.extend(inputs(&folder("corpus", name)));
    assert!(!paths.is_empty(), "target '{name}' has no inputs");
    let read = |path: &PathBuf| (path.display().to_string(), std::fs::read(path).unwrap());
    within_limits(name, paths.iter().map(read).collect());
}

/// Runs a target over inputs with their names; no panic, and time and memory within the limits.
pub(crate) fn within_limits(target: &str, inputs: Vec<(String, Vec<u8>)>) {
    let target = Target::named(target).unwrap();
    let worker = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        let start = Instant::now();
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        // What is made once is not the first input's.
        target.run(b"");
        for (name, data) in inputs {
            if is_told() {
                eprintln!("{} {name}", target.name);
            }
            let ended = (0..TRIES).any(|_| {
                let before = cpu_now(start);
                let result = std::panic::catch_unwind(|| target.run(&data));
                assert!(result.is_ok(), "{name} breaks a rule: see the panic above");
                let taken = cpu_now(start).saturating_sub(before);
                if is_told() {
                    eprintln!("  {taken:?}, {} KiB", result.unwrap_or(0) >> 10);
                }
                taken <= MAX_CPU
            });
            assert!(ended, "{name} took more than {MAX_CPU:?} each of {TRIES} times");
        }
    });
    worker.unwrap().join().unwrap();
}

/// With `FLOTT_FUZZ_TELL` set, inputs are named before they run: a stack that overflows takes the process down.
fn is_told() -> bool {
    std::env::var_os("FLOTT_FUZZ_TELL").is_some()
}

macro_rules! replays {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            replay($name);
        })*

        #[test]
        fn every_target_is_replayed() {
            let names: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

replays! {
    sql: "sql",
    expression: "expression",
    json: "json",
    csv: "csv",
    raw: "raw",
    debezium: "debezium",
    kafka_records: "kafka-records",
    kafka_rows: "kafka-rows",
    kafka_requests: "kafka-requests",
    kafka_answers: "kafka-answers",
    manifest: "manifest",
    state_run: "state-run",
    exchange: "exchange",
    typed_frames: "typed-frames",
    state_value: "state-value",
    parquet: "parquet",
    partition_path: "partition-path",
    plan: "plan",
}

/// The scripts that were recorded from Flink are inputs of the SQL front end too.
#[test]
fn recorded_scripts() {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers");
    let scripts = inputs(&peers)
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e == "sql"));
    let read = |path: PathBuf| (path.display().to_string(), std::fs::read(&path).unwrap());
    within_limits("sql", scripts.map(read).collect());
}
