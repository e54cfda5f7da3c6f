//! Offsets asked for (`ListOffsets`), and a group's offsets committed and read without being a member of it.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{BrokerId, GroupId, ListOffsetsRequest, OffsetCommitRequest, OffsetFetchRequest};
use kafka_protocol::protocol::StrBytes;

use super::cluster::{CoordinatorKind, KafkaClient, Purpose, topic_name};
use super::error::{ErrorCode, KafkaError};

/// What a consumer calls itself; a broker's id would be answered with the log's end whatever the isolation.
const NO_REPLICA: BrokerId = BrokerId(-1);

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "'{}' partition {}", self.topic, self.partition)
    }
}

/// Which offset of a partition to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetAt {
    Earliest,
    /// The end of the log: the high watermark, or under `read_committed` the last stable offset.
    Latest,
    /// The first record whose timestamp is at or after this.
    TimestampMs(i64),
}

impl OffsetAt {
    fn wire(self) -> i64 {
        match self {
            OffsetAt::Earliest => -2,
            OffsetAt::Latest => -1,
            OffsetAt::TimestampMs(ms) => ms.max(0),
        }
    }
}

/// `isolation.level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    #[default]
    ReadUncommitted,
    ReadCommitted,
}

impl Isolation {
    /// The number on the wire.
    pub fn wire(self) -> i8 {
        self as i8
    }
}

impl std::str::FromStr for Isolation {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name.to_ascii_lowercase().as_str() {
            "read_uncommitted" => Ok(Isolation::ReadUncommitted),
            "read_committed" => Ok(Isolation::ReadCommitted),
            _ => Err("read_uncommitted or read_committed".into()),
        }
    }
}

/// A partition, the offset that it is asked for, and its leader's epoch.
type Asked = (TopicPartition, (OffsetAt, i32));

fn by_topic<T>(items: impl IntoIterator<Item = (TopicPartition, T)>) -> HashMap<Arc<str>, Vec<(i32, T)>> {
    let mut grouped: HashMap<Arc<str>, Vec<(i32, T)>> = HashMap::new();
    for (tp, item) in items {
        grouped.entry(tp.topic).or_default().push((tp.partition, item));
    }
    grouped
}

impl KafkaClient {
    /// The offset of each partition; `None` where no record has the timestamp asked for.
    pub async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetAt)],
        isolation: Isolation,
    ) -> Result<HashMap<TopicPartition, Option<i64>>, KafkaError> {
        let found = std::sync::Mutex::new(HashMap::with_capacity(wanted.len()));
        let lock = || found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.retry("listing kafka offsets", |attempt| {
            let missing: Vec<_> = wanted
                .iter()
                .filter(|(tp, _)| !lock().contains_key(tp))
                .cloned()
                .collect();
            async move {
                if attempt > 0 {
                    let mut topics: Vec<&str> = missing.iter().map(|(tp, _)| &*tp.topic).collect();
                    topics.sort_unstable();
                    topics.dedup();
                    self.refresh(&topics).await?;
                }
                let (some, failure) = self.list_offsets_once(&missing, isolation).await;
                lock().extend(some);
                failure.map_or(Ok(()), Err)
            }
        })
        .await?;
        Ok(std::mem::take(&mut *lock()))
    }

    /// One request to each leader; the last failure beside what was found.
    async fn list_offsets_once(
        &self,
        wanted: &[(TopicPartition, OffsetAt)],
        isolation: Isolation,
    ) -> (Vec<(TopicPartition, Option<i64>)>, Option<KafkaError>) {
        let (mut found, mut failure) = (Vec::new(), None);
        let mut by_leader: HashMap<i32, Vec<Asked>> = HashMap::new();
        for (tp, at) in wanted {
            match self.leader(&tp.topic, tp.partition).await {
                Ok((node, leader)) => by_leader
                    .entry(node)
                    .or_default()
                    .push((tp.clone(), (*at, leader.epoch))),
                Err(e) => failure = Some(e),
            }
        }
        for (node, partitions) in by_leader {
            let asked = async {
                let connection = self.connection(node, Purpose::General).await?;
                let version = connection.version::<ListOffsetsRequest>(1, 6)?;
                let topics = by_topic(partitions).into_iter().map(|(topic, partitions)| {
                    let partition = |(index, (at, epoch)): (i32, (OffsetAt, i32))| {
                        ListOffsetsPartition::default()
                            .with_partition_index(index)
                            .with_current_leader_epoch(epoch)
                            .with_timestamp(at.wire())
                    };
                    ListOffsetsTopic::default()
                        .with_name(topic_name(&topic))
                        .with_partitions(partitions.into_iter().map(partition).collect())
                });
                let request = ListOffsetsRequest::default()
                    .with_replica_id(NO_REPLICA)
                    .with_isolation_level(isolation.wire())
                    .with_topics(topics.collect());
                connection.call(&request, version).await
            };
            match asked.await {
                Err(e) => failure = Some(e),
                Ok(answer) => {
                    for topic in answer.topics {
                        let name: Arc<str> = Arc::from(&*topic.name.0);
                        for p in topic.partitions {
                            let tp = TopicPartition {
                                topic: name.clone(),
                                partition: p.partition_index,
                            };
                            match KafkaError::check("ListOffsets", tp.to_string(), p.error_code) {
                                Ok(()) => found.push((tp, Some(p.offset).filter(|o| *o >= 0))),
                                Err(e) => failure = Some(e),
                            }
                        }
                    }
                }
            }
        }
        (found, failure)
    }

    /// Commits `offsets` (the next to read, with its leader epoch or -1) for `group`, as a consumer that assigns itself.
    pub async fn commit_offsets(&self, group: &str, offsets: &[(TopicPartition, i64)]) -> Result<(), KafkaError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let build = |_version: i16| {
            let topics = by_topic(offsets.iter().cloned())
                .into_iter()
                .map(|(topic, partitions)| {
                    let partition = |(index, offset): (i32, i64)| {
                        OffsetCommitRequestPartition::default()
                            .with_partition_index(index)
                            .with_committed_offset(offset)
                            .with_committed_metadata(Some(StrBytes::new()))
                    };
                    OffsetCommitRequestTopic::default()
                        .with_name(topic_name(&topic))
                        .with_partitions(partitions.into_iter().map(partition).collect())
                });
            OffsetCommitRequest::default()
                .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
                .with_generation_id_or_member_epoch(-1)
                .with_topics(topics.collect())
        };
        self.call_coordinator(CoordinatorKind::Group, group, 8, None, build, |answer| {
            for topic in answer.topics {
                for p in topic.partitions {
                    let target = format!("group '{group}', '{}' partition {}", &*topic.name.0, p.partition_index);
                    KafkaError::check("OffsetCommit", target, p.error_code)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// What `group` committed for `partitions`; `None` where it committed nothing.
    pub async fn committed_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<HashMap<TopicPartition, Option<i64>>, KafkaError> {
        let group_id = || GroupId(StrBytes::from_string(group.to_owned()));
        let build = |version: i16| {
            let grouped = by_topic(partitions.iter().map(|tp| (tp.clone(), ())));
            let topics = grouped.into_iter().map(|(topic, list)| {
                (
                    topic_name(&topic),
                    list.into_iter().map(|(index, ())| index).collect::<Vec<_>>(),
                )
            });
            // A group with open transactional offsets answers UNSTABLE_OFFSET_COMMIT, which is retried.
            let request = OffsetFetchRequest::default().with_require_stable(version >= 7);
            if version >= 8 {
                let topics = topics.map(|(name, list)| {
                    OffsetFetchRequestTopics::default()
                        .with_name(name)
                        .with_partition_indexes(list)
                });
                let group = OffsetFetchRequestGroup::default()
                    .with_group_id(group_id())
                    .with_member_epoch(-1)
                    .with_topics(Some(topics.collect()));
                request.with_groups(vec![group])
            } else {
                let topics = topics.map(|(name, list)| {
                    OffsetFetchRequestTopic::default()
                        .with_name(name)
                        .with_partition_indexes(list)
                });
                request.with_group_id(group_id()).with_topics(Some(topics.collect()))
            }
        };
        self.call_coordinator(CoordinatorKind::Group, group, 8, None, build, |answer| {
            let mut found = HashMap::new();
            let mut take = |topic: &str, partition: i32, offset: i64, code: i16| -> Result<(), KafkaError> {
                let tp = TopicPartition::new(topic, partition);
                if ErrorCode::of(code).is_some_and(|c| c.is(ResponseError::UnknownTopicOrPartition)) {
                    found.insert(tp, None);
                    return Ok(());
                }
                KafkaError::check("OffsetFetch", format!("group '{group}', {tp}"), code)?;
                found.insert(tp, Some(offset).filter(|o| *o >= 0));
                Ok(())
            };
            KafkaError::check("OffsetFetch", format!("group '{group}'"), answer.error_code)?;
            for t in &answer.topics {
                for p in &t.partitions {
                    take(&t.name.0, p.partition_index, p.committed_offset, p.error_code)?;
                }
            }
            for g in &answer.groups {
                KafkaError::check("OffsetFetch", format!("group '{group}'"), g.error_code)?;
                for t in &g.topics {
                    for p in &t.partitions {
                        take(&t.name.0, p.partition_index, p.committed_offset, p.error_code)?;
                    }
                }
            }
            Ok(found)
        })
        .await
    }
}
