//! What each subtask of a job does, and where ([`Executions`]): the last attempt's, which the next one replaces.
//!
//! ```text
//! CREATED ─► SCHEDULED ─slots─► DEPLOYING ─operators open─► RUNNING ─► FINISHED
//!                 └──────────────────┴────────────┬────────────┘
//!                                                 ├─► CANCELING ─► CANCELED
//!                                                 └─► FAILED
//! ```
//! Flink's INITIALIZING, in which state is read, is part of DEPLOYING here: a TaskManager reports a subtask when it is done with both.

use crate::coordinator::SubtaskId;
use crate::protocol::Peer;
use std::collections::BTreeMap;
use std::fmt;

/// Flink's states of a subtask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutionState {
    /// The attempt is not prepared yet.
    Created,
    /// It waits for a slot.
    Scheduled,
    /// A TaskManager makes its operators and reads their state.
    Deploying,
    /// Its operators are open.
    Running,
    /// It has processed all its input, or was stopped with its state saved.
    Finished,
    /// It was told to end as it is.
    Canceling,
    /// It has.
    Canceled,
    /// It ended with an error, or its TaskManager was lost.
    Failed,
}

impl ExecutionState {
    /// Whether nothing follows in its attempt.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Canceled | Self::Failed)
    }

    /// The state of a vertex whose subtasks have these, by Flink's rule.
    pub fn of_vertex(subtasks: impl IntoIterator<Item = Self>) -> Self {
        let all: Vec<Self> = subtasks.into_iter().collect();
        let has = |state| all.contains(&state);
        let first = [Self::Failed, Self::Canceling, Self::Canceled, Self::Running];
        match first.into_iter().find(|state| has(*state)) {
            Some(state) => state,
            None if !has(Self::Finished) => Self::Created,
            None if all.iter().all(|state| *state == Self::Finished) => Self::Finished,
            None => Self::Running,
        }
    }
}

impl fmt::Display for ExecutionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "CREATED",
            Self::Scheduled => "SCHEDULED",
            Self::Deploying => "DEPLOYING",
            Self::Running => "RUNNING",
            Self::Finished => "FINISHED",
            Self::Canceling => "CANCELING",
            Self::Canceled => "CANCELED",
            Self::Failed => "FAILED",
        })
    }
}

/// One subtask of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// What it does.
    pub state: ExecutionState,
    /// Where it runs, once it is deployed.
    pub at: Option<Peer>,
    /// When it came to each state that it has had, in milliseconds since the epoch.
    times: Vec<(ExecutionState, i64)>,
}

impl Execution {
    fn new(now_ms: i64) -> Self {
        let state = ExecutionState::Created;
        Self {
            state,
            at: None,
            times: vec![(state, now_ms)],
        }
    }

    fn scheduled(now_ms: i64) -> Self {
        let mut execution = Self::new(now_ms);
        execution.turn(ExecutionState::Scheduled, now_ms);
        execution
    }

    /// Turns to a state, unless it has ended.
    fn turn(&mut self, state: ExecutionState, now_ms: i64) {
        if !self.state.is_terminal() && self.state != state {
            self.state = state;
            self.times.push((state, now_ms));
        }
    }

    /// When it came to a state, in milliseconds since the epoch.
    pub fn since_ms(&self, state: ExecutionState) -> Option<i64> {
        let time = self.times.iter().find(|(of, _)| *of == state);
        time.map(|(_, at_ms)| *at_ms)
    }

    /// How long it was in a state, to `now_ms` if it still is, in milliseconds.
    pub fn duration_ms(&self, state: ExecutionState, now_ms: i64) -> Option<i64> {
        let index = self.times.iter().position(|(of, _)| *of == state)?;
        let end_ms = self.times.get(index + 1).map_or(now_ms, |(_, at_ms)| *at_ms);
        Some((end_ms - self.times[index].1).max(0))
    }

    /// When it was deployed, in milliseconds since the epoch.
    pub fn start_ms(&self) -> Option<i64> {
        self.since_ms(ExecutionState::Deploying)
    }

    /// When it ended, in milliseconds since the epoch.
    pub fn end_ms(&self) -> Option<i64> {
        let last = self.times.last().filter(|(state, _)| state.is_terminal());
        last.map(|(_, at_ms)| *at_ms)
    }
}

/// The subtasks of the last attempt.
#[derive(Debug, Clone, Default)]
pub struct Executions {
    /// The attempt, from 1; 0 before the first.
    pub attempt: u64,
    subtasks: BTreeMap<SubtaskId, Execution>,
    /// How many have been deployed, and are not open yet.
    deploying: usize,
}

impl Executions {
    /// A subtask; `None` before the first attempt.
    pub fn get(&self, id: SubtaskId) -> Option<&Execution> {
        self.subtasks.get(&id)
    }

    /// What a subtask does.
    pub fn state(&self, id: SubtaskId) -> ExecutionState {
        self.get(id)
            .map_or(ExecutionState::Created, |execution| execution.state)
    }

    /// Subtasks of a vertex.
    pub fn subtasks_of(&self, vertex: usize) -> usize {
        self.subtasks.keys().filter(|(of, _)| *of == vertex).count()
    }

    /// Subtasks that have not ended.
    pub fn live(&self) -> usize {
        let is_live = |execution: &&Execution| !execution.state.is_terminal();
        self.subtasks.values().filter(is_live).count()
    }

    /// An attempt begins, and its subtasks wait for slots.
    pub(crate) fn scheduled(&mut self, attempt: u64, subtasks: impl IntoIterator<Item = SubtaskId>, now_ms: i64) {
        let scheduled = |id| (id, Execution::scheduled(now_ms));
        self.attempt = attempt;
        self.subtasks = subtasks.into_iter().map(scheduled).collect();
    }

    /// They have slots: `placement` has the index in `peers` of each, by vertex and subtask. It may have more of them, or fewer, than were
    /// scheduled.
    pub(crate) fn deployed(&mut self, placement: &[Vec<usize>], peers: &[Peer], now_ms: i64) {
        let has = |(vertex, subtask): &SubtaskId| placement.get(*vertex).is_some_and(|places| *subtask < places.len());
        self.subtasks.retain(|id, _| has(id));
        for (vertex, places) in placement.iter().enumerate() {
            for subtask in 0..places.len() {
                let id = (vertex, subtask);
                self.subtasks.entry(id).or_insert_with(|| Execution::scheduled(now_ms));
            }
        }
        for ((vertex, subtask), execution) in &mut self.subtasks {
            let index = placement.get(*vertex).and_then(|places| places.get(*subtask));
            execution.at = index.and_then(|index| peers.get(*index)).cloned();
            execution.turn(ExecutionState::Deploying, now_ms);
        }
        self.deploying = self.subtasks.len();
    }

    fn turn(&mut self, id: SubtaskId, state: ExecutionState, now_ms: i64) {
        if let Some(execution) = self.subtasks.get_mut(&id) {
            execution.turn(state, now_ms);
        }
    }

    /// A subtask's operators are open; whether now all are.
    pub(crate) fn running(&mut self, id: SubtaskId, now_ms: i64) -> bool {
        if self.state(id) != ExecutionState::Deploying {
            return false;
        }
        self.turn(id, ExecutionState::Running, now_ms);
        self.deploying -= 1;
        self.deploying == 0
    }

    /// How long each subtask took from its deployment until its operators were open, in milliseconds.
    pub(crate) fn opening_ms(&self) -> Vec<i64> {
        let opening = |execution: &Execution| {
            let running_ms = execution.since_ms(ExecutionState::Running)?;
            execution.duration_ms(ExecutionState::Deploying, running_ms)
        };
        self.subtasks.values().filter_map(opening).collect()
    }

    /// A subtask ended as it was told.
    pub(crate) fn ended(&mut self, id: SubtaskId, now_ms: i64) {
        match self.state(id) {
            ExecutionState::Canceling => self.turn(id, ExecutionState::Canceled, now_ms),
            _ => self.turn(id, ExecutionState::Finished, now_ms),
        }
    }

    /// A subtask failed.
    pub(crate) fn failed(&mut self, id: SubtaskId, now_ms: i64) {
        self.turn(id, ExecutionState::Failed, now_ms);
    }

    /// All that have not ended are told to.
    pub(crate) fn cancelling(&mut self, now_ms: i64) {
        for execution in self.subtasks.values_mut() {
            execution.turn(ExecutionState::Canceling, now_ms);
        }
    }

    /// The job is over, also for those that never came to run.
    pub(crate) fn job_ended(&mut self, now_ms: i64) {
        for execution in self.subtasks.values_mut() {
            execution.turn(ExecutionState::Canceled, now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ExecutionState::{Canceled, Canceling, Created, Deploying, Failed, Finished, Running, Scheduled};

    fn peer(id: &str) -> Peer {
        Peer {
            id: id.into(),
            data_address: format!("{id}:1"),
        }
    }

    /// Two subtasks, deployed at 20 on two TaskManagers.
    fn deployed() -> Executions {
        let mut executions = Executions::default();
        executions.scheduled(1, [(0, 0), (0, 1)], 10);
        executions.deployed(&[vec![1, 0]], &[peer("a"), peer("b")], 20);
        executions
    }

    #[test]
    fn a_subtask_runs_where_it_is_deployed() {
        let mut executions = Executions::default();
        assert_eq!(executions.state((0, 0)), Created);
        executions.scheduled(3, [(0, 0)], 10);
        assert_eq!((executions.state((0, 0)), executions.attempt), (Scheduled, 3));
        let mut executions = deployed();
        let at = |executions: &Executions, index| executions.get((0, index)).unwrap().at.clone().unwrap().id;
        assert_eq!([at(&executions, 0), at(&executions, 1)], ["b", "a"]);
        assert_eq!(executions.state((0, 1)), Deploying);
        assert!(!executions.running((0, 0), 30));
        assert!(executions.running((0, 1), 40));
        executions.ended((0, 0), 70);
        let first = executions.get((0, 0)).unwrap();
        assert_eq!(
            (first.state, first.start_ms(), first.end_ms()),
            (Finished, Some(20), Some(70))
        );
        assert_eq!(first.duration_ms(Running, 99), Some(40));
        assert_eq!(first.duration_ms(Canceled, 99), None);
        let second = executions.get((0, 1)).unwrap();
        assert_eq!((second.duration_ms(Running, 99), second.end_ms()), (Some(59), None));
        assert_eq!(executions.live(), 1);
    }

    #[test]
    fn a_failure_stays_and_the_others_are_cancelled() {
        let mut executions = deployed();
        executions.failed((0, 0), 30);
        executions.cancelling(31);
        assert_eq!(
            [executions.state((0, 0)), executions.state((0, 1))],
            [Failed, Canceling]
        );
        // It comes too late.
        executions.running((0, 1), 32);
        executions.ended((0, 1), 33);
        executions.job_ended(34);
        assert_eq!([executions.state((0, 0)), executions.state((0, 1))], [Failed, Canceled]);
        assert_eq!(executions.get((0, 1)).unwrap().end_ms(), Some(33));
        executions.scheduled(2, [(0, 0), (0, 1)], 40);
        assert_eq!([executions.state((0, 0)), executions.state((0, 1))], [Scheduled; 2]);
    }

    #[test]
    fn a_vertex_has_the_state_that_flink_gives_it() {
        for (subtasks, state) in [
            (vec![Running, Failed, Canceled], Failed),
            (vec![Running, Canceling], Canceling),
            (vec![Finished, Canceled], Canceled),
            (vec![Deploying, Running], Running),
            (vec![Deploying, Scheduled], Created),
            (vec![Finished, Deploying], Running),
            (vec![Finished, Finished], Finished),
            (vec![], Created),
        ] {
            assert_eq!(ExecutionState::of_vertex(subtasks.clone()), state, "{subtasks:?}");
        }
    }
}
