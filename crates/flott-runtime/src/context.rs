//! What an operator, reader or writer is told about where it runs.

use crate::batching::Batching;
use crate::error::TaskError;
use crate::metrics::OperatorMetrics;
use crate::waker::Waker;
use flott_core::clock::SharedClock;
use flott_core::{JobId, KeyGroupRange, OperatorId, Options};
use flott_state::{KeyedTable, RestoredState, StateBackend, TableDescriptor};
use std::sync::Arc;

/// Where a subtask runs: equal for all operators of its chain.
#[derive(Debug, Clone)]
pub struct TaskInfo {
    /// The job.
    pub job_id: JobId,
    /// `pipeline.name`.
    pub job_name: String,
    /// Name of the vertex.
    pub task_name: String,
    /// Index of the subtask, from 0.
    pub subtask: usize,
    /// Number of subtasks.
    pub parallelism: usize,
    /// Number of key groups.
    pub max_parallelism: usize,
    /// How often the job was started before, restarts included; names of files and transactions carry it.
    pub attempt: u64,
    /// Leadership of the JobManager that deployed it.
    pub generation: u64,
    /// Options of the job.
    pub options: Arc<Options>,
}

impl TaskInfo {
    /// How rows are batched and moved.
    ///
    /// # Errors
    /// If an option's value is wrong.
    pub fn batching(&self) -> Result<Batching, TaskError> {
        Batching::of(&self.options)
    }

    /// The key groups that this subtask owns.
    pub fn key_groups(&self) -> KeyGroupRange {
        KeyGroupRange::of_subtask(self.max_parallelism, self.parallelism, self.subtask)
    }
}

/// Handed to [`crate::Operator::open`].
#[derive(Debug)]
pub struct OperatorContext {
    /// Where the subtask runs.
    pub task: Arc<TaskInfo>,
    /// The operator.
    pub operator_id: OperatorId,
    /// Its name.
    pub operator_name: String,
    /// Wakes the task from outside.
    pub waker: Waker,
    /// Processing time.
    pub clock: SharedClock,
    /// Tokio, for the edges that need it.
    pub runtime: tokio::runtime::Handle,
    /// Counters of this operator.
    pub metrics: Arc<OperatorMetrics>,
    /// State to start from; `None` on a fresh start. Taken once, in `open`.
    pub restored: Option<RestoredState>,
    /// Where keyed state lies.
    pub backend: StateBackend,
}

impl OperatorContext {
    /// An empty table for the subtask's key groups, of an operator that keeps no slot from one batch to the next, or says which: it may lie
    /// partly on disk ([`StateBackend::table`]).
    ///
    /// # Errors
    /// If there is no disk for it.
    pub fn table(&self, descriptor: impl Into<Arc<TableDescriptor>>) -> Result<KeyedTable, TaskError> {
        Ok(self
            .backend
            .table(descriptor, self.task.max_parallelism, self.task.key_groups())?)
    }

    /// The same for a queue by the time that ends the keys ([`StateBackend::table_by_time`]).
    ///
    /// # Errors
    /// If there is no disk for it.
    pub fn table_by_time(&self, descriptor: impl Into<Arc<TableDescriptor>>) -> Result<KeyedTable, TaskError> {
        Ok(self
            .backend
            .table_by_time(descriptor, self.task.max_parallelism, self.task.key_groups())?)
    }
}
