//! The samples as processes that are killed, and as jobs that fail; and the rows that come of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;
mod kafka;
mod killed;
mod session;
mod stopped;
mod straight;
