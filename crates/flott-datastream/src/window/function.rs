//! What is made of a window that fires: [`ProcessWindowFunction`].

use super::contents::Elements;
use crate::function::{BoxError, Collector, RuntimeContext};
use crate::records::Data;
use crate::side::OutputTag;
use crate::state::{KeyState, StateDeclarations};
use flott_core::EventTime;
use std::fmt;
use std::marker::PhantomData;

/// Makes records of a window that fires, knowing its key and the window; what it emits has the window's last time as event time.
///
/// `X` is a record ([`crate::WindowedStream::process`]), or what the window's records were folded into
/// ([`crate::WindowedStream::aggregate_with`]).
pub trait ProcessWindowFunction<K, X, W>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Data;

    /// Called once in each subtask before its first record: declares state.
    ///
    /// # Errors
    /// Fails the task, which the restart strategy may start again; so do errors of all methods.
    fn open(&mut self, ctx: &mut OpenWindowContext) -> Result<(), BoxError> {
        let _ = ctx;
        Ok(())
    }

    /// Called each time a window fires.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn process(&mut self, elements: Elements<X>, ctx: &mut WindowContext<'_, K, W, Self::Out>) -> Result<(), BoxError>;

    /// Called when a window's life is over; its own state is removed behind it.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn clear(&mut self, ctx: &mut WindowContext<'_, K, W, Self::Out>) -> Result<(), BoxError> {
        let _ = ctx;
        Ok(())
    }

    /// Called once when the task ends, in whatever way: see [`MapFunction::close`](crate::MapFunction::close).
    ///
    /// # Errors
    /// They are told in the log; the task ends as it would.
    fn close(&mut self) -> Result<(), BoxError> {
        Ok(())
    }
}

/// What `open` of a [`ProcessWindowFunction`] is told, and where it declares state.
#[derive(Debug)]
pub struct OpenWindowContext {
    pub(crate) runtime: RuntimeContext,
    pub(crate) global: StateDeclarations,
    pub(crate) window: StateDeclarations,
}

impl OpenWindowContext {
    /// Where the function runs.
    pub fn runtime(&self) -> &RuntimeContext {
        &self.runtime
    }

    /// Declares state that all windows of a key share; it stays when they are gone.
    pub fn global_state(&mut self) -> &mut StateDeclarations {
        &mut self.global
    }

    /// Declares state of each window of a key; not where windows merge.
    pub fn window_state(&mut self) -> &mut StateDeclarations {
        &mut self.window
    }
}

/// The key and the window at hand, their states, and where output goes.
pub struct WindowContext<'a, K, W, U> {
    pub(crate) key: &'a K,
    pub(crate) window: &'a W,
    pub(crate) watermark: EventTime,
    pub(crate) now_ms: i64,
    pub(crate) global: &'a mut KeyState,
    pub(crate) of_window: &'a mut KeyState,
    pub(crate) collector: &'a mut Collector<U>,
}

impl<K, W: fmt::Debug, U> fmt::Debug for WindowContext<'_, K, W, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowContext")
            .field("window", self.window)
            .finish_non_exhaustive()
    }
}

impl<K, W, U> WindowContext<'_, K, W, U> {
    /// The key.
    pub fn key(&self) -> &K {
        self.key
    }

    /// The window.
    pub fn window(&self) -> &W {
        self.window
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

    /// The watermark, in milliseconds.
    pub fn current_watermark(&self) -> EventTime {
        self.watermark
    }

    /// Processing time, in milliseconds.
    pub fn current_processing_time(&self) -> i64 {
        self.now_ms
    }

    /// State that all windows of the key share.
    pub fn global_state(&self) -> &KeyState {
        self.global
    }

    /// The same, to be changed.
    pub fn global_state_mut(&mut self) -> &mut KeyState {
        self.global
    }

    /// State of this window.
    pub fn window_state(&self) -> &KeyState {
        self.of_window
    }

    /// The same, to be changed.
    pub fn window_state_mut(&mut self) -> &mut KeyState {
        self.of_window
    }
}

/// Emits what it is given.
#[derive(Clone)]
pub(crate) struct PassOn;

impl<K, X: Data, W> ProcessWindowFunction<K, X, W> for PassOn {
    type Out = X;

    #[inline]
    fn process(&mut self, elements: Elements<X>, ctx: &mut WindowContext<'_, K, W, X>) -> Result<(), BoxError> {
        elements.for_each(|element| ctx.collect(element));
        Ok(())
    }
}

/// A closure of key, window, elements and collector.
pub(crate) struct Apply<F, U> {
    f: F,
    output: PhantomData<fn() -> U>,
}

impl<F, U> Apply<F, U> {
    pub(crate) fn new(f: F) -> Self {
        Self { f, output: PhantomData }
    }
}

impl<F: Clone, U> Clone for Apply<F, U> {
    fn clone(&self) -> Self {
        Self::new(self.f.clone())
    }
}

impl<K, X, W, U: Data, F> ProcessWindowFunction<K, X, W> for Apply<F, U>
where
    F: FnMut(&K, &W, Elements<X>, &mut Collector<U>) + Clone + Send + Sync + 'static,
{
    type Out = U;

    #[inline]
    fn process(&mut self, elements: Elements<X>, ctx: &mut WindowContext<'_, K, W, U>) -> Result<(), BoxError> {
        (self.f)(ctx.key, ctx.window, elements, ctx.collector);
        Ok(())
    }
}
