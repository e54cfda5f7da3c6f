//! Operator ids from a job's stateful skeleton.
//!
//! The id of a stateful operator is made of the sink that it serves (the first, where several share it), its kind, the
//! names of its keys, and how many like it lie between it and the sink. Filters, projections and aggregates are not in
//! it: changing them keeps the state. Sources and sinks go by their tables.

use flott_core::OperatorId;
use std::collections::BTreeMap;

/// Hands out ids while a job is planned, sinks first.
#[derive(Debug, Default)]
pub struct Skeleton {
    sink: String,
    counts: BTreeMap<String, usize>,
}

impl Skeleton {
    /// The next sink; what follows belongs to it.
    pub fn sink(&mut self, table: &str) -> OperatorId {
        let text = format!("sink|{table}");
        let number = self.number(&text);
        self.sink = format!("{table}#{number}");
        OperatorId::of(&format!("{text}|{number}"))
    }

    /// A source, by its table.
    pub fn source(&mut self, table: &str) -> OperatorId {
        self.id(format!("source|{table}"))
    }

    /// An operator with state for these keys.
    pub fn stateful(&mut self, kind: &str, keys: &[String]) -> OperatorId {
        self.id(format!("{}|{kind}|{}", self.sink, keys.join(",")))
    }

    /// An operator without state; it only needs an id of its own.
    pub fn stateless(&mut self, kind: &str) -> OperatorId {
        self.id(format!("{}|{kind}", self.sink))
    }

    fn id(&mut self, text: String) -> OperatorId {
        let number = self.number(&text);
        OperatorId::of(&format!("{text}|{number}"))
    }

    fn number(&mut self, text: &str) -> usize {
        let count = self.counts.entry(text.to_owned()).or_default();
        *count += 1;
        *count - 1
    }
}
