//! A vertex of a job: its subtasks, their watermarks, and whether they wait for those behind them.

use crate::app::{App, now_ms, vertex};
use crate::error::{Answer, Json};
use crate::metrics::subtasks;
use crate::subtasks::{Subtask, aggregated};
use axum::extract::{Path, State};
use flott_cluster::protocol::Peer;
use flott_cluster::stats::TaskView;
use serde_json::{Value, json};

/// What Flink says of the place of a task that has none.
pub(crate) const UNASSIGNED: &str = "(unassigned)";

/// Where a task runs, host and port.
pub(crate) fn endpoint(at: Option<&Peer>) -> &str {
    at.map_or(UNASSIGNED, Peer::endpoint)
}

/// The TaskManager that runs a task.
pub(crate) fn task_manager_id(at: Option<&Peer>) -> &str {
    at.map_or(UNASSIGNED, |peer| peer.id.as_str())
}

/// `GET /jobs/:job/vertices/:vertex`
pub(crate) async fn details(State(app): State<App>, Path((id, vertex_id)): Path<(String, String)>) -> Answer {
    let job = app.job(&id)?;
    let vertex = &vertex(&job, &vertex_id)?;
    let now_ms = now_ms();
    let (executions, views) = (job.stats.executions(), subtasks(&job, vertex.id));
    let all = Subtask::all_of(vertex, &executions, &views);
    Ok(Json::ok(json!({
        "id": vertex_id,
        "name": vertex.name,
        "parallelism": vertex.parallelism,
        "maxParallelism": vertex.max_parallelism,
        "now": now_ms,
        "aggregated": aggregated(&all, now_ms),
        "subtasks": all.iter().map(|subtask| subtask.json(now_ms)).collect::<Vec<_>>(),
    })))
}

/// What Flink tells of the values of all subtasks.
pub(crate) fn statistics(mut values: Vec<i64>) -> Value {
    values.sort_unstable();
    let sum: i64 = values.iter().fold(0, |sum, value| sum.saturating_add(*value));
    let at = |part: f64| percentile(&values, part);
    json!({
        "min": values.first().copied().unwrap_or(0),
        "max": values.last().copied().unwrap_or(0),
        "avg": sum / (values.len().max(1) as i64),
        "sum": sum,
        "median": at(0.5),
        "p25": at(0.25),
        "p75": at(0.75),
        "p95": at(0.95),
    })
}

/// The value at `part` of sorted values, by nearest rank; 0 of none.
pub(crate) fn percentile(sorted: &[i64], part: f64) -> i64 {
    let rank = (sorted.len() as f64 * part).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// `GET /jobs/:job/vertices/:vertex/watermarks`
pub(crate) async fn watermarks(State(app): State<App>, Path((id, vertex_id)): Path<(String, String)>) -> Answer {
    let job = app.job(&id)?;
    let views = subtasks(&job, vertex(&job, &vertex_id)?.id);
    let row = |(subtask, _, metrics): &TaskView| {
        json!({
            "id": format!("{}.currentInputWatermark", subtask.1),
            "value": metrics.input_watermark.get().to_string(),
        })
    };
    Ok(Json::ok(views.iter().map(row).collect()))
}

/// `GET /jobs/:job/vertices/:vertex/backpressure`
pub(crate) async fn backpressure(State(app): State<App>, Path((id, vertex_id)): Path<(String, String)>) -> Answer {
    let job = app.job(&id)?;
    let views = subtasks(&job, vertex(&job, &vertex_id)?.id);
    let mut worst = 0.0_f64;
    let row = |view: &TaskView| {
        let rate = app.rates.of(job.job_id, view).task;
        let ratio = rate.back_pressured_ms / 1_000.0;
        worst = worst.max(ratio);
        json!({
            "subtask": view.0.1,
            "attempt-number": view.1.attempt.saturating_sub(1),
            "backpressureLevel": level(ratio),
            "backpressure-level": level(ratio),
            "ratio": ratio,
            "idleRatio": rate.idle_ms / 1_000.0,
            "busyRatio": rate.busy_ms / 1_000.0,
        })
    };
    let rows: Vec<Value> = views.iter().map(row).collect();
    Ok(Json::ok(json!({
        "status": "ok",
        "backpressureLevel": level(worst),
        "backpressure-level": level(worst),
        "end-timestamp": now_ms(),
        "subtasks": rows,
    })))
}

/// Flink's limits.
fn level(ratio: f64) -> &'static str {
    match ratio {
        ratio if ratio <= 0.1 => "ok",
        ratio if ratio <= 0.5 => "low",
        _ => "high",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_there() {
        assert_eq!(percentile(&[], 0.5), 0);
        assert_eq!(percentile(&[7], 0.999), 7);
        assert_eq!(percentile(&[1, 2, 3, 4], 0.5), 2);
        let all = statistics(vec![4, 1, 3, 2]);
        assert_eq!(
            (&all["sum"], &all["avg"], &all["p95"]),
            (&json!(10), &json!(2), &json!(4))
        );
    }

    #[test]
    fn levels_have_flinks_limits() {
        assert_eq!([0.0, 0.1, 0.3, 0.5, 0.6].map(level), ["ok", "ok", "low", "low", "high"]);
    }
}
