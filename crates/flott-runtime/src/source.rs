//! The source driver: a connector's reader at the head of a chain, with one watermark per split.
//!
//! A split's watermark is the largest that one of its rows justified. The driver's watermark is the minimum over the
//! splits that count: those that are neither finished nor idle and that the reader calls active. It is clamped so that
//! it never goes back, and is emitted at most every `pipeline.auto-watermark-interval`, or, on event, between the rows
//! where it moves. It is part of a split's checkpoint and goes on from there. When no split counts (all are idle or finished, or the subtask was given none) the driver says so, and
//! its watermark no longer counts downstream.
//!
//! # Alignment
//!
//! A source in a group of watermark alignment says, once in a while, how far it has come ([`SourceDriver::take_report`]), and is told how
//! far it may read ([`SourceDriver::align`]): up to some drift ahead of the slowest of the group. A split that is ahead of
//! that is paused at its reader; when all splits that count are, nothing is read. Who is idle, or at its end, reports the end of
//! time, so it holds nobody back; who has read no row yet reports nothing. What is paused is not idle, and barriers pass it.

use crate::connector::{ReaderPoll, SourceReader, Split, TimedSplit, WatermarkGenerator};
use crate::element::{Element, Output};
use crate::error::TaskError;
use crate::metrics::{OperatorMetrics, SPLITS_SHOWN, SplitReading, SplitReadings, SplitTime};
use arrow_array::{Array, Int64Array};
use flott_core::time::{END_OF_TIME, EventTime, NO_WATERMARK};
use flott_core::{Batch, CheckpointId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// When a source emits watermarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmitPolicy {
    /// At most once in so many milliseconds.
    pub interval_ms: i64,
    /// After each row that moves it, instead.
    pub on_event: bool,
    /// A split without rows for so long is idle.
    pub idle_timeout_ms: Option<i64>,
    /// In a group of watermark alignment: how often the source says how far it has come, in milliseconds.
    pub report_interval_ms: Option<i64>,
}

/// How often splits are shown, in milliseconds.
const SHOW_INTERVAL_MS: i64 = 500;

/// What the driver did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// It emitted something, or may have more at once.
    Progress,
    /// It waits to be woken, or for this processing time.
    Idle(Option<i64>),
    /// All splits are read to their ends.
    Finished,
}

#[derive(Debug)]
struct SplitState {
    id: String,
    watermark: EventTime,
    /// When its last row was read, or it was assigned, without the time in which it could not be read.
    last_row_ms: i64,
    /// The same with that time, and whether it was a row.
    last_record_ms: i64,
    has_records: bool,
    idle: bool,
    finished: bool,
    /// Since when it is paused, because it is ahead of its group.
    paused_ms: Option<i64>,
}

/// Drives one reader.
pub struct SourceDriver {
    reader: Box<dyn SourceReader>,
    generator: Option<Box<dyn WatermarkGenerator>>,
    policy: EmitPolicy,
    splits: Vec<SplitState>,
    /// Whether splits were handed out at all; a subtask that has not been asked yet is not idle.
    assigned: bool,
    watermark: EventTime,
    last_emit_ms: i64,
    idle: bool,
    /// Since when nothing was read because the chain took nothing, or the whole source is ahead of its group.
    held_back_ms: Option<i64>,
    /// Up to where the group lets it read.
    limit: EventTime,
    last_report_ms: i64,
    last_shown_ms: i64,
    /// How far it has come, to be told.
    report: Option<EventTime>,
    metrics: Arc<OperatorMetrics>,
}

impl SourceDriver {
    /// A driver for `reader`; without a generator the source has no event time.
    pub fn new(
        reader: Box<dyn SourceReader>,
        generator: Option<Box<dyn WatermarkGenerator>>,
        policy: EmitPolicy,
        metrics: Arc<OperatorMetrics>,
    ) -> Self {
        Self {
            reader,
            generator,
            policy,
            splits: vec![],
            assigned: false,
            watermark: NO_WATERMARK,
            last_emit_ms: i64::MIN,
            idle: false,
            held_back_ms: None,
            limit: END_OF_TIME,
            last_report_ms: i64::MIN,
            last_shown_ms: i64::MIN,
            report: None,
            metrics,
        }
    }

    /// Hands splits to the reader.
    ///
    /// # Errors
    /// If a split's state cannot be read.
    pub fn add_splits(&mut self, splits: Vec<TimedSplit>, now_ms: i64) -> Result<(), TaskError> {
        self.assigned = true;
        self.splits.extend(splits.iter().map(|timed| SplitState {
            id: timed.split.id.clone(),
            watermark: timed.watermark.unwrap_or(NO_WATERMARK),
            last_row_ms: now_ms,
            last_record_ms: now_ms,
            has_records: false,
            idle: false,
            finished: false,
            paused_ms: None,
        }));
        self.reader
            .add_splits(splits.into_iter().map(|timed| timed.split).collect())
    }

    /// The chain took nothing at `now_ms`: what is not read until the next poll makes no split idle.
    pub fn held_back(&mut self, now_ms: i64) {
        self.held_back_ms.get_or_insert(now_ms);
    }

    /// What could not be read made no split idle.
    fn go_on(&mut self, now_ms: i64) {
        let Some(since_ms) = self.held_back_ms.take() else {
            return;
        };
        for split in &mut self.splits {
            split.last_row_ms += now_ms - since_ms;
            split.paused_ms = split.paused_ms.map(|paused_ms| paused_ms + now_ms - since_ms);
        }
    }

    /// Lets the source read up to `limit`, which its group has come to: splits ahead of it are paused, others go on.
    pub fn align(&mut self, limit: EventTime, now_ms: i64) {
        self.go_on(now_ms);
        self.limit = limit;
        for split in 0..self.splits.len() {
            self.pause_if_ahead(split, now_ms);
        }
    }

    fn pause_if_ahead(&mut self, split: usize, now_ms: i64) {
        let state = &mut self.splits[split];
        let is_ahead = !state.finished && state.watermark > self.limit;
        match (is_ahead, state.paused_ms) {
            (true, None) => {
                state.paused_ms = Some(now_ms);
                self.reader.set_paused(split, true);
            }
            (false, Some(since_ms)) => {
                state.paused_ms = None;
                state.last_row_ms += now_ms - since_ms;
                self.reader.set_paused(split, false);
            }
            _ => {}
        }
    }

    /// Whether all that counts is ahead of the group.
    fn is_ahead(&self) -> bool {
        self.limit < END_OF_TIME && self.combined().is_some_and(|time| time > self.limit)
    }

    /// How far the source has come, if it is to be told now.
    pub fn take_report(&mut self) -> Option<EventTime> {
        self.report.take()
    }

    fn report_if_due(&mut self, now_ms: i64) {
        let Some(interval_ms) = self.policy.report_interval_ms.filter(|_| self.generator.is_some()) else {
            return;
        };
        if now_ms.saturating_sub(self.last_report_ms) < interval_ms {
            return;
        }
        self.last_report_ms = now_ms;
        let reached = match self.none_counts() {
            true => END_OF_TIME,
            false => self.combined().unwrap_or(NO_WATERMARK).max(self.watermark),
        };
        self.report = Some(reached).filter(|reached| *reached > NO_WATERMARK);
    }

    /// Shows how far the splits are, for who asks what holds a watermark back.
    fn show_if_due(&mut self, now_ms: i64) {
        if self.generator.is_none() || now_ms.saturating_sub(self.last_shown_ms) < SHOW_INTERVAL_MS {
            return;
        }
        self.last_shown_ms = now_ms;
        let reading = |s: &SplitState| SplitReading {
            id: s.id.clone(),
            watermark: s.watermark,
            last_record_ms: s.last_record_ms,
            has_records: s.has_records,
            state: match (s.idle, s.paused_ms) {
                (true, _) => SplitTime::Idle,
                (false, Some(_)) => SplitTime::Paused,
                (false, None) => SplitTime::Counts,
            },
        };
        let mut open: Vec<&SplitState> = self.open().collect();
        open.sort_by_key(|s| (s.idle, s.watermark));
        let total = open.len();
        if total > SPLITS_SHOWN {
            // That others have records is what tells a silent split from a source with nothing to read.
            let others = open.split_off(SPLITS_SHOWN - 1);
            open.extend(others.into_iter().max_by_key(|s| (s.has_records, s.last_record_ms)));
        }
        let shown = open.into_iter().map(reading).collect();
        self.metrics.show_splits(SplitReadings { shown, total });
    }

    /// Tells the reader that no split follows.
    pub fn no_more_splits(&mut self) {
        self.reader.no_more_splits();
    }

    /// Positions and watermarks of all unfinished splits.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<Vec<TimedSplit>, TaskError> {
        let splits = self.reader.snapshot(checkpoint)?;
        let told = self.splits.iter().filter(|s| s.watermark > NO_WATERMARK);
        let times: HashMap<&str, EventTime> = told.map(|s| (&*s.id, s.watermark)).collect();
        let timed = |split: Split| TimedSplit {
            watermark: times.get(&*split.id).copied(),
            split,
        };
        Ok(splits.into_iter().map(timed).collect())
    }

    /// Tells the reader that a checkpoint is complete.
    pub fn checkpoint_complete(&mut self, checkpoint: CheckpointId) {
        self.reader.checkpoint_complete(checkpoint);
    }

    /// Reads at most one batch and emits it, with the watermarks that are due.
    ///
    /// # Errors
    /// If the reader or the watermark expression fails.
    pub fn poll(&mut self, now_ms: i64, out: &mut Output) -> Result<SourceState, TaskError> {
        let is_ahead = self.is_ahead();
        let state = match is_ahead {
            true => {
                self.held_back(now_ms);
                SourceState::Idle(None)
            }
            false => {
                self.go_on(now_ms);
                self.read(now_ms, out)?
            }
        };
        if state == SourceState::Finished {
            self.report = self.policy.report_interval_ms.map(|_| END_OF_TIME);
            self.metrics.show_splits(SplitReadings::default());
            return Ok(state);
        }
        let due = self.generator.is_some() && now_ms.saturating_sub(self.last_emit_ms) >= self.policy.interval_ms;
        if due {
            self.last_emit_ms = now_ms;
            self.tick(out)?;
            if !is_ahead {
                self.mark_idle(now_ms);
            }
            self.emit_watermark(out);
        }
        self.report_if_due(now_ms);
        self.show_if_due(now_ms);
        match state {
            SourceState::Idle(until_ms) if self.generator.is_some() => {
                let emission = self.last_emit_ms.saturating_add(self.policy.interval_ms);
                let report = |interval_ms| self.last_report_ms.saturating_add(interval_ms);
                let looks = [
                    until_ms,
                    (!self.idle || self.ticks()).then_some(emission),
                    self.policy.report_interval_ms.map(report),
                ];
                Ok(SourceState::Idle(looks.into_iter().flatten().min()))
            }
            state => Ok(state),
        }
    }

    fn read(&mut self, now_ms: i64, out: &mut Output) -> Result<SourceState, TaskError> {
        let since = Instant::now();
        let inside = self.metrics.call.begin(since);
        let polled = self.reader.poll(now_ms)?;
        drop(inside);
        self.metrics.busy_ns.add(since.elapsed().as_nanos() as u64);
        Ok(match polled {
            ReaderPoll::Batch { split, batch } => {
                self.emit_batch(split, batch, now_ms, out)?;
                if self.limit < END_OF_TIME {
                    self.pause_if_ahead(split, now_ms);
                }
                SourceState::Progress
            }
            ReaderPoll::SplitFinished(split) => {
                self.splits[split].finished = true;
                SourceState::Progress
            }
            ReaderPoll::Idle { until_ms } => SourceState::Idle(until_ms),
            ReaderPoll::Finished => SourceState::Finished,
        })
    }

    fn emit_batch(&mut self, split: usize, batch: Batch, now_ms: i64, out: &mut Output) -> Result<(), TaskError> {
        let rows = batch.num_rows();
        self.metrics.records_in.add(rows as u64);
        self.metrics.records_out.add(rows as u64);
        let Some(generator) = &mut self.generator else {
            out.emit(batch);
            return Ok(());
        };
        generator.at_split(split);
        let times = generator.watermarks(&batch)?;
        // Rows count, whatever the generator says of the time behind the last of them.
        let goes_idle = generator.is_idle(split);
        let state = &mut self.splits[split];
        state.last_row_ms = now_ms;
        (state.last_record_ms, state.has_records) = (now_ms, true);
        state.idle = false;
        if self.idle {
            self.idle = false;
            out.push(Element::Idle(false));
        }
        if self.policy.on_event {
            self.emit_cut(split, batch, &times, out);
        } else {
            if let Some(latest) = arrow_max(&times) {
                state.watermark = state.watermark.max(latest);
            }
            out.emit(batch);
        }
        if goes_idle {
            // Its own time first, for it counts no more behind this.
            self.emit_watermark(out);
            self.splits[split].idle = true;
            self.emit_watermark(out);
        }
        Ok(())
    }

    /// Emits a batch with each watermark right behind the row that moves it.
    fn emit_cut(&mut self, split: usize, batch: Batch, times: &Int64Array, out: &mut Output) {
        let (mut ends, mut said) = (vec![], vec![]);
        for row in 0..batch.num_rows() {
            if times.is_null(row) || times.value(row) <= self.splits[split].watermark {
                continue;
            }
            self.splits[split].watermark = times.value(row);
            if self.combined().is_some_and(|w| w > self.watermark) {
                ends.push(row + 1);
                let mut after = Output::new();
                self.emit_watermark(&mut after);
                said.push(after.drain().collect::<Vec<_>>());
            }
        }
        let mut said = said.into_iter();
        for piece in batch.cut(&ends) {
            out.emit(piece);
            said.next().into_iter().flatten().for_each(|element| out.push(element));
        }
    }

    /// Whether the generator is asked at each interval; without one it is not, as in Flink.
    fn ticks(&self) -> bool {
        self.policy.interval_ms > 0 && self.generator.as_ref().is_some_and(|g| g.is_periodic())
    }

    /// Lets the generator move the time of each split. Of one that holds time back no longer, the time it came to is told first.
    fn tick(&mut self, out: &mut Output) -> Result<(), TaskError> {
        if !self.ticks() {
            return Ok(());
        }
        let Some(generator) = &mut self.generator else {
            return Ok(());
        };
        for (index, split) in self.splits.iter_mut().enumerate().filter(|(_, s)| !s.finished) {
            if let Some(watermark) = generator.on_periodic_emit(index)? {
                split.watermark = split.watermark.max(watermark);
            }
            split.idle &= generator.is_idle(index);
        }
        self.emit_watermark(out);
        if let Some(generator) = &self.generator {
            for (index, split) in self.splits.iter_mut().enumerate().filter(|(_, s)| !s.finished) {
                split.idle = generator.is_idle(index);
            }
        }
        Ok(())
    }

    fn mark_idle(&mut self, now_ms: i64) {
        let Some(timeout_ms) = self.policy.idle_timeout_ms else {
            return;
        };
        for (index, split) in self.splits.iter_mut().enumerate() {
            if !split.finished && split.paused_ms.is_none() {
                let is_said = self.generator.as_ref().is_some_and(|g| g.is_idle(index));
                split.idle = is_said || now_ms - split.last_row_ms >= timeout_ms;
            }
        }
    }

    /// Whether every split is idle or finished.
    fn none_counts(&self) -> bool {
        self.assigned && self.splits.iter().all(|s| s.idle || s.finished)
    }

    fn emit_watermark(&mut self, out: &mut Output) {
        let none_counts = self.none_counts();
        if none_counts != self.idle {
            self.idle = none_counts;
            out.push(Element::Idle(none_counts));
        }
        if none_counts {
            return;
        }
        if let Some(time) = self.combined().filter(|t| *t > self.watermark) {
            self.watermark = time;
            out.push(Element::Watermark(time));
        }
    }

    /// Splits that are neither finished nor inactive.
    fn open(&self) -> impl Iterator<Item = &SplitState> {
        let splits = self.splits.iter().enumerate();
        let open = splits.filter(|(index, s)| !s.finished && self.reader.is_active(*index));
        open.map(|(_, s)| s)
    }

    /// Minimum over the splits that count.
    fn combined(&self) -> Option<EventTime> {
        self.open().filter(|s| !s.idle).map(|s| s.watermark).min()
    }
}

fn arrow_max(times: &Int64Array) -> Option<i64> {
    if times.null_count() == 0 {
        return times.values().iter().copied().max();
    }
    times.iter().flatten().max()
}

#[cfg(test)]
mod tests;
