//! Debezium's events to rows with kinds.

use super::metadata::MetadataDecoder;
use super::{DebeziumOptions, NAME};
use crate::decode::Decoder;
use crate::error::{FormatError, RowError, RowErrorKind, excerpt};
use crate::json::{Fault, JsonDecoder, Read, Reader};
use arrow_array::ArrayRef;
use flott_core::types::Field;
use flott_core::{Options, RowKind};
use std::ops::Range;

/// Reads Debezium's events.
pub(crate) struct DebeziumDecoder {
    rows: JsonDecoder,
    /// What the metadata columns ask for, if there are any.
    metadata: Option<MetadataDecoder>,
    kinds: Vec<u8>,
    schema_include: bool,
    ignore_parse_errors: bool,
    dropped: u64,
}

/// Where the parts of an event are in its message.
#[derive(Debug, Default)]
struct Event {
    start: usize,
    before: Option<Range<usize>>,
    after: Option<Range<usize>>,
    op: Option<Range<usize>>,
}

impl DebeziumDecoder {
    pub(crate) fn new(
        options: &Options,
        physical: &[Field],
        projected: &[Field],
        metadata: &[String],
    ) -> Result<Self, FormatError> {
        let options = DebeziumOptions::read(options)?;
        let metadata = (!metadata.is_empty()).then(|| MetadataDecoder::new(&options, metadata));
        Ok(Self {
            rows: JsonDecoder::new(&options.rows, physical, projected)?,
            metadata: metadata.transpose()?,
            kinds: vec![],
            schema_include: options.schema_include,
            ignore_parse_errors: options.ignore_parse_errors,
            dropped: 0,
        })
    }

    /// Appends the rows of an event; what was appended stays on a fault.
    fn read(&mut self, message: &[u8]) -> Result<(), Box<RowError>> {
        let of_message = |fault: Box<Fault>| Box::new(row_error(message, *fault));
        if let Err(e) = std::str::from_utf8(message) {
            return Err(of_message(Fault::new(
                RowErrorKind::Encoding,
                e.valid_up_to(),
                "not UTF-8",
            )));
        }
        let event = event(message, self.schema_include).map_err(of_message)?;
        let wrong = |at: usize, reason: &str| of_message(Fault::new(RowErrorKind::Syntax, at, reason));
        let Some(op) = event.op else {
            return Err(wrong(0, "the event has no text 'op'"));
        };
        let part = |part: &Option<Range<usize>>, reason: &str| part.clone().ok_or_else(|| wrong(op.start, reason));
        const NO_AFTER: &str = "the event has no 'after', which its 'op' needs";
        const NO_BEFORE: &str =
            "the event has no 'before', which its 'op' needs; a Postgres table must be set to REPLICA IDENTITY FULL";
        let first = self.kinds.len();
        match &message[op.clone()] {
            b"c" | b"r" => self.row(message, part(&event.after, NO_AFTER)?, RowKind::Insert, "after"),
            b"u" => {
                let (before, after) = (part(&event.before, NO_BEFORE)?, part(&event.after, NO_AFTER)?);
                self.row(message, before, RowKind::UpdateBefore, "before")?;
                self.row(message, after, RowKind::UpdateAfter, "after")
            }
            b"d" => self.row(message, part(&event.before, NO_BEFORE)?, RowKind::Delete, "before"),
            _ => Err(wrong(op.start, "'op' is none of 'c', 'r', 'u' and 'd'")),
        }?;
        match &mut self.metadata {
            None => Ok(()),
            Some(metadata) => metadata.append(message, event.start, self.kinds.len() - first),
        }
    }

    fn row(&mut self, message: &[u8], at: Range<usize>, kind: RowKind, name: &str) -> Result<(), Box<RowError>> {
        let start = at.start;
        let added = self.rows.decode(&message[at]).map_err(|e| {
            let field = e
                .field
                .map_or_else(|| name.to_owned(), |field| format!("{name}.{field}"));
            Box::new(RowError {
                format: NAME,
                field: Some(field),
                position: start + e.position,
                ..e
            })
        })?;
        self.kinds.extend(std::iter::repeat_n(kind as u8, added));
        Ok(())
    }
}

impl Decoder for DebeziumDecoder {
    fn decode(&mut self, message: &[u8]) -> Result<usize, RowError> {
        if message.is_empty() {
            return Ok(0);
        }
        let message = message.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(message);
        let first = self.kinds.len();
        match self.read(message) {
            Ok(()) => Ok(self.kinds.len() - first),
            Err(error) => {
                self.truncate(first);
                if self.ignore_parse_errors && error.kind != RowErrorKind::TooLarge {
                    self.dropped += 1;
                    return Ok(0);
                }
                Err(*error)
            }
        }
    }

    fn splits_at_line_ends(&self) -> bool {
        // Changes of one row must not overtake each other.
        false
    }

    fn truncate(&mut self, rows: usize) {
        self.rows.truncate(rows);
        self.kinds.truncate(rows);
        if let Some(metadata) = &mut self.metadata {
            metadata.truncate(rows);
        }
    }

    fn rows(&self) -> usize {
        self.rows.rows()
    }

    fn bytes(&self) -> usize {
        self.rows.bytes() + self.metadata.as_ref().map_or(0, MetadataDecoder::bytes)
    }

    fn dropped_rows(&self) -> u64 {
        self.dropped + self.rows.dropped_rows()
    }

    fn take_kinds(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.kinds))
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        self.kinds.clear();
        let mut columns = self.rows.finish();
        columns.extend(self.metadata.iter_mut().flat_map(MetadataDecoder::finish));
        columns
    }
}

pub(super) fn row_error(message: &[u8], fault: Fault) -> RowError {
    RowError {
        kind: fault.kind,
        format: NAME,
        field: None,
        position: fault.position,
        reason: fault.reason,
        excerpt: excerpt(message, fault.position),
    }
}

/// The parts of the message's event.
fn event(message: &[u8], schema_include: bool) -> Read<Event> {
    let mut reader = Reader::new(message);
    if !schema_include {
        return event_at(&mut reader);
    }
    let mut payload = None;
    members(&mut reader, |reader, name| {
        if name == b"payload" {
            payload = Some(reader.at);
        }
        reader.skip_value()
    })?;
    match payload {
        Some(at) => {
            reader.at = at;
            event_at(&mut reader)
        }
        None => {
            let reason =
                "the message has no 'payload'; set 'debezium-json.schema-include' to 'false' to read it without";
            Err(Fault::new(RowErrorKind::Syntax, 0, reason))
        }
    }
}

fn event_at(reader: &mut Reader<'_>) -> Read<Event> {
    reader.skip_space();
    let mut event = Event {
        start: reader.at,
        ..Event::default()
    };
    members(reader, |reader, name| {
        let start = reader.at;
        match (name, reader.peek()) {
            (b"op", b'"') => {
                let text = reader.string()?;
                event.op = Some(start + 1..start + 1 + text.inside.len());
                Ok(())
            }
            (b"before" | b"after", b'{' | b'n') => {
                let is_row = reader.peek() == b'{';
                reader.skip_value()?;
                let part = is_row.then_some(start..reader.at);
                match name {
                    b"before" => event.before = part,
                    _ => event.after = part,
                }
                Ok(())
            }
            (b"before" | b"after", _) => Err(reader.expected("a row as an object, or null")),
            _ => reader.skip_value(),
        }
    })?;
    Ok(event)
}

/// Calls `visit` with the name of each member of the object at the position; it moves over the member's value.
pub(super) fn members<'a>(
    reader: &mut Reader<'a>,
    mut visit: impl FnMut(&mut Reader<'a>, &'a [u8]) -> Read<()>,
) -> Read<()> {
    if reader.skip_space() != b'{' {
        return Err(reader.expected("an object"));
    }
    reader.enter()?;
    let mut byte = reader.skip_space();
    while byte != b'}' {
        let name = reader.key()?;
        visit(reader, name.inside)?;
        byte = reader.separator(b'}', "',' or '}'")?;
    }
    reader.leave();
    Ok(())
}
