//! Submission of a job: a Flott plan, with the state to start from.
//!
//! ```json
//! {"plan": {"version": 1, "name": "…", "nodes": […], "edges": […], "options": {…}}, "savepointPath": null, "claimMode": null,
//!  "allowNonRestoredState": false}
//! ```
//! `savepointPath` is the path of a checkpoint or savepoint, or `latest`; `claimMode` says whose it is then (`NO_CLAIM` or `CLAIM`), over the plan's option. The answer comes when the job is accepted.

use crate::app::App;
use crate::error::{Answer, Json, RestError};
use crate::request;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use flott_cluster::settings::ClaimMode;
use flott_cluster::{ClusterError, Restore, Submission};
use flott_plan::Plan;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// Largest body of a submission.
const PLAN_BYTES: usize = 64 << 20;

#[derive(Debug, Deserialize)]
struct Request {
    /// As text: the plan judges its version before its form.
    plan: Box<RawValue>,
    #[serde(rename = "savepointPath", default)]
    savepoint_path: Option<String>,
    #[serde(rename = "claimMode", default)]
    claim_mode: Option<String>,
    #[serde(rename = "allowNonRestoredState", default)]
    allow_non_restored_state: Option<bool>,
}

/// `POST /jobs`
pub(crate) async fn submit(State(app): State<App>, headers: HeaderMap, body: Body) -> Answer {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if content_type.is_some_and(|text| text.to_ascii_lowercase().starts_with("multipart/")) {
        return Err(RestError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Flott runs no Java job graphs, which is what this client sends; submit SQL with `flott run -m HOST:PORT job.sql`",
        ));
    }
    let request: Request = request::body(body, PLAN_BYTES).await?;
    let mut plan = Plan::from_json(request.plan.get()).map_err(|error| RestError::bad_request(error.to_string()))?;
    if let Some(mode) = request.claim_mode {
        plan.options.set(ClaimMode::KEY, mode);
    }
    let submission = Submission {
        plan,
        restore: Restore::from_path(request.savepoint_path.as_deref().filter(|path| !path.is_empty())),
        allow_non_restored_state: request.allow_non_restored_state.unwrap_or(false),
    };
    let job = app.dispatcher.submit(submission).await.map_err(refused)?;
    // In Flink's words, which tools look for.
    tracing::info!(job = %job.job_id, name = job.name, "Job {} is submitted.", job.job_id);
    Ok(Json::accepted(
        json!({ "jobUrl": format!("/jobs/{}", job.job_id), "jobid": job.job_id }),
    ))
}

/// A wrong job is the client's matter; what is wrong around it is not.
pub(crate) fn refused(error: ClusterError) -> RestError {
    let status = match &error {
        ClusterError::Option(_) | ClusterError::Plan(_) | ClusterError::Restore(_) => StatusCode::BAD_REQUEST,
        ClusterError::Checkpoint(cause) if cause.is_not_found() => StatusCode::BAD_REQUEST,
        ClusterError::Refused(_) => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    RestError::new(status, format!("the job was not accepted: {error}"))
}
