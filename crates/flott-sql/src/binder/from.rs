//! FROM: tables, views, sub-queries, window functions and UNNEST.

use super::Binder;
use super::expr::{Resolver, bind_expr, span_of};
use super::saved_state::{SAVEPOINT_METADATA, is_savepoint_metadata};
use super::scope::ExprScope;
use super::stream::{STREAM, is_source_watermark};
use super::window::is_window_function;
use crate::catalog::{Object, Table, View};
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::{Expr, resolve_cast};
use crate::nodes::{CorrelateJoin, CorrelateUnnestSpec};
use crate::rel::{Rel, RelField, RelOp, Scan, ScanTraits, TimeKind};
use flott_core::suggest;
use flott_runtime::connector::{MetadataKey, TableInfo};
use sqlparser::ast::{
    self, Ident, JoinConstraint, JoinOperator, ObjectName, Spanned, TableAlias, TableFactor, TableWithJoins,
};
use sqlparser::tokenizer::Span;
use std::sync::Arc;

/// A relation of FROM with the names of its columns.
pub struct Relation {
    /// What it yields.
    pub rel: Rel,
    /// How its columns are called.
    pub scope: ExprScope,
}

impl Binder<'_> {
    /// Binds a FROM clause.
    pub(super) fn from(&self, from: &[TableWithJoins]) -> SqlResult<Relation> {
        let mut left: Option<Relation> = None;
        for item in from {
            left = Some(match left {
                None => self.factor(&item.relation)?,
                Some(left) => self.join(left, &item.relation, CorrelateJoin::Inner)?,
            });
            for join in &item.joins {
                if let Some(l) = left.take() {
                    left = Some(self.join(l, &join.relation, join_kind(&join.join_operator, &join.relation)?)?);
                }
            }
        }
        left.ok_or_else(|| SqlError::new(Step::Syntax, "FROM is empty"))
    }

    /// Joins an UNNEST to what is left of it; other joins are errors.
    fn join(&self, left: Relation, right: &TableFactor, join: CorrelateJoin) -> SqlResult<Relation> {
        match right {
            TableFactor::UNNEST {
                alias,
                array_exprs,
                with_ordinality,
                ..
            } => self.unnest(left, array_exprs, alias.as_ref(), *with_ordinality, join),
            other => Err(no_join(factor_span(other))),
        }
    }

    fn factor(&self, factor: &TableFactor) -> SqlResult<Relation> {
        let span = factor_span(factor);
        let unsupported = |what: &str| Err(SqlError::new(Step::Unsupported, what).at_span(span));
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                version,
                with_ordinality: false,
                sample: None,
                json_path: None,
                ..
            } => {
                if version.is_some() {
                    return unsupported("FOR SYSTEM_TIME AS OF (temporal and lookup joins) is not supported yet");
                }
                if let Some(args) = args {
                    if is_savepoint_metadata(&name.to_string()) {
                        return self.savepoint_metadata(&args.args, alias.as_ref(), span);
                    }
                    let text = name.to_string().to_uppercase();
                    if !is_window_function(&text) {
                        return Err(unknown_table_function(&text, span));
                    }
                    return aliased(self.window_call(name, &args.args)?, alias.as_ref(), vec![]);
                }
                let mut scope = ExprScope::default();
                let rel = self.named_relation(name, &mut scope, alias.as_ref())?;
                Ok(Relation { rel, scope })
            }
            TableFactor::Derived {
                lateral: false,
                subquery,
                alias,
                sample: None,
            } => aliased(self.subquery(subquery)?, alias.as_ref(), vec![]),
            TableFactor::TableFunction {
                expr: ast::Expr::Function(function),
                alias,
            } if is_savepoint_metadata(&function.name.to_string()) => {
                let args = match &function.args {
                    ast::FunctionArguments::List(list) => list.args.as_slice(),
                    _ => &[],
                };
                self.savepoint_metadata(args, alias.as_ref(), span)
            }
            TableFactor::TableFunction { expr, alias } => aliased(self.window_function(expr)?, alias.as_ref(), vec![]),
            TableFactor::UNNEST {
                alias,
                array_exprs,
                with_ordinality,
                ..
            } => {
                let nothing = Relation {
                    rel: Self::one_row(),
                    scope: ExprScope::default(),
                };
                self.unnest(
                    nothing,
                    array_exprs,
                    alias.as_ref(),
                    *with_ordinality,
                    CorrelateJoin::Inner,
                )
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias: None,
            } => self.from(std::slice::from_ref(table_with_joins)),
            TableFactor::Function { .. } | TableFactor::Derived { lateral: true, .. } => {
                unsupported("LATERAL (table functions and correlated sub-queries) is not supported yet; UNNEST is")
            }
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                unsupported("TABLESAMPLE is not supported yet; WHERE with RAND() < 0.1 takes about a tenth of the rows")
            }
            TableFactor::MatchRecognize { .. } => unsupported("MATCH_RECOGNIZE is not supported yet"),
            _ => unsupported("this table expression is not supported"),
        }
    }

    /// Binds a table, view or CTE and adds its columns to `scope`.
    pub(super) fn named_relation(
        &self,
        name: &ObjectName,
        scope: &mut ExprScope,
        alias: Option<&TableAlias>,
    ) -> SqlResult<Rel> {
        let (rel, path) = self.named(name)?;
        let relation = aliased(rel, alias, path)?;
        *scope = relation.scope;
        Ok(relation.rel)
    }

    fn named(&self, name: &ObjectName) -> SqlResult<(Rel, Vec<String>)> {
        if let [part] = name.0.as_slice()
            && let Some(ident) = part.as_ident()
            && let Some((_, rel)) = self.ctes.iter().rev().find(|(n, _)| *n == ident.value)
        {
            self.add_relations(rel.count()).map_err(|e| e.at_span(ident.span))?;
            return Ok((rel.clone(), vec![ident.value.clone()]));
        }
        let last = name.0.last().and_then(|p| p.as_ident());
        let hints = last.map_or(&[][..], |i| self.source.hints.of(i.span.start));
        let object = self
            .catalog
            .find_from(name, &self.home)
            .map_err(|e| self.with_ctes(e, name))?;
        match object {
            Object::Table(table) => {
                let rel = self.scan(table, hints, name.span())?;
                Ok((rel, path_of(&table.spec.name)))
            }
            Object::View(view) => {
                if !hints.is_empty() {
                    return Err(SqlError::new(Step::Table, "OPTIONS cannot be given for a view")
                        .at_span(name.span())
                        .remedy("give them for the table inside of the view"));
                }
                Ok((self.view(view)?, path_of(&view.path)))
            }
        }
    }

    /// Adds the nearest CTE's name to an error about an unknown table.
    fn with_ctes(&self, error: SqlError, name: &ObjectName) -> SqlError {
        let text = name.to_string();
        match suggest::nearest(&text, self.ctes.iter().map(|(n, _)| n.as_str())) {
            Some(near) => SqlError::new(
                Step::Name,
                format!("there is no table or view '{text}'; did you mean '{near}'?"),
            )
            .at_span(name.span()),
            None => error,
        }
    }

    /// Binds a view in its own text.
    fn view(&self, view: &View) -> SqlResult<Rel> {
        self.renamed_view(view, |binder| binder.query(&view.query))
    }

    /// Binds a view to look at its columns, whatever its order.
    ///
    /// # Errors
    /// If the view no longer fits what it reads.
    pub(crate) fn described_view(&self, view: &View) -> SqlResult<Rel> {
        self.renamed_view(view, |binder| binder.subquery(&view.query))
    }

    fn renamed_view(&self, view: &View, bind: impl FnOnce(&Self) -> SqlResult<Rel>) -> SqlResult<Rel> {
        let bound = bind(&self.for_view(view)?).map_err(|e| e.in_source(&view.source.text))?;
        rename(bound, &view.columns, view.columns.first().map(|c| c.span))
    }

    /// Reads a table: its raw columns, then its declared ones over them.
    pub(super) fn scan(&self, table: &Arc<Table>, hints: &[(String, String)], span: Span) -> SqlResult<Rel> {
        let mut spec = table.spec.clone();
        for (key, value) in hints {
            spec.options.set(key, value);
        }
        let info = self.check_table(table, hints, span, |connector| connector.check_source(&spec))?;
        let mut raw: Vec<RelField> = spec
            .columns
            .iter()
            .map(|c| RelField::new(c.name.clone(), c.ty.clone()))
            .collect();
        let mut metadata = vec![];
        for column in &spec.metadata {
            let key = metadata_key(&info, &column.key, spec.connector())
                .map_err(|e| e.at_span(span).in_source(&self.source.text))?;
            raw.push(RelField::new(column.name.clone(), key.ty.clone()));
            metadata.push(key);
        }
        let physical = spec.columns.clone();
        let own = |index: usize| Expr::input(index, raw[index].ty.clone());
        let cast = |expr: &Expr| -> SqlResult<Expr> {
            let mut failed = None;
            let expr = expr.map_inputs(&mut |index, ty| {
                let column = own(index);
                if column.ty().kind == ty.kind {
                    return column;
                }
                resolve_cast(column, ty.clone(), false).unwrap_or_else(|e| {
                    failed = Some(e);
                    own(index)
                })
            });
            match failed {
                Some(e) => Err(SqlError::new(Step::Type, e.to_string()).at_span(span)),
                None => Ok(expr),
            }
        };
        let watermark = match &table.watermark {
            Some(w) if is_source_watermark(&w.expr) && spec.connector() != STREAM => {
                let message = format!(
                    "table '{}': SOURCE_WATERMARK() takes over the watermarks of a program's stream, but 'connector' = '{}' has none of its own",
                    spec.short_name(),
                    spec.connector()
                );
                let column = &table.columns[w.column].name;
                return Err(SqlError::new(Step::Table, message).at_span(span).remedy(format!(
                    "say how late rows are: WATERMARK FOR {column} AS {column} - INTERVAL '5' SECOND"
                )));
            }
            Some(w) => Some((table.columns[w.column].name.clone(), cast(&w.expr)?)),
            None => None,
        };
        let mut columns = vec![];
        for column in &table.columns {
            columns.push((column.name.clone(), cast(&column.expr)?));
        }
        let scan = Rel {
            op: RelOp::Scan(Scan {
                table: table.clone(),
                options: spec.options,
                traits: ScanTraits::from(&info),
                physical,
                metadata,
                watermark,
                partitions: None,
            }),
            fields: raw,
        };
        let mut rel = Rel::calc(scan, columns, None);
        for (field, column) in rel.fields.iter_mut().zip(&table.columns) {
            field.time = column.time;
            if column.time == Some(TimeKind::Rowtime) {
                field.ty = column.ty.clone();
            }
        }
        Ok(rel)
    }

    /// Asks the table's connector; errors point at the table's option where it is known.
    pub(super) fn check_table(
        &self,
        table: &Table,
        hints: &[(String, String)],
        span: Span,
        check: impl FnOnce(
            &dyn flott_runtime::TableConnector,
        ) -> Result<TableInfo, flott_runtime::connector::ConnectorError>,
    ) -> SqlResult<TableInfo> {
        let at = |message: String, key: Option<&str>| {
            let named = key.or_else(|| {
                table
                    .option_places
                    .keys()
                    .map(String::as_str)
                    .filter(|k| message.contains(&format!("'{k}'")))
                    .max_by_key(|k| k.len())
            });
            let from_hint = named.is_some_and(|k| hints.iter().any(|(h, _)| h == k));
            // Connectors name the table in some of their messages themselves.
            let name = format!("table '{}'", table.spec.short_name());
            let message = match message.starts_with(&name) {
                true => message,
                false => format!("{name}: {message}"),
            };
            let error = SqlError::new(Step::Table, message);
            match named.and_then(|k| table.option_places.get(k)) {
                Some(place) if !from_hint => error.at(*place).in_source(&table.source.text),
                _ => error.at_span(span),
            }
        };
        let name = table.spec.connector();
        if name.is_empty() {
            return Err(at("the option 'connector' is missing".to_owned(), None)
                .remedy("add 'connector' = '…' to WITH, for example 'kafka', 'filesystem' or 'datagen'"));
        }
        let connector = self
            .registry
            .find_connector(name)
            .map_err(|message| at(message, Some("connector")))?;
        check(connector.as_ref()).map_err(|e| at(e.to_string(), None))
    }

    fn unnest(
        &self,
        left: Relation,
        collections: &[ast::Expr],
        alias: Option<&TableAlias>,
        ordinality: bool,
        join: CorrelateJoin,
    ) -> SqlResult<Relation> {
        let [collection] = collections else {
            return Err(SqlError::new(Step::Unsupported, "UNNEST takes one collection")
                .at_span(collections.get(1).map_or_else(Span::empty, span_of)));
        };
        let bound = bind_expr(collection, &left.scope as &dyn Resolver)?;
        let mut names = element_names(&bound).ok_or_else(|| {
            SqlError::new(
                Step::Type,
                format!(
                    "UNNEST needs an ARRAY, MAP or MULTISET, but this has type {}",
                    bound.ty()
                ),
            )
            .at_span(span_of(collection))
        })?;
        if ordinality {
            names.push("ORDINALITY".to_owned());
        }
        if let Some(alias) = alias.filter(|a| !a.columns.is_empty()) {
            if alias.columns.len() != names.len() {
                return Err(SqlError::new(
                    Step::Name,
                    format!(
                        "UNNEST yields {} columns, but the alias names {}",
                        names.len(),
                        alias.columns.len()
                    ),
                )
                .at_span(alias.columns[0].name.span));
            }
            names = alias.columns.iter().map(|c| c.name.value.clone()).collect();
        } else if let (Some(alias), [_]) = (alias, names.as_slice()) {
            names = vec![alias.name.value.clone()];
        }
        let Relation { rel, mut scope } = left;
        let spec = CorrelateUnnestSpec {
            input: rel.schema(),
            collection: bound.clone(),
            join,
            ordinality,
            keep: vec![],
            names: names.clone(),
            time_zone: String::new(),
        };
        let element: Vec<RelField> = names
            .iter()
            .zip(spec.element_types())
            .map(|(n, t)| RelField::new(n.clone(), t))
            .collect();
        scope.add(alias.map(|a| a.name.value.clone()).into_iter().collect(), &element);
        let rel = Rel {
            fields: rel.fields.iter().cloned().chain(element).collect(),
            op: RelOp::Unnest {
                keep: (0..rel.fields.len()).collect(),
                input: Box::new(rel),
                collection: bound,
                join,
                ordinality,
                names,
            },
        };
        Ok(Relation { rel, scope })
    }
}

/// The metadata of this key.
pub fn metadata_key(info: &TableInfo, key: &str, connector: &str) -> SqlResult<MetadataKey> {
    info.metadata.iter().find(|m| m.key == key).cloned().ok_or_else(|| {
        let known: Vec<&str> = info.metadata.iter().map(|m| m.key.as_str()).collect();
        let hint = suggest::hint(key, known.iter().copied());
        let error = SqlError::new(
            Step::Table,
            format!("the connector '{connector}' has no metadata '{key}'{hint}"),
        );
        match known.is_empty() {
            true => error.remedy("it has none at all"),
            false => error.remedy(format!("it has {}", known.join(", "))),
        }
    })
}

fn element_names(collection: &Expr) -> Option<Vec<String>> {
    use flott_core::TypeKind;
    match &collection.ty().kind {
        TypeKind::Array(e) | TypeKind::Multiset(e) => Some(match &e.kind {
            TypeKind::Row(fields) => fields.iter().map(|f| f.name.clone()).collect(),
            _ => vec!["EXPR$0".to_owned()],
        }),
        TypeKind::Map(..) => Some(vec!["KEY".to_owned(), "VALUE".to_owned()]),
        _ => None,
    }
}

/// Parts of a full name.
fn path_of(name: &str) -> Vec<String> {
    name.split('.').map(str::to_owned).collect()
}

/// A relation under its alias, or under `path`.
pub fn aliased(rel: Rel, alias: Option<&TableAlias>, path: Vec<String>) -> SqlResult<Relation> {
    let (rel, path) = match alias {
        Some(alias) => {
            let columns: Vec<Ident> = alias.columns.iter().map(|c| c.name.clone()).collect();
            (
                rename(rel, &columns, Some(alias.name.span))?,
                vec![alias.name.value.clone()],
            )
        }
        None => (rel, path),
    };
    let mut scope = ExprScope::default();
    scope.add(path, &rel.fields);
    Ok(Relation { rel, scope })
}

/// The relation with its first columns renamed; no names: as it is.
pub fn rename(mut rel: Rel, columns: &[Ident], place: Option<Span>) -> SqlResult<Rel> {
    if columns.is_empty() {
        return Ok(rel);
    }
    if columns.len() != rel.fields.len() {
        return Err(SqlError::new(
            Step::Name,
            format!("{} names are given for {} columns", columns.len(), rel.fields.len()),
        )
        .at_span(place.unwrap_or_else(Span::empty)));
    }
    for (field, name) in rel.fields.iter_mut().zip(columns) {
        field.name.clone_from(&name.value);
    }
    Ok(rel)
}

/// How an UNNEST is joined.
fn join_kind(operator: &JoinOperator, relation: &TableFactor) -> SqlResult<CorrelateJoin> {
    let is_unnest = matches!(relation, TableFactor::UNNEST { .. });
    let on_true = |c: &JoinConstraint| match c {
        JoinConstraint::None => true,
        JoinConstraint::On(ast::Expr::Value(v)) => v.value == ast::Value::Boolean(true),
        _ => false,
    };
    match operator {
        _ if !is_unnest => Err(no_join(factor_span(relation))),
        JoinOperator::CrossJoin(_) => Ok(CorrelateJoin::Inner),
        JoinOperator::Join(c) | JoinOperator::Inner(c) if on_true(c) => Ok(CorrelateJoin::Inner),
        JoinOperator::Left(c) | JoinOperator::LeftOuter(c) if on_true(c) => Ok(CorrelateJoin::Left),
        _ => Err(SqlError::new(
            Step::Unsupported,
            "UNNEST can be joined by CROSS JOIN or LEFT JOIN … ON TRUE only",
        )
        .at_span(factor_span(relation))),
    }
}

fn no_join(span: Span) -> SqlError {
    SqlError::new(Step::Unsupported, "joins are not supported yet")
        .at_span(span)
        .remedy("CROSS JOIN UNNEST(…) is supported; join the streams with Apache Flink or beforehand until then")
}

fn unknown_table_function(name: &str, span: Span) -> SqlError {
    let hint = suggest::hint(
        name,
        ["TUMBLE", "HOP", "CUMULATE", "SESSION", "UNNEST", SAVEPOINT_METADATA],
    );
    SqlError::new(Step::Name, format!("there is no table function '{name}'{hint}")).at_span(span)
}

/// Where a table expression stands.
fn factor_span(factor: &TableFactor) -> Span {
    match factor {
        TableFactor::Table { name, .. } | TableFactor::Function { name, .. } => name.span(),
        TableFactor::UNNEST { array_exprs, .. } => array_exprs.first().map_or_else(Span::empty, span_of),
        TableFactor::TableFunction { expr, .. } => span_of(expr),
        TableFactor::Derived { subquery, .. } => subquery.span(),
        other => other.span(),
    }
}
