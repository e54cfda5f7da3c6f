//! The built command, run as a person runs it: its output, its exit codes, its jobs on files and on a broker.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod application;
#[path = "../../../../tests/certificates.rs"]
mod certificates;
mod claim_mode;
mod cluster;
mod command;
mod demo;
mod disk;
mod exactly_once;
mod examples;
mod flink_cli;
mod golden;
mod guarded;
mod health;
mod info;
mod jars;
mod leaders;
mod memory;
mod mistakes;
mod network;
mod new_project;
mod parquet;
mod partitions;
mod prometheus;
mod remote;
mod s3;
mod saved_state;
mod security;
mod shell;
mod state;
mod support;
mod tiers;
mod trial;
mod why;
mod zookeeper;
