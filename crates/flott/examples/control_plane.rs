//! What the control plane costs at size: a real JobManager's code, TaskManagers that only answer.
//!
//! ```text
//! cargo run --release -p flott --example control_plane [TASKMANAGERS...]
//! ```
//! One JSON line for each number of TaskManagers, of 20 slots and so 100 subtasks each: CPU seconds of this process for the scheduling of a
//! job (from its submission until all subtasks run, all deployments written as they go over the wire), for a checkpoint (from its trigger until it is
//! committed), and for a round of heartbeats (with the counters of all subtasks, read from the wire).

use anyhow::{Context, Result, bail, ensure};
use flott_cluster::coordinator::SubtaskId;
use flott_cluster::dispatcher::Dispatcher;
use flott_cluster::events::EventKind;
use flott_cluster::protocol::{AttemptId, Deployment, Order, Peer, Report, WrittenPart};
use flott_cluster::resources::{GatewayListener, Heard, TaskManagerGateway, TaskManagerInfo, TaskManagerRef};
use flott_cluster::slot_pool::{Registration, SlotPool};
use flott_cluster::{JobHandle, Restore, Submission};
use flott_core::Options;
use flott_core::clock::SystemClock;
use flott_plan::Plan;
use flott_runtime::metrics::{TaskMetrics, TaskReading};
use flott_runtime::task::TaskCommand;
use flott_sql::script::{Outcome, Script, Session};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Slots of a TaskManager; a slot holds a subtask of each of the job's five vertices.
const SLOTS: usize = 20;

const JOB: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1');
    CREATE TABLE nothing (n BIGINT, c BIGINT) WITH ('connector' = 'blackhole');
    INSERT INTO nothing SELECT n, COUNT(*) FROM numbers WHERE n > 0 GROUP BY n;";

/// A TaskManager that does at once what it is told.
#[derive(Default)]
struct Worker(Mutex<Share>);

#[derive(Default)]
struct Share {
    listener: Option<GatewayListener>,
    subtasks: Vec<SubtaskId>,
    /// What it was sent, in bytes.
    deployment_bytes: usize,
}

impl Worker {
    fn share(&self) -> MutexGuard<'_, Share> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, report: impl Fn() -> Report) {
        let share = self.share();
        if let Some(listener) = &share.listener {
            let subtasks = share.subtasks.iter();
            subtasks.for_each(|id| listener(Heard::Subtask(*id, report())));
        }
    }

    /// What it tells with a heartbeat, as it comes over the wire.
    fn counters(&self) -> Result<Vec<u8>> {
        let metrics = TaskMetrics::new(["one".to_owned()]);
        let readings: Vec<(SubtaskId, TaskReading)> =
            self.share().subtasks.iter().map(|id| (*id, metrics.read())).collect();
        Ok(serde_json::to_vec(&readings)?)
    }
}

impl TaskManagerGateway for Worker {
    fn deploy(&self, deployment: Deployment, listener: GatewayListener) {
        let bytes = serde_json::to_vec(&deployment).map_or(0, |bytes| bytes.len());
        let subtasks = deployment.placement.subtasks_at(deployment.here).to_vec();
        *self.share() = Share {
            listener: Some(listener),
            subtasks,
            deployment_bytes: bytes,
        };
        self.report(|| Report::Running);
    }

    fn order(&self, _: AttemptId, order: Order) {
        match order {
            Order::Tasks(TaskCommand::Checkpoint(barrier)) => self.report(|| {
                let part = WrittenPart {
                    parts: vec![],
                    written_bytes: 0,
                    state_bytes: 0,
                    in_memory_bytes: vec![],
                    in_flight_bytes: 0,
                    processed_bytes: 0,
                    is_unaligned: false,
                };
                Report::Part(barrier.checkpoint, Box::new(part))
            }),
            Order::Tasks(TaskCommand::Cancel) => self.report(|| Report::Ended),
            _ => {}
        }
    }
}

fn plan(parallelism: usize) -> Result<Plan> {
    let options: Options = [
        ("parallelism.default", parallelism.to_string()),
        ("pipeline.operator-chaining.enabled", "false".to_owned()),
        ("pipeline.max-parallelism", "32768".to_owned()),
    ]
    .into_iter()
    .collect();
    let script = Script::parse(JOB, &|_| None)?;
    let mut session = Session::new(Arc::new(flott::registry()), options);
    let outcomes = session.execute_all(&script)?;
    let plan = outcomes.into_iter().find_map(|outcome| match outcome {
        Outcome::Job(job) => Some(job.plan),
        _ => None,
    });
    plan.context("the script has no job")
}

/// CPU seconds of this process until now.
fn cpu_s() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("/proc/self/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 / 100.0)
}

async fn all_run(job: &JobHandle) -> Result<()> {
    loop {
        let log = job.stats.events();
        if log
            .events()
            .iter()
            .any(|event| matches!(event.kind, EventKind::TasksRunning { .. }))
        {
            return Ok(());
        }
        if job.status().is_globally_terminal_state() {
            bail!("the job is {}: {:?}", job.status(), job.stats.failure());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn register(pool: &SlotPool, number: usize, worker: &Arc<Worker>) -> Registration {
    let id = format!("tm-{number}");
    let reference = TaskManagerRef {
        peer: Peer {
            data_address: format!("{id}.cluster.local:6121"),
            id: id.clone(),
        },
        gateway: worker.clone(),
    };
    let info = TaskManagerInfo {
        id,
        slots: SLOTS,
        ..TaskManagerInfo::default()
    };
    pool.register(reference, info, vec![])
}

async fn measure(task_managers: usize) -> Result<()> {
    let registry = Arc::new(flott::registry());
    let pool = SlotPool::new(&Options::new(), Arc::new(SystemClock))?;
    let workers: Vec<Arc<Worker>> = (0..task_managers).map(|_| Arc::default()).collect();
    let registrations: Vec<Registration> = workers.iter().enumerate().map(|(n, w)| register(&pool, n, w)).collect();
    let dispatcher = Dispatcher::new(Options::new(), registry, Arc::new(SystemClock), Arc::new(pool), None)?;
    let submission = Submission {
        plan: plan(task_managers * SLOTS)?,
        restore: Restore::Fresh,
        allow_non_restored_state: false,
    };
    let began = cpu_s()?;
    let job = dispatcher.submit(submission).await?;
    all_run(&job).await?;
    let scheduling_s = cpu_s()? - began;
    let began = cpu_s()?;
    job.checkpoint().await.map_err(anyhow::Error::msg)?;
    let checkpoint_s = cpu_s()? - began;
    let beats = workers
        .iter()
        .map(|worker| worker.counters())
        .collect::<Result<Vec<_>>>()?;
    let began = cpu_s()?;
    for ((worker, registration), bytes) in workers.iter().zip(&registrations).zip(&beats) {
        let readings = serde_json::from_slice(bytes)?;
        registration.heartbeat(1);
        if let Some(listener) = &worker.share().listener {
            listener(Heard::Counted(readings));
        }
    }
    // The job master has heard all when it answers.
    job.checkpoint().await.map_err(anyhow::Error::msg)?;
    let heartbeats_s = (cpu_s()? - began - checkpoint_s).max(0.0);
    let subtasks = job.graph().subtasks();
    let deployed: usize = workers.iter().map(|worker| worker.share().subtasks.len()).sum();
    ensure!(deployed == subtasks, "{deployed} of {subtasks} subtasks run");
    let deployment_bytes: usize = workers.iter().map(|worker| worker.share().deployment_bytes).sum();
    println!(
        "{}",
        serde_json::json!({
            "task_managers": task_managers, "subtasks": subtasks, "scheduling_cpu_s": scheduling_s, "checkpoint_cpu_s": checkpoint_s,
            "heartbeat_round_cpu_s": heartbeats_s, "deployments_mb": deployment_bytes as f64 / 1e6,
        })
    );
    job.cancel();
    job.ended().await;
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let asked: Vec<usize> = std::env::args().skip(1).map(|n| n.parse()).collect::<Result<_, _>>()?;
    let numbers = if asked.is_empty() { vec![10, 100, 1_000] } else { asked };
    for task_managers in numbers {
        measure(task_managers).await?;
    }
    Ok(())
}
