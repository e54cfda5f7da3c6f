//! Kafka: [`KafkaSource`] and [`KafkaSink`], with the words of Flink's builders.
//!
//! ```no_run
//! use flott::prelude::*;
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Order {
//!     customer: String,
//!     cents: i64,
//! }
//!
//! # fn main() -> Result<(), ExecuteError> {
//! let env = StreamExecutionEnvironment::get_execution_environment();
//! env.enable_checkpointing(Duration::from_secs(10));
//!
//! let source = KafkaSource::builder()
//!     .bootstrap_servers("localhost:9092")
//!     .topics(["orders"])
//!     .group_id("billing")
//!     .starting_offsets(OffsetsInitializer::earliest())
//!     .value_only(JsonDeserializationSchema::<Order>::new())
//!     .build()?;
//! let sink = KafkaSink::builder()
//!     .bootstrap_servers("localhost:9092")
//!     .topic("large-orders")
//!     .record_serializer(|order: &Order, record: &mut ProducerRecord<'_>| {
//!         record.set_key(order.customer.as_bytes());
//!         record.write_value(|out| serde_json::to_writer(out, order))?;
//!         Ok(())
//!     })
//!     .delivery_guarantee(DeliveryGuarantee::ExactlyOnce)
//!     .transactional_id_prefix("large-orders")
//!     .build()?;
//!
//! let lateness = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(5));
//! env.from_source(source, lateness, "orders").filter(|order| order.cents > 100_000).sink_to(sink);
//! env.execute("large orders")?;
//! # Ok(())
//! # }
//! ```
//!
//! A record's event time is its Kafka timestamp, unless the strategy has a timestamp assigner, which is given it. Watermarks are made
//! per partition. Positions are in checkpoints; with a `group_id` they are also committed to the group when a checkpoint is complete.

mod sink;
mod source;

pub use flott_connectors::bad_rows::BadRows;
pub use flott_connectors::kafka::program::{DeliveryGuarantee, OffsetResetStrategy, OffsetsInitializer};
pub use flott_connectors::kafka::records::{ConsumerRecord, ProducerRecord};
pub use sink::{
    KafkaRecordSerializationSchema, KafkaSink, KafkaSinkBuilder, KeyValueSerializer, NoSerializer, RecordSerializer,
};
pub use source::{
    KafkaRecordDeserializationSchema, KafkaSource, KafkaSourceBuilder, NoDeserializer, RecordCollector, ValueOnly,
};
