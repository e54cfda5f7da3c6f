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
}
