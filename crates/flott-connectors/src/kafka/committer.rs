//! [`KafkaCommitter`]: ends transactions once the checkpoint that lists them exists.
//!
//! A committable is JSON with a version: transactional id, producer id, epoch, start. Every commit may be repeated by any
//! later process. Transactional ids are `<sink.transactional-id-prefix>-flott-<sink>-<run>-<subtask>-<number>` and used once
//! each; `<sink>` is made of the job's name and the sink's operator, so that two sinks of one table do not abort each other's, and `<run>`
//! tells the job, the leader and the attempt.
//!
//! Recovery, before a job starts: 1. commit what the restored checkpoint lists; 2. abort every other transaction of this
//! sink that is open, or begun without a record, at whatever parallelism it was made, but for those that a later leader of the job has begun
//! meanwhile: who recovers may have been stopped in between, and not know that it leads no more. A listed transaction that the broker
//! has expired is lost data: the job stops and names it, unless `'sink.lost-transactions' = 'ignore'`.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use flott_core::{JobId, OperatorId};
use flott_runtime::TaskInfo;
use flott_runtime::connector::{Committer, ConnectorError};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::access::Access;
use super::client::transactions::{Committable, EndOutcome, TransactionState};
use super::client::{KafkaClient, KafkaError};

const VERSION: u32 = 1;
/// Transactions that are ended at the same time.
const CONCURRENT_ENDS: usize = 16;

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    transactional_id: String,
    producer_id: i64,
    producer_epoch: i16,
    start_ms: i64,
}

/// A transaction as a checkpoint keeps it.
pub(super) fn encode(t: &Committable) -> Result<Bytes, String> {
    let stored = Stored {
        version: VERSION,
        transactional_id: t.transactional_id.clone(),
        producer_id: t.producer_id,
        producer_epoch: t.producer_epoch,
        start_ms: t.start_ms,
    };
    serde_json::to_vec(&stored).map(Bytes::from).map_err(|e| e.to_string())
}

fn decode(bytes: &Bytes) -> Result<Committable, String> {
    let s: Stored = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if s.version != VERSION {
        return Err(format!("version {} is not known to this build", s.version));
    }
    Ok(Committable {
        transactional_id: s.transactional_id,
        producer_id: s.producer_id,
        producer_epoch: s.producer_epoch,
        start_ms: s.start_ms,
    })
}

/// What ids of a sink begin with, in every run of the job.
pub(super) fn id_prefix(prefix: &str, job_name: &str, operator: OperatorId) -> String {
    let sink = JobId::of(&format!("{job_name}/{operator}")).to_string();
    format!("{prefix}-flott-{}-", &sink[..8])
}

/// What ids of a writer tell of its job, leader and attempt: `<time>-<generation>-<attempt>-<process>-<job>`.
pub(super) fn run_of(task: &TaskInfo) -> String {
    let process = std::process::id();
    let job = job_part(task.job_id);
    format!("{:x}-{}-{}-{process:x}-{job}", now_ns(), task.generation, task.attempt)
}

fn job_part(job: JobId) -> String {
    job.to_string()[..8].to_owned()
}

/// Nanoseconds since the epoch.
pub(super) fn now_ns() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos())
}

/// By how much the clocks of two machines may differ.
const CLOCK_SKEW_NS: u128 = 10_000_000_000;

/// Whether an id, of which this is what follows the sink's part, is of a leader of the job that came after that of `generation`, and began after
/// `since_ns`: a generation that began before is one of checkpoints that are gone.
fn is_of_later_leader(run: &str, job: JobId, generation: u64, since_ns: u128) -> bool {
    let parts: Vec<&str> = run.split('-').collect();
    let [began, of, _, _, of_job, _, _] = parts[..] else {
        return false;
    };
    let is_later = of.parse().is_ok_and(|of: u64| of > generation);
    let began_ns = u128::from_str_radix(began, 16);
    of_job == job_part(job) && is_later && began_ns.is_ok_and(|began_ns| began_ns + CLOCK_SKEW_NS > since_ns)
}

/// The ids that live committers of this process own.
static OWNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The right to the ids of a sink within this process: of two jobs with one, each would abort what the other has open.
#[derive(Debug)]
pub(super) struct OwnedIds(String);

impl OwnedIds {
    /// Takes the right.
    ///
    /// # Errors
    /// If a job has it.
    pub fn take(label: &str, prefix: String) -> Result<Self, ConnectorError> {
        if OWNED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(prefix.clone())
        {
            return Ok(Self(prefix));
        }
        Err(ConnectorError::Option(format!(
            "{label}: a job of the same 'pipeline.name' that runs in this process writes there exactly once already: put both INSERTs into one STATEMENT SET, or give the second job another 'pipeline.name'"
        )))
    }
}

impl Drop for OwnedIds {
    fn drop(&mut self) {
        OWNED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// See the module.
pub(super) struct KafkaCommitter {
    pub access: Access,
    pub ids: OwnedIds,
    pub ignore_lost: bool,
    /// `transaction.timeout.ms`, when the user sets it.
    pub transaction_timeout: Option<Duration>,
    pub client: Option<Arc<KafkaClient>>,
    pub job: JobId,
    /// Leadership of the JobManager.
    pub generation: u64,
    /// When it had that, in nanoseconds since the epoch.
    pub since_ns: u128,
}

impl KafkaCommitter {
    async fn client(&mut self) -> Result<Arc<KafkaClient>, KafkaError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = KafkaClient::connect(&self.access.properties).await?;
        self.client = Some(client.clone());
        Ok(client)
    }

    fn read(&self, committables: &[Bytes]) -> Result<Vec<Committable>, ConnectorError> {
        let unreadable = |reason| ConnectorError::Fatal {
            message: format!(
                "{}: a kafka transaction in the checkpoint cannot be read: {reason}",
                self.access.label
            ),
            source: None,
        };
        committables.iter().map(|b| decode(b).map_err(unreadable)).collect()
    }

    async fn commit_one(&self, client: &KafkaClient, t: &Committable) -> Result<(), ConnectorError> {
        match client.end_transaction(t, true).await? {
            EndOutcome::Done | EndOutcome::AlreadyDone => Ok(()),
            EndOutcome::Lost { reason } if self.ignore_lost => {
                tracing::error!(table = %self.access.name, id = %t.transactional_id, reason, "kafka transaction lost and ignored");
                Ok(())
            }
            EndOutcome::Lost { reason } => Err(ConnectorError::Fatal {
                message: format!(
                    "{}: the kafka transaction '{}' of a checkpoint (begun at {} ms) can no longer be committed, so its rows are lost: {reason}; raise '{}' above the longest outage, and {} to go on without the rows",
                    self.access.label,
                    t.transactional_id,
                    t.start_ms,
                    self.access.property("transaction.timeout.ms"),
                    self.access.says(
                        "set 'sink.lost-transactions' to 'ignore'",
                        "call ignore_lost_transactions() on the sink's builder"
                    ),
                ),
                source: None,
            }),
        }
    }

    async fn commit_all(&self, client: &KafkaClient, transactions: &[Committable]) -> Result<(), ConnectorError> {
        let mut ends: Vec<BoxFuture<'_, Result<(), ConnectorError>>> = Vec::with_capacity(transactions.len());
        for transaction in transactions {
            ends.push(Box::pin(self.commit_one(client, transaction)));
        }
        stream::iter(ends).buffer_unordered(CONCURRENT_ENDS).try_collect().await
    }

    /// What the broker would refuse later, told before the first record.
    async fn check_timeout(&self, client: &KafkaClient) -> Result<(), ConnectorError> {
        let (Some(wanted), Some(allowed)) = (self.transaction_timeout, client.transaction_max_timeout().await?) else {
            return Ok(());
        };
        if wanted <= allowed {
            return Ok(());
        }
        Err(ConnectorError::Fatal {
            message: format!(
                "{}: '{}' is {} ms, but the broker allows {} ms ('transaction.max.timeout.ms'): lower the one or raise the other",
                self.access.label,
                self.access.property("transaction.timeout.ms"),
                wanted.as_millis(),
                allowed.as_millis()
            ),
            source: None,
        })
    }

    /// Aborts transactions of this sink that no checkpoint will commit.
    async fn abort_others(&self, client: &KafkaClient, listed: &[Committable]) -> Result<(), ConnectorError> {
        let keep: HashSet<&str> = listed.iter().map(|t| &*t.transactional_id).collect();
        let found = client.list_transactions(&self.ids.0).await?;
        let is_later = |id: &str| {
            let run = id.strip_prefix(&self.ids.0).unwrap_or_default();
            is_of_later_leader(run, self.job, self.generation, self.since_ns)
        };
        let is_other = |id: &str| !keep.contains(id) && !is_later(id);
        let others = found.into_iter().filter(|t| is_other(&t.transactional_id));
        let aborts = others.map(|t| async move {
            let must_abort = match t.state {
                TransactionState::Ongoing => true,
                // Epoch 0: a producer took the id and may still write; a later one is left from an abort.
                TransactionState::Empty => {
                    let seen = client.describe_transaction(&t.transactional_id).await?;
                    seen.is_some_and(|d| d.state.is_open() || d.producer.producer_epoch == 0)
                }
                _ => false,
            };
            if must_abort {
                client.abort_transactional_id(&t.transactional_id).await?;
                tracing::info!(table = %self.access.name, id = %t.transactional_id, "kafka transaction of an earlier run aborted");
            }
            Ok::<(), ConnectorError>(())
        });
        stream::iter(aborts)
            .buffer_unordered(CONCURRENT_ENDS)
            .try_collect()
            .await
    }
}

#[async_trait]
impl Committer for KafkaCommitter {
    async fn commit(&mut self, committables: &[Bytes]) -> Result<(), ConnectorError> {
        let transactions = self.read(committables)?;
        if transactions.is_empty() {
            return Ok(());
        }
        let client = self.client().await?;
        self.commit_all(&client, &transactions).await
    }

    async fn recover(&mut self, listed: &[Bytes]) -> Result<(), ConnectorError> {
        let transactions = self.read(listed)?;
        let client = self.client().await?;
        self.check_timeout(&client).await?;
        self.commit_all(&client, &transactions).await?;
        self.abort_others(&client, &transactions).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committables_round_trip_and_version_1_stays_readable() {
        let t = Committable {
            transactional_id: "p-flott-1".into(),
            producer_id: 9,
            producer_epoch: 2,
            start_ms: 5,
        };
        let bytes = encode(&t).unwrap();
        assert_eq!(decode(&bytes).unwrap(), t);
        let golden = br#"{"version":1,"transactional_id":"p-flott-1","producer_id":9,"producer_epoch":2,"start_ms":5}"#;
        assert_eq!(bytes, golden[..]);
        let newer = Bytes::from(
            String::from_utf8(golden.to_vec())
                .unwrap()
                .replace("\"version\":1", "\"version\":2"),
        );
        assert!(decode(&newer).unwrap_err().contains("version 2"));
    }

    #[test]
    fn a_prefix_does_not_cover_a_longer_one() {
        let of = |prefix: &str, job: &str, sink: &str| id_prefix(prefix, job, OperatorId::of(sink));
        let orders = of("orders", "j", "s");
        assert!(orders.starts_with("orders-flott-"), "{orders}");
        assert_eq!(orders, of("orders", "j", "s"), "restarts find them again");
        for other in [
            of("orders-eu", "j", "s"),
            of("orders", "k", "s"),
            of("orders", "j", "t"),
        ] {
            assert!(!other.starts_with(&orders), "{other}");
        }
    }

    #[test]
    fn what_a_later_leader_has_begun_is_its_own() {
        let (job, other) = (JobId::of("j"), JobId::of("k"));
        let id = |job, generation| format!("{:x}-{generation}-7-1f-{}-3-12", 60 * CLOCK_SKEW_NS, job_part(job));
        assert!(is_of_later_leader(&id(job, 4), job, 3, CLOCK_SKEW_NS));
        assert!(!is_of_later_leader(&id(job, 3), job, 3, CLOCK_SKEW_NS), "its own");
        assert!(
            !is_of_later_leader(&id(job, 2), job, 3, CLOCK_SKEW_NS),
            "an earlier one's"
        );
        assert!(
            !is_of_later_leader(&id(other, 4), job, 3, CLOCK_SKEW_NS),
            "another job's of the name"
        );
        assert!(
            !is_of_later_leader(&id(job, 4), job, 3, 70 * CLOCK_SKEW_NS),
            "of checkpoints that are gone"
        );
        assert!(
            !is_of_later_leader("fffffffffffffff-4-7-1f-3-12", job, 3, CLOCK_SKEW_NS),
            "of a release that told no job"
        );
    }

    #[test]
    fn two_live_jobs_cannot_own_the_same_ids() {
        let take = || OwnedIds::take("t", "only-this-test-flott-0-".to_owned());
        let first = take().unwrap();
        let refused = take().unwrap_err().to_string();
        assert!(refused.contains("pipeline.name"), "{refused}");
        drop(first);
        take().unwrap();
    }
}
