//! Networks that are cut: processes in networks of their own (`ip netns`), between which a line goes down and says nothing. Nobody's connection is
//! closed by that; who waits has to notice by himself. Each row comes out once.
//!
//! ```text
//!             ┌── jm ──┐        control: registration, heartbeats, orders
//!        ctl  │        │  ctl
//!            one ──── two       data: exchanges
//!                data
//! ```
//! Networks take the right to make them, which `unshare --map-root-user --mount --net` gives to anybody; they go with that process.

use crate::support::{Running, start_within, wait_for};
use crate::trial::rows_of_files;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// Rows of the job: some ten seconds of them.
const ROWS: i64 = 6_000;

/// The machine has one set of networks, for one test at a time.
static NETWORKS: Mutex<()> = Mutex::new(());

/// Whether names of networks are this process's alone.
static MOUNTED: Once = Once::new();

#[track_caller]
fn run(command: &str) {
    let ended = Command::new("sh").args(["-ec", command]).output().unwrap();
    assert!(
        ended.status.success(),
        "{command}: {}; run these tests under `unshare --map-root-user --mount --net`",
        String::from_utf8_lossy(&ended.stderr)
    );
}

/// A line between two networks; each end is a device with an address.
#[derive(Clone, Copy)]
struct Line {
    ends: [(&'static str, &'static str, &'static str); 2],
}

const CONTROL: [Line; 2] = [
    Line {
        ends: [("jm", "ctl1", "10.77.1.1"), ("one", "ctl", "10.77.1.2")],
    },
    Line {
        ends: [("jm", "ctl2", "10.77.2.1"), ("two", "ctl", "10.77.2.2")],
    },
];
const DATA: Line = Line {
    ends: [("one", "data", "10.77.3.1"), ("two", "data", "10.77.3.2")],
};

impl Line {
    fn lay(self) {
        let [(one, device, address), (other, other_device, other_address)] = self.ends;
        run(&format!(
            "ip link add {device} netns {one} type veth peer name {other_device} netns {other}
             ip -n {one} addr add {address}/24 dev {device}; ip -n {other} addr add {other_address}/24 dev {other_device}"
        ));
        self.join();
    }

    fn set(self, how: &str) {
        for (network, device, _) in self.ends {
            run(&format!("ip -n {network} link set {device} {how}"));
        }
    }

    fn cut(self) {
        self.set("down");
    }

    fn join(self) {
        self.set("up");
    }
}

/// A JobManager, a TaskManager of one slot and one of two, each in a network of its own, and a job of two subtasks, one at each.
struct Networks {
    job_manager: Running,
    task_managers: [Running; 2],
    job: Running,
    dir: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Drop for Networks {
    fn drop(&mut self) {
        take_down();
    }
}

fn take_down() {
    run("for n in jm one two; do ip netns del $n 2>/dev/null || true; done");
}

const COMMON: [&str; 4] = [
    "security.internal.shared-secret=only these three",
    "heartbeat.interval=300 ms",
    "heartbeat.timeout=2 s",
    "taskmanager.bind-host=0.0.0.0",
];

fn start(network: &str, role: &str, own: &[String]) -> Running {
    let options = COMMON.iter().copied().chain(own.iter().map(String::as_str));
    let args: Vec<&str> = [role].into_iter().chain(options.flat_map(|o| ["-D", o])).collect();
    start_within(network, &args)
}

impl Networks {
    fn start() -> Self {
        let alone = NETWORKS.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
        assert_ne!(
            of("self"),
            of("1"),
            "these are the machine's own networks: run these tests under `unshare --map-root-user --mount --net`"
        );
        // What is mounted there is this process's and its children's alone.
        MOUNTED.call_once(|| run("mount -t tmpfs tmpfs /run"));
        take_down();
        run("for n in jm one two; do ip netns add $n; ip -n $n link set lo up; done");
        CONTROL.into_iter().chain([DATA]).for_each(Line::lay);
        let dir = tempfile::tempdir().unwrap();
        let own = ["jobmanager.bind-host=0.0.0.0", "taskmanager.load-balance.mode=SLOTS"].map(str::to_owned);
        let job_manager = start("jm", "jobmanager", &own);
        said(&job_manager, "TaskManagers at ");
        let task_manager = |index: usize| {
            let (network, _, address) = DATA.ends[index];
            let own = [
                format!("jobmanager.rpc.address={}", CONTROL[index].ends[0].2),
                format!("taskmanager.host={address}"),
                format!("taskmanager.resource-id=tm-{network}"),
                format!("taskmanager.numberOfTaskSlots={}", index + 1),
            ];
            let process = start(network, "taskmanager", &own);
            // Slots are given in the order in which they came.
            said(&job_manager, &format!("tm-{network}"));
            process
        };
        let task_managers = [task_manager(0), task_manager(1)];
        let job = submit(dir.path().to_str().unwrap());
        let networks = Self {
            job_manager,
            task_managers,
            job,
            dir,
            _alone: alone,
        };
        networks.await_rows(0);
        networks
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn rows(&self) -> usize {
        rows_of_files(&self.out()).len()
    }

    fn await_rows(&self, before: usize) {
        assert!(wait_for(|| self.rows() > before), "{}", self.told());
    }

    fn told(&self) -> String {
        let [one, two] = &self.task_managers;
        let all = [&self.job_manager, one, two, &self.job].map(Running::err);
        all.join("\n----\n")
    }

    /// Waits for the end of the job, and compares all rows.
    fn finish(mut self) {
        assert!(wait_for(|| !self.job.is_running()), "{}", self.told());
        let wanted: Vec<String> = (1..=ROWS).map(|n| n.to_string()).collect();
        let mut rows = rows_of_files(&self.out());
        rows.sort_by_key(|row| row.parse::<i64>().unwrap());
        let (count, first) = (rows.len(), rows.iter().zip(&wanted).find(|(got, want)| got != want));
        assert!(rows == wanted, "{count} rows, {first:?}\n{}", self.told());
    }
}

/// Rows that are exchanged by their keys, and come out as they are.
fn submit(dir: &str) -> Running {
    let mut sql = String::new();
    for (key, value) in [
        ("parallelism.default", "2"),
        ("execution.checkpointing.interval", "200 ms"),
        ("execution.checkpointing.dir", &format!("file://{dir}/checkpoints")),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.attempts", "100"),
        ("restart-strategy.fixed-delay.delay", "200 ms"),
    ] {
        writeln!(sql, "SET '{key}' = '{value}';").unwrap();
    }
    write!(
        sql,
        "CREATE TABLE numbers (n BIGINT, at AS PROCTIME()) WITH ('connector' = 'datagen', 'rows-per-second' = '600',
           'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{ROWS}');
         CREATE TABLE once (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{dir}/out', 'format' = 'csv');
         INSERT INTO once SELECT n FROM (SELECT n, ROW_NUMBER() OVER (PARTITION BY n ORDER BY at) AS r FROM numbers) WHERE r = 1;"
    )
    .unwrap();
    start_within("jm", &["run", "-m", "127.0.0.1:8081", "-e", &sql])
}

#[track_caller]
fn said(process: &Running, text: &str) {
    assert!(wait_for(|| process.err().contains(text)), "'{text}': {}", process.err());
}

#[test]
#[ignore = "makes networks: .ci/run gives it the right to"]
fn a_task_manager_that_is_cut_off_is_replaced_and_comes_back() {
    let networks = Networks::start();
    let [one, _] = &networks.task_managers;
    let before = networks.rows();
    [CONTROL[0], DATA].into_iter().for_each(Line::cut);
    said(
        &networks.job_manager,
        "nothing was heard of it for 2 s (heartbeat.timeout)",
    );
    said(one, "the JobManager is lost");
    networks.await_rows(before);
    let registered = |n: usize| networks.job_manager.err().matches("TaskManager registered").count() >= n;
    [CONTROL[0], DATA].into_iter().for_each(Line::join);
    assert!(wait_for(|| registered(3)), "{}", networks.told());
    networks.finish();
}

#[test]
#[ignore = "makes networks: .ci/run gives it the right to"]
fn a_job_manager_that_is_cut_off_goes_on_when_task_managers_are_back() {
    let networks = Networks::start();
    CONTROL.into_iter().for_each(Line::cut);
    for task_manager in &networks.task_managers {
        said(task_manager, "the JobManager is lost");
    }
    said(&networks.job_manager, "the job waits for");
    let before = networks.rows();
    CONTROL.into_iter().for_each(Line::join);
    networks.await_rows(before);
    networks.finish();
}

#[test]
#[ignore = "makes networks: .ci/run gives it the right to"]
fn an_exchange_whose_line_is_cut_fails_in_time_and_says_so() {
    let networks = Networks::start();
    DATA.cut();
    // Both are heard all the time.
    said(&networks.job_manager, "nothing came back over it");
    DATA.join();
    let before = networks.rows();
    networks.await_rows(before);
    networks.finish();
}
