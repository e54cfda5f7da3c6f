//! The sink operator: a connector's writer at the end of a chain.
//!
//! At a barrier the writer flushes; when everything is acknowledged it says what a later process must know to commit it
//! ([`SinkWriter::prepare_commit`]), and that goes into the checkpoint. The commit itself happens beside the JobManager
//! once the checkpoint exists. The fail point `sink-write` (`twice`) writes every batch twice, to prove those who count.

use crate::connector::{Sink, SinkWriter};
use crate::context::OperatorContext;
use crate::element::Output;
use crate::error::TaskError;
use crate::failpoint::{self, Action};
use crate::operator::{Flow, Operator};
use flott_core::time::{END_OF_TIME, EventTime};
use flott_core::{Batch, CheckpointId};
use flott_state::OperatorSnapshot;

/// Runs a [`SinkWriter`].
pub struct SinkOperator {
    sink: Box<dyn Sink>,
    writer: Option<Box<dyn SinkWriter>>,
}

impl SinkOperator {
    /// The operator of a sink; its writer is made in `open`.
    pub fn new(sink: Box<dyn Sink>) -> Self {
        Self { sink, writer: None }
    }

    fn writer(&mut self) -> Result<&mut Box<dyn SinkWriter>, TaskError> {
        self.writer
            .as_mut()
            .ok_or_else(|| TaskError::internal("the sink was used before it was opened"))
    }
}

impl Operator for SinkOperator {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        self.writer = Some(self.sink.writer(ctx)?);
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, _out: &mut Output) -> Result<Flow, TaskError> {
        if failpoint::hit("sink-write") == Some(Action::Twice) {
            self.writer()?.write(batch.clone())?;
        }
        self.writer()?.write(batch)
    }

    fn resume(&mut self, _out: &mut Output) -> Result<Flow, TaskError> {
        self.writer()?.resume()
    }

    fn on_watermark(&mut self, watermark: EventTime, _out: &mut Output) -> Result<Flow, TaskError> {
        self.writer()?.on_watermark(watermark);
        Ok(Flow::Done)
    }

    fn on_idle(&mut self, idle: bool) {
        if let Some(writer) = &mut self.writer {
            writer.on_idle(idle);
        }
    }

    fn next_timer(&self) -> Option<i64> {
        self.writer.as_ref().and_then(|w| w.next_timer())
    }

    fn on_timer(&mut self, now_ms: i64, _out: &mut Output) -> Result<Flow, TaskError> {
        self.writer()?.on_timer(now_ms)
    }

    fn before_barrier(&mut self, _checkpoint: CheckpointId, _out: &mut Output) -> Result<Flow, TaskError> {
        self.writer()?.flush()
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        let writer = self.writer()?;
        Ok(OperatorSnapshot {
            operator_state: writer.snapshot(checkpoint)?,
            committables: writer.prepare_commit(checkpoint)?,
            ..OperatorSnapshot::default()
        })
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) {
        if let Some(writer) = &mut self.writer {
            writer.committed(checkpoint);
        }
    }

    fn checkpoint_aborted(&mut self, checkpoint: CheckpointId) {
        if let Some(writer) = &mut self.writer {
            writer.aborted(checkpoint);
        }
    }

    fn finish(&mut self, _out: &mut Output) -> Result<Flow, TaskError> {
        let writer = self.writer()?;
        writer.on_watermark(END_OF_TIME);
        writer.flush()
    }

    fn close(&mut self) -> Result<(), TaskError> {
        self.writer.as_mut().map_or(Ok(()), |writer| writer.close())
    }
}
