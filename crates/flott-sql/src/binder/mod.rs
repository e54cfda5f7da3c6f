//! From statements to relations: names, scopes and types are resolved here and nowhere else.
//!
//! [`Binder::query`] binds a query, [`Binder::insert`] one with its sink. A view is bound where it is used, by a binder
//! of its own script; common table expressions are bound once and copied to their uses (a rule shares them again).

mod aggregate;
mod calls;
mod expr;
mod from;
mod group_window;
mod grouping_sets;
mod insert;
mod literal;
mod order;
mod over;
mod query;
mod saved_state;
mod scope;
mod stream;
mod values;
mod window;

pub(crate) use aggregate::{aggregate as grouping, visit_expr};
pub use insert::BoundInsert;
pub use scope::ExprScope;
pub use stream::{ROWTIME, SOURCE_WATERMARK, STREAM, StreamColumns, StreamSink, is_source_watermark};

use crate::catalog::{Catalog, Home, View};
use crate::error::{SqlError, SqlResult, Step};
use crate::parser::Source;
use crate::parser::limits::{MAX_RELATIONS, MAX_VIEW_NESTING};
use crate::rel::Rel;
use flott_core::Options;
use flott_runtime::Registry;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// Binds the statements of one script.
#[derive(Clone)]
pub struct Binder<'a> {
    catalog: &'a Catalog,
    /// Where short names are looked for.
    home: Home,
    registry: &'a Registry,
    /// Options of the job, for sinks to judge.
    options: &'a Options,
    source: Arc<Source>,
    ctes: Vec<(String, Rel)>,
    windows: Rc<Cell<u32>>,
    /// Relations of all queries so far.
    relations: Rc<Cell<usize>>,
    depth: usize,
}

impl<'a> Binder<'a> {
    /// A binder for statements of `source`.
    pub fn new(catalog: &'a Catalog, registry: &'a Registry, options: &'a Options, source: Arc<Source>) -> Self {
        Self {
            home: catalog.home(),
            catalog,
            registry,
            options,
            source,
            ctes: vec![],
            windows: Rc::default(),
            relations: Rc::default(),
            depth: 0,
        }
    }

    /// The same binder for the text of a view.
    fn for_view(&self, view: &View) -> SqlResult<Self> {
        if self.depth >= MAX_VIEW_NESTING {
            return Err(SqlError::new(
                Step::Name,
                "views are nested too deeply: one of them uses itself",
            ));
        }
        Ok(Self {
            home: view.home.clone(),
            source: view.source.clone(),
            ctes: vec![],
            depth: self.depth + 1,
            ..self.clone()
        })
    }

    /// Counts relations that become part of a query.
    fn add_relations(&self, count: usize) -> SqlResult<()> {
        let relations = self.relations.get().saturating_add(count);
        self.relations.set(relations);
        if relations > MAX_RELATIONS {
            return Err(SqlError::new(
                Step::Unsupported,
                format!("the query has more than {MAX_RELATIONS} parts, with its views and WITH queries put in"),
            )
            .remedy("write what is used many times into a table of its own, and read that"));
        }
        Ok(())
    }

    /// A number for the next window function.
    fn next_window(&self) -> u32 {
        let id = self.windows.get();
        self.windows.set(id + 1);
        id
    }
}
