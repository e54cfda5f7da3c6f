//! [`Row`]: a record whose columns are known when the job runs, with the kind of change that it is.

use super::types::{Date, Time, rescale, write_decimal, write_timestamp};
use flott_core::{Field, LogicalType, RowKind, TypeKind};
use flott_sql::expr::cast::text::{write_double, write_real};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// NULL.
    Null,
    /// `BOOLEAN`
    Boolean(bool),
    /// `TINYINT`
    TinyInt(i8),
    /// `SMALLINT`
    SmallInt(i16),
    /// `INT`
    Int(i32),
    /// `BIGINT`
    BigInt(i64),
    /// `FLOAT`
    Float(f32),
    /// `DOUBLE`
    Double(f64),
    /// `DECIMAL`: how many times its smallest digit, and how many digits are behind the point.
    Decimal(i128, u8),
    /// `CHAR`, `VARCHAR`, `STRING`
    String(String),
    /// `BINARY`, `VARBINARY`, `BYTES`
    Bytes(Vec<u8>),
    /// `DATE`, in days since 1970-01-01.
    Date(i32),
    /// `TIME`, in milliseconds since midnight.
    Time(i32),
    /// `TIMESTAMP`: milliseconds up to precision 3, microseconds up to 6, else nanoseconds, and the precision.
    Timestamp(i64, u8),
    /// `TIMESTAMP_LTZ`, as a timestamp.
    TimestampLtz(i64, u8),
    /// `INTERVAL YEAR TO MONTH`, in months.
    Months(i32),
    /// `INTERVAL DAY TO SECOND`, in milliseconds.
    Millis(i64),
    /// `ARRAY`
    Array(Vec<Value>),
    /// `MAP`; a `MULTISET` is a map to counts.
    Map(Vec<(Value, Value)>),
    /// `ROW`
    Row(Row),
}

impl Value {
    /// Whether it is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The integer, of whatever width.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::TinyInt(v) => Some(i64::from(*v)),
            Self::SmallInt(v) => Some(i64::from(*v)),
            Self::Int(v) => Some(i64::from(*v)),
            Self::BigInt(v) => Some(*v),
            _ => None,
        }
    }

    /// The number, if it is one of floating point.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(v) => Some(f64::from(*v)),
            Self::Double(v) => Some(*v),
            _ => None,
        }
    }

    /// The string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(v) => Some(v),
            _ => None,
        }
    }

    /// The boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(v) => Some(*v),
            _ => None,
        }
    }

    /// Milliseconds since 1970-01-01 of a timestamp of either kind.
    pub fn as_epoch_millis(&self) -> Option<i64> {
        match self {
            Self::Timestamp(v, precision) | Self::TimestampLtz(v, precision) => rescale(*v, *precision, 3),
            _ => None,
        }
    }

    fn kind_name(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Boolean(_) => "a BOOLEAN",
            Self::TinyInt(_) => "a TINYINT",
            Self::SmallInt(_) => "a SMALLINT",
            Self::Int(_) => "an INT",
            Self::BigInt(_) => "a BIGINT",
            Self::Float(_) => "a FLOAT",
            Self::Double(_) => "a DOUBLE",
            Self::Decimal(..) => "a DECIMAL",
            Self::String(_) => "a STRING",
            Self::Bytes(_) => "BYTES",
            Self::Date(_) => "a DATE",
            Self::Time(_) => "a TIME",
            Self::Timestamp(..) => "a TIMESTAMP",
            Self::TimestampLtz(..) => "a TIMESTAMP_LTZ",
            Self::Months(_) | Self::Millis(_) => "an INTERVAL",
            Self::Array(_) => "an ARRAY",
            Self::Map(_) => "a MAP",
            Self::Row(_) => "a ROW",
        }
    }

    /// Appends the value as a field of `ty`, in the form of [`flott_core::encoding`]; integers may be narrower than the column.
    pub(super) fn write_field(&self, ty: &LogicalType, out: &mut Vec<u8>) -> Result<(), String> {
        if self.is_null() {
            out.push(0);
            return match ty.nullable {
                true => Ok(()),
                false => Err("NULL, but it is NOT NULL".to_owned()),
            };
        }
        out.push(1);
        let wrong = || Err(format!("{} ({self})", self.kind_name()));
        let bytes = |value: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(value);
            Ok(())
        };
        let count = |count: usize, out: &mut Vec<u8>| out.extend_from_slice(&(count as u32).to_le_bytes());
        macro_rules! put {
            ($value:expr) => {{
                out.extend_from_slice(&$value.to_le_bytes());
                Ok(())
            }};
        }
        match (&ty.kind, self) {
            (TypeKind::Boolean, Self::Boolean(v)) => put!(u8::from(*v)),
            (TypeKind::TinyInt, Self::TinyInt(v)) => put!(v),
            (TypeKind::SmallInt, v) if matches!(v, Self::TinyInt(_) | Self::SmallInt(_)) => {
                put!((v.as_i64().unwrap_or_default() as i16))
            }
            (TypeKind::Int, v) if v.as_i64().is_some() && !matches!(v, Self::BigInt(_)) => {
                put!((v.as_i64().unwrap_or_default() as i32))
            }
            (TypeKind::BigInt, v) if v.as_i64().is_some() => put!(v.as_i64().unwrap_or_default()),
            (TypeKind::Float, Self::Float(v)) => put!(v),
            (TypeKind::Double, Self::Double(v)) => put!(v),
            (TypeKind::Double, Self::Float(v)) => put!(f64::from(*v)),
            (TypeKind::Decimal(precision, scale), Self::Decimal(v, own)) => {
                let up = scale.checked_sub(*own).map(|up| 10i128.pow(u32::from(up)));
                let scaled = up.and_then(|up| v.checked_mul(up));
                match scaled.filter(|v| v.unsigned_abs() < 10u128.pow(u32::from(*precision))) {
                    Some(v) => put!(v),
                    None => wrong(),
                }
            }
            (TypeKind::Char(_) | TypeKind::Varchar(_), Self::String(v)) => bytes(v.as_bytes(), out),
            (TypeKind::Binary(_) | TypeKind::Varbinary(_), Self::Bytes(v)) => bytes(v, out),
            (TypeKind::Date, Self::Date(v)) | (TypeKind::Time(_), Self::Time(v)) => put!(v),
            (TypeKind::IntervalYearMonth, Self::Months(v)) => put!(v),
            (TypeKind::IntervalDayTime, Self::Millis(v)) => put!(v),
            (TypeKind::Timestamp(to), Self::Timestamp(v, own))
            | (TypeKind::TimestampLtz(to), Self::TimestampLtz(v, own)) => match rescale(*v, *own, *to) {
                Some(v) => put!(v),
                None => wrong(),
            },
            (TypeKind::Array(element), Self::Array(values)) => {
                count(values.len(), out);
                values.iter().try_for_each(|v| v.write_field(element, out))
            }
            (TypeKind::Map(key, value), Self::Map(entries)) => {
                count(entries.len(), out);
                entries.iter().try_for_each(|(k, v)| {
                    k.write_field(key, out)?;
                    v.write_field(value, out)
                })
            }
            (TypeKind::Multiset(element), Self::Map(entries)) => {
                count(entries.len(), out);
                let number = LogicalType::not_null(TypeKind::Int);
                entries.iter().try_for_each(|(k, v)| {
                    k.write_field(element, out)?;
                    v.write_field(&number, out)
                })
            }
            (TypeKind::Row(fields), Self::Row(row)) => row.write(fields, out),
            _ => wrong(),
        }
    }

    /// Reads a field of `ty`; `None`: the bytes are damaged.
    pub(super) fn read_field(ty: &LogicalType, bytes: &mut &[u8]) -> Option<Self> {
        fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
            let (head, rest) = bytes.split_first_chunk::<N>()?;
            *bytes = rest;
            Some(*head)
        }
        fn slice<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
            let count = u32::from_le_bytes(take(bytes)?) as usize;
            let (head, rest) = bytes.split_at_checked(count)?;
            *bytes = rest;
            Some(head)
        }
        let [1] = take::<1>(bytes)? else {
            return Some(Self::Null);
        };
        let entries = |key: &LogicalType, value: &LogicalType, bytes: &mut &[u8]| {
            let count = u32::from_le_bytes(take(bytes)?);
            let entry = |_| Some((Self::read_field(key, bytes)?, Self::read_field(value, bytes)?));
            (0..count).map(entry).collect::<Option<Vec<_>>>()
        };
        Some(match &ty.kind {
            TypeKind::Null => Self::Null,
            TypeKind::Boolean => Self::Boolean(take(bytes)? == [1]),
            TypeKind::TinyInt => Self::TinyInt(i8::from_le_bytes(take(bytes)?)),
            TypeKind::SmallInt => Self::SmallInt(i16::from_le_bytes(take(bytes)?)),
            TypeKind::Int => Self::Int(i32::from_le_bytes(take(bytes)?)),
            TypeKind::BigInt => Self::BigInt(i64::from_le_bytes(take(bytes)?)),
            TypeKind::Float => Self::Float(f32::from_le_bytes(take(bytes)?)),
            TypeKind::Double => Self::Double(f64::from_le_bytes(take(bytes)?)),
            TypeKind::Decimal(_, scale) => Self::Decimal(i128::from_le_bytes(take(bytes)?), *scale),
            TypeKind::Char(_) | TypeKind::Varchar(_) => Self::String(str::from_utf8(slice(bytes)?).ok()?.to_owned()),
            TypeKind::Binary(_) | TypeKind::Varbinary(_) => Self::Bytes(slice(bytes)?.to_vec()),
            TypeKind::Date => Self::Date(i32::from_le_bytes(take(bytes)?)),
            TypeKind::Time(_) => Self::Time(i32::from_le_bytes(take(bytes)?)),
            TypeKind::Timestamp(p) => Self::Timestamp(i64::from_le_bytes(take(bytes)?), *p),
            TypeKind::TimestampLtz(p) => Self::TimestampLtz(i64::from_le_bytes(take(bytes)?), *p),
            TypeKind::IntervalYearMonth => Self::Months(i32::from_le_bytes(take(bytes)?)),
            TypeKind::IntervalDayTime => Self::Millis(i64::from_le_bytes(take(bytes)?)),
            TypeKind::Array(element) => {
                let count = u32::from_le_bytes(take(bytes)?);
                let values = (0..count).map(|_| Self::read_field(element, bytes));
                Self::Array(values.collect::<Option<_>>()?)
            }
            TypeKind::Map(key, value) => Self::Map(entries(key, value, bytes)?),
            TypeKind::Multiset(element) => Self::Map(entries(element, &LogicalType::not_null(TypeKind::Int), bytes)?),
            TypeKind::Row(fields) => {
                let values = fields.iter().map(|f| Self::read_field(&f.ty, bytes));
                Self::Row(Row {
                    kind: RowKind::Insert,
                    values: values.collect::<Option<_>>()?,
                    names: Some(fields.iter().map(|f| f.name.clone()).collect()),
                })
            }
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: fmt::Display>(items: &[T], f: &mut fmt::Formatter<'_>) -> fmt::Result {
            items
                .iter()
                .enumerate()
                .try_for_each(|(i, item)| write!(f, "{}{item}", if i > 0 { ", " } else { "" }))
        }
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(v) => write!(f, "{v}"),
            Self::TinyInt(v) => write!(f, "{v}"),
            Self::SmallInt(v) => write!(f, "{v}"),
            Self::Int(v) => write!(f, "{v}"),
            Self::BigInt(v) | Self::Millis(v) => write!(f, "{v}"),
            Self::Months(v) => write!(f, "{v}"),
            Self::Float(v) => write_real(*v, f),
            Self::Double(v) => write_double(*v, f),
            Self::Decimal(v, scale) => write_decimal(*v, *scale, f),
            Self::String(v) => f.write_str(v),
            Self::Bytes(v) => {
                f.write_str("[")?;
                list(&v.iter().map(|b| *b as i8).collect::<Vec<_>>(), f)?;
                f.write_str("]")
            }
            Self::Date(v) => write!(f, "{}", Date::from_epoch_days(*v)),
            Self::Time(v) => write!(f, "{}", Time::from_millis_of_day(*v)),
            Self::Timestamp(v, precision) => write_timestamp(*v, *precision, false, f),
            Self::TimestampLtz(v, precision) => write_timestamp(*v, *precision, true, f),
            Self::Array(values) => {
                f.write_str("[")?;
                list(values, f)?;
                f.write_str("]")
            }
            Self::Map(entries) => {
                f.write_str("{")?;
                for (i, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key}={value}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("}")
            }
            Self::Row(row) => write!(f, "{row}"),
        }
    }
}

macro_rules! values {
    ($($ty:ty => $variant:ident),*) => {
        $(impl From<$ty> for Value {
            fn from(value: $ty) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

values!(
    bool => Boolean, i8 => TinyInt, i16 => SmallInt, i32 => Int, i64 => BigInt, f32 => Float, f64 => Double, &str => String,
    String => String, Row => Row
);

/// `None` is NULL.
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Self::Array(values.into_iter().map(Into::into).collect())
    }
}

/// Values of a row in order: tuples, arrays and vectors of what can be a [`Value`].
pub trait IntoValues {
    /// The values.
    fn into_values(self) -> Vec<Value>;
}

impl<T: Into<Value>> IntoValues for Vec<T> {
    fn into_values(self) -> Vec<Value> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Into<Value>, const N: usize> IntoValues for [T; N] {
    fn into_values(self) -> Vec<Value> {
        self.into_iter().map(Into::into).collect()
    }
}

macro_rules! tuples {
    ($($t:ident $index:tt),*) => {
        impl<$($t: Into<Value>),*> IntoValues for ($($t,)*) {
            fn into_values(self) -> Vec<Value> {
                vec![$(self.$index.into()),*]
            }
        }
    };
}

tuples!(A 0);
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, G 5);
tuples!(A 0, B 1, C 2, D 3, E 4, G 5, H 6);
tuples!(A 0, B 1, C 2, D 3, E 4, G 5, H 6, I 7);

/// A record of columns that are known when the job runs, and what it says about a table's change.
///
/// ```
/// use flott::table::{Row, RowKind};
/// let row = Row::of_kind(RowKind::UpdateAfter, ("Alice", 12));
/// assert_eq!(row.to_string(), "+U[Alice, 12]");
/// assert_eq!(row.get(1).and_then(|v| v.as_i64()), Some(12));
/// ```
///
/// Rows that come from a table know the names of their columns ([`Row::field`]); rows of one kind with the same values are equal, whatever the
/// names. As text a row is what Flink prints, and from text none is read.
#[derive(Clone)]
pub struct Row {
    kind: RowKind,
    values: Vec<Value>,
    names: Option<Arc<[String]>>,
}

impl Row {
    /// An insertion.
    pub fn of(values: impl IntoValues) -> Self {
        Self::of_kind(RowKind::Insert, values)
    }

    /// A change.
    pub fn of_kind(kind: RowKind, values: impl IntoValues) -> Self {
        Self {
            kind,
            values: values.into_values(),
            names: None,
        }
    }

    pub(super) fn named(kind: RowKind, values: Vec<Value>, names: &Arc<[String]>) -> Self {
        Self {
            kind,
            values,
            names: Some(names.clone()),
        }
    }

    /// What it says about a table's change.
    pub fn kind(&self) -> RowKind {
        self.kind
    }

    /// Makes it another change.
    pub fn set_kind(&mut self, kind: RowKind) {
        self.kind = kind;
    }

    /// Number of columns.
    pub fn arity(&self) -> usize {
        self.values.len()
    }

    /// The values.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The value of the column at a place, from 0.
    pub fn get(&self, place: usize) -> Option<&Value> {
        self.values.get(place)
    }

    /// The value of the column of this name; `None` also where the row does not know its names.
    pub fn field(&self, name: &str) -> Option<&Value> {
        let place = self.names.as_ref()?.iter().position(|n| n == name)?;
        self.values.get(place)
    }

    /// The names of the columns, if it knows them.
    pub fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// Appends the values as fields; by place, whatever the names.
    pub(super) fn write(&self, fields: &[Field], out: &mut Vec<u8>) -> Result<(), String> {
        if self.values.len() != fields.len() {
            let columns: Vec<String> = fields.iter().map(|f| format!("{} {}", f.name, f.ty)).collect();
            return Err(format!(
                "the row {self} has {} values, and its table {} columns ({})",
                self.values.len(),
                fields.len(),
                columns.join(", ")
            ));
        }
        self.values.iter().zip(fields).try_for_each(|(value, field)| {
            let written = value.write_field(&field.ty, out);
            written.map_err(|held| {
                format!(
                    "column '{}' is {}, and the row {self} holds {held}",
                    field.name, field.ty
                )
            })
        })
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.values == other.values
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.short())?;
        f.write_str("[")?;
        for (i, value) in self.values.iter().enumerate() {
            write!(f, "{}{value}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => (self.kind as u8, &self.values, self.names.as_deref()).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Err(serde::de::Error::custom(
                "a Row cannot be read from text: read a struct",
            ));
        }
        let (kind, values, names) = <(u8, Vec<Value>, Option<Vec<String>>)>::deserialize(deserializer)?;
        let kind = RowKind::from_u8(kind).ok_or_else(|| serde::de::Error::custom("no RowKind has this number"))?;
        Ok(Self {
            kind,
            values,
            names: names.map(shared),
        })
    }
}

/// Names of rows that come one after the other are mostly the same, and are kept once.
fn shared(names: Vec<String>) -> Arc<[String]> {
    thread_local! {
        static LAST: RefCell<Arc<[String]>> = RefCell::new(Arc::from([]));
    }
    LAST.with_borrow_mut(|last| {
        if **last != *names {
            *last = names.into();
        }
        last.clone()
    })
}

/// A typed change: what a [`Row`] says, of a record whose columns are known when the program is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<T> {
    /// What is said.
    pub kind: RowKind,
    /// Of which row.
    pub row: T,
}

impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => (self.kind.short(), &self.row).serialize(serializer),
            false => (self.kind as u8, &self.row).serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Err(serde::de::Error::custom("a Change cannot be read from text"));
        }
        let (kind, row) = <(u8, T)>::deserialize(deserializer)?;
        let kind = RowKind::from_u8(kind).ok_or_else(|| serde::de::Error::custom("no RowKind has this number"))?;
        Ok(Self { kind, row })
    }
}
