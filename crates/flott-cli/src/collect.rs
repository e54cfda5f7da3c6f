//! SELECT on the terminal: the sink `collect` and the table that it prints.
//!
//! One [`Rows`] is shared by the command, which opens and closes the table of each SELECT, and by the sinks' writers,
//! which add rows to it. Every row carries its kind (`+I`, `-U`, `+U`, `-D`) where the query may take rows back. The
//! columns' widths follow from their types, as rows are printed before the next ones are known; a longer value moves its
//! own line only. `sql-client.execution.result-mode` asks for another form ([`Form`]); on a terminal the shell shows `table` as a
//! screen ([`Rows::screen`]).

use crate::kept::KeptRows;
use crate::output;
use anyhow::anyhow;
use arrow_array::{Array, ArrayRef};
use flott_core::types::TypeKind;
use flott_core::{Batch, Field, Options, RowKind};
use flott_runtime::connector::{
    Boundedness, ChangelogMode, ConnectorError, ScanSpec, Sink, SinkSpec, SinkWriter, TableConnector, TableInfo,
    TableSpec,
};
use flott_runtime::context::OperatorContext;
use flott_runtime::operator::Flow;
use flott_runtime::{Source, TaskError};
use flott_sql::config::PlannerConfig;
use flott_sql::expr::cast::text::{Look, write_shown};
use flott_sql::expr::{ExprError, TimeZone};
use flott_sql::script::COLLECT;
use flott_sql::table_text;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Width of columns of text, as Flink's client has it.
const TEXT_WIDTH: usize = 30;
/// The form of the answer.
const RESULT_MODE: &str = "sql-client.execution.result-mode";
/// How many rows the form `table` keeps.
const MAX_ROWS: &str = "sql-client.execution.max-table-result.rows";
/// So many rows are left at most, as in Flink's client; the oldest go.
const DEFAULT_MAX_ROWS: usize = 1_000_000;
/// Width of columns of text; the first wins, as in Flink.
const COLUMN_WIDTH: [&str; 2] = ["table.display.max-column-width", "sql-client.display.max-column-width"];

/// How a SELECT's rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Nothing was asked for: row by row, with kinds where rows may be taken back, and nothing cut off.
    Plain,
    /// `tableau`, `changelog`: row by row with kinds, long values cut, as Flink's client prints it.
    Changelog,
    /// `table`: the rows that are left at the end, or now on a screen.
    Final,
}

/// The table of the SELECT that runs.
#[derive(Debug, Clone, Default)]
pub struct Rows(Arc<Mutex<Option<Table>>>);

#[derive(Debug)]
struct Table {
    columns: Vec<Field>,
    form: Form,
    text_width: usize,
    /// Whether rows may be taken back; known once the job's sink is made.
    updating: bool,
    /// Where TIMESTAMP_LTZ is shown.
    zone: TimeZone,
    began: Instant,
    is_open: bool,
    rows: u64,
    /// The rows that are left, for [`Form::Final`].
    left: KeptRows,
    /// Of the columns, once they are printed.
    widths: Vec<usize>,
    max_rows: usize,
}

impl Rows {
    /// Begins the table of a SELECT with these columns; it is printed when its first rows come, or at its end.
    ///
    /// # Errors
    /// If an option of the client has a value that it cannot have.
    pub fn begin(&self, columns: &[Field], options: &Options) -> anyhow::Result<()> {
        *self.lock() = Some(Table::new(columns, options)?);
        Ok(())
    }

    /// Ends the table and gives the number of its rows, which Flink's forms tell by themselves.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn end(&self) -> io::Result<Option<u64>> {
        let Some(mut table) = self.lock().take() else {
            return Ok(None);
        };
        table.close(&mut io::stdout().lock()).inspect_err(output::end_unread)
    }

    /// Whether the rows that are left are asked for, and so can be shown as a screen.
    pub fn is_table(&self) -> bool {
        self.lock().as_ref().is_some_and(|t| t.form == Form::Final)
    }

    /// Shows columns, the rows that are left, and the width of text to `show`.
    pub fn screen<T>(&self, show: impl FnOnce(&[Field], &KeptRows, usize) -> T) -> Option<T> {
        self.lock().as_ref().map(|t| show(&t.columns, &t.left, t.text_width))
    }

    /// Ends the table without printing it.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Table>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn new(columns: &[Field], options: &Options) -> anyhow::Result<Self> {
        let form = match options.one_of(RESULT_MODE, &["table", "changelog", "tableau"])? {
            None => Form::Plain,
            Some(0) => Form::Final,
            Some(_) => Form::Changelog,
        };
        let mut text_width = TEXT_WIDTH;
        for key in COLUMN_WIDTH.iter().rev() {
            text_width = options.positive(key)?.unwrap_or(text_width);
        }
        let zone = PlannerConfig::of(options).map_err(|e| anyhow!("{e}"))?.time_zone;
        Ok(Self {
            columns: columns.to_vec(),
            form,
            text_width,
            updating: false,
            zone: zone
                .parse()
                .map_err(|e: String| anyhow!("'table.local-time-zone': {e}"))?,
            began: Instant::now(),
            is_open: false,
            rows: 0,
            left: KeptRows::default(),
            widths: widths(columns, form, text_width),
            max_rows: options.positive(MAX_ROWS)?.unwrap_or(DEFAULT_MAX_ROWS),
        })
    }

    /// Prints what is still to be printed.
    fn close(&mut self, out: &mut impl Write) -> io::Result<Option<u64>> {
        let is_empty = self.rows == 0;
        match self.form {
            Form::Final => {
                let names: Vec<String> = self.columns.iter().map(|c| c.name.clone()).collect();
                let left: Vec<Vec<String>> = self.left.iter().cloned().collect();
                writeln!(out, "{}", table_text::table(&names, &left))?;
            }
            Form::Changelog if is_empty => writeln!(out, "Empty set")?,
            Form::Changelog => {
                let rows = if self.rows == 1 { "row" } else { "rows" };
                let seconds = self.began.elapsed().as_secs_f64();
                writeln!(
                    out,
                    "{}\nReceived a total of {} {rows} ({seconds:.2} seconds)",
                    self.border(),
                    self.rows
                )?;
            }
            Form::Plain => {
                self.open(out)?;
                writeln!(out, "{}", self.border())?;
            }
        }
        out.flush()?;
        Ok((self.form == Form::Plain).then_some(self.rows))
    }

    fn shows_kinds(&self) -> bool {
        self.updating || self.form == Form::Changelog
    }

    fn border(&self) -> String {
        let op = if self.shows_kinds() { "+----" } else { "" };
        op.to_owned() + &table_text::border(&self.widths)
    }

    fn line<'a>(&self, op: &str, cells: impl Iterator<Item = &'a str>) -> String {
        if self.form == Form::Changelog {
            return format!("| {op} {}", table_text::line(cells, &self.widths));
        }
        let op = if self.updating {
            format!("| {op} ")
        } else {
            String::new()
        };
        let cells = cells.zip(&self.widths).map(|(text, width)| {
            let blanks = width.saturating_sub(table_text::display_width(text));
            format!("| {}{text} ", " ".repeat(blanks))
        });
        op + &cells.collect::<String>() + "|"
    }

    fn open(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.is_open {
            return Ok(());
        }
        self.is_open = true;
        let names = self.line("op", self.columns.iter().map(|c| c.name.as_str()));
        writeln!(out, "{border}\n{names}\n{border}", border = self.border())
    }

    /// The texts of the cells of a batch, row by row, as Flink's client shows them.
    fn cells(&self, batch: &Batch) -> Result<Vec<Vec<String>>, ExprError> {
        let look = Look {
            zone: &self.zone,
            hex_bytes: true,
        };
        let cell = |row: usize, (column, field): (&ArrayRef, &Field)| {
            if column.is_null(row) {
                return Ok("<NULL>".to_owned());
            }
            let mut text = String::new();
            write_shown(column, &field.ty.kind, row, &look, &mut text)?;
            Ok(text)
        };
        (0..batch.num_rows())
            .map(|row| {
                batch
                    .columns()
                    .iter()
                    .zip(&self.columns)
                    .map(|c| cell(row, c))
                    .collect()
            })
            .collect()
    }

    fn print(&mut self, batch: &Batch, out: &mut impl Write) -> io::Result<()> {
        let cells = self.cells(batch).map_err(io::Error::other)?;
        if self.form != Form::Final {
            self.open(out)?;
        }
        self.rows += cells.len() as u64;
        for (row, cells) in cells.into_iter().enumerate() {
            match self.form {
                Form::Final => self.keep(batch.kind(row), cells),
                _ => {
                    let cells = cells.iter().map(String::as_str);
                    writeln!(out, "{}", self.line(batch.kind(row).short(), cells))?;
                }
            }
        }
        out.flush()
    }

    /// Adds a row to those that are left, or takes it from them.
    fn keep(&mut self, kind: RowKind, row: Vec<String>) {
        if !kind.is_retraction() {
            self.left.push(row);
            if self.left.len() > self.max_rows {
                self.left.pop_oldest();
            }
        } else {
            self.left.remove(&row);
        }
    }
}

fn widths(columns: &[Field], form: Form, text_width: usize) -> Vec<usize> {
    let width = |column: &Field| {
        let width = match form {
            Form::Changelog => width_in_flink(&column.ty.kind, text_width),
            Form::Plain | Form::Final => width_of(&column.ty.kind),
        };
        width.max(table_text::display_width(&column.name))
    };
    columns.iter().map(width).collect()
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

/// The width that Flink's client gives a type.
fn width_in_flink(kind: &TypeKind, text_width: usize) -> usize {
    match kind {
        TypeKind::Float | TypeKind::Double | TypeKind::Char(_) | TypeKind::Varchar(_) => text_width,
        TypeKind::Decimal(precision, _) => usize::from(*precision) + 2,
        TypeKind::TimestampLtz(precision) => width_of(&TypeKind::Timestamp(*precision)),
        TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_) => text_width,
        TypeKind::Binary(_) | TypeKind::Varbinary(_) => text_width,
        kind => width_of(kind),
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
        }))
    }
}

struct CollectSink {
    rows: Rows,
}

impl Sink for CollectSink {
    fn writer(&self, _ctx: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        Ok(Box::new(CollectWriter {
            rows: self.rows.clone(),
        }))
    }
}

struct CollectWriter {
    rows: Rows,
}

impl SinkWriter for CollectWriter {
    fn write(&mut self, batch: Batch) -> Result<Flow, TaskError> {
        if let Some(table) = self.rows.lock().as_mut() {
            let printed = table.print(&batch, &mut io::stdout().lock());
            printed
                .inspect_err(output::end_unread)
                .map_err(|e| TaskError::user(format!("the row cannot be shown: {e}")).fatal())?;
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
    use flott_core::LogicalType;

    fn printed(updating: bool) -> String {
        table(updating, &[]).1
    }

    /// A table of two rows, and what it has printed so far.
    fn table(updating: bool, options: &[(&str, &str)]) -> (Table, String) {
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
        let options: Options = options.iter().copied().collect();
        let mut table = Table::new(&columns, &options).unwrap();
        table.updating = updating;
        let mut out = vec![];
        table.print(&batch, &mut out).unwrap();
        (table, String::from_utf8(out).unwrap())
    }

    #[test]
    fn modes_print_a_changelog_or_what_is_left() {
        let mode = |mode| [("sql-client.execution.result-mode", mode)];
        let (mut changelog, mut printed) = table(false, &mode("tableau"));
        let mut out = vec![];
        assert_eq!(changelog.close(&mut out).unwrap(), None);
        printed += std::str::from_utf8(&out).unwrap();
        let expected = "\
+----+--------------------------------+----------------------+
| op |                           word |                    n |
+----+--------------------------------+----------------------+
| +I |                              a |                    1 |
| +I |                         <NULL> |                   -2 |
+----+--------------------------------+----------------------+
Received a total of 2 rows (";
        assert!(printed.starts_with(expected), "{printed}");
        assert!(printed.ends_with(" seconds)\n"), "{printed}");
        let (mut left, nothing) = table(true, &mode("TABLE"));
        assert_eq!(nothing, "");
        left.keep(RowKind::Delete, vec!["a".into(), "1".into()]);
        let mut out = vec![];
        left.close(&mut out).unwrap();
        let expected = "\
+--------+----+
|   word |  n |
+--------+----+
| <NULL> | -2 |
+--------+----+
1 row in set
";
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
        let wrong: Options = mode("tabel").into_iter().collect();
        assert!(Table::new(&[], &wrong).unwrap_err().to_string().contains("tableau"));
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
