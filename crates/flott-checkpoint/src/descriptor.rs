//! What a state table holds, as data: stored in every manifest, so that state can be read without the job.

use flott_core::LogicalType;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A keyed state table of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDescriptor {
    /// Name of the state, unique within its operator.
    pub name: String,
    /// Fields of the key, in order.
    pub key: Vec<LogicalType>,
    /// How many leading key fields decide the key group. All of them, unless the table lists values of another
    /// table's key (a distinct set): then it must move with that key.
    pub placement_fields: usize,
    /// The values of a key.
    pub columns: Vec<ColumnDescriptor>,
}

/// A value column of a state table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDescriptor {
    /// Name, unique within the table; restore finds columns by it.
    pub name: String,
    /// Storage type.
    #[serde(rename = "type")]
    pub ty: ColumnType,
    /// Whether a slot may hold NULL; if so, a new slot does. BYTES columns are always nullable.
    pub nullable: bool,
    /// Type of the Rust values whose encoding the bytes are, if they are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<LogicalType>,
}

/// How the values of a column are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// 64-bit integers: counts, integer sums, dates and timestamps too.
    I64,
    /// 64-bit floating-point numbers.
    F64,
    /// 128-bit integers: decimals, sums that may pass 64 bits.
    I128,
    /// Flags.
    Bool,
    /// Byte strings of any length: strings, encoded rows.
    Bytes,
}

impl TableDescriptor {
    /// A table placed by its whole key, without value columns; add them with [`Self::column`] and [`Self::nullable`].
    pub fn new(name: impl Into<String>, key: Vec<LogicalType>) -> Self {
        Self {
            name: name.into(),
            placement_fields: key.len(),
            key,
            columns: Vec::new(),
        }
    }

    /// The table placed by its first `fields` key fields only.
    pub fn placed_by(mut self, fields: usize) -> Self {
        self.placement_fields = fields;
        self
    }

    /// Adds a column whose new slots hold zero (BYTES: NULL).
    pub fn column(mut self, name: impl Into<String>, ty: ColumnType) -> Self {
        self.columns.push(ColumnDescriptor {
            name: name.into(),
            ty,
            nullable: ty == ColumnType::Bytes,
            value: None,
        });
        self
    }

    /// Adds a column whose new slots hold NULL.
    pub fn nullable(mut self, name: impl Into<String>, ty: ColumnType) -> Self {
        self.columns.push(ColumnDescriptor {
            name: name.into(),
            ty,
            nullable: true,
            value: None,
        });
        self
    }

    /// Adds a column of encoded values of a type, whose new slots hold NULL.
    pub fn values(mut self, name: impl Into<String>, value: LogicalType) -> Self {
        self.columns.push(ColumnDescriptor {
            name: name.into(),
            ty: ColumnType::Bytes,
            nullable: true,
            value: Some(value),
        });
        self
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I64 => "i64",
            Self::F64 => "f64",
            Self::I128 => "i128",
            Self::Bool => "bool",
            Self::Bytes => "bytes",
        })
    }
}
