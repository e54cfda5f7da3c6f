//! Columns as JSON text.

use super::decode::check_type;
use super::string::write_string;
use crate::cells::{Cells, Values, entries, text_bytes};
use crate::encode::{EncodedRows, Encoder};
use crate::error::FormatError;
use crate::options::{JsonOptions, NullKeys};
use crate::text::bytes::write_base64;
use crate::text::decimal::{write_plain, write_stripped};
use crate::text::number::{write_f32, write_f64, write_i64};
use crate::text::time::{write_date, write_time, write_timestamp};
use arrow_array::ArrayRef;
use flott_core::Options;
use flott_core::types::{Field, LogicalType, TypeKind};

/// Writes rows as JSON objects.
pub(crate) struct JsonEncoder {
    columns: Vec<Field>,
    keys: Vec<Member>,
    options: JsonOptions,
}

/// A field of an object as it is written.
struct Member {
    /// `"name":`
    key: Vec<u8>,
    below: Below,
}

/// The members below a column, where there are ROWs.
enum Below {
    Nothing,
    Element(Box<Below>),
    Members(Vec<Member>),
}

impl JsonEncoder {
    pub(crate) fn new(options: &Options, columns: &[Field]) -> Result<Self, FormatError> {
        let options = JsonOptions::read(options)?;
        for column in columns {
            check_type(&column.name, &column.ty)?;
        }
        Ok(Self {
            keys: members(columns),
            columns: columns.to_vec(),
            options,
        })
    }
}

fn members(fields: &[Field]) -> Vec<Member> {
    let member = |f: &Field| {
        let mut key = vec![];
        write_string(&mut key, f.name.as_bytes(), true);
        key.push(b':');
        Member {
            key,
            below: below(&f.ty),
        }
    };
    fields.iter().map(member).collect()
}

fn below(ty: &LogicalType) -> Below {
    match &ty.kind {
        TypeKind::Row(fields) => Below::Members(members(fields)),
        TypeKind::Array(inner) | TypeKind::Map(_, inner) => Below::Element(Box::new(below(inner))),
        _ => Below::Nothing,
    }
}

impl Encoder for JsonEncoder {
    fn encode(&mut self, columns: &[ArrayRef], rows: usize, out: &mut EncodedRows) -> Result<(), FormatError> {
        let cells = view(&self.columns, columns, "json")?;
        let before = out.len();
        for row in 0..rows {
            if let Err(reason) = self.options.write_object(&self.keys, &cells, row, &mut out.bytes) {
                out.truncate(before);
                return Err(FormatError::Value {
                    format: "json",
                    row,
                    reason,
                });
            }
            out.end_row();
        }
        Ok(())
    }
}

/// The batch's columns as those of the encoder.
pub(crate) fn view<'a>(
    fields: &[Field],
    columns: &'a [ArrayRef],
    format: &'static str,
) -> Result<Vec<Cells<'a>>, FormatError> {
    let wrong = |reason| FormatError::Columns { format, reason };
    if fields.len() != columns.len() {
        return Err(wrong(format!("{} columns instead of {}", columns.len(), fields.len())));
    }
    let cells = |(field, column): (&Field, &'a ArrayRef)| {
        Cells::new(&field.ty, column).map_err(|reason| wrong(format!("column '{}': {reason}", field.name)))
    };
    fields.iter().zip(columns).map(cells).collect()
}

impl JsonOptions {
    fn write_object(
        &self,
        members: &[Member],
        cells: &[Cells<'_>],
        row: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        out.push(b'{');
        let mut first = true;
        for (member, cell) in members.iter().zip(cells) {
            let null = cell.is_null(row);
            if null && self.omit_nulls {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            out.extend_from_slice(&member.key);
            if null {
                out.extend_from_slice(b"null");
            } else {
                self.write_value(&member.below, &cell.values, row, out)?;
            }
        }
        out.push(b'}');
        Ok(())
    }

    #[inline]
    fn write_value(&self, below: &Below, values: &Values<'_>, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        match values {
            Values::Null => out.extend_from_slice(b"null"),
            Values::Boolean(v) => out.extend_from_slice(if v.value(row) { b"true" } else { b"false" }),
            Values::Int8(v) => write_i64(out, v[row].into()),
            Values::Int16(v) => write_i64(out, v[row].into()),
            Values::Int32(v) => write_i64(out, v[row].into()),
            Values::Int64(v) => write_i64(out, v[row]),
            Values::Float32(v) => quoted_unless(v[row].is_finite(), out, |out| write_f32(out, v[row])),
            Values::Float64(v) => quoted_unless(v[row].is_finite(), out, |out| write_f64(out, v[row])),
            Values::Decimal { unscaled, scale } => {
                let write = if self.plain_decimals {
                    write_plain
                } else {
                    write_stripped
                };
                write(out, unscaled[row], *scale);
            }
            Values::Text(v) => write_string(out, text_bytes(v, row), true),
            Values::Binary(v) => quoted_unless(false, out, |out| write_base64(out, v.value(row))),
            Values::Date(v) => quoted_unless(false, out, |out| write_date(out, v[row].into())),
            // Flink writes whole seconds.
            Values::Time(v) => {
                quoted_unless(false, out, |out| {
                    write_time(out, i64::from(v[row] / 1000) * 1_000_000_000)
                });
            }
            Values::Timestamp { values, unit, zoned } => {
                quoted_unless(false, out, |out| {
                    write_timestamp(out, values[row], *unit, self.timestamps, *zoned)
                });
            }
            Values::List { offsets, element } => {
                let Below::Element(below) = below else {
                    return Err("an ARRAY without its element".into());
                };
                out.push(b'[');
                for (i, entry) in entries(offsets, row).enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    self.write_nullable(below, element, entry, out)?;
                }
                out.push(b']');
            }
            Values::Map { offsets, keys, values } => {
                let below = match below {
                    Below::Element(below) => below.as_ref(),
                    _ => &Below::Nothing,
                };
                self.write_map(below, keys, values, entries(offsets, row), out)?;
            }
            Values::Row(cells) => {
                let Below::Members(members) = below else {
                    return Err("a ROW without its fields".into());
                };
                self.write_object(members, cells, row, out)?;
            }
        }
        Ok(())
    }

    fn write_nullable(&self, below: &Below, cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        if cells.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        self.write_value(below, &cells.values, row, out)
    }

    fn write_map(
        &self,
        below: &Below,
        keys: &Cells<'_>,
        values: &Cells<'_>,
        entries: std::ops::Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        out.push(b'{');
        let mut first = true;
        for entry in entries {
            let key = match (&keys.values, &self.null_keys) {
                (Values::Text(names), _) if !keys.is_null(entry) => text_bytes(names, entry),
                (_, NullKeys::Literal(literal)) => literal.as_bytes(),
                (_, NullKeys::Drop) => continue,
                (_, NullKeys::Fail) => {
                    return Err(
                        "a map has a NULL key; set 'json.map-null-key.mode' to DROP or LITERAL to write it".into(),
                    );
                }
            };
            if !first {
                out.push(b',');
            }
            first = false;
            write_string(out, key, true);
            out.push(b':');
            self.write_nullable(below, values, entry, out)?;
        }
        out.push(b'}');
        Ok(())
    }
}

/// Writes with quotes around it where the text alone is no JSON.
#[inline]
fn quoted_unless(bare: bool, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    if bare {
        return write(out);
    }
    out.push(b'"');
    write(out);
    out.push(b'"');
}
