//! Each sample as a process: a function of it fails and the job restarts, the process is killed, another goes on (where it can, at another
//! parallelism), with its state in memory, on disk, or moved from one to the other.
//!
//! Lines are appended while it runs, so that all this happens in the middle of its input. Nothing is timed: whatever a checkpoint
//! held when the failure or the kill came, the committed rows must be the golden ones, each once.

use flott_examples::lines::{CommittedParts, END};
use flott_examples::samples::{SAMPLES, Sample};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing that is waited for takes so long.
pub const DEADLINE: Duration = Duration::from_secs(300);

/// Where a process keeps state.
#[derive(Clone, Copy)]
pub enum Backend {
    Memory,
    /// In RocksDB, where it is built in, but for a few keys: elsewhere in what stands for it.
    Disk,
}

use Backend::{Disk, Memory};

/// A sample in a folder of its own.
pub struct Trial {
    sample: &'static Sample,
    folder: tempfile::TempDir,
}

impl Trial {
    pub fn of(name: &str) -> Self {
        Self {
            sample: SAMPLES.iter().find(|s| s.name == name).unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The lines of its input, in three parts.
    pub fn thirds(&self) -> [Vec<&'static str>; 3] {
        let lines: Vec<&str> = self.sample.input.lines().collect();
        let (first, rest) = lines.split_at(lines.len() / 3);
        let (second, third) = rest.split_at(rest.len() / 2);
        [first, second, third].map(<[&str]>::to_vec)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn append(&self, lines: &[&str]) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path("lines"))
            .unwrap();
        for line in lines {
            writeln!(file, "{line}").unwrap();
        }
    }

    pub fn start(&self, backend: Backend, more: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_flott-examples"))
            .args(self.arguments(backend))
            .args(more)
            .stdout(Stdio::null())
            .stderr(self.log())
            .spawn()
            .unwrap()
    }

    /// The command line of the sample.
    pub fn arguments(&self, backend: Backend) -> Vec<String> {
        let mut arguments = vec![self.sample.name.to_owned()];
        for (option, file) in [
            ("--follow", "lines"),
            ("--out", "rows"),
            ("--checkpoints", "checkpoints"),
        ] {
            arguments.extend([option.to_owned(), self.path(file).display().to_string()]);
        }
        let mut defines: Vec<String> = [
            "execution.checkpointing.interval=20 ms",
            "restart-strategy.type=fixed-delay",
            "restart-strategy.fixed-delay.attempts=3",
            "restart-strategy.fixed-delay.delay=10 ms",
            "execution.buffer-timeout.interval=0",
            "pipeline.auto-watermark-interval=0",
        ]
        .map(str::to_owned)
        .to_vec();
        if matches!(backend, Disk) {
            let backend = match cfg!(feature = "rocksdb") {
                true => "rocksdb",
                false => "hashmap",
            };
            defines.push(format!("state.backend.type={backend}"));
            defines.push(format!(
                "state.backend.rocksdb.localdir={}",
                self.path("local").display()
            ));
            defines.push("state.backend.hot-rows=2".to_owned());
        }
        for define in defines {
            arguments.extend(["-D".to_owned(), define]);
        }
        arguments
    }

    /// The number of the newest completed checkpoint.
    fn newest(&self) -> u64 {
        let folders = |path: &Path| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|e| e.path()).collect()
        };
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        let is_complete = |path: &PathBuf| folders(path).iter().any(|f| name(f).starts_with("manifest-g"));
        let jobs = folders(&self.path("checkpoints"));
        let complete = jobs.iter().flat_map(|job| folders(job)).filter(is_complete);
        let number = |path: PathBuf| name(&path).strip_prefix("chk-")?.parse().ok();
        complete.filter_map(number).max().unwrap_or_default()
    }

    /// Where the processes write what they say.
    pub fn log(&self) -> File {
        let log = self.path("log");
        OpenOptions::new().append(true).create(true).open(log).unwrap()
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    /// Waits until `done`; the process must live.
    pub fn wait(&self, process: &mut Child, done: impl Fn() -> bool) {
        let since = Instant::now();
        while !done() {
            if let Some(status) = process.try_wait().unwrap() {
                panic!("{} has ended: {status}: {}", self.sample.name, self.said());
            }
            assert!(since.elapsed() < DEADLINE, "{}: nothing happens", self.sample.name);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until `more` checkpoints are completed.
    pub fn wait_for_checkpoints(&self, process: &mut Child, more: u64) {
        let from = self.newest();
        self.wait(process, || self.newest() >= from + more);
    }

    /// The rows that are committed, part by part.
    pub fn rows(&self) -> Vec<String> {
        CommittedParts::read(&self.path("rows")).unwrap()
    }

    /// Panics unless the committed rows are the golden ones, each once.
    pub fn expect_rows(&self) {
        let sorted = |mut rows: Vec<String>| {
            rows.sort_unstable();
            rows
        };
        let golden = self.sample.golden.lines().map(str::to_owned).collect();
        assert_eq!(
            sorted(self.rows()),
            sorted(golden),
            "{}: {}",
            self.sample.name,
            self.said()
        );
    }
}

fn fails_is_killed_and_goes_on(name: &str, backend: Backend, next_backend: Backend) {
    let trial = Trial::of(name);
    let [first, second, third] = trial.thirds();
    trial.append(&first);
    // Fails in the middle of the second third, restarts, and is killed.
    let fail_behind = (first.len() + second.len() / 2).to_string();
    let mut killed = trial.start(backend, &["--fail-behind", &fail_behind]);
    trial.wait_for_checkpoints(&mut killed, 2);
    trial.append(&second);
    trial.wait(&mut killed, || trial.said().contains("failing once"));
    trial.wait_for_checkpoints(&mut killed, 2);
    trial.append(&third[..third.len() / 2]);
    killed.kill().unwrap();
    assert_eq!(killed.wait().unwrap().code(), None, "it was killed");

    let before = trial.rows();
    trial.append(&third[third.len() / 2..]);
    trial.append(&[END]);
    let parallelism = if trial.sample.needs_order { "1" } else { "2" };
    let mut last = trial.start(next_backend, &["-p", parallelism]);
    let status = last.wait().unwrap();
    assert!(status.success(), "{name}: {status}: {}", trial.said());
    assert_eq!(trial.rows()[..before.len()], before, "{name}: what was committed stays");
    trial.expect_rows();
}

macro_rules! killed {
    ($($test:ident: $name:literal),*) => {
        $(mod $test {
            use super::*;

            #[test]
            fn in_memory() {
                fails_is_killed_and_goes_on($name, Memory, Memory);
            }

            #[test]
            fn on_disk() {
                fails_is_killed_and_goes_on($name, Disk, Disk);
            }

            #[test]
            fn moved_to_disk() {
                fails_is_killed_and_goes_on($name, Memory, Disk);
            }

            #[test]
            fn moved_to_memory() {
                fails_is_killed_and_goes_on($name, Disk, Memory);
            }
        })*

        #[test]
        fn every_sample_is_killed() {
            let killed: Vec<&str> = vec![$($name),*];
            let all: Vec<&str> = SAMPLES.iter().map(|s| s.name).collect();
            assert_eq!(killed, all);
        }
    };
}

killed!(
    times_two: "times-two",
    word_count: "word-count",
    website_traffic: "website-traffic",
    clicks_per_window: "clicks-per-window",
    running_clicks: "running-clicks",
    fraud_detection: "fraud-detection",
    order_timeout: "order-timeout",
    sensor_anomaly: "sensor-anomaly",
    trending_items: "trending-items",
    marked_batches: "marked-batches",
    rising_sales: "rising-sales"
);
