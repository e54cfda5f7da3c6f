//! The requests of transactional producers, and of those who look at transactions.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState as Description};
use kafka_protocol::messages::list_transactions_response::TransactionState as Listing;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    DescribeTransactionsRequest, DescribeTransactionsResponse, EndTxnRequest, EndTxnResponse, InitProducerIdRequest,
    InitProducerIdResponse, ListTransactionsRequest, ListTransactionsResponse, ProducerId, TransactionalId,
};

use super::{code, text, topic_name};
use crate::api::Context;
use crate::sync::{lock, now_ms};
use crate::transactions::ProducerIdAndEpoch;

/// All states that Kafka knows; a filter may name those that never show here, too.
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

pub(crate) fn init_producer_id(context: &Context<'_>, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let claimed = ProducerIdAndEpoch {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let outcome = context.fault().and_then(|()| {
        let transactional_id = request.transactional_id.as_ref().map(|id| id.as_str());
        let claimed = (claimed.id >= 0 && claimed.epoch >= 0).then_some(claimed);
        context
            .core
            .coordinator
            .init_producer_id(transactional_id, request.transaction_timeout_ms, claimed)
    });
    let outcome = known_to_clients_before(4, context.version, outcome);
    let response = InitProducerIdResponse::default().with_error_code(code(&outcome));
    match outcome {
        Ok(producer) => response
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch),
        Err(_) => response.with_producer_id(ProducerId(-1)).with_producer_epoch(-1),
    }
}

pub(crate) fn add_partitions_to_txn(
    context: &Context<'_>,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let core = context.core;
    let exists = |topic: &str, partition: i32| {
        core.topics
            .by_name(topic)
            .is_some_and(|topic| topic.partition(partition).is_ok())
    };
    let topics = request.v3_and_below_topics;
    let all = || {
        topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|&index| (topic.name.as_str(), index)))
    };
    let some_missing = all().any(|(topic, partition)| !exists(topic, partition));
    let producer = ProducerIdAndEpoch {
        id: request.v3_and_below_producer_id.0,
        epoch: request.v3_and_below_producer_epoch,
    };
    let outcome = context.fault().and_then(|()| {
        if some_missing {
            return Err(ResponseError::OperationNotAttempted);
        }
        let partitions = all().map(|(topic, partition)| (topic.to_owned(), partition));
        core.coordinator
            .add_partitions(&request.v3_and_below_transactional_id, producer, partitions)
    });
    let outcome = known_to_clients_before(2, context.version, outcome);
    let results = topics.iter().map(|topic| {
        let results = topic.partitions.iter().map(|&index| {
            let is_cause = outcome == Err(ResponseError::OperationNotAttempted) && !exists(&topic.name, index);
            let error_code = if is_cause {
                ResponseError::UnknownTopicOrPartition.code()
            } else {
                code(&outcome)
            };
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(index)
                .with_partition_error_code(error_code)
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(results.collect())
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
}

pub(crate) fn add_offsets_to_txn(context: &Context<'_>, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let producer = ProducerIdAndEpoch {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let outcome = context.fault().and_then(|()| {
        context
            .core
            .coordinator
            .add_group(&request.transactional_id, producer, &request.group_id)
    });
    let outcome = known_to_clients_before(2, context.version, outcome);
    AddOffsetsToTxnResponse::default().with_error_code(code(&outcome))
}

pub(crate) fn end_txn(context: &Context<'_>, request: EndTxnRequest) -> EndTxnResponse {
    let producer = ProducerIdAndEpoch {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let outcome = context.fault().and_then(|()| {
        context
            .core
            .coordinator
            .end(&request.transactional_id, producer, request.committed)
    });
    let outcome = known_to_clients_before(2, context.version, outcome);
    EndTxnResponse::default().with_error_code(code(&outcome))
}

pub(crate) fn list_transactions(context: &Context<'_>, request: ListTransactionsRequest) -> ListTransactionsResponse {
    if let Some(error) = context.injected {
        return ListTransactionsResponse::default().with_error_code(error.code());
    }
    let (known, unknown): (Vec<_>, Vec<_>) = request
        .state_filters
        .into_iter()
        .partition(|state| STATES.contains(&state.as_str()));
    let any_state = known.is_empty() && unknown.is_empty();
    let any_producer = request.producer_id_filters.is_empty();
    let now_ms = now_ms();
    let wanted = context.core.coordinator.all().into_iter().filter(|(_, transaction)| {
        let state_fits = any_state || known.iter().any(|state| state.as_str() == transaction.state.name());
        let producer_fits = any_producer
            || request
                .producer_id_filters
                .iter()
                .any(|id| id.0 == transaction.producer.id);
        let is_old_enough = request.duration_filter < 0
            || transaction
                .started_ms
                .is_some_and(|started_ms| now_ms - started_ms > request.duration_filter);
        state_fits && producer_fits && is_old_enough
    });
    let states = wanted.map(|(id, transaction)| {
        Listing::default()
            .with_transactional_id(TransactionalId(text(&id)))
            .with_producer_id(ProducerId(transaction.producer.id))
            .with_transaction_state(text(transaction.state.name()))
    });
    let states = states.collect();
    ListTransactionsResponse::default()
        .with_unknown_state_filters(unknown)
        .with_transaction_states(states)
}

pub(crate) fn describe_transactions(
    context: &Context<'_>,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.into_iter().map(|id| {
        let description = describe_transaction(context, &id);
        let description = description.unwrap_or_else(|error| Description::default().with_error_code(error.code()));
        description.with_transactional_id(id)
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

fn describe_transaction(context: &Context<'_>, id: &str) -> Result<Description, ResponseError> {
    context.fault()?;
    let found = context.core.coordinator.find(id).map_err(|error| match error {
        ResponseError::InvalidProducerIdMapping => ResponseError::TransactionalIdNotFound,
        other => other,
    })?;
    let transaction = lock(&found).clone();
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in &transaction.partitions {
        by_topic.entry(topic).or_default().push(*partition);
    }
    let topics = by_topic.into_iter().map(|(topic, partitions)| {
        TopicData::default()
            .with_topic(topic_name(topic))
            .with_partitions(partitions)
    });
    Ok(Description::default()
        .with_transaction_state(text(transaction.state.name()))
        .with_transaction_timeout_ms(transaction.timeout_ms)
        .with_transaction_start_time_ms(transaction.started_ms.unwrap_or(-1))
        .with_producer_id(ProducerId(transaction.producer.id))
        .with_producer_epoch(transaction.producer.epoch)
        .with_topics(topics.collect()))
}

/// PRODUCER_FENCED came late into the protocol; older versions of a request get INVALID_PRODUCER_EPOCH for it.
fn known_to_clients_before<T>(
    first_version: i16,
    version: i16,
    outcome: Result<T, ResponseError>,
) -> Result<T, ResponseError> {
    match outcome {
        Err(ResponseError::ProducerFenced) if version < first_version => Err(ResponseError::InvalidProducerEpoch),
        other => other,
    }
}
