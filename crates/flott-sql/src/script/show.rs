//! SHOW and DESCRIBE: rows with the columns of Flink's client.

use super::{Outcome, Session};
use crate::catalog::{Object, Table, backquoted, create_text, expr_text, options_text, quoted};
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::listing;
use crate::parser::Source;
use crate::parser::ast::{ColumnKind, Describe, Like, Listed, Show};
use crate::rel::TimeKind;
use flott_core::LogicalType;
use sqlparser::ast::{Ident, ObjectName, Spanned};
use std::sync::Arc;

impl Session {
    pub(super) fn show(&self, source: &Arc<Source>, show: &Show) -> SqlResult<Outcome> {
        match show {
            Show::List { what, scope, like } => self.list(source, *what, scope.as_ref(), like.as_ref()),
            Show::CurrentCatalog => Ok(one("current catalog name", self.catalog.current_catalog())),
            Show::CurrentDatabase => Ok(one("current database name", self.catalog.current_database())),
            Show::CreateTable(name) => self.show_create_table(name),
            Show::CreateView(name) => self.show_create_view(source, name),
            Show::CreateCatalog(name) => self.show_create_catalog(name),
            Show::Jobs => Ok(Outcome::Jobs),
            Show::Modules { full } => Ok(self.show_modules(*full)),
        }
    }

    fn list(
        &self,
        source: &Arc<Source>,
        what: Listed,
        scope: Option<&ObjectName>,
        like: Option<&Like>,
    ) -> SqlResult<Outcome> {
        let database = || match scope {
            None => Ok((
                self.catalog.current_catalog().to_owned(),
                self.catalog.current_database().to_owned(),
            )),
            Some(name) => {
                let (catalog, database) = self.catalog.database_path(name)?;
                let entry = self.catalog.entry(&catalog)?;
                entry
                    .database(&catalog, &database)
                    .map_err(|e| e.at_span(name.span()))?;
                Ok((catalog, database))
            }
        };
        let (column, names) = match what {
            Listed::Catalogs => ("catalog name", self.catalog.catalogs().keys().cloned().collect()),
            Listed::Databases => {
                let catalog = scope.map_or(self.catalog.current_catalog().to_owned(), |name| {
                    name.to_string().trim_matches('`').to_owned()
                });
                let entry = self
                    .catalog
                    .entry(&catalog)
                    .map_err(|e| e.at_span(scope.map_or_else(sqlparser::tokenizer::Span::empty, Spanned::span)))?;
                ("database name", entry.databases.keys().cloned().collect())
            }
            Listed::Tables | Listed::Views => {
                let (catalog, database) = database()?;
                let column = if what == Listed::Tables {
                    "table name"
                } else {
                    "view name"
                };
                (
                    column,
                    self.catalog.names_in(&catalog, &database, what == Listed::Views),
                )
            }
            Listed::UserFunctions => ("function name", vec![]),
            Listed::Functions => return Ok(functions(like)),
            Listed::Columns => {
                let Some(table) = scope else {
                    return Err(SqlError::new(Step::Syntax, "SHOW COLUMNS needs FROM and a table"));
                };
                return self.describe_table(source, table, like);
            }
        };
        let rows = names.into_iter().filter(|n| fits(like, n)).map(|n| vec![n]);
        Ok(table(&[column], rows.collect()))
    }

    pub(super) fn describe(&self, source: &Arc<Source>, describe: &Describe) -> SqlResult<Outcome> {
        let mut rows = vec![];
        let mut add = |key: &str, value: &str| rows.push(vec![key.to_owned(), value.to_owned()]);
        match describe {
            Describe::Job { id } => return Ok(Outcome::DescribeJob(id.clone())),
            Describe::Table(name) => return self.describe_table(source, name, None),
            Describe::Database { name, extended } => {
                let (catalog, database) = self.catalog.database_path(name)?;
                let entry = self.catalog.entry(&catalog)?;
                let found = entry
                    .database(&catalog, &database)
                    .map_err(|e| e.at_span(name.span()))?;
                add("catalog", &catalog);
                add("database", &database);
                add("comment", found.comment.as_deref().unwrap_or_default());
                if *extended {
                    found.options.iter().for_each(|(k, v)| add(&format!("option:{k}"), v));
                }
            }
            Describe::Catalog { name, extended } => {
                let entry = self.catalog.entry(&name.value).map_err(|e| e.at_span(name.span))?;
                add("name", &name.value);
                add(
                    "type",
                    entry.options.get("type").map_or("generic_in_memory", String::as_str),
                );
                add("comment", entry.comment.as_deref().unwrap_or_default());
                if *extended {
                    let options = entry.options.iter().filter(|(k, _)| *k != "type");
                    options.for_each(|(k, v)| add(&format!("option:{k}"), v));
                }
            }
        }
        Ok(table(&["info name", "info value"], rows))
    }

    fn describe_table(&self, source: &Arc<Source>, name: &ObjectName, like: Option<&Like>) -> SqlResult<Outcome> {
        let mut columns = vec!["name", "type", "null", "key", "extras", "watermark"];
        let mut rows = match self.catalog.find(name)? {
            Object::Table(described) => {
                let has_comments = described.definition.columns.iter().any(|c| c.comment.is_some());
                if has_comments {
                    columns.push("comment");
                }
                describe_columns(described, has_comments)
            }
            Object::View(view) => {
                let rel = self.binder(source).described_view(view)?;
                let described = rel.fields.iter();
                described
                    .map(|f| description([&f.name, "", "", ""], &f.ty, f.time))
                    .collect()
            }
        };
        rows.retain(|row| fits(like, &row[0]));
        Ok(table(&columns, rows))
    }

    fn show_create_table(&self, name: &ObjectName) -> SqlResult<Outcome> {
        let path = self.catalog.path(name)?;
        match self.catalog.find(name)? {
            Object::Table(found) => {
                let temporary = self.catalog.is_temporary(&path);
                Ok(one(
                    "result",
                    &create_text(&found.definition, &path.quoted(), temporary),
                ))
            }
            Object::View(_) => Err(wrong_kind(name, "a view", "SHOW CREATE VIEW")),
        }
    }

    fn show_create_view(&self, source: &Arc<Source>, name: &ObjectName) -> SqlResult<Outcome> {
        let path = self.catalog.path(name)?;
        let Object::View(view) = self.catalog.find(name)? else {
            return Err(wrong_kind(name, "a table", "SHOW CREATE TABLE"));
        };
        let rel = self.binder(source).described_view(view)?;
        let columns: Vec<String> = rel
            .fields
            .iter()
            .map(|f| format!("  {}", backquoted(&f.name)))
            .collect();
        let temporary = if self.catalog.is_temporary(&path) {
            "TEMPORARY "
        } else {
            ""
        };
        let comment = match &view.comment {
            Some(comment) => format!("COMMENT {}\n", quoted(comment)),
            None => String::new(),
        };
        let text = format!(
            "CREATE {temporary}VIEW {} (\n{}\n)\n{comment}AS {}\n",
            path.quoted(),
            columns.join(",\n"),
            view.query
        );
        Ok(one("result", &text))
    }

    fn show_create_catalog(&self, name: &Ident) -> SqlResult<Outcome> {
        let entry = self.catalog.entry(&name.value).map_err(|e| e.at_span(name.span))?;
        let comment = match &entry.comment {
            Some(comment) => format!("COMMENT {}\n", quoted(comment)),
            None => String::new(),
        };
        let options = entry.options.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let text = format!(
            "CREATE CATALOG {}\n{comment}{}",
            backquoted(&name.value),
            options_text(options)
        );
        Ok(one("result", &text))
    }
}

fn wrong_kind(name: &ObjectName, is: &str, instead: &str) -> SqlError {
    SqlError::new(Step::Name, format!("'{name}' is {is}"))
        .at_span(name.span())
        .remedy(format!("use {instead}"))
}

fn table(columns: &[&str], rows: Vec<Vec<String>>) -> Outcome {
    Outcome::Rows {
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        rows,
    }
}

fn one(column: &str, value: &str) -> Outcome {
    table(&[column], vec![vec![value.to_owned()]])
}

/// Every function with its signatures and a line of text; Flink shows the names only.
fn functions(like: Option<&Like>) -> Outcome {
    let mut rows: Vec<Vec<String>> = listing()
        .into_iter()
        .map(Vec::from)
        .filter(|row| fits(like, &row[0].to_lowercase()))
        .collect();
    let of_session = [
        "CURRENT_DATABASE",
        "CURRENT_DATABASE()",
        "the name of the current database",
    ];
    if fits(like, "current_database") {
        rows.push(of_session.map(str::to_owned).into());
    }
    rows.sort();
    table(&["function name", "signature", "description"], rows)
}

/// Whether a name fits a pattern of `%`, `_` and other characters.
fn fits(like: Option<&Like>, name: &str) -> bool {
    let Some(like) = like else { return true };
    let cased = |text: &str| match like.ignores_case {
        true => text.to_lowercase(),
        false => text.to_owned(),
    };
    let (pattern, name): (Vec<char>, Vec<char>) =
        (cased(&like.pattern).chars().collect(), cased(name).chars().collect());
    // reached[i]: the pattern so far fits the first i characters of the name.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for p in pattern {
        let mut next = vec![false; name.len() + 1];
        for i in 0..=name.len() {
            next[i] = match p {
                '%' => reached[i] || (i > 0 && next[i - 1]),
                '_' => i > 0 && reached[i - 1],
                c => i > 0 && reached[i - 1] && name[i - 1] == c,
            };
        }
        reached = next;
    }
    reached[name.len()] != like.negated
}

fn describe_columns(described: &Table, has_comments: bool) -> Vec<Vec<String>> {
    let definition = &described.definition;
    let names: Vec<&str> = definition.columns.iter().map(|c| c.name.value.as_str()).collect();
    let rows = described.columns.iter().zip(&definition.columns).enumerate();
    rows.map(|(i, (column, written))| {
        let key = match described.spec.primary_key.contains(&column.name) {
            true => format!("PRI({})", described.spec.primary_key.join(", ")),
            false => String::new(),
        };
        let extras = match &written.kind {
            ColumnKind::Physical(_) => String::new(),
            ColumnKind::Computed(expr) => format!("AS {}", expr_text(expr, &names)),
            ColumnKind::Metadata { key, is_virtual, .. } => {
                let from = key
                    .as_ref()
                    .map_or_else(String::new, |k| format!(" FROM {}", quoted(k)));
                format!("METADATA{from}{}", if *is_virtual { " VIRTUAL" } else { "" })
            }
        };
        let watermark = match (&described.watermark, &definition.watermark) {
            (Some(w), Some(written)) if w.column == i => expr_text(&written.expr, &names),
            _ => String::new(),
        };
        let mut row = description([&column.name, &key, &extras, &watermark], &column.ty, column.time);
        if has_comments {
            row.push(written.comment.clone().unwrap_or_default());
        }
        row
    })
    .collect()
}

/// A row of DESCRIBE: name, key, extras and watermark with the type between them.
fn description([name, key, extras, watermark]: [&str; 4], ty: &LogicalType, time: Option<TimeKind>) -> Vec<String> {
    let mark = match time {
        Some(TimeKind::Rowtime) => " *ROWTIME*",
        Some(TimeKind::Proctime) => " *PROCTIME*",
        None => "",
    };
    let nullable = if ty.nullable { "TRUE" } else { "FALSE" };
    [name, &format!("{}{mark}", ty.kind), nullable, key, extras, watermark]
        .iter()
        .map(|s| (*s).to_owned())
        .collect()
}
