//! State through files: written by subtasks, restored by others.

#![allow(clippy::unwrap_used, clippy::panic)]

mod format;
mod persist;
mod preload;
mod support;
