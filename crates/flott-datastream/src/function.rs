//! What users write: closures, or structs that implement one of these traits where they want to be opened and closed.

use crate::metrics::MetricGroup;
use crate::operators::BATCH_ROWS;
use crate::records::{Data, Records};
use crate::side::{OutputTag, Sides};
use crate::state::operator::{OperatorListState, OperatorStates};
use flott_core::EventTime;
use flott_runtime::context::TaskInfo;
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{OperatorContext, Output};
use flott_state::{Redistribute, StateValue};
use std::sync::Arc;

/// Any error of user code.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where a function runs, for those that want to know.
#[derive(Debug, Clone)]
pub struct RuntimeContext {
    task: Arc<TaskInfo>,
    name: String,
    metrics: Arc<OperatorMetrics>,
    /// `None` where the operator keeps no lists.
    states: Option<OperatorStates>,
    is_restored: bool,
}

impl RuntimeContext {
    /// Where the operator, reader or writer of `ctx` runs.
    pub fn of(ctx: &OperatorContext) -> Self {
        Self {
            states: None,
            task: ctx.task.clone(),
            name: ctx.operator_name.clone(),
            metrics: ctx.metrics.clone(),
            is_restored: ctx.restored.is_some(),
        }
    }

    /// The same of a function that may keep lists: its operator restores `states` behind `open`, and takes them into its snapshots.
    pub(crate) fn with_states(ctx: &OperatorContext, states: &OperatorStates) -> Self {
        Self {
            states: Some(states.clone()),
            ..Self::of(ctx)
        }
    }

    fn declare_list<V: StateValue>(
        &self,
        name: &str,
        redistribute: Redistribute,
    ) -> Result<OperatorListState<V>, BoxError> {
        match &self.states {
            Some(states) => states.declare(name, redistribute),
            None => {
                Err("operator state is kept by functions of operators and sinks, and not by what reads or writes for a connector".into())
            }
        }
    }

    /// Declares a list that belongs to this subtask. Where a job is restored at another parallelism, the values of all subtasks are
    /// spread over the new ones. Give the operator a uid, by which its state is found when the program changes.
    ///
    /// # Errors
    /// If the function has another list of this name, or its operator keeps none.
    pub fn operator_list_state<V: StateValue>(&self, name: &str) -> Result<OperatorListState<V>, BoxError> {
        self.declare_list(name, Redistribute::Split)
    }

    /// The same, where each subtask gets the values of all when a job is restored, at any parallelism: it keeps those that are its own, or
    /// each later checkpoint has them once from every subtask.
    ///
    /// # Errors
    /// As [`Self::operator_list_state`].
    pub fn operator_union_list_state<V: StateValue>(&self, name: &str) -> Result<OperatorListState<V>, BoxError> {
        self.declare_list(name, Redistribute::Union)
    }

    /// Name of the job.
    pub fn job_name(&self) -> &str {
        &self.task.job_name
    }

    /// Name of the operator.
    pub fn task_name(&self) -> &str {
        &self.name
    }

    /// Number of this subtask, from 0.
    pub fn index_of_this_subtask(&self) -> usize {
        self.task.subtask
    }

    /// Number of subtasks.
    pub fn number_of_parallel_subtasks(&self) -> usize {
        self.task.parallelism
    }

    /// Number of key groups.
    pub fn max_number_of_parallel_subtasks(&self) -> usize {
        self.task.max_parallelism
    }

    /// How often the job was restarted before: 0 in its first attempt, as in Flink.
    pub fn attempt_number(&self) -> u64 {
        // The job master counts from 1.
        self.task.attempt.saturating_sub(1)
    }

    /// Whether the operator starts from what a checkpoint or savepoint held of it. Its lists are filled behind `open`.
    pub fn is_restored(&self) -> bool {
        self.is_restored
    }

    /// An option of the job.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.task.options.get(key)
    }

    /// Where the function registers metrics of its own.
    pub fn metric_group(&self) -> MetricGroup {
        MetricGroup::of(self.metrics.clone())
    }

    /// The metrics of the operator.
    pub fn metrics(&self) -> &OperatorMetrics {
        &self.metrics
    }

    pub(crate) fn shared_metrics(&self) -> Arc<OperatorMetrics> {
        self.metrics.clone()
    }
}

/// Takes what a function emits. A record has the event time of the one that it was made from.
#[derive(Debug)]
pub struct Collector<T> {
    pub(crate) records: Records<T>,
    pub(crate) time: Option<EventTime>,
    sides: Sides,
}

impl<T> Default for Collector<T> {
    fn default() -> Self {
        Self::with_sides(Sides::default())
    }
}

impl<T> Collector<T> {
    /// A collector of an operator that has side outputs.
    pub(crate) fn with_sides(sides: Sides) -> Self {
        Self {
            records: Records::default(),
            time: None,
            sides,
        }
    }

    /// Whether enough was emitted for one call.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.records.values.len() + self.sides.rows() >= BATCH_ROWS
    }

    /// Emits to a side output, with the same event time; `false` if nobody reads it.
    pub(crate) fn output<X: Data>(&mut self, tag: &OutputTag<X>, value: X) -> bool {
        self.sides.push(tag, value, self.time)
    }

    /// Emits a record.
    #[inline]
    pub fn collect(&mut self, value: T) {
        self.records.times.push(self.records.values.len(), self.time);
        self.records.values.push(value);
    }

    /// Event time of the record at hand, in milliseconds.
    pub fn timestamp(&self) -> Option<EventTime> {
        self.time
    }
}

impl<T: Data> Collector<T> {
    /// Hands on what was emitted.
    pub(crate) fn emit(&mut self, out: &mut Output) {
        out.emit(std::mem::take(&mut self.records).into_batch());
        self.sides.emit(out);
    }
}

/// Makes one record of one, as a struct; [`crate::DataStream::map`] takes a closure.
///
/// A function goes to the subtasks by being cloned, so it cannot hold what only one thread can use:
///
/// ```compile_fail,E0277
/// # use flott::prelude::*;
/// # let env = StreamExecutionEnvironment::get_execution_environment();
/// let seen = std::rc::Rc::new(std::cell::Cell::new(0));
/// env.from_sequence(1, 9).map(move |n| { seen.set(n); n }).print();
/// ```
pub trait MapFunction<T>: Clone + Send + Sync + 'static {
    /// What it makes.
    type Out;

    /// Called once in each subtask before its first record.
    ///
    /// # Errors
    /// Fails the task, which the restart strategy may start again; so do errors of all methods.
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        let _ = ctx;
        Ok(())
    }

    /// Makes one record.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn map(&mut self, value: T) -> Result<Self::Out, BoxError>;

    /// Called once when the task ends, in whatever way, to release what [`Self::open`] took: at the end of the input and at a stop behind the
    /// last checkpoint and [`Self::notify_checkpoint_complete`], when the job is canceled, and when a task of it fails, be it this one or
    /// another, also in its `open`. What must come out with certainty goes out before: a checkpoint covers nothing that happens here, and a process
    /// that is killed closes nothing.
    ///
    /// # Errors
    /// They are told in the log; the task ends as it would.
    fn close(&mut self) -> Result<(), BoxError> {
        Ok(())
    }

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// Makes any number of records of one, as a struct; [`crate::DataStream::flat_map`] takes a closure.
pub trait FlatMapFunction<T>: Clone + Send + Sync + 'static {
    /// What it makes.
    type Out;

    /// Called once in each subtask before its first record.
    ///
    /// # Errors
    /// Fails the task, which the restart strategy may start again; so do errors of all methods.
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        let _ = ctx;
        Ok(())
    }

    /// Emits what it makes of one record.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn flat_map(&mut self, value: T, out: &mut Collector<Self::Out>) -> Result<(), BoxError>;

    /// Called once when the task ends, in whatever way: see [`MapFunction::close`].
    ///
    /// # Errors
    /// They are told in the log; the task ends as it would.
    fn close(&mut self) -> Result<(), BoxError> {
        Ok(())
    }

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// Folds values into an accumulator: for windows ([`crate::WindowedStream::aggregate`]) and for
/// [`crate::AggregatingState`].
///
/// ```
/// use flott::prelude::*;
///
/// /// The mean of some numbers.
/// #[derive(Clone)]
/// struct Average;
///
/// impl AggregateFunction for Average {
///     type In = i64;
///     type Accumulator = (i64, i64);
///     type Out = f64;
///
///     fn create_accumulator(&self) -> (i64, i64) {
///         (0, 0)
///     }
///     fn add(&self, value: i64, (sum, count): &mut (i64, i64)) {
///         *sum += value;
///         *count += 1;
///     }
///     fn get_result(&self, (sum, count): &(i64, i64)) -> f64 {
///         *sum as f64 / *count as f64
///     }
///     fn merge(&self, a: (i64, i64), b: (i64, i64)) -> (i64, i64) {
///         (a.0 + b.0, a.1 + b.1)
///     }
/// }
///
/// let env = StreamExecutionEnvironment::get_execution_environment();
/// let averages = env.from_sequence(1, 6).key_by(|n| n % 2).count_window(3).aggregate(Average);
/// assert_eq!(averages.execute_and_collect("averages")?, [3.0, 4.0]);
/// # Ok::<(), ExecuteError>(())
/// ```
pub trait AggregateFunction: Clone + Send + Sync + 'static {
    /// What is folded in.
    type In;
    /// What is kept of it.
    type Accumulator: StateValue;
    /// What is made of the accumulator.
    type Out;

    /// An accumulator of nothing.
    fn create_accumulator(&self) -> Self::Accumulator;

    /// Folds a value in.
    fn add(&self, value: Self::In, accumulator: &mut Self::Accumulator);

    /// The result of what was folded in so far.
    fn get_result(&self, accumulator: &Self::Accumulator) -> Self::Out;

    /// The accumulator of what two hold, `a` before `b`; asked for where windows merge.
    fn merge(&self, a: Self::Accumulator, b: Self::Accumulator) -> Self::Accumulator;
}

/// Takes records out of the job; delivery is at least once. Exactly-once sinks implement [`flott_runtime::Sink`].
pub trait SinkFunction<T>: Clone + Send + Sync + 'static {
    /// Called once in each subtask before its first record.
    ///
    /// # Errors
    /// Fails the task, which the restart strategy may start again; so do errors of all methods.
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        let _ = ctx;
        Ok(())
    }

    /// Takes one record, with its event time if it has one.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn invoke(&mut self, value: T, time: Option<EventTime>) -> Result<(), BoxError>;

    /// Called before every checkpoint and at the end of the input: what was taken must be outside afterwards.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn flush(&mut self) -> Result<(), BoxError> {
        Ok(())
    }

    /// Called once when the task ends, in whatever way: see [`MapFunction::close`]. What was taken is outside by then: [`Self::flush`].
    ///
    /// # Errors
    /// They are told in the log; the task ends as it would.
    fn close(&mut self) -> Result<(), BoxError> {
        Ok(())
    }

    crate::checkpoint_hooks::checkpoint_hooks!();
}
