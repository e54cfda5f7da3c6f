//! The operator harness: [`HarnessBuilder`] opens a [`Harness`].

use crate::error::HarnessError;
use crate::metrics::{self, Metric};
use crate::output::{Collected, Output, StreamRecord};
use flott::prelude::{Data, DataStream, ExecuteError, JobClient, OutputTag, StreamExecutionEnvironment};
use flott_cluster::stepped::StateEntries;
use flott_cluster::{Restore, SteppedJob, Submission};
use flott_core::Options;
use flott_core::clock::{Clock, ManualClock};
use flott_datastream::{Executor, Program};
use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Longest wait for outputs that something outside must bring.
const OUTPUT_DEADLINE: Duration = Duration::from_secs(60);

/// How long the thread sleeps where something outside must come first.
const NAP: Duration = Duration::from_millis(1);

/// An asynchronous runtime that may be dropped anywhere.
pub(crate) struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    pub(crate) fn new() -> Result<Self, std::io::Error> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Ok(Self(Some(builder.worker_threads(2).enable_all().build()?)))
    }

    pub(crate) fn handle(&self) -> &tokio::runtime::Handle {
        let runtime = self.0.as_ref().expect("only drop() takes the runtime out");
        runtime.handle()
    }

    /// Runs `code` where it finds this runtime.
    pub(crate) fn within<R>(&self, code: impl FnOnce() -> R) -> R {
        let _entered = self.handle().enter();
        code()
    }

    /// Waits for what `make` makes, also where the test itself runs on an asynchronous runtime.
    pub(crate) fn wait<F: Future>(&self, make: impl FnOnce() -> F + Send) -> F::Output
    where
        F::Output: Send,
    {
        let handle = self.handle();
        std::thread::scope(|scope| scope.spawn(|| handle.block_on(async { make().await })).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The state of all operators of a harness at one moment: a savepoint in a folder that goes with the last clone of it.
#[derive(Debug, Clone)]
pub struct HarnessSnapshot {
    path: String,
    _folder: Arc<TempDir>,
}

impl HarnessSnapshot {
    /// Where the savepoint lies, for tools that read savepoints.
    pub fn path(&self) -> &str {
        &self.path
    }
}

type Sides = HashMap<String, Box<dyn Any + Send>>;
type Describe<I, U> = Box<dyn FnOnce(&StreamExecutionEnvironment) -> (I, DataStream<U>)>;
type CollectSide<U> = Box<dyn FnOnce(&DataStream<U>, &mut Sides)>;

/// What a harness is to run, and where it starts.
pub struct HarnessBuilder<I, U> {
    describe: Describe<I, U>,
    sides: Vec<CollectSide<U>>,
    parallelism: usize,
    max_parallelism: Option<usize>,
    now_ms: i64,
    options: Options,
    restore: Option<HarnessSnapshot>,
    allow_non_restored_state: bool,
}

impl<I, U> fmt::Debug for HarnessBuilder<I, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HarnessBuilder")
            .field("parallelism", &self.parallelism)
            .field("restore", &self.restore)
            .finish_non_exhaustive()
    }
}

impl<I, U: Data> HarnessBuilder<I, U> {
    pub(crate) fn new(describe: impl FnOnce(&StreamExecutionEnvironment) -> (I, DataStream<U>) + 'static) -> Self {
        Self {
            describe: Box::new(describe),
            sides: vec![],
            parallelism: 1,
            max_parallelism: None,
            now_ms: 0,
            options: Options::new(),
            restore: None,
            allow_non_restored_state: false,
        }
    }

    /// Number of subtasks of the tested operators; 1, if nothing is said. Only with one are outputs in order.
    pub fn with_parallelism(mut self, parallelism: usize) -> Self {
        self.parallelism = parallelism;
        self
    }

    /// Number of key groups of the tested operators.
    pub fn with_max_parallelism(mut self, max_parallelism: usize) -> Self {
        self.max_parallelism = Some(max_parallelism);
        self
    }

    /// What the clock shows in the beginning, in milliseconds; 0, if nothing is said.
    pub fn with_processing_time(mut self, now_ms: i64) -> Self {
        self.now_ms = now_ms;
        self
    }

    /// Sets an option of the job by Flink's name. Unlike in jobs, `pipeline.auto-watermark-interval` and
    /// `execution.buffer-timeout.interval` are 0, so that nothing waits for the clock.
    pub fn with_option(mut self, key: &str, value: &str) -> Self {
        self.options.set(key, value);
        self
    }

    /// Keeps what the tested stream emits to a side output: [`Harness::take_side_output`].
    pub fn with_side_output<X: Data>(mut self, tag: &OutputTag<X>) -> Self {
        let tag = tag.clone();
        self.sides.push(Box::new(move |stream, sides| {
            let collected = Collected::<X>::new();
            let name = format!("harness-side-output-{}", tag.id());
            collected.collect(&stream.get_side_output(&tag), &name);
            sides.insert(tag.id().to_owned(), Box::new(collected));
        }));
        self
    }

    /// Starts from the state of another harness, of the same operators or of later versions of them.
    pub fn restore(mut self, snapshot: &HarnessSnapshot) -> Self {
        self.restore = Some(snapshot.clone());
        self
    }

    /// State of operators that are not tested any more is left behind; otherwise [`Self::open`] refuses it.
    pub fn allow_non_restored_state(mut self) -> Self {
        self.allow_non_restored_state = true;
        self
    }

    /// Opens the operators, with their state if there is any.
    ///
    /// # Errors
    /// If the streams are no job, an operator cannot be opened, or state cannot be restored; the text says why.
    pub fn open(self) -> Result<Harness<I, U>, HarnessError> {
        let mut options: Options = [
            ("execution.exchange.encoded", "true"),
            ("execution.buffer-timeout.interval", "0"),
            ("pipeline.auto-watermark-interval", "0"),
        ]
        .into_iter()
        .collect();
        options.merge(&self.options);
        let env = StreamExecutionEnvironment::new(NotExecuted { options });
        env.set_parallelism(self.parallelism);
        if let Some(max_parallelism) = self.max_parallelism {
            env.set_max_parallelism(max_parallelism);
        }
        let (inputs, stream) = (self.describe)(&env);
        let mut sides = Sides::new();
        for collect in self.sides {
            collect(&stream, &mut sides);
        }
        let output = Collected::new();
        output.collect(&stream, "harness-output");
        let (plan, registry) = env.program("harness")?.into_parts(flott::registry());
        let clock = ManualClock::at(self.now_ms);
        let submission = Submission {
            plan,
            restore: Restore::from_path(self.restore.as_ref().map(HarnessSnapshot::path)),
            allow_non_restored_state: self.allow_non_restored_state,
        };
        let runtime = OwnRuntime::new().map_err(HarnessError::Runtime)?;
        let of_job = clock.clone();
        let job = runtime.wait(move || SteppedJob::start(Arc::new(registry), of_job, submission))?;
        let mut harness = Harness {
            inputs,
            job,
            clock,
            output,
            sides,
            runtime,
        };
        harness.run()?;
        Ok(harness)
    }
}

/// Plans programs only.
struct NotExecuted {
    options: Options,
}

impl Executor for NotExecuted {
    fn options(&self) -> Result<Options, ExecuteError> {
        Ok(self.options.clone())
    }

    fn execute_async(&self, _program: Program) -> Result<JobClient, ExecuteError> {
        let text = "a harness runs the streams that it is given: do not call execute() in their description";
        Err(ExecuteError::Job(text.to_owned()))
    }
}

/// Operators that a test drives, by hand and on its own thread. Each call returns when all that it caused has happened, timers that are due
/// included. Functions are closed when the harness is dropped.
pub struct Harness<I, U> {
    pub(crate) inputs: I,
    job: SteppedJob,
    clock: Arc<ManualClock>,
    output: Collected<U>,
    sides: Sides,
    // Last: what is above may still use it.
    runtime: OwnRuntime,
}

impl<I, U> Drop for Harness<I, U> {
    fn drop(&mut self) {
        let Self { job, runtime, .. } = self;
        runtime.within(|| job.close());
    }
}

impl<I: fmt::Debug, U> fmt::Debug for Harness<I, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness")
            .field("inputs", &self.inputs)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

impl<I, U: Data> Harness<I, U> {
    pub(crate) fn run(&mut self) -> Result<(), HarnessError> {
        let Self { job, runtime, .. } = self;
        Ok(runtime.within(|| job.run())?)
    }

    /// Moves the clock and calls what is due.
    ///
    /// # Errors
    /// If time would go back, or an operator fails.
    pub fn set_processing_time(&mut self, now_ms: i64) -> Result<(), HarnessError> {
        let before_ms = self.clock.now_ms();
        if now_ms < before_ms {
            return Err(HarnessError::Clock {
                now_ms: before_ms,
                asked_ms: now_ms,
            });
        }
        self.clock.set(now_ms);
        self.run()
    }

    /// What the clock shows, in milliseconds.
    pub fn processing_time(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Takes all that came out, watermarks included, in order.
    pub fn take_output(&mut self) -> Vec<Output<U>> {
        std::mem::take(&mut *self.output.outputs())
    }

    /// Takes the records that came out.
    pub fn take_records(&mut self) -> Vec<StreamRecord<U>> {
        self.output.take_records()
    }

    /// Takes the values of the records that came out.
    pub fn take_values(&mut self) -> Vec<U> {
        self.take_records().into_iter().map(|record| record.value).collect()
    }

    /// Takes the records that came out of a side output; none, unless the harness was told to keep them
    /// ([`HarnessBuilder::with_side_output`]).
    pub fn take_side_output<X: Data>(&mut self, tag: &OutputTag<X>) -> Vec<StreamRecord<X>> {
        let collected = self
            .sides
            .get(tag.id())
            .and_then(|side| side.downcast_ref::<Collected<X>>());
        collected.map(Collected::take_records).unwrap_or_default()
    }

    /// Waits until so many records came out that were not taken yet: for operators that wait for something outside, as asynchronous
    /// functions do.
    ///
    /// # Errors
    /// If an operator fails, or after a minute.
    pub fn wait_for_records(&mut self, records: usize) -> Result<(), HarnessError> {
        let deadline = Instant::now() + OUTPUT_DEADLINE;
        loop {
            self.run()?;
            let outputs = self.output.outputs();
            let found = outputs.iter().filter(|o| matches!(o, Output::Record(_))).count();
            drop(outputs);
            if found >= records {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(HarnessError::Waited {
                    waited_s: OUTPUT_DEADLINE.as_secs(),
                    wanted: records,
                    found,
                });
            }
            std::thread::sleep(NAP);
        }
    }

    /// Takes a snapshot as a checkpoint does: a barrier passes, operators capture their state, and it is encoded and written. The harness
    /// goes on.
    ///
    /// # Errors
    /// If an operator fails, or the snapshot cannot be written.
    pub fn snapshot(&mut self) -> Result<HarnessSnapshot, HarnessError> {
        let folder = tempfile::tempdir().map_err(HarnessError::Folder)?;
        let url = format!("file://{}", folder.path().display());
        let Self { job, runtime, .. } = self;
        let path = runtime.wait(|| job.savepoint(&url))?;
        Ok(HarnessSnapshot {
            path,
            _folder: Arc::new(folder),
        })
    }

    /// What each operator holds. A barrier passes, as for a snapshot.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn state_entries(&mut self) -> Result<Vec<StateEntries>, HarnessError> {
        let Self { job, runtime, .. } = self;
        Ok(runtime.within(|| job.state_entries())?)
    }

    fn count(&mut self, counts: impl Fn(&StateEntries) -> bool) -> Result<usize, HarnessError> {
        let entries = self.state_entries()?;
        Ok(entries.iter().filter(|e| counts(e)).map(|e| e.count).sum())
    }

    /// Keys that have state, summed over the operators. All states of a function are one entry of a key.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn num_keyed_state_entries(&mut self) -> Result<usize, HarnessError> {
        self.count(|e| e.is_keyed && !e.state.ends_with("-timers"))
    }

    /// Timers that wait for event time. Windows of one size that fire once, at their end, need none.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn num_event_time_timers(&mut self) -> Result<usize, HarnessError> {
        self.count(|e| e.is_keyed && e.state.ends_with("event-time-timers"))
    }

    /// Timers that wait for processing time.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn num_processing_time_timers(&mut self) -> Result<usize, HarnessError> {
        self.count(|e| e.is_keyed && e.state.ends_with("processing-time-timers"))
    }

    /// All metrics of the operators, those that functions registered included.
    pub fn metrics(&self) -> Vec<Metric> {
        metrics::of_tasks(self.job.tasks())
    }

    /// A metric of the operators whose names hold `operator`, summed over operators and subtasks; `None` if none has it.
    pub fn metric(&self, operator: &str, name: &str) -> Option<f64> {
        metrics::sum(&self.metrics(), operator, name)
    }
}
