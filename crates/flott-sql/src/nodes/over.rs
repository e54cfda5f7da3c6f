//! The spec of OVER aggregates.

use super::aggregate::check_aggregates;
use super::{AggregateCall, SpecError, check_columns};
use flott_core::{Field, LogicalType, TypeKind};
use serde::{Deserialize, Serialize};

/// By what the rows of a partition are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverOrder {
    /// A TIMESTAMP(3) or TIMESTAMP_LTZ(3) column with watermarks.
    EventTime {
        /// Its position.
        column: usize,
    },
    /// The clock when the row is met.
    ProcessingTime,
    /// A column that is no time: rows that come between others change what was told of those.
    Column {
        /// Its position.
        column: usize,
        /// Whether readers need -U before +U.
        update_before: bool,
    },
}

/// Which rows before a row are in its frame; the row itself always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverFrame {
    /// All before it.
    UnboundedRows,
    /// All before it, and those of its own time.
    UnboundedRange,
    /// So many before it.
    Rows {
        /// How many.
        preceding: u64,
    },
    /// Those at most so much older than it, and those of its own time.
    Range {
        /// How much older.
        preceding_ms: i64,
    },
}

impl OverFrame {
    /// Whether rows leave the frame.
    pub fn is_bounded(self) -> bool {
        matches!(self, Self::Rows { .. } | Self::Range { .. })
    }

    /// Whether rows of one time have one frame.
    pub fn is_range(self) -> bool {
        matches!(self, Self::UnboundedRange | Self::Range { .. })
    }
}

/// Aggregates over the rows before each row of its partition.
///
/// Functions are those of an aggregation, and `ROW_NUMBER`, `RANK` and `DENSE_RANK` without arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverAggregateSpec {
    /// Columns of the input.
    pub input: Vec<Field>,
    /// Partitioning columns; none: all rows are one partition.
    pub partition: Vec<usize>,
    /// The order.
    pub order: OverOrder,
    /// The frame of all aggregates.
    pub frame: OverFrame,
    /// Aggregates.
    pub aggregates: Vec<AggregateCall>,
    /// `table.exec.state.ttl` in ms; 0: kept for ever. Partitions whose frame has no bound go by it.
    #[serde(default)]
    pub ttl_ms: u64,
}

impl OverAggregateSpec {
    /// The input's columns, then the aggregates'.
    pub fn output(&self) -> Vec<Field> {
        let results = self.aggregates.iter().map(|a| Field::new(a.name.clone(), a.ty.clone()));
        self.input.iter().cloned().chain(results).collect()
    }

    /// Checks columns and aggregates.
    ///
    /// # Errors
    /// The first thing that cannot run.
    pub fn validate(&self) -> Result<(), SpecError> {
        check_columns("OVER's partition", &self.partition, &self.input)?;
        if let OverOrder::EventTime { column } | OverOrder::Column { column, .. } = self.order {
            check_columns("OVER's order", &[column], &self.input)?;
        }
        check_aggregates(&self.counted(), &self.input_with_mark())
    }

    /// The input's columns and the mark of the first row of each time, by which DENSE_RANK counts.
    pub(crate) fn input_with_mark(&self) -> Vec<Field> {
        let mark = Field::new("$first", LogicalType::not_null(TypeKind::Boolean));
        self.input.iter().cloned().chain([mark]).collect()
    }

    /// The aggregates with numbers and ranks as counts of rows.
    pub(crate) fn counted(&self) -> Vec<AggregateCall> {
        let counted = |call: &AggregateCall| match call.function.as_str() {
            "ROW_NUMBER" | "RANK" => AggregateCall {
                function: "COUNT".into(),
                ..call.clone()
            },
            "DENSE_RANK" => AggregateCall {
                function: "COUNT".into(),
                filter: Some(self.input.len()),
                ..call.clone()
            },
            _ => call.clone(),
        };
        self.aggregates.iter().map(counted).collect()
    }
}
