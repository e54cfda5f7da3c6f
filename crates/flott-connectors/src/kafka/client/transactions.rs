//! Transactions as data: begun with an id of their own, ended, listed, described and aborted by any process, at any time.
//!
//! Ours is protocol version TV1: partitions are added by request, and `EndTxn` leaves the epoch alone, so that the same
//! `EndTxn` may be sent again. **A transactional id is used for one transaction only.** That is what makes
//! `DescribeTransactions` tell the truth: a `CompleteCommit` under our producer id and epoch can only be ours.
//!
//! Flow of a commit, [`KafkaClient::end_transaction`]:
//! 1. `EndTxn` to the coordinator, retried while it moves or works on the same transaction. Success: [`EndOutcome::Done`]
//!    (the broker also answers so when the very same end was asked for before).
//! 2. Refused (fenced, wrong state, unknown id): describe. A commit that stands in the coordinator's log:
//!    [`EndOutcome::AlreadyDone`]; an abort, an expiry or another epoch: [`EndOutcome::Lost`] with what was seen.

use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, DescribeTransactionsRequest, EndTxnRequest, InitProducerIdRequest,
    ListTransactionsRequest, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use super::cluster::{CoordinatorKind, KafkaClient, Purpose, topic_name};
use super::error::{ErrorCode, KafkaError};
use super::offsets::TopicPartition;

/// All that another process needs to end a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committable {
    pub transactional_id: String,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// Our clock when the transaction was begun.
    pub start_ms: i64,
}

/// Producer id and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdentity {
    pub producer_id: i64,
    pub producer_epoch: i16,
}

/// The state of a transaction as its coordinator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionState {
    /// Begun, nothing written.
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
    /// A state between the others (`Dead`, `PrepareEpochFence`, or newer than we are).
    Other(String),
}

impl TransactionState {
    fn of(name: &str) -> Self {
        match name {
            "Empty" => Self::Empty,
            "Ongoing" => Self::Ongoing,
            "PrepareCommit" => Self::PrepareCommit,
            "PrepareAbort" => Self::PrepareAbort,
            "CompleteCommit" => Self::CompleteCommit,
            "CompleteAbort" => Self::CompleteAbort,
            other => Self::Other(other.to_owned()),
        }
    }

    /// Whether records wait for an end, so that readers of committed records stand still behind them.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Ongoing)
    }
}

/// A transaction as its coordinator describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    pub transactional_id: String,
    pub state: TransactionState,
    pub producer: ProducerIdentity,
    pub timeout_ms: i32,
    /// -1 when none is open.
    pub start_ms: i64,
    pub partitions: Vec<TopicPartition>,
}

/// A transaction in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTransaction {
    pub transactional_id: String,
    pub producer_id: i64,
    pub state: TransactionState,
}

/// How an end came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndOutcome {
    /// The coordinator took it; records are visible, or gone, as asked.
    Done,
    /// It had been ended the same way before.
    AlreadyDone,
    /// It cannot be ended so any more: what it wrote was, or will be, ended the other way.
    Lost { reason: String },
}

fn transactional(id: &str) -> TransactionalId {
    TransactionalId(StrBytes::from_string(id.to_owned()))
}

/// Another end of the same transaction is being written; the broker says so by one of these.
fn is_final_refusal(e: &KafkaError) -> bool {
    [
        ResponseError::InvalidTxnState,
        ResponseError::InvalidProducerEpoch,
        ResponseError::ProducerFenced,
        ResponseError::InvalidProducerIdMapping,
        ResponseError::TransactionalIdNotFound,
    ]
    .into_iter()
    .any(|code| e.is(code))
}

impl KafkaClient {
    /// Takes a producer id and epoch; with a transactional id, fences and aborts what an earlier producer of it left open.
    pub async fn init_producer_id(
        &self,
        transactional_id: Option<&str>,
        transaction_timeout: Duration,
    ) -> Result<ProducerIdentity, KafkaError> {
        let timeout_ms = i32::try_from(transaction_timeout.as_millis()).unwrap_or(i32::MAX);
        let request = InitProducerIdRequest::default()
            .with_transactional_id(transactional_id.map(transactional))
            .with_transaction_timeout_ms(timeout_ms)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let target = transactional_id.unwrap_or("an idempotent producer").to_owned();
        let judge = |answer: kafka_protocol::messages::InitProducerIdResponse| {
            KafkaError::check("InitProducerId", format!("'{target}'"), answer.error_code)?;
            Ok(ProducerIdentity {
                producer_id: answer.producer_id.0,
                producer_epoch: answer.producer_epoch,
            })
        };
        match transactional_id {
            Some(id) => {
                self.call_coordinator(CoordinatorKind::Transaction, id, 4, None, |_| request.clone(), judge)
                    .await
            }
            None => {
                self.retry("kafka InitProducerId", |_| async {
                    judge(self.call_any(&request, 4).await?)
                })
                .await
            }
        }
    }

    /// Registers partitions with a transaction before anything is written to them.
    pub async fn add_partitions_to_transaction(
        &self,
        transactional_id: &str,
        producer: ProducerIdentity,
        partitions: &[TopicPartition],
        budget: Duration,
    ) -> Result<(), KafkaError> {
        let build = |_version: i16| {
            let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
            for tp in partitions {
                match topics.iter_mut().find(|t| *t.name.0 == *tp.topic) {
                    Some(topic) => topic.partitions.push(tp.partition),
                    None => topics.push(
                        AddPartitionsToTxnTopic::default()
                            .with_name(topic_name(&tp.topic))
                            .with_partitions(vec![tp.partition]),
                    ),
                }
            }
            AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(transactional(transactional_id))
                .with_v3_and_below_producer_id(ProducerId(producer.producer_id))
                .with_v3_and_below_producer_epoch(producer.producer_epoch)
                .with_v3_and_below_topics(topics)
        };
        self.call_coordinator(
            CoordinatorKind::Transaction,
            transactional_id,
            3,
            Some((budget, "delivery.timeout.ms")),
            build,
            |answer| {
                for topic in answer.results_by_topic_v3_and_below {
                    for p in topic.results_by_partition {
                        let target = format!(
                            "'{transactional_id}' with '{}' partition {}",
                            &*topic.name.0, p.partition_index
                        );
                        KafkaError::check("AddPartitionsToTxn", target, p.partition_error_code)?;
                    }
                }
                Ok(())
            },
        )
        .await
    }

    /// Ends a transaction; may be repeated, and called by any process. See the module for the outcomes.
    pub async fn end_transaction(&self, transaction: &Committable, commit: bool) -> Result<EndOutcome, KafkaError> {
        let id = &*transaction.transactional_id;
        let build = |_version: i16| {
            EndTxnRequest::default()
                .with_transactional_id(transactional(id))
                .with_producer_id(ProducerId(transaction.producer_id))
                .with_producer_epoch(transaction.producer_epoch)
                .with_committed(commit)
        };
        let ended = self
            .call_coordinator(CoordinatorKind::Transaction, id, 4, None, build, |answer| {
                KafkaError::check("EndTxn", format!("'{id}'"), answer.error_code)
            })
            .await;
        match ended {
            Ok(()) => Ok(EndOutcome::Done),
            Err(e) if is_final_refusal(&e) => self.judge_refused_end(transaction, commit, &e).await,
            Err(e) => Err(e),
        }
    }

    async fn judge_refused_end(
        &self,
        transaction: &Committable,
        commit: bool,
        refusal: &KafkaError,
    ) -> Result<EndOutcome, KafkaError> {
        let Some(seen) = self.describe_transaction(&transaction.transactional_id).await? else {
            return Ok(match commit {
                true => EndOutcome::Lost {
                    reason: format!("{refusal}; the coordinator does not know it any more"),
                },
                false => EndOutcome::AlreadyDone,
            });
        };
        let ours = seen.producer.producer_id == transaction.producer_id
            && seen.producer.producer_epoch == transaction.producer_epoch;
        let same_end = match (&seen.state, commit) {
            (TransactionState::CompleteCommit | TransactionState::PrepareCommit, true) => ours,
            // An expiry or a fencing aborts under a newer epoch; the id is used once, so that abort is ours too.
            (TransactionState::CompleteCommit | TransactionState::PrepareCommit, false) => false,
            (TransactionState::Empty, true) => ours,
            (_, false) => true,
            (_, true) => false,
        };
        if same_end {
            return Ok(EndOutcome::AlreadyDone);
        }
        Ok(EndOutcome::Lost {
            reason: format!(
                "{refusal}; the coordinator has it as {:?} under producer {} epoch {} (ours is producer {} epoch {})",
                seen.state,
                seen.producer.producer_id,
                seen.producer.producer_epoch,
                transaction.producer_id,
                transaction.producer_epoch
            ),
        })
    }

    /// What the coordinator knows of a transactional id; `None` when it knows nothing.
    pub async fn describe_transaction(&self, id: &str) -> Result<Option<TransactionDescription>, KafkaError> {
        let build =
            |_version: i16| DescribeTransactionsRequest::default().with_transactional_ids(vec![transactional(id)]);
        self.call_coordinator(CoordinatorKind::Transaction, id, 0, None, build, |answer| {
            let Some(state) = answer.transaction_states.into_iter().next() else {
                return Ok(None);
            };
            if ErrorCode::of(state.error_code).is_some_and(|c| c.is(ResponseError::TransactionalIdNotFound)) {
                return Ok(None);
            }
            KafkaError::check("DescribeTransactions", format!("'{id}'"), state.error_code)?;
            let partitions = state
                .topics
                .iter()
                .flat_map(|t| t.partitions.iter().map(|p| TopicPartition::new(&*t.topic.0, *p)));
            Ok(Some(TransactionDescription {
                transactional_id: id.to_owned(),
                state: TransactionState::of(&state.transaction_state),
                producer: ProducerIdentity {
                    producer_id: state.producer_id.0,
                    producer_epoch: state.producer_epoch,
                },
                timeout_ms: state.transaction_timeout_ms,
                start_ms: state.transaction_start_time_ms,
                partitions: partitions.collect(),
            }))
        })
        .await
    }

    /// Every transaction whose id begins with `prefix`, of all coordinators, in order of id.
    pub async fn list_transactions(&self, prefix: &str) -> Result<Vec<ListedTransaction>, KafkaError> {
        self.retry("listing kafka transactions", |_| async {
            self.refresh(&[]).await?;
            let mut found = Vec::new();
            for node in self.cluster().brokers.keys() {
                let connection = self.connection(*node, Purpose::General).await?;
                let version = connection.version::<ListTransactionsRequest>(0, 1)?;
                let answer = connection.call(&ListTransactionsRequest::default(), version).await?;
                KafkaError::check("ListTransactions", format!("broker {node}"), answer.error_code)?;
                let ours = answer
                    .transaction_states
                    .into_iter()
                    .filter(|t| t.transactional_id.0.starts_with(prefix));
                found.extend(ours.map(|t| ListedTransaction {
                    transactional_id: t.transactional_id.0.to_string(),
                    producer_id: t.producer_id.0,
                    state: TransactionState::of(&t.transaction_state),
                }));
            }
            found.sort_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
            Ok(found)
        })
        .await
    }

    /// Aborts whatever is open under `id` and fences its producer.
    pub async fn abort_transactional_id(&self, id: &str) -> Result<(), KafkaError> {
        const ANY_TIMEOUT: Duration = Duration::from_secs(60);
        self.init_producer_id(Some(id), ANY_TIMEOUT).await.map(drop)
    }
}
