//! Connectors of your own: what a source and a sink are made of.
//!
//! ```text
//!   Source ─► SplitEnumerator (one, beside the JobManager): which splits there are, and which subtask reads which
//!          └► SourceReader    (one a subtask): decodes splits into batches of records; never waits
//!   Sink   ─► SinkWriter      (one a subtask): takes batches; at a checkpoint it gives committables
//!          └► Committer       (one, beside the JobManager): makes seen what a complete checkpoint lists
//! ```
//!
//! **A source** says whether it ends ([`Boundedness`]). Its enumerator finds [`Split`]s, each with an id that is unique for good and a
//! state of its own, versioned bytes: at first where reading begins, later the reader's position. A reader hands out batches of *one*
//! split at a time ([`ReaderPoll::Batch`]), so the runtime keeps a watermark for each split and time waits for the slowest. What a reader
//! waits for is done elsewhere: on [`OperatorContext::runtime`], which then wakes the task ([`OperatorContext::waker`]), or the reader
//! says when to look again ([`ReaderPoll::Idle`]). At a checkpoint [`SourceReader::snapshot`] gives the splits with their positions; a
//! restored job gives them out again, at whatever parallelism, and the enumerator's own snapshot keeps it from finding them twice.
//!
//! **A sink** whose rows shall be seen once writes them where nobody looks yet, and says by [`SinkWriter::prepare_commit`] what it wrote
//! since the last checkpoint. Those committables are part of the checkpoint: once it is complete, [`Committer::commit`] makes them seen. A
//! crash in between repeats it, so committing twice must be as committing once. [`Committer::recover`] begins every start of the
//! job: it commits what the restored checkpoint lists, and clears away what no checkpoint lists. A writer lists what it prepared until
//! [`SinkWriter::committed`] says that it need not: a checkpoint may fail, and the next must list its committables too. A sink without a
//! committer delivers at least once.
//!
//! Batches hold [`Records`]: make them by [`Records::of`] (or with times) and [`Records::into_batch`], take them by
//! [`Records::from_batch`]. [`TypedSource`] and [`TypedSink`] say their type, so that
//! [`from_source`](crate::prelude::StreamExecutionEnvironment::from_source) and [`sink_to`](crate::prelude::DataStream::sink_to) take
//! them.
//!
//! # Example
//! `examples/datastream/src/lines.rs` is a complete source (the lines of a file that grows) and a complete sink (files that are renamed when
//! they are committed), which a test kills and restores. The smallest source and sink there are:
//!
//! ```
//! use flott::connector::*;
//! use flott::prelude::*;
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//!
//! /// The numbers below ten: one split, whose state is the next number.
//! struct Digits;
//!
//! impl TypedSource for Digits {
//!     type Out = u8;
//! }
//!
//! impl Source for Digits {
//!     fn boundedness(&self) -> Boundedness {
//!         Boundedness::Bounded
//!     }
//!     fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
//!         Ok(Box::new(OneSplit { is_found: restored.is_some() }))
//!     }
//!     fn reader(&self, _ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
//!         Ok(Box::new(Reader { next: None, no_more: false }))
//!     }
//! }
//!
//! struct OneSplit {
//!     is_found: bool,
//! }
//!
//! #[async_trait]
//! impl SplitEnumerator for OneSplit {
//!     async fn discover(&mut self) -> Result<Vec<Split>, ConnectorError> {
//!         let first = Split { id: "digits".to_owned(), state: vec![0] };
//!         Ok(if std::mem::replace(&mut self.is_found, true) { vec![] } else { vec![first] })
//!     }
//!     fn discovery_interval(&self) -> Option<Duration> {
//!         None
//!     }
//!     fn owner(&self, _split: &Split, _parallelism: usize) -> usize {
//!         0
//!     }
//!     fn snapshot(&self) -> Vec<u8> {
//!         vec![]
//!     }
//! }
//!
//! struct Reader {
//!     next: Option<u8>,
//!     no_more: bool,
//! }
//!
//! impl SourceReader for Reader {
//!     fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
//!         self.next = splits.first().map(|split| split.state[0]);
//!         Ok(())
//!     }
//!     fn no_more_splits(&mut self) {
//!         self.no_more = true;
//!     }
//!     fn poll(&mut self, _now_ms: i64) -> Result<ReaderPoll, TaskError> {
//!         Ok(match self.next {
//!             Some(next @ 0..10) => {
//!                 self.next = Some(next + 1);
//!                 ReaderPoll::Batch { split: 0, batch: Records::of(vec![next]).into_batch() }
//!             }
//!             Some(_) => {
//!                 self.next = None;
//!                 ReaderPoll::SplitFinished(0)
//!             }
//!             None if self.no_more => ReaderPoll::Finished,
//!             None => ReaderPoll::Idle { until_ms: None },
//!         })
//!     }
//!     fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
//!         let split = |next| Split { id: "digits".to_owned(), state: vec![next] };
//!         Ok(self.next.map(split).into_iter().collect())
//!     }
//! }
//!
//! /// Adds up what comes, at least once: without a committer there is nothing to prepare.
//! #[derive(Clone, Default)]
//! struct Sum(Arc<Mutex<u64>>);
//!
//! impl TypedSink<u8> for Sum {}
//!
//! impl Sink for Sum {
//!     fn writer(&self, _ctx: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError> {
//!         Ok(Box::new(self.clone()))
//!     }
//! }
//!
//! impl SinkWriter for Sum {
//!     fn write(&mut self, batch: Batch) -> Result<Flow, TaskError> {
//!         let values = Records::<u8>::from_batch(batch)?.values;
//!         *self.0.lock().unwrap() += values.iter().map(|v| u64::from(*v)).sum::<u64>();
//!         Ok(Flow::Done)
//!     }
//!     fn flush(&mut self) -> Result<Flow, TaskError> {
//!         Ok(Flow::Done)
//!     }
//! }
//!
//! let (env, sum) = (StreamExecutionEnvironment::get_execution_environment(), Sum::default());
//! env.from_source(Digits, WatermarkStrategy::no_watermarks(), "digits").sink_to(sum.clone());
//! env.execute("sum")?;
//! assert_eq!(*sum.0.lock().unwrap(), 45);
//! # Ok::<(), ExecuteError>(())
//! ```

pub use async_trait::async_trait;
pub use bytes::Bytes;
pub use flott_core::time::EventTime;
pub use flott_core::{Batch, CheckpointId};
pub use flott_datastream::connector::{AtHand, TypedSink, TypedSource, guarded};
pub use flott_datastream::{Records, Times};
pub use flott_runtime::connector::{
    Boundedness, Committer, CommitterContext, ConnectorError, ReaderPoll, Sink, SinkWriter, Source, SourceReader,
    Split, SplitEnumerator,
};
pub use flott_runtime::{FailureLabel, Flow, OperatorContext, TaskError};
