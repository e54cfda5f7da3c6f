//! CAST and TRY_CAST between all types that Flink casts.
//!
//! [`numeric`] converts numbers, [`text`] writes values as Flink prints them, [`parse`] reads them back, [`temporal`]
//! converts dates and times. Constructed types convert element by element.

use super::error::ExprError;
use super::functions::text::offset;
use super::program::EvalContext;
use super::registry::{Call, Kernel};
use super::types::is_interval;
use super::value::mismatch;
use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, ListArray, MapArray, StructArray, new_null_array};
use arrow_schema::DataType;
use flott_core::types::{MAX_LENGTH, arrow_fields};
use flott_core::{LogicalType, TypeKind};
use std::sync::Arc;

pub mod numeric;
pub mod parse;
pub mod temporal;
pub mod text;

/// Converts a column (or an array of one value).
pub type Caster = Box<dyn Fn(&ArrayRef) -> Result<ArrayRef, ExprError> + Send + Sync>;

/// Whether there is a cast; if not, what to do instead (maybe nothing).
pub fn supported(from: &TypeKind, to: &TypeKind) -> Result<(), String> {
    use TypeKind as K;
    let time = |k: &K| super::types::is_datetime(k);
    let ok = match (from, to) {
        _ if from == to => true,
        (K::Null, _) => true,
        (_, t) if t.is_string() => true,
        (f, t) if f.is_string() => t.is_numeric() || t == &K::Boolean || t.is_binary() || time(t),
        (f, t) if f.is_binary() => t.is_binary(),
        (K::Boolean, t) => t.is_numeric(),
        (f, K::Boolean) => f.is_numeric(),
        (f, t) if f.is_numeric() && t.is_numeric() => true,
        (K::Date, t) => t.is_timestamp(),
        (K::Time(_), t) => t.is_timestamp() || matches!(t, K::Time(_)),
        (f, t) if f.is_timestamp() => t.is_timestamp() || matches!(t, K::Date | K::Time(_)),
        (K::Array(f), K::Array(t)) | (K::Multiset(f), K::Multiset(t)) => return supported(&f.kind, &t.kind),
        (K::Map(k, v), K::Map(l, w)) => {
            supported(&k.kind, &l.kind)?;
            return supported(&v.kind, &w.kind);
        }
        (K::Row(f), K::Row(t)) if f.len() == t.len() => {
            return f.iter().zip(t).try_for_each(|(a, b)| supported(&a.ty.kind, &b.ty.kind));
        }
        _ => false,
    };
    if ok {
        return Ok(());
    }
    Err(match (from, to) {
        (f, K::TimestampLtz(_)) if f.is_numeric() => "; use TO_TIMESTAMP_LTZ(number, precision)".to_owned(),
        (f, K::Timestamp(_)) if f.is_numeric() => {
            "; use TO_TIMESTAMP(FROM_UNIXTIME(number)), whose number is in seconds".to_owned()
        }
        (f, t) if f.is_timestamp() && t.is_numeric() => "; use UNIX_TIMESTAMP(CAST(timestamp AS STRING))".to_owned(),
        _ => String::new(),
    })
}

/// Whether the cast can fail on a row: text that is no value of the target.
pub fn can_fail(from: &TypeKind, to: &TypeKind) -> bool {
    use TypeKind as K;
    match (from, to) {
        (f, t) if f.is_string() => !(t.is_string() || t.is_binary()),
        (K::Array(f), K::Array(t)) | (K::Multiset(f), K::Multiset(t)) => can_fail(&f.kind, &t.kind),
        (K::Map(k, v), K::Map(l, w)) => can_fail(&k.kind, &l.kind) || can_fail(&v.kind, &w.kind),
        (K::Row(f), K::Row(t)) => f.iter().zip(t).any(|(a, b)| can_fail(&a.ty.kind, &b.ty.kind)),
        _ => false,
    }
}

/// The kernel of a CAST or TRY_CAST call.
pub fn build(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let [arg] = call.args else {
        return Err(call.not_executable());
    };
    let lenient = call.name == "TRY_CAST";
    let (from, to) = (&arg.ty().kind, &call.ty.kind);
    // of a constructed value that cannot be cast in one place nothing is left
    let nested =
        lenient && matches!(to, TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Row(_)) && can_fail(from, to);
    let caster = caster(from, to, call.context, lenient && !nested).ok_or_else(|| call.not_executable())?;
    if !nested {
        return Ok(Box::new(move |args, _| caster(args[0].array())));
    }
    let ty = to.to_arrow();
    Ok(Box::new(move |args, _| {
        let array = args[0].array();
        if let Ok(all) = caster(array) {
            return Ok(all);
        }
        let row = |row: usize| caster(&array.slice(row, 1)).unwrap_or_else(|_| new_null_array(&ty, 1));
        let rows: Vec<ArrayRef> = (0..array.len()).map(row).collect();
        let rows: Vec<&dyn Array> = rows.iter().map(AsRef::as_ref).collect();
        arrow_select::concat::concat(&rows).map_err(|e| super::value::kernel_error("TRY_CAST", &e))
    }))
}

/// A converter from one kind to another; `lenient` gives NULL where it would fail. `None`: there is no such cast.
pub fn caster(from: &TypeKind, to: &TypeKind, context: &EvalContext, lenient: bool) -> Option<Caster> {
    use TypeKind as K;
    supported(from, to).ok()?;
    if from == to {
        return Some(Box::new(|array| Ok(array.clone())));
    }
    let (f, t) = (from.clone(), to.clone());
    let zone = context.time_zone;
    Some(match (from, to) {
        (K::Null, _) => Box::new(move |array| Ok(new_null_array(&t.to_arrow(), array.len()))),
        (a, b) if a.is_string() && b.is_string() => Box::new(move |array| fit_length(array, &f, &t)),
        (a, b) if a.is_binary() && b.is_string() => Box::new(move |array| {
            let bytes = array.as_binary_opt::<i32>().ok_or_else(|| mismatch("CAST", array))?;
            let mut out = StringBuilder::with_capacity(array.len(), bytes.value_data().len());
            for value in bytes {
                out.append_option(value.map(String::from_utf8_lossy));
            }
            fit_length(&(Arc::new(out.finish()) as ArrayRef), &K::Varchar(MAX_LENGTH), &t)
        }),
        (a, b) if (a.is_string() || a.is_binary()) && b.is_binary() => Box::new(move |array| to_binary(array, &t)),
        (_, b) if b.is_string() => Box::new(move |array| {
            let texts = text::to_strings(array, &f, &zone)?;
            fit_length(&texts, &K::Varchar(MAX_LENGTH), &t)
        }),
        (a, _) if a.is_string() => Box::new(move |array| parse::from_strings(array, &t, &zone, lenient)),
        (K::Boolean, _) => Box::new(move |array| numeric::from_boolean(array, &t)),
        (a, b) if a.is_numeric() && (b.is_numeric() || b == &K::Boolean) => {
            Box::new(move |array| numeric::convert(array, &f, &t))
        }
        (K::Array(a), K::Array(b)) => list_caster(a, b, context, lenient)?,
        (K::Map(k, v), K::Map(l, w)) => map_caster([k, v], [l, w], to, context, lenient)?,
        (K::Row(a), K::Row(b)) => {
            let casters: Option<Vec<Caster>> = a
                .iter()
                .zip(b)
                .map(|(x, y)| caster(&x.ty.kind, &y.ty.kind, context, lenient))
                .collect();
            let casters = casters?;
            let fields = arrow_fields(b);
            Box::new(move |array| {
                let row = array.as_struct_opt().ok_or_else(|| mismatch("CAST", array))?;
                let columns = row
                    .columns()
                    .iter()
                    .zip(&casters)
                    .map(|(c, cast)| cast(c))
                    .collect::<Result<_, _>>()?;
                // a NULL in a field that is NOT NULL was under a NULL row or is the caster's answer to overflow
                let may_be_null = |(f, c): (&Arc<arrow_schema::Field>, &ArrayRef)| {
                    let nullable = f.is_nullable() || c.null_count() > 0;
                    f.as_ref().clone().with_nullable(nullable)
                };
                let columns: Vec<ArrayRef> = columns;
                let fields = fields.iter().zip(&columns).map(may_be_null).collect();
                let built = StructArray::try_new(fields, columns, row.nulls().cloned());
                Ok(Arc::new(built.map_err(|e| super::value::kernel_error("CAST", &e))?))
            })
        }
        (a, b) if is_interval(a) || is_interval(b) => return None,
        _ => Box::new(move |array| temporal::convert(array, &f, &t, &zone)),
    })
}

fn list_caster(from: &LogicalType, to: &LogicalType, context: &EvalContext, lenient: bool) -> Option<Caster> {
    let inner = caster(&from.kind, &to.kind, context, lenient)?;
    let field = Arc::new(arrow_schema::Field::new("element", to.to_arrow(), to.nullable));
    Some(Box::new(move |array| {
        let list = array.as_list_opt::<i32>().ok_or_else(|| mismatch("CAST", array))?;
        let values = inner(list.values())?;
        let built = ListArray::try_new(field.clone(), list.offsets().clone(), values, list.nulls().cloned());
        Ok(Arc::new(built.map_err(|e| super::value::kernel_error("CAST", &e))?))
    }))
}

fn map_caster(
    from: [&LogicalType; 2],
    to: [&LogicalType; 2],
    target: &TypeKind,
    context: &EvalContext,
    lenient: bool,
) -> Option<Caster> {
    let keys = caster(&from[0].kind, &to[0].kind, context, lenient)?;
    let values = caster(&from[1].kind, &to[1].kind, context, lenient)?;
    let DataType::Map(field, ordered) = target.to_arrow() else {
        return None;
    };
    let DataType::Struct(fields) = field.data_type().clone() else {
        return None;
    };
    Some(Box::new(move |array| {
        let map = array.as_map_opt().ok_or_else(|| mismatch("CAST", array))?;
        let columns = vec![keys(map.keys())?, values(map.values())?];
        let failed = |e| super::value::kernel_error("CAST", &e);
        let entries = StructArray::try_new(fields.clone(), columns, None).map_err(failed)?;
        let built = MapArray::try_new(
            field.clone(),
            map.offsets().clone(),
            entries,
            map.nulls().cloned(),
            ordered,
        );
        Ok(Arc::new(built.map_err(failed)?))
    }))
}

/// Cuts strings to the target's length, and pads them to it for CHAR.
fn fit_length(array: &ArrayRef, from: &TypeKind, to: &TypeKind) -> Result<ArrayRef, ExprError> {
    let (limit, pad) = match to {
        TypeKind::Char(n) => (*n as usize, true),
        TypeKind::Varchar(n) => (*n as usize, false),
        _ => return Err(mismatch("CAST", array)),
    };
    let fits = match from {
        TypeKind::Char(n) => *n as usize == limit || (!pad && *n as usize <= limit),
        TypeKind::Varchar(n) => !pad && *n as usize <= limit,
        _ => false,
    };
    if fits {
        return Ok(array.clone());
    }
    let strings = array.as_string_opt::<i32>().ok_or_else(|| mismatch("CAST", array))?;
    if !pad && strings.iter().flatten().all(|s| s.len() <= limit) {
        return Ok(array.clone());
    }
    let mut out = StringBuilder::with_capacity(array.len(), strings.value_data().len());
    let mut buffer = String::new();
    for value in strings {
        let Some(value) = value else {
            out.append_null();
            continue;
        };
        let cut = value.char_indices().nth(limit).map_or(value, |(end, _)| &value[..end]);
        let length = if pad { cut.chars().count() } else { limit };
        if length < limit {
            // Refused where it is too long, before it is made.
            offset((out.values_slice().len() + cut.len()).saturating_add(limit - length))?;
            buffer.clear();
            buffer.push_str(cut);
            buffer.extend(std::iter::repeat_n(' ', limit - length));
            out.append_value(&buffer);
        } else {
            out.append_value(cut);
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Bytes of strings or bytes, cut to the target's length and padded with zeros for BINARY.
fn to_binary(array: &ArrayRef, to: &TypeKind) -> Result<ArrayRef, ExprError> {
    let strings = array.as_string_opt::<i32>();
    let bytes = array.as_binary_opt::<i32>();
    let get = |row: usize| {
        strings
            .map(|s| s.value(row).as_bytes())
            .or_else(|| bytes.map(|b| b.value(row)))
    };
    let (limit, pad) = match to {
        TypeKind::Binary(n) => (*n as usize, true),
        TypeKind::Varbinary(n) => (*n as usize, false),
        _ => return Err(mismatch("CAST", array)),
    };
    if pad {
        offset((array.len() - array.null_count()).saturating_mul(limit))?;
    }
    let rows = (0..array.len()).map(|row| {
        if array.is_null(row) {
            return None;
        }
        get(row).map(|b| {
            let mut b = b[..b.len().min(limit)].to_vec();
            if pad {
                b.resize(limit, 0);
            }
            b
        })
    });
    Ok(Arc::new(rows.collect::<BinaryArray>()))
}
