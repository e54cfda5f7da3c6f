//! OVER: which calls of a SELECT list look at the rows before a row, over which window.

use super::calls::{CallParts, aggregate_type, composed};
use super::expr::{Resolver, bind_expr, function_name, span_of};
use super::scope::ExprScope;
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::{Expr, Literal};
use crate::nodes::{CallDetail, OverFrame};
use crate::rel::{AggCall, OverAggregate, Rel, RelField, RelOp};
use flott_core::{LogicalType, TypeKind, suggest};
use sqlparser::ast::{
    self, Ident, NamedWindowDefinition, NamedWindowExpr, SelectItem, WindowFrameBound, WindowFrameUnits, WindowSpec,
    WindowType,
};
use sqlparser::tokenizer::Span;
use std::cell::RefCell;
use std::ops::ControlFlow;

/// Functions that run OVER a window.
const FUNCTIONS: &[&str] = &[
    "COUNT",
    "SUM",
    "AVG",
    "MIN",
    "MAX",
    "FIRST_VALUE",
    "LAST_VALUE",
    "LAG",
    "LISTAGG",
    "ARRAY_AGG",
    "COLLECT",
    "PERCENTILE",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "STDDEV",
    "VAR_POP",
    "VAR_SAMP",
    "VARIANCE",
    "ROW_NUMBER",
    "RANK",
    "DENSE_RANK",
];

/// Whether a SELECT item calls a function OVER a window, sub-queries apart.
pub fn item_has_over(item: &SelectItem) -> bool {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
        return false;
    };
    let mut found = false;
    let _ = super::aggregate::visit_expr(expr, &mut |e| match e {
        ast::Expr::Function(f) if f.over.is_some() => {
            found = true;
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found
}

/// A window, bound.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    partition: Vec<Expr>,
    order: Expr,
    order_span: Span,
    frame: OverFrame,
    /// Whether types say that the frame may have no row. Its current row is always there, but Flink believes so only of frames
    /// whose ends are no expressions.
    may_be_empty: bool,
}

impl Window {
    fn is_same(&self, other: &Self) -> bool {
        (&self.partition, &self.order, self.frame) == (&other.partition, &other.order, other.frame)
    }
}

/// A call over the input.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    function: String,
    args: Vec<Expr>,
    distinct: bool,
    ty: LogicalType,
    detail: CallDetail,
}

/// What OVER looks at: the columns of FROM, or the groups of a grouping.
pub trait OverInput: Resolver {
    /// Binds an expression over it.
    ///
    /// # Errors
    /// If a name, function or type is wrong.
    fn bind_over(&self, expr: &ast::Expr) -> SqlResult<Expr>;
}

impl OverInput for ExprScope {
    fn bind_over(&self, expr: &ast::Expr) -> SqlResult<Expr> {
        self.bind(expr)
    }
}

/// Positions of the calls while their number and that of the input's columns are not known: from here on.
const FIRST_CALL: usize = 1 << 32;

/// Binds a SELECT list with OVER: behind the input's columns come the calls found on the way.
pub struct Overs<'a> {
    input: &'a dyn OverInput,
    named: &'a [NamedWindowDefinition],
    window: RefCell<Option<Window>>,
    calls: RefCell<Vec<Call>>,
}

impl<'a> Overs<'a> {
    /// Over the columns of `input`; `named` are the windows of the WINDOW clause.
    pub fn new(input: &'a dyn OverInput, named: &'a [NamedWindowDefinition]) -> Self {
        Self {
            input,
            named,
            window: RefCell::default(),
            calls: RefCell::default(),
        }
    }

    /// Binds an expression of the SELECT list.
    ///
    /// # Errors
    /// If a name, function, type or window is wrong.
    pub fn bind(&self, expr: &ast::Expr) -> SqlResult<Expr> {
        bind_expr(expr, self)
    }

    fn call(&self, function: &ast::Function, over: &WindowType) -> SqlResult<Expr> {
        let name = function_name(function)?;
        if !FUNCTIONS.contains(&name.as_str()) {
            let hint = suggest::hint(&name, FUNCTIONS.iter().copied());
            let text = match name.as_str() {
                "LEAD" | "NTILE" | "PERCENT_RANK" | "CUME_DIST" => {
                    format!("{name}(…) OVER needs rows that come later, which a stream does not have, as in Flink")
                }
                _ => format!("{name}(…) OVER is not supported yet{hint}"),
            };
            return Err(SqlError::new(Step::Unsupported, text)
                .remedy(format!("supported OVER a window are {}", FUNCTIONS.join(", "))));
        }
        if function.filter.is_some() {
            return Err(
                SqlError::new(Step::Type, format!("{name} takes no FILTER before OVER, as in Flink"))
                    .remedy("aggregate CASE WHEN condition THEN value END"),
            );
        }
        let parts = CallParts::bind(&name, function, &|e| self.input.bind_over(e))?;
        let is_rank = matches!(name.as_str(), "ROW_NUMBER" | "RANK" | "DENSE_RANK");
        if is_rank && !parts.args.is_empty() {
            return Err(SqlError::new(Step::Type, format!("{name} takes no arguments")));
        }
        let window = self.window_of(over, &name)?;
        let may_be_empty = window.may_be_empty && name != "LISTAGG";
        let ty = match is_rank {
            true => LogicalType::not_null(TypeKind::BigInt),
            false => aggregate_type(&name, &parts, may_be_empty)?,
        };
        self.check_window(window)?;
        let made = composed(&name, &parts, &ty, &mut |name, parts| {
            let ty = aggregate_type(name, &parts, may_be_empty)?;
            Ok(self.register(name, parts, ty))
        })?;
        Ok(made.unwrap_or_else(|| self.register(&name, parts, ty)))
    }

    fn register(&self, name: &str, parts: CallParts, ty: LogicalType) -> Expr {
        let call = Call {
            // Extreme values and distinct ones are the same set.
            distinct: parts.distinct && !matches!(name, "MIN" | "MAX"),
            function: name.to_owned(),
            args: parts.args,
            ty: ty.clone(),
            detail: parts.detail,
        };
        let mut calls = self.calls.borrow_mut();
        let position = calls.iter().position(|c| *c == call).unwrap_or_else(|| {
            calls.push(call);
            calls.len() - 1
        });
        Expr::input(FIRST_CALL + position, ty)
    }

    /// All calls of a query look through one window.
    fn check_window(&self, window: Window) -> SqlResult<()> {
        let mut first = self.window.borrow_mut();
        match first.as_ref() {
            Some(first) if !first.is_same(&window) => Err(SqlError::new(
                Step::Unsupported,
                "all OVER windows of a query must be the same (PARTITION BY, ORDER BY and frame), as in Flink",
            )
            .remedy("compute the others in a sub-query")),
            _ => {
                *first = Some(window);
                Ok(())
            }
        }
    }

    fn window_of(&self, over: &WindowType, function: &str) -> SqlResult<Window> {
        match over {
            WindowType::WindowSpec(spec) => self.window(spec, function),
            WindowType::NamedWindow(name) => self.window(self.named_window(name)?, function),
        }
    }

    fn named_window(&self, name: &Ident) -> SqlResult<&'a WindowSpec> {
        let mut wanted = name;
        for _ in self.named {
            match self.named.iter().find(|w| w.0.value == wanted.value) {
                Some(NamedWindowDefinition(_, NamedWindowExpr::WindowSpec(spec))) => return Ok(spec),
                Some(NamedWindowDefinition(_, NamedWindowExpr::NamedWindow(other))) => wanted = other,
                None => {
                    let hint = suggest::hint(&wanted.value, self.named.iter().map(|w| w.0.value.as_str()));
                    let text = format!("there is no window '{}' in the WINDOW clause{hint}", wanted.value);
                    return Err(SqlError::new(Step::Name, text).at_span(wanted.span));
                }
            }
        }
        let text = format!("the window '{}' is defined by itself in the WINDOW clause", name.value);
        Err(SqlError::new(Step::Name, text)
            .at_span(name.span)
            .remedy("write out one of the windows: WINDOW w AS (PARTITION BY … ORDER BY …)"))
    }

    fn window(&self, spec: &WindowSpec, function: &str) -> SqlResult<Window> {
        if let Some(name) = &spec.window_name {
            return Err(
                SqlError::new(Step::Unsupported, "a window cannot be refined where it is used")
                    .at_span(name.span)
                    .remedy("write OVER name, or the whole window"),
            );
        }
        let mut partition = vec![];
        for expr in &spec.partition_by {
            partition.push(self.input.bind_over(expr)?);
        }
        let (order, order_span) = self.order(spec, function)?;
        let frame = match (function, &spec.window_frame) {
            ("ROW_NUMBER", None) => OverFrame::UnboundedRows,
            ("ROW_NUMBER" | "RANK" | "DENSE_RANK" | "LAG", Some(_)) => {
                return Err(SqlError::new(
                    Step::Type,
                    format!("{function} takes no ROWS and no RANGE in its window"),
                ));
            }
            (_, None) => OverFrame::UnboundedRange,
            (_, Some(frame)) => bound_frame(frame, self.input)?,
        };
        let start = spec.window_frame.as_ref().map(|frame| &frame.start_bound);
        Ok(Window {
            partition,
            order,
            order_span,
            frame,
            may_be_empty: matches!(start, Some(WindowFrameBound::Preceding(Some(_)))),
        })
    }

    /// What the window is ordered by, and where it stands.
    fn order(&self, spec: &WindowSpec, function: &str) -> SqlResult<(Expr, Span)> {
        let is_rank = matches!(function, "ROW_NUMBER" | "RANK" | "DENSE_RANK");
        let descends = |o: &ast::OrderByExpr| o.options.asc == Some(false);
        if is_rank && let Some(wrong) = top_n_place(&spec.order_by, descends) {
            return Err(SqlError::new(
                Step::Unsupported,
                format!(
                    "Top-N and deduplication are not supported yet: {function}() numbers rows by one column, ascending"
                ),
            )
            .at_span(wrong)
            .remedy(
                "where the one greatest or last value of each partition is wanted, GROUP BY the partition's columns with MAX(…) or \
                 LAST_VALUE(…)",
            ));
        }
        let [order] = spec.order_by.as_slice() else {
            return Err(wrong_order(
                "an OVER window on a stream is ordered by one column, as in Flink",
            ));
        };
        let span = span_of(&order.expr);
        if order.options.asc == Some(false) {
            return Err(wrong_order("an OVER window on a stream is ordered ascending, as in Flink").at_span(span));
        }
        Ok((self.input.bind_over(&order.expr)?, span))
    }

    /// What was found, free of the input.
    pub fn into_windows(self) -> OverCalls {
        OverCalls {
            window: self.window.into_inner(),
            calls: self.calls.into_inner(),
        }
    }
}

/// The calls OVER a window of a SELECT list.
pub struct OverCalls {
    window: Option<Window>,
    calls: Vec<Call>,
}

impl OverCalls {
    /// Whether there are any.
    pub fn is_any(&self) -> bool {
        self.window.is_some()
    }

    /// The OVER aggregation of `rel`, whose columns the input describes, and the SELECT list above it.
    ///
    /// # Errors
    /// If the window is bounded and not ordered by time.
    pub fn into_rel(self, rel: Rel, items: Vec<(String, Expr)>) -> SqlResult<Rel> {
        let Some(window) = self.window else {
            return Ok(Rel::calc(rel, items, None));
        };
        let time = match &window.order {
            Expr::InputRef { index, .. } => rel.fields[*index].time,
            _ => None,
        };
        let wrong = |text: &str| Err(wrong_order(text).at_span(window.order_span));
        if time.is_none() {
            match &window.order.ty().kind {
                kind @ (TypeKind::Row(_) | TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_)) => {
                    return wrong(&format!("values of {kind} have no order"));
                }
                _ if window.frame.is_bounded() => {
                    return wrong("an OVER window with a bound is ordered by a time attribute, as in Flink");
                }
                _ => {}
            }
        }
        let width = rel.fields.len();
        let mut columns = rel.identity();
        let mut column_of = |expr: Expr| match expr {
            Expr::InputRef { index, .. } => index,
            expr => match columns.iter().position(|(_, e)| *e == expr) {
                Some(i) => i,
                None => {
                    columns.push((format!("${}", columns.len()), expr));
                    columns.len() - 1
                }
            },
        };
        let partition = window.partition.into_iter().map(&mut column_of).collect();
        let order = column_of(window.order);
        let calls: Vec<AggCall> = (self.calls.into_iter().enumerate())
            .map(|(i, call)| AggCall {
                function: call.function,
                args: call.args.into_iter().map(&mut column_of).collect(),
                distinct: call.distinct,
                filter: None,
                ty: call.ty,
                detail: call.detail,
                name: format!("w0$o{i}"),
            })
            .collect();
        let input = match columns.len() == width {
            true => rel,
            false => Rel::calc(rel, columns, None),
        };
        let first_call = input.fields.len();
        let fields = input
            .fields
            .iter()
            // Updates have no time attribute.
            .map(|f| RelField {
                time: f.time.filter(|_| time.is_some()),
                ..f.clone()
            })
            .chain(calls.iter().map(|c| RelField::new(c.name.clone(), c.ty.clone())))
            .collect();
        let over = Rel {
            op: RelOp::Over(OverAggregate {
                input: Box::new(input),
                partition,
                order,
                frame: window.frame,
                calls,
            }),
            fields,
        };
        let place = |i: usize| i.checked_sub(FIRST_CALL).map_or(i, |call| first_call + call);
        let behind = |expr: &Expr| expr.map_inputs(&mut |i, ty| Expr::input(place(i), ty.clone()));
        let items = items.iter().map(|(name, expr)| (name.clone(), behind(expr))).collect();
        Ok(Rel::calc(over, items, None))
    }
}

/// The place of what makes a numbering a Top-N that the aggregation OVER cannot do.
fn top_n_place(order_by: &[ast::OrderByExpr], descends: impl Fn(&ast::OrderByExpr) -> bool) -> Option<Span> {
    let wrong = match order_by {
        [] => None,
        [only] => descends(only).then_some(only),
        [_, second, ..] => Some(second),
    };
    wrong.map(|o| span_of(&o.expr))
}

fn wrong_order(text: &str) -> SqlError {
    SqlError::new(Step::Unsupported, text)
        .remedy(
            "ORDER BY the column that has the table's WATERMARK, or a column AS PROCTIME(); any column where the frame has no bound",
        )
}

fn bound_frame(frame: &ast::WindowFrame, scope: &dyn OverInput) -> SqlResult<OverFrame> {
    let unsupported = |text: &str| {
        SqlError::new(Step::Unsupported, text.to_owned())
            .remedy("write ROWS or RANGE BETWEEN … PRECEDING AND CURRENT ROW")
    };
    if !matches!(frame.end_bound, None | Some(WindowFrameBound::CurrentRow)) {
        return Err(unsupported(
            "an OVER window on a stream ends at the CURRENT ROW, as in Flink",
        ));
    }
    let size = match &frame.start_bound {
        WindowFrameBound::CurrentRow => None,
        WindowFrameBound::Preceding(None) => {
            return match frame.units {
                WindowFrameUnits::Rows => Ok(OverFrame::UnboundedRows),
                WindowFrameUnits::Range => Ok(OverFrame::UnboundedRange),
                WindowFrameUnits::Groups => Err(unsupported("OVER windows have no GROUPS, as in Flink")),
            };
        }
        WindowFrameBound::Preceding(Some(size)) => Some((scope.bind_over(size)?, span_of(size))),
        WindowFrameBound::Following(_) => {
            return Err(unsupported(
                "an OVER window on a stream has no FOLLOWING rows, as in Flink",
            ));
        }
    };
    let literal = size.as_ref().map(|(size, _)| size.as_literal());
    let place = size.as_ref().map(|(_, span)| *span);
    let wrong = |text: &str| {
        let error = SqlError::new(Step::Type, text.to_owned());
        match place {
            Some(span) => error.at_span(span),
            None => error,
        }
    };
    match (frame.units, literal) {
        (WindowFrameUnits::Rows, None) => Ok(OverFrame::Rows { preceding: 0 }),
        (WindowFrameUnits::Range, None) => Ok(OverFrame::Range { preceding_ms: 0 }),
        (WindowFrameUnits::Rows, Some(Some(Literal::Integer(n)))) if *n >= 0 => Ok(OverFrame::Rows {
            preceding: n.unsigned_abs(),
        }),
        (WindowFrameUnits::Range, Some(Some(Literal::IntervalMs(ms)))) if *ms >= 0 => {
            Ok(OverFrame::Range { preceding_ms: *ms })
        }
        (WindowFrameUnits::Rows, Some(_)) => Err(wrong("ROWS … PRECEDING takes a whole number of rows, as a constant")),
        (WindowFrameUnits::Range, Some(_)) => Err(wrong(
            "RANGE … PRECEDING takes a constant interval of days to seconds, such as INTERVAL '10' MINUTE",
        )),
        (WindowFrameUnits::Groups, _) => Err(unsupported("OVER windows have no GROUPS, as in Flink")),
    }
}

impl Resolver for Overs<'_> {
    fn intercept(&self, expr: &ast::Expr) -> SqlResult<Option<Expr>> {
        match expr {
            ast::Expr::Function(function) => match &function.over {
                Some(over) => self.call(function, over).map(Some),
                None => self.input.intercept(expr),
            },
            expr => self.input.intercept(expr),
        }
    }

    fn column(&self, parts: &[Ident]) -> SqlResult<Expr> {
        self.input.column(parts)
    }
}
