//! The phase of a group aggregation before the exchange, under mini-batch: [`LocalGroupAggregate`].

use super::bundle::bundle_end;
use crate::nodes::{GroupAggregateSpec, MiniBatch};
use crate::operators::aggregate::{Aggregates, Phase, Rows};
use crate::operators::row_table::{Reduction, RowTable};
use crate::operators::{MAX_EMITTED_ROWS, key_columns, signs_of, spec_error};
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::hash::hash_columns;
use flott_core::{Batch, CheckpointId, KeyGroupRange};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::KeyedTable;
use std::sync::Arc;

/// Memory that is held back at most.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Aggregates the rows of a mini-batch per group and emits partial rows: keys, partial columns; groups in the order in
/// which they were first met.
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
    table: KeyedTable,
    deadline_ms: Option<i64>,
    /// The slot to go on with, while the table is emitted.
    next: u32,
    reduction: Reduction,
    scratch: Vec<u32>,
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
        let descriptor = Arc::new(aggregates.descriptor("local-group-aggs", group));
        Ok(Self {
            keys: spec.keys.clone(),
            limits,
            clock: Arc::new(SystemClock),
            row_table: RowTable::new(&aggregates),
            // What is held back lives in no checkpoint, so its key groups mean nothing.
            table: KeyedTable::new(descriptor, 1, KeyGroupRange::all(1)),
            aggregates,
            deadline_ms: None,
            next: 0,
            reduction: Reduction::default(),
            scratch: vec![],
        })
    }

    fn add(&mut self, batch: &Batch) -> Result<(), TaskError> {
        let keys = key_columns(batch.columns(), &self.keys);
        let rows = batch.num_rows();
        let hashes = hash_columns(&keys, rows)?;
        self.scratch.clear();
        if keys.is_empty() {
            self.table.slots(&keys, &hashes[..1], &mut self.scratch)?;
            self.scratch.resize(rows, self.scratch[0]);
        } else {
            self.table.slots(&keys, &hashes, &mut self.scratch)?;
        }
        let signs = signs_of(batch);
        let rows = Rows {
            slots: &self.scratch,
            columns: batch.columns(),
            signs: signs.as_deref(),
            passed: &[],
        };
        self.aggregates.accumulate(&mut self.table, rows, &mut [], None);
        self.aggregates
            .count_rows(&mut self.table, &self.scratch, signs.as_deref());
        Ok(())
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
        self.scratch.clear();
        let next = self.table.scan(self.next, MAX_EMITTED_ROWS, &mut self.scratch);
        if !self.scratch.is_empty() {
            let mut partial = self.table.keys(&self.scratch)?;
            partial.extend(self.aggregates.partials(&self.table, &self.scratch));
            out.emit(Batch::new(partial, self.scratch.len()));
        }
        if let Some(next) = next {
            self.next = next;
            return Ok(Flow::More);
        }
        self.reduction.judge(self.table.len() as u64);
        self.table.clear();
        (self.next, self.deadline_ms) = (0, None);
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
        if rows >= self.limits.size || self.table.bytes() > MAX_BYTES {
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
        self.table.bytes()
    }
}
