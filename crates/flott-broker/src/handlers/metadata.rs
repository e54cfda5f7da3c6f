//! Metadata: brokers, topics, leaders. Asking for a topic may make it.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse};

use super::{NODE_ID, text, topic_name};
use crate::api::Context;
use crate::topics::Topic;

pub(crate) fn metadata(context: &Context<'_>, request: MetadataRequest) -> MetadataResponse {
    let core = context.core;
    // Before version 4 the request could not say no.
    let may_create = request.allow_auto_topic_creation || context.version < 4;
    let topics = match request.topics {
        Some(topics) if !(topics.is_empty() && context.version == 0) => topics
            .into_iter()
            .map(|topic| requested_topic(context, topic, may_create))
            .collect(),
        _ => core
            .topics
            .all()
            .iter()
            .map(|topic| found_topic(context, topic))
            .collect(),
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE_ID))
        .with_host(text(&core.address.ip().to_string()))
        .with_port(core.address.port().into());
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(&core.cluster_id)))
        .with_controller_id(BrokerId(NODE_ID))
        .with_topics(topics)
}

fn requested_topic(context: &Context<'_>, requested: MetadataRequestTopic, may_create: bool) -> MetadataResponseTopic {
    let topics = &context.core.topics;
    let found = context.fault().and_then(|()| match &requested.name {
        Some(name) => topics.by_name_or_create(name, may_create),
        None => topics.by_id(requested.topic_id).ok_or(ResponseError::UnknownTopicId),
    });
    match found {
        Ok(topic) => found_topic(context, &topic),
        Err(error) => {
            // Null names exist from version 12 on, where a client may ask by id.
            let name = requested.name.or_else(|| (context.version < 12).then(Default::default));
            MetadataResponseTopic::default()
                .with_error_code(error.code())
                .with_name(name)
                .with_topic_id(requested.topic_id)
        }
    }
}

fn found_topic(context: &Context<'_>, topic: &Arc<Topic>) -> MetadataResponseTopic {
    let partitions = topic.partitions.iter().enumerate().map(|(index, partition)| {
        MetadataResponsePartition::default()
            .with_partition_index(index as i32)
            .with_leader_id(BrokerId(NODE_ID))
            .with_leader_epoch(partition.offsets().leader_epoch)
            .with_replica_nodes(vec![BrokerId(NODE_ID)])
            .with_isr_nodes(vec![BrokerId(NODE_ID)])
    });
    MetadataResponseTopic::default()
        .with_error_code(context.injected.map_or(0, |error| error.code()))
        .with_name(Some(topic_name(&topic.name)))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}
