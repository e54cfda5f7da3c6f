//! Definitions made of others, by ALTER TABLE and LIKE: their parts stand in different texts ([`Derived`]).

use crate::catalog::{Path, Table};
use crate::error::{SqlError, SqlResult};
use crate::parser::Source;
use crate::parser::ast::{ColumnKind, CreateTable};
use sqlparser::tokenizer::Span;
use std::sync::Arc;

/// A definition with parts of an older one.
pub(super) struct Derived<'a> {
    /// All of it.
    pub definition: CreateTable,
    /// The table that the older parts are of.
    pub base: &'a Table,
    /// Where the statement names that table: what is wrong with an older part is said there.
    pub place: Span,
    /// Names of the columns that are new.
    pub columns: Vec<&'a str>,
    /// Whether the watermark is new.
    pub has_watermark: bool,
    /// Whether the primary key is new.
    pub has_key: bool,
    /// Whether an option of this key is new.
    pub is_new_option: &'a dyn Fn(&str) -> bool,
}

impl Derived<'_> {
    /// Resolves it; errors point into `source`, the text of the statement.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn resolve(mut self, path: &Path, source: &Arc<Source>) -> SqlResult<Table> {
        if Arc::ptr_eq(source, &self.base.source) {
            return Table::resolve(&self.definition, path, source);
        }
        for (key, _, place) in &mut self.definition.options {
            if !(self.is_new_option)(key) {
                *place = self.place.start;
            }
        }
        Table::resolve(&self.definition, path, source).map_err(|error| {
            // Places of older parts mean another text, so they say nothing unless the new parts alone are wrong as well.
            let is_of_new = Table::resolve(&self.new_parts(), path, source).err().as_ref() == Some(&error);
            match is_of_new {
                true => error,
                false => SqlError { place: None, ..error }.at_span(self.place),
            }
        })
    }

    fn new_parts(&self) -> CreateTable {
        let mut new = self.definition.clone();
        new.columns
            .retain(|c| !matches!(c.kind, ColumnKind::Computed(_)) || self.columns.contains(&c.name.value.as_str()));
        if !self.has_watermark {
            new.watermark = None;
        }
        if !self.has_key {
            new.primary_key = None;
        }
        new
    }
}
