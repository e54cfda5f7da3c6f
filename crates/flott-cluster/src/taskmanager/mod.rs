//! The TaskManager: runs its share of every attempt that a job master deploys to it.
//!
//! It knows no job beyond its attempts. Each attempt is an actor ([`attempt`]) that loads state, starts the tasks' threads and passes
//! orders on, in order; what tasks tell goes straight to who deployed them. State is read and written here ([`state`]), never by
//! the job master: so checkpoints and restores take place where the data is.
//!
//! A JobManager and its TaskManagers in one process are the same code, with values in place of messages.

mod attempt;
mod cancellation;
mod preload;
mod state;

pub use state::load_states;
pub(crate) use state::{LARGEST_INLINE_BYTES, write_part};

use crate::coordinator::SubtaskId;
use crate::protocol::{AttemptId, Deployment, HeldAttempt, Order, Report};
use crate::stats::TaskView;
use flott_core::clock::SharedClock;
use flott_runtime::Registry;
use flott_runtime::error::panic_text;
use flott_runtime::exchange::ExchangeService;
use flott_runtime::metrics::TaskReading;
use flott_runtime::task::TaskCommand;
use flott_runtime::{FailureLabel, TaskError};
use futures::FutureExt;
use std::collections::HashMap;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use preload::Preloading;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;

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
    /// State that was read for attempts that may come.
    preloads: Mutex<HashMap<AttemptId, Preloading>>,
    /// Memory of a slot for state that is bounded, if the process has a bound.
    slot_bytes: Option<u64>,
    /// Why the process must end, for who runs it as a TaskManager's own.
    fatal: watch::Sender<Option<String>>,
}

/// An attempt's share that runs here.
struct Running {
    here: Vec<SubtaskId>,
    inbox: UnboundedSender<Order>,
    counters: Counters,
    watched: Arc<Mutex<Watched>>,
}

impl Running {
    /// What its tasks hold, in bytes; of one that is still reading its state nobody knows, and it may be anything.
    fn state_bytes(&self) -> i64 {
        let sum = |tasks: &Vec<TaskView>| tasks.iter().map(|(_, _, metrics)| metrics.state_bytes.get()).sum();
        self.counters.get().map_or(i64::MAX, sum)
    }

    /// The subtask that holds the most, and that as people say it.
    fn largest_state(&self, id: AttemptId) -> (Option<SubtaskId>, String) {
        let Some(tasks) = self.counters.get() else {
            return (self.here.first().copied(), format!("{id} is reading its state"));
        };
        let largest = tasks.iter().max_by_key(|(_, _, metrics)| metrics.state_bytes.get());
        let Some((subtask, info, metrics)) = largest else {
            return (None, String::new());
        };
        let held = format!(
            "{} mb are state of '{}' ({}/{}) of job '{}'",
            metrics.state_bytes.get() >> 20,
            info.task_name,
            info.subtask + 1,
            info.parallelism,
            info.job_name
        );
        (Some(*subtask), held)
    }
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
        Self::bounded(registry, clock, exchange, None)
    }

    /// The same where state that can be bounded has so many bytes in each slot, unless the job says how many.
    pub fn bounded(
        registry: Arc<Registry>,
        clock: SharedClock,
        exchange: Option<ExchangeService>,
        slot_bytes: Option<u64>,
    ) -> Self {
        Self(Arc::new(Inner {
            registry,
            clock,
            exchange,
            attempts: Mutex::default(),
            preloads: Mutex::default(),
            slot_bytes,
            fatal: watch::Sender::new(None),
        }))
    }

    /// Waits for an error after which the process is of no use: a task that cannot be ended. Who waits says that the process is a
    /// TaskManager's own, and ends it then.
    pub fn fatal_error(&self) -> impl Future<Output = String> + use<> {
        let mut fatal = self.0.fatal.subscribe();
        async move {
            let why = fatal.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
            match why {
                Some(why) => why,
                // The TaskManager is gone.
                None => pending().await,
            }
        }
    }

    /// Whether the process is a TaskManager's own, which a fatal error ends.
    fn is_own_process(&self) -> bool {
        self.0.fatal.receiver_count() > 0
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
        let here = attempt::subtasks_here(&deployment);
        let running = Running {
            here: here.clone(),
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
        let manager = self.clone();
        // Before anybody says that it is needed no more.
        let preloaded = self.0.take_preloaded(id, deployment.slots);
        tracing::info!(job = %id.job, attempt = id.attempt, "Received {} tasks of {id}.", here.len());
        tokio::spawn(async move {
            let running = attempt::run(&manager, (deployment, preloaded), listener.clone(), inbox, &counters);
            if let Err(panic) = AssertUnwindSafe(running).catch_unwind().await {
                let text = format!("the deployment of tasks panicked: {}", panic_text(&*panic));
                attempt::fail(&here, &listener, &TaskError::internal(text).into());
            }
            manager.attempts().remove(&id);
        });
    }

    /// Passes an order on to an attempt. One that is over does not hear.
    pub fn order(&self, attempt: AttemptId, order: Order) {
        if matches!(order, Order::ForgetPreloaded) {
            return self.forget(attempt);
        }
        if let Some(running) = self.attempts().get(&attempt) {
            if let Some(held) = &mut lock(&running.watched).held {
                held.ordered(&order);
            }
            let _ = running.inbox.send(order);
        }
    }

    /// Fails the attempt whose state takes the most memory here, but for those that are `spared`: which one, if there is one. `why` makes the
    /// cause of what is said of that state.
    pub fn fail_largest(&self, spared: &[AttemptId], why: impl FnOnce(&str) -> String) -> Option<AttemptId> {
        let attempts = self.attempts();
        let candidates = attempts.iter().filter(|(id, _)| !spared.contains(id));
        let (id, running) = candidates.max_by_key(|(id, running)| (running.state_bytes(), **id))?;
        let (subtask, holder) = running.largest_state(*id);
        let command = TaskCommand::Fail(FailureLabel::Resources, why(&holder));
        let _ = running.inbox.send(Order::Task(subtask?, command));
        Some(*id)
    }

    /// Everything that runs here, for a JobManager that may take it over; what its tasks tell from now on `listener` hears.
    pub fn hand_over(&self, listener: impl Fn(AttemptId) -> Listener) -> Vec<HeldAttempt> {
        self.forget_preloaded();
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
        self.forget_preloaded();
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
