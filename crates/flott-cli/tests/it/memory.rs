//! The memory of processes: a JobManager works in 256 MiB, a TaskManager in 512 MiB, and a job that wants more fails without taking either along.

use crate::cluster::Processes;
use crate::support::{Running, flott, wait_for};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
/// Of a job.
const DEADLINE: Duration = Duration::from_secs(300);

/// A control group that ends a process which takes more than it may, where this system lets tests make one.
struct Group(PathBuf);

impl Group {
    fn of(process: &Running, bytes: u64) -> Option<Self> {
        let name = format!("flott-test-{}", process.id());
        let kinds = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        let made = kinds.into_iter().find_map(|(root, bound)| {
            let folder = Path::new(root).join(&name);
            fs::create_dir(&folder).ok()?;
            let group = Self(folder);
            fs::write(group.0.join(bound), bytes.to_string()).ok()?;
            fs::write(group.0.join("cgroup.procs"), process.id().to_string()).ok()?;
            Some(group)
        });
        if made.is_none() {
            // The bound is asserted all the same, by what the process takes.
            eprintln!("no control group can be made here");
        }
        made
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let is_gone = || fs::remove_dir(&self.0).is_ok();
        wait_for(is_gone);
    }
}

/// The most that a process has taken of memory that the system cannot take back.
struct Peak(Arc<AtomicU64>);

impl Peak {
    fn of(process: &Running) -> Self {
        let status = format!("/proc/{}/status", process.id());
        let peak = Arc::new(AtomicU64::new(0));
        let shown = peak.clone();
        let look = move || {
            while let Ok(text) = fs::read_to_string(&status) {
                let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
                let Some(kib) = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()) else {
                    break;
                };
                shown.fetch_max(kib * 1024, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        std::thread::spawn(look);
        Self(peak)
    }

    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A cluster of one TaskManager whose processes may take so many MiB.
struct Bounded {
    // Ended before their groups go.
    cluster: Processes,
    bounds: [(u64, Peak); 2],
    _groups: Vec<Group>,
    _checkpoints: TempDir,
}

impl Bounded {
    fn start(job_manager: u64, task_manager: u64) -> Self {
        let checkpoints = tempfile::tempdir().unwrap();
        let options = [
            format!("execution.checkpointing.dir={}", checkpoints.path().display()),
            format!("jobmanager.memory.process.size={job_manager}m"),
            format!("taskmanager.memory.process.size={task_manager}m"),
            "taskmanager.numberOfTaskSlots=2".to_owned(),
            "restart-strategy.type=none".to_owned(),
        ];
        let mut cluster = Processes::manager(&options, "");
        cluster.add_task_manager("");
        let processes = [cluster.job_manager.as_ref().unwrap(), &cluster.task_managers[0]];
        let limits = [job_manager * MIB, task_manager * MIB];
        let groups = processes
            .iter()
            .zip(limits)
            .filter_map(|(process, bytes)| Group::of(process, bytes));
        let groups = groups.collect();
        let bounds = [0, 1].map(|index| (limits[index], Peak::of(processes[index])));
        cluster.await_slots(2);
        Self {
            cluster,
            bounds,
            _groups: groups,
            _checkpoints: checkpoints,
        }
    }

    /// Runs a script to its end; whether it was FINISHED, and what is said of a failure.
    fn run(&self, script: &str) -> (bool, String) {
        let args = ["run", "-d", "-m", &self.cluster.rest, "-p", "2", "-e", script];
        let submitted = flott(&args).expect(0).out;
        let (_, job) = submitted.split_once("JobID ").unwrap_or_else(|| panic!("{submitted}"));
        let (job, deadline) = (job.trim(), Instant::now() + DEADLINE);
        let ask = |what: &str| self.cluster.get(&format!("/jobs/{job}{what}")).unwrap_or_default();
        loop {
            let status = ask("/status");
            if status.contains("FINISHED") || status.contains("FAILED") {
                return (status.contains("FINISHED"), ask("/exceptions"));
            }
            assert!(Instant::now() < deadline, "{status}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Nobody was ended, and nobody took more than it may.
    fn assert_kept(mut self) {
        let processes = [
            self.cluster.job_manager.as_mut().unwrap(),
            &mut self.cluster.task_managers[0],
        ];
        for (process, (bound, peak)) in processes.into_iter().zip(&self.bounds) {
            assert!(process.is_running(), "{}", process.err());
            assert!(
                (MIB..*bound).contains(&peak.bytes()),
                "{} of {bound} bytes",
                peak.bytes()
            );
        }
    }
}

/// Sums by so many keys of 200 bytes, each of which comes twice.
fn sums(keys: u64, backend: &str) -> String {
    format!(
        "SET 'pipeline.name' = 'sums'; SET 'state.backend.type' = '{backend}';
         CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{}', 'rows-per-second' = '100000000',
             'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '{}');
         CREATE TABLE nothing (k STRING, n BIGINT) WITH ('connector' = 'blackhole');
         INSERT INTO nothing SELECT k, COUNT(*) FROM (SELECT LPAD(CAST(MOD(n, {keys}) AS STRING), 200, 'k') AS k FROM numbers) GROUP BY k;",
        keys * 2,
        keys * 2 - 1,
    )
}

#[test]
fn processes_work_in_the_memory_that_they_are_given() {
    let bounded = Bounded::start(256, 512);
    for backend in ["hashmap", "rocksdb"] {
        let (is_finished, said) = bounded.run(&sums(200_000, backend));
        assert!(is_finished, "{backend}: {said}");
    }
    bounded.assert_kept();
}

#[test]
fn state_that_is_larger_than_memory_lies_on_disk() {
    let bounded = Bounded::start(256, 208);
    let (is_finished, said) = bounded.run(&sums(500_000, "rocksdb"));
    assert!(is_finished, "{said}");
    bounded.assert_kept();
}

#[test]
fn a_job_that_takes_all_memory_fails_alone() {
    let bounded = Bounded::start(256, 160);
    let (is_finished, said) = bounded.run(&sums(5_000_000, "hashmap"));
    assert!(!is_finished, "{said}");
    for part in [
        "the TaskManager's memory is used up",
        "'taskmanager.memory.process.size' (160 mb)",
        "mb are state of 'GroupAggregate",
        "of job 'sums'",
        "'state.backend.type' = 'rocksdb'",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    // What it took is free again.
    let (is_finished, said) = bounded.run(&sums(50_000, "hashmap"));
    assert!(is_finished, "{said}");
    bounded.assert_kept();
}
