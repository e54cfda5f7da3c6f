//! Where rows lie that are not in memory: [`ColdStore`], the narrow wall in front of RocksDB.
//!
//! A store is private to one attempt of a job in one process: nothing that it writes is read by another. What survives an attempt are
//! the runs of checkpoints ([`crate::run`]), in the one form that all backends write and read.
//!
//! ```text
//! row      table u32 | 0 | place                    ->  index hash u64 | checkpoint u64 | column 0 | column 1 | ...  (row)
//! marker   table u32 | 1 | checkpoint u64 | place   ->  nothing: changed or removed behind that checkpoint
//! place    key group u16 | key          of a table by time: time u64 | key group u16 | key
//!          (of a row: that of its newest marker, so that a row which comes and goes has one)
//! key      0: NULL      1, number as 8 bytes      1, the bytes of the key
//! ```
//!
//! Numbers of keys are big endian, so that the rows of a table lie in the order of their key groups, and in one group in the
//! order of their keys' bytes. Those of a table by time ([`RowOrder::Time`]) lie in the order of the times that end their keys, sign
//! turned, so that the earliest are found by one walk.

mod memory;
mod parts;
#[cfg(feature = "rocksdb")]
mod rocks;
pub(crate) mod row;

pub use memory::MemoryStore;
pub(crate) use parts::{ColdCapture, ColdParts};
#[cfg(feature = "rocksdb")]
pub(crate) use rocks::{RocksSettings, RocksStore};

use flott_core::encoding::EncodedRows;
use flott_core::{CheckpointId, KeyGroup};
use std::fmt;
use std::sync::Arc;

/// A store cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}, in {place}")]
pub struct ColdError {
    /// The folder.
    pub place: String,
    /// What went wrong.
    pub problem: String,
}

/// Reads rows.
pub trait ColdRead: fmt::Debug + Send + Sync {
    /// Where the rows are, for messages.
    fn place(&self) -> String;

    /// Calls `found` with the place and the value of each of `keys` that is there; `keys` are ascending, each once.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn get(&self, keys: &EncodedRows, found: &mut dyn FnMut(usize, &[u8])) -> Result<(), ColdError>;

    /// Calls `row` with keys and values from `from` on and before `until`, ascending, until it returns `false`.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn scan(&self, from: &[u8], until: &[u8], row: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), ColdError>;
}

/// Keeps rows beside memory; many threads use one.
pub trait ColdStore: ColdRead {
    /// Carries out all of `batch`, in its order, or nothing.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn write(&self, batch: &ColdBatch) -> Result<(), ColdError>;

    /// The content of this moment; later writes do not show there. Cheap.
    fn snapshot(&self) -> Arc<dyn ColdRead>;
}

/// Writes that belong together.
#[derive(Debug, Default)]
pub struct ColdBatch {
    bytes: Vec<u8>,
    /// What each write is, with the ends of its two byte strings.
    writes: Vec<(Kind, usize, usize)>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Put,
    Delete,
    DeleteRange,
}

/// One write of a [`ColdBatch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColdWrite<'a> {
    /// Sets the value of a key.
    Put(&'a [u8], &'a [u8]),
    /// Takes a key out.
    Delete(&'a [u8]),
    /// Takes all keys out from the first on and before the second.
    DeleteRange(&'a [u8], &'a [u8]),
}

impl ColdBatch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Number of writes.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Takes all writes out.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.writes.clear();
    }

    /// Sets what `value` writes as the value of what `key` writes.
    pub fn put(&mut self, key: impl FnOnce(&mut Vec<u8>), value: impl FnOnce(&mut Vec<u8>)) {
        self.push(Kind::Put, key, value);
    }

    /// Takes the key out that `key` writes.
    pub fn delete(&mut self, key: impl FnOnce(&mut Vec<u8>)) {
        self.push(Kind::Delete, key, |_| {});
    }

    /// Takes all keys out from `from` on and before `until`.
    pub fn delete_range(&mut self, from: &[u8], until: &[u8]) {
        let add = |bytes: &[u8]| {
            let bytes = bytes.to_vec();
            move |out: &mut Vec<u8>| out.extend_from_slice(&bytes)
        };
        self.push(Kind::DeleteRange, add(from), add(until));
    }

    fn push(&mut self, kind: Kind, first: impl FnOnce(&mut Vec<u8>), second: impl FnOnce(&mut Vec<u8>)) {
        first(&mut self.bytes);
        let middle = self.bytes.len();
        second(&mut self.bytes);
        self.writes.push((kind, middle, self.bytes.len()));
    }

    /// The writes, in order.
    pub fn iter(&self) -> impl Iterator<Item = ColdWrite<'_>> {
        let mut start = 0;
        self.writes.iter().map(move |(kind, middle, end)| {
            let (first, second) = (&self.bytes[start..*middle], &self.bytes[*middle..*end]);
            start = *end;
            match kind {
                Kind::Put => ColdWrite::Put(first, second),
                Kind::Delete => ColdWrite::Delete(first),
                Kind::DeleteRange => ColdWrite::DeleteRange(first, second),
            }
        })
    }
}

/// The order in which a table's rows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowOrder {
    /// By key group.
    KeyGroup,
    /// By the number that ends their keys, which are of several fields: [`row::time_of`].
    Time,
}

/// Number of a table in its store, and the order of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableId(pub u32, pub RowOrder);

const ROWS: u8 = 0;
const MARKERS: u8 = 1;
/// Bytes in front of a row's place.
pub(crate) const ROW_PREFIX_BYTES: usize = 5;
/// Bytes in front of a marker's place.
pub(crate) const MARKER_PREFIX_BYTES: usize = ROW_PREFIX_BYTES + 8;
/// Bytes of a time in a place.
const TIME_BYTES: usize = 8;

impl TableId {
    fn prefix(self, kind: u8, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_be_bytes());
        out.push(kind);
    }

    /// Appends the place of what `key` writes.
    pub(crate) fn write_place(self, group: KeyGroup, key: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
        let start = out.len();
        if self.1 == RowOrder::Time {
            out.extend_from_slice(&[0; TIME_BYTES]);
        }
        out.extend_from_slice(&group.to_be_bytes());
        let key_start = out.len();
        key(out);
        if self.1 == RowOrder::Time {
            let time = time_bytes(row::time_of(&out[key_start..]));
            out[start..start + TIME_BYTES].copy_from_slice(&time);
        }
    }

    /// Appends the key in the store of the row whose key `key` writes.
    pub(crate) fn write_row_key(self, group: KeyGroup, key: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
        self.prefix(ROWS, out);
        self.write_place(group, key, out);
    }

    /// Appends the key in the store of a marker.
    pub(crate) fn write_marker_key(
        self,
        checkpoint: CheckpointId,
        group: KeyGroup,
        key: impl FnOnce(&mut Vec<u8>),
        out: &mut Vec<u8>,
    ) {
        self.prefix(MARKERS, out);
        out.extend_from_slice(&checkpoint.to_be_bytes());
        self.write_place(group, key, out);
    }

    /// Appends the key in the store of the row that a marker is about.
    pub(crate) fn write_marked(self, marker: &[u8], out: &mut Vec<u8>) {
        self.prefix(ROWS, out);
        out.extend_from_slice(marker.get(MARKER_PREFIX_BYTES..).unwrap_or_default());
    }

    /// Key group and key of a row's key in the store.
    pub(crate) fn group_and_key(self, row_key: &[u8]) -> &[u8] {
        let skipped = match self.1 {
            RowOrder::KeyGroup => ROW_PREFIX_BYTES,
            RowOrder::Time => ROW_PREFIX_BYTES + TIME_BYTES,
        };
        row_key.get(skipped..).unwrap_or_default()
    }

    /// Of a table by time: the time of a row's key in the store.
    pub(crate) fn time_of(self, row_key: &[u8]) -> Option<i64> {
        let bytes = row_key.get(ROW_PREFIX_BYTES..)?.first_chunk::<TIME_BYTES>()?;
        Some((u64::from_be_bytes(*bytes) ^ SIGN) as i64)
    }

    /// The first key of the rows, and the first behind them.
    pub(crate) fn rows(self) -> (Vec<u8>, Vec<u8>) {
        let (mut from, mut until) = (vec![], vec![]);
        self.prefix(ROWS, &mut from);
        self.prefix(MARKERS, &mut until);
        (from, until)
    }

    /// The first key of the markers of `checkpoint` and later ones, and the first behind them.
    pub(crate) fn markers_since(self, checkpoint: CheckpointId) -> (Vec<u8>, Vec<u8>) {
        let (mut from, mut until) = (vec![], vec![]);
        self.prefix(MARKERS, &mut from);
        from.extend_from_slice(&checkpoint.to_be_bytes());
        self.prefix(MARKERS + 1, &mut until);
        (from, until)
    }
}

const SIGN: u64 = 1 << 63;

/// A time as bytes that compare as it does.
fn time_bytes(time: i64) -> [u8; TIME_BYTES] {
    (time as u64 ^ SIGN).to_be_bytes()
}

#[cfg(test)]
mod tests;
