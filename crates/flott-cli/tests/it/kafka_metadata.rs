//! Metadata columns of `kafka` and of `debezium-json` give what real Flink and real Kafka gave (`kafka_metadata.sql`).

use crate::support::{Cluster, flott, text};

const HERE: &str = "crates/flott-cli/tests/it/kafka_metadata";

#[test]
fn metadata_is_read_and_written_as_flink_does() {
    let cluster = Cluster::start(&[("changes", 1), ("told", 1)]);
    for line in text(&format!("{HERE}.json")).lines() {
        cluster.append("changes", 0, 1_772_352_000_000, line);
    }
    let script = format!("{HERE}.sql");
    let ended = flott(&[
        "run",
        &script,
        "-q",
        "--var",
        &cluster.variable(),
        "-D",
        "table.local-time-zone=UTC",
    ])
    .expect(0);
    assert_eq!(ended.out, text(&format!("{HERE}.txt")), "{}", ended.err);
}
