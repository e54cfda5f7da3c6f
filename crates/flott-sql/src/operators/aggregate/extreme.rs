//! The values of MIN or MAX over input that retracts, in order: [`OrderedValues`].
//!
//! When the extreme of a group is taken back, the next one must be known. The values themselves are state (a set of
//! [`super::distinct`]); their order is only in memory, and rebuilt from the set when the job is restored.

use super::argument::{Values, bytes_at};
use super::fold::Trace;
use super::sliding::{SlidingValues, Wanted};
use arrow_array::ArrayRef;
use arrow_buffer::NullBuffer;
use flott_state::KeyedTable;
use std::collections::BTreeSet;

/// Values by group and order.
#[derive(Debug)]
pub(crate) enum OrderedValues {
    I64(BTreeSet<(u32, i64)>),
    /// As [`ordered_bits`].
    F64(BTreeSet<(u32, u64)>),
    I128(BTreeSet<(u32, i128)>),
    Bytes(BTreeSet<(u32, Box<[u8]>)>),
    /// Of rows that leave in the order in which they came.
    Sliding(SlidingValues),
}

impl OrderedValues {
    /// None yet, for values in the storage form of `column`.
    pub(crate) fn like(values: &Values) -> Self {
        match values {
            Values::I64(_) | Values::Absent => Self::I64(BTreeSet::new()),
            Values::F64(_) => Self::F64(BTreeSet::new()),
            Values::I128(_) => Self::I128(BTreeSet::new()),
            Values::Bytes(_) => Self::Bytes(BTreeSet::new()),
        }
    }

    /// Puts the valid rows in, or takes out those whose sign is -1, and keeps state column `first` at the extreme of
    /// each slot, noting it after each row where there is a trace.
    #[expect(clippy::too_many_arguments, reason = "parallel slices of one kernel")]
    pub(crate) fn apply(
        &mut self,
        table: &mut KeyedTable,
        first: usize,
        slots: &[u32],
        signs: Option<&[i64]>,
        column: &ArrayRef,
        valid: Option<&NullBuffer>,
        wanted: Wanted,
        mut trace: Option<&mut Trace>,
    ) {
        if let Self::Sliding(values) = self {
            values.apply(table, first, slots, signs, column, valid, wanted, trace);
            return;
        }
        let values = Values::of(column);
        for (row, &slot) in slots.iter().enumerate() {
            if valid.is_none_or(|v| v.is_valid(row)) {
                self.change(slot, &values, row, signs.is_none_or(|s| s[row] > 0));
                self.store(table, first, slot, wanted == Wanted::Max);
            }
            if let Some(trace) = &mut trace {
                trace.note(table, first, slot);
            }
        }
    }

    /// Puts values of restored state in; the state columns hold their extremes already.
    pub(crate) fn load(&mut self, slots: &[u32], column: &ArrayRef, valid: &NullBuffer) {
        let values = Values::of(column);
        for (row, &slot) in slots.iter().enumerate().filter(|(row, _)| valid.is_valid(*row)) {
            self.change(slot, &values, row, true);
        }
    }

    fn change(&mut self, slot: u32, values: &Values, row: usize, is_added: bool) {
        fn put<T: Ord>(set: &mut BTreeSet<(u32, T)>, entry: (u32, T), is_added: bool) {
            if is_added {
                set.insert(entry);
            } else {
                set.remove(&entry);
            }
        }
        match (self, values) {
            (Self::I64(set), Values::I64(v)) => put(set, (slot, v[row]), is_added),
            (Self::F64(set), Values::F64(v)) => put(set, (slot, ordered_bits(v[row])), is_added),
            (Self::I128(set), Values::I128(v)) => put(set, (slot, v[row]), is_added),
            (Self::Bytes(set), Values::Bytes(v)) => put(set, (slot, bytes_at(v, row).into()), is_added),
            _ => {}
        }
    }

    fn store(&self, table: &mut KeyedTable, column: usize, slot: u32, is_max: bool) {
        match self {
            Self::I64(set) => table
                .column_mut::<i64>(column)
                .set_value(slot, end(set, slot, i64::MIN, is_max).copied()),
            Self::I128(set) => table
                .column_mut::<i128>(column)
                .set_value(slot, end(set, slot, i128::MIN, is_max).copied()),
            Self::F64(set) => {
                let value = end(set, slot, 0, is_max).map(|bits| from_ordered_bits(*bits));
                let extremes = table.column_mut::<f64>(column);
                // Neither zero is less than the other: the first one stays.
                let is_kept = value == Some(0.0)
                    && extremes
                        .value(slot)
                        .is_some_and(|v| v == 0.0 && set.contains(&(slot, ordered_bits(v))));
                if !is_kept {
                    extremes.set_value(slot, value);
                }
            }
            Self::Bytes(set) => {
                let value = end(set, slot, Box::default(), is_max).map(AsRef::as_ref);
                table.bytes_column_mut(column).set(slot, value);
            }
            Self::Sliding(_) => {}
        }
    }

    /// Forgets the values of a slot whose group is gone.
    pub(crate) fn remove_group(&mut self, slot: u32) {
        fn cut<T: Ord + Clone>(set: &mut BTreeSet<(u32, T)>, slot: u32, least: T) {
            let of_slot: Vec<(u32, T)> = set.range((slot, least.clone())..(slot + 1, least)).cloned().collect();
            for entry in of_slot {
                set.remove(&entry);
            }
        }
        match self {
            Self::I64(set) => cut(set, slot, i64::MIN),
            Self::F64(set) => cut(set, slot, 0),
            Self::I128(set) => cut(set, slot, i128::MIN),
            Self::Bytes(set) => cut(set, slot, Box::default()),
            Self::Sliding(values) => values.remove_group(slot),
        }
    }

    /// Memory in bytes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::I64(set) => set.len() * 24,
            Self::F64(set) => set.len() * 24,
            Self::I128(set) => set.len() * 48,
            Self::Bytes(set) => set.len() * 56,
            Self::Sliding(values) => values.bytes(),
        }
    }
}

/// The smallest or largest value of a slot; `least` is the smallest of all.
fn end<T: Ord + Clone>(set: &BTreeSet<(u32, T)>, slot: u32, least: T, is_max: bool) -> Option<&T> {
    let mut of_slot = set.range((slot, least.clone())..(slot + 1, least));
    if is_max { of_slot.next_back() } else { of_slot.next() }.map(|(_, value)| value)
}

/// Bits that sort as Java compares numbers: −0 before 0, NaN, which is one, behind all.
pub(crate) fn ordered_bits(value: f64) -> u64 {
    // Dividing zero by zero gives a NaN with a sign.
    let bits = if value.is_nan() { f64::NAN } else { value }.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

pub(super) fn from_ordered_bits(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}
