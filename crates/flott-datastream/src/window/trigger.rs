//! When a window fires: [`Trigger`] and those that Flink has.

use super::Window;
use crate::function::BoxError;
use flott_core::{EventTime, LogicalType};
use flott_state::StateValue;
use flott_state::value::DamagedValue;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What becomes of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerResult {
    /// Nothing.
    Continue,
    /// The function is called with its contents, which stay.
    Fire,
    /// Its contents are thrown away.
    Purge,
    /// Both.
    FireAndPurge,
}

impl TriggerResult {
    /// Whether the function is called.
    pub fn is_fire(self) -> bool {
        matches!(self, Self::Fire | Self::FireAndPurge)
    }

    /// Whether the contents are thrown away.
    pub fn is_purge(self) -> bool {
        matches!(self, Self::Purge | Self::FireAndPurge)
    }

    /// The same, whose contents are thrown away if it fires.
    fn purging(self) -> Self {
        match self {
            Self::Fire => Self::FireAndPurge,
            other => other,
        }
    }
}

/// Time by which timers are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeDomain {
    /// That of records and watermarks.
    EventTime,
    /// That of the machine.
    ProcessingTime,
}

/// A timer that a trigger asks for, or takes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimerRequest {
    pub(crate) time_ms: i64,
    pub(crate) domain: TimeDomain,
    pub(crate) is_removal: bool,
}

/// What a trigger sees of a window of a key, and its timers.
#[derive(Debug)]
pub struct TriggerContext<'a, S> {
    /// The trigger's state of this key and window; kept as long as the window.
    pub state: &'a mut S,
    pub(crate) watermark: EventTime,
    pub(crate) now_ms: i64,
    pub(crate) requests: &'a mut Vec<TimerRequest>,
}

impl<S> TriggerContext<'_, S> {
    /// The watermark, in milliseconds.
    pub fn current_watermark(&self) -> EventTime {
        self.watermark
    }

    /// Processing time, in milliseconds; one value for a batch.
    pub fn current_processing_time(&self) -> i64 {
        self.now_ms
    }

    /// Calls [`Trigger::on_event_time`] for this window when the watermark has come to `time_ms`.
    pub fn register_event_time_timer(&mut self, time_ms: EventTime) {
        self.ask(time_ms, TimeDomain::EventTime, false);
    }

    /// Takes an event-time timer of this window back.
    pub fn delete_event_time_timer(&mut self, time_ms: EventTime) {
        self.ask(time_ms, TimeDomain::EventTime, true);
    }

    /// Calls [`Trigger::on_processing_time`] for this window when processing time has passed `time_ms`.
    pub fn register_processing_time_timer(&mut self, time_ms: i64) {
        self.ask(time_ms, TimeDomain::ProcessingTime, false);
    }

    /// Takes a processing-time timer of this window back.
    pub fn delete_processing_time_timer(&mut self, time_ms: i64) {
        self.ask(time_ms, TimeDomain::ProcessingTime, true);
    }

    fn ask(&mut self, time_ms: i64, domain: TimeDomain, is_removal: bool) {
        self.requests.push(TimerRequest {
            time_ms,
            domain,
            is_removal,
        });
    }
}

/// Says when a window fires. Its state of a key and window is a value of [`Self::State`].
///
/// ```
/// use flott::prelude::*;
///
/// /// Fires when a record says so, and begins anew.
/// #[derive(Clone)]
/// struct OnMarker;
///
/// impl<W: Window> Trigger<String, W> for OnMarker {
///     type State = NoState;
///
///     fn on_element(&mut self, value: &String, _: i64, _: &W, _: &mut TriggerContext<'_, NoState>) -> Result<TriggerResult, BoxError> {
///         Ok(if value == "marker" { TriggerResult::FireAndPurge } else { TriggerResult::Continue })
///     }
/// }
///
/// let env = StreamExecutionEnvironment::get_execution_environment();
/// let texts = env.from_collection(["a", "b", "marker", "c", "marker", "d"].map(String::from));
/// let counts = texts
///     .window_all(GlobalWindows)
///     .trigger(OnMarker)
///     .apply(|_, _, texts, out| out.collect(texts.len()));
/// assert_eq!(counts.execute_and_collect("markers")?, [3, 2]);
/// # Ok::<(), ExecuteError>(())
/// ```
pub trait Trigger<T, W>: Clone + Send + Sync + 'static {
    /// What it keeps for each key and window: [`NoState`] if nothing.
    type State: StateValue + Default + PartialEq;

    /// Called when a record was added to a window; `timestamp` is its event time, `i64::MIN` if it has none.
    ///
    /// # Errors
    /// Fails the task; so do errors of all methods.
    fn on_element(
        &mut self,
        value: &T,
        timestamp: EventTime,
        window: &W,
        ctx: &mut TriggerContext<'_, Self::State>,
    ) -> Result<TriggerResult, BoxError>;

    /// Called when an event-time timer is due; also at the end of a window's life.
    ///
    /// # Errors
    /// As [`Self::on_element`].
    fn on_event_time(
        &mut self,
        time_ms: EventTime,
        window: &W,
        ctx: &mut TriggerContext<'_, Self::State>,
    ) -> Result<TriggerResult, BoxError> {
        let _ = (time_ms, window, ctx);
        Ok(TriggerResult::Continue)
    }

    /// Called when a processing-time timer is due; also at the end of a window's life.
    ///
    /// # Errors
    /// As [`Self::on_element`].
    fn on_processing_time(
        &mut self,
        time_ms: i64,
        window: &W,
        ctx: &mut TriggerContext<'_, Self::State>,
    ) -> Result<TriggerResult, BoxError> {
        let _ = (time_ms, window, ctx);
        Ok(TriggerResult::Continue)
    }

    /// Whether it can be used where windows merge.
    fn can_merge(&self) -> bool {
        false
    }

    /// Called when windows have become `window`: puts what they had kept (`merged`, in the order of their times) into the context's
    /// state, and sets the timers that the new window needs.
    ///
    /// # Errors
    /// As [`Self::on_element`].
    fn on_merge(
        &mut self,
        window: &W,
        merged: Vec<Self::State>,
        ctx: &mut TriggerContext<'_, Self::State>,
    ) -> Result<(), BoxError> {
        let _ = (window, merged, ctx);
        Ok(())
    }

    /// Called when a window's life is over: takes timers back.
    ///
    /// # Errors
    /// As [`Self::on_element`].
    fn clear(&mut self, window: &W, ctx: &mut TriggerContext<'_, Self::State>) -> Result<(), BoxError> {
        let _ = (window, ctx);
        Ok(())
    }

    /// By which time it fires a window once, at its end, and never else; then windows of one size need no timers.
    fn fires_once_by(&self) -> Option<TimeDomain> {
        None
    }
}

/// No state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoState;

/// As a number that says nothing.
impl StateValue for NoState {
    fn state_type() -> LogicalType {
        i8::state_type()
    }
    fn write(&self, out: &mut Vec<u8>) {
        0i8.write(out);
    }
    fn check(stored: &LogicalType) -> Result<(), String> {
        i8::check(stored)
    }
    fn read(stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
        i8::read(stored, bytes).map(|_| Self)
    }
}

/// Fires when the watermark passes the end of the window, and for each record that comes after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventTimeTrigger;

impl<T, W: Window> Trigger<T, W> for EventTimeTrigger {
    type State = NoState;

    fn on_element(
        &mut self,
        _value: &T,
        _timestamp: EventTime,
        window: &W,
        ctx: &mut TriggerContext<'_, NoState>,
    ) -> Result<TriggerResult, BoxError> {
        if window.max_timestamp() <= ctx.watermark {
            return Ok(TriggerResult::Fire);
        }
        ctx.register_event_time_timer(window.max_timestamp());
        Ok(TriggerResult::Continue)
    }

    fn on_event_time(
        &mut self,
        time_ms: EventTime,
        window: &W,
        _ctx: &mut TriggerContext<'_, NoState>,
    ) -> Result<TriggerResult, BoxError> {
        Ok(match time_ms == window.max_timestamp() {
            true => TriggerResult::Fire,
            false => TriggerResult::Continue,
        })
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_merge(&mut self, window: &W, _: Vec<NoState>, ctx: &mut TriggerContext<'_, NoState>) -> Result<(), BoxError> {
        if window.max_timestamp() > ctx.watermark {
            ctx.register_event_time_timer(window.max_timestamp());
        }
        Ok(())
    }

    fn clear(&mut self, window: &W, ctx: &mut TriggerContext<'_, NoState>) -> Result<(), BoxError> {
        ctx.delete_event_time_timer(window.max_timestamp());
        Ok(())
    }

    fn fires_once_by(&self) -> Option<TimeDomain> {
        Some(TimeDomain::EventTime)
    }
}

/// Fires when processing time passes the end of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessingTimeTrigger;

impl<T, W: Window> Trigger<T, W> for ProcessingTimeTrigger {
    type State = NoState;

    fn on_element(
        &mut self,
        _value: &T,
        _timestamp: EventTime,
        window: &W,
        ctx: &mut TriggerContext<'_, NoState>,
    ) -> Result<TriggerResult, BoxError> {
        ctx.register_processing_time_timer(window.max_timestamp());
        Ok(TriggerResult::Continue)
    }

    fn on_processing_time(
        &mut self,
        _time_ms: i64,
        _window: &W,
        _ctx: &mut TriggerContext<'_, NoState>,
    ) -> Result<TriggerResult, BoxError> {
        Ok(TriggerResult::Fire)
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_merge(&mut self, window: &W, _: Vec<NoState>, ctx: &mut TriggerContext<'_, NoState>) -> Result<(), BoxError> {
        if window.max_timestamp() > ctx.now_ms {
            ctx.register_processing_time_timer(window.max_timestamp());
        }
        Ok(())
    }

    fn clear(&mut self, window: &W, ctx: &mut TriggerContext<'_, NoState>) -> Result<(), BoxError> {
        ctx.delete_processing_time_timer(window.max_timestamp());
        Ok(())
    }

    fn fires_once_by(&self) -> Option<TimeDomain> {
        Some(TimeDomain::ProcessingTime)
    }
}

/// Never fires: that of [`super::assigner::GlobalWindows`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NeverTrigger;

impl<T, W> Trigger<T, W> for NeverTrigger {
    type State = NoState;

    fn on_element(
        &mut self,
        _value: &T,
        _timestamp: EventTime,
        _window: &W,
        _ctx: &mut TriggerContext<'_, NoState>,
    ) -> Result<TriggerResult, BoxError> {
        Ok(TriggerResult::Continue)
    }
}

/// Fires when so many records have come since it last fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountTrigger(i64);

impl CountTrigger {
    /// Fires at each `count` records.
    pub fn of(count: u32) -> Self {
        Self(i64::from(count))
    }
}

impl<T, W> Trigger<T, W> for CountTrigger {
    type State = i64;

    fn on_element(
        &mut self,
        _value: &T,
        _timestamp: EventTime,
        _window: &W,
        ctx: &mut TriggerContext<'_, i64>,
    ) -> Result<TriggerResult, BoxError> {
        *ctx.state += 1;
        if *ctx.state < self.0 {
            return Ok(TriggerResult::Continue);
        }
        *ctx.state = 0;
        Ok(TriggerResult::Fire)
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_merge(&mut self, _: &W, merged: Vec<i64>, ctx: &mut TriggerContext<'_, i64>) -> Result<(), BoxError> {
        *ctx.state += merged.into_iter().sum::<i64>();
        Ok(())
    }
}

/// Throws the contents away whenever another trigger fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgingTrigger<G>(G);

impl<G> PurgingTrigger<G> {
    /// Around a trigger.
    pub fn of(trigger: G) -> Self {
        Self(trigger)
    }
}

impl<T, W, G: Trigger<T, W>> Trigger<T, W> for PurgingTrigger<G> {
    type State = G::State;

    fn on_element(
        &mut self,
        value: &T,
        timestamp: EventTime,
        window: &W,
        ctx: &mut TriggerContext<'_, G::State>,
    ) -> Result<TriggerResult, BoxError> {
        Ok(self.0.on_element(value, timestamp, window, ctx)?.purging())
    }

    fn on_event_time(
        &mut self,
        time_ms: EventTime,
        window: &W,
        ctx: &mut TriggerContext<'_, G::State>,
    ) -> Result<TriggerResult, BoxError> {
        Ok(self.0.on_event_time(time_ms, window, ctx)?.purging())
    }

    fn on_processing_time(
        &mut self,
        time_ms: i64,
        window: &W,
        ctx: &mut TriggerContext<'_, G::State>,
    ) -> Result<TriggerResult, BoxError> {
        Ok(self.0.on_processing_time(time_ms, window, ctx)?.purging())
    }

    fn can_merge(&self) -> bool {
        self.0.can_merge()
    }

    fn on_merge(
        &mut self,
        window: &W,
        merged: Vec<G::State>,
        ctx: &mut TriggerContext<'_, G::State>,
    ) -> Result<(), BoxError> {
        self.0.on_merge(window, merged, ctx)
    }

    fn clear(&mut self, window: &W, ctx: &mut TriggerContext<'_, G::State>) -> Result<(), BoxError> {
        self.0.clear(window, ctx)
    }
}

/// The earliest of the times at which merged windows were to fire.
fn earliest(merged: Vec<Option<i64>>, own: Option<i64>) -> Option<i64> {
    merged.into_iter().chain([own]).flatten().min()
}

/// Fires every so often of event time, and at the end of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContinuousEventTimeTrigger {
    interval_ms: i64,
}

impl ContinuousEventTimeTrigger {
    /// Fires every `interval`, at its multiples since the epoch.
    pub fn of(interval: Duration) -> Self {
        Self {
            interval_ms: interval_ms(interval),
        }
    }

    fn register_next<W: Window>(&self, from_ms: i64, window: &W, ctx: &mut TriggerContext<'_, Option<i64>>) {
        let next_ms = from_ms.saturating_add(self.interval_ms).min(window.max_timestamp());
        *ctx.state = Some(next_ms);
        ctx.register_event_time_timer(next_ms);
    }
}

fn interval_ms(interval: Duration) -> i64 {
    i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1)
}

impl<T, W: Window> Trigger<T, W> for ContinuousEventTimeTrigger {
    type State = Option<i64>;

    fn on_element(
        &mut self,
        _value: &T,
        timestamp: EventTime,
        window: &W,
        ctx: &mut TriggerContext<'_, Option<i64>>,
    ) -> Result<TriggerResult, BoxError> {
        if window.max_timestamp() <= ctx.watermark {
            return Ok(TriggerResult::Fire);
        }
        ctx.register_event_time_timer(window.max_timestamp());
        if ctx.state.is_none() {
            self.register_next(timestamp - timestamp % self.interval_ms, window, ctx);
        }
        Ok(TriggerResult::Continue)
    }

    fn on_event_time(
        &mut self,
        time_ms: EventTime,
        window: &W,
        ctx: &mut TriggerContext<'_, Option<i64>>,
    ) -> Result<TriggerResult, BoxError> {
        if time_ms == window.max_timestamp() {
            return Ok(TriggerResult::Fire);
        }
        if *ctx.state == Some(time_ms) {
            self.register_next(time_ms, window, ctx);
            return Ok(TriggerResult::Fire);
        }
        Ok(TriggerResult::Continue)
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_merge(
        &mut self,
        _window: &W,
        merged: Vec<Option<i64>>,
        ctx: &mut TriggerContext<'_, Option<i64>>,
    ) -> Result<(), BoxError> {
        *ctx.state = earliest(merged, *ctx.state);
        if let Some(next_ms) = *ctx.state {
            ctx.register_event_time_timer(next_ms);
        }
        Ok(())
    }

    fn clear(&mut self, _window: &W, ctx: &mut TriggerContext<'_, Option<i64>>) -> Result<(), BoxError> {
        if let Some(next_ms) = ctx.state.take() {
            ctx.delete_event_time_timer(next_ms);
        }
        Ok(())
    }
}

/// Fires every so often of processing time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContinuousProcessingTimeTrigger {
    interval_ms: i64,
}

impl ContinuousProcessingTimeTrigger {
    /// Fires every `interval`, at its multiples since the epoch.
    pub fn of(interval: Duration) -> Self {
        Self {
            interval_ms: interval_ms(interval),
        }
    }

    fn register_next<W: Window>(&self, from_ms: i64, window: &W, ctx: &mut TriggerContext<'_, Option<i64>>) {
        let next_ms = from_ms.saturating_add(self.interval_ms).min(window.max_timestamp());
        *ctx.state = Some(next_ms);
        ctx.register_processing_time_timer(next_ms);
    }
}

impl<T, W: Window> Trigger<T, W> for ContinuousProcessingTimeTrigger {
    type State = Option<i64>;

    fn on_element(
        &mut self,
        _value: &T,
        _timestamp: EventTime,
        window: &W,
        ctx: &mut TriggerContext<'_, Option<i64>>,
    ) -> Result<TriggerResult, BoxError> {
        if ctx.state.is_none() {
            self.register_next(ctx.now_ms - ctx.now_ms % self.interval_ms, window, ctx);
        }
        Ok(TriggerResult::Continue)
    }

    fn on_processing_time(
        &mut self,
        time_ms: i64,
        window: &W,
        ctx: &mut TriggerContext<'_, Option<i64>>,
    ) -> Result<TriggerResult, BoxError> {
        if *ctx.state == Some(time_ms) {
            self.register_next(time_ms, window, ctx);
            return Ok(TriggerResult::Fire);
        }
        Ok(TriggerResult::Continue)
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_merge(
        &mut self,
        _window: &W,
        merged: Vec<Option<i64>>,
        ctx: &mut TriggerContext<'_, Option<i64>>,
    ) -> Result<(), BoxError> {
        *ctx.state = earliest(merged, *ctx.state);
        if let Some(next_ms) = *ctx.state {
            ctx.register_processing_time_timer(next_ms);
        }
        Ok(())
    }

    fn clear(&mut self, _window: &W, ctx: &mut TriggerContext<'_, Option<i64>>) -> Result<(), BoxError> {
        if let Some(next_ms) = ctx.state.take() {
            ctx.delete_processing_time_timer(next_ms);
        }
        Ok(())
    }
}

/// How far two records are apart.
pub(crate) type Delta<T> = Arc<dyn Fn(&T, &T) -> f64 + Send + Sync>;

/// Fires when a record is further than a threshold from the one that it last fired for (the first one, at the beginning).
pub struct DeltaTrigger<T> {
    threshold: f64,
    delta: Delta<T>,
}

impl<T> DeltaTrigger<T> {
    /// `delta(last, record)` says how far apart two records are.
    pub fn of(threshold: f64, delta: impl Fn(&T, &T) -> f64 + Send + Sync + 'static) -> Self {
        Self {
            threshold,
            delta: Arc::new(delta),
        }
    }
}

impl<T> Clone for DeltaTrigger<T> {
    fn clone(&self) -> Self {
        Self {
            threshold: self.threshold,
            delta: self.delta.clone(),
        }
    }
}

impl<T> fmt::Debug for DeltaTrigger<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeltaTrigger({})", self.threshold)
    }
}

impl<T: StateValue + PartialEq, W> Trigger<T, W> for DeltaTrigger<T> {
    type State = Option<T>;

    fn on_element(
        &mut self,
        value: &T,
        _timestamp: EventTime,
        _window: &W,
        ctx: &mut TriggerContext<'_, Option<T>>,
    ) -> Result<TriggerResult, BoxError> {
        match ctx.state {
            None => {
                *ctx.state = Some(value.clone());
                Ok(TriggerResult::Continue)
            }
            Some(last) if (self.delta)(last, value) > self.threshold => {
                *ctx.state = Some(value.clone());
                Ok(TriggerResult::Fire)
            }
            Some(_) => Ok(TriggerResult::Continue),
        }
    }
}
