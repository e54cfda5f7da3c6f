//! Partial rows taken back from state they were added to: [`Aggregates::irreversible`] tells which cannot be,
//! [`Aggregates::subtract`] takes back the others.
//!
//! Counts and exact sums are subtracted. A minimum or maximum stays as it is unless it may be the one that goes; sums of
//! floating-point numbers would keep the rounding of what is gone, so they are never taken back.

use super::argument::{Values, bytes_at};
use super::fold::DECIMAL_OVERFLOW;
use super::{Aggregates, Kernel};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef};
use flott_state::KeyedTable;

impl Aggregates {
    /// State columns of sums that are NULL where there was no value: who subtracts must count the partial rows that had
    /// one.
    pub(crate) fn nullable_sums(&self) -> Vec<usize> {
        let is_nullable_sum = |(kernel, first): &(Kernel, usize)| {
            matches!(kernel, Kernel::Sum { counted: false }) && self.stored[*first].nullable
        };
        let columns = self.bound.iter().map(|b| (b.kernel, b.first));
        columns.filter(is_nullable_sum).map(|(_, first)| first).collect()
    }

    /// For each partial row (in storage form) that was added to a slot, whether what is left cannot be told from it.
    pub(crate) fn irreversible(&self, table: &KeyedTable, slots: &[u32], partials: &[ArrayRef]) -> Vec<bool> {
        let mut rows = vec![false; slots.len()];
        for bound in &self.bound {
            let column = &partials[bound.first];
            let mut mark = |is_lost: &dyn Fn(usize, u32) -> bool| {
                for (row, &slot) in slots.iter().enumerate() {
                    rows[row] |= column.is_valid(row) && is_lost(row, slot);
                }
            };
            match (bound.kernel, Values::of(column)) {
                (Kernel::Count, _) | (Kernel::Sum { .. }, Values::I64(_)) => {}
                (Kernel::Sum { .. }, Values::I128(v)) => {
                    let held = table.column::<i128>(bound.first);
                    mark(&|row, slot| v[row] == DECIMAL_OVERFLOW || held.get(slot) == DECIMAL_OVERFLOW);
                }
                (Kernel::Extreme { .. }, Values::I64(v)) => {
                    let held = table.column::<i64>(bound.first);
                    mark(&|row, slot| held.get(slot) == v[row]);
                }
                (Kernel::Extreme { .. }, Values::I128(v)) => {
                    let held = table.column::<i128>(bound.first);
                    mark(&|row, slot| held.get(slot) == v[row]);
                }
                (Kernel::Extreme { .. }, Values::Bytes(v)) => {
                    let held = table.bytes_column(bound.first);
                    mark(&|row, slot| held.get(slot) == Some(bytes_at(&v, row)));
                }
                _ => mark(&|_, _| true),
            }
        }
        rows
    }

    /// Takes partial rows (in storage form), none of them irreversible, back from the slots that they were added to. A sum
    /// of which nothing is left is 0: see [`Self::nullable_sums`].
    pub(crate) fn subtract(&self, table: &mut KeyedTable, slots: &[u32], partials: &[ArrayRef]) {
        for bound in &self.bound {
            let column = &partials[bound.first];
            let nulls = column.nulls();
            match (bound.kernel, Values::of(column)) {
                (Kernel::Count | Kernel::Sum { .. }, Values::I64(v)) => {
                    table.column_mut::<i64>(bound.first).subtract(slots, &v, nulls);
                }
                (Kernel::Sum { .. }, Values::I128(v)) => {
                    table.column_mut::<i128>(bound.first).subtract(slots, &v, nulls);
                }
                _ => {}
            }
            if matches!(bound.kernel, Kernel::Sum { counted: true }) {
                let counts = partials[bound.first + 1].as_primitive::<Int64Type>().values();
                table.column_mut::<i64>(bound.first + 1).subtract(slots, counts, None);
            }
        }
    }
}
