//! From nodes to what is scheduled: a vertex is a chain of nodes that share a thread per subtask.
//!
//! A node joins the chain of its input when the edge is forward, it is the only edge into the node and the only one
//! out of its input, both may share a slot, and neither forbids it. Chains are linear; a node with two readers, or with a side output that is read, ends its chain.

use crate::plan::{Chaining, NodeId, Partitioning, Plan};
use std::collections::BTreeMap;

/// Index of a vertex within its job graph.
pub type VertexId = usize;

/// A chain of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vertex {
    /// Its index.
    pub id: VertexId,
    /// The nodes in the order in which a record meets them.
    pub nodes: Vec<NodeId>,
    /// Names joined by ` -> `, as Flink shows them.
    pub name: String,
    /// Number of subtasks.
    pub parallelism: usize,
    /// Number of key groups.
    pub max_parallelism: usize,
    /// Its subtasks share slots with those of vertices of the same group only.
    pub slot_sharing_group: String,
}

/// An exchange between two vertices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VertexEdge {
    /// Upstream vertex.
    pub from: VertexId,
    /// Downstream vertex.
    pub to: VertexId,
    /// Logical input of the downstream vertex's first node.
    pub input: usize,
    /// Output of the upstream vertex's last node.
    pub output: usize,
    /// How rows are spread.
    pub partitioning: Partitioning,
}

/// What is scheduled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobGraph {
    /// Chains, inputs before outputs.
    pub vertices: Vec<Vertex>,
    /// Exchanges.
    pub edges: Vec<VertexEdge>,
}

impl JobGraph {
    /// Chains the nodes of a valid plan. With `chaining` off every node is a vertex (`pipeline.operator-chaining.enabled`).
    pub fn of(plan: &Plan, chaining: bool) -> Self {
        let mut vertex_of: Vec<VertexId> = Vec::with_capacity(plan.nodes.len());
        let mut vertices: Vec<Vertex> = vec![];
        let mut edges = vec![];
        for node in &plan.nodes {
            let joined = chaining
                .then(|| joined_input(plan, node.id))
                .flatten()
                .map(|input| vertex_of[input]);
            match joined {
                Some(vertex) => {
                    vertices[vertex].nodes.push(node.id);
                    vertices[vertex].name = format!("{} -> {}", vertices[vertex].name, node.name);
                    vertex_of.push(vertex);
                }
                None => {
                    let id = vertices.len();
                    for edge in plan.inputs(node.id) {
                        let from = vertex_of[edge.from];
                        edges.push(VertexEdge {
                            from,
                            to: id,
                            input: edge.input,
                            output: edge.output,
                            partitioning: edge.partitioning.clone(),
                        });
                    }
                    vertices.push(Vertex {
                        id,
                        nodes: vec![node.id],
                        name: node.name.clone(),
                        parallelism: node.parallelism,
                        max_parallelism: node.max_parallelism,
                        slot_sharing_group: node.slot_sharing_group().to_owned(),
                    });
                    vertex_of.push(id);
                }
            }
        }
        Self { vertices, edges }
    }

    /// Number of subtasks of the whole job.
    pub fn subtasks(&self) -> usize {
        self.vertices.iter().map(|v| v.parallelism).sum()
    }

    /// Slots that the job needs: one slot holds one subtask of every vertex of a slot sharing group.
    pub fn slots(&self) -> usize {
        self.slots_by_group().values().sum()
    }

    /// Slots that each slot sharing group needs: as many as its widest vertex has subtasks.
    pub fn slots_by_group(&self) -> BTreeMap<&str, usize> {
        let mut slots = BTreeMap::new();
        for vertex in &self.vertices {
            let widest = slots.entry(vertex.slot_sharing_group.as_str()).or_insert(0);
            *widest = vertex.parallelism.max(*widest);
        }
        slots
    }
}

/// The input that `node` may share a thread with.
fn joined_input(plan: &Plan, node: NodeId) -> Option<NodeId> {
    let mut inputs = plan.inputs(node);
    let (edge, None) = (inputs.next()?, inputs.next()) else {
        return None;
    };
    let (from, to) = (&plan.nodes[edge.from], &plan.nodes[node]);
    let joined = edge.partitioning == Partitioning::Forward
        && edge.output == 0
        && plan.outputs(edge.from).count() == 1
        && from.parallelism == to.parallelism
        && from.max_parallelism == to.max_parallelism
        && from.slot_sharing_group() == to.slot_sharing_group()
        && to.chaining == Chaining::Always
        && from.chaining != Chaining::Never;
    joined.then_some(edge.from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Edge, Node, PlanError, Role};
    use flott_core::{Field, LogicalType, OperatorId, Options};

    fn plan(edges: &[(usize, usize, Partitioning)], nodes: &[(&str, Role, usize)]) -> Plan {
        let mut plan = Plan::new("test", Options::new());
        for (id, (name, role, parallelism)) in nodes.iter().enumerate() {
            plan.nodes.push(Node {
                id,
                operator_id: OperatorId::of(name),
                uid: None,
                kind: "test".into(),
                version: 1,
                name: (*name).into(),
                description: String::new(),
                role: *role,
                parallelism: *parallelism,
                fixed_parallelism: false,
                max_parallelism: 128,
                chaining: Chaining::Always,
                slot_sharing_group: None,
                output: vec![Field::new("a", LogicalType::bigint())],
                spec: serde_json::Value::Null,
            });
        }
        for (from, to, partitioning) in edges {
            plan.edges.push(Edge {
                from: *from,
                to: *to,
                input: 0,
                output: 0,
                partitioning: partitioning.clone(),
            });
        }
        plan
    }

    #[test]
    fn a_fingerprint_tells_what_is_done_and_not_how_parallel() {
        let of = |kind: &str, parallelism: usize, partitioning: Partitioning| {
            let nodes = [("s", Role::Source, parallelism), ("w", Role::Sink, 2)];
            let mut plan = plan(&[(0, 1, partitioning)], &nodes);
            plan.nodes[1].kind = kind.into();
            plan
        };
        let one = of("print", 2, Partitioning::Forward);
        let other = of("print", 1, Partitioning::Rebalance);
        assert_eq!(one.fingerprint(), other.fingerprint());
        let read = Plan::from_json(&one.to_json().unwrap()).unwrap();
        assert_eq!(read.fingerprint(), one.fingerprint(), "kept and read again");
        let files = of("files", 2, Partitioning::Forward);
        assert_ne!(files.fingerprint(), one.fingerprint());
        let mut told_else = one.clone();
        told_else.nodes[1].spec = serde_json::json!({ "path": "/rows" });
        assert_ne!(told_else.fingerprint(), one.fingerprint());
        let mut read_else = one.clone();
        read_else.edges[0].output = 1;
        assert_ne!(read_else.fingerprint(), one.fingerprint());
    }

    #[test]
    fn forward_edges_chain_and_hash_edges_do_not() {
        let hash = Partitioning::Hash { keys: vec![0] };
        let p = plan(
            &[
                (0, 1, Partitioning::Forward),
                (1, 2, hash.clone()),
                (2, 3, Partitioning::Forward),
            ],
            &[
                ("Source: s", Role::Source, 2),
                ("Calc", Role::Operator, 2),
                ("Agg", Role::Operator, 2),
                ("w", Role::Sink, 2),
            ],
        );
        p.validate().unwrap();
        let g = JobGraph::of(&p, true);
        let names: Vec<&str> = g.vertices.iter().map(|v| v.name.as_str()).collect();
        assert_eq!(names, ["Source: s -> Calc", "Agg -> w"]);
        assert_eq!(
            g.edges,
            [VertexEdge {
                from: 0,
                to: 1,
                input: 0,
                output: 0,
                partitioning: hash
            }]
        );
        assert_eq!((g.subtasks(), g.slots()), (4, 2));
        assert_eq!(JobGraph::of(&p, false).vertices.len(), 4);
    }

    #[test]
    fn slots_are_shared_within_a_group_only() {
        let mut p = plan(
            &[
                (0, 1, Partitioning::Forward),
                (1, 2, Partitioning::Rebalance),
                (2, 3, Partitioning::Forward),
            ],
            &[
                ("s", Role::Source, 2),
                ("a", Role::Operator, 2),
                ("b", Role::Operator, 3),
                ("w", Role::Sink, 3),
            ],
        );
        assert_eq!(JobGraph::of(&p, true).slots(), 3);
        for heavy in [1, 2] {
            p.nodes[heavy].slot_sharing_group = Some("heavy".into());
        }
        let p = Plan::from_json(&p.to_json().unwrap()).unwrap();
        let g = JobGraph::of(&p, true);
        let names: Vec<&str> = g.vertices.iter().map(|v| v.name.as_str()).collect();
        assert_eq!(names, ["s", "a", "b", "w"], "a chain does not leave its group");
        assert_eq!(g.slots(), 6);
        assert_eq!(g.slots_by_group(), BTreeMap::from([("default", 3), ("heavy", 3)]));
    }

    #[test]
    fn a_node_with_two_readers_ends_its_chain() {
        let p = plan(
            &[(0, 1, Partitioning::Forward), (0, 2, Partitioning::Forward)],
            &[("s", Role::Source, 1), ("a", Role::Sink, 1), ("b", Role::Sink, 1)],
        );
        assert_eq!(JobGraph::of(&p, true).vertices.len(), 3);
    }

    #[test]
    fn a_source_that_nobody_reads_is_an_error() {
        let p = plan(&[], &[("s", Role::Source, 1)]);
        assert!(matches!(p.validate(), Err(PlanError::Graph(text)) if text.contains("nothing reads 's'")));
        assert!(matches!(
            Plan::new("e", Options::new()).validate(),
            Err(PlanError::Empty)
        ));
    }

    #[test]
    fn a_plan_survives_its_text_and_a_newer_one_is_refused() {
        let p = plan(
            &[(0, 1, Partitioning::Rebalance)],
            &[("s", Role::Source, 1), ("k", Role::Sink, 3)],
        );
        let json = p.to_json().unwrap();
        assert_eq!(Plan::from_json(&json).unwrap().to_json().unwrap(), json);
        let newer = json.replacen("\"version\": 1", "\"version\": 99", 1);
        assert!(matches!(Plan::from_json(&newer), Err(PlanError::Version { found: 99 })));
    }
}
