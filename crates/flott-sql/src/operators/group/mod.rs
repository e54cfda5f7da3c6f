//! Aggregation without windows: a row per group that changes as rows come, told as a changelog.
//!
//! ```text
//! without mini-batch   each row yields its own update, in order         first +I, then -U +U, at last -D
//! with mini-batch      rows are folded; a bundle ends by size, by time or at a barrier
//!                      and yields one update a group, in the order in which groups were first met
//! two phases           rows ─> LocalGroupAggregate ─ partial rows ─exchange─> GroupAggregate (partial rows in) ─> …
//! split DISTINCT       rows ─> EntriesLocalAggregate ─ groups and distinct values ([`entries`]) ─exchange by value─>
//!                      IncrementalGroupAggregate ─ partial rows ─exchange by key─> GroupAggregate (partial rows in) ─> …
//! ```
//!
//! All phases need mini-batch. Watermarks pass without ending a bundle: behind a group aggregate there is no time
//! attribute that they could be late for.

pub(crate) mod aggregate;
pub(crate) mod bundle;
pub(crate) mod changelog;
pub(crate) mod entries;
pub(crate) mod entries_local;
pub(crate) mod expiry;
pub(crate) mod incremental;
pub(crate) mod local;

#[cfg(test)]
mod incremental_tests;
#[cfg(test)]
mod tests;
