//! Topics made and deleted, and a broker's settings read.

use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest};
use kafka_protocol::protocol::{Request, StrBytes};

use super::cluster::{KafkaClient, Purpose, topic_name};
use super::connection::Connection;
use super::error::{ErrorCode, KafkaError};

/// A topic to make.
#[derive(Clone, Debug)]
pub struct NewTopic {
    pub name: String,
    pub partitions: i32,
    pub replication: i16,
    /// Topic settings, such as `cleanup.policy`.
    pub configs: Vec<(String, String)>,
}

impl NewTopic {
    /// One replica, the broker's settings.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self {
            name: name.into(),
            partitions,
            replication: 1,
            configs: Vec::new(),
        }
    }
}

const ADMIN_TIMEOUT_MS: i32 = 30_000;
/// The number of a broker in `DescribeConfigs`.
const BROKER_RESOURCE: i8 = 4;

fn broker_error(api: &'static str, target: String, code: i16, message: Option<StrBytes>) -> Result<(), KafkaError> {
    match ErrorCode::of(code) {
        None => Ok(()),
        Some(code) => Err(KafkaError::Broker {
            api,
            target,
            code,
            message: message.map(|m| m.to_string()),
        }),
    }
}

impl KafkaClient {
    /// Makes topics; one that exists already is left as it is and reported as `false`.
    pub async fn create_topics(&self, topics: &[NewTopic]) -> Result<Vec<bool>, KafkaError> {
        let wanted = topics
            .iter()
            .map(|t| {
                let config = |(k, v): &(String, String)| {
                    CreatableTopicConfig::default()
                        .with_name(StrBytes::from_string(k.clone()))
                        .with_value(Some(StrBytes::from_string(v.clone())))
                };
                CreatableTopic::default()
                    .with_name(topic_name(&t.name))
                    .with_num_partitions(t.partitions)
                    .with_replication_factor(t.replication)
                    .with_configs(t.configs.iter().map(config).collect())
            })
            .collect();
        let request = CreateTopicsRequest::default()
            .with_topics(wanted)
            .with_timeout_ms(ADMIN_TIMEOUT_MS);
        self.retry("creating kafka topics", |_| async {
            let answer = self.call_controller(&request, 7).await?;
            let mut created = Vec::with_capacity(topics.len());
            for topic in topics {
                let Some(result) = answer.topics.iter().find(|r| *r.name.0 == *topic.name) else {
                    created.push(false);
                    continue;
                };
                if ErrorCode::of(result.error_code).is_some_and(|c| c.is(ResponseError::TopicAlreadyExists)) {
                    created.push(false);
                    continue;
                }
                let target = format!("topic '{}'", topic.name);
                broker_error("CreateTopics", target, result.error_code, result.error_message.clone())?;
                created.push(true);
            }
            Ok(created)
        })
        .await
    }

    /// Deletes topics; one that does not exist is not an error.
    pub async fn delete_topics(&self, names: &[&str]) -> Result<(), KafkaError> {
        self.retry("deleting kafka topics", |_| async {
            let connection = self.controller_connection().await?;
            let version = connection.version::<DeleteTopicsRequest>(1, 6)?;
            let request = DeleteTopicsRequest::default().with_timeout_ms(ADMIN_TIMEOUT_MS);
            let request = if version >= 6 {
                let state = |name: &&str| DeleteTopicState::default().with_name(Some(topic_name(name)));
                request.with_topics(names.iter().map(state).collect())
            } else {
                request.with_topic_names(names.iter().map(|n| topic_name(n)).collect())
            };
            for result in connection.call(&request, version).await?.responses {
                let gone =
                    ErrorCode::of(result.error_code).is_some_and(|c| c.is(ResponseError::UnknownTopicOrPartition));
                if !gone {
                    let target = format!("topic '{}'", result.name.as_ref().map_or("?", |n| &n.0));
                    broker_error("DeleteTopics", target, result.error_code, result.error_message)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Setting `name` of a broker, such as `transaction.max.timeout.ms`; `None` when the broker does not tell it.
    pub async fn broker_config(&self, name: &str) -> Result<Option<String>, KafkaError> {
        self.retry("reading the kafka broker's settings", |_| async {
            self.refresh(&[]).await?;
            let node = self
                .cluster()
                .brokers
                .keys()
                .min()
                .copied()
                .ok_or(KafkaError::Unreachable {
                    bootstrap: self.config().bootstrap_text(),
                    reason: "the cluster lists no broker".into(),
                })?;
            let connection = self.connection(node, Purpose::General).await?;
            let version = connection.version::<DescribeConfigsRequest>(1, 4)?;
            let resource = DescribeConfigsResource::default()
                .with_resource_type(BROKER_RESOURCE)
                .with_resource_name(StrBytes::from_string(node.to_string()))
                .with_configuration_keys(Some(vec![StrBytes::from_string(name.to_owned())]));
            let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
            let answer = connection.call(&request, version).await?;
            let Some(result) = answer.results.into_iter().next() else {
                return Ok(None);
            };
            broker_error(
                "DescribeConfigs",
                format!("broker {node}"),
                result.error_code,
                result.error_message,
            )?;
            let entry = result.configs.into_iter().find(|c| &*c.name == name);
            Ok(entry.and_then(|c| c.value).map(|v| v.to_string()))
        })
        .await
    }

    /// `transaction.max.timeout.ms` of the broker.
    pub async fn transaction_max_timeout(&self) -> Result<Option<Duration>, KafkaError> {
        let text = self.broker_config("transaction.max.timeout.ms").await?;
        Ok(text.and_then(|t| t.parse().ok()).map(Duration::from_millis))
    }

    async fn controller_connection(&self) -> Result<std::sync::Arc<Connection>, KafkaError> {
        match self.cluster().controller {
            Some(node) => match self.connection(node, Purpose::General).await {
                Err(e) if e.is_connection() => {
                    self.refresh(&[]).await?;
                    Err(e)
                }
                outcome => outcome,
            },
            None => self.any_connection().await,
        }
    }

    async fn call_controller<R: Request>(&self, request: &R, max_version: i16) -> Result<R::Response, KafkaError> {
        let connection = self.controller_connection().await?;
        let version = connection.version::<R>(0, max_version)?;
        connection.call(request, version).await
    }
}
