//! The table's types as the file's types and back.
//!
//! | table | written as | also read from |
//! |---|---|---|
//! | BOOLEAN, FLOAT, DOUBLE | the same | FLOAT for DOUBLE |
//! | TINYINT, SMALLINT, INT, BIGINT | INT32 of 8, 16, 32 bits; INT64 | every integer that holds the value |
//! | DECIMAL(p, s) | INT32, INT64 or FIXED_LEN_BYTE_ARRAY by p | fewer digits |
//! | CHAR, VARCHAR / BINARY, VARBINARY | BYTE_ARRAY, as STRING or plain | the other, FIXED_LEN_BYTE_ARRAY |
//! | DATE / TIME | INT32 of days / milliseconds | TIME of micro- and nanoseconds |
//! | TIMESTAMP / TIMESTAMP_LTZ | INT64, not adjusted / adjusted to UTC | every unit, INT96 |
//! | ARRAY, MAP, MULTISET, ROW | LIST, MAP, MAP to INT, group | |
//!
//! Arrow's timestamps of an INT96 column carry the zone [`INT96`], which tells them from those of INT64.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Float32Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, Float64Array, Int64Array, ListArray, MapArray, StringArray, StructArray,
    new_null_array,
};
use arrow_schema::{ArrowError, DataType, Field as ArrowField, FieldRef, Fields, TimeUnit};
use chrono::{DateTime, Local, Offset, TimeZone, Utc};
use flott_core::types::timestamp_unit;
use flott_core::{Field, LogicalType, TypeKind};
use std::sync::Arc;

/// Marks the timestamps that were INT96.
pub(super) const INT96: &str = "INT96";
/// The zone of instants.
const UTC: &str = "UTC";

/// Where an INT96 instant becomes a wall-clock time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Zone {
    Utc,
    /// The machine's.
    Local,
    /// So many seconds east of Greenwich.
    #[cfg(test)]
    Fixed(i64),
}

impl Zone {
    /// Seconds by which clocks are ahead of UTC at an instant.
    fn offset_seconds(self, micros: i64) -> i64 {
        match self {
            Self::Utc => 0,
            Self::Local => {
                let instant = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH);
                i64::from(
                    Local
                        .offset_from_utc_datetime(&instant.naive_utc())
                        .fix()
                        .local_minus_utc(),
                )
            }
            #[cfg(test)]
            Self::Fixed(seconds) => seconds,
        }
    }
}

/// Refuses columns of types that files cannot hold.
///
/// # Errors
/// The column, its type and the remedy.
pub(super) fn check(columns: &[Field]) -> Result<(), String> {
    columns
        .iter()
        .try_for_each(|column| check_type(&column.name, &column.ty))
}

fn check_type(column: &str, ty: &LogicalType) -> Result<(), String> {
    match &ty.kind {
        TypeKind::Null | TypeKind::IntervalYearMonth | TypeKind::IntervalDayTime => Err(format!(
            "format 'parquet' cannot carry column '{column}' of type {ty}: write it as a number or a STRING"
        )),
        TypeKind::Array(inner) | TypeKind::Multiset(inner) => check_type(column, inner),
        TypeKind::Map(key, value) => check_type(column, key).and_then(|()| check_type(column, value)),
        TypeKind::Row(fields) if fields.is_empty() => Err(format!(
            "format 'parquet' cannot carry column '{column}': a ROW without fields has no columns; give it a field"
        )),
        TypeKind::Row(fields) => fields
            .iter()
            .try_for_each(|f| check_type(&format!("{column}.{}", f.name), &f.ty)),
        _ => Ok(()),
    }
}

/// The Arrow type that a type is written as.
fn file_type(ty: &LogicalType, unit: TimeUnit) -> DataType {
    let element = |ty: &LogicalType| Arc::new(ArrowField::new("element", file_type(ty, unit), ty.nullable));
    let map = |key: &LogicalType, value: DataType, nullable: bool| {
        let entries = vec![
            ArrowField::new("key", file_type(key, unit), false),
            ArrowField::new("value", value, nullable),
        ];
        let entries = ArrowField::new("entries", DataType::Struct(entries.into()), false);
        DataType::Map(Arc::new(entries), false)
    };
    match &ty.kind {
        TypeKind::Timestamp(_) => DataType::Timestamp(unit, None),
        TypeKind::TimestampLtz(_) => DataType::Timestamp(unit, Some(UTC.into())),
        TypeKind::Array(inner) => DataType::List(element(inner)),
        TypeKind::Map(key, value) => map(key, file_type(value, unit), value.nullable),
        TypeKind::Multiset(inner) => map(inner, DataType::Int32, false),
        TypeKind::Row(fields) => DataType::Struct(file_fields(fields, unit)),
        other => other.to_arrow(),
    }
}

/// The columns of a file.
pub(super) fn file_fields(fields: &[Field], unit: TimeUnit) -> Fields {
    let field = |f: &Field| ArrowField::new(&f.name, file_type(&f.ty, unit), f.ty.nullable);
    fields.iter().map(field).collect()
}

/// A column as a file of type `to` holds it.
///
/// # Errors
/// If a timestamp is out of the unit's range.
pub(super) fn to_file(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    Ok(match to {
        DataType::Timestamp(unit, zone) => {
            let DataType::Timestamp(from, _) = column.data_type() else {
                return Err(ArrowError::SchemaError(format!(
                    "{} is no timestamp",
                    column.data_type()
                )));
            };
            let values = rescaled(&ticks(column, *from), *from, *unit, 1)?;
            of_ticks(&values, *unit, zone.as_deref())
        }
        DataType::List(field) => {
            let list = column.as_list::<i32>();
            let values = to_file(list.values(), field.data_type())?;
            Arc::new(ListArray::try_new(
                field.clone(),
                list.offsets().clone(),
                values,
                list.nulls().cloned(),
            )?)
        }
        DataType::Map(field, sorted) => {
            let map = column.as_map();
            let DataType::Struct(entry_fields) = field.data_type() else {
                return Err(ArrowError::SchemaError("a map without entries".into()));
            };
            let entries = [map.keys(), map.values()];
            let entries = entries.iter().zip(entry_fields);
            let entries: Result<Vec<_>, _> = entries.map(|(c, f)| to_file(c, f.data_type())).collect();
            let entries = StructArray::try_new(entry_fields.clone(), entries?, None)?;
            Arc::new(MapArray::try_new(
                field.clone(),
                map.offsets().clone(),
                entries,
                map.nulls().cloned(),
                *sorted,
            )?)
        }
        DataType::Struct(fields) => {
            let row = column.as_struct();
            let columns = row.columns().iter().zip(fields);
            let columns: Result<Vec<_>, _> = columns.map(|(c, f)| to_file(c, f.data_type())).collect();
            Arc::new(StructArray::try_new(fields.clone(), columns?, row.nulls().cloned())?)
        }
        _ => column.clone(),
    })
}

/// A column of a file as the table's type.
///
/// # Errors
/// If the type is another, or a value does not fit, with what to do.
pub(super) fn from_file(column: &ArrayRef, ty: &LogicalType, zone: Zone) -> Result<ArrayRef, String> {
    let wanted = ty.to_arrow();
    if *column.data_type() == wanted {
        return Ok(column.clone());
    }
    let mismatch = || {
        format!(
            "is {} in the file and {ty} in the table; declare it with a type that holds it",
            of_the_file(column.data_type())
        )
    };
    let arrow = |e: ArrowError| format!("cannot be read as {ty}: {e}");
    Ok(match (&ty.kind, column.data_type()) {
        (kind, from) if kind.is_integer() && from.is_integer() => return integers(column, kind).map_err(arrow),
        (TypeKind::Double, DataType::Float32) => {
            let wide: Float64Array = column.as_primitive::<Float32Type>().unary(f64::from);
            Arc::new(wide)
        }
        (TypeKind::Decimal(precision, scale), DataType::Decimal128(from_precision, from_scale)) => {
            let (scale, from_scale) = (i16::from(*scale), i16::from(*from_scale));
            let wider = scale - from_scale;
            if wider < 0 || i16::from(*from_precision) + wider > i16::from(*precision) {
                return Err(mismatch());
            }
            let factor = 10_i128.pow(u32::from(wider.unsigned_abs()));
            let decimals = column.as_primitive::<Decimal128Type>();
            let scaled = decimals.try_unary::<_, Decimal128Type, _>(|v| {
                v.checked_mul(factor)
                    .ok_or_else(|| ArrowError::ComputeError(format!("{v} has too many digits")))
            });
            let scaled = scaled.and_then(|v| v.with_precision_and_scale(*precision, scale as i8));
            Arc::new(scaled.map_err(arrow)?)
        }
        (kind, DataType::Binary) if kind.is_string() => {
            let text = StringArray::try_from_binary(column.as_binary::<i32>().clone());
            Arc::new(text.map_err(arrow)?)
        }
        (kind, DataType::Utf8) if kind.is_binary() => Arc::new(BinaryArray::from(column.as_string::<i32>().clone())),
        (kind, DataType::FixedSizeBinary(_)) if kind.is_binary() => {
            Arc::new(BinaryArray::from_iter(column.as_fixed_size_binary().iter()))
        }
        (TypeKind::Time(_), DataType::Time64(unit)) => {
            let per_ms = |by: i64| move |v: i64| (v / by) as i32;
            Arc::new(match unit {
                TimeUnit::Nanosecond => column
                    .as_primitive::<Time64NanosecondType>()
                    .unary::<_, Time32MillisecondType>(per_ms(1_000_000)),
                _ => column
                    .as_primitive::<Time64MicrosecondType>()
                    .unary::<_, Time32MillisecondType>(per_ms(1_000)),
            })
        }
        (TypeKind::Timestamp(p), DataType::Timestamp(..)) => timestamps(column, *p, Some(zone)).map_err(arrow)?,
        (TypeKind::TimestampLtz(p), DataType::Timestamp(..)) => timestamps(column, *p, None).map_err(arrow)?,
        (TypeKind::Array(inner), DataType::List(_)) => {
            let list = column.as_list::<i32>();
            let values = from_file(list.values(), inner, zone)?;
            let DataType::List(field) = wanted else {
                return Err(mismatch());
            };
            let read = ListArray::try_new(field, list.offsets().clone(), values, list.nulls().cloned());
            Arc::new(read.map_err(arrow)?)
        }
        (TypeKind::Map(key, value), DataType::Map(..)) => entries(column, key, value, &wanted, zone)?,
        (TypeKind::Multiset(element), DataType::Map(..)) => {
            let count = LogicalType::not_null(TypeKind::Int);
            entries(column, element, &count, &wanted, zone)?
        }
        (TypeKind::Row(fields), DataType::Struct(_)) => {
            let row = column.as_struct();
            let read = |field: &Field| match row.column_by_name(&field.name) {
                Some(found) => {
                    from_file(found, &field.ty, zone).map_err(|problem| format!("field '{}' {problem}", field.name))
                }
                None => Ok(new_null_array(&field.ty.to_arrow(), row.len())),
            };
            let columns: Vec<ArrayRef> = fields.iter().map(read).collect::<Result<_, _>>()?;
            let DataType::Struct(fields) = wanted else {
                return Err(mismatch());
            };
            let read = StructArray::try_new(fields, columns, row.nulls().cloned());
            Arc::new(read.map_err(arrow)?)
        }
        _ => return Err(mismatch()),
    })
}

/// An Arrow type as people know it from files.
fn of_the_file(ty: &DataType) -> String {
    match ty {
        DataType::Timestamp(_, Some(zone)) if zone.as_ref() == INT96 => INT96.to_owned(),
        DataType::Struct(_) => "a group".to_owned(),
        DataType::List(_) => "a LIST".to_owned(),
        DataType::Map(..) => "a MAP".to_owned(),
        other => other.to_string(),
    }
}

fn entries(
    column: &ArrayRef,
    key: &LogicalType,
    value: &LogicalType,
    wanted: &DataType,
    zone: Zone,
) -> Result<ArrayRef, String> {
    let arrow = |e: ArrowError| format!("cannot be read: {e}");
    let map = column.as_map();
    let (field, fields): (&FieldRef, &Fields) = match wanted {
        DataType::Map(field, _) => match field.data_type() {
            DataType::Struct(fields) => (field, fields),
            _ => return Err("is no map".to_owned()),
        },
        _ => return Err("is no map".to_owned()),
    };
    let columns = vec![from_file(map.keys(), key, zone)?, from_file(map.values(), value, zone)?];
    let entries = StructArray::try_new(fields.clone(), columns, None).map_err(arrow)?;
    let read = MapArray::try_new(
        field.clone(),
        map.offsets().clone(),
        entries,
        map.nulls().cloned(),
        false,
    );
    Ok(Arc::new(read.map_err(arrow)?))
}

/// Integers of one width as those of another.
fn integers(column: &ArrayRef, kind: &TypeKind) -> Result<ArrayRef, ArrowError> {
    let wide: Int64Array = match column.data_type() {
        DataType::Int8 => column.as_primitive::<Int8Type>().unary(i64::from),
        DataType::Int16 => column.as_primitive::<Int16Type>().unary(i64::from),
        DataType::Int32 => column.as_primitive::<Int32Type>().unary(i64::from),
        DataType::UInt8 => column.as_primitive::<UInt8Type>().unary(i64::from),
        DataType::UInt16 => column.as_primitive::<UInt16Type>().unary(i64::from),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().unary(i64::from),
        DataType::UInt64 => column
            .as_primitive::<UInt64Type>()
            .try_unary(|v| i64::try_from(v).map_err(|_| out_of_range(v)))?,
        _ => column.as_primitive::<Int64Type>().clone(),
    };
    Ok(match kind {
        TypeKind::TinyInt => narrowed::<Int8Type>(&wide)?,
        TypeKind::SmallInt => narrowed::<Int16Type>(&wide)?,
        TypeKind::Int => narrowed::<Int32Type>(&wide)?,
        _ => Arc::new(wide),
    })
}

fn out_of_range(value: impl std::fmt::Display) -> ArrowError {
    ArrowError::ComputeError(format!("{value} is out of its range"))
}

fn narrowed<T: ArrowPrimitiveType>(wide: &Int64Array) -> Result<ArrayRef, ArrowError>
where
    T::Native: TryFrom<i64>,
{
    let narrow = wide.try_unary::<_, T, _>(|v| T::Native::try_from(v).map_err(|_| out_of_range(v)))?;
    Ok(Arc::new(narrow))
}

/// Timestamps of a file with `precision` digits, in the table's unit. `zone`: where INT96 becomes a wall-clock time, for
/// a type without a zone.
fn timestamps(column: &ArrayRef, precision: u8, zone: Option<Zone>) -> Result<ArrayRef, ArrowError> {
    let DataType::Timestamp(from, tag) = column.data_type() else {
        return Err(ArrowError::SchemaError(format!(
            "{} is no timestamp",
            column.data_type()
        )));
    };
    let mut values = ticks(column, *from);
    let is_int96 = tag.as_deref() == Some(INT96);
    if let Some(zone) = zone.filter(|z| is_int96 && *z != Zone::Utc) {
        let per_second = per_second(*from);
        values = values.try_unary(|v| {
            let micros = i128::from(v) * 1_000_000 / i128::from(per_second);
            let offset = zone.offset_seconds(i64::try_from(micros).map_err(|_| out_of_range(v))?);
            v.checked_add(offset * per_second).ok_or_else(|| out_of_range(v))
        })?;
    }
    let unit = timestamp_unit(precision);
    let step = per_second(unit) / 10_i64.pow(u32::from(precision.min(9)));
    Ok(of_ticks(&rescaled(&values, *from, unit, step)?, unit, None))
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Ticks of one unit as those of another, rounded down to a multiple of `step`.
fn rescaled(values: &Int64Array, from: TimeUnit, to: TimeUnit, step: i64) -> Result<Int64Array, ArrowError> {
    let (from, to) = (per_second(from), per_second(to));
    let step = step.max(1);
    if from == to && step == 1 {
        return Ok(values.clone());
    }
    values.try_unary(|v| {
        let scaled = if from > to {
            Some(v.div_euclid(from / to))
        } else {
            v.checked_mul(to / from)
        };
        let scaled = scaled.ok_or_else(|| {
            ArrowError::ComputeError(format!(
                "the time {v} (1/{from} s since 1970) is out of the range of 1/{to} s; choose a smaller precision"
            ))
        })?;
        Ok(scaled - scaled.rem_euclid(step))
    })
}

fn ticks(column: &ArrayRef, unit: TimeUnit) -> Int64Array {
    match unit {
        TimeUnit::Second => column.as_primitive::<TimestampSecondType>().reinterpret_cast(),
        TimeUnit::Millisecond => column.as_primitive::<TimestampMillisecondType>().reinterpret_cast(),
        TimeUnit::Microsecond => column.as_primitive::<TimestampMicrosecondType>().reinterpret_cast(),
        TimeUnit::Nanosecond => column.as_primitive::<TimestampNanosecondType>().reinterpret_cast(),
    }
}

fn of_ticks(values: &Int64Array, unit: TimeUnit, zone: Option<&str>) -> ArrayRef {
    macro_rules! of {
        ($ty:ty) => {
            Arc::new(
                values
                    .reinterpret_cast::<$ty>()
                    .with_timezone_opt(zone.map(str::to_owned)),
            )
        };
    }
    match unit {
        TimeUnit::Second => of!(TimestampSecondType),
        TimeUnit::Millisecond => of!(TimestampMillisecondType),
        TimeUnit::Microsecond => of!(TimestampMicrosecondType),
        TimeUnit::Nanosecond => of!(TimestampNanosecondType),
    }
}
