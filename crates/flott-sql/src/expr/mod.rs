//! Scalar expressions with Flink's types and meaning: typed at planning, evaluated over Arrow columns.
//!
//! ```text
//! names and arguments --resolve_call--> Expr (typed tree, JSON in the plan) --compile--> CompiledExpr --evaluate(Batch)--> column
//! ```
//!
//! [`ir`] is the tree; [`registry`] has one entry per function (signature, type rule, kernel).

pub mod aggregate;
pub mod cast;
pub mod display;
pub mod error;
pub mod functions;
pub mod ir;
pub mod literal;
pub mod program;
pub mod registry;
pub mod resolve;
pub mod temporal;
pub mod time_zone;
pub mod types;
pub mod value;

#[cfg(test)]
mod tests;

pub use aggregate::{aggregate_listing, aggregate_names, resolve_aggregate};
pub use display::Notation;
pub use error::{ExprError, FunctionError};
pub use ir::{Expr, Literal};
pub use program::{CompiledExpr, CompiledExprs, EvalContext, compile, compile_many, fold_constants};
pub use registry::{function_names, listing};
pub use resolve::{resolve_call, resolve_cast};
pub use time_zone::TimeZone;
