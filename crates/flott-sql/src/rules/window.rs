//! GROUP BY window_start, window_end, … over a window function becomes a window aggregate.
//!
//! The columns that are window properties carry a mark with the function's number, through projections, filters and
//! other window aggregates. Where the function stands right below the grouping and nothing else reads its columns, it
//! vanishes: the aggregate cuts windows by the time attribute itself. Otherwise the rows bring their windows along
//! ([`WindowTime::Attached`]). Sessions that are not grouped by their partition stay as columns, and the grouping is one
//! without windows, as in Flink.

use super::prune::property_field;
use crate::config::EmitConfig;
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::Expr;
use crate::nodes::{EmitSpec, WindowPropertyKind, WindowSpec};
use crate::rel::{AggCall, Rel, RelField, RelOp, TimeKind, WindowAggregate, WindowTime};
use flott_core::TypeKind;
use std::collections::{BTreeMap, BTreeSet};

/// A window function of the query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function {
    window: WindowSpec,
    proctime: bool,
    local_time: bool,
    legacy: bool,
}

impl Function {
    /// Whether groups of its windows may be put together of parts with more keys.
    pub(super) fn is_splittable(&self) -> bool {
        !self.proctime && !self.legacy && !self.window.is_session()
    }
}

/// The window functions of a query, by their numbers.
pub(super) fn functions(root: &Rel) -> BTreeMap<u32, Function> {
    let mut functions = BTreeMap::new();
    collect(root, &mut functions);
    functions
}

/// Rewrites every grouping of windows.
///
/// # Errors
/// If windows cannot fire as `emit` wants it.
pub fn windows(root: Rel, emit: &EmitConfig) -> SqlResult<Rel> {
    let functions = functions(&root);
    rewrite(root, &functions, emit)
}

fn collect(rel: &Rel, functions: &mut BTreeMap<u32, Function>) {
    if let RelOp::WindowTvf {
        input,
        window,
        time_column,
        legacy,
        ..
    } = &rel.op
        && let Some(mark) = rel.fields.last().and_then(|f| f.window)
    {
        let time = &input.fields[*time_column];
        let proctime = time.time == Some(TimeKind::Proctime);
        functions.insert(
            mark.id,
            Function {
                window: *window,
                legacy: *legacy,
                proctime,
                local_time: proctime || matches!(time.ty.kind, TypeKind::TimestampLtz(_)),
            },
        );
    }
    for input in rel.inputs() {
        collect(input, functions);
    }
}

fn rewrite(rel: Rel, functions: &BTreeMap<u32, Function>, emit: &EmitConfig) -> SqlResult<Rel> {
    let rel = rel.try_map_inputs(&mut |input| rewrite(input, functions, emit))?;
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
    let emit = emit_of(&function, emit)?;
    let grouping = Grouping {
        id,
        function,
        keys,
        calls,
        fields,
        emit,
    };
    match direct(*input, &grouping) {
        Ok(rel) => Ok(rel),
        Err(input) if function.window.is_session() => Ok(ungrouped(*input, grouping)),
        Err(input) => attached(*input, grouping),
    }
}

/// How the windows of a function fire besides at their ends.
fn emit_of(function: &Function, emit: &EmitConfig) -> SqlResult<Option<EmitSpec>> {
    if emit.early_ms.is_none() && emit.late_ms.is_none() {
        return Ok(None);
    }
    let refused = |message: String, remedy: &str| Err(SqlError::new(Step::Unsupported, message).remedy(remedy));
    let name = function.window.function();
    if !function.legacy {
        return refused(
            format!(
                "the window function {name} does not fire early or late, but 'table.exec.emit.early-fire.enabled' or \
                 'table.exec.emit.late-fire.enabled' is on, as in Flink"
            ),
            "RESET them, or write GROUP BY TUMBLE(ts, INTERVAL …) or HOP(…), which fires early and late",
        );
    }
    if function.window.is_session() {
        return refused(
            "sessions do not fire early or late, as in Flink".into(),
            "RESET 'table.exec.emit.early-fire.enabled' and 'table.exec.emit.late-fire.enabled'",
        );
    }
    let late_ms = emit.late_ms.filter(|_| !function.proctime);
    if late_ms.is_some() && emit.lateness_ms == 0 {
        return refused(
            "'table.exec.emit.late-fire.enabled' needs to know how long late rows are taken".into(),
            "SET 'table.exec.emit.allow-lateness' = '1 h' (or what fits)",
        );
    }
    Ok((emit.early_ms.is_some() || late_ms.is_some()).then_some(EmitSpec {
        early_ms: emit.early_ms,
        late_ms,
        lateness_ms: emit.lateness_ms,
        update_before: true,
    }))
}

/// The grouping over columns that are the bounds of sessions, as over any others.
fn ungrouped(mut input: Rel, grouping: Grouping) -> Rel {
    for field in &mut input.fields {
        field.window = None;
    }
    let mut fields = grouping.fields;
    for field in &mut fields {
        (field.window, field.time) = (None, None);
    }
    Rel {
        op: RelOp::Aggregate {
            input: Box::new(input),
            keys: grouping.keys,
            calls: grouping.calls,
        },
        fields,
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
    emit: Option<EmitSpec>,
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
                legacy: self.function.legacy,
                emit: self.emit,
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

/// Whether the keys besides the window are the columns that tell sessions apart.
fn is_partition(projection: &[Expr], grouping: &Grouping, fields: &[RelField], partition: &[usize]) -> bool {
    let plain = grouping
        .keys
        .iter()
        .filter(|k| grouping.property(fields, **k).is_none());
    let columns: Option<BTreeSet<usize>> = plain
        .map(|k| match &projection[*k] {
            Expr::InputRef { index, .. } => Some(*index),
            _ => None,
        })
        .collect();
    columns == Some(partition.iter().copied().collect())
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
        let RelOp::WindowTvf {
            input: source,
            partition,
            legacy,
            ..
        } = &below.op
        else {
            return false;
        };
        let window = grouping.function.window;
        if window.is_session() && !legacy && !is_partition(projection, grouping, &rel.fields, partition) {
            return false;
        }
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
        proctime: grouping.function.proctime,
    };
    Ok(grouping.over(input, &fields, &|i| i, time))
}
