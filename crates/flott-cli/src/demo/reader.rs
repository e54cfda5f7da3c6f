//! The demo's results, read back from the output topic as any consumer would: with the Kafka client, read committed.

use anyhow::{Context, Result, bail};
use flott_connectors::kafka::client::batch::walk::{RecordWalker, WalkOptions};
use flott_connectors::kafka::client::fetch::{FetchConfig, FetchEvent, Fetcher};
use flott_connectors::kafka::client::offsets::TopicPartition;
use flott_connectors::kafka::client::{KafkaClient, KafkaProperties};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

/// The topic that the job writes.
pub const TOPIC: &str = "website-traffic-stats";
/// Its partitions.
pub const PARTITIONS: i32 = 3;

/// A result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Website.
    pub website: String,
    /// Start of its window, as the job writes it.
    pub window: String,
    /// Its sum.
    pub traffic: i64,
    /// When it was read.
    pub read_at: Instant,
}

/// Reads all results and hands them on, until the receiver is gone.
///
/// # Errors
/// If the topic cannot be read, or a line of it is none of the job's.
pub async fn read(bootstrap: String, rows: UnboundedSender<Row>) -> Result<()> {
    let properties = KafkaProperties::new([
        ("bootstrap.servers", bootstrap.as_str()),
        ("isolation.level", "read_committed"),
    ]);
    let client = KafkaClient::connect(&properties)
        .await
        .context("the results cannot be read back")?;
    let config = FetchConfig::from_properties(&properties)?;
    let notify = Arc::new(Notify::new());
    let waker = notify.clone();
    let fetcher = Fetcher::new(client, config, Arc::new(move || waker.notify_one()));
    let topic: Arc<str> = Arc::from(TOPIC);
    for partition in 0..PARTITIONS {
        fetcher.assign(TopicPartition::new(topic.clone(), partition), None, 0);
    }
    let options = WalkOptions {
        check_crcs: true,
        read_committed: true,
    };
    loop {
        let Some(event) = fetcher.poll() else {
            tokio::select! {
                () = notify.notified() => {}
                () = rows.closed() => return Ok(()),
            }
            continue;
        };
        let fetched = match event {
            FetchEvent::Records(fetched) => fetched,
            FetchEvent::OutOfRange { partition, offset, .. } => {
                bail!("{partition} has lost its records from offset {offset}")
            }
            FetchEvent::Failed { partition, error } => bail!("{partition} cannot be read: {error}"),
        };
        let read_at = Instant::now();
        let mut walker = RecordWalker::new(fetched, options);
        while let Some(record) = walker.next()? {
            let text = String::from_utf8_lossy(record.value.unwrap_or_default());
            let Some(row) = parse(&text, read_at) else {
                bail!("the job wrote the line '{text}', which is none of its own")
            };
            if rows.send(row).is_err() {
                return Ok(());
            }
        }
    }
}

/// `website,"window start",traffic`
fn parse(line: &str, read_at: Instant) -> Option<Row> {
    let (website, rest) = line.split_once(',')?;
    let (window, traffic) = rest.rsplit_once(',')?;
    Some(Row {
        website: website.to_owned(),
        window: window.trim_matches('"').to_owned(),
        traffic: traffic.parse().ok()?,
        read_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_job_are_read() {
        let row = parse("news.example,\"2026-01-01 00:01:00\",42", Instant::now()).unwrap();
        assert_eq!(
            (row.website.as_str(), row.window.as_str(), row.traffic),
            ("news.example", "2026-01-01 00:01:00", 42)
        );
        assert_eq!(parse("news.example,42x", Instant::now()), None);
    }
}
