//! Jobs over several TaskManagers, which are joined with their JobManager, and with each other, by sockets of this machine.

use crate::toys::{self, World};
use crate::{DEADLINE, OFTEN, RETRY, dir_option, ended, until};
use flott_cluster::dispatcher::Dispatcher;
use flott_cluster::events::{EventKind, JobEvent};
use flott_cluster::inquiry::Logs;
use flott_cluster::rpc::{
    Finding, JobManagerPort, JobManagerServer, RpcSettings, TaskManagerIdentity, run_task_manager,
};
use flott_cluster::slot_pool::SlotPool;
use flott_cluster::taskmanager::TaskManager;
use flott_cluster::{ClusterError, JobHandle, JobStatus, Restore, Submission};
use flott_core::Options;
use flott_core::clock::SystemClock;
use flott_plan::Plan;
use flott_runtime::exchange::ExchangeService;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinHandle;

/// A JobManager, and TaskManagers that have registered.
pub struct Cluster {
    world: Arc<World>,
    options: Options,
    _server: JobManagerServer,
    pub dispatcher: Dispatcher,
    pub pool: SlotPool,
    pub managers: Vec<Member>,
    /// How long TaskManagers look for the JobManager.
    patience: Duration,
}

pub struct Member {
    manager: TaskManager,
    pub running: JoinHandle<String>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.running.abort();
        self.manager.cancel_all();
    }
}

impl Cluster {
    pub async fn start(world: &Arc<World>, options: &[(&str, &str)], slots: &[usize]) -> Self {
        let mut options: Options = options.iter().copied().collect();
        options.set("jobmanager.rpc.port", "0");
        let pool = SlotPool::new(&options, Arc::new(SystemClock)).unwrap();
        let settings = RpcSettings::from_options(&options).unwrap();
        let port = JobManagerPort::bind(settings).await.unwrap();
        options.set("jobmanager.rpc.port", port.address().port().to_string());
        let server = port.serve(0, pool.clone());
        let registry = Arc::new(toys::registry(world));
        let dispatcher = Dispatcher::new(
            Options::new(),
            registry,
            Arc::new(SystemClock),
            Arc::new(pool.clone()),
            None,
        )
        .unwrap();
        let mut cluster = Self {
            world: world.clone(),
            options,
            _server: server,
            dispatcher,
            pool,
            managers: vec![],
            patience: DEADLINE,
        };
        for (number, slots) in slots.iter().enumerate() {
            cluster.join(&format!("tm-{number}"), *slots);
            // One by one, so that tests know whose slots are taken first.
            cluster.registered(number + 1).await;
        }
        cluster
    }

    pub fn join(&mut self, id: &str, slots: usize) {
        let settings = RpcSettings::from_options(&self.options).unwrap();
        let exchange = ExchangeService::bind(
            "127.0.0.1",
            0,
            settings.transport.clone(),
            settings.secret.clone(),
            settings.heartbeat_timeout,
        )
        .unwrap();
        let identity = TaskManagerIdentity {
            id: id.to_owned(),
            host: String::new(),
            data_port: exchange.address().port(),
            slots,
            memory_bytes: 1 << 30,
            lent: None,
            program: None,
            logs: Logs::of_task_manager(&self.options),
            registration_timeout: self.patience,
        };
        let registry = Arc::new(toys::registry(&self.world));
        let manager = TaskManager::new(registry, Arc::new(SystemClock), Some(exchange));
        let runs = manager.clone();
        let running = tokio::spawn(async move {
            let ended = run_task_manager(&settings, &identity, &runs, Finding::Fixed, None).await;
            ended.unwrap_err().to_string()
        });
        self.managers.push(Member { manager, running });
    }

    async fn registered(&self, count: usize) {
        until("all TaskManagers are there", || {
            self.dispatcher.task_managers().len() == count
        })
        .await;
    }

    pub async fn submit(&self, plan: Plan, restore: Restore) -> Result<JobHandle, ClusterError> {
        let submission = Submission {
            plan,
            restore,
            allow_non_restored_state: false,
        };
        self.dispatcher.submit(submission).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_job_runs_over_task_managers() {
    for slots in [&[3][..], &[1, 1, 1], &[2, 4]] {
        let world = World::with(20_000);
        let cluster = Cluster::start(&world, &[], slots).await;
        let job = cluster.submit(toys::plan(3, &[OFTEN]), Restore::Fresh).await.unwrap();
        assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
        assert_eq!(world.check(), world.complete());
        let free: usize = cluster.dispatcher.task_managers().iter().map(|t| t.free_slots).sum();
        assert_eq!(free, slots.iter().sum::<usize>(), "slots come back");
    }
}

/// The five steps by which the job has survived the loss of a TaskManager are in its event log, and name who took over.
fn check_steps(job: &JobHandle, lost: &str) {
    let log = job.stats.events();
    let events = log.events();
    let after = |from: usize, is_it: &dyn Fn(&EventKind) -> bool| {
        let found = events[from..].iter().position(|event| is_it(&event.kind));
        from + found.unwrap_or_else(|| panic!("a step is missing after {from}: {events:#?}"))
    };
    let is = |id: &str| id == lost;
    // It was given splits and tasks like all others.
    let has = |counts: &std::collections::BTreeMap<String, usize>| counts.contains_key(lost);
    let split = |kind: &EventKind| matches!(kind, EventKind::SplitsAssigned { splits, .. } if has(splits));
    let deployed = |kind: &EventKind| matches!(kind, EventKind::TasksDeployed { subtasks, .. } if has(subtasks));
    let found =
        |kind: &EventKind| matches!(kind, EventKind::TaskManagerLost { task_manager_id, .. } if is(task_manager_id));
    let removed =
        |kind: &EventKind| matches!(kind, EventKind::TaskManagerRemoved { task_manager_id, .. } if is(task_manager_id));
    let first = after(0, &deployed);
    after(0, &split);
    let lost_at = after(first, &found);
    let removed_at = after(lost_at, &removed);
    let restored = after(removed_at, &|kind| matches!(kind, EventKind::Restored { .. }));
    let again = after(restored, &|kind| matches!(kind, EventKind::TasksDeployed { .. }));
    let moved = after(again, &|kind| matches!(kind, EventKind::SplitsAssigned { .. }));
    after(moved, &|kind| matches!(kind, EventKind::TasksRunning { .. }));
    let later: Vec<&&JobEvent> = events[removed_at..]
        .iter()
        .filter(|e| split(&e.kind) || deployed(&e.kind))
        .collect();
    assert!(later.is_empty(), "{later:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_a_lost_task_manager_go_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir_option(dir.path());
    for incremental in ["false", "true"] {
        let world = World::with(-1);
        let mut cluster = Cluster::start(&world, &[], &[2, 1, 1, 1]).await;
        let options = [
            OFTEN,
            RETRY,
            ("execution.checkpointing.dir", text.as_str()),
            ("execution.checkpointing.incremental", incremental),
        ];
        let job = cluster.submit(toys::plan(3, &options), Restore::Fresh).await.unwrap();
        for round in 1..=2 {
            let before = world.committed.lock().unwrap().len();
            // A restart commits, too: that is no progress of its own.
            until("progress", || {
                let is_ahead = world.committed.lock().unwrap().len() > before + 2_000;
                is_ahead && job.status() == JobStatus::Running || job.status().is_globally_terminal_state()
            })
            .await;
            assert_eq!(job.status(), JobStatus::Running, "{:?}", job.stats.failure());
            // The second one of those that are left runs a subtask.
            drop(cluster.managers.remove(1));
            until("a restart", || {
                job.stats.restarts() >= round || job.status().is_globally_terminal_state()
            })
            .await;
            let cause = job.stats.failure().unwrap();
            assert!(cause.contains(&format!("TaskManager tm-{round}")), "{cause}");
            let exceptions = job.stats.exceptions();
            let root = exceptions.records().next().unwrap();
            assert!(root.task.as_ref().is_some_and(|task| task.at.is_some()), "{root:?}");
            if round == 2 {
                cluster.join("another", 2);
            }
        }
        let before = world.committed.lock().unwrap().len();
        until("progress", || {
            world.committed.lock().unwrap().len() > before + 2_000 && job.status() == JobStatus::Running
        })
        .await;
        // The commit of a restart comes before its tasks run.
        until("all tasks run", || {
            let log = job.stats.events();
            let mut newest_first = log.events().into_iter().rev();
            let of_tasks = |event: &&JobEvent| {
                matches!(
                    event.kind,
                    EventKind::TasksDeployed { .. } | EventKind::TasksRunning { .. }
                )
            };
            let last = newest_first.find(of_tasks);
            last.is_some_and(|event| matches!(event.kind, EventKind::TasksRunning { .. }))
        })
        .await;
        check_steps(&job, "tm-1");
        check_steps(&job, "tm-2");
        let path = job.savepoint(Some(text.clone() + "/savepoints"), true).await.unwrap();
        assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
        let rows = world.check();

        let job = cluster
            .submit(toys::plan(2, &options), Restore::Path(path))
            .await
            .unwrap();
        until("progress", || {
            world.committed.lock().unwrap().len() > rows + 2_000 && job.status() == JobStatus::Running
        })
        .await;
        job.stop();
        assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
        world.check();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_tasks_start_again_from_the_job_managers_memory() {
    let world = World::with(-1);
    let cluster = Cluster::start(&world, &[], &[1, 2]).await;
    let job = cluster
        .submit(toys::plan(3, &[OFTEN, RETRY]), Restore::Fresh)
        .await
        .unwrap();
    for restarts in 1..=3 {
        let before = world.committed.lock().unwrap().len();
        until("progress", || {
            let is_ahead = world.committed.lock().unwrap().len() > before + 1_000;
            is_ahead && job.status() == JobStatus::Running || job.status().is_globally_terminal_state()
        })
        .await;
        world.fail_after.store(1, Ordering::SeqCst);
        until("a restart", || {
            job.stats.restarts() >= restarts || job.status().is_globally_terminal_state()
        })
        .await;
        assert_eq!(job.stats.restarts(), restarts, "{:?}", job.stats.failure());
        assert!(job.stats.failure().unwrap().contains("told to fail"));
    }
    let before = world.committed.lock().unwrap().len();
    until("progress", || {
        world.committed.lock().unwrap().len() > before + 1_000 && job.status() == JobStatus::Running
    })
    .await;
    job.stop();
    assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
    world.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_for_slots_and_a_cancelled_one_no_longer() {
    let world = World::with(1_000);
    let mut cluster = Cluster::start(&world, &[], &[1]).await;
    let of_client = ("security.rest.token", "hush");
    let cancelled = cluster.submit(toys::plan(2, &[of_client]), Restore::Fresh).await;
    let cancelled = cancelled.unwrap();
    assert_eq!(
        cancelled.options.get(of_client.0),
        None,
        "a client's secret is not kept"
    );
    cancelled.cancel();
    assert_eq!(ended(&cancelled).await, JobStatus::Canceled);
    let job = cluster.submit(toys::plan(2, &[]), Restore::Fresh).await.unwrap();
    assert_eq!(job.status(), JobStatus::Created);
    cluster.join("late", 1);
    assert_eq!(ended(&job).await, JobStatus::Finished);
    assert_eq!(world.check(), world.complete());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_the_secret_is_refused() {
    let world = World::with(1);
    let secret = "security.internal.shared-secret";
    let mut cluster = Cluster::start(&world, &[(secret, "ours")], &[1]).await;
    cluster.options.set(secret, "theirs");
    cluster.patience = Duration::ZERO;
    cluster.join("stranger", 1);
    let stranger = cluster.managers.last_mut().unwrap();
    let error = tokio::time::timeout(DEADLINE, &mut stranger.running)
        .await
        .unwrap()
        .unwrap();
    assert!(error.contains("secret"), "{error}");
    assert_eq!(cluster.dispatcher.task_managers().len(), 1);
}
