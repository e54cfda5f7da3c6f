//! Flink SQL: from a script's text to a plan, and the operators that such plans run.
//!
//! A newcomer reads [`expr`] first: typed expressions and their vectorised evaluation.

pub mod expr;
pub mod nodes;
