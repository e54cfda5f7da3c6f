//! The operator of OVER aggregates: [`OverAggregate`].

use super::frames::{Frames, RowAt, Steps};
use super::telling::{PIECE_BYTES, Telling};
use super::waiting::Waiting;
use crate::nodes::{AggregateCall, OverAggregateSpec, OverFrame, OverOrder};
use crate::operators::aggregate::distinct::{Offered, Passed};
use crate::operators::aggregate::extreme::OrderedValues;
use crate::operators::aggregate::room::{pieces_of, row_lengths};
use crate::operators::aggregate::{Aggregates, Phase, Rows};
use crate::operators::group::aggregate::forget_groups;
use crate::operators::group::expiry::{self, Expiry};
use crate::operators::keyed_rows::row_encoder;
use crate::operators::{MAX_EMITTED_ROWS, group_slots, hashes_of, key_columns, spec_error};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, UInt32Array};
use arrow_buffer::BooleanBuffer;
use bytes::Bytes;
use flott_checkpoint::{ColumnType, TableDescriptor};
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::encoding::decode_rows;
use flott_core::hash::hash_columns;
use flott_core::time::{END_OF_TIME, EventTime, NO_WATERMARK};
use flott_core::{Batch, CheckpointId, KeyGroupRange, LogicalType, TypeKind};
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::{
    KeyedTable, Moves, NO_SLOT, OperatorEntry, OperatorSnapshot, Redistribute, RestoredState, TableCursor,
};
use std::ops::Range;
use std::sync::Arc;

/// Names of the keyed states, as Flink's.
pub(crate) const STATE_NAME: &str = "accState";
pub(crate) const ROWS_NAME: &str = "inputState";
/// Name of the operator state that holds the watermark up to which rows were told.
const WATERMARK_STATE: &str = "watermark";
/// Partitions without young rows are looked for at most so often.
const MIN_RETIRE_MS: i64 = 1000;
/// About what a row takes in a frame, and in the ordered values of a call.
const HELD_BYTES: usize = 32;
/// Silent partitions, with their rows, that are brought from disk together to be forgotten, and how often in one call.
const RETIRED_ROWS: usize = 512;
const RETIRED_PAGES: usize = 8;
/// The bytes of a row in `inputState`.
const BYTES: usize = 0;

/// Where a due row finds the value of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Behind the step that completes its frame.
    Complete,
    /// Behind the step in which the first row of its time entered: RANK.
    First,
}

/// Tells each row of the input once, with aggregates of its frame behind it; all rows are inserts.
///
/// Event time: rows wait until the watermark passes their time and are told in order of time, those of one time by
/// partition, then by arrival. A row is late, dropped and counted in `numLateRecordsDropped`, if the watermark has passed
/// its time (frames without bound) or a row of its partition that is not older was told (frames with one), as in Flink.
///
/// Processing time: rows are told as they come; RANGE with a bound tells them when the clock has moved on, together with
/// those of the same millisecond.
///
/// State: `accState` (partition -> partial columns, and for bounded frames the time of the last row told), `inputState`
/// (partition, time, number -> row) of rows that wait or are in a frame, `distinctAcc_N`, and the watermark. A row leaves
/// when no frame needs it; partitions of RANGE frames go when they have no rows, those of frames without bound by the time
/// to live.
pub(crate) struct OverAggregate {
    // Constant.
    partition: Vec<usize>,
    order: OverOrder,
    frame: OverFrame,
    types: Vec<LogicalType>,
    order_name: String,
    aggregates: Aggregates,
    taken: Vec<Taken>,
    /// Whether calls read the mark of the first row of each time.
    has_mark: bool,
    keys_state: Arc<TableDescriptor>,
    rows_state: Arc<TableDescriptor>,
    sets_state: Vec<Arc<TableDescriptor>>,
    /// Column of `accState` with the time of the last row told.
    last_time: Option<usize>,
    clock: SharedClock,
    metrics: Arc<OperatorMetrics>,
    // State.
    keys: KeyedTable,
    rows: KeyedTable,
    sets: Vec<KeyedTable>,
    ordered: Vec<OrderedValues>,
    frames: Frames,
    waiting: Waiting,
    next_number: i64,
    /// Time up to which rows were told.
    progress: EventTime,
    /// Time up to which rows are being told.
    target: EventTime,
    next_retire: i64,
    /// Where the look for silent partitions on disk goes on.
    retire_cursor: TableCursor,
    expiry: Option<Expiry>,
    /// Rows that are being told.
    telling: Option<Telling>,
}

impl OverAggregate {
    /// The operator of a spec.
    ///
    /// # Errors
    /// If the spec cannot run.
    pub(crate) fn new(spec: &OverAggregateSpec) -> Result<Self, TaskError> {
        spec.validate().map_err(spec_error)?;
        // At processing time no row has another's time.
        let frame = match (spec.order, spec.frame) {
            (OverOrder::ProcessingTime, OverFrame::UnboundedRange) => OverFrame::UnboundedRows,
            (_, frame) => frame,
        };
        let counted = spec.counted();
        let aggregates = Aggregates::new(
            &spec.input_with_mark(),
            &counted,
            frame.is_bounded(),
            false,
            if frame.is_bounded() { Phase::Frame } else { Phase::Whole },
        )
        .map_err(spec_error)?;
        let group: Vec<LogicalType> = spec.partition.iter().map(|&k| spec.input[k].ty.clone()).collect();
        let mut keys_state = aggregates.descriptor(STATE_NAME, group.clone());
        let last_time = frame.is_bounded().then_some(keys_state.columns.len());
        if last_time.is_some() {
            keys_state = keys_state.nullable("last-time", ColumnType::I64);
        }
        let expires = spec.ttl_ms > 0 && !frame.is_bounded();
        let expiry = expires.then(|| Expiry::new(spec.ttl_ms, keys_state.columns.len()));
        if expires {
            keys_state = keys_state.column(expiry::COLUMN, ColumnType::I64);
        }
        let number = LogicalType::not_null(TypeKind::BigInt);
        let row_key = group.iter().cloned().chain([number.clone(), number]).collect();
        let rows_state = TableDescriptor::new(ROWS_NAME, row_key)
            .placed_by(group.len())
            .nullable("row", ColumnType::Bytes);
        let (keys_state, rows_state) = (Arc::new(keys_state), Arc::new(rows_state));
        let sets_state = (aggregates.distinct().iter().enumerate())
            .map(|(i, set)| Arc::new(set.descriptor(format!("distinctAcc_{i}"), &group)))
            .collect();
        // The real tables are made in `open`, which knows the subtask's key groups.
        let table = |state: &Arc<TableDescriptor>| KeyedTable::new(Arc::clone(state), 1, KeyGroupRange::all(1));
        Ok(Self {
            partition: spec.partition.clone(),
            order: spec.order,
            frame,
            types: spec.input.iter().map(|f| f.ty.clone()).collect(),
            order_name: match spec.order {
                OverOrder::EventTime { column } => spec.input[column].name.clone(),
                OverOrder::ProcessingTime | OverOrder::Column { .. } => String::new(),
            },
            taken: taken_of(spec),
            has_mark: spec.aggregates.iter().any(|a| a.function == "DENSE_RANK"),
            keys: table(&keys_state),
            rows: table(&rows_state),
            sets: vec![],
            ordered: aggregates.ordered(&spec.input_with_mark()),
            aggregates,
            keys_state,
            rows_state,
            sets_state,
            last_time,
            clock: Arc::new(SystemClock),
            metrics: Arc::default(),
            frames: Frames::new(frame),
            waiting: Waiting::default(),
            next_number: 0,
            progress: NO_WATERMARK,
            target: NO_WATERMARK,
            next_retire: NO_WATERMARK,
            retire_cursor: TableCursor::default(),
            expiry,
            telling: None,
        })
    }

    /// What is kept in checkpoints.
    pub(crate) fn state_tables(&self) -> Vec<TableDescriptor> {
        let keeps_rows = self.waits() || self.frame.is_bounded();
        let rows = keeps_rows.then_some(&self.rows_state);
        [&self.keys_state]
            .into_iter()
            .chain(rows)
            .chain(&self.sets_state)
            .map(|t| t.as_ref().clone())
            .collect()
    }

    /// Whether partitions, the rows of their frames and distinct values may go to disk: what a set holds of a partition that is forgotten
    /// is found by the partition's fields.
    pub(crate) fn can_be_tiered(&self) -> bool {
        !(self.partition.is_empty() && self.expiry.is_some() && !self.sets_state.is_empty())
    }

    /// Whether rows wait for time to pass before they are told.
    fn waits(&self) -> bool {
        matches!(self.order, OverOrder::EventTime { .. }) || matches!(self.frame, OverFrame::Range { .. })
    }

    fn restore(&mut self, restored: &RestoredState) -> Result<(), TaskError> {
        restored.load_table(&mut self.keys)?;
        restored.load_table(&mut self.rows)?;
        for set in &mut self.sets {
            restored.load_table(set)?;
        }
        let watermarks = restored.operator_state(WATERMARK_STATE);
        let watermarks = watermarks.filter_map(|b| b.as_ref().try_into().ok().map(i64::from_le_bytes));
        self.progress = watermarks.min().unwrap_or(NO_WATERMARK);
        match self.rows.is_tiered() {
            true => self.restore_waiting()?,
            false => self.restore_rows()?,
        }
        if let Some(expiry) = &mut self.expiry
            && !self.keys.is_empty()
        {
            expiry.plan_sweep(&self.keys, self.clock.now_ms());
        }
        Ok(())
    }

    /// Puts all kept rows where they belong.
    fn restore_rows(&mut self) -> Result<(), TaskError> {
        let mut kept = Vec::with_capacity(self.rows.len());
        let slots: Vec<u32> = self.rows.live_slots().collect();
        for slots in slots.chunks(MAX_EMITTED_ROWS) {
            kept.extend(kept_rows(&mut self.keys, &self.rows, slots)?);
        }
        kept.sort_unstable_by_key(|(row, number)| (row.time, row.partition, *number));
        let mut told = vec![];
        for (row, number) in kept {
            self.next_number = self.next_number.max(number + 1);
            match self.is_told(&row) {
                true => told.push(row),
                false => self.waiting.insert(row, number),
            }
        }
        self.load_told(&told)
    }

    /// Lets the kept rows wait that were not told; the others stay on disk until their partition is asked for.
    fn restore_waiting(&mut self) -> Result<(), TaskError> {
        let (mut cursor, mut is_more) = (TableCursor::default(), true);
        while is_more {
            let (mut slots, mut told) = (vec![], vec![]);
            is_more = self.rows.next_page(&mut cursor, MAX_EMITTED_ROWS, &mut slots)?;
            for (row, number) in kept_rows(&mut self.keys, &self.rows, &slots)? {
                self.next_number = self.next_number.max(number + 1);
                match self.is_told(&row) {
                    true => told.push(row.slot),
                    false => self.waiting.insert(row, number),
                }
            }
            self.rows.send_away(&told)?;
            self.relieve()?;
        }
        Ok(())
    }

    fn is_told(&self, row: &RowAt) -> bool {
        self.last_time_of(row.partition).is_some_and(|last| row.time <= last)
    }

    /// Puts rows that were told into their frames; those of a partition are in order.
    fn load_told(&mut self, told: &[RowAt]) -> Result<(), TaskError> {
        told.iter().for_each(|row| self.frames.load(*row));
        let kept = self.rows.bytes_column(BYTES);
        let bytes = |row: &RowAt| kept.get(row.slot).map_or(0, <[u8]>::len);
        for told in pieces_of(told, PIECE_BYTES, bytes) {
            let columns = self.read(told.iter())?;
            let partitions: Vec<u32> = told.iter().map(|row| row.partition).collect();
            self.aggregates.load_frames(&mut self.ordered, &partitions, &columns)?;
        }
        Ok(())
    }

    /// Keeps the frames of the partitions that memory has: those of partitions that have gone to disk go there with their rows, those of
    /// partitions that have come from there come with them.
    fn follow_moves(&mut self) -> Result<(), TaskError> {
        let Moves { left, came } = self.keys.take_moves();
        let mut slots = vec![];
        for &partition in &left {
            slots.extend(self.frames.give_up(partition));
            self.ordered.iter_mut().for_each(|o| o.remove_group(partition));
        }
        if !slots.is_empty() {
            self.rows.send_away(&slots)?;
        }
        if came.is_empty() {
            return Ok(());
        }
        let columns = self.keys.keys(&came)?;
        let hashes = hash_columns(&columns, came.len())?;
        let (keys, mut kept) = (&mut self.keys, vec![]);
        self.rows.for_each_beginning_with(&columns, &hashes, |rows, slots| {
            kept.extend(kept_rows(keys, rows, slots)?);
            Ok::<_, TaskError>(())
        })?;
        kept.retain(|(row, _)| self.is_told(row));
        kept.sort_unstable_by_key(|(row, number)| (row.time, row.partition, *number));
        let told: Vec<RowAt> = kept.into_iter().map(|(row, _)| row).collect();
        self.load_told(&told)
    }

    /// The time of the last row of a partition that was told, for bounded frames.
    fn last_time_of(&self, partition: u32) -> Option<i64> {
        let column = self.last_time.filter(|_| partition != NO_SLOT)?;
        self.keys.column::<i64>(column).value(partition)
    }

    /// The times of a batch's rows.
    fn times(&self, batch: &Batch) -> Result<Vec<i64>, TaskError> {
        let OverOrder::EventTime { column } = self.order else {
            let now_ms = match self.frame {
                OverFrame::Range { .. } => self.clock.now_ms().max(self.progress.saturating_add(1)),
                _ => 0,
            };
            return Ok(vec![now_ms; batch.num_rows()]);
        };
        let column = batch.column(column);
        if column.null_count() > 0 {
            return Err(TaskError::data(format!(
                "the time attribute '{0}' is NULL in {1} of {2} rows of a batch, so their place in an OVER window is unknown: \
                 filter such rows with WHERE {0} IS NOT NULL before it",
                self.order_name,
                column.null_count(),
                column.len()
            )));
        }
        Ok(column.as_primitive::<TimestampMillisecondType>().values().to_vec())
    }

    /// The rows of a batch that are not late, with their times; the others are counted.
    fn in_time(&mut self, batch: Batch, times: Vec<i64>) -> Result<(Batch, Vec<i64>), TaskError> {
        if !matches!(self.order, OverOrder::EventTime { .. }) {
            return Ok((batch, times));
        }
        let kept: Vec<u32> = if self.last_time.is_some() {
            let keys = key_columns(batch.columns(), &self.partition);
            let hashes = hashes_of(&batch, &keys)?;
            let mut slots = Vec::with_capacity(times.len());
            self.keys.find(&keys, &hashes, &mut slots)?;
            let is_late = |row: &u32| {
                let last = self.last_time_of(slots[*row as usize]);
                last.is_some_and(|last| times[*row as usize] <= last)
            };
            (0..times.len() as u32).filter(|row| !is_late(row)).collect()
        } else {
            let is_late = |row: &u32| self.progress != NO_WATERMARK && times[*row as usize] <= self.progress;
            (0..times.len() as u32).filter(|row| !is_late(row)).collect()
        };
        if kept.len() == times.len() {
            return Ok((batch, times));
        }
        self.metrics.late_records_dropped.add((times.len() - kept.len()) as u64);
        let times = kept.iter().map(|r| times[*r as usize]).collect();
        Ok((batch.take(&UInt32Array::from(kept))?, times))
    }

    /// Keeps rows, and gives their slots and numbers.
    fn keep(
        &mut self,
        batch: &Batch,
        keys: &[ArrayRef],
        hashes: &[u64],
        times: &[i64],
    ) -> Result<(Vec<u32>, i64), TaskError> {
        let rows = batch.num_rows();
        let first = self.next_number;
        self.next_number += rows as i64;
        let numbers = Int64Array::from_iter_values(first..self.next_number);
        let mut columns = keys.to_vec();
        columns.push(Arc::new(Int64Array::from(times.to_vec())));
        columns.push(Arc::new(numbers));
        let index_hashes = hash_columns(&columns, rows)?;
        let mut slots = Vec::with_capacity(rows);
        self.rows
            .slots_with_placement(&columns, &index_hashes, hashes, &mut slots)?;
        let encoder = row_encoder(batch.columns())?;
        let mut bytes = vec![];
        for (row, &slot) in slots.iter().enumerate() {
            bytes.clear();
            encoder.encode(row, &mut bytes);
            self.rows.bytes_column_mut(BYTES).set(slot, Some(&bytes));
        }
        Ok((slots, first))
    }

    /// The columns of kept rows.
    fn read<'a>(&self, rows: impl Iterator<Item = &'a RowAt>) -> Result<Vec<ArrayRef>, TaskError> {
        let bytes = self.rows.bytes_column(BYTES);
        let rows = rows.map(|r| bytes.get(r.slot).unwrap_or_default());
        decode_rows(&self.types, rows).map_err(|e| TaskError::internal(e.to_string()))
    }

    /// Begins to tell due rows; `columns` are theirs where they are at hand.
    fn begin(&mut self, due: Vec<RowAt>, columns: Option<&[ArrayRef]>) -> Result<(), TaskError> {
        let steps = self.frames.advance(&due);
        let at_hand = columns.filter(|_| steps.left.is_empty());
        let row_bytes = match at_hand {
            Some(columns) if self.aggregates.is_sized() => row_lengths(columns, due.len())?,
            Some(_) => vec![],
            None => {
                let bytes = self.rows.bytes_column(BYTES);
                let of_row = |row: &RowAt| bytes.get(row.slot).map_or(0, <[u8]>::len);
                due.iter().chain(&steps.left).map(of_row).collect()
            }
        };
        let is_one_piece = row_bytes.iter().sum::<usize>() <= PIECE_BYTES;
        let columns = match at_hand {
            Some(columns) => Some(columns.to_vec()),
            None if is_one_piece => Some(self.read(due.iter().chain(&steps.left))?),
            None => None,
        };
        self.telling = Some(Telling::new(due, steps, columns, row_bytes));
        Ok(())
    }

    /// Tells the next of the rows that are being told.
    fn tell(&mut self, telling: &mut Telling, out: &mut Output) -> Result<(), TaskError> {
        while !telling.has_complete() {
            self.take_piece(telling)?;
        }
        let (rows, values) = telling.tell(&self.taken)?;
        let mut columns: Vec<ArrayRef> = match &telling.columns {
            Some(columns) => columns.iter().map(|c| c.slice(rows.start, rows.len())).collect(),
            None => self.read(telling.due[rows.clone()].iter())?,
        };
        columns.extend(values);
        out.emit(Batch::new(columns, rows.len()));
        Ok(())
    }

    /// Runs the kernels over the next steps, as far as there is room.
    fn take_piece(&mut self, telling: &mut Telling) -> Result<(), TaskError> {
        let start = telling.next_step();
        let mut range = start..start + telling.steps_with_room();
        let noted = match self.aggregates.is_sized() {
            true => {
                let noted = telling.completing(range.clone());
                let steps = &telling.steps;
                let added = self
                    .aggregates
                    .added_at_most(range.clone().map(|step| match steps.signs[step] {
                        1 => telling.row_bytes[steps.rows[step] as usize],
                        _ => 0,
                    }));
                let partitions = &steps.partitions[range.clone()];
                let group = |step: usize| u64::from(partitions[step]);
                let is_noted = |step| noted.value(step);
                range.end = start + (self.aggregates).rows_with_room(&self.keys, partitions, group, &added, is_noted);
                Some(noted.slice(0, range.len()))
            }
            false => None,
        };
        let columns = self.columns_of(telling, range.clone())?;
        let mark = self.has_mark.then(|| telling.first(range.clone()));
        let steps = range.len();
        let state = self.run(&telling.steps, range, columns, mark, Some(noted.as_ref()))?;
        let bytes = match noted {
            Some(_) => row_lengths(&state, steps)?,
            None => vec![],
        };
        telling.take(steps, self.aggregates.finish(&state)?, bytes, &self.taken)
    }

    /// What the kernels read of the rows of steps.
    fn columns_of(&self, telling: &Telling, range: Range<usize>) -> Result<Vec<ArrayRef>, TaskError> {
        let steps = &telling.steps;
        match &telling.columns {
            Some(columns) if steps.is_plain() => {
                Ok(columns.iter().map(|c| c.slice(range.start, range.len())).collect())
            }
            Some(columns) => {
                let rows = UInt32Array::from(steps.rows[range].to_vec());
                let taken = columns
                    .iter()
                    .map(|c| arrow_select::take::take(c.as_ref(), &rows, None));
                Ok(taken.collect::<Result<_, _>>()?)
            }
            None => {
                let of_step = |row: &u32| match telling.due.get(*row as usize) {
                    Some(due) => due,
                    None => &steps.left[*row as usize - telling.due.len()],
                };
                self.read(steps.rows[range].iter().map(of_step))
            }
        }
    }

    /// Forgets what nobody needs any more of rows that are told.
    fn end(&mut self, telling: &Telling) {
        let Telling { due, steps, .. } = telling;
        if let Some(column) = self.last_time {
            let last = self.keys.column_mut::<i64>(column);
            due.iter().for_each(|row| last.set_value(row.partition, Some(row.time)));
            self.rows.remove(&steps.gone);
        } else if self.waits() {
            let told: Vec<u32> = due.iter().map(|r| r.slot).collect();
            self.rows.remove(&told);
        }
        if let Some(expiry) = &mut self.expiry {
            expiry.touch(&mut self.keys, &steps.partitions, self.clock.now_ms());
        }
    }

    /// Runs the kernels over some of the steps, whose rows are `columns`, and in which the first rows of their times enter where
    /// there is a `mark`. With `noted`, the state behind each step; that of bytes behind noted steps only, if they are told.
    fn run(
        &mut self,
        steps: &Steps,
        range: Range<usize>,
        mut columns: Vec<ArrayRef>,
        mark: Option<BooleanBuffer>,
        noted: Option<Option<&BooleanBuffer>>,
    ) -> Result<Vec<ArrayRef>, TaskError> {
        let (partitions, signs) = (&steps.partitions[range.clone()], &steps.signs[range.clone()]);
        let keys = key_columns(&columns, &self.partition);
        if self.has_mark {
            let mark = mark.unwrap_or_else(|| BooleanBuffer::new_unset(range.len()));
            columns.push(Arc::new(BooleanArray::new(mark, None)));
        }
        let signs = signs.iter().any(|s| *s < 0).then_some(signs);
        let mut passed: Vec<Passed> = Vec::with_capacity(self.sets.len());
        if !self.sets.is_empty() {
            let hashes = hash_columns(&keys, range.len())?;
            for (set, table) in self.aggregates.distinct().iter().zip(&mut self.sets) {
                let valid = set.valid(&columns);
                let offered = Offered {
                    keys: &keys,
                    hashes: &hashes,
                    values: &columns[set.arg],
                    valid: &valid,
                    signs,
                };
                passed.push(set.pass(table, offered)?);
            }
        }
        self.keys.mark_changed(partitions);
        let rows = Rows {
            slots: partitions,
            columns: &columns,
            signs,
            passed: &passed,
        };
        let mut traces = noted.map(|noted| self.aggregates.traces(range.len(), noted));
        self.aggregates
            .accumulate(&mut self.keys, rows, &mut self.ordered, traces.as_deref_mut())?;
        traces.into_iter().flatten().map(|trace| trace.finish()).collect()
    }

    /// Tells what waits up to the target, as far as there is room.
    fn advance(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        if self.telling.is_none() {
            let due = self
                .waiting
                .take_due(self.target, MAX_EMITTED_ROWS, self.frame.is_range());
            if due.is_empty() {
                self.progress = self.progress.max(self.target);
                self.retire()?;
                return Ok(Flow::Done);
            }
            self.begin(due, None)?;
        }
        let Some(mut telling) = self.telling.take() else {
            return Ok(Flow::Done);
        };
        self.tell(&mut telling, out)?;
        match telling.is_over() {
            true => {
                self.end(&telling);
                self.relieve()?;
            }
            false => self.telling = Some(telling),
        }
        Ok(Flow::More)
    }

    /// Forgets partitions whose rows no frame of a later row needs.
    fn retire(&mut self) -> Result<(), TaskError> {
        let OverFrame::Range { preceding_ms } = self.frame else {
            return Ok(());
        };
        if self.progress < self.next_retire || self.progress == END_OF_TIME {
            return Ok(());
        }
        // Rows may still come that are older than the watermark, but younger than the last of their partition.
        let oldest = self.progress.saturating_sub(preceding_ms.saturating_mul(2));
        let (mut pages, mut is_more) = (0, true);
        while is_more && pages < RETIRED_PAGES {
            is_more = false;
            if self.keys.is_tiered() {
                let (until, cursor) = (oldest.saturating_sub(1), &mut self.retire_cursor);
                is_more = self.keys.next_page_until(cursor, RETIRED_ROWS, until, &mut vec![])?;
                self.follow_moves()?;
            }
            self.retire_before(oldest)?;
            pages += 1;
        }
        self.next_retire = match is_more {
            true => self.progress,
            false => self.progress.saturating_add(preceding_ms.max(MIN_RETIRE_MS)),
        };
        Ok(())
    }

    /// Forgets partitions in memory that have no row behind this time.
    fn retire_before(&mut self, oldest: i64) -> Result<(), TaskError> {
        let waiting = &self.waiting;
        let (steps, over) = self.frames.retire(oldest, |partition| waiting.holds(partition));
        if over.is_empty() {
            return Ok(());
        }
        // What else is kept of them goes with their slots.
        if !self.sets.is_empty() {
            let kept = self.rows.bytes_column(BYTES);
            let bytes = |row: &RowAt| kept.get(row.slot).map_or(0, <[u8]>::len);
            let counts: Vec<usize> = pieces_of(&steps.left, PIECE_BYTES, bytes)
                .iter()
                .map(|p| p.len())
                .collect();
            let mut start = 0;
            for count in counts {
                let range = start..start + count;
                let columns = self.read(steps.left[range.clone()].iter())?;
                self.run(&steps, range, columns, None, None)?;
                start += count;
            }
        }
        self.rows.remove(&steps.gone);
        self.keys.remove(&over);
        for ordered in &mut self.ordered {
            over.iter().for_each(|p| ordered.remove_group(*p));
        }
        Ok(())
    }

    /// Lets partitions go to disk of which no row waits or is being told.
    fn relieve(&mut self) -> Result<(), TaskError> {
        if self.telling.is_some() {
            return Ok(());
        }
        // Values are looked up anew for each piece.
        for set in &mut self.sets {
            set.relieve()?;
        }
        let waiting = &self.waiting;
        let beside = self.frames.rows() * (self.rows.bytes_a_row() + HELD_BYTES * (1 + self.ordered.len()));
        self.keys
            .relieve_beside(beside, waiting.partitions(), |slot| waiting.holds(slot))?;
        self.follow_moves()
    }

    fn sweep(&mut self, now_ms: i64) -> Result<(), TaskError> {
        let Some(expiry) = &mut self.expiry else { return Ok(()) };
        let waiting = &self.waiting;
        let (sets, ordered) = (&mut self.sets, &mut self.ordered);
        expiry.sweep_but(
            &mut self.keys,
            now_ms,
            waiting.partitions(),
            |slot| waiting.holds(slot),
            |keys, expired| forget_groups(keys, sets, ordered, expired),
        )
    }
}

/// Kept rows with their partitions, and their numbers.
fn kept_rows(keys: &mut KeyedTable, rows: &KeyedTable, slots: &[u32]) -> Result<Vec<(RowAt, i64)>, TaskError> {
    let mut columns = rows.keys(slots)?;
    let (Some(numbers), Some(times)) = (columns.pop(), columns.pop()) else {
        return Err(TaskError::internal("kept rows have no time and number"));
    };
    let hashes = hash_columns(&columns, slots.len())?;
    let mut partitions = Vec::with_capacity(slots.len());
    keys.find(&columns, &hashes, &mut partitions)?;
    let (times, numbers) = (times.as_primitive::<Int64Type>(), numbers.as_primitive::<Int64Type>());
    let rows = partitions.into_iter().zip(slots).zip(times.values());
    let rows = rows.map(|((partition, &slot), &time)| RowAt { partition, time, slot });
    Ok(rows.zip(numbers.values().iter().copied()).collect())
}

/// Where rows find the values of the calls.
pub(super) fn taken_of(spec: &OverAggregateSpec) -> Vec<Taken> {
    let taken = |call: &AggregateCall| match call.function.as_str() {
        "RANK" => Taken::First,
        _ => Taken::Complete,
    };
    spec.aggregates.iter().map(taken).collect()
}

impl Operator for OverAggregate {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        (self.clock, self.metrics) = (ctx.clock.clone(), ctx.metrics.clone());
        let (max_parallelism, key_groups) = (ctx.task.max_parallelism, ctx.task.key_groups());
        let in_memory = |state: &Arc<TableDescriptor>| KeyedTable::new(Arc::clone(state), max_parallelism, key_groups);
        let can_be_tiered = self.can_be_tiered();
        let table = |state: &Arc<TableDescriptor>| match can_be_tiered {
            true => ctx.table(Arc::clone(state)),
            false => Ok(in_memory(state)),
        };
        self.keys = table(&self.keys_state)?;
        self.sets = self.sets_state.iter().map(table).collect::<Result<_, _>>()?;
        // Slots of rows are held until they are told, or are in the frame of a partition in memory.
        self.rows = match can_be_tiered && self.frame.is_bounded() {
            true => (ctx.backend).table_beside(Arc::clone(&self.rows_state), max_parallelism, key_groups)?,
            false => in_memory(&self.rows_state),
        };
        if let Some(restored) = ctx.restored.take() {
            self.restore(&restored)?;
        }
        if self.frame.is_bounded() && self.keys.is_tiered() {
            // Memory was filled without frames; those come with their partitions. Time may come for rows that wait before the first batch does.
            let idle: Vec<u32> = self.keys.live_slots().filter(|p| !self.waiting.holds(*p)).collect();
            self.keys.send_away(&idle)?;
            self.keys.track_moves();
            self.follow_moves()?;
        }
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        self.relieve()?;
        let times = self.times(&batch)?;
        let (batch, times) = self.in_time(batch, times)?;
        if batch.is_empty() {
            return Ok(Flow::Done);
        }
        let keys = key_columns(batch.columns(), &self.partition);
        let hashes = hashes_of(&batch, &keys)?;
        let mut partitions = Vec::with_capacity(times.len());
        group_slots(&mut self.keys, &keys, &hashes, &mut partitions)?;
        self.follow_moves()?;
        let keeps = self.waits() || self.frame.is_bounded();
        let (slots, first) = match keeps {
            true => self.keep(&batch, &keys, &hashes, &times)?,
            false => (vec![0; times.len()], 0),
        };
        let rows = partitions.iter().zip(&times).zip(&slots);
        let rows = rows.map(|((&partition, &time), &slot)| RowAt { partition, time, slot });
        if self.waits() {
            rows.zip(first..)
                .for_each(|(row, number)| self.waiting.insert(row, number));
            return Ok(Flow::Done);
        }
        let due: Vec<RowAt> = rows.collect();
        self.begin(due, Some(batch.columns()))?;
        self.advance(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.advance(out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Flow, TaskError> {
        if !matches!(self.order, OverOrder::EventTime { .. }) {
            return Ok(Flow::Done);
        }
        self.target = watermark;
        self.advance(out)
    }

    fn next_timer(&self) -> Option<i64> {
        let is_clocked = matches!(self.order, OverOrder::ProcessingTime);
        let due = self.waiting.first_time().filter(|_| is_clocked).map(|time| time + 1);
        let sweep = self.expiry.as_ref().and_then(Expiry::next_sweep_ms);
        due.into_iter().chain(sweep).min()
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        if self
            .expiry
            .as_ref()
            .and_then(Expiry::next_sweep_ms)
            .is_some_and(|t| t <= now_ms)
        {
            self.sweep(now_ms)?;
        }
        if matches!(self.order, OverOrder::ProcessingTime) {
            self.target = now_ms - 1;
            return self.advance(out);
        }
        Ok(Flow::Done)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        let mut keyed = vec![self.keys.capture(checkpoint), self.rows.capture(checkpoint)];
        keyed.extend(self.sets.iter_mut().map(|s| s.capture(checkpoint)));
        let watermark = OperatorEntry {
            name: WATERMARK_STATE.into(),
            bytes: Bytes::copy_from_slice(&self.progress.to_le_bytes()),
            redistribute: Redistribute::Union,
        };
        Ok(OperatorSnapshot {
            keyed,
            operator_state: vec![watermark],
            ..OperatorSnapshot::default()
        })
    }

    fn finish(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.target = END_OF_TIME;
        self.advance(out)
    }

    fn state_bytes(&self) -> usize {
        let sets: usize = self.sets.iter().map(KeyedTable::bytes).sum();
        let ordered: usize = self.ordered.iter().map(OrderedValues::bytes).sum();
        self.keys.bytes() + self.rows.bytes() + sets + ordered + self.frames.bytes() + self.waiting.bytes()
    }
}
