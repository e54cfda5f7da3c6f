//! Aggregation without windows: a row per group that changes as rows come, told as a changelog.
//!
//! ```text
//! without mini-batch   each row yields its own update, in order         first +I, then -U +U, at last -D
//! with mini-batch      rows are folded; a bundle ends by size, by time or at a barrier
//!                      and yields one update a group, in the order in which groups were first met
//! two phases           rows ─> LocalGroupAggregate ─ partial rows ─exchange─> GroupAggregate (partial rows in) ─> …
//! ```
//!
//! Both phases need mini-batch. Watermarks pass without ending a bundle: behind a group aggregate there is no time
//! attribute that they could be late for.

pub(crate) mod aggregate;
pub(crate) mod bundle;
pub(crate) mod changelog;
pub(crate) mod expiry;
pub(crate) mod local;

#[cfg(test)]
mod tests;
