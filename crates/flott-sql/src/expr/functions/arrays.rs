//! The `ARRAY_*` family. Most of them pick elements: they compute positions, and one gather makes the result.

use super::entry;
use super::equality::{equality, ordering};
use super::text::rows_of_text;
use crate::expr::Expr;
use crate::expr::cast::{self, Caster};
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::types::{least_restrictive, merged};
use crate::expr::value::{Booleans, Primitives, Strings, Value, kernel_error, mismatch};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, Int32Array, ListArray, UInt32Array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::FieldRef;
use flott_core::types::MAX_LENGTH;
use flott_core::{LogicalType, TypeKind};
use std::cmp::Ordering;
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry(
        "ARRAY_APPEND",
        "ARRAY_APPEND(ARRAY, element)",
        infer_with_element,
        build_append,
    ),
    entry(
        "ARRAY_PREPEND",
        "ARRAY_PREPEND(ARRAY, element)",
        infer_with_element,
        build_append,
    ),
    entry(
        "ARRAY_REMOVE",
        "ARRAY_REMOVE(ARRAY, element)",
        infer_search,
        build_remove,
    ),
    entry(
        "ARRAY_POSITION",
        "ARRAY_POSITION(ARRAY, element)",
        infer_search,
        build_position,
    ),
    entry("ARRAY_CONCAT", "ARRAY_CONCAT(ARRAY, ...)", infer_common, build_concat),
    entry("ARRAY_UNION", "ARRAY_UNION(ARRAY, ARRAY)", infer_common, build_set),
    entry("ARRAY_EXCEPT", "ARRAY_EXCEPT(ARRAY, ARRAY)", infer_common, build_set),
    entry(
        "ARRAY_INTERSECT",
        "ARRAY_INTERSECT(ARRAY, ARRAY)",
        infer_common,
        build_set,
    ),
    entry("ARRAY_DISTINCT", "ARRAY_DISTINCT(ARRAY)", infer_same, build_set),
    entry("ARRAY_REVERSE", "ARRAY_REVERSE(ARRAY)", infer_same, build_reverse),
    entry(
        "ARRAY_SLICE",
        "ARRAY_SLICE(ARRAY, start INT [, end INT])",
        infer_slice,
        build_slice,
    ),
    entry(
        "ARRAY_SORT",
        "ARRAY_SORT(ARRAY of comparable elements [, ascending BOOLEAN [, nulls first BOOLEAN]])",
        infer_sort,
        build_sort,
    ),
    entry(
        "ARRAY_MAX",
        "ARRAY_MAX(ARRAY of comparable elements)",
        infer_extreme,
        build_extreme,
    ),
    entry(
        "ARRAY_MIN",
        "ARRAY_MIN(ARRAY of comparable elements)",
        infer_extreme,
        build_extreme,
    ),
    entry(
        "ARRAY_JOIN",
        "ARRAY_JOIN(ARRAY<STRING>, delimiter STRING [, for NULL STRING])",
        infer_join,
        build_join,
    ),
];

/// An ARRAY argument: the elements of a row are those at a range of positions.
pub(super) struct Lists<'a> {
    array: &'a ListArray,
    step: usize,
}

impl<'a> Lists<'a> {
    pub(super) fn new(value: &'a Value) -> Result<Self, ExprError> {
        let array = value.array();
        Ok(Self {
            array: array.as_list_opt().ok_or_else(|| mismatch("ARRAY", array))?,
            step: usize::from(!value.is_scalar()),
        })
    }

    /// Positions of a row's elements; `None` if the array is NULL.
    pub(super) fn range(&self, row: usize) -> Option<std::ops::Range<usize>> {
        let i = row * self.step;
        let offsets = self.array.value_offsets();
        (!self.array.is_null(i)).then(|| offsets[i] as usize..offsets[i + 1] as usize)
    }

    /// The elements of all rows.
    pub(super) fn values(&self) -> &'a ArrayRef {
        self.array.values()
    }
}

/// The field of an ARRAY type's elements.
pub(super) fn element_field(ty: &LogicalType) -> Option<FieldRef> {
    match &ty.kind {
        TypeKind::Array(element) => {
            let field = arrow_schema::Field::new("element", element.to_arrow(), element.nullable);
            Some(Arc::new(field))
        }
        _ => None,
    }
}

/// Arrays built row by row from elements picked out of several columns.
struct Picked {
    /// Which column, which position.
    places: Vec<(usize, usize)>,
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl Picked {
    fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self {
            places: vec![],
            offsets,
            valid: Vec::with_capacity(rows),
        }
    }

    fn end_row(&mut self, valid: bool) {
        self.offsets.push(i32::try_from(self.places.len()).unwrap_or(i32::MAX));
        self.valid.push(valid);
    }

    fn finish(self, columns: &[&ArrayRef], field: &FieldRef) -> Result<ArrayRef, ExprError> {
        let failed = |e| kernel_error("ARRAY", &e);
        let columns: Vec<&dyn Array> = columns.iter().map(|c| c.as_ref()).collect();
        let values = if self.places.is_empty() {
            arrow_array::new_empty_array(field.data_type())
        } else {
            arrow_select::interleave::interleave(&columns, &self.places).map_err(failed)?
        };
        let nulls = NullBuffer::from(self.valid);
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        let built = ListArray::try_new(field.clone(), OffsetBuffer::new(self.offsets.into()), values, nulls);
        Ok(Arc::new(built.map_err(failed)?))
    }
}

/// The element type of argument `i`.
fn element(args: &Arguments, i: usize) -> Result<LogicalType, Refusal> {
    match args.kind(i) {
        TypeKind::Array(element) => Ok((**element).clone()),
        _ => Err(Refusal::Arguments),
    }
}

/// Casts the element argument to the array's elements, where that loses nothing.
pub(super) fn fit_element(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    let element = element(args, 0)?;
    let common = least_restrictive([&element, args.exprs[1].ty()]).ok_or(Refusal::Arguments)?;
    if common.kind != element.kind && !element.kind.is_string() && !element.kind.is_binary() {
        // rows and arrays of strings differ in lengths only
        let nested = |k: &TypeKind| matches!(k, TypeKind::Row(_) | TypeKind::Array(_) | TypeKind::Map(..));
        if !nested(&element.kind) {
            return Err(Refusal::Arguments);
        }
    }
    if args.kind(1) != &element.kind {
        let to = LogicalType::new(element.kind.clone());
        let arg = args.exprs[1].clone();
        args.exprs[1] = crate::expr::resolve_cast(arg, to, false).map_err(|_| Refusal::Arguments)?;
    }
    Ok(element)
}

fn infer_with_element(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    let element = fit_element(args)?;
    let element = element.with_nullable(element.nullable || args.exprs[1].ty().nullable);
    Ok(args.result(TypeKind::Array(Box::new(element))))
}

fn field_of(call: &Call<'_>) -> Result<FieldRef, ExprError> {
    element_field(call.ty).ok_or_else(|| call.not_executable())
}

fn build_append(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let field = field_of(call)?;
    let front = call.name == "ARRAY_PREPEND";
    Ok(Box::new(move |args, rows| {
        let lists = Lists::new(&args[0])?;
        let step = usize::from(!args[1].is_scalar());
        let mut picked = Picked::new(rows);
        for row in 0..rows {
            let range = lists.range(row);
            if let Some(range) = range.clone() {
                if front {
                    picked.places.push((1, row * step));
                }
                picked.places.extend(range.map(|e| (0, e)));
                if !front {
                    picked.places.push((1, row * step));
                }
            }
            picked.end_row(range.is_some());
        }
        picked.finish(&[lists.values(), args[1].array()], &field)
    }))
}

fn infer_search(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    fit_element(args)?;
    if args.name == "ARRAY_POSITION" {
        return Ok(args.result(TypeKind::Int));
    }
    Ok(args.exprs[0].ty().clone())
}

fn build_remove(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let field = field_of(call)?;
    Ok(Box::new(move |args, rows| {
        let lists = Lists::new(&args[0])?;
        let wanted = args[1].array();
        let same = equality(lists.values(), wanted)?;
        let step = usize::from(!args[1].is_scalar());
        let mut picked = Picked::new(rows);
        for row in 0..rows {
            let range = lists.range(row);
            if let Some(range) = range.clone() {
                picked
                    .places
                    .extend(range.filter(|e| !same(*e, row * step)).map(|e| (0, e)));
            }
            picked.end_row(range.is_some());
        }
        picked.finish(&[lists.values()], &field)
    }))
}

fn build_position(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let lists = Lists::new(&args[0])?;
        let wanted = args[1].array();
        let same = equality(lists.values(), wanted)?;
        let step = usize::from(!args[1].is_scalar());
        let row = |row: usize| {
            let mut range = lists.range(row)?;
            if wanted.is_null(row * step) {
                return None;
            }
            let found = range.position(|e| same(e, row * step));
            Some(found.map_or(0, |at| i32::try_from(at + 1).unwrap_or(i32::MAX)))
        };
        Ok(Arc::new((0..rows).map(row).collect::<Int32Array>()))
    }))
}

/// Arrays of one type: elements get the type that they have in common.
fn infer_common(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    let most = if args.name == "ARRAY_CONCAT" { usize::MAX } else { 2 };
    args.count(if most == 2 { 2 } else { 1 }, most)?;
    for i in 0..args.len() {
        element(args, i)?;
    }
    let types: Vec<&LogicalType> = args.exprs.iter().map(Expr::ty).collect();
    let common = merged(types).ok_or(Refusal::Arguments)?;
    Ok(args.result(common.kind))
}

/// Casters of the elements of each argument to those of the result.
fn element_casters(call: &Call<'_>) -> Result<Vec<Caster>, ExprError> {
    let TypeKind::Array(to) = &call.ty.kind else {
        return Err(call.not_executable());
    };
    let caster = |arg: &Expr| match &arg.ty().kind {
        TypeKind::Array(from) => cast::caster(&from.kind, &to.kind, call.context, false),
        _ => None,
    };
    call.args
        .iter()
        .map(|a| caster(a).ok_or_else(|| call.not_executable()))
        .collect()
}

fn build_concat(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let (field, casters) = (field_of(call)?, element_casters(call)?);
    Ok(Box::new(move |args, rows| {
        let lists: Vec<Lists<'_>> = args.iter().map(Lists::new).collect::<Result<_, _>>()?;
        let columns: Vec<ArrayRef> = lists
            .iter()
            .zip(&casters)
            .map(|(l, cast)| cast(l.values()))
            .collect::<Result<_, _>>()?;
        let mut picked = Picked::new(rows);
        for row in 0..rows {
            let ranges: Option<Vec<_>> = lists.iter().map(|l| l.range(row)).collect();
            for (column, range) in ranges.iter().flatten().enumerate() {
                picked.places.extend(range.clone().map(|e| (column, e)));
            }
            picked.end_row(ranges.is_some());
        }
        picked.finish(&columns.iter().collect::<Vec<_>>(), &field)
    }))
}

/// UNION, EXCEPT, INTERSECT and DISTINCT: every element once, in the order of the first arrays.
fn build_set(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let (field, casters) = (field_of(call)?, element_casters(call)?);
    let union = matches!(call.name, "ARRAY_UNION" | "ARRAY_DISTINCT");
    let except = call.name == "ARRAY_EXCEPT";
    Ok(Box::new(move |args, rows| {
        let lists: Vec<Lists<'_>> = args.iter().map(Lists::new).collect::<Result<_, _>>()?;
        let columns: Vec<ArrayRef> = lists
            .iter()
            .zip(&casters)
            .map(|(l, cast)| cast(l.values()))
            .collect::<Result<_, _>>()?;
        let first = &columns[0];
        let second = columns.last().unwrap_or(first);
        let same = [
            [equality(first, first)?, equality(first, second)?],
            [equality(second, first)?, equality(second, second)?],
        ];
        let mut picked = Picked::new(rows);
        for row in 0..rows {
            let ranges: Option<Vec<_>> = lists.iter().map(|l| l.range(row)).collect();
            let Some(ranges) = ranges else {
                picked.end_row(false);
                continue;
            };
            let start = picked.places.len();
            let other = ranges.get(1).cloned().unwrap_or(0..0);
            let sources = if union { ranges.len() } else { 1 };
            for (column, range) in ranges.iter().enumerate().take(sources) {
                for e in range.clone() {
                    let wanted = union || other.clone().any(|o| same[0][1](e, o)) != except;
                    let known = picked.places[start..].iter().any(|(c, p)| same[*c][column](*p, e));
                    if wanted && !known {
                        picked.places.push((column, e));
                    }
                }
            }
            picked.end_row(true);
        }
        picked.finish(&columns.iter().collect::<Vec<_>>(), &field)
    }))
}

fn infer_same(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    element(args, 0)?;
    Ok(args.exprs[0].ty().clone())
}

fn build_reverse(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let field = field_of(call)?;
    Ok(Box::new(move |args, rows| {
        let lists = Lists::new(&args[0])?;
        let mut picked = Picked::new(rows);
        for row in 0..rows {
            let range = lists.range(row);
            let valid = range.is_some();
            picked.places.extend(range.into_iter().flatten().rev().map(|e| (0, e)));
            picked.end_row(valid);
        }
        picked.finish(&[lists.values()], &field)
    }))
}

fn infer_slice(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 3)?;
    element(args, 0)?;
    (1..args.len()).try_for_each(|i| args.int(i))?;
    let kind = args.kind(0).clone();
    Ok(args.result(kind))
}

/// The part of `range` from position `start` to `end`, both from 1, or from the last if negative.
fn slice(range: std::ops::Range<usize>, start: i32, end: Option<i32>) -> std::ops::Range<usize> {
    let length = range.len() as i64;
    let from_front = |position: i64| match position {
        0 => 1,
        1.. => position,
        _ => length + position + 1,
    };
    let first = from_front(start.into()).max(1);
    let last = end.map_or(length, |e| from_front(e.into())).min(length);
    if first > last {
        return range.start..range.start;
    }
    // both are between 1 and the length
    range.start + (first - 1) as usize..range.start + last as usize
}

fn build_slice(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let field = field_of(call)?;
    Ok(Box::new(move |args, rows| {
        let lists = Lists::new(&args[0])?;
        let starts = Primitives::<Int32Type>::new(&args[1])?;
        let ends = args.get(2).map(Primitives::<Int32Type>::new).transpose()?;
        let mut picked = Picked::new(rows);
        for row in 0..rows {
            let part = || {
                let end = match &ends {
                    Some(ends) => Some(ends.get(row)?),
                    None => None,
                };
                Some(slice(lists.range(row)?, starts.get(row)?, end))
            };
            let part = part();
            let valid = part.is_some();
            picked.places.extend(part.into_iter().flatten().map(|e| (0, e)));
            picked.end_row(valid);
        }
        picked.finish(&[lists.values()], &field)
    }))
}

/// Whether Flink orders values of this kind.
fn is_ordered(kind: &TypeKind) -> bool {
    kind.is_numeric()
        || kind.is_string()
        || kind.is_binary()
        || crate::expr::types::is_datetime(kind)
        || crate::expr::types::is_interval(kind)
}

fn infer_sort(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 3)?;
    if !is_ordered(&element(args, 0)?.kind) {
        return Err(Refusal::Arguments);
    }
    (1..args.len()).try_for_each(|i| args.boolean(i))?;
    let kind = args.kind(0).clone();
    Ok(args.result(kind))
}

fn build_sort(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let field = field_of(call)?;
    Ok(Box::new(move |args, rows| {
        let lists = Lists::new(&args[0])?;
        let ascending = args.get(1).map(Booleans::new).transpose()?;
        let nulls_first = args.get(2).map(Booleans::new).transpose()?;
        let values = lists.values();
        let order = ordering(values, values)?;
        let mut picked = Picked::new(rows);
        let mut positions: Vec<usize> = vec![];
        for row in 0..rows {
            let settings = || {
                let ascending = match &ascending {
                    Some(ascending) => ascending.get(row)?,
                    None => true,
                };
                let nulls_first = match &nulls_first {
                    Some(nulls_first) => nulls_first.get(row)?,
                    None => ascending,
                };
                Some((lists.range(row)?, ascending, nulls_first))
            };
            let Some((range, ascending, nulls_first)) = settings() else {
                picked.end_row(false);
                continue;
            };
            positions.clear();
            positions.extend(range);
            positions.sort_by(|a, b| match (values.is_null(*a), values.is_null(*b)) {
                (true, true) => Ordering::Equal,
                (true, false) if nulls_first => Ordering::Less,
                (false, true) if !nulls_first => Ordering::Less,
                (true, false) | (false, true) => Ordering::Greater,
                _ if ascending => order(*a, *b),
                _ => order(*b, *a),
            });
            picked.places.extend(positions.iter().map(|e| (0, *e)));
            picked.end_row(true);
        }
        picked.finish(&[values], &field)
    }))
}

fn infer_extreme(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    let element = element(args, 0)?;
    if !is_ordered(&element.kind) && element.kind != TypeKind::Boolean {
        return Err(Refusal::Arguments);
    }
    Ok(element.with_nullable(true))
}

fn build_extreme(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let better = if call.name == "ARRAY_MAX" {
        Ordering::Greater
    } else {
        Ordering::Less
    };
    Ok(Box::new(move |args, rows| {
        let lists = Lists::new(&args[0])?;
        let values = lists.values();
        let order = ordering(values, values)?;
        let row = |row: usize| {
            let present = lists.range(row)?.filter(|e| !values.is_null(*e));
            let best = present.reduce(|best, e| if order(e, best) == better { e } else { best });
            best.and_then(|e| u32::try_from(e).ok())
        };
        let picks: UInt32Array = (0..rows).map(row).collect();
        arrow_select::take::take(values, &picks, None).map_err(|e| kernel_error("ARRAY_MAX", &e))
    }))
}

fn infer_join(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 3)?;
    if !element(args, 0)?.kind.is_string() {
        return Err(Refusal::Arguments);
    }
    (1..args.len()).try_for_each(|i| args.string(i))?;
    Ok(args.result(TypeKind::Varchar(MAX_LENGTH)))
}

fn build_join(_: &Call<'_>) -> Result<Kernel, ExprError> {
    Ok(Box::new(|args, rows| {
        let lists = Lists::new(&args[0])?;
        let values = lists
            .values()
            .as_string_opt::<i32>()
            .ok_or_else(|| mismatch("ARRAY_JOIN", lists.values()))?;
        let delimiters = Strings::new(&args[1])?;
        let for_null = args.get(2).map(Strings::new).transpose()?;
        rows_of_text(rows, values.value_data().len(), |row, out| {
            let (range, delimiter) = (lists.range(row)?, delimiters.get(row)?);
            let for_null = match &for_null {
                Some(texts) => Some(texts.get(row)?),
                None => None,
            };
            let texts = range.filter_map(|e| {
                if values.is_null(e) {
                    for_null
                } else {
                    Some(values.value(e))
                }
            });
            for (i, text) in texts.enumerate() {
                out.push_str(if i > 0 { delimiter } else { "" });
                out.push_str(text);
            }
            Some(())
        })
    }))
}
