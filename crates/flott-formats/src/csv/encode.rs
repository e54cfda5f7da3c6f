//! Columns as CSV records, without line ends.

use super::check_columns;
use crate::cells::{Cells, Values, entries, text_bytes};
use crate::encode::{EncodedRows, Encoder};
use crate::error::FormatError;
use crate::json::view;
use crate::options::CsvOptions;
use crate::scan::find_either;
use crate::text::bytes::write_base64;
use crate::text::decimal::{write_plain, write_stripped};
use crate::text::number::{write_f32, write_f64, write_i64};
use crate::text::time::{TimestampStyle, write_date, write_time, write_timestamp};
use arrow_array::ArrayRef;
use flott_core::Options;
use flott_core::types::Field;

/// Strings of more characters than this are quoted without a look.
const QUOTE_CHECK_CHARS: usize = 24;

/// Writes rows as CSV records.
pub(crate) struct CsvEncoder {
    columns: Vec<Field>,
    writer: Writer,
    /// A field's text before it is known whether it needs quotes.
    field: Vec<u8>,
}

struct Writer {
    options: CsvOptions,
    null: Vec<u8>,
    /// For each byte whether it calls for quotes.
    quoted: [bool; 256],
}

impl CsvEncoder {
    pub(crate) fn new(options: &Options, columns: &[Field]) -> Result<Self, FormatError> {
        let options = CsvOptions::read(options)?;
        check_columns(columns)?;
        let safe_from = options.delimiter.max(options.quote.unwrap_or(0)) + 1;
        let mut quoted = [false; 256];
        quoted[..usize::from(safe_from)].fill(true);
        if let Some(escape) = options.escape {
            quoted[usize::from(escape)] = true;
        }
        Ok(Self {
            columns: columns.to_vec(),
            writer: Writer {
                null: options.null_literal.clone().unwrap_or_default().into_bytes(),
                options,
                quoted,
            },
            field: vec![],
        })
    }
}

impl Encoder for CsvEncoder {
    fn encode(&mut self, columns: &[ArrayRef], rows: usize, out: &mut EncodedRows) -> Result<(), FormatError> {
        let cells = view(&self.columns, columns, "csv")?;
        for row in 0..rows {
            for (i, column) in cells.iter().enumerate() {
                if i > 0 {
                    out.bytes.push(self.writer.options.delimiter);
                }
                self.writer.write_column(column, row, &mut self.field, &mut out.bytes);
            }
            out.end_row();
        }
        Ok(())
    }
}

impl Writer {
    #[inline]
    fn write_column(&self, column: &Cells<'_>, row: usize, field: &mut Vec<u8>, out: &mut Vec<u8>) {
        if column.is_null(row) {
            return out.extend_from_slice(&self.null);
        }
        match &column.values {
            Values::Text(texts) => self.write_text(text_bytes(texts, row), out),
            Values::Null
            | Values::Boolean(_)
            | Values::Int8(_)
            | Values::Int16(_)
            | Values::Int32(_)
            | Values::Int64(_)
            | Values::Float32(_)
            | Values::Float64(_)
            | Values::Decimal { .. } => self.write_plain(&column.values, row, out),
            Values::List { offsets, element } => {
                field.clear();
                for (i, entry) in entries(offsets, row).enumerate() {
                    self.write_element(i, element, entry, field);
                }
                self.write_text(field, out);
            }
            Values::Row(fields) => {
                field.clear();
                for (i, cell) in fields.iter().enumerate() {
                    self.write_element(i, cell, row, field);
                }
                self.write_text(field, out);
            }
            _ => {
                field.clear();
                self.write_plain(&column.values, row, field);
                self.write_text(field, out);
            }
        }
    }

    fn write_element(&self, index: usize, cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) {
        if index > 0 {
            out.extend_from_slice(self.options.array_delimiter.as_bytes());
        }
        if cells.is_null(row) {
            out.extend_from_slice(&self.null);
        } else {
            self.write_plain(&cells.values, row, out);
        }
    }

    /// Writes a value of a plain type without a thought of quotes.
    fn write_plain(&self, values: &Values<'_>, row: usize, out: &mut Vec<u8>) {
        match values {
            Values::Boolean(v) => out.extend_from_slice(if v.value(row) { b"true" } else { b"false" }),
            Values::Int8(v) => write_i64(out, v[row].into()),
            Values::Int16(v) => write_i64(out, v[row].into()),
            Values::Int32(v) => write_i64(out, v[row].into()),
            Values::Int64(v) => write_i64(out, v[row]),
            Values::Float32(v) => write_f32(out, v[row]),
            Values::Float64(v) => write_f64(out, v[row]),
            Values::Decimal { unscaled, scale } if self.options.scientific_decimals => {
                write_stripped(out, unscaled[row], *scale);
            }
            Values::Decimal { unscaled, scale } => write_plain(out, unscaled[row], *scale),
            Values::Text(v) => out.extend_from_slice(text_bytes(v, row)),
            Values::Binary(v) => write_base64(out, v.value(row)),
            Values::Date(v) => write_date(out, v[row].into()),
            Values::Time(v) => write_time(out, i64::from(v[row]) * 1_000_000),
            Values::Timestamp { values, unit, zoned } => {
                write_timestamp(out, values[row], *unit, TimestampStyle::Sql, *zoned);
            }
            // check_columns lets none of these through below the top.
            Values::Null | Values::List { .. } | Values::Map { .. } | Values::Row(_) => {}
        }
    }

    /// Writes a string, in quotes where Jackson puts them.
    #[inline]
    fn write_text(&self, text: &[u8], out: &mut Vec<u8>) {
        let Some(quote) = self.options.quote else {
            return out.extend_from_slice(text);
        };
        if !self.needs_quotes(text) {
            return out.extend_from_slice(text);
        }
        out.reserve(text.len() + 2);
        out.push(quote);
        let escape = self.options.escape.unwrap_or(quote);
        let mut at = 0;
        loop {
            let next = find_either(text, at, quote, escape);
            out.extend_from_slice(&text[at..next]);
            let Some(byte) = text.get(next) else { break };
            // Quote and escape character stand for themselves when doubled.
            out.extend_from_slice(&[*byte, *byte]);
            at = next + 1;
        }
        out.push(quote);
    }

    fn needs_quotes(&self, text: &[u8]) -> bool {
        // A unit takes three bytes at most.
        if text.len() > 3 * QUOTE_CHECK_CHARS {
            return true;
        }
        if text.len() > QUOTE_CHECK_CHARS {
            // Java counts UTF-16 units.
            let units = |lead: &u8| match lead {
                0x80..=0xBF => 0,
                0xF0.. => 2,
                _ => 1,
            };
            if text.iter().map(units).sum::<usize>() > QUOTE_CHECK_CHARS {
                return true;
            }
        }
        text.iter().any(|b| self.quoted[usize::from(*b)])
    }
}
