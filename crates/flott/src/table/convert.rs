//! Where records become columns and columns records, a batch at a time: [`StreamToTable`] and [`TableToStream`].
//!
//! Both sides speak the row form of [`flott_core::encoding`]: what a record writes is decoded into columns, and the other way round. Event time
//! goes beside it: the times of records are the metadata column `rowtime`, and the last column of a table that has a time attribute is the time
//! of its records.

use super::record::{Shape, TableRecord};
use super::row::Value;
use super::watermarks::Pacing;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef, StructArray, TimestampMillisecondArray};
use flott_core::encoding::{EncodedRows, RowDecoder, RowEncoder};
use flott_core::time::NO_WATERMARK;
use flott_core::types::arrow_fields;
use flott_core::{Batch, CheckpointId, EventTime, Field, LogicalType, RowKind, TypeKind};
use flott_datastream::Records;
use flott_runtime::connector::{ChangelogMode, WatermarkGenerator};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use std::marker::PhantomData;
use std::sync::Arc;

/// The watermarks of a table that is a stream.
pub(super) enum Watermarks {
    /// It has none.
    None,
    /// Those of the stream.
    OfStream,
    /// Those that an expression over the table's columns says, and when.
    Said(Box<dyn WatermarkGenerator>, Pacing),
}

/// Which columns a scan reads of a stream's table.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// Name of the table, for messages.
    pub(super) table: String,
    /// What records write.
    pub(super) written: Vec<Field>,
    /// What is read of that, in order.
    pub(super) read: Vec<Field>,
    /// How many times the event time is read, behind the columns.
    pub(super) rowtimes: usize,
    /// Row kinds that the table takes.
    pub(super) changelog: ChangelogMode,
}

/// Records into columns.
pub(super) struct StreamToTable<T> {
    columns: Columns,
    shape: Shape,
    /// Places of the read columns in the written ones.
    places: Vec<usize>,
    decoder: RowDecoder,
    bytes: Vec<u8>,
    watermarks: Watermarks,
    records: u64,
    of: PhantomData<fn(T)>,
}

impl<T: TableRecord> StreamToTable<T> {
    /// The operator of a scan.
    ///
    /// # Errors
    /// If a column is read that the records do not have.
    pub(super) fn new(columns: Columns, watermarks: Watermarks) -> Result<Self, TaskError> {
        let place = |field: &Field| {
            let found = columns.written.iter().position(|f| f.name == field.name);
            found.ok_or_else(|| TaskError::internal(format!("records have no column '{}'", field.name)).fatal())
        };
        let places = columns.read.iter().map(place).collect::<Result<_, _>>()?;
        Ok(Self {
            places,
            decoder: Self::decoder(&columns),
            shape: Shape::of::<T>(&columns.written),
            columns,
            bytes: vec![],
            watermarks,
            records: 0,
            of: PhantomData,
        })
    }

    fn decoder(columns: &Columns) -> RowDecoder {
        let types: Vec<LogicalType> = columns.written.iter().map(|f| f.ty.clone()).collect();
        RowDecoder::new(&types)
    }

    /// A number with more digits than its column.
    fn too_wide(&self, written: &[ArrayRef]) -> Option<String> {
        let mut columns = written.iter().zip(&self.columns.written);
        columns.find_map(|(column, field)| {
            let number = too_wide(column, &field.ty)?;
            Some(format!(
                "column '{}' is {}, and it holds {number}",
                field.name, field.ty
            ))
        })
    }

    /// The error of the first record with such a number, which a whole batch does not tell.
    fn first_too_wide(&mut self, records: &[T]) -> TaskError {
        for (record, number) in records.iter().zip(self.records + 1..) {
            self.bytes.clear();
            let is_written = record.write_columns(&self.shape, &mut self.bytes).is_ok();
            let is_decoded = is_written && self.decoder.decode(&self.bytes).is_ok();
            let columns = self.decoder.finish().ok().filter(|_| is_decoded);
            if let Some(why) = columns.and_then(|columns| self.too_wide(&columns)) {
                return self.failed(number, why);
            }
        }
        self.failed(self.records + 1, "a DECIMAL has more digits than its column")
    }

    fn failed(&self, number: u64, why: impl std::fmt::Display) -> TaskError {
        TaskError::user(format!(
            "record {number} of the stream that is table '{}' is no row of it: {why}",
            self.columns.table
        ))
    }

    fn check_kind(&self, number: u64, kind: RowKind) -> Result<(), TaskError> {
        let remedy = match (self.columns.changelog, kind) {
            (ChangelogMode::Append, RowKind::Insert)
            | (ChangelogMode::Retract, _)
            | (ChangelogMode::Upsert, RowKind::Insert | RowKind::UpdateAfter | RowKind::Delete) => return Ok(()),
            (ChangelogMode::Append, _) => "use from_changelog_stream for a stream of changes",
            (ChangelogMode::Upsert, _) => "leave -U out, or use ChangelogMode::All",
        };
        Err(self.failed(number, format!("the table takes no {}: {remedy}", kind.short())))
    }
}

impl<T: TableRecord> Operator for StreamToTable<T> {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        let interval = ctx.task.options.duration_ms("pipeline.auto-watermark-interval");
        let interval = interval.map_err(|e| TaskError::user(e.to_string()).fatal())?;
        if let Watermarks::Said(_, pacing) = &mut self.watermarks {
            pacing.open(interval.unwrap_or(200), &ctx.clock);
        }
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        let records = Records::<T>::from_batch(batch)?;
        let rows = records.values.len();
        let mut kinds: Vec<u8> = vec![];
        for (i, record) in records.values.iter().enumerate() {
            let number = self.records + i as u64 + 1;
            let kind = record.kind();
            if kind != RowKind::Insert || !kinds.is_empty() {
                self.check_kind(number, kind)?;
                kinds.resize(i, RowKind::Insert as u8);
                kinds.push(kind as u8);
            }
            self.bytes.clear();
            let written = record.write_columns(&self.shape, &mut self.bytes);
            written.map_err(|why| self.failed(number, why))?;
            if let Err(error) = self.decoder.decode(&self.bytes) {
                return Err(self.failed(number, error));
            }
        }
        let written = self.decoder.finish().map_err(|e| self.failed(self.records + 1, e))?;
        if self.too_wide(&written).is_some() {
            return Err(self.first_too_wide(&records.values));
        }
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.places.len() + self.columns.rowtimes);
        for (place, field) in self.places.iter().zip(&self.columns.read) {
            columns.push(narrow(&written[*place], &self.columns.written[*place].ty, &field.ty)?);
        }
        if self.columns.rowtimes > 0 {
            let times: Vec<i64> = (0..rows).map_while(|i| records.time(i)).collect();
            if times.len() < rows {
                let number = self.records + times.len() as u64 + 1;
                return Err(self
                    .failed(
                        number,
                        "its event time is read ('rowtime'), and it has none: call assign_timestamps_and_watermarks before",
                    )
                    .fatal());
            }
            let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(times));
            columns.resize(columns.len() + self.columns.rowtimes, times);
        }
        self.records += rows as u64;
        let batch = Batch::new(columns, rows).with_kinds((!kinds.is_empty()).then(|| kinds.into()));
        let Watermarks::Said(generator, pacing) = &mut self.watermarks else {
            out.emit(batch);
            return Ok(Flow::Done);
        };
        let said = generator.watermarks(&batch)?;
        if rows > 0 {
            pacing.wake(out);
        }
        if !pacing.is_on_event() {
            let latest = said.iter().flatten().max();
            pacing.justify(latest.unwrap_or(NO_WATERMARK));
            out.emit(batch);
            return Ok(Flow::Done);
        }
        // Without an interval a watermark follows each row that moves it, as at sources.
        let mut emitted = 0;
        for (row, watermark) in said.iter().enumerate() {
            if watermark.is_some_and(|watermark| pacing.justify(watermark)) {
                out.emit(batch.slice(emitted, row + 1 - emitted));
                emitted = row + 1;
                pacing.emit(out);
            }
        }
        out.emit(batch.slice(emitted, rows - emitted));
        Ok(Flow::Done)
    }

    fn makes_watermarks(&self) -> bool {
        !matches!(self.watermarks, Watermarks::OfStream)
    }

    fn next_timer(&self) -> Option<i64> {
        match &self.watermarks {
            Watermarks::Said(_, pacing) => pacing.next_look(),
            Watermarks::None | Watermarks::OfStream => None,
        }
    }

    fn on_timer(&mut self, now_ms: i64, out: &mut Output) -> Result<Flow, TaskError> {
        if let Watermarks::Said(_, pacing) = &mut self.watermarks {
            pacing.look(now_ms, out);
        }
        Ok(Flow::Done)
    }

    fn before_barrier(&mut self, _checkpoint: CheckpointId, out: &mut Output) -> Result<Flow, TaskError> {
        if let Watermarks::Said(_, pacing) = &mut self.watermarks {
            pacing.emit(out);
        }
        Ok(Flow::Done)
    }
}

/// A DECIMAL in a column, or within its values, that has more digits than its type: records' own numbers are checked by nobody before.
fn too_wide(column: &ArrayRef, ty: &LogicalType) -> Option<String> {
    match &ty.kind {
        TypeKind::Decimal(precision, scale) => {
            let bound = 10u128.checked_pow(u32::from(*precision))?;
            let mut values = column.as_primitive::<Decimal128Type>().iter().flatten();
            let wide = values.find(|value| value.unsigned_abs() >= bound)?;
            Some(Value::Decimal(wide, *scale).to_string())
        }
        TypeKind::Array(element) => too_wide(column.as_list::<i32>().values(), element),
        TypeKind::Multiset(element) => too_wide(column.as_map().keys(), element),
        TypeKind::Map(key, value) => {
            let map = column.as_map();
            too_wide(map.keys(), key).or_else(|| too_wide(map.values(), value))
        }
        TypeKind::Row(fields) => {
            let mut columns = column.as_struct().columns().iter().zip(fields);
            columns.find_map(|(column, field)| too_wide(column, &field.ty))
        }
        _ => None,
    }
}

/// A column of which only some fields of its ROWs are read.
fn narrow(column: &ArrayRef, from: &LogicalType, to: &LogicalType) -> Result<ArrayRef, TaskError> {
    let (TypeKind::Row(from), TypeKind::Row(to)) = (&from.kind, &to.kind) else {
        return Ok(column.clone());
    };
    if from == to {
        return Ok(column.clone());
    }
    let lost = |name: &str| TaskError::internal(format!("a ROW has no field '{name}'")).fatal();
    let row = column.as_struct();
    let mut fields = Vec::with_capacity(to.len());
    for field in to {
        let place = from.iter().position(|f| f.name == field.name);
        let place = place.ok_or_else(|| lost(&field.name))?;
        fields.push(narrow(row.column(place), &from[place].ty, &field.ty)?);
    }
    let narrowed = StructArray::try_new(arrow_fields(to), fields, row.nulls().cloned());
    Ok(Arc::new(narrowed.map_err(|e| TaskError::internal(e.to_string()))?))
}

/// Columns into records.
pub(super) struct TableToStream<T> {
    shape: Shape,
    /// Number of the record's columns; the event time is behind them, if there is one.
    width: usize,
    encoded: EncodedRows,
    records: u64,
    of: PhantomData<fn() -> T>,
}

impl<T: TableRecord> TableToStream<T> {
    /// The operator behind a table of these columns.
    pub(super) fn new(columns: &[Field]) -> Self {
        Self {
            shape: Shape::of::<T>(columns),
            width: columns.len(),
            encoded: EncodedRows::default(),
            records: 0,
            of: PhantomData,
        }
    }
}

impl<T: TableRecord> Operator for TableToStream<T> {
    fn open(&mut self, _ctx: &mut OperatorContext) -> Result<(), TaskError> {
        Ok(())
    }

    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        let (columns, time) = batch.columns().split_at(self.width);
        let encoder = RowEncoder::of_values(columns).map_err(|e| TaskError::internal(e.to_string()))?;
        self.encoded.refill(&encoder, batch.num_rows());
        let time = time.first().map(times).transpose()?;
        let mut records = Records::default();
        records.values.reserve(batch.num_rows());
        for (i, mut bytes) in self.encoded.iter().enumerate() {
            let read = T::read_columns(&self.shape, batch.kind(i), &mut bytes);
            let value = read.map_err(|why| {
                let number = self.records + i as u64 + 1;
                TaskError::user(format!("row {number} of the table is no record of the stream: {why}"))
            })?;
            records.push(value, time.as_ref().and_then(|time| time[i]));
        }
        self.records += batch.num_rows() as u64;
        if !records.values.is_empty() {
            out.emit(records.into_batch());
        }
        Ok(Flow::Done)
    }
}

/// Milliseconds of a column of timestamps.
fn times(column: &ArrayRef) -> Result<Vec<Option<EventTime>>, TaskError> {
    use arrow_schema::{DataType, TimeUnit};
    let millis = |values: &mut dyn Iterator<Item = Option<i64>>, steps: i64| {
        values.map(|v| v.map(|v| v.div_euclid(steps))).collect()
    };
    Ok(match column.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            millis(&mut column.as_primitive::<TimestampMillisecondType>().iter(), 1)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            millis(&mut column.as_primitive::<TimestampMicrosecondType>().iter(), 1000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            millis(&mut column.as_primitive::<TimestampNanosecondType>().iter(), 1_000_000)
        }
        other => return Err(TaskError::internal(format!("an event time of type {other}")).fatal()),
    })
}
