//! What files and their paths say, without a disk and a job: for tools and tests.

use super::parquet::{self, ParquetReader, ParquetScan};
use super::partition::Partitioning;
use super::partition_time::TimeExtractor;
use super::reader::BATCH_ROWS;
use arrow_array::ArrayRef;
use bytes::Bytes;
use flott_core::{Field, Options};
use flott_runtime::connector::TableSpec;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Reads the bytes of a parquet file as the columns `fields` of a table with these options, and hands them over piece by piece, each with
/// its number of rows, until `piece` breaks off.
///
/// # Errors
/// What is wrong with a type, an option or the file.
pub fn read_parquet(
    options: &Options,
    fields: Vec<Field>,
    file: Bytes,
    mut piece: impl FnMut(Vec<ArrayRef>, usize) -> ControlFlow<()>,
) -> Result<(), String> {
    let options = parquet::check(options, &fields)?;
    let scan = Arc::new(ParquetScan::new(&options, fields, BATCH_ROWS));
    let mut reader = ParquetReader::of_bytes(file, scan).map_err(|e| e.to_string())?;
    while let Some((columns, rows)) = reader.next().map_err(|e| e.to_string())? {
        if piece(columns, rows).is_break() {
            break;
        }
    }
    Ok(())
}

/// The partitions of a table.
#[derive(Debug)]
pub struct Partitions(Partitioning);

impl Partitions {
    /// Those that a table's PARTITIONED BY asks for.
    ///
    /// # Errors
    /// If a column cannot be in a path.
    pub fn of(table: &TableSpec) -> Result<Self, String> {
        Partitioning::read(table).map(Self).map_err(|e| e.to_string())
    }

    /// The partition columns of the rows of a file, one row each; `None` for NULL.
    ///
    /// # Errors
    /// If the path does not name a column, or with a text that is no value of its type.
    pub fn columns(&self, file: &Path) -> Result<Vec<ArrayRef>, String> {
        let values = self.0.values_of(file)?;
        let columns = self.0.keys.iter().zip(values);
        columns
            .map(|(key, value)| Partitioning::column(key, value.as_deref(), 1))
            .collect()
    }

    /// The folder of a row of partition columns.
    pub fn folder(&self, columns: &[ArrayRef], row: usize) -> String {
        let mut folder = String::new();
        self.0.write_folder(columns, row, &mut folder);
        folder
    }

    /// The time of a file's partition in milliseconds since the epoch, by `partition.time-extractor.*`; `None` if it has none.
    ///
    /// # Errors
    /// If an option is wrong, or the path does not name a column.
    pub fn time_ms(&self, options: &Options, file: &Path) -> Result<Option<i64>, String> {
        let extractor = TimeExtractor::new(
            self.0.keys.iter().map(|k| k.name.clone()).collect(),
            options.get("partition.time-extractor.timestamp-pattern"),
            options.get("partition.time-extractor.timestamp-formatter"),
            options
                .get("sink.partition-commit.watermark-time-zone")
                .unwrap_or("UTC"),
        )?;
        Ok(extractor.time_ms(&self.0.values_of(file)?))
    }
}
