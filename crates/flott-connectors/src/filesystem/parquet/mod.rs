//! `'format' = 'parquet'`: files of columns.
//!
//! ```text
//!   file ─► footer ─► row groups that begin within the split ─► batches of the wanted columns ─► the table's types
//!   batches ─► the file's types ─► row group in memory ─(block size, memory, end of part)─► part ─► footer
//! ```
//! A split is a range of bytes, and the row groups that begin in it belong to it; its position is the number of the file's
//! next row. A file's columns are found by name; one that a file does not have is NULL. [`columns`] holds the types.
//!
//! Timestamps are written as INT64, which every reader of today knows, and never as INT96 (Flink's default, which the
//! format has given up). INT96 is read; its instants become a TIMESTAMP in the machine's time zone, as in Flink, or in
//! UTC with `'parquet.utc-timezone' = 'true'`. INT64 is never moved between zones.

mod columns;
mod options;
mod read;
mod write;

pub(super) use options::ParquetOptions;
pub(super) use read::{ParquetReader, ParquetScan, ReadError};
pub(super) use write::{ParquetLayout, ParquetPart};

use flott_core::{Field, Options};

/// The name of the format.
pub(super) const NAME: &str = "parquet";

/// Checks the options and the columns of a table of this format.
///
/// # Errors
/// What is wrong, with the remedy.
pub(super) fn check(options: &Options, columns: &[Field]) -> Result<ParquetOptions, String> {
    let read = ParquetOptions::read(options)?;
    columns::check(columns)?;
    Ok(read)
}

#[cfg(test)]
mod tests;
