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
const LOOK: Duration = Duration::from_millis(400);

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

/// A world whose endless numbers come so slowly that any machine keeps up with them.
fn calm() -> Arc<World> {
    let world = World::with(-1);
    world.batch_ms.store(50, Ordering::SeqCst);
    world
}

/// A job of two subtasks each on endless numbers.
async fn endless(world: &Arc<World>, options: &[(&str, &str)]) -> JobHandle {
    start(world, toys::plan(2, options), Restore::Fresh).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_job_is_told_so_with_its_rates() {
    let job = endless(&calm(), &[]).await;
    let flows = |told: &Diagnosis| told.flow.iter().all(|vertex| vertex.records_in_per_second > 0.0);
    let told = until(&job, |told| told.healthy && flows(told)).await;
    assert_eq!(told.flow.len(), 2, "{told:#?}");
    job.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn back_pressure_is_named_by_its_culprit() {
    let world = World::with(-1);
    world.count_ms.store(20, Ordering::SeqCst);
    let job = endless(&world, &[]).await;
    let is_told = |told: &Diagnosis| {
        let is_measured = told.flow[0].back_pressured > 0.5 && told.flow[1].busy > 0.5;
        is_measured && find(told, FindingKind::Bottleneck).is_some()
    };
    let told = until(&job, is_told).await;
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
    let tasks = || job.stats.tasks().into_iter();
    let records = |subtask: usize| {
        let task = tasks().find(|(id, _, _)| *id == (1, subtask));
        task.map_or(0, |(_, _, metrics)| metrics.records_in.get())
    };
    let is_hot = |subtask: usize| records(subtask) > 4 * records(1 - subtask);
    let is_told = |told: &Diagnosis| {
        let finding = find(told, FindingKind::SkewedKey).filter(|finding| finding.severity == Severity::Problem);
        finding.is_some_and(|finding| finding.places[0].subtask.is_some_and(is_hot))
    };
    let told = until(&job, is_told).await;
    let finding = &told.findings[0];
    assert_eq!(finding.kind, FindingKind::SkewedKey, "{told:#?}");
    assert!(finding.summary.contains("few keys (k)"), "{}", finding.summary);
    job.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sink_is_named_and_not_the_chain_before_it() {
    let world = calm();
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
    let world = calm();
    world.holds_barrier.store(true, Ordering::SeqCst);
    let job = endless(&world, &[("execution.checkpointing.interval", "200 ms")]).await;
    let words = ["1 of 4 subtasks", "state is not captured yet"];
    let is_told = |told: &Diagnosis| {
        let finding = find(told, FindingKind::CheckpointStuck);
        finding.is_some_and(|finding| words.iter().all(|words| finding.summary.contains(words)))
    };
    let told = until(&job, is_told).await;
    let finding = find(&told, FindingKind::CheckpointStuck).unwrap();
    assert!(finding.summary.contains("checkpoint 1 is stuck"), "{}", finding.summary);
    let places: Vec<(&str, Option<usize>)> = finding.places.iter().map(|p| (p.vertex.as_str(), p.subtask)).collect();
    assert_eq!(places, [("Counter -> Sink", Some(1))]);
    world.holds_barrier.store(false, Ordering::SeqCst);
    until(&job, |told| told.healthy).await;
    job.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_slots_are_counted_until_they_are_there() {
    let world = calm();
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
    until(&job, |told| told.healthy).await;
    job.cancel();
    crate::ended(&job).await;
}
