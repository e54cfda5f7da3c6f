//! Keyed state that does not fit into its share of memory: a job that is killed, restored, and moved from one state backend to the
//! other and back by savepoints, at other parallelisms, has exact totals all the while.
//!
//! The backend is RocksDB where it is built in; else its place is taken by a store of tests, and all else is the same.

use crate::support::{Cluster, Ended, Running, flott, start_with, wait_for};
use flott_checkpoint::{CheckpointStore, Manifest, Snapshot};
use flott_core::Options;
use std::collections::BTreeMap;

const PARTITIONS: i32 = 2;
const KEYS: i64 = 700;
const PER_PHASE: i64 = 2_000;

const JOB: &str = "
SET 'pipeline.name' = 'totals';
SET 'execution.checkpointing.interval' = '100 ms';
SET 'execution.checkpointing.incremental' = 'true';
CREATE TABLE readings (device BIGINT, amount BIGINT, kind STRING) WITH (
  'connector' = 'kafka', 'topic' = 'readings', 'properties.bootstrap.servers' = '${BOOTSTRAP}',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'csv');
CREATE TABLE totals (device BIGINT, total BIGINT, kinds BIGINT, PRIMARY KEY (device) NOT ENFORCED) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'totals', 'properties.bootstrap.servers' = '${BOOTSTRAP}',
  'key.format' = 'csv', 'value.format' = 'csv', 'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'totals');
INSERT INTO totals SELECT device, SUM(amount), COUNT(DISTINCT kind) FROM readings GROUP BY device;
";

struct Totals {
    cluster: Cluster,
    dir: tempfile::TempDir,
    expected: BTreeMap<i64, (i64, std::collections::BTreeSet<i64>)>,
    read: i64,
}

impl Totals {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("job.sql"), JOB).unwrap();
        Self {
            cluster: Cluster::start(&[("readings", PARTITIONS), ("totals", PARTITIONS)]),
            dir,
            expected: BTreeMap::new(),
            read: 0,
        }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Appends the next part of the records.
    fn feed(&mut self) {
        self.feed_some(PER_PHASE, |n| n * 7919 % 1_361 % KEYS);
    }

    /// Appends so many records, each of the device that `device` says.
    fn feed_some(&mut self, records: i64, device: impl Fn(i64) -> i64) {
        for n in self.read..self.read + records {
            let (device, kind) = (device(n), n % 13);
            let line = format!("{device},{n},kind-{kind}");
            self.cluster
                .append("readings", (n % i64::from(PARTITIONS)) as i32, n, &line);
            let (total, kinds) = self.expected.entry(device).or_default();
            *total += n;
            kinds.insert(kind);
        }
        self.read += records;
    }

    /// The newest checkpoint.
    fn latest(&self) -> Snapshot {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let dir = format!("file://{}", self.path("checkpoints"));
            let store = CheckpointStore::open(&dir, "totals", &Options::new()).await.unwrap();
            store.latest().await.unwrap().unwrap()
        })
    }

    fn start(&self, is_tiered: bool, parallelism: &str, restore: Option<&str>, failpoints: &str) -> Running {
        let (script, variable) = (self.path("job.sql"), self.cluster.variable());
        let checkpoints = format!("execution.checkpointing.dir=file://{}", self.path("checkpoints"));
        let local = format!("state.backend.rocksdb.localdir={}", self.path("rocks"));
        let savepoints = format!("file://{}", self.path("savepoints"));
        let mut args = vec![
            "run",
            &script,
            "--var",
            &variable,
            "-p",
            parallelism,
            "-D",
            &checkpoints,
        ];
        args.extend(["--savepoint-on-stop", &savepoints]);
        if is_tiered {
            let backend = match cfg!(feature = "rocksdb") {
                true => "state.backend.type=rocksdb",
                false => "state.backend.type=hashmap",
            };
            // A tenth of the keys.
            args.extend(["-D", backend, "-D", &local, "-D", "state.backend.hot-rows=70"]);
        }
        args.extend(restore.map(|from| ["--restore", from]).into_iter().flatten());
        start_with(&args, &[("FLOTT_FAILPOINTS", failpoints)])
    }

    fn is_right(&self) -> bool {
        let mut given = BTreeMap::new();
        for (key, value) in self.cluster.committed("totals") {
            given.insert(key.parse::<i64>().unwrap(), value);
        }
        let line = |(device, (total, kinds)): (&i64, &(i64, std::collections::BTreeSet<i64>))| {
            (*device, format!("{device},{total},{}", kinds.len()))
        };
        given == self.expected.iter().map(line).collect()
    }

    /// Waits for the right totals, then stops the job with a savepoint, which it names.
    fn settle(&self, mut job: Running) -> String {
        let is_right = wait_for(|| self.is_right() || !job.is_running());
        assert!(is_right && self.is_right(), "the totals are not right: {}", job.err());
        job.terminate();
        let Ended { err, .. } = job.ended().expect(0);
        assert!(self.is_right(), "the totals are not right behind the stop: {err}");
        let savepoint = err.lines().find_map(|line| line.strip_prefix("savepoint: "));
        savepoint.unwrap_or_else(|| panic!("{err}")).to_owned()
    }
}

#[test]
fn killed_restored_and_moved_between_backends_the_totals_stay_exact() {
    let mut totals = Totals::new();
    for (parallelism, restore, point) in [
        ("2", None, "checkpoint-ack=kill@6"),
        ("1", Some("latest"), "checkpoint-complete=kill@2"),
    ] {
        totals.feed();
        let killed = totals.start(true, parallelism, restore, point).ended();
        assert_eq!(killed.code, None, "{killed:?}");
    }
    totals.feed();
    let mut from = totals.settle(totals.start(true, "2", Some("latest"), ""));
    // From disk into memory, and from memory to disk, at other parallelisms.
    for (is_tiered, parallelism) in [(false, "3"), (true, "1"), (true, "2"), (false, "2")] {
        totals.feed();
        from = totals.settle(totals.start(is_tiered, parallelism, Some(&from), ""));
    }
    if cfg!(feature = "rocksdb") {
        let left = std::fs::read_dir(totals.path("rocks")).unwrap().count();
        assert_eq!(left, 0, "folders of ended and of killed attempts are removed");
    }
}

#[test]
fn increments_go_on_behind_a_restart() {
    for is_tiered in [false, true] {
        let mut totals = Totals::new();
        totals.feed_some(6_000, |n| n);
        let mut job = totals.start(is_tiered, "1", None, "");
        assert!(wait_for(|| totals.is_right() || !job.is_running()), "{}", job.err());
        job.kill();
        let mut lives = vec![totals.latest().manifest];
        // The first life may end with a chain that is as long as it may get: then the second writes all anew, and the third builds on that. Each
        // has another parallelism.
        for parallelism in ["2", "1"] {
            totals.feed_some(50, |n| n % 7);
            let mut job = totals.start(is_tiered, parallelism, Some("latest"), "");
            assert!(wait_for(|| totals.is_right() || !job.is_running()), "{}", job.err());
            lives.push(totals.latest().manifest);
            job.kill();
            assert!(totals.is_right());
        }
        assert!(lives.is_sorted_by(|a, b| a.generation < b.generation));
        let builds_on = |pair: &[Manifest]| !pair[0].files().is_disjoint(&pair[1].files());
        let files: Vec<_> = lives.iter().map(Manifest::files).collect();
        assert!(
            lives.windows(2).any(builds_on),
            "none builds on the one before it: {files:?}"
        );
    }
}

#[test]
fn backends_that_are_not_there_are_refused_before_the_start() {
    let totals = Totals::new();
    let script = totals.path("job.sql");
    let run = |backend: &str| {
        let variable = totals.cluster.variable();
        flott(&["run", &script, "--var", &variable, "-D", backend])
    };
    let unknown = run("state.backend.type=forst");
    assert_ne!(unknown.code, Some(0));
    assert!(
        unknown
            .err
            .contains("'forst', which is no state backend: known are 'hashmap' and 'rocksdb'"),
        "{}",
        unknown.err
    );
    if !cfg!(feature = "rocksdb") {
        let missing = run("state.backend=rocksdb");
        assert_ne!(missing.code, Some(0));
        assert!(missing.err.contains("--features rocksdb"), "{}", missing.err);
    }
}
