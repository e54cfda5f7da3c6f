//! `savepoint`: the keyed state of an operator in a checkpoint or savepoint, as a bounded table.
//!
//! Names and options are those of Flink's connector: `state.path`, `operator.uid` or `operator.uid.hash`, and for a column `fields.#.state-name` and
//! `fields.#.state-type`. PRIMARY KEY names the column (or, field by field, the columns) of the key; every other column shows the state of its name.
//! `state.table`, which is ours, chooses among several tables of one operator. State carries its types, so options that name Java
//! classes have no effect, and types that differ are an error before the first row ([`convert`] says what fits).
//!
//! ```text
//!  enumerator   manifest ─► ranges of key groups, one a split; columns are matched with states here
//!  Tokio        blocks of a range
//!  task         decode, convert ─► batches
//! ```
//!
//! `savepoint-metadata` is what Flink's table function `savepoint_metadata` reads: a row for each operator. [`read`] and [`text`] serve
//! `flott state show` too.

mod convert;
mod mapping;
mod metadata;
mod options;
pub mod read;
mod source;
pub mod text;

use crate::table::{self, no_sink};
use flott_core::Options;
use flott_runtime::connector::{Boundedness, ChangelogMode, ConnectorError, ScanSpec, SinkSpec, TableInfo, TableSpec};
use flott_runtime::{Sink, Source, TableConnector};
use options::SavepointOptions;

pub use metadata::SavepointMetadataConnector;

/// The connector `savepoint`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SavepointConnector;

impl TableConnector for SavepointConnector {
    fn identifier(&self) -> &'static str {
        "savepoint"
    }

    fn check_source(&self, table: &TableSpec) -> Result<TableInfo, ConnectorError> {
        let options = SavepointOptions::read(table)?;
        let ignored = options.ignored.iter();
        let warning = |key: &String| format!("option '{key}' has no effect: state of Flott carries its own types");
        Ok(TableInfo {
            metadata: options::metadata(),
            warnings: ignored.map(warning).collect(),
            ..table::plain_info(ChangelogMode::Append, Boundedness::Bounded)
        })
    }

    fn check_sink(&self, _table: &TableSpec, _job: &Options) -> Result<TableInfo, ConnectorError> {
        Err(no_sink(self.identifier()))
    }

    fn source(&self, scan: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
        self.source_in(scan, &Options::new())
    }

    fn source_in(&self, scan: &ScanSpec, job: &Options) -> Result<Box<dyn Source>, ConnectorError> {
        let options = SavepointOptions::read(&scan.table)?;
        Ok(Box::new(source::StateSource::new(scan.clone(), options, job.clone())))
    }

    fn sink(&self, _sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        Err(no_sink(self.identifier()))
    }
}

#[cfg(test)]
mod tests;
