//! Kafka from programs, against the embedded broker.

use crate::env;
use flott::prelude::*;
use flott::runtime::connector::ConnectorError;
use flott_broker::{Broker, PlainRecord};
use flott_core::Options;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A broker, and the runtime that it lives on.
struct Kafka {
    broker: Broker,
    _runtime: tokio::runtime::Runtime,
}

impl Kafka {
    /// A broker with topics and their numbers of partitions.
    fn with(topics: &[(&str, i32)]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let broker = runtime
            .block_on(Broker::builder().auto_create_topics(false).start())
            .unwrap();
        for (name, partitions) in topics {
            broker.create_topic(name, *partitions).unwrap();
        }
        Self {
            broker,
            _runtime: runtime,
        }
    }

    /// Appends values, each with its time.
    fn append(&self, topic: &str, partition: i32, values: &[(i64, &str)]) {
        let records: Vec<PlainRecord<'_>> = values
            .iter()
            .map(|(timestamp_ms, value)| PlainRecord {
                timestamp_ms: *timestamp_ms,
                key: None,
                value: Some(value.as_bytes()),
            })
            .collect();
        self.broker.append_records(topic, partition, &records).unwrap();
    }

    /// All values of topics, to read to their present ends.
    fn bounded(&self, topic: &str) -> flott::connectors::kafka::KafkaSourceBuilder<String> {
        KafkaSource::builder()
            .bootstrap_servers(self.broker.bootstrap())
            .topics([topic])
            .bounded(OffsetsInitializer::latest())
    }

    fn sink<T: Data>(&self) -> flott::connectors::kafka::KafkaSinkBuilder<T> {
        KafkaSink::builder().bootstrap_servers(self.broker.bootstrap())
    }

    /// What a consumer of committed records finds in a topic, sorted.
    fn committed(&self, topic: &str) -> Vec<String> {
        let source = self
            .bounded(topic)
            .property("isolation.level", "read_committed")
            .value_only(SimpleStringSchema);
        strings(source.build().unwrap())
    }

    /// Up to where consumers of committed records can read, over all partitions.
    fn stable(&self, topic: &str) -> i64 {
        self.broker.last_stable_offsets(topic).unwrap().iter().sum()
    }

    fn wait_for(&self, what: &str, has_come: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !has_come() {
            assert!(Instant::now() < deadline, "{what} is not committed");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn strings(source: KafkaSource<String>) -> Vec<String> {
    let stream = env().from_source(source, WatermarkStrategy::no_watermarks(), "read");
    crate::sorted(stream)
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Order {
    id: u32,
    customer: String,
}

#[test]
fn records_are_written_and_read_with_all_that_they_have() {
    let kafka = Kafka::with(&[("orders", 3), ("other", 1)]);
    let env = env();
    let sink = kafka
        .sink()
        .topic("orders")
        .record_serializer(|order: &Order, record: &mut ProducerRecord<'_>| {
            record.set_key(order.customer.as_bytes());
            record.write_value(|out| serde_json::to_writer(out, order))?;
            record
                .add_header("id", &order.id.to_be_bytes())
                .add_header("by", b"test");
            match order.id {
                7 => record.set_topic("other").set_timestamp(70),
                id => record.set_partition((id % 3) as i32),
            };
            Ok(())
        })
        .delivery_guarantee(DeliveryGuarantee::AtLeastOnce)
        .build()
        .unwrap();
    let times =
        WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|o: &Order, _| i64::from(o.id) * 1000);
    let order = |id: u32| Order {
        id,
        customer: format!("c{}", id % 2),
    };
    env.from_collection((1..=9).map(order))
        .assign_timestamps_and_watermarks(&times)
        .sink_to(sink);
    env.execute("write").unwrap();

    let read = |topic: &str| {
        let source = KafkaSource::builder()
            .bootstrap_servers(kafka.broker.bootstrap())
            .topics([topic])
            .bounded(OffsetsInitializer::latest())
            .deserializer(|record: &ConsumerRecord<'_>| {
                let order: Order = serde_json::from_slice(record.value().unwrap_or_default())?;
                let key = String::from_utf8(record.key().unwrap_or_default().to_vec())?;
                let id = record.last_header("id").map(<[u8]>::to_vec);
                let place = format!("{}-{} at {}", record.topic(), record.partition(), record.timestamp());
                Ok::<_, BoxError>((order, key, id, place))
            })
            .build()
            .unwrap();
        crate::sorted(crate::env().from_source(source, WatermarkStrategy::no_watermarks(), "orders"))
    };
    let expected = |id: u32, place: String| {
        let order = order(id);
        (order.clone(), order.customer, Some(id.to_be_bytes().to_vec()), place)
    };
    let in_orders: Vec<_> = (1..=9)
        .filter(|id| *id != 7)
        .map(|id| expected(id, format!("orders-{} at {}", id % 3, id * 1000)))
        .collect();
    assert_eq!(read("orders"), in_orders);
    assert_eq!(read("other"), [expected(7, "other-0 at 70".to_owned())]);
}

#[test]
fn formats_of_values_and_keys_round_trip() {
    let kafka = Kafka::with(&[("json", 2), ("csv", 2)]);
    let orders: Vec<Order> = ["a, \"b\"", "c"]
        .into_iter()
        .zip(1..)
        .map(|(customer, id)| Order {
            id,
            customer: customer.to_owned(),
        })
        .collect();
    let env = env();
    let stream = env.from_collection(orders.clone());
    let key = |order: &Order, out: &mut Vec<u8>| {
        out.extend_from_slice(order.customer.as_bytes());
        Ok(())
    };
    let json = kafka
        .sink()
        .topic("json")
        .key_and_value(key, JsonSerializationSchema::new());
    stream.sink_to(json.build().unwrap());
    let csv = kafka
        .sink()
        .topic("csv")
        .value_only(CsvSerializationSchema::<Order>::new());
    stream.sink_to(csv.build().unwrap());
    env.execute("write").unwrap();

    let source = || {
        KafkaSource::<Order>::builder()
            .bootstrap_servers(kafka.broker.bootstrap())
            .bounded(OffsetsInitializer::latest())
    };
    let read = |source| crate::sorted(crate::env().from_source(source, WatermarkStrategy::no_watermarks(), "orders"));
    let json = source().topics(["json"]).value_only(JsonDeserializationSchema::new());
    assert_eq!(read(json.build().unwrap()), orders);
    let both = source()
        .topic_pattern("cs.")
        .value_only(CsvDeserializationSchema::new());
    assert_eq!(read(both.build().unwrap()), orders);
}

#[test]
fn partitions_begin_and_end_where_the_program_says() {
    let kafka = Kafka::with(&[("t", 2)]);
    kafka.append("t", 0, &[(10, "a"), (20, "b"), (30, "c")]);
    kafka.append("t", 1, &[(15, "x"), (25, "y")]);
    let read = |change: &dyn Fn(
        flott::connectors::kafka::KafkaSourceBuilder<String>,
    ) -> flott::connectors::kafka::KafkaSourceBuilder<String>| {
        strings(
            change(kafka.bounded("t"))
                .value_only(SimpleStringSchema)
                .build()
                .unwrap(),
        )
    };
    let starting = |offsets: OffsetsInitializer| read(&move |s| s.starting_offsets(offsets.clone()));
    assert_eq!(starting(OffsetsInitializer::earliest()), ["a", "b", "c", "x", "y"]);
    assert!(starting(OffsetsInitializer::latest()).is_empty());
    assert_eq!(starting(OffsetsInitializer::timestamp(20)), ["b", "c", "y"]);
    assert_eq!(starting(OffsetsInitializer::offsets([(("t", 0), 2)])), ["c", "x", "y"]);
    let bounded = |offsets: OffsetsInitializer| read(&move |s| s.bounded(offsets.clone()));
    assert_eq!(bounded(OffsetsInitializer::timestamp(20)), ["a", "x"]);
    assert_eq!(
        bounded(OffsetsInitializer::offsets([(("t", 0), 1), (("t", 1), 0)])),
        ["a"]
    );

    // A group that has committed nothing starts where it is told; at its end a job commits.
    let of_group = |group: &'static str, strategy| {
        let offsets = OffsetsInitializer::committed_offsets_or_else(strategy);
        read(&move |s| s.group_id(group).starting_offsets(offsets.clone()))
    };
    assert_eq!(
        of_group("reads all", OffsetResetStrategy::Earliest),
        ["a", "b", "c", "x", "y"]
    );
    assert!(of_group("reads none", OffsetResetStrategy::Latest).is_empty());
    let nowhere = kafka
        .bounded("t")
        .group_id("g")
        .starting_offsets(OffsetsInitializer::committed_offsets())
        .value_only(SimpleStringSchema);
    let stream = env().from_source(nowhere.build().unwrap(), WatermarkStrategy::no_watermarks(), "t");
    let error = stream.execute_and_collect("t").unwrap_err().to_string();
    assert!(
        error.contains("group 'g' has committed no offset") && error.contains("committed_offsets_or_else"),
        "{error}"
    );
}

#[test]
fn partitions_of_unequal_pace_make_nothing_late() {
    let kafka = Kafka::with(&[("t", 2)]);
    let texts: Vec<String> = (0..100).map(|n| format!("{n}")).collect();
    // One partition is a hundred seconds ahead of the other.
    let ahead: Vec<(i64, &str)> = texts.iter().map(|t| (100_000 + t.len() as i64, t.as_str())).collect();
    let behind: Vec<(i64, &str)> = texts.iter().zip(0..).map(|(t, n)| (n * 1000, t.as_str())).collect();
    kafka.append("t", 0, &ahead);
    kafka.append("t", 1, &behind);
    let source = kafka.bounded("t").value_only(SimpleStringSchema).build().unwrap();
    let env = env();
    env.configure("pipeline.auto-watermark-interval", "0");
    let counts = env
        .from_source(source, WatermarkStrategy::for_monotonous_timestamps(), "t")
        .map(|_| 1_u64)
        .window_all(TumblingEventTimeWindows::of(Duration::from_secs(50)))
        .reduce(|a, b| a + b);
    assert_eq!(counts.execute_and_collect("count").unwrap(), [50, 50, 100]);
}

#[test]
fn records_that_cannot_be_read_are_told_skipped_or_kept() {
    let kafka = Kafka::with(&[("t", 1), ("letters", 1)]);
    kafka.append("t", 0, &[(0, "1"), (0, "two"), (0, "3")]);
    let source = || {
        KafkaSource::<i64>::builder()
            .bootstrap_servers(kafka.broker.bootstrap())
            .topics(["t"])
            .bounded(OffsetsInitializer::latest())
            .value_only(JsonDeserializationSchema::new())
    };
    let read = |source: KafkaSource<i64>| {
        let stream = env().from_source(source, WatermarkStrategy::no_watermarks(), "numbers");
        stream.execute_and_collect("numbers")
    };
    let error = read(source().build().unwrap()).unwrap_err().to_string();
    for part in [
        "kafka source of topic 't'",
        "topic 't' partition 0 offset 1",
        "expected ident",
        "BadRows::Skip",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(read(source().bad_rows(BadRows::Skip).build().unwrap()).unwrap(), [1, 3]);
    let kept = source().bad_rows(BadRows::Topic("letters".to_owned())).build().unwrap();
    assert_eq!(read(kept).unwrap(), [1, 3]);
    assert_eq!(
        strings(kafka.bounded("letters").value_only(SimpleStringSchema).build().unwrap()),
        ["two"]
    );

    let panics = KafkaSource::builder()
        .bootstrap_servers(kafka.broker.bootstrap())
        .topics(["t"])
        .bounded(OffsetsInitializer::latest())
        .deserializer(|record: &ConsumerRecord<'_>| {
            assert!(record.offset() < 2, "three is too many");
            Ok::<_, BoxError>(record.offset())
        });
    let error = read(panics.build().unwrap()).unwrap_err().to_string();
    assert!(
        error.contains("partition 0 offset 2") && error.contains("three is too many"),
        "{error}"
    );
}

/// Copies a topic to another, one transaction a checkpoint, until `fails` is set and a record comes.
fn copy(
    kafka: &Kafka,
    folder: &std::path::Path,
    parallelism: usize,
    fails: &Arc<AtomicBool>,
) -> Result<JobExecutionResult, ExecuteError> {
    let options: Options = [
        ("execution.checkpointing.dir", &*format!("file://{}", folder.display())),
        ("execution.checkpointing.interval", "20 ms"),
        ("execution.state-recovery.path", "latest"),
        ("restart-strategy.type", "none"),
        ("execution.exchange.encoded", "true"),
    ]
    .into_iter()
    .collect();
    let env = StreamExecutionEnvironment::create_local_environment(options);
    env.set_parallelism(parallelism);
    let source = KafkaSource::builder()
        .bootstrap_servers(kafka.broker.bootstrap())
        .topics(["in"])
        .group_id("copy")
        .property("fetch.max.wait.ms", "10")
        .value_only(SimpleStringSchema)
        .build()?;
    let sink = kafka
        .sink()
        .topic("out")
        .value_only(SimpleStringSchema)
        .delivery_guarantee(DeliveryGuarantee::ExactlyOnce)
        .transactional_id_prefix("copy")
        .build()?;
    let fails = fails.clone();
    env.from_source(source, WatermarkStrategy::no_watermarks(), "in")
        .uid("in")
        .try_map(move |line: String| match fails.load(Ordering::Relaxed) {
            true => Err("the power is cut"),
            false => Ok(line),
        })
        .rebalance()
        .map(|line| line)
        .sink_to(sink)
        .uid("out");
    env.execute("copy")
}

#[test]
fn a_killed_and_rescaled_job_writes_each_record_once() {
    let kafka = Arc::new(Kafka::with(&[("in", 3), ("out", 2)]));
    let folder = tempfile::tempdir().unwrap();
    let mut expected = vec![];
    let append = |from: usize, count: usize| -> Vec<String> {
        let lines: Vec<String> = (from..from + count).map(|n| format!("{n:05}")).collect();
        for (partition, part) in lines.chunks(lines.len().div_ceil(3)).enumerate() {
            let records: Vec<(i64, &str)> = part.iter().map(|line| (0, line.as_str())).collect();
            kafka.append("in", partition as i32, &records);
        }
        lines
    };
    for parallelism in [1, 3, 2] {
        let fails = Arc::new(AtomicBool::new(false));
        let before = kafka.stable("out");
        expected.extend(append(expected.len(), 300));
        let job = {
            let (kafka, folder, fails) = (kafka.clone(), folder.path().to_owned(), fails.clone());
            std::thread::spawn(move || copy(&kafka, &folder, parallelism, &fails))
        };
        // Something of this life is committed, positions too; then it ends amid records that no checkpoint has.
        kafka.wait_for("a transaction", || kafka.stable("out") > before);
        kafka.wait_for("a position", || {
            kafka.broker.committed_offset("copy", "in", 0).is_some()
        });
        if parallelism == 2 {
            kafka.wait_for("all", || kafka.committed("out").len() >= expected.len());
        }
        fails.store(true, Ordering::Relaxed);
        expected.extend(append(expected.len(), 150));
        let error = job.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("the power is cut"), "{error}");
    }
    // The last records came when nobody lived to write them.
    expected.truncate(expected.len() - 150);
    assert_eq!(kafka.committed("out"), expected);
}

#[test]
fn wrong_settings_are_told_before_the_start() {
    fn said<T>(built: Result<T, ConnectorError>) -> String {
        built.err().expect("the settings are wrong").to_string()
    }
    let source = || KafkaSource::builder().value_only(SimpleStringSchema);
    let with_topic = || source().topics(["t"]).bootstrap_servers("localhost:9092");
    let sink = || KafkaSink::<String>::builder().value_only(SimpleStringSchema);
    let to_topic = || sink().topic("t").bootstrap_servers("localhost:9092");
    let table = [
        (said(source().bootstrap_servers("h:1").build()), "no topic is named"),
        (said(source().topics(["t"]).build()), "bootstrap_servers"),
        (said(with_topic().topic_pattern("t.*").build()), "exclude each other"),
        (
            said(source().topic_pattern("(").bootstrap_servers("h:1").build()),
            "no regular expression",
        ),
        (
            said(with_topic().property("fetch.min.byte", "1").build()),
            "did you mean 'fetch.min.bytes'",
        ),
        (
            said(with_topic().property("fetch.min.bytes", "few").build()),
            "'few' is not a whole number",
        ),
        (
            said(with_topic().property("auto.offset.reset", "middle").build()),
            "earliest, latest or none",
        ),
        (
            said(
                with_topic()
                    .starting_offsets(OffsetsInitializer::committed_offsets())
                    .build(),
            ),
            "group_id",
        ),
        (
            said(
                with_topic()
                    .starting_offsets(OffsetsInitializer::offsets([(("u", 0), 1)]))
                    .build(),
            ),
            "of 'u' partition 0, which is not read",
        ),
        (
            said(with_topic().bounded(OffsetsInitializer::earliest()).build()),
            "reads nothing",
        ),
        (said(sink().bootstrap_servers("h:1").build()), "no topic is named"),
        (said(sink().topic("t").build()), "bootstrap_servers"),
        (
            said(to_topic().delivery_guarantee(DeliveryGuarantee::ExactlyOnce).build()),
            "transactional_id_prefix",
        ),
        (
            said(to_topic().property("linger.m", "1").build()),
            "did you mean 'linger.ms'",
        ),
        (
            said(to_topic().property("transactional.id", "x").build()),
            "transactional_id_prefix",
        ),
    ];
    for (said, expected) in table {
        assert!(said.contains(expected), "'{expected}' is not in: {said}");
    }
}
