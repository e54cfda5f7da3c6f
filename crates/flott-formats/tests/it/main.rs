//! The formats beside recorded answers of Flink, random input beside full parsers, and the decoders' contract.

#![allow(clippy::unwrap_used, clippy::panic)]

mod contract;
mod fuzz;
mod recorded;
mod types;
