//! The keys of a table, by slot: [`KeyStore`], which picks the cheapest form for the key's types.
//!
//! * One integer-like field (integers, DATE, TIME, timestamps, intervals): a 64-bit number per slot.
//! * One string or bytes field: the string itself.
//! * Anything else: the key encoding of [`flott_core::encoding`].
//!
//! The first two have one slot at most whose key is NULL; it is remembered apart. The third has NULL in its bytes.

use crate::blob::{BlobStore, CapturedBlobs};
use crate::chunk::{Captured, Chunked};
use crate::cold::row as cold;
use crate::column::Fixed;
use crate::data::ColumnPlan;
use crate::error::StateError;
use crate::order::Order;
use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};
use flott_checkpoint::TableDescriptor;
use flott_core::encoding::{EncodedRows, RowEncoder, decode_rows};
use flott_core::{LogicalType, TypeKind};
use std::ops::Range;
use std::sync::Arc;

/// Form of a table's keys; a function of the key's types, so that files need not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyForm {
    Number,
    Text,
    Binary,
    Encoded,
}

impl KeyForm {
    /// Number of the form in files.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Number => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Encoded => 3,
        }
    }

    pub(crate) fn of(key: &[LogicalType]) -> Self {
        let [field] = key else { return Self::Encoded };
        match &field.kind {
            TypeKind::TinyInt
            | TypeKind::SmallInt
            | TypeKind::Int
            | TypeKind::BigInt
            | TypeKind::Date
            | TypeKind::Time(_)
            | TypeKind::Timestamp(_)
            | TypeKind::TimestampLtz(_)
            | TypeKind::IntervalYearMonth
            | TypeKind::IntervalDayTime => Self::Number,
            TypeKind::Char(_) | TypeKind::Varchar(_) => Self::Text,
            TypeKind::Binary(_) | TypeKind::Varbinary(_) => Self::Binary,
            _ => Self::Encoded,
        }
    }
}

/// Keys by slot.
#[derive(Debug)]
pub(crate) enum KeyStore {
    Number(Chunked<i64>),
    Blob(BlobStore),
}

/// The keys of a batch in the form of a store, ready to be compared.
pub(crate) enum ProbeKeys<'a> {
    Number(ScalarBuffer<i64>, Option<&'a NullBuffer>),
    Text(&'a arrow_array::StringArray, Option<&'a NullBuffer>),
    Binary(&'a arrow_array::BinaryArray, Option<&'a NullBuffer>),
    Encoded(&'a EncodedRows),
}

impl ProbeKeys<'_> {
    /// Appends the key of a row in the form of a cold store.
    pub(crate) fn write(&self, row: usize, out: &mut Vec<u8>) {
        let is_null = match self {
            Self::Number(_, nulls) | Self::Text(_, nulls) | Self::Binary(_, nulls) => {
                nulls.is_some_and(|n| n.is_null(row))
            }
            Self::Encoded(_) => false,
        };
        match self {
            _ if is_null => cold::write_null(out),
            Self::Number(values, _) => cold::write_number(values[row], out),
            Self::Text(values, _) => cold::write_blob(values.value(row).as_bytes(), out),
            Self::Binary(values, _) => cold::write_blob(values.value(row), out),
            Self::Encoded(values) => cold::write_blob(values.row(row), out),
        }
    }
}

impl KeyStore {
    pub(crate) fn new(form: KeyForm) -> Self {
        match form {
            KeyForm::Number => Self::Number(Chunked::default()),
            KeyForm::Text | KeyForm::Binary | KeyForm::Encoded => Self::Blob(BlobStore::default()),
        }
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Self::Number(keys) => keys.clear(),
            Self::Blob(keys) => keys.clear(),
        }
    }

    /// Frees what a removed slot's key holds.
    pub(crate) fn release(&mut self, slot: u32) {
        if let Self::Blob(keys) = self {
            keys.set(slot, None);
        }
    }

    pub(crate) fn capture(&mut self) -> CapturedKeys {
        match self {
            Self::Number(keys) => CapturedKeys::Number(keys.capture()),
            Self::Blob(keys) => CapturedKeys::Blob(keys.capture()),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Number(keys) => keys.bytes(),
            Self::Blob(keys) => keys.bytes(),
        }
    }

    /// About how many bytes a key takes, of `live` in all.
    pub(crate) fn bytes_a_slot(&self, live: usize) -> usize {
        match self {
            Self::Number(_) => 8,
            Self::Blob(keys) => keys.bytes_a_slot(live),
        }
    }

    /// The keys of `slots` as columns; `null_slot` is the slot of the NULL key of a one-field store.
    pub(crate) fn to_columns(
        &self,
        descriptor: &TableDescriptor,
        form: KeyForm,
        slots: &[u32],
        null_slot: Option<u32>,
    ) -> Result<Vec<ArrayRef>, StateError> {
        let nulls = null_slot.and_then(|n| {
            let valid: NullBuffer = slots.iter().map(|&s| s != n).collect::<Vec<_>>().into();
            (valid.null_count() > 0).then_some(valid)
        });
        match self {
            Self::Number(keys) => {
                let values: Vec<i64> = slots.iter().map(|&s| keys.get(s as usize)).collect();
                Ok(vec![numbers_to_column(values, nulls, &descriptor.key[0].to_arrow())])
            }
            Self::Blob(keys) => {
                let blobs = slots.iter().map(|&s| keys.get(s).filter(|_| null_slot != Some(s)));
                blobs_to_columns(descriptor, form, blobs)
            }
        }
    }
}

/// Keys of a blob form as columns, from one byte string per row (`None`: the NULL key).
pub(crate) fn blobs_to_columns<'a>(
    descriptor: &TableDescriptor,
    form: KeyForm,
    blobs: impl Iterator<Item = Option<&'a [u8]>>,
) -> Result<Vec<ArrayRef>, StateError> {
    match form {
        KeyForm::Text => {
            let mut builder = StringBuilder::new();
            for blob in blobs {
                // Keys came from Arrow strings; a damaged file fails its checksum before it comes here.
                builder.append_option(blob.map(String::from_utf8_lossy));
            }
            Ok(vec![Arc::new(builder.finish())])
        }
        KeyForm::Binary => {
            let mut builder = BinaryBuilder::new();
            for blob in blobs {
                builder.append_option(blob);
            }
            Ok(vec![Arc::new(builder.finish())])
        }
        KeyForm::Encoded | KeyForm::Number => decode_rows(&descriptor.key, blobs.map(Option::unwrap_or_default))
            .map_err(|source| StateError::Keys {
                table: descriptor.name.clone(),
                source,
            }),
    }
}

/// A column of an integer-like Arrow type from 64-bit numbers.
pub(crate) fn numbers_to_column(values: Vec<i64>, nulls: Option<NullBuffer>, ty: &DataType) -> ArrayRef {
    fn narrow<T: ArrowPrimitiveType>(
        values: &[i64],
        nulls: Option<NullBuffer>,
        as_native: impl Fn(i64) -> T::Native,
    ) -> ArrayRef {
        let values: ScalarBuffer<T::Native> = values.iter().map(|v| as_native(*v)).collect();
        Arc::new(PrimitiveArray::<T>::new(values, nulls))
    }
    fn wide<T: ArrowPrimitiveType<Native = i64>>(values: Vec<i64>, nulls: Option<NullBuffer>) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(values.into(), nulls))
    }
    match ty {
        DataType::Int8 => narrow::<Int8Type>(&values, nulls, |v| v as i8),
        DataType::Int16 => narrow::<Int16Type>(&values, nulls, |v| v as i16),
        DataType::Int32 => narrow::<Int32Type>(&values, nulls, |v| v as i32),
        DataType::Date32 => narrow::<Date32Type>(&values, nulls, |v| v as i32),
        DataType::Time32(_) => narrow::<Time32MillisecondType>(&values, nulls, |v| v as i32),
        DataType::Timestamp(TimeUnit::Microsecond, _) => wide::<TimestampMicrosecondType>(values, nulls),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => wide::<TimestampNanosecondType>(values, nulls),
        DataType::Timestamp(_, _) => wide::<TimestampMillisecondType>(values, nulls),
        _ => wide::<Int64Type>(values, nulls),
    }
}

/// The numbers of an integer-like column, shared where it has 64 bits.
fn column_to_numbers(column: &ArrayRef) -> ScalarBuffer<i64> {
    macro_rules! widen {
        ($ty:ty) => {
            column
                .as_primitive::<$ty>()
                .values()
                .iter()
                .map(|v| i64::from(*v))
                .collect()
        };
    }
    match column.data_type() {
        DataType::Int8 => widen!(Int8Type),
        DataType::Int16 => widen!(Int16Type),
        DataType::Int32 => widen!(Int32Type),
        DataType::Date32 => widen!(Date32Type),
        DataType::Time32(_) => widen!(Time32MillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            column.as_primitive::<TimestampMicrosecondType>().values().clone()
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            column.as_primitive::<TimestampNanosecondType>().values().clone()
        }
        DataType::Timestamp(_, _) => column.as_primitive::<TimestampMillisecondType>().values().clone(),
        _ => column.as_primitive::<Int64Type>().values().clone(),
    }
}

/// Brings the key columns of a batch into the form of the store; `scratch` holds encoded keys.
pub(crate) fn probe<'a>(
    descriptor: &TableDescriptor,
    form: KeyForm,
    columns: &'a [ArrayRef],
    rows: usize,
    scratch: &'a mut EncodedRows,
) -> Result<ProbeKeys<'a>, StateError> {
    let fits = columns.len() == descriptor.key.len()
        && columns
            .iter()
            .zip(&descriptor.key)
            .all(|(column, ty)| column.len() == rows && same_storage(column.data_type(), &ty.to_arrow()));
    if !fits {
        return Err(key_type_error(descriptor, columns));
    }
    let nulls = columns.first().and_then(|c| c.nulls()).filter(|n| n.null_count() > 0);
    Ok(match form {
        KeyForm::Number => ProbeKeys::Number(column_to_numbers(&columns[0]), nulls),
        KeyForm::Text => ProbeKeys::Text(columns[0].as_string::<i32>(), nulls),
        KeyForm::Binary => ProbeKeys::Binary(columns[0].as_binary::<i32>(), nulls),
        KeyForm::Encoded => {
            let encoder = RowEncoder::of_keys(columns).map_err(|source| StateError::Keys {
                table: descriptor.name.clone(),
                source,
            })?;
            scratch.refill(&encoder, rows);
            ProbeKeys::Encoded(scratch)
        }
    })
}

/// Equal up to names and nullability of nested fields.
fn same_storage(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(x), DataType::List(y)) | (DataType::Map(x, _), DataType::Map(y, _)) => {
            same_storage(x.data_type(), y.data_type())
        }
        (DataType::Struct(x), DataType::Struct(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same_storage(x.data_type(), y.data_type()))
        }
        _ => a == b,
    }
}

#[cold]
fn key_type_error(descriptor: &TableDescriptor, columns: &[ArrayRef]) -> StateError {
    let list = |items: Vec<String>| format!("({})", items.join(", "));
    StateError::KeyType {
        table: descriptor.name.clone(),
        expected: list(descriptor.key.iter().map(ToString::to_string).collect()),
        given: list(
            columns
                .iter()
                .map(|c| format!("{} x {} rows", c.data_type(), c.len()))
                .collect(),
        ),
    }
}

/// A [`KeyStore`] at the moment of a capture.
#[derive(Debug, Clone)]
pub(crate) enum CapturedKeys {
    Number(Captured<i64>),
    Blob(CapturedBlobs),
}

impl CapturedKeys {
    /// Looks at the keys to be written.
    pub(crate) fn plan(&self, order: &Order) -> ColumnPlan {
        match self {
            Self::Number(keys) => ColumnPlan::Fixed {
                packing: i64::packing(order.slots().map(|slot| keys.get(slot))),
                is_nullable: false,
            },
            Self::Blob(keys) => ColumnPlan::Blobs(keys.sorted(order)),
        }
    }

    /// Writes the keys; as [`crate::data::CapturedData::write`].
    pub(crate) fn write(
        &self,
        plan: &ColumnPlan,
        order: &Order,
        blocks: &[Range<usize>],
        starts: &mut [usize],
        out: &mut [u8],
    ) {
        match (self, plan) {
            (Self::Number(keys), plan) => order.write(plan.packing(), starts, out, |slot| keys.get(slot)),
            (Self::Blob(_), ColumnPlan::Blobs(sorted)) => sorted.write(blocks, starts, out),
            (Self::Blob(_), ColumnPlan::Fixed { .. } | ColumnPlan::Encoded(_)) => {
                unreachable!("blob keys are planned as blobs")
            }
        }
    }
}
