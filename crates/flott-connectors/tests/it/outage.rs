//! A real broker that goes away in the middle of everything.
//!
//! `FLOTT_KAFKA_RESTART` is a shell command that kills the broker of `FLOTT_KAFKA` and starts it again, such as
//! `KAFKA_KILL=1 bench/kafka-down.sh && bench/kafka-up.sh`.

use std::time::Duration;

use flott_connectors::kafka::client::offsets::{Isolation, TopicPartition};
use flott_connectors::kafka::client::transactions::EndOutcome;

use crate::support::{Cluster, fresh};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real broker that it may kill: .ci/run starts it"]
async fn a_restart_in_mid_transaction_loses_and_doubles_nothing() {
    let bootstrap = std::env::var("FLOTT_KAFKA").expect("FLOTT_KAFKA names a real broker");
    let command = std::env::var("FLOTT_KAFKA_RESTART").expect("FLOTT_KAFKA_RESTART is a command that restarts it");
    let cluster = Cluster {
        bootstrap,
        broker: None,
    };
    let topic = cluster.topic(1).await;
    let partition = TopicPartition::new(topic.clone(), 0);
    let reader = cluster.fetcher(&[("default.api.timeout.ms", "600000")]).await;
    reader.fetcher.assign(partition.clone(), None, 0);
    // A busy machine may take minutes to start a broker.
    let patient = [("transaction.timeout.ms", "900000"), ("delivery.timeout.ms", "600000")];
    let transactional = cluster.transactional_with(&patient).await;
    transactional.begin(fresh("outage"));
    let index = transactional.partition(&partition);
    let send = |value: u32| {
        transactional
            .send(index, 0, None, Some(value.to_string().as_bytes()), &[])
            .map(drop)
    };
    for value in 0..500 {
        send(value).unwrap();
    }
    transactional.flush().await.unwrap();

    let restart =
        tokio::task::spawn_blocking(move || std::process::Command::new("sh").arg("-c").arg(&command).status());
    for value in 500..1_000 {
        send(value).unwrap();
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    assert!(restart.await.unwrap().unwrap().success(), "the restart command failed");
    transactional.flush().await.unwrap();
    let transaction = transactional.take_transaction().unwrap().unwrap();
    let client = cluster.client().await;
    assert_eq!(
        client.end_transaction(&transaction, true).await.unwrap(),
        EndOutcome::Done
    );

    let expected: Vec<String> = (0..1_000).map(|v| v.to_string()).collect();
    // The reader was there all the time. The marker of the end, which the coordinator writes after its answer, comes last.
    let followed = reader.read_until(1_001).await;
    assert!(followed.iter().map(|(_, v)| v).eq(&expected), "{followed:?}");
    let committed = cluster.read(&topic, 0, Isolation::ReadCommitted).await;
    assert!(committed.iter().map(|(_, v)| v).eq(&expected), "{committed:?}");
}
