//! The phase of a group aggregation that keeps state and tells changes: [`GroupAggregate`].

use super::bundle::{Bundle, bundle_end};
use super::changelog::{Steps, Telling, changes};
use super::expiry::{self, Expiry};
use crate::nodes::GroupAggregateSpec;
use crate::operators::aggregate::distinct::{Offered, Passed};
use crate::operators::aggregate::extreme::OrderedValues;
use crate::operators::aggregate::{Aggregates, Phase, Rows};
use crate::operators::{
    MAX_EMITTED_BYTES, MAX_EMITTED_ROWS, group_slots, hashes_of, key_columns, signs_of, spec_error,
};
use arrow_array::{ArrayRef, Int64Array, UInt32Array};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use flott_checkpoint::{ColumnType, TableDescriptor};
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::hash::hash_columns;
use flott_core::{Batch, CheckpointId, KeyGroupRange};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::{KeyedTable, Moves, NO_SLOT, OperatorSnapshot, RestoredState};
use std::sync::Arc;

/// Name of the keyed state, as Flink's.
pub(crate) const STATE_NAME: &str = "accState";
/// Behind the first partial rows of a mini-batch, those of the other subtasks follow within this share of the latency.
pub(super) const GATHERING_SHARE: u64 = 10;

/// Rows of values that grow that are looked at in one call.
const PIECE_ROWS: usize = 1024;
/// Texts of one batch, if all are as long as the longest, that need no piecemeal emission.
const MAX_ROOMY_BYTES: usize = 16 * MAX_EMITTED_BYTES;

/// What flows in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Rows.
    Rows,
    /// What a local phase emits; only under mini-batch.
    Partials,
}

/// Aggregates per group, told as a changelog ([`changes`]).
///
/// Without mini-batch each row is one step, in the order of the rows: the kernels note the state after each row, and
/// before and after are compared a column at a time. With it, the steps are the groups of a [`Bundle`].
///
/// A group is gone (-D) when retractions have taken all its rows; a retraction of a group that is not there is ignored, as
/// in Flink. Without keys there is one group; it tells nothing before its first row.
///
/// Measured on a busy machine (`examples/bench_ops.rs`): a count 34 ns a row of a STRING key under mini-batch, 54 of a
/// BIGINT key row by row; five aggregates 54 under mini-batch.
///
/// State: `accState` (group key -> partial columns), `distinctAcc_N` (group key and value -> times or flags). With a time to
/// live, groups that no row touches are forgotten silently.
pub(crate) struct GroupAggregate {
    // Constant.
    input: Input,
    keys: Vec<usize>,
    aggregates: Aggregates,
    telling: Telling,
    latency_ms: u64,
    state: Arc<TableDescriptor>,
    sets_state: Vec<Arc<TableDescriptor>>,
    clock: SharedClock,
    // State.
    table: KeyedTable,
    sets: Vec<KeyedTable>,
    ordered: Vec<OrderedValues>,
    bundle: Option<Bundle>,
    expiry: Option<Expiry>,
    /// A batch whose rows from here on wait until there is room for their values.
    pending: Option<(Batch, usize)>,
    /// By slot, the last row of the batch at hand; `u32::MAX` outside of a call.
    last_row: Vec<u32>,
    /// The longest value that a text can have, where values do not grow.
    longest: usize,
}

/// Rows of a batch with their groups.
struct Located {
    columns: Vec<ArrayRef>,
    keys: Vec<ArrayRef>,
    hashes: Arc<Vec<u64>>,
    slots: Vec<u32>,
    signs: Option<Vec<i64>>,
    /// Groups that there were before these rows.
    known: usize,
}

/// How many rows groups had before and after each row.
struct Counted {
    before: Vec<i64>,
    after: Vec<i64>,
}

impl GroupAggregate {
    /// The operator of a spec.
    ///
    /// # Errors
    /// If the spec cannot run.
    pub(crate) fn new(spec: &GroupAggregateSpec, input: Input) -> Result<Self, TaskError> {
        spec.validate().map_err(spec_error)?;
        if input == Input::Partials && spec.mini_batch.is_none() {
            return Err(TaskError::internal("a global group aggregate needs mini-batch"));
        }
        let counts_rows = spec.input_retracts || spec.ttl_ms > 0;
        let aggregates = Aggregates::new(
            &spec.input,
            &spec.aggregates,
            spec.input_retracts,
            counts_rows,
            Phase::Whole,
        )
        .map_err(spec_error)?;
        let group: Vec<_> = spec.keys.iter().map(|&k| spec.input[k].ty.clone()).collect();
        let mut state = aggregates.descriptor(STATE_NAME, group.clone());
        let expiry = (spec.ttl_ms > 0).then(|| Expiry::new(spec.ttl_ms, state.columns.len()));
        if expiry.is_some() {
            state = state.column(expiry::COLUMN, ColumnType::I64);
        }
        let state = Arc::new(state);
        let sets_state: Vec<Arc<TableDescriptor>> = (aggregates.distinct().iter().enumerate())
            .map(|(i, set)| Arc::new(set.descriptor(format!("distinctAcc_{i}"), &group)))
            .collect();
        Ok(Self {
            input,
            keys: if input == Input::Rows {
                spec.keys.clone()
            } else {
                spec.local_keys()
            },
            telling: Telling {
                update_before: spec.generate_update_before,
                unchanged: spec.ttl_ms > 0,
            },
            latency_ms: spec.mini_batch.map_or(0, |m| m.latency_ms),
            // The real tables are made in `open`, which knows the subtask's key groups.
            table: KeyedTable::new(Arc::clone(&state), 1, KeyGroupRange::all(1)),
            sets: vec![],
            ordered: aggregates.ordered(&spec.input),
            bundle: spec.mini_batch.map(Bundle::new),
            aggregates,
            state,
            sets_state,
            clock: Arc::new(SystemClock),
            expiry,
            pending: None,
            last_row: vec![],
            longest: 0,
        })
    }

    /// What is kept in checkpoints.
    pub(crate) fn state_tables(&self) -> Vec<TableDescriptor> {
        std::iter::once(&self.state)
            .chain(&self.sets_state)
            .map(|t| t.as_ref().clone())
            .collect()
    }

    fn restore(&mut self, restored: &RestoredState) -> Result<(), TaskError> {
        restored.load_table(&mut self.table)?;
        for set in &mut self.sets {
            restored.load_table(set)?;
        }
        if let Some(expiry) = &mut self.expiry
            && !self.table.is_empty()
        {
            expiry.plan_sweep(&self.table, self.clock.now_ms());
        }
        if self.aggregates.is_sized() {
            let values = (self.table.live_slots()).map(|slot| self.aggregates.value_bytes(&self.table, slot));
            self.longest = match self.table.has_rows_elsewhere() {
                // Those that memory has not may have any length.
                true => usize::MAX,
                false => values.max().unwrap_or(0),
            };
        }
        match self.table.is_tiered() {
            // They are loaded when their groups are asked for.
            true => Ok(()),
            false => load_extremes(&self.aggregates, &mut self.table, &self.sets, &mut self.ordered),
        }
    }

    /// Finds the groups of a batch; forgets those whose time is over first.
    fn locate(&mut self, batch: &Batch) -> Result<Located, TaskError> {
        self.relieve()?;
        let columns = batch.columns().to_vec();
        let keys = key_columns(&columns, &self.keys);
        let rows = batch.num_rows();
        let hashes = hashes_of(batch, &keys)?;
        if let Some(expiry) = &self.expiry {
            let now_ms = self.clock.now_ms();
            let mut slots = Vec::with_capacity(rows);
            self.table.find(&keys, &hashes, &mut slots)?;
            let bundle = self.bundle.as_ref();
            slots.retain(|s| *s != NO_SLOT && bundle.is_none_or(|b| !b.holds(*s)));
            let expired = expiry.expired(&self.table, slots.into_iter(), now_ms);
            self.forget(&expired)?;
        }
        let known = self.table.len();
        let mut slots = Vec::with_capacity(rows);
        group_slots(&mut self.table, &keys, &hashes, &mut slots)?;
        if let Some(expiry) = &mut self.expiry {
            expiry.touch(&mut self.table, &slots, self.clock.now_ms());
        }
        if !self.ordered.is_empty() {
            follow_moves(&self.aggregates, &mut self.table, &mut self.sets, &mut self.ordered)?;
        }
        Ok(Located {
            columns,
            keys,
            hashes,
            slots,
            signs: signs_of(batch),
            known,
        })
    }

    /// Lets rows of tables go to disk, but for groups of which a bundle holds slots.
    fn relieve(&mut self) -> Result<(), TaskError> {
        // Values are looked up anew with each batch, in a bundle too.
        for set in &mut self.sets {
            set.relieve()?;
        }
        let bundle = self.bundle.as_ref();
        let is_held = |slot| bundle.is_some_and(|b| b.holds(slot));
        let ordered = self.ordered.iter().map(OrderedValues::bytes).sum();
        let held = bundle.map_or(0, Bundle::len);
        Ok(self.table.relieve_beside(ordered, held, is_held)?)
    }

    /// Counts rows in and out of their groups, if they are counted; rows that retract from an empty group are dropped.
    fn count_rows(&mut self, located: &mut Located) -> Result<Option<Counted>, TaskError> {
        let Some(counter) = self.aggregates.row_count() else {
            return Ok(None);
        };
        let counts = self.table.column_mut::<i64>(counter);
        let rows = located.slots.len();
        let mut counted = Counted {
            before: Vec::with_capacity(rows),
            after: Vec::with_capacity(rows),
        };
        let mut kept: Vec<u32> = Vec::with_capacity(rows);
        for (row, &slot) in located.slots.iter().enumerate() {
            let sign = located.signs.as_ref().map_or(1, |s| s[row]);
            let count = counts.get(slot);
            if sign < 0 && count == 0 {
                continue;
            }
            counts.set(slot, count + sign);
            counted.before.push(count);
            counted.after.push(count + sign);
            kept.push(row as u32);
        }
        if kept.len() < rows {
            located.keep(&kept)?;
        }
        Ok(Some(counted))
    }

    /// Which values changed the distinct sets.
    fn pass(&mut self, located: &Located) -> Result<Vec<Passed>, TaskError> {
        let mut passed = Vec::with_capacity(self.sets.len());
        for (set, table) in self.aggregates.distinct().iter().zip(&mut self.sets) {
            let valid = set.valid(&located.columns);
            let offered = Offered {
                keys: &located.keys,
                hashes: &located.hashes,
                values: &located.columns[set.arg],
                valid: &valid,
                signs: located.signs.as_deref(),
            };
            passed.push(set.pass(table, offered)?);
        }
        Ok(passed)
    }

    /// Tells as many of the pending rows as there is room for, where values grow with their group.
    fn tell_pending(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let Some((batch, from)) = self.pending.take() else {
            return Ok(Flow::Done);
        };
        let ahead = batch.slice(from, PIECE_ROWS.min(batch.num_rows() - from));
        let rows = self.rows_with_room(&ahead)?;
        self.tell_rows(&ahead.slice(0, rows), out)?;
        if from + rows == batch.num_rows() {
            return Ok(Flow::Done);
        }
        self.pending = Some((batch, from + rows));
        Ok(Flow::More)
    }

    /// How many rows of a batch, at least one, have values that are not too large together: each is told with all that its
    /// group has collected by then.
    fn rows_with_room(&mut self, batch: &Batch) -> Result<usize, TaskError> {
        let rows = batch.num_rows();
        let keys = key_columns(batch.columns(), &self.keys);
        let hashes = hashes_of(batch, &keys)?;
        let mut slots = Vec::with_capacity(rows);
        if keys.is_empty() {
            self.table.find(&keys, &hashes[..1], &mut slots)?;
            slots.resize(rows, slots[0]);
        } else {
            self.table.find(&keys, &hashes, &mut slots)?;
        }
        let added = self.aggregates.added(batch.columns(), rows)?;
        let (aggregates, table) = (&self.aggregates, &self.table);
        Ok(aggregates.rows_with_room(table, &slots, |row| hashes[row], &added, |_| true))
    }

    /// Whether the values behind the rows of a batch can be too large together.
    fn needs_room(&mut self, batch: &Batch) -> Result<bool, TaskError> {
        if self.aggregates.collects() {
            return Ok(true);
        }
        let longest = self.aggregates.longest_argument(batch.columns())?;
        self.longest = self.longest.max(longest);
        Ok(self.longest.saturating_mul(batch.num_rows()) > MAX_ROOMY_BYTES)
    }

    /// Each row is a step.
    fn tell_rows(&mut self, batch: &Batch, out: &mut Output) -> Result<(), TaskError> {
        let mut located = self.locate(batch)?;
        let met = located.slots.clone();
        let counted = self.count_rows(&mut located)?;
        let passed = self.pass(&located)?;
        let rows = located.slots.len();
        // What was before the batch is asked for where a group comes first in it only.
        let previous = self.previous_rows(&located.slots);
        let firsts = || (0..rows).filter(|row| previous[*row] == *row as u32);
        let first_slots: Vec<u32> = firsts().map(|row| located.slots[row]).collect();
        let mut initial = self.aggregates.gather_shown(&self.table, &first_slots)?;
        if let (Some(counter), Some(counted)) = (self.aggregates.row_count(), &counted) {
            // The table's counter is ahead: it has been through the batch.
            initial[counter] = Arc::new(Int64Array::from_iter_values(firsts().map(|row| counted.before[row])));
        }
        let initial = self.aggregates.finish(&initial)?;
        let mut traces = self.aggregates.traces(rows, None);
        let input = Rows {
            slots: &located.slots,
            columns: &located.columns,
            signs: located.signs.as_deref(),
            passed: &passed,
        };
        self.aggregates
            .accumulate(&mut self.table, input, &mut self.ordered, Some(&mut traces))?;
        let mut state: Vec<ArrayRef> = Vec::with_capacity(traces.len());
        for (index, mut trace) in traces.into_iter().enumerate() {
            if let (true, Some(counted)) = (self.aggregates.row_count() == Some(index), &counted) {
                trace.extend_i64(&counted.after);
            }
            state.push(trace.finish()?);
        }
        let after = self.aggregates.finish(&state)?;
        let before = before_rows(&initial, &after, &previous)?;
        let (existed, exists): (Vec<bool>, Vec<bool>) = match &counted {
            Some(c) => (
                c.before.iter().map(|n| *n > 0).collect(),
                c.after.iter().map(|n| *n > 0).collect(),
            ),
            None => {
                let is_new = |slot: u32| self.table.is_new(slot, located.known);
                let existed = |(row, slot): (usize, &u32)| previous[row] != row as u32 || !is_new(*slot);
                (
                    located.slots.iter().enumerate().map(existed).collect(),
                    vec![true; rows],
                )
            }
        };
        let steps = Steps {
            keys: &located.keys,
            before: &before,
            after: &after,
            existed: &existed,
            exists: &exists,
        };
        if let Some(batch) = changes(steps, self.telling)? {
            out.emit(batch);
        }
        self.remove_empty(&met);
        Ok(())
    }

    /// For each row, the row before it with the same slot, or itself if it is the first.
    fn previous_rows(&mut self, slots: &[u32]) -> Vec<u32> {
        let needed = slots.iter().max().map_or(0, |s| *s as usize + 1);
        if self.last_row.len() < needed {
            self.last_row.resize(needed, u32::MAX);
        }
        let mut previous = Vec::with_capacity(slots.len());
        for (row, &slot) in slots.iter().enumerate() {
            let last = std::mem::replace(&mut self.last_row[slot as usize], row as u32);
            previous.push(if last == u32::MAX { row as u32 } else { last });
        }
        for &slot in slots {
            self.last_row[slot as usize] = u32::MAX;
        }
        previous
    }

    /// Folds rows into the bundle; whether it is full.
    fn fold(&mut self, batch: &Batch) -> Result<bool, TaskError> {
        let mut located = self.locate(batch)?;
        let first = match &mut self.bundle {
            Some(bundle) => bundle.meet(&located.slots),
            None => vec![],
        };
        let existed: Vec<bool> = match self.aggregates.row_count() {
            Some(counter) => {
                let counts = self.table.column::<i64>(counter);
                first.iter().map(|s| counts.get(*s) > 0).collect()
            }
            None => first.iter().map(|s| !self.table.is_new(*s, located.known)).collect(),
        };
        if let Some(bundle) = &mut self.bundle {
            let mut existed = existed.into_iter();
            for piece in self.aggregates.pieces(&self.table, &first) {
                let before = self.aggregates.values(&self.table, piece)?;
                let bytes = piece
                    .iter()
                    .map(|slot| self.aggregates.value_bytes(&self.table, *slot))
                    .sum();
                bundle.remember(piece, existed.by_ref(), before, bytes);
            }
        }
        match self.input {
            Input::Partials => {
                let partials = &located.columns[self.keys.len()..];
                self.aggregates.merge(&mut self.table, &located.slots, partials)?;
                let mut sets: Vec<&mut KeyedTable> = self.sets.iter_mut().collect();
                let keys = (located.keys.as_slice(), located.hashes.as_slice());
                self.aggregates
                    .merge_lists(&mut self.table, &mut sets, &located.slots, keys, partials)?;
            }
            Input::Rows => {
                self.count_rows(&mut located)?;
                let passed = self.pass(&located)?;
                let signs = located.signs.as_deref();
                let rows = Rows {
                    slots: &located.slots,
                    columns: &located.columns,
                    signs,
                    passed: &passed,
                };
                self.aggregates
                    .accumulate(&mut self.table, rows, &mut self.ordered, None)?;
            }
        }
        let now_ms = self.clock.now_ms();
        let deadline_ms = match self.input {
            Input::Rows => bundle_end(now_ms, self.latency_ms),
            Input::Partials => now_ms.saturating_add_unsigned(self.latency_ms / GATHERING_SHARE),
        };
        let Some(bundle) = &mut self.bundle else {
            return Ok(false);
        };
        Ok(bundle.count(batch.num_rows(), deadline_ms))
    }

    /// Tells the groups of the bundle, as far as there is room.
    fn tell_bundle(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let Some(bundle) = &mut self.bundle else {
            return Ok(Flow::Done);
        };
        let (aggregates, table) = (&self.aggregates, &self.table);
        let Some(told) = bundle.next(|slots| aggregates.slots_with_room(table, slots))? else {
            return Ok(Flow::Done);
        };
        let after = self.aggregates.values(&self.table, &told.slots)?;
        let exists: Vec<bool> = match self.aggregates.row_count() {
            Some(counter) => {
                let counts = self.table.column::<i64>(counter);
                told.slots.iter().map(|s| counts.get(*s) > 0).collect()
            }
            None => vec![true; told.slots.len()],
        };
        let keys = self.table.keys(&told.slots)?;
        let steps = Steps {
            keys: &keys,
            before: &told.before,
            after: &after,
            existed: &told.existed,
            exists: &exists,
        };
        if let Some(batch) = changes(steps, self.telling)? {
            out.emit(batch);
        }
        self.remove_empty(&told.slots);
        Ok(Flow::More)
    }

    /// Removes those of `slots` whose groups have no rows left.
    fn remove_empty(&mut self, slots: &[u32]) {
        if let Some(counter) = self.aggregates.row_count() {
            let counts = self.table.column::<i64>(counter);
            let empty: Vec<u32> = slots.iter().copied().filter(|s| counts.get(*s) == 0).collect();
            self.table.remove(&empty);
            // Values that were taken back from elsewhere may be left.
            for ordered in &mut self.ordered {
                empty.iter().for_each(|slot| ordered.remove_group(*slot));
            }
        }
    }

    /// Removes groups with everything that is kept about them.
    fn forget(&mut self, slots: &[u32]) -> Result<(), TaskError> {
        forget_groups(&mut self.table, &mut self.sets, &mut self.ordered, slots)
    }

    fn sweep(&mut self, now_ms: i64) -> Result<(), TaskError> {
        let Some(expiry) = &mut self.expiry else { return Ok(()) };
        let bundle = self.bundle.as_ref();
        let (sets, ordered) = (&mut self.sets, &mut self.ordered);
        expiry.sweep_but(
            &mut self.table,
            now_ms,
            bundle.map_or(0, Bundle::len),
            |slot| bundle.is_some_and(|b| b.holds(slot)),
            |table, expired| forget_groups(table, sets, ordered, expired),
        )
    }
}

impl Located {
    /// Keeps these rows only.
    fn keep(&mut self, rows: &[u32]) -> Result<(), TaskError> {
        let indices = UInt32Array::from(rows.to_vec());
        for column in self.columns.iter_mut().chain(&mut self.keys) {
            *column = arrow_select::take::take(column.as_ref(), &indices, None)?;
        }
        self.hashes = Arc::new(rows.iter().map(|r| self.hashes[*r as usize]).collect());
        self.slots = rows.iter().map(|r| self.slots[*r as usize]).collect();
        self.signs = self
            .signs
            .as_ref()
            .map(|s| rows.iter().map(|r| s[*r as usize]).collect());
        Ok(())
    }
}

/// Fills the ordered values of restored extremes from the sets of the groups in `table`.
fn load_extremes(
    aggregates: &Aggregates,
    table: &mut KeyedTable,
    sets: &[KeyedTable],
    ordered: &mut [OrderedValues],
) -> Result<(), TaskError> {
    if ordered.is_empty() {
        return Ok(());
    }
    for (index, set) in sets.iter().enumerate() {
        let entries: Vec<u32> = set.live_slots().collect();
        for entries in entries.chunks(MAX_EMITTED_ROWS) {
            load_values(aggregates, table, (index, set), entries, ordered)?;
        }
    }
    Ok(())
}

/// Fills ordered values from entries of set `index`.
fn load_values(
    aggregates: &Aggregates,
    table: &mut KeyedTable,
    (index, set): (usize, &KeyedTable),
    entries: &[u32],
    ordered: &mut [OrderedValues],
) -> Result<(), TaskError> {
    let (slots, values) = groups_of(table, set, entries)?;
    let known: BooleanBuffer = slots.iter().map(|s| *s != NO_SLOT).collect();
    let present = aggregates.distinct()[index].present(set, entries);
    let present: Vec<NullBuffer> = present.iter().map(|p| NullBuffer::new(p.inner() & &known)).collect();
    aggregates.load_ordered(ordered, index, &slots, &values, &present);
    Ok(())
}

/// Keeps ordered values of the groups that memory has: those of groups that have gone to disk are forgotten, those of groups that have come
/// from there are looked up in their sets.
fn follow_moves(
    aggregates: &Aggregates,
    table: &mut KeyedTable,
    sets: &mut [KeyedTable],
    ordered: &mut [OrderedValues],
) -> Result<(), TaskError> {
    let Moves { left, came } = table.take_moves();
    for ordered in &mut *ordered {
        left.iter().for_each(|slot| ordered.remove_group(*slot));
    }
    if came.is_empty() {
        return Ok(());
    }
    let keys = table.keys(&came)?;
    let hashes = hash_columns(&keys, came.len())?;
    for (index, set) in sets.iter_mut().enumerate().filter(|(i, _)| aggregates.has_ordered(*i)) {
        set.for_each_beginning_with(&keys, &hashes, |set, entries| {
            load_values(aggregates, table, (index, set), entries, ordered)?;
            Ok::<_, TaskError>(set.relieve()?)
        })?;
    }
    Ok(())
}

/// Removes groups from their table, with everything that sets and ordered values keep about them.
pub(crate) fn forget_groups(
    table: &mut KeyedTable,
    sets: &mut [KeyedTable],
    ordered: &mut [OrderedValues],
    slots: &[u32],
) -> Result<(), TaskError> {
    if slots.is_empty() {
        return Ok(());
    }
    let keys = match sets.iter().any(KeyedTable::is_tiered) {
        true => table.keys(slots)?,
        false => vec![],
    };
    table.remove(slots);
    for ordered in ordered {
        slots.iter().for_each(|s| ordered.remove_group(*s));
    }
    for set in sets {
        if set.is_tiered() {
            set.remove_beginning_with(&keys, &hash_columns(&keys, slots.len())?)?;
            continue;
        }
        let entries: Vec<u32> = set.live_slots().collect();
        for entries in entries.chunks(MAX_EMITTED_ROWS) {
            let (groups, _) = groups_of(table, set, entries)?;
            let orphans: Vec<u32> = entries
                .iter()
                .zip(groups)
                .filter(|(_, group)| *group == NO_SLOT)
                .map(|(e, _)| *e)
                .collect();
            set.remove(&orphans);
        }
    }
    Ok(())
}

/// The groups' slots (or [`NO_SLOT`]) and the values of entries of a distinct set.
fn groups_of(table: &mut KeyedTable, set: &KeyedTable, entries: &[u32]) -> Result<(Vec<u32>, ArrayRef), TaskError> {
    let mut keys = set.keys(entries)?;
    let values = keys
        .pop()
        .ok_or_else(|| TaskError::internal("a distinct set has no value in its key"))?;
    let hashes = hash_columns(&keys, entries.len())?;
    let mut slots = Vec::with_capacity(entries.len());
    table.find(&keys, &hashes, &mut slots)?;
    Ok((slots, values))
}

/// The values before each row: after the row before it of the same group, or before the batch; `initial` has the latter for
/// each row that is the first of its group.
fn before_rows(initial: &[ArrayRef], after: &[ArrayRef], previous: &[u32]) -> Result<Vec<ArrayRef>, TaskError> {
    let is_first = |(row, previous): &(usize, &u32)| **previous == *row as u32;
    let groups = previous.iter().enumerate().filter(is_first).count() as u32;
    if groups as usize == previous.len() {
        return Ok(initial.to_vec());
    }
    let mut next = 0..groups;
    let index = |row: (usize, &u32)| match is_first(&row) {
        true => next.next().unwrap_or(0),
        false => groups + row.1,
    };
    let indices = UInt32Array::from_iter_values(previous.iter().enumerate().map(index));
    let mut before = Vec::with_capacity(after.len());
    for (initial, after) in initial.iter().zip(after) {
        let both = arrow_select::concat::concat(&[initial.as_ref(), after.as_ref()])?;
        before.push(arrow_select::take::take(both.as_ref(), &indices, None)?);
    }
    Ok(before)
}

impl Operator for GroupAggregate {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        self.clock = ctx.clock.clone();
        // What a set holds of a group that is forgotten, or has ordered values, is found by the group's fields.
        let looks_up = self.expiry.is_some() || !self.ordered.is_empty();
        let stays = self.keys.is_empty() && looks_up && !self.sets_state.is_empty();
        let table = |state: &Arc<TableDescriptor>| match stays {
            true => Ok(KeyedTable::new(
                Arc::clone(state),
                ctx.task.max_parallelism,
                ctx.task.key_groups(),
            )),
            false => ctx.table(Arc::clone(state)),
        };
        self.sets = self.sets_state.iter().map(&table).collect::<Result<_, _>>()?;
        self.table = table(&self.state)?;
        if let Some(restored) = ctx.restored.take() {
            self.restore(&restored)?;
        }
        if !self.ordered.is_empty() && self.table.is_tiered() {
            // Memory was filled without the ordered values of its groups; those come with them.
            let groups: Vec<u32> = self.table.live_slots().collect();
            self.table.send_away(&groups)?;
            self.table.track_moves();
        }
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        if batch.is_empty() {
            return Ok(Flow::Done);
        }
        if self.bundle.is_none() && self.aggregates.is_sized() && self.needs_room(&batch)? {
            self.pending = Some((batch, 0));
            return self.tell_pending(out);
        }
        if self.bundle.is_none() {
            self.tell_rows(&batch, out)?;
            return Ok(Flow::Done);
        }
        if self.fold(&batch)? {
            self.tell_bundle(out)
        } else {
            Ok(Flow::Done)
        }
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        match self.pending.is_some() {
            true => self.tell_pending(out),
            false => self.tell_bundle(out),
        }
    }

    fn next_timer(&self) -> Option<i64> {
        let bundle = self.bundle.as_ref().and_then(Bundle::deadline_ms);
        let sweep = self.expiry.as_ref().and_then(Expiry::next_sweep_ms);
        bundle.into_iter().chain(sweep).min()
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        let is_due = |time: Option<i64>| time.is_some_and(|t| t <= now_ms);
        if is_due(self.expiry.as_ref().and_then(Expiry::next_sweep_ms)) {
            self.sweep(now_ms)?;
        }
        if is_due(self.bundle.as_ref().and_then(Bundle::deadline_ms)) {
            self.tell_bundle(out)
        } else {
            Ok(Flow::Done)
        }
    }

    fn before_barrier(&mut self, _checkpoint: CheckpointId, out: &mut Output) -> Result<Flow, TaskError> {
        self.tell_bundle(out)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        let mut keyed = vec![self.table.capture(checkpoint)];
        keyed.extend(self.sets.iter_mut().map(|s| s.capture(checkpoint)));
        Ok(OperatorSnapshot {
            keyed,
            ..OperatorSnapshot::default()
        })
    }

    fn finish(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.tell_bundle(out)
    }

    fn state_bytes(&self) -> usize {
        let ordered: usize = self.ordered.iter().map(OrderedValues::bytes).sum();
        self.table.bytes() + self.sets.iter().map(KeyedTable::bytes).sum::<usize>() + ordered
    }
}
