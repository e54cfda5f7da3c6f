//! An operator that does not return from a call: what is said of it, and what becomes of it when it is told to end.

use crate::cluster::Cluster;
use crate::toys::{self, World};
use crate::{OFTEN, RETRY, ended, start, until};
use flott_cluster::diagnosis::{Facts, FindingKind, diagnose};
use flott_cluster::events::EventKind;
use flott_cluster::history::ExceptionRecord;
use flott_cluster::rates::Rates;
use flott_cluster::{JobHandle, JobStatus, Restore};
use flott_core::clock::{Clock, SystemClock};
use flott_runtime::FailureLabel;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const PATIENCE: (&str, &str) = ("liveness.task-timeout", "1 s");
const CANCELLATION: (&str, &str) = ("task.cancellation.timeout", "2 s");
const NAGGING: (&str, &str) = ("task.cancellation.interval", "500 ms");

/// A world of endless numbers, in which the second counter hangs at once.
fn hanging() -> Released {
    let world = World::with(-1);
    world.batch_ms.store(50, Ordering::SeqCst);
    world.keeps.store(true, Ordering::SeqCst);
    world.hangs_next.store(true, Ordering::SeqCst);
    Released(world)
}

/// Lets who hangs go on when the test is over, however it ends.
struct Released(Arc<World>);

impl Drop for Released {
    fn drop(&mut self) {
        self.0.keeps.store(false, Ordering::SeqCst);
    }
}

async fn until_it_hangs(world: &World) {
    until("the counter hangs", || !world.hangs_next.load(Ordering::SeqCst)).await;
}

/// Events of the counter that hangs: `true` for a hang, `false` for its end.
fn told(job: &JobHandle) -> Vec<bool> {
    let is_it = |task: &str, operator: &str| task == "Counter -> Sink (2/2)" && operator == "Counter";
    let log = job.stats.events();
    let events = log.events().into_iter();
    let told = events.filter_map(|event| match &event.kind {
        EventKind::UserCodeHangs { task, operator, .. } if is_it(task, operator) => Some(true),
        EventKind::UserCodeGoesOn { task, operator, .. } if is_it(task, operator) => Some(false),
        _ => None,
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_hangs_is_told_once_with_its_operator_and_so_is_its_end() {
    let Released(world) = &hanging();
    let job = start(world, toys::plan(2, &[PATIENCE]), Restore::Fresh).await.unwrap();
    let findings = || diagnose(&Facts::of(&job, &Rates::default(), &[], SystemClock.now_ms()));
    let hung = || {
        let findings = findings().into_iter();
        let mut hung = findings.filter(|finding| finding.kind == FindingKind::HungCall);
        hung.find(|finding| finding.places[0].operator.as_deref() == Some("Counter"))
    };
    until("it is found", || hung().is_some()).await;
    let finding = hung().unwrap();
    let words = "operator Counter of subtask 2/2 at TaskManager";
    assert!(finding.summary.starts_with(words), "{}", finding.summary);
    assert!(
        finding.summary.contains("in one call of user code for"),
        "{}",
        finding.summary
    );
    (0..3).for_each(|_| job.look_at_calls());
    assert_eq!(told(&job), [true]);
    world.keeps.store(false, Ordering::SeqCst);
    until("it goes on", || {
        job.look_at_calls();
        told(&job).get(1) == Some(&false)
    })
    .await;
    job.cancel();
    assert_eq!(ended(&job).await, JobStatus::Canceled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_does_not_end_is_let_go_of_where_more_runs_in_its_process() {
    let Released(world) = &hanging();
    let plan = toys::plan(2, &[CANCELLATION, NAGGING]);
    let job = start(world, plan, Restore::Fresh).await.unwrap();
    until_it_hangs(world).await;
    job.cancel();
    assert_eq!(ended(&job).await, JobStatus::Canceled);
    assert!(world.keeps.load(Ordering::SeqCst), "its thread is in the call still");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_manager_whose_task_does_not_end_ends_itself_and_the_job_goes_on() {
    let Released(world) = &hanging();
    let dir = tempfile::tempdir().unwrap();
    let dir = crate::dir_option(dir.path());
    let mut cluster = Cluster::start(world, &[], &[2]).await;
    let options = [
        OFTEN,
        RETRY,
        CANCELLATION,
        NAGGING,
        ("execution.checkpointing.dir", dir.as_str()),
    ];
    let job = cluster.submit(toys::plan(2, &options), Restore::Fresh).await.unwrap();
    until_it_hangs(world).await;
    cluster.join("another", 2);
    job.fail_task("Counter", 0).await.unwrap();
    let fatal = (&mut cluster.managers[0].running).await.unwrap();
    assert!(
        fatal.contains("Task did not exit gracefully within 2 + seconds"),
        "{fatal}"
    );
    assert!(
        fatal.contains("'Counter -> Sink' (2/2)") && fatal.contains("operator Counter"),
        "{fatal}"
    );
    until("the job goes on elsewhere", || {
        let commits = !world.committed.lock().unwrap().is_empty();
        assert!(!job.status().is_globally_terminal_state(), "{:?}", job.stats.failure());
        commits && job.status() == JobStatus::Running
    })
    .await;
    let exceptions = job.stats.exceptions();
    let all: Vec<&ExceptionRecord> = exceptions
        .records()
        .flat_map(|r| std::iter::once(r).chain(&r.concurrent))
        .collect();
    let given_up = all
        .iter()
        .find(|record| record.text.contains("did not exit gracefully"));
    assert_eq!(
        given_up.map(|record| record.label),
        Some(FailureLabel::User),
        "{all:#?}"
    );
    job.cancel();
    ended(&job).await;
}
