//! Specs of the nodes that remember rows by key to put a changelog right.

use super::{SpecError, check_columns};
use flott_core::Field;
use serde::{Deserialize, Serialize};

/// The last row of each primary key, for a sink whose key is not that of its input's updates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkMaterializerSpec {
    /// Columns of the input and of the sink.
    pub input: Vec<Field>,
    /// Positions of the sink's primary key.
    pub primary_key: Vec<usize>,
    /// Positions of the key by which the input's updates follow each other; `None`: rows are told apart by all columns.
    pub upsert_key: Option<Vec<usize>>,
    /// `table.exec.state.ttl` in ms; 0: kept for ever.
    #[serde(default)]
    pub ttl_ms: u64,
}

impl SinkMaterializerSpec {
    /// Checks columns.
    ///
    /// # Errors
    /// If a key lies outside of the input.
    pub fn validate(&self) -> Result<(), SpecError> {
        check_columns("sink's primary key", &self.primary_key, &self.input)?;
        check_columns(
            "input's upsert key",
            self.upsert_key.as_deref().unwrap_or_default(),
            &self.input,
        )
    }
}

/// A whole changelog out of upserts and deletions by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangelogNormalizeSpec {
    /// Columns of the input and of the output.
    pub input: Vec<Field>,
    /// Positions of the key.
    pub key: Vec<usize>,
    /// Whether readers need -U before +U.
    pub generate_update_before: bool,
    /// `table.exec.state.ttl` in ms; 0: kept for ever.
    #[serde(default)]
    pub ttl_ms: u64,
}

impl ChangelogNormalizeSpec {
    /// Checks columns.
    ///
    /// # Errors
    /// If the key lies outside of the input.
    pub fn validate(&self) -> Result<(), SpecError> {
        check_columns("changelog's key", &self.key, &self.input)
    }
}
