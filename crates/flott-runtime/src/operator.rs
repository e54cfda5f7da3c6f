//! The operator: a synchronous piece of a chain.

use crate::context::OperatorContext;
use crate::element::Output;
use crate::error::{TaskError, panic_text};
use flott_core::time::EventTime;
use flott_core::{Batch, CheckpointId};
use flott_state::OperatorSnapshot;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the driver does next with an operator that was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The call is done.
    Done,
    /// There is more to emit: call [`Operator::resume`] when there is room downstream.
    More,
    /// Something outside is not ready (a sink's buffer, an acknowledgement): call [`Operator::resume`] after the next
    /// wake-up of the task.
    Blocked,
}

/// A transformation of a chain.
///
/// The contract:
/// * calls come from one thread, in the order of the stream; `open` first;
/// * an operator holds no lock, does no I/O, reads no clock of its own and never sleeps: what must wait returns
///   [`Flow::Blocked`] and wakes the task through [`OperatorContext::waker`];
/// * a call emits at most about 8,192 rows or 4 MiB, then returns [`Flow::More`]; while a call is not `Done`, the driver
///   makes no other call than `resume`;
/// * the driver forwards watermarks, barriers, idleness and ends; an operator emits rows only.
pub trait Operator: Send {
    /// Prepares the operator, and restores it if `ctx` holds state.
    ///
    /// # Errors
    /// If the state or the settings cannot be used.
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError>;

    /// Takes one batch of logical input `input`.
    ///
    /// # Errors
    /// If a row fails.
    fn process(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError>;

    /// Goes on with the call that returned [`Flow::More`] or [`Flow::Blocked`].
    ///
    /// # Errors
    /// As the call it continues.
    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let _ = out;
        Ok(Flow::Done)
    }

    /// Event time has come to `watermark` (strictly later than before); forwarded after `Done`.
    ///
    /// # Errors
    /// If a window cannot be computed.
    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<Flow, TaskError> {
        let _ = (watermark, out);
        Ok(Flow::Done)
    }

    /// Whether the operator emits watermarks of its own: then those of its input are not passed on, but for the end of time.
    fn makes_watermarks(&self) -> bool {
        false
    }

    /// Whether the input's watermark counts no more (`true`) or again; passed on after the call, unless the operator makes watermarks.
    fn on_idle(&mut self, idle: bool) {
        let _ = idle;
    }

    /// The earliest processing time in milliseconds at which [`Operator::on_timer`] wants to be called.
    fn next_timer(&self) -> Option<i64> {
        None
    }

    /// Processing time has come to `now_ms`, at or after [`Operator::next_timer`].
    ///
    /// # Errors
    /// If a timer's work fails.
    fn on_timer(&mut self, now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        let _ = (now_ms, out);
        Ok(Flow::Done)
    }

    /// Emits what is buffered, so that the barrier can pass behind it.
    ///
    /// # Errors
    /// If it cannot be emitted.
    fn before_barrier(&mut self, checkpoint: CheckpointId, out: &mut Output) -> Result<Flow, TaskError> {
        let _ = (checkpoint, out);
        Ok(Flow::Done)
    }

    /// Captures the state: cheap (shares memory), without I/O; it is encoded and written elsewhere.
    ///
    /// # Errors
    /// If the state cannot be captured.
    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        let _ = checkpoint;
        Ok(OperatorSnapshot::default())
    }

    /// The checkpoint is complete and its commits are done.
    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
    }

    /// The checkpoint was given up, before or behind its barrier here; where it was before, no [`Operator::snapshot`] of it follows.
    fn checkpoint_aborted(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
    }

    /// All input was read and the last watermark has passed: emits what is left. Checkpoints still follow, the last one for certain, so
    /// nothing is given away yet: [`Operator::close`] does that.
    ///
    /// # Errors
    /// If it cannot be emitted.
    fn finish(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let _ = out;
        Ok(Flow::Done)
    }

    /// The task ends, in whatever way: releases what `open` took, and emits nothing. Called once and last by whoever called `open`, also where
    /// that has failed: behind the last checkpoint and word of it, and where the job is stopped or canceled or fails.
    ///
    /// # Errors
    /// They are told in the log and change nothing: all that counts is committed, or something else has ended the task.
    fn close(&mut self) -> Result<(), TaskError> {
        Ok(())
    }

    /// Memory that the operator holds, in bytes.
    fn state_bytes(&self) -> usize {
        0
    }
}

/// Closes an operator. What it fails or panics with is told in the log, so that it hides nothing that came before, and the next one is closed too.
pub fn close(name: &str, operator: &mut dyn Operator) {
    let closed = catch_unwind(AssertUnwindSafe(|| operator.close()));
    let error = match closed {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.full_text(),
        Err(panic) => format!("it panicked: {}", panic_text(panic.as_ref())),
    };
    tracing::warn!(operator = name, error, "an operator could not be closed");
}
