//! One value of many: the first or last ([`edge`]), the smallest or largest ([`extreme`]), over input that only adds.

use super::argument::Values;
use super::fold::{Trace, edge_bytes, extreme_bytes, fold};
use arrow_buffer::NullBuffer;
use flott_state::KeyedTable;

/// Keeps the first or the last value.
pub(super) fn edge(
    table: &mut KeyedTable,
    first: usize,
    slots: &[u32],
    values: &Values,
    valid: Option<&NullBuffer>,
    is_last: bool,
    trace: Option<&mut Trace>,
) {
    macro_rules! fixed {
        ($ty:ty, $values:expr, $as:path) => {{
            let (column, trace) = (table.column_mut::<$ty>(first), trace.and_then($as));
            match is_last {
                true => fold(column, slots, $values, valid, None, |_, last| last, trace),
                false => fold(column, slots, $values, valid, None, |first, _| first, trace),
            }
        }};
    }
    match values {
        Values::I64(values) => fixed!(i64, values, Trace::as_i64),
        Values::F64(values) => fixed!(f64, values, Trace::as_f64),
        Values::I128(values) => fixed!(i128, values, Trace::as_i128),
        Values::Bytes(values) => {
            let trace = trace.and_then(Trace::as_bytes);
            edge_bytes(table.bytes_column_mut(first), slots, values, valid, is_last, trace);
        }
        Values::Absent => {}
    }
}

/// Keeps the smallest or the largest value.
pub(super) fn extreme(
    table: &mut KeyedTable,
    first: usize,
    slots: &[u32],
    values: &Values,
    valid: Option<&NullBuffer>,
    is_max: bool,
    trace: Option<&mut Trace>,
) {
    macro_rules! fixed {
        ($ty:ty, $values:expr, $as:path) => {{
            let column = table.column_mut::<$ty>(first);
            match trace.and_then($as) {
                None if is_max => column.max(slots, $values, valid),
                None => column.min(slots, $values, valid),
                Some(trace) if is_max => fold(
                    column,
                    slots,
                    $values,
                    valid,
                    None,
                    |a, b| if b > a { b } else { a },
                    Some(trace),
                ),
                Some(trace) => fold(
                    column,
                    slots,
                    $values,
                    valid,
                    None,
                    |a, b| if b < a { b } else { a },
                    Some(trace),
                ),
            }
        }};
    }
    match values {
        Values::I64(values) => fixed!(i64, values, Trace::as_i64),
        Values::F64(values) => fixed!(f64, values, Trace::as_f64),
        Values::I128(values) => fixed!(i128, values, Trace::as_i128),
        Values::Bytes(values) => {
            let trace = trace.and_then(Trace::as_bytes);
            extreme_bytes(table.bytes_column_mut(first), slots, values, valid, is_max, trace);
        }
        Values::Absent => {}
    }
}
