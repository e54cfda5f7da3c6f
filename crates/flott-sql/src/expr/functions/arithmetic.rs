//! `+ - * / %`, `MOD` and the sign: integers wrap around and divide toward zero, doubles follow IEEE 754, decimals are
//! in [`super::decimal`], times and intervals in [`super::time_units`].

use super::{decimal, entry, time_units};
use crate::expr::cast::numeric;
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::types::{self, is_approximate, is_interval, wider_number};
use crate::expr::value::{Value, mismatch};
use crate::expr::{Expr, Literal};
use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, ArrowNativeTypeOp, PrimitiveArray};
use flott_core::{LogicalType, TypeKind};
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry(
        "+",
        "NUMERIC + NUMERIC, DATETIME + INTERVAL, INTERVAL + INTERVAL",
        infer,
        build,
    ),
    entry(
        "-",
        "NUMERIC - NUMERIC, DATETIME - INTERVAL, INTERVAL - INTERVAL",
        infer,
        build,
    ),
    entry("*", "NUMERIC * NUMERIC, INTERVAL * INTEGER", infer, build),
    entry("/", "NUMERIC / NUMERIC", infer, build).failing(divides_by_unknown),
    entry("%", "EXACT NUMERIC % EXACT NUMERIC", infer, build).failing(divides_by_unknown),
    entry("MOD", "MOD(EXACT NUMERIC, EXACT NUMERIC)", infer, build).failing(divides_by_unknown),
    entry("UNARY -", "- NUMERIC, - INTERVAL", infer_sign, build_negate),
    entry("UNARY +", "+ NUMERIC, + INTERVAL", infer_sign, build_plus),
];

/// A division can fail unless it is approximate or by a constant other than zero.
fn divides_by_unknown(args: &[Expr], ty: &LogicalType) -> bool {
    if is_approximate(&ty.kind) {
        return false;
    }
    !matches!(
        args.get(1).and_then(Expr::as_literal),
        Some(Literal::Integer(v)) if *v != 0
    ) && !matches!(
        args.get(1).and_then(Expr::as_literal),
        Some(Literal::Decimal { unscaled, .. }) if *unscaled != 0
    )
}

fn infer(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    // an untyped NULL takes the other side's type
    for (i, j) in [(0, 1), (1, 0)] {
        if args.kind(i) == &TypeKind::Null {
            let other = args.kind(j).clone();
            args.cast(i, &other)?;
        }
    }
    let op = if args.name == "MOD" { "%" } else { args.name.as_str() };
    let kind = match types::arithmetic(op, args.kind(0), args.kind(1)) {
        Some(kind) => kind,
        None => time_units::arithmetic_kind(op, args.kind(0), args.kind(1)).ok_or(Refusal::Arguments)?,
    };
    Ok(args.result(kind))
}

fn infer_sign(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    args.require(0, |k| k.is_numeric() || is_interval(k), TypeKind::Int)?;
    Ok(args.exprs[0].ty().clone())
}

fn build_plus(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, _| Ok(args[0].array().clone())))
}

fn build_negate(call: &Call<'_>) -> Result<Kernel, ExprError> {
    fn negate<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<ArrayRef, ExprError>
    where
        T::Native: ArrowNativeTypeOp,
    {
        let array = array.as_primitive_opt::<T>().ok_or_else(|| mismatch("-", array))?;
        let negated: PrimitiveArray<T> = array.unary(|v| v.neg_wrapping());
        Ok(Arc::new(negated.with_data_type(array.data_type().clone())))
    }
    use arrow_array::types::Decimal128Type;
    let negate = match &call.ty.kind {
        TypeKind::TinyInt => negate::<Int8Type>,
        TypeKind::SmallInt => negate::<Int16Type>,
        TypeKind::Int | TypeKind::IntervalYearMonth => negate::<Int32Type>,
        TypeKind::BigInt | TypeKind::IntervalDayTime => negate::<Int64Type>,
        TypeKind::Float => negate::<Float32Type>,
        TypeKind::Double => negate::<Float64Type>,
        TypeKind::Decimal(..) => negate::<Decimal128Type>,
        _ => return Err(call.not_executable()),
    };
    Ok(Box::new(move |args, _| negate(args[0].array())))
}

fn build(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let [a, b] = call.args else {
        return Err(call.not_executable());
    };
    let (a, b) = (a.ty().kind.clone(), b.ty().kind.clone());
    let op: &'static str = match call.name {
        "+" => "+",
        "-" => "-",
        "*" => "*",
        "/" => "/",
        _ => "%",
    };
    if !(a.is_numeric() && b.is_numeric()) {
        return time_units::build_arithmetic(op, call);
    }
    let result = call.ty.kind.clone();
    if let TypeKind::Decimal(p, s) = result {
        return decimal::build(op, &a, &b, p, s).ok_or_else(|| call.not_executable());
    }
    if is_approximate(&result) {
        return Ok(Box::new(move |args, _| {
            let x = args[0].with(numeric::convert(args[0].array(), &a, &result)?);
            let y = args[1].with(numeric::convert(args[1].array(), &b, &result)?);
            if result == TypeKind::Float {
                float::<Float32Type>(op, &x, &y)
            } else {
                float::<Float64Type>(op, &x, &y)
            }
        }));
    }
    let wide = wider_number(&a, &b).ok_or_else(|| call.not_executable())?;
    let run = match wide {
        TypeKind::TinyInt => integer::<Int8Type>,
        TypeKind::SmallInt => integer::<Int16Type>,
        TypeKind::Int => integer::<Int32Type>,
        TypeKind::BigInt => integer::<Int64Type>,
        _ => return Err(call.not_executable()),
    };
    Ok(Box::new(move |args, _| {
        let x = args[0].with(numeric::convert(args[0].array(), &a, &wide)?);
        let y = args[1].with(numeric::convert(args[1].array(), &b, &wide)?);
        numeric::convert(&run(op, &x, &y)?, &wide, &result)
    }))
}

fn float<T: ArrowPrimitiveType>(op: &str, a: &Value, b: &Value) -> Result<ArrayRef, ExprError>
where
    T::Native: ArrowNativeTypeOp,
{
    match op {
        "+" => binary::<T>(a, b, |x, y| x.add_wrapping(y)),
        "-" => binary::<T>(a, b, |x, y| x.sub_wrapping(y)),
        "*" => binary::<T>(a, b, |x, y| x.mul_wrapping(y)),
        _ => binary::<T>(a, b, |x, y| x.div_wrapping(y)),
    }
}

fn integer<T: ArrowPrimitiveType>(op: &'static str, a: &Value, b: &Value) -> Result<ArrayRef, ExprError>
where
    T::Native: ArrowNativeTypeOp + std::fmt::Display,
{
    match op {
        "+" => return binary::<T>(a, b, |x, y| x.add_wrapping(y)),
        "-" => return binary::<T>(a, b, |x, y| x.sub_wrapping(y)),
        "*" => return binary::<T>(a, b, |x, y| x.mul_wrapping(y)),
        _ => {}
    }
    refuse_zero::<T>(op, a, b)?;
    let one = T::Native::ONE;
    let divisor = move |y: T::Native| if y.is_zero() { one } else { y };
    if op == "/" {
        binary::<T>(a, b, move |x, y| x.div_wrapping(divisor(y)))
    } else {
        binary::<T>(a, b, move |x, y| x.mod_wrapping(divisor(y)))
    }
}

/// Refuses if a row divides by zero, neither side being NULL.
fn refuse_zero<T: ArrowPrimitiveType>(op: &'static str, a: &Value, b: &Value) -> Result<(), ExprError>
where
    T::Native: ArrowNativeTypeOp + std::fmt::Display,
{
    let zero = |v: &Value| {
        v.array()
            .as_primitive_opt::<T>()
            .is_some_and(|d| d.values().iter().any(|x| x.is_zero()))
    };
    if !zero(b) {
        return Ok(());
    }
    let (x, y) = (
        crate::expr::value::Primitives::<T>::new(a)?,
        crate::expr::value::Primitives::<T>::new(b)?,
    );
    let rows = if a.is_scalar() {
        b.array().len()
    } else {
        a.array().len()
    };
    for row in 0..rows {
        if let (Some(dividend), Some(divisor)) = (x.get(row), y.get(row))
            && divisor.is_zero()
        {
            return Err(ExprError::DivisionByZero {
                function: op,
                dividend: dividend.to_string(),
            });
        }
    }
    Ok(())
}

/// `f` on every row; NULL where a side is NULL. The constant side of a call is read once.
pub(crate) fn binary<T: ArrowPrimitiveType>(
    a: &Value,
    b: &Value,
    f: impl Fn(T::Native, T::Native) -> T::Native,
) -> Result<ArrayRef, ExprError> {
    let get = |v: &Value| -> Result<PrimitiveArray<T>, ExprError> {
        v.array()
            .as_primitive_opt::<T>()
            .cloned()
            .ok_or_else(|| mismatch("arithmetic", v.array()))
    };
    let (x, y) = (get(a)?, get(b)?);
    let array: PrimitiveArray<T> = match (a.is_scalar(), b.is_scalar()) {
        (false, true) if y.is_null(0) => PrimitiveArray::new_null(x.len()),
        (true, false) if x.is_null(0) => PrimitiveArray::new_null(y.len()),
        (false, true) => {
            let c = y.value(0);
            x.unary(|v| f(v, c))
        }
        (true, false) => {
            let c = x.value(0);
            y.unary(|v| f(c, v))
        }
        _ => arrow_arith::arity::binary(&x, &y, f).map_err(|e| crate::expr::value::kernel_error("arithmetic", &e))?,
    };
    Ok(Arc::new(array))
}
