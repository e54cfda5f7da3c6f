//! What an operator hands over at a barrier ([`OperatorSnapshot`]) and gets back when it is restored ([`RestoredState`]).

use crate::capture::TableCapture;
use bytes::Bytes;
use flott_checkpoint::Redistribute;

/// State of one subtask of an operator at a barrier.
#[derive(Debug, Default)]
pub struct OperatorSnapshot {
    /// Captures of keyed tables.
    pub keyed: Vec<TableCapture>,
    /// Operator state.
    pub operator_state: Vec<OperatorEntry>,
    /// What a sink has prepared; it is committed once the checkpoint exists, by this process or a later one.
    pub committables: Vec<Bytes>,
}

/// An entry of operator state: opaque bytes that restore gives to one subtask or to all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorEntry {
    /// Name of the state.
    pub name: String,
    /// The bytes, in a versioned format of the operator's own.
    pub bytes: Bytes,
    /// Who gets it on restore.
    pub redistribute: Redistribute,
}

impl OperatorSnapshot {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.keyed.is_empty() && self.operator_state.is_empty() && self.committables.is_empty()
    }
}

/// State of one subtask of an operator to start from.
#[derive(Debug, Default)]
pub struct RestoredState {
    /// Operator state that this subtask gets.
    pub operator_state: Vec<OperatorEntry>,
}
