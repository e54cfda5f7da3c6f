//! The [`Decoder`] trait: messages in, columns out.

use crate::error::RowError;
use arrow_array::ArrayRef;

/// Bounds of one call of [`Decoder::decode_lines`].
#[derive(Debug, Clone, Copy)]
pub struct LineLimits {
    /// Stop when the decoder holds this many rows.
    pub rows: usize,
    /// Stop when the decoder holds about this many bytes.
    pub bytes: usize,
    /// Whether the block reaches the end of the input: then the last line needs no line end.
    pub last: bool,
}

/// What a call of [`Decoder::decode_lines`] has read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Consumed {
    /// Bytes from the block's start, up to a line's start.
    pub bytes: usize,
    /// The line at which reading stopped because it is bad, with its range within the block. It is consumed; the
    /// caller judges it and calls again.
    pub bad: Option<(RowError, std::ops::Range<usize>)>,
}

/// Reads messages of one format into columns.
///
/// Rows gather until [`Decoder::finish`]. The caller watches [`Decoder::rows`] and [`Decoder::bytes`] and finishes when
/// there are enough (about 8,192 rows or 1 MiB).
pub trait Decoder: Send {
    /// Appends the rows of one message (mostly one; none where the format says so, as for an empty JSON message or a
    /// row that `ignore-parse-errors` drops; several for a JSON array) and gives their number.
    ///
    /// # Errors
    /// If the message is malformed; then no row of it is kept.
    fn decode(&mut self, message: &[u8]) -> Result<usize, RowError>;

    /// Appends the rows of a message without a value (a Kafka tombstone) and gives their number: none, but for `raw`,
    /// where it is a row with NULL.
    fn decode_absent(&mut self) -> usize {
        0
    }

    /// Appends the lines of a block of a file, up to the limits, a bad line, or the last line end in the block.
    ///
    /// Lines end in `\n` or `\r\n`; a quoted CSV field may hold line ends. A line that is not complete is left for the
    /// next call, whose block must start with it; how long a line may grow is for the caller to say.
    fn decode_lines(&mut self, block: &[u8], limits: LineLimits) -> Consumed {
        decode_lines_with(self, block, limits, |decoder, line| decoder.decode(line))
    }

    /// Whether a file may be cut at any line end (not so for CSV with quoted line ends).
    fn splits_at_line_ends(&self) -> bool {
        true
    }

    /// Takes back the gathered rows from `rows` on; for a caller that finds a row bad for a reason of its own.
    fn truncate(&mut self, rows: usize);

    /// Number of rows gathered.
    fn rows(&self) -> usize;

    /// Bytes that the gathered rows hold, about.
    fn bytes(&self) -> usize;

    /// Rows that `ignore-parse-errors` has dropped since the decoder was made.
    fn dropped_rows(&self) -> u64;

    /// The kinds of the gathered rows ([`flott_core::RowKind`]'s numbers), for a format whose rows are changes; to be taken
    /// before [`Decoder::finish`]. `None`: all rows are inserts.
    fn take_kinds(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// The gathered rows as columns in the order of the projection; the decoder is empty afterwards.
    fn finish(&mut self) -> Vec<ArrayRef>;
}

/// [`Decoder::decode_lines`] for formats whose lines hold no line ends; `decode` reads a line.
pub(crate) fn decode_lines_with<D: Decoder + ?Sized>(
    decoder: &mut D,
    block: &[u8],
    limits: LineLimits,
    decode: impl Fn(&mut D, &[u8]) -> Result<usize, RowError>,
) -> Consumed {
    let mut start = 0;
    // The size is asked for now and then: it costs a walk over the columns.
    let mut size_check_row = decoder.rows() + SIZE_CHECK_ROWS;
    while start < block.len() && decoder.rows() < limits.rows {
        let (end, next) = match memchr::memchr(b'\n', &block[start..]) {
            Some(length) => (start + length, start + length + 1),
            None if limits.last => (block.len(), block.len()),
            None => break,
        };
        let line = &block[start..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let range = start..end;
        start = next;
        if let Err(error) = decode(decoder, line) {
            return Consumed {
                bytes: start,
                bad: Some((error, range)),
            };
        }
        if decoder.rows() >= size_check_row {
            size_check_row = decoder.rows() + SIZE_CHECK_ROWS;
            if decoder.bytes() >= limits.bytes {
                break;
            }
        }
    }
    Consumed {
        bytes: start,
        bad: None,
    }
}

/// Rows between two looks at the size.
pub(crate) const SIZE_CHECK_ROWS: usize = 64;
