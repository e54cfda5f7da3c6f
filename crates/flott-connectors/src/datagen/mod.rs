//! `datagen`: rows out of nothing, random or in sequence.
//!
//! Row `i` of a table is a function of the table's seed and `i`, so that a restored job makes the rows again that the
//! failed one made after its checkpoint. The rows are dealt to [`LANES`] lanes, row `i` to lane `i % LANES`; a lane is a
//! split, so any parallelism can take them over. A reader merges its lanes in the order of rows and reports all of them
//! under its first lane, which alone counts for the watermark.
//!
//! Options are Flink's: `rows-per-second` (10,000), `number-of-rows`, and for a field `fields.#.kind` = `random` or
//! `sequence` with `start` and `end`, `min`, `max`, `max-past`, `length`, `var-len`, `null-rate`; nested fields are
//! reached by `fields.#.element.…`, `fields.#.key.…`, `fields.#.value.…` and `fields.#.<field of the ROW>.…`. With
//! `number-of-rows` or a sequence the table is bounded.

mod generator;
mod reader;

use crate::table::{self, no_sink};
use async_trait::async_trait;
use flott_core::Options;
use flott_runtime::connector::{
    Boundedness, ChangelogMode, ConnectorError, ScanSpec, SinkSpec, Split, TableInfo, TableSpec,
};
use flott_runtime::{OperatorContext, Sink, Source, SourceReader, SplitEnumerator, TableConnector, TaskError};
use generator::{Generator, PREFIX};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Number of splits, and so the highest parallelism that has work.
pub(crate) const LANES: u64 = 128;

const OPTIONS: [&str; 3] = ["rows-per-second", "number-of-rows", "scan.parallelism"];

/// The connector `datagen`.
#[derive(Debug, Clone, Copy, Default)]
pub struct DatagenConnector;

/// A table's settings.
#[derive(Debug)]
struct Settings {
    rows_per_second: u64,
    /// Rows in all; `None`: no end.
    rows: Option<u64>,
    generators: Vec<Generator>,
}

/// State of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lane {
    lane: u64,
    /// Rows of the lane made so far.
    made: u64,
    seed: u64,
}

fn settings(table: &TableSpec, fields: &[flott_core::Field]) -> Result<Settings, ConnectorError> {
    let known: Vec<&str> = OPTIONS.iter().chain(&table::WATERMARK_OPTIONS).copied().collect();
    table::check_options_with(table, &known, |key| key.starts_with(PREFIX))?;
    let all = generator::read_all(table)?;
    let count = |key: &str| table.options.positive(key).map_err(|e| table::wrong(table, e));
    let mut rows = count("number-of-rows")?.map(|n| n as u64);
    for length in all.iter().filter_map(Generator::sequence_length) {
        rows = Some(rows.map_or(length, |n| n.min(length)));
    }
    let position = |name: &str| table.columns.iter().position(|c| c.name == name);
    let wanted = fields.iter().map(|field| {
        let at = position(&field.name).ok_or_else(|| table::wrong(table, format!("no column '{}'", field.name)))?;
        Ok(all[at].projected(&field.ty))
    });
    Ok(Settings {
        rows_per_second: count("rows-per-second")?.map_or(10_000, |n| n as u64),
        rows,
        generators: wanted.collect::<Result<_, ConnectorError>>()?,
    })
}

impl TableConnector for DatagenConnector {
    fn identifier(&self) -> &'static str {
        "datagen"
    }

    fn check_source(&self, table: &TableSpec) -> Result<TableInfo, ConnectorError> {
        let settings = settings(table, &[])?;
        Ok(table::plain_info(ChangelogMode::Append, boundedness(&settings)))
    }

    fn check_sink(&self, _table: &TableSpec, _job: &Options) -> Result<TableInfo, ConnectorError> {
        Err(no_sink(self.identifier()))
    }

    fn source(&self, scan: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
        Ok(Box::new(DatagenSource(Arc::new(settings(&scan.table, &scan.fields)?))))
    }

    fn sink(&self, _sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        Err(no_sink(self.identifier()))
    }
}

fn boundedness(settings: &Settings) -> Boundedness {
    match settings.rows {
        Some(_) => Boundedness::Bounded,
        None => Boundedness::Unbounded,
    }
}

struct DatagenSource(Arc<Settings>);

impl Source for DatagenSource {
    fn boundedness(&self) -> Boundedness {
        boundedness(&self.0)
    }

    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        Ok(Box::new(Lanes {
            found: restored.is_some(),
        }))
    }

    fn reader(&self, ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        Ok(Box::new(reader::DatagenReader::new(
            self.0.clone(),
            ctx.metrics.clone(),
            ctx.task.batching()?,
        )))
    }
}

/// Deals the lanes once.
struct Lanes {
    found: bool,
}

#[async_trait]
impl SplitEnumerator for Lanes {
    async fn discover(&mut self) -> Result<Vec<Split>, ConnectorError> {
        if std::mem::replace(&mut self.found, true) {
            return Ok(vec![]);
        }
        let time_ns = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos());
        let seed = generator::mix(time_ns as u64, u64::from(std::process::id()));
        let split = |lane| {
            let state = Lane { lane, made: 0, seed };
            Ok(Split {
                id: format!("lane-{lane}"),
                state: serde_json::to_vec(&state).map_err(|e| ConnectorError::Schema(e.to_string()))?,
            })
        };
        (0..LANES).map(split).collect()
    }

    fn discovery_interval(&self) -> Option<Duration> {
        None
    }

    fn owner(&self, split: &Split, parallelism: usize) -> usize {
        let lane = split
            .id
            .strip_prefix("lane-")
            .and_then(|l| l.parse::<usize>().ok())
            .unwrap_or(0);
        lane % parallelism.max(1)
    }

    fn snapshot(&self) -> Vec<u8> {
        b"dealt".to_vec()
    }
}

#[cfg(test)]
mod tests;
