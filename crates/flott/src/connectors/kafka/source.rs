//! [`KafkaSource`] and its builder.

use super::{BadRows, ConsumerRecord, OffsetsInitializer};
use crate::connectors::delegate_source;
use crate::connectors::schema::DeserializationSchema;
use flott_connectors::kafka::program::SourceSettings;
use flott_connectors::kafka::records::{Assemble, Unreadable};
use flott_core::Batch;
use flott_datastream::connector::guarded;
use flott_datastream::{BoxError, Data, Records, RuntimeContext};
use flott_runtime::connector::ConnectorError;
use flott_runtime::error::panic_text;
use flott_runtime::{Source, TaskError};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Makes records of what Kafka holds: of value, key, headers, time and place.
///
/// Closures that take a [`ConsumerRecord`] and give a `Result` are such schemas too.
pub trait KafkaRecordDeserializationSchema: Clone + Send + Sync + 'static {
    /// What it makes.
    type Out: Data;

    /// Called once in each subtask before its first record.
    ///
    /// # Errors
    /// Fails the task.
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        let _ = ctx;
        Ok(())
    }

    /// Emits what it makes of a record: any number of them.
    ///
    /// # Errors
    /// The record cannot be read: what then happens is said by [`KafkaSourceBuilder::bad_rows`]. What was emitted of it is dropped.
    fn deserialize(
        &mut self,
        record: &ConsumerRecord<'_>,
        out: &mut RecordCollector<'_, Self::Out>,
    ) -> Result<(), BoxError>;
}

impl<F, T, E> KafkaRecordDeserializationSchema for F
where
    F: FnMut(&ConsumerRecord<'_>) -> Result<T, E> + Clone + Send + Sync + 'static,
    T: Data,
    E: Into<BoxError>,
{
    type Out = T;

    #[inline]
    fn deserialize(&mut self, record: &ConsumerRecord<'_>, out: &mut RecordCollector<'_, T>) -> Result<(), BoxError> {
        out.collect(self(record).map_err(Into::into)?);
        Ok(())
    }
}

/// Takes what a deserializer emits.
#[derive(Debug)]
pub struct RecordCollector<'a, T> {
    values: &'a mut Vec<T>,
}

impl<T> RecordCollector<'_, T> {
    /// Emits a record.
    #[inline]
    pub fn collect(&mut self, value: T) {
        self.values.push(value);
    }
}

/// Reads a record's value by a [`DeserializationSchema`]; a record without a value gives nothing.
#[derive(Debug, Clone)]
pub struct ValueOnly<D>(D);

impl<D: DeserializationSchema> KafkaRecordDeserializationSchema for ValueOnly<D> {
    type Out = D::Out;

    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        self.0.open(ctx)
    }

    #[inline]
    fn deserialize(
        &mut self,
        record: &ConsumerRecord<'_>,
        out: &mut RecordCollector<'_, D::Out>,
    ) -> Result<(), BoxError> {
        let Some(message) = record.value() else {
            return Ok(());
        };
        if let Some(value) = self.0.deserialize(message)? {
            out.collect(value);
        }
        Ok(())
    }
}

/// Reads topics of Kafka as records of `T`: see [`KafkaSource::builder`].
#[derive(Clone)]
pub struct KafkaSource<T> {
    source: Arc<dyn Source>,
    records: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for KafkaSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KafkaSource<{}>", std::any::type_name::<T>())
    }
}

impl<T: Data> KafkaSource<T> {
    /// A builder; it needs brokers, topics and a deserializer. The example is at [`crate::connectors::kafka`].
    pub fn builder() -> KafkaSourceBuilder<T> {
        KafkaSourceBuilder {
            settings: SourceSettings::default(),
            deserializer: NoDeserializer,
            records: PhantomData,
        }
    }
}

delegate_source!(KafkaSource);

/// A builder whose deserializer was not said yet.
#[derive(Debug, Clone, Copy)]
pub struct NoDeserializer;

/// Makes a [`KafkaSource`].
#[derive(Debug, Clone)]
pub struct KafkaSourceBuilder<T, D = NoDeserializer> {
    settings: SourceSettings,
    deserializer: D,
    records: PhantomData<fn() -> T>,
}

impl<T: Data, D> KafkaSourceBuilder<T, D> {
    fn set(mut self, change: impl FnOnce(&mut SourceSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Brokers to ask first: `host:port`, several with commas.
    pub fn bootstrap_servers(self, servers: impl Into<String>) -> Self {
        self.property("bootstrap.servers", servers)
    }

    /// The topics to read.
    pub fn topics<S: Into<String>>(self, topics: impl IntoIterator<Item = S>) -> Self {
        self.set(|s| s.topics(topics))
    }

    /// A regular expression of the whole names of the topics to read, instead of [`Self::topics`]. New ones are found at
    /// `partition.discovery.interval.ms`, and new partitions too.
    pub fn topic_pattern(self, pattern: impl Into<String>) -> Self {
        self.set(|s| s.topic_pattern(pattern))
    }

    /// The group that positions are committed to, and whose positions [`OffsetsInitializer::committed_offsets`] means.
    pub fn group_id(self, group: impl Into<String>) -> Self {
        self.property("group.id", group)
    }

    /// Where partitions begin that are there at the job's first start; [`OffsetsInitializer::earliest`] if nothing is said. Later partitions
    /// begin at their first record, and a restored job where it was.
    pub fn starting_offsets(self, offsets: OffsetsInitializer) -> Self {
        self.set(|s| s.starting_offsets(offsets))
    }

    /// Ends the source where these offsets are when the job starts.
    pub fn bounded(self, offsets: OffsetsInitializer) -> Self {
        self.set(|s| s.bounded(offsets))
    }

    /// One of Kafka's properties, by its name there. An unknown name is refused.
    pub fn property(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.set(|s| s.property(name, value))
    }

    /// What to do with records that the deserializer refuses: [`BadRows::Fail`], if nothing is said, fails the job with topic,
    /// partition and offset.
    pub fn bad_rows(self, bad_rows: BadRows) -> Self {
        self.set(|s| s.bad_rows(bad_rows))
    }

    /// Reads values alone: by [`crate::connectors::schema::SimpleStringSchema`], `JsonDeserializationSchema`, `CsvDeserializationSchema`,
    /// or a closure of `&[u8]`. Records without a value give nothing.
    pub fn value_only<S: DeserializationSchema<Out = T>>(self, schema: S) -> KafkaSourceBuilder<T, ValueOnly<S>> {
        self.deserializer(ValueOnly(schema))
    }

    /// Reads records with key, headers, time and place: by a closure of `&ConsumerRecord<'_>`, or a
    /// [`KafkaRecordDeserializationSchema`].
    pub fn deserializer<S: KafkaRecordDeserializationSchema<Out = T>>(self, schema: S) -> KafkaSourceBuilder<T, S> {
        KafkaSourceBuilder {
            settings: self.settings,
            deserializer: schema,
            records: PhantomData,
        }
    }
}

impl<T: Data, D: KafkaRecordDeserializationSchema<Out = T>> KafkaSourceBuilder<T, D> {
    /// The source.
    ///
    /// # Errors
    /// If a setting is missing, wrong or unknown; the text says which and what to call.
    pub fn build(self) -> Result<KafkaSource<T>, ConnectorError> {
        let deserializer = self.deserializer;
        let source = self.settings.source(move |ctx| {
            let mut deserializer = deserializer.clone();
            guarded("open", || deserializer.open(&RuntimeContext::of(ctx)))?;
            Ok(Deserialized {
                deserializer,
                values: vec![],
                times: vec![],
                bytes: 0,
            })
        })?;
        Ok(KafkaSource {
            source,
            records: PhantomData,
        })
    }
}

/// The records of one partition, as values.
struct Deserialized<D: KafkaRecordDeserializationSchema> {
    deserializer: D,
    values: Vec<D::Out>,
    times: Vec<i64>,
    /// Of the messages.
    bytes: usize,
}

impl<D: KafkaRecordDeserializationSchema> Assemble for Deserialized<D> {
    fn rows(&self) -> usize {
        self.values.len()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    fn append(&mut self, record: &ConsumerRecord<'_>) -> Result<(), Unreadable> {
        let before = self.values.len();
        let values = &mut self.values;
        let deserialize = || self.deserializer.deserialize(record, &mut RecordCollector { values });
        let failure = match catch_unwind(AssertUnwindSafe(deserialize)) {
            Ok(Ok(())) => {
                self.times.resize(self.values.len(), record.timestamp());
                self.bytes += record.value().map_or(0, <[u8]>::len) + record.key().map_or(0, <[u8]>::len);
                return Ok(());
            }
            Ok(Err(error)) => Unreadable::Refused(error),
            Err(panic) => Unreadable::Panicked(panic_text(panic.as_ref()).to_owned()),
        };
        self.values.truncate(before);
        Err(failure)
    }

    fn finish(&mut self) -> Result<Batch, TaskError> {
        self.bytes = 0;
        let records = Records {
            values: std::mem::take(&mut self.values),
            times: std::mem::take(&mut self.times).into(),
        };
        Ok(records.into_batch())
    }
}
