//! The log of one partition: record batches in memory, as received.
//!
//! Pure data, no locks and no I/O; [`crate::partition::Partition`] puts a lock around it. Batches are contiguous in
//! offsets from `start_offset` to `end_offset`, so both offsets and positions are found by binary search; timestamps
//! are found by a scan over the batch headers, as they need not rise.

use std::collections::VecDeque;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use crate::batch::{self, BatchHeader, CheckedBatch, PREFIX_BYTES, Prefix};
use crate::producers::{AbortedTransaction, Producers, Verdict};

/// A batch in the log.
#[derive(Debug)]
struct StoredBatch {
    base_offset: i64,
    leader_epoch: i32,
    header: BatchHeader,
    prefix: Prefix,
    body: Bytes,
}

impl StoredBatch {
    fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.header.last_offset_delta)
    }

    fn size_bytes(&self) -> usize {
        PREFIX_BYTES + self.body.len()
    }
}

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appended {
    At(i64),
    DuplicateOf(i64),
}

/// One batch of a fetch answer: slices of the stored bytes.
#[derive(Debug, Clone)]
pub(crate) struct BatchSlice {
    pub prefix: Prefix,
    pub body: Bytes,
}

/// Which records a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

impl Isolation {
    /// From the byte of the protocol: 1 is read committed.
    pub fn from_wire(level: i8) -> Self {
        if level == 1 {
            Self::ReadCommitted
        } else {
            Self::ReadUncommitted
        }
    }
}

/// What a read found.
#[derive(Debug, Default)]
pub(crate) struct LogRead {
    pub batches: Vec<BatchSlice>,
    pub size_bytes: usize,
    /// Empty for uncommitted reads.
    pub aborted: Vec<AbortedTransaction>,
}

/// A position found by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimedOffset {
    pub timestamp_ms: i64,
    pub offset: i64,
    pub leader_epoch: i32,
}

/// The log of one partition.
#[derive(Debug)]
pub(crate) struct Log {
    batches: VecDeque<StoredBatch>,
    start_offset: i64,
    end_offset: i64,
    producers: Producers,
    /// Each leader epoch and the end of the log when it began; never empty.
    epochs: Vec<(i32, i64)>,
}

impl Log {
    pub fn new() -> Self {
        Self {
            batches: VecDeque::new(),
            start_offset: 0,
            end_offset: 0,
            producers: Producers::default(),
            epochs: vec![(0, 0)],
        }
    }

    /// First offset that is still there.
    pub fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The offset that the next record gets; also the high watermark, as there is one replica.
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Below it, every transaction is decided.
    pub fn last_stable_offset(&self) -> i64 {
        match self.producers.first_open_offset() {
            Some(offset) => offset.max(self.start_offset),
            None => self.end_offset,
        }
    }

    pub fn leader_epoch(&self) -> i32 {
        self.epochs.last().map_or(0, |&(epoch, _)| epoch)
    }

    /// Begins the next leader epoch.
    pub fn bump_leader_epoch(&mut self) -> i32 {
        let epoch = self.leader_epoch() + 1;
        self.epochs.push((epoch, self.end_offset));
        epoch
    }

    /// The largest epoch up to `epoch`, and the offset at which the one after it began; `None` for an epoch to come.
    pub fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        if epoch > self.leader_epoch() {
            return None;
        }
        let after = self.epochs.partition_point(|&(known, _)| known <= epoch);
        let (found, _) = *self.epochs.get(after.checked_sub(1)?)?;
        let end_offset = self
            .epochs
            .get(after)
            .map_or(self.end_offset, |&(_, began_at)| began_at);
        Some((found, end_offset))
    }

    /// Appends a batch of a client, or recognises that it is there already.
    pub fn append(&mut self, batch: CheckedBatch) -> Result<Appended, ResponseError> {
        match self.producers.check(&batch.header)? {
            Verdict::Duplicate { base_offset } => Ok(Appended::DuplicateOf(base_offset)),
            Verdict::Append => {
                self.producers.appended(&batch.header, self.end_offset);
                Ok(Appended::At(self.push(batch)))
            }
        }
    }

    /// Appends the marker that ends a transaction.
    pub fn append_end_marker(&mut self, producer_id: i64, producer_epoch: i16, commit: bool, now_ms: i64) -> usize {
        let marker = batch::end_marker(producer_id, producer_epoch, commit, now_ms);
        let size_bytes = marker.size_bytes();
        let marker_offset = self.push(marker);
        self.producers.ended(producer_id, producer_epoch, commit, marker_offset);
        size_bytes
    }

    /// Reads whole batches from `offset` on, as many as fit `max_bytes`; the first one also where it does not fit, if
    /// `at_least_one`.
    pub fn read(
        &self,
        offset: i64,
        isolation: Isolation,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<LogRead, ResponseError> {
        if offset < self.start_offset || offset > self.end_offset {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let limit = match isolation {
            Isolation::ReadUncommitted => self.end_offset,
            Isolation::ReadCommitted => self.last_stable_offset(),
        };
        let mut read = LogRead::default();
        let mut next_offset = offset;
        let first = self.batches.partition_point(|batch| batch.last_offset() < offset);
        for batch in self
            .batches
            .range(first..)
            .take_while(|batch| batch.base_offset < limit)
        {
            let fits = read.size_bytes + batch.size_bytes() <= max_bytes;
            let is_owed = at_least_one && read.batches.is_empty();
            if !(fits || is_owed) {
                break;
            }
            read.size_bytes += batch.size_bytes();
            read.batches.push(BatchSlice {
                prefix: batch.prefix,
                body: batch.body.clone(),
            });
            next_offset = batch.last_offset() + 1;
        }
        if isolation == Isolation::ReadCommitted {
            read.aborted.extend(self.producers.aborted_in(offset, next_offset));
        }
        Ok(read)
    }

    /// The first record with at least this timestamp. In a compressed batch, whose records are not looked into: the
    /// batch's first record, so that a reader starts early rather than late.
    pub fn offset_at(&self, timestamp_ms: i64) -> Option<TimedOffset> {
        self.batches
            .iter()
            .filter(|batch| batch.header.max_timestamp_ms >= timestamp_ms)
            .find_map(|batch| self.record_in(batch, timestamp_ms))
    }

    /// The first record with the greatest timestamp, at the precision of [`Self::offset_at`].
    pub fn offset_of_max_timestamp(&self) -> Option<TimedOffset> {
        let max_timestamp_ms = self.batches.iter().map(|batch| batch.header.max_timestamp_ms).max()?;
        self.offset_at(max_timestamp_ms)
    }

    fn record_in(&self, batch: &StoredBatch, timestamp_ms: i64) -> Option<TimedOffset> {
        let (timestamp_ms, delta) = if batch.header.is_compressed() {
            (batch.header.base_timestamp_ms, 0)
        } else {
            batch::first_record_at(&batch.header, &batch.body, timestamp_ms)?
        };
        let offset = (batch.base_offset + i64::from(delta)).max(self.start_offset);
        Some(TimedOffset {
            timestamp_ms,
            offset,
            leader_epoch: batch.leader_epoch,
        })
    }

    /// Removes the oldest batch; the log then starts behind it.
    pub fn remove_oldest(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.start_offset = batch.last_offset() + 1;
            self.producers.log_starts_at(self.start_offset);
        }
    }

    fn push(&mut self, batch: CheckedBatch) -> i64 {
        let base_offset = self.end_offset;
        let leader_epoch = self.leader_epoch();
        self.end_offset += i64::from(batch.header.last_offset_delta) + 1;
        self.batches.push_back(StoredBatch {
            base_offset,
            leader_epoch,
            header: batch.header,
            prefix: batch::prefix(base_offset, leader_epoch, batch.body.len()),
            body: batch.body,
        });
        base_offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::PlainRecord;

    fn append(log: &mut Log, timestamps_ms: &[i64]) -> Appended {
        let records: Vec<_> = timestamps_ms
            .iter()
            .map(|&t| PlainRecord {
                timestamp_ms: t,
                key: None,
                value: Some(b"v"),
            })
            .collect();
        let mut bytes = batch::encode_batch(&records).expect("records were given");
        let batch = CheckedBatch::split_from(&mut bytes).expect("valid");
        log.append(batch).expect("appended")
    }

    #[test]
    fn a_read_starts_with_the_batch_that_holds_the_offset() {
        let mut log = Log::new();
        append(&mut log, &[1, 2, 3]);
        append(&mut log, &[4, 5]);
        let read = log
            .read(2, Isolation::ReadUncommitted, 1 << 20, true)
            .expect("in range");
        assert_eq!(read.batches.len(), 2);
        assert_eq!(read.batches[1].prefix[..8], 3i64.to_be_bytes());
        let small = log.read(0, Isolation::ReadUncommitted, 1, true).expect("in range");
        assert_eq!(small.batches.len(), 1);
        let none = log.read(0, Isolation::ReadUncommitted, 1, false).expect("in range");
        assert!(none.batches.is_empty());
        assert!(
            log.read(5, Isolation::ReadUncommitted, 1, true)
                .expect("at the end")
                .batches
                .is_empty()
        );
        assert!(log.read(6, Isolation::ReadUncommitted, 1, true).is_err());
    }

    #[test]
    fn retention_moves_the_start_and_offsets_below_are_out_of_range() {
        let mut log = Log::new();
        append(&mut log, &[1, 2, 3]);
        append(&mut log, &[4]);
        log.remove_oldest();
        assert_eq!((log.start_offset(), log.end_offset()), (3, 4));
        let refusal = log.read(2, Isolation::ReadUncommitted, 1, true).map(|_| ());
        assert_eq!(refusal, Err(ResponseError::OffsetOutOfRange));
    }

    #[test]
    fn time_finds_records_not_batches() {
        let mut log = Log::new();
        append(&mut log, &[100, 300]);
        append(&mut log, &[200, 250]);
        let offset = |log: &Log, t| log.offset_at(t).map(|found| (found.timestamp_ms, found.offset));
        assert_eq!(offset(&log, 0), Some((100, 0)));
        assert_eq!(offset(&log, 101), Some((300, 1)));
        assert_eq!(offset(&log, 301), None);
        assert_eq!(log.offset_of_max_timestamp().map(|found| found.offset), Some(1));
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let mut log = Log::new();
        append(&mut log, &[1, 2]);
        assert_eq!(log.bump_leader_epoch(), 1);
        append(&mut log, &[3]);
        assert_eq!(log.end_of_epoch(0), Some((0, 2)));
        assert_eq!(log.end_of_epoch(1), Some((1, 3)));
        assert_eq!((log.end_of_epoch(-1), log.end_of_epoch(2)), (None, None));
    }
}
