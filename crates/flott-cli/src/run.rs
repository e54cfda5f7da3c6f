//! `flott run`: a script's jobs in this process.
//!
//! The jobs of several INSERTs outside a statement set run at the same time, or one after the other with `table.dml-sync`; a
//! SELECT ends before the next statement begins. The command ends when all have ended. An unbounded job runs until it is stopped by Ctrl-C or SIGTERM: behind a
//! last checkpoint, or behind a savepoint with `--savepoint-on-stop`; a second signal ends it at once. What a job needs at its end or
//! starts from is looked at before it starts.

use crate::collect::Rows;
use crate::job::{self, ClaimArgs};
use crate::script::{ScriptArgs, Step, for_each_job, jobs_answer, print_answer, warn};
use crate::{output, progress, state};
use anyhow::{Context, Result, anyhow, bail};
use flott_checkpoint::describe;
use flott_cluster::settings::CheckpointSettings;
use flott_cluster::{JobHandle, Restore, Submission, submit_traced};
use flott_core::clock::SystemClock;
use flott_core::{Options, suggest};
use flott_launch::metrics::{self, Endpoints};
use flott_launch::signals::StopSignal;
use flott_launch::{stop, traces};
use flott_plan::{Node, Plan, Role};
use flott_runtime::Registry;
use flott_sql::script::Job;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Whether an INSERT ends before the next statement begins.
pub const DML_SYNC: &str = "table.dml-sync";

/// Arguments of `flott run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub script: ScriptArgs,
    /// Run the jobs at this JobManager instead of in this process.
    #[arg(
        short = 'm',
        long,
        value_name = "HOST:PORT",
        conflicts_with_all = ["savepoint_on_stop", "metrics", "allow_dropped_columns"]
    )]
    pub jobmanager: Option<String>,
    /// With -m: do not wait until the jobs end.
    #[arg(short, long, requires = "jobmanager")]
    pub detached: bool,
    /// Start from state: 'latest' (the newest completed checkpoint of this pipeline.name) or the path of a checkpoint
    /// or savepoint.
    #[arg(
        short = 's',
        long,
        value_name = "latest|PATH",
        visible_alias = "from-savepoint",
        alias = "fromSavepoint"
    )]
    pub restore: Option<String>,
    #[command(flatten)]
    pub claim: ClaimArgs,
    /// Start even if the state holds operators that the job no longer has.
    #[arg(long)]
    pub allow_non_restored_state: bool,
    /// Start even if a query's aggregates have changed, so that columns of its state are dropped or start empty.
    #[arg(long)]
    pub allow_dropped_columns: bool,
    /// Take a savepoint here before a stop.
    #[arg(long, value_name = "DIR")]
    pub savepoint_on_stop: Option<String>,
    /// Print all metrics once at the end.
    #[arg(long)]
    pub metrics: bool,
    /// Do not print the start and the end of jobs.
    #[arg(short, long)]
    pub quiet: bool,
    /// Where FILE is a program of Flott: its own arguments.
    #[arg(last = true, value_name = "ARGS")]
    pub arguments: Vec<String>,
}

impl RunArgs {
    /// The program that is to be run; none: a script is.
    ///
    /// # Errors
    /// If the arguments are those of the other.
    pub fn program(&self) -> Result<Option<&Path>> {
        let file = self.script.file.as_deref().filter(|file| is_executable(file));
        let is_wrong = match file {
            None => (!self.arguments.is_empty())
                .then_some("ARGS behind '--' are those of a program, and a script has --var NAME=VALUE"),
            Some(_) if !self.script.variables.is_empty() => {
                Some("--var is for scripts, and a program has its own arguments, behind '--'")
            }
            Some(_) if self.metrics => {
                Some("--metrics is for scripts; a program serves its metrics by metrics.reporter.* options")
            }
            Some(_) if self.allow_dropped_columns => Some("--allow-dropped-columns is for scripts"),
            Some(_) => None,
        };
        match is_wrong {
            Some(why) => bail!("{why}"),
            None => Ok(file),
        }
    }
}

/// Whether a file is an executable of Linux.
fn is_executable(file: &Path) -> bool {
    // What is looked at in a pipe is gone for who reads it.
    if !file.is_file() {
        return false;
    }
    let mut head = [0; 4];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head == *b"\x7fELF"
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
    let reporter = traces::reporter(&submission.plan.options)?;
    Ok(submit_traced(registry.clone(), Arc::new(SystemClock), submission, reporter).await?)
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
        written: vec![],
        is_stopped: false,
        shows_progress: !args.quiet,
    };
    let executed = for_each_job(&args.script, registry.clone(), options, |step| {
        match step {
            Step::Job(planned) => runtime.block_on(command.execute(*planned, &rows, &registry, restore.clone()))?,
            Step::ShowJobs => print_answer(&jobs_answer(&command.jobs)),
            Step::Warning(warning) => warn(&warning),
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
            let jobs = std::mem::take(&mut command.jobs);
            let stopped = runtime.block_on(command.stop(&jobs));
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

/// The paths of a job's tables of files: those that it reads, or writes.
fn paths(plan: &Plan, role: Role) -> impl Iterator<Item = &str> {
    let nodes = plan.nodes.iter().filter(move |n| n.role == role);
    nodes
        .filter(|n| n.spec["table"]["options"]["connector"] == "filesystem")
        // A folder that is watched is read as it is written.
        .filter(|n| n.spec["table"]["options"]["source.monitor-interval"].is_null())
        .filter_map(|n| n.spec["table"]["options"]["path"].as_str())
}

/// Judges what a job is to start from before it starts; `restore` is not changed by it.
async fn check_start(registry: &Arc<Registry>, plan: &Plan, restore: &Restore, args: &RunArgs) -> Result<()> {
    Endpoints::default().try_ports(&plan.options).await?;
    if let Some(dir) = &args.savepoint_on_stop {
        stop::try_savepoint_dir(dir, &plan.options).await?;
    }
    match restore {
        Restore::Fresh => Ok(()),
        Restore::Latest => {
            let Some(dir) = CheckpointSettings::from_options(&plan.options)?.dir else {
                bail!(
                    "--restore latest: there is no folder to look for checkpoints of '{}' in; SET 'execution.checkpointing.dir' to that of \
                     the run before, or give the path of a checkpoint or savepoint",
                    plan.name
                )
            };
            if args.allow_dropped_columns {
                return Ok(());
            }
            let Some(path) = state::newest_of(plan, &dir).await else {
                return Ok(());
            };
            match state::changed_columns(registry, plan, &path).await {
                Ok(changed) => refuse_changed(plan, &path, &changed),
                // The start tells it, or goes back to the checkpoint before.
                Err(_) => Ok(()),
            }
        }
        Restore::Path(path) => {
            if let Err(error) = describe(path, &plan.options).await {
                return Err(anyhow!("{error}{}", path_hint(path, &plan.options).await));
            }
            if args.allow_dropped_columns {
                return Ok(());
            }
            // Only a trial tells; it reads the state once more than the start itself.
            refuse_changed(plan, path, &state::changed_columns(registry, plan, path).await?)
        }
    }
}

/// Refuses to start from state at `path` of which columns have changed.
fn refuse_changed(plan: &Plan, path: &str, changed: &[String]) -> Result<()> {
    match changed.is_empty() {
        true => Ok(()),
        false => bail!(
            "{path} holds other columns of state than '{}' has: {}; --allow-dropped-columns starts without them",
            plan.name,
            changed.join("; ")
        ),
    }
}

/// What a person may have meant by a path that is no checkpoint.
async fn path_hint(path: &str, options: &Options) -> String {
    let hint = suggest::hint(path, ["latest"]);
    if !hint.is_empty() {
        return hint;
    }
    match state::newest_below(path, options).await {
        Some(newest) => format!("; the newest checkpoint or savepoint below it is {newest}"),
        None => String::new(),
    }
}

/// What `--restore latest` finds nothing of, once the job has started without.
fn warn_of_fresh_start(job: &JobHandle) -> Result<()> {
    if let Some(dir) = CheckpointSettings::from_options(&job.options)?.dir {
        tracing::warn!(
            "--restore latest: no checkpoint of '{}' below {dir}; starting with empty state",
            job.name
        );
    }
    Ok(())
}

/// A `flott run` on its way through the script.
struct Command<'a> {
    args: &'a RunArgs,
    signals: StopSignal,
    /// What runs beside the statements to come.
    jobs: Vec<JobHandle>,
    /// Where those of them write files.
    written: Vec<(String, JobHandle)>,
    /// A signal has come: nothing is started any more.
    is_stopped: bool,
    /// Nothing that a job prints comes between the lines of progress.
    shows_progress: bool,
}

impl Command<'_> {
    async fn execute(
        &mut self,
        mut planned: Job,
        rows: &Rows,
        registry: &Arc<Registry>,
        restore: Restore,
    ) -> Result<()> {
        self.args.claim.set(&mut planned.plan);
        let select = planned.collect.clone();
        let waits = planned.plan.options.boolean(DML_SYNC)?.unwrap_or(false);
        self.shows_progress &= !(std::io::stdout().is_terminal() && prints(&planned));
        if let Some(columns) = &select {
            rows.begin(columns, &planned.plan.options)?;
        }
        self.warn_of_unwritten(&planned.plan);
        let writes: Vec<String> = paths(&planned.plan, Role::Sink).map(str::to_owned).collect();
        let (args, is_latest) = (self.args, restore == Restore::Latest);
        let starting = async {
            check_start(registry, &planned.plan, &restore, args).await?;
            start(registry, planned, restore, args.allow_non_restored_state).await
        };
        let started = tokio::select! {
            started = starting => started?,
            () = self.signals.recv() => {
                self.is_stopped = true;
                let jobs = std::mem::take(&mut self.jobs);
                return self.stop(&jobs).await;
            }
        };
        if is_latest && started.restored_from.is_none() {
            warn_of_fresh_start(&started)?;
        }
        if !self.args.quiet {
            progress::started(&started);
        }
        if select.is_none() && !waits {
            self.written
                .extend(writes.into_iter().map(|path| (path, started.clone())));
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
            return result.and(self.stop(&others).await);
        }
        result
    }

    /// Stops jobs; a second signal ends them at once.
    async fn stop(&mut self, jobs: &[JobHandle]) -> Result<()> {
        let dir = self.args.savepoint_on_stop.as_deref();
        Ok(stop::stop_all_or_end(jobs, dir, &mut self.signals).await?)
    }

    /// Warns of a job that reads to their end files which an earlier one still writes.
    fn warn_of_unwritten(&self, plan: &Plan) {
        let plain = |path: &str| path.trim_start_matches("file://").trim_end_matches('/').to_owned();
        for path in paths(plan, Role::Source) {
            let is_written = |(written, job): &&(String, JobHandle)| {
                plain(written) == plain(path) && !job.status().is_globally_terminal_state()
            };
            if let Some((_, job)) = self.written.iter().find(is_written) {
                tracing::warn!(
                    "'{}' reads {path}, which '{}' of this script still writes; SET '{DML_SYNC}' = 'true' before that INSERT lets it end first",
                    plan.name,
                    job.name
                );
            }
        }
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
        let mut stopped = vec![false; jobs.len()];
        let mut result = match &endpoints {
            Ok(_) => tokio::select! {
                () = all_ended => Ok(()),
                never = progress::watch(jobs), if self.shows_progress => match never {},
                () = self.signals.recv() => {
                    self.is_stopped = true;
                    stopped = jobs.iter().map(|job| !job.status().is_globally_terminal_state()).collect();
                    self.stop(jobs).await
                }
            },
            Err(_) => stop::stop_all(jobs, None).await.map_err(Into::into),
        };
        for (job, was_stopped) in jobs.iter().zip(stopped) {
            let status = job.status();
            if !self.args.quiet {
                progress::ended(job, status, was_stopped);
            }
            if self.args.metrics {
                output::line(metrics::page(job));
            }
            result = result.and(job::result(job, status));
        }
        endpoints?;
        result
    }
}
