//! Sources in the program itself: a collection, or a function of a number.
//!
//! Both count: a split is a range of numbers and its position the next one, so a restored job goes on where it was.

use crate::function::BoxError;
use crate::operators::guarded;
use crate::records::{Data, Records};
use async_trait::async_trait;
use flott_core::CheckpointId;
use flott_runtime::connector::{Boundedness, ConnectorError, ReaderPoll, Split};
use flott_runtime::{OperatorContext, Source, SourceReader, SplitEnumerator, TaskError};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ops::Range;
use std::time::Duration;

/// Records of one poll.
const POLL_ROWS: u64 = 4096;

/// The records of the numbers from 0 to below `count`.
pub(crate) struct Counted<T, F> {
    make: F,
    count: u64,
    /// How many splits the numbers are cut into.
    lanes: u64,
    records: PhantomData<fn() -> T>,
}

impl<T, F> Counted<T, F> {
    /// In one split, in order.
    pub(crate) fn in_order(count: u64, make: F) -> Self {
        Self::over_lanes(count, 1, make)
    }

    /// In several splits, which subtasks share.
    pub(crate) fn over_lanes(count: u64, lanes: u64, make: F) -> Self {
        Self {
            make,
            count,
            lanes,
            records: PhantomData,
        }
    }
}

fn split_of(id: &str, numbers: &Range<u64>) -> Split {
    let state = [numbers.start.to_le_bytes(), numbers.end.to_le_bytes()].concat();
    Split {
        id: id.to_owned(),
        state,
    }
}

fn numbers_of(split: &Split) -> Result<Range<u64>, TaskError> {
    let (numbers, rest) = split.state.as_chunks::<8>();
    match (numbers, rest) {
        ([start, end], []) => Ok(u64::from_le_bytes(*start)..u64::from_le_bytes(*end)),
        _ => Err(TaskError::internal(format!("the position of split '{}' is damaged", split.id)).fatal()),
    }
}

impl<T: Data, F> Source for Counted<T, F>
where
    F: FnMut(u64) -> Result<T, BoxError> + Clone + Send + Sync + 'static,
{
    fn boundedness(&self) -> Boundedness {
        match self.count {
            u64::MAX => Boundedness::Unbounded,
            _ => Boundedness::Bounded,
        }
    }

    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        Ok(Box::new(Lanes {
            count: self.count,
            lanes: self.lanes,
            is_found: restored.is_some(),
        }))
    }

    fn reader(&self, ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        let most = ctx.task.batching()?.rows_or(POLL_ROWS as usize) as u64;
        Ok(Box::new(CountedReader {
            make: self.make.clone(),
            most,
            splits: vec![],
            waiting: VecDeque::new(),
            is_complete: false,
            records: PhantomData,
        }))
    }
}

struct Lanes {
    count: u64,
    lanes: u64,
    is_found: bool,
}

#[async_trait]
impl SplitEnumerator for Lanes {
    async fn discover(&mut self) -> Result<Vec<Split>, ConnectorError> {
        if std::mem::replace(&mut self.is_found, true) {
            return Ok(vec![]);
        }
        // In 128 bits, since an endless source counts to the last number of 64.
        let bound = |lane: u64| (u128::from(self.count) * u128::from(lane) / u128::from(self.lanes)) as u64;
        let lane = |lane: u64| split_of(&format!("{lane:03}"), &(bound(lane)..bound(lane + 1)));
        Ok((0..self.lanes).map(lane).collect())
    }

    fn discovery_interval(&self) -> Option<Duration> {
        None
    }

    fn owner(&self, split: &Split, parallelism: usize) -> usize {
        split.id.parse::<usize>().unwrap_or_default() % parallelism
    }

    fn snapshot(&self) -> Vec<u8> {
        vec![]
    }
}

struct CountedReader<T, F> {
    make: F,
    most: u64,
    splits: Vec<(String, Range<u64>)>,
    /// Splits that are not read to their end, the one at hand first.
    waiting: VecDeque<usize>,
    is_complete: bool,
    records: PhantomData<fn() -> T>,
}

impl<T: Data, F> SourceReader for CountedReader<T, F>
where
    F: FnMut(u64) -> Result<T, BoxError> + Send,
{
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        for split in splits {
            self.waiting.push_back(self.splits.len());
            let numbers = numbers_of(&split)?;
            self.splits.push((split.id, numbers));
        }
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.is_complete = true;
    }

    fn poll(&mut self, _now_ms: i64) -> Result<ReaderPoll, TaskError> {
        let Some(&split) = self.waiting.front() else {
            return Ok(match self.is_complete {
                true => ReaderPoll::Finished,
                false => ReaderPoll::Idle { until_ms: None },
            });
        };
        let numbers = &mut self.splits[split].1;
        if numbers.is_empty() {
            self.waiting.pop_front();
            return Ok(ReaderPoll::SplitFinished(split));
        }
        let end = numbers.end.min(numbers.start.saturating_add(self.most));
        let mut values = Vec::with_capacity((end - numbers.start) as usize);
        guarded("source", || {
            (numbers.start..end).try_for_each(|number| {
                values.push((self.make)(number)?);
                Ok(())
            })
        })?;
        numbers.start = end;
        Ok(ReaderPoll::Batch {
            split,
            batch: Records::of(values).into_batch(),
        })
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        let open = self.waiting.iter().map(|split| &self.splits[*split]);
        Ok(open.map(|(id, numbers)| split_of(id, numbers)).collect())
    }

    fn is_active(&self, split: usize) -> bool {
        self.waiting.front() == Some(&split)
    }
}
