//! A resolved table.

use crate::expr::Expr;
use crate::parser::Source;
use crate::parser::ast::CreateTable;
use crate::rel::TimeKind;
use flott_core::{Field, LogicalType};
use flott_runtime::connector::TableSpec;
use sqlparser::tokenizer::Location;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A table: what was declared, with every expression over its *raw* columns: the physical ones in order, then the
/// metadata ones in order.
#[derive(Debug)]
pub struct Table {
    /// What the connector judges.
    pub spec: TableSpec,
    /// Columns in declared order.
    pub columns: Vec<Column>,
    /// `WATERMARK FOR`.
    pub watermark: Option<Watermark>,
    /// What was written.
    pub definition: CreateTable,
    /// Where each option stands in the script.
    pub option_places: BTreeMap<String, Location>,
    /// Where the table was written.
    pub source: Arc<Source>,
}

/// A column that queries see.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: LogicalType,
    /// Its value over the raw columns.
    pub expr: Expr,
    /// Time attribute.
    pub time: Option<TimeKind>,
    /// Whether an INSERT fills it: physical, or metadata that is not VIRTUAL.
    pub persisted: bool,
}

/// `WATERMARK FOR column AS expr`.
#[derive(Debug, Clone)]
pub struct Watermark {
    /// Position of the column.
    pub column: usize,
    /// The watermark of a row, over the raw columns.
    pub expr: Expr,
}

impl PartialEq for Table {
    /// Tables of one session are the same when they were declared the same.
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

impl Eq for Table {}

impl Table {
    /// Its raw columns: physical, then metadata with their declared types.
    pub fn raw(&self) -> Vec<Field> {
        let metadata = self.spec.metadata.iter();
        self.spec
            .columns
            .iter()
            .cloned()
            .chain(metadata.map(|m| Field::new(m.name.clone(), m.ty.clone())))
            .collect()
    }

    /// Columns that an INSERT fills, in declared order.
    pub fn sink_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|c| c.persisted)
    }
}
