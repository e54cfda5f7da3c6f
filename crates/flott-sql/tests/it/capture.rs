//! Sinks that keep what a script yields: rows in memory, or the files that a filesystem table writes.

use flott_core::{Batch, Options};
use flott_formats::RowPrinter;
use flott_runtime::connector::{Boundedness, ChangelogMode, ConnectorError, ScanSpec, SinkSpec, TableInfo, TableSpec};
use flott_runtime::{Flow, OperatorContext, Sink, SinkWriter, Source, TableConnector, TaskError};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What a script has yielded.
#[derive(Clone, Default)]
pub struct Captured(Arc<Mutex<Rows>>);

#[derive(Default)]
struct Rows {
    lines: Vec<String>,
    largest_batch: usize,
}

impl Captured {
    /// Rows as the print connector writes them.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().lines.clone()
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
        }))
    }
}

struct CaptureSink {
    spec: SinkSpec,
    rows: Captured,
}

impl Sink for CaptureSink {
    fn writer(&self, _ctx: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        Ok(Box::new(CaptureWriter {
            printer: RowPrinter::new(self.spec.fields.clone()),
            rows: self.rows.clone(),
        }))
    }
}

struct CaptureWriter {
    printer: RowPrinter,
    rows: Captured,
}

impl SinkWriter for CaptureWriter {
    fn write(&mut self, batch: &Batch) -> Result<Flow, TaskError> {
        let mut rows = self.rows.0.lock().unwrap();
        rows.largest_batch = rows.largest_batch.max(batch.num_rows());
        self.printer
            .print(batch, |line| {
                rows.lines.push(String::from_utf8_lossy(line).into_owned())
            })
            .map_err(|e| TaskError::user(e.to_string()).fatal())?;
        Ok(Flow::Done)
    }

    fn flush(&mut self) -> Result<Flow, TaskError> {
        Ok(Flow::Done)
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
