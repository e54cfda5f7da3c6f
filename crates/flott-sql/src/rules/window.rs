//! GROUP BY window_start, window_end, … over a window function becomes a window aggregate.
//!
//! The columns that are window properties carry a mark with the function's number, through projections, filters and
//! other window aggregates. Where the function stands right below the grouping and nothing else reads its columns, it
//! vanishes: the aggregate cuts windows by the time attribute itself. Otherwise the rows bring their windows along
//! ([`WindowTime::Attached`]).

use super::prune::property_field;
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::Expr;
use crate::nodes::{WindowPropertyKind, WindowSpec};
use crate::rel::{AggCall, Rel, RelField, RelOp, TimeKind, WindowAggregate, WindowTime};
use flott_core::TypeKind;
use std::collections::BTreeMap;

/// A window function of the query.
#[derive(Debug, Clone, Copy)]
struct Function {
    window: WindowSpec,
    proctime: bool,
    local_time: bool,
}

/// Rewrites every grouping of windows.
///
/// # Errors
/// If windows of processing time would be aggregated twice.
pub fn windows(root: Rel) -> SqlResult<Rel> {
    let mut functions = BTreeMap::new();
    collect(&root, &mut functions);
    rewrite(root, &functions)
}

fn collect(rel: &Rel, functions: &mut BTreeMap<u32, Function>) {
    if let RelOp::WindowTvf {
        input,
        window,
        time_column,
    } = &rel.op
        && let Some(mark) = rel.fields.last().and_then(|f| f.window)
    {
        let time = &input.fields[*time_column];
        let proctime = time.time == Some(TimeKind::Proctime);
        functions.insert(
            mark.id,
            Function {
                window: *window,
                proctime,
                local_time: proctime || matches!(time.ty.kind, TypeKind::TimestampLtz(_)),
            },
        );
    }
    for input in rel.inputs() {
        collect(input, functions);
    }
}

fn rewrite(rel: Rel, functions: &BTreeMap<u32, Function>) -> SqlResult<Rel> {
    let mut failed = None;
    let rel = rel.map_inputs(&mut |input| match rewrite(input.clone(), functions) {
        Ok(rel) => rel,
        Err(e) => {
            failed.get_or_insert(e);
            input
        }
    });
    if let Some(e) = failed {
        return Err(e);
    }
    let Rel {
        op: RelOp::Aggregate { input, keys, calls },
        fields,
    } = rel
    else {
        return Ok(rel);
    };
    let Some(id) = window_of(&input.fields, &keys) else {
        return Ok(Rel {
            op: RelOp::Aggregate { input, keys, calls },
            fields,
        });
    };
    let Some(function) = functions.get(&id).copied() else {
        return Err(SqlError::new(Step::Plan, "a window's function was lost"));
    };
    let grouping = Grouping {
        id,
        function,
        keys,
        calls,
        fields,
    };
    match direct(*input, &grouping) {
        Ok(rel) => Ok(rel),
        Err(input) => attached(*input, grouping),
    }
}

/// The window whose start and end are both among the keys.
pub fn window_of(fields: &[RelField], keys: &[usize]) -> Option<u32> {
    let marks = || keys.iter().filter_map(|&k| fields[k].window);
    marks()
        .filter(|m| m.kind == WindowPropertyKind::Start)
        .map(|m| m.id)
        .find(|id| marks().any(|m| m.kind == WindowPropertyKind::End && m.id == *id))
}

struct Grouping {
    id: u32,
    function: Function,
    keys: Vec<usize>,
    calls: Vec<AggCall>,
    fields: Vec<RelField>,
}

impl Grouping {
    /// The property that input column `column` is, if it is one of this window.
    fn property(&self, fields: &[RelField], column: usize) -> Option<WindowPropertyKind> {
        fields[column].window.filter(|m| m.id == self.id).map(|m| m.kind)
    }

    /// The window aggregate over `input`, whose columns are those of the former input at `position`; above it the
    /// columns in their former order.
    fn over(&self, input: Rel, old: &[RelField], position: &dyn Fn(usize) -> usize, time: WindowTime) -> Rel {
        let plain: Vec<usize> = (0..self.keys.len())
            .filter(|&k| self.property(old, self.keys[k]).is_none())
            .collect();
        let windowed: Vec<usize> = (0..self.keys.len()).filter(|k| !plain.contains(k)).collect();
        let calls: Vec<AggCall> = self
            .calls
            .iter()
            .map(|c| AggCall {
                args: c.args.iter().map(|&a| position(a)).collect(),
                filter: c.filter.map(position),
                ..c.clone()
            })
            .collect();
        let properties: Vec<(WindowPropertyKind, String)> = windowed
            .iter()
            .filter_map(|&k| Some((self.property(old, self.keys[k])?, self.fields[k].name.clone())))
            .collect();
        let first_call = self.keys.len();
        let mut fields: Vec<RelField> = plain.iter().map(|&k| self.fields[k].clone()).collect();
        fields.extend(self.fields[first_call..].iter().cloned());
        fields.extend(windowed.iter().zip(&properties).map(|(&k, (kind, _))| {
            let column = &old[self.keys[k]];
            property_field(*kind, &column.renamed(self.fields[k].name.clone()))
        }));
        let aggregate = Rel {
            op: RelOp::WindowAggregate(WindowAggregate {
                keys: plain.iter().map(|&k| position(self.keys[k])).collect(),
                calls,
                window: self.function.window,
                time,
                properties,
                input: Box::new(input),
            }),
            fields,
        };
        let first_property = plain.len() + self.calls.len();
        let former = |k: usize| match (
            plain.iter().position(|p| *p == k),
            windowed.iter().position(|w| *w == k),
        ) {
            (Some(p), _) => p,
            (_, Some(w)) => first_property + w,
            _ => plain.len() + (k - first_call),
        };
        let columns = (0..self.fields.len())
            .map(|k| {
                let field = &aggregate.fields[former(k)];
                (field.name.clone(), Expr::input(former(k), field.ty.clone()))
            })
            .collect();
        Rel::calc(aggregate, columns, None)
    }
}

/// The aggregate without the window function below it; gives the input back where something else reads its columns.
fn direct(input: Rel, grouping: &Grouping) -> Result<Rel, Box<Rel>> {
    let fits = |rel: &Rel| -> bool {
        let RelOp::Calc {
            input: below,
            projection,
            condition,
        } = &rel.op
        else {
            return false;
        };
        let RelOp::WindowTvf { input: source, .. } = &below.op else {
            return false;
        };
        let of_this = below
            .fields
            .last()
            .and_then(|f| f.window)
            .is_some_and(|m| m.id == grouping.id);
        let width = source.fields.len();
        let reads_source = |e: &Expr| e.input_refs().iter().all(|r| *r < width);
        let is_window_key = |i: usize| grouping.keys.contains(&i) && grouping.property(&rel.fields, i).is_some();
        of_this
            && condition.as_ref().is_none_or(reads_source)
            && projection
                .iter()
                .enumerate()
                .all(|(i, e)| is_window_key(i) || reads_source(e))
    };
    if !fits(&input) {
        return Err(Box::new(input));
    }
    let Rel {
        op: RelOp::Calc {
            input: below,
            projection,
            condition,
        },
        fields,
    } = input
    else {
        return Err(Box::new(input));
    };
    let Rel {
        op: RelOp::WindowTvf {
            input: source,
            time_column,
            ..
        },
        fields: below_fields,
    } = *below
    else {
        return Err(Box::new(Rel {
            op: RelOp::Calc {
                input: below,
                projection,
                condition,
            },
            fields,
        }));
    };
    let _ = below_fields;
    let mut columns = vec![];
    let mut position = BTreeMap::new();
    for (i, expr) in projection.iter().enumerate() {
        if grouping.property(&fields, i).is_none() || !grouping.keys.contains(&i) {
            position.insert(i, columns.len());
            columns.push((fields[i].name.clone(), expr.clone()));
        }
    }
    let time = if grouping.function.proctime {
        WindowTime::Proctime
    } else {
        let field = &source.fields[time_column];
        let expr = Expr::input(time_column, field.ty.clone());
        let column = columns.iter().position(|(_, e)| *e == expr).unwrap_or_else(|| {
            columns.push((field.name.clone(), expr));
            columns.len() - 1
        });
        WindowTime::Rowtime { column }
    };
    let input = Rel::calc(*source, columns, condition);
    Ok(grouping.over(input, &fields, &|i| position[&i], time))
}

/// The aggregate over rows that bring their window along.
fn attached(input: Rel, grouping: Grouping) -> SqlResult<Rel> {
    if grouping.function.proctime {
        return Err(SqlError::new(
            Step::Unsupported,
            "aggregating windows of processing time a second time is not supported yet",
        )
        .remedy("use event time, or aggregate once"));
    }
    let fields = input.fields.clone();
    let window_end = grouping
        .keys
        .iter()
        .copied()
        .find(|&k| grouping.property(&fields, k) == Some(WindowPropertyKind::End))
        .ok_or_else(|| SqlError::new(Step::Plan, "a window's end was lost"))?;
    let time = WindowTime::Attached {
        window_end,
        local_time: grouping.function.local_time,
    };
    Ok(grouping.over(input, &fields, &|i| i, time))
}
