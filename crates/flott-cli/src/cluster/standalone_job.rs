//! `flott standalone-job`: a JobManager that runs the one job of a script and ends with it, in Flink's words application mode.
//!
//! TaskManagers join it as any other (`flott taskmanager`), and end when it does. Its exit code is the job's: 0 if that has finished or was
//! cancelled, 1 if it has failed, or a signal came first. A signal does not end the job: under high availability the next JobManager goes on with it.

use crate::collect::Rows;
use crate::job::{self, ClaimArgs};
use crate::run::runtime;
use crate::script::{ScriptArgs, Step, for_each_job, only_job, warn};
use anyhow::Result;
use flott_cluster::dispatcher::Application;
use flott_cluster::{Restore, Submission};
use flott_core::JobId;
use flott_launch::cluster::{application_job, application_result, run_application};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Arguments of `flott standalone-job`.
#[derive(Debug, clap::Args)]
pub struct StandaloneJobArgs {
    #[command(flatten)]
    pub script: ScriptArgs,
    /// The job's id, of 32 hexadecimal digits; under high availability it is that of the cluster (high-availability.cluster-id).
    #[arg(long, value_name = "ID")]
    pub job_id: Option<JobId>,
    /// Start from state: 'latest' (the newest completed checkpoint of this pipeline.name) or the path of a checkpoint
    /// or savepoint.
    #[arg(
        long,
        short = 's',
        value_name = "latest|PATH",
        visible_alias = "from-savepoint",
        alias = "fromSavepoint"
    )]
    pub restore: Option<String>,
    #[command(flatten)]
    pub claim: ClaimArgs,
    /// Start even if the state holds operators that the job no longer has.
    #[arg(long, alias = "allowNonRestoredState")]
    pub allow_non_restored_state: bool,
}

/// `flott standalone-job`
pub fn standalone_job(args: &StandaloneJobArgs) -> Result<()> {
    let options = args.script.options()?;
    let registry = Arc::new(job::registry(&Rows::default()));
    let mut jobs = vec![];
    for_each_job(&args.script, registry.clone(), options.clone(), |step| {
        match step {
            Step::Job(planned) => jobs.push(*planned),
            Step::Warning(warning) => warn(&warning),
            Step::ShowJobs => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let mut planned = only_job(jobs, "a cluster that lives with its job")?;
    args.claim.set(&mut planned.plan);
    job::check_options(&planned.plan.options)?;
    planned.warnings.iter().for_each(|warning| warn(&warning.to_string()));
    let application = Application {
        job: args.job_id.unwrap_or_else(|| application_job(&options)),
        submission: Submission {
            plan: planned.plan,
            restore: Restore::from_path(args.restore.as_deref()),
            allow_non_restored_state: args.allow_non_restored_state,
        },
        program: None,
    };
    let runtime = runtime()?;
    let ended = runtime.block_on(run_application(options, registry, application, |job| {
        eprintln!("job {} '{}' runs here", job.job_id, job.name);
    }));
    runtime.shutdown_background();
    Ok(application_result(&ended?)?)
}
