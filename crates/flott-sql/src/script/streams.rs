//! What programs ask of a session besides executing statements: their tables are queries, and their streams are sinks.

use super::{Script, Session};
use crate::binder::{BoundInsert, StreamSink};
use crate::error::{SqlError, SqlResult, Step};
use crate::parser::ast::{CreateView, Insert, Statement, StatementKind};
use crate::physical::{self, PlannedJob};
use crate::rel::RelField;
use crate::stack::with_room;
use flott_core::Options;
use sqlparser::ast::{Ident, ObjectName, Query};

impl Session {
    /// Makes the one query of `script` a temporary view.
    ///
    /// # Errors
    /// If the script is something else, the query is wrong, or the name is taken.
    pub fn create_query_view(&mut self, name: &str, script: &Script) -> SqlResult<()> {
        let statement = the_query(script)?;
        let view = CreateView {
            name: ObjectName::from(vec![Ident::with_quote('`', name)]),
            temporary: true,
            if_not_exists: false,
            columns: vec![],
            comment: None,
            query: Box::new(query_of(statement)?.clone()),
            text: statement.text.clone(),
        };
        let statement = Statement {
            kind: StatementKind::CreateView(view),
            ..statement.clone()
        };
        self.execute(script, &statement).map(drop)
    }

    /// The columns of a query's rows.
    ///
    /// # Errors
    /// If the script is something else, or the query is wrong.
    pub fn columns_of(&self, script: &Script) -> SqlResult<Vec<RelField>> {
        self.bound(script, || {
            let query = query_of(the_query(script)?)?;
            Ok(self.binder(&script.source).query(query)?.fields)
        })
    }

    /// Binds the one query of `script` to a stream of the program.
    ///
    /// # Errors
    /// If the script is something else, the query is wrong, or the stream does not take its rows.
    pub fn bind_stream(&self, script: &Script, sink: &StreamSink) -> SqlResult<BoundInsert> {
        self.bound(script, || {
            let query = query_of(the_query(script)?)?;
            self.binder(&script.source).stream_sink(query, sink)
        })
    }

    /// Binds the inserts of a statement: an INSERT, or a statement set.
    ///
    /// # Errors
    /// If one of them is wrong, or the statement is something else.
    pub fn bind_inserts(&self, script: &Script, statement: &Statement) -> SqlResult<Vec<BoundInsert>> {
        let inserts: &[Insert] = match &statement.kind {
            StatementKind::Insert(insert) => std::slice::from_ref(insert),
            StatementKind::StatementSet(inserts) => inserts,
            _ => {
                return Err(SqlError::new(Step::Unsupported, "an INSERT INTO is expected here")
                    .at(statement.location)
                    .in_source(&script.source.text)
                    .remedy("execute_sql takes all other statements"));
            }
        };
        self.bound(script, || {
            let binder = self.binder(&script.source);
            inserts.iter().map(|insert| binder.insert(insert)).collect()
        })
    }

    fn bound<R: Send>(&self, script: &Script, bind: impl FnOnce() -> SqlResult<R> + Send) -> SqlResult<R> {
        with_room(bind).map_err(|e| e.in_source(&script.source.text))
    }
}

/// Plans inserts as one job under `options`.
///
/// # Errors
/// If an option is wrong or a node cannot run.
pub fn plan_inserts(inserts: Vec<BoundInsert>, options: &Options) -> SqlResult<PlannedJob> {
    with_room(|| physical::plan(inserts, options))
}

fn the_query(script: &Script) -> SqlResult<&Statement> {
    match script.statements.as_slice() {
        [one] if matches!(one.kind, StatementKind::Query(_)) => Ok(one),
        statements => {
            let error = SqlError::new(Step::Unsupported, "one query (SELECT, WITH, VALUES) is expected here")
                .remedy("execute_sql takes all other statements");
            let place = statements.iter().find(|s| !matches!(s.kind, StatementKind::Query(_)));
            let place = place.or_else(|| statements.get(1));
            Err(match place {
                Some(statement) => error.at(statement.location).in_source(&script.source.text),
                None => error,
            })
        }
    }
}

fn query_of(statement: &Statement) -> SqlResult<&Query> {
    match &statement.kind {
        StatementKind::Query(query) => Ok(query),
        _ => Err(SqlError::new(Step::Plan, "a query was expected")),
    }
}
