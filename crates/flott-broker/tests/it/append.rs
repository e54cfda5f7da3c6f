//! Appending in process, and what retention leaves of it.

use anyhow::Result;
use flott_broker::conformance::Client;
use flott_broker::{AppendError, Broker, PlainRecord, ResponseError, StartError};

use crate::support::{batch, fetch, records};

#[tokio::test]
async fn records_and_batches_appended_in_process_are_fetched() -> Result<()> {
    let broker = Broker::builder().start().await?;
    broker.create_topic("t", 2)?;
    let record = PlainRecord {
        timestamp_ms: 42,
        key: Some(b"k"),
        value: None,
    };
    assert_eq!(broker.append_records("t", 0, &[record])?, 0);
    let two_batches = [batch(&["a", "b"]), batch(&["c"])].concat();
    assert_eq!(broker.append_batches("t", 0, two_batches.into())?, 1);
    assert_eq!(broker.append_records("t", 0, &[])?, 4);
    assert_eq!(broker.log_end_offsets("t")?, [4, 0]);
    assert_eq!(broker.last_stable_offsets("t")?, [4, 0]);

    let mut client = Client::connect(&broker.bootstrap()).await?;
    let found = records(&fetch(&mut client, "t", 0).await?)?;
    assert_eq!(
        (found[0].timestamp, found[0].key.as_deref(), found[0].value.as_deref()),
        (42, Some(&b"k"[..]), None)
    );
    let values: Vec<_> = found.iter().filter_map(|record| record.value.as_deref()).collect();
    assert_eq!(values, [b"a", b"b", b"c"]);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_appended_is_said() -> Result<()> {
    let broker = Broker::builder().start().await?;
    broker.create_topic("t", 1)?;
    let missing = broker.append_records("t", 3, &[]);
    assert_eq!(
        missing,
        Err(AppendError::UnknownPartition {
            topic: "t".into(),
            partition: 3
        })
    );
    let mut torn = batch(&["a"]);
    torn.truncate(torn.len() - 1);
    let refused = broker.append_batches("t", 0, torn);
    let expected = AppendError::Refused {
        topic: "t".into(),
        partition: 0,
        reason: ResponseError::CorruptMessage,
    };
    assert_eq!(refused, Err(expected));
    Ok(())
}

#[tokio::test]
async fn the_oldest_batches_of_all_partitions_go_at_the_limit() -> Result<()> {
    let broker = Broker::builder().retention_bytes(1 << 20).start().await?;
    broker.create_topic("old", 1)?;
    broker.create_topic("t", 2)?;
    let value = "x".repeat(10_000);
    broker.append_batches("old", 0, batch(&[&value]))?;
    for _ in 0..100 {
        broker.append_batches("t", 0, batch(&[&value]))?;
        broker.append_batches("t", 1, batch(&[&value, &value]))?;
    }
    assert_eq!(broker.log_end_offsets("t")?, [100, 200]);
    assert_eq!(
        (broker.log_start_offsets("old")?, broker.log_end_offsets("old")?),
        (vec![1], vec![1])
    );
    // About 35 rounds of 30 kB stay.
    let starts = broker.log_start_offsets("t")?;
    assert!(
        (60..70).contains(&starts[0]) && (120..140).contains(&starts[1]),
        "{starts:?}"
    );

    let mut client = Client::connect(&broker.bootstrap()).await?;
    let below = fetch(&mut client, "t", starts[0] - 1).await?;
    assert_eq!(below.error_code, ResponseError::OffsetOutOfRange.code());
    let first = records(&fetch(&mut client, "t", starts[0]).await?)?;
    assert_eq!(first[0].offset, starts[0]);

    // A deleted topic gives its bytes back.
    broker.delete_topic("t")?;
    broker.create_topic("t", 1)?;
    for _ in 0..100 {
        broker.append_batches("t", 0, batch(&[&value]))?;
    }
    assert_eq!(broker.log_start_offsets("t")?, [0]);
    Ok(())
}

#[tokio::test]
async fn a_broker_does_not_start_where_it_should_not() -> Result<()> {
    let first = Broker::builder().start().await?;
    let taken = Broker::builder().listen(first.bootstrap()).start().await;
    assert!(matches!(taken, Err(StartError::Listen { .. })));
    let open = Broker::builder().listen("0.0.0.0:0").start().await;
    assert!(matches!(open, Err(StartError::NotLoopback { .. })));
    let none = Broker::builder().default_partitions(0).start().await;
    assert!(matches!(none, Err(StartError::DefaultPartitions { partitions: 0 })));
    first.shutdown().await;
    let again = Broker::builder().listen(first.bootstrap()).start().await?;
    assert_eq!(again.bootstrap(), first.bootstrap());
    Ok(())
}
