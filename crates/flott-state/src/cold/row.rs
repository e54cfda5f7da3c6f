//! Keys and rows as bytes of a [`super::ColdStore`]: one form for writing, loading and comparing.

use crate::data::ColumnData;
use crate::keys::KeyStore;
use crate::value::DamagedValue;
use flott_checkpoint::ColumnDescriptor;
use flott_core::{CheckpointId, KeyGroup};

/// A key, as its bytes say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyBytes<'a> {
    Null,
    /// The number's bytes, or the key's own.
    Some(&'a [u8]),
}

const NULL: u8 = 0;
const SOME: u8 = 1;

/// Appends the key of a NULL.
pub(crate) fn write_null(out: &mut Vec<u8>) {
    out.push(NULL);
}

/// Appends a key that is a number.
pub(crate) fn write_number(number: i64, out: &mut Vec<u8>) {
    out.push(SOME);
    out.extend_from_slice(&number.to_be_bytes());
}

/// Appends a key that is bytes.
pub(crate) fn write_blob(key: &[u8], out: &mut Vec<u8>) {
    out.push(SOME);
    out.extend_from_slice(key);
}

/// Appends the key of a slot.
pub(crate) fn write_key(keys: &KeyStore, slot: u32, is_null: bool, out: &mut Vec<u8>) {
    match keys {
        _ if is_null => write_null(out),
        KeyStore::Number(keys) => write_number(keys.get(slot as usize), out),
        KeyStore::Blob(keys) => write_blob(keys.get(slot).unwrap_or_default(), out),
    }
}

/// Reads a key group and a key.
pub(crate) fn read_key(bytes: &[u8]) -> Option<(KeyGroup, KeyBytes<'_>)> {
    let (group, key) = bytes.split_first_chunk::<2>()?;
    let (kind, key) = key.split_first()?;
    let key = match *kind {
        NULL => KeyBytes::Null,
        _ => KeyBytes::Some(key),
    };
    Some((KeyGroup::from_be_bytes(*group), key))
}

/// The time that ends a key of several fields, the last of which is a BIGINT that is never NULL: little endian, as
/// [`flott_core::encoding`] writes it.
pub(crate) fn time_of(key: &[u8]) -> i64 {
    key.last_chunk::<8>().map_or(0, |time| i64::from_le_bytes(*time))
}

/// The number of a key that is one.
pub(crate) fn number_of(key: &[u8]) -> Option<i64> {
    key.try_into().ok().map(i64::from_be_bytes)
}

/// Instead of a checkpoint: there is no marker of the row.
pub(crate) const NO_MARK: CheckpointId = CheckpointId::MAX;
/// Bytes in front of the columns.
const HEAD_BYTES: usize = 16;

/// Appends the columns of a slot behind the hash of its key and the checkpoint of its newest marker.
pub(crate) fn write_row(hash: u64, mark: CheckpointId, columns: &[ColumnData], slot: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&hash.to_le_bytes());
    out.extend_from_slice(&mark.to_le_bytes());
    for column in columns {
        column.write_slot(slot, out);
    }
}

/// The hash of a row's key.
pub(crate) fn read_hash(row: &[u8]) -> Option<u64> {
    row.first_chunk::<8>().map(|hash| u64::from_le_bytes(*hash))
}

/// The checkpoint of a row's newest marker, or [`NO_MARK`].
pub(crate) fn read_mark(row: &[u8]) -> Option<CheckpointId> {
    let mark = row.get(8..)?.first_chunk::<8>()?;
    Some(CheckpointId::from_le_bytes(*mark))
}

/// The number that ends a row whose last column is one; nothing is above that of damaged bytes.
pub(crate) fn last_number(row: &[u8]) -> i64 {
    row.last_chunk::<8>()
        .map_or(i64::MIN, |number| i64::from_le_bytes(*number))
}

/// Sets the columns of a slot to those of a row.
///
/// # Errors
/// If the bytes are no row of these columns.
pub(crate) fn read_row(
    row: &[u8],
    descriptors: &[ColumnDescriptor],
    columns: &mut [ColumnData],
    slot: u32,
) -> Result<(), DamagedValue> {
    let mut rest = row.get(HEAD_BYTES..).ok_or(DamagedValue)?;
    for (column, descriptor) in columns.iter_mut().zip(descriptors) {
        column.read_slot(slot, descriptor, &mut rest)?;
    }
    match rest.is_empty() {
        true => Ok(()),
        false => Err(DamagedValue),
    }
}
