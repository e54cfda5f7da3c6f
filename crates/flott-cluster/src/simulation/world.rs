//! The world of a run: its time, what is to happen in it, who is there, and what was found wrong.
//!
//! All happens on one thread. What is to happen lies in a queue by time; events of one time happen in the order in which they were
//! planned. Locks are held for as long as one of these functions runs, and never while another part of the world is called.

use super::checks::Books;
use super::job::Shape;
use super::job_manager::JobManager;
use super::network::Network;
use super::planted::Bug;
use super::rng::Rng;
use super::task_manager::TaskManager;
use super::transactions::Transactions;
use object_store::memory::InMemory;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;
use tokio::time::Instant;

/// How many lines of a trace are kept.
const TRACE_LINES: usize = 150;

/// What happens.
pub type Action = Box<dyn FnOnce(&Arc<World>) + Send>;

/// When something happens, and as the how-manyth that was planned.
pub type Key = (i64, u64);

/// Who talks with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    JobManager(usize),
    TaskManager(usize),
    /// The object store.
    Store,
    /// The log of transactions that sinks write to.
    Log,
}

enum Planned {
    Act(Action),
    /// A simulated process waits for it.
    Wake(usize, Waker),
}

struct Schedule {
    now_ms: i64,
    count: u64,
    queue: BTreeMap<Key, Planned>,
    rng: Rng,
    /// Whether the job's first attempt was deployed: before, what fails ends the job, as it is meant to.
    has_begun: bool,
    /// Nothing fails any more.
    is_calm: bool,
    /// Pairs that cannot reach each other, since when and until when.
    cuts: BTreeMap<(Party, Party), (i64, i64)>,
    /// What happened last, if somebody is to read it.
    trace: Option<VecDeque<String>>,
    violation: Option<String>,
}

/// See the module.
pub struct World {
    pub bug: Option<Bug>,
    pub shape: Shape,
    pub store: InMemory,
    pub log: Mutex<Transactions>,
    pub books: Mutex<Books>,
    pub network: Mutex<Network>,
    pub task_managers: Vec<Mutex<TaskManager>>,
    pub job_managers: Vec<Mutex<JobManager>>,
    schedule: Mutex<Schedule>,
    origin: Instant,
}

thread_local! {
    /// The simulated process that runs on this thread.
    static HERE: RefCell<Option<(Arc<World>, usize)>> = const { RefCell::new(None) };
}

/// Locks a part of the world.
pub fn lock<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(seed: u64, bug: Option<Bug>, is_traced: bool) -> Arc<Self> {
        let mut rng = Rng::new(seed);
        let shape = Shape::draw(&mut rng);
        Arc::new(Self {
            bug,
            log: Mutex::new(Transactions::default()),
            books: Mutex::default(),
            network: Mutex::default(),
            task_managers: (0..shape.task_managers).map(|_| Mutex::default()).collect(),
            job_managers: (0..shape.job_managers).map(|_| Mutex::default()).collect(),
            shape,
            store: InMemory::new(),
            schedule: Mutex::new(Schedule {
                now_ms: 0,
                count: 0,
                queue: BTreeMap::new(),
                rng,
                has_begun: false,
                is_calm: false,
                cuts: BTreeMap::new(),
                trace: is_traced.then(VecDeque::new),
                violation: None,
            }),
            origin: Instant::now(),
        })
    }

    /// The world and the process that run on this thread.
    pub fn here() -> Option<(Arc<Self>, usize)> {
        HERE.with_borrow(Clone::clone)
    }

    /// Does something as a process.
    pub fn being<T>(self: &Arc<Self>, process: usize, work: impl FnOnce() -> T) -> T {
        HERE.set(Some((self.clone(), process)));
        let done = work();
        HERE.set(None);
        done
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        lock(&self.schedule)
    }

    pub fn now_ms(&self) -> i64 {
        self.schedule().now_ms
    }

    pub fn instant(&self) -> Instant {
        self.origin + Duration::from_millis(self.now_ms().unsigned_abs())
    }

    pub fn ms_of(&self, instant: Instant) -> i64 {
        // Rounded up: nobody wakes before the time.
        (instant - self.origin).as_micros().div_ceil(1_000) as i64
    }

    pub fn draw<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.schedule().rng)
    }

    /// Something of what fails, and only while anything does.
    pub fn mishap(&self, per_mille: i64) -> bool {
        let mut schedule = self.schedule();
        schedule.has_begun && !schedule.is_calm && schedule.rng.per_mille(per_mille)
    }

    /// Whatever can fail may from now on.
    pub fn begin(&self) {
        self.schedule().has_begun = true;
    }

    pub fn has_begun(&self) -> bool {
        self.schedule().has_begun
    }

    /// Nothing fails from now on.
    pub fn calm(&self) {
        let mut schedule = self.schedule();
        schedule.is_calm = true;
        schedule.cuts.clear();
    }

    pub fn is_calm(&self) -> bool {
        self.schedule().is_calm
    }

    /// How long something takes on its way: a moment, and now and then much longer.
    pub fn latency(&self) -> i64 {
        let mut schedule = self.schedule();
        let is_calm = schedule.is_calm || !schedule.has_begun;
        let rng = &mut schedule.rng;
        match rng.range(0, 999) {
            0..=7 if !is_calm => rng.range(500, 3_000),
            8..=49 if !is_calm => rng.range(30, 300),
            _ => rng.range(1, 12),
        }
    }

    fn plan(&self, at_ms: i64, planned: Planned) -> Key {
        let mut schedule = self.schedule();
        schedule.count += 1;
        let key = (at_ms.max(schedule.now_ms), schedule.count);
        schedule.queue.insert(key, planned);
        key
    }

    pub fn at(&self, at_ms: i64, action: impl FnOnce(&Arc<Self>) + Send + 'static) {
        self.plan(at_ms, Planned::Act(Box::new(action)));
    }

    pub fn after(&self, delay_ms: i64, action: impl FnOnce(&Arc<Self>) + Send + 'static) {
        self.at(self.now_ms() + delay_ms, action);
    }

    pub fn wake_at(&self, at_ms: i64, process: usize, waker: Waker) -> Key {
        self.plan(at_ms, Planned::Wake(process, waker))
    }

    pub fn forget(&self, key: Key) {
        // What it held is dropped when nothing is locked.
        let forgotten = self.schedule().queue.remove(&key);
        drop(forgotten);
    }

    /// Lets the next thing happen; `false` if nothing is to.
    pub fn step(self: &Arc<Self>) -> bool {
        let next = {
            let mut schedule = self.schedule();
            let Some((key, next)) = schedule.queue.pop_first() else {
                return false;
            };
            schedule.now_ms = key.0;
            next
        };
        match next {
            Planned::Act(action) => action(self),
            Planned::Wake(process, waker) => {
                self.stir(process);
                waker.wake();
            }
        }
        true
    }

    /// Has a JobManager go on with what it has got.
    pub fn stir(&self, process: usize) {
        lock(&self.job_managers[process]).is_stirred = true;
    }

    /// Cuts two parties off from each other for a while.
    pub fn cut(&self, one: Party, other: Party, for_ms: i64) {
        let mut schedule = self.schedule();
        let now_ms = schedule.now_ms;
        schedule.cuts.insert(pair(one, other), (now_ms, now_ms + for_ms));
    }

    /// Since when, and until when, two parties cannot reach each other.
    pub fn cut_of(&self, one: Party, other: Party) -> Option<(i64, i64)> {
        let schedule = self.schedule();
        let cut = schedule.cuts.get(&pair(one, other)).copied();
        cut.filter(|(_, until_ms)| *until_ms > schedule.now_ms)
    }

    /// Asks a party for something. It takes place once, later, never, or without an answer (`None`).
    pub fn request<T: Send + 'static>(
        self: &Arc<Self>,
        (from, to): (Party, Party),
        what: impl FnOnce() -> String,
        run: impl FnOnce(&Arc<Self>) -> T + Send + 'static,
        done: impl FnOnce(&Arc<Self>, Option<T>) + Send + 'static,
    ) {
        let what = self.is_traced().then(what).unwrap_or_default();
        let cut = self.cut_of(from, to);
        if self.mishap(6) || cut.is_some() && self.mishap(500) {
            let patience_ms = self.draw(|rng| rng.range(5, 1_000));
            return self.after(patience_ms, move |world| {
                world.trace(|| format!("{from:?} gets no answer: {what} never came to {to:?}"));
                done(world, None);
            });
        }
        let arrives_ms = cut.map_or(self.now_ms(), |(_, until_ms)| until_ms) + self.latency();
        let is_lost = self.mishap(6);
        self.at(arrives_ms, move |world| {
            world.trace(|| format!("{from:?} -> {to:?}: {what}"));
            let answer = run(world);
            let answer = Some(answer).filter(|_| !is_lost && world.cut_of(from, to).is_none());
            if answer.is_none() {
                world.trace(|| "   its answer is lost".to_owned());
            }
            world.after(world.latency(), move |world| done(world, answer));
        });
    }

    pub fn is_traced(&self) -> bool {
        self.schedule().trace.is_some()
    }

    pub fn trace(&self, line: impl FnOnce() -> String) {
        if !self.is_traced() {
            return;
        }
        let line = line();
        let mut schedule = self.schedule();
        let line = format!("{:>7} ms  {line}", schedule.now_ms);
        if let Some(trace) = &mut schedule.trace {
            trace.push_back(line);
            if trace.len() > TRACE_LINES {
                trace.pop_front();
            }
        }
    }

    /// Something that must never be is so.
    pub fn violated(&self, what: impl Into<String>) {
        let mut schedule = self.schedule();
        let now_ms = schedule.now_ms;
        schedule
            .violation
            .get_or_insert_with(|| format!("at {now_ms} ms: {}", what.into()));
    }

    pub fn violation(&self) -> Option<String> {
        self.schedule().violation.clone()
    }

    pub fn traced(&self) -> Vec<String> {
        self.schedule().trace.iter().flatten().cloned().collect()
    }

    /// Lets go of all that holds on to the world.
    pub fn end(&self) {
        let queue = std::mem::take(&mut self.schedule().queue);
        drop(queue);
        let network = std::mem::take(&mut *lock(&self.network));
        drop(network);
        for job_manager in &self.job_managers {
            let job_manager = std::mem::take(&mut *lock(job_manager));
            drop(job_manager);
        }
    }
}

fn pair(one: Party, other: Party) -> (Party, Party) {
    (one.min(other), one.max(other))
}
