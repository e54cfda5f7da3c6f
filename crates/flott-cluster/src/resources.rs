//! Slots: where the subtasks of a job run.
//!
//! A TaskManager offers slots; a slot holds one subtask of every vertex of a slot sharing group. A job asks [`Slots`] for as many
//! as its widest vertex of each group has subtasks ([`crate::allocation`]), and gives them back by dropping the [`Allocation`].

use crate::coordinator::SubtaskId;
pub use crate::deployed::Deployed;
use crate::inquiry::{Answer, InquiryError, Question};
use crate::program::{LeaseOrder, Lessee};
use crate::protocol::{AttemptId, Deployment, HeldAttempt, Order, Peer, Report};
use crate::taskmanager::TaskManager;
use async_trait::async_trait;
use flott_core::{CheckpointId, JobId};
use flott_plan::{JobGraph, Vertex};
use flott_runtime::metrics::TaskReading;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A TaskManager, for people and tools.
#[derive(Debug, Clone, Default)]
pub struct TaskManagerInfo {
    /// Its id (`taskmanager.resource-id`).
    pub id: String,
    /// Where it is asked, host and port.
    pub address: String,
    /// Port at which exchanges of other TaskManagers arrive.
    pub data_port: u16,
    /// Slots that it offers.
    pub slots: usize,
    /// Of these, free ones.
    pub free_slots: usize,
    /// Of the others, whose each is.
    pub allocated: Vec<JobId>,
    /// When it was last heard, in milliseconds since the epoch.
    pub last_heartbeat_ms: i64,
    /// Processors of its machine.
    pub cpu_cores: usize,
    /// Memory of its machine, or what its group may use, in bytes.
    pub memory_bytes: u64,
    /// Memory that it uses, in bytes.
    pub used_bytes: u64,
}

/// Who has slots.
#[async_trait]
pub trait Slots: Send + Sync {
    /// Takes slots, `needed` by slot sharing group, if there are as many; those that the job has had are given back in exchange.
    fn allocate(&self, job: JobId, needed: &BTreeMap<String, usize>, had: &mut Option<HeldSlots>)
    -> Option<Allocation>;

    /// What [`Self::allocate`] would give now, for a job that has `had`; nothing is taken. `None` where there are not enough, or nobody can tell.
    fn foresee(&self, _needed: &BTreeMap<String, usize>, _had: Option<&HeldSlots>) -> Option<Allocation> {
        None
    }

    /// Slots that a job has or might have now; `None`: as many as it likes.
    fn available(&self, _job: JobId) -> Option<usize> {
        None
    }

    /// Tells when slots have come, gone, or come free; `None` where that never happens.
    fn changes(&self) -> Option<watch::Receiver<()>> {
        None
    }

    /// How long a job waits for slots (`slot.request.timeout`); `None`: without end.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// What there is, for who waits.
    fn describe(&self) -> String {
        "as many slots as one likes".to_owned()
    }

    /// From now on only what TaskManagers still run of these jobs is kept for being taken over.
    fn await_attempts_of(&self, _jobs: BTreeSet<JobId>) {}

    /// Waits, for a moment, for the TaskManagers that still run an attempt of this job, and gives it with their slots, if it can go on from
    /// `newest`, its newest complete checkpoint, and is none before `least`. Otherwise they are told to give it up.
    async fn adopt(&self, _job: JobId, _least: Option<AttemptId>, _newest: Option<CheckpointId>) -> Option<Adopted> {
        None
    }

    /// From now on slots are lent to the processes of a program for its job, which takes those alone.
    fn begin_lending(&self, _job: JobId, _lessee: Lessee) {}

    /// The job has ended: so do the processes that were lent slots for it.
    fn end_lending(&self, _job: JobId) {}

    /// A job that waits does not use what was lent for it.
    fn let_idle_go(&self, _job: JobId) {}

    /// What keeps a job from slots that are there; told once.
    fn trouble(&self, _job: JobId) -> Option<String> {
        None
    }

    /// Has what TaskManagers still run of a job given up.
    fn give_up(&self, _job: JobId) {}

    /// Those that are there.
    fn task_managers(&self) -> Vec<TaskManagerInfo>;

    /// The one of an id, if it is there and can be asked.
    fn task_manager(&self, _id: &str) -> Option<TaskManagerRef> {
        None
    }

    /// Whether all slots are in this process.
    fn are_within_process(&self) -> bool {
        false
    }
}

/// A TaskManager as a job master sees it.
pub trait TaskManagerGateway: Send + Sync {
    /// Has it run a share of an attempt; what becomes of that, `listener` hears. Never waits.
    fn deploy(&self, deployment: Deployment, listener: GatewayListener);

    /// Has it read the state of a share of an attempt that may come, or what has come to it since it did so before. `listener` hears how many bytes
    /// are there, or why not; `round` is not that of an earlier call for the attempt. What was read waits for the deployment of the attempt, or
    /// [`Order::ForgetPreloaded`]. Never waits.
    fn preload(&self, _share: Deployment, _round: u64, listener: PreloadListener) {
        listener(Err("state is not read ahead here".to_owned()));
    }

    /// Passes an order on, behind all earlier ones. Never waits.
    fn order(&self, attempt: AttemptId, order: Order);

    /// Asks it about itself. Cancel-safe; whoever does not want to wait for one that is silent until it is lost has to bound it.
    ///
    /// # Errors
    /// If it cannot answer, or is gone.
    fn ask(&self, _question: Question) -> BoxFuture<'static, Result<Answer, InquiryError>> {
        let why = "tasks run in the process of the JobManager".to_owned();
        ready(Err(InquiryError::Gone { why })).boxed()
    }

    /// Has it lend slots. Never waits.
    fn lend(&self, _order: LeaseOrder) {}

    /// Has it end the process of a lease. Never waits.
    fn recall(&self, _lease: &str) {}

    /// Tells it that the cluster is over. Never waits.
    fn shut_down(&self) {}

    /// From now on `listener` hears of an attempt that the TaskManager has held, first of all what it told since it registered.
    fn adopt(&self, _held: &HeldAttempt, listener: GatewayListener) {
        listener(Heard::Lost("nothing can be taken over within a process".to_owned()));
    }
}

/// Hears what comes from a TaskManager. Called from any thread; must not wait.
pub type GatewayListener = Arc<dyn Fn(Heard) + Send + Sync>;

/// Hears how many bytes of state were read ahead. Called from any thread; must not wait.
pub type PreloadListener = Arc<dyn Fn(Result<u64, String>) + Send + Sync>;

/// What comes from a TaskManager.
#[derive(Debug)]
pub enum Heard {
    /// A subtask's report.
    Subtask(SubtaskId, Report),
    /// What subtasks have counted; tells nothing within a process, where counters are shared.
    Counted(Vec<(SubtaskId, TaskReading)>),
    /// It is gone, with all that ran there; why.
    Lost(String),
}

/// A TaskManager with the way to it.
#[derive(Clone)]
pub struct TaskManagerRef {
    /// What other TaskManagers know of it.
    pub peer: Peer,
    /// The way to it.
    pub gateway: Arc<dyn TaskManagerGateway>,
}

/// An attempt that outlived the JobManager which deployed it.
pub struct Adopted {
    /// Where it runs.
    pub deployed: Deployed,
    /// What each of its TaskManagers holds, in their order.
    pub held: Vec<HeldAttempt>,
}

/// Slots that a job holds until this is dropped.
pub struct Allocation {
    /// The TaskManagers whose slots they are.
    pub task_managers: Vec<TaskManagerRef>,
    /// Of every slot of every slot sharing group, whose it is.
    pub groups: BTreeMap<String, Vec<usize>>,
    /// Gives them back.
    pub held: Option<HeldSlots>,
}

/// Gives slots back when it is dropped.
pub type HeldSlots = Box<dyn Any + Send + Sync>;

impl Allocation {
    /// Whether it is all in this process.
    pub fn is_within_process(&self) -> bool {
        self.task_managers.iter().all(|t| t.peer.data_address.is_empty())
    }

    /// TaskManager of every subtask, by vertex and index: those of one index and group share a slot.
    pub fn placement(&self, graph: &JobGraph) -> Vec<Vec<usize>> {
        let of_vertex = |vertex: &Vertex| {
            let slots = self.groups.get(&vertex.slot_sharing_group);
            let slots = slots.map_or(&[][..], Vec::as_slice);
            (0..vertex.parallelism)
                .map(|i| slots.get(i).copied().unwrap_or(0))
                .collect()
        };
        graph.vertices.iter().map(of_vertex).collect()
    }

    /// Slots of a TaskManager.
    pub fn slots_of(&self, task_manager: usize) -> usize {
        self.groups.values().flatten().filter(|at| **at == task_manager).count()
    }
}

/// The slots of one TaskManager in this process, which has as many as are asked for.
pub struct WithinProcess(TaskManagerRef);

impl WithinProcess {
    /// Of a TaskManager.
    pub fn new(manager: TaskManager) -> Self {
        let peer = Peer {
            id: "this process".to_owned(),
            data_address: String::new(),
        };
        let gateway = Arc::new(manager);
        Self(TaskManagerRef { peer, gateway })
    }
}

#[async_trait]
impl Slots for WithinProcess {
    fn allocate(
        &self,
        _job: JobId,
        needed: &BTreeMap<String, usize>,
        _had: &mut Option<HeldSlots>,
    ) -> Option<Allocation> {
        Some(Allocation {
            task_managers: vec![self.0.clone()],
            groups: needed
                .iter()
                .map(|(group, slots)| (group.clone(), vec![0; *slots]))
                .collect(),
            held: None,
        })
    }

    fn task_managers(&self) -> Vec<TaskManagerInfo> {
        vec![]
    }

    fn are_within_process(&self) -> bool {
        true
    }
}

impl TaskManagerGateway for TaskManager {
    fn deploy(&self, deployment: Deployment, listener: GatewayListener) {
        Self::deploy(
            self,
            deployment,
            Arc::new(move |id, report| listener(Heard::Subtask(id, report))),
        );
    }

    fn preload(&self, share: Deployment, _round: u64, listener: PreloadListener) {
        Self::preload(self, share, listener);
    }

    fn order(&self, attempt: AttemptId, order: Order) {
        Self::order(self, attempt, order);
    }
}
