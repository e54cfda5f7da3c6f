//! Answers that get lost, leaders that change, transactions that expire: on the embedded broker's fault hooks.

use std::time::Duration;

use flott_broker::{ApiKey, ResponseError};
use flott_connectors::kafka::client::offsets::{Isolation, TopicPartition};
use flott_connectors::kafka::client::transactions::EndOutcome;

use crate::support::{embedded, fresh};

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
