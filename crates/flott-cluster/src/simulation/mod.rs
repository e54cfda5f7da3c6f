//! The control plane under seeds: a world in which everything that can go wrong does, one step after the other, and the same for the same
//! seed.
//!
//! ```text
//!  JobManager 0..3                          network                    TaskManager 0..3
//!    the real election, job log,      orders and reports,                simulated: splits that are
//!    dispatcher, slot pool, job   ◄── in order per connection, ──►       counted, sums of each, and
//!    master and machine, storage      late, cut off                      transactions
//!          │                                                                 │
//!          └── requests: late, twice, never, unanswered ──►  store, log of transactions  ◄──┘
//! ```
//! Real is all that a JobManager does: its code runs on a Tokio runtime per process, which is polled until all in it wait, and then stands
//! still until the world has something for it. Its timers are the world's ([`timer`]), its object store and its sinks are requests
//! ([`store`], [`transactions`]), its connections are the [`network`]'s. Simulated are TaskManagers ([`task_manager`]) and what happens
//! to all of them ([`faults`]). What must be true is in [`checks`], and whether these find anything [`planted`] tells.
//!
//! A seed that fails prints what happened last. `FLOTT_SEED=17` runs that one alone, `FLOTT_SEEDS=20000` so many.

mod checks;
mod faults;
mod job;
mod job_manager;
mod network;
pub(crate) mod planted;
mod rng;
mod store;
mod task_manager;
mod tests;
pub(crate) mod timer;
mod transactions;
mod world;

pub(crate) use job_manager::{process_ended, root};

use job_manager::Process;
use planted::Bug;
use world::{World, lock};

/// How long a job may take to its end once nothing fails any more.
const PATIENCE_MS: i64 = 90_000;

/// More happens in no run.
const MOST_STEPS: u64 = 200_000;

/// How long the world goes on behind the job's end.
const AFTERWARDS_MS: i64 = 3_000;

/// What a run has shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    /// What was wrong.
    pub violation: Option<String>,
    /// What happened last, if it was to be kept.
    pub trace: Vec<String>,
    /// How much happened.
    pub steps: u64,
}

/// Runs a seed to its end.
pub fn run(seed: u64, bug: Option<Bug>, is_traced: bool) -> Shown {
    let world = World::new(seed, bug, is_traced);
    world.trace(|| format!("{:?}", world.shape));
    for process in 0..world.shape.job_managers {
        let mut job_manager = lock(&world.job_managers[process]);
        job_manager.is_up = true;
        job_manager.starts = 1;
    }
    for manager in 0..world.shape.task_managers {
        task_manager::start(&world, manager);
    }
    world.after(1, faults::trouble);
    world.after(1, faults::user);
    world.after(world.shape.trouble_ms, faults::heal);
    let mut processes: Vec<Option<(u64, Process)>> = (0..world.shape.job_managers).map(|_| None).collect();
    let mut steps = 0;
    let mut end_ms = world.shape.trouble_ms + PATIENCE_MS;
    while world.violation().is_none() && world.now_ms() < end_ms && steps < MOST_STEPS {
        for (process, running) in processes.iter_mut().enumerate() {
            go_on(&world, process, running);
        }
        if lock(&world.books).end.is_some() {
            end_ms = end_ms.min(world.now_ms() + AFTERWARDS_MS);
        }
        if !world.step() {
            break;
        }
        steps += 1;
    }
    if world.violation().is_none()
        && let Err(what) = checks::check_end(&world)
    {
        world.violated(what);
    }
    for (process, running) in processes.into_iter().enumerate() {
        if let Some((_, running)) = running {
            running.kill(&world, process);
        }
    }
    world.end();
    Shown {
        violation: world.violation(),
        trace: world.traced(),
        steps,
    }
}

/// Starts, ends or runs a JobManager's process, whichever is due.
fn go_on(world: &std::sync::Arc<World>, process: usize, running: &mut Option<(u64, Process)>) {
    let (start, is_due) = {
        let mut job_manager = lock(&world.job_managers[process]);
        let start = job_manager.is_up.then_some(job_manager.starts);
        let is_new = running.as_ref().map(|(start, _)| *start) != start;
        let is_due = job_manager.paused.is_none() && (std::mem::take(&mut job_manager.is_stirred) || is_new);
        (start, is_due || is_new)
    };
    if running.as_ref().map(|(start, _)| *start) != start {
        if let Some((_, ended)) = running.take() {
            ended.kill(world, process);
        }
        *running = start.map(|start| (start, Process::start(world, process)));
    }
    if let Some((_, running)) = running
        && is_due
    {
        running.run(world, process);
        network::pump(world, process);
    }
}
