//! Record by record without state: map, filter, flat_map.
//!
//! A transform is inlined into the loop over a batch; between two operators of a chain a record is one push and one move.

use super::{AtHand, BATCH_ROWS, guarded};
use crate::function::{BoxError, Collector, FlatMapFunction, MapFunction, RuntimeContext};
use crate::records::{Data, Records};
use crate::state::operator::OperatorStates;
use crate::times::TimesCursor;
use flott_core::{Batch, CheckpointId};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::OperatorSnapshot;

/// What is done with one record.
pub(crate) trait Transform<T, U>: Send {
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        let _ = ctx;
        Ok(())
    }
    fn apply(&mut self, value: T, out: &mut Collector<U>) -> Result<(), BoxError>;
    fn close(&mut self) -> Result<(), BoxError> {
        Ok(())
    }

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// A closure of one to one.
#[derive(Clone)]
pub(crate) struct MapWith<F>(pub F);

impl<T, U, F: FnMut(T) -> U + Send> Transform<T, U> for MapWith<F> {
    #[inline]
    fn apply(&mut self, value: T, out: &mut Collector<U>) -> Result<(), BoxError> {
        out.collect((self.0)(value));
        Ok(())
    }
}

/// A closure of one to one that may fail.
#[derive(Clone)]
pub(crate) struct TryMapWith<F>(pub F);

impl<T, U, E: Into<BoxError>, F: FnMut(T) -> Result<U, E> + Send> Transform<T, U> for TryMapWith<F> {
    #[inline]
    fn apply(&mut self, value: T, out: &mut Collector<U>) -> Result<(), BoxError> {
        out.collect((self.0)(value).map_err(Into::into)?);
        Ok(())
    }
}

/// A closure that says what stays.
#[derive(Clone)]
pub(crate) struct FilterWith<F>(pub F);

impl<T, F: FnMut(&T) -> bool + Send> Transform<T, T> for FilterWith<F> {
    #[inline]
    fn apply(&mut self, value: T, out: &mut Collector<T>) -> Result<(), BoxError> {
        if (self.0)(&value) {
            out.collect(value);
        }
        Ok(())
    }
}

/// A closure that says what stays, and may fail.
#[derive(Clone)]
pub(crate) struct TryFilterWith<F>(pub F);

impl<T, E: Into<BoxError>, F: FnMut(&T) -> Result<bool, E> + Send> Transform<T, T> for TryFilterWith<F> {
    #[inline]
    fn apply(&mut self, value: T, out: &mut Collector<T>) -> Result<(), BoxError> {
        if (self.0)(&value).map_err(Into::into)? {
            out.collect(value);
        }
        Ok(())
    }
}

/// A closure of one to any number.
#[derive(Clone)]
pub(crate) struct FlatMapWith<F>(pub F);

impl<T, U, F: FnMut(T, &mut Collector<U>) + Send> Transform<T, U> for FlatMapWith<F> {
    #[inline]
    fn apply(&mut self, value: T, out: &mut Collector<U>) -> Result<(), BoxError> {
        (self.0)(value, out);
        Ok(())
    }
}

/// A user's [`MapFunction`].
#[derive(Clone)]
pub(crate) struct MapBy<F>(pub F);

impl<T, F: MapFunction<T>> Transform<T, F::Out> for MapBy<F> {
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        self.0.open(ctx)
    }
    #[inline]
    fn apply(&mut self, value: T, out: &mut Collector<F::Out>) -> Result<(), BoxError> {
        out.collect(self.0.map(value)?);
        Ok(())
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.0.close()
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

/// A user's [`FlatMapFunction`].
#[derive(Clone)]
pub(crate) struct FlatMapBy<F>(pub F);

impl<T, F: FlatMapFunction<T>> Transform<T, F::Out> for FlatMapBy<F> {
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        self.0.open(ctx)
    }
    #[inline]
    fn apply(&mut self, value: T, out: &mut Collector<F::Out>) -> Result<(), BoxError> {
        self.0.flat_map(value, out)
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.0.close()
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

/// The operator around a [`Transform`].
pub(crate) struct Stateless<T, U, X> {
    transform: X,
    input: std::vec::IntoIter<T>,
    times: TimesCursor,
    at_hand: AtHand<T>,
    collector: Collector<U>,
    states: OperatorStates,
}

impl<T: Data, U: Data, X: Transform<T, U>> Stateless<T, U, X> {
    pub(crate) fn new(transform: X) -> Self {
        Self {
            transform,
            input: vec![].into_iter(),
            times: TimesCursor::default(),
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
        let Records { values, times } = Records::<T>::from_batch(batch)?;
        (self.input, self.times) = (values.into_iter(), times.cursor());
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let Self {
            transform,
            input,
            times,
            at_hand,
            collector,
            ..
        } = self;
        collector.records.values.reserve(input.len().min(BATCH_ROWS));
        at_hand.guard(|at_hand| {
            while !collector.is_full()
                && let Some(value) = input.next()
            {
                collector.time = times.next();
                at_hand.next(&value, collector.time);
                transform.apply(value, collector)?;
            }
            Ok(())
        })?;
        collector.emit(out);
        Ok(match input.len() {
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

    fn finish(&mut self, _out: &mut Output) -> Result<Flow, TaskError> {
        guarded("close", || self.transform.close())?;
        Ok(Flow::Done)
    }
}
