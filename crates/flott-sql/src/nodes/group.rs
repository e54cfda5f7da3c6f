//! Aggregation without windows: [`GroupAggregateSpec`].

use super::aggregate::{AggregateCall, PartialColumn, check_aggregates, partial_columns, result_fields, set_columns};
use super::{SpecError, aggregate, check_columns};
use flott_core::{Field, LogicalType, TypeKind};
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
    /// Whether an incremental phase stands between the local and the global one, and has the distinct values, each in the
    /// subtask that its own hash says ([`Self::supports_increments`]).
    #[serde(default)]
    pub is_incremental: bool,
}

impl GroupAggregateSpec {
    /// Columns of the result: keys, aggregates.
    pub fn output(&self) -> Vec<Field> {
        result_fields(&self.input, &self.keys, &self.aggregates)
    }

    /// Columns behind the local phase: keys, partial columns, distinct values; before an incremental phase the columns of
    /// [`Self::entry_output`].
    pub fn local_output(&self) -> Vec<Field> {
        if self.is_incremental {
            return self.entry_output();
        }
        let mut fields: Vec<Field> = self.keys.iter().map(|&k| self.input[k].clone()).collect();
        fields.extend(
            partial_columns(&self.input, &self.aggregates, self.input_retracts)
                .into_iter()
                .chain(set_columns(&self.input, &self.aggregates, self.input_retracts))
                .map(PartialColumn::field),
        );
        fields
    }

    /// Columns between a local and an incremental phase, where a row is either what a group adds up to or one distinct value of
    /// it: the keys; the partial columns of the aggregates of all values; `set`, 0 in a row of a group, else from 1 on the
    /// set of distinct values that the row belongs to; a column a set for the value; `filters`, a bit for each under which
    /// the value counts.
    fn entry_output(&self) -> Vec<Field> {
        let mut fields: Vec<Field> = self.keys.iter().map(|&k| self.input[k].clone()).collect();
        let partials = partial_columns(&self.input, &self.plain_aggregates(), false);
        fields.extend(partials.into_iter().map(PartialColumn::field));
        fields.push(Field::new("set", LogicalType::not_null(TypeKind::Int)));
        for (i, arg) in aggregate::distinct_args(&self.aggregates).into_iter().enumerate() {
            fields.push(Field::new(
                format!("distinct${i}"),
                self.input[arg].ty.with_nullable(true),
            ));
        }
        fields.push(Field::new("filters", LogicalType::not_null(TypeKind::BigInt)));
        fields
    }

    /// The aggregates of all values, not only of the distinct ones.
    pub(crate) fn plain_aggregates(&self) -> Vec<AggregateCall> {
        let plain = self.aggregates.iter().filter(|a| a.distinct_arg().is_none());
        plain.cloned().collect()
    }

    /// The same for the global phase behind an incremental one: what arrives there is distinct already.
    pub(crate) fn behind_increments(&self) -> Self {
        let mut spec = self.clone();
        spec.is_incremental = false;
        spec.aggregates.iter_mut().for_each(|a| a.distinct = false);
        spec
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

    /// Whether an incremental phase can have the distinct values: where Flink splits DISTINCT aggregates too, rows only
    /// come, and no aggregate is without a value while only other subtasks have told what they have of its group.
    pub fn supports_increments(&self) -> bool {
        let is_split = |a: &AggregateCall| match a.function.as_str() {
            "COUNT" => true,
            "SUM" | "AVG" | "MIN" | "MAX" => a.ty.nullable,
            _ => false,
        };
        let distinct = aggregate::distinct_args(&self.aggregates);
        distinct.iter().any(|arg| !self.keys.contains(arg))
            && self.aggregates.iter().all(is_split)
            && !self.input_retracts
            && self.ttl_ms == 0
            && self.supports_two_phases()
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
