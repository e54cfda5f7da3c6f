//! [`KafkaEnumerator`]: finds partitions, and resolves where each is begun and where it ends.
//!
//! At the first look every partition begins by `scan.startup.mode`; one that appears later begins at its start, so that
//! nothing of it is missed. Ends (`scan.bounded.mode`) are resolved at the same time. Known partitions are the snapshot.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flott_runtime::connector::{ConnectorError, Split, SplitEnumerator};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::access::{Access, Topics};
use super::client::KafkaClient;
use super::client::error::KafkaError;
use super::client::offsets::{Isolation, OffsetAt, TopicPartition};
use super::options::{Bounded, Reset, ScanOptions, Startup};
use super::split::{KafkaSplit, split_id};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Snapshot {
    version: u32,
    known: BTreeSet<String>,
}

/// See the module.
pub(super) struct KafkaEnumerator {
    access: Access,
    scan: ScanOptions,
    isolation: Isolation,
    client: Option<Arc<KafkaClient>>,
    known: BTreeSet<String>,
    /// Whether the partitions that were there at the start are known.
    has_begun: bool,
}

impl KafkaEnumerator {
    pub fn new(
        access: Access,
        scan: ScanOptions,
        isolation: Isolation,
        restored: Option<&[u8]>,
    ) -> Result<Self, ConnectorError> {
        let known = match restored {
            None => BTreeSet::new(),
            Some(bytes) => {
                let unreadable = |reason: String| ConnectorError::Fatal {
                    message: format!("{}: the stored kafka partitions cannot be read: {reason}", access.label),
                    source: None,
                };
                let read: Snapshot = serde_json::from_slice(bytes).map_err(|e| unreadable(e.to_string()))?;
                if read.version != VERSION {
                    return Err(unreadable(format!("version {} is newer than this build", read.version)));
                }
                read.known
            }
        };
        Ok(Self {
            access,
            scan,
            isolation,
            client: None,
            known,
            has_begun: restored.is_some(),
        })
    }

    async fn client(&mut self) -> Result<Arc<KafkaClient>, KafkaError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = KafkaClient::connect(&self.access.properties).await?;
        self.client = Some(client.clone());
        Ok(client)
    }

    /// Partitions of the table's topics that are not known yet.
    async fn new_partitions(&self, client: &KafkaClient) -> Result<Vec<(TopicPartition, Uuid)>, ConnectorError> {
        let topics = match &self.access.topics {
            Topics::List(names) => {
                let mut found = Vec::with_capacity(names.len());
                for name in names {
                    found.push(client.topic(name).await?);
                }
                found
            }
            Topics::Pattern(pattern) => {
                let mut found = client.all_topics().await?;
                found.retain(|t| !t.is_internal && pattern.is_match(&t.name));
                if found.is_empty() && !self.has_begun {
                    return Err(ConnectorError::Fatal {
                        message: format!(
                            "no kafka topic matches {} '{pattern}': create one, or correct the pattern",
                            self.access.says("'topic-pattern'", "the pattern")
                        ),
                        source: None,
                    });
                }
                found
            }
        };
        let all = topics.iter().flat_map(|t| {
            (0..t.leaders.len() as i32).map(|p| {
                (
                    TopicPartition {
                        topic: t.name.clone(),
                        partition: p,
                    },
                    t.id,
                )
            })
        });
        Ok(all
            .filter(|(key, _)| !self.known.contains(&split_id(&key.topic, key.partition)))
            .collect())
    }

    async fn listed(
        &self,
        client: &KafkaClient,
        keys: &[TopicPartition],
        at: OffsetAt,
    ) -> Result<HashMap<TopicPartition, Option<i64>>, KafkaError> {
        let wanted: Vec<_> = keys.iter().map(|k| (k.clone(), at)).collect();
        client.list_offsets(&wanted, self.isolation).await
    }

    /// `at`, and the end of the log where no record is so late.
    async fn listed_or_end(
        &self,
        client: &KafkaClient,
        keys: &[TopicPartition],
        at: OffsetAt,
    ) -> Result<HashMap<TopicPartition, i64>, KafkaError> {
        let mut found = self.listed(client, keys, at).await?;
        let missing: Vec<_> = keys
            .iter()
            .filter(|k| found.get(*k).copied().flatten().is_none())
            .cloned()
            .collect();
        if !missing.is_empty() {
            found.extend(self.listed(client, &missing, OffsetAt::Latest).await?);
        }
        Ok(found.into_iter().map(|(k, o)| (k, o.unwrap_or(0))).collect())
    }

    async fn starts(
        &self,
        client: &KafkaClient,
        keys: &[TopicPartition],
    ) -> Result<HashMap<TopicPartition, i64>, ConnectorError> {
        let startup = if self.has_begun {
            &Startup::Earliest
        } else {
            &self.scan.startup
        };
        Ok(match startup {
            Startup::Earliest => self.listed_or_end(client, keys, OffsetAt::Earliest).await?,
            Startup::Latest => self.listed_or_end(client, keys, OffsetAt::Latest).await?,
            Startup::TimestampMs(ms) => self.listed_or_end(client, keys, OffsetAt::TimestampMs(*ms)).await?,
            Startup::Specific(offsets) => {
                // A partition that is not named begins at its start, as in Flink.
                let mut starts = self.listed_or_end(client, keys, OffsetAt::Earliest).await?;
                for (key, start) in &mut starts {
                    *start = offsets.get(key).copied().unwrap_or(*start);
                }
                starts
            }
            Startup::GroupOffsets => {
                let group = self.scan.group.as_deref().unwrap_or_default();
                let committed = client.committed_offsets(group, keys).await?;
                let offset = |k: &TopicPartition| committed.get(k).copied().flatten();
                let missing: Vec<_> = keys.iter().filter(|k| offset(k).is_none()).cloned().collect();
                let mut starts: HashMap<_, _> = keys.iter().filter_map(|k| offset(k).map(|o| (k.clone(), o))).collect();
                if !missing.is_empty() {
                    let at = match self.scan.reset {
                        Reset::Earliest => OffsetAt::Earliest,
                        Reset::Latest => OffsetAt::Latest,
                        Reset::Fail => return Err(self.no_committed_offset(group, &missing[0])),
                    };
                    starts.extend(self.listed_or_end(client, &missing, at).await?);
                }
                starts
            }
        })
    }

    fn no_committed_offset(&self, group: &str, key: &TopicPartition) -> ConnectorError {
        ConnectorError::Fatal {
            message: format!(
                "{}: group '{group}' has committed no offset for kafka {key}, {}",
                self.access.label,
                self.access.says(
                    "and 'scan.startup.mode' is 'group-offsets': set 'properties.auto.offset.reset' to 'earliest' or 'latest', or choose another 'scan.startup.mode'",
                    "at which it was to start: use OffsetsInitializer::committed_offsets_or_else to say where it starts then",
                )
            ),
            source: None,
        }
    }

    async fn stops(
        &self,
        client: &KafkaClient,
        keys: &[TopicPartition],
    ) -> Result<HashMap<TopicPartition, i64>, ConnectorError> {
        Ok(match &self.scan.bounded {
            Bounded::Unbounded => HashMap::new(),
            Bounded::Latest => self.listed_or_end(client, keys, OffsetAt::Latest).await?,
            Bounded::TimestampMs(ms) => self.listed_or_end(client, keys, OffsetAt::TimestampMs(*ms)).await?,
            Bounded::Specific(offsets) => {
                let named = |k: &TopicPartition| offsets.get(k).map(|o| (k.clone(), *o));
                let mut stops = self.listed_or_end(client, keys, OffsetAt::Latest).await?;
                stops.extend(keys.iter().filter_map(named));
                stops
            }
            Bounded::GroupOffsets => {
                let group = self.scan.group.as_deref().unwrap_or_default();
                let committed = client.committed_offsets(group, keys).await?;
                let mut stops = self.listed_or_end(client, keys, OffsetAt::Latest).await?;
                stops.extend(committed.into_iter().filter_map(|(k, o)| Some((k, o?))));
                stops
            }
        })
    }
}

#[async_trait]
impl SplitEnumerator for KafkaEnumerator {
    async fn discover(&mut self) -> Result<Vec<Split>, ConnectorError> {
        let client = self.client().await?;
        let found = self.new_partitions(&client).await?;
        let keys: Vec<TopicPartition> = found.iter().map(|(k, _)| k.clone()).collect();
        if keys.is_empty() {
            self.has_begun = true;
            return Ok(Vec::new());
        }
        let starts = self.starts(&client, &keys).await?;
        let stops = self.stops(&client, &keys).await?;
        let from_earliest = self.has_begun || self.scan.startup == Startup::Earliest;
        let mut splits = Vec::with_capacity(found.len());
        for (key, id) in &found {
            let start = starts.get(key).copied().unwrap_or(0);
            let split = KafkaSplit::new(key, *id, start, stops.get(key).copied(), from_earliest);
            let split = split
                .to_split()
                .map_err(|message| ConnectorError::Fatal { message, source: None })?;
            tracing::info!(table = %self.access.name, split = %split.id, start, stop = ?stops.get(key), "kafka partition found");
            splits.push(split);
        }
        self.known.extend(splits.iter().map(|s| s.id.clone()));
        self.has_begun = true;
        Ok(splits)
    }

    fn discovery_interval(&self) -> Option<Duration> {
        self.scan.discovery_interval_ms.map(Duration::from_millis)
    }

    fn owner(&self, split: &Split, parallelism: usize) -> usize {
        // Partitions of a topic go round from a subtask that the topic's name chooses, so that they spread evenly.
        let (topic, partition) = split.id.rsplit_once('-').unwrap_or((&split.id, "0"));
        let start = topic
            .bytes()
            .fold(0u32, |h, b| h.wrapping_mul(31).wrapping_add(u32::from(b)));
        let partition: u32 = partition.parse().unwrap_or(0);
        start.wrapping_add(partition) as usize % parallelism.max(1)
    }

    fn snapshot(&self) -> Vec<u8> {
        let snapshot = Snapshot {
            version: VERSION,
            known: self.known.clone(),
        };
        // Strings and a number: writing them cannot fail.
        serde_json::to_vec(&snapshot).unwrap_or_default()
    }
}
