//! State that is read for an attempt to come, while another runs ([`flott_state::preload`] says why).
//!
//! ```text
//! JobManager   Preload, from checkpoint 7 ──►   tables are filled on a thread of their own
//!              ◄── Preloaded, so many bytes
//!              Preload, from checkpoint 9 ──►   what has come to them since
//!              Deploy ──────────────────────►   the attempt's operators go on with them
//! ```
//!
//! What nobody needs in the end costs memory for a moment and disk: it goes with [`Order::ForgetPreloaded`], with the JobManager that wanted it,
//! and where memory ends before any job does.
//!
//! [`Order::ForgetPreloaded`]: crate::protocol::Order::ForgetPreloaded

use super::{Inner, TaskManager};
use crate::deploy::JobContext;
use crate::protocol::{AttemptId, Deployment, OperatorStates};
use crate::resources::PreloadListener;
use flott_checkpoint::{Root, SubtaskRestore};
use flott_plan::NodeId;
use flott_runtime::TaskError;
use flott_runtime::error::panic_text;
use flott_state::{PreloadedState, StateBackend, StateError, load_beyond};
use futures::FutureExt;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};

/// What was read for the share of an attempt, by node and subtask.
pub(super) struct Preloaded {
    /// Where the tables lie.
    pub(super) backend: StateBackend,
    /// Slots for which the backend was made.
    slots: usize,
    states: HashMap<(NodeId, usize), PreloadedState>,
}

impl Preloaded {
    /// Takes what was read for a subtask.
    pub(super) fn take(&mut self, node: NodeId, subtask: usize) -> PreloadedState {
        self.states.remove(&(node, subtask)).unwrap_or_default()
    }

    fn bytes(&self) -> u64 {
        self.states.values().map(PreloadedState::bytes).sum()
    }
}

/// What is read for an attempt.
#[derive(Default)]
pub(super) struct Preloading {
    /// Dropped when it is not wanted any more, and what still reads ends then.
    wanted: Arc<()>,
    /// What was read, unless that goes on.
    read: Option<Preloaded>,
}

impl TaskManager {
    /// Reads the state of a share of an attempt that may come, as far as it has not. Needs Tokio.
    pub fn preload(&self, share: Deployment, listener: PreloadListener) {
        let id = share.id;
        let (wanted, before) = {
            let mut preloads = self.0.preloads();
            let preloading = preloads.entry(id).or_default();
            (Arc::downgrade(&preloading.wanted), preloading.read.take())
        };
        let manager = self.clone();
        tokio::spawn(async move {
            let reading = AssertUnwindSafe(read(&manager.0, share, before, &wanted)).catch_unwind();
            let read = match reading.await {
                Ok(read) => read.map_err(|error| error.full_text()),
                Err(panic) => Err(format!("the reading of state panicked: {}", panic_text(&*panic))),
            };
            let told = read.as_ref().map(Preloaded::bytes).map_err(String::clone);
            manager.keep(id, &wanted, read.ok());
            listener(told);
        });
    }

    /// Keeps what was read, if it is still wanted; what could not be read is not.
    fn keep(&self, id: AttemptId, wanted: &Weak<()>, read: Option<Preloaded>) {
        let mut preloads = self.0.preloads();
        if wanted.strong_count() == 0 {
            return;
        }
        match (preloads.get_mut(&id), read) {
            (Some(preloading), Some(read)) => preloading.read = Some(read),
            _ => drop(preloads.remove(&id)),
        }
    }

    /// Gives up what was read for an attempt.
    pub(super) fn forget(&self, id: AttemptId) {
        let preloading = self.0.preloads().remove(&id);
        drop(preloading);
    }

    /// Gives up what was read for attempts that may come; whether there was anything.
    pub fn forget_preloaded(&self) -> bool {
        let preloads = std::mem::take(&mut *self.0.preloads());
        !preloads.is_empty()
    }
}

impl Inner {
    fn preloads(&self) -> MutexGuard<'_, HashMap<AttemptId, Preloading>> {
        self.preloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was read for an attempt that takes so many slots.
    pub(super) fn take_preloaded(&self, id: AttemptId, slots: usize) -> Option<Preloaded> {
        let preloading = self.preloads().remove(&id)?;
        preloading.read.filter(|read| read.slots == slots)
    }
}

/// Reads a share's state beyond what was read before, one subtask after the other: the job goes on beside it.
async fn read(
    manager: &Inner,
    share: Deployment,
    before: Option<Preloaded>,
    wanted: &Weak<()>,
) -> Result<Preloaded, TaskError> {
    let options = &share.plan.options;
    let root = Root::open_existing(&share.restore_from, options).map_err(|e| TaskError::from(StateError::Store(e)))?;
    let mut preloaded = match before.filter(|before| before.slots == share.slots) {
        Some(before) => before,
        None => Preloaded {
            backend: JobContext::state_backend(options, share.slots, manager.slot_bytes)?,
            slots: share.slots,
            states: HashMap::new(),
        },
    };
    for of_operator in &share.states {
        for subtask in &of_operator.subtasks {
            let place = (of_operator.node, subtask.index);
            let before = preloaded.take(place.0, place.1);
            let read = read_subtask(&root, of_operator, subtask, before, &preloaded.backend, wanted).await?;
            preloaded.states.insert(place, read);
        }
    }
    Ok(preloaded)
}

async fn read_subtask(
    root: &Root,
    of_operator: &OperatorStates,
    subtask: &SubtaskRestore,
    before: PreloadedState,
    backend: &StateBackend,
    wanted: &Weak<()>,
) -> Result<PreloadedState, TaskError> {
    let state = load_beyond(root, &of_operator.operator, subtask, before).await?;
    let place = (of_operator.operator.max_parallelism, subtask.key_groups);
    let (backend, wanted) = (backend.clone(), wanted.clone());
    let filling = move || PreloadedState::fill(state, &backend, place, &|| wanted.strong_count() > 0);
    let filled = tokio::task::spawn_blocking(filling).await;
    let broken = |e| StateError::Broken(format!("the thread that read state ahead is gone: {e}"));
    Ok(filled.map_err(broken)??)
}
