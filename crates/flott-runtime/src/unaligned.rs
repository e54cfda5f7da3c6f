//! Options of unaligned checkpoints, whose barriers overtake rows: read by who triggers them, and by tasks.

use flott_core::Options;
use flott_core::options::OptionError;

/// Option: whether barriers overtake rows, which the checkpoint then keeps.
pub const ENABLED: &str = "execution.checkpointing.unaligned.enabled";
/// Its old spelling.
pub const ENABLED_OLD: &str = "execution.checkpointing.unaligned";
/// Option: for how long a checkpoint is aligned, from its trigger on, before its barriers overtake. 0: not at all.
pub const ALIGNED_TIMEOUT: &str = "execution.checkpointing.aligned-checkpoint-timeout";
/// Its old spelling.
pub const ALIGNED_TIMEOUT_OLD: &str = "execution.checkpointing.alignment-timeout";

/// Unaligned checkpoints of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unaligned {
    /// [`ALIGNED_TIMEOUT`] in milliseconds.
    pub aligned_timeout_ms: i64,
}

impl Unaligned {
    /// Reads the options of a job; `None` if its checkpoints are aligned, which they are at least once, as in Flink.
    ///
    /// # Errors
    /// If a value is wrong.
    pub fn of(options: &Options) -> Result<Option<Self>, OptionError> {
        let enabled = match options.boolean(ENABLED)? {
            Some(enabled) => Some(enabled),
            None => options.boolean(ENABLED_OLD)?,
        };
        let aligned_timeout_ms = match options.duration_ms(ALIGNED_TIMEOUT)? {
            Some(timeout_ms) => timeout_ms,
            None => options.duration_ms(ALIGNED_TIMEOUT_OLD)?.unwrap_or(0),
        };
        let is_wanted = enabled == Some(true) && !is_at_least_once(options);
        Ok(is_wanted.then_some(Self { aligned_timeout_ms }))
    }

    /// What a user asked for and does not get, for the log.
    pub fn refusal(options: &Options) -> Option<&'static str> {
        let keys = [ENABLED, ENABLED_OLD];
        let is_wanted = keys.iter().any(|key| matches!(options.boolean(key), Ok(Some(true))));
        (is_wanted && is_at_least_once(options)).then_some(
            "unaligned checkpoints need 'execution.checkpointing.mode: EXACTLY_ONCE': checkpoints of this job are aligned",
        )
    }

    /// From when on barriers of a checkpoint overtake that is triggered at `triggered_ms`, in milliseconds since the epoch.
    pub fn overtakes_from_ms(&self, triggered_ms: i64) -> i64 {
        match self.aligned_timeout_ms {
            // Whatever the clocks of other machines say.
            0 => i64::MIN,
            timeout_ms => triggered_ms.saturating_add(timeout_ms),
        }
    }
}

fn is_at_least_once(options: &Options) -> bool {
    let mode = options.get("execution.checkpointing.mode");
    mode.is_some_and(|mode| mode.trim().eq_ignore_ascii_case("AT_LEAST_ONCE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &[(&str, &str)]) -> Option<Unaligned> {
        Unaligned::of(&options.iter().copied().collect()).unwrap()
    }

    #[test]
    fn checkpoints_are_aligned_unless_a_user_asks() {
        assert_eq!(of(&[(ALIGNED_TIMEOUT, "3 s")]), None);
        let at_once = of(&[(ENABLED_OLD, "true")]).unwrap();
        assert_eq!(at_once.overtakes_from_ms(5), i64::MIN);
        let later = of(&[(ENABLED, "true"), (ALIGNED_TIMEOUT, "3 s")]).unwrap();
        assert_eq!(later.overtakes_from_ms(5), 3_005);
        assert_eq!(of(&[(ENABLED, "false"), (ENABLED_OLD, "true")]), None);
    }

    #[test]
    fn at_least_once_they_are_aligned_and_it_is_said() {
        let options = [(ENABLED, "true"), ("execution.checkpointing.mode", "at_least_once")];
        assert_eq!(of(&options), None);
        assert!(Unaligned::refusal(&options.into_iter().collect()).is_some());
        assert_eq!(Unaligned::refusal(&[(ENABLED, "true")].into_iter().collect()), None);
    }
}
