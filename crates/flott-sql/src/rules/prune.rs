//! Drops columns that nobody reads.

use crate::expr::Expr;
use crate::nodes::{SortKey, WindowPropertyKind};
use crate::rel::{AggCall, OverAggregate, Rel, RelField, RelOp, Sort, TimeKind, WindowAggregate, WindowTime};
use std::collections::{BTreeMap, BTreeSet};

/// Prunes below the root, which keeps all of its columns.
pub fn prune(root: Rel) -> Rel {
    let all = (0..root.fields.len()).collect();
    prune_to(root, &all).rel
}

/// A pruned relation and where the old columns are now.
struct Pruned {
    rel: Rel,
    position: BTreeMap<usize, usize>,
}

impl Pruned {
    fn unchanged(rel: Rel) -> Self {
        let position = (0..rel.fields.len()).map(|i| (i, i)).collect();
        Self { rel, position }
    }

    fn rewrite(&self, expr: &Expr) -> Expr {
        expr.map_inputs(&mut |i, ty| Expr::input(self.position[&i], ty.clone()))
    }

    fn columns(&self, columns: &[usize]) -> Vec<usize> {
        columns.iter().map(|c| self.position[c]).collect()
    }
}

/// Positions of `kept` columns when only they remain.
fn positions(kept: impl IntoIterator<Item = usize>) -> BTreeMap<usize, usize> {
    kept.into_iter().enumerate().map(|(new, old)| (old, new)).collect()
}

fn pick(fields: &[RelField], kept: impl IntoIterator<Item = usize>) -> Vec<RelField> {
    kept.into_iter().map(|i| fields[i].clone()).collect()
}

/// Prunes to at least the `needed` columns.
fn prune_to(rel: Rel, needed: &BTreeSet<usize>) -> Pruned {
    let fields = rel.fields;
    match rel.op {
        op @ RelOp::Scan(_) => Pruned::unchanged(Rel { op, fields }),
        RelOp::Values(rows) => {
            let kept: Vec<usize> = needed.iter().copied().collect();
            let rows = rows
                .into_iter()
                .map(|row| kept.iter().map(|&k| row[k].clone()).collect())
                .collect();
            Pruned {
                rel: Rel {
                    op: RelOp::Values(rows),
                    fields: pick(&fields, kept.iter().copied()),
                },
                position: positions(kept),
            }
        }
        RelOp::Calc {
            input,
            projection,
            condition,
        } => {
            let mut kept = needed.clone();
            if kept.is_empty() {
                // A row needs a column to be counted by; the first is as good as any.
                kept.extend((!projection.is_empty()).then_some(0));
            }
            let mut below: BTreeSet<usize> = kept.iter().flat_map(|&k| projection[k].input_refs()).collect();
            below.extend(condition.iter().flat_map(Expr::input_refs));
            let input = prune_to(*input, &below);
            let projection = kept.iter().map(|&k| input.rewrite(&projection[k])).collect();
            let condition = condition.map(|c| input.rewrite(&c));
            Pruned {
                rel: Rel {
                    op: RelOp::Calc {
                        input: Box::new(input.rel),
                        projection,
                        condition,
                    },
                    fields: pick(&fields, kept.iter().copied()),
                },
                position: positions(kept),
            }
        }
        RelOp::WindowTvf {
            input,
            window,
            time_column,
            partition,
            legacy,
        } => {
            let width = input.fields.len();
            let mut below: BTreeSet<usize> = needed.iter().copied().filter(|c| *c < width).collect();
            below.insert(time_column);
            below.extend(&partition);
            let input = prune_to(*input, &below);
            let mut kept: Vec<usize> = input.position.keys().copied().collect();
            kept.sort_by_key(|k| input.position[k]);
            let kept: Vec<usize> = kept.into_iter().chain(width..width + 3).collect();
            Pruned {
                rel: Rel {
                    op: RelOp::WindowTvf {
                        time_column: input.position[&time_column],
                        partition: input.columns(&partition),
                        input: Box::new(input.rel),
                        window,
                        legacy,
                    },
                    fields: pick(&fields, kept.iter().copied()),
                },
                position: positions(kept),
            }
        }
        RelOp::Expand { input, keys, sets } => {
            let width = input.fields.len();
            let mut below: BTreeSet<usize> = needed.iter().copied().filter(|c| *c < width).collect();
            below.extend(&keys);
            let input = prune_to(*input, &below);
            let mut kept: Vec<usize> = input.position.keys().copied().collect();
            kept.sort_by_key(|k| input.position[k]);
            kept.extend(width..fields.len());
            Pruned {
                rel: Rel {
                    op: RelOp::Expand {
                        keys: input.columns(&keys),
                        input: Box::new(input.rel),
                        sets,
                    },
                    fields: pick(&fields, kept.iter().copied()),
                },
                position: positions(kept),
            }
        }
        RelOp::Aggregate { input, keys, calls } => prune_aggregate(*input, &keys, calls, &fields, needed),
        RelOp::WindowAggregate(window) => prune_window(window, &fields, needed),
        RelOp::Over(over) => prune_over(over, &fields, needed),
        RelOp::Sort(sort) => prune_sort(sort, &fields, needed),
        RelOp::Union { inputs } => {
            let kept: Vec<usize> = match needed.is_empty() {
                true => vec![0],
                false => needed.iter().copied().collect(),
            };
            let wanted: BTreeSet<usize> = kept.iter().copied().collect();
            let inputs = inputs
                .into_iter()
                .map(|input| exactly(prune_to(input, &wanted), &kept))
                .collect();
            Pruned {
                rel: Rel {
                    op: RelOp::Union { inputs },
                    fields: pick(&fields, kept.iter().copied()),
                },
                position: positions(kept),
            }
        }
        RelOp::Unnest {
            input,
            collection,
            join,
            ordinality,
            keep,
            names,
        } => {
            let kept: Vec<usize> = (0..keep.len()).filter(|i| needed.contains(i)).collect();
            let mut below: BTreeSet<usize> = kept.iter().map(|&k| keep[k]).collect();
            below.extend(collection.input_refs());
            let input = prune_to(*input, &below);
            let all: Vec<usize> = kept.iter().copied().chain(keep.len()..fields.len()).collect();
            let new_keep = kept.iter().map(|&k| input.position[&keep[k]]).collect();
            Pruned {
                rel: Rel {
                    op: RelOp::Unnest {
                        collection: input.rewrite(&collection),
                        input: Box::new(input.rel),
                        join,
                        ordinality,
                        keep: new_keep,
                        names,
                    },
                    fields: pick(&fields, all.iter().copied()),
                },
                position: positions(all),
            }
        }
    }
}

/// The `kept` columns of a pruned relation, and no other.
fn exactly(pruned: Pruned, kept: &[usize]) -> Rel {
    let wanted: Vec<usize> = pruned.columns(kept);
    if wanted.iter().copied().eq(0..pruned.rel.fields.len()) {
        return pruned.rel;
    }
    let columns = wanted
        .into_iter()
        .map(|i| {
            let field = &pruned.rel.fields[i];
            (field.name.clone(), Expr::input(i, field.ty.clone()))
        })
        .collect();
    Rel::calc(pruned.rel, columns, None)
}

fn call_columns(call: &AggCall) -> impl Iterator<Item = usize> {
    call.args.iter().copied().chain(call.filter)
}

fn rewrite_call(call: &AggCall, input: &Pruned) -> AggCall {
    AggCall {
        args: input.columns(&call.args),
        filter: call.filter.map(|f| input.position[&f]),
        ..call.clone()
    }
}

fn prune_aggregate(
    input: Rel,
    keys: &[usize],
    calls: Vec<AggCall>,
    fields: &[RelField],
    needed: &BTreeSet<usize>,
) -> Pruned {
    let mut kept_calls: Vec<usize> = (0..calls.len())
        .filter(|i| needed.contains(&(keys.len() + i)))
        .collect();
    if kept_calls.is_empty() && !calls.is_empty() {
        // Without any call it would be a DISTINCT, which yields no updates.
        kept_calls.push(0);
    }
    let mut below: BTreeSet<usize> = keys.iter().copied().collect();
    below.extend(kept_calls.iter().flat_map(|&c| call_columns(&calls[c])));
    let input = prune_to(input, &below);
    let kept: Vec<usize> = (0..keys.len())
        .chain(kept_calls.iter().map(|c| keys.len() + c))
        .collect();
    Pruned {
        rel: Rel {
            op: RelOp::Aggregate {
                keys: input.columns(keys),
                calls: kept_calls.iter().map(|&c| rewrite_call(&calls[c], &input)).collect(),
                input: Box::new(input.rel),
            },
            fields: pick(fields, kept.iter().copied()),
        },
        position: positions(kept),
    }
}

fn prune_sort(sort: Sort, fields: &[RelField], needed: &BTreeSet<usize>) -> Pruned {
    let mut below = needed.clone();
    below.extend(sort.order.iter().map(|k| k.column));
    let input = prune_to(*sort.input, &below);
    let order = sort
        .order
        .iter()
        .map(|k| SortKey {
            column: input.position[&k.column],
            ..*k
        })
        .collect();
    let mut own = input.rel.fields.clone();
    for (old, new) in &input.position {
        own[*new] = fields[*old].clone();
    }
    Pruned {
        rel: Rel {
            op: RelOp::Sort(Sort {
                input: Box::new(input.rel),
                order,
                ..sort
            }),
            fields: own,
        },
        position: input.position,
    }
}

fn prune_window(window: WindowAggregate, fields: &[RelField], needed: &BTreeSet<usize>) -> Pruned {
    let (keys, first_property) = (window.keys.len(), window.keys.len() + window.calls.len());
    let kept_calls: Vec<usize> = (0..window.calls.len())
        .filter(|i| needed.contains(&(keys + i)))
        .collect();
    let mut kept_properties: Vec<usize> = (0..window.properties.len())
        .filter(|i| needed.contains(&(first_property + i)))
        .collect();
    if keys == 0 && kept_calls.is_empty() && kept_properties.is_empty() {
        kept_properties.push(0);
    }
    let mut below: BTreeSet<usize> = window.keys.iter().copied().collect();
    below.extend(kept_calls.iter().flat_map(|&c| call_columns(&window.calls[c])));
    match window.time {
        WindowTime::Rowtime { column } | WindowTime::Attached { window_end: column, .. } => {
            below.insert(column);
        }
        WindowTime::Proctime => {}
    }
    let input = prune_to(*window.input, &below);
    let time = match window.time {
        WindowTime::Rowtime { column } => WindowTime::Rowtime {
            column: input.position[&column],
        },
        WindowTime::Attached {
            window_end,
            local_time,
            proctime,
        } => WindowTime::Attached {
            window_end: input.position[&window_end],
            local_time,
            proctime,
        },
        WindowTime::Proctime => WindowTime::Proctime,
    };
    let kept: Vec<usize> = (0..keys)
        .chain(kept_calls.iter().map(|c| keys + c))
        .chain(kept_properties.iter().map(|p| first_property + p))
        .collect();
    Pruned {
        rel: Rel {
            op: RelOp::WindowAggregate(WindowAggregate {
                keys: input.columns(&window.keys),
                calls: kept_calls
                    .iter()
                    .map(|&c| rewrite_call(&window.calls[c], &input))
                    .collect(),
                window: window.window,
                time,
                properties: kept_properties.iter().map(|&p| window.properties[p].clone()).collect(),
                legacy: window.legacy,
                emit: window.emit,
                input: Box::new(input.rel),
            }),
            fields: pick(fields, kept.iter().copied()),
        },
        position: positions(kept),
    }
}

fn prune_over(over: OverAggregate, fields: &[RelField], needed: &BTreeSet<usize>) -> Pruned {
    let width = over.input.fields.len();
    let kept_calls: Vec<usize> = (0..over.calls.len())
        .filter(|i| needed.contains(&(width + i)))
        .collect();
    let mut below: BTreeSet<usize> = needed.iter().copied().filter(|c| *c < width).collect();
    if kept_calls.is_empty() {
        return prune_to(*over.input, &below);
    }
    below.extend(&over.partition);
    below.insert(over.order);
    below.extend(kept_calls.iter().flat_map(|&c| call_columns(&over.calls[c])));
    let input = prune_to(*over.input, &below);
    // The input may hold more than was asked for.
    let mut kept: Vec<usize> = input.position.keys().copied().collect();
    kept.sort_by_key(|k| input.position[k]);
    kept.extend(kept_calls.iter().map(|c| width + c));
    Pruned {
        rel: Rel {
            op: RelOp::Over(OverAggregate {
                partition: input.columns(&over.partition),
                order: input.position[&over.order],
                frame: over.frame,
                calls: kept_calls
                    .iter()
                    .map(|&c| rewrite_call(&over.calls[c], &input))
                    .collect(),
                input: Box::new(input.rel),
            }),
            fields: pick(fields, kept.iter().copied()),
        },
        position: positions(kept),
    }
}

/// The column of a window property.
pub fn property_field(kind: WindowPropertyKind, source: &RelField) -> RelField {
    match kind {
        WindowPropertyKind::Time => RelField {
            time: source.time.or(Some(TimeKind::Rowtime)),
            ..source.clone()
        },
        _ => source.clone(),
    }
}
