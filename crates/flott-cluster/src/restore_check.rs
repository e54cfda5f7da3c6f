//! Whether a job can start from a checkpoint or savepoint, operator by operator, before anybody depends on it.
//!
//! Nothing is guessed from descriptions: every operator is made and opened with the state that each of its subtasks would get, in
//! this process, one subtask after the other, so checksums and all shapes are tested, and memory is bounded by the state of one
//! subtask. Nothing outside is touched: sources find no new splits, sinks open no transaction, nothing is written.

use crate::deploy::JobContext;
use crate::error::ClusterError;
use crate::prepare::read_split;
use crate::submit::fit_node;
use flott_checkpoint::{OperatorManifest, RunRef, Snapshot, restore_plan};
use flott_core::clock::SharedClock;
use flott_core::{JobId, OperatorId};
use flott_plan::{JobGraph, Node, Plan, Role};
use flott_runtime::context::TaskInfo;
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::task::SPLITS_STATE;
use flott_runtime::{OperatorContext, Registry, TaskError, Waker};
use flott_state::persist::load_subtask;
use flott_state::{BackendSettings, RestoredState, StateBackend};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// What becomes of the state of one operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorCheck {
    /// The operator.
    pub id: OperatorId,
    /// Its name: in the job, or in the snapshot if the job has no such operator.
    pub name: String,
    /// What becomes of it.
    pub fit: Fit,
}

/// See [`OperatorCheck`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// It was restored.
    Restored {
        /// Rows of keyed state, those of increments counted again.
        rows: u64,
        /// Bytes of all its state.
        bytes: u64,
        /// What the job drops, and what it has that starts empty.
        notes: Vec<String>,
    },
    /// The snapshot has no state for it: it starts empty.
    Empty,
    /// The job has no such operator: the start is refused unless state may be left behind.
    LeftBehind,
    /// It cannot be restored; why.
    Refused(String),
}

impl Fit {
    /// Whether the job would start.
    pub fn is_ok(&self, allow_non_restored_state: bool) -> bool {
        match self {
            Self::Restored { .. } | Self::Empty => true,
            Self::LeftBehind => allow_non_restored_state,
            Self::Refused(_) => false,
        }
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restored { rows, bytes, notes } => {
                write!(f, "restored: {rows} rows, {bytes} bytes")?;
                notes.iter().try_for_each(|note| write!(f, "; {note}"))
            }
            Self::Empty => f.write_str("starts empty: there is no state of it"),
            Self::LeftBehind => f.write_str("left behind: the job has no such operator"),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreCheck {
    /// Where the snapshot lies.
    pub path: String,
    /// The job that it was taken of.
    pub job_name: String,
    /// Operators of the job, then those that only the snapshot has.
    pub operators: Vec<OperatorCheck>,
}

impl RestoreCheck {
    /// How many operators would not start.
    pub fn misfits(&self, allow_non_restored_state: bool) -> usize {
        let misfits = self.operators.iter().filter(|o| !o.fit.is_ok(allow_non_restored_state));
        misfits.count()
    }
}

/// Where the state is from, and a line an operator.
impl fmt::Display for RestoreCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {}, of '{}':", self.path, self.job_name)?;
        let width = self.operators.iter().map(|o| o.name.chars().count()).max().unwrap_or(0);
        self.operators
            .iter()
            .try_for_each(|o| write!(f, "\n  {:width$}  {}", o.name, o.fit))
    }
}

/// Tries to restore `plan` from the checkpoint or savepoint at `path`. Needs Tokio.
///
/// # Errors
/// If there is no readable snapshot, or the plan is not valid; what is wrong with one operator is in the answer.
pub async fn check_restore(
    registry: Arc<Registry>,
    clock: SharedClock,
    mut plan: Plan,
    path: &str,
) -> Result<RestoreCheck, ClusterError> {
    plan.validate()?;
    let options = Arc::new(plan.options.clone());
    let snapshot = Snapshot::open(path, &options).await?;
    let is_fixed = plan.options.get("pipeline.max-parallelism").is_some();
    let of_node = |node: &Node| snapshot.manifest.operators.iter().find(|o| o.id == node.operator_id);
    let refused: Vec<Option<String>> = plan
        .nodes
        .iter_mut()
        .map(|node| of_node(node).and_then(|state| fit_node(node, state, is_fixed).err()))
        .map(|refused| refused.map(|e| e.to_string()))
        .collect();
    let plan = Arc::new(plan);
    let ctx = JobContext {
        job_id: JobId::of(&format!("{}/check", plan.name)),
        graph: Arc::new(JobGraph::of(&plan, true)),
        plan: plan.clone(),
        options,
        registry,
        clock,
        generation: 0,
        program: None,
    };
    let mut operators = vec![];
    for (node, refused) in plan.nodes.iter().zip(refused) {
        let fit = match (of_node(node), refused) {
            (None, _) => Fit::Empty,
            (Some(_), Some(reason)) => Fit::Refused(reason),
            (Some(state), None) => match restore(&ctx, &snapshot, node, state).await {
                Ok(notes) => restored(state, notes),
                Err(error) => Fit::Refused(error.to_string()),
            },
        };
        operators.push(OperatorCheck {
            id: node.operator_id,
            name: node.name.clone(),
            fit,
        });
    }
    let is_left = |state: &&OperatorManifest| plan.nodes.iter().all(|n| n.operator_id != state.id);
    operators.extend(
        snapshot
            .manifest
            .operators
            .iter()
            .filter(is_left)
            .map(|state| OperatorCheck {
                id: state.id,
                name: state.name.clone(),
                fit: Fit::LeftBehind,
            }),
    );
    Ok(RestoreCheck {
        path: snapshot.path.clone(),
        job_name: snapshot.manifest.job_name.clone(),
        operators,
    })
}

fn restored(state: &OperatorManifest, notes: BTreeSet<String>) -> Fit {
    let runs = state.subtasks.iter().flat_map(|s| &s.runs);
    Fit::Restored {
        rows: runs.map(RunRef::row_count).sum(),
        bytes: state.subtasks.iter().map(|s| s.state_bytes()).sum(),
        notes: notes.into_iter().collect(),
    }
}

async fn restore(
    ctx: &JobContext,
    snapshot: &Snapshot,
    node: &Node,
    state: &OperatorManifest,
) -> Result<BTreeSet<String>, ClusterError> {
    ctx.check_in_flight(node, state)?;
    let mut notes = BTreeSet::new();
    for share in restore_plan(state, node.parallelism)? {
        let loaded = load_subtask(&snapshot.root, state, &share).await;
        let loaded = loaded.map_err(TaskError::from)?;
        match node.role {
            Role::Source => loaded
                .operator_state(SPLITS_STATE)
                .try_for_each(|bytes| read_split(bytes).map(drop))?,
            Role::Operator => notes.extend(open(ctx, node, share.index, loaded)?),
            // What a sink had prepared is opaque to all but its committer, who would commit it.
            Role::Sink => {}
        }
    }
    Ok(notes)
}

/// Opens a subtask of an operator with its state, and drops it; gives what was changed.
fn open(ctx: &JobContext, node: &Node, subtask: usize, state: RestoredState) -> Result<Vec<String>, TaskError> {
    let notes = state.notes();
    let task = Arc::new(TaskInfo {
        job_id: ctx.job_id,
        job_name: ctx.plan.name.clone(),
        task_name: node.name.clone(),
        subtask,
        parallelism: node.parallelism,
        max_parallelism: node.max_parallelism,
        attempt: 0,
        generation: ctx.generation,
        options: ctx.options.clone(),
    });
    let mut context = OperatorContext {
        task,
        operator_id: node.operator_id,
        operator_name: node.name.clone(),
        waker: Waker::new(),
        clock: ctx.clock.clone(),
        runtime: tokio::runtime::Handle::current(),
        metrics: Arc::new(OperatorMetrics::default()),
        restored: Some(state),
        backend: StateBackend::new(&BackendSettings::from_options(&ctx.options)?, 1),
    };
    let mut operator = ctx.operator(node)?;
    let opened = operator.open(&mut context);
    flott_runtime::operator::close(&node.name, &mut *operator);
    opened?;
    drop(context);
    Ok(notes.list())
}
