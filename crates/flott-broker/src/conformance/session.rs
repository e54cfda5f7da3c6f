//! What the checks share: a connection, names of their own, and the requests in short form.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest, TopicName,
    TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use uuid::Uuid;

use super::client::{CheckError, Client, expect, unexpected};

/// How long what happens behind an answer may take on a real broker.
const PATIENCE: Duration = Duration::from_secs(30);
/// The version of Fetch in which most checks read: the last that names topics.
const FETCH_BY_NAME: i16 = 12;

pub(super) const READ_UNCOMMITTED: i8 = 0;
pub(super) const READ_COMMITTED: i8 = 1;
pub(super) const LATEST: i64 = -1;
pub(super) const EARLIEST: i64 = -2;

/// A check's own corner of the broker.
pub(super) struct Session {
    pub client: Client,
    pub bootstrap: String,
    prefix: String,
}

/// Who writes a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub transactional: bool,
}

impl Writer {
    /// Neither idempotent nor transactional.
    pub const PLAIN: Self = Self {
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        transactional: false,
    };
}

/// What is read, and how patiently.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub offset: i64,
    pub isolation: i8,
    pub max_wait_ms: i32,
    pub max_bytes: i32,
    pub leader_epoch: i32,
}

impl Reading {
    /// At once, without limit, uncommitted records too.
    pub fn from(offset: i64) -> Self {
        Self {
            offset,
            isolation: READ_UNCOMMITTED,
            max_wait_ms: 0,
            max_bytes: 1 << 20,
            leader_epoch: -1,
        }
    }

    pub fn committed(self) -> Self {
        Self {
            isolation: READ_COMMITTED,
            ..self
        }
    }
}

impl Session {
    pub async fn open(bootstrap: &str) -> Result<Self, CheckError> {
        let prefix = crate::topics::random_uuid().simple().to_string();
        let client = Client::connect(bootstrap).await?;
        Ok(Self {
            client,
            bootstrap: bootstrap.to_owned(),
            prefix,
        })
    }

    /// A name that no one else uses.
    pub fn name(&self, name: &str) -> String {
        format!("check-{}-{name}", self.prefix)
    }

    /// Makes a topic and waits until it can be used.
    pub async fn create_topic(&mut self, name: &str, partitions: i32) -> Result<Uuid, CheckError> {
        let code = self.try_create_topic(name, partitions, 1, false).await?;
        expect(format!("CreateTopics {name}"), code, 0)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let topic = self.metadata(name).await?;
            let all_led = topic.partitions.iter().all(|partition| partition.error_code == 0);
            let is_known = topic.error_code == 0 && all_led && topic.partitions.len() == partitions as usize;
            // A real broker may be told of its leadership after its metadata says so.
            if is_known && self.list_offset(name, LATEST, READ_UNCOMMITTED).await?.error_code == 0 {
                return Ok(topic.topic_id);
            }
            self.pause(deadline, "Metadata: a new topic is led").await?;
        }
    }

    pub async fn try_create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        replicas: i16,
        validate_only: bool,
    ) -> Result<i16, CheckError> {
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(replicas);
        let request = CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(10_000)
            .with_validate_only(validate_only);
        let response = self.client.call(&request, 7).await?;
        Ok(only(response.topics, "CreateTopics")?.error_code)
    }

    /// Metadata of one topic, never making it.
    pub async fn metadata(&mut self, name: &str) -> Result<MetadataResponseTopic, CheckError> {
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![topic]))
            .with_allow_auto_topic_creation(false);
        only(self.client.call(&request, 12).await?.topics, "Metadata")
    }

    /// Produces one batch to partition 0.
    pub async fn produce(
        &mut self,
        topic: &str,
        transactional_id: Option<&str>,
        batch: Bytes,
    ) -> Result<PartitionProduceResponse, CheckError> {
        let request = produce_request(topic, 0, transactional_id, -1, batch);
        let response = self.client.call(&request, 9).await?;
        only(only(response.responses, "Produce")?.partition_responses, "Produce")
    }

    /// Produces values without a producer id to partition 0; returns the first offset.
    pub async fn produce_values(&mut self, topic: &str, values: &[&str]) -> Result<i64, CheckError> {
        let response = self.produce(topic, None, batch(Writer::PLAIN, values)).await?;
        expect("Produce: error", response.error_code, 0)?;
        Ok(response.base_offset)
    }

    /// Fetches partition 0 by topic name.
    pub async fn fetch(&mut self, topic: &str, reading: Reading) -> Result<PartitionData, CheckError> {
        self.fetch_in(FETCH_BY_NAME, topic, Uuid::nil(), reading).await
    }

    /// Fetches partition 0 in any version, which decides between name and id.
    pub async fn fetch_in(
        &mut self,
        version: i16,
        topic: &str,
        id: Uuid,
        reading: Reading,
    ) -> Result<PartitionData, CheckError> {
        let request = fetch_request(version, topic, id, reading);
        let response = self.client.call(&request, version).await?;
        expect(format!("Fetch v{version}: error"), response.error_code, 0)?;
        expect(format!("Fetch v{version}: session"), response.session_id, 0)?;
        only(only(response.responses, "Fetch")?.partitions, "Fetch")
    }

    /// The values that a reader of this isolation level sees in partition 0, from the start.
    pub async fn values(&mut self, topic: &str, isolation: i8) -> Result<Vec<String>, CheckError> {
        let data = self
            .fetch(
                topic,
                Reading {
                    isolation,
                    ..Reading::from(0)
                },
            )
            .await?;
        expect("Fetch: error", data.error_code, 0)?;
        visible_values(data)
    }

    /// Waits until a reader of committed records sees exactly these in partition 0.
    pub async fn await_committed(&mut self, topic: &str, expected: &[&str]) -> Result<(), CheckError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let values = self.values(topic, READ_COMMITTED).await?;
            if values == expected {
                return Ok(());
            }
            let what = format!("committed values: expected {expected:?}, found {values:?}");
            self.pause(deadline, &what).await?;
        }
    }

    /// ListOffsets of partition 0.
    pub async fn list_offset(
        &mut self,
        topic: &str,
        timestamp: i64,
        isolation: i8,
    ) -> Result<ListOffsetsPartitionResponse, CheckError> {
        self.list_offset_in(7, topic, timestamp, isolation, -1).await
    }

    pub async fn list_offset_in(
        &mut self,
        version: i16,
        topic: &str,
        timestamp: i64,
        isolation: i8,
        leader_epoch: i32,
    ) -> Result<ListOffsetsPartitionResponse, CheckError> {
        let partition = ListOffsetsPartition::default()
            .with_timestamp(timestamp)
            .with_current_leader_epoch(leader_epoch);
        let topic = ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(isolation)
            .with_topics(vec![topic]);
        let response = self.client.call(&request, version).await?;
        only(only(response.topics, "ListOffsets")?.partitions, "ListOffsets")
    }

    /// Waits a little, unless the deadline has passed.
    pub async fn pause(&self, deadline: Instant, what: &str) -> Result<(), CheckError> {
        if Instant::now() > deadline {
            return Err(unexpected(what, "within 30 s", "nothing"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    }

    pub fn deadline(&self) -> Instant {
        Instant::now() + PATIENCE
    }
}

/// Whether a client is meant to ask its coordinator again.
pub(super) fn is_passing(code: i16) -> bool {
    matches!(
        ResponseError::try_from_code(code),
        Some(
            ResponseError::ConcurrentTransactions
                | ResponseError::CoordinatorLoadInProgress
                | ResponseError::CoordinatorNotAvailable
                | ResponseError::NotCoordinator
        )
    )
}

pub(super) fn produce_request(
    topic: &str,
    partition: i32,
    transactional_id: Option<&str>,
    acks: i16,
    batch: Bytes,
) -> ProduceRequest {
    let partition = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data(vec![partition]);
    ProduceRequest::default()
        .with_transactional_id(transactional_id.map(transactional))
        .with_acks(acks)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic])
}

pub(super) fn fetch_request(version: i16, topic: &str, id: Uuid, reading: Reading) -> FetchRequest {
    let mut partition = FetchPartition::default()
        .with_fetch_offset(reading.offset)
        .with_partition_max_bytes(reading.max_bytes);
    if version >= 9 {
        partition = partition.with_current_leader_epoch(reading.leader_epoch);
    }
    let mut requested = FetchTopic::default().with_partitions(vec![partition]);
    if version >= 13 {
        requested = requested.with_topic_id(id);
    } else {
        requested = requested.with_topic(topic_name(topic));
    }
    let request = FetchRequest::default()
        .with_max_wait_ms(reading.max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(reading.max_bytes)
        .with_isolation_level(reading.isolation)
        .with_topics(vec![requested]);
    if version >= 7 {
        request.with_session_epoch(-1)
    } else {
        request
    }
}

/// The timestamp of the first record of every [`batch`]: now, as of the first call. A real broker begins a new segment
/// when times jump, as from 1970 to the time of a marker, and one fetch reads from one segment only.
pub(super) fn base_timestamp_ms() -> i64 {
    static BASE_MS: OnceLock<i64> = OnceLock::new();
    *BASE_MS.get_or_init(crate::sync::now_ms)
}

/// A batch of values, uncompressed, with timestamps 1 ms apart from [`base_timestamp_ms`] on.
pub(super) fn batch(writer: Writer, values: &[&str]) -> Bytes {
    let records: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(index, value)| record(writer, index as i64, base_timestamp_ms() + index as i64, value))
        .collect();
    encode(&records)
}

/// A batch of plain records with these timestamps; the values are the timestamps in text.
pub(super) fn timed_batch(timestamps_ms: &[i64]) -> Bytes {
    let records: Vec<_> = timestamps_ms
        .iter()
        .enumerate()
        .map(|(index, &timestamp_ms)| record(Writer::PLAIN, index as i64, timestamp_ms, &timestamp_ms.to_string()))
        .collect();
    encode(&records)
}

pub(super) fn record(writer: Writer, offset: i64, timestamp_ms: i64, value: &str) -> Record {
    // The encoder takes the base sequence from the first record, and wants the same distance to the offset in all.
    let sequence = writer.base_sequence.wrapping_add(offset as i32);
    Record {
        transactional: writer.transactional,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: writer.producer_id,
        producer_epoch: writer.producer_epoch,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence,
        timestamp: timestamp_ms,
        key: Some(Bytes::from_static(b"key")),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    }
}

fn encode(records: &[Record]) -> Bytes {
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    RecordBatchEncoder::encode(&mut out, records, &options).expect("uncompressed records of format v2 can be encoded");
    out.freeze()
}

/// The records of a fetch answer, those of control batches included.
pub(super) fn records_of(data: &PartitionData) -> Result<Vec<Record>, CheckError> {
    let mut bytes = data.records.clone().unwrap_or_default();
    let sets = RecordBatchDecoder::decode_all(&mut bytes);
    let sets = sets.map_err(|source| CheckError::Codec {
        request: "records of Fetch".to_owned(),
        source,
    })?;
    Ok(sets.into_iter().flat_map(|set| set.records).collect())
}

/// The values that a consumer hands on: it leaves out markers and the records of aborted transactions.
pub(super) fn visible_values(data: PartitionData) -> Result<Vec<String>, CheckError> {
    let mut to_come: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for aborted in data.aborted_transactions.iter().flatten() {
        to_come
            .entry(aborted.first_offset)
            .or_default()
            .push(aborted.producer_id.0);
    }
    let mut aborting: HashMap<i64, ()> = HashMap::new();
    let mut values = Vec::new();
    for record in records_of(&data)? {
        while let Some(entry) = to_come.first_entry().filter(|entry| *entry.key() <= record.offset) {
            aborting.extend(entry.remove().into_iter().map(|producer_id| (producer_id, ())));
        }
        if record.control {
            aborting.remove(&record.producer_id);
        } else if !(record.transactional && aborting.contains_key(&record.producer_id)) {
            values.push(String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned());
        }
    }
    Ok(values)
}

/// The only item of an answer to a request for one.
pub(super) fn only<T>(items: Vec<T>, what: &str) -> Result<T, CheckError> {
    let count = items.len();
    let mut items = items.into_iter();
    match (items.next(), items.next()) {
        (Some(item), None) => Ok(item),
        _ => Err(unexpected(
            format!("{what}: items in the answer"),
            "1",
            count.to_string(),
        )),
    }
}

pub(super) fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

pub(super) fn transactional(id: &str) -> TransactionalId {
    TransactionalId(text(id))
}
