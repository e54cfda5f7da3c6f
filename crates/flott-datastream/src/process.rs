//! Functions that see all that there is to know of a record: [`ProcessFunction`], and with state and timers of its key
//! [`KeyedProcessFunction`].

use crate::broadcast::{AsBroadcast, BroadcastDeclarations, BroadcastStates};
use crate::function::{BoxError, Collector, RuntimeContext};
use crate::key::{Key, KeyAt};
use crate::records::Data;
use crate::rich::KeyContext;
use crate::side::OutputTag;
use crate::state::{AsState, KeyState, StateDeclarations};
use crate::timers::Timers;
use crate::window::trigger::TimeDomain;
use flott_core::EventTime;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Works on each record with its time and the watermark, and may emit to side outputs ([`OutputTag`]).
///
/// It has no state of a key: [`KeyedProcessFunction`] has.
///
/// ```compile_fail,E0599
/// # use flott::prelude::*;
/// # #[derive(Clone, Default)]
/// # struct Count(ValueState<i64>);
/// impl ProcessFunction<String> for Count {
///     type Out = String;
///     fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
///         self.0 = ctx.value_state("count")?; // no method named `value_state`
///         Ok(())
///     }
///     # fn process_element(&mut self, _: String, _: &mut Context<'_, String>) -> Result<(), BoxError> { Ok(()) }
/// }
/// ```
pub trait ProcessFunction<T>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Data;

    crate::life::open_and_close!(&RuntimeContext);

    /// Called for each record.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn process_element(&mut self, value: T, ctx: &mut Context<'_, Self::Out>) -> Result<(), BoxError>;

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// The record's time, and where output goes.
pub struct Context<'a, U> {
    pub(crate) collector: &'a mut Collector<U>,
    pub(crate) watermark: EventTime,
    pub(crate) now_ms: i64,
    pub(crate) broadcast: &'a mut BroadcastStates,
}

impl<U> fmt::Debug for Context<'_, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("timestamp", &self.collector.time)
            .field("watermark", &self.watermark)
            .finish_non_exhaustive()
    }
}

impl<U> Context<'_, U> {
    /// Emits a record.
    #[inline]
    pub fn collect(&mut self, value: U) {
        self.collector.collect(value);
    }

    /// Emits a record to a side output: [`crate::DataStream::get_side_output`].
    pub fn output<X: Data>(&mut self, tag: &OutputTag<X>, value: X) {
        self.collector.output(tag, value);
    }

    /// Event time of the record at hand, in milliseconds.
    pub fn timestamp(&self) -> Option<EventTime> {
        self.collector.time
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

impl<U> AsBroadcast for Context<'_, U> {
    fn as_broadcast(&self) -> &BroadcastStates {
        self.broadcast
    }
}

impl<K, U> AsBroadcast for ProcessContext<'_, K, U> {
    fn as_broadcast(&self) -> &BroadcastStates {
        self.broadcast
    }
}

/// Works on the records of each key, with state and timers of that key.
///
/// ```
/// use flott::prelude::*;
///
/// /// Counts the clicks of each user.
/// #[derive(Clone, Default)]
/// struct RunningCount {
///     count: ValueState<i64>,
/// }
///
/// impl KeyedProcessFunction<String, (String, i64)> for RunningCount {
///     type Out = (String, i64);
///
///     fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
///         self.count = ctx.value_state("clickCount")?;
///         Ok(())
///     }
///
///     fn process_element(&mut self, (user, clicks): (String, i64), ctx: &mut ProcessContext<'_, String, Self::Out>) -> Result<(), BoxError> {
///         let count = self.count.value(ctx).unwrap_or(&0) + clicks;
///         self.count.update(ctx, count);
///         ctx.collect((user, count));
///         Ok(())
///     }
/// }
///
/// let env = StreamExecutionEnvironment::get_execution_environment();
/// let clicks = env.from_collection([("u1", 2), ("u2", 3), ("u1", 5)].map(|(u, n)| (u.to_owned(), n)));
/// let counts = clicks.key_by(|click| click.0.clone()).process(RunningCount::default());
/// let counts: Vec<i64> = counts.execute_and_collect("clicks")?.into_iter().map(|c| c.1).collect();
/// assert_eq!(counts, [2, 3, 7]);
/// # Ok::<(), ExecuteError>(())
/// ```
///
/// State and timers are of a key, so a stream without keys does not take it:
///
/// ```compile_fail,E0277
/// # use flott::prelude::*;
/// # #[derive(Clone)]
/// # struct RunningCount;
/// # impl KeyedProcessFunction<String, String> for RunningCount {
/// #     type Out = String;
/// #     fn process_element(&mut self, _: String, _: &mut ProcessContext<'_, String, String>) -> Result<(), BoxError> {
/// #         Ok(())
/// #     }
/// # }
/// # let env = StreamExecutionEnvironment::get_execution_environment();
/// let words = env.from_collection(["to", "be"].map(String::from));
/// words.process(RunningCount).print(); // words.key_by(|word| word.clone()).process(RunningCount) does
/// ```
pub trait KeyedProcessFunction<K, T>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Data;

    crate::life::open_and_close!(&mut OpenContext, declares "state");

    /// Called for each record, in the order of its key.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn process_element(&mut self, value: T, ctx: &mut ProcessContext<'_, K, Self::Out>) -> Result<(), BoxError>;

    /// Called when a timer of a key is due; `timestamp` is the time that was registered, in milliseconds.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn on_timer(&mut self, timestamp: i64, ctx: &mut ProcessContext<'_, K, Self::Out>) -> Result<(), BoxError> {
        let _ = (timestamp, ctx);
        Ok(())
    }

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// What `open` is told, and where it declares state.
#[derive(Debug)]
pub struct OpenContext {
    runtime: RuntimeContext,
    declarations: StateDeclarations,
    pub(crate) broadcast: BroadcastDeclarations,
}

impl OpenContext {
    pub(crate) fn new(runtime: RuntimeContext) -> Self {
        Self {
            runtime,
            declarations: StateDeclarations::default(),
            broadcast: BroadcastDeclarations::default(),
        }
    }

    /// Where the function runs.
    pub fn runtime(&self) -> &RuntimeContext {
        &self.runtime
    }

    /// The keyed and the broadcast state that was declared.
    pub(crate) fn into_declarations(self) -> (StateDeclarations, BroadcastDeclarations) {
        (self.declarations, self.broadcast)
    }
}

impl Deref for OpenContext {
    type Target = StateDeclarations;
    fn deref(&self) -> &StateDeclarations {
        &self.declarations
    }
}

impl DerefMut for OpenContext {
    fn deref_mut(&mut self) -> &mut StateDeclarations {
        &mut self.declarations
    }
}

/// The record's or timer's key, its state, its timers, and where output goes.
pub struct ProcessContext<'a, K, U> {
    pub(crate) key: KeyAt<'a, K>,
    pub(crate) key_hash: u64,
    pub(crate) state: &'a mut KeyState,
    pub(crate) event_timers: &'a mut Timers<K>,
    pub(crate) processing_timers: &'a mut Timers<K>,
    pub(crate) watermark: EventTime,
    pub(crate) now_ms: i64,
    pub(crate) collector: &'a mut Collector<U>,
    pub(crate) broadcast: &'a BroadcastStates,
    /// In `on_timer`: the timer.
    pub(crate) timer: Option<(TimeDomain, i64)>,
}

impl<K: Key + fmt::Debug, U> fmt::Debug for ProcessContext<'_, K, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessContext")
            .field("key", self.key.get())
            .finish_non_exhaustive()
    }
}

impl<K: Key, U> ProcessContext<'_, K, U> {
    /// The key at hand.
    pub fn current_key(&self) -> &K {
        self.key.get()
    }

    /// Emits a record.
    #[inline]
    pub fn collect(&mut self, value: U) {
        self.collector.collect(value);
    }

    /// Emits a record to a side output: [`crate::DataStream::get_side_output`].
    pub fn output<X: Data>(&mut self, tag: &OutputTag<X>, value: X) {
        self.collector.output(tag, value);
    }

    /// Event time of the record at hand; in `on_timer` the time of the timer, of either domain.
    pub fn timestamp(&self) -> Option<i64> {
        match self.timer {
            Some((_, time_ms)) => Some(time_ms),
            None => self.collector.time,
        }
    }

    /// By which time the timer was set that is at hand; `None` outside of `on_timer`.
    pub fn time_domain(&self) -> Option<TimeDomain> {
        self.timer.map(|(domain, _)| domain)
    }

    /// The key, its state and the record's time, apart from where output goes.
    pub(crate) fn apart(&mut self) -> (KeyContext<'_, K>, &mut Collector<U>) {
        let of_key = KeyContext {
            key: self.key,
            state: self.state,
            timestamp: self.collector.time,
            watermark: self.watermark,
            now_ms: self.now_ms,
        };
        (of_key, self.collector)
    }

    /// The watermark, in milliseconds.
    pub fn current_watermark(&self) -> EventTime {
        self.watermark
    }

    /// Processing time, in milliseconds; one value for a batch.
    pub fn current_processing_time(&self) -> i64 {
        self.now_ms
    }

    /// Calls `on_timer` for this key when the watermark has come to `time_ms`.
    pub fn register_event_time_timer(&mut self, time_ms: EventTime) {
        self.event_timers.request(self.key.get(), self.key_hash, time_ms, false);
    }

    /// Takes an event-time timer of this key back.
    pub fn delete_event_time_timer(&mut self, time_ms: EventTime) {
        self.event_timers.request(self.key.get(), self.key_hash, time_ms, true);
    }

    /// Calls `on_timer` for this key when processing time has come to `time_ms`.
    pub fn register_processing_time_timer(&mut self, time_ms: i64) {
        self.processing_timers
            .request(self.key.get(), self.key_hash, time_ms, false);
    }

    /// Takes a processing-time timer of this key back.
    pub fn delete_processing_time_timer(&mut self, time_ms: i64) {
        self.processing_timers
            .request(self.key.get(), self.key_hash, time_ms, true);
    }
}

impl<K, U> AsState for ProcessContext<'_, K, U> {
    fn as_state(&self) -> &KeyState {
        self.state
    }
    fn as_state_mut(&mut self) -> &mut KeyState {
        self.state
    }
}
