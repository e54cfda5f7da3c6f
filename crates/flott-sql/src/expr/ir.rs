//! The expression tree: typed, serialisable, free of names.
//!
//! Invariants: every node carries its type; a `Call`'s function is Flink's SQL name in upper case (`+`, `=`, `AND`,
//! `CAST`, `CASE`, `IS NULL`, `MOD`); a plan file holds this tree as JSON, so variants are only ever added.
//!
//! Conventions of argument lists:
//!
//! | function | arguments |
//! |---|---|
//! | `CASE` | condition, value, condition, value, …, else |
//! | `CAST`, `TRY_CAST` | the operand; the target is the call's type |
//! | `DOT` | a ROW, then the field's position (from 0) as an INT literal |
//! | `ITEM` | an ARRAY and a position from 1, or a MAP and a key |
//! | `EXTRACT` | unit symbol, operand |
//! | `FLOOR`, `CEIL` | operand, and a unit symbol where the operand is a time |
//! | `TIMESTAMPADD`, `TIMESTAMPDIFF` | unit symbol, then the two operands |
//! | `TRIM` | symbol `BOTH`, `LEADING` or `TRAILING`, the characters, the operand |
//! | `IN` | the operand, then constants |

use flott_core::{LogicalType, TypeKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

/// An expression over the columns of one input.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Expr {
    /// A column of the input.
    InputRef {
        /// Position from 0.
        index: usize,
        /// Type of the column.
        ty: LogicalType,
    },
    /// A constant.
    Literal {
        /// Its value.
        value: Literal,
        /// Its type.
        ty: LogicalType,
    },
    /// A function or operator applied to arguments.
    Call {
        /// Flink's SQL name, upper case.
        function: String,
        /// Arguments in the order of the module's table.
        args: Vec<Expr>,
        /// Type of the result.
        ty: LogicalType,
    },
}

/// The value of a constant; what it means depends on the type beside it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Literal {
    /// NULL of any type.
    Null,
    /// BOOLEAN
    Boolean(bool),
    /// TINYINT to BIGINT
    Integer(i64),
    /// DECIMAL
    Decimal {
        /// The digits without the point.
        #[serde(with = "text")]
        unscaled: i128,
        /// Number of digits.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
    },
    /// FLOAT, DOUBLE
    Double(#[serde(with = "text")] f64),
    /// CHAR, VARCHAR
    String(String),
    /// BINARY, VARBINARY
    Binary(Vec<u8>),
    /// DATE: days since the epoch
    Date(i32),
    /// TIME: milliseconds of the day
    Time(i32),
    /// TIMESTAMP, TIMESTAMP_LTZ: since the epoch in the unit of the type's precision
    /// ([`flott_core::types::timestamp_unit`])
    Timestamp(i64),
    /// INTERVAL YEAR TO MONTH
    IntervalMonths(i32),
    /// INTERVAL DAY TO SECOND
    IntervalMs(i64),
    /// A keyword argument such as a time unit (`HOUR`); its type is CHAR
    Symbol(String),
}

/// Numbers that JSON cannot hold (128 bits, NaN, infinities), as text.
mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::fmt::Display;
    use std::str::FromStr;

    pub fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl PartialEq for Literal {
    /// Doubles are equal when their bits are: a NaN equals itself, 0.0 differs from -0.0.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (
                Self::Decimal {
                    unscaled: a,
                    precision: p,
                    scale: s,
                },
                Self::Decimal {
                    unscaled: b,
                    precision: q,
                    scale: t,
                },
            ) => (a, p, s) == (b, q, t),
            (Self::Double(a), Self::Double(b)) => a.to_bits() == b.to_bits(),
            (Self::String(a), Self::String(b)) | (Self::Symbol(a), Self::Symbol(b)) => a == b,
            (Self::Binary(a), Self::Binary(b)) => a == b,
            (Self::Date(a), Self::Date(b))
            | (Self::Time(a), Self::Time(b))
            | (Self::IntervalMonths(a), Self::IntervalMonths(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) | (Self::IntervalMs(a), Self::IntervalMs(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Literal {}

impl Hash for Literal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Null => {}
            Self::Boolean(v) => v.hash(state),
            Self::Integer(v) | Self::Timestamp(v) | Self::IntervalMs(v) => v.hash(state),
            Self::Decimal {
                unscaled,
                precision,
                scale,
            } => (unscaled, precision, scale).hash(state),
            Self::Double(v) => v.to_bits().hash(state),
            Self::String(v) | Self::Symbol(v) => v.hash(state),
            Self::Binary(v) => v.hash(state),
            Self::Date(v) | Self::Time(v) | Self::IntervalMonths(v) => v.hash(state),
        }
    }
}

/// Operands up to which a chain is left as it was written.
const FEW_OPERANDS: usize = 16;

impl Expr {
    /// Column `index`.
    pub fn input(index: usize, ty: LogicalType) -> Self {
        Self::InputRef { index, ty }
    }

    /// A constant of this type.
    pub fn literal(value: Literal, ty: LogicalType) -> Self {
        Self::Literal { value, ty }
    }

    /// NULL of this kind.
    pub fn null(kind: TypeKind) -> Self {
        Self::literal(Literal::Null, LogicalType::new(kind))
    }

    /// An INT constant.
    pub fn int(value: i32) -> Self {
        Self::literal(Literal::Integer(value.into()), LogicalType::not_null(TypeKind::Int))
    }

    /// A BIGINT constant.
    pub fn bigint(value: i64) -> Self {
        Self::literal(Literal::Integer(value), LogicalType::not_null(TypeKind::BigInt))
    }

    /// TRUE or FALSE.
    pub fn boolean(value: bool) -> Self {
        Self::literal(Literal::Boolean(value), LogicalType::not_null(TypeKind::Boolean))
    }

    /// A DOUBLE constant.
    pub fn double(value: f64) -> Self {
        Self::literal(Literal::Double(value), LogicalType::not_null(TypeKind::Double))
    }

    /// A character constant: CHAR(n) NOT NULL, where Flink counts n in UTF-16 units.
    pub fn string(value: impl Into<String>) -> Self {
        let value = value.into();
        let length = u32::try_from(value.encode_utf16().count()).unwrap_or(u32::MAX);
        Self::literal(Literal::String(value), LogicalType::not_null(TypeKind::Char(length)))
    }

    /// A keyword argument (`HOUR`, `BOTH`), upper-cased.
    pub fn symbol(value: &str) -> Self {
        let value = value.to_uppercase();
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        Self::literal(Literal::Symbol(value), LogicalType::not_null(TypeKind::Char(length)))
    }

    /// A call whose type the caller knows; [`super::resolve_call`] derives it instead.
    pub fn call(function: impl Into<String>, args: Vec<Expr>, ty: LogicalType) -> Self {
        Self::Call {
            function: function.into(),
            args,
            ty,
        }
    }

    /// Field `index` of a ROW expression: NULL where the row is. `None` where this is no ROW with such a field.
    pub fn field(self, index: usize) -> Option<Self> {
        let TypeKind::Row(fields) = &self.ty().kind else {
            return None;
        };
        let field = fields.get(index)?;
        let ty = field.ty.with_nullable(field.ty.nullable || self.ty().nullable);
        let position = Self::int(i32::try_from(index).ok()?);
        Some(Self::call("DOT", vec![self, position], ty))
    }

    /// Type of the values.
    pub fn ty(&self) -> &LogicalType {
        match self {
            Self::InputRef { ty, .. } | Self::Literal { ty, .. } | Self::Call { ty, .. } => ty,
        }
    }

    /// The arguments; none for columns and constants.
    pub fn args(&self) -> &[Expr] {
        match self {
            Self::Call { args, .. } => args,
            _ => &[],
        }
    }

    /// The constant's value, if this is one.
    pub fn as_literal(&self) -> Option<&Literal> {
        match self {
            Self::Literal { value, .. } => Some(value),
            _ => None,
        }
    }

    /// Whether this is a call of `name`, and its arguments.
    pub fn as_call(&self, name: &str) -> Option<&[Expr]> {
        match self {
            Self::Call { function, args, .. } if function == name => Some(args),
            _ => None,
        }
    }

    /// Calls `visit` on this node and all below it, parents first.
    pub fn visit(&self, visit: &mut impl FnMut(&Expr)) {
        visit(self);
        for arg in self.args() {
            arg.visit(visit);
        }
    }

    /// Columns that the expression reads.
    pub fn input_refs(&self) -> BTreeSet<usize> {
        let mut refs = BTreeSet::new();
        self.visit(&mut |e| {
            if let Self::InputRef { index, .. } = e {
                refs.insert(*index);
            }
        });
        refs
    }

    /// The same expression with each column replaced by what `map` gives for its position and type.
    pub fn map_inputs(&self, map: &mut impl FnMut(usize, &LogicalType) -> Expr) -> Expr {
        match self {
            Self::InputRef { index, ty } => map(*index, ty),
            Self::Literal { .. } => self.clone(),
            Self::Call { function, args, ty } => Self::Call {
                function: function.clone(),
                args: args.iter().map(|a| a.map_inputs(map)).collect(),
                ty: ty.clone(),
            },
        }
    }

    /// Whether equal inputs always give equal results (no `RAND`, no clock).
    pub fn is_deterministic(&self) -> bool {
        match self {
            Self::Call { function, args, .. } => {
                !super::registry::is_dynamic(function) && args.iter().all(Self::is_deterministic)
            }
            _ => true,
        }
    }

    /// Whether the value depends neither on a row nor on the clock.
    pub fn is_constant(&self) -> bool {
        match self {
            Self::InputRef { .. } => false,
            Self::Literal { .. } => true,
            Self::Call { function, args, .. } => {
                !super::registry::is_dynamic(function) && args.iter().all(Self::is_constant)
            }
        }
    }

    /// One expression of many by an operator that may be regrouped (AND, OR); `None` of none. Many make a tree that is as
    /// flat as it can be, for what is done with expressions goes down by recursion; few stay `(a AND b) AND c`.
    ///
    /// # Errors
    /// The first of `join`.
    pub fn join_all<E>(
        mut operands: Vec<Self>,
        join: &mut dyn FnMut(Self, Self) -> Result<Self, E>,
    ) -> Result<Option<Self>, E> {
        while operands.len() > FEW_OPERANDS {
            let mut joined = Vec::with_capacity(operands.len().div_ceil(2));
            let mut rest = operands.into_iter();
            while let Some(left) = rest.next() {
                joined.push(match rest.next() {
                    Some(right) => join(left, right)?,
                    None => left,
                });
            }
            operands = joined;
        }
        let mut rest = operands.into_iter();
        let Some(first) = rest.next() else { return Ok(None) };
        rest.try_fold(first, join).map(Some)
    }

    /// The conjuncts of a condition: `a AND (b AND c)` gives a, b, c.
    pub fn conjuncts(&self) -> Vec<&Expr> {
        match self.as_call("AND") {
            Some(args) => args.iter().flat_map(Self::conjuncts).collect(),
            None => vec![self],
        }
    }
}
