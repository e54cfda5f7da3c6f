//! Values of state for people and programs: as JSON.
//!
//! Rows are objects; a map is an object by the texts of its keys; decimals, dates and times are strings in SQL's form; bytes are their
//! text if they are one, and hexadecimal digits otherwise.

use super::read::without_stamp;
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef};
use arrow_schema::TimeUnit;
use chrono::DateTime;
use flott_core::types::timestamp_unit;
use flott_core::{LogicalType, TypeKind};
use serde_json::{Map, Value, json};

/// Bytes of which hexadecimal digits are shown at most.
const SHOWN_BYTES: usize = 32;

/// The value of a row; the column must be of the type.
pub fn value(column: &ArrayRef, ty: &LogicalType, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match &ty.kind {
        TypeKind::Null => Value::Null,
        TypeKind::Boolean => json!(column.as_boolean().value(row)),
        TypeKind::TinyInt => json!(column.as_primitive::<Int8Type>().value(row)),
        TypeKind::SmallInt => json!(column.as_primitive::<Int16Type>().value(row)),
        TypeKind::Int => json!(column.as_primitive::<Int32Type>().value(row)),
        TypeKind::BigInt => json!(column.as_primitive::<Int64Type>().value(row)),
        TypeKind::IntervalYearMonth => json!(format!("{} months", column.as_primitive::<Int32Type>().value(row))),
        TypeKind::IntervalDayTime => json!(format!("{} ms", column.as_primitive::<Int64Type>().value(row))),
        TypeKind::Float => float(f64::from(column.as_primitive::<Float32Type>().value(row))),
        TypeKind::Double => float(column.as_primitive::<Float64Type>().value(row)),
        TypeKind::Decimal(_, scale) => json!(decimal(column.as_primitive::<Decimal128Type>().value(row), *scale)),
        TypeKind::Char(_) | TypeKind::Varchar(_) => json!(column.as_string::<i32>().value(row)),
        TypeKind::Binary(_) | TypeKind::Varbinary(_) => bytes(column.as_binary::<i32>().value(row)),
        TypeKind::Date => {
            let days = i64::from(column.as_primitive::<Date32Type>().value(row));
            let day = DateTime::from_timestamp(days * 86_400, 0);
            day.map_or_else(|| json!(days), |day| json!(day.format("%Y-%m-%d").to_string()))
        }
        TypeKind::Time(_) => {
            let ms = i64::from(column.as_primitive::<Time32MillisecondType>().value(row));
            time(ms, "%H:%M:%S%.3f")
        }
        TypeKind::Timestamp(p) => instant(column, *p, row, ""),
        TypeKind::TimestampLtz(p) => instant(column, *p, row, "Z"),
        TypeKind::Array(element) => {
            let elements = column.as_list::<i32>().value(row);
            (0..elements.len()).map(|i| value(&elements, element, i)).collect()
        }
        TypeKind::Map(key, of) => entries(column, key, of, row),
        TypeKind::Multiset(key) => entries(column, key, &LogicalType::not_null(TypeKind::Int), row),
        TypeKind::Row(fields) => {
            let columns = column.as_struct().columns();
            let field = |(f, c): (&flott_core::Field, &ArrayRef)| (f.name.clone(), value(c, &f.ty, row));
            Value::Object(fields.iter().zip(columns).map(field).collect())
        }
    }
}

/// Milliseconds since the epoch as a time of day and year.
pub fn time_of_ms(ms: i64) -> String {
    match time(ms, "%Y-%m-%d %H:%M:%S%.3fZ") {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn entries(column: &ArrayRef, key: &LogicalType, of: &LogicalType, row: usize) -> Value {
    let map = column.as_map();
    let (from, to) = (map.value_offsets()[row] as usize, map.value_offsets()[row + 1] as usize);
    let mut entries = Map::new();
    for entry in from..to {
        let name = match value(map.keys(), key, entry) {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let value = match without_stamp(of) {
            None => value(map.values(), of, entry),
            Some(plain) => stamped(map.values(), plain, entry),
        };
        entries.insert(name, value);
    }
    Value::Object(entries)
}

/// An entry of a map with a time to live.
fn stamped(entries: &ArrayRef, ty: &LogicalType, row: usize) -> Value {
    let parts = entries.as_struct();
    let updated = parts.column(1).as_primitive::<Int64Type>().value(row);
    json!({ "value": value(parts.column(0), ty, row), "updated": time_of_ms(updated) })
}

/// JSON has no numbers that are none.
fn float(number: f64) -> Value {
    match number.is_finite() {
        true => json!(number),
        false => json!(number.to_string()),
    }
}

fn decimal(unscaled: i128, scale: u8) -> String {
    let digits = unscaled.unsigned_abs().to_string();
    let scale = usize::from(scale);
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    match scale {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction}"),
    }
}

fn bytes(bytes: &[u8]) -> Value {
    let is_readable = |c: char| !c.is_control();
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.chars().all(is_readable)
    {
        return json!(text);
    }
    let shown: String = bytes.iter().take(SHOWN_BYTES).map(|b| format!("{b:02x}")).collect();
    match bytes.len() > SHOWN_BYTES {
        true => json!(format!("0x{shown}… ({} bytes)", bytes.len())),
        false => json!(format!("0x{shown}")),
    }
}

fn time(ms: i64, format: &str) -> Value {
    DateTime::from_timestamp_millis(ms).map_or_else(|| json!(ms), |at| json!(at.format(format).to_string()))
}

fn instant(column: &ArrayRef, precision: u8, row: usize, zone: &str) -> Value {
    let (ticks, at) = match timestamp_unit(precision) {
        TimeUnit::Microsecond => {
            let ticks = column.as_primitive::<TimestampMicrosecondType>().value(row);
            (ticks, DateTime::from_timestamp_micros(ticks))
        }
        TimeUnit::Nanosecond => {
            let ticks = column.as_primitive::<TimestampNanosecondType>().value(row);
            (ticks, Some(DateTime::from_timestamp_nanos(ticks)))
        }
        _ => {
            let ticks = column.as_primitive::<TimestampMillisecondType>().value(row);
            (ticks, DateTime::from_timestamp_millis(ticks))
        }
    };
    let text = |at: DateTime<chrono::Utc>| format!("{}{zone}", at.format("%Y-%m-%d %H:%M:%S%.f"));
    at.map_or_else(|| json!(ticks), |at| json!(text(at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{BinaryArray, Decimal128Array, Int64Array, TimestampMillisecondArray};
    use std::sync::Arc;

    #[test]
    fn values_are_readable() {
        let show = |column: ArrayRef, kind: TypeKind| value(&column, &LogicalType::new(kind), 0);
        let number = |unscaled: i128, p, s| {
            let column = Decimal128Array::from(vec![unscaled])
                .with_precision_and_scale(p, s as i8)
                .unwrap();
            show(Arc::new(column), TypeKind::Decimal(p, s))
        };
        assert_eq!(number(-5, 4, 2), "-0.05");
        assert_eq!(number(1234, 4, 0), "1234");
        let at = TimestampMillisecondArray::from(vec![1_500]);
        assert_eq!(
            show(Arc::new(at), TypeKind::TimestampLtz(3)),
            "1970-01-01 00:00:01.500Z"
        );
        let raw = |bytes: &[u8]| show(Arc::new(BinaryArray::from(vec![bytes])), TypeKind::Varbinary(9));
        assert_eq!(raw(b"zo\xc3\xab"), "zoë");
        assert_eq!(raw(&[1, 255]), "0x01ff");
        assert_eq!(raw(&[255; 40]), format!("0x{}… (40 bytes)", "ff".repeat(32)));
        assert_eq!(
            show(Arc::new(Int64Array::from(vec![None::<i64>])), TypeKind::BigInt),
            Value::Null
        );
        assert_eq!(time_of_ms(-1), "1969-12-31 23:59:59.999Z");
    }
}
