//! The harness and the mini-cluster, as users write tests with them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod harness;
