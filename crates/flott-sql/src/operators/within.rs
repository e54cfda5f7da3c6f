//! NOT NULL and lengths of columns and of what lies inside them, for [`super::constraints`].
//!
//! How deep is looked is the caller's word ([`NestedEnforcer`]). What lies in a value that is NULL, or between the lists of an array, is
//! no value and breaks nothing.

use crate::nodes::NestedEnforcer;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, StringArray, StructArray};
use arrow_buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use flott_core::{LogicalType, TypeKind};
use flott_runtime::TaskError;
use std::borrow::Cow;
use std::sync::Arc;

/// Rows with a NULL where there must be none.
#[derive(Debug)]
pub(super) struct Broken {
    /// True for these rows.
    pub(super) rows: BooleanBuffer,
    /// The first such place, fields separated by points.
    pub(super) path: String,
}

/// The rows of a column with NULL where its type says NOT NULL.
pub(super) fn nulls(path: &str, ty: &LogicalType, column: &ArrayRef, nested: NestedEnforcer) -> Option<Broken> {
    let own = column.nulls().filter(|n| !ty.nullable && n.null_count() > 0);
    let own = own.map(|nulls| Broken {
        rows: !nulls.inner(),
        path: path.to_owned(),
    });
    either(own, nulls_inside(path, &ty.kind, column, nested))
}

fn nulls_inside(path: &str, kind: &TypeKind, column: &ArrayRef, nested: NestedEnforcer) -> Option<Broken> {
    let in_collections = nested == NestedEnforcer::RowsAndCollections;
    let found = match kind {
        TypeKind::Row(fields) if nested != NestedEnforcer::Ignore => {
            let children = fields.iter().zip(column.as_struct().columns());
            let found = children.map(|(f, child)| nulls(&format!("{path}.{}", f.name), &f.ty, child, nested));
            found.fold(None, either)
        }
        TypeKind::Array(element) if in_collections => {
            let lists = column.as_list::<i32>();
            let found = nulls(&format!("{path}.element"), element, lists.values(), nested);
            found.map(|found| of_lists(found, lists.offsets()))
        }
        TypeKind::Map(key, value) if in_collections => {
            let maps = column.as_map();
            let keys = nulls(&format!("{path}.key"), key, maps.keys(), nested);
            let values = nulls(&format!("{path}.value"), value, maps.values(), nested);
            either(keys, values).map(|found| of_lists(found, maps.offsets()))
        }
        TypeKind::Multiset(element) if in_collections => {
            let sets = column.as_map();
            let found = nulls(&format!("{path}.element"), element, sets.keys(), nested);
            found.map(|found| of_lists(found, sets.offsets()))
        }
        _ => None,
    };
    let found = found.map(|found| match column.nulls() {
        Some(valid) => Broken {
            rows: &found.rows & valid.inner(),
            ..found
        },
        None => found,
    });
    found.filter(|found| found.rows.count_set_bits() > 0)
}

fn either(a: Option<Broken>, b: Option<Broken>) -> Option<Broken> {
    match (a, b) {
        (Some(a), Some(b)) => Some(Broken {
            rows: &a.rows | &b.rows,
            path: a.path,
        }),
        (a, b) => a.or(b),
    }
}

/// The lists that hold one of these elements.
fn of_lists(found: Broken, offsets: &OffsetBuffer<i32>) -> Broken {
    let holds = |ends: &[i32]| (ends[0]..ends[1]).any(|i| found.rows.value(i as usize));
    Broken {
        rows: offsets.windows(2).map(holds).collect(),
        path: found.path,
    }
}

/// What to do about a value of another length: its path, type, length and unit.
pub(super) type Allow<'a> = dyn Fn(&str, &TypeKind, usize, &str) -> Result<(), TaskError> + 'a;

/// The column with every value of its type's length, or `None` where all have it.
///
/// # Errors
/// Those of `allow`, which is asked about the first value of another length.
pub(super) fn fitted(
    path: &str,
    kind: &TypeKind,
    column: &ArrayRef,
    nested: NestedEnforcer,
    allow: &Allow<'_>,
) -> Result<Option<ArrayRef>, TaskError> {
    match kind {
        TypeKind::Char(n) | TypeKind::Varchar(n) => {
            let (n, pads) = (*n as usize, matches!(kind, TypeKind::Char(_)));
            let a = column.as_string::<i32>();
            let fits = |v: &str| {
                // Text has at least a byte a character, so most values need no counting.
                if pads {
                    v.chars().count() == n
                } else {
                    v.len() <= n || v.chars().count() <= n
                }
            };
            let Some(wrong) = a.iter().flatten().find(|v| !fits(v)) else {
                return Ok(None);
            };
            allow(path, kind, wrong.chars().count(), "characters")?;
            let fitted: StringArray = a.iter().map(|v| v.map(|v| fit_text(v, n, pads))).collect();
            Ok(Some(Arc::new(fitted)))
        }
        TypeKind::Binary(n) | TypeKind::Varbinary(n) => {
            let (n, pads) = (*n as usize, matches!(kind, TypeKind::Binary(_)));
            let a = column.as_binary::<i32>();
            let fits = |v: &[u8]| if pads { v.len() == n } else { v.len() <= n };
            let Some(wrong) = a.iter().flatten().find(|v| !fits(v)) else {
                return Ok(None);
            };
            allow(path, kind, wrong.len(), "bytes")?;
            let fitted: BinaryArray = a.iter().map(|v| v.map(|v| fit_bytes(v, n, pads))).collect();
            Ok(Some(Arc::new(fitted)))
        }
        TypeKind::Row(fields) if nested != NestedEnforcer::Ignore => {
            let rows = column.as_struct();
            let mut columns = rows.columns().to_vec();
            let mut is_changed = false;
            for (field, column) in fields.iter().zip(&mut columns) {
                let path = format!("{path}.{}", field.name);
                let child = visible(column, rows.nulls())?;
                if let Some(cut) = fitted(&path, &field.ty.kind, &child, nested, allow)? {
                    *column = cut;
                    is_changed = true;
                }
            }
            if !is_changed {
                return Ok(None);
            }
            let built = StructArray::try_new(rows.fields().clone(), columns, rows.nulls().cloned())?;
            Ok(Some(Arc::new(built)))
        }
        TypeKind::Array(element) if nested == NestedEnforcer::RowsAndCollections => {
            let lists = present(column)?;
            let lists = lists.as_list::<i32>();
            let elements = between(lists.values(), lists.offsets());
            check(&format!("{path}.element"), &element.kind, &elements, nested, allow)
        }
        TypeKind::Map(key, value) if nested == NestedEnforcer::RowsAndCollections => {
            let maps = present(column)?;
            let maps = maps.as_map();
            let (keys, values) = (
                between(maps.keys(), maps.offsets()),
                between(maps.values(), maps.offsets()),
            );
            check(&format!("{path}.key"), &key.kind, &keys, nested, allow)?;
            check(&format!("{path}.value"), &value.kind, &values, nested, allow)
        }
        TypeKind::Multiset(element) if nested == NestedEnforcer::RowsAndCollections => {
            let sets = present(column)?;
            let sets = sets.as_map();
            let elements = between(sets.keys(), sets.offsets());
            check(&format!("{path}.element"), &element.kind, &elements, nested, allow)
        }
        _ => Ok(None),
    }
}

/// Asks about what lies in a collection. Planning refuses to fit it, so nothing comes of it but an error.
fn check(
    path: &str,
    kind: &TypeKind,
    elements: &ArrayRef,
    nested: NestedEnforcer,
    allow: &Allow<'_>,
) -> Result<Option<ArrayRef>, TaskError> {
    fitted(path, kind, elements, nested, allow).map(|_| None)
}

/// The child with NULL wherever its row is NULL.
fn visible(child: &ArrayRef, rows: Option<&NullBuffer>) -> Result<ArrayRef, TaskError> {
    match rows {
        Some(valid) if valid.null_count() > 0 => {
            let hidden = BooleanArray::new(!valid.inner(), None);
            Ok(arrow_select::nullif::nullif(child, &hidden)?)
        }
        _ => Ok(child.clone()),
    }
}

/// The values that are not NULL.
fn present(column: &ArrayRef) -> Result<ArrayRef, TaskError> {
    match column.nulls() {
        Some(valid) if valid.null_count() > 0 => {
            let valid = BooleanArray::new(valid.inner().clone(), None);
            Ok(arrow_select::filter::filter(column, &valid)?)
        }
        _ => Ok(column.clone()),
    }
}

/// The elements that lie in lists.
fn between(elements: &ArrayRef, offsets: &OffsetBuffer<i32>) -> ArrayRef {
    let (start, end) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
    elements.slice(start, end - start)
}

fn fit_text(value: &str, length: usize, pads: bool) -> Cow<'_, str> {
    match value.char_indices().nth(length) {
        Some((end, _)) => Cow::Borrowed(&value[..end]),
        None if pads => {
            let missing = length - value.chars().count();
            Cow::Owned(format!("{value}{}", " ".repeat(missing)))
        }
        None => Cow::Borrowed(value),
    }
}

fn fit_bytes(value: &[u8], length: usize, pads: bool) -> Vec<u8> {
    let mut fitted = value[..value.len().min(length)].to_vec();
    if pads {
        fitted.resize(length, 0);
    }
    fitted
}
