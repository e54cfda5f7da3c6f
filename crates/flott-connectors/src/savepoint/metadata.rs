//! `savepoint-metadata`: a row for each operator of a checkpoint or savepoint, with the columns of Flink's `savepoint_metadata`.

use super::read::SavedState;
use super::source::unreadable;
use crate::table::{self, no_sink, wrong};
use arrow_array::{ArrayRef, Int32Array, Int64Array, StringArray};
use async_trait::async_trait;
use flott_checkpoint::Manifest;
use flott_core::{Batch, CheckpointId, Options};
use flott_runtime::connector::{
    Boundedness, ChangelogMode, ConnectorError, ReaderPoll, ScanSpec, SinkSpec, Split, TableInfo, TableSpec,
};
use flott_runtime::{OperatorContext, Sink, Source, SourceReader, SplitEnumerator, TableConnector, TaskError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// The connector behind `savepoint_metadata`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SavepointMetadataConnector;

/// What is said of an operator.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct OperatorRow {
    checkpoint_id: i64,
    name: String,
    uid: Option<String>,
    hash: String,
    parallelism: i32,
    max_parallelism: i32,
    subtask_states: i32,
    coordinator_bytes: i64,
    total_bytes: i64,
}

fn operators(manifest: &Manifest) -> Vec<OperatorRow> {
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let row = |o: &flott_checkpoint::OperatorManifest| {
        let coordinator = manifest.coordinator.iter().filter(|c| c.operator == o.id);
        let coordinator_bytes: usize = coordinator.map(|c| c.state.0.len()).sum();
        OperatorRow {
            checkpoint_id: manifest.checkpoint_id as i64,
            name: o.name.clone(),
            uid: o.uid.clone(),
            hash: o.id.to_string(),
            parallelism: count(o.parallelism),
            max_parallelism: count(o.max_parallelism),
            subtask_states: count(o.subtasks.len()),
            coordinator_bytes: coordinator_bytes as i64,
            total_bytes: o.state_bytes() as i64 + coordinator_bytes as i64,
        }
    };
    manifest.operators.iter().map(row).collect()
}

/// The column of a name.
fn column(name: &str, rows: &[OperatorRow]) -> Option<ArrayRef> {
    let longs = |of: fn(&OperatorRow) -> i64| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Int64Array>()) };
    let ints = |of: fn(&OperatorRow) -> i32| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Int32Array>()) };
    let texts =
        |of: fn(&OperatorRow) -> Option<&str>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<StringArray>()) };
    Some(match name {
        "checkpoint-id" => longs(|r| r.checkpoint_id),
        "operator-name" => texts(|r| Some(&r.name)),
        "operator-uid" => texts(|r| r.uid.as_deref()),
        "operator-uid-hash" => texts(|r| Some(&r.hash)),
        "operator-parallelism" => ints(|r| r.parallelism),
        "operator-max-parallelism" => ints(|r| r.max_parallelism),
        "operator-subtask-state-count" => ints(|r| r.subtask_states),
        "operator-coordinator-state-size-in-bytes" => longs(|r| r.coordinator_bytes),
        "operator-total-size-in-bytes" => longs(|r| r.total_bytes),
        _ => return None,
    })
}

fn path(table: &TableSpec) -> Result<String, ConnectorError> {
    table::check_options(table, &["state.path"])?;
    for field in &table.columns {
        match column(&field.name, &[]) {
            Some(column) if *column.data_type() == field.ty.to_arrow() => {}
            Some(column) => {
                return Err(wrong(
                    table,
                    format!("column '{}' holds {}", field.name, column.data_type()),
                ));
            }
            None => {
                return Err(wrong(
                    table,
                    format!("there is no column '{}'; read savepoint_metadata('…')", field.name),
                ));
            }
        }
    }
    let path = table.options.get("state.path").filter(|p| !p.is_empty());
    path.map(str::to_owned)
        .ok_or_else(|| wrong(table, "the path of a checkpoint or savepoint is missing"))
}

impl TableConnector for SavepointMetadataConnector {
    fn identifier(&self) -> &'static str {
        "savepoint-metadata"
    }

    fn check_source(&self, table: &TableSpec) -> Result<TableInfo, ConnectorError> {
        path(table)?;
        Ok(table::plain_info(ChangelogMode::Append, Boundedness::Bounded))
    }

    fn check_sink(&self, _table: &TableSpec, _job: &Options) -> Result<TableInfo, ConnectorError> {
        Err(no_sink(self.identifier()))
    }

    fn source(&self, scan: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
        self.source_in(scan, &Options::new())
    }

    fn source_in(&self, scan: &ScanSpec, job: &Options) -> Result<Box<dyn Source>, ConnectorError> {
        Ok(Box::new(MetadataSource(Arc::new(Asked {
            path: path(&scan.table)?,
            scan: scan.clone(),
            job: job.clone(),
        }))))
    }

    fn sink(&self, _sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        Err(no_sink(self.identifier()))
    }
}

struct Asked {
    path: String,
    scan: ScanSpec,
    job: Options,
}

struct MetadataSource(Arc<Asked>);

impl Source for MetadataSource {
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        Ok(Box::new(Operators {
            asked: self.0.clone(),
            is_dealt: restored.is_some(),
        }))
    }

    fn reader(&self, _ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        Ok(Box::new(MetadataReader {
            asked: self.0.clone(),
            splits: vec![],
            next: 0,
            is_read: false,
            no_more: false,
        }))
    }
}

/// Reads the manifest; the rows are the one split.
struct Operators {
    asked: Arc<Asked>,
    is_dealt: bool,
}

#[async_trait]
impl SplitEnumerator for Operators {
    async fn discover(&mut self) -> Result<Vec<Split>, ConnectorError> {
        if self.is_dealt {
            return Ok(vec![]);
        }
        let saved = SavedState::open(&self.asked.path, &self.asked.job).await;
        let saved = saved.map_err(|e| unreadable(&self.asked.scan, &e))?;
        self.is_dealt = true;
        let rows = operators(saved.manifest());
        Ok(vec![Split {
            id: "operators".to_owned(),
            state: serde_json::to_vec(&rows).map_err(|e| ConnectorError::Schema(e.to_string()))?,
        }])
    }

    fn discovery_interval(&self) -> Option<Duration> {
        None
    }

    fn owner(&self, _split: &Split, _parallelism: usize) -> usize {
        0
    }

    fn snapshot(&self) -> Vec<u8> {
        b"dealt".to_vec()
    }
}

struct MetadataReader {
    asked: Arc<Asked>,
    splits: Vec<Split>,
    /// The split at hand, and whether its rows are handed out.
    next: usize,
    is_read: bool,
    no_more: bool,
}

impl SourceReader for MetadataReader {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        self.splits.extend(splits);
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.no_more = true;
    }

    fn poll(&mut self, _now_ms: i64) -> Result<ReaderPoll, TaskError> {
        let split = self.next;
        let Some(state) = self.splits.get(split).map(|s| &s.state) else {
            return Ok(match self.no_more {
                true => ReaderPoll::Finished,
                false => ReaderPoll::Idle { until_ms: None },
            });
        };
        if self.is_read {
            self.is_read = false;
            self.next += 1;
            return Ok(ReaderPoll::SplitFinished(split));
        }
        let unreadable =
            |e: serde_json::Error| TaskError::internal(format!("the rows of operators are unreadable: {e}"));
        let rows: Vec<OperatorRow> = serde_json::from_slice(state).map_err(unreadable)?;
        self.is_read = true;
        let fields = self.asked.scan.fields.iter();
        let columns = fields.filter_map(|field| column(&field.name, &rows)).collect();
        Ok(ReaderPoll::Batch {
            split,
            batch: Batch::new(columns, rows.len()),
        })
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        let first = self.next + usize::from(self.is_read);
        Ok(self.splits.get(first..).unwrap_or_default().to_vec())
    }
}
