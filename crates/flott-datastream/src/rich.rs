//! Functions of keyed streams that make records of records and keep state of the key, without timers: Flink's rich functions.
//!
//! Each is a [`KeyedProcessFunction`] with less to say, so that a `map` stays a `map`: structs ([`RichMapFunction`] and its like, by
//! [`KeyedStream::rich_map`]), and closures over one value a key ([`KeyedStream::map_with_state`]).

use crate::connect::{KeyedCoProcessFunction, KeyedConnectedStreams};
use crate::function::{BoxError, Collector};
use crate::key::{Key, KeyAt};
use crate::keyed::KeyedStream;
use crate::process::{KeyedProcessFunction, OpenContext, ProcessContext};
use crate::records::Data;
use crate::state::{AsState, KeyState, ValueState};
use crate::stream::DataStream;
use flott_core::EventTime;
use flott_state::StateValue;
use std::fmt;
use std::marker::PhantomData;

/// The record's key and its state.
pub struct KeyContext<'a, K> {
    pub(crate) key: KeyAt<'a, K>,
    pub(crate) state: &'a mut KeyState,
    pub(crate) timestamp: Option<EventTime>,
    pub(crate) watermark: EventTime,
    pub(crate) now_ms: i64,
}

impl<K: Key + fmt::Debug> fmt::Debug for KeyContext<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyContext")
            .field("key", self.key.get())
            .finish_non_exhaustive()
    }
}

impl<K: Key> KeyContext<'_, K> {
    /// The key at hand.
    pub fn current_key(&self) -> &K {
        self.key.get()
    }

    /// Event time of the record at hand, in milliseconds.
    pub fn timestamp(&self) -> Option<EventTime> {
        self.timestamp
    }

    /// The watermark, in milliseconds.
    pub fn current_watermark(&self) -> EventTime {
        self.watermark
    }

    /// Processing time, in milliseconds; one value for a batch.
    pub fn current_processing_time(&self) -> i64 {
        self.now_ms
    }
}

impl<K> AsState for KeyContext<'_, K> {
    fn as_state(&self) -> &KeyState {
        self.state
    }
    fn as_state_mut(&mut self) -> &mut KeyState {
        self.state
    }
}

/// Makes one record of one, with state of its key: [`KeyedStream::rich_map`].
///
/// ```
/// use flott::prelude::*;
///
/// /// How far each reading is from the one before it.
/// #[derive(Clone, Default)]
/// struct Change {
///     last: ValueState<i64>,
/// }
///
/// impl RichMapFunction<String, (String, i64)> for Change {
///     type Out = i64;
///
///     fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
///         self.last = ctx.value_state("last")?;
///         Ok(())
///     }
///
///     fn map(&mut self, reading: (String, i64), ctx: &mut KeyContext<'_, String>) -> Result<i64, BoxError> {
///         let last = self.last.entry(ctx).replace(reading.1);
///         Ok(reading.1 - last.unwrap_or(reading.1))
///     }
/// }
///
/// let env = StreamExecutionEnvironment::get_execution_environment();
/// let readings = env.from_collection([("a", 5), ("b", 1), ("a", 7)].map(|(s, n)| (s.to_owned(), n)));
/// let changes = readings.key_by(|reading| reading.0.clone()).rich_map(Change::default()).uid("changes");
/// assert_eq!(changes.execute_and_collect("changes")?, [0, 0, 2]);
/// # Ok::<(), ExecuteError>(())
/// ```
pub trait RichMapFunction<K, T>: Clone + Send + Sync + 'static {
    /// What it makes.
    type Out: Data;

    crate::life::open_and_close!(&mut OpenContext, declares "state");

    /// Makes one record.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn map(&mut self, value: T, ctx: &mut KeyContext<'_, K>) -> Result<Self::Out, BoxError>;

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// Makes any number of records of one, with state of its key: [`KeyedStream::rich_flat_map`].
pub trait RichFlatMapFunction<K, T>: Clone + Send + Sync + 'static {
    /// What it makes.
    type Out: Data;

    crate::life::open_and_close!(&mut OpenContext, declares "state");

    /// Emits what it makes of one record.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn flat_map(
        &mut self,
        value: T,
        ctx: &mut KeyContext<'_, K>,
        out: &mut Collector<Self::Out>,
    ) -> Result<(), BoxError>;

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// Says which records stay, with state of their key: [`KeyedStream::rich_filter`].
pub trait RichFilterFunction<K, T>: Clone + Send + Sync + 'static {
    crate::life::open_and_close!(&mut OpenContext, declares "state");

    /// Whether the record stays.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn filter(&mut self, value: &T, ctx: &mut KeyContext<'_, K>) -> Result<bool, BoxError>;

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// Makes one record of each of two streams that are keyed alike, with state that both see: [`KeyedConnectedStreams::rich_map`].
pub trait RichCoMapFunction<K, A, B>: Clone + Send + Sync + 'static {
    /// What it makes.
    type Out: Data;

    crate::life::open_and_close!(&mut OpenContext, declares "state");

    /// Makes one record of one of the first stream.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn map1(&mut self, value: A, ctx: &mut KeyContext<'_, K>) -> Result<Self::Out, BoxError>;

    /// Makes one record of one of the second stream.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn map2(&mut self, value: B, ctx: &mut KeyContext<'_, K>) -> Result<Self::Out, BoxError>;

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// Makes any number of records of each of two streams that are keyed alike, with state that both see:
/// [`KeyedConnectedStreams::rich_flat_map`].
pub trait RichCoFlatMapFunction<K, A, B>: Clone + Send + Sync + 'static {
    /// What it makes.
    type Out: Data;

    crate::life::open_and_close!(&mut OpenContext, declares "state");

    /// Emits what it makes of one record of the first stream.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn flat_map1(
        &mut self,
        value: A,
        ctx: &mut KeyContext<'_, K>,
        out: &mut Collector<Self::Out>,
    ) -> Result<(), BoxError>;

    /// Emits what it makes of one record of the second stream.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn flat_map2(
        &mut self,
        value: B,
        ctx: &mut KeyContext<'_, K>,
        out: &mut Collector<Self::Out>,
    ) -> Result<(), BoxError>;

    crate::checkpoint_hooks::checkpoint_hooks!();
}

impl<K: Key, T: Data> KeyedStream<K, T> {
    /// One record of each, by a struct with state of their keys.
    pub fn rich_map<F: RichMapFunction<K, T>>(&self, function: F) -> DataStream<F::Out> {
        self.apply("keyed-map", "Map", Mapped(function))
    }

    /// Any number of records of each, by a struct with state of their keys.
    pub fn rich_flat_map<F: RichFlatMapFunction<K, T>>(&self, function: F) -> DataStream<F::Out> {
        self.apply("keyed-flat-map", "Flat Map", FlatMapped(function))
    }

    /// The records that a struct lets through, with state of their keys.
    pub fn rich_filter<F: RichFilterFunction<K, T>>(&self, function: F) -> DataStream<T> {
        self.apply("keyed-filter", "Filter", Filtered(function))
    }

    /// One record of each, by a closure that keeps a value a key; `None` where there is none, or shall be none any more.
    ///
    /// ```
    /// # use flott::prelude::*;
    /// # let env = StreamExecutionEnvironment::get_execution_environment();
    /// let words = env.from_collection(["to", "be", "to"].map(String::from));
    /// let numbered = words.key_by(|word| word.clone()).map_with_state(|word, count: &mut Option<i64>| {
    ///     let number = count.unwrap_or(0) + 1;
    ///     *count = Some(number);
    ///     format!("{word}{number}")
    /// });
    /// assert_eq!(numbered.uid("numbers").execute_and_collect("numbers")?, ["to1", "be1", "to2"]);
    /// # Ok::<(), ExecuteError>(())
    /// ```
    pub fn map_with_state<S: StateValue, U: Data>(
        &self,
        f: impl FnMut(T, &mut Option<S>) -> U + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        let mut f = f;
        let code = move |value: T, state: &mut Option<S>, out: &mut Collector<U>| out.collect(f(value, state));
        self.apply("keyed-map", "Map", Stateful::new(code))
    }

    /// Any number of records of each, by a closure that keeps a value a key, as in [`Self::map_with_state`].
    pub fn flat_map_with_state<S: StateValue, U: Data>(
        &self,
        f: impl FnMut(T, &mut Option<S>, &mut Collector<U>) + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        self.apply("keyed-flat-map", "Flat Map", Stateful::new(f))
    }

    /// The records that a closure lets through that keeps a value a key, as in [`Self::map_with_state`].
    pub fn filter_with_state<S: StateValue>(
        &self,
        f: impl FnMut(&T, &mut Option<S>) -> bool + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        let mut f = f;
        let code = move |value: T, state: &mut Option<S>, out: &mut Collector<T>| {
            if f(&value, state) {
                out.collect(value);
            }
        };
        self.apply("keyed-filter", "Filter", Stateful::new(code))
    }
}

impl<K: Key, A: Data, B: Data> KeyedConnectedStreams<K, A, B> {
    /// One record of each, by a struct with state of their keys.
    pub fn rich_map<F: RichCoMapFunction<K, A, B>>(&self, function: F) -> DataStream<F::Out> {
        self.apply("keyed-co-map", "Co-Map", Mapped(function))
    }

    /// Any number of records of each, by a struct with state of their keys.
    pub fn rich_flat_map<F: RichCoFlatMapFunction<K, A, B>>(&self, function: F) -> DataStream<F::Out> {
        self.apply("keyed-co-flat-map", "Co-Flat Map", FlatMapped(function))
    }
}

/// A function of one to one.
#[derive(Clone)]
struct Mapped<F>(F);

impl<K: Key, T, F: RichMapFunction<K, T>> KeyedProcessFunction<K, T> for Mapped<F> {
    type Out = F::Out;

    crate::life::forward_open_and_close!(&mut OpenContext, 0);

    #[inline]
    fn process_element(&mut self, value: T, ctx: &mut ProcessContext<'_, K, F::Out>) -> Result<(), BoxError> {
        let (mut key, out) = ctx.apart();
        out.collect(self.0.map(value, &mut key)?);
        Ok(())
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

impl<K: Key, A, B, F: RichCoMapFunction<K, A, B>> KeyedCoProcessFunction<K, A, B> for Mapped<F> {
    type Out = F::Out;

    crate::life::forward_open_and_close!(&mut OpenContext, 0);

    #[inline]
    fn process_element1(&mut self, value: A, ctx: &mut ProcessContext<'_, K, F::Out>) -> Result<(), BoxError> {
        let (mut key, out) = ctx.apart();
        out.collect(self.0.map1(value, &mut key)?);
        Ok(())
    }
    #[inline]
    fn process_element2(&mut self, value: B, ctx: &mut ProcessContext<'_, K, F::Out>) -> Result<(), BoxError> {
        let (mut key, out) = ctx.apart();
        out.collect(self.0.map2(value, &mut key)?);
        Ok(())
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

/// A function of one to any number.
#[derive(Clone)]
struct FlatMapped<F>(F);

impl<K: Key, T, F: RichFlatMapFunction<K, T>> KeyedProcessFunction<K, T> for FlatMapped<F> {
    type Out = F::Out;

    crate::life::forward_open_and_close!(&mut OpenContext, 0);

    #[inline]
    fn process_element(&mut self, value: T, ctx: &mut ProcessContext<'_, K, F::Out>) -> Result<(), BoxError> {
        let (mut key, out) = ctx.apart();
        self.0.flat_map(value, &mut key, out)
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

impl<K: Key, A, B, F: RichCoFlatMapFunction<K, A, B>> KeyedCoProcessFunction<K, A, B> for FlatMapped<F> {
    type Out = F::Out;

    crate::life::forward_open_and_close!(&mut OpenContext, 0);

    #[inline]
    fn process_element1(&mut self, value: A, ctx: &mut ProcessContext<'_, K, F::Out>) -> Result<(), BoxError> {
        let (mut key, out) = ctx.apart();
        self.0.flat_map1(value, &mut key, out)
    }
    #[inline]
    fn process_element2(&mut self, value: B, ctx: &mut ProcessContext<'_, K, F::Out>) -> Result<(), BoxError> {
        let (mut key, out) = ctx.apart();
        self.0.flat_map2(value, &mut key, out)
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

/// A function of one to itself or nothing.
#[derive(Clone)]
struct Filtered<F>(F);

impl<K: Key, T: Data, F: RichFilterFunction<K, T>> KeyedProcessFunction<K, T> for Filtered<F> {
    type Out = T;

    crate::life::forward_open_and_close!(&mut OpenContext, 0);

    #[inline]
    fn process_element(&mut self, value: T, ctx: &mut ProcessContext<'_, K, T>) -> Result<(), BoxError> {
        let (mut key, out) = ctx.apart();
        if self.0.filter(&value, &mut key)? {
            out.collect(value);
        }
        Ok(())
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

/// A closure over one value a key.
struct Stateful<S, U, F> {
    f: F,
    state: ValueState<S>,
    output: PhantomData<fn() -> U>,
}

impl<S, U, F> Stateful<S, U, F> {
    fn new(f: F) -> Self {
        Self {
            f,
            state: ValueState::default(),
            output: PhantomData,
        }
    }
}

impl<S, U, F: Clone> Clone for Stateful<S, U, F> {
    fn clone(&self) -> Self {
        Self {
            f: self.f.clone(),
            state: self.state,
            output: PhantomData,
        }
    }
}

impl<K, T, S, U, F> KeyedProcessFunction<K, T> for Stateful<S, U, F>
where
    K: Key,
    S: StateValue,
    U: Data,
    F: FnMut(T, &mut Option<S>, &mut Collector<U>) + Clone + Send + Sync + 'static,
{
    type Out = U;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.state = ctx.value_state("state")?;
        Ok(())
    }
    #[inline]
    fn process_element(&mut self, value: T, ctx: &mut ProcessContext<'_, K, U>) -> Result<(), BoxError> {
        (self.f)(value, self.state.entry(&mut *ctx.state), ctx.collector);
        Ok(())
    }
}
