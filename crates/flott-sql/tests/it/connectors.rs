//! Connectors with the names and options of the real ones, as far as planning asks them.

use flott_core::{Options, TypeKind, suggest};
use flott_runtime::Registry;
use flott_runtime::connector::{
    Boundedness, ChangelogMode, ConnectorError, MetadataKey, ScanSpec, Sink, SinkSpec, Source, TableConnector,
    TableInfo, TableSpec,
};
use flott_sql::{Outcome, Script, Session, SqlResult};
use std::sync::Arc;

struct Fake {
    identifier: &'static str,
    required: &'static [&'static str],
    known: &'static [&'static str],
    sink: ChangelogMode,
    readable: bool,
}

const FORMATS: &[&str] = &["debezium-json", "csv", "json", "raw"];
const COMMON: &[&str] = &["connector", "scan.parallelism", "sink.parallelism", "property-version"];

const CONNECTORS: &[Fake] = &[
    Fake {
        identifier: "kafka",
        required: &["topic", "properties.bootstrap.servers", "format"],
        known: &[
            "scan.startup.mode",
            "scan.bounded.mode",
            "scan.watermark.idle-timeout",
            "scan.watermark.emit.strategy",
            "scan.watermark.alignment.group",
            "scan.watermark.alignment.max-drift",
            "scan.watermark.alignment.update-interval",
            "sink.delivery-guarantee",
            "sink.transactional-id-prefix",
            "bad-rows",
        ],
        sink: ChangelogMode::Append,
        readable: true,
    },
    Fake {
        identifier: "upsert-kafka",
        required: &["topic", "properties.bootstrap.servers", "key.format", "value.format"],
        known: &["sink.delivery-guarantee"],
        sink: ChangelogMode::Upsert,
        readable: true,
    },
    Fake {
        identifier: "filesystem",
        required: &["path", "format"],
        known: &[
            "source.monitor-interval",
            "sink.rolling-policy.file-size",
            "scan.watermark.emit.strategy",
        ],
        sink: ChangelogMode::Append,
        readable: true,
    },
    Fake {
        identifier: "datagen",
        required: &[],
        known: &["rows-per-second", "number-of-rows"],
        sink: ChangelogMode::Append,
        readable: true,
    },
    Fake {
        identifier: "print",
        required: &[],
        known: &["print-identifier", "standard-error"],
        sink: ChangelogMode::Retract,
        readable: false,
    },
    Fake {
        identifier: "blackhole",
        required: &[],
        known: &[],
        sink: ChangelogMode::Upsert,
        readable: false,
    },
];

impl Fake {
    fn check(&self, table: &TableSpec) -> Result<(), ConnectorError> {
        for key in self.required {
            if table.options.get(key).is_none() {
                return Err(ConnectorError::Option(format!("the option '{key}' is missing")));
            }
        }
        let known: Vec<&str> = self.required.iter().chain(self.known).chain(COMMON).copied().collect();
        for (key, value) in table.options.iter() {
            let is_format = ["format", "key.format", "value.format"].contains(&key);
            if is_format && !FORMATS.contains(&value) {
                let hint = suggest::hint(value, FORMATS.iter().copied());
                return Err(ConnectorError::Option(format!(
                    "option '{key}': unknown format '{value}'{hint}"
                )));
            }
            let of_family = ["properties.", "csv.", "json.", "raw.", "debezium-json.", "fields."]
                .iter()
                .any(|p| key.starts_with(p));
            if !known.contains(&key) && !of_family {
                let hint = suggest::hint(key, known.iter().copied());
                return Err(ConnectorError::Option(format!("unknown option '{key}'{hint}")));
            }
        }
        Ok(())
    }

    fn info(&self, table: &TableSpec, changelog: ChangelogMode) -> TableInfo {
        let is_kafka = self.identifier == "kafka";
        let bounded = !is_kafka && self.identifier != "datagen" || table.options.get("scan.bounded.mode").is_some();
        let key = |key: &str, kind: TypeKind, writable: bool| MetadataKey {
            key: key.into(),
            ty: flott_core::LogicalType::not_null(kind),
            writable,
        };
        TableInfo {
            changelog,
            boundedness: match bounded {
                true => Boundedness::Bounded,
                false => Boundedness::Unbounded,
            },
            metadata: match is_kafka {
                true => vec![
                    key("topic", TypeKind::Varchar(flott_core::types::MAX_LENGTH), true),
                    key("partition", TypeKind::Int, false),
                    key("offset", TypeKind::BigInt, false),
                    key("timestamp", TypeKind::TimestampLtz(3), true),
                ],
                false => vec![],
            },
            splits_may_idle: is_kafka,
            warnings: vec![],
        }
    }
}

struct Connector(&'static Fake);

impl TableConnector for Connector {
    fn identifier(&self) -> &'static str {
        self.0.identifier
    }

    fn check_source(&self, table: &TableSpec) -> Result<TableInfo, ConnectorError> {
        if !self.0.readable {
            return Err(ConnectorError::Option(format!(
                "the connector '{}' can only be written to",
                self.0.identifier
            )));
        }
        self.0.check(table)?;
        let changelog = match self.0.sink {
            ChangelogMode::Upsert => ChangelogMode::Upsert,
            _ if table.options.get("format") == Some("debezium-json") => ChangelogMode::Retract,
            _ => ChangelogMode::Append,
        };
        Ok(self.0.info(table, changelog))
    }

    fn check_sink(&self, table: &TableSpec, _job: &Options) -> Result<TableInfo, ConnectorError> {
        self.0.check(table)?;
        if self.0.identifier == "upsert-kafka" && table.primary_key.is_empty() {
            return Err(ConnectorError::Schema(
                "'upsert-kafka' needs a PRIMARY KEY: declare PRIMARY KEY (…) NOT ENFORCED".into(),
            ));
        }
        Ok(self.0.info(table, self.0.sink))
    }

    fn source(&self, _scan: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
        Err(ConnectorError::Option("nothing runs here".into()))
    }

    fn sink(&self, _sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        Err(ConnectorError::Option("nothing runs here".into()))
    }
}

/// A session with these connectors, in UTC.
pub fn session() -> Session {
    session_with(&[])
}

/// The same with options.
pub fn session_with(options: &[(&str, &str)]) -> Session {
    let mut registry = Registry::new();
    for fake in CONNECTORS {
        registry.connector(Connector(fake));
    }
    let options = [("table.local-time-zone", "UTC")]
        .iter()
        .chain(options)
        .copied()
        .collect();
    Session::new(Arc::new(registry), options)
}

/// Values for the variables of scripts.
pub fn variable(name: &str) -> Option<String> {
    (name != "UNSET").then(|| format!("<{name}>"))
}

/// Executes a script in a new session.
pub fn run(text: &str) -> SqlResult<Vec<Outcome>> {
    session().execute_all(&Script::parse(text, &variable)?)
}

/// The jobs of a script.
pub fn jobs(text: &str) -> Vec<flott_sql::Job> {
    let outcomes = run(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    outcomes
        .into_iter()
        .filter_map(|o| match o {
            Outcome::Job(job) => Some(*job),
            _ => None,
        })
        .collect()
}
