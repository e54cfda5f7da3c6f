//! A cluster as processes: `flott jobmanager`, `flott taskmanager`, and `flott cluster` for both on one machine.
//!
//! Options are Flink's, from the file, the environment and `-D` as everywhere. Nothing listens beyond this machine unless it is told to, and then
//! only where something keeps strangers out: certificates or a secret between processes, a token or certificates for REST.

mod daemons;
mod jobmanager;
mod taskmanager;

pub use daemons::{ClusterCommand, cluster};
pub use jobmanager::job_manager;
pub use taskmanager::task_manager;

use crate::config::{self, ConfigArgs};
use anyhow::Result;
use flott_core::Options;
use flott_core::options::is_secret;
use std::path::PathBuf;

/// Arguments of a process of a cluster.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct ProcessArgs {
    /// An option by Flink's name, e.g. -D taskmanager.numberOfTaskSlots=4; may be repeated.
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub defines: Vec<String>,
    /// Configuration file (config.yaml or flink-conf.yaml).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl ProcessArgs {
    /// All options.
    ///
    /// # Errors
    /// If the file cannot be read, or a `-D` has no `=`.
    pub fn options(&self) -> Result<Options> {
        config::load(&ConfigArgs {
            parallelism: None,
            defines: self.defines.clone(),
            config: self.config.clone(),
        })
    }
}

/// Begins a process's log with its options.
///
/// # Errors
/// If an option of logging is wrong.
fn start_log(options: &Options) -> Result<()> {
    flott_launch::logging::init_process(options)?;
    for (key, value) in options.iter() {
        let value = if is_secret(key) { "******" } else { value };
        // In Flink's words, which tools look for.
        tracing::info!("Loading configuration property: {key}, {value}");
    }
    Ok(())
}
