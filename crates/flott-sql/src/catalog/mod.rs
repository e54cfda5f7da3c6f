//! Tables and views by name: catalogs of databases, in memory or as files ([`files`]).
//!
//! A session begins with `default_catalog.default_database` and resolves shorter names from its current catalog and
//! database. A table is resolved when it is created ([`Table`]): types, computed columns and the watermark are checked
//! then, the connector and its options when a query uses it, as in Flink. A view keeps its query and is bound where it is
//! used. Temporary objects hide permanent ones of the same name.

mod databases;
mod definition;
mod files;
mod resolve;
mod table;

pub use databases::{CatalogEntry, DEFAULT_DATABASE_OPTION, Database};
pub use definition::{backquoted, create_text, definition_text, expr_text, liken, options_text, quoted, reads};
pub use files::CatalogFiles;
pub use table::{Column, Table, Watermark};

use crate::binder::STREAM;
use crate::error::{SqlError, SqlResult, Step};
use crate::parser::Source;
use crate::parser::ast::{CreateView, Drop};
use flott_core::suggest;
use sqlparser::ast::{Ident, ObjectName, Query, Spanned};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The catalog that a session begins with.
pub const CATALOG: &str = "default_catalog";
/// Its database.
pub const DATABASE: &str = "default_database";

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    /// Its catalog.
    pub catalog: String,
    /// Its database.
    pub database: String,
    /// Its own name.
    pub name: String,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.catalog, self.database, self.name)
    }
}

impl Path {
    /// In backquotes, as statements write it.
    pub fn quoted(&self) -> String {
        [&self.catalog, &self.database, &self.name]
            .map(|part| backquoted(part))
            .join(".")
    }
}

/// The catalog and database in which short names are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The catalog.
    pub catalog: String,
    /// The database.
    pub database: String,
}

/// A view: its query, and the script that the query's places refer to.
#[derive(Debug, Clone)]
pub struct View {
    /// Full name.
    pub path: String,
    /// New names of the columns; empty: those of the query.
    pub columns: Vec<Ident>,
    /// `COMMENT`
    pub comment: Option<String>,
    /// What it stands for.
    pub query: Box<Query>,
    /// The query's own words.
    pub text: String,
    /// Where short names of the query are looked for.
    pub home: Home,
    /// Where it was written.
    pub source: Arc<Source>,
}

/// A table or a view.
#[derive(Debug, Clone)]
pub enum Object {
    /// A table.
    Table(Arc<Table>),
    /// A view.
    View(Arc<View>),
}

impl Object {
    /// Whether it is a view.
    pub fn is_view(&self) -> bool {
        matches!(self, Self::View(_))
    }

    /// Whether it is a stream of a program, which a program makes by `create_temporary_view`.
    fn is_stream(&self) -> bool {
        matches!(self, Self::Table(table) if table.spec.connector() == STREAM)
    }
}

/// The objects of a session.
#[derive(Debug, Clone)]
pub struct Catalog {
    catalogs: BTreeMap<String, CatalogEntry>,
    temporary: BTreeMap<Path, Object>,
    catalog: String,
    database: String,
    /// Where files can be reached.
    files: Option<Arc<dyn CatalogFiles>>,
    /// The folder with the definitions of catalogs, if they are kept.
    store: Option<String>,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            catalogs: [(CATALOG.to_owned(), CatalogEntry::with_database(DATABASE))].into(),
            temporary: BTreeMap::new(),
            catalog: CATALOG.to_owned(),
            database: DATABASE.to_owned(),
            files: None,
            store: None,
        }
    }
}

impl Catalog {
    /// The full path of a name; nothing need be there.
    ///
    /// # Errors
    /// If its catalog or database does not exist.
    pub fn path(&self, name: &ObjectName) -> SqlResult<Path> {
        self.path_from(name, &self.home())
    }

    /// Where short names are looked for now.
    pub fn home(&self) -> Home {
        Home {
            catalog: self.catalog.clone(),
            database: self.database.clone(),
        }
    }

    fn path_from(&self, name: &ObjectName, home: &Home) -> SqlResult<Path> {
        let parts: Vec<&str> = name
            .0
            .iter()
            .filter_map(|p| p.as_ident())
            .map(|i| i.value.as_str())
            .collect();
        let (catalog, database, name_part) = match parts.as_slice() {
            [table] => (home.catalog.as_str(), home.database.as_str(), *table),
            [database, table] => (home.catalog.as_str(), *database, *table),
            [catalog, database, table] => (*catalog, *database, *table),
            _ => return Err(SqlError::new(Step::Name, "a name has one to three parts").at_span(name.span())),
        };
        self.entry(catalog)
            .and_then(|entry| entry.database(catalog, database))
            .map_err(|e| e.at_span(name.span()))?;
        Ok(Path {
            catalog: catalog.to_owned(),
            database: database.to_owned(),
            name: name_part.to_owned(),
        })
    }

    fn at(&self, path: &Path) -> Option<&Object> {
        self.temporary.get(path).or_else(|| {
            let database = self.catalogs.get(&path.catalog)?.databases.get(&path.database)?;
            database.objects.get(&path.name)
        })
    }

    /// Why the object at `path` cannot be read, if it is there and cannot.
    fn damage_at(&self, path: &Path) -> Option<&SqlError> {
        if self.temporary.contains_key(path) {
            return None;
        }
        let database = self.catalogs.get(&path.catalog)?.databases.get(&path.database)?;
        database.loaded.damaged.get(&path.name)
    }

    /// Whether the object at `path` is a temporary one.
    pub fn is_temporary(&self, path: &Path) -> bool {
        self.temporary.contains_key(path)
    }

    /// The object of this name.
    ///
    /// # Errors
    /// If there is none; names the nearest.
    pub fn find(&self, name: &ObjectName) -> SqlResult<&Object> {
        self.find_from(name, &self.home())
    }

    /// The object of a name that was written where short names meant `home`.
    ///
    /// # Errors
    /// As [`Catalog::find`].
    pub fn find_from(&self, name: &ObjectName, home: &Home) -> SqlResult<&Object> {
        let path = self.path_from(name, home)?;
        if let Some(error) = self.damage_at(&path) {
            return Err(error.clone().at_span(name.span()));
        }
        self.at(&path).ok_or_else(|| {
            let names = self.names_in(&path.catalog, &path.database, false);
            let hint = suggest::hint(&path.name, names.iter().map(String::as_str));
            let error = SqlError::new(Step::Name, format!("there is no table or view '{}'{hint}", path.name))
                .at_span(name.span());
            match hint.is_empty() {
                true => error.remedy("create it before this statement with CREATE TABLE or CREATE VIEW"),
                false => error,
            }
        })
    }

    /// The permanent objects of the database of `path`, or the temporary ones.
    fn objects_mut(&mut self, path: &Path) -> SqlResult<&mut BTreeMap<String, Object>> {
        let entry = self.catalogs.get_mut(&path.catalog);
        entry
            .and_then(|c| c.databases.get_mut(&path.database))
            .map(|d| &mut d.objects)
            .ok_or_else(|| SqlError::new(Step::Name, format!("there is no database '{}'", path.database)))
    }

    /// Adds a table under its own full name.
    ///
    /// # Errors
    /// If the name is taken and `if_not_exists` is off.
    pub fn add_table(
        &mut self,
        table: Table,
        temporary: bool,
        if_not_exists: bool,
        name: &ObjectName,
    ) -> SqlResult<()> {
        self.add(name, Object::Table(Arc::new(table)), temporary, if_not_exists)
    }

    /// Adds a view; its query must have been bound once.
    ///
    /// # Errors
    /// As [`Catalog::add_table`].
    pub fn add_view(&mut self, view: &CreateView, source: &Arc<Source>) -> SqlResult<()> {
        let object = Object::View(Arc::new(View {
            path: self.path(&view.name)?.to_string(),
            columns: view.columns.clone(),
            comment: view.comment.clone(),
            query: view.query.clone(),
            text: view.text.clone(),
            home: self.home(),
            source: source.clone(),
        }));
        self.add(&view.name, object, view.temporary, view.if_not_exists)
    }

    /// Whether something of this permanence has the name already.
    ///
    /// # Errors
    /// If its catalog or database does not exist.
    pub fn contains(&self, name: &ObjectName, temporary: bool) -> SqlResult<bool> {
        let path = self.path(name)?;
        Ok(match temporary {
            true => self.temporary.contains_key(&path),
            false => {
                let database = self.entry(&path.catalog)?.database(&path.catalog, &path.database)?;
                database.objects.contains_key(&path.name) || database.loaded.damaged.contains_key(&path.name)
            }
        })
    }

    fn add(&mut self, name: &ObjectName, object: Object, temporary: bool, if_not_exists: bool) -> SqlResult<()> {
        let path = self.path(name)?;
        let is_taken = self.contains(name, temporary)?
            || (!temporary
                && !self
                    .write_object(&path, &object, false)
                    .map_err(|e| e.at_span(name.span()))?);
        if is_taken {
            if if_not_exists {
                return Ok(());
            }
            return Err(
                SqlError::new(Step::Name, format!("a table or view '{}' exists already", path.name))
                    .at_span(name.span())
                    .remedy("drop it first, choose another name, or write IF NOT EXISTS"),
            );
        }
        match temporary {
            true => self.temporary.insert(path, object),
            false => self.objects_mut(&path)?.insert(path.name, object),
        };
        Ok(())
    }

    /// Takes the object at `path` out and puts another one, as temporary as it was, at `new_path`.
    ///
    /// # Errors
    /// If a catalog or database does not exist.
    pub fn exchange(&mut self, path: &Path, new_path: Path, object: Object) -> SqlResult<()> {
        match self.temporary.remove(path) {
            Some(_) => {
                self.temporary.insert(new_path, object);
            }
            None => {
                self.objects_mut(&new_path)?;
                let is_renamed = *path != new_path;
                if !self.write_object(&new_path, &object, !is_renamed)? {
                    return Err(SqlError::new(
                        Step::Name,
                        format!("a table or view '{}' exists already", new_path.name),
                    ));
                }
                if is_renamed {
                    self.erase_object(path)?;
                }
                self.objects_mut(path)?.remove(&path.name);
                self.objects_mut(&new_path)?.insert(new_path.name, object);
            }
        }
        Ok(())
    }

    /// Drops a table or view.
    ///
    /// # Errors
    /// If there is none of that name and kind, and `IF EXISTS` was not written.
    pub fn drop(&mut self, drop: &Drop) -> SqlResult<()> {
        let path = self.path(&drop.name)?;
        let short = path.name.clone();
        let kind = if drop.view { "view" } else { "table" };
        let names = self.names_in(&path.catalog, &path.database, false);
        let is_hidden = self.temporary.contains_key(&path);
        if !drop.temporary && self.damage_at(&path).is_some() {
            // What it was nobody knows; the file goes.
            return self.erase_object(&path).map_err(|e| e.at_span(drop.name.span()));
        }
        let found = match drop.temporary {
            true => self.temporary.get(&path),
            false => self.objects_mut(&path)?.get(&short),
        };
        if found.is_some_and(|o| o.is_view() == drop.view || o.is_stream()) {
            match drop.temporary {
                true => self.temporary.remove(&path),
                false => {
                    self.erase_object(&path).map_err(|e| e.at_span(drop.name.span()))?;
                    self.objects_mut(&path)?.remove(&short)
                }
            };
            return Ok(());
        }
        if drop.if_exists {
            return Ok(());
        }
        let temporary = if drop.temporary { "temporary " } else { "" };
        let hint = match names.contains(&short) {
            true => String::new(),
            false => suggest::hint(&short, names.iter().map(String::as_str)),
        };
        let error = SqlError::new(Step::Name, format!("there is no {temporary}{kind} '{short}'{hint}"))
            .at_span(drop.name.span());
        Err(if is_hidden && !drop.temporary {
            error.remedy(format!("it is temporary: DROP TEMPORARY {}", kind.to_uppercase()))
        } else if names.contains(&short) {
            error.remedy(format!("it is a {}", if drop.view { "table" } else { "view" }))
        } else {
            error.remedy("write IF EXISTS where it may be missing")
        })
    }

    /// Takes a table out again that was just made.
    ///
    /// # Errors
    /// If its file cannot be removed.
    pub fn unmake(&mut self, path: &Path, temporary: bool) -> SqlResult<()> {
        match temporary {
            true => self.temporary.remove(path),
            false => {
                self.erase_object(path)?;
                self.objects_mut(path)?.remove(&path.name)
            }
        };
        Ok(())
    }

    /// Names of the objects of a database, sorted; of the views only, if so asked.
    pub fn names_in(&self, catalog: &str, database: &str, views_only: bool) -> Vec<String> {
        let permanent = self
            .catalogs
            .get(catalog)
            .and_then(|c| c.databases.get(database))
            .into_iter()
            .flat_map(|d| &d.objects);
        let temporary = self
            .temporary
            .iter()
            .filter(|(p, _)| p.catalog == catalog && p.database == database)
            .map(|(p, o)| (&p.name, o));
        let mut names: Vec<String> = permanent
            .chain(temporary)
            .filter(|(_, o)| !views_only || o.is_view())
            .map(|(n, _)| n.clone())
            .collect();
        if !views_only && let Some(d) = self.catalogs.get(catalog).and_then(|c| c.databases.get(database)) {
            names.extend(d.loaded.damaged.keys().cloned());
        }
        names.sort();
        names.dedup();
        names
    }

    /// Names of the columns of all tables of the current database.
    pub fn columns(&self) -> impl Iterator<Item = String> + '_ {
        let paths = self.names().into_iter().map(|name| Path {
            catalog: self.catalog.clone(),
            database: self.database.clone(),
            name,
        });
        paths.filter_map(|path| self.at(&path)).flat_map(|object| match object {
            Object::Table(table) => table.columns.iter().map(|c| c.name.clone()).collect(),
            Object::View(_) => vec![],
        })
    }

    /// Names of the tables and views of the current database.
    pub fn names(&self) -> Vec<String> {
        self.names_in(&self.catalog, &self.database, false)
    }
}
