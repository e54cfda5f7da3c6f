//! `flott completions`: what a shell needs to complete the commands and options of `flott`.

use crate::output;
use anyhow::{Context, Result};
use clap_complete::Shell;

/// Arguments of `flott completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell, e.g. bash: source <(flott completions bash).
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// `flott completions`: prints the script of `command`.
pub fn completions(args: &CompletionsArgs, mut command: clap::Command) -> Result<()> {
    let mut script = vec![];
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    output::text(String::from_utf8(script).context("the script is no text")?);
    Ok(())
}
