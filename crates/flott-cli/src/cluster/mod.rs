//! A cluster as processes: `flott jobmanager`, `flott standalone-job`, `flott taskmanager`, and `flott cluster` for several on one machine.
//!
//! Options are Flink's, from the file, the environment and `-D` as everywhere. What the processes do is in [`flott_launch::cluster`].

mod daemons;
mod planner;
mod standalone_job;

pub use daemons::{ClusterCommand, cluster};
pub use standalone_job::{StandaloneJobArgs, standalone_job};

use crate::collect::Rows;
use crate::config::{self, ConfigArgs};
use crate::job;
use crate::run::runtime;
use anyhow::Result;
use flott_core::Options;
use flott_launch::cluster::{run_session, run_task_manager};
use planner::Planner;
use std::path::PathBuf;
use std::sync::Arc;

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

/// Runs a JobManager until a signal ends it.
pub fn job_manager(args: &ProcessArgs) -> Result<()> {
    let options = args.options()?;
    let registry = Arc::new(job::registry(&Rows::default()));
    let runtime = runtime()?;
    let planner = Arc::new(Planner::new(registry.clone()));
    let result = runtime.block_on(run_session(options, registry, planner));
    runtime.shutdown_background();
    Ok(result?)
}

/// Runs a TaskManager until a signal ends it, its cluster is over, or no JobManager takes it.
pub fn task_manager(args: &ProcessArgs) -> Result<()> {
    let options = args.options()?;
    let registry = Arc::new(job::registry(&Rows::default()));
    let runtime = runtime()?;
    let result = runtime.block_on(run_task_manager(&options, registry, None, None));
    runtime.shutdown_background();
    Ok(result?)
}
