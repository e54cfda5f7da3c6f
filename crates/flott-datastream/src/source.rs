//! Sources in the program itself: a collection, or a function of a number.
//!
//! Both count: a split is a range of numbers and its position the next one, so a restored job goes on where it was.

use crate::connector::TypedSource;
use crate::function::BoxError;
use crate::operators::guarded;
use crate::records::{Data, Records};
use async_trait::async_trait;
use flott_core::CheckpointId;
use flott_runtime::connector::{Boundedness, ConnectorError, ReaderPoll, Split};
use flott_runtime::{OperatorContext, Source, SourceReader, SplitEnumerator, TaskError};
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::time::Duration;

/// How many splits a generator has, so that its numbers can be shared by so many subtasks at most.
pub(crate) const GENERATOR_LANES: u64 = 128;
/// Records of one poll: at most so many, and of so many bytes, which stay in a cache on their way through a chain.
const POLL_ROWS: usize = 4096;
const POLL_BYTES: usize = 48 * 1024;

/// The records of the numbers from 0 to below `count`.
pub(crate) struct Counted<T, F> {
    make: F,
    count: u64,
    /// How many splits the numbers are cut into.
    lanes: u64,
    rate: RateLimiterStrategy,
    records: PhantomData<fn() -> T>,
}

/// How many records a [`DataGeneratorSource`] makes in a second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RateLimiterStrategy(Option<f64>);

impl RateLimiterStrategy {
    /// So many, by all its subtasks together.
    pub fn per_second(records: f64) -> Self {
        Self(Some(records))
    }

    /// As many as can be.
    pub fn no_op() -> Self {
        Self(None)
    }
}

/// Records made of numbers, as many in a second as a program asks for.
///
/// ```
/// use flott::datastream::{DataGeneratorSource, RateLimiterStrategy};
/// use flott::prelude::*;
///
/// let env = StreamExecutionEnvironment::get_execution_environment();
/// let source = DataGeneratorSource::with_rate(|n| format!("record {n}"), 3, RateLimiterStrategy::per_second(1000.0));
/// let records = env.from_source(source, WatermarkStrategy::no_watermarks(), "records");
/// assert_eq!(records.execute_and_collect("generate")?.len(), 3);
/// # Ok::<(), ExecuteError>(())
/// ```
pub struct DataGeneratorSource<T> {
    source: Box<dyn Source>,
    records: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for DataGeneratorSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataGeneratorSource<{}>", std::any::type_name::<T>())
    }
}

impl<T: Data> DataGeneratorSource<T> {
    /// The records that `make` makes of the numbers from 0 to below `count`; `u64::MAX` does not end.
    pub fn new(make: impl FnMut(u64) -> T + Clone + Send + Sync + 'static, count: u64) -> Self {
        Self::with_rate(make, count, RateLimiterStrategy::no_op())
    }

    /// The same, at most so many in a second.
    pub fn with_rate(
        mut make: impl FnMut(u64) -> T + Clone + Send + Sync + 'static,
        count: u64,
        rate: RateLimiterStrategy,
    ) -> Self {
        let lanes = GENERATOR_LANES.min(count.max(1));
        let mut counted = Counted::over_lanes(count, lanes, move |number| Ok::<T, BoxError>(make(number)));
        counted.rate = rate;
        Self {
            source: Box::new(counted),
            records: PhantomData,
        }
    }
}

impl<T: Data> Source for DataGeneratorSource<T> {
    fn boundedness(&self) -> Boundedness {
        self.source.boundedness()
    }

    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        self.source.enumerator(restored)
    }

    fn reader(&self, ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        self.source.reader(ctx)
    }
}

impl<T: Data> TypedSource for DataGeneratorSource<T> {
    type Out = T;
}

/// What a subtask may hand out by its rate.
struct Rate {
    per_second: f64,
    since_ms: Option<i64>,
    handed_out: u64,
}

impl Rate {
    /// How many records may be made now, or when the next may.
    fn allowed(&mut self, now_ms: i64) -> Result<u64, i64> {
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        let due = |since_ms: i64| ((now_ms - since_ms) as f64 / 1000.0 * self.per_second) as u64 + 1;
        let behind = due(since_ms).saturating_sub(self.handed_out);
        // What could not be handed out for longer than a second is not made up for.
        let most = (self.per_second as u64).saturating_add(1);
        if behind > most {
            (self.since_ms, self.handed_out) = (Some(now_ms), 0);
            return Ok(most);
        }
        match behind {
            0 => Err(since_ms.saturating_add((self.handed_out as f64 / self.per_second * 1000.0).ceil() as i64)),
            behind => Ok(behind),
        }
    }
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
            rate: RateLimiterStrategy::no_op(),
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
        if let Some(rate) = self.rate.0.filter(|rate| !(rate.is_finite() && *rate > 0.0)) {
            return Err(ConnectorError::Option(format!(
                "RateLimiterStrategy::per_second({rate}): a rate is a number above zero; use RateLimiterStrategy::no_op() for none"
            )));
        }
        Ok(Box::new(Lanes {
            count: self.count,
            lanes: self.lanes,
            is_found: restored.is_some(),
        }))
    }

    fn reader(&self, ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        let of_size = POLL_BYTES / size_of::<T>().max(1);
        let most = ctx.task.batching()?.rows_or(of_size.clamp(1, POLL_ROWS)) as u64;
        Ok(Box::new(CountedReader {
            make: self.make.clone(),
            most,
            rate: self.rate.0.map(|per_second| Rate {
                per_second: per_second / ctx.task.parallelism as f64,
                since_ms: None,
                handed_out: 0,
            }),
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
    rate: Option<Rate>,
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

    fn poll(&mut self, now_ms: i64) -> Result<ReaderPoll, TaskError> {
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
        let most = match self.rate.as_mut().map(|rate| rate.allowed(now_ms)) {
            None => self.most,
            Some(Ok(allowed)) => allowed.min(self.most),
            Some(Err(next_ms)) => {
                return Ok(ReaderPoll::Idle {
                    until_ms: Some(next_ms),
                });
            }
        };
        let end = numbers.end.min(numbers.start.saturating_add(most));
        let mut values = Vec::with_capacity((end - numbers.start) as usize);
        guarded("source", || {
            (numbers.start..end).try_for_each(|number| {
                values.push((self.make)(number)?);
                Ok(())
            })
        })?;
        if let Some(rate) = &mut self.rate {
            rate.handed_out += end - numbers.start;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_and_a_long_pause_is_not_made_up_for() {
        let mut rate = Rate {
            per_second: 10.0,
            since_ms: None,
            handed_out: 0,
        };
        let mut handed_out = |now_ms: i64| {
            let allowed = rate.allowed(now_ms);
            rate.handed_out += allowed.unwrap_or_default();
            allowed
        };
        assert_eq!(handed_out(5_000), Ok(1));
        assert_eq!(handed_out(5_050), Err(5_100));
        assert_eq!(handed_out(5_100), Ok(1));
        assert_eq!(handed_out(5_950), Ok(8));
        assert_eq!(handed_out(5_950), Err(6_000));
        assert_eq!(handed_out(60_000), Ok(11));
        assert!(handed_out(60_001).is_err());
    }

    #[test]
    fn a_rate_that_is_none_is_refused() {
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let source = DataGeneratorSource::with_rate(|n| n, 3, RateLimiterStrategy::per_second(wrong));
            let error = source.enumerator(None).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains("above zero"), "{wrong}: {error}");
        }
    }
}
