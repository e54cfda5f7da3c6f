//! Scalar expressions with Flink's types and meaning: typed at planning, evaluated over Arrow columns.
//!
//! ```text
//! names and arguments --resolve_call--> Expr (typed tree, JSON in the plan) --compile--> CompiledExpr --evaluate(Batch)--> column
//! ```
//!
//! [`ir`] is the tree; [`registry`] has one entry per function (signature, type rule, kernel).

pub mod aggregate;
pub mod display;
pub mod error;
pub mod ir;
pub mod registry;
pub mod resolve;

pub use aggregate::resolve_aggregate;
pub use display::Notation;
pub use error::{ExprError, FunctionError};
pub use ir::{Expr, Literal};
pub use registry::function_names;
pub use resolve::{resolve_call, resolve_cast};
