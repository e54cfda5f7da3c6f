//! Metrics in Prometheus' text form, under the names and labels that Flink's reporter gives them.
//!
//! Scopes: `flink_jobmanager_job_*` (checkpoints, restarts), `flink_taskmanager_job_task_*` (one a subtask) and
//! `flink_taskmanager_job_task_operator_*` (one an operator of a subtask). The status of a job is a gauge for each, 1 in that which it has
//! (`runningState`, as Flink's `metrics.job.status.enable: STATE`, and `failedState` and the like). The three shares of time
//! (`busyTimeMsPerSecond`, `backPressuredTimeMsPerSecond`, `idleTimeMsPerSecond`) are taken over the time since the
//! reporter's last look.

use crate::coordinator::SubtaskId;
use crate::dispatcher::Dispatcher;
use crate::memory::{MemoryLimit, system};
use crate::protocol::AttemptId;
use crate::stats::{JobStats, TaskView};
use crate::taskmanager::TaskManager;
use flott_core::{JobId, JobStatus};
use flott_runtime::metrics::TaskMetrics;
use flott_runtime::user_metrics::{Distribution, Reading};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::time::Instant;

/// Shares of time of a subtask, in milliseconds a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TimeShares {
    /// `busyTimeMsPerSecond`
    pub busy: f64,
    /// `backPressuredTimeMsPerSecond`
    pub back_pressured: f64,
    /// `idleTimeMsPerSecond`
    pub idle: f64,
}

/// Renders a job's metrics and remembers the last look.
#[derive(Debug)]
pub struct Reporter {
    job_id: JobId,
    job_name: String,
    last: HashMap<SubtaskId, (Instant, [u64; 3])>,
}

impl Reporter {
    /// A reporter of one job.
    pub fn new(job_id: JobId, job_name: impl Into<String>) -> Self {
        Self {
            job_id,
            job_name: job_name.into(),
            last: HashMap::new(),
        }
    }

    /// Shares of time of a subtask since the last call for it.
    pub fn shares(&mut self, subtask: SubtaskId, metrics: &TaskMetrics) -> TimeShares {
        let now = Instant::now();
        let sums = [
            metrics.busy_ns.get(),
            metrics.back_pressured_ns.get(),
            metrics.idle_ns.get(),
        ];
        let Some((since, before)) = self.last.insert(subtask, (now, sums)) else {
            return TimeShares::default();
        };
        let elapsed_ns = (now - since).as_nanos().max(1) as f64;
        let share = |i: usize| (sums[i].saturating_sub(before[i]) as f64 / elapsed_ns * 1000.0).min(1000.0);
        TimeShares {
            busy: share(0),
            back_pressured: share(1),
            idle: share(2),
        }
    }

    /// Everything, in Prometheus' text form.
    pub fn render(&mut self, stats: &JobStats, status: JobStatus) -> String {
        let mut page = Page::default();
        self.job(&mut page, stats, status);
        let labels = self.labels();
        for view in stats.tasks() {
            self.task(&mut page, &labels, &view);
        }
        page.finish()
    }

    /// What the JobManager's process has to say of the job.
    pub fn render_job(&self, stats: &JobStats, status: JobStatus) -> String {
        let mut page = Page::default();
        self.job(&mut page, stats, status);
        page.finish()
    }

    /// What the process of TaskManager `id` has to say of the job: the subtasks that run there.
    pub fn render_tasks(&mut self, id: &str, views: &[TaskView]) -> String {
        let mut page = Page::default();
        let labels = format!("tm_id=\"{}\",{}", escape(id), self.labels());
        for view in views {
            self.task(&mut page, &labels, view);
        }
        page.finish()
    }

    fn labels(&self) -> String {
        format!("job_id=\"{}\",job_name=\"{}\"", self.job_id, escape(&self.job_name))
    }

    fn job(&self, page: &mut Page, stats: &JobStats, status: JobStatus) {
        let job = self.labels();
        let checkpoints = stats.checkpoints();
        let of_job = [
            ("uptime", stats.uptime_ms() as f64),
            ("numRestarts", stats.restarts() as f64),
            ("numRescales", stats.rescales() as f64),
            ("numberOfCompletedCheckpoints", checkpoints.completed as f64),
            ("numberOfFailedCheckpoints", checkpoints.failed as f64),
            (
                "totalNumberOfCheckpoints",
                (checkpoints.completed + checkpoints.failed) as f64,
            ),
            ("lastCheckpointDuration", checkpoints.last_duration_ms as f64),
            ("lastCheckpointSize", checkpoints.last_bytes as f64),
            ("lastCompletedCheckpointId", checkpoints.last_id.unwrap_or(0) as f64),
            (
                "lastCheckpointCompletedTimestamp",
                checkpoints.last_completed_ms.unwrap_or(-1) as f64,
            ),
        ];
        for (name, value) in of_job {
            page.add(format!("flink_jobmanager_job_{name}"), &job, value);
        }
        for of in JobStatus::ALL {
            let name = format!("flink_jobmanager_job_{}State", of.to_string().to_lowercase());
            page.add(name, &job, f64::from(u8::from(of == status)));
        }
    }

    fn task(&mut self, page: &mut Page, job: &str, (subtask, info, metrics): &TaskView) {
        let labels = format!(
            "{job},task_id=\"{}\",task_name=\"{}\",subtask_index=\"{}\",task_attempt_num=\"{}\"",
            subtask.0,
            escape(&info.task_name),
            info.subtask,
            info.attempt - 1
        );
        let shares = self.shares(*subtask, metrics);
        let of_task = [
            ("numRecordsIn", metrics.records_in.get() as f64),
            ("numRecordsOut", metrics.records_out.get() as f64),
            ("numBytesIn", metrics.bytes_in.get() as f64),
            ("numBytesOut", metrics.bytes_out.get() as f64),
            ("numBuffersOut", metrics.buffers_out.get() as f64),
            ("busyTimeMsPerSecond", shares.busy),
            ("backPressuredTimeMsPerSecond", shares.back_pressured),
            ("idleTimeMsPerSecond", shares.idle),
            ("currentInputWatermark", metrics.input_watermark.get() as f64),
            ("currentOutputWatermark", metrics.output_watermark.get() as f64),
            ("checkpointAlignmentTime", metrics.alignment_ns.get() as f64),
            ("checkpointStartDelayNanos", metrics.start_delay_ns.get() as f64),
            ("stateBytes", metrics.state_bytes.get() as f64),
        ];
        for (name, value) in of_task {
            page.add(format!("flink_taskmanager_job_task_{name}"), &labels, value);
        }
        for (name, operator) in &metrics.operators {
            let labels = format!("{labels},operator_name=\"{}\"", escape(name));
            let prefix = "flink_taskmanager_job_task_operator";
            for (name, value) in operator.values() {
                page.add(format!("{prefix}_{}", sanitize(&name)), &labels, value);
            }
            for (name, metric) in operator.user.all() {
                let name = format!("{prefix}_{}", sanitize(&name));
                match metric.read() {
                    Reading::Value(value) => page.add(name, &labels, value),
                    Reading::Distribution(of) => page.add_summary(&name, &labels, &of),
                }
            }
        }
    }
}

/// Samples by metric: Prometheus wants those of one name together.
#[derive(Default)]
struct Page(BTreeMap<String, Samples>);

struct Samples {
    kind: &'static str,
    lines: String,
}

impl Page {
    fn samples(&mut self, name: &str, kind: &'static str) -> &mut String {
        let lines = String::new();
        &mut self.0.entry(name.to_owned()).or_insert(Samples { kind, lines }).lines
    }

    fn add(&mut self, name: String, labels: &str, value: f64) {
        let _ = writeln!(self.samples(&name, "gauge"), "{name}{{{labels}}} {value}");
    }

    /// What a process uses of memory. There is no virtual machine, so its heap, by whose names Flink's users ask, is all that is resident.
    fn add_process(&mut self, scope: &str, labels: &str, memory: &MemoryLimit) {
        let resident = system::resident_bytes() as f64;
        let of_process = [
            ("Status_Flott_Memory_Resident", resident),
            ("Status_JVM_Memory_Heap_Used", resident),
            ("Status_JVM_Memory_Heap_Committed", resident),
            ("Status_JVM_Memory_Heap_Max", memory.bytes as f64),
        ];
        for (name, value) in of_process {
            self.add(format!("{scope}_{name}"), labels, value);
        }
    }

    /// A histogram, as Flink's reporter shows it.
    fn add_summary(&mut self, name: &str, labels: &str, of: &Distribution) {
        let lines = self.samples(name, "summary");
        for quantile in [0.5, 0.75, 0.95, 0.98, 0.99, 0.999] {
            let value = of.quantile(quantile);
            let _ = writeln!(lines, "{name}{{{labels},quantile=\"{quantile}\"}} {value}");
        }
        let _ = writeln!(lines, "{name}_count{{{labels}}} {}", of.count());
    }

    fn finish(self) -> String {
        let text = |(name, Samples { kind, lines })| format!("# TYPE {name} {kind}\n{lines}");
        self.0.into_iter().map(text).collect()
    }
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn sanitize(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' })
        .collect()
}

/// What a JobManager has to say, in Prometheus' text form: of itself, then of each job, a page each.
pub fn job_manager_pages(dispatcher: &Dispatcher, memory: &MemoryLimit) -> Vec<String> {
    let (jobs, managers) = (dispatcher.jobs(), dispatcher.task_managers());
    let running = jobs.iter().filter(|job| job.status() == JobStatus::Running).count();
    let of_all = [
        ("numRegisteredTaskManagers", managers.len()),
        ("numRunningJobs", running),
        ("taskSlotsTotal", managers.iter().map(|m| m.slots).sum()),
        ("taskSlotsAvailable", managers.iter().map(|m| m.free_slots).sum()),
    ];
    let mut page = Page::default();
    for (name, value) in of_all {
        page.add(format!("flink_jobmanager_{name}"), "", value as f64);
    }
    page.add_process("flink_jobmanager", "", memory);
    let of_jobs = jobs
        .iter()
        .map(|job| Reporter::new(job.job_id, job.name.clone()).render_job(&job.stats, job.status()));
    std::iter::once(page.finish()).chain(of_jobs).collect()
}

/// What a TaskManager has to say, in Prometheus' text form: of its process, then of the tasks of each attempt; remembers its last look.
#[derive(Debug)]
pub struct TaskManagerReporter {
    id: String,
    memory: MemoryLimit,
    attempts: HashMap<AttemptId, Reporter>,
}

impl TaskManagerReporter {
    /// A reporter of the TaskManager of this id, whose memory is bounded so.
    pub fn new(id: impl Into<String>, memory: MemoryLimit) -> Self {
        Self {
            id: id.into(),
            memory,
            attempts: HashMap::new(),
        }
    }

    /// A page of the process, and one of each attempt.
    pub fn pages(&mut self, manager: &TaskManager) -> Vec<String> {
        let mut page = Page::default();
        page.add_process(
            "flink_taskmanager",
            &format!("tm_id=\"{}\"", escape(&self.id)),
            &self.memory,
        );
        let mut pages = vec![page.finish()];
        let views = manager.views();
        self.attempts
            .retain(|id, _| views.iter().any(|(running, _)| running == id));
        for (id, tasks) in &views {
            let Some((_, info, _)) = tasks.first() else { continue };
            let reporter = self.attempts.entry(*id);
            let reporter = reporter.or_insert_with(|| Reporter::new(info.job_id, info.job_name.clone()));
            pages.push(reporter.render_tasks(&self.id, tasks));
        }
        pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_core::Options;
    use flott_runtime::context::TaskInfo;
    use std::sync::Arc;

    #[test]
    fn names_and_labels_are_flinks() {
        let info = TaskInfo {
            job_id: JobId(1),
            job_name: "j\"ob".into(),
            task_name: "Source: t[1] -> Calc[2]".into(),
            subtask: 1,
            parallelism: 2,
            max_parallelism: 128,
            attempt: 1,
            generation: 1,
            options: Arc::new(Options::new()),
        };
        let metrics = TaskMetrics::new(["Calc[2]".to_owned()]);
        metrics.operators[0].1.late_records_dropped.add(7);
        metrics.operators[0].1.gauge("topic.a.partition.0.currentOffset").set(5);
        let user = &metrics.operators[0].1.user;
        user.counter("clicks.seen").unwrap().add(3);
        let sizes = user.histogram("size", 100).unwrap();
        (1..=100).for_each(|n| sizes.update(n));
        let stats = JobStats::new(JobId(1), "job");
        stats.attempt(vec![((0, 1), Arc::new(info), Arc::new(metrics))]);
        let page = Reporter::new(JobId(1), "j\"ob").render(&stats, JobStatus::Running);
        for line in [
            "# TYPE flink_jobmanager_job_numRestarts gauge",
            "# TYPE flink_jobmanager_job_lastCheckpointCompletedTimestamp gauge",
            "flink_jobmanager_job_runningState{job_id=\"00000000000000000000000000000001\",job_name=\"j\\\"ob\"} 1",
            "flink_jobmanager_job_failedState{job_id=\"00000000000000000000000000000001\",job_name=\"j\\\"ob\"} 0",
            "job_name=\"j\\\"ob\"",
            "flink_taskmanager_job_task_operator_topic_a_partition_0_currentOffset{",
            "operator_name=\"Calc[2]\"} 7",
            "flink_taskmanager_job_task_operator_clicks_seen{",
            "operator_name=\"Calc[2]\"} 3",
            "# TYPE flink_taskmanager_job_task_operator_size summary",
            "operator_name=\"Calc[2]\",quantile=\"0.5\"} 50.5",
            "flink_taskmanager_job_task_operator_size_count{",
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }
}
