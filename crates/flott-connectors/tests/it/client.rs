//! What every broker must do for the client, and the client with it.

use std::time::{Duration, Instant};

use flott_connectors::kafka::client::batch::walk::{RecordWalker, WalkOptions};
use flott_connectors::kafka::client::error::KafkaError;
use flott_connectors::kafka::client::fetch::FetchEvent;
use flott_connectors::kafka::client::offsets::{Isolation, OffsetAt, TopicPartition};
use flott_connectors::kafka::client::transactions::{EndOutcome, TransactionState};
use flott_connectors::kafka::client::{KafkaClient, KafkaProperties};

use crate::support::{clusters, fresh};

fn values(read: Vec<(i64, String)>) -> Vec<String> {
    read.into_iter().map(|(_, v)| v).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_codec_arrives_in_order() {
    for cluster in clusters().await {
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let topic = cluster.topic(3).await;
            let more = [("compression.type", codec), ("batch.size", "2000"), ("linger.ms", "1")];
            let producer = cluster.producer(&more).await;
            let partitions: Vec<_> = (0..3)
                .map(|p| producer.partition(&TopicPartition::new(topic.clone(), p)))
                .collect();
            {
                let mut batch = producer.batch();
                for i in 0..900 {
                    let value = format!("value {i}");
                    batch
                        .append(partitions[i % 3], 5, None, Some(value.as_bytes()), &[])
                        .unwrap();
                }
            }
            producer.flush().await.unwrap();
            assert_eq!(producer.buffered_bytes(), 0);
            for p in 0..3 {
                let expected: Vec<(i64, String)> = (0..300)
                    .map(|i| (i, format!("value {}", i * 3 + i64::from(p))))
                    .collect();
                assert!(
                    cluster.read(&topic, p, Isolation::ReadCommitted).await == expected,
                    "{codec}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_headers_nulls_and_timestamps_arrive() {
    for cluster in clusters().await {
        let topic = cluster.topic(1).await;
        let tp = TopicPartition::new(topic.clone(), 0);
        let producer = cluster.producer(&[]).await;
        let partition = producer.partition(&tp);
        producer
            .send(partition, 1_000, Some(b"k"), None, &[("h", Some(b"x")), ("e", None)])
            .unwrap();
        producer.send(partition, 900, None, Some(b""), &[]).unwrap();
        producer.flush().await.unwrap();
        let reader = cluster.fetcher(&[]).await;
        reader.fetcher.assign(tp.clone(), None, 0);
        let FetchEvent::Records(fetched) = reader.event().await else {
            panic!()
        };
        assert_eq!(reader.fetcher.high_watermark(&tp), Some(2));
        assert!(reader.fetcher.topic_id(&tp).is_some());
        let mut walker = RecordWalker::new(
            fetched,
            WalkOptions {
                check_crcs: true,
                read_committed: false,
            },
        );
        let r = walker.next().unwrap().unwrap();
        assert_eq!(
            (r.offset, r.timestamp_ms, r.key, r.value),
            (0, 1_000, Some(&b"k"[..]), None)
        );
        let headers: Vec<_> = r.headers().map(Result::unwrap).collect();
        assert_eq!(headers, [("h", Some(&b"x"[..])), ("e", None)]);
        let r = walker.next().unwrap().unwrap();
        assert_eq!(
            (r.offset, r.timestamp_ms, r.key, r.value),
            (1, 900, None, Some(&b""[..]))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_listed_committed_and_read_back() {
    for cluster in clusters().await {
        let topic = cluster.topic(2).await;
        let client = cluster.client().await;
        let tp = |p| TopicPartition::new(topic.clone(), p);
        let producer = cluster.producer(&[]).await;
        let partition = producer.partition(&tp(0));
        for i in 0..10 {
            producer
                .send(partition, 1_000 + i * 100, None, Some(b"v"), &[])
                .unwrap();
            producer.flush().await.unwrap();
        }
        let ask = async |p, at| {
            client
                .list_offsets(&[(tp(p), at)], Isolation::ReadUncommitted)
                .await
                .unwrap()[&tp(p)]
        };
        assert_eq!(ask(0, OffsetAt::Earliest).await, Some(0));
        assert_eq!(ask(0, OffsetAt::Latest).await, Some(10));
        assert_eq!(ask(0, OffsetAt::TimestampMs(1_350)).await, Some(4));
        assert_eq!(ask(0, OffsetAt::TimestampMs(9_999)).await, None);
        assert_eq!(ask(1, OffsetAt::Latest).await, Some(0));

        let group = fresh("group");
        let both = [tp(0), tp(1)];
        let committed = client.committed_offsets(&group, &both).await.unwrap();
        assert_eq!((committed[&tp(0)], committed[&tp(1)]), (None, None));
        client.commit_offsets(&group, &[(tp(0), 7)]).await.unwrap();
        let committed = client.committed_offsets(&group, &both).await.unwrap();
        assert_eq!((committed[&tp(0)], committed[&tp(1)]), (Some(7), None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_seen_when_it_is_committed() {
    for cluster in clusters().await {
        let topic = cluster.topic(2).await;
        let client = cluster.client().await;
        let producer = cluster.transactional().await;
        let partitions: Vec<_> = (0..2)
            .map(|p| producer.partition(&TopicPartition::new(topic.clone(), p)))
            .collect();
        let prefix = fresh("tx");
        let mut taken = Vec::new();
        for (round, commit) in [(0, true), (1, false), (2, true)] {
            producer.begin(format!("{prefix}-{round}"));
            for partition in &partitions {
                producer
                    .send(*partition, 0, None, Some(format!("round {round}").as_bytes()), &[])
                    .unwrap();
            }
            producer.flush().await.unwrap();
            let transaction = producer.take_transaction().unwrap().unwrap();
            let open = client.list_transactions(&prefix).await.unwrap();
            let open: Vec<_> = open
                .iter()
                .filter(|t| t.state.is_open())
                .map(|t| &*t.transactional_id)
                .collect();
            assert_eq!(open, [&*transaction.transactional_id]);
            let seen = client
                .describe_transaction(&transaction.transactional_id)
                .await
                .unwrap()
                .unwrap();
            assert_eq!((seen.state, seen.partitions.len()), (TransactionState::Ongoing, 2));
            assert_eq!(cluster.committed(&topic, 0, round.min(1)).await.len(), round.min(1));

            // By another client, as after a crash; and again.
            let other = cluster.client().await;
            assert_eq!(
                other.end_transaction(&transaction, commit).await.unwrap(),
                EndOutcome::Done
            );
            let again = other.end_transaction(&transaction, commit).await.unwrap();
            assert!(matches!(again, EndOutcome::Done | EndOutcome::AlreadyDone), "{again:?}");
            taken.push(transaction);
        }
        for p in 0..2 {
            let committed = cluster.committed(&topic, p, 2).await;
            assert_eq!(committed, ["round 0", "round 2"]);
            let all = values(cluster.read(&topic, p, Isolation::ReadUncommitted).await);
            assert_eq!(all, ["round 0", "round 1", "round 2"]);
        }
        let lost = client.end_transaction(&taken[1], true).await.unwrap();
        assert!(
            matches!(lost, EndOutcome::Lost { .. }),
            "an aborted one cannot be committed: {lost:?}"
        );
        let lost = client.end_transaction(&taken[0], false).await.unwrap();
        assert!(
            matches!(lost, EndOutcome::Lost { .. }),
            "a committed one cannot be aborted: {lost:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_another_aborted_is_lost() {
    for cluster in clusters().await {
        let topic = cluster.topic(1).await;
        let client = cluster.client().await;
        let producer = cluster.transactional().await;
        let partition = producer.partition(&TopicPartition::new(topic.clone(), 0));
        producer.begin(fresh("fenced"));
        producer.send(partition, 0, None, Some(b"gone"), &[]).unwrap();
        producer.flush().await.unwrap();
        let transaction = producer.take_transaction().unwrap().unwrap();
        client
            .abort_transactional_id(&transaction.transactional_id)
            .await
            .unwrap();
        let outcome = client.end_transaction(&transaction, true).await.unwrap();
        assert!(matches!(outcome, EndOutcome::Lost { .. }), "{outcome:?}");
        assert_eq!(
            client.end_transaction(&transaction, false).await.unwrap(),
            EndOutcome::AlreadyDone
        );
        assert_eq!(
            values(cluster.read(&topic, 0, Isolation::ReadCommitted).await),
            Vec::<String>::new()
        );

        producer.begin(fresh("next"));
        producer.send(partition, 0, None, Some(b"stays"), &[]).unwrap();
        producer.flush().await.unwrap();
        let transaction = producer.take_transaction().unwrap().unwrap();
        assert_eq!(
            client.end_transaction(&transaction, true).await.unwrap(),
            EndOutcome::Done
        );
        assert_eq!(cluster.committed(&topic, 0, 1).await, ["stays"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_follows_the_producer_and_seeks() {
    for cluster in clusters().await {
        let topic = cluster.topic(1).await;
        let tp = TopicPartition::new(topic.clone(), 0);
        let patient = cluster.fetcher(&[("fetch.max.wait.ms", "15000")]).await;
        patient.fetcher.assign(tp.clone(), None, 0);
        let producer = cluster.producer(&[("linger.ms", "0")]).await;
        let partition = producer.partition(&tp);
        for i in 0..3 {
            let sent = Instant::now();
            producer
                .send(partition, 0, None, Some(format!("{i}").as_bytes()), &[])
                .unwrap();
            let FetchEvent::Records(fetched) = patient.event().await else {
                panic!()
            };
            assert_eq!(fetched.fetch_offset, i);
            // The long poll ends with the record, not with its own 15 s.
            assert!(sent.elapsed() < Duration::from_secs(10), "{:?}", sent.elapsed());
        }
        producer.flush().await.unwrap();
        let reader = cluster.fetcher(&[]).await;
        reader.fetcher.assign(tp.clone(), None, 1);
        assert_eq!(values(reader.read_until(3).await), ["1", "2"]);

        reader.fetcher.assign(tp.clone(), None, 99);
        let event = reader.event().await;
        let FetchEvent::OutOfRange {
            offset: 99,
            earliest: 0,
            latest: 3,
            ..
        } = event
        else {
            panic!("{event:?}")
        };
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_again_is_noticed() {
    for cluster in clusters().await {
        let topic = cluster.topic(1).await;
        let client = cluster.client().await;
        let tp = TopicPartition::new(topic.clone(), 0);
        let producer = cluster.producer(&[]).await;
        producer
            .send(producer.partition(&tp), 0, None, Some(b"old"), &[])
            .unwrap();
        producer.flush().await.unwrap();
        let id = client.topic(&topic).await.unwrap().id;
        let reader = cluster.fetcher(&[]).await;
        reader.fetcher.assign(tp.clone(), Some(id), 0);
        assert_eq!(values(reader.read_until(1).await), ["old"]);

        client.delete_topics(&[&topic]).await.unwrap();
        let again = flott_connectors::kafka::client::admin::NewTopic::new(&*topic, 1);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !client.create_topics(std::slice::from_ref(&again)).await.unwrap()[0] {
            assert!(Instant::now() < deadline, "the topic stays");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let event = reader.event().await;
        assert!(
            matches!(
                &event,
                FetchEvent::Failed {
                    error: KafkaError::TopicRecreated { .. },
                    ..
                }
            ),
            "{event:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named() {
    for cluster in clusters().await {
        let client = cluster.client().await;
        let started = Instant::now();
        let error = client.topic("no-such-topic").await.unwrap_err();
        assert!(
            matches!(&error, KafkaError::UnknownTopic { topic } if topic == "no-such-topic"),
            "{error}"
        );
        assert!(started.elapsed() < Duration::from_secs(5));
        let timeout = client.transaction_max_timeout().await.unwrap();
        assert!(timeout.is_some_and(|t| t >= Duration::from_secs(60)), "{timeout:?}");
    }
}

#[tokio::test]
async fn a_broker_out_of_reach_is_named() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    drop(silent);
    let bootstrap = format!("127.0.0.1:{port}");
    let properties = KafkaProperties::new([("bootstrap.servers", &*bootstrap), ("default.api.timeout.ms", "300")]);
    let started = Instant::now();
    let error = KafkaClient::connect(&properties).await.unwrap_err().to_string();
    assert!(
        error.contains(&bootstrap) && error.contains("default.api.timeout.ms"),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(3));
}
