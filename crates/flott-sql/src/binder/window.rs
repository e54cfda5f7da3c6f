//! Window table functions: `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE))`, by position or by name.

use super::Binder;
use super::expr::{bind_expr, function_name, span_of};
use super::scope::{ExprScope, dotted};
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::Literal;
use crate::nodes::{WindowPropertyKind, WindowSpec};
use crate::parser::dialect::TABLE_ARGUMENT;
use crate::rel::{Rel, RelField, RelOp, TimeKind, WindowMark};
use flott_core::{LogicalType, TypeKind, suggest};
use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName};
use sqlparser::tokenizer::Span;

const FUNCTIONS: &[&str] = &["TUMBLE", "HOP"];
const LATER: &[&str] = &["CUMULATE", "SESSION"];

/// The error for a group window function of old Flink SQL, which stands in GROUP BY or SELECT.
pub fn legacy_window(name: &str) -> Option<SqlError> {
    const PARTS: &[&str] = &["", "_START", "_END", "_ROWTIME", "_PROCTIME"];
    let base = ["TUMBLE", "HOP", "SESSION"]
        .into_iter()
        .find(|base| PARTS.iter().any(|part| name == format!("{base}{part}")))?;
    Some(
        SqlError::new(
            Step::Unsupported,
            format!("{name}(…) as a group window (GROUP BY {base}(…)) is not supported"),
        )
        .remedy(format!(
            "write FROM TABLE({base}(TABLE t, DESCRIPTOR(ts), INTERVAL …)) GROUP BY window_start, window_end, …"
        )),
    )
}

/// Whether a table function of this name is a window function, known or to come.
pub fn is_window_function(name: &str) -> bool {
    FUNCTIONS.contains(&name) || LATER.contains(&name)
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
            name if LATER.contains(&name) => {
                return Err(SqlError::new(
                    Step::Unsupported,
                    format!("the window function {name} is not supported yet"),
                )
                .at_span(arguments.span)
                .remedy(format!("supported are {}", FUNCTIONS.join(" and "))));
            }
            name => {
                let hint = suggest::hint(name, FUNCTIONS.iter().copied());
                return Err(
                    SqlError::new(Step::Name, format!("there is no table function '{name}'{hint}"))
                        .at_span(arguments.span),
                );
            }
        };
        window
            .validate()
            .map_err(|e| SqlError::new(Step::Type, e.to_string()).at_span(arguments.span))?;
        let (Some(data), Some(time)) = (data, time) else {
            return Err(SqlError::new(Step::Plan, "arguments of a window function are missing").at_span(arguments.span));
        };
        let input = self.window_input(data)?;
        let time_column = time_column(&input, time, &arguments.function)?;
        Ok(window_rel(input, window, time_column, self.next_window()))
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
            ast::Expr::Subquery(query) => self.query(query),
            other => Err(SqlError::new(Step::Syntax, format!("'{other}' is no table argument"))
                .at_span(span_of(other))
                .remedy("write TABLE before the table's name, or a sub-query in parentheses")),
        }
    }
}

/// A constant interval in milliseconds.
fn length(expr: Option<&ast::Expr>, function: &str) -> SqlResult<Option<i64>> {
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
    let Some(index) = input.fields.iter().position(|f| f.name == name.value) else {
        let hint = suggest::hint(&name.value, input.fields.iter().map(|f| f.name.as_str()));
        return Err(SqlError::new(
            Step::Name,
            format!("there is no column '{}' in {function}'s table{hint}", name.value),
        )
        .at_span(name.span));
    };
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

/// The input with window_start, window_end and window_time.
fn window_rel(input: Rel, window: WindowSpec, time_column: usize, id: u32) -> Rel {
    let time = &input.fields[time_column];
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
        LogicalType::not_null(time_ty),
        WindowPropertyKind::Time,
        time.time,
    ));
    Rel {
        op: RelOp::WindowTvf {
            input: Box::new(input),
            window,
            time_column,
        },
        fields,
    }
}
