//! Answers that get lost, leaders that change, transactions that expire: on the embedded broker's fault hooks.

use std::time::{Duration, Instant};

use flott_broker::{ApiKey, ResponseError};
use flott_connectors::kafka::KafkaConnector;
use flott_connectors::kafka::client::offsets::{Isolation, TopicPartition};
use flott_connectors::kafka::client::transactions::EndOutcome;

use flott_core::Batch;
use flott_runtime::connector::TableConnector;

use crate::support::{embedded, fresh};
use crate::tables::{Writer, rows, sink_spec, table};

#[tokio::test(flavor = "multi_thread")]
async fn lost_produce_answers_neither_lose_nor_double_nor_reorder() {
    let cluster = embedded().await;
    let faults = cluster.broker.as_ref().unwrap().faults();
    let topic = cluster.topic(2).await;
    let producer = cluster
        .producer(&[("batch.size", "500"), ("linger.ms", "0"), ("retry.backoff.ms", "20")])
        .await;
    let partitions: Vec<_> = (0..2)
        .map(|p| producer.partition(&TopicPartition::new(topic.clone(), p)))
        .collect();
    for round in 0..6 {
        match round % 3 {
            0 => faults.drop_answers(ApiKey::Produce, 2),
            1 => faults.fail(ApiKey::Produce, ResponseError::NotLeaderOrFollower, 3),
            _ => faults.fail(ApiKey::Produce, ResponseError::NotEnoughReplicas, 2),
        }
        for i in 0..100 {
            let value = format!("{}", round * 100 + i);
            for partition in &partitions {
                producer.send(*partition, 0, None, Some(value.as_bytes()), &[]).unwrap();
            }
            if i % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
    producer.flush().await.unwrap();
    faults.clear();
    for p in 0..2 {
        let read = cluster.read(&topic, p, Isolation::ReadUncommitted).await;
        let expected: Vec<(i64, String)> = (0..600).map(|i| (i, i.to_string())).collect();
        assert!(
            read == expected,
            "{:?}",
            read.iter().map(|(_, v)| v).collect::<Vec<_>>()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_end_answer_is_asked_again() {
    let cluster = embedded().await;
    let faults = cluster.broker.as_ref().unwrap().faults();
    let topic = cluster.topic(1).await;
    let client = cluster.client().await;
    let producer = cluster.transactional().await;
    let partition = producer.partition(&TopicPartition::new(topic.clone(), 0));
    for (round, key) in [ApiKey::EndTxn, ApiKey::AddPartitionsToTxn, ApiKey::InitProducerId]
        .into_iter()
        .enumerate()
    {
        faults.drop_answers(key, 1);
        producer.begin(fresh("lost"));
        producer
            .send(partition, 0, None, Some(round.to_string().as_bytes()), &[])
            .unwrap();
        producer.flush().await.unwrap();
        let transaction = producer.take_transaction().unwrap().unwrap();
        let outcome = client.end_transaction(&transaction, true).await.unwrap();
        assert!(
            matches!(outcome, EndOutcome::Done | EndOutcome::AlreadyDone),
            "{outcome:?}"
        );
    }
    let read = cluster.read(&topic, 0, Isolation::ReadCommitted).await;
    assert_eq!(read.iter().map(|(_, v)| &**v).collect::<Vec<_>>(), ["0", "1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_transaction_is_lost_and_says_so() {
    let cluster = embedded().await;
    let faults = cluster.broker.as_ref().unwrap().faults();
    let topic = cluster.topic(1).await;
    let client = cluster.client().await;
    let producer = cluster.transactional().await;
    producer.begin(fresh("expired"));
    producer
        .send(
            producer.partition(&TopicPartition::new(topic.clone(), 0)),
            0,
            None,
            Some(b"x"),
            &[],
        )
        .unwrap();
    producer.flush().await.unwrap();
    let transaction = producer.take_transaction().unwrap().unwrap();
    faults.expire_transaction(&transaction.transactional_id).unwrap();
    let EndOutcome::Lost { reason } = client.end_transaction(&transaction, true).await.unwrap() else {
        panic!()
    };
    assert!(
        reason.contains("CompleteAbort") && reason.contains(&transaction.transactional_id),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fetching_rides_out_broken_connections_and_new_leader_epochs() {
    let cluster = embedded().await;
    let broker = cluster.broker.as_ref().unwrap();
    let faults = broker.faults();
    let topic = cluster.topic(1).await;
    let tp = TopicPartition::new(topic.clone(), 0);
    let reader = cluster
        .fetcher(&[("retry.backoff.ms", "20"), ("fetch.max.wait.ms", "50")])
        .await;
    reader.fetcher.assign(tp.clone(), None, 0);
    let producer = cluster.producer(&[("retry.backoff.ms", "20")]).await;
    let partition = producer.partition(&tp);
    for i in 0..6 {
        match i % 3 {
            0 => faults.drop_answers(ApiKey::Fetch, 1),
            1 => faults.fail(ApiKey::Fetch, ResponseError::NotLeaderOrFollower, 2),
            _ => drop(faults.change_leader_epoch(&topic, 0).unwrap()),
        }
        producer
            .send(partition, 0, None, Some(i.to_string().as_bytes()), &[])
            .unwrap();
        producer.flush().await.unwrap();
    }
    let read = reader.read_until(6).await;
    assert_eq!(
        read.iter().map(|(_, v)| &**v).collect::<Vec<_>>(),
        ["0", "1", "2", "3", "4", "5"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_writer_aborts_the_transaction_that_no_checkpoint_lists() {
    let cluster = embedded().await;
    let topic = cluster.topic(1).await;
    let prefix = fresh("dropped");
    let options = [
        ("format", "csv"),
        ("sink.delivery-guarantee", "exactly-once"),
        ("sink.transactional-id-prefix", &*prefix),
    ];
    let spec = sink_spec(table(&cluster, "kafka", &topic, &options), &[]);
    let sink = KafkaConnector.sink(&spec).unwrap();
    let mut writer = Writer::new(&*sink, 0);
    writer.write(Batch::new(rows(&["a"], &[1]), 1)).await;
    let listed = writer.checkpoint(1).await;
    writer.write(Batch::new(rows(&["b"], &[2]), 1)).await;
    writer.flush().await;
    let client = cluster.client().await;
    let open = async || {
        let all = client.list_transactions(&prefix).await.unwrap();
        all.iter().filter(|t| t.state.is_open()).count()
    };
    assert_eq!((listed.len(), open().await), (1, 2));
    drop(writer);
    let deadline = Instant::now() + Duration::from_secs(20);
    while open().await > 1 {
        assert!(Instant::now() < deadline, "the transaction stays open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What the checkpoint lists is not touched.
    let job = flott_runtime::connector::CommitterContext {
        job_id: flott_core::JobId::of("job"),
        job_name: "job".into(),
        operator_id: flott_core::OperatorId::of("kafka"),
        options: std::sync::Arc::default(),
        generation: 1,
    };
    let mut committer = sink.committer(&job).unwrap().unwrap();
    committer.commit(&listed).await.unwrap();
    assert_eq!(cluster.committed(&topic, 0, 1).await, ["a,1"]);
}
