//! `flott standalone-job`: a JobManager that runs the one job of a script and ends with it, in Flink's words application mode.
//!
//! TaskManagers join it as any other (`flott taskmanager`), and end when it does. Its exit code is the job's: 0 if that has finished or was
//! cancelled, 1 if it has failed, or a signal came first. A signal does not end the job: under high availability the next JobManager goes on with it.

use crate::collect::Rows;
use crate::job;
use crate::run::runtime;
use crate::script::{ScriptArgs, Step, for_each_job, warn};
use anyhow::{Result, bail};
use flott_cluster::dispatcher::Application;
use flott_cluster::{Restore, Submission};
use flott_core::JobId;
use flott_launch::cluster::{application_job, application_result, run_application};
use flott_sql::script::Job;
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
    let planned = only(jobs)?;
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

/// The only job of a script.
fn only(mut jobs: Vec<Job>) -> Result<Job> {
    let job = match (jobs.pop(), jobs.len()) {
        (Some(job), 0) => job,
        (None, _) => bail!("the script has no INSERT or statement set: there is no job to run"),
        (Some(_), others) => bail!(
            "the script has {} jobs, and a cluster that lives with its job has one: put their INSERTs into EXECUTE STATEMENT SET BEGIN … END, or run \
             the script at a JobManager of many jobs (flott jobmanager, flott run -m)",
            others + 1
        ),
    };
    match job.collect {
        None => Ok(job),
        Some(_) => bail!(
            "a SELECT cannot be the job of a cluster, since nobody would see its rows: write them to a table with INSERT INTO"
        ),
    }
}
