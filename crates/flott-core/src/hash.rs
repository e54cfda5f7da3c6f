//! The key hash: one function for exchange, state and files, specified here because it decides where state lies on disk.
//!
//! Version 1. Per field, from left to right, starting at `h = SEED`:
//! `h = fold(h ^ v)` where `fold(x)` is the xor of both halves of the 128-bit product `x * K`, and `v` is
//! * NULL: `NULL_MARK`;
//! * BOOLEAN, integers, DATE, TIME, timestamps, intervals: the value sign-extended to 64 bits;
//! * FLOAT, DOUBLE: the bits of the value as DOUBLE, every NaN as one (0 and −0 are two keys, as in Flink);
//! * DECIMAL: the unscaled 128-bit value, low half folded in first, then the high half;
//! * strings and bytes: XXH3-64 with seed `SEED` over the bytes;
//! * ARRAY, MAP, ROW: a count of the elements (entries, fields), then the elements, each like a field.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_schema::{DataType, TimeUnit};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const K: u64 = 0xa076_1d64_78bd_642f;
const NULL_MARK: u64 = 0xe703_7ed1_a0b4_28db;

/// A column of this Arrow type cannot be part of a key.
#[derive(Debug, thiserror::Error)]
#[error("values of type {0} cannot be hashed as a key")]
pub struct UnhashableType(pub DataType);

#[inline]
fn fold(x: u64) -> u64 {
    let product = u128::from(x) * u128::from(K);
    (product as u64) ^ ((product >> 64) as u64)
}

#[inline]
fn float_bits(v: f64) -> u64 {
    if v.is_nan() { f64::NAN } else { v }.to_bits()
}

/// Hash of a key of one 64-bit integer field that is not NULL.
#[inline]
pub fn hash_i64(value: i64) -> u64 {
    fold(SEED ^ value as u64)
}

/// Hash of a key of one string or bytes field that is not NULL.
#[inline]
pub fn hash_bytes(value: &[u8]) -> u64 {
    fold(SEED ^ xxh3_64_with_seed(value, SEED))
}

/// Hashes of `rows` keys made of `columns`; no columns: every row has the same hash.
///
/// # Errors
/// If a column's type has no hash.
pub fn hash_columns(columns: &[ArrayRef], rows: usize) -> Result<Vec<u64>, UnhashableType> {
    // The commonest keys in one pass.
    if let [column] = columns
        && column.null_count() == 0
    {
        match column.data_type() {
            DataType::Int64 => {
                let values = column.as_primitive::<Int64Type>().values();
                return Ok(values.iter().map(|v| hash_i64(*v)).collect());
            }
            DataType::Utf8 => {
                let texts = column.as_string::<i32>();
                return Ok((0..rows).map(|i| hash_bytes(texts.value(i).as_bytes())).collect());
            }
            _ => {}
        }
    }
    let mut hashes = vec![SEED; rows];
    for column in columns {
        hash_column(column.as_ref(), &mut hashes)?;
    }
    Ok(hashes)
}

fn hash_column(column: &dyn Array, hashes: &mut [u64]) -> Result<(), UnhashableType> {
    match column.data_type() {
        DataType::Boolean => {
            let a = column.as_boolean();
            each(column, hashes, |i| u64::from(a.value(i)));
        }
        DataType::Int8 => primitive::<Int8Type>(column, hashes, |v| i64::from(v) as u64),
        DataType::Int16 => primitive::<Int16Type>(column, hashes, |v| i64::from(v) as u64),
        DataType::Int32 => primitive::<Int32Type>(column, hashes, |v| i64::from(v) as u64),
        DataType::Int64 => primitive::<Int64Type>(column, hashes, |v| v as u64),
        DataType::Date32 => primitive::<Date32Type>(column, hashes, |v| i64::from(v) as u64),
        DataType::Time32(TimeUnit::Millisecond) => {
            primitive::<Time32MillisecondType>(column, hashes, |v| i64::from(v) as u64);
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            primitive::<TimestampMillisecondType>(column, hashes, |v| v as u64);
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            primitive::<TimestampMicrosecondType>(column, hashes, |v| v as u64);
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            primitive::<TimestampNanosecondType>(column, hashes, |v| v as u64);
        }
        DataType::Float32 => primitive::<Float32Type>(column, hashes, |v| float_bits(f64::from(v))),
        DataType::Float64 => primitive::<Float64Type>(column, hashes, float_bits),
        DataType::Decimal128(..) => {
            let a = column.as_primitive::<Decimal128Type>();
            for (i, h) in hashes.iter_mut().enumerate() {
                *h = if a.is_null(i) {
                    fold(*h ^ NULL_MARK)
                } else {
                    let v = a.value(i);
                    fold(fold(*h ^ v as u64) ^ (v >> 64) as u64)
                };
            }
        }
        DataType::Utf8 => {
            let a = column.as_string::<i32>();
            each(column, hashes, |i| xxh3_64_with_seed(a.value(i).as_bytes(), SEED));
        }
        DataType::Binary => {
            let a = column.as_binary::<i32>();
            each(column, hashes, |i| xxh3_64_with_seed(a.value(i), SEED));
        }
        DataType::Null => hashes.iter_mut().for_each(|h| *h = fold(*h ^ NULL_MARK)),
        DataType::Struct(_) => {
            let a = column.as_struct();
            nested(
                column,
                hashes,
                |_| Ok((a.columns().to_vec(), 1)),
                |i, c| c.iter().map(|c| c.slice(i, 1)).collect(),
            )?;
        }
        DataType::List(_) => {
            let a = column.as_list::<i32>();
            nested(
                column,
                hashes,
                |i| Ok((vec![], a.value_length(i) as usize)),
                |i, _| vec![a.value(i)],
            )?;
        }
        DataType::Map(..) => {
            let a = column.as_map();
            nested(
                column,
                hashes,
                |i| Ok((vec![], a.value_length(i) as usize)),
                |i, _| a.value(i).columns().to_vec(),
            )?;
        }
        other => return Err(UnhashableType(other.clone())),
    }
    Ok(())
}

#[inline]
fn each(column: &dyn Array, hashes: &mut [u64], value: impl Fn(usize) -> u64) {
    if column.null_count() == 0 {
        for (i, h) in hashes.iter_mut().enumerate() {
            *h = fold(*h ^ value(i));
        }
    } else {
        for (i, h) in hashes.iter_mut().enumerate() {
            *h = fold(*h ^ if column.is_null(i) { NULL_MARK } else { value(i) });
        }
    }
}

#[inline]
fn primitive<T: ArrowPrimitiveType>(column: &dyn Array, hashes: &mut [u64], bits: impl Fn(T::Native) -> u64) {
    let a: &PrimitiveArray<T> = column.as_primitive::<T>();
    let values = a.values();
    each(column, hashes, |i| bits(values[i]));
}

/// Hashes a nested column row by row: the slow path, for keys that are rarely used.
fn nested(
    column: &dyn Array,
    hashes: &mut [u64],
    shape: impl Fn(usize) -> Result<(Vec<ArrayRef>, usize), UnhashableType>,
    parts: impl Fn(usize, &[ArrayRef]) -> Vec<ArrayRef>,
) -> Result<(), UnhashableType> {
    for (i, h) in hashes.iter_mut().enumerate() {
        if column.is_null(i) {
            *h = fold(*h ^ NULL_MARK);
            continue;
        }
        let (columns, count) = shape(i)?;
        *h = fold(*h ^ count as u64);
        for part in parts(i, &columns) {
            for element in 0..part.len() {
                hash_column(part.slice(element, 1).as_ref(), std::slice::from_mut(h))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Float64Array, Int32Array, Int64Array, StringArray, StructArray};
    use std::sync::Arc;

    #[test]
    fn vectors_of_version_1() {
        let cols: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![Some(1), None, Some(-1)]))];
        assert_eq!(
            hash_columns(&cols, 3).unwrap(),
            vec![hash_i64(1), fold(SEED ^ NULL_MARK), hash_i64(-1)]
        );
        assert_eq!(
            [hash_i64(0), hash_i64(1), hash_bytes(b""), hash_bytes(b"a.com")],
            VECTORS
        );
    }

    const VECTORS: [u64; 4] = [
        7423383483382639721,
        41593898313400349,
        11909611715689261302,
        5281093806422247725,
    ];

    #[test]
    fn equal_values_of_different_widths_hash_alike() {
        let a: ArrayRef = Arc::new(Int32Array::from(vec![7]));
        let b: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        assert_eq!(hash_columns(&[a], 1).unwrap(), hash_columns(&[b], 1).unwrap());
    }

    #[test]
    fn both_zeros_are_two_keys_and_nan_is_one() {
        let c: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN]));
        let h = hash_columns(&[c], 4).unwrap();
        assert_ne!(h[0], h[1]);
        assert_eq!((h[0], h[2]), (hash_i64(0), h[3]));
    }

    #[test]
    fn rows_hash_by_their_fields() {
        let s = |v: &str| -> ArrayRef {
            let text: ArrayRef = Arc::new(StringArray::from(vec![v]));
            Arc::new(StructArray::try_from(vec![("f", text)]).unwrap())
        };
        assert_eq!(hash_columns(&[s("x")], 1).unwrap(), hash_columns(&[s("x")], 1).unwrap());
        assert_ne!(hash_columns(&[s("x")], 1).unwrap(), hash_columns(&[s("y")], 1).unwrap());
    }
}
