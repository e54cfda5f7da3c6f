//! Comparisons, `IN`, `GREATEST`, `LEAST`: numbers in the type that both convert to, strings by their bytes, doubles by
//! IEEE 754 (NaN equals nothing).

use super::entry;
use super::equality::{NullElements, equality_with};
use crate::expr::Expr;
use crate::expr::cast::{numeric, temporal};
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::types::comparison_kind;
use crate::expr::value::{Value, kernel_error, mismatch};
use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, ArrowNativeTypeOp, BooleanArray, Datum, PrimitiveArray, Scalar};
use arrow_ord::cmp;
use arrow_schema::ArrowError;
use flott_core::{LogicalType, TypeKind};
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry(
        "=",
        "COMPARABLE = COMPARABLE (a string compares with a number only after a CAST)",
        infer,
        build,
    ),
    entry(
        "<>",
        "COMPARABLE <> COMPARABLE (a string compares with a number only after a CAST)",
        infer,
        build,
    ),
    entry(
        "<",
        "COMPARABLE < COMPARABLE (a string compares with a number only after a CAST)",
        infer_order,
        build,
    ),
    entry(
        "<=",
        "COMPARABLE <= COMPARABLE (a string compares with a number only after a CAST)",
        infer_order,
        build,
    ),
    entry(
        ">",
        "COMPARABLE > COMPARABLE (a string compares with a number only after a CAST)",
        infer_order,
        build,
    ),
    entry(
        ">=",
        "COMPARABLE >= COMPARABLE (a string compares with a number only after a CAST)",
        infer_order,
        build,
    ),
    entry(
        "IS DISTINCT FROM",
        "COMPARABLE IS DISTINCT FROM COMPARABLE",
        infer_distinct,
        build,
    ),
    entry(
        "IS NOT DISTINCT FROM",
        "COMPARABLE IS NOT DISTINCT FROM COMPARABLE",
        infer_distinct,
        build,
    ),
    entry("IN", "COMPARABLE IN (COMPARABLE, ...)", infer_in, build_in),
    entry("GREATEST", "GREATEST(COMPARABLE, ...)", infer_extreme, build_extreme),
    entry("LEAST", "LEAST(COMPARABLE, ...)", infer_extreme, build_extreme),
];

fn is_constructed(kind: &TypeKind) -> bool {
    matches!(
        kind,
        TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_)
    )
}

fn infer(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    args.comparable(0, 1)?;
    let ty = args.result(TypeKind::Boolean);
    let has_nulls = |i| matches!(args.kind(i), TypeKind::Row(fields) if fields.iter().any(|f| f.ty.nullable));
    // A ROW with nullable fields counts as nullable, as in Flink.
    let nullable = ty.nullable || has_nulls(0) || has_nulls(1);
    Ok(ty.with_nullable(nullable))
}

fn infer_order(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    let ty = infer(args)?;
    if is_constructed(args.kind(0)) {
        Err(Refusal::Arguments)
    } else {
        Ok(ty)
    }
}

fn infer_distinct(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    infer(args).map(|ty| ty.with_nullable(false))
}

fn infer_in(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, usize::MAX)?;
    for i in 1..args.len() {
        args.comparable(0, i)?;
    }
    Ok(args.result(TypeKind::Boolean))
}

fn infer_extreme(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, usize::MAX)?;
    if (0..args.len()).any(|i| is_constructed(args.kind(i))) {
        return Err(Refusal::Arguments);
    }
    args.merge(0)
}

/// Brings two values to one Arrow type in which they compare.
struct Common {
    kinds: [TypeKind; 2],
    common: TypeKind,
}

impl Common {
    fn new(a: &TypeKind, b: &TypeKind) -> Option<Self> {
        Some(Self {
            kinds: [a.clone(), b.clone()],
            common: comparison_kind(a, b)?,
        })
    }

    fn convert(&self, side: usize, value: &Value) -> Result<Value, ExprError> {
        let from = &self.kinds[side];
        let array = match (from, &self.common) {
            (f, c) if f.is_numeric() && c.is_numeric() => numeric::convert(value.array(), f, c)?,
            (TypeKind::Timestamp(p), TypeKind::Timestamp(q))
            | (TypeKind::TimestampLtz(p), TypeKind::TimestampLtz(q)) => {
                temporal::change_precision(value.array(), *p, *q)?
            }
            _ => value.array().clone(),
        };
        Ok(value.with(array))
    }
}

fn build(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let [a, b] = call.args else {
        return Err(call.not_executable());
    };
    let common = Common::new(&a.ty().kind, &b.ty().kind).ok_or_else(|| call.not_executable())?;
    let op = Op::of(call.name).ok_or_else(|| call.not_executable())?;
    let is_constructed = is_constructed(&common.common);
    // Whatever it is made of equals itself, also where it holds NULL elements, which equal nothing.
    let is_itself = is_constructed && a == b && a.is_deterministic();
    // Two arrays that are written out are compared by their bytes in Flink.
    let is_written = |e: &Expr| matches!(e, Expr::Call { function, .. } if function == "ARRAY");
    let null_elements = match is_written(a) && is_written(b) {
        true => NullElements::Equal,
        false => NullElements::Unequal,
    };
    Ok(Box::new(move |args, rows| {
        if is_itself {
            return Ok(Arc::new(compare_with_itself(op, &args[0], rows)));
        }
        let (x, y) = (common.convert(0, &args[0])?, common.convert(1, &args[1])?);
        Ok(Arc::new(match is_constructed {
            true => compare_constructed(op, &x, &y, rows, null_elements)?,
            false => compare(op, &common.common, &x, &y, rows)?,
        }))
    }))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Distinct,
    NotDistinct,
    /// As [`Self::Eq`], but floating-point values are looked up as Java's hash sets do: NaN is itself, and the zeros are two.
    Member,
}

impl Op {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "=" => Self::Eq,
            "<>" => Self::Ne,
            "<" => Self::Lt,
            "<=" => Self::Le,
            ">" => Self::Gt,
            ">=" => Self::Ge,
            "IS DISTINCT FROM" => Self::Distinct,
            "IS NOT DISTINCT FROM" => Self::NotDistinct,
            _ => return None,
        })
    }
}

type ArrowCompare = fn(&dyn Datum, &dyn Datum) -> Result<BooleanArray, ArrowError>;

fn compare(op: Op, kind: &TypeKind, a: &Value, b: &Value, rows: usize) -> Result<BooleanArray, ExprError> {
    match kind {
        TypeKind::Float => return compare_floats::<Float32Type>(op, a, b, rows),
        TypeKind::Double => return compare_floats::<Float64Type>(op, a, b, rows),
        k if is_constructed(k) => return compare_constructed(op, a, b, rows, NullElements::Unequal),
        _ => {}
    }
    let kernel: ArrowCompare = match op {
        Op::Eq | Op::Member => cmp::eq,
        Op::Ne => cmp::neq,
        Op::Lt => cmp::lt,
        Op::Le => cmp::lt_eq,
        Op::Gt => cmp::gt,
        Op::Ge => cmp::gt_eq,
        Op::Distinct => cmp::distinct,
        Op::NotDistinct => cmp::not_distinct,
    };
    let scalar = |v: &Value| Scalar::new(v.array().clone());
    let result = match (a.is_scalar(), b.is_scalar()) {
        (false, true) => kernel(a.array(), &scalar(b)),
        (true, false) => kernel(&scalar(a), b.array()),
        _ => kernel(a.array(), b.array()),
    };
    result.map_err(|e| kernel_error("comparison", &e))
}

fn compare_floats<T: ArrowPrimitiveType>(op: Op, a: &Value, b: &Value, rows: usize) -> Result<BooleanArray, ExprError>
where
    T::Native: PartialOrd,
{
    let get = |v: &Value| -> Result<PrimitiveArray<T>, ExprError> {
        v.array()
            .as_primitive_opt::<T>()
            .cloned()
            .ok_or_else(|| mismatch("comparison", v.array()))
    };
    let (x, y) = (get(a)?, get(b)?);
    let f = |p: T::Native, q: T::Native| match op {
        Op::Eq | Op::NotDistinct => p == q,
        Op::Member => p.is_eq(q) || (p.partial_cmp(&p).is_none() && q.partial_cmp(&q).is_none()),
        Op::Ne | Op::Distinct => p != q,
        Op::Lt => p < q,
        Op::Le => p <= q,
        Op::Gt => p > q,
        Op::Ge => p >= q,
    };
    if matches!(op, Op::Distinct | Op::NotDistinct) {
        let (p, q) = (
            super::super::value::Primitives::<T>::new(a)?,
            super::super::value::Primitives::<T>::new(b)?,
        );
        let row = |i: usize| match (p.get(i), q.get(i)) {
            (Some(p), Some(q)) => f(p, q),
            (None, None) => op == Op::NotDistinct,
            _ => op == Op::Distinct,
        };
        return Ok((0..rows).map(|i| Some(row(i))).collect());
    }
    Ok(match (a.is_scalar(), b.is_scalar()) {
        (false, true) if y.is_null(0) => BooleanArray::new_null(rows),
        (true, false) if x.is_null(0) => BooleanArray::new_null(rows),
        (false, true) => {
            let c = y.value(0);
            BooleanArray::from_unary(&x, |v| f(v, c))
        }
        (true, false) => {
            let c = x.value(0);
            BooleanArray::from_unary(&y, |v| f(c, v))
        }
        _ => BooleanArray::from_binary(&x, &y, f),
    })
}

fn compare_with_itself(op: Op, a: &Value, rows: usize) -> BooleanArray {
    let row = |i: usize| match op {
        Op::Distinct => Some(false),
        Op::NotDistinct => Some(true),
        _ if a.array().is_null(if a.is_scalar() { 0 } else { i }) => None,
        Op::Ne => Some(false),
        _ => Some(true),
    };
    (0..rows).map(row).collect()
}

/// Equality of arrays, maps and rows; NULL where a side is.
fn compare_constructed(
    op: Op,
    a: &Value,
    b: &Value,
    rows: usize,
    null_elements: NullElements,
) -> Result<BooleanArray, ExprError> {
    let equal = equality_with(a.array(), b.array(), null_elements)?;
    let at = |v: &Value, row: usize| if v.is_scalar() { 0 } else { row };
    let row = |i: usize| {
        let (p, q) = (at(a, i), at(b, i));
        let (null_a, null_b) = (a.array().is_null(p), b.array().is_null(q));
        let same = !null_a && !null_b && equal(p, q);
        match op {
            Op::Distinct => Some(!(same || (null_a && null_b))),
            Op::NotDistinct => Some(same || (null_a && null_b)),
            _ if null_a || null_b => None,
            Op::Ne => Some(!same),
            _ => Some(same),
        }
    };
    Ok((0..rows).map(row).collect())
}

fn build_in(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let [value, candidates @ ..] = call.args else {
        return Err(call.not_executable());
    };
    let commons: Option<Vec<Common>> = candidates
        .iter()
        .map(|c| Common::new(&value.ty().kind, &c.ty().kind))
        .collect();
    let commons = commons.ok_or_else(|| call.not_executable())?;
    // Flink keeps several candidates in a hash set, and compares with a single one.
    let op = if candidates.len() > 1 { Op::Member } else { Op::Eq };
    Ok(Box::new(move |args, rows| {
        let mut found: Option<BooleanArray> = None;
        for (common, candidate) in commons.iter().zip(&args[1..]) {
            let (x, y) = (common.convert(0, &args[0])?, common.convert(1, candidate)?);
            let same = compare(op, &common.common, &x, &y, rows)?;
            found = Some(match found {
                None => same,
                Some(found) => arrow_arith::boolean::or_kleene(&found, &same).map_err(|e| kernel_error("IN", &e))?,
            });
        }
        Ok(Arc::new(found.unwrap_or_else(|| BooleanArray::from(vec![false; rows]))))
    }))
}

fn build_extreme(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let kind = call.ty.kind.clone();
    let op = if call.name == "GREATEST" { Op::Ge } else { Op::Le };
    Ok(Box::new(move |args, rows| {
        let mut best = args[0].clone();
        for other in &args[1..] {
            let better = compare(op, &kind, &best, other, rows)?;
            let null = arrow_arith::boolean::is_null(&better).map_err(|e| kernel_error("GREATEST", &e))?;
            let (x, y) = (best.into_column(rows)?, other.clone().into_column(rows)?);
            let picked = arrow_select::zip::zip(&better, &x, &y).map_err(|e| kernel_error("GREATEST", &e))?;
            let picked: ArrayRef =
                arrow_select::nullif::nullif(&picked, &null).map_err(|e| kernel_error("GREATEST", &e))?;
            best = Value::Column(picked);
        }
        best.into_column(rows)
    }))
}
