//! Arrow columns seen through Flink's types: what encoders walk over.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow_array::{Array, BinaryArray, BooleanArray, StringArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};
use flott_core::types::{LogicalType, TypeKind};

/// The values of a column, by type.
pub(crate) enum Values<'a> {
    Null,
    Boolean(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Decimal {
        unscaled: &'a [i128],
        scale: u8,
    },
    Text(&'a StringArray),
    Binary(&'a BinaryArray),
    Date(&'a [i32]),
    Time(&'a [i32]),
    Timestamp {
        values: &'a [i64],
        unit: TimeUnit,
        zoned: bool,
    },
    List {
        offsets: &'a [i32],
        element: Box<Cells<'a>>,
    },
    Map {
        offsets: &'a [i32],
        keys: Box<Cells<'a>>,
        values: Box<Cells<'a>>,
    },
    Row(Vec<Cells<'a>>),
}

/// A column.
pub(crate) struct Cells<'a> {
    pub values: Values<'a>,
    nulls: Option<&'a NullBuffer>,
}

impl<'a> Cells<'a> {
    /// Sees `array` as a column of type `ty`.
    ///
    /// # Errors
    /// What the array's type is and should be, if it is another than the type's own.
    pub(crate) fn new(ty: &LogicalType, array: &'a dyn Array) -> Result<Self, String> {
        Ok(Self {
            values: Values::new(ty, array)?,
            nulls: array.nulls(),
        })
    }

    /// Whether row `row` is NULL.
    #[inline(always)]
    pub(crate) fn is_null(&self, row: usize) -> bool {
        match self.nulls {
            Some(nulls) => nulls.is_null(row),
            None => matches!(self.values, Values::Null),
        }
    }
}

fn same_layout(expected: &DataType, found: &DataType) -> bool {
    // Names and nullability of children are not a matter of layout.
    match (expected, found) {
        (DataType::List(a), DataType::List(b)) | (DataType::Map(a, _), DataType::Map(b, _)) => {
            same_layout(a.data_type(), b.data_type())
        }
        (DataType::Struct(a), DataType::Struct(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_layout(a.data_type(), b.data_type()))
        }
        (DataType::Decimal128(_, a), DataType::Decimal128(_, b)) => a == b,
        (DataType::Timestamp(a, _), DataType::Timestamp(b, _)) => a == b,
        (a, b) => a == b,
    }
}

impl<'a> Values<'a> {
    fn new(ty: &LogicalType, array: &'a dyn Array) -> Result<Self, String> {
        let expected = ty.to_arrow();
        if !same_layout(&expected, array.data_type()) {
            return Err(format!("{ty} is {expected} in Arrow, not {}", array.data_type()));
        }
        Ok(match &ty.kind {
            TypeKind::Null => Self::Null,
            TypeKind::Boolean => Self::Boolean(array.as_boolean()),
            TypeKind::TinyInt => Self::Int8(array.as_primitive::<Int8Type>().values()),
            TypeKind::SmallInt => Self::Int16(array.as_primitive::<Int16Type>().values()),
            TypeKind::Int | TypeKind::IntervalYearMonth => Self::Int32(array.as_primitive::<Int32Type>().values()),
            TypeKind::BigInt | TypeKind::IntervalDayTime => Self::Int64(array.as_primitive::<Int64Type>().values()),
            TypeKind::Float => Self::Float32(array.as_primitive::<Float32Type>().values()),
            TypeKind::Double => Self::Float64(array.as_primitive::<Float64Type>().values()),
            TypeKind::Decimal(_, scale) => Self::Decimal {
                unscaled: array.as_primitive::<Decimal128Type>().values(),
                scale: *scale,
            },
            TypeKind::Char(_) | TypeKind::Varchar(_) => Self::Text(array.as_string()),
            TypeKind::Binary(_) | TypeKind::Varbinary(_) => Self::Binary(array.as_binary()),
            TypeKind::Date => Self::Date(array.as_primitive::<Date32Type>().values()),
            TypeKind::Time(_) => Self::Time(array.as_primitive::<Time32MillisecondType>().values()),
            TypeKind::Timestamp(_) => Self::timestamp(array, false),
            TypeKind::TimestampLtz(_) => Self::timestamp(array, true),
            TypeKind::Array(element) => {
                let list = array.as_list::<i32>();
                Self::List {
                    offsets: list.value_offsets(),
                    element: Box::new(Cells::new(element, list.values())?),
                }
            }
            TypeKind::Map(key, value) => Self::map(key, value, array)?,
            TypeKind::Multiset(element) => Self::map(element, &LogicalType::not_null(TypeKind::Int), array)?,
            TypeKind::Row(fields) => {
                let children = fields.iter().zip(array.as_struct().columns());
                Self::Row(
                    children
                        .map(|(f, column)| Cells::new(&f.ty, column))
                        .collect::<Result<_, _>>()?,
                )
            }
        })
    }

    fn timestamp(array: &'a dyn Array, zoned: bool) -> Self {
        let unit = match array.data_type() {
            DataType::Timestamp(unit, _) => *unit,
            _ => TimeUnit::Millisecond,
        };
        let values: &[i64] = match unit {
            TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
            TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values(),
            TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
            TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values(),
        };
        Self::Timestamp { values, unit, zoned }
    }

    fn map(key: &LogicalType, value: &LogicalType, array: &'a dyn Array) -> Result<Self, String> {
        let map = array.as_map();
        Ok(Self::Map {
            offsets: map.value_offsets(),
            keys: Box::new(Cells::new(key, map.keys())?),
            values: Box::new(Cells::new(value, map.values())?),
        })
    }
}

/// Entries of row `row` in a list's or map's children.
#[inline]
pub(crate) fn entries(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

/// Bytes of row `row`, without the check that text is UTF-8 again.
#[inline(always)]
pub(crate) fn text_bytes(array: &StringArray, row: usize) -> &[u8] {
    let offsets = array.value_offsets();
    &array.value_data()[offsets[row] as usize..offsets[row + 1] as usize]
}
