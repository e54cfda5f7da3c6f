//! The phase of a window aggregation before the exchange: [`LocalWindowAggregate`].

use crate::nodes::WindowAggregateSpec;
use crate::operators::aggregate::{Aggregates, Phase};
use crate::operators::held::{Held, HeldState};
use crate::operators::row_table::{Reduction, RowTable};
use crate::operators::window::slices::{Part, Slices};
use crate::operators::{MAX_EMITTED_ROWS, key_columns, needed_columns, signs_of, spec_error, wall_clock_of};
use arrow_array::{ArrayRef, Int64Array};
use flott_core::time::{END_OF_TIME, EventTime};
use flott_core::{Batch, CheckpointId};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys, or distinct values, that are held back at most; more are emitted at once.
const MAX_KEYS: usize = 100_000;
/// Memory that is held back at most.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Aggregates rows per key and slice until a watermark makes the slice's first window fire, and emits partial rows: keys,
/// partial columns, distinct values, the slice's end.
///
/// Nothing is dropped as late here: that is decided behind the exchange. There is no state in checkpoints: everything is
/// emitted before a barrier passes. Where keys hardly repeat (seen when [`MAX_KEYS`] or [`MAX_BYTES`] is reached), rows
/// are turned into partial rows one by one for a while ([`Reduction`]). Costs 24 ns a row of a BIGINT key where a key
/// comes five times a slice (`examples/bench_ops.rs`).
#[derive(Debug)]
pub(crate) struct LocalWindowAggregate {
    // Constant.
    keys: Vec<usize>,
    needed: Vec<bool>,
    aggregates: Aggregates,
    // What is held back.
    slices: Slices,
    state: HeldState,
    /// By the end of the slice.
    held: BTreeMap<i64, Held>,
    row_table: RowTable,
    /// Slices whose first window fires by this time are on their way out.
    target: EventTime,
    reduction: Reduction,
}

impl LocalWindowAggregate {
    /// The operator of a spec.
    ///
    /// # Errors
    /// If the spec cannot run in two phases.
    pub(crate) fn new(spec: &WindowAggregateSpec) -> Result<Self, TaskError> {
        spec.validate().map_err(spec_error)?;
        let retracts = spec.input_retracts;
        let aggregates =
            Aggregates::new(&spec.input, &spec.aggregates, retracts, retracts, Phase::Local).map_err(spec_error)?;
        let clock = if spec.is_local_time() {
            wall_clock_of(&spec.time_zone)?
        } else {
            wall_clock_of("UTC")?
        };
        let group = spec.keys.iter().map(|&k| spec.input[k].ty.clone()).collect();
        let state = HeldState::new(&aggregates, "local-window-aggs", group);
        Ok(Self {
            keys: spec.keys.clone(),
            needed: needed_columns(spec.input.len(), &spec.keys, &spec.aggregates),
            slices: Slices::new(spec.window, spec.time, clock, &spec.input),
            state,
            held: BTreeMap::new(),
            row_table: RowTable::new(&aggregates),
            aggregates,
            target: EventTime::MIN,
            reduction: Reduction::default(),
        })
    }

    fn add(&mut self, slice_end: i64, part: &Part, batch: &Batch) -> Result<(), TaskError> {
        let columns = part.of(batch.columns(), &self.needed)?;
        let rows = part.len(batch.num_rows());
        let keys = key_columns(&columns, &self.keys);
        let signs = signs_of(batch).map(|s| part.of_slice(&s).into_owned());
        let held = self.held.entry(slice_end).or_insert_with(|| Held::new(&self.state));
        held.add(&self.aggregates, &keys, &columns, rows, signs.as_deref())
    }

    /// Emits each row as a partial row of its own.
    fn pass(&mut self, slice_end: i64, part: &Part, batch: &Batch, out: &mut Output) -> Result<(), TaskError> {
        let columns = part.of(batch.columns(), &self.needed)?;
        let rows = part.len(batch.num_rows());
        let signs = signs_of(batch).map(|s| part.of_slice(&s).into_owned());
        let mut partial = key_columns(&columns, &self.keys);
        partial.extend(
            self.row_table
                .partials(&self.aggregates, &columns, rows, signs.as_deref())?,
        );
        partial.push(slice_column(slice_end, rows));
        out.emit(Batch::new(partial, rows));
        Ok(())
    }

    /// Emits slices that are due by the target, as far as there is room.
    fn advance(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let mut room = MAX_EMITTED_ROWS;
        while let Some(mut first) = self.held.first_entry() {
            let slice_end = *first.key();
            if !self.slices.has_fired(slice_end, self.target) {
                break;
            }
            if room == 0 {
                return Ok(Flow::More);
            }
            match first.get_mut().emit(&self.aggregates, &self.row_table, room)? {
                Some((mut partial, rows)) => {
                    // The rows of one call are bounded, and so are the distinct values.
                    room = match self.aggregates.distinct().is_empty() {
                        true => room - rows,
                        false => 0,
                    };
                    partial.push(slice_column(slice_end, rows));
                    out.emit(Batch::new(partial, rows));
                }
                None => {
                    first.remove();
                }
            }
        }
        self.target = EventTime::MIN;
        Ok(Flow::Done)
    }

    fn flush(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.target = END_OF_TIME;
        self.advance(out)
    }

    fn held_keys(&self) -> usize {
        self.held.values().map(Held::len).sum()
    }

    fn held_bytes(&self) -> usize {
        self.held.values().map(Held::bytes).sum()
    }
}

fn slice_column(slice_end: i64, rows: usize) -> ArrayRef {
    Arc::new(Int64Array::from_value(slice_end, rows))
}

impl Operator for LocalWindowAggregate {
    fn open(&mut self, _ctx: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        let parts = self.slices.split(&batch, 0)?;
        if self.reduction.passes(batch.num_rows()) {
            for (slice_end, part) in parts {
                self.pass(slice_end, &part, &batch, out)?;
            }
            return Ok(Flow::Done);
        }
        for (slice_end, part) in parts {
            self.add(slice_end, &part, &batch)?;
        }
        self.reduction.count(batch.num_rows());
        let keys = self.held_keys();
        if keys > MAX_KEYS || self.held_bytes() > MAX_BYTES {
            self.reduction.judge(keys as u64);
            return self.flush(out);
        }
        Ok(Flow::Done)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.advance(out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Flow, TaskError> {
        self.target = watermark;
        let before = self.held_keys();
        let flow = self.advance(out)?;
        self.reduction.release((before - self.held_keys()) as u64);
        Ok(flow)
    }

    fn before_barrier(&mut self, _checkpoint: CheckpointId, out: &mut Output) -> Result<Flow, TaskError> {
        self.reduction.release(self.held_keys() as u64);
        self.flush(out)
    }

    fn finish(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.flush(out)
    }

    fn state_bytes(&self) -> usize {
        self.held_bytes()
    }
}
