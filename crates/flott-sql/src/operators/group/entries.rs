//! The rows between a local and an incremental phase ([`EntryForm`]), as [`GroupAggregateSpec::local_output`] gives them:
//!
//! ```text
//!            keys      partial columns  set  a column a set   filters   hash that comes along
//! a group    k         3, 'b'           0    NULL  NULL       0         of k
//! a value    k         0, NULL          1    v     NULL       0b01      of k and v
//! a value    k         0, NULL          2    NULL  w          0b11      of k and w
//! ```

use crate::nodes::{GroupAggregateSpec, partial_columns};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{ArrayRef, Int32Array, Int64Array, new_null_array};
use arrow_schema::DataType;
use flott_core::hash::hash_columns;
use flott_core::{Batch, Field, TypeKind};
use flott_runtime::TaskError;
use std::ops::Range;
use std::sync::Arc;

/// How the rows are laid out.
#[derive(Debug)]
pub(crate) struct EntryForm {
    keys: usize,
    /// Type of each partial column; `None`: a count.
    partials: Vec<Option<DataType>>,
    /// Type of each set's values.
    sets: Vec<DataType>,
}

/// Rows of one kind that lie next to each other in a batch.
pub(crate) struct Run {
    pub(crate) range: Range<usize>,
    /// The set that the rows are values of; `None`: rows of groups.
    pub(crate) set: Option<usize>,
}

impl EntryForm {
    /// The form of a spec with an incremental phase.
    pub(crate) fn of(spec: &GroupAggregateSpec) -> Self {
        let fields = spec.local_output();
        let keys = spec.keys.len();
        let set = keys + partial_columns(&spec.input, &spec.plain_aggregates(), false).len();
        let partial = |f: &Field| {
            let is_count = f.ty.kind == TypeKind::BigInt && !f.ty.nullable;
            (!is_count).then(|| f.ty.to_arrow())
        };
        Self {
            keys,
            partials: fields[keys..set].iter().map(partial).collect(),
            sets: fields[set + 1..fields.len() - 1]
                .iter()
                .map(|f| f.ty.to_arrow())
                .collect(),
        }
    }

    /// Rows of groups.
    ///
    /// # Errors
    /// If the keys have no hash.
    pub(crate) fn groups(&self, keys: Vec<ArrayRef>, partials: Vec<ArrayRef>, rows: usize) -> Result<Batch, TaskError> {
        let hashes = hash_columns(&keys, rows)?;
        let mut columns = keys;
        columns.extend(partials);
        columns.push(Arc::new(Int32Array::from_value(0, rows)));
        columns.extend(self.sets.iter().map(|ty| new_null_array(ty, rows)));
        columns.push(Arc::new(Int64Array::from_value(0, rows)));
        Ok(Batch::new(columns, rows).with_hashes(Some(Arc::new(hashes))))
    }

    /// Values of a set, a row each.
    ///
    /// # Errors
    /// If the keys or the values have no hash.
    pub(crate) fn values(
        &self,
        set: usize,
        keys: Vec<ArrayRef>,
        values: ArrayRef,
        masks: Vec<i64>,
    ) -> Result<Batch, TaskError> {
        let rows = values.len();
        let mut columns = keys;
        columns.push(values);
        let hashes = hash_columns(&columns, rows)?;
        let values = columns.pop();
        columns.extend(self.partials.iter().map(|ty| match ty {
            Some(ty) => new_null_array(ty, rows),
            None => Arc::new(Int64Array::from_value(0, rows)),
        }));
        columns.push(Arc::new(Int32Array::from_value(set as i32 + 1, rows)));
        for (index, ty) in self.sets.iter().enumerate() {
            match &values {
                Some(values) if index == set => columns.push(Arc::clone(values)),
                _ => columns.push(new_null_array(ty, rows)),
            }
        }
        columns.push(Arc::new(Int64Array::from(masks)));
        Ok(Batch::new(columns, rows).with_hashes(Some(Arc::new(hashes))))
    }

    /// The runs of a batch: batches of one kind were joined on their way.
    pub(crate) fn runs(&self, batch: &Batch) -> Vec<Run> {
        let sets = batch
            .column(self.keys + self.partials.len())
            .as_primitive::<Int32Type>();
        let mut runs: Vec<Run> = vec![];
        for (row, &set) in sets.values().iter().enumerate() {
            let set = usize::try_from(set - 1).ok();
            match runs.last_mut() {
                Some(last) if last.set == set => last.range.end = row + 1,
                _ => runs.push(Run {
                    range: row..row + 1,
                    set,
                }),
            }
        }
        runs
    }

    /// The key columns.
    pub(crate) fn keys_of(&self, batch: &Batch) -> Vec<ArrayRef> {
        batch.columns()[..self.keys].to_vec()
    }

    /// The partial columns of rows of groups.
    pub(crate) fn partials_of<'a>(&self, batch: &'a Batch) -> &'a [ArrayRef] {
        &batch.columns()[self.keys..self.keys + self.partials.len()]
    }

    /// The values of rows of a set.
    pub(crate) fn values_of<'a>(&self, batch: &'a Batch, set: usize) -> &'a ArrayRef {
        batch.column(self.keys + self.partials.len() + 1 + set)
    }

    /// The filters of rows of sets, a bit each.
    pub(crate) fn masks_of<'a>(&self, batch: &'a Batch) -> &'a [i64] {
        let masks = self.keys + self.partials.len() + 1 + self.sets.len();
        batch.column(masks).as_primitive::<Int64Type>().values()
    }
}
