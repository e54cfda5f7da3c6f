//! Numeric functions. Doubles compute as Java's `Math` does; `ROUND` and `TRUNCATE` work on the decimal digits that a
//! number prints with, so that ROUND(2.345, 2) is 2.35.

use super::{entry, time_units};
use crate::expr::cast::numeric;
use crate::expr::error::ExprError;
use crate::expr::functions::decimal::{POWERS, bounded};
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::value::{Primitives, Value, mismatch};
use crate::expr::{Expr, Literal};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use arrow_array::{Array, ArrayRef, Float64Array, PrimitiveArray};
use arrow_schema::DataType;
use flott_core::{LogicalType, TypeKind};
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry("ABS", "ABS(NUMERIC)", infer_same, build_same),
    entry("SIGN", "SIGN(NUMERIC)", infer_same, build_same),
    entry(
        "CEIL",
        "CEIL(NUMERIC), CEIL(DATETIME TO unit)",
        infer_whole,
        build_whole,
    ),
    entry(
        "FLOOR",
        "FLOOR(NUMERIC), FLOOR(DATETIME TO unit)",
        infer_whole,
        build_whole,
    ),
    entry("ROUND", "ROUND(NUMERIC [, INT])", infer_round, build_round),
    entry("TRUNCATE", "TRUNCATE(NUMERIC [, INT])", infer_round, build_round),
    entry("POWER", "POWER(NUMERIC, NUMERIC)", infer_double, build_double),
    entry("SQRT", "SQRT(NUMERIC)", infer_double, build_double),
    entry("EXP", "EXP(NUMERIC)", infer_double, build_double),
    entry("LN", "LN(NUMERIC)", infer_double, build_double),
    entry("LOG", "LOG([base,] NUMERIC)", infer_double, build_double),
    entry("LOG10", "LOG10(NUMERIC)", infer_double, build_double),
    entry("LOG2", "LOG2(NUMERIC)", infer_double, build_double),
    entry("SIN", "SIN(NUMERIC)", infer_double, build_double),
    entry("COS", "COS(NUMERIC)", infer_double, build_double),
    entry("TAN", "TAN(NUMERIC)", infer_double, build_double),
    entry("COT", "COT(NUMERIC)", infer_double, build_double),
    entry("ASIN", "ASIN(NUMERIC)", infer_double, build_double),
    entry("ACOS", "ACOS(NUMERIC)", infer_double, build_double),
    entry("ATAN", "ATAN(NUMERIC)", infer_double, build_double),
    entry("ATAN2", "ATAN2(NUMERIC, NUMERIC)", infer_double, build_double),
    entry("SINH", "SINH(NUMERIC)", infer_double, build_double),
    entry("COSH", "COSH(NUMERIC)", infer_double, build_double),
    entry("TANH", "TANH(NUMERIC)", infer_double, build_double),
    entry("DEGREES", "DEGREES(NUMERIC)", infer_double, build_double),
    entry("RADIANS", "RADIANS(NUMERIC)", infer_double, build_double),
    entry(
        "NORMAL_PDF",
        "NORMAL_PDF(x NUMERIC, mu NUMERIC, sigma NUMERIC)",
        infer_normal,
        build_normal,
    ),
    entry("PI", "PI()", infer_double, build_double),
    entry("E", "E()", infer_double, build_double),
];

type Double = fn(f64, f64) -> f64;

/// Number of arguments and the function; a function of one ignores the second, one of none both.
fn double_function(name: &str, args: usize) -> Option<(usize, Double)> {
    let found: (usize, Double) = match name {
        "POWER" => (2, f64::powf),
        "ATAN2" => (2, f64::atan2),
        "LOG" if args == 2 => (2, |base, x| x.ln() / base.ln()),
        "LOG" | "LN" => (1, |x, _| x.ln()),
        "SQRT" => (1, |x, _| x.sqrt()),
        "EXP" => (1, |x, _| x.exp()),
        "LOG10" => (1, |x, _| x.log10()),
        "LOG2" => (1, |x, _| x.ln() / 2f64.ln()),
        "SIN" => (1, |x, _| x.sin()),
        "COS" => (1, |x, _| x.cos()),
        "TAN" => (1, |x, _| x.tan()),
        "COT" => (1, |x, _| 1.0 / x.tan()),
        "ASIN" => (1, |x, _| x.asin()),
        "ACOS" => (1, |x, _| x.acos()),
        "ATAN" => (1, |x, _| x.atan()),
        "SINH" => (1, |x, _| x.sinh()),
        "COSH" => (1, |x, _| x.cosh()),
        "TANH" => (1, |x, _| x.tanh()),
        "DEGREES" => (1, |x, _| x.to_degrees()),
        "RADIANS" => (1, |x, _| x.to_radians()),
        "PI" => (0, |_, _| std::f64::consts::PI),
        "E" => (0, |_, _| std::f64::consts::E),
        _ => return None,
    };
    (found.0 == args).then_some(found)
}

fn infer_double(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    double_function(&args.name, args.len()).ok_or(Refusal::Arguments)?;
    (0..args.len()).try_for_each(|i| args.number(i))?;
    Ok(args.result(TypeKind::Double))
}

fn build_double(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let (count, f) = double_function(call.name, call.args.len()).ok_or_else(|| call.not_executable())?;
    let kinds: Vec<TypeKind> = call.args.iter().map(|a| a.ty().kind.clone()).collect();
    Ok(Box::new(move |args, rows| {
        let doubles: Vec<Value> = args
            .iter()
            .zip(&kinds)
            .map(|(a, k)| Ok(a.with(numeric::convert(a.array(), k, &TypeKind::Double)?)))
            .collect::<Result<_, ExprError>>()?;
        let array: Float64Array = match count {
            0 => Float64Array::from(vec![f(0.0, 0.0); rows]),
            1 => {
                let x = doubles[0].array();
                x.as_primitive_opt::<Float64Type>()
                    .ok_or_else(|| mismatch("DOUBLE", x))?
                    .unary(|v| f(v, 0.0))
            }
            _ => {
                let (x, y) = (
                    Primitives::<Float64Type>::new(&doubles[0])?,
                    Primitives::<Float64Type>::new(&doubles[1])?,
                );
                (0..rows).map(|row| Some(f(x.get(row)?, y.get(row)?))).collect()
            }
        };
        Ok(Arc::new(array))
    }))
}

fn infer_normal(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(3, 3)?;
    for i in 0..3 {
        args.number(i)?;
        args.cast(i, &TypeKind::Double)?;
    }
    Ok(LogicalType::new(TypeKind::Double))
}

/// The density of a normal distribution, ours and not Flink's.
fn build_normal(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let [x, mu, sigma] = [0, 1, 2].map(|i| Primitives::<Float64Type>::new(&args[i]));
        let (x, mu, sigma) = (x?, mu?, sigma?);
        let row = |row: usize| {
            let (x, mu, sigma) = (x.get(row)?, mu.get(row)?, sigma.get(row)?);
            let distance = (x - mu) / sigma;
            // a spread that is none has no density
            (sigma > 0.0).then(|| (-0.5 * distance * distance).exp() / (sigma * std::f64::consts::TAU.sqrt()))
        };
        Ok(Arc::new((0..rows).map(row).collect::<Float64Array>()))
    }))
}

fn infer_same(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    args.number(0)?;
    Ok(args.exprs[0].ty().clone())
}

fn map<T: ArrowPrimitiveType>(array: &ArrayRef, f: impl Fn(T::Native) -> T::Native) -> Result<ArrayRef, ExprError> {
    let values = array.as_primitive_opt::<T>().ok_or_else(|| mismatch("number", array))?;
    let mapped: PrimitiveArray<T> = values.unary(f);
    Ok(Arc::new(mapped.with_data_type(array.data_type().clone())))
}

fn build_same(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let abs = call.name == "ABS";
    let float_sign = |v: f64| if v == 0.0 || v.is_nan() { v } else { v.signum() };
    Ok(match call.ty.kind.clone() {
        TypeKind::TinyInt => {
            Box::new(move |a, _| map::<Int8Type>(a[0].array(), |v| if abs { v.wrapping_abs() } else { v.signum() }))
        }
        TypeKind::SmallInt => {
            Box::new(move |a, _| map::<Int16Type>(a[0].array(), |v| if abs { v.wrapping_abs() } else { v.signum() }))
        }
        TypeKind::Int => {
            Box::new(move |a, _| map::<Int32Type>(a[0].array(), |v| if abs { v.wrapping_abs() } else { v.signum() }))
        }
        TypeKind::BigInt => {
            Box::new(move |a, _| map::<Int64Type>(a[0].array(), |v| if abs { v.wrapping_abs() } else { v.signum() }))
        }
        TypeKind::Float => Box::new(move |a, _| {
            map::<Float32Type>(
                a[0].array(),
                |v| if abs { v.abs() } else { float_sign(v.into()) as f32 },
            )
        }),
        TypeKind::Double => {
            Box::new(move |a, _| map::<Float64Type>(a[0].array(), |v| if abs { v.abs() } else { float_sign(v) }))
        }
        TypeKind::Decimal(_, s) => Box::new(move |a, _| {
            let unit = POWERS[usize::from(s)];
            map::<Decimal128Type>(a[0].array(), |v| if abs { v.abs() } else { v.signum() * unit })
        }),
        _ => return Err(call.not_executable()),
    })
}

fn infer_whole(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    if args.len() == 2 {
        return time_units::infer_rounding(args);
    }
    args.count(1, 1)?;
    args.number(0)?;
    let ty = args.exprs[0].ty();
    Ok(match ty.kind {
        TypeKind::Decimal(p, _) => args.result(TypeKind::Decimal(p, 0)),
        _ => ty.clone(),
    })
}

fn build_whole(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let up = call.name == "CEIL";
    if call.args.len() == 2 {
        return time_units::build_rounding(up, call);
    }
    Ok(match call.args[0].ty().kind.clone() {
        TypeKind::Float => {
            Box::new(move |a, _| map::<Float32Type>(a[0].array(), |v| if up { v.ceil() } else { v.floor() }))
        }
        TypeKind::Double => {
            Box::new(move |a, _| map::<Float64Type>(a[0].array(), |v| if up { v.ceil() } else { v.floor() }))
        }
        TypeKind::Decimal(p, s) => Box::new(move |a, _| {
            let unit = POWERS[usize::from(s)];
            let array = a[0].array();
            let values = array
                .as_primitive_opt::<Decimal128Type>()
                .ok_or_else(|| mismatch("CEIL", array))?;
            let whole = |v: i128| {
                let down = v.div_euclid(unit);
                bounded(if up && v.rem_euclid(unit) != 0 { down + 1 } else { down }, p)
            };
            let result: PrimitiveArray<Decimal128Type> = values.unary_opt(whole);
            Ok(Arc::new(result.with_data_type(DataType::Decimal128(p, 0))))
        }),
        _ => Box::new(|a, _| Ok(a[0].array().clone())),
    })
}

fn infer_round(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 2)?;
    args.number(0)?;
    if args.len() == 2 {
        args.int(1)?;
    }
    let TypeKind::Decimal(p, s) = *args.kind(0) else {
        let kind = args.kind(0).clone();
        return Ok(args.result(kind));
    };
    let digits = match args.exprs.get(1).map(Expr::as_literal) {
        None => 0,
        Some(Some(Literal::Integer(v))) => *v,
        // digits that only rows know: any that the type has
        Some(_) => return Ok(args.result(TypeKind::Decimal(p, s))),
    };
    let kind = if digits >= i64::from(s) {
        TypeKind::Decimal(p, s)
    } else {
        let scale = u8::try_from(digits.max(0)).unwrap_or(0);
        TypeKind::Decimal((1 + p - s + scale).min(38), scale)
    };
    Ok(args.result(kind))
}

/// `value` / 10^`drop`, half away from zero or toward zero.
fn shorten(value: i128, drop: i64, truncate: bool) -> i128 {
    let Some(unit) = usize::try_from(drop).ok().and_then(|d| POWERS.get(d)) else {
        return if drop < 0 { value } else { 0 };
    };
    let (quotient, rest) = (value / unit, value % unit);
    if !truncate && rest.unsigned_abs() * 2 >= unit.unsigned_abs() {
        quotient + value.signum()
    } else {
        quotient
    }
}

/// The digits of the shortest text of a finite number other than 0 and how many of them are behind the point.
fn shortest_digits(text: &str) -> Option<(i128, i64)> {
    let (mantissa, exponent) = text.split_once('e')?;
    let fraction = mantissa.split_once('.').map_or(0, |(_, f)| f.len() as i64);
    Some((
        mantissa.replace('.', "").parse().ok()?,
        fraction - exponent.parse::<i64>().ok()?,
    ))
}

fn round_double(value: f64, text: &str, digits: i64, truncate: bool) -> f64 {
    if !value.is_finite() || value == 0.0 {
        return value;
    }
    let Some((number, places)) = shortest_digits(text) else {
        return value;
    };
    if places <= digits {
        return value;
    }
    let short = shorten(number, places - digits, truncate);
    format!("{short}e{}", -digits).parse().unwrap_or(value)
}

fn round_integer(value: i64, digits: i64, truncate: bool) -> i64 {
    if digits >= 0 {
        return value;
    }
    let short = shorten(i128::from(value), -digits, truncate);
    let unit = usize::try_from(-digits)
        .ok()
        .and_then(|d| POWERS.get(d))
        .copied()
        .unwrap_or(0);
    (short.wrapping_mul(unit)) as i64
}

fn build_round(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let truncate = call.name == "TRUNCATE";
    let from = call.args[0].ty().kind.clone();
    let to = call.ty.kind.clone();
    Ok(Box::new(move |args, rows| {
        let zero = Value::Scalar(Arc::new(arrow_array::Int32Array::from(vec![0])));
        let digits = Primitives::<Int32Type>::new(args.get(1).unwrap_or(&zero))?;
        fn rows_of<T: ArrowPrimitiveType>(
            value: &Value,
            digits: Primitives<'_, Int32Type>,
            rows: usize,
            f: impl Fn(T::Native, i64) -> Option<T::Native>,
        ) -> Result<PrimitiveArray<T>, ExprError> {
            let values = Primitives::<T>::new(value)?;
            Ok((0..rows)
                .map(|row| f(values.get(row)?, digits.get(row)?.into()))
                .collect())
        }
        Ok(match (&from, &to) {
            (TypeKind::TinyInt, _) => Arc::new(rows_of::<Int8Type>(&args[0], digits, rows, |v, d| {
                Some(round_integer(v.into(), d, truncate) as i8)
            })?) as ArrayRef,
            (TypeKind::SmallInt, _) => Arc::new(rows_of::<Int16Type>(&args[0], digits, rows, |v, d| {
                Some(round_integer(v.into(), d, truncate) as i16)
            })?),
            (TypeKind::Int, _) => Arc::new(rows_of::<Int32Type>(&args[0], digits, rows, |v, d| {
                Some(round_integer(v.into(), d, truncate) as i32)
            })?),
            (TypeKind::BigInt, _) => Arc::new(rows_of::<Int64Type>(&args[0], digits, rows, |v, d| {
                Some(round_integer(v, d, truncate))
            })?),
            (TypeKind::Float, _) => Arc::new(rows_of::<Float32Type>(&args[0], digits, rows, |v, d| {
                Some(round_double(v.into(), &format!("{v:e}"), d, truncate) as f32)
            })?),
            (TypeKind::Double, _) => Arc::new(rows_of::<Float64Type>(&args[0], digits, rows, |v, d| {
                Some(round_double(v, &format!("{v:e}"), d, truncate))
            })?),
            (TypeKind::Decimal(_, s), TypeKind::Decimal(p, t)) => {
                let array = rows_of::<Decimal128Type>(&args[0], digits, rows, |v, d| {
                    let drop = i64::from(*s) - d;
                    let short = if drop <= 0 { v } else { shorten(v, drop, truncate) };
                    // back from `d` digits (or all of them) to the result's scale
                    let scale = if drop <= 0 { i64::from(*s) } else { d };
                    let up = usize::try_from(i64::from(*t) - scale).ok()?;
                    bounded(short.checked_mul(*POWERS.get(up)?)?, *p)
                })?;
                Arc::new(array.with_data_type(DataType::Decimal128(*p, *t as i8)))
            }
            _ => return Err(mismatch("ROUND", args[0].array())),
        })
    }))
}
