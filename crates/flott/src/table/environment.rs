//! [`StreamTableEnvironment`]: where streams become tables, queries become streams, and statements are executed.

use super::convert::{Columns, StreamToTable, TableToStream};
use super::planner::{CHANGELOG, STREAM_NUMBER, StreamTable, Tables, changelog_text};
use super::record::{ChangeRecord, RecordColumns, TableRecord, is_filled_by};
use super::row::{Row, Value};
use super::schema::Schema;
use flott_core::{Field, Options, suggest};
use flott_datastream::{DataStream, ExecuteError, StreamExecutionEnvironment};
use flott_runtime::connector::{ChangelogMode as Kinds, ScanSpec, TableSpec};
use flott_sql::binder::{BoundInsert, ROWTIME, STREAM, StreamColumns, StreamSink};
use flott_sql::catalog::{Home, Object, Path, backquoted};
use flott_sql::parser::ast::{Describe, Statement, StatementKind};
use flott_sql::{Outcome, Script, Session, SqlError, table_text};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// A statement, a schema or a conversion is wrong, or a job that was run for it failed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// In SQL, or what a schema says in SQL.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// In the types of records.
    #[error("{0}")]
    Record(String),
    /// A job.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
}

impl From<TableError> for ExecuteError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Execute(error) => error,
            other => Self::Job(other.to_string()),
        }
    }
}

/// Which kinds of changes a stream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangelogMode {
    /// `+I` only.
    InsertOnly,
    /// `+I`, `+U` and `-D` by primary key; no `-U`.
    Upsert,
    /// All four.
    All,
}

impl From<ChangelogMode> for Kinds {
    fn from(mode: ChangelogMode) -> Self {
        match mode {
            ChangelogMode::InsertOnly => Self::Append,
            ChangelogMode::Upsert => Self::Upsert,
            ChangelogMode::All => Self::Retract,
        }
    }
}

/// SQL over the streams of an environment. All of one [`StreamExecutionEnvironment`] have the same tables.
#[derive(Clone)]
pub struct StreamTableEnvironment {
    env: StreamExecutionEnvironment,
    tables: Rc<Tables>,
}

impl fmt::Debug for StreamTableEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamTableEnvironment")
    }
}

/// A table by its name, or a query. Within the text of a query it stands for itself: `format!("SELECT * FROM {table}")`.
#[derive(Clone)]
pub struct Table {
    tables: StreamTableEnvironment,
    path: String,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({})", self.path)
    }
}

fn parse(text: &str) -> Result<Script, SqlError> {
    Script::parse(text, &|name| std::env::var(name).ok())
}

impl StreamTableEnvironment {
    /// The table environment of `env`.
    ///
    /// # Errors
    /// If the options of the environment cannot be read.
    pub fn create(env: &StreamExecutionEnvironment) -> Result<Self, TableError> {
        let options = env.options()?;
        let other = || TableError::Record("the environment's tables are planned by something else than SQL".to_owned());
        Ok(Self {
            tables: env.planner(|| Tables::new(options)).ok_or_else(other)?,
            env: env.clone(),
        })
    }

    /// A table over a stream of insertions: its columns are those of the records' type.
    ///
    /// # Errors
    /// If the records' type has no columns of its own ([`Row`]).
    pub fn from_data_stream<T: TableRecord>(&self, stream: &DataStream<T>) -> Result<Table, TableError> {
        self.from_data_stream_with(stream, Schema::new())
    }

    /// A table over a stream of insertions, with columns, event time and key as `schema` says.
    ///
    /// ```
    /// # use flott::prelude::*;
    /// # use flott::table::{Schema, StreamTableEnvironment};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let env = StreamExecutionEnvironment::get_execution_environment();
    /// # let tables = StreamTableEnvironment::create(&env)?;
    /// let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|click: &(String, i64), _| click.1);
    /// let clicks = env.from_collection([("a".to_owned(), 1_000), ("a".to_owned(), 61_000)]);
    /// let clicks = clicks.assign_timestamps_and_watermarks(&strategy);
    /// let schema = Schema::new().column_by_metadata("rowtime", "TIMESTAMP_LTZ(3)").watermark("rowtime", "SOURCE_WATERMARK()");
    /// let clicks = tables.from_data_stream_with(&clicks, schema)?;
    /// let counts = tables.sql_query(&format!(
    ///     "SELECT f0, COUNT(*) FROM TUMBLE(TABLE {clicks}, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE) GROUP BY f0, window_start, window_end"
    /// ))?;
    /// let counts = tables.to_data_stream::<(String, i64)>(&counts)?.execute_and_collect("clicks")?;
    /// assert_eq!(counts, [("a".to_owned(), 1), ("a".to_owned(), 1)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the schema does not fit the records; the error names the column, both types and what to do.
    pub fn from_data_stream_with<T: TableRecord>(
        &self,
        stream: &DataStream<T>,
        schema: Schema,
    ) -> Result<Table, TableError> {
        self.unregistered("Unregistered_DataStream", stream, &schema, Kinds::Append)
    }

    /// A table over a stream of changes of all four kinds.
    ///
    /// # Errors
    /// If the records' type has no columns of its own ([`Row`]).
    pub fn from_changelog_stream<R: ChangeRecord>(&self, stream: &DataStream<R>) -> Result<Table, TableError> {
        self.from_changelog_stream_with(stream, Schema::new(), ChangelogMode::All)
    }

    /// A table over a stream of changes of some kinds, with columns, event time and key as `schema` says.
    ///
    /// # Errors
    /// As [`Self::from_data_stream_with`]; a changelog of upserts needs a primary key.
    pub fn from_changelog_stream_with<R: ChangeRecord>(
        &self,
        stream: &DataStream<R>,
        schema: Schema,
        mode: ChangelogMode,
    ) -> Result<Table, TableError> {
        self.unregistered("Unregistered_Changelog", stream, &schema, mode.into())
    }

    /// Gives a name to a stream, to a stream with a schema (a pair), or to a [`Table`].
    ///
    /// # Errors
    /// If the name is taken, or as [`Self::from_data_stream_with`].
    pub fn create_temporary_view(&self, path: &str, source: impl ViewSource) -> Result<(), TableError> {
        source.create(self, path)
    }

    /// A query.
    ///
    /// # Errors
    /// What is wrong with it, with its place.
    pub fn sql_query(&self, query: &str) -> Result<Table, TableError> {
        let script = parse(query)?;
        let number = self.next_unnamed();
        let name = format!("UnnamedTable${number}");
        let mut session = self.tables.session.borrow_mut();
        session.create_query_view(&name, &script)?;
        Ok(self.table(home_path(&session, name).quoted()))
    }

    /// The table or view of this name, which stays what it is when `USE` changes what short names mean.
    ///
    /// # Errors
    /// If there is none.
    pub fn from(&self, path: &str) -> Result<Table, TableError> {
        self.table(path.to_owned()).columns()?;
        let script = parse(&format!("DESCRIBE {path}"))?;
        match script.statements().iter().map(|s| &s.kind).collect::<Vec<_>>()[..] {
            [StatementKind::Describe(Describe::Table(name))] => {
                let full = self.tables.session.borrow().catalog().path(name)?;
                Ok(self.table(full.quoted()))
            }
            _ => Err(no_name(path)),
        }
    }

    /// Executes a statement. A query or an INSERT is run as a job of its own, to its end; what is to be part of the program's job is attached
    /// by a [`StatementSet`].
    ///
    /// # Errors
    /// What is wrong with the statement, with its place; or the job's failure.
    pub fn execute_sql(&self, statement: &str) -> Result<TableResult, TableError> {
        let script = parse(statement)?;
        let [statement] = script.statements() else {
            return Err(TableError::Record(format!(
                "execute_sql takes one statement, and here are {}: execute them one by one",
                script.statements().len()
            )));
        };
        match &statement.kind {
            StatementKind::Query(_) => self.collect(&script),
            StatementKind::Insert(_) | StatementKind::StatementSet(_) => {
                let inserts = self.tables.session.borrow().bind_inserts(&script, statement)?;
                self.statements(inserts).execute()
            }
            StatementKind::CreateTableAs(_) => Err(TableError::Record(
                "CREATE TABLE … AS is not executed in a program: CREATE TABLE, then INSERT INTO it".to_owned(),
            )),
            _ => self.execute_other(&script, statement),
        }
    }

    fn execute_other(&self, script: &Script, statement: &Statement) -> Result<TableResult, TableError> {
        let mut session = self.tables.session.borrow_mut();
        let rows = |columns: Vec<String>, rows: Vec<Vec<String>>| TableResult {
            columns,
            rows: rows.into_iter().map(Row::of).collect(),
        };
        Ok(match session.execute(script, statement)? {
            Outcome::Done => rows(vec!["result".to_owned()], vec![vec!["OK".to_owned()]]),
            Outcome::Warned(text) | Outcome::Text(text) => rows(vec!["result".to_owned()], vec![vec![text]]),
            Outcome::Rows { columns, rows: all } => rows(columns, all),
            Outcome::Job(_) | Outcome::Jobs | Outcome::DescribeJob(_) | Outcome::StopJob(_) => {
                return Err(TableError::Record(
                    "a program runs its jobs to their end one by one, so there is none to ask or to stop".to_owned(),
                ));
            }
        })
    }

    fn collect(&self, script: &Script) -> Result<TableResult, TableError> {
        let sink = StreamSink {
            name: "*collect*".to_owned(),
            options: Options::new(),
            columns: StreamColumns::OfQuery,
            changelog: Kinds::Retract,
            primary_key: vec![],
            time: None,
        };
        let mut columns = vec![];
        let rows = self.env.collect_aside("collect", || {
            let insert = self.tables.session.borrow().bind_stream(script, &sink)?;
            columns = record_columns(&insert).iter().map(|f| f.name.clone()).collect();
            Ok::<_, TableError>(self.outlet::<Row>("Collect", insert))
        })?;
        Ok(TableResult { columns, rows })
    }

    /// Inserts that are executed together.
    pub fn create_statement_set(&self) -> StatementSet {
        self.statements(vec![])
    }

    fn statements(&self, inserts: Vec<BoundInsert>) -> StatementSet {
        StatementSet {
            tables: self.clone(),
            inserts,
        }
    }

    /// The rows of a table that only grows, as records: columns are found by the names of a struct's fields, those of a tuple by place. If the
    /// table has a time attribute, it is the records' event time.
    ///
    /// The stream's `uid` is that of the query's state, too. What a query shares with others of its job belongs to the first of them: of those with a
    /// uid, in the order of the program; then of the attached statements; then of those without a uid. So a uid given to a query that was
    /// planned behind another one, which has the same state, moves that state.
    ///
    /// # Errors
    /// If the table has updates, or a column is not what its field takes; the error names both and what to do.
    pub fn to_data_stream<T: TableRecord>(&self, table: &Table) -> Result<DataStream<T>, TableError> {
        self.to_stream(table, "to_data_stream", of_record::<T>(), Kinds::Append, &[], None)
    }

    /// The changes of a table, of all four kinds.
    ///
    /// # Errors
    /// As [`Self::to_data_stream`], but for updates.
    pub fn to_changelog_stream<R: ChangeRecord>(&self, table: &Table) -> Result<DataStream<R>, TableError> {
        self.to_changelog_stream_with(table, Schema::new(), ChangelogMode::All)
    }

    /// The changes of a table, of some kinds. The schema may name columns with types to cast to, a primary key, by which upserts are told, and
    /// the column that is the event time and no column of the records: `column_by_metadata("rowtime", …)`.
    ///
    /// # Errors
    /// As [`Self::to_changelog_stream`], and if the table has changes that the mode does not take.
    pub fn to_changelog_stream_with<R: ChangeRecord>(
        &self,
        table: &Table,
        schema: Schema,
        mode: ChangelogMode,
    ) -> Result<DataStream<R>, TableError> {
        let refused = |what: String| Err(TableError::Record(what));
        if let Some(name) = schema.computed() {
            return refused(format!(
                "column '{name}' of the schema is computed: compute it in the query"
            ));
        }
        if let Some(name) = schema.watermark_column() {
            return refused(format!(
                "the schema has a watermark for '{name}': a stream has the watermarks of its table, leave it out"
            ));
        }
        if schema.has_physical() && R::columns().is_some() {
            let record = std::any::type_name::<R>();
            return refused(format!(
                "{record} has columns of its own: leave column() out of the schema, or take a Row"
            ));
        }
        let own = match R::columns() {
            Some(RecordColumns { fields, .. }) => fields,
            None => table.columns()?,
        };
        let spec = self.declared(&schema, &own)?;
        let columns = match schema.has_physical() {
            true => StreamColumns::Named(spec.columns),
            false => of_record::<R>(),
        };
        let time = spec.metadata.iter().find(|m| m.key == ROWTIME);
        if let Some(other) = spec.metadata.iter().find(|m| m.key != ROWTIME) {
            let hint = suggest::hint(&other.key, [ROWTIME]);
            return refused(format!(
                "records of a stream have no metadata '{}'{hint}: 'rowtime' is their event time",
                other.key
            ));
        }
        let time = time.map(|m| m.name.clone());
        self.to_stream(
            table,
            "to_changelog_stream",
            columns,
            mode.into(),
            &spec.primary_key,
            time,
        )
    }

    /// What a schema declares, with `own` columns where it names none.
    fn declared(&self, schema: &Schema, own: &[Field]) -> Result<TableSpec, TableError> {
        let named: Vec<Field> = own.iter().filter(|f| !schema.has_metadata(&f.name)).cloned().collect();
        let options = [("connector", STREAM.to_owned())];
        let script = parse(&schema.create_table("`*schema*`", &named, &options))?;
        let mut scratch = self.tables.session.borrow().clone();
        Ok(created(&mut scratch, &script)?.clone())
    }

    fn to_stream<T: TableRecord>(
        &self,
        table: &Table,
        word: &str,
        columns: StreamColumns,
        changelog: Kinds,
        primary_key: &[String],
        time: Option<String>,
    ) -> Result<DataStream<T>, TableError> {
        let sink = StreamSink {
            name: format!("*{word}"),
            options: Options::new(),
            columns,
            changelog,
            primary_key: primary_key.to_vec(),
            time,
        };
        let insert = self.tables.session.borrow().bind_stream(&table.script()?, &sink)?;
        Ok(self.outlet("Table to Stream", insert))
    }

    fn outlet<T: TableRecord>(&self, name: &str, insert: BoundInsert) -> DataStream<T> {
        let columns = record_columns(&insert).to_vec();
        let (stream, outlet) = self
            .env
            .outlet::<T>(name, move || Box::new(TableToStream::<T>::new(&columns)));
        self.tables.outlets.borrow_mut().insert(outlet, insert);
        stream
    }

    fn table(&self, path: String) -> Table {
        Table {
            tables: self.clone(),
            path,
        }
    }

    fn next_unnamed(&self) -> usize {
        let mut unnamed = self.tables.unnamed.borrow_mut();
        *unnamed += 1;
        *unnamed
    }

    /// Makes a stream a table that has no name in the program.
    fn unregistered<T: TableRecord>(
        &self,
        what: &str,
        stream: &DataStream<T>,
        schema: &Schema,
        changelog: Kinds,
    ) -> Result<Table, TableError> {
        let name = format!("{what}_{}", self.next_unnamed());
        let path = home_path(&self.tables.session.borrow(), name).quoted();
        self.register(&path, stream, schema, changelog, false)?;
        Ok(self.table(path))
    }

    /// Makes a stream a table.
    fn register<T: TableRecord>(
        &self,
        path: &str,
        stream: &DataStream<T>,
        schema: &Schema,
        changelog: Kinds,
        is_named: bool,
    ) -> Result<(), TableError> {
        let refused = |what: String| Err(TableError::Record(what));
        if !stream.is_of(&self.env) {
            return refused(format!(
                "the stream that is to be table {path} belongs to another StreamExecutionEnvironment"
            ));
        }
        let own = T::columns();
        if own.is_none() && !schema.has_physical() {
            return refused(format!(
                "a stream of Rows does not say which columns table {path} has: name them with Schema::column(name, type)"
            ));
        }
        let number = self.tables.streams.borrow().len();
        let options = [
            ("connector", STREAM.to_owned()),
            (STREAM_NUMBER, number.to_string()),
            (CHANGELOG, changelog_text(changelog)),
        ];
        let fields = own.as_ref().map_or(&[][..], |own| &own.fields);
        let script = parse(&schema.create_table(path, fields, &options))?;
        let mut session = self.tables.session.borrow().clone();
        let table = created(&mut session, &script)?;
        if changelog == Kinds::Upsert && table.primary_key.is_empty() {
            return refused(format!(
                "a changelog of upserts tells rows apart by a primary key, and the schema of table {path} has none: add primary_key([…])"
            ));
        }
        let written = match own {
            None => table.columns.clone(),
            Some(own) => written_columns(table, own, std::any::type_name::<T>())?,
        };
        let make = move |scan: &ScanSpec, watermarks| {
            let columns = Columns {
                table: scan.table.short_name().to_owned(),
                written: written.clone(),
                read: scan.fields.clone(),
                rowtimes: scan.metadata.len(),
                changelog,
            };
            Ok(Box::new(StreamToTable::<T>::new(columns, watermarks)?) as Box<_>)
        };
        // What queries would say of the table is said now.
        session.columns_of(&parse(&format!("SELECT * FROM {path}"))?)?;
        self.tables.streams.borrow_mut().push(StreamTable {
            stream: stream.reference(),
            make: Arc::new(make),
            is_named,
            changelog,
        });
        *self.tables.session.borrow_mut() = session;
        Ok(())
    }
}

/// The full path of a name in the current catalog and database.
fn home_path(session: &Session, name: String) -> Path {
    let Home { catalog, database } = session.catalog().home();
    Path {
        catalog,
        database,
        name,
    }
}

fn no_name(path: &str) -> TableError {
    TableError::Record(format!(
        "'{path}' is no name of a table: write a name of up to three parts, in backquotes where it is more than a word, or sql_query for a query"
    ))
}

/// Creates the one table of a script.
fn created<'s>(session: &'s mut Session, script: &Script) -> Result<&'s TableSpec, TableError> {
    let wrong = || TableError::Record("a name or a type of the schema is more than one".to_owned());
    let [statement] = script.statements() else {
        return Err(wrong());
    };
    let StatementKind::CreateTable(create) = &statement.kind else {
        return Err(wrong());
    };
    session.execute(script, statement)?;
    match session.catalog().find(&create.name)? {
        Object::Table(table) => Ok(&table.spec),
        Object::View(_) => Err(wrong()),
    }
}

/// The columns that records of `own` write into a table, in the order of the record.
fn written_columns(table: &TableSpec, own: RecordColumns, record: &str) -> Result<Vec<Field>, TableError> {
    let is_declared = |field: &Field| table.columns.iter().any(|c| c.name == field.name);
    let RecordColumns { mut fields, is_placed } = own;
    if is_placed && fields.len() == table.columns.len() && !fields.iter().any(is_declared) {
        for (field, column) in fields.iter_mut().zip(&table.columns) {
            field.name.clone_from(&column.name);
        }
    }
    for column in &table.columns {
        let Some(field) = fields.iter_mut().find(|f| f.name == column.name) else {
            let hint = suggest::hint(&column.name, fields.iter().map(|f| f.name.as_str()));
            let names: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
            return Err(TableError::Record(format!(
                "column '{}' of table '{}' is no field of {record}{hint}: its fields are {}; compute the column with \
                 column_by_expression, or take the event time with column_by_metadata",
                column.name,
                table.short_name(),
                names.join(", ")
            )));
        };
        if !is_filled_by(&column.ty, &field.ty) {
            return Err(TableError::Record(format!(
                "column '{}' of table '{}' is declared as {}, and the field of {record} is {}: declare it as {}, or add a column \
                 with column_by_expression(…, \"CAST({} AS {})\")",
                column.name,
                table.short_name(),
                column.ty,
                field.ty,
                field.ty,
                backquoted(&column.name),
                column.ty.kind
            )));
        }
        field.ty = column.ty.clone();
    }
    Ok(fields)
}

fn of_record<T: TableRecord>() -> StreamColumns {
    match T::columns() {
        None => StreamColumns::OfQuery,
        Some(RecordColumns {
            fields,
            is_placed: true,
        }) => StreamColumns::Placed(fields),
        Some(RecordColumns { fields, .. }) => StreamColumns::Named(fields),
    }
}

/// The columns of an insert into a stream that are no event time.
fn record_columns(insert: &BoundInsert) -> &[Field] {
    &insert.fields[..insert.fields.len() - insert.metadata.len()]
}

impl Table {
    fn script(&self) -> Result<Script, SqlError> {
        parse(&format!("SELECT * FROM {}", self.path))
    }

    /// Names and types of its columns.
    ///
    /// # Errors
    /// If it no longer exists, or no longer fits what it reads.
    pub fn columns(&self) -> Result<Vec<Field>, TableError> {
        let session = self.tables.tables.session.borrow();
        let columns = session.columns_of(&self.script()?)?;
        Ok(columns.iter().map(|c| c.to_field()).collect())
    }

    /// How its rows come about: the text of EXPLAIN.
    ///
    /// # Errors
    /// If it cannot be planned.
    pub fn explain(&self) -> Result<String, TableError> {
        let result = self
            .tables
            .execute_sql(&format!("EXPLAIN SELECT * FROM {}", self.path))?;
        let text = result.rows.first().and_then(|row| row.get(0)?.as_str());
        Ok(text.unwrap_or_default().to_owned())
    }

    /// Runs a job of its own to its end, and gives the changes of the table.
    ///
    /// # Errors
    /// If the job is refused or fails.
    pub fn execute(&self) -> Result<TableResult, TableError> {
        self.tables.collect(&self.script()?)
    }

    /// Inserts its rows into a table of the catalog, once the set is executed or attached.
    ///
    /// # Errors
    /// If the table does not take them.
    pub fn insert_into(&self, path: &str) -> Result<StatementSet, TableError> {
        let mut set = self.tables.create_statement_set();
        set.add_insert(path, self)?;
        Ok(set)
    }
}

/// Inserts that become one job, or a part of the program's.
#[derive(Debug, Clone)]
#[must_use = "a set does nothing before it is executed or attached"]
pub struct StatementSet {
    tables: StreamTableEnvironment,
    inserts: Vec<BoundInsert>,
}

impl StatementSet {
    /// Adds an `INSERT INTO`.
    ///
    /// # Errors
    /// What is wrong with it, with its place.
    pub fn add_insert_sql(&mut self, statement: &str) -> Result<&mut Self, TableError> {
        let script = parse(statement)?;
        for statement in script.statements() {
            let session = self.tables.tables.session.borrow();
            self.inserts.extend(session.bind_inserts(&script, statement)?);
        }
        Ok(self)
    }

    /// Adds an insertion of a table's rows into a table of the catalog.
    ///
    /// # Errors
    /// If that table does not take them.
    pub fn add_insert(&mut self, path: &str, table: &Table) -> Result<&mut Self, TableError> {
        self.add_insert_sql(&format!("INSERT INTO {path} SELECT * FROM {table}"))
    }

    /// Makes the inserts part of the job that [`StreamExecutionEnvironment::execute`] runs next: one job, one checkpoint.
    pub fn attach_as_data_stream(self) {
        let number = self.tables.env.attach();
        self.tables.tables.statements.borrow_mut().insert(number, self.inserts);
    }

    /// Runs the inserts as a job of their own, to its end.
    ///
    /// # Errors
    /// If the job is refused or fails.
    pub fn execute(self) -> Result<TableResult, TableError> {
        let names: Vec<&str> = self.inserts.iter().map(|i| i.table.short_name()).collect();
        let name = format!("insert-into_{}", names.join(","));
        let env = self.tables.env.clone();
        env.execute_aside(&name, || {
            self.attach_as_data_stream();
            Ok::<_, TableError>(())
        })?;
        Ok(TableResult {
            columns: vec!["result".to_owned()],
            rows: vec![Row::of(["OK"])],
        })
    }
}

/// What a statement gave.
#[derive(Debug, Clone, PartialEq)]
pub struct TableResult {
    columns: Vec<String>,
    rows: Vec<Row>,
}

impl TableResult {
    /// Names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The rows; those of a table with updates say their kinds.
    pub fn collect(self) -> Vec<Row> {
        self.rows
    }

    /// Writes the rows to standard output, as Flink's client does.
    pub fn print(&self) {
        let mut columns = vec!["op".to_owned()];
        columns.extend(self.columns.iter().cloned());
        let text = |value: &Value| match value {
            Value::Null => "<NULL>".to_owned(),
            value => value.to_string(),
        };
        let row = |row: &Row| {
            let kind = std::iter::once(row.kind().short().to_owned());
            kind.chain(row.values().iter().map(text)).collect()
        };
        let rows: Vec<Vec<String>> = self.rows.iter().map(row).collect();
        println!("{}", table_text::table(&columns, &rows));
    }
}

/// What can be given a name: a stream, a stream with a schema, a [`Table`].
pub trait ViewSource {
    /// Gives it the name.
    ///
    /// # Errors
    /// As [`StreamTableEnvironment::create_temporary_view`].
    fn create(self, tables: &StreamTableEnvironment, path: &str) -> Result<(), TableError>;
}

impl<T: TableRecord> ViewSource for &DataStream<T> {
    fn create(self, tables: &StreamTableEnvironment, path: &str) -> Result<(), TableError> {
        tables.register(path, self, &Schema::new(), Kinds::Append, true)
    }
}

impl<T: TableRecord> ViewSource for (&DataStream<T>, Schema) {
    fn create(self, tables: &StreamTableEnvironment, path: &str) -> Result<(), TableError> {
        tables.register(path, self.0, &self.1, Kinds::Append, true)
    }
}

impl ViewSource for &Table {
    fn create(self, tables: &StreamTableEnvironment, path: &str) -> Result<(), TableError> {
        let view = format!("CREATE TEMPORARY VIEW {path} AS SELECT * FROM {self}");
        tables.execute_sql(&view).map(drop)
    }
}
