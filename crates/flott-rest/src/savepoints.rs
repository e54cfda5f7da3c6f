//! Savepoints, checkpoints on request, stops and disposals: each is triggered, and asked for until it has ended ([`crate::operations`]).
//!
//! Fields are spelled as each of Flink's endpoints has them: `savepoints` takes `target-directory` and `cancel-job`, `stop` takes
//! `targetDirectory` and `drain`. Flott has one format of savepoints: both of Flink's names for formats ask for it.

use crate::app::App;
use crate::error::{Answer, Json, RestError};
use crate::operations::{Target, TriggerId};
use crate::request::{self, SMALL_BODY_BYTES};
use crate::throwable;
use axum::body::Body;
use axum::extract::{Path, State};
use flott_checkpoint::layout::{SAVEPOINT_COMMITTED, SAVEPOINT_MANIFEST};
use flott_checkpoint::{CheckpointError, Snapshot, SnapshotKind};
use flott_cluster::JobHandle;
use flott_cluster::settings::CheckpointSettings;
use flott_core::Options;
use serde::Deserialize;
use serde_json::{Value, json};

/// Flink's names for formats of savepoints.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Format {
    Canonical,
    Native,
}

#[derive(Debug, Deserialize)]
struct SavepointRequest {
    #[serde(rename = "target-directory")]
    directory: Option<String>,
    #[serde(rename = "cancel-job")]
    cancels: Option<bool>,
    /// Read only to refuse what is none.
    #[serde(rename = "formatType")]
    _format: Option<Format>,
    #[serde(rename = "triggerId")]
    trigger: Option<String>,
}

#[derive(Debug, Deserialize)]
struct StopRequest {
    #[serde(rename = "targetDirectory")]
    directory: Option<String>,
    drain: Option<bool>,
    /// Read only to refuse what is none.
    #[serde(rename = "formatType")]
    _format: Option<Format>,
    #[serde(rename = "triggerId")]
    trigger: Option<String>,
}

/// What a savepoint is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    Cancel,
    Stop,
    Drain,
}

/// `POST /jobs/:job/savepoints`
pub(crate) async fn trigger_savepoint(State(app): State<App>, Path(id): Path<String>, body: Body) -> Answer {
    let job = app.job(&id)?;
    let request: SavepointRequest = request::body(body, SMALL_BODY_BYTES).await?;
    let then = match request.cancels {
        Some(true) => Then::Cancel,
        _ => Then::GoOn,
    };
    start_savepoint(&app, job, request.directory, request.trigger, then)
}

/// `POST /jobs/:job/stop`
pub(crate) async fn stop(State(app): State<App>, Path(id): Path<String>, body: Body) -> Answer {
    let job = app.job(&id)?;
    let request: StopRequest = request::body(body, SMALL_BODY_BYTES).await?;
    let then = match request.drain {
        Some(true) => Then::Drain,
        _ => Then::Stop,
    };
    start_savepoint(&app, job, request.directory, request.trigger, then)
}

fn start_savepoint(
    app: &App,
    job: JobHandle,
    directory: Option<String>,
    trigger: Option<String>,
    then: Then,
) -> Answer {
    let trigger = trigger_id(trigger)?;
    let directory = directory.filter(|directory| !directory.is_empty());
    let default = CheckpointSettings::from_options(&job.options)
        .ok()
        .and_then(|settings| settings.savepoint_dir);
    if directory.is_none() && default.is_none() {
        let field = match then {
            Then::GoOn | Then::Cancel => "target-directory",
            Then::Stop | Then::Drain => "targetDirectory",
        };
        return Err(RestError::bad_request(format!(
            "Config key [execution.checkpointing.savepoint-dir] is not set. Property [{field}] must be provided."
        )));
    }
    let target = Target::Savepoint(job.job_id);
    let work = async move {
        match take_savepoint(&job, directory, then).await {
            Ok(location) => json!({ "location": location }),
            Err(reason) => savepoint_failed(reason),
        }
    };
    app.operations.start(target, trigger, work, savepoint_failed);
    Ok(accepted(trigger))
}

async fn take_savepoint(job: &JobHandle, directory: Option<String>, then: Then) -> Result<String, String> {
    match then {
        Then::GoOn => job.savepoint(directory, false).await,
        Then::Stop => job.savepoint(directory, true).await,
        Then::Drain => job.drain(directory).await,
        Then::Cancel => {
            let path = job.savepoint(directory, false).await?;
            job.cancel();
            Ok(path)
        }
    }
}

fn savepoint_failed(reason: String) -> Value {
    json!({ "failure-cause": throwable::json(&reason) })
}

/// `GET /jobs/:job/savepoints/:trigger`
pub(crate) async fn savepoint_progress(State(app): State<App>, Path((id, trigger)): Path<(String, String)>) -> Answer {
    let job = app.job(&id)?.job_id;
    progress(
        &app,
        Target::Savepoint(job),
        &trigger,
        &format!("savepoint operation for job {job}"),
    )
}

/// Flink's names for what a checkpoint is to hold. How state is written is set for the whole job here: all ask for that.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum CheckpointType {
    Configured,
    Full,
    Incremental,
}

#[derive(Debug, Deserialize)]
struct CheckpointRequest {
    #[serde(rename = "checkpointType")]
    kind: Option<CheckpointType>,
    #[serde(rename = "triggerId")]
    trigger: Option<String>,
}

/// `POST /jobs/:job/checkpoints`
pub(crate) async fn trigger_checkpoint(State(app): State<App>, Path(id): Path<String>, body: Body) -> Answer {
    let job = app.job(&id)?;
    let request: CheckpointRequest = request::body(body, SMALL_BODY_BYTES).await?;
    let trigger = trigger_id(request.trigger)?;
    let target = Target::Checkpoint(job.job_id);
    tracing::debug!(job = %job.job_id, kind = ?request.kind, "a checkpoint is wanted");
    let work = async move {
        match job.checkpoint().await {
            Ok(id) => json!({ "checkpointId": id }),
            Err(reason) => checkpoint_failed(reason),
        }
    };
    app.operations.start(target, trigger, work, checkpoint_failed);
    Ok(accepted(trigger))
}

fn checkpoint_failed(reason: String) -> Value {
    json!({ "failureCause": throwable::json(&reason) })
}

/// `GET /jobs/:job/checkpoints/:trigger`
pub(crate) async fn checkpoint_progress(State(app): State<App>, Path((id, trigger)): Path<(String, String)>) -> Answer {
    let job = app.job(&id)?.job_id;
    progress(
        &app,
        Target::Checkpoint(job),
        &trigger,
        &format!("checkpoint operation for job {job}"),
    )
}

#[derive(Debug, Deserialize)]
struct DisposalRequest {
    #[serde(rename = "savepoint-path")]
    path: String,
}

/// `POST /savepoint-disposal`
pub(crate) async fn dispose(State(app): State<App>, body: Body) -> Answer {
    let request: DisposalRequest = request::body(body, SMALL_BODY_BYTES).await?;
    let trigger = TriggerId::random()?;
    let options = app.dispatcher.options().clone();
    tracing::info!("Disposing savepoint {}.", request.path);
    let work = async move {
        match delete(&request.path, &options).await {
            Ok(()) => json!({}),
            Err(reason) => savepoint_failed(reason),
        }
    };
    app.operations.start(Target::Disposal, trigger, work, savepoint_failed);
    // Of all that is triggered, this alone is not answered with 202 by Flink.
    Ok(Json::ok(request_id(trigger)))
}

/// Deletes a savepoint: what it consists of and no other file, so that a wrong path costs nothing. First what makes it exist.
async fn delete(path: &str, options: &Options) -> Result<(), String> {
    let told = |error: CheckpointError| error.to_string();
    let savepoint = Snapshot::open(path, options).await.map_err(told)?;
    if savepoint.manifest.kind != SnapshotKind::Savepoint {
        return Err(format!(
            "{} is a checkpoint, which its job deletes itself; only savepoints are disposed of",
            savepoint.path
        ));
    }
    let root = &savepoint.root;
    for marker in [SAVEPOINT_MANIFEST, SAVEPOINT_COMMITTED] {
        root.delete(marker).await.map_err(told)?;
    }
    for file in savepoint.manifest.files() {
        root.delete(&file).await.map_err(told)?;
    }
    Ok(())
}

/// `GET /savepoint-disposal/:trigger`
pub(crate) async fn disposal_progress(State(app): State<App>, Path(trigger): Path<String>) -> Answer {
    progress(&app, Target::Disposal, &trigger, "savepoint disposal")
}

fn progress(app: &App, target: Target, trigger: &str, what: &str) -> Answer {
    let id = TriggerId(request::id("triggerid", trigger)?);
    match app.operations.progress(target, id) {
        Some(progress) => Ok(Json::ok(progress)),
        None => Err(RestError::not_found(format!("There is no {what} with triggerId={id}."))),
    }
}

/// The client's trigger id, or a new one.
fn trigger_id(brought: Option<String>) -> Result<TriggerId, RestError> {
    match brought {
        Some(text) => Ok(TriggerId(request::id("triggerId", &text)?)),
        None => TriggerId::random(),
    }
}

fn accepted(trigger: TriggerId) -> Json {
    Json::accepted(request_id(trigger))
}

fn request_id(trigger: TriggerId) -> Value {
    json!({ "request-id": trigger.to_string() })
}
