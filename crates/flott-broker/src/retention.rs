//! One memory budget for all partitions: when it is passed, the oldest batches of the broker go.
//!
//! Every append files a ticket, under its partition's lock, so the tickets of a partition stand in the order of its
//! batches and a ticket taken from the front always means "the oldest batch of that partition". Lock order: partition,
//! then this queue; never the other way round.

use std::collections::VecDeque;
use std::sync::{Mutex, Weak};

use crate::partition::Partition;
use crate::sync::lock;

struct Ticket {
    partition: Weak<Partition>,
    size_bytes: usize,
}

#[derive(Default)]
struct Queue {
    tickets: VecDeque<Ticket>,
    total_bytes: usize,
}

/// The budget and who holds how much of it.
pub(crate) struct Retention {
    limit_bytes: usize,
    queue: Mutex<Queue>,
}

impl Retention {
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            queue: Mutex::default(),
        }
    }

    /// Notes a batch just appended to `partition`, whose lock the caller holds.
    pub fn admit(&self, partition: Weak<Partition>, size_bytes: usize) {
        let mut queue = lock(&self.queue);
        queue.total_bytes += size_bytes;
        queue.tickets.push_back(Ticket { partition, size_bytes });
    }

    /// Removes the oldest batches while the budget is passed; the newest one always stays. The caller holds no
    /// partition's lock.
    pub fn enforce(&self) {
        while let Some(ticket) = self.take_excess() {
            if let Some(partition) = ticket.partition.upgrade() {
                partition.remove_oldest();
            }
        }
    }

    /// Returns what a deleted partition held.
    pub fn forget(&self, partition: &Weak<Partition>) {
        let mut queue = lock(&self.queue);
        queue.tickets.retain(|ticket| !ticket.partition.ptr_eq(partition));
        queue.total_bytes = queue.tickets.iter().map(|ticket| ticket.size_bytes).sum();
    }

    fn take_excess(&self) -> Option<Ticket> {
        let mut queue = lock(&self.queue);
        if queue.total_bytes <= self.limit_bytes || queue.tickets.len() <= 1 {
            return None;
        }
        let ticket = queue.tickets.pop_front()?;
        queue.total_bytes -= ticket.size_bytes;
        Some(ticket)
    }
}
