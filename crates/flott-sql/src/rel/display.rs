//! The tree before optimisation as EXPLAIN prints it (`== Abstract Syntax Tree ==`).

use super::{AggCall, Rel, RelOp, WindowTime};
use crate::expr::{Expr, Notation};
use crate::nodes::{CallDetail, ExpandSet, SortKey, WindowSpec};
use std::fmt::Write as _;

impl Rel {
    /// The tree as indented lines, the result first.
    pub fn to_tree(&self) -> String {
        let mut out = String::new();
        self.write_tree(0, &mut out);
        out
    }

    fn write_tree(&self, depth: usize, out: &mut String) {
        let names: Vec<String> = self.inputs().first().map_or_else(Vec::new, |i| names_of(i));
        let text = |e: &Expr| e.explain(&names, Notation::Prefix).to_string();
        let mut line = |depth: usize, text: String| {
            let indent = match depth {
                0 => String::new(),
                d => format!("{}+- ", "   ".repeat(d - 1)),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{indent}{text}");
        };
        let mut below = depth + 1;
        match &self.op {
            RelOp::Scan(scan) => line(
                depth,
                format!(
                    "LogicalTableScan(table=[[{}]])",
                    scan.table.spec.name.replace('.', ", ")
                ),
            ),
            RelOp::Values(rows) => line(depth, format!("LogicalValues(rows=[{}])", rows.len())),
            RelOp::Calc {
                projection, condition, ..
            } => {
                let columns: Vec<String> = self
                    .fields
                    .iter()
                    .zip(projection)
                    .map(|(f, e)| format!("{}=[{}]", f.name, text(e)))
                    .collect();
                line(depth, format!("LogicalProject({})", columns.join(", ")));
                if let Some(condition) = condition {
                    line(depth + 1, format!("LogicalFilter(condition=[{}])", text(condition)));
                    below += 1;
                }
            }
            RelOp::WindowTvf {
                window,
                time_column,
                partition,
                ..
            } => line(
                depth,
                format!(
                    "LogicalTableFunctionScan(invocation=[{}])",
                    window_text(window, &names[*time_column], &list(partition, &names))
                ),
            ),
            RelOp::Expand { keys, sets, .. } => line(
                depth,
                format!("LogicalExpand(projects=[{}])", sets_text(keys, sets, &names)),
            ),
            RelOp::Aggregate { keys, calls, .. } => line(
                depth,
                format!(
                    "LogicalAggregate(group=[{{{}}}]{})",
                    list(keys, &names),
                    calls_text(calls, &names)
                ),
            ),
            RelOp::WindowAggregate(w) => {
                let time = match w.time {
                    WindowTime::Rowtime { column } | WindowTime::Attached { window_end: column, .. } => {
                        names[column].as_str()
                    }
                    WindowTime::Proctime => "PROCTIME()",
                };
                line(
                    depth,
                    format!(
                        "LogicalWindowAggregate(group=[{{{}}}], window=[{}]{})",
                        list(&w.keys, &names),
                        window_text(&w.window, time, &list(&w.keys, &names)),
                        calls_text(&w.calls, &names)
                    ),
                );
            }
            RelOp::Over(o) => line(
                depth,
                format!(
                    "LogicalOverAggregate(partition=[{{{}}}], order=[{}]{})",
                    list(&o.partition, &names),
                    names[o.order],
                    calls_text(&o.calls, &names)
                ),
            ),
            RelOp::Sort(s) => {
                let keys: Vec<String> = s
                    .order
                    .iter()
                    .enumerate()
                    .map(|(i, k)| format!("sort{i}=[${}]", k.column))
                    .collect();
                let dirs: Vec<String> = (s.order.iter().enumerate())
                    .map(|(i, k)| format!("dir{i}=[{}]", direction(k)))
                    .collect();
                let offset = (s.offset > 0).then(|| format!("offset=[{}]", s.offset));
                let fetch = s.fetch.map(|n| format!("fetch=[{n}]"));
                let parts: Vec<String> = keys.into_iter().chain(dirs).chain(offset).chain(fetch).collect();
                line(depth, format!("LogicalSort({})", parts.join(", ")));
            }
            RelOp::Union { .. } => line(depth, "LogicalUnion(all=[true])".to_owned()),
            RelOp::Unnest { collection, .. } => {
                line(
                    depth,
                    format!("LogicalCorrelate(invocation=[UNNEST({})])", text(collection)),
                );
            }
        }
        for input in self.inputs() {
            input.write_tree(below, out);
        }
    }
}

/// `ASC` and `DESC`, with the place of NULL where it is not the usual one.
fn direction(key: &SortKey) -> &'static str {
    match (key.descending, key.nulls_last) {
        (false, false) => "ASC",
        (false, true) => "ASC-nulls-last",
        (true, true) => "DESC",
        (true, false) => "DESC-nulls-first",
    }
}

/// `a ASC, b DESC`
pub fn order_text(order: &[SortKey], names: &[String]) -> String {
    let keys: Vec<String> = order
        .iter()
        .map(|k| format!("{} {}", names[k.column], direction(k)))
        .collect();
    keys.join(", ")
}

/// Names of a relation's columns.
pub fn names_of(rel: &Rel) -> Vec<String> {
    rel.fields.iter().map(|f| f.name.clone()).collect()
}

fn list(columns: &[usize], names: &[String]) -> String {
    columns
        .iter()
        .map(|&c| names[c].as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn calls_text(calls: &[AggCall], names: &[String]) -> String {
    calls
        .iter()
        .map(|c| format!(", {}=[{}]", c.name, call_text(c, names)))
        .collect()
}

/// `COUNT(DISTINCT a) FILTER b`
pub fn call_text(call: &AggCall, names: &[String]) -> String {
    let args = match call.args.is_empty() {
        true => "*".to_owned(),
        false => list(&call.args, names),
    };
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let filter = call
        .filter
        .map_or_else(String::new, |f| format!(" FILTER {}", names[f]));
    let (inside, behind) = match &call.detail {
        CallDetail::Plain => (String::new(), ""),
        CallDetail::Separator(text) => (format!(", '{text}'"), ""),
        CallDetail::Offset(rows) => (format!(", {rows}"), ""),
        CallDetail::AbsentNulls if call.function == "ARRAY_AGG" => (String::new(), " IGNORE NULLS"),
        CallDetail::AbsentNulls => (" ABSENT ON NULL".to_owned(), ""),
    };
    format!("{}({distinct}{args}{inside}){behind}{filter}", call.function)
}

/// `{k, g, 0 AS $e}, {k, null, 1 AS $e}`
pub fn sets_text(keys: &[usize], sets: &[ExpandSet], names: &[String]) -> String {
    let set = |set: &ExpandSet| {
        let keys = keys.iter().zip(&set.has);
        let keys: Vec<&str> = keys
            .map(|(&k, has)| if *has { names[k].as_str() } else { "null" })
            .collect();
        format!("{{{}, {} AS $e}}", keys.join(", "), set.id)
    };
    sets.iter().map(set).collect::<Vec<_>>().join(", ")
}

/// `TUMBLE(time_col=[ts], size=[1 min])`; `partition` names what tells sessions apart.
pub fn window_text(window: &WindowSpec, time: &str, partition: &str) -> String {
    let offset = match window.offset_ms() {
        0 => String::new(),
        ms => format!(", offset=[{}]", duration_text(ms)),
    };
    match *window {
        WindowSpec::Tumble { size_ms, .. } => {
            format!("TUMBLE({time}, size=[{}]{offset})", duration_text(size_ms))
        }
        WindowSpec::Hop { size_ms, slide_ms, .. } => format!(
            "HOP({time}, size=[{}], slide=[{}]{offset})",
            duration_text(size_ms),
            duration_text(slide_ms)
        ),
        WindowSpec::Cumulate { size_ms, step_ms, .. } => format!(
            "CUMULATE({time}, max_size=[{}], step=[{}]{offset})",
            duration_text(size_ms),
            duration_text(step_ms)
        ),
        WindowSpec::Session { gap_ms } if partition.is_empty() => {
            format!("SESSION({time}, gap=[{}])", duration_text(gap_ms))
        }
        WindowSpec::Session { gap_ms } => format!(
            "SESSION({time}, gap=[{}], partition keys=[{partition}])",
            duration_text(gap_ms)
        ),
    }
}

/// `1 min`, `10 s`, `500 ms`: the largest unit that divides it.
pub fn duration_text(ms: i64) -> String {
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)] {
        if ms != 0 && ms % length == 0 {
            return format!("{} {unit}", ms / length);
        }
    }
    format!("{ms} ms")
}
