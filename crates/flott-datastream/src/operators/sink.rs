//! Sinks of functions: a user's [`SinkFunction`], printing, collecting.

use super::{AtHand, guarded};
use crate::function::{BoxError, RuntimeContext, SinkFunction};
use crate::records::{Data, Records};
use crate::state::operator::OperatorStates;
use crate::text::write_text;
use flott_core::{Batch, CheckpointId, EventTime};
use flott_runtime::{Flow, OperatorContext, Sink, SinkWriter, TaskError};
use flott_state::OperatorEntry;
use std::io::Write;
use std::marker::PhantomData;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The sink around a function.
pub(crate) struct FunctionSink<T, F> {
    function: F,
    records: PhantomData<fn(T)>,
}

impl<T: Data, F: SinkFunction<T>> FunctionSink<T, F> {
    pub(crate) fn new(function: F) -> Self {
        Self {
            function,
            records: PhantomData,
        }
    }
}

impl<T: Data, F: SinkFunction<T>> Sink for FunctionSink<T, F> {
    fn writer(&self, ctx: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        let mut writer = FunctionWriter {
            function: self.function.clone(),
            at_hand: AtHand::<T>::new(),
            states: OperatorStates::default(),
        };
        match writer.open(ctx) {
            Ok(()) => Ok(Box::new(writer)),
            // Nobody else has it who would close it; that it could not be opened is what counts.
            Err(error) => {
                drop(writer.close());
                Err(error)
            }
        }
    }
}

struct FunctionWriter<T, F> {
    function: F,
    at_hand: AtHand<T>,
    states: OperatorStates,
}

impl<T: Data, F: SinkFunction<T>> FunctionWriter<T, F> {
    fn open(&mut self, ctx: &OperatorContext) -> Result<(), TaskError> {
        let runtime = RuntimeContext::with_states(ctx, &self.states);
        guarded("open", || self.function.open(&runtime))?;
        self.states.restore(ctx)
    }
}

impl<T: Data, F: SinkFunction<T>> SinkWriter for FunctionWriter<T, F> {
    fn write(&mut self, batch: Batch) -> Result<Flow, TaskError> {
        let function = &mut self.function;
        self.at_hand.take(Records::from_batch(batch)?);
        self.at_hand.guard(|at_hand| {
            while let Some((value, time)) = at_hand.next() {
                function.invoke(value, time)?;
            }
            Ok(())
        })?;
        Ok(Flow::Done)
    }

    fn flush(&mut self) -> Result<Flow, TaskError> {
        guarded("flush", || self.function.flush())?;
        Ok(Flow::Done)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<Vec<OperatorEntry>, TaskError> {
        guarded("snapshot_state", || self.function.snapshot_state(checkpoint))?;
        self.states.snapshot()
    }

    fn committed(&mut self, checkpoint: CheckpointId) {
        self.function.notify_checkpoint_complete(checkpoint);
    }

    fn aborted(&mut self, checkpoint: CheckpointId) {
        self.function.notify_checkpoint_aborted(checkpoint);
    }

    fn close(&mut self) -> Result<(), TaskError> {
        guarded("close", || self.function.close())
    }
}

/// Prints each record as a line, behind the subtask's number where there are several: `2> (message,1)`.
#[derive(Clone)]
pub(crate) struct Print {
    pub(crate) identifier: String,
    pub(crate) to_standard_error: bool,
    prefix: String,
    lines: String,
}

impl Print {
    pub(crate) fn new(identifier: &str, to_standard_error: bool) -> Self {
        Self {
            identifier: identifier.to_owned(),
            to_standard_error,
            prefix: String::new(),
            lines: String::new(),
        }
    }

    fn print(&mut self) -> Result<(), BoxError> {
        let bytes = self.lines.as_bytes();
        match self.to_standard_error {
            true => std::io::stderr().write_all(bytes)?,
            false => {
                let mut out = std::io::stdout();
                out.write_all(bytes)?;
                out.flush()?;
            }
        }
        self.lines.clear();
        Ok(())
    }
}

impl<T: Data> SinkFunction<T> for Print {
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        let subtask = ctx.index_of_this_subtask() + 1;
        self.prefix = match (self.identifier.as_str(), ctx.number_of_parallel_subtasks() > 1) {
            ("", false) => String::new(),
            ("", true) => format!("{subtask}> "),
            (identifier, false) => format!("{identifier}> "),
            (identifier, true) => format!("{identifier}:{subtask}> "),
        };
        Ok(())
    }

    fn invoke(&mut self, value: T, _time: Option<EventTime>) -> Result<(), BoxError> {
        self.lines.push_str(&self.prefix);
        write_text(&value, &mut self.lines)?;
        self.lines.push('\n');
        self.print()
    }
}

/// Puts records where the program finds them, up to a limit.
#[derive(Debug)]
pub(crate) struct Collect<T> {
    records: Arc<(Mutex<Vec<T>>, Condvar)>,
    limit: usize,
}

impl<T> Clone for Collect<T> {
    fn clone(&self) -> Self {
        Self {
            records: self.records.clone(),
            limit: self.limit,
        }
    }
}

/// How often it is looked whether a job has ended without more records.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

impl<T> Collect<T> {
    pub(crate) fn new() -> Self {
        Self::up_to(usize::MAX)
    }

    /// Drops what comes behind `limit` records.
    pub(crate) fn up_to(limit: usize) -> Self {
        Self {
            records: Arc::default(),
            limit,
        }
    }

    fn records(&self) -> MutexGuard<'_, Vec<T>> {
        self.records.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.records())
    }

    /// Waits until the limit is reached (`false`), or `goes_on` no more (`true`).
    pub(crate) fn wait_while(&self, goes_on: impl Fn() -> bool) -> bool {
        let mut records = self.records();
        while records.len() < self.limit {
            if !goes_on() {
                return true;
            }
            let waited = self.records.1.wait_timeout(records, LOOK_INTERVAL);
            records = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }
}

impl<T: Data> SinkFunction<T> for Collect<T> {
    fn invoke(&mut self, value: T, _time: Option<EventTime>) -> Result<(), BoxError> {
        let mut records = self.records();
        if records.len() < self.limit {
            records.push(value);
            if records.len() == self.limit {
                self.records.1.notify_all();
            }
        }
        Ok(())
    }
}

/// A closure as a sink.
#[derive(Clone)]
pub(crate) struct ForEach<F>(pub F);

impl<T, F: FnMut(T) + Clone + Send + Sync + 'static> SinkFunction<T> for ForEach<F> {
    fn invoke(&mut self, value: T, _time: Option<EventTime>) -> Result<(), BoxError> {
        (self.0)(value);
        Ok(())
    }
}
