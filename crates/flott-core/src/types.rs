//! Flink's logical types, their text form and their Arrow layout.
//!
//! | Flink | Arrow |
//! |---|---|
//! | CHAR, VARCHAR/STRING | Utf8 |
//! | BINARY, VARBINARY/BYTES | Binary |
//! | DECIMAL(p, s) | Decimal128(p, s) |
//! | TIME | Time32(ms) |
//! | TIMESTAMP(p), TIMESTAMP_LTZ(p) | Timestamp(ms for p ≤ 3, µs for p ≤ 6, else ns), without a zone: the type says what it means |
//! | INTERVAL YEAR TO MONTH / DAY TO SECOND | Int32 months / Int64 ms |
//! | ARRAY, MAP, MULTISET, ROW | List, Map, Map to Int32, Struct |

use arrow_schema::{DataType, Field as ArrowField, Fields, TimeUnit};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Length of STRING and BYTES.
pub const MAX_LENGTH: u32 = i32::MAX as u32;

/// A type with its nullability.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogicalType {
    /// What values it has.
    pub kind: TypeKind,
    /// Whether NULL is one of them.
    pub nullable: bool,
}

/// A named column or ROW field.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    /// Name, case-sensitive as in Flink.
    pub name: String,
    /// Type of its values.
    pub ty: LogicalType,
}

/// The kinds of Flink SQL's types.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TypeKind {
    /// The type of a bare NULL literal.
    Null,
    /// BOOLEAN
    Boolean,
    /// TINYINT
    TinyInt,
    /// SMALLINT
    SmallInt,
    /// INT
    Int,
    /// BIGINT
    BigInt,
    /// FLOAT
    Float,
    /// DOUBLE
    Double,
    /// DECIMAL(precision, scale)
    Decimal(u8, u8),
    /// CHAR(length), in characters
    Char(u32),
    /// VARCHAR(length); STRING is VARCHAR([`MAX_LENGTH`])
    Varchar(u32),
    /// BINARY(length), in bytes
    Binary(u32),
    /// VARBINARY(length); BYTES is VARBINARY([`MAX_LENGTH`])
    Varbinary(u32),
    /// DATE
    Date,
    /// TIME(precision); Flink keeps milliseconds at most
    Time(u8),
    /// TIMESTAMP(precision), a wall-clock time without a zone
    Timestamp(u8),
    /// TIMESTAMP_LTZ(precision), an instant
    TimestampLtz(u8),
    /// INTERVAL YEAR TO MONTH
    IntervalYearMonth,
    /// INTERVAL DAY TO SECOND
    IntervalDayTime,
    /// ARRAY<element>
    Array(Box<LogicalType>),
    /// MAP<key, value>
    Map(Box<LogicalType>, Box<LogicalType>),
    /// MULTISET<element>
    Multiset(Box<LogicalType>),
    /// ROW<fields>
    Row(Vec<Field>),
}

impl LogicalType {
    /// The nullable type of a kind.
    pub fn new(kind: TypeKind) -> Self {
        Self { kind, nullable: true }
    }

    /// The NOT NULL type of a kind.
    pub fn not_null(kind: TypeKind) -> Self {
        Self { kind, nullable: false }
    }

    /// STRING.
    pub fn string() -> Self {
        Self::new(TypeKind::Varchar(MAX_LENGTH))
    }

    /// BIGINT.
    pub fn bigint() -> Self {
        Self::new(TypeKind::BigInt)
    }

    /// INT.
    pub fn int() -> Self {
        Self::new(TypeKind::Int)
    }

    /// BOOLEAN.
    pub fn boolean() -> Self {
        Self::new(TypeKind::Boolean)
    }

    /// The same kind with this nullability.
    pub fn with_nullable(&self, nullable: bool) -> Self {
        Self {
            kind: self.kind.clone(),
            nullable,
        }
    }

    /// The Arrow type of its values.
    pub fn to_arrow(&self) -> DataType {
        self.kind.to_arrow()
    }
}

impl Field {
    /// A field of this name and type.
    pub fn new(name: impl Into<String>, ty: LogicalType) -> Self {
        Self { name: name.into(), ty }
    }

    /// Its Arrow field.
    pub fn to_arrow(&self) -> ArrowField {
        ArrowField::new(&self.name, self.ty.to_arrow(), self.ty.nullable)
    }
}

/// The Arrow fields of a row type.
pub fn arrow_fields(fields: &[Field]) -> Fields {
    fields.iter().map(Field::to_arrow).collect()
}

impl TypeKind {
    /// The Arrow type of values of this kind (see the module's table).
    pub fn to_arrow(&self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Boolean => DataType::Boolean,
            Self::TinyInt => DataType::Int8,
            Self::SmallInt => DataType::Int16,
            Self::Int | Self::IntervalYearMonth => DataType::Int32,
            Self::BigInt | Self::IntervalDayTime => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal(p, s) => DataType::Decimal128(*p, *s as i8),
            Self::Char(_) | Self::Varchar(_) => DataType::Utf8,
            Self::Binary(_) | Self::Varbinary(_) => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time(_) => DataType::Time32(TimeUnit::Millisecond),
            Self::Timestamp(p) | Self::TimestampLtz(p) => DataType::Timestamp(timestamp_unit(*p), None),
            Self::Array(e) => DataType::List(Arc::new(ArrowField::new("element", e.to_arrow(), e.nullable))),
            Self::Map(k, v) => map_type(k.to_arrow(), v.to_arrow(), v.nullable),
            Self::Multiset(e) => map_type(e.to_arrow(), DataType::Int32, false),
            Self::Row(fields) => DataType::Struct(arrow_fields(fields)),
        }
    }

    /// CHAR or VARCHAR.
    pub fn is_string(&self) -> bool {
        matches!(self, Self::Char(_) | Self::Varchar(_))
    }

    /// BINARY or VARBINARY.
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_) | Self::Varbinary(_))
    }

    /// TINYINT to BIGINT.
    pub fn is_integer(&self) -> bool {
        matches!(self, Self::TinyInt | Self::SmallInt | Self::Int | Self::BigInt)
    }

    /// Integers, DECIMAL, FLOAT, DOUBLE.
    pub fn is_numeric(&self) -> bool {
        self.is_integer() || matches!(self, Self::Decimal(..) | Self::Float | Self::Double)
    }

    /// TIMESTAMP or TIMESTAMP_LTZ.
    pub fn is_timestamp(&self) -> bool {
        matches!(self, Self::Timestamp(_) | Self::TimestampLtz(_))
    }
}

/// Unit that holds a timestamp of this precision: ms up to 3, µs up to 6, ns up to 9 (years 1677 to 2262).
pub fn timestamp_unit(precision: u8) -> TimeUnit {
    match precision {
        0..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

fn map_type(key: DataType, value: DataType, value_nullable: bool) -> DataType {
    let entries = Fields::from(vec![
        ArrowField::new("key", key, false),
        ArrowField::new("value", value, value_nullable),
    ]);
    DataType::Map(
        Arc::new(ArrowField::new("entries", DataType::Struct(entries), false)),
        false,
    )
}

impl fmt::Display for LogicalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, if self.nullable { "" } else { " NOT NULL" })
    }
}

impl fmt::Display for TypeKind {
    /// Flink's summary text, with STRING and BYTES for the longest lengths.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::TinyInt => f.write_str("TINYINT"),
            Self::SmallInt => f.write_str("SMALLINT"),
            Self::Int => f.write_str("INT"),
            Self::BigInt => f.write_str("BIGINT"),
            Self::Float => f.write_str("FLOAT"),
            Self::Double => f.write_str("DOUBLE"),
            Self::Decimal(p, s) => write!(f, "DECIMAL({p}, {s})"),
            Self::Char(n) => write!(f, "CHAR({n})"),
            Self::Varchar(n) if *n == MAX_LENGTH => f.write_str("STRING"),
            Self::Varchar(n) => write!(f, "VARCHAR({n})"),
            Self::Binary(n) => write!(f, "BINARY({n})"),
            Self::Varbinary(n) if *n == MAX_LENGTH => f.write_str("BYTES"),
            Self::Varbinary(n) => write!(f, "VARBINARY({n})"),
            Self::Date => f.write_str("DATE"),
            Self::Time(p) => write!(f, "TIME({p})"),
            Self::Timestamp(p) => write!(f, "TIMESTAMP({p})"),
            Self::TimestampLtz(p) => write!(f, "TIMESTAMP_LTZ({p})"),
            Self::IntervalYearMonth => f.write_str("INTERVAL YEAR TO MONTH"),
            Self::IntervalDayTime => f.write_str("INTERVAL DAY TO SECOND(3)"),
            Self::Array(e) => write!(f, "ARRAY<{e}>"),
            Self::Map(k, v) => write!(f, "MAP<{k}, {v}>"),
            Self::Multiset(e) => write!(f, "MULTISET<{e}>"),
            Self::Row(fields) => {
                f.write_str("ROW<")?;
                for (i, field) in fields.iter().enumerate() {
                    write!(f, "{}`{}` {}", if i > 0 { ", " } else { "" }, field.name, field.ty)?;
                }
                f.write_str(">")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_print_as_flink_prints_them() {
        let row = LogicalType::new(TypeKind::Row(vec![
            Field::new("a", LogicalType::not_null(TypeKind::BigInt)),
            Field::new("b", LogicalType::new(TypeKind::Array(Box::new(LogicalType::string())))),
        ]));
        assert_eq!(row.to_string(), "ROW<`a` BIGINT NOT NULL, `b` ARRAY<STRING>>");
        assert_eq!(LogicalType::new(TypeKind::Decimal(23, 3)).to_string(), "DECIMAL(23, 3)");
    }

    #[test]
    fn precision_chooses_the_unit() {
        assert_eq!(
            TypeKind::Timestamp(3).to_arrow(),
            DataType::Timestamp(TimeUnit::Millisecond, None)
        );
        assert_eq!(
            TypeKind::TimestampLtz(6).to_arrow(),
            DataType::Timestamp(TimeUnit::Microsecond, None)
        );
        assert_eq!(
            TypeKind::Timestamp(9).to_arrow(),
            DataType::Timestamp(TimeUnit::Nanosecond, None)
        );
    }
}
