//! Catalogs of the type `file`, and the store of catalogs' definitions (`table.catalog-store.kind: file`), as text.
//!
//! ```text
//! <path of the catalog>/<database>/<table>.sql      USE `catalog`.`database`;   only for a view written elsewhere
//!                                                   CREATE TABLE or CREATE VIEW `table` …;
//! <path of the catalog>/<database>/database.yaml    comment and options, where it has any
//! <path of the store>/<catalog>.yaml                options, as Flink's FileCatalogStore writes them
//! ```
//!
//! What lies in the files counts: before each statement of a session the files that have changed are read again. A new table
//! is put if its file is absent, so of two sessions that make one table only one succeeds; a changed one replaces its file in
//! one step. A file that cannot be read is an error of those statements only that name its table. Options are kept as they
//! were written, passwords too. This module makes and reads texts; whoever implements [`CatalogFiles`] touches the files.

use super::definition::names;
use super::{Catalog, CatalogEntry, Database, Home, Object, Path, Table, View, backquoted, definition_text, quoted};
use crate::error::{SqlError, SqlResult, Step};
use crate::parser::ast::{DatabaseStatement, StatementKind};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::Arc;
use yaml_rust2::{Yaml, YamlLoader};

/// Text files in folders; all paths are as the user wrote them, with `/` between their parts.
pub trait CatalogFiles: fmt::Debug + Send + Sync {
    /// Names of the folders in a folder; none if it is missing.
    ///
    /// # Errors
    /// If it cannot be listed.
    fn folders(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Names of the files in a folder; none if it is missing.
    ///
    /// # Errors
    /// If it cannot be listed.
    fn files(&self, folder: &str) -> io::Result<Vec<String>>;

    /// The text of a file; `None` if it is missing.
    ///
    /// # Errors
    /// If it cannot be read or is no text.
    fn read(&self, file: &str) -> io::Result<Option<String>>;

    /// Writes a file and its folders; `false` if it is there already. Nobody ever sees half of it.
    ///
    /// # Errors
    /// If it cannot be written.
    fn create(&self, file: &str, text: &str) -> io::Result<bool>;

    /// Writes a file in the place of the one that is there, in one step.
    ///
    /// # Errors
    /// If it cannot be written.
    fn replace(&self, file: &str, text: &str) -> io::Result<()>;

    /// Removes a file; one that is missing is no error.
    ///
    /// # Errors
    /// If it cannot be removed.
    fn remove(&self, file: &str) -> io::Result<()>;

    /// Makes a folder and those above it; `false` if it is there already.
    ///
    /// # Errors
    /// If it cannot be made.
    fn make_folder(&self, folder: &str) -> io::Result<bool>;

    /// Removes a folder with all that is in it; one that is missing is no error.
    ///
    /// # Errors
    /// If it cannot be removed.
    fn remove_folder(&self, folder: &str) -> io::Result<()>;
}

const TABLE_ENDING: &str = ".sql";
const DEFINITION_ENDING: &str = ".yaml";
const DATABASE_FILE: &str = "database.yaml";
const COMMENT_LINE: &str = "# comment: ";

/// What was read of a database's files.
#[derive(Debug, Clone, Default)]
pub(super) struct Loaded {
    texts: BTreeMap<String, String>,
    /// Tables whose files cannot be read, and why.
    pub(super) damaged: BTreeMap<String, SqlError>,
}

/// A name as that of a file: letters, digits, `_` and `-`, everything else as `%XX`.
fn file_name(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => out.push(char::from(byte)),
            other => out += &format!("%{other:02X}"),
        }
    }
    out
}

/// The name that a file's name stands for, if it is one of ours.
fn name_of(file: &str) -> Option<String> {
    let mut bytes = vec![];
    let mut rest = file.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok().filter(|name| !name.is_empty())
}

fn within(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

fn failed(what: &str, name: &str, doing: &str, place: &str, error: &io::Error) -> SqlError {
    SqlError::new(
        Step::Table,
        format!("the {what} '{name}' cannot be {doing}: {place}: {error}"),
    )
    .remedy("check that the folder exists and its rights")
}

/// `"key": "value"` lines with the comment before them; JSON's strings are YAML's too.
fn map_text(comment: Option<&str>, options: &BTreeMap<String, String>) -> String {
    let string = |text: &str| serde_json::Value::from(text).to_string();
    let comment = comment.map(|c| format!("{COMMENT_LINE}{}\n", string(c)));
    let lines = options.iter().map(|(k, v)| format!("{}: {}\n", string(k), string(v)));
    comment.into_iter().chain(lines).collect()
}

/// Comment and options of a text of [`map_text`], or of a file that Flink wrote.
fn map_of(text: &str) -> Result<(Option<String>, BTreeMap<String, String>), String> {
    let comment = text.lines().find_map(|l| l.strip_prefix(COMMENT_LINE));
    let comment = comment.and_then(|c| serde_json::from_str(c).ok());
    let documents = YamlLoader::load_from_str(text).map_err(|e| {
        format!(
            "line {}, column {}: {}",
            e.marker().line(),
            e.marker().col() + 1,
            e.info()
        )
    })?;
    let mut options = BTreeMap::new();
    let entries = match documents.first() {
        None | Some(Yaml::Null) => return Ok((comment, options)),
        Some(Yaml::Hash(entries)) => entries,
        Some(_) => return Err("'key: value' lines are needed".to_owned()),
    };
    let scalar = |yaml: &Yaml| match yaml {
        Yaml::String(text) | Yaml::Real(text) => Some(text.clone()),
        Yaml::Integer(n) => Some(n.to_string()),
        Yaml::Boolean(b) => Some(b.to_string()),
        _ => None,
    };
    for (key, value) in entries {
        let (Some(key), Some(value)) = (scalar(key), scalar(value)) else {
            return Err(format!("'{key:?}' has no plain value"));
        };
        options.insert(key, value);
    }
    Ok((comment, options))
}

/// The text of an object's file.
fn text_of(path: &Path, object: &Object) -> String {
    let name = backquoted(&path.name);
    match object {
        Object::Table(table) => format!("{};\n", definition_text(&table.definition, &name).trim_end()),
        Object::View(view) => {
            let own = Home {
                catalog: path.catalog.clone(),
                database: path.database.clone(),
            };
            let home = match view.home == own {
                true => String::new(),
                false => format!(
                    "USE {}.{};\n",
                    backquoted(&view.home.catalog),
                    backquoted(&view.home.database)
                ),
            };
            let columns = match view.columns.is_empty() {
                true => String::new(),
                false => format!(" ({})", names(&view.columns)),
            };
            let comment = match &view.comment {
                Some(comment) => format!(" COMMENT {}", quoted(comment)),
                None => String::new(),
            };
            format!(
                "{home}CREATE VIEW {name}{columns}{comment} AS\n{};\n",
                view.text.trim_end()
            )
        }
    }
}

/// The object that a file's text defines at `path`.
fn object_of(text: &str, path: &Path) -> SqlResult<Object> {
    let read = || {
        let (source, statements) = crate::parser::parse(text, &|_| None)?;
        let source = Arc::new(source);
        let mut home = Home {
            catalog: path.catalog.clone(),
            database: path.database.clone(),
        };
        let mut statements = statements.as_slice();
        if let [first, rest @ ..] = statements
            && let StatementKind::Database(DatabaseStatement::Use(name)) = &first.kind
        {
            let parts: Vec<&str> = name
                .0
                .iter()
                .filter_map(|p| p.as_ident())
                .map(|i| i.value.as_str())
                .collect();
            let [catalog, database] = parts.as_slice() else {
                return Err(SqlError::new(Step::Name, "USE needs a catalog and a database here").at(first.location));
            };
            home = Home {
                catalog: (*catalog).to_owned(),
                database: (*database).to_owned(),
            };
            statements = rest;
        }
        let [statement] = statements else {
            let error = SqlError::new(Step::Syntax, "a table's file holds one CREATE TABLE or CREATE VIEW");
            return Err(match statements.get(1) {
                Some(second) => error.at(second.location),
                None => error,
            });
        };
        let (name, object) = match &statement.kind {
            StatementKind::CreateTable(create) => {
                let table = Table::resolve(create, path, &source).map_err(|e| e.at(statement.location))?;
                (&create.name, Object::Table(Arc::new(table)))
            }
            StatementKind::CreateView(create) => {
                let view = View {
                    path: path.to_string(),
                    columns: create.columns.clone(),
                    comment: create.comment.clone(),
                    query: create.query.clone(),
                    text: create.text.clone(),
                    home,
                    source: source.clone(),
                };
                (&create.name, Object::View(Arc::new(view)))
            }
            _ => {
                return Err(
                    SqlError::new(Step::Syntax, "a table's file holds one CREATE TABLE or CREATE VIEW")
                        .at(statement.location),
                );
            }
        };
        let last = name.0.last().and_then(|p| p.as_ident());
        match last.is_some_and(|l| l.value == path.name) {
            true => Ok(object),
            false => Err(SqlError::new(
                Step::Name,
                format!("it defines '{name}', but by its file's name it is '{}'", path.name),
            )
            .at(statement.location)),
        }
    };
    read().map_err(|e| e.in_source(text))
}

/// The error of statements that need a table whose file cannot be read.
fn damaged(name: &str, file: &str, error: SqlError) -> SqlError {
    let place = match &error.place {
        Some(place) => format!(", line {}, column {}", place.line, place.column),
        None => String::new(),
    };
    SqlError::new(
        error.step,
        format!(
            "the table '{name}' cannot be read from {file}{place}: {}",
            error.message
        ),
    )
    .remedy("correct the file; DROP TABLE removes it")
}

fn read_database(files: &dyn CatalogFiles, home: &Home, folder: &str, database: &mut Database) -> io::Result<()> {
    let mut seen = BTreeSet::new();
    for file in files.files(folder)? {
        let path = within(folder, &file);
        if file == DATABASE_FILE {
            let text = files.read(&path)?.unwrap_or_default();
            (database.comment, database.options) =
                map_of(&text).map_err(|e| io::Error::other(format!("{path}, {e}")))?;
            continue;
        }
        let Some(name) = file.strip_suffix(TABLE_ENDING).and_then(name_of) else {
            continue;
        };
        let Some(text) = files.read(&path)? else { continue };
        seen.insert(name.clone());
        if database.loaded.texts.get(&name) == Some(&text) {
            continue;
        }
        let at = Path {
            catalog: home.catalog.clone(),
            database: home.database.clone(),
            name: name.clone(),
        };
        match object_of(&text, &at) {
            Ok(object) => {
                database.loaded.damaged.remove(&name);
                database.objects.insert(name.clone(), object);
            }
            Err(error) => {
                database.objects.remove(&name);
                database
                    .loaded
                    .damaged
                    .insert(name.clone(), damaged(&name, &path, error));
            }
        }
        database.loaded.texts.insert(name, text);
    }
    database.objects.retain(|name, _| seen.contains(name));
    database.loaded.texts.retain(|name, _| seen.contains(name));
    database.loaded.damaged.retain(|name, _| seen.contains(name));
    Ok(())
}

fn read_catalog(files: &dyn CatalogFiles, name: &str, folder: &str, entry: &mut CatalogEntry) -> io::Result<()> {
    let mut databases = BTreeMap::new();
    for found in files.folders(folder)? {
        let Some(database) = name_of(&found) else { continue };
        let mut read = entry.databases.remove(&database).unwrap_or_default();
        let home = Home {
            catalog: name.to_owned(),
            database: database.clone(),
        };
        read_database(files, &home, &within(folder, &found), &mut read)?;
        databases.insert(database, read);
    }
    databases.entry(entry.default_database.clone()).or_default();
    entry.databases = databases;
    Ok(())
}

impl Catalog {
    /// The same objects, with access to files.
    #[must_use]
    pub fn with_files(mut self, files: Arc<dyn CatalogFiles>) -> Self {
        self.files = Some(files);
        self
    }

    /// Reads what has changed in the files of catalogs. A catalog that cannot be read is an error where it is used.
    pub fn refresh(&mut self) {
        let Some(files) = &self.files else { return };
        for (name, entry) in &mut self.catalogs {
            let Some(folder) = entry.folder().map(str::to_owned) else {
                continue;
            };
            let read = read_catalog(files.as_ref(), name, &folder, entry);
            entry.broken = read.err().map(|e| failed("catalog", name, "read", &folder, &e));
        }
    }

    /// Takes over the catalogs that are defined in a folder, and defines new ones there.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn open_store(&mut self, folder: &str) -> SqlResult<()> {
        let files = self.files()?;
        let unreadable = |e: &io::Error| failed("catalog store", folder, "read", folder, e);
        for file in files.files(folder).map_err(|e| unreadable(&e))? {
            let Some(name) = file.strip_suffix(DEFINITION_ENDING).and_then(name_of) else {
                continue;
            };
            if self.catalogs.contains_key(&name) {
                continue;
            }
            let path = within(folder, &file);
            let Some(text) = files.read(&path).map_err(|e| unreadable(&e))? else {
                continue;
            };
            let made = map_of(&text)
                .map_err(|e| {
                    SqlError::new(
                        Step::Table,
                        format!("the catalog '{name}' cannot be read from {path}: {e}"),
                    )
                })
                .and_then(|(comment, options)| CatalogEntry::defined(comment, options));
            let entry = made.unwrap_or_else(|error| CatalogEntry {
                broken: Some(SqlError {
                    message: format!("the catalog '{name}' of {path} cannot be used: {}", error.message),
                    ..error
                }),
                ..CatalogEntry::default()
            });
            self.catalogs.insert(name, entry);
        }
        self.store = Some(folder.to_owned());
        self.refresh();
        Ok(())
    }

    fn files(&self) -> SqlResult<Arc<dyn CatalogFiles>> {
        self.files.clone().ok_or_else(|| {
            SqlError::new(Step::Unsupported, "this session has no access to files")
                .remedy("use 'type' = 'generic_in_memory'")
        })
    }

    /// The files and folder of a database, if they hold its tables.
    fn folder_of(&self, catalog: &str, database: &str) -> SqlResult<Option<(Arc<dyn CatalogFiles>, String)>> {
        let folder = self.catalogs.get(catalog).and_then(CatalogEntry::folder);
        match folder {
            None => Ok(None),
            Some(folder) => Ok(Some((self.files()?, within(folder, &file_name(database))))),
        }
    }

    /// Writes an object where its catalog keeps it: `false` if something has taken the name meanwhile. `replaces`: it takes
    /// the place of the one that is there.
    pub(super) fn write_object(&mut self, path: &Path, object: &Object, replaces: bool) -> SqlResult<bool> {
        let Some((files, folder)) = self.folder_of(&path.catalog, &path.database)? else {
            return Ok(true);
        };
        let file = within(&folder, &(file_name(&path.name) + TABLE_ENDING));
        let text = text_of(path, object);
        if let Err(error) = object_of(&text, path) {
            return Err(SqlError::new(
                Step::Table,
                format!("'{}' cannot be kept as text: {}", path.name, error.message),
            )
            .remedy("write it in other words, or keep it in a catalog of the type 'generic_in_memory'"));
        }
        let written = match replaces {
            true => files.replace(&file, &text).map(|()| true),
            false => files.create(&file, &text),
        };
        let written = written.map_err(|e| failed("table", &path.name, "written", &file, &e))?;
        if written && let Some(database) = self.database_mut(&path.catalog, &path.database) {
            database.loaded.damaged.remove(&path.name);
            database.loaded.texts.insert(path.name.clone(), text);
        }
        Ok(written)
    }

    /// Removes the file of an object, if it has one.
    pub(super) fn erase_object(&mut self, path: &Path) -> SqlResult<()> {
        let Some((files, folder)) = self.folder_of(&path.catalog, &path.database)? else {
            return Ok(());
        };
        let file = within(&folder, &(file_name(&path.name) + TABLE_ENDING));
        files
            .remove(&file)
            .map_err(|e| failed("table", &path.name, "removed", &file, &e))?;
        if let Some(database) = self.database_mut(&path.catalog, &path.database) {
            database.loaded.damaged.remove(&path.name);
            database.loaded.texts.remove(&path.name);
        }
        Ok(())
    }

    /// Makes the folder of a database: `false` if it is there already.
    pub(super) fn make_database(&self, catalog: &str, name: &str, database: &Database) -> SqlResult<bool> {
        let Some((files, folder)) = self.folder_of(catalog, name)? else {
            return Ok(true);
        };
        let made = files.make_folder(&folder);
        let made = made.map_err(|e| failed("database", name, "made", &folder, &e))?;
        if made && (database.comment.is_some() || !database.options.is_empty()) {
            self.write_database(catalog, name, database)?;
        }
        Ok(made)
    }

    /// Writes comment and options of a database.
    pub(super) fn write_database(&self, catalog: &str, name: &str, database: &Database) -> SqlResult<()> {
        let Some((files, folder)) = self.folder_of(catalog, name)? else {
            return Ok(());
        };
        let file = within(&folder, DATABASE_FILE);
        files
            .replace(&file, &map_text(database.comment.as_deref(), &database.options))
            .map_err(|e| failed("database", name, "written", &file, &e))
    }

    /// Removes a database with all that is in it.
    pub(super) fn erase_database(&self, catalog: &str, name: &str) -> SqlResult<()> {
        let Some((files, folder)) = self.folder_of(catalog, name)? else {
            return Ok(());
        };
        let removed = files.remove_folder(&folder);
        removed.map_err(|e| failed("database", name, "removed", &folder, &e))
    }

    /// Makes the folder of a new catalog, and notes its definition in the store: `false` if it is there already.
    pub(super) fn make_catalog(&self, name: &str, entry: &CatalogEntry) -> SqlResult<bool> {
        if let Some(folder) = entry.folder() {
            let folder = within(folder, &file_name(&entry.default_database));
            let made = self.files()?.make_folder(&folder);
            made.map_err(|e| failed("catalog", name, "made", &folder, &e))?;
        }
        let Some(store) = &self.store else { return Ok(true) };
        let file = within(store, &(file_name(name) + DEFINITION_ENDING));
        let text = map_text(entry.comment.as_deref(), &entry.options);
        let noted = self.files()?.create(&file, &text);
        noted.map_err(|e| failed("catalog", name, "stored", &file, &e))
    }

    /// Notes a changed definition in the store.
    pub(super) fn store_catalog(&self, name: &str, entry: &CatalogEntry) -> SqlResult<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let file = within(store, &(file_name(name) + DEFINITION_ENDING));
        let text = map_text(entry.comment.as_deref(), &entry.options);
        let noted = self.files()?.replace(&file, &text);
        noted.map_err(|e| failed("catalog", name, "stored", &file, &e))
    }

    /// Takes a definition out of the store.
    pub(super) fn unstore_catalog(&self, name: &str) -> SqlResult<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let file = within(store, &(file_name(name) + DEFINITION_ENDING));
        let removed = self.files()?.remove(&file);
        removed.map_err(|e| failed("catalog", name, "removed", &file, &e))
    }

    fn database_mut(&mut self, catalog: &str, database: &str) -> Option<&mut Database> {
        self.catalogs.get_mut(catalog)?.databases.get_mut(database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_stand_for_any_name() {
        for name in ["orders", "Größe 1", "a/b.c", "..", "100%", "-"] {
            let file = file_name(name);
            assert!(!file.contains(['/', '.', ' ']), "{file}");
            assert_eq!(name_of(&file).as_deref(), Some(name));
        }
        assert_eq!(name_of("%4"), None);
        assert_eq!(name_of("%zz"), None);
        assert_eq!(name_of(""), None);
    }

    #[test]
    fn definitions_are_yaml_that_flink_reads_and_reads_its() {
        let options = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let ours = options(&[("type", "file"), ("path", "/a \"b\"\n: c")]);
        let text = map_text(Some("of 'us'"), &ours);
        assert_eq!(map_of(&text), Ok((Some("of 'us'".to_owned()), ours)));
        let flinks = map_of("type: generic_in_memory\ndefault-database: 'x'\nretries: 3\n");
        let expected = options(&[
            ("type", "generic_in_memory"),
            ("default-database", "x"),
            ("retries", "3"),
        ]);
        assert_eq!(flinks, Ok((None, expected)));
        assert!(map_of("a: [1]").is_err());
        assert!(map_of("a: b: c").unwrap_err().starts_with("line 1, column"));
    }
}
