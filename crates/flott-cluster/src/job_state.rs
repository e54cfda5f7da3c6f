//! The life of a job: one place where every event meets every status. Pure: no I/O, no clock.
//!
//! ```text
//! CREATED ─prepare─► RUNNING ─all drained, last checkpoint─► FINISHED
//!    ▲                 │  └─cancel─► CANCELLING ─► CANCELED
//!    │                 └─failure─► FAILING ─tasks ended─┬─► RESTARTING ─delay─┐
//!    └──────────────────────────────────────────────────┼─────────────────────┘
//!                                                       └─► FAILED
//! ```
//! `prepare` (find the checkpoint to start from, settle what its sinks left open) comes before every attempt. Events of
//! an attempt that is over are dropped.
//!
//! A job that is rescaled stays RUNNING: behind the checkpoint that is taken for it the attempt ends, and the next one is prepared at once. What
//! users want meanwhile waits for it.

use crate::coordinator::{CheckpointKind, Coordinator, Decision, SubtaskId};
use crate::failure_label::Cause;
use crate::restart::RestartStrategy;
use crate::settings::CheckpointSettings;
use flott_core::{CheckpointId, JobStatus};
use flott_runtime::FailureLabel;
use std::collections::BTreeSet;

/// Why an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whose business it is.
    pub label: FailureLabel,
    /// The message with its causes.
    pub text: String,
    /// Whether another attempt may help.
    pub retryable: bool,
}

/// What happened. Task and checkpoint events carry the attempt that they belong to.
#[derive(Debug, Clone)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The job may be deployed as these subtasks; the next checkpoint gets this number.
    Prepared(CheckpointId, Vec<SubtaskId>),
    /// It may not.
    PrepareFailed(Failure),
    /// A subtask has processed all its input.
    Drained(SubtaskId),
    /// A subtask's thread has ended.
    Ended(SubtaskId),
    /// A subtask's thread has ended with an error.
    TaskFailed(SubtaskId, Failure),
    /// A TaskManager is gone, and these subtasks with it.
    TaskManagerLost(Vec<SubtaskId>, Failure),
    /// A subtask's state of a checkpoint is durable.
    Acknowledged(CheckpointId, SubtaskId),
    /// A part of a checkpoint failed.
    CheckpointFailed(CheckpointId, Failure),
    /// A checkpoint's manifest exists.
    Written(CheckpointId),
    /// A checkpoint's sinks are committed.
    Committed(CheckpointId),
    /// They could not be.
    CommitFailed(Failure),
    /// Nobody looks for new splits any more.
    DiscoveryFailed(Failure),
    /// A user cancels.
    Cancel,
    /// A user wants a checkpoint.
    Want(CheckpointKind),
}

/// What must be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Find the checkpoint to start from and settle its sinks, for this attempt.
    Prepare(u64),
    /// Start all tasks of this attempt.
    Deploy(u64),
    /// Send barriers.
    Trigger(CheckpointId, CheckpointKind),
    /// Write the manifest of a complete checkpoint.
    Write(CheckpointId),
    /// Commit the sinks of a written checkpoint.
    Commit(CheckpointId),
    /// Tell all tasks that a checkpoint is complete, and drop older ones.
    Notify(CheckpointId, CheckpointKind),
    /// Forget a checkpoint's parts; say why.
    Abort(CheckpointId, CheckpointKind, String),
    /// Tell all tasks to end as they are.
    CancelTasks,
    /// Tell all tasks to end: everything is committed.
    FinishTasks,
    /// Say that another attempt follows, after so many milliseconds.
    Restarting(Failure, i64),
    /// The job has come to this status.
    Status(JobStatus),
}

/// One job, over all its attempts.
#[derive(Debug)]
pub struct JobMachine {
    settings: CheckpointSettings,
    strategy: RestartStrategy,
    subtasks: Vec<SubtaskId>,
    status: JobStatus,
    attempt: u64,
    live: BTreeSet<SubtaskId>,
    drained: BTreeSet<SubtaskId>,
    /// While an attempt runs that takes checkpoints.
    coordinator: Option<Coordinator>,
    /// What is wanted of the next attempt, since a running one takes no more.
    later: Vec<CheckpointKind>,
    last_done: bool,
    /// Whether another attempt follows the last checkpoint of this one.
    rescales: bool,
    /// Whether a user wants it to stop: it is not started again then, whatever fails before it has stopped.
    stopping: bool,
    failure: Option<Failure>,
    restart_at_ms: Option<i64>,
    preparing: bool,
    /// Whether the attempt failed because a TaskManager was lost.
    is_process_lost: bool,
    /// When the attempt was deployed.
    deployed_ms: i64,
}

impl JobMachine {
    /// A job of these subtasks, and the effects that start it.
    pub fn start(
        settings: CheckpointSettings,
        strategy: RestartStrategy,
        subtasks: Vec<SubtaskId>,
    ) -> (Self, Vec<Effect>) {
        let machine = Self {
            settings,
            strategy,
            subtasks,
            status: JobStatus::Created,
            attempt: 1,
            live: BTreeSet::new(),
            drained: BTreeSet::new(),
            coordinator: None,
            later: vec![],
            last_done: false,
            rescales: false,
            stopping: false,
            failure: None,
            restart_at_ms: None,
            preparing: true,
            is_process_lost: false,
            deployed_ms: 0,
        };
        (machine, vec![Effect::Status(JobStatus::Created), Effect::Prepare(1)])
    }

    /// A job that has run under another leader, and starts again: what cannot be prepared is up to its restart strategy, as for any restart.
    pub fn start_again(
        settings: CheckpointSettings,
        strategy: RestartStrategy,
        subtasks: Vec<SubtaskId>,
    ) -> (Self, Vec<Effect>) {
        let (mut machine, _) = Self::start(settings, strategy, subtasks);
        machine.status = JobStatus::Restarting;
        (machine, vec![Effect::Status(JobStatus::Restarting), Effect::Prepare(1)])
    }

    /// A job whose `attempt` runs since an earlier JobManager's time, and the effects that go on with it; its next checkpoint gets the
    /// number `next_id`.
    pub fn adopt(
        settings: CheckpointSettings,
        strategy: RestartStrategy,
        subtasks: Vec<SubtaskId>,
        attempt: u64,
        next_id: CheckpointId,
        now_ms: i64,
    ) -> (Self, Vec<Effect>) {
        let (mut machine, _) = Self::start(settings, strategy, subtasks);
        machine.attempt = attempt;
        machine.run(next_id, now_ms);
        machine.status = JobStatus::Running;
        (machine, vec![Effect::Status(JobStatus::Running)])
    }

    /// All subtasks live from now on.
    fn run(&mut self, next_id: CheckpointId, now_ms: i64) {
        self.preparing = false;
        self.is_process_lost = false;
        self.deployed_ms = now_ms;
        self.live = self.subtasks.iter().copied().collect();
        self.drained.clear();
        self.last_done = false;
        self.rescales = false;
        let subtasks = self.subtasks.iter().copied();
        let mut coordinator = Coordinator::new(self.settings.clone(), subtasks, next_id, now_ms);
        self.later.drain(..).for_each(|kind| coordinator.want(kind));
        self.coordinator = Some(coordinator);
    }

    /// The status.
    pub fn status(&self) -> JobStatus {
        self.status
    }

    /// The attempt that runs or is prepared, from 1.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// The failure that ended the job or its last attempt.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Whether an attempt runs that takes checkpoints, none of which was its last.
    pub fn takes_checkpoints(&self) -> bool {
        self.status == JobStatus::Running && self.coordinator.is_some()
    }

    /// When [`Event::Tick`] has something to do, in processing time.
    pub fn next_time(&self) -> Option<i64> {
        match self.status {
            JobStatus::Running => self.coordinator.as_ref().and_then(Coordinator::next_time),
            JobStatus::Restarting => self.restart_at_ms,
            _ => None,
        }
    }

    /// Takes an event of `attempt` at `now_ms`.
    pub fn handle(&mut self, now_ms: i64, attempt: u64, event: Event) -> Vec<Effect> {
        let mut effects = vec![];
        let of_user = matches!(event, Event::Tick | Event::Cancel | Event::Want(_));
        if !of_user && attempt != self.attempt {
            return effects;
        }
        use JobStatus::{Cancelling, Created, Failing, Restarting, Running};
        match (self.status, event) {
            (status, _) if status.is_globally_terminal_state() => {}

            (status @ (Created | Restarting | Running), Event::Prepared(next_id, subtasks)) if self.preparing => {
                self.subtasks = subtasks;
                self.run(next_id, now_ms);
                effects.push(Effect::Deploy(self.attempt));
                if status != Running {
                    self.turn(Running, &mut effects);
                }
            }
            // What cannot even be prepared at the first start (no broker, no topic, no rights) is told at once.
            (Created, Event::PrepareFailed(failure)) => {
                self.failure = Some(failure);
                self.turn(JobStatus::Failed, &mut effects);
            }
            (Restarting | Running, Event::PrepareFailed(failure)) if self.preparing => {
                self.preparing = false;
                self.failure = Some(failure);
                self.after_failure(now_ms, &mut effects);
            }
            (Restarting, Event::Tick) => {
                if self.restart_at_ms.is_some_and(|t| t <= now_ms) {
                    self.restart_at_ms = None;
                    self.attempt += 1;
                    self.preparing = true;
                    effects.push(Effect::Prepare(self.attempt));
                }
            }

            (Running, Event::Drained(subtask)) => {
                self.drained.insert(subtask);
                if self.drained.len() == self.subtasks.len() && !self.last_done {
                    self.want(CheckpointKind::Final, now_ms, &mut effects);
                }
            }
            (Running, Event::Want(kind)) => {
                self.stopping |= kind == CheckpointKind::Stop;
                match self.coordinator {
                    Some(_) => self.want(kind, now_ms, &mut effects),
                    None => self.later.push(kind),
                }
            }
            (Running, Event::Tick) => self.decide(now_ms, |c| c.on_time(now_ms), &mut effects),
            (Running, Event::Acknowledged(id, subtask)) => {
                self.decide(now_ms, |c| c.on_acknowledged(id, subtask), &mut effects);
            }
            (Running, Event::CheckpointFailed(id, failure)) => {
                self.decide(now_ms, |c| c.failed(id, failure, now_ms), &mut effects);
            }
            (Running, Event::Written(id)) => self.decide(now_ms, |c| c.on_written(id), &mut effects),
            (Running, Event::Committed(id)) => self.decide(now_ms, |c| c.on_committed(id, now_ms), &mut effects),
            (Running, Event::CommitFailed(failure) | Event::DiscoveryFailed(failure)) => {
                self.fail(failure, &mut effects)
            }
            // All is committed, and nothing comes any more: what fails now fails no one.
            (Running, Event::TaskFailed(subtask, failure)) if self.last_done => {
                tracing::warn!(cause = failure.text, "a task failed behind the last checkpoint");
                self.live.remove(&subtask);
                self.when_all_ended(now_ms, &mut effects);
            }
            (Running, Event::TaskFailed(subtask, failure)) => {
                self.live.remove(&subtask);
                self.fail(failure, &mut effects);
                self.when_all_ended(now_ms, &mut effects);
            }
            (Running | Failing | Cancelling, Event::Ended(subtask)) => {
                self.live.remove(&subtask);
                self.when_all_ended(now_ms, &mut effects);
            }
            (Failing | Cancelling, Event::TaskFailed(subtask, _)) => {
                self.live.remove(&subtask);
                self.when_all_ended(now_ms, &mut effects);
            }
            (status @ (Running | Failing | Cancelling), Event::TaskManagerLost(subtasks, failure)) => {
                let is_missed = self.live.iter().any(|id| subtasks.contains(id));
                self.live.retain(|id| !subtasks.contains(id));
                // Its peers may have noticed first, and failed.
                self.is_process_lost |= is_missed;
                if status == Running && is_missed {
                    match self.last_done {
                        true => tracing::warn!(cause = failure.text, "lost behind the last checkpoint"),
                        false => self.fail(failure, &mut effects),
                    }
                }
                self.when_all_ended(now_ms, &mut effects);
            }

            (Running | Failing, Event::Cancel) => {
                self.turn(Cancelling, &mut effects);
                effects.push(Effect::CancelTasks);
                self.when_all_ended(now_ms, &mut effects);
            }
            // The last checkpoint that it asks for is the one from which the job would have been started again, if it would.
            (Failing, Event::Want(kind)) if kind.stops() => self.stopping = true,
            // Nothing runs yet, or any more: there is nothing to wait for.
            (Created | Restarting, Event::Cancel) => self.turn(JobStatus::Canceled, &mut effects),
            (Created | Restarting, Event::Want(kind)) if kind.stops() => self.turn(JobStatus::Canceled, &mut effects),

            // What an ending attempt still does, or what comes too early, changes nothing.
            (
                Created | Restarting | Failing | Cancelling,
                Event::Tick
                | Event::Want(_)
                | Event::Drained(_)
                | Event::Acknowledged(..)
                | Event::CheckpointFailed(..)
                | Event::Written(_)
                | Event::Committed(_)
                | Event::CommitFailed(_)
                | Event::DiscoveryFailed(_)
                | Event::TaskManagerLost(..)
                | Event::Cancel,
            ) => {}
            (status, event) => tracing::error!(%status, ?event, "an event that cannot be in this status was dropped"),
        }
        effects
    }

    fn turn(&mut self, status: JobStatus, effects: &mut Vec<Effect>) {
        self.status = status;
        effects.push(Effect::Status(status));
    }

    fn want(&mut self, kind: CheckpointKind, now_ms: i64, effects: &mut Vec<Effect>) {
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.want(kind);
        }
        self.decide(now_ms, |c| c.on_time(now_ms), effects);
    }

    fn decide(
        &mut self,
        now_ms: i64,
        ask: impl FnOnce(&mut Coordinator) -> Option<Decision>,
        effects: &mut Vec<Effect>,
    ) {
        let mut decision = self.coordinator.as_mut().and_then(ask);
        // The end of one checkpoint may be the time of the next.
        while let Some(taken) = decision.take() {
            let goes_on = self.carry_out(taken, effects);
            decision = self
                .coordinator
                .as_mut()
                .filter(|_| goes_on)
                .and_then(|c| c.on_time(now_ms));
        }
    }

    /// Turns a decision into effects; `true` if the coordinator is free again and the job goes on.
    fn carry_out(&mut self, decision: Decision, effects: &mut Vec<Effect>) -> bool {
        match decision {
            Decision::Trigger { id, kind } => effects.push(Effect::Trigger(id, kind)),
            Decision::Complete(id) => effects.push(Effect::Write(id)),
            Decision::Commit(id) => effects.push(Effect::Commit(id)),
            Decision::Notify { id, kind } => {
                let last = kind.is_last();
                self.rescales = kind == CheckpointKind::Rescale;
                effects.push(Effect::Notify(id, kind));
                if !last {
                    return true;
                }
                self.last_done = true;
                self.later = self
                    .coordinator
                    .take()
                    .map(Coordinator::into_wanted)
                    .unwrap_or_default();
                // The next attempt finds out anew whether there is anything left to read.
                self.later.retain(|kind| *kind != CheckpointKind::Final);
                effects.push(Effect::FinishTasks);
            }
            Decision::Abort {
                id,
                failure,
                kind,
                job_fails,
            } => {
                effects.push(Effect::Abort(id, kind, failure.text.clone()));
                if !job_fails {
                    return true;
                }
                let text = format!("checkpoint {id} failed: {}", failure.text);
                self.fail(Failure { text, ..failure }, effects);
            }
        }
        false
    }

    fn fail(&mut self, failure: Failure, effects: &mut Vec<Effect>) {
        self.failure = Some(failure);
        self.turn(JobStatus::Failing, effects);
        effects.push(Effect::CancelTasks);
    }

    fn when_all_ended(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        if !self.live.is_empty() {
            return;
        }
        self.coordinator = None;
        match self.status {
            JobStatus::Running if self.last_done && self.rescales => {
                self.attempt += 1;
                self.preparing = true;
                effects.push(Effect::Prepare(self.attempt));
            }
            JobStatus::Running if self.last_done => self.turn(JobStatus::Finished, effects),
            JobStatus::Cancelling => self.turn(JobStatus::Canceled, effects),
            JobStatus::Failing => self.after_failure(now_ms, effects),
            _ => {
                let text = "all tasks ended before the last checkpoint".to_owned();
                self.failure = Some(Failure::of(Cause::EndedEarly, text));
                self.after_failure(now_ms, effects);
            }
        }
    }

    fn after_failure(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        self.later.clear();
        let retry = self.failure.clone().filter(|f| f.retryable);
        match retry.and_then(|f| Some((f, self.strategy.on_failure(now_ms)?))) {
            Some(_) if self.stopping => {
                self.turn(JobStatus::Cancelling, effects);
                self.turn(JobStatus::Canceled, effects);
            }
            Some((failure, delay_ms)) => {
                // Nothing is to be waited for where a process was lost; unless it is lost again and again.
                let has_run_ms = now_ms - self.deployed_ms;
                let is_process_lost = std::mem::take(&mut self.is_process_lost);
                let delay_ms = match is_process_lost && has_run_ms >= delay_ms {
                    true => 0,
                    false => delay_ms,
                };
                self.restart_at_ms = Some(now_ms + delay_ms);
                effects.push(Effect::Restarting(failure, delay_ms));
                self.turn(JobStatus::Restarting, effects);
            }
            None => self.turn(JobStatus::Failed, effects),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_core::Options;
    use flott_runtime::element::AfterBarrier;

    fn machine(options: &[(&str, &str)]) -> JobMachine {
        let options: Options = options.iter().copied().collect();
        let settings = CheckpointSettings::from_options(&options).unwrap();
        let strategy = RestartStrategy::from_options(&options, settings.interval_ms.is_some()).unwrap();
        let (mut m, effects) = JobMachine::start(settings, strategy, vec![(0, 0), (0, 1)]);
        assert_eq!(effects, [Effect::Status(JobStatus::Created), Effect::Prepare(1)]);
        let effects = m.handle(0, 1, prepared(1));
        assert_eq!(effects, [Effect::Deploy(1), Effect::Status(JobStatus::Running)]);
        m
    }

    fn prepared(next_id: CheckpointId) -> Event {
        Event::Prepared(next_id, vec![(0, 0), (0, 1)])
    }

    const EVERY_100: (&str, &str) = ("execution.checkpointing.interval", "100 ms");

    fn failure(retryable: bool) -> Failure {
        Failure {
            label: FailureLabel::User,
            text: "boom".into(),
            retryable,
        }
    }

    #[test]
    fn a_bounded_job_finishes_behind_its_last_checkpoint() {
        let mut m = machine(&[]);
        assert!(m.handle(1, 1, Event::Drained((0, 0))).is_empty());
        assert_eq!(
            m.handle(2, 1, Event::Drained((0, 1))),
            [Effect::Trigger(1, CheckpointKind::Final)]
        );
        m.handle(3, 1, Event::Acknowledged(1, (0, 0)));
        assert_eq!(m.handle(3, 1, Event::Acknowledged(1, (0, 1))), [Effect::Write(1)]);
        assert_eq!(m.handle(4, 1, Event::Written(1)), [Effect::Commit(1)]);
        let effects = m.handle(5, 1, Event::Committed(1));
        assert_eq!(effects, [Effect::Notify(1, CheckpointKind::Final), Effect::FinishTasks]);
        m.handle(6, 1, Event::Ended((0, 0)));
        assert_eq!(
            m.handle(6, 1, Event::Ended((0, 1))),
            [Effect::Status(JobStatus::Finished)]
        );
    }

    #[test]
    fn an_adopted_attempt_goes_on_and_fails_as_its_own() {
        let options: Options = [EVERY_100].into_iter().collect();
        let settings = CheckpointSettings::from_options(&options).unwrap();
        let strategy = RestartStrategy::from_options(&options, true).unwrap();
        let (mut m, effects) = JobMachine::adopt(settings, strategy, vec![(0, 0)], 4, 9, 1_000);
        assert_eq!(effects, [Effect::Status(JobStatus::Running)]);
        assert_eq!(
            m.handle(1_100, 4, Event::Tick),
            [Effect::Trigger(9, CheckpointKind::Periodic)]
        );
        assert!(m.handle(1_101, 3, Event::TaskFailed((0, 0), failure(true))).is_empty());
        let effects = m.handle(1_102, 4, Event::TaskFailed((0, 0), failure(true)));
        assert!(effects.contains(&Effect::Status(JobStatus::Restarting)), "{effects:?}");
        assert_eq!(m.handle(2_102, 4, Event::Tick), [Effect::Prepare(5)]);
    }

    #[test]
    fn a_job_that_was_taken_over_waits_for_what_it_needs() {
        let options: Options = [EVERY_100].into_iter().collect();
        let settings = CheckpointSettings::from_options(&options).unwrap();
        let strategy = RestartStrategy::from_options(&options, true).unwrap();
        let (mut m, effects) = JobMachine::start_again(settings, strategy, vec![(0, 0)]);
        assert_eq!(effects, [Effect::Status(JobStatus::Restarting), Effect::Prepare(1)]);
        m.handle(10, 1, Event::PrepareFailed(failure(true)));
        assert_eq!(m.handle(1_010, 1, Event::Tick), [Effect::Prepare(2)]);
        let effects = m.handle(1_020, 2, prepared(7));
        assert_eq!(effects, [Effect::Deploy(2), Effect::Status(JobStatus::Running)]);
    }

    #[test]
    fn a_lost_process_costs_no_delay_once() {
        let mut m = machine(&[EVERY_100]);
        let all = vec![(0, 0), (0, 1)];
        let effects = m.handle(5_000, 1, Event::TaskManagerLost(all.clone(), failure(true)));
        let restarting = |delay_ms| Effect::Restarting(failure(true), delay_ms);
        assert_eq!(effects[2..], [restarting(0), Effect::Status(JobStatus::Restarting)]);
        assert_eq!(m.handle(5_000, 1, Event::Tick), [Effect::Prepare(2)]);
        // What cannot be prepared then waits as ever.
        let effects = m.handle(5_100, 2, Event::PrepareFailed(failure(true)));
        assert_eq!(effects, [restarting(1_500), Effect::Status(JobStatus::Restarting)]);
        assert_eq!(m.handle(6_600, 2, Event::Tick), [Effect::Prepare(3)]);
        m.handle(6_700, 3, prepared(1));
        // Lost again at once: it may be the job that ends its processes.
        let effects = m.handle(6_800, 3, Event::TaskManagerLost(all, failure(true)));
        assert_eq!(effects[2..], [restarting(2_250), Effect::Status(JobStatus::Restarting)]);
    }

    #[test]
    fn a_failure_ends_the_other_tasks_and_starts_the_next_attempt_after_the_delay() {
        let mut m = machine(&[EVERY_100]);
        let effects = m.handle(10, 1, Event::TaskFailed((0, 0), failure(true)));
        assert_eq!(effects, [Effect::Status(JobStatus::Failing), Effect::CancelTasks]);
        let effects = m.handle(20, 1, Event::Ended((0, 1)));
        assert_eq!(
            effects,
            [
                Effect::Restarting(failure(true), 1_000),
                Effect::Status(JobStatus::Restarting)
            ]
        );
        assert!(m.handle(1_019, 1, Event::Tick).is_empty());
        assert_eq!(m.handle(1_020, 1, Event::Tick), [Effect::Prepare(2)]);
        assert!(
            m.handle(1_021, 1, prepared(9)).is_empty(),
            "an answer of the old attempt is dropped"
        );
        assert_eq!(
            m.handle(1_022, 2, prepared(5)),
            [Effect::Deploy(2), Effect::Status(JobStatus::Running)]
        );
        assert_eq!(
            m.handle(1_122, 2, Event::Tick),
            [Effect::Trigger(5, CheckpointKind::Periodic)]
        );
    }

    /// Takes checkpoint `id` through its walk.
    fn complete(m: &mut JobMachine, now_ms: i64, id: CheckpointId) -> Vec<Effect> {
        let attempt = m.attempt();
        for subtask in [(0, 0), (0, 1)] {
            m.handle(now_ms, attempt, Event::Acknowledged(id, subtask));
        }
        m.handle(now_ms, attempt, Event::Written(id));
        m.handle(now_ms, attempt, Event::Committed(id))
    }

    /// A job whose tasks are about to end for the next attempt.
    fn rescaling() -> JobMachine {
        let mut m = machine(&[EVERY_100]);
        let effects = m.handle(10, 1, Event::Want(CheckpointKind::Rescale));
        assert_eq!(effects, [Effect::Trigger(1, CheckpointKind::Rescale)]);
        let effects = complete(&mut m, 11, 1);
        assert_eq!(
            effects,
            [Effect::Notify(1, CheckpointKind::Rescale), Effect::FinishTasks]
        );
        m
    }

    #[test]
    fn a_rescaled_job_goes_on_as_other_subtasks_and_runs_all_the_time() {
        let mut m = rescaling();
        let savepoint = CheckpointKind::Savepoint {
            request: 1,
            then: AfterBarrier::Continue,
        };
        assert!(m.handle(12, 1, Event::Want(savepoint.clone())).is_empty());
        assert!(
            m.handle(500, 1, Event::Tick).is_empty(),
            "nobody would take the checkpoint"
        );
        m.handle(500, 1, Event::Ended((0, 0)));
        assert_eq!(m.handle(501, 1, Event::Ended((0, 1))), [Effect::Prepare(2)]);
        assert!(m.handle(502, 2, Event::Tick).is_empty());
        let effects = m.handle(503, 2, Event::Prepared(2, vec![(0, 0)]));
        assert_eq!(effects, [Effect::Deploy(2)]);
        assert_eq!(m.status(), JobStatus::Running);
        assert_eq!(m.handle(503, 2, Event::Tick), [Effect::Trigger(2, savepoint)]);
        assert_eq!(m.handle(504, 2, Event::Acknowledged(2, (0, 0))), [Effect::Write(2)]);
    }

    #[test]
    fn what_goes_wrong_between_the_attempts_of_a_rescaled_job_starts_it_again() {
        let mut m = rescaling();
        m.handle(20, 1, Event::TaskFailed((0, 0), failure(true)));
        assert_eq!(m.handle(20, 1, Event::Ended((0, 1))), [Effect::Prepare(2)]);
        let effects = m.handle(30, 2, Event::PrepareFailed(failure(true)));
        assert!(effects.contains(&Effect::Status(JobStatus::Restarting)), "{effects:?}");
        let mut m = machine(&[EVERY_100]);
        m.handle(10, 1, Event::Want(CheckpointKind::Rescale));
        let effects = m.handle(11, 1, Event::CheckpointFailed(1, failure(true)));
        assert!(effects.contains(&Effect::Status(JobStatus::Failing)), "{effects:?}");
    }

    #[test]
    fn a_job_is_cancelled_between_the_attempts_of_its_rescaling() {
        let mut m = rescaling();
        for subtask in [(0, 0), (0, 1)] {
            m.handle(12, 1, Event::Ended(subtask));
        }
        let effects = m.handle(13, 2, Event::Cancel);
        assert_eq!(effects.last(), Some(&Effect::Status(JobStatus::Canceled)));
    }

    #[test]
    fn a_job_that_shall_stop_does_not_start_again() {
        let mut m = machine(&[EVERY_100]);
        let effects = m.handle(10, 1, Event::Want(CheckpointKind::Stop));
        assert_eq!(effects, [Effect::Trigger(1, CheckpointKind::Stop)]);
        let effects = m.handle(11, 1, Event::TaskFailed((0, 0), failure(true)));
        assert_eq!(effects, [Effect::Status(JobStatus::Failing), Effect::CancelTasks]);
        let effects = m.handle(12, 1, Event::Ended((0, 1)));
        assert_eq!(effects, STOPPED);
    }

    const STOPPED: [Effect; 2] = [
        Effect::Status(JobStatus::Cancelling),
        Effect::Status(JobStatus::Canceled),
    ];

    #[test]
    fn a_stop_hides_no_failure_behind_which_nothing_would_start_again() {
        let stop = Event::Want(CheckpointKind::Stop);
        let fails = |retryable| Event::TaskFailed((0, 0), failure(retryable));
        for (retryable, ended) in [
            (true, STOPPED.to_vec()),
            (false, vec![Effect::Status(JobStatus::Failed)]),
        ] {
            for events in [[stop.clone(), fails(retryable)], [fails(retryable), stop.clone()]] {
                let mut m = machine(&[EVERY_100]);
                for event in events {
                    m.handle(10, 1, event);
                }
                assert_eq!(m.handle(11, 1, Event::Ended((0, 1))), ended);
            }
        }
    }

    #[test]
    fn what_fails_behind_the_last_checkpoint_changes_nothing() {
        for kind in [
            CheckpointKind::Stop,
            CheckpointKind::Savepoint {
                request: 1,
                then: AfterBarrier::Stop,
            },
        ] {
            let mut m = machine(&[EVERY_100]);
            m.handle(10, 1, Event::Want(kind));
            for subtask in [(0, 0), (0, 1)] {
                m.handle(11, 1, Event::Acknowledged(1, subtask));
            }
            m.handle(12, 1, Event::Written(1));
            assert!(m.handle(13, 1, Event::Committed(1)).contains(&Effect::FinishTasks));
            assert!(m.handle(14, 1, Event::TaskFailed((0, 0), failure(true))).is_empty());
            let effects = m.handle(15, 1, Event::Ended((0, 1)));
            assert_eq!(effects, [Effect::Status(JobStatus::Finished)]);
        }
    }

    #[test]
    fn what_cannot_be_retried_fails_the_job_at_once() {
        let mut m = machine(&[EVERY_100]);
        m.handle(10, 1, Event::TaskFailed((0, 0), failure(false)));
        assert_eq!(
            m.handle(11, 1, Event::Ended((0, 1))),
            [Effect::Status(JobStatus::Failed)]
        );
        assert_eq!(m.failure(), Some(&failure(false)));
    }

    #[test]
    fn a_job_that_cannot_be_prepared_at_its_first_start_fails_and_one_that_waits_is_stopped_at_once() {
        let options: Options = [EVERY_100].into_iter().collect();
        let start = || {
            let settings = CheckpointSettings::from_options(&options).unwrap();
            let strategy = RestartStrategy::from_options(&options, true).unwrap();
            JobMachine::start(settings, strategy, vec![(0, 0)]).0
        };
        let effects = start().handle(1, 1, Event::PrepareFailed(failure(true)));
        assert_eq!(effects, [Effect::Status(JobStatus::Failed)]);
        let mut m = start();
        assert_eq!(
            m.handle(1, 1, Event::Want(CheckpointKind::Stop)),
            [Effect::Status(JobStatus::Canceled)]
        );
        assert!(
            m.handle(2, 1, prepared(1)).is_empty(),
            "what was prepared too late is dropped"
        );
    }

    #[test]
    fn cancel_waits_for_the_tasks() {
        let mut m = machine(&[]);
        assert_eq!(
            m.handle(1, 0, Event::Cancel),
            [Effect::Status(JobStatus::Cancelling), Effect::CancelTasks]
        );
        m.handle(2, 1, Event::Ended((0, 0)));
        assert_eq!(
            m.handle(2, 1, Event::Ended((0, 1))),
            [Effect::Status(JobStatus::Canceled)]
        );
    }

    #[test]
    fn every_event_in_every_order_ends_in_a_legal_status() {
        // A seeded walk over all events: the machine must never start two attempts at once nor leave a terminal status.
        for seed in 0..300u64 {
            let mut m = machine(&[
                EVERY_100,
                ("restart-strategy.exponential-delay.initial-backoff", "1 ms"),
            ]);
            let (mut rng, mut now, mut running) = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, 0, true);
            for _ in 0..200 {
                rng ^= rng << 13;
                rng ^= rng >> 7;
                rng ^= rng << 17;
                now += (rng % 60) as i64;
                let (subtask, id) = ((0, (rng >> 8) as usize % 2), 1 + (rng >> 16) % 5);
                let event = match (rng >> 32) % 13 {
                    0 => prepared(id),
                    12 => Event::Want(CheckpointKind::Rescale),
                    1 => Event::Drained(subtask),
                    2 => Event::Ended(subtask),
                    3 => Event::TaskFailed(subtask, failure(rng % 10 != 0)),
                    4 | 5 => Event::Acknowledged(id, subtask),
                    6 => Event::CheckpointFailed(id, failure(true)),
                    7 => Event::Written(id),
                    8 => Event::Committed(id),
                    9 if rng % 50 == 0 => Event::Cancel,
                    10 => Event::Want(CheckpointKind::Stop),
                    _ => Event::Tick,
                };
                let terminal = m.status().is_globally_terminal_state();
                for effect in m.handle(now, m.attempt(), event) {
                    assert!(!terminal, "a terminal job has effects");
                    match effect {
                        Effect::Deploy(_) => {
                            assert!(!running);
                            running = true;
                        }
                        Effect::Restarting(..) | Effect::Prepare(_) => running = false,
                        _ => {}
                    }
                }
            }
        }
    }
}
