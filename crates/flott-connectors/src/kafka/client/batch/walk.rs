//! [`RecordWalker`]: the records of a fetched partition, one after the other, in place.
//!
//! A walker takes the bytes of one fetch, stands still wherever the caller stops, and gives slices into the fetched bytes, or,
//! for a compressed batch, into a buffer that is kept for the next. It allocates nothing per record. What the reader must not
//! see is skipped: control batches, offsets before the start (a broker answers with whole batches), and, under
//! `read_committed`, batches of aborted transactions.
//!
//! No byte sequence makes it panic; what cannot be read is an error that names topic, partition and offset, after which the
//! walker stays at its end.

use bytes::Bytes;

use super::codec::{Codec, unpack};
use super::{BatchHeader, CRC_FROM, HEADER_BYTES, varint};
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::fetch::Fetched;

/// One record, borrowed from the walker.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Of the leader that took the record's batch; -1 when the broker does not tell.
    pub leader_epoch: i32,
    /// Whether `timestamp_ms` is the broker's time of append rather than the producer's.
    pub is_log_append_time: bool,
    headers: &'a [u8],
}

impl<'a> Record<'a> {
    /// The headers, read when asked for.
    pub fn headers(&self) -> Headers<'a> {
        let mut at = 0;
        let count = varint::get(self.headers, &mut at);
        Headers {
            bytes: self.headers,
            at,
            left: count.unwrap_or(-1),
        }
    }
}

/// Iterator over a record's headers; a malformed header is an error and the end.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Negative: the count itself was malformed.
    left: i64,
}

/// A header: its key is UTF-8, its value may be null.
pub type Header<'a> = (&'a str, Option<&'a [u8]>);

impl<'a> Iterator for Headers<'a> {
    type Item = Result<Header<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let header = (self.left > 0).then(|| read_header(self.bytes, &mut self.at)).flatten();
        self.left = if header.is_some() { self.left - 1 } else { 0 };
        Some(header.ok_or("malformed record header"))
    }
}

fn read_header<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Header<'a>> {
    let key = nullable(bytes, at)??;
    let value = nullable(bytes, at)?;
    Some((std::str::from_utf8(key).ok()?, value))
}

/// A length and that many bytes; `Some(None)` for length -1.
#[inline(always)]
fn nullable<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Option<&'a [u8]>> {
    let length = varint::get(bytes, at)?;
    if length < 0 {
        return (length == -1).then_some(None);
    }
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    let slice = bytes.get(*at..end)?;
    *at = end;
    Some(Some(slice))
}

/// How a walker reads.
#[derive(Clone, Copy, Debug)]
pub struct WalkOptions {
    /// `check.crcs`.
    pub check_crcs: bool,
    /// Skip what aborted transactions wrote.
    pub read_committed: bool,
}

/// See the module.
#[derive(Debug)]
pub struct RecordWalker {
    fetched: Fetched,
    options: WalkOptions,
    /// The next batch begins here in the fetched bytes.
    next_batch: usize,
    /// The records of the current batch: a range of `fetched.records`, or all of `unpacked`.
    current: Range,
    unpacked: Vec<u8>,
    at: usize,
    left: i32,
    header: BatchHeader,
    /// The offset after the last record or batch that was passed.
    position: i64,
    /// Aborted transactions that begin later, latest first; and producers inside one now.
    aborted_later: Vec<(i64, i64)>,
    aborted_now: Vec<i64>,
}

#[derive(Clone, Copy, Debug)]
enum Range {
    Fetched { end: usize },
    Unpacked,
}

const NO_BATCH: BatchHeader = BatchHeader {
    base_offset: 0,
    size_bytes: 0,
    leader_epoch: -1,
    crc: 0,
    attributes: 0,
    last_offset_delta: 0,
    base_timestamp_ms: 0,
    max_timestamp_ms: 0,
    producer_id: -1,
    producer_epoch: -1,
    base_sequence: -1,
    record_count: 0,
};

impl RecordWalker {
    /// A walker over `fetched`.
    pub fn new(fetched: Fetched, options: WalkOptions) -> Self {
        let mut walker = Self {
            position: fetched.fetch_offset,
            options,
            next_batch: 0,
            current: Range::Fetched { end: 0 },
            unpacked: Vec::new(),
            at: 0,
            left: 0,
            header: NO_BATCH,
            aborted_later: Vec::new(),
            aborted_now: Vec::new(),
            fetched: Fetched::default(),
        };
        walker.restart(fetched);
        walker
    }

    /// Walks another fetch with the buffers of the last; what was left of that is dropped.
    pub fn restart(&mut self, fetched: Fetched) {
        self.position = fetched.fetch_offset;
        (self.next_batch, self.at, self.left) = (0, 0, 0);
        self.current = Range::Fetched { end: 0 };
        self.aborted_now.clear();
        self.aborted_later.clear();
        if self.options.read_committed {
            self.aborted_later
                .extend(fetched.aborted.iter().map(|a| (a.first_offset, a.producer_id)));
            self.aborted_later.sort_unstable_by(|a, b| b.cmp(a));
        }
        self.fetched = fetched;
    }

    /// What is being walked.
    pub fn fetched(&self) -> &Fetched {
        &self.fetched
    }

    /// The offset to go on from: after every record that was returned or skipped.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The next record; `None` at the end of the fetch.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "a lending iterator")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, KafkaError> {
        loop {
            while self.left == 0 {
                if !self.open_batch()? {
                    return Ok(None);
                }
            }
            let bytes: &[u8] = match self.current {
                Range::Fetched { end } => self.fetched.records.get(..end).unwrap_or_default(),
                Range::Unpacked => &self.unpacked,
            };
            let Some((offset_delta, timestamp_delta, raw)) = read_record(bytes, &mut self.at) else {
                return Err(self.fail("malformed record"));
            };
            self.left -= 1;
            let offset = self.header.base_offset + offset_delta;
            if offset < self.position {
                continue;
            }
            self.position = if self.left == 0 {
                self.header.next_offset().max(offset + 1)
            } else {
                offset + 1
            };
            let is_log_append_time = self.header.is_log_append_time();
            let timestamp_ms = if is_log_append_time {
                self.header.max_timestamp_ms
            } else {
                self.header.base_timestamp_ms.wrapping_add(timestamp_delta)
            };
            // The slices are taken from `self` again so that the borrow starts after its fields were written.
            let bytes: &[u8] = match self.current {
                Range::Fetched { .. } => &self.fetched.records,
                Range::Unpacked => &self.unpacked,
            };
            return Ok(Some(Record {
                offset,
                timestamp_ms,
                leader_epoch: self.header.leader_epoch,
                is_log_append_time,
                key: raw.key.map(|(from, to)| &bytes[from..to]),
                value: raw.value.map(|(from, to)| &bytes[from..to]),
                headers: &bytes[raw.headers.0..raw.headers.1],
            }));
        }
    }

    fn fail(&mut self, reason: impl Into<String>) -> KafkaError {
        self.left = 0;
        self.next_batch = usize::MAX;
        KafkaError::CorruptBatch {
            topic: self.fetched.topic.to_string(),
            partition: self.fetched.partition,
            offset: self.position,
            reason: reason.into(),
        }
    }

    /// Steps to the next batch, which may turn out to have nothing to show; `false` at the end.
    fn open_batch(&mut self) -> Result<bool, KafkaError> {
        let rest: Bytes = match self.fetched.records.len().checked_sub(self.next_batch) {
            None | Some(0) => return Ok(false),
            Some(_) => self.fetched.records.slice(self.next_batch..),
        };
        let header = match BatchHeader::read(&rest) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(false),
            Err(reason) => return Err(self.fail(reason)),
        };
        let batch_from = self.next_batch;
        self.next_batch += header.size_bytes;
        self.header = header;
        if header.next_offset() <= self.position && header.record_count > 0 && !header.is_control() {
            return Ok(true);
        }
        if self.options.check_crcs {
            let crc = crc32c::crc32c(&rest[CRC_FROM..header.size_bytes]);
            if crc != header.crc {
                return Err(self.fail(format!("its CRC-32C is {crc:08x}, its header says {:08x}", header.crc)));
            }
        }
        if self.skip_batch(&header, &rest) {
            self.position = self.position.max(header.next_offset());
            return Ok(true);
        }
        let codec = match Codec::of_attributes(header.attributes) {
            Ok(codec) => codec,
            Err(reason) => return Err(self.fail(reason)),
        };
        if codec == Codec::None {
            self.current = Range::Fetched {
                end: batch_from + header.size_bytes,
            };
            self.at = batch_from + HEADER_BYTES;
        } else {
            if let Err(reason) = unpack(codec, &rest[HEADER_BYTES..header.size_bytes], &mut self.unpacked) {
                return Err(self.fail(reason));
            }
            self.current = Range::Unpacked;
            self.at = 0;
        }
        self.left = header.record_count;
        if self.left == 0 {
            self.position = self.position.max(header.next_offset());
        }
        Ok(true)
    }

    /// Whether a batch is a marker, or of a transaction that was aborted; keeps the set of those.
    fn skip_batch(&mut self, header: &BatchHeader, batch: &[u8]) -> bool {
        if self.options.read_committed {
            while let Some(&(first_offset, producer)) = self.aborted_later.last()
                && first_offset < header.next_offset()
            {
                self.aborted_later.pop();
                self.aborted_now.push(producer);
            }
        }
        if header.is_control() {
            if is_abort_marker(&batch[HEADER_BYTES..header.size_bytes]) {
                self.aborted_now.retain(|p| *p != header.producer_id);
            }
            return true;
        }
        header.is_transactional() && self.aborted_now.contains(&header.producer_id)
    }
}

/// A control record's key is two 16-bit numbers, version and type; type 0 is an abort.
fn is_abort_marker(records: &[u8]) -> bool {
    let Some((_, _, raw)) = read_record(records, &mut 0) else {
        return false;
    };
    raw.key
        .and_then(|(from, to)| records.get(from..to))
        .is_some_and(|key| key.len() >= 4 && key[2..4] == [0, 0])
}

type Span = (usize, usize);

struct RawRecord {
    key: Option<Span>,
    value: Option<Span>,
    headers: Span,
}

/// Offset delta, timestamp delta and the spans of the record at `*at`, which moves past it.
#[inline(always)]
fn read_record(bytes: &[u8], at: &mut usize) -> Option<(i64, i64, RawRecord)> {
    let mut i = *at;
    let length = usize::try_from(varint::get(bytes, &mut i)?).ok()?;
    let end = i.checked_add(length)?;
    let bytes = bytes.get(..end)?;
    i += 1; // attributes, unused
    let timestamp_delta = varint::get(bytes, &mut i)?;
    let offset_delta = varint::get(bytes, &mut i)?;
    if !(0..=i64::from(i32::MAX)).contains(&offset_delta) {
        return None;
    }
    let key = nullable_span(bytes, &mut i)?;
    let value = nullable_span(bytes, &mut i)?;
    if i >= end {
        return None; // the count of headers is missing
    }
    *at = end;
    Some((
        offset_delta,
        timestamp_delta,
        RawRecord {
            key,
            value,
            headers: (i, end),
        },
    ))
}

#[inline(always)]
fn nullable_span(bytes: &[u8], at: &mut usize) -> Option<Option<Span>> {
    let length = varint::get(bytes, at)?;
    if length < 0 {
        return (length == -1).then_some(None);
    }
    let from = *at;
    let end = from.checked_add(usize::try_from(length).ok()?)?;
    if end > bytes.len() {
        return None;
    }
    *at = end;
    Some(Some((from, end)))
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
