//! SELECT on the terminal: the sink `collect` and the table that it prints.
//!
//! One [`Rows`] is shared by the command, which opens and closes the table of each SELECT, and by the sinks' writers,
//! which add rows to it. Every row carries its kind (`+I`, `-U`, `+U`, `-D`) where the query may take rows back. The
//! columns' widths follow from their types, as rows are printed before the next ones are known; a longer value moves its
//! own line only.

use arrow_array::Array;
use flott_core::types::TypeKind;
use flott_core::{Batch, Field, Options};
use flott_formats::RowPrinter;
use flott_runtime::connector::{
    Boundedness, ChangelogMode, ConnectorError, ScanSpec, Sink, SinkSpec, SinkWriter, TableConnector, TableInfo,
    TableSpec,
};
use flott_runtime::context::OperatorContext;
use flott_runtime::operator::Flow;
use flott_runtime::{Source, TaskError};
use flott_sql::script::COLLECT;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Width of columns of text, as Flink's client has it.
const TEXT_WIDTH: usize = 30;

/// The table of the SELECT that runs.
#[derive(Debug, Clone, Default)]
pub struct Rows(Arc<Mutex<Option<Table>>>);

#[derive(Debug)]
struct Table {
    columns: Vec<Field>,
    /// Whether rows may be taken back; known once the job's sink is made.
    updating: bool,
    is_open: bool,
    rows: u64,
}

impl Rows {
    /// Begins the table of a SELECT with these columns; it is printed when its first rows come, or at its end.
    pub fn begin(&self, columns: &[Field]) {
        *self.lock() = Some(Table {
            columns: columns.to_vec(),
            updating: false,
            is_open: false,
            rows: 0,
        });
    }

    /// Ends the table and gives the number of its rows.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn end(&self) -> io::Result<u64> {
        let Some(mut table) = self.lock().take() else {
            return Ok(0);
        };
        let mut out = io::stdout().lock();
        table.open(&mut out)?;
        writeln!(out, "{}", table.border())?;
        out.flush()?;
        Ok(table.rows)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Table>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn widths(&self) -> impl Iterator<Item = usize> {
        self.columns
            .iter()
            .map(|c| width_of(&c.ty.kind).max(c.name.chars().count()))
    }

    fn border(&self) -> String {
        let op = if self.updating { "+----" } else { "" };
        op.to_owned()
            + &self
                .widths()
                .map(|w| format!("+{}", "-".repeat(w + 2)))
                .collect::<String>()
            + "+"
    }

    fn line<'a>(&self, op: &str, cells: impl Iterator<Item = &'a str>) -> String {
        let op = if self.updating {
            format!("| {op} ")
        } else {
            String::new()
        };
        op + &cells
            .zip(self.widths())
            .map(|(cell, w)| format!("| {cell:>w$} "))
            .collect::<String>()
            + "|"
    }

    fn open(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.is_open {
            return Ok(());
        }
        self.is_open = true;
        let names = self.line("op", self.columns.iter().map(|c| c.name.as_str()));
        writeln!(out, "{border}\n{names}\n{border}", border = self.border())
    }

    fn print(&mut self, batch: &Batch, cells: &[Vec<String>], out: &mut impl Write) -> io::Result<()> {
        self.open(out)?;
        for (row, values) in cells.iter().enumerate() {
            let shown = values
                .iter()
                .zip(batch.columns())
                .map(|(v, c)| if c.is_null(row) { "<NULL>" } else { v.as_str() });
            writeln!(out, "{}", self.line(batch.kind(row).short(), shown))?;
        }
        self.rows += cells.len() as u64;
        out.flush()
    }
}

/// Characters that values of a type usually need.
fn width_of(kind: &TypeKind) -> usize {
    let fraction = |precision: u8| if precision == 0 { 0 } else { usize::from(precision) + 1 };
    match kind {
        TypeKind::Null | TypeKind::Boolean | TypeKind::TinyInt | TypeKind::SmallInt => 6,
        TypeKind::Int => 11,
        TypeKind::BigInt => 20,
        TypeKind::Float => 15,
        TypeKind::Double => 25,
        TypeKind::Decimal(precision, _) => usize::from(*precision) + 3,
        TypeKind::Char(length) | TypeKind::Varchar(length) => (*length as usize).clamp(6, TEXT_WIDTH),
        TypeKind::Date => 10,
        TypeKind::Time(precision) => 8 + fraction(*precision),
        TypeKind::Timestamp(precision) => 19 + fraction(*precision),
        TypeKind::TimestampLtz(precision) => 20 + fraction(*precision),
        _ => TEXT_WIDTH,
    }
}

/// The connector of SELECT's sink; no table can be made with it.
pub struct CollectConnector {
    rows: Rows,
}

impl CollectConnector {
    /// Prints into `rows`.
    pub fn new(rows: Rows) -> Self {
        Self { rows }
    }
}

fn only_selects() -> ConnectorError {
    ConnectorError::Option(format!(
        "'{COLLECT}' is the sink of a SELECT; tables cannot use it. Use 'print'"
    ))
}

impl TableConnector for CollectConnector {
    fn identifier(&self) -> &'static str {
        COLLECT
    }

    fn check_source(&self, _table: &TableSpec) -> Result<TableInfo, ConnectorError> {
        Err(only_selects())
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
        Err(only_selects())
    }

    fn sink(&self, sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        if let Some(table) = self.rows.lock().as_mut() {
            table.updating = sink.updating;
        }
        Ok(Box::new(CollectSink {
            rows: self.rows.clone(),
            columns: sink.fields.clone(),
        }))
    }
}

struct CollectSink {
    rows: Rows,
    columns: Vec<Field>,
}

impl Sink for CollectSink {
    fn writer(&self, _ctx: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        Ok(Box::new(CollectWriter {
            rows: self.rows.clone(),
            printer: RowPrinter::new(self.columns.clone()),
        }))
    }
}

struct CollectWriter {
    rows: Rows,
    printer: RowPrinter,
}

impl SinkWriter for CollectWriter {
    fn write(&mut self, batch: &Batch) -> Result<Flow, TaskError> {
        let cells = self
            .printer
            .cells(batch)
            .map_err(|e| TaskError::user(e.to_string()).fatal())?;
        if let Some(table) = self.rows.lock().as_mut() {
            let printed = table.print(batch, &cells, &mut io::stdout().lock());
            printed.map_err(|e| TaskError::user(format!("standard output cannot be written: {e}")).fatal())?;
        }
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
    use arrow_buffer::ScalarBuffer;
    use flott_core::{LogicalType, RowKind};

    fn printed(updating: bool) -> String {
        let field = |name: &str, ty| Field {
            name: name.to_owned(),
            ty,
        };
        let columns = vec![
            field("word", LogicalType::new(TypeKind::Varchar(7))),
            field("n", LogicalType::bigint()),
        ];
        let words: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![1, -2]));
        let mut batch = Batch::new(vec![words, counts], 2);
        if updating {
            let kinds = vec![RowKind::Insert as u8, RowKind::UpdateAfter as u8];
            batch = batch.with_kinds(Some(ScalarBuffer::from(kinds)));
        }
        let cells = RowPrinter::new(columns.clone()).cells(&batch).unwrap();
        let mut table = Table {
            columns,
            updating,
            is_open: false,
            rows: 0,
        };
        let mut out = vec![];
        table.print(&batch, &cells, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_shows_kinds_only_where_rows_may_be_taken_back() {
        let appended = "\
+---------+----------------------+
|    word |                    n |
+---------+----------------------+
|       a |                    1 |
|  <NULL> |                   -2 |
";
        assert_eq!(printed(false), appended);
        let updated = printed(true);
        assert!(updated.starts_with("+----+---------+"), "{updated}");
        assert!(updated.contains("| op |    word |"), "{updated}");
        assert!(updated.contains("| +U |  <NULL> |                   -2 |"), "{updated}");
    }
}
