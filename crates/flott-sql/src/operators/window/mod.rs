//! Window aggregation: TUMBLE, HOP, CUMULATE and SESSION over event time or processing time, in one phase or two.
//!
//! ```text
//! one phase    rows ──exchange by key──> WindowAggregate (rows in) ──> one row per key and window
//! two phases   rows ─> LocalWindowAggregate ─ partial rows ─exchange by key─> WindowAggregate (partial rows in) ─> …
//! ```
//!
//! Rows are aggregated per slice ([`slices`]) and key, in a table a slice ([`flott_state::WindowTables`]); a HOP's window
//! is made of the one before when it fires ([`running`]) or put together from its slices, a CUMULATE's grows in its first
//! slice. [`aggregate`] is the phase with state, [`local`] the one before the exchange, [`table_function`] shows windows as
//! columns without aggregating, [`emitting`] fires windows more than once, [`expanding`] gives rows their windows where
//! those are not made of slices.
//!
//! Sessions have no slices: [`sessions`] knows which are open, [`session_aggregate`] aggregates them, [`session_rows`] shows
//! them as columns.

pub(crate) mod aggregate;
pub(crate) mod emitting;
pub(crate) mod expanding;
pub(crate) mod local;
mod running;
pub(crate) mod session_aggregate;
pub(crate) mod session_rows;
pub(crate) mod sessions;
pub(crate) mod slices;
pub(crate) mod table_function;

#[cfg(test)]
mod emitting_tests;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod tests;
