//! Sets of distinct values: [`DistinctSpec`], shared by all DISTINCT aggregates of one argument, and the memory of MIN and
//! MAX over input that retracts.
//!
//! A set is a table of its own, keyed by the group's key and the value, placed by the group's key only (so that it moves
//! with it). It has a column per FILTER that its aggregates use: a flag over input that only adds, else the number of
//! times that the value came. A row *passes* the set if it changes whether its value is there; only such rows reach
//! the aggregates, so DISTINCT costs one more look-up a row, however many aggregates share the set.
//!
//! Where there are two phases, the first has sets of its own, keyed by the group's slot and the value, which it only adds
//! to ([`DistinctSpec::add`]); their entries flow to the second as lists ([`super::lists`]), which pass its sets there.

use super::argument::valid_rows;
use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer};
use flott_checkpoint::{ColumnType, TableDescriptor};
use flott_core::LogicalType;
use flott_core::hash::hash_columns;
use flott_runtime::TaskError;
use flott_state::KeyedTable;

/// One set of distinct values and the filters under which it is used.
#[derive(Debug, Clone)]
pub(crate) struct DistinctSpec {
    /// Position of the argument.
    pub(crate) arg: usize,
    pub(super) ty: LogicalType,
    pub(super) filters: Vec<Option<usize>>,
    pub(super) retracts: bool,
    /// Whether NULL is a value too: for ARRAY_AGG, which keeps NULLs.
    pub(crate) keeps_nulls: bool,
    /// Whether values lie where their own hashes say, and not with their group: [`Offered::hashes`] are those of both then.
    is_spread: bool,
}

/// For each filter of a set, the rows that passed it.
#[derive(Debug, Clone)]
pub(crate) struct Passed(Vec<NullBuffer>);

impl Passed {
    /// The rows that passed under filter `index` of the set, as valid rows.
    pub(crate) fn rows(&self, index: usize) -> &NullBuffer {
        &self.0[index]
    }

    /// The same for some of the rows.
    pub(crate) fn picked(&self, rows: &[u32]) -> Self {
        let of_filter = |all: &NullBuffer| rows.iter().map(|row| all.is_valid(*row as usize)).collect::<Vec<_>>();
        Self(self.0.iter().map(|all| of_filter(all).into()).collect())
    }

    /// Whether a row passed under any filter.
    pub(crate) fn is_any(&self, row: usize) -> bool {
        self.0.iter().any(|rows| rows.is_valid(row))
    }
}

/// Rows whose values are offered to a set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offered<'a> {
    /// Key columns of the groups.
    pub(crate) keys: &'a [ArrayRef],
    /// Hashes of the keys; of keys and values for a set that is [spread](DistinctSpec::spread).
    pub(crate) hashes: &'a [u64],
    /// The values.
    pub(crate) values: &'a ArrayRef,
    /// For each filter, the rows that count (`None`: all).
    pub(crate) valid: &'a [Option<NullBuffer>],
    /// How many times a row's value comes (below 0: goes); `None`: once.
    pub(crate) signs: Option<&'a [i64]>,
}

impl Offered<'_> {
    /// Rows that count under any filter.
    fn picked(&self) -> Vec<u32> {
        let counts = |row: usize| self.valid.iter().any(|v| v.as_ref().is_none_or(|v| v.is_valid(row)));
        (0..self.values.len() as u32).filter(|r| counts(*r as usize)).collect()
    }

    fn counts(&self, filter: usize, row: u32) -> bool {
        self.valid[filter].as_ref().is_none_or(|v| v.is_valid(row as usize))
    }
}

impl DistinctSpec {
    pub(crate) fn new(arg: usize, ty: LogicalType, retracts: bool, keeps_nulls: bool) -> Self {
        Self {
            arg,
            ty,
            filters: vec![],
            retracts,
            keeps_nulls,
            is_spread: false,
        }
    }

    /// The same set with the values of one group spread over all subtasks.
    pub(crate) fn spread(mut self) -> Self {
        self.is_spread = true;
        self
    }

    /// Index of a filter of this set, added if it is new.
    pub(crate) fn filter_index(&mut self, filter: Option<usize>) -> usize {
        self.filters.iter().position(|f| *f == filter).unwrap_or_else(|| {
            self.filters.push(filter);
            self.filters.len() - 1
        })
    }

    /// The set's table, for groups with keys of these types.
    pub(crate) fn descriptor(&self, name: String, group: &[LogicalType]) -> TableDescriptor {
        let mut key = group.to_vec();
        key.push(self.ty.with_nullable(self.keeps_nulls && self.ty.nullable));
        let table = match self.is_spread {
            true => TableDescriptor::new(name, key),
            false => TableDescriptor::new(name, key).placed_by(group.len()),
        };
        (0..self.filters.len()).fold(table, |table, i| {
            if self.retracts {
                table.column(format!("count{i}"), ColumnType::I64)
            } else {
                table.column(format!("seen{i}"), ColumnType::Bool)
            }
        })
    }

    /// For each filter, the rows of a batch that count.
    pub(crate) fn valid(&self, columns: &[ArrayRef]) -> Vec<Option<NullBuffer>> {
        let not_null = (!self.keeps_nulls).then(|| &columns[self.arg]);
        let valid = |f: &Option<usize>| valid_rows(not_null, f.map(|f| &columns[f]));
        self.filters.iter().map(valid).collect()
    }

    /// Puts values into the set's table, or takes them out, and tells which rows changed it.
    ///
    /// # Errors
    /// If the table refuses the keys.
    pub(crate) fn pass(&self, table: &mut KeyedTable, offered: Offered<'_>) -> Result<Passed, TaskError> {
        let rows = offered.values.len();
        let picked = offered.picked();
        let slots = self.slots(table, offered, &picked)?;
        let passed = (0..self.filters.len())
            .map(|filter| {
                let mut bits = BooleanBufferBuilder::new(rows);
                bits.append_n(rows, false);
                for (&slot, &row) in slots.iter().zip(&picked) {
                    let times = || offered.signs.map_or(1, |s| s[row as usize]);
                    if offered.counts(filter, row) && self.change(table, filter, slot, times()) {
                        bits.set_bit(row as usize, true);
                    }
                }
                NullBuffer::new(bits.finish())
            })
            .collect();
        if self.retracts && offered.signs.is_some() {
            let gone = |slot: &u32| (0..self.filters.len()).all(|f| table.column::<i64>(f).get(*slot) == 0);
            let gone: Vec<u32> = slots.iter().copied().filter(|s| gone(s)).collect();
            table.remove(&gone);
        }
        Ok(Passed(passed))
    }

    /// Puts values into a set of a first phase: how often a value came more than it went may be below 0 there.
    ///
    /// # Errors
    /// If the table refuses the keys.
    pub(crate) fn add(&self, table: &mut KeyedTable, offered: Offered<'_>) -> Result<(), TaskError> {
        let picked = offered.picked();
        let slots = self.slots(table, offered, &picked)?;
        for filter in 0..self.filters.len() {
            let counting = slots
                .iter()
                .zip(&picked)
                .filter(|(_, row)| offered.counts(filter, **row));
            if self.retracts {
                let column = table.column_mut::<i64>(filter);
                counting.for_each(|(&slot, &row)| {
                    let times = offered.signs.map_or(1, |s| s[row as usize]);
                    column.set(slot, column.get(slot) + times);
                });
            } else {
                let column = table.column_mut::<bool>(filter);
                counting.for_each(|(&slot, _)| column.set(slot, true));
            }
        }
        Ok(())
    }

    fn slots(&self, table: &mut KeyedTable, offered: Offered<'_>, picked: &[u32]) -> Result<Vec<u32>, TaskError> {
        let mut columns: Vec<ArrayRef> = offered.keys.to_vec();
        columns.push(offered.values.clone());
        let mut placement = offered.hashes.to_vec();
        if picked.len() < offered.values.len() {
            let indices = UInt32Array::from(picked.to_vec());
            for column in &mut columns {
                *column = arrow_select::take::take(column.as_ref(), &indices, None)?;
            }
            placement = picked.iter().map(|&row| offered.hashes[row as usize]).collect();
        }
        let mut slots = Vec::with_capacity(picked.len());
        if self.is_spread {
            table.slots(&columns, &placement, &mut slots)?;
            return Ok(slots);
        }
        let hashes = hash_columns(&columns, picked.len())?;
        table.slots_with_placement(&columns, &hashes, &placement, &mut slots)?;
        Ok(slots)
    }

    /// Counts a value in or out, so many `times`; whether it is now there and was not, or the other way round.
    #[inline]
    fn change(&self, table: &mut KeyedTable, filter: usize, slot: u32, times: i64) -> bool {
        if self.retracts {
            let column = table.column_mut::<i64>(filter);
            let before = column.get(slot);
            let after = (before + times).max(0);
            column.set(slot, after);
            (before == 0) != (after == 0)
        } else {
            let column = table.column_mut::<bool>(filter);
            let is_new = !column.get(slot);
            if is_new {
                column.set(slot, true);
            }
            is_new
        }
    }

    /// Which of `slots` hold their value under each filter, as valid rows.
    pub(crate) fn present(&self, table: &KeyedTable, slots: &[u32]) -> Vec<NullBuffer> {
        self.held(table, slots, 0)
    }

    /// Which of `slots` hold their value more than so many `times` under each filter, as valid rows; over input that only
    /// adds, a value is held once.
    pub(crate) fn held(&self, table: &KeyedTable, slots: &[u32], times: i64) -> Vec<NullBuffer> {
        let is_held = |filter: usize, slot: u32| {
            if self.retracts {
                table.column::<i64>(filter).get(slot) > times
            } else {
                times == 0 && table.column::<bool>(filter).get(slot)
            }
        };
        (0..self.filters.len())
            .map(|f| slots.iter().map(|s| is_held(f, *s)).collect::<Vec<_>>().into())
            .collect()
    }
}
