//! Windows as columns: [`WindowTableFunction`].

use super::slices::Slices;
use crate::nodes::WindowTableFunctionSpec;
use crate::operators::{MAX_EMITTED_ROWS, spec_error, wall_clock_of};
use arrow_array::{ArrayRef, TimestampMillisecondArray, UInt32Array};
use flott_core::Batch;
use flott_core::clock::{SharedClock, SystemClock};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use std::sync::Arc;

/// Every row once per window that holds it, with `window_start`, `window_end` and `window_time` behind its columns; a row's
/// windows from the earliest on. Keeps no state; late rows pass, as in Flink.
#[derive(Debug)]
pub(crate) struct WindowTableFunction {
    slices: Slices,
    clock: SharedClock,
    /// Rows that are not emitted yet.
    pending: Option<Batch>,
}

impl WindowTableFunction {
    /// The operator of a spec.
    ///
    /// # Errors
    /// If the window cannot be cut.
    pub(crate) fn new(spec: &WindowTableFunctionSpec) -> Result<Self, TaskError> {
        spec.window.validate().map_err(spec_error)?;
        let clock = wall_clock_of(if spec.is_local_time() { &spec.time_zone } else { "UTC" })?;
        Ok(Self {
            slices: Slices::new(spec.window, spec.time, clock, &spec.input),
            clock: Arc::new(SystemClock),
            pending: None,
        })
    }

    fn emit(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let Some(batch) = self.pending.take() else {
            return Ok(Flow::Done);
        };
        let rows = batch.num_rows().min(self.rows_for(MAX_EMITTED_ROWS));
        let head = batch.slice(0, rows);
        out.emit(self.apply(&head)?);
        if rows == batch.num_rows() {
            return Ok(Flow::Done);
        }
        self.pending = Some(batch.slice(rows, batch.num_rows() - rows));
        Ok(Flow::More)
    }

    /// How many rows have at most so many windows together; at least one.
    pub(super) fn rows_for(&self, windows: usize) -> usize {
        (windows / self.slices.windows_of_row()).max(1)
    }

    /// The rows of a batch, once a window.
    pub(super) fn apply(&mut self, batch: &Batch) -> Result<Batch, TaskError> {
        let times = self.slices.times(batch, self.clock.now_ms())?;
        let mut rows: Vec<u32> = vec![];
        let mut ends: Vec<i64> = vec![];
        for (row, time) in times.iter().enumerate() {
            let before = ends.len();
            self.slices.windows_of_time(*time, &mut ends);
            rows.extend(std::iter::repeat_n(row as u32, ends.len() - before));
        }
        let is_once_each = rows.iter().enumerate().all(|(i, row)| i == *row as usize);
        let repeated = if is_once_each && rows.len() == batch.num_rows() {
            batch.clone()
        } else {
            batch.take(&UInt32Array::from(rows))?
        };
        let column = |of: &dyn Fn(i64) -> i64| -> ArrayRef {
            Arc::new(TimestampMillisecondArray::from_iter_values(
                ends.iter().map(|end| of(*end)),
            ))
        };
        let mut columns = repeated.columns().to_vec();
        columns.push(column(&|end| self.slices.window_start(end)));
        columns.push(column(&|end| end));
        columns.push(column(&|end| self.slices.window_time(end)));
        Ok(repeated.with_columns(columns))
    }
}

impl Operator for WindowTableFunction {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        self.clock = ctx.clock.clone();
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        self.pending = Some(batch);
        self.emit(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        self.emit(out)
    }
}
