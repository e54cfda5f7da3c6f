//! What functions count themselves: counters, gauges, meters and histograms, registered by name with their operator.
//!
//! A metric is registered once (a second metric of a name is an error) and then counted through its handle, which costs an atomic
//! operation, for a histogram a short lock. Reporters read all of them by [`UserMetrics::all`].

use crate::metrics::Counter;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time over which a meter takes its rate, as Flink's `MeterView`.
const METER_SPAN: Duration = Duration::from_secs(60);

/// Values that a histogram looks back on, unless it is told another number.
pub const HISTOGRAM_VALUES: usize = 10_000;

/// Two metrics of an operator have one name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("two metrics of the function are named '{0}': give one of them another name, or a group of its own")]
pub struct NameTaken(pub String);

/// Counts events, and says how many there are a second.
#[derive(Debug)]
pub struct Meter {
    count: Counter,
    /// What readers saw, the oldest first; never empty.
    seen: Mutex<VecDeque<(Instant, u64)>>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            count: Counter::default(),
            seen: Mutex::new(VecDeque::from([(Instant::now(), 0)])),
        }
    }
}

impl Meter {
    /// An event has happened.
    pub fn mark_event(&self) {
        self.count.add(1);
    }

    /// Some events have happened.
    pub fn mark_events(&self, events: u64) {
        self.count.add(events);
    }

    /// Events so far.
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// Events a second over the last minute, or since the meter was made.
    pub fn rate(&self) -> f64 {
        self.rate_at(Instant::now())
    }

    fn rate_at(&self, now: Instant) -> f64 {
        let mut seen = lock(&self.seen);
        // One of the readings is as old as the span, so that the rate is over all of it.
        while seen.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= METER_SPAN) {
            seen.pop_front();
        }
        let count = self.count.get();
        let Some((since, before)) = seen.front().copied() else {
            return 0.0;
        };
        if seen
            .back()
            .is_none_or(|(at, _)| now.duration_since(*at) >= Duration::from_secs(1))
        {
            seen.push_back((now, count));
        }
        let elapsed_s = now.duration_since(since).as_secs_f64();
        if elapsed_s > 0.0 {
            (count - before) as f64 / elapsed_s
        } else {
            0.0
        }
    }
}

/// How some values are distributed: the last ones, up to a number.
#[derive(Debug)]
pub struct Histogram {
    values: Mutex<VecDeque<i64>>,
    keeps: usize,
    count: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::of(HISTOGRAM_VALUES)
    }
}

impl Histogram {
    fn of(keeps: usize) -> Self {
        Self {
            values: Mutex::default(),
            keeps: keeps.max(1),
            count: Counter::default(),
        }
    }

    /// Adds a value; the oldest one goes when there are too many.
    pub fn update(&self, value: i64) {
        let mut values = lock(&self.values);
        if values.len() == self.keeps {
            values.pop_front();
        }
        values.push_back(value);
        self.count.add(1);
    }

    /// Values so far, those that it no longer looks back on included.
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// What it looks back on.
    pub fn distribution(&self) -> Distribution {
        let mut sorted: Vec<i64> = lock(&self.values).iter().copied().collect();
        sorted.sort_unstable();
        Distribution {
            sorted,
            count: self.count(),
        }
    }
}

/// Values of a [`Histogram`] at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    sorted: Vec<i64>,
    count: u64,
}

impl Distribution {
    /// The value that so large a part of all does not exceed, between neighbours by their distance; 0 of none.
    pub fn quantile(&self, part: f64) -> f64 {
        let n = self.sorted.len();
        let (Some(first), Some(last)) = (self.sorted.first(), self.sorted.last()) else {
            return 0.0;
        };
        // The estimate of Commons Math's Percentile, which Flink's histogram uses.
        let position = part.clamp(0.0, 1.0) * (n as f64 + 1.0);
        if position < 1.0 {
            return *first as f64;
        }
        if position >= n as f64 {
            return *last as f64;
        }
        let (below, above) = (self.sorted[position as usize - 1], self.sorted[position as usize]);
        below as f64 + (position - position.floor()) * (above as f64 - below as f64)
    }

    /// Values counted so far, not only those looked back on.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The smallest value; 0 of none.
    pub fn min(&self) -> i64 {
        self.sorted.first().copied().unwrap_or(0)
    }

    /// The largest value; 0 of none.
    pub fn max(&self) -> i64 {
        self.sorted.last().copied().unwrap_or(0)
    }

    /// The mean; 0 of none.
    pub fn mean(&self) -> f64 {
        let sum: f64 = self.sorted.iter().map(|v| *v as f64).sum();
        sum / self.sorted.len().max(1) as f64
    }
}

/// Gives a gauge's value when somebody reads it.
type ReadGauge = Arc<dyn Fn() -> f64 + Send + Sync>;

/// A registered metric.
#[derive(Clone)]
pub enum UserMetric {
    /// A count.
    Counter(Arc<Counter>),
    /// A value that is asked for.
    Gauge(ReadGauge),
    /// A rate.
    Meter(Arc<Meter>),
    /// A distribution.
    Histogram(Arc<Histogram>),
}

/// What a metric says.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// A count, a value, or a rate a second.
    Value(f64),
    /// A distribution.
    Distribution(Distribution),
}

impl UserMetric {
    /// What it says now.
    pub fn read(&self) -> Reading {
        match self {
            Self::Counter(counter) => Reading::Value(counter.get() as f64),
            Self::Gauge(value) => Reading::Value(value()),
            Self::Meter(meter) => Reading::Value(meter.rate()),
            Self::Histogram(histogram) => Reading::Distribution(histogram.distribution()),
        }
    }
}

/// The metrics of a function, by name.
#[derive(Default)]
pub struct UserMetrics(Mutex<BTreeMap<String, UserMetric>>);

impl fmt::Debug for UserMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(lock(&self.0).keys()).finish()
    }
}

impl UserMetrics {
    fn register(&self, name: &str, metric: UserMetric) -> Result<(), NameTaken> {
        let mut metrics = lock(&self.0);
        if metrics.contains_key(name) {
            return Err(NameTaken(name.to_owned()));
        }
        metrics.insert(name.to_owned(), metric);
        Ok(())
    }

    /// A new counter.
    ///
    /// # Errors
    /// If the name is taken; so with all others.
    pub fn counter(&self, name: &str) -> Result<Arc<Counter>, NameTaken> {
        let counter = Arc::new(Counter::default());
        self.register(name, UserMetric::Counter(counter.clone()))?;
        Ok(counter)
    }

    /// A new gauge, whose value is asked for when somebody reads it.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn gauge(&self, name: &str, value: impl Fn() -> f64 + Send + Sync + 'static) -> Result<(), NameTaken> {
        self.register(name, UserMetric::Gauge(Arc::new(value)))
    }

    /// A new meter.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn meter(&self, name: &str) -> Result<Arc<Meter>, NameTaken> {
        let meter = Arc::new(Meter::default());
        self.register(name, UserMetric::Meter(meter.clone()))?;
        Ok(meter)
    }

    /// A new histogram that looks back on `values` values.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn histogram(&self, name: &str, values: usize) -> Result<Arc<Histogram>, NameTaken> {
        let histogram = Arc::new(Histogram::of(values));
        self.register(name, UserMetric::Histogram(histogram.clone()))?;
        Ok(histogram)
    }

    /// All of them, in the order of their names.
    pub fn all(&self) -> Vec<(String, UserMetric)> {
        lock(&self.0)
            .iter()
            .map(|(name, metric)| (name.clone(), metric.clone()))
            .collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_once() {
        let metrics = UserMetrics::default();
        metrics.counter("n").unwrap().add(2);
        assert_eq!(metrics.meter("n").unwrap_err(), NameTaken("n".to_owned()));
        let [(name, metric)] = metrics.all().try_into().ok().unwrap();
        assert_eq!((name.as_str(), metric.read()), ("n", Reading::Value(2.0)));
    }

    #[test]
    fn a_histogram_looks_back_on_its_last_values() {
        let histogram = Histogram::of(4);
        assert_eq!(histogram.distribution().quantile(0.5), 0.0);
        (1..=6).for_each(|n| histogram.update(n * 10));
        let last = histogram.distribution();
        assert_eq!((last.min(), last.max(), last.count(), last.mean()), (30, 60, 6, 45.0));
        assert_eq!(
            [0.0, 0.25, 0.5, 0.75, 0.99].map(|q| last.quantile(q)),
            [30.0, 32.5, 45.0, 57.5, 60.0]
        );
    }

    #[test]
    fn a_meter_takes_its_rate_over_a_minute() {
        let meter = Meter::default();
        let start = lock(&meter.seen)[0].0;
        let after = |s: u64| start + Duration::from_secs(s);
        meter.mark_events(100);
        assert_eq!(meter.rate_at(after(10)), 10.0);
        assert_eq!(meter.rate_at(after(50)), 2.0);
        // What came in the first ten seconds is older than a minute.
        assert_eq!(meter.rate_at(after(80)), 0.0);
        meter.mark_event();
        assert_eq!(meter.count(), 101);
        assert!(meter.rate_at(after(90)) > 0.0);
    }
}
