//! A JobManager's process: the real election, job log, dispatcher, slot pool and job masters, on a runtime of its own that stands still
//! unless the world lets it run. What surrounds them is what `flott-launch` does: campaign, reign, lost, round and round.

use super::job;
use super::network;
use super::planted;
use super::store::SimulatedStore;
use super::world::{Party, World, lock};
use crate::dispatcher::Dispatcher;
use crate::error::ClusterError;
use crate::high_availability::jobs::JobStore;
use crate::high_availability::lease::LeaseElection;
use crate::high_availability::{Candidate, LeaderElection};
use crate::rpc::RpcSettings;
use crate::slot_pool::SlotPool;
use crate::timer;
use flott_checkpoint::Root;
use flott_core::Options;
use flott_core::clock::Clock;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long a leader may be silent.
const LEASE: Duration = Duration::from_millis(1_000);

/// Pause of one that cannot lead.
const RETRY: Duration = Duration::from_millis(300);

/// Between two looks at the leader's process.
const LOOK: Duration = Duration::from_millis(150);

/// What the world knows of a JobManager.
#[derive(Default)]
pub struct JobManager {
    /// Whether its process runs; how often it has been started.
    pub is_up: bool,
    pub starts: u64,
    /// Until when it is stopped (SIGSTOP), and since when.
    pub paused: Option<(i64, i64)>,
    /// Whether it has got anything since it ran last.
    pub is_stirred: bool,
    /// While it believes that it leads: which of its reigns this is, its epoch, and its slots.
    pub serves: Option<(u64, u64, SlotPool)>,
    pub reigns: u64,
    /// Once it has its job.
    pub dispatcher: Option<Dispatcher>,
    /// What has come for it while it was stopped.
    pub mail: Vec<(u64, network::ToJobManager)>,
}

/// The clock of the world.
#[derive(Clone)]
struct SimulatedClock(Arc<World>);

impl std::fmt::Debug for SimulatedClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("simulated time")
    }
}

impl Clock for SimulatedClock {
    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }
}

/// A process's runtime, which runs until all in it wait.
pub struct Process {
    runtime: Runtime,
    idle: Arc<Idle>,
}

/// Tells when all wait.
#[derive(Default)]
struct Idle {
    is_idle: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Process {
    /// Starts a JobManager.
    pub fn start(world: &Arc<World>, process: usize) -> Self {
        let idle = Arc::new(Idle::default());
        let parks = idle.clone();
        let runtime = Builder::new_current_thread()
            .on_thread_park(move || {
                parks.is_idle.store(true, Ordering::Relaxed);
                let waker = lock(&parks.waker).take();
                waker.into_iter().for_each(Waker::wake);
            })
            .build()
            .unwrap();
        let lives = live(world.clone(), process);
        world.being(process, || runtime.spawn(lives));
        Self { runtime, idle }
    }

    /// Lets all in it go on that can.
    pub fn run(&self, world: &Arc<World>, process: usize) {
        let idle = &self.idle;
        idle.is_idle.store(false, Ordering::Relaxed);
        let all_wait = poll_fn(|context| match idle.is_idle.load(Ordering::Relaxed) {
            true => Poll::Ready(()),
            false => {
                *lock(&idle.waker) = Some(context.waker().clone());
                Poll::Pending
            }
        });
        world.being(process, || self.runtime.block_on(all_wait));
    }

    /// Ends as a process does that is killed.
    pub fn kill(self, world: &Arc<World>, process: usize) {
        world.being(process, || drop(self.runtime));
    }
}

/// The folder of the store, as the process sees it that runs on this thread; `None` where none is simulated.
pub(crate) fn root(dir: &str) -> Option<Root> {
    let (world, process) = World::here().filter(|_| dir == job::FOLDER)?;
    Some(of_process(&world, process).folder("checkpoints"))
}

fn of_process(world: &Arc<World>, process: usize) -> Root {
    let store = Arc::new(SimulatedStore::new(world.clone(), process));
    Root::of_store(store, "", job::FOLDER)
}

fn address(process: usize) -> String {
    format!("jobmanager-{process}")
}

/// Which JobManager is at an address.
pub fn at(address: &str) -> usize {
    address.trim_start_matches("jobmanager-").parse().unwrap()
}

/// Waits until the process of another JobManager has ended; `None` where none is simulated.
pub(crate) fn process_ended(address: &str) -> Option<impl Future<Output = ()> + use<>> {
    let (world, process) = World::here()?;
    let other = at(address);
    Some(async move {
        let parties = (Party::JobManager(process), Party::JobManager(other));
        let mut refusals = 0;
        while refusals < 2 {
            timer::sleep(LOOK).await;
            let is_reached = world.cut_of(parties.0, parties.1).is_none();
            let is_gone = is_reached && other != process && !lock(&world.job_managers[other]).is_up;
            refusals = if is_gone { refusals + 1 } else { 0 };
        }
    })
}

/// The options of the processes.
fn options() -> Options {
    [
        ("slot.request.timeout", "4 s"),
        ("execution.checkpointing.dir", job::FOLDER),
    ]
    .into_iter()
    .collect()
}

/// Leads whenever it is to, until the job has ended.
async fn live(world: Arc<World>, process: usize) {
    let root = of_process(&world, process);
    let settings = RpcSettings::from_options(&options()).unwrap();
    let election = Arc::new(LeaseElection::new(root.folder("leader"), LEASE, settings));
    let candidate = Candidate {
        rpc_address: address(process),
        rest_address: String::new(),
    };
    loop {
        let mut leadership = match election.campaign(&candidate).await {
            Ok(leadership) => leadership,
            Err(_) => {
                timer::sleep(RETRY).await;
                continue;
            }
        };
        let epoch = leadership.epoch();
        world.trace(|| format!("JobManager {process} leads, epoch {epoch}"));
        let clock = Arc::new(SimulatedClock(world.clone()));
        let pool = SlotPool::new(&options(), clock.clone()).unwrap().keeping_attempts();
        let jobs = JobStore::new(root.folder("jobs"), epoch).under(election.clone());
        let registry = Arc::new(job::registry(&world, process));
        let slots = Arc::new(pool.clone());
        let dispatcher = Dispatcher::of_application(options(), registry, clock, slots, Some(jobs), job::id()).unwrap();
        network::serve(&world, process, epoch, pool);
        let is_over = tokio::select! {
            biased;
            why = leadership.lost() => {
                world.trace(|| format!("JobManager {process} leads no more: {why}"));
                false
            }
            ended = administer(&world, process, &dispatcher) => {
                world.trace(|| format!("JobManager {process} is through: {ended:?}"));
                ended.is_ok()
            }
        };
        network::close(&world, process);
        dispatcher.suspend();
        tokio::spawn(planted::lost(world.clone(), process, root.clone()));
        if is_over {
            return;
        }
        timer::sleep(RETRY).await;
    }
}

async fn administer(world: &Arc<World>, process: usize, dispatcher: &Dispatcher) -> Result<(), ClusterError> {
    if dispatcher
        .start_application(&job::application(&world.shape))
        .await?
        .is_some()
    {
        return Ok(());
    }
    lock(&world.job_managers[process]).dispatcher = Some(dispatcher.clone());
    dispatcher.application_ended(job::id(), |_| {}).await?;
    Ok(())
}
