//! Text of expressions as Flink's EXPLAIN prints them.
//!
//! The optimized physical plan has prefix form (`=(MOD(auction, 123), 0)`), the execution plan infix form
//! (`(MOD(auction, 123) = 0)`); the tree without names prints columns as `$0`. Constants carry their type where a
//! reader could not tell it: `10`, `10:BIGINT`, `0.908:DECIMAL(3, 3)`.

use super::{Expr, Literal};
use flott_core::types::MAX_LENGTH;
use flott_core::{LogicalType, TypeKind};
use std::fmt;

/// Where operators stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// `=(a, 1)`: AST and optimized physical plan.
    Prefix,
    /// `(a = 1)`: optimized execution plan.
    Infix,
}

/// Prints an expression with the names of its input's columns; a column beyond them prints as `$i`.
pub struct Explained<'a> {
    expr: &'a Expr,
    names: &'a [String],
    notation: Notation,
}

impl Expr {
    /// The text of this expression over columns of these names.
    pub fn explain<'a>(&'a self, names: &'a [String], notation: Notation) -> Explained<'a> {
        Explained {
            expr: self,
            names,
            notation,
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.explain(&[], Notation::Prefix).fmt(f)
    }
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expr {
            Expr::InputRef { index, .. } => match self.names.get(*index) {
                Some(name) => f.write_str(name),
                None => write!(f, "${index}"),
            },
            Expr::Literal { value, ty } => write_literal(value, ty, f),
            Expr::Call { function, args, ty } => self.write_call(function, args, ty, f),
        }
    }
}

impl Explained<'_> {
    fn write_call(&self, function: &str, args: &[Expr], ty: &LogicalType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |expr| Explained {
            expr,
            names: self.names,
            notation: self.notation,
        };
        match (function, args) {
            ("CAST" | "TRY_CAST", [arg]) => write!(f, "{function}({} AS {})", part(arg), FullType(&ty.kind)),
            ("DOT", [row, Expr::Literal { value, .. }]) => match (&row.ty().kind, value) {
                (TypeKind::Row(fields), Literal::Integer(i)) => {
                    let name = usize::try_from(*i).ok().and_then(|i| fields.get(i)).map(|x| &x.name);
                    write!(f, "{}.{}", part(row), name.map_or("?", String::as_str))
                }
                _ => write!(f, "DOT({}, ?)", part(row)),
            },
            (name, args) if self.notation == Notation::Infix && args.len() >= 2 && is_infix(name) => {
                f.write_str("(")?;
                for (i, arg) in args.iter().enumerate() {
                    if i > 0 {
                        write!(f, " {name} ")?;
                    }
                    write!(f, "{}", part(arg))?;
                }
                f.write_str(")")
            }
            (name, [arg]) if self.notation == Notation::Infix && name.starts_with("IS ") => {
                write!(f, "{} {name}", part(arg))
            }
            (name, args) => {
                write!(f, "{}(", name.strip_prefix("UNARY ").unwrap_or(name))?;
                for (i, arg) in args.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { ", " } else { "" }, part(arg))?;
                }
                f.write_str(")")
            }
        }
    }
}

fn is_infix(name: &str) -> bool {
    matches!(
        name,
        "+" | "-" | "*" | "/" | "%" | "=" | "<>" | "<" | "<=" | ">" | ">=" | "AND" | "OR" | "||" | "LIKE"
    )
}

fn write_literal(value: &Literal, ty: &LogicalType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Literal::Null => write!(f, "null:{}", FullType(&ty.kind)),
        Literal::Boolean(v) => write!(f, "{v}"),
        Literal::Integer(v) if ty.kind == TypeKind::Int => write!(f, "{v}"),
        Literal::Integer(v) => write!(f, "{v}:{}", FullType(&ty.kind)),
        Literal::Decimal { unscaled, scale, .. } => {
            write!(f, "{}:{}", decimal_text(*unscaled, *scale), FullType(&ty.kind))
        }
        Literal::Double(v) => write!(f, "{v:E}:{}", FullType(&ty.kind)),
        Literal::String(v) => {
            write!(f, "'{}'", v.replace('\'', "''"))?;
            match ty.kind {
                TypeKind::Varchar(_) => write!(f, ":{}", FullType(&ty.kind)),
                _ => Ok(()),
            }
        }
        Literal::Binary(v) => {
            f.write_str("X'")?;
            v.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
            f.write_str("'")
        }
        Literal::Symbol(v) => write!(f, "FLAG({v})"),
        Literal::IntervalMonths(v) => write!(f, "{v}:INTERVAL YEAR TO MONTH"),
        Literal::IntervalMs(v) => write!(f, "{v}:INTERVAL DAY TO SECOND"),
        Literal::Date(days) => {
            let date = chrono::DateTime::from_timestamp(i64::from(*days) * 86_400, 0);
            write!(
                f,
                "{}",
                date.map(|d| d.format("%Y-%m-%d").to_string()).unwrap_or_default()
            )
        }
        Literal::Time(ms) => {
            let time = chrono::DateTime::from_timestamp_millis(i64::from(*ms));
            write!(
                f,
                "{}",
                time.map(|d| d.format("%H:%M:%S").to_string()).unwrap_or_default()
            )
        }
        Literal::Timestamp(v) => {
            let precision = match ty.kind {
                TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => p,
                _ => 3,
            };
            let time = match precision {
                0..=3 => chrono::DateTime::from_timestamp_millis(*v),
                4..=6 => chrono::DateTime::from_timestamp_micros(*v),
                _ => Some(chrono::DateTime::from_timestamp_nanos(*v)),
            };
            let text = time
                .map(|t| t.format("%Y-%m-%d %H:%M:%S%.f").to_string())
                .unwrap_or_default();
            write!(f, "{text}:{}", FullType(&ty.kind))
        }
    }
}

/// Digits of a decimal with its point: `unscaled` / 10^`scale`.
pub(crate) fn decimal_text(unscaled: i128, scale: u8) -> String {
    if scale == 0 {
        return unscaled.to_string();
    }
    let digits = unscaled.unsigned_abs().to_string();
    let digits = format!("{digits:0>width$}", width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    format!("{}{whole}.{fraction}", if unscaled < 0 { "-" } else { "" })
}

/// A type as Calcite prints it: VARCHAR(2147483647) rather than STRING.
struct FullType<'a>(&'a TypeKind);

impl fmt::Display for FullType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            TypeKind::Int => f.write_str("INTEGER"),
            TypeKind::Varchar(MAX_LENGTH) => write!(f, "VARCHAR({MAX_LENGTH})"),
            TypeKind::Varbinary(MAX_LENGTH) => write!(f, "VARBINARY({MAX_LENGTH})"),
            TypeKind::TimestampLtz(p) => write!(f, "TIMESTAMP_WITH_LOCAL_TIME_ZONE({p})"),
            kind => kind.fmt(f),
        }
    }
}
