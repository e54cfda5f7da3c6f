//! What can go wrong for those who embed the broker. Clients over the wire get Kafka's error codes instead.

use std::io;
use std::net::SocketAddr;

use kafka_protocol::ResponseError;

/// The broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address does not parse, is taken, or may not be used.
    #[error("the embedded broker cannot listen on {address}: {source}; choose a free port, or port 0 for any")]
    Listen {
        /// The address asked for.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// Other machines could reach it, and it has no authentication.
    #[error("the embedded broker would listen on {address}, open to other machines; use a loopback address")]
    NotLoopback {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The number of partitions for topics made on first use must be at least 1.
    #[error("default_partitions is {partitions}; it must be at least 1")]
    DefaultPartitions {
        /// The number asked for.
        partitions: i32,
    },
}

/// A topic cannot be made or deleted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Its name has other characters than letters, digits, `.`, `_` and `-`, or more than 249.
    #[error("topic name {topic:?} is not legal: use 1 to 249 letters, digits, '.', '_' and '-'")]
    IllegalName {
        /// The name.
        topic: String,
    },
    /// Too few or too many partitions.
    #[error("topic {topic} cannot have {partitions} partitions; choose 1 to {max}")]
    PartitionCount {
        /// The topic.
        topic: String,
        /// The number asked for.
        partitions: i32,
        /// The largest number.
        max: i32,
    },
    /// There is one of this name.
    #[error("topic {topic} exists already")]
    Exists {
        /// The topic.
        topic: String,
    },
    /// There is none of this name.
    #[error("topic {topic} does not exist")]
    Unknown {
        /// The topic.
        topic: String,
    },
}

impl TopicError {
    /// Kafka's code for it.
    pub(crate) fn response_error(&self) -> ResponseError {
        match self {
            Self::IllegalName { .. } => ResponseError::InvalidTopicException,
            Self::PartitionCount { .. } => ResponseError::InvalidPartitions,
            Self::Exists { .. } => ResponseError::TopicAlreadyExists,
            Self::Unknown { .. } => ResponseError::UnknownTopicOrPartition,
        }
    }
}

/// Records cannot be appended in process.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The topic or partition does not exist.
    #[error("cannot append to {topic}-{partition}: there is no such partition; create the topic first")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The bytes are not whole, valid record batches of format v2, or break the rules of idempotent producers.
    #[error("cannot append to {topic}-{partition}: {reason}")]
    Refused {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Kafka's error for it.
        reason: ResponseError,
    },
}

/// A fault cannot be injected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// The topic does not exist.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The topic has no such partition.
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// No transaction is open under this id.
    #[error("transactional id {transactional_id} has no open transaction to expire")]
    NoOpenTransaction {
        /// The id.
        transactional_id: String,
    },
}
