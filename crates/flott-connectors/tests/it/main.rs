//! The Kafka client and connectors against a broker: the embedded one always, and the real one named by `FLOTT_KAFKA`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod client;
mod faults;
mod outage;
mod positions;
mod security;
mod support;
mod tables;
