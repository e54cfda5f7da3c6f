//! What can go wrong between us and a broker, and what the caller may do about it.
//!
//! [`KafkaError::is_retriable`] is the one place that says which failures a retry within the budget may cure;
//! [`ErrorCode`] keeps the broker's own number and prints Kafka's own name for it.

use std::fmt;

use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use thiserror::Error;

/// An error code of the Kafka protocol; never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(i16);

impl ErrorCode {
    /// The code of a response field; `None` for 0, which means success.
    pub fn of(code: i16) -> Option<Self> {
        (code != 0).then_some(Self(code))
    }

    /// The number on the wire.
    pub fn number(self) -> i16 {
        self.0
    }

    fn known(self) -> ResponseError {
        self.0.err().unwrap_or(ResponseError::Unknown(self.0))
    }

    /// Whether this is `other`, named as `kafka_protocol` names it.
    pub fn is(self, other: ResponseError) -> bool {
        self.known() == other
    }

    /// Kafka's name, as in `NOT_LEADER_OR_FOLLOWER`; `UNKNOWN_CODE_n` for one that is newer than we are.
    pub fn name(self) -> String {
        let camel = match self.known() {
            ResponseError::Unknown(code) => return format!("UNKNOWN_CODE_{code}"),
            known => format!("{known:?}"),
        };
        let camel = camel
            .strip_suffix("Exception")
            .filter(|_| self.0 == 17)
            .unwrap_or(&camel);
        let mut name = String::with_capacity(camel.len() + 8);
        for (i, c) in camel.char_indices() {
            if i > 0 && c.is_ascii_uppercase() {
                name.push('_');
            }
            name.push(c.to_ascii_uppercase());
        }
        name
    }

    /// Whether the same request may succeed a moment later.
    pub fn is_retriable(self) -> bool {
        self.known().is_retriable() || self.is(ResponseError::ConcurrentTransactions)
    }

    /// Whether the cached leader, topic id or coordinator behind the request is stale.
    pub fn is_stale_metadata(self) -> bool {
        matches!(
            self.known(),
            ResponseError::UnknownTopicOrPartition
                | ResponseError::LeaderNotAvailable
                | ResponseError::NotLeaderOrFollower
                | ResponseError::ReplicaNotAvailable
                | ResponseError::KafkaStorageError
                | ResponseError::FencedLeaderEpoch
                | ResponseError::UnknownLeaderEpoch
                | ResponseError::UnknownTopicId
                | ResponseError::InconsistentTopicId
                | ResponseError::NetworkException
                | ResponseError::OffsetNotAvailable
        )
    }

    /// Whether the coordinator that we asked is not, or not yet, the one to ask.
    pub fn is_stale_coordinator(self) -> bool {
        matches!(
            self.known(),
            ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable
        )
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.name(), self.0)
    }
}

/// A failure of the Kafka client. No variant carries a secret.
#[derive(Clone, Debug, Error)]
pub enum KafkaError {
    /// A property has a value that cannot be used.
    #[error("kafka property '{option}': {reason}")]
    Config { option: String, reason: String },

    /// No bootstrap address answered.
    #[error(
        "no kafka broker of '{bootstrap}' could be reached: {reason}; check 'bootstrap.servers', the network and 'security.protocol'"
    )]
    Unreachable { bootstrap: String, reason: String },

    /// One broker could not be connected to, or the connection to it broke.
    #[error("kafka broker {broker}: {reason}")]
    Disconnected { broker: String, reason: String },

    /// A broker did not answer in `request.timeout.ms`.
    #[error("kafka broker {broker} did not answer {api} within {timeout_ms} ms ('request.timeout.ms')")]
    Timeout {
        broker: String,
        api: &'static str,
        timeout_ms: u64,
    },

    /// The broker refused our credentials, or could not prove that it knows them.
    #[error(
        "kafka broker {broker} refused {mechanism} authentication: {reason}; check 'sasl.mechanism' and 'sasl.jaas.config'"
    )]
    Authentication {
        broker: String,
        mechanism: String,
        reason: String,
    },

    /// The TLS handshake failed.
    #[error(
        "TLS with kafka broker {broker} failed: {reason}; check 'security.protocol', 'ssl.truststore.*' and 'ssl.keystore.*'"
    )]
    Tls { broker: String, reason: String },

    /// The broker speaks no version of an API that we speak.
    #[error(
        "kafka broker {broker} offers {api} in versions {broker_min} to {broker_max}, but versions {our_min} to {our_max} are needed; use a broker of Kafka 2.5 or newer"
    )]
    Unsupported {
        broker: String,
        api: &'static str,
        broker_min: i16,
        broker_max: i16,
        our_min: i16,
        our_max: i16,
    },

    /// An answer could not be decoded, or misses what was asked for.
    #[error("kafka broker {broker} sent an unusable answer to {api}: {reason}")]
    Malformed {
        broker: String,
        api: &'static str,
        reason: String,
    },

    /// A topic is not known to the cluster.
    #[error("kafka topic '{topic}' does not exist; create it, or correct the name")]
    UnknownTopic { topic: String },

    /// A topic has fewer partitions than were named.
    #[error("kafka topic '{topic}' has no partition {partition}")]
    UnknownPartition { topic: String, partition: i32 },

    /// A topic was deleted and made again: its old offsets mean nothing any more.
    #[error(
        "kafka topic '{topic}' was deleted and created again (topic id was {old}, is {new}); its old offsets are void: start without the old state"
    )]
    TopicRecreated { topic: String, old: String, new: String },

    /// The broker answered with an error code.
    #[error("kafka {api} of {target}: {code}{}", detail(.message))]
    Broker {
        api: &'static str,
        target: String,
        code: ErrorCode,
        message: Option<String>,
    },

    /// A record batch cannot be read.
    #[error("corrupt record batch in kafka topic '{topic}' partition {partition} at offset {offset}: {reason}")]
    CorruptBatch {
        topic: String,
        partition: i32,
        offset: i64,
        reason: String,
    },

    /// One record is larger than a request may be.
    #[error(
        "a record of {size_bytes} bytes for kafka topic '{topic}' partition {partition} exceeds {limit_bytes} bytes ('max.request.size')"
    )]
    RecordTooLarge {
        topic: String,
        partition: i32,
        size_bytes: usize,
        limit_bytes: usize,
    },

    /// Retries went on for as long as they may.
    #[error("{what}: gave up after {waited_ms} ms ('{option}'): {source}")]
    BudgetExhausted {
        what: String,
        waited_ms: u64,
        option: &'static str,
        source: Box<KafkaError>,
    },

    /// A transaction was taken while its records were under way.
    #[error("the kafka transaction still has unacknowledged records: flush before taking it")]
    Unflushed,

    /// The producer was closed or failed before.
    #[error("the kafka producer is closed")]
    Closed,
}

fn detail(message: &Option<String>) -> String {
    message.as_ref().map(|m| format!(": {m}")).unwrap_or_default()
}

impl KafkaError {
    /// The error for a response's code, `Ok` for 0.
    pub fn check(api: &'static str, target: impl Into<String>, code: i16) -> Result<(), KafkaError> {
        match ErrorCode::of(code) {
            None => Ok(()),
            Some(code) => Err(KafkaError::Broker {
                api,
                target: target.into(),
                code,
                message: None,
            }),
        }
    }

    /// The broker's code, where there is one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            KafkaError::Broker { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the broker's code is `code`.
    pub fn is(&self, code: ResponseError) -> bool {
        self.code().is_some_and(|c| c.is(code))
    }

    /// Whether trying again, within the budget, may help.
    pub fn is_retriable(&self) -> bool {
        match self {
            KafkaError::Disconnected { .. } | KafkaError::Timeout { .. } | KafkaError::Unreachable { .. } => true,
            KafkaError::Broker { code, .. } => code.is_retriable(),
            _ => false,
        }
    }

    /// Whether the connection, rather than the answer, failed.
    pub fn is_connection(&self) -> bool {
        matches!(
            self,
            KafkaError::Disconnected { .. } | KafkaError::Timeout { .. } | KafkaError::Unreachable { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_carry_kafkas_names() {
        assert_eq!(ErrorCode(6).name(), "NOT_LEADER_OR_FOLLOWER");
        assert_eq!(ErrorCode(17).name(), "INVALID_TOPIC");
        assert_eq!(ErrorCode(3).name(), "UNKNOWN_TOPIC_OR_PARTITION");
        assert_eq!(ErrorCode(9999).name(), "UNKNOWN_CODE_9999");
        assert!(ErrorCode::of(0).is_none());
    }

    #[test]
    fn what_may_be_tried_again() {
        assert!(ErrorCode(6).is_retriable() && ErrorCode(6).is_stale_metadata());
        assert!(ErrorCode(51).is_retriable());
        assert!(!ErrorCode(90).is_retriable());
        assert!(ErrorCode(16).is_stale_coordinator());
    }
}
