//! Whole changelogs out of upserts and deletions by key: [`ChangelogNormalize`].

use super::emission::Emission;
use super::keyed_rows::{KeyedRows, row_encoder};
use super::spec_error;
use crate::nodes::ChangelogNormalizeSpec;
use flott_checkpoint::TableDescriptor;
use flott_core::{Batch, CheckpointId, LogicalType, RowKind};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::OperatorSnapshot;

/// Name of the keyed state, as Flink's.
pub(crate) const STATE_NAME: &str = "deduplicate-state";

/// Remembers the last row of each key, so that readers learn what an upsert replaces and what a deletion takes away.
///
/// The first +I or +U of a key is told as +I, each later one as -U with the old content (if readers need it) and +U; one
/// that changes nothing is not told, unless state expires. -D and -U delete: the remembered row is told as -D, for they may
/// bring no more than the key; without such a row they are ignored. So events that come twice are told once.
///
/// State: `deduplicate-state` (key -> its last row). With a time to live, keys without news are forgotten silently.
pub(crate) struct ChangelogNormalize {
    // Constant.
    types: Vec<LogicalType>,
    generate_update_before: bool,
    // State.
    rows: KeyedRows,
    // Scratch.
    emission: Emission,
    row: Vec<u8>,
}

impl ChangelogNormalize {
    /// The operator of a spec.
    ///
    /// # Errors
    /// If the spec cannot run.
    pub(crate) fn new(spec: &ChangelogNormalizeSpec) -> Result<Self, TaskError> {
        spec.validate().map_err(spec_error)?;
        Ok(Self {
            types: spec.input.iter().map(|f| f.ty.clone()).collect(),
            generate_update_before: spec.generate_update_before,
            rows: KeyedRows::new(STATE_NAME, &spec.input, &spec.key, spec.ttl_ms),
            emission: Emission::default(),
            row: vec![],
        })
    }

    /// What is kept in checkpoints.
    pub(crate) fn state_tables(&self) -> Vec<TableDescriptor> {
        vec![self.rows.descriptor()]
    }

    /// Row `row` of the batch, whose bytes are in `self.row`, is the last of its key.
    fn upsert(&mut self, slot: u32, row: usize) {
        match self.rows.get(slot) {
            None => self.emission.of_batch(RowKind::Insert, row),
            Some(held) if held == self.row && !self.rows.expires() => return,
            Some(held) => {
                if self.generate_update_before {
                    self.emission.of_state(RowKind::UpdateBefore, held);
                }
                self.emission.of_batch(RowKind::UpdateAfter, row);
            }
        }
        self.rows.set(slot, Some(&self.row));
    }

    fn delete(&mut self, slot: u32) {
        let Some(held) = self.rows.get(slot) else { return };
        self.emission.of_state(RowKind::Delete, held);
        self.rows.set(slot, None);
    }
}

impl Operator for ChangelogNormalize {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        self.rows.open(ctx)
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        if batch.is_empty() {
            return Ok(Flow::Done);
        }
        let slots = self.rows.locate(&batch)?;
        let encoder = row_encoder(batch.columns())?;
        for (row, &slot) in slots.iter().enumerate() {
            if batch.kind(row).is_retraction() {
                self.delete(slot);
            } else {
                self.row.clear();
                encoder.encode(row, &mut self.row);
                self.upsert(slot, row);
            }
        }
        self.rows.settle(&slots);
        if let Some(told) = self.emission.finish(batch.columns(), batch.num_rows(), &self.types)? {
            out.emit(told);
        }
        Ok(Flow::Done)
    }

    fn next_timer(&self) -> Option<i64> {
        self.rows.next_timer()
    }

    fn on_timer(&mut self, now_ms: i64, _out: &mut Output) -> Result<Flow, TaskError> {
        self.rows.sweep(now_ms)?;
        Ok(Flow::Done)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        Ok(self.rows.snapshot(checkpoint))
    }

    fn state_bytes(&self) -> usize {
        self.rows.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::harness::Harness;
    use flott_core::Field;

    const SCHEMA: &str = "k BIGINT, s STRING";

    fn operator(generate_update_before: bool, ttl_ms: u64) -> Box<ChangelogNormalize> {
        let spec = ChangelogNormalizeSpec {
            input: vec![
                Field::new("k", LogicalType::bigint()),
                Field::new("s", LogicalType::string()),
            ],
            key: vec![0],
            generate_update_before,
            ttl_ms,
        };
        Box::new(ChangelogNormalize::new(&spec).unwrap())
    }

    const ROWS: &str = "+U 1 a\n+U 2 x\n+U 1 b\n+I 1 b\n-D 1 NULL\n-D 1 NULL\n-D 3 NULL\n+U 1 c";

    #[test]
    fn upserts_become_a_whole_changelog() {
        let expected = "+I 1 a\n+I 2 x\n-U 1 a\n+U 1 b\n-D 1 b\n+I 1 c";
        assert_eq!(Harness::new(operator(true, 0), SCHEMA).run(ROWS), expected);
        let one_by_one = ROWS.replace('\n', "\nbatch\n");
        assert_eq!(Harness::new(operator(true, 0), SCHEMA).run(&one_by_one), expected);
        let after_only = expected.replace("-U 1 a\n", "");
        assert_eq!(Harness::new(operator(false, 0), SCHEMA).run(ROWS), after_only);
    }

    #[test]
    fn the_last_rows_are_taken_over() {
        let mut first = Harness::new(operator(true, 0), SCHEMA);
        first.run("+U 1 a\n+U 2 b\n-D 2 NULL\n+U 3 NULL");
        let mut second = Harness::restored(operator(true, 0), SCHEMA, (0, 1), vec![first.snapshot()]);
        assert_eq!(
            second.run("+U 1 z\n+U 2 c\n-D 3 x"),
            "-U 1 a\n+U 1 z\n+I 2 c\n-D 3 NULL"
        );
    }

    #[test]
    fn keys_without_news_are_forgotten_and_equal_rows_are_told_again() {
        let mut op = Harness::new(operator(true, 1000), SCHEMA);
        assert_eq!(op.run("clock 10\n+U 1 a\n+U 1 a"), "+I 1 a\n-U 1 a\n+U 1 a");
        assert_eq!(op.run("clock 1010\n+U 1 b"), "+I 1 b");
        assert_eq!(op.run("timer 9000\n-D 1 b"), "");
        assert_eq!(op.next_timer(), None);
    }
}
