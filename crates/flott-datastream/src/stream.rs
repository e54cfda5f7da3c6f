//! [`DataStream`]: a stream of one type and what can be made of it.

use crate::connector::TypedSink;
use crate::environment::{ExecuteError, JobExecutionResult, StreamExecutionEnvironment};
use crate::function::{BoxError, Collector, FlatMapFunction, MapFunction, SinkFunction};
use crate::graph::{Graph, Origin, ProgramError};
use crate::key::Key;
use crate::keyed::KeyedStream;
use crate::operators::connected::{Connected, ConnectedLogic, One};
use crate::operators::keyed::{KeyBy, selector};
use crate::operators::partition::PartitionBy;
use crate::operators::sink::{Collect, ForEach, FunctionSink, Print};
use crate::operators::stateless::{Filter, FlatMapBy, FlatMapWith, MapBy, MapWith, Stateless, Transform, TryMapWith};
use crate::process::ProcessFunction;
use crate::records::Data;
use crate::side::OutputTag;
use crate::time::{TimestampsAndWatermarks, WatermarkStrategy};
use flott_plan::{Chaining, NodeId, Partitioning};
use flott_runtime::{Operator, Sink};
use std::fmt;
use std::marker::PhantomData;

/// A stream of records of type `T`. Cloning it reads it twice.
#[must_use = "a stream that nothing reads is no job: end it in a sink, such as print()"]
pub struct DataStream<T> {
    env: StreamExecutionEnvironment,
    /// Several are a union.
    origins: Vec<Origin>,
    records: PhantomData<fn() -> T>,
}

impl<T> Clone for DataStream<T> {
    fn clone(&self) -> Self {
        Self {
            env: self.env.clone(),
            origins: self.origins.clone(),
            records: PhantomData,
        }
    }
}

impl<T> fmt::Debug for DataStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataStream<{}>", std::any::type_name::<T>())
    }
}

impl<T: Data> DataStream<T> {
    pub(crate) fn new(env: StreamExecutionEnvironment, origins: Vec<Origin>) -> Self {
        Self {
            env,
            origins,
            records: PhantomData,
        }
    }

    /// One record of each.
    ///
    /// ```
    /// # use flott::prelude::*;
    /// let env = StreamExecutionEnvironment::get_execution_environment();
    /// let doubled = env.from_collection(1..=5).map(|x| x * 2);
    /// assert_eq!(doubled.execute_and_collect("times two")?, [2, 4, 6, 8, 10]);
    /// # Ok::<(), ExecuteError>(())
    /// ```
    pub fn map<U: Data>(&self, f: impl FnMut(T) -> U + Clone + Send + Sync + 'static) -> DataStream<U> {
        self.transform("map", "Map", MapWith(f))
    }

    /// One record of each, by a function that may fail; its error fails the task.
    pub fn try_map<U: Data, E: Into<BoxError> + 'static>(
        &self,
        f: impl FnMut(T) -> Result<U, E> + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        self.transform("map", "Map", TryMapWith(f))
    }

    /// One record of each, by a struct.
    pub fn map_with<F: MapFunction<T>>(&self, function: F) -> DataStream<F::Out>
    where
        F::Out: Data,
    {
        self.transform("map", "Map", MapBy(function))
    }

    /// The records for which `keep` is true.
    pub fn filter(&self, keep: impl FnMut(&T) -> bool + Clone + Send + Sync + 'static) -> DataStream<T> {
        let mut keep = keep;
        self.filtered(move |value| Ok(keep(value)))
    }

    /// The records for which `keep` is true, which may fail; its error fails the task.
    pub fn try_filter<E: Into<BoxError> + 'static>(
        &self,
        keep: impl FnMut(&T) -> Result<bool, E> + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        let mut keep = keep;
        self.filtered(move |value| keep(value).map_err(Into::into))
    }

    fn filtered(
        &self,
        keeps: impl FnMut(&T) -> Result<bool, BoxError> + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        let make = move || Box::new(Filter::<T, _>::new(keeps.clone())) as Box<_>;
        self.stateless("filter", "Filter", make)
    }

    /// Any number of records of each.
    ///
    /// ```
    /// # use flott::prelude::*;
    /// let env = StreamExecutionEnvironment::get_execution_environment();
    /// let words = env
    ///     .from_collection(["to be", "or not"].map(String::from))
    ///     .flat_map(|line: String, out| line.split(' ').for_each(|word| out.collect(word.to_owned())));
    /// assert_eq!(words.execute_and_collect("words")?, ["to", "be", "or", "not"]);
    /// # Ok::<(), ExecuteError>(())
    /// ```
    pub fn flat_map<U: Data>(
        &self,
        f: impl FnMut(T, &mut Collector<U>) + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        self.transform("flat-map", "Flat Map", FlatMapWith(f))
    }

    /// Any number of records of each, by a struct.
    pub fn flat_map_with<F: FlatMapFunction<T>>(&self, function: F) -> DataStream<F::Out>
    where
        F::Out: Data,
    {
        self.transform("flat-map", "Flat Map", FlatMapBy(function))
    }

    fn transform<U: Data, X: Transform<T, U> + Clone + Sync + 'static>(
        &self,
        operation: &'static str,
        name: &str,
        transform: X,
    ) -> DataStream<U> {
        let make = move || Box::new(Stateless::<T, U, X>::new(transform.clone())) as Box<_>;
        self.stateless(operation, name, make)
    }

    /// Puts an operator that keeps no state behind the stream.
    fn stateless<U: Data>(
        &self,
        operation: &'static str,
        name: &str,
        make: impl Fn() -> Box<dyn Operator> + Send + Sync + 'static,
    ) -> DataStream<U> {
        let mut graph = self.env.graph().borrow_mut();
        let origin = graph.operator::<U>(operation, name, false, &[&self.origins], make);
        drop(graph);
        DataStream::new(self.env.clone(), vec![origin])
    }

    /// Gives records event times, and makes watermarks from them.
    pub fn assign_timestamps_and_watermarks(&self, strategy: &WatermarkStrategy<T>) -> DataStream<T> {
        let refused = strategy.refused(false);
        let strategy = strategy.clone();
        let make = move || Box::new(TimestampsAndWatermarks::new(strategy.clone())) as Box<_>;
        let mut graph = self.env.graph().borrow_mut();
        if let Some(error) = refused {
            graph.refuse(error);
        }
        let origin = graph.operator::<T>("timestamps", "Timestamps/Watermarks", false, &[&self.origins], make);
        drop(graph);
        DataStream::new(self.env.clone(), vec![origin])
    }

    /// Works on each record with all that there is to know of it, and with side outputs: [`ProcessFunction`].
    pub fn process<F: ProcessFunction<T>>(&self, function: F) -> DataStream<F::Out> {
        self.connected::<(), _>("process", "Process", &[&self.origins], One(function))
    }

    /// Puts an operator of the engine's own kind behind the stream, over batches of [`crate::Records`], made once a subtask: Flink's
    /// `transform`, for what no function can say.
    pub fn transform_with<U: Data>(
        &self,
        name: &str,
        make: impl Fn() -> Box<dyn Operator> + Send + Sync + 'static,
    ) -> DataStream<U> {
        self.stateful("operator", name, make)
    }

    /// Puts an operator that keeps state behind the stream.
    pub(crate) fn stateful<U: Data>(
        &self,
        operation: &'static str,
        name: &str,
        make: impl Fn() -> Box<dyn Operator> + Send + Sync + 'static,
    ) -> DataStream<U> {
        let mut graph = self.env.graph().borrow_mut();
        let origin = graph.operator::<U>(operation, name, true, &[&self.origins], make);
        drop(graph);
        DataStream::new(self.env.clone(), vec![origin])
    }

    /// Puts an operator of one or two inputs behind the stream.
    pub(crate) fn connected<B: Data, L: ConnectedLogic<T, B>>(
        &self,
        operation: &'static str,
        name: &str,
        inputs: &[&[Origin]],
        logic: L,
    ) -> DataStream<L::Out> {
        let make = move |sides| Box::new(Connected::<T, B, L>::new(logic.clone(), sides)) as Box<_>;
        let keeps_state = L::KEEPS_STATE;
        let mut graph = self.env.graph().borrow_mut();
        let origin = graph.operator_with_sides::<L::Out>(operation, name, keeps_state, inputs, make);
        drop(graph);
        DataStream::new(self.env.clone(), vec![origin])
    }

    /// The records that the stream's operator emits to `tag` ([`crate::Context::output`]); none, if it never does.
    pub fn get_side_output<X: Data>(&self, tag: &OutputTag<X>) -> DataStream<X> {
        let mut graph = self.env.graph().borrow_mut();
        let origins = match self.origins.as_slice() {
            [one] => vec![graph.side_output(one.node, tag)],
            several => {
                graph.refuse(ProgramError::Union {
                    what: "get_side_output",
                });
                several.to_vec()
            }
        };
        drop(graph);
        DataStream::new(self.env.clone(), origins)
    }

    pub(crate) fn env(&self) -> &StreamExecutionEnvironment {
        &self.env
    }

    pub(crate) fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// Puts an operator behind everything that makes the stream, which prepares its records for an exchange.
    fn prepare(
        &self,
        operation: &'static str,
        name: &str,
        partitioning: &Partitioning,
        make: impl Fn() -> Box<dyn Operator> + Clone + Send + Sync + 'static,
    ) -> Vec<Origin> {
        let mut graph = self.env.graph().borrow_mut();
        let prepare = |origin: &Origin| {
            let mut origin = graph.preparation::<T>(operation, name, origin, make.clone());
            origin.partitioning = Some(partitioning.clone());
            origin
        };
        self.origins.iter().map(prepare).collect()
    }

    /// Tells records apart by a key: those of one key come to one subtask, in order.
    pub fn key_by<K: Key>(&self, key: impl Fn(&T) -> K + Send + Sync + 'static) -> KeyedStream<K, T> {
        let selector = selector(key);
        let by = selector.clone();
        let origins = self.prepare("key-by", "Key By", &Partitioning::Keyed, move || {
            Box::new(KeyBy::new(by.clone()))
        });
        KeyedStream::new(self.env.clone(), origins, selector)
    }

    /// The records of several streams of one type, in no order among the streams.
    pub fn union(&self, others: &[&DataStream<T>]) -> DataStream<T> {
        let others = others.iter().flat_map(|o| o.origins.iter().cloned());
        DataStream::new(self.env.clone(), self.origins.iter().cloned().chain(others).collect())
    }

    fn spread(&self, partitioning: Partitioning) -> DataStream<T> {
        let spread = |origin: &Origin| Origin {
            partitioning: Some(partitioning.clone()),
            ..origin.clone()
        };
        DataStream::new(self.env.clone(), self.origins.iter().map(spread).collect())
    }

    /// Spreads records evenly over all subtasks of whatever reads the stream.
    pub fn rebalance(&self) -> DataStream<T> {
        self.spread(Partitioning::Rebalance)
    }

    /// Spreads records evenly over a share of the subtasks, so that neighbours talk to neighbours.
    pub fn rescale(&self) -> DataStream<T> {
        self.spread(Partitioning::Rescale)
    }

    /// Gives each record to a subtask at random.
    pub fn shuffle(&self) -> DataStream<T> {
        self.spread(Partitioning::Shuffle)
    }

    /// Gives every record to every subtask.
    pub fn broadcast(&self) -> DataStream<T> {
        self.spread(Partitioning::Broadcast)
    }

    /// Gives every record to the first subtask.
    pub fn global(&self) -> DataStream<T> {
        self.spread(Partitioning::Global)
    }

    /// Keeps records in their subtask; what reads the stream must have the same parallelism.
    pub fn forward(&self) -> DataStream<T> {
        self.spread(Partitioning::Forward)
    }

    /// Gives each record to the subtask that `partitioner` names, of `subtasks`: the parallelism of whatever reads the stream.
    pub fn partition_custom(
        &self,
        partitioner: impl FnMut(&T, usize) -> usize + Clone + Send + Sync + 'static,
        subtasks: usize,
    ) -> DataStream<T> {
        let origins = self.prepare("partition", "Partition Custom", &Partitioning::Custom, move || {
            Box::new(PartitionBy::<T, _>::new(partitioner.clone(), subtasks))
        });
        let mut graph = self.env.graph().borrow_mut();
        origins
            .iter()
            .for_each(|origin| graph.spread_over(origin.node, subtasks));
        drop(graph);
        DataStream::new(self.env.clone(), origins)
    }

    /// Says something of the operator that made the stream; a union has none, which is an error when the job is planned.
    fn of_operator(self, what: &'static str, set: impl FnOnce(&mut Graph, NodeId)) -> Self {
        let mut graph = self.env.graph().borrow_mut();
        match self.origins.as_slice() {
            [one] if one.partitioning.is_some() => graph.refuse(ProgramError::Exchange { what }),
            [one] if one.output > 0 => graph.refuse(ProgramError::SideOutput { what }),
            [one] => set(&mut graph, one.node),
            _ => graph.refuse(ProgramError::Union { what }),
        }
        drop(graph);
        self
    }

    /// Names the operator that made the stream: in logs, metrics and the plan.
    pub fn name(self, name: &str) -> Self {
        self.of_operator("name", |graph, node| graph.set_name(node, name))
    }

    /// What the operator's state is found by after the program has changed.
    pub fn uid(self, uid: &str) -> Self {
        self.of_operator("uid", |graph, node| graph.set_uid(node, uid))
    }

    /// Number of subtasks of the operator that made the stream.
    pub fn set_parallelism(self, parallelism: usize) -> Self {
        self.of_operator("set_parallelism", |graph, node| {
            graph.set_parallelism(node, parallelism)
        })
    }

    /// Number of key groups of the operator that made the stream.
    pub fn set_max_parallelism(self, max_parallelism: usize) -> Self {
        self.of_operator("set_max_parallelism", |graph, node| {
            graph.set_max_parallelism(node, max_parallelism);
        })
    }

    /// The operator that made the stream begins a chain.
    pub fn start_new_chain(self) -> Self {
        self.of_operator("start_new_chain", |graph, node| {
            graph.set_chaining(node, Chaining::Head)
        })
    }

    /// The operator that made the stream runs on a thread of its own.
    pub fn disable_chaining(self) -> Self {
        self.of_operator("disable_chaining", |graph, node| {
            graph.set_chaining(node, Chaining::Never)
        })
    }

    /// Subtasks of the operator that made the stream share slots with those of operators of the same group only, so the job needs the slots
    /// of all its groups together; chains do not leave a group. An operator that says nothing is of the group of its inputs if that is one, else
    /// of the group `default`.
    pub fn slot_sharing_group(self, group: &str) -> Self {
        self.of_operator("slot_sharing_group", |graph, node| {
            graph.set_slot_sharing_group(node, group);
        })
    }

    /// Prints each record to standard output, behind the subtask's number where there are several.
    pub fn print(&self) -> DataStreamSink {
        self.add_sink(
            "print",
            "Print to Std. Out",
            FunctionSink::<T, _>::new(Print::new("", false)),
        )
    }

    /// Prints each record to standard output behind `identifier`.
    pub fn print_with(&self, identifier: &str) -> DataStreamSink {
        let print = Print::new(identifier, false);
        self.add_sink("print", "Print to Std. Out", FunctionSink::<T, _>::new(print))
    }

    /// Prints each record to standard error.
    pub fn print_to_err(&self) -> DataStreamSink {
        self.add_sink(
            "print",
            "Print to Std. Err",
            FunctionSink::<T, _>::new(Print::new("", true)),
        )
    }

    /// Gives each record to a closure.
    pub fn for_each(&self, f: impl FnMut(T) + Clone + Send + Sync + 'static) -> DataStreamSink {
        self.add_sink("sink-function", "For Each", FunctionSink::<T, _>::new(ForEach(f)))
    }

    /// Gives each record to a function, at least once.
    pub fn sink_with<F: SinkFunction<T>>(&self, function: F) -> DataStreamSink {
        self.add_sink("sink-function", "Unnamed", FunctionSink::<T, _>::new(function))
    }

    /// Gives the records to a sink.
    pub fn sink_to(&self, sink: impl TypedSink<T>) -> DataStreamSink {
        self.add_sink("sink", "Writer", sink)
    }

    pub(crate) fn add_sink(&self, operation: &'static str, name: &str, sink: impl Sink + 'static) -> DataStreamSink {
        let node = self.env.graph().borrow_mut().sink(operation, name, &self.origins, sink);
        DataStreamSink {
            env: self.env.clone(),
            node,
        }
    }

    /// Gives the records to `collected`, by one subtask as in Flink: of several, one would overtake another.
    pub(crate) fn add_collect(&self, collected: &Collect<T>) {
        let sink = FunctionSink::<T, _>::new(collected.clone());
        self.add_sink("collect", "Collect", sink).set_parallelism(1);
    }

    /// Runs a job that ends with this stream, and gives its records in the order in which they came. For bounded streams; if the
    /// job restarts on its way, some records come twice.
    ///
    /// # Errors
    /// If the program is no job, or the job is refused or fails.
    pub fn execute_and_collect(&self, job_name: &str) -> Result<Vec<T>, ExecuteError> {
        self.env.execute_and_collect(self, job_name)
    }

    /// The first `limit` records of the same, or all if there are fewer; then the job is cancelled. For streams that do not end, too.
    ///
    /// ```
    /// # use flott::prelude::*;
    /// let env = StreamExecutionEnvironment::get_execution_environment();
    /// let endless = env.from_sequence(1, i64::MAX).set_parallelism(1).map(|n| n * 2);
    /// assert_eq!(endless.execute_and_collect_limit("some", 3)?.len(), 3);
    /// # Ok::<(), ExecuteError>(())
    /// ```
    ///
    /// # Errors
    /// If the program is no job, or the job is refused or fails before there are as many.
    pub fn execute_and_collect_limit(&self, job_name: &str, limit: usize) -> Result<Vec<T>, ExecuteError> {
        self.env.execute_and_collect_limit(self, job_name, limit)
    }
}

/// A sink, to be named.
#[derive(Debug, Clone)]
pub struct DataStreamSink {
    env: StreamExecutionEnvironment,
    node: NodeId,
}

impl DataStreamSink {
    /// Names the sink.
    pub fn name(self, name: &str) -> Self {
        self.env.graph().borrow_mut().set_name(self.node, name);
        self
    }

    /// What its state and transactions are found by after the program has changed.
    pub fn uid(self, uid: &str) -> Self {
        self.env.graph().borrow_mut().set_uid(self.node, uid);
        self
    }

    /// Number of its subtasks.
    pub fn set_parallelism(self, parallelism: usize) -> Self {
        self.env.graph().borrow_mut().set_parallelism(self.node, parallelism);
        self
    }

    /// Number of its key groups, which operator state of its writers depends on, too; fixed for the life of that state.
    pub fn set_max_parallelism(self, max_parallelism: usize) -> Self {
        self.env
            .graph()
            .borrow_mut()
            .set_max_parallelism(self.node, max_parallelism);
        self
    }

    /// It shares slots with operators of the same group only: [`DataStream::slot_sharing_group`].
    pub fn slot_sharing_group(self, group: &str) -> Self {
        self.env.graph().borrow_mut().set_slot_sharing_group(self.node, group);
        self
    }

    /// It runs on a thread of its own.
    pub fn disable_chaining(self) -> Self {
        self.env.graph().borrow_mut().set_chaining(self.node, Chaining::Never);
        self
    }

    /// Runs the program's job: [`StreamExecutionEnvironment::execute`].
    ///
    /// # Errors
    /// As it.
    pub fn execute(&self, job_name: &str) -> Result<JobExecutionResult, ExecuteError> {
        self.env.execute(job_name)
    }
}
