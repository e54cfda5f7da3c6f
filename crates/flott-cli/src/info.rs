//! `flott info`: what a script's jobs demand of a cluster, before any of them is started.
//!
//! Jobs of one script run at the same time unless one waits for its end (`table.dml-sync`, a SELECT), so the script demands the most slots
//! that are held at once.

use crate::collect::Rows;
use crate::output;
use crate::run::DML_SYNC;
use crate::script::{ScriptArgs, Step, for_each_job, warn};
use anyhow::Result;
use flott_cluster::demand::{ClusterShape, JobDemand};
use flott_sql::script::Job;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Arguments of `flott info`.
#[derive(Debug, clap::Args)]
pub struct InfoArgs {
    #[command(flatten)]
    pub script: ScriptArgs,
    /// Print JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// A job, and whether the next one waits for its end.
struct Planned {
    job: Job,
    demand: JobDemand,
    is_waited_for: bool,
}

/// `flott info`
pub fn info(args: &InfoArgs) -> Result<()> {
    let options = args.script.options()?;
    let shape = ClusterShape::from_options(&options)?;
    let registry = Arc::new(crate::job::registry(&Rows::default()));
    let mut jobs = vec![];
    for_each_job(&args.script, registry, options, |step| {
        match step {
            Step::Job(job) => jobs.push(planned(*job)?),
            Step::Warning(warning) => warn(&warning),
            Step::ShowJobs => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let slots = most_at_once(jobs.iter().map(|job| (job.demand.graph.slots(), job.is_waited_for)));
    match args.json {
        true => output::line(json(&jobs, &shape, slots)),
        false => output::text(text(&jobs, &shape, slots)),
    }
    if jobs.is_empty() {
        eprintln!("the script has no INSERT, statement set or SELECT: it needs no slots");
    }
    Ok(())
}

fn planned(job: Job) -> Result<Planned> {
    crate::job::check_options(&job.plan.options)?;
    let is_sync = job.plan.options.boolean(DML_SYNC)?.unwrap_or(false);
    Ok(Planned {
        demand: JobDemand::of(&job.plan)?,
        is_waited_for: is_sync || job.collect.is_some(),
        job,
    })
}

/// The most slots that are held at once, of jobs that are started one after the other: their slots, and whether the next one waits.
fn most_at_once(jobs: impl Iterator<Item = (usize, bool)>) -> usize {
    let (mut most, mut held) = (0, 0);
    for (slots, is_waited_for) in jobs {
        most = most.max(held + slots);
        if !is_waited_for {
            held += slots;
        }
    }
    most
}

fn json(jobs: &[Planned], shape: &ClusterShape, slots: usize) -> Value {
    let managers = shape.task_managers(slots);
    json!({
        "jobs": jobs.iter().map(|job| json_of(job, shape)).collect::<Vec<_>>(),
        "slots": slots,
        "taskManagers": managers,
        "slotsPerTaskManager": shape.slots_per_task_manager,
        "cpuCoresPerTaskManager": shape.cores_per_task_manager,
        "memoryBytesPerTaskManager": shape.task_manager_bytes,
        "cpuCores": shape.cores_per_task_manager * managers as f64,
        "memoryBytes": shape.task_manager_bytes.map(|bytes| bytes * managers as u64),
        "jobManagerMemoryBytes": shape.job_manager_bytes,
    })
}

fn json_of(Planned { job, demand, .. }: &Planned, shape: &ClusterShape) -> Value {
    let vertex = |vertex: &flott_plan::Vertex| {
        json!({
            "id": job.plan.nodes[vertex.nodes[0]].operator_id,
            "name": vertex.name,
            "parallelism": vertex.parallelism,
            "maxParallelism": vertex.max_parallelism,
            "slotSharingGroup": vertex.slot_sharing_group,
        })
    };
    json!({
        "name": job.plan.name,
        "vertices": demand.graph.vertices.iter().map(vertex).collect::<Vec<_>>(),
        "subtasks": demand.graph.subtasks(),
        "slots": demand.graph.slots(),
        "slotsBySharingGroup": demand.graph.slots_by_group(),
        "taskManagers": shape.task_managers(demand.graph.slots()),
        "stateBytesPerTaskManager": demand.state_bytes(shape.slots_per_task_manager),
    })
}

fn text(jobs: &[Planned], shape: &ClusterShape, slots: usize) -> String {
    let of_jobs: String = jobs.iter().map(|job| text_of(job, shape)).collect();
    match jobs.is_empty() {
        true => of_jobs,
        false => of_jobs + &of_cluster(shape, slots),
    }
}

fn text_of(Planned { job, demand, .. }: &Planned, shape: &ClusterShape) -> String {
    let mut rows = vec![["subtasks", "slot sharing group", "vertex"].map(str::to_owned).to_vec()];
    rows.extend(demand.graph.vertices.iter().map(|vertex| {
        vec![
            vertex.parallelism.to_string(),
            vertex.slot_sharing_group.clone(),
            vertex.name.clone(),
        ]
    }));
    let groups = demand.graph.slots_by_group();
    let groups: Vec<String> = groups
        .iter()
        .map(|(group, slots)| format!("{slots} of {group}"))
        .collect();
    let state = match demand.state_bytes(shape.slots_per_task_manager) {
        Some(bytes) => format!("at most {} in a TaskManager", output::size(bytes)),
        None => "in memory, without a bound (state.backend.type: rocksdb has one)".to_owned(),
    };
    format!(
        "{}\n{}{} subtasks in {} slots: {}\nstate: {state}\n\n",
        job.plan.name,
        output::columns(&rows),
        demand.graph.subtasks(),
        demand.graph.slots(),
        groups.join(", "),
    )
}

fn of_cluster(shape: &ClusterShape, slots: usize) -> String {
    let managers = shape.task_managers(slots);
    let row = |name: &str, each: String, all: String| vec![name.to_owned(), each, all];
    let size = |bytes: Option<u64>| bytes.map_or("not told".to_owned(), output::size);
    let rows = [
        row("", "each".to_owned(), "in all".to_owned()),
        row("TaskManagers", String::new(), managers.to_string()),
        row("slots", shape.slots_per_task_manager.to_string(), slots.to_string()),
        row(
            "CPU cores",
            shape.cores_per_task_manager.to_string(),
            (shape.cores_per_task_manager * managers as f64).to_string(),
        ),
        row(
            "memory",
            size(shape.task_manager_bytes),
            size(shape.task_manager_bytes.map(|bytes| bytes * managers as u64)),
        ),
        row("JobManager's memory", String::new(), size(shape.job_manager_bytes)),
    ];
    let remedy = match (shape.task_manager_bytes, shape.job_manager_bytes) {
        (Some(_), Some(_)) => "",
        _ => "memory is told by taskmanager.memory.process.size and jobmanager.memory.process.size\n",
    };
    output::columns(&rows) + remedy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_that_are_waited_for_give_their_slots_back() {
        assert_eq!(most_at_once([(2, false), (3, false)].into_iter()), 5);
        assert_eq!(most_at_once([(2, true), (3, true)].into_iter()), 3);
        assert_eq!(most_at_once([(2, false), (4, true), (3, false)].into_iter()), 6);
        assert_eq!(most_at_once(std::iter::empty()), 0);
    }
}
