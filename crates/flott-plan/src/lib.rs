//! A job as data: what planners produce, what the JobManager schedules and what a later version must still read.
//!
//! A [`Plan`] is a graph of [`Node`]s. A node is a kind, a version and its own JSON, which only the operator factory
//! of that kind reads; nothing here knows SQL or Kafka. [`JobGraph`] is derived from a plan: chains of nodes that run
//! on one thread, and the exchanges between them.

mod job_graph;
mod plan;

pub use job_graph::{JobGraph, Vertex, VertexEdge, VertexId};
pub use plan::{
    Chaining, DEFAULT_SLOT_SHARING_GROUP, Edge, Node, NodeId, PLAN_VERSION, Partitioning, Plan, PlanError, Role,
};
