//! The head of an input: its first line names columns and options, as people write them.
//!
//! ```text
//! a BIGINT, r ROW<x INT, l ARRAY<STRING>> | ignore-parse-errors=true; timestamp-format.standard=ISO-8601
//! ```

use arrow_array::{Array, ArrayRef};
use arrow_data::ArrayData;
use flott_core::{Field, LogicalType, Options, TypeKind};
use std::collections::BTreeSet;

/// Columns beyond these make inputs slow and find nothing.
const MAX_COLUMNS: usize = 64;

/// An input: columns, options under the prefix of the format, and the rest.
pub(crate) struct Input<'a> {
    pub columns: Vec<Field>,
    pub options: Options,
    pub body: &'a [u8],
}

/// Reads the first line; `None` if it names no columns. Options get `prefix`.
pub(crate) fn read<'a>(data: &'a [u8], prefix: &str) -> Option<Input<'a>> {
    let end = data.iter().position(|b| *b == b'\n')?;
    let head = std::str::from_utf8(&data[..end]).ok()?;
    let (columns, settings) = head.split_once('|').unwrap_or((head, ""));
    let mut options = Options::new();
    for setting in settings.split(';') {
        if let Some((key, value)) = setting.split_once('=') {
            options.set(format!("{prefix}{}", key.trim()), value.trim());
        }
    }
    Some(Input {
        columns: columns_of(columns)?,
        options,
        body: &data[end + 1..],
    })
}

/// Columns from their text, if no name comes twice.
pub(crate) fn columns_of(text: &str) -> Option<Vec<Field>> {
    let ty = flott_sql::parser::types::parse_text(&format!("ROW<{text}>")).ok()?;
    match &ty.kind {
        TypeKind::Row(fields) if fields.len() <= MAX_COLUMNS && has_distinct_names(&ty) => Some(fields.clone()),
        _ => None,
    }
}

fn has_distinct_names(ty: &LogicalType) -> bool {
    match &ty.kind {
        TypeKind::Row(fields) => {
            let names: BTreeSet<&str> = fields.iter().map(|f| f.name.as_str()).collect();
            names.len() == fields.len() && fields.iter().all(|f| has_distinct_names(&f.ty))
        }
        TypeKind::Array(e) | TypeKind::Multiset(e) => has_distinct_names(e),
        TypeKind::Map(k, v) => has_distinct_names(k) && has_distinct_names(v),
        _ => true,
    }
}

/// Checks that the columns are whole: their lengths, and what Arrow demands of their buffers.
///
/// NULL inside of a nested type that is declared NOT NULL is let pass: formats do not look for it, as Flink's do not.
pub(crate) fn check_columns(columns: &[ArrayRef], rows: usize) {
    for column in columns {
        assert_eq!(column.len(), rows, "a column has another number of rows");
        check_data(&column.to_data());
    }
}

fn check_data(data: &ArrayData) {
    data.validate().expect("a column's buffers fit");
    data.validate_values().expect("a column's values are of its type");
    data.child_data().iter().for_each(check_data);
}
