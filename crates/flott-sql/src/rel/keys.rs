//! Upsert keys: sets of columns by which a relation's updates follow each other.

use super::{Rel, RelOp};
use crate::expr::Expr;
use flott_core::{LogicalType, TypeKind};
use std::collections::BTreeSet;

/// Sets of columns that identify a row at any time. Empty: none is known. The empty set: there is at most one row.
pub fn upsert_keys(rel: &Rel) -> Vec<BTreeSet<usize>> {
    match &rel.op {
        RelOp::Scan(scan) => primary_key_of(scan, rel),
        RelOp::Values(_) | RelOp::Union { .. } | RelOp::Unnest { .. } => vec![],
        RelOp::WindowTvf { .. } | RelOp::Expand { .. } | RelOp::Over(_) => vec![],
        RelOp::Aggregate { keys, .. } => vec![(0..keys.len()).collect()],
        RelOp::WindowAggregate(w) => {
            let keys = 0..w.keys.len();
            let first_property = w.keys.len() + w.calls.len();
            (0..w.properties.len())
                .map(|p| keys.clone().chain([first_property + p]).collect())
                .collect()
        }
        RelOp::Sort(sort) => upsert_keys(&sort.input),
        RelOp::Calc { input, projection, .. } => upsert_keys(input)
            .into_iter()
            .filter_map(|key| through(projection, &key))
            .collect(),
    }
}

/// Where the columns of `key` are after the projection.
fn through(projection: &[Expr], key: &BTreeSet<usize>) -> Option<BTreeSet<usize>> {
    key.iter()
        .map(|k| projection.iter().position(|e| kept_column(e) == Some(*k)))
        .collect()
}

/// The input column whose values `expr` tells apart as the column itself does: the column, or a CAST that loses nothing.
pub(super) fn kept_column(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::InputRef { index, .. } => Some(*index),
        Expr::Call { function, args, ty } if function == "CAST" => match args.as_slice() {
            [Expr::InputRef { index, ty: from }] if is_lossless(from, ty) => Some(*index),
            _ => None,
        },
        _ => None,
    }
}

fn is_lossless(from: &LogicalType, to: &LogicalType) -> bool {
    use TypeKind as T;
    match (&from.kind, &to.kind) {
        (a, b) if a == b => true,
        (T::TinyInt, T::SmallInt | T::Int | T::BigInt)
        | (T::SmallInt, T::Int | T::BigInt)
        | (T::Int, T::BigInt)
        | (T::Float, T::Double) => true,
        (T::Varchar(a), T::Varchar(b)) | (T::Varbinary(a), T::Varbinary(b)) => a <= b,
        (T::Char(a), T::Char(b) | T::Varchar(b)) | (T::Binary(a), T::Binary(b) | T::Varbinary(b)) => a <= b,
        (T::Timestamp(a), T::Timestamp(b)) | (T::TimestampLtz(a), T::TimestampLtz(b)) => a <= b,
        (T::Decimal(p, s), T::Decimal(q, r)) => s <= r && p - s <= q - r,
        _ => false,
    }
}

fn primary_key_of(scan: &super::Scan, rel: &Rel) -> Vec<BTreeSet<usize>> {
    let key = &scan.table.spec.primary_key;
    let columns: Option<BTreeSet<usize>> = key
        .iter()
        .map(|k| rel.fields.iter().position(|f| f.name == *k))
        .collect();
    columns.filter(|c| !c.is_empty()).into_iter().collect()
}
