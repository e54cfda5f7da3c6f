//! Committed offsets by group. There are no members and no rebalancing: consumers assign partitions themselves.
//!
//! Offsets committed inside a transaction wait under the producer id until the transaction ends.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use crate::sync::lock;

/// A partition by name.
pub(crate) type TopicPartition = (String, i32);

/// What a group committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
}

#[derive(Default)]
struct Group {
    committed: BTreeMap<TopicPartition, CommittedOffset>,
    /// By producer id.
    pending: HashMap<i64, BTreeMap<TopicPartition, CommittedOffset>>,
}

/// All groups.
#[derive(Default)]
pub(crate) struct Groups {
    by_id: Mutex<HashMap<String, Group>>,
}

impl Groups {
    pub fn commit(&self, group: &str, partition: TopicPartition, offset: CommittedOffset) {
        lock(&self.by_id)
            .entry(group.to_owned())
            .or_default()
            .committed
            .insert(partition, offset);
    }

    /// Commits when the producer's transaction does.
    pub fn commit_in_transaction(
        &self,
        group: &str,
        producer_id: i64,
        partition: TopicPartition,
        offset: CommittedOffset,
    ) {
        let mut groups = lock(&self.by_id);
        let group = groups.entry(group.to_owned()).or_default();
        group.pending.entry(producer_id).or_default().insert(partition, offset);
    }

    /// Ends the transaction of a producer for this group.
    pub fn end_transaction(&self, group: &str, producer_id: i64, commit: bool) {
        let mut groups = lock(&self.by_id);
        let Some(group) = groups.get_mut(group) else { return };
        let pending = group.pending.remove(&producer_id).unwrap_or_default();
        if commit {
            group.committed.extend(pending);
        }
    }

    pub fn committed(&self, group: &str, partition: &TopicPartition) -> Option<CommittedOffset> {
        lock(&self.by_id).get(group)?.committed.get(partition).cloned()
    }

    /// All offsets of a group, in the order of topic and partition.
    pub fn all_committed(&self, group: &str) -> Vec<(TopicPartition, CommittedOffset)> {
        let groups = lock(&self.by_id);
        let committed = groups
            .get(group)
            .map(|group| group.committed.clone())
            .unwrap_or_default();
        committed.into_iter().collect()
    }

    /// Whether an open transaction will, if it commits, change the offset of this partition.
    pub fn is_unstable(&self, group: &str, partition: &TopicPartition) -> bool {
        let groups = lock(&self.by_id);
        groups
            .get(group)
            .is_some_and(|group| group.pending.values().any(|pending| pending.contains_key(partition)))
    }
}
