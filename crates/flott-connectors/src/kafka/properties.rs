//! The names of Kafka's properties, so that a program's misspelt one is told before its job starts.
//!
//! Kafka's own clients warn of names that they do not know. Here names count as known if a consumer, a producer or Flink's Kafka
//! connector of this generation has them; those that only steer a Java client are taken and do nothing.

use flott_core::suggest;
use flott_runtime::connector::ConnectorError;

use super::client::config::KafkaProperties;

const COMMON: &str = "bootstrap.servers client.dns.lookup client.id connections.max.idle.ms default.api.timeout.ms \
    enable.metrics.push metadata.max.age.ms metadata.recovery.rebootstrap.trigger.ms metadata.recovery.strategy \
    metric.reporters metrics.num.samples metrics.recording.level metrics.sample.window.ms receive.buffer.bytes \
    reconnect.backoff.max.ms reconnect.backoff.ms request.timeout.ms retries retry.backoff.max.ms retry.backoff.ms \
    security.protocol security.providers send.buffer.bytes socket.connection.setup.timeout.max.ms \
    socket.connection.setup.timeout.ms interceptor.classes";

const CONSUMER: &str = "allow.auto.create.topics auto.commit.interval.ms auto.offset.reset check.crcs client.id.prefix \
    client.rack commit.offsets.on.checkpoint enable.auto.commit exclude.internal.topics fetch.max.bytes fetch.max.wait.ms \
    fetch.min.bytes group.id group.instance.id group.protocol group.remote.assignor heartbeat.interval.ms isolation.level \
    key.deserializer max.partition.fetch.bytes max.poll.interval.ms max.poll.records partition.assignment.strategy \
    partition.discovery.interval.ms register.consumer.metrics session.timeout.ms value.deserializer";

const PRODUCER: &str = "acks batch.size buffer.memory compression.gzip.level compression.lz4.level compression.type \
    compression.zstd.level delivery.timeout.ms enable.idempotence key.serializer linger.ms max.block.ms \
    max.in.flight.requests.per.connection max.request.size metadata.max.idle.ms partitioner.adaptive.partitioning.enable \
    partitioner.availability.timeout.ms partitioner.class partitioner.ignore.keys transaction.timeout.ms \
    transaction.two.phase.commit.enable transactional.id value.serializer";

/// Families of names that are many and of which some depend on the mechanism.
const FAMILIES: [&str; 2] = ["sasl.", "ssl."];

/// Refuses a name that neither a consumer nor a producer has; a source may produce too, its dead letters.
pub(super) fn check_names(properties: &KafkaProperties, label: &str) -> Result<(), ConnectorError> {
    let known = || {
        [COMMON, CONSUMER, PRODUCER]
            .into_iter()
            .flat_map(str::split_ascii_whitespace)
    };
    for (name, _) in properties.iter() {
        let is_known = known().any(|k| k == name) || FAMILIES.iter().any(|f| name.starts_with(f));
        if !is_known {
            let hint = suggest::hint(name, known());
            return Err(ConnectorError::Option(format!(
                "{label}: Kafka has no property '{name}'{hint}"
            )));
        }
    }
    Ok(())
}
