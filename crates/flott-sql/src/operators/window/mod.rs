//! Window aggregation: TUMBLE and HOP over event time or processing time, in one phase or two.
//!
//! ```text
//! one phase    rows ──exchange by key──> WindowAggregate (rows in) ──> one row per key and window
//! two phases   rows ─> LocalWindowAggregate ─ partial rows ─exchange by key─> WindowAggregate (partial rows in) ─> …
//! ```
//!
//! Rows are aggregated per slice ([`slices`]) and key, in a table a slice ([`flott_state::WindowTables`]); a HOP's window
//! is put together from its slices when it fires. [`aggregate`] is the phase with state, [`local`] the one before the
//! exchange, [`table_function`] shows windows as columns without aggregating.

pub(crate) mod aggregate;
pub(crate) mod local;
pub(crate) mod slices;
pub(crate) mod table_function;

#[cfg(test)]
mod tests;
