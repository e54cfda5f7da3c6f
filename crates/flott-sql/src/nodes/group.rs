//! Aggregation without windows: [`GroupAggregateSpec`].

use super::aggregate::{AggregateCall, PartialColumn, check_aggregates, partial_columns, result_fields, set_columns};
use super::{SpecError, aggregate, check_columns};
use flott_core::Field;
use serde::{Deserialize, Serialize};

/// Flink's mini-batch: updates of a key are folded until the time or the size is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MiniBatch {
    /// `table.exec.mini-batch.allow-latency` in ms.
    pub latency_ms: u64,
    /// `table.exec.mini-batch.size` in rows.
    pub size: u64,
}

/// Aggregates per key over all time, with a changelog; one spec for one phase and for both of two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupAggregateSpec {
    /// Columns of the rows that are aggregated (in two phases: of the local node's input).
    pub input: Vec<Field>,
    /// Grouping columns; none: one row for everything.
    pub keys: Vec<usize>,
    /// Aggregates; none: `SELECT DISTINCT`.
    pub aggregates: Vec<AggregateCall>,
    /// Whether the input holds other kinds than +I.
    pub input_retracts: bool,
    /// Whether readers need -U before +U.
    pub generate_update_before: bool,
    /// Folding; `None`: each row yields its own update.
    pub mini_batch: Option<MiniBatch>,
    /// `table.exec.state.ttl` in ms; 0: kept for ever.
    #[serde(default)]
    pub ttl_ms: u64,
}

impl GroupAggregateSpec {
    /// Columns of the result: keys, aggregates.
    pub fn output(&self) -> Vec<Field> {
        result_fields(&self.input, &self.keys, &self.aggregates)
    }

    /// Columns between the phases: keys, partial columns, distinct values.
    pub fn local_output(&self) -> Vec<Field> {
        let mut fields: Vec<Field> = self.keys.iter().map(|&k| self.input[k].clone()).collect();
        fields.extend(
            partial_columns(&self.input, &self.aggregates, self.input_retracts)
                .into_iter()
                .chain(set_columns(&self.input, &self.aggregates, self.input_retracts))
                .map(PartialColumn::field),
        );
        fields
    }

    /// Positions of the keys in [`Self::local_output`], for the exchange between the phases.
    pub fn local_keys(&self) -> Vec<usize> {
        (0..self.keys.len()).collect()
    }

    /// Whether the aggregates can be computed in two phases: under mini-batch, no MIN or MAX over input that
    /// retracts.
    pub fn supports_two_phases(&self) -> bool {
        self.mini_batch.is_some() && aggregate::supports_two_phases(&self.aggregates, self.input_retracts)
    }

    /// Checks columns and aggregates.
    ///
    /// # Errors
    /// The first thing that cannot run.
    pub fn validate(&self) -> Result<(), SpecError> {
        check_columns("aggregate's keys", &self.keys, &self.input)?;
        check_aggregates(&self.aggregates, &self.input)
    }
}
