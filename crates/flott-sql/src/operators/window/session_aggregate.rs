//! Aggregates of sessions: [`SessionAggregate`].

use super::aggregate::{STATE_NAME, for_each_chunk, progress_entry, restored_progress};
use super::sessions::{Assigned, LATE, Session, Sessions, WholeGroups};
use super::slices::Slices;
use crate::nodes::{WindowAggregateSpec, WindowProperty, WindowPropertyKind};
use crate::operators::aggregate::distinct::Offered;
use crate::operators::aggregate::{Aggregates, Phase, Rows};
use crate::operators::{MAX_EMITTED_ROWS, key_columns, signs_of, spec_error, wall_clock_of};
use arrow_array::{ArrayRef, Int64Array, TimestampMillisecondArray, UInt32Array};
use arrow_buffer::NullBuffer;
use flott_checkpoint::{ColumnType, TableDescriptor};
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::hash::hash_columns;
use flott_core::time::{END_OF_TIME, EventTime, NO_WATERMARK};
use flott_core::{Batch, CheckpointId, KeyGroupRange, LogicalType, TypeKind};
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::{KeyedTable, Moves, NO_SLOT, OperatorSnapshot, TableCursor};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Aggregates per key and session, emitted when the watermark (or the clock) passes the session's end. Output is
/// append-only, in order of the sessions' ends.
///
/// A batch is taken in three steps: its rows find their sessions ([`Sessions`]), accumulators of sessions that have met are
/// merged, then the rows are accumulated by columns. A row is late if the session that it would open has fired by the
/// watermark before its batch; it is dropped and counted in `numLateRecordsDropped`.
///
/// State: `window-aggs` (group key and session -> partial columns, start, end), `window-distinct-N` (group key, session and
/// value), all placed by the group key, and the watermark up to which sessions have fired. Where the backend has tiers, keys go to disk with
/// their sessions ([`Sessions`]).
#[derive(Debug)]
pub(crate) struct SessionAggregate {
    // Constant.
    keys: Vec<usize>,
    properties: Vec<WindowProperty>,
    aggregates: Aggregates,
    input_retracts: bool,
    state: Arc<TableDescriptor>,
    sets_state: Vec<Arc<TableDescriptor>>,
    /// State column of the start; that of the end is the next.
    start_column: usize,
    clock: SharedClock,
    metrics: Arc<OperatorMetrics>,
    // State.
    times: Slices,
    sessions: Sessions,
    /// Sessions to be told that did not fit in a call.
    due: Vec<u32>,
    table: KeyedTable,
    sets: Vec<KeyedTable>,
    /// For each set, the values of each session, by its slot; some may be named twice. Not kept over input that retracts,
    /// where values go again, nor in tiers, where they are found by the session.
    members: Vec<HashMap<u32, Vec<u32>>>,
    progress: EventTime,
    target: EventTime,
}

impl SessionAggregate {
    /// The operator of a spec.
    ///
    /// # Errors
    /// If the spec cannot run.
    pub(crate) fn new(spec: &WindowAggregateSpec) -> Result<Self, TaskError> {
        spec.validate().map_err(spec_error)?;
        if spec.emit.is_some() {
            return Err(TaskError::internal("sessions fire at their end only"));
        }
        let retracts = spec.input_retracts;
        let aggregates =
            Aggregates::new(&spec.input, &spec.aggregates, retracts, retracts, Phase::Whole).map_err(spec_error)?;
        let clock = wall_clock_of(if spec.is_local_time() { &spec.time_zone } else { "UTC" })?;
        let group: Vec<LogicalType> = spec.keys.iter().map(|&k| spec.input[k].ty.clone()).collect();
        let mut key = group.clone();
        key.push(LogicalType::not_null(TypeKind::BigInt));
        let state = aggregates.descriptor(STATE_NAME, key.clone()).placed_by(group.len());
        let start_column = state.columns.len();
        let state = Arc::new(
            state
                .column("window-start", ColumnType::I64)
                .column("window-end", ColumnType::I64),
        );
        let set_state = |(i, set): (usize, &crate::operators::aggregate::distinct::DistinctSpec)| {
            let table = set.descriptor(format!("window-distinct-{i}"), &key);
            Arc::new(table.placed_by(group.len()))
        };
        let sets_state: Vec<Arc<TableDescriptor>> = aggregates.distinct().iter().enumerate().map(set_state).collect();
        Ok(Self {
            keys: spec.keys.clone(),
            properties: spec.properties.clone(),
            input_retracts: retracts,
            start_column,
            clock: Arc::new(SystemClock),
            metrics: Arc::default(),
            times: Slices::new(spec.window, spec.time, clock, &spec.input),
            sessions: Sessions::new(spec.window.size_ms(), group),
            due: vec![],
            // The real tables are made in `open`, which knows the subtask's key groups.
            table: KeyedTable::new(Arc::clone(&state), 1, KeyGroupRange::all(1)),
            sets: vec![],
            members: vec![HashMap::new(); sets_state.len()],
            aggregates,
            state,
            sets_state,
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

    fn add(&mut self, batch: &Batch) -> Result<(), TaskError> {
        let times = self.times.times(batch, self.clock.now_ms())?;
        let keys = key_columns(batch.columns(), &self.keys);
        let hashes = match batch.hashes() {
            Some(hashes) => hashes.to_vec(),
            None => hash_columns(&keys, batch.num_rows())?,
        };
        self.relieve()?;
        let groups = self.sessions.locate(&keys, &hashes, batch.num_rows())?;
        self.follow_moves()?;
        let (progress, fires) = (self.progress, &self.times);
        let is_late = |end| progress != NO_WATERMARK && !fires.is_processing_time() && fires.has_fired(end, progress);
        let assigned = self.sessions.assign(&groups, &times, is_late);
        self.make_slots(&assigned, &keys, &hashes)?;
        self.merge(&assigned)?;
        let late = assigned.of_row.iter().filter(|n| **n == LATE).count();
        if late == 0 {
            return self.accumulate(batch, &hashes, &assigned.of_row);
        }
        self.metrics.late_records_dropped.add(late as u64);
        let kept: Vec<u32> = (0..batch.num_rows() as u32)
            .filter(|r| assigned.of_row[*r as usize] != LATE)
            .collect();
        let hashes: Vec<u64> = kept.iter().map(|r| hashes[*r as usize]).collect();
        let of_row: Vec<u32> = kept.iter().map(|r| assigned.of_row[*r as usize]).collect();
        self.accumulate(&batch.take(&UInt32Array::from(kept))?, &hashes, &of_row)
    }

    /// Gives new sessions their place in the table.
    fn make_slots(&mut self, assigned: &Assigned, keys: &[ArrayRef], hashes: &[u64]) -> Result<(), TaskError> {
        let gone: BTreeSet<u32> = assigned.absorbed.iter().map(|(from, _)| *from).collect();
        let new: Vec<(u32, u32)> = (assigned.opened.iter().copied())
            .filter(|(number, _)| !gone.contains(number))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let rows: UInt32Array = new.iter().map(|(_, row)| *row).collect();
        let mut key = keys
            .iter()
            .map(|k| arrow_select::take::take(k.as_ref(), &rows, None))
            .collect::<Result<Vec<_>, _>>()?;
        key.push(self.ids(new.iter().map(|(number, _)| *number)));
        let placement: Vec<u64> = rows.values().iter().map(|r| hashes[*r as usize]).collect();
        let index = hash_columns(&key, new.len())?;
        let mut slots = Vec::with_capacity(new.len());
        self.table.slots_with_placement(&key, &index, &placement, &mut slots)?;
        for (&(number, _), slot) in new.iter().zip(slots) {
            self.sessions.keep_at(number, slot);
        }
        Ok(())
    }

    fn ids(&self, numbers: impl Iterator<Item = u32>) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(numbers.map(|n| self.sessions.get(n).id)))
    }

    /// Adds the content of absorbed sessions to those that are left.
    fn merge(&mut self, assigned: &Assigned) -> Result<(), TaskError> {
        let (mut gone, mut into) = (vec![], vec![]);
        for &(from, to) in &assigned.absorbed {
            let slot = self.sessions.get(from).slot;
            if slot != NO_SLOT {
                gone.push(slot);
                into.push(to);
            }
        }
        if !gone.is_empty() {
            let slots: Vec<u32> = into.iter().map(|n| self.sessions.get(*n).slot).collect();
            let mut targets = slots.as_slice();
            for piece in self.aggregates.pieces(&self.table, &gone) {
                let (of_piece, rest) = targets.split_at(piece.len());
                let content = self.aggregates.gather(&self.table, piece)?;
                self.aggregates.merge(&mut self.table, of_piece, &content)?;
                targets = rest;
            }
            for set in 0..self.sets.len() {
                self.merge_set(set, &gone, &into)?;
            }
            self.table.remove(&gone);
        }
        self.sessions.forget(assigned.absorbed.iter().map(|(from, _)| *from));
        Ok(())
    }

    /// Moves the values of the sessions at `gone` to the sessions `into`.
    fn merge_set(&mut self, index: usize, gone: &[u32], into: &[u32]) -> Result<(), TaskError> {
        let (owners, entries) = self.values_of(index, gone)?;
        if entries.is_empty() {
            return Ok(());
        }
        let target: HashMap<u32, u32> = gone.iter().copied().zip(into.iter().copied()).collect();
        let to: Vec<u32> = owners.iter().map(|slot| target[slot]).collect();
        let slots: Vec<u32> = to.iter().map(|n| self.sessions.get(*n).slot).collect();
        let mut keys = self.sets[index].keys(&entries)?;
        let Some(values) = keys.pop() else { return Ok(()) };
        // The last key column is the session.
        keys.pop();
        let hashes = hash_columns(&keys, entries.len())?;
        keys.push(self.ids(to.iter().copied()));
        for times in 0.. {
            let set = &self.aggregates.distinct()[index];
            let held = set.held(&self.sets[index], &entries, times);
            if held.iter().all(|h| h.null_count() == h.len()) {
                break;
            }
            let valid: Vec<Option<NullBuffer>> = held.into_iter().map(Some).collect();
            let offered = Offered {
                keys: &keys,
                hashes: &hashes,
                values: &values,
                valid: &valid,
                signs: None,
            };
            let passed = set.pass(&mut self.sets[index], offered)?;
            self.aggregates
                .accumulate_distinct(&mut self.table, index, &slots, &values, None, &passed)?;
            let met: Vec<u32> = (0..entries.len() as u32)
                .filter(|r| passed.is_any(*r as usize))
                .collect();
            self.note_members(index, &keys, &values, &slots, met)?;
        }
        self.sets[index].remove(&entries);
        Ok(())
    }

    /// Forgets the values of the sessions at `slots`, when their extremes over input that retracts have been found among them.
    fn take_values(&mut self, index: usize, slots: &[u32]) -> Result<(), TaskError> {
        if !self.sets[index].is_tiered() {
            let (owners, entries) = self.values_of(index, slots)?;
            let set = &mut self.sets[index];
            if self.input_retracts {
                settle(&self.aggregates, index, &mut self.table, &owners, (set, &entries))?;
            }
            set.remove(&entries);
            return Ok(());
        }
        let keys = self.table.keys(slots)?;
        let hashes = hash_columns(&keys[..keys.len() - 1], slots.len())?;
        let (aggregates, table, retracts) = (&self.aggregates, &mut self.table, self.input_retracts);
        self.sets[index].for_each_beginning_with(&keys, &hashes, |set, page| {
            if retracts {
                let owners = owners_of(table, set, page)?;
                settle(aggregates, index, table, &owners, (set, page))?;
            }
            set.remove(page);
            Ok(())
        })
    }

    /// The values of the sessions at `slots`: for each its session's slot and its own.
    fn values_of(&mut self, index: usize, slots: &[u32]) -> Result<(Vec<u32>, Vec<u32>), TaskError> {
        let (mut owners, mut entries) = (vec![], vec![]);
        if self.sets[index].is_tiered() {
            let keys = self.table.keys(slots)?;
            let hashes = hash_columns(&keys[..keys.len() - 1], slots.len())?;
            let table = &mut self.table;
            self.sets[index].for_each_beginning_with(&keys, &hashes, |set, page| {
                owners.extend(owners_of(table, set, page)?);
                entries.extend_from_slice(page);
                Ok::<_, TaskError>(())
            })?;
            return Ok((owners, entries));
        }
        if !self.input_retracts {
            for &slot in slots {
                let mut values = self.members[index].remove(&slot).unwrap_or_default();
                values.sort_unstable();
                values.dedup();
                owners.resize(owners.len() + values.len(), slot);
                entries.append(&mut values);
            }
            return Ok((owners, entries));
        }
        let wanted: BTreeSet<u32> = slots.iter().copied().collect();
        let (table, set) = (&mut self.table, &self.sets[index]);
        for_each_chunk(set, |chunk| {
            for (&entry, owner) in chunk
                .iter()
                .zip(owners_of(table, set, chunk)?)
                .filter(|(_, o)| wanted.contains(o))
            {
                owners.push(owner);
                entries.push(entry);
            }
            Ok(())
        })?;
        Ok((owners, entries))
    }

    /// Notes that `rows` of these keys and values belong to the sessions at `slots`.
    fn note_members(
        &mut self,
        index: usize,
        keys: &[ArrayRef],
        values: &ArrayRef,
        slots: &[u32],
        rows: Vec<u32>,
    ) -> Result<(), TaskError> {
        if self.input_retracts || rows.is_empty() || self.sets[index].is_tiered() {
            return Ok(());
        }
        let taken = UInt32Array::from(rows);
        let key = (keys.iter().chain([values]))
            .map(|k| arrow_select::take::take(k.as_ref(), &taken, None))
            .collect::<Result<Vec<_>, _>>()?;
        let mut entries = Vec::with_capacity(taken.len());
        self.sets[index].find(&key, &hash_columns(&key, taken.len())?, &mut entries)?;
        for (row, entry) in taken.values().iter().zip(entries) {
            let slot = slots[*row as usize];
            self.members[index].entry(slot).or_default().push(entry);
        }
        Ok(())
    }

    fn accumulate(&mut self, batch: &Batch, hashes: &[u64], of_row: &[u32]) -> Result<(), TaskError> {
        let mut slots = Vec::with_capacity(of_row.len());
        let mut last = LATE;
        for &number in of_row {
            let Session { slot, start, end, .. } = *self.sessions.get(number);
            if number != last {
                self.table.column_mut::<i64>(self.start_column).set(slot, start);
                self.table.column_mut::<i64>(self.start_column + 1).set(slot, end);
                last = number;
            }
            slots.push(slot);
        }
        self.table.mark_changed(&slots);
        let signs = signs_of(batch);
        let mut keys = key_columns(batch.columns(), &self.keys);
        let mut passed = Vec::with_capacity(self.sets.len());
        if !self.sets.is_empty() {
            keys.push(self.ids(of_row.iter().copied()));
        }
        for index in 0..self.sets.len() {
            let set = &self.aggregates.distinct()[index];
            let (valid, values) = (set.valid(batch.columns()), batch.column(set.arg));
            let offered = Offered {
                keys: &keys,
                hashes,
                values,
                valid: &valid,
                signs: signs.as_deref(),
            };
            let of_set = set.pass(&mut self.sets[index], offered)?;
            let met: Vec<u32> = (0..slots.len() as u32).filter(|r| of_set.is_any(*r as usize)).collect();
            self.note_members(index, &keys, values, &slots, met)?;
            passed.push(of_set);
        }
        let rows = Rows {
            slots: &slots,
            columns: batch.columns(),
            signs: signs.as_deref(),
            passed: &passed,
        };
        self.aggregates.accumulate(&mut self.table, rows, &mut [], None)?;
        self.aggregates.count_rows(&mut self.table, &slots, signs.as_deref());
        Ok(())
    }

    fn advance(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        while self.due.is_empty() {
            let (target, times) = (self.target, &self.times);
            let has_come = |end| times.has_fired(end, target);
            self.due = self.sessions.due(MAX_EMITTED_ROWS, has_come);
            if !self.due.is_empty() || self.sessions.first_end_on_disk(has_come).is_none() {
                break;
            }
            self.relieve()?;
            let times = &self.times;
            self.sessions.wake(|end| times.has_fired(end, target))?;
            self.follow_moves()?;
        }
        if !self.due.is_empty() {
            let slots: Vec<u32> = self.due.iter().map(|n| self.sessions.get(*n).slot).collect();
            let later = self.due.split_off(self.aggregates.slots_with_room(&self.table, &slots));
            let due = std::mem::replace(&mut self.due, later);
            self.fire(&due, out)?;
            return Ok(Flow::More);
        }
        self.progress = self.progress.max(self.target);
        Ok(Flow::Done)
    }

    fn fire(&mut self, due: &[u32], out: &mut Output) -> Result<(), TaskError> {
        let slots: Vec<u32> = due.iter().map(|n| self.sessions.get(*n).slot).collect();
        for index in 0..self.sets.len() {
            self.take_values(index, &slots)?;
        }
        let mut shown: Vec<(u32, Session)> = slots
            .iter()
            .copied()
            .zip(due.iter().map(|n| *self.sessions.get(*n)))
            .collect();
        if let (true, Some(counter)) = (self.input_retracts, self.aggregates.row_count()) {
            let counts = self.table.column::<i64>(counter);
            shown.retain(|(slot, _)| counts.get(*slot) > 0);
        }
        if !shown.is_empty() {
            let of_shown: Vec<u32> = shown.iter().map(|(slot, _)| *slot).collect();
            let mut columns = self.table.keys(&of_shown)?;
            columns.pop();
            columns.extend(self.aggregates.values(&self.table, &of_shown)?);
            for property in &self.properties {
                let times = &self.times;
                let value = |session: &Session| match property.kind {
                    WindowPropertyKind::Start => session.start,
                    WindowPropertyKind::End => session.end,
                    WindowPropertyKind::Time => times.window_time(session.end),
                };
                let column = TimestampMillisecondArray::from_iter_values(shown.iter().map(|(_, s)| value(s)));
                columns.push(Arc::new(column));
            }
            out.emit(Batch::new(columns, shown.len()));
        }
        self.table.remove(&slots);
        self.sessions.close(due);
        Ok(())
    }

    /// Lets keys and values go to disk that were not asked for lately. No number of a session may be held.
    fn relieve(&mut self) -> Result<Moves, TaskError> {
        if !self.sessions.is_tiered() || !self.due.is_empty() {
            return Ok(Moves::default());
        }
        for set in &mut self.sets {
            set.relieve()?;
        }
        let beside = self.sessions.len_in_memory() * self.table.bytes_a_row();
        self.sessions.relieve(beside)?;
        self.follow_moves()
    }

    /// Keeps the sessions of the keys that memory has, and gives those that have left and come.
    fn follow_moves(&mut self) -> Result<Moves, TaskError> {
        let moves = self.sessions.take_moves();
        let gone = self.sessions.give_up(&moves.left);
        if !gone.is_empty() {
            let slots: Vec<u32> = gone.iter().map(|(_, session)| session.slot).collect();
            let mut keys = self.table.keys(&slots)?;
            keys.pop();
            self.sessions
                .keep_ends(keys, gone.iter().map(|(_, session)| session.end))?;
            self.table.send_away(&slots)?;
        }
        if !moves.came.is_empty() {
            let keys = self.sessions.keys_of(&moves.came)?;
            let hashes = hash_columns(&keys, moves.came.len())?;
            let (sessions, column) = (&mut self.sessions, self.start_column);
            self.table.for_each_beginning_with(&keys, &hashes, |table, slots| {
                let groups = groups_of(sessions, table, slots)?;
                restore_sessions(sessions, table, column, &groups, slots)
            })?;
            self.sessions.forget_ends(&moves.came)?;
        }
        Ok(moves)
    }

    /// Rebuilds what is in memory only.
    fn rebuild(&mut self) -> Result<(), TaskError> {
        let (mut cursor, mut is_more, mut whole) = (TableCursor::default(), true, WholeGroups::default());
        while is_more {
            let mut slots = vec![];
            is_more = self.table.next_page(&mut cursor, MAX_EMITTED_ROWS, &mut slots)?;
            let groups = groups_of(&mut self.sessions, &self.table, &slots)?;
            whole.follow(&self.follow_moves()?);
            let (groups, slots) = whole.others(groups, slots);
            restore_sessions(&mut self.sessions, &self.table, self.start_column, &groups, &slots)?;
            whole.follow(&self.relieve()?);
        }
        if self.sessions.is_tiered() || self.input_retracts {
            return Ok(());
        }
        for (set, members) in self.sets.iter().zip(&mut self.members) {
            let table = &mut self.table;
            for_each_chunk(set, |entries| {
                let mut keys = set.keys(entries)?;
                keys.pop();
                let mut owners = Vec::with_capacity(entries.len());
                table.find(&keys, &hash_columns(&keys, entries.len())?, &mut owners)?;
                for (entry, owner) in entries.iter().zip(owners) {
                    members.entry(owner).or_default().push(*entry);
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Finds the extremes of the sessions at `owners` among their values.
fn settle(
    aggregates: &Aggregates,
    index: usize,
    table: &mut KeyedTable,
    owners: &[u32],
    (set, values): (&KeyedTable, &[u32]),
) -> Result<(), TaskError> {
    if values.is_empty() {
        return Ok(());
    }
    let present = aggregates.distinct()[index].present(set, values);
    if let Some(values) = set.keys(values)?.pop() {
        aggregates.settle_extremes(table, index, owners, &values, &present);
    }
    Ok(())
}

/// Where the sessions are that values belong to.
fn owners_of(table: &mut KeyedTable, set: &KeyedTable, values: &[u32]) -> Result<Vec<u32>, TaskError> {
    let mut keys = set.keys(values)?;
    keys.pop();
    let mut owners = Vec::with_capacity(values.len());
    table.find(&keys, &hash_columns(&keys, values.len())?, &mut owners)?;
    Ok(owners)
}

/// The groups of the sessions at these slots.
fn groups_of(sessions: &mut Sessions, table: &KeyedTable, slots: &[u32]) -> Result<Vec<u32>, TaskError> {
    let mut keys = table.keys(slots)?;
    keys.pop();
    Ok(sessions.locate(&keys, &hash_columns(&keys, slots.len())?, slots.len())?)
}

/// Puts sessions back that lie at these slots, each into its group.
fn restore_sessions(
    sessions: &mut Sessions,
    table: &KeyedTable,
    start_column: usize,
    groups: &[u32],
    slots: &[u32],
) -> Result<(), TaskError> {
    let Some(ids) = table.keys(slots)?.pop() else {
        return Ok(());
    };
    let ids: &Int64Array = arrow_array::cast::AsArray::as_primitive(&ids);
    let (starts, ends) = (table.column::<i64>(start_column), table.column::<i64>(start_column + 1));
    for ((&group, &slot), id) in groups.iter().zip(slots).zip(ids.values()) {
        sessions.restore(group, (*id, starts.get(slot), ends.get(slot), slot));
    }
    Ok(())
}

impl Operator for SessionAggregate {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        (self.clock, self.metrics) = (ctx.clock.clone(), ctx.metrics.clone());
        let (max_parallelism, key_groups) = (ctx.task.max_parallelism, ctx.task.key_groups());
        self.sessions.open(ctx)?;
        let is_tiered = self.sessions.is_tiered();
        let set = |state: &Arc<TableDescriptor>| match is_tiered {
            true => ctx.table(Arc::clone(state)),
            false => Ok(KeyedTable::new(Arc::clone(state), max_parallelism, key_groups)),
        };
        self.sets = self.sets_state.iter().map(set).collect::<Result<_, _>>()?;
        self.table = match is_tiered {
            true => (ctx.backend).table_beside(Arc::clone(&self.state), max_parallelism, key_groups)?,
            false => KeyedTable::new(Arc::clone(&self.state), max_parallelism, key_groups),
        };
        if let Some(restored) = ctx.restored.take() {
            for table in self.sets.iter_mut().chain([&mut self.table]) {
                restored.load_table(table)?;
            }
            self.progress = restored_progress(&restored);
            self.rebuild()?;
        }
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, _out: &mut Output) -> Result<Flow, TaskError> {
        if !batch.is_empty() {
            self.add(&batch)?;
        }
        Ok(Flow::Done)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.advance(out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Flow, TaskError> {
        if self.times.is_processing_time() {
            return Ok(Flow::Done);
        }
        self.target = watermark;
        self.advance(out)
    }

    fn next_timer(&self) -> Option<i64> {
        let end = self.sessions.next_end().filter(|_| self.times.is_processing_time())?;
        Some(self.times.fires_at(end) + 1)
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        self.target = now_ms - 1;
        self.advance(out)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        let tables = std::iter::once(&mut self.table).chain(&mut self.sets);
        Ok(OperatorSnapshot {
            keyed: tables.map(|t| t.capture(checkpoint)).collect(),
            operator_state: vec![progress_entry(self.progress)],
            committables: vec![],
        })
    }

    fn finish(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.target = END_OF_TIME;
        self.advance(out)
    }

    fn state_bytes(&self) -> usize {
        self.table.bytes() + self.sessions.bytes() + self.sets.iter().map(KeyedTable::bytes).sum::<usize>()
    }
}
