//! The table connectors `kafka` and `upsert-kafka`: they judge tables without I/O, and make sources and sinks of them.

use flott_core::Options;
use flott_runtime::connector::{
    Boundedness, ChangelogMode, ConnectorError, ScanSpec, Sink, SinkSpec, Source, TableConnector, TableInfo, TableSpec,
};
use flott_runtime::{OperatorContext, TaskError};

use super::client::fetch::FetchConfig;
use super::client::producer::ProducerConfig;
use super::metadata::metadata_keys;
use super::options::{Guarantee, ScanOptions, SinkOptions, TableOptions, wrong};
use super::rows::RowAssembler;
use super::table_records::TableRecords;
use super::topics::{KafkaSink, KafkaSource};

/// `'connector' = 'kafka'`: a table over topics, of inserts only unless its format carries changes.
#[derive(Debug, Clone, Copy, Default)]
pub struct KafkaConnector;

/// `'connector' = 'upsert-kafka'`: a table by primary key; a record is the new value of its key, or deletes it.
#[derive(Debug, Clone, Copy, Default)]
pub struct UpsertKafkaConnector;

/// Checks what both connectors read alike; `changelog` is asked for by the value's format.
fn check_source(table: &TableSpec, changelog: impl FnOnce(&str) -> ChangelogMode) -> Result<TableInfo, ConnectorError> {
    let common = TableOptions::read(table)?;
    let scan = ScanOptions::read(table, &common)?;
    FetchConfig::from_properties(&common.access.properties).map_err(wrong)?;
    let layout = &common.layout;
    let value = &layout.value;
    flott_formats::decoder(
        &value.name,
        &value.options,
        &layout.value_columns,
        &layout.value_columns,
    )
    .map_err(wrong)?;
    if let Some(key) = &layout.key {
        let fields = layout.key_fields_in_format();
        flott_formats::decoder(&key.name, &key.options, &fields, &fields).map_err(wrong)?;
    }
    Ok(TableInfo {
        changelog: changelog(&value.name),
        boundedness: scan.boundedness(),
        metadata: metadata_keys(&value.name),
        splits_may_idle: true,
        warnings: Vec::new(),
    })
}

/// Checks what both connectors write alike.
fn check_sink(table: &TableSpec, job: &Options, changelog: ChangelogMode) -> Result<TableInfo, ConnectorError> {
    let common = TableOptions::read(table)?;
    let sink = SinkOptions::read(table, &common)?;
    ProducerConfig::from_properties(&common.access.properties).map_err(wrong)?;
    let layout = &common.layout;
    flott_formats::encoder(&layout.value.name, &layout.value.options, &layout.value_columns).map_err(wrong)?;
    if let Some(key) = &layout.key {
        flott_formats::encoder(&key.name, &key.options, &layout.key_fields_in_format()).map_err(wrong)?;
    }
    Ok(TableInfo {
        changelog,
        boundedness: Boundedness::Unbounded,
        metadata: metadata_keys(&layout.value.name),
        splits_may_idle: false,
        warnings: transaction_warnings(&common, &sink, job)?,
    })
}

/// Flink's default of `execution.checkpointing.timeout`.
const CHECKPOINT_TIMEOUT_MS: i64 = 600_000;

fn transaction_warnings(
    table: &TableOptions,
    sink: &SinkOptions,
    job: &Options,
) -> Result<Vec<String>, ConnectorError> {
    let mut warnings = Vec::new();
    if sink.guarantee != Guarantee::ExactlyOnce {
        return Ok(warnings);
    }
    let interval = job.duration_ms("execution.checkpointing.interval").map_err(wrong)?;
    let Some(interval_ms) = interval else {
        warnings.push(format!(
            "{} is written exactly once, but 'execution.checkpointing.interval' is not set: readers of committed records see nothing before the job ends",
            table.access.label
        ));
        return Ok(warnings);
    };
    let timeout_ms = job
        .duration_ms("execution.checkpointing.timeout")
        .map_err(wrong)?
        .unwrap_or(CHECKPOINT_TIMEOUT_MS);
    let needed_ms = interval_ms.saturating_add(timeout_ms);
    let set = table
        .access
        .properties
        .millis_or("transaction.timeout.ms", 0)
        .map_err(wrong)?;
    if !set.is_zero() && (set.as_millis() as i64) <= needed_ms {
        warnings.push(format!(
            "{}: 'properties.transaction.timeout.ms' is {} ms, not above the checkpoint interval and timeout together ({needed_ms} ms): an outage may expire transactions that a checkpoint lists, and their rows would be lost",
            table.access.label,
            set.as_millis()
        ));
    }
    Ok(warnings)
}

impl TableConnector for KafkaConnector {
    fn identifier(&self) -> &'static str {
        "kafka"
    }

    fn check_source(&self, table: &TableSpec) -> Result<TableInfo, ConnectorError> {
        check_source(table, |value| match flott_formats::carries_changes(value) {
            true => ChangelogMode::Retract,
            false => ChangelogMode::Append,
        })
    }

    fn check_sink(&self, table: &TableSpec, job: &Options) -> Result<TableInfo, ConnectorError> {
        let common = TableOptions::read(table)?;
        let changelog = match flott_formats::carries_changes(&common.layout.value.name) {
            true => ChangelogMode::Retract,
            false => ChangelogMode::Append,
        };
        check_sink(table, job, changelog)
    }

    fn source(&self, scan: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
        make_source(scan)
    }

    fn sink(&self, sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        make_sink(sink)
    }
}

impl TableConnector for UpsertKafkaConnector {
    fn identifier(&self) -> &'static str {
        "upsert-kafka"
    }

    fn check_source(&self, table: &TableSpec) -> Result<TableInfo, ConnectorError> {
        check_source(table, |_| ChangelogMode::Upsert)
    }

    fn check_sink(&self, table: &TableSpec, job: &Options) -> Result<TableInfo, ConnectorError> {
        check_sink(table, job, ChangelogMode::Upsert)
    }

    fn source(&self, scan: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
        make_source(scan)
    }

    fn sink(&self, sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        make_sink(sink)
    }
}

fn make_source(scan: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
    let table = TableOptions::read(&scan.table)?;
    let options = ScanOptions::read(&scan.table, &table)?;
    let isolation = FetchConfig::from_properties(&table.access.properties)
        .map_err(wrong)?
        .isolation;
    let (access, spec) = (table.access, scan.clone());
    Ok(Box::new(KafkaSource {
        access,
        scan: options,
        isolation,
        make: move |_: &OperatorContext| RowAssembler::new(&table.layout, &spec).map_err(TaskError::from),
    }))
}

fn make_sink(spec: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
    let table = TableOptions::read(&spec.table)?;
    let options = SinkOptions::read(&spec.table, &table)?;
    ProducerConfig::from_properties(&table.access.properties).map_err(wrong)?;
    // Now already, so that what cannot be written is told while planning.
    TableRecords::new(&table, spec)?;
    let (access, spec) = (table.access.clone(), spec.clone());
    Ok(Box::new(KafkaSink {
        access,
        options,
        make: move |_: &OperatorContext| TableRecords::new(&table, &spec).map_err(TaskError::from),
    }))
}
