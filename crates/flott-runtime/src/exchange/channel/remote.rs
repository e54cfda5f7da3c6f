//! The network's ends of channels between processes.

use super::{Item, Kind, Receiver, Sender, Shared, open};
use crate::error::{FailureLabel, TaskError};
use crate::exchange::frame::{self, RowsForm};
use crate::waker::Waker;
use bytes::Bytes;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

/// What a queue is charged for a frame besides its bytes: its place in the queue and the allocator's share. Without it a
/// window full of watermarks would be many times its size in memory.
const FRAME_OVERHEAD_BYTES: usize = 64;
/// A frame is this long at most; a receiver refuses longer ones before it gives them memory.
pub(in crate::exchange) const MAX_FRAME_BYTES: usize = 256 << 20;
/// A window is this long at most, so that a credit fits into its message even behind the longest frame.
const MAX_WINDOW_BYTES: usize = 1 << 30;

/// The frame, if it is short enough to be sent.
pub(super) fn check_length(frame: Vec<u8>) -> Result<Vec<u8>, TaskError> {
    match frame.len() <= MAX_FRAME_BYTES {
        true => Ok(frame),
        false => Err(TaskError::new(
            FailureLabel::Resources,
            format!(
                "rows of {} bytes are to be sent to another TaskManager at once, {MAX_FRAME_BYTES} are possible: let sources and \
                 functions make smaller batches or rows",
                frame.len()
            ),
        )
        .fatal()),
    }
}

/// What a frame costs: in the queues of both processes, and in credit. Barriers, of which a channel holds few, cost nothing.
pub(in crate::exchange) fn charge(frame: &[u8]) -> usize {
    match frame::barrier(frame) {
        Some(_) => 0,
        None => charge_of(frame.len()),
    }
}

/// What a frame of this length costs that is no barrier.
pub(in crate::exchange) fn charge_of(frame_bytes: usize) -> usize {
    frame_bytes + FRAME_OVERHEAD_BYTES
}

/// Something that the network wants to be told; it is put in when the channel is bound to a connection.
pub(super) struct Hook<A>(OnceLock<Box<dyn Fn(A) + Send + Sync>>);

impl<A> Hook<A> {
    fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Tells, if somebody listens already.
    pub(super) fn call(&self, argument: A) {
        if let Some(hook) = self.0.get() {
            hook(argument);
        }
    }

    fn set(&self, hook: impl Fn(A) + Send + Sync + 'static) {
        // A channel is moved into its connection and so is bound once.
        let _ = self.0.set(Box::new(hook));
    }
}

impl<A> fmt::Debug for Hook<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() {
            "Hook(set)"
        } else {
            "Hook(unset)"
        })
    }
}

/// The network's end of a channel whose reader is in another process: frames come out.
#[derive(Debug)]
pub struct Outgoing(Arc<Shared>);

/// The network's end of a channel whose writer is in another process: frames go in.
#[derive(Debug)]
pub struct Incoming {
    shared: Arc<Shared>,
    window_bytes: usize,
}

/// The writing half of a channel to another process, which has room while less than `capacity_bytes` wait in it.
///
/// The task may send before the other half is bound to a connection (see [`super::super::ExchangeService::open`]): frames wait.
pub fn outgoing_channel(capacity_bytes: usize, writer: Waker) -> (Sender, Outgoing) {
    let shared = open(capacity_bytes, writer, Waker::new(), Kind::Outgoing(Hook::new()));
    (Sender(shared.clone()), Outgoing(shared))
}

/// The reading half of a channel from another process; rows have the given form.
///
/// `window_bytes` is what the writing process may send beyond what the task has taken, one frame more at most: this much
/// memory the channel takes here when its task does not read. It is at least 1 and at most 1 GiB;
/// [`super::super::network::WINDOW_BYTES`] suits most.
pub fn incoming_channel(window_bytes: usize, reader: Waker, form: RowsForm) -> (Receiver, Incoming) {
    let window_bytes = window_bytes.clamp(1, MAX_WINDOW_BYTES);
    let shared = open(window_bytes, Waker::new(), reader, Kind::Incoming(form, Hook::new()));
    let incoming = Incoming {
        shared: shared.clone(),
        window_bytes,
    };
    (Receiver(shared), incoming)
}

impl Outgoing {
    /// Has `ready` called whenever the queue was empty and is no more, and, with `true`, when a barrier has overtaken the others and needs
    /// no credit, on the writer's thread; and now, if frames wait already. It may be called once too often.
    pub(in crate::exchange) fn bind(&self, ready: impl Fn(bool) + Send + Sync + 'static) {
        if let Kind::Outgoing(hook) = &self.0.kind {
            hook.set(ready);
            // A frame that came before the hook is seen here, one that comes after it calls the hook.
            let first = self.0.lock().items.front().map(|(_, bytes)| *bytes);
            if let Some(bytes) = first {
                hook.call(bytes == 0);
            }
        }
    }

    /// Moves frames to `frames`, oldest first, until `limit_bytes` have been charged for them; the last one may be beyond. What costs nothing
    /// goes in any case. Returns what was charged, and whether frames are left.
    pub(in crate::exchange) fn take(&self, limit_bytes: usize, frames: &mut Vec<Bytes>) -> (usize, bool) {
        let (mut taken, mut queue) = (0, self.0.lock());
        let held_barrier = queue.barrier.is_some();
        while let Some((item, bytes)) = queue
            .items
            .pop_front_if(|(_, bytes)| taken < limit_bytes || *bytes == 0)
        {
            taken += bytes;
            self.0.left(&mut queue, &item);
            if let Item::Frame(frame) = item {
                frames.push(frame);
            }
        }
        let before = self.0.bytes.fetch_sub(taken, Ordering::SeqCst);
        let is_left = !queue.items.is_empty();
        let has_left = held_barrier && queue.barrier.is_none();
        drop(queue);
        self.0.drained(before, taken);
        if has_left {
            // Its checkpoint waits for this.
            self.0.writer.wake();
        }
        (taken, is_left)
    }
}

impl Incoming {
    /// The credit that the writing process begins with.
    pub(in crate::exchange) fn window_bytes(&self) -> usize {
        self.window_bytes
    }

    /// Has `taken` called with the charge of each frame that the task takes, on the task's thread.
    pub(in crate::exchange) fn bind(&self, taken: impl Fn(usize) + Send + Sync + 'static) {
        if let Kind::Incoming(_, hook) = &self.shared.kind {
            hook.set(taken);
        }
    }

    /// Hands a frame to the task and wakes it. The bound is kept by whoever counts the credit.
    pub(in crate::exchange) fn push(&self, frame: Vec<u8>) {
        let bytes = charge(&frame);
        if self.shared.push(Item::Frame(frame.into()), bytes) {
            self.shared.reader.wake();
        }
    }
}
