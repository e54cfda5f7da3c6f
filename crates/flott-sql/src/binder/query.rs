//! Queries: WITH, UNION and SELECT in the order of their meaning: FROM, WHERE, GROUP BY, HAVING, SELECT, DISTINCT, ORDER BY,
//! LIMIT.

use super::Binder;
use super::aggregate::{Grouping, aggregate, contains_aggregate};
use super::expr::{condition, span_of};
use super::from::{Relation, rename};
use super::group_window::{GroupWindow, group_window_of};
use super::grouping_sets::{SetFunctions, group_sets};
use super::order::{Order, Ordered, Tail, add_order, output_order};
use super::over::{Overs, item_has_over};
use super::scope::{ExprScope, dotted, field_of};
use super::values::{cast_to, common_type};
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::Expr;
use crate::nodes::WindowSpec;
use crate::rel::{Rel, RelField, RelOp, generated_name};
use crate::rules::window_of;
use flott_core::TypeKind;
use sqlparser::ast::{
    self, Distinct, Ident, OrderByExpr, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    SetOperator, SetQuantifier, Spanned,
};

impl Binder<'_> {
    /// Binds a query.
    ///
    /// # Errors
    /// The first thing in it that is wrong or not supported, with its place.
    pub fn query(&self, query: &Query) -> SqlResult<Rel> {
        self.bound_query(query, true)
    }

    /// Binds a query inside another one.
    ///
    /// # Errors
    /// As [`Binder::query`].
    pub(crate) fn subquery(&self, query: &Query) -> SqlResult<Rel> {
        self.bound_query(query, false)
    }

    fn bound_query(&self, query: &Query, is_outermost: bool) -> SqlResult<Rel> {
        let mut binder = self.clone();
        if let Some(with) = &query.with {
            if with.recursive {
                return Err(
                    SqlError::new(Step::Unsupported, "WITH RECURSIVE is not supported, as in Flink")
                        .at_span(with.with_token.0.span),
                );
            }
            for cte in &with.cte_tables {
                let bound = binder.subquery(&cte.query)?;
                let columns: Vec<Ident> = cte.alias.columns.iter().map(|c| c.name.clone()).collect();
                let bound = rename(bound, &columns, Some(cte.alias.name.span))?;
                binder.ctes.push((cte.alias.name.value.clone(), bound));
            }
        }
        let tail = Tail::of(query)?;
        let body = match query.body.as_ref() {
            SetExpr::Select(select) => binder.select(select, &tail.order)?,
            SetExpr::Query(inner) => {
                let rel = binder.bound_query(inner, is_outermost && tail.is_empty())?;
                output_order(rel, &tail.order)?
            }
            other => output_order(binder.set_expr(other)?, &tail.order)?,
        };
        tail.apply(body, is_outermost)
    }

    fn set_expr(&self, body: &SetExpr) -> SqlResult<Rel> {
        self.add_relations(1).map_err(|e| e.at_span(body.span()))?;
        match body {
            SetExpr::Select(select) => Ok(self.select(select, &[])?.rel),
            SetExpr::Query(query) => self.subquery(query),
            SetExpr::Values(values) => self.values(values),
            SetExpr::SetOperation {
                left,
                op,
                set_quantifier,
                right,
            } => {
                let place = right.span();
                if *op != SetOperator::Union {
                    return Err(SqlError::new(Step::Unsupported, format!("{op} is not supported yet"))
                        .at_span(place)
                        .remedy("of the set operations, UNION and UNION ALL are there"));
                }
                let inputs = vec![self.set_expr(left)?, self.set_expr(right)?];
                let union = union(inputs).map_err(|e| e.at_span(place))?;
                match set_quantifier {
                    SetQuantifier::All => Ok(union),
                    SetQuantifier::None | SetQuantifier::Distinct => Ok(distinct(union)),
                    other => {
                        Err(SqlError::new(Step::Unsupported, format!("UNION {other} is not supported")).at_span(place))
                    }
                }
            }
            other => Err(SqlError::new(Step::Syntax, "a query is needed").at_span(other.span())),
        }
    }

    /// Binds a SELECT and what it is sorted by.
    fn select(&self, select: &Select, order: &[&OrderByExpr]) -> SqlResult<Ordered> {
        check_select(select)?;
        let Relation { mut rel, scope } = match select.from.is_empty() {
            true => Relation {
                rel: Self::one_row(),
                scope: ExprScope::default(),
            },
            false => self.from(&select.from)?,
        };
        let scope = scope.in_database(self.catalog.current_database());
        if let Some(selection) = &select.selection {
            let filter = condition(scope.bind(selection)?, "WHERE", span_of(selection))?;
            rel = Rel::filter(rel, filter);
        }
        let sets = group_sets(&select.group_by)?;
        let grouped = sets.len() != 1 || !sets[0].is_empty();
        let aggregates =
            select.projection.iter().any(item_has_aggregate) || select.having.as_ref().is_some_and(contains_aggregate);
        let over = select.projection.iter().any(item_has_over);
        let bound = if grouped || aggregates || select.having.is_some() {
            self.grouped(rel, &scope, &sets, select, order)?
        } else if over {
            let overs = Overs::new(&scope, &select.named_window);
            let (items, sorted) = ordered_items(select, &scope, order, &|e| overs.bind(e))?;
            sorted.of(overs.into_windows().into_rel(rel, items)?)
        } else {
            let (items, sorted) = ordered_items(select, &scope, order, &|e| scope.bind(e))?;
            sorted.of(Rel::calc(rel, items, None))
        };
        match &select.distinct {
            None | Some(Distinct::All) => Ok(bound),
            Some(Distinct::Distinct) => Ok(Ordered {
                rel: distinct(bound.rel),
                ..bound
            }),
            Some(Distinct::On(columns)) => Err(SqlError::new(Step::Unsupported, "Flink has no DISTINCT ON")
                .at_span(columns.first().map_or_else(sqlparser::tokenizer::Span::empty, span_of))),
        }
    }

    fn grouped(
        &self,
        rel: Rel,
        scope: &ExprScope,
        sets: &[Vec<&ast::Expr>],
        select: &Select,
        order: &[&OrderByExpr],
    ) -> SqlResult<Ordered> {
        let is_grouped = sets.iter().any(|set| !set.is_empty());
        let mut rel = rel;
        let mut window: Option<GroupWindow> = None;
        let mut keys: Vec<Expr> = vec![];
        let mut bound_sets: Vec<Vec<usize>> = vec![];
        let mut bound: Vec<(&ast::Expr, Vec<usize>)> = vec![];
        for set in sets {
            let mut positions = vec![];
            for &expr in set {
                // An expression of several sets is bound once.
                if let Some((_, places)) = bound.iter().find(|(e, _)| std::ptr::eq(*e, expr) || *e == expr) {
                    positions.extend(places);
                    continue;
                }
                let exprs: Vec<Expr> = match group_window_of(expr) {
                    Some(function) => {
                        if let Some(error) = refused_window(window.as_ref(), sets.len(), expr) {
                            return Err(error);
                        }
                        let (cut, bound) = GroupWindow::bind(function, rel, scope, self.next_window())?;
                        rel = cut;
                        let keys = bound.keys().collect();
                        window = Some(bound);
                        keys
                    }
                    None => vec![scope.bind(expr)?],
                };
                let mut places = vec![];
                for key in exprs {
                    let place = keys.iter().position(|k| *k == key).unwrap_or_else(|| {
                        keys.push(key);
                        keys.len() - 1
                    });
                    places.push(place);
                }
                positions.extend(&places);
                bound.push((expr, places));
            }
            bound_sets.push(positions);
        }
        let levels = match bound_sets.len() {
            1 => vec![SetFunctions::plain()],
            _ => SetFunctions::levels(&bound_sets, keys.len())?,
        };
        let several = levels.len() > 1;
        let mut branches = vec![];
        let mut order_of_all = Order::default();
        for level in levels {
            let grouping = Grouping::new(scope, keys.clone(), is_grouped, level, window.as_ref());
            // OVER looks at the groups that HAVING leaves.
            let overs = Overs::new(&grouping, &select.named_window);
            let (items, sorted) = ordered_items(select, scope, order, &|e| overs.bind(e))?;
            let windows = overs.into_windows();
            let having = match &select.having {
                Some(having) => Some(condition(grouping.bind(having)?, "HAVING", span_of(having))?),
                None => None,
            };
            let aggregated = grouping.into_rel(rel.clone(), &items);
            check_slices(&aggregated, sets)?;
            order_of_all = sorted;
            if !windows.is_any() {
                branches.push(Rel::calc(aggregated, items, having));
                continue;
            }
            if several {
                return Err(SqlError::new(
                    Step::Unsupported,
                    "OVER beside GROUPING SETS that hold a set twice is not supported",
                )
                .at_span(select.select_token.0.span)
                .remedy("aggregate in a sub-query, and look OVER its rows"));
            }
            let groups = match having {
                Some(having) => Rel::filter(aggregated, having),
                None => aggregated,
            };
            branches.push(windows.into_rel(groups, items)?);
        }
        let rel = match branches.len() {
            1 => branches.remove(0),
            _ => union(branches)?,
        };
        Ok(order_of_all.of(rel))
    }
}

/// Why a group window may not stand where it does.
fn refused_window(earlier: Option<&GroupWindow>, sets: usize, expr: &ast::Expr) -> Option<SqlError> {
    let error = if earlier.is_some() {
        SqlError::new(Step::Type, "GROUP BY takes one group window, but this is a second one")
            .remedy("group the result of the first window again, by its _ROWTIME")
    } else if sets > 1 {
        SqlError::new(
            Step::Unsupported,
            "a group window beside GROUPING SETS, CUBE or ROLLUP is not supported, as in Flink",
        )
        .remedy("use a window function: FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL …)) GROUP BY window_start, window_end, …")
    } else {
        return None;
    };
    Some(error.at_span(span_of(expr)))
}

/// Refuses to aggregate windows that are not made of whole slices, which may be shown as columns only.
fn check_slices(aggregated: &Rel, sets: &[Vec<&ast::Expr>]) -> SqlResult<()> {
    fn function(rel: &Rel, id: u32) -> Option<(WindowSpec, bool)> {
        if let RelOp::WindowTvf { window, legacy, .. } = &rel.op
            && rel.fields.last().and_then(|f| f.window).is_some_and(|m| m.id == id)
        {
            return Some((*window, *legacy));
        }
        rel.inputs().into_iter().find_map(|input| function(input, id))
    }
    let RelOp::Aggregate { input, keys, .. } = &aggregated.op else {
        return Ok(());
    };
    let Some((window, false)) = window_of(&input.fields, keys).and_then(|id| function(input, id)) else {
        return Ok(());
    };
    window.validate_slices().map_err(|e| {
        let error = SqlError::new(Step::Type, e.to_string())
            .remedy("choose a slide that divides the size; only without GROUP BY any slide will do");
        match sets.first().and_then(|set| set.first()) {
            Some(place) => error.at_span(span_of(place)),
            None => error,
        }
    })
}

/// Names and bound forms of a SELECT list and of what it is sorted by besides.
fn ordered_items(
    select: &Select,
    scope: &ExprScope,
    order: &[&OrderByExpr],
    bind: &dyn Fn(&ast::Expr) -> SqlResult<Expr>,
) -> SqlResult<(Vec<(String, Expr)>, Order)> {
    let mut items = select_items(&select.projection, scope, bind)?;
    let shown = items.len();
    let only_shown = match &select.distinct {
        None | Some(Distinct::All) => None,
        Some(_) => Some("DISTINCT"),
    };
    let columns = add_order(&mut items, order, only_shown, bind)?;
    Ok((items, Order { shown, columns }))
}

/// Names and bound forms of a SELECT list.
fn select_items(
    items: &[SelectItem],
    scope: &ExprScope,
    bind: &dyn Fn(&ast::Expr) -> SqlResult<Expr>,
) -> SqlResult<Vec<(String, Expr)>> {
    let mut columns: Vec<(String, Expr)> = vec![];
    for item in items {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = derived_name(expr).unwrap_or_else(|| generated_name(columns.len()));
                columns.push((name, bind(expr)?));
            }
            SelectItem::ExprWithAlias { expr, alias } => columns.push((alias.value.clone(), bind(expr)?)),
            SelectItem::Wildcard(options) => {
                check_wildcard(options)?;
                if scope.fields().is_empty() {
                    return Err(
                        SqlError::new(Step::Name, "'*' needs a FROM clause").at_span(options.wildcard_token.0.span)
                    );
                }
                columns.extend(wildcard(
                    scope,
                    0..scope.fields().len(),
                    bind,
                    options.wildcard_token.0.span,
                )?);
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                check_wildcard(options)?;
                let parts: Vec<Ident> = name.0.iter().filter_map(|p| p.as_ident().cloned()).collect();
                match scope.columns_of(&parts) {
                    Ok(range) => columns.extend(wildcard(scope, range, bind, name.span())?),
                    Err(no_table) => match bind(&ast::Expr::CompoundIdentifier(parts.clone())) {
                        Ok(row) => columns.extend(row_fields(&row, &parts)?),
                        Err(_) => return Err(no_table),
                    },
                }
            }
            other => {
                return Err(
                    SqlError::new(Step::Unsupported, format!("'{other}' in SELECT is not supported"))
                        .at_span(other.span()),
                );
            }
        }
    }
    Ok(columns)
}

/// All columns of a range; under GROUP BY each must be a key.
fn wildcard(
    scope: &ExprScope,
    range: std::ops::Range<usize>,
    bind: &dyn Fn(&ast::Expr) -> SqlResult<Expr>,
    span: sqlparser::tokenizer::Span,
) -> SqlResult<Vec<(String, Expr)>> {
    let mut columns = vec![];
    for index in range {
        let field = &scope.fields()[index];
        let plain = Expr::input(index, field.ty.clone());
        let unique = scope.fields().iter().filter(|f| f.name == field.name).count() == 1;
        let expr = match unique {
            true => bind(&ast::Expr::Identifier(Ident::with_span(span, field.name.clone())))?,
            false => plain,
        };
        columns.push((field.name.clone(), expr));
    }
    Ok(columns)
}

/// `row.*`
fn row_fields(row: &Expr, parts: &[Ident]) -> SqlResult<Vec<(String, Expr)>> {
    let place = parts[parts.len() - 1].span;
    let TypeKind::Row(fields) = &row.ty().kind else {
        return Err(SqlError::new(
            Step::Type,
            format!("'{}' is no table and no ROW, but {}", dotted(parts), row.ty()),
        )
        .at_span(place));
    };
    fields
        .iter()
        .map(|f| {
            let field = field_of(row.clone(), &Ident::with_span(place, f.name.clone()))?;
            Ok((f.name.clone(), field))
        })
        .collect()
}

fn check_wildcard(options: &ast::WildcardAdditionalOptions) -> SqlResult<()> {
    let plain = options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none();
    match plain {
        true => Ok(()),
        false => Err(SqlError::new(
            Step::Unsupported,
            "Flink has '*' without EXCLUDE, EXCEPT, REPLACE and RENAME",
        )
        .at_span(options.wildcard_token.0.span)),
    }
}

/// The name that a SELECT item has by itself: that of its column or field.
fn derived_name(expr: &ast::Expr) -> Option<String> {
    match expr {
        ast::Expr::Identifier(name) => Some(name.value.clone()),
        ast::Expr::CompoundIdentifier(parts) => parts.last().map(|p| p.value.clone()),
        ast::Expr::Nested(inner) => derived_name(inner),
        _ => None,
    }
}

fn item_has_aggregate(item: &SelectItem) -> bool {
    match item {
        SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => contains_aggregate(e),
        _ => false,
    }
}

fn check_select(select: &Select) -> SqlResult<()> {
    let refused = [
        (select.top.is_some(), "TOP"),
        (select.into.is_some(), "SELECT … INTO"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (select.qualify.is_some(), "QUALIFY"),
    ];
    match refused.iter().find(|(found, _)| *found) {
        Some((_, clause)) => {
            Err(SqlError::new(Step::Unsupported, format!("{clause} is not supported"))
                .at_span(select.select_token.0.span))
        }
        None => Ok(()),
    }
}

/// The union of inputs with as many columns of common types; a time attribute stays where all have it.
fn union(inputs: Vec<Rel>) -> SqlResult<Rel> {
    let first = inputs[0].fields.clone();
    for input in &inputs[1..] {
        if input.fields.len() != first.len() {
            return Err(SqlError::new(
                Step::Type,
                format!(
                    "the queries of a UNION have {} and {} columns",
                    first.len(),
                    input.fields.len()
                ),
            )
            .remedy("select as many columns in each; write NULL, cast to its type, for one that is not there"));
        }
    }
    let mut types = vec![];
    for (column, field) in first.iter().enumerate() {
        let cells: Vec<Expr> = inputs
            .iter()
            .map(|r| Expr::input(column, r.fields[column].ty.clone()))
            .collect();
        let ty = common_type(&cells.iter().collect::<Vec<_>>()).map_err(|e| SqlError {
            message: format!("column {} ('{}') of a UNION: {}", column + 1, field.name, e.message),
            ..e
        })?;
        types.push(ty);
    }
    let mut cast_inputs = vec![];
    for input in inputs {
        let same = input.fields.iter().zip(&types).all(|(f, t)| f.ty.kind == t.kind);
        if same {
            cast_inputs.push(input);
            continue;
        }
        let mut columns = vec![];
        for ((name, expr), ty) in input.identity().into_iter().zip(&types) {
            columns.push((name, cast_to(expr, ty)?));
        }
        cast_inputs.push(Rel::calc(input, columns, None));
    }
    let fields = first
        .iter()
        .zip(&types)
        .enumerate()
        .map(|(i, (field, ty))| RelField {
            time: field
                .time
                .filter(|t| cast_inputs.iter().all(|r| r.fields[i].time == Some(*t))),
            window: None,
            name: field.name.clone(),
            ty: ty.clone(),
        })
        .collect();
    let mut flat = vec![];
    for input in cast_inputs {
        match input.op {
            RelOp::Union { inputs } => flat.extend(inputs),
            _ => flat.push(input),
        }
    }
    Ok(Rel {
        op: RelOp::Union { inputs: flat },
        fields,
    })
}

/// Each row once.
fn distinct(input: Rel) -> Rel {
    let keys = (0..input.fields.len()).collect();
    aggregate(input, keys, vec![])
}
