//! The reader: batches from the open ranges in turn.

use super::MAX_OPEN;
use super::enumerator::FileSplit;
use super::lines::LineReader;
use super::metadata;
use super::options::ScanOptions;
use super::partition::Partitioning;
use crate::bad_rows::{BadRows, DeadLetter, DeadLetterFile};
use crate::table;
use arrow_array::ArrayRef;
use flott_core::{Batch, CheckpointId, Field};
use flott_formats::{Decoder, LineLimits, RowError};
use flott_runtime::connector::{ConnectorError, MetadataKey, ReaderPoll, ScanSpec, Split};
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{FailureLabel, OperatorContext, SourceReader, TaskError};
use std::collections::VecDeque;
use std::sync::Arc;

/// Most rows of a batch, where the job asks for no other number.
const BATCH_ROWS: usize = 8192;
/// About the most bytes of a batch.
const BATCH_BYTES: usize = 1 << 20;

/// Reads the ranges of one subtask.
pub(super) struct FileReader {
    table: String,
    decoder: Box<dyn Decoder>,
    /// Where each column asked for comes from.
    columns: Vec<Origin>,
    partitioning: Partitioning,
    metadata: Vec<MetadataKey>,
    bad_rows: BadRows,
    dead_letters: Option<DeadLetterFile>,
    metrics: Arc<OperatorMetrics>,
    subtask: usize,
    batch_rows: usize,
    splits: Vec<State>,
    /// Indices of splits not yet opened, in their order.
    waiting: VecDeque<usize>,
    open: VecDeque<Open>,
    no_more: bool,
    /// Rows that the format had dropped when they were last counted.
    dropped: u64,
}

/// Where a column comes from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    File,
    /// The value of this partition key.
    Path(usize),
}

/// The decoder for those columns of a scan that are in files.
pub(super) fn decoder_of(scan: &ScanSpec, options: &ScanOptions) -> Result<Box<dyn Decoder>, ConnectorError> {
    let table = &scan.table;
    let physical = options.partitioning.in_files(&table.columns);
    let projected = options.partitioning.in_files(&scan.fields);
    flott_formats::decoder(&options.format, &table.options, &physical, &projected).map_err(|e| table::wrong(table, e))
}

struct State {
    split: FileSplit,
    finished: bool,
    opened: bool,
    /// Held back by watermark alignment.
    paused: bool,
}

struct Open {
    index: usize,
    lines: LineReader,
}

impl FileReader {
    pub(super) fn new(scan: &ScanSpec, options: &ScanOptions, ctx: &OperatorContext) -> Result<Self, TaskError> {
        let table = &scan.table;
        let keys = &options.partitioning.keys;
        let origin = |field: &Field| match keys.iter().position(|k| k.name == field.name) {
            Some(key) => Origin::Path(key),
            None => Origin::File,
        };
        Ok(Self {
            table: table.short_name().to_owned(),
            decoder: decoder_of(scan, options)?,
            columns: scan.fields.iter().map(origin).collect(),
            partitioning: options.partitioning.clone(),
            metadata: scan.metadata.clone(),
            bad_rows: options.bad_rows.clone(),
            dead_letters: None,
            metrics: ctx.metrics.clone(),
            subtask: ctx.task.subtask,
            batch_rows: ctx.task.batching()?.rows_or(BATCH_ROWS),
            splits: vec![],
            waiting: VecDeque::new(),
            open: VecDeque::new(),
            no_more: false,
            dropped: 0,
        })
    }

    fn io_error(&self, split: &FileSplit, e: std::io::Error) -> TaskError {
        let message = format!("table '{}': '{}' cannot be read: {e}", self.table, split.path.display());
        TaskError::caused(FailureLabel::Infrastructure, message, e)
    }

    /// Opens waiting ranges of files of which none is open, up to the most at once.
    fn open_more(&mut self) -> Result<(), TaskError> {
        let mut at = 0;
        while self.open.len() < MAX_OPEN && at < self.waiting.len() {
            let index = self.waiting[at];
            let split = &self.splits[index].split;
            if self.open.iter().any(|o| self.splits[o.index].split.path == split.path) {
                at += 1;
                continue;
            }
            let lines = LineReader::open(split).map_err(|e| self.io_error(split, e))?;
            self.waiting.remove(at);
            self.splits[index].opened = true;
            self.open.push_back(Open { index, lines });
        }
        Ok(())
    }

    /// A batch of the range's next lines; `None` if nothing of it was readable.
    fn read(&mut self, open: &mut Open) -> Result<Option<Batch>, TaskError> {
        let mut bytes_read = 0;
        while !open.lines.is_finished() {
            let (block, last) = open.lines.block();
            let limits = LineLimits {
                rows: self.batch_rows,
                bytes: BATCH_BYTES,
                last,
            };
            let consumed = self.decoder.decode_lines(block, limits);
            if let Some((error, range)) = consumed.bad {
                let row = String::from_utf8_lossy(&block[range.clone()]).into_owned();
                let position = open.lines.position() + range.start as u64;
                self.judge(open.index, position, &row, &error)?;
            }
            open.lines.consume(consumed.bytes);
            if self.decoder.rows() >= self.batch_rows || self.decoder.bytes() >= BATCH_BYTES {
                break;
            }
            if consumed.bytes == 0 && !open.lines.is_finished() {
                let filled = open
                    .lines
                    .fill()
                    .map_err(|e| self.io_error(&self.splits[open.index].split, e))?;
                bytes_read += filled;
            }
        }
        self.metrics.bytes_in.add(bytes_read as u64);
        let dropped = self.decoder.dropped_rows();
        self.metrics.bad_rows.add(dropped - self.dropped);
        self.dropped = dropped;
        let rows = self.decoder.rows();
        if rows == 0 {
            return Ok(None);
        }
        let kinds = self.decoder.take_kinds();
        let mut columns = self.columns_of(open.index, rows)?;
        columns.extend(metadata::columns(&self.metadata, &self.splits[open.index].split, rows));
        Ok(Some(Batch::new(columns, rows).with_kinds(kinds.map(Into::into))))
    }

    /// The decoder's columns and those that the file's path tells, in the order asked for.
    fn columns_of(&mut self, index: usize, rows: usize) -> Result<Vec<ArrayRef>, TaskError> {
        let decoded = self.decoder.finish();
        if self.partitioning.is_none() {
            return Ok(decoded);
        }
        let wrong = |problem: String| TaskError::data(format!("table '{}': {problem}", self.table)).fatal();
        let path = &self.splits[index].split.path;
        let values = self.partitioning.values_of(path).map_err(wrong)?;
        let mut decoded = decoded.into_iter();
        let mut columns = Vec::with_capacity(self.columns.len() + self.metadata.len());
        for origin in &self.columns {
            match origin {
                Origin::File => columns.extend(decoded.next()),
                Origin::Path(key) => {
                    let value = values[*key].as_deref();
                    let column = Partitioning::column(&self.partitioning.keys[*key], value, rows);
                    columns.push(column.map_err(|e| wrong(format!("'{}': {e}", path.display())))?);
                }
            }
        }
        Ok(columns)
    }

    /// Does with a bad row what the table asks for.
    fn judge(&mut self, index: usize, position: u64, row: &str, error: &RowError) -> Result<(), TaskError> {
        let place = format!("'{}' byte {position}", self.splits[index].split.path.display());
        match &self.bad_rows {
            BadRows::Fail => {
                return Err(TaskError::data(format!(
                    "table '{}', file {place}: {error}; correct the row, or set 'bad-rows' = 'skip' or 'dead-letter'",
                    self.table
                ))
                .fatal());
            }
            BadRows::Skip | BadRows::Topic(_) => {}
            BadRows::Path(folder) => {
                let file = match &mut self.dead_letters {
                    Some(file) => file,
                    none => none.insert(DeadLetterFile::open(folder, &self.table, self.subtask)?),
                };
                file.write(&DeadLetter {
                    table: &self.table,
                    place: &place,
                    error: &error.to_string(),
                    row,
                })?;
            }
        }
        self.metrics.bad_rows.add(1);
        Ok(())
    }
}

impl SourceReader for FileReader {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        for split in splits {
            let state: FileSplit = serde_json::from_slice(&split.state).map_err(|e| {
                let message = format!(
                    "table '{}': the position of split '{}' is unreadable",
                    self.table, split.id
                );
                TaskError::caused(FailureLabel::Internal, message, e)
            })?;
            self.waiting.push_back(self.splits.len());
            self.splits.push(State {
                split: state,
                finished: false,
                opened: false,
                paused: false,
            });
        }
        let splits = &self.splits;
        self.waiting.make_contiguous().sort_by_key(|i| splits[*i].split.ordinal);
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.no_more = true;
    }

    fn poll(&mut self, _now_ms: i64) -> Result<ReaderPoll, TaskError> {
        self.open_more()?;
        for _ in 0..self.open.len() {
            let Some(mut open) = self.open.pop_front() else { break };
            let index = open.index;
            if self.splits[index].paused {
                self.open.push_back(open);
                continue;
            }
            let batch = self.read(&mut open)?;
            self.splits[index].split.position = Some(open.lines.position());
            let finished = open.lines.is_finished();
            match batch {
                Some(batch) => {
                    // The end is told by the next turn.
                    self.open.push_back(open);
                    return Ok(ReaderPoll::Batch { split: index, batch });
                }
                None if finished => {
                    self.splits[index].finished = true;
                    return Ok(ReaderPoll::SplitFinished(index));
                }
                None => self.open.push_back(open),
            }
        }
        let done = self.no_more && self.waiting.is_empty() && self.open.is_empty();
        if done && let Some(letters) = &mut self.dead_letters {
            letters.sync()?;
        }
        Ok(if done {
            ReaderPoll::Finished
        } else {
            ReaderPoll::Idle { until_ms: None }
        })
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        if let Some(letters) = &mut self.dead_letters {
            letters.sync()?;
        }
        let unfinished = self.splits.iter().filter(|s| !s.finished);
        let split = |s: &State| {
            let state = serde_json::to_vec(&s.split).map_err(|e| TaskError::internal(e.to_string()))?;
            Ok(Split {
                id: s.split.id(),
                state,
            })
        };
        unfinished.map(split).collect()
    }

    fn set_paused(&mut self, split: usize, paused: bool) {
        if let Some(state) = self.splits.get_mut(split) {
            state.paused = paused;
        }
    }

    fn is_active(&self, split: usize) -> bool {
        self.splits.get(split).is_some_and(|s| s.opened)
    }
}
