//! The job that a program describes, call by call: nodes, edges and the factories of their operators.
//!
//! Each node has a kind of its own (`map#3`) in the registry of the program, so that a plan stays data: the program that made
//! it is the only one that can run it.

use crate::function::BoxError;
use crate::planned::{Part, Planner, StreamRef, Wanted, WantedOutlet};
use crate::records::{Data, Records};
use crate::runtime_mode::{self, RuntimeMode};
use crate::side::{OutputTag, SideOutputs, Sides};
use crate::time::{Generator, TimedSource, WatermarkStrategy};
use flott_core::key_group::default_max_parallelism;
use flott_core::{OperatorId, Options};
use flott_plan::{Chaining, DEFAULT_SLOT_SHARING_GROUP, Edge, Node, NodeId, Partitioning, Plan, PlanError, Role};
use flott_runtime::connector::Boundedness;
use flott_runtime::{Operator, Registry, Sink, Source};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
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

/// A node of a job in the making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Place {
    /// Described by the program.
    Draft(NodeId),
    /// Planned by the [`Planner`], by its number in that plan.
    Part(NodeId),
}

/// An edge of a job in the making.
struct Link {
    from: Place,
    to: Place,
    input: usize,
    output: usize,
    /// As [`DraftEdge::partitioning`].
    partitioning: Option<Partitioning>,
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

    /// The slot sharing group of a node: its own, else that of all its inputs, which come before it, else the default.
    fn slot_sharing_group(
        &self,
        place: Place,
        links: &[Link],
        number: &HashMap<Place, NodeId>,
        plan: &Plan,
    ) -> Option<String> {
        let own = match place {
            Place::Draft(node) => self.nodes[node].slot_sharing_group.as_deref(),
            Place::Part(_) => None,
        };
        let of_inputs = || {
            let inputs = links.iter().filter(|link| link.to == place);
            let mut groups = inputs.map(|link| plan.nodes[number[&link.from]].slot_sharing_group());
            let first = groups.next()?;
            groups.all(|group| group == first).then_some(first)
        };
        let group = own.or_else(of_inputs);
        group
            .filter(|group| *group != DEFAULT_SLOT_SHARING_GROUP)
            .map(str::to_owned)
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

    /// Takes out of a job what only the planner could read, or jobs that were run aside.
    fn remove_unread(&self, job: &mut BTreeSet<NodeId>) {
        let mut open: Vec<NodeId> = job.iter().copied().collect();
        while let Some(at) = open.pop() {
            let mut readers = self.edges.iter().filter(|e| e.from == at).peekable();
            let is_read = self.readable.contains(&at) || readers.peek().is_some();
            if job.contains(&at) && is_read && !readers.any(|e| job.contains(&e.to)) {
                job.remove(&at);
                open.extend(self.edges.iter().filter(|e| e.to == at).map(|e| e.from));
            }
        }
    }

    /// Asks the planner for what lies before the outlets of a job, and adds what that reads to the job.
    fn part(
        &self,
        job: &mut BTreeSet<NodeId>,
        statements: &[usize],
        options: &Options,
        defaults: &Defaults,
    ) -> Result<Option<Part>, ProgramError> {
        let mut options = options.clone();
        options.set("parallelism.default", defaults.parallelism.to_string());
        if let Some(max_parallelism) = defaults.max_parallelism {
            options.set("pipeline.max-parallelism", max_parallelism.to_string());
        }
        // What is planned may be read by streams that are planned over again; how parallel those are is known after a round.
        let mut of_outlets = HashMap::new();
        loop {
            let outlets = job.iter().copied().filter(|node| self.nodes[*node].is_outlet);
            let outlets: Vec<WantedOutlet> = outlets
                .map(|node| WantedOutlet {
                    outlet: crate::planned::Outlet(node),
                    uid: self.nodes[node].uid.clone(),
                    parallelism: self.nodes[node].parallelism,
                })
                .collect();
            if outlets.is_empty() && statements.is_empty() {
                return Ok(None);
            }
            let planner = self.planner.as_ref().ok_or(ProgramError::NoPlanner)?;
            let wanted = Wanted {
                outlets: &outlets,
                statements,
                options: &options,
                parallelism_of: &|stream| self.parallelism_of(stream, &of_outlets, defaults),
            };
            let mut part = planner.plan(&wanted).map_err(ProgramError::Part)?;
            let nodes_before = job.len();
            for inlet in &part.inlets {
                self.add_upstream(job, inlet.stream.0.iter().map(|origin| origin.node));
            }
            let planned = part.outlets.iter();
            let planned: HashMap<NodeId, usize> = planned
                .map(|(node, outlet)| (outlet.0, part.plan.nodes[*node].parallelism))
                .collect();
            let is_settled = part.inlets.iter().all(|inlet| {
                let now = self.parallelism_of(&inlet.stream, &planned, defaults);
                now == self.parallelism_of(&inlet.stream, &of_outlets, defaults)
            });
            of_outlets = planned;
            if is_settled && job.len() == nodes_before {
                let mut ordered = part.inlets.iter().filter(|inlet| inlet.is_ordered);
                ordered.try_for_each(|inlet| self.check_order(&inlet.stream, &of_outlets, defaults))?;
                return match part.refused.take() {
                    Some(error) => Err(ProgramError::Part(error)),
                    None => Ok(Some(part)),
                };
            }
        }
    }

    /// The operators whose records come to the reader of a stream as they are, each with its parallelism.
    fn unspread(
        &self,
        stream: &StreamRef,
        of_outlets: &HashMap<NodeId, usize>,
        defaults: &Defaults,
    ) -> Vec<(NodeId, usize)> {
        let origins = stream.0.iter();
        let unspread = origins.filter(|o| matches!(o.partitioning, None | Some(Partitioning::Forward)));
        let with_parallelism = |origin: &Origin| {
            let mut node = origin.node;
            while let Some(followed) = self.nodes[node].follows {
                node = followed;
            }
            let draft = &self.nodes[node];
            let said = draft.fixed.or(draft.parallelism);
            let planned = said.or_else(|| of_outlets.get(&node).copied());
            (origin.node, planned.unwrap_or(defaults.parallelism))
        };
        unspread.map(with_parallelism).collect()
    }

    /// How parallel an operator is that works on a stream in its place: as what makes the stream, if that is of one parallelism.
    fn parallelism_of(&self, stream: &StreamRef, of_outlets: &HashMap<NodeId, usize>, defaults: &Defaults) -> usize {
        let unspread = self.unspread(stream, of_outlets, defaults);
        let parallelism = unspread.first().map_or(defaults.parallelism, |first| first.1);
        match unspread.iter().all(|(_, other)| *other == parallelism) {
            true => parallelism,
            false => defaults.parallelism,
        }
    }

    /// That no records overtake each other on their way to the operator that works on a stream in its place.
    fn check_order(
        &self,
        stream: &StreamRef,
        of_outlets: &HashMap<NodeId, usize>,
        defaults: &Defaults,
    ) -> Result<(), ProgramError> {
        let parallelism = self.parallelism_of(stream, of_outlets, defaults);
        let unspread = self.unspread(stream, of_outlets, defaults);
        // All that one subtask reads stays in order, as does all that comes as it is.
        let broken = unspread.iter().find(|(_, own)| parallelism > 1 && *own != parallelism);
        let other = broken.and_then(|(_, own)| unspread.iter().find(|(_, other)| other != own));
        let (Some((node, own)), Some((other_node, other))) = (broken, other) else {
            return Ok(());
        };
        Err(ProgramError::UnequalChanges {
            name: self.nodes[*node].name.clone(),
            parallelism: *own,
            other: self.nodes[*other_node].name.clone(),
            other_parallelism: *other,
        })
    }

    /// The edges of a job, in which the sinks of `part` that are outlets are the program's nodes.
    fn links(&self, job: &BTreeSet<NodeId>, part: Option<&Part>) -> Vec<Link> {
        let of_job = self
            .edges
            .iter()
            .filter(|e| job.contains(&e.from) && job.contains(&e.to));
        let mut links: Vec<Link> = of_job
            .map(|e| Link {
                from: Place::Draft(e.from),
                to: Place::Draft(e.to),
                input: e.input,
                output: e.output,
                partitioning: e.partitioning.clone(),
            })
            .collect();
        let Some(part) = part else {
            return links;
        };
        for inlet in &part.inlets {
            links.extend(inlet.stream.0.iter().map(|origin| Link {
                from: Place::Draft(origin.node),
                to: Place::Part(inlet.node),
                input: 0,
                output: origin.output,
                partitioning: origin.partitioning.clone(),
            }));
        }
        links.extend(part.plan.edges.iter().map(|e| Link {
            from: Place::Part(e.from),
            to: part.place(e.to).map_or(Place::Part(e.to), Place::Draft),
            input: e.input,
            output: e.output,
            partitioning: Some(e.partitioning.clone()),
        }));
        links
    }

    /// The plan of the job of `roots`, and what registers its factories.
    ///
    /// # Errors
    /// If the program is no job: nothing reads an operator, two have one uid, a parallelism cannot be.
    pub(crate) fn finish(
        &mut self,
        name: &str,
        mut options: Options,
        defaults: &Defaults,
        roots: Roots,
    ) -> Result<(Plan, Vec<Register>), ProgramError> {
        if let Some(error) = self.refused.take() {
            return Err(error);
        }
        let mut job = BTreeSet::new();
        self.add_upstream(&mut job, roots.nodes);
        self.remove_unread(&mut job);
        let has_tables = !roots.statements.is_empty() || job.iter().any(|node| self.nodes[*node].is_outlet);
        let mode = match defaults.mode {
            RuntimeMode::Batch if has_tables => return Err(ProgramError::TablesInBatch),
            RuntimeMode::Automatic if has_tables => RuntimeMode::Streaming,
            mode => mode,
        };
        if mode != defaults.mode {
            options.set(runtime_mode::OPTION, mode.name());
        }
        let part = self.part(&mut job, &roots.statements, &options, defaults)?;
        let links = self.links(&job, part.as_ref());
        let planned = part
            .iter()
            .flat_map(|part| (0..part.plan.nodes.len()).map(move |n| (n, part)));
        let planned = planned.filter(|(n, part)| part.place(*n).is_none());
        let places: Vec<Place> = job
            .iter()
            .copied()
            .map(Place::Draft)
            .chain(planned.map(|(n, _)| Place::Part(n)))
            .collect();
        let places = inputs_first(places, &links);
        let number: HashMap<Place, NodeId> = places.iter().copied().zip(0..).collect();
        let ids = self.operator_ids(&job);
        let mut options = part.as_ref().map_or(options, |part| part.plan.options.clone());
        let is_batch = self.is_batch(&job, mode)?;
        if is_batch {
            options.set(runtime_mode::OPTION, RuntimeMode::Batch.name());
            options.remove("execution.checkpointing.interval");
        } else if mode == RuntimeMode::Automatic {
            options.set(runtime_mode::OPTION, RuntimeMode::Streaming.name());
        }
        let mut plan = Plan::new(name, options);
        let mut uids: BTreeMap<&str, &str> = BTreeMap::new();
        for (id, place) in places.iter().enumerate() {
            let node = match (place, &part) {
                (Place::Draft(node), _) => node,
                (Place::Part(node), Some(part)) => {
                    plan.nodes.push(Node {
                        id,
                        slot_sharing_group: self.slot_sharing_group(*place, &links, &number, &plan),
                        ..part.plan.nodes[*node].clone()
                    });
                    continue;
                }
                (Place::Part(_), None) => continue,
            };
            let draft = &self.nodes[*node];
            if let Some(uid) = &draft.uid
                && let Some(first) = uids.insert(uid, &draft.name)
            {
                return Err(ProgramError::DuplicateUid {
                    uid: uid.clone(),
                    first: first.to_owned(),
                    second: draft.name.clone(),
                });
            }
            let sink = part.as_ref().and_then(|part| part.sink_of(*node));
            let (parallelism, max_parallelism) = match draft.follows {
                // What it follows comes before it.
                Some(node) => {
                    let followed: &Node = &plan.nodes[number[&Place::Draft(node)]];
                    (followed.parallelism, followed.max_parallelism)
                }
                None => {
                    let parallelism = match sink {
                        Some(sink) => sink.parallelism,
                        None => self.parallelism(draft, defaults)?,
                    };
                    let max_parallelism = draft.max_parallelism.or(defaults.max_parallelism);
                    // Of the larger, so that neighbours of one parallelism have one number of key groups.
                    let usual = || default_max_parallelism(parallelism.max(defaults.parallelism));
                    (parallelism, max_parallelism.unwrap_or_else(usual))
                }
            };
            plan.nodes.push(Node {
                id,
                operator_id: ids[node],
                uid: draft.uid.clone(),
                kind: self.kind(*node),
                version: 1,
                name: format!("{}[{}]", draft.name, id + 1),
                description: draft.name.clone(),
                role: draft.role,
                parallelism,
                max_parallelism,
                chaining: draft.chaining,
                slot_sharing_group: self.slot_sharing_group(*place, &links, &number, &plan),
                output: vec![],
                // Of a program's node it holds the watermark alone, which no source makes before the end in batch mode.
                spec: match is_batch {
                    true => serde_json::Value::Null,
                    false => draft.spec.clone(),
                },
            });
        }
        for link in &links {
            let (from, to) = (number[&link.from], number[&link.to]);
            plan.edges.push(Edge {
                from,
                to,
                input: link.input,
                output: link.output,
                partitioning: self.partitioning(link, &plan.nodes[from], &plan.nodes[to])?,
            });
        }
        plan.validate()?;
        let of_job = self.register.iter().filter(|(node, _)| job.contains(node));
        let of_job = of_job.map(|(_, register)| register.clone());
        let register = of_job.chain(part.map(|part| part.register)).collect();
        Ok((plan, register))
    }

    /// Whether the job tells its results once.
    ///
    /// # Errors
    /// If it shall and cannot.
    fn is_batch(&self, job: &BTreeSet<NodeId>, mode: RuntimeMode) -> Result<bool, ProgramError> {
        let unbounded = job.iter().map(|node| &self.nodes[*node]).find(|node| node.is_unbounded);
        match (mode, unbounded) {
            (RuntimeMode::Streaming, _) | (RuntimeMode::Automatic, Some(_)) => return Ok(false),
            (RuntimeMode::Batch, Some(source)) => {
                return Err(ProgramError::Unbounded {
                    source_name: source.name.clone(),
                });
            }
            (RuntimeMode::Batch | RuntimeMode::Automatic, None) => {}
        }
        let is_beside_broadcast = |node: &&Draft| BESIDE_BROADCAST.contains(&node.operation);
        match job.iter().map(|node| &self.nodes[*node]).find(is_beside_broadcast) {
            None => Ok(true),
            Some(_) if mode == RuntimeMode::Automatic => Ok(false),
            Some(node) => Err(ProgramError::BroadcastInBatch {
                name: node.name.clone(),
            }),
        }
    }

    /// How the rows of an edge are spread, between the planned nodes `from` and `to`.
    fn partitioning(&self, link: &Link, from: &Node, to: &Node) -> Result<Partitioning, ProgramError> {
        let is_equal = from.parallelism == to.parallelism;
        let name = |place: Place, node: &Node| match place {
            Place::Draft(node) => self.nodes[node].name.clone(),
            Place::Part(_) => node.name.clone(),
        };
        let (from_name, to_name) = (name(link.from, from), name(link.to, to));
        let spreads_over = match link.from {
            Place::Draft(node) => self.nodes[node].spreads_over,
            Place::Part(_) => None,
        };
        match &link.partitioning {
            None if is_equal => Ok(Partitioning::Forward),
            None => Ok(Partitioning::Rebalance),
            Some(Partitioning::Forward) if !is_equal => Err(ProgramError::Forward {
                from: from_name,
                from_parallelism: from.parallelism,
                to: to_name,
                to_parallelism: to.parallelism,
            }),
            Some(Partitioning::Custom) if spreads_over != Some(to.parallelism) => Err(ProgramError::Subtasks {
                subtasks: spreads_over.unwrap_or_default(),
                to: to_name,
                parallelism: to.parallelism,
            }),
            Some(chosen) => Ok(chosen.clone()),
        }
    }

    fn parallelism(&self, draft: &Draft, defaults: &Defaults) -> Result<usize, ProgramError> {
        match (draft.fixed, draft.parallelism) {
            (Some(only), Some(asked)) if only != asked => Err(ProgramError::FixedParallelism {
                name: draft.name.clone(),
                only,
                asked,
            }),
            (Some(only), _) => Ok(only),
            (None, Some(asked)) => Ok(asked),
            (None, None) => Ok(defaults.parallelism),
        }
    }

    /// What state is found by: the uid, else what the operator does, behind which stateful operators, as which of its kind. So a
    /// new map or filter moves no state.
    fn operator_ids(&self, job: &BTreeSet<NodeId>) -> HashMap<NodeId, OperatorId> {
        let mut ids: HashMap<NodeId, OperatorId> = HashMap::with_capacity(job.len());
        let mut seen: HashMap<String, usize> = HashMap::new();
        for node in job {
            let draft = &self.nodes[*node];
            let ancestors = self.stateful_ancestors(*node);
            let mut ancestors: Vec<String> = ancestors.iter().map(|a| ids[a].to_string()).collect();
            ancestors.sort_unstable();
            let place = format!("{}/{}/{}", draft.operation, draft.keeps_state, ancestors.join(","));
            let number = seen.entry(place.clone()).or_default();
            let id = match &draft.uid {
                Some(uid) => OperatorId::of(&format!("uid/{uid}")),
                None => OperatorId::of(&format!("{place}/{number}")),
            };
            *number += 1;
            ids.insert(*node, id);
        }
        ids
    }

    /// The nearest nodes upstream that keep state.
    fn stateful_ancestors(&self, node: NodeId) -> HashSet<NodeId> {
        let (mut found, mut passed) = (HashSet::new(), HashSet::new());
        let mut open = vec![node];
        while let Some(at) = open.pop() {
            for edge in self.edges.iter().filter(|e| e.to == at) {
                match self.nodes[edge.from].keeps_state {
                    true => drop(found.insert(edge.from)),
                    false if passed.insert(edge.from) => open.push(edge.from),
                    false => {}
                }
            }
        }
        found
    }
}

/// What functions beside a broadcast stream do.
pub(crate) const BESIDE_BROADCAST: [&str; 2] = ["co-process-broadcast", "keyed-broadcast"];

/// The nodes with all that they read before them, else in the order given.
fn inputs_first(places: Vec<Place>, links: &[Link]) -> Vec<Place> {
    let number: HashMap<Place, usize> = places.iter().copied().zip(0..).collect();
    let mut missing = vec![0usize; places.len()];
    for link in links {
        missing[number[&link.to]] += 1;
    }
    let ready = (0..places.len()).filter(|n| missing[*n] == 0).map(Reverse);
    let mut ready: BinaryHeap<Reverse<usize>> = ready.collect();
    let mut sorted = Vec::with_capacity(places.len());
    while let Some(Reverse(n)) = ready.pop() {
        sorted.push(places[n]);
        for link in links.iter().filter(|link| link.from == places[n]) {
            let to = number[&link.to];
            missing[to] -= 1;
            if missing[to] == 0 {
                ready.push(Reverse(to));
            }
        }
    }
    sorted
}

/// What nodes get that say nothing themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults {
    pub(crate) parallelism: usize,
    pub(crate) max_parallelism: Option<usize>,
    pub(crate) mode: RuntimeMode,
}

/// A program that is no job.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The graph.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A uid twice.
    #[error(
        "the uid '{uid}' is given to '{first}' and to '{second}': state is found by it, so give one of them another"
    )]
    DuplicateUid {
        /// The uid.
        uid: String,
        /// Who has it.
        first: String,
        /// Who has it too.
        second: String,
    },
    /// A source that does not end, in a job whose results are told at its end.
    #[error(
        "'{source_name}' does not end, and 'execution.runtime-mode' is BATCH: set it to STREAMING or AUTOMATIC, or give the source an end"
    )]
    Unbounded {
        /// Name of the source.
        source_name: String,
    },
    /// A function that needs all of its broadcast stream first.
    #[error(
        "'{name}' reads a broadcast stream, of which it would need all first in batch mode, and that is not supported: set \
         'execution.runtime-mode' to STREAMING"
    )]
    BroadcastInBatch {
        /// The operator.
        name: String,
    },
    /// Batch mode with SQL.
    #[error("the program's SQL is not supported in batch mode: set 'execution.runtime-mode' to STREAMING")]
    TablesInBatch,
    /// A forward edge between unequal neighbours.
    #[error(
        "forward() cannot lead from '{from}' (parallelism {from_parallelism}) to '{to}' (parallelism {to_parallelism}): \
         use rebalance() or rescale(), or set the same parallelism"
    )]
    Forward {
        /// Upstream.
        from: String,
        /// Its parallelism.
        from_parallelism: usize,
        /// Downstream.
        to: String,
        /// Its parallelism.
        to_parallelism: usize,
    },
    /// A union of streams of changes, of several parallelisms, that is read as it is.
    #[error(
        "a table is made of a union of changes, where '{name}' has a parallelism of {parallelism} and '{other}' of {other_parallelism}: the \
         changes of a row would overtake each other, so give the united streams one parallelism (set_parallelism)"
    )]
    UnequalChanges {
        /// A part of the union.
        name: String,
        /// Its parallelism.
        parallelism: usize,
        /// Another part.
        other: String,
        /// Its parallelism.
        other_parallelism: usize,
    },
    /// A parallelism that the operator cannot have.
    #[error("'{name}' runs with a parallelism of {only}, and {asked} was set: remove set_parallelism")]
    FixedParallelism {
        /// The operator.
        name: String,
        /// Its parallelism.
        only: usize,
        /// What was asked for.
        asked: usize,
    },
    /// A custom partitioner that knows another number of subtasks than there are.
    #[error(
        "partition_custom() spreads records over {subtasks} subtasks, and '{to}', which reads them, has {parallelism}: say \
         set_parallelism({subtasks}) of it, or give the partitioner {parallelism}"
    )]
    Subtasks {
        /// What was said.
        subtasks: usize,
        /// Who reads.
        to: String,
        /// Its parallelism.
        parallelism: usize,
    },
    /// A word about an operator, said of an exchange.
    #[error(
        "{what}() speaks of an operator, and an exchange is none: call it before key_by, rebalance and the like, or behind the next operator"
    )]
    Exchange {
        /// The method.
        what: &'static str,
    },
    /// A word about an operator, said of a union.
    #[error("{what}() speaks of an operator, and a union is none: call it on a stream before union()")]
    Union {
        /// The method.
        what: &'static str,
    },
    /// A word about an operator, said of a side output.
    #[error(
        "{what}() speaks of an operator, and a side output is none: call it on the stream that has the side output"
    )]
    SideOutput {
        /// The method.
        what: &'static str,
    },
    /// A slot sharing group without a name.
    #[error("the slot sharing group of '{name}' has no name: give it one, or 'default'")]
    SlotSharingGroup {
        /// The operator.
        name: String,
    },
    /// A side output that is read as two types.
    #[error("the side output '{id}' is read as {first} and as {second}: give one of the tags another name")]
    SideOutputType {
        /// Its name.
        id: String,
        /// A type.
        first: &'static str,
        /// Another.
        second: &'static str,
    },
    /// An interval without times.
    #[error("an interval join is between {lower_ms} ms and {upper_ms} ms: the lower bound must not be above the upper")]
    IntervalJoin {
        /// The lower bound.
        lower_ms: i64,
        /// The upper bound.
        upper_ms: i64,
    },
    /// Windows that cannot be.
    #[error("{reason}")]
    Window {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An alignment of watermarks that cannot be.
    #[error("{reason}")]
    Alignment {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An asynchronous function that cannot be.
    #[error("{reason}")]
    Async {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// What the planner refused.
    #[error("{0}")]
    Part(BoxError),
    /// A part of the job is planned by nobody.
    #[error("a part of the program is to be planned, and nobody was named who plans it")]
    NoPlanner,
    /// An option.
    #[error(transparent)]
    Option(#[from] flott_core::options::OptionError),
}

/// A source that all attempts share.
struct SharedSource(Arc<dyn Source>);

impl Source for SharedSource {
    fn boundedness(&self) -> flott_runtime::connector::Boundedness {
        self.0.boundedness()
    }
    fn enumerator(
        &self,
        restored: Option<&[u8]>,
    ) -> Result<Box<dyn flott_runtime::SplitEnumerator>, flott_runtime::connector::ConnectorError> {
        self.0.enumerator(restored)
    }
    fn reader(
        &self,
        ctx: &flott_runtime::OperatorContext,
    ) -> Result<Box<dyn flott_runtime::SourceReader>, flott_runtime::TaskError> {
        self.0.reader(ctx)
    }
}

/// A sink that all attempts share.
struct SharedSink(Arc<dyn Sink>);

impl Sink for SharedSink {
    fn writer(
        &self,
        ctx: &flott_runtime::OperatorContext,
    ) -> Result<Box<dyn flott_runtime::SinkWriter>, flott_runtime::TaskError> {
        self.0.writer(ctx)
    }
    fn committer(
        &self,
        ctx: &flott_runtime::connector::CommitterContext,
    ) -> Result<Option<Box<dyn flott_runtime::Committer>>, flott_runtime::connector::ConnectorError> {
        self.0.committer(ctx)
    }
}
