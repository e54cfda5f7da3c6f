//! Whether the job runs at all: slots, restarts, operators that do not open.

use super::{Facts, Finding, FindingKind, Place, SubtaskFacts, duration, few};
use crate::execution::ExecutionState;
use flott_core::JobStatus;

/// Restarts of the last ten minutes that are a loop.
const LOOP: usize = 3;

/// How long operators may take to open before it is worth a word, in milliseconds.
const OPENING_MS: i64 = 10_000;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let all = [
        failed(facts),
        slots(facts),
        poison(facts).or_else(|| restarts(facts)),
        opening(facts),
        young(facts),
    ];
    all.into_iter().flatten().collect()
}

fn failed(facts: &Facts) -> Option<Finding> {
    (facts.status == JobStatus::Failed).then(|| {
        let cause = facts
            .restarts
            .failure
            .as_deref()
            .unwrap_or("the cause is not known any more");
        let at = facts
            .restarts
            .place
            .as_ref()
            .map(|place| format!(", at last in {place}"));
        Finding::problem(
            FindingKind::JobFailed,
            format!("the job has failed{}: {cause}", at.unwrap_or_default()),
            vec![],
            "mend the cause and start the job again from its newest checkpoint (--restore latest)",
        )
    })
}

fn slots(facts: &Facts) -> Option<Finding> {
    let slots = facts.slots.filter(|slots| slots.free < slots.needed)?;
    if facts.status.is_globally_terminal_state() {
        return None;
    }
    let summary = format!(
        "the job waits for slots since {}: it needs {}; {} of the {} slots of {} TaskManager(s) are free: {} missing",
        duration(facts.now_ms - slots.since_ms),
        slots.needed,
        slots.free,
        slots.offered,
        slots.task_managers,
        slots.needed - slots.free,
    );
    Some(Finding::problem(
        FindingKind::WaitingForSlots,
        summary,
        vec![],
        "start more TaskManagers, raise taskmanager.numberOfTaskSlots, lower the job's parallelism (parallelism.default, -p), or end another job",
    ))
}

fn poison(facts: &Facts) -> Option<Finding> {
    // What was long ago, or is over, is no advice for now.
    if facts.restarts.recent == 0 || facts.status.is_globally_terminal_state() {
        return None;
    }
    let (poison, failure) = (facts.restarts.poison.as_ref()?, facts.restarts.failure.as_ref()?);
    Some(Finding::problem(
        FindingKind::PoisonedRecord,
        format!("{poison}; the last failure: {failure}"),
        vec![],
        "a restart cannot help: have the function take this record or leave it out, for instance by a filter in front of it; what a format \
         cannot read it skips where its options allow that (json.ignore-parse-errors, csv.ignore-parse-errors)",
    ))
}

fn restarts(facts: &Facts) -> Option<Finding> {
    let is_down = matches!(facts.status, JobStatus::Restarting | JobStatus::Failing);
    let is_over = facts.status.is_globally_terminal_state();
    let (count, failure) = (facts.restarts.recent, facts.restarts.failure.as_ref()?);
    if is_over || (count < LOOP && !is_down) {
        return None;
    }
    let at = facts.restarts.place.as_ref().map(|place| format!(" in {place}"));
    Some(Finding::problem(
        FindingKind::RestartLoop,
        format!(
            "the job is {} and was restarted {count} times in the last 10 minutes; the last failure{}: {failure}",
            facts.status,
            at.unwrap_or_default(),
        ),
        vec![],
        "mend the cause, which 'flott events' shows with those before it",
    ))
}

fn opening(facts: &Facts) -> Option<Finding> {
    let is_late = |subtask: &SubtaskFacts| {
        subtask.state == ExecutionState::Deploying && facts.now_ms - subtask.since_ms >= OPENING_MS
    };
    let of_vertex = |vertex: &super::VertexFacts| -> Vec<Place> {
        let late = vertex
            .subtasks
            .iter()
            .enumerate()
            .filter(|(_, subtask)| is_late(subtask));
        late.map(|(index, _)| Place::of_subtask(vertex, index)).collect()
    };
    let places: Vec<Place> = facts.vertices.iter().flat_map(of_vertex).collect();
    let mut all = facts.vertices.iter().flat_map(|vertex| &vertex.subtasks);
    let since_ms = all.clone().filter(|s| is_late(s)).map(|s| s.since_ms).min()?;
    if facts.status.is_globally_terminal_state() || all.any(|s| s.state == ExecutionState::Failed) {
        return None;
    }
    let names: Vec<String> = places.iter().map(Place::to_string).collect();
    Some(Finding::problem(
        FindingKind::NotOpen,
        format!(
            "{} subtasks are DEPLOYING for up to {}, they read state or open their operators: {}",
            places.len(),
            duration(facts.now_ms - since_ms),
            few(&names)
        ),
        places,
        "where state is large this takes its time (local recovery, execution.state-recovery.from-local, shortens it); otherwise look at the \
         systems that sources and sinks open connections to, and at the TaskManager's log",
    ))
}

fn young(facts: &Facts) -> Option<Finding> {
    (facts.status == JobStatus::Running && !facts.is_measured()).then(|| {
        let text = "the job has not run for long enough to be measured; ask again in a few seconds";
        Finding::note(FindingKind::TooYoung, text.to_owned(), vec![], "")
    })
}
