//! What a connector implements: a source that is split, a sink that commits, and the table form of both.
//!
//! A source has an enumerator (beside the JobManager: finds splits and gives each to a subtask) and readers (one a
//! subtask, on the chain's thread: decode, never wait). A sink has writers (one a subtask) and, where it is exactly-once,
//! a committer (beside the JobManager: commits what a completed checkpoint lists). Asynchronous work runs on Tokio and
//! wakes the task through [`crate::Waker`].

use crate::context::OperatorContext;
use crate::error::TaskError;
use crate::operator::Flow;
use crate::partition_filter::PartitionFilter;
use async_trait::async_trait;
use bytes::Bytes;
use flott_core::time::EventTime;
use flott_core::{Batch, CheckpointId, Field, JobId, LogicalType, OperatorId, Options};
use flott_state::OperatorEntry;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// A connector refused a table, or something outside failed; the message names place, value and remedy.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// An option is unknown, missing or wrong; found while planning.
    #[error("{0}")]
    Option(String),
    /// A column's type or a key cannot be used.
    #[error("{0}")]
    Schema(String),
    /// A topic, file or credential is wrong: trying again cannot help.
    #[error("{message}")]
    Fatal {
        /// What and what to do.
        message: String,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A broker or disk did not answer in time: trying again may help.
    #[error("{message}")]
    Transient {
        /// What and what to do.
        message: String,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl From<ConnectorError> for TaskError {
    fn from(e: ConnectorError) -> Self {
        use crate::error::FailureLabel::{Infrastructure, User};
        let message = e.to_string();
        match e {
            ConnectorError::Option(_) | ConnectorError::Schema(_) => Self::new(User, message).fatal(),
            ConnectorError::Fatal { source: Some(s), .. } => Self::caused(User, message, s).fatal(),
            ConnectorError::Fatal { source: None, .. } => Self::new(User, message).fatal(),
            ConnectorError::Transient { source: Some(s), .. } => Self::caused(Infrastructure, message, s),
            ConnectorError::Transient { source: None, .. } => Self::new(Infrastructure, message),
        }
    }
}

/// Whether a source ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boundedness {
    /// It ends by itself.
    Bounded,
    /// It runs until stopped.
    Unbounded,
}

/// A part of a source that one reader reads: a partition, a file range. The state is the connector's own, versioned bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Unique within the source, for good.
    pub id: String,
    /// Position and whatever else a reader needs.
    pub state: Vec<u8>,
}

/// A split on its way to or from a checkpoint, with how far its event time had come there.
///
/// Without it a partition that is read to its end would know no time after a restart, and hold back everybody's until its
/// next record came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedSplit {
    /// The split, as its connector wrote it.
    #[serde(flatten)]
    pub split: Split,
    /// Its watermark, in milliseconds since the epoch; none before its first row, and in a source without event time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<EventTime>,
}

impl From<Split> for TimedSplit {
    fn from(split: Split) -> Self {
        Self { split, watermark: None }
    }
}

/// A source, made from a plan's node.
pub trait Source: Send + Sync {
    /// Whether it ends.
    fn boundedness(&self) -> Boundedness;

    /// The enumerator. `restored`: what [`SplitEnumerator::snapshot`] gave, if the job is restored.
    ///
    /// # Errors
    /// If the settings are wrong.
    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError>;

    /// A reader for one subtask; splits follow by [`SourceReader::add_splits`], restored ones first.
    ///
    /// # Errors
    /// If the settings are wrong.
    fn reader(&self, ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError>;
}

/// Finds splits; runs beside the JobManager, on Tokio.
#[async_trait]
pub trait SplitEnumerator: Send {
    /// The splits found since the last call (all at the first, less those of a restored snapshot).
    ///
    /// # Errors
    /// If what is outside cannot be asked.
    async fn discover(&mut self) -> Result<Vec<Split>, ConnectorError>;

    /// How often to discover again; `None`: only once, and readers are told that no more follows.
    fn discovery_interval(&self) -> Option<Duration>;

    /// The subtask that reads `split`; must not depend on the order of calls.
    fn owner(&self, split: &Split, parallelism: usize) -> usize;

    /// Ids of all splits ever found, so that a restored enumerator does not find them again.
    fn snapshot(&self) -> Vec<u8>;
}

/// What a reader has for its task.
#[derive(Debug)]
pub enum ReaderPoll {
    /// Rows of one split (its index in the order of `add_splits`), in the split's order.
    Batch {
        /// Index of the split.
        split: usize,
        /// The rows.
        batch: Batch,
    },
    /// The split is read to its end; no batch of it follows.
    SplitFinished(usize),
    /// Nothing now. The reader wakes the task when there is, or the task looks again at this processing time.
    Idle {
        /// Processing time in milliseconds of the next look, if time alone brings rows.
        until_ms: Option<i64>,
    },
    /// Every split is finished and no more will come.
    Finished,
}

/// Reads splits on the chain's thread.
pub trait SourceReader: Send {
    /// Takes splits to read, with positions.
    ///
    /// # Errors
    /// If a split's state cannot be read.
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError>;

    /// No split will be added any more.
    fn no_more_splits(&mut self);

    /// The next batch, decoded here; never waits.
    ///
    /// # Errors
    /// If a row or the outside fails.
    fn poll(&mut self, now_ms: i64) -> Result<ReaderPoll, TaskError>;

    /// Splits and positions behind the last batch that was handed out; finished splits are left out.
    ///
    /// # Errors
    /// If they cannot be written.
    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError>;

    /// The checkpoint is complete: positions of its snapshot may be committed outside.
    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
    }

    /// Whether an added, unfinished split holds the watermark back although it may have had no row yet. Readers that
    /// read splits one after another say no for those that they have not begun; a partition of a log always counts.
    fn is_active(&self, split: usize) -> bool {
        let _ = split;
        true
    }

    /// Stops or goes on with reading a split (watermark alignment): no batch of a paused split is handed out but what was read already. Where
    /// this does nothing, splits are read on, and the source waits as a whole once all that count are ahead of their group.
    fn set_paused(&mut self, split: usize, paused: bool) {
        let _ = (split, paused);
    }
}

/// A sink, made from a plan's node.
pub trait Sink: Send + Sync {
    /// A writer for one subtask.
    ///
    /// # Errors
    /// If the settings are wrong.
    fn writer(&self, ctx: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError>;

    /// The committer, if the sink is exactly-once.
    ///
    /// # Errors
    /// If the settings are wrong.
    fn committer(&self, ctx: &CommitterContext) -> Result<Option<Box<dyn Committer>>, ConnectorError> {
        let _ = ctx;
        Ok(None)
    }
}

/// What a committer is told.
#[derive(Debug, Clone)]
pub struct CommitterContext {
    /// The job.
    pub job_id: JobId,
    /// `pipeline.name`.
    pub job_name: String,
    /// The sink; a restored job's sink has the same.
    pub operator_id: OperatorId,
    /// Options of the job.
    pub options: Arc<Options>,
    /// Leadership of the JobManager that runs the job: what a later one of the same job has begun is not to be given up.
    pub generation: u64,
}

/// Writes rows; runs at the end of a chain, on its thread.
pub trait SinkWriter: Send {
    /// Takes rows. `Blocked`: they are taken, but no more before `resume` is `Done`.
    ///
    /// # Errors
    /// If a row cannot be written.
    fn write(&mut self, batch: Batch) -> Result<Flow, TaskError>;

    /// Makes everything written so far durable outside (acknowledged, on disk), uncommitted where the sink is
    /// exactly-once. `Blocked` until it is.
    ///
    /// # Errors
    /// If it was refused.
    fn flush(&mut self) -> Result<Flow, TaskError>;

    /// Goes on after `Blocked`.
    ///
    /// # Errors
    /// As the call it continues.
    fn resume(&mut self) -> Result<Flow, TaskError> {
        Ok(Flow::Done)
    }

    /// Event time has come to `watermark`; at the end of the input to `END_OF_TIME`, before the last `flush`, also where the
    /// rows have no event time.
    fn on_watermark(&mut self, watermark: EventTime) {
        let _ = watermark;
    }

    /// The subtask's watermark counts no more (`true`), because its sources are idle, or again.
    fn on_idle(&mut self, idle: bool) {
        let _ = idle;
    }

    /// After a `flush` that is done: what the checkpoint must list so that it can be committed later; then a new
    /// transaction begins.
    ///
    /// # Errors
    /// If the transaction cannot be prepared.
    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Vec<Bytes>, TaskError> {
        let _ = checkpoint;
        Ok(vec![])
    }

    /// After a `flush` that is done: operator state of the writer, which a later one finds in its [`OperatorContext::restored`].
    ///
    /// # Errors
    /// If it cannot be written.
    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<Vec<OperatorEntry>, TaskError> {
        let _ = checkpoint;
        Ok(vec![])
    }

    /// The committables of `checkpoint` are committed.
    fn committed(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
    }

    /// `checkpoint` was given up, and is not prepared any more if it was not yet; what it held is committed with a later one.
    fn aborted(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
    }

    /// When the writer wants a `flush`-less look at the clock (linger), in processing time.
    fn next_timer(&self) -> Option<i64> {
        None
    }

    /// Processing time has come to `next_timer`.
    ///
    /// # Errors
    /// If what was due fails.
    fn on_timer(&mut self, now_ms: i64) -> Result<Flow, TaskError> {
        let _ = now_ms;
        Ok(Flow::Done)
    }

    /// The task ends, in whatever way: [`crate::Operator::close`]. Nothing is written any more; what is uncommitted stays so.
    ///
    /// # Errors
    /// They are told in the log.
    fn close(&mut self) -> Result<(), TaskError> {
        Ok(())
    }
}

/// Commits what checkpoints list; runs beside the JobManager, on Tokio. Every call may be repeated by a later process.
#[async_trait]
pub trait Committer: Send {
    /// Commits; already committed ones are fine.
    ///
    /// # Errors
    /// `Transient`: try again. `Fatal`: data is lost (an expired transaction), the job must stop and say so.
    async fn commit(&mut self, committables: &[Bytes]) -> Result<(), ConnectorError>;

    /// Before a job starts: commits what the restored checkpoint lists (empty on a fresh start) and gives up every
    /// other unfinished one of this sink, also those of a formerly higher parallelism.
    ///
    /// # Errors
    /// As [`Committer::commit`].
    async fn recover(&mut self, listed: &[Bytes]) -> Result<(), ConnectorError>;

    /// Goes on where the committer of another process stopped, while the job's tasks run on: commits what the newest checkpoint lists, and
    /// gives nothing up.
    ///
    /// # Errors
    /// As [`Committer::commit`].
    async fn take_over(&mut self, listed: &[Bytes]) -> Result<(), ConnectorError> {
        self.commit(listed).await
    }
}

/// A metadata column that a table declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataColumn {
    /// Column name.
    pub name: String,
    /// Key of the connector's metadata, e.g. `timestamp`.
    pub key: String,
    /// Type declared; the connector's own type is cast to it by the planner.
    pub ty: LogicalType,
    /// Read only (VIRTUAL).
    pub is_virtual: bool,
}

/// A table as it was declared: what a connector judges and makes sources and sinks from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSpec {
    /// Full name, e.g. `default_catalog.default_database.orders`.
    pub name: String,
    /// The WITH clause, `connector` included.
    pub options: Options,
    /// Physical columns in order.
    pub columns: Vec<Field>,
    /// Metadata columns in order.
    pub metadata: Vec<MetadataColumn>,
    /// Columns of the primary key.
    pub primary_key: Vec<String>,
    /// Columns of PARTITIONED BY.
    #[serde(default)]
    pub partition_keys: Vec<String>,
}

impl TableSpec {
    /// The value of `connector`.
    pub fn connector(&self) -> &str {
        self.options.get("connector").unwrap_or_default()
    }

    /// The last part of the name.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }
}

/// JSON of a `stream-exec-table-source-scan` node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanSpec {
    /// The table.
    pub table: TableSpec,
    /// Physical fields to produce, in order; a ROW with fewer fields than declared asks for those only.
    pub fields: Vec<Field>,
    /// Metadata to produce behind the physical fields, in order, with the connector's own types.
    pub metadata: Vec<MetadataKey>,
    /// The watermark to make per split.
    pub watermark: Option<WatermarkSpec>,
    /// Which partitions need not be read, where the connector can leave some out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<PartitionFilter>,
}

/// JSON of a `stream-exec-sink` node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkSpec {
    /// The table.
    pub table: TableSpec,
    /// Columns of the input: the persisted physical columns in order, then writable metadata columns in order.
    pub fields: Vec<Field>,
    /// Keys of the writable metadata behind the physical columns.
    pub metadata: Vec<MetadataKey>,
    /// Whether rows of other kinds than +I arrive.
    pub updating: bool,
}

/// A key of a connector's metadata and its type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataKey {
    /// Key, e.g. `timestamp`.
    pub key: String,
    /// Type that the connector produces or takes.
    pub ty: LogicalType,
    /// Whether a sink can write it.
    pub writable: bool,
}

/// How often the sources of a group of watermark alignment say how far they have come, where nothing else is said: as in Flink.
pub const DEFAULT_ALIGNMENT_INTERVAL_MS: i64 = 1_000;

/// How a source makes watermarks: a generator looked up in the registry, over the scan's own columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatermarkSpec {
    /// Kind of the generator, e.g. `sql-expression`.
    pub kind: String,
    /// What it reads.
    pub spec: serde_json::Value,
    /// When watermarks are emitted.
    pub on_event: bool,
    /// A split without rows for so long no longer holds the watermark back; `None`: never.
    pub idle_timeout_ms: Option<i64>,
    /// Watermark alignment: group, largest drift in ms, update interval in ms.
    #[serde(default)]
    pub alignment: Option<(String, i64, i64)>,
}

/// Which row kinds a table's source produces or its sink accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangelogMode {
    /// +I only.
    Append,
    /// +I, +U, -D by primary key; no -U.
    Upsert,
    /// All four.
    Retract,
}

/// What a connector says of a table that it accepts.
#[derive(Debug, Clone)]
pub struct TableInfo {
    /// Row kinds.
    pub changelog: ChangelogMode,
    /// For sources: whether it ends.
    pub boundedness: Boundedness,
    /// Metadata that can be read or written.
    pub metadata: Vec<MetadataKey>,
    /// For sources: whether idle splits are to be expected (a partitioned log), for `flott check`.
    pub splits_may_idle: bool,
    /// What `flott check` should warn of.
    pub warnings: Vec<String>,
}

/// A connector of SQL tables (`'connector' = '…'`).
pub trait TableConnector: Send + Sync {
    /// The value of `connector` that it answers to.
    fn identifier(&self) -> &'static str;

    /// Checks a table that is read: every option known and well-formed, format options too. No I/O.
    ///
    /// # Errors
    /// The first thing wrong, with the nearest name or what is allowed.
    fn check_source(&self, table: &TableSpec) -> Result<TableInfo, ConnectorError>;

    /// Checks a table that is written, as `check_source`. `job` holds the job's options.
    ///
    /// # Errors
    /// As `check_source`.
    fn check_sink(&self, table: &TableSpec, job: &Options) -> Result<TableInfo, ConnectorError>;

    /// Makes the source of a scan.
    ///
    /// # Errors
    /// If the table cannot be read this way.
    fn source(&self, scan: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError>;

    /// As [`TableConnector::source`], where the source needs the job's options before it has a task, such as those of a store.
    ///
    /// # Errors
    /// As [`TableConnector::source`].
    fn source_in(&self, scan: &ScanSpec, job: &Options) -> Result<Box<dyn Source>, ConnectorError> {
        let _ = job;
        self.source(scan)
    }

    /// Makes the sink of a table.
    ///
    /// # Errors
    /// If the table cannot be written this way.
    fn sink(&self, sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError>;
}

/// Watermarks of a split's rows, one value a row in event-time milliseconds; NULL where the row has none.
pub trait WatermarkGenerator: Send {
    /// The watermark that each row of the batch justifies.
    ///
    /// # Errors
    /// If the expression fails.
    fn watermarks(&mut self, batch: &Batch) -> Result<arrow_array::Int64Array, TaskError>;

    /// The next batches are of this split, by its number at the source; for generators that keep something of each.
    fn at_split(&mut self, split: usize) {
        let _ = split;
    }

    /// Whether time or idleness may move without rows: [`Self::on_periodic_emit`] is then called at each interval for each unfinished
    /// split.
    fn is_periodic(&self) -> bool {
        false
    }

    /// The watermark that a split has come to without another row.
    ///
    /// # Errors
    /// If its code fails.
    fn on_periodic_emit(&mut self, split: usize) -> Result<Option<EventTime>, TaskError> {
        let _ = split;
        Ok(None)
    }

    /// Whether the generator itself says that a split holds time back no longer.
    fn is_idle(&self, split: usize) -> bool {
        let _ = split;
        false
    }
}
