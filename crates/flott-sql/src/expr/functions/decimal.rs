//! Arithmetic on DECIMAL: exact, rounded half up to the result's scale, NULL where the digits do not fit.
//!
//! Where the result's type has room for every digit (the planner did not cap it at 38) the work is done in 128 bits
//! without checks; otherwise in 256.

use crate::expr::error::ExprError;
use crate::expr::registry::Kernel;
use crate::expr::types::decimal_of;
use crate::expr::value::{Value, mismatch};
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Decimal128Array};
use arrow_buffer::{NullBuffer, ScalarBuffer, i256};
use arrow_schema::DataType;
use flott_core::TypeKind;
use std::sync::Arc;

/// 10^0 to 10^38.
pub(crate) const POWERS: [i128; 39] = {
    let mut powers = [1i128; 39];
    let mut i = 1;
    while i < 39 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// The digits of an exact number without the point.
pub(crate) struct Digits {
    pub values: ScalarBuffer<i128>,
    pub nulls: Option<NullBuffer>,
    pub scalar: bool,
}

impl Digits {
    /// Reads integers (scale 0) and decimals.
    pub(crate) fn new(value: &Value) -> Result<Self, ExprError> {
        let array = value.array();
        fn widen<T>(values: &[T]) -> ScalarBuffer<i128>
        where
            T: Copy + Into<i128>,
        {
            values.iter().map(|v| (*v).into()).collect()
        }
        let values = match array.data_type() {
            DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().values().clone(),
            DataType::Int8 => widen(array.as_primitive::<Int8Type>().values()),
            DataType::Int16 => widen(array.as_primitive::<Int16Type>().values()),
            DataType::Int32 => widen(array.as_primitive::<Int32Type>().values()),
            DataType::Int64 => widen(array.as_primitive::<Int64Type>().values()),
            _ => return Err(mismatch("decimal", array)),
        };
        Ok(Self {
            values,
            nulls: array.nulls().cloned(),
            scalar: value.is_scalar(),
        })
    }

    fn is_null_scalar(&self) -> bool {
        self.scalar && self.nulls.as_ref().is_some_and(|n| n.is_null(0))
    }

    #[inline]
    fn at(&self, row: usize) -> i128 {
        self.values[if self.scalar { 0 } else { row }]
    }
}

/// A kernel for `a op b` with result DECIMAL(precision, scale).
pub(crate) fn build(op: &'static str, a: &TypeKind, b: &TypeKind, precision: u8, scale: u8) -> Option<Kernel> {
    let ((p1, s1), (p2, s2)) = (decimal_of(a)?, decimal_of(b)?);
    let common = s1.max(s2);
    Some(Box::new(move |args, rows| {
        let (x, y) = (Digits::new(&args[0])?, Digits::new(&args[1])?);
        match op {
            "+" | "-" => {
                let roomy = scale == common && (p1 - s1).max(p2 - s2) + common < 38;
                let sign = if op == "+" { 1 } else { -1 };
                let (up_x, up_y) = (
                    POWERS[usize::from(common - s1)],
                    sign * POWERS[usize::from(common - s2)],
                );
                if roomy {
                    return exact(&x, &y, rows, precision, scale, |x, y| {
                        x.wrapping_mul(up_x).wrapping_add(y.wrapping_mul(up_y))
                    });
                }
                let (up_x, up_y) = (i256::from_i128(up_x), i256::from_i128(up_y));
                checked(&x, &y, rows, precision, scale, |x, y| {
                    let sum = i256::from_i128(x)
                        .wrapping_mul(up_x)
                        .wrapping_add(i256::from_i128(y).wrapping_mul(up_y));
                    fit(sum, common, precision, scale)
                })
            }
            "*" => {
                if scale == s1 + s2 && p1 + p2 <= 38 {
                    return exact(&x, &y, rows, precision, scale, i128::wrapping_mul);
                }
                checked(&x, &y, rows, precision, scale, |x, y| {
                    fit(
                        i256::from_i128(x).wrapping_mul(i256::from_i128(y)),
                        s1 + s2,
                        precision,
                        scale,
                    )
                })
            }
            _ => {
                refuse_zero(op, &x, &y, rows, s1)?;
                let (s1, s2) = (i32::from(s1), i32::from(s2));
                if op == "/" {
                    let shift = i32::from(scale) + s2 - s1;
                    return checked(&x, &y, rows, precision, scale, |x, y| divide(x, y, shift, precision));
                }
                let (up_x, up_y) = (i32::from(common) - s1, i32::from(common) - s2);
                checked(&x, &y, rows, precision, scale, |x, y| {
                    let x = i256::from_i128(x).wrapping_mul(power(up_x));
                    let y = i256::from_i128(y).wrapping_mul(power(up_y));
                    fit(x.checked_rem(y)?, common, precision, scale)
                })
            }
        }
    }))
}

fn power(exponent: i32) -> i256 {
    let exponent = usize::try_from(exponent).unwrap_or(0);
    let low = i256::from_i128(POWERS[exponent.min(38)]);
    low.wrapping_mul(i256::from_i128(POWERS[exponent.saturating_sub(38).min(38)]))
}

/// `value` / 10^`from` as digits of DECIMAL(precision, to), rounded half up.
pub(crate) fn fit(value: i256, from: u8, precision: u8, to: u8) -> Option<i128> {
    let value = if from > to {
        round_quotient(value, power(i32::from(from - to)))?
    } else {
        value.checked_mul(power(i32::from(to - from)))?
    };
    bounded(value.to_i128()?, precision)
}

/// The digits if there are at most `precision` of them.
pub(crate) fn bounded(value: i128, precision: u8) -> Option<i128> {
    (value.unsigned_abs() < POWERS[usize::from(precision.min(38))].unsigned_abs()).then_some(value)
}

/// `a / b` rounded half away from zero.
fn round_quotient(a: i256, b: i256) -> Option<i256> {
    let (quotient, rest) = (a.checked_div(b)?, a.checked_rem(b)?);
    let twice = rest.wrapping_abs().wrapping_add(rest.wrapping_abs());
    if twice < b.wrapping_abs() {
        return Some(quotient);
    }
    let away = if (a < i256::ZERO) == (b < i256::ZERO) {
        i256::ONE
    } else {
        i256::MINUS_ONE
    };
    Some(quotient.wrapping_add(away))
}

fn divide(x: i128, y: i128, shift: i32, precision: u8) -> Option<i128> {
    let (x, y) = (i256::from_i128(x), i256::from_i128(y));
    let quotient = if shift >= 0 {
        // a dividend beyond 256 bits has a quotient beyond 38 digits
        round_quotient(x.checked_mul(power(shift))?, y)?
    } else {
        round_quotient(x, y.checked_mul(power(-shift))?)?
    };
    bounded(quotient.to_i128()?, precision)
}

fn nulls_of(x: &Digits, y: &Digits) -> Option<NullBuffer> {
    let column = |d: &Digits| if d.scalar { None } else { d.nulls.clone() };
    if x.scalar && y.scalar {
        return NullBuffer::union(x.nulls.as_ref(), y.nulls.as_ref());
    }
    NullBuffer::union(column(x).as_ref(), column(y).as_ref())
}

fn finish(
    values: ScalarBuffer<i128>,
    nulls: Option<NullBuffer>,
    precision: u8,
    scale: u8,
) -> Result<ArrayRef, ExprError> {
    let array = Decimal128Array::new(values, nulls).with_data_type(DataType::Decimal128(precision, scale as i8));
    Ok(Arc::new(array))
}

/// `f` on every row; it must not panic on the arbitrary values that lie under a NULL.
fn exact(
    x: &Digits,
    y: &Digits,
    rows: usize,
    precision: u8,
    scale: u8,
    f: impl Fn(i128, i128) -> i128,
) -> Result<ArrayRef, ExprError> {
    if x.is_null_scalar() || y.is_null_scalar() {
        return finish(vec![0; rows].into(), Some(NullBuffer::new_null(rows)), precision, scale);
    }
    let values: ScalarBuffer<i128> = match (x.scalar, y.scalar) {
        (false, true) => {
            let c = y.at(0);
            x.values.iter().map(|v| f(*v, c)).collect()
        }
        (true, false) => {
            let c = x.at(0);
            y.values.iter().map(|v| f(c, *v)).collect()
        }
        _ => x.values.iter().zip(y.values.iter()).map(|(a, b)| f(*a, *b)).collect(),
    };
    finish(values, nulls_of(x, y), precision, scale)
}

fn checked(
    x: &Digits,
    y: &Digits,
    rows: usize,
    precision: u8,
    scale: u8,
    f: impl Fn(i128, i128) -> Option<i128>,
) -> Result<ArrayRef, ExprError> {
    let nulls = if x.is_null_scalar() || y.is_null_scalar() {
        Some(NullBuffer::new_null(rows))
    } else {
        nulls_of(x, y)
    };
    let array: Decimal128Array = (0..rows)
        .map(|row| match &nulls {
            Some(n) if n.is_null(row) => None,
            _ => f(x.at(row), y.at(row)),
        })
        .collect();
    Ok(Arc::new(
        array.with_data_type(DataType::Decimal128(precision, scale as i8)),
    ))
}

fn refuse_zero(op: &'static str, x: &Digits, y: &Digits, rows: usize, scale: u8) -> Result<(), ExprError> {
    if !y.values.contains(&0) {
        return Ok(());
    }
    let valid = |d: &Digits, row: usize| {
        d.nulls
            .as_ref()
            .is_none_or(|n| n.is_valid(if d.scalar { 0 } else { row }))
    };
    match (0..rows).find(|row| y.at(*row) == 0 && valid(x, *row) && valid(y, *row)) {
        Some(row) => Err(ExprError::DivisionByZero {
            function: op,
            dividend: crate::expr::display::decimal_text(x.at(row), scale),
        }),
        None => Ok(()),
    }
}
