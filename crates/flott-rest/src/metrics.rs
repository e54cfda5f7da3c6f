//! Metrics under Flink's names: of a job, of a vertex by subtask, and over all subtasks of a vertex.
//!
//! Without `get` the answer lists names, with it the values of those that exist. A metric of a vertex is called `0.numRecordsIn`
//! (subtask and name) or `0.Source__t.numRecordsIn` (with the operator, in whose name Flink replaces what separates); over
//! subtasks the number is left out, and values are told by `agg` (`min`, `max`, `avg`, `sum`, `skew`).

use crate::app::{App, vertex};
use crate::error::{Answer, Json, RestError};
use crate::metric_values::{Metrics, Number, named, of_task};
use crate::request::query_list;
use axum::extract::{Path, RawQuery, State};
use flott_cluster::stats::TaskView;
use flott_cluster::{JobHandle, JobStatus};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// `GET /jobs/:job/metrics`
pub(crate) async fn of_job(State(app): State<App>, Path(id): Path<String>, RawQuery(raw): RawQuery) -> Answer {
    let job = app.job(&id)?;
    let history = job.stats.checkpoint_history();
    let last = history.last_completed.as_ref();
    let path = last.and_then(|record| record.path.clone());
    let size = last.map_or(-1, |record| record.bytes as i64);
    let is_running = job.status() == JobStatus::Running;
    let up_ms = job.stats.uptime_ms();
    let all = vec![
        ("uptime", Number::count(if is_running { up_ms } else { 0 })),
        ("downtime", Number::Whole(0)),
        ("runningTime", Number::count(if is_running { up_ms } else { 0 })),
        ("numRestarts", Number::count(job.stats.restarts())),
        ("numRescales", Number::count(job.stats.rescales())),
        ("fullRestarts", Number::count(job.stats.restarts())),
        ("numberOfCompletedCheckpoints", Number::count(history.completed)),
        ("numberOfFailedCheckpoints", Number::count(history.failed)),
        ("numberOfInProgressCheckpoints", Number::count(history.in_progress())),
        (
            "totalNumberOfCheckpoints",
            Number::count(history.completed + history.failed + history.in_progress()),
        ),
        (
            "lastCheckpointDuration",
            Number::Whole(last.map_or(-1, |record| record.duration_ms(0))),
        ),
        ("lastCheckpointSize", Number::Whole(size)),
        ("lastCheckpointFullSize", Number::Whole(size)),
        (
            "lastCompletedCheckpointId",
            Number::Whole(last.map_or(-1, |record| record.id as i64)),
        ),
        (
            "lastCheckpointExternalPath",
            Number::Text(path.unwrap_or_else(|| "n/a".to_owned())),
        ),
    ];
    Ok(page(named(all), raw.as_deref()))
}

/// `GET /jobmanager/metrics`
pub(crate) async fn of_job_manager(State(app): State<App>, RawQuery(raw): RawQuery) -> Answer {
    let managers = app.dispatcher.task_managers();
    let running = app
        .dispatcher
        .jobs()
        .iter()
        .filter(|job| job.status() == JobStatus::Running)
        .count();
    let sum = |of: fn(&flott_cluster::resources::TaskManagerInfo) -> usize| managers.iter().map(of).sum::<usize>();
    let all = vec![
        ("numRegisteredTaskManagers", Number::count(managers.len() as u64)),
        ("numRunningJobs", Number::count(running as u64)),
        ("taskSlotsTotal", Number::count(sum(|manager| manager.slots) as u64)),
        (
            "taskSlotsAvailable",
            Number::count(sum(|manager| manager.free_slots) as u64),
        ),
    ];
    Ok(page(named(all), raw.as_deref()))
}

/// `GET /jobs/:job/vertices/:vertex/metrics`
pub(crate) async fn of_vertex(
    State(app): State<App>,
    Path((id, vertex_id)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let job = app.job(&id)?;
    let vertex = vertex(&job, &vertex_id)?.id;
    let of_subtask = |view: &TaskView| {
        let subtask = view.0.1;
        let metrics = of_task(view, &app.rates.of(job.job_id, view));
        metrics
            .into_iter()
            .map(move |(name, value)| (format!("{subtask}.{name}"), value))
    };
    let views = subtasks(&job, vertex);
    Ok(page(views.iter().flat_map(of_subtask).collect(), raw.as_deref()))
}

/// `GET /jobs/:job/vertices/:vertex/subtasks/:n/metrics`: of a subtask, if it is counted yet.
pub(crate) fn of_subtask(app: &App, job: &JobHandle, view: Option<&TaskView>, raw: Option<&str>) -> Json {
    let metrics = view.map(|view| of_task(view, &app.rates.of(job.job_id, view)));
    page(metrics.into_iter().flatten().collect(), raw)
}

/// `GET /jobs/:job/vertices/:vertex/subtasks/metrics`
pub(crate) async fn over_subtasks(
    State(app): State<App>,
    Path((id, vertex_id)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let job = app.job(&id)?;
    let vertex = vertex(&job, &vertex_id)?.id;
    let raw = raw.as_deref();
    let wanted = Aggregation::all_of(raw)?;
    let subtasks_wanted = query_list(raw, "subtasks").map(|texts| ranges(&texts)).transpose()?;
    let is_wanted = |subtask: usize| {
        let ranges = subtasks_wanted.as_ref();
        ranges.is_none_or(|ranges| ranges.iter().any(|(first, last)| (*first..=*last).contains(&subtask)))
    };
    let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for view in subtasks(&job, vertex).iter().filter(|view| is_wanted(view.0.1)) {
        for (name, value) in of_task(view, &app.rates.of(job.job_id, view)) {
            values.entry(name).or_default().extend(value.as_f64());
        }
    }
    let Some(names) = query_list(raw, "get") else {
        let ids: Vec<Value> = values.keys().map(|id| json!({ "id": id })).collect();
        return Ok(Json::ok(json!(ids)));
    };
    let found = names.iter().filter_map(|name| Some((name, values.get(name)?)));
    let aggregated = found.filter(|(_, values)| !values.is_empty()).map(|(name, values)| {
        let mut json = Map::from_iter([("id".to_owned(), json!(name))]);
        json.extend(wanted.iter().map(|of| (of.name().to_owned(), json!(of.over(values)))));
        Value::Object(json)
    });
    Ok(Json::ok(aggregated.collect()))
}

/// The subtasks of a vertex.
pub(crate) fn subtasks(job: &JobHandle, vertex: usize) -> Vec<TaskView> {
    let mut views = job.stats.tasks();
    views.retain(|((of, _), _, _)| *of == vertex);
    views
}

/// Subtasks as `0-2,5`.
fn ranges(texts: &[String]) -> Result<Vec<(usize, usize)>, RestError> {
    let range = |text: &String| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = first.trim().parse().ok().zip(last.trim().parse().ok());
        range.ok_or_else(|| RestError::parameter("subtasks", text))
    };
    texts.iter().map(range).collect()
}

/// How several values become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregation {
    Min,
    Max,
    Avg,
    Sum,
    Skew,
}

impl Aggregation {
    const ALL: [Self; 5] = [Self::Min, Self::Max, Self::Avg, Self::Sum, Self::Skew];

    fn name(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
            Self::Avg => "avg",
            Self::Sum => "sum",
            Self::Skew => "skew",
        }
    }

    /// Those that the query asks for; all if it does not say.
    fn all_of(raw: Option<&str>) -> Result<Vec<Self>, RestError> {
        let Some(names) = query_list(raw, "agg") else {
            return Ok(Self::ALL.to_vec());
        };
        let of_name = |name: &String| {
            let found = Self::ALL.into_iter().find(|of| of.name().eq_ignore_ascii_case(name));
            found.ok_or_else(|| RestError::parameter("agg", name))
        };
        names.iter().map(of_name).collect()
    }

    fn over(self, values: &[f64]) -> f64 {
        let sum: f64 = values.iter().sum();
        let avg = sum / values.len().max(1) as f64;
        match self {
            Self::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
            Self::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::Avg => avg,
            Self::Sum => sum,
            // Mean distance from the average, in percent of it.
            Self::Skew if avg == 0.0 => 0.0,
            Self::Skew => {
                let distances: f64 = values.iter().map(|value| (value - avg).abs()).sum();
                (distances / values.len() as f64 / avg * 100.0).clamp(0.0, 100.0)
            }
        }
    }
}

/// Names without `get`, else the values of those that exist.
fn page(all: Metrics, raw: Option<&str>) -> Json {
    let Some(names) = query_list(raw, "get") else {
        return Json::ok(all.iter().map(|(id, _)| json!({ "id": id })).collect());
    };
    let all: BTreeMap<String, Number> = all.into_iter().collect();
    let found = names.iter().filter_map(|id| Some((id, all.get(id)?)));
    Json::ok(
        found
            .map(|(id, value)| json!({ "id": id, "value": value.to_string() }))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregations_are_flinks() {
        let values = [1.0, 3.0];
        let over: Vec<f64> = Aggregation::ALL.iter().map(|of| of.over(&values)).collect();
        assert_eq!(over, [1.0, 3.0, 2.0, 4.0, 50.0]);
        assert_eq!(Aggregation::Skew.over(&[0.0, 0.0]), 0.0);
        assert!(Aggregation::all_of(Some("agg=median")).is_err());
        assert_eq!(
            Aggregation::all_of(Some("agg=max,min")).unwrap(),
            [Aggregation::Max, Aggregation::Min]
        );
    }

    #[test]
    fn subtasks_are_picked_by_ranges() {
        assert_eq!(ranges(&["0-2".into(), "5".into()]).unwrap(), [(0, 2), (5, 5)]);
        assert!(ranges(&["x".into()]).is_err());
    }
}
