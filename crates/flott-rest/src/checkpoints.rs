//! Checkpoints and savepoints of a job, as they were and as they are set.
//!
//! Persisted are rows that barriers have overtaken, processed what was let in between the first barrier and the last; nothing is buffered, as
//! in Flink of today. State is written whole or in parts that name files of others; both of Flink's sizes (`state_size`, `checkpointed_size`) are that of all state.

use crate::app::{App, now_ms, vertex_id};
use crate::error::{Answer, Json, RestError};
use crate::vertices::percentile;
use axum::extract::{Path, State};
use flott_cluster::JobHandle;
use flott_cluster::history::{CheckpointPurpose, CheckpointRecord, CheckpointStatus};
use flott_cluster::settings::{CheckpointSettings, Retention};
use flott_plan::Vertex;
use serde_json::{Map, Value, json};

/// `GET /jobs/:job/checkpoints`
pub(crate) async fn history(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let job = app.job(&id)?;
    let history = job.stats.checkpoint_history();
    let now_ms = now_ms();
    let restored = restored(&job);
    let row = |record: &CheckpointRecord| row(record, now_ms);
    let (sizes, durations) = (summary(history.sizes()), summary(history.durations_ms()));
    let nothing = summary(vec![]);
    Ok(Json::ok(json!({
        "counts": {
            "restored": u64::from(restored.is_some()),
            "total": history.completed + history.failed + history.in_progress(),
            "in_progress": history.in_progress(),
            "completed": history.completed,
            "failed": history.failed,
        },
        "summary": {
            "checkpointed_size": sizes,
            "state_size": sizes,
            "end_to_end_duration": durations,
            "alignment_buffered": nothing,
            "processed_data": summary(history.processed_bytes()),
            "persisted_data": summary(history.persisted_bytes()),
        },
        "latest": {
            "completed": history.last_completed.as_ref().map(row),
            "savepoint": history.last_savepoint.as_ref().map(row),
            "failed": history.last_failed.as_ref().map(row),
            "restored": restored,
        },
        "history": history.records().map(row).collect::<Vec<_>>(),
    })))
}

/// What the job started from; restores of restarts are not told apart.
fn restored(job: &JobHandle) -> Option<Value> {
    let path = job.restored_from.as_ref()?;
    let number = path
        .rsplit('/')
        .find_map(|part| part.strip_prefix("chk-")?.parse::<u64>().ok());
    Some(json!({
        "id": number.unwrap_or(0),
        "restore_timestamp": job.stats.start_time_ms(),
        "is_savepoint": number.is_none(),
        "external_path": path,
    }))
}

fn status(record: &CheckpointRecord) -> &'static str {
    match record.status {
        CheckpointStatus::InProgress => "IN_PROGRESS",
        CheckpointStatus::Completed => "COMPLETED",
        CheckpointStatus::Failed => "FAILED",
    }
}

/// What a vertex has in a checkpoint.
fn part(record: &CheckpointRecord, vertex: &Vertex) -> Value {
    let progress = record.vertices.get(&vertex.id).copied().unwrap_or_default();
    let duration_ms = progress.last_ack_ms.map(|at_ms| (at_ms - record.triggered_ms).max(0));
    json!({
        "id": record.id,
        "status": status(record),
        "latest_ack_timestamp": progress.last_ack_ms.unwrap_or(-1),
        "checkpointed_size": progress.sizes.state_bytes,
        "state_size": progress.sizes.state_bytes,
        "end_to_end_duration": duration_ms.unwrap_or(-1),
        "alignment_buffered": 0,
        "processed_data": progress.sizes.processed_bytes,
        "persisted_data": progress.sizes.persisted_bytes,
        "num_subtasks": vertex.parallelism,
        "num_acknowledged_subtasks": progress.acknowledged,
    })
}

fn row(record: &CheckpointRecord, now_ms: i64) -> Value {
    let status = status(record);
    let class = status.to_lowercase();
    let sizes = record.sizes();
    let kind = match record.purpose {
        CheckpointPurpose::Checkpoint if sizes.is_unaligned => "UNALIGNED_CHECKPOINT",
        CheckpointPurpose::Checkpoint => "CHECKPOINT",
        CheckpointPurpose::Savepoint => "SAVEPOINT",
        CheckpointPurpose::StoppingSavepoint => "SYNC_SAVEPOINT",
    };
    let mut row = json!({
        // By one of these, which one depends on its version, Flink's client tells the three sorts apart.
        "className": class,
        "clazz": class,
        "id": record.id,
        "status": status,
        "is_savepoint": record.purpose.is_savepoint(),
        "savepointFormat": record.purpose.is_savepoint().then_some("CANONICAL"),
        "trigger_timestamp": record.triggered_ms,
        "latest_ack_timestamp": record.last_ack_ms.unwrap_or(-1),
        "checkpointed_size": record.bytes,
        "state_size": record.bytes,
        "end_to_end_duration": record.duration_ms(now_ms),
        "alignment_buffered": 0,
        "processed_data": sizes.processed_bytes,
        "persisted_data": sizes.persisted_bytes,
        "num_subtasks": record.subtasks,
        "num_acknowledged_subtasks": record.acknowledged,
        "checkpoint_type": kind,
        "tasks": {},
    });
    match record.status {
        CheckpointStatus::InProgress => {}
        CheckpointStatus::Completed => {
            // The checkpoint of which a savepoint is a copy is not what a user may keep.
            let path = match record.purpose.is_savepoint() {
                true => &record.savepoint_path,
                false => &record.path,
            };
            row["external_path"] = json!(path);
            row["discarded"] = json!(false);
        }
        CheckpointStatus::Failed => {
            row["failure_timestamp"] = json!(record.ended_ms.unwrap_or(0));
            row["failure_message"] = json!(record.failure);
        }
    }
    row
}

fn summary(mut values: Vec<i64>) -> Value {
    values.sort_unstable();
    let sum: i64 = values.iter().fold(0, |sum, value| sum.saturating_add(*value));
    let at = |part: f64| percentile(&values, part) as f64;
    json!({
        "min": values.first().copied().unwrap_or(0),
        "max": values.last().copied().unwrap_or(0),
        "avg": sum / (values.len().max(1) as i64),
        "p50": at(0.5),
        "p90": at(0.9),
        "p95": at(0.95),
        "p99": at(0.99),
        "p999": at(0.999),
    })
}

/// `GET /jobs/:job/checkpoints/details/:n`
pub(crate) async fn details(State(app): State<App>, Path((id, number)): Path<(String, String)>) -> Answer {
    let job = app.job(&id)?;
    let checkpoint = number
        .parse()
        .map_err(|_| RestError::parameter("checkpointid", &number))?;
    match job.stats.checkpoint_history().record(checkpoint) {
        Some(record) => {
            let mut answer = row(record, now_ms());
            let graph = job.graph();
            let vertices = graph.vertices.iter();
            let parts = vertices.map(|vertex| (vertex_id(&job.plan, vertex), part(record, vertex)));
            answer["tasks"] = parts.collect::<Map<_, _>>().into();
            Ok(Json::ok(answer))
        }
        None => Err(RestError::not_found(format!(
            "Could not find checkpointing statistics for checkpoint {checkpoint}."
        ))),
    }
}

/// `GET /jobs/:job/checkpoints/config`
pub(crate) async fn config(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let job = app.job(&id)?;
    // The job was accepted with these options: they can be read.
    let settings = CheckpointSettings::from_options(&job.options)
        .map_err(|error| RestError::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let backend = job
        .options
        .get("state.backend.type")
        .or_else(|| job.options.get("state.backend"));
    let storage = match &settings.dir {
        Some(_) => "FileSystemCheckpointStorage",
        None => "JobManagerCheckpointStorage",
    };
    Ok(Json::ok(json!({
        "mode": "exactly_once",
        // Flink's number for "no periodic checkpoints".
        "interval": settings.interval_ms.unwrap_or(i64::MAX),
        "timeout": settings.timeout_ms,
        "min_pause": settings.min_pause_ms,
        "max_concurrent": 1,
        "externalization": {
            "enabled": settings.dir.is_some(),
            "delete_on_cancellation": settings.retention == Retention::DeleteOnCancellation,
        },
        "state_backend": backend.unwrap_or("hashmap"),
        "checkpoint_storage": storage,
        "unaligned_checkpoints": settings.unaligned.is_some(),
        "tolerable_failed_checkpoints": settings.tolerable_failures,
        "aligned_checkpoint_timeout": settings.unaligned.map_or(0, |unaligned| unaligned.aligned_timeout_ms),
        "checkpoints_after_tasks_finish": true,
        "state_changelog_enabled": false,
        "changelog_periodic_materialization_interval": 0,
        "changelog_storage": "",
    })))
}
