//! DescribeConfigs: the few configs that clients look at.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::{NODE_ID, text};
use crate::api::Context;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Where a value comes from, in Kafka's numbers.
#[derive(Clone, Copy)]
enum Source {
    Topic = 1,
    StaticBroker = 4,
    Default = 5,
}

/// Name, value, source.
type Config = (String, String, Source);

pub(crate) fn describe_configs(context: &Context<'_>, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let results = request.resources.into_iter().map(|resource| {
        let described = context.fault().and_then(|()| describe(context, &resource));
        let error_code = super::code(&described);
        let wanted = |name: &str| match &resource.configuration_keys {
            Some(keys) => keys.iter().any(|key| key.as_str() == name),
            None => true,
        };
        let configs = described
            .unwrap_or_default()
            .into_iter()
            .filter(|(name, ..)| wanted(name));
        let configs = configs.map(|(name, value, source)| {
            DescribeConfigsResourceResult::default()
                .with_name(text(&name))
                .with_value(Some(text(&value)))
                .with_read_only(matches!(source, Source::StaticBroker))
                .with_config_source(source as i8)
        });
        let configs = configs.collect();
        DescribeConfigsResult::default()
            .with_error_code(error_code)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
            .with_configs(configs)
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn describe(context: &Context<'_>, resource: &DescribeConfigsResource) -> Result<Vec<Config>, ResponseError> {
    match resource.resource_type {
        // An empty name means the defaults of all brokers.
        BROKER if matches!(resource.resource_name.parse(), Ok(NODE_ID)) => Ok(broker_configs(context)),
        TOPIC => topic_configs(context, &resource.resource_name),
        _ => Err(ResponseError::InvalidRequest),
    }
}

fn broker_configs(context: &Context<'_>) -> Vec<Config> {
    let core = context.core;
    let values = [
        (
            "transaction.max.timeout.ms",
            core.coordinator.max_timeout_ms().to_string(),
        ),
        ("message.max.bytes", core.max_batch_bytes.to_string()),
        ("num.partitions", core.topics.default_partitions().to_string()),
        ("auto.create.topics.enable", core.topics.auto_create().to_string()),
        ("default.replication.factor", "1".to_owned()),
    ];
    values
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value, Source::StaticBroker))
        .collect()
}

fn topic_configs(context: &Context<'_>, name: &str) -> Result<Vec<Config>, ResponseError> {
    let core = context.core;
    let topic = core
        .topics
        .by_name(name)
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    let defaults = [
        ("cleanup.policy", "delete".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("max.message.bytes", core.max_batch_bytes.to_string()),
        ("message.timestamp.type", "CreateTime".to_owned()),
        ("min.insync.replicas", "1".to_owned()),
    ];
    let defaults = defaults
        .into_iter()
        .map(|(name, value)| (name.to_owned(), (value, Source::Default)));
    let own = topic
        .configs
        .iter()
        .map(|(name, value)| (name.clone(), (value.clone(), Source::Topic)));
    let all: BTreeMap<_, _> = defaults.chain(own).collect();
    Ok(all
        .into_iter()
        .map(|(name, (value, source))| (name, value, source))
        .collect())
}
