//! The event log of a job. The path is Flott's own: Flink has none that tells of restarts and lost TaskManagers in one order.
//!
//! ```json
//! {"events": [{"sequence": 1, "timestamp": 1700000000000, "type": "SUBMITTED", "message": "…", …}], "truncated": false}
//! ```
//! Events are oldest first; which fields each type has beside these, [`EventKind`](flott_cluster::events::EventKind) says.

use crate::app::App;
use crate::error::{Answer, Json};
use axum::extract::{Path, State};
use flott_cluster::events::JobEvent;
use serde_json::{Value, json};

/// `GET /jobs/:job/events`
pub(crate) async fn of_job(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let log = app.job(&id)?.stats.events();
    let events: Vec<Value> = log.events().into_iter().map(event).collect();
    Ok(Json::ok(json!({ "events": events, "truncated": log.is_truncated() })))
}

fn event(event: &JobEvent) -> Value {
    let mut json = json!(event);
    json["message"] = json!(event.kind.to_string());
    json
}
