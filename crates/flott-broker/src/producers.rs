//! What a partition knows of its producers: sequence numbers, open transactions, aborted transactions.
//!
//! The rules are Kafka's for idempotent producers: the epoch of a producer id never goes back; within an epoch the
//! sequence numbers have no gap; a new epoch starts at sequence 0; each of the last five batches, sent again, is
//! recognised and answered with its first offset instead of being appended.
//!
//! A transaction is open on a partition from its first batch to its end marker. The last stable offset is the first
//! offset of the oldest open transaction.

use std::collections::{BTreeMap, HashMap, VecDeque};

use kafka_protocol::ResponseError;

use crate::batch::{BatchHeader, NO_PRODUCER_ID};

/// Batches per producer in which a duplicate is recognised; the in-flight limit of Kafka's own producers.
const REMEMBERED_BATCHES: usize = 5;

/// A transaction that was aborted: its records from `first_offset` on, up to the marker at `marker_offset`, are void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
    pub marker_offset: i64,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    /// It is in the log already, at this offset.
    Duplicate {
        base_offset: i64,
    },
}

#[derive(Debug, Clone, Copy)]
struct RememberedBatch {
    base_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    recent: VecDeque<RememberedBatch>,
    /// First offset of the transaction that is open here, if one is.
    open_since: Option<i64>,
}

/// The producers of one partition.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
    /// First offset of each open transaction, and its producer id.
    open: BTreeMap<i64, i64>,
    /// In the order of their markers.
    aborted: VecDeque<AbortedTransaction>,
}

impl Producers {
    /// Judges a batch of a client before it is appended.
    pub fn check(&self, header: &BatchHeader) -> Result<Verdict, ResponseError> {
        if header.producer_id == NO_PRODUCER_ID {
            return if header.is_transactional() {
                Err(ResponseError::InvalidRecord)
            } else {
                Ok(Verdict::Append)
            };
        }
        if header.base_sequence < 0 || header.producer_epoch < 0 {
            return Err(ResponseError::InvalidRecord);
        }
        let Some(producer) = self.by_id.get(&header.producer_id) else {
            // Also a producer whose batches have all been removed by retention: any sequence number goes.
            return Ok(Verdict::Append);
        };
        if header.producer_epoch < producer.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        let last_sequence = header.last_sequence();
        if header.producer_epoch > producer.epoch {
            if header.base_sequence != 0 {
                return Err(ResponseError::OutOfOrderSequenceNumber);
            }
        } else {
            let same = |batch: &&RememberedBatch| {
                batch.base_sequence == header.base_sequence && batch.last_sequence == last_sequence
            };
            if let Some(duplicate) = producer.recent.iter().find(same) {
                return Ok(Verdict::Duplicate {
                    base_offset: duplicate.base_offset,
                });
            }
            let expected = match producer.recent.back() {
                Some(batch) => batch.last_sequence.checked_add(1).unwrap_or(0),
                None => 0,
            };
            if header.base_sequence != expected {
                return Err(ResponseError::OutOfOrderSequenceNumber);
            }
        }
        if producer.open_since.is_some() && !header.is_transactional() {
            return Err(ResponseError::InvalidTxnState);
        }
        Ok(Verdict::Append)
    }

    /// Notes a batch that [`Self::check`] let pass and that now stands at `base_offset`.
    pub fn appended(&mut self, header: &BatchHeader, base_offset: i64) {
        if header.producer_id == NO_PRODUCER_ID {
            return;
        }
        let producer = self.at_epoch(header.producer_id, header.producer_epoch);
        if producer.recent.len() == REMEMBERED_BATCHES {
            producer.recent.pop_front();
        }
        producer.recent.push_back(RememberedBatch {
            base_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset,
        });
        if header.is_transactional() && producer.open_since.is_none() {
            producer.open_since = Some(base_offset);
            self.open.insert(base_offset, header.producer_id);
        }
    }

    /// Ends the transaction of a producer with the marker at `marker_offset`; its epoch becomes the marker's.
    pub fn ended(&mut self, producer_id: i64, producer_epoch: i16, commit: bool, marker_offset: i64) {
        let producer = self.at_epoch(producer_id, producer_epoch);
        if let Some(first_offset) = producer.open_since.take() {
            self.open.remove(&first_offset);
            if !commit {
                self.aborted.push_back(AbortedTransaction {
                    producer_id,
                    first_offset,
                    marker_offset,
                });
            }
        }
    }

    /// First offset of the oldest open transaction.
    pub fn first_open_offset(&self) -> Option<i64> {
        self.open.first_key_value().map(|(&offset, _)| offset)
    }

    /// The aborted transactions that have records or a marker in `from..to`, in the order of their markers.
    pub fn aborted_in(&self, from: i64, to: i64) -> impl Iterator<Item = AbortedTransaction> {
        let start = self.aborted.partition_point(|aborted| aborted.marker_offset < from);
        self.aborted
            .range(start..)
            .filter(move |aborted| aborted.first_offset < to)
            .copied()
    }

    /// Forgets the aborted transactions that lie wholly below the new start of the log.
    pub fn log_starts_at(&mut self, log_start_offset: i64) {
        while self
            .aborted
            .front()
            .is_some_and(|aborted| aborted.marker_offset < log_start_offset)
        {
            self.aborted.pop_front();
        }
    }

    fn at_epoch(&mut self, producer_id: i64, epoch: i16) -> &mut Producer {
        let producer = self.by_id.entry(producer_id).or_insert_with(|| Producer {
            epoch,
            recent: VecDeque::with_capacity(REMEMBERED_BATCHES),
            open_since: None,
        });
        if producer.epoch != epoch {
            producer.epoch = epoch;
            producer.recent.clear();
        }
        producer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(epoch: i16, base_sequence: i32, count: i32, transactional: bool) -> BatchHeader {
        BatchHeader {
            attributes: if transactional { 1 << 4 } else { 0 },
            last_offset_delta: count - 1,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
            producer_id: 7,
            producer_epoch: epoch,
            base_sequence,
        }
    }

    fn append(producers: &mut Producers, header: BatchHeader, offset: i64) -> Result<Verdict, ResponseError> {
        let verdict = producers.check(&header)?;
        if verdict == Verdict::Append {
            producers.appended(&header, offset);
        }
        Ok(verdict)
    }

    #[test]
    fn sequences_have_no_gaps_and_duplicates_are_known_for_five_batches() {
        let mut producers = Producers::default();
        for batch in 0..6 {
            let verdict = append(&mut producers, header(0, batch * 10, 10, false), i64::from(batch) * 10);
            assert_eq!(verdict, Ok(Verdict::Append));
        }
        let again = producers.check(&header(0, 10, 10, false));
        assert_eq!(again, Ok(Verdict::Duplicate { base_offset: 10 }));
        let too_old = producers.check(&header(0, 0, 10, false));
        assert_eq!(too_old, Err(ResponseError::OutOfOrderSequenceNumber));
        let gap = producers.check(&header(0, 61, 1, false));
        assert_eq!(gap, Err(ResponseError::OutOfOrderSequenceNumber));
    }

    #[test]
    fn epochs_only_rise_and_start_at_sequence_zero() {
        let mut producers = Producers::default();
        assert_eq!(append(&mut producers, header(3, 0, 1, false), 0), Ok(Verdict::Append));
        assert_eq!(
            producers.check(&header(2, 1, 1, false)),
            Err(ResponseError::InvalidProducerEpoch)
        );
        assert_eq!(
            producers.check(&header(4, 1, 1, false)),
            Err(ResponseError::OutOfOrderSequenceNumber)
        );
        assert_eq!(producers.check(&header(4, 0, 1, false)), Ok(Verdict::Append));
    }

    #[test]
    fn the_last_stable_offset_follows_the_oldest_open_transaction() {
        let mut producers = Producers::default();
        assert_eq!(append(&mut producers, header(0, 0, 5, true), 10), Ok(Verdict::Append));
        assert_eq!(producers.first_open_offset(), Some(10));
        producers.ended(7, 0, false, 15);
        assert_eq!(producers.first_open_offset(), None);
        let aborted = AbortedTransaction {
            producer_id: 7,
            first_offset: 10,
            marker_offset: 15,
        };
        assert_eq!(producers.aborted_in(0, 11).collect::<Vec<_>>(), [aborted]);
        assert_eq!(producers.aborted_in(15, 16).collect::<Vec<_>>(), [aborted]);
        assert_eq!(
            producers.aborted_in(16, 99).count() + producers.aborted_in(0, 10).count(),
            0
        );
    }
}
