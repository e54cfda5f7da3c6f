//! Statuses of tasks as Flink names them, and how many tasks have which.
//!
//! What each subtask does is not tracked yet: all have the state that follows from the status of their job ([`of_job`]).

use flott_cluster::{JobHandle, JobStatus};
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

/// The state of the tasks of a job of this status.
pub(crate) fn of_job(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Created | JobStatus::Restarting => "CREATED",
        JobStatus::Running => "RUNNING",
        JobStatus::Failing | JobStatus::Cancelling => "CANCELING",
        JobStatus::Canceled => "CANCELED",
        JobStatus::Finished => "FINISHED",
        JobStatus::Failed => "FAILED",
    }
}

/// How many of `tasks` in the same `state` are in which state: all but one are 0.
pub(crate) fn counts(state: &str, tasks: usize) -> Map<String, Value> {
    let count = |of: &str| if of == state { tasks } else { 0 };
    TASK_STATES
        .iter()
        .map(|of| ((*of).to_owned(), json!(count(of))))
        .collect()
}

/// The same in lower case and with their total, as lists of jobs have it.
pub(crate) fn counts_with_total(state: &str, tasks: usize) -> Map<String, Value> {
    let mut all = Map::from_iter([("total".to_owned(), json!(tasks))]);
    let states = counts(state, tasks).into_iter();
    all.extend(states.map(|(of, count)| (of.to_lowercase(), count)));
    all
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

    /// Of the tasks of a job: they begin when the job runs.
    pub(crate) fn of_tasks(job: &JobHandle, now_ms: i64) -> Self {
        let times = job.stats.status_times();
        let running = times.iter().find(|(status, _)| *status == JobStatus::Running);
        let start_ms = running.map(|(_, at_ms)| *at_ms);
        Self::new(start_ms, start_ms.and(job.stats.end_time_ms()), now_ms)
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

    #[test]
    fn all_states_are_counted_and_names_are_flinks() {
        let counts = counts_with_total(of_job(JobStatus::Cancelling), 3);
        assert_eq!(counts.len(), TASK_STATES.len() + 1);
        assert_eq!(
            (&counts["total"], &counts["canceling"], &counts["running"]),
            (&json!(3), &json!(3), &json!(0))
        );
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
