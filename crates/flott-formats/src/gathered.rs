//! [`Gathered`]: the rows that a decoder of text has appended since it last gave them out.

use crate::columns::Column;
use arrow_array::ArrayRef;
use arrow_schema::DataType;
use flott_core::types::Field;

/// Columns being filled. A row that is begun and not counted in `rows` is taken back by [`Gathered::truncate`].
pub(crate) struct Gathered {
    types: Vec<DataType>,
    pub columns: Vec<Column>,
    /// Complete rows.
    pub rows: usize,
    /// Rows that were given up since the decoder was made.
    pub dropped: u64,
    /// Bytes of the messages that the rows came from.
    message_bytes: usize,
}

impl Gathered {
    /// No rows of these columns.
    pub(crate) fn new(projected: &[Field]) -> Self {
        Self {
            types: projected.iter().map(|f| f.ty.to_arrow()).collect(),
            columns: projected.iter().map(|f| Column::new(&f.ty)).collect(),
            rows: 0,
            dropped: 0,
            message_bytes: 0,
        }
    }

    /// Whether a message of so many bytes can be added to a batch of at most `most`.
    #[inline]
    pub(crate) fn has_room(&self, bytes: usize, most: usize) -> bool {
        self.message_bytes + bytes <= most
    }

    /// Counts a message whose rows are complete.
    #[inline]
    pub(crate) fn add_message(&mut self, bytes: usize) {
        self.message_bytes += bytes;
    }

    /// Takes back the rows from `rows` on, and one that is not complete.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        self.columns.iter_mut().for_each(|c| c.truncate(rows));
    }

    /// About how many bytes the columns hold.
    pub(crate) fn bytes(&self) -> usize {
        self.columns.iter().map(Column::bytes).sum()
    }

    /// Gives the rows out.
    pub(crate) fn finish(&mut self) -> Vec<ArrayRef> {
        let rows = std::mem::take(&mut self.rows);
        self.message_bytes = 0;
        let columns = self.columns.iter_mut().zip(&self.types);
        columns.map(|(column, ty)| column.finish(rows, ty)).collect()
    }
}
