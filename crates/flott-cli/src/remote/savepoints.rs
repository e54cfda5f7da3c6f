//! `flott stop`, `flott savepoint` and `flott checkpoint`: each waits until the JobManager has done it.

use super::{RemoteArgs, job_id};
use crate::output;
use crate::run::runtime;
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Arguments of `flott stop`.
#[derive(Debug, clap::Args)]
pub struct StopArgs {
    /// The job's id.
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Where the savepoint goes; without it execution.checkpointing.savepoint-dir of the job.
    #[arg(
        short = 'p',
        long = "savepointPath",
        visible_alias = "savepoint-path",
        value_name = "DIR"
    )]
    pub directory: Option<String>,
    /// Bring event time to its end first, so that all windows fire: for jobs that do not go on from there.
    #[arg(short, long)]
    pub drain: bool,
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Arguments of `flott savepoint`.
#[derive(Debug, clap::Args)]
pub struct SavepointArgs {
    /// The job's id.
    #[arg(value_name = "JOB", required_unless_present = "dispose")]
    pub job: Option<String>,
    /// Where the savepoint goes; without it execution.checkpointing.savepoint-dir of the job.
    #[arg(value_name = "DIR")]
    pub directory: Option<String>,
    /// Delete the savepoint at this path instead.
    #[arg(short, long, value_name = "PATH", conflicts_with = "job")]
    pub dispose: Option<String>,
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Arguments of `flott checkpoint`.
#[derive(Debug, clap::Args)]
pub struct CheckpointArgs {
    /// The job's id.
    #[arg(value_name = "JOB")]
    pub job: String,
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Prints a line, unless JSON is wanted.
fn tell(remote: &RemoteArgs, text: String) {
    if !remote.json {
        output::line(text);
    }
}

/// `flott stop`
pub fn stop(args: &StopArgs) -> Result<()> {
    let (manager, job) = (args.remote.manager()?, job_id(&args.job)?);
    let what = if args.drain { "Draining" } else { "Suspending" };
    tell(
        &args.remote,
        format!("{what} job \"{job}\" with a CANONICAL savepoint."),
    );
    let body = json!({ "targetDirectory": args.directory, "drain": args.drain, "formatType": "CANONICAL" });
    let (path, asked) = (format!("/jobs/{job}/stop"), format!("/jobs/{job}/savepoints"));
    let stopped = runtime()?.block_on(manager.operation(&path, &body, &asked));
    completed(
        &args.remote,
        &stopped.with_context(|| format!("job {job} was not stopped"))?,
    );
    Ok(())
}

/// `flott savepoint`
pub fn savepoint(args: &SavepointArgs) -> Result<()> {
    let manager = args.remote.manager()?;
    if let Some(path) = &args.dispose {
        tell(&args.remote, format!("Disposing savepoint '{path}'."));
        let body = json!({ "savepoint-path": path });
        let disposed = runtime()?.block_on(manager.operation("/savepoint-disposal", &body, "/savepoint-disposal"));
        disposed.with_context(|| format!("the savepoint {path} was not deleted"))?;
        match args.remote.json {
            true => output::line(json!({ "disposed": path })),
            false => output::line(format_args!("Savepoint '{path}' disposed.")),
        }
        return Ok(());
    }
    let job = job_id(args.job.as_deref().unwrap_or_default())?;
    tell(&args.remote, format!("Triggering savepoint for job {job}."));
    tell(&args.remote, "Waiting for response...".to_owned());
    let body = json!({ "target-directory": args.directory, "cancel-job": false, "formatType": "CANONICAL" });
    let path = format!("/jobs/{job}/savepoints");
    let taken = runtime()?.block_on(manager.operation(&path, &body, &path));
    completed(
        &args.remote,
        &taken.with_context(|| format!("no savepoint of job {job} was taken"))?,
    );
    let next = "You can resume your program from this savepoint with the run command.";
    tell(&args.remote, next.to_owned());
    Ok(())
}

fn completed(remote: &RemoteArgs, result: &Value) {
    let path = result["location"].as_str().unwrap_or_default();
    match remote.json {
        true => output::line(json!({ "savepoint-path": path })),
        false => output::line(format_args!("Savepoint completed. Path: {path}")),
    }
}

/// `flott checkpoint`
pub fn checkpoint(args: &CheckpointArgs) -> Result<()> {
    let (manager, job) = (args.remote.manager()?, job_id(&args.job)?);
    tell(&args.remote, format!("Triggering checkpoint for job {job}."));
    tell(&args.remote, "Waiting for response...".to_owned());
    let (path, body) = (
        format!("/jobs/{job}/checkpoints"),
        json!({ "checkpointType": "CONFIGURED" }),
    );
    let taken = runtime()?.block_on(manager.operation(&path, &body, &path));
    let taken = taken.with_context(|| format!("no checkpoint of job {job} was taken"))?;
    let id = &taken["checkpointId"];
    match args.remote.json {
        true => output::line(json!({ "checkpoint-id": id })),
        false => output::line(format_args!("Checkpoint(CONFIGURED) {id} for job {job} completed.")),
    }
    Ok(())
}
