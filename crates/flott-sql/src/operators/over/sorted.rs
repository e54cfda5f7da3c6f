//! OVER with an order that is no time: [`SortedOver`].

use super::aggregate::{Taken, taken_of};
use super::running::{Running, RunningState};
use crate::nodes::{OverAggregateSpec, OverFrame, OverOrder};
use crate::operators::aggregate::argument::{Values, bytes_at};
use crate::operators::aggregate::extreme::ordered_bits;
use crate::operators::aggregate::{Aggregates, Phase};
use crate::operators::group::expiry::{self, Expiry};
use crate::operators::keyed_rows::row_encoder;
use crate::operators::{
    MAX_EMITTED_BYTES, MAX_EMITTED_ROWS, group_slots, hashes_of, key_columns, signs_of, spec_error,
};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, UInt32Array};
use flott_checkpoint::{ColumnType, TableDescriptor};
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::encoding::decode_rows;
use flott_core::hash::hash_columns;
use flott_core::{Batch, CheckpointId, KeyGroupRange, LogicalType, RowKind, TypeKind};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::{KeyedTable, OperatorSnapshot, RestoredState};
use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// Name of the keyed state, and its columns.
const STATE_NAME: &str = "sortedRows";
const ROW: usize = 0;
const TOLD: usize = 1;
/// From so many rows on a partition's aggregates are kept for the rows at its end; below that they cost more memory than
/// work.
const MIN_RUNNING_ROWS: usize = 32;

/// Keeps all rows of a partition in order, and tells each with aggregates of the rows that are not behind it. A row that
/// comes or goes changes the values of those behind it, which are told as updates: peers before the new row first (RANGE),
/// then the row itself, then the rows behind it, as in Flink. What goes is told as -D.
///
/// A row that comes to the end of its partition costs a search and, in a RANGE, its peers, whose values change: what the
/// partition's rows come to is kept while rows come there only. Any other change looks through its whole partition, as
/// Flink's does through the rest of it, where all values may change. Rows of one order stand as they came.
///
/// State: `sortedRows` (partition, number -> row, values told), whose order lives in memory only.
pub(crate) struct SortedOver {
    // Constant.
    partition: Vec<usize>,
    order: usize,
    update_before: bool,
    is_range: bool,
    /// Columns of the input, and with the values behind them.
    types: Vec<LogicalType>,
    told_types: Vec<LogicalType>,
    aggregates: Aggregates,
    taken: Vec<Taken>,
    has_mark: bool,
    running_state: RunningState,
    state: Arc<TableDescriptor>,
    clock: SharedClock,
    // State.
    rows: KeyedTable,
    /// Partitions, which have slots here in memory only.
    partitions: KeyedTable,
    of_partition: Vec<Partition>,
    next_number: i64,
    expiry: Option<Expiry>,
    pending: Option<Pending>,
    changes: Changes,
    ready: VecDeque<Batch>,
    /// Rows whose values were computed.
    pub(super) computed_rows: u64,
}

/// The rows of a partition, in order.
#[derive(Debug, Default)]
struct Partition {
    entries: Vec<Entry>,
    /// The aggregates of all of them, while rows come to the end only.
    running: Option<Box<Running>>,
}

/// A row of a partition.
#[derive(Debug)]
struct Entry {
    key: SortKey,
    number: i64,
    /// Of its bytes.
    slot: u32,
}

/// A value by which rows are ordered; NULL is the smallest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum SortKey {
    Null,
    I64(i64),
    /// In the order of `f64::total_cmp`.
    F64(u64),
    I128(i128),
    Bytes(Box<[u8]>),
}

/// A batch on its way in.
struct Pending {
    batch: Batch,
    keys: Vec<ArrayRef>,
    hashes: Arc<Vec<u64>>,
    partitions: Vec<u32>,
    sort_keys: Vec<SortKey>,
    signs: Option<Vec<i64>>,
    /// The row to go on with.
    next: usize,
}

/// Rows to be told, as bytes.
#[derive(Default)]
struct Changes {
    kinds: Vec<u8>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Changes {
    fn push(&mut self, kind: RowKind, row: &[u8], values: &[u8]) {
        self.kinds.push(kind as u8);
        self.bytes.extend_from_slice(row);
        self.bytes.extend_from_slice(values);
        self.ends.push(self.bytes.len());
    }

    fn is_full(&self) -> bool {
        self.kinds.len() >= MAX_EMITTED_ROWS || self.bytes.len() >= MAX_EMITTED_BYTES
    }
}

fn sort_keys(column: &ArrayRef) -> Vec<SortKey> {
    let values = Values::of(column);
    let key = |row: usize| match &values {
        _ if column.is_null(row) => SortKey::Null,
        Values::I64(v) => SortKey::I64(v[row]),
        Values::F64(v) => SortKey::F64(ordered_bits(v[row])),
        Values::I128(v) => SortKey::I128(v[row]),
        Values::Bytes(v) => SortKey::Bytes(bytes_at(v, row).into()),
        Values::Absent => SortKey::Null,
    };
    (0..column.len()).map(key).collect()
}

fn decode_error(error: impl std::fmt::Display) -> TaskError {
    TaskError::internal(error.to_string())
}

impl SortedOver {
    /// The operator of a spec whose order is no time.
    ///
    /// # Errors
    /// If the spec cannot run.
    pub(crate) fn new(spec: &OverAggregateSpec) -> Result<Self, TaskError> {
        spec.validate().map_err(spec_error)?;
        let OverOrder::Column { column, update_before } = spec.order else {
            return Err(TaskError::internal("an order by time has an operator of its own"));
        };
        let aggregates = Aggregates::new(&spec.input_with_mark(), &spec.counted(), false, false, Phase::Whole)
            .map_err(spec_error)?;
        let number = LogicalType::not_null(TypeKind::BigInt);
        let group: Vec<LogicalType> = spec.partition.iter().map(|&k| spec.input[k].ty.clone()).collect();
        let key = group.iter().cloned().chain([number]).collect();
        let mut state = TableDescriptor::new(STATE_NAME, key)
            .placed_by(group.len())
            .nullable("row", ColumnType::Bytes)
            .nullable("told", ColumnType::Bytes);
        let expiry = (spec.ttl_ms > 0).then(|| Expiry::new(spec.ttl_ms, state.columns.len()));
        if expiry.is_some() {
            state = state.column(expiry::COLUMN, ColumnType::I64);
        }
        let state = Arc::new(state);
        Ok(Self {
            partition: spec.partition.clone(),
            order: column,
            update_before,
            is_range: spec.frame == OverFrame::UnboundedRange,
            types: spec.input.iter().map(|f| f.ty.clone()).collect(),
            told_types: spec.output().into_iter().map(|f| f.ty).collect(),
            taken: taken_of(spec),
            has_mark: spec.aggregates.iter().any(|a| a.function == "DENSE_RANK"),
            running_state: RunningState::new(&aggregates),
            aggregates,
            // The real table is made in `open`, which knows the subtask's key groups.
            rows: KeyedTable::new(Arc::clone(&state), 1, KeyGroupRange::all(1)),
            partitions: KeyedTable::new(TableDescriptor::new("partitions", group), 1, KeyGroupRange::all(1)),
            state,
            clock: Arc::new(SystemClock),
            of_partition: vec![],
            next_number: 0,
            expiry,
            pending: None,
            changes: Changes::default(),
            ready: VecDeque::new(),
            computed_rows: 0,
        })
    }

    /// What is kept in checkpoints.
    pub(crate) fn state_tables(&self) -> Vec<TableDescriptor> {
        vec![self.state.as_ref().clone()]
    }

    fn partitions_of(&mut self, keys: &[ArrayRef], hashes: &[u64]) -> Result<Vec<u32>, TaskError> {
        let mut partitions = Vec::with_capacity(hashes.len());
        group_slots(&mut self.partitions, keys, hashes, &mut partitions)?;
        let needed = partitions.iter().max().map_or(0, |p| *p as usize + 1);
        if self.of_partition.len() < needed {
            self.of_partition.resize_with(needed, Partition::default);
        }
        Ok(partitions)
    }

    fn restore(&mut self, restored: &RestoredState) -> Result<(), TaskError> {
        restored.load_table(&mut self.rows)?;
        let slots: Vec<u32> = self.rows.live_slots().collect();
        for slots in slots.chunks(MAX_EMITTED_ROWS) {
            let mut keys = self.rows.keys(slots)?;
            let Some(numbers) = keys.pop() else { continue };
            let numbers = numbers.as_primitive::<Int64Type>();
            let partitions = self.partitions_of(&keys, &hash_columns(&keys, slots.len())?)?;
            let bytes = self.rows.bytes_column(ROW);
            let rows = slots.iter().map(|s| bytes.get(*s).unwrap_or_default());
            let columns = decode_rows(&self.types, rows).map_err(decode_error)?;
            let keys = sort_keys(&columns[self.order]);
            for (row, ((&slot, partition), key)) in slots.iter().zip(partitions).zip(keys).enumerate() {
                let number = numbers.value(row);
                self.next_number = self.next_number.max(number + 1);
                self.of_partition[partition as usize]
                    .entries
                    .push(Entry { key, number, slot });
            }
        }
        for Partition { entries, .. } in &mut self.of_partition {
            entries.sort_unstable_by(|a, b| (&a.key, a.number).cmp(&(&b.key, b.number)));
        }
        if let Some(expiry) = &mut self.expiry
            && !self.rows.is_empty()
        {
            expiry.plan_sweep(self.clock.now_ms());
        }
        Ok(())
    }

    /// Takes rows of the batch at hand in, until there is enough to tell.
    fn advance(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        if let Some(batch) = self.ready.pop_front() {
            out.emit(batch);
            return Ok(Flow::More);
        }
        let Some(mut pending) = self.pending.take() else {
            return Ok(Flow::Done);
        };
        let encoder = row_encoder(pending.batch.columns())?;
        let mut row_bytes = vec![];
        while pending.next < pending.batch.num_rows() && !self.changes.is_full() {
            row_bytes.clear();
            encoder.encode(pending.next, &mut row_bytes);
            self.change(&pending, pending.next, &row_bytes)?;
            pending.next += 1;
        }
        if pending.next < pending.batch.num_rows() {
            self.pending = Some(pending);
        } else {
            let is_empty = |p: &u32| self.of_partition[*p as usize].entries.is_empty();
            let empty: Vec<u32> = pending.partitions.iter().copied().filter(is_empty).collect();
            self.partitions.remove(&empty);
        }
        self.make_ready()?;
        match self.ready.is_empty() && self.pending.is_none() {
            true => Ok(Flow::Done),
            false => self.advance(out),
        }
    }

    fn make_ready(&mut self) -> Result<(), TaskError> {
        let Changes { kinds, bytes, ends } = std::mem::take(&mut self.changes);
        let mut starts = std::iter::once(0).chain(ends.iter().copied());
        for (kinds, ends) in kinds.chunks(MAX_EMITTED_ROWS).zip(ends.chunks(MAX_EMITTED_ROWS)) {
            let rows = ends.iter().zip(starts.by_ref()).map(|(&end, start)| &bytes[start..end]);
            let columns = decode_rows(&self.told_types, rows).map_err(decode_error)?;
            self.ready
                .push_back(Batch::new(columns, kinds.len()).with_kinds(Some(kinds.to_vec().into())));
        }
        Ok(())
    }

    /// Takes one row in or out of its partition.
    fn change(&mut self, pending: &Pending, row: usize, row_bytes: &[u8]) -> Result<(), TaskError> {
        let (partition, key) = (pending.partitions[row], &pending.sort_keys[row]);
        let of_partition = &mut self.of_partition[partition as usize];
        let first = of_partition.entries.partition_point(|e| e.key < *key);
        let is_added = pending.signs.as_ref().is_none_or(|s| s[row] > 0);
        if is_added {
            let number = self.next_number;
            self.next_number += 1;
            let mut keys: Vec<ArrayRef> = pending.keys.iter().map(|k| k.slice(row, 1)).collect();
            keys.push(Arc::new(Int64Array::from(vec![number])));
            let mut slot = vec![];
            let index_hash = hash_columns(&keys, 1)?;
            self.rows
                .slots_with_placement(&keys, &index_hash, &pending.hashes[row..=row], &mut slot)?;
            self.rows.bytes_column_mut(ROW).set(slot[0], Some(row_bytes));
            let entries = &mut of_partition.entries;
            let at = entries.partition_point(|e| e.key <= *key);
            let entry = Entry {
                key: key.clone(),
                number,
                slot: slot[0],
            };
            let is_last = at == entries.len();
            entries.insert(at, entry);
            if !is_last {
                of_partition.running = None;
            }
            let kind = match pending.batch.kinds().map(|k| k[row]) {
                Some(kind) if kind == RowKind::UpdateAfter as u8 => RowKind::UpdateAfter,
                _ => RowKind::Insert,
            };
            let from = if self.is_range { first } else { at };
            return self.tell(partition, from, Some((at, kind)));
        }
        let entries = &mut of_partition.entries;
        let rows = self.rows.bytes_column(ROW);
        let peers = entries[first..].iter().take_while(|e| e.key == *key);
        let found = peers.map(|e| rows.get(e.slot)).position(|r| r == Some(row_bytes));
        let Some(place) = found else {
            return Ok(());
        };
        let at = first + place;
        let entry = entries.remove(at);
        of_partition.running = None;
        let told = self.rows.bytes_column(TOLD).get(entry.slot).unwrap_or_default();
        self.changes.push(RowKind::Delete, row_bytes, told);
        self.rows.remove(&[entry.slot]);
        let from = if self.is_range { first } else { at };
        self.tell(partition, from, None)
    }

    /// Tells the rows of a partition from a position on whose values have changed, and the new one.
    fn tell(&mut self, partition: u32, from: usize, new: Option<(usize, RowKind)>) -> Result<(), TaskError> {
        let entries = &self.of_partition[partition as usize].entries;
        if from == entries.len() {
            return Ok(());
        }
        let is_at_end = new.is_some_and(|(at, _)| at + 1 == entries.len()) && entries.len() >= MIN_RUNNING_ROWS;
        let behind: Vec<u32> = entries[from..].iter().map(|e| e.slot).collect();
        let values = match is_at_end {
            true => self.values_at_end(partition, from)?,
            false => self.values(partition, from)?,
        };
        let encoder = row_encoder(&values)?;
        let mut told = vec![];
        self.rows.mark_changed(&behind);
        for (row, &slot) in behind.iter().enumerate() {
            told.clear();
            encoder.encode(row, &mut told);
            let row_bytes = self.rows.bytes_column(ROW).get(slot).unwrap_or_default();
            match (self.rows.bytes_column(TOLD).get(slot), new) {
                (_, Some((at, kind))) if at == from + row => self.changes.push(kind, row_bytes, &told),
                (Some(before), _) if before == told => continue,
                (before, _) => {
                    if self.update_before {
                        let before = before.unwrap_or_default();
                        self.changes.push(RowKind::UpdateBefore, row_bytes, before);
                    }
                    self.changes.push(RowKind::UpdateAfter, row_bytes, &told);
                }
            }
            self.rows.bytes_column_mut(TOLD).set(slot, Some(&told));
        }
        if let Some(expiry) = &mut self.expiry {
            let entries = &self.of_partition[partition as usize].entries;
            let slots: Vec<u32> = entries.iter().map(|e| e.slot).collect();
            self.rows.mark_changed(&slots);
            expiry.touch(&mut self.rows, &slots, self.clock.now_ms());
        }
        Ok(())
    }

    /// Whether a row is the first of its peers.
    fn is_first(&self, entries: &[Entry], at: usize) -> bool {
        !self.is_range || at == 0 || entries[at - 1].key != entries[at].key
    }

    /// What the aggregates read of rows of a partition.
    fn columns_of(&self, entries: &[Entry], range: Range<usize>) -> Result<Vec<ArrayRef>, TaskError> {
        let bytes = self.rows.bytes_column(ROW);
        let rows = entries[range.clone()]
            .iter()
            .map(|e| bytes.get(e.slot).unwrap_or_default());
        let mut columns = decode_rows(&self.types, rows).map_err(decode_error)?;
        if self.has_mark {
            let mark: Vec<bool> = range.map(|at| self.is_first(entries, at)).collect();
            columns.push(Arc::new(BooleanArray::from(mark)));
        }
        Ok(columns)
    }

    /// The same, where only the last row is new, and those from a position on are its peers.
    fn values_at_end(&mut self, partition: u32, from: usize) -> Result<Vec<ArrayRef>, TaskError> {
        let running = self.of_partition[partition as usize].running.take();
        let entries = &self.of_partition[partition as usize].entries;
        let last = entries.len() - 1;
        let mut running = match running {
            Some(running) => running,
            None => {
                let mut running = Box::new(Running::new(&self.running_state));
                running.add(&self.aggregates, &self.columns_of(entries, 0..last)?, last)?;
                self.computed_rows += last as u64;
                running
            }
        };
        let columns = self.columns_of(entries, last..last + 1)?;
        let complete = running.add(&self.aggregates, &columns, 1)?;
        self.computed_rows += 1;
        let peers = entries.len() - from;
        // Values of the first of the peers are known: they were told with it.
        let first = match (peers, self.rows.bytes_column(TOLD).get(entries[from].slot)) {
            (2.., Some(told)) => {
                let types = &self.told_types[self.types.len()..];
                decode_rows(types, std::iter::once(told)).map_err(decode_error)?
            }
            _ => complete.clone(),
        };
        self.of_partition[partition as usize].running = Some(running);
        let each = UInt32Array::from(vec![0; peers]);
        let mut of_rows = Vec::with_capacity(complete.len());
        for ((complete, first), taken) in complete.iter().zip(&first).zip(&self.taken) {
            let value = match taken {
                Taken::Complete => complete,
                Taken::First => first,
            };
            of_rows.push(arrow_select::take::take(value.as_ref(), &each, None)?);
        }
        Ok(of_rows)
    }

    /// The values of the rows of a partition from a position on.
    fn values(&mut self, partition: u32, from: usize) -> Result<Vec<ArrayRef>, TaskError> {
        let entries = &self.of_partition[partition as usize].entries;
        let count = entries.len();
        let starts: Vec<bool> = (0..count).map(|i| self.is_first(entries, i)).collect();
        let is_first = |i: usize| starts[i];
        let columns = self.columns_of(entries, 0..count)?;
        self.computed_rows += count as u64;
        let values = Running::new(&self.running_state).add(&self.aggregates, &columns, count)?;
        // For each row, the first and the last of its peers.
        let (mut firsts, mut lasts) = (vec![0u32; count], vec![0u32; count]);
        for i in 0..count {
            firsts[i] = if is_first(i) { i as u32 } else { firsts[i - 1] };
        }
        for i in (0..count).rev() {
            let is_last = i + 1 == count || is_first(i + 1);
            lasts[i] = if is_last { i as u32 } else { lasts[i + 1] };
        }
        let (firsts, lasts) = (UInt32Array::from(firsts), UInt32Array::from(lasts));
        let mut of_rows = Vec::with_capacity(values.len());
        for (value, taken) in values.iter().zip(&self.taken) {
            let steps = match taken {
                Taken::Complete => lasts.slice(from, count - from),
                Taken::First => firsts.slice(from, count - from),
            };
            of_rows.push(arrow_select::take::take(value.as_ref(), &steps, None)?);
        }
        Ok(of_rows)
    }

    fn sweep(&mut self, now_ms: i64) {
        let Some(expiry) = &mut self.expiry else { return };
        let expired = expiry.expired(&self.rows, self.rows.live_slots(), now_ms);
        if expired.len() == self.rows.len() {
            expiry.stop();
        } else {
            expiry.plan_sweep(now_ms);
        }
        let gone: HashSet<u32> = expired.iter().copied().collect();
        for Partition { entries, running } in &mut self.of_partition {
            let rows = entries.len();
            entries.retain(|e| !gone.contains(&e.slot));
            if entries.len() < rows {
                *running = None;
            }
        }
        self.rows.remove(&expired);
        let live: Vec<u32> = self.partitions.live_slots().collect();
        let is_empty = |p: &u32| self.of_partition[*p as usize].entries.is_empty();
        let empty: Vec<u32> = live.into_iter().filter(is_empty).collect();
        self.partitions.remove(&empty);
    }
}

impl Operator for SortedOver {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        self.clock = ctx.clock.clone();
        self.rows = KeyedTable::new(Arc::clone(&self.state), ctx.task.max_parallelism, ctx.task.key_groups());
        match ctx.restored.take() {
            Some(restored) => self.restore(&restored),
            None => Ok(()),
        }
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        if batch.is_empty() {
            return Ok(Flow::Done);
        }
        let keys = key_columns(batch.columns(), &self.partition);
        let hashes = hashes_of(&batch, &keys)?;
        self.pending = Some(Pending {
            partitions: self.partitions_of(&keys, &hashes)?,
            sort_keys: sort_keys(batch.column(self.order)),
            signs: signs_of(&batch),
            keys,
            hashes,
            batch,
            next: 0,
        });
        self.advance(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.advance(out)
    }

    fn next_timer(&self) -> Option<i64> {
        self.expiry.as_ref().and_then(Expiry::next_sweep_ms)
    }

    fn on_timer(&mut self, now_ms: i64, _out: &mut Output) -> Result<Flow, TaskError> {
        self.sweep(now_ms);
        Ok(Flow::Done)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        Ok(OperatorSnapshot {
            keyed: vec![self.rows.capture(checkpoint)],
            ..OperatorSnapshot::default()
        })
    }

    fn state_bytes(&self) -> usize {
        let entries: usize = self
            .of_partition
            .iter()
            .map(|p| p.entries.capacity() * size_of::<Entry>() + p.running.as_ref().map_or(0, |r| r.bytes()))
            .sum();
        self.rows.bytes() + self.partitions.bytes() + entries
    }
}
