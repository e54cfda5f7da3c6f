//! Connections between TaskManagers and JobManagers: in order on each, late, and gone when either end is.
//!
//! The JobManager's end is the real way to a TaskManager ([`Remote`]) with its registration in the real slot pool.

use super::job_manager;
use super::store::{get, list};
use super::task_manager;
use super::world::{Party, World, lock};
use crate::coordinator::SubtaskId;
use crate::high_availability::Candidate;
use crate::protocol::{AttemptId, HeldAttempt, Peer, Report};
use crate::resources::{Heard, TaskManagerInfo, TaskManagerRef};
use crate::rpc::{FromJobManager, Remote};
use crate::slot_pool::{Registration, SlotPool};
use futures::future::FutureExt;
use object_store::GetOptions;
use object_store::path::Path;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How long an end may be silent.
const HEARTBEAT_TIMEOUT_MS: i64 = 1_500;

/// Between two looks at whether the other end is silent.
const WATCH_MS: i64 = 300;

/// To a JobManager.
pub enum ToJobManager {
    Register(Vec<HeldAttempt>),
    Report(AttemptId, SubtaskId, Report),
    Preloaded(AttemptId, u64, Result<u64, String>),
    Closed,
}

enum ToTaskManager {
    Said(FromJobManager),
    Closed,
}

/// A connection.
struct Connection {
    task_manager: usize,
    job_manager: usize,
    /// Which reign of the JobManager it belongs to.
    reign: u64,
    outbox: UnboundedSender<FromJobManager>,
    said: UnboundedReceiver<FromJobManager>,
    /// The JobManager's end, once the TaskManager has registered.
    end: Option<(Arc<Remote>, Registration)>,
    is_open_here: bool,
    is_open_there: bool,
    /// When the last message arrives that is on its way, in either direction.
    here_ms: i64,
    there_ms: i64,
}

/// All connections, by number.
#[derive(Default)]
pub struct Network {
    connections: BTreeMap<u64, Connection>,
    count: u64,
}

/// Who leads by what the store says, and since which epoch.
pub fn leader(world: &World) -> Option<(u64, usize)> {
    let claims = list(world, Some(&Path::from("leader"))).ok()?;
    let of_claim = |path: &str| path.strip_prefix("leader/claim-")?.parse::<u64>().ok();
    let (epoch, place) = claims
        .into_iter()
        .filter_map(|file| Some((of_claim(file.location.as_ref())?, file.location)))
        .max()?;
    let content = get(world, &place, GetOptions::default()).ok()?;
    let candidate: Candidate = serde_json::from_slice(&content.bytes().now_or_never()?.ok()?).ok()?;
    Some((epoch, job_manager::at(&candidate.rpc_address)))
}

/// A JobManager takes connections from now on.
pub fn serve(world: &Arc<World>, process: usize, epoch: u64, pool: SlotPool) {
    let mut job_manager = lock(&world.job_managers[process]);
    job_manager.reigns += 1;
    job_manager.serves = Some((job_manager.reigns, epoch, pool));
}

/// A JobManager, or its process, closes all its connections.
pub fn close(world: &Arc<World>, process: usize) {
    let served = {
        let mut job_manager = lock(&world.job_managers[process]);
        job_manager.mail.clear();
        (job_manager.serves.take(), job_manager.dispatcher.take())
    };
    drop(served);
    let closed: Vec<u64> = {
        let network = lock(&world.network);
        let of_process = network
            .connections
            .iter()
            .filter(|(_, c)| c.job_manager == process && c.is_open_there);
        of_process.map(|(id, _)| *id).collect()
    };
    for id in closed {
        drop(close_there(world, id));
    }
}

/// Closes the JobManager's end; gives what was there.
fn close_there(world: &Arc<World>, id: u64) -> Option<(Arc<Remote>, Registration)> {
    let end = {
        let mut network = lock(&world.network);
        let connection = network.connections.get_mut(&id).filter(|c| c.is_open_there)?;
        connection.is_open_there = false;
        connection.end.take()
    };
    send_back(world, id, ToTaskManager::Closed);
    end
}

/// The JobManager has lost a TaskManager.
fn lose(world: &Arc<World>, id: u64, process: usize, why: &str) {
    if let Some((remote, registration)) = close_there(world, id) {
        world.trace(|| format!("JobManager {process} loses connection {id}: {why}"));
        drop(registration);
        remote.lost(why);
        world.stir(process);
    }
}

/// A TaskManager connects to a JobManager and registers; `None` if nobody takes it there.
pub fn connect(world: &Arc<World>, task_manager: usize, process: usize, held: Vec<HeldAttempt>) -> Option<u64> {
    if world
        .cut_of(Party::TaskManager(task_manager), Party::JobManager(process))
        .is_some()
    {
        return None;
    }
    let reign = {
        let job_manager = lock(&world.job_managers[process]);
        job_manager.serves.as_ref().filter(|_| job_manager.is_up)?.0
    };
    let (outbox, said) = unbounded_channel();
    let id = {
        let mut network = lock(&world.network);
        network.count += 1;
        let id = network.count;
        network.connections.insert(
            id,
            Connection {
                task_manager,
                job_manager: process,
                reign,
                outbox,
                said,
                end: None,
                is_open_here: true,
                is_open_there: true,
                here_ms: 0,
                there_ms: 0,
            },
        );
        id
    };
    send(world, id, ToJobManager::Register(held));
    world.after(WATCH_MS, move |world| watch(world, id));
    Some(id)
}

/// A TaskManager says something.
pub fn report(world: &Arc<World>, id: u64, attempt: AttemptId, subtask: SubtaskId, report: Report) {
    send(world, id, ToJobManager::Report(attempt, subtask, report));
}

/// A TaskManager has read state ahead, or could not.
pub fn preloaded(world: &Arc<World>, id: u64, attempt: AttemptId, round: u64, read: Result<u64, String>) {
    send(world, id, ToJobManager::Preloaded(attempt, round, read));
}

/// A TaskManager, or its process, closes its end.
pub fn hang_up(world: &Arc<World>, id: u64) {
    let was_open = {
        let mut network = lock(&world.network);
        let connection = network.connections.get_mut(&id);
        connection.is_some_and(|c| std::mem::take(&mut c.is_open_here))
    };
    if was_open {
        send(world, id, ToJobManager::Closed);
    }
}

fn send(world: &Arc<World>, id: u64, message: ToJobManager) {
    let earliest_ms = world.now_ms() + world.latency();
    let arrives_ms = {
        let mut network = lock(&world.network);
        let Some(connection) = network.connections.get_mut(&id) else {
            return;
        };
        connection.there_ms = connection.there_ms.max(earliest_ms);
        connection.there_ms
    };
    world.at(arrives_ms, move |world| arrive(world, id, message));
}

/// Something comes to a JobManager: now, when it is reached again, or when it runs again.
fn arrive(world: &Arc<World>, id: u64, message: ToJobManager) {
    let Some((task_manager, process)) = ends(world, id) else {
        return;
    };
    let cut = world.cut_of(Party::TaskManager(task_manager), Party::JobManager(process));
    if let Some((_, until_ms)) = cut {
        return world.at(until_ms, move |world| arrive(world, id, message));
    }
    {
        let mut job_manager = lock(&world.job_managers[process]);
        if job_manager.paused.is_some() {
            return job_manager.mail.push((id, message));
        }
    }
    take(world, id, process, message);
}

fn ends(world: &World, id: u64) -> Option<(usize, usize)> {
    let network = lock(&world.network);
    network.connections.get(&id).map(|c| (c.task_manager, c.job_manager))
}

/// A JobManager that was stopped takes what has come meanwhile.
pub fn take_mail(world: &Arc<World>, process: usize) {
    let mail = std::mem::take(&mut lock(&world.job_managers[process]).mail);
    for (id, message) in mail {
        take(world, id, process, message);
    }
}

fn take(world: &Arc<World>, id: u64, process: usize, message: ToJobManager) {
    match message {
        ToJobManager::Closed => lose(world, id, process, "it closed its connection"),
        ToJobManager::Register(held) => register(world, id, process, held),
        ToJobManager::Report(attempt, subtask, report) => {
            let Some(remote) = remote_of(world, id) else {
                return;
            };
            world.trace(|| {
                format!(
                    "JobManager {process} hears of {attempt}, {subtask:?}: {}",
                    words(&report)
                )
            });
            remote.report(attempt, Heard::Subtask(subtask, report));
        }
        ToJobManager::Preloaded(attempt, round, read) => {
            let Some(remote) = remote_of(world, id) else {
                return;
            };
            world.trace(|| format!("JobManager {process} hears of {attempt} that its state is read ahead: {read:?}"));
            remote.preloaded(attempt, round, read);
        }
    }
    world.stir(process);
}

/// The JobManager's end of a connection that is open there.
fn remote_of(world: &World, id: u64) -> Option<Arc<Remote>> {
    let network = lock(&world.network);
    let connection = network.connections.get(&id).filter(|c| c.is_open_there);
    connection.and_then(|c| Some(c.end.as_ref()?.0.clone()))
}

fn words(report: &Report) -> String {
    match report {
        Report::Part(checkpoint, _) => format!("its part of checkpoint {checkpoint}"),
        other => format!("{other:?}"),
    }
}

fn register(world: &Arc<World>, id: u64, process: usize, held: Vec<HeldAttempt>) {
    let serves = lock(&world.job_managers[process]).serves.clone();
    let (task_manager, reign, outbox, is_open) = {
        let network = lock(&world.network);
        let Some(c) = network.connections.get(&id) else {
            return;
        };
        (c.task_manager, c.reign, c.outbox.clone(), c.is_open_there)
    };
    let Some((_, epoch, pool)) = serves.filter(|(now, ..)| is_open && *now == reign) else {
        return drop(close_there(world, id));
    };
    let remote = Arc::new(Remote::new(outbox.clone(), &held));
    let name = task_manager::name(task_manager);
    let reference = TaskManagerRef {
        peer: Peer {
            id: name.clone(),
            data_address: name.clone(),
        },
        gateway: remote.clone(),
    };
    let info = TaskManagerInfo {
        id: name,
        slots: world.shape.slots,
        ..TaskManagerInfo::default()
    };
    world.trace(|| {
        format!(
            "TaskManager {task_manager} registers with JobManager {process}, and holds {}",
            held.len()
        )
    });
    drop(outbox.send(FromJobManager::Registered { epoch }));
    let registration = pool.register(reference, info, held);
    let replaced: Vec<u64> = {
        let mut network = lock(&world.network);
        if let Some(connection) = network.connections.get_mut(&id) {
            connection.end = Some((remote, registration));
        }
        let earlier = network.connections.iter().filter(|(other, c)| {
            **other != id && (c.task_manager, c.job_manager) == (task_manager, process) && c.end.is_some()
        });
        earlier.map(|(other, _)| *other).collect()
    };
    for earlier in replaced {
        lose(world, earlier, process, "it has registered anew");
    }
}

/// Sends what a JobManager has said since it ran last.
pub fn pump(world: &Arc<World>, process: usize) {
    let mut said = vec![];
    for (id, connection) in &mut lock(&world.network).connections {
        while connection.job_manager == process
            && let Ok(message) = connection.said.try_recv()
        {
            if connection.is_open_there {
                said.push((*id, message));
            }
        }
    }
    for (id, message) in said {
        send_back(world, id, ToTaskManager::Said(message));
    }
}

fn send_back(world: &Arc<World>, id: u64, message: ToTaskManager) {
    let earliest_ms = world.now_ms() + world.latency();
    let arrives_ms = {
        let mut network = lock(&world.network);
        let Some(connection) = network.connections.get_mut(&id) else {
            return;
        };
        connection.here_ms = connection.here_ms.max(earliest_ms);
        connection.here_ms
    };
    world.at(arrives_ms, move |world| arrive_back(world, id, message));
}

fn arrive_back(world: &Arc<World>, id: u64, message: ToTaskManager) {
    let Some((task_manager, process)) = ends(world, id) else {
        return;
    };
    let cut = world.cut_of(Party::TaskManager(task_manager), Party::JobManager(process));
    if let Some((_, until_ms)) = cut {
        return world.at(until_ms, move |world| arrive_back(world, id, message));
    }
    if !is_open_here(world, id) {
        return;
    }
    match message {
        ToTaskManager::Said(said) => task_manager::hear(world, task_manager, id, said),
        ToTaskManager::Closed => part(world, task_manager, id, "the JobManager closed it"),
    }
}

fn is_open_here(world: &World, id: u64) -> bool {
    lock(&world.network)
        .connections
        .get(&id)
        .is_some_and(|c| c.is_open_here)
}

/// A TaskManager leaves a JobManager.
fn part(world: &Arc<World>, task_manager: usize, id: u64, why: &str) {
    world.trace(|| format!("TaskManager {task_manager} gives connection {id} up: {why}"));
    hang_up(world, id);
    task_manager::alone(world, task_manager, id);
}

/// Both ends look whether they still hear each other.
fn watch(world: &Arc<World>, id: u64) {
    let (task_manager, process, is_open_there) = {
        let mut network = lock(&world.network);
        let Some(connection) = network.connections.get(&id) else {
            return;
        };
        if !connection.is_open_here && !connection.is_open_there {
            network.connections.remove(&id);
            return;
        }
        (
            connection.task_manager,
            connection.job_manager,
            connection.is_open_there,
        )
    };
    let paused = lock(&world.job_managers[process]).paused;
    let cut = world.cut_of(Party::TaskManager(task_manager), Party::JobManager(process));
    let now_ms = world.now_ms();
    let silent_ms = |since: Option<(i64, i64)>| since.map_or(0, |(since_ms, _)| now_ms - since_ms);
    let unheard_ms = silent_ms(cut).max(silent_ms(paused));
    if is_open_there && paused.is_none() && silent_ms(cut) >= HEARTBEAT_TIMEOUT_MS {
        lose(world, id, process, "it was silent");
    }
    if is_open_here(world, id) {
        if unheard_ms >= HEARTBEAT_TIMEOUT_MS {
            part(world, task_manager, id, "the JobManager is silent");
        } else if unheard_ms >= WATCH_MS {
            task_manager::ask_who_leads(world, task_manager, id);
        }
    }
    world.after(WATCH_MS, move |world| watch(world, id));
}

/// A TaskManager has heard of a later leader.
pub fn overtaken(world: &Arc<World>, task_manager: usize, id: u64) {
    if is_open_here(world, id) {
        part(world, task_manager, id, "a later one leads");
    }
}
