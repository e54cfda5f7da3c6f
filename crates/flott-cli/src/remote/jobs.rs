//! `flott list` and `flott cancel`.

use super::{RemoteArgs, job_id};
use crate::output;
use crate::run::runtime;
use anyhow::Result;
use chrono::{DateTime, Local};
use serde_json::{Value, json};

/// Arguments of `flott list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Only jobs that run or are started again.
    #[arg(short, long)]
    pub running: bool,
    /// Only jobs that wait for their start.
    #[arg(short, long)]
    pub scheduled: bool,
    /// Also jobs that have ended.
    #[arg(short, long)]
    pub all: bool,
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Arguments of `flott cancel`.
#[derive(Debug, clap::Args)]
pub struct CancelArgs {
    /// The job's id.
    #[arg(value_name = "JOB")]
    pub job: String,
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// `flott list`
pub fn list(args: &ListArgs) -> Result<()> {
    let manager = args.remote.manager()?;
    let answer = runtime()?.block_on(manager.get("/jobs/overview"))?;
    if args.remote.json {
        output::line(answer);
        return Ok(());
    }
    let mut jobs = answer["jobs"].as_array().cloned().unwrap_or_default();
    jobs.sort_by_key(|job| job["start-time"].as_i64());
    let both = !args.running && !args.scheduled;
    if both || args.running || args.all {
        let title = "------------------ Running/Restarting Jobs -------------------";
        section(title, "No running jobs.", &jobs, |state| {
            !is_scheduled(state) && !has_ended(state)
        });
    }
    if both || args.scheduled || args.all {
        let title = "----------------------- Scheduled Jobs -----------------------";
        section(title, "No scheduled jobs.", &jobs, is_scheduled);
    }
    if args.all {
        let title = "---------------------- Terminated Jobs -----------------------";
        section(title, "No terminated jobs.", &jobs, has_ended);
    }
    Ok(())
}

fn is_scheduled(state: &str) -> bool {
    matches!(state, "CREATED" | "INITIALIZING")
}

fn has_ended(state: &str) -> bool {
    matches!(state, "FINISHED" | "CANCELED" | "FAILED")
}

fn section(title: &str, nothing: &str, jobs: &[Value], belongs: impl Fn(&str) -> bool) {
    let of_section = jobs
        .iter()
        .filter(|job| belongs(job["state"].as_str().unwrap_or_default()));
    let lines: Vec<String> = of_section.map(line).collect();
    if lines.is_empty() {
        output::line(nothing);
        return;
    }
    output::line(title);
    lines.into_iter().for_each(output::line);
    output::line("--------------------------------------------------------------");
}

/// A job as Flink's command line shows it.
fn line(job: &Value) -> String {
    let text = |field: &str| job[field].as_str().unwrap_or_default();
    let start_ms = job["start-time"].as_i64().unwrap_or(0);
    let start = DateTime::from_timestamp_millis(start_ms).map(|at| at.with_timezone(&Local));
    let start = start
        .map(|at| at.format("%d.%m.%Y %H:%M:%S").to_string())
        .unwrap_or_default();
    format!("{start} : {} : {} ({})", text("jid"), text("name"), text("state"))
}

/// `flott cancel`
pub fn cancel(args: &CancelArgs) -> Result<()> {
    let (manager, job) = (args.remote.manager()?, job_id(&args.job)?);
    if !args.remote.json {
        output::line(format_args!("Cancelling job {job}."));
    }
    runtime()?.block_on(manager.patch(&format!("/jobs/{job}?mode=cancel")))?;
    match args.remote.json {
        true => output::line(json!({ "jobid": job })),
        false => output::line(format_args!("Cancelled job {job}.")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_one_line_as_flink_prints_it() {
        let job = json!({ "start-time": 0, "jid": "00ff", "name": "counts", "state": "RUNNING" });
        let line = line(&job);
        // The hour is that of the machine's time zone.
        assert!(line.ends_with(" : 00ff : counts (RUNNING)"), "{line}");
        assert_eq!(line.split(" : ").next().unwrap().len(), "01.01.1970 00:00:00".len());
    }
}
