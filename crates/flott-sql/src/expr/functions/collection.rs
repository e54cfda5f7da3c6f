//! Functions over arrays and maps.

use super::arrays::{Lists, fit_element};
use super::equality::equality;
use super::{always, entry};
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::value::{kernel_error, mismatch};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, Int32Array, ListArray, UInt32Array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use flott_core::{LogicalType, TypeKind};
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry(
        "CARDINALITY",
        "CARDINALITY(ARRAY|MAP)",
        infer_cardinality,
        build_cardinality,
    ),
    entry("ELEMENT", "ELEMENT(ARRAY)", infer_element, build_element).failing(always),
    entry(
        "ARRAY_CONTAINS",
        "ARRAY_CONTAINS(ARRAY, element)",
        infer_contains,
        build_contains,
    ),
    entry("MAP_KEYS", "MAP_KEYS(MAP)", infer_map_part, build_map_part),
    entry("MAP_VALUES", "MAP_VALUES(MAP)", infer_map_part, build_map_part),
];

/// Offsets and NULLs of an ARRAY or MAP column.
fn shape(array: &ArrayRef) -> Result<(OffsetBuffer<i32>, Option<NullBuffer>), ExprError> {
    if let Some(list) = array.as_list_opt::<i32>() {
        return Ok((list.offsets().clone(), list.nulls().cloned()));
    }
    let map = array.as_map_opt().ok_or_else(|| mismatch("CARDINALITY", array))?;
    Ok((map.offsets().clone(), map.nulls().cloned()))
}

fn infer_cardinality(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    match args.kind(0) {
        TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) => Ok(args.result(TypeKind::Int)),
        _ => Err(Refusal::Arguments),
    }
}

fn build_cardinality(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, _| {
        let (offsets, nulls) = shape(args[0].array())?;
        let lengths = offsets.windows(2).map(|w| w[1] - w[0]).collect();
        Ok(Arc::new(Int32Array::new(lengths, nulls)))
    }))
}

fn infer_element(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    match args.kind(0) {
        TypeKind::Array(element) => Ok(element.with_nullable(element.nullable || args.nullable())),
        _ => Err(Refusal::Arguments),
    }
}

fn build_element(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let array = args[0].array();
        let list = array.as_list_opt::<i32>().ok_or_else(|| mismatch("ELEMENT", array))?;
        let mut picks = Vec::with_capacity(rows);
        for row in 0..rows {
            let (start, end) = (list.value_offsets()[row], list.value_offsets()[row + 1]);
            if list.is_valid(row) && end - start > 1 {
                return Err(ExprError::Value {
                    function: "ELEMENT",
                    problem: format!("the array has {} elements, not one", end - start),
                });
            }
            picks.push((list.is_valid(row) && end > start).then_some(start as u32));
        }
        arrow_select::take::take(list.values(), &UInt32Array::from(picks), None)
            .map_err(|e| kernel_error("ELEMENT", &e))
    }))
}

fn infer_contains(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    fit_element(args)?;
    Ok(LogicalType {
        kind: TypeKind::Boolean,
        nullable: args.exprs[0].ty().nullable,
    })
}

fn build_contains(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let lists = Lists::new(&args[0])?;
        let same = equality(lists.values(), args[1].array())?;
        let step = usize::from(!args[1].is_scalar());
        // NULL is contained where an element is NULL
        let row = |row: usize| Some(lists.range(row)?.any(|e| same(e, row * step)));
        Ok(Arc::new((0..rows).map(row).collect::<BooleanArray>()))
    }))
}

fn infer_map_part(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    let TypeKind::Map(key, value) = args.kind(0).clone() else {
        return Err(Refusal::Arguments);
    };
    let element = if args.name == "MAP_KEYS" { key } else { value };
    Ok(args.result(TypeKind::Array(element)))
}

fn build_map_part(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let keys = call.name == "MAP_KEYS";
    let TypeKind::Array(element) = &call.ty.kind else {
        return Err(call.not_executable());
    };
    let field = Arc::new(arrow_schema::Field::new(
        "element",
        element.to_arrow(),
        element.nullable,
    ));
    Ok(Box::new(move |args, _| {
        let array = args[0].array();
        let map = array.as_map_opt().ok_or_else(|| mismatch("MAP_KEYS", array))?;
        let values = if keys { map.keys() } else { map.values() };
        let built = ListArray::try_new(
            field.clone(),
            map.offsets().clone(),
            values.clone(),
            map.nulls().cloned(),
        );
        Ok(Arc::new(built.map_err(|e| kernel_error("MAP_KEYS", &e))?))
    }))
}
