//! CreateTopics and DeleteTopics.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse};
use uuid::Uuid;

use super::{text, topic_name};
use crate::api::Context;

/// "As the broker is configured", for partitions and replicas.
const BROKER_DEFAULT: i32 = -1;
/// Kafka's code for a config that was set on the topic itself.
const TOPIC_CONFIG: i8 = 1;

/// An error with the sentence that goes with it.
type Refusal = (ResponseError, String);

pub(crate) fn create_topics(context: &Context<'_>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let results = request.topics.iter().map(|topic| {
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        match create_topic(context, topic, request.validate_only) {
            Ok((id, partitions)) => {
                let configs = topic.configs.iter().map(|config| {
                    CreatableTopicConfigs::default()
                        .with_name(config.name.clone())
                        .with_value(config.value.clone())
                        .with_config_source(TOPIC_CONFIG)
                });
                result
                    .with_topic_id(id)
                    .with_num_partitions(partitions)
                    .with_replication_factor(1)
                    .with_configs(Some(configs.collect()))
            }
            Err((error, message)) => result
                .with_error_code(error.code())
                .with_error_message(Some(text(&message))),
        }
    });
    CreateTopicsResponse::default().with_topics(results.collect())
}

fn create_topic(context: &Context<'_>, topic: &CreatableTopic, validate_only: bool) -> Result<(Uuid, i32), Refusal> {
    context.fault().map_err(|error| (error, "injected fault".to_owned()))?;
    let topics = &context.core.topics;
    if !matches!(i32::from(topic.replication_factor), BROKER_DEFAULT | 1) {
        let message = format!("replication factor {} with 1 broker", topic.replication_factor);
        return Err((ResponseError::InvalidReplicationFactor, message));
    }
    let partitions = match topic.num_partitions {
        BROKER_DEFAULT if topic.assignments.is_empty() => topics.default_partitions(),
        BROKER_DEFAULT => topic.assignments.len() as i32,
        partitions => partitions,
    };
    let configs = topic.configs.iter().filter_map(|config| {
        let value = config.value.as_ref()?;
        Some((config.name.to_string(), value.to_string()))
    });
    let created = if validate_only {
        topics.check_new(&topic.name, partitions).map(|()| Uuid::nil())
    } else {
        topics
            .create(&topic.name, partitions, configs.collect())
            .map(|topic| topic.id)
    };
    created
        .map(|id| (id, partitions))
        .map_err(|error| (error.response_error(), error.to_string()))
}

pub(crate) fn delete_topics(context: &Context<'_>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let by_name = request
        .topic_names
        .into_iter()
        .map(|name| DeleteTopicState::default().with_name(Some(name)));
    let responses = request
        .topics
        .into_iter()
        .chain(by_name)
        .map(|topic| delete_topic(context, topic));
    DeleteTopicsResponse::default().with_responses(responses.collect())
}

fn delete_topic(context: &Context<'_>, requested: DeleteTopicState) -> DeletableTopicResult {
    let topics = &context.core.topics;
    let deleted = context.fault().and_then(|()| match &requested.name {
        Some(name) => topics.delete(name).map_err(|error| error.response_error()),
        None => {
            let topic = topics.by_id(requested.topic_id).ok_or(ResponseError::UnknownTopicId)?;
            topics.delete(&topic.name).map_err(|_| ResponseError::UnknownTopicId)
        }
    });
    match deleted {
        Ok(topic) => DeletableTopicResult::default()
            .with_name(Some(topic_name(&topic.name)))
            .with_topic_id(topic.id),
        Err(error) => {
            let name = requested.name.or_else(|| (context.version < 6).then(Default::default));
            DeletableTopicResult::default()
                .with_name(name)
                .with_topic_id(requested.topic_id)
                .with_error_code(error.code())
        }
    }
}
