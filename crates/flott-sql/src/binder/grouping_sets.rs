//! GROUPING SETS, CUBE and ROLLUP: which sets a GROUP BY means ([`group_sets`]), and the functions that tell them apart
//! ([`SetFunctions`]).

use super::expr::span_of;
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::{Expr, Literal, resolve_call};
use crate::nodes::ExpandSet;
use flott_core::{LogicalType, TypeKind};
use sqlparser::ast::{self, GroupByExpr};

/// Sets that one GROUP BY may have.
const MAX_SETS: usize = 4096;
/// Keys that sets may be made of: their numbers are bits of a BIGINT.
const MAX_KEYS: usize = 62;

/// The sets of a GROUP BY, each a list of expressions; one set where there is no GROUPING SETS, CUBE or ROLLUP.
///
/// Elements of GROUP BY are multiplied: `a, ROLLUP (b)` is `(a, b), (a)`.
///
/// # Errors
/// If a form is not Flink's, or there are too many sets.
pub fn group_sets(group_by: &GroupByExpr) -> SqlResult<Vec<Vec<&ast::Expr>>> {
    let GroupByExpr::Expressions(elements, modifiers) = group_by else {
        return Err(SqlError::new(Step::Unsupported, "Flink has no GROUP BY ALL"));
    };
    if !modifiers.is_empty() {
        return Err(
            SqlError::new(Step::Unsupported, "GROUP BY … WITH is not supported").remedy("write ROLLUP (…), CUBE (…)")
        );
    }
    let mut sets: Vec<Vec<&ast::Expr>> = vec![vec![]];
    for element in elements {
        let choices = sets_of(element)?;
        let too_many = || {
            SqlError::new(
                Step::Unsupported,
                format!("GROUP BY has more than {MAX_SETS} grouping sets"),
            )
            .at_span(span_of(element))
            .remedy("group in several queries")
        };
        if sets.len().saturating_mul(choices.len()) > MAX_SETS {
            return Err(too_many());
        }
        let mut multiplied = Vec::with_capacity(sets.len() * choices.len());
        for set in &sets {
            multiplied.extend(choices.iter().map(|choice| [set.as_slice(), choice].concat()));
        }
        sets = multiplied;
    }
    Ok(sets)
}

fn sets_of(element: &ast::Expr) -> SqlResult<Vec<Vec<&ast::Expr>>> {
    fn flat(parts: &[Vec<ast::Expr>]) -> Vec<&ast::Expr> {
        parts.iter().flatten().collect()
    }
    Ok(match element {
        ast::Expr::GroupingSets(sets) => sets.iter().map(|set| set.iter().collect()).collect(),
        ast::Expr::Rollup(parts) => (0..=parts.len()).rev().map(|n| flat(&parts[..n])).collect(),
        ast::Expr::Cube(parts) if parts.len() > 12 => {
            return Err(SqlError::new(
                Step::Unsupported,
                format!("CUBE of {} parts has more than {MAX_SETS} grouping sets", parts.len()),
            )
            .at_span(span_of(element))
            .remedy("name the sets that you need in GROUPING SETS (…)"));
        }
        ast::Expr::Cube(parts) => {
            let is_chosen = |mask: usize, i: usize| (mask >> (parts.len() - 1 - i)) & 1 == 0;
            let chosen = |mask: usize| {
                let parts = parts.iter().enumerate().filter(|(i, _)| is_chosen(mask, *i));
                parts.flat_map(|(_, part)| part).collect()
            };
            (0..1usize << parts.len()).map(chosen).collect()
        }
        plain => vec![vec![plain]],
    })
}

/// The sets of a grouping over bound keys, and where their number is.
#[derive(Debug, Clone)]
pub struct SetFunctions {
    /// The sets; none: a plain GROUP BY.
    pub sets: Vec<ExpandSet>,
    /// GROUP_ID() of all of them.
    pub group_id: i64,
}

impl SetFunctions {
    /// A plain GROUP BY.
    pub fn plain() -> Self {
        Self {
            sets: vec![],
            group_id: 0,
        }
    }

    /// Sets of keys, told by their positions among `keys` keys: those that come once together, then those that come a second
    /// time, and so on, which GROUP_ID() tells apart.
    ///
    /// # Errors
    /// If there are too many keys.
    pub fn levels(sets: &[Vec<usize>], keys: usize) -> SqlResult<Vec<Self>> {
        if keys > MAX_KEYS {
            return Err(SqlError::new(
                Step::Unsupported,
                format!("GROUPING SETS takes at most {MAX_KEYS} columns, got {keys}"),
            )
            .remedy("put several columns into a ROW"));
        }
        let mut levels: Vec<Self> = vec![];
        for set in sets {
            let has: Vec<bool> = (0..keys).map(|k| set.contains(&k)).collect();
            let id = has.iter().fold(0, |id, has| (id << 1) | i64::from(!has));
            let set = ExpandSet { has, id };
            match levels.iter_mut().find(|level| !level.sets.contains(&set)) {
                Some(level) => level.sets.push(set),
                None => levels.push(Self {
                    sets: vec![set],
                    group_id: levels.len() as i64,
                }),
            }
        }
        Ok(levels)
    }

    /// Whether key `key` is in every set.
    pub fn always(&self, key: usize) -> bool {
        self.sets.iter().all(|set| set.has[key])
    }

    /// `GROUPING(a, b)`: a bit for each of the keys that a row's set has not, the first key's the highest. `number` is
    /// the column with the set's number.
    ///
    /// # Errors
    /// If it cannot be computed, which is a defect of ours.
    pub fn grouping(&self, keys: &[usize], number: &Expr) -> SqlResult<Expr> {
        let value = |set: &ExpandSet| keys.iter().fold(0, |bits, k| (bits << 1) | i64::from(!set.has[*k]));
        let values: Vec<i64> = self.sets.iter().map(value).collect();
        let Some((&last, others)) = values.split_last() else {
            return Ok(bigint(0));
        };
        if others.iter().all(|v| *v == last) {
            return Ok(bigint(last));
        }
        let mut args = vec![];
        for (set, value) in self.sets.iter().zip(others) {
            args.push(call("=", vec![number.clone(), bigint(set.id)])?);
            args.push(bigint(*value));
        }
        args.push(bigint(last));
        call("CASE", args)
    }

    /// `GROUP_ID()`.
    pub fn group_id(&self) -> Expr {
        bigint(self.group_id)
    }
}

fn bigint(value: i64) -> Expr {
    Expr::literal(Literal::Integer(value), LogicalType::not_null(TypeKind::BigInt))
}

fn call(name: &str, args: Vec<Expr>) -> SqlResult<Expr> {
    resolve_call(name, args).map_err(|e| SqlError::new(Step::Plan, e.to_string()))
}
