//! Grouping: which expressions are keys, which calls are aggregates, and what may stand beside them.

use super::calls::{CallParts, aggregate_type, composed};
use super::expr::{Resolver, bind_expr, condition, function_name, span_of};
use super::group_window::GroupWindow;
use super::grouping_sets::SetFunctions;
use super::scope::{ExprScope, dotted};
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::{Expr, aggregate_names};
use crate::nodes::{CallDetail, ExpandSet};
use crate::rel::{AggCall, Rel, RelField, RelOp};
use flott_core::{LogicalType, TypeKind};
use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments, Ident};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Aggregates of Flink that are known and not there, and why.
const MISSING: &[(&str, &str)] = &[
    ("APPROX_COUNT_DISTINCT", "is not there on streams, as in Flink"),
    ("ROW_NUMBER", "needs OVER (…)"),
    ("RANK", "needs OVER (…)"),
    ("DENSE_RANK", "needs OVER (…)"),
    ("LAG", "needs OVER (…)"),
    (
        "LEAD",
        "needs rows that come later, which a stream does not have, as in Flink",
    ),
    (
        "NTILE",
        "needs rows that come later, which a stream does not have, as in Flink",
    ),
    (
        "CUME_DIST",
        "needs rows that come later, which a stream does not have, as in Flink",
    ),
    (
        "PERCENT_RANK",
        "needs rows that come later, which a stream does not have, as in Flink",
    ),
];

/// Why an aggregate cannot be called in a grouping.
fn missing(name: &str) -> Option<&'static str> {
    MISSING.iter().find(|(n, _)| *n == name).map(|(_, why)| *why)
}

/// The name of the aggregate that `expr` calls, if it does.
pub fn aggregate_name(expr: &ast::Expr) -> Option<String> {
    let ast::Expr::Function(function) = expr else {
        return None;
    };
    let name = function_name(function).ok()?;
    let known = aggregate_names().contains(&name.as_str()) || missing(&name).is_some();
    (known && function.over.is_none()).then_some(name)
}

/// Whether an aggregate is called anywhere in `expr`, sub-queries apart.
pub fn contains_aggregate(expr: &ast::Expr) -> bool {
    use std::ops::ControlFlow;
    let mut found = false;
    let _ = visit_expr(expr, &mut |e| {
        if aggregate_name(e).is_some() {
            found = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    found
}

/// Calls `visit` on `expr` and the expressions in it: in all forms that can be bound, but not in sub-queries.
pub fn visit_expr(
    expr: &ast::Expr,
    visit: &mut dyn FnMut(&ast::Expr) -> std::ops::ControlFlow<()>,
) -> std::ops::ControlFlow<()> {
    use ast::Expr as E;
    visit(expr)?;
    let mut children: Vec<&ast::Expr> = vec![];
    match expr {
        E::Nested(e)
        | E::IsNull(e)
        | E::IsNotNull(e)
        | E::IsTrue(e)
        | E::IsNotTrue(e)
        | E::IsFalse(e)
        | E::IsNotFalse(e)
        | E::IsUnknown(e)
        | E::IsNotUnknown(e)
        | E::UnaryOp { expr: e, .. }
        | E::Cast { expr: e, .. }
        | E::Extract { expr: e, .. }
        | E::Ceil { expr: e, .. }
        | E::Floor { expr: e, .. }
        | E::Prefixed { value: e, .. } => children.push(e),
        E::Interval(interval) => children.push(&interval.value),
        E::CompoundFieldAccess { root, access_chain } => {
            children.push(root);
            children.extend(access_chain.iter().filter_map(|access| match access {
                ast::AccessExpr::Subscript(ast::Subscript::Index { index }) => Some(index),
                _ => None,
            }));
        }
        E::Overlay {
            expr,
            overlay_what,
            overlay_from,
            overlay_for,
        } => {
            children.extend([expr.as_ref(), overlay_what.as_ref(), overlay_from.as_ref()]);
            children.extend(overlay_for.as_deref());
        }
        E::InUnnest { expr, array_expr, .. } => children.extend([expr.as_ref(), array_expr.as_ref()]),
        E::RLike { expr, pattern, .. } | E::ILike { expr, pattern, .. } => {
            children.extend([expr.as_ref(), pattern.as_ref()]);
        }
        E::BinaryOp { left, right, .. } | E::IsDistinctFrom(left, right) | E::IsNotDistinctFrom(left, right) => {
            children.extend([left.as_ref(), right.as_ref()]);
        }
        E::Between { expr, low, high, .. } => children.extend([expr.as_ref(), low.as_ref(), high.as_ref()]),
        E::InList { expr, list, .. } => {
            children.push(expr);
            children.extend(list);
        }
        E::Like { expr, pattern, .. } | E::SimilarTo { expr, pattern, .. } => {
            children.extend([expr.as_ref(), pattern.as_ref()]);
        }
        E::Position { expr, r#in } => children.extend([expr.as_ref(), r#in.as_ref()]),
        E::Substring {
            expr,
            substring_from,
            substring_for,
            ..
        } => {
            children.push(expr);
            children.extend(substring_from.as_deref());
            children.extend(substring_for.as_deref());
        }
        E::Trim {
            expr,
            trim_what,
            trim_characters,
            ..
        } => {
            children.push(expr);
            children.extend(trim_what.as_deref());
            children.extend(trim_characters.iter().flatten());
        }
        E::Case {
            operand,
            conditions,
            else_result,
            ..
        } => {
            children.extend(operand.as_deref());
            children.extend(conditions.iter().flat_map(|c| [&c.condition, &c.result]));
            children.extend(else_result.as_deref());
        }
        E::Function(f) => {
            if let FunctionArguments::List(list) = &f.args {
                children.extend(list.args.iter().filter_map(argument));
            }
        }
        E::Tuple(items) => children.extend(items),
        E::Array(array) => children.extend(&array.elem),
        _ => {}
    }
    children.into_iter().try_for_each(|c| visit_expr(c, visit))
}

fn argument(arg: &FunctionArg) -> Option<&ast::Expr> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e),
        FunctionArg::Named {
            arg: FunctionArgExpr::Expr(e),
            ..
        } => Some(e),
        _ => None,
    }
}

/// An aggregate over expressions of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BoundCall {
    function: String,
    args: Vec<Expr>,
    distinct: bool,
    filter: Option<Expr>,
    ty: flott_core::LogicalType,
    detail: CallDetail,
}

/// Binds SELECT and HAVING of a grouping query: over the keys, then the aggregates found on the way.
pub struct Grouping<'a> {
    input: &'a ExprScope,
    keys: Vec<Expr>,
    sets: SetFunctions,
    window: Option<&'a GroupWindow>,
    calls: RefCell<Vec<BoundCall>>,
    /// Whether there is a GROUP BY: without one, a result may have seen no row.
    grouped: bool,
}

impl<'a> Grouping<'a> {
    /// Groups `input` by the bound `keys`, which differ, in `sets` of them; `window` is the group window among them.
    pub fn new(
        input: &'a ExprScope,
        keys: Vec<Expr>,
        grouped: bool,
        sets: SetFunctions,
        window: Option<&'a GroupWindow>,
    ) -> Self {
        Self {
            input,
            keys,
            sets,
            window,
            calls: RefCell::default(),
            grouped,
        }
    }

    /// Binds an expression over keys and aggregates.
    ///
    /// # Errors
    /// If it uses a column that is no key, outside of an aggregate.
    pub fn bind(&self, expr: &ast::Expr) -> SqlResult<Expr> {
        bind_expr(expr, self)
    }

    fn aggregate(&self, function: &ast::Function) -> SqlResult<Expr> {
        let name = function_name(function)?;
        if let Some(why) = missing(&name) {
            let names = aggregate_names();
            return Err(SqlError::new(Step::Unsupported, format!("the aggregate {name} {why}"))
                .remedy(format!("supported are {}", names.join(", "))));
        }
        let parts = CallParts::bind(&name, function, &|e| self.input.bind(e))?;
        let filter = match &function.filter {
            Some(filter) => Some(condition(self.input.bind(filter)?, "FILTER", span_of(filter))?),
            None => None,
        };
        let may_be_empty = !self.grouped || filter.is_some();
        let ty = aggregate_type(&name, &parts, may_be_empty)?;
        let register = |name: &str, parts: CallParts, ty: LogicalType| {
            self.register(BoundCall {
                // Extreme values and distinct ones are the same set.
                distinct: parts.distinct && !matches!(name, "MIN" | "MAX"),
                function: name.to_owned(),
                args: parts.args,
                filter: filter.clone(),
                ty,
                detail: parts.detail,
            })
        };
        let made = composed(&name, &parts, &ty, &mut |name, parts| {
            let ty = aggregate_type(name, &parts, may_be_empty)?;
            Ok(register(name, parts, ty))
        })?;
        Ok(made.unwrap_or_else(|| register(&name, parts, ty)))
    }

    fn register(&self, call: BoundCall) -> Expr {
        let mut calls = self.calls.borrow_mut();
        let ty = call.ty.clone();
        let position = calls.iter().position(|c| *c == call).unwrap_or_else(|| {
            calls.push(call);
            calls.len() - 1
        });
        Expr::input(self.first_call() + position, ty)
    }

    /// Position of the first aggregate: behind the keys, and the set's number where there are sets.
    fn first_call(&self) -> usize {
        self.keys.len() + usize::from(!self.sets.sets.is_empty())
    }

    /// A key of the result; NULL in rows of sets that have it not.
    fn key(&self, position: usize) -> Expr {
        let ty = self.keys[position].ty();
        Expr::input(position, ty.with_nullable(ty.nullable || !self.sets.always(position)))
    }

    /// GROUPING, GROUPING_ID, GROUP_ID, and auxiliary functions of the group window.
    fn group_function(&self, function: &ast::Function) -> SqlResult<Option<Expr>> {
        let name = function_name(function)?;
        if let Some(window) = self.window
            && let Some(property) = window.auxiliary(function, self.input)?
        {
            let key = self.keys.iter().position(|k| *k == property);
            return Ok(key.map(|k| self.key(k)));
        }
        match name.as_str() {
            "GROUP_ID" => Ok(Some(self.sets.group_id())),
            "GROUPING" | "GROUPING_ID" => {
                let FunctionArguments::List(list) = &function.args else {
                    return Ok(None);
                };
                let mut keys = vec![];
                for arg in list.args.iter().filter_map(argument) {
                    let bound = self.input.bind(arg)?;
                    let Some(key) = self.keys.iter().position(|k| *k == bound) else {
                        return Err(SqlError::new(
                            Step::Type,
                            format!("{name} takes columns of GROUP BY, but '{arg}' is none"),
                        )
                        .at_span(span_of(arg))
                        .remedy("add it to GROUP BY"));
                    };
                    keys.push(key);
                }
                if keys.is_empty() {
                    return Err(SqlError::new(Step::Type, format!("{name} needs a column of GROUP BY"))
                        .remedy(format!("write {name}(column)")));
                }
                let number = Expr::input(self.keys.len(), LogicalType::not_null(TypeKind::BigInt));
                self.sets.grouping(&keys, &number).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The aggregation over `rel`, whose columns the input scope describes. `results` are the bound SELECT items with
    /// their names, used to name keys and aggregates.
    pub fn into_rel(self, rel: Rel, results: &[(String, Expr)]) -> Rel {
        let first_call = self.first_call();
        let Self { keys, calls, sets, .. } = self;
        let calls = calls.into_inner();
        let name_of = |position: usize| {
            results
                .iter()
                .find(|(_, e)| matches!(e, Expr::InputRef { index, .. } if *index == position))
                .map(|(n, _)| n.clone())
        };
        let mut columns: Vec<(String, Expr)> = vec![];
        for (i, key) in keys.iter().enumerate() {
            let name = match key {
                Expr::InputRef { index, .. } => rel.fields[*index].name.clone(),
                _ => name_of(i).unwrap_or_else(|| format!("$f{i}")),
            };
            columns.push((name, key.clone()));
        }
        let mut taken: BTreeSet<String> = columns.iter().map(|(n, _)| n.clone()).collect();
        let mut column_of =
            |expr: Expr, columns: &mut Vec<(String, Expr)>| match columns.iter().position(|(_, e)| *e == expr) {
                Some(i) => i,
                None => {
                    let name = match &expr {
                        Expr::InputRef { index, .. } if taken.insert(rel.fields[*index].name.clone()) => {
                            rel.fields[*index].name.clone()
                        }
                        _ => format!("$f{}", columns.len()),
                    };
                    columns.push((name, expr));
                    columns.len() - 1
                }
            };
        let mut agg_calls = vec![];
        for (i, call) in calls.into_iter().enumerate() {
            let position = first_call + i;
            let args = call.args.into_iter().map(|a| column_of(a, &mut columns)).collect();
            let filter = call.filter.map(|f| column_of(f, &mut columns));
            agg_calls.push(AggCall {
                function: call.function,
                args,
                distinct: call.distinct,
                filter,
                ty: call.ty,
                detail: call.detail,
                name: name_of(position).unwrap_or_else(|| format!("$f{position}")),
            });
        }
        let input = Rel::calc(rel, columns, None);
        if sets.sets.is_empty() {
            return aggregate(input, (0..keys.len()).collect(), agg_calls);
        }
        let (input, keys) = expand(input, keys.len(), &sets);
        aggregate(input, keys, agg_calls)
    }
}

/// Each row of `input` once per set; gives the columns to group by: the first `keys` ones, those that some set has not as
/// copies, and the set's number.
fn expand(input: Rel, keys: usize, sets: &SetFunctions) -> (Rel, Vec<usize>) {
    let width = input.fields.len();
    let copied: Vec<usize> = (0..keys).filter(|k| !sets.always(*k)).collect();
    let mut fields = input.fields.clone();
    fields.extend(copied.iter().map(|&k| {
        let field = &input.fields[k];
        RelField::new(field.name.clone(), field.ty.with_nullable(true))
    }));
    fields.push(RelField::new("$e", LogicalType::not_null(TypeKind::BigInt)));
    let of_copied = |set: &ExpandSet| ExpandSet {
        has: copied.iter().map(|&k| set.has[k]).collect(),
        id: set.id,
    };
    let place = |key: usize| match copied.iter().position(|c| *c == key) {
        Some(copy) => width + copy,
        None => key,
    };
    let by: Vec<usize> = (0..keys).map(place).chain([width + copied.len()]).collect();
    let expanded = Rel {
        op: RelOp::Expand {
            input: Box::new(input),
            sets: sets.sets.iter().map(of_copied).collect(),
            keys: copied,
        },
        fields,
    };
    (expanded, by)
}

/// The aggregation of `input`: keys first, then the calls.
pub fn aggregate(input: Rel, keys: Vec<usize>, calls: Vec<AggCall>) -> Rel {
    let window = crate::rules::window_of(&input.fields, &keys);
    let mut fields: Vec<_> = keys
        .iter()
        .map(|&k| {
            let field = &input.fields[k];
            let of_window = field.window.is_some_and(|m| Some(m.id) == window);
            crate::rel::RelField {
                time: field.time.filter(|_| of_window),
                ..field.clone()
            }
        })
        .collect();
    fields.extend(
        calls
            .iter()
            .map(|c| crate::rel::RelField::new(c.name.clone(), c.ty.clone())),
    );
    Rel {
        op: RelOp::Aggregate {
            input: Box::new(input),
            keys,
            calls,
        },
        fields,
    }
}

impl super::over::OverInput for Grouping<'_> {
    fn bind_over(&self, expr: &ast::Expr) -> SqlResult<Expr> {
        self.bind(expr)
    }
}

impl Resolver for Grouping<'_> {
    fn intercept(&self, expr: &ast::Expr) -> SqlResult<Option<Expr>> {
        if let ast::Expr::Function(function) = expr
            && aggregate_name(expr).is_some()
        {
            return self.aggregate(function).map(Some);
        }
        if let ast::Expr::Function(function) = expr
            && let Some(bound) = self.group_function(function)?
        {
            return Ok(Some(bound));
        }
        if super::scope::is_current_database(expr) {
            return self.input.bind(expr).map(Some);
        }
        if contains_aggregate(expr) {
            return Ok(None);
        }
        let Ok(bound) = self.input.bind(expr) else {
            return Ok(None);
        };
        let key = self.keys.iter().position(|k| *k == bound);
        Ok(key.map(|i| self.key(i)))
    }

    fn column(&self, parts: &[Ident]) -> SqlResult<Expr> {
        // An unknown column is reported as such first.
        self.input.column(parts)?;
        let what = match self.grouped {
            true => "is neither in GROUP BY nor inside of an aggregate",
            false => "stands beside an aggregate, but there is no GROUP BY",
        };
        Err(SqlError::new(Step::Type, format!("'{}' {what}", dotted(parts)))
            .at_span(parts[0].span)
            .remedy("add it to GROUP BY, or aggregate it (for example MAX)"))
    }
}
