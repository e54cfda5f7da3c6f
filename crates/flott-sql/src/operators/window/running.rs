//! The content of a hopping window that moves on slice by slice: [`Running`].
//!
//! ```text
//! slices    | 2 | 4 | 6 | 8 |
//! window 6  [===========)          = 2 + 4 + 6
//! window 8      [===========)      = window 6 - 2 + 8
//! ```
//!
//! A window costs the keys of the slice that comes and of the one that goes, however many slices it has. A key of the
//! slice that goes is put together anew where its values cannot be subtracted ([`Aggregates::irreversible`]). It is no
//! state: after a restore, and after a late row for a slice that it holds, it is made anew of the slices.

use super::aggregate::{for_each_last_page, for_each_page};
use crate::operators::aggregate::Aggregates;
use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_select::take::take;
use flott_checkpoint::{ColumnType, TableDescriptor};
use flott_core::KeyGroupRange;
use flott_core::hash::hash_columns;
use flott_runtime::TaskError;
use flott_state::{KeyedTable, NO_SLOT, StateBackend, WindowTables};
use std::collections::BTreeSet;

/// The slices of the last window, put together.
#[derive(Debug)]
pub(super) struct Running {
    /// The columns of a slice, and the counters.
    table: KeyedTable,
    /// Column that counts the slices that have a key.
    slices_of_key: usize,
    /// Columns of nullable sums, each with the column that counts the slices that have a value.
    sums: Vec<(usize, usize)>,
    slices: BTreeSet<i64>,
}

impl Running {
    /// No slice yet, for slices of this state.
    ///
    /// # Errors
    /// If the backend has no disk for it.
    pub(super) fn new(
        aggregates: &Aggregates,
        state: &TableDescriptor,
        backend: &StateBackend,
    ) -> Result<Self, TaskError> {
        let slices_of_key = state.columns.len();
        let mut descriptor = state.clone().column("slices", ColumnType::I64);
        let mut sums = vec![];
        for sum in aggregates.nullable_sums() {
            sums.push((sum, descriptor.columns.len()));
            descriptor = descriptor.column(format!("slices${sum}"), ColumnType::I64);
        }
        Ok(Self {
            // It is in no checkpoint, so its key groups mean nothing.
            table: backend.table(descriptor, 1, KeyGroupRange::all(1))?,
            slices_of_key,
            sums,
            slices: BTreeSet::new(),
        })
    }

    /// Whether a slice is in it.
    pub(super) fn holds(&self, slice: i64) -> bool {
        self.slices.contains(&slice)
    }

    /// The window's content.
    pub(super) fn table(&mut self) -> &mut KeyedTable {
        &mut self.table
    }

    /// Adds a slice that it does not hold.
    ///
    /// # Errors
    /// If the keys cannot be read, which is a defect of ours.
    pub(super) fn add(&mut self, aggregates: &Aggregates, slice: i64, from: &mut KeyedTable) -> Result<(), TaskError> {
        self.slices.insert(slice);
        for_each_page(from, |from, chunk| {
            let keys = from.keys(chunk)?;
            let hashes = hash_columns(&keys, chunk.len())?;
            self.merge(aggregates, &keys, &hashes, &aggregates.gather(from, chunk)?)
        })
    }

    /// Takes a slice out that it holds, and which is dropped then; `others` are the tables of the other ones. If it does not hold what the slice has,
    /// which is a defect of ours, it gives false and must be made anew.
    ///
    /// # Errors
    /// If the keys cannot be read, which is a defect of ours.
    pub(super) fn evict(
        &mut self,
        aggregates: &Aggregates,
        slice: i64,
        from: &mut KeyedTable,
        others: &mut WindowTables,
    ) -> Result<bool, TaskError> {
        self.slices.remove(&slice);
        let mut fits = true;
        for_each_last_page(from, |from, chunk| {
            let keys = from.keys(chunk)?;
            let hashes = hash_columns(&keys, chunk.len())?;
            let mut slots = Vec::with_capacity(chunk.len());
            self.table.find(&keys, &hashes, &mut slots)?;
            if !fits || slots.contains(&NO_SLOT) {
                fits = false;
                return Ok(());
            }
            let partials = aggregates.gather(from, chunk)?;
            let irreversible = aggregates.irreversible(&self.table, &slots, &partials);
            self.table.mark_changed(&slots);
            let slices = self.table.column_mut::<i64>(self.slices_of_key);
            slices.update(&slots, |_, n| *n -= 1);
            let (mut gone, mut anew, mut kept) = (vec![], vec![], vec![]);
            for (row, &slot) in slots.iter().enumerate() {
                if slices.get(slot) == 0 {
                    gone.push(slot);
                } else if irreversible[row] {
                    gone.push(slot);
                    anew.push(row as u32);
                } else {
                    kept.push(row as u32);
                }
            }
            self.subtract(aggregates, &slots, &partials, kept)?;
            self.table.remove(&gone);
            if anew.is_empty() {
                return Ok(self.table.relieve()?);
            }
            let hashes: Vec<u64> = anew.iter().map(|row| hashes[*row as usize]).collect();
            let keys = rows_of(&keys, anew)?;
            self.put_together(aggregates, &keys, &hashes, others)
        })?;
        Ok(fits)
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.table.bytes()
    }

    fn subtract(
        &mut self,
        aggregates: &Aggregates,
        slots: &[u32],
        partials: &[ArrayRef],
        rows: Vec<u32>,
    ) -> Result<(), TaskError> {
        let slots: Vec<u32> = rows.iter().map(|row| slots[*row as usize]).collect();
        let partials = rows_of(partials, rows)?;
        aggregates.subtract(&mut self.table, &slots, &partials);
        for &(sum, counter) in &self.sums {
            for (_, &slot) in slots.iter().enumerate().filter(|(row, _)| partials[sum].is_valid(*row)) {
                let left = self.table.column::<i64>(counter).get(slot) - 1;
                self.table.column_mut::<i64>(counter).set(slot, left);
                if left == 0 {
                    aggregates.unset(&mut self.table, sum, slot);
                }
            }
        }
        Ok(())
    }

    /// Puts keys together that it does not hold.
    fn put_together(
        &mut self,
        aggregates: &Aggregates,
        keys: &[ArrayRef],
        hashes: &[u64],
        others: &mut WindowTables,
    ) -> Result<(), TaskError> {
        for slice in self.slices.clone() {
            let Some(other) = others.get_mut(slice) else { continue };
            let mut found = Vec::with_capacity(hashes.len());
            other.find(keys, hashes, &mut found)?;
            let rows: Vec<u32> = (0..)
                .zip(&found)
                .filter(|(_, s)| **s != NO_SLOT)
                .map(|(r, _)| r)
                .collect();
            let hashes: Vec<u64> = rows.iter().map(|row| hashes[*row as usize]).collect();
            let keys = rows_of(keys, rows)?;
            found.retain(|slot| *slot != NO_SLOT);
            self.merge(aggregates, &keys, &hashes, &aggregates.gather(other, &found)?)?;
            others.relieve()?;
        }
        Ok(())
    }

    fn merge(
        &mut self,
        aggregates: &Aggregates,
        keys: &[ArrayRef],
        hashes: &[u64],
        partials: &[ArrayRef],
    ) -> Result<(), TaskError> {
        let mut slots = Vec::with_capacity(hashes.len());
        self.table.slots(keys, hashes, &mut slots)?;
        aggregates.merge(&mut self.table, &slots, partials)?;
        self.table
            .column_mut::<i64>(self.slices_of_key)
            .update(&slots, |_, n| *n += 1);
        for &(sum, counter) in &self.sums {
            let counter = self.table.column_mut::<i64>(counter);
            for (_, &slot) in slots.iter().enumerate().filter(|(row, _)| partials[sum].is_valid(*row)) {
                counter.set(slot, counter.get(slot) + 1);
            }
        }
        Ok(self.table.relieve()?)
    }
}

fn rows_of(columns: &[ArrayRef], rows: Vec<u32>) -> Result<Vec<ArrayRef>, TaskError> {
    let rows = UInt32Array::from(rows);
    let picked = columns.iter().map(|column| take(column.as_ref(), &rows, None));
    Ok(picked.collect::<Result<_, _>>()?)
}
