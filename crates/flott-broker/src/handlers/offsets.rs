//! ListOffsets and OffsetForLeaderEpoch: finding positions in a log.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

use crate::api::Context;
use crate::log::{Isolation, Log, TimedOffset};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
/// "There is no such offset", "no such timestamp", "no such epoch".
const NONE: TimedOffset = TimedOffset {
    timestamp_ms: -1,
    offset: -1,
    leader_epoch: -1,
};

pub(crate) fn list_offsets(context: &Context<'_>, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation = Isolation::from_wire(request.isolation_level);
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let response = ListOffsetsPartitionResponse::default().with_partition_index(partition.partition_index);
            match list_offset(context, &topic.name, partition, isolation) {
                Ok(found) => {
                    // Epochs came with version 4, and the encoder insists.
                    let leader_epoch = if context.version >= 4 {
                        found.leader_epoch
                    } else {
                        NONE.leader_epoch
                    };
                    response
                        .with_timestamp(found.timestamp_ms)
                        .with_offset(found.offset)
                        .with_leader_epoch(leader_epoch)
                }
                Err(error) => response.with_error_code(error.code()),
            }
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default()
            .with_name(topic.name)
            .with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn list_offset(
    context: &Context<'_>,
    topic: &str,
    requested: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<TimedOffset, ResponseError> {
    context.fault()?;
    let topic = context
        .core
        .topics
        .by_name(topic)
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    let partition = topic.partition(requested.partition_index)?;
    partition.inspect(requested.current_leader_epoch, |log| {
        find_offset(log, requested.timestamp, isolation)
    })?
}

fn find_offset(log: &Log, timestamp: i64, isolation: Isolation) -> Result<TimedOffset, ResponseError> {
    let visible_end = match isolation {
        Isolation::ReadUncommitted => log.end_offset(),
        Isolation::ReadCommitted => log.last_stable_offset(),
    };
    let at = |offset| TimedOffset {
        timestamp_ms: -1,
        offset,
        leader_epoch: log.leader_epoch(),
    };
    let visible = |found: Option<TimedOffset>| found.filter(|found| found.offset < visible_end).unwrap_or(NONE);
    match timestamp {
        LATEST => Ok(at(visible_end)),
        EARLIEST | EARLIEST_LOCAL => Ok(at(log.start_offset())),
        MAX_TIMESTAMP => Ok(visible(log.offset_of_max_timestamp())),
        LATEST_TIERED => Ok(NONE),
        timestamp_ms if timestamp_ms >= 0 => Ok(visible(log.offset_at(timestamp_ms))),
        _ => Err(ResponseError::UnsupportedVersion),
    }
}

pub(crate) fn offset_for_leader_epoch(
    context: &Context<'_>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let response = EpochEndOffset::default().with_partition(partition.partition);
            match end_of_epoch(context, &topic.topic, partition) {
                Ok(Some((leader_epoch, end_offset))) => {
                    response.with_leader_epoch(leader_epoch).with_end_offset(end_offset)
                }
                Ok(None) => response.with_leader_epoch(-1).with_end_offset(-1),
                Err(error) => response.with_error_code(error.code()),
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic)
            .with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn end_of_epoch(
    context: &Context<'_>,
    topic: &str,
    requested: &OffsetForLeaderPartition,
) -> Result<Option<(i32, i64)>, ResponseError> {
    context.fault()?;
    let topic = context
        .core
        .topics
        .by_name(topic)
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    let partition = topic.partition(requested.partition)?;
    partition.inspect(requested.current_leader_epoch, |log| {
        log.end_of_epoch(requested.leader_epoch)
    })
}
