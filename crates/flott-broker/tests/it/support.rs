//! Requests in short form.

use anyhow::{Context, Result};
use bytes::Bytes;
use flott_broker::conformance::Client;
use flott_broker::{PlainRecord, encode_batch};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, FetchRequest, InitProducerIdRequest, ProduceRequest, ProducerId,
    TopicName, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{Record, RecordBatchDecoder};

pub fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

pub fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

pub fn transactional(id: &str) -> TransactionalId {
    TransactionalId(text(id))
}

/// One batch of values without keys, all at time 1000.
pub fn batch(values: &[&str]) -> Bytes {
    let records: Vec<_> = values
        .iter()
        .map(|value| PlainRecord {
            timestamp_ms: 1000,
            key: None,
            value: Some(value.as_bytes()),
        })
        .collect();
    encode_batch(&records).expect("values were given")
}

/// Produces to partition 0: error code and offset.
pub async fn produce(client: &mut Client, topic: &str, batch: Bytes) -> Result<(i16, i64)> {
    let partition = PartitionProduceData::default().with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data(vec![partition]);
    let request = ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(-1)
        .with_topic_data(vec![topic]);
    let response = client.call(&request, 9).await?;
    let partition = response
        .responses
        .first()
        .and_then(|topic| topic.partition_responses.first());
    let partition = partition.context("an answer for the partition")?;
    Ok((partition.error_code, partition.base_offset))
}

pub fn fetch_request(topic: &str, offset: i64, min_bytes: i32, max_wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_partition_max_bytes(64 << 20);
    let topic = FetchTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_session_epoch(-1)
        .with_max_bytes(64 << 20)
        .with_min_bytes(min_bytes)
        .with_max_wait_ms(max_wait_ms)
        .with_topics(vec![topic])
}

/// Fetches partition 0 at once.
pub async fn fetch(client: &mut Client, topic: &str, offset: i64) -> Result<PartitionData> {
    let response = client.call(&fetch_request(topic, offset, 1, 0), 12).await?;
    let topic = response
        .responses
        .into_iter()
        .next()
        .context("an answer for the topic")?;
    topic
        .partitions
        .into_iter()
        .next()
        .context("an answer for the partition")
}

pub fn records(data: &PartitionData) -> Result<Vec<Record>> {
    let mut bytes = data.records.clone().unwrap_or_default();
    Ok(RecordBatchDecoder::decode_all(&mut bytes)?
        .into_iter()
        .flat_map(|set| set.records)
        .collect())
}

/// A producer id and epoch for a transactional id.
pub async fn init_producer(client: &mut Client, id: &str, timeout_ms: i32) -> Result<(ProducerId, i16)> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(transactional(id)))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    let response = client.call(&request, 4).await?;
    anyhow::ensure!(response.error_code == 0, "InitProducerId: {}", response.error_code);
    Ok((response.producer_id, response.producer_epoch))
}

/// Opens a transaction with partition 0 of a topic: error code.
pub async fn add_partition(client: &mut Client, id: &str, producer: (ProducerId, i16), topic: &str) -> Result<i16> {
    let topic = AddPartitionsToTxnTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![0]);
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(transactional(id))
        .with_v3_and_below_producer_id(producer.0)
        .with_v3_and_below_producer_epoch(producer.1)
        .with_v3_and_below_topics(vec![topic]);
    let response = client.call(&request, 3).await?;
    let topic = response.results_by_topic_v3_and_below.first();
    let partition = topic.and_then(|topic| topic.results_by_partition.first());
    Ok(partition.context("an answer for the partition")?.partition_error_code)
}

pub fn commit_request(id: &str, producer: (ProducerId, i16)) -> EndTxnRequest {
    EndTxnRequest::default()
        .with_transactional_id(transactional(id))
        .with_producer_id(producer.0)
        .with_producer_epoch(producer.1)
        .with_committed(true)
}
