//! What the nodes of a SQL plan say: one serialisable spec a node kind, with names and meaning of Flink's stream exec
//! nodes.
//!
//! The planner writes a spec into [`flott_plan::Node::spec`] together with its kind (a constant of [`kind`]) and
//! [`VERSION`]; the factories of [`crate::operators`] read it back. A spec is self-contained: it repeats the columns of
//! its input, so that a plan can be read, explained and restored without its neighbours. Fields are only ever added,
//! with a default.
//!
//! | kind | spec | output |
//! |---|---|---|
//! | [`kind::CALC`] | [`CalcSpec`] | the projection |
//! | [`kind::WINDOW_AGGREGATE`], [`kind::GLOBAL_WINDOW_AGGREGATE`], [`kind::GROUP_WINDOW_AGGREGATE`] | [`WindowAggregateSpec`] | [`WindowAggregateSpec::output`] |
//! | [`kind::LOCAL_WINDOW_AGGREGATE`] | the same [`WindowAggregateSpec`] | [`WindowAggregateSpec::local_output`] |
//! | [`kind::WINDOW_TABLE_FUNCTION`] | [`WindowTableFunctionSpec`] | input, window_start, window_end, window_time |
//! | [`kind::GROUP_AGGREGATE`], [`kind::GLOBAL_GROUP_AGGREGATE`] | [`GroupAggregateSpec`] | [`GroupAggregateSpec::output`] |
//! | [`kind::LOCAL_GROUP_AGGREGATE`] | the same [`GroupAggregateSpec`] | [`GroupAggregateSpec::local_output`] |
//! | [`kind::INCREMENTAL_GROUP_AGGREGATE`] | the same, between the two | keys, partial columns |
//! | [`kind::EXPAND`] | [`ExpandSpec`] | input, the keys (NULL outside of the set), `$e` |
//! | [`kind::CORRELATE`] | [`CorrelateUnnestSpec`] | kept input columns, then the element's |
//! | [`kind::VALUES`] | [`ValuesSpec`] | its rows |
//! | [`kind::DROP_UPDATE_BEFORE`] | [`DropUpdateBeforeSpec`] | its input without -U, or with -D in its place |
//! | [`kind::SINK_CONSTRAINTS`] | [`SinkConstraintsSpec`] | its input, enforced |
//! | [`kind::OVER_AGGREGATE`] | [`OverAggregateSpec`] | its input, then the aggregates |
//! | [`kind::LIMIT`], [`kind::SORT_LIMIT`] | [`LimitSpec`] | the first rows of its input |
//! | [`kind::TEMPORAL_SORT`] | [`TemporalSortSpec`] | its input in the order of time |
//! | [`kind::CHANGELOG_NORMALIZE`] | [`ChangelogNormalizeSpec`] | its input as a whole changelog |
//! | [`kind::SINK_MATERIALIZER`] | [`SinkMaterializerSpec`] | the last row of each primary key |
//!
//! Watermarks are no node: every source makes them per split ([`WatermarkExpressionSpec`]). UNION ALL is no node: several edges lead into one input. Mini-batch is no node either: the group aggregates bundle
//! by themselves ([`MiniBatch`]).
//!
//! Between the two phases of an aggregation flow *partial rows*: the key columns, one or two columns an aggregate
//! ([`PartialColumn`]), a column a set of distinct values ([`set_columns`]), and for windows the slice's end. Both
//! phases are built from one spec, so they cannot disagree.

mod aggregate;
mod changes;
mod group;
mod over;
mod rows;
mod sort;
mod window;

pub use aggregate::{AggregateCall, CallDetail, PartialColumn, SUM0, partial_columns, set_columns};
pub(crate) use aggregate::{average_sum_kind, set_type, sum_kind};
pub use changes::{ChangelogNormalizeSpec, SinkMaterializerSpec};
pub use group::{GroupAggregateSpec, MiniBatch};
pub use over::{OverAggregateSpec, OverFrame, OverOrder};
pub use rows::{
    CalcSpec, CorrelateJoin, CorrelateUnnestSpec, DropUpdateBeforeSpec, ExpandSet, ExpandSpec, NestedEnforcer,
    NotNullEnforcer, SinkConstraintsSpec, TypeLengthEnforcer, ValuesSpec, WATERMARK_GENERATOR, WatermarkExpressionSpec,
};
pub use sort::{LimitSpec, SortKey, TemporalSortSpec};
pub use window::{
    EmitSpec, TimeAttribute, WindowAggregateSpec, WindowProperty, WindowPropertyKind, WindowSpec,
    WindowTableFunctionSpec,
};

use flott_core::Field;

/// Version of the specs that this build writes.
pub const VERSION: u32 = 1;

/// The kinds of SQL's plan nodes.
pub mod kind {
    /// Projection and condition.
    pub const CALC: &str = "stream-exec-calc";
    /// Window aggregation in one phase.
    pub const WINDOW_AGGREGATE: &str = "stream-exec-window-aggregate";
    /// First phase of a window aggregation, before the exchange.
    pub const LOCAL_WINDOW_AGGREGATE: &str = "stream-exec-local-window-aggregate";
    /// Second phase of a window aggregation, after the exchange.
    pub const GLOBAL_WINDOW_AGGREGATE: &str = "stream-exec-global-window-aggregate";
    /// Aggregation of `GROUP BY TUMBLE(…)` and alike.
    pub const GROUP_WINDOW_AGGREGATE: &str = "stream-exec-group-window-aggregate";
    /// Windows as columns, without aggregation.
    pub const WINDOW_TABLE_FUNCTION: &str = "stream-exec-window-table-function";
    /// Aggregation without windows in one phase.
    pub const GROUP_AGGREGATE: &str = "stream-exec-group-aggregate";
    /// First phase of an aggregation without windows, before the exchange.
    pub const LOCAL_GROUP_AGGREGATE: &str = "stream-exec-local-group-aggregate";
    /// Second phase of an aggregation without windows, after the exchange.
    pub const GLOBAL_GROUP_AGGREGATE: &str = "stream-exec-global-group-aggregate";
    /// The phase between the two of an aggregation without windows that has the distinct values.
    pub const INCREMENTAL_GROUP_AGGREGATE: &str = "stream-exec-incremental-group-aggregate";
    /// A row per grouping set.
    pub const EXPAND: &str = "stream-exec-expand";
    /// UNNEST.
    pub const CORRELATE: &str = "stream-exec-correlate";
    /// Constant rows.
    pub const VALUES: &str = "stream-exec-values";
    /// Drops -U rows where the reader does not need them.
    pub const DROP_UPDATE_BEFORE: &str = "stream-exec-drop-update-before";
    /// NOT NULL and length checks before a sink.
    pub const SINK_CONSTRAINTS: &str = "stream-exec-constraint-enforcer";
    /// Aggregates of the rows before each row.
    pub const OVER_AGGREGATE: &str = "stream-exec-over-aggregate";
    /// The first rows to arrive.
    pub const LIMIT: &str = "stream-exec-limit";
    /// The first rows of an order.
    pub const SORT_LIMIT: &str = "stream-exec-sort-limit";
    /// Rows in the order of time.
    pub const TEMPORAL_SORT: &str = "stream-exec-temporal-sort";
    /// A whole changelog out of upserts and deletions by key.
    pub const CHANGELOG_NORMALIZE: &str = "stream-exec-changelog-normalize";
    /// The last row of each primary key, before a sink whose key is not that of the query's updates.
    pub const SINK_MATERIALIZER: &str = "stream-exec-sink-materializer";
}

/// A spec that cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A window's sizes do not fit together.
    #[error("{0}")]
    Window(String),
    /// A column position lies outside the input.
    #[error("column {index} of the {what} does not exist: the input has {columns} columns")]
    Column {
        /// Who refers to it.
        what: &'static str,
        /// Position from 0.
        index: usize,
        /// Number of input columns.
        columns: usize,
    },
    /// An aggregate function has no operator.
    #[error("the aggregate {call} cannot run: {reason}")]
    Aggregate {
        /// Function with its argument types.
        call: String,
        /// Why, with the remedy.
        reason: String,
    },
}

fn check_columns(what: &'static str, columns: &[usize], input: &[Field]) -> Result<(), SpecError> {
    match columns.iter().find(|&&c| c >= input.len()) {
        Some(&index) => Err(SpecError::Column {
            what,
            index,
            columns: input.len(),
        }),
        None => Ok(()),
    }
}
