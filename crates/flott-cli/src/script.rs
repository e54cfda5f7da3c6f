//! Scripts on the command line: where their text and variables come from, `flott explain` and `flott check`.

use crate::catalog_files::LocalFiles;
use crate::config::{self, ConfigArgs};
use crate::output;
use anyhow::{Context, Result, anyhow, bail};
use flott_cluster::{JobHandle, JobStatus};
use flott_core::Options;
use flott_runtime::Registry;
use flott_sql::check::unknown_options;
use flott_sql::script::{Job, Outcome, Script, Session};
use flott_sql::table_text;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

/// A script with its variables and options.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ScriptArgs {
    /// File with SQL statements; '-' reads standard input.
    #[arg(required_unless_present = "execute", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// SQL statements themselves, instead of a file.
    #[arg(short, long, value_name = "SQL", conflicts_with = "file", allow_hyphen_values = true)]
    pub execute: Option<String>,
    /// Value of ${NAME} in the script; else it is taken from the environment. May be repeated.
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub variables: Vec<String>,
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl ScriptArgs {
    /// The script, read and parsed.
    pub fn read(&self) -> Result<Script> {
        let (name, text) = match (&self.execute, &self.file) {
            (Some(sql), _) => ("-e".to_owned(), sql.clone()),
            (None, Some(file)) if file.as_os_str() == "-" => {
                ("standard input".to_owned(), std::io::read_to_string(std::io::stdin())?)
            }
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("the script {} cannot be read", file.display()))?;
                (file.display().to_string(), text)
            }
            (None, None) => bail!("a script is needed: a file, or -e \"SQL\""),
        };
        let lookup = lookup(&self.variables)?;
        Script::parse(&text, &lookup).map_err(|e| anyhow!("{name}: {e}"))
    }

    /// Options from outside the script.
    pub fn options(&self) -> Result<Options> {
        config::load(&self.config)
    }
}

/// What `${NAME}` stands for: a variable of the command line (`NAME=VALUE`), or one of the environment.
pub fn lookup(pairs: &[String]) -> Result<impl Fn(&str) -> Option<String> + 'static> {
    let mut variables = BTreeMap::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=') else {
            bail!("--var {pair}: a variable is written NAME=VALUE, e.g. --var BOOTSTRAP=localhost:9092");
        };
        variables.insert(key.to_owned(), value.to_owned());
    }
    Ok(move |name: &str| variables.get(name).cloned().or_else(|| std::env::var(name).ok()))
}

/// A session whose catalogs may be files of this machine.
pub fn session(registry: Arc<Registry>, options: Options) -> Result<Session> {
    let files = Arc::new(LocalFiles::default());
    Session::new(registry, options)
        .with_files(files)
        .map_err(|e| anyhow!("{e}"))
}

/// The answer of SHOW JOBS.
pub fn jobs_answer(jobs: &[JobHandle]) -> Outcome {
    let has_failed = jobs.iter().any(|job| job.status() == JobStatus::Failed);
    let mut columns = vec!["job id", "job name", "status"];
    if has_failed {
        columns.push("failure");
    }
    let row = |job: &JobHandle| {
        let mut row = vec![job.job_id.to_string(), job.name.clone(), job.status().to_string()];
        if has_failed {
            row.push(cause(job));
        }
        row
    };
    Outcome::Rows {
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        rows: jobs.iter().map(row).collect(),
    }
}

/// The answer of DESCRIBE JOB: Flink's columns, and why it failed.
pub fn job_answer(job: &JobHandle, began: &str) -> Outcome {
    let columns = ["job id", "job name", "status", "start time", "failure"];
    Outcome::Rows {
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        rows: vec![vec![
            job.job_id.to_string(),
            job.name.clone(),
            job.status().to_string(),
            began.to_owned(),
            cause(job),
        ]],
    }
}

/// Why a job has failed, on one line; nothing if it has not.
pub fn cause(job: &JobHandle) -> String {
    let failure = job.stats.failure().filter(|_| job.status() == JobStatus::Failed);
    failure.unwrap_or_default().split('\n').collect::<Vec<_>>().join("; ")
}

/// Tells what is odd and harmless.
pub fn warn(warning: &str) {
    eprintln!("warning: {warning}");
}

/// Prints the answer of a statement that is no job.
pub fn print_answer(outcome: &Outcome) {
    match outcome {
        Outcome::Warned(warning) => warn(warning),
        Outcome::Text(text) => output::line(text),
        Outcome::Rows { columns, rows } => output::line(table_text::table(columns, rows)),
        Outcome::Done | Outcome::Job(_) | Outcome::Jobs | Outcome::DescribeJob(_) | Outcome::StopJob(_) => {}
    }
}

/// What a script asks of whoever runs its jobs.
#[derive(Debug)]
pub enum Step {
    /// To run one.
    Job(Box<Job>),
    /// To list them.
    ShowJobs,
    /// To tell of an option that nobody reads.
    Warning(String),
}

/// Executes the statements up to each job, and hands the jobs over in order, until one breaks off.
pub fn for_each_job(
    args: &ScriptArgs,
    registry: Arc<Registry>,
    options: Options,
    mut submit: impl FnMut(Step) -> Result<ControlFlow<()>>,
) -> Result<usize> {
    let script = args.read()?;
    for warning in unknown_options(&options) {
        if submit(Step::Warning(warning))?.is_break() {
            return Ok(0);
        }
    }
    let mut session = session(registry, options)?;
    let mut jobs = 0;
    for statement in script.statements() {
        let step = match session.execute(&script, statement).map_err(|e| anyhow!("{e}"))? {
            Outcome::Job(job) => {
                jobs += 1;
                Step::Job(job)
            }
            Outcome::Jobs => Step::ShowJobs,
            Outcome::Warned(warning) => Step::Warning(warning),
            Outcome::DescribeJob(id) => bail!(
                "DESCRIBE JOB '{id}' is a statement of the shell (flott sql); SHOW JOBS lists a script's jobs with their failures"
            ),
            Outcome::StopJob(stop) => bail!(
                "STOP JOB '{}' is a statement of the shell (flott sql): a script's jobs end with its command, which Ctrl-C stops",
                stop.id
            ),
            other => {
                print_answer(&other);
                continue;
            }
        };
        if submit(step)?.is_break() {
            break;
        }
    }
    Ok(jobs)
}

/// The only job of a script, as `place` has one.
pub fn only_job(mut jobs: Vec<Job>, place: &str) -> Result<Job> {
    let job = match (jobs.pop(), jobs.len()) {
        (Some(job), 0) => job,
        (None, _) => bail!("the script has no INSERT or statement set: there is no job to run"),
        (Some(_), others) => bail!(
            "the script has {} jobs, and {place} has one: put their INSERTs into EXECUTE STATEMENT SET BEGIN … END, or run \
             the script at a JobManager of many jobs (flott jobmanager, flott run -m)",
            others + 1
        ),
    };
    match job.collect {
        None => Ok(job),
        Some(_) => {
            bail!(
                "a SELECT cannot be a job here, since nobody would see its rows: write them to a table with INSERT INTO"
            )
        }
    }
}

/// `flott explain`
pub fn explain(args: &ScriptArgs) -> Result<()> {
    let registry = Arc::new(crate::job::registry(&crate::collect::Rows::default()));
    let jobs = for_each_job(args, registry, args.options()?, |step| {
        match step {
            Step::Job(job) => output::line(job.explanation),
            Step::Warning(warning) => warn(&warning),
            Step::ShowJobs => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if jobs == 0 {
        eprintln!("the script has no INSERT, statement set or SELECT: there is no plan to show");
    }
    Ok(())
}

/// `flott check`
pub fn check(args: &ScriptArgs) -> Result<()> {
    let registry = Arc::new(crate::job::registry(&crate::collect::Rows::default()));
    let mut warnings = 0;
    let jobs = for_each_job(args, registry, args.options()?, |step| {
        let job = match step {
            Step::Job(job) => job,
            Step::Warning(warning) => {
                warnings += 1;
                output::line(format_args!("warning: {warning}"));
                return Ok(ControlFlow::Continue(()));
            }
            Step::ShowJobs => return Ok(ControlFlow::Continue(())),
        };
        crate::job::check_options(&job.plan.options)?;
        output::line(format_args!("{}: valid", job.plan.name));
        for warning in &job.warnings {
            warnings += 1;
            output::line(format_args!("  warning: {warning}"));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    output::line(format_args!("{jobs} job(s), {warnings} warning(s)"));
    Ok(())
}
