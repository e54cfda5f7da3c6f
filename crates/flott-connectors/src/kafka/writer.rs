//! [`KafkaWriter`]: rows to records, by the formats of value and key, into the client's producer.
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
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, ArrayRef};
use bytes::Bytes;
use flott_core::clock::SharedClock;
use flott_core::{Batch, CheckpointId, Field, RowKind};
use flott_formats::{EncodedRows, Encoder};
use flott_runtime::connector::{ConnectorError, SinkSpec, SinkWriter};
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{Flow, OperatorContext, TaskError};

use super::client::batch::encode::HeaderRef;
use super::client::config::ClientConfig;
use super::client::offsets::TopicPartition;
use super::client::partitioner::partition_for_key;
use super::client::producer::{FlushTarget, PartitionIndex, Producer, ProducerConfig, Room};
use super::client::{KafkaClient, KafkaError};
use super::committer;
use super::metadata::Metadata;
use super::options::{Guarantee, Partitioner, SinkOptions, TableOptions, Topics, wrong};
use super::task_error;
use super::upsert::UpsertBuffer;

/// Flink's default of `transaction.timeout.ms`: longer than most outages; lowered to what the broker allows.
const TRANSACTION_TIMEOUT_MS: u64 = 3_600_000;
/// Records after which rows without a key go to another partition.
const STICKY_ROWS: usize = 1_024;

/// Rows whose bytes are encoded; sent from `next` on.
struct Encoded {
    batch: Batch,
    next: usize,
}

enum Waiting {
    Nothing,
    /// To go on with the encoded rows.
    Rows,
    /// For the topic's partitions, to send the upsert buffer and flush.
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
pub(super) struct KafkaWriter {
    table: String,
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
    value: Box<dyn Encoder>,
    value_columns: Vec<usize>,
    key: Option<Box<dyn Encoder>>,
    key_columns: Vec<usize>,
    topic_column: Option<usize>,
    timestamp_column: Option<usize>,
    headers_column: Option<usize>,
    is_upsert: bool,
    /// Whether the value's format writes rows of every kind.
    takes_changes: bool,
    values: EncodedRows,
    keys: EncodedRows,
    encoded: Option<Encoded>,
    waiting: Waiting,
    upsert: Option<UpsertBuffer>,
    sticky: usize,
    sticky_rows: usize,
    /// Names transactions: `<prefix>-flott-<run>-<subtask>-<number>`.
    run: String,
    next_transaction: u64,
    /// Prepared and not known to be committed, by the checkpoint that first listed them.
    prepared: BTreeMap<CheckpointId, Vec<Bytes>>,
}

impl KafkaWriter {
    /// A writer; no connection is made before the first row.
    pub fn new(
        table: &TableOptions,
        sink: &SinkOptions,
        spec: &SinkSpec,
        ctx: &OperatorContext,
    ) -> Result<Self, TaskError> {
        let name = &*table.table;
        let failed = |e| task_error(name, e);
        let mut properties = table.properties.clone();
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
        let columns = Columns::new(table, spec).map_err(TaskError::from)?;
        let default_topic = match &table.topics {
            Topics::List(names) if columns.topic.is_none() => names.first().map(|n| Arc::from(n.as_str())),
            _ => None,
        };
        let now_ns = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos());
        let run = format!(
            "{:x}-{}-{}-{:x}",
            now_ns,
            ctx.task.generation,
            ctx.task.attempt,
            std::process::id()
        );
        let mut writer = Self {
            table: table.table.clone(),
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
            value: columns.value,
            value_columns: columns.value_columns,
            key: columns.key,
            key_columns: columns.key_columns,
            topic_column: columns.topic,
            timestamp_column: columns.timestamp,
            headers_column: columns.headers,
            is_upsert: spec.table.connector() == "upsert-kafka",
            takes_changes: flott_formats::carries_changes(&table.layout.value.name),
            values: EncodedRows::new(),
            keys: EncodedRows::new(),
            encoded: None,
            waiting: Waiting::Nothing,
            upsert: sink.buffer.map(|(rows, ms)| UpsertBuffer::new(rows, ms)),
            sticky: ctx.task.subtask,
            sticky_rows: 0,
            run,
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
            let prefix = committer::id_prefix(&self.sink.transactional_id_prefix);
            self.producer.begin(format!(
                "{prefix}{}-{}-{}",
                self.run, self.subtask, self.next_transaction
            ));
            self.next_transaction += 1;
        }
    }

    fn failed(&self, e: KafkaError) -> TaskError {
        task_error(&self.table, e)
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
            Some(Lookup::Failed(e)) => return Err(task_error(&self.table, e.clone())),
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

    /// Encodes a batch; rows that an upsert table does not write are left out.
    fn encode(&mut self, batch: &Batch) -> Result<(), TaskError> {
        let batch = match (self.is_upsert, batch.kinds()) {
            (true, Some(kinds)) if kinds.contains(&(RowKind::UpdateBefore as u8)) => {
                let keep: arrow_array::BooleanArray =
                    kinds.iter().map(|k| Some(*k != RowKind::UpdateBefore as u8)).collect();
                batch.filter(&keep)?
            }
            (false, Some(kinds)) if !self.takes_changes && kinds.iter().any(|k| *k != RowKind::Insert as u8) => {
                return Err(TaskError::user(format!(
                    "table '{}': connector 'kafka' takes inserts only; use connector 'upsert-kafka' with a primary key for updates, or format 'debezium-json'",
                    self.table
                ))
                .fatal());
            }
            _ => batch.clone(),
        };
        let pick = |indexes: &[usize]| -> Vec<ArrayRef> { indexes.iter().map(|i| batch.column(*i).clone()).collect() };
        let failed = |e| TaskError::data(format!("table '{}': {e}", self.table));
        self.values.clear();
        self.keys.clear();
        let rows = batch.num_rows();
        let kinds = batch.kinds().map(|k| &k[..]);
        self.value
            .encode_changes(&pick(&self.value_columns), rows, kinds, &mut self.values)
            .map_err(failed)?;
        if let Some(key) = &mut self.key {
            key.encode(&pick(&self.key_columns), rows, &mut self.keys)
                .map_err(failed)?;
        }
        self.encoded = Some(Encoded { batch, next: 0 });
        Ok(())
    }

    /// Sends the encoded rows until one must wait.
    fn send_encoded(&mut self) -> Result<Flow, TaskError> {
        let Some(mut encoded) = self.encoded.take() else {
            return Ok(Flow::Done);
        };
        let flow = match self.upsert.is_some() {
            true => self.buffer_rows(&mut encoded),
            false => self.send_rows(&mut encoded)?,
        };
        if encoded.next < encoded.batch.num_rows() {
            self.encoded = Some(encoded);
            self.waiting = Waiting::Rows;
            return Ok(Flow::Blocked);
        }
        if flow == Flow::Blocked {
            self.waiting = Waiting::Rows;
        }
        Ok(flow)
    }

    fn send_rows(&mut self, encoded: &mut Encoded) -> Result<Flow, TaskError> {
        let Encoded { batch, next } = encoded;
        let topics = self.topic_column.map(|c| batch.column(c).clone());
        let topics = topics.as_ref().map(|c| c.as_string::<i32>());
        let timestamps = self.timestamp_column.map(|c| batch.column(c).clone());
        let timestamps = timestamps
            .as_ref()
            .map(|c| c.as_primitive::<TimestampMillisecondType>());
        let headers = self.headers_column.map(|c| batch.column(c).clone());
        let now_ms = self.clock.now_ms();
        let mut room = Room::Left;
        let mut bytes = 0;
        let from = *next;
        while *next < batch.num_rows() && room == Room::Left {
            // One topic at a time, so that the producer's lock is taken once for many rows.
            let name = |row: usize| topics.filter(|t| t.is_valid(row)).map(|t| t.value(row));
            let run_topic: Arc<str> = match (name(*next), &self.default_topic) {
                (Some(name), _) => Arc::from(name),
                (None, Some(topic)) => topic.clone(),
                (None, None) => {
                    return Err(TaskError::data(format!(
                        "table '{}': metadata column 'topic' is NULL",
                        self.table
                    )));
                }
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
            let mut producer = self.producer.batch();
            while *next < batch.num_rows() && room == Room::Left {
                let row = *next;
                if topics.is_some() && name(row) != Some(&*run_topic) {
                    break;
                }
                let key = if self.key.is_some() { self.keys.get(row) } else { None };
                let is_delete = self.is_upsert && batch.kind(row) == RowKind::Delete;
                let value = if is_delete { None } else { self.values.get(row) };
                let index = match (self.sink.partitioner, key) {
                    (Partitioner::Fixed, _) => self.subtask % partitions.len(),
                    (Partitioner::Default, Some(key)) => partition_for_key(key, partitions.len()),
                    (Partitioner::Default, None) | (Partitioner::RoundRobin, _) => {
                        self.sticky_rows += 1;
                        if self.sticky_rows >= STICKY_ROWS {
                            self.sticky_rows = 0;
                            self.sticky = self.sticky.wrapping_add(1);
                        }
                        self.sticky % partitions.len()
                    }
                };
                let timestamp_ms = timestamps.filter(|t| t.is_valid(row)).map_or(now_ms, |t| t.value(row));
                let sent = match &headers {
                    None => producer.append(partitions[index], timestamp_ms, key, value, &[]),
                    Some(column) => {
                        let entries = column.as_map().value(row);
                        let (names, contents) = (
                            entries.column(0).as_string::<i32>(),
                            entries.column(1).as_binary::<i32>(),
                        );
                        let list: Vec<HeaderRef<'_>> = (0..entries.len())
                            .map(|i| (names.value(i), contents.is_valid(i).then(|| contents.value(i))))
                            .collect();
                        producer.append(partitions[index], timestamp_ms, key, value, &list)
                    }
                };
                room = sent.map_err(|e| task_error(&self.table, e))?;
                bytes += key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
                *next += 1;
            }
        }
        self.metrics.records_out.add((*next - from) as u64);
        self.metrics.bytes_out.add(bytes as u64);
        Ok(if room == Room::Full { Flow::Blocked } else { Flow::Done })
    }

    /// Moves rows into the upsert buffer, which keeps the last of each key.
    fn buffer_rows(&mut self, encoded: &mut Encoded) -> Flow {
        let now_ms = self.clock.now_ms();
        let Some(buffer) = &mut self.upsert else {
            return Flow::Done;
        };
        for row in encoded.next..encoded.batch.num_rows() {
            let is_delete = encoded.batch.kind(row) == RowKind::Delete;
            let value = if is_delete { None } else { self.values.get(row) };
            buffer.put(self.keys.get(row).unwrap_or_default(), value, now_ms);
        }
        encoded.next = encoded.batch.num_rows();
        Flow::Done
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
                .map_err(|e| task_error(&self.table, e))?;
        }
        self.metrics.records_out.add(rows);
        self.metrics.bytes_out.add(bytes as u64);
        Ok(true)
    }

    fn go_on(&mut self) -> Result<Flow, TaskError> {
        match self.waiting {
            Waiting::Nothing => Ok(Flow::Done),
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

impl SinkWriter for KafkaWriter {
    fn write(&mut self, batch: Batch) -> Result<Flow, TaskError> {
        if batch.is_empty() {
            return Ok(Flow::Done);
        }
        self.metrics.records_in.add(batch.num_rows() as u64);
        self.encode(&batch)?;
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
            let bytes = committer::encode(&transaction)
                .map_err(|e| TaskError::internal(format!("table '{}': {e}", self.table)))?;
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
        if self.upsert.as_ref().is_some_and(|b| b.is_due(now_ms)) && self.drain_buffer()? {
            return self.room();
        }
        Ok(Flow::Done)
    }
}

impl Drop for KafkaWriter {
    fn drop(&mut self) {
        let Some(id) = self.producer.open_transactional_id() else {
            return;
        };
        let (client, table) = (self.client.clone(), self.table.clone());
        self.client.runtime().spawn(async move {
            if let Err(error) = client.abort_transactional_id(&id).await {
                tracing::warn!(table, id, %error, "a kafka transaction is left open, until the broker or the next start aborts it");
            }
        });
    }
}

impl KafkaWriter {
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

/// Encoders, and where their columns are in the input.
pub(super) struct Columns {
    value: Box<dyn Encoder>,
    value_columns: Vec<usize>,
    key: Option<Box<dyn Encoder>>,
    key_columns: Vec<usize>,
    topic: Option<usize>,
    timestamp: Option<usize>,
    headers: Option<usize>,
}

impl Columns {
    /// Finds them; made while planning too, so that a type that a format cannot write is told then.
    pub fn new(table: &TableOptions, spec: &SinkSpec) -> Result<Self, ConnectorError> {
        let physical = spec.fields.len().saturating_sub(spec.metadata.len());
        let position = |f: &Field| spec.fields[..physical].iter().position(|i| i.name == f.name);
        let layout = &table.layout;
        let find = |fields: &[Field]| -> Vec<(usize, Field)> {
            fields.iter().filter_map(|f| Some((position(f)?, f.clone()))).collect()
        };
        let values = find(&layout.value_columns);
        let value_fields: Vec<Field> = values.iter().map(|(_, f)| f.clone()).collect();
        let value = flott_formats::encoder(&layout.value.name, &layout.value.options, &value_fields).map_err(wrong)?;
        let keys = find(&layout.key_columns);
        let key = match &layout.key {
            None => None,
            Some(format) => Some(
                flott_formats::encoder(&format.name, &format.options, &layout.key_fields_in_format()).map_err(wrong)?,
            ),
        };
        let metadata = |kind: Metadata| {
            spec.metadata
                .iter()
                .position(|m| Metadata::of_key(&m.key) == Some(kind))
                .map(|i| physical + i)
        };
        let topic = metadata(Metadata::Topic);
        if topic.is_none() && !matches!(&table.topics, Topics::List(names) if names.len() == 1) {
            return Err(wrong(
                "a table with several topics is written only where its metadata column 'topic' names the one of each row",
            ));
        }
        Ok(Self {
            value,
            value_columns: values.into_iter().map(|(i, _)| i).collect(),
            key,
            key_columns: keys.into_iter().map(|(i, _)| i).collect(),
            topic,
            timestamp: metadata(Metadata::Timestamp),
            headers: metadata(Metadata::Headers),
        })
    }
}
