//! What comes out of a harness: an operator behind the tested ones that notes records and watermarks in the order of their coming.

use flott::prelude::{Data, DataStream};
use flott_core::{Batch, EventTime};
use flott_datastream::Records;
use flott_runtime::{Flow, Operator, OperatorContext, TaskError};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A record that came out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamRecord<T> {
    /// It.
    pub value: T,
    /// Its event time, in milliseconds, if it has one.
    pub timestamp: Option<EventTime>,
}

/// Something that came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<T> {
    /// A record.
    Record(StreamRecord<T>),
    /// A watermark, in milliseconds.
    Watermark(EventTime),
}

/// What came out and was not taken yet.
pub(crate) struct Collected<T>(Arc<Mutex<Vec<Output<T>>>>);

impl<T> Clone for Collected<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Collected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} outputs", self.outputs().len())
    }
}

impl<T> Collected<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn outputs(&self) -> MutexGuard<'_, Vec<Output<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the records and drops the watermarks between them.
    pub(crate) fn take_records(&self) -> Vec<StreamRecord<T>> {
        let all = std::mem::take(&mut *self.outputs()).into_iter();
        all.filter_map(|output| match output {
            Output::Record(record) => Some(record),
            Output::Watermark(_) => None,
        })
        .collect()
    }
}

impl<T: Data> Collected<T> {
    /// Notes what a stream gives.
    pub(crate) fn collect(&self, stream: &DataStream<T>, name: &str) {
        let collected = self.clone();
        let noted = stream.transform_with::<()>(name, move || {
            Box::new(Noting {
                collected: collected.clone(),
            })
        });
        noted.uid(name).for_each(|()| ()).uid(&format!("{name}-end"));
    }
}

struct Noting<T> {
    collected: Collected<T>,
}

impl<T: Data> Operator for Noting<T> {
    fn open(&mut self, _ctx: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, _out: &mut flott_runtime::Output) -> Result<Flow, TaskError> {
        let records = Records::<T>::from_batch(batch)?;
        let times: Vec<Option<EventTime>> = (0..records.values.len()).map(|i| records.time(i)).collect();
        let records = records.values.into_iter().zip(times);
        let outputs = records.map(|(value, timestamp)| Output::Record(StreamRecord { value, timestamp }));
        self.collected.outputs().extend(outputs);
        Ok(Flow::Done)
    }

    fn on_watermark(&mut self, watermark: EventTime, _out: &mut flott_runtime::Output) -> Result<Flow, TaskError> {
        self.collected.outputs().push(Output::Watermark(watermark));
        Ok(Flow::Done)
    }
}
