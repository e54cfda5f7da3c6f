//! What is known of a job when it is judged ([`Facts`]), and where that comes from.

use super::Place;
use crate::coordinator::SubtaskId;
use crate::events::EventKind;
use crate::execution::{ExecutionState, Executions};
use crate::hang::HangSettings;
use crate::history::{CheckpointHistory, CheckpointRecord, CheckpointStatus, FailedTask};
use crate::protocol::Peer;
use crate::rates::Rates;
use crate::resources::TaskManagerInfo;
use crate::settings::CheckpointSettings;
use crate::stats::{JobStats, TaskView};
use crate::submit::JobHandle;
use flott_core::{CheckpointId, JobStatus};
use flott_plan::{JobGraph, Partitioning, Role, Vertex};
use flott_runtime::metrics::SplitReadings;

/// How far back restarts are counted, in milliseconds.
const RECENT_MS: i64 = 600_000;

/// Rates of less, in seconds, say nothing: a task counts its waiting when that ends, or twice a second.
const MEASURED_SECONDS: f64 = 3.0;

/// What is known of a job. Times are milliseconds since the epoch, shares are of 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// When it was gathered.
    pub now_ms: i64,
    /// The job's status.
    pub status: JobStatus,
    /// The time that rates and shares are taken over, in seconds; 0: they are not known yet.
    pub measured_seconds: f64,
    /// Its failures.
    pub restarts: RestartFacts,
    /// What it waits for slots with; `None` if it does not.
    pub slots: Option<SlotFacts>,
    /// Its vertices, inputs before outputs.
    pub vertices: Vec<VertexFacts>,
    /// The checkpoint in progress.
    pub checkpoint: Option<CheckpointFacts>,
    /// Why each failed of the last checkpoints behind the last complete one, newest first.
    pub failed_checkpoints: Vec<String>,
}

/// Failures of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestartFacts {
    /// Restarts of the last ten minutes.
    pub recent: usize,
    /// Why the last attempt, or the job, failed.
    pub failure: Option<String>,
    /// What is said of it if it comes back with each attempt, from the same checkpoint.
    pub poison: Option<String>,
    /// The subtask whose failure that is, and where: `Calc (2/4) at tm-1 (host:6121)`; `None` if it is not one task's.
    pub place: Option<String>,
}

/// Slots, where a job waits for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotFacts {
    /// That it needs.
    pub needed: usize,
    /// That TaskManagers offer.
    pub offered: usize,
    /// Of these, free ones.
    pub free: usize,
    /// TaskManagers that are there.
    pub task_managers: usize,
    /// Since when it waits.
    pub since_ms: i64,
}

/// A vertex.
#[derive(Debug, Clone, PartialEq)]
pub struct VertexFacts {
    /// Its name.
    pub name: String,
    /// Whether it begins with a source.
    pub is_source: bool,
    /// Whether it ends with a sink.
    pub is_sink: bool,
    /// Names of the columns that its input is keyed by, or words for them; `None` if it is not.
    pub keyed_by: Option<String>,
    /// Vertices in front of it.
    pub inputs: Vec<usize>,
    /// Vertices behind it.
    pub outputs: Vec<usize>,
    /// Its subtasks.
    pub subtasks: Vec<SubtaskFacts>,
}

/// A subtask.
#[derive(Debug, Clone, PartialEq)]
pub struct SubtaskFacts {
    /// What it does.
    pub state: ExecutionState,
    /// Since when.
    pub since_ms: i64,
    /// Where it runs.
    pub at: Option<Peer>,
    /// Records that come a second.
    pub records_in: f64,
    /// Records that go on a second; of a sink: that it writes.
    pub records_out: f64,
    /// Share of its time without input.
    pub idle: f64,
    /// Share of its time in which it waits for room in front of those behind it.
    pub back_pressured: f64,
    /// Share of its time in which an operator waits for something outside.
    pub blocked: f64,
    /// Its operators, in order.
    pub operators: Vec<OperatorFacts>,
    /// The call of one of them that does not return.
    pub hung: Option<HungCall>,
    /// The last checkpoint of which it has aligned barriers, and since when.
    pub aligning: (CheckpointId, i64),
    /// The last checkpoint whose barriers have all come.
    pub aligned: CheckpointId,
    /// The last checkpoint whose state was captured.
    pub captured: CheckpointId,
    /// Splits that it reads in event time.
    pub splits: SplitReadings,
    /// Records that wait in the source's system.
    pub pending: i64,
}

/// An operator of a subtask.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorFacts {
    /// Its name.
    pub name: String,
    /// Share of the time in its calls.
    pub busy: f64,
    /// Share of the time in which it waits for something outside.
    pub blocked: f64,
}

/// A call of user code that has taken longer than `liveness.task-timeout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HungCall {
    /// The operator that is in it.
    pub operator: String,
    /// How long it has taken, in milliseconds.
    pub ms: i64,
}

/// A checkpoint in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointFacts {
    /// Its number.
    pub id: CheckpointId,
    /// When its barriers were sent.
    pub triggered_ms: i64,
    /// When it is given up, in milliseconds from its trigger.
    pub timeout_ms: i64,
    /// Median of those before it, in milliseconds; `None` if there was none.
    pub typical_ms: Option<i64>,
    /// Subtasks whose part is missing.
    pub missing: Vec<SubtaskId>,
}

impl Facts {
    /// Gathers what is known of a job now, with rates of the last looks, and the TaskManagers that are there.
    pub fn of(job: &JobHandle, rates: &Rates, managers: &[TaskManagerInfo], now_ms: i64) -> Self {
        let (executions, views) = (job.stats.executions(), job.stats.tasks());
        let graph = job.graph();
        let gather = Gather {
            job,
            graph: &graph,
            rates,
            executions: &executions,
            views: &views,
        };
        let vertices: Vec<VertexFacts> = graph.vertices.iter().map(|v| gather.vertex(v)).collect();
        let history = job.stats.checkpoint_history();
        let seconds = views.iter().map(|view| rates.of(job.job_id, view).seconds);
        Self {
            now_ms,
            status: job.status(),
            measured_seconds: seconds.reduce(f64::min).unwrap_or(0.0),
            restarts: restarts(&job.stats, &executions, now_ms),
            slots: slots(job, &vertices, managers),
            checkpoint: gather.checkpoint(&history),
            failed_checkpoints: failed_checkpoints(&history),
            vertices,
        }
    }

    /// Whether rates are known, over a time that is long enough to judge them.
    pub fn is_measured(&self) -> bool {
        self.measured_seconds >= MEASURED_SECONDS
    }
}

impl SubtaskFacts {
    /// Share of its time in which it works: neither is its input empty, nor does it wait. So Flink reckons, too.
    pub fn busy(&self) -> f64 {
        let is_running = self.state == ExecutionState::Running;
        match is_running {
            true => (1.0 - self.idle - self.back_pressured - self.blocked).max(0.0),
            false => 0.0,
        }
    }
}

struct Gather<'a> {
    job: &'a JobHandle,
    graph: &'a JobGraph,
    rates: &'a Rates,
    executions: &'a Executions,
    views: &'a [TaskView],
}

impl Gather<'_> {
    fn vertex(&self, vertex: &Vertex) -> VertexFacts {
        let nodes = || vertex.nodes.iter().map(|node| &self.job.plan.nodes[*node]);
        let edges = || self.graph.edges.iter();
        let is_sink = nodes().any(|node| node.role == Role::Sink);
        VertexFacts {
            name: vertex.name.clone(),
            is_source: nodes().any(|node| node.role == Role::Source),
            is_sink,
            keyed_by: edges().find_map(|edge| match &edge.partitioning {
                _ if edge.to != vertex.id => None,
                Partitioning::Hash { keys } => Some(self.columns(edge.from, keys)),
                Partitioning::Keyed => Some("its key".to_owned()),
                _ => None,
            }),
            inputs: edges().filter(|e| e.to == vertex.id).map(|e| e.from).collect(),
            outputs: edges().filter(|e| e.from == vertex.id).map(|e| e.to).collect(),
            subtasks: (0..vertex.parallelism)
                .map(|index| self.subtask((vertex.id, index), is_sink))
                .collect(),
        }
    }

    /// Names of columns that come from a vertex.
    fn columns(&self, from: usize, keys: &[usize]) -> String {
        let last = self.graph.vertices[from].nodes.last();
        let output = last.map_or(&[][..], |node| &self.job.plan.nodes[*node].output);
        let names = keys.iter().filter_map(|key| output.get(*key));
        names.map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn subtask(&self, id: SubtaskId, is_sink: bool) -> SubtaskFacts {
        let execution = self.executions.get(id);
        let state = self.executions.state(id);
        let mut facts = SubtaskFacts {
            state,
            since_ms: execution.and_then(|e| e.since_ms(state)).unwrap_or(0),
            at: execution.and_then(|execution| execution.at.clone()),
            records_in: 0.0,
            records_out: 0.0,
            idle: 0.0,
            back_pressured: 0.0,
            blocked: 0.0,
            operators: vec![],
            hung: None,
            aligning: (0, 0),
            aligned: 0,
            captured: 0,
            splits: SplitReadings::default(),
            pending: 0,
        };
        if let Ok(index) = self.views.binary_search_by_key(&id, |view| view.0) {
            self.measure(&mut facts, &self.views[index], is_sink);
            if !state.is_terminal() {
                facts.hung = self.hung(&self.views[index]);
            }
        }
        facts
    }

    fn hung(&self, (_, _, metrics): &TaskView) -> Option<HungCall> {
        let settings = HangSettings::from_options(&self.job.options).unwrap_or_default();
        let (operator, taken) = metrics.call().filter(|(_, taken)| *taken >= settings.hangs_after)?;
        Some(HungCall {
            operator: metrics.operators[operator].0.clone(),
            ms: taken.as_millis() as i64,
        })
    }

    fn measure(&self, facts: &mut SubtaskFacts, view: &TaskView, is_sink: bool) {
        let (rates, metrics) = (self.rates.of(self.job.job_id, view), &view.2);
        let share = |ms: f64| (ms / 1e3).clamp(0.0, 1.0);
        let written = rates.operators.last().map(|rate| rate.records_in).filter(|_| is_sink);
        let checkpoint = |value: i64| u64::try_from(value).unwrap_or(0);
        facts.records_in = rates.task.records_in;
        facts.records_out = written.unwrap_or(rates.task.records_out);
        facts.idle = share(rates.task.idle_ms);
        facts.blocked = share(rates.task.blocked_ms);
        facts.back_pressured = share(rates.task.back_pressured_ms - rates.task.blocked_ms);
        facts.aligning = (checkpoint(metrics.aligning.get()), metrics.aligning_since_ms.get());
        facts.aligned = checkpoint(metrics.aligned.get());
        facts.captured = checkpoint(metrics.captured.get());
        let named = metrics.operators.iter().zip(&rates.operators);
        facts.operators = named
            .map(|((name, _), rate)| OperatorFacts {
                name: name.clone(),
                busy: share(rate.busy_ms),
                blocked: share(rate.blocked_ms),
            })
            .collect();
        if let Some((_, source)) = metrics.operators.first() {
            let gauges = source.gauges();
            let pending = gauges.iter().find(|(name, _)| name == "pendingRecords");
            facts.pending = pending.map_or(0, |(_, count)| *count);
            facts.splits = source.splits();
        }
    }

    fn checkpoint(&self, history: &CheckpointHistory) -> Option<CheckpointFacts> {
        let record = history.records().find(|r| r.status == CheckpointStatus::InProgress)?;
        let settings = CheckpointSettings::from_options(&self.job.options).ok();
        let mut durations = history.durations_ms();
        durations.sort_unstable();
        Some(CheckpointFacts {
            id: record.id,
            triggered_ms: record.triggered_ms,
            timeout_ms: settings.map_or(i64::MAX, |settings| settings.timeout_ms),
            typical_ms: durations.get(durations.len() / 2).copied(),
            missing: self.missing(record),
        })
    }

    fn missing(&self, record: &CheckpointRecord) -> Vec<SubtaskId> {
        let vertices = self.graph.vertices.iter();
        let all = vertices.flat_map(|vertex| (0..vertex.parallelism).map(|index| (vertex.id, index)));
        all.filter(|id| !record.acknowledged_by.contains(id)).collect()
    }
}

fn failed_checkpoints(history: &CheckpointHistory) -> Vec<String> {
    let ended = history.records().filter(|r| r.status != CheckpointStatus::InProgress);
    let failed = ended.take_while(|record| record.status == CheckpointStatus::Failed);
    failed.map(|r| r.failure.clone().unwrap_or_default()).collect()
}

fn restarts(stats: &JobStats, executions: &Executions, now_ms: i64) -> RestartFacts {
    let log = stats.events();
    let events = log.events();
    let is_recent = |at_ms: i64| now_ms - at_ms <= RECENT_MS;
    let is_restart = |kind: &EventKind| matches!(kind, EventKind::Restarting { .. });
    let exceptions = stats.exceptions();
    let failed = exceptions.records().next().and_then(|newest| newest.task.as_ref());
    let place = |task: &FailedTask| Place {
        vertex: task.name.clone(),
        operator: None,
        subtask: Some(task.subtask.1),
        parallelism: executions.subtasks_of(task.subtask.0),
        task_manager_id: task.at.as_ref().map(|peer| peer.id.clone()),
        endpoint: task.at.as_ref().map(|peer| peer.endpoint().to_owned()),
    };
    RestartFacts {
        recent: events
            .iter()
            .filter(|e| is_restart(&e.kind) && is_recent(e.at_ms))
            .count(),
        failure: stats.failure(),
        poison: exceptions.poison(),
        place: failed.map(|task| place(task).to_string()),
    }
}

fn slots(job: &JobHandle, vertices: &[VertexFacts], managers: &[TaskManagerInfo]) -> Option<SlotFacts> {
    let mut all = vertices.iter().flat_map(|vertex| &vertex.subtasks);
    let waits = all.clone().all(|subtask| subtask.state == ExecutionState::Scheduled);
    let since_ms = all.next().filter(|_| waits)?.since_ms;
    Some(SlotFacts {
        needed: job.least_slots(),
        offered: managers.iter().map(|manager| manager.slots).sum(),
        free: managers.iter().map(|manager| manager.free_slots).sum(),
        task_managers: managers.len(),
        since_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure_label::Cause;
    use crate::job_state::Failure;
    use flott_core::JobId;
    use flott_core::clock::{Clock, SystemClock};
    use flott_runtime::FailureLabel;

    #[test]
    fn the_place_of_a_failure_is_of_the_task_whose_failure_it_is() {
        let stats = JobStats::new(JobId(1), "job");
        stats.slots_requested(1, 2, vec![(0, 0), (0, 1)]);
        let task = |index| FailedTask {
            subtask: (0, index),
            name: "Calc".into(),
            label: FailureLabel::User,
            at: Some(Peer {
                id: "tm-1".into(),
                data_address: "host:6121".into(),
            }),
        };
        // The other one failed because its peer did, and later.
        stats.task_failed(task(1), "boom");
        stats.task_failed(task(0), "its input broke off");
        stats.restarted(&Failure::of(Cause::EndedEarly, "boom".into()), 0);
        let told = || restarts(&stats, &stats.executions(), SystemClock.now_ms());
        assert_eq!(told().place.as_deref(), Some("Calc (2/2) at tm-1 (host:6121)"));
        assert_eq!((told().recent, told().failure.as_deref()), (1, Some("boom")));
        stats.failed(&Failure::of(Cause::EndedEarly, "the checkpoint's store is gone".into()));
        assert_eq!(told().place, None, "it is no task's");
    }
}
