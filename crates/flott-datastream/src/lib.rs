//! The DataStream API: typed streams, described by a program and run as a job.
//!
//! ```text
//!  program ──calls──► graph ──finish──► Plan (data) + factories ──► Executor
//! ```
//! Read in this order: [`environment`] (where a program begins), [`stream`] (what can be made of a stream), [`function`] (what
//! users write), [`keyed`], [`process`] and [`state`] (the same with a key), [`records`] (what flows between operators), [`graph`](self) (how calls become a plan). Records are Rust values;
//! the runtime moves them as [`flott_core::Rows`] and never sees their type.

pub mod environment;
pub mod function;
mod graph;
pub mod key;
pub mod keyed;
mod operators;
pub mod process;
pub mod records;
mod source;
pub mod state;
pub mod stream;
pub mod text;
pub mod time;
mod timers;

pub use environment::{ExecuteError, Executor, JobExecutionResult, Program, StreamExecutionEnvironment};
pub use flott_state::StateValue;
pub use function::{BoxError, Collector, FlatMapFunction, MapFunction, RuntimeContext, SinkFunction};
pub use graph::ProgramError;
pub use key::Key;
pub use keyed::KeyedStream;
pub use process::{KeyedProcessFunction, OpenContext, ProcessContext};
pub use records::{Data, Records};
pub use state::{ListState, ValueState};
pub use stream::{DataStream, DataStreamSink};
pub use time::WatermarkStrategy;
