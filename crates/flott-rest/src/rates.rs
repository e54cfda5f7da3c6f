//! Rates of counters, which nobody counts: [`Rates`] looks at all counters each second and remembers the last [`WINDOW`] looks.
//!
//! A rate is the growth from the oldest look to the newest, by the time between them; 0 until there are two. A restart begins anew.

use crate::io::Io;
use flott_cluster::coordinator::SubtaskId;
use flott_cluster::dispatcher::Dispatcher;
use flott_cluster::stats::TaskView;
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
pub(crate) struct Rate {
    pub(crate) records_in: f64,
    pub(crate) records_out: f64,
    pub(crate) bytes_in: f64,
    pub(crate) bytes_out: f64,
    /// Milliseconds of each second.
    pub(crate) busy_ms: f64,
    pub(crate) back_pressured_ms: f64,
    pub(crate) idle_ms: f64,
}

/// The rates of a subtask and of its operators, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SubtaskRates {
    pub(crate) task: Rate,
    pub(crate) operators: Vec<Rate>,
}

/// Counters at one look: records and bytes in and out, nanoseconds busy, back-pressured and idle.
type Counters = [u64; 7];

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
pub(crate) struct Rates(Mutex<HashMap<JobId, BTreeMap<SubtaskId, Window>>>);

impl Rates {
    /// Looks at the jobs of a dispatcher until it is dropped.
    pub(crate) async fn sample_forever(self: Arc<Self>, dispatcher: Dispatcher) -> Infallible {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut jobs = dispatcher.jobs();
            jobs.retain(|job| !job.status().is_globally_terminal_state());
            let views = jobs.iter().map(|job| (job.job_id, job.stats.tasks())).collect();
            self.look(Instant::now(), views);
        }
    }

    /// Remembers the counters of the jobs that run, and forgets the others.
    fn look(&self, at: Instant, jobs: Vec<(JobId, Vec<TaskView>)>) {
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
    pub(crate) fn of(&self, job: JobId, view: &TaskView) -> SubtaskRates {
        let windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.get(&job).and_then(|of_job| of_job.get(&view.0));
        let looks = window
            .filter(|window| window.attempt == view.1.attempt)
            .and_then(|window| Some((window.looks.front()?, window.looks.back()?)));
        let rates: Vec<Rate> = match looks {
            Some((first, last)) if last.at > first.at => {
                let seconds = (last.at - first.at).as_secs_f64();
                let pairs = first.counters.iter().zip(&last.counters);
                pairs.map(|(from, to)| rate(from, to, seconds)).collect()
            }
            _ => vec![Rate::default(); view.2.operators.len() + 1],
        };
        let mut rates = rates.into_iter();
        SubtaskRates {
            task: rates.next().unwrap_or_default(),
            operators: rates.collect(),
        }
    }
}

fn counters(view: &TaskView) -> Vec<Counters> {
    let metrics = &view.2;
    let io = Io::of(view);
    let times = [&metrics.busy_ns, &metrics.back_pressured_ns, &metrics.idle_ns].map(|time| time.get());
    let of_task = [
        io.records_in,
        io.records_out,
        io.bytes_in,
        io.bytes_out,
        times[0],
        times[1],
        times[2],
    ];
    let of_operators = metrics.operators.iter().map(|(_, operator)| {
        let counts = [
            &operator.records_in,
            &operator.records_out,
            &operator.bytes_in,
            &operator.bytes_out,
        ];
        let [records_in, records_out, bytes_in, bytes_out] = counts.map(|count| count.get());
        [records_in, records_out, bytes_in, bytes_out, 0, 0, 0]
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
        assert_eq!((found.task.records_in, found.task.busy_ms), (50.0, 500.0));
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
