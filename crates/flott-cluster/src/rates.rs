//! Rates of counters, which nobody counts: [`Rates`] looks at all counters each second and remembers the last [`WINDOW`] looks.
//!
//! A rate is the growth from the oldest look to the newest, by the time between them; 0 until there are two. A restart begins anew.

use crate::coordinator::SubtaskId;
use crate::dispatcher::Dispatcher;
use crate::stats::TaskView;
use crate::submit::JobHandle;
use flott_core::JobId;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks that are remembered: short enough that a page shows what happens now.
const WINDOW: usize = 11;

/// Growth a second of the counters of a subtask, or of an operator in it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rate {
    /// Of a source: what it reads from outside, as in Flink.
    pub records_in: f64,
    /// Records that went on.
    pub records_out: f64,
    /// Bytes that came, of a source from outside.
    pub bytes_in: f64,
    /// Bytes that went on.
    pub bytes_out: f64,
    /// Milliseconds of each second; of an operator: in its calls.
    pub busy_ms: f64,
    /// Milliseconds of each second in which the chain waited for what is behind an operator; 0 of an operator.
    pub back_pressured_ms: f64,
    /// Milliseconds of each second without input; 0 of an operator.
    pub idle_ms: f64,
    /// Milliseconds of each second in which the chain waited because an operator waits for something outside; part of those above.
    pub blocked_ms: f64,
}

/// The rates of a subtask and of its operators, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SubtaskRates {
    /// Of the subtask.
    pub task: Rate,
    /// Of its operators.
    pub operators: Vec<Rate>,
    /// The time that they are taken over, in seconds; 0 before the second look.
    pub seconds: f64,
}

/// Counters at one look: records and bytes in and out, nanoseconds busy, back-pressured, idle and blocked.
type Counters = [u64; 8];

#[derive(Debug)]
struct Look {
    at: Instant,
    /// Of the subtask, then of its operators.
    counters: Vec<Counters>,
}

#[derive(Debug, Default)]
struct Window {
    attempt: u64,
    looks: VecDeque<Look>,
}

/// The last looks at all subtasks.
#[derive(Debug, Default)]
pub struct Rates(Mutex<HashMap<JobId, BTreeMap<SubtaskId, Window>>>);

impl Rates {
    /// Looks at the jobs of a dispatcher until it is dropped, and at what their tasks are in ([`JobHandle::look_at_calls`]).
    pub async fn sample_forever(self: Arc<Self>, dispatcher: Dispatcher) -> Infallible {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut jobs = dispatcher.jobs();
            jobs.retain(|job| !job.status().is_globally_terminal_state());
            jobs.iter().for_each(JobHandle::look_at_calls);
            let views = jobs.iter().map(|job| (job.job_id, job.stats.tasks())).collect();
            self.look(Instant::now(), views);
        }
    }

    /// Remembers the counters of the jobs that run, and forgets the others. For who calls it himself, once a second.
    pub fn look(&self, at: Instant, jobs: Vec<(JobId, Vec<TaskView>)>) {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.retain(|known, _| jobs.iter().any(|(job, _)| job == known));
        for (job, views) in jobs {
            let of_job = windows.entry(job).or_default();
            for view in views {
                let window = of_job.entry(view.0).or_default();
                if window.attempt != view.1.attempt {
                    window.looks.clear();
                    window.attempt = view.1.attempt;
                }
                if window.looks.len() == WINDOW {
                    window.looks.pop_front();
                }
                let counters = counters(&view);
                window.looks.push_back(Look { at, counters });
            }
        }
    }

    /// The rates of a subtask.
    pub fn of(&self, job: JobId, view: &TaskView) -> SubtaskRates {
        let windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.get(&job).and_then(|of_job| of_job.get(&view.0));
        let looks = window
            .filter(|window| window.attempt == view.1.attempt)
            .and_then(|window| Some((window.looks.front()?, window.looks.back()?)));
        let (rates, seconds): (Vec<Rate>, f64) = match looks {
            Some((first, last)) if last.at > first.at => {
                let seconds = (last.at - first.at).as_secs_f64();
                let pairs = first.counters.iter().zip(&last.counters);
                (pairs.map(|(from, to)| rate(from, to, seconds)).collect(), seconds)
            }
            _ => (vec![Rate::default(); view.2.operators.len() + 1], 0.0),
        };
        let mut rates = rates.into_iter();
        SubtaskRates {
            task: rates.next().unwrap_or_default(),
            operators: rates.collect(),
            seconds,
        }
    }
}

fn counters((_, _, metrics): &TaskView) -> Vec<Counters> {
    let operators = || metrics.operators.iter().map(|(_, operator)| operator);
    let source = metrics
        .operators
        .first()
        .filter(|(name, _)| name.starts_with("Source: "));
    let (records_in, bytes_in) = match source {
        Some((_, source)) => (&source.records_in, &source.bytes_in),
        None => (&metrics.records_in, &metrics.bytes_in),
    };
    let of_task = [
        records_in.get(),
        metrics.records_out.get(),
        bytes_in.get(),
        metrics.bytes_out.get(),
        metrics.busy_ns.get(),
        metrics.back_pressured_ns.get(),
        metrics.idle_ns.get(),
        operators().map(|operator| operator.blocked_ns.get()).sum(),
    ];
    let of_operators = operators().map(|operator| {
        [
            operator.records_in.get(),
            operator.records_out.get(),
            operator.bytes_in.get(),
            operator.bytes_out.get(),
            operator.busy_ns.get(),
            0,
            0,
            operator.blocked_ns.get(),
        ]
    });
    std::iter::once(of_task).chain(of_operators).collect()
}

fn rate(from: &Counters, to: &Counters, seconds: f64) -> Rate {
    let growth = |index: usize| to[index].saturating_sub(from[index]) as f64 / seconds;
    // What waits when it is looked at is counted when it ends: so a share may seem larger than a whole.
    let share = |index: usize| (growth(index) / 1e6).min(1_000.0);
    Rate {
        records_in: growth(0),
        records_out: growth(1),
        bytes_in: growth(2),
        bytes_out: growth(3),
        busy_ms: share(4),
        back_pressured_ms: share(5),
        idle_ms: share(6),
        blocked_ms: share(7),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_core::Options;
    use flott_runtime::TaskInfo;
    use flott_runtime::metrics::TaskMetrics;

    fn view(attempt: u64) -> TaskView {
        let info = TaskInfo {
            job_id: JobId(1),
            job_name: "job".into(),
            task_name: "Source: t -> Sink".into(),
            subtask: 0,
            parallelism: 1,
            max_parallelism: 128,
            attempt,
            generation: 1,
            options: Arc::new(Options::new()),
        };
        let metrics = TaskMetrics::new(["Source: t".to_owned(), "Sink".to_owned()]);
        ((0, 0), Arc::new(info), Arc::new(metrics))
    }

    #[test]
    fn a_rate_is_growth_over_time_and_a_restart_begins_anew() {
        let (rates, start, job) = (Rates::default(), Instant::now(), JobId(1));
        let first = view(1);
        let at = |seconds| start + Duration::from_secs(seconds);
        rates.look(at(0), vec![(job, vec![first.clone()])]);
        assert_eq!(rates.of(job, &first).operators.len(), 2);
        assert_eq!(rates.of(job, &first).task, Rate::default());
        first.2.operators[0].1.records_in.add(100);
        first.2.busy_ns.add(1_000_000_000);
        rates.look(at(2), vec![(job, vec![first.clone()])]);
        let found = rates.of(job, &first);
        assert_eq!(
            (found.task.records_in, found.task.busy_ms, found.seconds),
            (50.0, 500.0, 2.0)
        );
        assert_eq!(
            (found.operators[0].records_in, found.operators[1].records_in),
            (50.0, 0.0)
        );
        let second = view(2);
        rates.look(at(3), vec![(job, vec![second.clone()])]);
        assert_eq!(rates.of(job, &second).task, Rate::default());
        rates.look(at(4), vec![]);
        assert_eq!(rates.of(job, &second).task, Rate::default());
    }
}
