//! OffsetCommit, TxnOffsetCommit, OffsetFetch: the offsets of groups without members.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{code, text, topic_name};
use crate::api::Context;
use crate::groups::{CommittedOffset, TopicPartition};
use crate::transactions::ProducerIdAndEpoch;

/// Kafka's default of `offset.metadata.max.bytes`.
const MAX_METADATA_BYTES: usize = 4096;
/// First version that asks for several groups at once.
const FIRST_BATCHED_VERSION: i16 = 8;

/// Partitions by topic, as OffsetFetch asks for them; none means all.
type Wanted = Option<Vec<(TopicName, Vec<i32>)>>;
/// Answers by topic.
type Fetched = Vec<(TopicName, Vec<(i32, Result<Option<CommittedOffset>, ResponseError>)>)>;

pub(crate) fn offset_commit(context: &Context<'_>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    // A generation would be one of a group with members, and no group here has any.
    let member_check = match request.generation_id_or_member_epoch {
        i32::MIN..=-1 => Ok(()),
        _ => Err(ResponseError::IllegalGeneration),
    };
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let committed = context.fault().and(member_check).and_then(|()| {
                let key = existing_partition(context, &topic.name, partition.partition_index)?;
                let offset = committed_offset(
                    partition.committed_offset,
                    partition.committed_leader_epoch,
                    partition.committed_metadata.as_ref(),
                )?;
                context.core.groups.commit(&request.group_id, key, offset);
                Ok(())
            });
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(&committed))
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

pub(crate) fn txn_offset_commit(context: &Context<'_>, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let core = context.core;
    let producer = ProducerIdAndEpoch {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let committed = context.fault().and_then(|()| {
                let key = existing_partition(context, &topic.name, partition.partition_index)?;
                let offset = committed_offset(
                    partition.committed_offset,
                    partition.committed_leader_epoch,
                    partition.committed_metadata.as_ref(),
                )?;
                let commit = || {
                    core.groups
                        .commit_in_transaction(&request.group_id, producer.id, key, offset)
                };
                core.coordinator
                    .in_group_transaction(&request.transactional_id, producer, &request.group_id, commit)
            });
            // What Kafka's group coordinator answers to a fenced producer.
            let committed = committed.map_err(|error| match error {
                ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
                other => other,
            });
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(&committed))
        });
        let partitions = partitions.collect();
        TxnOffsetCommitResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(partitions)
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

pub(crate) fn offset_fetch(context: &Context<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let error_code = context.injected.map_or(0, |error| error.code());
    if context.version < FIRST_BATCHED_VERSION {
        let wanted = request.topics.map(|topics| {
            topics
                .into_iter()
                .map(|topic| (topic.name, topic.partition_indexes))
                .collect()
        });
        let topics = fetch_offsets(context, &request.group_id, wanted, request.require_stable);
        let topics = topics.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, found)| {
                let error_code = code(&found);
                let (offset, leader_epoch, metadata) = fields(found);
                OffsetFetchResponsePartition::default()
                    .with_partition_index(index)
                    .with_committed_offset(offset)
                    .with_committed_leader_epoch(leader_epoch)
                    .with_metadata(Some(metadata))
                    .with_error_code(error_code)
            });
            OffsetFetchResponseTopic::default()
                .with_name(name)
                .with_partitions(partitions.collect())
        });
        return OffsetFetchResponse::default()
            .with_error_code(error_code)
            .with_topics(topics.collect());
    }
    let groups = request.groups.into_iter().map(|group| {
        let wanted = group.topics.map(|topics| {
            topics
                .into_iter()
                .map(|topic| (topic.name, topic.partition_indexes))
                .collect()
        });
        let topics = fetch_offsets(context, &group.group_id, wanted, request.require_stable);
        let topics = topics.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, found)| {
                let error_code = code(&found);
                let (offset, leader_epoch, metadata) = fields(found);
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(index)
                    .with_committed_offset(offset)
                    .with_committed_leader_epoch(leader_epoch)
                    .with_metadata(Some(metadata))
                    .with_error_code(error_code)
            });
            OffsetFetchResponseTopics::default()
                .with_name(name)
                .with_partitions(partitions.collect())
        });
        OffsetFetchResponseGroup::default()
            .with_group_id(group.group_id)
            .with_topics(topics.collect())
            .with_error_code(error_code)
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

fn fetch_offsets(context: &Context<'_>, group: &str, wanted: Wanted, require_stable: bool) -> Fetched {
    let groups = &context.core.groups;
    let find = |partition: &TopicPartition| {
        context.fault()?;
        if require_stable && groups.is_unstable(group, partition) {
            return Err(ResponseError::UnstableOffsetCommit);
        }
        Ok(groups.committed(group, partition))
    };
    match wanted {
        Some(topics) => {
            let topics = topics.into_iter().map(|(name, partitions)| {
                let found = partitions
                    .into_iter()
                    .map(|index| (index, find(&(name.to_string(), index))));
                let found = found.collect();
                (name, found)
            });
            topics.collect()
        }
        None => {
            let mut fetched: Fetched = Vec::new();
            for (key, _) in groups.all_committed(group) {
                let name = topic_name(&key.0);
                let found = (key.1, find(&key));
                match fetched.last_mut() {
                    Some((last, partitions)) if *last == name => partitions.push(found),
                    _ => fetched.push((name, vec![found])),
                }
            }
            fetched
        }
    }
}

fn fields(found: Result<Option<CommittedOffset>, ResponseError>) -> (i64, i32, StrBytes) {
    match found {
        Ok(Some(committed)) => (committed.offset, committed.leader_epoch, text(&committed.metadata)),
        _ => (-1, -1, StrBytes::new()),
    }
}

fn existing_partition(context: &Context<'_>, topic: &str, index: i32) -> Result<TopicPartition, ResponseError> {
    let found = context
        .core
        .topics
        .by_name(topic)
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    found.partition(index)?;
    Ok((topic.to_owned(), index))
}

fn committed_offset(
    offset: i64,
    leader_epoch: i32,
    metadata: Option<&StrBytes>,
) -> Result<CommittedOffset, ResponseError> {
    let metadata = metadata.map(ToString::to_string).unwrap_or_default();
    if metadata.len() > MAX_METADATA_BYTES {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    Ok(CommittedOffset {
        offset,
        leader_epoch,
        metadata,
    })
}
