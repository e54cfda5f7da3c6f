//! Bytes of sort columns that compare as the order says: [`SortKeys`].
//!
//! A field is one byte that puts NULL before or behind all values, then, unless it is NULL, the value: numbers big endian
//! with the sign bit turned over (floats: all bits of negative ones; −0 is 0, every NaN is one and greater than all), BOOLEAN one
//! byte, strings and bytes with 0x00 written as 0x00 0xFF and ended by 0x00 0x00, so that no value is the beginning of another.
//! DESC turns over the bits of the value. The bytes live in memory only: state holds rows, and they are made again.

use crate::nodes::SortKey;
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use flott_runtime::TaskError;

/// The order of rows.
#[derive(Debug, Clone)]
pub(crate) struct SortKeys(Vec<SortKey>);

/// The sort bytes of a batch's rows.
#[derive(Debug, Default)]
pub(crate) struct SortBytes {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl SortBytes {
    /// Those of a row.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }
}

impl SortKeys {
    /// An order.
    pub(crate) fn new(keys: &[SortKey]) -> Self {
        Self(keys.to_vec())
    }

    /// The bytes of rows.
    ///
    /// # Errors
    /// If a column's type has no order, which planning has refused.
    pub(crate) fn bytes(&self, columns: &[ArrayRef], rows: usize) -> Result<SortBytes, TaskError> {
        let mut fields = self
            .0
            .iter()
            .map(|key| field_bytes(&columns[key.column], *key))
            .collect::<Result<Vec<SortBytes>, TaskError>>()?;
        if fields.len() == 1
            && let Some(only) = fields.pop()
        {
            return Ok(only);
        }
        let mut joined = SortBytes::default();
        for row in 0..rows {
            fields.iter().for_each(|f| joined.bytes.extend_from_slice(f.row(row)));
            joined.ends.push(joined.bytes.len());
        }
        Ok(joined)
    }
}

/// The bytes of one sort column.
fn field_bytes(column: &ArrayRef, key: SortKey) -> Result<SortBytes, TaskError> {
    macro_rules! integers {
        ($ty:ty, $unsigned:ty) => {{
            let values = column.as_primitive::<$ty>().values();
            encoded(column, key, |row, out| {
                let turned = (values[row] as $unsigned) ^ (1 << (<$unsigned>::BITS - 1));
                out.extend_from_slice(&turned.to_be_bytes());
            })
        }};
    }
    macro_rules! floats {
        ($ty:ty, $float:ty, $unsigned:ty) => {{
            let values = column.as_primitive::<$ty>().values();
            encoded(column, key, |row, out| {
                let bits = (in_order(f64::from(values[row])) as $float).to_bits();
                let sign: $unsigned = 1 << (<$unsigned>::BITS - 1);
                let turned = if bits & sign == 0 { bits | sign } else { !bits };
                out.extend_from_slice(&turned.to_be_bytes());
            })
        }};
    }
    Ok(match column.data_type() {
        DataType::Null => encoded(column, key, |_, _| {}),
        DataType::Boolean => {
            let values = column.as_boolean();
            encoded(column, key, |row, out| out.push(u8::from(values.value(row))))
        }
        DataType::Int8 => integers!(Int8Type, u8),
        DataType::Int16 => integers!(Int16Type, u16),
        DataType::Int32 => integers!(Int32Type, u32),
        DataType::Int64 => integers!(Int64Type, u64),
        DataType::Date32 => integers!(Date32Type, u32),
        DataType::Time32(TimeUnit::Millisecond) => integers!(Time32MillisecondType, u32),
        DataType::Timestamp(TimeUnit::Millisecond, _) => integers!(TimestampMillisecondType, u64),
        DataType::Timestamp(TimeUnit::Microsecond, _) => integers!(TimestampMicrosecondType, u64),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => integers!(TimestampNanosecondType, u64),
        DataType::Decimal128(..) => integers!(Decimal128Type, u128),
        DataType::Float32 => floats!(Float32Type, f32, u32),
        DataType::Float64 => floats!(Float64Type, f64, u64),
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            encoded(column, key, |row, out| put_bytes(values.value(row).as_bytes(), out))
        }
        DataType::Binary => {
            let values = column.as_binary::<i32>();
            encoded(column, key, |row, out| put_bytes(values.value(row), out))
        }
        other => return Err(TaskError::internal(format!("values of type {other} have no order"))),
    })
}

/// The number that stands for another in an order: 0 for −0, and one NaN for all.
pub(crate) fn in_order(value: f64) -> f64 {
    if value == 0.0 {
        0.0
    } else if value.is_nan() {
        f64::NAN
    } else {
        value
    }
}

fn put_bytes(value: &[u8], out: &mut Vec<u8>) {
    for &byte in value {
        out.push(byte);
        if byte == 0 {
            out.push(0xFF);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// The bytes of a column whose values `put` appends, by row.
fn encoded(column: &ArrayRef, key: SortKey, put: impl Fn(usize, &mut Vec<u8>)) -> SortBytes {
    let nulls = column.logical_nulls();
    let (null, value) = if key.nulls_last { (1, 0) } else { (0, 1) };
    let mut out = SortBytes::default();
    for row in 0..column.len() {
        if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
            out.bytes.push(null);
        } else {
            out.bytes.push(value);
            let start = out.bytes.len();
            put(row, &mut out.bytes);
            if key.descending {
                out.bytes[start..].iter_mut().for_each(|b| *b = !*b);
            }
        }
        out.ends.push(out.bytes.len());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, StringArray};
    use std::sync::Arc;

    /// The positions of a column's rows in their order.
    fn order(column: ArrayRef, descending: bool, nulls_last: bool) -> Vec<usize> {
        let keys = SortKeys::new(&[SortKey {
            column: 0,
            descending,
            nulls_last,
        }]);
        let rows = column.len();
        let bytes = keys.bytes(&[column], rows).unwrap();
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by(|a, b| bytes.row(*a).cmp(bytes.row(*b)));
        order
    }

    #[test]
    fn bytes_compare_as_values_do() {
        let integers = || Arc::new(Int32Array::from(vec![Some(3), Some(-5), None, Some(0), Some(i32::MIN)]));
        assert_eq!(order(integers(), false, false), [2, 4, 1, 3, 0]);
        assert_eq!(order(integers(), true, true), [0, 3, 1, 4, 2]);
        assert_eq!(order(integers(), true, false), [2, 0, 3, 1, 4]);
        let floats = Float64Array::from(vec![f64::NAN, -1.5, 0.0, -0.0, f64::NEG_INFINITY, 2.0]);
        assert_eq!(order(Arc::new(floats), false, false), [4, 1, 2, 3, 5, 0]);
        let decimals = Decimal128Array::from(vec![1_i128 << 100, -(1_i128 << 90), 7]);
        assert_eq!(order(Arc::new(decimals), false, false), [1, 2, 0]);
        let strings = || Arc::new(StringArray::from(vec!["b", "", "a\0b", "a", "ab", "é", "a\0"]));
        assert_eq!(order(strings(), false, false), [1, 3, 6, 2, 4, 0, 5]);
        assert_eq!(order(strings(), true, false), [5, 0, 4, 2, 6, 3, 1]);
        let bytes = BinaryArray::from_vec(vec![&[255, 0], &[255], &[0, 0], &[0]]);
        assert_eq!(order(Arc::new(bytes), false, false), [3, 2, 1, 0]);
        let truths = BooleanArray::from(vec![true, false]);
        assert_eq!(order(Arc::new(truths), false, false), [1, 0]);
    }

    #[test]
    fn the_first_column_that_differs_decides() {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["a", "ab", "a", "a"])),
            Arc::new(Int32Array::from(vec![1, 0, 2, -1])),
        ];
        let key = |column, descending| SortKey {
            column,
            descending,
            nulls_last: false,
        };
        let bytes = SortKeys::new(&[key(0, false), key(1, true)])
            .bytes(&columns, 4)
            .unwrap();
        let mut order: Vec<usize> = (0..4).collect();
        order.sort_by(|a, b| bytes.row(*a).cmp(bytes.row(*b)));
        assert_eq!(order, [2, 0, 3, 1]);
    }
}
