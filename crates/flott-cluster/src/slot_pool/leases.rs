//! Slots that are lent to processes of programs: who gets how many, from whom, and what becomes of a lease that is not used.
//!
//! A program's job takes slots only of TaskManagers that are processes of the program. Where these have too few, slots are lent for all that are
//! missing, or none; the job tries again when the processes have registered. One whose slots the job needs no more is told to end, and with
//! its end they are their lender's again.

use super::{Held, Registered, SlotPool, State};
use crate::program::{Lease, LeaseOrder, Lessee};
use crate::resources::HeldSlots;
use crate::timer;
use flott_core::{Fingerprint, JobId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// After so many processes in a row that did not come to register the job is told.
const MOST_FAILURES: u32 = 3;

/// Pause behind the first of them; the next ones are longer.
const PAUSE: Duration = Duration::from_millis(500);

/// A program whose job is lent slots.
pub(super) struct Borrower {
    lessee: Lessee,
    /// Processes in a row that did not come to register.
    failures: u32,
    not_before: Instant,
    trouble: Option<String>,
}

/// Slots that a TaskManager lends.
pub(super) struct Lent {
    pub(super) lease: Lease,
    since: Instant,
    /// Whether its process has registered.
    is_used: bool,
}

impl Lent {
    /// What a TaskManager says that it lends.
    pub(super) fn told(lease: Lease) -> Self {
        Self {
            lease,
            since: timer::now(),
            is_used: false,
        }
    }
}

impl Registered {
    /// Slots that it lends.
    pub(super) fn lent_slots(&self) -> usize {
        self.leases.iter().map(|lent| lent.lease.slots).sum()
    }

    /// Whether a job may have its slots; `is_program`: whether that is a program's.
    pub(super) fn serves(&self, job: JobId, is_program: bool) -> bool {
        match &self.lent {
            Some(lease) => is_program && lease.job == job && !self.is_leaving,
            None => !is_program,
        }
    }

    fn leave(&mut self) {
        if !self.is_leaving {
            self.is_leaving = true;
            self.reference.gateway.shut_down();
        }
    }
}

impl State {
    pub(super) fn is_program(&self, job: JobId) -> bool {
        self.borrowers.contains_key(&job)
    }

    /// Slots that are lent to a job, or could be.
    pub(super) fn lendable(&self, job: JobId) -> usize {
        let of_lenders = self.managers.iter().filter(|m| m.lent.is_none());
        of_lenders.map(Registered::free).sum::<usize>() + self.on_their_way(job)
    }

    /// Slots of processes that have not registered yet.
    fn on_their_way(&self, job: JobId) -> usize {
        let leases = self.managers.iter().flat_map(|m| &m.leases);
        let coming = leases.filter(|lent| lent.lease.job == job && !lent.is_used);
        coming.map(|lent| lent.lease.slots).sum()
    }

    /// Lends what a job lacks, if there is as much.
    fn lend(&mut self, job: JobId, wanted: usize, had: Option<&HeldSlots>, spreads: bool) {
        let had = had.and_then(|had| had.downcast_ref::<Held>());
        let is_there = |number: u64| self.managers.iter().any(|m| m.number == number);
        let had = had.map_or(&[][..], |had| had.slots.as_slice()).iter();
        let had: usize = had
            .filter(|(number, _)| is_there(*number))
            .map(|(_, count)| count)
            .sum();
        let own = self.managers.iter().filter(|m| m.serves(job, true));
        let has = own.map(Registered::free).sum::<usize>() + had + self.on_their_way(job);
        let Some(borrower) = self.borrowers.get(&job) else {
            return;
        };
        if wanted <= has || timer::now() < borrower.not_before {
            return;
        }
        let program = borrower.lessee.program.clone();
        let Some(chosen) = self.choose_lenders(wanted - has, spreads) else {
            return;
        };
        for (index, slots) in chosen {
            self.next += 1;
            let lease = Lease {
                id: format!("{:x}-{}", self.started_ms, self.next),
                job,
                slots,
            };
            let lender = &mut self.managers[index];
            lender.leases.push(Lent::told(lease.clone()));
            tracing::info!(%job, lease = lease.id, slots, task_manager = lender.info.id, "slots are lent to the program '{}'", program.name);
            lender.reference.gateway.lend(LeaseOrder {
                lease,
                program: program.clone(),
            });
        }
    }

    /// Slots of each lender, by its place in the list; `None` if there are too few.
    fn choose_lenders(&self, wanted: usize, spreads: bool) -> Option<BTreeMap<usize, usize>> {
        let free = |m: &Registered| if m.lent.is_none() { m.free() } else { 0 };
        let chosen = super::choose(self.managers.iter().map(free).collect(), wanted, spreads)?;
        let mut slots = BTreeMap::new();
        chosen
            .into_iter()
            .for_each(|index| *slots.entry(index).or_default() += 1);
        Some(slots)
    }

    /// Takes back what was lent to processes that have not come in time.
    fn expire(&mut self, patience: Duration) {
        let now = timer::now();
        let mut late = vec![];
        for manager in &mut self.managers {
            let is_late = |lent: &mut Lent| !lent.is_used && now > lent.since + patience;
            for lent in manager.leases.extract_if(.., is_late) {
                manager.reference.gateway.recall(&lent.lease.id);
                late.push(lent.lease.job);
            }
        }
        let why = format!(
            "it has not registered within {} ms (slot.request.timeout)",
            patience.as_millis()
        );
        late.into_iter().for_each(|job| self.failed(job, why.clone()));
    }

    /// A process did not come to register.
    fn failed(&mut self, job: JobId, why: String) {
        let Some(borrower) = self.borrowers.get_mut(&job) else {
            return;
        };
        borrower.failures += 1;
        borrower.not_before = timer::now() + PAUSE * borrower.failures.min(20);
        let name = &borrower.lessee.program.name;
        tracing::warn!(%job, failures = borrower.failures, "a process of the program '{name}' did not become a TaskManager: {why}");
        if borrower.failures >= MOST_FAILURES {
            borrower.trouble = Some(format!(
                "the program '{name}' did not become a TaskManager {} times in a row, at last: {why}; the logs of the TaskManagers have what it said",
                borrower.failures
            ));
            borrower.failures = 0;
        }
    }

    /// Notes which leases are used, and ends those of jobs that there are not, behind a registration.
    pub(super) fn relate(&mut self) {
        let users: Vec<Lease> = self.managers.iter().filter_map(|m| m.lent.clone()).collect();
        for lent in self.managers.iter_mut().flat_map(|m| &mut m.leases) {
            lent.is_used |= users.iter().any(|user| user.id == lent.lease.id);
        }
        for user in users {
            if let Some(borrower) = self.borrowers.get_mut(&user.job) {
                borrower.failures = 0;
            }
        }
        if let Some(awaited) = self.awaited.clone() {
            let borrowers: BTreeSet<JobId> = self.borrowers.keys().copied().collect();
            self.dismiss(|job| !awaited.contains(&job) && !borrowers.contains(&job));
        }
    }

    /// Has processes end whose slots their job does not use.
    fn dismiss_idle(&mut self, job: JobId) {
        let of_job = |m: &&mut Registered| m.lent.as_ref().is_some_and(|lease| lease.job == job);
        let idle = self.managers.iter_mut().filter(of_job);
        idle.filter(|m| m.info.allocated.is_empty()).for_each(Registered::leave);
    }

    /// Has all end that is lent to jobs, used or not.
    pub(super) fn dismiss(&mut self, of: impl Fn(JobId) -> bool) {
        for manager in &mut self.managers {
            if manager.lent.as_ref().is_some_and(|lease| of(lease.job)) {
                manager.leave();
            }
            let gateway = &manager.reference.gateway;
            let unused = manager.leases.iter().filter(|lent| of(lent.lease.job) && !lent.is_used);
            unused.for_each(|lent| gateway.recall(&lent.lease.id));
        }
    }
}

impl SlotPool {
    /// Whether a process of a program may be a TaskManager here.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn admit(&self, lease: &Lease, fingerprint: Option<Fingerprint>) -> Result<(), String> {
        let state = self.state();
        let Some(borrower) = state.borrowers.get(&lease.job) else {
            // Which jobs there are, a new leader does not know yet.
            let may_come = state.awaited.as_ref().is_none_or(|jobs| jobs.contains(&lease.job));
            return match may_come {
                true => Ok(()),
                false => Err(format!("it was lent slots for job {}, which has ended", lease.job)),
            };
        };
        match fingerprint == Some(borrower.lessee.fingerprint) {
            true => Ok(()),
            false => Err(format!(
                "it describes another graph than the job has (fingerprint {}, expected {}): what main describes must follow from its arguments alone",
                fingerprint.map_or_else(|| "none".to_owned(), |found| found.to_string()),
                borrower.lessee.fingerprint
            )),
        }
    }

    /// The file of a job's program.
    pub(crate) fn program_file(&self, job: JobId) -> Option<PathBuf> {
        Some(self.state().borrowers.get(&job)?.lessee.file.clone())
    }

    /// The slots of a lease are their lender's again.
    pub(super) fn lease_ended(&self, number: u64, id: &str, why: String) {
        {
            let mut state = self.state();
            let mut ended = vec![];
            if let Some(lender) = state.managers.iter_mut().find(|m| m.number == number) {
                ended.extend(lender.leases.extract_if(.., |lent| lent.lease.id == id));
            }
            for lent in ended.into_iter().filter(|lent| !lent.is_used) {
                state.failed(lent.lease.job, why.clone());
            }
        }
        self.0.changed.send_replace(());
    }

    pub(super) fn begin_lending(&self, job: JobId, lessee: Lessee) {
        let borrower = Borrower {
            lessee,
            failures: 0,
            not_before: timer::now(),
            trouble: None,
        };
        self.state().borrowers.insert(job, borrower);
        self.0.changed.send_replace(());
    }

    pub(super) fn end_lending(&self, job: JobId) {
        let mut state = self.state();
        state.borrowers.remove(&job);
        state.dismiss(|of| of == job);
    }

    /// Sees to it that the job gets what it lacks, behind having been given `is_enough` or not.
    pub(super) fn lend_or_dismiss(&self, job: JobId, wanted: usize, had: Option<&HeldSlots>, is_enough: bool) {
        let mut state = self.state();
        state.expire(self.0.timeout);
        match is_enough {
            true => state.dismiss_idle(job),
            false => state.lend(job, wanted, had, self.0.spreads),
        }
    }

    pub(super) fn let_idle_go(&self, job: JobId) {
        self.state().dismiss_idle(job);
    }

    /// What keeps a program from becoming TaskManagers, told once.
    pub(super) fn trouble_of(&self, job: JobId) -> Option<String> {
        self.state().borrowers.get_mut(&job)?.trouble.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::ProgramSpec;
    use crate::protocol::{AttemptId, Deployment, Order, Peer};
    use crate::resources::{GatewayListener, Slots, TaskManagerGateway, TaskManagerInfo, TaskManagerRef};
    use crate::slot_pool::{Leases, Registration};
    use flott_core::Options;
    use flott_core::clock::SystemClock;
    use std::sync::{Arc, Mutex};

    const JOB: JobId = JobId(1);
    const OTHER: JobId = JobId(2);

    /// Notes what it is told of leases.
    #[derive(Default)]
    struct Told {
        lent: Mutex<Vec<Lease>>,
        recalled: Mutex<Vec<String>>,
        is_over: Mutex<bool>,
    }

    impl TaskManagerGateway for Told {
        fn deploy(&self, _: Deployment, _: GatewayListener) {}

        fn order(&self, _: AttemptId, _: Order) {}

        fn lend(&self, order: LeaseOrder) {
            self.lent.lock().unwrap().push(order.lease);
        }

        fn recall(&self, lease: &str) {
            self.recalled.lock().unwrap().push(lease.to_owned());
        }

        fn shut_down(&self) {
            *self.is_over.lock().unwrap() = true;
        }
    }

    struct TaskManager {
        told: Arc<Told>,
        registration: Registration,
    }

    impl TaskManager {
        fn new(pool: &SlotPool, id: &str, slots: usize, leases: Leases) -> Self {
            let told = Arc::new(Told::default());
            let peer = Peer {
                id: id.to_owned(),
                data_address: format!("{id}:1"),
            };
            let gateway = told.clone();
            let info = TaskManagerInfo {
                id: id.to_owned(),
                slots,
                ..TaskManagerInfo::default()
            };
            let registration = pool.register_with(TaskManagerRef { peer, gateway }, info, vec![], leases);
            Self { told, registration }
        }

        fn lender(pool: &SlotPool, id: &str, slots: usize) -> Self {
            Self::new(pool, id, slots, Leases::default())
        }

        fn child(pool: &SlotPool, lease: &Lease) -> Self {
            pool.admit(lease, Some(Fingerprint(7))).unwrap();
            let lent = Some(lease.clone());
            let leases = vec![];
            Self::new(pool, &lease.id, lease.slots, Leases { leases, lent })
        }

        fn lent(&self) -> Vec<Lease> {
            self.told.lent.lock().unwrap().clone()
        }

        fn slots_lent(&self) -> Vec<usize> {
            self.lent().iter().map(|lease| lease.slots).collect()
        }

        fn is_over(&self) -> bool {
            *self.told.is_over.lock().unwrap()
        }
    }

    fn pool() -> SlotPool {
        let pool = SlotPool::new(&Options::new(), Arc::new(SystemClock)).unwrap();
        let program = ProgramSpec {
            name: "clicks".to_owned(),
            digest: String::new(),
            bytes: 0,
            arguments: vec![],
            options: Options::new(),
        };
        let lessee = Lessee {
            program,
            file: PathBuf::new(),
            fingerprint: Fingerprint(7),
        };
        pool.begin_lending(JOB, lessee);
        pool
    }

    fn take(pool: &SlotPool, job: JobId, slots: usize, had: &mut Option<HeldSlots>) -> Option<(usize, HeldSlots)> {
        let needed = BTreeMap::from([("default".to_owned(), slots)]);
        let mut taken = pool.allocate(job, &needed, had)?;
        Some((taken.task_managers.len(), taken.held.take()?))
    }

    fn shown(pool: &SlotPool) -> Vec<(usize, usize)> {
        let managers = pool.task_managers();
        managers.iter().map(|m| (m.slots, m.free_slots)).collect()
    }

    #[tokio::test]
    async fn slots_are_lent_at_once_or_not_and_come_back_with_the_end_of_the_job() {
        let pool = pool();
        let one = TaskManager::lender(&pool, "one", 2);
        assert!(take(&pool, JOB, 3, &mut None).is_none());
        assert_eq!(one.slots_lent(), [0; 0], "too few for all");
        let two = TaskManager::lender(&pool, "two", 2);
        assert_eq!((pool.available(JOB), pool.available(OTHER)), (Some(4), Some(4)));
        for _ in 0..2 {
            assert!(take(&pool, JOB, 3, &mut None).is_none());
            assert_eq!((one.slots_lent(), two.slots_lent()), (vec![2], vec![1]));
        }
        assert_eq!((pool.available(JOB), pool.available(OTHER)), (Some(4), Some(1)));
        let [first, second] = [&one, &two].map(|lender| TaskManager::child(&pool, &lender.lent()[0]));
        assert!(
            take(&pool, OTHER, 2, &mut None).is_none(),
            "what is lent is nobody else's"
        );
        let (task_managers, held) = take(&pool, JOB, 3, &mut None).unwrap();
        assert_eq!(task_managers, 2);
        assert_eq!(shown(&pool), [(0, 0), (1, 1), (2, 0), (1, 0)]);
        assert!(!first.is_over() && !second.is_over());
        drop(held);
        pool.end_lending(JOB);
        assert!(first.is_over() && second.is_over());
        for (lender, child) in [(&one, first), (&two, second)] {
            drop(child);
            lender
                .registration
                .lease_ended(&lender.lent()[0].id, "as told".to_owned());
        }
        assert_eq!(shown(&pool), [(2, 2), (2, 2)]);
        let late = pool.admit(&one.lent()[0], Some(Fingerprint(7))).unwrap_err();
        assert!(late.contains("has ended"), "{late}");
    }

    #[tokio::test]
    async fn more_are_lent_when_a_job_grows_and_idle_processes_end_when_it_shrinks() {
        let pool = pool();
        let lender = TaskManager::lender(&pool, "one", 3);
        assert!(take(&pool, JOB, 1, &mut None).is_none());
        let first = TaskManager::child(&pool, &lender.lent()[0]);
        let mut held = take(&pool, JOB, 1, &mut None).map(|(_, held)| held);
        assert!(take(&pool, JOB, 3, &mut held).is_none() && held.is_some());
        assert_eq!(lender.slots_lent(), [1, 2]);
        let second = TaskManager::child(&pool, &lender.lent()[1]);
        let (task_managers, held) = take(&pool, JOB, 3, &mut held).unwrap();
        assert_eq!(task_managers, 2);
        let (_, held) = take(&pool, JOB, 1, &mut Some(held)).unwrap();
        assert!(!first.is_over() && second.is_over());
        // Who leaves gets nothing more.
        assert_eq!(pool.available(JOB), Some(1));
        drop(held);
        pool.let_idle_go(JOB);
        assert!(first.is_over());
    }

    #[tokio::test]
    async fn a_program_that_never_registers_becomes_its_jobs_trouble() {
        let pool = pool();
        let lender = TaskManager::lender(&pool, "one", 1);
        let since = timer::now();
        for failures in 1..=3 {
            while lender.lent().len() < failures {
                assert!(since.elapsed() < Duration::from_secs(30));
                assert!(take(&pool, JOB, 1, &mut None).is_none());
                timer::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(pool.trouble(JOB), None);
            let lease = lender.lent().pop().unwrap();
            lender.registration.lease_ended(&lease.id, "exit status: 3".to_owned());
        }
        let trouble = pool.trouble(JOB).unwrap();
        assert!(
            trouble.contains("'clicks'") && trouble.contains("exit status: 3"),
            "{trouble}"
        );
        assert_eq!(pool.trouble(JOB), None);
    }

    #[tokio::test]
    async fn the_next_leader_knows_what_is_lent() {
        let lease = |id: &str, job| Lease {
            id: id.to_owned(),
            job,
            slots: 1,
        };
        let pool = pool().keeping_attempts();
        let leases = vec![lease("a", JOB), lease("b", OTHER)];
        let lender = TaskManager::new(&pool, "one", 3, Leases { leases, lent: None });
        let lent = |id: &str, job| Leases {
            leases: vec![],
            lent: Some(lease(id, job)),
        };
        let child = TaskManager::new(&pool, "child", 1, lent("a", JOB));
        assert_eq!(shown(&pool), [(1, 1), (1, 1)]);
        pool.await_attempts_of([JOB].into());
        assert_eq!(*lender.told.recalled.lock().unwrap(), ["b"], "its job has ended");
        assert!(!child.is_over());
        assert!(take(&pool, JOB, 1, &mut None).is_some());
        let wrong = pool.admit(&lease("a", JOB), Some(Fingerprint(8))).unwrap_err();
        assert!(wrong.contains("another graph"), "{wrong}");
    }
}
