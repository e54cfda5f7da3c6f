//! The TaskManager: runs its share of every attempt that a job master deploys to it.
//!
//! It knows no job beyond its attempts. Each attempt is an actor ([`attempt`]) that loads state, starts the tasks' threads and passes
//! orders on, in order; what tasks tell goes straight to who deployed them. State is read and written here ([`state`]), never by
//! the job master: so checkpoints and restores take place where the data is.
//!
//! A JobManager and its TaskManagers in one process are the same code, with values in place of messages.

mod attempt;
mod state;

pub use state::load_states;
pub(crate) use state::{LARGEST_INLINE_BYTES, write_part};

use crate::coordinator::SubtaskId;
use crate::protocol::{AttemptId, Deployment, HeldAttempt, Order, Report};
use crate::stats::TaskView;
use flott_core::clock::SharedClock;
use flott_runtime::Registry;
use flott_runtime::TaskError;
use flott_runtime::error::panic_text;
use flott_runtime::exchange::ExchangeService;
use flott_runtime::metrics::TaskReading;
use flott_runtime::task::TaskCommand;
use futures::FutureExt;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Hears what subtasks tell. Called from any thread; must not wait.
pub type Listener = Arc<dyn Fn(SubtaskId, Report) + Send + Sync>;

/// What runs tasks in this process. Cloning shares it.
#[derive(Clone)]
pub struct TaskManager(Arc<Inner>);

struct Inner {
    registry: Arc<Registry>,
    clock: SharedClock,
    /// How other TaskManagers reach this one; none if there are no others.
    exchange: Option<ExchangeService>,
    attempts: Mutex<HashMap<AttemptId, Running>>,
}

/// An attempt's share that runs here.
struct Running {
    inbox: UnboundedSender<Order>,
    counters: Counters,
    watched: Arc<Mutex<Watched>>,
}

/// Who hears of an attempt.
struct Watched {
    listener: Listener,
    /// What the next JobManager must know; none within a process, which no other one takes over.
    held: Option<HeldAttempt>,
}

fn lock(watched: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counters of the tasks of an attempt, once they are built.
type Counters = Arc<OnceLock<Vec<TaskView>>>;

impl TaskManager {
    /// A TaskManager that runs the kinds of `registry`; `exchange` joins it with others.
    pub fn new(registry: Arc<Registry>, clock: SharedClock, exchange: Option<ExchangeService>) -> Self {
        Self(Arc::new(Inner {
            registry,
            clock,
            exchange,
            attempts: Mutex::default(),
        }))
    }

    fn attempts(&self) -> MutexGuard<'_, HashMap<AttemptId, Running>> {
        self.0.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a share of an attempt: at once, if its state need not be read first. Needs Tokio.
    ///
    /// What becomes of it the reports tell: every subtask of the share reports `Ended` or `Failed` in the end, also where none could be
    /// started.
    pub fn deploy(&self, deployment: Deployment, listener: Listener) {
        let (sender, inbox) = unbounded_channel();
        let (id, counters) = (deployment.id, Counters::default());
        let held = deployment.within.is_none().then(|| HeldAttempt::of(&deployment));
        let watched = Arc::new(Mutex::new(Watched { listener, held }));
        let running = Running {
            inbox: sender,
            counters: counters.clone(),
            watched: watched.clone(),
        };
        // In one order for who listens now and for who takes over.
        let listener: Listener = Arc::new(move |subtask, report| {
            let mut watched = lock(&watched);
            if let Some(held) = &mut watched.held {
                held.reported(subtask, &report);
            }
            (watched.listener)(subtask, report);
        });
        self.attempts().insert(id, running);
        let (manager, here) = (self.clone(), attempt::subtasks_here(&deployment));
        tracing::info!(job = %id.job, attempt = id.attempt, "Received {} tasks of {id}.", here.len());
        tokio::spawn(async move {
            let running = attempt::run(&manager, deployment, listener.clone(), inbox, &counters);
            if let Err(panic) = AssertUnwindSafe(running).catch_unwind().await {
                let text = format!("the deployment of tasks panicked: {}", panic_text(&*panic));
                attempt::fail(&here, &listener, &TaskError::internal(text).into());
            }
            manager.attempts().remove(&id);
        });
    }

    /// Passes an order on to an attempt. One that is over does not hear.
    pub fn order(&self, attempt: AttemptId, order: Order) {
        if let Some(running) = self.attempts().get(&attempt) {
            if let Some(held) = &mut lock(&running.watched).held {
                held.ordered(&order);
            }
            let _ = running.inbox.send(order);
        }
    }

    /// Everything that runs here, for a JobManager that may take it over; what its tasks tell from now on `listener` hears.
    pub fn hand_over(&self, listener: impl Fn(AttemptId) -> Listener) -> Vec<HeldAttempt> {
        let attempts = self.attempts();
        let hand_over = |(id, running): (&AttemptId, &Running)| {
            let mut watched = lock(&running.watched);
            watched.listener = listener(*id);
            watched.held.clone()
        };
        attempts.iter().filter_map(hand_over).collect()
    }

    /// Whether anything runs here.
    pub fn is_idle(&self) -> bool {
        self.attempts().is_empty()
    }

    /// Cancels all attempts, which nobody orders any more.
    pub fn cancel_all(&self) {
        for running in self.attempts().values() {
            let _ = running.inbox.send(Order::Tasks(TaskCommand::Cancel));
            let _ = running.inbox.send(Order::Release);
        }
    }

    /// What the tasks of every attempt have counted.
    pub fn readings(&self) -> Vec<(AttemptId, Vec<(SubtaskId, TaskReading)>)> {
        let read = |(id, _, metrics): &TaskView| (*id, metrics.read());
        let of_attempt = |(id, tasks): (AttemptId, Vec<TaskView>)| (id, tasks.iter().map(read).collect());
        self.views().into_iter().map(of_attempt).collect()
    }

    /// The tasks of every attempt, with their counters.
    pub fn views(&self) -> Vec<(AttemptId, Vec<TaskView>)> {
        let attempts = self.attempts();
        let of_attempt = |(id, running): (&AttemptId, &Running)| Some((*id, running.counters.get()?.clone()));
        attempts.iter().filter_map(of_attempt).collect()
    }
}
