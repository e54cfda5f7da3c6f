//! What all aggregations share: the calls ([`AggregateCall`]), which of them can run, and the columns that flow between
//! two phases and make up the state ([`PartialColumn`]).
//!
//! | function | state | over input that retracts |
//! |---|---|---|
//! | COUNT | counter | the same |
//! | SUM | sum | sum, counter |
//! | AVG | sum, counter | the same |
//! | MIN, MAX | value | value, and all values with their counts in a table beside it |
//! | FIRST_VALUE, LAST_VALUE | value | value, list |
//! | LAG | value, list of so many rows | |
//! | LISTAGG, ARRAY_AGG, COLLECT, JSON_ARRAYAGG, JSON_OBJECTAGG | list | the same |
//!
//! Standard deviations and variances are sums, counts and an expression behind them; PERCENTILE is one behind COLLECT,
//! SINGLE_VALUE one behind ARRAY_AGG (the binder's work).

use super::{SpecError, check_columns};
use flott_core::{Field, LogicalType, TypeKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The sum of BIGINT that is 0 where there is nothing to add: puts counts together. Only the planner writes it.
pub const SUM0: &str = "$SUM0";
/// Filters of one set of distinct values that have a bit in the rows between two phases.
const MAX_FILTERS: usize = 63;

/// One aggregate of an aggregation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregateCall {
    /// Flink's name of it, or [`SUM0`]; see the module's table.
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
    /// What it says besides.
    #[serde(default, skip_serializing_if = "CallDetail::is_plain")]
    pub detail: CallDetail,
}

/// What an aggregate's call says besides its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallDetail {
    /// Nothing.
    #[default]
    Plain,
    /// What stands between the texts of LISTAGG.
    Separator(String),
    /// NULLs are left out (ARRAY_AGG, JSON_ARRAYAGG), or pairs with a NULL value (JSON_OBJECTAGG).
    AbsentNulls,
    /// How many rows LAG goes back.
    Offset(u64),
}

impl CallDetail {
    /// Whether there is nothing to say.
    pub fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

/// Aggregates whose value holds all their arguments.
pub(crate) fn is_collecting(function: &str) -> bool {
    matches!(
        function,
        "LISTAGG" | "ARRAY_AGG" | "COLLECT" | "JSON_ARRAYAGG" | "JSON_OBJECTAGG"
    )
}

impl AggregateCall {
    /// `COUNT(*)` without DISTINCT and FILTER: the number of rows itself.
    pub fn is_row_count(&self) -> bool {
        self.function == "COUNT" && self.args.is_empty() && !self.distinct && self.filter.is_none()
    }

    /// The argument whose distinct values it is computed from; those of a MIN or MAX are the same with and without DISTINCT.
    pub(super) fn distinct_arg(&self) -> Option<usize> {
        let is_extreme = matches!(self.function.as_str(), "MIN" | "MAX");
        self.args.first().copied().filter(|_| self.distinct && !is_extreme)
    }
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
    pub(super) fn field(self) -> Field {
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
    let list = |i: usize| PartialColumn {
        name: format!("list${i}"),
        ty: LogicalType::new(TypeKind::Varbinary(flott_core::types::MAX_LENGTH)),
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
            (SUM0, Some(_)) => columns.push(PartialColumn {
                name: format!("sum${i}"),
                ty: LogicalType::not_null(TypeKind::BigInt),
            }),
            ("MIN" | "MAX", Some(arg)) => columns.push(PartialColumn {
                name: format!("{}${i}", call.function.to_lowercase()),
                ty: LogicalType::new(extreme_kind(arg)),
            }),
            ("FIRST_VALUE" | "LAST_VALUE" | "LAG", Some(arg)) => {
                columns.push(PartialColumn {
                    name: format!("{}${i}", call.function.to_lowercase()),
                    ty: LogicalType::new(extreme_kind(arg)),
                });
                if input_retracts || call.function == "LAG" {
                    columns.push(list(i));
                }
            }
            (function, _) if is_collecting(function) => columns.push(list(i)),
            _ => columns.push(count(format!("count${i}"))),
        }
    }
    if input_retracts && !aggregates.iter().any(AggregateCall::is_row_count) {
        columns.push(count("count1".into()));
    }
    columns
}

/// The columns that bring distinct values from phase to phase, one a set ([`set_type`]), in the order in which aggregates
/// need them.
pub fn set_columns(input: &[Field], aggregates: &[AggregateCall], input_retracts: bool) -> Vec<PartialColumn> {
    let column = |(i, arg): (usize, &usize)| PartialColumn {
        name: format!("distinct${i}"),
        ty: set_type(&input[*arg].ty, input_retracts),
    };
    distinct_args(aggregates).iter().enumerate().map(column).collect()
}

/// A set of distinct values between the phases: an ARRAY of the values, each with the filters under which it counts (a
/// bit each) and, over input that retracts, by how many it came more often than it went.
pub(crate) fn set_type(value: &LogicalType, input_retracts: bool) -> LogicalType {
    let bigint = || LogicalType::not_null(TypeKind::BigInt);
    let mut fields = vec![
        Field::new("value", value.with_nullable(false)),
        Field::new("filters", bigint()),
    ];
    if input_retracts {
        fields.push(Field::new("times", bigint()));
    }
    let element = LogicalType::not_null(TypeKind::Row(fields));
    LogicalType::not_null(TypeKind::Array(Box::new(element)))
}

/// The arguments of which distinct values are kept, a set each, in the order in which aggregates need them.
pub(super) fn distinct_args(aggregates: &[AggregateCall]) -> Vec<usize> {
    let mut args = vec![];
    for arg in aggregates.iter().filter_map(AggregateCall::distinct_arg) {
        if !args.contains(&arg) {
            args.push(arg);
        }
    }
    args
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
        // As the bytes of a field.
        TypeKind::Row(_) | TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) => {
            TypeKind::Varbinary(flott_core::types::MAX_LENGTH)
        }
        TypeKind::Decimal(_, scale) => TypeKind::Decimal(38, *scale),
        TypeKind::Float | TypeKind::Double => TypeKind::Double,
        t if t.is_string() => LogicalType::string().kind,
        t if t.is_binary() => TypeKind::Varbinary(flott_core::types::MAX_LENGTH),
        _ => TypeKind::BigInt,
    }
}

/// Whether partial rows of these aggregates can be put together: not FIRST_VALUE, LAST_VALUE and JSON_ARRAYAGG, as in Flink;
/// over input that retracts, nothing that must know which values there are; no lists of DISTINCT values, and not too many
/// filters of one set of them.
pub(super) fn supports_two_phases(aggregates: &[AggregateCall], input_retracts: bool) -> bool {
    let needs_values =
        |a: &AggregateCall| matches!(a.function.as_str(), "MIN" | "MAX") || is_collecting(a.function.as_str());
    let is_one_phase =
        |a: &AggregateCall| (input_retracts && needs_values(a)) || (a.distinct && is_collecting(a.function.as_str()));
    let filters_of = |arg: usize| {
        let of_set = aggregates.iter().filter(|a| a.distinct_arg() == Some(arg));
        of_set.map(|a| a.filter).collect::<BTreeSet<_>>().len()
    };
    unmergeable(aggregates).is_none()
        && !aggregates.iter().any(is_one_phase)
        && distinct_args(aggregates)
            .into_iter()
            .all(|arg| filters_of(arg) <= MAX_FILTERS)
}

/// The first aggregate whose partial results cannot be put together, as in Flink.
pub(super) fn unmergeable(aggregates: &[AggregateCall]) -> Option<&AggregateCall> {
    let is_single = |a: &&AggregateCall| {
        matches!(
            a.function.as_str(),
            "FIRST_VALUE" | "LAST_VALUE" | "LAG" | "JSON_ARRAYAGG"
        )
    };
    aggregates.iter().find(is_single)
}

pub(super) fn result_fields(input: &[Field], keys: &[usize], aggregates: &[AggregateCall]) -> Vec<Field> {
    let keys = keys.iter().map(|&k| input[k].clone());
    let results = aggregates.iter().map(|a| Field::new(a.name.clone(), a.ty.clone()));
    keys.chain(results).collect()
}

pub(super) fn check_aggregates(aggregates: &[AggregateCall], input: &[Field]) -> Result<(), SpecError> {
    for call in aggregates {
        check_columns("aggregate's arguments", &call.args, input)?;
        check_columns("aggregate's filter", call.filter.as_slice(), input)?;
        let args: Vec<&TypeKind> = call.args.iter().map(|&a| &input[a].ty.kind).collect();
        let reason = match (call.function.as_str(), args.as_slice()) {
            ("COUNT", []) if !call.distinct => continue,
            ("COUNT", [_]) => continue,
            ("SUM" | "AVG", [t]) if t.is_numeric() => continue,
            (SUM0, [TypeKind::BigInt]) => continue,
            ("MIN" | "MAX", [t]) if is_ordered(t) => continue,
            ("FIRST_VALUE" | "LAST_VALUE" | "ARRAY_AGG" | "COLLECT", [_]) => continue,
            ("LAG", [t] | [t, _]) if is_ordered(t) => continue,
            ("LISTAGG" | "JSON_ARRAYAGG", [t]) if t.is_string() => continue,
            ("JSON_OBJECTAGG", [k, v]) if k.is_string() && v.is_string() && !call.distinct => continue,
            ("COUNT", _) => "COUNT takes * or one argument; count a ROW of them, or concatenate them",
            ("SUM" | "AVG", [_]) => "it takes one numeric argument; CAST it",
            ("MIN" | "MAX", [_]) => "its argument's type has no order; aggregate a field or element of it",
            ("LAG", _) => "it takes a number, text, time or BOOLEAN; use a field or element",
            _ => "this engine does not have it, or not with these arguments",
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
