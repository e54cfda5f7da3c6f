//! What all handlers share: [`App`].

use crate::error::RestError;
use crate::operations::Operations;
use crate::request;
use crate::submission::WebSubmission;
use flott_cluster::JobHandle;
use flott_cluster::dispatcher::Dispatcher;
use flott_cluster::rates::Rates;
use flott_core::JobId;
use flott_core::clock::{Clock, SystemClock};
use flott_plan::{Plan, Vertex};
use std::sync::Arc;

/// What outlives the leadership of this JobManager.
#[derive(Clone)]
pub(crate) struct Lasting {
    pub(crate) operations: Operations,
    pub(crate) address: Arc<str>,
    pub(crate) web: Option<WebSubmission>,
}

/// The state of the server. Cloning shares it.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) operations: Operations,
    pub(crate) rates: Arc<Rates>,
    /// Where this server is asked, with the scheme.
    pub(crate) address: Arc<str>,
    /// What is uploaded, where that is possible.
    pub(crate) web: Option<WebSubmission>,
}

impl App {
    pub(crate) fn new(dispatcher: Dispatcher, lasting: Lasting) -> Self {
        Self {
            dispatcher,
            operations: lasting.operations,
            rates: Arc::default(),
            address: lasting.address,
            web: lasting.web,
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
pub(crate) fn vertex_id(plan: &Plan, vertex: &Vertex) -> String {
    plan.nodes[vertex.nodes[0]].operator_id.to_string()
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    SystemClock.now_ms()
}
