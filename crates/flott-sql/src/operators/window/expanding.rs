//! Windows that are told apart row by row, before they are aggregated: [`Expanding`].

use super::table_function::WindowTableFunction;
use crate::nodes::WindowTableFunctionSpec;
use crate::operators::MAX_EMITTED_ROWS;
use flott_core::time::EventTime;
use flott_core::{Batch, CheckpointId};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::OperatorSnapshot;

/// Gives every row its windows, as the window function of the same name does, to an aggregate of rows that bring their window
/// along. For windows that are not made of whole slices, or leave gaps, or fire more than once.
///
/// Both happen in one place, so a row whose window is cut by the clock meets it before the clock has passed it.
pub(crate) struct Expanding {
    function: WindowTableFunction,
    aggregate: Box<dyn Operator>,
    /// Whether the aggregate has more to say of what it has got.
    is_busy: bool,
    /// Rows that the aggregate has not got yet.
    pending: Option<Batch>,
}

impl Expanding {
    /// Puts the windows of `spec` before an aggregate.
    ///
    /// # Errors
    /// If the window cannot be cut.
    pub(crate) fn new(spec: &WindowTableFunctionSpec, aggregate: Box<dyn Operator>) -> Result<Self, TaskError> {
        Ok(Self {
            function: WindowTableFunction::new(spec)?,
            aggregate,
            is_busy: false,
            pending: None,
        })
    }

    fn noted(&mut self, flow: Flow) -> Flow {
        self.is_busy = flow != Flow::Done;
        flow
    }

    /// Hands the next rows over, when the aggregate is done with the ones before.
    fn go_on(&mut self, flow: Flow, out: &mut Output) -> Result<Flow, TaskError> {
        if self.noted(flow) != Flow::Done {
            return Ok(flow);
        }
        let Some(batch) = self.pending.take() else {
            return Ok(Flow::Done);
        };
        let rows = batch.num_rows().min(self.function.rows_for(MAX_EMITTED_ROWS));
        let expanded = self.function.apply(&batch.slice(0, rows))?;
        if rows < batch.num_rows() {
            self.pending = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        let flow = self.aggregate.process(0, expanded, out)?;
        match self.noted(flow) {
            Flow::Done if self.pending.is_some() => Ok(Flow::More),
            flow => Ok(flow),
        }
    }
}

impl Operator for Expanding {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        self.function.open(ctx)?;
        self.aggregate.open(ctx)
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        self.pending = Some(batch);
        self.go_on(Flow::Done, out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let flow = match self.is_busy {
            true => self.aggregate.resume(out)?,
            false => Flow::Done,
        };
        self.go_on(flow, out)
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Flow, TaskError> {
        let flow = self.aggregate.on_watermark(watermark, out)?;
        Ok(self.noted(flow))
    }

    fn next_timer(&self) -> Option<i64> {
        self.aggregate.next_timer()
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        let flow = self.aggregate.on_timer(now_ms, out)?;
        Ok(self.noted(flow))
    }

    fn before_barrier(&mut self, checkpoint: CheckpointId, out: &mut Output) -> Result<Flow, TaskError> {
        let flow = self.aggregate.before_barrier(checkpoint, out)?;
        Ok(self.noted(flow))
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        self.aggregate.snapshot(checkpoint)
    }

    fn finish(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let flow = self.aggregate.finish(out)?;
        Ok(self.noted(flow))
    }

    fn state_bytes(&self) -> usize {
        self.aggregate.state_bytes()
    }
}
