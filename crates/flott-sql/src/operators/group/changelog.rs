//! From values before and after to rows of a changelog: [`changes`], pure.

use crate::operators::keyed_rows::row_encoder;
use arrow_array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow_buffer::BooleanBuffer;
use flott_core::{Batch, RowKind};
use flott_runtime::TaskError;

/// What happened to a series of groups, in order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps<'a> {
    /// Key columns of each step's group.
    pub(crate) keys: &'a [ArrayRef],
    /// Values before each step.
    pub(crate) before: &'a [ArrayRef],
    /// Values after each step.
    pub(crate) after: &'a [ArrayRef],
    /// Whether the group was there before.
    pub(crate) existed: &'a [bool],
    /// Whether it is there after.
    pub(crate) exists: &'a [bool],
}

/// How updates are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Telling {
    /// -U before +U.
    pub(crate) update_before: bool,
    /// +U even where nothing changed: readers whose state expires must see that the group is alive.
    pub(crate) unchanged: bool,
}

/// The changelog of `steps`: +I for a new group, -D with the old values for one that is gone, -U and +U for one whose values
/// changed (NULL equals NULL). `None` where nothing is to be told.
///
/// # Errors
/// If a column kernel fails, which is a defect of ours.
pub(crate) fn changes(steps: Steps<'_>, telling: Telling) -> Result<Option<Batch>, TaskError> {
    let rows = steps.existed.len();
    let changed = if telling.unchanged { None } else { changed_rows(steps)? };
    let mut indices: Vec<u32> = Vec::with_capacity(rows);
    let mut kinds: Vec<u8> = Vec::with_capacity(rows);
    // Rows of `before` come first, rows of `after` behind them.
    let (old, new) = (0, rows as u32);
    let mut tell = |kind: RowKind, index: u32| {
        indices.push(index);
        kinds.push(kind as u8);
    };
    for row in 0..rows {
        let index = row as u32;
        match (steps.existed[row], steps.exists[row]) {
            (false, true) => tell(RowKind::Insert, new + index),
            (true, false) => tell(RowKind::Delete, old + index),
            (true, true) if telling.unchanged || changed.as_ref().is_some_and(|c| c.value(row)) => {
                if telling.update_before {
                    tell(RowKind::UpdateBefore, old + index);
                }
                tell(RowKind::UpdateAfter, new + index);
            }
            (true, true) | (false, false) => {}
        }
    }
    if indices.is_empty() {
        return Ok(None);
    }
    let of_keys = UInt32Array::from_iter_values(indices.iter().map(|i| i % new));
    let mut columns = Vec::with_capacity(steps.keys.len() + steps.after.len());
    for key in steps.keys {
        columns.push(arrow_select::take::take(key.as_ref(), &of_keys, None)?);
    }
    let count = indices.len();
    let all_new = indices.iter().all(|i| *i >= new);
    let indices = if all_new { of_keys } else { UInt32Array::from(indices) };
    for (before, after) in steps.before.iter().zip(steps.after) {
        columns.push(if all_new {
            arrow_select::take::take(after.as_ref(), &indices, None)?
        } else {
            let both = arrow_select::concat::concat(&[before.as_ref(), after.as_ref()])?;
            arrow_select::take::take(both.as_ref(), &indices, None)?
        });
    }
    let kinds = kinds.iter().any(|k| *k != RowKind::Insert as u8).then(|| kinds.into());
    Ok(Some(Batch::new(columns, count).with_kinds(kinds)))
}

/// Steps whose values differ; `None` where there are no values, so that none can differ.
fn changed_rows(steps: Steps<'_>) -> Result<Option<BooleanBuffer>, TaskError> {
    let mut changed: Option<BooleanBuffer> = None;
    for (before, after) in steps.before.iter().zip(steps.after) {
        let differs = match before.data_type().is_nested() {
            true => nested_differ(before, after)?,
            false => arrow_ord::cmp::distinct(before, after)?,
        };
        changed = Some(match changed {
            Some(c) => &c | differs.values(),
            None => differs.values().clone(),
        });
    }
    Ok(changed)
}

/// Rows of ROWs and collections whose bytes differ.
fn nested_differ(before: &ArrayRef, after: &ArrayRef) -> Result<BooleanArray, TaskError> {
    let (before, after) = (
        row_encoder(std::slice::from_ref(before))?,
        (row_encoder(std::slice::from_ref(after))?, after.len()),
    );
    let (mut old, mut new) = (vec![], vec![]);
    let differ = |row: usize| {
        old.clear();
        new.clear();
        before.encode(row, &mut old);
        after.0.encode(row, &mut new);
        Some(old != new)
    };
    Ok((0..after.1).map(differ).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::harness::lines;
    use arrow_array::{Int64Array, StringArray};
    use std::sync::Arc;

    fn told(update_before: bool, unchanged: bool) -> Vec<String> {
        let keys: [ArrayRef; 1] = [Arc::new(StringArray::from(vec![
            "new", "gone", "same", "other", "null", "never",
        ]))];
        let before: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![
            None,
            Some(1),
            Some(2),
            Some(3),
            None,
            Some(0),
        ]))];
        let after: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![
            Some(9),
            Some(0),
            Some(2),
            Some(4),
            None,
            Some(0),
        ]))];
        let steps = Steps {
            keys: &keys,
            before: &before,
            after: &after,
            existed: &[false, true, true, true, true, false],
            exists: &[true, false, true, true, true, false],
        };
        lines(
            &changes(
                steps,
                Telling {
                    update_before,
                    unchanged,
                },
            )
            .unwrap()
            .unwrap(),
        )
    }

    #[test]
    fn groups_come_change_and_go() {
        assert_eq!(told(true, false), ["+I new 9", "-D gone 1", "-U other 3", "+U other 4"]);
        assert_eq!(told(false, false), ["+I new 9", "-D gone 1", "+U other 4"]);
    }

    #[test]
    fn under_a_time_to_live_unchanged_values_are_told_too() {
        assert_eq!(
            told(false, true),
            ["+I new 9", "-D gone 1", "+U same 2", "+U other 4", "+U null NULL"]
        );
    }

    #[test]
    fn nothing_to_tell_is_no_batch() {
        let steps = Steps {
            keys: &[],
            before: &[],
            after: &[],
            existed: &[true],
            exists: &[true],
        };
        assert!(
            changes(
                steps,
                Telling {
                    update_before: true,
                    unchanged: false
                }
            )
            .unwrap()
            .is_none()
        );
    }
}
