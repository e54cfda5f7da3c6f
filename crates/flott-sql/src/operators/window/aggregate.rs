//! The phase of a window aggregation that keeps state and fires: [`WindowAggregate`].

use crate::nodes::{TimeAttribute, WindowAggregateSpec, WindowProperty, WindowPropertyKind};
use crate::operators::aggregate::distinct::{Offered, Passed};
use crate::operators::aggregate::{Aggregates, Phase, Rows};
use crate::operators::window::running::Running;
use crate::operators::window::slices::{Part, Slices};
use crate::operators::{
    MAX_EMITTED_ROWS, group_slots, key_columns, needed_columns, signs_of, spec_error, wall_clock_of,
};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, TimestampMillisecondArray};
use bytes::Bytes;
use flott_checkpoint::TableDescriptor;
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::hash::hash_columns;
use flott_core::time::{END_OF_TIME, EventTime, NO_WATERMARK};
use flott_core::{Batch, CheckpointId, KeyGroupRange};
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::{
    KeyedTable, LastPages, OperatorEntry, OperatorSnapshot, Redistribute, RestoredState, StateBackend, TableCursor,
    WindowTables,
};
use std::sync::Arc;

/// Name of the keyed state, as Flink's.
pub(crate) const STATE_NAME: &str = "window-aggs";
/// Name of the operator state that holds the watermark up to which windows have fired.
const WATERMARK_STATE: &str = "watermark";

/// What flows in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Rows.
    Rows,
    /// What a local phase emits.
    Partials,
}

/// Aggregates per key and window, emitted when the watermark (or the clock) passes a window's end.
///
/// Output is append-only: keys, aggregates, window properties; windows in order of their ends, a window's keys in order
/// of arrival, at most [`MAX_EMITTED_ROWS`] a call. A window of a HOP that holds no row is not emitted.
///
/// A row is late if every window that holds its slice has fired by the watermark before its batch; it is dropped and
/// counted in `numLateRecordsDropped` (a partial row counts once). A row whose earliest windows only have fired still
/// counts for the others.
///
/// State: `window-aggs` (a table a slice: group key -> partial columns), `window-distinct-N` (group key and value), and
/// the watermark up to which windows have fired, of which a restored subtask takes the smallest. Where the backend has tiers, slices lie in
/// them, and so does what is put together of several; keys of a window come in the order of the store then.
///
/// Processing time: a row belongs to the slice of the moment when it is met; a window fires when the clock is at its end.
/// When the input ends, open windows fire at once (Flink drops them).
///
/// Measured on a busy machine (`examples/bench_ops.rs`, two million rows, firing included): a sum of a TUMBLE 23 ns a row
/// of a BIGINT key and 35 of a STRING key, a maximum without key 3.
#[derive(Debug)]
pub(crate) struct WindowAggregate {
    // Constant.
    input: Input,
    keys: Vec<usize>,
    needed: Vec<bool>,
    properties: Vec<WindowProperty>,
    aggregates: Aggregates,
    input_retracts: bool,
    /// `GROUP BY HOP(…)`: lists are in the order of time.
    legacy: bool,
    /// Whether there are MIN or MAX over input that retracts, which are taken from their values when a window fires.
    settles: bool,
    /// Whether a window of several slices is made of the one before ([`Running`]).
    runs: bool,
    state: Arc<TableDescriptor>,
    sets_state: Vec<Arc<TableDescriptor>>,
    max_parallelism: usize,
    key_groups: KeyGroupRange,
    clock: SharedClock,
    metrics: Arc<OperatorMetrics>,
    /// Of the slices, and of what is put together of several.
    backend: StateBackend,
    // State.
    slices: Slices,
    tables: WindowTables,
    /// A set of distinct values each, by slice.
    sets: Vec<WindowTables>,
    running: Option<Running>,
    /// Windows up to this time have fired; rows of windows before it are late.
    progress: EventTime,
    /// End of the last window that fired.
    fired_window: i64,
    /// The time up to which windows are firing now.
    target: EventTime,
    firing: Option<Firing>,
    scratch: Vec<u32>,
}

/// A window on its way out.
#[derive(Debug)]
struct Firing {
    window_end: i64,
    source: FiringSource,
    pages: Pages,
    /// Slots of the page at hand that are not emitted yet.
    left: Vec<u32>,
    /// Whether there are pages behind it.
    has_pages: bool,
}

/// How the keys of a window are read, and where to go on.
#[derive(Debug)]
enum Pages {
    /// Of a table that stays.
    Some(TableCursor),
    /// Of one that is dropped then.
    Last(LastPages),
}

#[derive(Debug)]
enum FiringSource {
    /// The table of a slice.
    Slice(i64),
    /// The slices of the window put together.
    Merged(Box<KeyedTable>),
    /// [`WindowAggregate::running`].
    Running,
}

impl WindowAggregate {
    /// The operator of a spec.
    ///
    /// # Errors
    /// If the spec cannot run.
    pub(crate) fn new(spec: &WindowAggregateSpec, input: Input) -> Result<Self, TaskError> {
        spec.validate().map_err(spec_error)?;
        let aggregates = Aggregates::new(
            &spec.input,
            &spec.aggregates,
            spec.input_retracts,
            spec.input_retracts,
            Phase::Whole,
        )
        .map_err(spec_error)?;
        if spec.emit.is_some() || (spec.window.is_session() && !matches!(spec.time, TimeAttribute::Attached { .. })) {
            return Err(TaskError::internal(
                "sessions and windows that fire early have operators of their own",
            ));
        }
        let clock = if spec.is_local_time() {
            wall_clock_of(&spec.time_zone)?
        } else {
            wall_clock_of("UTC")?
        };
        let group: Vec<_> = spec.keys.iter().map(|&k| spec.input[k].ty.clone()).collect();
        let state = Arc::new(aggregates.descriptor(STATE_NAME, group.clone()));
        let sets_state: Vec<Arc<TableDescriptor>> = (aggregates.distinct().iter().enumerate())
            .map(|(i, set)| Arc::new(set.descriptor(format!("window-distinct-{i}"), &group)))
            .collect();
        let (keys, needed) = match input {
            Input::Rows => (
                spec.keys.clone(),
                needed_columns(spec.input.len(), &spec.keys, &spec.aggregates),
            ),
            Input::Partials => (spec.local_keys(), vec![true; spec.local_output().len()]),
        };
        let slices = Slices::new(spec.window, spec.time, clock, &spec.input);
        let settles = !aggregates.ordered(&spec.input).is_empty();
        let is_plain = aggregates.distinct().is_empty() && !settles && !spec.input_retracts && !aggregates.collects();
        // The real tables are made in `open`, which knows the subtask's key groups.
        let (max_parallelism, key_groups) = (1, KeyGroupRange::all(1));
        Ok(Self {
            input,
            keys,
            needed,
            properties: spec.properties.clone(),
            input_retracts: spec.input_retracts,
            legacy: spec.legacy,
            settles,
            runs: is_plain && !slices.are_windows() && !slices.are_cumulative() && slices.windows_of_row() > 2,
            slices,
            tables: WindowTables::new(Arc::clone(&state), max_parallelism, key_groups),
            sets: vec![],
            running: None,
            aggregates,
            state,
            sets_state,
            max_parallelism,
            key_groups,
            clock: Arc::new(SystemClock),
            metrics: Arc::default(),
            backend: StateBackend::default(),
            progress: NO_WATERMARK,
            fired_window: i64::MIN,
            target: NO_WATERMARK,
            firing: None,
            scratch: vec![],
        })
    }

    /// What is kept in checkpoints.
    pub(crate) fn state_tables(&self) -> Vec<TableDescriptor> {
        std::iter::once(&self.state)
            .chain(&self.sets_state)
            .map(|t| t.as_ref().clone())
            .collect()
    }

    fn parts(&mut self, batch: &Batch) -> Result<Vec<(i64, Part)>, TaskError> {
        match self.input {
            Input::Rows => {
                // Should the clock be set back, rows stay in the window that is open.
                let now_ms = self.clock.now_ms().max(self.progress.saturating_add(1));
                self.slices.split(batch, now_ms)
            }
            Input::Partials => {
                let ends = batch.columns().last().and_then(|c| c.as_primitive_opt::<Int64Type>());
                let ends = ends.ok_or_else(|| TaskError::internal("partial rows do not end in their slice's end"))?;
                Ok(super::slices::split_values(ends.values()))
            }
        }
    }

    fn is_late(&self, slice_end: i64) -> bool {
        !self.slices.is_never_late()
            && self.progress != NO_WATERMARK
            && self.slices.has_fired(self.slices.last_window(slice_end), self.progress)
    }

    /// The slice whose table takes rows of a slice: of a window that grows and has fired, its first one.
    fn home_of(&self, slice_end: i64) -> i64 {
        let has_fired = self.progress != NO_WATERMARK && self.slices.has_fired(slice_end, self.progress);
        match self.slices.are_cumulative() && has_fired {
            true => self.slices.first_slice(slice_end),
            false => slice_end,
        }
    }

    fn add(&mut self, slice_end: i64, part: &Part, batch: &Batch) -> Result<(), TaskError> {
        let columns = part.of(batch.columns(), &self.needed)?;
        let rows = part.len(batch.num_rows());
        let keys = key_columns(&columns, &self.keys);
        let hashes = match batch.hashes() {
            Some(hashes) => part.of_slice(hashes),
            None => hash_columns(&keys, rows)?.into(),
        };
        if self.running.as_ref().is_some_and(|r| r.holds(slice_end)) {
            self.running = None;
        }
        let table = self.tables.table_mut(slice_end);
        self.scratch.clear();
        group_slots(table, &keys, &hashes, &mut self.scratch)?;
        let slots = &self.scratch;
        if self.input == Input::Partials {
            let partials = &columns[self.keys.len()..];
            self.aggregates.merge(table, slots, partials)?;
            let mut sets: Vec<&mut KeyedTable> = self.sets.iter_mut().map(|s| s.table_mut(slice_end)).collect();
            return self
                .aggregates
                .merge_lists(table, &mut sets, slots, (&keys, &hashes), partials);
        }
        let signs = signs_of(batch).map(|s| part.of_slice(&s).into_owned());
        let signs = signs.as_deref();
        let mut passed: Vec<Passed> = Vec::with_capacity(self.sets.len());
        for (set, tables) in self.aggregates.distinct().iter().zip(&mut self.sets) {
            let valid = set.valid(&columns);
            let offered = Offered {
                keys: &keys,
                hashes: &hashes,
                values: &columns[set.arg],
                valid: &valid,
                signs,
            };
            passed.push(set.pass(tables.table_mut(slice_end), offered)?);
        }
        let rows = Rows {
            slots,
            columns: &columns,
            signs,
            passed: &passed,
        };
        self.aggregates.accumulate(table, rows, &mut [], None)?;
        self.aggregates.count_rows(table, slots, signs);
        Ok(())
    }

    /// The earliest window with rows that has not fired.
    fn next_window(&self) -> Option<i64> {
        let first = self.tables.first()?;
        let mut window = self.slices.next_window(first, self.fired_window);
        while !self.slices.are_windows()
            && self.progress != NO_WATERMARK
            && self.slices.has_fired(window, self.progress)
        {
            window += self.slices.step_ms();
        }
        Some(window)
    }

    /// Fires what is due up to the target, as far as there is room.
    fn advance(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let mut room = MAX_EMITTED_ROWS;
        loop {
            let mut firing = match self.firing.take() {
                Some(firing) => firing,
                None => match self.next_window().filter(|w| self.slices.has_fired(*w, self.target)) {
                    Some(window_end) => self.begin(window_end)?,
                    None => break,
                },
            };
            let is_more = self.emit(&mut firing, room, out)?;
            room -= self.scratch.len();
            if is_more {
                self.firing = Some(firing);
                return Ok(Flow::More);
            }
            self.close(firing.window_end)?;
            if room == 0 {
                return Ok(Flow::More);
            }
        }
        self.progress = self.progress.max(self.target);
        Ok(Flow::Done)
    }

    fn begin(&mut self, window_end: i64) -> Result<Firing, TaskError> {
        let first = self.slices.first_slice(window_end);
        let slices: Vec<i64> = self
            .tables
            .slices()
            .filter(|s| (first..=window_end).contains(s))
            .collect();
        let source = match slices.as_slice() {
            [slice] if !self.settles => FiringSource::Slice(*slice),
            slices if self.slices.are_cumulative() && !self.settles => {
                FiringSource::Slice(self.grow(slices)?.unwrap_or(window_end))
            }
            slices if self.runs => {
                let mut running = self.running.take();
                let content = match &mut running {
                    Some(content) => content,
                    none => none.insert(Running::new(&self.aggregates, &self.state, &self.backend)?),
                };
                for &slice in slices {
                    if content.holds(slice) {
                        continue;
                    }
                    if let Some(table) = self.tables.get_mut(slice) {
                        content.add(&self.aggregates, slice, table)?;
                        self.tables.relieve()?;
                    }
                }
                self.running = running;
                FiringSource::Running
            }
            slices => FiringSource::Merged(Box::new(self.merge(slices)?)),
        };
        let pages = match &source {
            FiringSource::Merged(_) => Pages::Last(LastPages::default()),
            FiringSource::Slice(_) if self.slices.are_windows() => Pages::Last(LastPages::default()),
            FiringSource::Slice(_) | FiringSource::Running => Pages::Some(TableCursor::default()),
        };
        Ok(Firing {
            window_end,
            source,
            pages,
            left: vec![],
            has_pages: true,
        })
    }

    /// Puts the slices of a growing window into the earliest of them, where later rows of theirs go too; so a step costs
    /// its own keys only. Gives that slice.
    fn grow(&mut self, slices: &[i64]) -> Result<Option<i64>, TaskError> {
        let Some((&first, later)) = slices.split_first() else {
            return Ok(None);
        };
        for &slice in later {
            let Some(mut from) = self.tables.remove(slice) else {
                continue;
            };
            let to = self.tables.table_mut(first);
            for_each_last_page(&mut from, |from, page| merge_page(&self.aggregates, from, page, to))?;
            for (index, sets) in self.sets.iter_mut().enumerate() {
                let Some(mut from) = sets.remove(slice) else { continue };
                let (to, to_set) = (self.tables.table_mut(first), sets.table_mut(first));
                for_each_last_page(&mut from, |from, page| {
                    merge_set_page(&self.aggregates, index, (from, page), to, to_set)
                })?;
            }
        }
        Ok(Some(first))
    }

    /// The content of several slices in one table; of a window function the youngest first, as Flink puts lists together.
    fn merge(&mut self, slices: &[i64]) -> Result<KeyedTable, TaskError> {
        let state = Arc::clone(&self.state);
        let mut merged = self.backend.table(state, self.max_parallelism, self.key_groups)?;
        let set_of = |state: &Arc<TableDescriptor>| {
            self.backend
                .table(Arc::clone(state), self.max_parallelism, self.key_groups)
        };
        let mut merged_sets = self.sets_state.iter().map(set_of).collect::<Result<Vec<_>, _>>()?;
        let order: Box<dyn Iterator<Item = &i64>> = match self.legacy {
            true => Box::new(slices.iter()),
            false => Box::new(slices.iter().rev()),
        };
        for slice in order {
            if let Some(table) = self.tables.get_mut(*slice) {
                for_each_page(table, |from, page| {
                    merge_page(&self.aggregates, from, page, &mut merged)
                })?;
                self.tables.relieve()?;
            }
            for (index, (sets, to_set)) in self.sets.iter_mut().zip(&mut merged_sets).enumerate() {
                if let Some(table) = sets.get_mut(*slice) {
                    for_each_page(table, |from, page| {
                        merge_set_page(&self.aggregates, index, (from, page), &mut merged, to_set)
                    })?;
                    sets.relieve()?;
                }
            }
        }
        Ok(merged)
    }

    /// Emits at most `room` rows of a window (their slots are then in `scratch`); whether there are more.
    fn emit(&mut self, firing: &mut Firing, room: usize, out: &mut Output) -> Result<bool, TaskError> {
        let Firing {
            source,
            pages,
            left,
            has_pages,
            ..
        } = firing;
        self.scratch.clear();
        let (is_next, is_running) = (left.is_empty(), matches!(source, FiringSource::Running));
        if is_next && matches!((&source, &pages), (FiringSource::Slice(_), Pages::Some(_))) {
            self.tables.relieve()?;
        }
        let table = match source {
            FiringSource::Slice(slice) => self.tables.get_mut(*slice),
            FiringSource::Merged(table) => Some(&mut **table),
            FiringSource::Running => self.running.as_mut().map(Running::table),
        };
        let Some(table) = table else { return Ok(false) };
        if is_next && is_running {
            table.relieve()?;
        }
        match pages {
            _ if !is_next => {}
            Pages::Last(pages) => *has_pages = table.last_page(pages, room, left)?,
            Pages::Some(cursor) => *has_pages = table.next_page(cursor, room, left)?,
        }
        let fit = self.aggregates.slots_with_room(table, left).min(room);
        self.scratch.extend(left.drain(..fit));
        let is_more = *has_pages || !left.is_empty();
        if let (true, Some(counter)) = (self.input_retracts, self.aggregates.row_count()) {
            let counts = table.column::<i64>(counter);
            self.scratch.retain(|s| counts.get(*s) > 0);
        }
        let slots = &self.scratch;
        let mut columns = table.keys(slots)?;
        columns.extend(self.aggregates.values(table, slots)?);
        for property in &self.properties {
            let value = match property.kind {
                WindowPropertyKind::Start => self.slices.window_start(firing.window_end),
                WindowPropertyKind::End => firing.window_end,
                WindowPropertyKind::Time => self.slices.window_time(firing.window_end),
            };
            let column: ArrayRef = Arc::new(TimestampMillisecondArray::from_value(value, slots.len()));
            columns.push(column);
        }
        out.emit(Batch::new(columns, slots.len()));
        Ok(is_more)
    }

    /// A window is emitted: slices that no later window needs are dropped.
    fn close(&mut self, window_end: i64) -> Result<(), TaskError> {
        self.fired_window = window_end;
        while let Some(first) = self
            .tables
            .first()
            .filter(|s| self.slices.last_window(*s) <= window_end)
        {
            let mut closed = self.tables.remove(first);
            if let (Some(running), Some(closed)) = (&mut self.running, &mut closed)
                && running.holds(first)
                && !running.evict(&self.aggregates, first, closed, &mut self.tables)?
            {
                self.running = None;
            }
            for set in &mut self.sets {
                set.remove(first);
            }
        }
        Ok(())
    }
}

/// The watermark up to which windows have fired, for a checkpoint.
pub(super) fn progress_entry(progress: EventTime) -> OperatorEntry {
    OperatorEntry {
        name: WATERMARK_STATE.into(),
        bytes: Bytes::copy_from_slice(&progress.to_le_bytes()),
        redistribute: Redistribute::Union,
    }
}

/// The watermark up to which windows have fired in every subtask of a checkpoint.
pub(super) fn restored_progress(restored: &RestoredState) -> EventTime {
    let watermarks = restored.operator_state(WATERMARK_STATE);
    let watermarks = watermarks.filter_map(|b| b.as_ref().try_into().ok().map(i64::from_le_bytes));
    watermarks.min().unwrap_or(NO_WATERMARK)
}

/// Adds a page of a table to another, which makes room behind it.
fn merge_page(aggregates: &Aggregates, from: &KeyedTable, page: &[u32], to: &mut KeyedTable) -> Result<(), TaskError> {
    let keys = from.keys(page)?;
    let hashes = hash_columns(&keys, page.len())?;
    let mut slots = Vec::with_capacity(page.len());
    to.slots(&keys, &hashes, &mut slots)?;
    let mut into = slots.as_slice();
    for piece in aggregates.pieces(from, page) {
        let (of_piece, rest) = into.split_at(piece.len());
        aggregates.merge(to, of_piece, &aggregates.gather(from, piece)?)?;
        into = rest;
    }
    Ok(to.relieve()?)
}

/// Adds a page of distinct set `index` to another, and the values that it had not to the aggregates of its table; both make room behind it.
fn merge_set_page(
    aggregates: &Aggregates,
    index: usize,
    (from, page): (&KeyedTable, &[u32]),
    to: &mut KeyedTable,
    to_set: &mut KeyedTable,
) -> Result<(), TaskError> {
    let set = &aggregates.distinct()[index];
    let mut keys = from.keys(page)?;
    let Some(values) = keys.pop() else { return Ok(()) };
    let hashes = hash_columns(&keys, page.len())?;
    let mut slots = Vec::with_capacity(page.len());
    to.slots(&keys, &hashes, &mut slots)?;
    let present = set.present(from, page);
    aggregates.settle_extremes(to, index, &slots, &values, &present);
    let valid: Vec<_> = present.into_iter().map(Some).collect();
    let offered = Offered {
        keys: &keys,
        hashes: &hashes,
        values: &values,
        valid: &valid,
        signs: None,
    };
    let passed = set.pass(to_set, offered)?;
    aggregates.accumulate_distinct(to, index, &slots, &values, None, &passed)?;
    to.relieve()?;
    Ok(to_set.relieve()?)
}

/// Calls `visit` with the slots of all rows of a table, some thousands at a time, wherever they lie; the table makes room behind each page.
pub(super) fn for_each_page(
    table: &mut KeyedTable,
    mut visit: impl FnMut(&KeyedTable, &[u32]) -> Result<(), TaskError>,
) -> Result<(), TaskError> {
    let (mut cursor, mut slots, mut is_more) = (TableCursor::default(), vec![], true);
    while is_more {
        slots.clear();
        is_more = table.next_page(&mut cursor, MAX_EMITTED_ROWS, &mut slots)?;
        visit(table, &slots)?;
        table.relieve()?;
    }
    Ok(())
}

/// The same of a table that is dropped then.
pub(super) fn for_each_last_page(
    table: &mut KeyedTable,
    mut visit: impl FnMut(&KeyedTable, &[u32]) -> Result<(), TaskError>,
) -> Result<(), TaskError> {
    let (mut pages, mut slots, mut is_more) = (LastPages::default(), vec![], true);
    while is_more {
        slots.clear();
        is_more = table.last_page(&mut pages, MAX_EMITTED_ROWS, &mut slots)?;
        visit(table, &slots)?;
    }
    Ok(())
}

/// Calls `visit` with the live slots of a table in memory, some thousands at a time.
pub(super) fn for_each_chunk(
    table: &KeyedTable,
    mut visit: impl FnMut(&[u32]) -> Result<(), TaskError>,
) -> Result<(), TaskError> {
    let mut slots = Vec::with_capacity(MAX_EMITTED_ROWS);
    let mut next = Some(0);
    while let Some(from) = next {
        slots.clear();
        next = table.scan(from, MAX_EMITTED_ROWS, &mut slots);
        visit(&slots)?;
    }
    Ok(())
}

impl Operator for WindowAggregate {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        (self.max_parallelism, self.key_groups) = (ctx.task.max_parallelism, ctx.task.key_groups());
        (self.clock, self.metrics) = (ctx.clock.clone(), ctx.metrics.clone());
        let tables = |state: &Arc<TableDescriptor>| {
            WindowTables::new(Arc::clone(state), ctx.task.max_parallelism, ctx.task.key_groups()).tiered(&ctx.backend)
        };
        self.sets = self.sets_state.iter().map(&tables).collect::<Result<_, _>>()?;
        self.tables = tables(&self.state)?;
        self.backend = ctx.backend.clone();
        if let Some(restored) = ctx.restored.take() {
            for tables in self.sets.iter_mut().chain([&mut self.tables]) {
                restored.load_windows(tables)?;
            }
            self.progress = restored_progress(&restored);
        }
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, _out: &mut Output) -> Result<Flow, TaskError> {
        self.tables.relieve()?;
        for sets in &mut self.sets {
            sets.relieve()?;
        }
        for (slice_end, part) in self.parts(&batch)? {
            if self.is_late(slice_end) {
                self.metrics.late_records_dropped.add(part.len(batch.num_rows()) as u64);
            } else {
                self.add(self.home_of(slice_end), &part, &batch)?;
            }
        }
        Ok(Flow::Done)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.advance(out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Flow, TaskError> {
        if self.slices.is_processing_time() {
            return Ok(Flow::Done);
        }
        self.target = watermark;
        self.advance(out)
    }

    fn next_timer(&self) -> Option<i64> {
        let window = self.next_window().filter(|_| self.slices.is_processing_time())?;
        Some(self.slices.fires_at(window) + 1)
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        self.target = now_ms - 1;
        self.advance(out)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        let mut keyed = self.tables.capture(checkpoint);
        for set in &mut self.sets {
            keyed.extend(set.capture(checkpoint));
        }
        Ok(OperatorSnapshot {
            keyed,
            operator_state: vec![progress_entry(self.progress)],
            committables: vec![],
        })
    }

    fn finish(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.target = END_OF_TIME;
        self.advance(out)
    }

    fn state_bytes(&self) -> usize {
        let running = self.running.as_ref().map_or(0, Running::bytes);
        self.tables.bytes() + self.sets.iter().map(WindowTables::bytes).sum::<usize>() + running
    }
}
