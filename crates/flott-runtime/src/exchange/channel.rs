//! A channel between two subtasks: a queue bounded in bytes, which wakes the reader when it fills and the writer when it drains.
//!
//! ```text
//!  in a process          Sender ──► queue ──► Receiver
//!  between processes     Sender ──► queue ──► Outgoing ~~~ network ~~~ Incoming ──► queue ──► Receiver
//! ```
//! Tasks know [`Sender`] and [`Receiver`] only. Between processes elements are encoded on the writer's thread and decoded on
//! the reader's, so that the network moves bytes and nothing else; its ends are [`Outgoing`] and [`Incoming`].

mod remote;

pub use remote::{Incoming, Outgoing, incoming_channel, outgoing_channel};
pub(super) use remote::{MAX_FRAME_BYTES, charge};

use super::frame::{self, RowsForm};
use crate::element::Element;
use crate::error::TaskError;
use crate::waker::Waker;
use remote::Hook;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What waits in a channel.
#[derive(Debug)]
enum Item {
    Element(Element),
    Frame(Vec<u8>),
}

/// Who is at the channel's ends, and so what waits in it.
#[derive(Debug)]
enum Kind {
    /// Two tasks of this process, which hand over elements.
    Local,
    /// Two tasks of this process, which hand over frames of rows of this form.
    Encoded(RowsForm),
    /// A task and the network, which is told when the queue is empty no more.
    Outgoing(Hook<()>),
    /// The network and a task, which reads rows of this form and tells the network how much it has taken.
    Incoming(RowsForm, Hook<usize>),
}

#[derive(Debug)]
struct Shared {
    /// What waits, and the bytes that the queue is charged for it.
    queue: Mutex<VecDeque<(Item, usize)>>,
    kind: Kind,
    bytes: AtomicUsize,
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
        capacity_bytes,
        writer_waits: AtomicBool::new(false),
        reader,
        writer,
    })
}

impl Shared {
    /// Adds what is charged as `bytes`, and tells whether the queue was empty.
    fn push(&self, item: Item, bytes: usize) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
        queue.push_back((item, bytes));
        queue.len() == 1
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
                (Item::Frame(frame), bytes)
            }
            Kind::Outgoing(_) => {
                let frame = remote::check_length(frame::encode(&element)?)?;
                let bytes = charge(frame.len());
                (Item::Frame(frame), bytes)
            }
        };
        if self.0.push(item, bytes) {
            match &self.0.kind {
                Kind::Outgoing(network) => network.call(()),
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
            let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((item, bytes)) = queue.pop_front() else {
                return Ok(None);
            };
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
}
