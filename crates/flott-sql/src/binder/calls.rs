//! Calls of aggregates: arguments, DISTINCT, and what a function says besides ([`CallParts`]); aggregates that are made of
//! others ([`composed`]): standard deviations and variances of sums and counts, percentiles of the multiset of the values.

use super::expr::{call, function_error, span_of};
use super::values::cast_to;
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::{
    EvalContext, Expr, Literal, fold_constants, functions::json::construct::makes_json, resolve_aggregate,
};
use crate::nodes::CallDetail;
use crate::parser::json;
use flott_core::{LogicalType, TypeKind};
use sqlparser::ast::{
    self, DuplicateTreatment, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, NullTreatment,
};

/// The functions that [`variance`] takes apart.
const VARIANCES: &[&str] = &["STDDEV_POP", "STDDEV_SAMP", "STDDEV", "VAR_POP", "VAR_SAMP", "VARIANCE"];

/// An aggregate's call, bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallParts {
    /// Its arguments; none for `COUNT(*)`.
    pub args: Vec<Expr>,
    /// DISTINCT.
    pub distinct: bool,
    /// What it says besides.
    pub detail: CallDetail,
}

impl CallParts {
    /// Binds what stands in the parentheses of `name`.
    ///
    /// # Errors
    /// If an argument is wrong, or something stands there that the function does not take.
    pub fn bind(name: &str, function: &ast::Function, bind: &dyn Fn(&ast::Expr) -> SqlResult<Expr>) -> SqlResult<Self> {
        let FunctionArguments::List(list) = &function.args else {
            return Err(SqlError::new(
                Step::Syntax,
                format!("{name} needs arguments in parentheses"),
            ));
        };
        let mut parts = Self {
            args: vec![],
            distinct: list.duplicate_treatment == Some(DuplicateTreatment::Distinct),
            detail: CallDetail::Plain,
        };
        let mut symbol = None;
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => match symbol_of(e) {
                    Some(word) => symbol = Some(word),
                    None => parts.args.push(bind(e)?),
                },
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if name == "COUNT" => {}
                _ => return Err(SqlError::new(Step::Type, format!("{name} does not take '{arg}'"))),
            }
        }
        let mut nulls = function.null_treatment;
        for clause in &list.clauses {
            match clause {
                FunctionArgumentClause::IgnoreOrRespectNulls(treatment) => nulls = Some(*treatment),
                FunctionArgumentClause::OrderBy(_) => return Err(no_order(name)),
                other => return Err(SqlError::new(Step::Type, format!("{name} does not take '{other}'"))),
            }
        }
        if !function.within_group.is_empty() {
            return Err(no_order(name));
        }
        match (name, nulls) {
            (_, None) | ("ARRAY_AGG", Some(NullTreatment::RespectNulls)) => {}
            ("ARRAY_AGG", Some(NullTreatment::IgnoreNulls)) => parts.detail = CallDetail::AbsentNulls,
            (_, Some(treatment)) => {
                return Err(
                    SqlError::new(Step::Type, format!("{name} takes no {treatment}")).remedy(
                        "only ARRAY_AGG has a choice; FIRST_VALUE, LAST_VALUE, LISTAGG and COLLECT leave NULLs out",
                    ),
                );
            }
        }
        match name {
            "LISTAGG" => parts.separator(list)?,
            "LAG" => parts.offset()?,
            "JSON_ARRAYAGG" | "JSON_OBJECTAGG" => {
                if symbol.as_deref() == Some("ABSENT") {
                    parts.detail = CallDetail::AbsentNulls;
                }
                if let Some(value) = parts.args.pop() {
                    let is_json = makes_json(&value);
                    parts.args.push(if is_json {
                        value
                    } else {
                        call("JSON_STRING", vec![value])?
                    });
                }
            }
            _ => {}
        }
        Ok(parts)
    }

    /// Takes the constant behind LISTAGG's text for its separator.
    fn separator(&mut self, list: &ast::FunctionArgumentList) -> SqlResult<()> {
        if self.args.len() != 2 {
            return Ok(());
        }
        match self.args.pop().as_ref().map(Expr::as_literal) {
            Some(Some(Literal::String(text))) => {
                self.detail = CallDetail::Separator(text.clone());
                Ok(())
            }
            _ => {
                let error = SqlError::new(
                    Step::Type,
                    "the separator of LISTAGG must be a text constant, as in Flink",
                );
                Err(match list.args.get(1) {
                    Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(e))) => error.at_span(span_of(e)),
                    _ => error,
                }
                .remedy("write it in quotes: LISTAGG(name, ', ')"))
            }
        }
    }

    /// Takes the number behind LAG's value for how many rows it goes back; a third argument becomes of the value's type.
    fn offset(&mut self) -> SqlResult<()> {
        if self.args.len() < 2 {
            return Ok(());
        }
        match self.args.remove(1).as_literal() {
            Some(Literal::Integer(offset)) if *offset >= 0 => {
                self.detail = CallDetail::Offset(offset.unsigned_abs());
            }
            _ => {
                return Err(
                    SqlError::new(Step::Type, "how many rows LAG goes back must be a constant, 0 or more")
                        .remedy("write LAG(column, 2)"),
                );
            }
        }
        if self.args.len() == 2 {
            let default = self.args.remove(1);
            let to = self.args[0].ty().with_nullable(default.ty().nullable);
            self.args.push(cast_to(default, &to)?);
        }
        Ok(())
    }
}

/// The word that the parser keeps as a symbol.
fn symbol_of(expr: &ast::Expr) -> Option<String> {
    match expr {
        ast::Expr::Prefixed { prefix, value } if prefix.value == json::SYMBOL => match value.as_ref() {
            ast::Expr::Value(v) => v.value.clone().into_string(),
            _ => None,
        },
        _ => None,
    }
}

fn no_order(name: &str) -> SqlError {
    let text = match name {
        "ARRAY_AGG" => {
            "ARRAY_AGG takes no ORDER BY on a stream (Flink reads over it): values stand as they come".to_owned()
        }
        _ => format!("{name} takes no ORDER BY, as in Flink"),
    };
    SqlError::new(Step::Unsupported, text).remedy("sort what comes out of it, or leave ORDER BY away")
}

/// The value of an aggregate, of type `ty`, that is made of others and an expression behind them; `None` for one that
/// runs itself. `aggregate` gives the value of an aggregate.
///
/// # Errors
/// If an argument is wrong.
pub fn composed(
    name: &str,
    parts: &CallParts,
    ty: &LogicalType,
    aggregate: &mut dyn FnMut(&str, CallParts) -> SqlResult<Expr>,
) -> SqlResult<Option<Expr>> {
    let of = |arg: Expr| CallParts {
        args: vec![arg],
        ..parts.clone()
    };
    let value = match (name, parts.args.as_slice()) {
        (name, [arg]) if VARIANCES.contains(&name) => {
            variance(name, arg.clone(), ty, |name, arg| aggregate(name, of(arg)))?
        }
        ("PERCENTILE", [value, percentage, frequency @ ..]) => {
            let is_constant = check_percentage(percentage)?;
            let value = cast_to(value.clone(), &LogicalType::new(TypeKind::Double))?;
            let kept = match frequency {
                [frequency] => {
                    let frequency = cast_to(frequency.clone(), &LogicalType::new(TypeKind::BigInt))?;
                    call("ROW", vec![value, frequency])?
                }
                _ => value,
            };
            let values = aggregate("COLLECT", of(kept))?;
            let percentage = match is_constant {
                true => percentage.clone(),
                // any row's will do
                false => {
                    let first = CallParts {
                        distinct: false,
                        ..of(percentage.clone())
                    };
                    aggregate("FIRST_VALUE", first)?
                }
            };
            call("$PERCENTILE", vec![values, percentage])?
        }
        ("SINGLE_VALUE", [arg]) => call("$SINGLE_VALUE", vec![aggregate("ARRAY_AGG", of(arg.clone()))?])?,
        _ => return Ok(None),
    };
    Ok(Some(value))
}

/// Checks the percentages of PERCENTILE as far as they are constants; whether they are.
fn check_percentage(percentage: &Expr) -> SqlResult<bool> {
    if !percentage.is_constant() {
        return Ok(false);
    }
    let each = match percentage.as_call("ARRAY") {
        Some(elements) => elements.iter().collect(),
        None => vec![percentage],
    };
    for percentage in each {
        let folded = fold_constants(percentage, &EvalContext::default());
        let wrong = match folded.as_literal() {
            Some(Literal::Null) => Some("NULL".to_owned()),
            Some(Literal::Integer(v)) => (!(0..=1).contains(v)).then(|| v.to_string()),
            Some(Literal::Double(v)) => (!(0.0..=1.0).contains(v)).then(|| v.to_string()),
            Some(Literal::Decimal { unscaled, scale, .. }) => {
                let one = 10i128.pow(u32::from(*scale));
                (!(0..=one).contains(unscaled)).then(|| format!("{}", *unscaled as f64 / one as f64))
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            return Err(
                SqlError::new(Step::Type, format!("{wrong} is no percentage for PERCENTILE"))
                    .remedy("write a number from 0.0 to 1.0, or an ARRAY of such numbers; 0.5 is the median"),
            );
        }
    }
    Ok(true)
}

/// Standard deviation or variance of `arg`, of type `ty`, by Flink's formula, which decides the roundings:
///
/// ```text
/// VAR_POP = (SUM(x * x) - SUM(x) * SUM(x) / COUNT(x)) / COUNT(x)       _SAMP: / (COUNT(x) - 1), NULL for one value
/// STDDEV  = POWER(VAR, 0.5)
/// ```
///
/// `aggregate` gives the value of an aggregate over an expression.
pub fn variance(
    name: &str,
    arg: Expr,
    ty: &LogicalType,
    mut aggregate: impl FnMut(&str, Expr) -> SqlResult<Expr>,
) -> SqlResult<Expr> {
    let is_root = name.starts_with("STDDEV");
    let is_sample = !name.ends_with("_POP");
    let typed = cast_to(arg.clone(), &ty.with_nullable(arg.ty().nullable))?;
    let squares = aggregate("SUM", call("*", vec![typed.clone(), typed])?)?;
    let sum = aggregate("SUM", arg.clone())?;
    let count = aggregate("COUNT", arg)?;
    let square = call("*", vec![sum.clone(), sum])?;
    let mean = call("/", vec![square, count.clone()])?;
    let rest = call("-", vec![squares, mean])?;
    let denominator = match is_sample {
        false => count,
        true => {
            let is_one = call("=", vec![count.clone(), Expr::bigint(1)])?;
            let one_less = call("-", vec![count, Expr::bigint(1)])?;
            call("CASE", vec![is_one, Expr::null(TypeKind::BigInt), one_less])?
        }
    };
    let variance = call("/", vec![rest, denominator])?;
    let value = match is_root {
        false => variance,
        true => call("POWER", vec![variance, Expr::double(0.5)])?,
    };
    let ty = ty.with_nullable(value.ty().nullable);
    cast_to(value, &ty)
}

/// Type of an aggregate in a query that groups (`grouped`) or not, with or without FILTER: without a row, all but some are
/// NULL.
///
/// # Errors
/// If the function does not take these arguments.
pub fn aggregate_type(name: &str, parts: &CallParts, may_be_empty: bool) -> SqlResult<LogicalType> {
    let types: Vec<_> = parts.args.iter().map(|a| a.ty().clone()).collect();
    let mut ty = resolve_aggregate(name, &types, parts.distinct).map_err(|e| function_error(&e))?;
    let is_always_there = matches!(
        name,
        "COUNT" | "COLLECT" | "ARRAY_AGG" | "JSON_ARRAYAGG" | "JSON_OBJECTAGG" | "LAG"
    );
    if may_be_empty && !is_always_there {
        ty.nullable = true;
    }
    Ok(ty)
}
