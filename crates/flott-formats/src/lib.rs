//! Formats: bytes to columns and back, with Flink's semantics and without I/O.
//!
//! A [`Decoder`] appends messages to column builders, a poll's worth at a time, and gives them out as Arrow arrays; an
//! [`Encoder`] writes a batch's rows into one buffer. Both are made for a table's columns and its options by
//! [`decoder`] and [`encoder`]; `json`, `csv`, `raw` and `debezium-json` are the formats.
//!
//! ```text
//!   message ──► scanner (json, csv, raw) ──► columns (sparse builders, rows can be taken back) ──► ArrayRef
//!   columns ──► writer  (json, csv, raw) ──► EncodedRows (one buffer, one end per row)
//! ```
//!
//! Measured by `examples/bench_decode.rs` (release, CPU time of one thread, on a machine whose two cores were shared by
//! nine builds; an idle one is faster): a Nexmark bid of 311 bytes of JSON reads in 252 ns, 222 ns with the fields of q0 and
//! 197 ns with those of q5, and is written in 188 ns; a CSV line of 14 bytes reads in 52 ns with two of three columns.
//!
//! The rules that make a field's text a value of its type are in `text` and `convert`, once for all formats. What a bad
//! message means for the job (fail, skip, dead letter) is the connector's to decide, from the [`RowError`]; what
//! `ignore-parse-errors` makes of it is decided here.

mod cells;
mod columns;
mod convert;
mod csv;
mod debezium;
mod decode;
mod encode;
mod error;
mod gathered;
mod json;
mod options;
mod print;
mod raw;
mod scan;
mod text;

pub use decode::{Consumed, Decoder, LineLimits};
pub use encode::{EncodedRows, Encoder};
pub use error::{EXCERPT_BYTES, FormatError, RowError, RowErrorKind};
pub use print::RowPrinter;

use flott_core::types::Field;
use flott_core::{Options, suggest};

/// The names of the formats.
pub const FORMATS: [&str; 4] = ["csv", "debezium-json", "json", "raw"];

/// Whether a format's rows are changes of all kinds; those of the others are inserts.
pub fn carries_changes(format: &str) -> bool {
    format == debezium::NAME
}

/// Makes the decoder of format `format`.
///
/// `physical` are all columns that the table's messages carry, in order; `projected` those to give out, by name, in
/// any order, where a ROW may be reduced to some of its fields. `options` are those of the table's format, under their
/// full names (`json.ignore-parse-errors`); names of other formats and of the connector are left alone.
///
/// # Errors
/// An unknown format or option, a wrong value, or a type that the format cannot carry.
pub fn decoder(
    format: &str,
    options: &Options,
    physical: &[Field],
    projected: &[Field],
) -> Result<Box<dyn Decoder>, FormatError> {
    decoder_with_metadata(format, options, physical, projected, &[])
}

/// The metadata columns that a format's messages have beside their rows, with their types.
pub fn metadata(format: &str) -> Vec<Field> {
    match format {
        debezium::NAME => debezium::metadata_columns(),
        _ => vec![],
    }
}

/// As [`decoder`]; behind the projected columns come those of [`metadata`] with these names.
///
/// # Errors
/// As [`decoder`], or metadata that the format does not have.
pub fn decoder_with_metadata(
    format: &str,
    options: &Options,
    physical: &[Field],
    projected: &[Field],
    metadata: &[String],
) -> Result<Box<dyn Decoder>, FormatError> {
    if let (Some(name), Some(format)) = (metadata.first(), FORMATS.iter().find(|f| **f == format))
        && *format != debezium::NAME
    {
        return Err(FormatError::UnknownMetadata {
            format,
            name: name.clone(),
            hint: String::new(),
        });
    }
    match format {
        "json" => Ok(Box::new(json::JsonDecoder::new(options, physical, projected)?)),
        "csv" => Ok(Box::new(csv::CsvDecoder::new(options, physical, projected)?)),
        "raw" => Ok(Box::new(raw::RawDecoder::new(options, physical, projected)?)),
        debezium::NAME => Ok(Box::new(debezium::DebeziumDecoder::new(
            options, physical, projected, metadata,
        )?)),
        _ => Err(unknown_format(format)),
    }
}

/// Makes the encoder of format `format` for rows of these columns.
///
/// # Errors
/// An unknown format or option, a wrong value, or a type that the format cannot carry.
pub fn encoder(format: &str, options: &Options, columns: &[Field]) -> Result<Box<dyn Encoder>, FormatError> {
    match format {
        "json" => Ok(Box::new(json::JsonEncoder::new(options, columns)?)),
        "csv" => Ok(Box::new(csv::CsvEncoder::new(options, columns)?)),
        "raw" => Ok(Box::new(raw::RawEncoder::new(options, columns)?)),
        debezium::NAME => Ok(Box::new(debezium::DebeziumEncoder::new(options, columns)?)),
        _ => Err(unknown_format(format)),
    }
}

fn unknown_format(format: &str) -> FormatError {
    FormatError::UnknownFormat {
        name: format.to_owned(),
        hint: suggest::hint(format, FORMATS),
    }
}
