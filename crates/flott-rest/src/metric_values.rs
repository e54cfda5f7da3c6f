//! The metrics of a subtask under Flink's names, and how their values are written.

use crate::io::Io;
use flott_cluster::rates::{Rate, SubtaskRates};
use flott_cluster::stats::TaskView;
use flott_runtime::user_metrics::{Distribution, Reading};
use std::fmt;

/// A value; whole numbers keep all their digits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Number {
    Whole(i64),
    Real(f64),
    Text(String),
}

impl Number {
    pub(crate) fn count(value: u64) -> Self {
        Self::Whole(i64::try_from(value).unwrap_or(i64::MAX))
    }

    /// As a number to reckon with.
    pub(crate) fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Whole(value) => Some(*value as f64),
            Self::Real(value) => Some(*value).filter(|value| value.is_finite()),
            Self::Text(_) => None,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(f),
            // As Java writes a double: with a point.
            Self::Real(value) => write!(f, "{value:?}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Names and values.
pub(crate) type Metrics = Vec<(String, Number)>;

/// Metrics of fixed names.
pub(crate) fn named(metrics: Vec<(&str, Number)>) -> Metrics {
    metrics
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// All metrics of a subtask and its operators.
pub(crate) fn of_task(view: &TaskView, rates: &SubtaskRates) -> Metrics {
    let (metrics, io, rate) = (&view.2, Io::of(view), rates.task);
    let mut all = named(vec![
        ("numRecordsIn", Number::count(io.records_in)),
        ("numRecordsOut", Number::count(io.records_out)),
        ("numBytesIn", Number::count(io.bytes_in)),
        ("numBytesOut", Number::count(io.bytes_out)),
        ("numBuffersOut", Number::count(metrics.buffers_out.get())),
        ("busyTimeMsPerSecond", Number::Real(rate.busy_ms)),
        ("backPressuredTimeMsPerSecond", Number::Real(rate.back_pressured_ms)),
        ("idleTimeMsPerSecond", Number::Real(rate.idle_ms)),
        ("accumulateBusyTimeMs", Number::count(io.busy_ms)),
        ("accumulateBackPressuredTimeMs", Number::count(io.back_pressured_ms)),
        ("accumulateIdleTimeMs", Number::count(io.idle_ms)),
        ("currentInputWatermark", Number::Whole(metrics.input_watermark.get())),
        ("currentOutputWatermark", Number::Whole(metrics.output_watermark.get())),
        ("checkpointAlignmentTime", Number::Whole(metrics.alignment_ns.get())),
        ("checkpointStartDelayNanos", Number::Whole(metrics.start_delay_ns.get())),
        ("stateBytes", Number::Whole(metrics.state_bytes.get())),
    ]);
    all.extend(per_second(&rate));
    for (index, (name, operator)) in metrics.operators.iter().enumerate() {
        let rate = rates.operators.get(index).copied().unwrap_or_default();
        let mut own: Metrics = vec![];
        let counted = operator.values().into_iter();
        own.extend(counted.map(|(name, value)| (name, whole_if_possible(value))));
        own.extend(per_second(&rate));
        for (name, metric) in operator.user.all() {
            match metric.read() {
                Reading::Value(value) => own.push((name, whole_if_possible(value))),
                Reading::Distribution(of) => own.extend(distribution(&name, &of)),
            }
        }
        let operator = plain(name);
        all.extend(
            own.into_iter()
                .map(|(name, value)| (format!("{operator}.{name}"), value)),
        );
    }
    all
}

fn per_second(rate: &Rate) -> Metrics {
    named(vec![
        ("numRecordsInPerSecond", Number::Real(rate.records_in)),
        ("numRecordsOutPerSecond", Number::Real(rate.records_out)),
        ("numBytesInPerSecond", Number::Real(rate.bytes_in)),
        ("numBytesOutPerSecond", Number::Real(rate.bytes_out)),
    ])
}

fn whole_if_possible(value: f64) -> Number {
    // Beyond 2^53 a double has no fractions, and not all whole numbers.
    match value.fract() == 0.0 && value.abs() < 9e15 {
        true => Number::Whole(value as i64),
        false => Number::Real(value),
    }
}

fn distribution(name: &str, of: &Distribution) -> Metrics {
    let quantiles = [
        ("median", 0.5),
        ("p75", 0.75),
        ("p90", 0.9),
        ("p95", 0.95),
        ("p98", 0.98),
        ("p99", 0.99),
        ("p999", 0.999),
    ];
    let quantiles = quantiles.map(|(suffix, part)| (suffix, Number::Real(of.quantile(part))));
    let others = [
        ("count", Number::count(of.count())),
        ("min", Number::Whole(of.min())),
        ("max", Number::Whole(of.max())),
        ("mean", Number::Real(of.mean())),
    ];
    let all = others.into_iter().chain(quantiles);
    all.map(|(suffix, value)| (format!("{name}_{suffix}"), value)).collect()
}

/// The name of an operator within a metric's: Flink replaces spaces, points, colons and commas.
fn plain(name: &str) -> String {
    name.replace([' ', '.', ':', ','], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_written_as_flink_does() {
        assert_eq!(plain("Source: bids[1], a.b"), "Source__bids[1]__a_b");
        assert_eq!(Number::Real(500.0).to_string(), "500.0");
        assert_eq!(Number::Whole(i64::MIN).to_string(), "-9223372036854775808");
        assert_eq!(whole_if_possible(0.5), Number::Real(0.5));
        assert_eq!(whole_if_possible(7.0), Number::Whole(7));
    }
}
