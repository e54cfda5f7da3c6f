//! What can go wrong with a harness.

use flott_datastream::ExecuteError;

/// A harness could not be opened, or what runs in it failed.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// What it runs is no job.
    #[error(transparent)]
    Program(#[from] ExecuteError),
    /// An operator could not be opened or restored, or a snapshot not be taken.
    #[error(transparent)]
    Job(#[from] flott_cluster::ClusterError),
    /// An operator failed, with the record that it worked on.
    #[error("{0}")]
    Failed(String),
    /// The asynchronous runtime cannot be started.
    #[error("the asynchronous runtime cannot be started: {0}")]
    Runtime(#[source] std::io::Error),
    /// There is no folder for a snapshot.
    #[error("no folder for a snapshot can be made: {0}; is the folder of temporary files writable?")]
    Folder(#[source] std::io::Error),
    /// Time was to go back.
    #[error("processing time is {now_ms} and cannot go back to {asked_ms}")]
    Clock {
        /// What the clock shows.
        now_ms: i64,
        /// What was asked for.
        asked_ms: i64,
    },
    /// Something from outside did not come.
    #[error("waited {waited_s} s for {wanted} outputs; there are {found}")]
    Waited {
        /// How long, in seconds.
        waited_s: u64,
        /// For how many.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// An input was used after its end.
    #[error("the input has ended: open another harness, from a snapshot if its state shall go on")]
    Ended,
}

impl From<flott_runtime::TaskError> for HarnessError {
    fn from(error: flott_runtime::TaskError) -> Self {
        Self::Failed(error.full_text())
    }
}
