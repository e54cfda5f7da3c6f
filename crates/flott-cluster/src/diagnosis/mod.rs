//! What a job waits on, in plain words: [`Facts`] are gathered from what is counted anyway, [`diagnose`] judges them. Pure: facts in,
//! findings out.
//!
//! ```text
//!   JobStats, Rates, TaskManagers ─► Facts ─► diagnose ─► findings, what matters most first
//! ```
//! Back-pressure is followed downstream to who causes it: those who wait for him are named as his victims and are no findings of their
//! own. Judged over the last seconds; a job that has run for less is said to be too young.

mod checkpoints;
mod event_time;
mod facts;
mod flow;
mod hang;
mod life;
#[cfg(test)]
mod tests;

pub use facts::{CheckpointFacts, Facts, HungCall, OperatorFacts, RestartFacts, SlotFacts, SubtaskFacts, VertexFacts};

use crate::execution::ExecutionState;
use flott_core::JobStatus;
use serde::Serialize;
use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Severity {
    /// The job does not get on as it should.
    Problem,
    /// It does; this explains what is seen.
    Note,
}

/// What was found, those first that explain the ones behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FindingKind {
    /// The job has failed for good.
    JobFailed,
    /// Its subtasks wait for slots.
    WaitingForSlots,
    /// It fails again and again at the same record.
    PoisonedRecord,
    /// It fails again and again.
    RestartLoop,
    /// An operator is in a call of user code that does not return.
    HungCall,
    /// Operators have not opened yet.
    NotOpen,
    /// A sink takes less than is there for it.
    SlowSink,
    /// One subtask gets most of the records of its operator.
    SkewedKey,
    /// An operator waits for something outside, such as answers of a service.
    WaitsOutside,
    /// An operator does less than is there for it.
    Bottleneck,
    /// A checkpoint does not get complete.
    CheckpointStuck,
    /// Checkpoints fail.
    CheckpointsFail,
    /// A partition without records holds the watermark back.
    IdlePartition,
    /// A partition without records is left out of the watermark.
    IdleByTimeout,
    /// Partitions are not read because they are ahead of others.
    AheadOfGroup,
    /// A source has nothing to read.
    NoInput,
    /// The job has not run for long enough to be judged.
    TooYoung,
}

/// Where it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// Name of the vertex.
    pub vertex: String,
    /// The operator in it, where it is known.
    pub operator: Option<String>,
    /// The subtask, from 0, where it is one.
    pub subtask: Option<usize>,
    /// Subtasks of the vertex.
    pub parallelism: usize,
    /// The TaskManager that runs the subtask.
    pub task_manager_id: Option<String>,
    /// Where that is, host and port.
    pub endpoint: Option<String>,
}

impl Place {
    /// A whole vertex.
    fn of_vertex(vertex: &VertexFacts) -> Self {
        Self {
            vertex: vertex.name.clone(),
            operator: None,
            subtask: None,
            parallelism: vertex.subtasks.len(),
            task_manager_id: None,
            endpoint: None,
        }
    }

    /// A subtask of it.
    fn of_subtask(vertex: &VertexFacts, subtask: usize) -> Self {
        let at = vertex.subtasks.get(subtask).and_then(|subtask| subtask.at.as_ref());
        Self {
            subtask: Some(subtask),
            task_manager_id: at.map(|peer| peer.id.clone()),
            endpoint: at.map(|peer| peer.endpoint().to_owned()),
            ..Self::of_vertex(vertex)
        }
    }

    /// An operator of it.
    fn operator(self, name: &str) -> Self {
        Self {
            operator: Some(name.to_owned()),
            ..self
        }
    }
}

/// As Flink names subtasks, from 1: `Calc (2/4) at tm-1 (host:6121)`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operator.as_deref().unwrap_or(&self.vertex))?;
        if let Some(subtask) = self.subtask {
            write!(f, " ({}/{})", subtask + 1, self.parallelism)?;
        }
        match (&self.task_manager_id, &self.endpoint) {
            (Some(id), Some(endpoint)) => write!(f, " at {id} ({endpoint})"),
            _ => Ok(()),
        }
    }
}

/// One thing that the job waits on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// How bad it is.
    pub severity: Severity,
    /// What is seen, with its numbers and places.
    pub summary: String,
    /// Where.
    pub places: Vec<Place>,
    /// What helps; empty where nothing needs help.
    pub remedy: String,
}

impl Finding {
    fn problem(kind: FindingKind, summary: String, places: Vec<Place>, remedy: impl Into<String>) -> Self {
        Self {
            kind,
            severity: Severity::Problem,
            summary,
            places,
            remedy: remedy.into(),
        }
    }

    fn note(kind: FindingKind, summary: String, places: Vec<Place>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Note,
            ..Self::problem(kind, summary, places, remedy)
        }
    }
}

/// What runs through a vertex, summed up over its subtasks.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VertexFlow {
    /// Its name.
    pub name: String,
    /// Its subtasks.
    pub parallelism: usize,
    /// Of these, those that run.
    pub running: usize,
    /// Records that come a second.
    pub records_in_per_second: f64,
    /// Records that go on a second; of a sink: that it writes.
    pub records_out_per_second: f64,
    /// Share of its time in which the busiest subtask works.
    pub busy: f64,
    /// The highest share of a subtask that waits for those behind it.
    pub back_pressured: f64,
    /// The lowest share of a subtask that has no input.
    pub idle: f64,
}

/// A job, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// Flink's name of the job's status.
    pub status: String,
    /// Whether it runs and nothing is wrong that could be found.
    pub healthy: bool,
    /// The time that rates are taken over, in seconds.
    pub measured_seconds: f64,
    /// What it waits on, what matters most first.
    pub findings: Vec<Finding>,
    /// What runs through it, inputs before outputs.
    pub flow: Vec<VertexFlow>,
}

impl Diagnosis {
    /// Judges a job.
    pub fn of(facts: &Facts) -> Self {
        let findings = diagnose(facts);
        let is_well = findings.iter().all(|finding| finding.severity == Severity::Note);
        Self {
            status: facts.status.to_string(),
            healthy: is_well && facts.status == JobStatus::Running && facts.is_measured(),
            measured_seconds: facts.measured_seconds,
            findings,
            flow: facts.vertices.iter().map(flow_of).collect(),
        }
    }
}

fn flow_of(vertex: &VertexFacts) -> VertexFlow {
    let all = || vertex.subtasks.iter();
    let highest = |share: fn(&SubtaskFacts) -> f64| all().map(share).fold(0.0, f64::max);
    VertexFlow {
        name: vertex.name.clone(),
        parallelism: vertex.subtasks.len(),
        running: all().filter(|s| s.state == ExecutionState::Running).count(),
        records_in_per_second: all().map(|s| s.records_in).sum(),
        records_out_per_second: all().map(|s| s.records_out).sum(),
        busy: highest(SubtaskFacts::busy),
        back_pressured: highest(|s| s.back_pressured),
        idle: all().map(|s| s.idle).fold(1.0, f64::min),
    }
}

/// What a job waits on: problems before notes, causes before what follows from them.
pub fn diagnose(facts: &Facts) -> Vec<Finding> {
    let mut findings = life::findings(facts);
    if !facts.status.is_globally_terminal_state() {
        findings.extend(hang::findings(facts));
    }
    if facts.status == JobStatus::Running {
        findings.extend(flow::findings(facts));
        findings.extend(checkpoints::findings(facts));
        findings.extend(event_time::findings(facts));
    }
    // Of one kind they stay in the order of the vertices.
    findings.sort_by_key(|finding| (finding.severity, finding.kind));
    findings
}

/// A few of many, as a sentence has them.
fn few(names: &[String]) -> String {
    const TOLD: usize = 3;
    let told = names
        .iter()
        .take(TOLD)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match names.len() {
        0..=TOLD => told,
        all => format!("{told} and {} more", all - TOLD),
    }
}

/// Milliseconds as people read them: `850 ms`, `12.3 s`, `3.5 min`.
fn duration(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{:.1} s", ms as f64 / 1e3),
        _ => format!("{:.1} min", ms as f64 / 60e3),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
