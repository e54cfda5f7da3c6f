//! Every option of `kafka` and `upsert-kafka` tables, under Flink's names, read and checked without I/O.
//!
//! | option | meaning beyond Flink's own text |
//! |---|---|
//! | `properties.*` | Kafka's own names; see [`super::client::config`] |
//! | `properties.auto.offset.reset` | also decides, when set, where to go on when an offset is no longer in the log; unset: the job fails and names it |
//! | `bad-rows`, `bad-rows.topic`, `bad-rows.path` | ours: see [`crate::bad_rows`] |
//! | `sink.transaction-naming-strategy` | read and ignored: every transaction has an id of its own |
//! | `sink.lost-transactions` | ours: `fail` (default) or `ignore` a checkpoint's transaction that the broker has expired |

use std::collections::BTreeMap;

use flott_core::options::OptionError;
use flott_core::{Field, Options, suggest};
use flott_runtime::connector::{Boundedness, ConnectorError, TableSpec};
use regex::Regex;

use super::access::{Access, Topics};
use super::client::config::{KafkaProperties, is_secret_property};
use super::client::offsets::TopicPartition;
use crate::bad_rows::{BAD_ROWS, BAD_ROWS_PATH, BAD_ROWS_TOPIC, BadRows};

const COMMON: [&str; 9] = [
    "connector",
    "topic",
    "format",
    "key.format",
    "key.fields",
    "key.fields-prefix",
    "value.format",
    "value.fields-include",
    "topic-pattern",
];
const SCAN: [&str; 16] = [
    "scan.startup.mode",
    "scan.startup.specific-offsets",
    "scan.startup.timestamp-millis",
    "scan.bounded.mode",
    "scan.bounded.specific-offsets",
    "scan.bounded.timestamp-millis",
    "scan.topic-partition-discovery.interval",
    "scan.parallelism",
    "scan.watermark.emit.strategy",
    "scan.watermark.idle-timeout",
    "scan.watermark.alignment.group",
    "scan.watermark.alignment.max-drift",
    "scan.watermark.alignment.update-interval",
    BAD_ROWS,
    BAD_ROWS_TOPIC,
    BAD_ROWS_PATH,
];
const SINK: [&str; 8] = [
    "sink.partitioner",
    "sink.delivery-guarantee",
    "sink.transactional-id-prefix",
    "sink.transaction-naming-strategy",
    "sink.lost-transactions",
    "sink.parallelism",
    "sink.buffer-flush.max-rows",
    "sink.buffer-flush.interval",
];
/// What of the others an upsert table does not have.
const NOT_UPSERT: [&str; 6] = [
    "format",
    "key.fields",
    "topic-pattern",
    "sink.partitioner",
    "scan.startup.mode",
    "scan.startup.specific-offsets",
];

/// A wrong option as the planner's error.
pub(super) fn wrong(e: impl std::fmt::Display) -> ConnectorError {
    ConnectorError::Option(e.to_string())
}

fn wrong_value(key: &str, value: &str, allowed: impl Into<String>) -> ConnectorError {
    wrong(OptionError::new(key, value, allowed))
}

/// A format and its options, without the prefix that tells key and value apart.
#[derive(Debug, Clone)]
pub(super) struct FormatChoice {
    pub name: String,
    pub options: Options,
}

/// Which columns a message's key and value carry.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub value: FormatChoice,
    pub value_columns: Vec<Field>,
    pub key: Option<FormatChoice>,
    /// Under their names in the table.
    pub key_columns: Vec<Field>,
    /// Cut off the names in the key's format.
    pub key_prefix: String,
    /// Whether the value carries the key's columns too.
    pub value_has_key: bool,
}

impl Layout {
    /// The key's columns under their names in the key's format.
    pub fn key_fields_in_format(&self) -> Vec<Field> {
        let strip = |name: &str| name.strip_prefix(&*self.key_prefix).unwrap_or(name).to_owned();
        self.key_columns
            .iter()
            .map(|f| Field::new(strip(&f.name), f.ty.clone()))
            .collect()
    }
}

/// `scan.startup.mode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Startup {
    GroupOffsets,
    Earliest,
    Latest,
    TimestampMs(i64),
    Specific(BTreeMap<TopicPartition, i64>),
}

/// `scan.bounded.mode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bounded {
    Unbounded,
    Latest,
    GroupOffsets,
    TimestampMs(i64),
    Specific(BTreeMap<TopicPartition, i64>),
}

/// What of `auto.offset.reset` was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    /// Not set, or `none`.
    Fail,
    Earliest,
    Latest,
}

impl Reset {
    /// What `auto.offset.reset` says; the value itself if it says nothing known.
    pub fn read(properties: &KafkaProperties) -> Result<Self, String> {
        let value = properties.get("auto.offset.reset").map(str::to_ascii_lowercase);
        match value.as_deref() {
            None | Some("none") => Ok(Self::Fail),
            Some("earliest") => Ok(Self::Earliest),
            Some("latest") => Ok(Self::Latest),
            Some(other) => Err(other.to_owned()),
        }
    }
}

/// How topics are read.
#[derive(Debug, Clone)]
pub(super) struct ScanOptions {
    pub startup: Startup,
    pub bounded: Bounded,
    pub discovery_interval_ms: Option<u64>,
    pub group: Option<String>,
    pub reset: Reset,
    pub commit_offsets: bool,
    pub bad_rows: BadRows,
}

/// `sink.partitioner`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Partitioner {
    /// Kafka's own: by the hash of the key; rows without a key stick to a partition for a batch.
    Default,
    /// Subtask by subtask.
    Fixed,
    RoundRobin,
}

/// `sink.delivery-guarantee`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guarantee {
    None,
    AtLeastOnce,
    ExactlyOnce,
}

/// How topics are written.
#[derive(Debug, Clone)]
pub(super) struct SinkOptions {
    pub partitioner: Partitioner,
    pub guarantee: Guarantee,
    pub transactional_id_prefix: String,
    pub ignore_lost_transactions: bool,
    /// Rows and milliseconds of an upsert table's buffer.
    pub buffer: Option<(usize, i64)>,
}

/// What a table's source and sink both need.
#[derive(Debug, Clone)]
pub(super) struct TableOptions {
    pub access: Access,
    pub layout: Layout,
}

/// `properties.*` without the prefix.
fn kafka_properties(options: &Options) -> KafkaProperties {
    KafkaProperties::new(options.with_prefix("properties."))
}

fn check_names(table: &TableSpec, is_upsert: bool) -> Result<(), ConnectorError> {
    let formats = flott_formats::FORMATS;
    let is_format_option = |key: &str| {
        let bare = key
            .strip_prefix("key.")
            .or_else(|| key.strip_prefix("value."))
            .unwrap_or(key);
        formats
            .iter()
            .any(|f| bare.strip_prefix(f).is_some_and(|rest| rest.starts_with('.')))
    };
    let mut known: Vec<&str> = [&COMMON[..], &SCAN, &SINK].concat();
    known.retain(|k| !is_upsert || !NOT_UPSERT.contains(k));
    for (key, _) in table.options.iter() {
        if known.contains(&key) || key.starts_with("properties.") || is_format_option(key) {
            continue;
        }
        return Err(wrong(format!(
            "connector '{}' has no option '{key}'{}",
            table.connector(),
            suggest::hint(key, known.iter().copied())
        )));
    }
    Ok(())
}

impl TableOptions {
    /// Reads what both directions need, and refuses names that no direction knows.
    pub fn read(table: &TableSpec) -> Result<Self, ConnectorError> {
        let is_upsert = table.connector() == "upsert-kafka";
        check_names(table, is_upsert)?;
        let options = &table.options;
        let topics = match (options.get("topic"), options.get("topic-pattern")) {
            (Some(_), Some(_)) => return Err(wrong("'topic' and 'topic-pattern' exclude each other: set one")),
            (None, None) => {
                return Err(wrong(format!(
                    "connector '{}' needs the option 'topic'",
                    table.connector()
                )));
            }
            (Some(list), None) => {
                let names: Vec<String> = list
                    .split(';')
                    .map(|t| t.trim().to_owned())
                    .filter(|t| !t.is_empty())
                    .collect();
                if names.is_empty() {
                    return Err(wrong_value("topic", list, "a topic, or several with ';' between them"));
                }
                Topics::List(names)
            }
            (None, Some(pattern)) => Topics::Pattern(
                Regex::new(&format!("^(?:{pattern})$"))
                    .map_err(|e| wrong_value("topic-pattern", pattern, format!("a regular expression ({e})")))?,
            ),
        };
        let properties = kafka_properties(options);
        if properties.get("bootstrap.servers").is_none() {
            return Err(wrong(
                "the option 'properties.bootstrap.servers' is required: host:port, or several with commas",
            ));
        }
        for (name, value) in properties.iter().filter(|(n, _)| is_secret_property(n)) {
            if value.contains("${") {
                return Err(wrong(format!(
                    "option 'properties.{name}' holds a variable that was not filled in"
                )));
            }
        }
        let layout = read_layout(table, is_upsert)?;
        Ok(Self {
            access: Access::of_table(table.short_name(), topics, properties),
            layout,
        })
    }
}

/// The options of a format with `prefix` ("key." or "value.") taken off; those of the bare format too.
fn format_options(options: &Options, format: &str, prefix: &str) -> Options {
    let with_prefix = format!("{prefix}{format}.");
    options
        .iter()
        .filter_map(|(k, v)| {
            let rest = k.strip_prefix(&with_prefix)?;
            Some((format!("{format}.{rest}"), v.to_owned()))
        })
        .collect()
}

fn read_layout(table: &TableSpec, is_upsert: bool) -> Result<Layout, ConnectorError> {
    let options = &table.options;
    let value = match (options.get("format"), options.get("value.format")) {
        (Some(_), Some(_)) => return Err(wrong("'format' and 'value.format' exclude each other: set one")),
        (Some(_), None) if is_upsert => {
            return Err(wrong(
                "connector 'upsert-kafka' has no option 'format'; it needs 'key.format' and 'value.format'",
            ));
        }
        (Some(name), None) => FormatChoice {
            name: name.to_owned(),
            options: format_options(options, name, ""),
        },
        (None, Some(name)) => FormatChoice {
            name: name.to_owned(),
            options: format_options(options, name, "value."),
        },
        (None, None) if is_upsert => return Err(wrong("connector 'upsert-kafka' needs the option 'value.format'")),
        (None, None) => return Err(wrong("connector 'kafka' needs the option 'format'")),
    };
    let key = options.get("key.format").map(|name| FormatChoice {
        name: name.to_owned(),
        options: format_options(options, name, "key."),
    });
    let key_prefix = options.get("key.fields-prefix").unwrap_or_default().to_owned();
    let key_names: Vec<String> = if is_upsert {
        table.primary_key.clone()
    } else {
        let list = options.get("key.fields").unwrap_or_default();
        list.split(';')
            .map(|n| n.trim().to_owned())
            .filter(|n| !n.is_empty())
            .collect()
    };
    let has_changes = flott_formats::carries_changes(&value.name);
    if !is_upsert && !has_changes && !table.primary_key.is_empty() {
        return Err(ConnectorError::Schema(format!(
            "table '{}' of connector 'kafka' cannot have a primary key, for its rows are inserts only: drop the key, or use connector 'upsert-kafka'",
            table.short_name()
        )));
    }
    if is_upsert && has_changes {
        return Err(wrong_value(
            "value.format",
            &value.name,
            "a format whose rows are inserts, such as json; changes are read with connector 'kafka'",
        ));
    }
    if let Some(format) = key.as_ref().filter(|k| flott_formats::carries_changes(&k.name)) {
        return Err(wrong_value(
            "key.format",
            &format.name,
            "a format whose rows are inserts, such as json",
        ));
    }
    if is_upsert && key_names.is_empty() {
        return Err(ConnectorError::Schema(format!(
            "table '{}' of connector 'upsert-kafka' needs a primary key: declare PRIMARY KEY (…) NOT ENFORCED",
            table.short_name()
        )));
    }
    match (&key, key_names.is_empty()) {
        (None, false) => return Err(wrong("a key needs the option 'key.format'")),
        (Some(_), true) => {
            return Err(wrong(
                "'key.format' needs the option 'key.fields': columns with ';' between them",
            ));
        }
        _ => {}
    }
    let column = |name: &String| {
        table.columns.iter().find(|c| c.name == *name).cloned().ok_or_else(|| {
            let names = table.columns.iter().map(|c| c.name.as_str());
            wrong(format!(
                "'key.fields' names column '{name}', which the table does not have{}",
                suggest::hint(name, names)
            ))
        })
    };
    let key_columns: Vec<Field> = key_names.iter().map(column).collect::<Result<_, _>>()?;
    if let Some(bare) = key_columns.iter().find(|c| !c.name.starts_with(&key_prefix)) {
        return Err(wrong(format!(
            "key column '{}' does not start with 'key.fields-prefix' '{key_prefix}'",
            bare.name
        )));
    }
    let include = options
        .one_of("value.fields-include", &["ALL", "EXCEPT_KEY"])
        .map_err(wrong)?;
    let value_has_key = include != Some(1);
    if value_has_key && !key_prefix.is_empty() {
        return Err(wrong("'key.fields-prefix' needs 'value.fields-include' = 'EXCEPT_KEY'"));
    }
    let is_key = |c: &&Field| key_columns.iter().any(|k| k.name == c.name);
    let value_columns = table
        .columns
        .iter()
        .filter(|c| value_has_key || !is_key(c))
        .cloned()
        .collect();
    Ok(Layout {
        value,
        value_columns,
        key,
        key_columns,
        key_prefix,
        value_has_key,
    })
}

/// `partition:0,offset:42;partition:1,offset:300`
fn specific_offsets(options: &Options, key: &str) -> Result<BTreeMap<i32, i64>, ConnectorError> {
    let text = options
        .get(key)
        .ok_or_else(|| wrong(format!("the option '{key}' is required by its mode")))?;
    let one = |entry: &str| -> Option<(i32, i64)> {
        let (partition, offset) = entry.split_once(',')?;
        let partition = partition
            .trim()
            .strip_prefix("partition:")?
            .trim()
            .parse()
            .ok()
            .filter(|p| *p >= 0)?;
        let offset = offset
            .trim()
            .strip_prefix("offset:")?
            .trim()
            .parse()
            .ok()
            .filter(|o| *o >= 0)?;
        Some((partition, offset))
    };
    let entries: Option<BTreeMap<i32, i64>> = text
        .split(';')
        .map(str::trim)
        .filter(|e| !e.is_empty())
        .map(one)
        .collect();
    entries.filter(|e| !e.is_empty()).ok_or_else(|| {
        wrong_value(
            key,
            text,
            "entries such as 'partition:0,offset:42;partition:1,offset:300'",
        )
    })
}

fn timestamp(options: &Options, key: &str) -> Result<i64, ConnectorError> {
    let value = options.integer(key).map_err(wrong)?;
    value.ok_or_else(|| {
        wrong(format!(
            "the option '{key}' is required by its mode: milliseconds since 1970"
        ))
    })
}

impl ScanOptions {
    /// Whether reading ends.
    pub fn boundedness(&self) -> Boundedness {
        match self.bounded {
            Bounded::Unbounded => Boundedness::Unbounded,
            _ => Boundedness::Bounded,
        }
    }

    /// Reads the options of a table that is read.
    pub fn read(table: &TableSpec, common: &TableOptions) -> Result<Self, ConnectorError> {
        let options = &table.options;
        let group = common.access.properties.get("group.id").map(str::to_owned);
        let offsets = |key| {
            let of_topic = |topic: &str, by_partition: BTreeMap<i32, i64>| {
                let key = |(partition, offset)| (TopicPartition::new(topic, partition), offset);
                by_partition.into_iter().map(key).collect()
            };
            match &common.access.topics {
                Topics::List(names) if names.len() == 1 => Ok(of_topic(&names[0], specific_offsets(options, key)?)),
                _ => Err(wrong("'specific-offsets' works with a single topic only")),
            }
        };
        let modes = [
            "group-offsets",
            "earliest-offset",
            "latest-offset",
            "timestamp",
            "specific-offsets",
        ];
        let startup = match options.one_of("scan.startup.mode", &modes).map_err(wrong)? {
            Some(1) => Startup::Earliest,
            Some(2) => Startup::Latest,
            Some(3) => Startup::TimestampMs(timestamp(options, "scan.startup.timestamp-millis")?),
            Some(4) => Startup::Specific(offsets("scan.startup.specific-offsets")?),
            // The last value of a key may be anywhere.
            _ if table.connector() == "upsert-kafka" => Startup::Earliest,
            _ => Startup::GroupOffsets,
        };
        let modes = [
            "unbounded",
            "latest-offset",
            "group-offsets",
            "timestamp",
            "specific-offsets",
        ];
        let bounded = match options.one_of("scan.bounded.mode", &modes).map_err(wrong)? {
            Some(1) => Bounded::Latest,
            Some(2) => Bounded::GroupOffsets,
            Some(3) => Bounded::TimestampMs(timestamp(options, "scan.bounded.timestamp-millis")?),
            Some(4) => Bounded::Specific(offsets("scan.bounded.specific-offsets")?),
            _ => Bounded::Unbounded,
        };
        if group.is_none() && (startup == Startup::GroupOffsets || bounded == Bounded::GroupOffsets) {
            return Err(wrong(
                "'group-offsets' (the default of 'scan.startup.mode') needs 'properties.group.id'; set it, or choose another mode such as 'earliest-offset'",
            ));
        }
        let reset = Reset::read(&common.access.properties)
            .map_err(|value| wrong_value("properties.auto.offset.reset", &value, "one of earliest, latest, none"))?;
        let interval = options
            .duration_ms("scan.topic-partition-discovery.interval")
            .map_err(wrong)?;
        let discovery_interval_ms = match (&bounded, interval.unwrap_or(300_000)) {
            (Bounded::Unbounded, ms) if ms > 0 => Some(ms as u64),
            _ => None,
        };
        Ok(Self {
            startup,
            bounded,
            discovery_interval_ms,
            commit_offsets: common
                .access
                .properties
                .bool_or("commit.offsets.on.checkpoint", true)
                .map_err(wrong)?
                && group.is_some(),
            group,
            reset,
            bad_rows: BadRows::read(options)?,
        })
    }
}

impl SinkOptions {
    /// Reads the options of a table that is written.
    pub fn read(table: &TableSpec, common: &TableOptions) -> Result<Self, ConnectorError> {
        let options = &table.options;
        let has_key = common.layout.key.is_some();
        let partitioner = match options.get("sink.partitioner").map(str::trim) {
            None => Partitioner::Default,
            Some(name) => match options.one_of("sink.partitioner", &["default", "fixed", "round-robin"]) {
                Ok(Some(1)) => Partitioner::Fixed,
                Ok(Some(2)) if has_key => {
                    return Err(wrong(
                        "'sink.partitioner' = 'round-robin' works without 'key.fields' only",
                    ));
                }
                Ok(Some(2)) => Partitioner::RoundRobin,
                Ok(_) => Partitioner::Default,
                Err(_) if name.contains('.') => {
                    return Err(wrong(format!(
                        "'sink.partitioner' = '{name}' names a Java class, which does not run here: use default, fixed or round-robin"
                    )));
                }
                Err(e) => return Err(wrong(e)),
            },
        };
        let guarantees = ["none", "at-least-once", "exactly-once"];
        let guarantee = match options.one_of("sink.delivery-guarantee", &guarantees).map_err(wrong)? {
            Some(0) => Guarantee::None,
            Some(2) => Guarantee::ExactlyOnce,
            _ => Guarantee::AtLeastOnce,
        };
        let prefix = options
            .get("sink.transactional-id-prefix")
            .unwrap_or_default()
            .to_owned();
        if guarantee == Guarantee::ExactlyOnce && prefix.is_empty() {
            return Err(wrong(
                "'sink.delivery-guarantee' = 'exactly-once' needs 'sink.transactional-id-prefix': a name that no other sink uses on this Kafka cluster",
            ));
        }
        let strategies = ["incrementing", "pooling", "DEFAULT"];
        options
            .one_of("sink.transaction-naming-strategy", &strategies)
            .map_err(wrong)?;
        let lost = options
            .one_of("sink.lost-transactions", &["fail", "ignore"])
            .map_err(wrong)?;
        let rows = options
            .integer("sink.buffer-flush.max-rows")
            .map_err(wrong)?
            .unwrap_or(0);
        let interval_ms = options
            .duration_ms("sink.buffer-flush.interval")
            .map_err(wrong)?
            .unwrap_or(0);
        let buffer = match (rows > 0, interval_ms > 0) {
            (true, true) => Some((rows as usize, interval_ms)),
            (false, false) => None,
            _ => {
                return Err(wrong(
                    "'sink.buffer-flush.max-rows' and 'sink.buffer-flush.interval' must both be above zero, or both be left out",
                ));
            }
        };
        if buffer.is_some() && table.connector() != "upsert-kafka" {
            return Err(wrong("'sink.buffer-flush.*' are options of connector 'upsert-kafka'"));
        }
        if let (Topics::Pattern(_), _) = (&common.access.topics, ()) {
            return Err(wrong("a table that is written needs 'topic', not 'topic-pattern'"));
        }
        Ok(Self {
            partitioner,
            guarantee,
            transactional_id_prefix: prefix,
            ignore_lost_transactions: lost == Some(1),
            buffer,
        })
    }
}
