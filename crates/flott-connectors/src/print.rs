//! `print`: each row as a line on standard output (or standard error), as Flink writes it.
//!
//! Before the row stands the `print-identifier` and, at parallelism above 1, the number of the subtask from 1 on:
//! `+I[a, 1]`, `2> +I[a, 1]`, `id> +I[a, 1]`, `id:2> +I[a, 1]`. Lines of one batch are written together.

use crate::table::{self, no_source};
use flott_core::{Batch, Options};
use flott_formats::RowPrinter;
use flott_runtime::connector::{Boundedness, ChangelogMode, ConnectorError, ScanSpec, SinkSpec, TableInfo, TableSpec};
use flott_runtime::{FailureLabel, Flow, OperatorContext, Sink, SinkWriter, Source, TableConnector, TaskError};
use std::io::Write;

const OPTIONS: [&str; 3] = ["print-identifier", "standard-error", "sink.parallelism"];

/// The connector `print`.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrintConnector;

impl TableConnector for PrintConnector {
    fn identifier(&self) -> &'static str {
        "print"
    }

    fn check_source(&self, _table: &TableSpec) -> Result<TableInfo, ConnectorError> {
        Err(no_source(self.identifier()))
    }

    fn check_sink(&self, table: &TableSpec, _job: &Options) -> Result<TableInfo, ConnectorError> {
        table::check_options(table, &OPTIONS)?;
        standard_error(table)?;
        Ok(table::plain_info(ChangelogMode::Retract, Boundedness::Bounded))
    }

    fn source(&self, _scan: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
        Err(no_source(self.identifier()))
    }

    fn sink(&self, sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        Ok(Box::new(PrintSink {
            printer: RowPrinter::new(sink.fields.clone()),
            table: sink.table.short_name().to_owned(),
            identifier: sink
                .table
                .options
                .get("print-identifier")
                .unwrap_or_default()
                .to_owned(),
            standard_error: standard_error(&sink.table)?,
        }))
    }
}

fn standard_error(table: &TableSpec) -> Result<bool, ConnectorError> {
    let chosen = table
        .options
        .boolean("standard-error")
        .map_err(|e| table::wrong(table, e))?;
    Ok(chosen.unwrap_or(false))
}

struct PrintSink {
    printer: RowPrinter,
    table: String,
    identifier: String,
    standard_error: bool,
}

/// What stands before each row of a subtask.
fn prefix(identifier: &str, subtask: usize, parallelism: usize) -> String {
    match (identifier.is_empty(), parallelism > 1) {
        (true, false) => String::new(),
        (true, true) => format!("{}> ", subtask + 1),
        (false, false) => format!("{identifier}> "),
        (false, true) => format!("{identifier}:{}> ", subtask + 1),
    }
}

impl Sink for PrintSink {
    fn writer(&self, ctx: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        let out: Box<dyn Write + Send> = if self.standard_error {
            Box::new(std::io::stderr())
        } else {
            Box::new(std::io::stdout())
        };
        Ok(Box::new(PrintWriter {
            printer: self.printer.clone(),
            table: self.table.clone(),
            prefix: prefix(&self.identifier, ctx.task.subtask, ctx.task.parallelism),
            lines: vec![],
            out,
        }))
    }
}

struct PrintWriter {
    printer: RowPrinter,
    table: String,
    prefix: String,
    lines: Vec<u8>,
    out: Box<dyn Write + Send>,
}

impl SinkWriter for PrintWriter {
    fn write(&mut self, batch: Batch) -> Result<Flow, TaskError> {
        self.lines.clear();
        let (lines, prefix) = (&mut self.lines, self.prefix.as_bytes());
        let printed = self.printer.print(&batch, |text| {
            lines.extend_from_slice(prefix);
            lines.extend_from_slice(text);
            lines.push(b'\n');
        });
        printed.map_err(|e| TaskError::caused(FailureLabel::Internal, format!("table '{}'", self.table), e))?;
        self.out
            .write_all(&self.lines)
            .and_then(|()| self.out.flush())
            .map_err(|e| {
                TaskError::caused(
                    FailureLabel::Infrastructure,
                    format!(
                        "table '{}': standard output cannot be written (was it closed?)",
                        self.table
                    ),
                    e,
                )
            })?;
        Ok(Flow::Done)
    }

    fn flush(&mut self) -> Result<Flow, TaskError> {
        Ok(Flow::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Int64Array, StringArray};
    use flott_core::{Field, LogicalType};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_carry_kind_and_prefix() {
        let out = Shared::default();
        let columns = vec![
            Field::new("k", LogicalType::string()),
            Field::new("n", LogicalType::bigint()),
        ];
        let mut writer = PrintWriter {
            printer: RowPrinter::new(columns),
            table: "t".into(),
            prefix: prefix("", 1, 2),
            lines: vec![],
            out: Box::new(out.clone()),
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![Some("a"), None])),
            Arc::new(Int64Array::from(vec![1, 2])),
        ];
        let batch = Batch::new(columns, 2).with_kinds(Some(vec![0u8, 2].into()));
        writer.write(batch).unwrap();
        assert_eq!(
            String::from_utf8(out.0.lock().unwrap().clone()).unwrap(),
            "2> +I[a, 1]\n2> +U[null, 2]\n"
        );
        assert_eq!(
            [prefix("", 0, 1), prefix("id", 0, 1), prefix("id", 1, 2)],
            ["".to_owned(), "id> ".to_owned(), "id:2> ".to_owned()]
        );
    }
}
