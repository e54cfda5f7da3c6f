//! ORDER BY and LIMIT.
//!
//! | operator | does |
//! |---|---|
//! | [`limit::SortLimit`] | the first rows of an order (or of arrival), kept up to date |
//! | [`updating::UpdatingLimit`] | the same, where rows only rise |
//! | [`temporal::TemporalSort`] | rows in the order of time, told when time has passed them |
//!
//! [`keys::SortKeys`] makes bytes of the sort columns that compare as the order says.

pub(crate) mod keys;
pub(crate) mod limit;
pub(crate) mod temporal;
pub(crate) mod updating;

use crate::operators::keyed_rows::row_encoder;
use arrow_array::ArrayRef;
use flott_core::LogicalType;
use flott_core::encoding::decode_rows;
use flott_core::hash::hash_columns;
use flott_runtime::TaskError;
use flott_state::KeyedTable;

/// State column with the bytes of a row.
const ROW: usize = 0;

/// Keeps rows under `keys` in a table of all rows together, and appends their slots.
fn keep_rows(
    table: &mut KeyedTable,
    keys: &[ArrayRef],
    columns: &[ArrayRef],
    rows: usize,
    slots: &mut Vec<u32>,
) -> Result<(), TaskError> {
    if rows == 0 {
        return Ok(());
    }
    let (hashes, placement) = (hash_columns(keys, rows)?, hash_columns(&[], rows)?);
    let first = slots.len();
    table.slots_with_placement(keys, &hashes, &placement, slots)?;
    let encoder = row_encoder(columns)?;
    let mut bytes = vec![];
    for (row, &slot) in slots[first..].iter().enumerate() {
        bytes.clear();
        encoder.encode(row, &mut bytes);
        table.bytes_column_mut(ROW).set(slot, Some(&bytes));
    }
    Ok(())
}

/// The columns of kept rows.
fn read_rows(table: &KeyedTable, slots: &[u32], types: &[LogicalType]) -> Result<Vec<ArrayRef>, TaskError> {
    let bytes = table.bytes_column(ROW);
    let rows = slots.iter().map(|s| bytes.get(*s).unwrap_or_default());
    decode_rows(types, rows).map_err(|e| TaskError::internal(e.to_string()))
}
