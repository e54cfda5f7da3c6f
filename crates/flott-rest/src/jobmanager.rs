//! The JobManager: what it is, what it is set to, and how much there is of everything.

use crate::app::App;
use crate::error::{Answer, Json};
use crate::jobs::shown;
use axum::extract::{Path, State};
use flott_cluster::JobStatus;
use flott_core::Options;
use serde_json::{Value, json};

/// What stands for Flink's version: Flott's own, marked as such.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-flott");

/// What stands for the commit that was built; builds do not know theirs.
const COMMIT: &str = "unknown";

/// How often the dashboard looks again, unless `web.refresh-interval` says otherwise.
const REFRESH_MS: i64 = 3_000;

/// `GET /config`
pub(crate) async fn dashboard(State(app): State<App>) -> Answer {
    let options = app.dispatcher.options();
    let refresh_ms = options.duration_ms("web.refresh-interval").ok().flatten();
    Ok(Json::ok(json!({
        "refresh-interval": refresh_ms.unwrap_or(REFRESH_MS),
        "timezone-name": "Coordinated Universal Time",
        "timezone-offset": 0,
        "flink-version": VERSION,
        "flink-revision": COMMIT,
        "features": {
            "web-submit": app.web.is_some(),
            "web-cancel": true,
            "web-rescale": options.boolean("web.rescale.enable").ok().flatten().unwrap_or(true),
            "web-history": false,
        },
    })))
}

/// `GET /overview`
pub(crate) async fn overview(State(app): State<App>) -> Answer {
    let managers = app.dispatcher.task_managers();
    let jobs = app.dispatcher.jobs();
    let count = |wanted: JobStatus| jobs.iter().filter(|job| job.status() == wanted).count();
    let (finished, canceled, failed) = (
        count(JobStatus::Finished),
        count(JobStatus::Canceled),
        count(JobStatus::Failed),
    );
    Ok(Json::ok(json!({
        "taskmanagers": managers.len(),
        "slots-total": managers.iter().map(|manager| manager.slots).sum::<usize>(),
        "slots-available": managers.iter().map(|manager| manager.free_slots).sum::<usize>(),
        // Flink counts all that have not ended.
        "jobs-running": jobs.len() - finished - canceled - failed,
        "jobs-finished": finished,
        "jobs-cancelled": canceled,
        "jobs-failed": failed,
        "flink-version": VERSION,
        "flink-commit": COMMIT,
    })))
}

/// `GET /jobmanager/config`
pub(crate) async fn options(State(app): State<App>) -> Answer {
    Ok(Json::ok(listed(app.dispatcher.options())))
}

/// `GET /jobs/:job/jobmanager/config`: the JobManager is that of all jobs.
pub(crate) async fn options_of_job(State(app): State<App>, Path(id): Path<String>) -> Answer {
    app.job(&id)?;
    options(State(app)).await
}

fn listed(options: &Options) -> Value {
    shown(options)
        .map(|(key, value)| json!({ "key": key, "value": value }))
        .collect()
}

/// `GET /jobmanager/environment`: there is no JVM, and arguments may hold secrets.
pub(crate) async fn environment() -> Answer {
    Ok(Json::ok(json!({
        "jvm": {
            "version": format!("no JVM: Flott {}", env!("CARGO_PKG_VERSION")),
            "arch": std::env::consts::ARCH,
            "options": [],
        },
        "classpath": [],
    })))
}
