//! LIMIT of an order in which rows only rise: [`UpdatingLimit`].

use super::keys::{SortBytes, SortKeys};
use super::limit::Place;
use super::{ROW, read_rows};
use crate::nodes::LimitSpec;
use crate::operators::emission::Emission;
use crate::operators::group::expiry::{self, Expiry};
use crate::operators::keyed_rows::row_encoder;
use crate::operators::{MAX_EMITTED_ROWS, key_columns, spec_error};
use arrow_array::UInt32Array;
use flott_checkpoint::{ColumnType, TableDescriptor};
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::hash::hash_columns;
use flott_core::{Batch, CheckpointId, KeyGroupRange, LogicalType, RowKind};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::{KeyedTable, NO_SLOT, OperatorSnapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Name of the keyed state, as Flink's.
const STATE_NAME: &str = "data-state-with-update";
/// State column that tells rows of one order apart: the number of the arrival there.
const NUMBER: usize = 1;

/// Tells the first rows of an order in which a row with a key that is known already is its new content, and stands not
/// behind the former one: the top of a growing count.
///
/// So whoever has fallen behind the top comes back by rising, and nothing but the top is kept. Without an offset a row of the
/// top changes in its place (-U, +U), and one that is new there pushes the last one out (-D, then +I; with one row only -U,
/// +U). With an offset ranks count, as in [`super::limit::SortLimit`]: every told rank between the new place and the former one
/// gets its new row (-U, +U).
///
/// If a row falls all the same, because state before this operator has expired, it stays in the top, as in Flink.
///
/// State: `data-state-with-update` (key -> row, number). With a time to live, rows that have not changed for so long are
/// forgotten silently.
pub(crate) struct UpdatingLimit {
    // Constant.
    keys: SortKeys,
    upsert_key: Vec<usize>,
    types: Vec<LogicalType>,
    offset: usize,
    /// Behind the last row that is told.
    end: usize,
    state: Arc<TableDescriptor>,
    clock: SharedClock,
    // State.
    table: KeyedTable,
    top: BTreeMap<Place, u32>,
    /// By slot.
    places: Vec<Option<Place>>,
    next_number: i64,
    expiry: Option<Expiry>,
    /// A batch that made more rows than one call may tell.
    pending: Option<Pending>,
    /// Rows that the batch at work has pushed out; one may come back within it.
    fallen: Vec<u32>,
    // Scratch.
    emission: Emission,
}

/// A batch at work.
struct Pending {
    batch: Batch,
    order: SortBytes,
    slots: Vec<u32>,
    next_row: usize,
}

impl UpdatingLimit {
    /// The operator of a spec with a key.
    ///
    /// # Errors
    /// If the spec cannot run.
    pub(crate) fn new(spec: &LimitSpec) -> Result<Self, TaskError> {
        spec.validate().map_err(spec_error)?;
        let upsert_key = spec.upsert_key.clone().unwrap_or_default();
        if upsert_key.is_empty() || spec.order.is_empty() {
            return Err(TaskError::internal(
                "a limit over rising rows needs their order and key",
            ));
        }
        let key = upsert_key.iter().map(|&k| spec.input[k].ty.clone()).collect();
        let mut state = TableDescriptor::new(STATE_NAME, key)
            .placed_by(0)
            .nullable("row", ColumnType::Bytes)
            .column("number", ColumnType::I64);
        let expiry = (spec.ttl_ms > 0).then(|| Expiry::new(spec.ttl_ms, state.columns.len()));
        if expiry.is_some() {
            state = state.column(expiry::COLUMN, ColumnType::I64);
        }
        let state = Arc::new(state);
        let size = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
        Ok(Self {
            keys: SortKeys::new(&spec.order),
            upsert_key,
            types: spec.input.iter().map(|f| f.ty.clone()).collect(),
            offset: size(spec.offset),
            end: size(spec.offset.saturating_add(spec.fetch)),
            // The real table is made in `open`, which knows the subtask's key groups.
            table: KeyedTable::new(Arc::clone(&state), 1, KeyGroupRange::all(1)),
            state,
            clock: Arc::new(SystemClock),
            top: BTreeMap::new(),
            places: vec![],
            next_number: 0,
            expiry,
            pending: None,
            fallen: vec![],
            emission: Emission::default(),
        })
    }

    /// What is kept in checkpoints.
    pub(crate) fn state_tables(&self) -> Vec<TableDescriptor> {
        vec![self.state.as_ref().clone()]
    }

    /// Puts the restored rows in order.
    fn arrange(&mut self) -> Result<(), TaskError> {
        let slots: Vec<u32> = self.table.live_slots().collect();
        for slots in slots.chunks(MAX_EMITTED_ROWS) {
            let rows = read_rows(&self.table, slots, &self.types)?;
            let order = self.keys.bytes(&rows, slots.len())?;
            for (row, &slot) in slots.iter().enumerate() {
                let number = self.table.column::<i64>(NUMBER).get(slot);
                self.next_number = self.next_number.max(number + 1);
                let bytes = order.row(row).into();
                self.put(Place { bytes, number }, slot);
            }
        }
        Ok(())
    }

    fn put(&mut self, place: Place, slot: u32) {
        if self.places.len() <= slot as usize {
            self.places.resize(slot as usize + 1, None);
        }
        self.places[slot as usize] = Some(place.clone());
        self.top.insert(place, slot);
    }

    /// Whether a row with these sort bytes, the last to arrive, is behind a full top.
    fn is_behind(&self, bytes: &[u8]) -> bool {
        self.top.len() >= self.end && self.top.last_key_value().is_none_or(|(last, _)| bytes >= &*last.bytes)
    }

    /// The rows of a batch that change the top, or may do so, with their slots.
    fn begin(&mut self, batch: Batch) -> Result<Pending, TaskError> {
        let rows = batch.num_rows();
        let order = self.keys.bytes(batch.columns(), rows)?;
        let keys = key_columns(batch.columns(), &self.upsert_key);
        let mut known = Vec::with_capacity(rows);
        self.table.find(&keys, &hash_columns(&keys, rows)?, &mut known)?;
        // The last of the top only rises, so who is behind it now stays so, unless a row falls.
        let falls = |(row, slot): (usize, &u32)| {
            let place = self.places.get(*slot as usize).and_then(Option::as_ref);
            place.is_some_and(|place| *place.bytes < *order.row(row))
        };
        let keeps_all = known.iter().enumerate().any(falls);
        let may_change = |row: &u32| {
            let is_known = known[*row as usize] != NO_SLOT;
            keeps_all || is_known || !self.is_behind(order.row(*row as usize))
        };
        let kept: Vec<u32> = (0..rows as u32).filter(may_change).collect();
        let batch = match kept.len() == rows {
            true => batch,
            false => batch.take(&UInt32Array::from(kept))?,
        };
        let rows = batch.num_rows();
        let keys = key_columns(batch.columns(), &self.upsert_key);
        let (hashes, placement) = (hash_columns(&keys, rows)?, hash_columns(&[], rows)?);
        let mut slots = Vec::with_capacity(rows);
        self.table
            .slots_with_placement(&keys, &hashes, &placement, &mut slots)?;
        let needed = slots.iter().max().map_or(0, |s| *s as usize + 1);
        if self.places.len() < needed {
            self.places.resize(needed, None);
        }
        Ok(Pending {
            order: self.keys.bytes(batch.columns(), rows)?,
            batch,
            slots,
            next_row: 0,
        })
    }

    /// Goes on with the batch at work until it ends or a call's rows are full.
    fn advance(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let Some(mut pending) = self.pending.take() else {
            return Ok(Flow::Done);
        };
        let encoder = row_encoder(pending.batch.columns())?;
        let rows = pending.batch.num_rows();
        let mut bytes = vec![];
        while pending.next_row < rows && !self.emission.is_full() {
            let row = pending.next_row;
            pending.next_row += 1;
            let (order, slot) = (pending.order.row(row), pending.slots[row]);
            bytes.clear();
            encoder.encode(row, &mut bytes);
            match self.places[slot as usize].clone() {
                Some(former) => self.change(slot, former, order, &bytes),
                None if !self.is_behind(order) => self.enter(slot, order, &bytes),
                None => {}
            }
        }
        if let Some(told) = self.emission.finish(pending.batch.columns(), rows, &self.types)? {
            out.emit(told);
        }
        if pending.next_row < rows {
            self.pending = Some(pending);
            return Ok(Flow::More);
        }
        if let Some(expiry) = &mut self.expiry {
            expiry.touch(&mut self.table, &pending.slots, self.clock.now_ms());
        }
        let mut gone = std::mem::take(&mut self.fallen);
        gone.extend(pending.slots);
        gone.retain(|slot| self.places[*slot as usize].is_none());
        gone.sort_unstable();
        gone.dedup();
        self.table.remove(&gone);
        Ok(Flow::Done)
    }

    fn number(&mut self, slot: u32) -> i64 {
        let number = self.next_number;
        self.next_number += 1;
        self.table.column_mut::<i64>(NUMBER).set(slot, number);
        number
    }

    /// A row that the top does not hold comes into it.
    fn enter(&mut self, slot: u32, order: &[u8], row: &[u8]) {
        let place = Place {
            bytes: order.into(),
            number: self.number(slot),
        };
        let rank = self.rank_of(&place);
        self.put(place, slot);
        self.table.bytes_column_mut(ROW).set(slot, Some(row));
        let fallen = match self.top.len() > self.end {
            true => self.top.pop_last().map(|(_, slot)| slot),
            false => None,
        };
        let held = self.table.bytes_column(ROW);
        let held = |slot: u32| held.get(slot).unwrap_or_default();
        if self.offset > 0 {
            let mut occupants = self.top.values().copied().skip(rank.max(self.offset)).peekable();
            while let Some(now) = occupants.next() {
                match occupants.peek().copied().or(fallen) {
                    Some(before) => {
                        self.emission.of_state(RowKind::UpdateBefore, held(before));
                        self.emission.of_state(RowKind::UpdateAfter, held(now));
                    }
                    None => self.emission.of_state(RowKind::Insert, held(now)),
                }
            }
        } else {
            let (gone, come) = match fallen.is_some() && self.end == 1 {
                true => (RowKind::UpdateBefore, RowKind::UpdateAfter),
                false => (RowKind::Delete, RowKind::Insert),
            };
            if let Some(fallen) = fallen {
                self.emission.of_state(gone, held(fallen));
            }
            self.emission.of_state(come, row);
        }
        if let Some(fallen) = fallen {
            self.places[fallen as usize] = None;
            self.fallen.push(fallen);
        }
    }

    /// A row of the top has new content.
    fn change(&mut self, slot: u32, former: Place, order: &[u8], row: &[u8]) {
        let rank_before = self.rank_of(&former);
        self.top.remove(&former);
        let place = match *former.bytes == *order {
            true => former,
            false => Place {
                bytes: order.into(),
                number: self.number(slot),
            },
        };
        let rank = self.rank_of(&place);
        let held = self.table.bytes_column(ROW);
        let held = |slot: u32| held.get(slot).unwrap_or_default();
        let is_told = |rank: usize| (self.offset..self.end).contains(&rank);
        let mut tell = |kind: RowKind, rank: usize, bytes: &[u8]| {
            if is_told(rank) {
                self.emission.of_state(kind, bytes);
            }
        };
        let before = held(slot);
        if self.offset == 0 || rank == rank_before {
            tell(RowKind::UpdateBefore, rank_before, before);
            tell(RowKind::UpdateAfter, rank_before, row);
        } else if rank < rank_before {
            // Without the row itself, those that it has passed stand from its new rank on.
            let passed = self.top.values().skip(rank).take(rank_before - rank);
            let mut now = row;
            for (at, &moved) in (rank..).zip(passed) {
                tell(RowKind::UpdateBefore, at, held(moved));
                if at == rank {
                    tell(RowKind::UpdateBefore, rank_before, before);
                }
                tell(RowKind::UpdateAfter, at, now);
                now = held(moved);
            }
            tell(RowKind::UpdateAfter, rank_before, now);
        } else {
            tell(RowKind::UpdateBefore, rank_before, before);
            let passing = self.top.values().skip(rank_before).take(rank - rank_before);
            for (at, &moved) in (rank_before..).zip(passing) {
                tell(RowKind::UpdateBefore, at + 1, held(moved));
                tell(RowKind::UpdateAfter, at, held(moved));
            }
            tell(RowKind::UpdateAfter, rank, row);
        }
        self.put(place, slot);
        self.table.bytes_column_mut(ROW).set(slot, Some(row));
    }

    /// How many rows stand before a place of the top; counted only where ranks matter.
    fn rank_of(&self, place: &Place) -> usize {
        match self.offset {
            0 => 0,
            _ => self.top.range(..place.clone()).count(),
        }
    }

    /// Forgets rows whose time is over.
    fn sweep(&mut self, now_ms: i64) {
        let Some(expiry) = &mut self.expiry else { return };
        let expired = expiry.expired(&self.table, self.table.live_slots(), now_ms);
        for &slot in &expired {
            if let Some(place) = self.places[slot as usize].take() {
                self.top.remove(&place);
            }
        }
        self.table.remove(&expired);
    }
}

impl Operator for UpdatingLimit {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        self.clock = ctx.clock.clone();
        let (max_parallelism, key_groups) = (ctx.task.max_parallelism, ctx.task.key_groups());
        self.table = KeyedTable::new(Arc::clone(&self.state), max_parallelism, key_groups);
        if let Some(restored) = ctx.restored.take() {
            restored.load_table(&mut self.table)?;
            self.arrange()?;
        }
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        if self.expiry.is_some() {
            self.sweep(self.clock.now_ms());
        }
        let pending = self.begin(batch)?;
        if pending.batch.is_empty() {
            return Ok(Flow::Done);
        }
        self.pending = Some(pending);
        self.advance(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.advance(out)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        Ok(OperatorSnapshot {
            keyed: vec![self.table.capture(checkpoint)],
            ..OperatorSnapshot::default()
        })
    }

    fn state_bytes(&self) -> usize {
        self.table.bytes() + self.top.len() * 128
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::SortKey;
    use crate::operators::harness::Harness;
    use flott_core::Field;

    const SCHEMA: &str = "k STRING, n BIGINT";

    fn spec(offset: u64, fetch: u64, ttl_ms: u64) -> LimitSpec {
        let key = SortKey {
            column: 1,
            descending: true,
            nulls_last: true,
        };
        LimitSpec {
            input: vec![
                Field::new("k", LogicalType::string()),
                Field::new("n", LogicalType::bigint()),
            ],
            order: vec![key],
            offset,
            fetch,
            input_retracts: true,
            upsert_key: Some(vec![0]),
            ttl_ms,
        }
    }

    fn operator(spec: &LimitSpec) -> Box<UpdatingLimit> {
        Box::new(UpdatingLimit::new(spec).unwrap())
    }

    /// What a spec tells of rows, in one batch and one by one; also checked against its state taken over.
    fn told(spec: &LimitSpec, rows: &str) -> String {
        let told = Harness::new(operator(spec), SCHEMA).run(rows);
        let one_by_one = rows.replace('\n', "\nbatch\n");
        assert_eq!(Harness::new(operator(spec), SCHEMA).run(&one_by_one), told);
        let lines: Vec<&str> = rows.lines().collect();
        for cut in 0..lines.len() {
            let mut first = Harness::new(operator(spec), SCHEMA);
            let mut both = first.run(&lines[..cut].join("\n"));
            let mut second = Harness::restored(operator(spec), SCHEMA, (0, 1), vec![first.snapshot()]);
            let rest = second.run(&lines[cut..].join("\n"));
            if !both.is_empty() && !rest.is_empty() {
                both.push('\n');
            }
            assert_eq!(both + &rest, told, "taken over behind row {cut}");
        }
        told
    }

    const COUNTS: &str = "+I a 1\n+I b 1\n+I c 1\n+U c 2\n+U c 3\n+U b 2\n+U b 3\n+U b 4\n+U a 5";

    #[test]
    fn rows_of_the_top_change_in_their_place() {
        assert_eq!(
            told(&spec(0, 2, 0), COUNTS),
            "+I a 1\n+I b 1\n-D b 1\n+I c 2\n-U c 2\n+U c 3\n-D a 1\n+I b 2\n-U b 2\n+U b 3\n-U b 3\n+U b 4\n-D c 3\n+I a 5"
        );
    }

    #[test]
    fn the_first_row_is_replaced() {
        assert_eq!(
            told(&spec(0, 1, 0), COUNTS),
            "+I a 1\n-U a 1\n+U c 2\n-U c 2\n+U c 3\n-U c 3\n+U b 4\n-U b 4\n+U a 5"
        );
    }

    #[test]
    fn behind_an_offset_ranks_count() {
        assert_eq!(
            told(&spec(1, 2, 0), COUNTS),
            "+I b 1\n+I c 1\n-U c 1\n-U b 1\n+U a 1\n+U b 1\n-U a 1\n-U b 1\n+U b 2\n+U a 1\n\
             -U b 2\n+U b 3\n-U b 3\n+U c 3\n-U a 1\n-U c 3\n+U b 4\n+U c 3"
        );
    }

    #[test]
    fn a_row_that_falls_stays_in_the_top() {
        assert_eq!(
            told(&spec(0, 2, 0), "+I a 9\n+I b 7\n+U a 1\n+I c 5\n+U b 8"),
            "+I a 9\n+I b 7\n-U a 9\n+U a 1\n-D a 1\n+I c 5\n-U b 7\n+U b 8"
        );
        assert_eq!(
            told(&spec(1, 2, 0), "+I a 9\n+I b 7\n+I c 5\n+U a 6"),
            "+I b 7\n+I c 5\n-U b 7\n+U a 6"
        );
    }

    #[test]
    fn rows_that_do_not_change_for_long_are_forgotten() {
        let mut op = Harness::new(operator(&spec(0, 2, 1000)), SCHEMA);
        assert_eq!(op.run("clock 100\n+I a 8\n+I b 9"), "+I a 8\n+I b 9");
        assert_eq!(op.run("clock 900\n+U b 10\n+I c 1"), "-U b 9\n+U b 10");
        assert_eq!(op.run("clock 1100\n+U c 2"), "+I c 2", "a is forgotten, silently");
        assert_eq!(op.run("clock 1899\n+U b 11"), "-U b 10\n+U b 11", "b has changed since");
    }

    #[test]
    fn only_the_top_is_kept() {
        let mut op = UpdatingLimit::new(&spec(0, 3, 0)).unwrap();
        let mut rows = Output::default();
        for from in (0..1000).step_by(100) {
            let keys: Vec<String> = (from..from + 100).map(|i| format!("k{i}")).collect();
            let counts: Vec<i64> = (from..from + 100).map(|i| i64::from(i % 37)).collect();
            let columns: Vec<arrow_array::ArrayRef> = vec![
                Arc::new(arrow_array::StringArray::from(keys)),
                Arc::new(arrow_array::Int64Array::from(counts)),
            ];
            op.process(0, Batch::new(columns, 100), &mut rows).unwrap();
        }
        assert_eq!((op.table.len(), op.top.len()), (3, 3));
    }
}
