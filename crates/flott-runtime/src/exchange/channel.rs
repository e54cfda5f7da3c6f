//! A channel between two subtasks: a queue bounded in bytes, which wakes the reader when it fills and the writer when it drains.

use crate::element::Element;
use crate::waker::Waker;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug)]
struct Shared {
    queue: Mutex<VecDeque<Element>>,
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
    let shared = Arc::new(Shared {
        queue: Mutex::default(),
        bytes: AtomicUsize::new(0),
        capacity_bytes,
        writer_waits: AtomicBool::new(false),
        reader,
        writer,
    });
    (Sender(shared.clone()), Receiver(shared))
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

    /// Sends an element, even beyond the bound.
    pub fn send(&self, element: Element) {
        let bytes = element.bytes();
        let was_empty = {
            let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.bytes.fetch_add(bytes, Ordering::SeqCst);
            queue.push_back(element);
            queue.len() == 1
        };
        if was_empty {
            self.0.reader.wake();
        }
    }
}

impl Receiver {
    /// Takes the oldest element.
    pub fn pop(&self) -> Option<Element> {
        let (element, below) = {
            let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let element = queue.pop_front()?;
            let before = self.0.bytes.fetch_sub(element.bytes(), Ordering::SeqCst);
            let below = before - element.bytes() < self.0.capacity_bytes;
            (element, below)
        };
        if below && self.0.writer_waits.swap(false, Ordering::SeqCst) {
            self.0.writer.wake();
        }
        Some(element)
    }

    /// Bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_ends_at_the_bound_and_the_writer_is_woken_when_it_returns() {
        let (writer, reader) = (Waker::new(), Waker::new());
        let (tx, rx) = channel(2, writer.clone(), reader.clone());
        assert!(tx.has_room());
        tx.send(Element::Watermark(1));
        assert!(reader.take());
        tx.send(Element::Watermark(2));
        assert!(!tx.has_room());
        assert!(!writer.take());
        assert!(matches!(rx.pop(), Some(Element::Watermark(1))));
        assert!(writer.take());
        assert!(tx.has_room());
    }
}
