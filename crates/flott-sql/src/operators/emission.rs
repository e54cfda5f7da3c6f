//! Rows of an operator that remembers rows by key: some come from the batch at hand, some from its state ([`Emission`]).

use super::{MAX_EMITTED_BYTES, MAX_EMITTED_ROWS};
use arrow_array::{ArrayRef, UInt32Array};
use flott_core::encoding::decode_rows;
use flott_core::{Batch, LogicalType, RowKind};
use flott_runtime::TaskError;

/// Collects the rows that a batch makes an operator emit, in order; state rows are the bytes of
/// [`flott_core::encoding::RowEncoder::of_values`].
#[derive(Debug, Default)]
pub(crate) struct Emission {
    kinds: Vec<u8>,
    /// Rows of the batch, or, with the highest bit set, rows of `bytes`.
    picks: Vec<u32>,
    bytes: Vec<u8>,
    /// Where the rows of `bytes` end.
    ends: Vec<usize>,
}

const FROM_STATE: u32 = 1 << 31;

impl Emission {
    /// Whether so much waits that it should be taken.
    pub(crate) fn is_full(&self) -> bool {
        self.kinds.len() >= MAX_EMITTED_ROWS || self.bytes.len() >= MAX_EMITTED_BYTES
    }

    /// Emits a row of the batch.
    pub(crate) fn of_batch(&mut self, kind: RowKind, row: usize) {
        self.kinds.push(kind as u8);
        self.picks.push(row as u32);
    }

    /// Emits a row of the state.
    pub(crate) fn of_state(&mut self, kind: RowKind, row: &[u8]) {
        self.kinds.push(kind as u8);
        self.picks.push(self.ends.len() as u32 | FROM_STATE);
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len());
    }

    /// The rows, of columns in the order of `columns`; nothing is left. `types` are those of the state's rows.
    ///
    /// # Errors
    /// If the state's bytes are no rows of `types`, which is a defect of ours.
    pub(crate) fn finish(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        types: &[LogicalType],
    ) -> Result<Option<Batch>, TaskError> {
        if self.picks.is_empty() {
            return Ok(None);
        }
        let kinds = std::mem::take(&mut self.kinds);
        let count = kinds.len();
        let is_insert_only = kinds.iter().all(|k| *k == RowKind::Insert as u8);
        let stored = match self.ends.is_empty() {
            true => None,
            false => {
                let starts = std::iter::once(&0).chain(&self.ends);
                let rows = starts.zip(&self.ends).map(|(&start, &end)| &self.bytes[start..end]);
                Some(decode_rows(types, rows).map_err(|e| TaskError::internal(e.to_string()))?)
            }
        };
        let index = |pick: &u32| match pick & FROM_STATE {
            0 => *pick,
            _ => rows as u32 + (pick & !FROM_STATE),
        };
        let indices = UInt32Array::from_iter_values(self.picks.iter().map(index));
        self.picks.clear();
        self.bytes.clear();
        self.ends.clear();
        let mut out = Vec::with_capacity(columns.len());
        for (i, column) in columns.iter().enumerate() {
            out.push(match &stored {
                None => arrow_select::take::take(column.as_ref(), &indices, None)?,
                Some(stored) => {
                    let both = arrow_select::concat::concat(&[column.as_ref(), stored[i].as_ref()])?;
                    arrow_select::take::take(both.as_ref(), &indices, None)?
                }
            });
        }
        Ok(Some(
            Batch::new(out, count).with_kinds((!is_insert_only).then(|| kinds.into())),
        ))
    }
}
