//! [`FileSink`]: records as lines of files, in buckets.

use super::table;
use crate::connectors::delegate_sink;
use crate::connectors::schema::SerializationSchema;
use arrow_array::ArrayRef;
use arrow_array::builder::{BinaryBuilder, StringBuilder};
use flott_connectors::filesystem::bucket_sink;
use flott_core::clock::SharedClock;
use flott_core::time::EventTime;
use flott_core::{Batch, CheckpointId, Field, LogicalType, Options};
use flott_datastream::connector::{AtHand, guarded};
use flott_datastream::{Data, Records, RuntimeContext};
use flott_runtime::connector::{CommitterContext, ConnectorError, SinkSpec};
use flott_runtime::{Committer, Flow, OperatorContext, Sink, SinkWriter, TaskError};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// The column that says a row's folder.
const BUCKET: &str = "bucket";

/// Says which folder below the sink's path a record goes to.
///
/// Closures that take the record and give the folder's name are assigners too.
pub trait BucketAssigner<T>: Clone + Send + Sync + 'static {
    /// Name of the folder; characters that no folder's name can have are escaped, so that it is one folder. `now_ms` is processing
    /// time in milliseconds since the epoch.
    fn bucket_id(&mut self, value: &T, time: Option<EventTime>, now_ms: i64) -> String;
}

impl<F, T> BucketAssigner<T> for F
where
    F: FnMut(&T) -> String + Clone + Send + Sync + 'static,
{
    fn bucket_id(&mut self, value: &T, _time: Option<EventTime>, _now_ms: i64) -> String {
        self(value)
    }
}

/// A folder for each hour of processing time, in the machine's time zone: `2026-11-21--16`.
#[derive(Debug, Clone, Copy, Default)]
pub struct DateTimeBucketAssigner;

impl<T> BucketAssigner<T> for DateTimeBucketAssigner {
    fn bucket_id(&mut self, _value: &T, _time: Option<EventTime>, now_ms: i64) -> String {
        let utc = chrono::DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
        utc.with_timezone(&chrono::Local).format("%Y-%m-%d--%H").to_string()
    }
}

/// When a part of a file ends before its checkpoint. What is not said has Flink's default: 128 MiB, 60 s after its first record, 60 s
/// after its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultRollingPolicy {
    part_bytes: u64,
    rollover_interval: Duration,
    inactivity_interval: Duration,
}

impl DefaultRollingPolicy {
    /// A builder with the defaults.
    pub fn builder() -> DefaultRollingPolicyBuilder {
        DefaultRollingPolicyBuilder(Self::default())
    }
}

impl Default for DefaultRollingPolicy {
    fn default() -> Self {
        Self {
            part_bytes: 128 << 20,
            rollover_interval: Duration::from_secs(60),
            inactivity_interval: Duration::from_secs(60),
        }
    }
}

/// Makes a [`DefaultRollingPolicy`].
#[derive(Debug, Clone)]
pub struct DefaultRollingPolicyBuilder(DefaultRollingPolicy);

impl DefaultRollingPolicyBuilder {
    /// At this size in bytes.
    pub fn with_max_part_size(mut self, bytes: u64) -> Self {
        self.0.part_bytes = bytes;
        self
    }

    /// This long after its first record.
    pub fn with_rollover_interval(mut self, interval: Duration) -> Self {
        self.0.rollover_interval = interval;
        self
    }

    /// This long after its last record.
    pub fn with_inactivity_interval(mut self, interval: Duration) -> Self {
        self.0.inactivity_interval = interval;
        self
    }

    /// The policy.
    pub fn build(self) -> DefaultRollingPolicy {
        self.0
    }
}

/// Writes records of `T` as lines: see [`FileSink::for_row_format`].
#[derive(Clone)]
pub struct FileSink<T> {
    sink: Arc<dyn Sink>,
    records: PhantomData<fn(T)>,
}

impl<T> fmt::Debug for FileSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSink<{}>", std::any::type_name::<T>())
    }
}

delegate_sink!(FileSink);

impl<T: Data> FileSink<T> {
    /// A builder of a sink that writes each record as a line, by a schema or a closure of the record and the buffer. The example is at
    /// [`crate::connectors::file`]. Without a bucket assigner all files are in `path` itself (in Flink, in folders by the hour:
    /// [`DateTimeBucketAssigner`]).
    pub fn for_row_format<S: SerializationSchema<T>>(
        path: impl Into<String>,
        encoder: S,
    ) -> FileSinkBuilder<T, S, NoBuckets> {
        FileSinkBuilder {
            path: path.into(),
            encoder,
            assigner: NoBuckets,
            in_buckets: false,
            rolling: DefaultRollingPolicy::default(),
            check_interval: Duration::from_secs(60),
            records: PhantomData,
        }
    }
}

/// All files in one folder.
#[derive(Debug, Clone, Copy)]
pub struct NoBuckets;

impl<T> BucketAssigner<T> for NoBuckets {
    fn bucket_id(&mut self, _value: &T, _time: Option<EventTime>, _now_ms: i64) -> String {
        String::new()
    }
}

/// Makes a [`FileSink`].
#[derive(Debug, Clone)]
pub struct FileSinkBuilder<T, S, B> {
    path: String,
    encoder: S,
    assigner: B,
    in_buckets: bool,
    rolling: DefaultRollingPolicy,
    check_interval: Duration,
    records: PhantomData<fn(T)>,
}

impl<T: Data, S: SerializationSchema<T>, B: BucketAssigner<T>> FileSinkBuilder<T, S, B> {
    /// Which folder each record goes to.
    pub fn with_bucket_assigner<N: BucketAssigner<T>>(self, assigner: N) -> FileSinkBuilder<T, S, N> {
        FileSinkBuilder {
            path: self.path,
            encoder: self.encoder,
            assigner,
            in_buckets: true,
            rolling: self.rolling,
            check_interval: self.check_interval,
            records: PhantomData,
        }
    }

    /// When parts end, besides at each checkpoint.
    pub fn with_rolling_policy(mut self, policy: DefaultRollingPolicy) -> Self {
        self.rolling = policy;
        self
    }

    /// How often the ages of parts are looked at.
    pub fn with_bucket_check_interval(mut self, interval: Duration) -> Self {
        self.check_interval = interval;
        self
    }

    /// The sink.
    ///
    /// # Errors
    /// If the path or a setting is wrong.
    pub fn build(self) -> Result<FileSink<T>, ConnectorError> {
        let millis = |interval: Duration| format!("{} ms", interval.as_millis());
        let options: Options = [
            (
                "sink.rolling-policy.file-size",
                format!("{} b", self.rolling.part_bytes),
            ),
            (
                "sink.rolling-policy.rollover-interval",
                millis(self.rolling.rollover_interval),
            ),
            (
                "sink.rolling-policy.inactivity-interval",
                millis(self.rolling.inactivity_interval),
            ),
            ("sink.rolling-policy.check-interval", millis(self.check_interval)),
        ]
        .into_iter()
        .collect();
        let mut table = table("file-sink", &self.path, options);
        if self.in_buckets {
            table.columns.push(Field::new(BUCKET, LogicalType::string()));
            table.partition_keys.push(BUCKET.to_owned());
        }
        let lines = bucket_sink(&SinkSpec {
            fields: table.columns.clone(),
            table,
            metadata: vec![],
            updating: false,
        })?;
        Ok(FileSink {
            sink: Arc::new(Encoded {
                lines,
                encoder: self.encoder,
                assigner: self.assigner,
                in_buckets: self.in_buckets,
                records: PhantomData,
            }),
            records: PhantomData,
        })
    }
}

/// A sink of lines, and what makes lines of records.
struct Encoded<T, S, B> {
    lines: Box<dyn Sink>,
    encoder: S,
    assigner: B,
    in_buckets: bool,
    records: PhantomData<fn(T)>,
}

impl<T: Data, S: SerializationSchema<T>, B: BucketAssigner<T>> Sink for Encoded<T, S, B> {
    fn writer(&self, ctx: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        let mut encoder = self.encoder.clone();
        guarded("open", || encoder.open(&RuntimeContext::of(ctx)))?;
        Ok(Box::new(EncodedWriter {
            lines: self.lines.writer(ctx)?,
            encoder,
            assigner: self.assigner.clone(),
            in_buckets: self.in_buckets,
            clock: ctx.clock.clone(),
            at_hand: AtHand::<T>::new(),
            line: vec![],
        }))
    }

    fn committer(&self, ctx: &CommitterContext) -> Result<Option<Box<dyn Committer>>, ConnectorError> {
        self.lines.committer(ctx)
    }
}

struct EncodedWriter<T, S, B> {
    lines: Box<dyn SinkWriter>,
    encoder: S,
    assigner: B,
    in_buckets: bool,
    clock: SharedClock,
    at_hand: AtHand<T>,
    line: Vec<u8>,
}

impl<T: Data, S: SerializationSchema<T>, B: BucketAssigner<T>> SinkWriter for EncodedWriter<T, S, B> {
    fn write(&mut self, batch: Batch) -> Result<Flow, TaskError> {
        let records = Records::<T>::from_batch(batch)?;
        let now_ms = self.clock.now_ms();
        let (mut lines, mut buckets) = (BinaryBuilder::new(), StringBuilder::new());
        let Self {
            encoder,
            assigner,
            line,
            in_buckets,
            ..
        } = self;
        self.at_hand.each(&records, |value, time| {
            line.clear();
            encoder.serialize(value, line)?;
            lines.append_value(&*line);
            if *in_buckets {
                let bucket = assigner.bucket_id(value, time, now_ms);
                if matches!(bucket.as_str(), "" | "." | "..") || bucket.starts_with(['.', '_']) {
                    let reason = format!(
                        "the bucket id '{bucket}' is no name of a folder that readers look into: it must not be empty nor \
                         begin with '.' or '_'"
                    );
                    return Err(reason.into());
                }
                buckets.append_value(bucket);
            }
            Ok(())
        })?;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(lines.finish())];
        if self.in_buckets {
            columns.push(Arc::new(buckets.finish()));
        }
        self.lines.write(Batch::new(columns, records.values.len()))
    }

    fn flush(&mut self) -> Result<Flow, TaskError> {
        self.lines.flush()
    }

    fn resume(&mut self) -> Result<Flow, TaskError> {
        self.lines.resume()
    }

    fn on_watermark(&mut self, watermark: EventTime) {
        self.lines.on_watermark(watermark);
    }

    fn on_idle(&mut self, idle: bool) {
        self.lines.on_idle(idle);
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Vec<bytes::Bytes>, TaskError> {
        self.lines.prepare_commit(checkpoint)
    }

    fn committed(&mut self, checkpoint: CheckpointId) {
        self.lines.committed(checkpoint);
    }

    fn next_timer(&self) -> Option<i64> {
        self.lines.next_timer()
    }

    fn on_timer(&mut self, now_ms: i64) -> Result<Flow, TaskError> {
        self.lines.on_timer(now_ms)
    }
}
