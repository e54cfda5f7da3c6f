//! Keyed functions: a user's [`KeyedProcessFunction`] over its state and timers.
//!
//! ```text
//!  batch ─► keys ─► slots of the state table ─► process_element, record by record ─► requests for timers, applied at the end
//!  watermark ─► timers that are due, time by time ─► on_timer ─► …
//! ```
//! A key whose state is empty behind a batch is given up.

use super::{AtHand, BATCH_ROWS, guarded};
use crate::function::{Collector, RuntimeContext};
use crate::key::Key;
use crate::process::{KeyedProcessFunction, OpenContext, ProcessContext};
use crate::records::{Data, Records};
use crate::state::KeyState;
use crate::timers::{Due, Timers};
use flott_core::clock::SharedClock;
use flott_core::hash::hash_columns;
use flott_core::time::NO_WATERMARK;
use flott_core::{Batch, CheckpointId, EventTime};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::OperatorSnapshot;
use std::sync::Arc;

/// How records find their keys.
pub(crate) type Selector<K, T> = Arc<dyn Fn(&T) -> K + Send + Sync>;

/// Notes the hash of each record's key, for the exchange behind it.
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

/// The keys of some records.
fn keys_of<K: Key, T: Data>(
    selector: &Selector<K, T>,
    at_hand: &mut AtHand<T>,
    records: &Records<T>,
) -> Result<Vec<K>, TaskError> {
    let mut keys = Vec::with_capacity(records.values.len());
    at_hand.guard(|at_hand| {
        for (index, value) in records.values.iter().enumerate() {
            at_hand.next(value, records.time(index));
            keys.push(selector(value));
        }
        Ok(())
    })?;
    Ok(keys)
}

impl<K: Key, T: Data> Operator for KeyBy<K, T> {
    fn open(&mut self, _ctx: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        let records = Records::<T>::from_batch(batch)?;
        let keys = keys_of(&self.selector, &mut self.at_hand, &records)?;
        let hashes = hash_columns(&K::columns(keys.iter()), keys.len())?;
        out.emit(records.into_batch().with_hashes(Some(Arc::new(hashes))));
        Ok(Flow::Done)
    }
}

/// What is at hand of a batch.
struct Work<K, T> {
    values: std::vec::IntoIter<T>,
    times: Vec<EventTime>,
    keys: std::vec::IntoIter<K>,
    hashes: Arc<Vec<u64>>,
    slots: Vec<u32>,
    /// The next record.
    row: usize,
}

/// What a call is about that has not come to its end.
enum Open<K, T> {
    Nothing,
    Batch(Work<K, T>),
    EventTimers(EventTime),
    ProcessingTimers(i64),
}

/// State and timers, once the operator is open.
struct Opened<K> {
    state: KeyState,
    event_timers: Timers<K>,
    processing_timers: Timers<K>,
    clock: SharedClock,
}

/// The operator around a function.
pub(crate) struct KeyedProcess<K, T, F: KeyedProcessFunction<K, T>> {
    function: F,
    selector: Selector<K, T>,
    at_hand: AtHand<T>,
    collector: Collector<F::Out>,
    watermark: EventTime,
    opened: Option<Opened<K>>,
    open_call: Open<K, T>,
    is_closed: bool,
}

impl<K: Key, T: Data, F: KeyedProcessFunction<K, T>> KeyedProcess<K, T, F> {
    pub(crate) fn new(function: F, selector: Selector<K, T>) -> Self {
        Self {
            function,
            selector,
            at_hand: AtHand::new(),
            collector: Collector::default(),
            watermark: NO_WATERMARK,
            opened: None,
            open_call: Open::Nothing,
            is_closed: false,
        }
    }

    fn opened(opened: &mut Option<Opened<K>>) -> Result<&mut Opened<K>, TaskError> {
        opened
            .as_mut()
            .ok_or_else(|| TaskError::internal("a keyed function is called before it is open"))
    }

    /// Works on a batch until it is done or enough was emitted; gives back what is left.
    fn work(&mut self, mut work: Work<K, T>) -> Result<Option<Work<K, T>>, TaskError> {
        let opened = Self::opened(&mut self.opened)?;
        let (function, collector, watermark) = (&mut self.function, &mut self.collector, self.watermark);
        let now_ms = opened.clock.now_ms();
        let Opened {
            state,
            event_timers,
            processing_timers,
            ..
        } = opened;
        let has_state = state.is_used();
        self.at_hand.guard(|at_hand| {
            while collector.records.values.len() < BATCH_ROWS
                && let Some((value, key)) = work.values.next().zip(work.keys.next())
            {
                let row = work.row;
                work.row += 1;
                collector.time = work.times.get(row).copied();
                at_hand.next(&value, collector.time);
                if has_state {
                    state.select(work.slots[row]);
                }
                let mut ctx = ProcessContext {
                    key: &key,
                    key_hash: work.hashes[row],
                    state,
                    event_timers,
                    processing_timers,
                    watermark,
                    now_ms,
                    collector,
                };
                function.process_element(value, &mut ctx)?;
            }
            Ok(())
        })?;
        event_timers.apply()?;
        processing_timers.apply()?;
        if work.values.len() > 0 {
            return Ok(Some(work));
        }
        if has_state {
            state.forget_blank(&work.slots);
        }
        Ok(None)
    }

    /// Calls the timers of one time that are due; `false` if there are none.
    fn fire(&mut self, now_ms: i64, is_event_time: bool) -> Result<bool, TaskError> {
        let opened = Self::opened(&mut self.opened)?;
        let timers = match is_event_time {
            true => &mut opened.event_timers,
            false => &mut opened.processing_timers,
        };
        let Some(due) = timers.take_due(now_ms)? else {
            return Ok(false);
        };
        let Due {
            time_ms,
            keys,
            columns,
            hashes,
        } = due;
        let mut slots = Vec::with_capacity(keys.len());
        let has_state = opened.state.is_used();
        if has_state {
            opened.state.table().slots(&columns, &hashes, &mut slots)?;
        }
        let (function, collector, watermark) = (&mut self.function, &mut self.collector, self.watermark);
        collector.time = is_event_time.then_some(time_ms);
        let clock_ms = opened.clock.now_ms();
        let Opened {
            state,
            event_timers,
            processing_timers,
            ..
        } = opened;
        guarded("timer", || {
            for (row, key) in keys.iter().enumerate() {
                if has_state {
                    state.select(slots[row]);
                }
                let mut ctx = ProcessContext {
                    key,
                    key_hash: hashes[row],
                    state,
                    event_timers,
                    processing_timers,
                    watermark,
                    now_ms: clock_ms,
                    collector,
                };
                function.on_timer(time_ms, &mut ctx)?;
            }
            Ok(())
        })?;
        event_timers.apply()?;
        processing_timers.apply()?;
        if has_state {
            state.forget_blank(&slots);
        }
        Ok(true)
    }

    fn emit(&mut self, out: &mut Output) {
        out.emit(std::mem::take(&mut self.collector.records).into_batch());
    }
}

impl<K: Key, T: Data, F: KeyedProcessFunction<K, T>> Operator for KeyedProcess<K, T, F> {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        let mut open = OpenContext::new(RuntimeContext::of(ctx));
        guarded("open", || self.function.open(&mut open))?;
        self.opened = Some(Opened {
            state: open.into_declarations().open::<K>(ctx)?,
            event_timers: Timers::open("event-time-timers", ctx)?,
            processing_timers: Timers::open("processing-time-timers", ctx)?,
            clock: ctx.clock.clone(),
        });
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        let hashes = batch.hashes().cloned();
        let records = Records::<T>::from_batch(batch)?;
        let keys = keys_of(&self.selector, &mut self.at_hand, &records)?;
        let columns = K::columns(keys.iter());
        let hashes = match hashes {
            Some(hashes) => hashes,
            None => Arc::new(hash_columns(&columns, keys.len())?),
        };
        let opened = Self::opened(&mut self.opened)?;
        let mut slots = Vec::new();
        if opened.state.is_used() {
            opened.state.table().slots(&columns, &hashes, &mut slots)?;
        }
        let Records { values, times } = records;
        self.open_call = Open::Batch(Work {
            values: values.into_iter(),
            times,
            keys: keys.into_iter(),
            hashes,
            slots,
            row: 0,
        });
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        match std::mem::replace(&mut self.open_call, Open::Nothing) {
            Open::Nothing => {}
            Open::Batch(work) => {
                if let Some(work) = self.work(work)? {
                    self.open_call = Open::Batch(work);
                }
            }
            Open::EventTimers(watermark) => {
                if self.fire(watermark, true)? {
                    self.open_call = Open::EventTimers(watermark);
                }
            }
            Open::ProcessingTimers(now_ms) => {
                if self.fire(now_ms, false)? {
                    self.open_call = Open::ProcessingTimers(now_ms);
                }
            }
        }
        self.emit(out);
        Ok(match self.open_call {
            Open::Nothing => Flow::Done,
            _ => Flow::More,
        })
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Flow, TaskError> {
        self.watermark = watermark;
        self.open_call = Open::EventTimers(watermark);
        self.resume(out)
    }

    fn next_timer(&self) -> Option<i64> {
        self.opened.as_ref().and_then(|o| o.processing_timers.next_ms())
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        self.open_call = Open::ProcessingTimers(now_ms);
        self.resume(out)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        let opened = Self::opened(&mut self.opened)?;
        let mut keyed = vec![];
        if opened.state.is_used() {
            keyed.push(opened.state.table().capture(checkpoint));
        }
        keyed.push(opened.event_timers.capture(checkpoint));
        keyed.push(opened.processing_timers.capture(checkpoint));
        Ok(OperatorSnapshot {
            keyed,
            ..OperatorSnapshot::default()
        })
    }

    fn finish(&mut self, _out: &mut Output) -> Result<Flow, TaskError> {
        if !std::mem::replace(&mut self.is_closed, true) {
            guarded("close", || self.function.close())?;
        }
        Ok(Flow::Done)
    }

    fn state_bytes(&self) -> usize {
        let bytes = |o: &Opened<K>| o.state.bytes() + o.event_timers.bytes() + o.processing_timers.bytes();
        self.opened.as_ref().map_or(0, bytes)
    }
}
