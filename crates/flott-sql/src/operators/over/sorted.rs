//! OVER with an order that is no time: [`SortedOver`].

use super::aggregate::{Taken, taken_of};
use super::running::{Running, RunningState};
use super::telling::PIECE_BYTES;
use crate::nodes::{OverAggregateSpec, OverFrame, OverOrder};
use crate::operators::aggregate::argument::{Values, bytes_at};
use crate::operators::aggregate::extreme::ordered_bits;
use crate::operators::aggregate::room::pieces_of;
use crate::operators::aggregate::{Aggregates, Phase};
use crate::operators::group::expiry::{self, Expiry};
use crate::operators::keyed_rows::row_encoder;
use crate::operators::sort::keys::in_order;
use crate::operators::{
    MAX_EMITTED_BYTES, MAX_EMITTED_ROWS, group_slots, hashes_of, key_columns, signs_of, spec_error,
};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, UInt32Array};
use arrow_buffer::BooleanBuffer;
use arrow_select::concat::concat;
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
    telling: Option<Telling>,
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
    /// Of [`in_order`].
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

/// Rows of a partition on their way out.
struct Telling {
    partition: u32,
    /// The first row that is told.
    from: usize,
    /// The next one.
    at: usize,
    /// The row that came, with its kind.
    new: Option<(usize, RowKind)>,
    /// Whether it came to the end of a partition whose aggregates are worth keeping.
    is_at_end: bool,
    /// The aggregates of rows before `added`.
    running: Box<Running>,
    added: usize,
    /// The first of the peers at hand.
    first: usize,
    /// The values behind it, where its peers come in several pieces.
    carried: Option<Vec<ArrayRef>>,
    /// Values, encoded, of the rows that end before these positions.
    valued: VecDeque<(usize, Vec<u8>)>,
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
        Values::F64(v) => SortKey::F64(ordered_bits(in_order(v[row]))),
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
            telling: None,
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
        let pieces = {
            let bytes = self.rows.bytes_column(ROW);
            pieces_of(&slots, PIECE_BYTES, |slot| bytes.get(*slot).map_or(0, <[u8]>::len))
        };
        for slots in pieces {
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
            expiry.plan_sweep(&self.rows, self.clock.now_ms());
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
        loop {
            if let Some(telling) = self.telling.take() {
                self.tell_on(telling)?;
            }
            if self.telling.is_some() || pending.next == pending.batch.num_rows() || self.changes.is_full() {
                break;
            }
            row_bytes.clear();
            encoder.encode(pending.next, &mut row_bytes);
            self.change(&pending, pending.next, &row_bytes)?;
            pending.next += 1;
        }
        if pending.next < pending.batch.num_rows() || self.telling.is_some() {
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

    /// Begins to tell the rows of a partition from a position on whose values have changed, and the new one.
    fn tell(&mut self, partition: u32, from: usize, new: Option<(usize, RowKind)>) -> Result<(), TaskError> {
        let of_partition = &mut self.of_partition[partition as usize];
        let entries = &of_partition.entries;
        if from == entries.len() {
            return Ok(());
        }
        let behind: Vec<u32> = entries[from..].iter().map(|e| e.slot).collect();
        self.rows.mark_changed(&behind);
        let is_at_end = new.is_some_and(|(at, _)| at + 1 == entries.len()) && entries.len() >= MIN_RUNNING_ROWS;
        let running = of_partition.running.take().filter(|_| is_at_end);
        let mut carried = None;
        // Values of the first of the peers are known: they were told with it.
        if running.is_some()
            && behind.len() > 1
            && let Some(told) = self.rows.bytes_column(TOLD).get(behind[0])
        {
            let types = &self.told_types[self.types.len()..];
            carried = Some(decode_rows(types, std::iter::once(told)).map_err(decode_error)?);
        }
        self.telling = Some(Telling {
            partition,
            from,
            at: from,
            new,
            is_at_end,
            added: if running.is_some() { entries.len() - 1 } else { 0 },
            first: if running.is_some() { from } else { 0 },
            running: running.unwrap_or_else(|| Box::new(Running::new(&self.running_state))),
            carried,
            valued: VecDeque::new(),
        });
        Ok(())
    }

    /// Tells rows as far as there is room; what is left to tell is [`Self::telling`] then.
    fn tell_on(&mut self, mut telling: Telling) -> Result<(), TaskError> {
        let partition = telling.partition as usize;
        while telling.at < self.of_partition[partition].entries.len() {
            if self.changes.is_full() {
                self.telling = Some(telling);
                return Ok(());
            }
            match telling.valued.front() {
                None => self.take_piece(&mut telling)?,
                Some((end, _)) if *end == telling.at => drop(telling.valued.pop_front()),
                Some((_, told)) => {
                    let slot = self.of_partition[partition].entries[telling.at].slot;
                    let kind = telling.new.filter(|(at, _)| *at == telling.at).map(|(_, kind)| kind);
                    self.tell_row(slot, told, kind);
                    telling.at += 1;
                }
            }
        }
        if telling.is_at_end {
            self.of_partition[partition].running = Some(telling.running);
        }
        if let Some(expiry) = &mut self.expiry {
            let entries = &self.of_partition[partition].entries;
            let slots: Vec<u32> = entries.iter().map(|e| e.slot).collect();
            self.rows.mark_changed(&slots);
            expiry.touch(&mut self.rows, &slots, self.clock.now_ms());
        }
        Ok(())
    }

    /// Tells a row with its values, if they are others than before; with the kind of a new row.
    fn tell_row(&mut self, slot: u32, told: &[u8], new: Option<RowKind>) {
        let row_bytes = self.rows.bytes_column(ROW).get(slot).unwrap_or_default();
        match (self.rows.bytes_column(TOLD).get(slot), new) {
            (_, Some(kind)) => self.changes.push(kind, row_bytes, told),
            (Some(before), None) if before == told => return,
            (before, None) => {
                if self.update_before {
                    let before = before.unwrap_or_default();
                    self.changes.push(RowKind::UpdateBefore, row_bytes, before);
                }
                self.changes.push(RowKind::UpdateAfter, row_bytes, told);
            }
        }
        self.rows.bytes_column_mut(TOLD).set(slot, Some(told));
    }

    /// Adds the next rows to the aggregates, as far as there is room for the values of those that are told.
    fn take_piece(&mut self, telling: &mut Telling) -> Result<(), TaskError> {
        let entries = &self.of_partition[telling.partition as usize].entries;
        let start = telling.added;
        let kept = self.rows.bytes_column(ROW);
        let (mut row_bytes, mut bytes) = (vec![], 0);
        for entry in &entries[start..] {
            let row = kept.get(entry.slot).map_or(0, <[u8]>::len);
            bytes += row;
            if bytes > PIECE_BYTES && !row_bytes.is_empty() {
                break;
            }
            row_bytes.push(row);
        }
        let is_complete = |at: usize| at >= telling.from && (at + 1 == entries.len() || self.is_first(entries, at + 1));
        let noted: BooleanBuffer = (start..start + row_bytes.len()).map(is_complete).collect();
        let rows = match self.aggregates.is_sized() {
            true => telling.running.room(&self.aggregates, &row_bytes, &noted),
            false => row_bytes.len(),
        };
        let (end, noted) = (start + rows, noted.slice(0, rows));
        let columns = self.columns_of(entries, start..end)?;
        let mut values = telling.running.add(&self.aggregates, &columns, rows, &noted)?;
        self.computed_rows += rows as u64;
        // In front of the values of the piece are those of the first of the peers that it goes on with.
        let offset = usize::from(telling.carried.is_some());
        if let Some(carried) = telling.carried.take() {
            let pairs = carried.iter().zip(&values);
            let both = pairs.map(|(before, after)| concat(&[before.as_ref(), after.as_ref()]));
            values = both.collect::<Result<_, _>>()?;
        }
        let (mut firsts, mut completes, mut ends) = (vec![], vec![], vec![]);
        for at in start..end {
            if self.is_first(entries, at) {
                telling.first = at;
            }
            if noted.value(at - start) {
                firsts.push(telling.first.checked_sub(start).map_or(0, |place| place + offset) as u32);
                completes.push((at - start + offset) as u32);
                ends.push(at + 1);
            }
        }
        let (firsts, completes) = (UInt32Array::from(firsts), UInt32Array::from(completes));
        let mut told = Vec::with_capacity(values.len());
        for (value, taken) in values.iter().zip(&self.taken) {
            let places = match taken {
                Taken::Complete => &completes,
                Taken::First => &firsts,
            };
            told.push(arrow_select::take::take(value.as_ref(), places, None)?);
        }
        let encoder = row_encoder(&told)?;
        for (row, end) in ends.into_iter().enumerate() {
            let mut bytes = vec![];
            encoder.encode(row, &mut bytes);
            telling.valued.push_back((end, bytes));
        }
        if self.taken.contains(&Taken::First) && end < entries.len() && !self.is_first(entries, end) {
            let place = telling.first.checked_sub(start).map_or(0, |place| place + offset);
            telling.carried = Some(values.iter().map(|v| v.slice(place, 1)).collect());
        }
        telling.added = end;
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

    fn sweep(&mut self, now_ms: i64) {
        let Some(expiry) = &mut self.expiry else { return };
        let expired = expiry.expired(&self.rows, self.rows.live_slots(), now_ms);
        if expired.len() == self.rows.len() {
            expiry.stop();
        } else {
            expiry.plan_sweep(&self.rows, now_ms);
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
