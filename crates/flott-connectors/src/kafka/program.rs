//! Kafka for programs: settings that builders collect, judged at once, and the sources and sinks made of them.
//!
//! Nothing here knows what a program's records are: the caller brings an [`Assemble`] or a [`FillRecords`]. The rest is what
//! tables have: the same enumerator, reader, writer and committer.

use std::collections::BTreeMap;
use std::sync::Arc;

use flott_runtime::connector::{ConnectorError, Sink, Source};
use flott_runtime::{OperatorContext, TaskError};
use regex::Regex;

use super::access::{Access, Topics};
use super::client::config::{ClientConfig, KafkaProperties, is_secret_property};
use super::client::fetch::FetchConfig;
use super::client::offsets::{Isolation, TopicPartition};
use super::client::producer::ProducerConfig;
use super::options::{Bounded, Guarantee, Partitioner, Reset, ScanOptions, SinkOptions, Startup};
use super::properties::check_names;
use super::records::{Assemble, FillRecords, Filled};
use super::topics::{KafkaSink, KafkaSource};
use crate::bad_rows::BadRows;

/// Flink's default of `partition.discovery.interval.ms`.
const DISCOVERY_INTERVAL_MS: i64 = 300_000;

/// Where a group that has committed nothing starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetResetStrategy {
    /// At the first record that the partition holds.
    Earliest,
    /// Behind its last.
    Latest,
    /// Nowhere: the job fails and names the partition.
    None,
}

/// Where a source begins ([`SourceSettings::starting_offsets`]) or ends ([`SourceSettings::bounded`]) to read each partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetsInitializer(Offsets);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Offsets {
    Earliest,
    Latest,
    Timestamp(i64),
    Committed(Option<OffsetResetStrategy>),
    Specific(BTreeMap<TopicPartition, i64>),
}

impl OffsetsInitializer {
    /// The first record that each partition holds.
    pub fn earliest() -> Self {
        Self(Offsets::Earliest)
    }

    /// The end of each partition when the job starts.
    pub fn latest() -> Self {
        Self(Offsets::Latest)
    }

    /// The first record of each partition whose time, in milliseconds since the epoch, is not before this one; the end where
    /// there is none.
    pub fn timestamp(timestamp_ms: i64) -> Self {
        Self(Offsets::Timestamp(timestamp_ms))
    }

    /// What the source's group has committed; where it has not, as the property `auto.offset.reset` says, or else the job fails.
    pub fn committed_offsets() -> Self {
        Self(Offsets::Committed(None))
    }

    /// What the source's group has committed, and where it has not, what `strategy` says.
    pub fn committed_offsets_or_else(strategy: OffsetResetStrategy) -> Self {
        Self(Offsets::Committed(Some(strategy)))
    }

    /// These offsets, by topic and partition. Partitions that are not named begin at their first record, and end at their end.
    pub fn offsets<T: Into<String>>(offsets: impl IntoIterator<Item = ((T, i32), i64)>) -> Self {
        let key =
            |((topic, partition), offset): ((T, i32), i64)| (TopicPartition::new(topic.into(), partition), offset);
        Self(Offsets::Specific(offsets.into_iter().map(key).collect()))
    }
}

/// What a sink promises of each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeliveryGuarantee {
    /// It is in the topic once, in a transaction that is committed with the checkpoint: readers with `isolation.level` =
    /// `read_committed` see it then.
    ExactlyOnce,
    /// It is in the topic, and again for each restart that goes back before it.
    AtLeastOnce,
    /// It was sent.
    #[default]
    None,
}

/// Settings of a source, with the words of Flink's `KafkaSourceBuilder`.
#[derive(Debug, Clone, Default)]
pub struct SourceSettings {
    properties: Vec<(String, String)>,
    topics: Vec<String>,
    pattern: Option<String>,
    starting: Option<OffsetsInitializer>,
    bounded: Option<OffsetsInitializer>,
    bad_rows: Option<BadRows>,
}

fn wrong(label: &str, reason: impl std::fmt::Display) -> ConnectorError {
    ConnectorError::Option(format!("{label}: {reason}"))
}

/// Checks what sources and sinks need alike.
fn check_access(access: &Access) -> Result<(), ConnectorError> {
    let label = &*access.label;
    if access.properties.get("bootstrap.servers").is_none() {
        return Err(wrong(
            label,
            "no broker is named: give the builder bootstrap_servers(\"host:port\"), or several with commas",
        ));
    }
    check_names(&access.properties, label)?;
    for (name, value) in access.properties.iter().filter(|(n, _)| is_secret_property(n)) {
        if value.contains("${") {
            return Err(wrong(
                label,
                format!("property '{name}' holds a variable that was not filled in"),
            ));
        }
    }
    ClientConfig::from_properties(&access.properties).map_err(|e| wrong(label, e))?;
    Ok(())
}

impl SourceSettings {
    /// Sets one of Kafka's properties.
    pub fn property(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.properties.push((name.into(), value.into()));
    }

    /// The topics to read.
    pub fn topics<T: Into<String>>(&mut self, topics: impl IntoIterator<Item = T>) {
        self.topics = topics.into_iter().map(Into::into).collect();
    }

    /// A regular expression of the names of the topics to read, instead.
    pub fn topic_pattern(&mut self, pattern: impl Into<String>) {
        self.pattern = Some(pattern.into());
    }

    /// Where partitions begin that are there at the start.
    pub fn starting_offsets(&mut self, offsets: OffsetsInitializer) {
        self.starting = Some(offsets);
    }

    /// Where partitions end.
    pub fn bounded(&mut self, offsets: OffsetsInitializer) {
        self.bounded = Some(offsets);
    }

    /// What to do with records that cannot be read.
    pub fn bad_rows(&mut self, bad_rows: BadRows) {
        self.bad_rows = Some(bad_rows);
    }

    fn access(&self) -> Result<Access, ConnectorError> {
        let topics = match (&self.topics[..], &self.pattern) {
            ([], None) => {
                let reason = "no topic is named: give the builder topics([\"orders\"]) or topic_pattern(\"orders-.*\")";
                return Err(wrong("kafka source", reason));
            }
            ([_, ..], Some(_)) => {
                return Err(wrong(
                    "kafka source",
                    "topics and topic_pattern exclude each other: call one",
                ));
            }
            (names, None) => Topics::List(names.to_vec()),
            ([], Some(pattern)) => Topics::Pattern(Regex::new(&format!("^(?:{pattern})$")).map_err(|e| {
                wrong(
                    "kafka source",
                    format!("topic_pattern '{pattern}' is no regular expression: {e}"),
                )
            })?),
        };
        if let Topics::List(names) = &topics
            && let Some(blank) = names.iter().find(|n| n.trim().is_empty())
        {
            return Err(wrong("kafka source", format!("'{blank}' is no name of a topic")));
        }
        let access = Access::of_program("source", topics, KafkaProperties::new(self.properties.iter().cloned()));
        check_access(&access)?;
        Ok(access)
    }

    fn scan(&self, access: &Access) -> Result<ScanOptions, ConnectorError> {
        let properties = &access.properties;
        let wrong = |reason: String| wrong(&access.label, reason);
        let group = properties.get("group.id").map(str::to_owned);
        let mut reset = Reset::read(properties).map_err(|value| {
            wrong(format!(
                "property 'auto.offset.reset' is '{value}': use earliest, latest or none"
            ))
        })?;
        let startup = match self.starting.clone().map_or(Offsets::Earliest, |o| o.0) {
            Offsets::Earliest => Startup::Earliest,
            Offsets::Latest => Startup::Latest,
            Offsets::Timestamp(ms) => Startup::TimestampMs(ms),
            Offsets::Specific(offsets) => Startup::Specific(offsets),
            Offsets::Committed(strategy) => {
                reset = match strategy {
                    None => reset,
                    Some(OffsetResetStrategy::Earliest) => Reset::Earliest,
                    Some(OffsetResetStrategy::Latest) => Reset::Latest,
                    Some(OffsetResetStrategy::None) => Reset::Fail,
                };
                Startup::GroupOffsets
            }
        };
        let bounded = match self.bounded.clone().map(|o| o.0) {
            None => Bounded::Unbounded,
            Some(Offsets::Earliest) => {
                return Err(wrong(
                    "bounded(OffsetsInitializer::earliest()) reads nothing: use latest()".into(),
                ));
            }
            Some(Offsets::Latest) => Bounded::Latest,
            Some(Offsets::Timestamp(ms)) => Bounded::TimestampMs(ms),
            Some(Offsets::Committed(_)) => Bounded::GroupOffsets,
            Some(Offsets::Specific(offsets)) => Bounded::Specific(offsets),
        };
        if group.is_none() && (startup == Startup::GroupOffsets || bounded == Bounded::GroupOffsets) {
            return Err(wrong(
                "committed offsets are those of a group: give the builder group_id".into(),
            ));
        }
        for offsets in [&self.starting, &self.bounded].into_iter().flatten() {
            let Offsets::Specific(offsets) = &offsets.0 else {
                continue;
            };
            let is_read = |topic: &str| match &access.topics {
                Topics::List(names) => names.iter().any(|n| n == topic),
                Topics::Pattern(pattern) => pattern.is_match(topic),
            };
            if let Some((key, offset)) = offsets
                .iter()
                .find(|(k, o)| !is_read(&k.topic) || k.partition < 0 || **o < 0)
            {
                return Err(wrong(format!(
                    "OffsetsInitializer::offsets names offset {offset} of {key}, which is not read: name partitions of the source's topics, from 0 on, and offsets from 0 on"
                )));
            }
        }
        let interval_ms = properties
            .parse_or(
                "partition.discovery.interval.ms",
                DISCOVERY_INTERVAL_MS,
                "a number of milliseconds",
            )
            .map_err(|e| wrong(e.to_string()))?;
        let commits = properties.bool_or("commit.offsets.on.checkpoint", true);
        Ok(ScanOptions {
            discovery_interval_ms: (bounded == Bounded::Unbounded && interval_ms > 0).then_some(interval_ms as u64),
            startup,
            bounded,
            reset,
            commit_offsets: commits.map_err(|e| wrong(e.to_string()))? && group.is_some(),
            group,
            bad_rows: self.bad_rows.clone().unwrap_or(BadRows::Fail),
        })
    }

    /// The source of these settings; `make` makes what assembles a subtask's batches.
    ///
    /// # Errors
    /// The first setting that is missing or wrong.
    pub fn source<A: Assemble + 'static>(
        &self,
        make: impl Fn(&OperatorContext) -> Result<A, TaskError> + Send + Sync + 'static,
    ) -> Result<Arc<dyn Source>, ConnectorError> {
        let access = self.access()?;
        let scan = self.scan(&access)?;
        let fetch = FetchConfig::from_properties(&access.properties).map_err(|e| wrong(&access.label, e))?;
        let isolation: Isolation = fetch.isolation;
        Ok(Arc::new(KafkaSource {
            access,
            scan,
            isolation,
            make,
        }))
    }
}

/// Settings of a sink, with the words of Flink's `KafkaSinkBuilder`.
#[derive(Debug, Clone, Default)]
pub struct SinkSettings {
    properties: Vec<(String, String)>,
    topic: Option<String>,
    guarantee: DeliveryGuarantee,
    transactional_id_prefix: Option<String>,
    ignore_lost_transactions: bool,
}

impl SinkSettings {
    /// Sets one of Kafka's properties.
    pub fn property(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.properties.push((name.into(), value.into()));
    }

    /// The topic of records that name none.
    pub fn topic(&mut self, topic: impl Into<String>) {
        self.topic = Some(topic.into());
    }

    /// What the sink promises.
    pub fn delivery_guarantee(&mut self, guarantee: DeliveryGuarantee) {
        self.guarantee = guarantee;
    }

    /// What the ids of its transactions begin with.
    pub fn transactional_id_prefix(&mut self, prefix: impl Into<String>) {
        self.transactional_id_prefix = Some(prefix.into());
    }

    /// Goes on, without its records, when the broker has given up a transaction that a checkpoint lists.
    pub fn ignore_lost_transactions(&mut self) {
        self.ignore_lost_transactions = true;
    }

    /// The sink of these settings; `make` makes what writes a subtask's records. `names_topics`: records name their topics, so that the
    /// sink needs none.
    ///
    /// # Errors
    /// The first setting that is missing or wrong.
    pub fn sink<F: FillRecords + 'static>(
        &self,
        names_topics: bool,
        make: impl Fn(&OperatorContext) -> Result<F, TaskError> + Send + Sync + 'static,
    ) -> Result<Arc<dyn Sink>, ConnectorError> {
        let topics = match self.topic.as_deref().map(str::trim) {
            Some("") => return Err(wrong("kafka sink", "'' is no name of a topic")),
            None if !names_topics => {
                return Err(wrong(
                    "kafka sink",
                    "no topic is named: give the builder topic(\"orders\")",
                ));
            }
            topic => topic.into_iter().map(str::to_owned).collect(),
        };
        let properties = KafkaProperties::new(self.properties.iter().cloned());
        let access = Access::of_program("sink", Topics::List(topics), properties);
        check_access(&access)?;
        let wrong = |reason: String| wrong(&access.label, reason);
        ProducerConfig::from_properties(&access.properties).map_err(|e| wrong(e.to_string()))?;
        if access.properties.get("transactional.id").is_some() {
            let reason = "property 'transactional.id' is chosen by the sink: give the builder transactional_id_prefix";
            return Err(wrong(reason.into()));
        }
        let prefix = self.transactional_id_prefix.clone().unwrap_or_default();
        let guarantee = match self.guarantee {
            DeliveryGuarantee::None => Guarantee::None,
            DeliveryGuarantee::AtLeastOnce => Guarantee::AtLeastOnce,
            DeliveryGuarantee::ExactlyOnce if prefix.is_empty() => {
                return Err(wrong(
                    "DeliveryGuarantee::ExactlyOnce needs transactional_id_prefix: a name that no other sink uses on this Kafka cluster".into(),
                ));
            }
            DeliveryGuarantee::ExactlyOnce => Guarantee::ExactlyOnce,
        };
        let options = SinkOptions {
            partitioner: Partitioner::Default,
            guarantee,
            transactional_id_prefix: prefix,
            ignore_lost_transactions: self.ignore_lost_transactions,
            buffer: None,
        };
        let make = move |ctx: &OperatorContext| make(ctx).map(Filled::new);
        Ok(Arc::new(KafkaSink { access, options, make }))
    }
}
