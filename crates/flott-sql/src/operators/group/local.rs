//! The phase of a group aggregation before the exchange, under mini-batch: [`LocalGroupAggregate`].

use super::bundle::bundle_end;
use crate::nodes::{GroupAggregateSpec, MiniBatch};
use crate::operators::aggregate::{Aggregates, Phase};
use crate::operators::held::{Held, HeldState};
use crate::operators::row_table::{Reduction, RowTable};
use crate::operators::{MAX_EMITTED_ROWS, key_columns, signs_of, spec_error};
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::{Batch, CheckpointId};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use std::sync::Arc;

/// Memory that is held back at most.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Aggregates the rows of a mini-batch per group and emits partial rows: keys, partial columns, distinct values; groups
/// in the order in which they were first met.
///
/// There is no state in checkpoints: everything is emitted before a barrier passes. Where groups hardly repeat within a
/// mini-batch, rows are turned into partial rows one by one for a while ([`Reduction`]).
#[derive(Debug)]
pub(crate) struct LocalGroupAggregate {
    // Constant.
    keys: Vec<usize>,
    aggregates: Aggregates,
    limits: MiniBatch,
    clock: SharedClock,
    row_table: RowTable,
    // What is held back.
    held: Held,
    deadline_ms: Option<i64>,
    reduction: Reduction,
}

impl LocalGroupAggregate {
    /// The operator of a spec.
    ///
    /// # Errors
    /// If the spec cannot run in two phases.
    pub(crate) fn new(spec: &GroupAggregateSpec) -> Result<Self, TaskError> {
        spec.validate().map_err(spec_error)?;
        let Some(limits) = spec.mini_batch else {
            return Err(TaskError::internal("a local group aggregate needs mini-batch"));
        };
        let retracts = spec.input_retracts;
        let aggregates =
            Aggregates::new(&spec.input, &spec.aggregates, retracts, retracts, Phase::Local).map_err(spec_error)?;
        let group = spec.keys.iter().map(|&k| spec.input[k].ty.clone()).collect();
        let state = HeldState::new(&aggregates, "local-group-aggs", group);
        Ok(Self {
            keys: spec.keys.clone(),
            limits,
            clock: Arc::new(SystemClock),
            row_table: RowTable::new(&aggregates),
            held: Held::new(&state),
            aggregates,
            deadline_ms: None,
            reduction: Reduction::default(),
        })
    }

    fn add(&mut self, batch: &Batch) -> Result<(), TaskError> {
        let keys = key_columns(batch.columns(), &self.keys);
        let (rows, signs) = (batch.num_rows(), signs_of(batch));
        self.held
            .add(&self.aggregates, &keys, batch.columns(), rows, signs.as_deref())
    }

    /// Emits each row as a partial row of its own.
    fn pass(&mut self, batch: &Batch, out: &mut Output) -> Result<(), TaskError> {
        let (rows, signs) = (batch.num_rows(), signs_of(batch));
        let mut partial = key_columns(batch.columns(), &self.keys);
        partial.extend(
            self.row_table
                .partials(&self.aggregates, batch.columns(), rows, signs.as_deref())?,
        );
        out.emit(Batch::new(partial, rows));
        Ok(())
    }

    /// Emits what is held back, as far as there is room.
    fn flush(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        if let Some((partial, rows)) = self.held.emit(&self.aggregates, &self.row_table, MAX_EMITTED_ROWS)? {
            out.emit(Batch::new(partial, rows));
            return Ok(Flow::More);
        }
        self.reduction.judge(self.held.len() as u64);
        self.held.clear();
        self.deadline_ms = None;
        Ok(Flow::Done)
    }
}

impl Operator for LocalGroupAggregate {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        self.clock = ctx.clock.clone();
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        if batch.is_empty() {
            return Ok(Flow::Done);
        }
        if self.reduction.passes(batch.num_rows()) {
            self.pass(&batch, out)?;
            return Ok(Flow::Done);
        }
        self.add(&batch)?;
        if self.deadline_ms.is_none() {
            self.deadline_ms = Some(bundle_end(self.clock.now_ms(), self.limits.latency_ms));
        }
        let rows = self.reduction.count(batch.num_rows());
        if rows >= self.limits.size || self.held.bytes() > MAX_BYTES {
            self.flush(out)
        } else {
            Ok(Flow::Done)
        }
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.flush(out)
    }

    fn next_timer(&self) -> Option<i64> {
        self.deadline_ms
    }

    fn on_timer(&mut self, _now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        self.flush(out)
    }

    fn before_barrier(&mut self, _checkpoint: CheckpointId, out: &mut Output) -> Result<Flow, TaskError> {
        self.flush(out)
    }

    fn finish(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.flush(out)
    }

    fn state_bytes(&self) -> usize {
        self.held.bytes()
    }
}
