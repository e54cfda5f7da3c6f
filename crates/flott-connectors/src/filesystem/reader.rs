//! The reader: batches from the open ranges in turn.

use super::bucket::Place;
use super::enumerator::{FileSplit, Splitting};
use super::fetch::{Arrived, Fetcher};
use super::lines::LineReader;
use super::metadata;
use super::options::ScanOptions;
use super::parquet::{self, ParquetReader, ParquetScan, ReadError};
use super::partition::Partitioning;
use super::{MAX_OPEN, MAX_OPEN_OBJECTS};
use crate::bad_rows::{BadRows, DeadLetter, DeadLetterFile};
use crate::table;
use arrow_array::ArrayRef;
use flott_core::{Batch, CheckpointId, Field};
use flott_formats::{Decoder, LineLimits, RowError};
use flott_runtime::connector::{ConnectorError, MetadataKey, ReaderPoll, ScanSpec, Split, TableSpec};
use flott_runtime::metrics::OperatorMetrics;
use flott_runtime::{FailureLabel, OperatorContext, SourceReader, TaskError};
use std::collections::VecDeque;
use std::sync::Arc;

/// Most rows of a batch, where the job asks for no other number.
pub(super) const BATCH_ROWS: usize = 8192;
/// About the most bytes of a batch.
const BATCH_BYTES: usize = 1 << 20;

/// Bytes read of lines after which a turn ends, whatever came of them: bad rows must not keep the task from its barriers.
const TURN_BYTES: usize = 8 << 20;

/// Reads the ranges of one subtask.
pub(super) struct FileReader {
    rows: Rows,
    /// Reads the objects of a bucket; `None`: files on disk.
    fetcher: Option<Fetcher>,
    /// Where each column asked for comes from.
    columns: Vec<Origin>,
    partitioning: Partitioning,
    metadata: Vec<MetadataKey>,
    judge: Judge,
    batch_rows: usize,
    splits: Vec<State>,
    /// Indices of splits not yet opened, in their order.
    waiting: VecDeque<usize>,
    open: VecDeque<Open>,
    no_more: bool,
}

/// Where a column comes from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    File,
    /// The value of this partition key.
    Path(usize),
}

/// How a file's bytes become rows.
pub(super) enum Rows {
    Lines(Box<dyn Decoder>),
    Parquet(Arc<ParquetScan>),
}

impl Rows {
    /// Where files may be cut.
    pub(super) fn splitting(&self) -> Splitting {
        match self {
            Self::Lines(decoder) if decoder.splits_at_line_ends() => Splitting::LineEnds,
            Self::Lines(_) => Splitting::Nowhere,
            Self::Parquet(_) => Splitting::RowGroups,
        }
    }
}

/// What reads those of the columns `fields` that are in files.
pub(super) fn rows_of(
    table: &TableSpec,
    options: &ScanOptions,
    fields: &[Field],
    batch_rows: usize,
) -> Result<Rows, ConnectorError> {
    let physical = options.partitioning.in_files(&table.columns);
    let projected = options.partitioning.in_files(fields);
    if options.format == parquet::NAME {
        let read = parquet::check(&table.options, &physical).map_err(|e| table::wrong(table, e))?;
        return Ok(Rows::Parquet(Arc::new(ParquetScan::new(&read, projected, batch_rows))));
    }
    flott_formats::decoder(&options.format, &table.options, &physical, &projected)
        .map(Rows::Lines)
        .map_err(|e| table::wrong(table, e))
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
    content: Content,
}

enum Content {
    Lines(LineReader),
    Parquet(Box<ParquetReader>),
}

impl Content {
    /// Where to go on after a restart; `None` as long as the start of the first row is looked for.
    fn position(&self) -> Option<u64> {
        match self {
            Self::Lines(lines) => lines.has_begun().then(|| lines.position()),
            Self::Parquet(groups) => Some(groups.position()),
        }
    }

    fn is_finished(&self) -> bool {
        match self {
            Self::Lines(lines) => lines.is_finished(),
            Self::Parquet(groups) => groups.is_finished(),
        }
    }
}

/// What is done with bad rows.
struct Judge {
    table: String,
    bad_rows: BadRows,
    dead_letters: Option<DeadLetterFile>,
    metrics: Arc<OperatorMetrics>,
    subtask: usize,
}

impl Judge {
    /// Does with a bad row what the table asks for.
    fn judge(&mut self, split: &FileSplit, position: u64, row: &[u8], error: &RowError) -> Result<(), TaskError> {
        let place = format!("'{}' byte {position}", split.path.display());
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
                    row: &String::from_utf8_lossy(row),
                })?;
            }
        }
        self.metrics.bad_rows.add(1);
        Ok(())
    }

    /// Makes dead letters durable.
    fn sync(&mut self) -> Result<(), TaskError> {
        match &mut self.dead_letters {
            Some(letters) => Ok(letters.sync()?),
            None => Ok(()),
        }
    }

    fn io_error(&self, split: &FileSplit, e: std::io::Error) -> TaskError {
        let message = format!("table '{}': '{}' cannot be read: {e}", self.table, split.path.display());
        match e.kind() {
            // What the file holds is wrong, and would be when it is read again.
            std::io::ErrorKind::InvalidData => TaskError::caused(FailureLabel::Data, message, e).fatal(),
            _ => TaskError::caused(FailureLabel::Infrastructure, message, e),
        }
    }

    /// The error of a file of row groups. Only its reading can be tried again.
    fn file_error(&self, split: &FileSplit, e: ReadError) -> TaskError {
        match e {
            ReadError::Io(e) => self.io_error(split, e),
            wrong => {
                let message = format!(
                    "table '{}': '{}' cannot be read: {wrong}",
                    self.table,
                    split.path.display()
                );
                TaskError::caused(FailureLabel::Data, message, wrong).fatal()
            }
        }
    }
}

/// Columns of a file, their number of rows and, where they are changes, the kinds of the rows.
#[derive(Default)]
struct FileRows {
    columns: Vec<ArrayRef>,
    rows: usize,
    kinds: Option<Vec<u8>>,
    /// The turn ended before the range or what has arrived of it.
    is_cut: bool,
}

/// What a range's turn brought.
enum Turn {
    Batch(Batch),
    /// No rows so far; the next turn goes on at once.
    More,
    /// Nothing was readable, or has arrived.
    Nothing,
}

/// The next lines of a range, as far as they were readable.
fn read_lines(
    decoder: &mut dyn Decoder,
    lines: &mut LineReader,
    split: &FileSplit,
    batch_rows: usize,
    judge: &mut Judge,
) -> Result<FileRows, TaskError> {
    let dropped = decoder.dropped_rows();
    let mut bytes_read = 0;
    while !lines.is_finished() && bytes_read < TURN_BYTES {
        let (block, last) = lines.block();
        let limits = LineLimits {
            rows: batch_rows,
            bytes: BATCH_BYTES,
            last,
        };
        let consumed = decoder.decode_lines(block, limits);
        if let Some((error, range)) = consumed.bad {
            let position = lines.position() + range.start as u64;
            judge.judge(split, position, &block[range], &error)?;
        }
        lines.consume(consumed.bytes);
        if decoder.rows() >= batch_rows || decoder.bytes() >= BATCH_BYTES {
            break;
        }
        if consumed.bytes == 0 && !lines.is_finished() {
            match lines.fill().map_err(|e| judge.io_error(split, e))? {
                Arrived::Bytes(read) => bytes_read += read,
                Arrived::Nothing => break,
            }
        }
    }
    judge.metrics.bytes_in.add(bytes_read as u64);
    judge.metrics.bad_rows.add(decoder.dropped_rows() - dropped);
    let rows = decoder.rows();
    if rows == 0 {
        return Ok(FileRows {
            is_cut: !lines.is_finished() && bytes_read >= TURN_BYTES,
            ..FileRows::default()
        });
    }
    Ok(FileRows {
        rows,
        kinds: decoder.take_kinds(),
        columns: decoder.finish(),
        is_cut: false,
    })
}

impl FileReader {
    pub(super) fn new(
        scan: &ScanSpec,
        options: &ScanOptions,
        place: &Place,
        ctx: &OperatorContext,
    ) -> Result<Self, TaskError> {
        let table = &scan.table;
        let keys = &options.partitioning.keys;
        let origin = |field: &Field| match keys.iter().position(|k| k.name == field.name) {
            Some(key) => Origin::Path(key),
            None => Origin::File,
        };
        let batch_rows = ctx.task.batching()?.rows_or(BATCH_ROWS);
        Ok(Self {
            rows: rows_of(table, options, &scan.fields, batch_rows)?,
            fetcher: match place {
                Place::Disk => None,
                Place::Bucket(bucket) => Some(Fetcher {
                    bucket: bucket.clone(),
                    runtime: ctx.runtime.clone(),
                    waker: ctx.waker.clone(),
                }),
            },
            columns: scan.fields.iter().map(origin).collect(),
            partitioning: options.partitioning.clone(),
            metadata: scan.metadata.clone(),
            judge: Judge {
                table: table.short_name().to_owned(),
                bad_rows: options.bad_rows.clone(),
                dead_letters: None,
                metrics: ctx.metrics.clone(),
                subtask: ctx.task.subtask,
            },
            batch_rows,
            splits: vec![],
            waiting: VecDeque::new(),
            open: VecDeque::new(),
            no_more: false,
        })
    }

    /// Opens waiting ranges of files of which none is open, up to the most at once.
    fn open_more(&mut self) -> Result<(), TaskError> {
        let most = match (&self.rows, &self.fetcher) {
            (Rows::Parquet(_), Some(_)) => MAX_OPEN_OBJECTS,
            _ => MAX_OPEN,
        };
        let mut at = 0;
        while self.open.len() < most && at < self.waiting.len() {
            let index = self.waiting[at];
            let split = &self.splits[index].split;
            if self.open.iter().any(|o| self.splits[o.index].split.path == split.path) {
                at += 1;
                continue;
            }
            let content = match &self.rows {
                Rows::Lines(_) => {
                    let lines =
                        LineReader::open(split, self.fetcher.as_ref()).map_err(|e| self.judge.io_error(split, e))?;
                    Content::Lines(lines)
                }
                Rows::Parquet(scan) => {
                    let groups = ParquetReader::open(split, scan.clone(), self.fetcher.clone());
                    Content::Parquet(Box::new(groups.map_err(|e| self.judge.file_error(split, e))?))
                }
            };
            self.waiting.remove(at);
            self.splits[index].opened = true;
            self.open.push_back(Open { index, content });
        }
        Ok(())
    }

    /// A batch of the range's next rows.
    fn read(&mut self, open: &mut Open) -> Result<Turn, TaskError> {
        let split = &self.splits[open.index].split;
        let FileRows {
            columns: decoded,
            rows,
            kinds,
            is_cut,
        } = match (&mut open.content, &mut self.rows) {
            (Content::Lines(lines), Rows::Lines(decoder)) => {
                read_lines(decoder.as_mut(), lines, split, self.batch_rows, &mut self.judge)?
            }
            (Content::Parquet(groups), _) => {
                let read = groups.next().map_err(|e| self.judge.file_error(split, e))?;
                let (columns, rows) = read.unwrap_or_default();
                let bytes: usize = columns.iter().map(|c| c.get_buffer_memory_size()).sum();
                self.judge.metrics.bytes_in.add(bytes as u64);
                FileRows {
                    columns,
                    rows,
                    ..FileRows::default()
                }
            }
            (Content::Lines(_), Rows::Parquet(_)) => {
                return Err(TaskError::internal("a file of row groups was opened as lines"));
            }
        };
        if rows == 0 {
            return Ok(if is_cut { Turn::More } else { Turn::Nothing });
        }
        let mut columns = self.columns_of(open.index, decoded, rows)?;
        columns.extend(metadata::columns(&self.metadata, &self.splits[open.index].split, rows));
        Ok(Turn::Batch(Batch::new(columns, rows).with_kinds(kinds.map(Into::into))))
    }

    /// The file's columns and those that its path tells, in the order asked for.
    fn columns_of(&self, index: usize, decoded: Vec<ArrayRef>, rows: usize) -> Result<Vec<ArrayRef>, TaskError> {
        if self.partitioning.is_none() {
            return Ok(decoded);
        }
        let wrong = |problem: String| TaskError::data(format!("table '{}': {problem}", self.judge.table)).fatal();
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
}

impl SourceReader for FileReader {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        for split in splits {
            let state: FileSplit = serde_json::from_slice(&split.state).map_err(|e| {
                let message = format!(
                    "table '{}': the position of split '{}' is unreadable",
                    self.judge.table, split.id
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

    fn poll(&mut self, now_ms: i64) -> Result<ReaderPoll, TaskError> {
        self.open_more()?;
        for _ in 0..self.open.len() {
            let Some(mut open) = self.open.pop_front() else { break };
            let index = open.index;
            if self.splits[index].paused {
                self.open.push_back(open);
                continue;
            }
            let turn = self.read(&mut open)?;
            if let Some(position) = open.content.position() {
                self.splits[index].split.position = Some(position);
            }
            let finished = open.content.is_finished();
            match turn {
                Turn::Batch(batch) => {
                    // The end is told by the next turn.
                    self.open.push_back(open);
                    return Ok(ReaderPoll::Batch { split: index, batch });
                }
                Turn::More => {
                    self.open.push_back(open);
                    return Ok(ReaderPoll::Idle { until_ms: Some(now_ms) });
                }
                Turn::Nothing if finished => {
                    self.splits[index].finished = true;
                    return Ok(ReaderPoll::SplitFinished(index));
                }
                Turn::Nothing => self.open.push_back(open),
            }
        }
        let done = self.no_more && self.waiting.is_empty() && self.open.is_empty();
        if done {
            self.judge.sync()?;
        }
        Ok(if done {
            ReaderPoll::Finished
        } else {
            ReaderPoll::Idle { until_ms: None }
        })
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        self.judge.sync()?;
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
