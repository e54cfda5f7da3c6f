//! Between numbers (and BOOLEAN), as Java converts: integers wrap, fractions are cut toward zero and saturate, decimals
//! round half up and are NULL where they do not fit.

use crate::expr::error::ExprError;
use crate::expr::functions::decimal::{Digits, POWERS, bounded, fit};
use crate::expr::value::{Value, mismatch};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, Decimal128Array, PrimitiveArray};
use arrow_buffer::{BooleanBuffer, i256};
use arrow_schema::DataType;
use flott_core::TypeKind;
use std::sync::Arc;

/// `array` of kind `from` as kind `to`; both are numbers.
///
/// # Errors
/// If the array is not of the kind that it is said to be.
pub fn convert(array: &ArrayRef, from: &TypeKind, to: &TypeKind) -> Result<ArrayRef, ExprError> {
    if from == to {
        return Ok(array.clone());
    }
    if let TypeKind::Decimal(p, s) = to {
        return to_decimal(array, from, *p, *s);
    }
    match from {
        TypeKind::TinyInt => from_integer::<Int8Type>(array, to),
        TypeKind::SmallInt => from_integer::<Int16Type>(array, to),
        TypeKind::Int => from_integer::<Int32Type>(array, to),
        TypeKind::BigInt => from_integer::<Int64Type>(array, to),
        TypeKind::Float => from_float::<Float32Type>(array, to),
        TypeKind::Double => from_float::<Float64Type>(array, to),
        TypeKind::Decimal(_, s) => from_decimal(array, *s, to),
        _ => Err(mismatch("CAST", array)),
    }
}

fn map<F: ArrowPrimitiveType, T: ArrowPrimitiveType>(
    array: &PrimitiveArray<F>,
    f: impl Fn(F::Native) -> T::Native,
) -> Result<ArrayRef, ExprError> {
    let mapped: PrimitiveArray<T> = array.unary(f);
    Ok(Arc::new(mapped))
}

fn from_integer<F: ArrowPrimitiveType>(array: &ArrayRef, to: &TypeKind) -> Result<ArrayRef, ExprError>
where
    F::Native: Into<i64>,
{
    let a = array.as_primitive_opt::<F>().ok_or_else(|| mismatch("CAST", array))?;
    match to {
        TypeKind::TinyInt => map::<F, Int8Type>(a, |v| v.into() as i8),
        TypeKind::SmallInt => map::<F, Int16Type>(a, |v| v.into() as i16),
        TypeKind::Int => map::<F, Int32Type>(a, |v| v.into() as i32),
        TypeKind::BigInt => map::<F, Int64Type>(a, Into::into),
        TypeKind::Float => map::<F, Float32Type>(a, |v| v.into() as f32),
        TypeKind::Double => map::<F, Float64Type>(a, |v| v.into() as f64),
        TypeKind::Boolean => Ok(Arc::new(BooleanArray::from_unary(a, |v| v.into() != 0))),
        _ => Err(mismatch("CAST", array)),
    }
}

fn from_float<F: ArrowPrimitiveType>(array: &ArrayRef, to: &TypeKind) -> Result<ArrayRef, ExprError>
where
    F::Native: Into<f64>,
{
    let a = array.as_primitive_opt::<F>().ok_or_else(|| mismatch("CAST", array))?;
    match to {
        // Java narrows in two steps
        TypeKind::TinyInt => map::<F, Int8Type>(a, |v| v.into() as i32 as i8),
        TypeKind::SmallInt => map::<F, Int16Type>(a, |v| v.into() as i32 as i16),
        TypeKind::Int => map::<F, Int32Type>(a, |v| v.into() as i32),
        TypeKind::BigInt => map::<F, Int64Type>(a, |v| v.into() as i64),
        TypeKind::Float => map::<F, Float32Type>(a, |v| v.into() as f32),
        TypeKind::Double => map::<F, Float64Type>(a, Into::into),
        TypeKind::Boolean => Ok(Arc::new(BooleanArray::from_unary(a, |v| v.into() != 0.0))),
        _ => Err(mismatch("CAST", array)),
    }
}

fn from_decimal(array: &ArrayRef, scale: u8, to: &TypeKind) -> Result<ArrayRef, ExprError> {
    let a = array
        .as_primitive_opt::<Decimal128Type>()
        .ok_or_else(|| mismatch("CAST", array))?;
    let unit = POWERS[usize::from(scale.min(38))];
    match to {
        TypeKind::TinyInt => map::<_, Int8Type>(a, |v| (v / unit) as i8),
        TypeKind::SmallInt => map::<_, Int16Type>(a, |v| (v / unit) as i16),
        TypeKind::Int => map::<_, Int32Type>(a, |v| (v / unit) as i32),
        TypeKind::BigInt => map::<_, Int64Type>(a, |v| (v / unit) as i64),
        TypeKind::Float => map::<_, Float32Type>(a, |v| decimal_to_f64(v, scale) as f32),
        TypeKind::Double => map::<_, Float64Type>(a, |v| decimal_to_f64(v, scale)),
        TypeKind::Boolean => Ok(Arc::new(BooleanArray::from_unary(a, |v| v != 0))),
        _ => Err(mismatch("CAST", array)),
    }
}

/// The double nearest to `unscaled` / 10^`scale`.
pub fn decimal_to_f64(unscaled: i128, scale: u8) -> f64 {
    // both parts are exact doubles, so that their quotient is the nearest one
    if unscaled.unsigned_abs() < 1 << 53 && scale <= 22 {
        return unscaled as f64 / POWERS[usize::from(scale)] as f64;
    }
    crate::expr::display::decimal_text(unscaled, scale)
        .parse()
        .unwrap_or(f64::NAN)
}

/// DECIMAL(precision, scale) nearest to the shortest decimal text of `value`, half up; `None` where it does not fit.
pub fn f64_to_decimal(value: f64, precision: u8, scale: u8) -> Option<i128> {
    if !value.is_finite() {
        return None;
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let fraction = mantissa.split_once('.').map_or(0, |(_, f)| f.len());
    let digits: i128 = mantissa.replace('.', "").parse().ok()?;
    shift_decimal(digits, i32::try_from(fraction).ok()? - exponent, precision, scale)
}

/// `digits` / 10^`from` as digits of DECIMAL(precision, to); `from` may be negative.
pub fn shift_decimal(digits: i128, from: i32, precision: u8, to: u8) -> Option<i128> {
    if digits == 0 {
        return Some(0);
    }
    match from {
        ..0 => {
            let up = from.unsigned_abs();
            if up > 38 {
                return None;
            }
            let value = i256::from_i128(digits).checked_mul(i256::from_i128(POWERS[up as usize]))?;
            fit(value, 0, precision, to)
        }
        0..=76 => fit(i256::from_i128(digits), u8::try_from(from).ok()?, precision, to),
        _ => Some(0),
    }
}

fn to_decimal(array: &ArrayRef, from: &TypeKind, precision: u8, scale: u8) -> Result<ArrayRef, ExprError> {
    let ty = DataType::Decimal128(precision, scale as i8);
    let result: Decimal128Array = match from {
        TypeKind::Float => {
            let a = array
                .as_primitive_opt::<Float32Type>()
                .ok_or_else(|| mismatch("CAST", array))?;
            a.unary_opt(|v| f64_to_decimal(f64::from(v), precision, scale))
        }
        TypeKind::Double => {
            let a = array
                .as_primitive_opt::<Float64Type>()
                .ok_or_else(|| mismatch("CAST", array))?;
            a.unary_opt(|v| f64_to_decimal(v, precision, scale))
        }
        _ => {
            let digits = Digits::new(&Value::Column(array.clone()))?;
            let (p, s) = crate::expr::types::decimal_of(from).ok_or_else(|| mismatch("CAST", array))?;
            let a = Decimal128Array::new(digits.values, digits.nulls);
            // a decimal whose whole digits fit needs no check
            if scale == s && precision >= p {
                a
            } else if scale >= s && precision - scale >= p - s {
                let unit = POWERS[usize::from(scale - s)];
                a.unary(|v| v.wrapping_mul(unit))
            } else if scale >= s {
                let unit = POWERS[usize::from(scale - s)];
                a.unary_opt(|v| v.checked_mul(unit).and_then(|v| bounded(v, precision)))
            } else {
                a.unary_opt(|v| fit(i256::from_i128(v), s, precision, scale))
            }
        }
    };
    Ok(Arc::new(result.with_data_type(ty)))
}

/// BOOLEAN as a number: 1 or 0.
pub fn from_boolean(array: &ArrayRef, to: &TypeKind) -> Result<ArrayRef, ExprError> {
    let a = array.as_boolean_opt().ok_or_else(|| mismatch("CAST", array))?;
    let bits: &BooleanBuffer = a.values();
    let ones: Int8Array = PrimitiveArray::new(bits.iter().map(i8::from).collect(), a.nulls().cloned());
    convert(&(Arc::new(ones) as ArrayRef), &TypeKind::TinyInt, to)
}

type Int8Array = PrimitiveArray<Int8Type>;
