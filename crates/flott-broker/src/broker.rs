//! The broker as its embedder sees it: settings, start, stop, and the ways in that need no connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};
use kafka_protocol::ResponseError;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::{self, Outcome};
use crate::batch::{self, CheckedBatch, PlainRecord};
use crate::error::{AppendError, StartError, TopicError};
use crate::faults::Faults;
use crate::groups::Groups;
use crate::partition::{Offsets, Partition};
use crate::server;
use crate::sync::lock;
use crate::topics::{Topics, random_uuid};
use crate::transactions::Coordinator;

const DEFAULT_RETENTION_BYTES: usize = 256 << 20;
const DEFAULT_PARTITIONS: i32 = 1;
/// Kafka's default of `transaction.max.timeout.ms`.
const DEFAULT_MAX_TRANSACTION_TIMEOUT_MS: i32 = 15 * 60 * 1000;
/// Kafka's default of `message.max.bytes`.
const DEFAULT_MAX_BATCH_BYTES: usize = 1_048_588;

/// What every connection shares.
pub(crate) struct Core {
    pub topics: Arc<Topics>,
    pub groups: Arc<Groups>,
    pub coordinator: Arc<Coordinator>,
    pub faults: Faults,
    pub cluster_id: String,
    pub address: SocketAddr,
    pub max_batch_bytes: usize,
}

/// Settings of a broker, each with a default.
#[derive(Debug, Clone)]
pub struct BrokerBuilder {
    listen: String,
    retention_bytes: usize,
    default_partitions: i32,
    auto_create_topics: bool,
    max_transaction_timeout_ms: i32,
    max_batch_bytes: usize,
}

impl BrokerBuilder {
    /// The address to listen on, default `127.0.0.1:0` (any free port). Only loopback addresses are taken.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = address.into();
        self
    }

    /// How many bytes of record batches the broker keeps, over all partitions; default 256 MiB. The oldest batches go
    /// first.
    pub fn retention_bytes(mut self, bytes: usize) -> Self {
        self.retention_bytes = bytes;
        self
    }

    /// Partitions of topics made without a number; default 1.
    pub fn default_partitions(mut self, partitions: i32) -> Self {
        self.default_partitions = partitions;
        self
    }

    /// Whether asking for a topic makes it; default true, as Kafka's.
    pub fn auto_create_topics(mut self, auto_create: bool) -> Self {
        self.auto_create_topics = auto_create;
        self
    }

    /// The longest transaction timeout that producers may ask for; default 15 minutes, as Kafka's.
    pub fn max_transaction_timeout_ms(mut self, timeout_ms: i32) -> Self {
        self.max_transaction_timeout_ms = timeout_ms;
        self
    }

    /// The largest batch that clients may produce; default 1048588 bytes, as Kafka's. In-process appends are free of
    /// it.
    pub fn max_batch_bytes(mut self, bytes: usize) -> Self {
        self.max_batch_bytes = bytes;
        self
    }

    /// Starts the broker on the current tokio runtime.
    ///
    /// # Errors
    /// If the settings contradict each other or the address cannot be listened on.
    pub async fn start(self) -> Result<Broker, StartError> {
        if self.default_partitions < 1 {
            return Err(StartError::DefaultPartitions {
                partitions: self.default_partitions,
            });
        }
        let listen_error = |source| StartError::Listen {
            address: self.listen.clone(),
            source,
        };
        let listener = TcpListener::bind(&self.listen).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        if !address.ip().is_loopback() {
            return Err(StartError::NotLoopback { address });
        }
        let topics = Arc::new(Topics::new(
            self.retention_bytes,
            self.default_partitions,
            self.auto_create_topics,
        ));
        let groups = Arc::new(Groups::default());
        let coordinator = Arc::new(Coordinator::new(
            Arc::clone(&topics),
            Arc::clone(&groups),
            self.max_transaction_timeout_ms,
        ));
        let core = Arc::new(Core {
            faults: Faults::new(Arc::clone(&topics), Arc::clone(&coordinator)),
            topics,
            groups,
            coordinator,
            cluster_id: random_uuid().simple().to_string(),
            address,
            max_batch_bytes: self.max_batch_bytes,
        });
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(server::serve(listener, Arc::clone(&core), stopped));
        tracing::info!(%address, "embedded broker started");
        Ok(Broker {
            inner: Arc::new(Running {
                core,
                stop,
                serving: Mutex::new(Some(serving)),
            }),
        })
    }
}

struct Running {
    core: Arc<Core>,
    /// Dropping it stops the broker too.
    stop: watch::Sender<bool>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

/// A running broker. Clones are handles to the same one; it stops at [`Broker::shutdown`] or when the last is dropped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use flott_broker::{Broker, PlainRecord};
///
/// let broker = Broker::builder().start().await?;
/// broker.create_topic("clicks", 2)?;
/// let click = PlainRecord { timestamp_ms: 1_000, key: None, value: Some(b"{}") };
/// let offset = broker.append_records("clicks", 0, &[click])?;
/// assert_eq!((offset, broker.log_end_offsets("clicks")?), (0, vec![1, 0]));
/// broker.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Running>,
}

impl Broker {
    /// A broker with default settings, to be changed and started.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder {
            listen: "127.0.0.1:0".to_owned(),
            retention_bytes: DEFAULT_RETENTION_BYTES,
            default_partitions: DEFAULT_PARTITIONS,
            auto_create_topics: true,
            max_transaction_timeout_ms: DEFAULT_MAX_TRANSACTION_TIMEOUT_MS,
            max_batch_bytes: DEFAULT_MAX_BATCH_BYTES,
        }
    }

    /// What clients put into `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        self.core().address.to_string()
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// If there is one of this name, or the name or number is not legal.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<(), TopicError> {
        self.core().topics.create(name, partitions, BTreeMap::new())?;
        Ok(())
    }

    /// Deletes a topic with its records.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn delete_topic(&self, name: &str) -> Result<(), TopicError> {
        self.core().topics.delete(name)?;
        Ok(())
    }

    /// The names of all topics, sorted.
    pub fn topics(&self) -> Vec<String> {
        self.core()
            .topics
            .all()
            .iter()
            .map(|topic| topic.name.clone())
            .collect()
    }

    /// Appends records as one batch, with timestamps as given; returns the offset of the first. Without records
    /// nothing happens, and the offset is the end of the log.
    ///
    /// # Errors
    /// If there is no such partition.
    pub fn append_records(&self, topic: &str, partition: i32, records: &[PlainRecord<'_>]) -> Result<i64, AppendError> {
        match batch::encode_batch(records) {
            Some(batch) => self.append_batches(topic, partition, batch),
            None => Ok(self.find(topic, partition)?.offsets().end),
        }
    }

    /// Appends encoded record batches (format v2, any codec, base offsets ignored) without copying them; returns the
    /// offset of the first record.
    ///
    /// # Errors
    /// If there is no such partition, or a batch is refused; the batches before it stay.
    pub fn append_batches(&self, topic: &str, partition: i32, mut batches: Bytes) -> Result<i64, AppendError> {
        let log = self.find(topic, partition)?;
        let refused = |reason| AppendError::Refused {
            topic: topic.to_owned(),
            partition,
            reason,
        };
        let mut first_offset = None;
        while !batches.is_empty() {
            let batch = CheckedBatch::split_from(&mut batches).map_err(refused)?;
            if batch.header.is_transactional() || batch.header.is_control() {
                return Err(refused(ResponseError::InvalidTxnState));
            }
            let (base_offset, _) = log.append(batch).map_err(refused)?;
            first_offset.get_or_insert(base_offset);
        }
        Ok(first_offset.unwrap_or_else(|| log.offsets().end))
    }

    /// The end of each partition's log: the offset that its next record gets.
    ///
    /// # Errors
    /// If there is no such topic.
    pub fn log_end_offsets(&self, topic: &str) -> Result<Vec<i64>, TopicError> {
        self.offsets(topic, |offsets| offsets.end)
    }

    /// The start of each partition's log: the oldest offset that retention has left.
    ///
    /// # Errors
    /// If there is no such topic.
    pub fn log_start_offsets(&self, topic: &str) -> Result<Vec<i64>, TopicError> {
        self.offsets(topic, |offsets| offsets.start)
    }

    /// The last stable offset of each partition: below it every transaction is decided.
    ///
    /// # Errors
    /// If there is no such topic.
    pub fn last_stable_offsets(&self, topic: &str) -> Result<Vec<i64>, TopicError> {
        self.offsets(topic, |offsets| offsets.last_stable)
    }

    /// The offset that a group has committed for a partition.
    pub fn committed_offset(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let committed = self.core().groups.committed(group, &(topic.to_owned(), partition));
        committed.map(|committed| committed.offset)
    }

    /// Answers a request frame without its length, as on a connection: for tools and tests that need no socket. `None`
    /// where the client gets no answer, or its connection is closed.
    pub async fn answer(&self, request: Bytes) -> Option<Bytes> {
        match api::answer(self.core(), request).await {
            Ok(Outcome::Answer(mut frame)) => {
                let bytes = frame.remaining();
                Some(frame.copy_to_bytes(bytes))
            }
            Ok(Outcome::Nothing | Outcome::Close) | Err(_) => None,
        }
    }

    /// Hooks that make the broker misbehave.
    pub fn faults(&self) -> &Faults {
        &self.core().faults
    }

    /// Closes all connections and waits until the last is gone. Safe to call twice.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        let serving = lock(&self.inner.serving).take();
        if let Some(serving) = serving {
            // It fails only if it was aborted with its runtime, and then it is gone as well.
            let _ = serving.await;
        }
    }

    fn core(&self) -> &Core {
        &self.inner.core
    }

    fn find(&self, topic: &str, partition: i32) -> Result<Arc<Partition>, AppendError> {
        let found = self
            .core()
            .topics
            .by_name(topic)
            .and_then(|topic| topic.partition(partition).cloned().ok());
        found.ok_or_else(|| AppendError::UnknownPartition {
            topic: topic.to_owned(),
            partition,
        })
    }

    fn offsets(&self, topic: &str, pick: impl Fn(Offsets) -> i64) -> Result<Vec<i64>, TopicError> {
        let unknown = || TopicError::Unknown {
            topic: topic.to_owned(),
        };
        let found = self.core().topics.by_name(topic).ok_or_else(unknown)?;
        Ok(found
            .partitions
            .iter()
            .map(|partition| pick(partition.offsets()))
            .collect())
    }
}
