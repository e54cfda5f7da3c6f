//! Why a task failed: a message for a person, a label for a policy.

use flott_state::{CheckpointError, IoCause};
use serde::{Deserialize, Serialize};
use std::fmt;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Whose business a failure is; decides what the message recommends and how it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureLabel {
    /// A row that cannot be read or converted.
    Data,
    /// The job's own logic: a function that failed, an overflow, a wrong option.
    User,
    /// Memory, disk or another limit.
    Resources,
    /// A broker, a store or a network that did not answer.
    Infrastructure,
    /// A defect of Flott.
    Internal,
}

/// A task cannot go on. The text names place, value and remedy; the source is the cause below it.
#[derive(Debug)]
pub struct TaskError {
    label: FailureLabel,
    message: String,
    source: Option<Source>,
    retryable: bool,
}

impl TaskError {
    /// A failure with this label and message.
    pub fn new(label: FailureLabel, message: impl Into<String>) -> Self {
        Self {
            label,
            message: message.into(),
            source: None,
            retryable: true,
        }
    }

    /// A failure caused by `source`.
    pub fn caused(label: FailureLabel, message: impl Into<String>, source: impl Into<Source>) -> Self {
        Self {
            label,
            message: message.into(),
            source: Some(source.into()),
            retryable: true,
        }
    }

    /// A bad row.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(FailureLabel::Data, message)
    }

    /// The job's own mistake.
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(FailureLabel::User, message)
    }

    /// A defect of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(FailureLabel::Internal, message)
    }

    /// A restart cannot help (lost data, a missing topic, a wrong option): the job fails at once.
    pub fn fatal(mut self) -> Self {
        self.retryable = false;
        self
    }

    /// Whether the restart strategy applies.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// The label.
    pub fn label(&self) -> FailureLabel {
        self.label
    }

    /// The same failure, seen from `place`.
    pub fn at(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Message and all causes in one line.
    pub fn full_text(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = self.source.as_deref().map(|s| s as &dyn std::error::Error);
        while let Some(c) = cause {
            let c_text = c.to_string();
            if !text.contains(&c_text) {
                text.push_str(": ");
                text.push_str(&c_text);
            }
            cause = c.source();
        }
        text
    }
}

/// What a panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TaskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as &(dyn std::error::Error + 'static))
    }
}

impl From<arrow_schema::ArrowError> for TaskError {
    fn from(e: arrow_schema::ArrowError) -> Self {
        Self::caused(FailureLabel::Internal, "a column kernel failed", e)
    }
}

impl From<flott_core::hash::UnhashableType> for TaskError {
    fn from(e: flott_core::hash::UnhashableType) -> Self {
        Self::caused(FailureLabel::User, "the key cannot be hashed", e)
    }
}

impl From<flott_state::StateError> for TaskError {
    fn from(e: flott_state::StateError) -> Self {
        use flott_state::StateError as S;
        let label = match &e {
            S::TooManyKeys { .. } => FailureLabel::Resources,
            S::Incompatible { .. } | S::Backend(_) => FailureLabel::User,
            S::Store(store) => FailureLabel::from(store),
            S::DamagedRun { .. } | S::DamagedRow { .. } | S::Cold { .. } => FailureLabel::Infrastructure,
            S::KeyType { .. } | S::Keys { .. } | S::Hash { .. } | S::Broken(_) => FailureLabel::Internal,
        };
        let error = Self::new(label, e.to_string());
        match e {
            // Another shape of state stays what it is.
            S::Incompatible { .. } | S::Backend(_) => error.fatal(),
            _ => error,
        }
    }
}

impl From<&CheckpointError> for FailureLabel {
    fn from(e: &CheckpointError) -> Self {
        use CheckpointError as C;
        match e {
            C::Io {
                cause: IoCause::Full(_),
                ..
            } => Self::Resources,
            C::BadUri { .. }
            | C::BadOption { .. }
            | C::Unsuitable { .. }
            | C::UnknownVersion { .. }
            | C::NotFound { .. }
            | C::Mismatch { .. } => Self::User,
            C::EncodeManifest { .. } => Self::Internal,
            C::Io { .. }
            | C::GivenUp { .. }
            | C::Fenced { .. }
            | C::Superseded { .. }
            | C::MissingBase { .. }
            | C::DamagedManifest { .. }
            | C::DamagedFile { .. }
            | C::AllDamaged { .. } => Self::Infrastructure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stores_refusal_has_the_label_of_its_cause() {
        let refused = |cause| CheckpointError::Io {
            action: "write",
            path: "/state".into(),
            cause,
        };
        for (cause, label) in [
            (IoCause::Full("no space".into()), FailureLabel::Resources),
            (IoCause::Denied("read-only".into()), FailureLabel::Infrastructure),
            (IoCause::Other("no answer".into()), FailureLabel::Infrastructure),
        ] {
            let error = TaskError::from(flott_state::StateError::Store(refused(cause)));
            assert_eq!((error.label(), error.is_retryable()), (label, true), "{error}");
        }
    }
}
