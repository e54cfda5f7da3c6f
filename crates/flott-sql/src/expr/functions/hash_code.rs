//! `HASH_CODE`: the hash code that Java gives the value in Flink's internal form.

use super::entry;
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::temporal::per_second;
use crate::expr::value::{Primitives, Strings, Value};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow_array::{ArrayRef, Int32Array};
use flott_core::types::timestamp_unit;
use flott_core::{LogicalType, TypeKind};
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[entry(
    "HASH_CODE",
    "HASH_CODE(BOOLEAN|NUMERIC|STRING|DATE|TIME|TIMESTAMP)",
    infer,
    build,
)];

fn infer(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    let is_hashed = |kind: &TypeKind| match kind {
        TypeKind::Boolean | TypeKind::Date | TypeKind::Time(_) => true,
        kind => kind.is_numeric() || kind.is_string() || kind.is_timestamp(),
    };
    args.require(0, is_hashed, TypeKind::Int)?;
    Ok(args.result(TypeKind::Int))
}

fn of_long(value: i64) -> i32 {
    (value ^ ((value as u64) >> 32) as i64) as i32
}

fn of_text(value: &str) -> i32 {
    let units = value.encode_utf16();
    units.fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// A `BigDecimal`: its digits as a `BigInteger`, by 32 bits from the highest on, then its scale.
fn of_decimal(unscaled: i128, scale: u8) -> i32 {
    let magnitude = unscaled.unsigned_abs();
    let words = (0..4).rev().map(|i| (magnitude >> (32 * i)) as u32);
    let hash = words.fold(0, |hash: i32, word| hash.wrapping_mul(31).wrapping_add(word as i32));
    let hash = if unscaled < 0 { hash.wrapping_neg() } else { hash };
    hash.wrapping_mul(31).wrapping_add(i32::from(scale))
}

/// Milliseconds, then the nanoseconds behind them.
fn of_moment(value: i64, per_second: i64) -> i32 {
    let per_ms = per_second / 1_000;
    let nanos = value.rem_euclid(per_ms) * (1_000_000 / per_ms);
    of_long(value.div_euclid(per_ms))
        .wrapping_mul(31)
        .wrapping_add(nanos as i32)
}

fn hashed<T: ArrowPrimitiveType>(
    args: &[Value],
    rows: usize,
    hash: impl Fn(T::Native) -> i32,
) -> Result<ArrayRef, ExprError> {
    let values = Primitives::<T>::new(&args[0])?;
    Ok(Arc::new(
        (0..rows).map(|row| values.get(row).map(&hash)).collect::<Int32Array>(),
    ))
}

fn build(call: &Call<'_>) -> Result<Kernel, ExprError> {
    use arrow_schema::TimeUnit;
    let kernel: Kernel = match call.args[0].ty().kind {
        TypeKind::Boolean => Box::new(|args, rows| {
            let values = args[0].clone().into_column(rows)?;
            let values = values.as_boolean();
            let hash = |value: Option<bool>| value.map(|v| if v { 1231 } else { 1237 });
            Ok(Arc::new(values.iter().map(hash).collect::<Int32Array>()) as ArrayRef)
        }),
        TypeKind::TinyInt => Box::new(|args, rows| hashed::<Int8Type>(args, rows, i32::from)),
        TypeKind::SmallInt => Box::new(|args, rows| hashed::<Int16Type>(args, rows, i32::from)),
        TypeKind::Int => Box::new(|args, rows| hashed::<Int32Type>(args, rows, |v| v)),
        TypeKind::BigInt => Box::new(|args, rows| hashed::<Int64Type>(args, rows, of_long)),
        TypeKind::Date => Box::new(|args, rows| hashed::<Date32Type>(args, rows, |v| v)),
        TypeKind::Time(_) => Box::new(|args, rows| hashed::<Time32MillisecondType>(args, rows, |v| v)),
        // Java has one NaN here.
        TypeKind::Float => Box::new(|args, rows| {
            hashed::<Float32Type>(
                args,
                rows,
                |v| if v.is_nan() { 0x7fc0_0000 } else { v.to_bits() as i32 },
            )
        }),
        TypeKind::Double => Box::new(|args, rows| {
            let bits = |v: f64| if v.is_nan() { 0x7ff8_0000_0000_0000 } else { v.to_bits() };
            hashed::<Float64Type>(args, rows, |v| of_long(bits(v) as i64))
        }),
        TypeKind::Decimal(_, scale) => {
            Box::new(move |args, rows| hashed::<Decimal128Type>(args, rows, |v| of_decimal(v, scale)))
        }
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => match timestamp_unit(p) {
            TimeUnit::Nanosecond => Box::new(move |args, rows| {
                hashed::<TimestampNanosecondType>(args, rows, |v| of_moment(v, per_second(p)))
            }),
            TimeUnit::Microsecond => Box::new(move |args, rows| {
                hashed::<TimestampMicrosecondType>(args, rows, |v| of_moment(v, per_second(p)))
            }),
            _ => Box::new(move |args, rows| {
                hashed::<TimestampMillisecondType>(args, rows, |v| of_moment(v, per_second(p)))
            }),
        },
        TypeKind::Char(_) | TypeKind::Varchar(_) => Box::new(|args, rows| {
            let texts = Strings::new(&args[0])?;
            Ok(Arc::new((0..rows).map(|row| texts.get(row).map(of_text)).collect::<Int32Array>()) as ArrayRef)
        }),
        _ => return Err(call.not_executable()),
    };
    Ok(kernel)
}
