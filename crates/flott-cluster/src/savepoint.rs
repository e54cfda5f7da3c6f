//! Savepoints on their way: each waits for its checkpoint, is a copy of that, and answers who wanted it.

use crate::job_state::Failure;
use crate::storage::{RestorePoint, Storage};
use flott_checkpoint::Savepoint;
use flott_runtime::TaskError;
use tokio::sync::oneshot;

/// Gets a savepoint's path, or why there is none.
pub(crate) type SavepointAnswer = oneshot::Sender<Result<String, String>>;

/// A savepoint that waits for its checkpoint.
pub(crate) struct WantedSavepoint {
    place: Savepoint,
    answer: SavepointAnswer,
}

impl WantedSavepoint {
    pub(crate) fn new(place: Savepoint, answer: SavepointAnswer) -> Self {
        Self { place, answer }
    }

    /// Where it will be.
    pub(crate) fn path(&self) -> String {
        self.place.path()
    }

    /// Gives it up.
    pub(crate) async fn give_up(self, reason: String) {
        if let Err(error) = self.place.abandon().await {
            tracing::warn!(%error, path = self.place.path(), "an unfinished savepoint could not be deleted");
        }
        let _ = self.answer.send(Err(reason));
    }

    /// It is there; if the job was to stop behind it, it has.
    pub(crate) fn written(self) {
        let path = self.place.path();
        let _ = self.answer.send(Ok(path));
    }

    /// It is there, and the job does not stop behind it.
    pub(crate) fn not_stopped(self, why: &str) {
        let path = self.place.path();
        let text = format!("{path} was written, but before the job could stop behind it, {why}");
        let _ = self.answer.send(Err(text));
    }

    /// Copies the checkpoint whose sinks are committed, and answers; where the job stops behind it the answer waits for that. A
    /// job that was to stop behind its savepoint, and has none, is started again; one that runs on is not troubled. `told` hears whether it
    /// is there, or why not.
    pub(crate) async fn take(
        self,
        storage: &Storage,
        point: &RestorePoint,
        committed: Result<(), Failure>,
        stops: bool,
        told: impl FnOnce(Result<(), &str>),
    ) -> Result<Option<Self>, Failure> {
        if let Err(failure) = committed {
            told(Err(&failure.text));
            self.give_up(failure.text.clone()).await;
            return Err(failure);
        }
        let Err(error) = storage.copy(point, &self.place).await else {
            told(Ok(()));
            if stops {
                return Ok(Some(self));
            }
            self.written();
            return Ok(None);
        };
        let text = format!("the savepoint {} could not be written: {error}", self.place.path());
        told(Err(&text));
        self.give_up(text.clone()).await;
        if stops {
            return Err(Failure {
                text,
                retryable: true,
                ..TaskError::from(error).into()
            });
        }
        tracing::warn!("{text}");
        Ok(None)
    }
}
