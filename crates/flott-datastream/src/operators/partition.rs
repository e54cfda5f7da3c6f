//! Names the subtask of each record for a custom exchange behind it.

use super::AtHand;
use crate::records::{Data, Records};
use flott_core::Batch;
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use std::sync::Arc;

/// Writes the number that the partitioner gives in the place of the key's hash.
pub(crate) struct PartitionBy<T, F> {
    partitioner: F,
    subtasks: usize,
    at_hand: AtHand<T>,
}

impl<T: Data, F> PartitionBy<T, F> {
    pub(crate) fn new(partitioner: F, subtasks: usize) -> Self {
        Self {
            partitioner,
            subtasks,
            at_hand: AtHand::new(),
        }
    }
}

impl<T: Data, F: FnMut(&T, usize) -> usize + Send> Operator for PartitionBy<T, F> {
    fn open(&mut self, _ctx: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        let records = Records::<T>::from_batch(batch)?;
        let mut targets = Vec::with_capacity(records.values.len());
        let Self {
            partitioner,
            subtasks,
            at_hand,
        } = self;
        at_hand.each(&records, |value, _| {
            let target = partitioner(value, *subtasks);
            if target >= *subtasks {
                return Err(format!("the partitioner names subtask {target} of {subtasks}").into());
            }
            targets.push(target as u64);
            Ok(())
        })?;
        out.emit(records.into_batch().with_hashes(Some(Arc::new(targets))));
        Ok(Flow::Done)
    }
}
