//! The [`Encoder`] trait: columns in, one buffer of encoded rows out.

use crate::error::FormatError;
use arrow_array::ArrayRef;

/// Rows as bytes, one after the other in one buffer.
#[derive(Debug, Clone, Default)]
pub struct EncodedRows {
    /// The bytes of all rows, without separators between them.
    pub bytes: Vec<u8>,
    ends: Vec<usize>,
    absent: Vec<usize>,
}

impl EncodedRows {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets the rows and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.absent.clear();
    }

    /// The bytes of row `row`; `None` for a row that is a message without a value (`raw` writes NULL so).
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        if self.absent.binary_search(&row).is_ok() {
            return None;
        }
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start..self.ends[row]])
    }

    /// The rows in order, as [`EncodedRows::get`] gives them.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Ends the row whose bytes were appended to [`EncodedRows::bytes`] since the row before.
    pub fn end_row(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Adds a row that is a message without a value.
    pub fn push_absent(&mut self) {
        self.absent.push(self.ends.len());
        self.end_row();
    }

    /// Takes back the rows from `rows` on and what was appended since.
    pub fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.absent.retain(|row| *row < rows);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }
}

/// Writes batches as rows of one format.
pub trait Encoder: Send {
    /// Appends the first `rows` rows of a batch with the columns that the encoder was made for.
    ///
    /// # Errors
    /// If the columns are others, or a value cannot be written; then no row of the batch is kept.
    fn encode(&mut self, columns: &[ArrayRef], rows: usize, out: &mut EncodedRows) -> Result<(), FormatError>;

    /// Appends rows of these kinds ([`flott_core::RowKind`]'s numbers; `None`: inserts). Formats that carry no changes
    /// ([`crate::carries_changes`]) write every row alike.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    fn encode_changes(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        kinds: Option<&[u8]>,
        out: &mut EncodedRows,
    ) -> Result<(), FormatError> {
        let _ = kinds;
        self.encode(columns, rows, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_their_ends_and_absent_ones_are_none() {
        let mut rows = EncodedRows::new();
        rows.bytes.extend_from_slice(b"ab");
        rows.end_row();
        rows.push_absent();
        rows.end_row();
        let all: Vec<_> = rows.iter().collect();
        assert_eq!(all, [Some(&b"ab"[..]), None, Some(&b""[..])]);
        rows.bytes.push(b'x');
        rows.truncate(1);
        assert_eq!((rows.len(), rows.bytes.as_slice()), (1, &b"ab"[..]));
    }
}
