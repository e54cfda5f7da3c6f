//! CREATE TABLE … LIKE and CREATE TABLE … AS.

use super::{Outcome, Session};
use crate::catalog::{Object, liken};
use crate::error::{SqlError, SqlResult, Step};
use crate::parser::Source;
use crate::parser::ast::{ColumnDef, ColumnKind, CreateTable, CreateTableAs, CreateTableLike, Insert};
use sqlparser::ast::{Ident, Spanned};
use std::sync::Arc;

impl Session {
    pub(super) fn create_table_like(&mut self, like: &CreateTableLike, source: &Arc<Source>) -> SqlResult<Outcome> {
        let base = match self.catalog.find(&like.base)? {
            Object::Table(table) => table.definition.clone(),
            Object::View(_) => {
                return Err(SqlError::new(Step::Table, "LIKE copies a table, but this is a view")
                    .at_span(like.base.span())
                    .remedy("CREATE TABLE … AS SELECT makes a table of a query"));
            }
        };
        self.create_table(&liken(like, &base)?, source)
    }

    /// Makes the table and the job that fills it; without the job there is no table either.
    pub(super) fn create_table_as(&mut self, create: &CreateTableAs, source: &Arc<Source>) -> SqlResult<Outcome> {
        let definition = &create.table;
        if definition.if_not_exists && self.catalog.contains(&definition.name, definition.temporary)? {
            return Ok(Outcome::Done);
        }
        let rel = self.binder(source).query(&create.query)?;
        let span = definition.name.span();
        let columns = rel.fields.iter().map(|field| ColumnDef {
            name: Ident::with_span(span, field.name.clone()),
            kind: ColumnKind::Physical(field.ty.clone()),
            comment: None,
        });
        let table = CreateTable {
            columns: columns.collect(),
            ..definition.clone()
        };
        let before = self.catalog.clone();
        let insert = Insert {
            table: definition.name.clone(),
            columns: vec![],
            query: create.query.clone(),
        };
        let made = self
            .create_table(&table, source)
            .and_then(|_| self.job(source, &[insert]));
        if made.is_err() {
            self.catalog = before;
        }
        made
    }
}
