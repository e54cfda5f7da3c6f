//! Kafka: the tables `kafka` (source and sink) and `upsert-kafka` (sink), on our own [`client`].
//!
//! A record's way in: [`enumerator`] finds partitions and resolves where each begins and ends → [`split`] → [`reader`]
//! (fetches, walks batches in place) → [`rows`] (value and key formats, metadata) → a batch. Its way out: [`writer`] (formats,
//! partition, the client's producer) → [`committer`] (ends transactions once their checkpoint exists).
//! [`options`] holds every table option; [`table`] judges tables and makes sources and sinks of them. [`program`] makes those of
//! programs, whose records are values ([`records`]); what both are is in [`topics`].

pub mod client;

mod access;
mod committer;
mod enumerator;
mod group_commits;
mod metadata;
mod options;
pub mod program;
mod properties;
mod reader;
pub mod records;
mod rows;
mod split;
mod table;
mod table_records;
mod topics;
mod upsert;
mod writer;

pub use rows::read_fetched;
pub use table::{KafkaConnector, UpsertKafkaConnector};

use client::error::KafkaError;
use flott_runtime::connector::ConnectorError;
use flott_runtime::error::TaskError;

impl From<KafkaError> for ConnectorError {
    fn from(e: KafkaError) -> Self {
        let message = e.to_string();
        match e {
            KafkaError::Config { .. } => ConnectorError::Option(message),
            KafkaError::BudgetExhausted { source, .. } if is_users(&source) => {
                ConnectorError::Fatal { message, source: None }
            }
            e if e.is_retriable() => ConnectorError::Transient { message, source: None },
            KafkaError::BudgetExhausted { .. } | KafkaError::Malformed { .. } | KafkaError::Closed => {
                ConnectorError::Transient { message, source: None }
            }
            _ => ConnectorError::Fatal { message, source: None },
        }
    }
}

/// Whether a failure that was retried in vain is a mistake of the user's rather than an outage.
fn is_users(e: &KafkaError) -> bool {
    matches!(e, KafkaError::UnknownTopic { .. } | KafkaError::UnknownPartition { .. })
}

/// The failure of a task; `label` says whose, such as `table 'orders'`.
fn task_error(label: &str, e: KafkaError) -> TaskError {
    TaskError::from(ConnectorError::from(e)).at(label)
}
