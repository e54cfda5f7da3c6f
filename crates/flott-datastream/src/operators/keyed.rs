//! Keyed functions: a user's [`KeyedProcessFunction`], or one of two inputs, over its state and timers.
//!
//! ```text
//!  batch ─► keys ─► slots of the state table ─► process_element, record by record ─► requests for timers, applied at the end
//!  watermark ─► timers that are due, time by time ─► on_timer ─► …
//! ```
//! A key whose state is empty behind a batch is given up.

use super::{AtHand, guarded, told};
use crate::broadcast::{
    BroadcastContext, BroadcastStates, KeyedBroadcastContext, KeyedBroadcastProcessFunction, OpenKeyedBroadcastContext,
};
use crate::connect::KeyedCoProcessFunction;
use crate::function::{BoxError, Collector, RuntimeContext};
use crate::key::{Key, Keys};
use crate::process::{Context, KeyedProcessFunction, OpenContext, ProcessContext};
use crate::records::{Data, Records};
use crate::runtime_mode;
use crate::side::Sides;
use crate::state::KeyState;
use crate::state::operator::OperatorStates;
use crate::timers::{Due, Timers};
use crate::window::trigger::TimeDomain;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use flott_core::clock::SharedClock;
use flott_core::hash::hash_columns;
use flott_core::time::{END_OF_TIME, NO_WATERMARK};
use flott_core::{Batch, CheckpointId, EventTime};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::OperatorSnapshot;
use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Table of all states of a function.
const VALUES_TABLE: &str = "values";

/// How records find their keys: one call for all of a batch, in whose loop the program's function is inlined. It tells the place of the record
/// that it is at.
pub(crate) type Selector<K, T> = Arc<dyn Fn(&[T], &Cell<usize>) -> Keys<K> + Send + Sync>;

/// Finds keys by a program's function.
pub(crate) fn selector<K: Key, T>(key: impl Fn(&T) -> K + Send + Sync + 'static) -> Selector<K, T> {
    Arc::new(move |records, place| Keys::in_columns(K::columns_of(records, &key, place), records.len()))
}

/// Notes the key of each record and its hash, for the exchange and the operator behind it.
pub(crate) struct KeyBy<K, T> {
    selector: Selector<K, T>,
    at_hand: AtHand<T>,
}

impl<K: Key, T: Data> KeyBy<K, T> {
    pub(crate) fn new(selector: Selector<K, T>) -> Self {
        Self {
            selector,
            at_hand: AtHand::new(),
        }
    }
}

/// The keys of some records, which count when they are worked on.
fn keys_of<K: Key, T: Data>(
    selector: &Selector<K, T>,
    at_hand: &AtHand<T>,
    records: &Records<T>,
) -> Result<Keys<K>, TaskError> {
    at_hand.make(records, |records, place| selector(&records.values, place))
}

/// A batch with its keys and their hashes.
pub(crate) struct KeyedBatch<K, T> {
    pub(crate) records: Records<T>,
    pub(crate) keys: Keys<K>,
    pub(crate) hashes: Arc<Vec<u64>>,
}

impl<K: Key, T: Data> KeyedBatch<K, T> {
    /// Takes what [`KeyBy`] found out of a batch; what was left behind on the way is found again.
    pub(crate) fn of(batch: Batch, selector: &Selector<K, T>, at_hand: &AtHand<T>) -> Result<Self, TaskError> {
        let (columns, hashes) = (batch.columns().to_vec(), batch.hashes().cloned());
        let records = Records::<T>::from_batch(batch)?;
        let rows = records.values.len();
        let keys = match columns.is_empty() {
            true => keys_of(selector, at_hand, &records)?,
            false => Keys::in_columns(columns, rows),
        };
        let hashes = match hashes {
            Some(hashes) => hashes,
            None => Arc::new(hash_columns(keys.columns(), rows)?),
        };
        Ok(Self { records, keys, hashes })
    }
}

impl<K: Key, T: Data> Operator for KeyBy<K, T> {
    fn open(&mut self, _ctx: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        let records = Records::<T>::from_batch(batch)?;
        let rows = records.values.len();
        let keys = keys_of(&self.selector, &self.at_hand, &records)?;
        self.at_hand.count(rows);
        let hashes = Arc::new(hash_columns(keys.columns(), rows)?);
        let keyed = records.into_batch().with_hashes(Some(hashes));
        out.emit(keyed.with_key_columns(keys.into_columns()));
        Ok(Flow::Done)
    }
}

/// A key as text, for messages.
fn key_text(columns: &[ArrayRef], row: usize) -> String {
    let field = |column: &ArrayRef| match column.data_type() {
        _ if column.is_null(row) => "null".to_owned(),
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Int8 => column.as_primitive::<Int8Type>().value(row).to_string(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        other => format!("of type {other}"),
    };
    columns.iter().map(field).collect::<Vec<_>>().join(",")
}

/// The keys of a batch that is worked on, by the places of its records.
struct Work<K> {
    keys: Keys<K>,
    hashes: Arc<Vec<u64>>,
    slots: Vec<u32>,
}

/// What is done with the records of the first input, and of the second, which is keyed too or broadcast.
pub(crate) trait KeyedLogic<K: Key, A, B>: Clone + Send + Sync + 'static {
    type Out: Data;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError>;
    fn first(&mut self, value: A, ctx: &mut ProcessContext<'_, K, Self::Out>) -> Result<(), BoxError>;
    /// May work on all records that are at hand, whose keys have these slots, where that takes less than one by one. What it leaves comes to
    /// [`Self::first`].
    fn first_all(
        &mut self,
        at_hand: &mut AtHand<A>,
        slots: &[u32],
        state: &mut KeyState,
        out: &mut Collector<Self::Out>,
    ) {
        let _ = (at_hand, slots, state, out);
    }
    /// A record of a second input that is keyed.
    fn second(&mut self, value: B, ctx: &mut ProcessContext<'_, K, Self::Out>) -> Result<(), BoxError> {
        let _ = (value, ctx);
        Ok(())
    }
    /// A record of a second input that is not.
    fn broadcast(&mut self, value: B, ctx: &mut KeyedBroadcastContext<'_, K, Self::Out>) -> Result<(), BoxError> {
        let _ = (value, ctx);
        Ok(())
    }
    fn on_timer(&mut self, timestamp: i64, ctx: &mut ProcessContext<'_, K, Self::Out>) -> Result<(), BoxError>;
    fn close(&mut self) -> Result<(), BoxError>;

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// A function of one input.
#[derive(Clone)]
pub(crate) struct KeyedOne<F>(pub F);

impl<K: Key, A, F: KeyedProcessFunction<K, A>> KeyedLogic<K, A, ()> for KeyedOne<F> {
    type Out = F::Out;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.0.open(ctx)
    }
    #[inline]
    fn first(&mut self, value: A, ctx: &mut ProcessContext<'_, K, F::Out>) -> Result<(), BoxError> {
        self.0.process_element(value, ctx)
    }
    fn on_timer(&mut self, timestamp: i64, ctx: &mut ProcessContext<'_, K, F::Out>) -> Result<(), BoxError> {
        self.0.on_timer(timestamp, ctx)
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.0.close()
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

/// A user's [`KeyedCoProcessFunction`].
#[derive(Clone)]
pub(crate) struct KeyedTwo<F>(pub F);

impl<K: Key, A, B, F: KeyedCoProcessFunction<K, A, B>> KeyedLogic<K, A, B> for KeyedTwo<F> {
    type Out = F::Out;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.0.open(ctx)
    }
    #[inline]
    fn first(&mut self, value: A, ctx: &mut ProcessContext<'_, K, F::Out>) -> Result<(), BoxError> {
        self.0.process_element1(value, ctx)
    }
    #[inline]
    fn second(&mut self, value: B, ctx: &mut ProcessContext<'_, K, F::Out>) -> Result<(), BoxError> {
        self.0.process_element2(value, ctx)
    }
    fn on_timer(&mut self, timestamp: i64, ctx: &mut ProcessContext<'_, K, F::Out>) -> Result<(), BoxError> {
        self.0.on_timer(timestamp, ctx)
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.0.close()
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

/// A user's [`KeyedBroadcastProcessFunction`].
#[derive(Clone)]
pub(crate) struct KeyedBroadcasting<F>(pub F);

impl<K: Key, A, B, F: KeyedBroadcastProcessFunction<K, A, B>> KeyedLogic<K, A, B> for KeyedBroadcasting<F> {
    type Out = F::Out;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.0.open(&mut OpenKeyedBroadcastContext(ctx))
    }
    #[inline]
    fn first(&mut self, value: A, ctx: &mut ProcessContext<'_, K, F::Out>) -> Result<(), BoxError> {
        self.0.process_element(value, ctx)
    }
    fn broadcast(&mut self, value: B, ctx: &mut KeyedBroadcastContext<'_, K, F::Out>) -> Result<(), BoxError> {
        self.0.process_broadcast_element(value, ctx)
    }
    fn on_timer(&mut self, timestamp: i64, ctx: &mut ProcessContext<'_, K, F::Out>) -> Result<(), BoxError> {
        self.0.on_timer(timestamp, ctx)
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.0.close()
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

/// State and timers, once the operator is open.
struct Opened<K> {
    state: KeyState,
    event_timers: Timers<K>,
    processing_timers: Timers<K>,
    broadcast: BroadcastStates,
    lists: OperatorStates,
    clock: SharedClock,
    /// All timers fire at the end of the input.
    is_batch: bool,
}

impl<K: Key> Opened<K> {
    fn apply_timers(&mut self) -> Result<(), TaskError> {
        self.event_timers.apply()?;
        self.processing_timers.apply()
    }
}

/// A keyed input: how its records find their keys, and those that are at hand.
struct Input<K, T> {
    selector: Selector<K, T>,
    at_hand: AtHand<T>,
    work: Option<Work<K>>,
}

impl<K: Key, T: Data> Input<K, T> {
    fn new(selector: Selector<K, T>) -> Self {
        Self {
            selector,
            at_hand: AtHand::new(),
            work: None,
        }
    }

    /// Finds the keys of a batch.
    fn take(&mut self, batch: Batch, state: &mut KeyState) -> Result<(), TaskError> {
        let batch = KeyedBatch::of(batch, &self.selector, &self.at_hand)?;
        let KeyedBatch { records, keys, hashes } = batch;
        let mut slots = Vec::new();
        if state.is_used() {
            state.table().relieve()?;
            state.table().slots(keys.columns(), &hashes, &mut slots)?;
        }
        self.at_hand.take(records);
        self.work = Some(Work { keys, hashes, slots });
        Ok(())
    }

    /// Lets `all` work on records that nothing has begun with yet.
    fn work_all(
        &mut self,
        opened: &mut Opened<K>,
        all: impl FnOnce(&mut AtHand<T>, &[u32], &mut KeyState),
    ) -> Result<(), TaskError> {
        let Some(Work { slots, .. }) = &self.work else {
            return Ok(());
        };
        self.at_hand.guard(|at_hand| {
            all(at_hand, slots, &mut opened.state);
            Ok(())
        })
    }

    /// Gives records to `code` until none is left or enough was emitted.
    fn work<U>(
        &mut self,
        opened: &mut Opened<K>,
        collector: &mut Collector<U>,
        watermark: EventTime,
        mut code: impl FnMut(T, &mut ProcessContext<'_, K, U>) -> Result<(), BoxError>,
    ) -> Result<(), TaskError> {
        let Some(Work { keys, hashes, slots }) = &self.work else {
            return Ok(());
        };
        let now_ms = opened.clock.now_ms();
        let has_state = opened.state.is_used();
        opened.state.set_now(now_ms);
        self.at_hand.guard(|at_hand| {
            while !collector.is_full() {
                let row = at_hand.place();
                let Some((value, time)) = at_hand.next() else { break };
                collector.time = time;
                if has_state {
                    opened.state.select(slots[row]);
                }
                let mut ctx = ProcessContext {
                    key: keys.at(row),
                    key_hash: hashes[row],
                    state: &mut opened.state,
                    event_timers: &mut opened.event_timers,
                    processing_timers: &mut opened.processing_timers,
                    watermark,
                    now_ms,
                    collector,
                    broadcast: &opened.broadcast,
                    timer: None,
                };
                code(value, &mut ctx)?;
            }
            Ok(())
        })?;
        opened.apply_timers()?;
        if self.at_hand.len() == 0 {
            if has_state {
                opened.state.forget_blank(slots);
            }
            self.work = None;
        }
        Ok(())
    }
}

/// The second input; without keys it is broadcast.
enum Second<K, B> {
    Keyed(Input<K, B>),
    Broadcast(AtHand<B>),
}

/// What a call is about that has not come to its end.
enum Open {
    Nothing,
    First,
    Second,
    EventTimers(EventTime),
    ProcessingTimers(i64),
}

/// The operator around a [`KeyedLogic`].
pub(crate) struct Keyed<K: Key, A, B, L: KeyedLogic<K, A, B>> {
    logic: L,
    first: Input<K, A>,
    second: Second<K, B>,
    collector: Collector<L::Out>,
    watermark: EventTime,
    opened: Option<Opened<K>>,
    open_call: Open,
}

fn opened<K>(opened: &mut Option<Opened<K>>) -> Result<&mut Opened<K>, TaskError> {
    opened
        .as_mut()
        .ok_or_else(|| TaskError::internal("a keyed function is called before it is open"))
}

impl<K: Key, A: Data, B: Data, L: KeyedLogic<K, A, B>> Keyed<K, A, B, L> {
    /// Around `logic`; a second input without selector is broadcast.
    pub(crate) fn new(logic: L, first: Selector<K, A>, second: Option<Selector<K, B>>, sides: Sides) -> Self {
        Self {
            logic,
            first: Input::new(first),
            second: match second {
                Some(selector) => Second::Keyed(Input::new(selector)),
                None => Second::Broadcast(AtHand::new()),
            },
            collector: Collector::with_sides(sides),
            watermark: NO_WATERMARK,
            opened: None,
            open_call: Open::Nothing,
        }
    }

    /// Works on the records of the second input; `true` if some are left.
    fn work_second(&mut self) -> Result<bool, TaskError> {
        let opened = opened(&mut self.opened)?;
        let (logic, collector, watermark) = (&mut self.logic, &mut self.collector, self.watermark);
        match &mut self.second {
            Second::Keyed(input) => {
                input.work(opened, collector, watermark, |value, ctx| logic.second(value, ctx))?;
                Ok(input.work.is_some())
            }
            Second::Broadcast(at_hand) => {
                let now_ms = opened.clock.now_ms();
                opened.state.set_now(now_ms);
                at_hand.guard(|at_hand| {
                    while !collector.is_full() {
                        let Some((value, time)) = at_hand.next() else { break };
                        collector.time = time;
                        let mut ctx = KeyedBroadcastContext {
                            context: BroadcastContext(Context {
                                collector,
                                watermark,
                                now_ms,
                                broadcast: &mut opened.broadcast,
                            }),
                            state: &mut opened.state,
                            key: PhantomData,
                        };
                        logic.broadcast(value, &mut ctx)?;
                    }
                    Ok(())
                })?;
                Ok(at_hand.len() > 0)
            }
        }
    }

    /// Calls the timers of one time that are due; `false` if there are none.
    fn fire(&mut self, until_ms: i64, is_event_time: bool) -> Result<bool, TaskError> {
        let opened = opened(&mut self.opened)?;
        let timers = match is_event_time {
            true => &mut opened.event_timers,
            false => &mut opened.processing_timers,
        };
        let Some(due) = timers.take_due(until_ms)? else {
            return Ok(false);
        };
        let Due { time_ms, keys, hashes } = due;
        let mut slots = Vec::with_capacity(hashes.len());
        let has_state = opened.state.is_used();
        if has_state {
            opened.state.table().relieve()?;
            opened.state.table().slots(keys.columns(), &hashes, &mut slots)?;
        }
        let (logic, collector, watermark) = (&mut self.logic, &mut self.collector, self.watermark);
        collector.time = is_event_time.then_some(time_ms);
        let domain = match is_event_time {
            true => TimeDomain::EventTime,
            false => TimeDomain::ProcessingTime,
        };
        let now_ms = opened.clock.now_ms();
        opened.state.set_now(now_ms);
        let at = Cell::new(0);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            for row in 0..hashes.len() {
                at.set(row);
                if has_state {
                    opened.state.select(slots[row]);
                }
                let mut ctx = ProcessContext {
                    key: keys.at(row),
                    key_hash: hashes[row],
                    state: &mut opened.state,
                    event_timers: &mut opened.event_timers,
                    processing_timers: &mut opened.processing_timers,
                    watermark,
                    now_ms,
                    collector,
                    broadcast: &opened.broadcast,
                    timer: Some((domain, time_ms)),
                };
                logic.on_timer(time_ms, &mut ctx)?;
            }
            Ok(())
        }));
        told(ended, || {
            let key = key_text(keys.columns(), at.get());
            format!("in its timer of {time_ms} ms for the key {key}")
        })?;
        opened.apply_timers()?;
        if has_state {
            opened.state.forget_blank(&slots);
        }
        Ok(true)
    }
}

impl<K: Key, A: Data, B: Data, L: KeyedLogic<K, A, B>> Operator for Keyed<K, A, B, L> {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        let lists = OperatorStates::default();
        let mut open = OpenContext::new(RuntimeContext::with_states(ctx, &lists));
        guarded("open", || self.logic.open(&mut open))?;
        lists.restore(ctx)?;
        let (declared, broadcast) = open.into_declarations();
        let key_fields = K::types().len();
        self.opened = Some(Opened {
            state: declared.open_tiered(VALUES_TABLE, K::types(), key_fields, ctx)?,
            event_timers: Timers::open("event-time-timers", ctx)?,
            processing_timers: Timers::open("processing-time-timers", ctx)?,
            broadcast: broadcast.open(ctx)?,
            lists,
            clock: ctx.clock.clone(),
            is_batch: runtime_mode::is_batch(&ctx.task.options),
        });
        Ok(())
    }

    fn process(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        let state = &mut opened(&mut self.opened)?.state;
        self.open_call = match (input, &mut self.second) {
            (0, _) => {
                self.first.take(batch, state)?;
                let (logic, opened) = (&mut self.logic, opened(&mut self.opened)?);
                self.first.work_all(opened, |at_hand, slots, state| {
                    logic.first_all(at_hand, slots, state, &mut self.collector)
                })?;
                Open::First
            }
            (_, Second::Keyed(second)) => {
                second.take(batch, state)?;
                Open::Second
            }
            (_, Second::Broadcast(second)) => {
                second.take(Records::from_batch(batch)?);
                Open::Second
            }
        };
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let is_done = match self.open_call {
            Open::Nothing => true,
            Open::First => {
                let (logic, opened) = (&mut self.logic, opened(&mut self.opened)?);
                self.first
                    .work(opened, &mut self.collector, self.watermark, |value, ctx| {
                        logic.first(value, ctx)
                    })?;
                self.first.work.is_none()
            }
            Open::Second => !self.work_second()?,
            Open::EventTimers(watermark) => !self.fire(watermark, true)?,
            Open::ProcessingTimers(now_ms) => !self.fire(now_ms, false)?,
        };
        self.collector.emit(out);
        if !is_done {
            return Ok(Flow::More);
        }
        // In batch mode the timers of processing time follow those of event time, at the end.
        let is_end = matches!(self.open_call, Open::EventTimers(END_OF_TIME));
        if is_end && opened(&mut self.opened)?.is_batch {
            self.open_call = Open::ProcessingTimers(i64::MAX);
            return Ok(Flow::More);
        }
        self.open_call = Open::Nothing;
        Ok(Flow::Done)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Flow, TaskError> {
        self.watermark = watermark;
        let opened = opened(&mut self.opened)?;
        if opened.is_batch && watermark == END_OF_TIME {
            opened.event_timers.close();
            opened.processing_timers.close();
        }
        self.open_call = Open::EventTimers(watermark);
        self.resume(out)
    }

    fn next_timer(&self) -> Option<i64> {
        let opened = self.opened.as_ref()?;
        let timers = opened.processing_timers.next_ms().filter(|_| !opened.is_batch);
        timers.into_iter().chain(opened.state.next_sweep_ms()).min()
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        let opened = opened(&mut self.opened)?;
        opened.state.sweep(now_ms)?;
        if opened.is_batch {
            return Ok(Flow::Done);
        }
        self.open_call = Open::ProcessingTimers(now_ms);
        self.resume(out)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        guarded("snapshot_state", || self.logic.snapshot_state(checkpoint))?;
        let opened = opened(&mut self.opened)?;
        let mut keyed = vec![];
        if opened.state.is_used() {
            keyed.push(opened.state.table().capture(checkpoint));
        }
        keyed.push(opened.event_timers.capture(checkpoint));
        keyed.push(opened.processing_timers.capture(checkpoint));
        let mut operator_state = opened.broadcast.snapshot()?;
        operator_state.extend(opened.lists.snapshot()?);
        Ok(OperatorSnapshot {
            keyed,
            operator_state,
            ..OperatorSnapshot::default()
        })
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) {
        self.logic.notify_checkpoint_complete(checkpoint);
    }

    fn checkpoint_aborted(&mut self, checkpoint: CheckpointId) {
        self.logic.notify_checkpoint_aborted(checkpoint);
    }

    fn close(&mut self) -> Result<(), TaskError> {
        guarded("close", || self.logic.close())
    }

    fn state_bytes(&self) -> usize {
        let bytes = |o: &Opened<K>| o.state.bytes() + o.event_timers.bytes() + o.processing_timers.bytes();
        self.opened.as_ref().map_or(0, bytes)
    }
}
