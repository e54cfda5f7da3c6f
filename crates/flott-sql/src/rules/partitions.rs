//! Tells the scan of a partitioned table which partitions its Calc leaves out anyway.
//!
//! The Calc keeps its condition, so what cannot be told is left out of the filter: a conjunct of AND that is about other
//! columns, or a whole OR with such a branch.

use crate::expr::{Expr, Literal};
use crate::rel::{Rel, RelOp, Scan};
use chrono::{Duration, NaiveDate};
use flott_core::TypeKind;
use flott_runtime::partition_filter::{Comparison, PartitionFilter};

/// Gives the scans of partitioned tables their filters.
pub fn partitions(rel: Rel) -> Rel {
    let mut rel = rel.map_inputs(&mut partitions);
    if let RelOp::Calc {
        input,
        condition: Some(condition),
        ..
    } = &mut rel.op
        && let RelOp::Scan(scan) = &mut input.op
        && !scan.table.spec.partition_keys.is_empty()
    {
        scan.partitions = filter_of(condition, scan);
    }
    rel
}

/// What a condition says of the partition columns.
fn filter_of(condition: &Expr, scan: &Scan) -> Option<PartitionFilter> {
    let Expr::Call { function, args, .. } = condition else {
        return None;
    };
    let filters = || args.iter().map(|a| filter_of(a, scan));
    match (function.as_str(), args.as_slice()) {
        ("AND", _) => {
            let known: Vec<PartitionFilter> = filters().flatten().collect();
            single_or(known, PartitionFilter::All)
        }
        ("OR", _) => single_or(filters().collect::<Option<Vec<_>>>()?, PartitionFilter::Any),
        ("IS NULL" | "IS NOT NULL", [value]) => Some(PartitionFilter::Null {
            column: key(value, scan)?.0,
            negated: function == "IS NOT NULL",
        }),
        ("IN", [value, list @ ..]) => {
            let equals = list.iter().map(|one| compare(Comparison::Equal, value, one, scan));
            single_or(equals.collect::<Option<Vec<_>>>()?, PartitionFilter::Any)
        }
        (operator, [left, right]) => {
            let operator = Comparison::of(operator)?;
            compare(operator, left, right, scan).or_else(|| compare(operator.flipped(), right, left, scan))
        }
        _ => None,
    }
}

fn single_or(
    mut filters: Vec<PartitionFilter>,
    many: fn(Vec<PartitionFilter>) -> PartitionFilter,
) -> Option<PartitionFilter> {
    match filters.len() {
        0 => None,
        1 => filters.pop(),
        _ => Some(many(filters)),
    }
}

fn compare(operator: Comparison, left: &Expr, right: &Expr, scan: &Scan) -> Option<PartitionFilter> {
    let (column, kind) = key(left, scan)?;
    let Expr::Literal { value, .. } = right else {
        return None;
    };
    let value = match (value, kind) {
        (Literal::String(text), TypeKind::Char(_) | TypeKind::Varchar(_)) => text.clone(),
        (Literal::Boolean(truth), TypeKind::Boolean) => truth.to_string(),
        (Literal::Integer(number), kind) if kind.is_integer() => number.to_string(),
        (Literal::Date(days), TypeKind::Date) => NaiveDate::default()
            .checked_add_signed(Duration::days((*days).into()))?
            .to_string(),
        _ => return None,
    };
    Some(PartitionFilter::Compare {
        column,
        operator,
        value,
    })
}

/// The partition column that an expression is.
fn key<'s>(expr: &Expr, scan: &'s Scan) -> Option<(String, &'s TypeKind)> {
    let Expr::InputRef { index, .. } = expr else {
        return None;
    };
    let column = scan.physical.get(*index)?;
    let is_key = scan.table.spec.partition_keys.contains(&column.name);
    is_key.then(|| (column.name.clone(), &column.ty.kind))
}
