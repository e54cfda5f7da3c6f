//! From what was described to a plan: which nodes are of a job, in which order, how parallel, and how rows are spread between them.

use super::{BESIDE_BROADCAST, Defaults, Draft, Graph, ProgramError, Register, Roots};
use crate::planned::Part;
use crate::runtime_mode::{self, RuntimeMode};
use flott_core::Options;
use flott_core::key_group::default_max_parallelism;
use flott_plan::{DEFAULT_SLOT_SHARING_GROUP, Edge, Node, NodeId, Partitioning, Plan};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

/// A node of a job in the making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Place {
    /// Described by the program.
    Draft(NodeId),
    /// Planned by the [`Planner`](crate::planned::Planner), by its number in that plan.
    Part(NodeId),
}

/// An edge of a job in the making.
struct Link {
    from: Place,
    to: Place,
    input: usize,
    output: usize,
    /// As [`DraftEdge::partitioning`](super::DraftEdge::partitioning).
    partitioning: Option<Partitioning>,
}

impl Graph {
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
                fixed_parallelism: draft.fixed.is_some(),
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
}

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
