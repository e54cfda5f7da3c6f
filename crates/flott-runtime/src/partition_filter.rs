//! [`PartitionFilter`]: what the values of a table's PARTITIONED BY columns must be for a row to be wanted.
//!
//! A filter only tells which partitions need not be read; whoever asks still filters the rows. So it may be weaker than the
//! condition that it was made of, never stronger. Values are text, as the names of partitions are.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A condition on partition columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionFilter {
    /// Every one holds.
    All(Vec<PartitionFilter>),
    /// At least one holds.
    Any(Vec<PartitionFilter>),
    /// The column's value, which is not NULL, stands so to this one.
    Compare {
        /// The column.
        column: String,
        /// How.
        operator: Comparison,
        /// The other value: a number in digits, `true` or `false`, a date as `yyyy-MM-dd`, or a text as it is.
        value: String,
    },
    /// The column's value is NULL, or is not.
    Null {
        /// The column.
        column: String,
        /// IS NOT NULL.
        negated: bool,
    },
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// Of an operator of SQL.
    pub fn of(operator: &str) -> Option<Self> {
        Some(match operator {
            "=" => Self::Equal,
            "<>" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    /// The same with the sides exchanged.
    pub fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }

    /// Whether it holds of two values that stand so.
    pub fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

impl fmt::Display for PartitionFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, name: &str, filters: &[Self]| {
            write!(f, "{name}(")?;
            for (i, filter) in filters.iter().enumerate() {
                write!(f, "{}{filter}", if i > 0 { ", " } else { "" })?;
            }
            f.write_str(")")
        };
        match self {
            Self::All(filters) => list(f, "and", filters),
            Self::Any(filters) => list(f, "or", filters),
            Self::Compare {
                column,
                operator,
                value,
            } => write!(f, "{operator}({column}, '{value}')"),
            Self::Null { column, negated: false } => write!(f, "IS NULL({column})"),
            Self::Null { column, negated: true } => write!(f, "IS NOT NULL({column})"),
        }
    }
}
