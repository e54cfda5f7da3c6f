//! What flows: a batch of rows as Arrow columns, with an optional kind per row, or as typed [`Rows`].
//!
//! Invariants: every column has [`Batch::num_rows`] rows; an absent kinds column means that every row is an insert;
//! batches are dense (no selection vector); a batch of typed rows has no kinds, and no columns but those of a key. A batch knows no
//! names: the schema of an edge is in the plan. The key hash that the exchange computed travels with the batch, so that the state
//! look-up after it need not hash again; columns of the key travel with typed rows that need not be spread or encoded.

use crate::rows::{Rows, RowsError};
use arrow_array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow_buffer::ScalarBuffer;
use arrow_schema::ArrowError;
use std::sync::Arc;

/// What a row says about a table's change. The numbers are a format (files, wire) and Flink's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RowKind {
    /// `+I`: a new row.
    Insert = 0,
    /// `-U`: the old content of a row that changes.
    UpdateBefore = 1,
    /// `+U`: the new content of a row that changed.
    UpdateAfter = 2,
    /// `-D`: a row that is gone.
    Delete = 3,
}

impl RowKind {
    /// The kind with this number.
    pub fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Insert),
            1 => Some(Self::UpdateBefore),
            2 => Some(Self::UpdateAfter),
            3 => Some(Self::Delete),
            _ => None,
        }
    }

    /// Flink's short text: `+I`, `-U`, `+U`, `-D`.
    pub fn short(self) -> &'static str {
        match self {
            Self::Insert => "+I",
            Self::UpdateBefore => "-U",
            Self::UpdateAfter => "+U",
            Self::Delete => "-D",
        }
    }

    /// Whether the row takes its content away (`-U`, `-D`) rather than adding it.
    pub fn is_retraction(self) -> bool {
        matches!(self, Self::UpdateBefore | Self::Delete)
    }
}

/// Rows as columns, or typed. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Batch {
    columns: Vec<ArrayRef>,
    typed: Option<Arc<dyn Rows>>,
    rows: usize,
    kinds: Option<ScalarBuffer<u8>>,
    hashes: Option<Arc<Vec<u64>>>,
}

impl Batch {
    /// A batch of inserts. `rows` matters where there is no column (`COUNT(*)` reads none).
    ///
    /// # Panics
    /// In debug builds, if a column has another number of rows.
    pub fn new(columns: Vec<ArrayRef>, rows: usize) -> Self {
        debug_assert!(
            columns.iter().all(|c| c.len() == rows),
            "columns of one batch differ in length"
        );
        Self {
            columns,
            typed: None,
            rows,
            kinds: None,
            hashes: None,
        }
    }

    /// A batch of typed rows.
    pub fn of_rows(rows: Arc<dyn Rows>) -> Self {
        Self {
            columns: vec![],
            rows: rows.len(),
            typed: Some(rows),
            kinds: None,
            hashes: None,
        }
    }

    /// The same rows with these kinds (one byte a row, [`RowKind`]'s numbers); `None`: all inserts.
    pub fn with_kinds(mut self, kinds: Option<ScalarBuffer<u8>>) -> Self {
        debug_assert!(kinds.as_ref().is_none_or(|k| k.len() == self.rows));
        self.kinds = kinds;
        self
    }

    /// The same rows with the hashes of the key that they were scattered by.
    pub fn with_hashes(mut self, hashes: Option<Arc<Vec<u64>>>) -> Self {
        debug_assert!(hashes.as_ref().is_none_or(|h| h.len() == self.rows));
        self.hashes = hashes;
        self
    }

    /// The same typed rows with the columns of the key whose hashes they have. They are lost where rows are spread or cut.
    pub fn with_key_columns(mut self, columns: Vec<ArrayRef>) -> Self {
        debug_assert!(self.typed.is_some() && columns.iter().all(|c| c.len() == self.rows));
        self.columns = columns;
        self
    }

    /// The columns.
    pub fn columns(&self) -> &[ArrayRef] {
        &self.columns
    }

    /// Column `index`.
    pub fn column(&self, index: usize) -> &ArrayRef {
        &self.columns[index]
    }

    /// The rows, if they are typed.
    pub fn typed(&self) -> Option<&Arc<dyn Rows>> {
        self.typed.as_ref()
    }

    /// The rows, if they are typed, given away.
    pub fn into_typed(self) -> Option<Arc<dyn Rows>> {
        self.typed
    }

    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The kinds, if any row may be other than an insert.
    pub fn kinds(&self) -> Option<&ScalarBuffer<u8>> {
        self.kinds.as_ref()
    }

    /// The kind of row `row`.
    pub fn kind(&self, row: usize) -> RowKind {
        self.kinds
            .as_ref()
            .and_then(|k| RowKind::from_u8(k[row]))
            .unwrap_or(RowKind::Insert)
    }

    /// Hashes of the key by which the batch was last scattered.
    pub fn hashes(&self) -> Option<&Arc<Vec<u64>>> {
        self.hashes.as_ref()
    }

    /// Memory that the batch holds, in bytes, shared buffers counted in full.
    pub fn bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(|c| c.get_array_memory_size()).sum();
        let typed = self.typed.as_ref().map_or(0, |rows| rows.bytes());
        columns + typed + self.kinds.as_ref().map_or(0, |k| k.len()) + self.hashes.as_ref().map_or(0, |h| h.len() * 8)
    }

    /// Other columns over the same rows: kinds are kept, hashes are not (the key may have moved).
    pub fn with_columns(&self, columns: Vec<ArrayRef>) -> Self {
        Self::new(columns, self.rows).with_kinds(self.kinds.clone())
    }

    /// `length` rows from `offset` on, without copying columns.
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        Self {
            columns: self.columns.iter().map(|c| c.slice(offset, length)).collect(),
            typed: self.typed.as_ref().map(|rows| {
                let indices: Vec<u32> = (offset..offset + length).map(|row| row as u32).collect();
                rows.take(&indices)
            }),
            rows: length,
            kinds: self.kinds.as_ref().map(|k| k.slice(offset, length)),
            hashes: self
                .hashes
                .as_ref()
                .map(|h| Arc::new(h[offset..offset + length].to_vec())),
        }
    }

    /// The rows at `indices`, in that order.
    ///
    /// # Errors
    /// If a column's offsets overflow or an index is out of range.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self, ArrowError> {
        let columns = self
            .columns
            .iter()
            .map(|c| arrow_select::take::take(c.as_ref(), indices, None))
            .collect::<Result<Vec<_>, _>>()?;
        let pick = |i: &u32| *i as usize;
        Ok(Self {
            columns,
            typed: self.typed.as_ref().map(|rows| rows.take(indices.values())),
            rows: indices.len(),
            kinds: self
                .kinds
                .as_ref()
                .map(|k| indices.values().iter().map(|i| k[pick(i)]).collect()),
            hashes: self
                .hashes
                .as_ref()
                .map(|h| Arc::new(indices.values().iter().map(|i| h[pick(i)]).collect())),
        })
    }

    /// The rows for which `mask` is true; NULL counts as false.
    ///
    /// # Errors
    /// If the mask has another length than the batch.
    pub fn filter(&self, mask: &BooleanArray) -> Result<Self, ArrowError> {
        let predicate = arrow_select::filter::FilterBuilder::new(mask).optimize().build();
        let columns = self
            .columns
            .iter()
            .map(|c| predicate.filter(c.as_ref()))
            .collect::<Result<Vec<_>, ArrowError>>()?;
        let kept = || {
            mask.iter()
                .enumerate()
                .filter(|(_, m)| *m == Some(true))
                .map(|(i, _)| i)
        };
        Ok(Self {
            columns,
            typed: self.typed.as_ref().map(|rows| {
                let indices: Vec<u32> = kept().map(|row| row as u32).collect();
                rows.take(&indices)
            }),
            rows: predicate.count(),
            kinds: self.kinds.as_ref().map(|k| kept().map(|i| k[i]).collect()),
            hashes: self.hashes.as_ref().map(|h| Arc::new(kept().map(|i| h[i]).collect())),
        })
    }

    /// The rows of several batches of one schema, in order. Hashes survive if every batch has them.
    ///
    /// # Errors
    /// If the batches differ in schema, or offsets overflow.
    fn concat(batches: &[Self]) -> Result<Self, ArrowError> {
        if let [one] = batches {
            return Ok(one.clone());
        }
        let Some(first) = batches.first() else {
            return Ok(Self::new(vec![], 0));
        };
        let rows = batches.iter().map(|b| b.rows).sum();
        let columns = joined_columns(batches, first.columns.len())?;
        let kinds = batches.iter().any(|b| b.kinds.is_some()).then(|| {
            batches
                .iter()
                .flat_map(|b| (0..b.rows).map(|r| b.kind(r) as u8))
                .collect::<ScalarBuffer<u8>>()
        });
        let hashes = joined_hashes(batches);
        Ok(Self {
            columns,
            typed: None,
            rows,
            kinds,
            hashes,
        })
    }

    /// The rows of several batches of one stream, in order; typed rows that nobody else holds are moved.
    ///
    /// # Errors
    /// If the batches differ in type or schema, or offsets overflow.
    pub fn join(mut batches: Vec<Self>) -> Result<Self, BatchError> {
        if batches.len() == 1 {
            return Ok(batches.swap_remove(0));
        }
        if batches.iter().all(|b| b.typed.is_none()) {
            return Ok(Self::concat(&batches)?);
        }
        let hashes = joined_hashes(&batches);
        let keys = batches.iter().map(|b| b.columns.len()).min().unwrap_or(0);
        let keys = joined_columns(&batches, keys)?;
        let typed: Option<Vec<_>> = batches.into_iter().map(Self::into_typed).collect();
        let mut typed = typed.ok_or(BatchError::Mixed)?.into_iter();
        let first = typed.next().ok_or(BatchError::Mixed)?;
        let joined = Self::of_rows(first.append(typed.collect())?).with_hashes(hashes);
        Ok(joined.with_key_columns(keys))
    }

    /// The rows in pieces that end before the rows `ends`, ascending, and the rest; a piece without rows is left out. Typed rows
    /// that nobody else holds are moved.
    pub fn cut(mut self, ends: &[usize]) -> Vec<Self> {
        let ends = || ends.iter().copied().chain([self.rows]);
        let pieces: Vec<(usize, usize)> = std::iter::once(0).chain(ends()).zip(ends()).collect();
        let pieces = || pieces.iter().copied().filter(|(from, to)| to > from);
        let Some(typed) = self.typed.take() else {
            return pieces().map(|(from, to)| self.slice(from, to - from)).collect();
        };
        let counts: Vec<usize> = pieces().map(|(from, to)| to - from).collect();
        let numbered = (0u32..).zip(&counts);
        let targets: Vec<u32> = numbered
            .flat_map(|(piece, rows)| std::iter::repeat_n(piece, *rows))
            .collect();
        let hashes = |(from, to): (usize, usize)| self.hashes.as_ref().map(|h| Arc::new(h[from..to].to_vec()));
        let rows = typed.scatter(&targets, &counts).into_iter();
        rows.zip(pieces())
            .map(|(rows, piece)| Self::of_rows(rows).with_hashes(hashes(piece)))
            .collect()
    }

    /// Spreads the rows over `parts` parts: row `i` goes to part `targets[i]`, in order. Gives the parts that have rows, each
    /// with its number.
    ///
    /// # Errors
    /// If a column's offsets overflow.
    pub fn scatter(self, targets: &[u32], parts: usize) -> Result<Vec<(usize, Self)>, ArrowError> {
        let mut counts = vec![0usize; parts];
        for target in targets {
            counts[*target as usize] += 1;
        }
        if let Some(only) = counts.iter().position(|n| *n == self.rows) {
            return Ok(vec![(only, self)]);
        }
        let with_rows = |part: &usize| counts[*part] > 0;
        let Some(typed) = self.typed else {
            let mut rows: Vec<Vec<u32>> = counts.iter().map(|n| Vec::with_capacity(*n)).collect();
            for (row, target) in targets.iter().enumerate() {
                rows[*target as usize].push(row as u32);
            }
            let taken = |part| Ok((part, self.take(&UInt32Array::from(std::mem::take(&mut rows[part])))?));
            return (0..parts).filter(with_rows).map(taken).collect();
        };
        let mut hashes: Vec<Vec<u64>> = counts.iter().map(|n| Vec::with_capacity(*n)).collect();
        for (hash, target) in self.hashes.iter().flat_map(|h| h.iter()).zip(targets) {
            hashes[*target as usize].push(*hash);
        }
        let has_hashes = self.hashes.is_some();
        let spread = typed.scatter(targets, &counts).into_iter().zip(hashes).enumerate();
        Ok(spread
            .filter(|(part, _)| with_rows(part))
            .map(|(part, (rows, hashes))| {
                let hashes = has_hashes.then(|| Arc::new(hashes));
                (part, Self::of_rows(rows).with_hashes(hashes))
            })
            .collect())
    }
}

/// Batches could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// Columns.
    #[error(transparent)]
    Columns(#[from] ArrowError),
    /// Typed rows.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// Both.
    #[error("batches of one stream hold columns and typed rows")]
    Mixed,
}

/// The hashes of all rows, if every batch has them.
/// The first `count` columns of several batches.
fn joined_columns(batches: &[Batch], count: usize) -> Result<Vec<ArrayRef>, ArrowError> {
    let joined = |column: usize| {
        let parts: Vec<&dyn Array> = batches.iter().map(|b| b.columns[column].as_ref()).collect();
        arrow_select::concat::concat(&parts)
    };
    (0..count).map(joined).collect()
}

fn joined_hashes(batches: &[Batch]) -> Option<Arc<Vec<u64>>> {
    batches.iter().all(|b| b.hashes.is_some()).then(|| {
        let all = batches.iter().filter_map(|b| b.hashes.as_ref());
        Arc::new(all.flat_map(|h| h.iter().copied()).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;

    fn batch(values: &[i64], kinds: Option<Vec<u8>>) -> Batch {
        Batch::new(vec![Arc::new(Int64Array::from(values.to_vec()))], values.len()).with_kinds(kinds.map(Into::into))
    }

    #[test]
    fn take_and_filter_move_kinds_and_hashes_with_the_rows() {
        let b = batch(&[1, 2, 3], Some(vec![0, 1, 2])).with_hashes(Some(Arc::new(vec![10, 20, 30])));
        let t = b.take(&UInt32Array::from(vec![2, 0])).unwrap();
        assert_eq!((t.kind(0), t.kind(1)), (RowKind::UpdateAfter, RowKind::Insert));
        assert_eq!(t.hashes().unwrap().as_slice(), &[30, 10]);
        let f = b
            .filter(&BooleanArray::from(vec![Some(false), Some(true), None]))
            .unwrap();
        assert_eq!((f.num_rows(), f.kind(0)), (1, RowKind::UpdateBefore));
        assert_eq!(f.hashes().unwrap().as_slice(), &[20]);
    }

    #[test]
    fn a_batch_is_cut_into_pieces_with_rows() {
        let hashed = || batch(&[1, 2, 3], Some(vec![0, 1, 2])).with_hashes(Some(Arc::new(vec![10, 20, 30])));
        let pieces = hashed().cut(&[0, 1, 1, 3]);
        let rows: Vec<usize> = pieces.iter().map(Batch::num_rows).collect();
        assert_eq!(rows, [1, 2]);
        assert_eq!(pieces[1].hashes().unwrap().as_slice(), &[20, 30]);
        assert_eq!(pieces[1].kind(1), RowKind::UpdateAfter);
        assert_eq!(hashed().cut(&[]).len(), 1);
    }

    #[test]
    fn concat_fills_in_inserts_where_a_batch_has_no_kinds() {
        let c = Batch::join(vec![batch(&[1], None), batch(&[2], Some(vec![3]))]).unwrap();
        assert_eq!((c.kind(0), c.kind(1)), (RowKind::Insert, RowKind::Delete));
        assert!(c.hashes().is_none());
    }
}
