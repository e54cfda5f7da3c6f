//! A column of any type: [`ColumnData`].

use crate::blob::{BytesColumn, CapturedBlobs, SortedBlobs};
use crate::column::{CapturedColumn, Column, Fixed};
use crate::order::Order;
use crate::pack::Packing;
use crate::value::{CapturedValues, DamagedValue, ErasedValues, StateValue, ValuesColumn};
use flott_checkpoint::{ColumnDescriptor, ColumnType};
use flott_core::encoding::EncodedRows;
use std::ops::Range;
use std::sync::Arc;

/// The values of one column.
#[derive(Debug)]
pub enum ColumnData {
    /// [`ColumnType::I64`]
    I64(Column<i64>),
    /// [`ColumnType::F64`]
    F64(Column<f64>),
    /// [`ColumnType::I128`]
    I128(Column<i128>),
    /// [`ColumnType::Bool`]
    Bool(Column<bool>),
    /// [`ColumnType::Bytes`]
    Bytes(BytesColumn),
    /// [`ColumnType::Bytes`] in runs, Rust values in memory.
    Values(ErasedValues),
}

/// A [`Fixed`] type that is the storage of a [`ColumnType`].
pub trait Stored: Fixed {
    /// The column, if it is of this type.
    fn of(data: &ColumnData) -> Option<&Column<Self>>;
    /// The column, to be written, if it is of this type.
    fn of_mut(data: &mut ColumnData) -> Option<&mut Column<Self>>;
}

macro_rules! stored {
    ($ty:ty, $variant:ident) => {
        impl Stored for $ty {
            fn of(data: &ColumnData) -> Option<&Column<Self>> {
                match data {
                    ColumnData::$variant(column) => Some(column),
                    _ => None,
                }
            }
            fn of_mut(data: &mut ColumnData) -> Option<&mut Column<Self>> {
                match data {
                    ColumnData::$variant(column) => Some(column),
                    _ => None,
                }
            }
        }
    };
}

stored!(i64, I64);
stored!(f64, F64);
stored!(i128, I128);
stored!(bool, Bool);

/// Calls the same method of whatever column it is.
macro_rules! each_column {
    ($data:expr, $column:ident => $call:expr, $bytes:ident => $bytes_call:expr, $values:ident => $values_call:expr) => {
        match $data {
            ColumnData::I64($column) => $call,
            ColumnData::F64($column) => $call,
            ColumnData::I128($column) => $call,
            ColumnData::Bool($column) => $call,
            ColumnData::Bytes($bytes) => $bytes_call,
            ColumnData::Values($values) => $values_call,
        }
    };
}

impl ColumnData {
    pub(crate) fn new(descriptor: &ColumnDescriptor) -> Self {
        match descriptor.ty {
            ColumnType::I64 => Self::I64(Column::new(descriptor.nullable)),
            ColumnType::F64 => Self::F64(Column::new(descriptor.nullable)),
            ColumnType::I128 => Self::I128(Column::new(descriptor.nullable)),
            ColumnType::Bool => Self::Bool(Column::new(descriptor.nullable)),
            ColumnType::Bytes => Self::Bytes(BytesColumn::default()),
        }
    }

    pub(crate) fn grow_to(&mut self, slots: usize) {
        each_column!(self, c => c.grow_to(slots), b => b.store_mut().grow_to(slots), v => v.0.grow_to(slots));
    }

    pub(crate) fn reset(&mut self, slot: u32) {
        each_column!(self, c => c.reset(slot), b => b.set(slot, None), v => v.0.reset(slot));
    }

    pub(crate) fn clear(&mut self) {
        each_column!(self, c => c.clear(), b => b.store_mut().clear(), v => v.0.clear());
    }

    pub(crate) fn bytes(&self) -> usize {
        each_column!(self, c => c.bytes(), b => b.store().bytes(), v => v.0.bytes())
    }

    /// Those of some slots that hold nothing; a column that is not nullable always holds something.
    pub(crate) fn null_among(&self, slots: &[u32]) -> Vec<u32> {
        let all = slots.iter().copied();
        each_column!(
            self,
            c => all.filter(|slot| c.is_null(*slot)).collect(),
            b => all.filter(|slot| b.get(*slot).is_none()).collect(),
            v => v.0.null_among(slots)
        )
    }

    /// Appends the value of a slot, to be read by [`Self::read_slot`].
    pub(crate) fn write_slot(&self, slot: u32, out: &mut Vec<u8>) {
        match self {
            Self::I64(c) => c.write_slot::<8>(slot, out),
            Self::F64(c) => c.write_slot::<8>(slot, out),
            Self::I128(c) => c.write_slot::<16>(slot, out),
            Self::Bool(c) => c.write_slot::<1>(slot, out),
            Self::Bytes(c) => match c.get(slot) {
                Some(bytes) => {
                    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                    out.extend_from_slice(bytes);
                }
                None => out.extend_from_slice(&NO_BYTES.to_le_bytes()),
            },
            Self::Values(v) => {
                let start = out.len();
                out.extend_from_slice(&NO_BYTES.to_le_bytes());
                v.0.write(slot, out);
                // A field has a byte at least.
                if let length @ 1.. = out.len() - start - 4 {
                    out[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
                }
            }
        }
    }

    /// Sets a slot to the value at the front of `bytes`, and moves `bytes` behind it.
    ///
    /// # Errors
    /// If it is no value of this column.
    pub(crate) fn read_slot(
        &mut self,
        slot: u32,
        descriptor: &ColumnDescriptor,
        bytes: &mut &[u8],
    ) -> Result<(), DamagedValue> {
        match self {
            Self::I64(c) => c.read_slot::<8>(slot, bytes),
            Self::F64(c) => c.read_slot::<8>(slot, bytes),
            Self::I128(c) => c.read_slot::<16>(slot, bytes),
            Self::Bool(c) => c.read_slot::<1>(slot, bytes),
            Self::Bytes(c) => {
                c.set(slot, read_bytes(bytes)?);
                Ok(())
            }
            Self::Values(v) => {
                let stored = descriptor.value.as_ref().ok_or(DamagedValue)?;
                v.0.load(slot, stored, read_bytes(bytes)?)
            }
        }
    }

    /// About how many bytes a slot takes: `slots` are some that are in use, of `live` in all.
    pub(crate) fn bytes_a_slot(&self, slots: &[u32], live: usize) -> usize {
        match self {
            Self::I64(_) | Self::F64(_) => 9,
            Self::I128(_) => 17,
            Self::Bool(_) => 2,
            Self::Bytes(c) => c.store().bytes_a_slot(live),
            Self::Values(v) => {
                let (in_slot, owned) = v.0.bytes_of(slots);
                in_slot + owned / slots.len().max(1)
            }
        }
    }

    /// An empty column of Rust values.
    pub(crate) fn of_values<V: StateValue>() -> Self {
        Self::Values(ErasedValues(Box::new(ValuesColumn::<V>::new())))
    }

    pub(crate) fn capture(&mut self) -> CapturedData {
        match self {
            Self::I64(c) => CapturedData::I64(c.capture()),
            Self::F64(c) => CapturedData::F64(c.capture()),
            Self::I128(c) => CapturedData::I128(c.capture()),
            Self::Bool(c) => CapturedData::Bool(c.capture()),
            Self::Bytes(c) => CapturedData::Bytes(c.store_mut().capture()),
            Self::Values(c) => CapturedData::Values(c.0.capture()),
        }
    }
}

/// Length of what is NULL.
const NO_BYTES: u32 = u32::MAX;

fn read_bytes<'b>(bytes: &mut &'b [u8]) -> Result<Option<&'b [u8]>, DamagedValue> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(DamagedValue)?;
    *bytes = rest;
    let length = u32::from_le_bytes(*length);
    if length == NO_BYTES {
        return Ok(None);
    }
    let (value, rest) = rest.split_at_checked(length as usize).ok_or(DamagedValue)?;
    *bytes = rest;
    Ok(Some(value))
}

/// A [`ColumnData`] at the moment of a capture.
#[derive(Debug, Clone)]
pub(crate) enum CapturedData {
    I64(CapturedColumn<i64>),
    F64(CapturedColumn<f64>),
    I128(CapturedColumn<i128>),
    Bool(CapturedColumn<bool>),
    Bytes(CapturedBlobs),
    Values(Arc<dyn CapturedValues>),
}

impl CapturedData {
    /// Looks at the values to be written.
    pub(crate) fn plan(&self, order: &Order) -> ColumnPlan {
        let fixed = |packing, is_nullable| ColumnPlan::Fixed { packing, is_nullable };
        match self {
            Self::I64(c) => fixed(c.packing(order), c.is_nullable()),
            Self::F64(c) => fixed(c.packing(order), c.is_nullable()),
            Self::I128(c) => fixed(c.packing(order), c.is_nullable()),
            Self::Bool(c) => fixed(c.packing(order), c.is_nullable()),
            Self::Bytes(c) => ColumnPlan::Blobs(c.sorted(order)),
            Self::Values(c) => ColumnPlan::Encoded(c.encode(order)),
        }
    }

    /// Writes the values in the form of [`crate::run`]; `starts` says where the column begins in each block, and is moved
    /// behind it.
    pub(crate) fn write(
        &self,
        plan: &ColumnPlan,
        order: &Order,
        blocks: &[Range<usize>],
        starts: &mut [usize],
        out: &mut [u8],
    ) {
        match (self, plan) {
            (Self::I64(c), ColumnPlan::Fixed { packing, .. }) => c.write(order, *packing, starts, out),
            (Self::F64(c), ColumnPlan::Fixed { packing, .. }) => c.write(order, *packing, starts, out),
            (Self::I128(c), ColumnPlan::Fixed { packing, .. }) => c.write(order, *packing, starts, out),
            (Self::Bool(c), ColumnPlan::Fixed { packing, .. }) => c.write(order, *packing, starts, out),
            (_, ColumnPlan::Blobs(sorted)) => sorted.write(blocks, starts, out),
            (_, ColumnPlan::Encoded(values)) => write_encoded(values, blocks, starts, out),
            (Self::Bytes(_) | Self::Values(_), ColumnPlan::Fixed { .. }) => {
                unreachable!("a column of bytes is planned as blobs")
            }
        }
    }
}

/// How a column, or the keys, of a capture are written.
#[derive(Debug)]
pub(crate) enum ColumnPlan {
    /// Numbers.
    Fixed {
        /// Their form.
        packing: Packing,
        /// Whether validity bytes come before them.
        is_nullable: bool,
    },
    /// Byte strings in the order of the run.
    Blobs(SortedBlobs),
    /// Rust values as bytes, in the order of the run; no bytes are NULL.
    Encoded(EncodedRows),
}

/// Writes values as [`SortedBlobs::write`] writes byte strings.
fn write_encoded(values: &EncodedRows, blocks: &[Range<usize>], starts: &mut [usize], out: &mut [u8]) {
    let mut put = |at: &mut usize, bytes: &[u8]| {
        out[*at..*at + bytes.len()].copy_from_slice(bytes);
        *at += bytes.len();
    };
    for (rows, at) in blocks.iter().zip(starts) {
        for row in rows.clone() {
            let length = match values.row(row).len() {
                0 => u32::MAX,
                length => length as u32,
            };
            put(at, &length.to_le_bytes());
        }
        for row in rows.clone() {
            put(at, values.row(row));
        }
    }
}

impl ColumnPlan {
    /// Bytes of some rows.
    pub(crate) fn bytes_of(&self, rows: Range<usize>) -> usize {
        match self {
            Self::Fixed { packing, is_nullable } => {
                rows.len() * (usize::from(packing.width) + usize::from(*is_nullable))
            }
            Self::Blobs(sorted) => sorted.bytes_of(rows),
            Self::Encoded(values) => rows.map(|row| 4 + values.row(row).len()).sum(),
        }
    }

    /// What the header says of it.
    pub(crate) fn packing(&self) -> Packing {
        match self {
            Self::Fixed { packing, .. } => *packing,
            Self::Blobs(_) | Self::Encoded(_) => Packing::plain(0),
        }
    }
}
