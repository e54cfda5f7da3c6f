//! What all aggregations share: the calls ([`AggregateCall`]), which of them can run, and the columns that flow between
//! two phases and make up the state ([`PartialColumn`]).

use super::{SpecError, check_columns};
use flott_core::{Field, LogicalType, TypeKind};
use serde::{Deserialize, Serialize};

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

pub(super) fn supports_two_phases(aggregates: &[AggregateCall], input_retracts: bool) -> bool {
    let is_extreme = |a: &AggregateCall| matches!(a.function.as_str(), "MIN" | "MAX");
    !aggregates
        .iter()
        .any(|a| a.distinct || (input_retracts && is_extreme(a)))
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
