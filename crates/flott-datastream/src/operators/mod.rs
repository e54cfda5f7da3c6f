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
pub(crate) use at_hand::{describe_failure, made_of_each};

use crate::function::BoxError;
use crate::state::WrongDeclaration;
use flott_runtime::error::panic_text;
use flott_runtime::{FailureLabel, TaskError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

/// Rows after which an operator lets the next one work.
pub(crate) const BATCH_ROWS: usize = 8192;

/// Runs user code that has no record: `open`, `close`, `flush`.
///
/// # Errors
/// What the code returned or panicked with.
pub fn guarded(what: &str, code: impl FnOnce() -> Result<(), BoxError>) -> Result<(), TaskError> {
    told(catch_unwind(AssertUnwindSafe(code)), || format!("in its {what}"))
}

/// What user code returned or panicked with, with the place where it stood: `place` puts it into words, once it has failed.
fn told(ended: thread::Result<Result<(), BoxError>>, place: impl FnOnce() -> String) -> Result<(), TaskError> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            let is_declaration = error.is::<WrongDeclaration>();
            let text = format!("the function failed {}", place());
            let error = TaskError::caused(FailureLabel::User, text, error);
            // The same program says the same again.
            Err(if is_declaration { error.fatal() } else { error })
        }
        Err(panic) => {
            let said = panic_text(panic.as_ref());
            Err(TaskError::user(format!("the function panicked {}: {said}", place())))
        }
    }
}
