//! `flott sql`: statements typed one after the other, each executed at once.
//!
//! On a terminal the line editor keeps a history, completes names and asks for more lines until a statement has its
//! semicolon ([`editor`]); elsewhere statements are read from standard input as they come. An error is printed and the
//! shell goes on; with `-f` the first error ends it. INSERTs run beside the statements to come, in this process, and end
//! with it; a SELECT runs until it is done or stopped: Ctrl-C stops the query and leaves the shell.

mod editor;
mod screen;

use crate::collect::Rows;
use crate::config::{self, ConfigArgs};
use crate::job::{self, StopSignal};
use crate::output;
use crate::run::{DML_SYNC, runtime, start};
use crate::script::{lookup, print_answer};
use anyhow::{Context, Result, anyhow, bail};
use editor::{Line, Lines};
use flott_cluster::{JobHandle, Restore};
use flott_runtime::Registry;
use flott_sql::parser::ast::StopJob;
use flott_sql::script::{Job, Outcome, Script, Session};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

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
    let variables = lookup(&args.variables)?;
    let rows = Rows::default();
    let registry = Arc::new(job::registry(&rows));
    let mut shell = Shell {
        session: crate::script::session(registry.clone(), options)?,
        registry,
        runtime: runtime()?,
        rows,
        jobs: vec![],
        shows_time: false,
        is_typed: false,
        variables: Box::new(variables),
    };
    let mut result = args.init.iter().try_for_each(|file| shell.file(file));
    if result.is_ok() {
        result = match &args.file {
            Some(file) => shell.file(file).and_then(|()| shell.wait_for(&shell.jobs)),
            None => shell.converse(args.history.clone()),
        };
    }
    let stopped = shell.stop_all();
    shell.runtime.shutdown_background();
    result.and(stopped)
}

/// Gives the values of `${NAME}`.
type Lookup = dyn Fn(&str) -> Option<String>;

struct Shell {
    session: Session,
    registry: Arc<Registry>,
    runtime: Runtime,
    rows: Rows,
    /// Those of INSERTs, in the order of their start.
    jobs: Vec<JobHandle>,
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
        self.is_typed = true;
        loop {
            lines.know(&self.session);
            match lines.next()? {
                Line::End => return Ok(()),
                Line::Nothing => {}
                Line::Text(text) => match ShellCommand::of(&text) {
                    Some(ShellCommand::Quit) => return Ok(()),
                    Some(ShellCommand::Help) => output::line(HELP),
                    Some(ShellCommand::Clear) => lines.clear()?,
                    Some(ShellCommand::Timing) => {
                        self.shows_time = !self.shows_time;
                        output::line(format_args!("timing is {}", if self.shows_time { "on" } else { "off" }));
                    }
                    None if text.trim().starts_with('\\') => {
                        eprintln!(
                            "error: there is no command '{}'; HELP lists those that exist",
                            text.trim()
                        );
                    }
                    None => {
                        if let Err(error) = self.execute(&text) {
                            eprintln!("error: {error:#}");
                        }
                    }
                },
            }
        }
    }

    fn execute(&mut self, text: &str) -> Result<()> {
        let script = Script::parse(text, &self.variables).map_err(|e| anyhow!("{e}"))?;
        for statement in script.statements() {
            let began = Instant::now();
            let outcome = self.session.execute(&script, statement).map_err(|e| anyhow!("{e}"))?;
            match outcome {
                Outcome::Job(planned) if planned.collect.is_some() => self.select(*planned)?,
                Outcome::Job(planned) => self.insert(*planned)?,
                Outcome::Jobs => print_answer(&crate::script::jobs_answer(&self.jobs)),
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
            let mut interrupt = signal(SignalKind::interrupt()).context("Ctrl-C cannot be listened for")?;
            let started = tokio::select! {
                started = start(registry, planned, Restore::Fresh, false) => started?,
                _ = interrupt.recv() => return Ok(true),
            };
            tokio::select! {
                status = started.ended() => job::result(&started, status).map(|()| false),
                _ = interrupt.recv() => job::cancel(&started).await.map(|()| true),
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
            let left = screen::run(&self.rows, &job);
            let is_running = !job.status().is_terminal();
            let ended = match is_running {
                true => self.runtime.block_on(job::cancel(&job)),
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
        let started = self
            .runtime
            .block_on(start(&self.registry, planned, Restore::Fresh, false))?;
        output::line(format_args!("job {} '{}' runs", started.job_id, started.name));
        self.jobs.push(started.clone());
        match waits {
            true => self.wait_for(&[started]),
            false => Ok(()),
        }
    }

    /// Stops one job of this shell.
    fn stop_job(&self, stop: &StopJob) -> Result<()> {
        let Some(job) = self.jobs.iter().find(|j| j.job_id.to_string() == stop.id) else {
            bail!(
                "this shell has started no job '{}'; SHOW JOBS lists those that it has",
                stop.id
            );
        };
        if job.status().is_terminal() {
            bail!("the job '{}' has ended already: it is {}", stop.id, job.status());
        }
        let folder = self.session.options().get(SAVEPOINTS);
        let folder = match (stop.with_savepoint, folder) {
            (false, _) => None,
            (true, Some(folder)) => Some(folder),
            (true, None) => bail!("WITH SAVEPOINT needs a folder: SET '{SAVEPOINTS}' = '/folder'"),
        };
        self.runtime.block_on(job::stop(job, folder))?;
        output::line("OK");
        Ok(())
    }

    /// Waits until jobs have ended, or Ctrl-C or SIGTERM stops them.
    fn wait_for(&self, jobs: &[JobHandle]) -> Result<()> {
        let result = self.runtime.block_on(async {
            let mut signals = StopSignal::new()?;
            let all_ended = async {
                for job in jobs {
                    job.ended().await;
                }
            };
            tokio::select! {
                () = all_ended => Ok(()),
                () = signals.recv() => job::stop_all(jobs, None).await,
            }
        });
        let results = jobs.iter().map(|job| job::result(job, job.status()));
        results.fold(result, Result::and)
    }

    /// Stops the jobs that still run: they live in this process.
    fn stop_all(&mut self) -> Result<()> {
        let running: Vec<JobHandle> = self.jobs.drain(..).filter(|j| !j.status().is_terminal()).collect();
        if running.is_empty() {
            return Ok(());
        }
        eprintln!("stopping {} job(s)", running.len());
        self.runtime.block_on(job::stop_all(&running, None))
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
