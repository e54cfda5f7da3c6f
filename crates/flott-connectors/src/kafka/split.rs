//! A split: one partition, where it is read next and where it ends. Its state is JSON with a version.

use std::sync::Arc;

use flott_runtime::connector::Split;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::client::offsets::TopicPartition;

const VERSION: u32 = 1;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KafkaSplit {
    version: u32,
    pub topic: String,
    /// Absent where the broker has no topic ids.
    pub topic_id: Option<String>,
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// The first offset that is not read any more.
    pub stop: Option<i64>,
    /// Whether `offset` is the log's start as it was found, which retention may have moved since.
    pub from_earliest: bool,
}

impl KafkaSplit {
    pub fn new(key: &TopicPartition, topic_id: Uuid, offset: i64, stop: Option<i64>, from_earliest: bool) -> Self {
        Self {
            version: VERSION,
            topic: key.topic.to_string(),
            topic_id: (!topic_id.is_nil()).then(|| topic_id.to_string()),
            partition: key.partition,
            offset,
            stop,
            from_earliest,
        }
    }

    pub fn key(&self) -> TopicPartition {
        TopicPartition {
            topic: Arc::from(&*self.topic),
            partition: self.partition,
        }
    }

    pub fn id(&self) -> String {
        split_id(&self.topic, self.partition)
    }

    pub fn uuid(&self) -> Option<Uuid> {
        self.topic_id.as_deref().and_then(|id| Uuid::parse_str(id).ok())
    }

    pub fn to_split(&self) -> Result<Split, String> {
        let state = serde_json::to_vec(self).map_err(|e| e.to_string())?;
        Ok(Split { id: self.id(), state })
    }

    pub fn of_split(split: &Split) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(&split.state)
            .map_err(|e| format!("the state of kafka split '{}' cannot be read: {e}", split.id))?;
        if read.version != VERSION {
            return Err(format!(
                "the state of kafka split '{}' has version {}, this build reads version {VERSION}",
                split.id, read.version
            ));
        }
        Ok(read)
    }
}

/// The id of a partition's split.
pub(super) fn split_id(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_versions() {
        let split = KafkaSplit::new(&TopicPartition::new("a-b", 3), Uuid::from_u128(7), 42, Some(50), true);
        let stored = split.to_split().unwrap();
        assert_eq!(stored.id, "a-b-3");
        assert_eq!(KafkaSplit::of_split(&stored).unwrap(), split);
        assert_eq!(split.uuid(), Some(Uuid::from_u128(7)));
        let text = String::from_utf8(stored.state)
            .unwrap()
            .replace("\"version\":1", "\"version\":9");
        let error = KafkaSplit::of_split(&Split {
            id: "x".into(),
            state: text.into_bytes(),
        })
        .unwrap_err();
        assert!(error.contains("version 9"), "{error}");
    }

    /// The format of version 1 stays readable.
    #[test]
    fn version_1_is_read() {
        let state =
            br#"{"version":1,"topic":"t","topic_id":null,"partition":0,"offset":5,"stop":null,"from_earliest":false}"#;
        let split = KafkaSplit::of_split(&Split {
            id: "t-0".into(),
            state: state.to_vec(),
        })
        .unwrap();
        assert_eq!((split.offset, split.stop, split.uuid()), (5, None, None));
    }
}
