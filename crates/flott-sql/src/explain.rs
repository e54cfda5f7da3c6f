//! The text of EXPLAIN: the query as bound, the plan's nodes as a tree with changelog, state and key, and the job graph.

use crate::physical::PlannedJob;
use flott_plan::{JobGraph, NodeId, Partitioning, Plan};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Explains a job.
pub fn explain(job: &PlannedJob, chaining: bool) -> String {
    let mut out = String::from("== Abstract Syntax Tree ==\n");
    for insert in &job.bound {
        if insert.table.connector() == crate::script::COLLECT {
            out.push_str(&insert.rel.to_tree());
        } else {
            let names: Vec<&str> = insert.fields.iter().map(|f| f.name.as_str()).collect();
            line(
                &mut out,
                format_args!(
                    "LogicalSink(table=[{}], fields=[{}])",
                    insert.table.name,
                    names.join(", ")
                ),
            );
            for text in insert.rel.to_tree().lines() {
                line(&mut out, format_args!("{}", indented(text)));
            }
        }
    }
    out.push_str("\n== Optimized Physical Plan ==\n");
    let mut shown = BTreeSet::new();
    let sinks = job
        .plan
        .nodes
        .iter()
        .filter(|n| job.plan.outputs(n.id).next().is_none());
    for sink in sinks {
        node_tree(job, sink.id, 0, &mut shown, &mut out);
    }
    out.push_str("\n== Job Graph ==\n");
    job_graph(&job.plan, chaining, &mut out);
    out
}

/// The plan as JSON (`EXPLAIN JSON_EXECUTION_PLAN`).
///
/// # Errors
/// If a node's JSON cannot be written.
pub fn explain_json(job: &PlannedJob) -> Result<String, flott_plan::PlanError> {
    job.plan.to_json()
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}

/// A tree's line one level deeper.
fn indented(text: &str) -> String {
    match text.starts_with([' ', '+']) {
        true => format!("   {text}"),
        false => format!("+- {text}"),
    }
}

fn node_tree(job: &PlannedJob, id: NodeId, depth: usize, shown: &mut BTreeSet<NodeId>, out: &mut String) {
    let node = &job.plan.nodes[id];
    let indent = match depth {
        0 => String::new(),
        d => format!("{}+- ", "   ".repeat(d - 1)),
    };
    let again = !shown.insert(id);
    let state = state_text(job, id);
    let reused = if again { " (shared, shown above)" } else { "" };
    line(
        out,
        format_args!(
            "{indent}{}, changelogMode=[{}]{state}{reused}",
            node.description, job.changelogs[id]
        ),
    );
    if again {
        return;
    }
    for edge in job.plan.inputs(id) {
        let names: Vec<&str> = job.plan.nodes[edge.from]
            .output
            .iter()
            .map(|f| f.name.as_str())
            .collect();
        match exchange_text(&edge.partitioning, &names) {
            None => node_tree(job, edge.from, depth + 1, shown, out),
            Some(text) => {
                line(
                    out,
                    format_args!(
                        "{}+- Exchange(distribution=[{text}]), changelogMode=[{}]",
                        "   ".repeat(depth),
                        job.changelogs[edge.from]
                    ),
                );
                node_tree(job, edge.from, depth + 2, shown, out);
            }
        }
    }
}

fn exchange_text(partitioning: &Partitioning, names: &[&str]) -> Option<String> {
    match partitioning {
        Partitioning::Forward => None,
        Partitioning::Hash { keys } => {
            let keys: Vec<&str> = keys.iter().map(|&k| names[k]).collect();
            Some(format!("hash[{}]", keys.join(", ")))
        }
        Partitioning::Keyed => Some("hash".to_owned()),
        Partitioning::Custom => Some("custom".to_owned()),
        Partitioning::Rebalance => Some("rebalance".to_owned()),
        Partitioning::Rescale => Some("rescale".to_owned()),
        Partitioning::Shuffle => Some("random".to_owned()),
        Partitioning::Broadcast => Some("broadcast".to_owned()),
        Partitioning::Global => Some("single".to_owned()),
    }
}

/// What the node keeps, and under which key.
fn state_text(job: &PlannedJob, id: NodeId) -> String {
    let tables = crate::operators::describe_state(&job.plan.nodes[id]).unwrap_or_default();
    if tables.is_empty() {
        return String::new();
    }
    let texts: Vec<String> = tables
        .iter()
        .map(|table| {
            let key: Vec<String> = table.key.iter().map(|t| t.kind.to_string()).collect();
            let columns: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
            format!(
                "{}(key=[{}], columns=[{}])",
                table.name,
                key.join(", "),
                columns.join(", ")
            )
        })
        .collect();
    format!(", state=[{}]", texts.join(", "))
}

fn job_graph(plan: &Plan, chaining: bool, out: &mut String) {
    let graph = JobGraph::of(plan, chaining);
    for vertex in &graph.vertices {
        line(
            out,
            format_args!(
                "vertex {}: {} (parallelism {}, max parallelism {})",
                vertex.id, vertex.name, vertex.parallelism, vertex.max_parallelism
            ),
        );
        for edge in graph.edges.iter().filter(|e| e.to == vertex.id) {
            let last = graph.vertices[edge.from].nodes.last();
            let names: Vec<&str> = last
                .map(|&n| plan.nodes[n].output.iter().map(|f| f.name.as_str()).collect())
                .unwrap_or_default();
            let text = exchange_text(&edge.partitioning, &names).unwrap_or_else(|| "forward".to_owned());
            line(out, format_args!("   from vertex {} by {text}", edge.from));
        }
    }
    line(
        out,
        format_args!("{} subtasks, {} slots", graph.subtasks(), graph.slots()),
    );
}
