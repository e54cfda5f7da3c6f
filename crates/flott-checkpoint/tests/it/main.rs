//! Checkpoints against stores that fail, processes that compete, folders that move.

#![allow(clippy::unwrap_used, clippy::panic)]

mod claims;
mod format;
mod protocol;
#[cfg(feature = "s3")]
mod s3;
mod snapshots;
mod support;
