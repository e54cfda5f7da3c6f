//! Checks of versions, topics, cluster and configs.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, DeleteTopicsRequest, DescribeClusterRequest,
    DescribeConfigsRequest, MetadataRequest, ResponseHeader,
};
use kafka_protocol::protocol::Decodable;
use uuid::Uuid;

use super::client::{CheckError, expect, unexpected};
use super::session::{Reading, Session, only, text, topic_name};
use crate::api::SUPPORTED;

pub(super) async fn versions_are_negotiated(session: &mut Session) -> Result<(), CheckError> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("flott"))
        .with_client_software_version(text("1"));
    for version in 0..=4 {
        let request = if version < 3 {
            ApiVersionsRequest::default()
        } else {
            request.clone()
        };
        let response = session.client.call(&request, version).await?;
        expect("ApiVersions: error", response.error_code, 0)?;
        for (api_key, oldest, newest) in SUPPORTED {
            let range = response.api_keys.iter().find(|range| range.api_key == api_key as i16);
            let covers = range.is_some_and(|range| range.min_version <= newest && range.max_version >= oldest);
            expect(
                format!("ApiVersions v{version}: {api_key:?} {oldest}-{newest} is offered"),
                covers,
                true,
            )?;
        }
    }
    // A version from the future is answered in version 0, with the error and the range to fall back to.
    session
        .client
        .send_raw(ApiKey::ApiVersions as i16, 99, 2, &[1, 1, 0])
        .await?;
    let mut answer = session.client.receive("ApiVersions v99").await?;
    let codec = |source| CheckError::Codec {
        request: "ApiVersions v99".to_owned(),
        source,
    };
    ResponseHeader::decode(&mut answer, 0).map_err(codec)?;
    let response = ApiVersionsResponse::decode(&mut answer, 0).map_err(codec)?;
    expect(
        "ApiVersions v99: error",
        response.error_code,
        ResponseError::UnsupportedVersion.code(),
    )?;
    let range = response
        .api_keys
        .iter()
        .find(|range| range.api_key == ApiKey::ApiVersions as i16);
    expect(
        "ApiVersions v99: a range to fall back to",
        range.is_some_and(|range| range.max_version >= 3),
        true,
    )
}

pub(super) async fn topics_come_and_go(session: &mut Session) -> Result<(), CheckError> {
    let name = session.name("topic");
    expect("only validated", session.try_create_topic(&name, 3, 1, true).await?, 0)?;
    let missing = session.metadata(&name).await?;
    expect(
        "Metadata: not there yet",
        missing.error_code,
        ResponseError::UnknownTopicOrPartition.code(),
    )?;
    let id = session.create_topic(&name, 3).await?;
    let again = session.try_create_topic(&name, 3, 1, false).await?;
    expect("made twice", again, ResponseError::TopicAlreadyExists.code())?;
    let bad_name = session.try_create_topic("no spaces", 1, 1, false).await?;
    expect("bad name", bad_name, ResponseError::InvalidTopicException.code())?;
    let empty = session.try_create_topic(&session.name("empty"), 0, 1, false).await?;
    expect("no partitions", empty, ResponseError::InvalidPartitions.code())?;
    let replicas = session
        .try_create_topic(&session.name("replicas"), 1, 300, false)
        .await?;
    expect(
        "too many replicas",
        replicas,
        ResponseError::InvalidReplicationFactor.code(),
    )?;

    for version in 0..=12 {
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name(&name)));
        let request = MetadataRequest::default().with_topics(Some(vec![topic]));
        let response = session.client.call(&request, version).await?;
        let topic = only(response.topics, "Metadata")?;
        expect(format!("Metadata v{version}: error"), topic.error_code, 0)?;
        expect(format!("Metadata v{version}: partitions"), topic.partitions.len(), 3)?;
        expect(
            format!("Metadata v{version}: id"),
            topic.topic_id,
            if version >= 10 { id } else { Uuid::nil() },
        )?;
    }
    let by_id = |id| {
        let topic = MetadataRequestTopic::default().with_topic_id(id).with_name(None);
        MetadataRequest::default()
            .with_topics(Some(vec![topic]))
            .with_allow_auto_topic_creation(false)
    };
    let found = only(session.client.call(&by_id(id), 12).await?.topics, "Metadata")?;
    expect("Metadata by id: name", found.name, Some(topic_name(&name)))?;
    let unknown = only(
        session.client.call(&by_id(Uuid::from_u128(7)), 12).await?.topics,
        "Metadata",
    )?;
    expect(
        "Metadata by unknown id",
        unknown.error_code,
        ResponseError::UnknownTopicId.code(),
    )?;

    expect("deleted by name", delete(session, &name).await?, 0)?;
    let deadline = session.deadline();
    while session.metadata(&name).await?.error_code == 0 {
        session.pause(deadline, "Metadata: a deleted topic is gone").await?;
    }
    let twice = delete(session, &name).await?;
    expect("deleted twice", twice, ResponseError::UnknownTopicOrPartition.code())
}

pub(super) async fn a_topic_made_again_has_another_id(session: &mut Session) -> Result<(), CheckError> {
    let name = session.name("again");
    let first = session.create_topic(&name, 1).await?;
    session.produce_values(&name, &["old"]).await?;
    let state = DeleteTopicState::default().with_topic_id(first).with_name(None);
    let request = DeleteTopicsRequest::default()
        .with_topics(vec![state])
        .with_timeout_ms(10_000);
    let deleted = only(session.client.call(&request, 6).await?.responses, "DeleteTopics")?;
    expect("deleted by id", deleted.error_code, 0)?;
    let deadline = session.deadline();
    while session.metadata(&name).await?.error_code == 0 {
        session.pause(deadline, "Metadata: a deleted topic is gone").await?;
    }
    let second = session.create_topic(&name, 1).await?;
    expect("the second id differs", first == second, false)?;
    let old = session.fetch_in(13, &name, first, Reading::from(0)).await?;
    expect(
        "Fetch by the old id",
        old.error_code,
        ResponseError::UnknownTopicId.code(),
    )?;
    let new = session.fetch_in(13, &name, second, Reading::from(0)).await?;
    expect(
        "Fetch by the new id: error and end",
        (new.error_code, new.high_watermark),
        (0, 0),
    )
}

pub(super) async fn cluster_and_configs_are_described(session: &mut Session) -> Result<(), CheckError> {
    let cluster = session.client.call(&DescribeClusterRequest::default(), 0).await?;
    expect("DescribeCluster: error", cluster.error_code, 0)?;
    let broker = cluster
        .brokers
        .first()
        .ok_or_else(|| unexpected("DescribeCluster: brokers", "some", "none"))?;
    let name = session.name("configured");
    session.create_topic(&name, 1).await?;
    let wanted = [
        (4, broker.broker_id.0.to_string(), "transaction.max.timeout.ms"),
        (2, name, "cleanup.policy"),
    ];
    for (resource_type, resource, config) in wanted {
        let requested = DescribeConfigsResource::default()
            .with_resource_type(resource_type)
            .with_resource_name(text(&resource))
            .with_configuration_keys(Some(vec![text(config)]));
        let request = DescribeConfigsRequest::default().with_resources(vec![requested]);
        for version in 1..=4 {
            let result = only(session.client.call(&request, version).await?.results, "DescribeConfigs")?;
            expect(
                format!("DescribeConfigs v{version} of {resource}: error"),
                result.error_code,
                0,
            )?;
            let found = only(result.configs, "DescribeConfigs")?;
            expect("DescribeConfigs: name", found.name, text(config))?;
            let value = found.value.unwrap_or_default();
            let plausible = value.as_str() == "delete" || value.parse::<i64>().is_ok_and(|value| value >= 900_000);
            expect(
                format!("DescribeConfigs: {config} = {value} is plausible"),
                plausible,
                true,
            )?;
        }
    }
    let requested = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(&session.name("missing")))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![requested]);
    let missing = only(session.client.call(&request, 4).await?.results, "DescribeConfigs")?;
    expect(
        "DescribeConfigs of a missing topic",
        missing.error_code,
        ResponseError::UnknownTopicOrPartition.code(),
    )
}

async fn delete(session: &mut Session, name: &str) -> Result<i16, CheckError> {
    let request = DeleteTopicsRequest::default()
        .with_topic_names(vec![topic_name(name)])
        .with_timeout_ms(10_000);
    Ok(only(session.client.call(&request, 5).await?.responses, "DeleteTopics")?.error_code)
}
