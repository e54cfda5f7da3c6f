//! Metrics as tests read them.

use flott_cluster::stats::TaskView;
use flott_runtime::user_metrics::Reading;

/// A number that an operator of a subtask has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Name of the operator, with its number in the plan: `KeyedProcess[3]`.
    pub operator: String,
    /// Number of the subtask, from 0.
    pub subtask: usize,
    /// Flink's name of the metric, or that under which a function registered it: `numRecordsIn`.
    pub name: String,
    /// What it says; the median of a histogram.
    pub value: f64,
}

/// All metrics of operators.
pub(crate) fn of_tasks(tasks: &[TaskView]) -> Vec<Metric> {
    let mut all = vec![];
    for ((_, subtask), _, task) in tasks {
        for (operator, metrics) in &task.operators {
            let user = metrics.user.all().into_iter().map(|(name, metric)| {
                let value = match metric.read() {
                    Reading::Value(value) => value,
                    Reading::Distribution(of) => of.quantile(0.5),
                };
                (name, value)
            });
            all.extend(metrics.values().into_iter().chain(user).map(|(name, value)| Metric {
                operator: operator.clone(),
                subtask: *subtask,
                name,
                value,
            }));
        }
    }
    all
}

/// The sum of a metric over the subtasks of the operators whose names hold `operator`; `None` if none has it.
pub(crate) fn sum(metrics: &[Metric], operator: &str, name: &str) -> Option<f64> {
    let found = metrics
        .iter()
        .filter(|m| m.name == name && m.operator.contains(operator));
    found.map(|m| m.value).reduce(|a, b| a + b)
}
