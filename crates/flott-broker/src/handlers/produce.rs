//! Produce: checks each batch and appends it, transactional ones under the lock of their transactional id.

use std::sync::MutexGuard;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use crate::api::{Context, Outcome, Reply, RequestError};
use crate::batch::CheckedBatch;
use crate::partition::Offsets;
use crate::sync::lock;
use crate::transactions::Transaction;

/// The open transaction of the request: none named, or found and locked, or not to be found.
type Open<'a> = Option<Result<MutexGuard<'a, Transaction>, ResponseError>>;

pub(crate) fn produce(context: &Context<'_>, reply: &Reply, request: ProduceRequest) -> Result<Outcome, RequestError> {
    let transaction = request
        .transactional_id
        .as_ref()
        .map(|id| context.core.coordinator.find(id));
    // Held until the last batch is appended, so that the transaction cannot end in between.
    let open: Open<'_> = transaction
        .as_ref()
        .map(|found| found.as_ref().map(|found| lock(found)).map_err(|error| *error));
    let acks = request.acks;
    let acks_are_known = matches!(acks, -1..=1);
    let mut failed = false;
    let responses = request.topic_data.into_iter().map(|topic| {
        let partition_responses = topic.partition_data.into_iter().map(|partition| {
            let response = PartitionProduceResponse::default().with_index(partition.index);
            let appended = match acks_are_known {
                true => append(context, &topic.name, partition.index, partition.records, &open),
                false => Err(ResponseError::InvalidRequiredAcks),
            };
            match appended {
                Ok((base_offset, offsets)) => response
                    .with_base_offset(base_offset)
                    .with_log_append_time_ms(-1)
                    .with_log_start_offset(offsets.start),
                Err(error) => {
                    failed = true;
                    response
                        .with_error_code(error.code())
                        .with_base_offset(-1)
                        .with_log_append_time_ms(-1)
                }
            }
        });
        let partition_responses = partition_responses.collect();
        TopicProduceResponse::default()
            .with_name(topic.name)
            .with_partition_responses(partition_responses)
    });
    let response = ProduceResponse::default().with_responses(responses.collect());
    match acks {
        // Without an answer, closing the connection is the only way to say that something is wrong.
        0 if failed => Ok(Outcome::Close),
        0 => Ok(Outcome::Nothing),
        _ => Ok(Outcome::Answer(reply.encode(&response)?)),
    }
}

fn append(
    context: &Context<'_>,
    topic: &str,
    index: i32,
    records: Option<Bytes>,
    open: &Open<'_>,
) -> Result<(i64, Offsets), ResponseError> {
    context.fault()?;
    let found = context
        .core
        .topics
        .by_name(topic)
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    let partition = found.partition(index)?;
    let mut records = records.unwrap_or_default();
    let batch = CheckedBatch::split_from(&mut records)?;
    // From version 3 on a partition of a request holds exactly one batch; control batches are the broker's own.
    if !records.is_empty() || batch.header.is_control() {
        return Err(ResponseError::InvalidRecord);
    }
    if batch.size_bytes() > context.core.max_batch_bytes {
        return Err(ResponseError::MessageTooLarge);
    }
    if batch.header.is_transactional() {
        let transaction = open
            .as_ref()
            .ok_or(ResponseError::InvalidTxnState)?
            .as_ref()
            .map_err(|error| *error)?;
        transaction.check_append(&batch.header, &(topic.to_owned(), index))?;
    }
    partition.append(batch)
}
