//! Batches as bytes: the form in which rows leave one task for another in a different process.
//!
//! Both ends know the edge's columns from the plan, so names do not travel; a code per column says what was written, so
//! that two ends that disagree notice it. The form is columnar: a buffer is copied, never looked at value by value.
//!
//! Version 1, all numbers little endian:
//!
//! ```text
//! version  u16
//! flags    u8     1: row kinds follow, 2: key hashes follow
//! columns  u32
//! rows     u32
//! [kinds]  a byte a row, RowKind's numbers
//! [hashes] 8 bytes a row
//! columns, each:
//!   code   u8
//!   nulls  u8     0: no value is NULL; 1: a bitmap follows, a bit a row from the lowest on, 1 where there is a value
//!   [bitmap]
//!   values
//! ```
//!
//! | code | type | values |
//! |---|---|---|
//! | 0 | NULL | none |
//! | 1 | BOOLEAN | a bitmap |
//! | 2, 3, 4, 5 | integers | 1, 2, 4, 8 bytes a row |
//! | 6, 7 | FLOAT, DOUBLE | 4, 8 bytes of IEEE 754 bits a row |
//! | 8 | DECIMAL | precision u8, scale i8, then 16 bytes a row, the unscaled value |
//! | 9, 10 | DATE, TIME | 4 bytes a row: days, milliseconds |
//! | 11, 12, 13 | TIMESTAMP, TIMESTAMP_LTZ | 8 bytes a row: milliseconds, microseconds, nanoseconds |
//! | 14, 15 | CHAR and VARCHAR, BINARY and VARBINARY | 4 bytes a row: where its bytes end; then all bytes |
//! | 16 | ARRAY | 4 bytes a row: where its elements end; then the elements as a column |
//! | 17 | MAP, MULTISET | 4 bytes a row: where its entries end; then keys and values as columns |
//! | 18 | ROW | number of fields u32, then the fields as columns |
//!
//! Decoding copies: a column that lives on must not hold the whole frame. Every length is checked before it is used, so
//! that damaged bytes are an error and never a panic or a giant allocation.

mod decode;
mod encode;

pub use decode::decode_batch;
pub use encode::encode_batch;

use arrow_schema::{DataType, TimeUnit};

/// Version of the form that this module writes, and the only one that it reads: the ends of a connection are one build.
pub const WIRE_VERSION: u16 = 1;

/// Flag: row kinds follow.
const HAS_KINDS: u8 = 1;
/// Flag: key hashes follow.
const HAS_HASHES: u8 = 2;

// Buffers are copied as they lie in memory.
const _: () = assert!(cfg!(target_endian = "little"), "the wire form is little endian");

/// A batch could not be written as bytes, or bytes are not a batch of the columns asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A column has no form.
    #[error("column {column} has the Arrow type {ty}, which cannot leave the process")]
    UnsupportedType {
        /// Number of the top-level column, from 0.
        column: usize,
        /// Its type.
        ty: DataType,
    },
    /// There are more rows, columns or bytes in one batch than the form can count.
    #[error("a batch of {0} {1} is too large to leave the process")]
    TooLarge(usize, &'static str),
    /// The other end is another build.
    #[error("a batch has version {found}, this build reads {WIRE_VERSION}: run the same build everywhere")]
    Version {
        /// Version found.
        found: u16,
    },
    /// The bytes end too early.
    #[error("a batch ends inside its {what}, at byte {position} of {length}: the bytes are damaged")]
    Truncated {
        /// What is cut off.
        what: &'static str,
        /// Where it begins.
        position: usize,
        /// How many bytes there are.
        length: usize,
    },
    /// Bytes are left behind the last column.
    #[error("{0} bytes are left behind the last column of a batch: the bytes are damaged")]
    TrailingBytes(usize),
    /// The batch has another number of columns.
    #[error("a batch has {found} columns where the plan has {expected}: both ends must run the same plan")]
    Columns {
        /// Columns found.
        found: usize,
        /// Columns of the plan.
        expected: usize,
    },
    /// A column has another type.
    #[error(
        "column {column} of a batch is written as {found}, but the plan says {expected}: both ends must run the same plan"
    )]
    OtherType {
        /// Number of the top-level column, from 0.
        column: usize,
        /// What was written.
        found: String,
        /// Type by the plan.
        expected: DataType,
    },
    /// A value that no encoder writes.
    #[error("column {column} of a batch is damaged: {problem}")]
    Damaged {
        /// Number of the top-level column, from 0.
        column: usize,
        /// What is wrong.
        problem: String,
    },
    /// A byte in the head that no encoder writes.
    #[error("the head of a batch is damaged: {0}")]
    Head(&'static str),
}

/// The code of a type and its name; `None`: it has no form.
fn code_of(ty: &DataType) -> Option<u8> {
    Some(match ty {
        DataType::Null => 0,
        DataType::Boolean => 1,
        DataType::Int8 => 2,
        DataType::Int16 => 3,
        DataType::Int32 => 4,
        DataType::Int64 => 5,
        DataType::Float32 => 6,
        DataType::Float64 => 7,
        DataType::Decimal128(..) => 8,
        DataType::Date32 => 9,
        DataType::Time32(TimeUnit::Millisecond) => 10,
        DataType::Timestamp(TimeUnit::Millisecond, None) => 11,
        DataType::Timestamp(TimeUnit::Microsecond, None) => 12,
        DataType::Timestamp(TimeUnit::Nanosecond, None) => 13,
        DataType::Utf8 => 14,
        DataType::Binary => 15,
        DataType::List(_) => 16,
        DataType::Map(..) => 17,
        DataType::Struct(_) => 18,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
