//! The way of spans out of the process ([`Exporter`]): a bounded queue, and a thread that sends what is in it.

use super::Destination;
use super::http::Refusal;
use super::otlp;
use flott_cluster::traces::{Span, TraceReporter};
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Spans, with those below them as one, that wait at most.
const WAITING: usize = 2_048;

/// Spans in one request at most.
const BATCH: usize = 512;

/// Pauses before the tries of a request behind the first.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(1)];

/// Sends spans to one destination, as long as the process lives.
#[derive(Debug)]
pub(super) struct Exporter {
    destination: Destination,
    queue: Mutex<Queue>,
    /// A span was put.
    came: Notify,
    /// Some were sent, or given up.
    left: Condvar,
}

/// Spans that wait, in order, and how many there have been.
#[derive(Debug, Default)]
struct Queue {
    spans: VecDeque<Span>,
    put: u64,
    /// Of these, such as were sent or given up.
    done: u64,
    /// Of these, such as [`Exporter::flush`] has waited for.
    waited_for: u64,
    /// Such as did not fit, since the queue was last empty.
    dropped: u64,
}

/// What the thread knows of its destination.
#[derive(Debug, Default)]
struct Outage {
    /// Spans that were given up since it was last reached.
    lost: u64,
}

impl Exporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives none.
    pub(super) fn start(destination: Destination) -> io::Result<Arc<Self>> {
        let exporter = Arc::new(Self {
            destination,
            queue: Mutex::default(),
            came: Notify::new(),
            left: Condvar::new(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sending = exporter.clone();
        let thread = std::thread::Builder::new().name("traces".to_owned());
        thread.spawn(move || runtime.block_on(sending.send_all()))?;
        Ok(exporter)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send_all(&self) {
        let mut outage = Outage::default();
        loop {
            let batch = self.take();
            if batch.is_empty() {
                self.came.notified().await;
                continue;
            }
            let count = batch.len() as u64;
            self.send(batch, &mut outage).await;
            self.lock().done += count;
            self.left.notify_all();
        }
    }

    fn take(&self) -> Vec<Span> {
        let mut queue = self.lock();
        let count = queue.spans.len().min(BATCH);
        let batch = queue.spans.drain(..count).collect();
        if queue.spans.is_empty() {
            let dropped = std::mem::take(&mut queue.dropped);
            drop(queue);
            if dropped > 0 {
                tracing::warn!(
                    dropped,
                    "spans were dropped while too many waited for {}",
                    self.destination.endpoint
                );
            }
        }
        batch
    }

    /// Sends spans, or gives them up; says so once per outage.
    async fn send(&self, batch: Vec<Span>, outage: &mut Outage) {
        let (count, endpoint) = (batch.len() as u64, &self.destination.endpoint);
        let pauses = if outage.lost == 0 { &PAUSES[..] } else { &[] };
        match self.try_send(batch, pauses).await {
            Ok(()) if outage.lost > 0 => {
                tracing::info!(lost = outage.lost, "spans are sent to {endpoint} again");
                outage.lost = 0;
            }
            Ok(()) => {}
            Err(refusal) => {
                if outage.lost == 0 {
                    tracing::warn!(
                        "spans cannot be sent to {endpoint}, and are lost until they can: {}; look whether a collector takes OTLP over HTTP there, \
                         or correct traces.reporter.….exporter.endpoint. Jobs run on",
                        refusal.text
                    );
                }
                outage.lost += count;
            }
        }
    }

    async fn try_send(&self, batch: Vec<Span>, pauses: &[Duration]) -> Result<(), Refusal> {
        let Destination {
            endpoint,
            timeout: within,
            resource,
            variables,
        } = &self.destination;
        let body = otlp::encode(batch, resource, variables).map_err(Refusal::passing)?;
        let body = Bytes::from(body);
        let mut pauses = pauses.iter();
        loop {
            let no_answer = |_| Err(Refusal::passing(format!("no answer within {} ms", within.as_millis())));
            let posted = timeout(*within, endpoint.post(body.clone())).await;
            let refusal = match posted.unwrap_or_else(no_answer) {
                Ok(()) => return Ok(()),
                Err(refusal) => refusal,
            };
            match pauses.next().filter(|_| refusal.is_passing) {
                Some(pause) => sleep(*pause).await,
                None => return Err(refusal),
            }
        }
    }

    /// Waits until all spans that were put are sent or given up, or it is `until`; not again for those that it has waited for.
    pub(super) fn flush(&self, until: Instant) {
        let mut queue = self.lock();
        let put = queue.put;
        if queue.waited_for >= put {
            return;
        }
        while queue.done < put {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let unsent = put - queue.done;
                tracing::warn!(
                    unsent,
                    "the last spans are not waited for any longer: {} does not answer",
                    self.destination.endpoint
                );
                break;
            }
            let waited = self.left.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.waited_for = queue.waited_for.max(put);
    }
}

impl TraceReporter for Exporter {
    fn report(&self, span: Span) {
        let mut queue = self.lock();
        if queue.spans.len() == WAITING {
            queue.dropped += 1;
            return;
        }
        queue.put += 1;
        queue.spans.push_back(span);
        drop(queue);
        self.came.notify_one();
    }
}
