//! Every hook of [`flott_broker::Faults`] does to a client what it says.

use std::time::{Duration, Instant};

use anyhow::Result;
use flott_broker::conformance::{CheckError, Client};
use flott_broker::{ApiKey, Broker, FaultError, ResponseError};
use kafka_protocol::messages::fetch_request::FetchRequest;

use crate::support::{add_partition, batch, commit_request, fetch, fetch_request, init_producer, produce, records};

#[tokio::test]
async fn a_dropped_answer_belongs_to_a_request_that_was_executed() -> Result<()> {
    let broker = Broker::builder().start().await?;
    broker.create_topic("t", 1)?;
    let mut client = Client::connect(&broker.bootstrap()).await?;
    let producer = init_producer(&mut client, "id", 60_000).await?;
    assert_eq!(add_partition(&mut client, "id", producer, "t").await?, 0);

    broker.faults().drop_answers(ApiKey::EndTxn, 1);
    let commit = commit_request("id", producer);
    let lost = client.call(&commit, 3).await;
    assert!(matches!(lost, Err(CheckError::Broken { .. })), "{lost:?}");
    assert_eq!(broker.log_end_offsets("t")?, [1], "the marker is there");
    let mut client = Client::connect(&broker.bootstrap()).await?;
    assert_eq!(
        client.call(&commit, 3).await?.error_code,
        0,
        "the repeated commit is fine"
    );
    assert_eq!(broker.log_end_offsets("t")?, [1], "and wrote nothing");
    Ok(())
}

#[tokio::test]
async fn a_dropped_request_was_not_executed() -> Result<()> {
    let broker = Broker::builder().start().await?;
    broker.create_topic("t", 1)?;
    let mut client = Client::connect(&broker.bootstrap()).await?;
    broker.faults().drop_requests(ApiKey::Produce, 1);
    assert!(produce(&mut client, "t", batch(&["lost"])).await.is_err());
    assert_eq!(broker.log_end_offsets("t")?, [0]);
    let mut client = Client::connect(&broker.bootstrap()).await?;
    assert_eq!(produce(&mut client, "t", batch(&["kept"])).await?, (0, 0));
    Ok(())
}

#[tokio::test]
async fn injected_errors_come_in_order_and_end() -> Result<()> {
    let broker = Broker::builder().start().await?;
    broker.create_topic("t", 1)?;
    let mut client = Client::connect(&broker.bootstrap()).await?;
    let (not_leader, timed_out) = (ResponseError::NotLeaderOrFollower, ResponseError::RequestTimedOut);
    broker.faults().fail(ApiKey::Produce, not_leader, 2);
    broker.faults().fail(ApiKey::Produce, timed_out, 1);
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(produce(&mut client, "t", batch(&["v"])).await?.0);
    }
    assert_eq!(codes, [not_leader.code(), not_leader.code(), timed_out.code(), 0]);
    assert_eq!(broker.log_end_offsets("t")?, [1], "refused requests append nothing");

    broker.faults().fail(ApiKey::Fetch, not_leader, 1);
    assert_eq!(fetch(&mut client, "t", 0).await?.error_code, not_leader.code());
    broker.faults().fail(ApiKey::Fetch, not_leader, 9);
    broker.faults().clear();
    assert_eq!(fetch(&mut client, "t", 0).await?.error_code, 0);
    Ok(())
}

#[tokio::test]
async fn an_expired_transaction_fences_its_producer() -> Result<()> {
    let broker = Broker::builder().start().await?;
    broker.create_topic("t", 1)?;
    let mut client = Client::connect(&broker.bootstrap()).await?;
    let producer = init_producer(&mut client, "id", 60_000).await?;
    let nothing = broker.faults().expire_transaction("id");
    assert_eq!(
        nothing,
        Err(FaultError::NoOpenTransaction {
            transactional_id: "id".into()
        })
    );
    assert_eq!(add_partition(&mut client, "id", producer, "t").await?, 0);
    broker.faults().expire_transaction("id")?;
    let late = client.call(&commit_request("id", producer), 3).await?;
    assert_eq!(late.error_code, ResponseError::ProducerFenced.code());
    Ok(())
}

#[tokio::test]
async fn timeouts_come_as_soon_as_they_are_due() -> Result<()> {
    let broker = Broker::builder().start().await?;
    broker.create_topic("t", 1)?;
    let mut client = Client::connect(&broker.bootstrap()).await?;
    let patient = init_producer(&mut client, "patient", 60_000).await?;
    assert_eq!(add_partition(&mut client, "patient", patient, "t").await?, 0);
    let hasty = init_producer(&mut client, "hasty", 100).await?;
    let began = Instant::now();
    assert_eq!(add_partition(&mut client, "hasty", hasty, "t").await?, 0);
    while broker.log_end_offsets("t")? != [1] {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "the marker of the abort never came"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(100));
    let late = client.call(&commit_request("hasty", hasty), 3).await?;
    assert_eq!(late.error_code, ResponseError::ProducerFenced.code());
    assert_eq!(client.call(&commit_request("patient", patient), 3).await?.error_code, 0);
    Ok(())
}

#[tokio::test]
async fn a_new_leader_epoch_fences_readers_that_name_the_old_one() -> Result<()> {
    let broker = Broker::builder().start().await?;
    broker.create_topic("t", 1)?;
    broker.append_batches("t", 0, batch(&["a"]))?;
    let in_epoch = |epoch: i32| -> FetchRequest {
        let mut request = fetch_request("t", 0, 1, 10_000);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        request
    };
    let mut client = Client::connect(&broker.bootstrap()).await?;
    assert_eq!(broker.faults().change_leader_epoch("t", 0)?, 1);
    let fenced = client.call(&in_epoch(0), 12).await?;
    let fenced = fenced.responses[0].partitions[0].error_code;
    assert_eq!(fenced, ResponseError::FencedLeaderEpoch.code());
    broker.append_batches("t", 0, batch(&["b"]))?;
    let found = client.call(&in_epoch(1), 12).await?;
    let epochs: Vec<_> = records(&found.responses[0].partitions[0])?
        .iter()
        .map(|record| record.partition_leader_epoch)
        .collect();
    assert_eq!(epochs, [0, 1]);
    assert!(broker.faults().change_leader_epoch("t", 7).is_err());
    Ok(())
}

#[tokio::test]
async fn a_recreated_topic_is_empty_and_wakes_its_readers() -> Result<()> {
    let broker = Broker::builder().start().await?;
    broker.create_topic("t", 1)?;
    broker.append_batches("t", 0, batch(&["a"]))?;
    let mut client = Client::connect(&broker.bootstrap()).await?;
    let request = fetch_request("t", 1, 1, 20_000);
    let began = Instant::now();
    let recreate = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        broker.faults().recreate_topic("t")
    };
    let (woken, recreated) = tokio::join!(client.call(&request, 12), recreate);
    recreated?;
    assert!(began.elapsed() < Duration::from_secs(10));
    // By name, the reader finds the new topic, which has nothing at offset 1.
    let partition = &woken?.responses[0].partitions[0];
    assert_eq!(partition.error_code, ResponseError::OffsetOutOfRange.code());
    assert_eq!(broker.log_end_offsets("t")?, [0]);
    Ok(())
}
