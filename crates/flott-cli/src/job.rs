//! Jobs in this process: what they can use, and how a person's signals reach them.

use crate::collect::{CollectConnector, Rows};
use anyhow::{Context, Result, bail};
use flott_cluster::{JobHandle, JobStatus};
use flott_runtime::Registry;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long a stopped job may take for its last checkpoint before it is cancelled.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// How long its tasks may then take to end; what hangs longer ends with the process.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// Everything that this build can run, with SELECTs printing to `rows`.
pub fn registry(rows: &Rows) -> Registry {
    let mut registry = flott::registry();
    registry.connector(CollectConnector::new(rows.clone()));
    registry
}

/// Ctrl-C and SIGTERM, noticed from its making on.
#[derive(Debug)]
pub struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignal {
    /// Begins to notice; needs the asynchronous runtime.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened for");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits until a person or a system wants the process to end. Cancel-safe.
    pub async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Stops a job behind a savepoint, or behind a last checkpoint of its own; cancels it if that takes too long.
pub async fn stop(job: &JobHandle, savepoint_dir: Option<&str>) -> Result<()> {
    let mut failure = None;
    if job.status().is_terminal() {
        return Ok(());
    }
    if let Some(dir) = savepoint_dir {
        match tokio::time::timeout(STOP_TIMEOUT, job.savepoint(Some(dir.to_owned()), true)).await {
            Ok(Ok(path)) => eprintln!("savepoint: {path}"),
            Ok(Err(reason)) => failure = Some(reason),
            Err(_) => failure = Some(format!("it was not complete after {} s", STOP_TIMEOUT.as_secs())),
        }
    } else {
        job.stop();
    }
    if failure.is_some() || tokio::time::timeout(STOP_TIMEOUT, job.ended()).await.is_err() {
        job.cancel();
        let _ = tokio::time::timeout(CANCEL_TIMEOUT, job.ended()).await;
    }
    if let Some(reason) = failure {
        bail!("job '{}' was stopped without a savepoint: {reason}", job.name);
    }
    Ok(())
}

/// Ends a job at once, without a last checkpoint.
pub async fn cancel(job: &JobHandle) -> Result<()> {
    job.cancel();
    match tokio::time::timeout(STOP_TIMEOUT, job.ended()).await {
        Ok(_) => Ok(()),
        Err(_) => bail!(
            "job '{}' has not ended {} s after it was cancelled",
            job.name,
            STOP_TIMEOUT.as_secs()
        ),
    }
}

/// Stops several jobs at once.
pub async fn stop_all(jobs: &[JobHandle], savepoint_dir: Option<&str>) -> Result<()> {
    let mut stopping = tokio::task::JoinSet::new();
    for job in jobs {
        let (job, dir) = (job.clone(), savepoint_dir.map(str::to_owned));
        stopping.spawn(async move { stop(&job, dir.as_deref()).await });
    }
    let mut result = Ok(());
    while let Some(stopped) = stopping.join_next().await {
        result = result.and(stopped.context("a job could not be stopped").and_then(|r| r));
    }
    result
}

/// The end of a job as the process's result.
pub fn result(job: &JobHandle, status: JobStatus) -> Result<()> {
    if status == JobStatus::Failed {
        bail!(
            "job '{}' {status}: {}",
            job.name,
            job.stats.failure().unwrap_or_default()
        );
    }
    Ok(())
}
