//! What a capture holds beside memory, as runs: [`ColdCapture`], read piece by piece by [`ColdParts`].
//!
//! A full capture of a tiered table is base runs with no key in common: some of the store's rows each, without those whose row in memory
//! counts, and one of memory's rows. An increment is delta runs: first what is marked since its base, rows where the store still has
//! them and tombstones where it has not, then what memory has changed, which is newer. All runs of the first kind are of bounded
//! size, so that no checkpoint needs memory for all rows.

use super::row::{self, KeyBytes};
use super::{ColdRead, ROW_PREFIX_BYTES, RowOrder, TableId};
use crate::capture::TableCapture;
use crate::changes::{Tombstone, TombstoneKey};
use crate::chunk::Captured;
use crate::error::StateError;
use crate::keys::{CapturedKeys, KeyForm};
use crate::run::EncodedRun;
use crate::table::{KeyedTable, sorted};
use flott_checkpoint::{RunKind, TableDescriptor};
use flott_core::encoding::EncodedRows;
use flott_core::{CheckpointId, KeyGroup, KeyGroupRange};
use std::cmp::Ordering;
use std::sync::Arc;

/// Bytes of the store that become one run: what a part costs in memory, three times with its rows and its encoding, for each subtask at once, and
/// what a restore reads at once.
const PART_BYTES: usize = 4 * 1024 * 1024;
/// Markers that are followed in one get.
const MARKERS_AT_ONCE: usize = 128;

/// A table's rows in its store at one moment.
#[derive(Debug, Clone)]
pub(crate) struct ColdCapture {
    pub(crate) read: Arc<dyn ColdRead>,
    pub(crate) table: TableId,
    /// Number of keys that memory has not.
    pub(crate) rows: usize,
    /// Number of markers since `since`.
    pub(crate) markers: u64,
    /// The checkpoint that an increment would continue.
    pub(crate) since: Option<CheckpointId>,
}

/// The runs of a [`ColdCapture`], made one after the other.
#[derive(Debug)]
pub(crate) struct ColdParts {
    cold: ColdCapture,
    descriptor: Arc<TableDescriptor>,
    max_parallelism: usize,
    /// End of the window slice, if it is the table of one.
    namespace: Option<i64>,
    range: KeyGroupRange,
    kind: RunKind,
    /// Of a full capture: what memory has.
    hot: Option<HotKeys>,
    /// Where in the store the next part begins; `None`: there is none.
    from: Option<Vec<u8>>,
    until: Vec<u8>,
    part_bytes: usize,
}

impl ColdParts {
    /// The parts of a capture; `None` if there is nothing to read. `is_delta`: what is marked, else all rows.
    ///
    /// # Errors
    /// If the store failed when the table was captured.
    pub(crate) fn of(capture: &TableCapture, is_delta: bool) -> Result<Option<Self>, StateError> {
        let cold = match &capture.cold {
            None => return Ok(None),
            Some(Ok(cold)) => cold.clone(),
            Some(Err(error)) => return Err(error.again()),
        };
        let is_empty = if is_delta { cold.markers == 0 } else { cold.rows == 0 };
        if is_empty {
            return Ok(None);
        }
        let table = cold.table;
        let (from, until) = match is_delta {
            true => cold.table.markers_since(cold.since.unwrap_or_default()),
            false => cold.table.rows(),
        };
        Ok(Some(Self {
            cold,
            descriptor: Arc::clone(&capture.descriptor),
            max_parallelism: capture.max_parallelism,
            namespace: capture.namespace,
            range: capture.range,
            kind: if is_delta { RunKind::Delta } else { RunKind::Base },
            hot: (!is_delta).then(|| HotKeys::of(capture, table)),
            from: Some(from),
            until,
            part_bytes: PART_BYTES,
        }))
    }

    /// The same in parts of so many bytes.
    #[cfg(test)]
    pub(crate) fn of_bytes(mut self, part_bytes: usize) -> Self {
        self.part_bytes = part_bytes;
        self
    }

    /// The next run: CPU work and reading, for a blocking thread.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) fn next(&mut self) -> Result<Option<EncodedRun>, StateError> {
        while let Some(from) = self.from.take() {
            let mut table = KeyedTable::new(Arc::clone(&self.descriptor), self.max_parallelism, self.range);
            let mut removed = vec![];
            match self.kind {
                RunKind::Base => self.read_rows(&from, &mut table)?,
                RunKind::Delta => self.follow_markers(from, &mut table, &mut removed)?,
            }
            if !table.is_empty() || !removed.is_empty() {
                let mut capture = table.capture(0);
                capture.namespace = self.namespace;
                let slots: Vec<u32> = capture.live.iter().collect();
                let mut run = capture.encode_rows(self.kind, slots, removed.iter().collect());
                // A restore of other groups need not look into it.
                let rows = capture.live.iter().map(|slot| capture.groups.get(slot as usize));
                let groups = rows.chain(removed.iter().map(|tombstone| tombstone.group));
                if let Some((first, last)) = groups.fold(None, |range: Option<(KeyGroup, KeyGroup)>, group| {
                    let (first, last) = range.unwrap_or((group, group));
                    Some((first.min(group), last.max(group)))
                }) {
                    run.reference.key_groups = KeyGroupRange {
                        start: first,
                        end: last,
                    };
                }
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// Whether [`Self::next`] has nothing more.
    pub(crate) fn is_done(&self) -> bool {
        self.from.is_none()
    }

    fn failed(&self, source: super::ColdError) -> StateError {
        StateError::Cold {
            table: self.descriptor.name.clone(),
            source,
        }
    }

    fn read_rows(&mut self, from: &[u8], table: &mut KeyedTable) -> Result<(), StateError> {
        let (mut bytes, mut problem, mut next) = (0, None, None);
        let (hot, part_bytes, id) = (&mut self.hot, self.part_bytes, self.cold.table);
        let read = self.cold.read.as_ref();
        let scanned = read.scan(from, &self.until, &mut |key, value| {
            if bytes >= part_bytes {
                next = Some(key.to_vec());
                return false;
            }
            if hot.as_mut().is_some_and(|hot| hot.pass(&key[ROW_PREFIX_BYTES..])) {
                return true;
            }
            let key = id.group_and_key(key);
            bytes += key.len() + value.len();
            problem = table.put_stored(read, (key, value)).err();
            problem.is_none()
        });
        scanned.map_err(|e| self.failed(e))?;
        self.from = next;
        problem.map_or(Ok(()), Err)
    }

    fn follow_markers(
        &mut self,
        from: Vec<u8>,
        table: &mut KeyedTable,
        removed: &mut Vec<Tombstone>,
    ) -> Result<(), StateError> {
        let (mut bytes, mut from) = (0, Some(from));
        while let Some(start) = from.take() {
            if bytes >= self.part_bytes {
                from = Some(start);
                break;
            }
            let mut keys = EncodedRows::default();
            let id = self.cold.table;
            let scanned = self.cold.read.scan(&start, &self.until, &mut |key, _| {
                if keys.len() == MARKERS_AT_ONCE {
                    from = Some(key.to_vec());
                    return false;
                }
                keys.push_with(|out| id.write_marked(key, out));
                true
            });
            scanned.map_err(|e| self.failed(e))?;
            let keys = sorted(&keys);
            let mut is_found = vec![false; keys.len()];
            let mut problem = None;
            let read = self.cold.read.get(&keys, &mut |index, value| {
                is_found[index] = true;
                bytes += keys.row(index).len() + value.len();
                let row = (id.group_and_key(keys.row(index)), value);
                if let Err(e) = table.put_stored(self.cold.read.as_ref(), row) {
                    problem.get_or_insert(e);
                }
            });
            read.map_err(|e| self.failed(e))?;
            if let Some(problem) = problem {
                return Err(problem);
            }
            for (key, _) in keys.iter().zip(is_found).filter(|(_, found)| !found) {
                bytes += key.len();
                removed.push(self.tombstone(id.group_and_key(key))?);
            }
        }
        self.from = from;
        Ok(())
    }

    fn tombstone(&self, key: &[u8]) -> Result<Tombstone, StateError> {
        let damaged_of = |key_group| StateError::DamagedRow {
            table: self.descriptor.name.clone(),
            place: self.cold.read.place(),
            key_group,
        };
        let (group, key) = row::read_key(key).ok_or_else(|| damaged_of(0))?;
        let damaged = || damaged_of(group);
        let is_number = KeyForm::of(&self.descriptor.key) == KeyForm::Number;
        let key = match key {
            KeyBytes::Null => TombstoneKey::Null,
            KeyBytes::Some(key) if is_number => TombstoneKey::Number(row::number_of(key).ok_or_else(damaged)?),
            KeyBytes::Some(key) => TombstoneKey::Blob(key.into()),
        };
        Ok(Tombstone { group, key })
    }
}

/// The keys that memory had, in the order of the store.
#[derive(Debug)]
struct HotKeys {
    table: TableId,
    keys: CapturedKeys,
    groups: Captured<KeyGroup>,
    null_slot: Option<u32>,
    slots: Vec<u32>,
    /// The first that the walk has not passed.
    at: usize,
    scratch: Vec<u8>,
}

impl HotKeys {
    fn of(capture: &TableCapture, table: TableId) -> Self {
        let mut hot = Self {
            table,
            keys: capture.keys.clone(),
            groups: capture.groups.clone(),
            null_slot: capture.null_slot,
            slots: capture.live.iter().collect(),
            at: 0,
            scratch: vec![],
        };
        let mut slots = std::mem::take(&mut hot.slots);
        slots.sort_unstable_by(|a, b| hot.compare(*a, *b));
        hot.slots = slots;
        hot
    }

    /// The order of [`super::row`]'s bytes.
    fn compare(&self, a: u32, b: u32) -> Ordering {
        let group = |slot: u32| self.groups.get(slot as usize);
        let is_some = |slot: u32| self.null_slot != Some(slot);
        let time = |slot: u32| match (&self.keys, self.table.1) {
            (CapturedKeys::Blob(keys), RowOrder::Time) => row::time_of(keys.get(slot).unwrap_or_default()),
            _ => 0,
        };
        time(a)
            .cmp(&time(b))
            .then(group(a).cmp(&group(b)))
            .then(is_some(a).cmp(&is_some(b)))
            .then_with(|| match &self.keys {
                // Bytes of numbers compare as unsigned ones.
                CapturedKeys::Number(keys) => (keys.get(a as usize) as u64).cmp(&(keys.get(b as usize) as u64)),
                CapturedKeys::Blob(keys) => keys.get(a).cmp(&keys.get(b)),
            })
    }

    /// Whether memory has the key of this place, which is not before the last one asked for.
    fn pass(&mut self, place: &[u8]) -> bool {
        while let Some(&slot) = self.slots.get(self.at) {
            self.scratch.clear();
            let group = self.groups.get(slot as usize);
            let key = |out: &mut Vec<u8>| match &self.keys {
                _ if self.null_slot == Some(slot) => row::write_null(out),
                CapturedKeys::Number(keys) => row::write_number(keys.get(slot as usize), out),
                CapturedKeys::Blob(keys) => row::write_blob(keys.get(slot).unwrap_or_default(), out),
            };
            self.table.write_place(group, key, &mut self.scratch);
            match self.scratch.as_slice().cmp(place) {
                Ordering::Less => self.at += 1,
                Ordering::Equal => return true,
                Ordering::Greater => return false,
            }
        }
        false
    }
}
