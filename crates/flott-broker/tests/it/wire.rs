//! What the checks that a real broker shares cannot see: waiting for bytes, large answers, broken clients, shutdown.

use std::time::{Duration, Instant};

use anyhow::Result;
use flott_broker::Broker;
use flott_broker::conformance::{CheckError, Client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{batch, fetch, fetch_request, produce, records};

#[tokio::test]
async fn a_fetch_waits_for_as_many_bytes_as_it_asked_for() -> Result<()> {
    let broker = Broker::builder().start().await?;
    broker.create_topic("t", 1)?;
    let mut client = Client::connect(&broker.bootstrap()).await?;
    let request = fetch_request("t", 0, 3 * 1000, 20_000);
    let value = "x".repeat(1000);
    let append = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            broker.append_batches("t", 0, batch(&[&value]))?;
        }
        anyhow::Ok(())
    };
    let (answer, appended) = tokio::join!(client.call(&request, 12), append);
    appended?;
    assert_eq!(records(&answer?.responses[0].partitions[0])?.len(), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_arrive_whole_from_several_writers() -> Result<()> {
    let broker = Broker::builder().start().await?;
    broker.create_topic("t", 1)?;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let broker = broker.clone();
            tokio::spawn(async move {
                let mut client = Client::connect(&broker.bootstrap()).await?;
                for count in 0..50 {
                    // From below to far above the size from which bytes are shared instead of copied.
                    let value = format!("{writer}-{}", "x".repeat(count * 997));
                    let (error, _) = produce(&mut client, "t", batch(&[&value, "small"])).await?;
                    anyhow::ensure!(error == 0, "error {error}");
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    let mut client = Client::connect(&broker.bootstrap()).await?;
    let data = fetch(&mut client, "t", 0).await?;
    assert!(data.records.as_ref().map_or(0, |records| records.len()) > 4 << 20);
    let offsets: Vec<_> = records(&data)?.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, (0..400).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_client_that_talks_nonsense_is_disconnected_and_harms_no_one() -> Result<()> {
    let broker = Broker::builder().start().await?;
    broker.create_topic("t", 1)?;
    let mut bystander = Client::connect(&broker.bootstrap()).await?;
    let nonsense: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0, 0, 0, 2, 0, 0],
        // Request 11 (JoinGroup), which is not offered; Produce in version 99; a Produce that ends early.
        &[0, 0, 0, 8, 0, 11, 0, 5, 0, 0, 0, 1],
        &[0, 0, 0, 8, 0, 0, 0, 99, 0, 0, 0, 1],
        &[0, 0, 0, 12, 0, 0, 0, 9, 0, 0, 0, 1, 255, 255, 0, 1],
    ];
    for bytes in nonsense {
        let mut stream = TcpStream::connect(broker.bootstrap()).await?;
        stream.write_all(bytes).await?;
        let mut rest = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await?;
        assert!(end.is_err() || rest.is_empty(), "{bytes:?} got an answer");
        assert_eq!(produce(&mut bystander, "t", batch(&["v"])).await?.0, 0);
    }
    Ok(())
}

#[tokio::test]
async fn shutdown_ends_waiting_fetches_and_dropping_is_shutdown() -> Result<()> {
    for drop_it in [false, true] {
        let broker = Broker::builder().start().await?;
        broker.create_topic("t", 1)?;
        let mut client = Client::connect(&broker.bootstrap()).await?;
        let request = fetch_request("t", 0, 1, 60_000);
        let began = Instant::now();
        let stop = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if drop_it { drop(broker) } else { broker.shutdown().await }
        };
        let (answer, ()) = tokio::join!(client.call(&request, 12), stop);
        assert!(matches!(answer, Err(CheckError::Broken { .. })), "{answer:?}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    Ok(())
}
