//! Row bytes to columns.

use super::EncodingError;
use crate::types::{LogicalType, TypeKind, timestamp_unit};
use arrow_array::builder::{BinaryBuilder, BooleanBuilder, PrimitiveBuilder, StringBuilder};
use arrow_array::types::*;
use arrow_array::{ArrayRef, ListArray, MapArray, NullArray, StructArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use std::sync::Arc;

/// Rows of `types`, read one by one into columns.
#[derive(Debug)]
pub struct RowDecoder {
    columns: Vec<Column>,
}

/// A column that grows; its `nullable` says whether a NULL may come.
#[derive(Debug)]
struct Column {
    nullable: bool,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Null(usize),
    Boolean(BooleanBuilder),
    Int8(PrimitiveBuilder<Int8Type>),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Date(PrimitiveBuilder<Date32Type>),
    Time(PrimitiveBuilder<Time32MillisecondType>),
    Int64(PrimitiveBuilder<Int64Type>),
    Millis(PrimitiveBuilder<TimestampMillisecondType>),
    Micros(PrimitiveBuilder<TimestampMicrosecondType>),
    Nanos(PrimitiveBuilder<TimestampNanosecondType>),
    Decimal(PrimitiveBuilder<Decimal128Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    String(StringBuilder),
    Binary(BinaryBuilder),
    /// An array (one part) or a map (two parts).
    Repeated {
        arrow: DataType,
        offsets: Vec<i32>,
        nulls: NullBufferBuilder,
        parts: Vec<Column>,
    },
    Row {
        arrow: DataType,
        nulls: NullBufferBuilder,
        fields: Vec<Column>,
    },
}

/// What is left of a row, for errors that name the place.
struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
    field: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    fn take(&mut self, count: usize) -> Result<&'a [u8], EncodingError> {
        let taken = self
            .bytes
            .get(self.position..)
            .and_then(|rest| rest.get(..count))
            .ok_or(EncodingError::Truncated {
                field: self.field,
                position: self.position,
                length: self.bytes.len(),
            })?;
        self.position += count;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], EncodingError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn length(&mut self) -> Result<usize, EncodingError> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn flag(&mut self, expected: &'static str) -> Result<bool, EncodingError> {
        match self.array::<1>()?[0] {
            0 => Ok(false),
            1 => Ok(true),
            byte => Err(EncodingError::Invalid {
                field: self.field,
                byte,
                expected,
            }),
        }
    }
}

impl RowDecoder {
    /// A decoder of rows with fields of these types.
    pub fn new(types: &[LogicalType]) -> Self {
        Self {
            columns: types.iter().map(Column::new).collect(),
        }
    }

    /// Reads one row.
    ///
    /// # Errors
    /// If the bytes are not exactly one row of the decoder's types; the decoder must not be used afterwards.
    pub fn decode(&mut self, row: &[u8]) -> Result<(), EncodingError> {
        let mut cursor = Cursor {
            bytes: row,
            position: 0,
            field: 0,
        };
        for (field, column) in self.columns.iter_mut().enumerate() {
            cursor.field = field;
            column.decode(&mut cursor)?;
        }
        match row.len() - cursor.position {
            0 => Ok(()),
            left => Err(EncodingError::TrailingBytes(left)),
        }
    }

    /// The columns of all rows read so far; the decoder is empty again.
    ///
    /// # Errors
    /// If Arrow refuses a column.
    pub fn finish(&mut self) -> Result<Vec<ArrayRef>, EncodingError> {
        self.columns
            .iter_mut()
            .map(|c| c.finish().map_err(|e| EncodingError::Array(e.to_string())))
            .collect()
    }
}

/// The columns of `rows`, whose fields have these types.
///
/// # Errors
/// If a row's bytes are not a row of these types.
pub fn decode_rows<'a>(
    types: &[LogicalType],
    rows: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<ArrayRef>, EncodingError> {
    let mut decoder = RowDecoder::new(types);
    for row in rows {
        decoder.decode(row)?;
    }
    decoder.finish()
}

impl Column {
    fn new(ty: &LogicalType) -> Self {
        let arrow = ty.to_arrow();
        let repeated = |parts: Vec<Self>| Values::Repeated {
            arrow: arrow.clone(),
            offsets: vec![0],
            nulls: NullBufferBuilder::new(0),
            parts,
        };
        let values = match &ty.kind {
            TypeKind::Null => Values::Null(0),
            TypeKind::Boolean => Values::Boolean(BooleanBuilder::new()),
            TypeKind::TinyInt => Values::Int8(PrimitiveBuilder::new()),
            TypeKind::SmallInt => Values::Int16(PrimitiveBuilder::new()),
            TypeKind::Int | TypeKind::IntervalYearMonth => Values::Int32(PrimitiveBuilder::new()),
            TypeKind::Date => Values::Date(PrimitiveBuilder::new()),
            TypeKind::Time(_) => Values::Time(PrimitiveBuilder::new()),
            TypeKind::BigInt | TypeKind::IntervalDayTime => Values::Int64(PrimitiveBuilder::new()),
            TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => match timestamp_unit(*p) {
                TimeUnit::Microsecond => Values::Micros(PrimitiveBuilder::new()),
                TimeUnit::Nanosecond => Values::Nanos(PrimitiveBuilder::new()),
                TimeUnit::Second | TimeUnit::Millisecond => Values::Millis(PrimitiveBuilder::new()),
            },
            TypeKind::Decimal(..) => Values::Decimal(PrimitiveBuilder::new().with_data_type(arrow.clone())),
            TypeKind::Float => Values::Float32(PrimitiveBuilder::new()),
            TypeKind::Double => Values::Float64(PrimitiveBuilder::new()),
            TypeKind::Char(_) | TypeKind::Varchar(_) => Values::String(StringBuilder::new()),
            TypeKind::Binary(_) | TypeKind::Varbinary(_) => Values::Binary(BinaryBuilder::new()),
            TypeKind::Array(element) => repeated(vec![Self::new(element)]),
            TypeKind::Map(key, value) => repeated(vec![Self::not_null(key), Self::new(value)]),
            TypeKind::Multiset(element) => repeated(vec![
                Self::not_null(element),
                Self::new(&LogicalType::not_null(TypeKind::Int)),
            ]),
            TypeKind::Row(fields) => Values::Row {
                arrow,
                nulls: NullBufferBuilder::new(0),
                fields: fields.iter().map(|f| Self::new(&f.ty)).collect(),
            },
        };
        // A NULL at the top is told by the presence byte whatever the type says: operators make columns nullable.
        Self { nullable: true, values }
    }

    /// Map keys: Arrow has no NULL there.
    fn not_null(ty: &LogicalType) -> Self {
        Self {
            nullable: false,
            ..Self::new(ty)
        }
    }

    fn decode(&mut self, cursor: &mut Cursor<'_>) -> Result<(), EncodingError> {
        if !cursor.flag("a presence byte (0 or 1)")? {
            if !self.nullable {
                return Err(EncodingError::UnexpectedNull(cursor.field));
            }
            self.push_null();
            return Ok(());
        }
        macro_rules! number {
            ($builder:expr, $ty:ty) => {
                $builder.append_value(<$ty>::from_le_bytes(cursor.array()?))
            };
        }
        match &mut self.values {
            Values::Null(_) => {
                return Err(EncodingError::Invalid {
                    field: cursor.field,
                    byte: 1,
                    expected: "NULL",
                });
            }
            Values::Boolean(b) => b.append_value(cursor.flag("a BOOLEAN (0 or 1)")?),
            Values::Int8(b) => number!(b, i8),
            Values::Int16(b) => number!(b, i16),
            Values::Int32(b) => number!(b, i32),
            Values::Date(b) => number!(b, i32),
            Values::Time(b) => number!(b, i32),
            Values::Int64(b) => number!(b, i64),
            Values::Millis(b) => number!(b, i64),
            Values::Micros(b) => number!(b, i64),
            Values::Nanos(b) => number!(b, i64),
            Values::Decimal(b) => number!(b, i128),
            Values::Float32(b) => number!(b, f32),
            Values::Float64(b) => number!(b, f64),
            Values::String(b) => {
                let length = cursor.length()?;
                let bytes = cursor.take(length)?;
                let text = std::str::from_utf8(bytes).map_err(|e| EncodingError::Invalid {
                    field: cursor.field,
                    byte: bytes.get(e.valid_up_to()).copied().unwrap_or_default(),
                    expected: "UTF-8",
                })?;
                b.append_value(text);
            }
            Values::Binary(b) => {
                let length = cursor.length()?;
                b.append_value(cursor.take(length)?);
            }
            Values::Repeated {
                offsets, nulls, parts, ..
            } => {
                let count = cursor.length()?;
                for _ in 0..count {
                    for part in parts.iter_mut() {
                        part.decode(cursor)?;
                    }
                }
                let end = offsets.last().copied().unwrap_or_default() as usize + count;
                let end = i32::try_from(end).map_err(|_| EncodingError::Array("over 2^31 elements".to_owned()))?;
                offsets.push(end);
                nulls.append_non_null();
            }
            Values::Row { nulls, fields, .. } => {
                for field in fields {
                    field.decode(cursor)?;
                }
                nulls.append_non_null();
            }
        }
        Ok(())
    }

    fn push_null(&mut self) {
        match &mut self.values {
            Values::Null(count) => *count += 1,
            Values::Boolean(b) => b.append_null(),
            Values::Int8(b) => b.append_null(),
            Values::Int16(b) => b.append_null(),
            Values::Int32(b) => b.append_null(),
            Values::Date(b) => b.append_null(),
            Values::Time(b) => b.append_null(),
            Values::Int64(b) => b.append_null(),
            Values::Millis(b) => b.append_null(),
            Values::Micros(b) => b.append_null(),
            Values::Nanos(b) => b.append_null(),
            Values::Decimal(b) => b.append_null(),
            Values::Float32(b) => b.append_null(),
            Values::Float64(b) => b.append_null(),
            Values::String(b) => b.append_null(),
            Values::Binary(b) => b.append_null(),
            Values::Repeated { offsets, nulls, .. } => {
                offsets.push(offsets.last().copied().unwrap_or_default());
                nulls.append_null();
            }
            Values::Row { nulls, fields, .. } => {
                fields.iter_mut().for_each(Self::push_null);
                nulls.append_null();
            }
        }
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match &mut self.values {
            Values::Null(count) => Arc::new(NullArray::new(std::mem::take(count))),
            Values::Boolean(b) => Arc::new(b.finish()),
            Values::Int8(b) => Arc::new(b.finish()),
            Values::Int16(b) => Arc::new(b.finish()),
            Values::Int32(b) => Arc::new(b.finish()),
            Values::Date(b) => Arc::new(b.finish()),
            Values::Time(b) => Arc::new(b.finish()),
            Values::Int64(b) => Arc::new(b.finish()),
            Values::Millis(b) => Arc::new(b.finish()),
            Values::Micros(b) => Arc::new(b.finish()),
            Values::Nanos(b) => Arc::new(b.finish()),
            Values::Decimal(b) => Arc::new(b.finish()),
            Values::Float32(b) => Arc::new(b.finish()),
            Values::Float64(b) => Arc::new(b.finish()),
            Values::String(b) => Arc::new(b.finish()),
            Values::Binary(b) => Arc::new(b.finish()),
            Values::Repeated {
                arrow,
                offsets,
                nulls,
                parts,
            } => {
                let ends = std::mem::replace(offsets, vec![0]);
                let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
                let nulls = nulls.finish();
                let mut columns = parts.iter_mut().map(Self::finish).collect::<Result<Vec<_>, _>>()?;
                match arrow {
                    DataType::List(element) => {
                        Arc::new(ListArray::try_new(element.clone(), offsets, columns.remove(0), nulls)?)
                    }
                    DataType::Map(entries, ordered) => {
                        let DataType::Struct(fields) = entries.data_type() else {
                            return Err(ArrowError::SchemaError("map entries are no struct".to_owned()));
                        };
                        let pairs = StructArray::try_new(fields.clone(), columns, None)?;
                        Arc::new(MapArray::try_new(entries.clone(), offsets, pairs, nulls, *ordered)?)
                    }
                    other => return Err(ArrowError::SchemaError(format!("{other} has no elements"))),
                }
            }
            Values::Row { arrow, nulls, fields } => {
                let DataType::Struct(arrow_fields) = arrow else {
                    return Err(ArrowError::SchemaError(format!("{arrow} has no fields")));
                };
                let rows = nulls.len();
                let nulls = nulls.finish();
                let columns = fields.iter_mut().map(Self::finish).collect::<Result<Vec<_>, _>>()?;
                Arc::new(StructArray::try_new_with_length(
                    arrow_fields.clone(),
                    columns,
                    nulls,
                    rows,
                )?)
            }
        })
    }
}
