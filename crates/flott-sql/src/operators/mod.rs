//! The operators of SQL plans: what the specs of [`crate::nodes`] become when a task opens.
//!
//! | operator | does |
//! |---|---|
//! | [`calc`] | condition and projection |
//! | [`watermark`] | watermarks from an expression |
//! | [`window`] | aggregation of windows in one phase or two, and windows as columns |
//! | [`expand`] | a row per grouping set |
//! | [`group`] | aggregation with a changelog, with and without mini-batch, in one phase or two |
//! | [`over`] | aggregates of the rows before each row |
//! | [`sort`] | ORDER BY time, LIMIT with and without an order |
//! | [`unnest`] | a row per element of a collection |
//! | [`values`] | constant rows, as a source |
//! | [`materialize`] | the last row of each primary key, before a sink that is keyed otherwise than the query |
//! | [`normalize`] | a whole changelog out of upserts by key |
//! | [`constraints`] | NOT NULL and length checks before a sink; -U rows dropped where nobody needs them |
//!
//! [`aggregate`] holds the accumulators that both kinds of aggregation share; [`register`] makes all of it known to the
//! runtime.

mod aggregate;
mod calc;
mod constraints;
mod emission;
mod expand;
mod group;
mod held;
mod keyed_rows;
mod materialize;
mod normalize;
mod over;
mod row_table;
mod sort;
mod unnest;
mod values;
mod wall_clock;
mod watermark;
mod window;
mod within;

mod factory;

#[cfg(test)]
mod harness;

pub(crate) use factory::keeps_in_memory;
pub use factory::{describe_state, register};

use crate::expr::program::EvalContext;
use crate::expr::time_zone::TimeZone;
use crate::nodes::{AggregateCall, SpecError};
use arrow_array::ArrayRef;
use flott_core::clock::SharedClock;
use flott_core::hash::hash_columns;
use flott_core::{Batch, RowKind};
use flott_runtime::TaskError;
use flott_state::KeyedTable;
use std::sync::Arc;
use wall_clock::WallClock;

/// Rows that one call emits at most, by the contract of [`flott_runtime::Operator`].
pub(crate) const MAX_EMITTED_ROWS: usize = 8192;
/// Bytes that one call emits at most, where rows can be large.
pub(crate) const MAX_EMITTED_BYTES: usize = 4 * 1024 * 1024;

/// The key columns among `columns`.
pub(crate) fn key_columns(columns: &[ArrayRef], keys: &[usize]) -> Vec<ArrayRef> {
    keys.iter().map(|&k| columns[k].clone()).collect()
}

/// The hashes of a batch's keys: those that came along behind an exchange by them, else computed.
pub(crate) fn hashes_of(batch: &Batch, keys: &[ArrayRef]) -> Result<Arc<Vec<u64>>, TaskError> {
    Ok(match batch.hashes() {
        Some(hashes) => Arc::clone(hashes),
        None => Arc::new(hash_columns(keys, batch.num_rows())?),
    })
}

/// Appends the slot of each row's group, made where it is missing; without keys all rows are of one group.
pub(crate) fn group_slots(
    table: &mut KeyedTable,
    keys: &[ArrayRef],
    hashes: &[u64],
    slots: &mut Vec<u32>,
) -> Result<(), TaskError> {
    if !keys.is_empty() {
        table.slots(keys, hashes, slots)?;
    } else if let Some(hash) = hashes.first() {
        let group = slots.len();
        table.slots(keys, std::slice::from_ref(hash), slots)?;
        slots.resize(group + hashes.len(), slots[group]);
    }
    Ok(())
}

/// Which of `columns` columns keys and aggregates read.
pub(crate) fn needed_columns(columns: usize, keys: &[usize], aggregates: &[AggregateCall]) -> Vec<bool> {
    let mut needed = vec![false; columns];
    let of_calls = aggregates.iter().flat_map(|a| a.args.iter().chain(a.filter.as_ref()));
    for &column in keys.iter().chain(of_calls) {
        needed[column] = true;
    }
    needed
}

/// 1 or -1 a row, if any row may take its content away.
pub(crate) fn signs_of(batch: &Batch) -> Option<Vec<i64>> {
    let kinds = batch.kinds()?;
    let is_retraction = |kind: u8| kind == RowKind::UpdateBefore as u8 || kind == RowKind::Delete as u8;
    kinds
        .iter()
        .any(|k| is_retraction(*k))
        .then(|| kinds.iter().map(|k| if is_retraction(*k) { -1 } else { 1 }).collect())
}

/// A spec that cannot run is the plan's fault: trying again cannot help.
pub(crate) fn spec_error(error: SpecError) -> TaskError {
    TaskError::user(error.to_string()).fatal()
}

/// The session's time zone.
fn zone_of(time_zone: &str) -> Result<TimeZone, TaskError> {
    time_zone.parse().map_err(|e: String| {
        TaskError::user(format!(
            "option 'table.local-time-zone' has the value '{time_zone}': {e}"
        ))
        .fatal()
    })
}

/// The session's wall clock.
pub(crate) fn wall_clock_of(time_zone: &str) -> Result<WallClock, TaskError> {
    Ok(WallClock::of(zone_of(time_zone)?))
}

/// What expressions need from the session.
pub(crate) fn eval_context(time_zone: &str, clock: &SharedClock) -> Result<EvalContext, TaskError> {
    Ok(EvalContext {
        time_zone: zone_of(time_zone)?,
        clock: clock.clone(),
        ..EvalContext::default()
    })
}
