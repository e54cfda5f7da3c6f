//! Columns to bytes.

use super::{HAS_HASHES, HAS_KINDS, WIRE_VERSION, WireError, code_of};
use crate::Batch;
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::{BooleanBuffer, OffsetBuffer};
use arrow_schema::{DataType, TimeUnit};

/// Appends the bytes of `batch` to `out`.
///
/// # Errors
/// If a column's type has no form, or the batch has 2^32 rows.
pub fn encode_batch(batch: &Batch, out: &mut Vec<u8>) -> Result<(), WireError> {
    let rows = batch.num_rows();
    let counted = u32::try_from(rows).map_err(|_| WireError::TooLarge(rows, "rows"))?;
    let columns = batch.columns().len();
    let columns = u32::try_from(columns).map_err(|_| WireError::TooLarge(columns, "columns"))?;
    let (kinds, hashes) = (batch.kinds(), batch.hashes());
    let flags = kinds.map_or(0, |_| HAS_KINDS) | hashes.map_or(0, |_| HAS_HASHES);
    out.extend_from_slice(&WIRE_VERSION.to_le_bytes());
    out.push(flags);
    out.extend_from_slice(&columns.to_le_bytes());
    out.extend_from_slice(&counted.to_le_bytes());
    if let Some(kinds) = kinds {
        out.extend_from_slice(kinds);
    }
    if let Some(hashes) = hashes {
        out.reserve(hashes.len() * 8);
        hashes.iter().for_each(|h| out.extend_from_slice(&h.to_le_bytes()));
    }
    for (index, column) in batch.columns().iter().enumerate() {
        put_column(index, column, out)?;
    }
    Ok(())
}

fn put_column(index: usize, column: &ArrayRef, out: &mut Vec<u8>) -> Result<(), WireError> {
    let ty = column.data_type();
    let unsupported = || WireError::UnsupportedType {
        column: index,
        ty: ty.clone(),
    };
    out.push(code_of(ty).ok_or_else(unsupported)?);
    // The bitmap of a NULL column is its type.
    match column.nulls().filter(|n| n.null_count() > 0) {
        Some(nulls) => {
            out.push(1);
            put_bits(nulls.inner(), out);
        }
        None => out.push(0),
    }
    macro_rules! numbers {
        ($ty:ty) => {
            out.extend_from_slice(column.as_primitive::<$ty>().values().inner().as_slice())
        };
    }
    match ty {
        DataType::Null => {}
        DataType::Boolean => put_bits(column.as_boolean().values(), out),
        DataType::Int8 => numbers!(Int8Type),
        DataType::Int16 => numbers!(Int16Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::Float32 => numbers!(Float32Type),
        DataType::Float64 => numbers!(Float64Type),
        DataType::Decimal128(precision, scale) => {
            out.extend_from_slice(&[*precision, scale.to_le_bytes()[0]]);
            numbers!(Decimal128Type);
        }
        DataType::Date32 => numbers!(Date32Type),
        DataType::Time32(_) => numbers!(Time32MillisecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => numbers!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => numbers!(TimestampMicrosecondType),
        DataType::Timestamp(_, _) => numbers!(TimestampNanosecondType),
        DataType::Utf8 => {
            let strings = column.as_string::<i32>();
            let bytes = put_ends(strings.offsets(), out);
            out.extend_from_slice(&strings.values()[bytes]);
        }
        DataType::Binary => {
            let binary = column.as_binary::<i32>();
            let bytes = put_ends(binary.offsets(), out);
            out.extend_from_slice(&binary.values()[bytes]);
        }
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let elements = put_ends(list.offsets(), out);
            put_column(index, &list.values().slice(elements.start, elements.len()), out)?;
        }
        DataType::Map(..) => {
            let map = column.as_map();
            let entries = put_ends(map.offsets(), out);
            put_column(index, &map.keys().slice(entries.start, entries.len()), out)?;
            put_column(index, &map.values().slice(entries.start, entries.len()), out)?;
        }
        DataType::Struct(_) => {
            let fields = column.as_struct().columns();
            let count = u32::try_from(fields.len()).map_err(|_| WireError::TooLarge(fields.len(), "fields"))?;
            out.extend_from_slice(&count.to_le_bytes());
            for field in fields {
                put_column(index, field, out)?;
            }
        }
        _ => return Err(unsupported()),
    }
    Ok(())
}

fn put_bits(bits: &BooleanBuffer, out: &mut Vec<u8>) {
    let bytes = bits.len().div_ceil(8);
    out.extend_from_slice(&bits.sliced().as_slice()[..bytes]);
    // Bits behind the last row are whatever the buffer held: written as 0, equal rows are equal bytes.
    if let (Some(last), used @ 1..) = (out.last_mut(), bits.len() % 8) {
        *last &= (1 << used) - 1;
    }
}

/// Writes where each row ends, counted from the first row's start; gives the range that the rows take.
fn put_ends(offsets: &OffsetBuffer<i32>, out: &mut Vec<u8>) -> std::ops::Range<usize> {
    let first = offsets[0];
    out.reserve((offsets.len() - 1) * 4);
    for end in &offsets[1..] {
        out.extend_from_slice(&(end - first).to_le_bytes());
    }
    first as usize..offsets[offsets.len() - 1] as usize
}
