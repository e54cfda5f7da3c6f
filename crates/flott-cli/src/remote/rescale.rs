//! `flott rescale`: another parallelism for a job that runs on meanwhile.

use super::http::JobManager;
use super::{RemoteArgs, job_id};
use crate::output;
use crate::run::runtime;
use anyhow::{Context, Result, bail};
use flott_core::JobId;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks at how far the job is.
const LOOK: Duration = Duration::from_millis(50);

/// When it is said what the job waits for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Arguments of `flott rescale`.
#[derive(Debug, clap::Args)]
pub struct RescaleArgs {
    /// The job's id.
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Subtasks of every vertex; fewer where a vertex cannot have so many.
    #[arg(short, long, value_name = "N", required_unless_present = "vertices")]
    pub parallelism: Option<usize>,
    /// Subtasks of one vertex, by its id (flott list --json shows jobs, GET /jobs/ID their vertices); may be repeated.
    #[arg(long = "vertex", value_name = "ID=N", value_parser = vertex)]
    pub vertices: Vec<(String, usize)>,
    /// Run with as few as this while there are not slots for more; without it the job waits for all.
    #[arg(long, value_name = "N")]
    pub min: Option<usize>,
    /// Do not wait until the job runs so.
    #[arg(short, long)]
    pub detached: bool,
    #[command(flatten)]
    pub remote: RemoteArgs,
}

fn vertex(text: &str) -> Result<(String, usize), String> {
    let parts = text
        .split_once('=')
        .and_then(|(id, n)| Some((id.to_owned(), n.parse().ok()?)));
    parts.ok_or_else(|| "a vertex and its parallelism are written ID=N".to_owned())
}

/// `flott rescale`
pub fn rescale(args: &RescaleArgs) -> Result<()> {
    let (manager, job) = (args.remote.manager()?, job_id(&args.job)?);
    runtime()?.block_on(async {
        let details = manager.get(&format!("/jobs/{job}")).await?;
        let path = format!("/jobs/{job}/resource-requirements");
        let wanted = wanted(args, &details, &manager.get(&path).await?)?;
        let asked = manager.put(&path, &wanted).await;
        asked.with_context(|| format!("job {job} is not rescaled"))?;
        // A vertex that cannot have another parallelism keeps its own.
        let kept = manager.get(&path).await?;
        let is_reached = args.detached || wait(&manager, job, &kept, &args.remote).await?;
        tell(&args.remote, job, args.detached, is_reached, kept);
        Ok(())
    })
}

/// The bounds of all vertices: of those of which nothing is said, what they are.
fn wanted(args: &RescaleArgs, details: &Value, now: &Value) -> Result<Value> {
    let vertices = details["vertices"].as_array().cloned().unwrap_or_default();
    let of_id = |id: &str| vertices.iter().any(|vertex| vertex["id"] == id);
    if let Some((unknown, _)) = args.vertices.iter().find(|(id, _)| !of_id(id)) {
        let name = |vertex: &Value| format!("{} ({})", text(&vertex["id"]), text(&vertex["name"]));
        let names: Vec<String> = vertices.iter().map(name).collect();
        bail!(
            "--vertex {unknown}: the job has no such vertex, but {}",
            names.join(", ")
        );
    }
    let bounds = |vertex: &Value| {
        let id = text(&vertex["id"]);
        let named = args
            .vertices
            .iter()
            .find(|(of, _)| *of == id)
            .map(|(_, wanted)| *wanted);
        let most = |wanted: usize| wanted.min(number(&vertex["maxParallelism"]));
        let bounds = named.or(args.parallelism.map(most)).map(|upper| {
            let lower = args.min.map_or(upper, |min| min.min(upper));
            json!({ "parallelism": { "lowerBound": lower, "upperBound": upper } })
        });
        let bounds = bounds.unwrap_or_else(|| now[&id].clone());
        (id, bounds)
    };
    Ok(vertices.iter().map(bounds).collect::<Map<_, _>>().into())
}

/// Waits until all vertices run at their upper bounds, or, where fewer subtasks are allowed too, for a moment; whether they do.
async fn wait(manager: &JobManager, job: JobId, bounds: &Value, remote: &RemoteArgs) -> Result<bool> {
    let (began, mut is_told) = (Instant::now(), false);
    loop {
        let details = manager.get(&format!("/jobs/{job}")).await?;
        let state = text(&details["state"]);
        if ["FINISHED", "CANCELED", "FAILED"].contains(&state.as_str()) {
            bail!("job {job} is {state}, and was not rescaled");
        }
        let vertices = details["vertices"].as_array().cloned().unwrap_or_default();
        let run_from = |bound: &str| {
            let is_there = |vertex: &Value| {
                let parallelism = number(&vertex["parallelism"]);
                let bounds = &bounds[&text(&vertex["id"])]["parallelism"];
                let is_within = parallelism >= number(&bounds[bound]) && parallelism <= number(&bounds["upperBound"]);
                is_within && number(&vertex["tasks"]["RUNNING"]) == parallelism
            };
            state == "RUNNING" && vertices.iter().all(is_there)
        };
        if run_from("upperBound") {
            return Ok(true);
        }
        if began.elapsed() > PATIENCE {
            if run_from("lowerBound") {
                return Ok(false);
            }
            if !is_told && !remote.json {
                is_told = true;
                say_what_is_missing(manager, &state).await?;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn say_what_is_missing(manager: &JobManager, state: &str) -> Result<()> {
    let overview = manager.get("/overview").await?;
    output::line(format_args!(
        "Waiting: the job is {state}; of {} slots of {} TaskManagers {} are free.",
        overview["slots-total"], overview["taskmanagers"], overview["slots-available"]
    ));
    Ok(())
}

fn tell(remote: &RemoteArgs, job: JobId, is_detached: bool, is_reached: bool, bounds: Value) {
    match (remote.json, is_detached, is_reached) {
        (true, _, _) => output::line(bounds),
        (false, true, _) => output::line(format_args!("Rescaling of job {job} is asked for.")),
        (false, false, true) => output::line(format_args!("Job {job} is rescaled.")),
        (false, false, false) => output::line(format_args!(
            "Job {job} runs with fewer subtasks than it may have, and takes more as soon as there are slots."
        )),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap_or_default() as usize
}
