//! One function per kind of request: from the decoded request to the answer.
//!
//! Handlers hold no state. Errors go where the answer has a place for them; an injected fault
//! ([`crate::api::Context::fault`]) is checked first in each of those places.

pub(crate) mod cluster;
pub(crate) mod configs;
pub(crate) mod fetch;
pub(crate) mod groups;
pub(crate) mod metadata;
pub(crate) mod offsets;
pub(crate) mod produce;
pub(crate) mod topics;
pub(crate) mod transactions;

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::broker::Core;
use crate::topics::Topic;

/// The node id of the only broker.
pub(crate) const NODE_ID: i32 = 1;

/// The code of an outcome: 0 for none.
fn code<T>(outcome: &Result<T, ResponseError>) -> i16 {
    outcome.as_ref().map_or_else(ResponseError::code, |_| 0)
}

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// The topic of a request, which names it by id in newer versions.
fn find_topic(core: &Core, name: &str, id: Uuid, by_id: bool) -> Result<Arc<Topic>, ResponseError> {
    if by_id {
        core.topics.by_id(id).ok_or(ResponseError::UnknownTopicId)
    } else {
        core.topics.by_name(name).ok_or(ResponseError::UnknownTopicOrPartition)
    }
}
