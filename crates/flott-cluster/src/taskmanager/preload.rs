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
    /// Who waits for that.
    listener: Option<PreloadListener>,
}

impl TaskManager {
    /// Reads the state of a share of an attempt that may come, as far as it has not. Needs Tokio.
    pub fn preload(&self, share: Deployment, listener: PreloadListener) {
        let id = share.id;
        let (wanted, before) = {
            let mut preloads = self.0.preloads();
            let preloading = preloads.entry(id).or_default();
            preloading.listener = Some(listener);
            (Arc::downgrade(&preloading.wanted), preloading.read.take())
        };
        let manager = self.clone();
        tokio::spawn(async move {
            let reading = AssertUnwindSafe(read(&manager.0, share, before, &wanted)).catch_unwind();
            let read = match reading.await {
                Ok(read) => read.map_err(|error| error.full_text()),
                Err(panic) => Err(format!("the reading of state panicked: {}", panic_text(&*panic))),
            };
            manager.keep(id, &wanted, read);
        });
    }

    /// Keeps what was read, and tells who waits for it. What is not wanted any more nobody waits for: the next may be read already.
    fn keep(&self, id: AttemptId, wanted: &Weak<()>, read: Result<Preloaded, String>) {
        let told = read.as_ref().map(Preloaded::bytes).map_err(String::clone);
        let mut preloads = self.0.preloads();
        let is_same = |preloading: &Preloading| std::ptr::eq(Arc::as_ptr(&preloading.wanted), wanted.as_ptr());
        let preloading = preloads.get_mut(&id).filter(|preloading| is_same(preloading));
        let Some(preloading) = preloading else {
            drop(preloads);
            return drop_aside(read);
        };
        let listener = preloading.listener.take();
        match read {
            Ok(read) => preloading.read = Some(read),
            Err(_) => drop(preloads.remove(&id)),
        }
        drop(preloads);
        if let Some(listener) = listener {
            listener(told);
        }
    }

    /// Gives up what was read for an attempt.
    pub(super) fn forget(&self, id: AttemptId) {
        let preloading = self.0.preloads().remove(&id);
        drop_aside(preloading);
    }

    /// Gives up what was read for attempts that may come; whether there was anything.
    pub fn forget_preloaded(&self) -> bool {
        let mut preloads = std::mem::take(&mut *self.0.preloads());
        for listener in preloads
            .values_mut()
            .filter_map(|preloading| preloading.listener.take())
        {
            listener(Err("the TaskManager has given it up".to_owned()));
        }
        let is_any = !preloads.is_empty();
        drop_aside(preloads);
        is_any
    }
}

impl Inner {
    fn preloads(&self) -> MutexGuard<'_, HashMap<AttemptId, Preloading>> {
        self.preloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was read for an attempt that takes so many slots.
    pub(super) fn take_preloaded(&self, id: AttemptId, slots: usize) -> Option<Preloaded> {
        let preloading = self.preloads().remove(&id)?;
        match preloading.read {
            Some(read) if read.slots == slots => Some(read),
            // Another form of the same attempt, or not all of it.
            other => {
                drop_aside(other);
                None
            }
        }
    }
}

/// Drops what has a store on a thread of its own, since that may wait for what the store still does: whoever gives it up must not.
fn drop_aside<T: Send + 'static>(gone: T) {
    // Where there is no thread the closure is dropped here, and with it what it holds.
    let _ = std::thread::Builder::new()
        .name("forget-preloaded".to_owned())
        .spawn(move || drop(gone));
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
