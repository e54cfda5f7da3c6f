//! Split DISTINCT (`table.optimizer.distinct-agg.split.enabled`): a grouping with DISTINCT aggregates becomes two, the first
//! by the keys and by buckets of the distinct values, the second by the keys alone, so that the sets of one hot key lie in
//! many subtasks.
//!
//! ```text
//! COUNT(DISTINCT b) BY a                    COUNT(DISTINCT b), COUNT(DISTINCT c), COUNT(*) BY a
//!
//! Aggregate(a: $SUM0(n))                    Aggregate(a: $SUM0(n1), $SUM0(n2), $SUM0(n3))
//!   Aggregate(a, h: COUNT(DISTINCT b) n)      Aggregate(a, h1, h2: COUNT(DISTINCT b) FILTER $g_1 n1, …)
//!     Calc(…, MOD(hash(b), 1024) h)             Calc($e = 1 AS $g_1, …)
//!                                                 Expand({h1, null}, {null, h2}, {null, null})
//!                                                   Calc(…, MOD(hash(b), 1024) h1, MOD(hash(c), 1024) h2)
//! ```
//!
//! The first grouping of a window function's windows cuts them itself; the second takes those of its rows. As in Flink, MIN and MAX go by buckets of their values too, windows of the clock and legacy windows are left alone, and
//! so are sessions, whose keys must be those of the window. Flink's HASH_CODE is not ours, so values lie in other buckets.
//!
//! Where the planner can put an incremental phase between the two of one grouping, that spreads the sets, without buckets and
//! copies of rows, and nothing is split here.

use super::merge::merge;
use super::window::{Function, functions, window_of};
use crate::binder::grouping;
use crate::config::PlannerConfig;
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::{Expr, FunctionError, Literal, resolve_call, resolve_cast};
use crate::nodes::{CallDetail, ExpandSet, SUM0, average_sum_kind};
use crate::physical::group_spec;
use crate::rel::{AggCall, ModifyKinds, Rel, RelField, RelOp};
use flott_core::{LogicalType, TypeKind};
use std::collections::BTreeMap;

/// The function that a bucket is made by; scripts cannot write it.
const BUCKET_HASH: &str = "$HASH_CODE";

/// Splits every grouping with DISTINCT aggregates that can be split into `buckets` buckets.
///
/// # Errors
/// If an expression cannot be made, which is a defect of ours.
pub fn split(root: Rel, buckets: u32, config: &PlannerConfig) -> SqlResult<Rel> {
    let windows = functions(&root);
    rewrite(root, buckets, &windows, config)
}

/// Whether a grouping of `input` by `keys` is the first of two that a grouping was split into.
pub(crate) fn is_bucketed(input: &Rel, keys: &[usize]) -> bool {
    fn is_bucket(e: &Expr) -> bool {
        matches!(e, Expr::Call { function, args, .. } if *function == BUCKET_HASH || args.iter().any(is_bucket))
    }
    matches!(&input.op, RelOp::Calc { projection, .. } if keys.iter().any(|k| is_bucket(&projection[*k])))
}

fn rewrite(rel: Rel, buckets: u32, windows: &BTreeMap<u32, Function>, config: &PlannerConfig) -> SqlResult<Rel> {
    let rel = rel.try_map_inputs(&mut |input| rewrite(input, buckets, windows, config))?;
    let Rel {
        op: RelOp::Aggregate { input, keys, calls },
        fields,
    } = rel
    else {
        return Ok(rel);
    };
    let bucketed = bucketed_args(&keys, &calls);
    let window = window_of(&input.fields, &keys).and_then(|id| windows.get(&id));
    let is_incremental = || {
        let spec = group_spec(config, &input, &keys, &calls, !ModifyKinds::of(&input).is_append());
        config.splits_by_increments() && spec.supports_increments()
    };
    if bucketed.is_empty()
        || !is_splittable(&calls, bucketed.len() > 1)
        || !window.is_none_or(Function::is_splittable)
        || (window.is_none() && is_incremental())
    {
        return Ok(Rel {
            op: RelOp::Aggregate { input, keys, calls },
            fields,
        });
    }
    let whole = Whole {
        keys,
        calls,
        fields,
        bucketed,
        buckets,
    };
    whole
        .split(*input)
        .map_err(|e| SqlError::new(Step::Plan, e.to_string()))
}

/// Whether a call's rows go by buckets of its argument.
fn by_value(call: &AggCall) -> bool {
    call.distinct || matches!(call.function.as_str(), "MIN" | "MAX")
}

/// Arguments whose buckets the first grouping needs; none if no call is DISTINCT.
fn bucketed_args(keys: &[usize], calls: &[AggCall]) -> Vec<usize> {
    if !calls.iter().any(|c| c.distinct) {
        return vec![];
    }
    let mut args: Vec<usize> = calls
        .iter()
        .filter(|c| by_value(c))
        .flat_map(|c| c.args.clone())
        .collect();
    args.retain(|arg| !keys.contains(arg));
    args.sort_unstable();
    args.dedup();
    args
}

/// Whether the partial values of all calls can be put together. Where rows come once for several groupings, a value that
/// is never NULL would be NULL until the first row of its own grouping comes.
fn is_splittable(calls: &[AggCall], is_expanded: bool) -> bool {
    calls.iter().all(|call| match call.function.as_str() {
        "COUNT" => true,
        "SUM" | "AVG" | "MIN" | "MAX" => call.ty.nullable || !is_expanded,
        _ => false,
    })
}

/// A grouping that is split.
struct Whole {
    keys: Vec<usize>,
    calls: Vec<AggCall>,
    fields: Vec<RelField>,
    bucketed: Vec<usize>,
    buckets: u32,
}

/// The rows of the first grouping.
struct Prepared {
    rel: Rel,
    /// Columns of the buckets.
    buckets: Vec<usize>,
    /// For each call, the column that replaces its argument, and its filter.
    calls: Vec<(Vec<usize>, Option<usize>)>,
}

impl Whole {
    fn split(self, input: Rel) -> Result<Rel, FunctionError> {
        let (input, args) = self.with_buckets(input)?;
        let prepared = match self.bucketed.len() {
            1 => Prepared {
                buckets: vec![input.fields.len() - 1],
                calls: args
                    .into_iter()
                    .zip(&self.calls)
                    .map(|(args, c)| (args, c.filter))
                    .collect(),
                rel: input,
            },
            _ => self.expanded(input, args)?,
        };
        let (mut partial, mut whole) = (vec![], vec![]);
        let first = self.keys.len() + prepared.buckets.len();
        let mut put = |function: &str, ty: &LogicalType, call: &AggCall, args: &[usize], filter, last: &str| {
            whole.push(AggCall {
                function: last.to_owned(),
                args: vec![first + partial.len()],
                distinct: false,
                filter: None,
                ty: ty.with_nullable(call.ty.nullable && last != SUM0),
                name: match call.function.as_str() {
                    "AVG" => format!("$f{}", self.keys.len() + partial.len()),
                    _ => call.name.clone(),
                },
                detail: CallDetail::Plain,
            });
            partial.push(AggCall {
                function: function.to_owned(),
                args: args.to_vec(),
                distinct: call.distinct,
                filter,
                ty: ty.clone(),
                name: format!("$f{}", first + partial.len()),
                detail: CallDetail::Plain,
            });
        };
        for (call, (args, filter)) in self.calls.iter().zip(&prepared.calls) {
            let bigint = LogicalType::not_null(TypeKind::BigInt);
            match call.function.as_str() {
                "AVG" => {
                    let sum = LogicalType::new(prepared.rel.fields[args[0]].ty.kind.clone());
                    put("SUM", &sum, call, args, *filter, "SUM");
                    put("COUNT", &bigint, call, args, *filter, SUM0);
                }
                "COUNT" => put("COUNT", &bigint, call, args, *filter, SUM0),
                other => put(other, &call.ty.with_nullable(true), call, args, *filter, other),
            }
        }
        let by: Vec<usize> = self.keys.iter().chain(&prepared.buckets).copied().collect();
        let partial = grouping(prepared.rel, by, partial);
        let last = grouping(partial, (0..self.keys.len()).collect(), whole);
        self.finished(last)
    }

    /// The input with a column of buckets for each argument that needs it, the last ones; and for each call its arguments,
    /// those of an average as its sum is kept.
    fn with_buckets(&self, input: Rel) -> Result<(Rel, Vec<Vec<usize>>), FunctionError> {
        let mut columns = input.identity();
        let mut args: Vec<Vec<usize>> = self.calls.iter().map(|c| c.args.clone()).collect();
        for (call, args) in self.calls.iter().zip(&mut args).filter(|(c, _)| c.function == "AVG") {
            let arg = &input.fields[call.args[0]].ty;
            let sum = LogicalType::new(average_sum_kind(&arg.kind));
            let cast = resolve_cast(Expr::input(call.args[0], arg.clone()), sum, false)?;
            let place = columns.iter().position(|(_, e)| *e == cast);
            args[0] = place.unwrap_or(columns.len());
            if place.is_none() {
                columns.push((format!("$f{}", columns.len()), cast));
            }
        }
        for &arg in &self.bucketed {
            let value = Expr::input(arg, input.fields[arg].ty.clone());
            let hash = resolve_call(BUCKET_HASH, vec![value])?;
            let count = Expr::int(i32::try_from(self.buckets).unwrap_or(i32::MAX));
            columns.push((format!("$f{}", columns.len()), resolve_call("MOD", vec![hash, count])?));
        }
        Ok((Rel::calc(input, columns, None), args))
    }

    /// Each row once for every column of buckets, and once without, where calls need that.
    fn expanded(&self, input: Rel, args: Vec<Vec<usize>>) -> Result<Prepared, FunctionError> {
        let (width, count) = (input.fields.len(), self.bucketed.len());
        let set_of = |call: &AggCall| match by_value(call) {
            true => self.bucketed.iter().position(|arg| call.args.contains(arg)),
            false => None,
        };
        let all_but = |kept: Option<usize>| ExpandSet {
            has: (0..count).map(|b| Some(b) == kept).collect(),
            id: (0..count).fold(0, |id, b| id << 1 | i64::from(Some(b) != kept)),
        };
        let mut sets: Vec<ExpandSet> = (0..count).map(|b| all_but(Some(b))).collect();
        if self.calls.iter().any(|c| set_of(c).is_none()) {
            sets.push(all_but(None));
        }
        let copied: Vec<usize> = (width - count..width).collect();
        let mut fields = input.fields.clone();
        fields.extend(copied.iter().map(|&c| {
            let field = &input.fields[c];
            RelField::new(field.name.clone(), field.ty.with_nullable(true))
        }));
        let number = Expr::input(fields.len(), LogicalType::not_null(TypeKind::BigInt));
        fields.push(RelField::new("$e", number.ty().clone()));
        let expanded = Rel {
            op: RelOp::Expand {
                input: Box::new(input),
                keys: copied,
                sets,
            },
            fields,
        };
        let mut columns = expanded.identity();
        // The number itself and the buckets before the expansion go no further.
        columns.pop();
        let mut calls = vec![];
        for (call, args) in self.calls.iter().zip(args) {
            let id = all_but(set_of(call)).id;
            let literal = Expr::literal(Literal::Integer(id), LogicalType::not_null(TypeKind::BigInt));
            let mut filter = resolve_call("=", vec![number.clone(), literal])?;
            if let Some(own) = call.filter {
                let own = Expr::input(own, expanded.fields[own].ty.clone());
                filter = resolve_call("AND", vec![filter, own])?;
            }
            let place = columns.iter().position(|(_, e)| *e == filter).unwrap_or_else(|| {
                columns.push((format!("$g_{id}"), filter));
                columns.len() - 1
            });
            calls.push((args, Some(place)));
        }
        Ok(Prepared {
            rel: below_window(merge(Rel::calc(expanded, columns, None)), count),
            buckets: (width..width + count).collect(),
            calls,
        })
    }

    /// The columns of the grouping before it was split: averages are made of sums and counts.
    fn finished(&self, last: Rel) -> Result<Rel, FunctionError> {
        if self.calls.iter().all(|c| c.function != "AVG") {
            return Ok(Rel {
                fields: self.fields.clone(),
                ..last
            });
        }
        let mut columns = last.identity();
        columns.truncate(self.keys.len());
        let mut next = self.keys.len();
        let mut take = || {
            next += 1;
            Expr::input(next - 1, last.fields[next - 1].ty.clone())
        };
        for call in &self.calls {
            let value = match call.function.as_str() {
                "AVG" => {
                    let (sum, count) = (take(), take());
                    let none = Expr::literal(Literal::Integer(0), count.ty().clone());
                    let count = resolve_call("NULLIF", vec![count, none])?;
                    let quotient = resolve_call("/", vec![sum, count])?;
                    match resolve_cast(quotient, call.ty.clone(), false)? {
                        Expr::Call { function, args, .. } => Expr::call(function, args, call.ty.clone()),
                        other => other,
                    }
                }
                _ => take(),
            };
            columns.push((call.name.clone(), value));
        }
        let mut rel = Rel::calc(last, columns, None);
        for (field, former) in rel.fields.iter_mut().zip(&self.fields) {
            field.name.clone_from(&former.name);
        }
        Ok(rel)
    }
}

/// Rows are expanded below a window function, which does not mind, so that the grouping above it cuts windows itself: `rel`
/// is Calc over Expand of `buckets` columns over Calc over the function; anything else stays as it is.
fn below_window(rel: Rel, buckets: usize) -> Rel {
    let calc_of = |rel: &Rel| match &rel.op {
        RelOp::Calc {
            input,
            projection,
            condition,
        } => Some((input.as_ref().clone(), projection.clone(), condition.clone())),
        _ => None,
    };
    let Some((expand, top, None)) = calc_of(&rel) else {
        return rel;
    };
    let RelOp::Expand { input, sets, .. } = &expand.op else {
        return rel;
    };
    let Some((function, middle, condition)) = calc_of(input) else {
        return rel;
    };
    let RelOp::WindowTvf {
        input: source,
        window,
        time_column,
        partition,
        legacy,
    } = &function.op
    else {
        return rel;
    };
    let (width, first) = (source.fields.len(), middle.len() - buckets);
    let of_source = |e: &Expr| e.input_refs().iter().all(|column| *column < width);
    if !middle[first..].iter().all(of_source) || !condition.as_ref().is_none_or(of_source) {
        return rel;
    }
    let mut columns = source.identity();
    columns.extend((first..middle.len()).map(|i| (input.fields[i].name.clone(), middle[i].clone())));
    let lower = Rel::calc(source.as_ref().clone(), columns, condition);
    // Behind the columns of the source and the buckets: the buckets by set, and the set's number.
    let mut fields = lower.fields.clone();
    fields.extend(expand.fields[middle.len()..].iter().cloned());
    let expanded_width = fields.len();
    let expanded = Rel {
        op: RelOp::Expand {
            input: Box::new(lower),
            keys: (width..width + buckets).collect(),
            sets: sets.clone(),
        },
        fields,
    };
    let mut fields = expanded.fields.clone();
    fields.extend(function.fields[width..].iter().cloned());
    let function = Rel {
        op: RelOp::WindowTvf {
            input: Box::new(expanded),
            window: *window,
            time_column: *time_column,
            partition: partition.clone(),
            legacy: *legacy,
        },
        fields,
    };
    let of_function = |e: &Expr| {
        e.map_inputs(&mut |column, ty| match column < width {
            true => Expr::input(column, ty.clone()),
            false => Expr::input(expanded_width + column - width, ty.clone()),
        })
    };
    let columns = rel.fields.iter().zip(&top).map(|(field, e)| {
        let through = e.map_inputs(&mut |column, ty| match column < first {
            true => of_function(&middle[column]),
            false => Expr::input(width + column - first, ty.clone()),
        });
        (field.name.clone(), through)
    });
    Rel::calc(function, columns.collect(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(function: &str, arg: usize, distinct: bool) -> AggCall {
        AggCall {
            function: function.into(),
            args: vec![arg],
            distinct,
            filter: None,
            ty: LogicalType::bigint(),
            name: "f".into(),
            detail: CallDetail::Plain,
        }
    }

    #[test]
    fn values_are_put_into_buckets_where_a_call_is_distinct() {
        assert_eq!(bucketed_args(&[0], &[call("MAX", 1, false)]), Vec::<usize>::new());
        assert_eq!(
            bucketed_args(
                &[0],
                &[call("MAX", 3, false), call("COUNT", 1, true), call("SUM", 2, false)]
            ),
            [1, 3]
        );
        assert_eq!(bucketed_args(&[1], &[call("COUNT", 1, true)]), Vec::<usize>::new());
    }

    #[test]
    fn a_value_that_is_never_null_is_not_expanded() {
        let sum = AggCall {
            ty: LogicalType::not_null(TypeKind::BigInt),
            ..call("SUM", 1, true)
        };
        assert!(is_splittable(std::slice::from_ref(&sum), false));
        assert!(!is_splittable(&[sum], true));
        assert!(!is_splittable(&[call("LISTAGG", 1, true)], false));
    }
}
