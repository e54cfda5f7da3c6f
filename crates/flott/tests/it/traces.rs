//! Spans of a job's checkpoints and recoveries, as a collector of OpenTelemetry gets them.

use flott::prelude::*;
use flott_core::Options;
use flott_launch::traces::otlp::{ExportTraceServiceRequest, KeyValue, Span, Value};
use prost::Message;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Only guards against hanging.
const DEADLINE: Duration = Duration::from_secs(120);

type Seen = Arc<Mutex<Vec<BTreeMap<String, String>>>>;

/// A collector that remembers the attributes of spans, with those of their process and the span's `name`, `trace`, `id` and `parent`.
struct Collector {
    endpoint: String,
    spans: Seen,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let spans = Seen::default();
        let seen = spans.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                take(stream.unwrap(), &seen);
            }
        });
        Self { endpoint, spans }
    }

    /// Waits for so many spans with these attributes, and gives them.
    fn wait(&self, count: usize, attributes: &[(&str, &str)]) -> Vec<BTreeMap<String, String>> {
        let since = Instant::now();
        loop {
            let has = |span: &BTreeMap<String, String>| {
                attributes
                    .iter()
                    .all(|(key, value)| span.get(*key).is_some_and(|known| known == value))
            };
            let found: Vec<_> = self
                .spans
                .lock()
                .unwrap()
                .iter()
                .filter(|span| has(span))
                .cloned()
                .collect();
            if found.len() >= count {
                return found;
            }
            assert!(
                since.elapsed() < DEADLINE,
                "no {count} spans with {attributes:?} among {:?}",
                self.spans.lock().unwrap()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Reads one request and answers it.
fn take(stream: TcpStream, seen: &Seen) {
    let mut reader = BufReader::new(stream);
    let mut header = String::new();
    while !header.ends_with("\r\n\r\n") {
        reader.read_line(&mut header).unwrap();
    }
    let header = header.to_lowercase();
    assert!(header.starts_with("post /v1/traces http/1.1"), "{header}");
    assert!(header.contains("content-type: application/x-protobuf"), "{header}");
    let length = header
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    for process in request.resource_spans {
        let of_process = process.resource.unwrap().attributes;
        for span in process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            seen.lock().unwrap().push(flat(span, &of_process));
        }
    }
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    reader.into_inner().write_all(answer).unwrap();
}

fn flat(span: Span, of_process: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.clone().unwrap().value.unwrap() {
        Value::Text(text) => text,
        Value::Integer(number) => number.to_string(),
    };
    let attributes = span.attributes.iter().chain(of_process);
    let mut flat: BTreeMap<String, String> = attributes.map(|a| (a.key.clone(), text(a))).collect();
    flat.insert("name".into(), span.name);
    flat.insert("trace".into(), format!("{:?}", span.trace_id));
    flat.insert("id".into(), format!("{:?}", span.span_id));
    flat.insert("parent".into(), format!("{:?}", span.parent_span_id));
    assert!(span.start_time_unix_nano <= span.end_time_unix_nano && span.start_time_unix_nano > 0);
    flat
}

fn environment(endpoint: &str) -> StreamExecutionEnvironment {
    let options = [
        ("traces.reporters", "otel"),
        (
            "traces.reporter.otel.factory.class",
            "org.apache.flink.traces.otel.OpenTelemetryTraceReporterFactory",
        ),
        ("traces.reporter.otel.exporter.protocol", "HTTP"),
        ("traces.reporter.otel.exporter.endpoint", endpoint),
        ("traces.reporter.otel.service.name", "sums"),
        ("traces.reporter.otel.scope.variables.additional", "cluster:blue"),
        ("traces.checkpoint.span-detail-level", "CHILDREN_SPANS_PER_SUBTASK"),
        ("execution.checkpointing.interval", "20 ms"),
        ("execution.checkpointing.tolerable-failed-checkpoints", "1000000"),
        ("restart-strategy.type", "fixed-delay"),
        ("restart-strategy.fixed-delay.delay", "1 ms"),
    ];
    let options: Options = options.into_iter().collect();
    let env = StreamExecutionEnvironment::create_local_environment(options);
    env.set_parallelism(2);
    env
}

/// What a test does to a job.
#[derive(Clone, Default)]
struct Levers {
    /// Its records stand still, and barriers behind them.
    holds: Arc<AtomicBool>,
    /// It fails, once.
    fails: Arc<AtomicBool>,
}

/// Sums endless numbers.
fn endless(env: &StreamExecutionEnvironment, levers: &Levers) -> Arc<Mutex<i64>> {
    let seen = Arc::new(Mutex::new(0));
    let (levers, last) = (levers.clone(), seen.clone());
    env.from_sequence(1, i64::MAX)
        .map(move |_| {
            while levers.holds.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(!levers.fails.swap(false, Ordering::SeqCst), "the lever");
            1i64
        })
        .key_by(|_| 0i64)
        .reduce(|a, b| a + b)
        .for_each(move |sum| *last.lock().unwrap() = sum);
    seen
}

#[test]
fn a_collector_gets_spans_of_checkpoints_and_recoveries() {
    let (collector, levers) = (Collector::start(), Levers::default());
    let env = environment(&collector.endpoint);
    env.configure("execution.checkpointing.timeout", "2 s");
    endless(&env, &levers);
    let job = env.execute_async("sums").unwrap();

    let first = collector.wait(1, &[("name", "JobInitialization")]).remove(0);
    let job_id = job.get_job_id();
    let of_all = [
        ("initializationStatus", "COMPLETED"),
        ("job_id", job_id.as_ref()),
        ("job_name", "sums"),
        ("service.name", "sums"),
        ("cluster", "blue"),
        ("host", "localhost"),
    ];
    for (key, value) in of_all {
        assert_eq!(first.get(key).map(String::as_str), Some(value), "{key} of {first:?}");
    }
    assert!(
        first.contains_key("maxMailboxStartDurationMs") && !first.contains_key("checkpointId"),
        "{first:?}"
    );

    let completed = [("name", "Checkpoint"), ("checkpointStatus", "COMPLETED")];
    let checkpoints = collector.wait(3, &completed);
    for span in &checkpoints {
        let checks = [("checkpointType", "Checkpoint"), ("isUnaligned", "false")];
        checks
            .iter()
            .for_each(|(key, value)| assert_eq!(span[*key], *value, "{span:?}"));
        assert!(span["fullSize"].parse::<u64>().unwrap() > 0);
        let id = &span["checkpointId"];
        let tasks = collector.wait(2, &[("name", "Checkpoint_Task"), ("checkpointId", id)]);
        assert!(
            tasks
                .iter()
                .all(|task| task["parent"] == span["id"] && task["trace"] == span["trace"])
        );
        let subtasks = collector.wait(4, &[("name", "Checkpoint_Subtask"), ("checkpointId", id)]);
        assert!(subtasks.iter().all(|subtask| {
            tasks
                .iter()
                .any(|task| subtask["parent"] == task["id"] && subtask["jobVertexId"] == task["jobVertexId"])
        }));
    }

    levers.holds.store(true, Ordering::SeqCst);
    collector.wait(1, &[("name", "Checkpoint"), ("checkpointStatus", "FAILED")]);
    levers.holds.store(false, Ordering::SeqCst);

    levers.fails.store(true, Ordering::SeqCst);
    let started = [("name", "JobInitialization"), ("initializationStatus", "COMPLETED")];
    let second = collector.wait(2, &started).remove(1);
    let (id, bytes) = (&second["checkpointId"], &second["fullSize"]);
    let from = collector
        .wait(1, &[completed[0], completed[1], ("checkpointId", id)])
        .remove(0);
    assert_eq!(bytes, &from["fullSize"]);
    job.cancel().unwrap();
}

#[test]
fn a_collector_that_is_down_or_hangs_disturbs_no_job() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [hanging.local_addr().unwrap(), down] {
        let env = environment(&format!("http://{address}"));
        let sums = env.from_sequence(1, 1_000).key_by(|_| 0i64).reduce(|a, b| a + b);
        let sums = sums.execute_and_collect("bounded").unwrap();
        assert_eq!(sums.into_iter().max(), Some(500_500));
    }
}

#[test]
fn a_wrong_reporter_is_refused_at_the_start() {
    let env = environment("collector:4318");
    endless(&env, &Levers::default());
    let error = env.execute_async("sums").unwrap_err().to_string();
    let parts = [
        "traces.reporter.otel.exporter.endpoint",
        "'collector:4318'",
        "http://localhost:4318/v1/traces",
    ];
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
}
