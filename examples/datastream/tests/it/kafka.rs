//! The samples on Kafka as processes that are killed, against the embedded broker.

use crate::killed::DEADLINE;
use flott::prelude::*;
use flott_broker::{Broker, PlainRecord};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Instant;

/// A broker, and a folder for checkpoints and output.
struct Kafka {
    broker: Broker,
    _runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

impl Kafka {
    fn with(topics: &[&str]) -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let broker = runtime
            .block_on(Broker::builder().auto_create_topics(false).start())
            .unwrap();
        for topic in topics {
            broker.create_topic(topic, 1).unwrap();
        }
        Self {
            broker,
            _runtime: runtime,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn append(&self, topic: &str, records: &[(i64, &str)]) {
        let records: Vec<PlainRecord<'_>> = records
            .iter()
            .map(|(timestamp_ms, value)| PlainRecord {
                timestamp_ms: *timestamp_ms,
                key: None,
                value: Some(value.as_bytes()),
            })
            .collect();
        self.broker.append_records(topic, 0, &records).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a sample, whose output goes to the file `out`.
    fn start(&self, name: &str, out: &str, failpoints: &str) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flott-examples"));
        command.args([name, "--bootstrap", &self.broker.bootstrap(), "--checkpoints"]);
        command.arg(self.path("checkpoints"));
        for define in [
            "execution.checkpointing.interval=20 ms",
            "pipeline.auto-watermark-interval=0",
        ] {
            command.args(["-D", define]);
        }
        command.env("FLOTT_FAILPOINTS", failpoints);
        let (out, err) = (
            File::create(self.path(out)).unwrap(),
            File::create(self.path("err")).unwrap(),
        );
        command.stdout(out).stderr(err).spawn().unwrap()
    }

    fn wait(&self, process: &mut Child, what: &str, done: impl Fn() -> bool) {
        let since = Instant::now();
        while !done() {
            if let Some(status) = process.try_wait().unwrap() {
                panic!("it has ended: {status}: {}", self.read("err"));
            }
            assert!(since.elapsed() < DEADLINE, "{what} does not come: {}", self.read("err"));
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap_or_default()
    }

    /// How far consumers of committed records can read.
    fn stable(&self, topic: &str) -> i64 {
        self.broker.last_stable_offsets(topic).unwrap().iter().sum()
    }

    /// The committed values of a topic, sorted.
    fn committed(&self, topic: &str) -> Vec<String> {
        let source = KafkaSource::builder()
            .bootstrap_servers(self.broker.bootstrap())
            .topics([topic])
            .bounded(OffsetsInitializer::latest())
            .property("isolation.level", "read_committed")
            .value_only(SimpleStringSchema)
            .build()
            .unwrap();
        let env = StreamExecutionEnvironment::get_execution_environment();
        let values = env.from_source(source, WatermarkStrategy::no_watermarks(), "read");
        let mut values = values.execute_and_collect("read").unwrap();
        values.sort();
        values
    }
}

fn kill(mut process: Child) {
    process.kill().unwrap();
    assert_eq!(process.wait().unwrap().code(), None, "it was killed");
}

/// Killed when its checkpoint exists and nothing is committed; the next process commits, and writes nothing twice.
#[test]
fn messages_are_produced_once() {
    let kafka = Kafka::with(&["my-topic"]);
    let killed = kafka
        .start("kafka-produce", "out", "checkpoint-complete=kill@0")
        .wait()
        .unwrap();
    assert_eq!(killed.code(), None, "{killed}: {}", kafka.read("err"));
    assert_eq!(kafka.committed("my-topic"), Vec::<String>::new());
    let ended = kafka.start("kafka-produce", "out", "").wait().unwrap();
    assert!(ended.success(), "{}", kafka.read("err"));
    let expected: Vec<String> = (0..10).map(|i| format!("message-{i}")).collect();
    assert_eq!(kafka.committed("my-topic"), expected);
}

/// Printed rows come again from the last checkpoint on, but never others: counts go on where they were.
#[test]
fn words_are_counted_on() {
    let messages: Vec<String> = (0..10).map(|i| format!("message-{i}")).collect();
    let messages: Vec<(i64, &str)> = messages.iter().map(|m| (0, m.as_str())).collect();
    let kafka = Kafka::with(&["my-topic"]);
    kafka.append("my-topic", &messages[..6]);
    let mut first = kafka.start("kafka-word-count", "first", "");
    kafka.wait(&mut first, "the sixth count", || {
        kafka.read("first").contains("(5,1)\n")
    });
    kill(first);
    kafka.append("my-topic", &messages[6..]);
    let mut second = kafka.start("kafka-word-count", "second", "");
    kafka.wait(&mut second, "the last count", || {
        kafka.read("second").contains("(9,1)\n")
    });
    kill(second);

    let golden: Vec<&str> = include_str!("../../golden/word-count.out.txt").lines().collect();
    assert_eq!(kafka.read("first").lines().collect::<Vec<_>>(), golden[..12]);
    let second = kafka.read("second");
    let again = second.lines().count() - 8;
    assert_eq!(second.lines().collect::<Vec<_>>(), golden[12 - again..]);
}

/// Killed in the middle of a minute, and again with a transaction open.
#[test]
fn visits_are_summed_once() {
    let input = include_str!("../../golden/website-traffic.in.txt");
    let records: Vec<(i64, &str)> = input
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(time_ms, line)| (time_ms.parse().unwrap(), line))
        .collect();
    let kafka = Kafka::with(&["website-logs", "website-traffic-stats"]);
    kafka.append("website-logs", &records[..4]);
    let mut first = kafka.start("kafka-website-traffic", "first", "");
    kafka.wait(&mut first, "the bad line", || kafka.read("err").contains("x,y"));
    kill(first);
    kafka.append("website-logs", &records[4..8]);
    let mut second = kafka.start("kafka-website-traffic", "second", "");
    kafka.wait(&mut second, "the first minute", || {
        kafka.stable("website-traffic-stats") > 0
    });
    kafka.append("website-logs", &records[8..]);
    kill(second);
    // Another visit, much later, ends all minutes before it.
    kafka.append("website-logs", &[(1_767_226_000_000, "end.com,u1,1")]);
    let mut third = kafka.start("kafka-website-traffic", "third", "");
    let mut golden: Vec<&str> = include_str!("../../golden/website-traffic.out.txt").lines().collect();
    golden.retain(|row| !row.starts_with("bad line"));
    golden.sort_unstable();
    kafka.wait(&mut third, "the last minute", || {
        kafka.committed("website-traffic-stats").len() >= golden.len()
    });
    kill(third);
    assert_eq!(kafka.committed("website-traffic-stats"), golden);
}
