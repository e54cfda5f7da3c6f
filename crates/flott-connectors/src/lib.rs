//! Flott's connectors, each a module behind a feature of its own.
//!
//! * [`kafka`]: our Kafka client over the `kafka-protocol` messages.

#[cfg(feature = "kafka")]
pub mod kafka;
