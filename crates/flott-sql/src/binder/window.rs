//! Window table functions: `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE))`, by position or by name.

use super::Binder;
use super::expr::{bind_expr, function_name, span_of};
use super::scope::{ExprScope, dotted};
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::Literal;
use crate::nodes::{SpecError, WindowPropertyKind, WindowSpec};
use crate::parser::dialect::TABLE_ARGUMENT;
use crate::rel::{Rel, RelField, RelOp, TimeKind, WindowMark};
use flott_core::{LogicalType, TypeKind, suggest};
use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName};
use sqlparser::tokenizer::Span;

const FUNCTIONS: &[&str] = &["TUMBLE", "HOP", "CUMULATE", "SESSION"];

/// Whether a table function of this name is a window function.
pub fn is_window_function(name: &str) -> bool {
    FUNCTIONS.contains(&name)
}

/// Arguments of a window function.
struct Arguments<'a> {
    function: String,
    span: Span,
    args: Vec<(Option<&'a Ident>, &'a ast::Expr)>,
}

impl<'a> Arguments<'a> {
    fn of(function: &'a ast::Function) -> SqlResult<Self> {
        let name = function_name(function)?;
        let span = span_of(&ast::Expr::Function(function.clone()));
        let list = match &function.args {
            FunctionArguments::List(list) => list.args.as_slice(),
            _ => &[],
        };
        Self::new(name, span, list)
    }

    fn new(function: String, span: Span, list: &'a [FunctionArg]) -> SqlResult<Self> {
        let args = list
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Ok((None, e)),
                FunctionArg::Named {
                    name,
                    arg: FunctionArgExpr::Expr(e),
                    ..
                } => Ok((Some(name), e)),
                other => Err(SqlError::new(Step::Syntax, format!("{function} does not take '{other}'")).at_span(span)),
            })
            .collect::<SqlResult<_>>()?;
        Ok(Self { function, span, args })
    }

    /// Arguments in the order of `names`; the last `optional` ones may be missing.
    fn ordered(&self, names: &[&str], optional: usize) -> SqlResult<Vec<Option<&'a ast::Expr>>> {
        let usage = || {
            format!(
                "write {}({})",
                self.function,
                names[..names.len() - optional].join(", ")
            )
        };
        let mut found = vec![None; names.len()];
        for (i, (name, expr)) in self.args.iter().enumerate() {
            let position = match name {
                None => i,
                Some(name) => names
                    .iter()
                    .position(|n| n.eq_ignore_ascii_case(&name.value))
                    .ok_or_else(|| {
                        let hint = suggest::hint(&name.value, names.iter().copied());
                        SqlError::new(
                            Step::Name,
                            format!("{} has no argument '{}'{hint}", self.function, name.value),
                        )
                        .at_span(name.span)
                    })?,
            };
            let Some(slot) = found.get_mut(position) else {
                return Err(SqlError::new(
                    Step::Type,
                    format!("{} takes at most {} arguments", self.function, names.len()),
                )
                .at_span(span_of(expr))
                .remedy(usage()));
            };
            *slot = Some(*expr);
        }
        let needed = &found[..names.len() - optional];
        match needed.iter().position(Option::is_none) {
            Some(i) => Err(
                SqlError::new(Step::Type, format!("{} needs the argument {}", self.function, names[i]))
                    .at_span(self.span)
                    .remedy(usage()),
            ),
            None => Ok(found),
        }
    }
}

impl Binder<'_> {
    /// Binds `TABLE(f(…))`.
    pub(super) fn window_function(&self, expr: &ast::Expr) -> SqlResult<Rel> {
        let ast::Expr::Function(function) = expr else {
            return Err(SqlError::new(Step::Syntax, "TABLE(…) needs a table function")
                .at_span(span_of(expr))
                .remedy("for example TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE))"));
        };
        self.bind_window(&Arguments::of(function)?)
    }

    /// Binds `f(…)` in FROM.
    pub(super) fn window_call(&self, name: &ObjectName, args: &[FunctionArg]) -> SqlResult<Rel> {
        let span = sqlparser::ast::Spanned::span(name);
        self.bind_window(&Arguments::new(name.to_string().to_uppercase(), span, args)?)
    }

    fn bind_window(&self, arguments: &Arguments<'_>) -> SqlResult<Rel> {
        let (data, time, window) = match arguments.function.as_str() {
            "TUMBLE" => {
                let args = arguments.ordered(&["DATA", "TIMECOL", "SIZE", "OFFSET"], 1)?;
                let window = WindowSpec::Tumble {
                    size_ms: length(args[2], &arguments.function)?.unwrap_or_default(),
                    offset_ms: length(args[3], &arguments.function)?.unwrap_or_default(),
                };
                (args[0], args[1], window)
            }
            "HOP" => {
                let args = arguments.ordered(&["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"], 1)?;
                let window = WindowSpec::Hop {
                    slide_ms: length(args[2], &arguments.function)?.unwrap_or_default(),
                    size_ms: length(args[3], &arguments.function)?.unwrap_or_default(),
                    offset_ms: length(args[4], &arguments.function)?.unwrap_or_default(),
                };
                (args[0], args[1], window)
            }
            "CUMULATE" => {
                let args = arguments.ordered(&["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"], 1)?;
                let window = WindowSpec::Cumulate {
                    step_ms: length(args[2], &arguments.function)?.unwrap_or_default(),
                    size_ms: length(args[3], &arguments.function)?.unwrap_or_default(),
                    offset_ms: length(args[4], &arguments.function)?.unwrap_or_default(),
                };
                (args[0], args[1], window)
            }
            "SESSION" => {
                let args = arguments.ordered(&["DATA", "TIMECOL", "GAP"], 0)?;
                let gap_ms = length(args[2], &arguments.function)?.unwrap_or_default();
                (args[0], args[1], WindowSpec::Session { gap_ms })
            }
            name => {
                let hint = suggest::hint(name, FUNCTIONS.iter().copied());
                return Err(
                    SqlError::new(Step::Name, format!("there is no table function '{name}'{hint}"))
                        .at_span(arguments.span),
                );
            }
        };
        window.validate().map_err(|e| wrong_sizes(&e, arguments.span))?;
        let (Some(data), Some(time)) = (data, time) else {
            return Err(SqlError::new(Step::Plan, "arguments of a window function are missing").at_span(arguments.span));
        };
        let input = self.window_input(data)?;
        let partition = partition_of(&input, data, &window)?;
        let time_column = time_column(&input, time, &arguments.function)?;
        let cut = Cut {
            window,
            time_column,
            partition,
            legacy: false,
        };
        Ok(window_rel(input, cut, self.next_window()))
    }

    fn window_input(&self, data: &ast::Expr) -> SqlResult<Rel> {
        match data {
            ast::Expr::Function(f) if f.name.to_string() == TABLE_ARGUMENT => {
                let FunctionArguments::List(list) = &f.args else {
                    return Err(SqlError::new(Step::Plan, "TABLE without a name").at_span(span_of(data)));
                };
                match list.args.first() {
                    Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::CompoundIdentifier(parts)))) => {
                        self.named_relation(&ObjectName::from(parts.clone()), &mut ExprScope::default(), None)
                    }
                    _ => Err(SqlError::new(Step::Plan, "TABLE without a name").at_span(span_of(data))),
                }
            }
            ast::Expr::Subquery(query) => self.subquery(query),
            other => Err(SqlError::new(Step::Syntax, format!("'{other}' is no table argument"))
                .at_span(span_of(other))
                .remedy("write TABLE before the table's name, or a sub-query in parentheses")),
        }
    }
}

/// The error for sizes that do not fit together.
pub(super) fn wrong_sizes(error: &SpecError, span: Span) -> SqlError {
    SqlError::new(Step::Type, error.to_string())
        .at_span(span)
        .remedy("give positive intervals, of a HOP a slide and of a CUMULATE a step that divides the size, and an offset below it")
}

/// The columns of `PARTITION BY`.
fn partition_of(input: &Rel, data: &ast::Expr, window: &WindowSpec) -> SqlResult<Vec<usize>> {
    let ast::Expr::Function(ast::Function {
        args: FunctionArguments::List(list),
        ..
    }) = data
    else {
        return Ok(vec![]);
    };
    let mut partition = vec![];
    for arg in list.args.iter().skip(1) {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Identifier(name))) = arg else {
            continue;
        };
        if !window.is_session() {
            return Err(SqlError::new(
                Step::Unsupported,
                format!("{} takes no PARTITION BY, only SESSION does", window.function()),
            )
            .at_span(name.span)
            .remedy("windows of fixed length are the same for all keys: leave it away and group by the key"));
        }
        partition.push(column_named(input, name, "SESSION")?);
    }
    Ok(partition)
}

/// The position of a column of a window function's table.
fn column_named(input: &Rel, name: &Ident, function: &str) -> SqlResult<usize> {
    input.fields.iter().position(|f| f.name == name.value).ok_or_else(|| {
        let hint = suggest::hint(&name.value, input.fields.iter().map(|f| f.name.as_str()));
        SqlError::new(
            Step::Name,
            format!("there is no column '{}' in {function}'s table{hint}", name.value),
        )
        .at_span(name.span)
    })
}

/// A constant interval in milliseconds.
pub(super) fn length(expr: Option<&ast::Expr>, function: &str) -> SqlResult<Option<i64>> {
    let Some(expr) = expr else { return Ok(None) };
    let bound = bind_expr(expr, &ExprScope::default())?;
    match bound.as_literal() {
        Some(Literal::IntervalMs(ms)) => Ok(Some(*ms)),
        _ => Err(SqlError::new(
            Step::Type,
            format!(
                "{function} needs constant intervals of days to seconds, but this is {}",
                bound.ty()
            ),
        )
        .at_span(span_of(expr))
        .remedy("write for example INTERVAL '1' MINUTE; a month has no fixed length")),
    }
}

/// The column of `DESCRIPTOR(ts)`, which must be a time attribute.
fn time_column(input: &Rel, descriptor: &ast::Expr, function: &str) -> SqlResult<usize> {
    let wrong = || {
        SqlError::new(Step::Syntax, format!("'{descriptor}' is no descriptor of one column"))
            .at_span(span_of(descriptor))
            .remedy("write DESCRIPTOR(column)")
    };
    let ast::Expr::Function(f) = descriptor else {
        return Err(wrong());
    };
    if function_name(f)? != "DESCRIPTOR" {
        return Err(wrong());
    }
    let FunctionArguments::List(list) = &f.args else {
        return Err(wrong());
    };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(column))] = list.args.as_slice() else {
        return Err(wrong());
    };
    let name = match column {
        ast::Expr::Identifier(name) => name,
        ast::Expr::CompoundIdentifier(parts) if parts.len() == 1 => &parts[0],
        ast::Expr::CompoundIdentifier(parts) => {
            return Err(SqlError::new(
                Step::Unsupported,
                format!("the time column '{}' is a field of a ROW", dotted(parts)),
            )
            .at_span(parts[0].span)
            .remedy("add a computed column for it to the table"));
        }
        _ => return Err(wrong()),
    };
    let index = column_named(input, name, function)?;
    let field = &input.fields[index];
    if field.time.is_none() {
        return Err(SqlError::new(
            Step::Type,
            format!(
                "{function} needs a time attribute, but '{}' is an ordinary column of type {}",
                field.name, field.ty
            ),
        )
        .at_span(name.span)
        .remedy(
            "declare WATERMARK FOR it in its table (a CAST or any other function of it is no time attribute any more), \
             or use a column AS PROCTIME()",
        ));
    }
    Ok(index)
}

/// How a window function cuts its input.
pub(super) struct Cut {
    /// The windows.
    pub(super) window: WindowSpec,
    /// Position of the time attribute.
    pub(super) time_column: usize,
    /// What tells sessions apart.
    pub(super) partition: Vec<usize>,
    /// Whether it stands in GROUP BY.
    pub(super) legacy: bool,
}

/// The input with window_start, window_end and window_time.
pub(super) fn window_rel(input: Rel, cut: Cut, id: u32) -> Rel {
    let time = &input.fields[cut.time_column];
    let kind = match time.time {
        Some(TimeKind::Proctime) => TypeKind::TimestampLtz(3),
        _ => time.ty.kind.clone(),
    };
    let bound = LogicalType::not_null(TypeKind::Timestamp(3));
    let marked = |name: &str, ty: LogicalType, kind: WindowPropertyKind, time: Option<TimeKind>| RelField {
        time,
        window: Some(WindowMark { id, kind }),
        ..RelField::new(name, ty)
    };
    let mut fields: Vec<RelField> = input
        .fields
        .iter()
        .map(|f| RelField {
            window: None,
            ..f.clone()
        })
        .collect();
    fields.push(marked("window_start", bound.clone(), WindowPropertyKind::Start, None));
    fields.push(marked("window_end", bound, WindowPropertyKind::End, None));
    let time_ty = match kind {
        TypeKind::TimestampLtz(_) => TypeKind::TimestampLtz(3),
        _ => TypeKind::Timestamp(3),
    };
    fields.push(marked(
        "window_time",
        LogicalType::not_null(time_ty).with_nullable(cut.legacy),
        WindowPropertyKind::Time,
        time.time,
    ));
    Rel {
        op: RelOp::WindowTvf {
            input: Box::new(input),
            window: cut.window,
            time_column: cut.time_column,
            partition: cut.partition,
            legacy: cut.legacy,
        },
        fields,
    }
}
