//! The argument of an aggregate as kernels read it: [`Values`] in storage form, and which rows count ([`valid_rows`]).
//!
//! All integer-like types become 64-bit integers, FLOAT becomes DOUBLE, DECIMAL its unscaled 128 bits, strings and bytes
//! stay where they are. 64-bit columns are shared, not copied. A row counts if its argument is not NULL and its FILTER is
//! TRUE; both are folded into one validity buffer.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};

/// Values of an argument in storage form, a row each.
#[derive(Debug, Clone)]
pub(crate) enum Values {
    I64(ScalarBuffer<i64>),
    F64(ScalarBuffer<f64>),
    I128(ScalarBuffer<i128>),
    /// A Utf8 or Binary column.
    Bytes(ArrayRef),
    /// `COUNT(*)`, or a type that is only counted.
    Absent,
}

impl Values {
    /// The values of a column; [`Values::Absent`] for types without storage form.
    pub(crate) fn of(column: &ArrayRef) -> Self {
        macro_rules! widen {
            ($ty:ty) => {
                Self::I64(
                    column
                        .as_primitive::<$ty>()
                        .values()
                        .iter()
                        .map(|v| i64::from(*v))
                        .collect(),
                )
            };
        }
        macro_rules! share {
            ($ty:ty) => {
                Self::I64(column.as_primitive::<$ty>().values().clone())
            };
        }
        match column.data_type() {
            DataType::Boolean => Self::I64(column.as_boolean().values().iter().map(i64::from).collect()),
            DataType::Int8 => widen!(Int8Type),
            DataType::Int16 => widen!(Int16Type),
            DataType::Int32 => widen!(Int32Type),
            DataType::Int64 => share!(Int64Type),
            DataType::Date32 => widen!(Date32Type),
            DataType::Time32(_) => widen!(Time32MillisecondType),
            DataType::Timestamp(TimeUnit::Microsecond, _) => share!(TimestampMicrosecondType),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => share!(TimestampNanosecondType),
            DataType::Timestamp(_, _) => share!(TimestampMillisecondType),
            DataType::Float32 => Self::F64(
                column
                    .as_primitive::<Float32Type>()
                    .values()
                    .iter()
                    .map(|v| f64::from(*v))
                    .collect(),
            ),
            DataType::Float64 => Self::F64(column.as_primitive::<Float64Type>().values().clone()),
            DataType::Decimal128(..) => Self::I128(column.as_primitive::<Decimal128Type>().values().clone()),
            DataType::Utf8 | DataType::Binary => Self::Bytes(column.clone()),
            _ => Self::Absent,
        }
    }

    /// The same values, negated where `signs` is -1. Bytes stay as they are.
    pub(crate) fn signed(self, signs: Option<&[i64]>) -> Self {
        let Some(signs) = signs else { return self };
        match self {
            Self::I64(v) => Self::I64(v.iter().zip(signs).map(|(v, s)| v.wrapping_mul(*s)).collect()),
            Self::F64(v) => Self::F64(v.iter().zip(signs).map(|(v, s)| v * *s as f64).collect()),
            Self::I128(v) => Self::I128(
                v.iter()
                    .zip(signs)
                    .map(|(v, s)| v.wrapping_mul(i128::from(*s)))
                    .collect(),
            ),
            other => other,
        }
    }
}

/// The bytes of a row of a Utf8 or Binary column.
#[inline]
pub(crate) fn bytes_at(column: &ArrayRef, row: usize) -> &[u8] {
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).as_bytes(),
        _ => column.as_binary::<i32>().value(row),
    }
}

/// Rows for which a BOOLEAN column is TRUE.
pub(crate) fn is_true(column: &BooleanArray) -> BooleanBuffer {
    match column.nulls() {
        Some(nulls) if nulls.null_count() > 0 => column.values() & nulls.inner(),
        _ => column.values().clone(),
    }
}

/// Rows of `argument` that are not NULL and pass `filter`; `None`: all.
pub(crate) fn valid_rows(argument: Option<&ArrayRef>, filter: Option<&ArrayRef>) -> Option<NullBuffer> {
    let not_null = argument.and_then(|a| a.logical_nulls()).filter(|n| n.null_count() > 0);
    let filter = filter.map(|f| NullBuffer::new(is_true(f.as_boolean())));
    NullBuffer::union(not_null.as_ref(), filter.as_ref())
}
