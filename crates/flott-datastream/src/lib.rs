//! The DataStream API: typed streams, described by a program and run as a job.
//!
//! ```text
//!  program ──calls──► graph ──finish──► Plan (data) + factories ──► Executor
//! ```
//! Read in this order: [`environment`] (where a program begins), [`client`] (a job beside it), [`stream`] (what can be made of a stream), [`function`] (what
//! users write), [`keyed`], [`process`], [`rich`] and [`state`] (the same with a key),
//! [`window`], [`connect`], [`broadcast`], [`join`] and [`interval_join`] (two streams), [`async_io`], [`side`], [`planned`] (what SQL puts between streams), [`records`] (what flows between operators), [`graph`](self) (how calls become a plan). Records are Rust values;
//! the runtime moves them as [`flott_core::Rows`] and never sees their type.

pub mod async_io;
pub mod broadcast;
mod checkpoint_hooks;
pub mod client;
pub mod connect;
pub mod connector;
mod entries;
pub mod environment;
pub mod fold;
pub mod function;
mod graph;
pub mod interval_join;
pub mod join;
pub mod key;
pub mod keyed;
mod life;
pub mod metrics;
mod operators;
pub mod planned;
pub mod process;
pub mod records;
pub mod rich;
pub mod runtime_mode;
pub mod side;
mod socket;
mod source;
pub mod state;
pub mod stream;
pub mod text;
pub mod time;
mod timers;
pub mod times;
pub mod watermarks;
pub mod window;

pub use async_io::{AsyncDataStream, AsyncFunction, AsyncRetryStrategy};
pub use broadcast::{
    AsBroadcast, AsBroadcastMut, BroadcastContext, BroadcastProcessFunction, BroadcastState, KeyedBroadcastContext,
    KeyedBroadcastProcessFunction, OpenBroadcastContext, OpenKeyedBroadcastContext,
};
pub use client::{AfterSavepoint, JobClient, RunningJob};
pub use connect::{
    BroadcastConnectedStream, BroadcastStream, CoFlatMapFunction, CoMapFunction, CoProcessFunction, ConnectedStreams,
    KeyedBroadcastConnectedStream, KeyedCoProcessFunction, KeyedConnectedStreams,
};
pub use connector::{TypedSink, TypedSource};
pub use environment::{ExecuteError, Executor, JobExecutionResult, Program, StreamExecutionEnvironment};
pub use flott_core::JobStatus;
pub use flott_state::StateValue;
pub use function::{
    AggregateFunction, BoxError, Collector, FlatMapFunction, MapFunction, RuntimeContext, SinkFunction,
};
pub use graph::ProgramError;
pub use interval_join::{IntervalJoin, IntervalJoined, JoinContext, ProcessJoinFunction};
pub use join::{Either, JoinedOn, JoinedStreams, JoinedWhere, JoinedWindows};
pub use key::Key;
pub use keyed::KeyedStream;
pub use metrics::{Counter, Histogram, Meter, MetricGroup};
pub use process::{Context, KeyedProcessFunction, OpenContext, ProcessContext, ProcessFunction};
pub use records::{Data, Records};
pub use rich::{
    KeyContext, RichCoFlatMapFunction, RichCoMapFunction, RichFilterFunction, RichFlatMapFunction, RichMapFunction,
};
pub use runtime_mode::RuntimeMode;
pub use side::OutputTag;
pub use socket::Reconnect;
pub use source::{DataGeneratorSource, RateLimiterStrategy};
pub use state::{
    AggregatingState, AsState, KeyState, ListState, MapState, OperatorListState, ReducingState, StateDescriptor,
    StateTtlConfig, StateVisibility, UpdateType, ValueState,
};
pub use stream::{DataStream, DataStreamSink};
pub use time::WatermarkStrategy;
pub use times::Times;
pub use watermarks::{WatermarkGenerator, WatermarkOutput};
pub use window::assigner::{
    EventTimeSessionWindows, GlobalWindows, ProcessingTimeSessionWindows, SlidingEventTimeWindows,
    SlidingProcessingTimeWindows, TumblingEventTimeWindows, TumblingProcessingTimeWindows, WindowAssigner,
};
pub use window::contents::{Elements, EvictWith, NoEvictor};
pub use window::evictor::{CountEvictor, DeltaEvictor, Evictor, EvictorContext, TimeEvictor, TimestampedValue};
pub use window::function::{OpenWindowContext, ProcessWindowFunction, WindowContext};
pub use window::stream::{AllWindowedStream, WindowedStream};
pub use window::timeout_trigger::ProcessingTimeoutTrigger;
pub use window::trigger::{
    ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger, CountTrigger, DeltaTrigger, EventTimeTrigger,
    NeverTrigger, NoState, ProcessingTimeTrigger, PurgingTrigger, TimeDomain, Trigger, TriggerContext, TriggerResult,
};
pub use window::{AllKey, GlobalWindow, TimeWindow, Window};
