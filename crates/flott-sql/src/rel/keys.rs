//! Upsert keys: sets of columns by which a relation's updates follow each other.

use super::{Rel, RelOp};
use crate::expr::Expr;
use std::collections::BTreeSet;

/// Sets of columns that identify a row at any time. Empty: none is known. The empty set: there is at most one row.
pub fn upsert_keys(rel: &Rel) -> Vec<BTreeSet<usize>> {
    match &rel.op {
        RelOp::Scan(scan) => primary_key_of(scan, rel),
        RelOp::Values(_) | RelOp::Union { .. } | RelOp::Unnest { .. } => vec![],
        RelOp::WindowTvf { .. } => vec![],
        RelOp::Aggregate { keys, .. } => vec![(0..keys.len()).collect()],
        RelOp::WindowAggregate(w) => {
            let keys = 0..w.keys.len();
            let first_property = w.keys.len() + w.calls.len();
            (0..w.properties.len())
                .map(|p| keys.clone().chain([first_property + p]).collect())
                .collect()
        }
        RelOp::Calc { input, projection, .. } => upsert_keys(input)
            .into_iter()
            .filter_map(|key| through(projection, &key))
            .collect(),
    }
}

/// Where the columns of `key` are after the projection.
fn through(projection: &[Expr], key: &BTreeSet<usize>) -> Option<BTreeSet<usize>> {
    key.iter()
        .map(|k| {
            projection
                .iter()
                .position(|e| matches!(e, Expr::InputRef { index, .. } if index == k))
        })
        .collect()
}

fn primary_key_of(scan: &super::Scan, rel: &Rel) -> Vec<BTreeSet<usize>> {
    let key = &scan.table.spec.primary_key;
    let columns: Option<BTreeSet<usize>> = key
        .iter()
        .map(|k| rel.fields.iter().position(|f| f.name == *k))
        .collect();
    columns.filter(|c| !c.is_empty()).into_iter().collect()
}
