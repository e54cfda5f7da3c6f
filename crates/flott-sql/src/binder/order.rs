//! What follows a query's body: ORDER BY, OFFSET, LIMIT and FETCH.
//!
//! A sort column is an output column by number or name, or any expression over what the SELECT reads; one that the SELECT
//! does not show is computed beside it and dropped behind the sort ([`Ordered`]).

use super::expr::span_of;
use super::scope::ExprScope;
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::Expr;
use crate::nodes::SortKey;
use crate::rel::Rel;
use flott_core::TypeKind;
use sqlparser::ast::{self, LimitClause, OrderByExpr, OrderByKind, Query, Spanned, Value};
use sqlparser::tokenizer::Span;

/// By which of its columns a body is sorted.
#[derive(Debug, Default)]
pub struct Order {
    /// How many columns the body shows.
    pub shown: usize,
    /// Columns of the order.
    pub columns: Vec<usize>,
}

impl Order {
    /// The body, with its order.
    pub fn of(self, rel: Rel) -> Ordered {
        let Self { shown, columns } = self;
        Ordered { rel, shown, columns }
    }
}

/// A body with the columns that it is sorted by.
#[derive(Debug)]
pub struct Ordered {
    /// Its columns, then those that it is sorted by and does not show.
    pub rel: Rel,
    /// How many columns are its own.
    pub shown: usize,
    /// Columns of the order.
    pub columns: Vec<usize>,
}

impl Ordered {
    /// A body without an order.
    pub fn plain(rel: Rel) -> Self {
        Self {
            shown: rel.fields.len(),
            columns: vec![],
            rel,
        }
    }
}

/// ORDER BY, OFFSET, LIMIT and FETCH of a query.
#[derive(Debug)]
pub struct Tail<'q> {
    /// ORDER BY.
    pub order: Vec<&'q OrderByExpr>,
    offset: u64,
    fetch: Option<u64>,
    /// Where OFFSET is.
    offset_span: Span,
}

impl<'q> Tail<'q> {
    /// Reads them.
    ///
    /// # Errors
    /// If a clause is not Flink's, or a number is none.
    pub fn of(query: &'q Query) -> SqlResult<Self> {
        let order = match &query.order_by {
            None => vec![],
            Some(by) => match &by.kind {
                OrderByKind::Expressions(keys) if by.interpolate.is_none() => keys.iter().collect(),
                _ => {
                    return Err(
                        SqlError::new(Step::Syntax, "this form of ORDER BY does not exist in Flink SQL")
                            .at_span(by.span()),
                    );
                }
            },
        };
        if let Some(key) = order.iter().find(|k| k.with_fill.is_some()) {
            return Err(
                SqlError::new(Step::Syntax, "ORDER BY has no WITH FILL in Flink SQL").at_span(span_of(&key.expr))
            );
        }
        let (mut offset, mut fetch, mut offset_span) = (0, None, Span::empty());
        match &query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset {
                limit,
                offset: skip,
                limit_by,
            }) if limit_by.is_empty() => {
                fetch = limit.as_ref().map(|n| count(n, "LIMIT")).transpose()?;
                if let Some(skip) = skip {
                    offset_span = span_of(&skip.value);
                    offset = count(&skip.value, "OFFSET")?;
                }
            }
            Some(other) => {
                return Err(
                    SqlError::new(Step::Syntax, "this form of LIMIT does not exist in Flink SQL")
                        .at_span(other.span())
                        .remedy("write LIMIT n OFFSET m"),
                );
            }
        }
        if let Some(clause) = &query.fetch {
            if clause.with_ties || clause.percent {
                return Err(
                    SqlError::new(Step::Unsupported, "FETCH takes a number of ROWS ONLY, as in Flink")
                        .at_span(query.body.span()),
                );
            }
            fetch = match &clause.quantity {
                Some(n) => Some(count(n, "FETCH")?),
                None => {
                    return Err(SqlError::new(Step::Syntax, "FETCH needs a number of rows, as in Flink")
                        .at_span(query.body.span())
                        .remedy("write FETCH FIRST 1 ROWS ONLY"));
                }
            };
        }
        if !query.locks.is_empty() || query.for_clause.is_some() || !query.pipe_operators.is_empty() {
            return Err(
                SqlError::new(Step::Syntax, "this clause does not exist in Flink SQL").at_span(query.body.span())
            );
        }
        Ok(Self {
            order,
            offset,
            fetch,
            offset_span,
        })
    }

    /// Whether nothing follows the body.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty() && self.offset == 0 && self.fetch.is_none()
    }

    /// The body, sorted and cut. A sub-query that is only sorted is not, as in Flink: its reader sees no order.
    ///
    /// # Errors
    /// If a stream cannot be sorted so.
    pub fn apply(&self, body: Ordered, is_outermost: bool) -> SqlResult<Rel> {
        let Ordered { rel, shown, columns } = body;
        let is_sort_only = self.fetch.is_none() && self.offset == 0;
        let sorted = if self.is_empty() || (is_sort_only && !is_outermost) {
            rel
        } else {
            self.check(&rel, &columns)?;
            let order = self.order.iter().zip(columns).map(|(key, column)| {
                let descending = key.options.asc == Some(false);
                SortKey {
                    column,
                    descending,
                    // NULL is less than every value, as in Flink.
                    nulls_last: key.options.nulls_first.map_or(descending, |first| !first),
                }
            });
            Rel::sort(rel, order.collect(), self.offset, self.fetch)
        };
        if sorted.fields.len() == shown {
            return Ok(sorted);
        }
        let columns = sorted.identity().into_iter().take(shown).collect();
        Ok(Rel::calc(sorted, columns, None))
    }

    fn check(&self, rel: &Rel, columns: &[usize]) -> SqlResult<()> {
        for (key, &column) in self.order.iter().zip(columns) {
            let ty = &rel.fields[column].ty;
            if matches!(
                ty.kind,
                TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_) | TypeKind::Row(_)
            ) {
                return Err(
                    SqlError::new(Step::Type, format!("ORDER BY cannot sort by values of {}", ty.kind))
                        .at_span(span_of(&key.expr))
                        .remedy("sort by its fields or elements"),
                );
            }
        }
        if self.fetch.is_some() {
            return Ok(());
        }
        if self.offset > 0 {
            return Err(SqlError::new(
                Step::Unsupported,
                "OFFSET without LIMIT is not supported on a stream, as in Flink",
            )
            .at_span(self.offset_span)
            .remedy("say how many rows are wanted: LIMIT n OFFSET m"));
        }
        let (Some(key), Some(&column)) = (self.order.first(), columns.first()) else {
            return Ok(());
        };
        let field = &rel.fields[column];
        let why = match (field.time, key.options.asc) {
            (Some(_), Some(false)) => "a stream's time does not run backwards",
            (Some(_), _) => return Ok(()),
            (None, _) => "a stream has no end to sort to, and this is no time attribute",
        };
        Err(SqlError::new(
            Step::Unsupported,
            format!("ORDER BY without LIMIT sorts by a time attribute, ascending, as in Flink: {why}"),
        )
        .at_span(span_of(&key.expr))
        .remedy("put the time attribute first, add LIMIT n to keep the first rows up to date, or sort where the result is read"))
    }
}

/// The number behind LIMIT, OFFSET or FETCH.
fn count(expr: &ast::Expr, clause: &str) -> SqlResult<u64> {
    let number = match expr {
        ast::Expr::Value(v) => match &v.value {
            Value::Number(text, _) => text.parse::<u64>().ok().filter(|n| i64::try_from(*n).is_ok()),
            _ => None,
        },
        _ => None,
    };
    number.ok_or_else(|| {
        SqlError::new(Step::Type, format!("{clause} needs a whole number, not '{expr}'"))
            .at_span(span_of(expr))
            .remedy(format!("write it as a literal: {clause} 10"))
    })
}

/// Finds the sort columns among `items`, the first `shown` of which the SELECT shows, and adds those that it does not show.
///
/// # Errors
/// If a column does not exist, or (`only_shown`) the SELECT does not show it.
pub fn add_order(
    items: &mut Vec<(String, Expr)>,
    order: &[&OrderByExpr],
    only_shown: Option<&str>,
    bind: &dyn Fn(&ast::Expr) -> SqlResult<Expr>,
) -> SqlResult<Vec<usize>> {
    let shown = items.len();
    let mut columns = vec![];
    for key in order {
        let names = items[..shown].iter().map(|(name, _)| name.as_str());
        if let Some(column) = by_output(&key.expr, names)? {
            columns.push(column);
            continue;
        }
        let expr = bind(&key.expr)?;
        let column = match items.iter().position(|(_, item)| *item == expr) {
            Some(column) => column,
            None => {
                if let Some(clause) = only_shown {
                    return Err(SqlError::new(
                        Step::Name,
                        format!(
                            "ORDER BY behind {clause} sorts by the columns that it shows, but '{}' is none",
                            key.expr
                        ),
                    )
                    .at_span(span_of(&key.expr))
                    .remedy("add it to the SELECT list"));
                }
                items.push((format!("EXPR${}", items.len()), expr));
                items.len() - 1
            }
        };
        columns.push(column);
    }
    Ok(columns)
}

/// The sort columns of a body that only has its output.
///
/// # Errors
/// If one is no output column.
pub fn output_order(rel: Rel, order: &[&OrderByExpr]) -> SqlResult<Ordered> {
    if order.is_empty() {
        return Ok(Ordered::plain(rel));
    }
    let scope = ExprScope::of_table(&rel.fields);
    let mut items = rel.identity();
    let shown = items.len();
    let columns = add_order(&mut items, order, None, &|e| scope.bind(e))?;
    let rel = match items.len() == shown {
        true => rel,
        false => Rel::calc(rel, items, None),
    };
    Ok(Ordered { rel, shown, columns })
}

/// The output column that a number or a name stands for.
fn by_output<'n>(expr: &ast::Expr, names: impl Iterator<Item = &'n str>) -> SqlResult<Option<usize>> {
    match expr {
        ast::Expr::Value(v) => {
            let Value::Number(text, _) = &v.value else {
                return Ok(None);
            };
            let width = names.count();
            match text.parse::<usize>() {
                Ok(number) if (1..=width).contains(&number) => Ok(Some(number - 1)),
                _ => Err(SqlError::new(
                    Step::Name,
                    format!("ORDER BY {text}: there is no such column among {width}"),
                )
                .at_span(span_of(expr))
                .remedy(format!("columns are numbered from 1 to {width}"))),
            }
        }
        ast::Expr::Identifier(name) => {
            let mut found = names.enumerate().filter(|(_, n)| **n == *name.value).map(|(i, _)| i);
            match (found.next(), found.next()) {
                (Some(column), None) => Ok(Some(column)),
                _ => Ok(None),
            }
        }
        _ => Ok(None),
    }
}
