//! Runs a program in several lives: each ends behind a checkpoint, at a place of its input that the test chooses, and the next goes
//! on from there, at another parallelism if the test says so.

use async_trait::async_trait;
use flott::datastream::{Executor, Program, Records, TypedSource};
use flott::prelude::*;
use flott::runtime::connector::{Boundedness, ConnectorError, ReaderPoll, Split};
use flott::runtime::{OperatorContext, Source, SourceReader, SplitEnumerator, TaskError};
use flott_cluster::{Restore, Submission, submit};
use flott_core::clock::{ManualClock, SharedClock, SystemClock};
use flott_core::{CheckpointId, Options};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How far the sources of a program go in one life, and in how many subtasks its operators run.
#[derive(Clone)]
pub struct Life {
    /// Records that each source has handed out by its end, in all lives so far.
    pub until: Vec<usize>,
    pub parallelism: usize,
    /// What the clock shows; the machine's, if `None`.
    pub now_ms: Option<i64>,
    /// Rows of keyed state that memory holds; all, if `None`.
    pub hot_rows: Option<&'static str>,
}

pub fn life(until: &[usize], parallelism: usize) -> Life {
    Life {
        until: until.to_vec(),
        parallelism,
        now_ms: None,
        hot_rows: None,
    }
}

impl Life {
    pub fn at(mut self, now_ms: i64) -> Self {
        self.now_ms = Some(now_ms);
        self
    }

    /// With so few rows of keyed state in memory; the others lie where the backend keeps them: in RocksDB, if it is built in.
    pub fn tiered(mut self, hot_rows: &'static str) -> Self {
        self.hot_rows = Some(hot_rows);
        self
    }
}

/// Gives a program its sources.
#[derive(Clone, Default)]
pub struct Lives(Arc<Mutex<Progress>>);

#[derive(Default)]
struct Progress {
    until: Vec<usize>,
    handed_out: Vec<usize>,
    total: Vec<usize>,
}

impl Lives {
    /// Source `number` (from 0) of some records, one a batch.
    pub fn source<T: Data>(
        &self,
        env: &StreamExecutionEnvironment,
        number: usize,
        records: impl IntoIterator<Item = T>,
        strategy: &WatermarkStrategy<T>,
    ) -> DataStream<T> {
        let records: Arc<[T]> = records.into_iter().collect();
        let mut progress = self.0.lock().unwrap();
        let sources = progress.total.len().max(number + 1);
        progress.total.resize(sources, 0);
        progress.total[number] = records.len();
        let source = Scripted {
            number,
            records,
            lives: self.clone(),
        };
        env.from_source(source, strategy, "script").set_parallelism(1)
    }

    fn begin(&self, life: &Life) {
        let mut progress = self.0.lock().unwrap();
        progress.until = life.until.clone();
        progress.handed_out.resize(life.until.len(), 0);
    }

    /// Whether all sources are where this life ends, and before their ends.
    fn is_over(&self) -> bool {
        let progress = self.0.lock().unwrap();
        progress
            .handed_out
            .iter()
            .zip(&progress.until)
            .all(|(n, until)| n >= until)
            && progress.until != progress.total
    }
}

/// What a program gives in all its lives, in order of coming.
pub fn run<U: Data>(lives: &[Life], describe: impl Fn(&StreamExecutionEnvironment, &Lives) -> DataStream<U>) -> Vec<U> {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let progress = Lives::default();
    let seen = Arc::new(Mutex::new(vec![]));
    for life in lives {
        let fixed = [
            ("execution.checkpointing.dir", url.as_str()),
            ("execution.checkpointing.interval", "1 h"),
            ("execution.exchange.encoded", "true"),
            ("execution.buffer-timeout.interval", "0"),
            ("pipeline.auto-watermark-interval", "0"),
            ("restart-strategy.type", "none"),
        ];
        let mut all: Options = fixed.into_iter().collect();
        if let Some(hot_rows) = life.hot_rows {
            all.set("state.backend.hot-rows", hot_rows);
            all.set(
                "state.backend.type",
                if cfg!(feature = "rocksdb") {
                    "rocksdb"
                } else {
                    "hashmap"
                },
            );
            all.set("execution.checkpointing.incremental", "true");
            all.set(
                "state.backend.rocksdb.localdir",
                folder.path().join("rocks").display().to_string(),
            );
        }
        let clock: SharedClock = match life.now_ms {
            Some(now_ms) => ManualClock::at(now_ms),
            None => Arc::new(SystemClock),
        };
        let env = StreamExecutionEnvironment::new(Stopping {
            options: all,
            clock,
            lives: progress.clone(),
        });
        env.set_parallelism(life.parallelism);
        let sink = seen.clone();
        let stream = describe(&env, &progress);
        stream.for_each(move |record| sink.lock().unwrap().push(record));
        progress.begin(life);
        env.execute("lives").unwrap();
    }
    Arc::try_unwrap(seen).map_or_else(|held| held.lock().unwrap().clone(), |seen| seen.into_inner().unwrap())
}

/// Runs a job until its sources are where they shall be, then stops it behind a checkpoint.
struct Stopping {
    options: Options,
    clock: SharedClock,
    lives: Lives,
}

impl Executor for Stopping {
    fn options(&self) -> Result<Options, ExecuteError> {
        Ok(self.options.clone())
    }

    fn execute_async(&self, _program: Program) -> Result<JobClient, ExecuteError> {
        Err(ExecuteError::Job("lives are run to their ends".to_owned()))
    }

    fn execute(&self, program: Program) -> Result<flott::prelude::JobExecutionResult, ExecuteError> {
        let (plan, registry) = program.into_parts(flott::registry());
        let submission = Submission {
            plan,
            restore: Restore::Latest,
            allow_non_restored_state: false,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let handle = submit(Arc::new(registry), self.clock.clone(), submission)
                .await
                .map_err(|e| ExecuteError::Job(e.to_string()))?;
            let mut waits = 0;
            while !handle.status().is_globally_terminal_state() {
                if self.lives.is_over() {
                    handle.stop();
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                waits += 1;
                assert!(waits < 30_000, "the job does not come to the end of its life");
            }
            handle.ended().await;
            match handle.stats.failure() {
                Some(failure) => Err(ExecuteError::Job(failure)),
                None => Ok(JobExecutionResult {
                    job_id: handle.job_id.to_string(),
                    net_runtime: Duration::ZERO,
                }),
            }
        })
    }
}

struct Scripted<T> {
    number: usize,
    records: Arc<[T]>,
    lives: Lives,
}

impl<T: Data> TypedSource for Scripted<T> {
    type Out = T;
}

impl<T: Data> Source for Scripted<T> {
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        Ok(Box::new(OneSplit(restored.is_some())))
    }

    fn reader(&self, _ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        Ok(Box::new(ScriptReader {
            number: self.number,
            records: self.records.clone(),
            lives: self.lives.clone(),
            position: None,
            is_complete: false,
        }))
    }
}

/// One split, found once.
pub struct OneSplit(pub bool);

#[async_trait]
impl SplitEnumerator for OneSplit {
    async fn discover(&mut self) -> Result<Vec<Split>, ConnectorError> {
        let first = Split {
            id: "script".to_owned(),
            state: vec![0; 8],
        };
        Ok(match std::mem::replace(&mut self.0, true) {
            true => vec![],
            false => vec![first],
        })
    }

    fn discovery_interval(&self) -> Option<Duration> {
        None
    }

    fn owner(&self, _split: &Split, _parallelism: usize) -> usize {
        0
    }

    fn snapshot(&self) -> Vec<u8> {
        vec![]
    }
}

struct ScriptReader<T> {
    number: usize,
    records: Arc<[T]>,
    lives: Lives,
    position: Option<usize>,
    is_complete: bool,
}

impl<T: Data> SourceReader for ScriptReader<T> {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        for split in splits {
            let state: [u8; 8] = split.state.as_slice().try_into().unwrap();
            self.position = Some(u64::from_le_bytes(state) as usize);
        }
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.is_complete = true;
    }

    fn poll(&mut self, now_ms: i64) -> Result<ReaderPoll, TaskError> {
        let Some(position) = self.position else {
            return Ok(match self.is_complete {
                true => ReaderPoll::Finished,
                false => ReaderPoll::Idle { until_ms: None },
            });
        };
        let mut progress = self.lives.0.lock().unwrap();
        if position == self.records.len() {
            self.position = None;
            return Ok(ReaderPoll::SplitFinished(0));
        }
        if position >= progress.until[self.number] {
            return Ok(ReaderPoll::Idle {
                until_ms: Some(now_ms + 1),
            });
        }
        progress.handed_out[self.number] = position + 1;
        self.position = Some(position + 1);
        Ok(ReaderPoll::Batch {
            split: 0,
            batch: Records::of(vec![self.records[position].clone()]).into_batch(),
        })
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        let split = |position: usize| Split {
            id: "script".to_owned(),
            state: (position as u64).to_le_bytes().to_vec(),
        };
        Ok(self.position.map(split).into_iter().collect())
    }

    fn is_active(&self, _split: usize) -> bool {
        self.position.is_some()
    }
}
