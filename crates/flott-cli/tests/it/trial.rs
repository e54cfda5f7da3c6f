//! The website-traffic job under test: records that flow in, runs that are killed and restored, and the rows that must be there.

use crate::support::{Cluster, Ended, Running, start_with, text, wait_for};
use flott_checkpoint::Root;
use flott_core::Options;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const IN: &str = "website-logs";
const OUT: &str = "website-traffic-stats";
const PARTITIONS: i32 = 3;
/// Each run of the job has records of its own, so that there is something to commit.
pub const PHASES: i64 = 3;
/// Records of a phase in each partition, 5 ms apart by the clock.
const PER_PHASE: i64 = 160;
const PER_WINDOW: i64 = 12;
const WINDOW_MS: i64 = 60_000;
/// Long after the last record: it closes all windows before it.
const CLOSE_MS: i64 = 10 * PHASES * PER_PHASE / PER_WINDOW * WINDOW_MS;
/// How long a run may take until its rows are there.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where the rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// A topic of the embedded broker.
    Topic(&'static str),
    /// Files in a folder.
    Files(PathBuf),
    /// Objects below an address; [`Trial::options`] say how the store is reached.
    Bucket(String),
    /// Files in folders by [`partition_of`] below an address, and the options that say when these are complete.
    Partitions { at: String, options: &'static str },
}

/// The names of the objects below an address.
pub fn objects(address: &str, options: &[String]) -> Vec<String> {
    let options: Options = options.iter().filter_map(|o| o.split_once('=')).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listed = runtime.block_on(async { Root::open(address, &options).unwrap().list().await.unwrap() });
    listed.into_iter().map(|object| object.path).collect()
}

/// The lines of the committed objects below an address, sorted, by folder.
fn rows_of_objects(address: &str, options: &[String]) -> BTreeMap<String, Vec<String>> {
    let options: Options = options.iter().filter_map(|o| o.split_once('=')).collect();
    let read = async {
        let root = Root::open(address, &options).unwrap();
        let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for object in root.list().await.unwrap() {
            let (folder, name) = object.path.rsplit_once('/').unwrap_or(("", &object.path));
            if name.starts_with(['.', '_']) {
                continue;
            }
            let bytes = root.get(&object.path).await.unwrap();
            let text = std::str::from_utf8(&bytes).unwrap();
            assert!(
                text.is_empty() || text.ends_with('\n'),
                "{} ends in mid-line",
                object.path
            );
            let rows = folders.entry(folder.to_owned()).or_default();
            rows.extend(text.lines().map(str::to_owned));
        }
        folders.values_mut().for_each(|rows| rows.sort());
        folders
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(read)
}

/// A partition as its readers see it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Its files but for those of rows, sorted.
    pub marks: Vec<String>,
    /// Its rows, sorted.
    pub rows: Vec<String>,
}

/// Windows of a partition.
const WINDOWS_PER_PARTITION: u32 = 4;

/// The folder of a row of [`oracle`].
pub fn partition_of(row: &str) -> String {
    let (_, time) = row.split_once(",\"").unwrap();
    let minute: u32 = time[14..16].parse().unwrap();
    let first = minute / WINDOWS_PER_PARTITION * WINDOWS_PER_PARTITION;
    format!("day={}/minute={first:02}", &time[..10])
}

/// What a run starts from.
#[derive(Debug, Clone, Copy)]
pub enum From<'a> {
    Nothing,
    Latest,
    Path(&'a str),
}

/// A broker, a folder and the job's settings.
pub struct Trial {
    cluster: Arc<Cluster>,
    dir: tempfile::TempDir,
    sink: Sink,
    /// `execution.checkpointing.dir`.
    pub checkpoints: String,
    /// Further options of every run, `key=value`.
    pub options: Vec<String>,
}

impl Trial {
    /// A trial whose rows go to a topic.
    pub fn to_topic() -> Self {
        Self::to(|_| Sink::Topic(OUT))
    }

    /// A trial whose rows go to files in a folder of its own.
    pub fn to_files() -> Self {
        Self::to(|dir| Sink::Files(dir.join("out")))
    }

    fn to(sink: impl FnOnce(&Path) -> Sink) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut trial = Self {
            cluster: Arc::new(Cluster::start(&[
                (IN, PARTITIONS),
                (OUT, PARTITIONS),
                (SECOND_OUT, PARTITIONS),
            ])),
            sink: sink(dir.path()),
            checkpoints: format!("file://{}", dir.path().join("checkpoints").display()),
            options: vec![],
            dir,
        };
        let sink = trial.sink.clone();
        trial.set_sink(sink);
        trial
    }

    /// Lets the rows of the runs from now on go elsewhere.
    pub fn set_sink(&mut self, sink: Sink) {
        let job = text("examples/website-traffic/job.sql");
        let fast = job.replace(
            "'execution.checkpointing.interval' = '1 s'",
            "'execution.checkpointing.interval' = '150 ms'",
        );
        assert_ne!(job, fast);
        let (head, tail) = fast.split_once("CREATE TABLE website_traffic_stats").unwrap();
        let (columns, tail) = tail.split_once(") WITH (").unwrap();
        let (options, insert) = tail.split_once(");").unwrap();
        let options = match &sink {
            Sink::Topic(topic) => options.replace(&format!("'topic' = '{OUT}'"), &format!("'topic' = '{topic}'")),
            Sink::Files(path) => format!(
                "'connector' = 'filesystem', 'path' = '{}', 'format' = 'csv'",
                path.display()
            ),
            Sink::Bucket(address) | Sink::Partitions { at: address, .. } => {
                format!("'connector' = 'filesystem', 'path' = '{address}', 'format' = 'csv'")
            }
        };
        let script = match &sink {
            Sink::Partitions { options: commit, .. } => {
                let keys = format!(
                    "SUM(traffic), DATE_FORMAT(window_start, 'yyyy-MM-dd'),
                     LPAD(CAST(CAST(DATE_FORMAT(window_start, 'mm') AS INT) / {WINDOWS_PER_PARTITION} * {WINDOWS_PER_PARTITION} AS STRING), 2, '0')"
                );
                let with_keys = insert.replace("SUM(traffic)", &keys);
                assert_ne!(insert, with_keys);
                format!(
                    "{head}CREATE TABLE website_traffic_stats{columns}, `day` STRING, `minute` STRING) PARTITIONED BY (`day`, `minute`)
                     WITH ({options}, 'sink.partition-commit.policy.kind' = 'success-file', {commit});{with_keys}"
                )
            }
            _ => format!("{head}CREATE TABLE website_traffic_stats{columns}) WITH ({options});{insert}"),
        };
        std::fs::write(self.path("job.sql"), script).unwrap();
        self.sink = sink;
    }

    /// Another place for rows of the same kind.
    pub fn another_sink(&self) -> Sink {
        match &self.sink {
            Sink::Topic(_) => Sink::Topic(SECOND_OUT),
            Sink::Files(_) => Sink::Files(self.dir.path().join("second-out")),
            Sink::Bucket(address) => Sink::Bucket(format!("{address}-2")),
            Sink::Partitions { at, options } => Sink::Partitions {
                at: format!("{at}-2"),
                options,
            },
        }
    }

    /// A path in the trial's folder.
    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// Starts the job.
    pub fn start(&self, parallelism: &str, from: From<'_>, failpoints: &str) -> Running {
        self.start_with(parallelism, from, failpoints, &[])
    }

    /// Starts the job with further arguments.
    pub fn start_with(&self, parallelism: &str, from: From<'_>, failpoints: &str, more: &[&str]) -> Running {
        self.start_as("run", parallelism, from, failpoints, more)
    }

    /// Starts the job by another command than `run`.
    pub fn start_as(
        &self,
        command: &str,
        parallelism: &str,
        from: From<'_>,
        failpoints: &str,
        more: &[&str],
    ) -> Running {
        let (script, variable) = (self.path("job.sql"), self.cluster.variable());
        let checkpoints = format!("execution.checkpointing.dir={}", self.checkpoints);
        let mut args = vec![command, &script, "--var", &variable, "-p", parallelism];
        for option in [&checkpoints, "table.local-time-zone=UTC"] {
            args.extend(["-D", option]);
        }
        for option in &self.options {
            args.extend(["-D", option]);
        }
        match from {
            From::Nothing => {}
            From::Latest => args.extend(["--restore", "latest"]),
            From::Path(path) => args.extend(["--restore", path]),
        }
        args.extend(more);
        start_with(&args, &[("FLOTT_FAILPOINTS", failpoints)])
    }

    /// Lets one of [`PHASES`] parts of the records flow into all partitions; the last one closes all windows at its end.
    pub fn feed(&self, phase: i64) -> JoinHandle<()> {
        self.feed_phases(phase..phase + 1)
    }

    /// Lets all records flow.
    pub fn feed_all(&self) -> JoinHandle<()> {
        self.feed_phases(0..PHASES)
    }

    fn feed_phases(&self, phases: std::ops::Range<i64>) -> JoinHandle<()> {
        let cluster = self.cluster.clone();
        std::thread::spawn(move || {
            for n in phases.start * PER_PHASE..phases.end * PER_PHASE {
                for partition in 0..PARTITIONS {
                    let (at_ms, line) = record(n, partition.into());
                    cluster.append(IN, partition, at_ms, &line);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            if phases.end == PHASES {
                (0..PARTITIONS).for_each(|p| cluster.append(IN, p, CLOSE_MS, "close,u,1"));
            }
        })
    }

    /// The rows that readers see now, sorted.
    pub fn rows(&self) -> Vec<String> {
        match &self.sink {
            Sink::Topic(topic) => self.cluster.values(topic),
            Sink::Files(folder) => rows_of_files(folder),
            Sink::Bucket(address) | Sink::Partitions { at: address, .. } => {
                let mut rows: Vec<String> = rows_of_objects(address, &self.options)
                    .into_values()
                    .flatten()
                    .collect();
                rows.sort();
                rows
            }
        }
    }

    /// The partitions that readers see now, by their folders. Marks are looked at first: what comes between is rows, of which a
    /// marked partition needs none.
    pub fn partitions(&self) -> BTreeMap<String, Partition> {
        let Sink::Partitions { at, .. } = &self.sink else {
            panic!("{:?} has no partitions", self.sink);
        };
        let mut partitions: BTreeMap<String, Partition> = BTreeMap::new();
        for path in objects(at, &self.options) {
            let (folder, name) = path.rsplit_once('/').unwrap();
            if !name.starts_with("part-") {
                let partition = partitions.entry(folder.to_owned()).or_default();
                partition.marks.push(name.to_owned());
            }
        }
        for (folder, rows) in rows_of_objects(at, &self.options) {
            partitions.entry(folder).or_default().rows = rows;
        }
        partitions
    }

    /// Waits until there are more than `count` rows.
    pub fn wait_for_rows(&self, count: usize, job: &mut Running) {
        wait_for(|| self.rows().len() > count || !job.is_running());
        assert!(job.is_running(), "{}", job.err());
    }

    /// The folder of the newest completed checkpoint on local disk.
    pub fn newest_checkpoint(&self) -> Option<String> {
        let folder = self.checkpoints.strip_prefix("file://")?;
        newest_checkpoint(Path::new(folder))
    }

    /// The last run, left alone until all rows are there (or would be), then stopped; gives what is wrong with the rows.
    pub fn settle(&self, from: From<'_>, failpoints: &str, patience: Duration) -> Result<(), String> {
        self.settle_at(&oracle(), from, failpoints, patience)
    }

    /// As [`Self::settle`], for other rows.
    pub fn settle_at(
        &self,
        want: &[String],
        from: From<'_>,
        failpoints: &str,
        patience: Duration,
    ) -> Result<(), String> {
        let job = self.start("3", from, failpoints);
        self.finish(want, job, patience).map(drop)
    }

    /// As [`Self::settle_at`], for a run that is under way; gives what it has left.
    pub fn finish(&self, want: &[String], mut job: Running, patience: Duration) -> Result<Ended, String> {
        let deadline = Instant::now() + patience;
        wait_for(|| self.rows().len() >= want.len() || !job.is_running() || Instant::now() > deadline);
        // Rows that come twice come late.
        std::thread::sleep(Duration::from_millis(400));
        assert!(job.is_running(), "{:?}", job.ended());
        job.terminate();
        let ended = job.ended().expect(0);
        if let Sink::Files(folder) = &self.sink {
            assert_eq!(unfinished_files(folder), Vec::<PathBuf>::new(), "after a clean stop");
        }
        compare(&self.rows(), want).map(|()| ended)
    }
}

const SECOND_OUT: &str = "website-traffic-stats-2";

/// Lines of the committed files, sorted; every file must end with a whole line.
pub fn rows_of_files(folder: &Path) -> Vec<String> {
    let mut rows = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("part-") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.ends_with('\n'), "{} is cut off", path.display());
            rows.extend(text.lines().map(str::to_owned));
        }
    }
    rows.sort();
    rows
}

/// The folder of the newest completed checkpoint of all jobs below a folder of checkpoints.
pub fn newest_checkpoint(folder: &Path) -> Option<String> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten();
        entries.map(|e| e.unwrap().path()).collect()
    };
    let number = |path: &Path| -> Option<u64> { path.file_name()?.to_str()?.strip_prefix("chk-")?.parse().ok() };
    let is_complete = |path: &PathBuf| {
        let files = folders(path);
        files.iter().any(|f| {
            let name = f.file_name().unwrap().to_string_lossy();
            // One that a kill has cut off has another name.
            name.strip_prefix("manifest-g")
                .is_some_and(|generation| generation.parse::<u64>().is_ok())
        })
    };
    let jobs = folders(folder);
    let checkpoints = jobs.iter().flat_map(|job| folders(job)).filter(is_complete);
    let newest = checkpoints.filter_map(|c| Some((number(&c)?, c))).max()?;
    Some(newest.1.to_str().unwrap().to_owned())
}

/// Files that are not committed.
pub fn unfinished_files(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten();
    let hidden = files.map(|e| e.unwrap().path());
    hidden
        .filter(|p| p.file_name().unwrap().to_string_lossy().starts_with('.'))
        .collect()
}

/// `rows` without `taken`, each as often as it is there.
pub fn without(rows: &[String], taken: &[String]) -> Vec<String> {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    taken.iter().for_each(|row| *left.entry(row).or_default() += 1);
    let keep = |row: &&String| match left.get_mut(row.as_str()) {
        Some(n @ 1..) => {
            *n -= 1;
            false
        }
        _ => true,
    };
    rows.iter().filter(keep).cloned().collect()
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

/// The rows that must come out of all records, sorted.
pub fn oracle() -> Vec<String> {
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
///
/// # Errors
/// If anything is.
pub fn compare(got: &[String], want: &[String]) -> Result<(), String> {
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
