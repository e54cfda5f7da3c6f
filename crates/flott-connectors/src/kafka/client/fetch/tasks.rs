//! The tasks behind a [`super::Fetcher`]: one that follows leaders, one per broker that fetches.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use tokio::sync::watch;
use uuid::Uuid;

use super::state::{Plan, Wanted};
use super::{AbortedTransaction, Fetched, Shared};
use crate::kafka::client::cluster::{Purpose, topic_name};
use crate::kafka::client::error::{ErrorCode, KafkaError};
use crate::kafka::client::offsets::{Isolation, OffsetAt};

/// From here on topics are named by id.
const FIRST_VERSION_BY_ID: i16 = 13;
const MAX_VERSION: i16 = 16;

async fn wait(changed: &mut watch::Receiver<u64>, until: Option<Instant>) {
    match until {
        // The sender lives as long as `Shared`, which the task holds.
        None => drop(changed.changed().await),
        Some(at) => drop(tokio::time::timeout_at(at.into(), changed.changed()).await),
    }
}

/// Finds leaders for partitions that have none, and checks topic ids every `metadata.max.age.ms`.
pub(super) async fn follow_leaders(shared: Arc<Shared>) {
    let mut changed = shared.changed.subscribe();
    let max_age = shared.client.config().metadata_max_age;
    let mut next_full = Instant::now() + max_age;
    loop {
        let now = Instant::now();
        let all = now >= next_full;
        if all {
            next_full = now + max_age;
        }
        let plan = shared.lock().plan_leaders(all, now);
        let wanted = match plan {
            Plan::Close => return,
            Plan::Wait(until) => {
                wait(&mut changed, Some(until.map_or(next_full, |u| u.min(next_full)))).await;
                continue;
            }
            Plan::Do(wanted) => wanted,
        };
        changed.mark_unchanged();
        find_leaders(&shared, wanted).await;
    }
}

async fn find_leaders(shared: &Arc<Shared>, wanted: Vec<Wanted>) {
    let mut topics: Vec<&str> = wanted.iter().map(|w| &*w.partition.topic).collect();
    topics.dedup();
    let refreshed = shared.client.refresh(&topics).await;
    let cluster = shared.client.cluster();
    let mut is_news = false;
    let mut new_brokers = Vec::new();
    for w in &wanted {
        let (topic, partition) = (&*w.partition.topic, w.partition.partition);
        if let Err(e) = &refreshed {
            is_news |= after_failure(shared, w, e.clone());
            continue;
        }
        let Some(found) = cluster.topic(topic) else {
            let unknown = KafkaError::UnknownTopic {
                topic: topic.to_owned(),
            };
            is_news |= put_off(shared, w, unknown, true);
            continue;
        };
        let id = Some(found.id).filter(|id| !id.is_nil());
        if let (Some(old), Some(new)) = (w.topic_id, id)
            && old != new
        {
            let (old, new) = (old.to_string(), new.to_string());
            is_news |= shared.lock().fail(
                w,
                KafkaError::TopicRecreated {
                    topic: topic.to_owned(),
                    old,
                    new,
                },
            );
            continue;
        }
        match cluster.leader(topic, partition) {
            None => {
                let unknown = KafkaError::UnknownPartition {
                    topic: topic.to_owned(),
                    partition,
                };
                is_news |= put_off(shared, w, unknown, true);
            }
            Some(leader) => match leader.node {
                None => {
                    let e = crate::kafka::client::cluster::stale(topic, partition, ResponseError::LeaderNotAvailable);
                    is_news |= put_off(shared, w, e, true);
                }
                Some(node) => {
                    if shared.lock().lead(w, id, node, leader.epoch) {
                        new_brokers.push(node);
                    }
                }
            },
        }
    }
    for node in new_brokers {
        shared.client.runtime().spawn(fetch_from(shared.clone(), node));
    }
    shared.notify_tasks();
    if is_news {
        (shared.waker)();
    }
}

fn put_off(shared: &Shared, w: &Wanted, error: KafkaError, is_leader_lost: bool) -> bool {
    let config = shared.client.config();
    let limits = (config.retry_backoff, config.api_timeout);
    let is_news = shared.lock().put_off(w, error, is_leader_lost, Instant::now(), limits);
    shared.notify_tasks();
    is_news
}

fn after_failure(shared: &Shared, w: &Wanted, error: KafkaError) -> bool {
    if error.is_retriable() {
        put_off(shared, w, error, true)
    } else {
        shared.lock().fail(w, error)
    }
}

/// Fetches from broker `node` for as long as the fetcher lives.
async fn fetch_from(shared: Arc<Shared>, node: i32) {
    let mut changed = shared.changed.subscribe();
    loop {
        changed.mark_unchanged();
        let plan = shared
            .lock()
            .plan_fetch(node, shared.config.queue_bytes, Instant::now());
        let wanted = match plan {
            Plan::Close => return,
            Plan::Wait(until) => {
                wait(&mut changed, until).await;
                continue;
            }
            Plan::Do(wanted) => wanted,
        };
        let is_news = match fetch_once(&shared, node, &wanted).await {
            Ok(response) => take_answer(&shared, &wanted, response).await,
            Err(e) => wanted
                .iter()
                .fold(false, |news, w| after_failure(&shared, w, e.clone()) | news),
        };
        if is_news {
            (shared.waker)();
        }
    }
}

async fn fetch_once(shared: &Shared, node: i32, wanted: &[Wanted]) -> Result<FetchResponse, KafkaError> {
    let connection = shared.client.connection(node, Purpose::Fetch).await?;
    let have_ids = wanted.iter().all(|w| w.topic_id.is_some());
    let max_version = if have_ids { MAX_VERSION } else { FIRST_VERSION_BY_ID - 1 };
    let version = connection.version::<FetchRequest>(4, max_version)?;
    let config = &shared.config;
    let mut topics: Vec<FetchTopic> = Vec::new();
    for w in wanted {
        let partition = FetchPartition::default()
            .with_partition(w.partition.partition)
            .with_current_leader_epoch(w.leader_epoch)
            .with_fetch_offset(w.offset)
            .with_partition_max_bytes(config.partition_max_bytes as i32);
        match topics.iter_mut().find(|t| *t.topic.0 == *w.partition.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(
                FetchTopic::default()
                    .with_topic(topic_name(&w.partition.topic))
                    .with_topic_id(w.topic_id.unwrap_or_default())
                    .with_partitions(vec![partition]),
            ),
        }
    }
    let room = config.queue_bytes.saturating_sub(shared.lock().queued_bytes()).max(1);
    let request = FetchRequest::default()
        .with_max_wait_ms(config.max_wait.as_millis() as i32)
        .with_min_bytes(config.min_bytes as i32)
        .with_max_bytes(config.max_bytes.min(room) as i32)
        .with_isolation_level(config.isolation.wire())
        .with_topics(topics);
    let timeout = shared.client.config().request_timeout + config.max_wait;
    connection.start_for(&request, version, timeout)?.answer().await
}

/// Takes each partition's part; `true` when the caller's thread has something new.
async fn take_answer(shared: &Shared, wanted: &[Wanted], response: FetchResponse) -> bool {
    if let Some(code) = ErrorCode::of(response.error_code) {
        let error = KafkaError::Broker {
            api: "Fetch",
            target: "the whole request".into(),
            code,
            message: None,
        };
        return wanted
            .iter()
            .fold(false, |news, w| after_failure(shared, w, error.clone()) | news);
    }
    let mut by_partition: HashMap<(&str, i32), &Wanted> = HashMap::new();
    let mut by_id: HashMap<(Uuid, i32), &Wanted> = HashMap::new();
    for w in wanted {
        by_partition.insert((&w.partition.topic, w.partition.partition), w);
        by_id.insert((w.topic_id.unwrap_or_default(), w.partition.partition), w);
    }
    let mut is_news = false;
    for topic in response.responses {
        for part in topic.partitions {
            let w = match topic.topic_id.is_nil() {
                true => by_partition.get(&(&*topic.topic.0, part.partition_index)),
                false => by_id.get(&(topic.topic_id, part.partition_index)),
            };
            if let Some(w) = w {
                is_news |= take_partition(shared, w, part).await;
            }
        }
    }
    is_news
}

async fn take_partition(shared: &Shared, w: &Wanted, part: PartitionData) -> bool {
    let Some(code) = ErrorCode::of(part.error_code) else {
        let aborted = match shared.config.isolation {
            Isolation::ReadUncommitted => Vec::new(),
            Isolation::ReadCommitted => part
                .aborted_transactions
                .unwrap_or_default()
                .into_iter()
                .map(|a| AbortedTransaction {
                    producer_id: a.producer_id.0,
                    first_offset: a.first_offset,
                })
                .collect(),
        };
        let fetched = Fetched {
            topic: w.partition.topic.clone(),
            partition: w.partition.partition,
            fetch_offset: w.offset,
            records: part.records.unwrap_or_default(),
            high_watermark: part.high_watermark,
            aborted,
        };
        return shared.lock().fetched(w, fetched);
    };
    let error = KafkaError::Broker {
        api: "Fetch",
        target: w.partition.to_string(),
        code,
        message: None,
    };
    if code.is(ResponseError::OffsetOutOfRange) {
        return judge_out_of_range(shared, w, error).await;
    }
    if code.is_stale_metadata() {
        put_off(shared, w, error, true)
    } else if code.is_retriable() {
        put_off(shared, w, error, false)
    } else {
        shared.lock().fail(w, error)
    }
}

/// Tells a topic made again from an offset that was deleted or lost, and either from a leader that lags for a moment.
async fn judge_out_of_range(shared: &Shared, w: &Wanted, error: KafkaError) -> bool {
    let client = &shared.client;
    if let Some(old) = w.topic_id
        && client.refresh(&[&w.partition.topic]).await.is_ok()
        && let Some(topic) = client.cluster().topic(&w.partition.topic)
        && !topic.id.is_nil()
        && topic.id != old
    {
        let (topic, old, new) = (w.partition.topic.to_string(), old.to_string(), topic.id.to_string());
        return shared.lock().fail(w, KafkaError::TopicRecreated { topic, old, new });
    }
    let ask = async |at| {
        let found = client
            .list_offsets(&[(w.partition.clone(), at)], Isolation::ReadUncommitted)
            .await?;
        Ok::<_, KafkaError>(found.get(&w.partition).copied().flatten().unwrap_or(0))
    };
    let (earliest, latest) = match (ask(OffsetAt::Earliest).await, ask(OffsetAt::Latest).await) {
        (Ok(earliest), Ok(latest)) => (earliest, latest),
        (Err(e), _) | (_, Err(e)) => return after_failure(shared, w, e),
    };
    if (earliest..=latest).contains(&w.offset) {
        return put_off(shared, w, error, true);
    }
    shared.lock().out_of_range(w, earliest, latest)
}
