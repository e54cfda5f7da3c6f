//! How jobs of this process are stopped: behind a last checkpoint or a savepoint, and never waited for without end.

use crate::error::LaunchError;
use crate::signals::StopSignal;
use flott_checkpoint::Root;
use flott_cluster::JobHandle;
use flott_core::Options;
use std::io::Write;
use std::time::Duration;

/// How long a stopped job may take for its last checkpoint before it is cancelled.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// How long its tasks may then take to end; what hangs longer ends with the process.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// Tries to write where jobs that are stopped shall leave a savepoint: before they start, and not when it is all that is wanted of them.
///
/// # Errors
/// If nothing can be written there.
pub async fn try_savepoint_dir(dir: &str, options: &Options) -> Result<(), LaunchError> {
    let probed = match Root::open(dir, options) {
        Ok(root) => root.probe().await,
        Err(error) => Err(error),
    };
    probed.map_err(|error| LaunchError::SavepointDir {
        dir: dir.to_owned(),
        // The store knows of folders for checkpoints only.
        reason: error
            .to_string()
            .replace("'execution.checkpointing.dir'", "--savepoint-on-stop"),
    })
}

/// Stops a job behind a savepoint, or behind a last checkpoint of its own, also where the savepoint is not taken; cancels it if that takes too long.
///
/// # Errors
/// If the savepoint or the last checkpoint was not taken; the job has ended all the same.
pub async fn stop(job: &JobHandle, savepoint_dir: Option<&str>) -> Result<(), LaunchError> {
    if job.status().is_globally_terminal_state() {
        return Ok(());
    }
    let mut failure = None;
    if let Some(dir) = savepoint_dir {
        match tokio::time::timeout(STOP_TIMEOUT, job.savepoint(Some(dir.to_owned()), true)).await {
            Ok(Ok(path)) => say(format_args!("savepoint: {path}")),
            Ok(Err(reason)) => failure = Some(reason),
            Err(_) => failure = Some(format!("it was not complete after {} s", STOP_TIMEOUT.as_secs())),
        }
    }
    if savepoint_dir.is_none() || failure.is_some() {
        job.stop();
    }
    let in_time = tokio::time::timeout(STOP_TIMEOUT, job.ended()).await.is_ok();
    if !in_time {
        job.cancel();
        let _ = tokio::time::timeout(CANCEL_TIMEOUT, job.ended()).await;
    }
    let job = job.name.clone();
    match failure {
        Some(reason) => Err(LaunchError::NoSavepoint { job, reason }),
        None if !in_time => Err(LaunchError::NoLastCheckpoint {
            job,
            seconds: STOP_TIMEOUT.as_secs(),
        }),
        None => Ok(()),
    }
}

/// Writes a line to standard error, if there still is one: what ends a process must not fail because nobody reads.
pub fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Ends a job at once, without a last checkpoint.
///
/// # Errors
/// If it hangs.
pub async fn cancel(job: &JobHandle) -> Result<(), LaunchError> {
    job.cancel();
    match tokio::time::timeout(STOP_TIMEOUT, job.ended()).await {
        Ok(_) => Ok(()),
        Err(_) => Err(LaunchError::Hangs {
            job: job.name.clone(),
            seconds: STOP_TIMEOUT.as_secs(),
        }),
    }
}

/// Stops several jobs at once.
///
/// # Errors
/// The first of [`stop`].
pub async fn stop_all(jobs: &[JobHandle], savepoint_dir: Option<&str>) -> Result<(), LaunchError> {
    let mut stopping = tokio::task::JoinSet::new();
    for job in jobs {
        let (job, dir) = (job.clone(), savepoint_dir.map(str::to_owned));
        stopping.spawn(async move { stop(&job, dir.as_deref()).await });
    }
    let mut result = Ok(());
    while let Some(stopped) = stopping.join_next().await {
        result = result.and(stopped.map_err(LaunchError::Stop).and_then(|r| r));
    }
    result
}

/// Stops several jobs at once, or ends them as they are if a second signal comes meanwhile.
///
/// # Errors
/// As [`stop_all`], or if that signal came.
pub async fn stop_all_or_end(
    jobs: &[JobHandle],
    savepoint_dir: Option<&str>,
    signals: &mut StopSignal,
) -> Result<(), LaunchError> {
    tokio::select! {
        stopped = stop_all(jobs, savepoint_dir) => stopped,
        () = signals.recv() => {
            for job in jobs {
                // Cancelled by somebody who wanted it to stop, it keeps its checkpoints.
                job.stop();
                job.cancel();
            }
            let all_ended = async {
                for job in jobs {
                    job.ended().await;
                }
            };
            let _ = tokio::time::timeout(CANCEL_TIMEOUT, all_ended).await;
            Err(LaunchError::SecondSignal)
        }
    }
}
