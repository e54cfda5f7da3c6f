//! The reading side of a task: merges the watermarks of its channels and aligns their barriers.
//!
//! Invariants: the merged watermark never goes back; a channel whose barrier came is not read until the barrier is
//! complete; an ended channel counts as aligned, and as infinitely far in time if it was drained. Behind a channel that was
//! stopped time stands still: the others end behind the same barrier, and what fired now would be behind the savepoint.
//! Idle channels do not hold the watermark back, but for its end, which comes when every channel has come to it; if all
//! channels that have not ended are idle, the gate is, behind the latest of their watermarks. Whatever moves a channel's time,
//! idleness or end, what is told is the difference to what was told before.

use super::channel::Receiver;
use crate::element::{AfterBarrier, Barrier, Element, EndOfInput};
use crate::error::TaskError;
use flott_core::time::{END_OF_TIME, EventTime, NO_WATERMARK};
use flott_core::{Batch, CheckpointId};

/// What the gate has for its chain.
#[derive(Debug)]
pub enum GateEvent {
    /// Rows of a logical input.
    Data(usize, Batch),
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
}

impl InputGate {
    /// A gate over channels, each with the logical input that it feeds.
    pub fn new(channels: impl IntoIterator<Item = (usize, Receiver)>) -> Self {
        let channels = channels
            .into_iter()
            .map(|(input, receiver)| Input {
                receiver,
                input,
                watermark: NO_WATERMARK,
                idle: false,
                ended: false,
                barrier: None,
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
        }
    }

    /// The next event, or `None` if every readable channel is empty.
    ///
    /// # Errors
    /// If an element cannot be decoded.
    pub fn poll(&mut self) -> Result<Option<GateEvent>, TaskError> {
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
            Element::Data(batch) | Element::Side(_, batch) => Some(GateEvent::Data(channel.input, batch)),
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
                channel.barrier = Some(barrier.checkpoint);
                self.arrived(barrier)
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
                self.arrived(self.aligning?)
            }
        }
    }

    /// Notes a barrier (or an end during alignment) and tells when it is complete. A newer barrier replaces an older
    /// one that will never complete: its channels are read on.
    fn arrived(&mut self, barrier: Barrier) -> Option<GateEvent> {
        match self.aligning {
            Some(current) if current.checkpoint > barrier.checkpoint => {
                for c in &mut self.channels {
                    if c.barrier == Some(barrier.checkpoint) {
                        c.barrier = None;
                    }
                }
                return None;
            }
            Some(current) if current.checkpoint < barrier.checkpoint => {
                for c in &mut self.channels {
                    if c.barrier == Some(current.checkpoint) {
                        c.barrier = None;
                    }
                }
            }
            _ => {}
        }
        self.aligning = Some(barrier);
        if !self
            .channels
            .iter()
            .all(|c| c.ended || c.barrier == Some(barrier.checkpoint))
        {
            return None;
        }
        self.aligning = None;
        for c in &mut self.channels {
            c.barrier = None;
        }
        debug_assert!(barrier.then == AfterBarrier::Continue || !self.end_told);
        Some(GateEvent::Barrier(barrier))
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
        })
    }

    fn rows(n: usize) -> Element {
        Element::Data(Batch::new(vec![], n))
    }

    fn events(gate: &mut InputGate) -> Vec<String> {
        std::iter::from_fn(|| gate.poll().unwrap())
            .map(|e| match e {
                GateEvent::Data(_, b) => format!("rows {}", b.num_rows()),
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
}
