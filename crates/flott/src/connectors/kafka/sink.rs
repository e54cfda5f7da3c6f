//! [`KafkaSink`] and its builder.

use super::{DeliveryGuarantee, ProducerRecord};
use crate::connectors::delegate_sink;
use crate::connectors::schema::SerializationSchema;
use flott_connectors::kafka::program::SinkSettings;
use flott_connectors::kafka::records::{FillRecords, ProducerRecords};
use flott_core::{Batch, EventTime};
use flott_datastream::connector::{AtHand, guarded};
use flott_datastream::{BoxError, Data, Records, RuntimeContext};
use flott_runtime::connector::ConnectorError;
use flott_runtime::{Sink, TaskError};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Says what Kafka is to hold of a record: value, key, headers, time, partition, topic.
///
/// Closures that take the record and the [`ProducerRecord`] to fill are such schemas too.
pub trait KafkaRecordSerializationSchema<T>: Clone + Send + Sync + 'static {
    /// Called once in each subtask before its first record.
    ///
    /// # Errors
    /// Fails the task.
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        let _ = ctx;
        Ok(())
    }

    /// Fills `record`, whose time is already the event time of `value`, if it has one.
    ///
    /// # Errors
    /// Fails the task, with the record.
    fn serialize(
        &mut self,
        value: &T,
        time: Option<EventTime>,
        record: &mut ProducerRecord<'_>,
    ) -> Result<(), BoxError>;
}

impl<F, T> KafkaRecordSerializationSchema<T> for F
where
    F: FnMut(&T, &mut ProducerRecord<'_>) -> Result<(), BoxError> + Clone + Send + Sync + 'static,
{
    #[inline]
    fn serialize(
        &mut self,
        value: &T,
        _time: Option<EventTime>,
        record: &mut ProducerRecord<'_>,
    ) -> Result<(), BoxError> {
        self(value, record)
    }
}

/// Writes value and, where there is one, key by schemas of their own.
#[derive(Debug, Clone)]
pub struct KeyValueSerializer<K, V> {
    key: Option<K>,
    value: V,
}

impl<T, K: SerializationSchema<T>, V: SerializationSchema<T>> KafkaRecordSerializationSchema<T>
    for KeyValueSerializer<K, V>
{
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        if let Some(key) = &mut self.key {
            key.open(ctx)?;
        }
        self.value.open(ctx)
    }

    #[inline]
    fn serialize(
        &mut self,
        value: &T,
        _time: Option<EventTime>,
        record: &mut ProducerRecord<'_>,
    ) -> Result<(), BoxError> {
        if let Some(key) = &mut self.key {
            record.write_key(|out| key.serialize(value, out))?;
        }
        record.write_value(|out| self.value.serialize(value, out))?;
        Ok(())
    }
}

/// Writes records of `T` to topics of Kafka: see [`KafkaSink::builder`].
#[derive(Clone)]
pub struct KafkaSink<T> {
    sink: Arc<dyn Sink>,
    records: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for KafkaSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KafkaSink<{}>", std::any::type_name::<T>())
    }
}

impl<T: Data> KafkaSink<T> {
    /// A builder; it needs brokers, a topic and a serializer. The example is at [`crate::connectors::kafka`].
    pub fn builder() -> KafkaSinkBuilder<T> {
        KafkaSinkBuilder {
            settings: SinkSettings::default(),
            serializer: NoSerializer,
            records: PhantomData,
        }
    }
}

delegate_sink!(KafkaSink);

/// A builder whose serializer was not said yet.
#[derive(Debug, Clone, Copy)]
pub struct NoSerializer;

/// A serializer, and whether it may name topics.
#[derive(Debug, Clone)]
pub struct RecordSerializer<S> {
    schema: S,
    may_name_topics: bool,
}

/// Makes a [`KafkaSink`].
#[derive(Debug, Clone)]
pub struct KafkaSinkBuilder<T, S = NoSerializer> {
    settings: SinkSettings,
    serializer: S,
    records: PhantomData<fn(T)>,
}

impl<T: Data, S> KafkaSinkBuilder<T, S> {
    fn set(mut self, change: impl FnOnce(&mut SinkSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    fn serialized_by<N>(self, schema: N, may_name_topics: bool) -> KafkaSinkBuilder<T, RecordSerializer<N>> {
        KafkaSinkBuilder {
            settings: self.settings,
            serializer: RecordSerializer {
                schema,
                may_name_topics,
            },
            records: PhantomData,
        }
    }

    /// Brokers to ask first: `host:port`, several with commas.
    pub fn bootstrap_servers(self, servers: impl Into<String>) -> Self {
        self.property("bootstrap.servers", servers)
    }

    /// The topic of all records for which the serializer names no other.
    pub fn topic(self, topic: impl Into<String>) -> Self {
        self.set(|s| s.topic(topic))
    }

    /// One of Kafka's properties, by its name there. An unknown name is refused.
    pub fn property(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.set(|s| s.property(name, value))
    }

    /// What the sink promises; [`DeliveryGuarantee::None`] if nothing is said, as in Flink.
    pub fn delivery_guarantee(self, guarantee: DeliveryGuarantee) -> Self {
        self.set(|s| s.delivery_guarantee(guarantee))
    }

    /// What the ids of the sink's transactions begin with: a name that no other sink uses on this Kafka cluster, and that stays the same
    /// while the job is restored. [`DeliveryGuarantee::ExactlyOnce`] needs it.
    pub fn transactional_id_prefix(self, prefix: impl Into<String>) -> Self {
        self.set(|s| s.transactional_id_prefix(prefix))
    }

    /// When the broker has given up a transaction that a checkpoint lists (`transaction.timeout.ms` passed), goes on without its records
    /// instead of ending the job.
    pub fn ignore_lost_transactions(self) -> Self {
        self.set(SinkSettings::ignore_lost_transactions)
    }

    /// Writes values alone: by [`crate::connectors::schema::SimpleStringSchema`], `JsonSerializationSchema`, `CsvSerializationSchema`, or
    /// a closure of the record and the buffer.
    pub fn value_only<V: SerializationSchema<T>>(
        self,
        value: V,
    ) -> KafkaSinkBuilder<T, RecordSerializer<KeyValueSerializer<V, V>>> {
        self.serialized_by(KeyValueSerializer { key: None, value }, false)
    }

    /// Writes keys and values, each by a schema of its own. Records of one key go to one partition.
    pub fn key_and_value<K: SerializationSchema<T>, V: SerializationSchema<T>>(
        self,
        key: K,
        value: V,
    ) -> KafkaSinkBuilder<T, RecordSerializer<KeyValueSerializer<K, V>>> {
        self.serialized_by(KeyValueSerializer { key: Some(key), value }, false)
    }

    /// Writes whole records, with headers, time, partition and topic: by a closure of the record and the [`ProducerRecord`] to fill, or
    /// a [`KafkaRecordSerializationSchema`]. One that names the topic of every record needs no [`Self::topic`].
    pub fn record_serializer<R: KafkaRecordSerializationSchema<T>>(
        self,
        schema: R,
    ) -> KafkaSinkBuilder<T, RecordSerializer<R>> {
        self.serialized_by(schema, true)
    }
}

impl<T: Data, S: KafkaRecordSerializationSchema<T>> KafkaSinkBuilder<T, RecordSerializer<S>> {
    /// The sink.
    ///
    /// # Errors
    /// If a setting is missing, wrong or unknown; the text says which and what to call.
    pub fn build(self) -> Result<KafkaSink<T>, ConnectorError> {
        let RecordSerializer {
            schema,
            may_name_topics,
        } = self.serializer;
        let sink = self.settings.sink(may_name_topics, move |ctx| {
            let mut schema = schema.clone();
            guarded("open", || schema.open(&RuntimeContext::of(ctx)))?;
            Ok(Serialized {
                schema,
                at_hand: AtHand::<T>::new(),
            })
        })?;
        Ok(KafkaSink {
            sink,
            records: PhantomData,
        })
    }
}

/// Fills records from values.
struct Serialized<T, S> {
    schema: S,
    at_hand: AtHand<T>,
}

impl<T: Data, S: KafkaRecordSerializationSchema<T>> FillRecords for Serialized<T, S> {
    fn fill(&mut self, batch: Batch, into: &mut ProducerRecords) -> Result<(), TaskError> {
        let records = Records::<T>::from_batch(batch)?;
        let schema = &mut self.schema;
        self.at_hand.each(&records, |value, time| {
            into.push(|record| {
                // As in Flink, times before the epoch are none of Kafka's.
                if let Some(time_ms) = time.filter(|t| *t >= 0) {
                    record.set_timestamp(time_ms);
                }
                schema.serialize(value, time, record)
            })?;
            Ok(())
        })
    }
}
