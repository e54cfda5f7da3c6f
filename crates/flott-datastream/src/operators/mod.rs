//! Operators over [`crate::Records`]: one file a kind.

pub(crate) mod async_wait;
pub(crate) mod connected;
pub(crate) mod keyed;
pub(crate) mod partition;
pub(crate) mod sink;
pub(crate) mod stateless;
pub(crate) mod window;

use flott_core::EventTime;
use flott_runtime::{FailureLabel, TaskError};
use serde::Serialize;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::function::BoxError;
use crate::state::WrongDeclaration;
use crate::text::write_text;

/// Rows after which an operator lets the next one work.
pub(crate) const BATCH_ROWS: usize = 8192;

/// Runs user code, and tells the record that it works on when it fails.
pub struct AtHand<T> {
    /// A copy, where that costs nothing.
    value: Option<T>,
    /// How many records of the subtask came before it.
    pub(crate) number: u64,
    time: Option<EventTime>,
}

impl<T> fmt::Debug for AtHand<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AtHand(record {})", self.number)
    }
}

impl<T: Clone + Serialize> Default for AtHand<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone + Serialize> AtHand<T> {
    /// Before the first record.
    pub fn new() -> Self {
        Self {
            value: None,
            number: 0,
            time: None,
        }
    }

    /// Notes the next record.
    #[inline]
    pub fn next(&mut self, value: &T, time: Option<EventTime>) {
        // Values that own nothing are copied by a few moves; others are gone when their function has failed.
        if !std::mem::needs_drop::<T>() {
            self.value = Some(value.clone());
        }
        self.number += 1;
        self.time = time;
    }

    /// Runs user code, which notes each record by [`Self::next`].
    ///
    /// # Errors
    /// What the code returned or panicked with, and the record that it was given.
    pub fn guard(&mut self, code: impl FnOnce(&mut Self) -> Result<(), BoxError>) -> Result<(), TaskError> {
        match catch_unwind(AssertUnwindSafe(|| code(self))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let message = format!("the function failed at {}", self.describe());
                Err(TaskError::caused(FailureLabel::User, message, error))
            }
            Err(panic) => {
                let said = flott_runtime::error::panic_text(panic.as_ref());
                Err(TaskError::user(format!(
                    "the function panicked at {}: {said}",
                    self.describe()
                )))
            }
        }
    }

    fn describe(&self) -> String {
        let mut text = format!("record {}", self.number);
        let mut value = String::new();
        if let Some(at_hand) = &self.value
            && write_text(at_hand, &mut value).is_ok()
        {
            text.push_str(&format!(", {value},"));
        }
        text.push_str(&format!(" of type {}", std::any::type_name::<T>()));
        if let Some(time) = self.time {
            text.push_str(&format!(" with event time {time}"));
        }
        text
    }
}

/// The failure of user code at a record, the `number`th of its subtask.
pub(crate) fn describe_failure<T: Clone + Serialize>(
    value: &T,
    number: u64,
    time: Option<EventTime>,
    error: BoxError,
) -> TaskError {
    let at_hand = AtHand {
        value: Some(value.clone()),
        number,
        time,
    };
    TaskError::caused(
        FailureLabel::User,
        format!("the function failed at {}", at_hand.describe()),
        error,
    )
}

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
