//! Tasks that do not end when they are told to: one call of user code keeps their thread, which no process can take away from it.
//!
//! As in Flink, it is said every `task.cancellation.interval` where such a task is, and after `task.cancellation.timeout` it is given up. It
//! is told as failed, so that the job goes on; and a process that is a TaskManager's own ends itself, by which the thread is gone, too. Any
//! other process has more to do than to run tasks: there the thread is let go of, and loud words say so.

use super::{Counters, Listener, TaskManager};
use crate::coordinator::SubtaskId;
use crate::hang::HangSettings;
use crate::protocol::{Report, TaskFailure};
use flott_runtime::FailureLabel;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a process that ends itself still has, to tell of the tasks that it gives up.
const FAREWELL: Duration = Duration::from_millis(500);

/// The tasks of an attempt whose threads have not ended.
pub(super) struct Unended {
    tasks: Mutex<BTreeSet<SubtaskId>>,
    counters: Counters,
}

impl Unended {
    pub(super) fn new(counters: Counters) -> Self {
        Self {
            tasks: Mutex::default(),
            counters,
        }
    }

    fn tasks(&self) -> MutexGuard<'_, BTreeSet<SubtaskId>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread is started for a task.
    pub(super) fn begins(&self, task: SubtaskId) {
        self.tasks().insert(task);
    }

    /// It ends; `false` if it was given up.
    pub(super) fn ends(&self, task: SubtaskId) -> bool {
        self.tasks().remove(&task)
    }

    /// Waits for the end of all that were told to end, and gives up who does not in time.
    pub(super) async fn watch(&self, settings: &HangSettings, manager: &TaskManager, listener: &Listener) {
        let began = Instant::now();
        let left = || {
            settings
                .cancellation_timeout
                .map(|timeout| timeout.saturating_sub(began.elapsed()))
        };
        loop {
            let interval = settings.cancellation_interval;
            tokio::time::sleep(left().map_or(interval, |left| left.min(interval))).await;
            let unended: Vec<SubtaskId> = self.tasks().iter().copied().collect();
            if unended.is_empty() {
                return;
            }
            if left().is_some_and(|left| left.is_zero()) {
                break;
            }
            for task in unended {
                let seconds = began.elapsed().as_secs();
                tracing::warn!(
                    "a task was told to end {seconds} s ago and has not: {}",
                    self.place(task)
                );
            }
        }
        let given_up = std::mem::take(&mut *self.tasks());
        self.give_up(given_up, settings, manager, listener).await;
    }

    async fn give_up(
        &self,
        tasks: BTreeSet<SubtaskId>,
        settings: &HangSettings,
        manager: &TaskManager,
        listener: &Listener,
    ) {
        let seconds = settings.cancellation_timeout.unwrap_or_default().as_secs_f64();
        let text = |task| {
            let place = self.place(task);
            format!("Task did not exit gracefully within {seconds} + seconds (task.cancellation.timeout): {place}")
        };
        for task in &tasks {
            let text = text(*task);
            tracing::error!("{text}");
            let label = FailureLabel::User;
            let retryable = true;
            listener(*task, Report::Failed(TaskFailure { label, text, retryable }));
        }
        let Some(first) = tasks.first() else { return };
        if !manager.is_own_process() {
            tracing::error!(
                "{} thread(s) that do not end are let go of, since more runs in this process than tasks: they keep their memory, and a \
                 processor if they loop, until the process ends",
                tasks.len()
            );
            return;
        }
        tokio::time::sleep(FAREWELL).await;
        manager.0.fatal.send_replace(Some(text(*first)));
    }

    /// A task, and the call that keeps it.
    fn place(&self, task: SubtaskId) -> String {
        let views = self.counters.get().into_iter().flatten();
        let Some((_, info, metrics)) = views.into_iter().find(|(id, _, _)| *id == task) else {
            return format!("subtask {} of vertex {}", task.1 + 1, task.0);
        };
        let call = metrics.call().map(|(operator, taken)| {
            let (name, seconds) = (&metrics.operators[operator].0, taken.as_secs_f64());
            format!(" has been in one call of operator {name} for {seconds:.1} s")
        });
        format!(
            "'{}' ({}/{}) of job '{}'{}",
            info.task_name,
            info.subtask + 1,
            info.parallelism,
            info.job_name,
            call.as_deref().unwrap_or(" does not end")
        )
    }
}
