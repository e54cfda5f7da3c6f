//! The tasks behind a [`super::Producer`]: housekeeping, and one per broker that sends.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TransactionalId};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::watch;

use super::state::{Chore, Outgoing, Plan};
use super::{Acks, Shared};
use crate::kafka::client::cluster::{Purpose, TELL_AFTER, stale, topic_name};
use crate::kafka::client::connection::{Connection, PendingCall};
use crate::kafka::client::error::{ErrorCode, KafkaError};
use crate::kafka::client::offsets::TopicPartition;
use crate::kafka::client::transactions::ProducerIdentity;

/// From version 12 on a produce request adds its partitions to the transaction by itself, which is protocol TV2.
const MAX_VERSION: i16 = 11;

async fn wait(changed: &mut watch::Receiver<u64>, until: Option<Instant>) {
    match until {
        // The sender lives as long as `Shared`, which the task holds.
        None => drop(changed.changed().await),
        Some(at) => drop(tokio::time::timeout_at(at.into(), changed.changed()).await),
    }
}

/// Does one [`Chore`] after the other for as long as the producer lives.
pub(super) async fn keep_house(shared: Arc<Shared>) {
    let mut changed = shared.changed.subscribe();
    loop {
        changed.mark_unchanged();
        let (plan, has_failed, put_off) = {
            let mut state = shared.lock();
            let now = Instant::now();
            (
                state.plan_chore(shared.config.delivery_timeout, now),
                state.check().is_err(),
                state.put_off_since(now),
            )
        };
        if let Some((key, since, error)) = put_off
            && since.elapsed() >= TELL_AFTER
            && shared.client.may_tell()
        {
            tracing::warn!(
                "writing to kafka {key}: {error}; it is tried again for up to {} s ('delivery.timeout.ms')",
                shared.config.delivery_timeout.as_secs()
            );
        }
        if has_failed {
            shared.notify_caller();
        }
        match plan {
            Plan::Close => return,
            Plan::Wait(until) => wait(&mut changed, until).await,
            Plan::Do(chore) => {
                if let Err(e) = do_chore(&shared, chore).await {
                    shared.lock().fail(e);
                }
                shared.notify_tasks();
            }
        }
    }
}

async fn do_chore(shared: &Arc<Shared>, chore: Chore) -> Result<(), KafkaError> {
    let client = &shared.client;
    match chore {
        Chore::Identify(id) => {
            let identity = identify(shared, id.as_deref()).await?;
            shared.lock().identified(identity);
        }
        Chore::Register {
            id,
            identity,
            partitions,
        } => {
            let keys: Vec<TopicPartition> = partitions.iter().map(|(_, key)| key.clone()).collect();
            let budget = shared.config.delivery_timeout;
            client
                .add_partitions_to_transaction(&id, identity, &keys, budget)
                .await?;
            shared.lock().registered(&partitions);
        }
        Chore::Lead(partitions) => find_leaders(shared, partitions).await?,
    }
    Ok(())
}

/// Takes a producer id. A transaction timeout that nobody asked for is lowered to what the broker allows.
async fn identify(shared: &Shared, id: Option<&str>) -> Result<ProducerIdentity, KafkaError> {
    let client = &shared.client;
    match client.init_producer_id(id, shared.config.transaction_timeout).await {
        Err(e) if e.is(ResponseError::InvalidTransactionTimeout) && shared.config.may_lower_transaction_timeout => {
            let allowed = client.transaction_max_timeout().await?.ok_or(e)?;
            client
                .init_producer_id(id, allowed.min(shared.config.transaction_timeout))
                .await
        }
        outcome => outcome,
    }
}

async fn find_leaders(shared: &Arc<Shared>, partitions: Vec<(usize, TopicPartition)>) -> Result<(), KafkaError> {
    let client = &shared.client;
    let mut topics: Vec<&str> = partitions.iter().map(|(_, key)| &*key.topic).collect();
    topics.sort_unstable();
    topics.dedup();
    let retry_at = Instant::now() + client.config().retry_backoff;
    if let Err(e) = client.refresh(&topics).await {
        if !e.is_retriable() {
            return Err(e);
        }
        partitions
            .iter()
            .for_each(|(index, _)| shared.lock().put_off(*index, e.clone(), retry_at));
        return Ok(());
    }
    let cluster = client.cluster();
    for (index, key) in &partitions {
        let (topic, partition) = (&*key.topic, key.partition);
        let failure = match (cluster.topic(topic), cluster.leader(topic, partition)) {
            (None, _) => KafkaError::UnknownTopic {
                topic: topic.to_owned(),
            },
            (_, None) => KafkaError::UnknownPartition {
                topic: topic.to_owned(),
                partition,
            },
            (_, Some(leader)) => match leader.node {
                None => stale(topic, partition, ResponseError::LeaderNotAvailable),
                Some(node) => {
                    if shared.lock().lead(*index, node) {
                        client.runtime().spawn(send_to(shared.clone(), node));
                    }
                    continue;
                }
            },
        };
        shared.lock().put_off(*index, failure, retry_at);
    }
    Ok(())
}

/// A request under way and what it carries.
type Sent = (Vec<Outgoing>, Result<Option<ProduceResponse>, KafkaError>);

/// Sends to broker `node` for as long as the producer lives.
async fn send_to(shared: Arc<Shared>, node: i32) {
    let mut changed = shared.changed.subscribe();
    let mut under_way = FuturesUnordered::new();
    loop {
        changed.mark_unchanged();
        let mut until = None;
        while under_way.len() < shared.config.max_in_flight {
            let plan = shared.lock().plan_send(node, &shared.config, Instant::now());
            match plan {
                Plan::Close => return,
                Plan::Wait(at) => {
                    until = at;
                    break;
                }
                Plan::Do(batches) => match start(&shared, node, batches).await {
                    Err((batches, error)) => take_answer(&shared, (batches, Err(error))),
                    Ok((batches, None)) => take_answer(&shared, (batches, Ok(None))),
                    Ok((batches, Some(call))) => {
                        under_way.push(async move { (batches, call.answer().await.map(Some)) })
                    }
                },
            }
        }
        tokio::select! {
            Some(sent) = under_way.next(), if !under_way.is_empty() => take_answer(&shared, sent),
            () = wait(&mut changed, until) => {}
        }
    }
}

type Started = (Vec<Outgoing>, Option<PendingCall<ProduceResponse>>);

/// Encodes what is not, and puts the request into the connection's queue.
async fn start(shared: &Shared, node: i32, mut batches: Vec<Outgoing>) -> Result<Started, (Vec<Outgoing>, KafkaError)> {
    for batch in &mut batches {
        let Some((encoder, stamp)) = batch.encode.take() else {
            continue;
        };
        match encoder.finish(shared.config.codec, stamp) {
            Ok(bytes) => {
                shared.lock().encoded(batch.partition, batch.number, &bytes);
                batch.bytes = bytes;
            }
            Err(reason) => {
                let option = "compression.type".to_owned();
                return Err((batches, KafkaError::Config { option, reason }));
            }
        }
    }
    let connection = match shared.client.connection(node, Purpose::Produce).await {
        Ok(connection) => connection,
        Err(e) => return Err((batches, e)),
    };
    match queue_request(shared, &connection, &mut batches) {
        Ok(call) => Ok((batches, call)),
        Err(e) => Err((batches, e)),
    }
}

fn queue_request(
    shared: &Shared,
    connection: &Connection,
    batches: &mut [Outgoing],
) -> Result<Option<PendingCall<ProduceResponse>>, KafkaError> {
    let version = connection.version::<ProduceRequest>(3, MAX_VERSION)?;
    let mut topics: Vec<TopicProduceData> = Vec::new();
    for batch in batches {
        let data = PartitionProduceData::default()
            .with_index(batch.key.partition)
            .with_records(Some(std::mem::replace(&mut batch.bytes, Bytes::new())));
        match topics.iter_mut().find(|t| *t.name.0 == *batch.key.topic) {
            Some(topic) => topic.partition_data.push(data),
            None => topics.push(
                TopicProduceData::default()
                    .with_name(topic_name(&batch.key.topic))
                    .with_partition_data(vec![data]),
            ),
        }
    }
    let transactional_id = shared
        .lock()
        .transactional_id()
        .map(|id| TransactionalId(StrBytes::from_string(id.to_owned())));
    let request = ProduceRequest::default()
        .with_transactional_id(transactional_id)
        .with_acks(shared.config.acks.wire())
        .with_timeout_ms(shared.client.config().request_timeout.as_millis() as i32)
        .with_topic_data(topics);
    match shared.config.acks {
        Acks::None => connection.send_unanswered(&request, version).map(|()| None),
        _ => connection.start(&request, version).map(Some),
    }
}

fn take_answer(shared: &Shared, (batches, answer): Sent) {
    let retry_at = Instant::now() + shared.client.config().retry_backoff;
    {
        let mut state = shared.lock();
        match answer {
            // Asked for no acknowledgement.
            Ok(None) => batches.iter().for_each(|b| state.acknowledged(b.partition, b.number)),
            Ok(Some(answer)) => {
                for batch in &batches {
                    let found = answer
                        .responses
                        .iter()
                        .filter(|t| *t.name.0 == *batch.key.topic)
                        .flat_map(|t| &t.partition_responses)
                        .find(|p| p.index == batch.key.partition);
                    let Some(found) = found else {
                        state.fail(KafkaError::Malformed {
                            broker: String::new(),
                            api: "Produce",
                            reason: format!("the answer misses {}", batch.key),
                        });
                        continue;
                    };
                    let Some(code) = ErrorCode::of(found.error_code) else {
                        state.acknowledged(batch.partition, batch.number);
                        continue;
                    };
                    let error = KafkaError::Broker {
                        api: "Produce",
                        target: batch.key.to_string(),
                        code,
                        message: found.error_message.as_ref().map(|m| m.to_string()),
                    };
                    let was_before_lost_one = code.is(ResponseError::OutOfOrderSequenceNumber)
                        && !state.is_oldest(batch.partition, batch.number);
                    if code.is(ResponseError::DuplicateSequenceNumber) {
                        state.acknowledged(batch.partition, batch.number);
                    } else if code.is_retriable() || was_before_lost_one {
                        let is_leader_lost = code.is_stale_metadata();
                        state.resend(batch.partition, batch.number, error, is_leader_lost, retry_at);
                    } else {
                        state.fail(error);
                    }
                }
            }
            Err(e) if e.is_retriable() => {
                for batch in &batches {
                    state.resend(batch.partition, batch.number, e.clone(), true, retry_at);
                }
            }
            Err(e) => state.fail(e),
        }
    }
    shared.notify_tasks();
    shared.notify_caller();
}
