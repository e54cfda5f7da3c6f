//! How an attempt gets its slots: it takes as many as its job's requirements ask for ([`crate::requirements`]), or waits.
//!
//! A job gets all slots of an attempt at once or none. Those of the attempt before it exchanges for the new ones; if there is no place for what is
//! asked for, but for what has run before, it goes on as that. Otherwise it gives them back, and waits. What it waits for may change meanwhile: slots
//! come and go, and users ask for another parallelism.

use crate::deploy::JobContext;
use crate::error::ClusterError;
use crate::requirements::{ResourceRequirements, SchedulerSettings};
use crate::resources::{Allocation, HeldSlots, Slots};
use crate::timer;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Until the next try when slots were taken by another job between a look and a grasp.
const RETRY: Duration = Duration::from_millis(100);

/// Waits for slots; the job as it runs on them. `had`: those of an attempt before, of the parallelism that `ctx` has. Cancel-safe, but for what
/// was had.
///
/// # Errors
/// If there are not enough in time.
pub(crate) async fn allocate(
    ctx: &JobContext,
    slots: &dyn Slots,
    mut requirements: watch::Receiver<Arc<ResourceRequirements>>,
    settings: &SchedulerSettings,
    mut had: Option<HeldSlots>,
) -> Result<(JobContext, Allocation), ClusterError> {
    let has_run = had.is_some();
    let mut changes = slots.changes();
    let started = timer::now();
    let settle = Duration::from_millis(settings.settle_ms.max(0) as u64);
    let mut enough_since = None;
    let mut is_told = false;
    loop {
        let wanted = requirements.borrow_and_update().clone();
        let patience = patience(slots, settings, &wanted);
        if let Some(why) = slots.trouble(ctx.job_id) {
            return Err(ClusterError::Resources(why));
        }
        let next_look = match wanted.fit(&ctx.graph, slots.available(ctx.job_id)) {
            Some(parallelism) => {
                let settled = *enough_since.get_or_insert_with(timer::now) + settle;
                match parallelism == wanted.upper() || timer::now() >= settled {
                    false => Some(settled),
                    true => {
                        let ctx = ctx.at(&parallelism);
                        if let Some(allocation) = slots.allocate(ctx.job_id, &ctx.slots_needed(), &mut had) {
                            return Ok((ctx, allocation));
                        }
                        Some(timer::now() + RETRY)
                    }
                }
            }
            None => {
                enough_since = None;
                if has_run && let Some(allocation) = slots.allocate(ctx.job_id, &ctx.slots_needed(), &mut had) {
                    return Ok((ctx.clone(), allocation));
                }
                // Who waits holds nothing: two jobs might each wait for what the other has.
                drop(had.take());
                slots.let_idle_go(ctx.job_id);
                let waits_for = wanted.least_slots(&ctx.graph);
                if let Some(patience) = patience.filter(|patience| timer::now() - started >= *patience) {
                    return Err(too_few(waits_for, patience, slots, wanted.is_rigid()));
                }
                if !is_told {
                    is_told = true;
                    tracing::warn!(job = %ctx.job_id, "the job waits for {waits_for} slots: {}", slots.describe());
                }
                patience.map(|patience| started + patience)
            }
        };
        tokio::select! {
            // In one order, so that a simulated run can be repeated.
            biased;
            () = changed(changes.as_mut()) => {}
            () = changed(Some(&mut requirements)) => {}
            () = until(next_look) => {}
        }
    }
}

/// How long a job waits for the slots that it needs at least.
fn patience(slots: &dyn Slots, settings: &SchedulerSettings, wanted: &ResourceRequirements) -> Option<Duration> {
    match wanted.is_rigid() {
        true => slots.patience(),
        false => settings.wait_ms.map(|wait_ms| Duration::from_millis(wait_ms as u64)),
    }
}

fn too_few(needed: usize, patience: Duration, slots: &dyn Slots, is_rigid: bool) -> ClusterError {
    let option = match is_rigid {
        true => "slot.request.timeout",
        false => "jobmanager.adaptive-scheduler.submission.resource-wait-timeout",
    };
    ClusterError::Resources(format!(
        "the job needs {needed} slots and did not get them within {} s ({option}): {}; start more TaskManagers, raise \
         taskmanager.numberOfTaskSlots, or lower the parallelism",
        patience.as_secs_f64(),
        slots.describe()
    ))
}

/// Waits for a change; for ever where there are none any more.
async fn changed<T>(changes: Option<&mut watch::Receiver<T>>) {
    if let Some(changes) = changes
        && changes.changed().await.is_ok()
    {
        return;
    }
    pending().await
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => timer::sleep_until(time).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirements::Scheduler;
    use crate::resources::TaskManagerInfo;
    use async_trait::async_trait;
    use flott_core::clock::SystemClock;
    use flott_core::{Field, JobId, LogicalType, OperatorId, Options};
    use flott_plan::{Chaining, Edge, JobGraph, Node, Partitioning, Plan, Role};
    use flott_runtime::Registry;
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const PATIENCE: Duration = Duration::from_millis(200);
    const SOON: Duration = Duration::from_millis(20);

    /// So many slots, and who is told of more.
    struct Free {
        free: AtomicUsize,
        changed: watch::Sender<()>,
    }

    impl Free {
        fn new(free: usize) -> Self {
            Self {
                free: AtomicUsize::new(free),
                changed: watch::Sender::new(()),
            }
        }

        fn set(&self, free: usize) {
            self.free.store(free, Ordering::SeqCst);
            self.changed.send_replace(());
        }
    }

    #[async_trait]
    impl Slots for Free {
        fn allocate(
            &self,
            _: JobId,
            needed: &BTreeMap<String, usize>,
            _: &mut Option<HeldSlots>,
        ) -> Option<Allocation> {
            let is_enough = needed.values().sum::<usize>() <= self.free.load(Ordering::SeqCst);
            is_enough.then(|| Allocation {
                task_managers: vec![],
                groups: BTreeMap::new(),
                held: None,
            })
        }

        fn available(&self, _: JobId) -> Option<usize> {
            Some(self.free.load(Ordering::SeqCst))
        }

        fn changes(&self) -> Option<watch::Receiver<()>> {
            Some(self.changed.subscribe())
        }

        fn patience(&self) -> Option<Duration> {
            Some(PATIENCE)
        }

        fn describe(&self) -> String {
            "what there is".to_owned()
        }

        fn task_managers(&self) -> Vec<TaskManagerInfo> {
            vec![]
        }
    }

    /// A job of parallelism 4, with what it requires.
    fn job(scheduler: Scheduler) -> (JobContext, watch::Sender<Arc<ResourceRequirements>>) {
        let mut plan = Plan::new("two", Options::new());
        let node = |id, name: &str, role| Node {
            id,
            operator_id: OperatorId(id as u128),
            uid: None,
            kind: "test".into(),
            version: 1,
            name: name.into(),
            description: String::new(),
            role,
            parallelism: 4,
            fixed_parallelism: false,
            max_parallelism: 8,
            chaining: Chaining::Always,
            slot_sharing_group: None,
            output: vec![Field::new("a", LogicalType::bigint())],
            spec: serde_json::Value::Null,
        };
        plan.nodes = vec![node(0, "s", Role::Source), node(1, "w", Role::Sink)];
        plan.edges = vec![Edge {
            from: 0,
            to: 1,
            input: 0,
            output: 0,
            partitioning: Partitioning::Rebalance,
        }];
        let graph = Arc::new(JobGraph::of(&plan, true));
        let requirements = ResourceRequirements::of(&plan, &graph, scheduler);
        let ctx = JobContext {
            job_id: JobId(1),
            plan: Arc::new(plan),
            graph,
            options: Arc::new(Options::new()),
            registry: Arc::new(Registry::new()),
            clock: Arc::new(SystemClock),
            generation: 1,
            program: None,
        };
        (ctx, watch::Sender::new(Arc::new(requirements)))
    }

    fn settings(options: &[(&str, &str)]) -> SchedulerSettings {
        SchedulerSettings::from_options(&options.iter().copied().collect()).unwrap()
    }

    fn parallelism(ctx: &JobContext) -> Vec<usize> {
        ctx.graph.vertices.iter().map(|v| v.parallelism).collect()
    }

    #[tokio::test]
    async fn a_rigid_job_waits_for_all_its_slots_and_says_so_at_last() {
        let (ctx, requirements) = job(Scheduler::Default);
        let slots = Free::new(3);
        let settings = settings(&[]);
        let waiting = allocate(&ctx, &slots, requirements.subscribe(), &settings, None);
        let error = waiting.await.err().unwrap().to_string();
        assert!(
            error.contains("4 slots and did not get them within 0.2 s (slot.request.timeout): what there is"),
            "{error}"
        );
        let waiting = allocate(&ctx, &slots, requirements.subscribe(), &settings, None);
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(SOON, &mut waiting).await.is_err());
        slots.set(5);
        assert_eq!(parallelism(&waiting.await.unwrap().0), [4, 4]);
    }

    #[tokio::test]
    async fn who_waits_hears_of_another_wish() {
        let (ctx, requirements) = job(Scheduler::Default);
        let (slots, settings) = (Free::new(3), settings(&[]));
        let waiting = allocate(&ctx, &slots, requirements.subscribe(), &settings, None);
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(SOON, &mut waiting).await.is_err());
        let fewer = ResourceRequirements::of(&ctx.at(&[2, 2]).plan, &ctx.at(&[2, 2]).graph, Scheduler::Default);
        requirements.send_replace(Arc::new(fewer));
        let (at, _) = waiting.await.unwrap();
        assert_eq!(parallelism(&at), [2, 2]);
        assert_eq!(at.plan.nodes[0].parallelism, 2);
    }

    #[tokio::test]
    async fn an_adaptive_job_takes_what_there_is_once_it_has_settled() {
        let (ctx, requirements) = job(Scheduler::Adaptive);
        let slots = Free::new(3);
        let at_once = allocate(&ctx, &slots, requirements.subscribe(), &settings(&[]), None)
            .await
            .unwrap();
        assert_eq!(parallelism(&at_once.0), [3, 3]);
        let settles = settings(&[(
            "jobmanager.adaptive-scheduler.submission.resource-stabilization-timeout",
            "50 ms",
        )]);
        let began = Instant::now();
        let settled = allocate(&ctx, &slots, requirements.subscribe(), &settles, None)
            .await
            .unwrap();
        assert_eq!(parallelism(&settled.0), [3, 3]);
        assert!(began.elapsed() >= Duration::from_millis(50));
        // More comes while it waits for more.
        let waiting = allocate(&ctx, &slots, requirements.subscribe(), &settles, None);
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(SOON, &mut waiting).await.is_err());
        slots.set(6);
        assert_eq!(parallelism(&waiting.await.unwrap().0), [4, 4]);
    }

    #[tokio::test]
    async fn who_waits_holds_nothing() {
        let (ctx, requirements) = job(Scheduler::Default);
        let (slots, settings) = (Free::new(3), settings(&[]));
        let held = Arc::new(());
        let had: Option<HeldSlots> = Some(Box::new(held.clone()));
        let waiting = allocate(&ctx, &slots, requirements.subscribe(), &settings, had);
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(SOON, &mut waiting).await.is_err());
        assert_eq!(Arc::strong_count(&held), 1);
        slots.set(4);
        assert_eq!(parallelism(&waiting.await.unwrap().0), [4, 4]);
    }

    #[tokio::test]
    async fn what_has_run_goes_on_where_there_is_no_place_for_more() {
        let (ctx, requirements) = job(Scheduler::Default);
        let more = ResourceRequirements::of(&ctx.at(&[6, 6]).plan, &ctx.at(&[6, 6]).graph, Scheduler::Default);
        requirements.send_replace(Arc::new(more));
        let (slots, settings) = (Free::new(5), settings(&[]));
        let had: Option<HeldSlots> = Some(Box::new(()));
        let went_on = allocate(&ctx, &slots, requirements.subscribe(), &settings, had)
            .await
            .unwrap();
        assert_eq!(parallelism(&went_on.0), [4, 4]);
        let new = allocate(&ctx, &slots, requirements.subscribe(), &settings, None).await;
        assert!(new.err().unwrap().to_string().contains("the job needs 6 slots"));
    }
}
