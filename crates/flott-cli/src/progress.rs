//! What a person sees of a job: its start, a line of progress, its end.

use flott_cluster::diagnosis::{Facts, Finding, FindingKind, Place, Severity, diagnose};
use flott_cluster::rates::Rates;
use flott_cluster::{JobHandle, JobStatus};
use flott_runtime::metrics::{OperatorMetrics, TaskMetrics};
use std::convert::Infallible;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time between lines of progress where standard error is no terminal.
const ELSEWHERE: Duration = Duration::from_secs(60);

/// Says that a job was accepted.
pub fn started(job: &JobHandle) {
    match &job.restored_from {
        Some(path) => eprintln!("job {} '{}' starts from {path}", job.job_id, job.name),
        None => eprintln!("job {} '{}' starts", job.job_id, job.name),
    }
}

/// Says how a job ended; one that was stopped has finished early, which is not what a person calls finished.
pub fn ended(job: &JobHandle, status: JobStatus, was_stopped: bool) {
    let checkpoints = job.stats.checkpoints();
    let totals = Totals::of(job);
    let told = match status {
        JobStatus::Finished if was_stopped => "STOPPED".to_owned(),
        status => status.to_string(),
    };
    eprintln!(
        "job {} '{}' {told} after {:.1} s: {} records in, {} records out, {} checkpoint(s), {} restart(s){}",
        job.job_id,
        job.name,
        job.stats.uptime_ms() as f64 / 1000.0,
        totals.records_in,
        totals.records_out,
        checkpoints.completed,
        job.stats.restarts(),
        totals.notes(),
    );
    if let Some(path) = checkpoints
        .last_path
        .filter(|_| status != JobStatus::Finished || was_stopped)
    {
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
    /// Records that wait in the sources' systems: their lag.
    pub pending: u64,
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
                    let gauges = operator
                        .gauges()
                        .into_iter()
                        .filter(|(name, _)| name == "pendingRecords");
                    totals.pending += gauges.map(|(_, n)| n.max(0) as u64).sum::<u64>();
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

/// Shows the progress of `jobs` until it is dropped.
pub async fn watch(jobs: &[JobHandle]) -> Infallible {
    let mut watch = Watch::new(jobs);
    let mut ticks = tokio::time::interval(watch.line.interval);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        watch.look(jobs, now.map_or(0, |d| d.as_millis() as i64));
    }
}

/// The lines of progress of `flott run`, while its jobs run.
#[derive(Debug)]
struct Watch {
    line: Line,
    last: Vec<(Instant, Totals)>,
    rates: Rates,
    /// What each job was last said to wait on.
    waits: Vec<Option<(FindingKind, Vec<Place>)>>,
}

impl Watch {
    /// Begins to look at `jobs`.
    fn new(jobs: &[JobHandle]) -> Self {
        Self {
            line: Line::new(ELSEWHERE),
            last: jobs.iter().map(|job| (Instant::now(), Totals::of(job))).collect(),
            rates: Rates::default(),
            waits: vec![None; jobs.len()],
        }
    }

    /// Shows what the jobs have done since the last look: all on one line, so that it can stay in its place.
    fn look(&mut self, jobs: &[JobHandle], now_ms: i64) {
        self.tell_waits(jobs, now_ms);
        let texts: Vec<String> = jobs
            .iter()
            .zip(&mut self.last)
            .filter(|(job, _)| !job.status().is_globally_terminal_state())
            .map(|(job, last)| Self::text(job, last, now_ms))
            .collect();
        if !texts.is_empty() {
            self.line.show(texts.join("  ||  "));
        }
    }

    /// Says, once, on what a job waits that does not get on by itself.
    fn tell_waits(&mut self, jobs: &[JobHandle], now_ms: i64) {
        let views = jobs.iter().map(|job| (job.job_id, job.stats.tasks())).collect();
        self.rates.look(Instant::now(), views);
        jobs.iter().for_each(JobHandle::look_at_calls);
        for (job, told) in jobs.iter().zip(&mut self.waits) {
            let findings = diagnose(&Facts::of(job, &self.rates, &[], now_ms));
            let found = findings.into_iter().find(stands);
            let place = found.as_ref().map(|finding| (finding.kind, finding.places.clone()));
            if let Some(finding) = found.filter(|_| *told != place) {
                self.line.clear();
                eprintln!("'{}' waits: {}; {}", job.name, finding.summary, finding.remedy);
            }
            *told = place;
        }
    }

    fn text(job: &JobHandle, last: &mut (Instant, Totals), now_ms: i64) -> String {
        let (now, totals, checkpoints) = (Instant::now(), Totals::of(job), job.stats.checkpoints());
        let seconds = (now - last.0).as_secs_f64().max(0.001);
        // A restart begins to count anew.
        let rate = |now: u64, before: u64| thousands((now.saturating_sub(before) as f64 / seconds) as u64);
        let mut text = format!(
            "'{}' {} {} s: {} in/s, {} out/s",
            job.name,
            job.status(),
            job.stats.uptime_ms() / 1000,
            rate(totals.records_in, last.1.records_in),
            rate(totals.records_out, last.1.records_out),
        );
        *last = (now, totals);
        if let Some(watermark_ms) = watermark_ms(job).filter(|w| *w != i64::MAX) {
            text += &format!(" | watermark {:.1} s ago", (now_ms - watermark_ms) as f64 / 1000.0);
        }
        if totals.pending > 0 {
            text += &format!(" | {} pending", thousands(totals.pending));
        }
        if let Some(latency) = job.stats.take_latency() {
            text += &format!(" | latency p50 {} ms, p99 {} ms", latency.p50_ms, latency.p99_ms);
        }
        if checkpoints.completed + checkpoints.failed > 0 {
            text += &format!(
                " | checkpoints {}, last {} ms",
                checkpoints.completed, checkpoints.last_duration_ms
            );
        }
        for (count, what) in [
            (checkpoints.failed, "failed checkpoint(s)"),
            (job.stats.restarts(), "restart(s)"),
        ] {
            if count > 0 {
                text += &format!(" | {count} {what}");
            }
        }
        text + &totals.notes()
    }
}

/// Whether a finding is of something that stands still; that a job works as fast as it can, its progress shows.
fn stands(finding: &Finding) -> bool {
    let standing = [
        FindingKind::HungCall,
        FindingKind::NotOpen,
        FindingKind::CheckpointStuck,
        FindingKind::CheckpointsFail,
        FindingKind::IdlePartition,
    ];
    finding.severity == Severity::Problem && standing.contains(&finding.kind)
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.line.clear();
    }
}

/// The line of progress: on a terminal it stays the last line, elsewhere it is printed now and then.
#[derive(Debug)]
pub struct Line {
    is_terminal: bool,
    /// How often it is worth a new text.
    pub interval: Duration,
    shown: String,
}

impl Line {
    /// A line on standard error; `elsewhere` is its interval where that is no terminal.
    pub fn new(elsewhere: Duration) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self {
            is_terminal,
            interval: if is_terminal { Duration::from_secs(1) } else { elsewhere },
            shown: String::new(),
        }
    }

    /// Shows a new text.
    pub fn show(&mut self, line: String) {
        self.clear();
        self.shown = line;
        if self.is_terminal {
            self.again();
        } else {
            eprintln!("{}", self.shown);
        }
    }

    /// Makes room for other lines.
    pub fn clear(&self) {
        if self.is_terminal {
            self.write("\r\x1b[K");
        }
    }

    /// Shows the last line again, below other lines.
    pub fn again(&self) {
        if self.is_terminal {
            self.write(&self.shown);
        }
    }

    /// A terminal that has gone is not worth a failure.
    fn write(&self, text: &str) {
        let mut out = std::io::stderr().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
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
