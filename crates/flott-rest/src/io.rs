//! What goes in and out of subtasks ([`Io`]), as details of jobs and vertices tell it.

use flott_cluster::stats::TaskView;
use serde_json::{Map, Value, json};
use std::iter::Sum;
use std::ops::Add;

/// What went in and out of a subtask, and where its time went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Io {
    pub(crate) records_in: u64,
    pub(crate) records_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) busy_ms: u64,
    pub(crate) back_pressured_ms: u64,
    pub(crate) idle_ms: u64,
}

impl Io {
    /// Of a subtask: what its source reads from outside counts as its input, as in Flink.
    pub(crate) fn of((_, _, metrics): &TaskView) -> Self {
        let head = metrics
            .operators
            .first()
            .filter(|(name, _)| name.starts_with("Source: "));
        let (read_records, read_bytes) = match head {
            Some((_, source)) => (source.records_in.get(), source.bytes_in.get()),
            None => (metrics.records_in.get(), metrics.bytes_in.get()),
        };
        Self {
            records_in: read_records,
            records_out: metrics.records_out.get(),
            bytes_in: read_bytes,
            bytes_out: metrics.bytes_out.get(),
            busy_ms: metrics.busy_ns.get() / 1_000_000,
            back_pressured_ms: metrics.back_pressured_ns.get() / 1_000_000,
            idle_ms: metrics.idle_ns.get() / 1_000_000,
        }
    }

    /// Where its time went, in milliseconds, by name.
    pub(crate) fn times_ms(self) -> [(&'static str, u64); 3] {
        [
            ("accumulated-backpressured-time", self.back_pressured_ms),
            ("accumulated-idle-time", self.idle_ms),
            ("accumulated-busy-time", self.busy_ms),
        ]
    }

    /// As details of jobs and vertices have it.
    pub(crate) fn json(self) -> Value {
        let mut json = Map::new();
        for (name, count) in self.counts() {
            json.insert(format!("{name}-complete"), json!(true));
            json.insert(name.to_owned(), json!(count));
        }
        for (name, ms) in self.times_ms() {
            json.insert(name.to_owned(), json!(ms));
        }
        // Only this one is a fraction, in Flink.
        json.insert("accumulated-busy-time".to_owned(), json!(self.busy_ms as f64));
        Value::Object(json)
    }

    /// Its counts by name.
    pub(crate) fn counts(self) -> [(&'static str, u64); 4] {
        [
            ("read-bytes", self.bytes_in),
            ("write-bytes", self.bytes_out),
            ("read-records", self.records_in),
            ("write-records", self.records_out),
        ]
    }
}

impl Add for Io {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            records_in: self.records_in + other.records_in,
            records_out: self.records_out + other.records_out,
            bytes_in: self.bytes_in + other.bytes_in,
            bytes_out: self.bytes_out + other.bytes_out,
            busy_ms: self.busy_ms + other.busy_ms,
            back_pressured_ms: self.back_pressured_ms + other.back_pressured_ms,
            idle_ms: self.idle_ms + other.idle_ms,
        }
    }
}

impl Sum for Io {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}
