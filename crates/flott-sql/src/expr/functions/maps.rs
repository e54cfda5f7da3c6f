//! Maps taken apart and made: `MAP_ENTRIES`, `MAP_FROM_ARRAYS`, `MAP_UNION`.

use super::arrays::{Lists, element_field};
use super::equality::equality;
use super::{always, entry};
use crate::expr::Expr;
use crate::expr::cast;
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::types::merged;
use crate::expr::value::{Value, kernel_error, mismatch};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, FieldRef, Fields};
use flott_core::{Field, LogicalType, TypeKind};
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry("MAP_ENTRIES", "MAP_ENTRIES(MAP)", infer_entries, build_entries),
    entry(
        "MAP_FROM_ARRAYS",
        "MAP_FROM_ARRAYS(keys ARRAY, values ARRAY)",
        infer_from_arrays,
        build_from_arrays,
    )
    .failing(always),
    entry("MAP_UNION", "MAP_UNION(MAP, ...)", infer_union, build_union),
];

fn infer_entries(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    let TypeKind::Map(key, value) = args.kind(0).clone() else {
        return Err(Refusal::Arguments);
    };
    let row = vec![Field::new("key", *key), Field::new("value", *value)];
    let row = LogicalType::new(TypeKind::Row(row));
    Ok(args.result(TypeKind::Array(Box::new(row))))
}

fn build_entries(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let field = element_field(call.ty).ok_or_else(|| call.not_executable())?;
    let DataType::Struct(fields) = field.data_type().clone() else {
        return Err(call.not_executable());
    };
    Ok(Box::new(move |args, _| {
        let array = args[0].array();
        let map = array.as_map_opt().ok_or_else(|| mismatch("MAP_ENTRIES", array))?;
        let failed = |e| kernel_error("MAP_ENTRIES", &e);
        let columns = vec![map.keys().clone(), map.values().clone()];
        let rows = StructArray::try_new(fields.clone(), columns, None).map_err(failed)?;
        let built = ListArray::try_new(
            field.clone(),
            map.offsets().clone(),
            Arc::new(rows),
            map.nulls().cloned(),
        );
        Ok(Arc::new(built.map_err(failed)?))
    }))
}

/// Arrow's parts of a MAP type.
pub(super) fn map_fields(ty: &LogicalType) -> Option<(FieldRef, Fields, bool)> {
    let DataType::Map(entry, ordered) = ty.to_arrow() else {
        return None;
    };
    match entry.data_type().clone() {
        DataType::Struct(fields) => Some((entry, fields, ordered)),
        _ => None,
    }
}

fn infer_from_arrays(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    let (TypeKind::Array(key), TypeKind::Array(value)) = (args.kind(0).clone(), args.kind(1).clone()) else {
        return Err(Refusal::Arguments);
    };
    Ok(args.result(TypeKind::Map(key, value)))
}

fn build_from_arrays(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let (entry, fields, ordered) = map_fields(call.ty).ok_or_else(|| call.not_executable())?;
    Ok(Box::new(move |args, rows| {
        let (keys, values) = (Lists::new(&args[0])?, Lists::new(&args[1])?);
        let (mut key_picks, mut value_picks) = (vec![], vec![]);
        let (mut lengths, mut valid) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for row in 0..rows {
            let (Some(k), Some(v)) = (keys.range(row), values.range(row)) else {
                lengths.push(0);
                valid.push(false);
                continue;
            };
            if k.len() != v.len() {
                return Err(ExprError::Value {
                    function: "MAP_FROM_ARRAYS",
                    problem: format!("{} keys but {} values", k.len(), v.len()),
                });
            }
            lengths.push(k.len());
            valid.push(true);
            key_picks.extend(k.map(|e| (0, e)));
            value_picks.extend(v.map(|e| (0, e)));
        }
        let columns = vec![
            gather(&[keys.values()], &key_picks)?,
            gather(&[values.values()], &value_picks)?,
        ];
        map(columns, lengths, valid, &entry, &fields, ordered)
    }))
}

/// The elements at these places.
fn gather(columns: &[&ArrayRef], places: &[(usize, usize)]) -> Result<ArrayRef, ExprError> {
    if places.is_empty() {
        return Ok(arrow_array::new_empty_array(columns[0].data_type()));
    }
    let columns: Vec<&dyn Array> = columns.iter().map(|c| c.as_ref()).collect();
    arrow_select::interleave::interleave(&columns, places).map_err(|e| kernel_error("MAP", &e))
}

/// A MAP column of these entries.
pub(super) fn map(
    columns: Vec<ArrayRef>,
    lengths: Vec<usize>,
    valid: Vec<bool>,
    entry: &FieldRef,
    fields: &Fields,
    ordered: bool,
) -> Result<ArrayRef, ExprError> {
    let failed = |e| kernel_error("MAP", &e);
    let entries = StructArray::try_new(fields.clone(), columns, None).map_err(failed)?;
    let nulls = NullBuffer::from(valid);
    let nulls = (nulls.null_count() > 0).then_some(nulls);
    let offsets = OffsetBuffer::from_lengths(lengths);
    let built = MapArray::try_new(entry.clone(), offsets, entries, nulls, ordered);
    Ok(Arc::new(built.map_err(failed)?))
}

fn infer_union(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, usize::MAX)?;
    if (0..args.len()).any(|i| !matches!(args.kind(i), TypeKind::Map(..))) {
        return Err(Refusal::Arguments);
    }
    let types: Vec<&LogicalType> = args.exprs.iter().map(Expr::ty).collect();
    let common = merged(types).ok_or(Refusal::Arguments)?;
    Ok(args.result(common.kind))
}

/// Entries of the last map first, then those of the maps before it whose keys are not there yet, as in Flink.
fn build_union(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let (entry, fields, ordered) = map_fields(call.ty).ok_or_else(|| call.not_executable())?;
    let casters: Vec<cast::Caster> = call
        .args
        .iter()
        .map(|a| cast::caster(&a.ty().kind, &call.ty.kind, call.context, false).ok_or_else(|| call.not_executable()))
        .collect::<Result<_, _>>()?;
    Ok(Box::new(move |args, rows| {
        let arrays: Vec<ArrayRef> = args
            .iter()
            .zip(&casters)
            .map(|(a, cast)| cast(a.array()))
            .collect::<Result<_, _>>()?;
        let maps: Vec<&MapArray> = arrays
            .iter()
            .map(|a| a.as_map_opt().ok_or_else(|| mismatch("MAP_UNION", a)))
            .collect::<Result<_, _>>()?;
        let keys: Vec<&ArrayRef> = maps.iter().map(|m| m.keys()).collect();
        let values: Vec<&ArrayRef> = maps.iter().map(|m| m.values()).collect();
        let same = keys
            .iter()
            .map(|a| keys.iter().map(|b| equality(a, b)).collect::<Result<Vec<_>, _>>())
            .collect::<Result<Vec<_>, _>>()?;
        let at = |m: usize, row: usize| if is_scalar(args, m) { 0 } else { row };
        let mut places: Vec<(usize, usize)> = vec![];
        let (mut lengths, mut valid) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for row in 0..rows {
            let start = places.len();
            let present = (0..maps.len()).all(|m| !maps[m].is_null(at(m, row)));
            if present {
                for m in (0..maps.len()).rev() {
                    let i = at(m, row);
                    let range = maps[m].value_offsets()[i] as usize..maps[m].value_offsets()[i + 1] as usize;
                    for e in range {
                        if !places[start..].iter().any(|(n, p)| same[*n][m](*p, e)) {
                            places.push((m, e));
                        }
                    }
                }
            }
            lengths.push(places.len() - start);
            valid.push(present);
        }
        let columns = vec![gather(&keys, &places)?, gather(&values, &places)?];
        map(columns, lengths, valid, &entry, &fields, ordered)
    }))
}

fn is_scalar(args: &[Value], i: usize) -> bool {
    args[i].is_scalar()
}
