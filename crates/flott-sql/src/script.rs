//! Scripts and sessions: what happens with each statement of a file.
//!
//! [`Script::parse`] reads a text; [`Session::execute`] takes its statements in order. Definitions and options change
//! the session; an INSERT, a statement set or a SELECT becomes an executable [`Job`]. A session holds no thread and
//! does no I/O: whoever drives it submits the jobs, and gives it [`CatalogFiles`] for catalogs that are files.

mod alter;
mod create;
mod derive;
mod modules;
mod show;
mod streams;

pub use streams::plan_inserts;

use crate::binder::{Binder, BoundInsert};
use crate::catalog::{Catalog, CatalogFiles, Table};
use crate::check::{Warning, check_job};
use crate::config::PlannerConfig;
use crate::error::{SqlError, SqlResult, Step};
use crate::explain::{explain, explain_json};
use crate::parser::ast::{CreateTable, CreateView, Explained, Insert, Statement, StatementKind, StopJob};
use crate::parser::{self, Source};
use crate::physical::{self, PlannedJob};
use crate::stack::with_room;
use flott_core::{Field, Options, suggest};
use flott_plan::Plan;
use flott_runtime::Registry;
use flott_runtime::connector::{ChangelogMode, TableSpec};
use modules::Modules;
use sqlparser::ast::Query;
use std::sync::Arc;

/// `connector` of the sink of a SELECT: its rows go to whoever runs the job.
pub const COLLECT: &str = "collect";

/// Where the definitions of catalogs are kept.
const STORE_KIND: &str = "table.catalog-store.kind";
/// The folder of those that are kept as files.
const STORE_PATH: &str = "table.catalog-store.file.path";

/// A script, read and not yet executed.
#[derive(Debug, Clone)]
pub struct Script {
    source: Arc<Source>,
    statements: Vec<Statement>,
}

impl Script {
    /// Reads a script; `variables` gives the values of `${NAME}`.
    ///
    /// # Errors
    /// The first syntax error or unset variable, with line, column and what was expected.
    pub fn parse(text: &str, variables: &dyn Fn(&str) -> Option<String>) -> SqlResult<Self> {
        let (source, statements) = parser::parse(text, variables)?;
        Ok(Self {
            source: Arc::new(source),
            statements,
        })
    }

    /// Whether `text` ends with a whole statement, so that a shell need not ask for another line.
    pub fn is_complete(text: &str) -> bool {
        parser::is_complete(text)
    }

    /// The statements in order.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }
}

/// A job, planned and ready to be submitted.
#[derive(Debug, Clone)]
pub struct Job {
    /// What runs, with the options that it runs under.
    pub plan: Plan,
    /// Columns of the rows that are collected, for a SELECT.
    pub collect: Option<Vec<Field>>,
    /// What will hurt.
    pub warnings: Vec<Warning>,
    /// The text of EXPLAIN.
    pub explanation: String,
}

/// What a statement did.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It changed the session.
    Done,
    /// It changed the session; the text is a warning.
    Warned(String),
    /// It is a job to submit.
    Job(Box<Job>),
    /// It asks for the jobs of this session: whoever submits them knows.
    Jobs,
    /// It asks for one job of this session, by its id: whoever submits them knows it.
    DescribeJob(String),
    /// It asks to stop a job: whoever submits them knows it.
    StopJob(StopJob),
    /// It has an answer of one text.
    Text(String),
    /// It has an answer of rows.
    Rows {
        /// Names of the columns.
        columns: Vec<String>,
        /// The rows.
        rows: Vec<Vec<String>>,
    },
}

/// Tables, views and options of one user.
#[derive(Debug, Clone)]
pub struct Session {
    registry: Arc<Registry>,
    catalog: Catalog,
    /// What the session began with, for RESET.
    initial: Options,
    options: Options,
    modules: Modules,
}

impl Session {
    /// A session with these connectors and options.
    pub fn new(registry: Arc<Registry>, options: Options) -> Self {
        Self {
            registry,
            catalog: Catalog::default(),
            initial: options.clone(),
            options,
            modules: Modules::default(),
        }
    }

    /// The same session with access to files; it takes over the catalogs of the store that its options name.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn with_files(mut self, files: Arc<dyn CatalogFiles>) -> SqlResult<Self> {
        self.catalog = self.catalog.with_files(files);
        self.open_store(&self.options.clone(), true)?;
        Ok(self)
    }

    /// Takes over the catalogs of the store that the options name, if they name one.
    fn open_store(&mut self, options: &Options, is_whole: bool) -> SqlResult<()> {
        let kind = options
            .one_of(STORE_KIND, &["generic_in_memory", "file"])
            .map_err(|e| SqlError::new(Step::Option, e.to_string()))?;
        match (kind, options.get(STORE_PATH)) {
            (Some(1), Some(path)) => self.catalog.open_store(path),
            (Some(1), None) if is_whole => Err(SqlError::new(
                Step::Option,
                format!("'{STORE_KIND}' is 'file', but '{STORE_PATH}' is missing"),
            )
            .remedy(format!(
                "name the folder of the definitions: '{STORE_PATH}' = '/folder'"
            ))),
            _ => Ok(()),
        }
    }

    /// The options now.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The tables and views now.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Names that a statement may use now: catalogs, databases, tables, views, and the columns of tables. Sorted.
    pub fn names(&self) -> Vec<String> {
        let catalogs = self.catalog.catalogs();
        let mut names: Vec<String> = catalogs.keys().cloned().collect();
        names.extend(catalogs.values().flat_map(|c| c.databases.keys().cloned()));
        names.extend(self.catalog.names());
        names.extend(self.catalog.columns());
        names.sort();
        names.dedup();
        names
    }

    /// Executes a statement of `script`.
    ///
    /// # Errors
    /// What is wrong with it, with its place; the session stays as it was.
    pub fn execute(&mut self, script: &Script, statement: &Statement) -> SqlResult<Outcome> {
        self.catalog.refresh();
        let executed = match &statement.kind {
            // Nothing to go down into, and scripts may have thousands of them.
            StatementKind::Set(_) | StatementKind::Reset(_) => self.run(&script.source, statement),
            _ => with_room(|| self.run(&script.source, statement)),
        };
        executed.map_err(|e| e.at(statement.location).in_source(&script.source.text))
    }

    /// Executes all statements of a script and gives their outcomes.
    ///
    /// # Errors
    /// The first error; statements before it have taken effect.
    pub fn execute_all(&mut self, script: &Script) -> SqlResult<Vec<Outcome>> {
        script.statements.iter().map(|s| self.execute(script, s)).collect()
    }

    fn run(&mut self, source: &Arc<Source>, statement: &Statement) -> SqlResult<Outcome> {
        match &statement.kind {
            StatementKind::CreateTable(create) => self.create_table(create, source),
            StatementKind::CreateView(create) => self.create_view(create, source),
            StatementKind::Drop(drop) => self.catalog.drop(drop).map(|()| Outcome::Done),
            StatementKind::Set(None) => Ok(self.show_options()),
            StatementKind::Set(Some((key, value))) => self.set(key, value),
            StatementKind::Reset(key) => {
                self.reset(key.as_deref());
                Ok(Outcome::Done)
            }
            StatementKind::Insert(insert) => self.job(source, std::slice::from_ref(insert)),
            StatementKind::StatementSet(inserts) => self.job(source, inserts),
            StatementKind::Query(query) => {
                let (job, fields) = self.planned_query(source, query)?;
                self.outcome(job, Some(fields))
            }
            StatementKind::Explain(statement) => {
                let job = match &statement.inserts {
                    Explained::Inserts(inserts) => self.planned_inserts(source, inserts)?,
                    Explained::Query(query) => self.planned_query(source, query)?.0,
                };
                if statement.json {
                    let json = explain_json(&job).map_err(|e| SqlError::new(Step::Plan, e.to_string()))?;
                    return Ok(Outcome::Text(json));
                }
                let mut text = explain(&job, self.chaining()?);
                if statement.advice {
                    text.push_str(&advice_text(&check_job(&job, &self.options)));
                }
                Ok(Outcome::Text(text))
            }
            StatementKind::StopJob(stop) if stop.with_drain => Err(SqlError::new(
                Step::Unsupported,
                "WITH DRAIN, which closes all windows before the job stops, is not supported yet",
            )
            .at(stop.location)
            .remedy("leave it out: windows that are open stay in the savepoint")),
            StatementKind::StopJob(stop) => Ok(Outcome::StopJob(stop.clone())),
            StatementKind::Module(statement) => self.change_modules(statement),
            StatementKind::Show(show) => self.show(source, show),
            StatementKind::Describe(describe) => self.describe(source, describe),
            StatementKind::Database(statement) => self.catalog.change_database(statement).map(|()| Outcome::Done),
            StatementKind::Catalog(statement) => self.catalog.change_catalog(statement).map(|()| Outcome::Done),
            StatementKind::CreateTableLike(like) => self.create_table_like(like, source),
            StatementKind::CreateTableAs(create) => self.create_table_as(create, source),
            StatementKind::AlterTable(alter) => self.alter_table(alter, source),
            StatementKind::AlterView(alter) => self.alter_view(alter, source),
        }
    }

    fn binder(&self, source: &Arc<Source>) -> Binder<'_> {
        Binder::new(&self.catalog, &self.registry, &self.options, source.clone())
    }

    fn chaining(&self) -> SqlResult<bool> {
        Ok(PlannerConfig::of(&self.options)?.chaining)
    }

    fn create_table(&mut self, create: &CreateTable, source: &Arc<Source>) -> SqlResult<Outcome> {
        let table = Table::resolve(create, &self.catalog.path(&create.name)?, source)?;
        self.catalog
            .add_table(table, create.temporary, create.if_not_exists, &create.name)?;
        Ok(Outcome::Done)
    }

    fn create_view(&mut self, create: &CreateView, source: &Arc<Source>) -> SqlResult<Outcome> {
        let rel = self.binder(source).subquery(&create.query)?;
        if !create.columns.is_empty() && create.columns.len() != rel.fields.len() {
            return Err(SqlError::new(
                Step::Name,
                format!(
                    "the view names {} columns, but its query has {}",
                    create.columns.len(),
                    rel.fields.len()
                ),
            )
            .at_span(create.columns[0].span));
        }
        self.catalog.add_view(create, source)?;
        Ok(Outcome::Done)
    }

    fn set(&mut self, key: &str, value: &str) -> SqlResult<Outcome> {
        let mut options = self.options.clone();
        options.set(key, value);
        PlannerConfig::check_values(&options)?;
        if [STORE_KIND, STORE_PATH].contains(&key) {
            self.open_store(&options, false)?;
        }
        self.options = options;
        Ok(match crate::check::unknown_option(key) {
            Some(warning) => Outcome::Warned(warning),
            None => Outcome::Done,
        })
    }

    fn reset(&mut self, key: Option<&str>) {
        match key {
            None => self.options = self.initial.clone(),
            Some(key) => {
                self.options.remove(key);
                if let Some(value) = self.initial.get(key) {
                    self.options.set(key, value);
                }
            }
        }
    }

    fn show_options(&self) -> Outcome {
        let masked = |key: &str, value: &str| match flott_core::options::is_secret(key) {
            true => "******".to_owned(),
            false => value.to_owned(),
        };
        Outcome::Rows {
            columns: vec!["key".into(), "value".into()],
            rows: self
                .options
                .iter()
                .map(|(k, v)| vec![k.to_owned(), masked(k, v)])
                .collect(),
        }
    }

    fn planned_inserts(&self, source: &Arc<Source>, inserts: &[Insert]) -> SqlResult<PlannedJob> {
        let binder = self.binder(source);
        let bound = inserts
            .iter()
            .map(|i| binder.insert(i))
            .collect::<SqlResult<Vec<BoundInsert>>>()?;
        physical::plan(bound, &self.options)
    }

    fn planned_query(&self, source: &Arc<Source>, query: &Query) -> SqlResult<(PlannedJob, Vec<Field>)> {
        let rel = self.binder(source).query(query)?;
        let fields = rel.schema();
        let mut options = Options::new();
        options.set("connector", COLLECT);
        let bound = BoundInsert {
            table: TableSpec {
                name: "*anonymous_collect$1*".to_owned(),
                options,
                columns: fields.clone(),
                metadata: vec![],
                primary_key: vec![],
                partition_keys: vec![],
            },
            changelog: ChangelogMode::Retract,
            rel,
            fields: fields.clone(),
            metadata: vec![],
            warnings: vec![],
        };
        Ok((physical::plan(vec![bound], &self.options)?, fields))
    }

    fn job(&self, source: &Arc<Source>, inserts: &[Insert]) -> SqlResult<Outcome> {
        let job = self.planned_inserts(source, inserts)?;
        self.outcome(job, None)
    }

    fn outcome(&self, job: PlannedJob, collect: Option<Vec<Field>>) -> SqlResult<Outcome> {
        Ok(Outcome::Job(Box::new(Job {
            warnings: check_job(&job, &self.options),
            explanation: explain(&job, self.chaining()?),
            plan: job.plan,
            collect,
        })))
    }
}

/// What EXPLAIN PLAN_ADVICE adds to the plan.
fn advice_text(warnings: &[Warning]) -> String {
    let advice: String = (1..)
        .zip(warnings)
        .map(|(i, w)| format!("advice[{i}]: {}\n  {}\n", w.message, w.remedy))
        .collect();
    match advice.is_empty() {
        true => "\n== Advice ==\nNo available advice.\n".to_owned(),
        false => format!("\n== Advice ==\n{advice}"),
    }
}

/// The nearest of `known` to `key`, as a hint.
pub(crate) fn nearest_hint(key: &str, known: &[&str]) -> String {
    suggest::hint(key, known.iter().copied())
}
