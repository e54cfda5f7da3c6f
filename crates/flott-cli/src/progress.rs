//! What a person sees of a job: its start, a line of progress, its end.

use flott_cluster::{JobHandle, JobStatus};
use flott_runtime::metrics::{OperatorMetrics, TaskMetrics};
use std::sync::Arc;

/// Says that a job was accepted.
pub fn started(job: &JobHandle) {
    match &job.restored_from {
        Some(path) => eprintln!("job {} '{}' starts from {path}", job.job_id, job.name),
        None => eprintln!("job {} '{}' starts", job.job_id, job.name),
    }
}

/// Says how a job ended.
pub fn ended(job: &JobHandle, status: JobStatus) {
    let checkpoints = job.stats.checkpoints();
    let totals = Totals::of(job);
    eprintln!(
        "job {} '{}' {status} after {:.1} s: {} records in, {} records out, {} checkpoint(s), {} restart(s){}",
        job.job_id,
        job.name,
        job.stats.uptime_ms() as f64 / 1000.0,
        totals.records_in,
        totals.records_out,
        checkpoints.completed,
        job.stats.restarts(),
        totals.notes(),
    );
    if let Some(path) = checkpoints.last_path.filter(|_| status != JobStatus::Finished) {
        eprintln!("last checkpoint: {path}");
    }
}

/// A number as people read it: `1,234,567`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The lowest watermark of the job's sources, if all have one.
pub fn watermark_ms(job: &JobHandle) -> Option<i64> {
    let is_source = |m: &TaskMetrics| {
        m.operators
            .first()
            .is_some_and(|(name, _)| name.starts_with("Source: "))
    };
    let sources = job.stats.tasks().into_iter().filter(|(_, _, m)| is_source(m));
    sources
        .map(|(_, _, m)| m.output_watermark.get())
        .min()
        .filter(|w| *w != i64::MIN)
}

/// Sums over all subtasks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Rows read by sources.
    pub records_in: u64,
    /// Rows written by sinks.
    pub records_out: u64,
    /// Rows dropped as late.
    pub late: u64,
    /// Rows that could not be read.
    pub bad: u64,
}

impl Totals {
    /// The sums of a job's last attempt.
    pub fn of(job: &JobHandle) -> Self {
        let mut totals = Self::default();
        for (_, _, metrics) in job.stats.tasks() {
            let operators: &[(String, Arc<OperatorMetrics>)] = &metrics.operators;
            for (name, operator) in operators {
                totals.late += operator.late_records_dropped.get();
                totals.bad += operator.bad_rows.get();
                if name.starts_with("Source: ") {
                    totals.records_in += operator.records_in.get();
                }
            }
            if let Some((name, sink)) = operators
                .last()
                .filter(|(n, _)| n.contains("Writer") || n.contains("Sink"))
            {
                debug_assert!(!name.is_empty());
                totals.records_out += sink.records_in.get();
            }
        }
        totals
    }

    /// Lines and rows that sources have dealt with, readable or not.
    pub fn read(&self) -> u64 {
        self.records_in + self.bad
    }

    fn notes(&self) -> String {
        let mut notes = String::new();
        if self.late > 0 {
            notes += &format!(", {} late row(s) dropped", self.late);
        }
        if self.bad > 0 {
            notes += &format!(", {} bad row(s)", self.bad);
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(thousands),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
