//! How many values fit into one call: those of LISTAGG and its like grow with their group, and a text can be as long as it
//! likes, so that [`MAX_EMITTED_ROWS`] of them can be more than memory holds, and than a column can (2 GiB).
//!
//! All here are estimates from above, in bytes; one value always has room.

use super::argument::bytes_at;
use super::{Aggregates, Bound, Finish, Kernel};
use crate::operators::{MAX_EMITTED_BYTES, MAX_EMITTED_ROWS};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use flott_checkpoint::ColumnType;
use flott_runtime::TaskError;
use flott_state::{KeyedTable, NO_SLOT};
use std::collections::HashMap;

/// What a value takes that is no text and no collection.
const FIXED_BYTES: usize = 16;

/// What the values of a group take while rows are added.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// Values that are made of all rows.
    grown: usize,
    /// The longest of the others.
    longest: usize,
}

/// What rows add to the values of their groups.
#[derive(Debug, Default)]
pub(crate) struct Added {
    /// To values that are made of all rows, by row.
    grown: Vec<usize>,
    /// The longest argument of the others, by row.
    longest: Vec<usize>,
}

impl Aggregates {
    /// Whether any value is as long as it likes.
    pub(crate) fn is_sized(&self) -> bool {
        self.sized().next().is_some()
    }

    /// Whether values grow with the rows of their group.
    pub(crate) fn collects(&self) -> bool {
        let is_collected = |b: &Bound| matches!(b.kernel, Kernel::Collected(_));
        self.bound.iter().any(is_collected)
    }

    fn sized(&self) -> impl Iterator<Item = &Bound> {
        self.bound
            .iter()
            .filter(|b| self.stored[b.first].ty == ColumnType::Bytes)
    }

    fn held(&self, table: &KeyedTable, slot: u32) -> Held {
        let mut held = Held::default();
        for bound in self.sized() {
            let bytes = table.bytes_column(bound.first).get(slot).map_or(0, <[u8]>::len);
            match bound.kernel {
                Kernel::Collected(_) => held.grown += bytes * bound.growth(),
                _ => held.longest = held.longest.max(bytes),
            }
        }
        held
    }

    fn bytes_of(&self, held: Held) -> usize {
        let others = self.sized().filter(|b| !matches!(b.kernel, Kernel::Collected(_)));
        held.grown + held.longest * others.count()
    }

    /// How many bytes the values of a slot take that are as long as they like.
    pub(crate) fn value_bytes(&self, table: &KeyedTable, slot: u32) -> usize {
        self.bytes_of(self.held(table, slot))
    }

    /// How many of the first of `slots` have values that fit into one call: at least one, if there is any.
    pub(crate) fn slots_with_room(&self, table: &KeyedTable, slots: &[u32]) -> usize {
        let most = slots.len().min(MAX_EMITTED_ROWS);
        if !self.is_sized() {
            return most;
        }
        let mut bytes = 0;
        let fits = |slot: &&u32| {
            bytes += self.value_bytes(table, **slot);
            bytes <= MAX_EMITTED_BYTES
        };
        slots[..most].iter().take_while(fits).count().max(most.min(1))
    }

    /// `slots` in pieces whose values fit into one call.
    pub(crate) fn pieces<'a>(&self, table: &KeyedTable, slots: &'a [u32]) -> Vec<&'a [u32]> {
        let (mut pieces, mut rest) = (vec![], slots);
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(self.slots_with_room(table, rest));
            pieces.push(piece);
            rest = behind;
        }
        pieces
    }

    /// The longest argument of a batch of which a value is made that is as long as it likes.
    pub(crate) fn longest_argument(&self, columns: &[ArrayRef]) -> Result<usize, TaskError> {
        let mut longest = 0;
        for column in self.sized().flat_map(Bound::arguments) {
            longest = longest.max(lengths(&columns[column])?.into_iter().max().unwrap_or(0));
        }
        Ok(longest)
    }

    /// What the rows of a batch add to the values of their groups.
    ///
    /// # Errors
    /// If a column cannot be measured, which is a defect of ours.
    pub(crate) fn added(&self, columns: &[ArrayRef], rows: usize) -> Result<Added, TaskError> {
        let mut added = Added {
            grown: vec![0; rows],
            longest: vec![0; rows],
        };
        for bound in self.sized() {
            for argument in bound.arguments() {
                let lengths = lengths(&columns[argument])?;
                match bound.kernel {
                    Kernel::Collected(_) => {
                        let growth = bound.growth();
                        let sums = added.grown.iter_mut().zip(lengths);
                        // A list tells each item's length, and a bag how often it is there.
                        sums.for_each(|(sum, length)| *sum += (length + FIXED_BYTES) * growth);
                    }
                    _ => {
                        let most = added.longest.iter_mut().zip(lengths);
                        most.for_each(|(most, length)| *most = length.max(*most));
                    }
                }
            }
        }
        Ok(added)
    }

    /// The same of rows that take so many bytes each, all columns together.
    pub(crate) fn added_at_most(&self, row_bytes: impl Iterator<Item = usize>) -> Added {
        let collected = self.sized().filter(|b| matches!(b.kernel, Kernel::Collected(_)));
        let growth: usize = collected.map(Bound::growth).sum();
        let longest: Vec<usize> = row_bytes.collect();
        Added {
            grown: longest.iter().map(|bytes| (bytes + FIXED_BYTES) * growth).collect(),
            longest,
        }
    }

    /// How many rows, at least one, have values behind them that fit into one call. `groups` tells the rows of a group apart
    /// from others, `slots` where its values are; `is_noted` which rows' values are told.
    pub(crate) fn rows_with_room(
        &self,
        table: &KeyedTable,
        slots: &[u32],
        groups: impl Fn(usize) -> u64,
        added: &Added,
        is_noted: impl Fn(usize) -> bool,
    ) -> usize {
        let mut by_group: HashMap<u64, Held> = HashMap::new();
        let mut told = 0;
        for (row, &slot) in slots.iter().enumerate() {
            let held = by_group.entry(groups(row)).or_insert_with(|| match slot {
                NO_SLOT => Held::default(),
                slot => self.held(table, slot),
            });
            held.grown += added.grown[row];
            held.longest = held.longest.max(added.longest[row]);
            told += if is_noted(row) { self.bytes_of(*held) } else { 0 };
            if told > MAX_EMITTED_BYTES {
                return row.max(1);
            }
        }
        slots.len()
    }
}

impl Bound {
    /// By how much the value can be longer than the list that it is made of.
    fn growth(&self) -> usize {
        match &self.finish {
            Finish::Joined { separator } => 1 + separator.len(),
            _ => 2,
        }
    }

    /// What the value is made of.
    fn arguments(&self) -> impl Iterator<Item = usize> {
        self.arg.into_iter().chain(self.second)
    }
}

/// How many bytes each value of a column takes.
fn lengths(column: &ArrayRef) -> Result<Vec<usize>, TaskError> {
    Ok(match column.data_type() {
        DataType::Utf8 | DataType::Binary => (0..column.len()).map(|row| bytes_at(column, row).len()).collect(),
        DataType::List(_) | DataType::Map(..) | DataType::Struct(_) => {
            let value = |row| Ok::<_, TaskError>(column.slice(row, 1).to_data().get_slice_memory_size()?);
            (0..column.len()).map(value).collect::<Result<_, _>>()?
        }
        _ => vec![FIXED_BYTES; column.len()],
    })
}

/// How many bytes each row of columns takes, but for what all values take.
///
/// # Errors
/// If a column cannot be measured, which is a defect of ours.
pub(crate) fn row_lengths(columns: &[ArrayRef], rows: usize) -> Result<Vec<usize>, TaskError> {
    let mut sums = vec![0; rows];
    for column in columns {
        if !column.data_type().is_primitive() && *column.data_type() != DataType::Null {
            let lengths = lengths(column)?;
            sums.iter_mut().zip(lengths).for_each(|(sum, length)| *sum += length);
        }
    }
    Ok(sums)
}

/// Items in pieces of at most [`MAX_EMITTED_ROWS`] which take at most so many bytes, or are one item.
pub(crate) fn pieces_of<T>(items: &[T], most_bytes: usize, bytes_of: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let (mut pieces, mut rest) = (vec![], items);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |item: &&T| {
            bytes += bytes_of(item);
            bytes <= most_bytes
        };
        let fit = rest.iter().take(MAX_EMITTED_ROWS).take_while(fits).count().max(1);
        let (piece, behind) = rest.split_at(fit);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}
