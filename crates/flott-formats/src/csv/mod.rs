//! `csv`: one record per message or line.
//!
//! # Reading
//! [`CsvDecoder`] cuts a record at its delimiters and writes the projected fields where they stand. The rules are those
//! of Flink 2.2.1, recorded from it in `tests/it`:
//! * a field that begins with the quote character is quoted; spaces after its closing quote are skipped; a doubled quote
//!   stands for one; other fields are taken with their spaces, and numbers, booleans and timestamps are trimmed;
//! * one empty field after the last column is allowed, further ones make the record unreadable; fewer fields are an
//!   error, or NULLs with `csv.ignore-parse-errors`; what comes after the first record of a message is not looked at;
//! * `csv.null-literal` is NULL, quoted or not; without it no field is NULL, and an empty one is an empty string;
//! * ARRAY and ROW are cut at `csv.array-element-delimiter`, quotes notwithstanding; an empty one is `[]` and NULL;
//! * with `csv.ignore-parse-errors` a wrong field is NULL and an unreadable record is dropped. An empty message, or one
//!   that holds comments only, counts as unreadable.
//!
//! # Writing
//! [`CsvEncoder`] quotes what Jackson quotes: strings longer than 24 characters and those with a character that sorts
//! up to the delimiter or the quote (so also spaces), or the escape character. DECIMALs are written without trailing
//! zeros, as `BigDecimal.toString`, unless `csv.write-bigdecimal-in-scientific-notation` is off.

mod decode;
mod encode;

pub(crate) use decode::CsvDecoder;
pub(crate) use encode::CsvEncoder;

use crate::error::FormatError;
use flott_core::types::{Field, LogicalType, TypeKind};

/// Refuses what CSV cannot carry.
fn check_columns(columns: &[Field]) -> Result<(), FormatError> {
    columns.iter().try_for_each(|column| match &column.ty.kind {
        TypeKind::Array(element) => check_plain(&column.name, element),
        TypeKind::Row(fields) => fields
            .iter()
            .try_for_each(|f| check_plain(&format!("{}.{}", column.name, f.name), &f.ty)),
        _ => check_plain(&column.name, &column.ty),
    })
}

fn check_plain(column: &str, ty: &LogicalType) -> Result<(), FormatError> {
    let reason = match &ty.kind {
        TypeKind::Map(..) | TypeKind::Multiset(_) => "CSV has no maps; use the json format",
        TypeKind::Array(_) | TypeKind::Row(_) => "an ARRAY or ROW can hold only plain values; use the json format",
        TypeKind::Time(precision) if *precision > 3 => "CSV supports TIME(0) to TIME(3)",
        _ => return Ok(()),
    };
    Err(FormatError::UnsupportedType {
        format: "csv",
        column: column.to_owned(),
        ty: ty.to_string(),
        reason: reason.into(),
    })
}
