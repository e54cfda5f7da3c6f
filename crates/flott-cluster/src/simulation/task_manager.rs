//! A TaskManager's process: it finds who leads, runs what it is given, and holds it for the next leader when it is alone.
//!
//! Each subtask is a source, a sum and a sink in one: it reads some records of its splits at each step, writes them with the sums of their
//! splits into a transaction, and at a barrier notes its positions, the sums that have changed, and its transaction.

use super::checks;
use super::job::{self, decode, encode};
use super::network;
use super::store::{get, put};
use super::transactions::{Run, sum_to};
use super::world::{Party, World, lock};
use crate::coordinator::SubtaskId;
use crate::protocol::{AttemptId, Deployment, HeldAttempt, OperatorStates, Order, Report, TaskFailure, WrittenPart};
use crate::rpc::FromJobManager;
use bytes::Bytes;
use flott_checkpoint::{
    EntryRef, InlineBytes, Location, OperatorPart, PutPayload, Redistribute, SubtaskManifest, layout,
};
use flott_core::{CheckpointId, OperatorId};
use flott_runtime::FailureLabel;
use flott_runtime::connector::{Split, TimedSplit};
use flott_runtime::element::{AfterBarrier, Barrier};
use flott_runtime::task::{SPLITS_STATE, TaskCommand};
use futures::future::FutureExt;
use object_store::path::Path;
use object_store::{GetOptions, PutMode, PutOptions};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Between two looks for who leads.
const RETRY_MS: i64 = 200;

/// How long what runs goes on without a JobManager.
const LEADERLESS_MS: i64 = 10_000;

/// Between two steps of a task.
const STEP_MS: i64 = 40;

/// Files of sums that build on each other, at most.
const LONGEST_CHAIN: usize = 4;

/// A split's position and sum.
type Sums = BTreeMap<String, (i64, i64)>;

/// What the world knows of a TaskManager.
#[derive(Default)]
pub struct TaskManager {
    is_up: bool,
    /// How often its process has been started.
    starts: u64,
    /// The highest epoch that it has obeyed.
    epoch: u64,
    connection: Option<u64>,
    alone_since_ms: i64,
    attempts: BTreeMap<AttemptId, Attempt>,
}

/// A share of an attempt.
struct Attempt {
    held: HeldAttempt,
    is_incremental: bool,
    /// While state is read: what was ordered meanwhile.
    waiting: Option<Vec<Order>>,
    tasks: BTreeMap<SubtaskId, Task>,
    is_cancelled: bool,
    /// The newest checkpoint that is complete or given up.
    over: CheckpointId,
}

/// Sums in files, each with what has changed since those before it.
#[derive(Clone, Default)]
struct Chain {
    files: Vec<EntryRef>,
    sums: Sums,
}

#[derive(Default)]
struct Task {
    positions: BTreeMap<String, i64>,
    sums: BTreeMap<String, i64>,
    /// What was restored, or confirmed since: changes build on it.
    chain: Option<Chain>,
    unconfirmed: BTreeMap<CheckpointId, Chain>,
    transaction: Option<String>,
    transactions: u64,
    /// By the checkpoint that listed them first; listed until one is known to be committed.
    prepared: BTreeMap<CheckpointId, String>,
    has_all_splits: bool,
    is_stopped: bool,
    is_drained: bool,
}

pub fn name(task_manager: usize) -> String {
    format!("taskmanager-{task_manager}")
}

fn with<T>(world: &World, me: usize, work: impl FnOnce(&mut TaskManager) -> T) -> T {
    work(&mut lock(&world.task_managers[me]))
}

/// Starts a TaskManager's process.
pub fn start(world: &Arc<World>, me: usize) {
    let starts = with(world, me, |manager| {
        let starts = manager.starts + 1;
        *manager = TaskManager {
            is_up: true,
            starts,
            ..TaskManager::default()
        };
        starts
    });
    world.after(1, move |world| find(world, me, starts));
}

/// Kills it.
pub fn kill(world: &Arc<World>, me: usize) {
    let connection = with(world, me, |manager| {
        manager.is_up = false;
        manager.attempts.clear();
        manager.connection.take()
    });
    connection.into_iter().for_each(|id| network::hang_up(world, id));
}

/// Whether its process runs.
pub fn is_up(world: &World, me: usize) -> bool {
    with(world, me, |manager| manager.is_up)
}

fn is_same(world: &World, me: usize, starts: u64) -> bool {
    with(world, me, |manager| manager.is_up && manager.starts == starts)
}

/// Looks for who leads, and registers there.
fn find(world: &Arc<World>, me: usize, starts: u64) {
    if !is_same(world, me, starts) || with(world, me, |manager| manager.connection.is_some()) {
        return;
    }
    let now_ms = world.now_ms();
    if with(world, me, |manager| now_ms - manager.alone_since_ms >= LEADERLESS_MS) {
        give_all_up(world, me);
    }
    let parties = (Party::TaskManager(me), Party::Store);
    world.request(
        parties,
        || "who leads?".to_owned(),
        |world| network::leader(world),
        move |world, leader| {
            if !is_same(world, me, starts) {
                return;
            }
            let (seen, held) = with(world, me, |manager| {
                let held: Vec<HeldAttempt> = manager.attempts.values().map(|attempt| attempt.held.clone()).collect();
                (manager.epoch, held)
            });
            let leader = leader.flatten().filter(|(epoch, _)| *epoch >= seen);
            let connection = leader.and_then(|(_, process)| network::connect(world, me, process, held));
            with(world, me, |manager| manager.connection = connection);
            if connection.is_none() {
                world.after(RETRY_MS, move |world| find(world, me, starts));
            }
        },
    );
}

/// It has left a JobManager.
pub fn alone(world: &Arc<World>, me: usize, id: u64) {
    let now_ms = world.now_ms();
    let starts = with(world, me, |manager| {
        let is_it = manager.connection == Some(id);
        if is_it {
            manager.connection = None;
            manager.alone_since_ms = now_ms;
        }
        is_it.then_some(manager.starts)
    });
    if let Some(starts) = starts {
        world.after(RETRY_MS, move |world| find(world, me, starts));
    }
}

/// It has heard nothing of its JobManager for a while.
pub fn ask_who_leads(world: &Arc<World>, me: usize, id: u64) {
    let parties = (Party::TaskManager(me), Party::Store);
    world.request(
        parties,
        || "who leads?".to_owned(),
        |world| network::leader(world),
        move |world, leader| {
            let seen = with(world, me, |manager| manager.epoch);
            if leader.flatten().is_some_and(|(epoch, _)| epoch > seen) {
                network::overtaken(world, me, id);
            }
        },
    );
}

fn give_all_up(world: &Arc<World>, me: usize) {
    let all: Vec<AttemptId> = with(world, me, |manager| manager.attempts.keys().copied().collect());
    for attempt in all {
        obey(world, me, attempt, Order::Tasks(TaskCommand::Cancel));
        obey(world, me, attempt, Order::Release);
    }
}

/// Its JobManager says something.
pub fn hear(world: &Arc<World>, me: usize, id: u64, said: FromJobManager) {
    match said {
        FromJobManager::Registered { epoch } => {
            let is_earlier = with(world, me, |manager| {
                let is_earlier = epoch < manager.epoch;
                manager.epoch = manager.epoch.max(epoch);
                is_earlier
            });
            if is_earlier {
                network::overtaken(world, me, id);
            }
        }
        FromJobManager::Deploy(deployment) => deploy(world, me, *deployment),
        FromJobManager::Preload(share, round) => preload(world, me, id, (&share, round)),
        FromJobManager::Order(attempt, order) => {
            world.trace(|| format!("TaskManager {me} is told of {attempt}: {}", words(&order)));
            obey(world, me, attempt, order);
        }
        // No job here is a program's.
        FromJobManager::Lend(_) | FromJobManager::Recall(_) | FromJobManager::ProgramPart { .. } => {}
        FromJobManager::Refused(_) | FromJobManager::Ask(..) | FromJobManager::Heartbeat | FromJobManager::ShutDown => {
        }
    }
}

fn words(order: &Order) -> String {
    match order {
        Order::Task(subtask, TaskCommand::AddSplits(splits)) => format!("{subtask:?} gets {} splits", splits.len()),
        Order::Tasks(TaskCommand::Checkpoint(barrier)) => {
            format!("barrier of checkpoint {}, then {:?}", barrier.checkpoint, barrier.then)
        }
        other => format!("{other:?}"),
    }
}

fn tell(world: &Arc<World>, me: usize, attempt: AttemptId, subtask: SubtaskId, report: Report) {
    let connection = with(world, me, |manager| {
        if let Some(running) = manager.attempts.get_mut(&attempt) {
            running.held.reported(subtask, &report);
        }
        manager.connection
    });
    if let Some(id) = connection {
        network::report(world, id, attempt, subtask, report);
    }
}

fn failure(text: &str) -> TaskFailure {
    TaskFailure {
        label: FailureLabel::Infrastructure,
        text: text.to_owned(),
        retryable: true,
    }
}

fn deploy(world: &Arc<World>, me: usize, deployment: Deployment) {
    let id = deployment.id;
    world.begin();
    world.trace(|| format!("TaskManager {me} gets {id} of generation {}", id.generation));
    let attempt = Attempt {
        held: HeldAttempt::of(&deployment),
        is_incremental: deployment.incremental,
        waiting: Some(vec![]),
        tasks: BTreeMap::new(),
        is_cancelled: false,
        over: 0,
    };
    let starts = with(world, me, |manager| {
        manager.attempts.insert(id, attempt);
        manager.starts
    });
    let states = deployment.states;
    let subtasks = deployment.placement.subtasks_at(deployment.here).to_vec();
    let parties = (Party::TaskManager(me), Party::Store);
    let run = move |world: &Arc<World>| {
        let load = |subtask: &SubtaskId| Some((*subtask, load(world, &states, subtask.1)?));
        subtasks.iter().map(load).collect::<Option<BTreeMap<_, _>>>()
    };
    let what = move || format!("state of {id}");
    world.request(parties, what, run, move |world, loaded| {
        if is_same(world, me, starts) {
            loaded_state(world, me, id, loaded.flatten());
        }
    });
}

/// The sums that a subtask starts from, by the files of all.
fn load(world: &World, states: &[OperatorStates], index: usize) -> Option<Task> {
    let of_sum = states.iter().find(|states| states.operator.id == job::sum_id());
    let restored = of_sum.and_then(|states| states.subtasks.iter().find(|s| s.index == index));
    let Some(restored) = restored else {
        return Some(Task::default());
    };
    let mut chain = Chain::default();
    for entry in &restored.entries {
        let path = format!("{}{}", job::checkpoint_folder(), entry.location.path()?);
        let file = get(world, &Path::from(path), GetOptions::default()).ok()?;
        let sums: Sums = serde_json::from_slice(&file.bytes().now_or_never()?.ok()?).ok()?;
        for (split, (position, sum)) in sums {
            let known = chain.sums.entry(split).or_default();
            *known = (*known).max((position, sum));
        }
        chain.files.push(entry.clone());
    }
    Some(Task {
        chain: Some(chain),
        ..Task::default()
    })
}

fn loaded_state(world: &Arc<World>, me: usize, id: AttemptId, loaded: Option<BTreeMap<SubtaskId, Task>>) {
    let (subtasks, waiting) = with(world, me, |manager| {
        let Some(attempt) = manager.attempts.get_mut(&id) else {
            return (vec![], vec![]);
        };
        let held = &attempt.held;
        let subtasks = held.placement.subtasks_at(held.here).to_vec();
        attempt.tasks = loaded.unwrap_or_default();
        (subtasks, attempt.waiting.take().unwrap_or_default())
    });
    let has_tasks = with(world, me, |m| m.attempts.get(&id).is_some_and(|a| !a.tasks.is_empty()));
    if !has_tasks {
        for (index, subtask) in subtasks.into_iter().enumerate() {
            let report = match index {
                0 => Report::Failed(failure("the state cannot be read")),
                _ => Report::Ended,
            };
            tell(world, me, id, subtask, report);
        }
        return;
    }
    for subtask in subtasks {
        tell(world, me, id, subtask, Report::Running);
    }
    waiting.into_iter().for_each(|order| carry_out(world, me, id, order));
    world.after(STEP_MS, move |world| step(world, me, id));
}

/// State is not kept here before it is needed; that takes its time, and fails.
fn preload(world: &Arc<World>, me: usize, id: u64, (share, round): (&Deployment, u64)) {
    let attempt = share.id;
    world.trace(|| format!("TaskManager {me} reads the state of {attempt} ahead"));
    let read = match world.mishap(100) {
        true => Err("the state cannot be read".to_owned()),
        false => Ok(1),
    };
    let takes_ms = world.draw(|rng| rng.range(1, 2_000));
    world.after(takes_ms, move |world| {
        network::preloaded(world, id, attempt, round, read)
    });
}

/// Passes an order on to an attempt, if it runs here.
fn obey(world: &Arc<World>, me: usize, id: AttemptId, order: Order) {
    let order = with(world, me, |manager| {
        let attempt = manager.attempts.get_mut(&id)?;
        attempt.held.ordered(&order);
        match &mut attempt.waiting {
            Some(waiting) if !matches!(order, Order::Release) => {
                waiting.push(order);
                None
            }
            _ => Some(order),
        }
    });
    if let Some(order) = order {
        carry_out(world, me, id, order);
    }
}

fn carry_out(world: &Arc<World>, me: usize, id: AttemptId, order: Order) {
    match order {
        Order::Release => drop(with(world, me, |manager| manager.attempts.remove(&id))),
        Order::ForgetPreloaded => {}
        Order::Confirm(checkpoint) => on_tasks(world, me, id, |task| task.confirm(checkpoint)),
        Order::Task(subtask, TaskCommand::AddSplits(splits)) => add_splits(world, me, id, subtask, splits),
        Order::Task(subtask, TaskCommand::NoMoreSplits) => with(world, me, |manager| {
            let task = manager.attempts.get_mut(&id).and_then(|a| a.tasks.get_mut(&subtask));
            task.into_iter().for_each(|task| task.has_all_splits = true);
        }),
        Order::Task(..) => {}
        Order::Tasks(TaskCommand::Checkpoint(barrier)) => capture(world, me, id, &barrier),
        Order::Tasks(TaskCommand::CheckpointComplete(checkpoint)) => {
            over(world, me, id, checkpoint);
            on_tasks(world, me, id, |task| {
                task.prepared.retain(|listed_by, _| *listed_by > checkpoint)
            });
        }
        Order::Tasks(TaskCommand::CheckpointAborted(checkpoint)) => {
            over(world, me, id, checkpoint);
            on_tasks(world, me, id, |task| drop(task.unconfirmed.remove(&checkpoint)));
        }
        Order::Tasks(TaskCommand::Cancel) => {
            with(world, me, |manager| {
                let attempt = manager.attempts.get_mut(&id);
                attempt.into_iter().for_each(|attempt| attempt.is_cancelled = true);
            });
            end(world, me, id);
        }
        Order::Tasks(TaskCommand::Finish) => end(world, me, id),
        Order::Tasks(_) => {}
    }
}

fn on_tasks(world: &World, me: usize, id: AttemptId, work: impl Fn(&mut Task)) {
    with(world, me, |manager| {
        let attempt = manager.attempts.get_mut(&id);
        attempt.into_iter().flat_map(|a| a.tasks.values_mut()).for_each(work);
    });
}

fn over(world: &World, me: usize, id: AttemptId, checkpoint: CheckpointId) {
    with(world, me, |manager| {
        let attempt = manager.attempts.get_mut(&id);
        attempt.into_iter().for_each(|a| a.over = a.over.max(checkpoint));
    });
}

/// Its tasks end as they are, some later than others.
fn end(world: &Arc<World>, me: usize, id: AttemptId) {
    let ending = with(world, me, |manager| {
        let attempt = manager.attempts.get_mut(&id);
        let tasks = attempt.map(|a| std::mem::take(&mut a.tasks)).unwrap_or_default();
        (tasks.into_keys().collect::<Vec<_>>(), manager.starts)
    });
    let (subtasks, starts) = ending;
    for subtask in subtasks {
        world.after(world.latency(), move |world| {
            if is_same(world, me, starts) {
                tell(world, me, id, subtask, Report::Ended);
            }
        });
    }
}

fn add_splits(world: &Arc<World>, me: usize, id: AttemptId, subtask: SubtaskId, splits: Vec<TimedSplit>) {
    let torn = with(world, me, |manager| {
        let task = manager.attempts.get_mut(&id)?.tasks.get_mut(&subtask)?;
        splits.into_iter().find_map(|split| task.add(&split.split).err())
    });
    if let Some(torn) = torn {
        world.violated(format!("{id}, {subtask:?}: {torn}"));
    }
}

impl Task {
    /// Reads a split from now on.
    fn add(&mut self, split: &Split) -> Result<(), String> {
        let position = decode(&split.state);
        let kept = self.chain.as_ref().and_then(|chain| chain.sums.get(&split.id)).copied();
        let (at, sum) = kept.unwrap_or_default();
        if at != position {
            return Err(format!(
                "{} is restored at {position}, and its sum at {at}: they are not of one cut",
                split.id
            ));
        }
        self.positions.insert(split.id.clone(), position);
        self.sums.insert(split.id.clone(), sum);
        Ok(())
    }

    fn confirm(&mut self, checkpoint: CheckpointId) {
        let later = self.unconfirmed.split_off(&(checkpoint + 1));
        let mut confirmed = std::mem::replace(&mut self.unconfirmed, later);
        if let Some(chain) = confirmed.remove(&checkpoint) {
            self.chain = Some(chain);
        }
    }

    fn current(&self) -> Sums {
        let of_split = |(split, sum): (&String, &i64)| (split.clone(), (self.positions[split], *sum));
        self.sums.iter().map(of_split).collect()
    }
}

/// All tasks of an attempt read some records.
fn step(world: &Arc<World>, me: usize, id: AttemptId) {
    let limit = world.shape.limit.unwrap_or(i64::MAX);
    let (mut drained, mut failed) = (vec![], vec![]);
    let goes_on = with(world, me, |manager| {
        let Some(attempt) = manager.attempts.get_mut(&id).filter(|a| !a.tasks.is_empty()) else {
            return false;
        };
        for (subtask, task) in &mut attempt.tasks {
            if !task.is_stopped && !read(world, (me, manager.starts, id, *subtask), task, limit) {
                failed.push(*subtask);
            }
            let is_through = task.has_all_splits && task.positions.values().all(|p| *p >= limit);
            if is_through && !task.is_drained && !task.is_stopped {
                task.is_drained = true;
                drained.push(*subtask);
            }
        }
        attempt.tasks.retain(|subtask, _| !failed.contains(subtask));
        true
    });
    for subtask in drained {
        tell(world, me, id, subtask, Report::Drained);
    }
    for subtask in failed {
        tell(
            world,
            me,
            id,
            subtask,
            Report::Failed(failure("its transaction was given up")),
        );
    }
    if goes_on {
        world.after(STEP_MS, move |world| step(world, me, id));
    }
}

/// Reads some records of each split and writes them; `false` if its transaction was given up.
fn read(
    world: &World,
    (me, starts, id, subtask): (usize, u64, AttemptId, SubtaskId),
    task: &mut Task,
    limit: i64,
) -> bool {
    let (transaction, transactions) = (&mut task.transaction, &mut task.transactions);
    for (split, position) in &mut task.positions {
        let from = *position;
        let to = (from + world.draw(|rng| rng.range(0, 4))).min(limit);
        if to == from {
            continue;
        }
        let Some(sum) = task.sums.get_mut(split) else {
            continue;
        };
        *sum += sum_to(to) - sum_to(from);
        *position = to;
        let transaction = transaction.get_or_insert_with(|| {
            *transactions += 1;
            format!(
                "g{}-a{}-s{}-m{me}.{starts}-{transactions}",
                id.generation, id.attempt, subtask.1
            )
        });
        let run = Run {
            split: split.clone(),
            from,
            to,
            sum: *sum,
        };
        if !lock(&world.log).write(transaction, run) {
            return false;
        }
    }
    true
}

/// What a subtask writes for a checkpoint.
struct Captured {
    subtask: SubtaskId,
    files: Vec<(String, Bytes)>,
    parts: Vec<OperatorPart>,
    positions: Vec<(String, i64)>,
}

/// A barrier comes to all tasks of an attempt.
fn capture(world: &Arc<World>, me: usize, id: AttemptId, barrier: &Barrier) {
    let checkpoint = barrier.checkpoint;
    let (captured, starts) = with(world, me, |manager| {
        let starts = manager.starts;
        let Some(attempt) = manager.attempts.get_mut(&id) else {
            return (vec![], starts);
        };
        if attempt.is_cancelled || checkpoint <= attempt.over {
            return (vec![], starts);
        }
        let is_incremental = attempt.is_incremental;
        let tasks = attempt.tasks.iter_mut().filter(|(_, task)| !task.is_stopped);
        let captured = tasks.map(|(subtask, task)| {
            let captured = task.capture(id, *subtask, checkpoint, is_incremental);
            task.is_stopped = barrier.then != AfterBarrier::Continue;
            captured
        });
        (captured.collect::<Vec<_>>(), starts)
    });
    for captured in captured {
        write(world, (me, starts, id), checkpoint, captured);
    }
}

impl Task {
    fn capture(
        &mut self,
        id: AttemptId,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        is_incremental: bool,
    ) -> Captured {
        if let Some(transaction) = self.transaction.take() {
            self.prepared.insert(checkpoint, transaction);
        }
        let file = |owner: OperatorId| {
            let name = layout::state_file(id.generation, id.attempt, owner, subtask.1);
            format!("{}/{name}", layout::checkpoint_folder(checkpoint))
        };
        let (splits_file, sums_file) = (file(job::source_id()), file(job::sum_id()));
        let (splits, splits_content) = self.split_entries(&splits_file);
        let now = self.current();
        let chain = self.chain.clone();
        let base = chain.filter(|chain| is_incremental && chain.files.len() < LONGEST_CHAIN);
        let mut base = base.unwrap_or_default();
        let changed: Sums = now
            .iter()
            .filter(|(split, value)| base.sums.get(*split) != Some(*value))
            .map(|(split, value)| (split.clone(), *value))
            .collect();
        let content = Bytes::from(serde_json::to_vec(&changed).unwrap());
        let mut files = vec![(splits_file, splits_content)];
        if !changed.is_empty() {
            base.files
                .push(entry("sums", Redistribute::Union, &sums_file, 0, &content));
            files.push((sums_file, content));
        }
        base.sums.extend(now);
        let sums = base.files.clone();
        self.unconfirmed.insert(checkpoint, base);
        let part = |id, entries, committables| OperatorPart {
            id,
            tables: vec![],
            subtask: SubtaskManifest {
                index: subtask.1,
                runs: vec![],
                entries,
                committables,
                in_flight: vec![],
            },
        };
        let listed = self.prepared.values().map(|t| InlineBytes(Bytes::from(t.clone())));
        Captured {
            subtask,
            files,
            parts: vec![
                part(job::source_id(), splits, vec![]),
                part(job::sum_id(), sums, vec![]),
                part(job::sink_id(), vec![], listed.collect()),
            ],
            positions: self.positions.iter().map(|(split, at)| (split.clone(), *at)).collect(),
        }
    }

    /// One file with all splits, and where each is in it.
    fn split_entries(&self, path: &str) -> (Vec<EntryRef>, Bytes) {
        let (mut content, mut entries) = (vec![], vec![]);
        for (split, position) in &self.positions {
            let split = TimedSplit::from(Split {
                id: split.clone(),
                state: encode(*position),
            });
            let bytes = serde_json::to_vec(&split).unwrap();
            entries.push(entry(SPLITS_STATE, Redistribute::Split, path, content.len(), &bytes));
            content.extend(bytes);
        }
        (entries, content.into())
    }
}

fn entry(name: &str, redistribute: Redistribute, path: &str, offset: usize, content: &[u8]) -> EntryRef {
    EntryRef {
        name: name.to_owned(),
        redistribute,
        crc32c: crc32c(content),
        location: Location::File {
            path: path.to_owned(),
            offset: offset as u64,
            length: content.len() as u64,
        },
    }
}

/// The checksum that entries have, bit by bit.
fn crc32c(content: &[u8]) -> u32 {
    let shifted = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    !content
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), shifted))
}

/// Writes a subtask's files one by one, and tells.
fn write(world: &Arc<World>, task: (usize, u64, AttemptId), checkpoint: CheckpointId, mut captured: Captured) {
    let (me, starts, id) = task;
    if captured.files.is_empty() {
        let part = WrittenPart {
            parts: captured.parts,
            written_bytes: 0,
            state_bytes: 0,
            in_memory_bytes: vec![],
            in_flight_bytes: 0,
            processed_bytes: 0,
            is_unaligned: false,
        };
        return tell(
            world,
            me,
            id,
            captured.subtask,
            Report::Part(checkpoint, Box::new(part)),
        );
    }
    let (path, content) = captured.files.remove(0);
    let (positions, place) = (captured.positions.clone(), path.clone());
    let is_of_source = path.ends_with(&layout::state_file(
        id.generation,
        id.attempt,
        job::source_id(),
        captured.subtask.1,
    ));
    let run = move |world: &Arc<World>| {
        if is_of_source {
            checks::note_positions(world, &place, positions);
        }
        let location = Path::from(format!("{}{place}", job::checkpoint_folder()));
        put(
            world,
            &location,
            PutPayload::from(content),
            PutOptions::from(PutMode::Create),
        )
        .is_ok()
    };
    let parties = (Party::TaskManager(me), Party::Store);
    world.request(
        parties,
        move || format!("put {path}"),
        run,
        move |world, is_put| {
            if !is_same(world, me, starts) {
                return;
            }
            match is_put {
                Some(true) => write(world, task, checkpoint, captured),
                _ => {
                    let failed = Report::PartFailed(checkpoint, failure("its state cannot be written"));
                    tell(world, me, id, captured.subtask, failed);
                }
            }
        },
    );
}
