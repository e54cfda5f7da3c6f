//! The options of a table of files, checked.

use super::bucket::is_address;
use super::partition::Partitioning;
use super::partition_commit::PartitionCommit;
use crate::bad_rows::{BAD_ROWS, BAD_ROWS_PATH, BAD_ROWS_TOPIC, BadRows};
use crate::table::{self, WATERMARK_OPTIONS, is_format_option, wrong};
use flott_core::options::OptionError;
use flott_runtime::connector::{Boundedness, ConnectorError, TableSpec};
use regex::Regex;
use std::path::PathBuf;
use std::sync::Arc;

const OPTIONS: [&str; 28] = [
    "path",
    "format",
    "source.monitor-interval",
    "scan.parallelism",
    BAD_ROWS,
    BAD_ROWS_TOPIC,
    BAD_ROWS_PATH,
    "sink.parallelism",
    "sink.rolling-policy.file-size",
    "sink.rolling-policy.rollover-interval",
    "sink.rolling-policy.check-interval",
    "sink.rolling-policy.inactivity-interval",
    "auto-compaction",
    "compaction.file-size",
    "compaction.parallelism",
    "source.path.regex-pattern",
    "source.report-statistics",
    "partition.default-name",
    "partition.time-extractor.kind",
    "partition.time-extractor.class",
    "partition.time-extractor.timestamp-pattern",
    "partition.time-extractor.timestamp-formatter",
    "sink.partition-commit.trigger",
    "sink.partition-commit.delay",
    "sink.partition-commit.watermark-time-zone",
    "sink.partition-commit.policy.kind",
    "sink.partition-commit.policy.class",
    "sink.partition-commit.success-file.name",
];

/// Flink's default of `sink.rolling-policy.file-size`.
const FILE_SIZE_BYTES: u64 = 128 << 20;
/// Flink's default of `sink.rolling-policy.rollover-interval` and `.inactivity-interval`.
const ROLLOVER_INTERVAL_MS: i64 = 30 * 60_000;
/// Flink's default of `sink.rolling-policy.check-interval`.
const CHECK_INTERVAL_MS: i64 = 60_000;

/// Options of a table that is read.
#[derive(Debug)]
pub(super) struct ScanOptions {
    /// File, directory or pattern.
    pub path: String,
    pub format: String,
    /// How often to look for new files; `None`: once.
    pub monitor_interval_ms: Option<u64>,
    pub bad_rows: BadRows,
    pub partitioning: Partitioning,
    /// What the absolute path of a file must match.
    pub path_pattern: Option<Regex>,
}

/// Options of a table that is written.
#[derive(Debug)]
pub(super) struct SinkOptions {
    pub directory: PathBuf,
    pub format: String,
    pub rolling: Rolling,
    pub partitioning: Partitioning,
    /// How partitions are marked as complete, if they are.
    pub partition_commit: Option<Arc<PartitionCommit>>,
}

/// When a part ends before its checkpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rolling {
    /// At this size.
    pub bytes: u64,
    /// This long after its first row.
    pub rollover_interval_ms: i64,
    /// This long after its last row.
    pub inactivity_interval_ms: i64,
    /// How often the two intervals are looked at.
    pub check_interval_ms: i64,
}

/// What both need: path and format.
fn read_common(table: &TableSpec) -> Result<(String, String), ConnectorError> {
    let known: Vec<&str> = OPTIONS.iter().chain(&WATERMARK_OPTIONS).copied().collect();
    let is_known = |key: &str| is_format_option(key) || key.starts_with("parquet.");
    table::check_options_with(table, &known, is_known)?;
    let required = |key: &str| {
        let value = table.options.get(key).filter(|v| !v.trim().is_empty());
        value.ok_or_else(|| wrong(table, format!("connector 'filesystem' needs the option '{key}'")))
    };
    let path = required("path")?;
    let local = match path.split_once(':') {
        Some(("file", rest)) => rest.strip_prefix("//").unwrap_or(rest),
        Some(_) if is_address(path) => path,
        Some((scheme, _)) if scheme.len() > 1 && !scheme.contains(['/', '*', '?']) => {
            let allowed = "a path on local disk, plain or with file://, or an address s3://bucket/folder";
            return Err(wrong(table, OptionError::new("path", path, allowed)));
        }
        _ => path,
    };
    Ok((local.to_owned(), required("format")?.to_owned()))
}

/// `source.path.regex-pattern`, which must match a path as a whole.
fn path_pattern(table: &TableSpec) -> Result<Option<Regex>, ConnectorError> {
    let key = "source.path.regex-pattern";
    let Some(text) = table.options.get(key) else {
        return Ok(None);
    };
    let pattern = Regex::new(&format!("^(?:{text})$"));
    pattern.map(Some).map_err(|e| {
        wrong(
            table,
            format!("option '{key}' cannot be '{text}': {e}; use a regular expression for absolute paths"),
        )
    })
}

impl ScanOptions {
    pub(super) fn read(table: &TableSpec) -> Result<Self, ConnectorError> {
        let (path, format) = read_common(table)?;
        let interval_ms = table
            .options
            .duration_ms("source.monitor-interval")
            .map_err(|e| wrong(table, e))?;
        let monitor_interval_ms = match interval_ms.map(u64::try_from) {
            None => None,
            Some(Ok(ms)) if ms > 0 => Some(ms),
            Some(_) => {
                return Err(wrong(
                    table,
                    "option 'source.monitor-interval' needs a duration above zero",
                ));
            }
        };
        let bad_rows = BadRows::read(&table.options).map_err(|e| wrong(table, e))?;
        if matches!(bad_rows, BadRows::Topic(_)) {
            let remedy =
                format!("connector 'filesystem' has no topics: use '{BAD_ROWS_PATH}' instead of '{BAD_ROWS_TOPIC}'");
            return Err(wrong(table, remedy));
        }
        let partitioning = Partitioning::read(table)?;
        PartitionCommit::read(table, &partitioning)?;
        Ok(Self {
            path,
            format,
            monitor_interval_ms,
            bad_rows,
            partitioning,
            path_pattern: path_pattern(table)?,
        })
    }

    pub(super) fn boundedness(&self) -> Boundedness {
        match self.monitor_interval_ms {
            Some(_) => Boundedness::Unbounded,
            None => Boundedness::Bounded,
        }
    }
}

impl SinkOptions {
    pub(super) fn read(table: &TableSpec) -> Result<Self, ConnectorError> {
        let (path, format) = read_common(table)?;
        let options = &table.options;
        let roll_bytes = options
            .memory_bytes("sink.rolling-policy.file-size")
            .map_err(|e| wrong(table, e))?;
        let interval = |name: &str, default_ms: i64| {
            let key = format!("sink.rolling-policy.{name}");
            match options.duration_ms(&key).map_err(|e| wrong(table, e))? {
                None => Ok(default_ms),
                Some(ms) if ms > 0 => Ok(ms),
                Some(_) => Err(wrong(table, format!("option '{key}' needs a duration above zero"))),
            }
        };
        let rolling = Rolling {
            bytes: roll_bytes.unwrap_or(FILE_SIZE_BYTES).max(1),
            rollover_interval_ms: interval("rollover-interval", ROLLOVER_INTERVAL_MS)?,
            inactivity_interval_ms: interval("inactivity-interval", ROLLOVER_INTERVAL_MS)?,
            check_interval_ms: interval("check-interval", CHECK_INTERVAL_MS)?,
        };
        if options.boolean("auto-compaction").map_err(|e| wrong(table, e))? == Some(true) {
            return Err(wrong(
                table,
                "option 'auto-compaction' is not supported; leave it out, and checkpoint less often if files are small",
            ));
        }
        let partitioning = Partitioning::read(table)?;
        Ok(Self {
            directory: PathBuf::from(path),
            format,
            rolling,
            partition_commit: PartitionCommit::read(table, &partitioning)?.map(Arc::new),
            partitioning,
        })
    }
}
