//! [`TableRecords`]: rows of a table as records, by the formats of value and key and by writable metadata.

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, ArrayRef, BooleanArray, MapArray, PrimitiveArray, StringArray};
use flott_core::{Batch, Field, RowKind};
use flott_formats::{EncodedRows, Encoder};
use flott_runtime::TaskError;
use flott_runtime::connector::{ConnectorError, SinkSpec};

use super::access::Topics;
use super::client::batch::encode::HeaderRef;
use super::metadata::Metadata;
use super::options::{TableOptions, wrong};
use super::records::{EncodeRecords, Outgoing};

/// See the module.
pub(super) struct TableRecords {
    label: String,
    value: Box<dyn Encoder>,
    value_columns: Vec<usize>,
    key: Option<Box<dyn Encoder>>,
    key_columns: Vec<usize>,
    topic_column: Option<usize>,
    timestamp_column: Option<usize>,
    headers_column: Option<usize>,
    is_upsert: bool,
    /// Whether the value's format writes rows of every kind.
    takes_changes: bool,
    values: EncodedRows,
    keys: EncodedRows,
    /// Of the batch at hand.
    topics: Option<StringArray>,
    timestamps: Option<PrimitiveArray<TimestampMillisecondType>>,
    headers: Option<MapArray>,
    kinds: Option<arrow_buffer::ScalarBuffer<u8>>,
}

impl TableRecords {
    /// Encoders, and where their columns are in the input; made while planning too, so that a type that a format cannot write is told then.
    pub fn new(table: &TableOptions, spec: &SinkSpec) -> Result<Self, ConnectorError> {
        let physical = spec.fields.len().saturating_sub(spec.metadata.len());
        let position = |f: &Field| spec.fields[..physical].iter().position(|i| i.name == f.name);
        let layout = &table.layout;
        let find = |fields: &[Field]| -> Vec<(usize, Field)> {
            fields.iter().filter_map(|f| Some((position(f)?, f.clone()))).collect()
        };
        let values = find(&layout.value_columns);
        let value_fields: Vec<Field> = values.iter().map(|(_, f)| f.clone()).collect();
        let value = flott_formats::encoder(&layout.value.name, &layout.value.options, &value_fields).map_err(wrong)?;
        let keys = find(&layout.key_columns);
        let key = match &layout.key {
            None => None,
            Some(format) => Some(
                flott_formats::encoder(&format.name, &format.options, &layout.key_fields_in_format()).map_err(wrong)?,
            ),
        };
        let metadata = |kind: Metadata| {
            spec.metadata
                .iter()
                .position(|m| Metadata::of_key(&m.key) == Some(kind))
                .map(|i| physical + i)
        };
        let topic = metadata(Metadata::Topic);
        if topic.is_none() && !matches!(&table.access.topics, Topics::List(names) if names.len() == 1) {
            return Err(wrong(
                "a table with several topics is written only where its metadata column 'topic' names the one of each row",
            ));
        }
        Ok(Self {
            label: table.access.label.clone(),
            value,
            value_columns: values.into_iter().map(|(i, _)| i).collect(),
            key,
            key_columns: keys.into_iter().map(|(i, _)| i).collect(),
            topic_column: topic,
            timestamp_column: metadata(Metadata::Timestamp),
            headers_column: metadata(Metadata::Headers),
            is_upsert: spec.table.connector() == "upsert-kafka",
            takes_changes: flott_formats::carries_changes(&layout.value.name),
            values: EncodedRows::new(),
            keys: EncodedRows::new(),
            topics: None,
            timestamps: None,
            headers: None,
            kinds: None,
        })
    }

    fn is_delete(&self, row: usize) -> bool {
        let is_delete = |kinds: &arrow_buffer::ScalarBuffer<u8>| kinds[row] == RowKind::Delete as u8;
        self.is_upsert && self.kinds.as_ref().is_some_and(is_delete)
    }
}

impl EncodeRecords for TableRecords {
    const WITHOUT_TOPIC: &'static str = "metadata column 'topic' is NULL";

    /// Rows that an upsert table does not write are left out.
    fn encode(&mut self, batch: Batch) -> Result<usize, TaskError> {
        let batch = match (self.is_upsert, batch.kinds()) {
            (true, Some(kinds)) if kinds.contains(&(RowKind::UpdateBefore as u8)) => {
                let keep: BooleanArray = kinds.iter().map(|k| Some(*k != RowKind::UpdateBefore as u8)).collect();
                batch.filter(&keep)?
            }
            (false, Some(kinds)) if !self.takes_changes && kinds.iter().any(|k| *k != RowKind::Insert as u8) => {
                return Err(TaskError::user(format!(
                    "{}: connector 'kafka' takes inserts only; use connector 'upsert-kafka' with a primary key for updates, or format 'debezium-json'",
                    self.label
                ))
                .fatal());
            }
            _ => batch,
        };
        let pick = |indexes: &[usize]| -> Vec<ArrayRef> { indexes.iter().map(|i| batch.column(*i).clone()).collect() };
        let failed = |e| TaskError::data(format!("{}: {e}", self.label));
        self.values.clear();
        self.keys.clear();
        let rows = batch.num_rows();
        let kinds = batch.kinds().map(|k| &k[..]);
        self.value
            .encode_changes(&pick(&self.value_columns), rows, kinds, &mut self.values)
            .map_err(failed)?;
        if let Some(key) = &mut self.key {
            key.encode(&pick(&self.key_columns), rows, &mut self.keys)
                .map_err(failed)?;
        }
        let column = |index: Option<usize>| index.map(|i| batch.column(i));
        self.topics = column(self.topic_column).map(|c| c.as_string::<i32>().clone());
        self.timestamps = column(self.timestamp_column).map(|c| c.as_primitive().clone());
        self.headers = column(self.headers_column).map(|c| c.as_map().clone());
        self.kinds = batch.kinds().cloned();
        Ok(rows)
    }

    fn topic(&self, row: usize) -> Option<&str> {
        self.topics
            .as_ref()
            .filter(|t| t.is_valid(row))
            .map(|topics| topics.value(row))
    }

    fn names_topics(&self) -> bool {
        self.topic_column.is_some()
    }

    #[inline]
    fn outgoing(&self, row: usize) -> Outgoing<'_> {
        let timestamps = self.timestamps.as_ref().filter(|t| t.is_valid(row));
        Outgoing {
            partition: None,
            timestamp_ms: timestamps.map(|t| t.value(row)),
            key: if self.key.is_some() { self.keys.get(row) } else { None },
            value: if self.is_delete(row) {
                None
            } else {
                self.values.get(row)
            },
        }
    }

    #[inline]
    fn headers(&self, row: usize) -> Vec<HeaderRef<'_>> {
        let Some(column) = &self.headers else {
            return vec![];
        };
        // By the map's own offsets, so that names and values live as long as the column.
        let (names, contents) = (column.keys().as_string::<i32>(), column.values().as_binary::<i32>());
        let entries = column.value_offsets()[row] as usize..column.value_offsets()[row + 1] as usize;
        // A header without a value is not sent, as in Flink.
        let sent = entries.filter(|i| contents.is_valid(*i));
        sent.map(|i| (names.value(i), Some(contents.value(i)))).collect()
    }
}
