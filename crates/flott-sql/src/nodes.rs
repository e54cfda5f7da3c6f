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
//! | [`kind::WINDOW_AGGREGATE`], [`kind::GLOBAL_WINDOW_AGGREGATE`] | [`WindowAggregateSpec`] | [`WindowAggregateSpec::output`] |
//! | [`kind::LOCAL_WINDOW_AGGREGATE`] | the same [`WindowAggregateSpec`] | [`WindowAggregateSpec::local_output`] |
//! | [`kind::WINDOW_TABLE_FUNCTION`] | [`WindowTableFunctionSpec`] | input, window_start, window_end, window_time |
//! | [`kind::GROUP_AGGREGATE`], [`kind::GLOBAL_GROUP_AGGREGATE`] | [`GroupAggregateSpec`] | [`GroupAggregateSpec::output`] |
//! | [`kind::LOCAL_GROUP_AGGREGATE`] | the same [`GroupAggregateSpec`] | [`GroupAggregateSpec::local_output`] |
//! | [`kind::CORRELATE`] | [`CorrelateUnnestSpec`] | kept input columns, then the element's |
//! | [`kind::VALUES`] | [`ValuesSpec`] | its rows |
//! | [`kind::DROP_UPDATE_BEFORE`] | [`DropUpdateBeforeSpec`] | its input without -U, or with -D in its place |
//! | [`kind::SINK_CONSTRAINTS`] | [`SinkConstraintsSpec`] | its input, enforced |
//!
//! Watermarks are no node: every source makes them per split ([`WatermarkExpressionSpec`]). UNION ALL is no node: several edges lead into one input. Mini-batch is no node either: the group aggregates bundle
//! by themselves ([`MiniBatch`]).
//!
//! Between the two phases of an aggregation flow *partial rows*: the key columns, one or two columns an aggregate
//! ([`PartialColumn`]), and for windows the slice's end. Both phases are built from one spec, so they cannot disagree.

use crate::expr::{Expr, Literal};
use flott_core::{Field, LogicalType, TypeKind};
use serde::{Deserialize, Serialize};

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
    /// Windows as columns, without aggregation.
    pub const WINDOW_TABLE_FUNCTION: &str = "stream-exec-window-table-function";
    /// Aggregation without windows in one phase.
    pub const GROUP_AGGREGATE: &str = "stream-exec-group-aggregate";
    /// First phase of an aggregation without windows, before the exchange.
    pub const LOCAL_GROUP_AGGREGATE: &str = "stream-exec-local-group-aggregate";
    /// Second phase of an aggregation without windows, after the exchange.
    pub const GLOBAL_GROUP_AGGREGATE: &str = "stream-exec-global-group-aggregate";
    /// UNNEST.
    pub const CORRELATE: &str = "stream-exec-correlate";
    /// Constant rows.
    pub const VALUES: &str = "stream-exec-values";
    /// Drops -U rows where the reader does not need them.
    pub const DROP_UPDATE_BEFORE: &str = "stream-exec-drop-update-before";
    /// NOT NULL and length checks before a sink.
    pub const SINK_CONSTRAINTS: &str = "stream-exec-constraint-enforcer";
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

/// One aggregate of an aggregation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregateCall {
    /// `COUNT`, `SUM`, `AVG`, `MIN` or `MAX`.
    pub function: String,
    /// Positions of its arguments; none for `COUNT(*)`.
    pub args: Vec<usize>,
    /// Whether equal arguments count once.
    pub distinct: bool,
    /// Position of a BOOLEAN column: only rows where it is TRUE count.
    pub filter: Option<usize>,
    /// Type of the result.
    pub ty: LogicalType,
    /// Name of the result column.
    pub name: String,
}

impl AggregateCall {
    /// `COUNT(*)` without DISTINCT and FILTER: the number of rows itself.
    pub fn is_row_count(&self) -> bool {
        self.function == "COUNT" && self.args.is_empty() && !self.distinct && self.filter.is_none()
    }
}

/// How event time is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowSpec {
    /// Adjacent windows.
    Tumble {
        /// Length.
        size_ms: i64,
        /// Shift against the epoch.
        offset_ms: i64,
    },
    /// Overlapping windows; the length is a multiple of the slide.
    Hop {
        /// Length.
        size_ms: i64,
        /// Distance between starts.
        slide_ms: i64,
        /// Shift against the epoch.
        offset_ms: i64,
    },
}

impl WindowSpec {
    /// Length of a window.
    pub fn size_ms(&self) -> i64 {
        match *self {
            Self::Tumble { size_ms, .. } | Self::Hop { size_ms, .. } => size_ms,
        }
    }

    /// Length of a slice, which is also the distance between window starts.
    pub fn slice_ms(&self) -> i64 {
        match *self {
            Self::Tumble { size_ms, .. } => size_ms,
            Self::Hop { slide_ms, .. } => slide_ms,
        }
    }

    /// Shift against the epoch.
    pub fn offset_ms(&self) -> i64 {
        match *self {
            Self::Tumble { offset_ms, .. } | Self::Hop { offset_ms, .. } => offset_ms,
        }
    }

    /// Checks Flink's rules: positive sizes, size a multiple of the slide, offset smaller than the size.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn validate(&self) -> Result<(), SpecError> {
        let (size, slide, offset) = (self.size_ms(), self.slice_ms(), self.offset_ms());
        let function = match self {
            Self::Tumble { .. } => "TUMBLE",
            Self::Hop { .. } => "HOP",
        };
        let broken = |text: String| Err(SpecError::Window(text));
        if size <= 0 || slide <= 0 {
            return broken(format!(
                "{function} needs a positive size and slide, got size {size} ms and slide {slide} ms"
            ));
        }
        if size % slide != 0 {
            return broken(format!(
                "HOP needs a size that is an integral multiple of the slide, got size {size} ms and slide {slide} ms"
            ));
        }
        if offset.unsigned_abs() >= size.unsigned_abs() {
            return broken(format!(
                "{function} needs an offset smaller than its size, got offset {offset} ms and size {size} ms"
            ));
        }
        Ok(())
    }
}

/// What a window is cut by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeAttribute {
    /// A TIMESTAMP or TIMESTAMP_LTZ column with watermarks.
    EventTime {
        /// Its position.
        column: usize,
    },
    /// The clock when the row is met.
    ProcessingTime,
    /// The input was windowed before, by the same function: its `window_end` column tells the window.
    Attached {
        /// Position of `window_end`.
        window_end: usize,
        /// Whether those windows were cut in the session's wall-clock time.
        local_time: bool,
    },
}

/// Which property of its window a row shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowPropertyKind {
    /// Its first instant, TIMESTAMP(3) in the session's wall-clock time.
    Start,
    /// The first instant after it, TIMESTAMP(3) in the session's wall-clock time.
    End,
    /// Its last millisecond, of the time attribute's type.
    Time,
}

/// An output column with a property of the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowProperty {
    /// Which one.
    pub kind: WindowPropertyKind,
    /// Name of the column.
    pub name: String,
}

/// Aggregates per key and window; one spec for one phase and for both of two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowAggregateSpec {
    /// Columns of the rows that are aggregated (in two phases: of the local node's input).
    pub input: Vec<Field>,
    /// Grouping columns besides the window.
    pub keys: Vec<usize>,
    /// Aggregates.
    pub aggregates: Vec<AggregateCall>,
    /// The windows.
    pub window: WindowSpec,
    /// What they are cut by.
    pub time: TimeAttribute,
    /// Window columns of the output, after keys and aggregates.
    pub properties: Vec<WindowProperty>,
    /// `table.local-time-zone`.
    pub time_zone: String,
    /// Whether the input holds other kinds than +I.
    #[serde(default)]
    pub input_retracts: bool,
}

impl WindowAggregateSpec {
    /// Whether windows are cut in the session's wall-clock time: for processing time and TIMESTAMP_LTZ.
    pub fn is_local_time(&self) -> bool {
        is_local_time(&self.time, &self.input)
    }

    /// Columns of the result: keys, aggregates, properties.
    pub fn output(&self) -> Vec<Field> {
        let mut fields = result_fields(&self.input, &self.keys, &self.aggregates);
        let local = self.is_local_time();
        fields.extend(self.properties.iter().map(|p| window_property_field(p, local)));
        fields
    }

    /// Columns between the phases: keys, partial columns, `$slice_end`.
    pub fn local_output(&self) -> Vec<Field> {
        let mut fields: Vec<Field> = self.keys.iter().map(|&k| self.input[k].clone()).collect();
        fields.extend(
            partial_columns(&self.input, &self.aggregates, self.input_retracts)
                .into_iter()
                .map(PartialColumn::field),
        );
        fields.push(Field::new("$slice_end", LogicalType::not_null(TypeKind::BigInt)));
        fields
    }

    /// Positions of the keys in [`Self::local_output`], for the exchange between the phases.
    pub fn local_keys(&self) -> Vec<usize> {
        (0..self.keys.len()).collect()
    }

    /// Whether the aggregates can be computed in two phases: event time, no DISTINCT, no MIN or MAX over input that
    /// retracts.
    pub fn supports_two_phases(&self) -> bool {
        !matches!(self.time, TimeAttribute::ProcessingTime)
            && supports_two_phases(&self.aggregates, self.input_retracts)
    }

    /// Checks columns, window and aggregates.
    ///
    /// # Errors
    /// The first thing that cannot run.
    pub fn validate(&self) -> Result<(), SpecError> {
        self.window.validate()?;
        check_columns("window aggregate's keys", &self.keys, &self.input)?;
        match self.time {
            TimeAttribute::EventTime { column } | TimeAttribute::Attached { window_end: column, .. } => {
                check_columns("window's time attribute", &[column], &self.input)?;
            }
            TimeAttribute::ProcessingTime => {}
        }
        check_aggregates(&self.aggregates, &self.input)
    }
}

/// Windows as columns: every row once per window that holds it, with `window_start`, `window_end`, `window_time`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowTableFunctionSpec {
    /// Columns of the input.
    pub input: Vec<Field>,
    /// The windows.
    pub window: WindowSpec,
    /// What they are cut by; never [`TimeAttribute::Attached`].
    pub time: TimeAttribute,
    /// `table.local-time-zone`.
    pub time_zone: String,
}

impl WindowTableFunctionSpec {
    /// Whether windows are cut in the session's wall-clock time: for processing time and TIMESTAMP_LTZ.
    pub fn is_local_time(&self) -> bool {
        is_local_time(&self.time, &self.input)
    }

    /// The input's columns and the three of the window.
    pub fn output(&self) -> Vec<Field> {
        let local = self.is_local_time();
        let property = |kind, name: &str| {
            window_property_field(
                &WindowProperty {
                    kind,
                    name: name.into(),
                },
                local,
            )
        };
        let mut fields = self.input.clone();
        fields.push(property(WindowPropertyKind::Start, "window_start"));
        fields.push(property(WindowPropertyKind::End, "window_end"));
        fields.push(property(WindowPropertyKind::Time, "window_time"));
        fields
    }
}

/// Flink's mini-batch: updates of a key are folded until the time or the size is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MiniBatch {
    /// `table.exec.mini-batch.allow-latency` in ms.
    pub latency_ms: u64,
    /// `table.exec.mini-batch.size` in rows.
    pub size: u64,
}

/// Aggregates per key over all time, with a changelog; one spec for one phase and for both of two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupAggregateSpec {
    /// Columns of the rows that are aggregated (in two phases: of the local node's input).
    pub input: Vec<Field>,
    /// Grouping columns; none: one row for everything.
    pub keys: Vec<usize>,
    /// Aggregates; none: `SELECT DISTINCT`.
    pub aggregates: Vec<AggregateCall>,
    /// Whether the input holds other kinds than +I.
    pub input_retracts: bool,
    /// Whether readers need -U before +U.
    pub generate_update_before: bool,
    /// Folding; `None`: each row yields its own update.
    pub mini_batch: Option<MiniBatch>,
    /// `table.exec.state.ttl` in ms; 0: kept for ever.
    #[serde(default)]
    pub ttl_ms: u64,
}

impl GroupAggregateSpec {
    /// Columns of the result: keys, aggregates.
    pub fn output(&self) -> Vec<Field> {
        result_fields(&self.input, &self.keys, &self.aggregates)
    }

    /// Columns between the phases: keys, partial columns.
    pub fn local_output(&self) -> Vec<Field> {
        let mut fields: Vec<Field> = self.keys.iter().map(|&k| self.input[k].clone()).collect();
        fields.extend(
            partial_columns(&self.input, &self.aggregates, self.input_retracts)
                .into_iter()
                .map(PartialColumn::field),
        );
        fields
    }

    /// Positions of the keys in [`Self::local_output`], for the exchange between the phases.
    pub fn local_keys(&self) -> Vec<usize> {
        (0..self.keys.len()).collect()
    }

    /// Whether the aggregates can be computed in two phases: under mini-batch, without DISTINCT, no MIN or MAX over
    /// input that retracts.
    pub fn supports_two_phases(&self) -> bool {
        self.mini_batch.is_some() && supports_two_phases(&self.aggregates, self.input_retracts)
    }

    /// Checks columns and aggregates.
    ///
    /// # Errors
    /// The first thing that cannot run.
    pub fn validate(&self) -> Result<(), SpecError> {
        check_columns("aggregate's keys", &self.keys, &self.input)?;
        check_aggregates(&self.aggregates, &self.input)
    }
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
}

/// A column of the rows between two phases, which is also a column of the aggregate's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialColumn {
    /// Its name, e.g. `sum$0`.
    pub name: String,
    /// Its type: BIGINT, DOUBLE, DECIMAL(38, s), STRING or BYTES, whatever the argument's.
    pub ty: LogicalType,
}

impl PartialColumn {
    fn field(self) -> Field {
        Field::new(self.name, self.ty)
    }
}

/// The partial columns of `aggregates`; over input that retracts, a row counter (`count1`) comes last if no aggregate
/// is one.
pub fn partial_columns(input: &[Field], aggregates: &[AggregateCall], input_retracts: bool) -> Vec<PartialColumn> {
    let mut columns = vec![];
    let count = |name: String| PartialColumn {
        name,
        ty: LogicalType::not_null(TypeKind::BigInt),
    };
    for (i, call) in aggregates.iter().enumerate() {
        let arg = call.args.first().map(|&a| &input[a].ty.kind);
        match (call.function.as_str(), arg) {
            ("SUM", Some(arg)) => {
                columns.push(PartialColumn {
                    name: format!("sum${i}"),
                    ty: LogicalType::new(sum_kind(arg)),
                });
                if input_retracts {
                    columns.push(count(format!("count${i}")));
                }
            }
            ("AVG", Some(arg)) => {
                columns.push(PartialColumn {
                    name: format!("sum${i}"),
                    ty: LogicalType::new(average_sum_kind(arg)),
                });
                columns.push(count(format!("count${i}")));
            }
            ("MIN" | "MAX", Some(arg)) => columns.push(PartialColumn {
                name: format!("{}${i}", call.function.to_lowercase()),
                ty: LogicalType::new(extreme_kind(arg)),
            }),
            _ => columns.push(count(format!("count${i}"))),
        }
    }
    if input_retracts && !aggregates.iter().any(AggregateCall::is_row_count) {
        columns.push(count("count1".into()));
    }
    columns
}

/// How a sum is kept.
pub(crate) fn sum_kind(arg: &TypeKind) -> TypeKind {
    match arg {
        TypeKind::Decimal(_, scale) => TypeKind::Decimal(38, *scale),
        TypeKind::Float | TypeKind::Double => TypeKind::Double,
        _ => TypeKind::BigInt,
    }
}

/// How the sum of an average is kept.
pub(crate) fn average_sum_kind(arg: &TypeKind) -> TypeKind {
    sum_kind(arg)
}

/// How a minimum or maximum is kept.
pub(crate) fn extreme_kind(arg: &TypeKind) -> TypeKind {
    match arg {
        TypeKind::Decimal(_, scale) => TypeKind::Decimal(38, *scale),
        TypeKind::Float | TypeKind::Double => TypeKind::Double,
        t if t.is_string() => LogicalType::string().kind,
        t if t.is_binary() => TypeKind::Varbinary(flott_core::types::MAX_LENGTH),
        _ => TypeKind::BigInt,
    }
}

fn supports_two_phases(aggregates: &[AggregateCall], input_retracts: bool) -> bool {
    let is_extreme = |a: &AggregateCall| matches!(a.function.as_str(), "MIN" | "MAX");
    !aggregates
        .iter()
        .any(|a| a.distinct || (input_retracts && is_extreme(a)))
}

fn is_local_time(time: &TimeAttribute, input: &[Field]) -> bool {
    match *time {
        TimeAttribute::ProcessingTime => true,
        TimeAttribute::EventTime { column } => matches!(input[column].ty.kind, TypeKind::TimestampLtz(_)),
        TimeAttribute::Attached { local_time, .. } => local_time,
    }
}

fn result_fields(input: &[Field], keys: &[usize], aggregates: &[AggregateCall]) -> Vec<Field> {
    let keys = keys.iter().map(|&k| input[k].clone());
    let results = aggregates.iter().map(|a| Field::new(a.name.clone(), a.ty.clone()));
    keys.chain(results).collect()
}

fn window_property_field(property: &WindowProperty, local_time: bool) -> Field {
    let kind = match property.kind {
        WindowPropertyKind::Time if local_time => TypeKind::TimestampLtz(3),
        _ => TypeKind::Timestamp(3),
    };
    Field::new(property.name.clone(), LogicalType::not_null(kind))
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

fn check_aggregates(aggregates: &[AggregateCall], input: &[Field]) -> Result<(), SpecError> {
    for call in aggregates {
        check_columns("aggregate's arguments", &call.args, input)?;
        check_columns("aggregate's filter", call.filter.as_slice(), input)?;
        let args: Vec<&TypeKind> = call.args.iter().map(|&a| &input[a].ty.kind).collect();
        let reason = match (call.function.as_str(), args.as_slice()) {
            ("COUNT", []) if !call.distinct => continue,
            ("COUNT", [_]) => continue,
            ("SUM" | "AVG", [t]) if t.is_numeric() => continue,
            ("MIN" | "MAX", [t]) if is_ordered(t) => continue,
            ("COUNT", _) => "COUNT takes * or one argument; count a ROW of them, or concatenate them",
            ("SUM" | "AVG", [_]) => "it takes one numeric argument; CAST it",
            ("MIN" | "MAX", [_]) => "its argument's type has no order; aggregate a field or element of it",
            _ => "this engine has COUNT, SUM, AVG, MIN and MAX",
        };
        let types: Vec<String> = args.iter().map(ToString::to_string).collect();
        return Err(SpecError::Aggregate {
            call: format!("{}({})", call.function, types.join(", ")),
            reason: reason.to_owned(),
        });
    }
    Ok(())
}

fn is_ordered(kind: &TypeKind) -> bool {
    !matches!(
        kind,
        TypeKind::Null | TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> WindowAggregateSpec {
        let call = |function: &str, args: &[usize], ty: LogicalType, name: &str| AggregateCall {
            function: function.into(),
            args: args.to_vec(),
            distinct: false,
            filter: None,
            ty,
            name: name.into(),
        };
        WindowAggregateSpec {
            input: vec![
                Field::new("site", LogicalType::string()),
                Field::new("n", LogicalType::int()),
                Field::new("ts", LogicalType::new(TypeKind::TimestampLtz(3))),
            ],
            keys: vec![0],
            aggregates: vec![
                call("SUM", &[1], LogicalType::int(), "total"),
                call("AVG", &[1], LogicalType::int(), "mean"),
                call("COUNT", &[], LogicalType::not_null(TypeKind::BigInt), "n"),
            ],
            window: WindowSpec::Tumble {
                size_ms: 60_000,
                offset_ms: 0,
            },
            time: TimeAttribute::EventTime { column: 2 },
            properties: vec![
                WindowProperty {
                    kind: WindowPropertyKind::End,
                    name: "window_end".into(),
                },
                WindowProperty {
                    kind: WindowPropertyKind::Time,
                    name: "window_time".into(),
                },
            ],
            time_zone: "UTC".into(),
            input_retracts: false,
        }
    }

    fn line(fields: &[Field]) -> String {
        let fields: Vec<String> = fields.iter().map(|f| format!("{} {}", f.name, f.ty)).collect();
        fields.join(", ")
    }

    #[test]
    fn the_rows_of_both_phases_follow_from_one_spec() {
        let spec = spec();
        spec.validate().unwrap();
        assert_eq!(
            line(&spec.local_output()),
            "site STRING, sum$0 BIGINT, sum$1 BIGINT, count$1 BIGINT NOT NULL, count$2 BIGINT NOT NULL, $slice_end BIGINT NOT NULL"
        );
        assert_eq!(
            line(&spec.output()),
            "site STRING, total INT, mean INT, n BIGINT NOT NULL, window_end TIMESTAMP(3) NOT NULL, window_time TIMESTAMP_LTZ(3) NOT NULL"
        );
        assert!(spec.supports_two_phases());
    }

    #[test]
    fn a_spec_survives_its_text() {
        let spec = spec();
        let text = serde_json::to_value(&spec).unwrap();
        assert_eq!(serde_json::from_value::<WindowAggregateSpec>(text).unwrap(), spec);
    }

    #[test]
    fn what_cannot_run_says_why() {
        let uneven = WindowSpec::Hop {
            size_ms: 10_000,
            slide_ms: 3_000,
            offset_ms: 0,
        };
        assert_eq!(
            uneven.validate().unwrap_err().to_string(),
            "HOP needs a size that is an integral multiple of the slide, got size 10000 ms and slide 3000 ms"
        );
        let mut spec = spec();
        spec.aggregates[0].args = vec![0];
        assert_eq!(
            spec.validate().unwrap_err().to_string(),
            "the aggregate SUM(STRING) cannot run: it takes one numeric argument; CAST it"
        );
        spec.keys = vec![7];
        assert!(matches!(
            spec.validate(),
            Err(SpecError::Column {
                index: 7,
                columns: 3,
                ..
            })
        ));
    }
}
