//! The Kafka client and connectors against a broker: the embedded one always, and the real one named by `FLOTT_KAFKA`.

mod client;
mod faults;
mod security;
mod support;
mod tables;
