//! An embedded broker that speaks Kafka's protocol: one process, one node, log in memory. For demos and tests.
//!
//! ```text
//!  clients ══ TCP ══► server ─► api ─► handlers/* ─┬─► topics ─► partition ─► log ─► producers
//!                                 ▲                ├─► transactions ─────────┘(markers)
//!  tests ───► Faults ─────────────┘                └─► groups
//!  generators ─► Broker::append_* ─────────────────────► partition
//! ```
//!
//! Records stay the bytes that came in: a batch is checked (length, CRC, sequence), given its base offset in front,
//! kept, and sent out again as slices of the same memory. The oldest batches go when the broker's memory budget is
//! passed. Start with [`Broker::builder`]; make it misbehave with [`Faults`]; [`conformance`] holds the checks that a
//! real Kafka passes as well.
//!
//! # What it speaks
//!
//! | request | versions | why no newer ones, and limits |
//! |---|---|---|
//! | ApiVersions | 0–4 | a newer version is answered in version 0 with error 35, as Kafka does |
//! | Metadata | 0–13 | by name and by id |
//! | CreateTopics, DeleteTopics | 2–7, 1–6 | topic configs are kept and shown, not acted on |
//! | Produce | 3–11 | 12 is transactions version 2, 13 topic ids; message format v2 only |
//! | Fetch | 4–17 | 18 is for replicas; no sessions |
//! | ListOffsets | 1–9 | 10 is for tiered storage; times inside compressed batches are found by batch |
//! | OffsetForLeaderEpoch | 2–4 | |
//! | FindCoordinator | 0–5 | 6 is share groups |
//! | OffsetCommit, OffsetFetch | 2–9, 1–9 | 10 is topic ids; groups have no members: JoinGroup and its kin are not there |
//! | InitProducerId | 0–5 | 6 is two-phase commit |
//! | AddPartitionsToTxn | 0–3 | 4 and 5 are among brokers |
//! | AddOffsetsToTxn, TxnOffsetCommit | 0–4, 0–4 | TxnOffsetCommit 5 is transactions version 2 |
//! | EndTxn | 0–4 | 5 is transactions version 2 |
//! | ListTransactions, DescribeTransactions | 0–1, 0 | ListTransactions 2 filters by pattern |
//! | DescribeConfigs, DescribeCluster | 1–4, 0–2 | the configs that clients look at |

mod api;
mod batch;
mod broker;
pub mod conformance;
mod error;
mod faults;
mod frame;
mod groups;
mod handlers;
mod log;
mod partition;
mod producers;
mod retention;
mod server;
mod sync;
mod topics;
mod transactions;

pub use batch::{PlainRecord, encode_batch};
pub use broker::{Broker, BrokerBuilder};
pub use error::{AppendError, FaultError, StartError, TopicError};
pub use faults::Faults;
pub use kafka_protocol::ResponseError;
pub use kafka_protocol::messages::ApiKey;
