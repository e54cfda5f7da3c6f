//! The phase of a group aggregation that has the distinct values, spread over all subtasks: [`IncrementalGroupAggregate`].

use super::aggregate::GATHERING_SHARE;
use super::entries::{EntryForm, Run};
use crate::nodes::{GroupAggregateSpec, MiniBatch};
use crate::operators::aggregate::distinct::{DistinctSpec, Offered};
use crate::operators::aggregate::{Aggregates, Phase};
use crate::operators::{MAX_EMITTED_ROWS, group_slots, hashes_of, spec_error};
use arrow_array::{ArrayRef, UInt32Array};
use arrow_select::take::take;
use flott_checkpoint::TableDescriptor;
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::hash::hash_columns;
use flott_core::{Batch, CheckpointId, KeyGroupRange};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::{KeyedTable, OperatorSnapshot};
use std::sync::Arc;

/// Keeps the distinct values of all groups, each in the subtask that the hash of group and value says, and emits what a
/// mini-batch adds to each group: the partial columns of its rows, and those of the values that were not there before.
///
/// ```text
/// a group's row ──────────────────────────────> added up by group ──(bundle ends)──> partial rows, to the group's subtask
/// a value's row ──> in its set? dropped : kept ──────^
/// ```
///
/// So the values of one hot group are the work of many subtasks, and no group is kept but while a bundle lasts. A bundle ends
/// like that of a global phase over partial rows.
///
/// State: `distinctAcc_N` (group key and value -> flags), placed by both.
#[derive(Debug)]
pub(crate) struct IncrementalGroupAggregate {
    // Constant.
    aggregates: Aggregates,
    sets: Vec<DistinctSpec>,
    /// For each partial column of a group's row, which of all it is.
    plain: Vec<usize>,
    form: EntryForm,
    limits: MiniBatch,
    sets_state: Vec<Arc<TableDescriptor>>,
    clock: SharedClock,
    // State.
    values: Vec<KeyedTable>,
    // What is held back.
    groups: KeyedTable,
    rows: u64,
    deadline_ms: Option<i64>,
    /// Groups that are emitted already, while the bundle is.
    emitted: usize,
}

impl IncrementalGroupAggregate {
    /// The operator of a spec.
    ///
    /// # Errors
    /// If the spec cannot run in three phases.
    pub(crate) fn new(spec: &GroupAggregateSpec) -> Result<Self, TaskError> {
        spec.validate().map_err(spec_error)?;
        let Some(limits) = spec.mini_batch.filter(|_| !spec.input_retracts) else {
            return Err(TaskError::internal(
                "an incremental aggregate needs mini-batch and rows that only come",
            ));
        };
        let aggregates =
            Aggregates::new(&spec.input, &spec.aggregates, false, false, Phase::Local).map_err(spec_error)?;
        let sets: Vec<DistinctSpec> = aggregates.distinct().iter().map(|s| s.clone().spread()).collect();
        let group: Vec<_> = spec.keys.iter().map(|&k| spec.input[k].ty.clone()).collect();
        let descriptor = |(i, set): (usize, &DistinctSpec)| set.descriptor(format!("distinctAcc_{i}"), &group);
        let held = Arc::new(aggregates.descriptor("incremental-group-aggs", group.clone()));
        Ok(Self {
            plain: aggregates.plain_columns(),
            form: EntryForm::of(spec),
            limits,
            sets_state: sets.iter().enumerate().map(descriptor).map(Arc::new).collect(),
            clock: Arc::new(SystemClock),
            // The real ones are made in `open`, which knows the subtask's key groups.
            values: vec![],
            // It lives in no checkpoint, so its key groups mean nothing.
            groups: KeyedTable::new(held, 1, KeyGroupRange::all(1)),
            rows: 0,
            deadline_ms: None,
            emitted: 0,
            aggregates,
            sets,
        })
    }

    /// What is kept in checkpoints.
    pub(crate) fn state_tables(&self) -> Vec<TableDescriptor> {
        self.sets_state.iter().map(|t| t.as_ref().clone()).collect()
    }

    fn add(&mut self, batch: &Batch) -> Result<(), TaskError> {
        for Run { range, set } in self.form.runs(batch) {
            let rows = batch.slice(range.start, range.len());
            match set {
                None => self.add_groups(&rows)?,
                Some(set) if set < self.sets.len() => self.add_values(&rows, set)?,
                Some(_) => {
                    return Err(TaskError::internal(
                        "a row belongs to a set that the aggregates do not have",
                    ));
                }
            }
        }
        Ok(())
    }

    fn add_groups(&mut self, rows: &Batch) -> Result<(), TaskError> {
        let keys = self.form.keys_of(rows);
        let hashes = hashes_of(rows, &keys)?;
        let mut slots = Vec::with_capacity(hashes.len());
        group_slots(&mut self.groups, &keys, &hashes, &mut slots)?;
        let partials = self.form.partials_of(rows);
        let Some(any) = partials.first() else {
            return Ok(());
        };
        // The columns of the other aggregates are not read.
        let mut all = vec![Arc::clone(any); self.plain.iter().max().map_or(0, |last| last + 1)];
        for (&place, column) in self.plain.iter().zip(partials) {
            all[place] = Arc::clone(column);
        }
        self.aggregates.merge(&mut self.groups, &slots, &all)
    }

    fn add_values(&mut self, rows: &Batch, set: usize) -> Result<(), TaskError> {
        let keys = self.form.keys_of(rows);
        let values = self.form.values_of(rows, set);
        let hashes = match rows.hashes() {
            Some(hashes) => Arc::clone(hashes),
            None => {
                let columns: Vec<ArrayRef> = keys.iter().chain([values]).cloned().collect();
                Arc::new(hash_columns(&columns, rows.num_rows())?)
            }
        };
        let spec = &self.sets[set];
        let offered = Offered {
            keys: &keys,
            hashes: &hashes,
            values,
            valid: &spec.counting(self.form.masks_of(rows)),
            signs: None,
        };
        let passed = spec.pass(&mut self.values[set], offered)?;
        let new: Vec<u32> = (0..rows.num_rows() as u32)
            .filter(|row| passed.is_any(*row as usize))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let new = UInt32Array::from(new);
        let keys = keys.iter().map(|k| take(k.as_ref(), &new, None));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let hashes = hash_columns(&keys, new.len())?;
        let mut slots = Vec::with_capacity(new.len());
        group_slots(&mut self.groups, &keys, &hashes, &mut slots)?;
        let values = take(values.as_ref(), &new, None)?;
        let passed = passed.picked(new.values());
        self.aggregates
            .accumulate_distinct(&mut self.groups, set, &slots, &values, None, &passed)
    }

    /// Emits the groups of the bundle, as far as there is room.
    fn flush(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let start = self.emitted;
        let slots: Vec<u32> = (start..self.groups.len())
            .take(MAX_EMITTED_ROWS)
            .map(|s| s as u32)
            .collect();
        let rows = self.aggregates.slots_with_room(&self.groups, &slots);
        if rows == 0 {
            self.groups.clear();
            self.rows = 0;
            self.deadline_ms = None;
            self.emitted = 0;
            return Ok(Flow::Done);
        }
        self.emitted += rows;
        let slots = &slots[..rows];
        let mut columns = self.groups.keys(slots)?;
        columns.extend(self.aggregates.partials(&self.groups, slots)?);
        out.emit(Batch::new(columns, rows));
        Ok(Flow::More)
    }
}

impl Operator for IncrementalGroupAggregate {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        self.clock = ctx.clock.clone();
        let table = |state: &Arc<TableDescriptor>| ctx.table(Arc::clone(state));
        self.values = self.sets_state.iter().map(table).collect::<Result<_, _>>()?;
        if let Some(restored) = ctx.restored.take() {
            for values in &mut self.values {
                restored.load_table(values)?;
            }
        }
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        if batch.is_empty() {
            return Ok(Flow::Done);
        }
        for values in &mut self.values {
            values.relieve()?;
        }
        self.add(&batch)?;
        let wait_ms = self.limits.latency_ms / GATHERING_SHARE;
        self.deadline_ms
            .get_or_insert_with(|| self.clock.now_ms().saturating_add_unsigned(wait_ms));
        self.rows += batch.num_rows() as u64;
        match self.rows >= self.limits.size {
            true => self.flush(out),
            false => Ok(Flow::Done),
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

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        Ok(OperatorSnapshot {
            keyed: self.values.iter_mut().map(|v| v.capture(checkpoint)).collect(),
            ..OperatorSnapshot::default()
        })
    }

    fn finish(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.flush(out)
    }

    fn state_bytes(&self) -> usize {
        self.groups.bytes() + self.values.iter().map(KeyedTable::bytes).sum::<usize>()
    }
}
