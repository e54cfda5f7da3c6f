//! Catalogs and databases: making, changing, dropping and choosing them.

use super::files::Loaded;
use super::{Catalog, Object};
use crate::error::{SqlError, SqlResult, Step};
use crate::parser::ast::{CatalogChange, CatalogStatement, DatabaseStatement, OptionList};
use flott_core::suggest;
use sqlparser::ast::{ObjectName, Spanned};
use sqlparser::tokenizer::Location;
use std::collections::BTreeMap;

/// The type of catalogs that a session keeps for itself.
const IN_MEMORY: &str = "generic_in_memory";
/// The type of catalogs whose tables are files.
const FILE: &str = "file";
/// Option that names the folder of a catalog's files.
const PATH_OPTION: &str = "path";
/// Option that names the database that a catalog begins with.
pub const DEFAULT_DATABASE_OPTION: &str = "default-database";

/// A catalog.
#[derive(Debug, Clone, Default)]
pub struct CatalogEntry {
    /// `COMMENT`
    pub comment: Option<String>,
    /// `WITH`; empty for the catalog that a session begins with.
    pub options: BTreeMap<String, String>,
    /// Its databases.
    pub databases: BTreeMap<String, Database>,
    /// The one that `USE CATALOG` chooses.
    pub default_database: String,
    /// Why it cannot be used.
    pub(super) broken: Option<SqlError>,
}

/// A database.
#[derive(Debug, Clone, Default)]
pub struct Database {
    /// `COMMENT`
    pub comment: Option<String>,
    /// `WITH`
    pub options: BTreeMap<String, String>,
    /// Its permanent tables and views.
    pub(super) objects: BTreeMap<String, Object>,
    /// What was read of its files.
    pub(super) loaded: Loaded,
}

impl CatalogEntry {
    /// A catalog with one empty database.
    pub(super) fn with_database(name: &str) -> Self {
        Self {
            databases: [(name.to_owned(), Database::default())].into(),
            default_database: name.to_owned(),
            ..Self::default()
        }
    }

    /// A catalog with these options.
    ///
    /// # Errors
    /// If an option is missing, unknown or wrong.
    pub(super) fn defined(comment: Option<String>, options: BTreeMap<String, String>) -> SqlResult<Self> {
        Self::defined_by(comment, options, &[])
    }

    /// As [`Self::defined`], by options whose places an error shows.
    fn defined_by(
        comment: Option<String>,
        options: BTreeMap<String, String>,
        places: &[(String, String, Location)],
    ) -> SqlResult<Self> {
        check_options(&options, places)?;
        let mut made = Self {
            comment,
            options,
            ..Self::default()
        };
        made.choose_default();
        Ok(made)
    }

    /// The folder of its files, if its tables are files.
    pub(super) fn folder(&self) -> Option<&str> {
        let is_file = self.options.get("type").is_some_and(|t| t == FILE);
        let path = self.options.get(PATH_OPTION).filter(|_| is_file)?;
        match path.trim_end_matches('/') {
            "" => Some(path),
            trimmed => Some(trimmed),
        }
    }

    /// Begins with the database that the options name. Flink makes an altered catalog anew, and loses its tables; here only
    /// databases without any give way.
    fn choose_default(&mut self) {
        let named = self.options.get(DEFAULT_DATABASE_OPTION);
        self.default_database = named.map_or("default", String::as_str).to_owned();
        let is_file = self.folder().is_some();
        self.databases
            .retain(|_, database| !is_file && !database.objects.is_empty());
        self.databases.entry(self.default_database.clone()).or_default();
    }

    /// The database of this name; `own_name` is the catalog's.
    ///
    /// # Errors
    /// If there is none; names the nearest.
    pub fn database(&self, own_name: &str, name: &str) -> SqlResult<&Database> {
        self.databases.get(name).ok_or_else(|| {
            let hint = suggest::hint(name, self.databases.keys().map(String::as_str));
            let error = SqlError::new(Step::Name, format!("there is no database '{own_name}.{name}'{hint}"));
            error.remedy("SHOW DATABASES lists those that exist; CREATE DATABASE makes one")
        })
    }
}

fn taken(what: &str, name: &str) -> SqlError {
    SqlError::new(Step::Name, format!("the {what} '{name}' exists already"))
        .remedy("choose another name, or write IF NOT EXISTS")
}

fn in_use(what: &str, name: &str) -> SqlError {
    SqlError::new(
        Step::Name,
        format!("the {what} '{name}' is in use and cannot be dropped"),
    )
    .remedy(format!(
        "choose another {what} first: USE {}…",
        if what == "catalog" { "CATALOG " } else { "" }
    ))
}

fn map_of(options: &OptionList) -> BTreeMap<String, String> {
    options.iter().cloned().collect()
}

impl Catalog {
    /// Name of the current catalog.
    pub fn current_catalog(&self) -> &str {
        &self.catalog
    }

    /// Name of the current database.
    pub fn current_database(&self) -> &str {
        &self.database
    }

    /// The catalogs by name.
    pub fn catalogs(&self) -> &BTreeMap<String, CatalogEntry> {
        &self.catalogs
    }

    /// The catalog of this name.
    ///
    /// # Errors
    /// If there is none; names the nearest.
    pub fn entry(&self, name: &str) -> SqlResult<&CatalogEntry> {
        let entry = self.catalogs.get(name).ok_or_else(|| self.no_catalog(name))?;
        match &entry.broken {
            Some(error) => Err(error.clone()),
            None => Ok(entry),
        }
    }

    fn no_catalog(&self, name: &str) -> SqlError {
        let hint = suggest::hint(name, self.catalogs.keys().map(String::as_str));
        SqlError::new(Step::Name, format!("there is no catalog '{name}'{hint}"))
            .remedy("SHOW CATALOGS lists those that exist; CREATE CATALOG makes one")
    }

    fn entry_mut(&mut self, name: &str) -> SqlResult<&mut CatalogEntry> {
        let missing = self.no_catalog(name);
        self.catalogs.get_mut(name).ok_or(missing)
    }

    /// Catalog and database of a name of one or two parts.
    ///
    /// # Errors
    /// If it has more parts or its catalog does not exist.
    pub fn database_path(&self, name: &ObjectName) -> SqlResult<(String, String)> {
        let parts: Vec<&str> = name
            .0
            .iter()
            .filter_map(|p| p.as_ident())
            .map(|i| i.value.as_str())
            .collect();
        match parts.as_slice() {
            [database] => Ok((self.catalog.clone(), (*database).to_owned())),
            [catalog, database] => {
                self.entry(catalog).map_err(|e| e.at_span(name.span()))?;
                Ok(((*catalog).to_owned(), (*database).to_owned()))
            }
            _ => Err(SqlError::new(Step::Name, "a database's name has one or two parts").at_span(name.span())),
        }
    }

    /// Executes a statement on databases.
    ///
    /// # Errors
    /// If a name is taken or missing, or the database is in use or not empty.
    pub fn change_database(&mut self, statement: &DatabaseStatement) -> SqlResult<()> {
        let (DatabaseStatement::Create { name, .. }
        | DatabaseStatement::Alter { name, .. }
        | DatabaseStatement::Drop { name, .. }
        | DatabaseStatement::Use(name)) = statement;
        let span = name.span();
        self.database_statement(statement, name).map_err(|e| e.at_span(span))
    }

    fn database_statement(&mut self, statement: &DatabaseStatement, name: &ObjectName) -> SqlResult<()> {
        let (catalog, database) = self.database_path(name)?;
        let is_current = catalog == self.catalog && database == self.database;
        let entry = self.entry_mut(&catalog)?;
        let exists = entry.databases.contains_key(&database);
        match statement {
            DatabaseStatement::Create { if_not_exists, .. } if exists => match if_not_exists {
                true => Ok(()),
                false => Err(taken("database", &database)),
            },
            DatabaseStatement::Create { comment, options, .. } => {
                let made = Database {
                    comment: comment.clone(),
                    options: map_of(options),
                    ..Database::default()
                };
                if !self.make_database(&catalog, &database, &made)? {
                    return match statement {
                        DatabaseStatement::Create {
                            if_not_exists: true, ..
                        } => Ok(()),
                        _ => Err(taken("database", &database)),
                    };
                }
                self.entry_mut(&catalog)?.databases.insert(database, made);
                Ok(())
            }
            DatabaseStatement::Drop { if_exists: true, .. } if !exists => Ok(()),
            _ if !exists => entry.database(&catalog, &database).map(|_| ()),
            DatabaseStatement::Drop { .. } if is_current => Err(in_use("database", &database)),
            DatabaseStatement::Drop { cascade, .. } => {
                let is_empty = |d: &Database| d.objects.is_empty() && d.loaded.damaged.is_empty();
                let is_empty = entry.databases.get(&database).is_none_or(is_empty);
                if !is_empty && !cascade {
                    return Err(
                        SqlError::new(Step::Name, format!("the database '{database}' is not empty"))
                            .remedy("drop its tables first, or all together: DROP DATABASE … CASCADE"),
                    );
                }
                self.erase_database(&catalog, &database)?;
                self.entry_mut(&catalog)?.databases.remove(&database);
                self.temporary
                    .retain(|p, _| (p.catalog.as_str(), p.database.as_str()) != (&*catalog, &*database));
                Ok(())
            }
            DatabaseStatement::Alter { options, .. } => {
                let mut changed = entry.databases.get(&database).cloned().unwrap_or_default();
                changed.options.extend(options.iter().cloned());
                self.write_database(&catalog, &database, &changed)?;
                self.entry_mut(&catalog)?.databases.insert(database, changed);
                Ok(())
            }
            DatabaseStatement::Use(_) => {
                (self.catalog, self.database) = (catalog, database);
                Ok(())
            }
        }
    }

    /// Executes a statement on catalogs.
    ///
    /// # Errors
    /// If a name is taken or missing, the catalog is in use, or its type is not known.
    pub fn change_catalog(&mut self, statement: &CatalogStatement) -> SqlResult<()> {
        let (CatalogStatement::Create { name, .. }
        | CatalogStatement::Alter { name, .. }
        | CatalogStatement::Drop { name, .. }
        | CatalogStatement::Use(name)) = statement;
        self.catalog_statement(statement, &name.value)
            .map_err(|e| e.at_span(name.span))
    }

    fn catalog_statement(&mut self, statement: &CatalogStatement, name: &str) -> SqlResult<()> {
        let exists = self.catalogs.contains_key(name);
        match statement {
            CatalogStatement::Create { if_not_exists, .. } if exists => match if_not_exists {
                true => Ok(()),
                false => Err(taken("catalog", name)),
            },
            CatalogStatement::Create { comment, options, .. } => {
                let values = options.iter().map(|(k, v, _)| (k.clone(), v.clone())).collect();
                let made = CatalogEntry::defined_by(comment.clone(), values, options)?;
                if !self.make_catalog(name, &made)? {
                    return match statement {
                        CatalogStatement::Create {
                            if_not_exists: true, ..
                        } => Ok(()),
                        _ => Err(taken("catalog", name)),
                    };
                }
                self.catalogs.insert(name.to_owned(), made);
                self.refresh();
                Ok(())
            }
            CatalogStatement::Drop { if_exists: true, .. } if !exists => Ok(()),
            CatalogStatement::Drop { .. } if exists && self.catalog == name => Err(in_use("catalog", name)),
            CatalogStatement::Drop { .. } => {
                if !exists {
                    return Err(self.no_catalog(name));
                }
                self.unstore_catalog(name)?;
                self.catalogs.remove(name);
                self.temporary.retain(|p, _| p.catalog != name);
                Ok(())
            }
            CatalogStatement::Alter { change, .. } => {
                let mut changed = self.entry_mut(name)?.clone();
                alter(&mut changed, change)?;
                self.store_catalog(name, &changed)?;
                self.catalogs.insert(name.to_owned(), changed);
                self.refresh();
                Ok(())
            }
            CatalogStatement::Use(_) => {
                let database = self.entry(name)?.default_database.clone();
                (self.catalog, self.database) = (name.to_owned(), database);
                Ok(())
            }
        }
    }
}

/// Checks all options of a catalog; `places` has those that the statement at hand gives, where they stand.
fn check_options(options: &BTreeMap<String, String>, places: &[(String, String, Location)]) -> SqlResult<()> {
    let wrong = |message: String| SqlError::new(Step::Option, message);
    let at = |error: SqlError, key: &str| match places.iter().find(|(k, ..)| k == key) {
        Some((.., location)) => error.at(*location),
        None => error,
    };
    let known: &[&str] = match options.get("type").map(String::as_str) {
        Some(IN_MEMORY) => &["type", DEFAULT_DATABASE_OPTION],
        Some(FILE) => &["type", DEFAULT_DATABASE_OPTION, PATH_OPTION],
        Some(other) => {
            let hint = suggest::hint(other, [IN_MEMORY, FILE]);
            let error = wrong(format!("there is no catalog of the type '{other}'{hint}"))
                .remedy(format!("the types are '{IN_MEMORY}' and '{FILE}'"));
            return Err(at(error, "type"));
        }
        None => {
            return Err(wrong("the option 'type' is missing".to_owned())
                .remedy(format!("add 'type' = '{IN_MEMORY}' or 'type' = '{FILE}' to WITH")));
        }
    };
    if known.contains(&PATH_OPTION) && options.get(PATH_OPTION).is_none_or(|p| p.trim().is_empty()) {
        let error = wrong(format!(
            "a catalog of the type '{FILE}' needs the option '{PATH_OPTION}'"
        ))
        .remedy(format!("add '{PATH_OPTION}' = '/folder/of/its/tables' to WITH"));
        return Err(at(error, PATH_OPTION));
    }
    match options.keys().find(|k| !known.contains(&k.as_str())) {
        Some(key) => {
            let error = wrong(format!(
                "a catalog of the type '{}' has no option '{key}'{}",
                options.get("type").map_or(IN_MEMORY, String::as_str),
                suggest::hint(key, known.iter().copied())
            ))
            .remedy(format!("it has {}", known.join(", ")));
            Err(at(error, key))
        }
        None => Ok(()),
    }
}

fn alter(entry: &mut CatalogEntry, change: &CatalogChange) -> SqlResult<()> {
    let mut options = entry.options.clone();
    let mut places: &[(String, String, Location)] = &[];
    match change {
        CatalogChange::Comment(comment) => entry.comment = Some(comment.clone()),
        CatalogChange::Set(set) => {
            if let Some((.., location)) = set.iter().find(|(key, ..)| key == "type") {
                return Err(
                    SqlError::new(Step::Option, "the option 'type' of a catalog cannot be changed")
                        .at(*location)
                        .remedy("drop the catalog and create it again"),
                );
            }
            options.extend(set.iter().map(|(key, value, _)| (key.clone(), value.clone())));
            places = set;
        }
        CatalogChange::Reset(keys) => {
            if let Some((_, location)) = keys.iter().find(|(key, _)| key == "type") {
                let error = SqlError::new(Step::Option, "the option 'type' of a catalog cannot be reset");
                return Err(error.at(*location));
            }
            keys.iter().for_each(|(key, _)| {
                options.remove(key);
            });
        }
    }
    if options != entry.options {
        check_options(&options, places)?;
        entry.options = options;
        entry.choose_default();
    }
    Ok(())
}
