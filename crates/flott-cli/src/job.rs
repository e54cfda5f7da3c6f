//! Jobs in this process: what they can use, and how a person's signals reach them.

use crate::collect::{CollectConnector, Rows};
use anyhow::{Context, Result, bail};
use flott_cluster::restart::RestartStrategy;
use flott_cluster::settings::CheckpointSettings;
use flott_cluster::{JobHandle, JobStatus};
use flott_core::Options;
use flott_runtime::Registry;
use std::sync::OnceLock;
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

/// Ctrl-C, SIGTERM, and SIGHUP where it is not ignored (as `nohup` has it), noticed from its making on.
#[derive(Debug)]
pub struct StopSignal {
    end: EndSignal,
    interrupt: Interrupt,
}

/// Ctrl-C.
#[derive(Debug)]
pub struct Interrupt(Signal);

impl Interrupt {
    /// Begins to notice; needs the asynchronous runtime.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new() -> Result<Self> {
        listen(SignalKind::interrupt()).map(Self)
    }

    /// Waits for it. Cancel-safe.
    pub async fn recv(&mut self) {
        self.0.recv().await;
    }
}

/// SIGTERM and SIGHUP: not one query, but the process is to end.
#[derive(Debug)]
pub struct EndSignal {
    terminate: Signal,
    hang_up: Option<Signal>,
}

impl EndSignal {
    /// Begins to notice; needs the asynchronous runtime.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new() -> Result<Self> {
        // Asked once: listening takes the place of what was set before.
        static HEEDS_HANG_UP: OnceLock<bool> = OnceLock::new();
        let hang_up = HEEDS_HANG_UP.get_or_init(|| !ignores_hang_up());
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            hang_up: match hang_up {
                true => Some(listen(SignalKind::hangup())?),
                false => None,
            },
        })
    }

    /// Waits until the process is to end. Cancel-safe.
    pub async fn recv(&mut self) {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = hang_up => {}
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).context("signals cannot be listened for")
}

/// Whether whoever started the process had it ignore SIGHUP; only Linux tells.
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|l| l.starts_with("SigIgn:") && is_hang_up_in(l))
}

/// Whether SIGHUP, the lowest bit, is in the mask that a line ends with.
fn is_hang_up_in(line: &str) -> bool {
    let last = line.trim_end().chars().last().and_then(|c| c.to_digit(16));
    last.is_some_and(|digit| digit & 1 == 1)
}

impl StopSignal {
    /// Begins to notice; needs the asynchronous runtime.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new() -> Result<Self> {
        Ok(Self {
            end: EndSignal::new()?,
            interrupt: Interrupt::new()?,
        })
    }

    /// Waits until a person or a system wants the process to end. Cancel-safe.
    pub async fn recv(&mut self) {
        tokio::select! {
            () = self.end.recv() => {}
            () = self.interrupt.recv() => {}
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

/// Stops several jobs at once, or ends them as they are if a second signal comes meanwhile.
pub async fn stop_all_or_end(jobs: &[JobHandle], savepoint_dir: Option<&str>, signals: &mut StopSignal) -> Result<()> {
    tokio::select! {
        stopped = stop_all(jobs, savepoint_dir) => stopped,
        () = signals.recv() => {
            jobs.iter().for_each(JobHandle::cancel);
            let all_ended = async {
                for job in jobs {
                    job.ended().await;
                }
            };
            let _ = tokio::time::timeout(CANCEL_TIMEOUT, all_ended).await;
            bail!("a second signal came: the jobs were ended as they were, without a last checkpoint")
        }
    }
}

/// Judges the options of a job that planning does not read, as a start does.
///
/// # Errors
/// If one has a value that it cannot have.
pub fn check_options(options: &Options) -> Result<()> {
    let settings = CheckpointSettings::from_options(options)?;
    RestartStrategy::from_options(options, settings.interval_ms.is_some())?;
    crate::metrics::check(options)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_up_is_ignored_where_it_was_before() {
        assert!(is_hang_up_in("SigIgn:\t0000000000000001"));
        assert!(is_hang_up_in("SigIgn:\t000000000000100b\n"));
        assert!(!is_hang_up_in("SigIgn:\t0000000000001000"));
        assert!(!is_hang_up_in("SigIgn:"));
    }

    #[test]
    fn what_a_start_refuses_a_check_refuses() {
        let wrong = |key: &str, value: &str| {
            let options: Options = [(key, value)].into_iter().collect();
            check_options(&options).unwrap_err().to_string()
        };
        assert!(wrong("restart-strategy.type", "sometimes").contains("fixed-delay"));
        assert!(wrong("restart-strategy", "sometimes").contains("fixed-delay"));
        assert!(wrong("execution.checkpointing.num-retained", "0").contains("at least 1"));
        assert!(wrong("metrics.reporter.prom.port", "nine").contains("9249-9260"));
    }
}
