//! `flott run`: a script's jobs, one after the other, in this process.
//!
//! An unbounded job runs until it is stopped by Ctrl-C or SIGTERM: behind a last checkpoint, or behind a savepoint with
//! `--savepoint-on-stop`. A script with several INSERTs outside a statement set starts a job for each; the command ends
//! when all have ended.

use crate::collect::Rows;
use crate::metrics;
use crate::script::{ScriptArgs, for_each_job};
use crate::{job, progress};
use anyhow::{Context, Result};
use flott_cluster::{JobHandle, JobStatus, Restore, Submission, submit};
use flott_core::clock::SystemClock;
use std::sync::Arc;

/// Arguments of `flott run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub script: ScriptArgs,
    /// Start from state: 'latest' (the newest completed checkpoint of this pipeline.name) or the path of a checkpoint
    /// or savepoint.
    #[arg(long, value_name = "latest|PATH")]
    pub restore: Option<String>,
    /// Start even if the state holds operators that the job no longer has.
    #[arg(long)]
    pub allow_non_restored_state: bool,
    /// Take a savepoint here before a stop.
    #[arg(long, value_name = "DIR")]
    pub savepoint_on_stop: Option<String>,
    /// Print all metrics once at the end.
    #[arg(long)]
    pub metrics: bool,
    /// Do not print the start, the progress and the end of jobs.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Runs the command.
pub fn run(args: &RunArgs) -> Result<()> {
    let options = args.script.options()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot be started")?;
    let rows = Rows::default();
    let registry = Arc::new(job::registry(&rows));
    let mut handles: Vec<JobHandle> = vec![];
    let restore = match args.restore.as_deref() {
        None => Restore::Fresh,
        Some("latest") => Restore::Latest,
        Some(path) => Restore::Path(path.to_owned()),
    };
    for_each_job(&args.script, registry.clone(), options, |planned| {
        for warning in &planned.warnings {
            tracing::warn!("{warning}");
        }
        if let Some(fields) = &planned.collect {
            rows.header(fields);
        }
        let is_select = planned.collect.is_some();
        let submission = Submission {
            plan: planned.plan,
            restore: restore.clone(),
            allow_non_restored_state: args.allow_non_restored_state,
        };
        let handle = runtime.block_on(submit(registry.clone(), Arc::new(SystemClock), submission))?;
        if !args.quiet {
            progress::started(&handle);
        }
        if is_select {
            // A SELECT's rows end before the next statement begins.
            return runtime.block_on(watch(args, &[handle]));
        }
        handles.push(handle);
        Ok(())
    })?;
    runtime.block_on(watch(args, &handles))?;
    runtime.shutdown_background();
    Ok(())
}

/// Waits for the jobs, or stops them on a signal.
async fn watch(args: &RunArgs, handles: &[JobHandle]) -> Result<()> {
    let reporters = metrics::serve(handles).await?;
    let all_ended = async {
        for handle in handles {
            handle.ended().await;
        }
    };
    let stopped = tokio::select! {
        () = all_ended => Ok(()),
        signal = job::stop_signal() => {
            signal?;
            let mut result = Ok(());
            for handle in handles {
                result = result.and(job::stop(handle, args.savepoint_on_stop.as_deref()).await);
            }
            result
        }
    };
    drop(reporters);
    let mut result = stopped;
    for handle in handles {
        let status: JobStatus = handle.ended().await;
        if !args.quiet {
            progress::ended(handle, status);
        }
        if args.metrics {
            println!("{}", metrics::page(handle));
        }
        result = result.and(job::result(handle, status));
    }
    result
}
