//! `flott sql`: statements typed one after the other, each executed at once.
//!
//! On a terminal the line editor keeps a history, completes names and asks for more lines until a statement has its
//! semicolon ([`editor`]); elsewhere statements are read from standard input as they come. An error is printed and the
//! shell goes on; with `-f`, and where no terminal is typed at, the first error ends it, and the end of the script waits for its jobs.
//! INSERTs run beside the statements to come, in this process, and end with it; one that fails is told of before the next line. A SELECT
//! runs until it is done or stopped: Ctrl-C stops the query and leaves the shell; SIGTERM and SIGHUP end both ([`ending`]).

mod editor;
mod ending;
mod screen;

use crate::collect::Rows;
use crate::config::{self, ConfigArgs};
use crate::job;
use crate::output;
use crate::run::{DML_SYNC, runtime, start};
use crate::script::{cause, job_answer, lookup, print_answer, warn};
use anyhow::{Context, Result, anyhow, bail};
use editor::{Line, Lines};
use ending::{Ending, Stop};
use flott_cluster::{JobHandle, JobStatus, Restore};
use flott_launch::stop;
use flott_runtime::Registry;
use flott_sql::check::unknown_options;
use flott_sql::parser::ast::StopJob;
use flott_sql::script::{Job, Outcome, Script, Session};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;

/// Where STOP JOB … WITH SAVEPOINT puts it.
const SAVEPOINTS: &str = "execution.checkpointing.savepoint-dir";

/// Arguments of `flott sql`.
#[derive(Debug, clap::Args)]
pub struct SqlArgs {
    /// Execute this script and end; its first error ends it.
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Execute this script first.
    #[arg(short, long, value_name = "FILE")]
    pub init: Option<PathBuf>,
    /// Value of ${NAME} in statements; else it is taken from the environment. May be repeated.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    /// Where what was typed is kept (default: .flott-sql-history in the home folder).
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// What the shell does itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShellCommand {
    Help,
    Quit,
    Clear,
    Timing,
}

const HELP: &str = "\
A statement ends with ';' and may have several lines. Tab completes names; the arrows walk the history.

  SELECT …; VALUES …;           runs a query and prints its rows; Ctrl-C stops it
  INSERT INTO … SELECT …;       starts a job beside the shell; it ends with the shell
  CREATE / ALTER / DROP …;      tables, views, databases, catalogs
  SHOW TABLES; DESCRIBE t;      looks at them; also SHOW VIEWS, COLUMNS, FUNCTIONS, JOBS, CREATE TABLE
  EXPLAIN …;                    shows the plan of a query or INSERT
  SET; SET 'key' = 'value';     lists or sets options; RESET takes them back
  STOP JOB 'id';                stops one of SHOW JOBS; WITH SAVEPOINT behind a savepoint
  DESCRIBE JOB 'id';            shows one of them, and why it failed
  \\timing                       shows how long each statement takes, or no longer
  CLEAR;                        clears the screen
  HELP;                         this text
  QUIT;                         ends the shell, as Ctrl-D does";

impl ShellCommand {
    /// The command that a text is, with or without a semicolon.
    fn of(text: &str) -> Option<Self> {
        let word = text.trim().trim_end_matches(';').trim_end().to_ascii_lowercase();
        match word.as_str() {
            "help" | "\\?" | "\\h" => Some(Self::Help),
            "quit" | "exit" | "\\q" => Some(Self::Quit),
            "clear" => Some(Self::Clear),
            "\\timing" => Some(Self::Timing),
            _ => None,
        }
    }
}

/// Whether the shell need not ask for more before it acts.
fn is_whole(text: &str) -> bool {
    text.trim().is_empty()
        || text.trim().starts_with('\\')
        || ShellCommand::of(text).is_some()
        || Script::is_complete(text)
}

/// Runs the command.
pub fn sql(args: &SqlArgs) -> Result<()> {
    let options = config::load(&args.config)?;
    unknown_options(&options).iter().for_each(|warning| warn(warning));
    let variables = lookup(&args.variables)?;
    let runtime = runtime()?;
    let ending = Ending::listen(&runtime)?;
    let rows = Rows::default();
    let registry = Arc::new(job::registry(&rows));
    let mut shell = Shell {
        session: crate::script::session(registry.clone(), options)?,
        registry,
        runtime,
        ending,
        rows,
        jobs: vec![],
        shows_time: false,
        is_typed: false,
        variables: Box::new(variables),
    };
    let mut result = args.init.iter().try_for_each(|file| shell.file(file));
    if result.is_ok() {
        result = match &args.file {
            Some(file) => shell.file(file).and_then(|()| shell.wait_for_all()),
            None => shell.converse(args.history.clone()),
        };
    }
    let stopped = shell.stop_all();
    shell.runtime.shutdown_background();
    result.and(stopped)
}

/// Gives the values of `${NAME}`.
type Lookup = dyn Fn(&str) -> Option<String>;

/// A job of an INSERT.
struct Started {
    handle: JobHandle,
    /// When, as people read it.
    began: String,
    /// Whether its failure was told.
    is_told: bool,
}

struct Shell {
    session: Session,
    registry: Arc<Registry>,
    runtime: Runtime,
    ending: Arc<Ending>,
    rows: Rows,
    /// Those of INSERTs, in the order of their start.
    jobs: Vec<Started>,
    shows_time: bool,
    /// Whether statements are typed, and not read from a file.
    is_typed: bool,
    variables: Box<Lookup>,
}

impl Shell {
    /// Executes a script; its first error ends it.
    fn file(&mut self, file: &Path) -> Result<()> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("the script {} cannot be read", file.display()))?;
        self.execute(&text).with_context(|| file.display().to_string())
    }

    /// Reads statements until there are no more.
    fn converse(&mut self, history: Option<PathBuf>) -> Result<()> {
        let mut lines = Lines::open(history)?;
        self.is_typed = matches!(lines, Lines::Terminal { .. });
        let ending = self.ending.clone();
        loop {
            lines.know(&self.session);
            self.tell_failures();
            let Some(line) = ending.waiting(|| lines.next()) else {
                return Ok(());
            };
            match line? {
                Line::End if self.is_typed => return Ok(()),
                Line::End => return self.wait_for_all(),
                Line::Nothing => {}
                Line::Text(text) => match ShellCommand::of(&text) {
                    Some(ShellCommand::Quit) => return Ok(()),
                    Some(ShellCommand::Help) => output::line(HELP),
                    Some(ShellCommand::Clear) => lines.clear()?,
                    Some(ShellCommand::Timing) => {
                        self.shows_time = !self.shows_time;
                        output::line(format_args!("timing is {}", if self.shows_time { "on" } else { "off" }));
                    }
                    None => match self.execute(&text) {
                        Err(error) if self.is_typed => eprintln!("error: {error:#}"),
                        executed => executed?,
                    },
                },
            }
        }
    }

    /// Tells of jobs that have failed since the last time.
    fn tell_failures(&mut self) {
        for job in self.jobs.iter_mut().filter(|j| !j.is_told) {
            if job.handle.status() == JobStatus::Failed {
                eprintln!("job {} FAILED: {}", job.handle.job_id, cause(&job.handle));
                job.is_told = true;
            }
        }
    }

    fn execute(&mut self, text: &str) -> Result<()> {
        if text.trim().starts_with('\\') {
            bail!("there is no command '{}'; HELP lists those that exist", text.trim());
        }
        let script = Script::parse(text, &self.variables).map_err(|e| anyhow!("{e}"))?;
        for statement in script.statements() {
            if self.ending.is_asked() {
                return Ok(());
            }
            let began = Instant::now();
            let outcome = self.session.execute(&script, statement).map_err(|e| anyhow!("{e}"))?;
            match outcome {
                Outcome::Job(planned) if planned.collect.is_some() => self.select(*planned)?,
                Outcome::Job(planned) => self.insert(*planned)?,
                Outcome::Jobs => print_answer(&crate::script::jobs_answer(&self.handles())),
                Outcome::DescribeJob(id) => {
                    let job = self.job(&id)?;
                    print_answer(&job_answer(&job.handle, &job.began));
                }
                Outcome::StopJob(stop) => self.stop_job(&stop)?,
                Outcome::Done => output::line("OK"),
                other => print_answer(&other),
            }
            if self.shows_time {
                output::line(format_args!("{:.3} s", began.elapsed().as_secs_f64()));
            }
        }
        Ok(())
    }

    /// Runs a query until it ends or Ctrl-C stops it.
    fn select(&mut self, planned: Job) -> Result<()> {
        if let Some(columns) = &planned.collect {
            self.rows.begin(columns, self.session.options())?;
        }
        if self.is_typed && self.rows.is_table() && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
            return self.show(planned);
        }
        let registry = &self.registry;
        let ended = self.runtime.block_on(async {
            let mut stop = Stop::new(&self.ending)?;
            let started = tokio::select! {
                started = start(registry, planned, Restore::Fresh, false) => started?,
                () = stop.recv() => return Ok(true),
            };
            tokio::select! {
                status = started.ended() => job::result(&started, status).map(|()| false),
                () = stop.recv() => Ok(stop::cancel(&started).await.map(|()| true)?),
            }
        });
        if matches!(ended, Ok(true)) && std::io::stderr().is_terminal() {
            // The terminal has shown ^C without a line's end.
            eprintln!();
        }
        let count = self.rows.end().context("standard output cannot be written")?;
        let is_stopped = ended?;
        if let Some(count) = count {
            output::line(format_args!("{count} row{}", if count == 1 { "" } else { "s" }));
        }
        if is_stopped {
            eprintln!("the query was stopped");
        }
        Ok(())
    }

    /// Runs a query and shows its rows as a screen until the screen is left.
    fn show(&mut self, planned: Job) -> Result<()> {
        let started = self
            .runtime
            .block_on(start(&self.registry, planned, Restore::Fresh, false));
        let shown = started.and_then(|job| {
            let left = screen::run(&self.rows, &job, || self.ending.is_asked());
            let is_running = !job.status().is_globally_terminal_state();
            let ended = match is_running {
                true => self.runtime.block_on(stop::cancel(&job)).map_err(Into::into),
                false => job::result(&job, job.status()),
            };
            left.and(ended).map(|()| is_running)
        });
        self.rows.forget();
        if shown? {
            eprintln!("the query was stopped");
        }
        Ok(())
    }

    /// Starts a job, and waits for it where that is asked for.
    fn insert(&mut self, planned: Job) -> Result<()> {
        let waits = self.session.options().boolean(DML_SYNC)?.unwrap_or(false);
        let registry = &self.registry;
        let began = chrono::Local::now().format("%Y-%m-%d %H:%M:%S%.3f").to_string();
        let started = self.runtime.block_on(async {
            let mut stop = Stop::new(&self.ending)?;
            tokio::select! {
                started = start(registry, planned, Restore::Fresh, false) => started,
                () = stop.recv() => bail!("the job was stopped before it had started"),
            }
        })?;
        output::line(format_args!("job {} '{}' runs", started.job_id, started.name));
        self.ending.add(started.clone());
        self.jobs.push(Started {
            handle: started.clone(),
            began,
            // What fails while it is waited for is the statement's own failure.
            is_told: waits,
        });
        match waits {
            true => self.wait_for(&[started]),
            false => Ok(()),
        }
    }

    fn handles(&self) -> Vec<JobHandle> {
        self.jobs.iter().map(|job| job.handle.clone()).collect()
    }

    /// The job of an id.
    fn job(&self, id: &str) -> Result<&Started> {
        let found = self.jobs.iter().find(|j| j.handle.job_id.to_string() == id);
        found.with_context(|| format!("this shell has started no job '{id}'; SHOW JOBS lists those that it has"))
    }

    /// Stops one job of this shell.
    fn stop_job(&self, stop: &StopJob) -> Result<()> {
        let job = &self.job(&stop.id)?.handle;
        if job.status().is_globally_terminal_state() {
            bail!("the job '{}' has ended already: it is {}", stop.id, job.status());
        }
        let folder = self.session.options().get(SAVEPOINTS);
        let folder = match (stop.with_savepoint, folder) {
            (false, _) => None,
            (true, Some(folder)) => Some(folder),
            (true, None) => bail!("WITH SAVEPOINT needs a folder: SET '{SAVEPOINTS}' = '/folder'"),
        };
        self.runtime.block_on(stop::stop(job, folder))?;
        output::line("OK");
        Ok(())
    }

    /// Waits until all jobs have ended, as a script does at its end.
    fn wait_for_all(&self) -> Result<()> {
        let untold: Vec<JobHandle> = (self.jobs.iter().filter(|j| !j.is_told))
            .map(|j| j.handle.clone())
            .collect();
        self.wait_for(&untold)?;
        let failed = self.jobs.iter().filter(|j| j.handle.status() == JobStatus::Failed);
        match failed.count() {
            0 => Ok(()),
            count => bail!("{count} job(s) failed"),
        }
    }

    /// Waits until jobs have ended, or Ctrl-C or SIGTERM stops them.
    fn wait_for(&self, jobs: &[JobHandle]) -> Result<()> {
        let result = self.runtime.block_on(async {
            let mut stop = Stop::new(&self.ending)?;
            let all_ended = async {
                for job in jobs {
                    job.ended().await;
                }
            };
            tokio::select! {
                () = all_ended => Ok(()),
                () = stop.recv() => Ok(stop::stop_all(jobs, None).await?),
            }
        });
        let results = jobs.iter().map(|job| job::result(job, job.status()));
        results.fold(result, Result::and)
    }

    /// Stops the jobs that still run: they live in this process.
    fn stop_all(&mut self) -> Result<()> {
        let mut running = self.handles();
        running.retain(|job| !job.status().is_globally_terminal_state());
        if running.is_empty() {
            return Ok(());
        }
        eprintln!("stopping {} job(s)", running.len());
        Ok(self.runtime.block_on(stop::stop_all(&running, None))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_need_no_semicolon_and_statements_do() {
        assert_eq!(ShellCommand::of(" Quit ;\n"), Some(ShellCommand::Quit));
        assert_eq!(ShellCommand::of("\\timing"), Some(ShellCommand::Timing));
        assert_eq!(ShellCommand::of("SELECT 1;"), None);
        for whole in ["help", "", "\\timing", "\\nope", "SELECT 1;"] {
            assert!(is_whole(whole), "{whole}");
        }
        assert!(!is_whole("SELECT 1"));
    }
}
