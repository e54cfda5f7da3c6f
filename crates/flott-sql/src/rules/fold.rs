//! Computes constant expressions once, at planning. An expression that fails (a division by zero) stays, so that it
//! fails where its rows are.

use crate::expr::{EvalContext, Expr, Literal, fold_constants};
use crate::rel::{Rel, RelOp};

/// Folds the constants of every Calc, and makes constant rows of Calcs that only compute constants.
pub fn fold(rel: Rel, context: &EvalContext) -> Rel {
    let rel = rel.map_inputs(&mut |input| fold(input, context));
    let Rel { op, fields } = rel;
    let op = match op {
        RelOp::Calc {
            input,
            projection,
            condition,
        } => RelOp::Calc {
            input,
            projection: projection.iter().map(|e| fold_constants(e, context)).collect(),
            condition: condition
                .map(|c| fold_constants(&c, context))
                .filter(|c| c.as_literal() != Some(&Literal::Boolean(true))),
        },
        RelOp::Union { inputs } => {
            return constant_union(Rel {
                op: RelOp::Union { inputs },
                fields,
            });
        }
        op => op,
    };
    constant_rows(Rel { op, fields })
}

/// A projection of constants over constant rows is constant rows.
fn constant_rows(rel: Rel) -> Rel {
    let RelOp::Calc {
        input,
        projection,
        condition: None,
    } = &rel.op
    else {
        return rel;
    };
    let RelOp::Values(rows) = &input.op else { return rel };
    let computed: Option<Vec<Vec<Literal>>> = rows
        .iter()
        .map(|row| projection.iter().map(|e| value_of(e, row)).collect())
        .collect();
    match computed {
        Some(rows) => Rel {
            op: RelOp::Values(rows),
            fields: rel.fields,
        },
        None => rel,
    }
}

fn value_of(expr: &Expr, row: &[Literal]) -> Option<Literal> {
    match expr {
        Expr::InputRef { index, .. } => row.get(*index).cloned(),
        Expr::Literal { value, .. } => Some(value.clone()),
        Expr::Call { .. } => None,
    }
}

/// A union of constant rows is constant rows.
fn constant_union(rel: Rel) -> Rel {
    let RelOp::Union { inputs } = &rel.op else { return rel };
    let rows: Option<Vec<Vec<Literal>>> = inputs
        .iter()
        .map(|input| match &input.op {
            RelOp::Values(rows) => Some(rows.clone()),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()
        .map(|all| all.into_iter().flatten().collect());
    match rows {
        Some(rows) => Rel {
            op: RelOp::Values(rows),
            fields: rel.fields,
        },
        None => rel,
    }
}
