//! [`ProcessingTimeoutTrigger`]: another trigger, which does not wait for ever.

use super::trigger::{Trigger, TriggerContext, TriggerResult};
use crate::function::BoxError;
use flott_core::EventTime;
use std::time::Duration;

/// Fires when another trigger does, or when so much processing time has passed since the window's first record; then time begins anew.
///
/// ```
/// use flott::prelude::*;
/// use std::time::Duration;
///
/// // Batches of a hundred, or what has come in a second.
/// let trigger = ProcessingTimeoutTrigger::of(CountTrigger::of(100), Duration::from_secs(1));
/// # fn of<W: Window, T: Trigger<i64, W>>(_: T) {}
/// # of::<GlobalWindow, _>(PurgingTrigger::of(trigger));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessingTimeoutTrigger<G> {
    trigger: G,
    timeout_ms: i64,
    resets_on_record: bool,
    clears_on_timeout: bool,
}

impl<G> ProcessingTimeoutTrigger<G> {
    /// Around a trigger.
    pub fn of(trigger: G, timeout: Duration) -> Self {
        Self {
            trigger,
            timeout_ms: i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX),
            resets_on_record: false,
            clears_on_timeout: true,
        }
    }

    /// The time counts from the last record, not from the first.
    pub fn reset_timer_on_new_record(mut self) -> Self {
        self.resets_on_record = true;
        self
    }

    /// The other trigger goes on where it was when the time is over; and there is one time-out a window.
    pub fn keep_on_timeout(mut self) -> Self {
        self.clears_on_timeout = false;
        self
    }
}

/// When the time is over, and what the other trigger keeps.
type State<S> = (Option<i64>, S);

/// The context of the other trigger.
fn inner<'a, S>(ctx: &'a mut TriggerContext<'_, State<S>>) -> TriggerContext<'a, S> {
    TriggerContext {
        state: &mut ctx.state.1,
        watermark: ctx.watermark,
        now_ms: ctx.now_ms,
        requests: ctx.requests,
    }
}

impl<G> ProcessingTimeoutTrigger<G> {
    /// What a timer comes to, of which the other trigger has said `result`.
    fn timer<T, W>(
        &mut self,
        result: TriggerResult,
        window: &W,
        ctx: &mut TriggerContext<'_, State<G::State>>,
    ) -> Result<TriggerResult, BoxError>
    where
        G: Trigger<T, W>,
    {
        if self.clears_on_timeout {
            self.clear(window, ctx)?;
        }
        Ok(match result.is_purge() {
            true => TriggerResult::FireAndPurge,
            false => TriggerResult::Fire,
        })
    }
}

impl<T, W, G: Trigger<T, W>> Trigger<T, W> for ProcessingTimeoutTrigger<G> {
    type State = State<G::State>;

    fn on_element(
        &mut self,
        value: &T,
        timestamp: EventTime,
        window: &W,
        ctx: &mut TriggerContext<'_, Self::State>,
    ) -> Result<TriggerResult, BoxError> {
        let result = self.trigger.on_element(value, timestamp, window, &mut inner(ctx))?;
        if result.is_fire() {
            self.clear(window, ctx)?;
            return Ok(result);
        }
        if self.resets_on_record
            && let Some(before_ms) = ctx.state.0.take()
        {
            ctx.delete_processing_time_timer(before_ms);
        }
        if ctx.state.0.is_none() {
            let at_ms = ctx.now_ms.saturating_add(self.timeout_ms);
            ctx.state.0 = Some(at_ms);
            ctx.register_processing_time_timer(at_ms);
        }
        Ok(result)
    }

    fn on_event_time(
        &mut self,
        time_ms: EventTime,
        window: &W,
        ctx: &mut TriggerContext<'_, Self::State>,
    ) -> Result<TriggerResult, BoxError> {
        let result = self.trigger.on_event_time(time_ms, window, &mut inner(ctx))?;
        self.timer(result, window, ctx)
    }

    fn on_processing_time(
        &mut self,
        time_ms: i64,
        window: &W,
        ctx: &mut TriggerContext<'_, Self::State>,
    ) -> Result<TriggerResult, BoxError> {
        let result = self.trigger.on_processing_time(time_ms, window, &mut inner(ctx))?;
        self.timer(result, window, ctx)
    }

    fn clear(&mut self, window: &W, ctx: &mut TriggerContext<'_, Self::State>) -> Result<(), BoxError> {
        if let Some(at_ms) = ctx.state.0.take() {
            ctx.delete_processing_time_timer(at_ms);
        }
        self.trigger.clear(window, &mut inner(ctx))?;
        ctx.state.1 = G::State::default();
        Ok(())
    }
}
