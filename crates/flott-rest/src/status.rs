//! States of tasks as Flink names them: how many tasks have which, and since when.

use flott_cluster::JobHandle;
use flott_cluster::execution::{Execution, ExecutionState, Executions};
use flott_plan::Vertex;
use serde_json::{Map, Value, json};

/// Flink's statuses of jobs, in its order.
pub(crate) const JOB_STATUSES: [&str; 11] = [
    "INITIALIZING",
    "CREATED",
    "RUNNING",
    "FAILING",
    "FAILED",
    "CANCELLING",
    "CANCELED",
    "FINISHED",
    "RESTARTING",
    "SUSPENDED",
    "RECONCILING",
];

/// Flink's states of tasks, in its order.
const TASK_STATES: [&str; 10] = [
    "CREATED",
    "SCHEDULED",
    "DEPLOYING",
    "RUNNING",
    "FINISHED",
    "CANCELING",
    "CANCELED",
    "FAILED",
    "RECONCILING",
    "INITIALIZING",
];

/// The states of the subtasks of a vertex.
pub(crate) fn of_subtasks<'a>(
    executions: &'a Executions,
    vertex: &'a Vertex,
) -> impl Iterator<Item = ExecutionState> + use<'a> {
    (0..vertex.parallelism).map(|index| executions.state((vertex.id, index)))
}

/// How many of these tasks are in which state.
pub(crate) fn counts(states: impl IntoIterator<Item = ExecutionState>) -> Map<String, Value> {
    let names: Vec<String> = states.into_iter().map(|state| state.to_string()).collect();
    let count = |of: &str| names.iter().filter(|name| *name == of).count();
    TASK_STATES
        .iter()
        .map(|of| ((*of).to_owned(), json!(count(of))))
        .collect()
}

/// The same in lower case and with their total, as lists of jobs have it.
pub(crate) fn counts_with_total(states: impl IntoIterator<Item = ExecutionState>) -> Map<String, Value> {
    let states: Vec<ExecutionState> = states.into_iter().collect();
    let mut all = Map::from_iter([("total".to_owned(), json!(states.len()))]);
    let counts = counts(states).into_iter();
    all.extend(counts.map(|(of, count)| (of.to_lowercase(), count)));
    all
}

/// When a subtask came to each of Flink's states; 0 for those that it has not had.
pub(crate) fn task_timestamps(execution: Option<&Execution>) -> Map<String, Value> {
    let states = [
        ExecutionState::Created,
        ExecutionState::Scheduled,
        ExecutionState::Deploying,
        ExecutionState::Running,
        ExecutionState::Finished,
        ExecutionState::Canceling,
        ExecutionState::Canceled,
        ExecutionState::Failed,
    ];
    let mut times: Map<String, Value> = TASK_STATES.iter().map(|name| ((*name).to_owned(), json!(0))).collect();
    for state in states {
        if let Some(at_ms) = execution.and_then(|execution| execution.since_ms(state)) {
            times.insert(state.to_string(), json!(at_ms));
        }
    }
    times
}

/// When something began and ended, in milliseconds since the epoch; -1 for what has not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) duration_ms: i64,
}

impl Times {
    fn new(start_ms: Option<i64>, end_ms: Option<i64>, now_ms: i64) -> Self {
        let duration = start_ms.map(|start_ms| (end_ms.unwrap_or(now_ms) - start_ms).max(0));
        Self {
            start_ms: start_ms.unwrap_or(-1),
            end_ms: end_ms.unwrap_or(-1),
            duration_ms: duration.unwrap_or(-1),
        }
    }

    /// Of a job.
    pub(crate) fn of_job(job: &JobHandle, now_ms: i64) -> Self {
        Self::new(Some(job.stats.start_time_ms()), job.stats.end_time_ms(), now_ms)
    }

    /// Of subtasks together: from the first deployment to the last end, once all have ended.
    pub(crate) fn of_subtasks<'a>(executions: impl IntoIterator<Item = Option<&'a Execution>>, now_ms: i64) -> Self {
        let all: Vec<Option<&Execution>> = executions.into_iter().collect();
        let start_ms = all.iter().flatten().filter_map(|execution| execution.start_ms()).min();
        let ends: Option<Vec<i64>> = all.iter().map(|execution| (*execution)?.end_ms()).collect();
        let end_ms = ends.and_then(|ends| ends.into_iter().max());
        Self::new(start_ms, end_ms, now_ms)
    }
}

/// When the job came to each of Flink's statuses; 0 for those that it has not had.
pub(crate) fn timestamps(job: &JobHandle) -> Map<String, Value> {
    let times = job.stats.status_times();
    let time = |name: &str| {
        let found = times.iter().find(|(status, _)| status.to_string() == name);
        found.map_or(0, |(_, at_ms)| *at_ms)
    };
    JOB_STATUSES
        .iter()
        .map(|name| ((*name).to_owned(), json!(time(name))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_cluster::JobStatus;

    #[test]
    fn all_states_are_counted_and_names_are_flinks() {
        use ExecutionState::{Canceled, Canceling, Created, Deploying, Failed, Finished, Running, Scheduled};
        let counts = counts_with_total([Running, Running, Canceling]);
        assert_eq!(counts.len(), TASK_STATES.len() + 1);
        assert_eq!(
            (&counts["total"], &counts["canceling"], &counts["running"]),
            (&json!(3), &json!(1), &json!(2))
        );
        for state in [
            Created, Scheduled, Deploying, Running, Finished, Canceling, Canceled, Failed,
        ] {
            assert!(TASK_STATES.contains(&state.to_string().as_str()), "{state}");
        }
        for status in [
            JobStatus::Created,
            JobStatus::Running,
            JobStatus::Cancelling,
            JobStatus::Canceled,
        ] {
            assert!(JOB_STATUSES.contains(&status.to_string().as_str()), "{status}");
        }
    }

    #[test]
    fn what_has_not_come_is_minus_one() {
        let times = Times::new(None, None, 10);
        assert_eq!((times.start_ms, times.end_ms, times.duration_ms), (-1, -1, -1));
        assert_eq!(Times::new(Some(4), None, 10).duration_ms, 6);
        assert_eq!(Times::new(Some(4), Some(5), 10).duration_ms, 1);
    }
}
