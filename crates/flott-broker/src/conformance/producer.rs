//! The requests of a transactional producer, in short form.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::describe_transactions_response::TransactionState;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest, InitProducerIdRequest,
    InitProducerIdResponse, ProducerId,
};

use super::client::{CheckError, expect, unexpected};
use super::groups::{TRANSACTION, await_coordinator};
use super::session::{Session, Writer, batch, is_passing, only, topic_name, transactional};
use crate::transactions::ProducerIdAndEpoch;

/// The transaction timeout of most checks.
pub(super) const TIMEOUT_MS: i32 = 60_000;

/// A producer for a transactional id, asked for until the coordinator is ready.
pub(super) async fn init(session: &mut Session, id: &str) -> Result<ProducerIdAndEpoch, CheckError> {
    init_with(session, id, TIMEOUT_MS).await
}

pub(super) async fn init_with(
    session: &mut Session,
    id: &str,
    timeout_ms: i32,
) -> Result<ProducerIdAndEpoch, CheckError> {
    await_coordinator(session, TRANSACTION, id).await?;
    let deadline = session.deadline();
    loop {
        let response = try_init(session, 4, id, timeout_ms, None).await?;
        if !is_passing(response.error_code) {
            expect("InitProducerId", response.error_code, 0)?;
            return Ok(ProducerIdAndEpoch {
                id: response.producer_id.0,
                epoch: response.producer_epoch,
            });
        }
        session.pause(deadline, "InitProducerId").await?;
    }
}

pub(super) async fn try_init(
    session: &mut Session,
    version: i16,
    id: &str,
    timeout_ms: i32,
    claimed: Option<ProducerIdAndEpoch>,
) -> Result<InitProducerIdResponse, CheckError> {
    let claimed = claimed.unwrap_or(ProducerIdAndEpoch { id: -1, epoch: -1 });
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(transactional(id)))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(ProducerId(claimed.id))
        .with_producer_epoch(claimed.epoch);
    session.client.call(&request, version).await
}

/// Adds partition 0 of a topic, which opens the transaction.
pub(super) async fn begin(
    session: &mut Session,
    id: &str,
    producer: ProducerIdAndEpoch,
    topic: &str,
) -> Result<(), CheckError> {
    expect("AddPartitionsToTxn", add(session, 3, id, producer, topic).await?, 0)
}

pub(super) async fn add(
    session: &mut Session,
    version: i16,
    id: &str,
    producer: ProducerIdAndEpoch,
    topic: &str,
) -> Result<i16, CheckError> {
    let requested = AddPartitionsToTxnTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![0]);
    let request = add_request(id, producer, vec![requested]);
    let deadline = session.deadline();
    loop {
        let response = session.client.call(&request, version).await?;
        let topic = only(response.results_by_topic_v3_and_below, "AddPartitionsToTxn")?;
        let error_code = only(topic.results_by_partition, "AddPartitionsToTxn")?.partition_error_code;
        if !is_passing(error_code) {
            return Ok(error_code);
        }
        session.pause(deadline, "AddPartitionsToTxn").await?;
    }
}

pub(super) fn add_request(
    id: &str,
    producer: ProducerIdAndEpoch,
    topics: Vec<AddPartitionsToTxnTopic>,
) -> AddPartitionsToTxnRequest {
    AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(transactional(id))
        .with_v3_and_below_producer_id(ProducerId(producer.id))
        .with_v3_and_below_producer_epoch(producer.epoch)
        .with_v3_and_below_topics(topics)
}

pub(super) async fn write(
    session: &mut Session,
    id: &str,
    producer: ProducerIdAndEpoch,
    topic: &str,
    base_sequence: i32,
    values: &[&str],
) -> Result<(), CheckError> {
    let error_code = try_write(session, id, producer, topic, base_sequence, values).await?;
    expect(format!("Produce {values:?} in the transaction"), error_code, 0)
}

pub(super) async fn try_write(
    session: &mut Session,
    id: &str,
    producer: ProducerIdAndEpoch,
    topic: &str,
    base_sequence: i32,
    values: &[&str],
) -> Result<i16, CheckError> {
    let writer = Writer {
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        base_sequence,
        transactional: true,
    };
    let deadline = session.deadline();
    loop {
        let response = session.produce(topic, Some(id), batch(writer, values)).await?;
        // How a real broker tells old producers that the coordinator is still busy with the last transaction.
        if response.error_code != ResponseError::NotEnoughReplicas.code() {
            return Ok(response.error_code);
        }
        session.pause(deadline, "Produce in a transaction").await?;
    }
}

/// Ends the transaction; asks again while the coordinator is busy with just that.
pub(super) async fn end(
    session: &mut Session,
    version: i16,
    id: &str,
    producer: ProducerIdAndEpoch,
    commit: bool,
) -> Result<i16, CheckError> {
    let request = EndTxnRequest::default()
        .with_transactional_id(transactional(id))
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_committed(commit);
    let deadline = session.deadline();
    loop {
        let error_code = session.client.call(&request, version).await?.error_code;
        if !is_passing(error_code) {
            return Ok(error_code);
        }
        session.pause(deadline, "EndTxn").await?;
    }
}

pub(super) async fn describe(session: &mut Session, id: &str) -> Result<TransactionState, CheckError> {
    let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![transactional(id)]);
    let described = only(
        session.client.call(&request, 0).await?.transaction_states,
        "DescribeTransactions",
    )?;
    if described.error_code != 0 {
        return Err(unexpected(
            "DescribeTransactions",
            "0",
            described.error_code.to_string(),
        ));
    }
    Ok(described)
}
