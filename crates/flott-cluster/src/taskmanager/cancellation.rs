//! Tasks that do not end when they are told to: one call of user code keeps their thread, which no process can take away from it.
//!
//! As in Flink, it is said every `task.cancellation.interval` where such a task is, and after `task.cancellation.timeout` it is given up. It
//! is told as failed, so that the job goes on; and a process that is a TaskManager's own ends itself, by which the thread is gone, too. Any
//! other process has more to do than to run tasks: there the thread is let go of, and loud words say so. Who still reads state, which may take
//! long, and looks at nothing meanwhile, is waited for: it hangs in nobody's code.

use super::{Counters, Listener, TaskManager};
use crate::coordinator::SubtaskId;
use crate::hang::HangSettings;
use crate::protocol::{Report, TaskFailure};
use flott_runtime::FailureLabel;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The tasks of an attempt whose threads have not ended.
pub(super) struct Unended {
    /// Of each, whether its operators are open.
    tasks: Mutex<BTreeMap<SubtaskId, bool>>,
    /// The last one has ended.
    all_ended: Notify,
    counters: Counters,
}

impl Unended {
    pub(super) fn new(counters: Counters) -> Self {
        Self {
            tasks: Mutex::default(),
            all_ended: Notify::new(),
            counters,
        }
    }

    fn tasks(&self) -> MutexGuard<'_, BTreeMap<SubtaskId, bool>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread is started for a task.
    pub(super) fn begins(&self, task: SubtaskId) {
        self.tasks().insert(task, false);
    }

    /// Its operators are open.
    pub(super) fn runs(&self, task: SubtaskId) {
        if let Some(is_open) = self.tasks().get_mut(&task) {
            *is_open = true;
        }
    }

    /// It ends; `false` if it was given up.
    pub(super) fn ends(&self, task: SubtaskId) -> bool {
        let mut tasks = self.tasks();
        let was_there = tasks.remove(&task).is_some();
        if tasks.is_empty() {
            self.all_ended.notify_one();
        }
        was_there
    }

    /// Waits for the end of all that were told to end, and gives up who does not in time.
    pub(super) async fn watch(&self, settings: &HangSettings, manager: &TaskManager, listener: &Listener) {
        let began = Instant::now();
        let timeout = settings.cancellation_timeout;
        loop {
            let left = timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                self.give_up(settings, manager, listener);
            }
            let unended: Vec<SubtaskId> = self.tasks().keys().copied().collect();
            if unended.is_empty() {
                return;
            }
            let interval = settings.cancellation_interval;
            let pause = left
                .filter(|left| !left.is_zero())
                .map_or(interval, |left| left.min(interval));
            if tokio::time::timeout(pause, self.all_ended.notified()).await.is_ok() {
                continue;
            }
            for task in unended {
                let seconds = began.elapsed().as_secs();
                tracing::warn!(
                    "a task was told to end {seconds} s ago and has not: {}",
                    self.place(task)
                );
            }
        }
    }

    /// Gives up those whose operators were open.
    fn give_up(&self, settings: &HangSettings, manager: &TaskManager, listener: &Listener) {
        let given_up: Vec<SubtaskId> = self
            .tasks()
            .extract_if(.., |_, is_open| *is_open)
            .map(|(id, _)| id)
            .collect();
        let seconds = settings.cancellation_timeout.unwrap_or_default().as_secs_f64();
        let text = |task| {
            let place = self.place(task);
            format!("Task did not exit gracefully within {seconds} + seconds (task.cancellation.timeout): {place}")
        };
        for task in &given_up {
            let text = text(*task);
            tracing::error!("{text}");
            let label = FailureLabel::User;
            let retryable = true;
            listener(*task, Report::Failed(TaskFailure { label, text, retryable }));
        }
        let Some(longest) = given_up.iter().max_by_key(|task| self.in_call(**task)) else {
            return;
        };
        if manager.is_own_process() {
            manager.0.fatal.send_replace(Some(text(*longest)));
            return;
        }
        tracing::error!(
            "{} thread(s) that do not end are let go of, since more runs in this process than tasks: they keep their memory, and a processor \
             if they loop, until the process ends",
            given_up.len()
        );
    }

    /// How long the call has taken that a task is in.
    fn in_call(&self, task: SubtaskId) -> Duration {
        let views = self.counters.get().into_iter().flatten();
        let call = views.into_iter().find(|(id, _, _)| *id == task);
        let call = call.and_then(|(_, _, metrics)| metrics.call());
        call.map_or(Duration::ZERO, |(_, taken)| taken)
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
