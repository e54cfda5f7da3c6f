//! Joins of two streams by key and by the distance of their event times: [`KeyedStream::interval_join`].

use crate::connect::KeyedCoProcessFunction;
use crate::function::{BoxError, Collector, RuntimeContext};
use crate::graph::ProgramError;
use crate::key::Key;
use crate::keyed::KeyedStream;
use crate::process::{OpenContext, ProcessContext};
use crate::records::Data;
use crate::side::OutputTag;
use crate::state::MapState;
use crate::stream::DataStream;
use flott_core::EventTime;
use flott_core::time::NO_WATERMARK;
use flott_runtime::metrics::OperatorMetrics;
use flott_state::StateValue;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Works on the pairs of an interval join: [`IntervalJoined::process_with`].
///
/// ```
/// use flott::prelude::*;
///
/// /// How long each order waited for its payment.
/// #[derive(Clone)]
/// struct Waited;
///
/// impl ProcessJoinFunction<(i64, i64), (i64, i64)> for Waited {
///     type Out = i64;
///
///     fn process_element(&mut self, _: &(i64, i64), _: &(i64, i64), ctx: &mut JoinContext<'_, i64>) -> Result<(), BoxError> {
///         let waited_ms = ctx.right_timestamp() - ctx.left_timestamp();
///         ctx.collect(waited_ms);
///         Ok(())
///     }
/// }
///
/// let env = StreamExecutionEnvironment::get_execution_environment();
/// let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|record: &(i64, i64), _| record.1);
/// let keyed = |records| env.from_collection(records).assign_timestamps_and_watermarks(&strategy).key_by(|record| record.0);
/// let (orders, payments) = (keyed([(1i64, 1_000i64), (2, 2_000)]), keyed([(2, 2_500), (1, 61_000)]));
/// let waited = orders.interval_join(&payments).between(0, 10_000).process_with(Waited);
/// assert_eq!(waited.execute_and_collect("waited")?, [500]);
/// # Ok::<(), ExecuteError>(())
/// ```
pub trait ProcessJoinFunction<A, B>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Data;

    crate::life::open_and_close!(&RuntimeContext);

    /// Called for each pair.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn process_element(&mut self, left: &A, right: &B, ctx: &mut JoinContext<'_, Self::Out>) -> Result<(), BoxError>;

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// The times of a pair, and where output goes.
pub struct JoinContext<'a, U> {
    left_timestamp: EventTime,
    right_timestamp: EventTime,
    collector: &'a mut Collector<U>,
}

impl<U> fmt::Debug for JoinContext<'_, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinContext")
            .field("left_timestamp", &self.left_timestamp)
            .field("right_timestamp", &self.right_timestamp)
            .finish_non_exhaustive()
    }
}

impl<U> JoinContext<'_, U> {
    /// Event time of the record of the first stream, in milliseconds.
    pub fn left_timestamp(&self) -> EventTime {
        self.left_timestamp
    }

    /// Event time of the record of the second stream, in milliseconds.
    pub fn right_timestamp(&self) -> EventTime {
        self.right_timestamp
    }

    /// The later of both: the event time of what is emitted.
    pub fn timestamp(&self) -> EventTime {
        self.left_timestamp.max(self.right_timestamp)
    }

    /// Emits a record.
    pub fn collect(&mut self, value: U) {
        self.collector.collect(value);
    }

    /// Emits a record to a side output: [`DataStream::get_side_output`].
    pub fn output<X: Data>(&mut self, tag: &OutputTag<X>, value: X) {
        self.collector.output(tag, value);
    }
}

/// Two keyed streams whose records meet by the distance of their times.
#[derive(Debug, Clone)]
pub struct IntervalJoin<K, A, B> {
    first: KeyedStream<K, A>,
    second: KeyedStream<K, B>,
}

/// Two keyed streams whose records meet if the second's time is within bounds around the first's.
#[derive(Debug, Clone)]
pub struct IntervalJoined<K, A, B> {
    streams: IntervalJoin<K, A, B>,
    /// Milliseconds that the second's time may be from the first's, both included.
    lower_ms: i64,
    upper_ms: i64,
    late_first: Option<OutputTag<A>>,
    late_second: Option<OutputTag<B>>,
}

impl<K: Key, A: Data + StateValue> KeyedStream<K, A> {
    /// Pairs the records of two keyed streams whose event times are near to each other: [`IntervalJoin::between`].
    pub fn interval_join<B: Data + StateValue>(&self, other: &KeyedStream<K, B>) -> IntervalJoin<K, A, B> {
        IntervalJoin {
            first: self.clone(),
            second: other.clone(),
        }
    }
}

impl<K: Key, A: Data + StateValue, B: Data + StateValue> IntervalJoin<K, A, B> {
    /// A record of the second stream meets one of the first if its time is at least `lower_ms` and at most `upper_ms`
    /// milliseconds behind (before, if negative).
    pub fn between(self, lower_ms: i64, upper_ms: i64) -> IntervalJoined<K, A, B> {
        IntervalJoined {
            streams: self,
            lower_ms,
            upper_ms,
            late_first: None,
            late_second: None,
        }
    }
}

impl<K: Key, A: Data + StateValue, B: Data + StateValue> IntervalJoined<K, A, B> {
    /// The lower bound itself is too far.
    pub fn lower_bound_exclusive(mut self) -> Self {
        self.lower_ms = self.lower_ms.saturating_add(1);
        self
    }

    /// The upper bound itself is too far.
    pub fn upper_bound_exclusive(mut self) -> Self {
        self.upper_ms = self.upper_ms.saturating_sub(1);
        self
    }

    /// Sends records of the first stream that are behind the watermark to a side output instead of dropping them.
    pub fn side_output_left_late_data(mut self, tag: &OutputTag<A>) -> Self {
        self.late_first = Some(tag.clone());
        self
    }

    /// Sends records of the second stream that are behind the watermark to a side output instead of dropping them.
    pub fn side_output_right_late_data(mut self, tag: &OutputTag<B>) -> Self {
        self.late_second = Some(tag.clone());
        self
    }

    /// Any number of records of each pair; they have the later of both times. Records behind the watermark are dropped, or sent aside.
    pub fn process<U: Data>(
        &self,
        f: impl FnMut(&A, &B, &mut Collector<U>) + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        self.process_with(PairWith(f, PhantomData))
    }

    /// The same by a struct, which is told the times of both.
    pub fn process_with<F: ProcessJoinFunction<A, B>>(&self, function: F) -> DataStream<F::Out> {
        let IntervalJoin { first, second } = &self.streams;
        if self.lower_ms > self.upper_ms {
            let (lower_ms, upper_ms) = (self.lower_ms, self.upper_ms);
            let refused = ProgramError::IntervalJoin { lower_ms, upper_ms };
            first.env().graph().borrow_mut().refuse(refused);
        }
        let near = Near {
            f: function,
            lower_ms: self.lower_ms,
            upper_ms: self.upper_ms,
            first: MapState::default(),
            second: MapState::default(),
            late_first: self.late_first.clone(),
            late_second: self.late_second.clone(),
            metrics: None,
        };
        first.connect(second).process(near)
    }
}

/// A closure of a pair.
struct PairWith<F, U>(F, PhantomData<fn() -> U>);

impl<F: Clone, U> Clone for PairWith<F, U> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<A, B, U: Data, F> ProcessJoinFunction<A, B> for PairWith<F, U>
where
    F: FnMut(&A, &B, &mut Collector<U>) + Clone + Send + Sync + 'static,
{
    type Out = U;

    #[inline]
    fn process_element(&mut self, left: &A, right: &B, ctx: &mut JoinContext<'_, U>) -> Result<(), BoxError> {
        (self.0)(left, right, ctx.collector);
        Ok(())
    }
}

/// Keeps the records of both streams by their times, until no record that may still come can meet them.
struct Near<A, B, F> {
    f: F,
    lower_ms: i64,
    upper_ms: i64,
    first: MapState<i64, Vec<A>>,
    second: MapState<i64, Vec<B>>,
    late_first: Option<OutputTag<A>>,
    late_second: Option<OutputTag<B>>,
    metrics: Option<Arc<OperatorMetrics>>,
}

impl<A, B, F: Clone> Clone for Near<A, B, F> {
    fn clone(&self) -> Self {
        Self {
            f: self.f.clone(),
            metrics: self.metrics.clone(),
            late_first: self.late_first.clone(),
            late_second: self.late_second.clone(),
            ..*self
        }
    }
}

impl<A, B, F> Near<A, B, F> {
    /// The record's time; `None` if it is late.
    fn time<K: Key, U>(ctx: &ProcessContext<'_, K, U>) -> Result<Option<EventTime>, BoxError> {
        let Some(time) = ctx.timestamp() else {
            return Err(
                "the record has no event time: an interval join needs assign_timestamps_and_watermarks before key_by"
                    .into(),
            );
        };
        let is_late = ctx.current_watermark() > NO_WATERMARK && time < ctx.current_watermark();
        Ok((!is_late).then_some(time))
    }

    /// Sends a late record aside, or drops it.
    fn late<K: Key, U, V: Data>(&self, value: V, tag: Option<&OutputTag<V>>, ctx: &mut ProcessContext<'_, K, U>) {
        match (tag, &self.metrics) {
            (Some(tag), _) => ctx.output(tag, value),
            (None, Some(metrics)) => metrics.late_records_dropped.add(1),
            (None, None) => {}
        }
    }
}

fn push<V>(list: Option<Vec<V>>, value: V) -> Option<Vec<V>> {
    let mut list = list.unwrap_or_default();
    list.push(value);
    Some(list)
}

impl<K, A, B, F> KeyedCoProcessFunction<K, A, B> for Near<A, B, F>
where
    K: Key,
    A: Data + StateValue,
    B: Data + StateValue,
    F: ProcessJoinFunction<A, B>,
{
    type Out = F::Out;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.first = ctx.map_state("first")?;
        self.second = ctx.map_state("second")?;
        self.metrics = Some(ctx.runtime().shared_metrics());
        self.f.open(ctx.runtime())
    }

    fn process_element1(&mut self, value: A, ctx: &mut ProcessContext<'_, K, F::Out>) -> Result<(), BoxError> {
        let Some(time) = Self::time(ctx)? else {
            self.late(value, self.late_first.as_ref(), ctx);
            return Ok(());
        };
        let partners = time.saturating_add(self.lower_ms)..=time.saturating_add(self.upper_ms);
        for (other_time, others) in self.second.range(&*ctx.state, partners) {
            ctx.collector.time = Some(time.max(*other_time));
            let mut pair = JoinContext {
                left_timestamp: time,
                right_timestamp: *other_time,
                collector: ctx.collector,
            };
            for other in others {
                self.f.process_element(&value, other, &mut pair)?;
            }
        }
        self.first.modify(ctx, time, |list| push(list, value));
        ctx.register_event_time_timer(time.saturating_add(self.upper_ms.max(0)));
        Ok(())
    }

    fn process_element2(&mut self, value: B, ctx: &mut ProcessContext<'_, K, F::Out>) -> Result<(), BoxError> {
        let Some(time) = Self::time(ctx)? else {
            self.late(value, self.late_second.as_ref(), ctx);
            return Ok(());
        };
        let partners = time.saturating_sub(self.upper_ms)..=time.saturating_sub(self.lower_ms);
        for (other_time, others) in self.first.range(&*ctx.state, partners) {
            ctx.collector.time = Some(time.max(*other_time));
            let mut pair = JoinContext {
                left_timestamp: *other_time,
                right_timestamp: time,
                collector: ctx.collector,
            };
            for other in others {
                self.f.process_element(other, &value, &mut pair)?;
            }
        }
        self.second.modify(ctx, time, |list| push(list, value));
        ctx.register_event_time_timer(time.saturating_sub(self.lower_ms.min(0)));
        Ok(())
    }

    fn on_timer(&mut self, timestamp: i64, ctx: &mut ProcessContext<'_, K, F::Out>) -> Result<(), BoxError> {
        // Whatever has this time as its last is given up, whichever stream has set the timer.
        self.first.remove(ctx, &timestamp.saturating_sub(self.upper_ms.max(0)));
        self.second.remove(ctx, &timestamp.saturating_add(self.lower_ms.min(0)));
        Ok(())
    }

    fn close(&mut self) -> Result<(), BoxError> {
        self.f.close()
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(f);
}
