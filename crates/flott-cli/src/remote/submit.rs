//! `flott run -m`: a script is planned here, and its jobs run at a JobManager.
//!
//! The jobs of several INSERTs run at the same time, or one after the other with `table.dml-sync`. Without `--detached` the command ends
//! when all have ended; a signal ends only the command. What the script names (files, brokers, folders of checkpoints) is looked for where
//! the JobManager and its TaskManagers run.

use super::http::JobManager;
use super::manager;
use crate::collect::Rows;
use crate::job;
use crate::output;
use crate::run::{DML_SYNC, RunArgs, runtime};
use crate::script::{Step, for_each_job, print_answer, warn};
use anyhow::{Context, Result, anyhow, bail};
use flott_sql::script::{Job, Outcome};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between looks at a job.
const POLL: Duration = Duration::from_millis(200);

/// How long a JobManager may be away while its jobs are waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A job at a JobManager.
#[derive(Debug)]
pub(super) struct Submitted {
    pub(super) id: String,
    pub(super) name: String,
}

/// Runs the command.
pub fn run(args: &RunArgs) -> Result<()> {
    let options = args.script.options()?;
    let manager = manager(args.jobmanager.as_deref(), &options)?;
    let runtime = runtime()?;
    let registry = Arc::new(job::registry(&Rows::default()));
    let mut jobs: Vec<Submitted> = vec![];
    if args.restore.is_some() {
        warn("--restore with -m: whether columns of the state are dropped is not looked at");
    }
    let executed = for_each_job(&args.script, registry, options, |step| {
        match step {
            Step::Job(planned) => {
                let waits = planned.plan.options.boolean(DML_SYNC)?.unwrap_or(false);
                let submitted = runtime.block_on(submit(&manager, *planned, args))?;
                match waits {
                    true => runtime.block_on(wait(&manager, &submitted, args.quiet))?,
                    false => jobs.push(submitted),
                }
            }
            Step::ShowJobs => print_answer(&jobs_answer(&runtime.block_on(manager.get("/jobs/overview"))?)),
            Step::Warning(warning) => warn(&warning),
        }
        Ok(ControlFlow::Continue(()))
    });
    if let Err(error) = executed {
        return match jobs.is_empty() {
            true => Err(error),
            false => Err(error.context(format!(
                "the script ends here; {} job(s) that it has submitted run on at {}",
                jobs.len(),
                manager.address()
            ))),
        };
    }
    if args.detached {
        return Ok(());
    }
    runtime.block_on(async {
        let mut result = Ok(());
        for job in &jobs {
            let waited = wait(&manager, job, args.quiet).await;
            result = result.and(waited);
        }
        result
    })
}

/// Hands a planned job over.
async fn submit(manager: &JobManager, mut planned: Job, args: &RunArgs) -> Result<Submitted> {
    if planned.collect.is_some() {
        bail!(
            "a SELECT cannot run at a JobManager: its rows would have to come back here; write them to a table with INSERT INTO, or run \
             the script without -m"
        );
    }
    planned.warnings.iter().for_each(|warning| warn(&warning.to_string()));
    let name = planned.plan.name.clone();
    // How the JobManager is asked is no job's business, and tokens and keys are not kept with it.
    let options = planned.plan.options.iter();
    planned.plan.options = options.filter(|(key, _)| !key.starts_with("security.")).collect();
    let body = json!({
        "plan": serde_json::to_value(&planned.plan).context("the plan cannot be written")?,
        "savepointPath": args.restore,
        "claimMode": args.claim.claim_mode,
        "allowNonRestoredState": args.allow_non_restored_state,
    });
    let answer = manager.post("/jobs", &body).await?;
    submitted(manager, &answer, name, args)
}

/// The job that an answer tells of, which is told.
pub(super) fn submitted(manager: &JobManager, answer: &Value, name: String, args: &RunArgs) -> Result<Submitted> {
    let id = answer["jobid"].as_str().map(str::to_owned);
    let id = id.ok_or_else(|| {
        anyhow!(
            "the JobManager at {} has not told the job's id: {answer}",
            manager.address()
        )
    })?;
    match (args.detached, args.quiet) {
        // In Flink's words, which scripts look for.
        (true, _) => output::line(format_args!("Job has been submitted with JobID {id}")),
        (false, true) => {}
        (false, false) => eprintln!("job {id} '{name}' starts at {}", manager.address()),
    }
    Ok(Submitted { id, name })
}

/// Waits until a job has ended.
///
/// # Errors
/// If it fails: why.
pub(super) async fn wait(manager: &JobManager, job: &Submitted, is_quiet: bool) -> Result<()> {
    let path = format!("/jobs/{}", job.id);
    let mut away_since = None;
    let status = loop {
        match manager.get(&format!("{path}/status")).await {
            Ok(answer) => {
                away_since = None;
                let status = answer["status"].as_str().unwrap_or_default();
                if matches!(status, "FINISHED" | "CANCELED" | "FAILED") {
                    break status.to_owned();
                }
            }
            Err(error) => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE || error.to_string().contains(" not found") {
                    return Err(error.context(format!("how job {} '{}' has ended is not known", job.id, job.name)));
                }
            }
        }
        tokio::time::sleep(POLL).await;
    };
    if !is_quiet {
        let details = manager.get(&path).await?;
        let seconds = details["duration"].as_i64().unwrap_or(0) as f64 / 1_000.0;
        eprintln!("job {} '{}' {status} after {seconds:.1} s", job.id, job.name);
    }
    if status == "FAILED" {
        let exceptions = manager.get(&format!("{path}/exceptions")).await?;
        let cause = exceptions["root-exception"]
            .as_str()
            .unwrap_or("its cause is not known");
        bail!("job '{}' {status}: {cause}", job.name);
    }
    Ok(())
}

/// The answer of SHOW JOBS: all jobs of the JobManager.
fn jobs_answer(overview: &Value) -> Outcome {
    let text = |job: &Value, field: &str| job[field].as_str().unwrap_or_default().to_owned();
    let jobs = overview["jobs"].as_array().cloned().unwrap_or_default();
    let row = |job: &Value| vec![text(job, "jid"), text(job, "name"), text(job, "state")];
    Outcome::Rows {
        columns: ["job id", "job name", "status"].map(str::to_owned).to_vec(),
        rows: jobs.iter().map(row).collect(),
    }
}
