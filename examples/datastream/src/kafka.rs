//! The samples that read and write Kafka, whole: from `env` to the sink.
//!
//! Flink's `FlinkKafkaConsumer`, `FlinkKafkaProducer` and their `Properties` are gone since 2.0; these are the builders that took their place. A consumer that starts after the
//! messages were written reads nothing by Kafka's own default, so both say `earliest()`. Times are those of Kafka's records; watermarks are made per
//! partition.

use crate::website_traffic::website_traffic;
use crate::word_count::word_count;
use flott::prelude::*;
use std::time::Duration;

/// A job on a Kafka.
#[derive(Debug, Clone, Copy)]
pub struct KafkaSample {
    /// What it is called.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Describes it, on the Kafka of some bootstrap servers.
    pub describe: fn(&StreamExecutionEnvironment, &str) -> Result<(), ExecuteError>,
}

/// All of them.
pub const KAFKA_SAMPLES: &[KafkaSample] = &[
    KafkaSample {
        name: "kafka-produce",
        about: "writes ten messages to the topic my-topic",
        describe: produce,
    },
    KafkaSample {
        name: "kafka-word-count",
        about: "counts the words of my-topic and prints each count",
        describe: count_words,
    },
    KafkaSample {
        name: "kafka-website-traffic",
        about: "sums website-logs per website and minute, to website-traffic-stats",
        describe: sum_visits,
    },
];

/// A `KafkaProducer` in a loop in the original; as a job each message is written exactly once, also if it fails on its way.
fn produce(env: &StreamExecutionEnvironment, bootstrap: &str) -> Result<(), ExecuteError> {
    let sink = KafkaSink::builder()
        .bootstrap_servers(bootstrap)
        .topic("my-topic")
        .value_only(SimpleStringSchema)
        .delivery_guarantee(DeliveryGuarantee::ExactlyOnce)
        .transactional_id_prefix("kafka-produce")
        .build()?;
    env.from_collection((0..10).map(|i| format!("message-{i}")))
        .sink_to(sink);
    Ok(())
}

fn count_words(env: &StreamExecutionEnvironment, bootstrap: &str) -> Result<(), ExecuteError> {
    let source = KafkaSource::builder()
        .bootstrap_servers(bootstrap)
        .topics(["my-topic"])
        .group_id("my-consumer-group")
        .starting_offsets(OffsetsInitializer::earliest())
        .value_only(SimpleStringSchema)
        .build()?;
    let lines = env.from_source(source, WatermarkStrategy::no_watermarks(), "my-topic");
    word_count(&lines).print();
    Ok(())
}

fn sum_visits(env: &StreamExecutionEnvironment, bootstrap: &str) -> Result<(), ExecuteError> {
    let source = KafkaSource::builder()
        .bootstrap_servers(bootstrap)
        .topics(["website-logs"])
        .group_id("website-traffic")
        .starting_offsets(OffsetsInitializer::earliest())
        .value_only(SimpleStringSchema)
        .build()?;
    let sink = KafkaSink::builder()
        .bootstrap_servers(bootstrap)
        .topic("website-traffic-stats")
        .value_only(SimpleStringSchema)
        .delivery_guarantee(DeliveryGuarantee::ExactlyOnce)
        .transactional_id_prefix("website-traffic-stats")
        .build()?;
    let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(5));
    let (stats, bad_lines) = website_traffic(&env.from_source(source, strategy, "website-logs"));
    stats.sink_to(sink).name("website-traffic-stats");
    bad_lines.print_to_err().name("Bad Lines");
    Ok(())
}
