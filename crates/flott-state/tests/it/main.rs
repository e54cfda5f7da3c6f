//! State through files: written by subtasks, restored by others.

mod format;
mod persist;
mod support;
