//! Reading: the row groups of a split, a batch at a time, without the columns that nobody asked for.
//!
//! On local disk a page of each column is in memory at a time; of an object in a bucket a row group's wanted columns, which
//! are asked for together.

use super::super::enumerator::FileSplit;
use super::super::fetch::{Fetcher, Ranges};
use super::columns::{INT96, Zone, from_file};
use super::options::ParquetOptions;
use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{DataType, Field as ArrowField, Fields, Schema, TimeUnit};
use bytes::Bytes;
use flott_core::{Field, LogicalType, TypeKind};
use flott_runtime::error::panic_text;
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder};
use parquet::file::reader::ChunkReader;
use parquet::schema::types::SchemaDescriptor;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes at the end of an object that are asked for first; most footers are shorter.
const FOOTER_BYTES: u64 = 64 << 10;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum ReadError {
    #[error("{0}")]
    Io(#[source] io::Error),
    #[error("it is no sound parquet file ({0}); replace it, or move it out of the table's 'path'")]
    Damaged(#[source] ParquetError),
    #[error("column '{column}' {problem}")]
    Column { column: String, problem: String },
}

impl From<ParquetError> for ReadError {
    fn from(e: ParquetError) -> Self {
        match e {
            ParquetError::External(cause) => match cause.downcast::<io::Error>() {
                Ok(io) if io.kind() != io::ErrorKind::UnexpectedEof => Self::Io(*io),
                Ok(io) => Self::Damaged(ParquetError::External(io)),
                Err(other) => Self::Damaged(ParquetError::External(other)),
            },
            other => Self::Damaged(other),
        }
    }
}

/// What to read of every file.
#[derive(Debug)]
pub(in super::super) struct ParquetScan {
    fields: Vec<Field>,
    zone: Zone,
    batch_rows: usize,
}

impl ParquetScan {
    /// Reads these columns, in this order, at most `batch_rows` rows at a time.
    pub(in super::super) fn new(options: &ParquetOptions, fields: Vec<Field>, batch_rows: usize) -> Self {
        Self {
            fields,
            zone: options.zone,
            batch_rows: options.batch_rows.map_or(batch_rows, |rows| rows.min(batch_rows)),
        }
    }
}

/// Reads the row groups of one split.
pub(in super::super) struct ParquetReader {
    scan: Arc<ParquetScan>,
    split: FileSplit,
    groups: Groups,
    /// Where each wanted column is in a batch; `None`: not in the file. Known with the footer.
    places: Vec<Option<usize>>,
    /// Number of the file's next row.
    position: u64,
    finished: bool,
}

impl ParquetReader {
    /// Opens a file at the split's position. An object of a bucket is read by `fetcher`.
    pub(in super::super) fn open(
        split: &FileSplit,
        scan: Arc<ParquetScan>,
        fetcher: Option<Fetcher>,
    ) -> Result<Self, ReadError> {
        caught(|| {
            let mut reader = Self::unopened(split, scan);
            match fetcher {
                Some(fetcher) => reader.groups = Groups::Object(ObjectGroups::ask(fetcher, split)?),
                None => {
                    let file = File::open(&split.path).map_err(ReadError::Io)?;
                    let bytes = file.metadata().map_err(ReadError::Io)?.len();
                    reader.read_from(file, bytes)?;
                }
            }
            Ok(reader)
        })
    }

    /// Opens the bytes of a whole file.
    pub(in super::super) fn of_bytes(file: Bytes, scan: Arc<ParquetScan>) -> Result<Self, ReadError> {
        let split = FileSplit::whole(PathBuf::from("bytes"), file.len() as u64);
        caught(|| {
            let mut reader = Self::unopened(&split, scan);
            let bytes = file.len() as u64;
            reader.read_from(file, bytes)?;
            Ok(reader)
        })
    }

    fn unopened(split: &FileSplit, scan: Arc<ParquetScan>) -> Self {
        Self {
            position: split.position.unwrap_or(0),
            split: split.clone(),
            scan,
            groups: Groups::Ended,
            places: vec![],
            finished: false,
        }
    }

    fn read_from(&mut self, file: impl ChunkReader + 'static, bytes: u64) -> Result<(), ReadError> {
        let metadata = ArrowReaderMetadata::load(&file, plain_options())?;
        let plan = self.plan(metadata, bytes)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, plan.metadata);
        let builder = builder
            .with_projection(plan.mask)
            .with_row_groups(plan.row_groups)
            .with_offset(plan.skipped)
            .with_batch_size(self.scan.batch_rows);
        self.groups = Groups::Disk(builder.build()?);
        Ok(())
    }

    /// What to read, from the file's footer.
    fn plan(&mut self, metadata: ArrowReaderMetadata, file_bytes: u64) -> Result<Plan, ReadError> {
        check_places(&metadata, file_bytes)?;
        let metadata = with_int96_marked(metadata, &self.scan.fields)?;
        let (row_groups, position, skipped) = row_groups(&metadata, &self.split);
        let mask = projection(metadata.parquet_schema(), &self.scan.fields);
        let in_file = |field: &&Arc<ArrowField>| is_root_in(metadata.parquet_schema(), &mask, field.name());
        let names: Vec<&str> = metadata
            .schema()
            .fields()
            .iter()
            .filter(in_file)
            .map(|f| f.name().as_str())
            .collect();
        let place = |field: &Field| names.iter().position(|name| *name == field.name);
        self.places = self.scan.fields.iter().map(place).collect();
        self.position = position;
        Ok(Plan {
            row_groups,
            skipped,
            mask,
            metadata,
        })
    }

    /// Number of the file's next row.
    pub(in super::super) fn position(&self) -> u64 {
        self.position
    }

    /// Whether all rows of the split are read.
    pub(in super::super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The next rows: the wanted columns and the number of rows; `None` at the end, and if nothing has arrived yet.
    pub(in super::super) fn next(&mut self) -> Result<Option<(Vec<ArrayRef>, usize)>, ReadError> {
        let Some(batch) = caught(|| self.next_batch())? else {
            return Ok(None);
        };
        let rows = batch.num_rows();
        let column = |(field, place): (&Field, &Option<usize>)| {
            let failed = |problem: String| ReadError::Column {
                column: field.name.clone(),
                problem,
            };
            let column = match place {
                Some(at) => from_file(batch.column(*at), &field.ty, self.scan.zone).map_err(failed)?,
                None => new_null_array(&field.ty.to_arrow(), rows),
            };
            if !field.ty.nullable && column.null_count() > 0 {
                let problem = match place {
                    Some(_) => "is NOT NULL in the table, and NULL in the file; declare it without NOT NULL",
                    None => "is NOT NULL in the table, and not in the file; declare it without NOT NULL",
                };
                return Err(failed(problem.to_owned()));
            }
            Ok(column)
        };
        let columns = self.scan.fields.iter().zip(&self.places).map(column);
        let columns = columns.collect::<Result<_, _>>()?;
        self.position += rows as u64;
        Ok(Some((columns, rows)))
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        loop {
            let groups = match &mut self.groups {
                Groups::Disk(batches) => {
                    let batch = batches.next().transpose().map_err(ParquetError::from)?;
                    self.finished = batch.is_none();
                    return Ok(batch);
                }
                Groups::Object(groups) => groups,
                Groups::Ended => return Ok(None),
            };
            match groups.step()? {
                Step::Waits => return Ok(None),
                Step::Batch(batch) => return Ok(Some(batch)),
                Step::Ended => {
                    self.finished = true;
                    self.groups = Groups::Ended;
                }
                Step::Footer(footer) => {
                    let metadata = ArrowReaderMetadata::try_new(Arc::new(footer), plain_options())?;
                    let plan = self.plan(metadata, self.split.size_bytes)?;
                    let builder = ParquetPushDecoderBuilder::new_with_metadata(plan.metadata);
                    let builder = builder
                        .with_projection(plan.mask)
                        .with_row_groups(plan.row_groups)
                        .with_offset(plan.skipped)
                        .with_batch_size(self.scan.batch_rows);
                    if let Groups::Object(groups) = &mut self.groups {
                        groups.stage = Stage::Rows(Box::new(builder.build()?));
                    }
                }
            }
        }
    }
}

/// What of a file is read.
struct Plan {
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    row_groups: Vec<usize>,
    /// Rows of the first row group that are read already.
    skipped: usize,
}

/// Where the batches come from.
enum Groups {
    Disk(ParquetRecordBatchReader),
    Object(ObjectGroups),
    Ended,
}

/// The row groups of an object: decoders say which bytes they need, and those are asked for.
struct ObjectGroups {
    fetcher: Fetcher,
    path: PathBuf,
    asked: Option<Ranges>,
    stage: Stage,
}

enum Stage {
    Footer(Box<ParquetMetaDataPushDecoder>),
    Rows(Box<ParquetPushDecoder>),
}

/// What a step of reading an object came to.
enum Step {
    Waits,
    Footer(ParquetMetaData),
    Batch(RecordBatch),
    Ended,
}

impl ObjectGroups {
    /// Asks for the footer, of which the last bytes tell the length.
    fn ask(fetcher: Fetcher, split: &FileSplit) -> Result<Self, ReadError> {
        let bytes = split.size_bytes;
        let decoder = ParquetMetaDataPushDecoder::try_new(bytes)?.with_page_index_policy(PageIndexPolicy::Skip);
        let first = bytes.saturating_sub(FOOTER_BYTES)..bytes;
        let asked = Ranges::ask(&fetcher, &split.path, vec![first]).map_err(ReadError::Io)?;
        Ok(Self {
            fetcher,
            path: split.path.clone(),
            asked: Some(asked),
            stage: Stage::Footer(Box::new(decoder)),
        })
    }

    fn step(&mut self) -> Result<Step, ReadError> {
        if let Some(asked) = &mut self.asked {
            let Some(arrived) = asked.arrived() else {
                return Ok(Step::Waits);
            };
            let (ranges, bytes) = (std::mem::take(&mut asked.ranges), arrived.map_err(ReadError::Io)?);
            self.asked = None;
            match &mut self.stage {
                Stage::Footer(decoder) => decoder.push_ranges(ranges, bytes)?,
                Stage::Rows(decoder) => decoder.push_ranges(ranges, bytes)?,
            }
        }
        let needed = match &mut self.stage {
            Stage::Footer(decoder) => match decoder.try_decode()? {
                DecodeResult::Data(footer) => return Ok(Step::Footer(footer)),
                DecodeResult::NeedsData(ranges) => ranges,
                DecodeResult::Finished => return Ok(Step::Ended),
            },
            Stage::Rows(decoder) => match decoder.try_decode()? {
                DecodeResult::Data(batch) => return Ok(Step::Batch(batch)),
                DecodeResult::NeedsData(ranges) => ranges,
                DecodeResult::Finished => return Ok(Step::Ended),
            },
        };
        self.asked = Some(Ranges::ask(&self.fetcher, &self.path, needed).map_err(ReadError::Io)?);
        Ok(Step::Waits)
    }
}

/// Makes an error of a panic: the decoders of pages trust what a damaged page says of itself. The reader is not used again.
fn caught<T>(read: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let problem = panic_text(panic.as_ref());
        Err(ReadError::Damaged(ParquetError::General(problem.to_owned())))
    })
}

/// Types by the file's schema alone, not by a description of Arrow's beside it.
fn plain_options() -> ArrowReaderOptions {
    ArrowReaderOptions::new().with_skip_arrow_metadata(true)
}

/// Refuses a footer whose columns lie outside the file, before anything is read or allocated by it.
fn check_places(metadata: &ArrowReaderMetadata, file_bytes: u64) -> Result<(), ParquetError> {
    for (i, group) in metadata.metadata().row_groups().iter().enumerate() {
        let lies_within = |column: &ColumnChunkMetaData| {
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let end = start.checked_add(column.compressed_size());
            start >= 0
                && column.data_page_offset() >= start
                && column.compressed_size() >= 0
                && end.is_some_and(|end| end.unsigned_abs() <= file_bytes)
        };
        if group.num_rows() < 0 || !group.columns().iter().all(lies_within) {
            let problem = format!("row group {i} lies outside the file's {file_bytes} bytes");
            return Err(ParquetError::General(problem));
        }
    }
    Ok(())
}

/// The row groups that begin in the split and are not read yet, the number of the first row to read, and how many rows of the first
/// of them are read.
fn row_groups(metadata: &ArrowReaderMetadata, split: &FileSplit) -> (Vec<usize>, u64, usize) {
    let mut groups = vec![];
    let mut first_row = None;
    let mut row = 0;
    for (i, group) in metadata.metadata().row_groups().iter().enumerate() {
        let rows = u64::try_from(group.num_rows()).unwrap_or(0);
        // The file's first bytes are no row group's.
        let begins_at = group.columns().first().map_or(0, |column| column.byte_range().0);
        let is_mine = (split.start..split.end).contains(&begins_at);
        if is_mine && split.position.is_none_or(|position| position < row + rows) {
            first_row.get_or_insert(split.position.unwrap_or(row).max(row));
            groups.push((i, row));
        }
        row += rows;
    }
    let position = first_row.or(split.position).unwrap_or(0);
    let skipped = groups.first().map_or(0, |(_, begins)| (position - begins) as usize);
    (groups.into_iter().map(|(i, _)| i).collect(), position, skipped)
}

/// The leaves of the wanted columns; of a ROW only those of its wanted fields.
fn projection(schema: &SchemaDescriptor, fields: &[Field]) -> ProjectionMask {
    let is_wanted = |leaf: &usize| is_in_fields(schema.column(*leaf).path().parts(), fields);
    ProjectionMask::leaves(schema, (0..schema.num_columns()).filter(is_wanted))
}

/// Whether a column of the file is read, wholly or in part.
fn is_root_in(schema: &SchemaDescriptor, mask: &ProjectionMask, name: &str) -> bool {
    (0..schema.num_columns()).any(|leaf| {
        mask.leaf_included(leaf)
            && schema
                .column(leaf)
                .path()
                .parts()
                .first()
                .is_some_and(|root| root == name)
    })
}

fn is_in_fields(path: &[String], fields: &[Field]) -> bool {
    let Some((name, below)) = path.split_first() else {
        return true;
    };
    let field = fields.iter().find(|f| f.name == *name);
    field.is_some_and(|field| match &field.ty.kind {
        TypeKind::Row(inner) if !below.is_empty() => is_in_fields(below, inner),
        _ => true,
    })
}

/// Gives INT96 columns a type of their own ([`INT96`]), in microseconds, whose range is that of any date, where the table wants no
/// more digits.
fn with_int96_marked(metadata: ArrowReaderMetadata, fields: &[Field]) -> Result<ArrowReaderMetadata, ParquetError> {
    let schema = metadata.parquet_schema();
    let is_int96 = |leaf: usize| schema.column(leaf).physical_type() == PhysicalType::INT96;
    if !(0..schema.num_columns()).any(is_int96) {
        return Ok(metadata);
    }
    let mut leaf = 0;
    let mark = |field: &Arc<ArrowField>| {
        let table = fields.iter().find(|f| f.name == *field.name());
        let unit = match table.is_some_and(|f| needs_nanoseconds(&f.ty)) {
            true => TimeUnit::Nanosecond,
            false => TimeUnit::Microsecond,
        };
        let marked = marked(field.data_type(), &mut leaf, &is_int96, unit);
        field.as_ref().clone().with_data_type(marked)
    };
    let marked: Fields = metadata.schema().fields().iter().map(mark).collect();
    let options = plain_options().with_schema(Arc::new(Schema::new(marked)));
    ArrowReaderMetadata::try_new(metadata.metadata().clone(), options)
}

/// The type with its INT96 leaves marked; `leaf` counts the leaves, which stand in the order of the file's columns.
fn marked(ty: &DataType, leaf: &mut usize, is_int96: &impl Fn(usize) -> bool, unit: TimeUnit) -> DataType {
    let mut field = |f: &Arc<ArrowField>| {
        let inner = marked(f.data_type(), leaf, is_int96, unit);
        Arc::new(f.as_ref().clone().with_data_type(inner))
    };
    match ty {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        DataType::List(inner) => DataType::List(field(inner)),
        DataType::Map(inner, sorted) => DataType::Map(field(inner), *sorted),
        other => {
            *leaf += 1;
            match is_int96(*leaf - 1) {
                true => DataType::Timestamp(unit, Some(INT96.into())),
                false => other.clone(),
            }
        }
    }
}

fn needs_nanoseconds(ty: &LogicalType) -> bool {
    match &ty.kind {
        TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p) => *p > 6,
        TypeKind::Array(inner) | TypeKind::Multiset(inner) => needs_nanoseconds(inner),
        TypeKind::Map(key, value) => needs_nanoseconds(key) || needs_nanoseconds(value),
        TypeKind::Row(fields) => fields.iter().any(|f| needs_nanoseconds(&f.ty)),
        _ => false,
    }
}
