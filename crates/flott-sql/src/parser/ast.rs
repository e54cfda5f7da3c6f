//! What the statement parser yields: Flink's statements over sqlparser's queries and expressions.

pub use super::ddl::*;
use flott_core::LogicalType;
use sqlparser::ast::{Expr, Ident, ObjectName, Query};
use sqlparser::tokenizer::Location;

/// A statement and where it stands.
#[derive(Debug, Clone)]
pub struct Statement {
    /// What it says.
    pub kind: StatementKind,
    /// Its first word.
    pub location: Location,
    /// Its text, without the semicolon.
    pub text: String,
}

/// The statements of Flink SQL that are taken.
#[derive(Debug, Clone)]
pub enum StatementKind {
    /// `CREATE TABLE`
    CreateTable(Box<CreateTable>),
    /// `CREATE VIEW`
    CreateView(CreateView),
    /// `DROP TABLE`, `DROP VIEW`
    Drop(Drop),
    /// `SET 'key' = 'value'`; without a key all options are listed
    Set(Option<(String, String)>),
    /// `RESET 'key'`, or all
    Reset(Option<String>),
    /// `INSERT INTO`
    Insert(Insert),
    /// `EXECUTE STATEMENT SET BEGIN … END`, `BEGIN STATEMENT SET; … END`
    StatementSet(Vec<Insert>),
    /// `SELECT`, `WITH`, `VALUES`
    Query(Box<Query>),
    /// `EXPLAIN`
    Explain(Explain),
    /// `SHOW`
    Show(Show),
    /// `DESCRIBE`, `DESC`
    Describe(Describe),
    /// `CREATE`, `ALTER`, `DROP DATABASE`, `USE`
    Database(DatabaseStatement),
    /// `CREATE`, `ALTER`, `DROP CATALOG`, `USE CATALOG`
    Catalog(CatalogStatement),
    /// `CREATE TABLE … LIKE`
    CreateTableLike(Box<CreateTableLike>),
    /// `CREATE TABLE … AS`
    CreateTableAs(Box<CreateTableAs>),
    /// `STOP JOB`
    StopJob(StopJob),
    /// `LOAD MODULE`, `UNLOAD MODULE`
    Module(ModuleStatement),
    /// `ALTER TABLE`
    AlterTable(Box<AlterTable>),
    /// `ALTER VIEW`
    AlterView(AlterView),
}

/// `CREATE [TEMPORARY] TABLE`.
#[derive(Debug, Clone)]
pub struct CreateTable {
    /// Its name, in up to three parts.
    pub name: ObjectName,
    /// `TEMPORARY`
    pub temporary: bool,
    /// `IF NOT EXISTS`
    pub if_not_exists: bool,
    /// Columns in order.
    pub columns: Vec<ColumnDef>,
    /// `WATERMARK FOR`
    pub watermark: Option<WatermarkDef>,
    /// `PRIMARY KEY … NOT ENFORCED`
    pub primary_key: Option<Vec<Ident>>,
    /// `PARTITIONED BY`
    pub partitioned_by: Vec<Ident>,
    /// `COMMENT`
    pub comment: Option<String>,
    /// `WITH`, with the place of each key.
    pub options: Vec<(String, String, Location)>,
}

/// A column of a table.
#[derive(Debug, Clone)]
pub struct ColumnDef {
    /// Its name.
    pub name: Ident,
    /// What fills it.
    pub kind: ColumnKind,
    /// `COMMENT`
    pub comment: Option<String>,
}

/// What fills a column.
#[derive(Debug, Clone)]
pub enum ColumnKind {
    /// The format.
    Physical(LogicalType),
    /// An expression over the other columns.
    Computed(Box<Expr>),
    /// The connector, under a key.
    Metadata {
        /// Declared type.
        ty: LogicalType,
        /// `FROM 'key'`; the column's name where absent.
        key: Option<String>,
        /// Not written by sinks.
        is_virtual: bool,
    },
}

/// `WATERMARK FOR column AS expr`.
#[derive(Debug, Clone)]
pub struct WatermarkDef {
    /// The column; several parts name a field of a ROW.
    pub column: Vec<Ident>,
    /// The watermark of a row.
    pub expr: Expr,
}

/// `CREATE [TEMPORARY] VIEW`.
#[derive(Debug, Clone)]
pub struct CreateView {
    /// Its name.
    pub name: ObjectName,
    /// `TEMPORARY`
    pub temporary: bool,
    /// `IF NOT EXISTS`
    pub if_not_exists: bool,
    /// New names of the columns.
    pub columns: Vec<Ident>,
    /// `COMMENT`
    pub comment: Option<String>,
    /// What it stands for.
    pub query: Box<Query>,
    /// The query's own words.
    pub text: String,
}

/// `STOP JOB 'id' [WITH SAVEPOINT] [WITH DRAIN]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopJob {
    /// Its id, as SHOW JOBS lists it.
    pub id: String,
    /// Where the id stands.
    pub location: Location,
    /// `WITH SAVEPOINT`
    pub with_savepoint: bool,
    /// `WITH DRAIN`
    pub with_drain: bool,
}

/// `LOAD MODULE name [WITH (…)]`, `UNLOAD MODULE name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleStatement {
    /// `LOAD`
    pub load: bool,
    /// The module.
    pub name: Ident,
}

/// `DROP [TEMPORARY] TABLE|VIEW`.
#[derive(Debug, Clone)]
pub struct Drop {
    /// Whether a view is meant.
    pub view: bool,
    /// `TEMPORARY`
    pub temporary: bool,
    /// `IF EXISTS`
    pub if_exists: bool,
    /// What to drop.
    pub name: ObjectName,
}

/// `INSERT INTO table [(columns)] query`.
#[derive(Debug, Clone)]
pub struct Insert {
    /// The sink.
    pub table: ObjectName,
    /// `PARTITION (column = value)`: columns that have one value in all rows.
    pub partition: Vec<(Ident, Expr)>,
    /// Columns that the query fills; empty: all others.
    pub columns: Vec<Ident>,
    /// What to write.
    pub query: Box<Query>,
}

/// `EXPLAIN`.
#[derive(Debug, Clone)]
pub struct Explain {
    /// What to explain.
    pub inserts: Explained,
    /// `JSON_EXECUTION_PLAN`
    pub json: bool,
    /// `PLAN_ADVICE`
    pub advice: bool,
}

/// What `EXPLAIN` takes.
#[derive(Debug, Clone)]
pub enum Explained {
    /// One or several inserts, planned together.
    Inserts(Vec<Insert>),
    /// A query.
    Query(Box<Query>),
}
