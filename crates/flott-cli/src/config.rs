//! Options from outside a script, as the command line takes them; [`flott_launch::config`] reads them.

use anyhow::Result;
use flott_core::Options;
use flott_launch::config::{self, CommandLine};
use std::path::PathBuf;

/// Where options come from on the command line.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct ConfigArgs {
    /// Parallelism of the job (`parallelism.default`).
    #[arg(short, long)]
    pub parallelism: Option<usize>,
    /// An option by Flink's name, e.g. -D execution.checkpointing.interval=1s; may be repeated.
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub defines: Vec<String>,
    /// Configuration file (config.yaml or flink-conf.yaml).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// All options of the command line, the environment and the file.
///
/// # Errors
/// If the file cannot be read, or a `-D` has no `=`.
pub fn load(args: &ConfigArgs) -> Result<Options> {
    let ConfigArgs {
        parallelism,
        defines,
        config,
    } = args.clone();
    Ok(config::load(&CommandLine {
        parallelism,
        defines,
        config,
    })?)
}
