//! OVER aggregates: each row with aggregates of the rows before it in its partition.
//!
//! ```text
//! event time        rows ──> waiting, by time, partition, arrival ──watermark──> due ─┐
//! processing time   RANGE with a bound: the same, until the clock moves on            ├─> frames ──> steps ──> kernels ──> rows
//!                   else: at once ────────────────────────────────────────────────────┘
//! ```
//!
//! [`frames`] turns due rows into *steps*: a row enters the frame of its partition (+1) or leaves it (-1). The kernels of
//! [`super::aggregate`] run over the steps of many partitions at once and note the state after each, and each due row
//! takes the values of the step that completes its frame. So a batch costs a pass over its columns, however many
//! partitions it has, and bounded frames need what input that retracts needs, but for MIN and MAX: rows leave in the order
//! in which they came ([`super::aggregate::sliding`]).
//!
//! Values that grow with their frame are told in pieces ([`telling`]).
//!
//! What is ordered by a column that is no time has an operator of its own ([`sorted`]), which tells a changelog.

pub(crate) mod aggregate;
pub(crate) mod frames;
mod running;
pub(crate) mod sorted;
mod telling;
pub(crate) mod waiting;

#[cfg(test)]
mod sorted_tests;
#[cfg(test)]
mod tests;
