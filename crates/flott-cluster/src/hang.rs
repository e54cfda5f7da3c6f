//! Calls of user code that do not return: when they are told of ([`Hangs`]), and what becomes of a task that is told to end and is in one
//! ([`HangSettings`]).
//!
//! A task's thread notes when it goes into an operator and when it comes out ([`flott_runtime::call`]). Who is in one call for longer than
//! `liveness.task-timeout` hangs: it waits, loops or blocks itself. One that is slow goes in and out. Nothing is done to it: it may still
//! return. Only where it was told to end, and does not in `task.cancellation.timeout`, it is given up, with its process, as in Flink.

use crate::coordinator::SubtaskId;
use flott_core::Options;
use flott_core::options::OptionError;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one call may take before it is said to hang; 10 s.
const HANGS_AFTER: &str = "liveness.task-timeout";
/// As in Flink: how long a task may take to end that is told to, 180 s; 0: as long as it likes.
const CANCELLATION_TIMEOUT: &str = "task.cancellation.timeout";
/// As in Flink: how often it is said that it has not ended; 30 s.
const CANCELLATION_INTERVAL: &str = "task.cancellation.interval";

/// How much patience a job has with its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HangSettings {
    /// `liveness.task-timeout`
    pub hangs_after: Duration,
    /// `task.cancellation.timeout`; none if it is 0.
    pub cancellation_timeout: Option<Duration>,
    /// `task.cancellation.interval`
    pub cancellation_interval: Duration,
}

impl Default for HangSettings {
    fn default() -> Self {
        Self {
            hangs_after: Duration::from_secs(10),
            cancellation_timeout: Some(Duration::from_secs(180)),
            cancellation_interval: Duration::from_secs(30),
        }
    }
}

impl HangSettings {
    /// Reads the options.
    ///
    /// # Errors
    /// If one is no duration, or 0 where that means nothing.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        let default = Self::default();
        let duration = |key: &str, default: Option<Duration>| {
            let ms = options.duration_ms(key)?.map(i64::unsigned_abs);
            Ok(ms.map_or(default, |ms| (ms > 0).then_some(Duration::from_millis(ms))))
        };
        let positive = |key: &str, default: Duration| {
            let value = options.get(key).unwrap_or_default();
            duration(key, Some(default))?.ok_or_else(|| OptionError::new(key, value, "a duration above 0"))
        };
        Ok(Self {
            hangs_after: positive(HANGS_AFTER, default.hangs_after)?,
            cancellation_timeout: duration(CANCELLATION_TIMEOUT, default.cancellation_timeout)?,
            cancellation_interval: positive(CANCELLATION_INTERVAL, default.cancellation_interval)?,
        })
    }
}

/// A call of one operator, by its place in the chain, and how long it has taken.
pub type RunningCall = (usize, Duration);

/// What is to be told of a subtask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It hangs in this call.
    Hangs(RunningCall),
    /// It goes on behind this call, which had taken so long when it was seen last.
    GoesOn(RunningCall),
}

/// The subtasks of an attempt that hang, as far as that was told.
#[derive(Debug, Default)]
pub(crate) struct Hangs(BTreeMap<SubtaskId, RunningCall>);

impl Hangs {
    /// Another attempt begins.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What has changed: each hang is told once, and its end. `calls` are those of the subtasks that have not ended.
    pub(crate) fn look(
        &mut self,
        calls: &[(SubtaskId, Option<RunningCall>)],
        hangs_after: Duration,
    ) -> Vec<(SubtaskId, Change)> {
        let mut changes = vec![];
        for (subtask, call) in calls {
            let hangs = call.filter(|(_, taken)| *taken >= hangs_after);
            match (hangs, self.0.get(subtask).copied()) {
                (Some(call), told) => {
                    self.0.insert(*subtask, call);
                    // It may have come out of one call and gone into another since.
                    let is_told = told.is_some_and(|(operator, taken)| operator == call.0 && taken <= call.1);
                    changes.extend((!is_told).then_some((*subtask, Change::Hangs(call))));
                }
                (None, Some(told)) => {
                    self.0.remove(subtask);
                    changes.push((*subtask, Change::GoesOn(told)));
                }
                (None, None) => {}
            }
        }
        // Of one that has ended its failure tells.
        self.0
            .retain(|known, _| calls.iter().any(|(subtask, _)| subtask == known));
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn call(operator: usize, seconds: u64) -> RunningCall {
        (operator, Duration::from_secs(seconds))
    }

    #[test]
    fn a_hang_is_told_once_and_so_is_its_end() {
        let mut hangs = Hangs::default();
        let mut look = |of: Option<RunningCall>| hangs.look(&[((0, 1), of)], PATIENCE);
        assert!(look(Some(call(2, 9))).is_empty());
        assert_eq!(look(Some(call(2, 10))), [((0, 1), Change::Hangs(call(2, 10)))]);
        assert!(look(Some(call(2, 60))).is_empty());
        assert_eq!(look(Some(call(1, 0))), [((0, 1), Change::GoesOn(call(2, 60)))]);
        assert!(look(None).is_empty());
        assert_eq!(look(Some(call(2, 11))).len(), 1, "another one is told again");
        assert_eq!(look(Some(call(0, 12))), [((0, 1), Change::Hangs(call(0, 12)))]);
        assert!(hangs.look(&[], PATIENCE).is_empty());
        assert!(hangs.0.is_empty(), "who has ended hangs no more");
    }

    #[test]
    fn patience_is_read_as_flinks() {
        let read = |options: &[(&str, &str)]| HangSettings::from_options(&options.iter().copied().collect());
        assert_eq!(read(&[]).unwrap(), HangSettings::default());
        let told = read(&[
            (CANCELLATION_TIMEOUT, "0"),
            (CANCELLATION_INTERVAL, "2 s"),
            (HANGS_AFTER, "1 s"),
        ])
        .unwrap();
        assert_eq!(told.cancellation_timeout, None);
        assert_eq!(
            (told.cancellation_interval, told.hangs_after),
            (Duration::from_secs(2), Duration::from_secs(1))
        );
        for key in [CANCELLATION_INTERVAL, HANGS_AFTER] {
            let error = read(&[(key, "0 s")]).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("above 0"), "{error}");
        }
    }
}
