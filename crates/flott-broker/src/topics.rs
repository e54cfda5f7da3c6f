//! The topics of the broker, by name and by id.
//!
//! A topic that is deleted and made again is a new topic: new id, empty logs. Topic configs are kept and shown by
//! DescribeConfigs; the log acts on none of them (retention is the broker's, the clean-up policy is always delete).

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kafka_protocol::ResponseError;
use uuid::Uuid;

use crate::error::TopicError;
use crate::partition::Partition;
use crate::retention::Retention;

/// More partitions than this in one topic are a typing error, not a demo.
const MAX_PARTITIONS: i32 = 10_000;
/// Kafka's limit on topic names.
const MAX_NAME_BYTES: usize = 249;

/// A topic.
pub(crate) struct Topic {
    pub name: String,
    pub id: Uuid,
    pub partitions: Vec<Arc<Partition>>,
    pub configs: BTreeMap<String, String>,
}

impl Topic {
    /// The partition with this number.
    pub fn partition(&self, index: i32) -> Result<&Arc<Partition>, ResponseError> {
        let index = usize::try_from(index).map_err(|_| ResponseError::UnknownTopicOrPartition)?;
        self.partitions.get(index).ok_or(ResponseError::UnknownTopicOrPartition)
    }
}

#[derive(Default)]
struct Registry {
    by_name: BTreeMap<String, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

/// All topics.
pub(crate) struct Topics {
    registry: RwLock<Registry>,
    retention: Arc<Retention>,
    default_partitions: i32,
    auto_create: bool,
}

impl Topics {
    pub fn new(retention_bytes: usize, default_partitions: i32, auto_create: bool) -> Self {
        Self {
            registry: RwLock::default(),
            retention: Arc::new(Retention::new(retention_bytes)),
            default_partitions,
            auto_create,
        }
    }

    pub fn auto_create(&self) -> bool {
        self.auto_create
    }

    pub fn default_partitions(&self) -> i32 {
        self.default_partitions
    }

    pub fn by_name(&self, name: &str) -> Option<Arc<Topic>> {
        self.read().by_name.get(name).cloned()
    }

    pub fn by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.read().by_id.get(&id).cloned()
    }

    /// In the order of their names.
    pub fn all(&self) -> Vec<Arc<Topic>> {
        self.read().by_name.values().cloned().collect()
    }

    /// The topic, made with the defaults where it is missing and the broker makes topics by itself.
    pub fn by_name_or_create(&self, name: &str, allowed: bool) -> Result<Arc<Topic>, ResponseError> {
        match self.by_name(name) {
            Some(topic) => Ok(topic),
            None if !is_legal_name(name) => Err(ResponseError::InvalidTopicException),
            None if !(allowed && self.auto_create) => Err(ResponseError::UnknownTopicOrPartition),
            None => match self.create(name, self.default_partitions, BTreeMap::new()) {
                Ok(topic) => Ok(topic),
                // Another client made it in between.
                Err(_) => self.by_name(name).ok_or(ResponseError::UnknownTopicOrPartition),
            },
        }
    }

    /// Whether a topic could be made so.
    pub fn check_new(&self, name: &str, partitions: i32) -> Result<(), TopicError> {
        if !is_legal_name(name) {
            return Err(TopicError::IllegalName { topic: name.to_owned() });
        }
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            return Err(TopicError::PartitionCount {
                topic: name.to_owned(),
                partitions,
                max: MAX_PARTITIONS,
            });
        }
        if self.by_name(name).is_some() {
            return Err(TopicError::Exists { topic: name.to_owned() });
        }
        Ok(())
    }

    pub fn create(
        &self,
        name: &str,
        partitions: i32,
        configs: BTreeMap<String, String>,
    ) -> Result<Arc<Topic>, TopicError> {
        self.check_new(name, partitions)?;
        let partitions = (0..partitions)
            .map(|_| Partition::new(Arc::clone(&self.retention)))
            .collect();
        let topic = Arc::new(Topic {
            name: name.to_owned(),
            id: random_uuid(),
            partitions,
            configs,
        });
        let mut registry = self.write();
        if registry.by_name.contains_key(name) {
            return Err(TopicError::Exists { topic: name.to_owned() });
        }
        registry.insert(&topic);
        Ok(topic)
    }

    pub fn delete(&self, name: &str) -> Result<Arc<Topic>, TopicError> {
        let removed = self.write().remove(name);
        let topic = removed.ok_or_else(|| TopicError::Unknown { topic: name.to_owned() })?;
        topic.partitions.iter().for_each(Partition::delete);
        Ok(topic)
    }

    /// Deletes a topic and makes it again, in one step: same name and configs, new id, empty.
    pub fn recreate(&self, name: &str) -> Result<Arc<Topic>, TopicError> {
        let (old, new) = {
            let mut registry = self.write();
            let old = registry
                .remove(name)
                .ok_or_else(|| TopicError::Unknown { topic: name.to_owned() })?;
            let partitions = old
                .partitions
                .iter()
                .map(|_| Partition::new(Arc::clone(&self.retention)))
                .collect();
            let new = Arc::new(Topic {
                name: name.to_owned(),
                id: random_uuid(),
                partitions,
                configs: old.configs.clone(),
            });
            registry.insert(&new);
            (old, new)
        };
        old.partitions.iter().for_each(Partition::delete);
        Ok(new)
    }

    fn read(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Registry> {
        self.registry.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    fn insert(&mut self, topic: &Arc<Topic>) {
        self.by_name.insert(topic.name.clone(), Arc::clone(topic));
        self.by_id.insert(topic.id, Arc::clone(topic));
    }

    fn remove(&mut self, name: &str) -> Option<Arc<Topic>> {
        let topic = self.by_name.remove(name)?;
        self.by_id.remove(&topic.id);
        Some(topic)
    }
}

/// A random (version 4) id; the hasher's keys are the standard library's own source of randomness.
pub(crate) fn random_uuid() -> Uuid {
    let half = || RandomState::new().hash_one(std::time::Instant::now()).to_be_bytes();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&half());
    bytes[8..].copy_from_slice(&half());
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn is_legal_name(name: &str) -> bool {
    let legal_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME_BYTES && name.bytes().all(legal_byte)
}
