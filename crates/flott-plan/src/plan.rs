//! The plan and its rules: ids are dense and unique, edges point forward, sources have no inputs, sinks no outputs.

use flott_core::{Field, Fingerprint, OperatorId, Options};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Version of the plan's form that this build writes. It reads this and all lower ones.
pub const PLAN_VERSION: u32 = 1;

/// The slot sharing group of all that say nothing.
pub const DEFAULT_SLOT_SHARING_GROUP: &str = "default";

/// Index of a node within its plan.
pub type NodeId = usize;

/// What is wrong with a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The plan was written by a newer build.
    #[error("this plan has version {found}, this build reads up to {PLAN_VERSION}: use the newer build that wrote it")]
    Version {
        /// Version found.
        found: u32,
    },
    /// The JSON does not have the form of a plan.
    #[error("the plan cannot be read: {0}")]
    Form(#[from] serde_json::Error),
    /// A rule of the graph is broken.
    #[error("the plan is not valid: {0}")]
    Graph(String),
    /// Two nodes would share one state.
    #[error("operators '{first}' and '{second}' have the same id {id}: give one of them another uid")]
    DuplicateOperator {
        /// The shared id.
        id: OperatorId,
        /// Name of the first.
        first: String,
        /// Name of the second.
        second: String,
    },
    /// There is nothing to run.
    #[error("no operators defined: a job needs at least one sink")]
    Empty,
}

/// Whether a node begins, continues or ends the walk of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads splits.
    Source,
    /// Transforms.
    Operator,
    /// Writes.
    Sink,
}

/// Whether a node may run on the thread of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chaining {
    /// Joined to its input where the edge allows.
    #[default]
    Always,
    /// Starts a chain of its own; others may join it.
    Head,
    /// Runs alone.
    Never,
}

/// How rows find the subtask of the next node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partitioning {
    /// Subtask i to subtask i.
    Forward,
    /// By the key group of these columns.
    Hash {
        /// Column indexes of the key.
        keys: Vec<usize>,
    },
    /// By the key group of the hashes that come with the rows: typed rows, whose operator knows the key.
    Keyed,
    /// To the subtask whose number comes with the row in the place of a hash.
    Custom,
    /// Whole batches in turn.
    Rebalance,
    /// Whole batches in turn, over the subtasks that are this one's share.
    Rescale,
    /// Each row to a subtask at random.
    Shuffle,
    /// Every row to every subtask.
    Broadcast,
    /// Every row to subtask 0.
    Global,
}

/// One operator of the job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Node {
    /// Its index in the plan.
    pub id: NodeId,
    /// What its state is found by.
    pub operator_id: OperatorId,
    /// The user's uid, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Kind, the key of its factory, e.g. `stream-exec-calc`.
    pub kind: String,
    /// Version of the kind's JSON.
    pub version: u32,
    /// Short name, as in Flink's job graph, e.g. `Source: bids[1]`.
    pub name: String,
    /// The longer line of EXPLAIN.
    #[serde(default)]
    pub description: String,
    /// Place in the walk.
    pub role: Role,
    /// Number of subtasks.
    pub parallelism: usize,
    /// Whether it is right at this parallelism only: rescaling leaves it as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixed_parallelism: bool,
    /// Number of key groups: fixed for the life of the state.
    pub max_parallelism: usize,
    /// Chaining hint.
    #[serde(default)]
    pub chaining: Chaining,
    /// Operators of another group never share a slot with it; `None`: of the group [`DEFAULT_SLOT_SHARING_GROUP`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_sharing_group: Option<String>,
    /// Columns that it emits.
    pub output: Vec<Field>,
    /// What its factory reads.
    pub spec: Value,
}

impl Node {
    /// Its slot sharing group.
    pub fn slot_sharing_group(&self) -> &str {
        self.slot_sharing_group.as_deref().unwrap_or(DEFAULT_SLOT_SHARING_GROUP)
    }
}

/// A stream between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// Upstream node.
    pub from: NodeId,
    /// Downstream node.
    pub to: NodeId,
    /// Which logical input of the downstream node; several edges into one input are a union.
    pub input: usize,
    /// Which output of the upstream node: 0 is the main one, others are side outputs.
    #[serde(default, skip_serializing_if = "is_main")]
    pub output: usize,
    /// How rows are spread.
    pub partitioning: Partitioning,
}

fn is_main(output: &usize) -> bool {
    *output == 0
}

/// A job, ready to be scheduled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Form of this value.
    pub version: u32,
    /// `pipeline.name`.
    pub name: String,
    /// Operators, each at the index of its id, inputs before outputs.
    pub nodes: Vec<Node>,
    /// Streams.
    pub edges: Vec<Edge>,
    /// Effective options of the job.
    pub options: Options,
}

impl Plan {
    /// An empty plan.
    pub fn new(name: impl Into<String>, options: Options) -> Self {
        Self {
            version: PLAN_VERSION,
            name: name.into(),
            nodes: vec![],
            edges: vec![],
            options,
        }
    }

    /// Reads a plan and checks it.
    ///
    /// # Errors
    /// If the form, the version or the graph is wrong.
    pub fn from_json(json: &str) -> Result<Self, PlanError> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = serde_json::from_str(json)?;
        if head.version > PLAN_VERSION {
            return Err(PlanError::Version { found: head.version });
        }
        let plan: Self = serde_json::from_str(json)?;
        plan.validate()?;
        Ok(plan)
    }

    /// The plan's text form.
    ///
    /// # Errors
    /// If a node's JSON cannot be written.
    pub fn to_json(&self) -> Result<String, PlanError> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// What the graph is recognised by: what its operators are, what each is told, and who reads whom. How parallel they are, how rows are
    /// spread between them and which options there are is no part of it: in all this a plan is followed by whoever knows its operators.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut text = String::new();
        for node in &self.nodes {
            let _ = writeln!(
                text,
                "{} {} {} {:?} {}",
                node.operator_id, node.kind, node.version, node.role, node.spec
            );
        }
        for edge in &self.edges {
            let _ = writeln!(text, "{} {} {} {}", edge.from, edge.to, edge.input, edge.output);
        }
        Fingerprint::of(&text)
    }

    /// Edges into `node`.
    pub fn inputs(&self, node: NodeId) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |e| e.to == node)
    }

    /// Edges out of `node`.
    pub fn outputs(&self, node: NodeId) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |e| e.from == node)
    }

    /// Checks the rules of the graph.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), PlanError> {
        let broken = |text: String| Err(PlanError::Graph(text));
        if self.nodes.is_empty() {
            return Err(PlanError::Empty);
        }
        let mut ids: BTreeMap<OperatorId, &Node> = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if node.id != index {
                return broken(format!("node '{}' has id {} at index {index}", node.name, node.id));
            }
            if node.parallelism == 0 || node.parallelism > node.max_parallelism {
                return broken(format!(
                    "'{}' has parallelism {}, allowed is 1 to its max parallelism {}",
                    node.name, node.parallelism, node.max_parallelism
                ));
            }
            if let Some(first) = ids.insert(node.operator_id, node) {
                return Err(PlanError::DuplicateOperator {
                    id: node.operator_id,
                    first: first.name.clone(),
                    second: node.name.clone(),
                });
            }
            let (inputs, outputs) = (self.inputs(index).count(), self.outputs(index).count());
            match node.role {
                Role::Source if inputs > 0 => return broken(format!("source '{}' has an input", node.name)),
                Role::Sink if outputs > 0 => return broken(format!("sink '{}' has an output", node.name)),
                Role::Operator | Role::Sink if inputs == 0 => return broken(format!("'{}' has no input", node.name)),
                Role::Source | Role::Operator if outputs == 0 => {
                    return broken(format!(
                        "nothing reads '{}': a job needs a sink behind every operator",
                        node.name
                    ));
                }
                _ => {}
            }
        }
        for edge in &self.edges {
            let (Some(from), Some(to)) = (self.nodes.get(edge.from), self.nodes.get(edge.to)) else {
                return broken(format!("edge {} → {} names an unknown node", edge.from, edge.to));
            };
            if edge.from >= edge.to {
                return broken(format!("edge '{}' → '{}' does not point forward", from.name, to.name));
            }
            match &edge.partitioning {
                Partitioning::Forward if from.parallelism != to.parallelism => {
                    return broken(format!(
                        "forward edge '{}' → '{}' between unequal parallelisms",
                        from.name, to.name
                    ));
                }
                Partitioning::Hash { keys } if keys.iter().any(|k| *k >= from.output.len()) => {
                    return broken(format!(
                        "edge '{}' → '{}' hashes a column that is not there",
                        from.name, to.name
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
