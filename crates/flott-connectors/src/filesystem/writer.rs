//! The writer: rows into unfinished parts, which end at each checkpoint and when they are large enough.

use super::commit::{Committable, PartNames};
use super::options::SinkOptions;
use crate::table;
use bytes::Bytes;
use flott_core::{Batch, CheckpointId};
use flott_formats::{EncodedRows, Encoder};
use flott_runtime::connector::SinkSpec;
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{FailureLabel, Flow, OperatorContext, SinkWriter, TaskError};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes gathered before they are handed to the file.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes the rows of one subtask.
pub(super) struct FileWriter {
    table: String,
    directory: PathBuf,
    names: PartNames,
    encoder: Box<dyn Encoder>,
    roll_bytes: u64,
    metrics: Arc<OperatorMetrics>,
    rows: EncodedRows,
    buffer: Vec<u8>,
    part: Option<Part>,
    /// Parts that are ended, synced and not yet listed in a checkpoint.
    ended: Vec<Committable>,
}

/// The part being written.
struct Part {
    file: File,
    from: PathBuf,
    to: PathBuf,
    bytes: u64,
}

impl FileWriter {
    pub(super) fn new(sink: &SinkSpec, options: &SinkOptions, ctx: &OperatorContext) -> Result<Self, TaskError> {
        let encoder = flott_formats::encoder(&options.format, &sink.table.options, &sink.fields)
            .map_err(|e| TaskError::from(table::wrong(&sink.table, e)))?;
        let writer = Self {
            table: sink.table.short_name().to_owned(),
            directory: options.directory.clone(),
            names: PartNames::of_writer(ctx),
            encoder,
            roll_bytes: options.roll_bytes,
            metrics: ctx.metrics.clone(),
            rows: EncodedRows::new(),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            part: None,
            ended: vec![],
        };
        std::fs::create_dir_all(&writer.directory).map_err(|e| writer.failed(&writer.directory, e))?;
        Ok(writer)
    }

    fn failed(&self, path: &Path, e: std::io::Error) -> TaskError {
        let label = match e.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => FailureLabel::Resources,
            _ => FailureLabel::Infrastructure,
        };
        let message = format!("table '{}': '{}' cannot be written: {e}", self.table, path.display());
        TaskError::caused(label, message, e)
    }

    fn open_part(&mut self) -> Result<(), TaskError> {
        let name = self.names.next_part();
        let from = self.directory.join(format!(".{name}.inprogress"));
        let opened = OpenOptions::new().write(true).create_new(true).open(&from);
        self.part = Some(Part {
            file: opened.map_err(|e| self.failed(&from, e))?,
            to: self.directory.join(self.names.committed(&name)),
            from,
            bytes: 0,
        });
        Ok(())
    }

    fn write_buffer(&mut self) -> Result<(), TaskError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.part.is_none() {
            self.open_part()?;
        }
        let Some(part) = &mut self.part else { return Ok(()) };
        if let Err(e) = part.file.write_all(&self.buffer) {
            let path = part.from.clone();
            return Err(self.failed(&path, e));
        }
        part.bytes += self.buffer.len() as u64;
        let bytes = part.bytes;
        self.metrics.bytes_out.add(self.buffer.len() as u64);
        self.buffer.clear();
        if bytes >= self.roll_bytes {
            self.end_part()?;
        }
        Ok(())
    }

    /// Makes the part durable and closes it.
    fn end_part(&mut self) -> Result<(), TaskError> {
        let Some(part) = self.part.take() else { return Ok(()) };
        part.file.sync_all().map_err(|e| self.failed(&part.from, e))?;
        self.ended.push(Committable {
            from: part.from,
            to: part.to,
            bytes: part.bytes,
        });
        Ok(())
    }
}

impl SinkWriter for FileWriter {
    fn write(&mut self, batch: &Batch) -> Result<Flow, TaskError> {
        self.rows.clear();
        self.encoder
            .encode(batch.columns(), batch.num_rows(), &mut self.rows)
            .map_err(|e| {
                TaskError::caused(
                    FailureLabel::Data,
                    format!("table '{}': a row cannot be written: {e}", self.table),
                    e,
                )
            })?;
        for row in 0..self.rows.len() {
            let Some(bytes) = self.rows.get(row) else {
                let message = format!(
                    "table '{}': NULL cannot be a line of a 'raw' file; filter it out",
                    self.table
                );
                return Err(TaskError::data(message));
            };
            self.buffer.extend_from_slice(bytes);
            self.buffer.push(b'\n');
            if self.buffer.len() >= BUFFER_BYTES {
                // `write_buffer` needs the whole writer; the rows stay where they are.
                let rows = std::mem::take(&mut self.rows);
                let written = self.write_buffer();
                self.rows = rows;
                written?;
            }
        }
        Ok(Flow::Done)
    }

    fn flush(&mut self) -> Result<Flow, TaskError> {
        self.write_buffer()?;
        self.end_part()?;
        Ok(Flow::Done)
    }

    fn prepare_commit(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Bytes>, TaskError> {
        let ended = std::mem::take(&mut self.ended);
        if !ended.is_empty() {
            // The names of the parts must survive a crash too.
            super::commit::sync_directory(&self.directory).map_err(|e| self.failed(&self.directory, e))?;
        }
        ended
            .iter()
            .map(|c| c.to_bytes().map_err(|e| TaskError::internal(e.to_string())))
            .collect()
    }
}
