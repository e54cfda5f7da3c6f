//! Sessions as columns: [`SessionRows`].

use super::aggregate::{progress_entry, restored_progress};
use super::sessions::{Assigned, LATE, Sessions, WholeGroups};
use super::slices::Slices;
use crate::nodes::WindowTableFunctionSpec;
use crate::operators::{MAX_EMITTED_ROWS, key_columns, spec_error, wall_clock_of};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, TimestampMillisecondArray};
use flott_checkpoint::{ColumnType, TableDescriptor};
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::encoding::{decode_rows, encode_rows};
use flott_core::hash::hash_columns;
use flott_core::time::{END_OF_TIME, EventTime, NO_WATERMARK};
use flott_core::{Batch, CheckpointId, KeyGroupRange, LogicalType, TypeKind};
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{FailureLabel, Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::{KeyedTable, Moves, OperatorSnapshot, TableCursor};
use std::sync::Arc;

/// Name of the keyed state.
const STATE_NAME: &str = "window-rows";
/// State columns.
const TIME: usize = 0;
const ROW: usize = 1;

/// Rows with the bounds of their session, which are known when it has ended: rows are kept until then. A session's rows come in
/// the order in which they came in, sessions in order of their ends. Rows that would open a session that has fired are
/// dropped and counted in `numLateRecordsDropped`.
///
/// State: `window-rows` (partition and a running number -> time, row), placed by the partition; sessions follow from
/// the times. Where the backend has tiers, partitions go to disk with their rows ([`Sessions`]).
#[derive(Debug)]
pub(crate) struct SessionRows {
    // Constant.
    partition: Vec<usize>,
    types: Vec<LogicalType>,
    state: Arc<TableDescriptor>,
    clock: SharedClock,
    metrics: Arc<OperatorMetrics>,
    // State.
    times: Slices,
    sessions: Sessions,
    table: KeyedTable,
    /// By session: number and slot of its rows.
    rows: Vec<Vec<(i64, u32)>>,
    /// How many rows sessions in memory have.
    kept_rows: usize,
    next_number: i64,
    firing: Option<Firing>,
    progress: EventTime,
    target: EventTime,
}

/// A session on its way out.
#[derive(Debug)]
struct Firing {
    start: i64,
    end: i64,
    slots: Vec<u32>,
    /// Rows that are out already.
    done: usize,
}

impl SessionRows {
    /// The operator of a spec.
    ///
    /// # Errors
    /// If the window cannot be cut.
    pub(crate) fn new(spec: &WindowTableFunctionSpec) -> Result<Self, TaskError> {
        spec.window.validate().map_err(spec_error)?;
        let clock = wall_clock_of(if spec.is_local_time() { &spec.time_zone } else { "UTC" })?;
        let partition: Vec<LogicalType> = spec.partition.iter().map(|&k| spec.input[k].ty.clone()).collect();
        let mut key = partition.clone();
        key.push(LogicalType::not_null(TypeKind::BigInt));
        let state = TableDescriptor::new(STATE_NAME, key)
            .placed_by(partition.len())
            .column("time", ColumnType::I64)
            .column("row", ColumnType::Bytes);
        let state = Arc::new(state);
        Ok(Self {
            partition: spec.partition.clone(),
            types: spec.input.iter().map(|f| f.ty.clone()).collect(),
            clock: Arc::new(SystemClock),
            metrics: Arc::default(),
            times: Slices::new(spec.window, spec.time, clock, &spec.input),
            sessions: Sessions::new(spec.window.size_ms(), partition),
            // The real table is made in `open`, which knows the subtask's key groups.
            table: KeyedTable::new(Arc::clone(&state), 1, KeyGroupRange::all(1)),
            state,
            rows: vec![],
            kept_rows: 0,
            next_number: 0,
            firing: None,
            progress: NO_WATERMARK,
            target: NO_WATERMARK,
        })
    }

    /// What is kept in checkpoints.
    pub(crate) fn state_tables(&self) -> Vec<TableDescriptor> {
        vec![self.state.as_ref().clone()]
    }

    /// Moves the rows of sessions that have met together.
    fn merge(&mut self, assigned: &Assigned) {
        let needed = assigned.opened.iter().map(|(n, _)| *n as usize + 1).max().unwrap_or(0);
        if self.rows.len() < needed {
            self.rows.resize_with(needed, Vec::new);
        }
        for &(from, to) in &assigned.absorbed {
            let mut moved = std::mem::take(&mut self.rows[from as usize]);
            self.rows[to as usize].append(&mut moved);
        }
        self.sessions.forget(assigned.absorbed.iter().map(|(from, _)| *from));
    }

    fn add(&mut self, batch: &Batch) -> Result<(), TaskError> {
        if batch.kinds().is_some_and(|k| k.iter().any(|k| *k != 0)) {
            return Err(TaskError::internal("sessions as columns take inserted rows only"));
        }
        let times = self.times.times(batch, self.clock.now_ms())?;
        let mut keys = key_columns(batch.columns(), &self.partition);
        let hashes = match batch.hashes() {
            Some(hashes) => hashes.to_vec(),
            None => hash_columns(&keys, batch.num_rows())?,
        };
        self.relieve()?;
        let groups = self.sessions.locate(&keys, &hashes, times.len())?;
        self.follow_moves()?;
        let (progress, fires) = (self.progress, &self.times);
        let is_late = |end| progress != NO_WATERMARK && !fires.is_processing_time() && fires.has_fired(end, progress);
        let assigned = self.sessions.assign(&groups, &times, is_late);
        self.merge(&assigned);
        let numbers = self.next_number..self.next_number + batch.num_rows() as i64;
        self.next_number = numbers.end;
        keys.push(Arc::new(Int64Array::from_iter_values(numbers.clone())));
        let mut slots = Vec::with_capacity(times.len());
        self.table
            .slots_with_placement(&keys, &hash_columns(&keys, times.len())?, &hashes, &mut slots)?;
        let encoded = encode_rows(batch.columns(), batch.num_rows()).map_err(encoding_error)?;
        let mut late = vec![];
        for (row, (&slot, number)) in slots.iter().zip(numbers).enumerate() {
            match assigned.of_row[row] {
                LATE => late.push(slot),
                session => {
                    self.table.column_mut::<i64>(TIME).set(slot, times[row]);
                    self.table.bytes_column_mut(ROW).set(slot, Some(encoded.row(row)));
                    self.rows[session as usize].push((number, slot));
                }
            }
        }
        self.kept_rows += slots.len() - late.len();
        self.table.remove(&late);
        self.metrics.late_records_dropped.add(late.len() as u64);
        Ok(())
    }

    fn advance(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let mut room = MAX_EMITTED_ROWS;
        loop {
            let mut firing = match self.firing.take() {
                Some(firing) => firing,
                None => match self.next_firing()? {
                    Some(firing) => firing,
                    None => break,
                },
            };
            if room == 0 {
                self.firing = Some(firing);
                return Ok(Flow::More);
            }
            let until = firing.slots.len().min(firing.done + room);
            let slots = &firing.slots[firing.done..until];
            out.emit(self.shown(&firing, slots)?);
            self.table.remove(slots);
            room -= slots.len();
            firing.done = until;
            if until < firing.slots.len() {
                self.firing = Some(firing);
            }
        }
        self.progress = self.progress.max(self.target);
        Ok(Flow::Done)
    }

    fn next_firing(&mut self) -> Result<Option<Firing>, TaskError> {
        let number = loop {
            let (target, times) = (self.target, &self.times);
            let has_come = |end| times.has_fired(end, target);
            if let Some(number) = self.sessions.due(1, has_come).pop() {
                break number;
            }
            if self.sessions.first_end_on_disk(has_come).is_none() {
                return Ok(None);
            }
            self.relieve()?;
            let times = &self.times;
            self.sessions.wake(|end| times.has_fired(end, target))?;
            self.follow_moves()?;
        };
        let session = *self.sessions.get(number);
        let mut rows = std::mem::take(&mut self.rows[number as usize]);
        rows.sort_unstable();
        self.kept_rows -= rows.len();
        self.sessions.close(&[number]);
        Ok(Some(Firing {
            start: session.start,
            end: session.end,
            slots: rows.into_iter().map(|(_, slot)| slot).collect(),
            done: 0,
        }))
    }

    fn shown(&self, firing: &Firing, slots: &[u32]) -> Result<Batch, TaskError> {
        let bytes = self.table.bytes_column(ROW);
        let rows = slots.iter().map(|s| bytes.get(*s).unwrap_or_default());
        let mut columns = decode_rows(&self.types, rows).map_err(encoding_error)?;
        let window_time = self.times.window_time(firing.end);
        for value in [firing.start, firing.end, window_time] {
            let column: ArrayRef = Arc::new(TimestampMillisecondArray::from_value(value, slots.len()));
            columns.push(column);
        }
        Ok(Batch::new(columns, slots.len()))
    }

    /// Lets partitions go to disk that were not asked for lately. No number of a session may be held, nor a row be on its way out.
    fn relieve(&mut self) -> Result<Moves, TaskError> {
        if !self.sessions.is_tiered() || self.firing.is_some() {
            return Ok(Moves::default());
        }
        let beside = self.kept_rows * (self.table.bytes_a_row() + size_of::<(i64, u32)>());
        self.sessions.relieve(beside)?;
        self.follow_moves()
    }

    /// Keeps the sessions of the partitions that memory has, and gives those that have left and come.
    fn follow_moves(&mut self) -> Result<Moves, TaskError> {
        let moves = self.sessions.take_moves();
        let (mut firsts, mut ends, mut slots) = (vec![], vec![], vec![]);
        for (number, session) in self.sessions.give_up(&moves.left) {
            let rows = std::mem::take(&mut self.rows[number as usize]);
            firsts.extend(rows.first().map(|(_, slot)| *slot));
            ends.push(session.end);
            slots.extend(rows.iter().map(|(_, slot)| *slot));
        }
        if !slots.is_empty() {
            let mut keys = self.table.keys(&firsts)?;
            keys.pop();
            self.sessions.keep_ends(keys, ends.into_iter())?;
            self.table.send_away(&slots)?;
            self.kept_rows -= slots.len();
        }
        if !moves.came.is_empty() {
            let keys = self.sessions.keys_of(&moves.came)?;
            let hashes = hash_columns(&keys, moves.came.len())?;
            let mut slots = vec![];
            self.table.for_each_beginning_with(&keys, &hashes, |_, page| {
                slots.extend_from_slice(page);
                Ok::<_, TaskError>(())
            })?;
            let times = self.table.column::<i64>(TIME);
            slots.sort_by_key(|slot| times.get(*slot));
            for slots in slots.chunks(MAX_EMITTED_ROWS) {
                let groups = self.groups_of(slots)?;
                self.put_back(&groups, slots)?;
            }
            self.sessions.forget_ends(&moves.came)?;
        }
        Ok(moves)
    }

    /// The groups of the rows at these slots.
    fn groups_of(&mut self, slots: &[u32]) -> Result<Vec<u32>, TaskError> {
        let mut keys = self.table.keys(slots)?;
        keys.pop();
        Ok(self
            .sessions
            .locate(&keys, &hash_columns(&keys, slots.len())?, slots.len())?)
    }

    /// Puts rows that were kept back into the sessions of their groups.
    fn put_back(&mut self, groups: &[u32], slots: &[u32]) -> Result<(), TaskError> {
        let Some(numbers) = self.table.keys(slots)?.pop() else {
            return Ok(());
        };
        let numbers = numbers.as_primitive::<Int64Type>();
        let times: Vec<i64> = (slots.iter()).map(|s| self.table.column::<i64>(TIME).get(*s)).collect();
        let assigned = self.sessions.assign(groups, &times, |_| false);
        self.merge(&assigned);
        for ((session, number), slot) in assigned.of_row.iter().zip(numbers.values()).zip(slots) {
            self.rows[*session as usize].push((*number, *slot));
            self.next_number = self.next_number.max(number + 1);
        }
        self.kept_rows += slots.len();
        Ok(())
    }

    /// Rebuilds what is in memory only.
    fn rebuild(&mut self) -> Result<(), TaskError> {
        let (mut cursor, mut is_more, mut whole) = (TableCursor::default(), true, WholeGroups::default());
        while is_more {
            let mut slots = vec![];
            is_more = self.table.next_page(&mut cursor, MAX_EMITTED_ROWS, &mut slots)?;
            let groups = self.groups_of(&slots)?;
            whole.follow(&self.follow_moves()?);
            let (groups, slots) = whole.others(groups, slots);
            self.put_back(&groups, &slots)?;
            whole.follow(&self.relieve()?);
        }
        Ok(())
    }
}

fn encoding_error(error: flott_core::encoding::EncodingError) -> TaskError {
    TaskError::caused(FailureLabel::Internal, "a row of a session cannot be kept", error).fatal()
}

impl Operator for SessionRows {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        (self.clock, self.metrics) = (ctx.clock.clone(), ctx.metrics.clone());
        let (max_parallelism, key_groups) = (ctx.task.max_parallelism, ctx.task.key_groups());
        self.sessions.open(ctx)?;
        self.table = match self.sessions.is_tiered() {
            true => (ctx.backend).table_beside(Arc::clone(&self.state), max_parallelism, key_groups)?,
            false => KeyedTable::new(Arc::clone(&self.state), max_parallelism, key_groups),
        };
        if let Some(restored) = ctx.restored.take() {
            restored.load_table(&mut self.table)?;
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
        Ok(OperatorSnapshot {
            keyed: vec![self.table.capture(checkpoint)],
            operator_state: vec![progress_entry(self.progress)],
            committables: vec![],
        })
    }

    fn finish(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.target = END_OF_TIME;
        self.advance(out)
    }

    fn state_bytes(&self) -> usize {
        let rows: usize = self.rows.iter().map(|r| r.capacity() * size_of::<(i64, u32)>()).sum();
        self.table.bytes() + self.sessions.bytes() + rows
    }
}
