//! Sessions as columns: [`SessionRows`].

use super::aggregate::{for_each_chunk, progress_entry, restored_progress};
use super::sessions::{Assigned, LATE, Sessions};
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
use flott_state::{KeyedTable, OperatorSnapshot};
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
/// the times.
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
        let (progress, fires) = (self.progress, &self.times);
        let is_late = |end| progress != NO_WATERMARK && !fires.is_processing_time() && fires.has_fired(end, progress);
        let assigned = self.sessions.assign(&keys, &hashes, &times, is_late)?;
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
        self.table.remove(&late);
        self.metrics.late_records_dropped.add(late.len() as u64);
        Ok(())
    }

    fn advance(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let mut room = MAX_EMITTED_ROWS;
        loop {
            let mut firing = match self.firing.take() {
                Some(firing) => firing,
                None => match self.next_firing() {
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

    fn next_firing(&mut self) -> Option<Firing> {
        let (target, times) = (self.target, &self.times);
        let number = self.sessions.due(1, |end| times.has_fired(end, target)).pop()?;
        let session = *self.sessions.get(number);
        let mut rows = std::mem::take(&mut self.rows[number as usize]);
        rows.sort_unstable();
        self.sessions.close(&[number]);
        Some(Firing {
            start: session.start,
            end: session.end,
            slots: rows.into_iter().map(|(_, slot)| slot).collect(),
            done: 0,
        })
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

    /// Rebuilds what is in memory only.
    fn rebuild(&mut self) -> Result<(), TaskError> {
        let mut chunks: Vec<Vec<u32>> = vec![];
        for_each_chunk(&self.table, |slots| {
            chunks.push(slots.to_vec());
            Ok(())
        })?;
        for slots in chunks {
            let mut keys = self.table.keys(&slots)?;
            let Some(numbers) = keys.pop() else { continue };
            let numbers = numbers.as_primitive::<Int64Type>();
            let times: Vec<i64> = (slots.iter()).map(|s| self.table.column::<i64>(TIME).get(*s)).collect();
            let hashes = hash_columns(&keys, slots.len())?;
            let assigned = self.sessions.assign(&keys, &hashes, &times, |_| false)?;
            self.merge(&assigned);
            for ((session, number), slot) in assigned.of_row.iter().zip(numbers.values()).zip(&slots) {
                self.rows[*session as usize].push((*number, *slot));
                self.next_number = self.next_number.max(number + 1);
            }
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
        let key_groups = ctx.task.key_groups();
        self.table = KeyedTable::new(Arc::clone(&self.state), ctx.task.max_parallelism, key_groups);
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
