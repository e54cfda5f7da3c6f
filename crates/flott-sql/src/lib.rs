//! Flink SQL: from a script's text to a plan, and the operators that such plans run.
//!
//! ```text
//! text ─ parser ─▶ statements ─ script ─▶ binder ─▶ rel ─ rules ─▶ rel ─ physical ─▶ flott_plan::Plan ─▶ operators
//! ```
//! A newcomer reads in this order: [`script`] (what a session does with each statement), [`parser`], [`catalog`],
//! [`binder`] (names and types), [`rel`] (the relational tree), [`rules`], [`physical`], [`nodes`] (what a plan's nodes
//! say), then [`expr`]: typed expressions and their vectorised evaluation.

pub mod binder;
pub mod catalog;
pub mod check;
pub mod config;
pub mod error;
pub mod explain;
pub mod expr;
pub mod nodes;
pub mod operators;
pub mod parser;
pub mod physical;
pub mod rel;
pub mod rules;
pub mod script;
mod stack;
pub mod table_text;

pub use error::{SqlError, SqlResult, Step};
pub use script::{Job, Outcome, Script, Session};
