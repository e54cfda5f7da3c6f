//! Positions that a broker no longer has, and topics that are not what they were: told with table, place and remedy.

use std::time::{Duration, Instant};

use flott_connectors::kafka::KafkaConnector;
use flott_connectors::kafka::client::admin::NewTopic;
use flott_runtime::connector::{ReaderPoll, TableConnector};

use crate::support::{Cluster, clusters, embedded, fresh};
use crate::tables::{BOUNDED, Read, discovered, produce, scan_spec, sink_spec, table};

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_out_of_range_is_told_or_reset_as_asked() {
    for cluster in clusters().await {
        let topic = cluster.topic(1).await;
        produce(&cluster, &topic, 0, &["a,1", "b,2", "c,3"]).await;
        let read = async |reset: &[(&str, &str)]| {
            let start = [
                ("format", "csv"),
                ("scan.startup.mode", "specific-offsets"),
                ("scan.startup.specific-offsets", "partition:0,offset:99"),
            ];
            let spec = scan_spec(table(&cluster, "kafka", &topic, &[&start, reset].concat()), &[]);
            let splits = discovered(&spec, None).await.0;
            Read::new(&spec, splits).numbers(3).await
        };
        let error = read(&[]).await.unwrap_err();
        for part in [
            "table 'orders'",
            "offset 99",
            &*topic,
            "0 to 3",
            "'properties.auto.offset.reset'",
        ] {
            assert!(error.contains(part), "'{part}' is missing: {error}");
        }
        let earliest = [("properties.auto.offset.reset", "earliest")];
        assert_eq!(read(&earliest).await, Ok(vec![1, 2, 3]));
    }
}

/// Deletes a topic and makes it again with as many partitions.
async fn made_again(cluster: &Cluster, topic: &str) {
    let client = cluster.client().await;
    client.delete_topics(&[topic]).await.unwrap();
    let again = NewTopic::new(topic, 1);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !client.create_topics(std::slice::from_ref(&again)).await.unwrap()[0] {
        assert!(Instant::now() < deadline, "the topic stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_position_in_a_topic_made_again_is_void() {
    for cluster in clusters().await {
        let topic = cluster.topic(1).await;
        produce(&cluster, &topic, 0, &["a,1", "b,2"]).await;
        let options = [("format", "csv"), ("scan.startup.mode", "earliest-offset")];
        let spec = scan_spec(table(&cluster, "kafka", &topic, &options), &[]);
        let (splits, known) = discovered(&spec, None).await;
        let mut first = Read::new(&spec, splits);
        assert_eq!(first.numbers(2).await, Ok(vec![1, 2]));
        let positions = first.reader.snapshot(1).unwrap();
        drop(first);

        made_again(&cluster, &topic).await;
        produce(&cluster, &topic, 0, &["c,3", "d,4", "e,5"]).await;
        // The new topic has an offset 2, which is another record than the one that was meant.
        assert_eq!(discovered(&spec, Some(&known)).await.0, []);
        let error = Read::new(&spec, positions).numbers(1).await.unwrap_err();
        for part in [
            "table 'orders'",
            &*topic,
            "deleted and created again",
            "start without the old state",
        ] {
            assert!(error.contains(part), "'{part}' is missing: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_named_by_source_and_sink() {
    for cluster in clusters().await {
        let topic = fresh("missing");
        let options = [&[("format", "csv")], &BOUNDED[..]].concat();
        let spec = scan_spec(table(&cluster, "kafka", &topic, &options), &[]);
        let mut enumerator = KafkaConnector.source(&spec).unwrap().enumerator(None).unwrap();
        let error = enumerator.discover().await.unwrap_err().to_string();
        assert!(
            error.contains(&format!("'{topic}' does not exist; create it")),
            "{error}"
        );

        let spec = sink_spec(table(&cluster, "kafka", &topic, &[("format", "csv")]), &[]);
        let sink = KafkaConnector.sink(&spec).unwrap();
        let error = crate::tables::write_until_refused(&*sink).await;
        assert!(error.contains("table 'orders'"), "{error}");
        assert!(
            error.contains(&format!("'{topic}' does not exist; create it")),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_without_a_row_do_not_keep_a_task_from_its_barriers() {
    let cluster = embedded().await;
    let topic = cluster.topic(1).await;
    let bad = format!("x,{}", "no number ".repeat(10_000));
    produce(&cluster, &topic, 0, &[&*bad; 30]).await;
    produce(&cluster, &topic, 0, &["x,11"]).await;
    let options = [
        ("format", "csv"),
        ("bad-rows", "skip"),
        ("scan.startup.mode", "earliest-offset"),
        // The first answer holds more than a turn, and the row comes in a later one.
        ("properties.max.partition.fetch.bytes", "1500000"),
    ];
    let spec = scan_spec(table(&cluster, "kafka", &topic, &options), &[]);
    let splits = discovered(&spec, None).await.0;
    let mut read = Read::new(&spec, splits);
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut turns = 0;
    loop {
        assert!(Instant::now() < deadline, "no row within 20 s");
        match read.reader.poll(5).unwrap() {
            ReaderPoll::Idle { until_ms: Some(5) } => turns += 1,
            ReaderPoll::Idle { until_ms: None } => tokio::time::sleep(Duration::from_millis(1)).await,
            ReaderPoll::Batch { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(turns > 0, "all fetches were walked in one turn");
}
