//! `flott run`: a script's jobs in this process.
//!
//! The jobs of several INSERTs outside a statement set run at the same time, or one after the other with `table.dml-sync`; a
//! SELECT ends before the next statement begins. The command ends when all have ended. An unbounded job runs until it is stopped by Ctrl-C or SIGTERM: behind a
//! last checkpoint, or behind a savepoint with `--savepoint-on-stop`.

use crate::collect::Rows;
use crate::job::{self, StopSignal};
use crate::script::{ScriptArgs, Step, for_each_job, jobs_answer, print_answer};
use crate::{metrics, output, progress};
use anyhow::{Context, Result};
use flott_cluster::{JobHandle, Restore, Submission, submit};
use flott_core::clock::SystemClock;
use flott_plan::{Node, Role};
use flott_runtime::Registry;
use flott_sql::script::Job;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Whether an INSERT ends before the next statement begins.
pub const DML_SYNC: &str = "table.dml-sync";

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
    /// Do not print the start and the end of jobs.
    #[arg(short, long)]
    pub quiet: bool,
}

/// The runtime of everything asynchronous; rows are worked on by threads of their own.
pub fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot be started")
}

/// Says what is wrong with a planned job, and starts it.
pub async fn start(
    registry: &Arc<Registry>,
    planned: Job,
    restore: Restore,
    allow_non_restored_state: bool,
) -> Result<JobHandle> {
    for warning in &planned.warnings {
        tracing::warn!("{warning}");
    }
    let submission = Submission {
        plan: planned.plan,
        restore,
        allow_non_restored_state,
    };
    Ok(submit(registry.clone(), Arc::new(SystemClock), submission).await?)
}

/// Runs the command.
pub fn run(args: &RunArgs) -> Result<()> {
    let options = args.script.options()?;
    let runtime = runtime()?;
    let restore = Restore::from_path(args.restore.as_deref());
    let rows = Rows::default();
    let registry = Arc::new(job::registry(&rows));
    let mut command = Command {
        args,
        signals: runtime.block_on(async { StopSignal::new() })?,
        jobs: vec![],
        is_stopped: false,
        shows_progress: !args.quiet,
    };
    let executed = for_each_job(&args.script, registry.clone(), options, |step| {
        match step {
            Step::Job(planned) => runtime.block_on(command.execute(*planned, &rows, &registry, restore.clone()))?,
            Step::ShowJobs => print_answer(&jobs_answer(&command.jobs)),
        }
        // Nor may a stopped script drop what its next statement names.
        Ok(match command.is_stopped {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    });
    let result = match executed {
        Ok(_) if !command.is_stopped => {
            let jobs = std::mem::take(&mut command.jobs);
            runtime.block_on(command.watch(&jobs))
        }
        Ok(_) => Ok(()),
        Err(error) => {
            // What already runs must not outlive a script that ends here.
            let stopped = runtime.block_on(job::stop_all(&command.jobs, args.savepoint_on_stop.as_deref()));
            stopped.and(Err(error))
        }
    };
    runtime.shutdown_background();
    result
}

/// Whether a job's rows go to standard output.
fn prints(job: &Job) -> bool {
    let is_print = |n: &Node| n.role == Role::Sink && n.spec["table"]["options"]["connector"] == "print";
    job.collect.is_some() || job.plan.nodes.iter().any(is_print)
}

/// A `flott run` on its way through the script.
struct Command<'a> {
    args: &'a RunArgs,
    signals: StopSignal,
    /// What runs beside the statements to come.
    jobs: Vec<JobHandle>,
    /// A signal has come: nothing is started any more.
    is_stopped: bool,
    /// Nothing that a job prints comes between the lines of progress.
    shows_progress: bool,
}

impl Command<'_> {
    async fn execute(&mut self, planned: Job, rows: &Rows, registry: &Arc<Registry>, restore: Restore) -> Result<()> {
        let select = planned.collect.clone();
        let waits = planned.plan.options.boolean(DML_SYNC)?.unwrap_or(false);
        self.shows_progress &= !(std::io::stdout().is_terminal() && prints(&planned));
        if let Some(columns) = &select {
            rows.begin(columns, &planned.plan.options)?;
        }
        let started = tokio::select! {
            started = start(registry, planned, restore, self.args.allow_non_restored_state) => started?,
            () = self.signals.recv() => {
                self.is_stopped = true;
                return job::stop_all(&std::mem::take(&mut self.jobs), self.args.savepoint_on_stop.as_deref()).await;
            }
        };
        if !self.args.quiet {
            progress::started(&started);
        }
        if select.is_none() && !waits {
            self.jobs.push(started);
            return Ok(());
        }
        let result = self.watch(&[started]).await;
        let count = rows.end().context("standard output cannot be written")?;
        if let Some(count) = count
            && !self.args.quiet
        {
            eprintln!("{count} row(s)");
        }
        if self.is_stopped {
            let others = std::mem::take(&mut self.jobs);
            return result.and(job::stop_all(&others, self.args.savepoint_on_stop.as_deref()).await);
        }
        result
    }

    /// Waits for the jobs, or stops them on a signal.
    async fn watch(&mut self, jobs: &[JobHandle]) -> Result<()> {
        let endpoints = metrics::serve(jobs).await;
        if let Ok(endpoints) = &endpoints
            && !self.args.quiet
        {
            endpoints
                .addresses()
                .for_each(|address| eprintln!("metrics: http://{address}/metrics"));
        }
        let all_ended = async {
            for job in jobs {
                job.ended().await;
            }
        };
        let mut result = match &endpoints {
            Ok(_) => tokio::select! {
                () = all_ended => Ok(()),
                never = progress::watch(jobs), if self.shows_progress => match never {},
                () = self.signals.recv() => {
                    self.is_stopped = true;
                    job::stop_all(jobs, self.args.savepoint_on_stop.as_deref()).await
                }
            },
            Err(_) => job::stop_all(jobs, None).await,
        };
        for job in jobs {
            let status = job.status();
            if !self.args.quiet {
                progress::ended(job, status);
            }
            if self.args.metrics {
                output::line(metrics::page(job));
            }
            result = result.and(job::result(job, status));
        }
        endpoints.and(result)
    }
}
