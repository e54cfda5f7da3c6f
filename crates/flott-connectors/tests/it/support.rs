//! Brokers to test against, and a reader and writer of whole topics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flott_broker::Broker;
use flott_connectors::kafka::client::admin::NewTopic;
use flott_connectors::kafka::client::batch::walk::{RecordWalker, WalkOptions};
use flott_connectors::kafka::client::fetch::{FetchConfig, FetchEvent, Fetcher, Waker};
use flott_connectors::kafka::client::offsets::{Isolation, OffsetAt, TopicPartition};
use flott_connectors::kafka::client::producer::{Producer, ProducerConfig};
use flott_connectors::kafka::client::{KafkaClient, KafkaProperties};
use tokio::sync::Notify;

pub struct Cluster {
    pub bootstrap: String,
    /// `None`: a real Kafka.
    pub broker: Option<Broker>,
}

/// The embedded broker, and the real one when there is one.
pub async fn clusters() -> Vec<Cluster> {
    let mut all = vec![embedded().await];
    if let Ok(bootstrap) = std::env::var("FLOTT_KAFKA") {
        all.push(Cluster {
            bootstrap,
            broker: None,
        });
    }
    all
}

pub async fn embedded() -> Cluster {
    let broker = Broker::builder().auto_create_topics(false).start().await.unwrap();
    Cluster {
        bootstrap: broker.bootstrap(),
        broker: Some(broker),
    }
}

/// A name that no other test and no earlier run uses.
pub fn fresh(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    format!("{name}-{}-{}", now.as_nanos(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Cluster {
    pub fn properties(&self, more: &[(&str, &str)]) -> KafkaProperties {
        let mut p = KafkaProperties::new(more.iter().copied());
        p.set_default("bootstrap.servers", &*self.bootstrap);
        p
    }

    pub async fn client(&self) -> Arc<KafkaClient> {
        self.client_with(&[]).await
    }

    pub async fn client_with(&self, more: &[(&str, &str)]) -> Arc<KafkaClient> {
        KafkaClient::connect(&self.properties(more)).await.unwrap()
    }

    pub async fn topic(&self, partitions: i32) -> Arc<str> {
        let name = fresh("t");
        let client = self.client().await;
        assert_eq!(
            client
                .create_topics(&[NewTopic::new(&*name, partitions)])
                .await
                .unwrap(),
            [true]
        );
        assert_eq!(client.topic(&name).await.unwrap().leaders.len(), partitions as usize);
        Arc::from(name)
    }

    pub async fn producer(&self, more: &[(&str, &str)]) -> Producer {
        let config = ProducerConfig::from_properties(&self.properties(more)).unwrap();
        Producer::new(self.client_with(more).await, config, no_waker())
    }

    pub async fn transactional(&self) -> Producer {
        self.transactional_with(&[]).await
    }

    pub async fn transactional_with(&self, more: &[(&str, &str)]) -> Producer {
        let config = ProducerConfig::from_properties(&self.properties(more)).unwrap();
        Producer::transactional(self.client_with(more).await, config, no_waker())
    }

    pub async fn fetcher(&self, more: &[(&str, &str)]) -> Reader {
        let config = FetchConfig::from_properties(&self.properties(more)).unwrap();
        let notify = Arc::new(Notify::new());
        let for_waker = notify.clone();
        let options = WalkOptions {
            check_crcs: true,
            read_committed: config.isolation == Isolation::ReadCommitted,
        };
        let fetcher = Fetcher::new(
            self.client_with(more).await,
            config,
            Arc::new(move || for_waker.notify_one()),
        );
        Reader {
            fetcher,
            notify,
            options,
        }
    }

    /// Values of a partition up to its present end, in order of offset.
    /// Values that a read-committed reader sees, once it sees `count` of them or 20 seconds have passed: a broker writes the
    /// markers of a transaction's end after its answer.
    pub async fn committed(&self, topic: &Arc<str>, partition: i32, count: usize) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let read = self.read(topic, partition, Isolation::ReadCommitted).await;
            if read.len() >= count || Instant::now() > deadline {
                return read.into_iter().map(|(_, value)| value).collect();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn read(&self, topic: &Arc<str>, partition: i32, isolation: Isolation) -> Vec<(i64, String)> {
        let level = if isolation == Isolation::ReadCommitted {
            "read_committed"
        } else {
            "read_uncommitted"
        };
        let tp = TopicPartition::new(topic.clone(), partition);
        let client = self.client().await;
        let end = client
            .list_offsets(&[(tp.clone(), OffsetAt::Latest)], isolation)
            .await
            .unwrap()[&tp]
            .unwrap();
        let reader = self.fetcher(&[("isolation.level", level)]).await;
        reader.fetcher.assign(tp, None, 0);
        reader.read_until(end).await
    }
}

pub fn no_waker() -> Waker {
    Arc::new(|| {})
}

pub struct Reader {
    pub fetcher: Fetcher,
    notify: Arc<Notify>,
    options: WalkOptions,
}

impl Reader {
    pub async fn event(&self) -> FetchEvent {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(event) = self.fetcher.poll() {
                return event;
            }
            tokio::time::timeout_at(deadline.into(), self.notify.notified())
                .await
                .expect("no event within 20 s");
        }
    }

    pub async fn read_until(&self, end: i64) -> Vec<(i64, String)> {
        let mut out = Vec::new();
        let mut position = 0;
        while position < end {
            match self.event().await {
                FetchEvent::Records(fetched) => {
                    let mut walker = RecordWalker::new(fetched, self.options);
                    while let Some(r) = walker.next().unwrap() {
                        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
                        out.push((r.offset, r.value.map_or_else(|| "null".to_owned(), text)));
                    }
                    position = walker.position();
                }
                other => panic!("{other:?}"),
            }
        }
        out
    }
}
