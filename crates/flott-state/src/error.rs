//! What can go wrong with state.

use flott_checkpoint::CheckpointError;
use flott_core::encoding::EncodingError;

/// State could not be used, written or read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The key columns are not those of the table.
    #[error(
        "state '{table}' has keys of {expected}, but was asked with columns of {given}: the plan and its state disagree"
    )]
    KeyType {
        /// The table.
        table: String,
        /// The key's types.
        expected: String,
        /// The columns' Arrow types.
        given: String,
    },
    /// There are more keys than slots.
    #[error(
        "state '{table}' has reached 2^32 - 2 keys in one subtask: raise the parallelism, or bound the state (windows, 'table.exec.state.ttl')"
    )]
    TooManyKeys {
        /// The table.
        table: String,
    },
    /// Keys could not be encoded or decoded.
    #[error("keys of state '{table}': {source}")]
    Keys {
        /// The table.
        table: String,
        /// Why.
        source: EncodingError,
    },
    /// Keys could not be hashed again on restore.
    #[error("keys of state '{table}': {source}")]
    Hash {
        /// The table.
        table: String,
        /// Why.
        source: flott_core::hash::UnhashableType,
    },
    /// What does not fit into memory could not be put on disk, or read from there.
    #[error(
        "state '{table}' cannot be kept on local disk: {source}; see that the disk is whole and has space, or name another folder by \
         'state.backend.rocksdb.localdir'"
    )]
    Cold {
        /// The table.
        table: String,
        /// Why.
        source: crate::cold::ColdError,
    },
    /// What the disk gave back is no row of the table.
    #[error(
        "a row of state '{table}', of key group {key_group}, came back damaged from {place}: the job goes on from its last checkpoint; if \
         this comes again, name another disk by 'state.backend.rocksdb.localdir'"
    )]
    DamagedRow {
        /// The table.
        table: String,
        /// Where its rows are.
        place: String,
        /// The row's key group.
        key_group: flott_core::KeyGroup,
    },
    /// A backend is not there, or is set wrongly.
    #[error("{0}")]
    Backend(String),
    /// State was left behind half done by a defect of ours.
    #[error("{0}")]
    Broken(String),
    /// A run is damaged.
    #[error("state '{table}' cannot be read from {place}: {problem}; restore from an older checkpoint")]
    DamagedRun {
        /// The table.
        table: String,
        /// File and position.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// State was written for another shape of the table.
    #[error(
        "state '{table}' in the checkpoint does not fit the job: {problem}; give the operator another uid, or start with --allow-non-restored-state and without this state"
    )]
    Incompatible {
        /// The table.
        table: String,
        /// What differs.
        problem: String,
    },
    /// A file could not be written or read.
    #[error(transparent)]
    Store(#[from] CheckpointError),
}

impl StateError {
    /// Whether what was read is not what was written: an older checkpoint may be whole, or another copy.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::DamagedRun { .. } | Self::Store(CheckpointError::DamagedFile { .. })
        )
    }

    /// A failure of a store once more, for everyone who asks.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Cold { table, source } => Self::Cold {
                table: table.clone(),
                source: source.clone(),
            },
            other => Self::Broken(other.to_string()),
        }
    }
}
