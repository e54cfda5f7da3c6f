//! The slots of the TaskManagers that have registered, and the jobs that wait for some.
//!
//! A job gets all slots that it asks for at once or none, so two jobs that wait never hold what the other lacks. Neighbouring subtasks go to
//! one TaskManager, where they exchange without a network; with `taskmanager.load-balance.mode: SLOTS` (or the older
//! `cluster.evenly-spread-out-slots: true`) slots are taken evenly instead.

use crate::error::ClusterError;
use crate::resources::{Allocation, Slots, TaskManagerInfo, TaskManagerRef};
use async_trait::async_trait;
use flott_core::clock::SharedClock;
use flott_core::options::OptionError;
use flott_core::{JobId, Options};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Slots of several TaskManagers. Cloning shares them.
#[derive(Clone)]
pub struct SlotPool(Arc<Inner>);

struct Inner {
    clock: SharedClock,
    timeout: Duration,
    spreads: bool,
    state: Mutex<State>,
    /// Slots have come, or come free.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// In the order in which they came.
    managers: Vec<Registered>,
    next: u64,
}

struct Registered {
    /// Tells those apart that register under one id one after the other.
    number: u64,
    reference: TaskManagerRef,
    /// Another one has come under its id.
    replaced: Arc<Notify>,
    used: usize,
    info: TaskManagerInfo,
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
        let modes = ["NONE", "SLOTS", "TASKS"];
        let mode = options.one_of("taskmanager.load-balance.mode", &modes)?;
        let evenly = options.boolean("cluster.evenly-spread-out-slots")?.unwrap_or(false);
        Ok(Self(Arc::new(Inner {
            clock,
            timeout: Duration::from_millis(timeout_ms.max(0) as u64),
            spreads: mode.map_or(evenly, |mode| mode > 0),
            state: Mutex::default(),
            changed: Notify::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a TaskManager, in place of one of the same id: a process that registers anew has lost its earlier connection.
    pub fn register(&self, reference: TaskManagerRef, info: TaskManagerInfo) -> Registration {
        let replaced = Arc::new(Notify::new());
        let number = {
            let mut state = self.state();
            for earlier in state.managers.extract_if(.., |m| m.info.id == info.id) {
                earlier.replaced.notify_one();
            }
            state.next += 1;
            let number = state.next;
            state.managers.push(Registered {
                number,
                reference,
                replaced: replaced.clone(),
                used: 0,
                info,
            });
            number
        };
        self.0.changed.notify_waiters();
        Registration {
            pool: self.clone(),
            number,
            replaced,
        }
    }

    /// Takes slots, if there are as many.
    fn take(&self, needed: &BTreeMap<String, usize>) -> Option<Allocation> {
        let mut state = self.state();
        let mut free: Vec<usize> = state.managers.iter().map(|m| m.info.slots - m.used).collect();
        let wanted: usize = needed.values().sum();
        if free.iter().sum::<usize>() < wanted {
            return None;
        }
        let mut chosen: Vec<usize> = Vec::with_capacity(wanted);
        for _ in 0..wanted {
            let next = match self.0.spreads {
                // The first of those with most.
                true => (0..free.len()).rev().max_by_key(|i| free[*i]),
                false => (0..free.len()).find(|i| free[*i] > 0),
            }?;
            free[next] -= 1;
            chosen.push(next);
        }
        let mut used: Vec<usize> = chosen.clone();
        used.sort_unstable();
        used.dedup();
        let mut of_allocation = chosen.iter().filter_map(|manager| used.binary_search(manager).ok());
        let groups = needed
            .iter()
            .map(|(group, slots)| (group.clone(), of_allocation.by_ref().take(*slots).collect()));
        let groups = groups.collect();
        let taken = used.iter().map(|i| {
            let count = chosen.iter().filter(|c| *c == i).count();
            let manager = &mut state.managers[*i];
            manager.used += count;
            (manager.number, count)
        });
        let held = Held {
            pool: self.clone(),
            slots: taken.collect(),
        };
        Some(Allocation {
            task_managers: used.iter().map(|i| state.managers[*i].reference.clone()).collect(),
            groups,
            held: Some(Box::new(held)),
        })
    }

    /// What there is, for who waits.
    fn describe(&self) -> String {
        let state = self.state();
        let slots: usize = state.managers.iter().map(|m| m.info.slots).sum();
        let used: usize = state.managers.iter().map(|m| m.used).sum();
        match state.managers.len() {
            0 => "no TaskManager is there".to_owned(),
            managers => format!(
                "{managers} TaskManagers offer {slots} slots, of which {} are free",
                slots - used
            ),
        }
    }
}

/// Slots in use.
struct Held {
    pool: SlotPool,
    slots: Vec<(u64, usize)>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        for (number, count) in &self.slots {
            if let Some(manager) = state.managers.iter_mut().find(|m| m.number == *number) {
                manager.used -= count;
            }
        }
        drop(state);
        self.pool.0.changed.notify_waiters();
    }
}

impl Registration {
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
    }
}

#[async_trait]
impl Slots for SlotPool {
    async fn allocate(&self, job: JobId, needed: &BTreeMap<String, usize>) -> Result<Allocation, ClusterError> {
        let deadline = Instant::now() + self.0.timeout;
        let wanted: usize = needed.values().sum();
        let mut is_told = false;
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(allocation) = self.take(needed) {
                return Ok(allocation);
            }
            if !is_told {
                is_told = true;
                tracing::warn!(%job, "the job waits for {wanted} slots: {}", self.describe());
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Err(ClusterError::Resources(format!(
                    "the job needs {wanted} slots and did not get them within {} s (slot.request.timeout): {}; start more TaskManagers, \
                     raise taskmanager.numberOfTaskSlots, or lower the parallelism",
                    self.0.timeout.as_secs(),
                    self.describe()
                )));
            }
        }
    }

    fn task_managers(&self) -> Vec<TaskManagerInfo> {
        let state = self.state();
        let info = |m: &Registered| TaskManagerInfo {
            free_slots: m.info.slots - m.used,
            ..m.info.clone()
        };
        state.managers.iter().map(info).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{AttemptId, Deployment, Order, Peer};
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

    fn add(pool: &SlotPool, id: &str, slots: usize) -> Registration {
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
        pool.register(reference, info)
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

    #[tokio::test]
    async fn neighbours_share_a_task_manager_and_slots_come_back() {
        let pool = pool(&[("slot.request.timeout", "50 ms")]);
        let _one = add(&pool, "one", 2);
        let two = add(&pool, "two", 3);
        let held = pool.allocate(JobId(1), &needed(&[("a", 3), ("b", 1)])).await.unwrap();
        assert_eq!(places(&held), [("a", vec!["one", "one", "two"]), ("b", vec!["two"])]);
        assert_eq!((held.slots_of(0), held.slots_of(1)), (2, 2));
        let error = pool.allocate(JobId(2), &needed(&[("a", 2)])).await.err().unwrap();
        assert!(
            error
                .to_string()
                .contains("2 TaskManagers offer 5 slots, of which 1 are free"),
            "{error}"
        );
        drop(two);
        drop(held);
        let free: Vec<usize> = pool.task_managers().iter().map(|t| t.free_slots).collect();
        assert_eq!(free, [2]);
    }

    #[tokio::test]
    async fn slots_are_spread_if_asked_for() {
        let pool = pool(&[("taskmanager.load-balance.mode", "SLOTS")]);
        let _all = [add(&pool, "one", 2), add(&pool, "two", 2)];
        let held = pool.allocate(JobId(1), &needed(&[("a", 3)])).await.unwrap();
        assert_eq!(places(&held), [("a", vec!["one", "two", "one"])]);
    }

    #[tokio::test]
    async fn who_waits_gets_slots_when_they_come() {
        let pool = pool(&[]);
        let needed = needed(&[("a", 1)]);
        let waiting = pool.allocate(JobId(1), &needed);
        tokio::pin!(waiting);
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, &mut waiting).await.is_err());
        let _one = add(&pool, "one", 1);
        assert_eq!(places(&waiting.await.unwrap()), [("a", vec!["one"])]);
    }
}
