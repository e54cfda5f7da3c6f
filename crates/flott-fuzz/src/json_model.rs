//! JSON as a full parser reads it, and what Flink's rules make of it: the other opinion beside our scanner.
//!
//! The model speaks only where the rule is plain. [`Model::Any`] is a value that it has no opinion on (a number in a
//! STRING column, a fraction in a BIGINT, a day that its month does not have, with a time behind it).

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use flott_core::types::timestamp_unit;
use flott_core::{Field, LogicalType, TypeKind};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;

/// Nesting beyond which the model has no opinion.
const MAX_DEPTH: usize = 64;

/// A value of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Model {
    Null,
    Boolean(bool),
    Integer(i128),
    /// Bits, so that −0 is told from 0.
    Float(u64),
    Bytes(Vec<u8>),
    List(Vec<Model>),
    Map(Vec<(Vec<u8>, Model)>),
    Row(Vec<Model>),
    Any,
}

/// A document as serde_json reads it, with numbers as they stand and repeated keys.
enum Json {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// What should become of a message.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is read: these rows.
    Rows(Vec<Vec<Model>>),
    /// It is refused.
    Refused,
    /// The model does not know.
    Unknown,
}

/// A value that must be refused.
struct Refused;

/// What should become of `message`, which is not empty, read as rows of `columns`.
pub(crate) fn judge(message: &[u8], columns: &[Field], ignore_parse_errors: bool, sql_timestamps: bool) -> Verdict {
    let text = message.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(message);
    let Ok(text) = std::str::from_utf8(text) else {
        return Verdict::Refused;
    };
    let first = serde_json::Deserializer::from_str(text)
        .into_iter::<Box<RawValue>>()
        .next();
    let document = match first {
        Some(Ok(raw)) => raw,
        // Flink's parser takes control characters inside strings.
        _ if text.bytes().any(|b| b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r')) => return Verdict::Unknown,
        Some(Err(_)) | None => return refused_unless_control(text),
    };
    let Some(document) = read(document.get(), 0) else {
        return Verdict::Unknown;
    };
    let rules = Rules {
        ignore_parse_errors,
        sql_timestamps,
    };
    let rows: Option<Result<Vec<_>, Refused>> = match &document {
        Json::Object(members) => Some(rules.row(members, columns).map(|row| vec![row])),
        Json::Array(items) => items
            .iter()
            .filter(|i| !matches!(i, Json::Null))
            .map(|item| match item {
                Json::Object(members) => Some(rules.row(members, columns)),
                _ => None,
            })
            .collect(),
        _ => return Verdict::Refused,
    };
    match rows {
        Some(Ok(rows)) => Verdict::Rows(rows),
        Some(Err(Refused)) => Verdict::Refused,
        None => Verdict::Unknown,
    }
}

/// A tab or line end may be what serde_json did not want in a string.
fn refused_unless_control(text: &str) -> Verdict {
    match text.bytes().any(|b| b < b' ') {
        true => Verdict::Unknown,
        false => Verdict::Refused,
    }
}

fn read(text: &str, depth: usize) -> Option<Json> {
    if depth > MAX_DEPTH {
        return None;
    }
    Some(match text.as_bytes().first()? {
        b'n' => Json::Null,
        b't' => Json::Boolean(true),
        b'f' => Json::Boolean(false),
        b'"' => Json::Text(serde_json::from_str(text).ok()?),
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            Json::Array(items.iter().map(|i| read(i.get(), depth + 1)).collect::<Option<_>>()?)
        }
        b'{' => {
            let members = serde_json::Deserializer::from_str(text).deserialize_map(Members).ok()?;
            let read = |(key, value): &(String, Box<RawValue>)| Some((key.clone(), read(value.get(), depth + 1)?));
            Json::Object(members.iter().map(read).collect::<Option<_>>()?)
        }
        _ => Json::Number(text.to_owned()),
    })
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, Box<RawValue>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = vec![];
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

struct Rules {
    ignore_parse_errors: bool,
    sql_timestamps: bool,
}

impl Rules {
    fn row(&self, members: &[(String, Json)], fields: &[Field]) -> Result<Vec<Model>, Refused> {
        let mut row = vec![Model::Null; fields.len()];
        for (key, value) in members {
            if let Some(at) = fields.iter().position(|f| f.name == *key) {
                row[at] = self.value(value, &fields[at].ty)?;
            }
        }
        Ok(row)
    }

    fn value(&self, json: &Json, ty: &LogicalType) -> Result<Model, Refused> {
        match self.plain(json, ty) {
            Ok(Err(Refused)) if self.ignore_parse_errors => Ok(Model::Null),
            Ok(value) => value,
            Err(nested) => nested,
        }
    }

    /// The value; inside `Err`, one of a nested type, whose parts have been judged by themselves.
    fn plain(&self, json: &Json, ty: &LogicalType) -> Result<Result<Model, Refused>, Result<Model, Refused>> {
        Ok(match (json, &ty.kind) {
            (Json::Null, _) => Ok(Model::Null),
            (Json::Array(items), TypeKind::Array(element)) => {
                let items = items.iter().map(|i| self.value(i, element));
                return Err(items.collect::<Result<_, _>>().map(Model::List));
            }
            (Json::Object(members), TypeKind::Map(_, value)) => return Err(self.map(members, value)),
            (Json::Object(members), TypeKind::Row(fields)) => return Err(self.row(members, fields).map(Model::Row)),
            (Json::Boolean(value), TypeKind::Boolean) => Ok(Model::Boolean(*value)),
            (Json::Text(text), kind) if kind.is_string() => Ok(Model::Bytes(text.clone().into_bytes())),
            (Json::Text(text), kind) if kind.is_binary() => Ok(STANDARD.decode(text).map_or(Model::Any, Model::Bytes)),
            (Json::Number(text), TypeKind::TinyInt) => whole(text, i8::MIN.into(), i8::MAX.into()),
            (Json::Number(text), TypeKind::SmallInt) => whole(text, i16::MIN.into(), i16::MAX.into()),
            (Json::Number(text), TypeKind::Int) => whole(text, i32::MIN.into(), i32::MAX.into()),
            (Json::Number(text), TypeKind::BigInt) => whole(text, i64::MIN.into(), i64::MAX.into()),
            (Json::Number(text), TypeKind::Double) => Ok(float(text.parse::<f64>().ok())),
            (Json::Number(text), TypeKind::Float) => Ok(float(text.parse::<f32>().ok().map(f64::from))),
            (Json::Number(text), TypeKind::Decimal(precision, scale)) => Ok(decimal(text, *precision, *scale)),
            (Json::Text(text), TypeKind::Date) if is_date(text) => match text.parse::<NaiveDate>() {
                Ok(date) => Ok(Model::Integer(i128::from(days(date)))),
                Err(_) => Err(Refused),
            },
            (Json::Text(text), TypeKind::Time(_)) if text.len() == 8 => {
                let time = NaiveTime::parse_from_str(text, "%H:%M:%S").ok();
                Ok(time
                    .filter(|t| t.nanosecond() < 1_000_000_000 && text.is_ascii() && !text.contains(['+', '-', ' ']))
                    .map_or(Model::Any, |t| {
                        Model::Integer(i128::from(t.num_seconds_from_midnight()) * 1000)
                    }))
            }
            (Json::Text(text), TypeKind::Timestamp(precision)) if self.sql_timestamps => {
                Ok(timestamp(text, *precision))
            }
            (Json::Text(text), TypeKind::TimestampLtz(precision)) if self.sql_timestamps => {
                Ok(text.strip_suffix('Z').map_or(Model::Any, |t| timestamp(t, *precision)))
            }
            _ => Ok(Model::Any),
        })
    }

    fn map(&self, members: &[(String, Json)], value: &LogicalType) -> Result<Model, Refused> {
        let mut entries = vec![];
        let last: HashMap<&str, usize> = members
            .iter()
            .enumerate()
            .map(|(i, (key, _))| (key.as_str(), i))
            .collect();
        for (i, (key, json)) in members.iter().enumerate() {
            let value = self.value(json, value)?;
            // The last of equal keys wins.
            if last[key.as_str()] == i {
                entries.push((key.clone().into_bytes(), value));
            }
        }
        Ok(Model::Map(entries))
    }
}

fn whole(text: &str, min: i128, max: i128) -> Result<Model, Refused> {
    if text.contains(['.', 'e', 'E']) {
        return Ok(Model::Any);
    }
    match text.parse::<i128>() {
        Ok(value) if (min..=max).contains(&value) => Ok(Model::Integer(value)),
        _ => Err(Refused),
    }
}

fn float(value: Option<f64>) -> Model {
    value
        .filter(|v| v.is_finite())
        .map_or(Model::Any, |v| Model::Float(v.to_bits()))
}

/// Half up to the scale; NULL where the precision does not suffice.
fn decimal(text: &str, precision: u8, scale: u8) -> Model {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |t| (true, t));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if text.contains(['e', 'E']) || whole.len() + usize::from(scale) > 36 {
        return Model::Any;
    }
    let scale = usize::from(scale);
    let kept: String = fraction.chars().chain(std::iter::repeat('0')).take(scale).collect();
    let Ok(mut value) = format!("{whole}{kept}").parse::<i128>() else {
        return Model::Any;
    };
    if fraction.as_bytes().get(scale).is_some_and(|d| *d >= b'5') {
        value += 1;
    }
    if value >= 10i128.pow(precision.into()) {
        return Model::Null;
    }
    Model::Integer(if negative { -value } else { value })
}

fn is_date(text: &str) -> bool {
    let form = |(i, b): (usize, u8)| {
        if i == 4 || i == 7 {
            b == b'-'
        } else {
            b.is_ascii_digit()
        }
    };
    text.len() == 10 && text.bytes().enumerate().all(form)
}

fn days(date: NaiveDate) -> i64 {
    date.signed_duration_since(NaiveDate::default()).num_days()
}

fn timestamp(text: &str, precision: u8) -> Model {
    // Two digits each, and up to nine behind the point: chrono takes one and more.
    let form = b" 00:00:00.000000000";
    let time = text.as_bytes().get(10..).unwrap_or_default();
    let in_form = is_date(text.get(..10).unwrap_or(""))
        && (9..=form.len()).contains(&time.len())
        && time.iter().zip(form).all(|(b, form)| match form {
            b'0' => b.is_ascii_digit(),
            _ => b == form,
        });
    let parsed = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok();
    let Some(value) = parsed.filter(|v| in_form && v.nanosecond() < 1_000_000_000) else {
        return Model::Any;
    };
    let time = value.and_utc();
    use arrow_array::types::ArrowTimestampType;
    let unit = timestamp_unit(precision);
    let number = if unit == TimestampMillisecondType::UNIT {
        Some(time.timestamp_millis())
    } else if unit == TimestampMicrosecondType::UNIT {
        Some(time.timestamp_micros())
    } else {
        time.timestamp_nanos_opt()
    };
    number.map_or(Model::Any, |n| Model::Integer(n.into()))
}

/// Row `row` of a column.
pub(crate) fn of_column(array: &dyn Array, ty: &LogicalType, row: usize) -> Model {
    if array.is_null(row) || ty.kind == TypeKind::Null {
        return Model::Null;
    }
    let list = |values: ArrayRef, element: &LogicalType| -> Vec<Model> {
        (0..values.len()).map(|i| of_column(&values, element, i)).collect()
    };
    match &ty.kind {
        TypeKind::Boolean => Model::Boolean(array.as_boolean().value(row)),
        TypeKind::TinyInt => Model::Integer(array.as_primitive::<Int8Type>().value(row).into()),
        TypeKind::SmallInt => Model::Integer(array.as_primitive::<Int16Type>().value(row).into()),
        TypeKind::Int => Model::Integer(array.as_primitive::<Int32Type>().value(row).into()),
        TypeKind::BigInt => Model::Integer(array.as_primitive::<Int64Type>().value(row).into()),
        TypeKind::Float => Model::Float(f64::from(array.as_primitive::<Float32Type>().value(row)).to_bits()),
        TypeKind::Double => Model::Float(array.as_primitive::<Float64Type>().value(row).to_bits()),
        TypeKind::Decimal(..) => Model::Integer(array.as_primitive::<Decimal128Type>().value(row)),
        TypeKind::Char(_) | TypeKind::Varchar(_) => Model::Bytes(array.as_string::<i32>().value(row).into()),
        TypeKind::Binary(_) | TypeKind::Varbinary(_) => Model::Bytes(array.as_binary::<i32>().value(row).into()),
        TypeKind::Date => Model::Integer(array.as_primitive::<Date32Type>().value(row).into()),
        TypeKind::Time(_) => Model::Integer(array.as_primitive::<Time32MillisecondType>().value(row).into()),
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => Model::Integer(match p {
            0..=3 => array.as_primitive::<TimestampMillisecondType>().value(row).into(),
            4..=6 => array.as_primitive::<TimestampMicrosecondType>().value(row).into(),
            _ => array.as_primitive::<TimestampNanosecondType>().value(row).into(),
        }),
        TypeKind::Array(element) => Model::List(list(array.as_list::<i32>().value(row), element)),
        TypeKind::Map(key, value) => {
            let entries = array.as_map().value(row);
            let keys = list(entries.column(0).clone(), key).into_iter().map(|k| match k {
                Model::Bytes(key) => key,
                _ => vec![],
            });
            Model::Map(keys.zip(list(entries.column(1).clone(), value)).collect())
        }
        TypeKind::Row(fields) => {
            let columns = array.as_struct().columns().iter().zip(fields);
            Model::Row(columns.map(|(c, f)| of_column(c, &f.ty, row)).collect())
        }
        _ => Model::Any,
    }
}

impl Model {
    /// Whether a value is what the model says, as far as it says something.
    pub(crate) fn allows(&self, value: &Self) -> bool {
        match (self, value) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::List(a), Self::List(b)) | (Self::Row(a), Self::Row(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.allows(b))
            }
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && a.allows(b))
            }
            (a, b) => a == b,
        }
    }

    /// Whether the model has an opinion on all of the value.
    pub(crate) fn is_certain(&self) -> bool {
        match self {
            Self::Any => false,
            Self::List(items) | Self::Row(items) => items.iter().all(Self::is_certain),
            Self::Map(entries) => entries.iter().all(|(_, v)| v.is_certain()),
            _ => true,
        }
    }
}
