//! How the values of a relation's columns change when its rows are updated ([`Course`]).

use super::keys::kept_column;
use super::{ModifyKinds, Rel, RelOp};
use crate::rules::window_of;

/// Where an update takes a column's value; NULL is before all values of a column that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It stays.
    Constant,
    /// Never down.
    Growing,
    /// Never up.
    Falling,
    /// Anywhere.
    Unknown,
}

/// The course of each column of a relation that aggregates rows which only come; of others none is known.
pub fn courses(rel: &Rel) -> Option<Vec<Course>> {
    match &rel.op {
        RelOp::Aggregate { input, keys, calls }
            if ModifyKinds::of(input).is_append() && window_of(&input.fields, keys).is_none() =>
        {
            let of_call = calls.iter().map(|call| match call.function.as_str() {
                "COUNT" | "MAX" => Course::Growing,
                "MIN" => Course::Falling,
                _ => Course::Unknown,
            });
            Some(keys.iter().map(|_| Course::Constant).chain(of_call).collect())
        }
        RelOp::Calc {
            input,
            projection,
            condition: None,
        } => {
            let below = courses(input)?;
            let of = |column: Option<usize>| column.map_or(Course::Unknown, |c| below[c]);
            Some(projection.iter().map(|e| of(kept_column(e))).collect())
        }
        _ => None,
    }
}
