//! The slots of the TaskManagers that have registered, and the jobs that wait for some.
//!
//! A job gets all slots that it asks for at once or none, so two jobs that wait never hold what the other lacks. Neighbouring subtasks go to
//! one TaskManager, where they exchange without a network; with `taskmanager.load-balance.mode: SLOTS` (or the older
//! `cluster.evenly-spread-out-slots: true`) slots are taken evenly instead.
//!
//! A TaskManager that registers with what it still runs of an earlier JobManager's keeps those slots for it, until its job takes them over
//! ([`SlotPool::adopt`]) or it is told to give them up.

mod leases;

use crate::program::{Lease, Lessee};
use crate::protocol::{AttemptId, HeldAttempt, Order};
use crate::resources::{Adopted, Allocation, Deployed, HeldSlots, Slots, TaskManagerInfo, TaskManagerRef};
use crate::timer;
use async_trait::async_trait;
use flott_core::clock::SharedClock;
use flott_core::options::OptionError;
use flott_core::{CheckpointId, JobId, Options};
use flott_runtime::task::TaskCommand;
use leases::{Borrower, Lent};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How long a new leader waits for TaskManagers that run what it could go on with.
const ADOPTION_PATIENCE: Duration = Duration::from_secs(3);

/// Slots of several TaskManagers. Cloning shares them.
#[derive(Clone)]
pub struct SlotPool(Arc<Inner>);

struct Inner {
    clock: SharedClock,
    timeout: Duration,
    spreads: bool,
    started: Instant,
    state: Mutex<State>,
    /// Slots have come, gone, or come free.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// In the order in which they came.
    managers: Vec<Registered>,
    next: u64,
    /// The jobs whose attempts may be taken over; `None`: it is not known yet.
    awaited: Option<BTreeSet<JobId>>,
    /// Who comes is told that the cluster is over.
    is_over: bool,
    /// Programs whose jobs are lent slots.
    borrowers: BTreeMap<JobId, Borrower>,
    /// When the pool was made, for ids that an earlier one has not given.
    started_ms: i64,
}

struct Registered {
    /// Tells those apart that register under one id one after the other.
    number: u64,
    reference: TaskManagerRef,
    /// Another one has come under its id.
    replaced: Arc<Notify>,
    /// `free_slots` is not kept here: it follows from the others.
    info: TaskManagerInfo,
    /// Attempts of an earlier JobManager's that nobody has taken over yet; their slots are in use.
    held: Vec<HeldAttempt>,
    /// Slots that it lends.
    leases: Vec<Lent>,
    /// What it was lent itself, as a process of a program.
    lent: Option<Lease>,
    /// It was told to end.
    is_leaving: bool,
}

/// What a TaskManager that registers has of leases.
#[derive(Debug, Default)]
pub struct Leases {
    /// Slots that it lends.
    pub leases: Vec<Lease>,
    /// What it was lent itself.
    pub lent: Option<Lease>,
}

impl Registered {
    fn held(&self, attempt: AttemptId) -> Option<&HeldAttempt> {
        self.held.iter().find(|held| held.id == attempt)
    }

    /// Has attempts given up that nobody takes over.
    fn give_up(&mut self, which: impl Fn(&HeldAttempt) -> bool) {
        let mut given_up = vec![];
        for held in self.held.extract_if(.., |held| which(held)) {
            tracing::info!(task_manager = self.info.id, "{} is given up there", held.id);
            let gateway = &self.reference.gateway;
            gateway.order(held.id, Order::Tasks(TaskCommand::Cancel));
            gateway.order(held.id, Order::Release);
            given_up.push((held.id.job, held.slots));
        }
        given_up.into_iter().for_each(|(job, slots)| self.give_back(job, slots));
    }

    fn free(&self) -> usize {
        let in_use = self.info.allocated.len() + self.lent_slots();
        self.info.slots.saturating_sub(in_use)
    }

    fn give_back(&mut self, job: JobId, slots: usize) {
        let mut left = slots;
        self.info.allocated.retain(|of| {
            let goes = *of == job && left > 0;
            left -= usize::from(goes);
            !goes
        });
    }
}

/// Whether an attempt can be taken over.
enum Outlook {
    Adopted(Adopted),
    /// TaskManagers of it are missing.
    NotYet,
    Never(&'static str),
}

/// A registered TaskManager; taken back by dropping it.
pub struct Registration {
    pool: SlotPool,
    number: u64,
    replaced: Arc<Notify>,
}

impl SlotPool {
    /// A pool without slots.
    ///
    /// # Errors
    /// If an option's value is wrong.
    pub fn new(options: &Options, clock: SharedClock) -> Result<Self, OptionError> {
        let timeout_ms = options.duration_ms("slot.request.timeout")?.unwrap_or(300_000);
        let started_ms = clock.now_ms();
        let modes = ["NONE", "SLOTS", "TASKS"];
        let mode = options.one_of("taskmanager.load-balance.mode", &modes)?;
        let evenly = options.boolean("cluster.evenly-spread-out-slots")?.unwrap_or(false);
        Ok(Self(Arc::new(Inner {
            clock,
            timeout: Duration::from_millis(timeout_ms.max(0) as u64),
            spreads: mode.map_or(evenly, |mode| mode > 0),
            started: timer::now(),
            state: Mutex::new(State {
                awaited: Some(BTreeSet::new()),
                started_ms,
                ..State::default()
            }),
            changed: watch::Sender::new(()),
        })))
    }

    /// Keeps what TaskManagers still run until it is known which jobs there are ([`Slots::await_attempts_of`]); without this it is given up.
    pub fn keeping_attempts(self) -> Self {
        self.state().awaited = None;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a TaskManager, in place of one of the same id: a process that registers anew has lost its earlier connection. `held`: what
    /// it still runs.
    pub fn register(&self, reference: TaskManagerRef, info: TaskManagerInfo, held: Vec<HeldAttempt>) -> Registration {
        self.register_with(reference, info, held, Leases::default())
    }

    /// The same of one that lends slots, or was lent its own.
    pub fn register_with(
        &self,
        reference: TaskManagerRef,
        info: TaskManagerInfo,
        held: Vec<HeldAttempt>,
        Leases { leases, lent }: Leases,
    ) -> Registration {
        let replaced = Arc::new(Notify::new());
        let number = {
            let mut state = self.state();
            for earlier in state.managers.extract_if(.., |m| m.info.id == info.id) {
                earlier.replaced.notify_one();
            }
            state.next += 1;
            let number = state.next;
            let mut registered = Registered {
                number,
                reference,
                replaced: replaced.clone(),
                info,
                held,
                leases: leases.into_iter().map(Lent::told).collect(),
                lent: lent.clone(),
                is_leaving: false,
            };
            let slots = registered.held.iter();
            let in_use = slots.flat_map(|held| std::iter::repeat_n(held.id.job, held.slots));
            registered.info.allocated.extend(in_use);
            if let Some(awaited) = &state.awaited {
                registered.give_up(|held| !awaited.contains(&held.id.job));
            }
            if state.is_over {
                registered.reference.gateway.shut_down();
            }
            state.managers.push(registered);
            state.relate();
            number
        };
        self.0.changed.send_replace(());
        Registration {
            pool: self.clone(),
            number,
            replaced,
        }
    }

    /// Tells all TaskManagers, and those that still come, that the cluster is over, and waits until they have left, for `patience` at most;
    /// for `least` where some may not have come yet.
    pub async fn shut_down(&self, least: Duration, patience: Duration) {
        {
            let mut state = self.state();
            state.is_over = true;
            state.managers.iter().for_each(|m| m.reference.gateway.shut_down());
        }
        let deadline = timer::now() + patience;
        let mut changes = self.0.changed.subscribe();
        timer::sleep(least).await;
        while !self.state().managers.is_empty() {
            if timer::timeout_at(deadline, changes.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Takes the newest attempt of a job over, if it can go on from its newest checkpoint.
    fn take_over(&self, job: JobId, least: Option<AttemptId>, newest: Option<CheckpointId>) -> Outlook {
        let mut state = self.state();
        let attempts = state.managers.iter().flat_map(|m| &m.held);
        let Some(first) = attempts
            .filter(|held| held.id.job == job && least.is_none_or(|least| held.id >= least))
            .max_by_key(|held| held.id)
        else {
            return Outlook::NotYet;
        };
        let (id, peers) = (first.id, first.peers.clone());
        let mut found = Vec::with_capacity(peers.len());
        for peer in peers.iter() {
            let at = state
                .managers
                .iter()
                .position(|m| m.info.id == peer.id && m.held(id).is_some());
            let Some(at) = at else {
                return Outlook::NotYet;
            };
            found.push(at);
        }
        let held: Vec<HeldAttempt> = found
            .iter()
            .filter_map(|at| state.managers[*at].held(id).cloned())
            .collect();
        let Some(newest) = newest else {
            return Outlook::Never("it has no checkpoint yet");
        };
        if !held.iter().all(|held| held.goes_on_from(newest)) {
            return Outlook::Never("its tasks are not where its newest checkpoint lets them go on");
        }
        for at in &found {
            state.managers[*at].held.retain(|held| held.id != id);
        }
        let slots = found
            .iter()
            .zip(&held)
            .map(|(at, held)| (state.managers[*at].number, held.slots));
        let allocation = Allocation {
            task_managers: found.iter().map(|at| state.managers[*at].reference.clone()).collect(),
            groups: BTreeMap::new(),
            held: Some(Box::new(Held {
                pool: self.clone(),
                job,
                slots: slots.collect(),
            })),
        };
        let placement = held.first().map(|held| held.placement.clone()).unwrap_or_default();
        let deployed = Deployed {
            id,
            allocation,
            placement,
        };
        Outlook::Adopted(Adopted { deployed, held })
    }

    /// Takes slots, if there are as many with those that the job has had.
    fn take(&self, job: JobId, needed: &BTreeMap<String, usize>, had: &mut Option<HeldSlots>) -> Option<Allocation> {
        let mut state = self.state();
        let chosen = state.choose(job, needed.values().sum(), had.as_ref(), self.0.spreads)?;
        // In one go: nobody else gets what the job has.
        if let Some(mut had) = had.take().and_then(|had| had.downcast::<Held>().ok()) {
            state.give_back(job, &std::mem::take(&mut had.slots));
        }
        let mut allocation = state.allocation(&chosen, needed);
        let mut slots: BTreeMap<u64, usize> = BTreeMap::new();
        for index in chosen {
            let manager = &mut state.managers[index];
            manager.info.allocated.push(job);
            *slots.entry(manager.number).or_default() += 1;
        }
        allocation.held = Some(Box::new(Held {
            pool: self.clone(),
            job,
            slots: slots.into_iter().collect(),
        }));
        Some(allocation)
    }
}

/// Slots in use.
struct Held {
    pool: SlotPool,
    job: JobId,
    slots: Vec<(u64, usize)>,
}

impl State {
    /// The TaskManager of each slot, by its place in the list, where those that a job has had come back; `None` if there are too few.
    fn choose(&self, job: JobId, wanted: usize, had: Option<&HeldSlots>, spreads: bool) -> Option<Vec<usize>> {
        let given_back = had.and_then(|had| had.downcast_ref::<Held>());
        let given_back = given_back.map_or(&[][..], |had| had.slots.as_slice());
        let back_at = |m: &Registered| -> usize {
            let at = given_back.iter().filter(|(number, _)| *number == m.number);
            at.map(|(_, count)| count).sum()
        };
        let is_program = self.is_program(job);
        let free = |m: &Registered| match m.serves(job, is_program) {
            true => m.free() + back_at(m),
            false => 0,
        };
        choose(self.managers.iter().map(free).collect(), wanted, spreads)
    }

    /// The slots that were chosen, which nobody holds yet.
    fn allocation(&self, chosen: &[usize], needed: &BTreeMap<String, usize>) -> Allocation {
        let mut used: Vec<usize> = chosen.to_vec();
        used.sort_unstable();
        used.dedup();
        let mut of_allocation = chosen.iter().filter_map(|manager| used.binary_search(manager).ok());
        let groups = needed
            .iter()
            .map(|(group, slots)| (group.clone(), of_allocation.by_ref().take(*slots).collect()));
        Allocation {
            groups: groups.collect(),
            task_managers: used.iter().map(|i| self.managers[*i].reference.clone()).collect(),
            held: None,
        }
    }

    fn give_back(&mut self, job: JobId, slots: &[(u64, usize)]) {
        for (number, count) in slots {
            if let Some(manager) = self.managers.iter_mut().find(|m| m.number == *number) {
                manager.give_back(job, *count);
            }
        }
    }
}

/// The TaskManager of each slot that is wanted, where these are free; `None` if there are too few.
fn choose(mut free: Vec<usize>, wanted: usize, spreads: bool) -> Option<Vec<usize>> {
    if free.iter().sum::<usize>() < wanted {
        return None;
    }
    let choose = |_| {
        let next = match spreads {
            // The first of those with most.
            true => (0..free.len()).rev().max_by_key(|i| free[*i]),
            false => (0..free.len()).find(|i| free[*i] > 0),
        }?;
        free[next] -= 1;
        Some(next)
    };
    (0..wanted).map(choose).collect()
}

impl Drop for Held {
    fn drop(&mut self) {
        // They were given back in exchange for others.
        if self.slots.is_empty() {
            return;
        }
        self.pool.state().give_back(self.job, &self.slots);
        self.pool.0.changed.send_replace(());
    }
}

impl Registration {
    /// Its slots of this lease are its own again; why.
    pub(crate) fn lease_ended(&self, id: &str, why: String) {
        self.pool.lease_ended(self.number, id, why);
    }

    /// Waits until another TaskManager has come under its id. Cancel-safe.
    pub async fn replaced(&self) {
        self.replaced.notified().await;
    }

    /// Notes what its TaskManager says of itself.
    pub fn heartbeat(&self, used_bytes: u64) {
        let now_ms = self.pool.0.clock.now_ms();
        if let Some(manager) = self.pool.state().managers.iter_mut().find(|m| m.number == self.number) {
            manager.info.last_heartbeat_ms = now_ms;
            manager.info.used_bytes = used_bytes;
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.pool.state().managers.retain(|m| m.number != self.number);
        self.pool.0.changed.send_replace(());
    }
}

#[async_trait]
impl Slots for SlotPool {
    fn allocate(
        &self,
        job: JobId,
        needed: &BTreeMap<String, usize>,
        had: &mut Option<HeldSlots>,
    ) -> Option<Allocation> {
        let is_exchange = had.is_some();
        let taken = self.take(job, needed, had);
        self.lend_or_dismiss(job, needed.values().sum(), had.as_ref(), taken.is_some());
        let taken = taken?;
        if is_exchange {
            // Of what it has had some may be free now.
            self.0.changed.send_replace(());
        }
        Some(taken)
    }

    fn foresee(&self, needed: &BTreeMap<String, usize>, had: Option<&HeldSlots>) -> Option<Allocation> {
        let state = self.state();
        // Only who has some rescales.
        let job = had?.downcast_ref::<Held>()?.job;
        let chosen = state.choose(job, needed.values().sum(), had, self.0.spreads)?;
        Some(state.allocation(&chosen, needed))
    }

    fn available(&self, job: JobId) -> Option<usize> {
        let state = self.state();
        let of_job = |m: &Registered| m.info.allocated.iter().filter(|of| **of == job).count();
        let is_program = state.is_program(job);
        let serving = state.managers.iter().filter(|m| m.serves(job, is_program));
        let has: usize = serving.map(|m| m.free() + of_job(m)).sum();
        Some(match is_program {
            true => has + state.lendable(job),
            false => has,
        })
    }

    fn changes(&self) -> Option<watch::Receiver<()>> {
        Some(self.0.changed.subscribe())
    }

    fn patience(&self) -> Option<Duration> {
        Some(self.0.timeout)
    }

    fn task_manager(&self, id: &str) -> Option<TaskManagerRef> {
        let state = self.state();
        let manager = state.managers.iter().find(|manager| manager.info.id == id)?;
        Some(manager.reference.clone())
    }

    fn describe(&self) -> String {
        let state = self.state();
        let managers = || state.managers.iter().filter(|m| m.lent.is_none());
        let slots: usize = managers().map(|m| m.info.slots).sum();
        let free: usize = managers().map(Registered::free).sum();
        match managers().count() {
            0 => "no TaskManager is there".to_owned(),
            managers => format!("{managers} TaskManagers offer {slots} slots, of which {free} are free"),
        }
    }

    fn await_attempts_of(&self, jobs: BTreeSet<JobId>) {
        let mut state = self.state();
        for manager in &mut state.managers {
            manager.give_up(|held| !jobs.contains(&held.id.job));
        }
        state.dismiss(|job| !jobs.contains(&job));
        state.awaited = Some(jobs);
        drop(state);
        self.0.changed.send_replace(());
    }

    fn give_up(&self, job: JobId) {
        let mut state = self.state();
        if let Some(awaited) = &mut state.awaited {
            awaited.remove(&job);
        }
        for manager in &mut state.managers {
            manager.give_up(|held| held.id.job == job);
        }
        drop(state);
        self.0.changed.send_replace(());
    }

    fn begin_lending(&self, job: JobId, lessee: Lessee) {
        Self::begin_lending(self, job, lessee);
    }

    fn end_lending(&self, job: JobId) {
        Self::end_lending(self, job);
    }

    fn let_idle_go(&self, job: JobId) {
        Self::let_idle_go(self, job);
    }

    fn trouble(&self, job: JobId) -> Option<String> {
        self.trouble_of(job)
    }

    async fn adopt(&self, job: JobId, least: Option<AttemptId>, newest: Option<CheckpointId>) -> Option<Adopted> {
        let deadline = self.0.started + ADOPTION_PATIENCE;
        let mut changes = self.0.changed.subscribe();
        let adopted = loop {
            match self.take_over(job, least, newest) {
                Outlook::Adopted(adopted) => break Some(adopted),
                Outlook::Never(why) => {
                    tracing::warn!(%job, "what runs of the job cannot be taken over: {why}");
                    break None;
                }
                Outlook::NotYet => {}
            }
            if timer::timeout_at(deadline, changes.changed()).await.is_err() {
                break None;
            }
        };
        Slots::give_up(self, job);
        adopted
    }

    fn task_managers(&self) -> Vec<TaskManagerInfo> {
        let state = self.state();
        let info = |m: &Registered| TaskManagerInfo {
            free_slots: m.free(),
            // Who is lent them shows them.
            slots: m.info.slots.saturating_sub(m.lent_slots()),
            ..m.info.clone()
        };
        state.managers.iter().map(info).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Deployment, Peer};
    use crate::resources::{GatewayListener, TaskManagerGateway};
    use flott_core::clock::SystemClock;

    struct Deaf;

    impl TaskManagerGateway for Deaf {
        fn deploy(&self, _: Deployment, _: GatewayListener) {}

        fn order(&self, _: AttemptId, _: Order) {}
    }

    fn pool(options: &[(&str, &str)]) -> SlotPool {
        SlotPool::new(&options.iter().copied().collect(), Arc::new(SystemClock)).unwrap()
    }

    fn add_with(pool: &SlotPool, id: &str, slots: usize, held: Vec<HeldAttempt>) -> Registration {
        let peer = Peer {
            id: id.to_owned(),
            data_address: format!("{id}:1"),
        };
        let reference = TaskManagerRef {
            peer,
            gateway: Arc::new(Deaf),
        };
        let info = TaskManagerInfo {
            id: id.to_owned(),
            slots,
            free_slots: slots,
            ..TaskManagerInfo::default()
        };
        pool.register(reference, info, held)
    }

    fn add(pool: &SlotPool, id: &str, slots: usize) -> Registration {
        add_with(pool, id, slots, vec![])
    }

    fn needed(groups: &[(&str, usize)]) -> BTreeMap<String, usize> {
        groups.iter().map(|(g, n)| ((*g).to_owned(), *n)).collect()
    }

    fn places(allocation: &Allocation) -> Vec<(&str, Vec<&str>)> {
        let id = |i: &usize| allocation.task_managers[*i].peer.id.as_str();
        let of_group = |(group, slots): (&'static str, &Vec<usize>)| (group, slots.iter().map(id).collect());
        let groups = allocation
            .groups
            .iter()
            .map(|(g, s)| (if g == "a" { "a" } else { "b" }, s));
        groups.map(of_group).collect()
    }

    #[test]
    fn neighbours_share_a_task_manager_and_slots_come_back() {
        let pool = pool(&[]);
        let _one = add(&pool, "one", 2);
        let two = add(&pool, "two", 3);
        let held = pool
            .allocate(JobId(1), &needed(&[("a", 3), ("b", 1)]), &mut None)
            .unwrap();
        assert_eq!(places(&held), [("a", vec!["one", "one", "two"]), ("b", vec!["two"])]);
        assert_eq!((held.slots_of(0), held.slots_of(1)), (2, 2));
        assert!(pool.allocate(JobId(2), &needed(&[("a", 2)]), &mut None).is_none());
        assert_eq!(pool.describe(), "2 TaskManagers offer 5 slots, of which 1 are free");
        assert_eq!((pool.available(JobId(1)), pool.available(JobId(2))), (Some(5), Some(1)));
        let of_jobs: Vec<_> = pool.task_managers().into_iter().map(|t| t.allocated).collect();
        assert_eq!(of_jobs, [vec![JobId(1); 2], vec![JobId(1); 2]]);
        let other = pool.allocate(JobId(2), &needed(&[("a", 1)]), &mut None).unwrap();
        drop(held);
        assert_eq!(pool.task_managers()[1].allocated, [JobId(2)]);
        drop((two, other));
        let free: Vec<usize> = pool.task_managers().iter().map(|t| t.free_slots).collect();
        assert_eq!(free, [2]);
    }

    #[test]
    fn a_job_exchanges_its_slots_and_keeps_them_if_there_are_too_few() {
        let pool = pool(&[]);
        let _all = [add(&pool, "one", 2), add(&pool, "two", 2)];
        let mut of_first = pool.allocate(JobId(1), &needed(&[("a", 2)]), &mut None).unwrap();
        let of_second = pool.allocate(JobId(2), &needed(&[("a", 1)]), &mut None).unwrap();
        let mut had = of_first.held.take();
        assert!(pool.allocate(JobId(1), &needed(&[("a", 4)]), &mut had).is_none());
        assert!(had.is_some());
        let free = || pool.task_managers().iter().map(|t| t.free_slots).collect::<Vec<_>>();
        assert_eq!(free(), [0, 1]);
        let more = pool.allocate(JobId(1), &needed(&[("a", 3)]), &mut had).unwrap();
        assert_eq!(
            (places(&more), free()),
            (vec![("a", vec!["one", "one", "two"])], vec![0, 0])
        );
        drop((of_first, had));
        assert_eq!(free(), [0, 0]);
        let mut had = { more }.held.take();
        let fewer = pool.allocate(JobId(1), &needed(&[("a", 1)]), &mut had).unwrap();
        assert_eq!(free(), [1, 1]);
        drop((fewer, of_second));
        assert_eq!(free(), [2, 2]);
    }

    #[test]
    fn slots_are_spread_if_asked_for() {
        let pool = pool(&[("taskmanager.load-balance.mode", "SLOTS")]);
        let _all = [add(&pool, "one", 2), add(&pool, "two", 2)];
        let held = pool.allocate(JobId(1), &needed(&[("a", 3)]), &mut None).unwrap();
        assert_eq!(places(&held), [("a", vec!["one", "two", "one"])]);
    }

    #[test]
    fn slots_that_come_and_go_are_told() {
        let pool = pool(&[]);
        let mut changes = pool.changes().unwrap();
        let mut is_told = || {
            let told = changes.has_changed().unwrap();
            changes.mark_unchanged();
            told
        };
        assert!(!is_told());
        let one = add(&pool, "one", 1);
        assert!(is_told());
        let held = pool.allocate(JobId(1), &needed(&[("a", 1)]), &mut None);
        assert!(!is_told());
        drop(held);
        assert!(is_told());
        drop(one);
        assert!(is_told());
    }

    /// An attempt of two TaskManagers, a slot each, which has sent the barriers of checkpoints 3 to 5.
    fn held(job: u128, here: usize) -> HeldAttempt {
        let peer = |id: &str| Peer {
            id: id.to_owned(),
            data_address: format!("{id}:1"),
        };
        HeldAttempt {
            id: AttemptId {
                job: JobId(job),
                generation: 1,
                attempt: 1,
            },
            peers: Arc::new(vec![peer("one"), peer("two")]),
            placement: vec![vec![0, 1]].into(),
            here,
            slots: 1,
            drained: vec![],
            ended: vec![],
            first_checkpoint: Some(3),
            last_checkpoint: 5,
            splits_behind: 3,
            is_ending: false,
        }
    }

    #[tokio::test]
    async fn what_still_runs_is_taken_over_once_all_of_it_is_there() {
        let pool = pool(&[]).keeping_attempts();
        let one = add_with(&pool, "one", 2, vec![held(1, 0), held(2, 0)]);
        pool.await_attempts_of(BTreeSet::from([JobId(1)]));
        assert_eq!(pool.task_managers()[0].free_slots, 1, "job 2 is nobody's");
        let waiting = pool.adopt(JobId(1), None, Some(4));
        tokio::pin!(waiting);
        assert!(
            tokio::time::timeout(Duration::from_millis(10), &mut waiting)
                .await
                .is_err()
        );
        let two = add_with(&pool, "two", 1, vec![held(1, 1)]);
        let adopted = waiting.await.unwrap();
        assert_eq!((adopted.deployed.id, adopted.held.len()), (held(1, 0).id, 2));
        let free = || pool.task_managers().iter().map(|t| t.free_slots).collect::<Vec<_>>();
        assert_eq!(free(), [1, 0]);
        drop(adopted);
        assert_eq!(free(), [2, 1]);
        // Whoever comes too late with something gives it up.
        drop((one, two));
        let _late = add_with(&pool, "one", 1, vec![held(1, 0)]);
        assert_eq!(free(), [1]);
    }

    #[tokio::test]
    async fn an_attempt_before_the_one_that_was_begun_last_is_given_up() {
        let alone = |attempt: u64| {
            let mut alone = held(1, 0);
            Arc::make_mut(&mut alone.peers).truncate(1);
            alone.id.attempt = attempt;
            alone
        };
        for (attempt, goes_on) in [(2, false), (3, true)] {
            let pool = pool(&[]).keeping_attempts();
            let _one = add_with(&pool, "one", 1, vec![alone(attempt)]);
            pool.await_attempts_of(BTreeSet::from([JobId(1)]));
            let adopted = pool.adopt(JobId(1), Some(alone(3).id), Some(4)).await;
            assert_eq!(adopted.is_some(), goes_on, "attempt {attempt}");
        }
    }

    #[tokio::test]
    async fn what_cannot_go_on_is_given_up() {
        let of = |bend: fn(&mut HeldAttempt)| {
            let mut bent = held(1, 0);
            Arc::make_mut(&mut bent.peers).truncate(1);
            bend(&mut bent);
            bent
        };
        let cases: [(HeldAttempt, Option<CheckpointId>, bool); 7] = [
            (of(|_| {}), Some(4), true),
            (of(|_| {}), None, false),
            (of(|_| {}), Some(2), false),
            (of(|_| {}), Some(3), false),
            (of(|_| {}), Some(6), false),
            (of(|held| held.is_ending = true), Some(5), false),
            (held(1, 0), Some(4), false),
        ];
        for (held, newest, goes_on) in cases {
            let pool = pool(&[]).keeping_attempts();
            let _one = add_with(&pool, "one", 1, vec![held.clone()]);
            pool.await_attempts_of(BTreeSet::from([JobId(1)]));
            let adopted = pool.adopt(JobId(1), None, newest).await;
            assert_eq!(adopted.is_some(), goes_on, "{held:?} from {newest:?}");
            assert_eq!(pool.task_managers()[0].free_slots, usize::from(!goes_on));
        }
    }
}
