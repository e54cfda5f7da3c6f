//! Writing: a row group gathers in memory, encoded and compressed by columns, and goes into the part as a whole.

use super::columns::{file_fields, to_file};
use super::options::ParquetOptions;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use flott_core::Field;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::errors::ParquetError;
use std::sync::Arc;

/// How the files of a table are made.
#[derive(Debug)]
pub(in super::super) struct ParquetLayout {
    schema: SchemaRef,
    options: ParquetOptions,
}

impl ParquetLayout {
    /// The layout of files with these columns.
    pub(in super::super) fn new(options: ParquetOptions, columns: &[Field]) -> Self {
        Self {
            schema: Arc::new(Schema::new(file_fields(columns, options.unit))),
            options,
        }
    }

    /// About how many bytes a row group has, and how many all open ones together may hold in memory.
    pub(in super::super) fn block_bytes(&self) -> usize {
        self.options.block_bytes
    }

    /// A batch as files hold it.
    ///
    /// # Errors
    /// If a value is out of the range of the file's type, or NULL where that is not allowed.
    pub(in super::super) fn batch(&self, columns: &[ArrayRef]) -> Result<RecordBatch, ArrowError> {
        let columns = columns.iter().zip(self.schema.fields());
        let columns: Result<Vec<ArrayRef>, ArrowError> = columns.map(|(c, f)| to_file(c, f.data_type())).collect();
        RecordBatch::try_new(self.schema.clone(), columns?)
    }
}

/// A part that is being written.
pub(in super::super) struct ParquetPart {
    writer: ArrowWriter<Vec<u8>>,
    block_bytes: usize,
}

impl ParquetPart {
    pub(in super::super) fn new(layout: &ParquetLayout) -> Result<Self, ParquetError> {
        // Other readers need no description of Arrow's types, and ours needs none.
        let options = ArrowWriterOptions::new()
            .with_properties(layout.options.properties())
            .with_skip_arrow_metadata(true);
        Ok(Self {
            writer: ArrowWriter::try_new_with_options(vec![], layout.schema.clone(), options)?,
            block_bytes: layout.options.block_bytes,
        })
    }

    /// Appends rows; the row group ends when it is large enough.
    pub(in super::super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.writer.write(batch)?;
        if self.writer.in_progress_size() >= self.block_bytes {
            self.end_row_group()?;
        }
        Ok(())
    }

    /// Bytes of memory of the row group that is being gathered.
    pub(in super::super) fn memory_bytes(&self) -> usize {
        self.writer.memory_size()
    }

    /// About how many bytes the row group that is being gathered will have.
    pub(in super::super) fn pending_bytes(&self) -> usize {
        self.writer.in_progress_size() + self.writer.inner().len()
    }

    /// Ends the row group.
    pub(in super::super) fn end_row_group(&mut self) -> Result<(), ParquetError> {
        self.writer.flush()
    }

    /// Moves the bytes that are ready for the file behind `out`.
    pub(in super::super) fn take_bytes(&mut self, out: &mut Vec<u8>) {
        // The writer counts what it wrote and does not look at it again.
        out.append(self.writer.inner_mut());
    }

    /// Ends the file; its last bytes go behind `out`.
    pub(in super::super) fn finish(self, out: &mut Vec<u8>) -> Result<(), ParquetError> {
        out.append(&mut self.writer.into_inner()?);
        Ok(())
    }
}
