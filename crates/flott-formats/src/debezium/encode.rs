//! Rows with kinds to Debezium's events.

use super::{DebeziumOptions, NAME};
use crate::encode::{EncodedRows, Encoder};
use crate::error::FormatError;
use crate::json::JsonEncoder;
use arrow_array::ArrayRef;
use flott_core::types::Field;
use flott_core::{Options, RowKind};

/// Writes rows as Debezium's events.
pub(crate) struct DebeziumEncoder {
    rows: JsonEncoder,
    omit_nulls: bool,
    texts: EncodedRows,
}

impl DebeziumEncoder {
    pub(crate) fn new(options: &Options, columns: &[Field]) -> Result<Self, FormatError> {
        let options = DebeziumOptions::read(options)?;
        if options.schema_include {
            return Err(FormatError::Conflict {
                format: NAME,
                reason: "events are written without their schema; leave 'debezium-json.schema-include' out of a table that is written".into(),
            });
        }
        Ok(Self {
            rows: JsonEncoder::new(&options.rows, columns)?,
            omit_nulls: options.omit_nulls,
            texts: EncodedRows::new(),
        })
    }
}

impl Encoder for DebeziumEncoder {
    fn encode(&mut self, columns: &[ArrayRef], rows: usize, out: &mut EncodedRows) -> Result<(), FormatError> {
        self.encode_changes(columns, rows, None, out)
    }

    fn encode_changes(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        kinds: Option<&[u8]>,
        out: &mut EncodedRows,
    ) -> Result<(), FormatError> {
        self.texts.clear();
        self.rows.encode(columns, rows, &mut self.texts)?;
        for (row, text) in self.texts.iter().enumerate() {
            let kind = kinds.and_then(|k| RowKind::from_u8(k[row])).unwrap_or(RowKind::Insert);
            let (head, tail): (&[u8], &[u8]) = match (kind.is_retraction(), self.omit_nulls) {
                (false, false) => (b"{\"before\":null,\"after\":", b",\"op\":\"c\"}"),
                (false, true) => (b"{\"after\":", b",\"op\":\"c\"}"),
                (true, false) => (b"{\"before\":", b",\"after\":null,\"op\":\"d\"}"),
                (true, true) => (b"{\"before\":", b",\"op\":\"d\"}"),
            };
            out.bytes.extend_from_slice(head);
            out.bytes.extend_from_slice(text.unwrap_or(b"null"));
            out.bytes.extend_from_slice(tail);
            out.end_row();
        }
        Ok(())
    }
}
