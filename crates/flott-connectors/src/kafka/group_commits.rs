//! Positions told to a consumer group: [`GroupCommits`].
//!
//! They are for monitoring: a restored job goes on from its checkpoint. So a commit is sent in the background, one at a time, and one that fails is
//! told and not repeated; but the last one of a stopped job gets its moment before the reader is gone.

use super::client::KafkaClient;
use super::client::offsets::TopicPartition;
use flott_runtime::metrics::OperatorMetrics;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the end of a reader waits for a commit that is on its way.
const LAST_COMMIT: Duration = Duration::from_secs(1);

/// Commits positions to a group in the background.
#[derive(Debug)]
pub(super) struct GroupCommits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Arc<KafkaClient>,
    group: String,
    table: String,
    metrics: Arc<OperatorMetrics>,
    state: Mutex<State>,
    is_idle: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What is to be committed next.
    waiting: BTreeMap<TopicPartition, i64>,
    is_busy: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits, to be committed now; empty: from now on nothing is on its way.
    fn take(&self) -> Vec<(TopicPartition, i64)> {
        let mut state = self.state();
        let offsets: Vec<_> = std::mem::take(&mut state.waiting).into_iter().collect();
        if offsets.is_empty() {
            state.is_busy = false;
            self.is_idle.notify_all();
        }
        offsets
    }

    async fn commit(&self, offsets: &[(TopicPartition, i64)]) {
        let (name, outcome) = match self.client.commit_offsets(&self.group, offsets).await {
            Ok(()) => ("KafkaSourceReader.commitsSucceeded", None),
            Err(e) => ("KafkaSourceReader.commitsFailed", Some(e)),
        };
        let gauge = self.metrics.gauge(name);
        gauge.set(gauge.get() + 1);
        match outcome {
            None => {
                for (key, offset) in offsets {
                    self.metrics.gauge(&offset_gauge(key, "committedOffset")).set(*offset);
                }
            }
            Some(error) => tracing::warn!(table = self.table, %error, "kafka offsets could not be committed"),
        }
    }
}

impl GroupCommits {
    /// Nothing yet, for a table's group.
    pub(super) fn new(client: Arc<KafkaClient>, group: &str, table: &str, metrics: Arc<OperatorMetrics>) -> Self {
        Self(Arc::new(Shared {
            client,
            group: group.to_owned(),
            table: table.to_owned(),
            metrics,
            state: Mutex::default(),
            is_idle: Condvar::new(),
        }))
    }

    /// Commits positions, behind the commit that is on its way; of several for a partition that wait, the last.
    pub(super) fn commit(&self, offsets: BTreeMap<TopicPartition, i64>) {
        let mut state = self.0.state();
        state.waiting.extend(offsets);
        if state.waiting.is_empty() || std::mem::replace(&mut state.is_busy, true) {
            return;
        }
        drop(state);
        let shared = Arc::clone(&self.0);
        self.0.client.runtime().spawn(async move {
            loop {
                let offsets = shared.take();
                if offsets.is_empty() {
                    return;
                }
                shared.commit(&offsets).await;
            }
        });
    }
}

impl Drop for GroupCommits {
    fn drop(&mut self) {
        let waited = self
            .0
            .is_idle
            .wait_timeout_while(self.0.state(), LAST_COMMIT, |state| state.is_busy);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() && state.is_busy {
            let (table, group) = (&self.0.table, &self.0.group);
            tracing::warn!(
                table,
                group,
                "the last kafka offsets may not be committed: the broker does not answer"
            );
        }
    }
}

/// Name of a number that is told of a partition.
pub(super) fn offset_gauge(key: &TopicPartition, what: &str) -> String {
    format!(
        "KafkaSourceReader.topic.{}.partition.{}.{what}",
        key.topic, key.partition
    )
}
