//! Who is there: ApiVersions, DescribeCluster, FindCoordinator. The answer is always this one broker.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, DescribeClusterRequest, DescribeClusterResponse, FindCoordinatorRequest,
    FindCoordinatorResponse,
};

use super::{NODE_ID, text};
use crate::api::{Context, SUPPORTED};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// With `error`, the answer for clients that ask in a version that is not supported (or an injected fault).
pub(crate) fn api_versions(error: Option<ResponseError>) -> ApiVersionsResponse {
    let api_keys = SUPPORTED.iter().map(|&(api_key, oldest, newest)| {
        ApiVersion::default()
            .with_api_key(api_key as i16)
            .with_min_version(oldest)
            .with_max_version(newest)
    });
    ApiVersionsResponse::default()
        .with_error_code(error.map_or(0, |error| error.code()))
        .with_api_keys(api_keys.collect())
}

pub(crate) fn describe_cluster(context: &Context<'_>, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let address = context.core.address;
    let broker = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(NODE_ID))
        .with_host(text(&address.ip().to_string()))
        .with_port(address.port().into());
    DescribeClusterResponse::default()
        .with_error_code(context.injected.map_or(0, |error| error.code()))
        .with_endpoint_type(request.endpoint_type)
        .with_cluster_id(text(&context.core.cluster_id))
        .with_controller_id(BrokerId(NODE_ID))
        .with_brokers(vec![broker])
        .with_cluster_authorized_operations(i32::MIN)
}

pub(crate) fn find_coordinator(context: &Context<'_>, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let address = context.core.address;
    let (host, port) = (text(&address.ip().to_string()), i32::from(address.port()));
    let error = match context.injected {
        None if !matches!(request.key_type, GROUP | TRANSACTION) => Some(ResponseError::InvalidRequest),
        injected => injected,
    };
    let error_code = error.map_or(0, |error| error.code());
    if context.version < 4 {
        return FindCoordinatorResponse::default()
            .with_error_code(error_code)
            .with_node_id(BrokerId(NODE_ID))
            .with_host(host)
            .with_port(port);
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(error_code)
            .with_node_id(BrokerId(NODE_ID))
            .with_host(host.clone())
            .with_port(port)
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}
