//! Event time: which time a record has and how far time has come ([`WatermarkStrategy`]).
//!
//! At a source a watermark is made per split and the smallest counts, so that partitions read at different speeds make nothing late;
//! elsewhere ([`crate::DataStream::assign_timestamps_and_watermarks`]) one is made per subtask. Both are emitted every
//! `pipeline.auto-watermark-interval`.

use crate::graph::ProgramError;
use crate::operators::{AtHand, made_of_each};
use crate::records::{Data, Records};
use crate::runtime_mode;
use crate::watermarks::{Generating, MakeGenerator, WatermarkGenerator};
use arrow_array::Int64Array;
use flott_core::time::NO_WATERMARK;
use flott_core::{Batch, CheckpointId, EventTime};
use flott_runtime::connector::{
    Boundedness, ConnectorError, DEFAULT_ALIGNMENT_INTERVAL_MS, ReaderPoll, Split, WatermarkGenerator as OfSplits,
    WatermarkSpec,
};
use flott_runtime::{
    Element, Flow, Operator, OperatorContext, Output, Source, SourceReader, SplitEnumerator, TaskError,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Gives records their times, in milliseconds since the epoch, from themselves and the times that they have from their source.
/// One call is for all records of a batch, in whose loop the program's function is inlined.
type Assigner<T> = Arc<dyn Fn(&Records<T>, &mut Vec<EventTime>) + Send + Sync>;

/// The watermark that a record justifies, with its time.
type Justify<T> = Arc<dyn Fn(&T, EventTime) -> Option<EventTime> + Send + Sync>;

/// What moves time.
enum Pace<T> {
    /// Nothing.
    Still,
    /// The latest time, less so many milliseconds.
    Behind(i64),
    /// What each record says.
    Said(Justify<T>),
    /// What generators of the program's own say.
    Own(MakeGenerator<T>),
}

impl<T> Clone for Pace<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Still => Self::Still,
            Self::Behind(delay_ms) => Self::Behind(*delay_ms),
            Self::Said(justify) => Self::Said(justify.clone()),
            Self::Own(make) => Self::Own(make.clone()),
        }
    }
}

/// How records get event times, and how far behind the latest of them time is.
pub struct WatermarkStrategy<T> {
    pace: Pace<T>,
    assigner: Option<Assigner<T>>,
    idle_timeout_ms: Option<i64>,
    /// Group, largest drift and update interval in milliseconds.
    alignment: Option<(String, i64, i64)>,
}

impl<T> Clone for WatermarkStrategy<T> {
    fn clone(&self) -> Self {
        Self {
            pace: self.pace.clone(),
            assigner: self.assigner.clone(),
            idle_timeout_ms: self.idle_timeout_ms,
            alignment: self.alignment.clone(),
        }
    }
}

impl<T> fmt::Debug for WatermarkStrategy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatermarkStrategy")
            .field("idle_timeout_ms", &self.idle_timeout_ms)
            .field("alignment", &self.alignment)
            .finish_non_exhaustive()
    }
}

impl<T> WatermarkStrategy<T> {
    fn of(pace: Pace<T>) -> Self {
        Self {
            pace,
            assigner: None,
            idle_timeout_ms: None,
            alignment: None,
        }
    }

    /// Times of a split never go back.
    pub fn for_monotonous_timestamps() -> Self {
        Self::of(Pace::Behind(0))
    }

    /// A record comes at most so long after later ones of its split.
    pub fn for_bounded_out_of_orderness(longest: Duration) -> Self {
        Self::of(Pace::Behind(longest.as_millis() as i64))
    }

    /// No event time moves: for programs in processing time.
    pub fn no_watermarks() -> Self {
        Self::of(Pace::Still)
    }

    /// A rule of one's own: `watermark` says of each record, with its time, up to where nothing will come any more, if the record tells.
    /// The watermark follows the record at once, where it is later than the one before.
    ///
    /// ```
    /// use flott::prelude::*;
    ///
    /// // Only records that end a second move time.
    /// let strategy = WatermarkStrategy::for_punctuated(|is_last: &bool, time| is_last.then_some(time));
    /// ```
    pub fn for_punctuated(watermark: impl Fn(&T, EventTime) -> Option<EventTime> + Send + Sync + 'static) -> Self {
        Self::of(Pace::Said(Arc::new(watermark)))
    }

    /// A rule of one's own that keeps something, or moves time without records: `make` makes one for each split of a source, or for each
    /// subtask elsewhere. [`WatermarkGenerator`] has an example.
    pub fn for_generator<G: WatermarkGenerator<T> + 'static>(make: impl Fn() -> G + Send + Sync + 'static) -> Self {
        Self::of(Pace::Own(Arc::new(move || Box::new(make()) as Box<_>)))
    }

    /// Takes a record's time out of the record: milliseconds since the epoch.
    pub fn with_timestamp_assigner(
        mut self,
        time_ms: impl Fn(&T, Option<EventTime>) -> EventTime + Send + Sync + 'static,
    ) -> Self {
        self.assigner = Some(Arc::new(move |records, times| {
            let of = |(index, value)| time_ms(value, records.times.get(index));
            times.extend(records.values.iter().enumerate().map(of));
        }));
        self
    }

    /// A split without records for so long no longer holds time back.
    pub fn with_idleness(mut self, timeout: Duration) -> Self {
        self.idle_timeout_ms = Some(timeout.as_millis() as i64);
        self
    }

    /// Aligns the sources of a group, so that none makes the operators behind it keep what only the slowest will release: a split whose
    /// watermark is more than `max_drift` ahead of the smallest of all sources of `group` is not read until they have caught up. Who is idle or at its
    /// end holds nobody back. For sources only ([`crate::StreamExecutionEnvironment::from_source`]).
    ///
    /// ```
    /// use flott::prelude::*;
    /// use std::time::Duration;
    ///
    /// let strategy = WatermarkStrategy::<i64>::for_monotonous_timestamps()
    ///     .with_timestamp_assigner(|ms, _| *ms)
    ///     .with_idleness(Duration::from_secs(60))
    ///     .with_watermark_alignment("clicks-and-views", Duration::from_secs(20));
    /// ```
    pub fn with_watermark_alignment(self, group: &str, max_drift: Duration) -> Self {
        let update_interval = Duration::from_millis(DEFAULT_ALIGNMENT_INTERVAL_MS as u64);
        self.with_watermark_alignment_every(group, max_drift, update_interval)
    }

    /// The same, where sources say so often how far they have come, not once a second: one may be ahead by what it reads in that time, too.
    pub fn with_watermark_alignment_every(
        mut self,
        group: &str,
        max_drift: Duration,
        update_interval: Duration,
    ) -> Self {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.alignment = Some((group.to_owned(), ms(max_drift), ms(update_interval)));
        self
    }

    /// What is wrong with the strategy, at a source or behind one.
    pub(crate) fn refused(&self, at_source: bool) -> Option<ProgramError> {
        self.alignment.as_ref()?;
        let reason = match (at_source, self.has_watermarks()) {
            (false, _) => {
                "watermarks are aligned where records are read: give the strategy with its alignment to from_source(), not to \
                 assign_timestamps_and_watermarks()"
            }
            (true, false) => {
                "there are no watermarks to be aligned: remove with_watermark_alignment(), or use another strategy than \
                 no_watermarks()"
            }
            (true, true) => return None,
        };
        let reason = reason.to_owned();
        Some(ProgramError::Alignment { reason })
    }

    fn has_watermarks(&self) -> bool {
        !matches!(self.pace, Pace::Still)
    }

    /// Whether watermarks do not wait for an interval.
    fn is_punctuated(&self) -> bool {
        matches!(self.pace, Pace::Said(_) | Pace::Own(_))
    }

    /// A generator of the program's own.
    fn own(&self) -> Option<Generating<T>> {
        match &self.pace {
            Pace::Own(make) => Some(Generating::new(make)),
            _ => None,
        }
    }

    /// What the source's node says of it; `kind` is that of its generator.
    pub(crate) fn spec(&self, kind: &str) -> Option<WatermarkSpec> {
        self.has_watermarks().then(|| WatermarkSpec {
            kind: kind.to_owned(),
            spec: serde_json::Value::Null,
            on_event: self.is_punctuated(),
            idle_timeout_ms: self.idle_timeout_ms,
            alignment: self.alignment.clone(),
        })
    }
}

impl<T: Data> WatermarkStrategy<T> {
    /// Gives all records their times.
    fn assign(&self, records: &mut Records<T>, at_hand: &mut AtHand<T>) -> Result<(), TaskError> {
        let Some(assigner) = &self.assigner else {
            return Ok(());
        };
        let times = at_hand.make(records, |records, place| {
            made_of_each(records.values.len(), place, |times| assigner(records, times))
        })?;
        at_hand.count(times.len());
        records.times = times.into();
        Ok(())
    }

    /// The watermark that a record justifies: nothing at or before it will come (Flink's rule: the delay, less one).
    fn watermark(&self, value: &T, time_ms: EventTime) -> Option<EventTime> {
        match &self.pace {
            Pace::Still | Pace::Own(_) => None,
            Pace::Behind(delay_ms) => Some(time_ms.saturating_sub(*delay_ms).saturating_sub(1)),
            Pace::Said(justify) => justify(value, time_ms),
        }
    }

    /// The latest watermark that some records justify by their times alone.
    fn latest_watermark(&self, records: &Records<T>) -> Option<EventTime> {
        let last = records.values.last()?;
        records.times.latest().and_then(|time_ms| self.watermark(last, time_ms))
    }
}

/// Watermarks of a source's batches, whose records have their times.
pub(crate) struct Generator<T> {
    strategy: WatermarkStrategy<T>,
    /// The split at hand.
    split: usize,
    /// The program's own generators, by split.
    own: BTreeMap<usize, Generating<T>>,
}

impl<T> Generator<T> {
    pub(crate) fn new(strategy: WatermarkStrategy<T>) -> Self {
        Self {
            strategy,
            split: 0,
            own: BTreeMap::new(),
        }
    }

    /// The program's own generator of a split.
    fn own(&mut self, split: usize) -> Option<&mut Generating<T>> {
        let Pace::Own(make) = &self.strategy.pace else {
            return None;
        };
        Some(self.own.entry(split).or_insert_with(|| Generating::new(make)))
    }
}

impl<T: Data> OfSplits for Generator<T> {
    fn watermarks(&mut self, batch: &Batch) -> Result<Int64Array, TaskError> {
        let rows = batch
            .typed()
            .cloned()
            .map(|rows| rows.into_any().downcast::<Records<T>>());
        let Some(Ok(records)) = rows else {
            return Err(TaskError::internal("a watermark is asked of rows of another type"));
        };
        if records.times.is_empty() {
            let message = "records have no event time: give the source's WatermarkStrategy a timestamp assigner \
                           (with_timestamp_assigner), or use WatermarkStrategy::no_watermarks()";
            return Err(TaskError::user(message).fatal());
        }
        if let Some(own) = self.own(self.split) {
            let timed = records.values.iter().enumerate();
            let timed = timed.map(|(index, value)| (value, records.time(index)));
            return Ok(own.on_events(timed)?.into_iter().collect());
        }
        let watermark = |index: usize| {
            let time_ms = records.time(index);
            time_ms.and_then(|time_ms| self.strategy.watermark(&records.values[index], time_ms))
        };
        Ok((0..records.values.len()).map(watermark).collect())
    }

    fn at_split(&mut self, split: usize) {
        self.split = split;
    }

    fn is_periodic(&self) -> bool {
        matches!(self.strategy.pace, Pace::Own(_))
    }

    fn on_periodic_emit(&mut self, split: usize) -> Result<Option<EventTime>, TaskError> {
        match self.own(split) {
            Some(own) => own.on_periodic_emit(),
            None => Ok(None),
        }
    }

    fn is_idle(&self, split: usize) -> bool {
        self.own.get(&split).is_some_and(Generating::is_idle)
    }
}

/// A source whose records get their times where they are read.
pub(crate) struct TimedSource<T> {
    pub(crate) source: Box<dyn Source>,
    pub(crate) strategy: WatermarkStrategy<T>,
}

impl<T: Data> Source for TimedSource<T> {
    fn boundedness(&self) -> Boundedness {
        self.source.boundedness()
    }

    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        self.source.enumerator(restored)
    }

    fn reader(&self, ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        Ok(Box::new(TimedReader {
            reader: self.source.reader(ctx)?,
            strategy: self.strategy.clone(),
            at_hand: AtHand::new(),
        }))
    }
}

struct TimedReader<T> {
    reader: Box<dyn SourceReader>,
    strategy: WatermarkStrategy<T>,
    at_hand: AtHand<T>,
}

impl<T: Data> SourceReader for TimedReader<T> {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        self.reader.add_splits(splits)
    }

    fn no_more_splits(&mut self) {
        self.reader.no_more_splits();
    }

    fn poll(&mut self, now_ms: i64) -> Result<ReaderPoll, TaskError> {
        let polled = self.reader.poll(now_ms)?;
        let ReaderPoll::Batch { split, batch } = polled else {
            return Ok(polled);
        };
        let mut records = Records::<T>::from_batch(batch)?;
        self.strategy.assign(&mut records, &mut self.at_hand)?;
        Ok(ReaderPoll::Batch {
            split,
            batch: records.into_batch(),
        })
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        self.reader.snapshot(checkpoint)
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) {
        self.reader.checkpoint_complete(checkpoint);
    }

    fn is_active(&self, split: usize) -> bool {
        self.reader.is_active(split)
    }

    fn set_paused(&mut self, split: usize, paused: bool) {
        self.reader.set_paused(split, paused);
    }
}

/// Times and watermarks behind a source: those from upstream no longer count, but for the end of time.
pub(crate) struct TimestampsAndWatermarks<T> {
    strategy: WatermarkStrategy<T>,
    /// The program's own generator.
    own: Option<Generating<T>>,
    at_hand: AtHand<T>,
    /// The watermark that the records so far justify.
    justified: EventTime,
    emitted: EventTime,
    interval_ms: i64,
    /// When to look next, in processing time.
    next_look_ms: Option<i64>,
    clock: Option<flott_core::clock::SharedClock>,
    last_record_ms: i64,
    is_idle: bool,
    /// Time stays at its beginning until the end of the input.
    is_batch: bool,
}

impl<T: Data> TimestampsAndWatermarks<T> {
    pub(crate) fn new(strategy: WatermarkStrategy<T>) -> Self {
        Self {
            own: strategy.own(),
            strategy,
            at_hand: AtHand::new(),
            justified: NO_WATERMARK,
            emitted: NO_WATERMARK,
            interval_ms: 0,
            next_look_ms: None,
            clock: None,
            last_record_ms: 0,
            is_idle: false,
            is_batch: false,
        }
    }

    /// Emits records, cut where the watermark moves.
    fn emit_on_event(&mut self, records: Records<T>, out: &mut Output) -> Result<(), TaskError> {
        let said = match &mut self.own {
            Some(own) => {
                let timed = records.values.iter().enumerate();
                Some(own.on_events(timed.map(|(index, value)| (value, records.time(index))))?)
            }
            None => None,
        };
        let mut times = records.times.cursor();
        let mut piece = Records::default();
        for (index, value) in records.values.into_iter().enumerate() {
            let time = times.next();
            let justified = match &said {
                Some(said) => said[index],
                None => time.and_then(|t| self.strategy.watermark(&value, t)),
            };
            let justified = justified.unwrap_or(NO_WATERMARK);
            piece.push(value, time);
            if justified > self.justified {
                self.justified = justified;
                out.emit(std::mem::take(&mut piece).into_batch());
                self.set_idle(false, out);
                self.emit_watermark(out);
            }
        }
        out.emit(piece.into_batch());
        let is_idle = self.own.as_ref().map_or(self.is_idle, Generating::is_idle);
        self.set_idle(is_idle, out);
        Ok(())
    }

    fn set_idle(&mut self, is_idle: bool, out: &mut Output) {
        if std::mem::replace(&mut self.is_idle, is_idle) != is_idle {
            out.push(Element::Idle(is_idle));
        }
    }

    /// When the clock is looked at again: at the interval; where each record gives its watermark itself, for silence alone.
    fn next_look(&self, now_ms: i64) -> Option<i64> {
        match (self.interval_ms, self.strategy.idle_timeout_ms) {
            (0, Some(timeout_ms)) if !self.is_idle => {
                let silent_at_ms = self.last_record_ms.saturating_add(timeout_ms);
                Some(silent_at_ms.max(now_ms.saturating_add(1)))
            }
            (0, timeout_ms) => timeout_ms.map(|ms| now_ms.saturating_add(ms.max(1))),
            (interval_ms, _) => {
                let has_watermarks = self.strategy.has_watermarks();
                has_watermarks.then(|| now_ms.saturating_add(interval_ms))
            }
        }
    }

    fn emit_watermark(&mut self, out: &mut Output) {
        if self.justified > self.emitted {
            self.emitted = self.justified;
            out.push(Element::Watermark(self.emitted));
        }
    }
}

impl<T: Data> Operator for TimestampsAndWatermarks<T> {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        let interval = ctx.task.options.duration_ms("pipeline.auto-watermark-interval");
        self.interval_ms = interval
            .map_err(|e| TaskError::user(e.to_string()).fatal())?
            .unwrap_or(200);
        let now_ms = ctx.clock.now_ms();
        (self.last_record_ms, self.clock) = (now_ms, Some(ctx.clock.clone()));
        self.is_batch = runtime_mode::is_batch(&ctx.task.options);
        self.next_look_ms = self.next_look(now_ms).filter(|_| !self.is_batch);
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        let mut records = Records::<T>::from_batch(batch)?;
        self.strategy.assign(&mut records, &mut self.at_hand)?;
        if self.is_batch {
            out.emit(records.into_batch());
            return Ok(Flow::Done);
        }
        self.last_record_ms = self.clock.as_ref().map_or(0, |c| c.now_ms());
        // Who has said itself that it is idle, says itself when it is no more.
        if !self.own.as_ref().is_some_and(Generating::is_idle) {
            self.set_idle(false, out);
        }
        // Without an interval a watermark follows each record that justifies it, as at sources.
        if self.interval_ms == 0 || self.strategy.is_punctuated() {
            self.emit_on_event(records, out)?;
            return Ok(Flow::Done);
        }
        if let Some(latest) = self.strategy.latest_watermark(&records) {
            self.justified = self.justified.max(latest);
        }
        out.emit(records.into_batch());
        Ok(Flow::Done)
    }

    fn makes_watermarks(&self) -> bool {
        true
    }

    fn next_timer(&self) -> Option<i64> {
        self.next_look_ms
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        let mut is_idle = self.is_idle;
        if let Some(own) = self.own.as_mut().filter(|_| self.interval_ms > 0) {
            let said = own.on_periodic_emit()?;
            self.justified = self.justified.max(said.unwrap_or(NO_WATERMARK));
            is_idle = own.is_idle();
        }
        let is_silent = |timeout_ms: i64| now_ms.saturating_sub(self.last_record_ms) >= timeout_ms;
        is_idle |= self.strategy.idle_timeout_ms.is_some_and(is_silent);
        if self.is_idle && !is_idle {
            self.set_idle(false, out);
        }
        self.emit_watermark(out);
        self.set_idle(is_idle, out);
        self.next_look_ms = self.next_look(now_ms);
        Ok(Flow::Done)
    }

    fn before_barrier(&mut self, _checkpoint: CheckpointId, out: &mut Output) -> Result<Flow, TaskError> {
        self.emit_watermark(out);
        Ok(Flow::Done)
    }
}
