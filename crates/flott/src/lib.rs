//! Flott: Apache Flink's jobs on a Rust engine.
//!
//! This crate joins the rooms: connectors, SQL and its operators know nothing of each other and meet in the
//! [`registry`].

use flott_runtime::Registry;

pub use flott_runtime as runtime;
pub use flott_sql as sql;

/// A registry of everything that this build can run.
pub fn registry() -> Registry {
    let mut registry = Registry::new();
    flott_sql::operators::register(&mut registry);
    flott_connectors::register(&mut registry);
    registry
}
