//! [`RowAssembler`]: records of one split into a batch, by the formats of value and key and the metadata asked for.
//!
//! A record of an upsert table gives a +U, or, without a value, a -D that holds the key's columns and NULLs. Kinds of other
//! tables are those of the value's format.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, Int32Builder, Int64Builder, MapBuilder, MapFieldNames, StringBuilder, TimestampMillisecondBuilder,
};
use arrow_array::{Array, ArrayRef, MapArray, UInt32Array, make_array};
use arrow_schema::DataType;
use flott_core::{Batch, Field, LogicalType, RowKind};
use flott_formats::Decoder;
use flott_runtime::TaskError;
use flott_runtime::connector::{ConnectorError, ScanSpec};

use super::client::batch::walk::{Record, RecordWalker, WalkOptions};
use super::client::fetch::Fetched;
use super::metadata::{Metadata, OF_VALUE};
use super::options::{Layout, TableOptions, wrong};
use super::records::{Assemble, ConsumerRecord, Unreadable};

enum MetadataColumn {
    Topic(StringBuilder),
    Partition(Int32Builder),
    Headers(Box<MapBuilder<StringBuilder, BinaryBuilder>>, LogicalType),
    LeaderEpoch(Int32Builder),
    Offset(Int64Builder),
    Timestamp(TimestampMillisecondBuilder),
    TimestampType(StringBuilder),
}

impl MetadataColumn {
    fn new(kind: Metadata, ty: &LogicalType) -> Self {
        match kind {
            Metadata::Topic => Self::Topic(StringBuilder::new()),
            Metadata::Partition => Self::Partition(Int32Builder::new()),
            Metadata::Headers => {
                let names = MapFieldNames {
                    entry: "entries".into(),
                    key: "key".into(),
                    value: "value".into(),
                };
                Self::Headers(
                    Box::new(MapBuilder::new(Some(names), StringBuilder::new(), BinaryBuilder::new())),
                    ty.clone(),
                )
            }
            Metadata::LeaderEpoch => Self::LeaderEpoch(Int32Builder::new()),
            Metadata::Offset => Self::Offset(Int64Builder::new()),
            Metadata::Timestamp => Self::Timestamp(TimestampMillisecondBuilder::new()),
            Metadata::TimestampType => Self::TimestampType(StringBuilder::new()),
        }
    }

    fn append(&mut self, consumed: &ConsumerRecord<'_>) -> Result<(), String> {
        let record = consumed.record;
        match self {
            Self::Topic(b) => b.append_value(consumed.topic),
            Self::Partition(b) => b.append_value(consumed.partition),
            Self::Headers(b, _) => {
                for header in record.headers() {
                    let (key, value) = header?;
                    b.keys().append_value(key);
                    b.values().append_option(value);
                }
                b.append(true).map_err(|e| e.to_string())?;
            }
            Self::LeaderEpoch(b) => b.append_option(Some(record.leader_epoch).filter(|e| *e >= 0)),
            Self::Offset(b) => b.append_value(record.offset),
            Self::Timestamp(b) => b.append_value(record.timestamp_ms),
            Self::TimestampType(b) => {
                b.append_value(if record.is_log_append_time {
                    "LogAppendTime"
                } else {
                    "CreateTime"
                });
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Topic(b) | Self::TimestampType(b) => Arc::new(b.finish()),
            Self::Partition(b) | Self::LeaderEpoch(b) => Arc::new(b.finish()),
            Self::Headers(b, ty) => with_type(b.finish(), &ty.to_arrow()),
            Self::Offset(b) => Arc::new(b.finish()),
            Self::Timestamp(b) => Arc::new(b.finish()),
        }
    }
}

/// The same map under the field names and nullabilities of `ty`.
fn with_type(map: MapArray, ty: &DataType) -> ArrayRef {
    fn retyped(data: arrow_data::ArrayData, ty: &DataType) -> arrow_data::ArrayData {
        let children: Vec<_> = match ty {
            DataType::Map(entries, _) => data
                .child_data()
                .iter()
                .map(|c| retyped(c.clone(), entries.data_type()))
                .collect(),
            DataType::Struct(fields) => data
                .child_data()
                .iter()
                .zip(fields)
                .map(|(c, f)| retyped(c.clone(), f.data_type()))
                .collect(),
            _ => data.child_data().to_vec(),
        };
        let builder = data.into_builder().data_type(ty.clone()).child_data(children);
        // Only names and nullabilities change, and header keys are never null.
        match builder.build() {
            Ok(data) => data,
            Err(_) => arrow_data::ArrayData::new_empty(ty),
        }
    }
    if map.data_type() == ty {
        return Arc::new(map);
    }
    make_array(retyped(map.into_data(), ty))
}

/// Where an output column comes from.
enum Origin {
    Value(usize),
    Key(usize),
    /// The record itself.
    Metadata(usize),
}

/// See the module.
pub(super) struct RowAssembler {
    value: Box<dyn Decoder>,
    key: Option<Box<dyn Decoder>>,
    /// For each row of the value, its row in the key's decoder, which also holds keys whose value gave no row.
    key_rows: Vec<u32>,
    origins: Vec<Origin>,
    /// Of the record itself.
    metadata: Vec<MetadataColumn>,
    /// Rows of an upsert table.
    upserts: Option<Upserts>,
}

/// What the rows of an upsert table are, where those of the value's decoder do not tell.
#[derive(Default)]
struct Upserts {
    kinds: Vec<u8>,
    /// The row of the value's decoder; none for a deletion.
    value_rows: Vec<Option<u32>>,
}

impl RowAssembler {
    /// Decoders for what the scan asks for.
    pub fn new(layout: &Layout, scan: &ScanSpec) -> Result<Self, ConnectorError> {
        let is_upsert = scan.table.connector() == "upsert-kafka";
        // Deletions have no value, so an upsert table's key is read from the record's key.
        let from_key = is_upsert || !layout.value_has_key;
        let is_key_only = |f: &&Field| from_key && layout.key_columns.iter().any(|k| k.name == f.name);
        let value_fields: Vec<Field> = scan.fields.iter().filter(|f| !is_key_only(f)).cloned().collect();
        let key_fields: Vec<Field> = scan.fields.iter().filter(is_key_only).cloned().collect();
        let (mut next_value, mut next_key) = (0, 0);
        let count = |next: &mut usize| {
            *next += 1;
            *next - 1
        };
        let mut origins: Vec<Origin> = scan
            .fields
            .iter()
            .map(|f| match is_key_only(&f) {
                true => Origin::Key(count(&mut next_key)),
                false => Origin::Value(count(&mut next_value)),
            })
            .collect();
        let (mut of_records, mut of_value) = (vec![], vec![]);
        for m in &scan.metadata {
            if let Some(name) = m.key.strip_prefix(OF_VALUE) {
                of_value.push(name.to_owned());
                origins.push(Origin::Value(count(&mut next_value)));
                continue;
            }
            let kind = Metadata::of_key(&m.key)
                .ok_or_else(|| ConnectorError::Schema(format!("connector 'kafka' has no metadata '{}'", m.key)))?;
            origins.push(Origin::Metadata(of_records.len()));
            of_records.push(MetadataColumn::new(kind, &m.ty));
        }
        let value = &layout.value;
        let value = flott_formats::decoder_with_metadata(
            &value.name,
            &value.options,
            &layout.value_columns,
            &value_fields,
            &of_value,
        )
        .map_err(wrong)?;
        let key = match &layout.key {
            Some(format) if !key_fields.is_empty() => {
                let strip = |f: &Field| {
                    let name = f.name.strip_prefix(&*layout.key_prefix).unwrap_or(&f.name);
                    Field::new(name, f.ty.clone())
                };
                let physical = layout.key_fields_in_format();
                let projected: Vec<Field> = key_fields.iter().map(strip).collect();
                Some(flott_formats::decoder(&format.name, &format.options, &physical, &projected).map_err(wrong)?)
            }
            _ => None,
        };
        Ok(Self {
            value,
            key,
            key_rows: Vec::new(),
            origins,
            metadata: of_records,
            upserts: is_upsert.then(Upserts::default),
        })
    }
}

impl Assemble for RowAssembler {
    #[inline]
    fn rows(&self) -> usize {
        self.upserts
            .as_ref()
            .map_or_else(|| self.value.rows(), |u| u.kinds.len())
    }

    fn bytes(&self) -> usize {
        self.value.bytes() + self.key.as_ref().map_or(0, |k| k.bytes())
    }

    fn dropped_rows(&self) -> u64 {
        self.value.dropped_rows()
    }

    #[inline]
    fn append(&mut self, consumed: &ConsumerRecord<'_>) -> Result<(), Unreadable> {
        let record = consumed.record;
        if let Some(key) = &mut self.key {
            let rows = match record.key {
                Some(message) => key
                    .decode(message)
                    .map_err(|error| Unreadable::Row { part: "key", error })?,
                None => key.decode_absent(),
            };
            match rows {
                // As in Flink, rows are those of the value combined with those of the key.
                0 => return Ok(()),
                1 => {}
                rows => return Err(Unreadable::Broken(format!("its key gives {rows} rows instead of one"))),
            }
        }
        let added = match &mut self.upserts {
            None => append_value(&mut *self.value, record)?,
            Some(upserts) => upserts.append(&mut *self.value, record)?,
        };
        if let Some(key) = &self.key {
            let row = key.rows() as u32 - 1;
            self.key_rows.extend(std::iter::repeat_n(row, added));
        }
        append_metadata(&mut self.metadata, consumed, added)
    }

    fn finish(&mut self) -> Result<Batch, TaskError> {
        let rows = self.rows();
        let (values, kinds) = match &mut self.upserts {
            None => {
                let kinds = self.value.take_kinds();
                (self.value.finish(), kinds)
            }
            Some(upserts) => {
                let indices = UInt32Array::from(std::mem::take(&mut upserts.value_rows));
                let values = self.value.finish();
                let values: Result<Vec<ArrayRef>, _> = values
                    .iter()
                    .map(|v| arrow_select::take::take(v.as_ref(), &indices, None))
                    .collect();
                (values?, Some(std::mem::take(&mut upserts.kinds)))
            }
        };
        let keys = match &mut self.key {
            None => Vec::new(),
            Some(key) => {
                let key_rows = key.rows();
                let keys = Batch::new(key.finish(), key_rows);
                keys.take(&UInt32Array::from(std::mem::take(&mut self.key_rows)))?
                    .columns()
                    .to_vec()
            }
        };
        let metadata: Vec<ArrayRef> = self.metadata.iter_mut().map(MetadataColumn::finish).collect();
        let columns: Vec<ArrayRef> = self
            .origins
            .iter()
            .map(|o| match o {
                Origin::Value(i) => values[*i].clone(),
                Origin::Key(i) => keys[*i].clone(),
                Origin::Metadata(i) => metadata[*i].clone(),
            })
            .collect();
        Ok(Batch::new(columns, rows).with_kinds(kinds.map(Into::into)))
    }
}

impl Upserts {
    fn append(&mut self, value: &mut dyn Decoder, record: &Record<'_>) -> Result<usize, Unreadable> {
        if record.value.is_none() {
            self.kinds.push(RowKind::Delete as u8);
            self.value_rows.push(None);
            return Ok(1);
        }
        let first = value.rows() as u32;
        let added = append_value(value, record)?;
        self.kinds
            .extend(std::iter::repeat_n(RowKind::UpdateAfter as u8, added));
        self.value_rows.extend((first..).take(added).map(Some));
        Ok(added)
    }
}

/// Reads fetched record batches into one batch, by a table's formats, without a broker: for tools and tests. `unreadable`
/// gets the reason of each record that gives no row.
///
/// # Errors
/// If the table's options are wrong or a record batch is damaged.
pub fn read_fetched(scan: &ScanSpec, fetched: Fetched, unreadable: &mut dyn FnMut(String)) -> Result<Batch, TaskError> {
    let table = TableOptions::read(&scan.table)?;
    let mut rows = RowAssembler::new(&table.layout, scan)?;
    let topic = fetched.topic.clone();
    let partition = fetched.partition;
    let options = WalkOptions {
        check_crcs: true,
        read_committed: false,
    };
    let mut walker = RecordWalker::new(fetched, options);
    while let Some(record) = walker.next().map_err(|e| super::task_error(&table.access.label, e))? {
        let consumed = ConsumerRecord {
            topic: &topic,
            partition,
            record: &record,
        };
        match rows.append(&consumed) {
            Ok(()) => {}
            Err(Unreadable::Row { part, error }) => unreadable(format!("{part}: {error}")),
            Err(Unreadable::Refused(error)) => unreadable(error.to_string()),
            Err(Unreadable::Broken(reason) | Unreadable::Panicked(reason)) => unreadable(reason),
        }
    }
    rows.finish()
}

#[inline]
fn append_value(value: &mut dyn Decoder, record: &Record<'_>) -> Result<usize, Unreadable> {
    match record.value {
        Some(message) => value
            .decode(message)
            .map_err(|error| Unreadable::Row { part: "value", error }),
        None => Ok(value.decode_absent()),
    }
}

#[inline]
fn append_metadata(
    metadata: &mut [MetadataColumn],
    consumed: &ConsumerRecord<'_>,
    rows: usize,
) -> Result<(), Unreadable> {
    for _ in 0..rows {
        for column in metadata.iter_mut() {
            column.append(consumed).map_err(Unreadable::Broken)?;
        }
    }
    Ok(())
}
