//! What an event tells beside its row: the metadata columns `schema`, `ingestion-timestamp` and `source.*`.
//!
//! The members of the event that hold it are read by the decoder of `json`, one row an event, only where a column asks for them; an
//! event of two rows (an update) has its row taken twice.

use super::DebeziumOptions;
use crate::Decoder;
use crate::error::{FormatError, RowError, RowErrorKind};
use crate::json::{Fault, JsonDecoder, Read, Reader};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, MapArray, StringArray, TimestampMillisecondArray, UInt32Array};
use arrow_schema::ArrowError;
use flott_core::suggest;
use flott_core::types::{Field, LogicalType, TypeKind};
use std::ops::Range;
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metadata {
    Schema,
    IngestionTimestamp,
    SourceTimestamp,
    /// A property of the source, under this name.
    Source(&'static str),
    SourceProperties,
}

const ALL: [(&str, Metadata); 7] = [
    ("schema", Metadata::Schema),
    ("ingestion-timestamp", Metadata::IngestionTimestamp),
    ("source.timestamp", Metadata::SourceTimestamp),
    ("source.database", Metadata::Source("db")),
    ("source.schema", Metadata::Source("schema")),
    ("source.table", Metadata::Source("table")),
    ("source.properties", Metadata::SourceProperties),
];

impl Metadata {
    fn ty(self) -> LogicalType {
        match self {
            Self::Schema | Self::Source(_) => LogicalType::string(),
            Self::IngestionTimestamp | Self::SourceTimestamp => LogicalType::new(TypeKind::TimestampLtz(3)),
            Self::SourceProperties => {
                let text = || Box::new(LogicalType::string());
                let key = Box::new(LogicalType::string().with_nullable(false));
                LogicalType::new(TypeKind::Map(key, text()))
            }
        }
    }

    fn is_of_source(self) -> bool {
        matches!(self, Self::SourceTimestamp | Self::Source(_) | Self::SourceProperties)
    }
}

/// The metadata columns that events have, by name.
pub(crate) fn columns() -> Vec<Field> {
    ALL.into_iter().map(|(name, of)| Field::new(name, of.ty())).collect()
}

/// Reads what some metadata columns ask for.
pub(super) struct MetadataDecoder {
    wanted: Vec<Metadata>,
    /// `schema`, which stands beside the event's payload.
    outside: Option<JsonDecoder>,
    /// `ts_ms` and `source`, those that are wanted.
    inside: Option<JsonDecoder>,
    source_times_ms: Vec<Option<i64>>,
    /// For each row, its event.
    events: Vec<u32>,
    /// Events gathered.
    gathered: u32,
}

impl MetadataDecoder {
    /// A decoder of the metadata `names`.
    ///
    /// # Errors
    /// If there is no such metadata.
    pub(super) fn new(options: &DebeziumOptions, names: &[String]) -> Result<Self, FormatError> {
        let find = |name: &String| {
            let found = ALL.into_iter().find(|(n, _)| n == name).map(|(_, of)| of);
            found.ok_or_else(|| FormatError::UnknownMetadata {
                format: super::NAME,
                name: name.clone(),
                hint: suggest::hint(name, ALL.map(|(n, _)| n)),
            })
        };
        let wanted: Vec<Metadata> = names.iter().map(find).collect::<Result<_, _>>()?;
        let mut inside = vec![];
        if wanted.contains(&Metadata::IngestionTimestamp) {
            inside.push(Field::new("ts_ms", LogicalType::bigint()));
        }
        if wanted.iter().any(|m| m.is_of_source()) {
            inside.push(Field::new("source", Metadata::SourceProperties.ty()));
        }
        let outside = match wanted.contains(&Metadata::Schema) {
            true => vec![Field::new("schema", LogicalType::string())],
            false => vec![],
        };
        let decoder = |fields: Vec<Field>| match fields.is_empty() {
            true => Ok(None),
            false => JsonDecoder::new(&options.rows, &fields, &fields).map(Some),
        };
        Ok(Self {
            wanted,
            outside: decoder(outside)?,
            inside: decoder(inside)?,
            source_times_ms: vec![],
            events: vec![],
            gathered: 0,
        })
    }

    /// Appends the metadata of an event that gave `rows` rows; the event begins at `start` of the message. What was appended stays on an
    /// error.
    ///
    /// # Errors
    /// If a value is none of its type.
    pub(super) fn append(&mut self, message: &[u8], start: usize, rows: usize) -> Result<(), Box<RowError>> {
        let of_message = |fault| super::decode::row_error(message, fault);
        let read = |decoder: &mut Option<JsonDecoder>, start: usize| match decoder {
            None => Ok(()),
            Some(decoder) => match decoder.decode(&message[start..]) {
                Ok(1) => Ok(()),
                // Wrong, and to be read over.
                Ok(_) => Err(Box::new(of_message(*Fault::new(
                    RowErrorKind::Syntax,
                    start,
                    "the event's metadata cannot be read",
                )))),
                Err(e) => Err(Box::new(RowError {
                    format: super::NAME,
                    position: start + e.position,
                    ..e
                })),
            },
        };
        read(&mut self.outside, 0)?;
        read(&mut self.inside, start)?;
        if self.wanted.contains(&Metadata::SourceTimestamp) {
            let time_ms = source_time_ms(message, start).map_err(|fault| Box::new(of_message(*fault)))?;
            self.source_times_ms.push(time_ms);
        }
        self.events.extend(std::iter::repeat_n(self.gathered, rows));
        self.gathered += 1;
        Ok(())
    }

    /// Takes back all but the first `rows` rows. Events are whole, so they end where rows do.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.events.truncate(rows);
        self.gathered = self.events.last().map_or(0, |event| event + 1);
        let events = self.gathered as usize;
        self.source_times_ms.truncate(events);
        for decoder in [&mut self.outside, &mut self.inside].into_iter().flatten() {
            decoder.truncate(events);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let decoders = [&self.outside, &self.inside].into_iter().flatten();
        decoders.map(Decoder::bytes).sum::<usize>() + self.events.len() * 4 + self.source_times_ms.len() * 16
    }

    /// The columns, in the order in which they were asked for.
    pub(super) fn finish(&mut self) -> Vec<ArrayRef> {
        self.gathered = 0;
        let rows = UInt32Array::from(std::mem::take(&mut self.events));
        let columns = |decoder: &mut Option<JsonDecoder>| -> Vec<ArrayRef> {
            decoder.as_mut().map(Decoder::finish).unwrap_or_default()
        };
        let (outside, inside) = (columns(&mut self.outside), columns(&mut self.inside));
        let source_times_ms = TimestampMillisecondArray::from(std::mem::take(&mut self.source_times_ms));
        let of_event = |metadata: &Metadata| -> Option<ArrayRef> {
            Some(match metadata {
                Metadata::Schema => outside.first()?.clone(),
                Metadata::IngestionTimestamp => {
                    let times = inside.first()?.as_primitive_opt::<Int64Type>()?;
                    Arc::new(times.reinterpret_cast::<TimestampMillisecondType>())
                }
                Metadata::SourceTimestamp => Arc::new(source_times_ms.clone()),
                Metadata::Source(name) => Arc::new(property(inside.last()?.as_map_opt()?, name)),
                Metadata::SourceProperties => inside.last()?.clone(),
            })
        };
        let take = |metadata: &Metadata| -> Option<Result<ArrayRef, ArrowError>> {
            Some(arrow_select::take::take(of_event(metadata)?.as_ref(), &rows, None))
        };
        let nulls = |metadata: &Metadata| arrow_array::new_null_array(&metadata.ty().to_arrow(), rows.len());
        let column = |metadata| match take(metadata) {
            Some(Ok(column)) => column,
            // Each has its column among those decoded, and rows are of events.
            _ => nulls(metadata),
        };
        self.wanted.iter().map(column).collect()
    }
}

/// The values under a key; the last where it stands more than once.
fn property(maps: &MapArray, name: &str) -> StringArray {
    let (keys, values) = (maps.keys().as_string::<i32>(), maps.values().as_string::<i32>());
    let of_row = |row: usize| {
        let mut entries = maps.value_offsets()[row] as usize..maps.value_offsets()[row + 1] as usize;
        let found = entries.rfind(|entry| maps.is_valid(row) && keys.value(*entry) == name)?;
        values.is_valid(found).then(|| values.value(found))
    };
    (0..maps.len()).map(of_row).collect()
}

/// `source.ts_ms` of an event, whose `source` is an object or NULL, else the decoder of `json` has said so.
fn source_time_ms(message: &[u8], start: usize) -> Read<Option<i64>> {
    let mut reader = Reader::new(message);
    reader.at = start;
    let mut time: Option<Range<usize>> = None;
    super::decode::members(&mut reader, |reader, name| {
        if name != b"source" || reader.peek() != b'{' {
            return reader.skip_value();
        }
        super::decode::members(reader, |reader, name| {
            let start = reader.at;
            reader.skip_value()?;
            if name == b"ts_ms" {
                time = Some(start..reader.at);
            }
            Ok(())
        })
    })?;
    let Some(at) = time else {
        return Ok(None);
    };
    let text = &message[at.clone()];
    let inside = text
        .strip_prefix(b"\"")
        .and_then(|t| t.strip_suffix(b"\""))
        .unwrap_or(text);
    if inside == b"null" {
        return Ok(None);
    }
    let number = std::str::from_utf8(inside).ok().and_then(|t| t.parse().ok());
    number.map(Some).ok_or_else(|| {
        let reason = "'source.ts_ms' is no number of milliseconds";
        Fault::new(RowErrorKind::Value, at.start, reason)
    })
}
