//! `AND OR NOT`, the IS tests, CAST, and the type rules of what [`crate::expr::program`] runs itself.

use super::entry;
use crate::expr::Expr;
use crate::expr::cast;
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::value::{kernel_error, mismatch};
use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray};
use arrow_buffer::BooleanBuffer;
use flott_core::{LogicalType, TypeKind};
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry("AND", "BOOLEAN AND BOOLEAN", infer_connective, Call::by_program),
    entry("OR", "BOOLEAN OR BOOLEAN", infer_connective, Call::by_program),
    entry("NOT", "NOT BOOLEAN", infer_not, build_not),
    entry("IS NULL", "ANY IS NULL", infer_null_test, build_null_test),
    entry("IS NOT NULL", "ANY IS NOT NULL", infer_null_test, build_null_test),
    entry("IS TRUE", "BOOLEAN IS TRUE", infer_test, build_test),
    entry("IS NOT TRUE", "BOOLEAN IS NOT TRUE", infer_test, build_test),
    entry("IS FALSE", "BOOLEAN IS FALSE", infer_test, build_test),
    entry("IS NOT FALSE", "BOOLEAN IS NOT FALSE", infer_test, build_test),
    entry("IS UNKNOWN", "BOOLEAN IS UNKNOWN", infer_test, build_null_test),
    entry("IS NOT UNKNOWN", "BOOLEAN IS NOT UNKNOWN", infer_test, build_null_test),
    entry(
        "CASE",
        "CASE WHEN BOOLEAN THEN ANY [WHEN ...] [ELSE ANY] END",
        infer_case,
        Call::by_program,
    ),
    entry("IF", "IF(BOOLEAN, ANY, ANY)", infer_if, Call::by_program),
    entry("COALESCE", "COALESCE(ANY, ...)", infer_coalesce, Call::by_program),
    entry("IFNULL", "IFNULL(ANY, ANY)", infer_ifnull, Call::by_program),
    entry("CAST", "CAST(ANY AS type)", refuse_cast, cast::build).failing(cast_fails),
    entry("TRY_CAST", "TRY_CAST(ANY AS type)", refuse_cast, cast::build),
];

impl Call<'_> {
    /// For functions that have no kernel of their own.
    fn by_program(call: &Call<'_>) -> Result<Kernel, ExprError> {
        Err(call.not_executable())
    }
}

fn cast_fails(args: &[Expr], ty: &LogicalType) -> bool {
    args.first().is_none_or(|a| cast::can_fail(&a.ty().kind, &ty.kind))
}

/// A cast needs its target: it is made by [`crate::expr::resolve_cast`].
fn refuse_cast(_: &mut Arguments) -> Result<LogicalType, Refusal> {
    Err(Refusal::Arguments)
}

fn infer_connective(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, usize::MAX)?;
    (0..args.len()).try_for_each(|i| args.boolean(i))?;
    Ok(args.result(TypeKind::Boolean))
}

fn infer_not(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    args.boolean(0)?;
    Ok(args.result(TypeKind::Boolean))
}

fn infer_null_test(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    Ok(LogicalType::not_null(TypeKind::Boolean))
}

fn infer_test(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    args.boolean(0)?;
    Ok(LogicalType::not_null(TypeKind::Boolean))
}

/// Without ELSE the caller passes NULL, or leaves it out.
fn infer_case(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, usize::MAX)?;
    if args.len().is_multiple_of(2) {
        args.exprs.push(Expr::null(TypeKind::Null));
    }
    let last = args.len() - 1;
    (0..last).step_by(2).try_for_each(|i| args.boolean(i))?;
    let values: Vec<usize> = (1..last).step_by(2).chain([last]).collect();
    args.unify(&values)
}

fn infer_if(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(3, 3)?;
    args.boolean(0)?;
    let common = args.merge(1)?;
    Ok(common.with_nullable(args.nullable()))
}

fn infer_coalesce(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, usize::MAX)?;
    let nullable = args.exprs.iter().all(|e| e.ty().nullable);
    Ok(args.merge(0)?.with_nullable(nullable))
}

fn infer_ifnull(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    infer_coalesce(args)
}

fn build_not(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, _| {
        let array = args[0].array();
        let values = array.as_boolean_opt().ok_or_else(|| mismatch("NOT", array))?;
        Ok(Arc::new(
            arrow_arith::boolean::not(values).map_err(|e| kernel_error("NOT", &e))?,
        ))
    }))
}

fn build_null_test(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let wanted = !call.name.starts_with("IS NOT");
    Ok(Box::new(move |args, rows| {
        let array = args[0].array();
        let bits = match array.logical_nulls() {
            None if wanted => BooleanBuffer::new_unset(rows),
            None => BooleanBuffer::new_set(rows),
            Some(nulls) if wanted => !nulls.inner(),
            Some(nulls) => nulls.into_inner(),
        };
        Ok(Arc::new(BooleanArray::new(bits, None)))
    }))
}

fn build_test(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let wanted = call.name.ends_with("TRUE");
    let negated = call.name.starts_with("IS NOT");
    Ok(Box::new(move |args, _| {
        let array = args[0].array();
        let values = array.as_boolean_opt().ok_or_else(|| mismatch("IS TRUE", array))?;
        let same = if wanted {
            values.values().clone()
        } else {
            !values.values()
        };
        let bits = match values.nulls() {
            Some(nulls) => &same & nulls.inner(),
            None => same,
        };
        Ok(Arc::new(BooleanArray::new(if negated { !&bits } else { bits }, None)))
    }))
}
