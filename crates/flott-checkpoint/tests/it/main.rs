//! Checkpoints against stores that fail, processes that compete, folders that move.

mod format;
mod protocol;
mod snapshots;
mod support;
