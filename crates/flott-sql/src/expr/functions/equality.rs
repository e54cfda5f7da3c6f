//! Equality and order of values inside arrays, maps and rows, as Flink's: doubles by IEEE 754 (NaN equals nothing, the
//! zeros are one), maps by their entries in any order. Whether a NULL element equals another depends on who asks
//! ([`NullElements`]); NULL fields of rows are equal.

use crate::expr::error::ExprError;
use crate::expr::value::kernel_error;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, SortOptions};
use std::cmp::Ordering;

/// Whether row i of the one and row j of the other array hold equal values.
pub type Equal<'a> = Box<dyn Fn(usize, usize) -> bool + 'a>;

/// What NULL elements of arrays and NULL values of maps are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NullElements {
    /// Equal, as for `ARRAY_DISTINCT` and its like.
    Equal,
    /// Equal to nothing, as for `=`.
    Unequal,
}

/// Compares rows of two arrays of one type, NULL elements being equal.
///
/// # Errors
/// If the arrays differ in type.
pub fn equality<'a>(a: &'a ArrayRef, b: &'a ArrayRef) -> Result<Equal<'a>, ExprError> {
    equality_with(a, b, NullElements::Equal)
}

/// Compares rows of two arrays of one type.
///
/// # Errors
/// If the arrays differ in type.
pub fn equality_with<'a>(
    a: &'a ArrayRef,
    b: &'a ArrayRef,
    null_elements: NullElements,
) -> Result<Equal<'a>, ExprError> {
    let equality = |a: &'a ArrayRef, b: &'a ArrayRef| equality_with(a, b, null_elements);
    let has_value = move |array: &ArrayRef, i: usize| null_elements == NullElements::Equal || !array.is_null(i);
    let inner: Equal<'a> = match (a.data_type(), b.data_type()) {
        (DataType::Float64, DataType::Float64) => {
            let (x, y) = (a.as_primitive::<Float64Type>(), b.as_primitive::<Float64Type>());
            Box::new(move |i, j| x.value(i) == y.value(j))
        }
        (DataType::Float32, DataType::Float32) => {
            let (x, y) = (a.as_primitive::<Float32Type>(), b.as_primitive::<Float32Type>());
            Box::new(move |i, j| x.value(i) == y.value(j))
        }
        (DataType::List(_), DataType::List(_)) => {
            let (x, y) = (a.as_list::<i32>(), b.as_list::<i32>());
            let same = equality(x.values(), y.values())?;
            let same = move |p: usize, q: usize| has_value(x.values(), p) && same(p, q);
            Box::new(move |i, j| {
                let (from, to) = (x.value_offsets()[i] as usize, x.value_offsets()[i + 1] as usize);
                let (start, end) = (y.value_offsets()[j] as usize, y.value_offsets()[j + 1] as usize);
                to - from == end - start && (from..to).zip(start..end).all(|(p, q)| same(p, q))
            })
        }
        (DataType::Map(..), DataType::Map(..)) => {
            let (x, y) = (a.as_map(), b.as_map());
            let (keys, values) = (equality(x.keys(), y.keys())?, equality(x.values(), y.values())?);
            let values = move |p: usize, q: usize| has_value(x.values(), p) && values(p, q);
            Box::new(move |i, j| {
                let (from, to) = (x.value_offsets()[i] as usize, x.value_offsets()[i + 1] as usize);
                let (start, end) = (y.value_offsets()[j] as usize, y.value_offsets()[j + 1] as usize);
                to - from == end - start && (from..to).all(|p| (start..end).any(|q| keys(p, q) && values(p, q)))
            })
        }
        (DataType::Struct(_), DataType::Struct(_)) => {
            let (x, y) = (a.as_struct(), b.as_struct());
            if x.num_columns() != y.num_columns() {
                return ordering(a, b)
                    .map(|order| -> Equal<'a> { Box::new(move |i, j| order(i, j) == Ordering::Equal) });
            }
            let fields: Vec<Equal<'a>> = x
                .columns()
                .iter()
                .zip(y.columns())
                .map(|(p, q)| equality(p, q))
                .collect::<Result<_, _>>()?;
            Box::new(move |i, j| fields.iter().all(|same| same(i, j)))
        }
        (DataType::Null, DataType::Null) => return Ok(Box::new(|_, _| true)),
        _ => {
            let order = ordering(a, b)?;
            Box::new(move |i, j| order(i, j) == Ordering::Equal)
        }
    };
    Ok(Box::new(move |i, j| match (a.is_null(i), b.is_null(j)) {
        (false, false) => inner(i, j),
        (x, y) => x && y,
    }))
}

/// Order of the rows of two arrays; NULL before all else.
pub fn ordering<'a>(a: &'a ArrayRef, b: &'a ArrayRef) -> Result<arrow_ord::ord::DynComparator, ExprError> {
    arrow_ord::ord::make_comparator(a.as_ref(), b.as_ref(), SortOptions::default())
        .map_err(|e| kernel_error("comparison", &e))
}
