//! Windows of one size that fire once, at their end: a table for each end, which is dropped when its window has fired.
//!
//! ```text
//!  batch ─► keys, window ends ─► groups of one end ─► slots in the table of the end ─► contents, record by record
//!        └► all of the same windows, as most batches are: no groups
//!  time passes an end ─► its table, a few thousand keys at a time ─► function ─► records; the table is dropped
//! ```
//! There is no timer and no trigger; a record costs its share of one look-up of keys.

use super::super::BATCH_ROWS;
use super::{Common, KeyedBatch, event_time, guard_window, guarded, opened};
use crate::key::Key;
use crate::records::{Data, Records};
use crate::times::Times;
use crate::window::Window;
use crate::window::assigner::WindowAssigner;
use crate::window::contents::Contents;
use crate::window::evictor::EvictorContext;
use crate::window::function::{ProcessWindowFunction, WindowContext};
use arrow_array::ArrayRef;
use flott_core::time::{END_OF_TIME, NO_WATERMARK};
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

/// The end of a window, and the place of a record in it.
type Assigned = (EventTime, u32);

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
        function: &mut Option<F>,
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
            function: opened(function)?,
            tables,
            firing: None,
            windows: vec![],
            slots: vec![],
        })
    }

    /// The end of a window that still takes records.
    fn open_end(&self, window: &A::Window) -> Option<EventTime> {
        let last = window.max_timestamp();
        let is_open = !self.is_event_time || last > self.common.watermark;
        is_open.then(|| last.saturating_add(1))
    }

    /// The ends of the windows that all records of a batch have, if those are the same and none is over.
    fn shared_ends(&mut self, times: &Times) -> Option<Vec<EventTime>> {
        let range = match self.is_event_time {
            true => times.range()?,
            false => (NO_WATERMARK, NO_WATERMARK),
        };
        self.windows.clear();
        let now_ms = self.common.clock.now_ms();
        let is_same = self.assigner.assign_windows_to_all(range, now_ms, &mut self.windows);
        // Between windows with gaps some are late and others in time.
        if !is_same || self.windows.is_empty() {
            return None;
        }
        self.windows.iter().map(|window| self.open_end(window)).collect()
    }

    /// The windows of all records in the order of the records; those that are too late are left out.
    fn assign(&mut self, records: &Records<T>) -> Result<Vec<Assigned>, TaskError> {
        let (now_ms, is_event_time) = (self.common.clock.now_ms(), self.is_event_time);
        let mut windows = std::mem::take(&mut self.windows);
        windows.clear();
        let mut assigned = Vec::with_capacity(records.values.len());
        let mut row = 0;
        self.common.at_hand.look(records, |value, time| {
            let time = event_time(time, is_event_time)?;
            self.assigner.assign_windows(value, time, now_ms, &mut windows)?;
            let ends = windows.drain(..).filter_map(|window| self.open_end(&window));
            assigned.extend(ends.map(|end| (end, row)));
            row += 1;
            Ok(())
        })?;
        self.windows = windows;
        Ok(assigned)
    }

    /// Adds records to the window that ends at `end`; `rows` are their places in the batch.
    fn add(
        &mut self,
        end: EventTime,
        columns: &[ArrayRef],
        hashes: &[u64],
        records: Records<T>,
        rows: Vec<u32>,
    ) -> Result<(), TaskError> {
        let (contents, slots) = (&mut self.contents, &mut self.slots);
        slots.clear();
        let table = self.tables.table_mut(end);
        table.slots(columns, hashes, slots)?;
        let column = table.values_mut::<C::Kept>(0);
        let at_hand = &mut self.common.at_hand;
        at_hand.take_part(records, rows);
        at_hand.guard(|at_hand| {
            for slot in slots.iter() {
                let Some((value, time)) = at_hand.next() else { break };
                contents.add(column.get_mut(*slot), value, time)?;
            }
            Ok(())
        })
    }

    /// Adds a batch whose records have the same windows.
    fn add_to_all(&mut self, ends: &[EventTime], batch: KeyedBatch<K, T>) -> Result<(), TaskError> {
        let KeyedBatch {
            mut records,
            keys,
            hashes,
        } = batch;
        for (index, end) in ends.iter().enumerate() {
            let is_last = index + 1 == ends.len();
            let part = match is_last {
                true => std::mem::take(&mut records),
                false => records.clone(),
            };
            self.add(*end, keys.columns(), &hashes, part, vec![])?;
        }
        Ok(())
    }

    /// Adds a batch record by record to the windows of each.
    fn add_to_each(&mut self, batch: KeyedBatch<K, T>) -> Result<(), TaskError> {
        let assigned = self.assign(&batch.records)?;
        let KeyedBatch {
            records: Records { values, times },
            keys,
            hashes,
        } = batch;
        for Group { end, rows, values } in self.group(values, &times, &assigned) {
            let columns = keys.take(&rows)?;
            let hashes: Vec<u64> = rows.iter().map(|row| hashes[*row as usize]).collect();
            let times = times.take(&rows);
            self.add(end, &columns, &hashes, Records { values, times }, rows)?;
        }
        Ok(())
    }

    /// Moves records to the groups of their windows; copies those that have several. Those that have none are late.
    fn group(&mut self, values: Vec<T>, times: &Times, assigned: &[Assigned]) -> Vec<Group<T>> {
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
        let rows = batch.records.values.len();
        match self.shared_ends(&batch.records.times) {
            Some(ends) => self.add_to_all(&ends, batch)?,
            None => self.add_to_each(batch)?,
        }
        self.common.at_hand.count(rows);
        // What came too late.
        self.common.collector.emit(out);
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

    fn close(&mut self) -> Result<(), TaskError> {
        guarded("close", || self.function.close())
    }

    fn state_bytes(&self) -> usize {
        self.tables.bytes()
    }
}
