//! Room for recursion: parsing and planning go down trees, whatever stack the caller has.
//!
//! [`crate::parser`] bounds how deep trees get; this makes that depth safe on every thread, in a build without
//! optimisation too, where a level of sqlparser's takes tens of kilobytes.

use crate::error::{SqlError, SqlResult, Step};
use std::panic::resume_unwind;
use std::thread::{Builder, scope};

/// Reserved, not used: pages that no recursion reaches stay untouched.
const STACK_BYTES: usize = 64 << 20;

/// Runs `work` on a thread of its own, with a large stack, and waits for it.
///
/// # Errors
/// Those of `work`, or if there can be no thread.
pub(crate) fn with_room<T: Send>(work: impl FnOnce() -> SqlResult<T> + Send) -> SqlResult<T> {
    scope(|threads| {
        let planner = Builder::new().name("sql".to_owned()).stack_size(STACK_BYTES);
        match planner.spawn_scoped(threads, work) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(e) => Err(SqlError::new(
                Step::Plan,
                format!("there can be no thread to plan on: {e}"),
            )),
        }
    })
}
