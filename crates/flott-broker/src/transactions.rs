//! The transaction coordinator: who may write under which transactional id, and how transactions end.
//!
//! Semantics are Kafka's transactions version 1 (the epoch stays the same from one transaction to the next; partitions
//! are added by AddPartitionsToTxn):
//!
//! ```text
//!            InitProducerId                 AddPartitionsToTxn             EndTxn
//!  (unknown) ──────────────► Empty ─────────────────────────► Ongoing ─────────────► CompleteCommit │ CompleteAbort
//!                              ▲   InitProducerId: epoch + 1     │  ▲  AddPartitionsToTxn   │
//!                              └─────────────────────────────────│──└───────────────────────┤
//!                                                                │  timeout, or InitProducerId: epoch + 1, abort
//!                                                                └─────────────────────────►┘
//! ```
//!
//! Ending is one step here (markers are written before the answer goes out), so Kafka's prepare states never show.
//! Each transactional id has its own lock, held while its batches are appended, so no batch can land behind the
//! marker of its own transaction. Lock order: transactional id, then partition or groups.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use tokio::sync::Notify;

use crate::batch::BatchHeader;
use crate::groups::{Groups, TopicPartition};
use crate::sync::{lock, now_ms};
use crate::topics::Topics;

/// The epoch from which on a producer id is used up and replaced; Kafka keeps the last one for fencing.
const EXHAUSTED_EPOCH: i16 = i16::MAX - 1;

/// A producer id and its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerIdAndEpoch {
    pub id: i64,
    pub epoch: i16,
}

/// Where a transaction stands; the names that ListTransactions gives are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionState {
    Empty,
    Ongoing,
    CompleteCommit,
    CompleteAbort,
}

impl TransactionState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }
}

/// What the coordinator knows of a transactional id.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    pub producer: ProducerIdAndEpoch,
    pub state: TransactionState,
    pub timeout_ms: i32,
    /// In ms since the epoch, while the transaction is open.
    pub started_ms: Option<i64>,
    pub partitions: BTreeSet<TopicPartition>,
    /// The producer id and epoch that a client may still name when it repeats the InitProducerId that replaced them.
    previous: Option<ProducerIdAndEpoch>,
    groups: BTreeSet<String>,
    deadline: Option<Instant>,
}

impl Transaction {
    fn new(producer_id: i64, timeout_ms: i32) -> Self {
        Self {
            // -1 until the first bump, which makes it 0.
            producer: ProducerIdAndEpoch {
                id: producer_id,
                epoch: -1,
            },
            state: TransactionState::Empty,
            timeout_ms,
            started_ms: None,
            partitions: BTreeSet::new(),
            previous: None,
            groups: BTreeSet::new(),
            deadline: None,
        }
    }

    /// Whether `producer` owns this transactional id now.
    fn check_owner(&self, producer: ProducerIdAndEpoch) -> Result<(), ResponseError> {
        if producer.id != self.producer.id {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if producer.epoch != self.producer.epoch {
            return Err(ResponseError::ProducerFenced);
        }
        Ok(())
    }

    /// Whether a batch may be appended to this partition as part of the open transaction.
    pub fn check_append(&self, header: &BatchHeader, partition: &TopicPartition) -> Result<(), ResponseError> {
        let producer = ProducerIdAndEpoch {
            id: header.producer_id,
            epoch: header.producer_epoch,
        };
        self.check_owner(producer).map_err(|error| match error {
            // What Kafka's producers expect as the answer to a Produce.
            ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
            other => other,
        })?;
        let added = self.state == TransactionState::Ongoing && self.partitions.contains(partition);
        if added {
            Ok(())
        } else {
            Err(ResponseError::InvalidTxnState)
        }
    }

    /// Opens the transaction if it is not; returns whether it did.
    fn begin(&mut self) -> bool {
        if self.state == TransactionState::Ongoing {
            return false;
        }
        self.state = TransactionState::Ongoing;
        self.started_ms = Some(now_ms());
        self.deadline = Some(Instant::now() + Duration::from_millis(self.timeout_ms.unsigned_abs().into()));
        true
    }

    /// The producer id and epoch that InitProducerId hands out.
    fn next_producer(
        &mut self,
        claimed: Option<ProducerIdAndEpoch>,
        new_id: impl FnOnce() -> i64,
    ) -> Result<ProducerIdAndEpoch, ResponseError> {
        if let Some(claimed) = claimed {
            if self.previous == Some(claimed) {
                // A repeated request whose first answer got lost.
                return Ok(self.producer);
            }
            let is_current = claimed == self.producer;
            let is_first = self.producer.epoch == -1 && claimed.id == self.producer.id;
            if !is_current && !is_first {
                return Err(ResponseError::ProducerFenced);
            }
        }
        self.previous = claimed;
        self.producer = if self.producer.epoch >= EXHAUSTED_EPOCH {
            ProducerIdAndEpoch { id: new_id(), epoch: 0 }
        } else {
            ProducerIdAndEpoch {
                epoch: self.producer.epoch + 1,
                ..self.producer
            }
        };
        Ok(self.producer)
    }
}

/// All transactional ids.
pub(crate) struct Coordinator {
    by_id: Mutex<HashMap<String, Arc<Mutex<Transaction>>>>,
    next_producer_id: AtomicI64,
    topics: Arc<Topics>,
    groups: Arc<Groups>,
    max_timeout_ms: i32,
    began: Notify,
}

impl Coordinator {
    pub fn new(topics: Arc<Topics>, groups: Arc<Groups>, max_timeout_ms: i32) -> Self {
        Self {
            by_id: Mutex::default(),
            next_producer_id: AtomicI64::new(1000),
            topics,
            groups,
            max_timeout_ms,
            began: Notify::new(),
        }
    }

    pub fn max_timeout_ms(&self) -> i32 {
        self.max_timeout_ms
    }

    /// Hands out a producer id and epoch: for a transactional id the next epoch, which fences everyone before. Where a
    /// transaction is open it is aborted first, and the client has to ask again.
    pub fn init_producer_id(
        &self,
        transactional_id: Option<&str>,
        timeout_ms: i32,
        claimed: Option<ProducerIdAndEpoch>,
    ) -> Result<ProducerIdAndEpoch, ResponseError> {
        let Some(transactional_id) = transactional_id else {
            return Ok(ProducerIdAndEpoch {
                id: self.new_producer_id(),
                epoch: 0,
            });
        };
        if transactional_id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        if !(1..=self.max_timeout_ms).contains(&timeout_ms) {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        let transaction = {
            let mut by_id = lock(&self.by_id);
            let entry = by_id.entry(transactional_id.to_owned());
            let new = || Arc::new(Mutex::new(Transaction::new(self.new_producer_id(), timeout_ms)));
            Arc::clone(entry.or_insert_with(new))
        };
        let mut transaction = lock(&transaction);
        if transaction.state == TransactionState::Ongoing {
            if claimed.is_some_and(|claimed| claimed.id != transaction.producer.id) {
                return Err(ResponseError::ProducerFenced);
            }
            self.fence_and_abort(&mut transaction);
            return Err(ResponseError::ConcurrentTransactions);
        }
        let producer = transaction.next_producer(claimed, || self.new_producer_id())?;
        transaction.timeout_ms = timeout_ms;
        transaction.state = TransactionState::Empty;
        Ok(producer)
    }

    /// Adds partitions to the transaction, opening it with the first.
    pub fn add_partitions(
        &self,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), ResponseError> {
        self.add(transactional_id, producer, |transaction| {
            transaction.partitions.extend(partitions)
        })
    }

    /// Adds the offsets of a group to the transaction, opening it where it is not.
    pub fn add_group(
        &self,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        group: &str,
    ) -> Result<(), ResponseError> {
        self.add(transactional_id, producer, |transaction| {
            transaction.groups.insert(group.to_owned());
        })
    }

    /// Runs `commit` if the transaction is open and holds the offsets of `group`.
    pub fn in_group_transaction<T>(
        &self,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        group: &str,
        commit: impl FnOnce() -> T,
    ) -> Result<T, ResponseError> {
        let transaction = self.find(transactional_id)?;
        let transaction = lock(&transaction);
        transaction.check_owner(producer)?;
        if transaction.state != TransactionState::Ongoing || !transaction.groups.contains(group) {
            return Err(ResponseError::InvalidTxnState);
        }
        Ok(commit())
    }

    /// Commits or aborts. Repeating what was done is fine, the opposite is not.
    pub fn end(&self, transactional_id: &str, producer: ProducerIdAndEpoch, commit: bool) -> Result<(), ResponseError> {
        let transaction = self.find(transactional_id)?;
        let mut transaction = lock(&transaction);
        transaction.check_owner(producer)?;
        match (transaction.state, commit) {
            (TransactionState::Ongoing, _) => {
                self.complete(&mut transaction, commit);
                Ok(())
            }
            (TransactionState::CompleteCommit, true) | (TransactionState::CompleteAbort, false) => Ok(()),
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// The lock of a transactional id, to be held over checking and appending its batches.
    pub fn find(&self, transactional_id: &str) -> Result<Arc<Mutex<Transaction>>, ResponseError> {
        if transactional_id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let by_id = lock(&self.by_id);
        by_id
            .get(transactional_id)
            .cloned()
            .ok_or(ResponseError::InvalidProducerIdMapping)
    }

    /// A copy of every transaction, in the order of the ids.
    pub fn all(&self) -> Vec<(String, Transaction)> {
        let mut all: Vec<_> = {
            let by_id = lock(&self.by_id);
            by_id
                .iter()
                .map(|(id, transaction)| (id.clone(), Arc::clone(transaction)))
                .collect()
        };
        all.sort_by(|(left, _), (right, _)| left.cmp(right));
        all.into_iter()
            .map(|(id, transaction)| (id, lock(&transaction).clone()))
            .collect()
    }

    /// Expires the open transaction of an id as its timeout would; returns whether there was one.
    pub fn expire(&self, transactional_id: &str) -> bool {
        let Ok(transaction) = self.find(transactional_id) else {
            return false;
        };
        let mut transaction = lock(&transaction);
        let open = transaction.state == TransactionState::Ongoing;
        if open {
            self.fence_and_abort(&mut transaction);
        }
        open
    }

    /// Expires transactions as their timeouts pass, until dropped.
    pub async fn expire_forever(&self) {
        loop {
            let began = self.began.notified();
            match self.expire_due(Instant::now()) {
                None => began.await,
                Some(next) => {
                    tokio::select! {
                        () = began => {}
                        () = tokio::time::sleep_until(next.into()) => {}
                    }
                }
            }
        }
    }

    /// Aborts what is due and returns the next deadline.
    fn expire_due(&self, now: Instant) -> Option<Instant> {
        let all: Vec<_> = lock(&self.by_id).values().cloned().collect();
        let mut next = None;
        for transaction in all {
            let mut transaction = lock(&transaction);
            match transaction.deadline {
                Some(deadline) if deadline <= now => self.fence_and_abort(&mut transaction),
                Some(deadline) => next = Some(next.map_or(deadline, |next: Instant| next.min(deadline))),
                None => {}
            }
        }
        next
    }

    fn add(
        &self,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        add: impl FnOnce(&mut Transaction),
    ) -> Result<(), ResponseError> {
        let transaction = self.find(transactional_id)?;
        let mut transaction = lock(&transaction);
        transaction.check_owner(producer)?;
        if transaction.begin() {
            self.began.notify_one();
        }
        add(&mut transaction);
        Ok(())
    }

    fn fence_and_abort(&self, transaction: &mut Transaction) {
        // The producer itself may claim its old epoch, and is then given the one that fenced it.
        transaction.previous = Some(transaction.producer);
        transaction.producer.epoch = transaction.producer.epoch.saturating_add(1);
        self.complete(transaction, false);
    }

    /// Writes the markers and applies the offsets. Partitions of topics deleted in between are passed over.
    fn complete(&self, transaction: &mut Transaction, commit: bool) {
        let ProducerIdAndEpoch { id, epoch } = transaction.producer;
        for (topic, partition) in std::mem::take(&mut transaction.partitions) {
            let topic = self.topics.by_name(&topic);
            if let Some(partition) = topic.as_ref().and_then(|topic| topic.partition(partition).ok()) {
                partition.append_end_marker(id, epoch, commit);
            }
        }
        for group in std::mem::take(&mut transaction.groups) {
            self.groups.end_transaction(&group, id, commit);
        }
        transaction.state = if commit {
            TransactionState::CompleteCommit
        } else {
            TransactionState::CompleteAbort
        };
        transaction.started_ms = None;
        transaction.deadline = None;
    }

    fn new_producer_id(&self) -> i64 {
        self.next_producer_id.fetch_add(1, Ordering::Relaxed)
    }
}
