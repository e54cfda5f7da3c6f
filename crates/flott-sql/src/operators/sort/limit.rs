//! LIMIT, with and without an order: [`SortLimit`].

use super::keys::{SortBytes, SortKeys};
use super::{ROW, keep_rows, read_rows};
use crate::nodes::LimitSpec;
use crate::operators::emission::Emission;
use crate::operators::group::expiry::{self, Expiry};
use crate::operators::keyed_rows::row_encoder;
use crate::operators::{MAX_EMITTED_ROWS, spec_error};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, UInt32Array};
use flott_checkpoint::{ColumnType, TableDescriptor};
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::{Batch, CheckpointId, KeyGroupRange, LogicalType, RowKind, TypeKind};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::{KeyedTable, OperatorSnapshot};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Name of the keyed state, as Flink's.
pub(crate) const STATE_NAME: &str = "data-state";
/// No row of the batch is kept under this.
const NO_SLOT: u32 = u32::MAX;

/// Where a row stands: by the order, then by arrival.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) bytes: Box<[u8]>,
    pub(super) number: i64,
}

/// Tells the first rows of an order and keeps what it told up to date.
///
/// ```text
///   order:  0 … offset … offset + fetch … end
///           └────── top ──────┘└── rest ──┘      rest: only where rows may be taken back
///               └── told ────┘
/// ```
///
/// Rows that the order does not tell apart stand in the order of arrival. Without an offset a row that enters the top pushes
/// the last one out (-D, then +I; with one row only -U, +U, as long as nothing is taken back), and one that leaves it lets
/// the first of the rest in (-D, then +I). With an offset ranks count: every told rank behind the change gets its new row
/// (-U, +U), the last one +I or -D. A row that is taken back and was never there is ignored.
///
/// State: `data-state` (number of arrival -> row). Without retractions it never holds more than offset + fetch rows. With a
/// time to live, rows are forgotten silently when no row of their order has come for so long; those of the rest that get
/// their places are told (+I, or, before an offset, -D).
pub(crate) struct SortLimit {
    // Constant.
    keys: SortKeys,
    types: Vec<LogicalType>,
    offset: usize,
    /// Behind the last row that is told.
    end: usize,
    is_sorted: bool,
    keeps_rest: bool,
    clock: SharedClock,
    state: Arc<TableDescriptor>,
    // State.
    table: KeyedTable,
    next_number: i64,
    top: BTreeMap<Place, u32>,
    rest: BTreeMap<Place, u32>,
    expiry: Option<Expiry>,
    /// No row's time is over before.
    earliest_ms: i64,
    // A batch that made more rows than one call may tell.
    pending: Option<Pending>,
    shift: Option<Shift>,
    // Scratch.
    emission: Emission,
    gone: Vec<u32>,
}

/// Told ranks that get other rows, where ranks count.
enum Shift {
    /// A row has come: each row from `next` on stands where the one behind it stood, the last where `fallen` was.
    Down { next: Place, fallen: Option<u32> },
    /// A row has gone: each row from `next` on stands where the one in front of it stood, the first where `before` was; `raised`
    /// has come into the top.
    Up {
        next: Option<Place>,
        before: u32,
        raised: Option<u32>,
    },
}

/// A batch at work.
struct Pending {
    batch: Batch,
    order: SortBytes,
    /// Where each row is kept; [`NO_SLOT`] for those that are taken back.
    slots: Vec<u32>,
    first_number: i64,
    next_row: usize,
}

impl SortLimit {
    /// The operator of a spec.
    ///
    /// # Errors
    /// If the spec cannot run.
    pub(crate) fn new(spec: &LimitSpec) -> Result<Self, TaskError> {
        spec.validate().map_err(spec_error)?;
        let number = LogicalType::not_null(TypeKind::BigInt);
        let mut state = TableDescriptor::new(STATE_NAME, vec![number])
            .placed_by(0)
            .nullable("row", ColumnType::Bytes);
        let expiry = (spec.ttl_ms > 0).then(|| Expiry::new(spec.ttl_ms, state.columns.len()));
        if expiry.is_some() {
            state = state.column(expiry::COLUMN, ColumnType::I64);
        }
        let state = Arc::new(state);
        let size = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
        Ok(Self {
            keys: SortKeys::new(&spec.order),
            types: spec.input.iter().map(|f| f.ty.clone()).collect(),
            offset: size(spec.offset),
            end: size(spec.offset.saturating_add(spec.fetch)),
            is_sorted: !spec.order.is_empty(),
            keeps_rest: spec.input_retracts,
            clock: Arc::new(SystemClock),
            // The real table is made in `open`, which knows the subtask's key groups.
            table: KeyedTable::new(Arc::clone(&state), 1, KeyGroupRange::all(1)),
            state,
            next_number: 0,
            top: BTreeMap::new(),
            rest: BTreeMap::new(),
            expiry,
            earliest_ms: i64::MAX,
            pending: None,
            shift: None,
            emission: Emission::default(),
            gone: vec![],
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
            let numbers = self.table.keys(slots)?;
            let numbers = numbers[0].as_primitive::<Int64Type>();
            let order = self
                .keys
                .bytes(&read_rows(&self.table, slots, &self.types)?, slots.len())?;
            for (row, &slot) in slots.iter().enumerate() {
                let number = numbers.value(row);
                self.next_number = self.next_number.max(number + 1);
                let bytes = order.row(row).into();
                self.rest.insert(Place { bytes, number }, slot);
            }
        }
        let mut places = std::mem::take(&mut self.rest).into_iter();
        self.top.extend(places.by_ref().take(self.end));
        self.rest = places.collect();
        if let Some(expiry) = &mut self.expiry
            && !self.table.is_empty()
        {
            expiry.plan_sweep(&self.table, self.clock.now_ms());
        }
        self.note_earliest();
        Ok(())
    }

    /// Whether a row with these sort bytes, the last to arrive, is behind a full top.
    fn is_behind(&self, bytes: &[u8]) -> bool {
        self.top.len() >= self.end && self.top.last_key_value().is_some_and(|(last, _)| bytes >= &*last.bytes)
    }

    /// The rows of a batch that may be told, now or later, with their sort bytes.
    fn candidates(&self, batch: Batch) -> Result<(Batch, SortBytes), TaskError> {
        let rows = batch.num_rows();
        if !self.is_sorted && !self.keeps_rest {
            let kept = self.end.saturating_sub(self.top.len()).min(rows);
            let batch = if kept < rows { batch.slice(0, kept) } else { batch };
            let order = self.keys.bytes(batch.columns(), batch.num_rows())?;
            return Ok((batch, order));
        }
        let order = self.keys.bytes(batch.columns(), rows)?;
        if self.keeps_rest {
            return Ok((batch, order));
        }
        let kept: Vec<u32> = (0..rows as u32)
            .filter(|r| !self.is_behind(order.row(*r as usize)))
            .collect();
        if kept.len() == rows {
            return Ok((batch, order));
        }
        let batch = batch.take(&UInt32Array::from(kept))?;
        let order = self.keys.bytes(batch.columns(), batch.num_rows())?;
        Ok((batch, order))
    }

    /// Keeps the rows of a batch that are not taken back.
    fn begin(&mut self, batch: Batch, order: SortBytes) -> Result<Pending, TaskError> {
        let rows = batch.num_rows();
        let is_kept = |row: &u32| !batch.kind(*row as usize).is_retraction();
        let kept: Vec<u32> = (0..rows as u32).filter(is_kept).collect();
        let first_number = self.next_number;
        self.next_number += rows as i64;
        let numbers = kept.iter().map(|r| first_number + i64::from(*r));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
        let mut kept_slots = Vec::with_capacity(kept.len());
        let kept_rows = match kept.len() == rows {
            true => batch.clone(),
            false => batch.take(&UInt32Array::from(kept.clone()))?,
        };
        keep_rows(
            &mut self.table,
            &[numbers],
            kept_rows.columns(),
            kept.len(),
            &mut kept_slots,
        )?;
        let mut slots = vec![NO_SLOT; rows];
        for (row, slot) in kept.iter().zip(kept_slots) {
            slots[*row as usize] = slot;
        }
        Ok(Pending {
            batch,
            order,
            slots,
            first_number,
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
        loop {
            if let Some(shift) = self.shift.take() {
                self.shift = self.go_on(shift);
            }
            if self.shift.is_some() || pending.next_row == rows || self.emission.is_full() {
                break;
            }
            let row = pending.next_row;
            pending.next_row += 1;
            let order = pending.order.row(row);
            match pending.slots[row] {
                NO_SLOT => {
                    bytes.clear();
                    encoder.encode(row, &mut bytes);
                    self.take_back(row, order, &bytes);
                }
                slot => self.add(row, order, pending.first_number + row as i64, slot),
            }
        }
        if self.shift.is_none() {
            self.table.remove(&self.gone);
            self.gone.clear();
        }
        if let Some(told) = self.emission.finish(pending.batch.columns(), rows, &self.types)? {
            out.emit(told);
        }
        if pending.next_row == rows && self.shift.is_none() {
            self.touch(&pending);
            return Ok(Flow::Done);
        }
        self.pending = Some(pending);
        Ok(Flow::More)
    }

    /// Row `row` of the batch is new.
    fn add(&mut self, row: usize, bytes: &[u8], number: i64, slot: u32) {
        if self.is_behind(bytes) {
            match self.keeps_rest {
                true => {
                    let bytes = bytes.into();
                    self.rest.insert(Place { bytes, number }, slot);
                }
                false => self.gone.push(slot),
            }
            return;
        }
        let place = Place {
            bytes: bytes.into(),
            number,
        };
        let rank = self.rank_of(&place);
        self.top.insert(place, slot);
        let fallen = match self.top.len() > self.end {
            true => self.top.pop_last(),
            false => None,
        };
        let held = self.table.bytes_column(ROW);
        let held = |slot: u32| held.get(slot).unwrap_or_default();
        if self.offset > 0 {
            let first = self.top.keys().nth(rank.max(self.offset)).cloned();
            let fallen = fallen.as_ref().map(|(_, slot)| *slot);
            self.shift = first.map(|next| Shift::Down { next, fallen });
        } else if let Some((_, fallen)) = &fallen {
            let replaces = self.end == 1 && !self.keeps_rest;
            let (gone, come) = match replaces {
                true => (RowKind::UpdateBefore, RowKind::UpdateAfter),
                false => (RowKind::Delete, RowKind::Insert),
            };
            self.emission.of_state(gone, held(*fallen));
            self.emission.of_batch(come, row);
        } else {
            self.emission.of_batch(RowKind::Insert, row);
        }
        if let Some((place, slot)) = fallen {
            match self.keeps_rest {
                true => {
                    self.rest.insert(place, slot);
                }
                false => self.gone.push(slot),
            }
        }
    }

    /// A row like row `row` of the batch, whose bytes are `bytes`, is taken back.
    fn take_back(&mut self, row: usize, order: &[u8], bytes: &[u8]) {
        if let Some((place, slot)) = self.find(&self.top, order, bytes) {
            let rank = self.rank_of(&place);
            self.top.remove(&place);
            let raised = self.rest.pop_first();
            let raised_slot = raised.as_ref().map(|(_, slot)| *slot);
            self.top.extend(raised);
            let held = self.table.bytes_column(ROW);
            let held = |slot: u32| held.get(slot).unwrap_or_default();
            if self.offset > 0 {
                // Who was at the first told rank: the row itself, or the one that has moved before it.
                let before = match rank >= self.offset {
                    true => Some(slot),
                    false => self.top.values().copied().nth(self.offset - 1),
                };
                self.shift = before.map(|before| Shift::Up {
                    next: self.top.keys().nth(rank.max(self.offset)).cloned(),
                    before,
                    raised: raised_slot,
                });
            } else {
                self.emission.of_batch(RowKind::Delete, row);
                if let Some(slot) = raised_slot {
                    self.emission.of_state(RowKind::Insert, held(slot));
                }
            }
            self.gone.push(slot);
        } else if let Some((place, slot)) = self.find(&self.rest, order, bytes) {
            self.rest.remove(&place);
            self.gone.push(slot);
        }
    }

    /// Tells ranks that get other rows, as far as there is room; what is left to tell.
    fn go_on(&mut self, shift: Shift) -> Option<Shift> {
        let held = self.table.bytes_column(ROW);
        let held = |slot: u32| held.get(slot).unwrap_or_default();
        match shift {
            Shift::Down { next, fallen } => {
                let mut occupants = self.top.range(next..).peekable();
                while let Some((place, now)) = occupants.next() {
                    if self.emission.is_full() {
                        let next = place.clone();
                        return Some(Shift::Down { next, fallen });
                    }
                    match occupants.peek().map(|(_, slot)| **slot).or(fallen) {
                        Some(before) => {
                            self.emission.of_state(RowKind::UpdateBefore, held(before));
                            self.emission.of_state(RowKind::UpdateAfter, held(*now));
                        }
                        None => self.emission.of_state(RowKind::Insert, held(*now)),
                    }
                }
            }
            Shift::Up { next, before, raised } => {
                let mut before = Some(before);
                let occupants = next.into_iter().flat_map(|next| self.top.range(next..));
                for (place, now) in occupants {
                    let Some(gone) = before else { break };
                    if self.emission.is_full() {
                        return Some(Shift::Up {
                            next: Some(place.clone()),
                            before: gone,
                            raised,
                        });
                    }
                    self.emission.of_state(RowKind::UpdateBefore, held(gone));
                    self.emission.of_state(RowKind::UpdateAfter, held(*now));
                    before = (Some(*now) != raised).then_some(*now);
                }
                if let Some(gone) = before {
                    self.emission.of_state(RowKind::Delete, held(gone));
                }
            }
        }
        None
    }

    /// Notes that rows of these orders have come, or gone.
    fn touch(&mut self, pending: &Pending) {
        let Some(expiry) = &mut self.expiry else { return };
        let now_ms = self.clock.now_ms();
        let of_order = |bytes: &[u8]| {
            let place = |number| Place {
                bytes: bytes.into(),
                number,
            };
            place(i64::MIN)..=place(i64::MAX)
        };
        let mut slots = vec![];
        for row in 0..pending.batch.num_rows() {
            let range = of_order(pending.order.row(row));
            slots.extend(self.top.range(range.clone()).map(|(_, slot)| *slot));
            slots.extend(self.rest.range(range).map(|(_, slot)| *slot));
        }
        slots.sort_unstable();
        slots.dedup();
        self.table.mark_changed(&slots);
        expiry.touch(&mut self.table, &slots, now_ms);
        if self.earliest_ms == i64::MAX {
            self.note_earliest();
        }
    }

    /// Forgets rows whose time is over, and tells which of the rest stand in their places.
    fn sweep(&mut self, now_ms: i64, out: &mut Output) -> Result<(), TaskError> {
        let Some(expiry) = &mut self.expiry else { return Ok(()) };
        let expired = expiry.expired(&self.table, self.table.live_slots(), now_ms);
        expiry.plan_sweep(&self.table, now_ms);
        if expired.len() == self.table.len() {
            expiry.stop();
        }
        if expired.is_empty() {
            self.note_earliest();
            return Ok(());
        }
        let gone: HashSet<u32> = expired.iter().copied().collect();
        let told = |top: &BTreeMap<Place, u32>| top.values().skip(self.offset).copied().collect::<Vec<u32>>();
        let before = told(&self.top);
        self.top.retain(|_, slot| !gone.contains(slot));
        self.rest.retain(|_, slot| !gone.contains(slot));
        while self.top.len() < self.end
            && let Some((place, slot)) = self.rest.pop_first()
        {
            self.top.insert(place, slot);
        }
        if self.keeps_rest {
            let after = told(&self.top);
            let bytes = self.table.bytes_column(ROW);
            let (was, is): (HashSet<&u32>, HashSet<&u32>) = (before.iter().collect(), after.iter().collect());
            for slot in before.iter().filter(|s| !is.contains(s) && !gone.contains(s)) {
                self.emission
                    .of_state(RowKind::Delete, bytes.get(*slot).unwrap_or_default());
            }
            for slot in after.iter().filter(|s| !was.contains(s)) {
                self.emission
                    .of_state(RowKind::Insert, bytes.get(*slot).unwrap_or_default());
            }
            let none = read_rows(&self.table, &[], &self.types)?;
            if let Some(told) = self.emission.finish(&none, 0, &self.types)? {
                out.emit(told);
            }
        }
        self.table.remove(&expired);
        self.note_earliest();
        Ok(())
    }

    fn note_earliest(&mut self) {
        let earliest_ms = self.expiry.as_ref().and_then(|e| e.earliest_ms(&self.table));
        self.earliest_ms = earliest_ms.unwrap_or(i64::MAX);
    }

    /// How many rows stand before a place of the top; counted only where ranks matter.
    fn rank_of(&self, place: &Place) -> usize {
        match self.offset {
            0 => 0,
            _ => self.top.range(..place.clone()).count(),
        }
    }

    /// The first row with these bytes.
    fn find(&self, rows: &BTreeMap<Place, u32>, order: &[u8], bytes: &[u8]) -> Option<(Place, u32)> {
        let held = self.table.bytes_column(ROW);
        let first = Place {
            bytes: order.into(),
            number: i64::MIN,
        };
        rows.range(first..)
            .take_while(|(place, _)| *place.bytes == *order)
            .find(|(_, slot)| held.get(**slot) == Some(bytes))
            .map(|(place, slot)| (place.clone(), *slot))
    }
}

impl Operator for SortLimit {
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
        if self.expiry.is_some() && self.earliest_ms <= self.clock.now_ms() {
            self.sweep(self.clock.now_ms(), out)?;
        }
        let (batch, order) = self.candidates(batch)?;
        if batch.is_empty() {
            return Ok(Flow::Done);
        }
        self.pending = Some(self.begin(batch, order)?);
        self.advance(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.advance(out)
    }

    fn next_timer(&self) -> Option<i64> {
        self.expiry.as_ref().and_then(Expiry::next_sweep_ms)
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        self.sweep(now_ms, out)?;
        Ok(Flow::Done)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        Ok(OperatorSnapshot {
            keyed: vec![self.table.capture(checkpoint)],
            ..OperatorSnapshot::default()
        })
    }

    fn state_bytes(&self) -> usize {
        self.table.bytes() + (self.top.len() + self.rest.len()) * 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::SortKey;
    use crate::operators::harness::Harness;
    use flott_core::Field;

    const SCHEMA: &str = "k BIGINT, s STRING";

    fn spec(is_sorted: bool, offset: u64, fetch: u64, input_retracts: bool) -> LimitSpec {
        let key = SortKey {
            column: 0,
            descending: true,
            nulls_last: true,
        };
        LimitSpec {
            input: vec![
                Field::new("k", LogicalType::bigint()),
                Field::new("s", LogicalType::string()),
            ],
            order: if is_sorted { vec![key] } else { vec![] },
            offset,
            fetch,
            input_retracts,
            upsert_key: None,
            ttl_ms: 0,
        }
    }

    fn operator(spec: &LimitSpec) -> Box<SortLimit> {
        Box::new(SortLimit::new(spec).unwrap())
    }

    /// What a spec tells of rows, in batches as written and one by one; also checked against its state taken over.
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

    #[test]
    fn a_limit_passes_the_first_rows() {
        let rows = "+I 1 a\n+I 2 b\n+I 3 c\n+I 4 d\n+I 5 e";
        assert_eq!(told(&spec(false, 0, 2, false), rows), "+I 1 a\n+I 2 b");
        assert_eq!(told(&spec(false, 1, 2, false), rows), "+I 2 b\n+I 3 c");
        assert_eq!(told(&spec(false, 9, 2, false), rows), "");
    }

    #[test]
    fn the_top_of_appended_rows_loses_its_last() {
        let rows = "+I 1 a\n+I 3 b\n+I 2 c\n+I 3 d\n+I 3 e\n+I NULL x\n+I 9 f";
        assert_eq!(
            told(&spec(true, 0, 2, false), rows),
            "+I 1 a\n+I 3 b\n-D 1 a\n+I 2 c\n-D 2 c\n+I 3 d\n-D 3 d\n+I 9 f"
        );
        assert_eq!(
            told(&spec(true, 0, 1, false), rows),
            "+I 1 a\n-U 1 a\n+U 3 b\n-U 3 b\n+U 9 f"
        );
        assert_eq!(
            told(&spec(true, 1, 2, false), "+I 1 a\n+I 3 b\n+I 2 c\n+I 4 d"),
            "+I 1 a\n-U 1 a\n+U 2 c\n+I 1 a\n-U 2 c\n+U 3 b\n-U 1 a\n+U 2 c"
        );
    }

    #[test]
    fn rows_behind_the_top_take_the_place_of_those_that_leave() {
        let rows = "+I 1 a\n+I 3 b\n+I 2 c\n-D 3 b\n-D 7 z\n+I 1 d\n-U 1 a\n+U 5 a\n-D 2 c\n-D 5 a\n-D 1 d\n+I 4 e";
        assert_eq!(
            told(&spec(true, 0, 2, true), rows),
            "+I 1 a\n+I 3 b\n-D 1 a\n+I 2 c\n-D 3 b\n+I 1 a\n-D 1 a\n+I 1 d\n-D 1 d\n+I 5 a\n-D 2 c\n+I 1 d\n-D 5 a\n-D 1 d\n+I 4 e"
        );
        assert_eq!(
            told(
                &spec(true, 1, 1, true),
                "+I 1 a\n+I 3 b\n+I 2 c\n-D 3 b\n-D 1 a\n-D 2 c"
            ),
            "+I 1 a\n-U 1 a\n+U 2 c\n-U 2 c\n+U 1 a\n-D 1 a"
        );
        assert_eq!(
            told(&spec(false, 0, 2, true), "+I 1 a\n+I 1 a\n+I 2 b\n-D 1 a\n-D 2 b"),
            "+I 1 a\n+I 1 a\n-D 1 a\n+I 2 b\n-D 2 b"
        );
    }

    #[test]
    fn rows_whose_order_nobody_comes_to_are_forgotten() {
        let of = |is_sorted, input_retracts| LimitSpec {
            ttl_ms: 1000,
            ..spec(is_sorted, 0, 2, input_retracts)
        };
        let mut op = Harness::new(operator(&of(true, false)), SCHEMA);
        assert_eq!(op.run("clock 100\n+I 5 a\n+I 7 b"), "+I 5 a\n+I 7 b");
        assert_eq!(op.run("clock 600\n+I 7 c"), "-D 5 a\n+I 7 c", "b is as young as c");
        assert_eq!(op.run("clock 1599\n+I 1 d"), "");
        assert_eq!(op.run("clock 1600\n+I 1 e"), "+I 1 e", "there is room again");
        let mut op = Harness::new(operator(&of(false, false)), SCHEMA);
        assert_eq!(op.run("clock 100\n+I 5 a\n+I 7 b\n+I 8 c"), "+I 5 a\n+I 7 b");
        assert!(op.next_timer().is_some());
        assert_eq!(op.run("timer 1100\n+I 9 d"), "+I 9 d");
    }

    #[test]
    fn rows_behind_those_that_are_forgotten_take_their_places() {
        let spec = LimitSpec {
            ttl_ms: 1000,
            ..spec(true, 0, 2, true)
        };
        let mut op = Harness::new(operator(&spec), SCHEMA);
        assert_eq!(op.run("clock 100\n+I 8 a\n+I 7 b"), "+I 8 a\n+I 7 b");
        assert_eq!(op.run("clock 600\n+I 6 c\n+I 5 d"), "");
        assert_eq!(
            op.run("timer 1100"),
            "+I 6 c\n+I 5 d",
            "nothing is told of those that are gone"
        );
        assert_eq!(op.run("-D 6 c\n-D 8 a"), "-D 6 c");
    }

    #[test]
    fn a_call_tells_about_as_many_rows_as_it_may() {
        let rows: Vec<String> = (0..400).map(|i| format!("+I {i} a")).collect();
        let mut op = Harness::new(operator(&spec(true, 1, 300, false)), SCHEMA);
        let told = op.run(&rows.join("\n"));
        assert!(told.lines().count() > 50_000);
        assert!(op.largest_call <= MAX_EMITTED_ROWS + 2, "{}", op.largest_call);
        // A row that comes or goes moves a page that is larger than a call.
        let rows: Vec<String> = (0..20_000).map(|i| format!("+I {} a", 20_000 - i)).collect();
        let mut op = Harness::new(operator(&spec(true, 1, 15_000, true)), SCHEMA);
        op.run(&rows.join("\n"));
        assert_eq!(op.run("+I 30000 a").lines().count(), 30_000);
        assert_eq!(op.run("-D 30000 a").lines().count(), 30_000);
        assert!(op.largest_call <= MAX_EMITTED_ROWS + 2, "{}", op.largest_call);
    }
}
