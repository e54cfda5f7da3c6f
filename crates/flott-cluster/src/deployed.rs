//! Where the tasks of an attempt run, and the way to them.

use crate::coordinator::SubtaskId;
use crate::placement::Placement;
use crate::protocol::{AttemptId, Order};
use crate::resources::Allocation;
use flott_runtime::task::TaskCommand;

/// An attempt with its slots; released everywhere by dropping it.
pub struct Deployed {
    /// The attempt.
    pub id: AttemptId,
    /// Its slots.
    pub allocation: Allocation,
    /// Of every subtask, by vertex and index, which of the TaskManagers runs it.
    pub placement: Placement,
}

impl Drop for Deployed {
    fn drop(&mut self) {
        self.tell_all(&Order::Release);
    }
}

impl Deployed {
    /// Passes an order on to the TaskManager of a subtask.
    pub(crate) fn tell(&self, (vertex, subtask): SubtaskId, command: TaskCommand) {
        let manager = &self.allocation.task_managers[self.placement[vertex][subtask]];
        manager.gateway.order(self.id, Order::Task((vertex, subtask), command));
    }

    /// Passes an order on to all TaskManagers.
    pub(crate) fn tell_all(&self, order: &Order) {
        for manager in &self.allocation.task_managers {
            manager.gateway.order(self.id, order.clone());
        }
    }

    /// The subtasks of a TaskManager.
    pub(crate) fn of_task_manager(&self, index: usize) -> Vec<SubtaskId> {
        self.placement.subtasks_at(index).to_vec()
    }
}
