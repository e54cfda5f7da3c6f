//! CREATE TABLE … LIKE and CREATE TABLE … AS.

use super::derive::Derived;
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
            Object::Table(table) => table.clone(),
            Object::View(_) => {
                return Err(SqlError::new(Step::Table, "LIKE copies a table, but this is a view")
                    .at_span(like.base.span())
                    .remedy("CREATE TABLE … AS SELECT makes a table of a query"));
            }
        };
        let own = &like.table;
        let derived = Derived {
            definition: liken(like, &base.definition)?,
            base: &base,
            place: like.base.span(),
            columns: own.columns.iter().map(|c| c.name.value.as_str()).collect(),
            has_watermark: own.watermark.is_some(),
            has_key: own.primary_key.is_some(),
            is_new_option: &|key| own.options.iter().any(|(k, ..)| k == key),
        };
        let table = derived.resolve(&self.catalog.path(&own.name)?, source)?;
        self.catalog
            .add_table(table, own.temporary, own.if_not_exists, &own.name)?;
        Ok(Outcome::Done)
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
        let insert = Insert {
            table: definition.name.clone(),
            partition: vec![],
            columns: vec![],
            query: create.query.clone(),
        };
        self.create_table(&table, source)?;
        let job = self.job(source, &[insert]);
        if job.is_err() {
            let path = self.catalog.path(&definition.name)?;
            self.catalog.unmake(&path, definition.temporary)?;
        }
        job
    }
}
