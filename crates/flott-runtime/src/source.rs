//! The source driver: a connector's reader at the head of a chain, with one watermark per split.
//!
//! A split's watermark is the largest that one of its rows justified. The driver's watermark is the minimum over the
//! splits that count: those that are neither finished nor idle and that the reader calls active. It is clamped so that
//! it never goes back, and is emitted at most every `pipeline.auto-watermark-interval`, or, on event, between the rows
//! where it moves. It is part of a split's checkpoint and goes on from there. When no split counts (all are idle or finished, or the subtask was given none) the driver says so, and
//! its watermark no longer counts downstream.

use crate::connector::{ReaderPoll, SourceReader, Split, TimedSplit, WatermarkGenerator};
use crate::element::{Element, Output};
use crate::error::TaskError;
use crate::metrics::OperatorMetrics;
use arrow_array::{Array, Int64Array};
use flott_core::time::{EventTime, NO_WATERMARK};
use flott_core::{Batch, CheckpointId};
use std::collections::HashMap;
use std::sync::Arc;

/// When a source emits watermarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmitPolicy {
    /// At most once in so many milliseconds.
    pub interval_ms: i64,
    /// After each row that moves it, instead.
    pub on_event: bool,
    /// A split without rows for so long is idle.
    pub idle_timeout_ms: Option<i64>,
}

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
    last_row_ms: i64,
    idle: bool,
    finished: bool,
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
    /// Since when nothing was read because the chain took nothing.
    held_back_ms: Option<i64>,
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
            idle: false,
            finished: false,
        }));
        self.reader
            .add_splits(splits.into_iter().map(|timed| timed.split).collect())
    }

    /// The chain took nothing at `now_ms`: what is not read until the next poll makes no split idle.
    pub fn held_back(&mut self, now_ms: i64) {
        self.held_back_ms.get_or_insert(now_ms);
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
        if let Some(since_ms) = self.held_back_ms.take() {
            for split in &mut self.splits {
                split.last_row_ms += now_ms - since_ms;
            }
        }
        let state = match self.reader.poll(now_ms)? {
            ReaderPoll::Batch { split, batch } => {
                self.emit_batch(split, batch, now_ms, out)?;
                SourceState::Progress
            }
            ReaderPoll::SplitFinished(split) => {
                self.splits[split].finished = true;
                SourceState::Progress
            }
            ReaderPoll::Idle { until_ms } => SourceState::Idle(until_ms),
            ReaderPoll::Finished => return Ok(SourceState::Finished),
        };
        let due = self.generator.is_some() && now_ms.saturating_sub(self.last_emit_ms) >= self.policy.interval_ms;
        if due {
            self.last_emit_ms = now_ms;
            self.mark_idle(now_ms);
            self.emit_watermark(out);
        }
        match state {
            SourceState::Idle(until) if self.generator.is_some() && !self.idle => {
                let next = self.last_emit_ms.saturating_add(self.policy.interval_ms);
                Ok(SourceState::Idle(Some(until.map_or(next, |u| u.min(next)))))
            }
            state => Ok(state),
        }
    }

    fn emit_batch(&mut self, split: usize, batch: Batch, now_ms: i64, out: &mut Output) -> Result<(), TaskError> {
        let rows = batch.num_rows();
        self.metrics.records_in.add(rows as u64);
        self.metrics.records_out.add(rows as u64);
        let Some(generator) = &mut self.generator else {
            out.emit(batch);
            return Ok(());
        };
        let times = generator.watermarks(&batch)?;
        let state = &mut self.splits[split];
        state.last_row_ms = now_ms;
        state.idle = false;
        if self.idle {
            self.idle = false;
            out.push(Element::Idle(false));
        }
        if !self.policy.on_event {
            if let Some(latest) = arrow_max(&times) {
                state.watermark = state.watermark.max(latest);
            }
            out.emit(batch);
            return Ok(());
        }
        let (mut ends, mut said) = (vec![], vec![]);
        for row in 0..rows {
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
        Ok(())
    }

    fn mark_idle(&mut self, now_ms: i64) {
        let Some(timeout_ms) = self.policy.idle_timeout_ms else {
            return;
        };
        for split in self.splits.iter_mut().filter(|s| !s.finished) {
            split.idle = now_ms - split.last_row_ms >= timeout_ms;
        }
    }

    fn emit_watermark(&mut self, out: &mut Output) {
        let none_counts = self.assigned && self.splits.iter().all(|s| s.idle || s.finished);
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

    /// Minimum over the splits that count.
    fn combined(&self) -> Option<EventTime> {
        let counts = |(index, s): &(usize, &SplitState)| !s.finished && !s.idle && self.reader.is_active(*index);
        self.splits
            .iter()
            .enumerate()
            .filter(counts)
            .map(|(_, s)| s.watermark)
            .min()
    }
}

fn arrow_max(times: &Int64Array) -> Option<i64> {
    if times.null_count() == 0 {
        return times.values().iter().copied().max();
    }
    times.iter().flatten().max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use std::collections::VecDeque;

    struct Script(VecDeque<ReaderPoll>);

    impl SourceReader for Script {
        fn add_splits(&mut self, _: Vec<Split>) -> Result<(), TaskError> {
            Ok(())
        }
        fn no_more_splits(&mut self) {}
        fn poll(&mut self, _: i64) -> Result<ReaderPoll, TaskError> {
            Ok(self.0.pop_front().unwrap_or(ReaderPoll::Idle { until_ms: None }))
        }
        fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<Split>, TaskError> {
            Ok(vec![split("b").split, split("a").split])
        }
    }

    fn split(id: &str) -> TimedSplit {
        let (id, state) = (id.to_owned(), vec![]);
        Split { id, state }.into()
    }

    struct FirstColumn;

    impl WatermarkGenerator for FirstColumn {
        fn watermarks(&mut self, batch: &Batch) -> Result<Int64Array, TaskError> {
            Ok(batch.column(0).as_primitive::<Int64Type>().clone())
        }
    }

    fn rows(split: usize, times: &[i64]) -> ReaderPoll {
        ReaderPoll::Batch {
            split,
            batch: Batch::new(vec![Arc::new(Int64Array::from(times.to_vec()))], times.len()),
        }
    }

    fn run(on_event: bool, idle: Option<i64>, script: Vec<(i64, ReaderPoll)>) -> Vec<String> {
        let (clock, polls): (Vec<i64>, VecDeque<ReaderPoll>) = script.into_iter().unzip();
        let policy = EmitPolicy {
            interval_ms: 0,
            on_event,
            idle_timeout_ms: idle,
        };
        let mut driver = SourceDriver::new(
            Box::new(Script(polls)),
            Some(Box::new(FirstColumn)),
            policy,
            Arc::default(),
        );
        driver.add_splits(vec![split("a"), split("b")], 0).unwrap();
        let mut out = Output::new();
        for now in clock {
            driver.poll(now, &mut out).unwrap();
        }
        let text = |e| match e {
            Element::Data(b) => format!("{:?}", b.column(0).as_primitive::<Int64Type>().values().to_vec()),
            Element::Watermark(t) => format!("wm {t}"),
            Element::Idle(i) => format!("idle {i}"),
            other => format!("{other:?}"),
        };
        out.drain().map(text).collect()
    }

    #[test]
    fn the_slower_split_holds_the_watermark() {
        let script = vec![
            (0, rows(0, &[5, 9])),
            (1, rows(1, &[3])),
            (2, rows(1, &[2])),
            (3, rows(1, &[12])),
        ];
        assert_eq!(
            run(false, None, script),
            ["[5, 9]", "[3]", "wm 3", "[2]", "[12]", "wm 9"]
        );
    }

    #[test]
    fn on_event_cuts_batches_where_the_watermark_moves() {
        let script = vec![(0, rows(0, &[100])), (1, rows(1, &[1, 1, 4, 2]))];
        assert_eq!(
            run(true, None, script),
            ["[100]", "[1]", "wm 1", "[1, 4]", "wm 4", "[2]"]
        );
    }

    #[test]
    fn an_idle_split_stops_counting_and_counts_again_with_its_next_row() {
        let idle = || ReaderPoll::Idle { until_ms: None };
        let script = vec![
            (0, rows(0, &[5])),
            (50, rows(0, &[6])),
            (100, idle()),
            (150, idle()),
            (160, rows(1, &[2])),
        ];
        assert_eq!(
            run(false, Some(100), script),
            ["[5]", "[6]", "wm 6", "idle true", "idle false", "[2]"]
        );
    }

    #[test]
    fn a_subtask_without_splits_is_idle_once_it_knows_that_it_has_none() {
        let policy = EmitPolicy {
            interval_ms: 10,
            on_event: false,
            idle_timeout_ms: None,
        };
        let reader = Box::new(Script(VecDeque::new()));
        let mut driver = SourceDriver::new(reader, Some(Box::new(FirstColumn)), policy, Arc::default());
        let mut out = Output::new();
        assert_eq!(driver.poll(0, &mut out).unwrap(), SourceState::Idle(Some(10)));
        assert!(out.is_empty(), "splits may still come");
        driver.add_splits(vec![], 5).unwrap();
        assert_eq!(driver.poll(5, &mut out).unwrap(), SourceState::Idle(Some(10)));
        assert_eq!(driver.poll(10, &mut out).unwrap(), SourceState::Idle(None));
        assert!(matches!(out.pop(), Some(Element::Idle(true))));
        driver.add_splits(vec![split("late")], 20).unwrap();
        driver.poll(20, &mut out).unwrap();
        assert!(
            matches!(out.pop(), Some(Element::Idle(false))),
            "a new split holds the watermark at once"
        );
    }

    #[test]
    fn a_split_that_could_not_be_read_is_not_idle() {
        let policy = EmitPolicy {
            interval_ms: 0,
            on_event: false,
            idle_timeout_ms: Some(100),
        };
        let polls = [
            rows(0, &[5]),
            rows(0, &[900]),
            rows(1, &[7]),
            ReaderPoll::Idle { until_ms: None },
        ];
        let reader = Box::new(Script(polls.into()));
        let mut driver = SourceDriver::new(reader, Some(Box::new(FirstColumn)), policy, Arc::default());
        driver.add_splits(vec![split("a"), split("b")], 0).unwrap();
        let mut out = Output::new();
        driver.poll(0, &mut out).unwrap();
        for blocked_ms in [10, 300, 5_000] {
            driver.held_back(blocked_ms);
        }
        for now in [6_000, 6_001] {
            driver.poll(now, &mut out).unwrap();
        }
        let told: Vec<_> = out.drain().filter(|e| !matches!(e, Element::Data(_))).collect();
        assert!(matches!(told[..], [Element::Watermark(7)]), "{told:?}");
        driver.poll(6_200, &mut out).unwrap();
        assert!(
            matches!(out.pop(), Some(Element::Idle(true))),
            "who could be read and had nothing is"
        );
    }

    #[test]
    fn a_split_goes_on_at_the_time_of_its_checkpoint() {
        let driver = |polls: Vec<ReaderPoll>| {
            let policy = EmitPolicy {
                interval_ms: 0,
                on_event: false,
                idle_timeout_ms: None,
            };
            let reader = Box::new(Script(polls.into()));
            SourceDriver::new(reader, Some(Box::new(FirstColumn)), policy, Arc::default())
        };
        let mut out = Output::new();
        let mut before = driver(vec![rows(0, &[900])]);
        before.add_splits(vec![split("a"), split("b")], 0).unwrap();
        before.poll(0, &mut out).unwrap();
        let splits = before.snapshot(1).unwrap();
        let written = serde_json::to_string(&splits).unwrap();
        assert_eq!(
            written,
            r#"[{"id":"b","state":[]},{"id":"a","state":[],"watermark":900}]"#
        );

        let mut after = driver(vec![rows(0, &[5])]);
        after.add_splits(serde_json::from_str(&written).unwrap(), 0).unwrap();
        out.drain().for_each(drop);
        after.poll(0, &mut out).unwrap();
        let told: Vec<_> = out.drain().filter(|e| !matches!(e, Element::Data(_))).collect();
        assert!(
            matches!(told[..], [Element::Watermark(5)]),
            "only the other one held it back: {told:?}"
        );
    }

    #[test]
    fn a_finished_split_does_not_count() {
        let script = vec![
            (0, rows(0, &[5])),
            (1, rows(1, &[50])),
            (2, ReaderPoll::SplitFinished(0)),
        ];
        assert_eq!(run(false, None, script), ["[5]", "[50]", "wm 5", "wm 50"]);
    }
}
