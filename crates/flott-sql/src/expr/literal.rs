//! Between constants and arrays of one value.

use super::{Expr, ExprError, Literal};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, PrimitiveArray, StringArray, Time32MillisecondArray, new_null_array,
};
use arrow_schema::{DataType, TimeUnit};
use flott_core::{LogicalType, TypeKind};
use std::sync::Arc;

/// An array of one row with this value.
///
/// # Errors
/// If the value is not one of the type: a plan made by hand.
pub fn to_array(value: &Literal, ty: &LogicalType) -> Result<ArrayRef, ExprError> {
    let refused = || ExprError::NotExecutable {
        function: "literal".to_owned(),
        given: format!("{value:?} as {ty}"),
    };
    Ok(match (value, &ty.kind) {
        (Literal::Null, kind) => new_null_array(&kind.to_arrow(), 1),
        (Literal::Boolean(v), TypeKind::Boolean) => Arc::new(BooleanArray::from(vec![*v])),
        (Literal::Integer(v), TypeKind::TinyInt) => Arc::new(Int8Array::from(vec![*v as i8])),
        (Literal::Integer(v), TypeKind::SmallInt) => Arc::new(Int16Array::from(vec![*v as i16])),
        (Literal::Integer(v), TypeKind::Int) => Arc::new(Int32Array::from(vec![*v as i32])),
        (Literal::Integer(v), TypeKind::BigInt) => Arc::new(Int64Array::from(vec![*v])),
        (Literal::Decimal { unscaled, scale, .. }, TypeKind::Decimal(p, s)) if scale == s => {
            let array = Decimal128Array::from(vec![*unscaled]);
            Arc::new(array.with_precision_and_scale(*p, *s as i8).map_err(|_| refused())?)
        }
        (Literal::Double(v), TypeKind::Double) => Arc::new(Float64Array::from(vec![*v])),
        (Literal::Double(v), TypeKind::Float) => Arc::new(Float32Array::from(vec![*v as f32])),
        (Literal::String(v) | Literal::Symbol(v), kind) if kind.is_string() => {
            Arc::new(StringArray::from(vec![v.as_str()]))
        }
        (Literal::Binary(v), kind) if kind.is_binary() => Arc::new(BinaryArray::from(vec![v.as_slice()])),
        (Literal::Date(v), TypeKind::Date) => Arc::new(Date32Array::from(vec![*v])),
        (Literal::Time(v), TypeKind::Time(_)) => Arc::new(Time32MillisecondArray::from(vec![*v])),
        (Literal::Timestamp(v), kind) if kind.is_timestamp() => match kind.to_arrow() {
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Arc::new(PrimitiveArray::<TimestampMillisecondType>::from(vec![*v]))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Arc::new(PrimitiveArray::<TimestampMicrosecondType>::from(vec![*v]))
            }
            _ => Arc::new(PrimitiveArray::<TimestampNanosecondType>::from(vec![*v])),
        },
        (Literal::IntervalMonths(v), TypeKind::IntervalYearMonth) => Arc::new(Int32Array::from(vec![*v])),
        (Literal::IntervalMs(v), TypeKind::IntervalDayTime) => Arc::new(Int64Array::from(vec![*v])),
        _ => return Err(refused()),
    })
}

/// The constant that an array's first row holds; `None` for types that have no literals (ARRAY, MAP, ROW).
pub fn from_array(array: &dyn Array, ty: &LogicalType) -> Option<Expr> {
    let literal = |value| Some(Expr::literal(value, ty.clone()));
    if array.is_null(0) {
        return Some(Expr::null(ty.kind.clone()));
    }
    match &ty.kind {
        TypeKind::Boolean => literal(Literal::Boolean(array.as_boolean_opt()?.value(0))),
        TypeKind::TinyInt => literal(Literal::Integer(array.as_primitive_opt::<Int8Type>()?.value(0).into())),
        TypeKind::SmallInt => literal(Literal::Integer(array.as_primitive_opt::<Int16Type>()?.value(0).into())),
        TypeKind::Int => literal(Literal::Integer(array.as_primitive_opt::<Int32Type>()?.value(0).into())),
        TypeKind::BigInt => literal(Literal::Integer(array.as_primitive_opt::<Int64Type>()?.value(0))),
        TypeKind::Float => literal(Literal::Double(
            array.as_primitive_opt::<Float32Type>()?.value(0).into(),
        )),
        TypeKind::Double => literal(Literal::Double(array.as_primitive_opt::<Float64Type>()?.value(0))),
        TypeKind::Decimal(p, s) => literal(Literal::Decimal {
            unscaled: array.as_primitive_opt::<Decimal128Type>()?.value(0),
            precision: *p,
            scale: *s,
        }),
        kind if kind.is_string() => literal(Literal::String(array.as_string_opt::<i32>()?.value(0).to_owned())),
        kind if kind.is_binary() => literal(Literal::Binary(array.as_binary_opt::<i32>()?.value(0).to_vec())),
        TypeKind::Date => literal(Literal::Date(array.as_primitive_opt::<Date32Type>()?.value(0))),
        TypeKind::Time(_) => literal(Literal::Time(
            array.as_primitive_opt::<Time32MillisecondType>()?.value(0),
        )),
        TypeKind::IntervalYearMonth => {
            literal(Literal::IntervalMonths(array.as_primitive_opt::<Int32Type>()?.value(0)))
        }
        TypeKind::IntervalDayTime => literal(Literal::IntervalMs(array.as_primitive_opt::<Int64Type>()?.value(0))),
        kind if kind.is_timestamp() => {
            let ms = array.as_primitive_opt::<TimestampMillisecondType>().map(|a| a.value(0));
            let us = || array.as_primitive_opt::<TimestampMicrosecondType>().map(|a| a.value(0));
            let ns = || array.as_primitive_opt::<TimestampNanosecondType>().map(|a| a.value(0));
            literal(Literal::Timestamp(ms.or_else(us).or_else(ns)?))
        }
        _ => None,
    }
}
