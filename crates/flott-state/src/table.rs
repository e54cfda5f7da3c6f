//! Keyed state of an operator: [`KeyedTable`].
//!
//! A table gives each key a dense number, its slot, and keeps typed columns by slot. An operator turns the keys of a batch
//! into slots once and then runs column kernels over `(slots, values)`:
//!
//! ```text
//! keys of a batch --hash--> index --> slots [3, 0, 3, 9]      column 0  | 7 | 1 | . | 4 | ...
//!                                         \-- add ----------------------^-----------^
//! ```
//!
//! * A slot belongs to one live key or is free; a new slot holds zero, or NULL in nullable columns.
//! * Slots stay valid until their key is removed or the table is cleared; they mean nothing outside the process.
//! * A tiered table ([`KeyedTable::is_tiered`]) holds a bounded part of its rows in memory and finds the others itself; its slots are valid
//!   until [`KeyedTable::relieve`], or longer if [`KeyedTable::relieve_but`] is told that they are held, or [`KeyedTable::send_away`].
//! * `slots` marks what it returns as changed since the last capture; who writes to slots that came from `find` or a scan
//!   marks them with [`KeyedTable::mark_changed`].

use crate::bitmap::SlotSet;
use crate::blob::{BlobStore, BytesColumn};
use crate::changes::Changes;
use crate::chunk::Chunked;
use crate::column::Column;
use crate::data::{ColumnData, Stored};
use crate::error::StateError;
use crate::index::{Found, HINTED_ROWS, NO_HINT, SlotIndex};
use crate::keys::{self, KeyForm, KeyStore, ProbeKeys};
use crate::value::{StateValue, ValuesColumn};
use arrow_array::ArrayRef;
use flott_checkpoint::TableDescriptor;
use flott_core::encoding::EncodedRows;
use flott_core::key_group::key_group_of;
use flott_core::{KeyGroup, KeyGroupRange};
use std::any::Any;
use std::sync::Arc;

/// What [`KeyedTable::find`] gives for a key that the table does not have.
pub const NO_SLOT: u32 = u32::MAX;

/// Keyed state: a slot per key, typed columns by slot.
#[derive(Debug)]
pub struct KeyedTable {
    // Constant.
    descriptor: Arc<TableDescriptor>,
    form: KeyForm,
    max_parallelism: usize,
    range: KeyGroupRange,
    // By slot.
    keys: KeyStore,
    pub(crate) rows: Rows,
    columns: Vec<ColumnData>,
    /// Encoded keys of the batch at hand.
    scratch: EncodedRows,
    pub(crate) changes: Changes,
    /// Where rows are that are not in memory; `None`: all are.
    tier: Option<Box<Tier>>,
}

/// Which slots are in use, by which hashes.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    index: SlotIndex,
    /// Index hash of a slot's key.
    hashes: Vec<u64>,
    pub(crate) groups: Chunked<KeyGroup>,
    pub(crate) live: SlotSet,
    live_count: usize,
    free: Vec<u32>,
    /// Slot of the NULL key of a one-field table; it is not in the index.
    pub(crate) null_slot: Option<u32>,
}

/// The keys of a store, as the look-up loop needs them.
trait SlotKeys<'k> {
    type Key: Copy;
    /// Whether the slot has this key; one that does not exist has none.
    fn is(&self, slot: u32, key: Self::Key) -> bool;
    /// Sets the key of a slot; a slot equal to the number of slots is appended.
    fn put(&mut self, slot: u32, key: Option<Self::Key>, slots: usize);
}

impl SlotKeys<'_> for Chunked<i64> {
    type Key = i64;
    #[inline]
    fn is(&self, slot: u32, key: i64) -> bool {
        self.find_ref(slot as usize) == Some(&key)
    }
    #[inline]
    fn put(&mut self, slot: u32, key: Option<i64>, slots: usize) {
        if slot as usize == slots {
            self.push(key.unwrap_or_default());
        } else {
            *self.get_mut(slot as usize) = key.unwrap_or_default();
        }
    }
}

impl<'k> SlotKeys<'k> for BlobStore {
    type Key = &'k [u8];
    #[inline]
    fn is(&self, slot: u32, key: &'k [u8]) -> bool {
        BlobStore::is(self, slot, key)
    }
    #[inline]
    fn put(&mut self, slot: u32, key: Option<&'k [u8]>, slots: usize) {
        if slot as usize == slots {
            self.push(key);
        } else {
            self.set(slot, key);
        }
    }
}

/// The table has run out of slots.
struct Full;

impl Rows {
    /// Slots ever used.
    pub(crate) fn slots(&self) -> usize {
        self.hashes.len()
    }

    /// Finds the slot of a key, or makes one.
    fn slot_of<'k, S: SlotKeys<'k>>(
        &mut self,
        store: &mut S,
        key: Option<S::Key>,
        hash: u64,
        group: impl FnOnce() -> KeyGroup,
    ) -> Result<u32, Full> {
        let Some(value) = key else {
            if let Some(slot) = self.null_slot {
                return Ok(slot);
            }
            let slot = self.take_slot(store, None, hash, group())?;
            self.null_slot = Some(slot);
            return Ok(slot);
        };
        match self.index.find(hash, |slot| store.is(slot, value)) {
            Found::Slot(slot) => Ok(slot),
            Found::Vacant(place) => {
                let slot = self.take_slot(store, key, hash, group())?;
                self.index.put(place, hash, slot);
                Ok(slot)
            }
        }
    }

    fn take_slot<'k, S: SlotKeys<'k>>(
        &mut self,
        store: &mut S,
        key: Option<S::Key>,
        hash: u64,
        group: KeyGroup,
    ) -> Result<u32, Full> {
        let slots = self.hashes.len();
        let slot = match self.free.pop() {
            Some(slot) => {
                self.hashes[slot as usize] = hash;
                *self.groups.get_mut(slot as usize) = group;
                slot
            }
            None => {
                if slots >= NO_SLOT as usize {
                    return Err(Full);
                }
                self.hashes.push(hash);
                self.groups.push(group);
                slots as u32
            }
        };
        store.put(slot, key, slots);
        self.live.insert(slot);
        self.live_count += 1;
        Ok(slot)
    }

    /// Frees a live slot.
    fn free_slot(&mut self, slot: u32) {
        if self.null_slot == Some(slot) {
            self.null_slot = None;
        } else {
            self.index.remove(self.hashes[slot as usize], slot);
        }
        self.live_count -= 1;
        self.free.push(slot);
    }
}

impl KeyedTable {
    /// An empty table for the keys of `range`, a subtask's share of `max_parallelism` key groups.
    pub fn new(descriptor: impl Into<Arc<TableDescriptor>>, max_parallelism: usize, range: KeyGroupRange) -> Self {
        let descriptor = descriptor.into();
        let form = KeyForm::of(&descriptor.key);
        Self {
            form,
            max_parallelism,
            range,
            keys: KeyStore::new(form),
            rows: Rows::default(),
            columns: descriptor.columns.iter().map(ColumnData::new).collect(),
            scratch: EncodedRows::default(),
            changes: Changes::default(),
            tier: None,
            descriptor,
        }
    }

    /// The slot of each row's key, made where it is missing, appended to `out` in the order of the rows.
    ///
    /// `hashes` are the keys' hashes by [`flott_core::hash::hash_columns`], which decide the key group too. All slots are
    /// marked as changed.
    ///
    /// # Errors
    /// If the columns are not of the key's types, or there are no slots left.
    pub fn slots(&mut self, keys: &[ArrayRef], hashes: &[u64], out: &mut Vec<u32>) -> Result<(), StateError> {
        self.slots_with_placement(keys, hashes, hashes, out)
    }

    /// Like [`Self::slots`] for a table that is placed by a part of its key ([`TableDescriptor::placed_by`]):
    /// `index_hashes` are those of the whole key, `placement_hashes` those of the part.
    ///
    /// # Errors
    /// As [`Self::slots`].
    pub fn slots_with_placement(
        &mut self,
        keys: &[ArrayRef],
        index_hashes: &[u64],
        placement_hashes: &[u64],
        out: &mut Vec<u32>,
    ) -> Result<(), StateError> {
        if self.tier.is_some() {
            self.load(keys, index_hashes, Some(placement_hashes))?;
        }
        let first = out.len();
        let Self {
            descriptor,
            form,
            max_parallelism,
            keys: store,
            rows,
            scratch,
            changes,
            ..
        } = self;
        let max_parallelism = *max_parallelism;
        out.reserve(index_hashes.len());
        // One loop for all forms: the store and the way to a row's key are what differs.
        macro_rules! look_up {
            ($store:expr, $key:expr) => {{
                let (store, key_of) = ($store, $key);
                let mut hints = [NO_HINT; HINTED_ROWS];
                for start in (0..index_hashes.len()).step_by(HINTED_ROWS) {
                    let end = index_hashes.len().min(start + HINTED_ROWS);
                    rows.index.hint(&index_hashes[start..end], &mut hints);
                    let hints = &hints[..end - start];
                    let hinted = || (start..end).zip(hints.iter().copied());
                    let is_at = |slot, key: Option<_>| key.is_some_and(|k| SlotKeys::is(store, slot, k));
                    // Mostly all keys are known: loops without a branch between rows.
                    if hinted().fold(true, |all, (row, hint)| all & is_at(hint, key_of(row))) {
                        hints.iter().for_each(|slot| changes.mark(*slot));
                        out.extend_from_slice(hints);
                        continue;
                    }
                    for (row, hint) in hinted() {
                        let key = key_of(row);
                        let slot = if key.is_some_and(|k| SlotKeys::is(store, hint, k)) {
                            hint
                        } else {
                            let group = || key_group_of(placement_hashes[row], max_parallelism);
                            rows.slot_of(store, key, index_hashes[row], group)
                                .map_err(|Full| StateError::TooManyKeys {
                                    table: descriptor.name.clone(),
                                })?
                        };
                        changes.mark(slot);
                        out.push(slot);
                    }
                }
            }};
        }
        match (
            store,
            keys::probe(descriptor, *form, keys, index_hashes.len(), scratch)?,
        ) {
            (KeyStore::Number(store), ProbeKeys::Number(values, None)) => {
                look_up!(store, |row: usize| Some(values[row]));
            }
            (KeyStore::Number(store), ProbeKeys::Number(values, Some(nulls))) => {
                look_up!(store, |row: usize| nulls.is_valid(row).then(|| values[row]));
            }
            (KeyStore::Blob(store), ProbeKeys::Text(values, nulls)) => {
                look_up!(store, |row: usize| nulls
                    .is_none_or(|n| n.is_valid(row))
                    .then(|| values.value(row).as_bytes()));
            }
            (KeyStore::Blob(store), ProbeKeys::Binary(values, nulls)) => {
                look_up!(store, |row: usize| nulls
                    .is_none_or(|n| n.is_valid(row))
                    .then(|| values.value(row)));
            }
            (KeyStore::Blob(store), ProbeKeys::Encoded(values)) => {
                look_up!(store, |row: usize| Some(values.row(row)));
            }
            (KeyStore::Number(_), _) | (KeyStore::Blob(_), ProbeKeys::Number(..)) => {
                unreachable!("store and probe keys are both made by the table's key form")
            }
        }
        let slots = rows.slots();
        for column in &mut self.columns {
            column.grow_to(slots);
        }
        if let Some(tier) = &mut self.tier {
            tier.written(&out[first..]);
        }
        Ok(())
    }

    /// The slot of each row's key, or [`NO_SLOT`], appended to `out`; nothing is made or marked.
    ///
    /// # Errors
    /// If the columns are not of the key's types.
    pub fn find(&mut self, keys: &[ArrayRef], hashes: &[u64], out: &mut Vec<u32>) -> Result<(), StateError> {
        if self.tier.is_none() {
            return self.find_in_memory(keys, hashes, out);
        }
        self.load(keys, hashes, None)?;
        let first = out.len();
        self.find_in_memory(keys, hashes, out)?;
        if let Some(tier) = &mut self.tier {
            tier.touched(&out[first..]);
        }
        Ok(())
    }

    fn find_in_memory(&mut self, keys: &[ArrayRef], hashes: &[u64], out: &mut Vec<u32>) -> Result<(), StateError> {
        let probe = keys::probe(&self.descriptor, self.form, keys, hashes.len(), &mut self.scratch)?;
        let rows = &self.rows;
        let look_up = |hash: u64, is_key: &dyn Fn(u32) -> bool| match rows.index.find(hash, is_key) {
            Found::Slot(slot) => slot,
            Found::Vacant(_) => NO_SLOT,
        };
        let null_slot = rows.null_slot.unwrap_or(NO_SLOT);
        for (row, &hash) in hashes.iter().enumerate() {
            let slot = match (&self.keys, &probe) {
                (_, ProbeKeys::Number(_, Some(n)) | ProbeKeys::Text(_, Some(n)) | ProbeKeys::Binary(_, Some(n)))
                    if n.is_null(row) =>
                {
                    null_slot
                }
                (KeyStore::Number(store), ProbeKeys::Number(values, _)) => {
                    look_up(hash, &|s| store.get(s as usize) == values[row])
                }
                (KeyStore::Blob(store), ProbeKeys::Text(values, _)) => {
                    look_up(hash, &|s| store.is(s, values.value(row).as_bytes()))
                }
                (KeyStore::Blob(store), ProbeKeys::Binary(values, _)) => {
                    look_up(hash, &|s| store.is(s, values.value(row)))
                }
                (KeyStore::Blob(store), ProbeKeys::Encoded(values)) => look_up(hash, &|s| store.is(s, values.row(row))),
                (KeyStore::Number(_), _) | (KeyStore::Blob(_), ProbeKeys::Number(..)) => NO_SLOT,
            };
            out.push(slot);
        }
        Ok(())
    }

    /// Marks slots as changed since the last capture.
    pub fn mark_changed(&mut self, slots: &[u32]) {
        for &slot in slots {
            self.changes.mark(slot);
        }
        if let Some(tier) = &mut self.tier {
            tier.changed(slots);
        }
    }

    /// Says of slots that they are not as the store has them, where that is no change for increments.
    pub fn mark_newer_than_store(&mut self, slots: &[u32]) {
        if let Some(tier) = &mut self.tier {
            tier.changed(slots);
        }
    }

    /// Removes the keys of `slots`; slots that are free already are left alone.
    pub fn remove(&mut self, slots: &[u32]) {
        for &slot in slots {
            if !self.rows.live.remove(slot) {
                continue;
            }
            let is_null = self.rows.null_slot == Some(slot);
            let group = self.rows.groups.get(slot as usize);
            match &mut self.tier {
                None => self.changes.removed(slot, group, &self.keys, is_null),
                Some(tier) => {
                    let was_written = self.changes.left(slot) || tier.is_stored(slot);
                    let marks = was_written && self.changes.is_tracking();
                    tier.removed(slot, group, &self.keys, is_null, marks);
                }
            }
            self.rows.free_slot(slot);
            self.keys.release(slot);
            for column in &mut self.columns {
                column.reset(slot);
            }
        }
    }

    /// Removes all keys and gives the memory back.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.rows = Rows::default();
        for column in &mut self.columns {
            column.clear();
        }
        if let Some(tier) = &mut self.tier {
            tier.cleared();
        }
        self.changes.cleared();
    }

    /// Number of live keys.
    pub fn len(&self) -> usize {
        self.rows.live_count + self.tier.as_ref().map_or(0, |t| t.cold)
    }

    /// Whether there is no live key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of live keys whose rows are in memory.
    pub fn len_in_memory(&self) -> usize {
        self.rows.live_count
    }

    /// Appends at most `limit` live slots from slot `from` on, ascending, and returns where to go on, or `None` at the end.
    /// Keys may be made and removed between the calls; new ones may or may not be seen. Of a tiered table only rows in memory:
    /// [`Self::next_page`] sees all.
    pub fn scan(&self, from: u32, limit: usize, out: &mut Vec<u32>) -> Option<u32> {
        let before = out.len();
        let mut slots = self.rows.live.iter_from(from);
        out.extend(slots.by_ref().take(limit));
        if out.len() - before < limit {
            return None;
        }
        slots.next()
    }

    /// All live slots, ascending; of a tiered table those whose rows are in memory.
    pub fn live_slots(&self) -> impl Iterator<Item = u32> {
        self.rows.live.iter()
    }

    /// The keys of `slots` as columns of the key's types.
    ///
    /// # Errors
    /// If stored key bytes cannot be decoded, which is a defect of ours.
    pub fn keys(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, StateError> {
        self.keys
            .to_columns(&self.descriptor, self.form, slots, self.rows.null_slot)
    }

    /// Column `index`, as a column of `T`.
    ///
    /// # Panics
    /// If the descriptor has no such column of this type.
    pub fn column<T: Stored>(&self, index: usize) -> &Column<T> {
        T::of(&self.columns[index]).expect("an operator asks for the column types of its own descriptor")
    }

    /// Column `index` of `T`, to be written.
    ///
    /// # Panics
    /// If the descriptor has no such column of this type.
    pub fn column_mut<T: Stored>(&mut self, index: usize) -> &mut Column<T> {
        T::of_mut(&mut self.columns[index]).expect("an operator asks for the column types of its own descriptor")
    }

    /// Columns `a` and `b`, both to be written.
    ///
    /// # Panics
    /// If they are the same column, or the descriptor has no such columns of these types.
    pub fn columns_mut<A: Stored, B: Stored>(&mut self, a: usize, b: usize) -> (&mut Column<A>, &mut Column<B>) {
        let [a, b] = self
            .columns
            .get_disjoint_mut([a, b])
            .expect("an operator asks for two columns of its own descriptor");
        let typed = "an operator asks for the column types of its own descriptor";
        (A::of_mut(a).expect(typed), B::of_mut(b).expect(typed))
    }

    /// Column `index`, of BYTES.
    ///
    /// # Panics
    /// If the descriptor has no such column of this type.
    pub fn bytes_column(&self, index: usize) -> &BytesColumn {
        match &self.columns[index] {
            ColumnData::Bytes(column) => column,
            _ => unreachable!("an operator asks for the column types of its own descriptor"),
        }
    }

    /// Column `index`, of BYTES, to be written.
    ///
    /// # Panics
    /// If the descriptor has no such column of this type.
    pub fn bytes_column_mut(&mut self, index: usize) -> &mut BytesColumn {
        match &mut self.columns[index] {
            ColumnData::Bytes(column) => column,
            _ => unreachable!("an operator asks for the column types of its own descriptor"),
        }
    }

    /// Makes column `index`, which holds bytes in runs, hold values of `V` in memory. Before any key.
    ///
    /// # Panics
    /// If the descriptor has no such column of BYTES.
    pub fn keep_values<V: StateValue>(&mut self, index: usize) {
        assert!(
            self.is_empty() && self.descriptor.columns[index].ty == flott_checkpoint::ColumnType::Bytes,
            "only an empty column of BYTES can hold values"
        );
        self.columns[index] = ColumnData::of_values::<V>();
    }

    /// Column `index`, of values.
    ///
    /// # Panics
    /// If [`Self::keep_values`] was not told this type.
    pub fn values<V: StateValue>(&self, index: usize) -> &ValuesColumn<V> {
        let column = match &self.columns[index] {
            ColumnData::Values(column) => (&*column.0 as &dyn Any).downcast_ref(),
            _ => None,
        };
        column.expect("an operator asks for the column types that it has set")
    }

    /// Column `index`, of values, to be written.
    ///
    /// # Panics
    /// If [`Self::keep_values`] was not told this type.
    pub fn values_mut<V: StateValue>(&mut self, index: usize) -> &mut ValuesColumn<V> {
        let column = match &mut self.columns[index] {
            ColumnData::Values(column) => (&mut *column.0 as &mut dyn Any).downcast_mut(),
            _ => None,
        };
        column.expect("an operator asks for the column types that it has set")
    }

    /// Those of some slots of which no column holds anything.
    pub fn blank_among(&self, slots: &[u32]) -> Vec<u32> {
        let Some((first, others)) = self.columns.split_first() else {
            return slots.to_vec();
        };
        let none_in_first = first.null_among(slots);
        others
            .iter()
            .fold(none_in_first, |blank, column| column.null_among(&blank))
    }

    /// Memory that the table holds, in bytes.
    pub fn bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(ColumnData::bytes).sum();
        let rows = self.rows.index.bytes()
            + self.rows.hashes.capacity() * 8
            + self.rows.groups.bytes()
            + self.rows.live.bytes()
            + self.rows.free.capacity() * 4;
        let tier = self.tier.as_ref().map_or(0, |t| t.bytes());
        self.keys.bytes() + rows + columns + self.changes.bytes() + tier
    }

    /// What the table holds.
    pub fn descriptor(&self) -> &Arc<TableDescriptor> {
        &self.descriptor
    }

    /// The key groups that the table was made for.
    pub fn key_group_range(&self) -> KeyGroupRange {
        self.range
    }

    pub(crate) fn column_data_mut(&mut self, index: usize) -> &mut ColumnData {
        &mut self.columns[index]
    }

    pub(crate) fn max_parallelism(&self) -> usize {
        self.max_parallelism
    }

    pub(crate) fn parts_mut(&mut self) -> (&mut KeyStore, &mut Rows, &mut [ColumnData], &mut Changes) {
        (&mut self.keys, &mut self.rows, &mut self.columns, &mut self.changes)
    }
}

mod budget;
mod by_time;
mod last_pages;
mod tier;

pub use last_pages::LastPages;

pub(crate) use budget::{HotBudget, Share};
pub(crate) use tier::KEPT_EIGHTHS;
pub use tier::{Moves, TableCursor};
pub(crate) use tier::{Tier, sorted};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tier_tests;
