//! One Calc of several, and conditions as near to the source as they may go.

use crate::expr::Expr;
use crate::rel::{Rel, RelOp, WindowAggregate};
use std::collections::BTreeMap;
use std::convert::Infallible;

/// Pushes conditions down and merges Calcs, from the scans upwards.
pub fn merge(rel: Rel) -> Rel {
    let rel = push_filters(rel);
    let rel = rel.map_inputs(&mut merge);
    merge_top(rel)
}

/// Merges a Calc with the Calc below it, as often as that is possible.
fn merge_top(rel: Rel) -> Rel {
    let Rel {
        op: RelOp::Calc {
            input,
            projection,
            condition,
        },
        fields,
    } = rel
    else {
        return rel;
    };
    let Rel {
        op: lower_op,
        fields: lower_fields,
    } = *input;
    match lower_op {
        RelOp::Calc {
            input,
            projection: lower,
            condition: lower_condition,
        } if mergeable(&lower, &projection, condition.as_ref()) => {
            let through = |e: &Expr| e.map_inputs(&mut |i, _| lower[i].clone());
            let condition = and(lower_condition, condition.as_ref().map(through));
            merge_top(Rel {
                op: RelOp::Calc {
                    input,
                    projection: projection.iter().map(through).collect(),
                    condition,
                },
                fields,
            })
        }
        op => Rel {
            op: RelOp::Calc {
                input: Box::new(Rel {
                    op,
                    fields: lower_fields,
                }),
                projection,
                condition,
            },
            fields,
        },
    }
}

/// Both conditions, the lower one first.
pub fn and(lower: Option<Expr>, upper: Option<Expr>) -> Option<Expr> {
    match (lower, upper) {
        (Some(a), Some(b)) => Some(both(a, b)),
        (a, b) => a.or(b),
    }
}

fn both(a: Expr, b: Expr) -> Expr {
    let ty = a.ty().with_nullable(a.ty().nullable || b.ty().nullable);
    Expr::call("AND", vec![a, b], ty)
}

/// Whether the upper expressions may compute the lower ones themselves: what gives another value each time must be
/// computed once, and what is large not often.
fn mergeable(lower: &[Expr], projection: &[Expr], condition: Option<&Expr>) -> bool {
    let mut uses: BTreeMap<usize, usize> = BTreeMap::new();
    for expr in projection.iter().chain(condition) {
        expr.visit(&mut |e| {
            if let Expr::InputRef { index, .. } = e {
                *uses.entry(*index).or_default() += 1;
            }
        });
    }
    if !stays_small(lower, &uses, projection.iter().chain(condition).map(size).sum()) {
        return false;
    }
    let in_condition = condition.map(Expr::input_refs).unwrap_or_default();
    lower.iter().enumerate().all(|(i, e)| {
        e.is_deterministic() || is_clock(e) || (uses.get(&i).is_none_or(|n| *n <= 1) && !in_condition.contains(&i))
    })
}

/// Nodes of expressions from which on a merge must not make many more of them: an expression that is used twice, in one
/// that is used twice, and so on, would double with each level.
const LARGE: usize = 4096;

/// Whether the merged expressions are small, or no larger than they are apart.
fn stays_small(lower: &[Expr], uses: &BTreeMap<usize, usize>, upper: usize) -> bool {
    let sizes: Vec<usize> = lower.iter().map(size).collect();
    let inlined: usize = uses.iter().map(|(i, n)| n.saturating_mul(sizes[*i])).sum();
    upper.saturating_add(inlined) <= LARGE.max(upper + sizes.iter().sum::<usize>())
}

fn size(expr: &Expr) -> usize {
    let mut nodes = 0;
    expr.visit(&mut |_| nodes += 1);
    nodes
}

/// `PROCTIME()`: any moment of the row's stay is right.
fn is_clock(expr: &Expr) -> bool {
    expr.as_call("PROCTIME").is_some_and(<[Expr]>::is_empty)
}

/// Moves what a condition allows below the node that it filters.
fn push_filters(rel: Rel) -> Rel {
    let Rel {
        op: RelOp::Calc {
            input,
            projection,
            condition: Some(condition),
        },
        fields,
    } = rel
    else {
        return rel;
    };
    let conjuncts: Vec<Expr> = condition.conjuncts().into_iter().cloned().collect();
    let (below, stay): (Vec<Expr>, Vec<Expr>) = conjuncts
        .into_iter()
        .partition(|c| c.is_deterministic() && can_pass(&input, c));
    let input = match all(below) {
        Some(condition) => Box::new(push_into(*input, &condition)),
        None => input,
    };
    Rel {
        op: RelOp::Calc {
            input,
            projection,
            condition: all(stay),
        },
        fields,
    }
}

fn all(conjuncts: Vec<Expr>) -> Option<Expr> {
    let mut join = |a: Expr, b: Expr| -> Result<Expr, Infallible> { Ok(both(a, b)) };
    match Expr::join_all(conjuncts, &mut join) {
        Ok(all) => all,
        Err(never) => match never {},
    }
}

/// Whether a condition over the output of `rel` says the same over its input.
fn can_pass(rel: &Rel, condition: &Expr) -> bool {
    let refs = condition.input_refs();
    let only_below = |end: usize| refs.iter().all(|r| *r < end);
    match &rel.op {
        // A condition on other columns than the partition would change what a session holds.
        RelOp::WindowTvf { window, partition, .. } if window.is_session() => refs.iter().all(|r| partition.contains(r)),
        RelOp::WindowTvf { input, .. } | RelOp::Expand { input, .. } => only_below(input.fields.len()),
        RelOp::Unnest { keep, .. } => only_below(keep.len()),
        // Without keys there is one row, which a condition must see.
        RelOp::Aggregate { keys, .. } => !keys.is_empty() && !refs.is_empty() && only_below(keys.len()),
        RelOp::WindowAggregate(w) => !w.keys.is_empty() && !refs.is_empty() && only_below(w.keys.len()),
        RelOp::Union { .. } => true,
        RelOp::Over(_) | RelOp::Sort(_) | RelOp::Scan(_) | RelOp::Values(_) | RelOp::Calc { .. } => false,
    }
}

/// Puts a condition over the output of `rel` below it.
fn push_into(rel: Rel, condition: &Expr) -> Rel {
    let filter_by = |input: Box<Rel>, columns: Option<&[usize]>| {
        let condition = match columns {
            None => condition.clone(),
            Some(columns) => condition.map_inputs(&mut |i, ty| Expr::input(columns[i], ty.clone())),
        };
        Box::new(Rel::filter(*input, condition))
    };
    let op = match rel.op {
        RelOp::WindowTvf {
            input,
            window,
            time_column,
            partition,
            legacy,
        } => RelOp::WindowTvf {
            input: filter_by(input, None),
            window,
            time_column,
            partition,
            legacy,
        },
        RelOp::Expand { input, keys, sets } => RelOp::Expand {
            input: filter_by(input, None),
            keys,
            sets,
        },
        RelOp::Unnest {
            input,
            collection,
            join,
            ordinality,
            keep,
            names,
        } => RelOp::Unnest {
            input: filter_by(input, Some(&keep)),
            collection,
            join,
            ordinality,
            keep,
            names,
        },
        RelOp::Aggregate { input, keys, calls } => RelOp::Aggregate {
            input: filter_by(input, Some(&keys)),
            keys,
            calls,
        },
        RelOp::WindowAggregate(w) => RelOp::WindowAggregate(WindowAggregate {
            input: filter_by(w.input, Some(&w.keys)),
            ..w
        }),
        RelOp::Union { inputs } => RelOp::Union {
            inputs: inputs
                .into_iter()
                .map(|input| Rel::filter(input, condition.clone()))
                .collect(),
        },
        op => op,
    };
    Rel { op, fields: rel.fields }
}

/// Removes Calcs that neither filter nor compute; their names go to their input.
pub fn drop_identities(rel: Rel) -> Rel {
    let rel = rel.map_inputs(&mut drop_identities);
    match rel.op {
        RelOp::Calc {
            input,
            projection,
            condition: None,
        } if is_identity(&projection, input.fields.len()) => Rel {
            op: input.op,
            fields: rel.fields,
        },
        op => Rel { op, fields: rel.fields },
    }
}

fn is_identity(projection: &[Expr], width: usize) -> bool {
    projection.len() == width
        && projection
            .iter()
            .enumerate()
            .all(|(i, e)| matches!(e, Expr::InputRef { index, .. } if *index == i))
}
