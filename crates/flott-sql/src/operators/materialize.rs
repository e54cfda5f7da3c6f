//! What stands before a sink whose primary key is not the key by which the query's updates come:
//! [`SinkUpsertMaterializer`].

use super::emission::Emission;
use super::keyed_rows::{KeyedRows, row_encoder};
use super::spec_error;
use crate::nodes::SinkMaterializerSpec;
use arrow_array::ArrayRef;
use flott_checkpoint::TableDescriptor;
use flott_core::{Batch, CheckpointId, LogicalType, RowKind};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::OperatorSnapshot;
use std::ops::Range;

/// Name of the keyed state, as Flink's.
pub(crate) const STATE_NAME: &str = "values";

/// Keeps, for each primary key, the rows that have it, in the order in which they came, and tells the sink the last.
///
/// Rows of different upsert keys can have one primary key, and their changes reach the sink in any order: the -U that takes
/// an old row back may come behind the +I of another row that has taken its place. So each row is remembered until it is
/// taken back, and what is told is always the youngest that is left:
///
/// * +I, +U: the row is remembered (in the place of one with the same upsert key, if that is known) and told, as +I if it
///   is the only one;
/// * -U, -D: the first equal row (of the same upsert key, if that is known) is forgotten; -D is told if none is left, the
///   row before it as +U if it was the last, nothing otherwise. What was never there is ignored.
///
/// State: `values` (primary key -> its rows). A row is its length and the length of its identity (4 bytes each, little
/// endian), then its columns, those of the identity first. Looking for a row passes over all rows of its key.
///
/// With a time to live, keys that nothing changes are forgotten silently.
pub(crate) struct SinkUpsertMaterializer {
    // Constant.
    /// Columns in the order of the state: identity first.
    order: Vec<usize>,
    /// How many of them make the identity.
    identity: usize,
    types: Vec<LogicalType>,
    /// For each output column, its place in the order of the state.
    places: Vec<usize>,
    /// Whether the identity is an upsert key, so that a row takes the place of an equal one.
    replaces: bool,
    // State.
    rows: KeyedRows,
    // Scratch.
    emission: Emission,
    row: Vec<u8>,
    list: Vec<u8>,
}

const HEADER: usize = 8;

/// A remembered row in a list's bytes.
#[derive(Debug, Clone)]
struct Entry {
    /// With its header.
    whole: Range<usize>,
    identity: Range<usize>,
}

impl Entry {
    fn row(&self) -> Range<usize> {
        self.whole.start + HEADER..self.whole.end
    }
}

/// The rows of a list.
fn entries(list: &[u8]) -> impl Iterator<Item = Entry> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header: [u8; HEADER] = list.get(at..at + HEADER)?.try_into().ok()?;
        let length = |bytes: &[u8]| bytes.iter().rev().fold(0usize, |n, b| n << 8 | usize::from(*b));
        let (row, identity) = (length(&header[..4]), length(&header[4..]));
        let start = at + HEADER;
        let entry = Entry {
            whole: at..start + row,
            identity: start..start + identity,
        };
        at = entry.whole.end;
        Some(entry)
    })
}

impl SinkUpsertMaterializer {
    /// The operator of a spec.
    ///
    /// # Errors
    /// If the spec cannot run.
    pub(crate) fn new(spec: &SinkMaterializerSpec) -> Result<Self, TaskError> {
        spec.validate().map_err(spec_error)?;
        let identity: Vec<usize> = match &spec.upsert_key {
            Some(key) => key.clone(),
            None => (0..spec.input.len()).collect(),
        };
        let rest = (0..spec.input.len()).filter(|c| !identity.contains(c));
        let order: Vec<usize> = identity.iter().copied().chain(rest).collect();
        let places = (0..order.len())
            .filter_map(|column| order.iter().position(|o| *o == column))
            .collect();
        Ok(Self {
            types: order.iter().map(|&c| spec.input[c].ty.clone()).collect(),
            identity: identity.len(),
            order,
            places,
            replaces: spec.upsert_key.is_some(),
            rows: KeyedRows::new(STATE_NAME, &spec.input, &spec.primary_key, spec.ttl_ms),
            emission: Emission::default(),
            row: vec![],
            list: vec![],
        })
    }

    /// What is kept in checkpoints.
    pub(crate) fn state_tables(&self) -> Vec<TableDescriptor> {
        vec![self.rows.descriptor()]
    }

    /// Adds or takes back row `row` of the batch, whose bytes are in `self.row`.
    fn change(&mut self, slot: u32, row: usize, identity: usize, is_retraction: bool) {
        self.list.clear();
        self.list.extend_from_slice(self.rows.get(slot).unwrap_or_default());
        let wanted = &self.row[..identity];
        let found = match self.replaces || is_retraction {
            true => entries(&self.list).find(|e| &self.list[e.identity.clone()] == wanted),
            false => None,
        };
        if is_retraction {
            let Some(found) = found else { return };
            let was_last = found.whole.end == self.list.len();
            self.list.drain(found.whole);
            match entries(&self.list).last() {
                None => self.emission.of_batch(RowKind::Delete, row),
                Some(last) if was_last => self.emission.of_state(RowKind::UpdateAfter, &self.list[last.row()]),
                Some(_) => {}
            }
        } else {
            let kind = match self.list.is_empty() {
                true => RowKind::Insert,
                false => RowKind::UpdateAfter,
            };
            self.emission.of_batch(kind, row);
            let header = [(self.row.len() as u32).to_le_bytes(), (identity as u32).to_le_bytes()];
            let bytes = header.into_iter().flatten().chain(self.row.iter().copied());
            let place = found.map_or(self.list.len()..self.list.len(), |f| f.whole);
            self.list.splice(place, bytes);
        }
        let list = (!self.list.is_empty()).then_some(self.list.as_slice());
        self.rows.set(slot, list);
    }
}

impl Operator for SinkUpsertMaterializer {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        self.rows.open(ctx)
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        if batch.is_empty() {
            return Ok(Flow::Done);
        }
        let slots = self.rows.locate(&batch)?;
        let columns: Vec<ArrayRef> = self.order.iter().map(|&c| batch.columns()[c].clone()).collect();
        let identity = row_encoder(&columns[..self.identity])?;
        let rest = row_encoder(&columns[self.identity..])?;
        for (row, &slot) in slots.iter().enumerate() {
            self.row.clear();
            identity.encode(row, &mut self.row);
            let identity_bytes = self.row.len();
            rest.encode(row, &mut self.row);
            self.change(slot, row, identity_bytes, batch.kind(row).is_retraction());
        }
        self.rows.settle(&slots);
        if let Some(told) = self.emission.finish(&columns, batch.num_rows(), &self.types)? {
            let columns = self.places.iter().map(|&p| told.columns()[p].clone()).collect();
            out.emit(told.with_columns(columns));
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
    use crate::operators::harness::{Harness, owner};
    use flott_core::Field;

    const SCHEMA: &str = "s STRING, n BIGINT";

    /// A changelog keyed by s (or by nothing known) into a table keyed by n.
    fn spec(upsert_key: Option<Vec<usize>>, ttl_ms: u64) -> SinkMaterializerSpec {
        SinkMaterializerSpec {
            input: vec![
                Field::new("s", LogicalType::string()),
                Field::new("n", LogicalType::bigint()),
            ],
            primary_key: vec![1],
            upsert_key,
            ttl_ms,
        }
    }

    fn operator(spec: &SinkMaterializerSpec) -> Box<SinkUpsertMaterializer> {
        Box::new(SinkUpsertMaterializer::new(spec).unwrap())
    }

    #[test]
    fn the_youngest_row_that_is_left_is_told() {
        for upsert_key in [None, Some(vec![0])] {
            let mut op = Harness::new(operator(&spec(upsert_key, 0)), SCHEMA);
            let rows = "+I a 1\n+I b 1\n+I c 1\n-D b 1\n-D c 1\n+U d NULL\n-U a 1\n-D x 7\n+I a 1";
            let expected = "+I a 1\n+U b 1\n+U c 1\n+U a 1\n+I d NULL\n-D a 1\n+I a 1";
            assert_eq!(op.run(rows), expected);
        }
    }

    #[test]
    fn without_upsert_key_equal_rows_are_kept_apart_and_taken_back_one_by_one() {
        let mut op = Harness::new(operator(&spec(None, 0)), SCHEMA);
        assert_eq!(op.run("+I a 1\n+I a 1\n-D a 1"), "+I a 1\n+U a 1");
        assert_eq!(op.run("-D a 1\n-D a 1"), "-D a 1");
    }

    #[test]
    fn a_known_upsert_key_takes_the_place_of_its_older_row() {
        let by_both = SinkMaterializerSpec {
            primary_key: vec![0],
            upsert_key: Some(vec![0]),
            ..spec(None, 0)
        };
        let mut op = Harness::new(operator(&by_both), SCHEMA);
        assert_eq!(
            op.run("+I a 1\n+U a 2\n+U a 3\n-D a 9"),
            "+I a 1\n+U a 2\n+U a 3\n-D a 9"
        );
    }

    #[test]
    fn rows_are_taken_over_at_another_parallelism() {
        let spec = spec(None, 0);
        let before: Vec<String> = (0..60).map(|i| format!("+I s{i} {}", i % 9)).collect();
        let behind: Vec<String> = (0..60).rev().map(|i| format!("-D s{i} {}", i % 9)).collect();
        let mut straight = Harness::new(operator(&spec), SCHEMA);
        straight.run(&before.join("\n"));
        let mut expected: Vec<String> = straight.run(&behind.join("\n")).lines().map(str::to_owned).collect();
        assert_eq!(expected.len(), 60);
        expected.sort();
        for parallelism in [1, 3] {
            let mut first = Harness::new(operator(&spec), SCHEMA);
            first.run(&before.join("\n"));
            let mut out = vec![];
            for index in 0..parallelism {
                let snapshot = vec![first.snapshot()];
                let mut second = Harness::restored(operator(&spec), SCHEMA, (index, parallelism), snapshot);
                let mine = |row: &&String| owner(row.split(' ').nth(2).unwrap().parse().unwrap(), parallelism) == index;
                let rows: Vec<&str> = behind.iter().filter(mine).map(String::as_str).collect();
                out.extend(second.run(&rows.join("\n")).lines().map(str::to_owned));
            }
            out.sort();
            assert_eq!(out, expected, "restored at parallelism {parallelism}");
        }
    }

    #[test]
    fn keys_that_nothing_changes_are_forgotten() {
        let mut op = Harness::new(operator(&spec(None, 1000)), SCHEMA);
        assert_eq!(op.run("clock 100\n+I a 1\n+I b 2"), "+I a 1\n+I b 2");
        assert_eq!(op.run("clock 900\n+I c 1"), "+U c 1");
        assert_eq!(
            op.run("clock 1200\n-D b 2\n-D c 1"),
            "+U a 1",
            "the row of key 2 was forgotten"
        );
        assert_eq!(op.run("timer 9000\ntimer 20000"), "");
        assert_eq!(op.next_timer(), None);
        assert_eq!(op.run("-D a 1"), "");
    }
}
