//! GROUPING SETS: [`Expand`].

use super::MAX_EMITTED_ROWS;
use crate::nodes::ExpandSpec;
use arrow_array::{ArrayRef, Int64Array, UInt32Array};
use flott_core::Batch;
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use std::sync::Arc;

/// Every row once per grouping set: its columns, the keys (NULL where the set has them not), the set's number. A row's
/// copies follow each other, in the order of the sets, with its kind.
#[derive(Debug)]
pub(crate) struct Expand {
    spec: ExpandSpec,
    /// Rows that are not emitted yet.
    pending: Option<Batch>,
}

impl Expand {
    pub(crate) fn new(spec: ExpandSpec) -> Self {
        Self { spec, pending: None }
    }

    fn emit(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let Some(batch) = self.pending.take() else {
            return Ok(Flow::Done);
        };
        let sets = self.spec.sets.len().max(1);
        let rows = batch.num_rows().min((MAX_EMITTED_ROWS / sets).max(1));
        out.emit(self.apply(&batch.slice(0, rows))?);
        if rows == batch.num_rows() {
            return Ok(Flow::Done);
        }
        self.pending = Some(batch.slice(rows, batch.num_rows() - rows));
        Ok(Flow::More)
    }

    fn apply(&self, batch: &Batch) -> Result<Batch, TaskError> {
        let sets = &self.spec.sets;
        let each_row = || 0..batch.num_rows() as u32;
        let copies: UInt32Array = each_row()
            .flat_map(|row| std::iter::repeat_n(row, sets.len()))
            .collect::<Vec<_>>()
            .into();
        // The hash of the input's key is not that of the copies' keys.
        let expanded = batch.take(&copies)?.with_hashes(None);
        let mut columns = expanded.columns().to_vec();
        for (position, &key) in self.spec.keys.iter().enumerate() {
            let kept: UInt32Array = each_row()
                .flat_map(|row| sets.iter().map(move |set| set.has[position].then_some(row)))
                .collect();
            columns.push(arrow_select::take::take(batch.column(key).as_ref(), &kept, None)?);
        }
        let ids = Int64Array::from_iter_values(each_row().flat_map(|_| sets.iter().map(|set| set.id)));
        let ids: ArrayRef = Arc::new(ids);
        columns.push(ids);
        Ok(expanded.with_columns(columns))
    }
}

impl Operator for Expand {
    fn open(&mut self, _ctx: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        self.pending = Some(batch);
        self.emit(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.emit(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::ExpandSet;
    use crate::operators::harness::Harness;
    use flott_core::{Field, LogicalType};

    #[test]
    fn a_row_comes_once_a_set_and_keeps_its_kind() {
        let set = |has: &[bool], id| ExpandSet { has: has.to_vec(), id };
        let spec = ExpandSpec {
            input: vec![
                Field::new("k", LogicalType::string()),
                Field::new("v", LogicalType::bigint()),
            ],
            keys: vec![0, 1],
            sets: vec![set(&[true, true], 0), set(&[true, false], 1), set(&[false, false], 3)],
        };
        let mut op = Harness::new(Box::new(Expand::new(spec)), "k STRING, v BIGINT");
        assert_eq!(
            op.run("+I a 1\n-D NULL 2"),
            "+I a 1 a 1 0\n+I a 1 a NULL 1\n+I a 1 NULL NULL 3\n-D NULL 2 NULL 2 0\n-D NULL 2 NULL NULL 1\n-D NULL 2 NULL NULL 3"
        );
    }
}
