//! Windows of one size that fire once, at their end: a table for each end, which is dropped when its window has fired.
//!
//! ```text
//!  batch ─► keys, window ends ─► groups of one end ─► slots in the table of the end ─► contents, record by record
//!  time passes an end ─► its table, a few thousand keys at a time ─► function ─► records; the table is dropped
//! ```
//! There is no timer and no trigger; a record costs its share of one look-up of keys.

use super::super::BATCH_ROWS;
use super::{Common, Keyed, event_time, guard_window, guarded};
use crate::key::Key;
use crate::records::Data;
use crate::times::Times;
use crate::window::Window;
use crate::window::assigner::WindowAssigner;
use crate::window::contents::Contents;
use crate::window::evictor::EvictorContext;
use crate::window::function::{ProcessWindowFunction, WindowContext};
use arrow_array::ArrayRef;
use flott_core::time::END_OF_TIME;
use flott_core::{Batch, CheckpointId, EventTime};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::{LastPages, OperatorSnapshot, StateValue, TableDescriptor, WindowTables};

/// Records of a batch that fall into one window.
struct Group<T> {
    end: EventTime,
    /// Their places in the batch.
    rows: Vec<u32>,
    values: Vec<T>,
}

/// Windows that are firing: those that end up to a time, from a page of the first on.
struct Firing {
    until: EventTime,
    pages: LastPages,
}

impl Firing {
    fn until(until: EventTime) -> Self {
        Self {
            until,
            pages: LastPages::default(),
        }
    }
}

/// See the module.
pub(super) struct Aligned<K, T, A, C, F>
where
    K: Key,
    T: Data,
    A: WindowAssigner<T>,
    C: Contents<T, A::Window>,
    F: ProcessWindowFunction<K, C::Item, A::Window>,
{
    common: Common<K, T, F::Out>,
    assigner: A,
    contents: C,
    function: F,
    is_event_time: bool,
    tables: WindowTables,
    firing: Option<Firing>,
    // Of the batch at hand.
    windows: Vec<A::Window>,
    slots: Vec<u32>,
}

impl<K, T, A, C, F> Aligned<K, T, A, C, F>
where
    K: Key,
    T: Data,
    A: WindowAssigner<T>,
    C: Contents<T, A::Window>,
    F: ProcessWindowFunction<K, C::Item, A::Window>,
{
    pub(super) fn open(
        common: Common<K, T, F::Out>,
        assigner: A,
        contents: C,
        function: F,
        ctx: &OperatorContext,
    ) -> Result<Self, TaskError> {
        let descriptor = TableDescriptor::new("windows", K::types()).values("contents", C::Kept::state_type());
        let mut tables = WindowTables::new(descriptor, ctx.task.max_parallelism, ctx.task.key_groups())
            .preparing(|table| table.keep_values::<C::Kept>(0))
            .tiered(&ctx.backend)?;
        if let Some(restored) = &ctx.restored {
            restored.load_windows(&mut tables)?;
        }
        Ok(Self {
            is_event_time: assigner.is_event_time(),
            common,
            assigner,
            contents,
            function,
            tables,
            firing: None,
            windows: vec![],
            slots: vec![],
        })
    }

    /// The windows of all records, by their ends and the places of the records, in the order of the records; those that are too late
    /// are left out.
    fn assign(&mut self, batch: &Keyed<K, T>) -> Result<Vec<(EventTime, u32)>, TaskError> {
        let Common {
            at_hand,
            clock,
            watermark,
            ..
        } = &mut self.common;
        let (now_ms, is_event_time, watermark) = (clock.now_ms(), self.is_event_time, *watermark);
        let (assigner, windows) = (&self.assigner, &mut self.windows);
        let mut assigned = Vec::with_capacity(batch.values.len());
        at_hand.guard(|at_hand| {
            for (row, value) in batch.values.iter().enumerate() {
                let time = batch.times.get(row);
                at_hand.next(value, time);
                assigner.assign_windows(value, event_time(time, is_event_time)?, now_ms, windows)?;
                for window in windows.drain(..) {
                    let last = window.max_timestamp();
                    if !is_event_time || last > watermark {
                        assigned.push((last.saturating_add(1), row as u32));
                    }
                }
            }
            Ok(())
        })?;
        Ok(assigned)
    }

    /// Adds records to the window that ends at `end`; `rows` are their places in the batch.
    fn add(
        &mut self,
        end: EventTime,
        columns: &[ArrayRef],
        hashes: &[u64],
        values: Vec<T>,
        time_of: impl Fn(usize) -> Option<EventTime>,
    ) -> Result<(), TaskError> {
        let (contents, slots) = (&mut self.contents, &mut self.slots);
        slots.clear();
        let table = self.tables.table_mut(end);
        table.slots(columns, hashes, slots)?;
        let column = table.values_mut::<C::Kept>(0);
        let at_hand = &mut self.common.at_hand;
        at_hand.number -= values.len().min(at_hand.number as usize) as u64;
        at_hand.guard(|at_hand| {
            for (index, (value, slot)) in values.into_iter().zip(slots.iter()).enumerate() {
                let time = time_of(index);
                at_hand.next(&value, time);
                contents.add(column.get_mut(*slot), value, time)?;
            }
            Ok(())
        })
    }

    /// Moves records to the groups of their windows; copies those that have several. Those that have none are late.
    fn group(&mut self, values: Vec<T>, times: &Times, assigned: &[(EventTime, u32)]) -> Vec<Group<T>> {
        let mut groups: Vec<Group<T>> = vec![];
        let mut last = 0;
        let mut put = |end: EventTime, row: u32, value: T| {
            // Neighbours mostly have the same windows, in the same order.
            let count = groups.len();
            let found = (0..count).map(|i| (last + i) % count).find(|i| groups[*i].end == end);
            let index = found.unwrap_or_else(|| {
                groups.push(Group {
                    end,
                    rows: vec![],
                    values: vec![],
                });
                count
            });
            groups[index].rows.push(row);
            groups[index].values.push(value);
            last = index;
        };
        let mut assigned = assigned.iter().copied().peekable();
        for (row, value) in values.into_iter().enumerate() {
            let mut first = None;
            while let Some((end, of_row)) = assigned.next_if(|(_, of_row)| *of_row as usize == row) {
                match first {
                    None => first = Some(end),
                    Some(_) => put(end, of_row, value.clone()),
                }
            }
            match first {
                Some(end) => put(end, row as u32, value),
                None => {
                    // With gaps between windows a record may have none and be in time.
                    let time = times.get(row);
                    if self.is_event_time && time.is_some_and(|t| t <= self.common.watermark) {
                        self.common.late(value, time);
                    }
                }
            }
        }
        groups
    }

    /// Fires windows until enough was emitted; `true` if there are more.
    fn fire(&mut self) -> Result<bool, TaskError> {
        let Self {
            common,
            assigner,
            contents,
            function,
            tables,
            firing,
            slots,
            ..
        } = self;
        let now_ms = common.clock.now_ms();
        let ctx = EvictorContext {
            watermark: common.watermark,
            now_ms,
        };
        while !common.collector.is_full()
            && let Some(Firing { until, pages }) = firing
            && let Some(end) = tables.first().filter(|end| *end <= *until)
            && let Some(table) = tables.get_mut(end)
            && let Some(window) = assigner.window_ending(end)
        {
            slots.clear();
            let is_more = table.last_page(pages, BATCH_ROWS, slots)?;
            let columns = table.keys(slots)?;
            let column = table.values_mut::<C::Kept>(0);
            common.collector.time = Some(window.max_timestamp());
            common.collector.records.values.reserve(slots.len());
            guard_window(|at| {
                *at = Some(window.clone());
                for (row, slot) in slots.iter().enumerate() {
                    let Some(kept) = column.get_mut(*slot).take() else {
                        continue;
                    };
                    let key = K::from_columns(&mut columns.iter(), row);
                    let elements = contents.take_elements(kept, &window, &ctx)?;
                    let mut ctx = WindowContext {
                        key: &key,
                        window: &window,
                        watermark: ctx.watermark,
                        now_ms,
                        global: &mut common.global,
                        of_window: &mut common.of_window,
                        collector: &mut common.collector,
                    };
                    function.process(elements, &mut ctx)?;
                    function.clear(&mut ctx)?;
                }
                Ok(())
            })?;
            if !is_more {
                *pages = LastPages::default();
                tables.remove(end);
            }
        }
        let is_more = firing
            .as_ref()
            .is_some_and(|f| tables.first().is_some_and(|end| end <= f.until));
        if !is_more {
            *firing = None;
        }
        Ok(is_more)
    }
}

impl<K, T, A, C, F> Operator for Aligned<K, T, A, C, F>
where
    K: Key,
    T: Data,
    A: WindowAssigner<T>,
    C: Contents<T, A::Window>,
    F: ProcessWindowFunction<K, C::Item, A::Window>,
{
    fn open(&mut self, _ctx: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        self.tables.relieve()?;
        let batch = self.common.keyed(batch)?;
        let rows = batch.values.len();
        let assigned = self.assign(&batch)?;
        let first = assigned.first().copied();
        let is_one = |(end, _): (EventTime, u32)| assigned.len() == rows && assigned.iter().all(|(e, _)| *e == end);
        let Keyed {
            values,
            times,
            keys,
            columns,
            hashes,
        } = batch;
        match first.filter(|first| is_one(*first)) {
            // The whole batch lies in one window.
            Some((end, _)) => self.add(end, &columns, &hashes, values, |row| times.get(row))?,
            None => {
                for Group { end, rows, values } in self.group(values, &times, &assigned) {
                    let columns = K::columns(rows.iter().map(|row| &keys[*row as usize]));
                    let hashes: Vec<u64> = rows.iter().map(|row| hashes[*row as usize]).collect();
                    let time_of = |index: usize| times.get(rows[index] as usize);
                    self.add(end, &columns, &hashes, values, time_of)?;
                }
                self.common.collector.emit(out);
            }
        }
        Ok(Flow::Done)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let is_more = self.fire()?;
        self.common.collector.emit(out);
        Ok(match is_more {
            true => Flow::More,
            false => Flow::Done,
        })
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Flow, TaskError> {
        self.common.watermark = watermark;
        // In batch mode windows of processing time fire at the end, too.
        let is_end = self.common.is_batch && watermark == END_OF_TIME;
        if !self.is_event_time && !is_end {
            return Ok(Flow::Done);
        }
        self.firing = Some(Firing::until(watermark.saturating_add(1)));
        self.resume(out)
    }

    fn next_timer(&self) -> Option<i64> {
        let is_timed = !self.is_event_time && !self.common.is_batch;
        self.tables.first().filter(|_| is_timed)
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        self.firing = Some(Firing::until(now_ms));
        self.resume(out)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        Ok(OperatorSnapshot {
            keyed: self.tables.capture(checkpoint),
            ..OperatorSnapshot::default()
        })
    }

    fn finish(&mut self, _out: &mut Output) -> Result<Flow, TaskError> {
        guarded("close", || self.function.close())?;
        Ok(Flow::Done)
    }

    fn state_bytes(&self) -> usize {
        self.tables.bytes()
    }
}
