//! Sinks that keep what a script yields: rows in memory, or the files that a filesystem table writes.

use async_trait::async_trait;
use bytes::Bytes;
use flott_core::{Batch, CheckpointId, Options};
use flott_formats::RowPrinter;
use flott_runtime::connector::{
    Boundedness, ChangelogMode, CommitterContext, ConnectorError, ScanSpec, SinkSpec, TableInfo, TableSpec,
};
use flott_runtime::{Committer, Flow, OperatorContext, Sink, SinkWriter, Source, TableConnector, TaskError};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What a script has yielded.
#[derive(Clone, Default)]
pub struct Captured(Arc<Mutex<Rows>>);

#[derive(Default)]
struct Rows {
    lines: Vec<String>,
    largest_batch: usize,
    /// Rows written, whether or not they were committed.
    written: usize,
    transactions: u64,
    committed: BTreeSet<u64>,
}

impl Captured {
    /// Rows as the print connector writes them.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().lines.clone()
    }

    /// Rows that were written and never committed.
    pub fn given_up(&self) -> usize {
        let rows = self.0.lock().unwrap();
        rows.written.saturating_sub(rows.lines.len())
    }

    /// Rows of the largest batch that came.
    pub fn largest_batch(&self) -> usize {
        self.0.lock().unwrap().largest_batch
    }
}

/// A sink that keeps its rows, under the name of another connector.
pub struct Capture {
    /// The name.
    pub name: &'static str,
    /// Where they go.
    pub rows: Captured,
    /// Whether rows count only when the checkpoint that lists them is committed; otherwise they count at once.
    pub is_exactly_once: bool,
}

impl TableConnector for Capture {
    fn identifier(&self) -> &'static str {
        self.name
    }

    fn check_source(&self, _table: &TableSpec) -> Result<TableInfo, ConnectorError> {
        Err(ConnectorError::Option("it is only written to".into()))
    }

    fn check_sink(&self, _table: &TableSpec, _job: &Options) -> Result<TableInfo, ConnectorError> {
        Ok(TableInfo {
            changelog: ChangelogMode::Retract,
            boundedness: Boundedness::Unbounded,
            metadata: vec![],
            splits_may_idle: false,
            warnings: vec![],
        })
    }

    fn source(&self, _scan: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
        Err(ConnectorError::Option("it is only written to".into()))
    }

    fn sink(&self, sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        Ok(Box::new(CaptureSink {
            spec: sink.clone(),
            rows: self.rows.clone(),
            is_exactly_once: self.is_exactly_once,
        }))
    }
}

struct CaptureSink {
    spec: SinkSpec,
    rows: Captured,
    is_exactly_once: bool,
}

impl Sink for CaptureSink {
    fn writer(&self, _ctx: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        Ok(Box::new(CaptureWriter {
            printer: RowPrinter::new(self.spec.fields.clone()),
            rows: self.rows.clone(),
            transaction: self.is_exactly_once.then(Vec::new),
        }))
    }

    fn committer(&self, _ctx: &CommitterContext) -> Result<Option<Box<dyn Committer>>, ConnectorError> {
        let committer: Box<dyn Committer> = Box::new(CaptureCommitter(self.rows.clone()));
        Ok(self.is_exactly_once.then_some(committer))
    }
}

struct CaptureCommitter(Captured);

#[async_trait]
impl Committer for CaptureCommitter {
    async fn commit(&mut self, committables: &[Bytes]) -> Result<(), ConnectorError> {
        let mut rows = self.0.0.lock().unwrap();
        for committable in committables {
            let (id, lines): (u64, Vec<String>) = serde_json::from_slice(committable).unwrap();
            if rows.committed.insert(id) {
                rows.lines.extend(lines);
            }
        }
        Ok(())
    }

    async fn recover(&mut self, listed: &[Bytes]) -> Result<(), ConnectorError> {
        self.commit(listed).await
    }
}

struct CaptureWriter {
    printer: RowPrinter,
    rows: Captured,
    /// Rows that wait for their commit, if they must.
    transaction: Option<Vec<String>>,
}

impl SinkWriter for CaptureWriter {
    fn write(&mut self, batch: Batch) -> Result<Flow, TaskError> {
        let mut rows = self.rows.0.lock().unwrap();
        rows.largest_batch = rows.largest_batch.max(batch.num_rows());
        rows.written += batch.num_rows();
        let lines = self.transaction.as_mut().unwrap_or(&mut rows.lines);
        self.printer
            .print(&batch, |line| lines.push(String::from_utf8_lossy(line).into_owned()))
            .map_err(|e| TaskError::user(e.to_string()).fatal())?;
        Ok(Flow::Done)
    }

    fn flush(&mut self) -> Result<Flow, TaskError> {
        Ok(Flow::Done)
    }

    fn prepare_commit(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Bytes>, TaskError> {
        let Some(lines) = self.transaction.as_mut().map(std::mem::take).filter(|t| !t.is_empty()) else {
            return Ok(vec![]);
        };
        let mut rows = self.rows.0.lock().unwrap();
        rows.transactions += 1;
        Ok(vec![serde_json::to_vec(&(rows.transactions, lines)).unwrap().into()])
    }
}

/// A sink that writes files in place of the rows of a SELECT.
pub struct ToFiles {
    /// The name of the connector that it stands for.
    pub name: &'static str,
    /// The real filesystem connector.
    pub filesystem: Arc<dyn TableConnector>,
    /// The table's options.
    pub options: Options,
}

impl ToFiles {
    fn table(&self, table: &TableSpec) -> TableSpec {
        TableSpec {
            options: self.options.clone(),
            ..table.clone()
        }
    }
}

impl TableConnector for ToFiles {
    fn identifier(&self) -> &'static str {
        self.name
    }

    fn check_source(&self, _table: &TableSpec) -> Result<TableInfo, ConnectorError> {
        Err(ConnectorError::Option("it is only written to".into()))
    }

    fn check_sink(&self, table: &TableSpec, job: &Options) -> Result<TableInfo, ConnectorError> {
        self.filesystem.check_sink(&self.table(table), job)
    }

    fn source(&self, _scan: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
        Err(ConnectorError::Option("it is only written to".into()))
    }

    fn sink(&self, sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        self.filesystem.sink(&SinkSpec {
            table: self.table(&sink.table),
            ..sink.clone()
        })
    }
}

/// The lines of all files below a folder that are committed, file by file; `+I` stands before each.
pub fn lines_of_files(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return vec![];
    };
    let mut files: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    files.sort();
    files.retain(|f| {
        let name = f.file_name().unwrap_or_default().to_string_lossy();
        f.is_file() && !name.starts_with(['.', '_'])
    });
    files
        .iter()
        .flat_map(|f| {
            let text = std::fs::read_to_string(f).unwrap();
            text.lines().map(|l| format!("+I{l}")).collect::<Vec<_>>()
        })
        .collect()
}
