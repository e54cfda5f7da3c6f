//! From a plan to the tasks of one attempt in one TaskManager: operators made by the registry, channels between subtasks, state to restore.

use crate::program::{Coordinator, Enumerating, ProgramSource};
use flott_checkpoint::OperatorManifest;
use flott_core::clock::SharedClock;
use flott_core::{Field, JobId, Options};
use flott_plan::{JobGraph, Node, NodeId, Partitioning, Plan, Role, VertexEdge, VertexId};
use flott_runtime::connector::{ConnectorError, WatermarkSpec};
use flott_runtime::context::{OperatorContext, TaskInfo};
use flott_runtime::exchange::in_flight::NewReader;
use flott_runtime::exchange::network::WINDOW_BYTES;
use flott_runtime::exchange::{
    EdgeReader, Incoming, InputGate, Outgoing, Receiver, Recorded, RouterEdge, RowsForm, Spread, channel,
    encoded_channel, incoming_channel, outgoing_channel,
};
use flott_runtime::metrics::TaskMetrics;
use flott_runtime::registry::{FactoryContext, watermark_of};
use flott_runtime::sink::SinkOperator;
use flott_runtime::source::EmitPolicy;
use flott_runtime::task::{Head, SourceHead, TaskDeployment};
use flott_runtime::{Batching, FailureLabel, Operator, Registry, Source, TaskError, Waker};
use flott_state::{BackendSettings, RestoredInFlight, RestoredState, StateBackend};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::coordinator::SubtaskId;
use crate::error::ClusterError;
use crate::placement::Placement;
use crate::stats::TaskView;

/// Bytes that a channel holds before its writer waits.
const CHANNEL_BYTES: usize = 4 << 20;

/// What all attempts of a job share.
#[derive(Clone)]
pub struct JobContext {
    /// The job.
    pub job_id: JobId,
    /// Its plan.
    pub plan: Arc<Plan>,
    /// Its chains.
    pub graph: Arc<JobGraph>,
    /// Its options.
    pub options: Arc<Options>,
    /// Factories.
    pub registry: Arc<Registry>,
    /// Processing time.
    pub clock: SharedClock,
    /// Leadership of this JobManager.
    pub generation: u64,
    /// Who is asked for the ends of the job, which exist only in processes of its program; none: they are made here.
    pub(crate) program: Option<Arc<Coordinator>>,
}

/// Where a source of a job is.
#[derive(Clone)]
pub enum SourceEnd {
    /// In this process.
    Here(Arc<dyn Source>),
    /// In processes of the job's program.
    Program(ProgramSource),
}

impl SourceEnd {
    /// Its enumerator; `restored`: what that has said of itself, if the job is restored.
    ///
    /// # Errors
    /// If the settings are wrong.
    pub(crate) fn enumerator(&self, restored: Option<&[u8]>) -> Result<Enumerating, ConnectorError> {
        match self {
            Self::Here(source) => source.enumerator(restored).map(Enumerating::Here),
            Self::Program(source) => Ok(Enumerating::Program(source.enumerator(restored))),
        }
    }
}

/// A source of the job, made once and shared by all attempts and subtasks.
#[derive(Clone)]
pub struct JobSource {
    /// Makes enumerators and readers.
    pub source: SourceEnd,
    /// The watermark that its table asks for.
    pub watermark: Option<WatermarkSpec>,
}

/// State to start from, by node and subtask.
pub type RestoredStates = HashMap<(NodeId, usize), RestoredState>;

/// Which subtasks of an attempt a TaskManager runs.
pub struct Share {
    /// TaskManager of every subtask, by vertex and index.
    pub placement: Placement,
    /// Which of them this one is.
    pub here: usize,
    /// Slots that the job uses here.
    pub slots: usize,
    /// What a slot has for state that can be bounded, in bytes, where the job does not say.
    pub slot_bytes: Option<u64>,
    /// Counters of the subtasks.
    pub metrics: HashMap<SubtaskId, Arc<TaskMetrics>>,
    /// Where state lies that was read ahead; `None`: in a backend of its own.
    pub backend: Option<StateBackend>,
}

/// The tasks of a share, not started yet.
pub struct Built {
    /// The tasks.
    pub tasks: Vec<(SubtaskId, TaskDeployment)>,
    /// Their channels from and to other TaskManagers.
    pub wires: Wires,
}

/// Channels from and to other TaskManagers, under numbers that both ends give them alike.
#[derive(Default)]
pub struct Wires {
    /// Those that are read here.
    pub incoming: Vec<(u32, Incoming)>,
    /// Those that are written here, by the TaskManager that reads them.
    pub outgoing: BTreeMap<usize, Vec<(u32, Outgoing)>>,
}

impl Wires {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.incoming.is_empty() && self.outgoing.is_empty()
    }
}

impl Share {
    /// All subtasks, counted by `views`.
    pub fn whole(graph: &JobGraph, views: &[TaskView]) -> Self {
        Self {
            placement: graph
                .vertices
                .iter()
                .map(|v| vec![0; v.parallelism])
                .collect::<Vec<_>>()
                .into(),
            here: 0,
            slots: graph.slots(),
            slot_bytes: None,
            metrics: views.iter().map(|(id, _, metrics)| (*id, metrics.clone())).collect(),
            backend: None,
        }
    }

    fn is_here(&self, (vertex, subtask): SubtaskId) -> bool {
        self.placement[vertex][subtask] == self.here
    }
}

/// Settings that every task reads.
struct TaskSettings {
    watermark_interval_ms: i64,
    idle_timeout_ms: Option<i64>,
    latency_interval_ms: i64,
    flush_interval_ms: i64,
    batching: Batching,
}

impl TaskSettings {
    fn from_options(options: &Options) -> Result<Self, TaskError> {
        let wrong = |e: flott_core::options::OptionError| TaskError::user(e.to_string()).fatal();
        let duration =
            |key: &str, default: i64| Ok::<i64, TaskError>(options.duration_ms(key).map_err(wrong)?.unwrap_or(default));
        Ok(Self {
            watermark_interval_ms: duration("pipeline.auto-watermark-interval", 200)?,
            idle_timeout_ms: Some(duration("table.exec.source.idle-timeout", 0)?).filter(|t| *t > 0),
            latency_interval_ms: duration("metrics.latency.interval", 0)?,
            flush_interval_ms: duration("execution.buffer-timeout.interval", 20)?,
            batching: Batching::of(options)?,
        })
    }
}

impl JobContext {
    /// What factories may look at for `node`.
    pub fn factory_context(&self, node: &Node) -> FactoryContext {
        let mut inputs: BTreeMap<usize, Vec<Field>> = BTreeMap::new();
        for edge in self.plan.inputs(node.id) {
            inputs
                .entry(edge.input)
                .or_insert_with(|| self.plan.nodes[edge.from].output.clone());
        }
        let inputs = inputs.into_values().collect();
        FactoryContext {
            options: self.options.clone(),
            inputs,
            clock: self.clock.clone(),
        }
    }

    /// All subtasks of the job.
    pub fn subtasks(&self) -> Vec<SubtaskId> {
        self.graph
            .vertices
            .iter()
            .flat_map(|v| (0..v.parallelism).map(|s| (v.id, s)))
            .collect()
    }

    /// Makes the sources of the plan.
    ///
    /// # Errors
    /// If a factory refuses its node.
    pub fn sources(&self) -> Result<HashMap<NodeId, JobSource>, TaskError> {
        let nodes = self.plan.nodes.iter().filter(|node| node.role == Role::Source);
        let source = |node: &Node| {
            if let Some(coordinator) = &self.program {
                let source = ProgramSource::new(coordinator.clone(), node, self.options.clone());
                let source = JobSource {
                    source: SourceEnd::Program(source),
                    watermark: watermark_of(node)?,
                };
                return Ok((node.id, source));
            }
            let (source, watermark) = self.registry.make_source(node, &self.factory_context(node))?;
            let source = SourceEnd::Here(Arc::from(source));
            Ok((node.id, JobSource { source, watermark }))
        };
        nodes.map(source).collect()
    }

    /// The same job with another parallelism of its vertices, by vertex; it has the same chains.
    pub fn at(&self, parallelism: &[usize]) -> Self {
        let (mut plan, mut graph) = (Plan::clone(&self.plan), JobGraph::clone(&self.graph));
        for (vertex, parallelism) in graph.vertices.iter_mut().zip(parallelism) {
            vertex.parallelism = *parallelism;
            let nodes = vertex.nodes.iter();
            nodes.for_each(|node| plan.nodes[*node].parallelism = *parallelism);
        }
        Self {
            plan: Arc::new(plan),
            graph: Arc::new(graph),
            ..self.clone()
        }
    }

    /// Slots that the job needs, by slot sharing group.
    pub fn slots_needed(&self) -> BTreeMap<String, usize> {
        let slots = self.graph.slots_by_group().into_iter();
        slots.map(|(group, slots)| (group.to_owned(), slots)).collect()
    }

    /// All subtasks of an attempt with their place and fresh counters.
    pub fn views(&self, attempt: u64) -> Vec<TaskView> {
        let view = |id: SubtaskId| {
            let vertex = &self.graph.vertices[id.0];
            let names = vertex.nodes.iter().map(|n| self.plan.nodes[*n].name.clone());
            (id, self.task_info(id, attempt), Arc::new(TaskMetrics::new(names)))
        };
        self.subtasks().into_iter().map(view).collect()
    }

    fn task_info(&self, (vertex, subtask): SubtaskId, attempt: u64) -> Arc<TaskInfo> {
        let vertex = &self.graph.vertices[vertex];
        Arc::new(TaskInfo {
            job_id: self.job_id,
            job_name: self.plan.name.clone(),
            task_name: vertex.name.clone(),
            subtask,
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
            attempt,
            generation: self.generation,
            options: self.options.clone(),
        })
    }

    /// Where an attempt has its state that takes so many slots of a TaskManager, each with so many bytes. It dies with the attempt: the next one
    /// starts from a checkpoint, which says all.
    ///
    /// # Errors
    /// If an option's value is wrong.
    pub(crate) fn state_backend(
        options: &Options,
        slots: usize,
        slot_bytes: Option<u64>,
    ) -> Result<StateBackend, TaskError> {
        let settings = BackendSettings::from_options(options)?.in_slots_of(slot_bytes);
        Ok(StateBackend::new(&settings, slots))
    }

    /// Builds a share of the tasks of `attempt`.
    ///
    /// # Errors
    /// If a factory refuses its node; the message names it.
    pub fn build(
        &self,
        attempt: u64,
        share: &Share,
        sources: &HashMap<NodeId, JobSource>,
        mut restored: RestoredStates,
    ) -> Result<Built, TaskError> {
        let settings = TaskSettings::from_options(&self.options)?;
        let backend = match &share.backend {
            Some(backend) => backend.clone(),
            None => Self::state_backend(&self.options, share.slots, share.slot_bytes)?,
        };
        let wakers: Vec<Vec<Waker>> = self
            .graph
            .vertices
            .iter()
            .map(|v| (0..v.parallelism).map(|_| Waker::new()).collect())
            .collect();
        let mut channels = self.channels(share, &wakers, settings.batching);
        let mut tasks = vec![];
        for vertex in &self.graph.vertices {
            let here = |(subtask, _): &(usize, &Waker)| share.is_here((vertex.id, *subtask));
            for (subtask, waker) in wakers[vertex.id].iter().enumerate().filter(here) {
                let info = self.task_info((vertex.id, subtask), attempt);
                let metrics = share
                    .metrics
                    .get(&(vertex.id, subtask))
                    .ok_or_else(|| TaskError::internal("a subtask without counters"))?
                    .clone();
                let waker = waker.clone();
                let in_flight = restored.get_mut(&(vertex.nodes[0], subtask));
                let in_flight = in_flight.map(RestoredState::take_in_flight).unwrap_or_default();
                let in_flight = self.rows_in_flight((vertex.id, subtask), &in_flight)?;
                let mut contexts = vertex.nodes.iter().enumerate().map(|(index, id)| {
                    let node = &self.plan.nodes[*id];
                    OperatorContext {
                        task: info.clone(),
                        operator_id: node.operator_id,
                        operator_name: node.name.clone(),
                        waker: waker.clone(),
                        clock: self.clock.clone(),
                        runtime: tokio::runtime::Handle::current(),
                        metrics: metrics.operators[index].1.clone(),
                        restored: restored.remove(&(*id, subtask)),
                        backend: backend.clone(),
                    }
                });
                let first = &self.plan.nodes[vertex.nodes[0]];
                let (head, rest) = if first.role == Role::Source {
                    let ctx = contexts
                        .next()
                        .ok_or_else(|| TaskError::internal("a vertex without nodes"))?;
                    let source = sources
                        .get(&first.id)
                        .ok_or_else(|| TaskError::internal("a source was not prepared"))?;
                    (self.source_head(first, ctx, source, &settings)?, &vertex.nodes[1..])
                } else {
                    let receivers = channels.receivers.remove(&(vertex.id, subtask)).unwrap_or_default();
                    (Head::Gate(InputGate::overtaken(receivers)), &vertex.nodes[..])
                };
                let operators = rest
                    .iter()
                    .zip(contexts)
                    .map(|(id, ctx)| Ok((ctx, self.operator(&self.plan.nodes[*id])?)))
                    .collect::<Result<Vec<_>, TaskError>>()?;
                let edges = channels.senders.remove(&(vertex.id, subtask)).unwrap_or_default();
                let flush_interval_ms = settings.flush_interval_ms;
                let clock = self.clock.clone();
                let task = TaskDeployment {
                    info,
                    head,
                    operators,
                    edges,
                    restored: in_flight,
                    flush_interval_ms,
                    waker,
                    clock,
                    metrics,
                };
                tasks.push(((vertex.id, subtask), task));
            }
        }
        let wires = channels.wires;
        Ok(Built { tasks, wires })
    }

    /// Whether rows in flight on their way to a node can be restored: it must be where they were recorded, at the head of its chain.
    ///
    /// # Errors
    /// If it is not.
    pub(crate) fn check_in_flight(&self, node: &Node, state: &OperatorManifest) -> Result<(), ClusterError> {
        let is_head = self.graph.vertices.iter().any(|v| v.nodes.first() == Some(&node.id));
        if is_head || state.subtasks.iter().all(|s| s.in_flight.is_empty()) {
            return Ok(());
        }
        Err(ClusterError::Restore(format!(
            "the checkpoint holds rows on their way to '{}', which has become a part of another operator's chain in this job: start it \
             from a savepoint, which holds none, or with the chains that it had",
            node.name
        )))
    }

    /// What a subtask processes before anything new: its part of the rows in flight of the checkpoint that it starts from.
    fn rows_in_flight(&self, id: SubtaskId, parts: &[RestoredInFlight]) -> Result<Vec<Recorded>, TaskError> {
        if parts.is_empty() {
            return Ok(vec![]);
        }
        let vertex = &self.graph.vertices[id.0];
        let first = &self.plan.nodes[vertex.nodes[0]];
        let inputs = || self.graph.edges.iter().filter(|edge| edge.to == vertex.id);
        let mut forms: BTreeMap<usize, RowsForm> = inputs().map(|edge| (edge.input, self.rows_form(edge))).collect();
        if first.role == Role::Source {
            forms.insert(0, self.registry.rows_form(first, 0));
        }
        let reader = NewReader {
            subtask: id.1,
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
            forms: &forms,
            shares_time: first.role != Role::Source && inputs().all(|edge| Spread::of(&edge.partitioning).is_some()),
        };
        reader.rows_of(parts).map_err(|e| e.at(&first.name))
    }

    /// What an exchange carries: what the last node of its writer emits.
    fn rows_form(&self, edge: &VertexEdge) -> RowsForm {
        let last = self.graph.vertices[edge.from].nodes.last();
        let form = last.map(|node| self.registry.rows_form(&self.plan.nodes[*node], edge.output));
        form.unwrap_or_else(|| RowsForm::Columns(Arc::new([])))
    }

    /// Makes the operator of a node that is no source.
    ///
    /// # Errors
    /// If its factory refuses the node.
    pub(crate) fn operator(&self, node: &Node) -> Result<Box<dyn Operator>, TaskError> {
        if node.role == Role::Sink {
            return Ok(Box::new(SinkOperator::new(
                self.registry.make_sink(node).map_err(|e| e.at(&node.name))?,
            )));
        }
        self.registry
            .make_operator(node, &self.factory_context(node))
            .map_err(|e| e.at(&node.name))
    }

    fn source_head(
        &self,
        node: &Node,
        ctx: OperatorContext,
        source: &JobSource,
        settings: &TaskSettings,
    ) -> Result<Head, TaskError> {
        let SourceEnd::Here(of_process) = &source.source else {
            let text = "its source is in processes of its program, and this is none";
            return Err(TaskError::new(FailureLabel::Internal, text).at(&node.name));
        };
        let watermark = source.watermark.as_ref();
        let generator = match watermark {
            Some(spec) => {
                // The generator reads the scan's own columns.
                let ctx = FactoryContext {
                    inputs: vec![node.output.clone()],
                    ..self.factory_context(node)
                };
                Some(self.registry.make_watermark(spec, &ctx).map_err(|e| e.at(&node.name))?)
            }
            None => None,
        };
        let policy = EmitPolicy {
            interval_ms: settings.watermark_interval_ms,
            // Without an interval a watermark follows each row that moves it, as in Flink.
            on_event: settings.watermark_interval_ms == 0 || watermark.is_some_and(|w| w.on_event),
            idle_timeout_ms: watermark.and_then(|w| w.idle_timeout_ms).or(settings.idle_timeout_ms),
            report_interval_ms: watermark
                .and_then(|w| w.alignment.as_ref())
                .map(|(_, _, interval_ms)| (*interval_ms).max(1)),
        };
        let latency_interval_ms = settings.latency_interval_ms;
        Ok(Head::Source(Box::new(SourceHead {
            ctx,
            source: of_process.clone(),
            generator,
            policy,
            latency_interval_ms,
        })))
    }

    fn channels(&self, share: &Share, wakers: &[Vec<Waker>], batching: Batching) -> Channels {
        let mut channels = Channels::default();
        let mut number = 0;
        for edge in &self.graph.edges {
            let (from, to) = (&self.graph.vertices[edge.from], &self.graph.vertices[edge.to]);
            let form = self.rows_form(edge);
            let spread = Spread::of(&edge.partitioning).filter(|_| batching.barriers_overtake);
            let reader = EdgeReader {
                operator: self.plan.nodes[to.nodes[0]].operator_id,
                input: edge.input,
            };
            for writer in 0..from.parallelism {
                let targets: Vec<usize> = match edge.partitioning {
                    Partitioning::Forward => vec![writer],
                    Partitioning::Global => vec![0],
                    Partitioning::Rescale => neighbours(writer, from.parallelism, to.parallelism),
                    _ => (0..to.parallelism).collect(),
                };
                let mut senders = vec![];
                for reader in targets {
                    number += 1;
                    let (of_writer, of_reader) = (&wakers[from.id][writer], &wakers[to.id][reader]);
                    let (of_writer, of_reader) = (of_writer.clone(), of_reader.clone());
                    let (sender, receiver) = match (share.is_here((from.id, writer)), share.is_here((to.id, reader))) {
                        (true, true) if batching.encoded_exchanges => {
                            let (sender, receiver) = encoded_channel(CHANNEL_BYTES, of_writer, of_reader, form.clone());
                            (Some(sender), Some(receiver))
                        }
                        (true, true) => {
                            let (sender, receiver) = channel(CHANNEL_BYTES, of_writer, of_reader);
                            (Some(sender), Some(receiver))
                        }
                        (true, false) => {
                            let (sender, outgoing) = outgoing_channel(CHANNEL_BYTES, of_writer);
                            let peer = share.placement[to.id][reader];
                            channels
                                .wires
                                .outgoing
                                .entry(peer)
                                .or_default()
                                .push((number, outgoing));
                            (Some(sender), None)
                        }
                        (false, true) => {
                            let (receiver, incoming) = incoming_channel(WINDOW_BYTES, of_reader, form.clone());
                            channels.wires.incoming.push((number, incoming));
                            (None, Some(receiver))
                        }
                        (false, false) => (None, None),
                    };
                    senders.extend(sender);
                    let of_reader = channels.receivers.entry((to.id, reader)).or_default();
                    of_reader.extend(receiver.map(|receiver| (edge.input, spread, receiver)));
                }
                if !share.is_here((from.id, writer)) {
                    continue;
                }
                let mut routed = RouterEdge::new(edge.partitioning.clone(), senders, to.max_parallelism, writer)
                    .of_output(edge.output)
                    .read_by(reader);
                if let Some(rows) = batching.rows {
                    routed = routed.joining(rows);
                }
                channels.senders.entry((from.id, writer)).or_default().push(routed);
            }
        }
        channels
    }
}

/// The readers that are `writer`'s share: neighbours talk to neighbours, and nobody is left out.
fn neighbours(writer: usize, writers: usize, readers: usize) -> Vec<usize> {
    if readers < writers {
        return vec![writer * readers / writers];
    }
    (writer * readers / writers..(writer + 1) * readers / writers).collect()
}

/// A channel that a subtask reads, with its logical input, and where its rows go at another parallelism if barriers may overtake them.
type Incomer = (usize, Option<Spread>, Receiver);

#[derive(Default)]
struct Channels {
    senders: HashMap<(VertexId, usize), Vec<RouterEdge>>,
    receivers: HashMap<(VertexId, usize), Vec<Incomer>>,
    wires: Wires,
}
