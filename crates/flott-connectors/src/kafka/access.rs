//! [`Access`]: what every part of the connector knows of its user: topics, properties, and how messages speak.

use regex::Regex;

use super::client::config::KafkaProperties;

/// Which topics are read or written.
#[derive(Debug, Clone)]
pub(super) enum Topics {
    List(Vec<String>),
    /// Of whole names.
    Pattern(Regex),
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Access {
    /// How messages name the user: `table 'orders'`, `kafka source of topic 'orders'`.
    pub label: String,
    /// A name for files and logs.
    pub name: String,
    /// Whether a program made the source or sink, rather than a table.
    is_program: bool,
    pub topics: Topics,
    pub properties: KafkaProperties,
}

impl Access {
    pub fn of_table(name: &str, topics: Topics, properties: KafkaProperties) -> Self {
        Self {
            label: format!("table '{name}'"),
            name: name.to_owned(),
            is_program: false,
            topics,
            properties,
        }
    }

    /// `what`: source or sink.
    pub fn of_program(what: &str, topics: Topics, properties: KafkaProperties) -> Self {
        let (label, name) = match &topics {
            Topics::List(names) if names.is_empty() => (format!("kafka {what}"), "kafka".to_owned()),
            Topics::List(names) => (
                format!("kafka {what} of topic '{}'", names.join("', '")),
                names.join("-"),
            ),
            Topics::Pattern(pattern) => (format!("kafka {what} of topics like '{pattern}'"), "kafka".to_owned()),
        };
        Self {
            label,
            name,
            is_program: true,
            topics,
            properties,
        }
    }

    /// The words that the user knows: those of a table or those of a program.
    pub fn says<'a>(&self, of_table: &'a str, of_program: &'a str) -> &'a str {
        match self.is_program {
            true => of_program,
            false => of_table,
        }
    }

    /// How the user names one of Kafka's properties.
    pub fn property(&self, name: &str) -> String {
        format!("{}{name}", self.says("properties.", ""))
    }
}
