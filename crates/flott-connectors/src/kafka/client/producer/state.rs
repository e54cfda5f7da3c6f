//! The state of a [`super::Producer`]: no I/O, no clock of its own.
//!
//! A batch goes: open (being filled) → ready → in flight → acknowledged, or back to in flight by a resend.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{ProducerConfig, Room};
use crate::kafka::client::batch::encode::{BatchEncoder, HeaderRef, ProducerStamp};
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::TopicPartition;
use crate::kafka::client::transactions::{Committable, ProducerIdentity};

pub(super) struct RecordRef<'a> {
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [HeaderRef<'a>],
}

#[derive(Debug)]
struct Gathered {
    /// In the order in which batches were opened, over all partitions.
    number: u64,
    opened_at: Instant,
    charged_bytes: usize,
    encoder: BatchEncoder,
}

#[derive(Debug)]
struct Flight {
    number: u64,
    opened_at: Instant,
    charged_bytes: usize,
    /// Empty until it is encoded, outside the lock.
    bytes: Bytes,
    must_resend: bool,
}

#[derive(Debug)]
struct Partition {
    key: TopicPartition,
    leader: Option<i32>,
    open: Option<Gathered>,
    ready: VecDeque<Gathered>,
    /// In order of sequence.
    in_flight: VecDeque<Flight>,
    next_sequence: i32,
    /// Whether the broker knows our sequence. Until then it takes any number for the first, so that a second batch must
    /// not overtake the first one's resend.
    is_sequence_known: bool,
    retry_at: Option<Instant>,
    in_transaction: bool,
    /// The last batch's size, which the next one will probably have too.
    usual_bytes: usize,
}

impl Partition {
    fn is_idle(&self) -> bool {
        self.open.is_none() && self.ready.is_empty() && self.in_flight.is_empty()
    }

    /// When the oldest batch that is not acknowledged was opened.
    fn oldest(&self) -> Option<Instant> {
        let flying = self.in_flight.front().map(|f| f.opened_at);
        flying
            .or(self.ready.front().map(|b| b.opened_at))
            .or(self.open.as_ref().map(|b| b.opened_at))
    }
}

#[derive(Debug)]
enum Transaction {
    /// The producer has none.
    Never,
    /// Taken; the next is not named yet.
    Between,
    Begun {
        id: String,
        start_ms: i64,
    },
}

/// A batch to send: encode it when `encoder` is there, then [`State::encoded`].
#[derive(Debug)]
pub(super) struct Outgoing {
    pub partition: usize,
    pub key: TopicPartition,
    pub number: u64,
    pub bytes: Bytes,
    pub encode: Option<(BatchEncoder, ProducerStamp)>,
}

/// What a task shall do next.
#[derive(Debug)]
pub(super) enum Plan<T> {
    Do(T),
    Wait(Option<Instant>),
    Close,
}

/// What the housekeeping task shall do.
#[derive(Debug)]
pub(super) enum Chore {
    /// Take a producer id (with the transactional id).
    Identify(Option<String>),
    /// Register these with the transaction.
    Register {
        id: String,
        identity: ProducerIdentity,
        partitions: Vec<(usize, TopicPartition)>,
    },
    /// Find these partitions' leaders.
    Lead(Vec<(usize, TopicPartition)>),
}

#[derive(Debug)]
pub(super) struct State {
    partitions: Vec<Partition>,
    index: HashMap<TopicPartition, usize>,
    idempotent: bool,
    transaction: Transaction,
    identity: Option<ProducerIdentity>,
    /// Batches that were opened and are not acknowledged.
    outstanding: BTreeSet<u64>,
    next_number: u64,
    /// Open batches up to this one do not linger.
    sealed: u64,
    buffered_bytes: usize,
    brokers: HashSet<i32>,
    failure: Option<KafkaError>,
    /// Why the last retry was needed, for the message when the budget ends.
    last_error: Option<KafkaError>,
    closed: bool,
}

fn earlier(a: Option<Instant>, b: Instant) -> Option<Instant> {
    Some(a.map_or(b, |a| a.min(b)))
}

impl State {
    pub fn new(config: &ProducerConfig, transactional: bool) -> Self {
        Self {
            partitions: Vec::new(),
            index: HashMap::new(),
            idempotent: config.idempotence,
            transaction: if transactional {
                Transaction::Between
            } else {
                Transaction::Never
            },
            identity: None,
            outstanding: BTreeSet::new(),
            next_number: 1,
            sealed: 0,
            buffered_bytes: 0,
            brokers: HashSet::new(),
            failure: None,
            last_error: None,
            closed: false,
        }
    }

    pub fn check(&self) -> Result<(), KafkaError> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    pub fn close(&mut self) {
        self.closed = true;
    }

    pub fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    pub fn room(&self, buffer_bytes: usize) -> Room {
        if self.buffered_bytes >= buffer_bytes {
            Room::Full
        } else {
            Room::Left
        }
    }

    pub fn partition(&mut self, key: &TopicPartition) -> usize {
        if let Some(index) = self.index.get(key) {
            return *index;
        }
        let index = self.partitions.len();
        self.partitions.push(Partition {
            key: key.clone(),
            leader: None,
            open: None,
            ready: VecDeque::new(),
            in_flight: VecDeque::new(),
            next_sequence: 0,
            is_sequence_known: false,
            retry_at: None,
            in_transaction: false,
            usual_bytes: 0,
        });
        self.index.insert(key.clone(), index);
        index
    }

    /// Takes a record; `true` when the tasks may have something new to do.
    #[inline]
    pub fn append(
        &mut self,
        config: &ProducerConfig,
        partition: usize,
        now: Instant,
        record: RecordRef<'_>,
    ) -> Result<bool, KafkaError> {
        if self.failure.is_some() || self.closed {
            return Err(self.failure.clone().unwrap_or(KafkaError::Closed));
        }
        let RecordRef {
            timestamp_ms,
            key,
            value,
            headers,
        } = record;
        let bound = BatchEncoder::bound_bytes(key, value, headers);
        let p = &mut self.partitions[partition];
        if bound > config.max_request_bytes {
            return Err(KafkaError::RecordTooLarge {
                topic: p.key.topic.to_string(),
                partition: p.key.partition,
                size_bytes: bound,
                limit_bytes: config.max_request_bytes,
            });
        }
        let limit = config.batch_bytes.min(config.max_request_bytes);
        let mut is_news = false;
        if let Some(open) = &p.open
            && open.encoder.size_bytes() + bound > limit
        {
            p.usual_bytes = open.encoder.size_bytes();
            p.ready.extend(p.open.take());
            is_news = true;
        }
        let open = match &mut p.open {
            Some(open) => open,
            None => {
                let number = self.next_number;
                self.next_number += 1;
                self.outstanding.insert(number);
                is_news = true;
                let encoder = BatchEncoder::new(p.usual_bytes.clamp(1_024, limit.max(1_024)));
                p.open.insert(Gathered {
                    number,
                    opened_at: now,
                    charged_bytes: 0,
                    encoder,
                })
            }
        };
        let before = open.encoder.size_bytes();
        open.encoder.append(timestamp_ms, key, value, headers);
        let added = open.encoder.size_bytes() - before;
        open.charged_bytes += added;
        self.buffered_bytes += added;
        Ok(is_news)
    }

    pub fn seal(&mut self) -> u64 {
        self.sealed = self.next_number - 1;
        self.sealed
    }

    pub fn is_flushed(&self, target: u64) -> bool {
        self.outstanding.first().is_none_or(|first| *first > target)
    }

    pub fn begin(&mut self, id: String) {
        if matches!(self.transaction, Transaction::Between) {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let start_ms = now.map_or(0, |d| d.as_millis() as i64);
            self.transaction = Transaction::Begun { id, start_ms };
        }
    }

    pub fn open_transactional_id(&self) -> Option<String> {
        match &self.transaction {
            Transaction::Begun { id, .. } if self.identity.is_some() => Some(id.clone()),
            _ => None,
        }
    }

    pub fn take_transaction(&mut self) -> Result<Option<Committable>, KafkaError> {
        self.check()?;
        if !self.outstanding.is_empty() {
            return Err(KafkaError::Unflushed);
        }
        let Transaction::Begun { id, start_ms } = std::mem::replace(&mut self.transaction, Transaction::Between) else {
            return Ok(None);
        };
        let was_written = self.partitions.iter().any(|p| p.in_transaction);
        for p in &mut self.partitions {
            p.in_transaction = false;
            p.next_sequence = 0;
            p.is_sequence_known = false;
        }
        let identity = self.identity.take().filter(|_| was_written);
        Ok(identity.map(|i| Committable {
            transactional_id: id,
            producer_id: i.producer_id,
            producer_epoch: i.producer_epoch,
            start_ms,
        }))
    }

    /// The transactional id that requests carry.
    pub fn transactional_id(&self) -> Option<&str> {
        match &self.transaction {
            Transaction::Begun { id, .. } => Some(id),
            _ => None,
        }
    }

    /// The batches to send to broker `node` now: at most one a partition.
    pub fn plan_send(&mut self, node: i32, config: &ProducerConfig, now: Instant) -> Plan<Vec<Outgoing>> {
        if self.closed {
            return Plan::Close;
        }
        if self.failure.is_some() || (self.idempotent && self.identity.is_none()) {
            return Plan::Wait(None);
        }
        let in_transaction = !matches!(self.transaction, Transaction::Never);
        let (mut out, mut total, mut next): (Vec<Outgoing>, usize, Option<Instant>) = (Vec::new(), 0, None);
        for index in 0..self.partitions.len() {
            let p = &mut self.partitions[index];
            if p.leader != Some(node) || (in_transaction && !p.in_transaction) || p.is_idle() {
                continue;
            }
            if let Some(at) = p.retry_at.filter(|at| *at > now) {
                next = earlier(next, at);
                continue;
            }
            if p.in_flight.iter().any(|f| f.must_resend) {
                let all_answered = p.in_flight.iter().all(|f| f.must_resend);
                if let Some(flight) = p.in_flight.front_mut().filter(|_| all_answered) {
                    let size_bytes = flight.bytes.len();
                    if total + size_bytes > config.max_request_bytes && !out.is_empty() {
                        break;
                    }
                    total += size_bytes;
                    flight.must_resend = false;
                    let (key, number, bytes) = (p.key.clone(), flight.number, flight.bytes.clone());
                    out.push(Outgoing {
                        partition: index,
                        key,
                        number,
                        bytes,
                        encode: None,
                    });
                }
                continue;
            }
            let max_in_flight = if self.idempotent && !p.is_sequence_known {
                1
            } else {
                config.max_in_flight
            };
            if p.in_flight.len() >= max_in_flight {
                continue;
            }
            if p.ready.is_empty()
                && let Some(open) = &p.open
            {
                let ripe_at = open.opened_at + config.linger;
                if open.number > self.sealed && ripe_at > now {
                    next = earlier(next, ripe_at);
                    continue;
                }
                p.usual_bytes = open.encoder.size_bytes();
                p.ready.extend(p.open.take());
            }
            let Some(size_bytes) = p.ready.front().map(|b| b.encoder.size_bytes()) else {
                continue;
            };
            if total + size_bytes > config.max_request_bytes && !out.is_empty() {
                break;
            }
            let Some(batch) = p.ready.pop_front() else { continue };
            total += size_bytes;
            let count = batch.encoder.count();
            let stamp = match self.identity {
                None => ProducerStamp::NONE,
                Some(i) => ProducerStamp {
                    producer_id: i.producer_id,
                    producer_epoch: i.producer_epoch,
                    base_sequence: p.next_sequence,
                    transactional: in_transaction,
                },
            };
            // Sequence numbers start again at 0 after the largest.
            p.next_sequence = ((i64::from(p.next_sequence) + i64::from(count)) & i64::from(i32::MAX)) as i32;
            p.in_flight.push_back(Flight {
                number: batch.number,
                opened_at: batch.opened_at,
                charged_bytes: batch.charged_bytes,
                bytes: Bytes::new(),
                must_resend: false,
            });
            out.push(Outgoing {
                partition: index,
                key: p.key.clone(),
                number: batch.number,
                bytes: Bytes::new(),
                encode: Some((batch.encoder, stamp)),
            });
        }
        if out.is_empty() {
            Plan::Wait(next)
        } else {
            Plan::Do(out)
        }
    }

    fn flight(&mut self, partition: usize, number: u64) -> Option<(&mut Partition, usize)> {
        let p = &mut self.partitions[partition];
        let at = p.in_flight.iter().position(|f| f.number == number)?;
        Some((p, at))
    }

    /// Keeps a batch's bytes for a resend.
    pub fn encoded(&mut self, partition: usize, number: u64, bytes: &Bytes) {
        if let Some((p, at)) = self.flight(partition, number) {
            p.in_flight[at].bytes = bytes.clone();
        }
    }

    pub fn acknowledged(&mut self, partition: usize, number: u64) {
        let Some((p, at)) = self.flight(partition, number) else {
            return;
        };
        p.retry_at = None;
        p.is_sequence_known = true;
        if let Some(flight) = p.in_flight.remove(at) {
            self.buffered_bytes -= flight.charged_bytes;
            self.outstanding.remove(&number);
        }
    }

    /// Whether a batch is the oldest of its partition that is not acknowledged.
    pub fn is_oldest(&mut self, partition: usize, number: u64) -> bool {
        self.flight(partition, number).is_none_or(|(_, at)| at == 0)
    }

    /// A batch was not taken, but may be later.
    pub fn resend(
        &mut self,
        partition: usize,
        number: u64,
        error: KafkaError,
        is_leader_lost: bool,
        retry_at: Instant,
    ) {
        let Some((p, at)) = self.flight(partition, number) else {
            return;
        };
        p.in_flight[at].must_resend = true;
        p.retry_at = Some(retry_at);
        if is_leader_lost {
            p.leader = None;
        }
        self.last_error = Some(error);
    }

    /// Ends the producer with `error`, if it did not fail before.
    pub fn fail(&mut self, error: KafkaError) {
        self.failure.get_or_insert(error);
    }

    /// What to do next beside sending.
    pub fn plan_chore(&mut self, delivery_timeout: Duration, now: Instant) -> Plan<Chore> {
        if self.closed {
            return Plan::Close;
        }
        if self.failure.is_some() {
            return Plan::Wait(None);
        }
        let mut next: Option<Instant> = None;
        for p in &self.partitions {
            let Some(deadline) = p.oldest().map(|at| at + delivery_timeout) else {
                continue;
            };
            // Without a transaction to write into, waiting is the caller's choice.
            if matches!(self.transaction, Transaction::Between) {
                break;
            }
            if deadline <= now {
                let waited_ms = delivery_timeout.as_millis() as u64;
                let source = Box::new(self.last_error.clone().unwrap_or(KafkaError::Closed));
                let what = format!("writing to kafka {}", p.key);
                let option = "delivery.timeout.ms";
                self.failure = Some(KafkaError::BudgetExhausted {
                    what,
                    waited_ms,
                    option,
                    source,
                });
                return Plan::Wait(None);
            }
            next = earlier(next, deadline);
        }
        let busy = || self.partitions.iter().enumerate().filter(|(_, p)| !p.is_idle());
        let is_busy = busy().next().is_some();
        if self.idempotent && self.identity.is_none() && is_busy {
            match &self.transaction {
                Transaction::Never => return Plan::Do(Chore::Identify(None)),
                Transaction::Begun { id, .. } => return Plan::Do(Chore::Identify(Some(id.clone()))),
                Transaction::Between => {}
            }
        }
        if let (Transaction::Begun { id, .. }, Some(identity)) = (&self.transaction, self.identity) {
            let partitions: Vec<_> = busy()
                .filter(|(_, p)| !p.in_transaction)
                .map(|(i, p)| (i, p.key.clone()))
                .collect();
            if !partitions.is_empty() {
                return Plan::Do(Chore::Register {
                    id: id.clone(),
                    identity,
                    partitions,
                });
            }
        }
        let mut leaderless = Vec::new();
        for (i, p) in busy().filter(|(_, p)| p.leader.is_none()) {
            match p.retry_at.filter(|at| *at > now) {
                Some(at) => next = earlier(next, at),
                None => leaderless.push((i, p.key.clone())),
            }
        }
        if leaderless.is_empty() {
            Plan::Wait(next)
        } else {
            Plan::Do(Chore::Lead(leaderless))
        }
    }

    pub fn identified(&mut self, identity: ProducerIdentity) {
        self.identity = Some(identity);
    }

    pub fn registered(&mut self, partitions: &[(usize, TopicPartition)]) {
        for (index, _) in partitions {
            self.partitions[*index].in_transaction = true;
        }
    }

    /// Notes a leader; `true` when that broker has no task yet and needs one.
    pub fn lead(&mut self, partition: usize, node: i32) -> bool {
        self.partitions[partition].leader = Some(node);
        self.brokers.insert(node)
    }

    /// A partition whose next try is put off, since when its oldest records wait, and why it was tried again last.
    pub fn put_off_since(&self, now: Instant) -> Option<(TopicPartition, Instant, KafkaError)> {
        let error = self.last_error.as_ref()?;
        let put_off = self.partitions.iter().filter(|p| p.retry_at.is_some_and(|at| at > now));
        let (p, since) = put_off
            .filter_map(|p| Some((p, p.oldest()?)))
            .min_by_key(|(_, since)| *since)?;
        Some((p.key.clone(), since, error.clone()))
    }

    /// Looks for a leader again later.
    pub fn put_off(&mut self, partition: usize, error: KafkaError, retry_at: Instant) {
        self.partitions[partition].retry_at = Some(retry_at);
        self.last_error = Some(error);
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
