//! Jobs in this process: what they can use, and how a person's signals reach them.

use crate::collect::{CollectConnector, Rows};
use anyhow::{Result, bail};
use flott_cluster::{JobHandle, JobStatus};
use flott_runtime::Registry;
use std::time::Duration;

/// How long a stopped job may take for its last checkpoint before it is cancelled.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// Everything that this build can run, with SELECTs printing to `rows`.
pub fn registry(rows: &Rows) -> Registry {
    let mut registry = flott::registry();
    registry.connector(CollectConnector::new(rows.clone()));
    registry
}

/// Waits until a person or a system wants the process to end.
pub async fn stop_signal() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Stops a job behind a savepoint, or behind a last checkpoint of its own; cancels it if that takes too long.
pub async fn stop(job: &JobHandle, savepoint_dir: Option<&str>) -> Result<()> {
    if let Some(dir) = savepoint_dir {
        match tokio::time::timeout(STOP_TIMEOUT, job.savepoint(Some(dir.to_owned()), true)).await {
            Ok(Ok(path)) => eprintln!("savepoint: {path}"),
            Ok(Err(reason)) => {
                job.cancel();
                job.ended().await;
                bail!("the job was stopped without a savepoint: {reason}");
            }
            Err(_) => {
                job.cancel();
                job.ended().await;
                bail!("the job was stopped without a savepoint: it was not complete after {STOP_TIMEOUT:?}");
            }
        }
    } else {
        job.stop();
    }
    if tokio::time::timeout(STOP_TIMEOUT, job.ended()).await.is_err() {
        job.cancel();
        job.ended().await;
    }
    Ok(())
}

/// The end of a job as the process's result.
pub fn result(job: &JobHandle, status: JobStatus) -> Result<()> {
    if status == JobStatus::Failed {
        bail!("job '{}' {status}: {}", job.name, job.stats.failure().unwrap_or_default());
    }
    Ok(())
}
