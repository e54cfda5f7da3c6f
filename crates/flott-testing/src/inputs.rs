//! Harnesses by the number of their inputs.

use crate::error::HarnessError;
use crate::harness::{Harness, HarnessBuilder};
use crate::input::{Feed, Input};
use flott::prelude::{
    BroadcastProcessFunction, CoProcessFunction, Data, DataStream, Key, KeyedBroadcastProcessFunction,
    KeyedCoProcessFunction, KeyedProcessFunction, ProcessFunction,
};
use flott_core::EventTime;

/// A harness of one input, for anything that can be made of a stream.
///
/// ```
/// use flott::prelude::*;
/// use flott_testing::OneInputHarness;
/// use std::time::Duration;
///
/// let mut harness = OneInputHarness::of(|prices: DataStream<(String, i64)>| {
///     let windows = TumblingEventTimeWindows::of(Duration::from_secs(10));
///     prices.key_by(|p| p.0.clone()).window(windows).max(|p| &mut p.1)
/// })
/// .open()?;
/// harness.process_element(("gold".to_owned(), 7), 1_000)?;
/// harness.process_element(("gold".to_owned(), 5), 9_999)?;
/// harness.process_watermark(9_998)?;
/// assert!(harness.take_values().is_empty());
/// harness.process_watermark(9_999)?;
/// assert_eq!(harness.take_values(), [("gold".to_owned(), 7)]);
/// # Ok::<(), flott_testing::HarnessError>(())
/// ```
pub type OneInputHarness<T, U> = Harness<Feed<T>, U>;

/// Opens a [`OneInputHarness`].
pub type OneInputHarnessBuilder<T, U> = HarnessBuilder<Feed<T>, U>;

/// A harness of two inputs, for anything that can be made of two streams.
///
/// ```
/// use flott::prelude::*;
/// use flott_testing::TwoInputHarness;
///
/// /// Lets words through that are not forbidden.
/// #[derive(Clone, Default)]
/// struct Allowed {
///     forbidden: BroadcastState<String, bool>,
/// }
///
/// impl BroadcastProcessFunction<String, String> for Allowed {
///     type Out = String;
///
///     fn open(&mut self, ctx: &mut OpenBroadcastContext<'_>) -> Result<(), BoxError> {
///         self.forbidden = ctx.broadcast_state("forbidden")?;
///         Ok(())
///     }
///
///     fn process_element(&mut self, word: String, ctx: &mut Context<'_, String>) -> Result<(), BoxError> {
///         if !self.forbidden.contains(ctx, &word) {
///             ctx.collect(word);
///         }
///         Ok(())
///     }
///
///     fn process_broadcast_element(&mut self, word: String, ctx: &mut BroadcastContext<'_, String>) -> Result<(), BoxError> {
///         self.forbidden.put(ctx, word, true);
///         Ok(())
///     }
/// }
///
/// let mut harness = TwoInputHarness::for_broadcast_process_function(Allowed::default()).open()?;
/// harness.process_element1("drat".to_owned(), 1)?;
/// harness.process_element2("drat".to_owned(), 2)?;
/// harness.process_element1("drat".to_owned(), 3)?;
/// harness.process_element1("dear".to_owned(), 4)?;
/// assert_eq!(harness.take_values(), ["drat", "dear"]);
/// # Ok::<(), flott_testing::HarnessError>(())
/// ```
pub type TwoInputHarness<A, B, U> = Harness<(Feed<A>, Feed<B>), U>;

/// Opens a [`TwoInputHarness`].
pub type TwoInputHarnessBuilder<A, B, U> = HarnessBuilder<(Feed<A>, Feed<B>), U>;

impl<T: Data, U: Data> Harness<Feed<T>, U> {
    /// Of what `describe` makes of a stream: windows, keyed functions, several operators behind each other.
    pub fn of(describe: impl FnOnce(DataStream<T>) -> DataStream<U> + 'static) -> OneInputHarnessBuilder<T, U> {
        HarnessBuilder::new(move |env| {
            let feed = Feed::new();
            let stream = describe(feed.stream(env, 1));
            (feed, stream)
        })
    }

    /// Of a function that sees each record.
    pub fn for_process_function(function: impl ProcessFunction<T, Out = U>) -> OneInputHarnessBuilder<T, U> {
        Self::of(move |stream| stream.process(function))
    }

    /// Of a function with state and timers of keys, which `key` gives.
    pub fn for_keyed_process_function<K: Key>(
        function: impl KeyedProcessFunction<K, T, Out = U>,
        key: impl Fn(&T) -> K + Send + Sync + 'static,
    ) -> OneInputHarnessBuilder<T, U> {
        Self::of(move |stream| stream.key_by(key).process(function))
    }

    /// Pushes a record with its event time, in milliseconds.
    ///
    /// # Errors
    /// If an operator fails; the text names the record.
    pub fn process_element(&mut self, value: T, timestamp: EventTime) -> Result<(), HarnessError> {
        self.push(Input::Record(value, Some(timestamp)))
    }

    /// Pushes a record without event time.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn process_value(&mut self, value: T) -> Result<(), HarnessError> {
        self.push(Input::Record(value, None))
    }

    /// Moves the watermark; to an earlier time it does nothing.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn process_watermark(&mut self, watermark: EventTime) -> Result<(), HarnessError> {
        self.push(Input::Watermark(watermark))
    }

    /// Says that the input is idle, or no longer.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn process_idleness(&mut self, idle: bool) -> Result<(), HarnessError> {
        self.push(Input::Idle(idle))
    }

    /// Ends the input: time comes to its end, windows fire, functions are closed.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn end_input(&mut self) -> Result<(), HarnessError> {
        self.inputs.end();
        self.run()
    }

    fn push(&mut self, input: Input<T>) -> Result<(), HarnessError> {
        if self.inputs.has_ended() {
            return Err(HarnessError::Ended);
        }
        self.inputs.push(input);
        self.run()
    }
}

impl<A: Data, B: Data, U: Data> Harness<(Feed<A>, Feed<B>), U> {
    /// Of what `describe` makes of two streams: connected ones, joins.
    pub fn of(
        describe: impl FnOnce(DataStream<A>, DataStream<B>) -> DataStream<U> + 'static,
    ) -> TwoInputHarnessBuilder<A, B, U> {
        HarnessBuilder::new(move |env| {
            let feeds = (Feed::new(), Feed::new());
            let stream = describe(feeds.0.stream(env, 1), feeds.1.stream(env, 2));
            (feeds, stream)
        })
    }

    /// Of a function that sees each record of both streams.
    pub fn for_co_process_function(function: impl CoProcessFunction<A, B, Out = U>) -> TwoInputHarnessBuilder<A, B, U> {
        Self::of(move |first, second| first.connect(&second).process(function))
    }

    /// Of a function with state and timers of keys, which `key1` and `key2` give.
    pub fn for_keyed_co_process_function<K: Key>(
        function: impl KeyedCoProcessFunction<K, A, B, Out = U>,
        key1: impl Fn(&A) -> K + Send + Sync + 'static,
        key2: impl Fn(&B) -> K + Send + Sync + 'static,
    ) -> TwoInputHarnessBuilder<A, B, U> {
        Self::of(move |first, second| first.key_by(key1).connect(&second.key_by(key2)).process(function))
    }

    /// Of a function whose second stream is broadcast.
    pub fn for_broadcast_process_function(
        function: impl BroadcastProcessFunction<A, B, Out = U>,
    ) -> TwoInputHarnessBuilder<A, B, U> {
        Self::of(move |first, second| first.connect_broadcast(&second.broadcast_stream()).process(function))
    }

    /// Of a function whose first stream has keys, which `key` gives, and whose second is broadcast.
    pub fn for_keyed_broadcast_process_function<K: Key>(
        function: impl KeyedBroadcastProcessFunction<K, A, B, Out = U>,
        key: impl Fn(&A) -> K + Send + Sync + 'static,
    ) -> TwoInputHarnessBuilder<A, B, U> {
        Self::of(move |first, second| {
            first
                .key_by(key)
                .connect_broadcast(&second.broadcast_stream())
                .process(function)
        })
    }

    /// Pushes a record of the first stream with its event time, in milliseconds.
    ///
    /// # Errors
    /// If an operator fails; the text names the record.
    pub fn process_element1(&mut self, value: A, timestamp: EventTime) -> Result<(), HarnessError> {
        self.push1(Input::Record(value, Some(timestamp)))
    }

    /// Pushes a record of the second stream with its event time, in milliseconds.
    ///
    /// # Errors
    /// If an operator fails; the text names the record.
    pub fn process_element2(&mut self, value: B, timestamp: EventTime) -> Result<(), HarnessError> {
        self.push2(Input::Record(value, Some(timestamp)))
    }

    /// Pushes a record of the first stream without event time.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn process_value1(&mut self, value: A) -> Result<(), HarnessError> {
        self.push1(Input::Record(value, None))
    }

    /// Pushes a record of the second stream without event time.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn process_value2(&mut self, value: B) -> Result<(), HarnessError> {
        self.push2(Input::Record(value, None))
    }

    /// Moves the watermark of the first stream; that of the operator is the earlier one of both.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn process_watermark1(&mut self, watermark: EventTime) -> Result<(), HarnessError> {
        self.push1(Input::Watermark(watermark))
    }

    /// Moves the watermark of the second stream; that of the operator is the earlier one of both.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn process_watermark2(&mut self, watermark: EventTime) -> Result<(), HarnessError> {
        self.push2(Input::Watermark(watermark))
    }

    /// Moves the watermarks of both streams.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn process_both_watermarks(&mut self, watermark: EventTime) -> Result<(), HarnessError> {
        self.process_watermark1(watermark)?;
        self.process_watermark2(watermark)
    }

    /// Says that the first stream is idle, or no longer.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn process_idleness1(&mut self, idle: bool) -> Result<(), HarnessError> {
        self.push1(Input::Idle(idle))
    }

    /// Says that the second stream is idle, or no longer.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn process_idleness2(&mut self, idle: bool) -> Result<(), HarnessError> {
        self.push2(Input::Idle(idle))
    }

    /// Ends both streams: time comes to its end, windows fire, functions are closed.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn end_inputs(&mut self) -> Result<(), HarnessError> {
        self.inputs.0.end();
        self.inputs.1.end();
        self.run()
    }

    fn push1(&mut self, input: Input<A>) -> Result<(), HarnessError> {
        if self.inputs.0.has_ended() {
            return Err(HarnessError::Ended);
        }
        self.inputs.0.push(input);
        self.run()
    }

    fn push2(&mut self, input: Input<B>) -> Result<(), HarnessError> {
        if self.inputs.1.has_ended() {
            return Err(HarnessError::Ended);
        }
        self.inputs.1.push(input);
        self.run()
    }
}
