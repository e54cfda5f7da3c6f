//! What the statements say that look at a session or change what it has defined: SHOW, DESCRIBE, USE, databases,
//! catalogs, ALTER and the forms of CREATE TABLE that copy.

use super::ast::{ColumnDef, CreateTable, WatermarkDef};
use sqlparser::ast::{Ident, ObjectName, Query};
use sqlparser::tokenizer::Location;

/// Options as they stand in `('key' = 'value', …)`.
pub type OptionList = Vec<(String, String)>;

/// Options with the places of their keys.
pub type PlacedOptions = Vec<(String, String, Location)>;

/// `SHOW …`
#[derive(Debug, Clone)]
pub enum Show {
    /// A list of names.
    List {
        /// Of what.
        what: Listed,
        /// `FROM` or `IN`.
        scope: Option<ObjectName>,
        /// `[NOT] LIKE`, `[NOT] ILIKE`
        like: Option<Like>,
    },
    /// `SHOW CURRENT CATALOG`
    CurrentCatalog,
    /// `SHOW CURRENT DATABASE`
    CurrentDatabase,
    /// `SHOW CREATE TABLE`
    CreateTable(ObjectName),
    /// `SHOW CREATE VIEW`
    CreateView(ObjectName),
    /// `SHOW CREATE CATALOG`
    CreateCatalog(Ident),
    /// `SHOW [FULL] MODULES`
    Modules {
        /// `FULL`
        full: bool,
    },
    /// `SHOW JOBS`
    Jobs,
}

/// What a `SHOW` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// `CATALOGS`
    Catalogs,
    /// `DATABASES`
    Databases,
    /// `TABLES`: views too, as in Flink.
    Tables,
    /// `VIEWS`
    Views,
    /// `COLUMNS`
    Columns,
    /// `FUNCTIONS`
    Functions,
    /// `USER FUNCTIONS`
    UserFunctions,
}

/// A pattern that names must fit, or must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Like {
    /// With `%` and `_`.
    pub pattern: String,
    /// `NOT`
    pub negated: bool,
    /// `ILIKE`
    pub ignores_case: bool,
}

/// `DESCRIBE …`
#[derive(Debug, Clone)]
pub enum Describe {
    /// A table or view.
    Table(ObjectName),
    /// `JOB`
    Job {
        /// Its id, as SHOW JOBS lists it.
        id: String,
    },
    /// `DATABASE [EXTENDED]`
    Database {
        /// Its name, in up to two parts.
        name: ObjectName,
        /// `EXTENDED`
        extended: bool,
    },
    /// `CATALOG [EXTENDED]`
    Catalog {
        /// Its name.
        name: Ident,
        /// `EXTENDED`
        extended: bool,
    },
}

/// Statements on databases; a name has up to two parts.
#[derive(Debug, Clone)]
pub enum DatabaseStatement {
    /// `CREATE DATABASE`
    Create {
        /// Its name.
        name: ObjectName,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
        /// `COMMENT`
        comment: Option<String>,
        /// `WITH`
        options: OptionList,
    },
    /// `ALTER DATABASE … SET`
    Alter {
        /// Its name.
        name: ObjectName,
        /// What is set.
        options: OptionList,
    },
    /// `DROP DATABASE`
    Drop {
        /// Its name.
        name: ObjectName,
        /// `IF EXISTS`
        if_exists: bool,
        /// `CASCADE`: with its tables.
        cascade: bool,
    },
    /// `USE`
    Use(ObjectName),
}

/// Statements on catalogs.
#[derive(Debug, Clone)]
pub enum CatalogStatement {
    /// `CREATE CATALOG`
    Create {
        /// Its name.
        name: Ident,
        /// `IF NOT EXISTS`
        if_not_exists: bool,
        /// `COMMENT`
        comment: Option<String>,
        /// `WITH`
        options: PlacedOptions,
    },
    /// `ALTER CATALOG`
    Alter {
        /// Its name.
        name: Ident,
        /// What changes.
        change: CatalogChange,
    },
    /// `DROP CATALOG`
    Drop {
        /// Its name.
        name: Ident,
        /// `IF EXISTS`
        if_exists: bool,
    },
    /// `USE CATALOG`
    Use(Ident),
}

/// What `ALTER CATALOG` changes.
#[derive(Debug, Clone)]
pub enum CatalogChange {
    /// `SET`
    Set(PlacedOptions),
    /// `RESET`, with the places of the keys.
    Reset(Vec<(String, Location)>),
    /// `COMMENT`
    Comment(String),
}

/// `CREATE TABLE … LIKE base (…)`.
#[derive(Debug, Clone)]
pub struct CreateTableLike {
    /// What is defined besides.
    pub table: CreateTable,
    /// The table that is copied.
    pub base: ObjectName,
    /// How each part of it is taken.
    pub rules: Vec<(LikeStrategy, LikePart)>,
}

/// How a part of the base table is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LikeStrategy {
    /// It is taken; what the new table defines again is an error.
    Including,
    /// It is left out.
    Excluding,
    /// It is taken, and gives way to what the new table defines again.
    Overwriting,
}

/// A part of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LikePart {
    /// Everything but columns.
    All,
    /// The primary key.
    Constraints,
    /// Computed columns.
    Generated,
    /// Metadata columns.
    Metadata,
    /// Options.
    Options,
    /// `PARTITIONED BY`.
    Partitions,
    /// Watermarks.
    Watermarks,
}

/// `CREATE TABLE … AS query`.
#[derive(Debug, Clone)]
pub struct CreateTableAs {
    /// The table; it has no columns of its own.
    pub table: CreateTable,
    /// What fills it.
    pub query: Box<Query>,
}

/// `ALTER TABLE`.
#[derive(Debug, Clone)]
pub struct AlterTable {
    /// The table.
    pub name: ObjectName,
    /// `IF EXISTS`
    pub if_exists: bool,
    /// What changes.
    pub change: TableChange,
}

/// What `ALTER TABLE` changes.
#[derive(Debug, Clone)]
pub enum TableChange {
    /// `RENAME TO`
    RenameTo(ObjectName),
    /// `RENAME column TO column`
    RenameColumn {
        /// Its name.
        from: Ident,
        /// Its new name.
        to: Ident,
    },
    /// `SET`
    Set(OptionList),
    /// `RESET`
    Reset(Vec<String>),
    /// `ADD`: what is there already is an error.
    Add(Vec<TableElement>),
    /// `MODIFY`: what is not there is an error.
    Modify(Vec<TableElement>),
    /// `DROP` columns
    DropColumns(Vec<Ident>),
    /// `DROP PRIMARY KEY`, `DROP CONSTRAINT name`
    DropPrimaryKey,
    /// `DROP WATERMARK`
    DropWatermark,
}

/// A part of a table that `ALTER TABLE` adds or modifies.
#[derive(Debug, Clone)]
pub enum TableElement {
    /// A column and where it goes.
    Column(ColumnDef, Option<Position>),
    /// The watermark.
    Watermark(WatermarkDef),
    /// The primary key.
    PrimaryKey(Vec<Ident>),
}

/// Where a column goes.
#[derive(Debug, Clone)]
pub enum Position {
    /// `FIRST`
    First,
    /// `AFTER column`
    After(Ident),
}

/// `ALTER VIEW`.
#[derive(Debug, Clone)]
pub struct AlterView {
    /// The view.
    pub name: ObjectName,
    /// What changes.
    pub change: ViewChange,
}

/// What `ALTER VIEW` changes.
#[derive(Debug, Clone)]
pub enum ViewChange {
    /// `RENAME TO`
    RenameTo(ObjectName),
    /// `AS`, with the query's own words.
    As(Box<Query>, String),
}
