//! OVER: which calls of a SELECT list look at the rows before a row, over which window.

use super::expr::{Resolver, bind_expr, function_error, function_name, span_of};
use super::scope::ExprScope;
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::{Expr, Literal, resolve_aggregate};
use crate::nodes::OverFrame;
use crate::rel::{AggCall, OverAggregate, Rel, RelField, RelOp};
use flott_core::{LogicalType, TypeKind, suggest};
use sqlparser::ast::{
    self, DuplicateTreatment, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, NamedWindowDefinition,
    NamedWindowExpr, SelectItem, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};
use std::cell::RefCell;
use std::ops::ControlFlow;

/// Functions that run OVER a window.
const FUNCTIONS: &[&str] = &["COUNT", "SUM", "AVG", "MIN", "MAX", "ROW_NUMBER", "RANK", "DENSE_RANK"];

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
    /// Column of the time attribute.
    order: usize,
    frame: OverFrame,
}

/// A call over the input.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    function: String,
    args: Vec<Expr>,
    distinct: bool,
    ty: LogicalType,
}

/// Binds a SELECT list with OVER: behind the input's columns come the calls found on the way.
pub struct Overs<'a> {
    input: &'a ExprScope,
    named: &'a [NamedWindowDefinition],
    window: RefCell<Option<Window>>,
    calls: RefCell<Vec<Call>>,
}

impl<'a> Overs<'a> {
    /// Over the columns of `input`; `named` are the windows of the WINDOW clause.
    pub fn new(input: &'a ExprScope, named: &'a [NamedWindowDefinition]) -> Self {
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
        let FunctionArguments::List(list) = &function.args else {
            return Err(SqlError::new(Step::Syntax, format!("{name} needs parentheses")));
        };
        let mut args = vec![];
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => args.push(self.input.bind(e)?),
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if name == "COUNT" => {}
                _ => return Err(SqlError::new(Step::Type, format!("{name} does not take '{arg}'"))),
            }
        }
        let is_rank = matches!(name.as_str(), "ROW_NUMBER" | "RANK" | "DENSE_RANK");
        if is_rank && !args.is_empty() {
            return Err(SqlError::new(Step::Type, format!("{name} takes no arguments")));
        }
        let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
        let ty = if is_rank {
            LogicalType::not_null(TypeKind::BigInt)
        } else {
            let types: Vec<_> = args.iter().map(|a| a.ty().clone()).collect();
            resolve_aggregate(&name, &types, distinct).map_err(|e| function_error(&e))?
        };
        self.check_window(self.window_of(over, &name)?)?;
        let call = Call {
            // Extreme values and distinct ones are the same set.
            distinct: distinct && !matches!(name.as_str(), "MIN" | "MAX"),
            function: name,
            args,
            ty: ty.clone(),
        };
        let mut calls = self.calls.borrow_mut();
        let position = calls.iter().position(|c| *c == call).unwrap_or_else(|| {
            calls.push(call);
            calls.len() - 1
        });
        Ok(Expr::input(self.input.fields().len() + position, ty))
    }

    /// All calls of a query look through one window.
    fn check_window(&self, window: Window) -> SqlResult<()> {
        let mut first = self.window.borrow_mut();
        match first.as_ref() {
            Some(first) if *first != window => Err(SqlError::new(
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
        match self.named.iter().find(|w| w.0.value == name.value) {
            Some(NamedWindowDefinition(_, NamedWindowExpr::WindowSpec(spec))) => Ok(spec),
            Some(NamedWindowDefinition(_, NamedWindowExpr::NamedWindow(other))) if other.value != name.value => {
                self.named_window(other)
            }
            _ => {
                let hint = suggest::hint(&name.value, self.named.iter().map(|w| w.0.value.as_str()));
                Err(SqlError::new(
                    Step::Name,
                    format!("there is no window '{}' in the WINDOW clause{hint}", name.value),
                )
                .at_span(name.span))
            }
        }
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
            partition.push(self.input.bind(expr)?);
        }
        let order = self.order(spec)?;
        let frame = match (function, &spec.window_frame) {
            ("ROW_NUMBER", None) => OverFrame::UnboundedRows,
            ("ROW_NUMBER" | "RANK" | "DENSE_RANK", Some(_)) => {
                return Err(SqlError::new(
                    Step::Type,
                    format!("{function} takes no ROWS and no RANGE in its window"),
                ));
            }
            (_, None) => OverFrame::UnboundedRange,
            (_, Some(frame)) => bound_frame(frame, self.input)?,
        };
        Ok(Window {
            partition,
            order,
            frame,
        })
    }

    /// The time attribute that the window is ordered by.
    fn order(&self, spec: &WindowSpec) -> SqlResult<usize> {
        let wrong = |text: &str| {
            SqlError::new(Step::Unsupported, text)
                .remedy("ORDER BY the column that has the table's WATERMARK, or a column AS PROCTIME()")
        };
        let [order] = spec.order_by.as_slice() else {
            return Err(wrong("an OVER window on a stream is ordered by one time attribute"));
        };
        if order.options.asc == Some(false) {
            return Err(
                wrong("an OVER window on a stream is ordered in ascending time, as in Flink")
                    .at_span(span_of(&order.expr)),
            );
        }
        match self.input.bind(&order.expr)? {
            Expr::InputRef { index, .. } if self.input.fields()[index].time.is_some() => Ok(index),
            _ => Err(wrong("an OVER window on a stream is ordered by a time attribute").at_span(span_of(&order.expr))),
        }
    }

    /// The OVER aggregation of `rel`, whose columns the input scope describes, and the SELECT list above it.
    pub fn into_rel(self, rel: Rel, items: Vec<(String, Expr)>) -> Rel {
        let Some(window) = self.window.into_inner() else {
            return Rel::calc(rel, items, None);
        };
        let width = self.input.fields().len();
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
        let calls: Vec<AggCall> = (self.calls.into_inner().into_iter().enumerate())
            .map(|(i, call)| AggCall {
                function: call.function,
                args: call.args.into_iter().map(&mut column_of).collect(),
                distinct: call.distinct,
                filter: None,
                ty: call.ty,
                name: format!("w0$o{i}"),
            })
            .collect();
        let input = match columns.len() == width {
            true => rel,
            false => Rel::calc(rel, columns, None),
        };
        let shift = input.fields.len() - width;
        let fields = input
            .fields
            .iter()
            .cloned()
            .chain(calls.iter().map(|c| RelField::new(c.name.clone(), c.ty.clone())))
            .collect();
        let over = Rel {
            op: RelOp::Over(OverAggregate {
                input: Box::new(input),
                partition,
                order: window.order,
                frame: window.frame,
                calls,
            }),
            fields,
        };
        let behind =
            |expr: &Expr| expr.map_inputs(&mut |i, ty| Expr::input(if i < width { i } else { i + shift }, ty.clone()));
        let items = items.iter().map(|(name, expr)| (name.clone(), behind(expr))).collect();
        Rel::calc(over, items, None)
    }
}

fn bound_frame(frame: &ast::WindowFrame, scope: &ExprScope) -> SqlResult<OverFrame> {
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
        WindowFrameBound::Preceding(Some(size)) => Some((scope.bind(size)?, span_of(size))),
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
