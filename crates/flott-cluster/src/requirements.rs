//! How many subtasks a job's vertices shall have, and how many they get with the slots that are there.
//!
//! Each vertex has [`Bounds`]. As submitted they are equal: the plan's parallelism, and a job waits for all its slots. With `jobmanager.scheduler: Adaptive`
//! the plan's parallelism is the upper bound alone, and with `scheduler-mode: REACTIVE` there is none but the max parallelism: a job
//! runs on the slots that there are. Users change the bounds while the job runs (`PUT /jobs/ID/resource-requirements`, `flott rescale`).
//!
//! Some vertices cannot have every parallelism: what reads all rows in one subtask has one, what a user's partitioner spreads over so many
//! subtasks has these, and vertices that exchange subtask by subtask have the same. What was planned to read several subtasks in one goes on
//! doing so, because a plan relies on the order in which one subtask reads. Such vertices keep their parallelism, whatever is asked for.

use crate::error::ClusterError;
use flott_core::options::OptionError;
use flott_core::{OperatorId, Options};
use flott_plan::{JobGraph, Partitioning, Plan, Vertex, VertexId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// By whom slots are counted.
const SCHEDULER: &str = "jobmanager.scheduler";

/// Whether all slots are a job's.
const SCHEDULER_MODE: &str = "scheduler-mode";

/// Parallelism of single vertices, by their ids.
const OVERRIDES: &str = "pipeline.jobvertex-parallelism-overrides";

/// Fewest and most subtasks of a vertex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bounds {
    /// With fewer the job does not run.
    #[serde(rename = "lowerBound")]
    pub lower: usize,
    /// More it never has.
    #[serde(rename = "upperBound")]
    pub upper: usize,
}

/// The bounds of all vertices of a job, by vertex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceRequirements {
    /// What they can have at all, by the plan as it was submitted.
    limits: Arc<[Bounds]>,
    bounds: Vec<Bounds>,
}

/// Bounds as they are asked for and kept: by the id of the vertex, which is that of its first operator.
pub type RequestedBounds = BTreeMap<OperatorId, Bounds>;

/// How a job's parallelism follows the slots that there are (`jobmanager.scheduler`, `scheduler-mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduler {
    /// It does not.
    Default,
    /// Up to the plan's.
    Adaptive,
    /// Up to the max parallelism.
    Reactive,
}

/// When a job's parallelism follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerSettings {
    /// How.
    pub scheduler: Scheduler,
    /// How long it waits for the slots that it needs at least; `None`: without end.
    pub wait_ms: Option<i64>,
    /// How long it waits for more when it has those, before an attempt starts.
    pub settle_ms: i64,
    /// How long slots must have been there before a running job takes them.
    pub stabilization_ms: i64,
    /// How long it runs at least between two changes by itself.
    pub cooldown_ms: i64,
    /// From so many bytes of state on it is read ahead where a job is rescaled.
    pub preloads_from_bytes: u64,
}

/// Below this, state is read faster than it is made known who shall.
const PRELOADS_FROM_BYTES: u64 = 4 << 20;

impl SchedulerSettings {
    /// Reads the options. Waiting times before changes are shorter than Flink's, since a change costs less here.
    ///
    /// # Errors
    /// If a value is wrong.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        // An adaptive batch job counts what it reads; a stream has no end.
        let schedulers = ["Default", "Adaptive", "AdaptiveBatch"];
        let scheduler = options.one_of(SCHEDULER, &schedulers)?;
        let is_reactive = options.one_of(SCHEDULER_MODE, &["REACTIVE"])?.is_some();
        let scheduler = match (is_reactive, scheduler) {
            (true, _) => Scheduler::Reactive,
            (false, Some(1)) => Scheduler::Adaptive,
            (false, _) => Scheduler::Default,
        };
        let key = |name: &str| format!("jobmanager.adaptive-scheduler.{name}");
        let duration = |name: &str, old: &str| {
            let option = |name: &str| match options.get(&key(name)) {
                // Without end.
                Some(text) if text.trim().starts_with('-') => Ok(Some(-1)),
                _ => options.duration_ms(&key(name)),
            };
            Ok::<_, OptionError>(option(name)?.or(option(old)?))
        };
        let wait = duration("submission.resource-wait-timeout", "resource-wait-timeout")?;
        let usual_wait_ms = match scheduler {
            Scheduler::Reactive => None,
            Scheduler::Default | Scheduler::Adaptive => Some(300_000),
        };
        let settle = duration(
            "submission.resource-stabilization-timeout",
            "resource-stabilization-timeout",
        )?;
        let stabilization = duration("executing.resource-stabilization-timeout", "scaling-interval.max")?;
        let cooldown = duration("executing.cooldown-after-rescaling", "scaling-interval.min")?;
        Ok(Self {
            scheduler,
            wait_ms: wait.or(usual_wait_ms).filter(|wait_ms| *wait_ms >= 0),
            settle_ms: settle.unwrap_or(0).max(0),
            stabilization_ms: stabilization.unwrap_or(1_000).max(0),
            cooldown_ms: cooldown.unwrap_or(5_000).max(0),
            preloads_from_bytes: options
                .memory_bytes(&key("preload.min-state-size"))?
                .unwrap_or(PRELOADS_FROM_BYTES),
        })
    }
}

/// Parallelism of every vertex, by vertex.
pub fn parallelism_of(graph: &JobGraph) -> Vec<usize> {
    graph.vertices.iter().map(|vertex| vertex.parallelism).collect()
}

/// The id of a vertex, for users.
pub fn vertex_id(plan: &Plan, vertex: &Vertex) -> OperatorId {
    plan.nodes[vertex.nodes[0]].operator_id
}

/// Of every vertex the first of those that must have the same parallelism.
fn coupled(graph: &JobGraph) -> Vec<VertexId> {
    let mut first: Vec<VertexId> = (0..graph.vertices.len()).collect();
    for edge in graph.edges.iter().filter(|e| e.partitioning == Partitioning::Forward) {
        let (one, other) = (first[edge.from], first[edge.to]);
        let joined = one.min(other);
        first
            .iter_mut()
            .filter(|f| **f == one || **f == other)
            .for_each(|f| *f = joined);
    }
    first
}

/// Gives all vertices that must have the same value the one that `choose` makes of theirs.
fn equalize<T: Copy>(values: &mut [T], coupled: &[VertexId], choose: impl Fn(T, T) -> T) {
    for vertex in 0..values.len() {
        let first = coupled[vertex];
        values[first] = choose(values[first], values[vertex]);
    }
    for vertex in 0..values.len() {
        values[vertex] = values[coupled[vertex]];
    }
}

/// What vertices can have at all.
fn limits(plan: &Plan, graph: &JobGraph) -> Vec<Bounds> {
    let limit = |vertex: &Vertex| {
        let mut inputs = graph.edges.iter().filter(|edge| edge.to == vertex.id);
        let is_fixed = vertex.nodes.iter().any(|node| plan.nodes[*node].fixed_parallelism)
            || inputs.any(|edge| match edge.partitioning {
                Partitioning::Custom | Partitioning::Global => true,
                Partitioning::Rebalance => vertex.parallelism == 1 && graph.vertices[edge.from].parallelism > 1,
                _ => false,
            });
        let (lower, upper) = match is_fixed {
            true => (vertex.parallelism, vertex.parallelism),
            false => (1, vertex.max_parallelism),
        };
        Bounds { lower, upper }
    };
    let mut limits: Vec<Bounds> = graph.vertices.iter().map(limit).collect();
    equalize(&mut limits, &coupled(graph), within);
    limits
}

/// The bounds within both; the parallelism of `limit` where there are none.
fn within(limit: Bounds, other: Bounds) -> Bounds {
    let lower = limit.lower.max(other.lower).min(limit.upper);
    let upper = limit.upper.min(other.upper).max(lower);
    Bounds { lower, upper }
}

impl ResourceRequirements {
    /// Of a job that nobody has asked anything else of, as it was submitted.
    pub fn of(plan: &Plan, graph: &JobGraph, scheduler: Scheduler) -> Self {
        let bounds = |(vertex, limit): (&Vertex, Bounds)| {
            let (lower, upper) = match scheduler {
                Scheduler::Default => (vertex.parallelism, vertex.parallelism),
                Scheduler::Adaptive => (1, vertex.parallelism),
                Scheduler::Reactive => (1, limit.upper),
            };
            within(limit, Bounds { lower, upper })
        };
        let limits: Arc<[Bounds]> = limits(plan, graph).into();
        let bounds = graph.vertices.iter().zip(limits.iter().copied()).map(bounds).collect();
        Self { limits, bounds }
    }

    /// As a user asks for them. Vertices that must have the same parallelism get what all of them may have; those that can have no other keep
    /// theirs.
    ///
    /// # Errors
    /// If bounds are missing, of no vertex of the job, or such as the vertex cannot have.
    pub fn requested(&self, plan: &Plan, graph: &JobGraph, requested: &RequestedBounds) -> Result<Self, String> {
        let ids: Vec<OperatorId> = graph.vertices.iter().map(|vertex| vertex_id(plan, vertex)).collect();
        if let Some(unknown) = requested.keys().find(|id| !ids.contains(id)) {
            let known = graph.vertices.iter().zip(&ids);
            let known: Vec<String> = known.map(|(vertex, id)| format!("{id} ('{}')", vertex.name)).collect();
            return Err(format!(
                "the job has no vertex {unknown}; its vertices are {}",
                known.join(", ")
            ));
        }
        let mut bounds = Vec::with_capacity(ids.len());
        for ((vertex, id), limit) in graph.vertices.iter().zip(&ids).zip(self.limits.iter()) {
            let Some(asked) = requested.get(id) else {
                return Err(format!(
                    "bounds are missing for vertex {id} ('{}'): every vertex of the job needs some",
                    vertex.name
                ));
            };
            bounds.push(checked(vertex, *id, *asked, *limit)?);
        }
        equalize(&mut bounds, &coupled(graph), |one, other| {
            let upper = one.upper.min(other.upper);
            let lower = one.lower.max(other.lower).min(upper);
            Bounds { lower, upper }
        });
        let limits = self.limits.clone();
        Ok(Self { limits, bounds })
    }

    /// By the vertices' ids.
    pub fn to_requested(&self, plan: &Plan, graph: &JobGraph) -> RequestedBounds {
        let ids = graph.vertices.iter().map(|vertex| vertex_id(plan, vertex));
        ids.zip(self.bounds.iter().copied()).collect()
    }

    /// The most that vertices may have, by vertex.
    pub fn upper(&self) -> Vec<usize> {
        self.bounds.iter().map(|bounds| bounds.upper).collect()
    }

    /// Whether there is no choice.
    pub fn is_rigid(&self) -> bool {
        self.bounds.iter().all(|bounds| bounds.lower == bounds.upper)
    }

    /// Slots that the job needs at least.
    pub fn least_slots(&self, graph: &JobGraph) -> usize {
        self.by_group(graph).values().map(|group| group.has).sum()
    }

    /// Parallelism of every vertex on so many slots (`None`: as many as one likes), by vertex; `None` if they are too few. Slots that are not
    /// needed at least go one by one to the slot sharing group that has fewest.
    pub fn fit(&self, graph: &JobGraph, slots: Option<usize>) -> Option<Vec<usize>> {
        let Some(slots) = slots else {
            return Some(self.upper());
        };
        let mut groups = self.by_group(graph);
        let mut left = slots.checked_sub(groups.values().map(|group| group.has).sum())?;
        while left > 0 {
            let wanting = groups.values_mut().filter(|group| group.has < group.most);
            let Some(poorest) = wanting.min_by_key(|group| group.has) else {
                break;
            };
            poorest.has += 1;
            left -= 1;
        }
        let of_vertex = |(vertex, bounds): (&Vertex, &Bounds)| {
            let group = groups.get(vertex.slot_sharing_group.as_str());
            bounds.upper.min(group.map_or(bounds.lower, |group| group.has))
        };
        let mut parallelism: Vec<usize> = graph.vertices.iter().zip(&self.bounds).map(of_vertex).collect();
        equalize(&mut parallelism, &coupled(graph), usize::min);
        Some(parallelism)
    }

    fn by_group<'a>(&self, graph: &'a JobGraph) -> BTreeMap<&'a str, Group> {
        let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
        for (vertex, bounds) in graph.vertices.iter().zip(&self.bounds) {
            let group = groups.entry(vertex.slot_sharing_group.as_str()).or_default();
            group.has = group.has.max(bounds.lower);
            group.most = group.most.max(bounds.upper);
        }
        groups
    }
}

/// Slots of a slot sharing group.
#[derive(Default)]
struct Group {
    has: usize,
    most: usize,
}

fn checked(vertex: &Vertex, id: OperatorId, asked: Bounds, limit: Bounds) -> Result<Bounds, String> {
    let Bounds { lower, upper } = asked;
    let wrong = |why: &str| {
        let name = &vertex.name;
        Err(format!("bounds {lower} to {upper} of vertex {id} ('{name}'): {why}"))
    };
    if lower < 1 {
        return wrong("the lower bound is at least 1");
    }
    if lower > upper {
        return wrong("the lower bound is above the upper one");
    }
    if upper > limit.upper && limit.lower < limit.upper {
        return wrong(&format!(
            "it has at most {} subtasks, its max parallelism (pipeline.max-parallelism), which is fixed for the life of its state",
            limit.upper
        ));
    }
    Ok(within(limit, asked))
}

/// The parallelism that `pipeline.jobvertex-parallelism-overrides` gives single vertices, by vertex; of all others that of `graph`. Ids
/// that are no vertex's are passed over, as in Flink: the option may be meant for another version of the job.
///
/// # Errors
/// If the option is not a list of `id:parallelism`, or a vertex cannot have what it asks for.
pub fn overridden(plan: &Plan, graph: &JobGraph) -> Result<Vec<usize>, ClusterError> {
    let mut parallelism = parallelism_of(graph);
    let Some(text) = plan.options.get(OVERRIDES) else {
        return Ok(parallelism);
    };
    let wrong = || {
        OptionError::new(
            OVERRIDES,
            text,
            "vertex ids with their parallelism, such as '0a1b…:4,2c3d…:2'",
        )
    };
    let limits = limits(plan, graph);
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (id, wanted) = entry.split_once(':').ok_or_else(wrong)?;
        let wanted: usize = wanted.trim().trim_matches('\'').parse().map_err(|_| wrong())?;
        let of_id = |vertex: &&Vertex| vertex_id(plan, vertex).to_string() == id.trim().trim_matches('\'');
        let Some(vertex) = graph.vertices.iter().find(of_id) else {
            tracing::warn!(id, "{OVERRIDES} names a vertex that the job does not have");
            continue;
        };
        let asked = Bounds {
            lower: wanted,
            upper: wanted,
        };
        let checked = checked(vertex, vertex_id(plan, vertex), asked, limits[vertex.id]);
        checked.map_err(|why| OptionError::new(OVERRIDES, text, why))?;
        let coupled = coupled(graph);
        let together = |other: &VertexId| coupled[*other] == coupled[vertex.id];
        (0..parallelism.len())
            .filter(together)
            .for_each(|other| parallelism[other] = wanted);
    }
    Ok(parallelism)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_core::{Field, LogicalType};
    use flott_plan::{Chaining, Edge, Node, Role};

    /// Source `s` (2) → `a` (2) by the edge → sink `w` (2) behind an exchange of its own, in a slot sharing group of its own.
    fn job(into_a: Partitioning, into_w: Partitioning, options: &[(&str, &str)]) -> (Plan, JobGraph) {
        let mut plan = Plan::new("three", options.iter().copied().collect());
        let node = |id, name: &str, role| Node {
            id,
            operator_id: OperatorId(id as u128),
            uid: None,
            kind: "test".into(),
            version: 1,
            name: name.into(),
            description: String::new(),
            role,
            parallelism: 2,
            fixed_parallelism: false,
            max_parallelism: 8,
            chaining: Chaining::Never,
            slot_sharing_group: (id == 2).then(|| "heavy".into()),
            output: vec![Field::new("a", LogicalType::bigint())],
            spec: serde_json::Value::Null,
        };
        plan.nodes = vec![
            node(0, "s", Role::Source),
            node(1, "a", Role::Operator),
            node(2, "w", Role::Sink),
        ];
        for (from, partitioning) in [into_a, into_w].into_iter().enumerate() {
            plan.edges.push(Edge {
                from,
                to: from + 1,
                input: 0,
                output: 0,
                partitioning,
            });
        }
        let graph = JobGraph::of(&plan, true);
        (plan, graph)
    }

    const HASH: fn() -> Partitioning = || Partitioning::Hash { keys: vec![0] };

    fn bounds(all: &[(usize, usize)]) -> RequestedBounds {
        let bounds = |(id, (lower, upper)): (usize, &(usize, usize))| {
            let (lower, upper) = (*lower, *upper);
            (OperatorId(id as u128), Bounds { lower, upper })
        };
        all.iter().enumerate().map(bounds).collect()
    }

    fn requested(of: &(Plan, JobGraph), all: &[(usize, usize)]) -> Result<ResourceRequirements, String> {
        ResourceRequirements::of(&of.0, &of.1, Scheduler::Default).requested(&of.0, &of.1, &bounds(all))
    }

    #[test]
    fn schedulers_differ_in_what_they_can_do_with() {
        let (plan, graph) = job(HASH(), HASH(), &[]);
        let of = |scheduler| ResourceRequirements::of(&plan, &graph, scheduler);
        let default = of(Scheduler::Default);
        assert!(default.is_rigid());
        assert_eq!(default.least_slots(&graph), 4);
        assert_eq!(default.fit(&graph, Some(3)), None);
        assert_eq!(default.fit(&graph, Some(9)), Some(vec![2, 2, 2]));
        let adaptive = of(Scheduler::Adaptive);
        assert_eq!(adaptive.fit(&graph, Some(1)), None, "two groups need two slots");
        assert_eq!(adaptive.fit(&graph, Some(3)), Some(vec![2, 2, 1]));
        assert_eq!(adaptive.fit(&graph, Some(9)), Some(vec![2, 2, 2]));
        let reactive = of(Scheduler::Reactive);
        assert_eq!(reactive.fit(&graph, Some(7)), Some(vec![4, 4, 3]));
        assert_eq!(reactive.fit(&graph, None), Some(vec![8, 8, 8]));
    }

    #[test]
    fn what_must_have_one_parallelism_keeps_it() {
        let forward = job(Partitioning::Forward, HASH(), &[]);
        let asked = requested(&forward, &[(1, 4), (2, 3), (1, 8)]).unwrap();
        assert_eq!(asked.fit(&forward.1, None), Some(vec![3, 3, 8]));
        assert_eq!(asked.least_slots(&forward.1), 3);
        let global = job(HASH(), Partitioning::Global, &[]);
        let reactive = ResourceRequirements::of(&global.0, &global.1, Scheduler::Reactive);
        assert_eq!(reactive.fit(&global.1, None), Some(vec![8, 8, 2]));
        // Across groups of slots, of which one has fewer.
        let across = job(HASH(), Partitioning::Forward, &[]);
        let reactive = ResourceRequirements::of(&across.0, &across.1, Scheduler::Reactive);
        assert_eq!(reactive.fit(&across.1, Some(5)), Some(vec![3, 2, 2]));
        let (mut plan, graph) = job(HASH(), HASH(), &[]);
        plan.nodes[1].fixed_parallelism = true;
        let fixed = requested(&(plan, graph), &[(1, 4), (1, 4), (1, 4)]).unwrap();
        assert_eq!(fixed.upper(), [4, 2, 4]);
    }

    #[test]
    fn what_reads_several_subtasks_in_one_relies_on_their_order() {
        let (mut plan, _) = job(HASH(), Partitioning::Rebalance, &[]);
        plan.nodes[2].parallelism = 1;
        let graph = JobGraph::of(&plan, true);
        let of = ResourceRequirements::of(&plan, &graph, Scheduler::Reactive);
        assert_eq!(of.upper(), [8, 8, 1]);
        // Whatever its inputs have by then.
        let (mut plan, mut graph) = (plan, graph);
        plan.nodes[1].parallelism = 1;
        graph.vertices[1].parallelism = 1;
        let asked = of.requested(&plan, &graph, &bounds(&[(1, 4), (1, 4), (4, 4)])).unwrap();
        assert_eq!(asked.upper(), [4, 4, 1]);
        let spread = job(HASH(), Partitioning::Rebalance, &[]);
        assert_eq!(
            requested(&spread, &[(1, 4), (1, 4), (4, 4)]).unwrap().upper(),
            [4, 4, 4]
        );
    }

    #[test]
    fn wrong_bounds_are_refused_with_the_place() {
        let of = job(HASH(), Partitioning::Custom, &[]);
        let why = |all: &[(usize, usize)]| requested(&of, all).unwrap_err();
        for (all, part) in [
            (&[(0, 1), (1, 1), (1, 2)][..], "('s'): the lower bound is at least 1"),
            (&[(1, 1), (3, 2), (1, 2)], "('a'): the lower bound is above"),
            (&[(1, 1), (1, 9), (1, 2)], "('a'): it has at most 8 subtasks"),
            (&[(1, 1), (1, 8)], "bounds are missing for vertex"),
            (&[(1, 1), (1, 8), (1, 2), (1, 1)], "the job has no vertex"),
        ] {
            let text = why(all);
            assert!(text.contains(part), "{text}");
        }
        let kept = requested(&of, &[(1, 4), (1, 4), (1, 4)]).unwrap();
        let again = kept.to_requested(&of.0, &of.1);
        assert_eq!(again, bounds(&[(1, 4), (1, 4), (2, 2)]));
        assert_eq!(kept.requested(&of.0, &of.1, &again).unwrap(), kept);
    }

    #[test]
    fn single_vertices_get_the_parallelism_of_the_option() {
        let id = |id: u128| OperatorId(id).to_string();
        let over = |text: &str| {
            let (plan, graph) = job(Partitioning::Forward, HASH(), &[(OVERRIDES, text)]);
            overridden(&plan, &graph).map_err(|e| e.to_string())
        };
        assert_eq!(over(&format!("{}:3, {}:4", id(1), id(9))).unwrap(), [3, 3, 2]);
        assert_eq!(over("").unwrap(), [2, 2, 2]);
        for wrong in [id(0), format!("{}:x", id(0)), format!("{}:9", id(0))] {
            let error = over(&wrong).unwrap_err();
            assert!(error.contains(OVERRIDES), "{error}");
        }
    }

    #[test]
    fn old_spellings_are_read() {
        let read = |options: &[(&str, &str)]| SchedulerSettings::from_options(&options.iter().copied().collect());
        let settings = read(&[
            ("jobmanager.scheduler", "adaptive"),
            ("jobmanager.adaptive-scheduler.resource-wait-timeout", "-1 ms"),
            ("jobmanager.adaptive-scheduler.scaling-interval.min", "2 s"),
        ])
        .unwrap();
        assert_eq!((settings.scheduler, settings.wait_ms), (Scheduler::Adaptive, None));
        assert_eq!(settings.cooldown_ms, 2_000);
        assert_eq!(
            read(&[("scheduler-mode", "reactive")]).unwrap().scheduler,
            Scheduler::Reactive
        );
        assert!(read(&[("jobmanager.scheduler", "fair")]).is_err());
    }
}
