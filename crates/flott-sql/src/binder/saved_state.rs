//! `savepoint_metadata('path')`, the table function of Flink's module `state`: a scan of the connector `savepoint-metadata`.

use super::Binder;
use super::from::{Relation, aliased};
use crate::catalog::{Path, Table};
use crate::error::{SqlError, SqlResult, Step};
use crate::parser;
use crate::parser::ast::StatementKind;
use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, TableAlias};
use sqlparser::tokenizer::Span;
use std::sync::Arc;

/// Its name.
pub const SAVEPOINT_METADATA: &str = "savepoint_metadata";

/// Its columns, as Flink names and types them.
const COLUMNS: &str = "`checkpoint-id` BIGINT NOT NULL, `operator-name` STRING, `operator-uid` STRING, \
    `operator-uid-hash` STRING NOT NULL, `operator-parallelism` INT NOT NULL, `operator-max-parallelism` INT NOT NULL, \
    `operator-subtask-state-count` INT NOT NULL, `operator-coordinator-state-size-in-bytes` BIGINT NOT NULL, \
    `operator-total-size-in-bytes` BIGINT NOT NULL";

/// Whether a table function is this one.
pub fn is_savepoint_metadata(name: &str) -> bool {
    name.trim_matches('`').eq_ignore_ascii_case(SAVEPOINT_METADATA)
}

impl Binder<'_> {
    /// Binds `savepoint_metadata('path')`, which stands at `span`.
    pub(super) fn savepoint_metadata(
        &self,
        args: &[FunctionArg],
        alias: Option<&TableAlias>,
        span: Span,
    ) -> SqlResult<Relation> {
        let path = match args {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Value(value)))] => match &value.value {
                ast::Value::SingleQuotedString(path) if !path.is_empty() => Some(path),
                _ => None,
            },
            _ => None,
        };
        let path = path.ok_or_else(|| {
            SqlError::new(
                Step::Type,
                format!("{SAVEPOINT_METADATA} takes one argument: the path of a checkpoint or savepoint, as a string"),
            )
            .at_span(span)
            .remedy(format!("write {SAVEPOINT_METADATA}('/savepoints/savepoint-1')"))
        })?;
        let text = format!(
            "CREATE TABLE {SAVEPOINT_METADATA} ({COLUMNS}) WITH ('connector' = 'savepoint-metadata', 'state.path' = '{}')",
            path.replace('\'', "''")
        );
        let table = declared(&text).map_err(|e| e.at_span(span))?;
        let rel = self.scan(&Arc::new(table), &[], span)?;
        aliased(rel, alias, vec![SAVEPOINT_METADATA.to_owned()])
    }
}

/// The table that a statement declares.
fn declared(text: &str) -> SqlResult<Table> {
    let (source, statements) = parser::parse(text, &|_| None)?;
    let path = Path {
        catalog: "default_catalog".to_owned(),
        database: "default_database".to_owned(),
        name: SAVEPOINT_METADATA.to_owned(),
    };
    match statements.first().map(|s| &s.kind) {
        Some(StatementKind::CreateTable(create)) => Table::resolve(create, &path, &Arc::new(source)),
        _ => Err(SqlError::new(
            Step::Plan,
            format!("{SAVEPOINT_METADATA} cannot be declared"),
        )),
    }
}
