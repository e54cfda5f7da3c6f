//! What aggregates come to, row by row ([`Running`]).

use crate::operators::aggregate::distinct::{Offered, Passed};
use crate::operators::aggregate::{Aggregates, Rows};
use arrow_array::{ArrayRef, Int64Array};
use arrow_buffer::BooleanBuffer;
use flott_checkpoint::TableDescriptor;
use flott_core::hash::hash_columns;
use flott_core::{KeyGroupRange, LogicalType, TypeKind};
use flott_runtime::TaskError;
use flott_state::{KeyedTable, NO_SLOT};
use std::sync::Arc;

/// Tables of one group, in memory only.
#[derive(Debug, Clone)]
pub(super) struct RunningState {
    group: Arc<TableDescriptor>,
    sets: Vec<Arc<TableDescriptor>>,
}

impl RunningState {
    /// The tables of these aggregates.
    pub(super) fn new(aggregates: &Aggregates) -> Self {
        let key = vec![LogicalType::not_null(TypeKind::BigInt)];
        let set = |set: &crate::operators::aggregate::distinct::DistinctSpec| set.descriptor("scratch".into(), &key);
        Self {
            sets: aggregates.distinct().iter().map(set).map(Arc::new).collect(),
            group: Arc::new(aggregates.descriptor("scratch", key)),
        }
    }
}

/// Aggregates of all rows that were added.
#[derive(Debug)]
pub(super) struct Running {
    group: KeyedTable,
    sets: Vec<KeyedTable>,
}

impl Running {
    /// Of no rows yet.
    pub(super) fn new(state: &RunningState) -> Self {
        let table = |d: &Arc<TableDescriptor>| KeyedTable::new(Arc::clone(d), 1, KeyGroupRange::all(1));
        Self {
            group: table(&state.group),
            sets: state.sets.iter().map(table).collect(),
        }
    }

    /// Adds rows; the values after each of them, those that are as long as they like after `noted` rows only.
    ///
    /// # Errors
    /// If an aggregate refuses a value.
    pub(super) fn add(
        &mut self,
        aggregates: &Aggregates,
        columns: &[ArrayRef],
        rows: usize,
        noted: &BooleanBuffer,
    ) -> Result<Vec<ArrayRef>, TaskError> {
        let keys: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![0; rows]))];
        let hashes = hash_columns(&keys, rows)?;
        let mut slots = Vec::with_capacity(rows);
        self.group.slots(&keys, &hashes, &mut slots)?;
        let mut passed: Vec<Passed> = Vec::with_capacity(self.sets.len());
        for (set, table) in aggregates.distinct().iter().zip(&mut self.sets) {
            let offered = Offered {
                keys: &keys,
                hashes: &hashes,
                values: &columns[set.arg],
                valid: &set.valid(columns),
                signs: None,
            };
            passed.push(set.pass(table, offered)?);
        }
        let mut traces = aggregates.traces(rows, Some(noted));
        let rows = Rows {
            slots: &slots,
            columns,
            signs: None,
            passed: &passed,
        };
        aggregates.accumulate(&mut self.group, rows, &mut [], Some(&mut traces))?;
        let state: Vec<ArrayRef> = traces
            .into_iter()
            .map(|trace| trace.finish())
            .collect::<Result<_, _>>()?;
        aggregates.finish(&state)
    }

    /// How many of the next rows, at least one, have values that are not too large together, if those of `noted` rows are
    /// told; as [`Aggregates::rows_with_room`].
    pub(super) fn room(&self, aggregates: &Aggregates, row_bytes: &[usize], noted: &BooleanBuffer) -> usize {
        let slot = self.group.live_slots().next().unwrap_or(NO_SLOT);
        let added = aggregates.added_at_most(row_bytes.iter().copied());
        let slots = vec![slot; row_bytes.len()];
        aggregates.rows_with_room(&self.group, &slots, |_| 0, &added, |row| noted.value(row))
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.group.bytes() + self.sets.iter().map(KeyedTable::bytes).sum::<usize>()
    }
}
