//! What an attempt has in one process: the channels that wait for their peers, the connections, and whom a failure is told.

use super::{ExchangeId, OPEN_TIMEOUT};
use crate::error::TaskError;
use crate::exchange::channel::Incoming;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// An incoming channel.
#[derive(Debug)]
enum Slot {
    /// Nobody has connected for it.
    Free(Incoming),
    /// The peer of this name has.
    Fed(String),
}

type OnFailure = Box<dyn Fn(TaskError) + Send + Sync>;

/// An open attempt. [`Attempt::close`] ends its connections, which hold it in turn.
pub(super) struct Attempt {
    here: String,
    incoming: Mutex<HashMap<u32, Slot>>,
    /// Gone once a failure was told, or the attempt is closed.
    on_failure: Mutex<Option<OnFailure>>,
    /// `None` once it is closed.
    connections: Mutex<Option<JoinSet<()>>>,
}

impl Attempt {
    pub(super) fn new(
        here: &str,
        incoming: Vec<(u32, Incoming)>,
        on_failure: impl Fn(TaskError) + Send + Sync + 'static,
    ) -> Self {
        let incoming = incoming
            .into_iter()
            .map(|(number, channel)| (number, Slot::Free(channel)));
        Self {
            here: here.to_owned(),
            incoming: Mutex::new(incoming.collect()),
            on_failure: Mutex::new(Some(Box::new(on_failure))),
            connections: Mutex::new(Some(JoinSet::new())),
        }
    }

    /// This TaskManager's id.
    pub(super) fn here(&self) -> &str {
        &self.here
    }

    /// Hands the channels of these numbers to a peer: all of them, or none and a text that says why.
    pub(super) fn claim(&self, numbers: &[u32], peer: &str) -> Result<Vec<(u32, Incoming)>, String> {
        let mut incoming = lock(&self.incoming);
        let mut asked = HashSet::with_capacity(numbers.len());
        for number in numbers {
            match incoming.get(number) {
                Some(Slot::Free(_)) if asked.insert(*number) => {}
                Some(Slot::Free(_)) => return Err(format!("channel {number} is named twice")),
                Some(Slot::Fed(other)) => {
                    return Err(format!("channel {number} is fed by TaskManager {other} already"));
                }
                None => return Err(format!("TaskManager {} knows no channel {number}", self.here)),
            }
        }
        let claim = |number: &u32| match incoming.insert(*number, Slot::Fed(peer.to_owned())) {
            Some(Slot::Free(channel)) => Some((*number, channel)),
            _ => None,
        };
        Ok(numbers.iter().filter_map(claim).collect())
    }

    /// Runs a connection until the attempt is closed; not at all if it is.
    pub(super) fn spawn(&self, runtime: &Handle, connection: impl Future<Output = ()> + Send + 'static) {
        if let Some(connections) = lock(&self.connections).as_mut() {
            connections.spawn_on(connection, runtime);
        }
    }

    /// Tells a failure, if it is the first and the attempt is open.
    pub(super) fn fail(&self, error: TaskError) {
        // Not under the lock: whoever is told may drop the guard.
        let on_failure = lock(&self.on_failure).take();
        match on_failure {
            Some(on_failure) => on_failure(error),
            None => tracing::debug!(
                error = error.full_text(),
                "another connection of a failed attempt is lost"
            ),
        }
    }

    /// Closes all connections; nothing is told from now on.
    pub(super) fn close(&self) {
        drop(lock(&self.on_failure).take());
        drop(lock(&self.connections).take());
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("here", &self.here)
            .finish_non_exhaustive()
    }
}

/// The attempts that are open in this process.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    open: Mutex<HashMap<ExchangeId, Arc<Attempt>>>,
    opened: Notify,
}

impl Attempts {
    /// Adds an attempt, unless one of that id is open.
    pub(super) fn insert(&self, id: ExchangeId, attempt: &Arc<Attempt>) -> bool {
        let is_new = {
            let mut open = lock(&self.open);
            let is_new = !open.contains_key(&id);
            if is_new {
                open.insert(id, attempt.clone());
            }
            is_new
        };
        self.opened.notify_waiters();
        is_new
    }

    /// Removes this attempt, and no other one of the same id.
    pub(super) fn remove(&self, id: ExchangeId, attempt: &Arc<Attempt>) {
        let mut open = lock(&self.open);
        if open.get(&id).is_some_and(|a| Arc::ptr_eq(a, attempt)) {
            open.remove(&id);
        }
    }

    /// The attempt, as soon as it is open; `None` after [`OPEN_TIMEOUT`].
    pub(super) async fn wait_for(&self, id: ExchangeId) -> Option<Arc<Attempt>> {
        let deadline = Instant::now() + OPEN_TIMEOUT;
        loop {
            let mut opened = std::pin::pin!(self.opened.notified());
            // Registered before we look, so that what is opened in between is not missed.
            opened.as_mut().enable();
            if let Some(attempt) = lock(&self.open).get(&id) {
                return Some(attempt.clone());
            }
            timeout_at(deadline, opened).await.ok()?;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
