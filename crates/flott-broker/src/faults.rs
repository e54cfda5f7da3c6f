//! Faults on demand, for tests of clients.
//!
//! Requests of an API key can be made to get lost (not executed, the connection closes), to lose their answer (executed,
//! then the connection closes) or to fail with an error code (not executed). All count down as requests arrive. The
//! other hooks act at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;

use crate::error::FaultError;
use crate::sync::lock;
use crate::topics::Topics;
use crate::transactions::Coordinator;

/// What is to happen to one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Close the connection without executing.
    pub drop_request: bool,
    /// Answer with this error instead of executing.
    pub error: Option<ResponseError>,
    /// Close the connection instead of answering.
    pub drop_answer: bool,
}

#[derive(Debug, Default)]
struct Plan {
    errors: Vec<(ResponseError, usize)>,
    requests_to_drop: usize,
    answers_to_drop: usize,
}

/// The fault hooks of a broker; from [`crate::Broker::faults`].
pub struct Faults {
    plans: Mutex<HashMap<i16, Plan>>,
    topics: Arc<Topics>,
    coordinator: Arc<Coordinator>,
}

impl Faults {
    pub(crate) fn new(topics: Arc<Topics>, coordinator: Arc<Coordinator>) -> Self {
        Self {
            plans: Mutex::default(),
            topics,
            coordinator,
        }
    }

    /// The next `count` requests of this key are not executed, and their connection closes.
    pub fn drop_requests(&self, api_key: ApiKey, count: usize) {
        lock(&self.plans).entry(api_key as i16).or_default().requests_to_drop += count;
    }

    /// The next `count` requests of this key are executed, but their connection closes without an answer.
    pub fn drop_answers(&self, api_key: ApiKey, count: usize) {
        lock(&self.plans).entry(api_key as i16).or_default().answers_to_drop += count;
    }

    /// The next `count` requests of this key are not executed and answered with `error`, in every place where the
    /// answer has room for one. Further calls queue up behind the first.
    pub fn fail(&self, api_key: ApiKey, error: ResponseError, count: usize) {
        lock(&self.plans)
            .entry(api_key as i16)
            .or_default()
            .errors
            .push((error, count));
    }

    /// Forgets what [`Self::drop_requests`], [`Self::drop_answers`] and [`Self::fail`] have left to do.
    pub fn clear(&self) {
        lock(&self.plans).clear();
    }

    /// Expires the open transaction of this id now, as its timeout would: aborts it and fences its producer.
    ///
    /// # Errors
    /// If no transaction is open under this id.
    pub fn expire_transaction(&self, transactional_id: &str) -> Result<(), FaultError> {
        if self.coordinator.expire(transactional_id) {
            return Ok(());
        }
        Err(FaultError::NoOpenTransaction {
            transactional_id: transactional_id.to_owned(),
        })
    }

    /// Deletes a topic and makes it again in one step: same name and number of partitions, new topic id, empty logs.
    ///
    /// # Errors
    /// If there is no such topic.
    pub fn recreate_topic(&self, topic: &str) -> Result<(), FaultError> {
        self.topics.recreate(topic)?;
        Ok(())
    }

    /// Begins the next leader epoch of a partition and returns it. Clients that name the old one are refused with
    /// FENCED_LEADER_EPOCH until they ask for metadata.
    ///
    /// # Errors
    /// If there is no such partition.
    pub fn change_leader_epoch(&self, topic: &str, partition: i32) -> Result<i32, FaultError> {
        let found = self.topics.by_name(topic);
        let found = found.as_ref().and_then(|topic| topic.partition(partition).ok());
        let missing = || FaultError::UnknownPartition {
            topic: topic.to_owned(),
            partition,
        };
        Ok(found.ok_or_else(missing)?.bump_leader_epoch())
    }

    /// Takes what is planned for a request that has just arrived.
    pub(crate) fn take(&self, api_key: ApiKey) -> Planned {
        let mut plans = lock(&self.plans);
        let Some(plan) = plans.get_mut(&(api_key as i16)) else {
            return Planned::default();
        };
        if plan.requests_to_drop > 0 {
            plan.requests_to_drop -= 1;
            return Planned {
                drop_request: true,
                ..Planned::default()
            };
        }
        let drop_answer = plan.answers_to_drop > 0;
        plan.answers_to_drop -= usize::from(drop_answer);
        plan.errors.retain(|&(_, left)| left > 0);
        let error = plan.errors.first_mut().map(|(error, left)| {
            *left -= 1;
            *error
        });
        Planned {
            drop_request: false,
            error,
            drop_answer,
        }
    }
}
