//! Expressions: from sqlparser's tree to typed calls.

use super::literal;
use super::scope::field_of;
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::{Expr, FunctionError, Literal, resolve_call, resolve_cast};
use crate::parser::{json, types};
use flott_core::{LogicalType, TypeKind};
use sqlparser::ast::{
    self, AccessExpr, BinaryOperator, CeilFloorKind, DataType, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    Spanned, Subscript, TrimWhereField, UnaryOperator, Value,
};
use sqlparser::tokenizer::Span;

/// What a scope says about names and about expressions that it binds by itself.
pub trait Resolver {
    /// The bound form of `expr`, if the scope has one (an aggregate, a grouping expression).
    ///
    /// # Errors
    /// If the expression must not stand here.
    fn intercept(&self, expr: &ast::Expr) -> SqlResult<Option<Expr>>;

    /// The column that the parts name.
    ///
    /// # Errors
    /// If there is none, or several.
    fn column(&self, parts: &[Ident]) -> SqlResult<Expr>;
}

/// The place of an expression: its leftmost word that has one.
pub fn span_of(expr: &ast::Expr) -> Span {
    match expr {
        ast::Expr::Function(f) => f.name.span(),
        other => other.span(),
    }
}

/// Binds an expression.
///
/// # Errors
/// If a name, function or type is wrong; the place is that of the innermost expression concerned.
pub fn bind_expr(expr: &ast::Expr, names: &dyn Resolver) -> SqlResult<Expr> {
    let bound = names.intercept(expr).and_then(|found| match found {
        Some(bound) => Ok(bound),
        None => bind_node(expr, names),
    });
    bound.map_err(|e| e.at_span(span_of(expr)))
}

fn bind_node(expr: &ast::Expr, names: &dyn Resolver) -> SqlResult<Expr> {
    let bind = |e: &ast::Expr| bind_expr(e, names);
    match expr {
        ast::Expr::Identifier(name) => names.column(std::slice::from_ref(name)),
        ast::Expr::CompoundIdentifier(parts) => names.column(parts),
        ast::Expr::CompoundFieldAccess { root, access_chain } => bind_access(root, access_chain, names),
        ast::Expr::Nested(inner) => bind(inner),
        ast::Expr::Value(value) => literal::bind_value(&value.value, value.span),
        ast::Expr::TypedString(typed) => literal::bind_typed(typed, typed.value.span),
        ast::Expr::Interval(interval) => literal::bind_interval(interval, span_of(expr)),
        ast::Expr::UnaryOp { op, expr } => bind_unary(*op, expr, names),
        ast::Expr::BinaryOp { left, op, right } => bind_binary(left, op, right, names),
        ast::Expr::IsNull(e) => call("IS NULL", vec![bind(e)?]),
        ast::Expr::IsNotNull(e) => call("IS NOT NULL", vec![bind(e)?]),
        ast::Expr::IsTrue(e) => call("IS TRUE", vec![bind(e)?]),
        ast::Expr::IsNotTrue(e) => call("IS NOT TRUE", vec![bind(e)?]),
        ast::Expr::IsFalse(e) => call("IS FALSE", vec![bind(e)?]),
        ast::Expr::IsNotFalse(e) => call("IS NOT FALSE", vec![bind(e)?]),
        ast::Expr::IsUnknown(e) => call("IS NULL", vec![bind(e)?]),
        ast::Expr::IsNotUnknown(e) => call("IS NOT NULL", vec![bind(e)?]),
        ast::Expr::IsDistinctFrom(a, b) => call("IS DISTINCT FROM", vec![bind(a)?, bind(b)?]),
        ast::Expr::IsNotDistinctFrom(a, b) => call("IS NOT DISTINCT FROM", vec![bind(a)?, bind(b)?]),
        ast::Expr::Between {
            expr,
            negated,
            low,
            high,
        } => {
            let value = bind(expr)?;
            let between = match symmetric(low) {
                Some(low) => {
                    let (low, high) = (bind(low)?, bind(high)?);
                    let one = both(&value, low.clone(), high.clone())?;
                    call("OR", vec![one, both(&value, high, low)?])?
                }
                None => both(&value, bind(low)?, bind(high)?)?,
            };
            negate(between, *negated)
        }
        ast::Expr::InList { expr, list, negated } => {
            let mut args = vec![bind(expr)?];
            for item in list {
                args.push(bind(item)?);
            }
            negate(bind_in(args)?, *negated)
        }
        ast::Expr::Like {
            negated,
            any: false,
            expr,
            pattern,
            escape_char,
        } => {
            let mut args = vec![bind(expr)?, bind(pattern)?];
            if let Some(escape) = escape_char {
                args.push(literal::bind_value(&escape.value, escape.span)?);
            }
            negate(call("LIKE", args)?, *negated)
        }
        ast::Expr::SimilarTo {
            negated, expr, pattern, ..
        } => negate(call("SIMILAR TO", vec![bind(expr)?, bind(pattern)?])?, *negated),
        ast::Expr::Cast {
            kind, expr, data_type, ..
        } => bind_cast(*kind == ast::CastKind::TryCast, expr, data_type, names),
        ast::Expr::Case {
            operand,
            conditions,
            else_result,
            ..
        } => bind_case(operand.as_deref(), conditions, else_result.as_deref(), names),
        ast::Expr::Function(function) => bind_function(function, names),
        ast::Expr::Extract { field, expr, .. } => call("EXTRACT", vec![Expr::symbol(&field.to_string()), bind(expr)?]),
        ast::Expr::Ceil { expr, field } => bind_rounding("CEIL", expr, field, names),
        ast::Expr::Floor { expr, field } => bind_rounding("FLOOR", expr, field, names),
        ast::Expr::Position { expr, r#in } => call("POSITION", vec![bind(expr)?, bind(r#in)?]),
        ast::Expr::Substring {
            expr,
            substring_from,
            substring_for,
            ..
        } => {
            let mut args = vec![bind(expr)?];
            match (substring_from, substring_for) {
                (Some(from), length) => {
                    args.push(bind(from)?);
                    args.extend(length.as_deref().map(bind).transpose()?);
                }
                (None, Some(length)) => args.extend([Expr::int(1), bind(length)?]),
                (None, None) => {}
            }
            call("SUBSTRING", args)
        }
        ast::Expr::Trim {
            trim_where,
            trim_what,
            expr,
            ..
        } => {
            let side = match trim_where {
                Some(TrimWhereField::Leading) => "LEADING",
                Some(TrimWhereField::Trailing) => "TRAILING",
                Some(TrimWhereField::Both) | None => "BOTH",
            };
            let characters = match trim_what {
                Some(characters) => bind(characters)?,
                None => Expr::string(" "),
            };
            call("TRIM", vec![Expr::symbol(side), characters, bind(expr)?])
        }
        ast::Expr::Overlay {
            expr,
            overlay_what,
            overlay_from,
            overlay_for,
        } => {
            let mut args = vec![bind(expr)?, bind(overlay_what)?, bind(overlay_from)?];
            args.extend(overlay_for.as_deref().map(bind).transpose()?);
            call("OVERLAY", args)
        }
        ast::Expr::Prefixed { prefix, value } => bind_word(&prefix.value, value),
        ast::Expr::Tuple(items) => call("ROW", items.iter().map(bind).collect::<SqlResult<_>>()?),
        ast::Expr::Array(array) => call("ARRAY", array.elem.iter().map(bind).collect::<SqlResult<_>>()?),
        ast::Expr::Subquery(_) | ast::Expr::Exists { .. } | ast::Expr::InSubquery { .. } => Err(SqlError::new(
            Step::Unsupported,
            "sub-queries in expressions (scalar, IN, EXISTS) need a join, which is not supported yet",
        )
        .remedy("write constants behind IN (…)")),
        other => Err(SqlError::new(
            Step::Unsupported,
            format!("the expression {other} is not supported"),
        )),
    }
}

fn both(value: &Expr, low: Expr, high: Expr) -> SqlResult<Expr> {
    let above = call(">=", vec![value.clone(), low])?;
    let below = call("<=", vec![value.clone(), high])?;
    call("AND", vec![above, below])
}

/// The lower bound behind `SYMMETRIC`, which the dialect keeps as a call.
fn symmetric(low: &ast::Expr) -> Option<&ast::Expr> {
    match low {
        ast::Expr::Prefixed { prefix, value } if prefix.value == crate::parser::dialect::SYMMETRIC => Some(value),
        _ => None,
    }
}

fn negate(expr: Expr, negated: bool) -> SqlResult<Expr> {
    if negated { call("NOT", vec![expr]) } else { Ok(expr) }
}

/// IN over constants is one call; with other expressions it is a chain of comparisons.
fn bind_in(args: Vec<Expr>) -> SqlResult<Expr> {
    if args[1..].iter().all(Expr::is_constant) {
        return call("IN", args);
    }
    let mut items = args.into_iter();
    let Some(value) = items.next() else {
        return Err(SqlError::new(Step::Syntax, "IN needs a list"));
    };
    let equal = items.map(|item| call("=", vec![value.clone(), item]));
    let any = Expr::join_all(equal.collect::<SqlResult<_>>()?, &mut |a, b| call("OR", vec![a, b]))?;
    any.ok_or_else(|| SqlError::new(Step::Syntax, "IN needs a list"))
}

/// A call with its type, or the function's complaint.
pub fn call(name: &str, args: Vec<Expr>) -> SqlResult<Expr> {
    resolve_call(name, args).map_err(|e| function_error(&e))
}

/// Our error for a function's.
pub fn function_error(error: &FunctionError) -> SqlError {
    let step = match error {
        FunctionError::Unknown { .. } => Step::Name,
        _ => Step::Type,
    };
    let wrong = SqlError::new(step, error.to_string());
    match cast_that_helps(error) {
        Some(remedy) => wrong.remedy(remedy),
        None => wrong,
    }
}

/// How to make arguments fit, where a cast does.
fn cast_that_helps(error: &FunctionError) -> Option<&'static str> {
    let FunctionError::Arguments { given, expected, .. } = error else {
        return None;
    };
    const SCALARS: [&str; 9] = [
        "INT", "DOUBLE", "FLOAT", "DECIMAL", "BOOLEAN", "DATE", "TIME", "CHAR", "STRING",
    ];
    // ROW, ARRAY and MAP come apart, but not by a cast.
    let of_parts = ["ROW<", "ARRAY<", "MAP<", "MULTISET<"];
    if of_parts.iter().any(|t| given.contains(t)) {
        return Some("name a field of the ROW (info.city), or an element of the ARRAY or MAP (tags[1], map['key'])");
    }
    if !SCALARS.iter().any(|t| given.contains(t)) {
        return None;
    }
    let has_text = given.contains("STRING") || given.contains("CHAR");
    if expected.contains("NUMERIC") && (has_text || given.contains("BOOLEAN")) {
        return Some("make a number of it: CAST(… AS DOUBLE), or TRY_CAST, which gives NULL for what is none");
    }
    if expected.contains("TIMESTAMP") && has_text {
        return Some("make a time of it: CAST(… AS TIMESTAMP(3)) or TO_TIMESTAMP(…, 'format')");
    }
    (expected.contains("STRING") && !has_text || expected.contains("key STRING"))
        .then_some("make a text of it: CAST(… AS STRING)")
}

fn bind_access(root: &ast::Expr, chain: &[AccessExpr], names: &dyn Resolver) -> SqlResult<Expr> {
    let (mut value, rest) = path_prefix(root, chain, names)?;
    for access in rest {
        value = match access {
            AccessExpr::Dot(ast::Expr::Identifier(field)) => field_of(value, field)?,
            AccessExpr::Subscript(Subscript::Index { index }) => {
                let index = bind_expr(index, names)?;
                call("ITEM", vec![value, index])?
            }
            other => {
                return Err(SqlError::new(
                    Step::Unsupported,
                    format!("the access '{other}' is not supported"),
                ));
            }
        };
    }
    Ok(value)
}

/// sqlparser reads `t.m['k']` as the identifier `t` with the accesses `.m` and `['k']`: leading names go together.
fn path_prefix<'a>(
    root: &ast::Expr,
    chain: &'a [AccessExpr],
    names: &dyn Resolver,
) -> SqlResult<(Expr, &'a [AccessExpr])> {
    let mut parts = match root {
        ast::Expr::Identifier(name) => vec![name.clone()],
        ast::Expr::CompoundIdentifier(parts) => parts.clone(),
        other => return Ok((bind_expr(other, names)?, chain)),
    };
    let dots = chain
        .iter()
        .map_while(|a| match a {
            AccessExpr::Dot(ast::Expr::Identifier(name)) => Some(name.clone()),
            _ => None,
        })
        .collect::<Vec<_>>();
    let rest = &chain[dots.len()..];
    parts.extend(dots);
    Ok((names.column(&parts)?, rest))
}

/// A keyword or a type among the arguments of a call, as [`crate::parser::json`] keeps them.
fn bind_word(prefix: &str, value: &ast::Expr) -> SqlResult<Expr> {
    let text = match value {
        ast::Expr::Value(v) => match &v.value {
            Value::SingleQuotedString(text) => text,
            _ => return Err(SqlError::new(Step::Syntax, format!("{prefix} needs a text"))),
        },
        _ => {
            return Err(SqlError::new(
                Step::Unsupported,
                format!("the prefix {prefix} is not supported"),
            ));
        }
    };
    match prefix {
        json::SYMBOL => Ok(Expr::symbol(text)),
        json::TYPE => {
            let ty = types::parse_text(text).map_err(|e| SqlError::new(Step::Syntax, e.to_string()))?;
            Ok(Expr::null(ty.kind))
        }
        _ => Err(SqlError::new(
            Step::Unsupported,
            format!("the prefix {prefix} is not supported"),
        )),
    }
}

fn bind_unary(op: UnaryOperator, expr: &ast::Expr, names: &dyn Resolver) -> SqlResult<Expr> {
    if let (UnaryOperator::Minus, ast::Expr::Value(v)) = (op, expr)
        && let Value::Number(text, _) = &v.value
        && let Some(smallest) = literal::smallest(text)
    {
        return Ok(smallest);
    }
    let value = bind_expr(expr, names)?;
    match op {
        UnaryOperator::Not => call("NOT", vec![value]),
        UnaryOperator::Plus => Ok(value),
        UnaryOperator::Minus => match literal::negated(&value) {
            Some(negated) => Ok(negated),
            None => call("UNARY -", vec![value]),
        },
        other => Err(SqlError::new(
            Step::Syntax,
            format!("Flink SQL has no operator {other}"),
        )),
    }
}

/// `(start, end or length) OVERLAPS (start, end or length)`: the periods have a moment in common, their ends included.
fn bind_overlaps(left: &ast::Expr, right: &ast::Expr, names: &dyn Resolver) -> SqlResult<Expr> {
    let period = |side: &ast::Expr| -> SqlResult<[Expr; 2]> {
        let ast::Expr::Tuple(items) = side else {
            return Err(SqlError::new(Step::Syntax, "OVERLAPS needs two periods")
                .remedy("write (start, end) OVERLAPS (start, end)"));
        };
        let [start, end] = items.as_slice() else {
            return Err(SqlError::new(
                Step::Syntax,
                "a period has a start and an end (or a length)",
            ));
        };
        let (start, mut end) = (bind_expr(start, names)?, bind_expr(end, names)?);
        if crate::expr::types::is_interval(&end.ty().kind) {
            end = call("+", vec![start.clone(), end])?;
        }
        // the earlier of the two comes first
        let swapped = call(">", vec![start.clone(), end.clone()])?;
        let first = call("CASE", vec![swapped.clone(), end.clone(), start.clone()])?;
        Ok([first, call("CASE", vec![swapped, start, end])?])
    };
    let ([a, b], [c, d]) = (period(left)?, period(right)?);
    call("AND", vec![call(">=", vec![b, c])?, call(">=", vec![d, a])?])
}

fn bind_binary(left: &ast::Expr, op: &BinaryOperator, right: &ast::Expr, names: &dyn Resolver) -> SqlResult<Expr> {
    if op == &BinaryOperator::Overlaps {
        return bind_overlaps(left, right, names);
    }
    let function = match op {
        BinaryOperator::Plus => "+",
        BinaryOperator::Minus => "-",
        BinaryOperator::Multiply => "*",
        BinaryOperator::Divide => "/",
        BinaryOperator::Modulo => "%",
        BinaryOperator::StringConcat => "||",
        BinaryOperator::Gt => ">",
        BinaryOperator::Lt => "<",
        BinaryOperator::GtEq => ">=",
        BinaryOperator::LtEq => "<=",
        BinaryOperator::Eq => "=",
        BinaryOperator::NotEq => "<>",
        BinaryOperator::And => return bind_connective("AND", left, op, right, names),
        BinaryOperator::Or => return bind_connective("OR", left, op, right, names),
        other => {
            return Err(SqlError::new(
                Step::Syntax,
                format!("Flink SQL has no operator {other}"),
            ));
        }
    };
    let (a, b) = (bind_expr(left, names)?, bind_expr(right, names)?);
    // Two rows that are written out are equal where each field is, so that NULL in one is NULL.
    if let (BinaryOperator::Eq, Some(a), Some(b)) = (op, row_fields(&a), row_fields(&b))
        && a.len() == b.len()
    {
        let equal = a.iter().zip(b).map(|(a, b)| call("=", vec![a.clone(), b.clone()]));
        let all = Expr::join_all(equal.collect::<SqlResult<_>>()?, &mut |a, b| call("AND", vec![a, b]))?;
        return Ok(all.unwrap_or_else(|| Expr::boolean(true)));
    }
    // The place of a mismatch is the operator's left operand, which is where the expression starts.
    call(function, vec![a, b])
}

fn row_fields(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::Call { function, args, .. } if function == "ROW" => Some(args),
        _ => None,
    }
}

/// `a AND b AND c`, without going down operator by operator.
fn bind_connective(
    function: &str,
    left: &ast::Expr,
    op: &BinaryOperator,
    right: &ast::Expr,
    names: &dyn Resolver,
) -> SqlResult<Expr> {
    let mut operands = vec![right];
    let mut rest = left;
    while let ast::Expr::BinaryOp { left, op: inner, right } = rest
        && inner == op
    {
        if let Some(bound) = names.intercept(rest)? {
            return join(function, Some(bound), &operands, names);
        }
        operands.push(right);
        rest = left;
    }
    operands.push(rest);
    join(function, None, &operands, names)
}

/// What is bound already and `operands`, last first, connected.
fn join(function: &str, bound: Option<Expr>, operands: &[&ast::Expr], names: &dyn Resolver) -> SqlResult<Expr> {
    let others = operands.iter().rev().map(|operand| bind_expr(operand, names));
    let operands = bound.into_iter().map(Ok).chain(others).collect::<SqlResult<_>>()?;
    let joined = Expr::join_all(operands, &mut |a, b| call(function, vec![a, b]))?;
    joined.ok_or_else(|| SqlError::new(Step::Plan, format!("{function} of nothing")))
}

fn bind_cast(try_cast: bool, expr: &ast::Expr, data_type: &DataType, names: &dyn Resolver) -> SqlResult<Expr> {
    let value = bind_expr(expr, names)?;
    let DataType::Custom(name, _) = data_type else {
        return Err(SqlError::new(
            Step::Syntax,
            format!("write CAST({expr} AS {data_type})"),
        ));
    };
    let text = name
        .0
        .first()
        .and_then(|p| p.as_ident())
        .map_or("", |i| i.value.as_str());
    let ty = types::parse_text(text).map_err(|e| SqlError::new(Step::Syntax, e.to_string()))?;
    resolve_cast(value, ty, try_cast).map_err(|e| function_error(&e))
}

/// `CASE x WHEN 1 …` compares; a missing ELSE is NULL.
fn bind_case(
    operand: Option<&ast::Expr>,
    conditions: &[ast::CaseWhen],
    otherwise: Option<&ast::Expr>,
    names: &dyn Resolver,
) -> SqlResult<Expr> {
    let operand = operand.map(|o| bind_expr(o, names)).transpose()?;
    let mut args = Vec::with_capacity(conditions.len() * 2 + 1);
    for when in conditions {
        let condition = bind_expr(&when.condition, names)?;
        args.push(match &operand {
            Some(operand) => {
                call("=", vec![operand.clone(), condition]).map_err(|e| e.at_span(span_of(&when.condition)))?
            }
            None => condition,
        });
        args.push(bind_expr(&when.result, names)?);
    }
    args.push(match otherwise {
        Some(e) => bind_expr(e, names)?,
        None => Expr::null(TypeKind::Null),
    });
    call("CASE", args)
}

fn bind_rounding(name: &str, expr: &ast::Expr, field: &CeilFloorKind, names: &dyn Resolver) -> SqlResult<Expr> {
    let mut args = vec![bind_expr(expr, names)?];
    match field {
        CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) => {}
        CeilFloorKind::DateTimeField(unit) => args.push(Expr::symbol(&unit.to_string())),
        CeilFloorKind::Scale(_) => {
            return Err(SqlError::new(
                Step::Type,
                format!("{name} takes one argument, or {name}(time TO unit)"),
            ));
        }
    }
    call(name, args)
}

/// Functions whose first argument is a bare time unit.
const UNIT_FUNCTIONS: &[&str] = &["TIMESTAMPADD", "TIMESTAMPDIFF"];

fn bind_function(function: &ast::Function, names: &dyn Resolver) -> SqlResult<Expr> {
    let name = function_name(function)?;
    let unsupported = |what: &str| SqlError::new(Step::Unsupported, format!("{what} in {name} is not supported"));
    if function.over.is_some() {
        return Err(SqlError::new(
            Step::Unsupported,
            format!("{name}(…) OVER stands in a SELECT list, not here"),
        )
        .remedy("compute it in a sub-query, and use its column"));
    }
    if let Some(error) = super::group_window::out_of_place(&name) {
        return Err(error);
    }
    if function.filter.is_some() {
        return Err(SqlError::new(
            Step::Type,
            format!("{name} is no aggregate, so it takes no FILTER"),
        ));
    }
    let mut args = vec![];
    match &function.args {
        FunctionArguments::None => {}
        FunctionArguments::Subquery(_) => return Err(unsupported("a sub-query")),
        FunctionArguments::List(list) => {
            if list.duplicate_treatment.is_some() {
                return Err(SqlError::new(
                    Step::Type,
                    format!("{name} is no aggregate, so it takes no DISTINCT"),
                ));
            }
            for (i, arg) in list.args.iter().enumerate() {
                args.push(match (arg, i) {
                    (FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Identifier(unit))), 0)
                        if UNIT_FUNCTIONS.contains(&name.as_str()) =>
                    {
                        Expr::symbol(&unit.value)
                    }
                    (FunctionArg::Unnamed(FunctionArgExpr::Expr(e)), _) => bind_expr(e, names)?,
                    (FunctionArg::Unnamed(_), _) => {
                        return Err(SqlError::new(Step::Type, format!("{name} does not take '*'")));
                    }
                    _ => return Err(unsupported("a named argument")),
                });
            }
        }
    }
    call(&name, args)
}

/// A function's name in upper case.
pub fn function_name(function: &ast::Function) -> SqlResult<String> {
    match function.name.0.as_slice() {
        [part] => Ok(part.as_ident().map_or_else(String::new, |i| i.value.to_uppercase())),
        _ => Err(SqlError::new(
            Step::Unsupported,
            format!("user-defined functions such as {} are not supported yet", function.name),
        )),
    }
}

/// Checks that a condition is BOOLEAN.
pub fn condition(expr: Expr, clause: &str, span: Span) -> SqlResult<Expr> {
    match &expr.ty().kind {
        TypeKind::Boolean => Ok(expr),
        TypeKind::Null => Ok(Expr::literal(Literal::Null, LogicalType::boolean())),
        _ => Err(SqlError::new(
            Step::Type,
            format!("{clause} needs a BOOLEAN condition, but this has type {}", expr.ty()),
        )
        .at_span(span)
        .remedy("compare it with a value")),
    }
}
