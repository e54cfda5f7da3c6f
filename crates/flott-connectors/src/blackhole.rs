//! `blackhole`: takes every row and keeps none.

use crate::table::{self, no_source};
use flott_core::{Batch, Options};
use flott_runtime::connector::{Boundedness, ChangelogMode, ConnectorError, ScanSpec, SinkSpec, TableInfo, TableSpec};
use flott_runtime::{Flow, OperatorContext, Sink, SinkWriter, Source, TableConnector, TaskError};

/// The connector `blackhole`.
#[derive(Debug, Clone, Copy, Default)]
pub struct BlackholeConnector;

impl TableConnector for BlackholeConnector {
    fn identifier(&self) -> &'static str {
        "blackhole"
    }

    fn check_source(&self, _table: &TableSpec) -> Result<TableInfo, ConnectorError> {
        Err(no_source(self.identifier()))
    }

    fn check_sink(&self, table: &TableSpec, _job: &Options) -> Result<TableInfo, ConnectorError> {
        table::check_options(table, &["sink.parallelism"])?;
        Ok(table::plain_info(ChangelogMode::Retract, Boundedness::Bounded))
    }

    fn source(&self, _scan: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
        Err(no_source(self.identifier()))
    }

    fn sink(&self, _sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        Ok(Box::new(Blackhole))
    }
}

struct Blackhole;

impl Sink for Blackhole {
    fn writer(&self, _ctx: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        Ok(Box::new(Self))
    }
}

impl SinkWriter for Blackhole {
    fn write(&mut self, _batch: Batch) -> Result<Flow, TaskError> {
        Ok(Flow::Done)
    }

    fn flush(&mut self) -> Result<Flow, TaskError> {
        Ok(Flow::Done)
    }
}
