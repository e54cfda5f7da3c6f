//! Functions that look into JSON texts: `JSON_EXISTS`, `JSON_VALUE`, `JSON_QUERY`, `IS JSON`. What to do where there is
//! nothing (`ON EMPTY`) or no JSON (`ON ERROR`) arrives as symbols:
//!
//! | function | arguments |
//! |---|---|
//! | `JSON_EXISTS` | text, path, on error (`TRUE`, `FALSE`, `UNKNOWN`, `ERROR`) |
//! | `JSON_VALUE` | text, path, on empty (`NULL`, `ERROR`, `DEFAULT`), its default, on error, its default, a NULL of the type after RETURNING |
//! | `JSON_QUERY` | text, path, wrapper, on empty (`NULL`, `ERROR`, `ARRAY`, `OBJECT`), on error, a NULL of the type after RETURNING |
//!
//! [`construct`] makes JSON.

use super::text::{rows_of_text, text_bytes};
use super::text_search::{array_of_strings, strings_builder};
use super::{always, entry};
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::value::{Booleans, Primitives, Strings, Value};
use crate::expr::{Expr, Literal};
use arrow_array::builder::StringBuilder;
use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int32Array};
use document::Node;
use flott_core::{LogicalType, TypeKind};
use path::Path;
use std::sync::Arc;

pub mod construct;
mod document;

pub use document::write_text;
mod filter;
mod path;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry(
        "JSON_EXISTS",
        "JSON_EXISTS(STRING, path [{TRUE|FALSE|UNKNOWN|ERROR} ON ERROR])",
        infer_exists,
        build_exists,
    )
    .failing(always),
    entry(
        "JSON_VALUE",
        "JSON_VALUE(STRING, path [RETURNING {STRING|BOOLEAN|INTEGER|DOUBLE}] [{NULL|ERROR|DEFAULT value} ON EMPTY] [{NULL|ERROR|DEFAULT value} ON ERROR])",
        infer_value,
        build_value,
    )
    .failing(always),
    entry(
        "JSON_QUERY",
        "JSON_QUERY(STRING, path [RETURNING {STRING|ARRAY<STRING>}] [{WITHOUT|WITH CONDITIONAL|WITH UNCONDITIONAL} ARRAY WRAPPER] [{NULL|ERROR|EMPTY ARRAY|EMPTY OBJECT} ON EMPTY] [... ON ERROR])",
        infer_query,
        build_query,
    )
    .failing(always),
    entry("IS JSON VALUE", "STRING IS JSON [VALUE]", infer_test, build_test),
    entry("IS JSON OBJECT", "STRING IS JSON OBJECT", infer_test, build_test),
    entry("IS JSON ARRAY", "STRING IS JSON ARRAY", infer_test, build_test),
    entry("IS JSON SCALAR", "STRING IS JSON SCALAR", infer_test, build_test),
];

/// Text and path. A constant path may be none: as in Flink that is an error of each row, and ON ERROR says what it gives.
fn text_and_path(args: &mut Arguments) -> Result<(), Refusal> {
    args.string(0)?;
    args.string(1)
}

/// Adds the symbols that the caller left out.
fn complete(args: &mut Arguments, defaults: &[Expr]) -> Result<(), Refusal> {
    args.count(2, 2 + defaults.len())?;
    let missing = defaults[args.len() - 2..].to_vec();
    args.exprs.extend(missing);
    Ok(())
}

/// Refuses unless argument `i` is one of these symbols.
fn symbol(args: &Arguments, i: usize, allowed: &[&str]) -> Result<(), Refusal> {
    match args.exprs[i].as_literal() {
        Some(Literal::Symbol(s)) if allowed.contains(&s.as_str()) => Ok(()),
        _ => Err(Refusal::Arguments),
    }
}

fn symbol_of(call: &Call<'_>, i: usize) -> Result<String, ExprError> {
    match call.args.get(i).and_then(Expr::as_literal) {
        Some(Literal::Symbol(s)) => Ok(s.clone()),
        _ => Err(call.not_executable()),
    }
}

fn null() -> Expr {
    Expr::null(TypeKind::Null)
}

/// What a text and a path lead to.
enum Outcome<'n, 'a> {
    /// The text or the path is NULL.
    Null,
    Found(std::borrow::Cow<'n, Node<'a>>, bool),
    /// No JSON, no path, or (in strict mode) nothing or null there.
    Failed(&'static str),
}

/// Looks up rows; the last path stays read.
struct Lookup<'a> {
    texts: Strings<'a>,
    paths: Strings<'a>,
    path: Option<(&'a str, Option<Path>)>,
}

impl<'a> Lookup<'a> {
    fn new(args: &'a [Value]) -> Result<Self, ExprError> {
        Ok(Self {
            texts: Strings::new(&args[0])?,
            paths: Strings::new(&args[1])?,
            path: None,
        })
    }

    /// Calls `then` with what row `row` leads to.
    fn row<T>(&mut self, row: usize, then: impl FnOnce(Outcome<'_, '_>) -> T) -> T {
        let (Some(text), Some(path)) = (self.texts.get(row), self.paths.get(row)) else {
            return then(Outcome::Null);
        };
        if self.path.as_ref().is_none_or(|(known, _)| *known != path) {
            self.path = Some((path, Path::read(path).ok()));
        }
        let Some(path) = self.path.as_ref().and_then(|(_, p)| p.as_ref()) else {
            return then(Outcome::Failed("the path is none"));
        };
        let Some(root) = Node::read(text) else {
            return then(Outcome::Failed("the text is no JSON"));
        };
        match path.find(&root) {
            Ok(found) if !path.lax && matches!(found.as_ref(), Node::Null) => {
                then(Outcome::Failed("the value is null"))
            }
            Ok(found) => then(Outcome::Found(found, path.lax)),
            Err(path::Missing) => then(Outcome::Failed("there is nothing at the path")),
        }
    }
}

fn failure(function: &'static str, problem: &str) -> ExprError {
    ExprError::Value {
        function,
        problem: format!("{problem}; NULL ON ERROR or DEFAULT ... ON ERROR gives a value instead"),
    }
}

fn infer_exists(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    complete(args, &[Expr::symbol("FALSE")])?;
    text_and_path(args)?;
    symbol(args, 2, &["TRUE", "FALSE", "UNKNOWN", "ERROR"])?;
    Ok(LogicalType::boolean())
}

fn build_exists(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let on_error = symbol_of(call, 2)?;
    Ok(Box::new(move |args, rows| {
        let mut lookup = Lookup::new(args)?;
        let mut row = |row: usize| {
            lookup.row(row, |outcome| match outcome {
                Outcome::Null => Ok(None),
                Outcome::Found(node, _) => Ok(Some(!matches!(node.as_ref(), Node::Null))),
                Outcome::Failed(problem) => match on_error.as_str() {
                    "ERROR" => Err(failure("JSON_EXISTS", problem)),
                    "UNKNOWN" => Ok(None),
                    answer => Ok(Some(answer == "TRUE")),
                },
            })
        };
        let values: Vec<Option<bool>> = (0..rows).map(&mut row).collect::<Result<_, _>>()?;
        Ok(Arc::new(BooleanArray::from(values)))
    }))
}

fn infer_value(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    complete(
        args,
        &[
            Expr::symbol("NULL"),
            null(),
            Expr::symbol("NULL"),
            null(),
            Expr::null(LogicalType::string().kind),
        ],
    )?;
    text_and_path(args)?;
    let kind = args.kind(6).clone();
    let returned = |k: &TypeKind| {
        matches!(
            k,
            TypeKind::Varchar(_) | TypeKind::Boolean | TypeKind::Int | TypeKind::Double
        )
    };
    if !returned(&kind) {
        return Err(Refusal::Constant(format!(
            "RETURNING takes STRING, BOOLEAN, INTEGER or DOUBLE; CAST the text to {kind}"
        )));
    }
    for i in [2, 4] {
        symbol(args, i, &["NULL", "ERROR", "DEFAULT"])?;
        if args.kind(i + 1).is_string() && !kind.is_string() {
            return Err(Refusal::Constant(format!("a DEFAULT that is text is no {kind}")));
        }
        args.cast(i + 1, &kind)?;
    }
    Ok(LogicalType::new(kind))
}

/// Where a row's value comes from.
enum Answer<'t> {
    Null,
    /// The text of a scalar, and whether it was a string.
    Text(&'t str, bool),
    /// The default of argument 3 or 5.
    Default(usize),
}

/// `write` gets the answer for each row.
fn values(
    args: &[Value],
    behaviours: &[String; 2],
    rows: usize,
    mut write: impl FnMut(usize, Answer<'_>) -> Result<(), ExprError>,
) -> Result<(), ExprError> {
    let mut lookup = Lookup::new(args)?;
    for row in 0..rows {
        lookup.row(row, |outcome| {
            let instead = |which: usize, problem: &str| match behaviours[which].as_str() {
                "ERROR" => Err(failure("JSON_VALUE", problem)),
                "DEFAULT" => Ok(Answer::Default(3 + 2 * which)),
                _ => Ok(Answer::Null),
            };
            let text;
            let answer = match &outcome {
                Outcome::Null => Answer::Null,
                Outcome::Failed(problem) => instead(1, problem)?,
                Outcome::Found(node, lax) => match node.as_ref() {
                    Node::Null => instead(0, "the value is empty")?,
                    node if node.is_scalar() => {
                        text = node.scalar_text().unwrap_or_default();
                        Answer::Text(&text, matches!(node, Node::Text(_)))
                    }
                    _ if *lax => instead(0, "the value is empty")?,
                    _ => instead(1, "the value is an array or an object")?,
                },
            };
            write(row, answer)
        })?;
    }
    Ok(())
}

fn build_value(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let behaviours = [symbol_of(call, 2)?, symbol_of(call, 4)?];
    let wrong = |text: &str, to: &str| ExprError::Value {
        function: "JSON_VALUE",
        problem: format!("'{text}' is no JSON {to}; leave RETURNING out and TRY_CAST the text"),
    };
    Ok(match call.ty.kind.clone() {
        TypeKind::Boolean => Box::new(move |args, rows| {
            let defaults = [Booleans::new(&args[3])?, Booleans::new(&args[5])?];
            let mut out = Vec::with_capacity(rows);
            values(args, &behaviours, rows, |row, answer| {
                out.push(match answer {
                    Answer::Null => None,
                    Answer::Text("true", false) => Some(true),
                    Answer::Text("false", false) => Some(false),
                    Answer::Text(text, _) => return Err(wrong(text, "boolean")),
                    Answer::Default(i) => defaults[i / 5].get(row),
                });
                Ok(())
            })?;
            Ok(Arc::new(BooleanArray::from(out)) as ArrayRef)
        }),
        TypeKind::Int => Box::new(move |args, rows| {
            let defaults = [
                Primitives::<Int32Type>::new(&args[3])?,
                Primitives::<Int32Type>::new(&args[5])?,
            ];
            let mut out = Vec::with_capacity(rows);
            values(args, &behaviours, rows, |row, answer| {
                out.push(match answer {
                    Answer::Null => None,
                    Answer::Text(text, false) => Some(text.parse::<i32>().map_err(|_| wrong(text, "integer"))?),
                    Answer::Text(text, true) => return Err(wrong(text, "integer")),
                    Answer::Default(i) => defaults[i / 5].get(row),
                });
                Ok(())
            })?;
            Ok(Arc::new(Int32Array::from(out)))
        }),
        TypeKind::Double => Box::new(move |args, rows| {
            let defaults = [
                Primitives::<Float64Type>::new(&args[3])?,
                Primitives::<Float64Type>::new(&args[5])?,
            ];
            let mut out = Vec::with_capacity(rows);
            values(args, &behaviours, rows, |row, answer| {
                out.push(match answer {
                    Answer::Null => None,
                    // as in Flink a number without fraction and exponent is none
                    Answer::Text(text, false) if text.contains(['.', 'E']) => {
                        Some(text.parse::<f64>().map_err(|_| wrong(text, "number with a fraction"))?)
                    }
                    Answer::Text(text, _) => return Err(wrong(text, "number with a fraction")),
                    Answer::Default(i) => defaults[i / 5].get(row),
                });
                Ok(())
            })?;
            Ok(Arc::new(Float64Array::from(out)))
        }),
        _ => Box::new(move |args, rows| {
            let defaults = [Strings::new(&args[3])?, Strings::new(&args[5])?];
            let mut out = StringBuilder::with_capacity(rows, text_bytes(&args[0]) / 4);
            values(args, &behaviours, rows, |row, answer| {
                match answer {
                    Answer::Null => out.append_null(),
                    Answer::Text(text, _) => out.append_value(text),
                    Answer::Default(i) => out.append_option(defaults[i / 5].get(row)),
                }
                Ok(())
            })?;
            Ok(Arc::new(out.finish()))
        }),
    })
}

fn infer_query(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    complete(
        args,
        &[
            Expr::symbol("WITHOUT"),
            Expr::symbol("NULL"),
            Expr::symbol("NULL"),
            Expr::null(LogicalType::string().kind),
        ],
    )?;
    text_and_path(args)?;
    symbol(args, 2, &["WITHOUT", "CONDITIONAL", "UNCONDITIONAL"])?;
    symbol(args, 3, &["NULL", "ERROR", "ARRAY", "OBJECT"])?;
    symbol(args, 4, &["NULL", "ERROR", "ARRAY", "OBJECT"])?;
    let kind = args.kind(5).clone();
    let texts = array_of_strings(true).kind;
    if !kind.is_string() && kind != texts {
        return Err(Refusal::Constant(format!(
            "RETURNING takes STRING or ARRAY<STRING>, not {kind}"
        )));
    }
    Ok(LogicalType::new(kind))
}

fn build_query(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let (wrapper, on_empty, on_error) = (symbol_of(call, 2)?, symbol_of(call, 3)?, symbol_of(call, 4)?);
    let to_array = matches!(call.ty.kind, TypeKind::Array(_));
    // what a row's text is, or NULL
    let answer = move |outcome: Outcome<'_, '_>, out: &mut String| -> Result<Option<()>, ExprError> {
        let instead = |behaviour: &str, problem: &str, out: &mut String| match behaviour {
            "ERROR" => Err(failure("JSON_QUERY", problem)),
            "ARRAY" => {
                out.push_str("[]");
                Ok(Some(()))
            }
            "OBJECT" => {
                out.push_str("{}");
                Ok(Some(()))
            }
            _ => Ok(None),
        };
        match outcome {
            Outcome::Null => Ok(None),
            Outcome::Failed(problem) => instead(&on_error, problem, out),
            Outcome::Found(node, lax) => {
                let wrap = match wrapper.as_str() {
                    "WITHOUT" => false,
                    "CONDITIONAL" => !matches!(node.as_ref(), Node::Array(_)),
                    _ => true,
                };
                match node.as_ref() {
                    Node::Null => instead(&on_empty, "the value is empty", out),
                    node if wrap => {
                        out.push('[');
                        node.write(out);
                        out.push(']');
                        Ok(Some(()))
                    }
                    node if !node.is_scalar() => {
                        node.write(out);
                        Ok(Some(()))
                    }
                    _ if lax => instead(&on_empty, "the value is empty", out),
                    _ => instead(&on_error, "the value is no array and no object", out),
                }
            }
        }
    };
    let empty_array = symbol_of(call, 4)? == "ARRAY";
    Ok(Box::new(move |args, rows| {
        let mut lookup = Lookup::new(args)?;
        if !to_array {
            let mut failed = None;
            let result = rows_of_text(rows, text_bytes(&args[0]), |row, out| {
                let answered = lookup.row(row, |outcome| answer(outcome, out));
                answered.unwrap_or_else(|e| {
                    failed = Some(e);
                    None
                })
            })?;
            return failed.map_or(Ok(result), Err);
        }
        let mut out = strings_builder(rows, text_bytes(&args[0]));
        let mut text = String::new();
        for row in 0..rows {
            text.clear();
            match lookup.row(row, |outcome| answer(outcome, &mut text))? {
                None => out.append_null(),
                Some(()) => match Node::read(&text) {
                    Some(Node::Array(items)) => {
                        for item in &items {
                            match item {
                                Node::Null => out.values().append_null(),
                                item if item.is_scalar() => out.values().append_option(item.scalar_text()),
                                item => {
                                    let mut json = String::new();
                                    item.write(&mut json);
                                    out.values().append_value(json);
                                }
                            }
                        }
                        out.append(true);
                    }
                    // no array: an error, but for which there is an empty array at most
                    _ => out.append(empty_array),
                },
            }
        }
        Ok(Arc::new(out.finish()))
    }))
}

fn infer_test(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 1)?;
    args.string(0)?;
    Ok(LogicalType::not_null(TypeKind::Boolean))
}

fn build_test(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let test: fn(&Node<'_>) -> bool = match call.name {
        "IS JSON OBJECT" => |n| matches!(n, Node::Object(_)),
        "IS JSON ARRAY" => |n| matches!(n, Node::Array(_)),
        "IS JSON SCALAR" => |n| n.is_scalar(),
        _ => |_| true,
    };
    Ok(Box::new(move |args, rows| {
        let texts = Strings::new(&args[0])?;
        let row = |row: usize| {
            let node = texts.get(row).and_then(Node::read);
            Some(node.is_some_and(|n| test(&n)))
        };
        Ok(Arc::new((0..rows).map(row).collect::<BooleanArray>()))
    }))
}
