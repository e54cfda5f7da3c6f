//! From builders to Arrow arrays.

use super::{Bytes, Column, Entries, Fixed, Lists, Rows};
use arrow_array::types::{ArrowPrimitiveType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type};
use arrow_array::types::{Date32Type, Int32Type, Int64Type, Time32MillisecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, NullArray, PrimitiveArray, make_array};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer};
use arrow_data::{ArrayData, ArrayDataBuilder};
use arrow_schema::DataType;
use std::sync::Arc;

/// Replaces a buffer by an empty one that has room for as much again, within reason.
fn take<T>(buffer: &mut Vec<T>) -> Vec<T> {
    const MOST: usize = 1 << 20;
    let room = buffer.len().min(MOST / size_of::<T>().max(1));
    std::mem::replace(buffer, Vec::with_capacity(room))
}

/// Replaces the ends by an empty buffer and gives Arrow's offsets, one more than rows.
fn offsets(ends: &mut Vec<i32>) -> Buffer {
    let ends = take(ends);
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.extend_from_slice(&ends);
    Buffer::from_vec(offsets)
}

fn builder(ty: &DataType, rows: usize, nulls: Option<NullBuffer>) -> ArrayDataBuilder {
    ArrayData::builder(ty.clone()).len(rows).nulls(nulls)
}

fn build(builder: ArrayDataBuilder) -> ArrayRef {
    // SAFETY: the builders of this module make offsets that start at 0, never fall and end at the length of the child
    // or data; children have as many rows as their parent (or its last offset); text is UTF-8, which every decoder
    // checks before it writes. What Arrow would also check, that a NOT NULL child holds no NULL, is not a matter of
    // memory safety and is left to the sink's constraint, as in Flink.
    make_array(unsafe { builder.build_unchecked() })
}

impl<T: Copy + Default> Fixed<T> {
    fn finish<P: ArrowPrimitiveType<Native = T>>(&mut self, rows: usize, ty: &DataType) -> ArrayRef
    where
        T: ArrowNativeType,
    {
        self.fill(rows);
        let values = take(&mut self.values);
        Arc::new(PrimitiveArray::<P>::new(values.into(), self.validity.take()).with_data_type(ty.clone()))
    }

    fn fill(&mut self, rows: usize) {
        if self.values.len() != rows {
            self.seek(rows);
        }
    }

    /// Bytes held.
    fn bytes(&self) -> usize {
        self.values.len() * size_of::<T>()
    }
}

impl Fixed<bool> {
    fn finish_bits(&mut self, rows: usize) -> ArrayRef {
        self.fill(rows);
        let bits = BooleanBuffer::from(self.values.as_slice());
        self.values.clear();
        Arc::new(BooleanArray::new(bits, self.validity.take()))
    }
}

impl Bytes {
    fn finish(&mut self, rows: usize, ty: &DataType) -> ArrayRef {
        if self.ends.len() != rows {
            self.seek(rows);
        }
        let offsets = offsets(&mut self.ends);
        let data = Buffer::from_vec(take(&mut self.data));
        build(
            builder(ty, rows, self.validity.take())
                .add_buffer(offsets)
                .add_buffer(data),
        )
    }
}

impl<C: super::Nested> Lists<C> {
    /// Offsets and number of entries.
    fn finish_ends(&mut self, rows: usize) -> (Buffer, usize) {
        if self.ends.len() != rows {
            self.seek(rows);
        }
        let entries = self.ends.last().map_or(0, |e| *e as usize);
        (offsets(&mut self.ends), entries)
    }
}

impl Rows {
    fn finish(&mut self, rows: usize, ty: &DataType) -> ArrayRef {
        if self.rows != rows {
            self.seek(rows);
        }
        self.rows = 0;
        let DataType::Struct(fields) = ty else {
            unreachable!("a ROW column is a struct in Arrow")
        };
        let mut data = builder(ty, rows, self.validity.take());
        for (column, field) in self.fields.iter_mut().zip(fields) {
            data = data.add_child_data(column.finish(rows, field.data_type()).to_data());
        }
        build(data)
    }
}

impl Entries {
    fn finish(&mut self, rows: usize, ty: &DataType) -> ArrayData {
        let DataType::Struct(fields) = ty else {
            unreachable!("a map's entries are a struct in Arrow")
        };
        let data = builder(ty, rows, None)
            .add_child_data(self.keys.finish(rows, fields[0].data_type()).to_data())
            .add_child_data(self.values.finish(rows, fields[1].data_type()).to_data());
        build(data).to_data()
    }
}

impl Column {
    /// The first `rows` rows as an Arrow array of type `ty`, which is the one of the type that the column was made
    /// for; the column is empty afterwards.
    pub(crate) fn finish(&mut self, rows: usize, ty: &DataType) -> ArrayRef {
        match self {
            Self::Null(_) => Arc::new(NullArray::new(rows)),
            Self::Boolean(c) => c.finish_bits(rows),
            Self::Int8(c) => c.finish::<Int8Type>(rows, ty),
            Self::Int16(c) => c.finish::<Int16Type>(rows, ty),
            Self::Int32(c) => c.finish::<Int32Type>(rows, ty),
            Self::Int64(c) => c.finish::<Int64Type>(rows, ty),
            Self::Float32(c) => c.finish::<Float32Type>(rows, ty),
            Self::Float64(c) => c.finish::<Float64Type>(rows, ty),
            Self::Decimal { values, .. } => values.finish::<Decimal128Type>(rows, ty),
            Self::Date(c) => c.finish::<Date32Type>(rows, ty),
            Self::Time { values, .. } => values.finish::<Time32MillisecondType>(rows, ty),
            Self::Timestamp { values, .. } => {
                values.fill(rows);
                let buffer = Buffer::from_vec(take(&mut values.values));
                build(builder(ty, rows, values.validity.take()).add_buffer(buffer))
            }
            Self::Text(c) | Self::Binary(c) => c.finish(rows, ty),
            Self::List(c) => {
                let (offsets, entries) = c.finish_ends(rows);
                let DataType::List(element) = ty else {
                    unreachable!("an ARRAY column is a list in Arrow")
                };
                let child = c.entries.finish(entries, element.data_type()).to_data();
                let nulls = c.validity.take();
                build(builder(ty, rows, nulls).add_buffer(offsets).add_child_data(child))
            }
            Self::Map(c) => {
                let (offsets, entries) = c.finish_ends(rows);
                let DataType::Map(element, _) = ty else {
                    unreachable!("a MAP column is a map in Arrow")
                };
                let child = c.entries.finish(entries, element.data_type());
                let nulls = c.validity.take();
                build(builder(ty, rows, nulls).add_buffer(offsets).add_child_data(child))
            }
            Self::Row(c) => c.finish(rows, ty),
        }
    }

    /// Bytes that the values hold.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Null(_) => 0,
            Self::Boolean(c) => c.bytes(),
            Self::Int8(c) => c.bytes(),
            Self::Int16(c) => c.bytes(),
            Self::Int32(c) | Self::Date(c) => c.bytes(),
            Self::Int64(c) => c.bytes(),
            Self::Float32(c) => c.bytes(),
            Self::Float64(c) => c.bytes(),
            Self::Decimal { values, .. } => values.bytes(),
            Self::Time { values, .. } => values.bytes(),
            Self::Timestamp { values, .. } => values.bytes(),
            Self::Text(c) | Self::Binary(c) => c.data.len() + c.ends.len() * size_of::<i32>(),
            Self::List(c) => c.ends.len() * size_of::<i32>() + c.entries.bytes(),
            Self::Map(c) => c.ends.len() * size_of::<i32>() + c.entries.keys.bytes() + c.entries.values.bytes(),
            Self::Row(c) => c.fields.iter().map(Self::bytes).sum(),
        }
    }
}
