//! Flott: Apache Flink's jobs on a Rust engine.
//!
//! Programs begin with [`prelude`]:
//!
//! ```
//! use flott::prelude::*;
//!
//! let env = StreamExecutionEnvironment::get_execution_environment();
//! env.set_parallelism(1);
//! env.from_collection(1..=5).map(|x| x * 2).print();
//! env.execute("times two")?;
//! # Ok::<(), ExecuteError>(())
//! ```
//!
//! [`guide`] goes through all that they can do. This crate also joins the rooms: connectors, SQL and its operators know nothing of each other and meet in the
//! [`registry()`].

use flott_runtime::Registry;

pub mod connector;
#[cfg(feature = "connectors")]
pub mod connectors;
pub mod local;
#[cfg(feature = "sql")]
pub mod table;

#[doc = include_str!("../docs/datastream.md")]
pub mod guide {}

/// What values of state and keys are made of; programs derive [`StateValue`] and [`Key`].
pub mod state {
    pub use arrow_array::ArrayRef;
    pub use flott_core::LogicalType;
    pub use flott_state::derived;
    pub use flott_state::value::{DamagedValue, StateValue};
}

/// An allocator for programs whose records own memory (strings, vectors): what one thread allocates and another frees is cheap with it.
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: flott::Allocator = flott::Allocator;
/// # fn main() {}
/// ```
pub use mimalloc::MiMalloc as Allocator;

/// A text that keeps up to 24 bytes in itself, as a record's short words, names and ids do best: nothing is allocated, and nothing waits for the memory of
/// another thread. As a key and in state it is the same as a `String`, so that a program can change from one to the other.
///
/// ```
/// use flott::prelude::*;
///
/// let word = CompactString::from("quick");
/// assert_eq!(word, "quick");
/// ```
pub use compact_str::CompactString;

pub use flott_cluster::RestoreCheck;
pub use flott_core::{Batch, CheckpointId, EventTime, Options};
pub use flott_datastream as datastream;
pub use flott_datastream::{Key, StateValue};
pub use flott_derive::{Key, StateValue};
pub use flott_runtime as runtime;
#[cfg(feature = "sql")]
pub use flott_sql as sql;

/// What a DataStream program uses.
pub mod prelude {
    #[cfg(feature = "connectors")]
    pub use crate::connectors::{
        file::{DateTimeBucketAssigner, DefaultRollingPolicy, FileSink, FileSource},
        kafka::{
            BadRows, ConsumerRecord, DeliveryGuarantee, KafkaRecordDeserializationSchema,
            KafkaRecordSerializationSchema, KafkaSink, KafkaSource, OffsetResetStrategy, OffsetsInitializer,
            ProducerRecord, RecordCollector,
        },
        schema::{
            CsvDeserializationSchema, CsvSerializationSchema, DeserializationSchema, JsonDeserializationSchema,
            JsonSerializationSchema, SerializationSchema, SimpleStringSchema,
        },
    };
    pub use crate::local::{CheckState, GetExecutionEnvironment, program_arguments};
    #[cfg(feature = "sql")]
    pub use crate::table::{
        Change, ChangelogMode, Row, RowKind, Schema, StatementSet, StreamTableEnvironment, Table, TableError,
        TableRecord, TableResult,
    };
    pub use crate::{CompactString, Key, StateValue};
    pub use flott_datastream::{
        AggregateFunction, AggregatingState, AllKey, AllWindowedStream, AsBroadcast, AsBroadcastMut, AsState,
        AsyncDataStream, AsyncFunction, AsyncRetryStrategy, BoxError, BroadcastConnectedStream, BroadcastContext,
        BroadcastProcessFunction, BroadcastState, BroadcastStream, CoFlatMapFunction, CoMapFunction, CoProcessFunction,
        Collector, ConnectedStreams, Context, ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger,
        CountEvictor, CountTrigger, Counter, Data, DataGeneratorSource, DataStream, DataStreamSink, DeltaEvictor,
        DeltaTrigger, Either, Elements, EventTimeSessionWindows, EventTimeTrigger, Evictor, EvictorContext,
        ExecuteError, FlatMapFunction, GlobalWindow, GlobalWindows, Histogram, JobClient, JobExecutionResult,
        JobStatus, JoinContext, KeyContext, KeyState, KeyedBroadcastConnectedStream, KeyedBroadcastContext,
        KeyedBroadcastProcessFunction, KeyedCoProcessFunction, KeyedConnectedStreams, KeyedProcessFunction,
        KeyedStream, ListState, MapFunction, MapState, Meter, MetricGroup, NoState, OpenBroadcastContext, OpenContext,
        OpenKeyedBroadcastContext, OpenWindowContext, OperatorListState, OutputTag, ProcessContext, ProcessFunction,
        ProcessJoinFunction, ProcessWindowFunction, ProcessingTimeSessionWindows, ProcessingTimeTrigger,
        ProcessingTimeoutTrigger, PurgingTrigger, RateLimiterStrategy, Reconnect, ReducingState, RichCoFlatMapFunction,
        RichCoMapFunction, RichFilterFunction, RichFlatMapFunction, RichMapFunction, RuntimeContext, RuntimeMode,
        SinkFunction, SlidingEventTimeWindows, SlidingProcessingTimeWindows, StateDescriptor, StateTtlConfig,
        StateVisibility, StreamExecutionEnvironment, TimeDomain, TimeEvictor, TimeWindow, TimestampedValue, Trigger,
        TriggerContext, TriggerResult, TumblingEventTimeWindows, TumblingProcessingTimeWindows, UpdateType, ValueState,
        WatermarkGenerator, WatermarkOutput, WatermarkStrategy, Window, WindowAssigner, WindowContext, WindowedStream,
    };
}

/// A registry of everything that this build can run.
pub fn registry() -> Registry {
    #[allow(unused_mut, reason = "without features there is nothing to register")]
    let mut registry = Registry::new();
    #[cfg(feature = "sql")]
    flott_sql::operators::register(&mut registry);
    #[cfg(feature = "connectors")]
    flott_connectors::register(&mut registry);
    registry
}
