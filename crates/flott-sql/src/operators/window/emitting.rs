//! Windows that fire more than once: [`EmittingWindowAggregate`], for `table.exec.emit.*`.

use super::aggregate::{STATE_NAME, for_each_page, progress_entry, restored_progress};
use super::slices::{Part, Slices};
use crate::nodes::{EmitSpec, WindowAggregateSpec, WindowProperty, WindowPropertyKind};
use crate::operators::aggregate::distinct::Offered;
use crate::operators::aggregate::{Aggregates, Phase, Rows};
use crate::operators::group::changelog::{Steps, Telling, changes};
use crate::operators::{
    MAX_EMITTED_ROWS, group_slots, key_columns, needed_columns, signs_of, spec_error, wall_clock_of,
};
use arrow_array::{ArrayRef, TimestampMillisecondArray};
use flott_checkpoint::{ColumnType, TableDescriptor};
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::encoding::{decode_rows, encode_rows};
use flott_core::hash::hash_columns;
use flott_core::time::{END_OF_TIME, EventTime, NO_WATERMARK};
use flott_core::{Batch, CheckpointId, KeyGroupRange, LogicalType};
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{FailureLabel, Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::{KeyedTable, LastPages, OperatorSnapshot, TableCursor, WindowTables};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Rows that are handled one by one in a call.
const STEPS_A_CALL: usize = MAX_EMITTED_ROWS / 2;
/// Name of the keys that were not told.
const UNTOLD: &str = "untold";

/// Aggregates per key and window, told as a changelog: before the window's end, at it, and behind it while late rows are
/// allowed. Every slice is a window (a TUMBLE, or rows that bring their window along).
///
/// What was told of a window is kept beside its accumulators; a firing tells the difference only, so one that changed
/// nothing is silent. With a delay, a window of a key is told when the delay has passed since its first row that was not told
/// yet; with delay 0 at every row. A window goes when the watermark is `lateness_ms` behind its end; later rows are late.
///
/// State: `window-aggs` (a table a window: group key -> partial columns, what was told), `window-distinct-N`, and the
/// watermark up to which windows have fired. Where the backend has tiers, they lie in them, and so do the keys that were not told.
#[derive(Debug)]
pub(crate) struct EmittingWindowAggregate {
    // Constant.
    keys: Vec<usize>,
    needed: Vec<bool>,
    properties: Vec<WindowProperty>,
    aggregates: Aggregates,
    input_retracts: bool,
    settles: bool,
    emit: EmitSpec,
    result_types: Vec<LogicalType>,
    state: Arc<TableDescriptor>,
    sets_state: Vec<Arc<TableDescriptor>>,
    /// State column of what was told.
    told_column: usize,
    clock: SharedClock,
    metrics: Arc<OperatorMetrics>,
    // State.
    slices: Slices,
    tables: WindowTables,
    sets: Vec<WindowTables>,
    /// Keys of windows with rows that were not told; no checkpoint holds them.
    untold: WindowTables,
    /// Windows of a checkpoint: any of their keys may have such rows.
    restored: BTreeSet<i64>,
    /// When windows with untold keys are told, by processing time.
    alarms: BTreeSet<(i64, i64)>,
    telling: VecDeque<ToldWindow>,
    /// The rest of a batch whose rows are told one by one.
    pending: Option<Batch>,
    progress: EventTime,
    target: EventTime,
}

/// A window of which keys are told now.
#[derive(Debug)]
struct ToldWindow {
    window_end: i64,
    keys: ToldKeys,
    /// Slots of the page at hand that were not told yet.
    left: Vec<u32>,
    has_pages: bool,
}

/// Which keys of a window are told, and where to go on.
#[derive(Debug)]
enum ToldKeys {
    /// Those of the page at hand.
    Page,
    /// Those of a table, which is dropped then.
    Untold(Box<KeyedTable>, LastPages),
    All(TableCursor),
}

impl EmittingWindowAggregate {
    /// The operator of a spec.
    ///
    /// # Errors
    /// If the spec cannot run.
    pub(crate) fn new(spec: &WindowAggregateSpec) -> Result<Self, TaskError> {
        spec.validate().map_err(spec_error)?;
        let clock = wall_clock_of(if spec.is_local_time() { &spec.time_zone } else { "UTC" })?;
        let slices = Slices::new(spec.window, spec.time, clock, &spec.input);
        let (Some(emit), true) = (spec.emit, slices.are_windows()) else {
            return Err(TaskError::internal(
                "a window that fires early must be a slice of its own",
            ));
        };
        let retracts = spec.input_retracts;
        let aggregates =
            Aggregates::new(&spec.input, &spec.aggregates, retracts, retracts, Phase::Whole).map_err(spec_error)?;
        let group: Vec<LogicalType> = spec.keys.iter().map(|&k| spec.input[k].ty.clone()).collect();
        let state = aggregates.descriptor(STATE_NAME, group.clone());
        let told_column = state.columns.len();
        let state = Arc::new(state.column("told", ColumnType::Bytes));
        let sets_state: Vec<Arc<TableDescriptor>> = (aggregates.distinct().iter().enumerate())
            .map(|(i, set)| Arc::new(set.descriptor(format!("window-distinct-{i}"), &group)))
            .collect();
        Ok(Self {
            keys: spec.keys.clone(),
            needed: needed_columns(spec.input.len(), &spec.keys, &spec.aggregates),
            properties: spec.properties.clone(),
            input_retracts: retracts,
            settles: !aggregates.ordered(&spec.input).is_empty(),
            emit,
            result_types: spec.aggregates.iter().map(|a| a.ty.clone()).collect(),
            told_column,
            clock: Arc::new(SystemClock),
            metrics: Arc::default(),
            slices,
            // The real tables are made in `open`, which knows the subtask's key groups.
            tables: WindowTables::new(Arc::clone(&state), 1, KeyGroupRange::all(1)),
            sets: vec![],
            untold: WindowTables::new(TableDescriptor::new(UNTOLD, group), 1, KeyGroupRange::all(1)),
            restored: BTreeSet::new(),
            aggregates,
            state,
            sets_state,
            alarms: BTreeSet::new(),
            telling: VecDeque::new(),
            pending: None,
            progress: NO_WATERMARK,
            target: NO_WATERMARK,
        })
    }

    /// What is kept in checkpoints.
    pub(crate) fn state_tables(&self) -> Vec<TableDescriptor> {
        std::iter::once(&self.state)
            .chain(&self.sets_state)
            .map(|t| t.as_ref().clone())
            .collect()
    }

    /// The instant when a window goes.
    fn goes_at(&self, window_end: i64) -> i64 {
        let lateness_ms = if self.emit.late_ms.is_some() {
            self.emit.lateness_ms
        } else {
            0
        };
        self.slices
            .fires_at(window_end)
            .saturating_add(i64::try_from(lateness_ms).unwrap_or(i64::MAX))
    }

    fn has_fired(&self, window_end: i64) -> bool {
        self.progress != NO_WATERMARK && self.slices.has_fired(window_end, self.progress)
    }

    /// After how long rows of a window are told: `None`: at its end only.
    fn delay_of(&self, window_end: i64) -> Option<u64> {
        match self.has_fired(window_end) {
            true => self.emit.late_ms,
            false => self.emit.early_ms,
        }
    }

    fn add(&mut self, batch: &Batch) -> Result<(), TaskError> {
        let now_ms = self.clock.now_ms().max(self.progress.saturating_add(1));
        for (window_end, part) in self.slices.split(batch, now_ms)? {
            let is_gone = !self.slices.is_processing_time()
                && self.progress != NO_WATERMARK
                && (self.progress == END_OF_TIME || self.progress >= self.goes_at(window_end));
            if is_gone {
                self.metrics.late_records_dropped.add(part.len(batch.num_rows()) as u64);
                continue;
            }
            let delay_ms = self.delay_of(window_end);
            if delay_ms == Some(0) {
                let left = self.accumulate(window_end, &part, batch, false)?;
                self.tell_keys(window_end, ToldKeys::Page, left);
                continue;
            }
            // Should the clock be set back, a window that has fired is told before it goes again.
            let is_told = delay_ms.is_some() || self.has_fired(window_end);
            let is_waiting = self.untold.get(window_end).is_some() || self.restored.contains(&window_end);
            if let (false, Some(delay_ms)) = (is_waiting, delay_ms) {
                let delay_ms = i64::try_from(delay_ms).unwrap_or(i64::MAX);
                self.alarms
                    .insert((self.clock.now_ms().saturating_add(delay_ms), window_end));
            }
            self.accumulate(window_end, &part, batch, is_told)?;
        }
        Ok(())
    }

    /// Takes rows of a window in, and notes their keys if these are told later: the slots.
    fn accumulate(
        &mut self,
        window_end: i64,
        part: &Part,
        batch: &Batch,
        is_told_later: bool,
    ) -> Result<Vec<u32>, TaskError> {
        let columns = part.of(batch.columns(), &self.needed)?;
        let rows = part.len(batch.num_rows());
        let keys = key_columns(&columns, &self.keys);
        let hashes = match batch.hashes() {
            Some(hashes) => part.of_slice(hashes),
            None => hash_columns(&keys, rows)?.into(),
        };
        if is_told_later {
            group_slots(self.untold.table_mut(window_end), &keys, &hashes, &mut vec![])?;
        }
        let table = self.tables.table_mut(window_end);
        let mut slots = Vec::with_capacity(rows);
        group_slots(table, &keys, &hashes, &mut slots)?;
        let signs = signs_of(batch).map(|s| part.of_slice(&s).into_owned());
        let signs = signs.as_deref();
        let mut passed = Vec::with_capacity(self.sets.len());
        for (set, tables) in self.aggregates.distinct().iter().zip(&mut self.sets) {
            let valid = set.valid(&columns);
            let offered = Offered {
                keys: &keys,
                hashes: &hashes,
                values: &columns[set.arg],
                valid: &valid,
                signs,
            };
            passed.push(set.pass(tables.table_mut(window_end), offered)?);
        }
        let rows = Rows {
            slots: &slots,
            columns: &columns,
            signs,
            passed: &passed,
        };
        self.aggregates.accumulate(table, rows, &mut [], None)?;
        self.aggregates.count_rows(table, &slots, signs);
        Ok(slots)
    }

    /// Takes rows one by one where each is told at once, else all together.
    fn take(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let Some(batch) = self.pending.take() else {
            return self.tell(out);
        };
        let is_at_once = self.emit.early_ms == Some(0) || self.emit.late_ms == Some(0);
        if !is_at_once {
            self.add(&batch)?;
            return Ok(Flow::Done);
        }
        let rows = batch.num_rows().min(STEPS_A_CALL);
        for row in 0..rows {
            self.add(&batch.slice(row, 1))?;
            // A row has one key in one window, so this never needs more room than two rows.
            self.tell(out)?;
        }
        if rows == batch.num_rows() {
            return Ok(Flow::Done);
        }
        self.pending = Some(batch.slice(rows, batch.num_rows() - rows));
        Ok(Flow::More)
    }

    /// Lets the windows be told whose time has come.
    fn ring(&mut self, now_ms: i64) {
        while let Some((at, window_end)) = self.alarms.first().copied()
            && at <= now_ms
        {
            self.alarms.remove(&(at, window_end));
            self.tell_untold(window_end);
        }
    }

    fn tell_keys(&mut self, window_end: i64, keys: ToldKeys, left: Vec<u32>) {
        self.telling.push_back(ToldWindow {
            window_end,
            has_pages: !matches!(keys, ToldKeys::Page),
            keys,
            left,
        });
    }

    /// Lets the keys of a window be told that have rows that were not.
    fn tell_untold(&mut self, window_end: i64) {
        match self.untold.remove(window_end) {
            _ if self.restored.remove(&window_end) => {
                self.tell_keys(window_end, ToldKeys::All(TableCursor::default()), vec![]);
            }
            Some(keys) => {
                let keys = ToldKeys::Untold(Box::new(keys), LastPages::default());
                self.tell_keys(window_end, keys, vec![]);
            }
            None => {}
        }
    }

    /// Tells what is to be told, as far as there is room.
    fn tell(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let mut room = STEPS_A_CALL;
        while let Some(mut telling) = self.telling.pop_front() {
            if room == 0 {
                self.telling.push_front(telling);
                return Ok(Flow::More);
            }
            if telling.left.is_empty() {
                self.turn_page(&mut telling)?;
            }
            let fit = match self.tables.get(telling.window_end) {
                Some(table) => self.aggregates.slots_with_room(table, &telling.left),
                None => telling.left.len(),
            };
            let later = telling.left.split_off(fit.min(room));
            let slots = std::mem::replace(&mut telling.left, later);
            room = if fit < telling.left.len() + slots.len() {
                0
            } else {
                room - slots.len()
            };
            if !slots.is_empty() {
                self.tell_window(telling.window_end, &slots, out)?;
            }
            if telling.has_pages || !telling.left.is_empty() {
                self.telling.push_front(telling);
            }
        }
        Ok(Flow::Done)
    }

    /// Brings the next keys of a window that is told into memory.
    fn turn_page(&mut self, telling: &mut ToldWindow) -> Result<(), TaskError> {
        if self.telling.iter().all(|t| t.left.is_empty()) {
            self.tables.relieve()?;
        }
        let Some(table) = self.tables.get_mut(telling.window_end) else {
            telling.has_pages = false;
            return Ok(());
        };
        telling.has_pages = match &mut telling.keys {
            ToldKeys::Page => false,
            ToldKeys::All(cursor) => table.next_page(cursor, STEPS_A_CALL, &mut telling.left)?,
            ToldKeys::Untold(untold, pages) => {
                let mut slots = vec![];
                let has_pages = untold.last_page(pages, STEPS_A_CALL, &mut slots)?;
                let keys = untold.keys(&slots)?;
                table.find(&keys, &hash_columns(&keys, slots.len())?, &mut telling.left)?;
                has_pages
            }
        };
        Ok(())
    }

    fn tell_window(&mut self, window_end: i64, slots: &[u32], out: &mut Output) -> Result<(), TaskError> {
        if self.settles {
            self.settle(window_end, slots)?;
        }
        let Some(table) = self.tables.get_mut(window_end) else {
            return Ok(());
        };
        let after = self.aggregates.values(table, slots)?;
        let exists: Vec<bool> = match self.aggregates.row_count().filter(|_| self.input_retracts) {
            Some(counter) => slots.iter().map(|s| table.column::<i64>(counter).get(*s) > 0).collect(),
            None => vec![true; slots.len()],
        };
        let told = table.bytes_column(self.told_column);
        let existed: Vec<bool> = slots.iter().map(|s| told.get(*s).is_some()).collect();
        let encoded = encode_rows(&after, slots.len()).map_err(encoding_error)?;
        let empty_rows = (0..slots.len()).map(|row| (row, slots[row]));
        let before: Vec<&[u8]> = empty_rows
            .map(|(row, slot)| told.get(slot).unwrap_or_else(|| encoded.row(row)))
            .collect();
        let before = decode_rows(&self.result_types, before).map_err(encoding_error)?;
        let keys = table.keys(slots)?;
        let steps = Steps {
            keys: &keys,
            before: &before,
            after: &after,
            existed: &existed,
            exists: &exists,
        };
        let telling = Telling {
            update_before: self.emit.update_before,
            unchanged: false,
        };
        if let Some(batch) = changes(steps, telling)? {
            let mut columns = batch.columns().to_vec();
            for property in &self.properties {
                let value = match property.kind {
                    WindowPropertyKind::Start => self.slices.window_start(window_end),
                    WindowPropertyKind::End => window_end,
                    WindowPropertyKind::Time => self.slices.window_time(window_end),
                };
                let column: ArrayRef = Arc::new(TimestampMillisecondArray::from_value(value, batch.num_rows()));
                columns.push(column);
            }
            out.emit(batch.with_columns(columns));
        }
        let told = table.bytes_column_mut(self.told_column);
        for (row, &slot) in slots.iter().enumerate() {
            told.set(slot, exists[row].then(|| encoded.row(row)));
        }
        table.mark_changed(slots);
        Ok(())
    }

    /// Takes MIN and MAX of retracted input from the values that are left.
    fn settle(&mut self, window_end: i64, slots: &[u32]) -> Result<(), TaskError> {
        let Some(table) = self.tables.get_mut(window_end) else {
            return Ok(());
        };
        self.aggregates.unsettle_extremes(table, slots);
        let groups = table.keys(slots)?;
        let wanted: BTreeSet<u32> = slots.iter().copied().collect();
        let sets = self.aggregates.distinct().iter().enumerate();
        for (index, set) in sets.filter(|(index, _)| self.aggregates.has_ordered(*index)) {
            let Some(values_table) = self.sets[index].get_mut(window_end) else {
                continue;
            };
            let mut settle = |values_table: &KeyedTable, page: &[u32]| {
                let mut keys = values_table.keys(page)?;
                let Some(values) = keys.pop() else { return Ok(()) };
                let mut owners = Vec::with_capacity(page.len());
                match keys.is_empty() {
                    true => owners.resize(page.len(), slots[0]),
                    false => table.find(&keys, &hash_columns(&keys, page.len())?, &mut owners)?,
                }
                let present = set.present(values_table, page);
                let present: Vec<arrow_buffer::NullBuffer> = (present.iter())
                    .map(|p| {
                        let is_wanted = |(row, owner): (usize, &u32)| p.is_valid(row) && wanted.contains(owner);
                        owners.iter().enumerate().map(is_wanted).collect::<Vec<_>>().into()
                    })
                    .collect();
                self.aggregates
                    .settle_extremes(table, index, &owners, &values, &present);
                Ok(())
            };
            // In memory nothing leads from a group to its values.
            if groups.is_empty() || !values_table.is_tiered() {
                for_each_page(values_table, settle)?;
                continue;
            }
            let hashes = hash_columns(&groups, slots.len())?;
            values_table.for_each_beginning_with(&groups, &hashes, |values_table, page| {
                settle(values_table, page)?;
                Ok::<_, TaskError>(values_table.relieve()?)
            })?;
        }
        Ok(())
    }

    /// Event time, or the clock, comes to `target`: windows fire at their ends, and go.
    fn advance(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        loop {
            if self.tell(out)? == Flow::More {
                return Ok(Flow::More);
            }
            let (progress, target) = (self.progress, self.target);
            let fired = |w: i64, time: i64| time != NO_WATERMARK && self.slices.has_fired(w, time);
            let goes = |w: i64| target == END_OF_TIME || target >= self.goes_at(w);
            let first = self
                .tables
                .slices()
                .find(|w| goes(*w) || (fired(*w, target) && !fired(*w, progress)));
            let fires: Vec<i64> = (self.tables.slices())
                .filter(|w| fired(*w, target) && !fired(*w, progress))
                .collect();
            let gone: Vec<i64> = self.tables.slices().filter(|w| goes(*w)).collect();
            if first.is_none() {
                break;
            }
            self.progress = self.progress.max(target);
            for window_end in fires {
                self.untold.remove(window_end);
                self.restored.remove(&window_end);
                self.tell_keys(window_end, ToldKeys::All(TableCursor::default()), vec![]);
            }
            for window_end in gone.iter() {
                // What came late and waits for its delay is told before the window goes.
                self.tell_untold(*window_end);
            }
            let (untold, restored) = (&self.untold, &self.restored);
            self.alarms
                .retain(|(_, w)| untold.get(*w).is_some() || restored.contains(w));
            if !self.telling.is_empty() {
                continue;
            }
            for window_end in gone {
                self.tables.remove(window_end);
                for set in &mut self.sets {
                    set.remove(window_end);
                }
            }
        }
        self.progress = self.progress.max(self.target);
        Ok(Flow::Done)
    }
}

fn encoding_error(error: flott_core::encoding::EncodingError) -> TaskError {
    TaskError::caused(FailureLabel::Internal, "a window's result cannot be kept", error).fatal()
}

impl Operator for EmittingWindowAggregate {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        (self.clock, self.metrics) = (ctx.clock.clone(), ctx.metrics.clone());
        let tables = |state: &Arc<TableDescriptor>| {
            WindowTables::new(Arc::clone(state), ctx.task.max_parallelism, ctx.task.key_groups()).tiered(&ctx.backend)
        };
        self.sets = self.sets_state.iter().map(&tables).collect::<Result<_, _>>()?;
        self.tables = tables(&self.state)?;
        self.untold = tables(self.untold.descriptor())?;
        if let Some(restored) = ctx.restored.take() {
            for tables in self.sets.iter_mut().chain([&mut self.tables]) {
                restored.load_windows(tables)?;
            }
            self.progress = restored_progress(&restored);
            // Which rows had not been told is not kept: all windows are looked at after the delay.
            let windows: Vec<i64> = self.tables.slices().collect();
            for window_end in windows {
                let delay = self.delay_of(window_end).and_then(|d| i64::try_from(d).ok());
                if let Some(delay_ms) = delay {
                    self.restored.insert(window_end);
                    self.alarms
                        .insert((self.clock.now_ms().saturating_add(delay_ms), window_end));
                }
            }
        }
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        if batch.is_empty() {
            return Ok(Flow::Done);
        }
        let all = [&mut self.tables, &mut self.untold].into_iter().chain(&mut self.sets);
        for tables in all {
            tables.relieve()?;
        }
        self.pending = Some(batch);
        self.take(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        if self.pending.is_some() {
            return self.take(out);
        }
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
        let end = self.tables.first().filter(|_| self.slices.is_processing_time());
        let end = end.map(|w| self.slices.fires_at(w) + 1);
        let alarm = self.alarms.first().map(|(at, _)| *at);
        end.into_iter().chain(alarm).min()
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        self.ring(now_ms);
        if self.slices.is_processing_time() {
            self.target = self.target.max(now_ms - 1);
        }
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
        let sets = self.sets.iter().map(WindowTables::bytes).sum::<usize>();
        self.tables.bytes() + self.untold.bytes() + sets
    }
}
