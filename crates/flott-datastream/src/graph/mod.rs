//! The job that a program describes, call by call: nodes, edges and the factories of their operators.
//!
//! Each node has a kind of its own (`map#3`) in the registry of the program, so that a plan stays data: the program that made
//! it is the only one that can run it.
//!
//! Here it is described; [`finish`] makes the plan of it, with what a planner adds ([`part`]) and the names that state is found by
//! ([`identity`]).

mod error;
mod finish;
mod identity;
mod part;
mod shared;

pub use error::ProgramError;

use crate::planned::Planner;
use crate::records::{Data, Records};
use crate::runtime_mode::RuntimeMode;
use crate::side::{OutputTag, SideOutputs, Sides};
use crate::time::{Generator, TimedSource, WatermarkStrategy};
use flott_plan::{Chaining, NodeId, Partitioning, Role};
use flott_runtime::connector::Boundedness;
use flott_runtime::{Operator, Registry, Sink, Source};
use shared::{SharedSink, SharedSource};
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// Puts the factories of one node into a registry.
pub type Register = Arc<dyn Fn(&mut Registry)>;

/// What a program has described: the jobs that it has run, and the one in the making.
#[derive(Default)]
pub(crate) struct Graph {
    nodes: Vec<Draft>,
    edges: Vec<DraftEdge>,
    register: Vec<(NodeId, Register)>,
    /// Nodes before this one are of jobs that were run; what the next job reads of them is made again.
    planned: usize,
    /// What is wrong with the program, where a call cannot say so.
    refused: Option<ProgramError>,
    /// Plans what lies between streams and the outlets that read them.
    pub(crate) planner: Option<Rc<dyn Planner>>,
    /// Statements of the planner that are part of the next job.
    attached: BTreeSet<usize>,
    statements: usize,
    /// Nodes of jobs that were run aside.
    aside: BTreeSet<NodeId>,
    /// Nodes whose streams the planner may read: nothing else need.
    readable: BTreeSet<NodeId>,
}

/// What a job is made of: these, and all that they read.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    nodes: Vec<NodeId>,
    statements: Vec<usize>,
}

/// A moment in the description of a program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    nodes: usize,
    statements: usize,
}

/// A node before its parallelism is known.
struct Draft {
    /// What it does: `map`, `reduce`; equal for all nodes of its kind.
    operation: &'static str,
    name: String,
    uid: Option<String>,
    role: Role,
    keeps_state: bool,
    parallelism: Option<usize>,
    max_parallelism: Option<usize>,
    /// The only parallelism that it can have.
    fixed: Option<usize>,
    /// The node whose parallelism it has: it works on that node's output in its place, so that no exchange comes between.
    follows: Option<NodeId>,
    /// Over how many subtasks its output is spread by a custom partitioner.
    spreads_over: Option<usize>,
    chaining: Chaining,
    slot_sharing_group: Option<String>,
    /// A source that does not end.
    is_unbounded: bool,
    spec: serde_json::Value,
    sides: SideOutputs,
    /// Its input is made by the planner.
    is_outlet: bool,
}

struct DraftEdge {
    from: NodeId,
    to: NodeId,
    input: usize,
    output: usize,
    /// `None`: forward where the parallelisms are equal, else rebalanced.
    partitioning: Option<Partitioning>,
}

/// Where a stream comes from: a node's output, and how it is spread to whoever reads it.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) node: NodeId,
    pub(crate) output: usize,
    pub(crate) partitioning: Option<Partitioning>,
}

impl Origin {
    pub(crate) fn main(node: NodeId) -> Self {
        Self {
            node,
            output: 0,
            partitioning: None,
        }
    }
}

impl Graph {
    /// Adds a source of `T`.
    pub(crate) fn source<T: Data>(
        &mut self,
        operation: &'static str,
        name: &str,
        fixed: Option<usize>,
        source: impl Source + 'static,
        strategy: &WatermarkStrategy<T>,
    ) -> Origin {
        let node = self.node(operation, &format!("Source: {name}"), Role::Source, true);
        self.nodes[node].fixed = fixed;
        self.nodes[node].is_unbounded = source.boundedness() == Boundedness::Unbounded;
        if let Some(error) = strategy.refused(true) {
            self.refuse(error);
        }
        let kind = self.kind(node);
        if let Some(watermark) = strategy.spec(&kind) {
            self.nodes[node].spec = serde_json::json!({ "watermark": watermark });
        }
        let source: Arc<dyn Source> = Arc::new(TimedSource {
            source: Box::new(source),
            strategy: strategy.clone(),
        });
        let strategy = strategy.clone();
        self.registers(node, move |registry| {
            let (source, strategy) = (source.clone(), strategy.clone());
            registry.typed(&kind, 0, Records::<T>::decode);
            registry.watermark(&kind, move |_, _| Ok(Box::new(Generator::new(strategy.clone()))));
            registry.source(&kind, move |_, _| Ok(Box::new(SharedSource(source.clone()))));
        });
        Origin::main(node)
    }

    /// Adds an operator that reads `inputs` (each a union of streams) and emits `T`.
    pub(crate) fn operator<T: Data>(
        &mut self,
        operation: &'static str,
        name: &str,
        keeps_state: bool,
        inputs: &[&[Origin]],
        make: impl Fn() -> Box<dyn Operator> + Send + Sync + 'static,
    ) -> Origin {
        self.operator_with_sides::<T>(operation, name, keeps_state, inputs, move |_| make())
    }

    /// The same for an operator that may emit to side outputs: those that are read when the job is planned.
    pub(crate) fn operator_with_sides<T: Data>(
        &mut self,
        operation: &'static str,
        name: &str,
        keeps_state: bool,
        inputs: &[&[Origin]],
        make: impl Fn(Sides) -> Box<dyn Operator> + Send + Sync + 'static,
    ) -> Origin {
        let node = self.node(operation, name, Role::Operator, keeps_state);
        self.connect(node, inputs);
        let kind = self.kind(node);
        let sides = self.nodes[node].sides.clone();
        let make = Arc::new(make);
        self.registers(node, move |registry| {
            let (make, sides) = (make.clone(), sides.clone());
            registry.typed(&kind, 0, Records::<T>::decode);
            registry.operator(&kind, move |_, _| Ok(make(sides.buffers())));
        });
        Origin::main(node)
    }

    /// Adds an operator whose input is what the planner makes: columns in, `T` out.
    pub(crate) fn outlet<T: Data>(
        &mut self,
        operation: &'static str,
        name: &str,
        make: impl Fn() -> Box<dyn Operator> + Send + Sync + 'static,
    ) -> Origin {
        // State behind it is found by its place, so it counts as an operator with state.
        let origin = self.operator::<T>(operation, name, true, &[], make);
        self.nodes[origin.node].is_outlet = true;
        origin
    }

    /// Adds a statement of the planner to the next job; its number.
    pub(crate) fn attach(&mut self) -> usize {
        self.statements += 1;
        self.attached.insert(self.statements - 1);
        self.statements - 1
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            nodes: self.nodes.len(),
            statements: self.statements,
        }
    }

    /// Takes what was described since `mark` out of the job in the making.
    pub(crate) fn set_aside(&mut self, mark: Mark) -> Roots {
        let nodes: Range<NodeId> = mark.nodes..self.nodes.len();
        self.aside.extend(nodes.clone());
        let statements = self.attached.split_off(&mark.statements);
        Roots {
            nodes: nodes.collect(),
            statements: statements.into_iter().collect(),
        }
    }

    /// What was described since the last job; the next one begins here.
    pub(crate) fn take_since_last(&mut self) -> Roots {
        let nodes = std::mem::replace(&mut self.planned, self.nodes.len())..self.nodes.len();
        Roots {
            nodes: nodes.filter(|node| !self.aside.contains(node)).collect(),
            statements: std::mem::take(&mut self.attached).into_iter().collect(),
        }
    }

    /// A side output of a node.
    pub(crate) fn side_output<T: Data>(&mut self, node: NodeId, tag: &OutputTag<T>) -> Origin {
        let (output, is_new) = match self.nodes[node].sides.declare(tag) {
            Ok(declared) => declared,
            Err(error) => {
                self.refuse(error);
                return Origin::main(node);
            }
        };
        let kind = self.kind(node);
        if is_new {
            self.registers(node, move |registry| {
                registry.typed(&kind, output, Records::<T>::decode)
            });
        }
        Origin {
            output,
            ..Origin::main(node)
        }
    }

    /// Adds an operator that prepares the output of `origin` for an exchange: a part of the node that made it.
    pub(crate) fn preparation<T: Data>(
        &mut self,
        operation: &'static str,
        name: &str,
        origin: &Origin,
        make: impl Fn() -> Box<dyn Operator> + Send + Sync + 'static,
    ) -> Origin {
        let prepared = self.operator::<T>(operation, name, false, &[std::slice::from_ref(origin)], make);
        if origin.partitioning.is_none() {
            self.nodes[prepared.node].follows = Some(origin.node);
        }
        prepared
    }

    /// Adds a sink behind a union of streams.
    pub(crate) fn sink(
        &mut self,
        operation: &'static str,
        name: &str,
        input: &[Origin],
        sink: impl Sink + 'static,
    ) -> NodeId {
        let node = self.node(operation, &format!("Sink: {name}"), Role::Sink, true);
        self.connect(node, &[input]);
        let sink: Arc<dyn Sink> = Arc::new(sink);
        let kind = self.kind(node);
        self.registers(node, move |registry| {
            let sink = sink.clone();
            registry.sink(&kind, move |_| Ok(Box::new(SharedSink(sink.clone()))));
        });
        node
    }

    fn node(&mut self, operation: &'static str, name: &str, role: Role, keeps_state: bool) -> NodeId {
        self.nodes.push(Draft {
            operation,
            name: name.to_owned(),
            uid: None,
            role,
            keeps_state,
            parallelism: None,
            max_parallelism: None,
            fixed: None,
            follows: None,
            spreads_over: None,
            chaining: Chaining::Always,
            slot_sharing_group: None,
            is_unbounded: false,
            spec: serde_json::Value::Null,
            sides: SideOutputs::default(),
            is_outlet: false,
        });
        self.nodes.len() - 1
    }

    fn registers(&mut self, node: NodeId, register: impl Fn(&mut Registry) + 'static) {
        self.register.push((node, Arc::new(register)));
    }

    fn kind(&self, node: NodeId) -> String {
        format!("{}#{node}", self.nodes[node].operation)
    }

    fn connect(&mut self, to: NodeId, inputs: &[&[Origin]]) {
        for (input, streams) in inputs.iter().enumerate() {
            self.edges.extend(streams.iter().map(|origin| DraftEdge {
                from: origin.node,
                to,
                input,
                output: origin.output,
                partitioning: origin.partitioning.clone(),
            }));
        }
    }

    /// Notes the first thing that is wrong with the program.
    pub(crate) fn refuse(&mut self, error: ProgramError) {
        self.refused.get_or_insert(error);
    }

    pub(crate) fn set_name(&mut self, node: NodeId, name: &str) {
        let prefix = match self.nodes[node].role {
            Role::Source => "Source: ",
            Role::Operator => "",
            Role::Sink => "Sink: ",
        };
        self.nodes[node].name = format!("{prefix}{name}");
    }

    pub(crate) fn set_uid(&mut self, node: NodeId, uid: &str) {
        self.nodes[node].uid = Some(uid.to_owned());
    }

    /// The node can have one parallelism only.
    pub(crate) fn fix_parallelism(&mut self, node: NodeId, parallelism: usize) {
        self.nodes[node].fixed = Some(parallelism);
    }

    /// The node names a subtask, of so many, for each record.
    pub(crate) fn spread_over(&mut self, node: NodeId, subtasks: usize) {
        self.nodes[node].spreads_over = Some(subtasks);
    }

    pub(crate) fn set_parallelism(&mut self, node: NodeId, parallelism: usize) {
        self.nodes[node].parallelism = Some(parallelism);
    }

    pub(crate) fn set_max_parallelism(&mut self, node: NodeId, max_parallelism: usize) {
        self.nodes[node].max_parallelism = Some(max_parallelism);
    }

    pub(crate) fn set_chaining(&mut self, node: NodeId, chaining: Chaining) {
        self.nodes[node].chaining = chaining;
    }

    pub(crate) fn set_slot_sharing_group(&mut self, node: NodeId, group: &str) {
        if group.is_empty() {
            self.refuse(ProgramError::SlotSharingGroup {
                name: self.nodes[node].name.clone(),
            });
        }
        self.nodes[node].slot_sharing_group = Some(group.to_owned());
    }

    /// Adds all that `nodes` read to a job.
    fn add_upstream(&self, job: &mut BTreeSet<NodeId>, nodes: impl IntoIterator<Item = NodeId>) {
        let mut open: Vec<NodeId> = nodes.into_iter().filter(|node| job.insert(*node)).collect();
        while let Some(at) = open.pop() {
            let read = self.edges.iter().filter(|e| e.to == at).map(|e| e.from);
            open.extend(read.filter(|from| job.insert(*from)));
        }
    }

    /// Lets the planner read a stream.
    pub(crate) fn make_readable(&mut self, origins: &[Origin]) {
        self.readable.extend(origins.iter().map(|origin| origin.node));
    }
}

/// What functions beside a broadcast stream do.
pub(crate) const BESIDE_BROADCAST: [&str; 2] = ["co-process-broadcast", "keyed-broadcast"];

/// What nodes get that say nothing themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults {
    pub(crate) parallelism: usize,
    pub(crate) max_parallelism: Option<usize>,
    pub(crate) mode: RuntimeMode,
}
