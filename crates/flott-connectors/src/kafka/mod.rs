//! Kafka: the [`client`] that source and sink share.

pub mod client;
