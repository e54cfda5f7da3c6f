//! Options of checkpointing, read once per job, with Flink's names, defaults and old spellings.

use flott_core::Options;
use flott_core::options::OptionError;
use flott_runtime::unaligned::Unaligned;

/// What becomes of checkpoints when the job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Kept when the job is cancelled or fails, deleted when it finishes. Our default: a stopped job can go on.
    OnCancellation,
    /// Kept only when the job fails.
    DeleteOnCancellation,
}

/// Whose a checkpoint or savepoint is that a job starts from by path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimMode {
    /// Somebody else's: the job deletes nothing of it, and needs nothing of it once it has a checkpoint of its own. The default.
    NoClaim,
    /// The job's: it goes as older checkpoints do.
    Claim,
}

impl ClaimMode {
    /// The option.
    pub const KEY: &str = "execution.state-recovery.claim-mode";
    /// Its name until Flink 1.19.
    const OLD_KEY: &str = "execution.savepoint-restore-mode";

    /// Reads the option.
    ///
    /// # Errors
    /// If its value is no mode, or the one that Flink has given up.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        let key = match options.get(Self::KEY) {
            Some(_) => Self::KEY,
            None => Self::OLD_KEY,
        };
        if let Some(value) = options.get(key)
            && value.trim().eq_ignore_ascii_case("LEGACY")
        {
            let remedy = "CLAIM (the job owns what it starts from, and deletes it in its time) or NO_CLAIM (it never does, and needs it no more \
                          once it has a checkpoint of its own): under LEGACY nobody knew when it could be deleted";
            return Err(OptionError::new(key, value, remedy));
        }
        Ok(match options.one_of(key, &["NO_CLAIM", "CLAIM"])? {
            Some(1) => Self::Claim,
            _ => Self::NoClaim,
        })
    }
}

/// Checkpointing of one job.
#[derive(Debug, Clone)]
pub struct CheckpointSettings {
    /// `execution.checkpointing.interval`; `None`: no periodic checkpoints.
    pub interval_ms: Option<i64>,
    /// `execution.checkpointing.timeout`
    pub timeout_ms: i64,
    /// `execution.checkpointing.min-pause`
    pub min_pause_ms: i64,
    /// `execution.checkpointing.tolerable-failed-checkpoints`
    pub tolerable_failures: u64,
    /// `execution.checkpointing.dir`; `None`: in memory, gone with the process.
    pub dir: Option<String>,
    /// `execution.checkpointing.savepoint-dir`
    pub savepoint_dir: Option<String>,
    /// `execution.checkpointing.num-retained`
    pub num_retained: usize,
    /// `execution.checkpointing.incremental`
    pub incremental: bool,
    /// `execution.checkpointing.externalized-checkpoint-retention`
    pub retention: Retention,
    /// `execution.state-recovery.claim-mode`
    pub claim_mode: ClaimMode,
    /// `execution.checkpointing.unaligned.enabled` and `execution.checkpointing.aligned-checkpoint-timeout`; `None`: aligned.
    pub unaligned: Option<Unaligned>,
}

impl CheckpointSettings {
    /// Reads the options.
    ///
    /// # Errors
    /// If a value is wrong.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        let text = |new: &str, old: &str| options.get(new).or_else(|| options.get(old)).map(str::to_owned);
        let interval_ms = options
            .duration_ms("execution.checkpointing.interval")?
            .filter(|i| *i > 0);
        let retention_key = "execution.checkpointing.externalized-checkpoint-retention";
        let retentions = [
            "RETAIN_ON_CANCELLATION",
            "DELETE_ON_CANCELLATION",
            "NO_EXTERNALIZED_CHECKPOINTS",
        ];
        let retained = match options.positive("execution.checkpointing.num-retained")? {
            Some(n) => n,
            None => options.positive("state.checkpoints.num-retained")?.unwrap_or(1),
        };
        let incremental = match options.boolean("execution.checkpointing.incremental")? {
            Some(b) => b,
            None => options.boolean("state.backend.incremental")?.unwrap_or(false),
        };
        Ok(Self {
            interval_ms,
            timeout_ms: options
                .duration_ms("execution.checkpointing.timeout")?
                .unwrap_or(600_000),
            min_pause_ms: options.duration_ms("execution.checkpointing.min-pause")?.unwrap_or(0),
            tolerable_failures: options
                .integer("execution.checkpointing.tolerable-failed-checkpoints")?
                .unwrap_or(0)
                .max(0) as u64,
            dir: text("execution.checkpointing.dir", "state.checkpoints.dir"),
            savepoint_dir: text("execution.checkpointing.savepoint-dir", "state.savepoints.dir"),
            num_retained: retained,
            incremental,
            retention: match options.one_of(retention_key, &retentions)? {
                None | Some(0) => Retention::OnCancellation,
                _ => Retention::DeleteOnCancellation,
            },
            claim_mode: ClaimMode::from_options(options)?,
            unaligned: Unaligned::of(options)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_spellings_are_read_and_new_ones_win() {
        let options: Options = [
            ("state.checkpoints.dir", "/old"),
            ("execution.checkpointing.dir", "/new"),
            ("state.backend.incremental", "true"),
            ("execution.checkpointing.interval", "300 ms"),
        ]
        .into_iter()
        .collect();
        let s = CheckpointSettings::from_options(&options).unwrap();
        assert_eq!(
            (s.dir.as_deref(), s.incremental, s.interval_ms),
            (Some("/new"), true, Some(300))
        );
    }

    #[test]
    fn claim_modes_are_flinks_but_for_the_one_that_it_gave_up() {
        let mode = |pairs: &[(&str, &str)]| {
            let options: Options = pairs.iter().copied().collect();
            ClaimMode::from_options(&options).map_err(|error| error.to_string())
        };
        assert_eq!(mode(&[]), Ok(ClaimMode::NoClaim));
        assert_eq!(mode(&[(ClaimMode::KEY, "claim")]), Ok(ClaimMode::Claim));
        assert_eq!(mode(&[(ClaimMode::OLD_KEY, "CLAIM")]), Ok(ClaimMode::Claim));
        let both = [(ClaimMode::KEY, "NO_CLAIM"), (ClaimMode::OLD_KEY, "CLAIM")];
        assert_eq!(mode(&both), Ok(ClaimMode::NoClaim));
        for (key, value) in [(ClaimMode::OLD_KEY, "LEGACY"), (ClaimMode::KEY, "MINE")] {
            let error = mode(&[(key, value)]).unwrap_err();
            assert!(
                [key, value, "NO_CLAIM"].iter().all(|part| error.contains(part)),
                "{error}"
            );
        }
    }
}
