//! Folds of values into state columns: [`Trace`] and the kernels that write it.
//!
//! Every kernel takes parallel slices (slot, value, validity) and changes slots in row order. With a trace it also notes
//! the slot's new content after each row, which is what an aggregation without mini-batch emits; without one it runs
//! the column's own batch kernel where there is one.

use super::argument::bytes_at;
use arrow_array::builder::{ArrayBuilder, BinaryBuilder};
use arrow_array::{Array, ArrayRef, Decimal128Array, Float64Array, Int64Array, NullArray, StringArray};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, NullBuffer, ScalarBuffer};
use flott_runtime::TaskError;
use flott_state::column::Fixed;
use flott_state::{BytesColumn, Column, KeyedTable};
use std::sync::Arc;

/// A decimal sum that has left 38 digits: shown as NULL, and every further sum with it too.
///
/// Flink forgets the overflow at the next row and sums on from there; a wrong sum helps nobody.
pub(crate) const DECIMAL_OVERFLOW: i128 = i128::MIN;
const DECIMAL_LIMIT: i128 = 10i128.pow(38);

/// Sum of two unscaled decimals, [`DECIMAL_OVERFLOW`] beyond 38 digits.
#[inline]
pub(crate) fn decimal_plus(a: i128, b: i128) -> i128 {
    if a == DECIMAL_OVERFLOW || b == DECIMAL_OVERFLOW {
        return DECIMAL_OVERFLOW;
    }
    let sum = a.wrapping_add(b);
    if sum >= DECIMAL_LIMIT || sum <= -DECIMAL_LIMIT {
        DECIMAL_OVERFLOW
    } else {
        sum
    }
}

/// Sum of two FLOATs that are kept as DOUBLE.
#[inline]
pub(crate) fn float_plus(a: f64, b: f64) -> f64 {
    f64::from(a as f32 + b as f32)
}

/// What one fixed-width column held after each row.
#[derive(Debug)]
pub(crate) struct FixedTrace<T> {
    values: Vec<T>,
    valid: BooleanBufferBuilder,
}

impl<T: Fixed> FixedTrace<T> {
    fn new(rows: usize) -> Self {
        Self {
            values: Vec::with_capacity(rows),
            valid: BooleanBufferBuilder::new(rows),
        }
    }

    #[inline]
    fn note(&mut self, column: &Column<T>, slot: u32) {
        self.values.push(column.get(slot));
        self.valid.append(!column.is_null(slot));
    }

    /// Notes values that are not NULL.
    pub(crate) fn extend(&mut self, values: Vec<T>) {
        self.valid.append_n(values.len(), true);
        self.values.extend(values);
    }

    fn finish(mut self) -> (Vec<T>, Option<NullBuffer>) {
        let nulls = NullBuffer::new(self.valid.finish());
        (self.values, (nulls.null_count() > 0).then_some(nulls))
    }
}

/// What a column of bytes held after each row.
#[derive(Debug)]
pub(crate) struct BytesTrace {
    values: BinaryBuilder,
    /// The rows behind which the content matters; `None`: all.
    noted: Option<BooleanBuffer>,
    is_full: bool,
}

impl BytesTrace {
    /// Notes the content behind the next row.
    #[inline]
    pub(crate) fn note(&mut self, content: Option<&[u8]>) {
        let row = self.values.len();
        let content = content.filter(|_| self.noted.as_ref().is_none_or(|noted| noted.value(row)));
        let bytes = content.map_or(0, <[u8]>::len);
        self.is_full |= !has_room(self.values.values_slice().len(), bytes);
        self.values.append_option(content.filter(|_| !self.is_full));
    }
}

/// Whether so many more bytes fit into a column that holds `held` of them.
pub(crate) fn has_room(held: usize, more: usize) -> bool {
    held.saturating_add(more) <= i32::MAX as usize
}

/// The values of one call are too large together, which is a defect of ours: operators look for room first.
pub(crate) fn too_many() -> TaskError {
    TaskError::data(
        "the values of the groups of one batch exceed 2 GiB together: aggregate over less (a window, a narrower key), or keep \
         shorter texts (SUBSTRING)",
    )
}

/// What the columns of an aggregation held after each row, a trace a column.
#[derive(Debug)]
pub(crate) enum Trace {
    I64(FixedTrace<i64>),
    F64(FixedTrace<f64>),
    I128(FixedTrace<i128>),
    Bytes(BytesTrace),
    /// Of a column that no value is made of: nothing is noted.
    Hidden,
}

impl Trace {
    pub(crate) fn i64(rows: usize) -> Self {
        Self::I64(FixedTrace::new(rows))
    }

    pub(crate) fn f64(rows: usize) -> Self {
        Self::F64(FixedTrace::new(rows))
    }

    pub(crate) fn i128(rows: usize) -> Self {
        Self::I128(FixedTrace::new(rows))
    }

    /// Of `noted` rows only, which are all if there is none.
    pub(crate) fn bytes(noted: Option<&BooleanBuffer>) -> Self {
        Self::Bytes(BytesTrace {
            values: BinaryBuilder::new(),
            noted: noted.cloned(),
            is_full: false,
        })
    }

    pub(crate) fn as_i64(&mut self) -> Option<&mut FixedTrace<i64>> {
        match self {
            Self::I64(t) => Some(t),
            _ => None,
        }
    }

    pub(crate) fn as_f64(&mut self) -> Option<&mut FixedTrace<f64>> {
        match self {
            Self::F64(t) => Some(t),
            _ => None,
        }
    }

    pub(crate) fn as_i128(&mut self) -> Option<&mut FixedTrace<i128>> {
        match self {
            Self::I128(t) => Some(t),
            _ => None,
        }
    }

    pub(crate) fn as_bytes(&mut self) -> Option<&mut BytesTrace> {
        match self {
            Self::Bytes(t) => Some(t),
            _ => None,
        }
    }

    /// Notes values that are not NULL, if this is a trace of 64-bit integers.
    pub(crate) fn extend_i64(&mut self, values: &[i64]) {
        if let Self::I64(t) = self {
            t.extend(values.to_vec());
        }
    }

    /// Notes what state column `column` of a slot holds.
    pub(crate) fn note(&mut self, table: &KeyedTable, column: usize, slot: u32) {
        match self {
            Self::I64(t) => t.note(table.column(column), slot),
            Self::F64(t) => t.note(table.column(column), slot),
            Self::I128(t) => t.note(table.column(column), slot),
            Self::Bytes(t) => t.note(table.bytes_column(column).get(slot)),
            Self::Hidden => {}
        }
    }

    /// The trace as a column of the storage form; strings and bytes are Binary.
    ///
    /// # Errors
    /// If bytes exceed what a column can hold.
    pub(crate) fn finish(self) -> Result<ArrayRef, TaskError> {
        Ok(match self {
            Self::I64(t) => {
                let (values, nulls) = t.finish();
                Arc::new(Int64Array::new(values.into(), nulls))
            }
            Self::F64(t) => {
                let (values, nulls) = t.finish();
                Arc::new(Float64Array::new(values.into(), nulls))
            }
            Self::I128(t) => {
                let (values, nulls) = t.finish();
                Arc::new(Decimal128Array::new(values.into(), nulls))
            }
            Self::Bytes(t) if t.is_full => return Err(too_many()),
            Self::Bytes(mut t) => Arc::new(t.values.finish()),
            Self::Hidden => hidden(),
        })
    }
}

/// What stands for the content of a column that no value is made of.
pub(crate) fn hidden() -> ArrayRef {
    Arc::new(NullArray::new(0))
}

/// Folds values with `plus`; the first value of a NULL slot is its content.
///
/// `counts_after`: over input that retracts, how many values the slot holds after each row; at zero it becomes NULL
/// again, so that what retractions leave behind in a floating-point sum is gone.
pub(crate) fn fold<T: Fixed>(
    column: &mut Column<T>,
    slots: &[u32],
    values: &[T],
    valid: Option<&NullBuffer>,
    counts_after: Option<&[i64]>,
    plus: impl Fn(T, T) -> T,
    mut trace: Option<&mut FixedTrace<T>>,
) {
    for (row, (&slot, &value)) in slots.iter().zip(values).enumerate() {
        if valid.is_none_or(|v| v.is_valid(row)) {
            if counts_after.is_some_and(|c| c[row] == 0) {
                column.set_value(slot, None);
            } else {
                let sum = column.value(slot).map_or(value, |held| plus(held, value));
                column.set(slot, sum);
            }
        }
        if let Some(trace) = &mut trace {
            trace.note(column, slot);
        }
    }
}

/// Adds `deltas` (ones, if there are none) to a counter.
pub(crate) fn count(
    column: &mut Column<i64>,
    slots: &[u32],
    deltas: Option<&[i64]>,
    valid: Option<&NullBuffer>,
    mut trace: Option<&mut FixedTrace<i64>>,
) {
    if trace.is_none() && valid.is_none() {
        match deltas {
            None => column.update(slots, |_, n| *n += 1),
            Some(deltas) => column.add(slots, deltas, None),
        }
        return;
    }
    for (row, &slot) in slots.iter().enumerate() {
        if valid.is_none_or(|v| v.is_valid(row)) {
            column.set(slot, column.get(slot) + deltas.map_or(1, |d| d[row]));
        }
        if let Some(trace) = &mut trace {
            trace.note(column, slot);
        }
    }
}

/// As [`count`], and returns the counter after each row.
pub(crate) fn count_through(
    column: &mut Column<i64>,
    slots: &[u32],
    deltas: Option<&[i64]>,
    valid: Option<&NullBuffer>,
) -> Vec<i64> {
    let mut after = Vec::with_capacity(slots.len());
    for (row, &slot) in slots.iter().enumerate() {
        let mut n = column.get(slot);
        if valid.is_none_or(|v| v.is_valid(row)) {
            n += deltas.map_or(1, |d| d[row]);
            column.set(slot, n);
        }
        after.push(n);
    }
    after
}

/// Keeps the smaller or larger byte string.
pub(crate) fn extreme_bytes(
    column: &mut BytesColumn,
    slots: &[u32],
    values: &ArrayRef,
    valid: Option<&NullBuffer>,
    is_max: bool,
    mut trace: Option<&mut BytesTrace>,
) {
    for (row, &slot) in slots.iter().enumerate() {
        if valid.is_none_or(|v| v.is_valid(row)) {
            let value = bytes_at(values, row);
            if is_max {
                column.max(slot, value)
            } else {
                column.min(slot, value)
            }
        }
        if let Some(trace) = &mut trace {
            trace.note(column.get(slot));
        }
    }
}

/// Keeps the first or the last byte string.
pub(crate) fn edge_bytes(
    column: &mut BytesColumn,
    slots: &[u32],
    values: &ArrayRef,
    valid: Option<&NullBuffer>,
    is_last: bool,
    mut trace: Option<&mut BytesTrace>,
) {
    for (row, &slot) in slots.iter().enumerate() {
        if valid.is_none_or(|v| v.is_valid(row)) && (is_last || column.get(slot).is_none()) {
            column.set(slot, Some(bytes_at(values, row)));
        }
        if let Some(trace) = &mut trace {
            trace.note(column.get(slot));
        }
    }
}

/// The content of `slots` as a Binary column.
///
/// # Errors
/// If it exceeds what a column can hold.
pub(crate) fn gather_bytes(column: &BytesColumn, slots: &[u32]) -> Result<ArrayRef, TaskError> {
    let mut builder = BinaryBuilder::new();
    for &slot in slots {
        let content = column.get(slot);
        if !has_room(builder.values_slice().len(), content.map_or(0, <[u8]>::len)) {
            return Err(too_many());
        }
        builder.append_option(content);
    }
    Ok(Arc::new(builder.finish()))
}

/// A Binary column that holds UTF-8 as a Utf8 column, without copying.
pub(crate) fn text_of(bytes: &ArrayRef) -> ArrayRef {
    use arrow_array::cast::AsArray;
    match bytes.as_binary_opt::<i32>() {
        Some(binary) => match StringArray::try_from_binary(binary.clone()) {
            Ok(text) => Arc::new(text),
            // Only bytes of Utf8 columns come here; if memory was damaged, NULLs are better than a crash.
            Err(_) => Arc::new(StringArray::new_null(bytes.len())),
        },
        None => bytes.clone(),
    }
}

/// An i64 column with nulls.
pub(crate) fn int64(values: impl Into<ScalarBuffer<i64>>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(Int64Array::new(values.into(), nulls))
}
