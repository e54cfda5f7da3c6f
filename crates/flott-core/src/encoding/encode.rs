//! Columns to row bytes.

use super::EncodingError;
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, StringArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};

/// Writes rows of some columns as bytes, row by row; made once per batch.
#[derive(Debug)]
pub struct RowEncoder {
    fields: Vec<FieldEncoder>,
}

#[derive(Debug)]
struct FieldEncoder {
    nulls: Option<NullBuffer>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Null,
    Boolean(BooleanArray),
    Int8(ScalarBuffer<i8>),
    Int16(ScalarBuffer<i16>),
    Int32(ScalarBuffer<i32>),
    Int64(ScalarBuffer<i64>),
    Int128(ScalarBuffer<i128>),
    Float32(ScalarBuffer<f32>, FloatBits),
    Float64(ScalarBuffer<f64>, FloatBits),
    String(StringArray),
    Binary(BinaryArray),
    /// Elements of an array, or keys and values of a map.
    Repeated(OffsetBuffer<i32>, Vec<FieldEncoder>),
    Row(Vec<FieldEncoder>),
}

#[derive(Debug, Clone, Copy)]
enum FloatBits {
    Canonical,
    AsTheyAre,
}

impl RowEncoder {
    /// An encoder of keys: every NaN gets the same bytes.
    ///
    /// # Errors
    /// If a column's type has no encoding.
    pub fn of_keys(columns: &[ArrayRef]) -> Result<Self, EncodingError> {
        Self::new(columns, FloatBits::Canonical)
    }

    /// An encoder of values: every bit is kept.
    ///
    /// # Errors
    /// If a column's type has no encoding.
    pub fn of_values(columns: &[ArrayRef]) -> Result<Self, EncodingError> {
        Self::new(columns, FloatBits::AsTheyAre)
    }

    fn new(columns: &[ArrayRef], floats: FloatBits) -> Result<Self, EncodingError> {
        let fields = columns
            .iter()
            .map(|c| FieldEncoder::new(c, floats))
            .collect::<Result<_, _>>()?;
        Ok(Self { fields })
    }

    /// Appends the bytes of row `row` to `out`.
    ///
    /// # Panics
    /// If the columns have no such row.
    #[inline]
    pub fn encode(&self, row: usize, out: &mut Vec<u8>) {
        for field in &self.fields {
            field.encode(row, out);
        }
    }
}

impl FieldEncoder {
    fn new(column: &ArrayRef, floats: FloatBits) -> Result<Self, EncodingError> {
        macro_rules! buffer {
            ($variant:ident, $ty:ty) => {
                Values::$variant(column.as_primitive::<$ty>().values().clone())
            };
        }
        let values = match column.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Boolean(column.as_boolean().clone()),
            DataType::Int8 => buffer!(Int8, Int8Type),
            DataType::Int16 => buffer!(Int16, Int16Type),
            DataType::Int32 => buffer!(Int32, Int32Type),
            DataType::Date32 => buffer!(Int32, Date32Type),
            DataType::Time32(TimeUnit::Millisecond) => buffer!(Int32, Time32MillisecondType),
            DataType::Int64 => buffer!(Int64, Int64Type),
            DataType::Timestamp(TimeUnit::Millisecond, _) => buffer!(Int64, TimestampMillisecondType),
            DataType::Timestamp(TimeUnit::Microsecond, _) => buffer!(Int64, TimestampMicrosecondType),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => buffer!(Int64, TimestampNanosecondType),
            DataType::Decimal128(..) => buffer!(Int128, Decimal128Type),
            DataType::Float32 => Values::Float32(column.as_primitive::<Float32Type>().values().clone(), floats),
            DataType::Float64 => Values::Float64(column.as_primitive::<Float64Type>().values().clone(), floats),
            DataType::Utf8 => Values::String(column.as_string::<i32>().clone()),
            DataType::Binary => Values::Binary(column.as_binary::<i32>().clone()),
            DataType::List(_) => {
                let list = column.as_list::<i32>();
                Values::Repeated(list.offsets().clone(), vec![Self::new(list.values(), floats)?])
            }
            DataType::Map(..) => {
                let map = column.as_map();
                let parts = vec![Self::new(map.keys(), floats)?, Self::new(map.values(), floats)?];
                Values::Repeated(map.offsets().clone(), parts)
            }
            DataType::Struct(_) => {
                let fields = column.as_struct().columns();
                Values::Row(fields.iter().map(|c| Self::new(c, floats)).collect::<Result<_, _>>()?)
            }
            other => return Err(EncodingError::UnsupportedType(other.clone())),
        };
        Ok(Self {
            nulls: column.nulls().filter(|n| n.null_count() > 0).cloned(),
            values,
        })
    }

    #[inline]
    fn encode(&self, row: usize, out: &mut Vec<u8>) {
        let is_null = self.nulls.as_ref().is_some_and(|n| n.is_null(row)) || matches!(self.values, Values::Null);
        if is_null {
            out.push(0);
            return;
        }
        out.push(1);
        match &self.values {
            Values::Null => {}
            Values::Boolean(a) => out.push(u8::from(a.value(row))),
            Values::Int8(a) => out.extend_from_slice(&a[row].to_le_bytes()),
            Values::Int16(a) => out.extend_from_slice(&a[row].to_le_bytes()),
            Values::Int32(a) => out.extend_from_slice(&a[row].to_le_bytes()),
            Values::Int64(a) => out.extend_from_slice(&a[row].to_le_bytes()),
            Values::Int128(a) => out.extend_from_slice(&a[row].to_le_bytes()),
            Values::Float32(a, FloatBits::AsTheyAre) => out.extend_from_slice(&a[row].to_bits().to_le_bytes()),
            Values::Float32(a, FloatBits::Canonical) => {
                let v = a[row];
                let canonical = if v.is_nan() { f32::NAN } else { v };
                out.extend_from_slice(&canonical.to_bits().to_le_bytes());
            }
            Values::Float64(a, FloatBits::AsTheyAre) => out.extend_from_slice(&a[row].to_bits().to_le_bytes()),
            Values::Float64(a, FloatBits::Canonical) => {
                let v = a[row];
                let canonical = if v.is_nan() { f64::NAN } else { v };
                out.extend_from_slice(&canonical.to_bits().to_le_bytes());
            }
            Values::String(a) => put_bytes(a.value(row).as_bytes(), out),
            Values::Binary(a) => put_bytes(a.value(row), out),
            Values::Repeated(offsets, parts) => {
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                out.extend_from_slice(&((end - start) as u32).to_le_bytes());
                for element in start..end {
                    for part in parts {
                        part.encode(element, out);
                    }
                }
            }
            Values::Row(fields) => {
                for field in fields {
                    field.encode(row, out);
                }
            }
        }
    }
}

#[inline]
fn put_bytes(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(value);
}

/// The bytes of a batch's rows in one buffer; reused from batch to batch.
#[derive(Debug, Default)]
pub struct EncodedRows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl EncodedRows {
    /// Replaces the content by the first `rows` rows of `encoder`.
    pub fn refill(&mut self, encoder: &RowEncoder, rows: usize) {
        self.bytes.clear();
        self.ends.clear();
        self.ends.reserve(rows);
        for row in 0..rows {
            encoder.encode(row, &mut self.bytes);
            self.ends.push(self.bytes.len());
        }
    }

    /// Appends a row that `write` writes.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of row `row`.
    #[inline]
    pub fn row(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }

    /// All rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|row| self.row(row))
    }
}

/// The rows of `columns` as value bytes.
///
/// # Errors
/// If a column's type has no encoding.
pub fn encode_rows(columns: &[ArrayRef], rows: usize) -> Result<EncodedRows, EncodingError> {
    let mut encoded = EncodedRows::default();
    encoded.refill(&RowEncoder::of_values(columns)?, rows);
    Ok(encoded)
}
