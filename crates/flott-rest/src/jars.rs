//! Uploaded files, which Flink calls jars: here SQL scripts, Flott plans and programs of Flott ([`crate::uploads`]).

use crate::app::App;
use crate::error::{Answer, Json, RestError};
use crate::multipart::{parts, unreadable};
use crate::operations::TriggerId;
use crate::plan;
use crate::request::{self, SMALL_BODY_BYTES};
use crate::run_request::{RunBody, RunRequest};
use crate::submission::WebSubmission;
use crate::submit::refused;
use crate::uploads::{Kind, Upload, Uploaded};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use flott_cluster::dispatcher::DescribedProgram;
use flott_core::{JobId, Options};
use flott_plan::{JobGraph, Plan};
use multer::Field;
use serde_json::json;
use std::path::PathBuf;

/// What is submitted here. Its paths are answered only where there is something.
///
/// # Errors
/// 404 if nothing is.
fn web(app: &App) -> Result<&WebSubmission, RestError> {
    let web = app.web.as_ref();
    web.ok_or_else(|| RestError::not_found("nothing can be uploaded here (web.submit.enable)"))
}

/// `POST /jars/upload`: one file, in a field of any name. What is wrong is told when all has come: clients that still send hear nothing.
pub(crate) async fn upload(State(app): State<App>, headers: HeaderMap, body: Body) -> Answer {
    let web = web(&app)?;
    let mut parts = parts(&headers, body, web.limit_bytes())?;
    let (mut first, mut count) = (None, 0);
    while let Some(part) = parts.next_field().await.map_err(unreadable)? {
        let Some(name) = part.file_name().map(str::to_owned) else {
            continue;
        };
        count += 1;
        if count == 1 {
            first = Some(receive(web, name, part).await?);
        }
    }
    let file = match first {
        Some(file) if count == 1 => file?,
        _ => {
            let text = format!("Exactly 1 file must be sent, received {count}.");
            return Err(RestError::bad_request(text));
        }
    };
    let path: PathBuf = web.with_uploads(|_| file.finish()).await?;
    tracing::info!(path = %path.display(), "a file was uploaded");
    Ok(Json::ok(json!({ "filename": path, "status": "success" })))
}

/// Takes the file that comes now; why not, if it is not wanted.
///
/// # Errors
/// If the rest of the body cannot be read, either.
async fn receive(
    web: &WebSubmission,
    name: String,
    mut part: Field<'static>,
) -> Result<Result<Upload, RestError>, RestError> {
    let mut file = web.with_uploads(move |uploads| uploads.begin(&name)).await;
    while let Some(bytes) = part.chunk().await.map_err(unreadable)? {
        // What is not wanted is read to its end all the same.
        if let Ok(mut begun) = file {
            let writing = move |_: &_| begun.write(&bytes).map(|()| begun);
            file = web.with_uploads(writing).await;
        }
    }
    Ok(file)
}

/// `GET /jars`: newest first. There are no classes to start at.
pub(crate) async fn list(State(app): State<App>) -> Answer {
    let files = web(&app)?.with_uploads(|uploads| uploads.list()).await?;
    let file = |file: &Uploaded| json!({ "id": file.id, "name": file.name, "uploaded": file.uploaded_ms, "entry": [] });
    Ok(Json::ok(
        json!({ "address": *app.address, "files": files.iter().map(file).collect::<Vec<_>>() }),
    ))
}

/// `DELETE /jars/:jarid`
pub(crate) async fn delete(State(app): State<App>, Path(id): Path<String>) -> Answer {
    web(&app)?.with_uploads(move |uploads| uploads.delete(&id)).await?;
    Ok(Json::ok(json!({})))
}

/// `GET /jars/:jarid/plan`: a body on GET is read by nobody.
pub(crate) async fn plan_by_query(State(app): State<App>, Path(id): Path<String>, RawQuery(query): RawQuery) -> Answer {
    show_plan(&app, id, RunRequest::of(RunBody::default(), query.as_deref())?).await
}

/// `POST /jars/:jarid/plan`
pub(crate) async fn plan_by_body(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Answer {
    let body = request::body(body, SMALL_BODY_BYTES).await?;
    show_plan(&app, id, RunRequest::of(body, query.as_deref())?).await
}

async fn show_plan(app: &App, id: String, wanted: RunRequest) -> Answer {
    // As in Flink the plan has an id that no job has yet.
    let job = match wanted.job {
        Some(job) => job,
        None => JobId(TriggerId::random()?.0),
    };
    let planned = planned(app, id, &wanted).await?;
    let plan = planned.plan();
    let chaining = plan.options.boolean("pipeline.operator-chaining.enabled");
    let chaining = chaining.map_err(|error| RestError::bad_request(error.to_string()))?;
    let graph = JobGraph::of(plan, chaining.unwrap_or(true));
    Ok(Json::ok(json!({ "plan": plan::of(plan, &graph, job) })))
}

/// `POST /jars/:jarid/run`
pub(crate) async fn run(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Answer {
    let body = request::body(body, SMALL_BODY_BYTES).await?;
    let wanted = RunRequest::of(body, query.as_deref())?;
    let job = wanted.job;
    let submitted = match (planned(&app, id, &wanted).await?, job) {
        (Planned::Program(program), job) => {
            let submission = wanted.submission(program.plan.clone())?;
            app.dispatcher.submit_program(job, submission, program).await
        }
        (Planned::Text(plan), Some(job)) => app.dispatcher.submit_under(job, wanted.submission(plan)?).await,
        (Planned::Text(plan), None) => app.dispatcher.submit(wanted.submission(plan)?).await,
    };
    let job = submitted.map_err(refused)?;
    // In Flink's words, which tools look for.
    tracing::info!(job = %job.job_id, name = job.name, "Job {} is submitted.", job.job_id);
    Ok(Json::ok(json!({ "jobid": job.job_id })))
}

/// The job of a file.
enum Planned {
    /// Of a script or a plan.
    Text(Plan),
    /// Of a program, which goes on being asked.
    Program(DescribedProgram),
}

impl Planned {
    fn plan(&self) -> &Plan {
        match self {
            Self::Text(plan) => plan,
            Self::Program(program) => &program.plan,
        }
    }
}

/// The job of a file. Its own options win over those of the request, and these over the cluster's.
async fn planned(app: &App, id: String, wanted: &RunRequest) -> Result<Planned, RestError> {
    let mut options: Options = app.dispatcher.options_of_jobs();
    options.merge(&wanted.options);
    let web = web(app)?;
    let (path, kind) = web.find(id.clone()).await?;
    if kind != Kind::Program {
        return web.plan(id, wanted.variables()?, options).await.map(Planned::Text);
    }
    let arguments = wanted.program_arguments()?;
    let name = id.split_once('_').map_or(id.as_str(), |(_, name)| name);
    let _turn = web.turn().await;
    let described = app.dispatcher.describe_program(&path, name, arguments, options).await;
    described.map(Planned::Program).map_err(refused)
}
