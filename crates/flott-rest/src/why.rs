//! What a job waits on, in words. The path is Flott's own: Flink has the numbers, and leaves it to people to find the cause in them.
//!
//! ```json
//! {"status": "RUNNING", "healthy": false, "measuredSeconds": 10.0, "flow": [{"name": "Source: t", "recordsInPerSecond": 12.0, …}],
//!  "findings": [{"kind": "SLOW_SINK", "severity": "PROBLEM", "summary": "…", "remedy": "…", "places": [{"vertex": "…", …}]}]}
//! ```
//! Findings are judged by [`flott_cluster::diagnosis`]: problems before notes, causes before what follows from them.

use crate::app::{App, now_ms};
use crate::error::{Answer, Json};
use axum::extract::{Path, State};
use flott_cluster::diagnosis::{Diagnosis, Facts};
use serde_json::json;

/// `GET /jobs/:job/why`
pub(crate) async fn of_job(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let job = app.job(&id)?;
    let facts = Facts::of(&job, &app.rates, &app.dispatcher.task_managers(), now_ms());
    let mut answer = json!(Diagnosis::of(&facts));
    answer["jid"] = json!(job.job_id);
    answer["name"] = json!(job.name);
    answer["now"] = json!(facts.now_ms);
    Ok(Json::ok(answer))
}
