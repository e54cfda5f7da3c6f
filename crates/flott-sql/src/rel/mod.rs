//! The relational tree: what a query means, with Flink's types, time attributes and window columns, free of names and
//! positions in text.
//!
//! Binding makes a tree, [`crate::rules`] rewrite it, [`crate::physical`] turns it into a plan's nodes. Invariants:
//! every node's `fields` describe exactly its output; expressions refer to the node's input by position; a
//! [`RelOp::Calc`] filters before it projects. Trees are compared with `==` to find shared sub-trees.

mod changelog;
mod course;
mod display;
mod keys;

pub use changelog::{Changelog, ModifyKinds};
pub use course::{Course, courses};
pub use display::{call_text, duration_text, names_of, order_text, sets_text, window_text};
pub use keys::upsert_keys;

use crate::catalog::Table;
use crate::expr::{Expr, Literal};
use crate::nodes::{
    CallDetail, CorrelateJoin, EmitSpec, ExpandSet, OverFrame, SortKey, WindowPropertyKind, WindowSpec,
};
use flott_core::{Field, LogicalType};
use flott_runtime::connector::{ChangelogMode, MetadataKey, TableInfo};
use flott_runtime::partition_filter::PartitionFilter;
use std::sync::Arc;

/// What a column is to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeKind {
    /// It has a watermark.
    Rowtime,
    /// It is the clock when the row is met.
    Proctime,
}

/// Marks a column as a property of the window that a table function cut; the id tells the functions of a query apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowMark {
    /// Which window function of the query.
    pub id: u32,
    /// Which property.
    pub kind: WindowPropertyKind,
}

/// A column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelField {
    /// Its name; need not be unique.
    pub name: String,
    /// Its type.
    pub ty: LogicalType,
    /// Time attribute.
    pub time: Option<TimeKind>,
    /// Window column.
    pub window: Option<WindowMark>,
}

impl RelField {
    /// A column that is neither a time attribute nor a window column.
    pub fn new(name: impl Into<String>, ty: LogicalType) -> Self {
        Self {
            name: name.into(),
            ty,
            time: None,
            window: None,
        }
    }

    /// Its name and type.
    pub fn to_field(&self) -> Field {
        Field::new(self.name.clone(), self.ty.clone())
    }

    /// The same column under another name.
    #[must_use]
    pub fn renamed(&self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..self.clone()
        }
    }
}

/// A relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rel {
    /// What it does.
    pub op: RelOp,
    /// Its columns.
    pub fields: Vec<RelField>,
}

/// The operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelOp {
    /// Reads a table.
    Scan(Scan),
    /// Constant rows.
    Values(Vec<Vec<Literal>>),
    /// Condition, then projection.
    Calc {
        /// Its input.
        input: Box<Rel>,
        /// Output columns over the input.
        projection: Vec<Expr>,
        /// Rows for which it is not TRUE vanish.
        condition: Option<Expr>,
    },
    /// `TABLE(TUMBLE(…))` and alike: appends window_start, window_end, window_time.
    WindowTvf {
        /// Its input.
        input: Box<Rel>,
        /// How it cuts.
        window: WindowSpec,
        /// Column of the time attribute.
        time_column: usize,
        /// Columns that tell sessions apart.
        partition: Vec<usize>,
        /// `GROUP BY TUMBLE(…)` and alike: the grouping above is the window's own.
        legacy: bool,
    },
    /// GROUPING SETS: each row once per set. Appends the keys (NULL where the set has them not) and the set's number.
    Expand {
        /// Its input.
        input: Box<Rel>,
        /// Keys that some set has not.
        keys: Vec<usize>,
        /// The sets.
        sets: Vec<ExpandSet>,
    },
    /// `GROUP BY`, `DISTINCT`.
    Aggregate {
        /// Its input.
        input: Box<Rel>,
        /// Grouping columns; they are the first columns of the output.
        keys: Vec<usize>,
        /// Aggregates, behind them.
        calls: Vec<AggCall>,
    },
    /// `GROUP BY window_start, window_end, …` over a window function: made by a rule, never by the binder.
    WindowAggregate(WindowAggregate),
    /// Aggregates OVER the rows before each row: the input's columns, then the calls.
    Over(OverAggregate),
    /// `ORDER BY`, `LIMIT`: the input's columns.
    Sort(Sort),
    /// `UNION ALL`.
    Union {
        /// Two or more inputs of equal types.
        inputs: Vec<Rel>,
    },
    /// `CROSS JOIN UNNEST(…)`: kept input columns, then the element's.
    Unnest {
        /// Its input.
        input: Box<Rel>,
        /// The collection, over the input.
        collection: Expr,
        /// CROSS or LEFT.
        join: CorrelateJoin,
        /// WITH ORDINALITY.
        ordinality: bool,
        /// Input columns that go on.
        keep: Vec<usize>,
        /// Names of the element's columns.
        names: Vec<String>,
    },
}

/// Reads a table: its physical columns, then its metadata, narrowed by the projection rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The table.
    pub table: Arc<Table>,
    /// Its options with those of hints.
    pub options: flott_core::Options,
    /// What the connector says of it.
    pub traits: ScanTraits,
    /// Physical fields to read; a ROW may have fewer fields than declared.
    pub physical: Vec<Field>,
    /// Metadata to read.
    pub metadata: Vec<MetadataKey>,
    /// The watermark of a row, over the scan's columns, and the name of the column that it is for.
    pub watermark: Option<(String, Expr)>,
    /// Which partitions need not be read.
    pub partitions: Option<PartitionFilter>,
}

/// What planning needs of [`TableInfo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanTraits {
    /// Row kinds.
    pub changelog: ChangelogMode,
    /// Whether it ends.
    pub bounded: bool,
    /// Whether splits may be idle for long.
    pub splits_may_idle: bool,
}

impl From<&TableInfo> for ScanTraits {
    fn from(info: &TableInfo) -> Self {
        Self {
            changelog: info.changelog,
            bounded: info.boundedness == flott_runtime::connector::Boundedness::Bounded,
            splits_may_idle: info.splits_may_idle,
        }
    }
}

/// One aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggCall {
    /// `COUNT`, `SUM`, …
    pub function: String,
    /// Input columns.
    pub args: Vec<usize>,
    /// DISTINCT.
    pub distinct: bool,
    /// FILTER: a BOOLEAN input column.
    pub filter: Option<usize>,
    /// Type of the result.
    pub ty: LogicalType,
    /// Name of the result.
    pub name: String,
    /// What it says besides.
    pub detail: CallDetail,
}

/// Aggregates per key and window: keys, aggregates, properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowAggregate {
    /// Its input.
    pub input: Box<Rel>,
    /// Grouping columns besides the window.
    pub keys: Vec<usize>,
    /// Aggregates.
    pub calls: Vec<AggCall>,
    /// How the window is cut.
    pub window: WindowSpec,
    /// What it is cut by.
    pub time: WindowTime,
    /// Window columns of the output, with their names.
    pub properties: Vec<(WindowPropertyKind, String)>,
    /// `GROUP BY TUMBLE(…)` and alike.
    pub legacy: bool,
    /// Firing before and behind the windows' ends.
    pub emit: Option<EmitSpec>,
}

/// Aggregates of the rows before each row of its partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverAggregate {
    /// Its input.
    pub input: Box<Rel>,
    /// PARTITION BY.
    pub partition: Vec<usize>,
    /// ORDER BY: a time attribute, or another column where the frame has no bound.
    pub order: usize,
    /// Which rows before a row count.
    pub frame: OverFrame,
    /// Aggregates.
    pub calls: Vec<AggCall>,
}

/// Rows in an order, or the first ones of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    /// Its input.
    pub input: Box<Rel>,
    /// ORDER BY; empty: the order of arrival.
    pub order: Vec<SortKey>,
    /// OFFSET.
    pub offset: u64,
    /// LIMIT, FETCH.
    pub fetch: Option<u64>,
}

/// What a window is cut by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowTime {
    /// A time attribute of the input.
    Rowtime {
        /// Its position.
        column: usize,
    },
    /// The clock.
    Proctime,
    /// The input has window columns already.
    Attached {
        /// Position of its window_end.
        window_end: usize,
        /// Whether those windows were cut in local time.
        local_time: bool,
        /// Whether those windows were cut by the clock.
        proctime: bool,
    },
}

impl Rel {
    /// A projection with a condition; columns that are passed on keep their time and window marks.
    pub fn calc(input: Rel, columns: Vec<(String, Expr)>, condition: Option<Expr>) -> Self {
        let fields = columns
            .iter()
            .map(|(name, expr)| projected(&input.fields, name, expr))
            .collect();
        Self {
            op: RelOp::Calc {
                projection: columns.into_iter().map(|(_, e)| e).collect(),
                condition,
                input: Box::new(input),
            },
            fields,
        }
    }

    /// A condition; all columns go on.
    pub fn filter(input: Rel, condition: Expr) -> Self {
        let columns = input.identity();
        Self::calc(input, columns, Some(condition))
    }

    /// Rows in an order, or the first ones of it.
    pub fn sort(input: Rel, order: Vec<SortKey>, offset: u64, fetch: Option<u64>) -> Self {
        let mut fields = input.fields.clone();
        if fetch == Some(0) {
            fields.iter_mut().for_each(|f| (f.time, f.window) = (None, None));
            return Self {
                op: RelOp::Values(vec![]),
                fields,
            };
        }
        if fetch.is_some() {
            // What is told may be taken back, so windows are never complete.
            fields.iter_mut().for_each(|f| f.window = None);
        }
        Self {
            op: RelOp::Sort(Sort {
                input: Box::new(input),
                order,
                offset,
                fetch,
            }),
            fields,
        }
    }

    /// All columns as they are.
    pub fn identity(&self) -> Vec<(String, Expr)> {
        self.fields
            .iter()
            .enumerate()
            .map(|(i, f)| (f.name.clone(), Expr::input(i, f.ty.clone())))
            .collect()
    }

    /// The inputs.
    pub fn inputs(&self) -> Vec<&Rel> {
        match &self.op {
            RelOp::Scan(_) | RelOp::Values(_) => vec![],
            RelOp::Calc { input, .. }
            | RelOp::WindowTvf { input, .. }
            | RelOp::Expand { input, .. }
            | RelOp::Aggregate { input, .. }
            | RelOp::Unnest { input, .. } => vec![input],
            RelOp::WindowAggregate(w) => vec![&w.input],
            RelOp::Over(o) => vec![&o.input],
            RelOp::Sort(s) => vec![&s.input],
            RelOp::Union { inputs } => inputs.iter().collect(),
        }
    }

    /// Number of nodes.
    pub fn count(&self) -> usize {
        1 + self.inputs().into_iter().map(Self::count).sum::<usize>()
    }

    /// The same node over rewritten inputs, which must have equal columns.
    #[must_use]
    pub fn map_inputs(self, map: &mut impl FnMut(Rel) -> Rel) -> Rel {
        let boxed = |input: Box<Rel>, map: &mut dyn FnMut(Rel) -> Rel| Box::new(map(*input));
        let op = match self.op {
            op @ (RelOp::Scan(_) | RelOp::Values(_)) => op,
            RelOp::Calc {
                input,
                projection,
                condition,
            } => RelOp::Calc {
                input: boxed(input, map),
                projection,
                condition,
            },
            RelOp::WindowTvf {
                input,
                window,
                time_column,
                partition,
                legacy,
            } => RelOp::WindowTvf {
                input: boxed(input, map),
                window,
                time_column,
                partition,
                legacy,
            },
            RelOp::Expand { input, keys, sets } => RelOp::Expand {
                input: boxed(input, map),
                keys,
                sets,
            },
            RelOp::Aggregate { input, keys, calls } => RelOp::Aggregate {
                input: boxed(input, map),
                keys,
                calls,
            },
            RelOp::WindowAggregate(w) => RelOp::WindowAggregate(WindowAggregate {
                input: boxed(w.input, map),
                ..w
            }),
            RelOp::Over(o) => RelOp::Over(OverAggregate {
                input: boxed(o.input, map),
                ..o
            }),
            RelOp::Sort(s) => RelOp::Sort(Sort {
                input: boxed(s.input, map),
                ..s
            }),
            RelOp::Union { inputs } => RelOp::Union {
                inputs: inputs.into_iter().map(map).collect(),
            },
            RelOp::Unnest {
                input,
                collection,
                join,
                ordinality,
                keep,
                names,
            } => RelOp::Unnest {
                input: boxed(input, map),
                collection,
                join,
                ordinality,
                keep,
                names,
            },
        };
        Self {
            op,
            fields: self.fields,
        }
    }

    /// [`Self::map_inputs`] with a rewrite that may fail.
    ///
    /// # Errors
    /// The first failure.
    pub fn try_map_inputs<E>(self, map: &mut impl FnMut(Rel) -> Result<Rel, E>) -> Result<Rel, E> {
        let mut failed = None;
        let rel = self.map_inputs(&mut |input| match &failed {
            Some(_) => input,
            None => map(input.clone()).unwrap_or_else(|e| {
                failed = Some(e);
                input
            }),
        });
        failed.map_or(Ok(rel), Err)
    }

    /// Name and type of every column.
    pub fn schema(&self) -> Vec<Field> {
        self.fields.iter().map(RelField::to_field).collect()
    }
}

/// The column that `expr` over `input` yields.
pub fn projected(input: &[RelField], name: &str, expr: &Expr) -> RelField {
    match expr {
        Expr::InputRef { index, ty } => RelField {
            name: name.to_owned(),
            ty: ty.clone(),
            ..input[*index].clone()
        },
        Expr::Call { function, ty, .. } if function == "PROCTIME" => RelField {
            time: Some(TimeKind::Proctime),
            ..RelField::new(name, ty.clone())
        },
        expr => RelField::new(name, expr.ty().clone()),
    }
}

/// Column names that are free in `taken`: `EXPR$0` and so on for columns without one, as Flink names them.
pub fn generated_name(position: usize) -> String {
    format!("EXPR${position}")
}
