//! Validity bits that exist only once a NULL came.

use arrow_buffer::{BooleanBufferBuilder, NullBuffer};

/// The validity of a column's rows; its length is the column's.
#[derive(Debug, Default)]
pub(crate) struct Validity(Option<BooleanBufferBuilder>);

impl Validity {
    /// One more row that is not NULL.
    #[inline]
    pub(crate) fn push_valid(&mut self) {
        if let Some(bits) = &mut self.0 {
            bits.append(true);
        }
    }

    /// `count` more rows that are NULL, after `rows` rows so far.
    pub(crate) fn push_nulls(&mut self, rows: usize, count: usize) {
        if count == 0 {
            return;
        }
        let bits = self.0.get_or_insert_with(|| {
            let mut bits = BooleanBufferBuilder::new((rows + count).max(1024));
            bits.append_n(rows, true);
            bits
        });
        bits.append_n(count, false);
    }

    /// Drops the rows from `rows` on.
    pub(crate) fn truncate(&mut self, rows: usize) {
        if let Some(bits) = &mut self.0 {
            bits.truncate(rows);
        }
    }

    /// The bits, leaving none.
    pub(crate) fn take(&mut self) -> Option<NullBuffer> {
        self.0
            .take()
            .map(|mut bits| NullBuffer::new(bits.finish()))
            .filter(|n| n.null_count() > 0)
    }
}
