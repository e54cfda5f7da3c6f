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
    constant_rows(Rel { op, fields }, context)
}

/// A projection of constants over constant rows is constant rows.
fn constant_rows(rel: Rel, context: &EvalContext) -> Rel {
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
        .map(|row| projection.iter().map(|e| value_of(e, row, context)).collect())
        .collect();
    match computed {
        Some(rows) => Rel {
            op: RelOp::Values(rows),
            fields: rel.fields,
        },
        None => rel,
    }
}

/// The value of `expr` for a row, if it is constant.
fn value_of(expr: &Expr, row: &[Literal], context: &EvalContext) -> Option<Literal> {
    let of_row = expr.map_inputs(&mut |i, ty| Expr::literal(row[i].clone(), ty.clone()));
    fold_constants(&of_row, context).as_literal().cloned()
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
