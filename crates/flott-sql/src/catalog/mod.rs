//! Tables and views by name: `default_catalog.default_database`, in memory.
//!
//! A table is resolved when it is created ([`Table`]): types, computed columns and the watermark are checked then, the
//! connector and its options when a query uses it, as in Flink. A view keeps its query and is bound where it is used.
//! Temporary objects hide permanent ones of the same name.

mod resolve;
mod table;

pub use table::{Column, Table, Watermark};

use crate::error::{SqlError, SqlResult, Step};
use crate::parser::Source;
use crate::parser::ast::{CreateView, Drop};
use flott_core::suggest;
use sqlparser::ast::{Ident, ObjectName, Query, Spanned};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The only catalog.
pub const CATALOG: &str = "default_catalog";
/// The only database.
pub const DATABASE: &str = "default_database";

/// A view: its query, and the script that the query's places refer to.
#[derive(Debug)]
pub struct View {
    /// Full name.
    pub path: String,
    /// New names of the columns; empty: those of the query.
    pub columns: Vec<Ident>,
    /// What it stands for.
    pub query: Box<Query>,
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

/// The objects of a session.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    permanent: BTreeMap<String, Object>,
    temporary: BTreeMap<String, Object>,
}

impl Catalog {
    /// The object of this name.
    ///
    /// # Errors
    /// If there is none; names the nearest.
    pub fn find(&self, name: &ObjectName) -> SqlResult<&Object> {
        let short = local_name(name)?;
        self.temporary
            .get(&short)
            .or_else(|| self.permanent.get(&short))
            .ok_or_else(|| {
                let hint = suggest::hint(&short, self.names());
                let error = SqlError::new(Step::Name, format!("there is no table or view '{short}'{hint}"))
                    .at_span(name.span());
                match hint.is_empty() {
                    true => error.remedy("create it before this statement with CREATE TABLE or CREATE VIEW"),
                    false => error,
                }
            })
    }

    /// Adds a table.
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
            path: full_name(&view.name)?,
            columns: view.columns.clone(),
            query: view.query.clone(),
            source: source.clone(),
        }));
        self.add(&view.name, object, view.temporary, view.if_not_exists)
    }

    fn add(&mut self, name: &ObjectName, object: Object, temporary: bool, if_not_exists: bool) -> SqlResult<()> {
        let short = local_name(name)?;
        let objects = match temporary {
            true => &mut self.temporary,
            false => &mut self.permanent,
        };
        if objects.contains_key(&short) {
            if if_not_exists {
                return Ok(());
            }
            return Err(
                SqlError::new(Step::Name, format!("a table or view '{short}' exists already"))
                    .at_span(name.span())
                    .remedy("drop it first, choose another name, or write IF NOT EXISTS"),
            );
        }
        objects.insert(short, object);
        Ok(())
    }

    /// Drops a table or view.
    ///
    /// # Errors
    /// If there is none of that name and kind, and `IF EXISTS` was not written.
    pub fn drop(&mut self, drop: &Drop) -> SqlResult<()> {
        let short = local_name(&drop.name)?;
        let kind = if drop.view { "view" } else { "table" };
        let names: Vec<String> = self.names().map(str::to_owned).collect();
        let objects = match drop.temporary {
            true => &mut self.temporary,
            false => &mut self.permanent,
        };
        let fits = objects
            .get(&short)
            .is_some_and(|o| matches!(o, Object::View(_)) == drop.view);
        if fits {
            objects.remove(&short);
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
        Err(if self.temporary.contains_key(&short) && !drop.temporary {
            error.remedy(format!("it is temporary: DROP TEMPORARY {}", kind.to_uppercase()))
        } else if names.contains(&short) {
            error.remedy(format!("it is a {}", if drop.view { "table" } else { "view" }))
        } else {
            error.remedy("write IF EXISTS where it may be missing")
        })
    }

    /// Names of all objects.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.temporary.keys().chain(self.permanent.keys()).map(String::as_str)
    }

    /// Names of the views only.
    pub fn views(&self) -> impl Iterator<Item = &str> {
        self.temporary
            .iter()
            .chain(&self.permanent)
            .filter(|(_, o)| matches!(o, Object::View(_)))
            .map(|(n, _)| n.as_str())
    }
}

/// Full name of an object.
///
/// # Errors
/// If it names another catalog or database.
pub fn full_name(name: &ObjectName) -> SqlResult<String> {
    Ok(format!("{CATALOG}.{DATABASE}.{}", local_name(name)?))
}

/// The last part, if the others are the catalog and database that exist.
fn local_name(name: &ObjectName) -> SqlResult<String> {
    let parts: Vec<&Ident> = name.0.iter().filter_map(|p| p.as_ident()).collect();
    let values: Vec<&str> = parts.iter().map(|p| p.value.as_str()).collect();
    match values.as_slice() {
        [table] | [DATABASE, table] | [CATALOG, DATABASE, table] => Ok((*table).to_owned()),
        _ => Err(SqlError::new(
            Step::Name,
            format!(
                "there is no database '{}'",
                values[..values.len().saturating_sub(1)].join(".")
            ),
        )
        .at_span(name.span())
        .remedy(format!("{CATALOG}.{DATABASE} is the only one so far"))),
    }
}
