//! `filesystem`: tables that are files on local disk or in a bucket (`s3://`), read in splits and written exactly once.
//!
//! # Reading
//! `path` is a file, a directory (read with all below it) or a pattern with `*` and `?`; files and directories whose
//! names begin with `.` or `_` are left out. A file whose lines can be told apart anywhere (`json`, `raw`, unquoted `csv`)
//! is cut into ranges of [`RANGE_BYTES`] or more, so that subtasks share it; a line belongs to the range in which it
//! begins. Quoted `csv` may hold line ends in fields and is read from its start, as are compressed files
//! (`.gz`, `.deflate`, `.bz2`, `.xz`, `.zst`). Files of `parquet` are cut between row groups ([`parquet`]). The columns of PARTITIONED BY come from the folders `key=value` of a file's path ([`partition`]).
//! With `source.monitor-interval` new files are looked for again and again, each is read once.
//!
//! Ranges are numbered across the files (first ranges of all files, then second ones, …) and dealt to the subtasks in that
//! order, so that files read side by side advance together in event time, and a reader has at most one range of a file
//! open, up to [`MAX_OPEN`] files at once, from which it takes batches in turn. Each range has its own watermark; those
//! not yet begun do not count.
//!
//! # Writing
//! ```text
//!   rows ─► .part-….inprogress ──(barrier, size, age: flush, sync)──► listed in the checkpoint ──(commit: rename, sync)─► part-…
//! ```
//! A part ends at each checkpoint, so that rows are visible as soon as they are safe (Flink keeps it open over
//! checkpoints); before that it ends at `sink.rolling-policy.file-size`, and, looked at every `.check-interval`, when it is
//! older than `.rollover-interval` or has had no row for `.inactivity-interval`. It is committed with the next checkpoint. Its
//! committable is the rename, which can be repeated. A restart commits what the checkpoint lists and removes this sink's
//! other unfinished parts. Readers never see an unfinished part, because its name begins with a dot. A partitioned table has a part in each folder that rows
//! came for, at most [`MAX_OPEN_PARTS`] open at once; [`partition_commit`] tells when a folder is complete.
//!
//! # In a bucket
//! The job's options `s3.endpoint`, `s3.access-key`, … say how the store is reached, as for checkpoints. A part is a multipart
//! upload that the commit completes ([`upload`]), and ends at 256 GiB whatever `sink.rolling-policy.file-size` says; objects are read on the job's runtime ([`fetch`]) and the task never waits.

mod bucket;
mod commit;
mod compression;
mod enumerator;
mod fetch;
mod folders;
mod lines;
mod listing;
mod metadata;
mod options;
mod parquet;
mod partition;
mod partition_commit;
mod partition_time;
mod reader;
pub mod tools;
mod upload;
mod writer;

use crate::table;
use bucket::Place;
use enumerator::Splitting;
use flott_core::Options;
use flott_runtime::connector::{
    ChangelogMode, Committer, CommitterContext, ConnectorError, ScanSpec, SinkSpec, TableInfo, TableSpec,
};
use flott_runtime::{
    OperatorContext, Sink, SinkWriter, Source, SourceReader, SplitEnumerator, TableConnector, TaskError,
};
use options::{ScanOptions, SinkOptions};
use std::sync::Arc;

/// Least size of a range of a file.
pub(crate) const RANGE_BYTES: u64 = 16 << 20;
/// Least size of a range of a file of row groups: reading one begins with the file's footer.
pub(crate) const ROW_GROUP_RANGE_BYTES: u64 = 64 << 20;
/// Most parts that a writer has open at once; the one that was written to longest ago ends for the next.
pub(crate) const MAX_OPEN_PARTS: usize = 64;
/// Most parts in a bucket that a writer has open at once: each holds the bytes of a piece.
pub(crate) const MAX_OPEN_UPLOADS: usize = 16;
/// Most objects of row groups that a reader has open at once: each holds a row group.
pub(crate) const MAX_OPEN_OBJECTS: usize = 2;
/// Most files that a reader has open at once.
pub(crate) const MAX_OPEN: usize = 8;

/// The connector `filesystem`.
#[derive(Debug, Clone, Copy, Default)]
pub struct FilesystemConnector;

impl TableConnector for FilesystemConnector {
    fn identifier(&self) -> &'static str {
        "filesystem"
    }

    fn check_source(&self, table: &TableSpec) -> Result<TableInfo, ConnectorError> {
        let options = ScanOptions::read(table)?;
        reader::rows_of(table, &options, &table.columns, reader::BATCH_ROWS)?;
        Ok(TableInfo {
            metadata: metadata::keys(),
            ..table::plain_info(changelog(&options.format), options.boundedness())
        })
    }

    fn check_sink(&self, table: &TableSpec, _job: &Options) -> Result<TableInfo, ConnectorError> {
        let options = SinkOptions::read(table)?;
        writer::encoding_of(table, &options, &table.columns)?;
        Ok(table::plain_info(
            changelog(&options.format),
            flott_runtime::connector::Boundedness::Bounded,
        ))
    }

    fn source(&self, scan: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
        self.source_in(scan, &Options::new())
    }

    fn source_in(&self, scan: &ScanSpec, job: &Options) -> Result<Box<dyn Source>, ConnectorError> {
        let options = ScanOptions::read(&scan.table)?;
        // Made once here, so that a wrong format is an error of the plan and splitting is known.
        let rows = reader::rows_of(&scan.table, &options, &scan.fields, reader::BATCH_ROWS)?;
        metadata::check(&scan.metadata)?;
        Ok(Box::new(FileSource {
            splitting: rows.splitting(),
            place: Place::open(&options.path, job)?,
            scan: Arc::new(scan.clone()),
            options: Arc::new(options),
        }))
    }

    fn sink(&self, sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        let options = SinkOptions::read(&sink.table)?;
        writer::encoding_of(&sink.table, &options, &sink.fields)?;
        Ok(Box::new(FileSink {
            sink: Arc::new(sink.clone()),
            options: Arc::new(options),
        }))
    }
}

/// The sink of a program's files: as that of a table, but the folders of the partition columns are named by their values alone.
///
/// # Errors
/// If an option is wrong.
pub fn bucket_sink(sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
    let mut options = SinkOptions::read(&sink.table)?;
    options.partitioning = options.partitioning.by_values_alone();
    writer::encoding_of(&sink.table, &options, &sink.fields)?;
    Ok(Box::new(FileSink {
        sink: Arc::new(sink.clone()),
        options: Arc::new(options),
    }))
}

/// Which kinds of rows files of a format hold.
fn changelog(format: &str) -> ChangelogMode {
    match flott_formats::carries_changes(format) {
        true => ChangelogMode::Retract,
        false => ChangelogMode::Append,
    }
}

struct FileSource {
    scan: Arc<ScanSpec>,
    options: Arc<ScanOptions>,
    splitting: Splitting,
    place: Place,
}

impl Source for FileSource {
    fn boundedness(&self) -> flott_runtime::connector::Boundedness {
        self.options.boundedness()
    }

    fn enumerator(&self, restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        Ok(Box::new(enumerator::FileEnumerator::new(
            self.scan.table.short_name(),
            self.options.clone(),
            self.splitting,
            self.place.clone(),
            self.scan.partitions.clone(),
            restored,
        )?))
    }

    fn reader(&self, ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        Ok(Box::new(reader::FileReader::new(
            &self.scan,
            &self.options,
            &self.place,
            ctx,
        )?))
    }
}

struct FileSink {
    sink: Arc<SinkSpec>,
    options: Arc<SinkOptions>,
}

impl Sink for FileSink {
    fn writer(&self, ctx: &OperatorContext) -> Result<Box<dyn SinkWriter>, TaskError> {
        let place = Place::open(&self.options.directory.to_string_lossy(), &ctx.task.options)?;
        Ok(Box::new(writer::FileWriter::new(
            &self.sink,
            &self.options,
            place,
            ctx,
        )?))
    }

    fn committer(&self, ctx: &CommitterContext) -> Result<Option<Box<dyn Committer>>, ConnectorError> {
        let place = Place::open(&self.options.directory.to_string_lossy(), &ctx.options)?;
        Ok(Some(Box::new(commit::FileCommitter::new(&self.options, place, ctx))))
    }
}

#[cfg(test)]
mod bucket_fault_tests;
#[cfg(test)]
mod bucket_tests;
#[cfg(test)]
mod tests;
