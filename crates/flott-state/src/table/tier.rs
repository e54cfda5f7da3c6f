//! The tiers of a table whose rows need not all fit into memory: [`Tier`].
//!
//! ```text
//! slots, find ──► memory: a write-back cache of bounded size ──missing, in one get──► cold store
//!                   ▲  relieve: rows that were not asked for lately go, changed ones are written ──►
//! ```
//!
//! * A key is in memory, in the store, or in both; then the row in memory counts, and [`Tier::dirty`] says whether the
//!   store's is older.
//! * Rows leave memory in [`KeyedTable::relieve`] alone, which operators call where they hold no slot: a slot is valid until then. Who goes on
//!   holding some says which ([`KeyedTable::relieve_but`]), and who knows best which can go sends these away ([`KeyedTable::send_away`]).
//! * Removals go to the store with the next access to it; nothing else is read or written in between.
//! * While increments are wanted, each write and removal of a row leaves a *marker* in the store with the checkpoint that came before: an
//!   increment is what is marked behind its base, and what memory has changed since ([`crate::changes`]). So no tombstone is
//!   held in memory, however many keys expire.
//! * A store that failed stays failed: whatever the table is asked next returns the error, and no checkpoint is taken of it.

use super::budget::{HotBudget, Share};
use super::{Full, KeyedTable, NO_SLOT, Rows};
use crate::bitmap::SlotSet;
use crate::cold::row::{self, KeyBytes};
use crate::cold::{ColdBatch, ColdCapture, ColdError, ColdRead, ColdStore, RowOrder, TableId};
use crate::data::ColumnData;
use crate::error::StateError;
use crate::keys::{self, KeyStore};
use arrow_array::ArrayRef;
use flott_checkpoint::{ColumnType, RunRef, TableDescriptor};
use flott_core::encoding::{EncodedRows, RowEncoder};
use flott_core::hash::hash_columns;
use flott_core::key_group::key_group_of;
use flott_core::{CheckpointId, KeyGroup};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Share of the bound that rows are brought down to: so a pass pays for the batches that follow.
pub(crate) const KEPT_EIGHTHS: usize = 7;
/// Rows by which the size of a row is estimated.
const SAMPLED_ROWS: usize = 64;
/// What a slot costs beside its key and columns: hash, key group, and its share of the index and of the bitmaps.
const SLOT_BYTES: usize = 8 + 2 + 16;
/// Writes that go to the store together, and their bytes, about.
const BATCH_WRITES: usize = 4096;
const BATCH_BYTES: usize = 4 << 20;
/// Bytes of rows that a page ends with, about.
const PAGE_BYTES: usize = 4 << 20;
/// For each row that a page may have, so many are looked at.
const LOOKED_AT: usize = 8;
/// Rows of a page, at most.
const PAGE_ROWS: usize = 4096;
/// The size of a row is looked at anew when there are so many more rows, or so many looks later.
const RESAMPLE_SHARE: usize = 16;

/// What a table keeps about its rows in memory and in the store.
#[derive(Debug)]
pub(crate) struct Tier {
    pub(super) store: Arc<dyn ColdStore>,
    pub(super) id: TableId,
    budget: Arc<HotBudget>,
    /// Whether its share of the budget is its own, and not one with other tables.
    has_own_share: bool,
    /// That share, from its first row on.
    share: Option<Share>,
    /// Whether the store may have something of it.
    is_written: bool,
    /// What a row took when it was looked at last: with so many rows, so many looks ago.
    bytes_a_row: usize,
    sampled_live: usize,
    looks: usize,
    /// Slots whose row in the store is missing or older.
    dirty: SlotSet,
    /// Slots whose key has a row in the store.
    stored: SlotSet,
    /// Slots whose key has a marker behind the last capture already.
    marked: SlotSet,
    /// Slots that were asked for since the hand came by.
    recent: SlotSet,
    /// Where the next look for rows that can go begins.
    hand: u32,
    /// Slots that the last look-up made.
    made: SlotSet,
    made_list: Vec<u32>,
    /// Number of keys that are in the store alone.
    pub(super) cold: usize,
    /// Of a table by time: none of them lies before this, in the order of the store.
    pub(super) cold_from: Vec<u8>,
    /// How many markers there are, by the checkpoint before them.
    markers: BTreeMap<CheckpointId, u64>,
    last_capture: CheckpointId,
    /// Removals that are not written yet.
    pending: ColdBatch,
    failure: Option<ColdError>,
    /// Keys that come are in the store under no circumstances.
    only_new: bool,
    /// Rows of the look-up at hand that memory did not have.
    missing: Vec<u32>,
    scratch: Vec<u32>,
    /// What has moved since it was asked for, where somebody asks.
    moves: Option<Moves>,
}

/// Slots whose rows went to the store or came from it: [`KeyedTable::take_moves`].
#[derive(Debug, Default)]
pub struct Moves {
    /// Memory gave their rows up. Others may have come to these slots since.
    pub left: Vec<u32>,
    /// Their rows are in memory and were not, ascending.
    pub came: Vec<u32>,
}

/// How often the hand goes round in search of rows that can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounds {
    One,
    Enough,
}

impl Drop for Tier {
    fn drop(&mut self) {
        if self.is_written && self.failure.is_none() {
            let mut batch = ColdBatch::default();
            batch.delete_range(&self.id.rows().0, &self.id.markers_since(0).1);
            // What stays goes with the store.
            let _ = self.store.write(&batch);
        }
    }
}

impl Tier {
    /// Tiers of table `id` of a store.
    pub(crate) fn new(store: Arc<dyn ColdStore>, id: TableId, budget: Arc<HotBudget>) -> Self {
        Self {
            store,
            id,
            budget,
            has_own_share: true,
            share: None,
            is_written: false,
            bytes_a_row: SLOT_BYTES,
            sampled_live: 0,
            looks: 0,
            dirty: SlotSet::default(),
            stored: SlotSet::default(),
            marked: SlotSet::default(),
            recent: SlotSet::default(),
            hand: 0,
            made: SlotSet::default(),
            made_list: vec![],
            cold: 0,
            cold_from: vec![],
            markers: BTreeMap::new(),
            last_capture: 0,
            pending: ColdBatch::default(),
            failure: None,
            only_new: false,
            missing: vec![],
            scratch: vec![],
            moves: None,
        }
    }

    /// The same for one of several tables that have one share, which their owner takes and keeps to.
    pub(crate) fn sharing(mut self) -> Self {
        self.has_own_share = false;
        self
    }

    fn write(&mut self, batch: &ColdBatch) -> Result<(), ColdError> {
        self.is_written = true;
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.store.write(batch).inspect_err(|e| self.failure = Some(e.clone()))
    }

    /// Writes the removals that wait.
    pub(super) fn settle(&mut self) -> Result<(), ColdError> {
        if self.pending.is_empty() && self.failure.is_none() {
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        let result = self.write(&pending);
        pending.clear();
        self.pending = pending;
        result
    }

    /// Marks a key as changed since the last capture.
    fn mark(&mut self, group: KeyGroup, key: impl FnOnce(&mut Vec<u8>)) {
        let (id, checkpoint) = (self.id, self.last_capture);
        *self.markers.entry(checkpoint).or_default() += 1;
        self.pending
            .put(|out| id.write_marker_key(checkpoint, group, key, out), |_| {});
    }

    /// A row goes for good. `was_written`: whether it may be in some run of a checkpoint.
    pub(super) fn removed(&mut self, slot: u32, group: KeyGroup, keys: &KeyStore, is_null: bool, marks: bool) {
        let was_stored = self.stored.remove(slot);
        self.dirty.remove(slot);
        self.recent.remove(slot);
        let was_marked = self.marked.remove(slot);
        let key = |out: &mut Vec<u8>| row::write_key(keys, slot, is_null, out);
        if was_stored {
            let id = self.id;
            self.pending.delete(|out| id.write_row_key(group, key, out));
        }
        if marks && !was_marked {
            self.mark(group, key);
        }
        if self.pending.len() >= BATCH_WRITES {
            // The failure is told by whatever is asked next.
            let _ = self.settle();
        }
    }

    /// Whether the store has the row of a slot's key.
    pub(super) fn is_stored(&self, slot: u32) -> bool {
        self.stored.contains(slot)
    }

    /// Memory has no row any more.
    fn forgot_all(&mut self) {
        self.dirty.clear();
        self.stored.clear();
        self.marked.clear();
        self.recent.clear();
        self.made.clear();
        self.made_list.clear();
        self.hand = 0;
    }

    /// All rows are gone.
    pub(super) fn cleared(&mut self) {
        let ((from, until), (_, behind)) = (self.id.rows(), self.id.markers_since(0));
        self.pending.clear();
        self.pending.delete_range(&from, &until);
        self.pending.delete_range(&until, &behind);
        self.forgot_all();
        self.markers.clear();
        self.cold = 0;
    }

    /// Slots that a look-up returned and that will be written to.
    pub(super) fn written(&mut self, slots: &[u32]) {
        for slot in self.made_list.drain(..) {
            self.made.remove(slot);
        }
        for row in self.missing.drain(..) {
            let slot = slots[row as usize];
            if !self.stored.contains(slot) && !self.made.contains(slot) {
                self.made.insert(slot);
                self.made_list.push(slot);
            }
        }
        for &slot in slots {
            self.recent.insert(slot);
            self.dirty.insert(slot);
        }
    }

    /// The row of a slot has come from the store.
    pub(super) fn loaded(&mut self, slot: u32, row: &[u8]) {
        self.cold -= 1;
        self.stored.insert(slot);
        if let Some(moves) = &mut self.moves {
            moves.came.push(slot);
        }
        if row::read_mark(row) == Some(self.last_capture) {
            self.marked.insert(slot);
        }
    }

    /// Slots that will be written to.
    pub(super) fn changed(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.dirty.insert(*slot));
    }

    /// Slots that are read.
    pub(super) fn touched(&mut self, slots: &[u32]) {
        for &slot in slots.iter().filter(|s| **s != NO_SLOT) {
            self.recent.insert(slot);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let sets = [&self.dirty, &self.stored, &self.marked, &self.recent, &self.made];
        sets.iter().map(|s| s.bytes()).sum::<usize>() + self.pending.bytes()
    }
}

/// Puts a row of the store into memory, unless its key is there: its slot, and whether it was put.
pub(super) fn put_row(
    (keys, rows, columns): (&mut KeyStore, &mut Rows, &mut [ColumnData]),
    descriptor: &TableDescriptor,
    store: &dyn ColdRead,
    (key, value): (&[u8], &[u8]),
) -> Result<(u32, bool), StateError> {
    let damaged_of = |key_group| StateError::DamagedRow {
        table: descriptor.name.clone(),
        place: store.place(),
        key_group,
    };
    let (group, key) = row::read_key(key).ok_or_else(|| damaged_of(0))?;
    let damaged = || damaged_of(group);
    let hash = row::read_hash(value).ok_or_else(damaged)?;
    let before = rows.live_count;
    let slot = match (keys, key) {
        (KeyStore::Number(keys), KeyBytes::Null) => rows.slot_of(keys, None, hash, || group),
        (KeyStore::Blob(keys), KeyBytes::Null) => rows.slot_of(keys, None, hash, || group),
        (KeyStore::Number(keys), KeyBytes::Some(key)) => {
            let number = row::number_of(key).ok_or_else(damaged)?;
            rows.slot_of(keys, Some(number), hash, || group)
        }
        (KeyStore::Blob(keys), KeyBytes::Some(key)) => rows.slot_of(keys, Some(key), hash, || group),
    };
    let slot = slot.map_err(|Full| StateError::TooManyKeys {
        table: descriptor.name.clone(),
    })?;
    if rows.live_count == before {
        return Ok((slot, false));
    }
    columns.iter_mut().for_each(|c| c.grow_to(rows.slots()));
    row::read_row(value, &descriptor.columns, columns, slot).map_err(|_| damaged())?;
    Ok((slot, true))
}

/// Where [`KeyedTable::next_page`] goes on.
#[derive(Debug, Clone, Default)]
pub struct TableCursor(pub(super) Next);

#[derive(Debug, Clone, Default)]
pub(super) enum Next {
    #[default]
    Start,
    Slot(u32),
    Key(Vec<u8>),
}

impl KeyedTable {
    /// The same table, whose rows need not all be in memory.
    pub(crate) fn with_tier(mut self, tier: Tier) -> Self {
        self.tier = Some(Box::new(tier));
        self
    }

    /// Whether rows may be elsewhere than in memory.
    pub fn is_tiered(&self) -> bool {
        self.tier.is_some()
    }

    /// Whether the last [`Self::slots`] made the slot of a key that it did not have, where it had `before` keys and, unless it is tiered, no
    /// key was ever removed.
    #[inline]
    pub fn is_new(&self, slot: u32, before: usize) -> bool {
        match &self.tier {
            None => slot as usize >= before,
            Some(tier) => tier.made.contains(slot),
        }
    }

    pub(super) fn cold_error(&self, source: ColdError) -> StateError {
        StateError::Cold {
            table: self.descriptor.name.clone(),
            source,
        }
    }

    /// Brings rows into memory that are in the store alone, all in one request.
    pub(super) fn load(
        &mut self,
        keys: &[ArrayRef],
        index_hashes: &[u64],
        placement_hashes: Option<&[u64]>,
    ) -> Result<(), StateError> {
        let Some(tier) = &mut self.tier else { return Ok(()) };
        if let Some(failure) = tier.failure.clone() {
            return Err(self.cold_error(failure));
        }
        let mut slots = std::mem::take(&mut tier.scratch);
        slots.clear();
        self.find_in_memory(keys, index_hashes, &mut slots)?;
        let Some(tier) = &mut self.tier else { return Ok(()) };
        let missing = slots.iter().enumerate().filter(|(_, s)| **s == NO_SLOT);
        tier.missing.clear();
        tier.missing.extend(missing.map(|(row, _)| row as u32));
        tier.scratch = slots;
        if tier.missing.is_empty() || tier.cold == 0 || tier.only_new {
            return Ok(());
        }
        let of_part;
        let placed_by = self.descriptor.placement_fields;
        let placement = match placement_hashes {
            Some(hashes) => hashes,
            None if placed_by == keys.len() => index_hashes,
            None => {
                let hashes = hash_columns(&keys[..placed_by], index_hashes.len());
                of_part = hashes.map_err(|source| StateError::Hash {
                    table: self.descriptor.name.clone(),
                    source,
                })?;
                &of_part
            }
        };
        let probe = keys::probe(&self.descriptor, self.form, keys, index_hashes.len(), &mut self.scratch)?;
        let mut wanted = EncodedRows::default();
        let is_by_time = tier.id.1 == RowOrder::Time;
        let mut row_key = vec![];
        for &row in &tier.missing {
            let group = key_group_of(placement[row as usize], self.max_parallelism);
            let write = |out: &mut Vec<u8>| tier.id.write_row_key(group, |out| probe.write(row as usize, out), out);
            if !is_by_time {
                wanted.push_with(write);
                continue;
            }
            row_key.clear();
            write(&mut row_key);
            // What is due before all that is in the store alone is not there.
            if row_key >= tier.cold_from {
                wanted.push_with(|out| out.extend_from_slice(&row_key));
            }
        }
        drop(probe);
        if wanted.is_empty() {
            return Ok(());
        }
        let wanted = sorted(&wanted);
        let (result, loaded) = {
            let parts = (&mut self.keys, &mut self.rows, &mut self.columns[..]);
            load_rows(tier, parts, &self.descriptor, &wanted)
        };
        result.map_err(|e| self.cold_error(e))?;
        loaded
    }

    /// Makes room where memory holds more than it may: rows that were not asked for lately go to the store.
    ///
    /// Slots that were given out before mean nothing behind this call. Does nothing to a table that is not tiered.
    ///
    /// # Errors
    /// If the store fails; then nothing has gone.
    #[inline]
    pub fn relieve(&mut self) -> Result<(), StateError> {
        self.relieve_but(0, |_| false)
    }

    /// The same while `held` slots are held, those of which `is_held` says so: these stay, and count. So memory may hold more
    /// than its share where much is held, and less than an eighth of it besides.
    ///
    /// # Errors
    /// As [`Self::relieve`].
    #[inline]
    pub fn relieve_but(&mut self, held: usize, is_held: impl Fn(u32) -> bool) -> Result<(), StateError> {
        self.relieve_beside(0, held, is_held)
    }

    /// The same while the operator keeps so many bytes about the rows elsewhere, which count.
    ///
    /// # Errors
    /// As [`Self::relieve`].
    #[inline]
    pub fn relieve_beside(
        &mut self,
        bytes_beside: usize,
        held: usize,
        is_held: impl Fn(u32) -> bool,
    ) -> Result<(), StateError> {
        match &self.tier {
            Some(_) => self.relieve_tier(bytes_beside, held, is_held),
            None => Ok(()),
        }
    }

    fn relieve_tier(
        &mut self,
        bytes_beside: usize,
        held: usize,
        is_held: impl Fn(u32) -> bool,
    ) -> Result<(), StateError> {
        let live = self.rows.live_count;
        let beside = bytes_beside / live.max(1);
        let Some(allowed) = self.allowed_rows(beside).filter(|allowed| live > *allowed) else {
            return Ok(());
        };
        let goes = (live - allowed * KEPT_EIGHTHS / 8).min(live.saturating_sub(held));
        // Where nearly all is held, looking for the rest would take longer than it is worth.
        if held > 0 && goes < allowed / 8 {
            return Ok(());
        }
        // What is kept beside one row may be more than the share: then it stays as long as it is asked for, whatever it takes.
        let rounds = if bytes_beside > 0 { Rounds::One } else { Rounds::Enough };
        let victims = self.victims(goes, is_held, rounds);
        self.send_away(&victims)
    }

    /// From now on notes which rows of a tiered table go to the store and come from it, for who keeps something about those in memory: they
    /// all count as come.
    pub fn track_moves(&mut self) {
        let came: Vec<u32> = self.rows.live.iter().collect();
        if let Some(tier) = &mut self.tier {
            tier.moves = Some(Moves { left: vec![], came });
        }
    }

    /// What has moved since the last call: first what left, then what came and is still there.
    pub fn take_moves(&mut self) -> Moves {
        let moves = self.tier.as_mut().and_then(|tier| tier.moves.as_mut());
        let mut moves = moves.map(std::mem::take).unwrap_or_default();
        moves.came.retain(|slot| self.rows.live.contains(*slot));
        moves.came.sort_unstable();
        moves.came.dedup();
        moves
    }

    /// Rows that a tiered table may hold in memory, where each takes so many bytes more beside the table.
    pub fn allowed_rows(&mut self, bytes_beside: usize) -> Option<usize> {
        let live = self.rows.live_count;
        let tier = self.tier.as_mut()?;
        if tier.has_own_share && tier.share.is_none() && live > 0 {
            tier.share = Some(Share::of(&tier.budget));
        }
        if let Some(rows) = tier.budget.fixed_rows() {
            return Some(rows);
        }
        let bytes_a_row = self.bytes_a_row() + bytes_beside;
        self.tier.as_ref().map(|tier| tier.budget.rows(bytes_a_row))
    }

    /// About how many bytes a row of a tiered table takes in memory: not what the table keeps free for rows to come.
    pub fn bytes_a_row(&mut self) -> usize {
        let live = self.rows.live_count;
        let Some(tier) = &mut self.tier else { return 0 };
        let is_old = tier.looks >= RESAMPLE_SHARE || live > tier.sampled_live + tier.sampled_live / RESAMPLE_SHARE;
        tier.looks += 1;
        if is_old {
            let rows = &self.rows.live;
            let sample = rows
                .iter_from(tier.hand)
                .chain(rows.iter())
                .take(SAMPLED_ROWS.min(live));
            let sample: Vec<u32> = sample.collect();
            let columns = self.columns.iter().map(|c| c.bytes_a_slot(&sample, live));
            tier.bytes_a_row = SLOT_BYTES + self.keys.bytes_a_slot(live) + columns.sum::<usize>();
            (tier.looks, tier.sampled_live) = (0, live);
        }
        tier.bytes_a_row
    }

    /// Lets `count` rows go that were not asked for lately.
    pub(crate) fn send_some_away(&mut self, count: usize) -> Result<(), StateError> {
        let victims = self.victims(count, |_| false, Rounds::Enough);
        self.send_away(&victims)
    }

    /// Lets rows go from memory; the store has them then. Who lets all go gets their memory back.
    ///
    /// # Errors
    /// If the store fails; then none has gone.
    pub fn send_away(&mut self, slots: &[u32]) -> Result<(), StateError> {
        self.write_rows(slots)?;
        self.forget_in_memory(slots);
        if self.rows.live_count == 0 {
            self.keys.clear();
            self.rows = Rows::default();
            self.columns.iter_mut().for_each(ColumnData::clear);
            if let Some(tier) = &mut self.tier {
                tier.forgot_all();
            }
        }
        Ok(())
    }

    /// Lets all rows go.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) fn send_all_away(&mut self) -> Result<(), StateError> {
        let all: Vec<u32> = self.rows.live.iter().collect();
        self.send_away(&all)
    }

    /// Goes on with the rows of a table that was filled ahead and has none in memory ([`Self::send_all_away`]), if this one has no row and is of
    /// the same form: whether it does.
    pub(crate) fn take_over(&mut self, mut filled: KeyedTable) -> bool {
        let is_same = self.descriptor == filled.descriptor
            && (self.max_parallelism, self.range) == (filled.max_parallelism, filled.range);
        if !is_same || !self.is_empty() || filled.rows.live_count > 0 {
            return false;
        }
        let (Some(own), Some(of_filled)) = (&mut self.tier, &mut filled.tier) else {
            return false;
        };
        if own.id.1 != of_filled.id.1 {
            return false;
        }
        // How its operator uses it does not lie in the store.
        std::mem::swap(&mut own.budget, &mut of_filled.budget);
        std::mem::swap(&mut own.has_own_share, &mut of_filled.has_own_share);
        std::mem::swap(&mut own.only_new, &mut of_filled.only_new);
        std::mem::swap(&mut own.moves, &mut of_filled.moves);
        of_filled.share = None;
        std::mem::swap(own, of_filled);
        true
    }

    /// Slots that nobody holds and that were not asked for since the hand came by, `count` of them; if all were, the first ones, unless there is
    /// but one round.
    fn victims(&mut self, count: usize, is_held: impl Fn(u32) -> bool, rounds: Rounds) -> Vec<u32> {
        let Some(tier) = &mut self.tier else { return vec![] };
        let mut victims = Vec::with_capacity(count);
        let mut is_victim = SlotSet::default();
        let begin = tier.hand;
        // The first round takes the marks away, so the second finds enough.
        for round in 0..3 {
            let hand = tier.hand;
            for slot in self.rows.live.iter_from(hand) {
                if victims.len() == count || (rounds == Rounds::One && round > 0 && slot >= begin) {
                    return victims;
                }
                tier.hand = slot + 1;
                if !tier.recent.remove(slot) && !is_victim.contains(slot) && !is_held(slot) {
                    is_victim.insert(slot);
                    victims.push(slot);
                }
            }
            tier.hand = 0;
            if rounds == Rounds::One && (round > 0 || begin == 0) {
                break;
            }
        }
        victims
    }

    /// Writes those of `slots` to the store that it has not, or not as they are.
    fn write_rows(&mut self, slots: &[u32]) -> Result<(), StateError> {
        let marks = self.changes.is_tracking();
        let confirmed = self.changes.confirmed();
        let Self {
            tier: Some(tier),
            rows,
            columns,
            keys,
            changes,
            ..
        } = self
        else {
            return Ok(());
        };
        let mut result = Ok(());
        let mut rest = slots;
        while !rest.is_empty() && result.is_ok() {
            let mut taken = 0;
            for &slot in rest.iter().take(BATCH_WRITES) {
                taken += 1;
                if !tier.dirty.contains(slot) {
                    continue;
                }
                let (group, is_null) = (rows.groups.get(slot as usize), rows.null_slot == Some(slot));
                let id = tier.id;
                let key = |out: &mut Vec<u8>| row::write_key(keys, slot, is_null, out);
                let row_key = |out: &mut Vec<u8>| id.write_row_key(group, key, out);
                let hash = rows.hashes[slot as usize];
                // What the checkpoint before has as it is now need not go into the next.
                if marks && !tier.marked.contains(slot) && changes.is_changed(slot, confirmed) {
                    tier.mark(group, key);
                    tier.marked.insert(slot);
                }
                let mark = match tier.marked.contains(slot) {
                    true => tier.last_capture,
                    false => row::NO_MARK,
                };
                tier.pending
                    .put(row_key, |out| row::write_row(hash, mark, columns, slot, out));
                if tier.pending.bytes() >= BATCH_BYTES {
                    break;
                }
            }
            let (written, left) = rest.split_at(taken);
            rest = left;
            result = tier.settle();
            if result.is_ok() {
                for &slot in written {
                    if tier.dirty.remove(slot) {
                        tier.stored.insert(slot);
                    }
                }
            }
        }
        result.map_err(|e| self.cold_error(e))
    }

    /// Frees slots whose rows are in the store as they are.
    pub(super) fn forget_in_memory(&mut self, slots: &[u32]) {
        let Self {
            tier: Some(tier),
            rows,
            columns,
            keys,
            changes,
            ..
        } = self
        else {
            return;
        };
        let mut row_key = vec![];
        for &slot in slots {
            if !rows.live.remove(slot) {
                continue;
            }
            if tier.id.1 == RowOrder::Time {
                let (group, is_null) = (rows.groups.get(slot as usize), rows.null_slot == Some(slot));
                row_key.clear();
                tier.id
                    .write_row_key(group, |out| row::write_key(keys, slot, is_null, out), &mut row_key);
                if tier.cold == 0 || row_key < tier.cold_from {
                    tier.cold_from.clone_from(&row_key);
                }
            }
            changes.left(slot);
            if let Some(moves) = &mut tier.moves {
                moves.left.push(slot);
            }
            tier.stored.remove(slot);
            tier.marked.remove(slot);
            tier.recent.remove(slot);
            rows.free_slot(slot);
            keys.release(slot);
            columns.iter_mut().for_each(|c| c.reset(slot));
            tier.cold += 1;
        }
    }

    /// Appends slots of the next `limit` keys to `out`, wherever their rows are, and says whether there are more; each key that lives all
    /// the while comes once. Slots of earlier pages may go ([`Self::relieve`]) and keys be removed in between; what is written to is
    /// marked with [`Self::mark_changed`].
    ///
    /// # Errors
    /// If rows cannot be read.
    pub fn next_page(
        &mut self,
        cursor: &mut TableCursor,
        limit: usize,
        out: &mut Vec<u32>,
    ) -> Result<bool, StateError> {
        if self.tier.is_none() {
            let from = match cursor.0 {
                Next::Slot(slot) => slot,
                Next::Start | Next::Key(_) => 0,
            };
            let next = self.scan(from, limit, out);
            cursor.0 = next.map_or(Next::Start, Next::Slot);
            return Ok(next.is_some());
        }
        self.next_page_where(cursor, (limit, limit), |_| true, out)
    }

    /// The same of a tiered table for keys whose value in the last column, an I64 that only grows, is not above `until` (NULL is as 0): first
    /// `out` gets all slots that memory has, whatever their value, then those of the next keys of the store that are wanted, at most `limit` of
    /// some times as many that are looked at. The others are not brought into memory. A key may come twice, and have grown above `until`.
    ///
    /// # Errors
    /// If rows cannot be read.
    pub fn next_page_until(
        &mut self,
        cursor: &mut TableCursor,
        limit: usize,
        until: i64,
        out: &mut Vec<u32>,
    ) -> Result<bool, StateError> {
        let last = self.descriptor.columns.last();
        debug_assert!(last.is_some_and(|c| c.ty == ColumnType::I64));
        if let (Next::Start, Some(tier)) = (&cursor.0, &self.tier) {
            out.extend(self.rows.live.iter());
            if tier.cold == 0 {
                return Ok(false);
            }
            cursor.0 = Next::Key(tier.id.rows().0);
        }
        let limits = (limit, limit.saturating_mul(LOOKED_AT));
        self.next_page_where(cursor, limits, |row| row::last_number(row) <= until, out)
    }

    fn next_page_where(
        &mut self,
        cursor: &mut TableCursor,
        limits: (usize, usize),
        is_wanted: impl Fn(&[u8]) -> bool,
        out: &mut Vec<u32>,
    ) -> Result<bool, StateError> {
        if matches!(cursor.0, Next::Start | Next::Slot(_)) {
            // From here on the store has all keys, so its order is that of the pages.
            let dirty: Vec<u32> = self.rows.live.iter().collect();
            self.write_rows(&dirty)?;
        }
        let Some(tier) = &self.tier else { return Ok(false) };
        let (first, until) = tier.id.rows();
        let from = match std::mem::take(&mut cursor.0) {
            Next::Key(key) => key,
            Next::Start | Next::Slot(_) => first,
        };
        let next = self.load_page(&from, &until, limits, is_wanted, out)?;
        let more = next.is_some();
        cursor.0 = next.map_or(Next::Start, Next::Key);
        Ok(more)
    }

    /// Brings the first rows that the store has from key `from` on and before `until` into memory that are wanted as they are there, at most so
    /// many of so many that are looked at, and appends their slots: where to go on, if there are more.
    fn load_page(
        &mut self,
        from: &[u8],
        until: &[u8],
        (wanted, looked_at): (usize, usize),
        is_wanted: impl Fn(&[u8]) -> bool,
        out: &mut Vec<u32>,
    ) -> Result<Option<Vec<u8>>, StateError> {
        let Self {
            tier: Some(tier),
            rows,
            columns,
            keys,
            descriptor,
            ..
        } = self
        else {
            return Ok(None);
        };
        let (mut taken, mut seen, mut bytes, mut problem, mut next) = (0, 0, 0, None, None);
        let settled = tier.settle();
        let (id, store) = (tier.id, Arc::clone(&tier.store));
        let scanned = settled.and_then(|()| {
            store.scan(from, until, &mut |key, value| {
                if taken == wanted || seen == looked_at || bytes >= PAGE_BYTES {
                    next = Some(key.to_vec());
                    return false;
                }
                seen += 1;
                if !is_wanted(value) {
                    return true;
                }
                taken += 1;
                bytes += value.len();
                let key = id.group_and_key(key);
                let parts = (&mut *keys, &mut *rows, &mut columns[..]);
                match put_row(parts, descriptor, store.as_ref(), (key, value)) {
                    Ok((slot, is_loaded)) => {
                        if is_loaded {
                            tier.loaded(slot, value);
                        }
                        out.push(slot);
                    }
                    Err(e) => problem = Some(e),
                }
                problem.is_none()
            })
        });
        scanned.map_err(|e| self.cold_error(e))?;
        match problem {
            Some(problem) => Err(problem),
            None => Ok(next),
        }
    }

    /// Calls `visit` with slots of all keys of a tiered table whose first fields, those that place them, are a row of `prefixes`, wherever
    /// their rows lie: some thousands at a time, which `visit` may remove or let go. `placement_hashes` are those of the rows.
    ///
    /// # Errors
    /// If rows cannot be read, or `visit` fails.
    pub fn for_each_beginning_with<E: From<StateError>>(
        &mut self,
        prefixes: &[ArrayRef],
        placement_hashes: &[u64],
        mut visit: impl FnMut(&mut Self, &[u32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(tier) = &self.tier else { return Ok(()) };
        // The store must know each key; the row in memory may be newer. Rows that are sent away go together, so that memory has none of these.
        let is_unknown = |slot: &u32| !tier.only_new && !tier.stored.contains(*slot);
        let unknown: Vec<u32> = self.rows.live.iter().filter(is_unknown).collect();
        let id = tier.id;
        self.write_rows(&unknown)?;
        let encoder = RowEncoder::of_keys(prefixes).map_err(|source| StateError::Keys {
            table: self.descriptor.name.clone(),
            source,
        })?;
        let (mut prefix, mut from, mut slots) = (vec![], vec![], vec![]);
        for (row, &hash) in placement_hashes.iter().enumerate() {
            prefix.clear();
            encoder.encode(row, &mut prefix);
            let group = key_group_of(hash, self.max_parallelism);
            from.clear();
            id.write_row_key(group, |out| row::write_blob(&prefix, out), &mut from);
            let until = behind(&from);
            let mut next = Some(from.clone());
            while let Some(from) = next {
                slots.clear();
                next = self.load_page(&from, &until, (PAGE_ROWS, PAGE_ROWS), |_| true, &mut slots)?;
                visit(self, &slots)?;
            }
        }
        Ok(())
    }

    /// Removes all keys that [`Self::for_each_beginning_with`] visits.
    ///
    /// # Errors
    /// If rows cannot be read.
    pub fn remove_beginning_with(&mut self, prefixes: &[ArrayRef], placement_hashes: &[u64]) -> Result<(), StateError> {
        self.for_each_beginning_with(prefixes, placement_hashes, |table, slots| {
            table.remove(slots);
            Ok(())
        })
    }

    /// Puts a row of a store into a table that has none; the bytes are those behind the table's prefix.
    ///
    /// # Errors
    /// If they are no row of this table.
    pub(crate) fn put_stored(&mut self, store: &dyn ColdRead, row: (&[u8], &[u8])) -> Result<(), StateError> {
        let parts = (&mut self.keys, &mut self.rows, &mut self.columns[..]);
        put_row(parts, &self.descriptor, store, row).map(drop)
    }

    /// Says that the keys that come are in the store under no circumstances, so that nobody looks.
    /// What was said before.
    pub(crate) fn expect_new_keys(&mut self, only_new: bool) -> bool {
        let before = self.tier.as_mut();
        before.is_some_and(|tier| std::mem::replace(&mut tier.only_new, only_new))
    }

    /// Says that the table was filled from these runs of `checkpoint` alone, so that the next increment continues them.
    pub(crate) fn continue_chain(&mut self, checkpoint: CheckpointId, runs: Vec<RunRef>) {
        self.changes.continues(checkpoint, Arc::new(runs), &self.rows.live);
        if let Some(tier) = &mut self.tier {
            tier.last_capture = checkpoint;
        }
    }

    /// What the store holds at this moment, for a capture; `since` is the checkpoint that an increment would continue.
    pub(crate) fn capture_cold(
        &mut self,
        checkpoint: CheckpointId,
        since: Option<CheckpointId>,
    ) -> Option<Result<ColdCapture, StateError>> {
        let tier = self.tier.as_mut()?;
        if let Some(since) = since {
            let kept = tier.markers.split_off(&since);
            if !tier.markers.is_empty() {
                let ((from, _), (until, _)) = (tier.id.markers_since(0), tier.id.markers_since(since));
                tier.pending.delete_range(&from, &until);
            }
            tier.markers = kept;
        }
        tier.last_capture = checkpoint;
        tier.marked.clear();
        let captured = tier.settle().map(|()| ColdCapture {
            read: tier.store.snapshot(),
            table: tier.id,
            rows: tier.cold,
            markers: tier.markers.values().sum(),
            since,
        });
        Some(captured.map_err(|e| self.cold_error(e)))
    }
}

type Parts<'t> = (&'t mut KeyStore, &'t mut Rows, &'t mut [ColumnData]);

/// Loads rows by their keys: what came of the store, and what of the rows.
fn load_rows(
    tier: &mut Tier,
    (keys, rows, columns): Parts<'_>,
    descriptor: &TableDescriptor,
    wanted: &EncodedRows,
) -> (Result<(), ColdError>, Result<(), StateError>) {
    let mut loaded = Ok(());
    let read = tier.settle().and_then(|()| {
        let (id, store) = (tier.id, Arc::clone(&tier.store));
        store.get(wanted, &mut |index, value| {
            if loaded.is_err() {
                return;
            }
            let key = id.group_and_key(wanted.row(index));
            let parts = (&mut *keys, &mut *rows, &mut *columns);
            match put_row(parts, descriptor, store.as_ref(), (key, value)) {
                Ok((slot, true)) => tier.loaded(slot, value),
                Ok((_, false)) => {}
                Err(e) => loaded = Err(e),
            }
        })
    });
    (read, loaded)
}

/// The first bytes behind all that begin with `prefix`.
fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut bytes = prefix.to_vec();
    while let Some(last) = bytes.pop() {
        if last < u8::MAX {
            bytes.push(last + 1);
            break;
        }
    }
    bytes
}

/// The rows in order, each once.
pub(crate) fn sorted(rows: &EncodedRows) -> EncodedRows {
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    order.sort_unstable_by(|a, b| rows.row(*a as usize).cmp(rows.row(*b as usize)));
    order.dedup_by(|a, b| rows.row(*a as usize) == rows.row(*b as usize));
    let mut sorted = EncodedRows::default();
    for row in order {
        sorted.push_with(|out| out.extend_from_slice(rows.row(row as usize)));
    }
    sorted
}
