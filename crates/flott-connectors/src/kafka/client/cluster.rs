//! [`KafkaClient`]: what is known of a cluster, connections to its brokers, and the retry budget.
//!
//! Metadata (brokers, leaders, topic ids) is a snapshot behind an `Arc` that a refresh replaces. Whoever meets a stale leader
//! calls [`KafkaClient::refresh`] and looks again; [`KafkaClient::retry`] is the loop around it: pauses that double, up to
//! `default.api.timeout.ms` (or another budget), then [`KafkaError::BudgetExhausted`] with the last failure.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{FindCoordinatorRequest, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::config::{Backoff, ClientConfig, KafkaProperties};
use super::connection::Connection;
use super::error::{ErrorCode, KafkaError};

/// What a connection is for. A broker answers a connection's requests in order, so a long poll has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    General,
    Fetch,
    Produce,
}

/// What a coordinator coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CoordinatorKind {
    Group = 0,
    Transaction = 1,
}

/// A partition's leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Broker id; `None` during an election.
    pub node: Option<i32>,
    /// -1 when the broker does not tell.
    pub epoch: i32,
}

/// A topic as the cluster describes it.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: Arc<str>,
    /// Nil when the broker has no topic ids.
    pub id: Uuid,
    pub is_internal: bool,
    /// By partition number; all are present.
    pub leaders: Vec<Leader>,
}

/// A snapshot of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    pub brokers: HashMap<i32, (String, u16)>,
    pub controller: Option<i32>,
    topics: HashMap<Arc<str>, Arc<Topic>>,
}

impl Cluster {
    /// A topic that was asked for before.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The leader of a partition, when one is known.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<Leader> {
        self.topics
            .get(topic)?
            .leaders
            .get(usize::try_from(partition).ok()?)
            .copied()
    }
}

#[derive(Debug)]
struct Slot {
    state: tokio::sync::Mutex<SlotState>,
}

#[derive(Debug)]
struct SlotState {
    connection: Option<Arc<Connection>>,
    backoff: Backoff,
    not_before: Option<Instant>,
}

/// See the module. Cheap to share behind its `Arc`.
#[derive(Debug)]
pub struct KafkaClient {
    config: ClientConfig,
    runtime: Handle,
    cluster: RwLock<Arc<Cluster>>,
    slots: Mutex<HashMap<(i32, Purpose), Arc<Slot>>>,
    coordinators: Mutex<HashMap<(CoordinatorKind, String), i32>>,
    /// When a person was told last that the cluster does not do what is asked.
    told: Mutex<Option<Instant>>,
}

/// How long a topic that the cluster does not know is asked for again: a broker may learn of a new topic a moment later.
const UNKNOWN_TOPIC_GRACE: Duration = Duration::from_millis(1_500);

/// How long requests may fail before a person is told of it, how long one may have no answer, and how long they are not told again.
pub(super) const TELL_AFTER: Duration = Duration::from_secs(2);
const TELL_SILENCE_AFTER: Duration = Duration::from_secs(5);
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// A name in the protocol's type.
pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

impl KafkaClient {
    /// Reads the settings of `properties` and reaches the cluster once, retrying within `default.api.timeout.ms`.
    pub async fn connect(properties: &KafkaProperties) -> Result<Arc<Self>, KafkaError> {
        Self::connect_with(ClientConfig::from_properties(properties)?).await
    }

    /// [`KafkaClient::connect`] with settings that were read before.
    pub async fn connect_with(config: ClientConfig) -> Result<Arc<Self>, KafkaError> {
        let client = Self::unconnected(config, Handle::current());
        client
            .retry("connecting to kafka", |_| client.metadata(Some(&[])))
            .await?;
        Ok(client)
    }

    /// A client that asks nothing yet; its network work runs on `runtime`.
    pub fn unconnected(config: ClientConfig, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            config,
            runtime,
            cluster: RwLock::default(),
            slots: Mutex::default(),
            coordinators: Mutex::default(),
            told: Mutex::default(),
        })
    }

    /// Whether a person was not told lately that the cluster does not do what is asked; then they are now.
    pub(super) fn may_tell(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let may = told.is_none_or(|at| at.elapsed() >= TELL_AGAIN_AFTER);
        if may {
            *told = Some(Instant::now());
        }
        may
    }

    /// The settings.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// The runtime that network work runs on.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// What is known now.
    pub fn cluster(&self) -> Arc<Cluster> {
        self.cluster.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs `attempt` until it succeeds, fails for good, or `default.api.timeout.ms` is over; it gets the attempt's number.
    pub async fn retry<T, F: Future<Output = Result<T, KafkaError>>>(
        &self,
        what: &str,
        attempt: impl FnMut(u32) -> F,
    ) -> Result<T, KafkaError> {
        self.retry_for(what, self.config.api_timeout, "default.api.timeout.ms", attempt)
            .await
    }

    /// [`KafkaClient::retry`] with another budget, named by its option.
    pub async fn retry_for<T, F: Future<Output = Result<T, KafkaError>>>(
        &self,
        what: &str,
        budget: Duration,
        option: &'static str,
        mut attempt: impl FnMut(u32) -> F,
    ) -> Result<T, KafkaError> {
        let started = Instant::now();
        let mut backoff = Backoff::new(self.config.retry_backoff, self.config.retry_backoff_max);
        for number in 0.. {
            let left = budget.saturating_sub(started.elapsed());
            let mut work = pin!(attempt(number));
            let outcome = match tokio::time::timeout(TELL_SILENCE_AFTER, &mut work).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    if self.may_tell() {
                        tracing::warn!(
                            "{what}: no answer for {} s; it is waited for as long as 'request.timeout.ms' says",
                            TELL_SILENCE_AFTER.as_secs()
                        );
                    }
                    work.await
                }
            };
            let failure = match outcome {
                Ok(value) => return Ok(value),
                Err(e) if !e.is_retriable() => return Err(e),
                Err(e) => e,
            };
            if started.elapsed() >= TELL_AFTER && self.may_tell() {
                tracing::warn!(
                    "{what}: {failure}; it is tried again for up to {} s ('{option}')",
                    budget.as_secs()
                );
            }
            let pause = backoff.pause();
            if left <= pause || started.elapsed() >= budget {
                let waited_ms = started.elapsed().as_millis() as u64;
                return Err(KafkaError::BudgetExhausted {
                    what: what.into(),
                    waited_ms,
                    option,
                    source: failure.into(),
                });
            }
            tracing::debug!(what, error = %failure, "kafka request failed and is tried again");
            tokio::time::sleep(pause).await;
        }
        Err(KafkaError::Closed)
    }

    /// The connection to broker `node` for `purpose`, opened when there is none.
    ///
    /// After a failed attempt it waits `reconnect.backoff.ms`, doubled each time, before the next.
    pub async fn connection(&self, node: i32, purpose: Purpose) -> Result<Arc<Connection>, KafkaError> {
        let Some((host, port)) = self.address(node) else {
            let reason = "is not known to the cluster any more".to_owned();
            return Err(KafkaError::Disconnected {
                broker: format!("id {node}"),
                reason,
            });
        };
        let slot = self.slot(node, purpose);
        let mut state = slot.state.lock().await;
        if let Some(connection) = &state.connection
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        state.connection = None;
        if let Some(not_before) = state.not_before {
            tokio::time::sleep_until(not_before.into()).await;
        }
        let name = if node < 0 {
            format!("{host}:{port}")
        } else {
            format!("{host}:{port} (id {node})")
        };
        match Connection::open(&host, port, &name, &self.config).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                state.backoff.reset();
                state.not_before = None;
                state.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(e) => {
                state.not_before = Some(Instant::now() + state.backoff.pause());
                Err(e)
            }
        }
    }

    fn slot(&self, node: i32, purpose: Purpose) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let new_slot = || {
            let backoff = Backoff::new(self.config.reconnect_backoff, self.config.reconnect_backoff_max);
            Arc::new(Slot {
                state: tokio::sync::Mutex::new(SlotState {
                    connection: None,
                    backoff,
                    not_before: None,
                }),
            })
        };
        slots.entry((node, purpose)).or_insert_with(new_slot).clone()
    }

    /// Bootstrap addresses have the ids -1, -2, … until the cluster tells its own.
    fn address(&self, node: i32) -> Option<(String, u16)> {
        match usize::try_from(-1 - i64::from(node)) {
            Ok(bootstrap) => self.config.bootstrap.get(bootstrap).cloned(),
            Err(_) => self.cluster().brokers.get(&node).cloned(),
        }
    }

    /// A connection to whichever broker answers first: those of the cluster, then the bootstrap list.
    pub async fn any_connection(&self) -> Result<Arc<Connection>, KafkaError> {
        let mut nodes: Vec<i32> = self.cluster().brokers.keys().copied().collect();
        nodes.sort_unstable();
        nodes.extend((0..self.config.bootstrap.len()).map(|i| -1 - i as i32));
        let mut reason = "no address is known".to_owned();
        for node in nodes {
            match self.connection(node, Purpose::General).await {
                Ok(connection) => return Ok(connection),
                Err(e) if e.is_connection() => reason = e.to_string(),
                Err(e) => return Err(e),
            }
        }
        Err(KafkaError::Unreachable {
            bootstrap: self.config.bootstrap_text(),
            reason,
        })
    }

    /// Asks any broker once.
    pub async fn call_any<R: Request>(&self, request: &R, max_version: i16) -> Result<R::Response, KafkaError> {
        let connection = self.any_connection().await?;
        let version = connection.version::<R>(0, max_version)?;
        connection.call(request, version).await
    }

    /// Asks for `topics` (`None`: all) once, and remembers the answer.
    async fn metadata(&self, topics: Option<&[&str]>) -> Result<MetadataResponse, KafkaError> {
        let connection = self.any_connection().await?;
        let version = connection.version::<MetadataRequest>(4, 13)?;
        let named = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request = MetadataRequest::default()
            .with_allow_auto_topic_creation(false)
            .with_topics(topics.map(|t| t.iter().map(named).collect()));
        let response = connection.call(&request, version).await?;
        self.remember(&response, topics.is_none());
        Ok(response)
    }

    fn remember(&self, response: &MetadataResponse, is_all: bool) {
        let mut guard = self.cluster.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Cluster::clone(&guard);
        next.brokers = response
            .brokers
            .iter()
            .map(|b| (b.node_id.0, (b.host.to_string(), u16::try_from(b.port).unwrap_or(0))))
            .collect();
        next.controller = Some(response.controller_id.0).filter(|c| *c >= 0);
        if is_all {
            next.topics.clear();
        }
        for topic in &response.topics {
            let Some(name) = &topic.name else { continue };
            if ErrorCode::of(topic.error_code).is_some_and(|c| !c.is(ResponseError::LeaderNotAvailable)) {
                next.topics.remove(&*name.0);
                continue;
            }
            let mut leaders = vec![Leader { node: None, epoch: -1 }; topic.partitions.len()];
            for p in &topic.partitions {
                if let Some(leader) = usize::try_from(p.partition_index).ok().and_then(|i| leaders.get_mut(i)) {
                    *leader = Leader {
                        node: Some(p.leader_id.0).filter(|n| *n >= 0),
                        epoch: p.leader_epoch,
                    };
                }
            }
            let name: Arc<str> = Arc::from(&*name.0);
            let id = topic.topic_id;
            next.topics.insert(
                name.clone(),
                Arc::new(Topic {
                    name,
                    id,
                    is_internal: topic.is_internal,
                    leaders,
                }),
            );
        }
        *guard = Arc::new(next);
    }

    /// Asks for `topics` anew, once; a topic that is gone is gone from [`KafkaClient::cluster`] afterwards.
    pub async fn refresh(&self, topics: &[&str]) -> Result<(), KafkaError> {
        self.metadata(Some(topics)).await.map(drop)
    }

    /// Every topic of the cluster, within the retry budget.
    pub async fn all_topics(&self) -> Result<Vec<Arc<Topic>>, KafkaError> {
        self.retry("listing kafka topics", |_| self.metadata(None)).await?;
        let mut topics: Vec<_> = self.cluster().topics.values().cloned().collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// Topic `name` as it is now, within the retry budget; [`KafkaError::UnknownTopic`] when the cluster has none.
    pub async fn topic(&self, name: &str) -> Result<Arc<Topic>, KafkaError> {
        let started = Instant::now();
        let found = self
            .retry(&format!("looking up kafka topic '{name}'"), |_| async {
                let response = self.metadata(Some(&[name])).await?;
                let code = response.topics.first().map_or(0, |t| t.error_code);
                KafkaError::check("Metadata", format!("topic '{name}'"), code).map_err(|e| {
                    let unknown = e.is(ResponseError::UnknownTopicOrPartition);
                    if unknown && started.elapsed() >= UNKNOWN_TOPIC_GRACE {
                        return KafkaError::UnknownTopic { topic: name.to_owned() };
                    }
                    e
                })?;
                Ok(self.cluster().topic(name).cloned())
            })
            .await?;
        found.ok_or_else(|| KafkaError::UnknownTopic { topic: name.to_owned() })
    }

    /// The broker that leads a partition: as cached, or asked for when nothing is cached.
    pub async fn leader(&self, topic: &str, partition: i32) -> Result<(i32, Leader), KafkaError> {
        if self.cluster().topic(topic).is_none() {
            self.refresh(&[topic]).await?;
        }
        let cluster = self.cluster();
        if cluster.topic(topic).is_none() {
            return Err(KafkaError::UnknownTopic {
                topic: topic.to_owned(),
            });
        }
        let unknown = || KafkaError::UnknownPartition {
            topic: topic.to_owned(),
            partition,
        };
        let leader = cluster.leader(topic, partition).ok_or_else(unknown)?;
        let node = leader
            .node
            .ok_or_else(|| stale(topic, partition, ResponseError::LeaderNotAvailable))?;
        Ok((node, leader))
    }

    /// The coordinator of `key`, cached.
    async fn coordinator(&self, kind: CoordinatorKind, key: &str) -> Result<i32, KafkaError> {
        let cached = self.lock_coordinators().get(&(kind, key.to_owned())).copied();
        if let Some(node) = cached {
            return Ok(node);
        }
        let connection = self.any_connection().await?;
        let version = connection.version::<FindCoordinatorRequest>(1, 4)?;
        let key_text = StrBytes::from_string(key.to_owned());
        let request = FindCoordinatorRequest::default().with_key_type(kind as i8);
        let request = if version >= 4 {
            request.with_coordinator_keys(vec![key_text])
        } else {
            request.with_key(key_text)
        };
        let answer = connection.call(&request, version).await?;
        let (code, node, host, port) = match answer.coordinators.first() {
            Some(c) => (c.error_code, c.node_id.0, c.host.clone(), c.port),
            None => (answer.error_code, answer.node_id.0, answer.host.clone(), answer.port),
        };
        KafkaError::check("FindCoordinator", format!("'{key}'"), code)?;
        if !self.cluster().brokers.contains_key(&node) {
            let mut guard = self.cluster.write().unwrap_or_else(PoisonError::into_inner);
            let mut next = Cluster::clone(&guard);
            next.brokers
                .insert(node, (host.to_string(), u16::try_from(port).unwrap_or(0)));
            *guard = Arc::new(next);
        }
        // Transactional ids are used once each: without a bound the cache would grow for ever.
        const MAX_CACHED: usize = 1_024;
        let mut coordinators = self.lock_coordinators();
        if coordinators.len() >= MAX_CACHED {
            coordinators.clear();
        }
        coordinators.insert((kind, key.to_owned()), node);
        Ok(node)
    }

    fn lock_coordinators(&self) -> std::sync::MutexGuard<'_, HashMap<(CoordinatorKind, String), i32>> {
        self.coordinators.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the coordinator of `key`, following it when it moves, until `judge` accepts the answer or fails for good.
    ///
    /// `budget` comes with the name of its option; without one it is `default.api.timeout.ms`.
    pub async fn call_coordinator<R: Request, T>(
        &self,
        kind: CoordinatorKind,
        key: &str,
        max_version: i16,
        budget: Option<(Duration, &'static str)>,
        build: impl Fn(i16) -> R,
        judge: impl Fn(R::Response) -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        let api = super::connection::api_name::<R>();
        let what = format!("kafka {api} of '{key}'");
        let (budget, option) = budget.unwrap_or((self.config.api_timeout, "default.api.timeout.ms"));
        self.retry_for(&what, budget, option, |_| async {
            let node = self.coordinator(kind, key).await?;
            let outcome = async {
                let connection = self.connection(node, Purpose::General).await?;
                let version = connection.version::<R>(0, max_version)?;
                judge(connection.call(&build(version), version).await?)
            }
            .await;
            if let Err(e) = &outcome
                && (e.is_connection() || e.code().is_some_and(ErrorCode::is_stale_coordinator))
            {
                self.lock_coordinators().remove(&(kind, key.to_owned()));
            }
            outcome
        })
        .await
    }
}

/// The error of a partition whose leader is not what we thought.
pub(crate) fn stale(topic: &str, partition: i32, code: ResponseError) -> KafkaError {
    match ErrorCode::of(code.code()) {
        Some(code) => KafkaError::Broker {
            api: "Metadata",
            target: format!("'{topic}' partition {partition}"),
            code,
            message: None,
        },
        None => KafkaError::UnknownPartition {
            topic: topic.to_owned(),
            partition,
        },
    }
}
