//! Subtasks of a vertex one by one, and by the TaskManagers that run them. Only the last attempt of a subtask is known.

use crate::app::{App, now_ms, vertex};
use crate::error::{Answer, Json, RestError};
use crate::io::Io;
use crate::metrics;
use crate::status::{self, Times};
use crate::vertices::{endpoint, statistics, task_manager_id};
use axum::extract::{Path, RawQuery, State};
use flott_cluster::execution::{Execution, ExecutionState, Executions};
use flott_cluster::stats::TaskView;
use flott_plan::Vertex;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// One subtask with what is counted of it, which nothing is before its first attempt.
pub(crate) struct Subtask<'a> {
    pub(crate) index: usize,
    pub(crate) attempt: u64,
    pub(crate) execution: Option<&'a Execution>,
    pub(crate) view: Option<&'a TaskView>,
}

impl<'a> Subtask<'a> {
    /// All of a vertex.
    pub(crate) fn all_of(vertex: &Vertex, executions: &'a Executions, views: &'a [TaskView]) -> Vec<Self> {
        let subtask = |index| Self {
            index,
            // Flink counts from 0.
            attempt: executions.attempt.saturating_sub(1),
            execution: executions.get((vertex.id, index)),
            view: views.iter().find(|view| view.0.1 == index),
        };
        (0..vertex.parallelism).map(subtask).collect()
    }

    pub(crate) fn state(&self) -> ExecutionState {
        self.execution
            .map_or(ExecutionState::Created, |execution| execution.state)
    }

    pub(crate) fn io(&self) -> Io {
        self.view.map(Io::of).unwrap_or_default()
    }

    /// How long it has been in each state up to RUNNING, in milliseconds; -1 for those that it has not had.
    fn durations_ms(&self, now_ms: i64) -> [(&'static str, i64); 5] {
        let duration = |state| {
            let duration = self
                .execution
                .and_then(|execution| execution.duration_ms(state, now_ms));
            duration.unwrap_or(-1)
        };
        [
            ("CREATED", duration(ExecutionState::Created)),
            ("SCHEDULED", duration(ExecutionState::Scheduled)),
            ("DEPLOYING", duration(ExecutionState::Deploying)),
            ("INITIALIZING", -1),
            ("RUNNING", duration(ExecutionState::Running)),
        ]
    }

    /// As details of vertices have it.
    pub(crate) fn json(&self, now_ms: i64) -> Value {
        let times = Times::of_subtasks([self.execution], now_ms);
        let durations = self
            .durations_ms(now_ms)
            .map(|(state, ms)| (state.to_owned(), json!(ms)));
        json!({
            "subtask": self.index,
            "status": self.state().to_string(),
            "attempt": self.attempt,
            "endpoint": endpoint(self.execution.and_then(|execution| execution.at.as_ref())),
            "taskmanager-id": task_manager_id(self.execution.and_then(|execution| execution.at.as_ref())),
            "start_time": times.start_ms,
            "start-time": times.start_ms,
            "end-time": times.end_ms,
            "duration": times.duration_ms,
            "metrics": self.io().json(),
            "status-duration": Map::from_iter(durations),
        })
    }
}

/// What Flink tells of the values of several subtasks.
pub(crate) fn aggregated(subtasks: &[Subtask<'_>], now_ms: i64) -> Value {
    let mut metrics: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    let mut states: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for subtask in subtasks {
        let io = subtask.io();
        for (name, count) in io.counts().into_iter().chain(io.times_ms()) {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            metrics.entry(name).or_default().push(count);
        }
        for (state, duration_ms) in subtask.durations_ms(now_ms) {
            states.entry(state).or_default().push(duration_ms);
        }
    }
    let over = |values: BTreeMap<&str, Vec<i64>>| -> Map<String, Value> {
        let named = values.into_iter();
        named
            .map(|(name, values)| (name.to_owned(), statistics(values)))
            .collect()
    };
    json!({ "metrics": over(metrics), "status-duration": over(states) })
}

/// The index of a subtask in the path.
///
/// # Errors
/// 400 if it is no number, 404 if the vertex has no such subtask.
fn index_of(vertex: &Vertex, text: &str) -> Result<usize, RestError> {
    let index = text.parse().map_err(|_| RestError::parameter("subtaskindex", text))?;
    match index < vertex.parallelism {
        true => Ok(index),
        false => Err(RestError::not_found(format!(
            "{} has no subtask {index}: it has {}, counted from 0",
            vertex.name, vertex.parallelism
        ))),
    }
}

/// `GET /jobs/:job/vertices/:vertex/subtasks/:n`
pub(crate) async fn details(
    State(app): State<App>,
    Path((id, vertex_id, subtask)): Path<(String, String, String)>,
) -> Answer {
    let job = app.job(&id)?;
    let vertex = &vertex(&job, &vertex_id)?;
    let index = index_of(vertex, &subtask)?;
    let (executions, views) = (job.stats.executions(), metrics::subtasks(&job, vertex.id));
    let all = Subtask::all_of(vertex, &executions, &views);
    Ok(Json::ok(all[index].json(now_ms())))
}

/// `GET /jobs/:job/vertices/:vertex/subtasks/:n/attempts/:a`
pub(crate) async fn attempt(
    State(app): State<App>,
    Path((id, vertex_id, subtask, attempt)): Path<(String, String, String, String)>,
) -> Answer {
    let wanted: u64 = attempt.parse().map_err(|_| RestError::parameter("attempt", &attempt))?;
    let last = app.job(&id)?.stats.executions().attempt.saturating_sub(1);
    if wanted != last {
        return Err(RestError::not_found(format!(
            "attempt {wanted} is not known any more, or not yet: the last one is {last}"
        )));
    }
    details(State(app), Path((id, vertex_id, subtask))).await
}

/// `GET /jobs/:job/vertices/:vertex/subtasks/:n/metrics`
pub(crate) async fn metrics_of(
    State(app): State<App>,
    Path((id, vertex_id, subtask)): Path<(String, String, String)>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let job = app.job(&id)?;
    let vertex = &vertex(&job, &vertex_id)?;
    let index = index_of(vertex, &subtask)?;
    let views = metrics::subtasks(&job, vertex.id);
    let view = views.iter().find(|view| view.0.1 == index);
    Ok(metrics::of_subtask(&app, &job, view, raw.as_deref()))
}

/// `GET /jobs/:job/vertices/:vertex/subtasktimes`
pub(crate) async fn times(State(app): State<App>, Path((id, vertex_id)): Path<(String, String)>) -> Answer {
    let job = app.job(&id)?;
    let vertex = &vertex(&job, &vertex_id)?;
    let (executions, now_ms) = (job.stats.executions(), now_ms());
    let row = |subtask: Subtask<'_>| {
        json!({
            "subtask": subtask.index,
            "endpoint": endpoint(subtask.execution.and_then(|execution| execution.at.as_ref())),
            "duration": Times::of_subtasks([subtask.execution], now_ms).duration_ms,
            "timestamps": status::task_timestamps(subtask.execution),
        })
    };
    let rows = Subtask::all_of(vertex, &executions, &[]).into_iter().map(row);
    Ok(Json::ok(json!({
        "id": vertex_id,
        "name": vertex.name,
        "now": now_ms,
        "subtasks": rows.collect::<Vec<_>>(),
    })))
}

/// `GET /jobs/:job/vertices/:vertex/taskmanagers`
pub(crate) async fn by_task_manager(State(app): State<App>, Path((id, vertex_id)): Path<(String, String)>) -> Answer {
    let job = app.job(&id)?;
    let vertex = &vertex(&job, &vertex_id)?;
    let (executions, views) = (job.stats.executions(), metrics::subtasks(&job, vertex.id));
    let mut managers: BTreeMap<(String, String), Vec<Subtask<'_>>> = BTreeMap::new();
    for subtask in Subtask::all_of(vertex, &executions, &views) {
        let at = subtask.execution.and_then(|execution| execution.at.as_ref());
        let place = (task_manager_id(at).to_owned(), endpoint(at).to_owned());
        managers.entry(place).or_default().push(subtask);
    }
    let now_ms = now_ms();
    let row = |((id, endpoint), subtasks): (&(String, String), &Vec<Subtask<'_>>)| {
        let times = Times::of_subtasks(subtasks.iter().map(|subtask| subtask.execution), now_ms);
        let states = || subtasks.iter().map(Subtask::state);
        json!({
            "endpoint": endpoint,
            "taskmanager-id": id,
            "status": ExecutionState::of_vertex(states()).to_string(),
            "start-time": times.start_ms,
            "end-time": times.end_ms,
            "duration": times.duration_ms,
            "metrics": subtasks.iter().map(Subtask::io).sum::<Io>().json(),
            "status-counts": status::counts(states()),
            "aggregated": aggregated(subtasks, now_ms),
        })
    };
    Ok(Json::ok(json!({
        "id": vertex_id,
        "name": vertex.name,
        "now": now_ms,
        "taskmanagers": managers.iter().map(row).collect::<Vec<_>>(),
    })))
}

/// `GET /jobs/:job/vertices/:vertex/accumulators`: functions of Flott have none.
pub(crate) async fn accumulators(State(app): State<App>, Path((id, vertex_id)): Path<(String, String)>) -> Answer {
    vertex(&app.job(&id)?, &vertex_id)?;
    Ok(Json::ok(json!({ "id": vertex_id, "user-accumulators": [] })))
}

/// `GET /jobs/:job/vertices/:vertex/subtasks/accumulators`: the same.
pub(crate) async fn accumulators_of_subtasks(
    State(app): State<App>,
    Path((id, vertex_id)): Path<(String, String)>,
) -> Answer {
    let job = app.job(&id)?;
    let vertex = &vertex(&job, &vertex_id)?;
    let executions = job.stats.executions();
    let row = |subtask: Subtask<'_>| {
        json!({
            "subtask": subtask.index,
            "attempt": subtask.attempt,
            "endpoint": endpoint(subtask.execution.and_then(|execution| execution.at.as_ref())),
            "user-accumulators": [],
        })
    };
    let rows = Subtask::all_of(vertex, &executions, &[]).into_iter().map(row);
    Ok(Json::ok(json!({
        "id": vertex_id,
        "parallelism": vertex.parallelism,
        "subtasks": rows.collect::<Vec<_>>(),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vertices::UNASSIGNED;

    #[test]
    fn a_subtask_that_was_never_deployed_has_a_row_too() {
        let subtask = Subtask {
            index: 3,
            attempt: 0,
            execution: None,
            view: None,
        };
        let json = subtask.json(1_000);
        assert_eq!(
            [&json["status"], &json["endpoint"], &json["taskmanager-id"]],
            ["CREATED", UNASSIGNED, UNASSIGNED]
        );
        assert_eq!((&json["start-time"], &json["duration"]), (&json!(-1), &json!(-1)));
        assert_eq!(json["status-duration"]["RUNNING"], -1);
    }
}
