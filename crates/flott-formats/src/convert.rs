//! A field's text into a column, once for all formats.

use crate::columns::Column;
use crate::text::bytes::read_base64;
use crate::text::decimal::{self, Decimal};
use crate::text::number::{parse_f32, parse_f64, parse_i64, trim};
use crate::text::time::{
    TimestampStyle, parse_date, parse_iso_time, parse_sql_date, parse_time, parse_timestamp_cached,
};

/// In what the formats differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    /// ISO dates; times in whole seconds; timestamps in this style; decimals may have spaces around them.
    Json(TimestampStyle),
    /// `java.sql` dates, ISO times cut to their precision, SQL timestamps with spaces around them.
    Csv,
}

/// Why a text is no value: the name of the type.
pub(crate) type Wrong = &'static str;

/// Reads `text`, which is UTF-8, as the value of row `row`. Not for columns of nested types.
///
/// # Errors
/// The name of the column's type, if the text is no value of it; the row then has no value.
pub(crate) fn set_text(column: &mut Column, row: usize, text: &[u8], rules: Rules) -> Result<(), Wrong> {
    match column {
        Column::Null(_) => {}
        Column::Text(c) => c.set(row, text),
        Column::Boolean(c) => c.set(row, trim(text).eq_ignore_ascii_case(b"true")),
        Column::Int8(c) => c.set(row, integer(text).ok_or("TINYINT")?),
        Column::Int16(c) => c.set(row, integer(text).ok_or("SMALLINT")?),
        Column::Int32(c) => c.set(row, integer(text).ok_or("INT")?),
        Column::Int64(c) => c.set(row, integer(text).ok_or("BIGINT")?),
        Column::Float32(c) => c.set(row, parse_f32(text).ok_or("FLOAT")?),
        Column::Float64(c) => c.set(row, parse_f64(text).ok_or("DOUBLE")?),
        Column::Decimal { .. } => {
            let text = if rules == Rules::Csv { text } else { trim(text) };
            set_decimal(column, row, text)?;
        }
        Column::Binary(c) => {
            if read_base64(text, c.data_at(row)).is_none() {
                c.abandon();
                return Err("BYTES in base64");
            }
            c.close();
        }
        Column::Date(c) => {
            let days = if rules == Rules::Csv {
                parse_sql_date(text)
            } else {
                parse_date(text)
            };
            c.set(row, days.ok_or("DATE")?);
        }
        Column::Time { values, precision } => {
            let time_ms = match rules {
                Rules::Json(_) => parse_time(text).map(|ms| ms / 1000 * 1000),
                Rules::Csv => parse_iso_time(text).map(|ms| cut_time(ms, *precision)),
            };
            values.set(row, time_ms.ok_or("TIME")?);
        }
        Column::Timestamp {
            values,
            unit,
            zoned,
            dates,
        } => {
            let (text, style) = match rules {
                Rules::Json(style) => (text, style),
                Rules::Csv => (trim(text), TimestampStyle::Sql),
            };
            let name = if *zoned { "TIMESTAMP_LTZ" } else { "TIMESTAMP" };
            values.set(
                row,
                parse_timestamp_cached(text, style, *zoned, *unit, dates).ok_or(name)?,
            );
        }
        Column::List(_) => return Err("ARRAY"),
        Column::Map(_) => return Err("MAP"),
        Column::Row(_) => return Err("ROW"),
    }
    Ok(())
}

/// Reads a DECIMAL; one with too many digits becomes NULL.
pub(crate) fn set_decimal(column: &mut Column, row: usize, text: &[u8]) -> Result<(), Wrong> {
    if let Column::Decimal {
        values,
        precision,
        scale,
    } = column
    {
        match decimal::parse(text, *precision, *scale).ok_or("DECIMAL")? {
            Decimal::Value(value) => values.set(row, value),
            Decimal::TooLarge => {}
        }
    }
    Ok(())
}

fn integer<T: TryFrom<i64>>(text: &[u8]) -> Option<T> {
    parse_i64(trim(text)).and_then(|v| T::try_from(v).ok())
}

fn cut_time(ms: i32, precision: u8) -> i32 {
    match precision {
        0 => ms / 1000 * 1000,
        1 => ms / 100 * 100,
        2 => ms / 10 * 10,
        _ => ms,
    }
}
