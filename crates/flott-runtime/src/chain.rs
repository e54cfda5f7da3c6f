//! The chain: operators that hand batches to each other by direct calls on one thread.
//!
//! ```text
//!   inbox ─► operator 0 ─► inbox ─► operator 1 ─► … ─► router
//! ```
//! [`Chain::run`] always serves the operator furthest downstream that has something to do. So an operator is called
//! only when everything behind it is empty, and no inbox ever holds more than what one call emits: memory is bounded
//! without counting. An operator that returned `More` is resumed before anything else reaches it; one that is `Blocked`
//! stops the chain until the task is woken. A batch of more rows than [`crate::batching`] asks for is cut before it reaches
//! an operator.
//!
//! While a barrier waits that may overtake ([`Chain::hurry`]), the chain works off what it holds into a reserve behind the channels' bounds:
//! only what is in front of it can be overtaken.

use crate::context::OperatorContext;
use crate::element::{Barrier, Element, EndOfInput, Output};
use crate::error::{TaskError, panic_text};
use crate::exchange::{InFlight, Router};
use crate::metrics::OperatorMetrics;
use crate::operator::{self, Flow, Operator};
use flott_core::time::{END_OF_TIME, EventTime, NO_WATERMARK};
use flott_core::{CheckpointId, OperatorId};
use flott_state::snapshot::RestoreNotes;
use flott_state::{OperatorSnapshot, RestoredState};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Why [`Chain::run`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainState {
    /// Everything was processed.
    Empty,
    /// A channel behind the chain is full; the task is woken when it drains.
    BackPressured,
    /// An operator waits for something outside; the task is woken by it.
    Blocked,
}

/// What the last operator has let through, for the task to report.
#[derive(Debug)]
pub enum ChainEvent {
    /// Every operator has captured its state, in order.
    Snapshot(Barrier, Vec<(OperatorId, OperatorSnapshot)>),
    /// The end has passed the whole chain.
    Ended(EndOfInput),
    /// A latency marker has passed the whole chain; when it was sent.
    Marker(i64),
}

/// What a call to an operator was for, so that it can be completed after `resume`.
#[derive(Debug, Clone, Copy)]
enum Call {
    Batch,
    Watermark(EventTime),
    Barrier(Barrier),
    Finish(EndOfInput),
    Timer,
}

struct Link {
    id: OperatorId,
    name: String,
    operator: Box<dyn Operator>,
    metrics: Arc<OperatorMetrics>,
    inbox: VecDeque<(usize, Element)>,
    open_call: Option<(Call, Flow)>,
    watermark: EventTime,
    /// Its input has ended: it may still be in checkpoints, but has nothing more to say.
    has_ended: bool,
}

impl Link {
    fn new(operator: ChainOperator) -> Self {
        let ChainOperator {
            id,
            name,
            operator,
            metrics,
        } = operator;
        Self {
            id,
            name,
            operator,
            metrics,
            inbox: VecDeque::new(),
            open_call: None,
            watermark: NO_WATERMARK,
            has_ended: false,
        }
    }

    /// When its operator wants to be called, in processing time; never behind its end.
    fn next_timer(&self) -> Option<i64> {
        match self.has_ended {
            true => None,
            false => self.operator.next_timer(),
        }
    }
}

/// An opened operator with its place in the plan.
pub struct ChainOperator {
    /// The operator's id.
    pub id: OperatorId,
    /// Its name, for errors.
    pub name: String,
    /// It.
    pub operator: Box<dyn Operator>,
    /// Its counters.
    pub metrics: Arc<OperatorMetrics>,
}

/// The operators of one subtask and the exchanges behind them. They are closed with it, at the latest when it is dropped.
pub struct Chain {
    links: Vec<Link>,
    router: Router,
    batch_rows: usize,
    snapshots: Vec<(OperatorId, OperatorSnapshot)>,
    events: VecDeque<ChainEvent>,
    out: Output,
    is_closed: bool,
    /// A barrier waits that may overtake.
    is_in_a_hurry: bool,
    /// The last checkpoint that was given up: its barrier, and any before it, passes without a snapshot if it has not passed yet.
    given_up: CheckpointId,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.links.iter().map(|l| &l.name)).finish()
    }
}

impl Chain {
    /// A chain of opened operators in front of `router`. It may be empty: a source that feeds an exchange.
    pub fn new(operators: Vec<ChainOperator>, router: Router) -> Self {
        Self {
            links: operators.into_iter().map(Link::new).collect(),
            router,
            batch_rows: usize::MAX,
            snapshots: vec![],
            events: VecDeque::new(),
            out: Output::new(),
            is_closed: false,
            is_in_a_hurry: false,
            given_up: 0,
        }
    }

    /// Opens an operator behind those that are there, restoring its state.
    ///
    /// # Errors
    /// If it cannot be opened; the message names it.
    pub fn open(&mut self, mut ctx: OperatorContext, operator: Box<dyn Operator>) -> Result<(), TaskError> {
        let notes = ctx.restored.as_ref().map(RestoredState::notes);
        self.links.push(Link::new(ChainOperator {
            id: ctx.operator_id,
            name: ctx.operator_name.clone(),
            operator,
            metrics: ctx.metrics.clone(),
        }));
        // It is among the others before it is open: what fails on half the way is closed, too.
        if let Some(link) = self.links.last_mut() {
            link.operator.open(&mut ctx).map_err(|e| e.at(&link.name))?;
        }
        drop(ctx.restored.take());
        for note in notes.iter().flat_map(RestoreNotes::list) {
            tracing::warn!(
                operator = ctx.operator_name,
                "not all is as it was in the restored state: {note}"
            );
        }
        Ok(())
    }

    /// Closes the operators, the last one first; nothing may be asked of them any more. Only the first call does anything.
    pub fn close(&mut self) {
        if !std::mem::replace(&mut self.is_closed, true) {
            for link in self.links.iter_mut().rev() {
                let _inside = link.metrics.call.begin(Instant::now());
                operator::close(&link.name, &mut *link.operator);
            }
        }
    }

    /// The same chain, whose operators get batches of at most `rows` rows.
    pub fn cutting(mut self, rows: usize) -> Self {
        self.batch_rows = rows.max(1);
        self
    }

    /// Puts an element in front of the first operator. Call [`Chain::run`] until it is `Empty` between two elements.
    ///
    /// # Errors
    /// If there is no operator and the element cannot be routed.
    pub fn push(&mut self, input: usize, element: Element, now_ms: i64) -> Result<(), TaskError> {
        self.deliver(0, input, element, now_ms)
    }

    /// What has passed the chain since the last call.
    pub fn next_event(&mut self) -> Option<ChainEvent> {
        self.events.pop_front()
    }

    /// Works until nothing is left or something must be waited for.
    ///
    /// # Errors
    /// If an operator fails; the message names it.
    pub fn run(&mut self, now_ms: i64) -> Result<ChainState, TaskError> {
        loop {
            // Timers wait for a chain that is blocked; what it has emitted must not.
            if self.router.deadline_ms().is_some_and(|d| d <= now_ms) {
                self.router.flush()?;
            }
            let has_room = self.router.has_room() || (self.is_in_a_hurry && self.router.has_reserve());
            if !has_room {
                return Ok(ChainState::BackPressured);
            }
            let Some(index) = self
                .links
                .iter()
                .rposition(|l| l.open_call.is_some() || !l.inbox.is_empty())
            else {
                return Ok(ChainState::Empty);
            };
            let blocked_before = matches!(self.links[index].open_call, Some((_, Flow::Blocked)));
            self.advance(index, now_ms)?;
            // A blocked operator may emit: that goes on first.
            let is_still_blocked = matches!(self.links[index].open_call, Some((_, Flow::Blocked)));
            let is_empty_behind = |l: &Link| l.open_call.is_none() && l.inbox.is_empty();
            if blocked_before && is_still_blocked && self.links[index + 1..].iter().all(is_empty_behind) {
                return Ok(ChainState::Blocked);
            }
        }
    }

    /// A barrier waits that may overtake what is in front of the chain: what is in it makes use of the channels' reserve, until the barrier
    /// has passed.
    pub fn hurry(&mut self) {
        self.is_in_a_hurry = true;
    }

    /// See [`Router::overtake`].
    pub fn overtake(&self, now_ms: i64, record: &mut Vec<InFlight>) -> bool {
        self.router.overtake(now_ms, record)
    }

    /// Calls the timers that are due. Only while the chain is empty.
    ///
    /// # Errors
    /// If an operator fails.
    pub fn fire_timers(&mut self, now_ms: i64) -> Result<(), TaskError> {
        if self.router.deadline_ms().is_some_and(|d| d <= now_ms) {
            self.router.flush()?;
        }
        for index in 0..self.links.len() {
            let link = &self.links[index];
            if link.open_call.is_none() && link.next_timer().is_some_and(|t| t <= now_ms) {
                let mut out = std::mem::take(&mut self.out);
                let link = &mut self.links[index];
                let inside = link.metrics.call.begin(Instant::now());
                let flow = link.operator.on_timer(now_ms, &mut out).map_err(|e| e.at(&link.name));
                drop(inside);
                self.after(index, Call::Timer, flow?, out, now_ms)?;
            }
        }
        Ok(())
    }

    /// The earliest processing time at which [`Chain::fire_timers`] has something to do.
    pub fn next_timer(&self) -> Option<i64> {
        let timers = self.links.iter().filter_map(Link::next_timer);
        timers.chain(self.router.deadline_ms()).min()
    }

    /// Tells every operator that a checkpoint is complete.
    ///
    /// # Errors
    /// If an operator panics; the message names it.
    pub fn checkpoint_complete(&mut self, checkpoint: CheckpointId) -> Result<(), TaskError> {
        let what = format!("checkpoint {checkpoint} is complete");
        self.tell_all(&what, |operator| operator.checkpoint_complete(checkpoint))
    }

    /// Tells every operator that a checkpoint was given up. None of them captures its state for it afterwards: its barrier, should it still be
    /// on its way, passes those that it has not reached, and makes no [`ChainEvent::Snapshot`].
    ///
    /// # Errors
    /// If an operator panics; the message names it.
    pub fn checkpoint_aborted(&mut self, checkpoint: CheckpointId) -> Result<(), TaskError> {
        self.given_up = self.given_up.max(checkpoint);
        let what = format!("checkpoint {checkpoint} was given up");
        self.tell_all(&what, |operator| operator.checkpoint_aborted(checkpoint))
    }

    fn tell_all(&mut self, what: &str, tell: impl Fn(&mut dyn Operator)) -> Result<(), TaskError> {
        for link in &mut self.links {
            let _inside = link.metrics.call.begin(Instant::now());
            catch_unwind(AssertUnwindSafe(|| tell(&mut *link.operator))).map_err(|panic| {
                let said = panic_text(panic.as_ref());
                TaskError::user(format!("it panicked when it was told that {what}: {said}")).at(&link.name)
            })?;
        }
        Ok(())
    }

    /// Whether a checkpoint was given up before its barrier came here.
    pub fn has_given_up(&self, checkpoint: CheckpointId) -> bool {
        checkpoint <= self.given_up
    }

    /// Memory held by the operators, in bytes.
    pub fn state_bytes(&self) -> usize {
        self.links.iter().map(|l| l.operator.state_bytes()).sum()
    }

    /// The operator because of which the chain waits, if that waits for something outside.
    pub fn blocked_operator(&self) -> Option<&OperatorMetrics> {
        let is_blocked = |link: &&Link| matches!(link.open_call, Some((_, Flow::Blocked)));
        self.links.iter().rev().find(is_blocked).map(|link| &*link.metrics)
    }

    /// Moves one element, or goes on with one call, at `index`.
    fn advance(&mut self, index: usize, now_ms: i64) -> Result<(), TaskError> {
        let since = Instant::now();
        let mut out = std::mem::take(&mut self.out);
        let link = &mut self.links[index];
        let inside = link.metrics.call.begin(since);
        let named = |e: TaskError, link: &Link| e.at(&link.name);
        if let Some((call, _)) = link.open_call.take() {
            let flow = link.operator.resume(&mut out).map_err(|e| named(e, link))?;
            drop(inside);
            link.metrics.busy_ns.add(since.elapsed().as_nanos() as u64);
            return self.after(index, call, flow, out, now_ms);
        }
        let Some((input, element)) = link.inbox.pop_front() else {
            drop(inside);
            self.out = out;
            return Ok(());
        };
        let (call, flow) = match element {
            Element::Data(batch) => {
                link.metrics.records_in.add(batch.num_rows() as u64);
                link.metrics.batches_in.add(1);
                (Call::Batch, link.operator.process(input, batch, &mut out))
            }
            Element::Watermark(time) if time > link.watermark => {
                link.watermark = time;
                (Call::Watermark(time), link.operator.on_watermark(time, &mut out))
            }
            Element::Barrier(barrier) => {
                let flow = match barrier.checkpoint <= self.given_up {
                    true => Ok(Flow::Done),
                    false => link.operator.before_barrier(barrier.checkpoint, &mut out),
                };
                (Call::Barrier(barrier), flow)
            }
            Element::End(end) => {
                link.has_ended = true;
                let flow = match end {
                    EndOfInput::Drained => link.operator.finish(&mut out),
                    EndOfInput::Stopped => Ok(Flow::Done),
                };
                (Call::Finish(end), flow)
            }
            Element::Watermark(_) => (Call::Batch, Ok(Flow::Done)),
            Element::Side(output, _) => {
                let text = format!("rows of side output {output} came to '{}' in its chain", link.name);
                return Err(TaskError::internal(text));
            }
            // Who makes watermarks says itself when its stream is idle.
            Element::Idle(idle) if link.operator.makes_watermarks() => {
                link.operator.on_idle(idle);
                (Call::Batch, Ok(Flow::Done))
            }
            passing @ (Element::Idle(_) | Element::LatencyMarker(_)) => {
                if let Element::Idle(idle) = passing {
                    link.operator.on_idle(idle);
                }
                out.push(passing);
                (Call::Batch, Ok(Flow::Done))
            }
        };
        let flow = flow.map_err(|e| named(e, link))?;
        drop(inside);
        link.metrics.busy_ns.add(since.elapsed().as_nanos() as u64);
        self.after(index, call, flow, out, now_ms)
    }

    /// Passes on what a call emitted and, when the call is done, what it was called for.
    fn after(&mut self, index: usize, call: Call, flow: Flow, mut out: Output, now_ms: i64) -> Result<(), TaskError> {
        while let Some(element) = out.pop() {
            if let Element::Data(batch) | Element::Side(_, batch) = &element {
                self.links[index].metrics.records_out.add(batch.num_rows() as u64);
            }
            self.deliver(index + 1, 0, element, now_ms)?;
        }
        self.out = out;
        if flow != Flow::Done {
            self.links[index].open_call = Some((call, flow));
            return Ok(());
        }
        let follows = match call {
            Call::Batch | Call::Timer => return Ok(()),
            Call::Watermark(time) if time < END_OF_TIME && self.links[index].operator.makes_watermarks() => {
                return Ok(());
            }
            Call::Watermark(time) => Element::Watermark(time),
            Call::Finish(end) => Element::End(end),
            Call::Barrier(barrier) if self.has_given_up(barrier.checkpoint) => Element::Barrier(barrier),
            Call::Barrier(barrier) => {
                let link = &mut self.links[index];
                let _inside = link.metrics.call.begin(Instant::now());
                let snapshot = link
                    .operator
                    .snapshot(barrier.checkpoint)
                    .map_err(|e| e.at(&link.name))?;
                self.snapshots.push((link.id, snapshot));
                Element::Barrier(barrier)
            }
        };
        self.deliver(index + 1, 0, follows, now_ms)
    }

    /// Puts an element before operator `index`, or sends it off behind the last.
    fn deliver(&mut self, index: usize, input: usize, element: Element, now_ms: i64) -> Result<(), TaskError> {
        if let Some(link) = self.links.get_mut(index) {
            match element {
                Element::Data(batch) if batch.num_rows() > self.batch_rows => {
                    let ends: Vec<usize> = (0..batch.num_rows()).step_by(self.batch_rows).skip(1).collect();
                    let pieces = batch.cut(&ends).into_iter();
                    link.inbox.extend(pieces.map(|piece| (input, Element::Data(piece))));
                }
                element => link.inbox.push_back((input, element)),
            }
            return Ok(());
        }
        let event = match &element {
            Element::Barrier(barrier) => {
                self.is_in_a_hurry = false;
                let snapshots = std::mem::take(&mut self.snapshots);
                let is_wanted = !self.has_given_up(barrier.checkpoint);
                is_wanted.then_some(ChainEvent::Snapshot(*barrier, snapshots))
            }
            Element::End(end) => Some(ChainEvent::Ended(*end)),
            Element::LatencyMarker(sent_ms) => Some(ChainEvent::Marker(*sent_ms)),
            _ => None,
        };
        self.events.extend(event);
        self.router.route(element, now_ms)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::OperatorContext;
    use crate::element::AfterBarrier;
    use crate::exchange::{Receiver, RouterEdge, channel};
    use crate::metrics::TaskMetrics;
    use crate::waker::Waker;
    use flott_core::Batch;
    use flott_plan::Partitioning;
    use flott_state::{OperatorEntry, Redistribute};

    /// Emits each batch `times` times, one a call; says `Blocked` once before a barrier if asked to.
    struct Repeat {
        times: usize,
        left: usize,
        rows: usize,
        blocks: bool,
    }

    impl Operator for Repeat {
        fn open(&mut self, _: &mut OperatorContext) -> Result<(), TaskError> {
            Ok(())
        }
        fn process(&mut self, _: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
            (self.left, self.rows) = (self.times, batch.num_rows());
            self.resume(out)
        }
        fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
            if self.left == 0 {
                return Ok(Flow::Done);
            }
            self.left -= 1;
            out.emit(Batch::new(vec![], self.rows));
            Ok(if self.left == 0 { Flow::Done } else { Flow::More })
        }
        fn before_barrier(&mut self, _: CheckpointId, _: &mut Output) -> Result<Flow, TaskError> {
            Ok(if std::mem::take(&mut self.blocks) {
                Flow::Blocked
            } else {
                Flow::Done
            })
        }
        fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
            let bytes = checkpoint.to_string().into_bytes().into();
            let entry = OperatorEntry {
                name: "seen".into(),
                bytes,
                redistribute: Redistribute::Split,
            };
            Ok(OperatorSnapshot {
                operator_state: vec![entry],
                ..OperatorSnapshot::default()
            })
        }
    }

    fn chain(operators: Vec<impl Operator + 'static>, capacity: usize) -> (Chain, Receiver) {
        let (tx, rx) = channel(capacity, Waker::new(), Waker::new());
        let edge = RouterEdge::new(Partitioning::Forward, vec![tx], 128, 0);
        let metrics = Arc::new(TaskMetrics::new([]));
        let operators = operators.into_iter().enumerate().map(|(i, o)| {
            let operator: Box<dyn Operator> = Box::new(o);
            ChainOperator {
                id: OperatorId(i as u128),
                name: format!("op{i}"),
                operator,
                metrics: Arc::default(),
            }
        });
        (Chain::new(operators.collect(), Router::new(vec![edge], metrics, 0)), rx)
    }

    fn repeat(times: usize) -> Repeat {
        Repeat {
            times,
            left: 0,
            rows: 0,
            blocks: false,
        }
    }

    fn data(rows: usize) -> Element {
        Element::Data(Batch::new(vec![], rows))
    }

    #[test]
    fn an_operator_that_multiplies_rows_does_not_fill_memory_when_downstream_is_full() {
        let (mut chain, rx) = chain(vec![repeat(1000), repeat(1000)], 3);
        chain.push(0, data(1), 0).unwrap();
        let mut received = 0;
        loop {
            let state = chain.run(0).unwrap();
            assert!(
                rx.queued_bytes() <= 4,
                "the channel holds {} elements",
                rx.queued_bytes()
            );
            let waiting: usize = chain.links.iter().map(|l| l.inbox.len()).sum();
            assert!(waiting <= 1, "{waiting} batches wait between operators");
            while rx.pop().unwrap().is_some() {
                received += 1;
            }
            if state == ChainState::Empty {
                break;
            }
        }
        assert_eq!(received, 1_000_000);
    }

    #[test]
    fn a_barrier_waits_for_a_blocked_operator_and_collects_all_snapshots_in_order() {
        let blocking = Repeat {
            blocks: true,
            ..repeat(1)
        };
        let (mut chain, rx) = chain(vec![repeat(2), blocking], 1 << 20);
        let barrier = Barrier {
            checkpoint: 7,
            triggered_ms: 0,
            then: AfterBarrier::Continue,
            overtakes_from_ms: None,
        };
        chain.push(0, data(5), 0).unwrap();
        chain.push(0, Element::Barrier(barrier), 0).unwrap();
        assert_eq!(
            chain.run(0).unwrap(),
            ChainState::Empty,
            "one resume is enough for this operator"
        );
        let Some(ChainEvent::Snapshot(b, snapshots)) = chain.next_event() else {
            panic!("no snapshot")
        };
        assert_eq!(
            (b.checkpoint, snapshots.iter().map(|(id, _)| id.0).collect::<Vec<_>>()),
            (7, vec![0, 1])
        );
        assert_eq!(&snapshots[1].1.operator_state[0].bytes[..], b"7");
        let order: Vec<bool> = std::iter::from_fn(|| rx.pop().unwrap())
            .map(|e| matches!(e, Element::Barrier(_)))
            .collect();
        assert_eq!(order, [false, false, true]);
    }

    #[test]
    fn the_barrier_of_a_checkpoint_that_was_given_up_goes_on_without_a_snapshot() {
        let (mut chain, rx) = chain(vec![repeat(1)], 1 << 20);
        chain.checkpoint_aborted(7).unwrap();
        for checkpoint in [7, 8] {
            let barrier = Barrier {
                checkpoint,
                triggered_ms: 0,
                then: AfterBarrier::Continue,
                overtakes_from_ms: None,
            };
            chain.push(0, Element::Barrier(barrier), 0).unwrap();
            chain.run(0).unwrap();
            assert!(matches!(rx.pop().unwrap(), Some(Element::Barrier(b)) if b.checkpoint == checkpoint));
            let captured = match chain.next_event() {
                Some(ChainEvent::Snapshot(_, snapshots)) => Some(snapshots.len()),
                _ => None,
            };
            assert_eq!(captured, (checkpoint == 8).then_some(1));
        }
    }

    #[test]
    fn batches_are_cut_before_every_operator() {
        let (chain, rx) = chain(vec![repeat(1), repeat(1)], 1 << 20);
        let mut chain = chain.cutting(7);
        chain.push(0, data(20), 0).unwrap();
        chain.push(0, data(7), 0).unwrap();
        chain.run(0).unwrap();
        let rows: Vec<usize> = std::iter::from_fn(|| rx.pop().unwrap())
            .map(|e| match e {
                Element::Data(batch) => batch.num_rows(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(rows, [7, 7, 6, 7]);
        for link in &chain.links {
            assert_eq!((link.metrics.records_in.get(), link.metrics.batches_in.get()), (27, 4));
        }
    }

    /// Emits a row at each look at the clock, and makes the watermarks behind it.
    struct Ticking;

    impl Operator for Ticking {
        fn open(&mut self, _: &mut OperatorContext) -> Result<(), TaskError> {
            Ok(())
        }
        fn process(&mut self, _: usize, _: Batch, _: &mut Output) -> Result<Flow, TaskError> {
            Ok(Flow::Done)
        }
        fn makes_watermarks(&self) -> bool {
            true
        }
        fn next_timer(&self) -> Option<i64> {
            Some(0)
        }
        fn on_timer(&mut self, _: i64, out: &mut Output) -> Result<Flow, TaskError> {
            out.emit(Batch::new(vec![], 1));
            Ok(Flow::Done)
        }
    }

    #[test]
    fn timers_end_with_the_input() {
        for end in [EndOfInput::Drained, EndOfInput::Stopped] {
            let (mut chain, rx) = chain(vec![Ticking], 1 << 20);
            assert_eq!(chain.next_timer(), Some(0));
            chain.fire_timers(1).unwrap();
            assert!(matches!(rx.pop().unwrap(), Some(Element::Data(_))));
            chain.push(0, Element::End(end), 1).unwrap();
            chain.run(1).unwrap();
            assert!(matches!(rx.pop().unwrap(), Some(Element::End(_))));
            assert_eq!(chain.next_timer(), None);
            chain.fire_timers(2).unwrap();
            assert!(rx.pop().unwrap().is_none());
        }
    }

    #[test]
    fn who_makes_watermarks_tells_of_idleness_itself() {
        let (mut chain, rx) = chain(vec![Ticking], 1 << 20);
        for element in [
            Element::Idle(true),
            Element::Watermark(5),
            Element::Watermark(END_OF_TIME),
        ] {
            chain.push(0, element, 0).unwrap();
            chain.run(0).unwrap();
        }
        assert!(matches!(rx.pop().unwrap(), Some(Element::Watermark(END_OF_TIME))));
        assert!(rx.pop().unwrap().is_none());
    }

    #[test]
    fn watermarks_never_go_back_and_the_end_comes_last() {
        let (mut chain, rx) = chain(vec![repeat(1)], 1 << 20);
        for element in [
            Element::Watermark(5),
            Element::Watermark(3),
            data(1),
            Element::End(EndOfInput::Drained),
        ] {
            chain.push(0, element, 0).unwrap();
        }
        chain.run(0).unwrap();
        let seen: Vec<String> = std::iter::from_fn(|| rx.pop().unwrap())
            .map(|e| match e {
                Element::Watermark(t) => format!("wm {t}"),
                Element::Data(_) => "rows".into(),
                Element::End(_) => "end".into(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(seen, ["wm 5", "rows", "end"]);
        assert!(matches!(
            chain.next_event(),
            Some(ChainEvent::Ended(EndOfInput::Drained))
        ));
    }
}
