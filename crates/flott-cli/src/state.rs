//! `flott state`: what checkpoints and savepoints hold.

use anyhow::{Context, Result};
use flott_checkpoint::layout::{self, Entry, SAVEPOINT_MANIFEST};
use flott_checkpoint::{Root, describe};
use flott_core::Options;
use std::collections::BTreeSet;

/// Subcommands of `flott state`.
#[derive(Debug, clap::Subcommand)]
pub enum StateCommand {
    /// Show the operators, states, types, sizes and key groups of a checkpoint or savepoint.
    Show(StateArgs),
    /// List the checkpoints and savepoints below a directory.
    Ls(StateArgs),
}

/// Where to look.
#[derive(Debug, clap::Args)]
pub struct StateArgs {
    /// A folder or address (file://, s3://): a checkpoint or savepoint to show, a directory of them to list.
    #[arg(value_name = "PATH")]
    pub path: String,
    /// An option for the store, e.g. -D s3.endpoint=http://localhost:9000; may be repeated.
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub defines: Vec<String>,
}

/// Runs the command.
pub fn state(command: &StateCommand) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot be started")?;
    let (StateCommand::Show(args) | StateCommand::Ls(args)) = command;
    let config = crate::config::ConfigArgs {
        defines: args.defines.clone(),
        ..Default::default()
    };
    let options = crate::config::load(&config)?;
    let text = match command {
        StateCommand::Show(_) => runtime.block_on(describe(&args.path, &options))?.to_string(),
        StateCommand::Ls(_) => runtime.block_on(list(&args.path, &options))?,
    };
    print!("{text}");
    Ok(())
}

async fn list(dir: &str, options: &Options) -> Result<String> {
    let root = Root::open_existing(dir, options)?;
    let files = root.list().await?;
    let committed: BTreeSet<String> = files.iter().filter_map(|f| manifest_of_marker(&f.path)).collect();
    let mut found: Vec<(&str, bool)> = files.iter().map(|f| f.path.as_str()).filter_map(is_manifest).collect();
    if found.is_empty() {
        return Ok(format!(
            "{}: no checkpoint and no savepoint below it\n",
            root.display("")
        ));
    }
    found.sort_unstable();
    let mut rows = vec![];
    for (path, is_savepoint) in found {
        let full = root.display(path);
        rows.push(match describe(&full, options).await {
            Ok(snapshot) => {
                let state = match (is_savepoint, committed.contains(path)) {
                    (true, _) => "savepoint",
                    (false, true) => "checkpoint, committed",
                    (false, false) => "checkpoint",
                };
                let operators = snapshot.operators.len();
                (
                    snapshot.timestamp_ms,
                    format!(
                        "{full}  '{}' #{}  {state}, {operators} operators, {} bytes\n",
                        snapshot.job_name, snapshot.checkpoint_id, snapshot.state_bytes
                    ),
                )
            }
            Err(error) => (i64::MAX, format!("{full}  damaged: {error}\n")),
        });
    }
    rows.sort();
    Ok(rows.into_iter().map(|(_, line)| line).collect())
}

/// A manifest's path, and whether it is a savepoint's.
fn is_manifest(path: &str) -> Option<(&str, bool)> {
    if path.rsplit('/').next() == Some(SAVEPOINT_MANIFEST) {
        return Some((path, true));
    }
    matches!(layout::parse(within_job(path)), Entry::Manifest(..)).then_some((path, false))
}

/// The manifest that a marker says is committed.
fn manifest_of_marker(path: &str) -> Option<String> {
    let within = within_job(path);
    let Entry::Committed(generation, checkpoint) = layout::parse(within) else {
        return None;
    };
    let above = path.strip_suffix(within).unwrap_or_default();
    Some(format!("{above}{}", layout::manifest(generation, checkpoint)))
}

/// The last two names of a path: a checkpoint's folder and a file in it.
fn within_job(path: &str) -> &str {
    let cut = path.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    &path[cut..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_told_from_other_files() {
        assert_eq!(
            is_manifest("job-1/chk-3/manifest-g2"),
            Some(("job-1/chk-3/manifest-g2", false))
        );
        assert_eq!(is_manifest("chk-3/manifest-g2"), Some(("chk-3/manifest-g2", false)));
        assert_eq!(
            is_manifest("savepoint-a-b/_metadata"),
            Some(("savepoint-a-b/_metadata", true))
        );
        assert_eq!(is_manifest("job-1/chk-3/g2-a1-00-0.state"), None);
        assert_eq!(
            manifest_of_marker("job-1/chk-3/committed-g2").as_deref(),
            Some("job-1/chk-3/manifest-g2")
        );
    }
}
