//! The operator of windows. Once it is open it is one of two: [`aligned`], for windows of one size that fire once, at their end, and
//! [`general`], for all others.
//!
//! The form of the state differs, so a program whose windows change from one to the other cannot go on from an old checkpoint; it is told
//! that state is left unclaimed.

mod aligned;
mod general;

use super::keyed::{KeyedBatch, Selector};
use super::{AtHand, guarded, told};
use crate::function::{BoxError, Collector, RuntimeContext};
use crate::key::Key;
use crate::records::Data;
use crate::runtime_mode;
use crate::side::{OutputTag, Sides};
use crate::state::operator::OperatorStates;
use crate::state::{KeyState, StateDeclarations};
use crate::window::assigner::WindowAssigner;
use crate::window::contents::Contents;
use crate::window::function::{OpenWindowContext, ProcessWindowFunction};
use crate::window::trigger::{TimeDomain, Trigger};
use aligned::Aligned;
use flott_core::clock::SharedClock;
use flott_core::time::NO_WATERMARK;
use flott_core::{Batch, CheckpointId, EventTime};
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::OperatorSnapshot;
use general::General;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// All that a program says of windows.
pub(crate) struct WindowSettings<K, T, A, G, C, F> {
    pub(crate) selector: Selector<K, T>,
    pub(crate) assigner: A,
    pub(crate) trigger: G,
    pub(crate) contents: C,
    pub(crate) function: F,
    pub(crate) lateness_ms: i64,
    pub(crate) late: Option<OutputTag<T>>,
}

impl<K, T, A: Clone, G: Clone, C: Clone, F: Clone> Clone for WindowSettings<K, T, A, G, C, F> {
    fn clone(&self) -> Self {
        Self {
            selector: self.selector.clone(),
            assigner: self.assigner.clone(),
            trigger: self.trigger.clone(),
            contents: self.contents.clone(),
            function: self.function.clone(),
            lateness_ms: self.lateness_ms,
            late: self.late.clone(),
        }
    }
}

/// What both kinds have.
struct Common<K, T, U> {
    collector: Collector<U>,
    at_hand: AtHand<T>,
    watermark: EventTime,
    clock: SharedClock,
    metrics: Arc<OperatorMetrics>,
    /// States of the function; without columns if it has none.
    global: KeyState,
    of_window: KeyState,
    selector: Selector<K, T>,
    late: Option<OutputTag<T>>,
    /// All timers fire at the end of the input.
    is_batch: bool,
}

impl<K: Key, T: Data, U: Data> Common<K, T, U> {
    fn keyed(&self, batch: Batch) -> Result<KeyedBatch<K, T>, TaskError> {
        KeyedBatch::of(batch, &self.selector, &self.at_hand)
    }

    /// A record is too late for all its windows.
    fn late(&mut self, value: T, time: Option<EventTime>) {
        self.collector.time = time;
        match &self.late {
            Some(tag) => drop(self.collector.output(tag, value)),
            None => self.metrics.late_records_dropped.add(1),
        }
    }
}

/// The time by which a record is put into windows of event time.
#[inline]
fn event_time(time: Option<EventTime>, is_event_time: bool) -> Result<EventTime, BoxError> {
    match time {
        Some(time) => Ok(time),
        None if !is_event_time => Ok(NO_WATERMARK),
        None => Err(
            "the record has no event time: call assign_timestamps_and_watermarks before key_by, with a strategy that has a timestamp \
             assigner, or use windows of processing time"
                .into(),
        ),
    }
}

/// Runs user code for windows that fire; what it returns or panics with fails the task with the window that was at hand.
fn guard_window<W: fmt::Debug>(code: impl FnOnce(&mut Option<W>) -> Result<(), BoxError>) -> Result<(), TaskError> {
    let mut at = None;
    let ended = catch_unwind(AssertUnwindSafe(|| code(&mut at)));
    told(ended, || match &at {
        Some(window) => format!("for the window {window:?}"),
        None => "before its first window".to_owned(),
    })
}

/// Takes the function once nothing can fail any more: until then the operator around it would have to close it.
fn opened<F>(function: &mut Option<F>) -> Result<F, TaskError> {
    function
        .take()
        .ok_or_else(|| TaskError::internal("a window operator has no function"))
}

/// The operator before it is open, and then.
pub(crate) struct WindowOperator<K, T, A, G, C, F> {
    /// Taken when it opens.
    settings: Option<WindowSettings<K, T, A, G, C, F>>,
    sides: Sides,
    lists: OperatorStates,
    /// While it opens.
    function: Option<F>,
    open: Option<Box<dyn Operator>>,
}

impl<K, T, A, G, C, F> WindowOperator<K, T, A, G, C, F> {
    pub(crate) fn new(settings: WindowSettings<K, T, A, G, C, F>, sides: Sides) -> Self {
        Self {
            settings: Some(settings),
            sides,
            lists: OperatorStates::default(),
            function: None,
            open: None,
        }
    }

    fn opened(&mut self) -> Result<&mut Box<dyn Operator>, TaskError> {
        self.open
            .as_mut()
            .ok_or_else(|| TaskError::internal("a window operator is called before it is open"))
    }
}

impl<K, T, A, G, C, F> Operator for WindowOperator<K, T, A, G, C, F>
where
    K: Key,
    T: Data,
    A: WindowAssigner<T>,
    G: Trigger<T, A::Window>,
    C: Contents<T, A::Window>,
    F: ProcessWindowFunction<K, C::Item, A::Window>,
{
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        let Some(settings) = self.settings.take() else {
            return Err(TaskError::internal("a window operator is opened twice"));
        };
        let WindowSettings {
            selector,
            assigner,
            trigger,
            contents,
            function,
            lateness_ms,
            late,
        } = settings;
        let mut open = OpenWindowContext {
            runtime: RuntimeContext::with_states(ctx, &self.lists),
            global: StateDeclarations::default(),
            window: StateDeclarations::default(),
        };
        let opening = self.function.insert(function);
        guarded("open", || opening.open(&mut open))?;
        self.lists.restore(ctx)?;
        let OpenWindowContext { global, window, .. } = open;
        if assigner.is_merging() && !window.is_empty() {
            let text = format!(
                "the function has state of its windows, and {} merge windows, whose states cannot be merged: use global_state()",
                assigner.name()
            );
            return Err(TaskError::user(text).fatal());
        }
        let has_state = !global.is_empty() || !window.is_empty();
        let key = K::types();
        let key_fields = key.len();
        let mut key_and_window = key.clone();
        key_and_window.extend(<A::Window as Key>::types());
        let common = Common {
            collector: Collector::with_sides(std::mem::take(&mut self.sides)),
            at_hand: AtHand::new(),
            watermark: NO_WATERMARK,
            clock: ctx.clock.clone(),
            metrics: ctx.metrics.clone(),
            global: global.open_tiered("global-state", key, key_fields, ctx)?,
            of_window: window.open_tiered("window-state", key_and_window, key_fields, ctx)?,
            selector,
            late,
            is_batch: runtime_mode::is_batch(&ctx.task.options),
        };
        let domain = match assigner.is_event_time() {
            true => TimeDomain::EventTime,
            false => TimeDomain::ProcessingTime,
        };
        let is_aligned = assigner.window_ending(0).is_some()
            && trigger.fires_once_by() == Some(domain)
            && lateness_ms == 0
            && !has_state;
        self.open = Some(match is_aligned {
            true => Box::new(Aligned::open(common, assigner, contents, &mut self.function, ctx)?),
            false => Box::new(General::open(
                common,
                assigner,
                trigger,
                contents,
                &mut self.function,
                lateness_ms,
                ctx,
            )?),
        });
        Ok(())
    }

    fn process(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        self.opened()?.process(input, batch, out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.opened()?.resume(out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Flow, TaskError> {
        self.opened()?.on_watermark(watermark, out)
    }

    fn next_timer(&self) -> Option<i64> {
        self.open.as_ref()?.next_timer()
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        self.opened()?.on_timer(now_ms, out)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        let mut snapshot = self.opened()?.snapshot(checkpoint)?;
        snapshot.operator_state.extend(self.lists.snapshot()?);
        Ok(snapshot)
    }

    fn close(&mut self) -> Result<(), TaskError> {
        match (&mut self.open, &mut self.function) {
            (Some(open), _) => open.close(),
            (None, Some(function)) => guarded("close", || function.close()),
            (None, None) => Ok(()),
        }
    }

    fn state_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |o| o.state_bytes())
    }
}
