//! Bytes of rows: the encoding of keys and values that reach files, specified here because old files must be read for ever.
//!
//! Version 1. A row is its fields one after the other. A field is a presence byte (0: NULL, and nothing follows; 1: a
//! value follows), then the value, all numbers little endian:
//!
//! | type | value |
//! |---|---|
//! | BOOLEAN | one byte, 0 or 1 |
//! | TINYINT, SMALLINT, INT, BIGINT | 1, 2, 4, 8 bytes |
//! | FLOAT, DOUBLE | 4, 8 bytes of IEEE 754 bits |
//! | DECIMAL | 16 bytes, the unscaled value |
//! | DATE, TIME, INTERVAL YEAR TO MONTH | 4 bytes: days, milliseconds, months |
//! | TIMESTAMP, TIMESTAMP_LTZ, INTERVAL DAY TO SECOND | 8 bytes in the unit of the type's precision, milliseconds |
//! | CHAR, VARCHAR, BINARY, VARBINARY | length in bytes (4 bytes), then the bytes |
//! | ARRAY | number of elements (4 bytes), then each as a field |
//! | MAP, MULTISET | number of entries (4 bytes), then key and value of each as fields |
//! | ROW | its fields |
//!
//! In keys ([`RowEncoder::of_keys`]) every NaN is the one NaN of [`crate::hash`], so that equal keys have equal bytes and equal
//! hashes (0 and −0 are two keys); values ([`RowEncoder::of_values`]) keep their bits. Bytes do not sort as values do.

mod decode;
mod encode;

pub use decode::{RowDecoder, decode_rows};
pub use encode::{EncodedRows, RowEncoder, encode_rows};

use arrow_schema::DataType;

/// Version of the encoding that this module writes, and the newest that it reads.
pub const ENCODING_VERSION: u16 = 1;

/// A row could not be written as bytes, or bytes are not a row of the types asked for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EncodingError {
    /// A column has no encoding.
    #[error("values of Arrow type {0} have no row encoding")]
    UnsupportedType(DataType),
    /// The bytes end inside a field.
    #[error(
        "row bytes end inside field {field}, at byte {position} of {length}: the bytes are damaged or of other types"
    )]
    Truncated {
        /// Number of the top-level field, from 0.
        field: usize,
        /// Where the missing bytes should have begun.
        position: usize,
        /// How many bytes the row has.
        length: usize,
    },
    /// A byte that no encoder writes.
    #[error(
        "field {field} of a row has the byte {byte} where {expected} should be: the bytes are damaged or of other types"
    )]
    Invalid {
        /// Number of the top-level field, from 0.
        field: usize,
        /// The offending byte.
        byte: u8,
        /// What belongs there.
        expected: &'static str,
    },
    /// Bytes are left when all fields have been read.
    #[error("{0} bytes are left after the last field of a row: the bytes are damaged or of other types")]
    TrailingBytes(usize),
    /// A NULL where the type has none.
    #[error("field {0} of a row is NULL, but part of it is NOT NULL by its type")]
    UnexpectedNull(usize),
    /// Arrow refused the decoded column.
    #[error("decoded column is not an Arrow array: {0}")]
    Array(String),
}

#[cfg(test)]
pub(crate) mod tests;
