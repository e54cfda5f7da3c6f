//! Where a program begins: [`StreamExecutionEnvironment`].

use crate::client::JobClient;
use crate::connector::TypedSource;
use crate::function::BoxError;
use crate::graph::{Defaults, Graph, ProgramError, Register, Roots};
use crate::operators::sink::Collect;
use crate::records::Data;
use crate::runtime_mode::{self, RuntimeMode};
use crate::socket::{Reconnect, SocketSource};
use crate::source::{Counted, GENERATOR_LANES};
use crate::stream::DataStream;
use crate::time::WatermarkStrategy;
use flott_core::Options;
use flott_plan::{JobGraph, Plan};
use flott_runtime::connector::ConnectorError;
use flott_runtime::{Registry, Source};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What an [`Executor`] runs: a plan and the factories of its operators.
pub struct Program {
    /// The job.
    pub plan: Plan,
    register: Vec<Register>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl Program {
    /// Slots that the job needs: those of all its slot sharing groups ([`DataStream::slot_sharing_group`]).
    pub fn slots(&self) -> usize {
        self.slots_by_group().values().sum()
    }

    /// Slots that each slot sharing group needs: as many as its widest operator has subtasks.
    pub fn slots_by_group(&self) -> BTreeMap<String, usize> {
        let graph = JobGraph::of(&self.plan, true);
        let slots = graph.slots_by_group().into_iter();
        slots.map(|(group, slots)| (group.to_owned(), slots)).collect()
    }

    /// The plan, and `registry` with the factories of the program's operators.
    pub fn into_parts(self, mut registry: Registry) -> (Plan, Registry) {
        for register in self.register {
            register(&mut registry);
        }
        (self.plan, registry)
    }
}

/// What an executed job came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobExecutionResult {
    /// Id of the job.
    pub job_id: String,
    /// From its submission to its end.
    pub net_runtime: Duration,
}

/// The job could not be planned, started or brought to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The program is no job.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A connector's settings are wrong.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// Options from outside the program (files, environment, command line) cannot be read, or the process cannot serve its jobs.
    #[error("{0}")]
    Configuration(String),
    /// It was refused, or it failed; the text names the place.
    #[error("{0}")]
    Job(String),
}

/// Who runs programs: a cluster in this process, or one elsewhere.
pub trait Executor {
    /// The options that the program starts from: files, environment, command line.
    ///
    /// # Errors
    /// If they cannot be read.
    fn options(&self) -> Result<Options, ExecuteError>;

    /// Starts a job, which runs beside the program.
    ///
    /// # Errors
    /// If it is refused.
    fn execute_async(&self, program: Program) -> Result<JobClient, ExecuteError>;

    /// Runs a job to its end.
    ///
    /// # Errors
    /// If it is refused or fails.
    fn execute(&self, program: Program) -> Result<JobExecutionResult, ExecuteError> {
        self.execute_async(program)?.get_job_execution_result()
    }
}

/// Shared by all streams of an environment.
pub(crate) type SharedGraph = Rc<RefCell<Graph>>;

/// The context of a program: makes sources, holds settings, executes.
///
/// Settings of the program win over those from outside: an operator's `set_parallelism`, then the environment's, then `-p` of the command
/// line, then `parallelism.default` of a configuration file, where the environment reads these (`get_execution_environment` does).
#[derive(Clone)]
pub struct StreamExecutionEnvironment {
    graph: SharedGraph,
    settings: Rc<RefCell<Settings>>,
    executor: Arc<dyn Executor>,
}

#[derive(Default)]
struct Settings {
    options: Options,
    parallelism: Option<usize>,
    max_parallelism: Option<usize>,
}

impl fmt::Debug for StreamExecutionEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamExecutionEnvironment")
    }
}

impl StreamExecutionEnvironment {
    /// An environment whose jobs `executor` runs.
    pub fn new(executor: impl Executor + 'static) -> Self {
        Self {
            graph: SharedGraph::default(),
            settings: Rc::default(),
            executor: Arc::new(executor),
        }
    }

    /// Number of subtasks of every operator that says nothing itself.
    pub fn set_parallelism(&self, parallelism: usize) -> &Self {
        self.settings.borrow_mut().parallelism = Some(parallelism);
        self
    }

    /// The number of subtasks of every operator that says nothing itself; 1 if nobody does, or options from outside cannot be read, which
    /// [`Self::execute`] tells.
    pub fn get_parallelism(&self) -> usize {
        let set = self.settings.borrow().parallelism;
        let outside = || self.options().ok()?.positive("parallelism.default").ok()?;
        set.or_else(outside).unwrap_or(1)
    }

    /// Number of key groups of every operator that says nothing itself; fixed for the life of their state.
    pub fn set_max_parallelism(&self, max_parallelism: usize) -> &Self {
        self.settings.borrow_mut().max_parallelism = Some(max_parallelism);
        self
    }

    /// Takes a checkpoint every `interval`: sets `execution.checkpointing.interval`.
    pub fn enable_checkpointing(&self, interval: Duration) -> &Self {
        self.configure(
            "execution.checkpointing.interval",
            format!("{} ms", interval.as_millis()),
        )
    }

    /// Whether results of input that ends are told on the way or once, at the end: sets `execution.runtime-mode`.
    pub fn set_runtime_mode(&self, mode: RuntimeMode) -> &Self {
        self.configure(runtime_mode::OPTION, mode.name())
    }

    /// Sets an option by Flink's name.
    pub fn configure(&self, key: impl Into<String>, value: impl Into<String>) -> &Self {
        self.settings.borrow_mut().options.set(key, value);
        self
    }

    /// A stream of the elements of a collection, in order.
    pub fn from_collection<T: Data>(&self, elements: impl IntoIterator<Item = T>) -> DataStream<T> {
        let elements: Arc<[T]> = elements.into_iter().collect();
        let count = elements.len() as u64;
        let source = Counted::in_order(count, move |number| Ok(elements[number as usize].clone()));
        self.source("collection", "Collection Source", Some(1), source)
    }

    /// A stream of some elements, in order: [`Self::from_collection`] under the name of old programs.
    pub fn from_elements<T: Data>(&self, elements: impl IntoIterator<Item = T>) -> DataStream<T> {
        self.from_collection(elements)
    }

    /// A stream of the numbers from `from` to `to`, both included; ordered only where one subtask reads it. To `i64::MAX` it takes
    /// longer than anybody waits.
    pub fn from_sequence(&self, from: i64, to: i64) -> DataStream<i64> {
        let count = (i128::from(to) - i128::from(from) + 1).max(0);
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let lanes = GENERATOR_LANES.min(count.max(1));
        let source = Counted::over_lanes(count, lanes, move |number| Ok(from.wrapping_add(number as i64)));
        self.source("sequence", "Sequence Source", None, source)
    }

    /// A stream of `count` records that `make` makes of the numbers from 0 on; ordered only where one subtask reads it.
    /// `u64::MAX` does not end.
    pub fn from_generator<T: Data>(
        &self,
        count: u64,
        make: impl FnMut(u64) -> T + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        let lanes = GENERATOR_LANES.min(count.max(1));
        let mut make = make;
        let source = Counted::over_lanes(count, lanes, move |number| Ok::<T, BoxError>(make(number)));
        self.source("generator", "Data Generator", None, source)
    }

    /// A stream of the lines that a server sends, until it ends the connection. One subtask reads them, and what was sent before a failure is
    /// lost: for trying a program with `nc -lk 9999`.
    ///
    /// ```no_run
    /// # use flott::prelude::*;
    /// let env = StreamExecutionEnvironment::get_execution_environment();
    /// env.socket_text_stream("localhost", 9999).print();
    /// env.execute("lines")?;
    /// # Ok::<(), ExecuteError>(())
    /// ```
    pub fn socket_text_stream(&self, host: &str, port: u16) -> DataStream<String> {
        self.socket_text_stream_with(host, port, Reconnect::Never)
    }

    /// The same, with a connection that is made again when it has ended.
    pub fn socket_text_stream_with(&self, host: &str, port: u16, reconnect: Reconnect) -> DataStream<String> {
        let address = format!("{host}:{port}");
        self.source("socket", "Socket Stream", Some(1), SocketSource { address, reconnect })
    }

    /// A stream of a source's records, with watermarks per split.
    pub fn from_source<S: TypedSource>(
        &self,
        source: S,
        strategy: impl std::borrow::Borrow<WatermarkStrategy<S::Out>>,
        name: &str,
    ) -> DataStream<S::Out> {
        let strategy = std::borrow::Borrow::borrow(&strategy);
        let mut graph = self.graph.borrow_mut();
        let origin = graph.source::<S::Out>("source", name, None, source, strategy);
        drop(graph);
        DataStream::new(self.clone(), vec![origin])
    }

    fn source<T: Data>(
        &self,
        operation: &'static str,
        name: &str,
        fixed: Option<usize>,
        source: impl Source + 'static,
    ) -> DataStream<T> {
        let strategy = WatermarkStrategy::no_watermarks();
        let origin = self
            .graph
            .borrow_mut()
            .source::<T>(operation, name, fixed, source, &strategy);
        DataStream::new(self.clone(), vec![origin])
    }

    pub(crate) fn graph(&self) -> &SharedGraph {
        &self.graph
    }

    /// Runs the job that the program has described since the last one, with all that it reads, to its end.
    ///
    /// # Errors
    /// If the program is no job, or the job is refused or fails.
    pub fn execute(&self, job_name: &str) -> Result<JobExecutionResult, ExecuteError> {
        self.executor.execute(self.program(job_name)?)
    }

    /// Starts the same job and returns: it runs beside the program, which may look at it and stop it.
    ///
    /// # Errors
    /// If the program is no job, or the job is refused.
    pub fn execute_async(&self, job_name: &str) -> Result<JobClient, ExecuteError> {
        self.executor.execute_async(self.program(job_name)?)
    }

    /// The job that the program has described since the last one, with all that it reads.
    ///
    /// # Errors
    /// If the program is no job.
    pub fn program(&self, job_name: &str) -> Result<Program, ExecuteError> {
        let roots = self.graph.borrow_mut().take_since_last();
        self.program_of(job_name, roots)
    }

    /// Runs the job of `roots`.
    pub(crate) fn execute_roots(&self, job_name: &str, roots: Roots) -> Result<JobExecutionResult, ExecuteError> {
        self.executor.execute(self.program_of(job_name, roots)?)
    }

    /// The options of the next job: those from outside, and the program's.
    ///
    /// # Errors
    /// If those from outside cannot be read.
    pub fn options(&self) -> Result<Options, ExecuteError> {
        let mut options = self.executor.options()?;
        options.merge(&self.settings.borrow().options);
        Ok(options)
    }

    fn program_of(&self, job_name: &str, roots: Roots) -> Result<Program, ExecuteError> {
        let options = self.options()?;
        let settings = self.settings.borrow();
        let number = |key: &str| options.positive(key).map_err(ProgramError::from);
        let mode = options.one_of(runtime_mode::OPTION, &runtime_mode::NAMES);
        let mode = mode.map_err(ProgramError::from)?;
        let defaults = Defaults {
            parallelism: match settings.parallelism {
                Some(parallelism) => parallelism,
                None => number("parallelism.default")?.unwrap_or(1),
            },
            max_parallelism: match settings.max_parallelism {
                Some(max_parallelism) => Some(max_parallelism),
                None => number("pipeline.max-parallelism")?,
            },
            mode: mode.map_or(RuntimeMode::Streaming, |index| runtime_mode::MODES[index]),
        };
        let finished = self.graph.borrow_mut().finish(job_name, options, &defaults, roots);
        let (plan, register) = finished?;
        Ok(Program { plan, register })
    }

    /// Runs a job that ends with `stream`, and gives its records. A restart of the job would give some of them twice.
    pub(crate) fn execute_and_collect<T: Data>(
        &self,
        stream: &DataStream<T>,
        job_name: &str,
    ) -> Result<Vec<T>, ExecuteError> {
        let collected = Collect::new();
        stream.add_collect(&collected);
        self.execute(job_name)?;
        Ok(collected.take())
    }

    /// The same up to `limit` records; the job is cancelled behind them.
    pub(crate) fn execute_and_collect_limit<T: Data>(
        &self,
        stream: &DataStream<T>,
        job_name: &str,
        limit: usize,
    ) -> Result<Vec<T>, ExecuteError> {
        let collected = Collect::up_to(limit);
        stream.add_collect(&collected);
        let job = self.execute_async(job_name)?;
        let waiting = job.clone();
        let ended = collected.wait_while(move || !waiting.get_job_status().is_globally_terminal_state());
        match ended {
            true => job.get_job_execution_result().map(|_| ())?,
            false => job.cancel()?,
        }
        Ok(collected.take())
    }
}
