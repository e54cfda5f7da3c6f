//! The phase of a group aggregation before an incremental one: [`EntriesLocalAggregate`].

use super::bundle::bundle_end;
use super::entries::EntryForm;
use crate::nodes::{GroupAggregateSpec, MiniBatch};
use crate::operators::aggregate::distinct::{DistinctSpec, Offered};
use crate::operators::aggregate::{Aggregates, Phase, Rows};
use crate::operators::row_table::Reduction;
use crate::operators::{MAX_EMITTED_ROWS, group_slots, key_columns, spec_error};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, Int32Array, UInt32Array};
use arrow_select::take::take;
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::hash::hash_columns;
use flott_core::{Batch, CheckpointId, KeyGroupRange, LogicalType, TypeKind};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::KeyedTable;
use std::collections::VecDeque;
use std::sync::Arc;

/// Memory that is held back at most.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Aggregates the rows of a mini-batch per group, keeps the distinct values of each group once, and emits both apart
/// ([`EntryForm`]): first the groups, then set by set the values, each in the order in which they were first met.
///
/// As in [`super::local::LocalGroupAggregate`] nothing is kept over a barrier. Where the values of a set hardly repeat
/// within a mini-batch, they are passed on as they come for a while; groups are always put together.
#[derive(Debug)]
pub(crate) struct EntriesLocalAggregate {
    // Constant.
    keys: Vec<usize>,
    /// The aggregates of all values.
    plain: Aggregates,
    sets: Vec<DistinctSpec>,
    form: EntryForm,
    limits: MiniBatch,
    clock: SharedClock,
    // What is held back.
    groups: KeyedTable,
    /// By the slot of the group and the value.
    values: Vec<KeyedTable>,
    rows: u64,
    deadline_ms: Option<i64>,
    reductions: Vec<Reduction>,
    /// Values that are passed on, and wait for their turn.
    passing: VecDeque<Batch>,
    going: Option<Going>,
}

/// How far the emission has come.
#[derive(Debug)]
struct Going {
    /// The keys of all groups.
    keys: Vec<ArrayRef>,
    /// Groups that are emitted.
    groups: usize,
    /// The set whose values are next, and how many of them are emitted.
    set: usize,
    values: usize,
}

impl EntriesLocalAggregate {
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
        let aggregates = |calls: &[_]| Aggregates::new(&spec.input, calls, false, false, Phase::Local);
        let plain = aggregates(&spec.plain_aggregates()).map_err(spec_error)?;
        let sets = aggregates(&spec.aggregates).map_err(spec_error)?.distinct().to_vec();
        let group = spec.keys.iter().map(|&k| spec.input[k].ty.clone()).collect();
        // The tables live in no checkpoint, so their key groups mean nothing.
        let table = |descriptor| KeyedTable::new(Arc::new(descriptor), 1, KeyGroupRange::all(1));
        let slot = [LogicalType::not_null(TypeKind::Int)];
        Ok(Self {
            keys: spec.keys.clone(),
            form: EntryForm::of(spec),
            limits,
            clock: Arc::new(SystemClock),
            groups: table(plain.descriptor("local-group-aggs", group)),
            values: (sets.iter().map(|s| table(s.descriptor("values".into(), &slot)))).collect(),
            rows: 0,
            deadline_ms: None,
            reductions: sets.iter().map(|_| Reduction::default()).collect(),
            passing: VecDeque::new(),
            going: None,
            plain,
            sets,
        })
    }

    fn add(&mut self, batch: &Batch) -> Result<(), TaskError> {
        let (columns, rows) = (batch.columns(), batch.num_rows());
        let keys = key_columns(columns, &self.keys);
        let hashes = hash_columns(&keys, rows)?;
        let mut slots = Vec::with_capacity(rows);
        group_slots(&mut self.groups, &keys, &hashes, &mut slots)?;
        let of_group: ArrayRef = Arc::new(Int32Array::from_iter_values(slots.iter().map(|s| *s as i32)));
        for (index, set) in self.sets.iter().enumerate() {
            if self.reductions[index].passes(rows) {
                let masks = set.masks(columns, rows);
                let (picked, masks): (Vec<u32>, Vec<i64>) = (0..).zip(masks).filter(|(_, mask)| *mask != 0).unzip();
                let picked = UInt32Array::from(picked);
                let keys = keys.iter().map(|k| take(k.as_ref(), &picked, None));
                let keys = keys.collect::<Result<Vec<_>, _>>()?;
                let values = take(columns[set.arg].as_ref(), &picked, None)?;
                self.passing.push_back(self.form.values(index, keys, values, masks)?);
            } else {
                self.reductions[index].count(rows);
                let offered = Offered {
                    keys: std::slice::from_ref(&of_group),
                    hashes: &hashes,
                    values: &columns[set.arg],
                    valid: &set.valid(columns),
                    signs: None,
                };
                set.add(&mut self.values[index], offered)?;
            }
        }
        let rows = Rows {
            slots: &slots,
            columns,
            signs: None,
            passed: &[],
        };
        self.plain.accumulate(&mut self.groups, rows, &mut [], None)
    }

    /// Emits values that are passed on, as far as there is room.
    fn pass(&mut self, out: &mut Output) -> Flow {
        match self.passing.pop_front() {
            Some(batch) => {
                out.emit(batch);
                Flow::More
            }
            None => Flow::Done,
        }
    }

    /// Emits what is held back, as far as there is room.
    fn flush(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        if let Flow::More = self.pass(out) {
            // The rest follows in the next call.
            self.begin()?;
            return Ok(Flow::More);
        }
        self.begin()?;
        match self.next_batch()? {
            Some(batch) => {
                out.emit(batch);
                Ok(Flow::More)
            }
            None => {
                self.clear();
                Ok(Flow::Done)
            }
        }
    }

    /// Begins to emit what is held back, if there is anything.
    fn begin(&mut self) -> Result<(), TaskError> {
        if self.going.is_none() && !self.groups.is_empty() {
            let slots: Vec<u32> = (0..self.groups.len() as u32).collect();
            self.going = Some(Going {
                keys: self.groups.keys(&slots)?,
                groups: 0,
                set: 0,
                values: 0,
            });
        }
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<Batch>, TaskError> {
        let Some(going) = &mut self.going else {
            return Ok(None);
        };
        let all = self.groups.len();
        if going.groups < all {
            let start = going.groups;
            let rows = MAX_EMITTED_ROWS.min(all - start);
            going.groups += rows;
            let slots: Vec<u32> = (start as u32..going.groups as u32).collect();
            let keys = going.keys.iter().map(|k| k.slice(start, rows)).collect();
            let partials = self.plain.partials(&self.groups, &slots)?;
            return self.form.groups(keys, partials, rows).map(Some);
        }
        while let Some(table) = self.values.get(going.set) {
            let (start, all) = (going.values, table.len());
            if start == all {
                (going.set, going.values) = (going.set + 1, 0);
                continue;
            }
            going.values = all.min(start + MAX_EMITTED_ROWS);
            let slots: Vec<u32> = (start as u32..going.values as u32).collect();
            let mut entries = table.keys(&slots)?;
            let (Some(values), Some(groups)) = (entries.pop(), entries.pop()) else {
                return Err(TaskError::internal(
                    "a set of a local phase is not keyed by group and value",
                ));
            };
            let groups = groups.as_primitive::<Int32Type>();
            let keys = going.keys.iter().map(|k| take(k.as_ref(), groups, None));
            let keys = keys.collect::<Result<Vec<_>, _>>()?;
            let masks = self.sets[going.set].masks_of(table, &slots);
            return self.form.values(going.set, keys, values, masks).map(Some);
        }
        Ok(None)
    }

    fn clear(&mut self) {
        for (reduction, values) in self.reductions.iter_mut().zip(&mut self.values) {
            reduction.judge(values.len() as u64);
            values.clear();
        }
        self.groups.clear();
        self.rows = 0;
        self.deadline_ms = None;
        self.going = None;
    }

    fn held_bytes(&self) -> usize {
        self.groups.bytes() + self.values.iter().map(KeyedTable::bytes).sum::<usize>()
    }
}

impl Operator for EntriesLocalAggregate {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        self.clock = ctx.clock.clone();
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        if batch.is_empty() {
            return Ok(Flow::Done);
        }
        self.add(&batch)?;
        if self.deadline_ms.is_none() {
            self.deadline_ms = Some(bundle_end(self.clock.now_ms(), self.limits.latency_ms));
        }
        self.rows += batch.num_rows() as u64;
        if self.rows >= self.limits.size || self.held_bytes() > MAX_BYTES {
            self.flush(out)
        } else {
            Ok(self.pass(out))
        }
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        match self.going.is_some() {
            true => self.flush(out),
            false => Ok(self.pass(out)),
        }
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
        self.held_bytes() + self.passing.iter().map(Batch::bytes).sum::<usize>()
    }
}
