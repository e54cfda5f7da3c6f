//! Nodes that treat rows one by one: projection, UNNEST, constants, and what stands before a sink.

use crate::expr::{Expr, Literal};
use flott_core::{Field, LogicalType, TypeKind};
use serde::{Deserialize, Serialize};

/// Condition, then projection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalcSpec {
    /// Output columns.
    pub projection: Vec<Expr>,
    /// Rows for which this is not TRUE are dropped.
    pub condition: Option<Expr>,
    /// `table.local-time-zone`.
    pub time_zone: String,
}

/// Kind of the watermark generator that runs a [`WatermarkExpressionSpec`], for `WatermarkSpec::kind` of a scan.
pub const WATERMARK_GENERATOR: &str = "sql-expression";

/// Watermarks made by an expression over the columns of a scan; the source makes them per split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatermarkExpressionSpec {
    /// The watermark that a row gives, as TIMESTAMP or TIMESTAMP_LTZ.
    pub expression: Expr,
    /// `table.local-time-zone`.
    pub time_zone: String,
}

/// Whether input rows without elements stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CorrelateJoin {
    /// CROSS JOIN: they vanish.
    Inner,
    /// LEFT JOIN … ON TRUE: they stay with NULLs.
    Left,
}

/// UNNEST: each input row once per element of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorrelateUnnestSpec {
    /// Columns of the input.
    pub input: Vec<Field>,
    /// The ARRAY, MAP or MULTISET, over the input's columns.
    pub collection: Expr,
    /// CROSS or LEFT.
    pub join: CorrelateJoin,
    /// WITH ORDINALITY: a column with the element's position, from 1.
    pub ordinality: bool,
    /// Input columns that readers need, in output order; the others are not copied.
    pub keep: Vec<usize>,
    /// Names of the element's columns (a ROW element has one a field, a MAP key and value), and the ordinality's last.
    pub names: Vec<String>,
    /// `table.local-time-zone`.
    pub time_zone: String,
}

impl CorrelateUnnestSpec {
    /// Types of the columns that the collection adds, the ordinality included.
    pub fn element_types(&self) -> Vec<LogicalType> {
        let nullable = |t: &LogicalType| match self.join {
            CorrelateJoin::Left => t.with_nullable(true),
            CorrelateJoin::Inner => t.clone(),
        };
        let mut types = match &self.collection.ty().kind {
            TypeKind::Array(element) | TypeKind::Multiset(element) => match &element.kind {
                TypeKind::Row(fields) => fields
                    .iter()
                    .map(|f| nullable(&f.ty.with_nullable(f.ty.nullable || element.nullable)))
                    .collect(),
                _ => vec![nullable(element)],
            },
            TypeKind::Map(key, value) => vec![nullable(key), nullable(value)],
            _ => vec![],
        };
        if self.ordinality {
            types.push(nullable(&LogicalType::not_null(TypeKind::Int)));
        }
        types
    }

    /// Kept input columns, then the element's.
    pub fn output(&self) -> Vec<Field> {
        let mut fields: Vec<Field> = self.keep.iter().map(|&k| self.input[k].clone()).collect();
        let types = self.element_types();
        fields.extend(
            self.names
                .iter()
                .zip(types)
                .map(|(name, ty)| Field::new(name.clone(), ty)),
        );
        fields
    }
}

/// A set of GROUPING SETS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpandSet {
    /// For each key, whether the set has it.
    pub has: Vec<bool>,
    /// The set's number, as GROUPING_ID of all keys: a bit for each key that it has not, the first key's the highest.
    pub id: i64,
}

/// GROUPING SETS: each input row once per set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpandSpec {
    /// Columns of the input.
    pub input: Vec<Field>,
    /// Columns that are repeated behind the input's, NULL where the set has them not.
    pub keys: Vec<usize>,
    /// The sets, in the order of a row's copies.
    pub sets: Vec<ExpandSet>,
}

impl ExpandSpec {
    /// The input's columns, the keys, `$e`.
    pub fn output(&self) -> Vec<Field> {
        let keys = self.keys.iter().map(|&k| {
            let field = &self.input[k];
            Field::new(field.name.clone(), field.ty.with_nullable(true))
        });
        let id = Field::new("$e", LogicalType::not_null(TypeKind::BigInt));
        self.input.iter().cloned().chain(keys).chain([id]).collect()
    }
}

/// Constant rows, emitted once by one subtask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValuesSpec {
    /// Columns.
    pub fields: Vec<Field>,
    /// Rows of literals.
    pub rows: Vec<Vec<Literal>>,
}

/// What becomes of -U rows before a sink that knows rows by their key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropUpdateBeforeSpec {
    /// They become -D instead of vanishing: behind a condition, the +U that would replace the row may be missing.
    #[serde(default)]
    pub as_delete: bool,
}

/// What happens to a NULL in a NOT NULL column (`table.exec.sink.not-null-enforcer`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotNullEnforcer {
    /// The job fails.
    #[default]
    Error,
    /// The row is dropped.
    Drop,
}

/// What happens to a CHAR, VARCHAR, BINARY or VARBINARY of another length (`table.exec.sink.type-length-enforcer`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TypeLengthEnforcer {
    /// Written as it is.
    #[default]
    Ignore,
    /// Cut, and CHAR and BINARY padded.
    TrimPad,
    /// The job fails.
    Error,
}

/// Where inside columns NOT NULL and lengths are enforced (`table.exec.sink.nested-constraint-enforcer`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NestedEnforcer {
    /// Nowhere: columns only.
    #[default]
    Ignore,
    /// In fields of rows too.
    Rows,
    /// In elements, keys and values of collections too.
    RowsAndCollections,
}

/// Checks before a sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkConstraintsSpec {
    /// The table's name, for messages.
    pub table: String,
    /// Columns of the sink; NOT NULL types are enforced.
    pub columns: Vec<Field>,
    /// What to do with NULLs.
    pub not_null: NotNullEnforcer,
    /// What to do with lengths.
    pub type_length: TypeLengthEnforcer,
    /// Where inside columns both are looked for.
    #[serde(default)]
    pub nested: NestedEnforcer,
    /// The sink is a stream of a program, for messages.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_stream: bool,
}
