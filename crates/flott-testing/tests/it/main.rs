//! The harness and the mini-cluster, as users write tests with them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod async_io;
mod checks;
mod cluster;
mod functions;
mod harness;
mod operator_state;
