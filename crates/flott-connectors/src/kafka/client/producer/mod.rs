//! [`Producer`]: records gathered per partition and sent, in order, with idempotence or in transactions.
//!
//! ```text
//!   caller's thread:  send() -> open batch of the partition -> full, or older than linger.ms: ready
//!   one task per leading broker:  ready batches, one a partition and request, several requests in flight -> acknowledged
//!   housekeeping task:  producer id, partitions into the transaction, leaders, delivery.timeout.ms
//! ```
//!
//! * Order: a partition's batches carry sequence numbers. When one must be sent again, those behind it wait until all answers
//!   are in and then follow one by one; the broker drops what it has already.
//! * Bound: [`Room::Full`] says that `buffer.memory` is reached; stop, and go on when the waker called. Records that are sent
//!   nevertheless are taken.
//! * The first failure that no retry can cure is final: every later call returns it.
//! * Transactions: [`Producer::begin`] names the next one. Nothing reaches the broker before its first record; then the
//!   producer takes an id, registers each partition before writing to it, and after [`Producer::flush`] gives, by
//!   [`Producer::take_transaction`], the [`Committable`] with which anyone can end it.

mod state;
mod tasks;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::batch::codec::Codec;
use super::batch::encode::HeaderRef;
use super::cluster::KafkaClient;
use super::config::{KafkaProperties, wrong_value};
use super::error::KafkaError;
use super::fetch::Waker;
use super::offsets::TopicPartition;
use super::transactions::Committable;
use state::State;

/// `acks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    None,
    Leader,
    All,
}

impl Acks {
    fn wire(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

/// How to produce.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    pub acks: Acks,
    /// `enable.idempotence`; always on in transactions.
    pub idempotence: bool,
    pub codec: Codec,
    /// `batch.size`.
    pub batch_bytes: usize,
    /// `linger.ms`.
    pub linger: Duration,
    /// `max.request.size`.
    pub max_request_bytes: usize,
    /// `buffer.memory`.
    pub buffer_bytes: usize,
    /// `max.in.flight.requests.per.connection`.
    pub max_in_flight: usize,
    /// `delivery.timeout.ms`.
    pub delivery_timeout: Duration,
    /// `transaction.timeout.ms`.
    pub transaction_timeout: Duration,
    /// Whether a broker that allows less decides; not so when the timeout was asked for.
    pub may_lower_transaction_timeout: bool,
}

/// The broker remembers this many batches of a producer and partition.
const MAX_IDEMPOTENT_IN_FLIGHT: usize = 5;

/// Larger than the Java client's 16 KiB: a batch costs about as much as a hundred records of 200 bytes, and `linger.ms`
/// bounds the wait all the same.
const BATCH_BYTES: usize = 128 * 1024;

impl ProducerConfig {
    /// Reads the producer's properties; defaults are the Java client's, but for `batch.size`.
    pub fn from_properties(p: &KafkaProperties) -> Result<Self, KafkaError> {
        let acks = match p.get("acks").unwrap_or("all") {
            "0" => Acks::None,
            "1" => Acks::Leader,
            "-1" | "all" => Acks::All,
            other => return Err(wrong_value("acks", other, "one of 0, 1, all")),
        };
        let codec = match p.get("compression.type") {
            None => Codec::None,
            Some(name) => name
                .parse()
                .map_err(|expected: String| wrong_value("compression.type", name, &expected))?,
        };
        let idempotence = p.bool_or("enable.idempotence", acks == Acks::All)?;
        if idempotence && acks != Acks::All {
            return Err(wrong_value(
                "enable.idempotence",
                "true",
                "possible with acks other than all",
            ));
        }
        let max_in_flight = p.size_or("max.in.flight.requests.per.connection", 5, 1)?;
        if idempotence && max_in_flight > MAX_IDEMPOTENT_IN_FLIGHT {
            let option = "max.in.flight.requests.per.connection";
            return Err(wrong_value(
                option,
                &max_in_flight.to_string(),
                "at most 5, which enable.idempotence needs",
            ));
        }
        Ok(Self {
            acks,
            idempotence,
            codec,
            batch_bytes: p.size_or("batch.size", BATCH_BYTES, 0)?,
            linger: p.millis_or("linger.ms", 5)?,
            max_request_bytes: p.size_or("max.request.size", 1_048_576, 1)?,
            buffer_bytes: p.size_or("buffer.memory", 33_554_432, 1)?,
            max_in_flight,
            delivery_timeout: p.millis_or("delivery.timeout.ms", 120_000)?,
            transaction_timeout: p.millis_or("transaction.timeout.ms", 60_000)?,
            may_lower_transaction_timeout: p.get("transaction.timeout.ms").is_none(),
        })
    }
}

/// Whether more records are welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Left,
    /// `buffer.memory` is reached: stop until the waker calls.
    Full,
}

/// A partition of a producer, by [`Producer::partition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartitionIndex(usize);

/// Everything that was sent before it was made; see [`Producer::seal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushTarget(u64);

struct Shared {
    client: Arc<KafkaClient>,
    config: ProducerConfig,
    waker: Waker,
    state: Mutex<State>,
    /// Counted up whenever a task may have something new to do.
    changed: watch::Sender<u64>,
    /// Counted up whenever batches were acknowledged, or the producer failed.
    progress: watch::Sender<u64>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify_tasks(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    fn notify_caller(&self) {
        self.progress.send_modify(|n| *n += 1);
        (self.waker)();
    }
}

/// See the module. Dropping it ends its tasks; what was not flushed may be lost.
pub struct Producer {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl Producer {
    /// A producer without transactions. `waker` is called, from any thread, after each progress; it must not block.
    pub fn new(client: Arc<KafkaClient>, config: ProducerConfig, waker: Waker) -> Self {
        Self::start(client, config, waker, false)
    }

    /// A producer that writes in transactions only; [`Producer::begin`] one before the first record.
    pub fn transactional(client: Arc<KafkaClient>, mut config: ProducerConfig, waker: Waker) -> Self {
        config.idempotence = true;
        config.acks = Acks::All;
        config.max_in_flight = config.max_in_flight.min(MAX_IDEMPOTENT_IN_FLIGHT);
        Self::start(client, config, waker, true)
    }

    fn start(client: Arc<KafkaClient>, config: ProducerConfig, waker: Waker, transactional: bool) -> Self {
        let runtime = client.runtime().clone();
        let state = State::new(&config, transactional);
        let shared = Arc::new(Shared {
            client,
            config,
            waker,
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
            progress: watch::Sender::new(0),
        });
        runtime.spawn(tasks::keep_house(shared.clone()));
        Self { shared }
    }

    /// The handle of a partition, for [`Batch::append`]; the same each time.
    pub fn partition(&self, partition: &TopicPartition) -> PartitionIndex {
        PartitionIndex(self.shared.lock().partition(partition))
    }

    /// Holds the producer's lock while several records are appended; drop it soon.
    pub fn batch(&self) -> Batch<'_> {
        Batch {
            producer: self,
            state: self.shared.lock(),
            now: Instant::now(),
            became_ready: false,
        }
    }

    /// Appends one record.
    pub fn send(
        &self,
        partition: PartitionIndex,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) -> Result<Room, KafkaError> {
        self.batch().append(partition, timestamp_ms, key, value, headers)
    }

    /// Whether `buffer.memory` is reached; the producer's failure, if it failed.
    pub fn room(&self) -> Result<Room, KafkaError> {
        let state = self.shared.lock();
        state.check()?;
        Ok(state.room(self.shared.config.buffer_bytes))
    }

    /// Bytes that wait for an acknowledgement.
    pub fn buffered_bytes(&self) -> usize {
        self.shared.lock().buffered_bytes()
    }

    /// Sends what lingers now, and tells what to wait for.
    pub fn seal(&self) -> FlushTarget {
        let target = self.shared.lock().seal();
        self.shared.notify_tasks();
        FlushTarget(target)
    }

    /// Whether all up to `target` is acknowledged; the producer's failure, if it failed.
    pub fn is_flushed(&self, target: FlushTarget) -> Result<bool, KafkaError> {
        let state = self.shared.lock();
        state.check()?;
        Ok(state.is_flushed(target.0))
    }

    /// Waits until everything that was sent so far is acknowledged. Cancel safe: what was sent stays on its way.
    pub async fn flush(&self) -> Result<(), KafkaError> {
        let mut progress = self.shared.progress.subscribe();
        let target = self.seal();
        while !self.is_flushed(target)? {
            if progress.changed().await.is_err() {
                return Err(KafkaError::Closed);
            }
        }
        Ok(())
    }

    /// Names the transaction that the next record begins. The one before must have been taken.
    pub fn begin(&self, transactional_id: impl Into<String>) {
        self.shared.lock().begin(transactional_id.into());
        self.shared.notify_tasks();
    }

    /// The transaction of what was flushed, to be ended by whoever holds it; `None` when nothing was written.
    ///
    /// Afterwards the producer is between transactions: [`Producer::begin`] the next. It is an error to take a transaction
    /// before it is flushed.
    pub fn take_transaction(&self) -> Result<Option<Committable>, KafkaError> {
        self.shared.lock().take_transaction()
    }

    /// The transactional id under which the broker may hold what was written since the last [`Committable`].
    pub fn open_transactional_id(&self) -> Option<String> {
        self.shared.lock().open_transactional_id()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.lock().close();
        self.shared.notify_tasks();
    }
}

/// Appends under one lock; made by [`Producer::batch`].
pub struct Batch<'a> {
    producer: &'a Producer,
    state: MutexGuard<'a, State>,
    now: Instant,
    became_ready: bool,
}

impl Batch<'_> {
    /// Appends one record.
    #[inline]
    pub fn append(
        &mut self,
        partition: PartitionIndex,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) -> Result<Room, KafkaError> {
        let config = &self.producer.shared.config;
        let record = state::RecordRef {
            timestamp_ms,
            key,
            value,
            headers,
        };
        self.became_ready |= self.state.append(config, partition.0, self.now, record)?;
        Ok(self.state.room(config.buffer_bytes))
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.became_ready {
            self.producer.shared.notify_tasks();
        }
    }
}
