//! The parallelism that a job shall have: asked for and changed while it runs.
//!
//! ```text
//! { "<vertex id>": { "parallelism": { "lowerBound": 1, "upperBound": 4 } }, … }
//! ```
//! Unlike Flink, any job can be changed, whatever `jobmanager.scheduler` says: a job whose bounds are equal waits for all its slots.

use crate::app::App;
use crate::error::{Answer, Json, RestError};
use crate::request::{self, SMALL_BODY_BYTES};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use flott_cluster::requirements::{Bounds, RequestedBounds};
use flott_core::OperatorId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// What is said of a vertex.
#[derive(Debug, Serialize, Deserialize)]
struct Requirements {
    parallelism: Bounds,
}

/// `GET /jobs/:job/resource-requirements`
pub(crate) async fn current(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let job = app.job(&id)?;
    let of_vertex = |(id, parallelism): (OperatorId, Bounds)| (id.to_string(), json!(Requirements { parallelism }));
    let vertices: serde_json::Map<_, _> = job.requirements().into_iter().map(of_vertex).collect();
    Ok(Json::ok(vertices.into()))
}

/// `PUT /jobs/:job/resource-requirements`
pub(crate) async fn change(State(app): State<App>, Path(id): Path<String>, body: Body) -> Answer {
    let job = app.job(&id)?;
    let given: BTreeMap<String, Requirements> = request::body(body, SMALL_BODY_BYTES).await?;
    let mut bounds = RequestedBounds::new();
    for (vertex, of_vertex) in given {
        bounds.insert(OperatorId(request::id("vertexid", &vertex)?), of_vertex.parallelism);
    }
    let changed = job.require(bounds).await;
    let has_ended = job.status().is_globally_terminal_state();
    changed.map_err(|why| match has_ended {
        true => RestError::new(StatusCode::CONFLICT, why),
        false => RestError::bad_request(why),
    })?;
    Ok(Json::ok(json!({})))
}
