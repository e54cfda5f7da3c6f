//! The plan of a job as Flink's dashboard draws it: one node a vertex, with the edges into it.

use crate::app::{App, vertex_id};
use crate::error::{Answer, Json};
use axum::extract::{Path, State};
use flott_cluster::JobHandle;
use flott_core::JobId;
use flott_plan::{JobGraph, Partitioning, Plan, Vertex};
use serde_json::{Value, json};

/// `GET /jobs/:job/plan`
pub(crate) async fn plan(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let job = app.job(&id)?;
    Ok(Json::ok(json!({ "plan": of_job(&job) })))
}

/// The plan of a job.
pub(crate) fn of_job(job: &JobHandle) -> Value {
    of(&job.plan, &job.graph(), job.job_id)
}

/// A plan with its chains, as that of a job.
pub(crate) fn of(plan: &Plan, graph: &JobGraph, job: JobId) -> Value {
    // Flink lists sinks first.
    let nodes = graph.vertices.iter().rev().map(|vertex| node(plan, graph, vertex));
    json!({
        "jid": job,
        "name": plan.name,
        "type": "STREAMING",
        "nodes": nodes.collect::<Vec<_>>(),
    })
}

fn node(plan: &Plan, graph: &JobGraph, vertex: &Vertex) -> Value {
    let edges = graph.edges.iter().filter(|edge| edge.to == vertex.id);
    let input = |(num, edge): (usize, &flott_plan::VertexEdge)| {
        json!({
            "num": num,
            "id": vertex_id(plan, &graph.vertices[edge.from]),
            "ship_strategy": ship_strategy(&edge.partitioning),
            "exchange": "pipelined_bounded",
        })
    };
    json!({
        "id": vertex_id(plan, vertex),
        "parallelism": vertex.parallelism,
        "operator": "",
        "operator_strategy": "",
        "description": description(plan, vertex),
        "inputs": edges.enumerate().map(input).collect::<Vec<_>>(),
        "optimizer_properties": {},
    })
}

/// The operators of a vertex, one a line, as HTML: the dashboard shows it as such, so that texts of the job must not be tags.
fn description(plan: &Plan, vertex: &Vertex) -> String {
    let line = |(depth, node): (usize, &usize)| {
        let node = &plan.nodes[*node];
        let text = if node.description.is_empty() {
            &node.name
        } else {
            &node.description
        };
        let indent = if depth == 0 { "" } else { "+- " };
        format!("{indent}{}<br/>", escape(text))
    };
    vertex.nodes.iter().enumerate().map(line).collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push_str("<br/>"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn ship_strategy(partitioning: &Partitioning) -> &'static str {
    match partitioning {
        Partitioning::Forward => "FORWARD",
        Partitioning::Hash { .. } | Partitioning::Keyed => "HASH",
        Partitioning::Custom => "CUSTOM",
        Partitioning::Rebalance => "REBALANCE",
        Partitioning::Rescale => "RESCALE",
        Partitioning::Shuffle => "SHUFFLE",
        Partitioning::Broadcast => "BROADCAST",
        Partitioning::Global => "GLOBAL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_job_are_no_tags() {
        assert_eq!(escape("a < 'b'\n<script>"), "a &lt; &#39;b&#39;<br/>&lt;script&gt;");
    }
}
