//! What a slot runs, and what others implement to be run.
//!
//! A record's walk: a [`connector::SourceReader`] hands a batch of one split to the [`task`]'s source driver, which
//! makes the split's watermark; the batch goes down the [`chain`] of [`operator::Operator`]s by direct calls; at the
//! chain's end an [`exchange`] scatters it by key group into the input gates of the next tasks, where barriers are
//! aligned; the last chain ends in a [`sink`], whose writer hands bytes to its connector.
//!
//! The runtime knows no SQL, no Kafka and no scheduler: kinds of nodes are looked up in the [`registry`], and a task
//! speaks with whoever deployed it through [`task::TaskCommand`] and [`task::TaskEvent`].

pub mod batching;
pub mod call;
pub mod chain;
pub mod connector;
pub mod context;
pub mod element;
pub mod error;
pub mod exchange;
pub mod failpoint;
pub mod metrics;
pub mod net;
pub mod operator;
pub mod partition_filter;
pub mod registry;
pub mod sink;
pub mod source;
pub mod task;
pub mod unaligned;
pub mod user_metrics;
pub mod waker;

pub use batching::Batching;
pub use connector::{Committer, Sink, SinkWriter, Source, SourceReader, SplitEnumerator, TableConnector};
pub use context::{OperatorContext, TaskInfo};
pub use element::{Barrier, Element, Output};
pub use error::{FailureLabel, TaskError};
pub use operator::{Flow, Operator};
pub use registry::Registry;
pub use waker::Waker;
