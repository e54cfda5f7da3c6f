//! A partition: its log behind a lock, and the fetches that wait for it to change.
//!
//! A fetch that finds too little registers its [`Notify`] in the same critical section in which it read, so no append
//! can slip in between. Every change that a reader could see (records, a marker, deletion, a leader epoch, the start
//! of the log) wakes all that wait, and clears the list; whoever still lacks bytes registers again.

use std::sync::{Arc, Mutex, Weak};

use kafka_protocol::ResponseError;
use tokio::sync::Notify;

use crate::batch::CheckedBatch;
use crate::log::{Appended, Isolation, Log, LogRead};
use crate::retention::Retention;
use crate::sync::{lock, now_ms};

/// A partition of a topic.
pub(crate) struct Partition {
    state: Mutex<State>,
    retention: Arc<Retention>,
}

struct State {
    log: Log,
    deleted: bool,
    waiting: Vec<Weak<Notify>>,
}

/// Where the log stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offsets {
    pub start: i64,
    pub end: i64,
    pub last_stable: i64,
    pub leader_epoch: i32,
}

/// A read as a fetch asks for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadRequest {
    pub offset: i64,
    pub isolation: Isolation,
    /// The epoch that the reader believes in, -1 for none.
    pub leader_epoch: i32,
    pub max_bytes: usize,
    /// Return one batch even where it is larger than `max_bytes`.
    pub at_least_one: bool,
}

impl Partition {
    pub fn new(retention: Arc<Retention>) -> Arc<Self> {
        let state = State {
            log: Log::new(),
            deleted: false,
            waiting: Vec::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            retention,
        })
    }

    pub fn offsets(&self) -> Offsets {
        Offsets::of(&lock(&self.state).log)
    }

    /// Looks at the log under its lock, if the reader's leader epoch is the log's.
    pub fn inspect<T>(&self, leader_epoch: i32, look: impl FnOnce(&Log) -> T) -> Result<T, ResponseError> {
        let state = lock(&self.state);
        state.check(leader_epoch)?;
        Ok(look(&state.log))
    }

    /// Appends a batch, or recognises a duplicate. Says where it stands, and where the log starts.
    pub fn append(self: &Arc<Self>, batch: CheckedBatch) -> Result<(i64, Offsets), ResponseError> {
        let size_bytes = batch.size_bytes();
        let (base_offset, offsets) = self.change(|state| {
            state.check(-1)?;
            let base_offset = match state.log.append(batch)? {
                Appended::DuplicateOf(base_offset) => base_offset,
                Appended::At(base_offset) => {
                    self.retention.admit(Arc::downgrade(self), size_bytes);
                    base_offset
                }
            };
            Ok((base_offset, Offsets::of(&state.log)))
        })?;
        self.retention.enforce();
        Ok((base_offset, offsets))
    }

    /// Ends a transaction here.
    pub fn append_end_marker(self: &Arc<Self>, producer_id: i64, producer_epoch: i16, commit: bool) {
        self.change(|state| {
            let size_bytes = state
                .log
                .append_end_marker(producer_id, producer_epoch, commit, now_ms());
            self.retention.admit(Arc::downgrade(self), size_bytes);
        });
        self.retention.enforce();
    }

    /// Reads; with a `waiter`, also asks to be notified of the next change.
    pub fn read(
        &self,
        request: &ReadRequest,
        waiter: Option<&Arc<Notify>>,
    ) -> Result<(LogRead, Offsets), ResponseError> {
        let mut state = lock(&self.state);
        state.check(request.leader_epoch)?;
        let read = state.log.read(
            request.offset,
            request.isolation,
            request.max_bytes,
            request.at_least_one,
        )?;
        if let Some(waiter) = waiter {
            let waiter = Arc::downgrade(waiter);
            state
                .waiting
                .retain(|other| other.strong_count() > 0 && !other.ptr_eq(&waiter));
            state.waiting.push(waiter);
        }
        let offsets = Offsets::of(&state.log);
        Ok((read, offsets))
    }

    /// Begins the next leader epoch and returns it.
    pub fn bump_leader_epoch(&self) -> i32 {
        self.change(|state| state.log.bump_leader_epoch())
    }

    /// Removes the oldest batch (retention).
    pub fn remove_oldest(&self) {
        self.change(|state| state.log.remove_oldest());
    }

    /// Marks the partition as deleted: whoever still holds it finds nothing.
    pub fn delete(self: &Arc<Self>) {
        self.change(|state| {
            state.deleted = true;
            state.log = Log::new();
        });
        self.retention.forget(&Arc::downgrade(self));
    }

    /// Changes the state and wakes the fetches that wait.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (outcome, waiting) = {
            let mut state = lock(&self.state);
            let outcome = change(&mut state);
            (outcome, std::mem::take(&mut state.waiting))
        };
        waiting
            .iter()
            .filter_map(Weak::upgrade)
            .for_each(|waiter| waiter.notify_one());
        outcome
    }
}

impl State {
    fn check(&self, leader_epoch: i32) -> Result<(), ResponseError> {
        if self.deleted {
            return Err(ResponseError::UnknownTopicOrPartition);
        }
        let current = self.log.leader_epoch();
        match leader_epoch {
            -1 => Ok(()),
            epoch if epoch < current => Err(ResponseError::FencedLeaderEpoch),
            epoch if epoch > current => Err(ResponseError::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }
}

impl Offsets {
    fn of(log: &Log) -> Self {
        Self {
            start: log.start_offset(),
            end: log.end_offset(),
            last_stable: log.last_stable_offset(),
            leader_epoch: log.leader_epoch(),
        }
    }
}
