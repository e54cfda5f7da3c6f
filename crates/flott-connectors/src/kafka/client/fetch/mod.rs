//! [`Fetcher`]: keeps reading the assigned partitions and hands the raw batches to a thread of the caller's.
//!
//! ```text
//!   one task per leading broker:  Fetch (long poll) -> batches per partition -> queue, bounded by bytes -> waker
//!   one task for leaders:         partitions without a leader -> Metadata -> leader, topic id
//!   caller's thread:              poll() -> FetchEvent, partitions in turn
//! ```
//!
//! The queue's bound is soft by one answer per broker. A partition that fails is retried within `default.api.timeout.ms`
//! from its first failure; what cannot be cured is a [`FetchEvent`] and halts that partition until it is assigned again.
//! Answers that were under way when a partition was assigned anew, or removed, are dropped.

mod state;
mod tasks;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use uuid::Uuid;

use super::cluster::KafkaClient;
use super::config::{KafkaProperties, wrong_value};
use super::error::KafkaError;
use super::offsets::{Isolation, TopicPartition};
use state::State;

/// A transaction that was aborted, as far as a fetched range is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
}

/// The answer for one partition: whole record batches, the last of which may be cut off.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    pub topic: Arc<str>,
    pub partition: i32,
    /// Where the fetch began; earlier records of the first batch are not wanted.
    pub fetch_offset: i64,
    pub records: Bytes,
    pub high_watermark: i64,
    /// Filled under `read_committed`.
    pub aborted: Vec<AbortedTransaction>,
}

/// What [`Fetcher::poll`] gives.
#[derive(Debug)]
pub enum FetchEvent {
    /// Batches, in order for each partition.
    Records(Fetched),
    /// The offset is not in the log; the partition is halted until it is assigned again.
    OutOfRange {
        partition: TopicPartition,
        offset: i64,
        earliest: i64,
        latest: i64,
    },
    /// The partition cannot be read; it is halted.
    Failed {
        partition: TopicPartition,
        error: KafkaError,
    },
}

/// Called, from any thread, when [`Fetcher::poll`] has something; must not block.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// How to fetch.
#[derive(Clone, Debug)]
pub struct FetchConfig {
    /// `isolation.level`.
    pub isolation: Isolation,
    /// `check.crcs`, for the walker.
    pub check_crcs: bool,
    /// `fetch.max.wait.ms`.
    pub max_wait: Duration,
    /// `fetch.min.bytes`.
    pub min_bytes: usize,
    /// `fetch.max.bytes`.
    pub max_bytes: usize,
    /// `max.partition.fetch.bytes`.
    pub partition_max_bytes: usize,
    /// Fetch no more while this much waits for [`Fetcher::poll`].
    pub queue_bytes: usize,
}

/// Enough for several answers of a megabyte each to wait while one is decoded.
const QUEUE_BYTES: usize = 8 << 20;

impl FetchConfig {
    /// Reads the consumer's properties, with the Java client's defaults.
    pub fn from_properties(p: &KafkaProperties) -> Result<Self, KafkaError> {
        let isolation = match p.get("isolation.level") {
            None => Isolation::default(),
            Some(text) => text
                .parse()
                .map_err(|expected: String| wrong_value("isolation.level", text, &expected))?,
        };
        Ok(Self {
            isolation,
            check_crcs: p.bool_or("check.crcs", true)?,
            max_wait: p.millis_or("fetch.max.wait.ms", 500)?,
            min_bytes: p.size_or("fetch.min.bytes", 1, 0)?,
            max_bytes: p.size_or("fetch.max.bytes", 52_428_800, 1)?,
            partition_max_bytes: p.size_or("max.partition.fetch.bytes", 1_048_576, 1)?,
            queue_bytes: QUEUE_BYTES,
        })
    }
}

/// What the fetcher and its tasks share.
struct Shared {
    client: Arc<KafkaClient>,
    config: FetchConfig,
    waker: Waker,
    state: Mutex<State>,
    /// Counted up whenever a task may have something new to do.
    changed: watch::Sender<u64>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify_tasks(&self) {
        self.changed.send_modify(|n| *n += 1);
    }
}

/// See the module. Dropping it ends its tasks.
pub struct Fetcher {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl Fetcher {
    /// A fetcher without partitions; its tasks run on the client's runtime.
    pub fn new(client: Arc<KafkaClient>, config: FetchConfig, waker: Waker) -> Self {
        let runtime = client.runtime().clone();
        let shared = Arc::new(Shared {
            client,
            config,
            waker,
            state: Mutex::new(State::default()),
            changed: watch::Sender::new(0),
        });
        runtime.spawn(tasks::follow_leaders(shared.clone()));
        Self { shared }
    }

    /// Reads `partition` from `offset` on, also when it was assigned before (then as a seek).
    ///
    /// With a `topic_id`, a topic of the same name and another id is reported as [`KafkaError::TopicRecreated`].
    pub fn assign(&self, partition: TopicPartition, topic_id: Option<Uuid>, offset: i64) {
        self.shared
            .lock()
            .assign(partition, topic_id.filter(|id| !id.is_nil()), offset);
        self.shared.notify_tasks();
    }

    /// Reads `partition` no more; what waits of it is dropped.
    pub fn unassign(&self, partition: &TopicPartition) {
        self.shared.lock().unassign(partition);
        self.shared.notify_tasks();
    }

    /// Holds `partition` back: it is neither fetched nor given by `poll` until [`Fetcher::resume`].
    pub fn pause(&self, partition: &TopicPartition) {
        self.shared.lock().pause(partition);
    }

    /// Ends a pause.
    pub fn resume(&self, partition: &TopicPartition) {
        self.shared.lock().resume(partition);
        self.shared.notify_tasks();
    }

    /// The next event, or `None` when the waker will call. Never blocks.
    pub fn poll(&self) -> Option<FetchEvent> {
        let (event, has_room_again) = {
            let mut state = self.shared.lock();
            let was_full = state.queued_bytes() >= self.shared.config.queue_bytes;
            let event = state.next_event();
            (event, was_full && state.queued_bytes() < self.shared.config.queue_bytes)
        };
        if has_room_again {
            self.shared.notify_tasks();
        }
        event
    }

    /// The end of `partition` as the last fetch saw it; `None` before the first.
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.lock().high_watermark(partition)
    }

    /// The id of `partition`'s topic, once its leader was found and where the broker has ids.
    pub fn topic_id(&self, partition: &TopicPartition) -> Option<Uuid> {
        self.shared.lock().topic_id(partition)
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.shared.lock().close();
        self.shared.notify_tasks();
    }
}
