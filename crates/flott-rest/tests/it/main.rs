//! The server over a dispatcher in this process, asked over a socket as clients ask it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod events;
mod flink;
mod health;
mod jars;
mod jobs;
mod logs;
mod openapi;
mod operations;
mod requirements;
mod support;
