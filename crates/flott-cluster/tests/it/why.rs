//! Faults that are staged in running jobs, and what is said of each.

use crate::cluster::Cluster;
use crate::toys::{self, World};
use crate::{DEADLINE, start};
use flott_cluster::diagnosis::{Diagnosis, Facts, Finding, FindingKind, Severity};
use flott_cluster::rates::Rates;
use flott_cluster::resources::TaskManagerInfo;
use flott_cluster::{JobHandle, Restore};
use flott_core::clock::{Clock, SystemClock};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Between two looks: rates are taken over ten of them, and a task counts its waiting twice a second at least.
const LOOK: Duration = Duration::from_millis(300);

fn diagnosis(job: &JobHandle, rates: &Rates, managers: &[TaskManagerInfo]) -> Diagnosis {
    rates.look(Instant::now(), vec![(job.job_id, job.stats.tasks())]);
    Diagnosis::of(&Facts::of(job, rates, managers, SystemClock.now_ms()))
}

/// Looks until `done` says so of a diagnosis, and gives that.
async fn until(job: &JobHandle, done: impl Fn(&Diagnosis) -> bool) -> Diagnosis {
    let (rates, deadline) = (Rates::default(), Instant::now() + DEADLINE);
    loop {
        let diagnosis = diagnosis(job, &rates, &[]);
        if done(&diagnosis) {
            return diagnosis;
        }
        assert!(Instant::now() < deadline, "not what was waited for: {diagnosis:#?}");
        tokio::time::sleep(LOOK).await;
    }
}

fn find(diagnosis: &Diagnosis, kind: FindingKind) -> Option<&Finding> {
    diagnosis.findings.iter().find(|finding| finding.kind == kind)
}

/// A job of two subtasks each on endless numbers.
async fn endless(world: &Arc<World>, options: &[(&str, &str)]) -> JobHandle {
    start(world, toys::plan(2, options), Restore::Fresh).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_job_is_told_so_with_its_rates() {
    let job = endless(&World::with(-1), &[]).await;
    let told = until(&job, |told| told.healthy && told.measured_seconds > 1.0).await;
    let rates: Vec<f64> = told.flow.iter().map(|vertex| vertex.records_in_per_second).collect();
    assert!(rates.len() == 2 && rates.iter().all(|rate| *rate > 0.0), "{told:#?}");
    job.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn back_pressure_is_named_by_its_culprit() {
    let world = World::with(-1);
    world.count_ms.store(20, Ordering::SeqCst);
    let job = endless(&world, &[]).await;
    let told = until(&job, |told| find(told, FindingKind::Bottleneck).is_some()).await;
    let finding = &told.findings[0];
    assert_eq!(
        (finding.kind, finding.severity),
        (FindingKind::Bottleneck, Severity::Problem),
        "{told:#?}"
    );
    // The operator of the chain that is slow, not the sink behind it, and not the source that waits for it.
    assert_eq!(finding.places[0].operator.as_deref(), Some("Counter"));
    assert!(
        finding.summary.ends_with("back-pressured by it: Source: numbers"),
        "{}",
        finding.summary
    );
    assert!(
        told.flow[0].back_pressured > 0.5 && told.flow[1].busy > 0.5,
        "{told:#?}"
    );
    // Its thread never waits, and its time is counted all the same.
    let tasks = job.stats.tasks();
    assert!(
        tasks
            .iter()
            .any(|(id, _, metrics)| id.0 == 1 && metrics.busy_ns.get() > 0)
    );
    job.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skewed_key_is_told_with_its_subtask() {
    let world = World::with(-1);
    world.is_skewed.store(true, Ordering::SeqCst);
    world.count_ms.store(20, Ordering::SeqCst);
    let job = endless(&world, &[]).await;
    let is_told = |told: &Diagnosis| {
        let finding = find(told, FindingKind::SkewedKey);
        finding.is_some_and(|finding| finding.severity == Severity::Problem)
    };
    let told = until(&job, is_told).await;
    let finding = &told.findings[0];
    assert_eq!(finding.kind, FindingKind::SkewedKey, "{told:#?}");
    assert!(finding.summary.contains("few keys (k)"), "{}", finding.summary);
    let hot = finding.places[0].subtask.unwrap();
    let tasks = job.stats.tasks();
    let records = |subtask: usize| {
        let task = tasks.iter().find(|(id, _, _)| *id == (1, subtask)).unwrap();
        task.2.records_in.get()
    };
    assert!(records(hot) > 4 * records(1 - hot), "{told:#?}");
    job.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sink_is_named_and_not_the_chain_before_it() {
    let world = World::with(-1);
    world.holds_writers.store(true, Ordering::SeqCst);
    let job = endless(&world, &[]).await;
    let told = until(&job, |told| find(told, FindingKind::SlowSink).is_some()).await;
    let finding = &told.findings[0];
    assert_eq!(finding.kind, FindingKind::SlowSink, "{told:#?}");
    assert_eq!(finding.places[0].operator.as_deref(), Some("Sink"));
    assert_eq!(finding.places[0].endpoint.as_deref(), Some("localhost"));
    world.holds_writers.store(false, Ordering::SeqCst);
    until(&job, |told| told.healthy).await;
    job.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_checkpoint_is_told_with_the_subtask_that_is_missing() {
    let world = World::with(-1);
    world.holds_barrier.store(true, Ordering::SeqCst);
    let job = endless(&world, &[("execution.checkpointing.interval", "200 ms")]).await;
    let told = until(&job, |told| find(told, FindingKind::CheckpointStuck).is_some()).await;
    let finding = find(&told, FindingKind::CheckpointStuck).unwrap();
    assert!(finding.summary.contains("checkpoint 1 is stuck"), "{}", finding.summary);
    assert!(finding.summary.contains("1 of 4 subtasks"), "{}", finding.summary);
    assert!(
        finding.summary.contains("state is not captured yet"),
        "{}",
        finding.summary
    );
    let places: Vec<(&str, Option<usize>)> = finding.places.iter().map(|p| (p.vertex.as_str(), p.subtask)).collect();
    assert_eq!(places, [("Counter -> Sink", Some(1))]);
    world.holds_barrier.store(false, Ordering::SeqCst);
    until(&job, |told| told.healthy).await;
    job.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_slots_are_counted_until_they_are_there() {
    let world = World::with(-1);
    let mut cluster = Cluster::start(&world, &[], &[2]).await;
    let job = cluster.submit(toys::plan(3, &[]), Restore::Fresh).await.unwrap();
    let rates = Rates::default();
    let look = |cluster: &Cluster| diagnosis(&job, &rates, &cluster.dispatcher.task_managers());
    crate::until("it waits for slots", || !look(&cluster).findings.is_empty()).await;
    let finding = look(&cluster).findings.remove(0);
    assert_eq!(finding.kind, FindingKind::WaitingForSlots);
    let counts = "it needs 3; 2 of the 2 slots of 1 TaskManager(s) are free: 1 missing";
    assert!(finding.summary.ends_with(counts), "{}", finding.summary);
    cluster.join("another", 1);
    crate::until("it runs", || look(&cluster).healthy).await;
    job.cancel();
    crate::ended(&job).await;
}
