//! Waking a parked task: from another task, from Tokio, from a timer.
//!
//! A wake-up is never lost: it sets a flag before it unparks, and the task clears the flag before it looks for work.
//! Waking twice costs one atomic load the second time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;

#[derive(Debug, Default)]
struct Shared {
    awake: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

/// A handle that wakes one task; clones wake the same one.
#[derive(Debug, Clone, Default)]
pub struct Waker(Arc<Shared>);

impl Waker {
    /// A waker that no thread listens to yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the current thread the one that is woken.
    pub fn listen(&self) {
        *self.0.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current());
    }

    /// Wakes the task, now or when it next parks.
    pub fn wake(&self) {
        if !self.0.awake.swap(true, Ordering::AcqRel)
            && let Some(thread) = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
        {
            thread.unpark();
        }
    }

    /// Parks the listening thread until it is woken or `timeout` has passed, and clears the wake-up.
    pub fn park(&self, timeout: Duration) {
        if !self.0.awake.swap(false, Ordering::AcqRel) {
            std::thread::park_timeout(timeout);
            self.0.awake.store(false, Ordering::Release);
        }
    }

    /// Clears a pending wake-up and tells whether there was one; for drivers that are stepped without a thread.
    pub fn take(&self) -> bool {
        self.0.awake.swap(false, Ordering::AcqRel)
    }
}

impl std::task::Wake for Shared {
    fn wake(self: Arc<Self>) {
        Waker(self).wake();
    }
}

impl Waker {
    /// The same handle in the standard library's form, for polling futures from a task's thread.
    pub fn to_std(&self) -> std::task::Waker {
        std::task::Waker::from(self.0.clone())
    }
}
