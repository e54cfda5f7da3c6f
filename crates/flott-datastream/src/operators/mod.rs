//! Operators over [`crate::Records`]: one file a kind.

pub(crate) mod async_wait;
mod at_hand;
pub(crate) mod connected;
pub(crate) mod keyed;
pub(crate) mod partition;
pub(crate) mod sink;
pub(crate) mod stateless;
pub(crate) mod window;

pub use at_hand::AtHand;
pub(crate) use at_hand::describe_failure;

use crate::function::BoxError;
use crate::state::WrongDeclaration;
use flott_runtime::{FailureLabel, TaskError};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Rows after which an operator lets the next one work.
pub(crate) const BATCH_ROWS: usize = 8192;

/// Runs user code that has no record: `open`, `close`, `flush`.
///
/// # Errors
/// What the code returned or panicked with.
pub fn guarded(what: &str, code: impl FnOnce() -> Result<(), BoxError>) -> Result<(), TaskError> {
    guarded_in(|| what.to_owned(), code)
}

/// The same, for a place that is put into words when the code has failed.
pub(crate) fn guarded_in(
    place: impl FnOnce() -> String,
    code: impl FnOnce() -> Result<(), BoxError>,
) -> Result<(), TaskError> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            let is_declaration = error.is::<WrongDeclaration>();
            let text = format!("the function failed in its {}", place());
            let error = TaskError::caused(FailureLabel::User, text, error);
            // The same program says the same again.
            Err(if is_declaration { error.fatal() } else { error })
        }
        Err(panic) => {
            let said = flott_runtime::error::panic_text(panic.as_ref());
            let text = format!("the function panicked in its {}: {said}", place());
            Err(TaskError::user(text))
        }
    }
}
