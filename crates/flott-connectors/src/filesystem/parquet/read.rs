//! Reading: the row groups of a split, a batch at a time, without the columns that nobody asked for.
//!
//! On local disk a page of each column is in memory at a time.

use super::super::enumerator::FileSplit;
use super::columns::{INT96, Zone, from_file};
use super::options::ParquetOptions;
use arrow_array::{Array, ArrayRef, new_null_array};
use arrow_schema::{DataType, Field as ArrowField, Fields, Schema, TimeUnit};
use flott_core::{Field, LogicalType, TypeKind};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::schema::types::SchemaDescriptor;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

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
    batches: ParquetRecordBatchReader,
    /// Where each wanted column is in a batch; `None`: not in the file.
    places: Vec<Option<usize>>,
    /// Number of the file's next row.
    position: u64,
    finished: bool,
}

impl ParquetReader {
    /// Opens a file at the split's position.
    pub(in super::super) fn open(split: &FileSplit, scan: Arc<ParquetScan>) -> Result<Self, ReadError> {
        caught(|| Self::open_sound(split, scan))
    }

    fn open_sound(split: &FileSplit, scan: Arc<ParquetScan>) -> Result<Self, ReadError> {
        let file = File::open(&split.path).map_err(ReadError::Io)?;
        let metadata = ArrowReaderMetadata::load(&file, plain_options())?;
        check_places(&metadata, file.metadata().map_err(ReadError::Io)?.len())?;
        let metadata = with_int96_marked(metadata, &scan.fields)?;
        let (row_groups, position, skipped) = row_groups(&metadata, split);
        let mask = projection(metadata.parquet_schema(), &scan.fields);
        let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_projection(mask)
            .with_row_groups(row_groups)
            .with_offset(skipped)
            .with_batch_size(scan.batch_rows)
            .build()?;
        let schema = arrow_array::RecordBatchReader::schema(&batches);
        let place = |field: &Field| schema.fields().iter().position(|f| *f.name() == field.name);
        Ok(Self {
            places: scan.fields.iter().map(place).collect(),
            scan,
            batches,
            position,
            finished: false,
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

    /// The next rows: the wanted columns and the number of rows; `None` at the end.
    pub(in super::super) fn next(&mut self) -> Result<Option<(Vec<ArrayRef>, usize)>, ReadError> {
        let batches = &mut self.batches;
        let next = caught(|| {
            batches
                .next()
                .transpose()
                .map_err(|e| ReadError::from(ParquetError::from(e)))
        })?;
        let Some(batch) = next else {
            self.finished = true;
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
}

/// Makes an error of a panic: the decoders of pages trust what a damaged page says of itself. The reader is not used again.
fn caught<T>(read: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        let problem = text.unwrap_or_else(|| "a page contradicts itself".to_owned());
        Err(ReadError::Damaged(ParquetError::General(problem)))
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
