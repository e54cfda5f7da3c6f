//! Jobs in this process: what they can use, whether they can be started, and how they have ended.

use crate::collect::{CollectConnector, Rows};
use anyhow::{Result, bail};
use flott_cluster::restart::RestartStrategy;
use flott_cluster::settings::{CheckpointSettings, ClaimMode};
use flott_cluster::{JobHandle, JobStatus};
use flott_core::Options;
use flott_launch::{metrics, traces};
use flott_plan::Plan;
use flott_runtime::Registry;

/// Everything that this build can run, with SELECTs printing to `rows`.
pub fn registry(rows: &Rows) -> Registry {
    let mut registry = flott::registry();
    registry.connector(CollectConnector::new(rows.clone()));
    registry
}

/// Whose the state is that a job starts from.
#[derive(Debug, clap::Args)]
pub struct ClaimArgs {
    /// Whose the checkpoint or savepoint at the path is: the job's, which deletes it once newer checkpoints supersede it (CLAIM), or not
    /// (NO_CLAIM, the default).
    #[arg(long, value_name = "MODE", aliases = ["claimMode", "restoreMode"])]
    pub claim_mode: Option<String>,
}

impl ClaimArgs {
    /// Sets the option of a job, if the command line says something.
    pub fn set(&self, plan: &mut Plan) {
        if let Some(mode) = &self.claim_mode {
            plan.options.set(ClaimMode::KEY, mode);
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
    traces::check(options)?;
    Ok(metrics::check(options)?)
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
    fn what_a_start_refuses_a_check_refuses() {
        let wrong = |key: &str, value: &str| {
            let options: Options = [(key, value)].into_iter().collect();
            check_options(&options).unwrap_err().to_string()
        };
        assert!(wrong("restart-strategy.type", "sometimes").contains("fixed-delay"));
        assert!(wrong("restart-strategy", "sometimes").contains("fixed-delay"));
        assert!(wrong("execution.checkpointing.num-retained", "0").contains("at least 1"));
        assert!(wrong("traces.reporters", "otel").contains("traces.reporter.otel.factory.class"));
        assert!(wrong("metrics.reporter.prom.port", "nine").contains("9249-9260"));
    }
}
