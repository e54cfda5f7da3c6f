//! [`KafkaWriter`]: what an [`EncodeRecords`] makes of rows, into the client's producer.
//!
//! What the writer waits for, it says with `Blocked`, and the producer or a look-up wakes the task: the partitions of a topic
//! that it meets for the first time, room in `buffer.memory`, acknowledgements at a flush. The row at which it stopped is kept.
//!
//! Exactly once: after a flush, `prepare_commit` takes the producer's transaction and names the next. It lists every
//! transaction that is not known to be committed, not only the newest: a checkpoint may fail after this one was prepared, and
//! then the next must carry both. Committing twice is harmless. A writer that is dropped, because its task was cancelled or failed,
//! aborts the transaction that no checkpoint lists: readers of committed records would wait at its first record until the broker
//! gives it up, by default an hour later or as long as that broker allows.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use flott_core::clock::SharedClock;
use flott_core::{Batch, CheckpointId};
use flott_runtime::connector::SinkWriter;
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{Flow, OperatorContext, TaskError};

use super::access::{Access, Topics};
use super::client::config::ClientConfig;
use super::client::offsets::TopicPartition;
use super::client::partitioner::partition_for_key;
use super::client::producer::{FlushTarget, PartitionIndex, Producer, ProducerConfig, Room};
use super::client::{KafkaClient, KafkaError};
use super::committer;
use super::options::{Guarantee, Partitioner, SinkOptions};
use super::records::{EncodeRecords, Outgoing};
use super::task_error;
use super::upsert::UpsertBuffer;

/// Flink's default of `transaction.timeout.ms`: longer than most outages; lowered to what the broker allows.
const TRANSACTION_TIMEOUT_MS: u64 = 3_600_000;
/// Records after which rows without a key go to another partition.
const STICKY_ROWS: usize = 1_024;

enum Waiting {
    Nothing,
    /// To go on with the encoded rows.
    Rows,
    /// For the topic's partitions, to send the upsert buffer.
    Buffer,
    /// For the same, to flush behind it.
    BufferFlush,
    /// For acknowledgements.
    Flush(FlushTarget),
}

/// Partitions of topics, filled by look-ups in the background.
type Lookups = Arc<Mutex<HashMap<Arc<str>, Lookup>>>;

enum Lookup {
    UnderWay,
    Found(usize),
    Failed(KafkaError),
}

/// See the module.
pub(super) struct KafkaWriter<E> {
    label: String,
    sink: SinkOptions,
    client: Arc<KafkaClient>,
    producer: Producer,
    waker: flott_runtime::Waker,
    clock: SharedClock,
    metrics: Arc<OperatorMetrics>,
    subtask: usize,
    default_topic: Option<Arc<str>>,
    lookups: Lookups,
    partitions: HashMap<Arc<str>, Vec<PartitionIndex>>,
    records: E,
    /// Rows of `records` that are still to be sent.
    unsent: Range<usize>,
    waiting: Waiting,
    upsert: Option<UpsertBuffer>,
    sticky: usize,
    sticky_rows: usize,
    /// Name transactions: `<prefix>-flott-<sink>-<run>-<subtask>-<number>`.
    id_prefix: String,
    run: String,
    next_transaction: u64,
    /// Prepared and not known to be committed, by the checkpoint that first listed them.
    prepared: BTreeMap<CheckpointId, Vec<Bytes>>,
}

impl<E: EncodeRecords> KafkaWriter<E> {
    /// A writer; no connection is made before the first row.
    pub fn new(access: &Access, sink: &SinkOptions, records: E, ctx: &OperatorContext) -> Result<Self, TaskError> {
        let failed = |e| task_error(&access.label, e);
        let mut properties = access.properties.clone();
        properties.set_default("client.id", format!("flott-{}-{}", ctx.operator_name, ctx.task.subtask));
        let client = KafkaClient::unconnected(
            ClientConfig::from_properties(&properties).map_err(failed)?,
            ctx.runtime.clone(),
        );
        let mut config = ProducerConfig::from_properties(&properties).map_err(failed)?;
        if config.may_lower_transaction_timeout {
            config.transaction_timeout = std::time::Duration::from_millis(TRANSACTION_TIMEOUT_MS);
        }
        let waker = ctx.waker.clone();
        let wake = Arc::new(move || waker.wake());
        let producer = match sink.guarantee {
            Guarantee::ExactlyOnce => Producer::transactional(client.clone(), config, wake),
            Guarantee::None | Guarantee::AtLeastOnce => Producer::new(client.clone(), config, wake),
        };
        let default_topic = match &access.topics {
            Topics::List(names) if !records.names_topics() => names.first().map(|n| Arc::from(n.as_str())),
            _ => None,
        };
        let mut writer = Self {
            label: access.label.clone(),
            sink: sink.clone(),
            client,
            producer,
            waker: ctx.waker.clone(),
            clock: ctx.clock.clone(),
            metrics: ctx.metrics.clone(),
            subtask: ctx.task.subtask,
            default_topic,
            lookups: Arc::default(),
            partitions: HashMap::new(),
            records,
            unsent: 0..0,
            waiting: Waiting::Nothing,
            upsert: sink.buffer.map(|(rows, ms)| UpsertBuffer::new(rows, ms)),
            sticky: ctx.task.subtask,
            sticky_rows: 0,
            id_prefix: committer::id_prefix(&sink.transactional_id_prefix, &ctx.task.job_name, ctx.operator_id),
            run: committer::run_of(&ctx.task),
            next_transaction: 0,
            prepared: BTreeMap::new(),
        };
        writer.begin_transaction();
        if let Some(topic) = writer.default_topic.clone() {
            writer.look_up(&topic);
        }
        Ok(writer)
    }

    fn begin_transaction(&mut self) {
        if self.sink.guarantee == Guarantee::ExactlyOnce {
            self.producer.begin(format!(
                "{}{}-{}-{}",
                self.id_prefix, self.run, self.subtask, self.next_transaction
            ));
            self.next_transaction += 1;
        }
    }

    fn failed(&self, e: KafkaError) -> TaskError {
        task_error(&self.label, e)
    }

    /// Starts to look for a topic's partitions.
    fn look_up(&self, topic: &Arc<str>) {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        if lookups.contains_key(topic) {
            return;
        }
        lookups.insert(topic.clone(), Lookup::UnderWay);
        let (client, topic) = (self.client.clone(), topic.clone());
        let (lookups, waker) = (self.lookups.clone(), self.waker.clone());
        self.client.runtime().spawn(async move {
            let outcome = match client.topic(&topic).await {
                Ok(found) => Lookup::Found(found.leaders.len()),
                Err(e) => Lookup::Failed(e),
            };
            lookups
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(topic, outcome);
            waker.wake();
        });
    }

    /// Whether the topic's partitions are known; looks for them if not.
    fn is_known(&mut self, topic: &Arc<str>) -> Result<bool, TaskError> {
        if self.partitions.contains_key(topic) {
            return Ok(true);
        }
        self.look_up(topic);
        let count = match self.lookups.lock().unwrap_or_else(PoisonError::into_inner).get(topic) {
            Some(Lookup::Found(count)) => *count as i32,
            Some(Lookup::Failed(e)) => return Err(task_error(&self.label, e.clone())),
            Some(Lookup::UnderWay) | None => return Ok(false),
        };
        let indexes = (0..count)
            .map(|partition| {
                self.producer.partition(&TopicPartition {
                    topic: topic.clone(),
                    partition,
                })
            })
            .collect();
        self.partitions.insert(topic.clone(), indexes);
        Ok(true)
    }

    /// Sends the encoded rows until one must wait.
    fn send_encoded(&mut self) -> Result<Flow, TaskError> {
        if self.upsert.is_some() {
            self.buffer_rows();
            return Ok(Flow::Done);
        }
        let flow = self.send_rows()?;
        if !self.unsent.is_empty() {
            self.waiting = Waiting::Rows;
            return Ok(Flow::Blocked);
        }
        if flow == Flow::Blocked {
            self.waiting = Waiting::Rows;
        }
        Ok(flow)
    }

    fn send_rows(&mut self) -> Result<Flow, TaskError> {
        let now_ms = self.clock.now_ms();
        let mut room = Room::Left;
        let mut bytes = 0;
        let from = self.unsent.start;
        while !self.unsent.is_empty() && room == Room::Left {
            // One topic at a time, so that the producer's lock is taken once for many rows.
            let run_topic: Arc<str> = match (self.records.topic(self.unsent.start), &self.default_topic) {
                (Some(name), _) => Arc::from(name),
                (None, Some(topic)) => topic.clone(),
                (None, None) => return Err(TaskError::data(format!("{}: {}", self.label, E::WITHOUT_TOPIC))),
            };
            if !self.is_known(&run_topic)? {
                break;
            }
            let partitions = self.partitions.get(&run_topic).map(Vec::as_slice).unwrap_or_default();
            if partitions.is_empty() {
                return Err(self.failed(KafkaError::UnknownTopic {
                    topic: run_topic.to_string(),
                }));
            }
            let names_topics = self.records.names_topics();
            let mut producer = self.producer.batch();
            while !self.unsent.is_empty() && room == Room::Left {
                let row = self.unsent.start;
                if names_topics && self.records.topic(row).or(self.default_topic.as_deref()) != Some(&*run_topic) {
                    break;
                }
                let Outgoing {
                    partition,
                    timestamp_ms,
                    key,
                    value,
                } = self.records.outgoing(row);
                let index = match (partition, self.sink.partitioner, key) {
                    (Some(partition), _, _) => match usize::try_from(partition) {
                        Ok(index) if index < partitions.len() => index,
                        _ => {
                            let known = partitions.len();
                            let message = format!(
                                "{}: a record names partition {partition} of topic '{run_topic}', which has {known}: 0 to {}",
                                self.label,
                                known - 1
                            );
                            return Err(TaskError::data(message));
                        }
                    },
                    (None, Partitioner::Fixed, _) => self.subtask % partitions.len(),
                    (None, Partitioner::Default, Some(key)) => partition_for_key(key, partitions.len()),
                    (None, Partitioner::Default, None) | (None, Partitioner::RoundRobin, _) => {
                        self.sticky_rows += 1;
                        if self.sticky_rows >= STICKY_ROWS {
                            self.sticky_rows = 0;
                            self.sticky = self.sticky.wrapping_add(1);
                        }
                        self.sticky % partitions.len()
                    }
                };
                let headers = self.records.headers(row);
                let timestamp_ms = timestamp_ms.unwrap_or(now_ms);
                let sent = producer.append(partitions[index], timestamp_ms, key, value, &headers);
                room = sent.map_err(|e| task_error(&self.label, e))?;
                bytes += key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
                self.unsent.start += 1;
            }
        }
        self.metrics.records_out.add((self.unsent.start - from) as u64);
        self.metrics.bytes_out.add(bytes as u64);
        Ok(if room == Room::Full { Flow::Blocked } else { Flow::Done })
    }

    /// Moves rows into the upsert buffer, which keeps the last of each key.
    fn buffer_rows(&mut self) {
        let now_ms = self.clock.now_ms();
        let Some(buffer) = &mut self.upsert else {
            return;
        };
        for row in self.unsent.by_ref() {
            let Outgoing { key, value, .. } = self.records.outgoing(row);
            buffer.put(key.unwrap_or_default(), value, now_ms);
        }
    }

    /// Sends what the upsert buffer holds; `false` when the topic is not known yet.
    fn drain_buffer(&mut self) -> Result<bool, TaskError> {
        if self.upsert.as_ref().is_none_or(UpsertBuffer::is_empty) {
            return Ok(true);
        }
        let Some(topic) = self.default_topic.clone() else {
            return Ok(true);
        };
        if !self.is_known(&topic)? {
            return Ok(false);
        }
        let Some(buffer) = &mut self.upsert else {
            return Ok(true);
        };
        let partitions = self.partitions.get(&topic).map(Vec::as_slice).unwrap_or_default();
        let now_ms = self.clock.now_ms();
        let mut producer = self.producer.batch();
        let (mut rows, mut bytes) = (0, 0);
        for (key, value) in buffer.drain() {
            let partition = partitions[partition_for_key(&key, partitions.len())];
            bytes += key.len() + value.as_ref().map_or(0, |v| v.len());
            rows += 1;
            producer
                .append(partition, now_ms, Some(&key), value.as_deref(), &[])
                .map_err(|e| task_error(&self.label, e))?;
        }
        self.metrics.records_out.add(rows);
        self.metrics.bytes_out.add(bytes as u64);
        Ok(true)
    }

    fn go_on(&mut self) -> Result<Flow, TaskError> {
        match self.waiting {
            Waiting::Nothing => Ok(Flow::Done),
            Waiting::Buffer => {
                if !self.drain_buffer()? {
                    return Ok(Flow::Blocked);
                }
                self.waiting = Waiting::Nothing;
                self.room()
            }
            Waiting::BufferFlush => self.flush(),
            Waiting::Flush(target) => {
                if !self.producer.is_flushed(target).map_err(|e| self.failed(e))? {
                    return Ok(Flow::Blocked);
                }
                self.waiting = Waiting::Nothing;
                Ok(Flow::Done)
            }
            Waiting::Rows => {
                if self.producer.room().map_err(|e| self.failed(e))? == Room::Full {
                    return Ok(Flow::Blocked);
                }
                self.waiting = Waiting::Nothing;
                self.send_encoded()
            }
        }
    }
}

impl<E: EncodeRecords> SinkWriter for KafkaWriter<E> {
    fn write(&mut self, batch: Batch) -> Result<Flow, TaskError> {
        if batch.is_empty() {
            return Ok(Flow::Done);
        }
        self.metrics.records_in.add(batch.num_rows() as u64);
        self.unsent = 0..self.records.encode(batch)?;
        let flow = self.send_encoded()?;
        let now_ms = self.clock.now_ms();
        if flow == Flow::Done && self.upsert.as_ref().is_some_and(|b| b.is_due(now_ms)) {
            return if self.drain_buffer()? {
                self.room()
            } else {
                Ok(Flow::Done)
            };
        }
        Ok(flow)
    }

    fn flush(&mut self) -> Result<Flow, TaskError> {
        if !self.drain_buffer()? {
            self.waiting = Waiting::BufferFlush;
            return Ok(Flow::Blocked);
        }
        self.waiting = Waiting::Flush(self.producer.seal());
        self.go_on()
    }

    fn resume(&mut self) -> Result<Flow, TaskError> {
        self.go_on()
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Vec<Bytes>, TaskError> {
        if self.sink.guarantee != Guarantee::ExactlyOnce {
            return Ok(Vec::new());
        }
        if let Some(transaction) = self.producer.take_transaction().map_err(|e| self.failed(e))? {
            let bytes =
                committer::encode(&transaction).map_err(|e| TaskError::internal(format!("{}: {e}", self.label)))?;
            self.prepared.entry(checkpoint).or_default().push(bytes);
        }
        self.begin_transaction();
        Ok(self.prepared.values().flatten().cloned().collect())
    }

    fn committed(&mut self, checkpoint: CheckpointId) {
        self.prepared.retain(|listed_by, _| *listed_by > checkpoint);
    }

    fn next_timer(&self) -> Option<i64> {
        self.upsert.as_ref().and_then(UpsertBuffer::due_ms)
    }

    fn on_timer(&mut self, now_ms: i64) -> Result<Flow, TaskError> {
        if self.upsert.as_ref().is_none_or(|b| !b.is_due(now_ms)) {
            return Ok(Flow::Done);
        }
        if !self.drain_buffer()? {
            // Blocked, so that the due timer is not asked again and again until the topic is known.
            self.waiting = Waiting::Buffer;
            return Ok(Flow::Blocked);
        }
        self.room()
    }
}

impl<E> Drop for KafkaWriter<E> {
    fn drop(&mut self) {
        let Some(id) = self.producer.open_transactional_id() else {
            return;
        };
        let (client, label) = (self.client.clone(), self.label.clone());
        self.client.runtime().spawn(async move {
            if let Err(error) = client.abort_transactional_id(&id).await {
                tracing::warn!(label, id, %error, "a kafka transaction is left open, until the broker or the next start aborts it");
            }
        });
    }
}

impl<E: EncodeRecords> KafkaWriter<E> {
    fn room(&mut self) -> Result<Flow, TaskError> {
        match self.producer.room().map_err(|e| self.failed(e))? {
            Room::Left => Ok(Flow::Done),
            Room::Full => {
                self.waiting = Waiting::Rows;
                Ok(Flow::Blocked)
            }
        }
    }
}
