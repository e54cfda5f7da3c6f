//! `flott state`: what checkpoints and savepoints hold, how two of them differ, and whether a job can start from one.

mod diff;
mod show;

use crate::config::ConfigArgs;
use crate::output;
use crate::script::{ScriptArgs, Step, for_each_job, warn};
use anyhow::{Context, Result, bail};
use flott_checkpoint::layout::{self, Entry, SAVEPOINT_MANIFEST};
use flott_checkpoint::{CheckpointStore, Root, SnapshotDescription, describe};
use flott_cluster::check_restore;
use flott_cluster::restore_check::{Fit, OperatorCheck};
use flott_core::Options;
use flott_core::clock::SystemClock;
use flott_plan::Plan;
use flott_runtime::Registry;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Subcommands of `flott state`.
#[derive(Debug, clap::Subcommand)]
pub enum StateCommand {
    /// Show the operators, states, types, sizes and key groups of a checkpoint or savepoint, and some keys of each with their values.
    Show(show::ShowArgs),
    /// List the checkpoints and savepoints below a directory.
    Ls(StateArgs),
    /// Show what differs between two checkpoints or savepoints, operator by operator.
    Diff(DiffArgs),
    /// Say, operator by operator, whether a script's job can start from a checkpoint or savepoint; 1 if it cannot.
    Check(CheckArgs),
}

/// Where to look.
#[derive(Debug, clap::Args)]
pub struct StateArgs {
    /// A folder or address (file://, s3://) below which checkpoints and savepoints are.
    #[arg(value_name = "PATH")]
    pub path: String,
    /// An option for the store, e.g. -D s3.endpoint=http://localhost:9000; may be repeated.
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub defines: Vec<String>,
}

/// What to compare.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// A checkpoint or savepoint.
    #[arg(value_name = "BEFORE")]
    pub before: String,
    /// Another, of the same job or of its successor.
    #[arg(value_name = "AFTER")]
    pub after: String,
    /// An option for the store; may be repeated.
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub defines: Vec<String>,
}

/// What to check.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// A checkpoint or savepoint.
    #[arg(value_name = "PATH")]
    pub path: String,
    #[command(flatten)]
    pub script: ScriptArgs,
    /// State of operators that the job no longer has may be left behind.
    #[arg(long)]
    pub allow_non_restored_state: bool,
    /// Columns of state may be dropped, and new ones start empty.
    #[arg(long)]
    pub allow_dropped_columns: bool,
}

/// Runs the command.
pub fn state(command: &StateCommand) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot be started")?;
    let options = |defines: &[String]| {
        crate::config::load(&ConfigArgs {
            defines: defines.to_vec(),
            ..Default::default()
        })
    };
    let text = match command {
        StateCommand::Show(args) => {
            let options = options(&args.defines)?;
            return runtime.block_on(show::show(args, &options));
        }
        StateCommand::Ls(args) => runtime.block_on(list(&args.path, &options(&args.defines)?))?,
        StateCommand::Diff(args) => {
            let options = options(&args.defines)?;
            let before = runtime.block_on(describe(&args.before, &options))?;
            let after = runtime.block_on(describe(&args.after, &options))?;
            diff::text(&before, &after)
        }
        StateCommand::Check(args) => return check(args, &runtime),
    };
    output::text(text);
    Ok(())
}

/// What a job drops of its state at `path`, and what it has that starts empty, operator by operator.
pub async fn changed_columns(registry: &Arc<Registry>, plan: &Plan, path: &str) -> Result<Vec<String>> {
    let checked = check_restore(registry.clone(), Arc::new(SystemClock), plan.clone(), path).await?;
    let notes = |operator: &OperatorCheck| match &operator.fit {
        Fit::Restored { notes, .. } => notes.clone(),
        _ => vec![],
    };
    Ok(checked.operators.iter().flat_map(notes).collect())
}

/// The checkpoint that `--restore latest` starts a job from, as far as it can be told before the start.
pub async fn newest_of(plan: &Plan, dir: &str) -> Option<String> {
    let store = CheckpointStore::open(dir, &plan.name, &plan.options).await.ok()?;
    Some(store.latest().await.ok()??.path)
}

/// The newest checkpoint or savepoint below a folder, if it is one and has any.
pub async fn newest_below(dir: &str, options: &Options) -> Option<String> {
    let root = Root::open_existing(dir, options).ok()?;
    let files = root.list().await.ok()?;
    let mut newest: Option<(i64, String)> = None;
    for (path, _) in files.iter().filter_map(|f| is_manifest(&f.path)) {
        let full = root.display(path);
        if let Ok(snapshot) = describe(&full, options).await {
            newest = newest.max(Some((snapshot.timestamp_ms, snapshot.path)));
        }
    }
    newest.map(|(_, path)| path)
}

/// Restores the script's job, in this process and without its surroundings.
fn check(args: &CheckArgs, runtime: &Runtime) -> Result<()> {
    let options = args.script.options()?;
    let registry = Arc::new(crate::job::registry(&crate::collect::Rows::default()));
    let described = runtime.block_on(describe(&args.path, &options))?;
    let job_name = &described.job_name;
    let mut jobs = vec![];
    for_each_job(&args.script, registry.clone(), options, |step| {
        match step {
            Step::Job(job) => jobs.push(job.plan),
            Step::Warning(warning) => warn(&warning),
            Step::ShowJobs => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let names: Vec<String> = jobs.iter().map(|plan| format!("'{}'", plan.name)).collect();
    let plan = match jobs.iter().position(|plan| plan.name == *job_name) {
        Some(index) => jobs.swap_remove(index),
        None if jobs.len() == 1 => jobs.remove(0),
        None => bail!(
            "{} is of the job '{job_name}', and the script's jobs are {}: give the one that follows it the same 'pipeline.name'",
            args.path,
            names.join(", ")
        ),
    };
    let name = plan.name.clone();
    let mut checked = runtime.block_on(check_restore(registry, Arc::new(SystemClock), plan, &args.path))?;
    for operator in &mut checked.operators {
        operator.fit = as_shown(&operator.fit, &described, &operator.id.to_string());
    }
    output::line(format_args!("'{name}' {checked}"));
    let allows = args.allow_non_restored_state;
    let wrong = checked.misfits(allows);
    if wrong > 0 {
        let is_left = |fit: &Fit| *fit == Fit::LeftBehind && !allows;
        let remedy = match checked.operators.iter().any(|o| is_left(&o.fit)) {
            true => "; --allow-non-restored-state leaves behind what the job has no operator for",
            false => "",
        };
        bail!("the job cannot start from this state: {wrong} operator(s) do not fit{remedy}");
    }
    let loses = checked
        .operators
        .iter()
        .any(|o| matches!(&o.fit, Fit::Restored { notes, .. } if !notes.is_empty()));
    match (loses, args.allow_dropped_columns) {
        (false, _) => output::line("the job can start from this state"),
        (true, true) => output::line("the job can start from this state, but loses some of it"),
        (true, false) => bail!(
            "the job can start from this state, but loses some of it: its aggregates are not those that the state was kept for; \
             --allow-dropped-columns starts without what was dropped"
        ),
    }
    Ok(())
}

/// A fit with all rows that `state show` counts, also those of state that is not keyed.
fn as_shown(fit: &Fit, described: &SnapshotDescription, id: &str) -> Fit {
    let operator = described.operators.iter().find(|o| o.id == id);
    match (fit, operator) {
        (Fit::Restored { bytes, notes, .. }, Some(operator)) => Fit::Restored {
            rows: operator.states.iter().map(|s| s.rows).sum(),
            bytes: *bytes,
            notes: notes.clone(),
        },
        _ => fit.clone(),
    }
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
