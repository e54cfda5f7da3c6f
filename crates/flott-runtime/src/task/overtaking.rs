//! How a barrier overtakes what a task holds in front of its chain, and when a checkpoint of the task is complete.

use super::{Captured, Feed, Task, TaskEvent, TaskListener};
use crate::chain::ChainState;
use crate::element::{Barrier, Element};
use crate::error::TaskError;
use crate::exchange::in_flight::Held;
use crate::exchange::{InFlight, Recorded, Spread};
use flott_core::time::{END_OF_TIME, NO_WATERMARK};
use flott_core::{Batch, OperatorId};
use flott_state::{InFlightPlace, OperatorSnapshot};
use std::time::Instant;

/// What waits in front of the chain.
pub(super) struct Pending {
    pub(super) input: usize,
    /// Where its rows go at another parallelism, if a barrier may overtake them.
    pub(super) spread: Option<Spread>,
    pub(super) element: Element,
}

/// A checkpoint that has passed the chain, and of which not all is recorded yet.
pub(super) struct Part {
    pub(super) barrier: Barrier,
    pub(super) captured: Box<Captured>,
}

impl Pending {
    /// What has no rows that could be restored at another parallelism than as they are.
    pub(super) fn of(element: Element) -> Self {
        Self {
            input: 0,
            spread: Some(Spread::Any),
            element,
        }
    }

    /// What a restored checkpoint had recorded in a source's chain.
    pub(super) fn restored(recorded: Recorded) -> Option<Self> {
        match recorded {
            Recorded::Watermark(NO_WATERMARK) => None,
            Recorded::Watermark(time) => Some(Self::of(Element::Watermark(time))),
            Recorded::Rows {
                input,
                spread,
                rows: Held::Batch(batch),
            } => Some(Self {
                input,
                spread: Some(spread),
                element: Element::Data(batch),
            }),
            // Rows were decoded when the record was read.
            Recorded::Rows { .. } => None,
        }
    }

    /// What a barrier that overtakes it records of it.
    fn record(&self) -> Option<Recorded> {
        match (&self.element, self.spread) {
            (Element::Data(batch), Some(spread)) => Some(Recorded::Rows {
                input: self.input,
                spread,
                rows: Held::Batch(batch.clone()),
            }),
            // The end of time comes again, from who has come to it.
            (Element::Watermark(time), _) if *time < END_OF_TIME => Some(Recorded::Watermark(*time)),
            _ => None,
        }
    }
}

impl Task {
    /// Puts the next element into the chain, of a batch as much as it works off soon.
    pub(super) fn let_in(&mut self, pending: Pending, now_ms: i64) -> Result<(), TaskError> {
        let Pending { input, spread, element } = pending;
        let element = match (element, &self.pace) {
            (Element::Data(batch), Some(pace)) => {
                let cuts = pace.cuts(batch.num_rows());
                let mut pieces = match cuts.is_empty() {
                    true => vec![batch],
                    false => batch.cut(&cuts),
                }
                .into_iter();
                let first = pieces.next().unwrap_or_else(|| Batch::new(vec![], 0));
                for piece in pieces.rev() {
                    let element = Element::Data(piece);
                    self.pending.push_front(Pending { input, spread, element });
                }
                self.given = Some((first.num_rows(), Instant::now()));
                Element::Data(first)
            }
            (element, _) => element,
        };
        if let Element::Watermark(time) = element {
            self.told = self.told.max(time);
        }
        self.chain.push(input, element, now_ms)
    }

    /// Notes how long the chain worked at what it was given, or waited for something outside; for room downstream is not its own doing.
    pub(super) fn measure(&mut self, chain: ChainState) {
        match chain {
            ChainState::BackPressured => self.given = None,
            ChainState::Blocked => {}
            ChainState::Empty => {
                if let (Some(pace), Some((rows, since))) = (&mut self.pace, self.given.take()) {
                    pace.worked(rows, since.elapsed());
                }
            }
        }
    }

    /// Whether a barrier waits that overtakes what is in front of the chain.
    pub(super) fn may_overtake(&mut self, now_ms: i64) -> bool {
        let triggered = self.triggered;
        let is_due = match &mut self.feed {
            Feed::Source { stopping, .. } => !*stopping && triggered.is_some_and(|barrier| barrier.overtakes(now_ms)),
            Feed::Gate { gate, ended, .. } => !*ended && gate.overtake(now_ms, triggered),
        };
        let can_be_recorded = |pending: &Pending| match pending.element {
            Element::Data(_) => pending.spread.is_some(),
            Element::Barrier(_) => false,
            _ => true,
        };
        is_due && self.pending.iter().all(can_be_recorded)
    }

    /// The next processing time at which a barrier may overtake, in milliseconds.
    pub(super) fn next_overtaking(&self, now_ms: i64) -> Option<i64> {
        self.pace.as_ref()?;
        let of_gate = match &self.feed {
            Feed::Gate { gate, .. } => gate.next_overtaking(),
            Feed::Source { .. } => None,
        };
        let part = self.part.as_ref().map(|part| part.barrier);
        let barriers = [self.triggered, part].into_iter().flatten();
        let times = barriers.filter_map(|barrier| barrier.overtakes_from_ms).chain(of_gate);
        times.filter(|from_ms| *from_ms > now_ms).min()
    }

    /// Lets a barrier into the empty chain, before what is pending, which is recorded. `false` if there is none.
    pub(super) fn overtake(&mut self, now_ms: i64) -> Result<bool, TaskError> {
        let barrier = match &mut self.feed {
            Feed::Source { .. } => self.triggered.take(),
            Feed::Gate { gate, .. } => gate.begin(),
        };
        let Some(barrier) = barrier else {
            return Ok(false);
        };
        match &self.feed {
            Feed::Source { .. } => self.source_barrier(barrier, now_ms)?,
            Feed::Gate { .. } => self.gate_barrier(barrier, now_ms),
        }
        let told = Recorded::Watermark(self.told);
        let recorded = self.pending.iter().filter_map(Pending::record);
        let recorded = std::iter::once(told).chain(recorded).collect();
        self.overtaken = Some((barrier.checkpoint, recorded));
        self.chain.push(0, Element::Barrier(barrier), now_ms)?;
        Ok(true)
    }

    /// A barrier has passed the chain, which has captured its operators.
    pub(super) fn captured(&mut self, barrier: Barrier, operators: Vec<(OperatorId, OperatorSnapshot)>) {
        let overtaken = self.overtaken.take().filter(|(of, _)| *of == barrier.checkpoint);
        let (operator, subtask) = self.head;
        let mut captured = Captured {
            operators,
            is_unaligned: overtaken.is_some(),
            ..Captured::default()
        };
        // Behind the task's own record come those of its outputs.
        captured.in_flight.push(InFlight {
            operator,
            subtask,
            place: InFlightPlace::Input,
            recorded: overtaken.map_or_else(|| vec![Recorded::Watermark(self.told)], |(_, recorded)| recorded),
        });
        let captured = Box::new(captured);
        self.part = Some(Part { barrier, captured });
    }

    /// Tells a snapshot once all is recorded that belongs to it: where the barrier does not overtake, at once.
    pub(super) fn complete_part(&mut self, listener: &dyn TaskListener, now_ms: i64) {
        let Some(mut part) = self.part.take() else {
            return;
        };
        let in_flight = &mut part.captured.in_flight;
        let have_left = self.chain.overtake(now_ms, in_flight);
        let have_come = match &self.feed {
            Feed::Gate { gate, .. } => !gate.is_recording(),
            Feed::Source { .. } => true,
        };
        if self.chain.has_given_up(part.barrier.checkpoint) {
            return;
        }
        if !have_left || !have_come {
            self.part = Some(part);
            return;
        }
        if let (Feed::Gate { gate, .. }, Some(own)) = (&mut self.feed, in_flight.first_mut()) {
            own.recorded.extend(gate.take_record());
        }
        in_flight.retain(InFlight::has_rows);
        part.captured.is_unaligned |= !in_flight.is_empty();
        part.captured.processed_bytes = std::mem::take(&mut self.processed_bytes);
        let Part { barrier, captured } = part;
        listener.on_event(TaskEvent::Snapshot { barrier, captured });
    }
}
