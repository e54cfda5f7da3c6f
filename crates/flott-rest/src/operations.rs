//! Operations that outlive the request that triggers them: each is asked for by its trigger id until it has ended.
//!
//! The client may bring the trigger id: a trigger that is repeated, because its answer was lost, starts nothing. Ended operations are
//! remembered for 5 minutes (Flink's `rest.async.store-duration`). A server that ends waits for a moment until all were asked for
//! ([`Operations::all_told`]): a job that stops behind a savepoint may end its cluster.

use crate::error::RestError;
use axum::http::StatusCode;
use flott_core::JobId;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long the result of an operation can be asked for.
const REMEMBERED: Duration = Duration::from_secs(300);

/// What names an operation, beside what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TriggerId(pub(crate) u128);

impl TriggerId {
    /// One that nobody else has.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub(crate) fn random() -> Result<Self, RestError> {
        let mut bytes = [0; 16];
        let drawn = getrandom::fill(&mut bytes);
        drawn
            .map_err(|error| RestError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("no random number: {error}")))?;
        Ok(Self(u128::from_ne_bytes(bytes)))
    }
}

impl fmt::Display for TriggerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What an operation does; ids of different ones have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// A savepoint of a job, with or without its end.
    Savepoint(JobId),
    /// A checkpoint of a job.
    Checkpoint(JobId),
    /// The disposal of a savepoint.
    Disposal,
}

#[derive(Debug)]
enum Progress {
    InProgress,
    Ended {
        result: Value,
        at: Instant,
        /// Whether somebody has asked for the result.
        is_told: bool,
    },
}

type Known = HashMap<(Target, TriggerId), Progress>;

/// Operations that run or have ended lately. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Operations(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<Known>,
    /// A result was asked for.
    told: Notify,
}

impl Operations {
    fn lock(&self) -> MutexGuard<'_, Known> {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, progress| match progress {
            Progress::InProgress => true,
            Progress::Ended { at, .. } => at.elapsed() < REMEMBERED,
        });
        known
    }

    /// Starts an operation, unless it is known already. `work` gives what the client gets; `lost` what it gets if that panics.
    pub(crate) fn start(
        &self,
        target: Target,
        trigger: TriggerId,
        work: impl Future<Output = Value> + Send + 'static,
        lost: impl FnOnce(String) -> Value + Send + 'static,
    ) {
        let key = (target, trigger);
        let mut known = self.lock();
        if known.contains_key(&key) {
            return;
        }
        known.insert(key, Progress::InProgress);
        drop(known);
        let operations = self.clone();
        tokio::spawn(async move {
            let ended = tokio::spawn(work).await;
            let result = ended.unwrap_or_else(|error| lost(format!("the operation was lost: {error}")));
            let ended = Progress::Ended {
                result,
                at: Instant::now(),
                is_told: false,
            };
            operations.lock().insert(key, ended);
        });
    }

    /// How far an operation is, in Flink's form; `None`: there is none.
    pub(crate) fn progress(&self, target: Target, trigger: TriggerId) -> Option<Value> {
        Some(match self.lock().get_mut(&(target, trigger))? {
            Progress::InProgress => json!({ "status": { "id": "IN_PROGRESS" }, "operation": null }),
            Progress::Ended { result, is_told, .. } => {
                *is_told = true;
                self.0.told.notify_waiters();
                json!({ "status": { "id": "COMPLETED" }, "operation": result })
            }
        })
    }

    /// Waits until every operation has ended and its result was asked for. Cancel-safe.
    pub(crate) async fn all_told(&self) {
        loop {
            let told = self.0.told.notified();
            tokio::pin!(told);
            // From here on nothing is missed.
            told.as_mut().enable();
            let is_told = |progress: &Progress| matches!(progress, Progress::Ended { is_told: true, .. });
            if self.lock().values().all(is_told) {
                return;
            }
            told.await;
        }
    }
}
