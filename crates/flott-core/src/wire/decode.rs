//! Bytes to columns.

use super::{HAS_HASHES, HAS_KINDS, WIRE_VERSION, WireError, code_of};
use crate::{Batch, RowKind};
use arrow_array::types::*;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, ListArray, MapArray, NullArray, PrimitiveArray, StringArray, StructArray,
};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use std::sync::Arc;

/// The batch that `bytes` are, whose columns have these types.
///
/// # Errors
/// If the bytes are not exactly one batch of these types.
pub fn decode_batch(bytes: &[u8], types: &[DataType]) -> Result<Batch, WireError> {
    let mut reader = Reader { bytes, position: 0 };
    let version = u16::from_le_bytes(reader.array("version")?);
    if version != WIRE_VERSION {
        return Err(WireError::Version { found: version });
    }
    let [flags] = reader.array("flags")?;
    if flags & !(HAS_KINDS | HAS_HASHES) != 0 {
        return Err(WireError::Head("unknown flags"));
    }
    let columns = u32::from_le_bytes(reader.array("number of columns")?) as usize;
    let rows = u32::from_le_bytes(reader.array("number of rows")?) as usize;
    if columns != types.len() {
        return Err(WireError::Columns {
            found: columns,
            expected: types.len(),
        });
    }
    let kinds = match flags & HAS_KINDS {
        0 => None,
        _ => Some(reader.kinds(rows)?),
    };
    let hashes = match flags & HAS_HASHES {
        0 => None,
        _ => Some(Arc::new(reader.hashes(rows)?)),
    };
    let columns = types
        .iter()
        .enumerate()
        .map(|(index, ty)| reader.column(index, ty, rows))
        .collect::<Result<Vec<_>, _>>()?;
    match bytes.len() - reader.position {
        0 => Ok(Batch::new(columns, rows).with_kinds(kinds).with_hashes(hashes)),
        left => Err(WireError::TrailingBytes(left)),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let taken = self.bytes[self.position..].get(..count).ok_or(WireError::Truncated {
            what,
            position: self.position,
            length: self.bytes.len(),
        })?;
        self.position += count;
        Ok(taken)
    }

    /// `rows` values of `width` bytes each.
    fn values(&mut self, rows: usize, width: usize) -> Result<&'a [u8], WireError> {
        self.take(rows.saturating_mul(width), "values")
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    fn kinds(&mut self, rows: usize) -> Result<ScalarBuffer<u8>, WireError> {
        let kinds = self.take(rows, "row kinds")?;
        match kinds.iter().all(|k| RowKind::from_u8(*k).is_some()) {
            true => Ok(kinds.to_vec().into()),
            false => Err(WireError::Head("an unknown row kind")),
        }
    }

    fn hashes(&mut self, rows: usize) -> Result<Vec<u64>, WireError> {
        let bytes = self.take(rows.saturating_mul(8), "key hashes")?;
        let number = |b: &[u8]| b.try_into().map(u64::from_le_bytes).unwrap_or_default();
        Ok(bytes.chunks_exact(8).map(number).collect())
    }

    fn bits(&mut self, rows: usize, what: &'static str) -> Result<BooleanBuffer, WireError> {
        let bytes = self.take(rows.div_ceil(8), what)?;
        Ok(BooleanBuffer::new(Buffer::from(bytes), 0, rows))
    }

    fn column(&mut self, index: usize, ty: &DataType, rows: usize) -> Result<ArrayRef, WireError> {
        let damaged = |problem: String| WireError::Damaged { column: index, problem };
        let refused = |e: ArrowError| damaged(e.to_string());
        let other_type = |found: String| WireError::OtherType {
            column: index,
            found,
            expected: ty.clone(),
        };
        let [code] = self.array("column")?;
        if code_of(ty) != Some(code) {
            return Err(other_type(format!("code {code}")));
        }
        let nulls = match self.array("column")? {
            [0] => None,
            [1] => Some(NullBuffer::new(self.bits(rows, "bitmap of NULLs")?)),
            [other] => {
                return Err(damaged(format!(
                    "the byte {other} where 0 or 1 says whether there are NULLs"
                )));
            }
        };
        macro_rules! numbers {
            ($ty:ty) => {
                Arc::new(self.numbers::<$ty>(ty, rows, nulls).map_err(|e| match e {
                    Failed::Wire(e) => e,
                    Failed::Arrow(e) => refused(e),
                })?)
            };
        }
        Ok(match ty {
            DataType::Null => Arc::new(NullArray::new(rows)),
            DataType::Boolean => Arc::new(BooleanArray::new(self.bits(rows, "values")?, nulls)),
            DataType::Int8 => numbers!(Int8Type),
            DataType::Int16 => numbers!(Int16Type),
            DataType::Int32 => numbers!(Int32Type),
            DataType::Int64 => numbers!(Int64Type),
            DataType::Float32 => numbers!(Float32Type),
            DataType::Float64 => numbers!(Float64Type),
            DataType::Decimal128(precision, scale) => {
                let [p, s] = self.array("precision and scale")?;
                let s = i8::from_le_bytes([s]);
                if (p, s) != (*precision, *scale) {
                    return Err(other_type(format!("DECIMAL({p}, {s})")));
                }
                numbers!(Decimal128Type)
            }
            DataType::Date32 => numbers!(Date32Type),
            DataType::Time32(_) => numbers!(Time32MillisecondType),
            DataType::Timestamp(TimeUnit::Millisecond, _) => numbers!(TimestampMillisecondType),
            DataType::Timestamp(TimeUnit::Microsecond, _) => numbers!(TimestampMicrosecondType),
            DataType::Timestamp(_, _) => numbers!(TimestampNanosecondType),
            DataType::Utf8 => {
                let (offsets, count) = self.ends(index, rows)?;
                let bytes = Buffer::from(self.values(count, 1)?);
                Arc::new(StringArray::try_new(offsets, bytes, nulls).map_err(refused)?)
            }
            DataType::Binary => {
                let (offsets, count) = self.ends(index, rows)?;
                let bytes = Buffer::from(self.values(count, 1)?);
                Arc::new(BinaryArray::try_new(offsets, bytes, nulls).map_err(refused)?)
            }
            DataType::List(element) => {
                let (offsets, count) = self.ends(index, rows)?;
                let elements = self.column(index, element.data_type(), count)?;
                Arc::new(ListArray::try_new(element.clone(), offsets, elements, nulls).map_err(refused)?)
            }
            DataType::Map(entries, ordered) => {
                let DataType::Struct(fields) = entries.data_type() else {
                    return Err(other_type("a map".to_owned()));
                };
                let (offsets, count) = self.ends(index, rows)?;
                let parts = fields
                    .iter()
                    .map(|f| self.column(index, f.data_type(), count))
                    .collect::<Result<Vec<_>, _>>()?;
                let pairs = StructArray::try_new_with_length(fields.clone(), parts, None, count).map_err(refused)?;
                Arc::new(MapArray::try_new(entries.clone(), offsets, pairs, nulls, *ordered).map_err(refused)?)
            }
            DataType::Struct(fields) => {
                let count = u32::from_le_bytes(self.array("number of fields")?) as usize;
                if count != fields.len() {
                    return Err(other_type(format!("a row of {count} fields")));
                }
                let parts = fields
                    .iter()
                    .map(|f| self.column(index, f.data_type(), rows))
                    .collect::<Result<Vec<_>, _>>()?;
                Arc::new(StructArray::try_new_with_length(fields.clone(), parts, nulls, rows).map_err(refused)?)
            }
            other => {
                return Err(WireError::UnsupportedType {
                    column: index,
                    ty: other.clone(),
                });
            }
        })
    }

    /// Numbers of a fixed width; the copy puts them where their alignment asks for.
    fn numbers<T: ArrowPrimitiveType>(
        &mut self,
        ty: &DataType,
        rows: usize,
        nulls: Option<NullBuffer>,
    ) -> Result<PrimitiveArray<T>, Failed> {
        let bytes = self.values(rows, T::Native::get_byte_width()).map_err(Failed::Wire)?;
        let mut aligned = MutableBuffer::new(bytes.len());
        aligned.extend_from_slice(bytes);
        let values = ScalarBuffer::<T::Native>::new(aligned.into(), 0, rows);
        let array = PrimitiveArray::<T>::try_new(values, nulls).map_err(Failed::Arrow)?;
        Ok(array.with_data_type(ty.clone()))
    }

    /// Offsets of rows that lie one after the other, and where the last ends.
    fn ends(&mut self, index: usize, rows: usize) -> Result<(OffsetBuffer<i32>, usize), WireError> {
        let bytes = self.values(rows, 4)?;
        let mut offsets = Vec::with_capacity(rows + 1);
        let mut last = 0i32;
        offsets.push(last);
        for end in bytes.chunks_exact(4) {
            let end = end.try_into().map(i32::from_le_bytes).unwrap_or_default();
            if end < last {
                return Err(WireError::Damaged {
                    column: index,
                    problem: format!("a row that ends at {end} follows one that ends at {last}"),
                });
            }
            offsets.push(end);
            last = end;
        }
        Ok((OffsetBuffer::new(offsets.into()), last as usize))
    }
}

enum Failed {
    Wire(WireError),
    Arrow(ArrowError),
}
