//! Jobs that outlive the JobManager which started them: the next leader goes on with what runs, and starts again what does not.

use crate::toys::{self, World};
use crate::{DEADLINE, OFTEN, RETRY, dir_option, ended, until};
use flott_cluster::dispatcher::Dispatcher;
use flott_cluster::high_availability::jobs::JobStore;
use flott_cluster::high_availability::{Candidate, HighAvailability};
use flott_cluster::inquiry::Logs;
use flott_cluster::protocol::AttemptId;
use flott_cluster::requirements::Bounds;
use flott_cluster::rpc::{
    Finding, JobManagerPort, JobManagerServer, RpcSettings, TaskManagerIdentity, run_task_manager,
};
use flott_cluster::slot_pool::SlotPool;
use flott_cluster::taskmanager::TaskManager;
use flott_cluster::{JobHandle, JobStatus, Restore, Submission};
use flott_core::Options;
use flott_core::clock::SystemClock;
use flott_runtime::exchange::ExchangeService;
use std::path::Path;
use std::sync::Arc;
use tokio::task::JoinHandle;

fn options(dir: &Path) -> Options {
    let storage = dir.join("ha").display().to_string();
    let all = [
        ("high-availability.type", "FILESYSTEM"),
        ("high-availability.storageDir", storage.as_str()),
        ("jobmanager.rpc.port", "0"),
    ];
    all.into_iter().collect()
}

/// A JobManager that leads.
struct Leader {
    dispatcher: Dispatcher,
    server: JobManagerServer,
    epoch: u64,
}

impl Leader {
    /// Waits until it leads, and takes all jobs over.
    async fn start(world: &Arc<World>, dir: &Path) -> Self {
        let options = options(dir);
        let settings = RpcSettings::from_options(&options).unwrap();
        let availability = HighAvailability::from_options(&options, &settings)
            .await
            .unwrap()
            .unwrap();
        let port = JobManagerPort::bind(settings).await.unwrap();
        let candidate = Candidate {
            rpc_address: port.address().to_string(),
            rest_address: String::new(),
        };
        let leading = tokio::time::timeout(DEADLINE, availability.election.campaign(&candidate));
        let epoch = leading.await.expect("nobody comes to lead").unwrap().epoch();
        let pool = SlotPool::new(&options, Arc::new(SystemClock))
            .unwrap()
            .keeping_attempts();
        let store = JobStore::new(availability.jobs, epoch);
        let registry = Arc::new(toys::registry(world));
        let slots = Arc::new(pool.clone());
        let dispatcher = Dispatcher::new(options, registry, Arc::new(SystemClock), slots, Some(store)).unwrap();
        let server = port.serve(epoch, pool);
        dispatcher.take_over().await.unwrap();
        Self {
            dispatcher,
            server,
            epoch,
        }
    }

    /// Ends as a process does that is killed.
    async fn kill(self) {
        self.server.close().await;
        self.dispatcher.suspend();
    }

    fn job(&self) -> JobHandle {
        self.dispatcher.jobs().pop().expect("the job was not taken over")
    }
}

struct Worker {
    manager: TaskManager,
    running: JoinHandle<()>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.running.abort();
        self.manager.cancel_all();
    }
}

impl Worker {
    /// A TaskManager of one slot, which looks for who leads.
    async fn start(world: &Arc<World>, dir: &Path, id: &str) -> Self {
        let options = options(dir);
        let settings = RpcSettings::from_options(&options).unwrap();
        let availability = HighAvailability::from_options(&options, &settings)
            .await
            .unwrap()
            .unwrap();
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
            slots: 1,
            memory_bytes: 1 << 30,
            lent: None,
            program: None,
            logs: Logs::of_task_manager(&options),
            registration_timeout: DEADLINE,
        };
        let manager = TaskManager::new(Arc::new(toys::registry(world)), Arc::new(SystemClock), Some(exchange));
        let runs = manager.clone();
        let running = tokio::spawn(async move {
            let finding = Finding::Leader(availability.election);
            let ended = run_task_manager(&settings, &identity, &runs, finding, None).await;
            panic!("{ended:?}");
        });
        Self { manager, running }
    }

    /// What runs there.
    fn attempts(&self) -> Vec<AttemptId> {
        self.manager.readings().into_iter().map(|(id, _)| id).collect()
    }
}

async fn progress(world: &World, job: &JobHandle) {
    let before = world.committed.lock().unwrap().len();
    // A restart commits, too: that is no progress of its own.
    until("progress", || {
        let is_ahead = world.committed.lock().unwrap().len() > before + 2_000;
        is_ahead && job.status() == JobStatus::Running || job.status().is_globally_terminal_state()
    })
    .await;
    assert_eq!(job.status(), JobStatus::Running, "{:?}", job.stats.failure());
}

async fn submit(leader: &Leader, options: &[(&str, &str)]) -> JobHandle {
    let submission = Submission {
        plan: toys::plan(2, options),
        restore: Restore::Fresh,
        allow_non_restored_state: false,
    };
    leader.dispatcher.submit(submission).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_goes_on_with_what_runs() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir_option(dir.path());
    for incremental in ["false", "true"] {
        let folder = dir.path().join(incremental);
        let world = World::with(-1);
        let mut leader = Leader::start(&world, &folder).await;
        let workers = [
            Worker::start(&world, &folder, "one").await,
            Worker::start(&world, &folder, "two").await,
        ];
        let options = [
            OFTEN,
            RETRY,
            ("execution.checkpointing.dir", text.as_str()),
            ("execution.checkpointing.incremental", incremental),
        ];
        let job = submit(&leader, &options).await;
        progress(&world, &job).await;
        let attempts = [workers[0].attempts(), workers[1].attempts()];
        for epoch in 2..=4 {
            leader.kill().await;
            leader = Leader::start(&world, &folder).await;
            assert_eq!((leader.epoch, leader.job().job_id), (epoch, job.job_id));
            progress(&world, &leader.job()).await;
            assert_eq!(
                [workers[0].attempts(), workers[1].attempts()],
                attempts,
                "no task ended"
            );
        }
        let job = leader.job();
        // What fails now is this leader's to start again.
        job.fail_task("", 0).await.unwrap();
        until("a restart", || job.stats.restarts() == 1).await;
        progress(&world, &job).await;
        job.stop();
        assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
        world.check();
        // It has ended for all leaders to come.
        leader.kill().await;
        let last = Leader::start(&world, &folder).await;
        assert!(last.dispatcher.jobs().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_knows_what_a_job_was_rescaled_to() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir_option(dir.path());
    let world = World::with(-1);
    let mut leader = Leader::start(&world, dir.path()).await;
    let workers = [
        Worker::start(&world, dir.path(), "one").await,
        Worker::start(&world, dir.path(), "two").await,
    ];
    let options = [OFTEN, RETRY, ("execution.checkpointing.dir", text.as_str())];
    let job = submit(&leader, &options).await;
    progress(&world, &job).await;
    for (wanted, is_adopted) in [(1, true), (2, false)] {
        let job = leader.job();
        let bounds = job.requirements().into_keys().map(|id| {
            let (lower, upper) = (1, wanted);
            (id, Bounds { lower, upper })
        });
        job.require(bounds.collect()).await.unwrap();
        if is_adopted {
            let rescaled = || job.stats.rescales() == 1 && job.stats.executions().subtasks_of(0) == wanted;
            until("the job is rescaled", rescaled).await;
            // An attempt without a checkpoint of its own is started again.
            progress(&world, &job).await;
        }
        // Else: before it is, or while.
        let attempts = || workers.iter().flat_map(Worker::attempts).collect::<Vec<_>>();
        let before = attempts();
        leader.kill().await;
        leader = Leader::start(&world, dir.path()).await;
        let job = leader.job();
        progress(&world, &job).await;
        until("the parallelism that was asked for", || {
            job.graph().vertices.iter().all(|vertex| vertex.parallelism == wanted)
        })
        .await;
        if is_adopted {
            assert_eq!(attempts(), before, "no task ended");
        }
        progress(&world, &job).await;
    }
    let job = leader.job();
    job.stop();
    assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
    world.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_go_on_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(-1);
    let leader = Leader::start(&world, dir.path()).await;
    let mut workers = vec![
        Worker::start(&world, dir.path(), "one").await,
        Worker::start(&world, dir.path(), "two").await,
        Worker::start(&world, dir.path(), "spare").await,
    ];
    let text = dir_option(dir.path());
    let options = [OFTEN, RETRY, ("execution.checkpointing.dir", text.as_str())];
    let job = submit(&leader, &options).await;
    progress(&world, &job).await;
    leader.kill().await;
    // One of those that ran it goes along.
    let lost = workers.iter().position(|worker| !worker.attempts().is_empty()).unwrap();
    drop(workers.remove(lost));
    let leader = Leader::start(&world, dir.path()).await;
    let job = leader.job();
    progress(&world, &job).await;
    let first = |worker: &Worker| worker.attempts().first().map(|id| id.generation);
    assert!(workers.iter().filter_map(first).all(|generation| generation > 1));
    job.cancel();
    assert_eq!(ended(&job).await, JobStatus::Canceled);
    world.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_slots_waits_under_the_next_leader_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(1_000);
    let leader = Leader::start(&world, dir.path()).await;
    submit(&leader, &[]).await;
    leader.kill().await;
    let leader = Leader::start(&world, dir.path()).await;
    let job = leader.job();
    // As any job that starts again: how long it waits is up to its restart strategy.
    until("the job waits", || job.status() == JobStatus::Restarting).await;
    let _workers = [
        Worker::start(&world, dir.path(), "one").await,
        Worker::start(&world, dir.path(), "two").await,
    ];
    assert_eq!(ended(&job).await, JobStatus::Finished, "{:?}", job.stats.failure());
    assert_eq!(world.check(), world.complete());
}
