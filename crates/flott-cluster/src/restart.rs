//! When a failed job is started again: Flink's restart strategies as a pure value.
//!
//! Options: `restart-strategy.type` (`none`, `fixed-delay`, `failure-rate`, `exponential-delay`) and each strategy's own
//! `restart-strategy.<type>.*`. Without a type a job with checkpoints uses `exponential-delay`, one without `none`, as
//! in Flink. Old values `off`, `disable`, `fixeddelay`, `failurerate`, `exponentialdelay` are accepted.

use flott_core::Options;
use flott_core::options::OptionError;
use std::collections::VecDeque;

/// A restart strategy with what it remembers.
#[derive(Debug, Clone)]
pub enum RestartStrategy {
    /// The first failure ends the job.
    None,
    /// A number of attempts, each after the same delay.
    FixedDelay {
        /// Attempts left.
        attempts_left: u64,
        /// Delay before each.
        delay_ms: i64,
    },
    /// As long as failures are rare enough.
    FailureRate {
        /// Failures allowed within the interval.
        max_failures: usize,
        /// The interval.
        interval_ms: i64,
        /// Delay before each attempt.
        delay_ms: i64,
        /// When the last failures were.
        failures: VecDeque<i64>,
    },
    /// For ever (or a number of attempts), with growing delays that shrink again after a quiet time.
    ExponentialDelay {
        /// First delay.
        initial_ms: i64,
        /// Longest delay.
        max_ms: i64,
        /// Growth.
        multiplier: f64,
        /// Quiet time after which the delay is the first one again.
        reset_ms: i64,
        /// Attempts allowed before a quiet time; `None`: any number.
        max_attempts: Option<u64>,
        /// Attempts since the last quiet time.
        attempts: u64,
        /// Next delay.
        next_ms: i64,
        /// When the last failure was.
        last_failure_ms: Option<i64>,
    },
}

impl RestartStrategy {
    /// The strategy that the options ask for.
    ///
    /// # Errors
    /// If an option's value is wrong.
    pub fn from_options(options: &Options, checkpointing: bool) -> Result<Self, OptionError> {
        let names = [
            "none",
            "off",
            "disable",
            "fixed-delay",
            "fixeddelay",
            "failure-rate",
            "failurerate",
            "exponential-delay",
            "exponentialdelay",
        ];
        let old = options.get("restart-strategy").is_some() && options.get("restart-strategy.type").is_none();
        let key = if old {
            "restart-strategy"
        } else {
            "restart-strategy.type"
        };
        let chosen = options
            .one_of(key, &names)?
            .unwrap_or(if checkpointing { 7 } else { 0 });
        let duration = |key: &str, default: i64| Ok::<i64, OptionError>(options.duration_ms(key)?.unwrap_or(default));
        Ok(match chosen {
            0..=2 => Self::None,
            3 | 4 => Self::FixedDelay {
                attempts_left: options
                    .integer("restart-strategy.fixed-delay.attempts")?
                    .unwrap_or(1)
                    .max(0) as u64,
                delay_ms: duration("restart-strategy.fixed-delay.delay", 1_000)?,
            },
            5 | 6 => Self::FailureRate {
                max_failures: options
                    .positive("restart-strategy.failure-rate.max-failures-per-interval")?
                    .unwrap_or(1),
                interval_ms: duration("restart-strategy.failure-rate.failure-rate-interval", 60_000)?,
                delay_ms: duration("restart-strategy.failure-rate.delay", 1_000)?,
                failures: VecDeque::new(),
            },
            _ => {
                let initial_ms = duration("restart-strategy.exponential-delay.initial-backoff", 1_000)?;
                let attempts_key = "restart-strategy.exponential-delay.attempts-before-reset-backoff";
                Self::ExponentialDelay {
                    initial_ms,
                    max_ms: duration("restart-strategy.exponential-delay.max-backoff", 60_000)?,
                    multiplier: options
                        .float("restart-strategy.exponential-delay.backoff-multiplier")?
                        .unwrap_or(1.5),
                    reset_ms: duration("restart-strategy.exponential-delay.reset-backoff-threshold", 3_600_000)?,
                    max_attempts: options.positive(attempts_key)?.map(|n| n as u64),
                    attempts: 0,
                    next_ms: initial_ms,
                    last_failure_ms: None,
                }
            }
        })
    }

    /// A failure at `now_ms`: the delay before the next attempt in milliseconds, or `None` if there is none.
    pub fn on_failure(&mut self, now_ms: i64) -> Option<i64> {
        match self {
            Self::None => None,
            Self::FixedDelay {
                attempts_left,
                delay_ms,
            } => {
                *attempts_left = attempts_left.checked_sub(1)?;
                Some(*delay_ms)
            }
            Self::FailureRate {
                max_failures,
                interval_ms,
                delay_ms,
                failures,
            } => {
                failures.push_back(now_ms);
                while failures.front().is_some_and(|t| now_ms - t > *interval_ms) {
                    failures.pop_front();
                }
                (failures.len() <= *max_failures).then_some(*delay_ms)
            }
            Self::ExponentialDelay {
                initial_ms,
                max_ms,
                multiplier,
                reset_ms,
                max_attempts,
                attempts,
                next_ms,
                last_failure_ms,
            } => {
                if last_failure_ms.is_some_and(|t| now_ms - t >= *reset_ms + *next_ms) {
                    (*attempts, *next_ms) = (0, *initial_ms);
                }
                *last_failure_ms = Some(now_ms);
                *attempts += 1;
                if max_attempts.is_some_and(|max| *attempts > max) {
                    return None;
                }
                let delay = *next_ms;
                *next_ms = ((*next_ms as f64 * *multiplier) as i64).min(*max_ms);
                Some(delay)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strategy(options: &[(&str, &str)], checkpointing: bool) -> RestartStrategy {
        RestartStrategy::from_options(&options.iter().copied().collect(), checkpointing).unwrap()
    }

    #[test]
    fn defaults_depend_on_checkpointing() {
        assert_eq!(strategy(&[], false).on_failure(0), None);
        assert_eq!(strategy(&[], true).on_failure(0), Some(1_000));
    }

    #[test]
    fn fixed_delay_runs_out() {
        let mut s = strategy(
            &[
                ("restart-strategy.type", "fixed-delay"),
                ("restart-strategy.fixed-delay.attempts", "2"),
                ("restart-strategy.fixed-delay.delay", "5 s"),
            ],
            false,
        );
        assert_eq!(
            [s.on_failure(0), s.on_failure(1), s.on_failure(2)],
            [Some(5_000), Some(5_000), None]
        );
    }

    #[test]
    fn failure_rate_forgets_old_failures() {
        let mut s = strategy(
            &[
                ("restart-strategy.type", "failure-rate"),
                ("restart-strategy.failure-rate.max-failures-per-interval", "2"),
            ],
            true,
        );
        assert_eq!(
            [
                s.on_failure(0),
                s.on_failure(10),
                s.on_failure(70_000),
                s.on_failure(70_001)
            ]
            .map(|d| d.is_some()),
            [true; 4]
        );
        assert_eq!(s.on_failure(70_002), None);
    }

    #[test]
    fn exponential_delays_grow_to_the_bound_and_reset_after_a_quiet_time() {
        let mut s = strategy(&[("restart-strategy.exponential-delay.max-backoff", "2 s")], true);
        assert_eq!(
            [s.on_failure(0), s.on_failure(1), s.on_failure(2)],
            [Some(1_000), Some(1_500), Some(2_000)]
        );
        assert_eq!(s.on_failure(10_000_000), Some(1_000));
    }

    #[test]
    fn a_wrong_type_names_what_is_allowed() {
        let options: Options = [("restart-strategy.type", "sometimes")].into_iter().collect();
        let error = RestartStrategy::from_options(&options, true).unwrap_err().to_string();
        assert!(
            error.contains("restart-strategy.type") && error.contains("fixed-delay"),
            "{error}"
        );
    }
}
