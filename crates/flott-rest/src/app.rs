//! What all handlers share: [`App`].

use crate::error::RestError;
use crate::operations::Operations;
use crate::request;
use flott_cluster::JobHandle;
use flott_cluster::dispatcher::Dispatcher;
use flott_cluster::rates::Rates;
use flott_core::JobId;
use flott_core::clock::{Clock, SystemClock};
use flott_plan::Vertex;
use std::sync::Arc;

/// The state of the server. Cloning shares it.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) operations: Operations,
    pub(crate) rates: Arc<Rates>,
}

impl App {
    pub(crate) fn new(dispatcher: Dispatcher, operations: Operations) -> Self {
        Self {
            dispatcher,
            operations,
            rates: Arc::default(),
        }
    }

    /// The job of the path.
    ///
    /// # Errors
    /// 400 if the id is none, 404 if there is no such job.
    pub(crate) fn job(&self, id: &str) -> Result<JobHandle, RestError> {
        let job = JobId(request::id("jobid", id)?);
        let found = self.dispatcher.job(job);
        found.ok_or_else(|| RestError::not_found(format!("Job {job} not found")))
    }
}

/// The vertex of the path.
///
/// # Errors
/// 400 if the id is none, 404 if the job has no such vertex.
pub(crate) fn vertex(job: &JobHandle, id: &str) -> Result<Vertex, RestError> {
    let wanted = request::id("vertexid", id)?;
    let graph = job.graph();
    let mut vertices = graph.vertices.iter();
    let found = vertices.find(|vertex| job.plan.nodes[vertex.nodes[0]].operator_id.0 == wanted);
    let found = found.cloned();
    found.ok_or_else(|| RestError::not_found(format!("JobVertex {id} not found")))
}

/// The id of a vertex: that of its first operator.
pub(crate) fn vertex_id(job: &JobHandle, vertex: &Vertex) -> String {
    job.plan.nodes[vertex.nodes[0]].operator_id.to_string()
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    SystemClock.now_ms()
}
