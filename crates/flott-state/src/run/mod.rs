//! Runs: rows of a keyed table as bytes, ordered by key group, so that a restore opens only its ranges.
//!
//! Format version 2, all numbers little endian:
//!
//! ```text
//! header   magic "FLRN" | version u16 | kind u8 (0 base, 1 delta) | key form u8 | column count u16
//!          keys:        packing
//!          per column:  type u8 | nullable u8 | packing
//!          packing      width u8 | base i128
//!          block count u32
//!          per block:   key group u16 | rows u32 | tombstones u32 | length u64 | crc32c u32
//! blocks   one after the other, by ascending key group; a group with many rows has several
//! block    keys of tombstones | keys of rows | column 0 | column 1 | ...
//! ```
//!
//! * Packed values: `width` bytes each (0, 1, 2, 4, 8 or 16), to which `base` is added ([`crate::pack`]). The packing of what
//!   is not of fixed width is zero.
//! * Keys of form 0 (one integer-like field): position of the NULL key among them u32 (none: 2^32 − 1), then the packed
//!   numbers; those of tombstones 8 bytes each.
//! * Keys of form 1 (one string), 2 (one bytes field) and 3 (row bytes of [`flott_core::encoding`], keys' version): the
//!   lengths u32 each (NULL: 2^32 − 1), then the bytes.
//! * Column types: 0 i64, 1 f64, 2 i128, 3 bool (one byte), 4 bytes. A nullable column that is not of bytes begins with a byte
//!   per row, 1 for a value. Then the packed values; of bytes: lengths and bytes as in keys.
//!
//! Version 1 had no packings: keys and values had the width of their type. It is read for ever.
//!
//! A base holds all rows. A delta is applied to what the runs before it gave: its tombstones first, then its rows. The
//! checksum of the header is in the manifest, with the header's length; those of the blocks are in the header. Names and
//! key types are in the manifest too ([`flott_checkpoint::TableDescriptor`]).

mod read;
mod write;

pub use read::{BlockSpan, RunHeader, RunReader};
pub use write::{EncodedRun, RunMode};

use flott_checkpoint::ColumnType;

/// Version of the format that this module writes, and the newest that it reads.
pub const RUN_VERSION: u16 = 2;
/// The oldest version that it reads.
const OLDEST_VERSION: u16 = 1;
/// The version that brought packings.
const PACKED_VERSION: u16 = 2;

const MAGIC: &[u8; 4] = b"FLRN";
/// Length of the header before its lists.
const HEADER_FIXED_BYTES: usize = 4 + 2 + 1 + 1 + 2;
const HEADER_PACKING_BYTES: usize = 1 + 16;
const HEADER_COLUMN_BYTES: usize = 2 + HEADER_PACKING_BYTES;
const HEADER_BLOCK_BYTES: usize = 2 + 4 + 4 + 8 + 4;
/// Rows after which a block ends: bounds what a reader holds at once.
const MAX_BLOCK_ROWS: usize = 16 * 1024;
const NO_NULL: u32 = u32::MAX;

fn type_code(ty: ColumnType) -> u8 {
    match ty {
        ColumnType::I64 => 0,
        ColumnType::F64 => 1,
        ColumnType::I128 => 2,
        ColumnType::Bool => 3,
        ColumnType::Bytes => 4,
    }
}

#[cfg(test)]
mod tests;
