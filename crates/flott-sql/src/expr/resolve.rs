//! From a name and arguments to a typed call: sugar is taken away, types are derived, implicit casts put in.

use super::cast;
use super::registry::{self, Function};
use super::types::{comparison_kind, least_restrictive, merged};
use super::{Expr, FunctionError, Literal};
use flott_core::{LogicalType, TypeKind};

/// Names that mean another function.
pub const ALIASES: [(&str, &str); 15] = [
    ("TRANSLATE3", "TRANSLATE"),
    ("CEILING", "CEIL"),
    ("CHARACTER_LENGTH", "CHAR_LENGTH"),
    ("SUBSTR", "SUBSTRING"),
    ("YEAR", "EXTRACT"),
    ("QUARTER", "EXTRACT"),
    ("MONTH", "EXTRACT"),
    ("WEEK", "EXTRACT"),
    ("DAYOFYEAR", "EXTRACT"),
    ("DAYOFMONTH", "EXTRACT"),
    ("DAYOFWEEK", "EXTRACT"),
    ("HOUR", "EXTRACT"),
    ("MINUTE", "EXTRACT"),
    ("SECOND", "EXTRACT"),
    ("NULLIF", "CASE"),
];

/// Why a function cannot take its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Number or types of the arguments.
    Arguments,
    /// No type in common.
    NoCommonType,
    /// A constant argument is no good; the text says why and what would be right.
    Constant(String),
}

/// The arguments of a call while its type is derived.
pub struct Arguments {
    /// The function's name.
    pub name: String,
    /// The arguments; casts may be put around them.
    pub exprs: Vec<Expr>,
}

impl Arguments {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.exprs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.exprs.is_empty()
    }

    /// Refuses unless there are between `min` and `max` arguments.
    pub fn count(&self, min: usize, max: usize) -> Result<(), Refusal> {
        if (min..=max).contains(&self.len()) {
            Ok(())
        } else {
            Err(Refusal::Arguments)
        }
    }

    /// Kind of argument `i`, which [`Self::count`] has shown to exist.
    pub fn kind(&self, i: usize) -> &TypeKind {
        &self.exprs[i].ty().kind
    }

    /// Whether any argument can be NULL.
    pub fn nullable(&self) -> bool {
        self.exprs.iter().any(|e| e.ty().nullable)
    }

    /// This kind, nullable if any argument is.
    pub fn result(&self, kind: TypeKind) -> LogicalType {
        LogicalType {
            kind,
            nullable: self.nullable(),
        }
    }

    /// Puts a cast around argument `i` unless it has this kind.
    pub fn cast(&mut self, i: usize, to: &TypeKind) -> Result<(), Refusal> {
        let from = self.kind(i);
        if from == to || (from.is_string() && to.is_string()) {
            return Ok(());
        }
        let arg = self.exprs[i].clone();
        let ty = LogicalType::new(to.clone());
        self.exprs[i] = resolve_cast(arg, ty, false).map_err(|_| Refusal::Arguments)?;
        Ok(())
    }

    /// Refuses unless argument `i` satisfies `test`; an untyped NULL becomes `otherwise`.
    pub fn require(&mut self, i: usize, test: impl Fn(&TypeKind) -> bool, otherwise: TypeKind) -> Result<(), Refusal> {
        if self.kind(i) == &TypeKind::Null {
            return self.cast(i, &otherwise);
        }
        if test(self.kind(i)) {
            Ok(())
        } else {
            Err(Refusal::Arguments)
        }
    }

    /// Refuses unless argument `i` is a string.
    pub fn string(&mut self, i: usize) -> Result<(), Refusal> {
        self.require(i, TypeKind::is_string, TypeKind::Varchar(flott_core::types::MAX_LENGTH))
    }

    /// Refuses unless argument `i` is an integer that INT holds; it becomes INT.
    pub fn int(&mut self, i: usize) -> Result<(), Refusal> {
        self.require(
            i,
            |k| matches!(k, TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int),
            TypeKind::Int,
        )?;
        self.cast(i, &TypeKind::Int)
    }

    /// Refuses unless argument `i` is a number.
    pub fn number(&mut self, i: usize) -> Result<(), Refusal> {
        self.require(i, TypeKind::is_numeric, TypeKind::Int)
    }

    /// Refuses unless argument `i` is a BOOLEAN.
    pub fn boolean(&mut self, i: usize) -> Result<(), Refusal> {
        self.require(i, |k| k == &TypeKind::Boolean, TypeKind::Boolean)
    }

    /// Brings the arguments at `positions` to the type that they have in common.
    pub fn unify(&mut self, positions: &[usize]) -> Result<LogicalType, Refusal> {
        let common = least_restrictive(positions.iter().map(|i| self.exprs[*i].ty())).ok_or(Refusal::NoCommonType)?;
        for i in positions {
            self.cast(*i, &common.kind)?;
        }
        Ok(common)
    }

    /// As [`Self::unify`] over all arguments from `first` on, by the rule of functions ([`merged`]).
    pub fn merge(&mut self, first: usize) -> Result<LogicalType, Refusal> {
        let types: Vec<&LogicalType> = self.exprs[first..].iter().map(Expr::ty).collect();
        let common = merged(types).ok_or(Refusal::NoCommonType)?;
        for i in first..self.len() {
            self.cast(i, &common.kind)?;
        }
        Ok(common)
    }

    /// Brings arguments `i` and `j` to kinds that can be compared: numbers and strings stay as they are (comparing
    /// converts them), a string beside a date, time or interval is cast to that.
    pub fn comparable(&mut self, i: usize, j: usize) -> Result<(), Refusal> {
        let kind = comparison_kind(self.kind(i), self.kind(j)).ok_or(Refusal::Arguments)?;
        for k in [i, j] {
            let stays = |x: &TypeKind| x.is_numeric() || x.is_string() || x.is_binary();
            if !(stays(self.kind(k)) && stays(&kind)) {
                self.cast(k, &kind)?;
            }
        }
        Ok(())
    }

    /// The text of argument `i` where it is a constant string or symbol.
    pub fn constant_text(&self, i: usize) -> Option<&str> {
        match self.exprs.get(i)?.as_literal()? {
            Literal::String(s) | Literal::Symbol(s) => Some(s),
            _ => None,
        }
    }
}

/// The typed call of `name` on `args`, with implicit casts put in.
///
/// Sugar may come back as something else: `HOUR(x)` is `EXTRACT(FLAG(HOUR), x)`, `NULLIF` a `CASE`, `BETWEEN` two
/// comparisons.
///
/// # Errors
/// If there is no such function (the nearest name is in the text) or it cannot take these arguments.
pub fn resolve_call(name: &str, args: Vec<Expr>) -> Result<Expr, FunctionError> {
    let name = name.to_uppercase();
    match (name.as_str(), args.len()) {
        ("BETWEEN" | "NOT BETWEEN" | "BETWEEN SYMMETRIC" | "NOT BETWEEN SYMMETRIC", 3) => return between(&name, args),
        ("NOT IN" | "NOT LIKE" | "NOT SIMILAR TO", _) => {
            let positive = resolve_call(name.trim_start_matches("NOT "), args)?;
            return resolve_call("NOT", vec![positive]);
        }
        ("NULLIF", 2) => return nullif(args),
        (
            "YEAR" | "QUARTER" | "MONTH" | "WEEK" | "DAYOFYEAR" | "DAYOFMONTH" | "DAYOFWEEK" | "HOUR" | "MINUTE"
            | "SECOND",
            1,
        ) => {
            let unit = match name.as_str() {
                "DAYOFYEAR" => "DOY",
                "DAYOFMONTH" => "DAY",
                "DAYOFWEEK" => "DOW",
                unit => unit,
            };
            let args = std::iter::once(Expr::symbol(unit)).chain(args).collect();
            return resolve_call("EXTRACT", args);
        }
        ("+", 1) => return typed(registry::lookup("UNARY +"), "UNARY +", args).map(|e| e.args()[0].clone()),
        ("-", 1) => return negate(args),
        _ => {}
    }
    let canonical = ALIASES
        .iter()
        .find(|(alias, _)| *alias == name)
        .map_or(name.as_str(), |(_, n)| n);
    typed(registry::lookup(canonical), canonical, args)
}

fn typed(function: Option<&'static Function>, name: &str, exprs: Vec<Expr>) -> Result<Expr, FunctionError> {
    let function = function.ok_or_else(|| registry::unknown(name))?;
    let given: Vec<String> = exprs.iter().map(|a| a.ty().to_string()).collect();
    let mut arguments = Arguments {
        name: name.to_owned(),
        exprs,
    };
    match (function.infer)(&mut arguments) {
        Ok(ty) => Ok(Expr::call(name, arguments.exprs, ty)),
        Err(Refusal::Arguments) => Err(FunctionError::Arguments {
            // what the parser makes of other syntax has a name of ours
            name: name.trim_start_matches('$').to_owned(),
            given: given.join(", "),
            expected: function.signatures.to_owned(),
        }),
        Err(Refusal::NoCommonType) => Err(FunctionError::NoCommonType {
            name: name.to_owned(),
            given: given.join(", "),
        }),
        Err(Refusal::Constant(problem)) => Err(FunctionError::Constant {
            name: name.to_owned(),
            problem,
        }),
    }
}

/// `-x`; of a constant, the constant with the other sign.
fn negate(args: Vec<Expr>) -> Result<Expr, FunctionError> {
    if let [Expr::Literal { value, ty }] = args.as_slice() {
        let negated = match value {
            Literal::Integer(v) => Some(Literal::Integer(v.wrapping_neg())),
            Literal::Double(v) => Some(Literal::Double(-v)),
            Literal::Decimal {
                unscaled,
                precision,
                scale,
            } => Some(Literal::Decimal {
                unscaled: -unscaled,
                precision: *precision,
                scale: *scale,
            }),
            Literal::IntervalMonths(v) => Some(Literal::IntervalMonths(-v)),
            Literal::IntervalMs(v) => Some(Literal::IntervalMs(-v)),
            _ => None,
        };
        if let Some(value) = negated {
            return Ok(Expr::literal(value, ty.clone()));
        }
    }
    typed(registry::lookup("UNARY -"), "UNARY -", args)
}

fn between(name: &str, args: Vec<Expr>) -> Result<Expr, FunctionError> {
    let [x, low, high]: [Expr; 3] = args.try_into().map_err(|_| registry::unknown(name))?;
    let within = |low: &Expr, high: &Expr| {
        let from = resolve_call(">=", vec![x.clone(), low.clone()])?;
        let to = resolve_call("<=", vec![x.clone(), high.clone()])?;
        resolve_call("AND", vec![from, to])
    };
    let inside = if name.ends_with("SYMMETRIC") {
        resolve_call("OR", vec![within(&low, &high)?, within(&high, &low)?])?
    } else {
        within(&low, &high)?
    };
    if name.starts_with("NOT ") {
        resolve_call("NOT", vec![inside])
    } else {
        Ok(inside)
    }
}

fn nullif(args: Vec<Expr>) -> Result<Expr, FunctionError> {
    let value = args[0].clone();
    let same = resolve_call("=", args)?;
    let null = Expr::null(value.ty().kind.clone());
    resolve_call("CASE", vec![same, null, value])
}

/// `CAST(arg AS to)`, or `TRY_CAST` which gives NULL where the cast fails. The result's nullability is derived from
/// `arg`; that of `to` is ignored. A NULL without a type takes the type.
///
/// # Errors
/// If Flink knows no such cast.
pub fn resolve_cast(arg: Expr, to: LogicalType, try_cast: bool) -> Result<Expr, FunctionError> {
    if arg.ty().kind == TypeKind::Null && arg.as_literal().is_some() {
        return Ok(Expr::null(to.kind));
    }
    cast::supported(&arg.ty().kind, &to.kind).map_err(|remedy| FunctionError::Cast {
        from: arg.ty().to_string(),
        to: to.kind.to_string(),
        remedy,
    })?;
    let nullable = arg.ty().nullable || try_cast;
    if arg.ty().kind == to.kind {
        return Ok(arg);
    }
    let function = if try_cast { "TRY_CAST" } else { "CAST" };
    Ok(Expr::call(function, vec![arg], to.with_nullable(nullable)))
}
