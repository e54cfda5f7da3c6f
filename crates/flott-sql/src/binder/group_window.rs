//! Group windows: `GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE)`, and their auxiliary functions in SELECT and HAVING.
//!
//! A group window becomes the window function of the same name below the grouping, and the grouping one by its
//! window_start, window_end and window_time; auxiliary functions name those keys.

use super::expr::{bind_expr, function_name, span_of};
use super::scope::ExprScope;
use super::window::{Cut, length, window_rel, wrong_sizes};
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::Expr;
use crate::nodes::WindowSpec;
use crate::rel::{Rel, TimeKind};
use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments};

const FUNCTIONS: &[&str] = &["TUMBLE", "HOP", "SESSION"];

/// What an auxiliary function shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Start,
    End,
    Rowtime,
    Proctime,
}

/// The window of a grouping.
#[derive(Debug, Clone)]
pub struct GroupWindow {
    window: WindowSpec,
    time: Expr,
    is_proctime: bool,
    /// Its start, end and time over the grouping's input.
    properties: [Expr; 3],
}

/// Splits `TUMBLE_START` into the window's function and the part.
fn auxiliary(name: &str) -> Option<(&'static str, Part)> {
    let parts = [
        ("_START", Part::Start),
        ("_END", Part::End),
        ("_ROWTIME", Part::Rowtime),
        ("_PROCTIME", Part::Proctime),
    ];
    FUNCTIONS.iter().find_map(|base| {
        let suffix = name.strip_prefix(base)?;
        let (_, part) = parts.iter().find(|(text, _)| *text == suffix)?;
        Some((*base, *part))
    })
}

/// The error for a group window or one of its auxiliary functions where there is no grouping by it.
pub fn out_of_place(name: &str) -> Option<SqlError> {
    if FUNCTIONS.contains(&name) {
        return Some(
            SqlError::new(
                Step::Type,
                format!("{name}(…) cuts windows in GROUP BY or FROM, but does not stand there"),
            )
            .remedy(format!(
                "write GROUP BY {name}(ts, INTERVAL …), or FROM TABLE({name}(TABLE t, DESCRIPTOR(ts), INTERVAL …))"
            )),
        );
    }
    let (base, _) = auxiliary(name)?;
    Some(
        SqlError::new(
            Step::Type,
            format!("{name}(…) needs {base}(…) with the same arguments in GROUP BY"),
        )
        .remedy(format!(
            "add {base}(…) to GROUP BY with the time attribute and intervals of {name}(…)"
        )),
    )
}

/// The function, if an expression is a group window.
pub fn group_window_of(expr: &ast::Expr) -> Option<&ast::Function> {
    match expr {
        ast::Expr::Function(function) if is_group_window(function) => Some(function),
        _ => None,
    }
}

fn is_group_window(function: &ast::Function) -> bool {
    function_name(function).is_ok_and(|name| FUNCTIONS.contains(&name.as_str()))
}

fn arguments(function: &ast::Function) -> Vec<&ast::Expr> {
    let FunctionArguments::List(list) = &function.args else {
        return vec![];
    };
    let argument = |arg| match arg {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref e)) => Some(e),
        _ => None,
    };
    list.args.iter().filter_map(argument).collect()
}

/// The window that the intervals of a group window or an auxiliary function describe.
fn window_of(base: &str, name: &str, args: &[&ast::Expr]) -> SqlResult<WindowSpec> {
    let usage = match base {
        "TUMBLE" => "(ts, size)",
        "HOP" => "(ts, slide, size)",
        _ => "(ts, gap)",
    };
    let expected = if base == "HOP" { 3 } else { 2 };
    if args.len() != expected {
        return Err(SqlError::new(
            Step::Type,
            format!("{name} takes {expected} arguments, got {}", args.len()),
        )
        .remedy(format!("write {name}{usage}")));
    }
    let interval = |i: usize| -> SqlResult<i64> { Ok(length(Some(args[i]), name)?.unwrap_or_default()) };
    Ok(match base {
        "TUMBLE" => WindowSpec::Tumble {
            size_ms: interval(1)?,
            offset_ms: 0,
        },
        "HOP" => WindowSpec::Hop {
            slide_ms: interval(1)?,
            size_ms: interval(2)?,
            offset_ms: 0,
        },
        _ => WindowSpec::Session { gap_ms: interval(1)? },
    })
}

impl GroupWindow {
    /// Binds a group window; gives the relation with its columns behind the others.
    ///
    /// # Errors
    /// If its arguments are wrong.
    pub fn bind(function: &ast::Function, rel: Rel, scope: &ExprScope, id: u32) -> SqlResult<(Rel, Self)> {
        let name = function_name(function)?;
        let args = arguments(function);
        let span = span_of(&ast::Expr::Function(function.clone()));
        let window = window_of(&name, &name, &args).map_err(|e| e.at_span(span))?;
        window.validate().map_err(|e| wrong_sizes(&e, span))?;
        let time = bind_expr(args[0], scope)?;
        let is_column = matches!(args[0], ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_));
        let time_column = match &time {
            // A CAST to the same type binds to the column, but makes an ordinary value of it.
            Expr::InputRef { index, .. } if is_column && rel.fields[*index].time.is_some() => *index,
            _ => {
                return Err(SqlError::new(
                    Step::Type,
                    format!("{name} needs a time attribute, but '{}' is an ordinary value of type {}", args[0], time.ty()),
                )
                .at_span(span_of(args[0]))
                .remedy(
                    "declare WATERMARK FOR it in its table (a CAST or any other function of it is no time attribute any \
                     more), or use a column AS PROCTIME()",
                ));
            }
        };
        let is_proctime = rel.fields[time_column].time == Some(TimeKind::Proctime);
        let width = rel.fields.len();
        let cut = Cut {
            window,
            time_column,
            partition: vec![],
            legacy: true,
        };
        let rel = window_rel(rel, cut, id);
        let property = |i: usize| Expr::input(width + i, rel.fields[width + i].ty.clone());
        let bound = Self {
            window,
            time,
            is_proctime,
            properties: [property(0), property(1), property(2)],
        };
        Ok((rel, bound))
    }

    /// The keys that stand for the window.
    pub fn keys(&self) -> impl Iterator<Item = Expr> {
        self.properties.iter().cloned()
    }

    /// What an auxiliary function of this window shows, over the grouping's input; `None` for other functions.
    ///
    /// # Errors
    /// If it is one of another window.
    pub fn auxiliary(&self, function: &ast::Function, scope: &ExprScope) -> SqlResult<Option<Expr>> {
        let name = function_name(function)?;
        let Some((base, part)) = auxiliary(&name) else {
            return Ok(None);
        };
        let args = arguments(function);
        let window = window_of(base, &name, &args)?;
        let is_same = window == self.window && bind_expr(args[0], scope)? == self.time;
        if !is_same {
            return match out_of_place(&name) {
                Some(error) => Err(error),
                None => Ok(None),
            };
        }
        let of_other_time = match part {
            Part::Rowtime => self.is_proctime,
            Part::Proctime => !self.is_proctime,
            Part::Start | Part::End => false,
        };
        if of_other_time {
            let (is, other) = match self.is_proctime {
                true => ("processing time", format!("{base}_PROCTIME")),
                false => ("event time", format!("{base}_ROWTIME")),
            };
            return Err(
                SqlError::new(Step::Type, format!("{name}(…) does not fit a window of {is}"))
                    .remedy(format!("use {other}(…)")),
            );
        }
        let position = match part {
            Part::Start => 0,
            Part::End => 1,
            Part::Rowtime | Part::Proctime => 2,
        };
        Ok(Some(self.properties[position].clone()))
    }
}
