//! Commands about jobs of a JobManager elsewhere, over its REST API: `flott list`, `events`, `why`, `logs`, `cancel`, `stop`, `savepoint`, `checkpoint`,
//! `rescale`, and `flott run -m`.
//!
//! They print what Flink's command line prints, so that scripts around it go on working; with `--json` what the JobManager answered.

mod events;
mod http;
mod jobs;
mod logs;
mod program;
mod rescale;
mod savepoints;
mod submit;
mod upload;
mod why;

pub use events::{EventsArgs, events};
pub use jobs::{CancelArgs, ListArgs, cancel, list};
pub use logs::{LogsArgs, logs};
pub use program::run_program;
pub use rescale::{RescaleArgs, rescale};
pub use savepoints::{CheckpointArgs, SavepointArgs, StopArgs, checkpoint, savepoint, stop};
pub use submit::run;
pub use why::{WhyArgs, why};

use crate::config::{self, ConfigArgs};
use crate::run::runtime;
use anyhow::{Context, Result, bail};
use flott_cluster::high_availability::HighAvailability;
use flott_core::{JobId, Options};
use http::JobManager;
use std::path::PathBuf;

/// Where a JobManager listens unless something says otherwise.
const DEFAULT_HOST: &str = "localhost";
const DEFAULT_PORT: i64 = 8081;

/// Which JobManager, and how its answer is printed.
#[derive(Debug, Clone, clap::Args)]
pub struct RemoteArgs {
    /// The JobManager. Without it: the one that leads by high-availability.*, else the options rest.address and rest.port, else localhost:8081.
    #[arg(short = 'm', long, value_name = "HOST:PORT")]
    pub jobmanager: Option<String>,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// An option by Flink's name, e.g. -D rest.port=8082; may be repeated.
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub defines: Vec<String>,
    /// Configuration file (config.yaml or flink-conf.yaml).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl RemoteArgs {
    fn manager(&self) -> Result<JobManager> {
        let options = config::load(&ConfigArgs {
            parallelism: None,
            defines: self.defines.clone(),
            config: self.config.clone(),
        })?;
        manager(self.jobmanager.as_deref(), &options)
    }
}

/// The JobManager that the command line names, else the one that leads where there may be several, else that of the options, else the default.
fn manager(given: Option<&str>, options: &Options) -> Result<JobManager> {
    let leader = match given {
        None if HighAvailability::is_asked_for(options)? => runtime()?.block_on(HighAvailability::find_leader(options)),
        _ => Ok(None),
    };
    let leader = leader.context("who leads is not found; -m HOST:PORT names a JobManager")?;
    let place = leader.map_or_else(|| place(given, options), |leader| Ok(leader.at.rest_address))?;
    let manager = JobManager::at(place, options)?;
    if let Some(given) = given.filter(|given| given.starts_with("https://") && !manager.url().starts_with("https://")) {
        bail!(
            "-m {given}: for TLS set security.ssl.rest.enabled to true, and security.ssl.rest.ca to the CA of the JobManager's certificate"
        );
    }
    Ok(manager)
}

/// Its host and port.
fn place(given: Option<&str>, options: &Options) -> Result<String> {
    let port = options.integer("rest.port")?.unwrap_or(DEFAULT_PORT);
    let Some(given) = given else {
        let host = options.get("rest.address").unwrap_or(DEFAULT_HOST);
        return Ok(format!("{host}:{port}"));
    };
    let place = given.trim_start_matches("http://").trim_start_matches("https://");
    let place = place.trim_end_matches('/');
    let has_port = place
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match place {
        "" => bail!("-m: a JobManager is named HOST:PORT, e.g. -m localhost:8081"),
        place if has_port => Ok(place.to_owned()),
        place if place.contains(':') => bail!("-m {given}: a JobManager is named HOST:PORT, e.g. -m localhost:8081"),
        place => Ok(format!("{place}:{port}")),
    }
}

/// Where the JobManager that is started with these options is, as a URL.
///
/// # Errors
/// If an option of how it is asked is wrong.
pub fn url_of(options: &Options) -> Result<String> {
    Ok(started(options)?.url())
}

/// What the JobManager that is started with these options says of itself, or who leads in its stead.
///
/// # Errors
/// If it is not there.
pub fn overview(options: &Options) -> Result<serde_json::Value> {
    runtime()?.block_on(started(options)?.get("/overview"))
}

fn started(options: &Options) -> Result<JobManager> {
    JobManager::at(place(None, options)?, options)
}

/// A job's id as people type it.
fn job_id(text: &str) -> Result<JobId> {
    match text.parse() {
        Ok(id) => Ok(id),
        Err(error) => bail!("{error}; flott list shows the ids of all jobs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_options_and_those_over_the_default() {
        let at = |given: Option<&str>, options: &[(&str, &str)]| {
            let options: Options = options.iter().copied().collect();
            manager(given, &options).map(|manager| manager.address().to_owned())
        };
        let set = [("rest.address", "jm"), ("rest.port", "9999")];
        assert_eq!(at(None, &[]).unwrap(), "localhost:8081");
        assert_eq!(at(None, &set).unwrap(), "jm:9999");
        assert_eq!(at(Some("other"), &set).unwrap(), "other:9999");
        assert_eq!(at(Some("http://other:1/"), &set).unwrap(), "other:1");
        assert_eq!(at(Some("[::1]:8081"), &[]).unwrap(), "[::1]:8081");
        for wrong in ["", "host:port", "https://host:1"] {
            assert!(at(Some(wrong), &[]).is_err(), "{wrong}");
        }
    }
}
