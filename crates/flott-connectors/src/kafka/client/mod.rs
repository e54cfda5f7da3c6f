//! Our Kafka client over the `kafka-protocol` messages and Tokio.
//!
//! ```text
//!                        KafkaClient (cluster): brokers, leaders, topic ids, coordinators, retry budget
//!                       /        |             \                \
//!          Fetcher (fetch)   offsets, admin   Producer        transactions
//!                |               |            (producer)           |
//!                |               +----- Connection (connection): one TCP stream, requests by correlation id
//!                v                          |
//!        RecordWalker (batch::walk)      security: TLS, SASL
//! ```
//!
//! * [`cluster::KafkaClient`] knows the cluster and hands out connections, one per broker and [`cluster::Purpose`] (a long poll
//!   holds up whatever is asked on the same connection).
//! * [`fetch::Fetcher`] keeps polling the assigned partitions and hands raw record batches to a thread of the caller's;
//!   [`batch::walk::RecordWalker`] reads them there in place.
//! * [`producer::Producer`] gathers records per partition and sends them with idempotence or in a transaction.
//! * [`transactions`] ends, lists, describes and aborts transactions of any process, by data alone.
//!
//! Network work is asynchronous and runs on the Tokio runtime that the client was connected on. The calls of the hot path,
//! [`fetch::Fetcher::poll`] and [`producer::Producer::send`], are synchronous and never block.

pub mod admin;
pub mod batch;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod error;
pub mod fetch;
pub mod offsets;
pub mod partitioner;
pub mod producer;
pub mod security;
pub mod transactions;

pub use cluster::KafkaClient;
pub use config::{ClientConfig, KafkaProperties};
pub use error::{ErrorCode, KafkaError};
