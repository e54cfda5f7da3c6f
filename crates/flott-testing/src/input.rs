//! How records, watermarks and the end get into a harness: [`Feed`], a queue that a source of the job reads, and the operator behind
//! it that turns what was queued into the stream's elements.

use async_trait::async_trait;
use flott::prelude::{Data, DataStream, StreamExecutionEnvironment, WatermarkStrategy};
use flott_core::{Batch, CheckpointId, EventTime};
use flott_datastream::{Records, TypedSource};
use flott_runtime::connector::{Boundedness, ConnectorError, ReaderPoll, Split};
use flott_runtime::{
    Element, Flow, Operator, OperatorContext, Output, Source, SourceReader, SplitEnumerator, TaskError,
};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a test pushes.
#[derive(Clone, Serialize, Deserialize)]
pub enum Input<T> {
    /// A record, with its event time if it has one.
    Record(T, Option<EventTime>),
    /// Time has come so far.
    Watermark(EventTime),
    /// The input counts no more for time, or again.
    Idle(bool),
}

struct Queue<T> {
    waiting: VecDeque<Input<T>>,
    has_ended: bool,
}

/// An input of a harness: what was pushed and not read yet.
pub struct Feed<T>(Arc<Mutex<Queue<T>>>);

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Feed<{}>", std::any::type_name::<T>())
    }
}

impl<T> Feed<T> {
    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, input: Input<T>) {
        self.queue().waiting.push_back(input);
    }

    pub(crate) fn end(&self) {
        self.queue().has_ended = true;
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.queue().has_ended
    }
}

impl<T: Data> Feed<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Queue {
            waiting: VecDeque::new(),
            has_ended: false,
        })))
    }

    /// The stream of what is pushed; `number` tells the inputs of a harness apart.
    pub(crate) fn stream(&self, env: &StreamExecutionEnvironment, number: usize) -> DataStream<T> {
        let name = format!("Harness Input {number}");
        let strategy = WatermarkStrategy::no_watermarks();
        let fed = env.from_source(self.clone(), &strategy, &name);
        let fed = fed.uid(&format!("harness-input-{number}")).set_parallelism(1);
        let stream = fed.transform_with::<T>(&name, || Box::new(Feeding::<T>::default()));
        stream.uid(&format!("harness-feeding-{number}")).set_parallelism(1)
    }
}

impl<T: Data> TypedSource for Feed<T> {
    type Out = Input<T>;
}

impl<T: Data> Source for Feed<T> {
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        let is_found = restored.is_some();
        Ok(Box::new(OneSplit { is_found }))
    }

    fn reader(&self, _ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        Ok(Box::new(Reader {
            feed: self.clone(),
            split: None,
            is_finished: false,
        }))
    }
}

struct OneSplit {
    is_found: bool,
}

#[async_trait]
impl SplitEnumerator for OneSplit {
    async fn discover(&mut self) -> Result<Vec<Split>, ConnectorError> {
        let split = Split {
            id: "feed".to_owned(),
            state: vec![],
        };
        Ok(match std::mem::replace(&mut self.is_found, true) {
            true => vec![],
            false => vec![split],
        })
    }

    fn discovery_interval(&self) -> Option<Duration> {
        None
    }

    fn owner(&self, _split: &Split, _parallelism: usize) -> usize {
        0
    }

    fn snapshot(&self) -> Vec<u8> {
        vec![]
    }
}

struct Reader<T> {
    feed: Feed<T>,
    split: Option<Split>,
    is_finished: bool,
}

impl<T: Data> SourceReader for Reader<T> {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        self.split = splits.into_iter().next().or(self.split.take());
        Ok(())
    }

    fn no_more_splits(&mut self) {}

    fn poll(&mut self, _now_ms: i64) -> Result<ReaderPoll, TaskError> {
        let mut queue = self.feed.queue();
        if let Some(input) = queue.waiting.pop_front() {
            let batch = Records::of(vec![input]).into_batch();
            return Ok(ReaderPoll::Batch { split: 0, batch });
        }
        if !queue.has_ended {
            return Ok(ReaderPoll::Idle { until_ms: None });
        }
        Ok(match std::mem::replace(&mut self.is_finished, true) {
            // It stays in snapshots: a later harness goes on from them.
            false if self.split.is_some() => ReaderPoll::SplitFinished(0),
            _ => ReaderPoll::Finished,
        })
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        Ok(self.split.iter().cloned().collect())
    }
}

/// Turns what was pushed into elements of the stream.
struct Feeding<T> {
    records: Records<T>,
}

impl<T> Default for Feeding<T> {
    fn default() -> Self {
        Self {
            records: Records::default(),
        }
    }
}

impl<T: Data> Operator for Feeding<T> {
    fn open(&mut self, _ctx: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        for input in Records::<Input<T>>::from_batch(batch)?.values {
            match input {
                Input::Record(value, time) => self.records.push(value, time),
                Input::Watermark(time) => {
                    out.emit(std::mem::take(&mut self.records).into_batch());
                    out.push(Element::Watermark(time));
                }
                Input::Idle(idle) => {
                    out.emit(std::mem::take(&mut self.records).into_batch());
                    out.push(Element::Idle(idle));
                }
            }
        }
        out.emit(std::mem::take(&mut self.records).into_batch());
        Ok(Flow::Done)
    }

    fn makes_watermarks(&self) -> bool {
        true
    }
}
