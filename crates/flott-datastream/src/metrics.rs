//! Metrics that functions register in their `open`: [`MetricGroup`].

pub use flott_runtime::metrics::Counter;
pub use flott_runtime::user_metrics::{Histogram, Meter};

use crate::function::BoxError;
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::user_metrics::{HISTOGRAM_VALUES, NameTaken};
use std::sync::Arc;

/// Registers metrics under names, which reporters show behind those of the function's operator: `clicks` in the group `shop` is
/// `flink_taskmanager_job_task_operator_shop_clicks`.
///
/// ```
/// use flott::prelude::*;
/// use std::sync::Arc;
///
/// #[derive(Clone, Default)]
/// struct Parse {
///     lines: Arc<Counter>,
///     lengths: Arc<Histogram>,
/// }
///
/// impl MapFunction<String> for Parse {
///     type Out = i64;
///
///     fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
///         let metrics = ctx.metric_group().add_group("parser");
///         self.lines = metrics.counter("lines")?;
///         self.lengths = metrics.histogram("lengths")?;
///         Ok(())
///     }
///
///     fn map(&mut self, line: String) -> Result<i64, BoxError> {
///         self.lines.inc();
///         self.lengths.update(line.len() as i64);
///         Ok(line.parse()?)
///     }
/// }
/// # let env = StreamExecutionEnvironment::get_execution_environment();
/// # let numbers = env.from_collection(["1".to_owned()]).map_with(Parse::default());
/// # assert_eq!(numbers.execute_and_collect("numbers").unwrap(), [1]);
/// ```
#[derive(Debug, Clone)]
pub struct MetricGroup {
    metrics: Arc<OperatorMetrics>,
    prefix: String,
}

impl MetricGroup {
    pub(crate) fn of(metrics: Arc<OperatorMetrics>) -> Self {
        let prefix = String::new();
        Self { metrics, prefix }
    }

    /// A group within this one: its name stands before those of its metrics.
    pub fn add_group(&self, name: &str) -> Self {
        Self {
            metrics: self.metrics.clone(),
            prefix: format!("{}{name}.", self.prefix),
        }
    }

    /// The full name of a metric.
    fn name(&self, name: &str) -> Result<String, BoxError> {
        let name = format!("{}{name}", self.prefix);
        match self.metrics.values().iter().any(|(own, _)| *own == name) {
            true => Err(NameTaken(name).into()),
            false => Ok(name),
        }
    }

    /// A count.
    ///
    /// # Errors
    /// If the operator has a metric of this name; so with all others.
    pub fn counter(&self, name: &str) -> Result<Arc<Counter>, BoxError> {
        Ok(self.metrics.user.counter(&self.name(name)?)?)
    }

    /// A value that `value` gives whenever somebody reads it, on another thread.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn gauge(&self, name: &str, value: impl Fn() -> f64 + Send + Sync + 'static) -> Result<(), BoxError> {
        Ok(self.metrics.user.gauge(&self.name(name)?, value)?)
    }

    /// A rate: events a second over the last minute.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn meter(&self, name: &str) -> Result<Arc<Meter>, BoxError> {
        Ok(self.metrics.user.meter(&self.name(name)?)?)
    }

    /// A distribution of the last 10,000 values.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn histogram(&self, name: &str) -> Result<Arc<Histogram>, BoxError> {
        self.histogram_of(name, HISTOGRAM_VALUES)
    }

    /// A distribution of the last `values` values.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn histogram_of(&self, name: &str, values: usize) -> Result<Arc<Histogram>, BoxError> {
        Ok(self.metrics.user.histogram(&self.name(name)?, values)?)
    }
}
