//! What a job tells trace reporters: a [`Span`] for each checkpoint and each start of its tasks, under Flink's names.
//!
//! | span | from, to | attributes |
//! |---|---|---|
//! | `Checkpoint` | its trigger, its last acknowledgement | `checkpointId`, `checkpointStatus`, `checkpointType`, `isUnaligned`, `fullSize`, `checkpointedSize`, and the largest part (`max…`) and all parts (`sum…`) of [`METRICS`] |
//! | `JobInitialization` | an attempt asks for slots, all its operators are open | `initializationStatus`, `checkpointId` and `fullSize` of what it starts from, `max`/`sumMailboxStartDurationMs` |
//!
//! Every span has `job_id` and `job_name`. [`SpanDetailLevel`] says what a checkpoint tells of its tasks. A reporter is called where the job's
//! statistics are noted ([`crate::stats::JobStats`]), so it must return at once.

use crate::coordinator::SubtaskId;
use crate::history::{CheckpointPurpose, CheckpointRecord, CheckpointStatus, PartSizes};
use flott_core::options::OptionError;
use flott_core::{CheckpointId, JobId, Options};
use flott_plan::{JobGraph, Plan};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

/// Flink's scope of the spans here.
const SCOPE: &str = "org.apache.flink.runtime.checkpoint.CheckpointStatsTracker";

/// A number of a part of a checkpoint, by Flink's name.
type Metric = (&'static str, fn(&PartSizes) -> u64);

/// What of each part of a checkpoint is told.
const METRICS: [Metric; 4] = [
    ("StateSizeBytes", |sizes| sizes.state_bytes),
    ("CheckpointedSizeBytes", |sizes| sizes.state_bytes),
    ("ProcessedDataBytes", |sizes| sizes.processed_bytes),
    ("PersistedDataBytes", |sizes| sizes.persisted_bytes),
];

/// Those whose sum a checkpoint has as `fullSize` and `checkpointedSize`.
const SUMMED_ELSEWHERE: [&str; 2] = ["StateSizeBytes", "CheckpointedSizeBytes"];

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for AttributeValue {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// Something that took a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What tells it: Flink's name of a class.
    pub scope: &'static str,
    /// What it is.
    pub name: &'static str,
    /// When it began, in milliseconds since the epoch.
    pub start_ms: i64,
    /// When it ended, not before it began, in milliseconds since the epoch.
    pub end_ms: i64,
    /// What is known of it.
    pub attributes: Vec<(String, AttributeValue)>,
    /// Its parts.
    pub children: Vec<Span>,
}

impl Span {
    fn new(name: &'static str, start_ms: i64, end_ms: i64) -> Self {
        Self {
            scope: SCOPE,
            name,
            start_ms,
            end_ms: end_ms.max(start_ms),
            attributes: vec![],
            children: vec![],
        }
    }

    fn set(&mut self, key: impl Into<String>, value: impl Into<AttributeValue>) {
        self.attributes.push((key.into(), value.into()));
    }

    /// An attribute.
    pub fn get(&self, key: &str) -> Option<&AttributeValue> {
        let found = self.attributes.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value)
    }
}

/// Takes spans of jobs out of the process.
pub trait TraceReporter: Debug + Send + Sync {
    /// Takes a span. It is called under a lock of the job: it returns at once, and drops what it has no room for.
    fn report(&self, span: Span);
}

/// A reporter of several jobs.
pub type SharedTraceReporter = Arc<dyn TraceReporter>;

/// How much is told of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanDetailLevel {
    /// One span, with the sums of its subtasks.
    Checkpoint,
    /// The same with lists that have a value for each task.
    WithTasks,
    /// A span below it for each task.
    Tasks,
    /// And one below these for each subtask.
    Subtasks,
}

impl SpanDetailLevel {
    /// The option.
    pub const KEY: &str = "traces.checkpoint.span-detail-level";

    /// Reads the option.
    ///
    /// # Errors
    /// If its value is no level.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        let names = [
            "SPAN_PER_CHECKPOINT",
            "SPAN_PER_CHECKPOINT_WITH_TASKS",
            "CHILDREN_SPANS_PER_TASK",
            "CHILDREN_SPANS_PER_SUBTASK",
        ];
        Ok(match options.one_of(Self::KEY, &names)? {
            None | Some(0) => Self::Checkpoint,
            Some(1) => Self::WithTasks,
            Some(2) => Self::Tasks,
            Some(_) => Self::Subtasks,
        })
    }
}

/// A subtask's part of a checkpoint.
#[derive(Debug, Clone, Copy)]
struct Part {
    subtask: usize,
    acknowledged_ms: i64,
    sizes: PartSizes,
}

/// The start of an attempt that is under way.
#[derive(Debug, Clone, Copy)]
struct Initialization {
    start_ms: i64,
    /// The checkpoint that it starts from, and its size.
    restored: Option<(CheckpointId, u64)>,
}

/// Makes the spans of a job for a reporter.
#[derive(Debug)]
pub(crate) struct JobTraces {
    reporter: SharedTraceReporter,
    level: SpanDetailLevel,
    job: JobId,
    name: String,
    /// Ids of the vertices.
    vertices: Vec<String>,
    /// What is durable of checkpoints in progress, by vertex.
    parts: BTreeMap<CheckpointId, BTreeMap<usize, Vec<Part>>>,
    initialization: Option<Initialization>,
}

impl JobTraces {
    pub(crate) fn new(
        reporter: SharedTraceReporter,
        level: SpanDetailLevel,
        job: JobId,
        plan: &Plan,
        graph: &JobGraph,
    ) -> Self {
        let id = |nodes: &[usize]| plan.nodes[nodes[0]].operator_id.to_string();
        Self {
            reporter,
            level,
            job,
            name: plan.name.clone(),
            vertices: graph.vertices.iter().map(|vertex| id(&vertex.nodes)).collect(),
            parts: BTreeMap::new(),
            initialization: None,
        }
    }

    /// A subtask's part of a checkpoint is durable.
    pub(crate) fn acknowledged(&mut self, id: CheckpointId, subtask: SubtaskId, sizes: PartSizes, now_ms: i64) {
        let of_vertex = self.parts.entry(id).or_default().entry(subtask.0).or_default();
        of_vertex.push(Part {
            subtask: subtask.1,
            acknowledged_ms: now_ms,
            sizes,
        });
    }

    /// A checkpoint is complete, or was given up.
    pub(crate) fn checkpoint(&mut self, record: &CheckpointRecord) {
        let parts = self.parts.remove(&record.id).unwrap_or_default();
        // Those before it get no further.
        self.parts.retain(|id, _| *id > record.id);
        let last_ms = record.last_ack_ms.or(record.ended_ms).unwrap_or(record.triggered_ms);
        let mut span = Span::new("Checkpoint", record.triggered_ms, last_ms);
        let sizes = record.sizes();
        let bytes = match record.status {
            CheckpointStatus::Completed => record.bytes,
            CheckpointStatus::InProgress | CheckpointStatus::Failed => sizes.state_bytes,
        };
        span.set("checkpointId", record.id);
        span.set("fullSize", bytes);
        span.set("checkpointedSize", bytes);
        span.set("checkpointStatus", status_name(record.status));
        span.set("isUnaligned", if sizes.is_unaligned { "true" } else { "false" });
        span.set("checkpointType", purpose_name(record.purpose));
        self.aggregate(&mut span, &parts);
        if matches!(self.level, SpanDetailLevel::Tasks | SpanDetailLevel::Subtasks) {
            let tasks = parts.iter().map(|(vertex, parts)| self.task(record, *vertex, parts));
            span.children = tasks.collect();
        }
        self.report(span);
    }

    /// Adds what all tasks come to.
    fn aggregate(&self, span: &mut Span, parts: &BTreeMap<usize, Vec<Part>>) {
        for (metric, of) in METRICS {
            let by_task: Vec<(u64, u64)> = parts.values().map(|parts| max_and_sum(parts, of)).collect();
            let max = by_task.iter().map(|(max, _)| *max).max().unwrap_or(0);
            span.set(format!("max{metric}"), max);
            if !SUMMED_ELSEWHERE.contains(&metric) {
                span.set(format!("sum{metric}"), by_task.iter().map(|(_, sum)| sum).sum::<u64>());
            }
            if self.level == SpanDetailLevel::WithTasks {
                let (maxima, sums): (Vec<u64>, Vec<u64>) = by_task.into_iter().unzip();
                span.set(format!("perTaskMax{metric}"), format!("{maxima:?}").as_str());
                span.set(format!("perTaskSum{metric}"), format!("{sums:?}").as_str());
            }
        }
    }

    fn task(&self, record: &CheckpointRecord, vertex: usize, parts: &[Part]) -> Span {
        let last_ms = parts.iter().map(|part| part.acknowledged_ms).max();
        let end_ms = last_ms.unwrap_or(record.triggered_ms);
        let mut span = self.below("Checkpoint_Task", record, vertex, end_ms);
        for (metric, of) in METRICS {
            let (max, sum) = max_and_sum(parts, of);
            span.set(format!("max{metric}"), max);
            span.set(format!("sum{metric}"), sum);
        }
        if self.level == SpanDetailLevel::Subtasks {
            let subtasks = parts.iter().map(|part| self.subtask(record, vertex, part));
            span.children = subtasks.collect();
        }
        span
    }

    fn subtask(&self, record: &CheckpointRecord, vertex: usize, part: &Part) -> Span {
        let mut span = self.below("Checkpoint_Subtask", record, vertex, part.acknowledged_ms);
        span.set("subtaskId", part.subtask as u64);
        for (metric, of) in METRICS {
            span.set(metric, of(&part.sizes));
        }
        span
    }

    fn below(&self, name: &'static str, record: &CheckpointRecord, vertex: usize, end_ms: i64) -> Span {
        let mut span = Span::new(name, record.triggered_ms, end_ms);
        span.set("checkpointId", record.id);
        if let Some(id) = self.vertices.get(vertex) {
            span.set("jobVertexId", id.as_str());
        }
        span
    }

    /// An attempt asks for slots.
    pub(crate) fn initializing(&mut self, now_ms: i64) {
        self.initialization = Some(Initialization {
            start_ms: now_ms,
            restored: None,
        });
    }

    /// It starts from a checkpoint of this size, in bytes.
    pub(crate) fn restored(&mut self, id: CheckpointId, bytes: u64) {
        if let Some(initialization) = &mut self.initialization {
            initialization.restored = Some((id, bytes));
        }
    }

    /// All its operators are open; so long did each subtask take for it.
    pub(crate) fn initialized(&mut self, durations_ms: &[i64], now_ms: i64) {
        let Some(mut span) = self.take_initialization("COMPLETED", now_ms) else {
            return;
        };
        let durations = durations_ms.iter().map(|ms| u64::try_from(*ms).unwrap_or(0));
        span.set("maxMailboxStartDurationMs", durations.clone().max().unwrap_or(0));
        span.set("sumMailboxStartDurationMs", durations.sum::<u64>());
        self.report(span);
    }

    /// The attempt is over; it may have been before its operators were open.
    pub(crate) fn attempt_ended(&mut self, now_ms: i64) {
        if let Some(span) = self.take_initialization("FAILED", now_ms) {
            self.report(span);
        }
    }

    fn take_initialization(&mut self, status: &str, now_ms: i64) -> Option<Span> {
        let Initialization { start_ms, restored } = self.initialization.take()?;
        let mut span = Span::new("JobInitialization", start_ms, now_ms);
        span.set("initializationStatus", status);
        if let Some((id, bytes)) = restored {
            span.set("checkpointId", id);
            span.set("fullSize", bytes);
        }
        Some(span)
    }

    fn report(&self, mut span: Span) {
        self.sign(&mut span);
        self.reporter.report(span);
    }

    /// Says whose a span is, and those below it.
    fn sign(&self, span: &mut Span) {
        span.set("job_id", self.job.to_string().as_str());
        span.set("job_name", self.name.as_str());
        span.children.iter_mut().for_each(|child| self.sign(child));
    }
}

fn max_and_sum(parts: &[Part], of: fn(&PartSizes) -> u64) -> (u64, u64) {
    let values = parts.iter().map(|part| of(&part.sizes));
    (values.clone().max().unwrap_or(0), values.sum())
}

fn status_name(status: CheckpointStatus) -> &'static str {
    match status {
        CheckpointStatus::InProgress => "IN_PROGRESS",
        CheckpointStatus::Completed => "COMPLETED",
        CheckpointStatus::Failed => "FAILED",
    }
}

fn purpose_name(purpose: CheckpointPurpose) -> &'static str {
    match purpose {
        CheckpointPurpose::Checkpoint => "Checkpoint",
        CheckpointPurpose::Savepoint => "Savepoint",
        CheckpointPurpose::StoppingSavepoint => "Suspend Savepoint",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::CheckpointKind;
    use crate::stats::JobStats;
    use flott_core::JobStatus;
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    struct Collected(Mutex<Vec<Span>>);

    impl TraceReporter for Collected {
        fn report(&self, span: Span) {
            self.0.lock().unwrap().push(span);
        }
    }

    fn traced(level: SpanDetailLevel) -> (JobStats, Arc<Collected>) {
        let collected = Arc::new(Collected::default());
        let traces = JobTraces {
            reporter: collected.clone(),
            level,
            job: JobId(1),
            name: "job".into(),
            vertices: vec!["a".into(), "b".into()],
            parts: BTreeMap::new(),
            initialization: None,
        };
        (JobStats::new(JobId(1), "job").traced(traces), collected)
    }

    fn part(state_bytes: u64) -> PartSizes {
        PartSizes {
            state_bytes,
            persisted_bytes: 1,
            processed_bytes: 2,
            is_unaligned: true,
        }
    }

    /// A checkpoint of three subtasks of two vertices.
    fn checkpoint_at(level: SpanDetailLevel) -> Span {
        let (stats, collected) = traced(level);
        stats.triggered(7, &CheckpointKind::Periodic, 3);
        for (subtask, bytes) in [((0, 0), 10), ((1, 0), 20), ((1, 1), 30)] {
            stats.acknowledged(7, subtask, part(bytes));
        }
        stats.completed(7, 65, "/chk-7");
        collected.0.lock().unwrap().remove(0)
    }

    fn attributes(span: &Span) -> String {
        let text = |(key, value): &(String, AttributeValue)| match value {
            AttributeValue::Text(text) => format!("{key}={text}"),
            AttributeValue::Integer(number) => format!("{key}={number}"),
        };
        span.attributes.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_checkpoint_has_flinks_attributes() {
        let span = checkpoint_at(SpanDetailLevel::Checkpoint);
        assert_eq!((span.name, span.scope, span.children.len()), ("Checkpoint", SCOPE, 0));
        assert_eq!(
            attributes(&span),
            "checkpointId=7 fullSize=65 checkpointedSize=65 checkpointStatus=COMPLETED isUnaligned=true checkpointType=Checkpoint \
             maxStateSizeBytes=30 maxCheckpointedSizeBytes=30 maxProcessedDataBytes=2 sumProcessedDataBytes=6 maxPersistedDataBytes=1 \
             sumPersistedDataBytes=3 job_id=00000000000000000000000000000001 job_name=job"
        );
    }

    #[test]
    fn levels_tell_of_tasks_and_subtasks() {
        let span = checkpoint_at(SpanDetailLevel::WithTasks);
        assert_eq!(span.get("perTaskMaxStateSizeBytes"), Some(&"[10, 30]".into()));
        assert_eq!(span.get("perTaskSumStateSizeBytes"), Some(&"[10, 50]".into()));
        assert_eq!(span.children, []);
        let span = checkpoint_at(SpanDetailLevel::Tasks);
        let [_, task] = &span.children[..] else { unreachable!() };
        assert_eq!((task.name, task.children.len()), ("Checkpoint_Task", 0));
        let text = attributes(task);
        let start = "checkpointId=7 jobVertexId=b maxStateSizeBytes=30 sumStateSizeBytes=50 ";
        assert!(text.starts_with(start) && text.ends_with("job_name=job"), "{text}");
        let span = checkpoint_at(SpanDetailLevel::Subtasks);
        let subtask = &span.children[1].children[1];
        assert_eq!(
            attributes(subtask),
            "checkpointId=7 jobVertexId=b subtaskId=1 StateSizeBytes=30 CheckpointedSizeBytes=30 ProcessedDataBytes=2 PersistedDataBytes=1 \
             job_id=00000000000000000000000000000001 job_name=job"
        );
    }

    #[test]
    fn a_checkpoint_that_is_given_up_has_what_was_durable() {
        let (stats, collected) = traced(SpanDetailLevel::Checkpoint);
        stats.triggered(1, &CheckpointKind::Periodic, 2);
        stats.acknowledged(1, (0, 0), part(10));
        stats.checkpoint_failed(1, "too late");
        stats.triggered(2, &CheckpointKind::Periodic, 2);
        stats.status(JobStatus::Restarting);
        let spans = collected.0.lock().unwrap();
        let told = spans
            .iter()
            .map(|span| [span.get("checkpointStatus"), span.get("fullSize")]);
        let failed = |bytes: u64| [AttributeValue::from("FAILED"), AttributeValue::from(bytes)];
        let expected = [failed(10), failed(0)];
        assert!(
            told.eq(expected.iter().map(|[status, bytes]| [Some(status), Some(bytes)])),
            "{spans:?}"
        );
    }

    #[test]
    fn a_start_ends_when_all_is_open_or_with_its_attempt() {
        let (stats, collected) = traced(SpanDetailLevel::Checkpoint);
        let start = |attempt, restored| {
            stats.slots_requested(attempt, 1, vec![(0, 0), (0, 1)]);
            stats.deployed(restored, &vec![vec![0, 0]].into(), &[], &[]);
            stats.task_running((0, 0));
        };
        start(1, None);
        stats.status(JobStatus::Restarting);
        start(2, Some((7, "/chk-7".into(), 65)));
        assert_eq!(collected.0.lock().unwrap().len(), 1, "one subtask is not open yet");
        stats.task_running((0, 1));
        stats.status(JobStatus::Failed);
        let spans = collected.0.lock().unwrap();
        let [failed, completed] = &spans[..] else {
            unreachable!("{spans:?}")
        };
        assert!(
            attributes(failed).starts_with("initializationStatus=FAILED job_id="),
            "{failed:?}"
        );
        let text = attributes(completed);
        let start = "initializationStatus=COMPLETED checkpointId=7 fullSize=65 maxMailboxStartDurationMs=";
        assert!(
            text.starts_with(start) && text.contains(" sumMailboxStartDurationMs="),
            "{text}"
        );
    }
}
