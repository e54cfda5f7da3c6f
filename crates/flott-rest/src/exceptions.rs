//! The failures of a job, newest first, each with what failed beside it.

use crate::app::App;
use crate::error::{Answer, Json, RestError};
use crate::request;
use crate::vertices::{endpoint, task_manager_id};
use axum::extract::{Path, RawQuery, State};
use flott_cluster::events::label_name;
use flott_cluster::history::ExceptionRecord;
use serde_json::{Value, json};

/// Failures that are told unless `maxExceptions` says otherwise.
const MAX_EXCEPTIONS: usize = 20;

/// `GET /jobs/:job/exceptions?maxExceptions=N`
pub(crate) async fn history(State(app): State<App>, Path(id): Path<String>, RawQuery(raw): RawQuery) -> Answer {
    let job = app.job(&id)?;
    let wanted = match request::query(raw.as_deref(), "maxExceptions") {
        Some(text) => text.parse().map_err(|_| RestError::parameter("maxExceptions", &text))?,
        None => MAX_EXCEPTIONS,
    };
    let exceptions = job.stats.exceptions();
    let last = exceptions.records().next();
    let entries: Vec<Value> = exceptions.records().take(wanted).map(entry).collect();
    let is_truncated = exceptions.is_truncated || exceptions.records().count() > wanted;
    Ok(Json::ok(json!({
        "root-exception": last.map(|record| record.text.clone()),
        "timestamp": last.map_or(-1, |record| record.at_ms),
        "all-exceptions": [],
        "truncated": is_truncated,
        "exceptionHistory": { "entries": entries, "truncated": is_truncated },
    })))
}

/// The failure, and what is to be said of one that comes back with each attempt.
fn text(record: &ExceptionRecord) -> String {
    let poison = record.poison().map(|poison| format!("\n{poison}"));
    record.text.clone() + &poison.unwrap_or_default()
}

fn entry(record: &ExceptionRecord) -> Value {
    let at = record.task.as_ref().and_then(|task| task.at.as_ref());
    let name = match &record.task {
        Some(_) => "flott.TaskFailed",
        None => "flott.JobFailed",
    };
    let task = record
        .task
        .as_ref()
        .map(|task| format!("{} - subtask {}", task.name, task.subtask.1 + 1));
    json!({
        "exceptionName": name,
        "stacktrace": text(record),
        "timestamp": record.at_ms,
        "failureLabels": { "TYPE": label_name(record.label) },
        "taskName": task,
        "endpoint": endpoint(at),
        "taskManagerId": task_manager_id(at),
        "concurrentExceptions": record.concurrent.iter().map(self::entry).collect::<Vec<_>>(),
    })
}
