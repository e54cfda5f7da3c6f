//! Where a checkpoint is stuck: which parts are missing, and in which of their steps.
//!
//! ```text
//!   barrier under way ─► some barriers came (aligning) ─► all came (operators drain) ─► captured (written beside the task) ─► acknowledged
//! ```

use super::{CheckpointFacts, Facts, Finding, FindingKind, Place, SubtaskFacts, duration, few};
use crate::coordinator::SubtaskId;
use std::collections::BTreeSet;

/// A checkpoint that takes less is never called stuck, in milliseconds.
const STUCK_MS: i64 = 5_000;

/// Nor is one that takes less than so many times what is typical.
const TIMES_TYPICAL: i64 = 3;

/// Failed ones in a row that are worth a word.
const FAILED: usize = 2;

/// Subtasks that are given as places; the summary counts them all.
const PLACES: usize = 100;

/// How far a subtask is with a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// It is in a call of user code that does not return, for so many milliseconds.
    Hung(i64),
    /// All barriers have come; its operators finish what they have begun, or capture their state.
    Draining,
    /// Its state is captured, and is being encoded and written.
    Writing,
    /// No barrier has come yet.
    Waiting,
    /// Barriers have come on some of its inputs; since when.
    Aligning(i64),
}

impl Step {
    fn of(subtask: &SubtaskFacts, checkpoint: &CheckpointFacts) -> Self {
        let id = checkpoint.id;
        match &subtask.hung {
            _ if subtask.captured >= id => Self::Writing,
            Some(call) => Self::Hung(call.ms),
            None if subtask.aligned >= id => Self::Draining,
            None if subtask.aligning.0 == id => Self::Aligning(subtask.aligning.1),
            None => Self::Waiting,
        }
    }
}

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let stuck = stuck(facts).map(|checkpoint| told(facts, checkpoint));
    stuck.into_iter().chain(failing(facts)).collect()
}

/// The checkpoint in progress, if it takes too long.
pub(super) fn stuck(facts: &Facts) -> Option<&CheckpointFacts> {
    let checkpoint = facts.checkpoint.as_ref().filter(|c| !c.missing.is_empty())?;
    let age_ms = facts.now_ms - checkpoint.triggered_ms;
    let typical_ms = checkpoint.typical_ms.unwrap_or(0);
    (age_ms >= STUCK_MS && age_ms >= typical_ms.saturating_mul(TIMES_TYPICAL)).then_some(checkpoint)
}

/// Who is to blame, all of one step: those that hang; else those that have the barriers and are not done; where nobody has, those furthest upstream.
fn culprits(facts: &Facts, checkpoint: &CheckpointFacts) -> Vec<(SubtaskId, Step)> {
    let step = |id: &SubtaskId| Some((*id, Step::of(facts.vertices.get(id.0)?.subtasks.get(id.1)?, checkpoint)));
    let missing: Vec<(SubtaskId, Step)> = checkpoint.missing.iter().filter_map(step).collect();
    let hangs = |(_, step): &&(SubtaskId, Step)| matches!(step, Step::Hung(_));
    let hung: Vec<(SubtaskId, Step)> = missing.iter().filter(hangs).copied().collect();
    if !hung.is_empty() {
        return hung;
    }
    let has_barriers = |(_, step): &&(SubtaskId, Step)| matches!(step, Step::Writing | Step::Draining);
    let own: Vec<(SubtaskId, Step)> = missing.iter().filter(has_barriers).copied().collect();
    let vertices: BTreeSet<usize> = checkpoint.missing.iter().map(|id| id.0).collect();
    let is_first = |id: &SubtaskId| !facts.vertices[id.0].inputs.iter().any(|input| vertices.contains(input));
    let blamed: Vec<(SubtaskId, Step)> = match own.is_empty() {
        true => missing.into_iter().filter(|(id, _)| is_first(id)).collect(),
        false => own,
    };
    let first = blamed.iter().map(|(_, step)| *step).min();
    blamed.into_iter().filter(|(_, step)| Some(*step) == first).collect()
}

fn told(facts: &Facts, checkpoint: &CheckpointFacts) -> Finding {
    let culprits = culprits(facts, checkpoint);
    let place = |(vertex, subtask): SubtaskId| Place::of_subtask(&facts.vertices[vertex], subtask);
    let mut places: Vec<Place> = culprits.iter().map(|(id, _)| place(*id)).collect();
    let names: Vec<String> = places.iter().map(Place::to_string).collect();
    places.truncate(PLACES);
    let age_ms = facts.now_ms - checkpoint.triggered_ms;
    let step = culprits.first().map_or(Step::Waiting, |(_, step)| *step);
    let all: usize = facts.vertices.iter().map(|vertex| vertex.subtasks.len()).sum();
    let summary = format!(
        "checkpoint {} is stuck since {}: {} of {all} subtasks have not acknowledged it; {}: {}",
        checkpoint.id,
        duration(age_ms),
        checkpoint.missing.len(),
        words(step, facts.now_ms),
        few(&names),
    );
    let remedy = format!(
        "{}; it is given up after {} (execution.checkpointing.timeout)",
        remedy(step),
        duration(checkpoint.timeout_ms)
    );
    Finding::problem(FindingKind::CheckpointStuck, summary, places, remedy)
}

fn words(step: Step, now_ms: i64) -> String {
    match step {
        Step::Hung(ms) => format!("one call of user code has not returned for {} in", duration(ms)),
        Step::Writing => "the asynchronous part, the writing of captured state, is not done in".to_owned(),
        Step::Draining => {
            "all barriers have come and state is not captured yet (operators flush, drain or capture) in".to_owned()
        }
        Step::Aligning(since_ms) => {
            format!("barriers are being aligned since {} in", duration(now_ms - since_ms))
        }
        Step::Waiting => "no barrier has come through yet in".to_owned(),
    }
}

fn remedy(step: Step) -> &'static str {
    match step {
        Step::Hung(_) => "find what this call waits for: barriers pass its operator when it returns",
        Step::Writing => {
            "look at the store of execution.checkpointing.dir and the way to it; increments write less (execution.checkpointing.incremental)"
        }
        Step::Draining => {
            "look at what this operator waits for: a sink's system, a service, or a long call of its function"
        }
        Step::Aligning(_) | Step::Waiting => {
            "barriers stand in line behind records: remove the back-pressure (the findings above name its cause), or find what keeps this subtask from its next step"
        }
    }
}

fn failing(facts: &Facts) -> Option<Finding> {
    let count = facts.failed_checkpoints.len();
    let last = facts.failed_checkpoints.first().filter(|_| count >= FAILED)?;
    Some(Finding::problem(
        FindingKind::CheckpointsFail,
        format!("the last {count} checkpoints have failed, the newest because: {last}"),
        vec![],
        "mend the cause: a failure of the job goes back to the last complete checkpoint, which gets older and older",
    ))
}
