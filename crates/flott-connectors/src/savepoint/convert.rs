//! Stored values as the types that a table declares for them.
//!
//! Types must be the same up to lengths, nullability and width: integers and decimals may be declared wider, FLOAT as DOUBLE, a ROW with fewer fields
//! (found by name), a map with a time to live as one without, and anything as STRING, which gives its text. Accumulators of SQL have
//! no type in state but a storage: what is a number may be declared as whatever SQL keeps in such a number.

use super::read::{stored_type, without_stamp};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, ListArray, MapArray, PrimitiveArray, StringArray, StructArray,
};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use flott_checkpoint::ColumnType;
use flott_core::types::timestamp_unit;
use flott_core::{Batch, Field, LogicalType, TypeKind};
use flott_formats::RowPrinter;
use std::sync::Arc;

/// What state holds of a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stored {
    /// Values of a type.
    Typed(LogicalType),
    /// SQL's own: values of a storage, whose type only the job's plan knows.
    Storage(ColumnType),
}

impl Stored {
    /// The type to declare, for messages.
    pub(super) fn remedy(&self) -> String {
        match self {
            Self::Typed(ty) => ty.with_nullable(true).to_string(),
            Self::Storage(ColumnType::I64) => {
                "BIGINT, or the integer, date or time type that the query has there".to_owned()
            }
            Self::Storage(ColumnType::F64) => "DOUBLE".to_owned(),
            Self::Storage(ColumnType::I128) => "BIGINT, or the DECIMAL type that the query has there".to_owned(),
            Self::Storage(ColumnType::Bool) => "BOOLEAN".to_owned(),
            Self::Storage(ColumnType::Bytes) => "BYTES, or STRING where the query has texts".to_owned(),
        }
    }

    /// The text of the type, for messages.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Typed(ty) => ty.to_string(),
            Self::Storage(ty) => format!("numbers or bytes of the storage {ty}"),
        }
    }

    /// Whether values can be read as `declared`.
    pub(super) fn fits(&self, declared: &LogicalType) -> bool {
        match self {
            Self::Typed(stored) => is_text(declared) || fits(stored, declared),
            Self::Storage(ColumnType::I64) => is_text(declared) || is_number(&declared.kind),
            Self::Storage(ColumnType::F64) => {
                is_text(declared) || matches!(declared.kind, TypeKind::Double | TypeKind::Float)
            }
            Self::Storage(ColumnType::I128) => {
                is_text(declared) || matches!(declared.kind, TypeKind::Decimal(..) | TypeKind::BigInt)
            }
            Self::Storage(ColumnType::Bool) => is_text(declared) || declared.kind == TypeKind::Boolean,
            Self::Storage(ColumnType::Bytes) => declared.kind.is_string() || declared.kind.is_binary(),
        }
    }

    /// The values of a column as `declared`, which [fits](Self::fits).
    ///
    /// # Errors
    /// If a value is not of the type.
    pub(super) fn convert(&self, column: &ArrayRef, declared: &LogicalType) -> Result<ArrayRef, String> {
        let text = |e: ArrowError| e.to_string();
        let converted = match self {
            Self::Typed(stored) if declared.kind.is_string() && !stored.kind.is_string() => texts(column, stored),
            Self::Typed(stored) => converted(column, &stored.kind, &declared.kind).map_err(text),
            Self::Storage(ColumnType::Bytes) if declared.kind.is_string() => utf8(column),
            Self::Storage(ty) if declared.kind.is_string() => texts(column, &storage_type(*ty)),
            Self::Storage(ColumnType::I64) => reinterpreted(column, &declared.kind).map_err(text),
            Self::Storage(ColumnType::I128) if declared.kind == TypeKind::BigInt => narrowed_decimal(column),
            Self::Storage(ColumnType::I128) => retyped_decimal(column, &declared.kind).map_err(text),
            Self::Storage(ColumnType::F64) if declared.kind == TypeKind::Float => {
                let wide = column.as_primitive::<Float64Type>();
                Ok(Arc::new(wide.unary::<_, Float32Type>(|v| v as f32)) as ArrayRef)
            }
            Self::Storage(_) => Ok(column.clone()),
        }?;
        match converted.null_count() > 0 && !declared.nullable {
            true => Err(format!(
                "it is declared NOT NULL, but some keys have no value; declare it as {}",
                declared.kind
            )),
            false => Ok(converted),
        }
    }
}

fn storage_type(ty: ColumnType) -> LogicalType {
    let column = flott_checkpoint::ColumnDescriptor {
        name: String::new(),
        ty,
        nullable: true,
        value: None,
    };
    stored_type(&column)
}

/// Whether everything can be read as this type, as its text.
fn is_text(declared: &LogicalType) -> bool {
    matches!(declared.kind, TypeKind::Varchar(flott_core::types::MAX_LENGTH))
}

/// What SQL keeps as a 64-bit number.
fn is_number(kind: &TypeKind) -> bool {
    matches!(
        kind,
        TypeKind::TinyInt
            | TypeKind::SmallInt
            | TypeKind::Int
            | TypeKind::BigInt
            | TypeKind::Date
            | TypeKind::Time(_)
            | TypeKind::Timestamp(_)
            | TypeKind::TimestampLtz(_)
            | TypeKind::IntervalYearMonth
            | TypeKind::IntervalDayTime
    )
}

fn integer_width(kind: &TypeKind) -> Option<u8> {
    match kind {
        TypeKind::TinyInt => Some(1),
        TypeKind::SmallInt => Some(2),
        TypeKind::Int => Some(4),
        TypeKind::BigInt => Some(8),
        _ => None,
    }
}

fn fits(stored: &LogicalType, declared: &LogicalType) -> bool {
    use TypeKind::{Array, Decimal, Double, Float, Map, Multiset, Row, Timestamp, TimestampLtz};
    match (&stored.kind, &declared.kind) {
        (a, b) if a.is_string() => b.is_string(),
        (a, b) if a.is_binary() => b.is_binary(),
        (Float, Double) => true,
        (Decimal(p, s), Decimal(precision, scale)) => precision >= p && scale == s,
        (Timestamp(p), Timestamp(q)) | (TimestampLtz(p), TimestampLtz(q)) => timestamp_unit(*p) == timestamp_unit(*q),
        (Array(a), Array(b)) | (Multiset(a), Multiset(b)) => fits(a, b),
        (Map(k, v), Map(key, value)) => {
            fits(k, key) && (fits(v, value) || without_stamp(v).is_some_and(|v| fits(v, value)))
        }
        (Row(stored), Row(declared)) => declared.iter().all(|field| {
            let found = stored.iter().find(|f| f.name == field.name);
            found.is_some_and(|f| fits(&f.ty, &field.ty))
        }),
        (a, b) => match (integer_width(a), integer_width(b)) {
            (Some(from), Some(to)) => from <= to,
            _ => a == b,
        },
    }
}

/// A column of one kind as another that it fits.
fn converted(column: &ArrayRef, from: &TypeKind, to: &TypeKind) -> Result<ArrayRef, ArrowError> {
    use TypeKind::{Array as List, Decimal, Double, Float, Map, Multiset, Row};
    let int = TypeKind::Int;
    Ok(match (from, to) {
        (List(from), List(to)) => {
            let list = column.as_list::<i32>();
            let values = converted(list.values(), &from.kind, &to.kind)?;
            let DataType::List(field) = TypeKind::Array(to.clone()).to_arrow() else {
                return Err(ArrowError::SchemaError(format!("{to} is no element of a list")));
            };
            Arc::new(ListArray::try_new(
                field,
                list.offsets().clone(),
                values,
                list.nulls().cloned(),
            )?)
        }
        (Map(k, v), Map(key, value)) => {
            let entries = |column: &ArrayRef| -> Result<ArrayRef, ArrowError> {
                match without_stamp(v).filter(|_| !fits(v, value)) {
                    None => converted(column, &v.kind, &value.kind),
                    Some(inner) => converted(column.as_struct().column(0), &inner.kind, &value.kind),
                }
            };
            map(column, to, |keys| converted(keys, &k.kind, &key.kind), entries)?
        }
        (Multiset(from), Multiset(element)) => map(
            column,
            to,
            |keys| converted(keys, &from.kind, &element.kind),
            |counts| converted(counts, &int, &int),
        )?,
        (Row(stored), Row(declared)) => {
            let row = column.as_struct();
            let field = |field: &Field| {
                let index = stored.iter().position(|f| f.name == field.name);
                let index =
                    index.ok_or_else(|| ArrowError::SchemaError(format!("there is no field '{}'", field.name)))?;
                converted(row.column(index), &stored[index].ty.kind, &field.ty.kind)
            };
            let columns = declared.iter().map(field).collect::<Result<Vec<_>, _>>()?;
            row_of(declared, columns, row.nulls().cloned(), row.len())?
        }
        (Float, Double) => {
            let wide: Float64Array = column.as_primitive::<Float32Type>().unary(f64::from);
            Arc::new(wide)
        }
        (Decimal(..), Decimal(..)) => retyped_decimal(column, to)?,
        (from, to) if integer_width(from) != integer_width(to) => {
            let wide: Int64Array = match from {
                TypeKind::TinyInt => column.as_primitive::<Int8Type>().unary(i64::from),
                TypeKind::SmallInt => column.as_primitive::<Int16Type>().unary(i64::from),
                TypeKind::Int => column.as_primitive::<Int32Type>().unary(i64::from),
                _ => column.as_primitive::<Int64Type>().clone(),
            };
            reinterpreted(&(Arc::new(wide) as ArrayRef), to)?
        }
        _ => column.clone(),
    })
}

/// Columns as a column of rows.
pub(super) fn row_of(
    fields: &[Field],
    columns: Vec<ArrayRef>,
    nulls: Option<arrow_buffer::NullBuffer>,
    rows: usize,
) -> Result<ArrayRef, ArrowError> {
    let fields = flott_core::types::arrow_fields(fields);
    Ok(Arc::new(StructArray::try_new_with_length(
        fields, columns, nulls, rows,
    )?))
}

fn map(
    column: &ArrayRef,
    to: &TypeKind,
    keys: impl FnOnce(&ArrayRef) -> Result<ArrayRef, ArrowError>,
    values: impl FnOnce(&ArrayRef) -> Result<ArrayRef, ArrowError>,
) -> Result<ArrayRef, ArrowError> {
    let map = column.as_map();
    let DataType::Map(entries, is_sorted) = to.to_arrow() else {
        return Err(ArrowError::SchemaError(format!("{to} is no map")));
    };
    let DataType::Struct(fields) = entries.data_type().clone() else {
        return Err(ArrowError::SchemaError(format!("{to} has no entries")));
    };
    let pairs = StructArray::try_new(fields, vec![keys(map.keys())?, values(map.values())?], None)?;
    let map = MapArray::try_new(entries, map.offsets().clone(), pairs, map.nulls().cloned(), is_sorted)?;
    Ok(Arc::new(map))
}

/// 64-bit numbers as what SQL keeps in them.
fn reinterpreted(column: &ArrayRef, to: &TypeKind) -> Result<ArrayRef, ArrowError> {
    fn narrow<T: ArrowPrimitiveType>(values: &Int64Array, to: &TypeKind) -> Result<ArrayRef, ArrowError>
    where
        T::Native: TryFrom<i64>,
    {
        let narrowed: PrimitiveArray<T> = values.try_unary(|v| {
            T::Native::try_from(v)
                .map_err(|_| ArrowError::ComputeError(format!("{v} is no {to}; declare it as BIGINT")))
        })?;
        Ok(Arc::new(narrowed))
    }
    fn same<T: ArrowPrimitiveType<Native = i64>>(values: &Int64Array) -> ArrayRef {
        Arc::new(values.reinterpret_cast::<T>())
    }
    let values = column.as_primitive::<Int64Type>();
    match to.to_arrow() {
        DataType::Int8 => narrow::<Int8Type>(values, to),
        DataType::Int16 => narrow::<Int16Type>(values, to),
        DataType::Int32 => narrow::<Int32Type>(values, to),
        DataType::Date32 => narrow::<Date32Type>(values, to),
        DataType::Time32(_) => narrow::<Time32MillisecondType>(values, to),
        DataType::Timestamp(TimeUnit::Millisecond, _) => Ok(same::<TimestampMillisecondType>(values)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(same::<TimestampMicrosecondType>(values)),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Ok(same::<TimestampNanosecondType>(values)),
        _ => Ok(column.clone()),
    }
}

fn retyped_decimal(column: &ArrayRef, to: &TypeKind) -> Result<ArrayRef, ArrowError> {
    let TypeKind::Decimal(precision, scale) = to else {
        return Err(ArrowError::SchemaError(format!("{to} is no decimal")));
    };
    let values = column.as_primitive::<Decimal128Type>().clone();
    let values = values.with_precision_and_scale(*precision, *scale as i8)?;
    values.validate_decimal_precision(*precision)?;
    Ok(Arc::new(values))
}

fn narrowed_decimal(column: &ArrayRef) -> Result<ArrayRef, String> {
    let values = column.as_primitive::<Decimal128Type>();
    let narrowed: Result<Int64Array, String> = values
        .iter()
        .map(|v| {
            let too_large = |v: i128| format!("{v} is no BIGINT; declare it as DECIMAL(38, 0)");
            v.map(|v| i64::try_from(v).map_err(|_| too_large(v))).transpose()
        })
        .collect();
    Ok(Arc::new(narrowed?))
}

fn utf8(column: &ArrayRef) -> Result<ArrayRef, String> {
    let values = column.as_binary::<i32>();
    let texts: Result<StringArray, String> = values
        .iter()
        .map(|v| {
            v.map(|v| std::str::from_utf8(v).map_err(|_| "its bytes are no text; declare it as BYTES".to_owned()))
                .transpose()
        })
        .collect();
    Ok(Arc::new(texts?))
}

/// The values as `print` writes them.
fn texts(column: &ArrayRef, stored: &LogicalType) -> Result<ArrayRef, String> {
    let printer = RowPrinter::new(vec![Field::new("value", stored.with_nullable(true))]);
    let batch = Batch::new(vec![column.clone()], column.len());
    let mut lines: Vec<String> = Vec::with_capacity(column.len());
    let printed = printer.print(&batch, |line| {
        // The line is `+I[value]`.
        let value = line.get(3..line.len().saturating_sub(1)).unwrap_or_default();
        lines.push(String::from_utf8_lossy(value).into_owned());
    });
    printed.map_err(|e| e.to_string())?;
    let present = lines.into_iter().enumerate();
    let texts: StringArray = present
        .map(|(row, line)| column.is_valid(row).then_some(line))
        .collect();
    Ok(Arc::new(texts))
}
