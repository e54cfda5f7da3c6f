//! The vocabulary of Flott: what every room speaks and none of them owns.
//!
//! Nothing here does I/O, spawns a thread or reads a clock. A newcomer reads in this order: [`types`] (Flink's
//! logical types and their Arrow layout), [`batch`] (columns with row kinds, or typed [`rows`]: what flows), [`time`] (event time and
//! watermarks), [`hash`] and [`key_group`] (who owns a key), [`encoding`] (key and value bytes that reach files), [`wire`]
//! (batches as bytes between processes), [`options`] (Flink's option names), [`ids`], [`job_status`] and [`clock`].

pub mod batch;
pub mod clock;
pub mod encoding;
pub mod hash;
pub mod ids;
pub mod job_status;
pub mod key_group;
pub mod options;
pub mod rows;
pub mod suggest;
pub mod time;
pub mod types;
pub mod wire;

pub use batch::{Batch, RowKind};
pub use ids::{CheckpointId, Fingerprint, Generation, JobId, OperatorId};
pub use job_status::JobStatus;
pub use key_group::{KeyGroup, KeyGroupRange};
pub use options::Options;
pub use rows::{Rows, RowsError};
pub use time::EventTime;
pub use types::{Field, LogicalType, TypeKind};
