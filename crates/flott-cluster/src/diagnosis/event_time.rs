//! What holds the watermark back: partitions without records, and those that are left out or wait for their group.

use super::{Facts, Finding, FindingKind, Place, VertexFacts, duration, few};
use crate::execution::ExecutionState;
use flott_core::time::NO_WATERMARK;
use flott_runtime::metrics::{SplitReading, SplitTime};

/// How much longer than another partition one has had no record that is called idle, in milliseconds.
const SILENT_MS: i64 = 5_000;

/// Share of its time that a source is back-pressured above which it is not told how long its partitions have been silent.
const BLIND: f64 = 0.5;

type Split<'a> = (usize, &'a SplitReading);

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let sources = facts.vertices.iter().filter(|vertex| vertex.is_source);
    sources.flat_map(|vertex| of_source(vertex, facts.now_ms)).collect()
}

fn of_source(vertex: &VertexFacts, now_ms: i64) -> Vec<Finding> {
    let subtasks = vertex.subtasks.iter().enumerate();
    let running = subtasks.filter(|(_, subtask)| subtask.state == ExecutionState::Running);
    let read = running.filter(|(_, subtask)| subtask.back_pressured + subtask.blocked <= BLIND);
    let total = read.clone().map(|(_, subtask)| subtask.splits.total).sum();
    let splits: Vec<Split> = read
        .flat_map(|(index, subtask)| subtask.splits.shown.iter().map(move |split| (index, split)))
        .collect();
    let in_state = |state: SplitTime| splits.iter().filter(move |(_, split)| split.state == state).copied();
    let idle: Vec<Split> = in_state(SplitTime::Idle).collect();
    let paused: Vec<Split> = in_state(SplitTime::Paused).collect();
    let all = [
        holding_back(vertex, &splits, total, now_ms),
        (!idle.is_empty()).then(|| left_out(vertex, &idle, now_ms)),
        (!paused.is_empty()).then(|| ahead(vertex, &paused)),
    ];
    all.into_iter().flatten().collect()
}

fn places(vertex: &VertexFacts, splits: &[Split]) -> Vec<Place> {
    let mut subtasks: Vec<usize> = splits.iter().map(|(subtask, _)| *subtask).collect();
    subtasks.dedup();
    subtasks
        .into_iter()
        .map(|subtask| Place::of_subtask(vertex, subtask))
        .collect()
}

/// Partitions as a sentence has them, with how long each has had no record.
fn silent(splits: &[Split], now_ms: i64) -> String {
    let name = |(_, split): &Split| {
        let since = duration((now_ms - split.last_record_ms).max(0));
        match split.has_records {
            true => format!("{} (no record for {since})", split.id),
            false => format!("{} (none at all in {since})", split.id),
        }
    };
    few(&splits.iter().map(name).collect::<Vec<_>>())
}

/// Partitions that have had no record for long while others had, and are behind these in time; of so many in `total`.
fn holding_back(vertex: &VertexFacts, splits: &[Split], total: usize, now_ms: i64) -> Option<Finding> {
    let read = splits.iter().filter(|(_, split)| split.has_records);
    let newest_ms = read.map(|(_, split)| split.last_record_ms).max()?;
    let ahead = splits.iter().map(|(_, split)| split.watermark).max()?;
    let holds = |(_, split): &&Split| {
        let is_silent = newest_ms - split.last_record_ms >= SILENT_MS;
        split.state == SplitTime::Counts && is_silent && split.watermark < ahead
    };
    let held: Vec<Split> = splits.iter().filter(holds).copied().collect();
    let behind = held.iter().map(|(_, split)| split.watermark).min()?;
    let by = match behind {
        NO_WATERMARK => "altogether: there is none until each partition has had a record".to_owned(),
        behind => format!("by {}", duration(ahead.saturating_sub(behind))),
    };
    Some(Finding::problem(
        FindingKind::IdlePartition,
        format!(
            "{} of {total} partitions of {} have no records and hold the watermark back {by}: {}",
            held.len(),
            vertex.name,
            silent(&held, now_ms)
        ),
        places(vertex, &held),
        "if that is as it should be, let such partitions be left out: the table option 'scan.watermark.idle-timeout' = '10 s', \
         table.exec.source.idle-timeout, or with_idleness of a program's WatermarkStrategy; otherwise look why nobody writes to them",
    ))
}

fn left_out(vertex: &VertexFacts, idle: &[Split], now_ms: i64) -> Finding {
    Finding::note(
        FindingKind::IdleByTimeout,
        format!(
            "{} partitions of {} are idle by time-out and do not hold the watermark back: {}",
            idle.len(),
            vertex.name,
            silent(idle, now_ms)
        ),
        places(vertex, idle),
        "what is written to them later may be late",
    )
}

fn ahead(vertex: &VertexFacts, paused: &[Split]) -> Finding {
    let names: Vec<String> = paused.iter().map(|(_, split)| split.id.clone()).collect();
    Finding::note(
        FindingKind::AheadOfGroup,
        format!(
            "{} partitions of {} are not read, because they are ahead of the others of their group (watermark alignment): {}",
            paused.len(),
            vertex.name,
            few(&names)
        ),
        places(vertex, paused),
        "",
    )
}
