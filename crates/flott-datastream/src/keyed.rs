//! [`KeyedStream`]: records of one key come to one subtask, in order.

use crate::environment::StreamExecutionEnvironment;
use crate::fold::{self, ByValue, Fold};
use crate::function::{BoxError, Collector};
use crate::graph::Origin;
use crate::key::Key;
use crate::operators::AtHand;
use crate::operators::keyed::{Keyed, KeyedLogic, KeyedOne, Selector};
use crate::process::{KeyedProcessFunction, OpenContext, ProcessContext};
use crate::records::Data;
use crate::runtime_mode::{self, RuntimeMode};
use crate::state::{KeyState, ValueState};
use crate::stream::DataStream;
use flott_core::time::END_OF_TIME;
use flott_state::StateValue;
use std::fmt;
use std::ops::{AddAssign, Deref};

/// A stream whose records are told apart by a key of type `K`.
///
/// What can be done with any stream can be done with it, too (`print`, `sink_to`, `union`, `map` of a closure, …): it is a [`DataStream`], whose
/// records go to the subtasks of their keys.
#[must_use = "a stream that nothing reads is no job: end it in a sink, such as print()"]
pub struct KeyedStream<K, T> {
    stream: DataStream<T>,
    selector: Selector<K, T>,
}

impl<K, T> Deref for KeyedStream<K, T> {
    type Target = DataStream<T>;
    fn deref(&self) -> &DataStream<T> {
        &self.stream
    }
}

impl<K, T> Clone for KeyedStream<K, T> {
    fn clone(&self) -> Self {
        Self {
            stream: self.stream.clone(),
            selector: self.selector.clone(),
        }
    }
}

impl<K, T> fmt::Debug for KeyedStream<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "KeyedStream<{}, {}>",
            std::any::type_name::<K>(),
            std::any::type_name::<T>()
        )
    }
}

impl<K: Key, T: Data> KeyedStream<K, T> {
    pub(crate) fn new(env: StreamExecutionEnvironment, origins: Vec<Origin>, selector: Selector<K, T>) -> Self {
        let stream = DataStream::new(env, origins);
        Self { stream, selector }
    }

    pub(crate) fn selector(&self) -> Selector<K, T> {
        self.selector.clone()
    }

    /// Works on each record with state and timers of its key.
    pub fn process<F: KeyedProcessFunction<K, T>>(&self, function: F) -> DataStream<F::Out> {
        self.apply("keyed-process", "KeyedProcess", function)
    }

    pub(crate) fn apply<F: KeyedProcessFunction<K, T>>(
        &self,
        operation: &'static str,
        name: &str,
        function: F,
    ) -> DataStream<F::Out> {
        self.connected::<(), _>(operation, name, (&[], None), KeyedOne(function))
    }

    /// Puts an operator behind the stream, and behind a second input if it has any origins; without selector that is broadcast.
    pub(crate) fn connected<B: Data, L: KeyedLogic<K, T, B>>(
        &self,
        operation: &'static str,
        name: &str,
        (second, second_selector): (&[Origin], Option<Selector<K, B>>),
        logic: L,
    ) -> DataStream<L::Out> {
        let selector = self.selector.clone();
        let make = move |sides| {
            let keyed = Keyed::<K, T, B, L>::new(logic.clone(), selector.clone(), second_selector.clone(), sides);
            Box::new(keyed) as Box<_>
        };
        let both = [self.origins(), second];
        let inputs = match second {
            [] => &both[..1],
            _ => &both[..],
        };
        let mut graph = self.env().graph().borrow_mut();
        let origin = graph.operator_with_sides::<L::Out>(operation, name, true, inputs, make);
        drop(graph);
        DataStream::new(self.env().clone(), vec![origin])
    }
}

/// Rolling aggregations: each record gives the aggregate of its key so far; in batch mode ([`crate::RuntimeMode`]) each key gives one, at the end.
impl<K: Key, T: Data + StateValue> KeyedStream<K, T> {
    /// Joins each record with what came of those of its key before.
    pub fn reduce(&self, f: impl FnMut(T, T) -> T + Clone + Send + Sync + 'static) -> DataStream<T> {
        self.connected::<(), _>("reduce", "Keyed Reduce", (&[], None), Reduce::new(ByValue(f)))
    }

    fn aggregate(&self, fold: impl Fold<T>) -> DataStream<T> {
        self.connected::<(), _>("aggregate", "Keyed Aggregation", (&[], None), Reduce::new(fold))
    }

    /// Sums a field; the others stay those of the key's first record.
    ///
    /// ```
    /// # use flott::prelude::*;
    /// # let env = StreamExecutionEnvironment::get_execution_environment();
    /// let words = env.from_collection([("a", 1i64), ("b", 1), ("a", 1)].map(|(w, n)| (w.to_owned(), n)));
    /// let counts = words.key_by(|w| w.0.clone()).sum(|w| &mut w.1).map(|w| w.1);
    /// assert_eq!(counts.execute_and_collect("word count")?, [1, 1, 2]);
    /// # Ok::<(), ExecuteError>(())
    /// ```
    pub fn sum<N: AddAssign + Copy>(
        &self,
        field: impl Fn(&mut T) -> &mut N + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        self.aggregate(fold::sum_of(field))
    }

    /// Keeps the smallest value of a field; the others stay those of the key's first record.
    pub fn min<N: PartialOrd>(
        &self,
        field: impl Fn(&mut T) -> &mut N + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        self.aggregate(fold::min_of(field))
    }

    /// Keeps the largest value of a field; the others stay those of the key's first record.
    pub fn max<N: PartialOrd>(
        &self,
        field: impl Fn(&mut T) -> &mut N + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        self.aggregate(fold::max_of(field))
    }

    /// Keeps the record with the smallest value; of equal ones the first.
    pub fn min_by<N: PartialOrd>(&self, value: impl Fn(&T) -> N + Clone + Send + Sync + 'static) -> DataStream<T> {
        self.aggregate(fold::min_by_of(value))
    }

    /// Keeps the record with the largest value; of equal ones the first.
    pub fn max_by<N: PartialOrd>(&self, value: impl Fn(&T) -> N + Clone + Send + Sync + 'static) -> DataStream<T> {
        self.aggregate(fold::max_by_of(value))
    }

    /// Keeps the record with the smallest value; of equal ones the last (Flink's `minBy(field, false)`).
    pub fn min_by_last<N: PartialOrd>(&self, value: impl Fn(&T) -> N + Clone + Send + Sync + 'static) -> DataStream<T> {
        self.aggregate(fold::min_by_last_of(value))
    }

    /// Keeps the record with the largest value; of equal ones the last (Flink's `maxBy(field, false)`).
    pub fn max_by_last<N: PartialOrd>(&self, value: impl Fn(&T) -> N + Clone + Send + Sync + 'static) -> DataStream<T> {
        self.aggregate(fold::max_by_last_of(value))
    }
}

/// A fold over a state of one record.
struct Reduce<T, F> {
    fold: F,
    state: ValueState<T>,
    is_batch: bool,
}

impl<T, F> Reduce<T, F> {
    fn new(fold: F) -> Self {
        Self {
            fold,
            state: ValueState::default(),
            is_batch: false,
        }
    }
}

impl<T, F: Clone> Clone for Reduce<T, F> {
    fn clone(&self) -> Self {
        Self {
            fold: self.fold.clone(),
            state: self.state,
            is_batch: self.is_batch,
        }
    }
}

impl<K: Key, T: Data + StateValue, F: Fold<T>> KeyedLogic<K, T, ()> for Reduce<T, F> {
    type Out = T;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.state = ctx.value_state("reduced")?;
        self.is_batch = ctx.runtime().option(runtime_mode::OPTION) == Some(RuntimeMode::Batch.name());
        Ok(())
    }

    fn first(&mut self, value: T, ctx: &mut ProcessContext<'_, K, T>) -> Result<(), BoxError> {
        let entry = self.state.entry(ctx);
        if !self.is_batch {
            let reduced = self.fold.fold_and_copy(entry, value);
            ctx.collect(reduced);
            return Ok(());
        }
        let is_first = entry.is_none();
        self.fold.fold(entry, value);
        if is_first {
            ctx.register_event_time_timer(END_OF_TIME);
        }
        Ok(())
    }

    fn first_all(&mut self, at_hand: &mut AtHand<T>, slots: &[u32], state: &mut KeyState, out: &mut Collector<T>) {
        if self.is_batch {
            return;
        }
        let (kept, fold) = (self.state.column(state), &mut self.fold);
        let mut slots = slots.iter();
        at_hand.give_all(&mut out.records.values, |value| match slots.next() {
            Some(slot) => fold.fold_and_copy(kept.get_mut(*slot), value),
            None => value,
        });
        out.records.times = at_hand.take_times();
    }

    fn on_timer(&mut self, _: i64, ctx: &mut ProcessContext<'_, K, T>) -> Result<(), BoxError> {
        if let Some(reduced) = self.state.entry(ctx).take() {
            ctx.collect(reduced);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), BoxError> {
        Ok(())
    }
}
