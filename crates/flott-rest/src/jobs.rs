//! Jobs: their list, their details, and their end on request.

use crate::app::{App, now_ms, vertex_id};
use crate::error::{Answer, Json, RestError};
use crate::io::Io;
use crate::status::{self, Times};
use crate::{plan, request};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use flott_cluster::execution::{ExecutionState, Executions};
use flott_cluster::{JobHandle, JobStatus};
use flott_core::Options;
use flott_core::options::is_secret;
use flott_plan::Vertex;
use serde_json::{Map, Value, json};

/// What stands for a value that nobody may see.
pub(crate) const HIDDEN: &str = "******";

/// `GET /jobs`
pub(crate) async fn ids(State(app): State<App>) -> Answer {
    let jobs = app.dispatcher.jobs();
    let job = |job: &JobHandle| json!({ "id": job.job_id, "status": job.status().to_string() });
    Ok(Json::ok(json!({ "jobs": jobs.iter().map(job).collect::<Vec<_>>() })))
}

/// `GET /jobs/overview`
pub(crate) async fn overview(State(app): State<App>) -> Answer {
    let now_ms = now_ms();
    let jobs = app.dispatcher.jobs();
    let jobs: Vec<Value> = jobs.iter().map(|job| summary(job, now_ms)).collect();
    Ok(Json::ok(json!({ "jobs": jobs })))
}

fn summary(job: &JobHandle, now_ms: i64) -> Value {
    let times = Times::of_job(job, now_ms);
    let changes = job.stats.status_times();
    let executions = job.stats.executions();
    let graph = job.graph();
    let vertices = graph.vertices.iter();
    json!({
        "jid": job.job_id,
        "name": job.name,
        "state": job.status().to_string(),
        "start-time": times.start_ms,
        "end-time": times.end_ms,
        "duration": times.duration_ms,
        "last-modification": changes.last().map_or(times.start_ms, |(_, at_ms)| *at_ms),
        "tasks": status::counts_with_total(vertices.flat_map(|vertex| status::of_subtasks(&executions, vertex))),
        "pending-operators": 0,
    })
}

/// `GET /jobs/:job/status`
pub(crate) async fn status(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let status = app.job(&id)?.status();
    Ok(Json::ok(json!({ "status": status.to_string() })))
}

/// `GET /jobs/:job`
pub(crate) async fn details(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let job = app.job(&id)?;
    let now_ms = now_ms();
    let times = Times::of_job(&job, now_ms);
    let executions = job.stats.executions();
    let graph = job.graph();
    let vertices = graph.vertices.iter();
    let states = vertices
        .clone()
        .map(|vertex| ExecutionState::of_vertex(status::of_subtasks(&executions, vertex)));
    let max_parallelism = job.options.integer("pipeline.max-parallelism").ok().flatten();
    // Flink counts vertices here, not their subtasks.
    let counts = status::counts(states);
    Ok(Json::ok(json!({
        "jid": job.job_id,
        "name": job.name,
        "isStoppable": false,
        "state": job.status().to_string(),
        "job-type": "STREAMING",
        // What tells the dashboard, and autoscalers, that jobs can be rescaled.
        "schedulerType": "Adaptive",
        "start-time": times.start_ms,
        "end-time": times.end_ms,
        "duration": times.duration_ms,
        "maxParallelism": max_parallelism.unwrap_or(-1),
        "now": now_ms,
        "timestamps": status::timestamps(&job),
        "vertices": vertices.map(|of| vertex(&job, of, &executions, now_ms)).collect::<Vec<_>>(),
        "status-counts": counts,
        "plan": plan::of_job(&job),
        "pending-operators": 0,
    })))
}

fn vertex(job: &JobHandle, vertex: &Vertex, executions: &Executions, now_ms: i64) -> Value {
    let all = (0..vertex.parallelism).map(|index| executions.get((vertex.id, index)));
    let times = Times::of_subtasks(all, now_ms);
    let states = || status::of_subtasks(executions, vertex);
    let views = job.stats.tasks();
    let subtasks = views.iter().filter(|((of, _), _, _)| *of == vertex.id);
    let io = subtasks.map(Io::of).sum::<Io>();
    json!({
        "id": vertex_id(&job.plan, vertex),
        "slotSharingGroupId": slot_sharing_group_id(&vertex.slot_sharing_group),
        "name": vertex.name,
        "maxParallelism": vertex.max_parallelism,
        "parallelism": vertex.parallelism,
        "status": ExecutionState::of_vertex(states()).to_string(),
        "start-time": times.start_ms,
        "end-time": times.end_ms,
        "duration": times.duration_ms,
        "tasks": status::counts(states()),
        "metrics": io.json(),
    })
}

/// Slot sharing groups have names here and ids in Flink.
fn slot_sharing_group_id(name: &str) -> String {
    flott_core::OperatorId::of(name).to_string()
}

/// `GET /jobs/:job/config`
pub(crate) async fn config(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let job = app.job(&id)?;
    let strategy = job
        .options
        .get("restart-strategy.type")
        .or_else(|| job.options.get("restart-strategy"));
    let parallelism = job.options.integer("parallelism.default").ok().flatten();
    Ok(Json::ok(json!({
        "jid": job.job_id,
        "name": job.name,
        "execution-config": {
            "restart-strategy": strategy.unwrap_or("Cluster level default restart strategy"),
            "job-parallelism": parallelism.unwrap_or(-1),
            "object-reuse-mode": false,
            "user-config": shown(&job.options).map(|(key, value)| (key.to_owned(), json!(value))).collect::<Map<_, _>>(),
        },
    })))
}

/// Options without the values of those that are secret.
pub(crate) fn shown(options: &Options) -> impl Iterator<Item = (&str, &str)> {
    options
        .iter()
        .map(|(key, value)| (key, if is_secret(key) { HIDDEN } else { value }))
}

/// `PATCH /jobs/:job?mode=cancel`
pub(crate) async fn terminate(State(app): State<App>, Path(id): Path<String>, RawQuery(raw): RawQuery) -> Answer {
    let mode = request::query(raw.as_deref(), "mode");
    match mode.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("cancel") => cancel(State(app), Path(id)).await,
        // Flink's words and status.
        Some("stop") => Err(RestError::new(
            StatusCode::PERMANENT_REDIRECT,
            "The termination mode \"stop\" has been removed. For an ungraceful shutdown, please use \"cancel\" instead. For a \
             graceful shutdown, please use \"jobs/:jobId/stop\" instead.",
        )),
        Some(other) => Err(RestError::parameter("mode", other)),
    }
}

/// `GET /jobs/:job/yarn-cancel`: the dashboard's way.
pub(crate) async fn cancel(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let job = app.job(&id)?;
    match job.status() {
        status @ (JobStatus::Finished | JobStatus::Failed) => Err(RestError::new(
            StatusCode::CONFLICT,
            format!("Job cancellation failed because the job has already reached another terminal state ({status})."),
        )),
        _ => {
            job.cancel();
            Ok(Json::accepted(json!({})))
        }
    }
}
