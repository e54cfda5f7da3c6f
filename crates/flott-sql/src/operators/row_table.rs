//! Rows as partial rows, one by one ([`RowTable`]), for local phases where keys hardly repeat ([`Reduction`]).

use crate::operators::aggregate::{Aggregates, Rows};
use arrow_array::{ArrayRef, Int64Array};
use flott_checkpoint::TableDescriptor;
use flott_core::hash::hash_columns;
use flott_core::{KeyGroupRange, LogicalType, TypeKind};
use flott_runtime::TaskError;
use flott_state::KeyedTable;
use std::sync::Arc;

/// A table whose keys are the rows of one batch.
#[derive(Debug)]
pub(crate) struct RowTable {
    descriptor: Arc<TableDescriptor>,
}

impl RowTable {
    /// A table for these aggregates.
    pub(crate) fn new(aggregates: &Aggregates) -> Self {
        let key = vec![LogicalType::not_null(TypeKind::BigInt)];
        Self {
            descriptor: Arc::new(aggregates.descriptor("rows", key)),
        }
    }

    /// The partial columns of each row, and its distinct values.
    ///
    /// # Errors
    /// If the table refuses the rows, which is a defect of ours.
    pub(crate) fn partials(
        &self,
        aggregates: &Aggregates,
        columns: &[ArrayRef],
        rows: usize,
        signs: Option<&[i64]>,
    ) -> Result<Vec<ArrayRef>, TaskError> {
        let (mut table, slots) = self.table(rows)?;
        let of_rows = Rows {
            slots: &slots,
            columns,
            signs,
            passed: &[],
        };
        aggregates.accumulate(&mut table, of_rows, &mut [], None)?;
        aggregates.count_rows(&mut table, &slots, signs);
        let mut partials = aggregates.partials(&table, &slots)?;
        for set in aggregates.distinct() {
            partials.push(set.row_lists(columns, rows, signs)?);
        }
        Ok(partials)
    }

    /// Partial columns that add nothing.
    ///
    /// # Errors
    /// As [`Self::partials`].
    pub(crate) fn nothing(&self, aggregates: &Aggregates, rows: usize) -> Result<Vec<ArrayRef>, TaskError> {
        let (table, slots) = self.table(rows)?;
        aggregates.partials(&table, &slots)
    }

    fn table(&self, rows: usize) -> Result<(KeyedTable, Vec<u32>), TaskError> {
        let mut table = KeyedTable::new(Arc::clone(&self.descriptor), 1, KeyGroupRange::all(1));
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
        let mut slots = Vec::with_capacity(rows);
        let hashes = hash_columns(std::slice::from_ref(&keys), rows)?;
        table.slots(&[keys], &hashes, &mut slots)?;
        Ok((table, slots))
    }
}

/// If fewer than so many rows in a hundred fall on a key that is already there, holding rows back does not pay.
const MIN_REDUCTION_PERCENT: u64 = 20;
/// Fewer rows say nothing.
const MIN_JUDGED_ROWS: u64 = 4096;
/// For so many rows, rows are passed on as they come; then holding back is tried again.
const PASSED_ROWS: u64 = 1_000_000;

/// Whether holding rows back pays in a local phase.
#[derive(Debug, Default)]
pub(crate) struct Reduction {
    /// Rows since the last judgement.
    rows: u64,
    /// Keys that were emitted since then.
    keys: u64,
    /// Rows that are still to be passed on as they come.
    passing: u64,
}

impl Reduction {
    /// Whether the next rows are passed on as they come.
    pub(crate) fn passes(&mut self, rows: usize) -> bool {
        let passes = self.passing > 0;
        self.passing = self.passing.saturating_sub(rows as u64);
        passes
    }

    /// Counts rows that are held back; returns how many since the last judgement.
    pub(crate) fn count(&mut self, rows: usize) -> u64 {
        self.rows += rows as u64;
        self.rows
    }

    /// Counts keys that were emitted because their time had come.
    pub(crate) fn release(&mut self, keys: u64) {
        self.keys += keys;
    }

    /// What is held back, `keys` of them, is emitted: judges whether that was worth it.
    pub(crate) fn judge(&mut self, keys: u64) {
        let repeated = self.rows.saturating_sub(self.keys + keys);
        if self.rows >= MIN_JUDGED_ROWS && repeated * 100 < self.rows * MIN_REDUCTION_PERCENT {
            self.passing = PASSED_ROWS;
        }
        (self.rows, self.keys) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_passed_on_while_keys_do_not_repeat() {
        let mut reduction = Reduction::default();
        reduction.count(10_000);
        reduction.judge(5_000);
        assert!(!reduction.passes(8_192), "half of the rows were saved");
        reduction.count(10_000);
        reduction.judge(9_000);
        assert!(reduction.passes(999_999) && reduction.passes(8_192));
        assert!(!reduction.passes(8_192), "a million rows later it is tried again");
    }

    #[test]
    fn few_rows_are_not_judged() {
        let mut reduction = Reduction::default();
        reduction.count(10);
        reduction.judge(10);
        assert!(!reduction.passes(1));
    }
}
