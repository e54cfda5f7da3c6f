//! Runs a golden's script on the real machinery in this process, straight or varied, and counts what was really done.

use crate::capture::{Capture, Captured, ToFiles, lines_of_files};
use crate::goldens::{Golden, benchmark_line};
use crate::stepped::Steps;
use flott_cluster::{JobHandle, JobStatus, Restore, Submission, submit};
use flott_core::Options;
use flott_core::clock::SystemClock;
use flott_plan::Plan;
use flott_runtime::Registry;
use flott_sql::script::COLLECT;
use flott_sql::{Outcome, Script, Session};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Longest time that one life of a job may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// What is done differently.
#[derive(Clone, Copy, Default)]
pub struct Variation {
    /// Options of the job.
    pub options: &'static [(&'static str, &'static str)],
    /// Whether the job is stopped and restored again and again.
    pub stops: Option<Stops>,
}

/// How a job is stopped and restored.
#[derive(Clone, Copy)]
pub struct Stops {
    /// Batches that each reader hands out between two barriers. The first barrier comes before the first batch.
    pub every_batches: usize,
    /// The parallelism of each life, in turn.
    pub parallelisms: &'static [usize],
    /// How each life ends.
    pub by: StoppedBy,
}

/// How a life of a job ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum StoppedBy {
    /// It is stopped behind a barrier; sinks show at once what they get.
    Stop,
    /// It is broken off after a checkpoint and further batches, which the next life must read again; sinks show what is
    /// committed.
    Crash,
}

/// What was really done.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    /// Jobs that started from a checkpoint.
    pub restores: u64,
    /// Restores at another parallelism than the state was written at.
    pub rescales: u64,
    /// Rows that were written and given up, because a life was broken off.
    pub given_up: u64,
    /// Frames that exchanges encoded.
    pub frames: u64,
    /// Exchanges in the plans' job graphs that carried rows.
    pub exchanged_rows: u64,
    /// Rows that operators took.
    pub rows: u64,
    /// Batches that they came in.
    pub batches: u64,
    /// The most rows of an operator's batches on the average, over all operators.
    pub mean_batch_rows: u64,
    /// Rows of the largest batch that a sink got.
    pub largest_batch: usize,
}

impl Counts {
    fn add(&mut self, job: &JobHandle) {
        for (_, _, task) in job.stats.tasks() {
            self.frames += task.buffers_out.get();
            self.exchanged_rows += task.records_in.get();
            for (_, operator) in &task.operators {
                let (rows, batches) = (operator.records_in.get(), operator.batches_in.get());
                // A source takes rows without batches.
                if batches > 0 {
                    self.rows += rows;
                    self.batches += batches;
                    self.mean_batch_rows = self.mean_batch_rows.max(rows / batches);
                }
            }
        }
    }

    /// Adds those of another run.
    pub fn merge(&mut self, other: &Self) {
        self.restores += other.restores;
        self.rescales += other.rescales;
        self.given_up += other.given_up;
        self.frames += other.frames;
        self.exchanged_rows += other.exchanged_rows;
        self.rows += other.rows;
        self.batches += other.batches;
        self.mean_batch_rows = self.mean_batch_rows.max(other.mean_batch_rows);
        self.largest_batch = self.largest_batch.max(other.largest_batch);
    }
}

/// What a script came to.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its rows, with kinds, in the order in which they came.
    pub rows: Vec<String>,
    /// Why it failed.
    pub failure: Option<String>,
    /// What was done.
    pub counts: Counts,
}

/// Runs scripts, one after the other.
pub struct Engine {
    runtime: Runtime,
}

impl Engine {
    /// An engine of its own.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Self { runtime }
    }

    /// Runs a script to its end.
    pub fn run(&self, golden: &Golden, variation: &Variation) -> Run {
        // Thousands of checkpoints: in memory where the system has a folder there, since no test here asks for the disk.
        let folder = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let captured = Captured::default();
        let written = folder.path().join("written");
        let mut registry = flott::registry();
        let filesystem = registry.find_connector("filesystem").unwrap().clone();
        for name in [COLLECT, "print"] {
            registry.connector(Capture {
                name,
                rows: captured.clone(),
                is_exactly_once: variation.stops.is_some_and(|s| s.by == StoppedBy::Crash),
            });
        }
        if let Some(pairs) = &golden.file {
            let path = written.display().to_string();
            let fixed = [("connector", "filesystem"), ("path", path.as_str())];
            let own = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str()));
            registry.connector(ToFiles {
                name: COLLECT,
                filesystem,
                options: fixed.into_iter().chain(own).collect(),
            });
        }
        let steps = Steps::default();
        if variation.stops.is_some() {
            steps.control(&mut registry);
        }
        let registry = Arc::new(registry);
        let mut counts = Counts::default();
        let mut failure = None;
        for index in 0.. {
            let checkpoints = folder.path().join(format!("checkpoints-{index}")).display().to_string();
            let job = Job {
                golden,
                variation,
                registry: &registry,
                steps: &steps,
                checkpoints: &checkpoints,
                index,
            };
            match self.runtime.block_on(job.run(&mut counts)) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        counts.largest_batch = captured.largest_batch();
        counts.given_up = captured.given_up() as u64;
        let rows = match &golden.file {
            Some(_) => lines_of_files(&written),
            None if golden.is_benchmark => captured.lines().iter().map(|l| benchmark_line(l)).collect(),
            None => captured.lines(),
        };
        Run { rows, failure, counts }
    }
}

/// One of the jobs of a script.
struct Job<'a> {
    golden: &'a Golden,
    variation: &'a Variation,
    registry: &'a Arc<Registry>,
    steps: &'a Steps,
    checkpoints: &'a str,
    index: usize,
}

impl Job<'_> {
    /// Its plan at a parallelism; `None` if the script has no such job.
    fn plan(&self, parallelism: usize) -> Result<Option<Plan>, String> {
        let parallelism = parallelism.to_string();
        let mut options: Vec<(&str, &str)> = vec![
            ("table.local-time-zone", "UTC"),
            ("parallelism.default", &parallelism),
            ("restart-strategy.type", "none"),
        ];
        if let Some(stops) = self.variation.stops {
            options.push(("execution.checkpointing.dir", self.checkpoints));
            if stops.by == StoppedBy::Crash {
                options.push(("execution.checkpointing.interval", "3 ms"));
            }
        }
        options.extend(self.variation.options);
        let variables = |name: &str| {
            let mut variables = self.golden.variables.iter();
            variables.find(|(n, _)| *n == name).map(|(_, value)| value.clone())
        };
        let script = Script::parse(&self.golden.text, &variables).map_err(|e| e.to_string())?;
        let mut session = Session::new(self.registry.clone(), options.into_iter().collect::<Options>());
        let mut jobs = 0;
        for statement in script.statements() {
            if let Outcome::Job(job) = session.execute(&script, statement).map_err(|e| e.to_string())? {
                if jobs == self.index {
                    return Ok(Some(job.plan));
                }
                jobs += 1;
            }
        }
        Ok(None)
    }

    /// Runs it to its end; `false` if the script has no such job, the text is why it failed.
    async fn run(&self, counts: &mut Counts) -> Result<bool, String> {
        let Some(stops) = self.variation.stops else {
            let Some(plan) = self.plan(1)? else { return Ok(false) };
            let job = self.submit(plan, Restore::Fresh).await?;
            let ended = ended(&job).await;
            counts.add(&job);
            return ended.map(|()| true);
        };
        let mut before = None;
        for life in 0.. {
            let parallelism = stops.parallelisms[life % stops.parallelisms.len()];
            let Some(plan) = self.plan(parallelism)? else {
                return Ok(false);
            };
            let batches = if life == 0 { 0 } else { stops.every_batches };
            self.steps.begin(&plan, batches);
            let job = self.submit(plan, Restore::Latest).await?;
            if job.restored_from.is_some() != (life > 0) {
                return Err(format!("life {life} started from {:?}", job.restored_from));
            }
            counts.restores += u64::from(life > 0);
            counts.rescales += u64::from(before.is_some_and(|p| p != parallelism));
            before = Some(parallelism);
            let mut goes_on = self.settled(&job).await;
            match stops.by {
                StoppedBy::Stop if goes_on => job.stop(),
                StoppedBy::Crash if goes_on => {
                    // The one under way may have begun before the readers stopped.
                    let completed = job.stats.checkpoints().completed;
                    while job.stats.checkpoints().completed < completed + 2
                        && !job.status().is_globally_terminal_state()
                    {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    self.steps.go_on(stops.every_batches);
                    goes_on = self.settled(&job).await;
                    if goes_on {
                        job.cancel();
                    }
                }
                _ => {}
            }
            let ended = ended(&job).await;
            counts.add(&job);
            ended.map_err(|e| format!("life {life} at parallelism {parallelism}: {e}"))?;
            if !goes_on {
                break;
            }
        }
        Ok(true)
    }

    /// Waits until the readers have gone as far as they may; `false` if they are at their ends, or the job is.
    async fn settled(&self, job: &JobHandle) -> bool {
        tokio::select! {
            stopped = self.steps.settled() => stopped,
            _ = job.ended() => false,
        }
    }

    async fn submit(&self, plan: Plan, restore: Restore) -> Result<JobHandle, String> {
        let submission = Submission {
            plan,
            restore,
            allow_non_restored_state: false,
        };
        submit(self.registry.clone(), Arc::new(SystemClock), submission)
            .await
            .map_err(|e| e.to_string())
    }
}

/// Waits for a job's end; the text is why it failed.
async fn ended(job: &JobHandle) -> Result<(), String> {
    match tokio::time::timeout(DEADLINE, job.ended()).await {
        Ok(JobStatus::Finished | JobStatus::Canceled) => Ok(()),
        Ok(status) => Err(format!("{status}: {}", job.stats.failure().unwrap_or_default())),
        Err(_) => {
            job.cancel();
            Err("not done in time".into())
        }
    }
}

/// Rows that are left when a changelog has been applied.
pub fn final_rows(lines: &[String]) -> Vec<String> {
    let mut bag: BTreeMap<&str, i64> = BTreeMap::new();
    for line in lines {
        let (kind, row) = line.split_at(2);
        *bag.entry(row).or_default() += if matches!(kind, "+I" | "+U") { 1 } else { -1 };
    }
    // A row that was taken away more often than it came shows as what it is.
    let text = |(row, count): (&str, i64)| {
        let sign = if count < 0 { "missing " } else { "" };
        std::iter::repeat_n(format!("{sign}{row}"), count.unsigned_abs() as usize)
    };
    bag.into_iter().flat_map(text).collect()
}

/// How two answers differ; `whose` names the expected one.
pub fn difference(name: &str, rows: &[String], expected: &[String], in_order: bool, whose: &str) -> Option<String> {
    let (rows, expected) = match in_order {
        true => (rows.to_vec(), expected.to_vec()),
        false => (final_rows(rows), final_rows(expected)),
    };
    (rows != expected).then(|| {
        let missing: Vec<&String> = expected.iter().filter(|r| !rows.contains(r)).take(20).collect();
        let extra: Vec<&String> = rows.iter().filter(|r| !expected.contains(r)).take(20).collect();
        format!(
            "{name}: {} rows, {whose} {}\n  only {whose}: {missing:#?}\n  only here: {extra:#?}",
            rows.len(),
            expected.len()
        )
    })
}
