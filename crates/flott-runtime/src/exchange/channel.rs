//! A channel between two subtasks: a queue bounded in bytes, which wakes the reader when it fills and the writer when it drains.
//!
//! ```text
//!  in a process          Sender ──► queue ──► Receiver
//!  between processes     Sender ──► queue ──► Outgoing ~~~ network ~~~ Incoming ──► queue ──► Receiver
//! ```
//! Tasks know [`Sender`] and [`Receiver`] only. Between processes elements are encoded on the writer's thread and decoded on
//! the reader's, so that the network moves bytes and nothing else; its ends are [`Outgoing`] and [`Incoming`].
//!
//! **Overtaking.** A barrier lies in the queue in order. One that may overtake is taken out of the middle when its time has come: by the
//! reader ([`Receiver::overtake`]), and in a queue to another process by the writer ([`Sender::overtake`]), which lets it leave first.
//! What lies before it is shared with the checkpoint and stays where it is. Such a barrier costs no credit, so it leaves however full the
//! reader is; nor does any other.

mod remote;

pub use remote::{Incoming, Outgoing, incoming_channel, outgoing_channel};
pub(super) use remote::{MAX_FRAME_BYTES, charge, charge_of};

use super::frame::{self, RowsForm};
use super::in_flight::Held;
use crate::element::{Barrier, Element};
use crate::error::TaskError;
use crate::waker::Waker;
use bytes::Bytes;
use flott_core::CheckpointId;
use remote::Hook;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// No barrier waits that may overtake.
const NONE_OVERTAKES: i64 = i64::MAX;

/// What waits in a channel.
#[derive(Debug)]
enum Item {
    Element(Element),
    Frame(Bytes),
}

impl Item {
    fn barrier(&self) -> Option<Barrier> {
        match self {
            Self::Element(Element::Barrier(barrier)) => Some(*barrier),
            Self::Element(_) => None,
            Self::Frame(frame) => frame::barrier(frame),
        }
    }

    fn is_end(&self) -> bool {
        match self {
            Self::Element(element) => matches!(element, Element::End(_)),
            Self::Frame(frame) => frame::is_end(frame),
        }
    }

    /// Its rows, shared.
    fn rows(&self) -> Option<Held> {
        match self {
            Self::Element(Element::Data(batch) | Element::Side(_, batch)) => Some(Held::Batch(batch.clone())),
            Self::Element(_) => None,
            Self::Frame(frame) => frame::has_rows(frame).then(|| Held::Frame(frame.clone())),
        }
    }
}

/// What waits, oldest first, with the bytes that the queue is charged for it.
#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<(Item, usize)>,
    /// The newest barrier among them that may overtake.
    barrier: Option<CheckpointId>,
}

impl Queue {
    fn rows(&self, until: usize) -> Vec<Held> {
        self.items.range(..until).filter_map(|(item, _)| item.rows()).collect()
    }
}

/// Who is at the channel's ends, and so what waits in it.
#[derive(Debug)]
enum Kind {
    /// Two tasks of this process, which hand over elements.
    Local,
    /// Two tasks of this process, which hand over frames of rows of this form.
    Encoded(RowsForm),
    /// A task and the network, which is told when the queue is empty no more, and (`true`) when a barrier has overtaken what is in it.
    Outgoing(Hook<bool>),
    /// The network and a task, which reads rows of this form and tells the network how much it has taken.
    Incoming(RowsForm, Hook<usize>),
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    kind: Kind,
    bytes: AtomicUsize,
    /// From when on the queue's barrier overtakes, in milliseconds since the epoch; changed under the lock.
    overtakes_from_ms: AtomicI64,
    /// Whether the end of the channel is in the queue.
    holds_end: AtomicBool,
    capacity_bytes: usize,
    writer_waits: AtomicBool,
    reader: Waker,
    writer: Waker,
}

/// Writing end.
#[derive(Debug, Clone)]
pub struct Sender(Arc<Shared>);

/// Reading end.
#[derive(Debug)]
pub struct Receiver(Arc<Shared>);

/// A channel that has room while it holds less than `capacity_bytes`.
pub fn channel(capacity_bytes: usize, writer: Waker, reader: Waker) -> (Sender, Receiver) {
    let shared = open(capacity_bytes, writer, reader, Kind::Local);
    (Sender(shared.clone()), Receiver(shared))
}

/// A channel whose elements are encoded when they are sent and decoded when they are taken; rows have the given form.
pub fn encoded_channel(capacity_bytes: usize, writer: Waker, reader: Waker, form: RowsForm) -> (Sender, Receiver) {
    let shared = open(capacity_bytes, writer, reader, Kind::Encoded(form));
    (Sender(shared.clone()), Receiver(shared))
}

fn open(capacity_bytes: usize, writer: Waker, reader: Waker, kind: Kind) -> Arc<Shared> {
    Arc::new(Shared {
        queue: Mutex::default(),
        kind,
        bytes: AtomicUsize::new(0),
        overtakes_from_ms: AtomicI64::new(NONE_OVERTAKES),
        holds_end: AtomicBool::new(false),
        capacity_bytes,
        writer_waits: AtomicBool::new(false),
        reader,
        writer,
    })
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what is charged as `bytes`, and tells whether the reader must be woken: it may wait for something to read, or, with much to
    /// read, for a barrier.
    fn push(&self, item: Item, bytes: usize) -> bool {
        let mut queue = self.lock();
        let barrier = item.barrier().filter(|barrier| barrier.overtakes_from_ms.is_some());
        let is_end = item.is_end();
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
        queue.items.push_back((item, bytes));
        if let Some(barrier) = &barrier {
            self.note(&mut queue, barrier);
        }
        if is_end {
            self.holds_end.store(true, Ordering::Release);
        }
        queue.items.len() == 1 || barrier.is_some() || is_end
    }

    /// A barrier has come into the queue. One that a newer one has overtaken on its way is of no use any more.
    fn note(&self, queue: &mut Queue, barrier: &Barrier) {
        if queue.barrier.is_some_and(|newest| newest > barrier.checkpoint) {
            return;
        }
        queue.barrier = Some(barrier.checkpoint);
        let from_ms = barrier.overtakes_from_ms.unwrap_or(NONE_OVERTAKES);
        self.overtakes_from_ms.store(from_ms, Ordering::Release);
    }

    /// An item has left the queue in its turn.
    fn left(&self, queue: &mut Queue, item: &Item) {
        if queue.barrier.is_some() && item.barrier().map(|barrier| barrier.checkpoint) == queue.barrier {
            self.forget_barrier(queue);
        }
    }

    fn forget_barrier(&self, queue: &mut Queue) {
        queue.barrier = None;
        self.overtakes_from_ms.store(NONE_OVERTAKES, Ordering::Release);
    }

    /// Takes the barrier out of the queue if it overtakes at `now_ms`, and the rows that it has overtaken.
    fn take_barrier(&self, queue: &mut Queue, now_ms: i64) -> Option<(Item, Barrier, Vec<Held>)> {
        if self.overtakes_from_ms.load(Ordering::Acquire) > now_ms {
            return None;
        }
        let newest = queue.barrier?;
        let is_it = |(item, _): &(Item, usize)| item.barrier().is_some_and(|barrier| barrier.checkpoint == newest);
        let place = queue.items.iter().rposition(is_it)?;
        let rows = queue.rows(place);
        let (item, bytes) = queue.items.remove(place)?;
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.forget_barrier(queue);
        let barrier = item.barrier()?;
        Some((item, barrier, rows))
    }

    /// Wakes the writer if it waits and the queue, from which `bytes` of the `before` were taken, has room again.
    fn drained(&self, before: usize, bytes: usize) {
        if before - bytes < self.capacity_bytes && self.writer_waits.swap(false, Ordering::SeqCst) {
            self.writer.wake();
        }
    }
}

impl Sender {
    /// Whether another element may be sent. If not, the writer is woken once there is.
    pub fn has_room(&self) -> bool {
        if self.0.bytes.load(Ordering::Acquire) < self.0.capacity_bytes {
            return true;
        }
        self.0.writer_waits.store(true, Ordering::SeqCst);
        // The reader may have drained the queue between the two loads: then nobody would wake us.
        self.0.bytes.load(Ordering::SeqCst) < self.0.capacity_bytes
    }

    /// Whether there is room for what a barrier that overtakes pushes out of the chain: as much again as the bound. If not, the writer is
    /// woken once there is room at all.
    pub fn has_reserve(&self) -> bool {
        self.has_room() || self.0.bytes.load(Ordering::SeqCst) < 2 * self.0.capacity_bytes
    }

    /// In a queue to another process, lets the barrier that overtakes at `now_ms` leave first, and gives the rows that it has overtaken.
    /// Otherwise the reader does so.
    pub fn overtake(&self, now_ms: i64) -> Vec<Held> {
        let Kind::Outgoing(network) = &self.0.kind else {
            return vec![];
        };
        let mut queue = self.0.lock();
        let Some((item, _, rows)) = self.0.take_barrier(&mut queue, now_ms) else {
            return vec![];
        };
        queue.items.push_front((item, 0));
        drop(queue);
        network.call(true);
        rows
    }

    /// Whether a barrier that may overtake waits in a queue to another process.
    pub fn holds_barrier(&self) -> bool {
        matches!(self.0.kind, Kind::Outgoing(_)) && self.0.overtakes_from_ms.load(Ordering::Acquire) != NONE_OVERTAKES
    }

    /// Puts a barrier before the channel's end, if that still waits in a queue to another process. Otherwise the reader has it, or will
    /// have it soon, and knows from it that no barrier comes.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn send_before_end(&self, barrier: Barrier) -> Result<(), TaskError> {
        let frame = frame::encode(&Element::Barrier(barrier))?.into();
        let mut queue = self.0.lock();
        let holds_end = queue.items.back().is_some_and(|(item, _)| item.is_end());
        if holds_end && matches!(self.0.kind, Kind::Outgoing(_)) {
            let place = queue.items.len() - 1;
            queue.items.insert(place, (Item::Frame(frame), 0));
            self.0.note(&mut queue, &barrier);
        }
        Ok(())
    }

    /// Whether elements are encoded.
    pub fn is_encoded(&self) -> bool {
        !matches!(self.0.kind, Kind::Local)
    }

    /// Sends an element, even beyond the bound.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn send(&self, element: Element) -> Result<(), TaskError> {
        let (item, bytes) = match self.0.kind {
            Kind::Local => {
                let bytes = element.bytes();
                (Item::Element(element), bytes)
            }
            Kind::Encoded(_) | Kind::Incoming(..) => {
                let frame = frame::encode(&element)?;
                let bytes = frame.len();
                (Item::Frame(frame.into()), bytes)
            }
            Kind::Outgoing(_) => {
                let frame = remote::check_length(frame::encode(&element)?)?;
                let bytes = charge(&frame);
                (Item::Frame(frame.into()), bytes)
            }
        };
        if self.0.push(item, bytes) {
            match &self.0.kind {
                Kind::Outgoing(network) => network.call(false),
                _ => self.0.reader.wake(),
            }
        }
        Ok(())
    }
}

impl Receiver {
    /// Takes the oldest element.
    ///
    /// # Errors
    /// If it cannot be decoded.
    pub fn pop(&self) -> Result<Option<Element>, TaskError> {
        let (item, bytes, before) = {
            let mut queue = self.0.lock();
            let Some((item, bytes)) = queue.items.pop_front() else {
                return Ok(None);
            };
            self.0.left(&mut queue, &item);
            (item, bytes, self.0.bytes.fetch_sub(bytes, Ordering::SeqCst))
        };
        self.0.drained(before, bytes);
        match (item, &self.0.kind) {
            (Item::Element(element), _) => Ok(Some(element)),
            (Item::Frame(frame), Kind::Encoded(form)) => frame::decode(&frame, form).map(Some),
            (Item::Frame(frame), Kind::Incoming(form, network)) => {
                network.call(bytes);
                frame::decode(&frame, form).map(Some)
            }
            (Item::Frame(_), Kind::Local | Kind::Outgoing(_)) => {
                Err(TaskError::internal("a frame lies in a channel of elements"))
            }
        }
    }

    /// From when on a barrier in the queue overtakes, in milliseconds since the epoch, if there is one.
    pub fn overtakes_from_ms(&self) -> Option<i64> {
        let from_ms = self.0.overtakes_from_ms.load(Ordering::Acquire);
        (from_ms != NONE_OVERTAKES).then_some(from_ms)
    }

    /// Takes the barrier that overtakes at `now_ms` out of the queue, with the rows that it has overtaken: these stay.
    pub fn overtake(&self, now_ms: i64) -> Option<(Barrier, Vec<Held>)> {
        // Asked at every step of the task: not under the lock.
        self.overtakes_from_ms().filter(|from_ms| *from_ms <= now_ms)?;
        let taken = self.0.take_barrier(&mut self.0.lock(), now_ms);
        taken.map(|(_, barrier, rows)| (barrier, rows))
    }

    /// Whether the end of the channel is in the queue: no barrier comes any more.
    pub fn holds_end(&self) -> bool {
        self.0.holds_end.load(Ordering::Acquire)
    }

    /// The rows in the queue that are before the barrier of `checkpoint`, or all if it is not there; they stay.
    pub fn rows_before(&self, checkpoint: CheckpointId) -> Vec<Held> {
        let queue = self.0.lock();
        let is_it = |(item, _): &(Item, usize)| item.barrier().is_some_and(|barrier| barrier.checkpoint == checkpoint);
        let place = queue.items.iter().position(is_it);
        queue.rows(place.unwrap_or(queue.items.len()))
    }

    /// Bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::StringArray;
    use arrow_schema::DataType;
    use flott_core::Batch;

    #[test]
    fn room_ends_at_the_bound_and_the_writer_is_woken_when_it_returns() {
        let (writer, reader) = (Waker::new(), Waker::new());
        let (tx, rx) = channel(2, writer.clone(), reader.clone());
        assert!(tx.has_room());
        tx.send(Element::Watermark(1)).unwrap();
        assert!(reader.take());
        tx.send(Element::Watermark(2)).unwrap();
        assert!(!tx.has_room());
        assert!(!writer.take());
        assert!(matches!(rx.pop().unwrap(), Some(Element::Watermark(1))));
        assert!(writer.take());
        assert!(tx.has_room());
    }

    #[test]
    fn an_encoded_channel_is_charged_for_frames_and_refuses_rows_of_other_types() {
        let form = RowsForm::Columns(Arc::new([DataType::Int64]));
        let (tx, rx) = encoded_channel(1 << 20, Waker::new(), Waker::new(), form);
        tx.send(Element::Watermark(5)).unwrap();
        assert_eq!(rx.queued_bytes(), 10);
        assert!(matches!(rx.pop().unwrap(), Some(Element::Watermark(5))));
        assert_eq!(rx.queued_bytes(), 0);
        let texts = Batch::new(vec![Arc::new(StringArray::from(vec!["a"]))], 1);
        tx.send(Element::Data(texts)).unwrap();
        let error = rx.pop().unwrap_err();
        assert!(error.full_text().contains("Int64"), "{}", error.full_text());
    }

    fn barrier(checkpoint: CheckpointId, overtakes_from_ms: Option<i64>) -> Element {
        Element::Barrier(Barrier {
            checkpoint,
            triggered_ms: 0,
            then: crate::element::AfterBarrier::Continue,
            overtakes_from_ms,
        })
    }

    fn rows(count: usize) -> Element {
        Element::Data(Batch::new(vec![], count))
    }

    #[test]
    fn a_barrier_is_taken_out_of_the_middle_when_its_time_has_come() {
        let (reader, form) = (Waker::new(), RowsForm::Columns(Arc::new([])));
        let local = channel(1 << 20, Waker::new(), reader.clone());
        let encoded = encoded_channel(1 << 20, Waker::new(), reader.clone(), form);
        for (tx, rx) in [local, encoded] {
            tx.send(rows(1)).unwrap();
            tx.send(Element::Watermark(5)).unwrap();
            tx.send(rows(2)).unwrap();
            reader.take();
            tx.send(barrier(7, Some(100))).unwrap();
            assert!(reader.take(), "the reader may wait for nothing but a barrier");
            tx.send(rows(3)).unwrap();
            assert_eq!((rx.overtakes_from_ms(), tx.holds_barrier()), (Some(100), false));
            assert_eq!(rx.rows_before(7).len(), 2);
            assert!(rx.overtake(99).is_none());
            let (taken, overtaken) = rx.overtake(100).unwrap();
            assert_eq!((taken.checkpoint, overtaken.len()), (7, 2));
            assert!(rx.overtake(100).is_none() && rx.overtakes_from_ms().is_none());
            let left = std::iter::from_fn(|| rx.pop().unwrap());
            assert_eq!(left.filter(|e| matches!(e, Element::Data(_))).count(), 3);
            assert_eq!(rx.queued_bytes(), 0);
            // One that leaves in its turn, or never overtakes, is not looked for.
            tx.send(barrier(8, Some(0))).unwrap();
            assert!(matches!(rx.pop().unwrap(), Some(Element::Barrier(b)) if b.checkpoint == 8));
            tx.send(barrier(9, None)).unwrap();
            assert!(rx.overtakes_from_ms().is_none() && rx.overtake(i64::MAX - 1).is_none());
        }
    }

    #[test]
    fn to_another_process_a_barrier_leaves_first_and_without_credit() {
        let writer = Waker::new();
        let (tx, outgoing) = outgoing_channel(1 << 20, writer.clone());
        tx.send(rows(1)).unwrap();
        tx.send(barrier(7, Some(100))).unwrap();
        assert!(tx.holds_barrier() && tx.overtake(99).is_empty());
        assert_eq!(tx.overtake(100).len(), 1);
        assert!(!tx.holds_barrier());
        let mut frames = vec![];
        assert_eq!(outgoing.take(0, &mut frames), (0, true));
        assert_eq!(frame::barrier(&frames[0]).map(|b| b.checkpoint), Some(7));
        // Behind the end there is none, but before it, as long as that waits.
        tx.send(Element::End(crate::element::EndOfInput::Drained)).unwrap();
        let Element::Barrier(late) = barrier(8, Some(0)) else {
            panic!("no barrier")
        };
        tx.send_before_end(late).unwrap();
        writer.take();
        let (taken, is_left) = outgoing.take(1 << 20, &mut frames);
        assert!(
            taken > 0 && !is_left && writer.take(),
            "its checkpoint waits for it to leave"
        );
        let kinds: Vec<_> = frames
            .iter()
            .map(|f| (frame::barrier(f).is_some(), frame::is_end(f)))
            .collect();
        assert_eq!(kinds, [(true, false), (false, false), (true, false), (false, true)]);
        tx.send_before_end(late).unwrap();
        assert!(!tx.holds_barrier(), "the end has left");
    }
}
