//! Access and construction: `DOT` (field of a ROW), `ITEM` (element, map value), `ROW`, `ARRAY`, `MAP`.

use super::entry;
use super::equality::equality;
use crate::expr::cast::{self, Caster};
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::types::comparison_kind;
use crate::expr::value::{Primitives, kernel_error, mismatch};
use crate::expr::{Expr, Literal};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray, UInt32Array, make_array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, SortOptions};
use flott_core::{Field, LogicalType, TypeKind};
use std::cmp::Ordering;
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry("DOT", "ROW.field", infer_dot, build_dot),
    entry("ITEM", "ARRAY[INT], MAP[key]", infer_item, build_item).failing(item_fails),
    entry("ROW", "ROW(ANY, ...)", infer_row, build_row),
    entry("ARRAY", "ARRAY[ANY, ...] of one type", infer_array, build_array),
    entry(
        "MAP",
        "MAP[key, value, ...] of one key and one value type",
        infer_map,
        build_map,
    ),
];

/// The position 0 of an array is an error; a position that is a constant above it is none.
fn item_fails(args: &[Expr], _: &LogicalType) -> bool {
    matches!(args.first().map(|a| &a.ty().kind), Some(TypeKind::Array(_)))
        && !matches!(args.get(1).and_then(Expr::as_literal), Some(Literal::Integer(v)) if *v > 0)
}

fn infer_dot(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    let Some(Literal::Integer(index)) = args.exprs[1].as_literal() else {
        return Err(Refusal::Arguments);
    };
    let index = usize::try_from(*index).map_err(|_| Refusal::Arguments)?;
    let field = args.exprs[0].clone().field(index).ok_or(Refusal::Arguments)?;
    Ok(field.ty().clone())
}

fn build_dot(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let index = match call.args.get(1).and_then(Expr::as_literal) {
        Some(Literal::Integer(i)) => usize::try_from(*i).map_err(|_| call.not_executable())?,
        _ => return Err(call.not_executable()),
    };
    Ok(Box::new(move |args, _| {
        let array = args[0].array();
        let row = array
            .as_struct_opt()
            .filter(|r| index < r.num_columns())
            .ok_or_else(|| mismatch("DOT", array))?;
        let column = row.column(index);
        let Some(nulls) = row.nulls().filter(|n| n.null_count() > 0) else {
            return Ok(column.clone());
        };
        with_nulls(column, NullBuffer::union(Some(nulls), column.nulls()))
    }))
}

/// The same values with these NULLs, without copying values.
fn with_nulls(array: &ArrayRef, nulls: Option<NullBuffer>) -> Result<ArrayRef, ExprError> {
    if array.data_type() == &DataType::Null {
        return Ok(array.clone());
    }
    let data = array.to_data().into_builder().nulls(nulls).build();
    Ok(make_array(data.map_err(|e| kernel_error("DOT", &e))?))
}

fn infer_item(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    match args.kind(0).clone() {
        TypeKind::Array(element) => {
            args.require(1, TypeKind::is_integer, TypeKind::Int)?;
            args.cast(1, &TypeKind::Int)?;
            Ok(element.with_nullable(true))
        }
        TypeKind::Map(key, value) => {
            comparison_kind(&key.kind, args.kind(1)).ok_or(Refusal::Arguments)?;
            if !(key.kind.is_string() && args.kind(1).is_string()) {
                args.cast(1, &key.kind)?;
            }
            Ok(value.with_nullable(true))
        }
        _ => Err(Refusal::Arguments),
    }
}

fn build_item(call: &Call<'_>) -> Result<Kernel, ExprError> {
    match &call.args[0].ty().kind {
        TypeKind::Array(_) => Ok(Box::new(|args, rows| {
            let array = args[0].array();
            let list = array.as_list_opt::<i32>().ok_or_else(|| mismatch("ITEM", array))?;
            let positions = Primitives::<Int32Type>::new(&args[1])?;
            let step = usize::from(!args[0].is_scalar());
            let mut picks = Vec::with_capacity(rows);
            for row in 0..rows {
                let i = row * step;
                let (start, end) = (list.value_offsets()[i], list.value_offsets()[i + 1]);
                picks.push(match positions.get(row) {
                    _ if list.is_null(i) => None,
                    None => None,
                    Some(position) if position < 1 => {
                        return Err(ExprError::Value {
                            function: "ITEM",
                            problem: format!("array positions start at 1, got {position}"),
                        });
                    }
                    Some(position) => u32::try_from(start + (position - 1))
                        .ok()
                        .filter(|_| position <= end - start),
                });
            }
            let picks = UInt32Array::from(picks);
            arrow_select::take::take(list.values(), &picks, None).map_err(|e| kernel_error("ITEM", &e))
        })),
        TypeKind::Map(..) => Ok(Box::new(|args, rows| {
            let array = args[0].array();
            let map = array.as_map_opt().ok_or_else(|| mismatch("ITEM", array))?;
            let (step, key_step) = (usize::from(!args[0].is_scalar()), usize::from(!args[1].is_scalar()));
            let wanted = args[1].array();
            let same = arrow_ord::ord::make_comparator(map.keys().as_ref(), wanted.as_ref(), SortOptions::default())
                .map_err(|e| kernel_error("ITEM", &e))?;
            let pick = |row: usize| {
                let (i, k) = (row * step, row * key_step);
                if map.is_null(i) || wanted.is_null(k) {
                    return None;
                }
                let range = map.value_offsets()[i]..map.value_offsets()[i + 1];
                // of equal keys the last counts
                range
                    .rev()
                    .find(|e| same(*e as usize, k) == Ordering::Equal)
                    .map(|e| e as u32)
            };
            let picks: UInt32Array = (0..rows).map(pick).collect();
            arrow_select::take::take(map.values(), &picks, None).map_err(|e| kernel_error("ITEM", &e))
        })),
        _ => Err(call.not_executable()),
    }
}

fn infer_row(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, usize::MAX)?;
    let fields = args
        .exprs
        .iter()
        .enumerate()
        .map(|(i, e)| Field::new(format!("EXPR${i}"), e.ty().clone()));
    Ok(LogicalType::not_null(TypeKind::Row(fields.collect())))
}

fn build_row(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let DataType::Struct(fields) = call.ty.to_arrow() else {
        return Err(call.not_executable());
    };
    Ok(Box::new(move |args, rows| {
        let columns = args
            .iter()
            .map(|a| a.clone().into_column(rows))
            .collect::<Result<_, _>>()?;
        let built = StructArray::try_new_with_length(fields.clone(), columns, None, rows);
        Ok(Arc::new(built.map_err(|e| kernel_error("ROW", &e))?))
    }))
}

fn infer_array(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, usize::MAX)?;
    let all: Vec<usize> = (0..args.len()).collect();
    let element = args.unify(&all)?;
    Ok(LogicalType::not_null(TypeKind::Array(Box::new(element))))
}

/// Casters of constructed elements whose nullability differs from the target's.
fn casters(
    args: &[Expr],
    positions: impl Iterator<Item = usize>,
    to: &TypeKind,
    call: &Call<'_>,
) -> Result<Vec<Caster>, ExprError> {
    positions
        .map(|i| cast::caster(&args[i].ty().kind, to, call.context, false).ok_or_else(|| call.not_executable()))
        .collect()
}

/// The values of several columns of type `to` row by row: row 0 of each, row 1 of each, …
fn interleaved(columns: &[ArrayRef], rows: usize, to: &DataType) -> Result<ArrayRef, ExprError> {
    let columns: Result<Vec<ArrayRef>, ArrowError> = columns.iter().map(|c| retyped(c, to)).collect();
    let columns = columns.map_err(|e| kernel_error("ARRAY", &e))?;
    let parts: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    let places: Vec<(usize, usize)> = (0..rows)
        .flat_map(|row| (0..parts.len()).map(move |c| (c, row)))
        .collect();
    arrow_select::interleave::interleave(&parts, &places).map_err(|e| kernel_error("ARRAY", &e))
}

/// A column under another name of its type: whether what is within may be NULL, and how it is called.
fn retyped(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == to {
        return Ok(column.clone());
    }
    Ok(match (column.data_type(), to) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let row = column.as_struct();
            let columns = row.columns().iter().zip(fields);
            let columns: Result<Vec<_>, _> = columns.map(|(c, f)| retyped(c, f.data_type())).collect();
            Arc::new(StructArray::try_new(fields.clone(), columns?, row.nulls().cloned())?)
        }
        (DataType::List(_), DataType::List(field)) => {
            let list = column.as_list::<i32>();
            let values = retyped(list.values(), field.data_type())?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(ListArray::try_new(field.clone(), offsets, values, nulls)?)
        }
        (DataType::Map(..), DataType::Map(field, ordered)) => {
            let map = column.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            let entries = retyped(&entries, field.data_type())?.as_struct().clone();
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Arc::new(MapArray::try_new(field.clone(), offsets, entries, nulls, *ordered)?)
        }
        _ => column.clone(),
    })
}

fn build_array(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let TypeKind::Array(element) = &call.ty.kind else {
        return Err(call.not_executable());
    };
    let field = Arc::new(arrow_schema::Field::new(
        "element",
        element.to_arrow(),
        element.nullable,
    ));
    let casters = casters(call.args, 0..call.args.len(), &element.kind, call)?;
    Ok(Box::new(move |args, rows| {
        let column = |(a, c): (&crate::expr::value::Value, &Caster)| c(&a.clone().into_column(rows)?);
        let columns: Vec<ArrayRef> = args.iter().zip(&casters).map(column).collect::<Result<_, _>>()?;
        let values = interleaved(&columns, rows, field.data_type())?;
        let offsets = OffsetBuffer::from_repeated_length(columns.len(), rows);
        let built = ListArray::try_new(field.clone(), offsets, values, None);
        Ok(Arc::new(built.map_err(|e| kernel_error("ARRAY", &e))?))
    }))
}

fn infer_map(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, usize::MAX)?;
    if !args.len().is_multiple_of(2) {
        return Err(Refusal::Arguments);
    }
    let keys: Vec<usize> = (0..args.len()).step_by(2).collect();
    let values: Vec<usize> = (1..args.len()).step_by(2).collect();
    let (key, value) = (args.unify(&keys)?, args.unify(&values)?);
    Ok(LogicalType::not_null(TypeKind::Map(Box::new(key), Box::new(value))))
}

/// Keys and values of `width` entries a row without those whose key comes again, and what is left in each row. The
/// value that counts stands at its key's first place.
fn last_of_equal_keys(
    columns: Vec<ArrayRef>,
    width: usize,
    rows: usize,
) -> Result<(Vec<ArrayRef>, Vec<usize>), ExprError> {
    let mut picks: [Vec<u32>; 2] = [vec![], vec![]];
    let mut lengths = Vec::with_capacity(rows);
    {
        let same = equality(&columns[0], &columns[0])?;
        for row in 0..rows {
            let entries = row * width..(row + 1) * width;
            let start = picks[0].len();
            for e in entries.clone() {
                if (entries.start..e).any(|before| same(before, e)) {
                    continue;
                }
                let last = (e..entries.end).rev().find(|later| same(*later, e)).unwrap_or(e);
                picks[0].push(e as u32);
                picks[1].push(last as u32);
            }
            lengths.push(picks[0].len() - start);
        }
    }
    if picks[0].len() == rows * width {
        return Ok((columns, lengths));
    }
    let [keys, values] = picks.map(UInt32Array::from);
    let take = |column: &ArrayRef, picks: &UInt32Array| {
        arrow_select::take::take(column, picks, None).map_err(|e| kernel_error("MAP", &e))
    };
    Ok((vec![take(&columns[0], &keys)?, take(&columns[1], &values)?], lengths))
}

fn build_map(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let TypeKind::Map(key, value) = &call.ty.kind else {
        return Err(call.not_executable());
    };
    let DataType::Map(field, ordered) = call.ty.to_arrow() else {
        return Err(call.not_executable());
    };
    let DataType::Struct(fields) = field.data_type().clone() else {
        return Err(call.not_executable());
    };
    let key_casters = casters(call.args, (0..call.args.len()).step_by(2), &key.kind, call)?;
    let value_casters = casters(call.args, (1..call.args.len()).step_by(2), &value.kind, call)?;
    Ok(Box::new(move |args, rows| {
        let side = |first: usize, casters: &[Caster], to: &DataType| -> Result<ArrayRef, ExprError> {
            let column = |(a, c): (&crate::expr::value::Value, &Caster)| c(&a.clone().into_column(rows)?);
            let picked = args.iter().skip(first).step_by(2);
            let columns: Vec<ArrayRef> = picked.zip(casters).map(column).collect::<Result<_, _>>()?;
            interleaved(&columns, rows, to)
        };
        let columns = vec![
            side(0, &key_casters, fields[0].data_type())?,
            side(1, &value_casters, fields[1].data_type())?,
        ];
        let failed = |e| kernel_error("MAP", &e);
        let (columns, lengths) = last_of_equal_keys(columns, args.len() / 2, rows)?;
        let entries = StructArray::try_new(fields.clone(), columns, None).map_err(failed)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        let built = MapArray::try_new(field.clone(), offsets, entries, None, ordered);
        Ok(Arc::new(built.map_err(failed)?))
    }))
}
