//! A vertex of a job: its subtasks, their watermarks, and whether they wait for those behind them.

use crate::app::{App, now_ms, vertex};
use crate::error::{Answer, Json};
use crate::io::Io;
use crate::metrics::subtasks;
use crate::status::{self, Times};
use axum::extract::{Path, State};
use flott_cluster::JobHandle;
use flott_cluster::stats::TaskView;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What Flink says of the place of a task that has none; where tasks run is not tracked yet.
pub(crate) const UNASSIGNED: &str = "(unassigned)";

/// `GET /jobs/:job/vertices/:vertex`
pub(crate) async fn details(State(app): State<App>, Path((id, vertex_id)): Path<(String, String)>) -> Answer {
    let job = app.job(&id)?;
    let vertex = vertex(&job, &vertex_id)?;
    let now_ms = now_ms();
    let views = subtasks(&job, vertex.id);
    // Before the first attempt nothing is counted yet.
    let view = |index: usize| views.iter().find(|view| view.0.1 == index);
    let rows: Vec<Value> = (0..vertex.parallelism)
        .map(|index| subtask(&job, index, view(index), now_ms))
        .collect();
    Ok(Json::ok(json!({
        "id": vertex_id,
        "name": vertex.name,
        "parallelism": vertex.parallelism,
        "maxParallelism": vertex.max_parallelism,
        "now": now_ms,
        "aggregated": aggregated(&job, &views, now_ms),
        "subtasks": rows,
    })))
}

fn subtask(job: &JobHandle, index: usize, view: Option<&TaskView>, now_ms: i64) -> Value {
    let times = Times::of_tasks(job, now_ms);
    json!({
        "subtask": index,
        "status": status::of_job(job.status()),
        "attempt": view.map_or(0, |(_, info, _)| info.attempt.saturating_sub(1)),
        "endpoint": UNASSIGNED,
        "taskmanager-id": UNASSIGNED,
        "start_time": times.start_ms,
        "start-time": times.start_ms,
        "end-time": times.end_ms,
        "duration": times.duration_ms,
        "metrics": view.map(Io::of).unwrap_or_default().json(),
        "status-duration": status_durations(job, times),
    })
}

/// How long a task has been in each state: those before RUNNING take no time that is told.
fn status_durations(job: &JobHandle, times: Times) -> Map<String, Value> {
    let created_ms = match times.start_ms {
        -1 => -1,
        start_ms => (start_ms - job.stats.start_time_ms()).max(0),
    };
    let durations = [
        ("CREATED", created_ms),
        ("SCHEDULED", -1),
        ("DEPLOYING", -1),
        ("INITIALIZING", -1),
        ("RUNNING", times.duration_ms),
    ];
    durations
        .map(|(state, ms)| (state.to_owned(), json!(ms)))
        .into_iter()
        .collect()
}

fn aggregated(job: &JobHandle, views: &[TaskView], now_ms: i64) -> Value {
    let mut values: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    let duration_ms = Times::of_tasks(job, now_ms).duration_ms;
    for view in views {
        values.entry("duration").or_default().push(duration_ms);
        for (name, count) in Io::of(view).counts() {
            values
                .entry(name)
                .or_default()
                .push(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
    let metrics = values
        .into_iter()
        .map(|(name, values)| (name.to_owned(), statistics(values)));
    json!({ "metrics": metrics.collect::<Map<_, _>>(), "status-duration": {} })
}

/// What Flink tells of the values of all subtasks.
fn statistics(mut values: Vec<i64>) -> Value {
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
