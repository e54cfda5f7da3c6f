//! Record by record without state: map, filter, flat_map.
//!
//! A function is inlined into the loop over a batch; between two operators of a chain a record is one push and one move, and what a filter
//! keeps stays where it is.

use super::{AtHand, BATCH_ROWS, guarded};
use crate::function::{BoxError, Collector, FlatMapFunction, MapFunction, RuntimeContext};
use crate::records::{Data, Records};
use crate::state::operator::OperatorStates;
use flott_core::{Batch, CheckpointId};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::OperatorSnapshot;

/// What is done with records.
pub(crate) trait Transform<T: Data, U>: Send {
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        let _ = ctx;
        Ok(())
    }
    /// Takes records until none is left or enough was emitted.
    fn apply(&mut self, at_hand: &mut AtHand<T>, out: &mut Collector<U>) -> Result<(), BoxError>;
    fn close(&mut self) -> Result<(), BoxError> {
        Ok(())
    }

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// Makes one record of each, which keep their times.
#[inline]
fn one_of_each<T: Data, U>(
    at_hand: &mut AtHand<T>,
    out: &mut Collector<U>,
    mut make: impl FnMut(T) -> Result<U, BoxError>,
) -> Result<(), BoxError> {
    out.records.values.reserve(at_hand.len());
    while let Some((value, _)) = at_hand.next() {
        out.records.values.push(make(value)?);
    }
    out.records.times = at_hand.take_times();
    Ok(())
}

/// Makes any number of records of each, which have its time.
#[inline]
fn any_of_each<T: Data, U>(
    at_hand: &mut AtHand<T>,
    out: &mut Collector<U>,
    mut make: impl FnMut(T, &mut Collector<U>) -> Result<(), BoxError>,
) -> Result<(), BoxError> {
    out.records.values.reserve(at_hand.len().min(BATCH_ROWS));
    while !out.is_full() {
        let Some((value, time)) = at_hand.next() else { break };
        out.time = time;
        make(value, out)?;
    }
    Ok(())
}

/// A closure of one to one.
#[derive(Clone)]
pub(crate) struct MapWith<F>(pub F);

impl<T: Data, U, F: FnMut(T) -> U + Send> Transform<T, U> for MapWith<F> {
    fn apply(&mut self, at_hand: &mut AtHand<T>, out: &mut Collector<U>) -> Result<(), BoxError> {
        at_hand.give_all(&mut out.records.values, &mut self.0);
        out.records.times = at_hand.take_times();
        Ok(())
    }
}

/// A closure of one to one that may fail.
#[derive(Clone)]
pub(crate) struct TryMapWith<F>(pub F);

impl<T: Data, U, E: Into<BoxError>, F: FnMut(T) -> Result<U, E> + Send> Transform<T, U> for TryMapWith<F> {
    fn apply(&mut self, at_hand: &mut AtHand<T>, out: &mut Collector<U>) -> Result<(), BoxError> {
        one_of_each(at_hand, out, |value| (self.0)(value).map_err(Into::into))
    }
}

/// A closure of one to any number.
#[derive(Clone)]
pub(crate) struct FlatMapWith<F>(pub F);

impl<T: Data, U, F: FnMut(T, &mut Collector<U>) + Send> Transform<T, U> for FlatMapWith<F> {
    fn apply(&mut self, at_hand: &mut AtHand<T>, out: &mut Collector<U>) -> Result<(), BoxError> {
        any_of_each(at_hand, out, |value, out| {
            (self.0)(value, out);
            Ok(())
        })
    }
}

/// A user's [`MapFunction`].
#[derive(Clone)]
pub(crate) struct MapBy<F>(pub F);

impl<T: Data, F: MapFunction<T>> Transform<T, F::Out> for MapBy<F> {
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        self.0.open(ctx)
    }
    fn apply(&mut self, at_hand: &mut AtHand<T>, out: &mut Collector<F::Out>) -> Result<(), BoxError> {
        one_of_each(at_hand, out, |value| self.0.map(value))
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.0.close()
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

/// A user's [`FlatMapFunction`].
#[derive(Clone)]
pub(crate) struct FlatMapBy<F>(pub F);

impl<T: Data, F: FlatMapFunction<T>> Transform<T, F::Out> for FlatMapBy<F> {
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        self.0.open(ctx)
    }
    fn apply(&mut self, at_hand: &mut AtHand<T>, out: &mut Collector<F::Out>) -> Result<(), BoxError> {
        any_of_each(at_hand, out, |value, out| self.0.flat_map(value, out))
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.0.close()
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

/// A closure that says which records stay; all others are taken out of their batch.
pub(crate) struct Filter<T, F> {
    keeps: F,
    at_hand: AtHand<T>,
    kept: Vec<bool>,
}

impl<T: Data, F> Filter<T, F> {
    pub(crate) fn new(keeps: F) -> Self {
        Self {
            keeps,
            at_hand: AtHand::new(),
            kept: vec![],
        }
    }
}

impl<T: Data, F: FnMut(&T) -> Result<bool, BoxError> + Send> Operator for Filter<T, F> {
    fn open(&mut self, _ctx: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        let mut records = Records::<T>::from_batch(batch)?;
        let Self { keeps, at_hand, kept } = self;
        kept.clear();
        kept.resize(records.values.len(), false);
        let mut places = kept.iter_mut();
        at_hand.each(&records, |value, _| {
            if let Some(is_kept) = places.next() {
                *is_kept = keeps(value)?;
            }
            Ok(())
        })?;
        records.retain(kept);
        out.emit(records.into_batch());
        Ok(Flow::Done)
    }
}

/// The operator around a [`Transform`].
pub(crate) struct Stateless<T, U, X> {
    transform: X,
    at_hand: AtHand<T>,
    collector: Collector<U>,
    states: OperatorStates,
}

impl<T: Data, U: Data, X: Transform<T, U>> Stateless<T, U, X> {
    pub(crate) fn new(transform: X) -> Self {
        Self {
            transform,
            at_hand: AtHand::new(),
            collector: Collector::default(),
            states: OperatorStates::default(),
        }
    }
}

impl<T: Data, U: Data, X: Transform<T, U>> Operator for Stateless<T, U, X> {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        let runtime = RuntimeContext::with_states(ctx, &self.states);
        guarded("open", || self.transform.open(&runtime))?;
        self.states.restore(ctx)
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        self.at_hand.take(Records::from_batch(batch)?);
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let Self {
            transform,
            at_hand,
            collector,
            ..
        } = self;
        at_hand.guard(|at_hand| transform.apply(at_hand, collector))?;
        collector.emit(out);
        Ok(match at_hand.len() {
            0 => Flow::Done,
            _ => Flow::More,
        })
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        guarded("snapshot_state", || self.transform.snapshot_state(checkpoint))?;
        Ok(OperatorSnapshot {
            operator_state: self.states.snapshot()?,
            ..OperatorSnapshot::default()
        })
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) {
        self.transform.notify_checkpoint_complete(checkpoint);
    }

    fn checkpoint_aborted(&mut self, checkpoint: CheckpointId) {
        self.transform.notify_checkpoint_aborted(checkpoint);
    }

    fn close(&mut self) -> Result<(), TaskError> {
        guarded("close", || self.transform.close())
    }
}
