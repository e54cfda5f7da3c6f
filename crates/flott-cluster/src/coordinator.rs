//! The checkpoint coordinator: which checkpoint begins when, and when it is complete. Pure: facts in, decisions out.
//!
//! ```text
//!   due ──► Trigger ──► every subtask acknowledges ──► Complete (write the manifest)
//!             │                                            │
//!             └── timeout, failure of a part ──► Abort     └──► Commit sinks ──► Notify
//! ```
//! One checkpoint at a time is in flight, from its trigger until its sinks are committed: so the commits of two
//! checkpoints never overlap, and a transaction id is free again before its turn comes. Savepoints take precedence over periodic checkpoints.

use crate::failure_label::Cause;
use crate::job_state::Failure;
use crate::settings::CheckpointSettings;
use flott_core::CheckpointId;
use flott_runtime::element::AfterBarrier;
use std::collections::BTreeSet;

/// A subtask of the job: vertex and index.
pub type SubtaskId = (usize, usize);

/// What a checkpoint is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointKind {
    /// The interval has passed.
    Periodic,
    /// A user's savepoint: a checkpoint that is copied once it is committed.
    Savepoint {
        /// Which request it answers.
        request: u64,
        /// What sources do behind it.
        then: AfterBarrier,
    },
    /// Sources stop behind it; the job can go on from it later.
    Stop,
    /// The last one of a job whose input is read to the end.
    Final,
    /// Sources stop behind it, and the next attempt goes on from it at another parallelism.
    Rescale,
}

impl CheckpointKind {
    /// Whether a user wants the job to stop behind it.
    pub fn stops(&self) -> bool {
        *self != Self::Rescale && self.then() != AfterBarrier::Continue
    }

    /// What sources do behind its barrier.
    pub fn then(&self) -> AfterBarrier {
        match self {
            Self::Periodic | Self::Final => AfterBarrier::Continue,
            Self::Stop | Self::Rescale => AfterBarrier::Stop,
            Self::Savepoint { then, .. } => *then,
        }
    }

    /// Whether the attempt ends behind it.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Final | Self::Rescale) || self.stops()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Collecting,
    Writing,
    Committing,
}

#[derive(Debug)]
struct InFlight {
    id: CheckpointId,
    kind: CheckpointKind,
    triggered_ms: i64,
    waiting: BTreeSet<SubtaskId>,
    phase: Phase,
}

/// What must be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Send barriers for this checkpoint.
    Trigger {
        /// Number.
        id: CheckpointId,
        /// What for.
        kind: CheckpointKind,
    },
    /// Every part is there: write the manifest.
    Complete(CheckpointId),
    /// The manifest is written: commit the sinks.
    Commit(CheckpointId),
    /// All is done: tell the tasks.
    Notify {
        /// Number.
        id: CheckpointId,
        /// What it was for.
        kind: CheckpointKind,
    },
    /// Give the checkpoint up.
    Abort {
        /// Number.
        id: CheckpointId,
        /// Why.
        failure: Failure,
        /// What it was for.
        kind: CheckpointKind,
        /// Whether more failed than are tolerated.
        job_fails: bool,
    },
}

/// Decides over one attempt of a job.
#[derive(Debug)]
pub struct Coordinator {
    settings: CheckpointSettings,
    subtasks: BTreeSet<SubtaskId>,
    next_id: CheckpointId,
    in_flight: Option<InFlight>,
    wanted: Vec<CheckpointKind>,
    last_trigger_ms: i64,
    last_end_ms: i64,
    failures: u64,
}

impl Coordinator {
    /// A coordinator for an attempt that runs since `now_ms`; the first checkpoint gets the number `next_id`.
    pub fn new(
        settings: CheckpointSettings,
        subtasks: impl IntoIterator<Item = SubtaskId>,
        next_id: CheckpointId,
        now_ms: i64,
    ) -> Self {
        Self {
            settings,
            subtasks: subtasks.into_iter().collect(),
            next_id,
            in_flight: None,
            wanted: vec![],
            last_trigger_ms: now_ms,
            last_end_ms: i64::MIN,
            failures: 0,
        }
    }

    /// The number of the next checkpoint.
    pub fn next_id(&self) -> CheckpointId {
        self.next_id
    }

    /// Asks for a checkpoint apart from the interval. It is triggered as soon as none is in flight.
    pub fn want(&mut self, kind: CheckpointKind) {
        self.wanted.push(kind);
    }

    /// Gives back what was asked for and has not begun.
    pub fn into_wanted(self) -> Vec<CheckpointKind> {
        self.wanted
    }

    /// Whether a checkpoint is in flight or wanted.
    pub fn is_busy(&self) -> bool {
        self.in_flight.is_some() || !self.wanted.is_empty()
    }

    /// What the time asks for.
    pub fn on_time(&mut self, now_ms: i64) -> Option<Decision> {
        if let Some(flight) = &self.in_flight {
            let expired = flight.phase == Phase::Collecting && now_ms - flight.triggered_ms >= self.settings.timeout_ms;
            if expired {
                let missing: Vec<String> = flight.waiting.iter().map(|(v, s)| format!("{v}/{s}")).collect();
                let id = flight.id;
                let reason = format!(
                    "it was not complete after {} ms; missing subtasks (vertex/index): {}. Raise \
                     execution.checkpointing.timeout, or look for back-pressure there",
                    self.settings.timeout_ms,
                    missing.join(", ")
                );
                return self.failed(id, Failure::of(Cause::CheckpointExpired, reason), now_ms);
            }
            return None;
        }
        let kind = if !self.wanted.is_empty() {
            // Whatever ends the attempt goes last.
            let first = self.wanted.iter().position(|k| !k.is_last()).unwrap_or(0);
            self.wanted.remove(first)
        } else {
            let interval = self.settings.interval_ms?;
            let due = now_ms - self.last_trigger_ms >= interval
                && now_ms.saturating_sub(self.last_end_ms) >= self.settings.min_pause_ms;
            if !due {
                return None;
            }
            CheckpointKind::Periodic
        };
        let id = self.next_id;
        self.next_id += 1;
        self.last_trigger_ms = now_ms;
        self.in_flight = Some(InFlight {
            id,
            kind: kind.clone(),
            triggered_ms: now_ms,
            waiting: self.subtasks.clone(),
            phase: Phase::Collecting,
        });
        Some(Decision::Trigger { id, kind })
    }

    /// When [`Coordinator::on_time`] has something to do, in processing time.
    pub fn next_time(&self) -> Option<i64> {
        match &self.in_flight {
            Some(flight) if flight.phase == Phase::Collecting => Some(flight.triggered_ms + self.settings.timeout_ms),
            Some(_) => None,
            None if !self.wanted.is_empty() => Some(i64::MIN),
            None => {
                let after_pause = self.last_end_ms.saturating_add(self.settings.min_pause_ms);
                self.settings
                    .interval_ms
                    .map(|i| (self.last_trigger_ms + i).max(after_pause))
            }
        }
    }

    /// A subtask's part of a checkpoint is durable.
    pub fn on_acknowledged(&mut self, id: CheckpointId, subtask: SubtaskId) -> Option<Decision> {
        let flight = self
            .in_flight
            .as_mut()
            .filter(|f| f.id == id && f.phase == Phase::Collecting)?;
        flight.waiting.remove(&subtask);
        flight.waiting.is_empty().then(|| {
            flight.phase = Phase::Writing;
            Decision::Complete(id)
        })
    }

    /// The manifest exists: the checkpoint is complete.
    pub fn on_written(&mut self, id: CheckpointId) -> Option<Decision> {
        let flight = self
            .in_flight
            .as_mut()
            .filter(|f| f.id == id && f.phase == Phase::Writing)?;
        flight.phase = Phase::Committing;
        self.failures = 0;
        Some(Decision::Commit(id))
    }

    /// The sinks are committed.
    pub fn on_committed(&mut self, id: CheckpointId, now_ms: i64) -> Option<Decision> {
        let flight = self.in_flight.take_if(|f| f.id == id && f.phase == Phase::Committing)?;
        self.last_end_ms = now_ms;
        Some(Decision::Notify { id, kind: flight.kind })
    }

    /// A part could not be captured, written or acknowledged, or the manifest could not be written. What cannot be tried again
    /// (another process leads) fails the job whatever is tolerated.
    pub fn failed(&mut self, id: CheckpointId, failure: Failure, now_ms: i64) -> Option<Decision> {
        let flight = self.in_flight.take_if(|f| f.id == id && f.phase != Phase::Committing)?;
        self.last_end_ms = now_ms;
        self.failures += 1;
        // Behind a last checkpoint nothing runs on: only a restart can bring the job back.
        let job_fails = !failure.retryable
            || flight.kind.is_last()
            || (flight.kind == CheckpointKind::Periodic && self.failures > self.settings.tolerable_failures);
        Some(Decision::Abort {
            id,
            failure,
            kind: flight.kind,
            job_fails,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_core::Options;
    use flott_runtime::FailureLabel;

    fn failure(text: &str, retryable: bool) -> Failure {
        Failure {
            label: FailureLabel::Infrastructure,
            text: text.into(),
            retryable,
        }
    }

    fn coordinator(options: &[(&str, &str)]) -> Coordinator {
        let options: Options = options.iter().copied().collect();
        Coordinator::new(
            CheckpointSettings::from_options(&options).unwrap(),
            [(0, 0), (1, 0)],
            1,
            0,
        )
    }

    const EVERY_100: (&str, &str) = ("execution.checkpointing.interval", "100 ms");

    fn run_through(c: &mut Coordinator, id: CheckpointId, now: i64) -> Decision {
        assert_eq!(c.on_acknowledged(id, (0, 0)), None);
        assert_eq!(c.on_acknowledged(id, (1, 0)), Some(Decision::Complete(id)));
        assert_eq!(c.on_written(id), Some(Decision::Commit(id)));
        c.on_committed(id, now).unwrap()
    }

    #[test]
    fn one_at_a_time_from_trigger_to_commit() {
        let mut c = coordinator(&[EVERY_100]);
        assert_eq!(c.on_time(99), None);
        assert_eq!(
            c.on_time(100),
            Some(Decision::Trigger {
                id: 1,
                kind: CheckpointKind::Periodic
            })
        );
        assert_eq!(c.on_time(500), None);
        assert_eq!(
            run_through(&mut c, 1, 500),
            Decision::Notify {
                id: 1,
                kind: CheckpointKind::Periodic
            }
        );
        assert_eq!(
            c.on_time(500),
            Some(Decision::Trigger {
                id: 2,
                kind: CheckpointKind::Periodic
            })
        );
        assert_eq!(
            c.on_acknowledged(1, (0, 0)),
            None,
            "a late acknowledgement of an old checkpoint changes nothing"
        );
    }

    #[test]
    fn the_pause_counts_from_the_end_of_the_last() {
        let mut c = coordinator(&[EVERY_100, ("execution.checkpointing.min-pause", "1 s")]);
        assert!(c.on_time(100).is_some());
        run_through(&mut c, 1, 150);
        assert_eq!(c.next_time(), Some(1_150));
        assert_eq!(c.on_time(1_149), None);
        assert!(c.on_time(1_150).is_some());
    }

    #[test]
    fn a_timeout_aborts_and_counts_against_the_tolerance() {
        let mut c = coordinator(&[
            EVERY_100,
            ("execution.checkpointing.timeout", "1 s"),
            ("execution.checkpointing.tolerable-failed-checkpoints", "1"),
        ]);
        assert!(c.on_time(100).is_some());
        let Some(Decision::Abort {
            id: 1,
            failure,
            job_fails: false,
            ..
        }) = c.on_time(1_100)
        else {
            panic!()
        };
        assert!(failure.text.contains("0/0, 1/0"), "{}", failure.text);
        assert_eq!(failure.label, FailureLabel::Resources);
        assert!(c.on_time(1_100).is_some());
        assert!(matches!(
            c.on_time(2_100),
            Some(Decision::Abort { job_fails: true, .. })
        ));
    }

    #[test]
    fn savepoints_go_before_the_interval_and_the_last_one_goes_last() {
        let mut c = coordinator(&[]);
        c.want(CheckpointKind::Savepoint {
            request: 1,
            then: AfterBarrier::Drain,
        });
        c.want(CheckpointKind::Savepoint {
            request: 2,
            then: AfterBarrier::Continue,
        });
        assert!(matches!(
            c.on_time(0),
            Some(Decision::Trigger {
                id: 1,
                kind: CheckpointKind::Savepoint { request: 2, .. }
            })
        ));
        run_through(&mut c, 1, 0);
        assert!(matches!(
            c.on_time(0),
            Some(Decision::Trigger {
                id: 2,
                kind: CheckpointKind::Savepoint { request: 1, .. }
            })
        ));
    }

    #[test]
    fn a_checkpoint_whose_manifest_exists_cannot_fail_any_more() {
        let mut c = coordinator(&[EVERY_100]);
        c.on_time(100);
        c.on_acknowledged(1, (0, 0));
        c.on_acknowledged(1, (1, 0));
        c.on_written(1);
        assert_eq!(c.failed(1, failure("late", true), 0), None);
        assert!(c.on_committed(1, 0).is_some());
    }

    #[test]
    fn another_leader_ends_the_job_whatever_is_tolerated() {
        let mut c = coordinator(&[
            EVERY_100,
            ("execution.checkpointing.tolerable-failed-checkpoints", "100"),
        ]);
        c.on_time(100);
        assert!(matches!(
            c.failed(1, failure("fenced", false), 100),
            Some(Decision::Abort {
                job_fails: true,
                failure: Failure { retryable: false, .. },
                ..
            })
        ));
    }
}
