//! Killed at every fail point and restored, the website-traffic job gives each row once; and the check would notice if not.

use crate::support::{Cluster, Running, start_with, text, wait_for};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const IN: &str = "website-logs";
const OUT: &str = "website-traffic-stats";
const PARTITIONS: i32 = 3;
/// Each run of the job has records of its own, so that there is something to commit.
const PHASES: i64 = 3;
/// Records of a phase in each partition, 5 ms apart by the clock.
const PER_PHASE: i64 = 160;
const PER_WINDOW: i64 = 12;
const WINDOW_MS: i64 = 60_000;
/// Long after the last record: it closes all windows before it.
const CLOSE_MS: i64 = 10 * PHASES * PER_PHASE / PER_WINDOW * WINDOW_MS;

struct Trial {
    cluster: Arc<Cluster>,
    dir: tempfile::TempDir,
}

impl Trial {
    fn new() -> Self {
        let trial = Self {
            cluster: Arc::new(Cluster::start(&[(IN, PARTITIONS), (OUT, PARTITIONS)])),
            dir: tempfile::tempdir().unwrap(),
        };
        let job = text("examples/website-traffic/job.sql");
        let fast = job.replace(
            "'execution.checkpointing.interval' = '1 s'",
            "'execution.checkpointing.interval' = '150 ms'",
        );
        assert_ne!(job, fast);
        std::fs::write(trial.path("job.sql"), fast).unwrap();
        trial
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn start(&self, parallelism: &str, restore: bool, failpoints: &str) -> Running {
        let (script, variable) = (self.path("job.sql"), self.cluster.variable());
        let checkpoints = format!("execution.checkpointing.dir=file://{}", self.path("checkpoints"));
        let mut args = vec![
            "run",
            &script,
            "--var",
            &variable,
            "-p",
            parallelism,
            "-D",
            &checkpoints,
            "-D",
            "table.local-time-zone=UTC",
        ];
        if restore {
            args.extend(["--restore", "latest"]);
        }
        start_with(&args, &[("FLOTT_FAILPOINTS", failpoints)])
    }

    /// Lets one of [`PHASES`] parts of the records flow into all partitions; the last one closes all windows at its end.
    fn feed(&self, phase: i64) -> std::thread::JoinHandle<()> {
        let cluster = self.cluster.clone();
        std::thread::spawn(move || {
            for n in phase * PER_PHASE..(phase + 1) * PER_PHASE {
                for partition in 0..PARTITIONS {
                    let (at_ms, line) = record(n, partition.into());
                    cluster.append(IN, partition, at_ms, &line);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            if phase == PHASES - 1 {
                (0..PARTITIONS).for_each(|p| cluster.append(IN, p, CLOSE_MS, "close,u,1"));
            }
        })
    }

    fn feed_all(&self) {
        (0..PHASES).for_each(|phase| self.feed(phase).join().unwrap());
    }

    /// The last run, left alone until all rows are there (or would be), then stopped; gives what is wrong with the rows.
    fn settle(&self, restore: bool, failpoints: &str, patience: Duration) -> Result<(), String> {
        let mut job = self.start("3", restore, failpoints);
        let want = oracle();
        let deadline = std::time::Instant::now() + patience;
        wait_for(|| {
            self.cluster.values(OUT).len() >= want.len() || !job.is_running() || std::time::Instant::now() > deadline
        });
        // Rows that come twice come late.
        std::thread::sleep(Duration::from_millis(400));
        assert!(job.is_running(), "{:?}", job.ended());
        job.terminate();
        job.ended().expect(0);
        compare(&self.cluster.values(OUT), &want)
    }
}

fn record(n: i64, partition: i64) -> (i64, String) {
    let at_ms = n * WINDOW_MS / PER_WINDOW - if n % 5 == 4 { 700 } else { 0 };
    if n % 37 == 36 {
        return (at_ms, "x,y".to_owned());
    }
    (
        at_ms,
        format!("site{}.com,u{n},{}", (n * 7 + partition) % 5, n % 11 + partition),
    )
}

fn oracle() -> Vec<String> {
    let mut sums: BTreeMap<(String, i64), i64> = BTreeMap::new();
    for n in 0..PHASES * PER_PHASE {
        for partition in 0..PARTITIONS {
            let (at_ms, line) = record(n, partition.into());
            if let [site, _, count] = line.split(',').collect::<Vec<_>>()[..] {
                *sums.entry((site.to_owned(), at_ms.div_euclid(WINDOW_MS))).or_default() +=
                    count.parse::<i64>().unwrap();
            }
        }
    }
    let mut rows: Vec<String> = sums
        .iter()
        .map(|((site, minute), sum)| format!("{site},\"1970-01-01 {:02}:{:02}:00\",{sum}", minute / 60, minute % 60))
        .collect();
    rows.sort();
    rows
}

/// What is wrong: rows lost, rows too many.
fn compare(got: &[String], want: &[String]) -> Result<(), String> {
    let mut balance: BTreeMap<&str, i64> = BTreeMap::new();
    want.iter().for_each(|row| *balance.entry(row).or_default() -= 1);
    got.iter().for_each(|row| *balance.entry(row).or_default() += 1);
    let of = |sign: i64| {
        balance
            .iter()
            .filter(|(_, n)| **n * sign > 0)
            .map(|(row, _)| *row)
            .collect::<Vec<_>>()
    };
    match (of(-1), of(1)) {
        (lost, more) if lost.is_empty() && more.is_empty() => Ok(()),
        (lost, more) => Err(format!(
            "{} rows lost, e.g. {:?}; {} rows too many, e.g. {:?}",
            lost.len(),
            lost.first(),
            more.len(),
            more.first()
        )),
    }
}

fn killed_at(point: &str) {
    let trial = Trial::new();
    for (phase, passes, parallelism) in [(0, 1, "2"), (1, 0, "1")] {
        let feeding = trial.feed(phase);
        let killed = trial
            .start(parallelism, true, &format!("{point}=kill@{passes}"))
            .ended();
        assert_eq!(killed.code, None, "{killed:?}");
        assert!(killed.err.contains(&format!("fail point {point}")), "{}", killed.err);
        feeding.join().unwrap();
    }
    let feeding = trial.feed(2);
    let settled = trial.settle(true, "", Duration::from_secs(30));
    feeding.join().unwrap();
    assert_eq!(settled, Ok(()), "after kills at {point}");
}

#[test]
fn killed_before_the_barrier() {
    killed_at("checkpoint-trigger");
}

#[test]
fn killed_between_snapshot_and_acknowledgement() {
    killed_at("checkpoint-ack");
}

#[test]
fn killed_between_completion_and_commit() {
    killed_at("checkpoint-complete");
}

#[test]
fn killed_during_commit() {
    killed_at("checkpoint-commit");
}

#[test]
fn a_commit_done_twice_changes_nothing() {
    let trial = Trial::new();
    trial.feed_all();
    assert_eq!(
        trial.settle(false, "sink-commit=twice", Duration::from_secs(30)),
        Ok(())
    );
}

#[test]
fn the_check_notices_a_commit_left_out() {
    let trial = Trial::new();
    trial.feed_all();
    let wrong = trial
        .settle(false, "sink-commit=skip", Duration::from_secs(3))
        .unwrap_err();
    assert!(!wrong.starts_with("0 rows lost"), "{wrong}");
}

#[test]
fn the_check_notices_rows_written_again() {
    let trial = Trial::new();
    trial.feed_all();
    assert_eq!(trial.settle(false, "", Duration::from_secs(30)), Ok(()));
    // A fresh start instead of a restore reads and writes everything once more.
    let first = trial.cluster.values(OUT).len();
    let mut again = trial.start("1", false, "");
    wait_for(|| trial.cluster.values(OUT).len() > first || !again.is_running());
    again.terminate();
    again.ended().expect(0);
    let wrong = compare(&trial.cluster.values(OUT), &oracle()).unwrap_err();
    assert!(
        wrong.starts_with("0 rows lost") && !wrong.contains("; 0 rows too many"),
        "{wrong}"
    );
}
