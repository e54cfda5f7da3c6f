//! What goes wrong in a run, and what users ask for meanwhile: as a seed draws it, until nothing fails any more.

use super::job::{self, MOST_SUBTASKS};
use super::network;
use super::task_manager;
use super::world::{Party, World, lock};
use crate::requirements::Bounds;
use crate::submit::JobHandle;
use futures::future::FutureExt;
use std::sync::Arc;

/// How often a user who waits for the end asks again: who was asked may be gone.
const ASK_AGAIN_MS: i64 = 2_000;

/// A trouble comes up, and the next one follows.
pub fn trouble(world: &Arc<World>) {
    if world.is_calm() {
        return;
    }
    let pause_ms = world.shape.trouble_ms / world.shape.troubles;
    let next_ms = world.draw(|rng| rng.range(1, 2 * pause_ms));
    world.after(next_ms, trouble);
    if !world.has_begun() {
        return;
    }
    let kind = world.draw(|rng| rng.below(10));
    match kind {
        0 | 1 => kill_task_manager(world),
        2 | 3 => kill_job_manager(world),
        4 | 5 => pause_job_manager(world),
        6 => cut_job_manager_from(world, Party::Store),
        7 => cut_job_manager_from(world, Party::Log),
        8 => {
            let other = world.draw(|rng| rng.below(world.shape.job_managers));
            cut_job_manager_from(world, Party::JobManager(other));
        }
        _ => {
            let other = world.draw(|rng| rng.below(world.shape.task_managers));
            cut_job_manager_from(world, Party::TaskManager(other));
        }
    }
}

/// One of the JobManagers, rather one that believes that it leads.
fn some_job_manager(world: &World) -> usize {
    let serving = |process: &usize| lock(&world.job_managers[*process]).serves.is_some();
    let serving: Vec<usize> = (0..world.shape.job_managers).filter(serving).collect();
    match serving.is_empty() || world.draw(|rng| rng.per_mille(200)) {
        true => world.draw(|rng| rng.below(world.shape.job_managers)),
        false => serving[world.draw(|rng| rng.below(serving.len()))],
    }
}

/// How long a trouble lasts: often less than others are patient, often more.
fn duration(world: &World) -> i64 {
    world.draw(|rng| match rng.per_mille(500) {
        true => rng.range(20, 1_000),
        false => rng.range(1_000, 4_000),
    })
}

fn kill_task_manager(world: &Arc<World>) {
    let (victim, back_ms) = (world.draw(|rng| rng.below(world.shape.task_managers)), duration(world));
    world.trace(|| format!("!! TaskManager {victim} is killed, and starts again in {back_ms} ms"));
    task_manager::kill(world, victim);
    world.after(back_ms, move |world| {
        if !task_manager::is_up(world, victim) {
            task_manager::start(world, victim);
        }
    });
}

fn kill_job_manager(world: &Arc<World>) {
    let (victim, back_ms) = (some_job_manager(world), duration(world));
    let starts = {
        let mut job_manager = lock(&world.job_managers[victim]);
        if !job_manager.is_up {
            return;
        }
        job_manager.is_up = false;
        job_manager.paused = None;
        job_manager.starts
    };
    world.trace(|| format!("!! JobManager {victim} is killed, and starts again in {back_ms} ms"));
    network::close(world, victim);
    world.after(back_ms, move |world| {
        let mut job_manager = lock(&world.job_managers[victim]);
        if job_manager.starts == starts {
            job_manager.is_up = true;
            job_manager.starts += 1;
            job_manager.is_stirred = true;
        }
    });
}

fn pause_job_manager(world: &Arc<World>) {
    let (victim, for_ms) = (some_job_manager(world), duration(world));
    let now_ms = world.now_ms();
    {
        let mut job_manager = lock(&world.job_managers[victim]);
        if !job_manager.is_up || job_manager.paused.is_some() {
            return;
        }
        job_manager.paused = Some((now_ms, now_ms + for_ms));
    }
    world.trace(|| format!("!! JobManager {victim} stands still for {for_ms} ms"));
    world.after(for_ms, move |world| resume(world, victim));
}

/// Lets a JobManager that was stopped go on.
fn resume(world: &Arc<World>, process: usize) {
    {
        let mut job_manager = lock(&world.job_managers[process]);
        let until_ms = job_manager.paused.map(|(_, until_ms)| until_ms);
        if until_ms.is_none_or(|until_ms| until_ms > world.now_ms()) {
            return;
        }
        job_manager.paused = None;
    }
    world.trace(|| format!("!! JobManager {process} goes on"));
    network::take_mail(world, process);
    world.stir(process);
}

fn cut_job_manager_from(world: &Arc<World>, other: Party) {
    let (victim, for_ms) = (some_job_manager(world), duration(world));
    world.trace(|| format!("!! JobManager {victim} and {other:?} are cut off for {for_ms} ms"));
    world.cut(Party::JobManager(victim), other, for_ms);
}

/// A user does something, and something else later.
pub fn user(world: &Arc<World>) {
    if world.is_calm() {
        return;
    }
    let next_ms = world.draw(|rng| rng.range(200, 3_000));
    world.after(next_ms, user);
    let Some(job) = job_of_leader(world) else {
        return;
    };
    let kind = world.draw(|rng| rng.below(24));
    match kind {
        0..=4 => ask(world, "a savepoint", move || {
            drop(job.savepoint(None, false).now_or_never());
        }),
        5..=8 => ask(world, "a checkpoint", move || {
            drop(job.checkpoint().now_or_never());
        }),
        9..=14 => {
            let upper = world.draw(|rng| rng.range(1, MOST_SUBTASKS as i64)) as usize;
            let bounds = Bounds { lower: 1, upper };
            ask(world, &format!("a parallelism of {upper}"), move || {
                drop(job.require([(job::source_id(), bounds)].into()).now_or_never());
            });
        }
        15 => {
            lock(&world.books).is_stop_asked = true;
            ask(world, "a stop with a savepoint", move || {
                drop(job.savepoint(None, true).now_or_never());
            });
        }
        16 => {
            lock(&world.books).is_stop_asked = true;
            ask(world, "a stop", || job.stop());
        }
        17 if world.draw(|rng| rng.per_mille(400)) => {
            lock(&world.books).is_cancel_asked = true;
            ask(world, "the job to be cancelled", || job.cancel());
        }
        18 => {
            let subtask = world.draw(|rng| rng.below(2));
            ask(world, "a task to fail", move || {
                drop(job.fail_task("", subtask).now_or_never());
            });
        }
        _ => {}
    }
}

/// A user waits for the end of a job that does not end by itself.
pub fn ask_for_end(world: &Arc<World>) {
    if let Some(job) = job_of_leader(world) {
        lock(&world.books).is_stop_asked = true;
        ask(world, "a stop", || job.stop());
    }
    world.after(ASK_AGAIN_MS, ask_for_end);
}

/// The process that a user reaches, and which has the job.
fn reached(world: &World) -> Option<usize> {
    (0..world.shape.job_managers).find(|process| {
        let job_manager = lock(&world.job_managers[*process]);
        job_manager.is_up && job_manager.paused.is_none() && job_manager.dispatcher.is_some()
    })
}

fn job_of_leader(world: &World) -> Option<JobHandle> {
    let process = reached(world)?;
    let dispatcher = lock(&world.job_managers[process]).dispatcher.clone()?;
    dispatcher.job(job::id())
}

/// Asks in the process that a user reaches.
fn ask(world: &Arc<World>, what: &str, asking: impl FnOnce()) {
    world.trace(|| format!("a user asks for {what}"));
    asking();
    if let Some(process) = reached(world) {
        world.stir(process);
    }
}

/// Nothing fails any more: who is down starts, who stands still goes on.
pub fn heal(world: &Arc<World>) {
    world.trace(|| "!! nothing fails any more".to_owned());
    world.calm();
    for process in 0..world.shape.job_managers {
        let is_paused = {
            let mut job_manager = lock(&world.job_managers[process]);
            if !job_manager.is_up {
                job_manager.is_up = true;
                job_manager.starts += 1;
            }
            job_manager.is_stirred = true;
            job_manager.paused = job_manager.paused.map(|(since_ms, _)| (since_ms, world.now_ms()));
            job_manager.paused.is_some()
        };
        if is_paused {
            resume(world, process);
        }
    }
    for manager in 0..world.shape.task_managers {
        if !task_manager::is_up(world, manager) {
            task_manager::start(world, manager);
        }
    }
    if world.shape.limit.is_none() {
        ask_for_end(world);
    }
}
