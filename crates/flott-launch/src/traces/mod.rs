//! Traces outside: spans of jobs' checkpoints and recoveries, to collectors of OpenTelemetry or to the log.
//!
//! Options are Flink's: below `traces.reporter.<name>.` stand `factory.class` (OpenTelemetry's, or Slf4j's, which logs), `exporter.endpoint`,
//! `exporter.protocol` (`HTTP`: protobuf by POST; `gRPC`, Flink's default, is refused), `exporter.timeout`, `service.name`, `service.version`
//! and `scope.variables.additional`. `traces.reporters` picks some of the names.
//!
//! ```text
//! job masters ─report─► queue (bounded; what does not fit is dropped) ─► a thread per destination ─POST─► collector
//! ```
//! Jobs with the same settings share a destination. Nothing that happens behind the queue reaches a job: an exporter tries little, says once
//! per outage that it gives up, and drops. [`flush`] waits for it, shortly, where a process ends.

mod exporter;
mod http;
pub mod otlp;

use crate::error::LaunchError;
use exporter::Exporter;
use flott_cluster::traces::{AttributeValue, SharedTraceReporter, Span, SpanDetailLevel, TraceReporter};
use flott_core::Options;
use flott_core::options::{OptionError, parse_duration_ms};
use http::Endpoint;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const PREFIX: &str = "traces.reporter.";
const OTEL: &str = "org.apache.flink.traces.otel.OpenTelemetryTraceReporterFactory";
const SLF4J: &str = "org.apache.flink.traces.slf4j.Slf4jTraceReporterFactory";

/// As OpenTelemetry's exporters have it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a process that ends waits for its last spans.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Keys below a reporter's name that mean something here.
const KEYS: [&str; 7] = [
    "factory.class",
    "exporter.endpoint",
    "exporter.protocol",
    "exporter.timeout",
    "service.name",
    "service.version",
    "scope.variables.additional",
];

/// Destinations of this process that have been used.
static EXPORTERS: Mutex<BTreeMap<Destination, Arc<Exporter>>> = Mutex::new(BTreeMap::new());

/// Where an exporter sends spans, and what it says of this process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Destination {
    endpoint: Endpoint,
    timeout: Duration,
    /// Attributes of the process: the service's name and version.
    resource: BTreeMap<String, String>,
    /// Attributes of every span: the host, and additional ones.
    variables: BTreeMap<String, String>,
}

/// What one reporter does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Configured {
    Export(Destination),
    Log(BTreeMap<String, String>),
}

/// The reporter of a process's or a job's options; `None` if they name none. It may be asked for again and again.
///
/// # Errors
/// If an option is wrong, or the system gives no thread.
pub fn reporter(options: &Options) -> Result<Option<SharedTraceReporter>, LaunchError> {
    let mut reporters: Vec<SharedTraceReporter> = vec![];
    for configured in configured(options)? {
        reporters.push(match configured {
            Configured::Log(variables) => Arc::new(Log(variables)),
            Configured::Export(destination) => exporter(destination)?,
        });
    }
    Ok(match reporters.len() {
        0 | 1 => reporters.pop(),
        _ => Some(Arc::new(Several(reporters))),
    })
}

fn exporter(destination: Destination) -> Result<Arc<Exporter>, LaunchError> {
    let mut exporters = EXPORTERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(exporter) = exporters.get(&destination) {
        return Ok(exporter.clone());
    }
    let exporter = Exporter::start(destination.clone()).map_err(LaunchError::Traces)?;
    exporters.insert(destination, exporter.clone());
    Ok(exporter)
}

/// Judges the options.
///
/// # Errors
/// If one has a value that it cannot have.
pub fn check(options: &Options) -> Result<(), LaunchError> {
    SpanDetailLevel::from_options(options)?;
    Ok(configured(options).map(|_| ())?)
}

/// Waits until all spans that were reported before are sent or given up, two seconds at most, and not again for the same ones.
pub fn flush() {
    let until = Instant::now() + LAST_SPANS;
    // Jobs that start meanwhile look for theirs.
    let exporters: Vec<Arc<Exporter>> = {
        let all = EXPORTERS.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().cloned().collect()
    };
    exporters.iter().for_each(|exporter| exporter.flush(until));
}

/// Logs spans.
#[derive(Debug)]
struct Log(BTreeMap<String, String>);

impl TraceReporter for Log {
    fn report(&self, span: Span) {
        let mut attributes = serde_json::Map::new();
        for (key, value) in &span.attributes {
            attributes.insert(
                key.clone(),
                match value {
                    AttributeValue::Text(text) => text.as_str().into(),
                    AttributeValue::Integer(number) => (*number).into(),
                },
            );
        }
        attributes.extend(self.0.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
        let attributes = serde_json::Value::Object(attributes);
        let (scope, name, start_ms, end_ms) = (span.scope, span.name, span.start_ms, span.end_ms);
        tracing::info!(scope, name, start_ms, end_ms, %attributes, "Reported span: {name}");
        span.children.into_iter().for_each(|child| self.report(child));
    }
}

/// Reporters of one job.
#[derive(Debug)]
struct Several(Vec<SharedTraceReporter>);

impl TraceReporter for Several {
    fn report(&self, span: Span) {
        self.0.iter().for_each(|reporter| reporter.report(span.clone()));
    }
}

/// All reporters that the options name.
fn configured(options: &Options) -> Result<Vec<Configured>, OptionError> {
    let settings = options.with_prefix(PREFIX);
    let named = settings.keys().filter_map(|key| key.split_once('.'));
    let mut names: BTreeSet<&str> = named.map(|(name, _)| name).collect();
    if let Some(chosen) = options.get("traces.reporters") {
        let chosen = chosen.split([',', ';']).map(str::trim);
        names = chosen.filter(|name| !name.is_empty()).collect();
    }
    names
        .into_iter()
        .map(|name| Named { name, options }.configured())
        .collect()
}

/// One reporter's options.
struct Named<'a> {
    name: &'a str,
    options: &'a Options,
}

impl Named<'_> {
    fn key(&self, of: &str) -> String {
        format!("{PREFIX}{}.{of}", self.name)
    }

    fn get(&self, of: &str) -> Option<&str> {
        let value = self.options.get(&self.key(of))?.trim();
        (!value.is_empty()).then_some(value)
    }

    fn wrong(&self, of: &str, needs: impl Into<String>) -> OptionError {
        OptionError::new(&self.key(of), self.get(of).unwrap_or_default(), needs)
    }

    fn configured(&self) -> Result<Configured, OptionError> {
        self.warn_of_unknown();
        match self.get("factory.class") {
            Some(OTEL) => Ok(Configured::Export(self.destination()?)),
            Some(SLF4J) => Ok(Configured::Log(self.variables()?)),
            _ => Err(self.wrong(
                "factory.class",
                format!("{OTEL}, which sends spans to a collector, or {SLF4J}, which logs them"),
            )),
        }
    }

    fn warn_of_unknown(&self) {
        let known = self.options.with_prefix(&self.key(""));
        for key in known.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            tracing::warn!(
                "option '{}' has no effect: trace reporters here know {}",
                self.key(key),
                KEYS.join(", ")
            );
        }
    }

    fn destination(&self) -> Result<Destination, OptionError> {
        // Flink's default is what is not here, so that nobody's spans go to a port that does not understand them.
        let protocol = self.get("exporter.protocol").unwrap_or("gRPC");
        if !protocol.eq_ignore_ascii_case("HTTP") {
            return Err(self.wrong(
                "exporter.protocol",
                "HTTP (Flink's default, gRPC, is not there): set it, and give exporter.endpoint the collector's port for HTTP, which is 4318 where \
                 that for gRPC is 4317",
            ));
        }
        let needs = "the URL of a collector, as http://localhost:4318/v1/traces";
        let endpoint = self
            .get("exporter.endpoint")
            .ok_or_else(|| self.wrong("exporter.endpoint", needs))?;
        let endpoint =
            Endpoint::parse(endpoint).map_err(|why| self.wrong("exporter.endpoint", format!("{needs}: {why}")))?;
        Ok(Destination {
            endpoint,
            timeout: self.timeout()?,
            resource: self.resource(),
            variables: self.variables()?,
        })
    }

    fn timeout(&self) -> Result<Duration, OptionError> {
        let of = "exporter.timeout";
        let Some(text) = self.get(of) else {
            return Ok(DEFAULT_TIMEOUT);
        };
        let ms = parse_duration_ms(text).and_then(|ms| u64::try_from(ms).ok());
        let ms = ms
            .filter(|ms| *ms > 0)
            .ok_or_else(|| self.wrong(of, "a duration above 0, as 10 s"))?;
        Ok(Duration::from_millis(ms))
    }

    fn resource(&self) -> BTreeMap<String, String> {
        let mut resource = BTreeMap::from([("service.name".to_owned(), "flott".to_owned())]);
        for key in ["service.name", "service.version"] {
            if let Some(value) = self.get(key) {
                resource.insert(key.to_owned(), value.to_owned());
            }
        }
        resource
    }

    /// The JobManager's host, and what is to be added to every span: `key:value,key:value`.
    fn variables(&self) -> Result<BTreeMap<String, String>, OptionError> {
        let of = "scope.variables.additional";
        let host = self.options.get("jobmanager.rpc.address").unwrap_or("localhost");
        let mut variables = BTreeMap::from([("host".to_owned(), host.to_owned())]);
        let pairs = self.get(of).unwrap_or_default().split(',').map(str::trim);
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (key, value) = pair
                .split_once(':')
                .filter(|(key, _)| !key.trim().is_empty())
                .ok_or_else(|| self.wrong(of, "pairs, as cluster:blue,region:eu"))?;
            variables.insert(key.trim().to_owned(), value.trim().to_owned());
        }
        Ok(variables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pairs: &[(&str, &str)]) -> Result<Vec<Configured>, String> {
        let options: Options = pairs.iter().copied().collect();
        configured(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn reporters_are_those_that_are_named_or_all() {
        let otel = [
            ("traces.reporter.otel.factory.class", OTEL),
            ("traces.reporter.otel.exporter.protocol", "http"),
            ("traces.reporter.otel.exporter.endpoint", "http://collector:4318"),
            ("traces.reporter.otel.exporter.timeout", "3 s"),
            ("traces.reporter.otel.service.version", "7"),
            (
                "traces.reporter.otel.scope.variables.additional",
                "cluster:blue, region:eu",
            ),
            ("jobmanager.rpc.address", "manager"),
        ];
        let text = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let exported = Configured::Export(Destination {
            endpoint: Endpoint::parse("http://collector:4318/v1/traces").unwrap(),
            timeout: Duration::from_secs(3),
            resource: BTreeMap::from([text("service.name", "flott"), text("service.version", "7")]),
            variables: BTreeMap::from([text("host", "manager"), text("cluster", "blue"), text("region", "eu")]),
        });
        assert_eq!(all(&[]), Ok(vec![]));
        assert_eq!(all(&otel), Ok(vec![exported.clone()]));
        let log = ("traces.reporter.log.factory.class", SLF4J);
        let both = [&otel[..], &[log]].concat();
        let logged = Configured::Log(BTreeMap::from([text("host", "manager")]));
        assert_eq!(all(&both), Ok(vec![logged.clone(), exported]));
        let one = [&both[..], &[("traces.reporters", "log")]].concat();
        assert_eq!(all(&one), Ok(vec![logged]));
    }

    #[test]
    fn wrong_options_are_named_with_their_remedy() {
        let otel = |pairs: &[(&str, &str)]| {
            let mut all_pairs = BTreeMap::from([
                ("factory.class", OTEL),
                ("exporter.protocol", "HTTP"),
                ("exporter.endpoint", "http://localhost:4318"),
            ]);
            all_pairs.extend(pairs.iter().copied());
            let named = all_pairs
                .into_iter()
                .map(|(key, value)| (format!("traces.reporter.otel.{key}"), value.to_owned()));
            let options: Options = named.collect();
            check(&options).unwrap_err().to_string()
        };
        for (key, value, remedy) in [
            ("factory.class", "org.example.Traces", OTEL),
            ("factory.class", "", SLF4J),
            ("exporter.protocol", "gRPC", "4318"),
            ("exporter.protocol", "", "HTTP"),
            ("exporter.protocol", "UDP", "HTTP"),
            ("exporter.endpoint", "", "http://localhost:4318/v1/traces"),
            ("exporter.endpoint", "localhost:4318", "http://localhost:4318/v1/traces"),
            ("exporter.endpoint", "https://localhost:4318", "TLS"),
            ("exporter.timeout", "soon", "10 s"),
            ("exporter.timeout", "0", "10 s"),
            ("scope.variables.additional", "blue", "cluster:blue"),
        ] {
            let error = otel(&[(key, value)]);
            let parts = [
                format!("traces.reporter.otel.{key}"),
                format!("'{value}'"),
                remedy.to_owned(),
            ];
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
        let error = all(&[("traces.reporters", "otel")]).unwrap_err();
        assert!(error.contains("traces.reporter.otel.factory.class"), "{error}");
        let options: Options = [(SpanDetailLevel::KEY, "ALL")].into_iter().collect();
        let error = check(&options).unwrap_err().to_string();
        assert!(
            error.contains(SpanDetailLevel::KEY) && error.contains("CHILDREN_SPANS_PER_TASK"),
            "{error}"
        );
    }
}
