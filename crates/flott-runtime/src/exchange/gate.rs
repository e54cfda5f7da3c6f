//! The reading side of a task: merges the watermarks of its channels and aligns their barriers.
//!
//! Invariants: the merged watermark never goes back; a channel whose barrier came is not read until the barrier is
//! complete; an ended channel counts as aligned, and as infinitely far in time if it was drained. Behind a channel that was
//! stopped time stands still: the others end behind the same barrier, and what fired now would be behind the savepoint.
//! Idle channels do not hold the watermark back, but for its end, which comes when every channel has come to it; if all
//! channels that have not ended are idle, the gate is, behind the latest of their watermarks. Whatever moves a channel's time,
//! idleness or end, what is told is the difference to what was told before.
//!
//! **Overtaking.** Where the first barrier may overtake, the checkpoint begins with it ([`InputGate::overtake`], [`InputGate::begin`]).
//! From then on the gate records: of a channel whose barrier has come, what that has overtaken; of the others, what is read until theirs
//! comes. No channel waits. Exchanges without a [`Spread`] are aligned as ever: the checkpoint begins when all their barriers have come.
//! What a restored checkpoint had recorded is read before any channel.

use super::channel::Receiver;
use super::in_flight::{Held, Recorded, Spread};
use crate::element::{AfterBarrier, Barrier, Element, EndOfInput};
use crate::error::TaskError;
use flott_core::time::{END_OF_TIME, EventTime, NO_WATERMARK};
use flott_core::{Batch, CheckpointId};
use std::collections::VecDeque;

/// What the gate has for its chain.
#[derive(Debug)]
pub enum GateEvent {
    /// Rows of a logical input, and where they go at another parallelism.
    Data(usize, Option<Spread>, Batch),
    /// The merged watermark moved.
    Watermark(EventTime),
    /// All channels became idle, or one is active again.
    Idle(bool),
    /// The barrier of every channel came.
    Barrier(Barrier),
    /// A latency marker passed.
    LatencyMarker(i64),
    /// Every channel ended; nothing follows.
    End(EndOfInput),
}

#[derive(Debug)]
struct Input {
    receiver: Receiver,
    input: usize,
    watermark: EventTime,
    idle: bool,
    ended: bool,
    barrier: Option<CheckpointId>,
    /// Where its rows go at another parallelism; `None`: its barriers never overtake.
    spread: Option<Spread>,
    /// What its barrier has overtaken, until the checkpoint begins.
    overtaken: Vec<Held>,
    /// The checkpoint has begun and its barrier has not come: what is read is recorded.
    is_recorded: bool,
}

impl Input {
    fn has_come(&self, checkpoint: CheckpointId) -> bool {
        self.ended || self.barrier == Some(checkpoint)
    }

    /// Whether no barrier comes any more, though there may be rows.
    fn is_at_end(&self) -> bool {
        self.ended || (self.spread.is_some() && self.receiver.holds_end())
    }
}

/// All channels into one subtask.
#[derive(Debug)]
pub struct InputGate {
    channels: Vec<Input>,
    next: usize,
    /// As told.
    watermark: EventTime,
    /// As told.
    idle: bool,
    /// A channel's time, idleness or end has moved since all was told.
    moved: bool,
    aligning: Option<Barrier>,
    stopped: bool,
    end_told: bool,
    /// The newest checkpoint that has begun here, or was aligned.
    passed: CheckpointId,
    /// The checkpoint that has begun, while barriers of it are yet to come.
    recording: Option<CheckpointId>,
    record: Vec<Recorded>,
    /// Of a restored checkpoint.
    restored: VecDeque<Recorded>,
}

impl InputGate {
    /// A gate over channels, each with the logical input that it feeds; barriers are aligned.
    pub fn new(channels: impl IntoIterator<Item = (usize, Receiver)>) -> Self {
        Self::overtaken(channels.into_iter().map(|(input, receiver)| (input, None, receiver)))
    }

    /// A gate over channels, each with the logical input that it feeds, and where its rows go at another parallelism if its barriers may
    /// overtake them.
    pub fn overtaken(channels: impl IntoIterator<Item = (usize, Option<Spread>, Receiver)>) -> Self {
        let channels = channels
            .into_iter()
            .map(|(input, spread, receiver)| Input {
                receiver,
                input,
                watermark: NO_WATERMARK,
                idle: false,
                ended: false,
                barrier: None,
                spread,
                overtaken: vec![],
                is_recorded: false,
            })
            .collect();
        Self {
            channels,
            next: 0,
            watermark: NO_WATERMARK,
            idle: false,
            moved: false,
            aligning: None,
            stopped: false,
            end_told: false,
            passed: 0,
            recording: None,
            record: vec![],
            restored: VecDeque::new(),
        }
    }

    /// Has rows in flight of a checkpoint read first. Before the first [`Self::poll`].
    pub fn restore(&mut self, recorded: Vec<Recorded>) {
        self.restored = recorded.into();
    }

    /// The next event, or `None` if every readable channel is empty.
    ///
    /// # Errors
    /// If an element cannot be decoded.
    pub fn poll(&mut self) -> Result<Option<GateEvent>, TaskError> {
        if let Some(event) = self.next_restored() {
            return Ok(Some(event));
        }
        if let Some(event) = self.difference() {
            return Ok(Some(event));
        }
        // An element may unblock a channel that was passed over, or end the last one: look until a round finds nothing.
        let mut found = true;
        while found {
            found = false;
            for _ in 0..self.channels.len() {
                let index = self.next;
                self.next = (self.next + 1) % self.channels.len();
                while let Some(element) = self.pop(index)? {
                    found = true;
                    if let Some(event) = self.take(index, element).or_else(|| self.difference()) {
                        return Ok(Some(event));
                    }
                }
            }
        }
        Ok(self.end())
    }

    fn next_restored(&mut self) -> Option<GateEvent> {
        loop {
            match self.restored.pop_front()? {
                Recorded::Watermark(time) if time > self.watermark => {
                    self.watermark = time;
                    return Some(GateEvent::Watermark(time));
                }
                Recorded::Rows {
                    input,
                    spread,
                    rows: Held::Batch(batch),
                } => return Some(GateEvent::Data(input, Some(spread), batch)),
                // Rows were decoded when the record was read.
                Recorded::Watermark(_) | Recorded::Rows { .. } => {}
            }
        }
    }

    /// Takes the barriers that overtake at `now_ms`, and tells whether the checkpoint can [begin](Self::begin) before the rows that the
    /// gate has. `triggered`: what the task was told to take, whose barrier comes from nobody if all channels are at their ends.
    pub fn overtake(&mut self, now_ms: i64, triggered: Option<Barrier>) -> bool {
        for index in 0..self.channels.len() {
            let channel = &mut self.channels[index];
            let Some(spread) = channel.spread.filter(|_| !channel.ended) else {
                continue;
            };
            if let Some((barrier, rows)) = channel.receiver.overtake(now_ms) {
                self.has_overtaken(index, spread, barrier, rows);
            } else if let Some(checkpoint) = self.recording.filter(|_| channel.is_recorded)
                && channel.receiver.holds_end()
            {
                let rows = channel.receiver.rows_before(checkpoint);
                self.end_record(index, spread, rows);
            }
        }
        let at_ends = || self.channels.iter().all(Input::is_at_end);
        if let Some(barrier) = triggered
            && self.aligning.is_none()
            && barrier.checkpoint > self.passed
            && barrier.overtakes(now_ms)
            && at_ends()
        {
            self.aligning = Some(barrier);
        }
        self.aligning.is_some_and(|barrier| {
            let is_aligned = |c: &Input| c.spread.is_some() || c.has_come(barrier.checkpoint);
            barrier.overtakes(now_ms) && self.channels.iter().all(is_aligned)
        })
    }

    /// The earliest processing time at which [`Self::overtake`] has something to do, in milliseconds.
    pub fn next_overtaking(&self) -> Option<i64> {
        let waiting = self.channels.iter().filter(|c| c.spread.is_some() && !c.ended);
        let in_queues = waiting.filter_map(|c| c.receiver.overtakes_from_ms());
        let aligning = self.aligning.and_then(|barrier| barrier.overtakes_from_ms);
        in_queues.chain(aligning).min()
    }

    fn has_overtaken(&mut self, index: usize, spread: Spread, barrier: Barrier, rows: Vec<Held>) {
        if self.recording == Some(barrier.checkpoint) {
            if self.channels[index].is_recorded {
                self.end_record(index, spread, rows);
            }
            return;
        }
        if barrier.checkpoint > self.passed && self.supersede(barrier) {
            let channel = &mut self.channels[index];
            channel.barrier = Some(barrier.checkpoint);
            channel.overtaken = rows;
        }
    }

    /// Records the last of what is to be recorded of a channel.
    fn end_record(&mut self, index: usize, spread: Spread, rows: Vec<Held>) {
        let input = self.channels[index].input;
        let rows = rows.into_iter().map(|rows| Recorded::Rows { input, spread, rows });
        self.record.extend(rows);
        self.has_come_in_order(index);
    }

    /// Begins the checkpoint of the barrier that was seen first: what the gate has not given to its chain yet is behind it.
    pub fn begin(&mut self) -> Option<Barrier> {
        let barrier = self.aligning.take()?;
        self.passed = barrier.checkpoint;
        self.record = self.restored.iter().cloned().collect();
        for index in 0..self.channels.len() {
            let channel = &mut self.channels[index];
            let has_come = channel.has_come(barrier.checkpoint);
            channel.barrier = None;
            channel.is_recorded = !has_come;
            let mut rows = std::mem::take(&mut channel.overtaken);
            let Some(spread) = channel.spread else { continue };
            let is_at_end = !has_come && channel.receiver.holds_end();
            if is_at_end {
                rows = channel.receiver.rows_before(barrier.checkpoint);
            }
            if has_come || is_at_end {
                self.end_record(index, spread, rows);
            }
        }
        let is_recording = self.channels.iter().any(|c| c.is_recorded);
        self.recording = is_recording.then_some(barrier.checkpoint);
        Some(barrier)
    }

    /// Whether barriers of the checkpoint that has begun are yet to come.
    pub fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// Takes what was recorded of the checkpoint that began last.
    pub fn take_record(&mut self) -> Vec<Recorded> {
        std::mem::take(&mut self.record)
    }

    /// Records no more of checkpoints up to this one.
    pub fn give_up(&mut self, checkpoint: CheckpointId) {
        if self.passed <= checkpoint {
            self.stop_recording();
        }
    }

    fn stop_recording(&mut self) {
        self.recording = None;
        self.record.clear();
        self.channels.iter_mut().for_each(|c| c.is_recorded = false);
    }

    /// What is told once every channel has ended.
    fn end(&mut self) -> Option<GateEvent> {
        if self.end_told || !self.channels.iter().all(|c| c.ended) {
            return None;
        }
        self.end_told = true;
        Some(GateEvent::End(if self.stopped {
            EndOfInput::Stopped
        } else {
            EndOfInput::Drained
        }))
    }

    /// The checkpoint whose barrier has come on some channels and not on others.
    pub fn aligning(&self) -> Option<CheckpointId> {
        self.aligning.map(|barrier| barrier.checkpoint)
    }

    /// Bytes that wait in all channels.
    pub fn queued_bytes(&self) -> usize {
        self.channels.iter().map(|c| c.receiver.queued_bytes()).sum()
    }

    /// The oldest element of a channel that may be read.
    fn pop(&self, index: usize) -> Result<Option<Element>, TaskError> {
        let channel = &self.channels[index];
        match channel.barrier.is_none() && !channel.ended {
            true => channel.receiver.pop(),
            false => Ok(None),
        }
    }

    fn take(&mut self, index: usize, element: Element) -> Option<GateEvent> {
        let channel = &mut self.channels[index];
        match element {
            Element::Data(batch) | Element::Side(_, batch) => {
                if let (true, Some(spread)) = (channel.is_recorded, channel.spread) {
                    self.record.push(Recorded::Rows {
                        input: channel.input,
                        spread,
                        rows: Held::Batch(batch.clone()),
                    });
                }
                Some(GateEvent::Data(channel.input, channel.spread, batch))
            }
            Element::Watermark(time) => {
                channel.watermark = channel.watermark.max(time);
                self.moved = true;
                None
            }
            Element::Idle(idle) => {
                channel.idle = idle;
                self.moved = true;
                None
            }
            Element::LatencyMarker(sent_ms) => Some(GateEvent::LatencyMarker(sent_ms)),
            Element::Barrier(barrier) => {
                if self.recording == Some(barrier.checkpoint) {
                    self.has_come_in_order(index);
                    return None;
                }
                if barrier.checkpoint <= self.passed || !self.supersede(barrier) {
                    return None;
                }
                self.channels[index].barrier = Some(barrier.checkpoint);
                self.aligned()
            }
            Element::End(end) => {
                channel.ended = true;
                channel.watermark = if end == EndOfInput::Drained {
                    END_OF_TIME
                } else {
                    channel.watermark
                };
                self.stopped |= end == EndOfInput::Stopped;
                self.moved = true;
                self.has_come_in_order(index);
                self.aligned()
            }
        }
    }

    /// Nothing is to be recorded of a channel any more.
    fn has_come_in_order(&mut self, index: usize) {
        self.channels[index].is_recorded = false;
        self.recording = self.recording.filter(|_| self.channels.iter().any(|c| c.is_recorded));
    }

    /// Makes a barrier the one that is aligned; `false` if that is a newer one. It replaces an older one that will never complete: the
    /// channels of that are read on.
    fn supersede(&mut self, barrier: Barrier) -> bool {
        let current = self.aligning.map_or(self.passed, |current| current.checkpoint);
        if current > barrier.checkpoint {
            return false;
        }
        if current < barrier.checkpoint {
            self.stop_recording();
            for c in &mut self.channels {
                c.barrier = None;
                c.overtaken.clear();
            }
        }
        self.aligning = Some(barrier);
        true
    }

    /// The barrier, once every channel has it.
    fn aligned(&mut self) -> Option<GateEvent> {
        let barrier = self.aligning?;
        if !self.channels.iter().all(|c| c.has_come(barrier.checkpoint)) {
            return None;
        }
        debug_assert!(barrier.then == AfterBarrier::Continue || !self.end_told);
        self.begin().map(GateEvent::Barrier)
    }

    /// What has moved and was not told yet, piece by piece.
    fn difference(&mut self) -> Option<GateEvent> {
        if !self.moved {
            return None;
        }
        if !self.stopped {
            let mut left = self.channels.iter().filter(|c| !c.ended).peekable();
            let idle = left.peek().is_some() && left.all(|c| c.idle);
            // Who wakes up holds time back from then on; who falls asleep leaves its time behind first.
            if self.idle && !idle {
                self.idle = false;
                return Some(GateEvent::Idle(false));
            }
            if let Some(event) = self.merge_watermark() {
                return Some(event);
            }
            if idle && !self.idle {
                self.idle = true;
                return Some(GateEvent::Idle(true));
            }
        }
        self.moved = false;
        None
    }

    fn merge_watermark(&mut self) -> Option<GateEvent> {
        // The end of time is not a time: it has come when it has come on every channel. An idle one may still have rows,
        // which fire when its own input ends.
        let not_at_end = || self.channels.iter().filter(|c| c.watermark < END_OF_TIME);
        let merged = match not_at_end().filter(|c| !c.idle).map(|c| c.watermark).min() {
            Some(time) => time,
            // Only idle channels are left: they cannot hold time back, but they can still move it.
            None => not_at_end().map(|c| c.watermark).max().unwrap_or(END_OF_TIME),
        };
        (merged > self.watermark).then(|| {
            self.watermark = merged;
            GateEvent::Watermark(merged)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::channel::{Sender, channel};
    use super::*;
    use crate::waker::Waker;

    fn gate(channels: usize) -> (Vec<Sender>, InputGate) {
        let (tx, rx): (Vec<_>, Vec<_>) = (0..channels)
            .map(|_| channel(1 << 20, Waker::new(), Waker::new()))
            .unzip();
        (tx, InputGate::new(rx.into_iter().map(|r| (0, r))))
    }

    fn barrier(checkpoint: CheckpointId) -> Element {
        Element::Barrier(Barrier {
            checkpoint,
            triggered_ms: 0,
            then: AfterBarrier::Continue,
            overtakes_from_ms: None,
        })
    }

    /// The same, which overtakes from a time on.
    fn overtaking(checkpoint: CheckpointId, from_ms: i64) -> Element {
        Element::Barrier(Barrier {
            checkpoint,
            triggered_ms: 0,
            then: AfterBarrier::Continue,
            overtakes_from_ms: Some(from_ms),
        })
    }

    /// A gate whose barriers may overtake, on channels with a spread.
    fn recording_gate(spreads: &[Option<Spread>]) -> (Vec<Sender>, InputGate) {
        let (tx, rx): (Vec<_>, Vec<_>) = spreads
            .iter()
            .map(|_| channel(1 << 20, Waker::new(), Waker::new()))
            .unzip();
        let channels = spreads.iter().zip(rx).map(|(spread, rx)| (0, *spread, rx));
        (tx, InputGate::overtaken(channels))
    }

    fn recorded(gate: &mut InputGate) -> Vec<String> {
        let text = |entry| match entry {
            Recorded::Watermark(time) => format!("wm {time}"),
            Recorded::Rows {
                rows: Held::Batch(batch),
                ..
            } => format!("rows {}", batch.num_rows()),
            other => panic!("{other:?}"),
        };
        gate.take_record().into_iter().map(text).collect()
    }

    fn rows(n: usize) -> Element {
        Element::Data(Batch::new(vec![], n))
    }

    fn events(gate: &mut InputGate) -> Vec<String> {
        std::iter::from_fn(|| gate.poll().unwrap())
            .map(|e| match e {
                GateEvent::Data(_, _, b) => format!("rows {}", b.num_rows()),
                GateEvent::Watermark(t) => format!("wm {t}"),
                GateEvent::Idle(i) => format!("idle {i}"),
                GateEvent::Barrier(b) => format!("barrier {}", b.checkpoint),
                GateEvent::LatencyMarker(t) => format!("marker {t}"),
                GateEvent::End(e) => format!("end {e:?}"),
            })
            .collect()
    }

    #[test]
    fn the_watermark_is_the_minimum_and_never_goes_back() {
        let (tx, mut g) = gate(2);
        tx[0].send(Element::Watermark(10)).unwrap();
        assert!(events(&mut g).is_empty());
        tx[1].send(Element::Watermark(5)).unwrap();
        assert_eq!(events(&mut g), ["wm 5"]);
        tx[1].send(Element::Watermark(3)).unwrap();
        tx[1].send(Element::Watermark(20)).unwrap();
        assert_eq!(events(&mut g), ["wm 10"]);
    }

    #[test]
    fn a_channel_behind_its_barrier_waits_for_the_others() {
        let (tx, mut g) = gate(2);
        tx[0].send(barrier(1)).unwrap();
        tx[0].send(rows(7)).unwrap();
        tx[1].send(rows(3)).unwrap();
        assert_eq!(events(&mut g), ["rows 3"]);
        assert_eq!(g.aligning(), Some(1));
        tx[1].send(barrier(1)).unwrap();
        assert_eq!(events(&mut g), ["barrier 1", "rows 7"]);
    }

    #[test]
    fn an_ended_channel_counts_as_aligned_and_as_late_in_time() {
        let (tx, mut g) = gate(2);
        tx[0].send(Element::End(EndOfInput::Drained)).unwrap();
        tx[1].send(barrier(4)).unwrap();
        tx[1].send(Element::Watermark(9)).unwrap();
        assert_eq!(events(&mut g), ["barrier 4", "wm 9"]);
        tx[1].send(Element::End(EndOfInput::Drained)).unwrap();
        assert_eq!(events(&mut g), [format!("wm {END_OF_TIME}"), "end Drained".into()]);
    }

    #[test]
    fn a_newer_barrier_replaces_one_that_cannot_complete() {
        let (tx, mut g) = gate(2);
        tx[0].send(barrier(1)).unwrap();
        tx[0].send(rows(1)).unwrap();
        tx[0].send(barrier(2)).unwrap();
        tx[1].send(barrier(2)).unwrap();
        assert_eq!(events(&mut g), ["rows 1", "barrier 2"]);
    }

    #[test]
    fn idle_channels_do_not_hold_the_watermark_back() {
        let (tx, mut g) = gate(2);
        tx[0].send(Element::Watermark(10)).unwrap();
        tx[1].send(Element::Idle(true)).unwrap();
        assert_eq!(events(&mut g), ["wm 10"]);
        tx[0].send(Element::Idle(true)).unwrap();
        assert_eq!(events(&mut g), ["idle true"]);
        tx[1].send(Element::Idle(false)).unwrap();
        assert_eq!(events(&mut g), ["idle false"]);
    }

    #[test]
    fn the_last_to_fall_asleep_does_not_hold_back_the_time_of_the_others() {
        for first in [0, 1] {
            let (tx, mut g) = gate(2);
            tx[0].send(Element::Watermark(10)).unwrap();
            tx[1].send(Element::Watermark(5)).unwrap();
            assert_eq!(events(&mut g), ["wm 5"]);
            tx[first].send(Element::Idle(true)).unwrap();
            tx[1 - first].send(Element::Idle(true)).unwrap();
            assert_eq!(events(&mut g), ["wm 10", "idle true"], "channel {first} first");
        }
    }

    #[test]
    fn an_idle_channel_is_told_when_the_last_other_one_ends() {
        let (tx, mut g) = gate(2);
        tx[1].send(Element::Idle(true)).unwrap();
        tx[0].send(Element::Watermark(3)).unwrap();
        assert_eq!(events(&mut g), ["wm 3"]);
        // Its end comes while a barrier is being aligned, too.
        tx[1].send(barrier(1)).unwrap();
        assert!(events(&mut g).is_empty());
        tx[0].send(Element::End(EndOfInput::Drained)).unwrap();
        assert_eq!(events(&mut g), ["barrier 1", "idle true"]);
        tx[1].send(Element::Idle(false)).unwrap();
        tx[1].send(Element::Watermark(8)).unwrap();
        assert_eq!(events(&mut g), ["idle false", "wm 8"]);
    }

    #[test]
    fn time_does_not_end_before_idle_channels_have_ended() {
        let (tx, mut g) = gate(2);
        tx[1].send(Element::Watermark(7)).unwrap();
        tx[1].send(Element::Idle(true)).unwrap();
        tx[0].send(Element::Watermark(9)).unwrap();
        assert_eq!(events(&mut g), ["wm 7", "wm 9"]);
        tx[0].send(Element::Watermark(END_OF_TIME)).unwrap();
        tx[0].send(Element::End(EndOfInput::Drained)).unwrap();
        assert_eq!(events(&mut g), ["idle true"]);
        tx[1].send(Element::Idle(false)).unwrap();
        tx[1].send(rows(2)).unwrap();
        tx[1].send(Element::Watermark(END_OF_TIME)).unwrap();
        assert_eq!(
            events(&mut g),
            ["idle false".to_owned(), "rows 2".into(), format!("wm {END_OF_TIME}")]
        );
        tx[1].send(Element::End(EndOfInput::Drained)).unwrap();
        assert_eq!(events(&mut g), ["end Drained"]);
    }

    #[test]
    fn a_channel_that_was_stopped_lets_no_other_move_time() {
        let (tx, mut g) = gate(3);
        tx[0].send(Element::Watermark(10)).unwrap();
        tx[1].send(Element::Watermark(20)).unwrap();
        tx[2].send(Element::End(EndOfInput::Drained)).unwrap();
        assert_eq!(events(&mut g), ["wm 10"]);
        tx[0].send(Element::End(EndOfInput::Stopped)).unwrap();
        assert!(events(&mut g).is_empty());
        tx[1].send(Element::End(EndOfInput::Stopped)).unwrap();
        assert_eq!(events(&mut g), ["end Stopped"]);
    }

    #[test]
    fn a_stopped_input_ends_without_a_last_watermark() {
        let (tx, mut g) = gate(1);
        tx[0].send(Element::Watermark(3)).unwrap();
        tx[0].send(Element::End(EndOfInput::Stopped)).unwrap();
        assert_eq!(events(&mut g), ["wm 3", "end Stopped"]);
    }

    #[test]
    fn a_barrier_overtakes_rows_which_are_recorded_and_those_of_other_channels_until_theirs_comes() {
        let (tx, mut g) = recording_gate(&[Some(Spread::KeyGroup); 3]);
        tx[0].send(rows(1)).unwrap();
        tx[0].send(overtaking(1, 0)).unwrap();
        tx[0].send(rows(2)).unwrap();
        tx[1].send(rows(3)).unwrap();
        tx[2].send(rows(4)).unwrap();
        tx[2].send(overtaking(1, 0)).unwrap();
        assert!(g.overtake(0, None));
        assert_eq!(g.begin().map(|b| b.checkpoint), Some(1));
        assert!(g.is_recording());
        // No channel waits, and what is read of the second is recorded.
        let mut read = events(&mut g);
        read.sort_unstable();
        assert_eq!(read, ["rows 1", "rows 2", "rows 3", "rows 4"]);
        tx[1].send(rows(5)).unwrap();
        tx[1].send(overtaking(1, 0)).unwrap();
        tx[1].send(rows(6)).unwrap();
        assert!(!g.overtake(0, None), "it has begun");
        assert!(!g.is_recording());
        assert_eq!(recorded(&mut g), ["rows 1", "rows 4", "rows 3", "rows 5"]);
        assert_eq!(events(&mut g), ["rows 5", "rows 6"]);
    }

    #[test]
    fn a_barrier_waits_until_its_time_has_come() {
        let (tx, mut g) = recording_gate(&[Some(Spread::Any); 2]);
        tx[0].send(overtaking(1, 100)).unwrap();
        tx[1].send(rows(1)).unwrap();
        assert!(!g.overtake(99, None));
        assert_eq!(events(&mut g), ["rows 1"]);
        tx[0].send(rows(2)).unwrap();
        assert!(events(&mut g).is_empty());
        assert_eq!(g.next_overtaking(), Some(100));
        tx[1].send(rows(3)).unwrap();
        assert!(g.overtake(100, None));
        assert!(g.begin().is_some());
        tx[1].send(overtaking(1, 100)).unwrap();
        assert!(!g.overtake(100, None));
        assert_eq!(recorded(&mut g), ["rows 3"]);
        // The next one is aligned in time.
        events(&mut g);
        tx.iter().for_each(|tx| tx.send(overtaking(2, 200)).unwrap());
        assert_eq!(events(&mut g), ["barrier 2"]);
        assert!(recorded(&mut g).is_empty() && !g.is_recording());
    }

    #[test]
    fn exchanges_that_cannot_be_recorded_are_aligned() {
        let (tx, mut g) = recording_gate(&[Some(Spread::Any), None]);
        tx[0].send(rows(1)).unwrap();
        tx[0].send(overtaking(1, 0)).unwrap();
        tx[1].send(rows(2)).unwrap();
        tx[1].send(overtaking(1, 0)).unwrap();
        tx[1].send(rows(3)).unwrap();
        assert!(!g.overtake(0, None));
        assert_eq!(events(&mut g)[..2], ["rows 2", "barrier 1"]);
        assert_eq!(recorded(&mut g), ["rows 1"]);
    }

    #[test]
    fn a_channel_at_its_end_is_recorded_to_it() {
        let (tx, mut g) = recording_gate(&[Some(Spread::Any); 2]);
        tx[0].send(rows(1)).unwrap();
        tx[0].send(Element::End(EndOfInput::Drained)).unwrap();
        tx[1].send(overtaking(1, 0)).unwrap();
        assert!(g.overtake(0, None));
        assert!(g.begin().is_some());
        assert!(!g.is_recording());
        assert_eq!(recorded(&mut g), ["rows 1"]);
        // Where all are, nobody sends a barrier.
        tx[1].send(rows(2)).unwrap();
        tx[1].send(Element::End(EndOfInput::Drained)).unwrap();
        let Element::Barrier(triggered) = overtaking(2, 0) else {
            panic!("no barrier")
        };
        assert!(g.overtake(0, Some(triggered)));
        assert_eq!(g.begin().map(|b| b.checkpoint), Some(2));
        assert_eq!(recorded(&mut g), ["rows 1", "rows 2"]);
    }

    #[test]
    fn what_was_restored_is_read_first_and_recorded_again_where_it_was_not() {
        let (tx, mut g) = recording_gate(&[Some(Spread::Any)]);
        let restored = |n| Recorded::Rows {
            input: 0,
            spread: Spread::Any,
            rows: Held::Batch(Batch::new(vec![], n)),
        };
        g.restore(vec![
            Recorded::Watermark(7),
            restored(1),
            Recorded::Watermark(9),
            restored(2),
        ]);
        tx[0].send(Element::Watermark(8)).unwrap();
        tx[0].send(rows(3)).unwrap();
        let next = |g: &mut InputGate| g.poll().unwrap();
        assert!(matches!(next(&mut g), Some(GateEvent::Watermark(7))));
        assert!(matches!(next(&mut g), Some(GateEvent::Data(0, Some(Spread::Any), b)) if b.num_rows() == 1));
        tx[0].send(overtaking(1, 0)).unwrap();
        assert!(g.overtake(0, None));
        assert!(g.begin().is_some());
        assert_eq!(recorded(&mut g), ["wm 9", "rows 2", "rows 3"]);
        assert_eq!(events(&mut g), ["wm 9", "rows 2", "rows 3"]);
    }

    #[test]
    fn a_barrier_that_was_overtaken_by_a_newer_one_is_old_news() {
        let (tx, mut g) = recording_gate(&[Some(Spread::Any); 2]);
        tx[0].send(rows(1)).unwrap();
        tx[0].send(overtaking(1, 100)).unwrap();
        tx.iter().for_each(|tx| tx.send(overtaking(2, 0)).unwrap());
        assert!(g.overtake(0, None));
        assert_eq!(g.begin().map(|b| b.checkpoint), Some(2));
        tx[0].send(rows(2)).unwrap();
        assert_eq!(events(&mut g), ["rows 1", "rows 2"]);
    }
}
